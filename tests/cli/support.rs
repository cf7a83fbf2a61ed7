//! A project directory of its own for each test, an environment with nothing in it but what is said
//! here, and outcomes that look the same on every machine.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use charon_dkg::ceremony::attempt::{Attempt, RECORD_FORMAT, Record, State};
use charon_dkg::machine::datadir::{self, Layout};
use charon_files::cluster::definition::Definition;
use charon_files::keys::k1::EnrKey;
use tempfile::TempDir;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_charon-dkg");
pub(crate) const KEY: &str = "charon-enr-private-key";
pub(crate) const DEFINITION: &str = "cluster-definition.json";
pub(crate) const LOCK: &str = "cluster-lock.json";
/// The ceremony that tests use unless they need another.
pub(crate) const CEREMONY: &str = "charon-v1.10.3-def-v1.10.0-n4-v2";
/// A user who owns nothing, on every Linux.
pub(crate) const NOBODY: u32 = 65534;

/// Compares an outcome with `tests/cli/snapshots/<name>.snap`.
macro_rules! snapshot {
    ($name:expr, $outcome:expr) => {{
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.add_filter(
            r"\d{4}-\d\d-\d\dT\d\d[-:]\d\d[-:]\d\d(\.\d+)?Z",
            "[time--------------]",
        );
        settings.add_filter(r"process \d+", "process [pid]");
        // It names another engine where this machine has one.
        settings.add_filter(
            r"start docker(; or if you mean the engine that does listen here: --host \S+|, or name the engine with --host or --context)",
            "start docker, or name the engine with --host or --context",
        );
        settings.bind(|| insta::assert_snapshot!($name, $outcome.to_string()));
    }};
}

pub(crate) fn fixture(ceremony: &str, node: usize) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/ceremonies")
        .join(ceremony)
        .join(format!("node{node}/.charon"))
}

/// One test's machine: a project directory, a home, and no engine.
pub(crate) struct TestEnv {
    root: TempDir,
    /// Texts that differ from run to run, and what stands for them.
    redactions: Vec<(String, &'static str)>,
    /// For what uses the ENR key of a fixture.
    _turn: Option<Turn>,
}

/// The ENR keys of fixtures are the same in every test, and whoever works with one holds a machine-wide guard. So tests
/// take turns with them, those of other checkouts on this machine included; one test may have several directories.
struct Turn(Option<(MutexGuard<'static, ()>, File)>);

static TURN: Mutex<()> = Mutex::new(());

thread_local! {
    static HAS_TURN: Cell<bool> = const { Cell::new(false) };
}

impl Turn {
    fn take() -> Self {
        if HAS_TURN.replace(true) {
            return Self(None);
        }
        let here = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let path = Path::new("/tmp/charon-dkg-tests.lock");
        // Made by whoever comes first; others need not be able to write to it.
        let everywhere = File::open(path).or_else(|_| File::create(path)).unwrap();
        everywhere.lock().unwrap();
        Self(Some((here, everywhere)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.0.is_some() {
            HAS_TURN.set(false);
        }
    }
}

impl TestEnv {
    /// An empty project directory.
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        // Other users must be able to come as far as the project.
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let real = root.path().canonicalize().unwrap();
        // What is not where root looks is named by its path in advice for root.
        let redactions = vec![
            (real.join("charon-dkg").display().to_string(), "charon-dkg"),
            (BINARY.to_owned(), "charon-dkg"),
            (real.display().to_string(), "[ROOT]"),
        ];
        fs::create_dir(root.path().join("project")).unwrap();
        Self {
            root,
            redactions,
            _turn: None,
        }
    }

    /// With an ENR key of its own, so that tests do not meet at one machine-wide guard.
    pub(crate) fn with_key() -> Self {
        let mut env = Self::new();
        env.put_key();
        env
    }

    /// With an ENR key, and a definition in which that key is operator 1.
    pub(crate) fn ready() -> Self {
        let mut env = Self::new();
        let key = env.put_key();
        env.put_definition(&key, |_| ());
        env
    }

    /// With everything that a finished ceremony leaves, owners and modes as after a promotion.
    pub(crate) fn finished(ceremony: &str, node: usize) -> Self {
        let turn = Turn::take();
        let mut env = Self::new();
        env._turn = Some(turn);
        env.put_outputs(ceremony, node);
        env
    }

    /// An empty project directory for a test that puts ENR keys of fixtures there.
    pub(crate) fn with_fixture_key() -> Self {
        let turn = Turn::take();
        let mut env = Self::new();
        env._turn = Some(turn);
        env
    }

    /// Puts everything that a finished ceremony leaves into the data directory.
    pub(crate) fn put_outputs(&self, ceremony: &str, node: usize) {
        for (name, bytes) in files_below(&fixture(ceremony, node)) {
            self.put(&name, &bytes);
        }
    }

    /// A path below the directory that everything of the test lies in.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.path().canonicalize().unwrap().join(relative)
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.path("project")
    }

    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.path("project/.charon").join(name)
    }

    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.path("project/.charon-dkg").join(name)
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout::resolve(&self.project(), None).unwrap()
    }

    /// Puts a file into the data directory, mode 0600, directories 0700.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.data(name);
        let parent = path.parent().unwrap();
        for dir in [&self.data(""), parent] {
            fs::create_dir_all(dir).unwrap();
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
        }
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn put_key(&mut self) -> EnrKey {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).unwrap();
        let key = EnrKey::from_secret_bytes(&secret).unwrap();
        self.put(KEY, key.to_file_text().as_bytes());
        self.redact_key(&key);
        key
    }

