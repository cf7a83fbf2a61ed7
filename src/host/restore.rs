//! Restore: from the stage of a backup into the data directory, and what a crash left of that.
//!
//! Renames under the journal of [`super::journal`]: nothing is overwritten, and `cluster-lock.json`, without which charon
//! does not run, comes last. What lies in the data directory already must be the very same, and stays. The caller holds the
//! directory's guard.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::backup::{self, STAGED_DATA, STAGED_STATE, Stage};
use super::datadir::{CLUSTER_LOCK_FILE, HEARTBEAT_FILE, Layout};
use super::files::{EntryKind, FileError, Folder, Owner};
use super::journal::{
    self, FORMAT, Job, Journal, JournalError, JournalFile, Promotion, Reached, Recovery,
};
use super::read;
use crate::backup::archive::{Place, Unpacked};
use crate::finding::Finding;
use crate::verify::VouchedFile;

/// What a backup would bring into a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Files that are not there yet, as in the backup.
    files: Vec<VouchedFile>,
    /// What is moved: a directory where it is missing as a whole, and else single files; the cluster lock last.
    names: Vec<String>,
}

impl Missing {
    /// How many files are not there yet.
    pub fn count(&self) -> usize {
        self.files.len()
    }
}

/// A restore that is complete and on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the data directory gained, `cluster-lock.json` last.
    pub names: Vec<String>,
}

/// Looks what of a backup the data directory lacks. Nothing is changed.
///
/// # Errors
/// [`JournalError::Refused`] with everything that lies there and is not in the backup, or not the same.
pub fn missing(layout: &Layout, files: &[Unpacked<'_>]) -> Result<Missing, JournalError> {
    let vouched: Vec<VouchedFile> = files
        .iter()
        .filter(|file| file.place == Place::Data)
        .map(|file| VouchedFile {
            path: file.path.to_owned(),
            sha256: sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new_with_prefix(
                file.bytes,
            ))
            .into(),
            len: u64::try_from(file.bytes.len()).unwrap_or(u64::MAX),
        })
        .collect();
    let data = match Folder::open(layout.data_dir()) {
        Ok(data) => data,
        Err(error) if error.is_missing() => return Ok(ordered(vouched, None)?),
        Err(error) => return Err(error.into()),
    };
    let mut findings = foreign(&data, &vouched)?;
    let mut absent = Vec::new();
    for file in vouched {
        match journal::open_in(&data, &file.path) {
            Ok((_, opened)) => {
                let (sha256, _) = read::digest(&opened).map_err(|cause| {
                    FileError::new("read", layout.data_dir().join(&file.path), cause)
                })?;
                if sha256 != file.sha256 {
                    findings.push(journal::fail(
                        "data-directory-occupied",
                        &file.path,
                        "another file in the data directory",
                        "the same as in the backup, or nothing",
                    ));
                }
            }
            Err(error) if error.is_missing() => absent.push(file),
            Err(error) => findings.push(journal::fail(
                "data-directory-occupied",
                &file.path,
                &error.to_string(),
                "the same as in the backup, or nothing",
            )),
        }
    }
    if !findings.is_empty() {
        return Err(JournalError::Refused(findings));
    }
    Ok(ordered(absent, Some(&data))?)
}

/// Everything in the data directory that the backup knows nothing of.
fn foreign(data: &Folder, vouched: &[VouchedFile]) -> Result<Vec<Finding>, FileError> {
    let files: BTreeSet<&Path> = vouched.iter().map(|file| Path::new(&file.path)).collect();
    let folders: BTreeSet<&Path> = files
        .iter()
        .flat_map(|file| file.ancestors().skip(1))
        .collect();
    Ok(journal::listing(data)?
        .into_iter()
        .filter(|(path, kind)| match kind {
            EntryKind::Regular => {
                !files.contains(path.as_path()) && path != Path::new(HEARTBEAT_FILE)
            }
            EntryKind::Directory => !folders.contains(path.as_path()),
            // Named where the backup has a file, and foreign elsewhere.
            EntryKind::Symlink | EntryKind::Fifo | EntryKind::Other => {
                !files.contains(path.as_path())
            }
        })
        .map(|(path, kind)| {
            journal::fail(
                "data-directory-occupied",
                &path.display().to_string(),
                &format!("{kind} that is not in the backup"),
                "an empty data directory, or the files of the backup",
            )
        })
        .collect())
}

