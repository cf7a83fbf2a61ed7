//! Attempts: each container run of a ceremony has a directory of its own, which stays as evidence.
//!
//! ```text
//! <state dir>/attempts/<n>/attempt.json   what was run and how far it came
//!                          charon.log     charon's output
//!                          stage/         what charon sees as its data directory, or as its output directory
//!                          previous-lock.json  of an edit: the cluster lock before it
//! ```
//!
//! All functions expect their caller to hold the directory's guard.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ceremony::edit::EditCommand;
use crate::ceremony::pins;
use crate::ceremony::plan::PROCESS;
use crate::machine::datadir::{self, Layout};
use crate::machine::files::{self, EntryKind, FileError, Folder};
use crate::machine::read::{self, ReadError};
use charon_files::cluster::names::{DEFINITION_FILE, ENR_KEY_FILE, HEARTBEAT_FILE};
use charon_files::cluster::version::CharonVersion;

pub(crate) const ATTEMPTS_DIR: &str = "attempts";
pub(crate) const STAGE_DIR: &str = "stage";
const LOG_FILE: &str = "charon.log";
/// Name of the record in an attempt's directory.
pub(crate) const RECORD_FILE: &str = "attempt.json";

/// The lock that an edit changes.
pub(crate) const PREVIOUS_LOCK_FILE: &str = "previous-lock.json";

/// An attempt under construction; it gets its number when it is complete.
const NEW_DIR: &str = ".new";

/// The files of the stage that the engine mounts over, read-only: the key and the definition are
/// never copied.
const PLACEHOLDERS: [&str; 2] = [ENR_KEY_FILE, DEFINITION_FILE];

/// The format of [`Record`] that this program writes and the only one it reads.
pub const RECORD_FORMAT: u32 = 1;

/// How far an attempt came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum State {
    /// The stage is there; no container was started.
    Prepared,
    /// A container was started, or is about to be.
    Running,
    /// charon ended. Its files may be complete whatever the code: it writes them before the last
    /// step of the protocol (charon dkg/dkg.go).
    CharonDone {
        /// charon's exit code, 0 for success.
        exit: i64,
    },
    /// The outputs were verified, and wait in the stage until all operators have confirmed. Releases from before this state
    /// refuse the whole record and say this name of it, which is all that can be told to who uses one.
    #[serde(
        rename = "held by a newer charon-dkg, which is the one to use here: the keys are safe, and nothing is to be moved aside"
    )]
    Held,
    /// The outputs were verified and are in the data directory; of an edit, they are held beside it.
    Promoted,
    /// The attempt is over and its outputs, if any, stay in its stage.
    Failed {
        /// Why, in one sentence.
        reason: String,
    },
}

impl State {
    /// The stable name, as in the record.
    pub const fn name(&self) -> &'static str {
        match self {
            State::Prepared => "prepared",
            State::Running => "running",
            State::CharonDone { .. } => "charon-done",
            State::Held => "held",
            State::Promoted => "promoted",
            State::Failed { .. } => "failed",
        }
    }

    /// Whether `run` has nothing more to do for the attempt.
    pub const fn is_final(&self) -> bool {
        match self {
            State::Held | State::Promoted | State::Failed { .. } => true,
            State::Prepared | State::Running | State::CharonDone { .. } => false,
        }
    }

    /// Whether an attempt in this state may come to `next`. A state may be repeated.
    pub const fn can_become(&self, next: &State) -> bool {
        match (self, next) {
            (State::Prepared, State::Prepared | State::Running | State::Failed { .. })
            | (State::Running, State::Running | State::CharonDone { .. } | State::Failed { .. })
            | (
                State::CharonDone { .. },
                State::CharonDone { .. } | State::Held | State::Promoted | State::Failed { .. },
            )
            | (State::Held, State::Held | State::Promoted | State::Failed { .. })
            | (State::Promoted, State::Promoted)
            | (State::Failed { .. }, State::Failed { .. }) => true,
            (State::Prepared, State::CharonDone { .. } | State::Held | State::Promoted)
            | (State::Running, State::Prepared | State::Held | State::Promoted)
            | (State::CharonDone { .. }, State::Prepared | State::Running)
            | (State::Held, State::Prepared | State::Running | State::CharonDone { .. })
            | (
                State::Promoted,
                State::Prepared
                | State::Running
                | State::CharonDone { .. }
                | State::Held
                | State::Failed { .. },
            )
            | (
                State::Failed { .. },
                State::Prepared
                | State::Running
                | State::CharonDone { .. }
                | State::Held
                | State::Promoted,
            ) => false,
        }
    }
}

