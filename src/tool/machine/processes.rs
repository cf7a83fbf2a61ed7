//! Who else uses this key or this directory: charon processes on this machine.
//!
//! These are facts for the preflight. They hold nobody off: that is what [`crate::machine::guard`] is for.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::machine::{guard, read, users};
use charon_files::cluster::names::{CLUSTER_LOCK_FILE, ENR_KEY_FILE, VALIDATOR_KEYS_DIR};

/// The longest command line or environment that is read, that of the kernel for one argument. A
/// longer one is cut.
const MAX_PROC: u64 = 128 << 10;

/// charon's default data directory, relative to where it runs (charon cmd/dkg.go, cmd/run.go).
const DEFAULT_DATA_DIR: &str = ".charon";

/// What a charon process has to do with the data directory that was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// It uses this very directory, under whatever path, from whatever container.
    SameDirectory,
    /// It uses another directory with a copy of the same ENR key.
    SameKey,
    /// It uses another directory with another key.
    Other,
    /// Its files cannot be looked at: it belongs to another user, and we are not root.
    Unknown,
}

/// A command of charon's that uses a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CharonCommand {
    /// `charon dkg`.
    Dkg,
    /// `charon alpha edit`.
    Edit,
    /// `charon run`.
    Run,
}

impl CharonCommand {
    /// As it is typed after `charon`.
    pub const fn name(self) -> &'static str {
        match self {
            CharonCommand::Dkg => "dkg",
            CharonCommand::Edit => "alpha edit",
            CharonCommand::Run => "run",
        }
    }

    /// Whether it makes keys, and so must be the only one with its key; a node at work may go on beside an edit.
    pub const fn is_ceremony(self) -> bool {
        match self {
            CharonCommand::Dkg | CharonCommand::Edit => true,
            CharonCommand::Run => false,
        }
    }

    /// Of a command line, if it is one of these.
    fn of_args(args: &[Vec<u8>]) -> Option<Self> {
        let (program, rest) = args.split_first()?;
        if !is_charon(Path::new(OsStr::from_bytes(program))) {
            return None;
        }
        rest.iter().find_map(|arg| match arg.as_slice() {
            b"dkg" => Some(CharonCommand::Dkg),
            b"edit" => Some(CharonCommand::Edit),
            b"run" => Some(CharonCommand::Run),
            _ => None,
        })
    }

    /// Of what a container was told to run, also where a shell or another program starts charon.
    pub fn of_container(args: &[String]) -> Option<Self> {
        let words: Vec<Vec<u8>> = args
            .iter()
            .flat_map(|arg| arg.split_whitespace())
            .map(|word| {
                word.trim_matches(['\'', '"', ';', '(', ')'])
                    .as_bytes()
                    .to_vec()
            })
            .collect();
        (0..words.len()).find_map(|at| Self::of_args(words.get(at..)?))
    }
}

/// A running charon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CharonProcess {
    /// Process id.
    pub pid: u32,
    /// Effective user, if it can be told.
    pub uid: Option<u32>,
    /// That user's login name on this machine.
    pub user: Option<String>,
    /// What it does.
    pub command: CharonCommand,
    /// The data directory as the process names it, which may be a path inside a container.
    pub directory: PathBuf,
    /// What it has to do with the directory asked about.
    pub relation: Relation,
}

/// Finds the charon processes of this machine, those in containers included, and tells what each
/// has to do with a data directory.
pub fn find_charon(data_dir: &Path) -> Vec<CharonProcess> {
    let own = OwnFiles::of(data_dir);
    all_pids()
        .into_iter()
        .filter_map(|pid| look_at(pid, &own))
        .collect()
}

/// A program that was told where the keystores are, such as a validator client (Teku's `--validator-keys`, Nimbus'
/// `--validators-dir`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeystoreUser {
    /// Process id.
    pub pid: u32,
    /// Its user's login name on this machine.
    pub user: Option<String>,
    /// Name of the program.
    pub program: String,
}

