//! Three indexes that must never be mixed up, so they are three types.

use std::fmt;

/// Position of a node, and so of its operator, in a definition's `operators`; counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(usize);

/// The x-coordinate of a share on the key polynomial: node index + 1 (charon `cluster/definition.go`, `NodeIdx`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareIndex(usize);

/// Position of a validator in a cluster lock's `distributed_validators`, and the N of `keystore-N.json`; from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValidatorIndex(usize);

impl NodeIndex {
    /// The node at this position of `operators`, counted from 0.
    pub const fn new(position: usize) -> Self {
        Self(position)
    }

    /// The position in `operators`, counted from 0.
    pub const fn position(self) -> usize {
        self.0
    }

    /// The x-coordinate of this node's shares.
    pub const fn share(self) -> ShareIndex {
        ShareIndex(self.0.saturating_add(1))
    }

    /// For people, who count from 1: `operator 2 of 4`.
    pub const fn of(self, operators: usize) -> impl fmt::Display {
        Counted {
            what: "operator",
            number: self.0.saturating_add(1),
            count: operators,
        }
    }
}

impl ShareIndex {
    /// The x-coordinate on the key polynomial, counted from 1.
    pub const fn x(self) -> u64 {
        self.0 as u64
    }

    /// The node that holds this share.
    pub const fn node(self) -> NodeIndex {
        NodeIndex(self.0.saturating_sub(1))
    }
}

impl ValidatorIndex {
    /// The validator at this position of `distributed_validators`, counted from 0.
    pub const fn new(position: usize) -> Self {
        Self(position)
    }

    /// The position in `distributed_validators`, counted from 0: the N of `keystore-N.json`.
    pub const fn position(self) -> usize {
        self.0
    }

    /// For people, with the count of all, but numbered from 0 as the keystore files are: `validator 0 (of 2)`.
    pub const fn of(self, validators: usize) -> impl fmt::Display {
        NumberedAsFile {
            number: self.0,
            count: validators,
        }
    }
}

impl fmt::Display for ValidatorIndex {
    /// The bare number, counted from 0, as in `keystore-0.json`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

struct Counted {
    what: &'static str,
    number: usize,
    count: usize,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of {}", self.what, self.number, self.count)
    }
}

struct NumberedAsFile {
    number: usize,
    count: usize,
}

impl fmt::Display for NumberedAsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "validator {} (of {})", self.number, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_count_operators_from_one_and_shares_do_too() {
        let second = NodeIndex::new(1);
        assert_eq!(second.of(4).to_string(), "operator 2 of 4");
        assert_eq!(second.share().x(), 2);
        assert_eq!(second.share().node(), second);
    }

    #[test]
    fn validators_are_numbered_like_their_keystores() {
        assert_eq!(
            ValidatorIndex::new(0).of(2).to_string(),
            "validator 0 (of 2)"
        );
        assert_eq!(ValidatorIndex::new(7).to_string(), "7");
    }
}
