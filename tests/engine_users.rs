//! Engines that map users, rootless and userns-remap: whoever owns the directory, every file that a ceremony leaves is
//! theirs and nobody else's to read. And one that sees other files than this machine, and keeps no logs.
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

    // What one of its containers left is its user's again by the one line that every command names.
    let mapped: u32 = engine.told("SUBUID_START").parse().unwrap();
    let left = engine.place("left", user);
    let enr = engine
        .command(user, &home)
        .args(["enr", "--dir"])
        .arg(&left)
        .output()
        .unwrap();
    assert!(enr.status.success(), "{}", text(&enr));
    for (path, _) in tree(&left.join(".charon")) {
        chown(path, Some(mapped + 999), None).unwrap();
    }
    let line = format!("repair --owner {}:{}", user.0, user.1);
    for words in [
        &["enr", "show"][..],
        &["plan"],
        &["status"],
        &["verify"],
        &["repair", "--yes"],
    ] {
        let mut command = engine.command(user, &home);
        let refused = command.args(words).current_dir(&left).output().unwrap();
        let said = text(&refused);
        assert!(!refused.status.success(), "{words:?}: {said}");
        let sudo = format!("`sudo {}", engine.program().display());
        assert!(said.contains(&sudo), "{words:?}: {said}");
        let typed = said
            .split("`sudo ")
            .nth(1)
            .unwrap()
            .split('`')
            .next()
            .unwrap();
        let owner = format!("--owner {}:{}", user.0, user.1);
        assert!(
            typed.contains("repair") && typed.contains(&owner),
            "{words:?}: {said}"
        );
        assert!(!said.contains("could read"), "{words:?}: {said}");
    }
    let mut by_root = engine.command(ROOT, &home);
    by_root.args(line.split(' ')).arg("--yes");
    let given = by_root.current_dir(&left).output().unwrap();
    assert!(given.status.success(), "{}", text(&given));
    assert!(!text(&given).contains("could read"), "{}", text(&given));
    let mut shown = engine.command(user, &home);
    let shown = shown.args(["enr", "show"]).current_dir(&left).output();
    assert_eq!(shown.unwrap().stdout, enr.stdout);

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

/// Words of the program that find no fault with any relay.
const ASIDE: [&str; 5] = [
    "--no-backup",
    "--image",
    "charon-dkg-simulator",
    "--relay",
    "/ip4/127.0.0.1/tcp/3640/p2p/16Uiu2HAkxHVbm8vvvGrNBHK5aDfz4hgBQWvYjYtP2KDrU9y6pL5c",
];

