//! What the tests of this module share: real directories, real processes, real users.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use crate::ceremony::attempt::{Attempt, RECORD_FORMAT, Record, State};
use crate::machine::datadir::{self, Layout};
use crate::machine::files;

/// A user who owns nothing, on every Linux.
pub(crate) const NOBODY: u32 = 65534;

/// Tells a helper test what to do; unset in an ordinary run.
pub(crate) const TASK: &str = "CHARON_DKG_TEST_TASK";

/// A project directory with a data directory, a key and a state directory in it.
pub(crate) struct Project {
    pub(crate) layout: Layout,
    _dir: Option<tempfile::TempDir>,
}

pub(crate) const KEY: &[u8] = b"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

impl Project {
    pub(crate) fn new() -> Self {
        Self::in_dir(tempfile::tempdir().unwrap())
    }

    /// In memory, where syncing costs nothing: for tests that go through hundreds of crashes.
    pub(crate) fn in_memory() -> Self {
        Self::in_dir(tempfile::tempdir_in("/dev/shm").unwrap())
    }

    fn in_dir(dir: tempfile::TempDir) -> Self {
        let mut project = Self::at(dir.path());
        project._dir = Some(dir);
        project
    }

    /// Made in a directory that the test looks after.
    pub(crate) fn at(dir: &Path) -> Self {
        let layout = Layout::resolve(dir, None).unwrap();
        datadir::create_data_dir(&layout).unwrap();
        datadir::create_state_dir(&layout).unwrap();
        put(&layout.enr_key_path(), KEY, 0o600);
        Self::found(layout)
    }

    /// One that is there already.
    pub(crate) fn found(layout: Layout) -> Self {
        Self { layout, _dir: None }
    }

    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.layout.data_dir().join(name)
    }

    /// An attempt whose charon is done, with these files in its stage, modes as charon's.
    pub(crate) fn attempt(&self, files: &[(&str, &[u8])]) -> Attempt {
        let attempt = Attempt::create(&self.layout, record).unwrap();
        for (name, bytes) in files {
            put(&attempt.stage().join(name), bytes, 0o444);
        }
        attempt.advance(&self.layout, State::Running).unwrap();
        let done = State::CharonDone { exit: 0 };
        attempt.advance(&self.layout, done).unwrap();
        attempt.clear_placeholders(&self.layout).unwrap();
        attempt
    }
}

pub(crate) fn record(number: u32) -> Record {
    Record {
        format: RECORD_FORMAT,
        flags: Vec::new(),
        hold: false,
        edit: None,
        definition_hash: "0xab".to_owned(),
        enr_id: "cd".repeat(32),
        charon_image: "charon@sha256:00".to_owned(),
        charon_version: "v1.10.3".to_owned(),
        container: format!("charon-dkg-test-{number}"),
        engine: "unix:///run/docker.sock".to_owned(),
        started: "2026-01-02T03:04:05Z".to_owned(),
        state: State::Prepared,
    }
}

/// Writes a file and the directories above it, in the place of one that only root could write to.
pub(crate) fn put(path: &Path, bytes: &[u8], mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    if path.exists() {
        fs::remove_file(path).unwrap();
    }
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Every regular file below a directory with its content.
pub(crate) fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                pending.push(path);
            } else if meta.is_file() {
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

pub(crate) fn as_tree(files: &[(&str, &[u8])]) -> BTreeMap<String, Vec<u8>> {
    files
        .iter()
        .map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec()))
        .collect()
}

/// What the data directory holds beside the key.
pub(crate) fn outputs(project: &Project) -> BTreeMap<String, Vec<u8>> {
    let mut found = tree(project.layout.data_dir());
    assert_eq!(
        found
            .remove(charon_files::cluster::names::ENR_KEY_FILE)
            .as_deref(),
        Some(KEY),
        "the key was touched"
    );
    found
}

/// A crash: the code stops where it is, and no error handling runs.
struct Crash;

/// Runs something that crashes at its n-th step, from 0. `None` if it crashed.
pub(crate) fn crashing_at<T>(n: usize, run: impl FnOnce(&dyn Fn(&str)) -> T) -> Option<T> {
    let steps = Cell::new(0);
    let reached = |_: &str| {
        if steps.get() == n {
            std::panic::resume_unwind(Box::new(Crash));
        }
        steps.set(steps.get() + 1);
    };
    match catch_unwind(AssertUnwindSafe(|| run(&reached))) {
        Ok(done) => Some(done),
        Err(payload) if payload.is::<Crash>() => None,
        Err(payload) => std::panic::resume_unwind(payload),
    }
}

pub(crate) fn need_root() {
    assert!(
        files::acting_as_root(),
        "this test changes users: run it as root, as in `sudo -E cargo test --lib host`"
    );
}

/// This test binary where every user can run it.
fn binary() -> &'static Path {
    static COPY: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = COPY.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let own = std::env::current_exe().unwrap();
        let path = dir.path().join("tests");
        if fs::hard_link(&own, &path).is_err() {
            fs::copy(&own, &path).unwrap();
        }
        (dir, path)
    });
    path
}

/// A process that runs one helper test of this binary and talks by lines.
pub(crate) struct Helper {
    pub(crate) child: Child,
    lines: BufReader<ChildStdout>,
}

impl Helper {
    /// Starts a helper test, `host::guard::tests::helper` say, with a task, as another user if one
    /// is given, and with a umask that a careful user has.
    pub(crate) fn start(test: &str, task: &str, uid: Option<u32>) -> Self {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "umask 077; exec \"$0\" \"$@\""])
            .arg(binary())
            .args(["--exact", test, "--include-ignored", "--nocapture"])
            .env(TASK, task)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        if let Some(uid) = uid {
            need_root();
            command.uid(uid).gid(uid);
        }
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next line that the helper said, without what the test harness says.
    pub(crate) fn line(&mut self) -> String {
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "the helper ended without saying more");
            // The harness leaves its line open when a test starts to print.
            if let Some((_, said)) = line.split_once("HELPER ") {
                return said.trim_end().to_owned();
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The task of a helper test; `None` in an ordinary run with `--ignored`.
pub(crate) fn task() -> Option<String> {
    std::env::var(TASK).ok()
}

/// Says a line to the test that started this helper.
pub(crate) fn say(text: &str) {
    println!("HELPER {text}");
}

/// Waits for the test that started this helper to say a line or to end.
pub(crate) fn wait_for_word() {
    std::io::stdin()
        .lock()
        .read_line(&mut String::new())
        .unwrap();
}