/// Finds the processes of this machine whose arguments name the keystores of a data directory, as their directory or a file in
/// it, and that are no charon. One that has copied them is not recognised, nor another user's unless we are root.
pub fn find_keystore_users(data_dir: &Path) -> Vec<KeystoreUser> {
    let Some(keystores) = identity(&data_dir.join(VALIDATOR_KEYS_DIR)) else {
        return Vec::new();
    };
    let uses = |pid: u32| {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let args = split_nul(&read_proc(&proc.join("cmdline"))?);
        let program = Path::new(OsStr::from_bytes(args.first()?)).file_name()?;
        let names_them = |word: &[u8]| {
            let path = seen_by(&proc, &path_of(word));
            // Every word would be below the directory that a process is in; only what is there counts.
            identity(&path).is_some_and(|seen| {
                seen == keystores || path.parent().and_then(identity) == Some(keystores)
            })
        };
        let is_user = !is_charon(Path::new(program))
            && args.iter().skip(1).any(|arg| {
                // `--flag=a:b`, `--flag a,b`
                arg.split(|byte| matches!(byte, b'=' | b':' | b','))
                    .filter(|word| !word.is_empty())
                    .any(names_them)
            });
        is_user.then(|| KeystoreUser {
            pid,
            user: guard::process_uid(pid).and_then(users::user_name),
            program: program.to_string_lossy().into_owned(),
        })
    };
    let others = all_pids()
        .into_iter()
        .filter(|pid| *pid != std::process::id());
    others.filter_map(uses).collect()
}

/// Every process of this machine, in order.
fn all_pids() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut pids: Vec<u32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids
}

/// The files of ours that others are compared with.
struct OwnFiles {
    directory: Option<(u64, u64)>,
    key: Option<zeroize::Zeroizing<Vec<u8>>>,
}

impl OwnFiles {
    fn of(data_dir: &Path) -> Self {
        let key = Path::new(ENR_KEY_FILE);
        Self {
            directory: identity(data_dir),
            key: read::read_secret_in(data_dir, key, read::ENR_KEY).ok(),
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino()))
}

fn look_at(pid: u32, own: &OwnFiles) -> Option<CharonProcess> {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let args = split_nul(&read_proc(&proc.join("cmdline"))?);
    let command = CharonCommand::of_args(&args)?;
    let env = read_proc(&proc.join("environ")).map_or_else(Vec::new, |text| split_nul(&text));
    let used = UsedPaths::of(command, &args, &env);
    let uid = guard::process_uid(pid);
    Some(CharonProcess {
        pid,
        uid,
        user: uid.and_then(users::user_name),
        relation: relation(&proc, &used, own),
        directory: used.directories.into_iter().next()?,
        command,
    })
}

