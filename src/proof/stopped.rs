//! A stopped line: one line of text in which an operator of a cluster that was edited states, signed with the ENR key, that
//! charon and validator client of the old cluster do not run on this machine any more, and since when.
//!
//! It names the lock that the edit made, too. So a line that was given for an edit that was abandoned is of no use to the
//! next one, for which the old cluster has to be stopped again. The format is described in `docs/edit.md`.

use crate::line::{
    self, Broken, LineKind, MAX_VERSION_BYTES, Malformed, OVERHEAD_BYTES, Reader, Signed, Stated,
    StatementError, TooMuch, check_node, check_version, put_text,
};
use charon_files::cluster::{LockHash, NodeIndex};

/// Longest stopped line in characters.
pub const MAX_STOPPED_CHARS: usize = line::max_chars::<Statement>();

const _: () = assert!(MAX_STOPPED_CHARS <= line::MAX_CHARS);

/// That a node does not run for a lock any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Whose statement it is, by position in the old lock.
    pub node: NodeIndex,
    /// Number of operators of the old lock.
    pub operators: u16,
    /// Hash of the lock that is not run any more.
    pub old_lock_hash: LockHash,
    /// Hash of the lock that the edit made.
    pub new_lock_hash: LockHash,
    /// Since when nothing runs, by the node's clock, in seconds of Unix time.
    pub time: u64,
    /// Version of the program that looked and signed, such as `0.1.0`.
    pub program_version: String,
}

/// A stopped line: the statement and its signature.
pub type StoppedLine = Signed<Statement>;

/// Every stopped line in a text, and what only looks like one; see [`line::find`].
///
/// # Errors
/// If the text is too long, or there are too many.
pub fn find_stopped_lines(text: &str) -> Result<Vec<Result<StoppedLine, Broken>>, TooMuch> {
    line::find(text)
}

/// Two hashes and the time.
const FIXED_BYTES: usize = 32 + 32 + 8;

impl Stated for Statement {
    const KIND: LineKind = LineKind::Stopped;
    const MIN_BYTES: usize = OVERHEAD_BYTES + FIXED_BYTES + 2;
    const MAX_BYTES: usize = OVERHEAD_BYTES + FIXED_BYTES + 1 + MAX_VERSION_BYTES;

    fn node(&self) -> NodeIndex {
        self.node
    }

    fn operators(&self) -> u16 {
        self.operators
    }

    fn time(&self) -> u64 {
        self.time
    }

    fn check(&self) -> Result<(), StatementError> {
        check_node(self.node, self.operators)?;
        check_version(&self.program_version)
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.old_lock_hash.as_bytes());
        bytes.extend(self.new_lock_hash.as_bytes());
        bytes.extend(self.time.to_be_bytes());
        put_text(bytes, &self.program_version);
    }

    fn read(
        _format: u8,
        node: NodeIndex,
        operators: u16,
        rest: &mut Reader<'_>,
    ) -> Result<Self, Malformed> {
        Ok(Self {
            node,
            operators,
            old_lock_hash: LockHash::new(rest.array()?),
            new_lock_hash: LockHash::new(rest.array()?),
            time: u64::from_be_bytes(rest.array()?),
            program_version: rest.text()?.to_owned(),
        })
    }
}
