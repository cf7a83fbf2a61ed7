//! Switch: the outputs of the old cluster go aside and those of an edit take their place, in one journaled change.
//!
//! `cluster-lock.json`, without which charon does not run, leaves first and comes last. At any instant the data directory
//! holds the old cluster whole, or the new one whole, or no cluster lock; the last is finished or undone by the next
//! command. The caller holds the directory's guard.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::edit::closed::{self, ClosedError, Why};
use crate::edit::held::{self, HeldError};
use crate::machine::datadir::{self, Layout};
use crate::machine::files::{FileError, Folder};
use crate::promote::archive::{
    self, ARCHIVE_DIR, MANIFEST_FILE, free_archive_name, manifest, replaced_names,
};
use crate::promote::journal::{
    FORMAT, Job, Journal, JournalError, Moves, Reached, Recovery, check_no_journal, remove_journal,
};
use crate::promote::promotion::{Promotion, incomplete};
use charon_files::cluster::names::FileDigest;

/// A switch that is complete and on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Switched {
    /// Where the old files are; `None` if there were none.
    pub archive: Option<PathBuf>,
    /// The names that the data directory gained, `cluster-lock.json` last.
    pub names: Vec<String>,
}

/// What a journal says of a switch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SwitchJob<'a> {
    /// The name of the archive; `None` if there is nothing to archive.
    pub(crate) archive: Option<&'a str>,
    /// The name under which the rest of the edit is kept.
    pub(crate) kept: &'a str,
    /// What leaves the data directory, `cluster-lock.json` first.
    pub(crate) old: &'a [String],
}

/// Changes the old cluster in the data directory for the new one that is held, of which a verification vouches for these
/// files. That the old cluster has stopped is for the caller to know.
///
/// # Errors
/// [`JournalError::Refused`] where files are not as they were verified: nothing was moved. On any other error the old
/// cluster is whole in its place, or the journal is there and [`recover`](crate::promote::recover::recover) goes on.
pub(crate) fn switch(
    layout: &Layout,
    now: Timestamp,
    vouched: &[FileDigest],
) -> Result<Switched, JournalError> {
    switch_at(layout, now, vouched, &|_| ())
}

pub(crate) fn switch_at(
    layout: &Layout,
    now: Timestamp,
    vouched: &[FileDigest],
    reached: Reached<'_>,
) -> Result<Switched, JournalError> {
    let state = Folder::open(layout.state_dir())?;
    check_no_journal(&state)?;
    let data = Folder::open(layout.data_dir())?;
    let owner = data.own_status()?.owner;
    let new = Folder::open(&held::new_files(layout))?;

    let old = replaced_names(&data)?;
    let promotion = Promotion::plan(vouched, &new, &data, &old)?;
    let sealed = promotion.seal(&new, owner)?;
    new.sync()?;
    reached("sealed");

    let manifest = manifest(&data, &old, now)?;
    let archive = if old.is_empty() {
        None
    } else {
        Some(free_archive_name(layout, now)?)
    };
    let kept = held::free_name(layout, now, "switched")?;
    let journal = Journal {
        format: FORMAT,
        job: Job::Switch {
            archive: archive.clone(),
            kept: kept.clone(),
            old: old.clone(),
        },
        names: promotion.names.clone(),
        files: promotion.moved.iter().copied().cloned().collect(),
    };
    sealed.begin(&new, &state, &journal, owner, reached)?;
    let aside = match &archive {
        None => None,
        Some(name) => {
            let folder = datadir::state_folder(layout, ARCHIVE_DIR)?.make_folder(name, owner)?;
            reached("archive made");
            let text = serde_json::to_vec_pretty(&manifest).map_err(|error| {
                FileError::new("write", folder.path().join(MANIFEST_FILE), error)
            })?;
            folder.write(MANIFEST_FILE, &text, owner)?;
            reached("manifest written");
            Some(folder)
        }
    };
    let leaves = aside.as_ref().map(|aside| Moves {
        from: &data,
        to: aside,
        names: &old,
        reached,
    });
    let comes = Moves {
        from: &new,
        to: &data,
        names: &promotion.names,
        reached,
    };
    let moved = || -> Result<(), FileError> {
        if let Some(leaves) = &leaves {
            leaves.forward()?;
        }
        comes.forward()
    };
    if let Err(cause) = moved() {
        let undone = undo(layout, &comes, leaves.as_ref(), archive.as_deref())
            .and_then(|()| remove_journal(&state));
        return Err(JournalError::after_undo(cause.into(), undone));
    }
    settle(layout, &kept, reached)?;
    remove_journal(&state)?;
    reached("journal removed");
    Ok(Switched {
        archive: aside.map(|aside| aside.path().to_owned()),
        names: promotion.names,
    })
}

