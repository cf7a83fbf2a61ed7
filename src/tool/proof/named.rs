//! What the command line names for a proof besides files: a protocol and a beacon node. Read once, before anything else.

use std::sync::OnceLock;

use crate::cli::{BeaconArgs, ProfileArgs};
use crate::proof::beacon::BeaconRpc;
use charon_proof::profile::Profile;

/// The protocol.
#[derive(Default)]
pub(crate) struct Protocol {
    pub(super) args: ProfileArgs,
    pub(super) profile: OnceLock<Profile>,
}

impl Protocol {
    pub(crate) fn of(args: ProfileArgs) -> Self {
        Self {
            args,
            ..Self::default()
        }
    }
}

/// The beacon node.
#[derive(Default)]
pub(crate) struct Beacon {
    pub(super) args: BeaconArgs,
    pub(super) rpc: OnceLock<BeaconRpc>,
}

impl Beacon {
    pub(crate) fn of(args: BeaconArgs) -> Self {
        Self {
            args,
            ..Self::default()
        }
    }
}
