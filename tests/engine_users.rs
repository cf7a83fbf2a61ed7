//! Whole ceremonies on engines that map users, rootless and userns-remap: whoever owns the directory, every file that a
//! ceremony leaves is theirs and nobody else's to read.
//!
//! Each engine is started by `tests/engines.sh`, which needs root, beside whatever engine the machine has.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

#[path = "support/output.rs"]
mod output;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use output::text;
use serde_json::Value;

/// User and group.
type Owner = (u32, u32);

const ROOT: Owner = (0, 0);

/// An engine of its own, its directory, and a copy of the program that every user may run.
struct OwnEngine {
    told: BTreeMap<String, String>,
    dir: tempfile::TempDir,
}

impl OwnEngine {
    fn start(kind: &str) -> Self {
        // Its sockets need short paths, and its user has to pass through all directories.
        let dir = tempfile::Builder::new()
            .prefix("cdkg-")
            .tempdir_in("/tmp")
            .unwrap();
        open_up(dir.path());
        let output = script(&["start", kind], dir.path());
        assert!(output.status.success(), "{}", text(&output));
        let told = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let engine = Self { told, dir };
        let built = Path::new(env!("CARGO_BIN_EXE_charon-dkg"));
        for name in ["charon-dkg", "charon-dkg-simulator"] {
            fs::copy(
                built.with_file_name(name),
                engine.program().with_file_name(name),
            )
            .unwrap();
        }
        open_up(&engine.program());
        engine
    }

    fn program(&self) -> PathBuf {
        self.dir.path().join("charon-dkg")
    }

    fn told(&self, name: &str) -> &str {
        self.told
            .get(name)
            .unwrap_or_else(|| panic!("engines.sh told no {name}: {:?}", self.told))
    }

    /// User and group that run a rootless engine.
    fn user(&self) -> Owner {
        let home = fs::metadata(self.dir.path().join("home")).unwrap();
        assert_eq!(home.uid().to_string(), self.told("ENGINE_UID"));
        (home.uid(), home.gid())
    }

    /// A directory of this user's own, for whatever is to be made in it.
    fn place(&self, name: &str, (uid, gid): Owner) -> PathBuf {
        let place = self.dir.path().join(name);
        fs::create_dir(&place).unwrap();
        chown(&place, Some(uid), Some(gid)).unwrap();
        place
    }

    /// The program as this user runs it on this engine.
    fn command(&self, (uid, gid): Owner, home: &Path) -> Command {
        let mut command = Command::new(self.program());
        command
            .env("DOCKER_HOST", self.told("DOCKER_HOST"))
            .env_remove("DOCKER_CONTEXT")
            .env("HOME", home)
            .env("XDG_CACHE_HOME", home)
            .env("TMPDIR", home);
        if uid != 0 {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// A rehearsal that passed; the operators' directories and their owners.
    fn rehearse(&self, user: Owner, home: &Path) -> Vec<(PathBuf, u32)> {
        let output = self
            .command(user, home)
            .args(["rehearse", "--engine", "simulated", "--operators", "4"])
            .args(["--validators", "2", "--keep", "--format", "json"])
            .args(["--progress", "plain"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let kept = Path::new(document["directory"].as_str().unwrap());
        let operators = document["operators"].as_array().unwrap();
        operators
            .iter()
            .map(|line| {
                let number = line["operator"].as_u64().unwrap();
                let owner = u32::try_from(line["owner"].as_u64().unwrap()).unwrap();
                (kept.join(format!("operator-{number}")), owner)
            })
            .collect()
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        let output = script(&["stop"], self.dir.path());
        if !output.status.success() && !std::thread::panicking() {
            panic!("{}", text(&output));
        }
    }
}

fn script(words: &[&str], dir: &Path) -> Output {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engines.sh"))
        .args(words)
        .arg(dir)
        .output()
        .unwrap()
}

fn open_up(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Everything in a directory and the directory itself: path, mode, owner, group, content.
fn tree(dir: &Path) -> BTreeMap<PathBuf, (u32, u32, u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let meta = fs::symlink_metadata(dir).unwrap();
    let mut bytes = Vec::new();
    if meta.is_dir() {
        for entry in fs::read_dir(dir).unwrap() {
            found.extend(tree(&entry.unwrap().path()));
        }
    } else {
        bytes = fs::read(dir).unwrap();
    }
    let what = (meta.mode(), meta.uid(), meta.gid(), bytes);
    found.insert(dir.to_owned(), what);
    found
}

/// The outputs are there, all below the operator's directory is the owner's, and what holds keys, ours included, is for
/// nobody else to read.
fn assert_owned(operator: &Path, owner: Owner) {
    for name in ["cluster-lock.json", "deposit-data.json", "validator_keys"] {
        assert!(operator.join(".charon").join(name).exists(), "{name}");
    }
    let keystores = operator.join(".charon/validator_keys");
    assert!(keystores.join("keystore-1.json").is_file());
    for (path, (mode, uid, gid, _)) in tree(operator) {
        assert_eq!((uid, gid), owner, "{}", path.display());
        // The compose project beside them is no secret, and the directory around both lets nobody in.
        let inside = path.strip_prefix(operator).unwrap();
        if path == operator || inside.starts_with(".charon") || inside.starts_with(".charon-dkg") {
            assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
        }
    }
}

#[test]
#[ignore = "needs root and docker's engine, rootless kit and uidmap"]
fn a_userns_remap_engine_leaves_every_owner_their_files() {
    let engine = OwnEngine::start("userns");
    let home = engine.place("home", ROOT);
    open_up(&home);
    let operators = engine.rehearse(ROOT, &home);
    let owners: Vec<u32> = operators.iter().map(|(_, owner)| *owner).collect();
    assert_eq!(owners.len(), 4);
    assert!(owners.contains(&0), "{owners:?}");
    assert!(
        owners.iter().any(|owner| ![0, 1000].contains(owner)),
        "{owners:?}"
    );
    for (operator, owner) in &operators {
        assert_owned(operator, (*owner, *owner));
    }
}

#[test]
#[ignore = "needs root and docker's engine, rootless kit and uidmap"]
fn a_rootless_engine_serves_its_own_user_and_nobody_else() {
    let engine = OwnEngine::start("rootless");
    let user = engine.user();
    let home = engine.place("mine", user);
    let operators = engine.rehearse(user, &home);
    for (operator, owner) in &operators {
        assert_eq!(*owner, user.0);
        assert_owned(operator, user);
    }

    // It cannot write as anybody else, so it is not let to: root may ask, for a directory of uid 4242.
    let other = engine.place("other", (4242, 4242));
    let data = other.join(".charon");
    fs::create_dir(&data).unwrap();
    let (first, _) = operators.first().expect("an operator");
    for name in ["charon-enr-private-key", "cluster-definition.json"] {
        fs::copy(first.join(".charon").join(name), data.join(name)).unwrap();
        chown(data.join(name), Some(4242), Some(4242)).unwrap();
    }
    chown(&data, Some(4242), Some(4242)).unwrap();
    let before = tree(&data);
    let refused = engine
        .command(ROOT, engine.dir.path())
        .args([
            "run",
            "--no-backup",
            "--image",
            "charon-dkg-simulator",
            "--progress",
            "plain",
            "--dir",
        ])
        .arg(&other)
        .output()
        .unwrap();
    let said = text(&refused);
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("rootless") && said.contains("4242"), "{said}");
    assert_eq!(tree(&data), before);
}