/// The shortest part of each path that is not there yet.
fn ordered(files: Vec<VouchedFile>, data: Option<&Folder>) -> Result<Missing, FileError> {
    let mut names = BTreeSet::new();
    for file in &files {
        let mut prefix = PathBuf::new();
        let mut folder = data.map(Folder::again).transpose()?;
        for part in Path::new(&file.path).components() {
            prefix.push(part);
            let status = match &folder {
                Some(folder) => folder.status(part)?,
                None => None,
            };
            match (status, &folder) {
                (Some(status), Some(inside)) if status.kind == EntryKind::Directory => {
                    folder = Some(inside.folder(part)?);
                }
                _ => break,
            }
        }
        names.insert(prefix.to_string_lossy().into_owned());
    }
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort_by_key(|name| (name == CLUSTER_LOCK_FILE, name.clone()));
    Ok(Missing { files, names })
}

/// Moves what is missing from a stage, in which it was verified, into the data directory, which must exist. Every file is
/// hashed again and put on the disk first.
///
/// # Errors
/// On an error nothing of the backup is in the data directory, or the journal is still there and
/// [`journal::recover`] goes on.
pub fn restore(
    layout: &Layout,
    stage: Stage,
    missing: &Missing,
) -> Result<Restored, JournalError> {
    restore_at(layout, stage, missing, &|_| ())
}

fn restore_at(
    layout: &Layout,
    stage: Stage,
    missing: &Missing,
    reached: Reached<'_>,
) -> Result<Restored, JournalError> {
    let state = Folder::open(layout.state_dir())?;
    journal::check_no_journal(&state)?;
    let root = backup::open_stage(layout, stage.name())?;
    let (staged, staged_state) = (root.folder(STAGED_DATA)?, root.folder(STAGED_STATE)?);
    let data = Folder::open(layout.data_dir())?;
    let owner = data.own_status()?.owner;

    let mut folders = BTreeSet::new();
    for file in &missing.files {
        for folder in Path::new(&file.path).ancestors().skip(1) {
            if folder != Path::new("") {
                folders.insert(folder.to_owned());
            }
        }
    }
    let promotion = Promotion {
        names: missing.names.clone(),
        moved: missing.files.iter().collect(),
        folders,
    };
    let sealed = promotion.seal(&staged, owner)?;
    staged.sync()?;
    let kept = sync_kept(&staged_state)?;
    root.sync()?;
    reached("sealed");

    let journal = Journal {
        format: FORMAT,
        job: Job::Restore {
            name: stage.name().to_owned(),
            kept: kept.clone(),
        },
        names: missing.names.clone(),
        files: missing
            .files
            .iter()
            .map(|file| JournalFile {
                path: file.path.clone(),
                len: file.len,
                sha256: hex::encode(file.sha256),
            })
            .collect(),
    };
    journal::write_journal(&state, &journal, owner)?;
    reached("journal written");

    let changed = sealed.changes(&staged)?;
    if !changed.is_empty() {
        journal::remove_journal(&state)?;
        return Err(JournalError::Refused(changed));
    }
    let moves = Moves {
        from: &staged,
        to: &data,
        names: &missing.names,
        reached,
    };
    let done = moves
        .forward()
        .and_then(|()| bring_kept(layout, &staged_state, &kept, owner, reached));
    if let Err(cause) = done {
        let undone = moves.back().and_then(|()| journal::remove_journal(&state));
        return Err(JournalError::after_undo(cause.into(), undone));
    }
    journal::remove_journal(&state)?;
    reached("journal removed");
    stage.remove(layout)?;
    reached("stage removed");
    Ok(Restored {
        names: missing.names.clone(),
    })
}

/// The files for the state directory, put on the disk.
fn sync_kept(staged_state: &Folder) -> Result<Vec<String>, FileError> {
    let mut kept = Vec::new();
    for (path, kind) in journal::listing(staged_state)? {
        let (Some(text), EntryKind::Regular) = (path.to_str(), kind) else {
            continue;
        };
        let (folder, file) = journal::open_in(staged_state, text).map_err(|error| {
            let cause = std::io::Error::other(error.to_string());
            FileError::new("open", staged_state.path().join(text), cause)
        })?;
        file.sync_all()
            .and_then(|()| folder.file().sync_all())
            .map_err(|cause| FileError::new("sync", folder.path(), cause))?;
        kept.push(text.to_owned());
    }
    // The note that names the kept definition comes after it.
    kept.sort_by_key(|path| (!path.contains('/'), path.clone()));
    Ok(kept)
}

