//! Who the operators of a verified cluster are, and what each of them must have.

use std::collections::HashMap;

use charon_files::cluster::{Definition, DefinitionHash, LockHash, NodeIndex};
use charon_files::keys::k1::EnrPublicKey;

/// What a cluster lock that passed verification says about who must have what. Only [`crate::verify::verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    pub(crate) lock_hash: LockHash,
    pub(crate) definition_hash: DefinitionHash,
    pub(crate) validators: usize,
    pub(crate) members: Vec<Member>,
    by_key: HashMap<EnrPublicKey, NodeIndex>,
}

/// One operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) address: String,
    pub(crate) key: EnrPublicKey,
}

impl Cluster {
    /// The cluster of a definition whose operators have these keys, all different, in this order.
    pub(crate) fn new(
        definition: &Definition,
        keys: &[EnrPublicKey],
        validators: usize,
        definition_hash: DefinitionHash,
        lock_hash: LockHash,
    ) -> Self {
        let members = definition.operators.iter().zip(keys);
        Self {
            lock_hash,
            definition_hash,
            validators,
            members: members
                .map(|(operator, key)| Member {
                    address: operator.address.clone(),
                    key: *key,
                })
                .collect(),
            by_key: keys.iter().copied().zip(definition.nodes()).collect(),
        }
    }

    /// The lock hash that receipts must state.
    pub const fn lock_hash(&self) -> LockHash {
        self.lock_hash
    }

    /// Hash of terms and signatures.
    pub const fn definition_hash(&self) -> DefinitionHash {
        self.definition_hash
    }

    /// Number of operators, and so of receipts that make a confirmation.
    pub const fn operator_count(&self) -> usize {
        self.members.len()
    }

    /// Number of validators, and so of keystores of each operator.
    pub const fn validator_count(&self) -> usize {
        self.validators
    }

    /// The node with this ENR key.
    pub fn node_of(&self, key: &EnrPublicKey) -> Option<NodeIndex> {
        self.by_key.get(key).copied()
    }

    /// `operator 2 of 4 (0x…)`.
    pub fn name(&self, node: NodeIndex) -> String {
        let of = node.of(self.members.len());
        match self.members.get(node.position()) {
            Some(member) if !member.address.is_empty() => format!("{of} ({})", member.address),
            Some(_) | None => of.to_string(),
        }
    }
}
