//! Promote: from a stage into the data directory.
//!
//! `cluster-lock.json`, without which charon does not run, enters the data directory last, with everything else on the
//! disk before.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::ceremony::attempt::{Attempt, AttemptError, State};
use crate::machine::datadir::{self, Layout};
use crate::machine::files::{
    self, DIR_MODE, EntryKind, FILE_MODE, FileError, Folder, Owner, Status,
};
use crate::machine::{os, read};
use crate::promote::journal::{
    FORMAT, Job, Journal, JournalError, Moves, Reached, Recovery, changed, check_no_journal,
    descend, difference, listing, open_in, remove_journal, write_journal,
};
use charon_files::cluster::names::{
    CLUSTER_LOCK_FILE, DEFINITION_FILE, ENR_KEY_FILE, FileDigest, VALIDATOR_KEYS_DIR,
};
use charon_files::finding::Finding;
use charon_proof::verify::Verified;

/// How many files are put on the disk at once. A journaling filesystem commits what many threads
/// wait for in one go: with 32, the 4000 files of 2000 validators took a third of the time.
const SYNCS_AT_ONCE: usize = 32;

/// A promotion that is complete and on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Promoted {
    /// The names that the data directory gained, `cluster-lock.json` last.
    pub names: Vec<String>,
    /// How many files that are.
    pub files: usize,
}

/// Moves what a verification vouches for from an attempt's stage into the data directory.
///
/// The attempt must be charon-done or held. Every file is hashed again; the stage must hold nothing else
/// (see [`Attempt::clear_placeholders`]), and the data directory none of the names. Files end with
/// mode 0600, directories with 0700, all owned by the data directory's owner. The ENR key and the
/// definition, if vouched for, must be unchanged in the data directory and are not moved.
///
/// The attempt's record says promoted before the journal is gone. On an error nothing of the
/// attempt is in the data directory, or the journal is still there and
/// [`recover`](crate::promote::recover::recover) goes on.
pub(crate) fn promote(
    layout: &Layout,
    attempt: &Attempt,
    verified: Verified,
) -> Result<Promoted, JournalError> {
    promote_files(layout, attempt, verified.files(), &|_| ())
}

/// Seals what a verification vouches for in an attempt's stage, where it stays until [`promote`] moves it.
///
/// The same is asked as for a promotion, and nothing is moved. On an error the attempt is charon-done as before.
pub(crate) fn hold(
    layout: &Layout,
    attempt: &Attempt,
    verified: &Verified,
) -> Result<(), JournalError> {
    hold_files(layout, attempt, verified.files(), &|_| ())
}

fn hold_files(
    layout: &Layout,
    attempt: &Attempt,
    vouched: &[FileDigest],
    reached: Reached<'_>,
) -> Result<(), JournalError> {
    check_no_journal(&Folder::open(layout.state_dir())?)?;
    check_state(attempt, &State::Held)?;
    let stage = attempt.open_stage(layout)?;
    let data = Folder::open(layout.data_dir())?;
    let promotion = Promotion::plan(vouched, &stage, &data, &[])?;
    let sealed = promotion.seal(&stage, data.own_status()?.owner)?;
    stage.sync()?;
    reached("sealed");
    let changed = sealed.changes(&stage)?;
    if !changed.is_empty() {
        return Err(JournalError::Refused(changed));
    }
    attempt.advance(layout, State::Held)?;
    reached("record written");
    Ok(())
}

fn promote_files(
    layout: &Layout,
    attempt: &Attempt,
    vouched: &[FileDigest],
    reached: Reached<'_>,
) -> Result<Promoted, JournalError> {
    let state = Folder::open(layout.state_dir())?;
    check_no_journal(&state)?;
    check_state(attempt, &State::Promoted)?;
    let stage = attempt.open_stage(layout)?;
    let data = Folder::open(layout.data_dir())?;
    let owner = data.own_status()?.owner;

    let promotion = Promotion::plan(vouched, &stage, &data, &[])?;
    let sealed = promotion.seal(&stage, owner)?;
    stage.sync()?;
    reached("sealed");

    let journal = Journal {
        format: FORMAT,
        job: Job::Promote {
            attempt: attempt.number(),
        },
        names: promotion.names.clone(),
        files: promotion.moved.iter().copied().cloned().collect(),
    };
    sealed.begin(&stage, &state, &journal, owner, reached)?;
    let moves = Moves {
        from: &stage,
        to: &data,
        names: &promotion.names,
        reached,
    };
    if let Err(cause) = moves.forward() {
        let undone = moves.back().and_then(|()| remove_journal(&state));
        return Err(JournalError::after_undo(cause.into(), undone));
    }
    // Nothing is taken back any more: the record may say promoted even if putting it on the disk failed, and then nobody would
    // look into the stage again.
    if let Err(cause) = attempt.advance(layout, State::Promoted) {
        let cause = Box::new(cause.into());
        return Err(JournalError::Unrecorded { cause });
    }
    reached("record written");
    remove_journal(&state)?;
    reached("journal removed");
    Ok(Promoted {
        files: promotion.moved.len(),
        names: promotion.names,
    })
}

fn check_state(attempt: &Attempt, next: &State) -> Result<(), JournalError> {
    let record = attempt.record()?;
    if record.state.can_become(next) {
        return Ok(());
    }
    Err(JournalError::Attempt(AttemptError::State {
        number: attempt.number(),
        seen: record.state.name(),
        next: next.name(),
    }))
}

/// What is to be moved, after everything was checked that can be checked without reading the files.
pub(crate) struct Promotion<'a> {
    /// What is moved, in that order: top-level names, or paths into a directory that is there.
    pub(crate) names: Vec<String>,
    /// The vouched files under those names.
    pub(crate) moved: Vec<&'a FileDigest>,
    /// The directories of those files, relative to the stage.
    pub(crate) folders: BTreeSet<PathBuf>,
}