    /// Lets the ENR of the key that lies here look the same in every run.
    pub(crate) fn redact_own_key(&mut self) {
        let key = EnrKey::parse(&fs::read(self.data(KEY)).unwrap()).unwrap();
        self.redact_key(&key);
    }

    fn redact_key(&mut self, key: &EnrKey) {
        self.redactions.push((key.enr().text().to_owned(), "[enr]"));
        self.redactions
            .push((key.id().to_string(), "[enr-id--------]"));
    }

    /// Writes a definition in which this key is operator 1, edited and with right hashes.
    pub(crate) fn put_definition(&mut self, key: &EnrKey, edit: impl FnOnce(&mut Definition)) {
        let mut definition = self.definition(key);
        edit(&mut definition);
        let definition = definition.with_hashes().unwrap();
        for hash in [
            definition.config_hash.unwrap().to_string(),
            definition.definition_hash.unwrap().to_string(),
        ] {
            self.redactions.push((hash, "[hash]"));
        }
        self.put(DEFINITION, definition.to_json().as_bytes());
    }

    fn definition(&self, key: &EnrKey) -> Definition {
        let bytes = fs::read(fixture(CEREMONY, 0).join(DEFINITION)).unwrap();
        let mut definition = Definition::parse(&bytes).unwrap().value;
        key.enr()
            .text()
            .clone_into(&mut definition.operators[0].enr);
        definition
    }

    /// The key that lies in the data directory.
    pub(crate) fn key(&self) -> EnrKey {
        EnrKey::parse(&fs::read(self.data(KEY)).unwrap()).unwrap()
    }

    /// Changes the definition in the data directory; the hashes follow.
    pub(crate) fn edit_definition(&mut self, edit: impl FnOnce(&mut Definition)) {
        let key = self.key();
        self.put_definition(&key, edit);
    }

    /// An attempt that came this far.
    pub(crate) fn attempt(&self, states: &[State]) {
        self.attempt_with(|_| (), states);
    }

    /// An attempt with something else in its record that came this far.
    pub(crate) fn attempt_with(&self, edit: impl FnOnce(&mut Record), states: &[State]) {
        let layout = self.layout();
        datadir::create_state_dir(&layout).unwrap();
        let attempt = Attempt::create(&layout, |number| {
            let mut record = Record {
                format: RECORD_FORMAT,
                flags: Vec::new(),
                hold: false,
                edit: None,
                definition_hash: format!("0x{}", "ab".repeat(32)),
                enr_id: "0123456789abcdef".to_owned(),
                charon_image: "obolnetwork/charon@sha256:00".to_owned(),
                charon_version: "v1.10.3".to_owned(),
                container: format!("charon-dkg-test-{number}"),
                engine: "unix:///var/run/docker.sock".to_owned(),
                started: "2026-01-02T03:04:05Z".to_owned(),
                state: State::Prepared,
            };
            edit(&mut record);
            record
        })
        .unwrap();
        for state in states {
            attempt.advance(&layout, state.clone()).unwrap();
        }
    }

