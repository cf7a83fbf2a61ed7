//! Restore: from the stage of a backup into the data directory, and what a crash left of that.
//!
//! Renames under the journal of [`crate::promote::journal`]: nothing is overwritten, and `cluster-lock.json`, without which charon
//! does not run, comes last. What is in the data directory already must be identical, and stays. The caller holds the
//! directory's guard.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::custody::contents::{self, Place, Unpacked};
use crate::custody::sources::{self, STAGED_DATA, STAGED_STATE, Stage};
use crate::edit::held::{EDIT_DIR, STOPPED_FILE};
use crate::machine::datadir::Layout;
use crate::machine::files::{self, EntryKind, FileError, Folder, Owner};
use crate::machine::{os, read};
use crate::promote::journal::{self, FORMAT, Job, Journal, JournalError, Moves, Reached, Recovery};
use crate::promote::promotion::Promotion;
use charon_files::cluster::names::FileDigest;
use charon_files::cluster::names::{CLUSTER_LOCK_FILE, HEARTBEAT_FILE};
use charon_files::finding::Finding;

/// What a backup would bring into a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Files that are not there yet, as in the backup.
    files: Vec<FileDigest>,
    /// What is moved: a directory where it is missing as a whole, and else single files; the cluster lock last.
    names: Vec<String>,
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
/// [`JournalError::Refused`] with everything that is there and not in the backup, or not the same.
pub fn missing(layout: &Layout, files: &[Unpacked<'_>]) -> Result<Missing, JournalError> {
    let vouched: Vec<FileDigest> = files
        .iter()
        .filter(|file| file.place == Place::Data)
        .map(|file| FileDigest::of(file.path, file.bytes))
        .collect();
    let data = match Folder::open(layout.data_dir()) {
        Ok(data) => data,
        Err(error) if error.is_missing() => {
            let findings = other_attempts(layout, files);
            return if findings.is_empty() {
                Ok(ordered(vouched, None)?)
            } else {
                Err(JournalError::Refused(findings))
            };
        }
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
                    findings.push(Finding::fail(
                        "data-directory-occupied",
                        &file.path,
                        "another file in the data directory",
                        "the same as in the backup, or nothing",
                    ));
                }
            }
            Err(error) if error.is_missing() => absent.push(file),
            Err(error) => findings.push(Finding::fail(
                "data-directory-occupied",
                &file.path,
                error.to_string(),
                "the same as in the backup, or nothing",
            )),
        }
    }
    findings.extend(other_attempts(layout, files));
    if !findings.is_empty() {
        return Err(JournalError::Refused(findings));
    }
    Ok(ordered(absent, Some(&data))?)
}

/// Files of a held ceremony or edit where another one has its place: it is brought as a whole, or is there already.
fn other_attempts(layout: &Layout, files: &[Unpacked<'_>]) -> Vec<Finding> {
    let held = files.iter().filter_map(|file| {
        let whole = contents::held_with(file.path).filter(|_| file.place == Place::State)?;
        let there = std::fs::symlink_metadata(layout.state_dir().join(whole)).is_ok();
        // Stopped lines are collected, and those that are here stay.
        let is_collected = file.path == format!("{EDIT_DIR}/{STOPPED_FILE}");
        (there && !is_collected).then_some(file)
    });
    held.filter_map(|file| {
        let (path, limit) = (Path::new(file.path), sources::ANY_FILE);
        let same = read::read_secret_in(layout.state_dir(), path, limit)
            .is_ok_and(|bytes| bytes.as_slice() == file.bytes);
        (!same).then(|| {
            Finding::fail(
                "data-directory-occupied",
                format!("{}{}", file.place.prefix(), file.path),
                "something else in its place, without the same file",
                "nothing in its place, or what the backup has",
            )
        })
    })
    .collect()
}

/// Everything in the data directory that the backup knows nothing of.
fn foreign(data: &Folder, vouched: &[FileDigest]) -> Result<Vec<Finding>, FileError> {
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
            Finding::fail(
                "data-directory-occupied",
                path.display().to_string(),
                format!("{kind} that is not in the backup"),
                "an empty data directory, or the files of the backup",
            )
        })
        .collect())
}