impl<'a> Promotion<'a> {
    /// Finds every problem that would stop the promotion, changing nothing. Names that are `leaving` are in nobody's way.
    pub(crate) fn plan(
        vouched: &'a [FileDigest],
        stage: &Folder,
        data: &Folder,
        leaving: &[String],
    ) -> Result<Self, JournalError> {
        let mut findings = Vec::new();
        let mut moved = Vec::new();
        let mut names = BTreeSet::new();
        let mut folders = BTreeSet::new();
        // An empty directory of keys stays, and gains each file.
        let gains_keys = datadir::has_empty_key_directory(data)?;
        for file in vouched {
            let Ok((parents, _)) = read::split(Path::new(&file.path)) else {
                findings.push(Finding::fail(
                    "stage-path",
                    &file.path,
                    "a path that leaves the stage",
                    "a plain relative path",
                ));
                continue;
            };
            if file.path == ENR_KEY_FILE || file.path == DEFINITION_FILE {
                findings.extend(check_input(data, file)?);
                continue;
            }
            let top = file.path.split('/').next().unwrap_or_default();
            names.insert(if gains_keys && top == VALIDATOR_KEYS_DIR {
                file.path.clone()
            } else {
                top.to_owned()
            });
            let mut folder = PathBuf::new();
            for parent in parents {
                folder.push(parent);
                folders.insert(folder.clone());
            }
            moved.push(file);
        }
        if !names.remove(CLUSTER_LOCK_FILE) {
            findings.push(Finding::fail(
                "stage-no-cluster-lock",
                CLUSTER_LOCK_FILE,
                "not among the verified files",
                "verified",
            ));
        }
        let mut names: Vec<String> = names.into_iter().collect();
        names.push(CLUSTER_LOCK_FILE.to_owned());

        let expected: BTreeSet<&Path> = moved.iter().map(|file| Path::new(&file.path)).collect();
        for (path, kind) in listing(stage)? {
            let known = match kind {
                EntryKind::Regular => expected.contains(path.as_path()),
                EntryKind::Directory => folders.contains(&path),
                EntryKind::Symlink | EntryKind::Fifo | EntryKind::Other => false,
            };
            if !known {
                findings.push(Finding::fail(
                    "stage-unverified-entry",
                    path.display().to_string(),
                    format!("{kind} that no verification vouches for"),
                    "nothing but verified files",
                ));
            }
        }
        for name in names.iter().filter(|name| !leaving.contains(name)) {
            if let Some(status) = data.status(name)? {
                findings.push(Finding::fail(
                    "data-directory-occupied",
                    name,
                    format!("{} in the data directory", status.kind),
                    "nothing of that name",
                ));
            }
        }
        if findings.is_empty() {
            Ok(Self {
                names,
                moved,
                folders,
            })
        } else {
            Err(JournalError::Refused(findings))
        }
    }

    /// Hashes every file again, gives it its final owner and mode, and puts it on the disk.
    pub(crate) fn seal(&self, stage: &Folder, owner: Owner) -> Result<Sealed<'_>, JournalError> {
        let seal_all = || -> Vec<Result<(&str, Status), SealFailure>> {
            let seal = |file: &&'a FileDigest| {
                seal_file(stage, file, owner).map(|status| (file.path.as_str(), status))
            };
            self.moved.par_iter().map(seal).collect()
        };
        let results = match rayon::ThreadPoolBuilder::new()
            .num_threads(SYNCS_AT_ONCE)
            .build()
        {
            Ok(pool) => pool.install(seal_all),
            // No room for threads: the ordinary pool is slower and as good.
            Err(_) => seal_all(),
        };
        let mut files = BTreeMap::new();
        let mut findings = Vec::new();
        for result in results {
            match result {
                Ok((path, status)) => {
                    files.insert(path, status);
                }
                Err(SealFailure::Changed(finding)) => findings.push(finding),
                Err(SealFailure::File(error)) => return Err(error.into()),
            }
        }
        if !findings.is_empty() {
            return Err(JournalError::Refused(findings));
        }
        // The longest paths first: a directory's own entry is synced by its parent.
        for path in self.folders.iter().rev() {
            let folder = descend(stage, path)?;
            folder
                .settle(owner, DIR_MODE)
                .map_err(|cause| FileError::new("set owner and mode of", folder.path(), cause))?;
            folder.sync()?;
        }
        Ok(Sealed {
            files,
            folders: &self.folders,
        })
    }
}

/// Files as they were when they were hashed.
pub(crate) struct Sealed<'a> {
    files: BTreeMap<&'a str, Status>,
    folders: &'a BTreeSet<PathBuf>,
}

impl Sealed<'_> {
    /// Writes the journal of a change that moves these files. What was touched since it was hashed takes the journal back, and
    /// nothing was moved.
    pub(crate) fn begin(
        &self,
        stage: &Folder,
        state: &Folder,
        journal: &Journal,
        owner: Owner,
        reached: Reached<'_>,
    ) -> Result<(), JournalError> {
        write_journal(state, journal, owner)?;
        reached("journal written");
        let changed = self.changes(stage)?;
        if changed.is_empty() {
            return Ok(());
        }
        remove_journal(state)?;
        Err(JournalError::Refused(changed))
    }

    /// What was touched since: another file under the name, another length, or a later time.
    pub(crate) fn changes(&self, stage: &Folder) -> Result<Vec<Finding>, FileError> {
        let mut findings = Vec::new();
        for (path, sealed) in &self.files {
            if stage.status(path)?.as_ref() != Some(sealed) {
                findings.push(changed(path, "changed after it was hashed"));
            }
        }
        for path in self.folders {
            let kind = stage.status(path)?.map(|status| status.kind);
            if kind != Some(EntryKind::Directory) {
                let path = path.display().to_string();
                findings.push(changed(&path, "replaced after its files were hashed"));
            }
        }
        Ok(findings)
    }
}

/// Why a file was not sealed.
enum SealFailure {
    /// It is not the file that was verified.
    Changed(Finding),
    /// The operating system refused or failed.
    File(FileError),
}

/// Checks one file of the stage against its digest and makes it final.
fn seal_file(stage: &Folder, vouched: &FileDigest, owner: Owner) -> Result<Status, SealFailure> {
    let path = stage.path().join(&vouched.path);
    let failed = |action| {
        let path = path.clone();
        move |cause| SealFailure::File(FileError::new(action, path, cause))
    };
    let differs = |seen: &str| SealFailure::Changed(changed(&vouched.path, seen));

    let (_, file) = open_in(stage, &vouched.path).map_err(|error| differs(&error.to_string()))?;
    let (sha256, len) = read::digest(&file).map_err(failed("read"))?;
    if sha256 != vouched.sha256 || len != vouched.len {
        return Err(differs(&format!(
            "other content than was verified, {len} bytes"
        )));
    }
    files::settle(&file, owner, FILE_MODE).map_err(failed("set owner and mode of"))?;
    os::sync_file(&file, &path).map_err(failed("sync"))?;
    Status::of_file(&file).map_err(failed("look at"))
}