/// What an attempt runs and how far it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`RECORD_FORMAT`].
    pub format: u32,
    /// Whether its outputs are held until all operators have confirmed. It is written down before charon starts: whatever
    /// command ends the attempt, this or a later one, must hold them. It comes
    /// before what those releases do not know either: they say the name of the first such field.
    #[serde(
        default,
        skip_serializing_if = "std::ops::Not::not",
        rename = "to be held by a newer charon-dkg, which is the one to use here: the keys are safe, and nothing is to be moved aside"
    )]
    pub hold: bool,
    /// What changes a cluster, if it is no first ceremony. Releases that run no edits refuse the record with this name.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        rename = "an edit by a newer charon-dkg, which is the one to use here: the keys are safe, and nothing is to be moved aside"
    )]
    pub edit: Option<EditCommand>,
    /// The definition's `definition_hash`, `0x` and lower-case hex; of an edit, the edit's hash.
    pub definition_hash: String,
    /// The node id of the ENR key, lower-case hex.
    pub enr_id: String,
    /// The image as it is run, by digest or local id.
    pub charon_image: String,
    /// charon's release, such as `v1.10.3`.
    pub charon_version: String,
    /// The container's name.
    pub container: String,
    /// The address of the engine that has the container, as docker writes it: `unix:///…`. To continue
    /// the attempt, ask this one, even if docker uses another by then. [`PROCESS`] if charon runs without an engine.
    pub engine: String,
    /// When the attempt was made, RFC 3339.
    pub started: String,
    /// The flags of `run` that another attempt repeats: relays, docker network, release and image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// How far it came.
    pub state: State,
}

impl Record {
    /// Whether charon runs as a process of this machine, without an engine.
    pub fn is_process(&self) -> bool {
        self.engine == PROCESS
    }

    /// The command that begins such a ceremony again, without this program's name.
    pub fn command(&self) -> String {
        self.edit
            .as_ref()
            .map_or_else(|| "run".to_owned(), EditCommand::typed)
    }

    /// The release that all operators should run: this node's, unless its operator asked for that one. Then it may be the
    /// others who run the right one.
    pub fn pinned(&self) -> Option<CharonVersion> {
        let asked = self.flags.iter().any(|flag| flag == "--charon-version");
        self.charon_version.parse().ok().filter(|_| !asked)
    }

    /// The relays at which the operators met: those that `run` was told, or else those of charon's release.
    pub fn relays(&self) -> Vec<String> {
        let words = self.flags.iter();
        let told: Vec<String> = words
            .clone()
            .zip(words.skip(1))
            .filter(|(flag, _)| *flag == "--relay")
            .map(|(_, relay)| relay.clone())
            .collect();
        if !told.is_empty() {
            return told;
        }
        let release = self.charon_version.parse();
        let default = release.map_or(&[][..], |release| pins::default_relays(&release));
        default.iter().map(|relay| (*relay).to_owned()).collect()
    }

    /// Where charon runs, for people: `container NAME`.
    pub fn place(&self) -> String {
        if self.is_process() {
            "a process of this machine".to_owned()
        } else {
            format!("container {}", self.container)
        }
    }
}

/// One attempt's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    number: u32,
    dir: PathBuf,
}