#[test]
#[ignore = "needs root and docker's engine"]
fn an_engine_that_sees_other_files_is_found_out_before_the_ceremony() {
    let engine = OwnEngine::start("hidden");
    let home = engine.place("home", ROOT);
    let run = |project: &Path, words: &[&str]| {
        let mut command = engine.command(ROOT, &home);
        command.args(words).arg("--dir").arg(project);
        command.output().unwrap()
    };
    // One that both see, and one that the engine sees nothing of.
    let plain = engine.place("plain", ROOT);
    let hidden = engine.place("hidden/project", ROOT);
    let enrs: Vec<String> = [&plain, &hidden]
        .map(|project| {
            let made = run(project, &["enr"]);
            assert!(made.status.success(), "{}", text(&made));
            String::from_utf8(made.stdout).unwrap().trim().to_owned()
        })
        .into_iter()
        .chain((0..2).map(|number| {
            let made = run(&engine.place(&format!("other-{number}"), ROOT), &["enr"]);
            String::from_utf8(made.stdout).unwrap().trim().to_owned()
        }))
        .collect();
    let address = "0x52908400098527886E0F7030069857D2E4169EE7";
    let mut words = vec!["define", "--network=hoodi", "--num-validators=1"];
    words.extend(["--withdrawal-addresses", address]);
    words.extend(["--fee-recipient-addresses", address]);
    words.extend(enrs.iter().map(String::as_str));
    let made = run(engine.dir.path(), &words);
    assert!(made.status.success(), "{}", text(&made));
    let definition = engine.dir.path().join("cluster-definition.json");
    let ask = |verb: &str, project: &Path| {
        let mut words = vec![verb, "--definition", definition.to_str().unwrap()];
        words.extend(ASIDE);
        let said = run(project, &words);
        assert_eq!(said.status.code(), Some(3), "{}", text(&said));
        text(&said)
    };
    // There is no image of charon, which is another matter.
    let said = ask("plan", &plain);
    assert!(said.contains("[image-unavailable]"), "{said}");
    assert!(!said.contains("mount"), "{said}");
    assert!(!said.contains("engine-sees-other-files"), "{said}");
    let before = tree(&hidden.join(".charon"));
    for verb in ["plan", "run"] {
        let said = ask(verb, &hidden);
        assert!(said.contains("[engine-sees-other-files]"), "{said}");
        assert!(said.contains("the engine sees no file"), "{said}");
        assert!(said.contains("snap list docker"), "{said}");
        assert_eq!(tree(&hidden.join(".charon")), before);
    }
    // With a key in that place it is another one.
    let pid = fs::read_to_string(engine.told("PIDFILE")).unwrap();
    let key = |project: &Path| project.join(".charon/charon-enr-private-key");
    let copied = Command::new("nsenter")
        .args(["--mount", "--target", pid.trim(), "install", "-Dm600"])
        .args([key(&plain), key(&hidden)])
        .output()
        .unwrap();
    assert!(copied.status.success(), "{}", text(&copied));
    let said = ask("plan", &hidden);
    assert!(said.contains("[engine-sees-other-files]"), "{said}");
    assert!(said.contains("the key of ENR id "), "{said}");
    let secret = fs::read_to_string(key(&plain)).unwrap();
    assert!(!said.contains(secret.trim()));
    // And one that a container of the owner may not read is said not to be readable.
    let closed = Command::new("nsenter")
        .args(["--mount", "--target", pid.trim(), "chown", "4242"])
        .arg(key(&hidden))
        .output()
        .unwrap();
    assert!(closed.status.success(), "{}", text(&closed));
    let said = ask("plan", &hidden);
    assert!(said.contains("[mount-unreadable]"), "{said}");
    let left = Command::new("docker")
        .args([
            "--host",
            engine.told("DOCKER_HOST"),
            "ps",
            "--all",
            "--quiet",
        ])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
}

#[test]
#[ignore = "needs root, docker's engine and Compose"]
fn a_gate_says_why_where_containers_have_no_log() {
    let engine = OwnEngine::start("hidden");
    let home = engine.place("home", ROOT);
    let project = engine.place("project", ROOT);
    fs::write(
        project.join("compose.yml"),
        "services:\n  charon:\n    image: charon-dkg-self:none\n    pull_policy: never\n    volumes: ['./.charon:/opt/charon/.charon']\n",
    )
    .unwrap();
    for words in [&["enr"][..], &["gate", "install", "--one-shot"]] {
        let mut command = engine.command(ROOT, &home);
        let said = command.args(words).arg("--dir").arg(&project).output();
        let said = said.unwrap();
        assert!(said.status.success(), "{words:?}: {}", text(&said));
    }
    let docker = |words: &[&str]| {
        Command::new("docker")
            .args(["--host", engine.told("DOCKER_HOST")])
            .args(words)
            .output()
            .unwrap()
    };
    let driver = docker(&["info", "--format", "{{.LoggingDriver}}"]);
    assert_eq!(String::from_utf8_lossy(&driver.stdout).trim(), "none");
    let named = |name: &str| vec![std::env::var(name).unwrap_or_else(|_| panic!("set {name}"))];
    for compose in [
        vec!["docker".to_owned(), "compose".to_owned()],
        named("CHARON_DKG_TEST_COMPOSE_2_26"),
        named("CHARON_DKG_TEST_COMPOSE_1_29"),
    ] {
        let compose = |words: &[&str]| {
            Command::new(&compose[0])
                .args(&compose[1..])
                .args(words)
                .env("DOCKER_HOST", engine.told("DOCKER_HOST"))
                .current_dir(&project)
                .output()
                .unwrap()
        };
        let up = compose(&["up", "-d", "charon-dkg-gate"]);
        assert!(up.status.success(), "{}", text(&up));
        let name = compose(&["ps", "-a", "-q", "charon-dkg-gate"]);
        let id = String::from_utf8(name.stdout).unwrap();
        assert!(docker(&["wait", id.trim()]).status.success());
        let said = text(&compose(&["logs", "charon-dkg-gate"]));
        assert!(said.contains("no completed ceremony"), "{said}");
        let down = compose(&["down"]);
        assert!(down.status.success(), "{}", text(&down));
    }
}