/// An input of the ceremony that the verification used: it must still be the same in its place.
/// The definition may be elsewhere; then it does not come into the data directory either.
fn check_input(data: &Folder, file: &FileDigest) -> Result<Option<Finding>, FileError> {
    if file.path == DEFINITION_FILE && data.status(DEFINITION_FILE)?.is_none() {
        return Ok(None);
    }
    let problem = difference(open_in(data, &file.path), file);
    Ok(problem.map(|problem| {
        Finding::fail(
            "input-changed",
            &file.path,
            problem,
            "the file that was verified, in the data directory",
        )
    }))
}

/// Finishes a promotion that was interrupted, or takes it back.
pub(crate) fn recover(
    layout: &Layout,
    number: u32,
    journal: &Journal,
    data: &Folder,
    reached: Reached<'_>,
) -> Result<Recovery, JournalError> {
    let attempt = Attempt::at(layout, number);
    let stage = attempt.open_or_make_stage(layout)?;
    let moves = Moves {
        from: &stage,
        to: data,
        names: &journal.names,
        reached,
    };
    let problems = incomplete(journal, &stage, data)?;
    if !problems.is_empty() {
        moves.back()?;
        return Ok(Recovery::PromotionUndone {
            attempt: number,
            problems,
        });
    }
    moves.forward()?;
    match attempt.advance(layout, State::Promoted) {
        // The record is a note for people; the files count. One that is lost or odd must not keep
        // a complete promotion from being one.
        Ok(_)
        | Err(
            AttemptError::Record { .. }
            | AttemptError::State { .. }
            | AttemptError::Read(_)
            | AttemptError::Placeholder { .. }
            | AttemptError::TooMany { .. },
        ) => {}
        Err(error @ AttemptError::File(_)) => return Err(error.into()),
    }
    reached("record written");
    Ok(Recovery::PromotionFinished {
        attempt: number,
        names: journal.names.clone(),
    })
}