/// Why an attempt cannot be made, read or changed.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// The record is not what this program writes.
    #[error("{} is not an attempt's record: {reason}", path.display())]
    Record {
        /// The record's path.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The record would skip or go back.
    #[error("attempt {number} is {seen}, and cannot become {next}")]
    State {
        /// The attempt's number.
        number: u32,
        /// The state on record.
        seen: &'static str,
        /// The state that was asked for.
        next: &'static str,
    },
    /// Something was written where the engine should have mounted the key or the definition.
    #[error("{} is {seen} of {len} bytes, expected an empty file", path.display())]
    Placeholder {
        /// Its path in the stage.
        path: PathBuf,
        /// What it is.
        seen: EntryKind,
        /// Its length in bytes.
        len: u64,
    },
    /// There is no free number.
    #[error("there are too many attempts in {}", path.display())]
    TooMany {
        /// The directory of attempts.
        path: PathBuf,
    },
    /// The record could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The operating system refused or failed.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Attempt {
    /// The attempt's number, from 1.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The attempt's own directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What charon sees as its data directory.
    pub fn stage(&self) -> PathBuf {
        self.dir.join(STAGE_DIR)
    }

    /// charon's output.
    pub fn log_path(&self) -> PathBuf {
        self.dir.join(LOG_FILE)
    }

    /// Makes the next attempt, complete or not at all: a stage with two empty mount points, mode
    /// 0700 and owned by the data directory's owner, and the record that `record` gives for its
    /// number. The state directory must exist.
    pub fn create(
        layout: &Layout,
        record: impl FnOnce(u32) -> Record,
    ) -> Result<Self, AttemptError> {
        Self::make(layout, record, |new, owner| {
            let stage = new.make_folder(STAGE_DIR, owner)?;
            for name in PLACEHOLDERS {
                stage.write(name, b"", owner)?;
            }
            Ok(())
        })
    }

    /// The same for an edit of this lock: with an empty stage, as charon wants its output directory.
    pub(crate) fn create_edit(
        layout: &Layout,
        record: impl FnOnce(u32) -> Record,
        previous_lock: &[u8],
    ) -> Result<Self, AttemptError> {
        Self::make(layout, record, |new, owner| {
            new.make_folder(STAGE_DIR, owner)?;
            Ok(new.write(PREVIOUS_LOCK_FILE, previous_lock, owner)?)
        })
    }

    fn make(
        layout: &Layout,
        record: impl FnOnce(u32) -> Record,
        fill: impl FnOnce(&Folder, files::Owner) -> Result<(), AttemptError>,
    ) -> Result<Self, AttemptError> {
        let owner = layout.owner()?;
        let attempts = datadir::state_folder(layout, ATTEMPTS_DIR)?;
        let last = numbers(&attempts)?.last().copied().unwrap_or(0);
        let number = last.checked_add(1).ok_or_else(|| AttemptError::TooMany {
            path: attempts.path().to_owned(),
        })?;

        remove_unfinished(&attempts)?;
        let new = attempts.make_folder(NEW_DIR, owner)?;
        fill(&new, owner)?;
        write_record(&new, &record(number), owner)?;
        attempts.move_new(NEW_DIR, &attempts, &number.to_string())?;
        attempts.sync()?;
        Ok(Self::numbered(attempts.path(), number))
    }

    /// All attempts, oldest first.
    pub fn list(layout: &Layout) -> Result<Vec<Self>, AttemptError> {
        let attempts = match open_attempts(layout) {
            Ok(attempts) => attempts,
            Err(error) if error.is_missing() => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let numbered = |number| Self::numbered(attempts.path(), number);
        Ok(numbers(&attempts)?.into_iter().map(numbered).collect())
    }

    fn numbered(attempts: &Path, number: u32) -> Self {
        Self {
            number,
            dir: attempts.join(number.to_string()),
        }
    }

    /// The attempt of this number, whether or not it exists.
    pub(crate) fn at(layout: &Layout, number: u32) -> Self {
        Self::numbered(&layout.state_dir().join(ATTEMPTS_DIR), number)
    }

    /// The lock before an edit.
    pub(crate) fn previous_lock(&self) -> PathBuf {
        self.dir.join(PREVIOUS_LOCK_FILE)
    }

    /// Removes the stage with everything in it, which is elsewhere by now.
    pub(crate) fn remove_stage(&self, layout: &Layout) -> Result<(), FileError> {
        self.open(layout)?.remove_tree(STAGE_DIR)
    }

    /// Opens the stage, without following a symbolic link on the way from the state directory.
    pub(crate) fn open_stage(&self, layout: &Layout) -> Result<Folder, FileError> {
        self.open(layout)?.folder(STAGE_DIR)
    }

    /// Opens the stage, or makes it again if somebody removed it.
    pub(crate) fn open_or_make_stage(&self, layout: &Layout) -> Result<Folder, FileError> {
        let owner = layout.owner()?;
        let attempts = datadir::state_folder(layout, ATTEMPTS_DIR)?;
        let dir = attempts.folder_or_new(&self.number.to_string(), owner)?;
        dir.folder_or_new(STAGE_DIR, owner)
    }

    fn open(&self, layout: &Layout) -> Result<Folder, FileError> {
        open_attempts(layout)?.folder(self.number.to_string())
    }

    /// Reads the record.
    pub fn record(&self) -> Result<Record, AttemptError> {
        let bytes = read::read_in(&self.dir, Path::new(RECORD_FILE), read::RECORD)?;
        let invalid = |reason: String| AttemptError::Record {
            path: self.dir.join(RECORD_FILE),
            reason,
        };
        let record: Record =
            serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
        if record.format != RECORD_FORMAT {
            let seen = record.format;
            return Err(invalid(format!("format {seen}, expected {RECORD_FORMAT}")));
        }
        Ok(record)
    }

    /// Writes a new state into the record, whole or not at all. A state that the present one cannot
    /// become is refused.
    pub fn advance(&self, layout: &Layout, next: State) -> Result<Record, AttemptError> {
        let mut record = self.record()?;
        if !record.state.can_become(&next) {
            return Err(AttemptError::State {
                number: self.number,
                seen: record.state.name(),
                next: next.name(),
            });
        }
        record.state = next;
        write_record(&self.open(layout)?, &record, layout.owner()?)?;
        Ok(record)
    }

    /// Opens charon's log for appending, and creates it with mode 0600 if necessary. Its present
    /// length tells what an earlier command already wrote.
    pub fn open_log(&self, layout: &Layout) -> Result<File, AttemptError> {
        Ok(self.open(layout)?.append_to(LOG_FILE, layout.owner()?)?)
    }

    /// Removes what the container leaves in the stage that is no output: the two mount points, if
    /// they are still empty, and charon's heartbeat. A mount point with content is an error and
    /// stays: whatever was written there, it is somebody's.
    pub fn clear_placeholders(&self, layout: &Layout) -> Result<(), AttemptError> {
        let stage = self.open_stage(layout)?;
        for name in PLACEHOLDERS {
            match stage.status(name)? {
                None => {}
                Some(status) if status.kind == EntryKind::Regular && status.len == 0 => {
                    stage.remove_file(name)?;
                }
                // Where charon ran as a process.
                Some(status)
                    if status.kind == EntryKind::Symlink
                        && std::fs::read_link(stage.path().join(name))
                            .is_ok_and(|to| to == layout.enr_key_path()) =>
                {
                    stage.remove_file(name)?;
                }
                Some(status) => {
                    return Err(AttemptError::Placeholder {
                        path: stage.path().join(name),
                        seen: status.kind,
                        len: status.len,
                    });
                }
            }
        }
        if let Some(status) = stage.status(HEARTBEAT_FILE)?
            && status.kind == EntryKind::Regular
        {
            stage.remove_file(HEARTBEAT_FILE)?;
        }
        Ok(stage.sync()?)
    }
}

fn open_attempts(layout: &Layout) -> Result<Folder, FileError> {
    Folder::open(layout.state_dir())?.folder(ATTEMPTS_DIR)
}

fn write_record(folder: &Folder, record: &Record, owner: files::Owner) -> Result<(), AttemptError> {
    let text = serde_json::to_vec_pretty(record).map_err(|error| AttemptError::Record {
        path: folder.path().join(RECORD_FILE),
        reason: error.to_string(),
    })?;
    Ok(folder.write(RECORD_FILE, &text, owner)?)
}

/// The numbers in use, ascending. Names that are not a number as we write it are not ours.
fn numbers(attempts: &Folder) -> Result<Vec<u32>, FileError> {
    let mut numbers: Vec<u32> = attempts
        .names()?
        .iter()
        .filter_map(|name| {
            let text = name.to_str()?;
            let number: u32 = text.parse().ok()?;
            (number > 0 && number.to_string() == text).then_some(number)
        })
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes an attempt that was interrupted before it got its number. No container ever saw it, so
/// there is nothing in it but what [`Attempt::create`] makes.
fn remove_unfinished(attempts: &Folder) -> Result<(), AttemptError> {
    let new = match attempts.folder(NEW_DIR) {
        Ok(new) => new,
        Err(error) if error.is_missing() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if let Ok(stage) = new.folder(STAGE_DIR) {
        remove_files_of_ours(&stage, &PLACEHOLDERS)?;
    }
    new.remove_folder(STAGE_DIR)?;
    remove_files_of_ours(&new, &[RECORD_FILE])?;
    Ok(attempts.remove_folder(NEW_DIR)?)
}

fn remove_files_of_ours(folder: &Folder, names: &[&str]) -> Result<(), FileError> {
    for name in folder.names()? {
        let text = name.to_string_lossy();
        if names.contains(&&*text) || text.starts_with(files::UNFINISHED) {
            folder.remove_file(&name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;
    use crate::machine::testing::{self, NOBODY, Project, put, record, tree};

    #[test]
    fn attempts_are_numbered_and_kept() {
        let project = Project::new();
        let layout = &project.layout;
        assert_eq!(Attempt::list(layout).unwrap(), []);
        let first = Attempt::create(layout, record).unwrap();
        let second = Attempt::create(layout, record).unwrap();
        assert_eq!((first.number(), second.number()), (1, 2));
        fs::create_dir(layout.state_dir().join("attempts/10")).unwrap();
        fs::create_dir(layout.state_dir().join("attempts/011")).unwrap();
        fs::create_dir(layout.state_dir().join("attempts/notes")).unwrap();
        let third = Attempt::create(layout, record).unwrap();
        assert_eq!(third.number(), 11);
        let numbers: Vec<u32> = Attempt::list(layout)
            .unwrap()
            .iter()
            .map(Attempt::number)
            .collect();
        assert_eq!(numbers, [1, 2, 10, 11]);
        assert_eq!(third.record().unwrap().container, "charon-dkg-test-11");
        assert_eq!(
            tree(&first.stage()).into_iter().collect::<Vec<_>>(),
            [
                ("charon-enr-private-key".to_owned(), Vec::new()),
                ("cluster-definition.json".to_owned(), Vec::new()),
            ]
        );
    }

    #[test]
    fn a_release_that_was_asked_for_is_not_what_all_others_should_run() {
        let mut record = record(1);
        let release: CharonVersion = record.charon_version.parse().unwrap();
        assert_eq!(record.pinned(), Some(release.clone()));
        record.flags = vec!["--charon-version".to_owned(), release.to_string()];
        assert_eq!(record.pinned(), None);
    }

    #[test]
    #[ignore = "needs root"]
    fn all_of_it_belongs_to_the_data_directorys_owner() {
        testing::need_root();
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        let layout = Layout::resolve(dir.path(), None).unwrap();
        datadir::create_data_dir(&layout).unwrap();
        datadir::create_state_dir(&layout).unwrap();
        let attempt = Attempt::create(&layout, record).unwrap();
        attempt.open_log(&layout).unwrap();
        attempt.advance(&layout, State::Running).unwrap();
        let attempts = layout.state_dir().join("attempts");
        for dir in [&attempts, attempt.dir(), &attempt.stage()] as [&Path; 3] {
            let meta = fs::metadata(dir).unwrap();
            assert_eq!(
                (meta.uid(), meta.mode() & 0o7777),
                (NOBODY, 0o700),
                "{dir:?}"
            );
        }
        let files = tree(attempt.dir());
        assert_eq!(files.len(), 4);
        for name in files.keys() {
            let meta = fs::metadata(attempt.dir().join(name)).unwrap();
            assert_eq!(
                (meta.uid(), meta.mode() & 0o7777),
                (NOBODY, 0o600),
                "{name}"
            );
        }
    }

    #[test]
    fn states_go_forward_only() {
        let project = Project::new();
        let layout = &project.layout;
        let attempt = Attempt::create(layout, record).unwrap();
        let exit = State::CharonDone { exit: 1 };
        let refused = attempt.advance(layout, exit.clone()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "attempt 1 is prepared, and cannot become charon-done"
        );
        attempt.advance(layout, State::Running).unwrap();
        attempt.advance(layout, State::Running).unwrap();
        assert!(attempt.advance(layout, State::Promoted).is_err());
        attempt.advance(layout, exit).unwrap();
        assert_eq!(
            attempt.record().unwrap().state,
            State::CharonDone { exit: 1 }
        );
        let reason = "relay gone".to_owned();
        attempt.advance(layout, State::Failed { reason }).unwrap();
        assert!(attempt.advance(layout, State::Promoted).is_err());
        assert!(attempt.record().unwrap().state.is_final());
    }

    #[test]
    fn the_record_is_stable() {
        let text = serde_json::to_string(&Record {
            state: State::CharonDone { exit: 137 },
            ..record(3)
        })
        .unwrap();
        assert_eq!(
            text,
            format!(
                r#"{{"format":1,"definition_hash":"0xab","enr_id":"{}","charon_image":"charon@sha256:00","charon_version":"v1.10.3","container":"charon-dkg-test-3","engine":"unix:///run/docker.sock","started":"2026-01-02T03:04:05Z","state":{{"kind":"charon-done","exit":137}}}}"#,
                "cd".repeat(32)
            )
        );
    }

    #[test]
    fn a_foreign_record_is_an_error() {
        let project = Project::new();
        let attempt = Attempt::create(&project.layout, record).unwrap();
        let path = attempt.dir().join("attempt.json");
        let good = fs::read_to_string(&path).unwrap();
        for bad in [
            "",
            "{}",
            "[]",
            &good.replace("\"format\": 1", "\"format\": 2"),
        ] {
            fs::write(&path, bad).unwrap();
            let error = attempt.record().unwrap_err();
            assert!(matches!(error, AttemptError::Record { .. }), "{error}");
        }
        fs::remove_file(&path).unwrap();
        symlink("/etc/passwd", &path).unwrap();
        assert!(attempt.record().is_err());
    }

    #[test]
    fn only_empty_mount_points_are_removed() {
        let project = Project::new();
        let layout = &project.layout;
        let attempt = Attempt::create(layout, record).unwrap();
        put(&attempt.stage().join(HEARTBEAT_FILE), b"{}", 0o644);
        put(&attempt.stage().join("cluster-lock.json"), b"{}", 0o444);
        attempt.clear_placeholders(layout).unwrap();
        attempt.clear_placeholders(layout).unwrap();
        assert_eq!(
            tree(&attempt.stage()).into_keys().collect::<Vec<_>>(),
            ["cluster-lock.json"]
        );

        let attempt = Attempt::create(layout, record).unwrap();
        put(&attempt.stage().join(ENR_KEY_FILE), b"a key", 0o600);
        let refused = attempt.clear_placeholders(layout).unwrap_err();
        assert!(
            matches!(refused, AttemptError::Placeholder { len: 5, .. }),
            "{refused}"
        );
        assert_eq!(
            fs::read(attempt.stage().join(ENR_KEY_FILE)).unwrap(),
            b"a key"
        );
    }

    #[test]
    fn an_attempt_cut_short_is_made_anew() {
        let project = Project::new();
        let layout = &project.layout;
        let attempts = layout.state_dir().join("attempts");
        put(
            &attempts.join(".new/stage/charon-enr-private-key"),
            b"",
            0o600,
        );
        put(&attempts.join(".new/stage/.unfinished-abc"), b"", 0o600);
        put(&attempts.join(".new/.unfinished-def"), b"{", 0o600);
        let attempt = Attempt::create(layout, record).unwrap();
        assert_eq!(attempt.number(), 1);
        assert!(!attempts.join(".new").exists());
        // Anything else there is not ours to remove.
        put(&attempts.join(".new/stage/keystore"), b"precious", 0o600);
        assert!(Attempt::create(layout, record).is_err());
        assert!(attempts.join(".new/stage/keystore").exists());
    }

    #[test]
    fn the_log_is_appended_to() {
        let project = Project::new();
        let attempt = Attempt::create(&project.layout, record).unwrap();
        for line in ["one\n", "two\n"] {
            let mut log = attempt.open_log(&project.layout).unwrap();
            log.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(
            fs::read_to_string(attempt.log_path()).unwrap(),
            "one\ntwo\n"
        );
    }
}