/// The shortest part of each path that is not there yet.
fn ordered(files: Vec<FileDigest>, data: Option<&Folder>) -> Result<Missing, FileError> {
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
/// [`recover`](crate::promote::recover::recover) goes on.
pub fn restore(layout: &Layout, stage: Stage, missing: &Missing) -> Result<Restored, JournalError> {
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
    let root = sources::open_stage(layout, stage.name())?;
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
        files: missing.files.clone(),
    };
    sealed.begin(&staged, &state, &journal, owner, reached)?;
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
    // Windows keeps the name of an open directory.
    drop((root, staged, staged_state));
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
        if path.to_str().is_none() || kind != EntryKind::Regular {
            continue;
        }
        let text = &files::slashed(&path);
        let (folder, file) = journal::open_in(staged_state, text).map_err(|error| {
            let cause = std::io::Error::other(error.to_string());
            FileError::new("open", staged_state.path().join(text), cause)
        })?;
        os::sync_file(&file, &staged_state.path().join(&path))
            .map_err(|cause| FileError::new("sync", folder.path(), cause))?;
        folder.sync()?;
        // What is held is brought by one rename, so that there never is a part of it.
        let whole = contents::held_with(text).unwrap_or(text);
        if kept.last().is_none_or(|last: &String| last != whole) {
            kept.push(whole.to_owned());
        }
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

/// Finishes what was interrupted, or takes back what it had brought.
pub(crate) fn recover(
    layout: &Layout,
    journal: &Journal,
    name: &str,
    kept: &[String],
    data: &Folder,
    reached: Reached<'_>,
) -> Result<Recovery, JournalError> {
    let owner = data.own_status()?.owner;
    let root = sources::open_or_make_stage(layout, name, owner)?;
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
        let dir = sources::set_aside(layout, name)?;
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
            let mut places = [staged, data]
                .into_iter()
                .filter_map(|place| journal::open_in(place, &file.path).ok());
            let seen = match (places.next(), places.next()) {
                (Some(opened), None) => journal::difference(Ok(opened), file)?,
                (Some(_), Some(_)) => "in the stage and also in the data directory".to_owned(),
                (None, _) => "neither in the stage nor in the data directory".to_owned(),
            };
            Some(journal::changed(&file.path, &seen))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::machine::datadir;
    use crate::machine::testing::{self, Helper, KEY, as_tree, crashing_at, put, tree};
    use crate::promote::recover::{recover, recover_at};
    use charon_files::cluster::names::ENR_KEY_FILE;

    const HELPER: &str = "custody::restore::tests::helper";

    const DATA: [(&str, &[u8]); 6] = [
        (ENR_KEY_FILE, KEY),
        ("cluster-lock.json", b"the lock"),
        ("deposit-data.json", b"thirty-two"),
        ("validator_keys/keystore-0.json", b"keystore 0"),
        ("validator_keys/keystore-0.txt", b"password 0"),
        ("validator_keys/keystore-1.json", b"keystore 1"),
    ];

    const STATE: [(&str, &[u8]); 3] = [
        ("definition.json", b"note"),
        ("definitions/d.json", b"definition"),
        ("receipts/r.txt", b"receipts"),
    ];

    fn backup() -> Vec<Unpacked<'static>> {
        let of = |place| {
            move |(path, bytes): &(&'static str, &'static [u8])| Unpacked { place, path, bytes }
        };
        let state = STATE.iter().map(of(Place::State));
        DATA.iter().map(of(Place::Data)).chain(state).collect()
    }

    /// A project whose data directory holds these files of the backup already.
    struct Target {
        layout: Layout,
        _dir: tempfile::TempDir,
    }

    impl Target {
        fn holding(names: &[&str]) -> Self {
            let dir = tempfile::tempdir_in("/dev/shm").unwrap();
            let layout = Layout::resolve(dir.path(), None).unwrap();
            datadir::create_data_dir(&layout).unwrap();
            datadir::create_state_dir(&layout).unwrap();
            for (path, bytes) in DATA.iter().filter(|(path, _)| names.contains(path)) {
                put(&layout.data_dir().join(path), bytes, 0o600);
            }
            Self { layout, _dir: dir }
        }

        fn data(&self) -> BTreeMap<String, Vec<u8>> {
            tree(self.layout.data_dir())
        }

        fn run(&self, reached: Reached<'_>) -> Result<Restored, JournalError> {
            let files = backup();
            let missing = missing(&self.layout, &files)?;
            let stage = Stage::fill(&self.layout, "restore-1", &files)?;
            restore_at(&self.layout, stage, &missing, reached)
        }

        /// At any instant: what was there is there, and with the cluster lock comes everything.
        fn assert_promise(&self, before: &BTreeMap<String, Vec<u8>>) {
            let data = self.data();
            for (path, bytes) in before {
                assert_eq!(data.get(path), Some(bytes), "{path} was touched");
            }
            let all = as_tree(&DATA);
            for (path, bytes) in &data {
                assert_eq!(all.get(path), Some(bytes), "{path} is not as in the backup");
            }
            if data.contains_key(CLUSTER_LOCK_FILE) && !before.contains_key(CLUSTER_LOCK_FILE) {
                assert_eq!(data, all, "the cluster lock came before the rest");
            }
        }

        /// Once recover has run: everything or nothing, and nothing left over.
        fn assert_settled(&self, before: &BTreeMap<String, Vec<u8>>) {
            let data = self.data();
            assert!(data == *before || data == as_tree(&DATA), "neither nor");
            assert_eq!(recover(&self.layout).unwrap(), None);
            let state = tree(self.layout.state_dir());
            let names: Vec<&str> = state
                .keys()
                .map(String::as_str)
                .filter(|name| STATE.iter().all(|(known, _)| known != name))
                .collect();
            assert_eq!(names, [".gitignore"]);
            if data != *before {
                for (path, bytes) in STATE {
                    assert_eq!(state.get(path).map(Vec::as_slice), Some(bytes));
                }
            }
        }
    }

    const STARTS: [&[&str]; 3] = [
        &[],
        &[ENR_KEY_FILE, "validator_keys/keystore-0.txt"],
        &[ENR_KEY_FILE, "cluster-lock.json"],
    ];

    #[test]
    fn a_crash_at_any_step_leaves_all_or_nothing() {
        for start in STARTS {
            for step in 0.. {
                let target = Target::holding(start);
                let before = target.data();
                let done = crashing_at(step, |reached| target.run(reached).unwrap());
                target.assert_promise(&before);
                recover(&target.layout).unwrap();
                target.assert_settled(&before);
                if done.is_some() {
                    assert!(step > 8, "only {step} steps");
                    assert_eq!(target.data(), as_tree(&DATA));
                    break;
                }
                // Given again, it ends.
                target.run(&|_| ()).unwrap();
                assert_eq!(target.data(), as_tree(&DATA));
            }
        }
    }

    #[test]
    fn a_crash_at_any_step_of_recovery_changes_nothing() {
        for start in STARTS {
            for first in 1..14 {
                for second in 0.. {
                    let target = Target::holding(start);
                    let before = target.data();
                    crashing_at(first, |reached| drop(target.run(reached)));
                    let done = crashing_at(second, |reached| {
                        recover_at(&target.layout, reached).unwrap();
                    });
                    target.assert_promise(&before);
                    recover(&target.layout).unwrap();
                    target.assert_settled(&before);
                    if done.is_some() {
                        break;
                    }
                }
            }
        }
    }

    #[test]
    fn what_was_touched_after_a_crash_is_taken_back_and_kept_aside() {
        let target = Target::holding(&[]);
        // The journal is written and the first names are moved.
        crashing_at(4, |reached| drop(target.run(reached)));
        let name = "deposit-data.json";
        let staged = target.layout.state_dir().join("restores/restore-1/charon");
        let place = [target.layout.data_dir().join(name), staged.join(name)]
            .into_iter()
            .find(|path| path.exists())
            .unwrap();
        fs::write(place, "edited").unwrap();
        let recovery = recover(&target.layout).unwrap();
        let Some(Recovery::RestoreUndone { dir, problems }) = recovery else {
            panic!("{recovery:?}");
        };
        assert_eq!(problems[0].subject, name);
        assert!(target.data().is_empty());
        assert_eq!(fs::read(dir.join("charon").join(name)).unwrap(), b"edited");
        assert_eq!(recover(&target.layout).unwrap(), None);
        assert!(dir.exists());
    }

    #[test]
    fn a_link_put_in_the_way_leads_nowhere() {
        let target = Target::holding(&[ENR_KEY_FILE, "validator_keys/keystore-0.txt"]);
        let outside = tempfile::tempdir().unwrap();
        let keys = target.layout.data_dir().join("validator_keys");
        let aside = target.layout.project_dir().join("aside");
        let error = target
            .run(&|step| {
                if step == "journal written" {
                    fs::rename(&keys, &aside).unwrap();
                    symlink(outside.path(), &keys).unwrap();
                }
            })
            .unwrap_err();
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "{error}");
        assert!(!target.layout.data_dir().join(CLUSTER_LOCK_FILE).exists());
    }

    #[test]
    fn a_lost_stage_does_not_keep_recovery_from_ending() {
        for step in 1..14 {
            let target = Target::holding(&[]);
            crashing_at(step, |reached| drop(target.run(reached)));
            fs::remove_dir_all(target.layout.state_dir().join("restores")).ok();
            recover(&target.layout).unwrap();
            assert_eq!(recover(&target.layout).unwrap(), None);
            let data = target.data();
            assert!(
                data.is_empty() || data == as_tree(&DATA),
                "{step}: {data:?}"
            );
        }
    }

    /// Restores in the project of its task, and kills itself with SIGKILL at the step of its task.
    #[test]
    #[ignore = "the other side of other tests"]
    fn helper() {
        let Some(task) = testing::task() else {
            return;
        };
        let (step, dir) = task.split_once(' ').unwrap();
        let layout = Layout::resolve(Path::new(dir), None).unwrap();
        let (steps, killer) = (Cell::new(0_usize), step.parse::<usize>().unwrap());
        let files = backup();
        let missing = missing(&layout, &files).unwrap();
        let stage = Stage::fill(&layout, "restore-1", &files).unwrap();
        let done = restore_at(&layout, stage, &missing, &|_| {
            if steps.get() == killer {
                let own = rustix::process::getpid();
                rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
            }
            steps.set(steps.get() + 1);
        });
        done.unwrap();
    }

    #[test]
    fn kill_9_at_any_step_leaves_all_or_nothing() {
        for step in 0..12 {
            let target = Target::holding(&[ENR_KEY_FILE]);
            let before = target.data();
            let task = format!("{step} {}", target.layout.project_dir().display());
            let status = Helper::start(HELPER, &task, None).child.wait().unwrap();
            let signal = std::os::unix::process::ExitStatusExt::signal(&status);
            assert_eq!(signal, Some(9), "step {step}");
            target.assert_promise(&before);
            recover(&target.layout).unwrap();
            target.assert_settled(&before);
        }
    }
}