    /// A command of ours, to be run in the project directory.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.path("home"))
            .env("COLUMNS", "100")
            .env("NO_COLOR", "1")
            .env("DOCKER_HOST", self.no_engine())
            .current_dir(self.project());
        command
    }

    /// Where docker would be told to find an engine, and none is.
    pub(crate) fn no_engine(&self) -> String {
        format!("unix://{}", self.path("no-engine.sock").display())
    }

    /// The keys of these tests are thrown away, and not backed up unless a test is about that: see [`Self::run_as_typed`].
    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        self.run_as_typed(&with_no_backup(args))
    }

    /// Runs with these words and no others.
    pub(crate) fn run_as_typed(&self, args: &[&str]) -> Outcome {
        let mut command = self.command(Path::new(BINARY));
        command.args(args);
        self.outcome(command)
    }

    /// Runs as another user, who may not be able to reach the directory that we are built in.
    pub(crate) fn run_as(&self, uid: u32, args: &[&str]) -> Outcome {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test changes users: run it as root, as in `sudo -E cargo test --test cli`"
        );
        let program = self.path("charon-dkg");
        if !program.exists() {
            // Copied by another process: a child that some other test is just starting would still
            // have our copy open for writing, and then nobody could run it.
            let status = Command::new("cp").arg(BINARY).arg(&program).status();
            assert!(status.unwrap().success());
        }
        let mut command = self.command(&program);
        command.args(with_no_backup(args)).uid(uid).gid(uid);
        self.outcome(command)
    }

    /// Runs a command to its end.
    pub(crate) fn outcome(&self, mut command: Command) -> Outcome {
        let output = command.output().unwrap();
        Outcome {
            code: output.status.code(),
            stdout: self.redacted(&output.stdout),
            stderr: self.redacted(&output.stderr),
        }
    }

    fn redacted(&self, bytes: &[u8]) -> String {
        let mut text = String::from_utf8(bytes.to_vec()).unwrap();
        for (volatile, shown) in &self.redactions {
            text = text.replace(volatile, shown);
        }
        text
    }

    /// Everything that lies in the project directory.
    pub(crate) fn tree(&self) -> Tree {
        Tree::of(&self.project())
    }

    /// Gives the project directory and all that is in it to a user.
    pub(crate) fn give_to(&self, uid: u32) {
        let mut paths = vec![self.project()];
        while let Some(path) = paths.pop() {
            chown(&path, Some(uid), Some(uid)).unwrap();
            if path.is_dir() {
                paths.extend(
                    fs::read_dir(&path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
            }
        }
    }
}

fn with_no_backup<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let mut args = args.to_vec();
    let verb = args.iter().position(|word| matches!(*word, "plan" | "run"));
    // A mistake is shown with what was typed beside it.
    let mistaken = args.contains(&"--no-verify") || args.contains(&"--frobnicate");
    if let Some(at) = verb
        && !mistaken
        && (at == 0 || args[at - 1] == "charondkg")
    {
        args.insert(at + 1, "--no-backup");
    }
    args
}

pub(crate) fn files_below(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                files.push((name, fs::read(path).unwrap()));
            }
        }
    }
    files
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// The one JSON document on standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// The checks that speak against it, in the order in which they are shown.
    pub(crate) fn failed(&self) -> Vec<&str> {
        self.stderr
            .lines()
            .filter_map(|line| line.strip_prefix("FAIL [")?.split(']').next())
            .collect()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => writeln!(f, "exit code: {code}")?,
            None => writeln!(f, "ended by a signal")?,
        }
        write!(
            f,
            "----- stdout\n{}----- stderr\n{}",
            self.stdout, self.stderr
        )
    }
}

/// A directory with all that can be seen of it, times included: reading alone changes nothing here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tree(BTreeMap<PathBuf, Seen>);

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    len: u64,
    inode: u64,
    changed: (i64, i64),
    content: Vec<u8>,
}

impl Tree {
    pub(crate) fn of(root: &Path) -> Self {
        let mut found = BTreeMap::new();
        let mut pending = vec![root.to_owned()];
        while let Some(path) = pending.pop() {
            let meta = path.symlink_metadata().unwrap();
            // What is too large to compare is held to its times.
            let content = if meta.is_file() && meta.len() < 1 << 20 {
                fs::read(&path).unwrap()
            } else {
                Vec::new()
            };
            if meta.is_dir() {
                pending.extend(
                    fs::read_dir(&path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
            }
            let seen = Seen {
                mode: meta.mode(),
                owner: (meta.uid(), meta.gid()),
                len: meta.len(),
                inode: meta.ino(),
                changed: (meta.ctime(), meta.ctime_nsec()),
                content,
            };
            found.insert(path.strip_prefix(root).unwrap().to_owned(), seen);
        }
        Self(found)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0
            .keys()
            .map(|path| path.display().to_string())
            .filter(|name| !name.is_empty())
            .collect()
    }
}