/// Everything back: the new files first, so that there is room for the old ones.
fn undo(
    layout: &Layout,
    comes: &Moves<'_>,
    leaves: Option<&Moves<'_>>,
    archive: Option<&str>,
) -> Result<(), FileError> {
    comes.back()?;
    let (Some(leaves), Some(name)) = (leaves, archive) else {
        return Ok(());
    };
    leaves.back()?;
    leaves.to.remove_file(MANIFEST_FILE)?;
    datadir::state_folder(layout, ARCHIVE_DIR)?.remove_folder(name)
}

/// Closes the old lock for good, and keeps what is left of the edit. Doing it twice changes nothing.
fn settle(layout: &Layout, kept: &str, reached: Reached<'_>) -> Result<(), JournalError> {
    let record = held::find(layout).map_err(held_error)?;
    if let Some(record) = record {
        closed::close(layout, &record.previous_lock_hash, Why::Switched).map_err(closed_error)?;
        reached("old lock closed");
    }
    held::put_aside(layout, kept)?;
    reached("edit put aside");
    Ok(())
}

fn held_error(error: HeldError) -> JournalError {
    match error {
        HeldError::Record { path, reason } => JournalError::Journal { path, reason },
        HeldError::Read(error) => error.into(),
        HeldError::File(error) => error.into(),
    }
}

fn closed_error(error: ClosedError) -> JournalError {
    match error {
        ClosedError::Malformed(reason) => JournalError::Journal {
            path: PathBuf::from("closed-locks.json"),
            reason,
        },
        ClosedError::Read(error) => error.into(),
        ClosedError::File(error) => error.into(),
    }
}

