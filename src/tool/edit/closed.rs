//! Cluster locks that must not start in this directory: the record that the gate asks.
//!
//! ```text
//! <state dir>/closed-locks.json
//! ```
//!
//! Writing expects the caller to hold the directory's guard; reading does not.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::machine::datadir::Layout;
use crate::machine::files::{FileError, Folder};
use crate::machine::read::{self, Limit, ReadError};
use charon_files::cluster::LockHash;

pub(crate) const CLOSED_LOCKS_FILE: &str = "closed-locks.json";

/// The format that this program writes and the only one it reads.
const FORMAT: u32 = 1;

/// A cluster is edited a few times in its life.
const RECORD: Limit = Limit {
    bytes: 1 << 20,
    what: "a record of locks that must not start",
};

/// Why a lock must not start here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Why {
    /// This node has stated that it stopped for an edit of the cluster.
    Stopped,
    /// This node runs the lock that an edit made of it.
    Switched,
    /// This operator was removed.
    Retired,
    /// It is what an edit made that was given up here. Stopped lines for it may still be in chats, and were true once; so it
    /// is never held again.
    Abandoned,
}

/// One lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClosedLock {
    /// `0x` and hexadecimal.
    pub lock_hash: String,
    /// Why.
    pub why: Why,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format: u32,
    locks: Vec<ClosedLock>,
}

/// Why a record cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClosedError {
    /// It is not what this program writes.
    #[error("{CLOSED_LOCKS_FILE} is not a record of this program: {0}")]
    Malformed(String),
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// All locks on record; none if there is no record.
///
/// # Errors
/// If there is one that cannot be read. Then nothing may start.
pub(crate) fn read(layout: &Layout) -> Result<Vec<ClosedLock>, ClosedError> {
    let bytes = match read::read_in(layout.state_dir(), Path::new(CLOSED_LOCKS_FILE), RECORD) {
        Ok(bytes) => bytes,
        Err(error) if error.is_missing() => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Result<Vec<ClosedLock>, ClosedError> {
    let record: Record =
        serde_json::from_slice(bytes).map_err(|error| ClosedError::Malformed(error.to_string()))?;
    if record.format != FORMAT {
        return Err(ClosedError::Malformed(format!(
            "format {}, expected {FORMAT}",
            record.format
        )));
    }
    Ok(record.locks)
}

/// Why this lock must not start here, if so.
///
/// # Errors
/// If the record cannot be read.
pub(crate) fn find(layout: &Layout, lock_hash: &LockHash) -> Result<Option<Why>, ClosedError> {
    let wanted = lock_hash.to_string();
    let locks = read(layout)?;
    Ok(locks
        .into_iter()
        .find(|lock| lock.lock_hash == wanted)
        .map(|lock| lock.why))
}

/// Keeps a lock from starting here. Only [`Why::Stopped`] gives way to another reason.
///
/// # Errors
/// If the record cannot be read or written.
pub(crate) fn close(layout: &Layout, lock_hash: &str, why: Why) -> Result<(), ClosedError> {
    let mut locks = read(layout)?;
    match locks.iter_mut().find(|lock| lock.lock_hash == lock_hash) {
        Some(known) if known.why == Why::Stopped => known.why = why,
        Some(_) => return Ok(()),
        None => locks.push(ClosedLock {
            lock_hash: lock_hash.to_owned(),
            why,
        }),
    }
    write(layout, locks)
}

/// Keeps every lock from starting here that this record, such as that of a backup, keeps from it.
///
/// # Errors
/// If one of the records cannot be read or written.
pub(crate) fn close_all(layout: &Layout, record: &[u8]) -> Result<(), ClosedError> {
    parse(record)?
        .iter()
        .try_for_each(|lock| close(layout, &lock.lock_hash, lock.why))
}

/// Lets a lock start again that was stopped, and no other.
///
/// # Errors
/// If the record cannot be read or written.
pub(crate) fn open_again(layout: &Layout, lock_hash: &str) -> Result<(), ClosedError> {
    let mut locks = read(layout)?;
    let count = locks.len();
    locks.retain(|lock| lock.lock_hash != lock_hash || lock.why != Why::Stopped);
    if locks.len() == count {
        return Ok(());
    }
    write(layout, locks)
}

fn write(layout: &Layout, locks: Vec<ClosedLock>) -> Result<(), ClosedError> {
    let record = Record {
        format: FORMAT,
        locks,
    };
    let text = serde_json::to_vec_pretty(&record)
        .map_err(|error| ClosedError::Malformed(error.to_string()))?;
    Folder::open(layout.state_dir())?.write(CLOSED_LOCKS_FILE, &text, layout.owner()?)?;
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::machine::testing::Project;

    #[test]
    fn a_lock_stays_closed_unless_it_was_only_stopped() {
        let project = Project::new();
        let layout = &project.layout;
        let hash = |byte| LockHash::new([byte; 32]);
        assert_eq!(find(layout, &hash(1)).unwrap(), None);
        open_again(layout, &hash(1).to_string()).unwrap();
        close(layout, &hash(1).to_string(), Why::Stopped).unwrap();
        close(layout, &hash(2).to_string(), Why::Retired).unwrap();
        assert_eq!(find(layout, &hash(1)).unwrap(), Some(Why::Stopped));
        assert_eq!(find(layout, &hash(3)).unwrap(), None);
        open_again(layout, &hash(1).to_string()).unwrap();
        assert_eq!(find(layout, &hash(1)).unwrap(), None);
        close(layout, &hash(1).to_string(), Why::Stopped).unwrap();
        close(layout, &hash(1).to_string(), Why::Switched).unwrap();
        for (byte, why) in [(1, Why::Switched), (2, Why::Retired)] {
            close(layout, &hash(byte).to_string(), Why::Stopped).unwrap();
            open_again(layout, &hash(byte).to_string()).unwrap();
            assert_eq!(find(layout, &hash(byte)).unwrap(), Some(why));
        }
    }

    #[test]
    fn what_either_record_closes_is_closed() {
        let (ours, theirs) = (Project::new(), Project::new());
        let hash = |byte| LockHash::new([byte; 32]);
        close(&ours.layout, &hash(1).to_string(), Why::Retired).unwrap();
        close(&ours.layout, &hash(2).to_string(), Why::Stopped).unwrap();
        close(&theirs.layout, &hash(2).to_string(), Why::Switched).unwrap();
        close(&theirs.layout, &hash(3).to_string(), Why::Stopped).unwrap();
        let record = std::fs::read(theirs.layout.state_dir().join(CLOSED_LOCKS_FILE)).unwrap();
        close_all(&ours.layout, &record).unwrap();
        for (byte, why) in [(1, Why::Retired), (2, Why::Switched), (3, Why::Stopped)] {
            assert_eq!(find(&ours.layout, &hash(byte)).unwrap(), Some(why));
        }
    }

    #[test]
    fn a_record_that_cannot_be_read_is_an_error() {
        let project = Project::new();
        let path = project.layout.state_dir().join(CLOSED_LOCKS_FILE);
        for text in ["", "{}", r#"{"format":2,"locks":[]}"#] {
            std::fs::write(&path, text).unwrap();
            assert!(find(&project.layout, &LockHash::new([1; 32])).is_err());
            assert!(close(&project.layout, "0x01", Why::Stopped).is_err());
        }
    }
}
