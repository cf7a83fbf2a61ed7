//! Who the operators of a cluster are, and what each of them must have.

use std::collections::HashMap;

use crate::line::{Signed, Stated};
use charon_files::cluster::{Definition, DefinitionHash, Enr, LockHash, NodeIndex};
use charon_files::keys::k1::EnrPublicKey;

/// The operators that a definition names. Whether the definition is to be trusted is for others to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operators {
    definition_hash: DefinitionHash,
    members: Vec<Member>,
    by_key: HashMap<EnrPublicKey, NodeIndex>,
}

/// One operator.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    address: String,
    key: EnrPublicKey,
}

impl Operators {
    /// The operators of a definition with this recomputed hash; `None` if an ENR cannot be read or two operators have the
    /// same.
    pub fn of(definition: &Definition, definition_hash: DefinitionHash) -> Option<Self> {
        let keys: Vec<EnrPublicKey> = definition
            .operators
            .iter()
            .map(|operator| Some(*Enr::parse(&operator.enr).ok()?.public_key()))
            .collect::<Option<_>>()?;
        let operators = Self::with_keys(definition, &keys, definition_hash);
        (operators.by_key.len() == keys.len()).then_some(operators)
    }

    fn with_keys(
        definition: &Definition,
        keys: &[EnrPublicKey],
        definition_hash: DefinitionHash,
    ) -> Self {
        let members = definition.operators.iter().zip(keys);
        Self {
            definition_hash,
            members: members
                .map(|(operator, key)| Member {
                    address: operator.address.clone(),
                    key: *key,
                })
                .collect(),
            by_key: keys.iter().copied().zip(definition.nodes()).collect(),
        }
    }

    /// Hash of terms and signatures.
    pub const fn definition_hash(&self) -> DefinitionHash {
        self.definition_hash
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.members.len()
    }

    /// Every node, in order.
    pub fn nodes(&self) -> impl Iterator<Item = NodeIndex> + use<> {
        (0..self.members.len()).map(NodeIndex::new)
    }

    /// The node with this ENR key.
    pub fn node_of(&self, key: &EnrPublicKey) -> Option<NodeIndex> {
        self.by_key.get(key).copied()
    }

    /// The address as written in the definition; empty in an unsigned definition.
    pub fn address(&self, node: NodeIndex) -> &str {
        let member = self.members.get(node.position());
        member.map_or("", |member| &member.address)
    }

    /// `operator 2 of 4 (0x…)`.
    pub fn name(&self, node: NodeIndex) -> String {
        let of = node.of(self.members.len());
        match self.address(node) {
            "" => of.to_string(),
            address => format!("{of} ({address})"),
        }
    }

    /// Who signed a line, if it was one of them.
    pub fn signer<S: Stated>(&self, line: &Signed<S>) -> Option<NodeIndex> {
        let claimed = line.statement().node();
        match self.members.get(claimed.position()) {
            Some(member) if line.is_signed_by(&member.key) => Some(claimed),
            Some(_) | None => line.possible_signers().find_map(|key| self.node_of(&key)),
        }
    }
}

/// What a cluster lock that passed verification says about who must have what. Only [`crate::verify::verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    lock_hash: LockHash,
    validators: usize,
    operators: Operators,
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
        Self {
            lock_hash,
            validators,
            operators: Operators::with_keys(definition, keys, definition_hash),
        }
    }

    /// The lock hash that receipts must state.
    pub const fn lock_hash(&self) -> LockHash {
        self.lock_hash
    }

    /// Hash of terms and signatures.
    pub const fn definition_hash(&self) -> DefinitionHash {
        self.operators.definition_hash()
    }

    /// Who they are.
    pub const fn operators(&self) -> &Operators {
        &self.operators
    }

    /// Number of operators, and so of receipts that make a confirmation.
    pub const fn operator_count(&self) -> usize {
        self.operators.count()
    }

    /// Number of validators, and so of keystores of each operator.
    pub const fn validator_count(&self) -> usize {
        self.validators
    }

    /// The node with this ENR key.
    pub fn node_of(&self, key: &EnrPublicKey) -> Option<NodeIndex> {
        self.operators.node_of(key)
    }

    /// `operator 2 of 4 (0x…)`.
    pub fn name(&self, node: NodeIndex) -> String {
        self.operators.name(node)
    }

    /// Who signed a line, if it was one of the operators.
    pub fn signer<S: Stated>(&self, line: &Signed<S>) -> Option<NodeIndex> {
        self.operators.signer(line)
    }
}