/// Finishes a switch that was interrupted, or takes it back.
pub(crate) fn recover(
    layout: &Layout,
    job: SwitchJob<'_>,
    journal: &Journal,
    data: &Folder,
    reached: Reached<'_>,
) -> Result<Recovery, JournalError> {
    let new = match Folder::open(&held::new_files(layout)) {
        Ok(new) => new,
        // It is put aside when all is done, and by nobody else.
        Err(error) if error.is_missing() => {
            settle(layout, job.kept, reached)?;
            return Ok(Recovery::SwitchFinished {
                names: journal.names.clone(),
            });
        }
        Err(error) => return Err(error.into()),
    };
    let aside = match job.archive {
        None => None,
        Some(name) => {
            let archives = datadir::state_folder(layout, ARCHIVE_DIR)?;
            let folder = archives.folder_or_new(name, layout.owner()?)?;
            if folder.status(MANIFEST_FILE)?.is_none() {
                archive::remove_unbegun(&archives, &folder, name)?;
                return Ok(Recovery::SwitchUndone {
                    problems: Vec::new(),
                });
            }
            Some(folder)
        }
    };
    // What came in under a name of the old is not to leave again.
    let mut rest = Vec::new();
    if let Some(aside) = &aside {
        for name in job.old {
            if aside.status(name)?.is_none() {
                rest.push(name.clone());
            }
        }
        let leaves = Moves {
            from: data,
            to: aside,
            names: &rest,
            reached,
        };
        leaves.forward()?;
    }
    let comes = Moves {
        from: &new,
        to: data,
        names: &journal.names,
        reached,
    };
    let problems = incomplete(journal, &new, data)?;
    if !problems.is_empty() {
        let leaves = aside.as_ref().map(|aside| Moves {
            from: data,
            to: aside,
            names: job.old,
            reached,
        });
        undo(layout, &comes, leaves.as_ref(), job.archive)?;
        return Ok(Recovery::SwitchUndone { problems });
    }
    comes.forward()?;
    settle(layout, job.kept, reached)?;
    Ok(Recovery::SwitchFinished {
        names: journal.names.clone(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;
    use crate::machine::testing::{
        self, Helper, KEY, Project, as_tree, crashing_at, outputs, put, tree,
    };
    use crate::promote::recover::{recover, recover_at};
    use charon_proof::edit::EditKind;
    use charon_proof::verify::NamedFile;

    const HELPER: &str = "promote::switch::tests::helper";

    const OLD: [(&str, &[u8]); 5] = [
        ("cluster-definition.json", b"the definition"),
        ("cluster-lock.json", b"the old lock"),
        ("deposit-data.json", b"thirty-two"),
        ("validator_keys/keystore-0.json", b"old keystore 0"),
        ("validator_keys/keystore-0.txt", b"old password 0"),
    ];

    const NEW: [(&str, &[u8]); 5] = [
        ("cluster-lock.json", b"the new lock"),
        ("validator_keys/keystore-0.json", b"new keystore 0"),
        ("validator_keys/keystore-0.txt", b"new password 0"),
        ("validator_keys/keystore-1.json", b"new keystore 1"),
        ("validator_keys/keystore-1.txt", b"new password 1"),
    ];

    fn now() -> Timestamp {
        "2026-01-02T03:04:05Z".parse().unwrap()
    }

    fn vouch() -> Vec<FileDigest> {
        let files = NEW.iter().map(|(path, bytes)| FileDigest::of(*path, bytes));
        let key = FileDigest::of("charon-enr-private-key", KEY);
        files.chain([key]).collect()
    }

    const OLD_HASH: &str = "0x1111111111111111111111111111111111111111111111111111111111111111";

    fn fill(project: &Project, old: &[(&str, &[u8])]) {
        for (name, bytes) in old {
            put(&project.data(name), bytes, 0o600);
        }
        let record = held::Record::new(
            EditKind::RecreatePrivateKeys,
            OLD_HASH.to_owned(),
            "0x22".to_owned(),
            now().to_string(),
            None,
        );
        let files: Vec<NamedFile> = NEW
            .iter()
            .map(|(path, bytes)| NamedFile::new(*path, bytes.to_vec()))
            .collect();
        let files: Vec<&NamedFile> = files.iter().collect();
        held::hold(&project.layout, &record, b"the old lock", &files, &|| ()).unwrap();
    }

    fn ready() -> Project {
        let project = Project::in_memory();
        fill(&project, &OLD);
        project
    }

    fn is_new(project: &Project) -> bool {
        let data = outputs(project);
        let (old, new) = (as_tree(&OLD), as_tree(&NEW));
        assert!(data == old || data == new, "{:?}", data.keys());
        data == new
    }

    /// The promise, at any instant: no byte is lost, and with a cluster lock comes everything that belongs to it.
    fn assert_promise(project: &Project) {
        let data = outputs(project);
        match data.get("cluster-lock.json").map(Vec::as_slice) {
            None => {}
            Some(b"the old lock") => assert_eq!(data, as_tree(&OLD)),
            Some(b"the new lock") => assert_eq!(data, as_tree(&NEW)),
            Some(other) => panic!("{other:?}"),
        }
        let mut all: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        let state = tree(project.layout.state_dir());
        let in_state = state
            .iter()
            .filter(|(path, _)| !path.ends_with("previous-lock.json"))
            .map(|(_, bytes)| bytes.clone());
        for bytes in data.into_values().chain(in_state) {
            *all.entry(bytes).or_default() += 1;
        }
        for (path, bytes) in OLD.iter().chain(&NEW) {
            assert_eq!(all.get(*bytes), Some(&1), "{path}");
        }
    }

    fn assert_settled(project: &Project) {
        assert_promise(project);
        let state = project.layout.state_dir();
        assert!(!state.join("journal.json").exists());
        let locks = closed::read(&project.layout).unwrap();
        if is_new(project) {
            assert_eq!(held::find(&project.layout).unwrap(), None);
            assert_eq!(locks.len(), 1);
            assert_eq!(
                (locks[0].lock_hash.as_str(), locks[0].why),
                (OLD_HASH, Why::Switched)
            );
            let archive = tree(&state.join("archive"));
            assert_eq!(archive.len(), OLD.len() + 1, "{:?}", archive.keys());
        } else {
            assert!(held::find(&project.layout).unwrap().is_some());
            assert_eq!(locks, []);
            assert_eq!(tree(&held::new_files(&project.layout)), as_tree(&NEW));
            let archive = state.join("archive");
            assert!(!archive.exists() || tree(&archive).is_empty());
        }
        assert_eq!(recover(&project.layout).unwrap(), None);
    }

    #[test]
    fn old_goes_and_new_comes() {
        let project = ready();
        let heartbeat = project.data("charon-enr-private-key.lock");
        put(&heartbeat, b"{}", 0o600);
        let done = switch(&project.layout, now(), &vouch()).unwrap();
        // charon's own sign of life stays: it is charon's own guard against the new lock.
        assert_eq!(fs::read(&heartbeat).unwrap(), b"{}");
        fs::remove_file(&heartbeat).unwrap();
        assert_eq!(done.names, ["validator_keys", "cluster-lock.json"]);
        assert!(is_new(&project));
        assert_settled(&project);
        assert!(switch(&project.layout, now(), &vouch()).is_err());
    }

    #[test]
    fn a_new_operator_has_nothing_to_put_aside() {
        let project = Project::in_memory();
        fill(&project, &[]);
        let done = switch(&project.layout, now(), &vouch()).unwrap();
        assert_eq!(done.archive, None);
        assert_eq!(outputs(&project), as_tree(&NEW));
    }

    #[test]
    fn what_is_not_as_it_was_verified_changes_nothing() {
        for (name, bytes) in [
            (
                "validator_keys/keystore-1.txt",
                Some(&b"another password"[..]),
            ),
            ("validator_keys/keystore-2.txt", Some(b"one more")),
            ("validator_keys/keystore-0.json", None),
            ("cluster-lock.json", Some(b"another lock")),
        ] {
            let project = ready();
            let path = held::new_files(&project.layout).join(name);
            match bytes {
                Some(bytes) => put(&path, bytes, 0o600),
                None => fs::remove_file(&path).unwrap(),
            }
            let error = switch(&project.layout, now(), &vouch()).unwrap_err();
            assert!(matches!(error, JournalError::Refused(_)), "{name}: {error}");
            assert_eq!(outputs(&project), as_tree(&OLD));
            assert!(!crate::promote::journal::is_pending(&project.layout));
        }
    }

    #[test]
    fn a_crash_at_any_step_leaves_old_or_new_and_the_next_command_settles_it() {
        let mut finished = [0, 0];
        for step in 0.. {
            let project = ready();
            let done = crashing_at(step, |reached| {
                switch_at(&project.layout, now(), &vouch(), reached).unwrap();
            });
            assert_promise(&project);
            if done.is_some() {
                break;
            }
            // The recovery is interrupted at each of its steps too.
            for again in 0.. {
                let recovered = crashing_at(again, |reached| {
                    recover_at(&project.layout, reached).unwrap();
                });
                assert_promise(&project);
                if recovered.is_some() {
                    break;
                }
            }
            assert_settled(&project);
            finished[usize::from(is_new(&project))] += 1;
        }
        assert!(finished[0] > 1 && finished[1] > 5, "{finished:?}");
    }

    #[test]
    fn a_switch_that_cannot_be_finished_goes_back() {
        for step in 0..16 {
            let project = ready();
            crashing_at(step, |reached| {
                switch_at(&project.layout, now(), &vouch(), reached).unwrap();
            });
            let changed = [
                held::new_files(&project.layout),
                project.layout.data_dir().to_owned(),
            ]
            .map(|dir| dir.join("validator_keys/keystore-1.txt"))
            .into_iter()
            .find(|path| path.exists());
            let Some(changed) = changed else { continue };
            if !crate::promote::journal::is_pending(&project.layout)
                || held::find(&project.layout).unwrap().is_none()
            {
                continue;
            }
            put(&changed, b"damaged", 0o600);
            let recovery = recover(&project.layout).unwrap().unwrap();
            assert!(
                matches!(recovery, Recovery::SwitchUndone { .. }),
                "{recovery:?}"
            );
            assert_eq!(outputs(&project), as_tree(&OLD), "step {step}");
            assert_eq!(closed::read(&project.layout).unwrap(), []);
        }
    }

    /// Run by other tests in a process of its own: switches, and kills itself at a step.
    #[test]
    #[ignore = "a helper of other tests"]
    fn helper() {
        let Some(task) = testing::task() else {
            return;
        };
        let (step, dir) = task.split_once(' ').unwrap();
        let layout = Layout::resolve(std::path::Path::new(dir), None).unwrap();
        let stop = step.parse::<usize>().ok();
        if stop.is_none() {
            testing::say("ready");
        }
        let steps = std::cell::Cell::new(0);
        let reached = |_: &str| {
            if Some(steps.get()) == stop {
                rustix::process::kill_process(
                    rustix::process::getpid(),
                    rustix::process::Signal::KILL,
                )
                .unwrap();
            }
            steps.set(steps.get() + 1);
        };
        switch_at(&layout, now(), &vouch(), &reached).unwrap();
    }

    fn kills(rounds: u32) -> (u32, u32, u32) {
        let (mut old, mut new, mut cut) = (0, 0, 0);
        for round in 0..rounds {
            let project = ready();
            let dir = project.layout.project_dir().display();
            if round % 2 == 0 {
                // At each of its steps, by itself.
                let mut helper = Helper::start(HELPER, &format!("{} {dir}", round / 2 % 18), None);
                helper.child.wait().unwrap();
            } else {
                // From outside, whatever it does.
                let mut helper = Helper::start(HELPER, &format!("to-the-end {dir}"), None);
                assert_eq!(helper.line(), "ready");
                let micros = u64::from(round % 199) * 20;
                std::thread::sleep(std::time::Duration::from_micros(micros));
                helper.kill();
            }
            assert_promise(&project);
            cut += u32::from(recover(&project.layout).unwrap().is_some());
            assert_settled(&project);
            if is_new(&project) {
                new += 1;
            } else {
                old += 1;
            }
        }
        (old, new, cut)
    }

    #[test]
    fn kill_9_at_any_step_leaves_old_or_new() {
        let (old, new, cut) = kills(36);
        assert_eq!(old + new, 36);
        assert!(cut > 10, "{cut}");
    }

    #[test]
    #[ignore = "minutes: cargo test --lib a_thousand_kills_of_a_switch -- --ignored --nocapture"]
    fn a_thousand_kills_of_a_switch_leave_old_or_new() {
        let (old, new, cut) = kills(1000);
        println!(
            "1000 kills: {new} left the new cluster, {old} the old one; {cut} came in the middle"
        );
        assert!(old > 100 && new > 100 && cut > 100);
    }
}