/// What keeps a promotion from being finished: each name must be in exactly one of the two places,
/// with every file as journaled and nothing else below it.
pub(crate) fn incomplete(
    journal: &Journal,
    stage: &Folder,
    data: &Folder,
) -> Result<Vec<Finding>, JournalError> {
    let mut findings = Vec::new();
    let mut places: BTreeMap<&str, &Folder> = BTreeMap::new();
    for name in &journal.names {
        let seen = match (stage.status(name)?, data.status(name)?) {
            (Some(_), None) => {
                places.insert(name, stage);
                continue;
            }
            (None, Some(_)) => {
                places.insert(name, data);
                continue;
            }
            (Some(_), Some(_)) => "in the stage and also in the data directory",
            (None, None) => "neither in the stage nor in the data directory",
        };
        findings.push(Finding::fail(
            "promotion-incomplete",
            name,
            seen,
            "in one of both",
        ));
    }
    let expected: BTreeMap<&Path, &FileDigest> = journal
        .files
        .iter()
        .map(|file| (Path::new(&file.path), file))
        .collect();
    let checked: Vec<Finding> = journal
        .files
        .par_iter()
        .filter_map(|file| {
            let top = file.path.split('/').next().unwrap_or_default();
            let place = places.get(&*file.path).or_else(|| places.get(top))?;
            let seen = difference(open_in(place, &file.path), file)?;
            Some(changed(&file.path, &seen))
        })
        .collect();
    findings.extend(checked);
    for (name, place) in places {
        if place.status(name)?.map(|status| status.kind) != Some(EntryKind::Directory) {
            continue;
        }
        for (path, kind) in listing(&place.folder(name)?)? {
            let path = Path::new(name).join(path);
            if kind != EntryKind::Directory && !expected.contains_key(path.as_path()) {
                findings.push(Finding::fail(
                    "stage-unverified-entry",
                    path.display().to_string(),
                    format!("{kind} that no verification vouches for"),
                    "nothing but verified files",
                ));
            }
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
    use std::process::Command;
    use std::time::Instant;

    use super::*;
    use crate::ceremony::attempt;
    use crate::machine::testing::{
        self, Helper, KEY, NOBODY, Project, as_tree, crashing_at, outputs, put, tree,
    };
    use crate::promote::held;
    use crate::promote::journal::JOURNAL_FILE;
    use crate::promote::recover::{recover, recover_at};

    const HELPER: &str = "promote::promotion::tests::helper";

    const FILES: [(&str, &[u8]); 7] = [
        ("cluster-lock.json", b"the lock"),
        ("deposit-data-1eth.json", b"one"),
        ("deposit-data.json", b"thirty-two"),
        ("validator_keys/keystore-0.json", b"keystore 0"),
        ("validator_keys/keystore-0.txt", b"password 0"),
        ("validator_keys/keystore-1.json", b"keystore 1"),
        ("validator_keys/keystore-1.txt", b"password 1"),
    ];

    fn vouch(files: &[(&str, &[u8])]) -> Vec<FileDigest> {
        let vouched = files
            .iter()
            .map(|(path, bytes)| FileDigest::of(*path, bytes));
        vouched.collect()
    }

    fn checks(error: &JournalError) -> Vec<(&'static str, &str)> {
        let JournalError::Refused(findings) = error else {
            panic!("{error:?}, expected findings");
        };
        let named = findings.iter().map(|f| (f.check, f.subject.as_str()));
        named.collect()
    }

    fn state(attempt: &Attempt) -> State {
        attempt.record().unwrap().state
    }

    fn promote_all(project: &Project, attempt: &Attempt) -> Result<Promoted, JournalError> {
        promote_files(&project.layout, attempt, &vouch(&FILES), &|_| ())
    }

    /// The promise, at any instant: no byte is lost, and with the cluster lock comes everything.
    fn assert_promise(project: &Project, attempt: &Attempt) {
        let data = outputs(project);
        let mut all = tree(&attempt.stage());
        for (path, bytes) in &data {
            let twice = all.insert(path.clone(), bytes.clone());
            assert_eq!(twice, None, "{path} is in both places");
        }
        assert_eq!(all, as_tree(&FILES), "something was lost");
        if data.contains_key(CLUSTER_LOCK_FILE) {
            assert_eq!(
                data,
                as_tree(&FILES),
                "the cluster lock came before the rest"
            );
        }
    }

    /// The promise once recover has run: everything or nothing, and nothing more to do.
    fn assert_settled(project: &Project, attempt: &Attempt) {
        assert_promise(project, attempt);
        let data = outputs(project);
        if data.is_empty() {
            let waits = [State::CharonDone { exit: 0 }, State::Held];
            assert!(waits.contains(&state(attempt)), "{:?}", state(attempt));
        } else {
            assert_eq!(data, as_tree(&FILES));
            assert_eq!(state(attempt), State::Promoted);
        }
        assert_eq!(recover(&project.layout).unwrap(), None);
        assert!(!project.layout.state_dir().join(JOURNAL_FILE).exists());
    }

    #[test]
    #[ignore = "needs root"]
    fn what_was_verified_ends_in_the_data_directory() {
        testing::need_root();
        let project = Project::new();
        chown(project.layout.data_dir(), Some(NOBODY), Some(NOBODY)).unwrap();
        let attempt = project.attempt(&FILES);
        fs::set_permissions(
            attempt.stage().join("validator_keys"),
            fs::Permissions::from_mode(0o777),
        )
        .unwrap();
        let steps = RefCell::new(Vec::new());
        let promoted = promote_files(&project.layout, &attempt, &vouch(&FILES), &|step| {
            steps.borrow_mut().push(step.to_owned());
        })
        .unwrap();
        let names = [
            "deposit-data-1eth.json",
            "deposit-data.json",
            "validator_keys",
            "cluster-lock.json",
        ];
        assert_eq!(promoted.names, names);
        assert_eq!(promoted.files, FILES.len());
        assert_eq!(outputs(&project), as_tree(&FILES));
        assert_eq!(state(&attempt), State::Promoted);
        for (path, _) in FILES {
            let meta = fs::metadata(project.data(path)).unwrap();
            let seen = (meta.mode() & 0o7777, meta.uid(), meta.gid());
            assert_eq!(seen, (0o600, NOBODY, NOBODY), "{path}");
        }
        let meta = fs::metadata(project.data("validator_keys")).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o700, NOBODY));
        assert_eq!(
            steps.into_inner(),
            [
                "sealed",
                "journal written",
                "moved deposit-data-1eth.json",
                "moved deposit-data.json",
                "moved validator_keys",
                "moves synced",
                "moved cluster-lock.json",
                "moves synced",
                "moves synced",
                "record written",
                "journal removed",
            ]
        );
        assert_settled(&project, &attempt);
    }

    #[test]
    fn nothing_is_taken_back_for_want_of_a_record() {
        let project = Project::new();
        let attempt = held(&project);
        let record = attempt.dir().join(attempt::RECORD_FILE);
        let aside = attempt.dir().join("aside");
        let error = promote_files(&project.layout, &attempt, &vouch(&FILES), &|step| {
            if step == "moved cluster-lock.json" {
                fs::rename(&record, &aside).unwrap();
            }
        })
        .unwrap_err();
        assert!(matches!(error, JournalError::Unrecorded { .. }), "{error}");
        assert_eq!(outputs(&project), as_tree(&FILES));
        fs::rename(&aside, &record).unwrap();
        let finished = recover(&project.layout).unwrap();
        let Some(Recovery::PromotionFinished { names, .. }) = finished else {
            panic!("{finished:?}, expected a finished promotion");
        };
        assert_eq!(names.last().unwrap(), CLUSTER_LOCK_FILE);
        assert_settled(&project, &attempt);
    }

    #[test]
    fn a_changed_file_is_not_promoted() {
        let project = Project::new();
        for (name, bytes) in [
            ("validator_keys/keystore-1.json", b"keystore X".as_slice()),
            ("deposit-data.json", b""),
            ("cluster-lock.json", b"the lock and more"),
        ] {
            let attempt = project.attempt(&FILES);
            put(&attempt.stage().join(name), bytes, 0o644);
            let error = promote_all(&project, &attempt).unwrap_err();
            assert_eq!(checks(&error), [("stage-file-changed", name)]);
            assert!(outputs(&project).is_empty());
            assert_eq!(recover(&project.layout).unwrap(), None);
        }
    }

    #[test]
    fn a_change_between_hash_and_rename_is_caught() {
        let project = Project::new();
        let attempt = project.attempt(&FILES);
        let path = attempt.stage().join("validator_keys/keystore-0.txt");
        let error = promote_files(&project.layout, &attempt, &vouch(&FILES), &|step| {
            if step == "journal written" {
                // The same length, as a careful attacker would do it.
                fs::write(&path, "password X").unwrap();
            }
        })
        .unwrap_err();
        let expected = [("stage-file-changed", "validator_keys/keystore-0.txt")];
        assert_eq!(checks(&error), expected);
        assert!(outputs(&project).is_empty());
        assert_eq!(recover(&project.layout).unwrap(), None);
    }

    #[test]
    fn a_directory_swapped_for_a_link_is_caught() {
        let project = Project::new();
        let attempt = project.attempt(&FILES);
        let keys = attempt.stage().join("validator_keys");
        let error = promote_files(&project.layout, &attempt, &vouch(&FILES), &|step| {
            if step == "sealed" {
                fs::rename(&keys, attempt.dir().join("elsewhere")).unwrap();
                symlink("../elsewhere", &keys).unwrap();
            }
        })
        .unwrap_err();
        assert_eq!(checks(&error), [("stage-file-changed", "validator_keys")]);
        assert!(outputs(&project).is_empty());
    }

    #[test]
    fn nothing_unverified_is_promoted() {
        let project = Project::new();
        let attempt = project.attempt(&FILES);
        let stage = attempt.stage();
        put(&stage.join("validator_keys/extra.json"), b"?", 0o600);
        put(&stage.join("notes.txt"), b"?", 0o600);
        fs::create_dir(stage.join("empty")).unwrap();
        symlink("/etc/passwd", stage.join("validator_keys/link")).unwrap();
        let error = promote_all(&project, &attempt).unwrap_err();
        let unverified = "stage-unverified-entry";
        assert_eq!(
            checks(&error),
            [
                (unverified, "empty"),
                (unverified, "notes.txt"),
                (unverified, "validator_keys/extra.json"),
                (unverified, "validator_keys/link"),
            ]
        );
        assert!(outputs(&project).is_empty());
    }

    #[test]
    fn a_linked_file_is_not_promoted() {
        let project = Project::new();
        let attempt = project.attempt(&FILES);
        let path = attempt.stage().join("deposit-data.json");
        fs::remove_file(&path).unwrap();
        put(&attempt.dir().join("outside"), b"thirty-two", 0o600);
        symlink("../outside", &path).unwrap();
        let error = promote_all(&project, &attempt).unwrap_err();
        assert_eq!(
            checks(&error),
            [("stage-unverified-entry", "deposit-data.json")]
        );
        // Under a second name, root would change the owner of somebody else's file.
        fs::remove_file(&path).unwrap();
        fs::hard_link(attempt.dir().join("outside"), &path).unwrap();
        let error = promote_all(&project, &attempt).unwrap_err();
        assert!(error.to_string().contains("2 hard links"), "{error}");
        assert!(outputs(&project).is_empty());
    }

    #[test]
    fn every_name_in_the_way_is_told_and_nothing_overwritten() {
        let project = Project::new();
        let attempt = project.attempt(&FILES);
        fs::create_dir(project.data("validator_keys")).unwrap();
        put(
            &project.data("validator_keys/keystore-0.json"),
            b"old",
            0o600,
        );
        put(&project.data("cluster-lock.json"), b"old", 0o600);
        let before = tree(project.layout.data_dir());
        let error = promote_all(&project, &attempt).unwrap_err();
        let occupied = "data-directory-occupied";
        assert_eq!(
            checks(&error),
            [
                (occupied, "validator_keys"),
                (occupied, "cluster-lock.json")
            ]
        );
        assert_eq!(tree(project.layout.data_dir()), before);
        assert_eq!(tree(&attempt.stage()), as_tree(&FILES));
    }

    #[test]
    fn odd_lists_of_verified_files_are_refused() {
        let project = Project::new();
        let attempt = project.attempt(&FILES);
        let mut files = vouch(&FILES);
        files.retain(|file| file.path != CLUSTER_LOCK_FILE);
        files.push(FileDigest {
            path: "../../escape".to_owned(),
            sha256: [0; 32],
            len: 0,
        });
        let error = promote_files(&project.layout, &attempt, &files, &|_| ()).unwrap_err();
        assert_eq!(
            checks(&error),
            [
                ("stage-path", "../../escape"),
                ("stage-no-cluster-lock", "cluster-lock.json"),
                ("stage-unverified-entry", "cluster-lock.json"),
            ]
        );
    }

    #[test]
    fn the_inputs_stay_where_they_are_and_must_be_the_same() {
        let project = Project::new();
        let attempt = project.attempt(&FILES);
        let mut files = vouch(&FILES);
        files.extend(vouch(&[(ENR_KEY_FILE, KEY), (DEFINITION_FILE, b"terms")]));
        put(&project.data(DEFINITION_FILE), b"other terms", 0o600);
        let error = promote_files(&project.layout, &attempt, &files, &|_| ()).unwrap_err();
        assert_eq!(checks(&error), [("input-changed", DEFINITION_FILE)]);
        fs::remove_file(project.data(DEFINITION_FILE)).unwrap();
        promote_files(&project.layout, &attempt, &files, &|_| ()).unwrap();
        assert_eq!(outputs(&project), as_tree(&FILES));
    }

    #[test]
    fn only_a_finished_charon_is_promoted() {
        let project = Project::new();
        let attempt = Attempt::create(&project.layout, testing::record).unwrap();
        let error = promote_all(&project, &attempt).unwrap_err();
        assert_eq!(
            error.to_string(),
            "attempt 1 is prepared, and cannot become promoted"
        );
    }

    /// An attempt whose outputs are held.
    fn held(project: &Project) -> Attempt {
        let attempt = project.attempt(&FILES);
        hold_files(&project.layout, &attempt, &vouch(&FILES), &|_| ()).unwrap();
        attempt
    }

    #[test]
    fn what_is_held_is_private_and_stays_in_its_stage_until_it_is_promoted() {
        let project = Project::new();
        let attempt = held(&project);
        assert_eq!(state(&attempt), State::Held);
        assert_eq!(held::find(&project.layout), Some(attempt.clone()));
        assert!(outputs(&project).is_empty());
        assert_eq!(tree(&attempt.stage()), as_tree(&FILES));
        for (path, _) in FILES {
            let mode = fs::metadata(attempt.stage().join(path)).unwrap().mode();
            assert_eq!(mode & 0o7777, 0o600, "{path}");
        }
        promote_all(&project, &attempt).unwrap();
        assert_eq!(outputs(&project), as_tree(&FILES));
        assert_eq!(state(&attempt), State::Promoted);
        assert_eq!(held::find(&project.layout), None);
        let again = promote_all(&project, &attempt).unwrap_err();
        assert!(matches!(again, JournalError::Refused(_)), "{again}");
        assert_eq!(outputs(&project), as_tree(&FILES));
    }

    #[test]
    fn what_is_not_as_it_was_verified_is_neither_held_nor_promoted_later() {
        let project = Project::new();
        let name = "validator_keys/keystore-1.json";
        let attempt = project.attempt(&FILES);
        put(&attempt.stage().join(name), b"keystore X", 0o644);
        let error = hold_files(&project.layout, &attempt, &vouch(&FILES), &|_| ()).unwrap_err();
        assert_eq!(checks(&error), [("stage-file-changed", name)]);
        assert_eq!(state(&attempt), State::CharonDone { exit: 0 });

        let project = Project::new();
        let attempt = held(&project);
        put(&attempt.stage().join(name), b"keystore X", 0o600);
        let error = promote_all(&project, &attempt).unwrap_err();
        assert_eq!(checks(&error), [("stage-file-changed", name)]);
        assert!(outputs(&project).is_empty());
        assert_eq!(state(&attempt), State::Held);
    }

    #[test]
    fn a_crash_while_it_is_held_or_promoted_from_there_leaves_all_or_nothing() {
        for step in 0..2 {
            let project = Project::in_memory();
            let attempt = project.attempt(&FILES);
            let done = crashing_at(step, |reached| {
                hold_files(&project.layout, &attempt, &vouch(&FILES), reached).unwrap();
            });
            assert!(done.is_none());
            assert!(outputs(&project).is_empty());
            assert_settled(&project, &attempt);
            if held::find(&project.layout).is_none() {
                hold_files(&project.layout, &attempt, &vouch(&FILES), &|_| ()).unwrap();
            }
            promote_all(&project, &attempt).unwrap();
            assert_settled(&project, &attempt);
        }
        for first in 0..11 {
            for second in 0.. {
                let project = Project::in_memory();
                let attempt = held(&project);
                crashing_at(first, |reached| {
                    promote_files(&project.layout, &attempt, &vouch(&FILES), reached).unwrap();
                });
                assert_promise(&project, &attempt);
                let done = crashing_at(second, |reached| {
                    recover_at(&project.layout, reached).unwrap();
                });
                assert_promise(&project, &attempt);
                recover(&project.layout).unwrap();
                assert_settled(&project, &attempt);
                if outputs(&project).is_empty() {
                    assert_eq!(held::find(&project.layout), Some(attempt.clone()));
                    promote_all(&project, &attempt).unwrap();
                }
                assert_eq!(state(&attempt), State::Promoted);
                assert_eq!(outputs(&project), as_tree(&FILES));
                if done.is_some() {
                    break;
                }
            }
        }
    }

    #[test]
    fn what_a_release_finished_that_cannot_read_the_record_is_held_no_more() {
        let project = Project::new();
        let attempt = held(&project);
        crashing_at(6, |reached| {
            promote_files(&project.layout, &attempt, &vouch(&FILES), reached).unwrap();
        });
        // Such a release moves what the journal names, and leaves the record as it is.
        for (name, _) in FILES.iter().filter(|(name, _)| !name.contains('/')) {
            let staged = attempt.stage().join(name);
            if staged.exists() {
                fs::rename(staged, project.data(name)).unwrap();
            }
        }
        fs::remove_file(project.layout.state_dir().join(JOURNAL_FILE)).unwrap();
        assert_eq!(state(&attempt), State::Held);
        assert_eq!(outputs(&project), as_tree(&FILES));
        assert_eq!(held::find(&project.layout), None);
        assert!(held::has_moved(&project.layout, &attempt));
    }

    /// The promotion of such an attempt is killed at each of its steps, by itself.
    fn kill_9_at_any_step(begun: impl Fn(&Project) -> Attempt) {
        for step in 0..11 {
            let project = Project::new();
            let attempt = begun(&project);
            let task = format!("{step} {}", project.layout.project_dir().display());
            let mut helper = Helper::start(HELPER, &task, None);
            let status = helper.child.wait().unwrap();
            assert_eq!(
                std::os::unix::process::ExitStatusExt::signal(&status),
                Some(9)
            );
            assert_promise(&project, &attempt);
            recover(&project.layout).unwrap();
            assert_settled(&project, &attempt);
        }
    }

    #[test]
    fn kill_9_at_any_step_from_held_leaves_all_or_nothing() {
        kill_9_at_any_step(held);
    }

    #[test]
    #[ignore = "minutes: cargo test --lib a_thousand_kills -- --ignored --nocapture"]
    fn a_thousand_kills_from_held_leave_all_or_nothing() {
        let (mut all, mut nothing, mut cut) = (0, 0, 0);
        for round in 0..1000_u32 {
            let project = Project::in_memory();
            let attempt = held(&project);
            let dir = project.layout.project_dir().display();
            if round % 2 == 0 {
                // At each of its steps, by itself.
                let mut helper = Helper::start(HELPER, &format!("{} {dir}", round / 2 % 11), None);
                helper.child.wait().unwrap();
            } else {
                // From outside, whatever it does.
                let mut helper = Helper::start(HELPER, &format!("to-the-end {dir}"), None);
                assert_eq!(helper.line(), "ready");
                std::thread::sleep(std::time::Duration::from_micros(u64::from(round) * 20));
                helper.kill();
            }
            assert_promise(&project, &attempt);
            cut += u32::from(recover(&project.layout).unwrap().is_some());
            assert_settled(&project, &attempt);
            if outputs(&project).is_empty() {
                nothing += 1;
            } else {
                all += 1;
            }
        }
        println!("1000 kills: {all} left all, {nothing} nothing; {cut} came in the middle");
        assert!(cut > 100);
    }

    #[test]
    fn a_crash_at_any_step_leaves_all_or_nothing() {
        let mut steps = 0;
        loop {
            let project = Project::in_memory();
            let attempt = project.attempt(&FILES);
            let done = crashing_at(steps, |reached| {
                promote_files(&project.layout, &attempt, &vouch(&FILES), reached).unwrap();
            });
            assert_promise(&project, &attempt);
            let pending = project.layout.state_dir().join(JOURNAL_FILE).exists();
            if pending {
                let error = promote_all(&project, &attempt).unwrap_err();
                assert!(matches!(error, JournalError::Pending { .. }), "{error}");
            }
            let recovery = recover(&project.layout).unwrap();
            let finished = matches!(
                recovery,
                Some(Recovery::PromotionFinished { attempt: 1, .. })
            );
            assert_eq!(finished, pending, "step {steps}");
            assert_settled(&project, &attempt);
            if done.is_some() {
                break;
            }
            steps += 1;
        }
        assert_eq!(steps, 11);
    }

    /// A repository may ship the directory of keys, kept by a `.gitignore`.
    #[test]
    fn an_empty_directory_of_keys_gains_all_keys_or_none() {
        const KEPT: &str = "validator_keys/.gitignore";
        for step in 0.. {
            let project = Project::in_memory();
            put(&project.data(KEPT), b"*\n", 0o644);
            let attempt = project.attempt(&FILES);
            let done = crashing_at(step, |reached| {
                promote_files(&project.layout, &attempt, &vouch(&FILES), reached).unwrap();
            });
            recover(&project.layout).unwrap();
            let mut seen = outputs(&project);
            assert_eq!(seen.remove(KEPT).as_deref(), Some(b"*\n".as_slice()));
            let all = seen == as_tree(&FILES);
            assert!(all || seen.is_empty(), "step {step}: {seen:?}");
            assert_eq!(all, state(&attempt) == State::Promoted, "step {step}");
            if done.is_some() {
                assert!(all && step > FILES.len());
                break;
            }
        }
        // One with a key in it is somebody's.
        let project = Project::new();
        put(&project.data("validator_keys/keystore-7.json"), b"?", 0o600);
        let attempt = project.attempt(&FILES);
        let error = promote_all(&project, &attempt).unwrap_err();
        assert_eq!(
            checks(&error),
            [("data-directory-occupied", "validator_keys")]
        );
    }

    #[test]
    fn a_crash_at_any_step_of_recovery_changes_nothing() {
        for first in 0..11 {
            for second in 0.. {
                let project = Project::in_memory();
                let attempt = project.attempt(&FILES);
                crashing_at(first, |reached| {
                    promote_files(&project.layout, &attempt, &vouch(&FILES), reached).unwrap();
                });
                let done = crashing_at(second, |reached| {
                    recover_at(&project.layout, reached).unwrap();
                });
                assert_promise(&project, &attempt);
                recover(&project.layout).unwrap();
                assert_settled(&project, &attempt);
                if done.is_some() {
                    break;
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_finished_is_undone_at_any_step() {
        for step in 1..10 {
            for second in 0.. {
                let project = Project::in_memory();
                let attempt = project.attempt(&FILES);
                crashing_at(step, |reached| {
                    promote_files(&project.layout, &attempt, &vouch(&FILES), reached).unwrap();
                });
                // Somebody edits a file after the crash, wherever it is by now.
                let name = "validator_keys/keystore-1.txt";
                let stage = attempt.stage().join(name);
                let place = if stage.exists() {
                    stage
                } else {
                    project.data(name)
                };
                fs::write(place, "edited").unwrap();

                let done = crashing_at(second, |reached| recover_at(&project.layout, reached));
                let recovery = match done {
                    Some(recovery) => recovery.unwrap(),
                    None => recover(&project.layout).unwrap(),
                };
                let cut_after_the_journal = recovery.is_none();
                if !cut_after_the_journal {
                    let Some(Recovery::PromotionUndone { problems, .. }) = recovery else {
                        panic!("{recovery:?}, expected that it was undone");
                    };
                    assert_eq!(problems[0].subject, name);
                }
                assert!(outputs(&project).is_empty());
                let mut expected = as_tree(&FILES);
                expected.insert(name.to_owned(), b"edited".to_vec());
                assert_eq!(tree(&attempt.stage()), expected);
                assert_eq!(recover(&project.layout).unwrap(), None);
                if second > 12 {
                    break;
                }
            }
        }
    }

    #[test]
    fn what_others_put_in_the_way_after_a_crash_is_theirs() {
        let project = Project::new();
        let attempt = project.attempt(&FILES);
        // After the deposit data was moved.
        crashing_at(3, |reached| {
            promote_files(&project.layout, &attempt, &vouch(&FILES), reached).unwrap();
        });
        put(&project.data("cluster-lock.json"), b"another", 0o600);
        fs::create_dir(project.data("validator_keys")).unwrap();
        let recovery = recover(&project.layout).unwrap();
        let Some(Recovery::PromotionUndone { problems, .. }) = recovery else {
            panic!("{recovery:?}");
        };
        let subjects: Vec<&str> = problems.iter().map(|p| p.subject.as_str()).collect();
        assert_eq!(subjects, ["validator_keys", "cluster-lock.json"]);
        assert_eq!(
            outputs(&project),
            as_tree(&[("cluster-lock.json", b"another")])
        );
        assert_eq!(tree(&attempt.stage()), as_tree(&FILES));
    }

    #[test]
    fn a_failure_in_the_middle_is_undone_at_once() {
        for (step, name) in [
            ("journal written", "deposit-data.json"),
            ("moved deposit-data.json", "validator_keys"),
            ("moved validator_keys", "cluster-lock.json"),
        ] {
            let project = Project::new();
            let attempt = project.attempt(&FILES);
            let error = promote_files(&project.layout, &attempt, &vouch(&FILES), &|reached| {
                if reached == step {
                    put(&project.data(name).join("theirs"), b"x", 0o600);
                }
            })
            .unwrap_err();
            let path = project.data(name);
            assert_eq!(
                error.to_string(),
                format!(
                    "cannot rename into {}: File exists (os error 17); everything is back in its place",
                    path.display()
                )
            );
            let theirs = format!("{name}/theirs");
            assert_eq!(outputs(&project), as_tree(&[(theirs.as_str(), b"x")]));
            assert_eq!(tree(&attempt.stage()), as_tree(&FILES));
            assert_eq!(recover(&project.layout).unwrap(), None);
            fs::remove_dir_all(&path).unwrap();
            promote_all(&project, &attempt).unwrap();
        }
    }

    #[test]
    fn another_filesystem_is_an_error_and_changes_nothing() {
        let project = Project::new();
        let attempt = project.attempt(&FILES);
        let memory = tempfile::tempdir_in("/dev/shm").unwrap();
        let target = memory.path().join(".charon");
        put(&target.join(ENR_KEY_FILE), KEY, 0o600);
        let apart = Layout::resolve(memory.path(), None)
            .unwrap()
            .with_state_dir(project.layout.state_dir());
        let error = promote_files(&apart, &attempt, &vouch(&FILES), &|_| ()).unwrap_err();
        assert!(error.to_string().contains("cross-device"), "{error}");
        assert_eq!(tree(&target), as_tree(&[(ENR_KEY_FILE, KEY)]));
        assert_eq!(tree(&attempt.stage()), as_tree(&FILES));
        assert_eq!(recover(&apart).unwrap(), None);
    }

    #[test]
    fn a_lost_stage_does_not_keep_a_complete_promotion_from_ending() {
        let project = Project::new();
        let attempt = project.attempt(&FILES);
        crashing_at(7, |reached| {
            promote_files(&project.layout, &attempt, &vouch(&FILES), reached).unwrap();
        });
        assert_eq!(outputs(&project), as_tree(&FILES));
        fs::remove_dir_all(project.layout.state_dir().join("attempts")).unwrap();
        let recovery = recover(&project.layout).unwrap();
        assert!(
            matches!(recovery, Some(Recovery::PromotionFinished { .. })),
            "{recovery:?}"
        );
        assert_eq!(outputs(&project), as_tree(&FILES));
    }

    #[test]
    fn a_foreign_journal_is_an_error_and_moves_nothing() {
        let project = Project::new();
        let journal = project.layout.state_dir().join(JOURNAL_FILE);
        let good = r#"{"format":1,"job":{"kind":"archive","name":"a"},"names":["x"],"files":[]}"#;
        for bad in [
            String::new(),
            "{}".to_owned(),
            good.replace("\"format\":1", "\"format\":2"),
            good.replace("[\"x\"]", "[\"../x\"]"),
            good.replace("\"a\"", "\"/etc\""),
            good.replace(
                "\"files\":[]",
                &format!(
                    r#""files":[{{"path":"y/z","len":0,"sha256":"{}"}}]"#,
                    "00".repeat(32)
                ),
            ),
        ] {
            fs::write(&journal, &bad).unwrap();
            let error = recover(&project.layout).unwrap_err();
            assert!(
                matches!(error, JournalError::Journal { .. }),
                "{bad}: {error}"
            );
        }
        fs::remove_file(&journal).unwrap();
        symlink("/etc/passwd", &journal).unwrap();
        assert!(recover(&project.layout).is_err());
        assert!(outputs(&project).is_empty());
    }

    #[test]
    fn leftovers_of_a_write_cut_short_are_removed() {
        let project = Project::new();
        put(
            &project.layout.state_dir().join(".unfinished-x"),
            b"half",
            0o600,
        );
        assert_eq!(recover(&project.layout).unwrap(), None);
        let left: Vec<_> = tree(project.layout.state_dir()).into_keys().collect();
        assert_eq!(left, [".gitignore"]);
        let nowhere = Layout::resolve(project.layout.project_dir(), Some(Path::new("/tmp/none")));
        assert_eq!(recover(&nowhere.unwrap()).unwrap(), None);
    }

    /// Promotes, archives or recovers in the project of its task, and kills itself with SIGKILL at
    /// the step of its task, if it has one.
    #[test]
    #[ignore = "the other side of other tests"]
    fn helper() {
        let Some(task) = testing::task() else {
            return;
        };
        let (task, dir) = task.split_once(' ').unwrap();
        let layout = Layout::resolve(Path::new(dir), None).unwrap();
        let steps = Cell::new(0_usize);
        let killer: usize = task.parse().unwrap_or(usize::MAX);
        let reached = |_: &str| {
            if steps.get() == killer {
                let own = rustix::process::getpid();
                rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
            }
            steps.set(steps.get() + 1);
        };
        let attempt = Attempt::at(&layout, 1);
        let files = tree(&attempt.stage());
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
            .collect();
        let vouched = vouch(&files);
        testing::say("ready");
        promote_files(&layout, &attempt, &vouched, &reached).unwrap();
        testing::say("done");
    }

    #[test]
    fn kill_9_at_any_step_leaves_all_or_nothing() {
        kill_9_at_any_step(|project| project.attempt(&FILES));
    }

    #[test]
    fn kill_9_at_random_instants_leaves_all_or_nothing() {
        let start = |project: &Project| {
            let task = format!("to-the-end {}", project.layout.project_dir().display());
            let mut helper = Helper::start(HELPER, &task, None);
            assert_eq!(helper.line(), "ready");
            (helper, Instant::now())
        };
        let whole = Project::new();
        whole.attempt(&FILES);
        let (mut helper, started) = start(&whole);
        assert_eq!(helper.line(), "done");
        let usual = started.elapsed();

        // Kills that come before or after the promotion test little: go on until enough came in
        // the middle.
        let mut cut = 0;
        let mut rounds = 0;
        while cut < 10 {
            rounds += 1;
            let project = Project::new();
            let attempt = project.attempt(&FILES);
            let (mut helper, _) = start(&project);
            let mut random = [0; 1];
            getrandom::fill(&mut random).unwrap();
            std::thread::sleep(usual * u32::from(random[0]) / 256);
            helper.kill();
            assert_promise(&project, &attempt);
            let recovery = recover(&project.layout).unwrap();
            cut += usize::from(recovery.is_some());
            assert_settled(&project, &attempt);
        }
        println!("{cut} of {rounds} kills within {usual:?} came in the middle");
    }

    /// A filesystem of its own in a file.
    struct Disk {
        image: PathBuf,
        mount: PathBuf,
    }

    impl Disk {
        fn run(command: &mut Command) {
            let output = command.output().unwrap();
            assert!(output.status.success(), "{command:?}: {output:?}");
        }

        fn make(dir: &Path) -> Self {
            let image = dir.join("disk");
            fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
            Self::run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image));
            Self::mount(image)
        }

        /// Nothing reaches this disk in time by itself, only what is synced.
        fn mount(image: PathBuf) -> Self {
            let mount = image.with_extension("mount");
            fs::create_dir(&mount).unwrap();
            let options = ["-o", "loop,commit=300"];
            Self::run(Command::new("mount").args(options).arg(&image).arg(&mount));
            Self { image, mount }
        }

        /// The disk as it is at this instant, without what the kernel has not written yet: what a
        /// power cut leaves.
        fn cut(&self, name: &str) -> Self {
            let image = self.image.with_file_name(name);
            fs::copy(&self.image, &image).unwrap();
            Self::mount(image)
        }
    }

    impl Drop for Disk {
        fn drop(&mut self) {
            Self::run(Command::new("umount").arg(&self.mount));
        }
    }

    #[test]
    #[ignore = "needs root and loop devices: cargo test --lib power_cut -- --ignored"]
    fn a_power_cut_at_any_step_leaves_all_or_nothing() {
        testing::need_root();
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::make(dir.path());
        let project = Project::at(&disk.mount);
        // The key is on the disk for long. The outputs are only where charon left them: in memory.
        rustix::fs::sync();
        let attempt = project.attempt(&FILES);
        let cuts = RefCell::new(Vec::new());
        promote_files(&project.layout, &attempt, &vouch(&FILES), &|step| {
            let name = format!("cut-{}", cuts.borrow().len());
            cuts.borrow_mut().push((step.to_owned(), disk.cut(&name)));
        })
        .unwrap();
        let mut recovered = 0;
        for (step, cut) in cuts.into_inner() {
            let layout = Layout::resolve(&cut.mount, None).unwrap();
            let project = Project::found(layout);
            let attempt = Attempt::at(&project.layout, 1);
            assert_promise(&project, &attempt);
            let recovery = recover(&project.layout).unwrap();
            println!("{step}: {recovery:?}");
            recovered += usize::from(recovery.is_some());
            assert_settled(&project, &attempt);
        }
        assert!(recovered > 5);
    }

    #[test]
    #[ignore = "a measurement: cargo test --lib thousand -- --ignored --nocapture"]
    fn two_thousand_validators() {
        let mut names: Vec<(String, Vec<u8>)> = Vec::new();
        for number in 0..2000 {
            let stem = format!("validator_keys/keystore-{number}");
            names.push((format!("{stem}.json"), vec![b'k'; 800]));
            names.push((format!("{stem}.txt"), vec![b'p'; 32]));
        }
        names.push((CLUSTER_LOCK_FILE.to_owned(), vec![b'l'; 8 << 20]));
        names.push(("deposit-data.json".to_owned(), vec![b'd'; 1 << 20]));
        let files: Vec<(&str, &[u8])> = names
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect();
        let project = Project::new();
        let attempt = project.attempt(&files);
        let vouched = vouch(&files);
        let start = Instant::now();
        promote_files(&project.layout, &attempt, &vouched, &|step| {
            if !step.starts_with("moved") {
                println!("{step}: {:?}", start.elapsed());
            }
        })
        .unwrap();
    }
}
