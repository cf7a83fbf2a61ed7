//! The journal of a change that must be whole or not at all: a handful of renames on one filesystem, so that a crash or
//! power cut at any instant leaves something that [`recover`](crate::promote::recover::recover) finishes or undoes. No
//! byte is ever copied, overwritten or deleted.
//!
//! All functions expect their caller to hold the directory's guard.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ceremony::attempt::AttemptError;
use crate::machine::datadir::Layout;
use crate::machine::files::{EntryKind, FileError, Folder, Owner};
use crate::machine::read::{self, ReadError};
use crate::report;
use charon_files::cluster::names::{CLUSTER_LOCK_FILE, FileDigest, MAX_DEPTH};
use charon_files::finding::Finding;

pub(crate) const JOURNAL_FILE: &str = "journal.json";

/// The format of journal and manifest that this program writes and the only one it reads.
pub(crate) const FORMAT: u32 = 1;

/// Told after every change on the disk. Tests end the process here.
pub(crate) type Reached<'a> = &'a dyn Fn(&str);

/// Why promote, archive or recover did not do their work.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// An earlier promote or archive was interrupted; [`recover`](crate::promote::recover::recover) comes first.
    #[error("{} is there: an earlier change was interrupted", path.display())]
    Pending {
        /// The journal's path.
        path: PathBuf,
    },
    /// The stage or the data directory is not fit for a promotion. Nothing was moved.
    #[error("{}", describe(.0))]
    Refused(Vec<Finding>),
    /// It failed in the middle; everything is where it was before.
    #[error("{cause}; everything is back in its place")]
    Undone {
        /// What failed.
        cause: Box<JournalError>,
    },
    /// It failed in the middle, and going back failed too; the journal stays for [`recover`](crate::promote::recover::recover).
    #[error("{cause}; and going back failed: {undo}")]
    Stuck {
        /// What failed first.
        cause: Box<JournalError>,
        /// What failed on the way back.
        undo: FileError,
    },
    /// Everything was moved and is on the disk, but its record is not; the journal stays for [`recover`](crate::promote::recover::recover).
    #[error("{cause}; all files are in their place, and only the record of it is missing")]
    Unrecorded {
        /// What failed.
        cause: Box<JournalError>,
    },
    /// The journal is not what this program writes.
    #[error("{} is not a journal of this program: {reason}", path.display())]
    Journal {
        /// The journal's path.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The attempt's record does not allow it, or cannot be read or written.
    #[error(transparent)]
    Attempt(#[from] AttemptError),
    /// The journal could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The operating system refused or failed before anything was moved, or while recovering.
    #[error(transparent)]
    File(#[from] FileError),
}

impl JournalError {
    pub(crate) fn after_undo(cause: JournalError, undone: Result<(), FileError>) -> Self {
        let cause = Box::new(cause);
        match undone {
            Ok(()) => JournalError::Undone { cause },
            Err(undo) => JournalError::Stuck { cause, undo },
        }
    }
}

fn describe(findings: &[Finding]) -> String {
    match findings {
        [only] => report::finding_fact(only),
        several => format!("{} problems with the files of the stage", several.len()),
    }
}

/// What [`recover`](crate::promote::recover::recover) found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// A promotion was interrupted with every byte in place: it is complete now.
    PromotionFinished {
        /// The attempt's number.
        attempt: u32,
        /// The names that the data directory gained.
        names: Vec<String>,
    },
    /// A promotion was interrupted and cannot be completed: its files are back in the stage.
    PromotionUndone {
        /// The attempt's number.
        attempt: u32,
        /// Why it could not be completed.
        problems: Vec<Finding>,
    },
    /// Moving old outputs aside was interrupted: it is complete now.
    ArchiveFinished {
        /// Where they are.
        dir: PathBuf,
        /// The names that were to be moved.
        names: Vec<String>,
    },
    /// Moving old outputs aside was interrupted before anything had moved: nothing changed.
    ArchiveUndone,
    /// Changing an old cluster for the edited one was interrupted with every byte in place: it is complete now.
    SwitchFinished {
        /// The names that the data directory gained.
        names: Vec<String>,
    },
    /// Changing an old cluster for the edited one was interrupted and is undone: the old one is in its place.
    SwitchUndone {
        /// Why it could not be completed; nothing if nothing had moved yet.
        problems: Vec<Finding>,
    },
    /// Restoring a backup was interrupted with every byte in place: it is complete now.
    RestoreFinished {
        /// What the data directory gained.
        names: Vec<String>,
    },
    /// Restoring a backup was interrupted and cannot be completed: what it had brought is gone again.
    RestoreUndone {
        /// Where it is now.
        dir: PathBuf,
        /// Why it could not be completed.
        problems: Vec<Finding>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Journal {
    pub(crate) format: u32,
    pub(crate) job: Job,
    /// Entries of the directory that is moved from, in the order of moving.
    pub(crate) names: Vec<String>,
    /// What a promotion vouches for; empty for an archive, which moves whatever there is.
    pub(crate) files: Vec<FileDigest>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Job {
    Promote {
        attempt: u32,
    },
    Archive {
        name: String,
    },
    /// The name of the archive, if there is anything to archive, that under which the rest of the edit is kept, and what
    /// leaves the data directory.
    Switch {
        archive: Option<String>,
        kept: String,
        old: Vec<String>,
    },
    /// The stage's name, and the files that go from it into the state directory.
    Restore {
        name: String,
        kept: Vec<String>,
    },
}

pub(crate) fn open_in(root: &Folder, path: &str) -> Result<(Folder, std::fs::File), ReadError> {
    let (parents, name) = read::split(Path::new(path))?;
    let mut folder = root.again()?;
    for parent in parents {
        folder = folder.folder(parent)?;
    }
    let file = read::open_regular(&folder, name, "a verified file")?;
    Ok((folder, file))
}

/// How a file that was opened, or could not be, differs from what it was; `None` if it does not.
pub(crate) fn difference(
    opened: Result<(Folder, std::fs::File), ReadError>,
    file: &FileDigest,
) -> Option<String> {
    let digest = opened
        .map_err(|error| error.to_string())
        .and_then(|(_, opened)| read::digest(&opened).map_err(|error| error.to_string()));
    match digest {
        Ok((sha256, len)) if sha256 == file.sha256 && len == file.len => None,
        Ok((_, len)) => Some(format!("other content than was verified, {len} bytes")),
        Err(reason) => Some(reason),
    }
}

pub(crate) fn descend(root: &Folder, path: &Path) -> Result<Folder, FileError> {
    let mut folder = root.again()?;
    for name in path.components() {
        folder = folder.folder(name)?;
    }
    Ok(folder)
}

/// Every entry below a directory, relative to it.
pub(crate) fn listing(root: &Folder) -> Result<Vec<(PathBuf, EntryKind)>, FileError> {
    let mut found = Vec::new();
    let mut pending = vec![(PathBuf::new(), 0)];
    while let Some((prefix, depth)) = pending.pop() {
        let folder = descend(root, &prefix)?;
        for name in folder.names()? {
            let path = prefix.join(&name);
            let Some(status) = folder.status(&name)? else {
                continue;
            };
            if status.kind == EntryKind::Directory && depth < MAX_DEPTH {
                pending.push((path.clone(), depth + 1));
            }
            found.push((path, status.kind));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

pub(crate) fn changed(path: &str, seen: &str) -> Finding {
    Finding::fail(
        "stage-file-changed",
        path,
        seen,
        "the file that was verified",
    )
}

/// Renames of paths from one directory to the same places in another, and back. The directories that contain them are in
/// both.
pub(crate) struct Moves<'a> {
    pub(crate) from: &'a Folder,
    pub(crate) to: &'a Folder,
    pub(crate) names: &'a [String],
    pub(crate) reached: Reached<'a>,
}

impl Moves<'_> {
    /// Moves all that is not moved yet. A name that something else has taken is an error.
    pub(crate) fn forward(&self) -> Result<(), FileError> {
        for path in self.names {
            let Some((from, name)) = parent_in(self.from, path)? else {
                continue;
            };
            if from.status(name)?.is_none() {
                continue;
            }
            let Some((to, _)) = parent_in(self.to, path)? else {
                let cause = std::io::Error::from(std::io::ErrorKind::NotFound);
                let place = self.to.path().join(path);
                return Err(FileError::new("find the place of", place, cause));
            };
            self.move_one(&from, &to, path, name)?;
        }
        self.sync(self.from, self.to)
    }

    /// Moves back all that was moved, in the opposite order. A name that is in both places was not
    /// moved by us; both stay.
    pub(crate) fn back(&self) -> Result<(), FileError> {
        for path in self.names.iter().rev() {
            let (Some((from, name)), Some((to, _))) =
                (parent_in(self.from, path)?, parent_in(self.to, path)?)
            else {
                continue;
            };
            if to.status(name)?.is_some() && from.status(name)?.is_none() {
                self.move_one(&to, &from, path, name)?;
            }
        }
        self.sync(self.to, self.from)
    }

    fn move_one(
        &self,
        source: &Folder,
        target: &Folder,
        path: &str,
        name: &str,
    ) -> Result<(), FileError> {
        // The cluster lock is what makes charon run: its move is a step of its own on the disk.
        let alone = path == CLUSTER_LOCK_FILE;
        if alone {
            self.sync(source, target)?;
        }
        source.move_new(name, target, name)?;
        (self.reached)(&format!("moved {path}"));
        // What is deeper is not among what the sync of all reaches.
        if alone || path != name {
            self.sync(source, target)?;
        }
        Ok(())
    }

    /// The target first: a cut in between may show an entry in both places, but never in neither.
    fn sync(&self, source: &Folder, target: &Folder) -> Result<(), FileError> {
        target.sync()?;
        source.sync()?;
        (self.reached)("moves synced");
        Ok(())
    }
}

/// The directory that contains a path, opened name by name without following links, and its last name. `None` if there is no
/// such directory.
fn parent_in<'a>(root: &Folder, path: &'a str) -> Result<Option<(Folder, &'a str)>, FileError> {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    match descend(root, Path::new(parent)) {
        Ok(folder) => Ok(Some((folder, name))),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an earlier promote or archive was interrupted, so that [`recover`](crate::promote::recover::recover) has something to do.
pub(crate) fn is_pending(layout: &Layout) -> bool {
    std::fs::symlink_metadata(layout.state_dir().join(JOURNAL_FILE)).is_ok()
}

pub(crate) fn check_no_journal(state: &Folder) -> Result<(), JournalError> {
    match state.status(JOURNAL_FILE)? {
        None => Ok(()),
        Some(_) => Err(JournalError::Pending {
            path: state.path().join(JOURNAL_FILE),
        }),
    }
}

pub(crate) fn write_journal(
    state: &Folder,
    journal: &Journal,
    owner: Owner,
) -> Result<(), JournalError> {
    let text = serde_json::to_vec(journal).map_err(|error| JournalError::Journal {
        path: state.path().join(JOURNAL_FILE),
        reason: error.to_string(),
    })?;
    Ok(state.write(JOURNAL_FILE, &text, owner)?)
}

pub(crate) fn remove_journal(state: &Folder) -> Result<(), FileError> {
    state.remove_file(JOURNAL_FILE)?;
    state.sync()
}

pub(crate) fn read_journal(state: &Folder) -> Result<Option<Journal>, JournalError> {
    let bytes = match read::read_from(state, Path::new(JOURNAL_FILE), read::JOURNAL) {
        Ok(bytes) => bytes,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let invalid = |reason: String| JournalError::Journal {
        path: state.path().join(JOURNAL_FILE),
        reason,
    };
    let journal: Journal =
        serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
    if journal.format != FORMAT {
        return Err(invalid(format!(
            "format {}, expected {FORMAT}",
            journal.format
        )));
    }
    // Names become paths, and root may be the one who moves.
    let mut plain_names: Vec<&str> = Vec::new();
    let mut plain_paths: Vec<&str> = Vec::new();
    let names = journal.names.iter().map(String::as_str);
    match &journal.job {
        Job::Promote { .. } => plain_paths.extend(names),
        Job::Archive { name } => {
            plain_names.push(name);
            plain_names.extend(names);
        }
        Job::Switch { archive, kept, old } => {
            plain_names.extend(archive.as_deref());
            plain_names.push(kept);
            plain_names.extend(old.iter().map(String::as_str));
            plain_paths.extend(names);
        }
        Job::Restore { name, kept } => {
            plain_names.push(name);
            plain_paths.extend(names.chain(kept.iter().map(String::as_str)));
        }
    }
    for name in plain_names {
        if !read::split(Path::new(name)).is_ok_and(|(parents, _)| parents.is_empty()) {
            return Err(invalid(format!("{name:?} is not a plain name")));
        }
    }
    for path in plain_paths {
        if read::split(Path::new(path)).is_err() {
            return Err(invalid(format!("{path:?} is not a plain path")));
        }
    }
    for file in &journal.files {
        let plain = read::split(Path::new(&file.path)).is_ok();
        let below = |name: &String| Path::new(&file.path).starts_with(name);
        if !plain || !journal.names.iter().any(below) {
            return Err(invalid(format!("{:?} is not below the names", file.path)));
        }
    }
    Ok(Some(journal))
}