fn read_proc(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(MAX_PROC).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn split_nul(bytes: &[u8]) -> Vec<Vec<u8>> {
    let parts = bytes.split(|byte| *byte == 0);
    parts
        .filter(|part| !part.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

/// Whether a program goes by charon's name, also as `charon-v1.10.3` or `charon_linux_amd64`. Our own programs have guards.
fn is_charon(program: &Path) -> bool {
    let Some(name) = program.file_name().and_then(OsStr::to_str) else {
        return false;
    };
    match name.strip_prefix("charon") {
        Some(rest) => !rest.starts_with("-dkg") && !rest.starts_with(char::is_alphanumeric),
        None => false,
    }
}

/// What a charon process reads, as its command line and environment say.
#[derive(Debug, PartialEq, Eq)]
struct UsedPaths {
    /// The data directory first; `run` may have key and cluster lock in different places.
    directories: Vec<PathBuf>,
    key: PathBuf,
}

impl UsedPaths {
    /// charon takes a flag before its environment variable before the default (charon
    /// cmd/cmd.go, `initializeConfig`). `dkg` knows `--data-dir`; `run` and `alpha edit` know the two files.
    fn of(command: CharonCommand, args: &[Vec<u8>], env: &[Vec<u8>]) -> Self {
        let value = |flag: &str| flag_value(flag, args).or_else(|| env_value(flag, env));
        let directory = value("data-dir");
        if command == CharonCommand::Dkg {
            let directory = directory.unwrap_or_else(|| DEFAULT_DATA_DIR.into());
            return Self {
                key: directory.join(ENR_KEY_FILE),
                directories: vec![directory],
            };
        }
        let base = directory.unwrap_or_else(|| DEFAULT_DATA_DIR.into());
        let key = value("private-key-file").unwrap_or_else(|| base.join(ENR_KEY_FILE));
        let lock = value("lock-file").unwrap_or_else(|| base.join(CLUSTER_LOCK_FILE));
        let mut directories = Vec::new();
        for path in [&key, &lock] {
            let parent = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                Some(_) | None => Path::new("."),
            };
            if !directories.iter().any(|known| known == parent) {
                directories.push(parent.to_owned());
            }
        }
        Self { directories, key }
    }
}

/// The value of `--flag value` or `--flag=value`; the last one counts.
fn flag_value(flag: &str, args: &[Vec<u8>]) -> Option<PathBuf> {
    let long = format!("--{flag}");
    let mut found = None;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.strip_prefix(long.as_bytes()) {
            Some([]) => found = args.next().map(|value| path_of(value)),
            Some([b'=', value @ ..]) => found = Some(path_of(value)),
            Some(_) | None => {}
        }
    }
    found
}

/// The value of `CHARON_FLAG`.
fn env_value(flag: &str, env: &[Vec<u8>]) -> Option<PathBuf> {
    let name = format!("CHARON_{}=", flag.replace('-', "_").to_uppercase());
    env.iter()
        .find_map(|entry| entry.strip_prefix(name.as_bytes()))
        .filter(|value| !value.is_empty())
        .map(path_of)
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// Compares by inode, since the paths of a process in a container are not ours, and keys by
/// content, since a copied key is the mistake that matters.
fn relation(proc: &Path, used: &UsedPaths, own: &OwnFiles) -> Relation {
    let mut looked = false;
    for directory in &used.directories {
        match identity(&seen_by(proc, directory)) {
            Some(seen) if Some(seen) == own.directory => return Relation::SameDirectory,
            Some(_) => looked = true,
            None => {}
        }
    }
    match read::read_secret_file(&seen_by(proc, &used.key), read::ENR_KEY) {
        Ok(key) => match &own.key {
            Some(own_key) if own_key.trim_ascii() == key.trim_ascii() => Relation::SameKey,
            Some(_) | None => Relation::Other,
        },
        Err(error) if error.is_missing() && looked => Relation::Other,
        Err(_) => Relation::Unknown,
    }
}

/// A path as another process sees it, through its root or working directory.
fn seen_by(proc: &Path, path: &Path) -> PathBuf {
    match path.strip_prefix("/") {
        Ok(relative) => proc.join("root").join(relative),
        Err(_) => proc.join("cwd").join(path),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::machine::testing::{self, Helper, KEY, NOBODY, Project, put};

    const HELPER: &str = "machine::processes::tests::helper";

    /// A process that looks like charon and waits until it is dropped.
    struct Charon(Child);

    impl Charon {
        fn start(args: &[&str], cwd: &Path, uid: Option<u32>) -> Self {
            Self::start_as("/usr/local/bin/charon", args, cwd, uid)
        }

        fn start_as(name: &str, args: &[&str], cwd: &Path, uid: Option<u32>) -> Self {
            let mut command = Command::new("/bin/sh");
            command
                .arg0(name)
                .args(["-c", "echo; read x"])
                .args(args)
                .current_dir(cwd)
                .env_clear()
                .stdin(Stdio::piped())
                .stdout(Stdio::piped());
            if let Some(uid) = uid {
                testing::need_root();
                command.uid(uid).gid(uid);
            }
            let mut child = command.spawn().unwrap();
            // Before its first word it may still have the name of this test.
            let mut word = [0; 1];
            std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut word).unwrap();
            Self(child)
        }

        fn seen_from(&self, data_dir: &Path) -> CharonProcess {
            let all = find_charon(data_dir);
            let own = all.iter().find(|process| process.pid == self.0.id());
            own.unwrap_or_else(|| panic!("{} is not in {all:?}", self.0.id()))
                .clone()
        }
    }

    impl Drop for Charon {
        fn drop(&mut self) {
            self.0.kill().ok();
            self.0.wait().ok();
        }
    }

    #[test]
    fn a_charon_on_this_directory_is_found_whatever_it_calls_it() {
        let project = Project::new();
        let data = project.layout.data_dir();
        let root = project.layout.project_dir();
        std::os::unix::fs::symlink(data, root.join("link")).unwrap();
        let absolute = data.display().to_string();
        let key = root.join("link").join(ENR_KEY_FILE).display().to_string();
        for (args, name) in [
            (vec!["dkg"], ".charon"),
            (
                vec!["dkg", "--data-dir", absolute.as_str()],
                absolute.as_str(),
            ),
            (vec!["dkg", "--data-dir=./link"], "./link"),
            (
                vec!["run", "--lock-file", "/tmp/none/cluster-lock.json"],
                ".charon",
            ),
            (
                vec!["--log-level=debug", "run", "--private-key-file", &key],
                &key,
            ),
        ] {
            let charon = Charon::start(&args, root, None);
            let seen = charon.seen_from(data);
            assert_eq!(seen.relation, Relation::SameDirectory, "{args:?}: {seen:?}");
            let name = name.trim_end_matches(&format!("/{ENR_KEY_FILE}"));
            assert_eq!(seen.directory, Path::new(name));
            assert_eq!(
                seen.command,
                if args.contains(&"dkg") {
                    CharonCommand::Dkg
                } else {
                    CharonCommand::Run
                }
            );
            assert_eq!(seen.uid, Some(crate::machine::files::own_identity().uid));
        }
    }

    #[test]
    fn a_validator_client_that_was_told_of_the_keystores_is_found() {
        let project = Project::new();
        let (data, root) = (project.layout.data_dir(), project.layout.project_dir());
        let keystore = data.join(VALIDATOR_KEYS_DIR).join("keystore-0.json");
        put(&keystore, b"{}", 0o600);
        put(&data.join("cluster-lock.json"), b"{}", 0o600);
        let found = |program: &str, args: &[&str]| {
            let name = format!("/opt/{program}");
            let client = Charon::start_as(&name, args, root, None);
            find_keystore_users(data)
                .into_iter()
                .find(|user| user.pid == client.0.id())
                .map(|user| user.program)
        };
        let teku = "--validator-keys=.charon/validator_keys:.charon/validator_keys";
        let nimbus = ["--validators-dir", data.to_str().unwrap()].join("=") + "/validator_keys/";
        let one = keystore.display().to_string();
        for args in [
            vec!["vc", teku],
            vec![nimbus.as_str()],
            vec!["--keystore", &one],
            vec!["--keys", "/none,.charon/validator_keys"],
        ] {
            assert_eq!(
                found("client", &args).as_deref(),
                Some("client"),
                "{args:?}"
            );
        }
        for args in [
            vec!["--validator-keys", "/none/validator_keys"],
            vec![".charon/cluster-lock.json"],
            vec![".charon"],
        ] {
            assert_eq!(found("client", &args), None, "{args:?}");
        }
        // A process that is only in that directory, such as this program's own caller, names nothing of it.
        let caller = Charon::start_as("/opt/sudo", &["none"], keystore.parent().unwrap(), None);
        let users = find_keystore_users(data);
        assert!(
            users.iter().all(|user| user.pid != caller.0.id()),
            "{users:?}"
        );
        // That one is looked for by what it does.
        assert_eq!(found("charon", &["run", teku]), None);
    }

    #[test]
    fn a_copied_key_is_found_in_another_directory() {
        let project = Project::new();
        let elsewhere = tempfile::tempdir().unwrap();
        let mut with_line_end = KEY.to_vec();
        with_line_end.push(b'\n');
        put(
            &elsewhere.path().join(".charon").join(ENR_KEY_FILE),
            &with_line_end,
            0o600,
        );
        let charon = Charon::start(&["dkg"], elsewhere.path(), None);
        let seen = charon.seen_from(project.layout.data_dir());
        assert_eq!(seen.relation, Relation::SameKey);

        put(
            &elsewhere.path().join(".charon").join(ENR_KEY_FILE),
            b"another",
            0o600,
        );
        let seen = charon.seen_from(project.layout.data_dir());
        assert_eq!(seen.relation, Relation::Other);
    }

    #[test]
    #[ignore = "needs root"]
    fn a_charon_in_another_root_is_told_by_what_it_sees() {
        testing::need_root();
        let project = Project::new();
        // Its root is the project directory, so its paths mean nothing outside.
        let mut command = Command::new("/usr/sbin/chroot");
        let root = project.layout.project_dir();
        put(&root.join("word"), b"", 0o600);
        let shell = std::fs::canonicalize("/bin/sh").unwrap();
        let output = Command::new("ldd").arg(&shell).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let libraries = text.split_whitespace().filter(|word| word.starts_with('/'));
        for file in libraries.map(Path::new).chain([shell.as_path()]) {
            let inside = root.join(file.strip_prefix("/").unwrap());
            put(&inside, &std::fs::read(file).unwrap(), 0o755);
        }
        put(&root.join("charon"), &std::fs::read(&shell).unwrap(), 0o755);
        command.arg(root).args([
            "/charon",
            "-c",
            "echo; read x",
            "dkg",
            "--data-dir",
            "/.charon",
        ]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut word = [0; 1];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut word).unwrap();
        let charon = Charon(child);
        let seen = charon.seen_from(project.layout.data_dir());
        assert_eq!(seen.relation, Relation::SameDirectory);
        assert_eq!(seen.directory, Path::new("/.charon"));
    }

    /// Tells what a user who is not root sees of a process.
    #[test]
    #[ignore = "the other side of other tests"]
    fn helper() {
        let Some(task) = testing::task() else {
            return;
        };
        let (pid, data_dir) = task.split_once(' ').unwrap();
        let all = find_charon(Path::new(data_dir));
        let seen = all
            .iter()
            .find(|process| process.pid.to_string() == pid)
            .unwrap();
        let user = seen.user.clone().unwrap_or_default();
        testing::say(&format!(
            "{:?} {user} {}",
            seen.relation,
            seen.directory.display()
        ));
    }

    #[test]
    #[ignore = "needs root"]
    fn another_users_charon_is_seen_but_not_its_files() {
        let project = Project::new();
        let charon = Charon::start(&["dkg"], project.layout.project_dir(), None);
        let task = format!("{} {}", charon.0.id(), project.layout.data_dir().display());
        let mut helper = Helper::start(HELPER, &task, Some(NOBODY));
        assert_eq!(helper.line(), "Unknown root .charon");
    }

    #[test]
    fn what_is_not_charon_is_not_taken_for_it() {
        let args = |line: &str| -> Vec<Vec<u8>> {
            line.split(' ').map(|arg| arg.as_bytes().to_vec()).collect()
        };
        for line in [
            "charon-dkg run",
            "/usr/libexec/charon-dkg-simulator dkg",
            "charond run",
            "vim charon dkg",
            "charon relay",
            "charon",
            "charon enr",
        ] {
            assert_eq!(CharonCommand::of_args(&args(line)), None, "{line}");
        }
        for line in [
            "./charon -v dkg",
            "/opt/charon-v1.10.3 dkg",
            "charon_linux_amd64 dkg",
        ] {
            let seen = CharonCommand::of_args(&args(line));
            assert_eq!(seen, Some(CharonCommand::Dkg), "{line}");
        }
        assert_eq!(CharonCommand::of_args(&[]), None);
    }

    #[test]
    fn what_a_container_runs_is_told_by_its_command() {
        let seen = |args: &[&str]| {
            let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
            CharonCommand::of_container(&args)
        };
        let charon = "/usr/local/bin/charon";
        for (args, expected) in [
            (vec![charon, "run"], Some(CharonCommand::Run)),
            (vec![charon, "dkg", "--publish"], Some(CharonCommand::Dkg)),
            (
                vec![charon, "alpha", "edit", "recreate-private-keys"],
                Some(CharonCommand::Edit),
            ),
            (
                vec![
                    "/bin/sh",
                    "-c",
                    "cd /opt; exec charon alpha edit add-operators",
                ],
                Some(CharonCommand::Edit),
            ),
            (
                vec!["sh", "-ec", "sleep 1; (charon 'run')"],
                Some(CharonCommand::Run),
            ),
            (vec![charon, "enr"], None),
            (vec!["/opt/lighthouse", "vc"], None),
            (vec![], None),
        ] {
            assert_eq!(seen(&args), expected, "{args:?}");
        }
    }

    #[test]
    fn flags_come_before_the_environment_and_that_before_the_default() {
        let list = |items: &[&str]| -> Vec<Vec<u8>> {
            items.iter().map(|item| item.as_bytes().to_vec()).collect()
        };
        let env = list(&["PATH=/bin", "CHARON_DATA_DIR=/env", "CHARON_LOCK_FILE="]);
        let by_flag = UsedPaths::of(
            CharonCommand::Dkg,
            &list(&["dkg", "--data-dir=/flag"]),
            &env,
        );
        assert_eq!(by_flag.directories, [Path::new("/flag")]);
        let by_env = UsedPaths::of(CharonCommand::Dkg, &list(&["dkg"]), &env);
        assert_eq!(by_env.key, Path::new("/env/charon-enr-private-key"));
        let by_default = UsedPaths::of(
            CharonCommand::Run,
            &list(&["run"]),
            &list(&["CHARON_DATA_DIR="]),
        );
        assert_eq!(by_default.directories, [Path::new(".charon")]);
        let apart = list(&[
            "run",
            "--private-key-file",
            "key",
            "--lock-file",
            "/l/lock.json",
        ]);
        let apart = UsedPaths::of(CharonCommand::Run, &apart, &[]);
        assert_eq!(apart.directories, [Path::new("."), Path::new("/l")]);
    }
}
