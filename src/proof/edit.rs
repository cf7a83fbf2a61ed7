//! The ceremonies by which charon changes a cluster that exists (`charon alpha edit`): which there are, what each is told,
//! and which of them led from one cluster lock to another.

use serde::{Deserialize, Serialize};

use charon_files::cluster::{AddressPair, ClusterLock, Enr, NodeIndex, ValidatorIndex};
use charon_files::keys::k1::EnrPublicKey;

/// One of charon's edits, by its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EditKind {
    /// More validators; everything else stays, the old shares too.
    AddValidators,
    /// More operators; the shares of all validators are new.
    AddOperators,
    /// Fewer operators; the shares of all validators are new.
    RemoveOperators,
    /// Another operator in the place of one; the shares of all validators are new.
    ReplaceOperator,
    /// The same operators with new shares.
    RecreatePrivateKeys,
}

impl EditKind {
    /// Every edit.
    pub const ALL: &[EditKind] = &[
        EditKind::AddValidators,
        EditKind::AddOperators,
        EditKind::RemoveOperators,
        EditKind::ReplaceOperator,
        EditKind::RecreatePrivateKeys,
    ];

    /// charon's name of the command, after `charon alpha edit`.
    pub const fn command(self) -> &'static str {
        match self {
            EditKind::AddValidators => "add-validators",
            EditKind::AddOperators => "add-operators",
            EditKind::RemoveOperators => "remove-operators",
            EditKind::ReplaceOperator => "replace-operator",
            EditKind::RecreatePrivateKeys => "recreate-private-keys",
        }
    }

    /// Whether the old validators keep their shares, so that old and new nodes sign with the same keys.
    pub const fn keeps_shares(self) -> bool {
        match self {
            EditKind::AddValidators => true,
            EditKind::AddOperators
            | EditKind::RemoveOperators
            | EditKind::ReplaceOperator
            | EditKind::RecreatePrivateKeys => false,
        }
    }
}

/// What all operators tell charon alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum EditRequest {
    /// One address pair for each new validator.
    AddValidators {
        /// In the order of the new validators.
        addresses: Vec<AddressPair>,
    },
    /// The ENRs of new operators.
    AddOperators {
        /// In the order that all operators use.
        enrs: Vec<String>,
    },
    /// The ENRs of operators that leave.
    RemoveOperators {
        /// As they are in the lock.
        enrs: Vec<String>,
        /// The threshold of the operators who stay; charon's default if `None`.
        threshold: Option<u64>,
    },
    /// One operator for another.
    ReplaceOperator {
        /// Who leaves, as in the lock.
        old: String,
        /// Who comes.
        new: String,
    },
    /// New shares for the same operators.
    RecreatePrivateKeys,
}

impl EditRequest {
    /// Which edit it is.
    pub const fn kind(&self) -> EditKind {
        match self {
            EditRequest::AddValidators { .. } => EditKind::AddValidators,
            EditRequest::AddOperators { .. } => EditKind::AddOperators,
            EditRequest::RemoveOperators { .. } => EditKind::RemoveOperators,
            EditRequest::ReplaceOperator { .. } => EditKind::ReplaceOperator,
            EditRequest::RecreatePrivateKeys => EditKind::RecreatePrivateKeys,
        }
    }

    /// The ENRs of all operators after the edit, in charon's order (`dkg/protocol_*.go`): new ones last, a replacement in the
    /// place of whom it replaces.
    pub fn operators_after(&self, before: &ClusterLock) -> Vec<String> {
        let old = before
            .definition
            .operators
            .iter()
            .map(|operator| &operator.enr);
        match self {
            EditRequest::AddValidators { .. } | EditRequest::RecreatePrivateKeys => {
                old.cloned().collect()
            }
            EditRequest::AddOperators { enrs } => old.chain(enrs).cloned().collect(),
            EditRequest::RemoveOperators { enrs, .. } => {
                old.filter(|enr| !enrs.contains(enr)).cloned().collect()
            }
            EditRequest::ReplaceOperator {
                old: leaves,
                new: comes,
            } => old
                .map(|enr| if enr == leaves { comes } else { enr })
                .cloned()
                .collect(),
        }
    }
}

/// Which edit led from one lock to another, as the operators and validators of both tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Which it was.
    pub kind: EditKind,
    /// Operators of the old lock who are not in the new one, by their position in the old lock.
    pub removed: Vec<NodeIndex>,
    /// Operators of the new lock who were not in the old one, by their position in the new lock.
    pub added: Vec<NodeIndex>,
    /// Validators of the new lock beyond those of the old.
    pub new_validators: usize,
}

impl Edit {
    /// Recognises the edit; `None` if no edit of charon's makes such a change of operators, or none at all was made. Judges
    /// nothing else.
    pub fn between(before: &ClusterLock, after: &ClusterLock) -> Option<Self> {
        let old = keys(before)?;
        let new = keys(after)?;
        let removed = missing(&old, &new);
        let added = missing(&new, &old);
        let new_validators = after
            .validators
            .len()
            .saturating_sub(before.validators.len());
        let kept = |all: &[EnrPublicKey], gone: &[NodeIndex]| -> Vec<EnrPublicKey> {
            let stays = |position: usize| !gone.contains(&NodeIndex::new(position));
            let numbered = all.iter().enumerate();
            numbered
                .filter(|(position, _)| stays(*position))
                .map(|(_, key)| *key)
                .collect()
        };
        if kept(&old, &removed) != kept(&new, &added) {
            return None;
        }
        let kind = match (removed.as_slice(), added.as_slice()) {
            ([], []) if new_validators > 0 => EditKind::AddValidators,
            ([], []) if before.validators.len() > after.validators.len() => return None,
            ([], []) if shares(before) != shares(after) => EditKind::RecreatePrivateKeys,
            ([], []) => return None,
            // New operators come last.
            ([], [first, ..]) if first.position() == old.len() => EditKind::AddOperators,
            ([_, ..], []) => EditKind::RemoveOperators,
            ([leaves], [comes]) if leaves == comes => EditKind::ReplaceOperator,
            (_, _) => return None,
        };
        Some(Self {
            kind,
            removed,
            added,
            new_validators,
        })
    }
}

fn keys(lock: &ClusterLock) -> Option<Vec<EnrPublicKey>> {
    lock.definition
        .operators
        .iter()
        .map(|operator| Some(*Enr::parse(&operator.enr).ok()?.public_key()))
        .collect()
}

/// The positions of those in the first list that are not in the second.
fn missing(all: &[EnrPublicKey], others: &[EnrPublicKey]) -> Vec<NodeIndex> {
    all.iter()
        .enumerate()
        .filter(|(_, key)| !others.contains(key))
        .map(|(position, _)| NodeIndex::new(position))
        .collect()
}

fn shares(lock: &ClusterLock) -> Vec<&[[u8; 48]]> {
    lock.validators
        .iter()
        .map(|validator| validator.public_shares.as_slice())
        .collect()
}

/// The address pairs of the validators of a lock from this position on.
pub(crate) fn addresses_from(lock: &ClusterLock, first: usize) -> Vec<Option<&AddressPair>> {
    (first..lock.validators.len())
        .map(|position| lock.definition.addresses_of(ValidatorIndex::new(position)))
        .collect()
}
