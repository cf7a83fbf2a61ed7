//! What an edit made, while it waits beside the directory of the old cluster.
//!
//! ```text
//! <state dir>/edit/record.json         which edit it is, and since when it is held
//!                  previous-lock.json  the cluster lock before the edit
//!                  new/                what the edit made, without the ENR key, which stays where it is
//!                  stopped.txt         stopped lines of the old operators that count, one a line
//!             edits/<name>/            the same of edits that are over, as evidence
//! ```
//!
//! Writing expects the caller to hold the directory's guard; reading does not.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::machine::datadir::{self, Layout};
use crate::machine::files::{FileError, Folder};
use crate::machine::read::{self, ReadError};
use crate::proof::receipts;
use charon_proof::edit::EditKind;
use charon_proof::stopped::StoppedLine;
use charon_proof::verify::NamedFile;

pub(crate) const EDIT_DIR: &str = "edit";
const OVER_DIR: &str = "edits";
/// Under construction; it gets its name when it is complete.
const UNFINISHED_DIR: &str = ".edit";
pub(crate) const RECORD_FILE: &str = "record.json";
pub(crate) const PREVIOUS_LOCK_FILE: &str = "previous-lock.json";
pub(crate) const NEW_DIR: &str = "new";
pub(crate) const STOPPED_FILE: &str = "stopped.txt";

/// The format of [`Record`] that this program writes and the only one it reads.
const FORMAT: u32 = 1;

/// What is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    format: u32,
    /// charon's command, after `charon alpha edit`.
    pub kind: String,
    /// Of the lock before the edit, `0x` and hexadecimal.
    pub previous_lock_hash: String,
    /// Of the lock that the edit made, likewise.
    pub lock_hash: String,
    /// Since when it is held, RFC 3339.
    pub held: String,
    /// What charon was run with, where this program ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ran_with: Option<RanWith>,
}

/// The charon that made what is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RanWith {
    /// As it was run, by digest or local id.
    pub image: String,
    /// Its release, such as `v1.10.3`.
    pub version: String,
}

impl Record {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if record.format == FORMAT {
            Ok(record)
        } else {
            Err(format!("format {}, expected {FORMAT}", record.format))
        }
    }

    /// A record of today.
    pub(crate) fn new(
        kind: EditKind,
        previous_lock_hash: String,
        lock_hash: String,
        held: String,
        ran_with: Option<RanWith>,
    ) -> Self {
        Self {
            format: FORMAT,
            kind: kind.command().to_owned(),
            previous_lock_hash,
            lock_hash,
            held,
            ran_with,
        }
    }
}

/// Why what is held cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeldError {
    /// The record is not what this program writes.
    #[error("{} is not a record of this program: {reason}", path.display())]
    Record {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The operating system refused or failed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Where an edit is held, whether or not one is.
pub(crate) fn place(layout: &Layout) -> PathBuf {
    layout.state_dir().join(EDIT_DIR)
}

/// Where the new files are, whether or not there are any.
pub(crate) fn new_files(layout: &Layout) -> PathBuf {
    place(layout).join(NEW_DIR)
}

/// The cluster lock before the edit.
pub(crate) fn previous_lock(layout: &Layout) -> PathBuf {
    place(layout).join(PREVIOUS_LOCK_FILE)
}

/// The record of the edit that is held, if there is one.
///
/// # Errors
/// If there is one that cannot be read.
pub(crate) fn find(layout: &Layout) -> Result<Option<Record>, HeldError> {
    let relative = Path::new(EDIT_DIR).join(RECORD_FILE);
    let bytes = match read::read_in(layout.state_dir(), &relative, read::RECORD) {
        Ok(bytes) => bytes,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Record::parse(&bytes)
        .map(Some)
        .map_err(|reason| HeldError::Record {
            path: layout.state_dir().join(&relative),
            reason,
        })
}

/// Copies files into a directory of ours, complete or not at all. Nothing may be held yet. `done` is called for each file.
///
/// # Errors
/// If the operating system refuses or fails; then nothing is held.
pub(crate) fn hold(
    layout: &Layout,
    record: &Record,
    previous_lock: &[u8],
    files: &[&NamedFile],
    done: &dyn Fn(),
) -> Result<(), HeldError> {
    let owner = layout.owner()?;
    let state = Folder::open(layout.state_dir())?;
    // A copy that was interrupted; the originals are where they were taken from.
    state.remove_tree(UNFINISHED_DIR)?;
    let unfinished = state.make_folder(UNFINISHED_DIR, owner)?;
    let new = unfinished.make_folder(NEW_DIR, owner)?;
    for file in files {
        let (parents, name) = read::split(Path::new(&file.path))?;
        let mut folder = new.again()?;
        for parent in parents {
            folder = folder.folder_or_new(&parent.to_string_lossy(), owner)?;
        }
        folder.write(&name.to_string_lossy(), &file.bytes, owner)?;
        done();
    }
    unfinished.write(PREVIOUS_LOCK_FILE, previous_lock, owner)?;
    let text = serde_json::to_vec_pretty(record).map_err(|error| HeldError::Record {
        path: unfinished.path().join(RECORD_FILE),
        reason: error.to_string(),
    })?;
    unfinished.write(RECORD_FILE, &text, owner)?;
    state.move_new(UNFINISHED_DIR, &state, EDIT_DIR)?;
    Ok(state.sync()?)
}

/// The stopped lines that are kept. What is damaged among them is as good as missing.
///
/// # Errors
/// If there are some and they cannot be read.
pub(crate) fn stopped_lines(layout: &Layout) -> Result<Vec<StoppedLine>, ReadError> {
    let text = receipts::read_lines(layout, EDIT_DIR, STOPPED_FILE)?;
    Ok(receipts::lines_in(&text))
}

/// Keeps exactly these stopped lines beside the edit that is held.
///
/// # Errors
/// If the operating system refuses or fails; then those that were kept before still are.
pub(crate) fn keep_stopped_lines(layout: &Layout, lines: &[StoppedLine]) -> Result<(), FileError> {
    receipts::write_lines(layout, EDIT_DIR, STOPPED_FILE, lines)
}

/// A name for an edit that is over, which nothing has yet: `<time>-<how>`.
///
/// # Errors
/// If the operating system refuses or fails.
pub(crate) fn free_name(
    layout: &Layout,
    now: jiff::Timestamp,
    how: &str,
) -> Result<String, FileError> {
    let name = format!("{}-{how}", datadir::time_name(now));
    datadir::free_name(&datadir::state_folder(layout, OVER_DIR)?, &name)
}

/// Moves what is left of the edit aside, as evidence; nothing held is fine. Gives where it is.
///
/// # Errors
/// If the operating system refuses or fails.
pub(crate) fn put_aside(layout: &Layout, name: &str) -> Result<PathBuf, FileError> {
    let state = Folder::open(layout.state_dir())?;
    let over = datadir::state_folder(layout, OVER_DIR)?;
    if state.status(EDIT_DIR)?.is_some() {
        state.move_new(EDIT_DIR, &over, name)?;
        over.sync()?;
        state.sync()?;
    }
    Ok(over.path().join(name))
}
