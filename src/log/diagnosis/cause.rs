//! What one chain of errors says about the cause.

use super::chain::Chain;
use super::local::{self, Local};
use super::network::{self, Network};
use super::settings::{self, Settings};
use super::terms::{self, Terms};

/// What a line says about the cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    Local(Local),
    Terms(Terms),
    Settings(Settings),
    Network(Network),
    Crash,
    Unknown,
}

impl Cause {
    /// The cause that a chain of errors states. The order matters: a chain may hold several phrases, and what a peer
    /// reports is never taken for a fault of this machine.
    pub(super) fn recognise(chain: Chain<'_>) -> Self {
        match network::recognise(chain) {
            Some(found) if Self::Network(found.clone()).specificity() >= 9 => Self::Network(found),
            found => local::recognise(chain)
                .map(Self::Local)
                .or_else(|| terms::recognise(chain).map(Self::Terms))
                .or_else(|| settings::recognise(chain).map(Self::Settings))
                .or(found.map(Self::Network))
                .unwrap_or(Self::Unknown),
        }
    }

    /// Which of several causes in one log is shown: the larger number, then the earlier line.
    pub(super) const fn specificity(&self) -> u8 {
        match self {
            Self::Network(network) => match network {
                Network::VersionsDiffer | Network::DefinitionsDiffer => 10,
                Network::NodeRestarted { .. } | Network::PartialSignatureInvalid { .. } => 9,
                Network::RelayUnreachable
                | Network::LockInvalid
                | Network::MessageInvalid { .. } => 8,
                Network::LateFailure => 6,
                Network::PeersTooSlow | Network::RelayLost => 5,
                Network::PeerLost { peer: Some(_) } => 4,
                Network::PeerLost { peer: None } => 3,
                // Any other error is the reason why the context was cancelled.
                Network::Stopped => 1,
            },
            Self::Local(_) | Self::Terms(_) | Self::Settings(_) => 8,
            Self::Crash => 7,
            Self::Unknown => 2,
        }
    }

    /// Whether an error that is not the last one explains the last one: those of the sync protocol do, since they
    /// cancel everything else.
    pub(super) fn explains_from_afar(&self) -> bool {
        match self {
            Self::Network(network) => match network {
                Network::VersionsDiffer
                | Network::DefinitionsDiffer
                | Network::NodeRestarted { .. }
                | Network::PeerLost { .. } => true,
                Network::PartialSignatureInvalid { .. }
                | Network::RelayUnreachable
                | Network::RelayLost
                | Network::LockInvalid
                | Network::MessageInvalid { .. }
                | Network::LateFailure
                | Network::PeersTooSlow
                | Network::Stopped => false,
            },
            // Said by a node that runs, of what a validator client asks it.
            Self::Local(local) => *local == Local::KeystoresOfAnother,
            Self::Terms(_) | Self::Settings(_) | Self::Crash | Self::Unknown => false,
        }
    }
}