/// Brings what the state directory lacks; what it has, it keeps.
fn bring_kept(
    layout: &Layout,
    staged_state: &Folder,
    kept: &[String],
    owner: Owner,
    reached: Reached<'_>,
) -> Result<(), FileError> {
    let state = Folder::open(layout.state_dir())?;
    for path in kept {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let (from, to) = if parent.is_empty() {
            (staged_state.again()?, state.again()?)
        } else {
            match journal::descend(staged_state, Path::new(parent)) {
                Ok(from) => (from, state.folder_or_new(parent, owner)?),
                Err(error) if error.is_missing() => continue,
                Err(error) => return Err(error),
            }
        };
        if from.status(name)?.is_none() || to.status(name)?.is_some() {
            continue;
        }
        from.move_new(name, &to, name)?;
        to.sync()?;
        reached(&format!("kept {path}"));
    }
    state.sync()
}

/// Renames of paths from one directory to the same places in another, and back. The directories that they lie in are in both.
struct Moves<'a> {
    from: &'a Folder,
    to: &'a Folder,
    names: &'a [String],
    reached: Reached<'a>,
}

impl Moves<'_> {
    fn forward(&self) -> Result<(), FileError> {
        for path in self.names {
            let Some((from, name)) = parent_in(self.from, path)? else {
                continue;
            };
            if from.status(name)?.is_none() {
                continue;
            }
            let Some((to, _)) = parent_in(self.to, path)? else {
                let cause = std::io::Error::from(std::io::ErrorKind::NotFound);
                return Err(FileError::new("find the place of", self.to.path().join(path), cause));
            };
            if path == CLUSTER_LOCK_FILE {
                self.sync()?;
            }
            from.move_new(name, &to, name)?;
            (self.reached)(&format!("moved {path}"));
            to.sync()?;
            from.sync()?;
        }
        self.sync()
    }

    /// Moves back what is in the data directory and no longer in the stage, the cluster lock first.
    fn back(&self) -> Result<(), FileError> {
        for path in self.names.iter().rev() {
            let (Some((from, name)), Some((to, _))) =
                (parent_in(self.from, path)?, parent_in(self.to, path)?)
            else {
                continue;
            };
            if to.status(name)?.is_some() && from.status(name)?.is_none() {
                to.move_new(name, &from, name)?;
                (self.reached)(&format!("moved back {path}"));
                from.sync()?;
                to.sync()?;
            }
        }
        Ok(())
    }

    /// The target first: a cut in between may show an entry in both places, but never in neither.
    fn sync(&self) -> Result<(), FileError> {
        self.to.sync()?;
        self.from.sync()?;
        (self.reached)("moves synced");
        Ok(())
    }
}

/// The directory that a path lies in, opened name by name without following links, and its last name. `None` if there is no
/// such directory.
fn parent_in<'a>(root: &Folder, path: &'a str) -> Result<Option<(Folder, &'a str)>, FileError> {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    match journal::descend(root, Path::new(parent)) {
        Ok(folder) => Ok(Some((folder, name))),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Finishes what was cut short, or takes back what it had brought.
pub(super) fn recover(
    layout: &Layout,
    journal: &Journal,
    name: &str,
    kept: &[String],
    data: &Folder,
    reached: Reached<'_>,
) -> Result<Recovery, JournalError> {
    let owner = data.own_status()?.owner;
    let root = backup::open_or_make_stage(layout, name, owner)?;
    let staged = root.folder_or_new(STAGED_DATA, owner)?;
    let staged_state = root.folder_or_new(STAGED_STATE, owner)?;
    let moves = Moves {
        from: &staged,
        to: data,
        names: &journal.names,
        reached,
    };
    let problems = incomplete(journal, &staged, data);
    if !problems.is_empty() {
        moves.back()?;
        // Somebody touched these files: they are not ours to delete.
        let dir = backup::set_aside(layout, name)?;
        return Ok(Recovery::RestoreUndone { dir, problems });
    }
    moves.forward()?;
    bring_kept(layout, &staged_state, kept, owner, reached)?;
    Ok(Recovery::RestoreFinished {
        names: journal.names.clone(),
    })
}

/// Every file must be in one of the two places, as journaled.
fn incomplete(journal: &Journal, staged: &Folder, data: &Folder) -> Vec<Finding> {
    journal
        .files
        .par_iter()
        .filter_map(|file| {
            let places: Vec<_> = [staged, data]
                .into_iter()
                .filter_map(|place| journal::open_in(place, &file.path).ok())
                .collect();
            let seen = match places.as_slice() {
                [(_, opened)] => match read::digest(opened) {
                    Ok((sha256, len)) if hex::encode(sha256) == file.sha256 && len == file.len => {
                        return None;
                    }
                    Ok((_, len)) => format!("another content, {len} bytes"),
                    Err(error) => error.to_string(),
                },
                [] => "neither in the stage nor in the data directory".to_owned(),
                _ => "in the stage and also in the data directory".to_owned(),
            };
            Some(journal::changed(&file.path, &seen))
        })
        .collect()
}
