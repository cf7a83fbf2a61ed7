//! The gate, with a real engine and real Compose of three ages.
//!
//! Needs the engine that docker itself would talk to, `docker compose` 2.36 or newer, and two older releases, which
//! `tests/composes.sh DIR` fetches. Without any of them the tests fail and say how to get it. Every container runs an
//! image made from this very test program.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail best where they stand"
)]

#[path = "support/engine.rs"]
mod engine;
#[path = "support/schema.rs"]
mod schema;
#[path = "gate/story.rs"]
mod story;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use charon_dkg::docker::Mode;
use charon_dkg::docker::self_image::{PROGRAM, SelfImageSpec, load_self_image};
use serde_json::Value;

const CEREMONY: &str = "charon-v1.10.3-def-v1.10.0-n4-v2-signed";

/// The image of these tests is this very test program, told to be [`container_child`].
const CHILD: [&str; 5] = [
    PROGRAM,
    "--ignored",
    "--exact",
    "--nocapture",
    "container_child",
];

/// What every service of the tests does: it runs until it is told to end. The kernel would let a first process that
/// handles no signal go on, and Compose then waits ten seconds before it kills it.
#[test]
#[ignore = "the other tests run this inside containers"]
fn container_child() {
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM]).unwrap();
    signals.forever().next();
}

/// What the tests share, found or made once.
struct Ground {
    /// `DOCKER_HOST` of every command.
    host: String,
    /// `name:tag`.
    image: String,
    /// Who owns data directories: somebody else than root where the engine allows it.
    owner: (u32, u32),
    /// As whom a container reads them.
    user: String,
    /// Whether root of a container may read what belongs to the owner alone.
    root_reads: bool,
    /// A configuration directory of docker's in which our plugin is found.
    config: tempfile::TempDir,
}

fn ground() -> &'static Ground {
    static GROUND: OnceLock<Ground> = OnceLock::new();
    GROUND.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(prepare())
    })
}

async fn prepare() -> Ground {
    let found = engine::found();
    let engine = engine::engine().await;
    let spec = SelfImageSpec {
        entrypoint: CHILD.map(str::to_owned).to_vec(),
        ..SelfImageSpec::default()
    };
    let image = load_self_image(&engine, &spec).await.unwrap();
    let me = rustix::process::getuid().as_raw();
    let mode = engine.facts().await.unwrap().mode;
    let (owner, user) = match mode {
        Mode::Rootful | Mode::PodmanRootful | Mode::DockerDesktop if me == 0 => {
            ((1000, 1000), "1000:1000".to_owned())
        }
        Mode::Rootless { uid } => ((uid, rustix::process::getgid().as_raw()), "0:0".to_owned()),
        Mode::Rootful
        | Mode::PodmanRootful
        | Mode::DockerDesktop
        | Mode::UsernsRemap
        | Mode::PodmanRootless { .. } => {
            let group = rustix::process::getgid().as_raw();
            ((me, group), format!("{me}:{group}"))
        }
    };
    Ground {
        host: found.address.to_string(),
        image: image.reference,
        owner,
        user,
        root_reads: mode != Mode::UsernsRemap,
        config: docker_config(),
    }
}

/// Whatever plugins this user has, and ours.
fn docker_config() -> tempfile::TempDir {
    let config = tempfile::tempdir().unwrap();
    let plugins = config.path().join("cli-plugins");
    fs::create_dir(&plugins).unwrap();
    let own = std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker")));
    let entries = own.and_then(|own| fs::read_dir(own.join("cli-plugins")).ok());
    for entry in entries.into_iter().flatten() {
        let path = fs::canonicalize(entry.unwrap().path()).unwrap();
        if !path.ends_with("docker-charondkg") {
            symlink(&path, plugins.join(path.file_name().unwrap())).unwrap();
        }
    }
    let plugin = plugins.join("docker-charondkg");
    if fs::symlink_metadata(&plugin).is_err() {
        symlink(env!("CARGO_BIN_EXE_charon-dkg"), plugin).unwrap();
    }
    config
}

/// Holds a document to what `docs/` says of it.
#[track_caller]
fn check_schema(name: &str, document: &Value) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let text = fs::read(docs.join(format!("{name}.schema.json"))).unwrap();
    let schema: Value = serde_json::from_slice(&text).unwrap();
    let problems = schema::problems(&schema, &schema, document, name);
    assert_eq!(problems, Vec::<String>::new(), "{document:#}");
}

/// A Compose to test with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    /// `docker compose`, which asks providers.
    Today,
    /// 2.26.
    Second,
    /// 1.29.
    First,
}

impl Age {
    fn words(self) -> Vec<String> {
        let variable = match self {
            Age::Today => {
                check_todays_compose();
                return vec!["docker".to_owned(), "compose".to_owned()];
            }
            Age::Second => "CHARON_DKG_TEST_COMPOSE_2_26",
            Age::First => "CHARON_DKG_TEST_COMPOSE_1_29",
        };
        match std::env::var(variable) {
            Ok(program) => vec![program],
            Err(_) => panic!(
                "{variable} is not set.\nThis test needs an older Docker Compose: run `tests/composes.sh DIR`, and set the \
                 variables that it prints."
            ),
        }
    }
}

fn check_todays_compose() {
    let said = Command::new("docker")
        .args(["compose", "version", "--short"])
        .output();
    let text = said.map(|said| String::from_utf8_lossy(&said.stdout).into_owned());
    let fit = text.as_ref().is_ok_and(|text| {
        charon_dkg::gate::ComposeVersion::parse(text).is_some_and(|version| {
            version.gate_kind() == Some(charon_dkg::gate::GateKind::Provider)
        })
    });
    assert!(
        fit,
        "`docker compose version --short` says {text:?}.\nThis test needs docker and Docker Compose 2.36 or newer: \
         `./install.sh --with-docker` installs both."
    );
}

/// What a command said and how it ended.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    fn good(self) -> Self {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    fn bad(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        for word in words {
            assert!(self.err.contains(word), "no {word:?} in {}", self.err);
        }
        self
    }
}

/// A compose project of one operator.
struct Project {
    base: tempfile::TempDir,
    compose: Vec<String>,
    name: String,
}

/// charon and a validator client that mounts the keystores only, as in the repositories that operators start from, and an
/// execution client that mounts nothing of ours.
const USUAL: &str = "
services:
  el:
    image: IMAGE
  charon:
    image: IMAGE
    volumes: ['.charon:/opt/charon/.charon']
    restart: unless-stopped
  vc:
    image: IMAGE
    depends_on: [charon]
    volumes: ['.charon/validator_keys:/home/charon/validator_keys']
";

impl Project {
    fn new(age: Age, text: &str) -> Self {
        let project = Self {
            base: tempfile::tempdir().unwrap(),
            compose: age.words(),
            name: format!("cdkgtest{}", uuid::Uuid::new_v4().simple()),
        };
        fs::create_dir(project.dir()).unwrap();
        give(&project.dir());
        project.write(
            "docker-compose.yml",
            &text.replace("IMAGE", &ground().image),
        );
        project
    }

    fn dir(&self) -> PathBuf {
        // Docker and we name a directory by its real path.
        fs::canonicalize(self.base.path()).unwrap().join("op1")
    }

    fn data_dir(&self) -> PathBuf {
        self.dir().join(".charon")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.dir().join(name);
        fs::write(&path, text).unwrap();
        give(&path);
    }

    /// The outputs of a real ceremony, as they are promoted.
    fn with_outputs(self) -> Self {
        copy(&fixture(0), &self.data_dir());
        self
    }

    fn command(&self, words: &[&str], dir: &Path) -> Command {
        let ground = ground();
        let mut words = words.iter();
        let mut command = Command::new(words.next().unwrap());
        command
            .args(words)
            .current_dir(dir)
            .env("PWD", dir)
            .env("DOCKER_HOST", &ground.host)
            .env("DOCKER_CONFIG", ground.config.path())
            .env("COMPOSE_PROJECT_NAME", &self.name)
            // Compose 1.29 gives up on an engine after one minute, which a busy machine may take to make a container.
            .env("COMPOSE_HTTP_TIMEOUT", "900")
            .env_remove("COMPOSE_FILE")
            .env_remove("DOCKER_CONTEXT")
            .env_remove("CHARON_DKG_COMPOSE");
        if let [program] = self.compose.as_slice() {
            command.env("CHARON_DKG_COMPOSE", program);
        }
        command
    }

    fn compose(&self, words: &[&str]) -> Said {
        self.compose_in(&self.dir(), words)
    }

    fn compose_in(&self, dir: &Path, words: &[&str]) -> Said {
        let compose: Vec<&str> = self.compose.iter().map(String::as_str).collect();
        Said::of(&mut self.command(&[&compose, words].concat(), dir))
    }

    /// Our own program.
    fn ours(&self, words: &[&str]) -> Said {
        let program = [env!("CARGO_BIN_EXE_charon-dkg")];
        Said::of(&mut self.command(&[&program, words].concat(), &self.dir()))
    }

    /// The provider's answer to a parent with Compose's name, which is all of Compose that it sees.
    fn asked_by_compose(&self, words: &[&str]) -> Said {
        let shell = [
            "bash",
            "-c",
            r#"exec -a docker-compose sh -c '"$0" "$@"; exit $?' "$@""#,
            "bash",
            env!("CARGO_BIN_EXE_charon-dkg"),
            "compose",
        ];
        Said::of(&mut self.command(&[&shell, words].concat(), &self.dir()))
    }

    /// State of each service's container.
    fn states(&self) -> BTreeMap<String, String> {
        let filter = format!("label=com.docker.compose.project={}", self.name);
        let format = "{{.Label \"com.docker.compose.service\"}} {{.State}}";
        let words = [
            "docker", "ps", "--all", "--filter", &filter, "--format", format,
        ];
        let said = Said::of(&mut self.command(&words, &self.dir())).good();
        said.out
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(service, state)| (service.to_owned(), state.to_owned()))
            .collect()
    }

    fn runs(&self, service: &str) -> bool {
        self.states()
            .get(service)
            .is_some_and(|state| state == "running")
    }

    fn status(&self) -> Value {
        let said = self.ours(&["gate", "status", "--format", "json"]).good();
        let status = serde_json::from_str(&said.out).unwrap();
        check_schema("gate-status", &status);
        status
    }

    fn container_user(&self, service: &str) -> String {
        let filters = [
            format!("label=com.docker.compose.project={}", self.name),
            format!("label=com.docker.compose.service={service}"),
        ];
        let words = [
            "docker",
            "ps",
            "--all",
            "--quiet",
            "--filter",
            &filters[0],
            "--filter",
            &filters[1],
        ];
        let id = Said::of(&mut self.command(&words, &self.dir())).good().out;
        let words = [
            "docker",
            "inspect",
            "--format",
            "{{.Config.User}}",
            id.trim(),
        ];
        Said::of(&mut self.command(&words, &self.dir()))
            .good()
            .out
            .trim()
            .to_owned()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // Whatever is left, also after a test that failed half-way.
        story::remove_images_of(&self.dir());
        let filter = format!("label=com.docker.compose.project={}", self.name);
        let ids = Said::of(&mut self.command(
            &["docker", "ps", "--all", "--quiet", "--filter", &filter],
            Path::new("/"),
        ));
        let ids: Vec<&str> = ids.out.split_whitespace().collect();
        if !ids.is_empty() {
            Said::of(&mut self.command(
                &[&["docker", "rm", "--force"], ids.as_slice()].concat(),
                Path::new("/"),
            ));
        }
        let networks = Said::of(&mut self.command(
            &["docker", "network", "ls", "--quiet", "--filter", &filter],
            Path::new("/"),
        ));
        let networks: Vec<&str> = networks.out.split_whitespace().collect();
        if !networks.is_empty() {
            Said::of(&mut self.command(
                &[&["docker", "network", "rm"], networks.as_slice()].concat(),
                Path::new("/"),
            ));
        }
    }
}

fn fixture(node: usize) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/ceremonies")
        .join(CEREMONY)
        .join(format!("node{node}/.charon"))
}

fn give(path: &Path) {
    if rustix::process::getuid().is_root() {
        let (uid, gid) = ground().owner;
        chown(path, Some(uid), Some(gid)).unwrap();
    }
}

/// Copies a directory with the owner and the modes that a promotion gives.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    give(to);
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::write(&target, fs::read(&path).unwrap()).unwrap();
            fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
            give(&target);
        }
    }
}

/// Everything in a directory but what is ours: content, mode and owner.
fn tree(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, u32, u32)> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            if path.ends_with(".charon-dkg") {
                continue;
            }
            let content = if meta.is_symlink() {
                fs::read_link(&path)
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes()
            } else if meta.is_dir() {
                waiting.push(path.clone());
                Vec::new()
            } else {
                fs::read(&path).unwrap()
            };
            found.insert(path, (content, meta.mode(), meta.uid()));
        }
    }
    found
}

/// Changes one byte of a keystore's ciphertext, and gives what was there.
fn change_one_byte(data_dir: &Path) -> (PathBuf, Vec<u8>) {
    let path = data_dir.join("validator_keys/keystore-0.json");
    let before = fs::read(&path).unwrap();
    let text = String::from_utf8(before.clone()).unwrap();
    let at = text.find("\"message\": \"").unwrap() + "\"message\": \"".len();
    let mut changed = before.clone();
    changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
    fs::write(&path, changed).unwrap();
    (path, before)
}

/// Receipts of operators 2, 3 and 4.
fn receipts_of_the_others() -> Vec<String> {
    let base = tempfile::tempdir().unwrap();
    (1..4)
        .map(|node| {
            let dir = base.path().join(format!("op{}", node + 1));
            fs::create_dir(&dir).unwrap();
            give(&dir);
            copy(&fixture(node), &dir.join(".charon"));
            let said = Said::of(
                Command::new(env!("CARGO_BIN_EXE_charon-dkg"))
                    .args(["receipt", "--progress", "quiet", "--dir"])
                    .arg(&dir),
            );
            said.good().out.trim().to_owned()
        })
        .collect()
}

/// One operator's story, from the first `up` to the last, with the same obligations for every Compose.
fn story(age: Age) {
    let project = Project::new(age, USUAL);
    // Nothing but a key: the gate comes first.
    fs::create_dir(project.data_dir()).unwrap();
    give(&project.data_dir());
    fs::set_permissions(project.data_dir(), fs::Permissions::from_mode(0o700)).unwrap();
    let key = "charon-enr-private-key";
    let key_path = project.data_dir().join(key);
    fs::copy(fixture(0).join(key), &key_path).unwrap();
    fs::set_permissions(&key_path, fs::Permissions::from_mode(0o600)).unwrap();
    give(&key_path);
    let before = tree(&project.dir());

    project.ours(&["gate", "install"]).good();
    let status = project.status();
    assert_eq!(status["open"], false);
    if ground().root_reads {
        assert_eq!(status["problems"], serde_json::json!([]), "{status:#}");
    }
    let covered: Vec<_> = status["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            (
                line["service"].as_str().unwrap(),
                line["covered"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(covered, [("charon", true), ("vc", true)]);
    refused(&project, age, "no completed ceremony");

    // What sees nothing of ours starts at any time.
    project.compose(&["up", "-d", "el"]).good();
    assert!(project.runs("el"));

    // The ceremony.
    copy(&fixture(0), &project.data_dir());
    refused(&project, age, "receipt");
    let others = receipts_of_the_others();
    let [second, third, fourth] = others.as_slice() else {
        panic!("{others:?}");
    };
    let said = project.ours(&["confirm", second, third]);
    assert_eq!(said.code, 4, "{}", said.err);
    refused(
        &project,
        age,
        "3 of 4 operators have everything; no receipt: operator 4",
    );
    project.ours(&["confirm", fourth]).good();

    // Open.
    project.compose(&["up", "-d"]).good();
    assert!(
        project.runs("charon") && project.runs("vc"),
        "{:?}",
        project.states()
    );
    assert_eq!(project.container_user("charon"), ground().user);
    // Once more changes nothing.
    project.compose(&["up", "-d"]).good();
    assert!(
        project.runs("charon") && project.runs("vc"),
        "{:?}",
        project.states()
    );
    project.compose(&["stop", "-t", "0"]).good();

    // One byte.
    let (path, whole) = change_one_byte(&project.data_dir());
    refused(&project, age, "keystore-0");
    fs::write(path, whole).unwrap();
    project.compose(&["up", "-d", "vc"]).good();
    assert!(
        project.runs("charon") && project.runs("vc"),
        "{:?}",
        project.states()
    );

    // Everything goes, and the project is as it was.
    project.compose(&["down", "-t", "0"]).good();
    assert_eq!(project.states(), BTreeMap::new());
    project.ours(&["gate", "remove"]).good();
    fs::remove_dir_all(project.data_dir()).unwrap();
    fs::create_dir(project.data_dir()).unwrap();
    give(&project.data_dir());
    fs::set_permissions(project.data_dir(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::copy(fixture(0).join(key), &key_path).unwrap();
    fs::set_permissions(&key_path, fs::Permissions::from_mode(0o600)).unwrap();
    give(&key_path);
    assert_eq!(tree(&project.dir()), before);
}

/// Every way in is shut, for this reason.
#[track_caller]
fn refused(project: &Project, age: Age, reason: &str) {
    let ways: [&[&str]; 4] = [
        &["up", "-d"],
        &["up", "-d", "vc"],
        &["run", "--rm", "vc"],
        &["up", "-d", "--force-recreate", "charon"],
    ];
    for way in ways {
        let said = project.compose(way);
        assert_ne!(said.code, 0, "{way:?}: {}\n{}", said.out, said.err);
        if age == Age::Today {
            let line = said
                .err
                .lines()
                .find(|line| line.contains("charon-dkg refuses: "));
            let line = line.unwrap_or_else(|| panic!("{way:?}: {}", said.err));
            assert!(line.contains(reason) && line.contains("; next: "), "{line}");
        }
        for service in ["charon", "vc"] {
            assert!(!project.runs(service), "{way:?} started {service}");
        }
    }
    match age {
        Age::Today => {
            // A provider is asked before anything is made.
            let said = project.compose(&["create"]);
            assert_ne!(said.code, 0, "{}", said.err);
        }
        Age::Second | Age::First => {
            // What is made is not started.
            project.compose(&["create"]);
            project.compose(&["start"]);
            let log = project.compose(&["logs", "charon-dkg-gate"]).good().out;
            assert!(log.contains(reason), "{log}");
        }
    }
    for service in ["charon", "vc"] {
        assert!(!project.runs(service), "{service} runs");
    }
    // Whatever Compose says, `up` says it all.
    let said = project.ours(&["up", "--", "vc"]);
    assert!(matches!(said.code, 3 | 4), "{}", said.err);
    assert!(said.err.contains(reason), "{}", said.err);
    assert!(said.err.contains("hint: "), "{}", said.err);
}

#[test]
#[ignore = "needs a docker engine and Compose"]
fn todays_compose_asks_and_starts_nothing_until_all_have_everything() {
    story(Age::Today);
}

#[test]
#[ignore = "needs a docker engine, and an older Compose from tests/composes.sh"]
fn compose_2_26_starts_nothing_until_all_have_everything() {
    story(Age::Second);
}

#[test]
#[ignore = "needs a docker engine, and an older Compose from tests/composes.sh"]
fn compose_1_29_starts_nothing_until_all_have_everything() {
    story(Age::First);
}

#[test]
#[ignore = "needs a docker engine and Compose"]
fn up_asks_first_and_hands_on_what_follows() {
    for age in [Age::Today, Age::Second] {
        let project = Project::new(age, USUAL).with_outputs();
        project
            .ours(&["gate", "install", "--require", "verified"])
            .good();
        let said = project.ours(&["up", "--", "el"]).good();
        assert!(
            said.err.contains("the gate is open: verified"),
            "{}",
            said.err
        );
        assert!(
            project.runs("el") && !project.runs("charon"),
            "{:?}",
            project.states()
        );
        project.ours(&["up"]).good();
        assert!(project.runs("vc"), "{:?}", project.states());
        let asked = ["up", "--format", "json", "--progress", "json"];
        let said = project.ours(&asked).good();
        check_schema("up", &serde_json::from_str(&said.out).unwrap());
        let events: Vec<Value> = said
            .err
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert!(
            events.iter().all(|it| it["text"].is_string()),
            "{}",
            said.err
        );
        assert!(
            events.iter().any(|it| it["event"] == "compose"),
            "{}",
            said.err
        );
        project.ours(&["up", "--", "no-such-service"]).bad(
            1,
            &["no such service"].map(|words| {
                if age == Age::First {
                    "No such service"
                } else {
                    words
                }
            }),
        );
    }
}

#[test]
#[ignore = "needs a docker engine and Compose"]
fn up_without_a_gate_asks_all_the_same_and_says_that_nobody_else_does() {
    let project = Project::new(Age::Today, USUAL).with_outputs();
    project
        .ours(&["up"])
        .bad(3, &["the gate is closed", "receipt"]);
    assert_eq!(project.states(), BTreeMap::new());
}

#[test]
#[ignore = "needs a docker engine and Compose"]
fn the_project_comes_back_byte_for_byte_whatever_it_is_made_of() {
    let overriding = "services: {vc: {environment: {OVERRIDDEN: 'yes'}}}\n";
    let more = "services: {cl: {image: IMAGE, volumes: ['./data:/data']}}\n";
    for (dotenv, override_name) in [
        (None, None),
        (None, Some("docker-compose.override.yml")),
        (Some("NETWORK=holesky"), Some("compose.override.yaml")),
        (Some("# mine\r\nNETWORK=holesky\r\n"), None),
        (Some("COMPOSE_FILE=docker-compose.yml:more.yml"), None),
        (
            Some("COMPOSE_PATH_SEPARATOR=,\nCOMPOSE_FILE=\"more.yml,docker-compose.yml\" # both\n"),
            Some("docker-compose.override.yml"),
        ),
        (
            Some(
                "EL=el\nCOMPOSE_PROFILES=${EL},none\nexport COMPOSE_FILE=./docker-compose.yml:${PWD}/more.yml\n",
            ),
            None,
        ),
    ] {
        let project = Project::new(Age::Today, USUAL).with_outputs();
        project.write("more.yml", &more.replace("IMAGE", &ground().image));
        if let Some(name) = override_name {
            project.write(name, overriding);
        }
        if let Some(text) = dotenv {
            project.write(".env", text);
            fs::set_permissions(
                project.dir().join(".env"),
                fs::Permissions::from_mode(0o640),
            )
            .unwrap();
        }
        let before = tree(&project.dir());
        let effective = project.compose(&["config"]).good().out;
        project.ours(&["gate", "install"]).good();
        // A second time is no change.
        let installed = tree(&project.dir());
        project.ours(&["gate", "install"]).good();
        assert_eq!(tree(&project.dir()), installed, "{dotenv:?}");

        let gated = project.compose(&["config"]).good().out;
        assert_eq!(
            gated.contains("OVERRIDDEN"),
            effective.contains("OVERRIDDEN"),
            "{dotenv:?}"
        );
        assert!(gated.contains("charon-dkg-gate"), "{gated}");
        let said = project.compose(&["up", "-d"]);
        assert!(said.err.contains("charon-dkg refuses"), "{}", said.err);

        project.ours(&["gate", "remove"]).good();
        assert_eq!(tree(&project.dir()), before, "{dotenv:?}");
        assert_eq!(
            project.compose(&["config"]).good().out,
            effective,
            "{dotenv:?}"
        );
        let again = project.ours(&["gate", "remove"]).good();
        assert!(again.out.contains("no gate"), "{}", again.out);
    }
}

/// Both ways in which Compose comes to read the gate, and from where it does.
#[test]
#[ignore = "needs a docker engine and Compose"]
fn where_no_files_are_named_compose_reads_the_gate_from_everywhere() {
    let project = Project::new(Age::Today, USUAL).with_outputs();
    project.write("other.env", "NETWORK=hoodi\n");
    fs::create_dir(project.dir().join("below")).unwrap();
    let before = tree(&project.dir());
    let refused = |said: Said| assert!(said.err.contains("charon-dkg refuses"), "{}", said.err);
    let up = ["up", "-d", "charon"];
    let with_env_file = ["--env-file", "other.env", "up", "-d", "charon"];
    let ways = || project.status()["ways_around"].to_string();
    let always = [
        "COMPOSE_FILE in the shell",
        "COMPOSE_ENV_FILES in the shell",
        "compose -f docker-compose.yml",
        "compose up --no-deps",
        "compose run --no-deps",
    ];
    let named_alone = "FILE` with COMPOSE_FILE in it";
    let by_dotenv = [
        "--env-file FILE`",
        "a call from a subdirectory",
        "COMPOSE_DISABLE_ENV_FILE in the shell",
    ];
    let created = "which were created and see the data directory";

    project.ours(&["gate", "install"]).good();
    let mut with_gate = tree(&project.dir());
    let ours = project.dir().join("compose.override.yml");
    assert!(with_gate.remove(&ours).is_some());
    assert_eq!(with_gate, before);
    refused(project.compose(&up));
    refused(project.compose(&with_env_file));
    refused(project.compose_in(&project.dir().join("below"), &up));
    let text = ways();
    for way in always.iter().chain([&named_alone]) {
        assert!(text.contains(way), "{way}: {text}");
    }
    assert!(
        !by_dotenv[1..].iter().any(|way| text.contains(way)),
        "{text}"
    );
    // What was tried dry made nothing, and what would start something is looked for.
    assert!(
        !text.contains(created) && !project.states().contains_key("charon"),
        "{text}"
    );
    project.write("with-files.env", "COMPOSE_FILE=docker-compose.yml\n");
    project
        .compose(&["--env-file", "with-files.env", "up", "-d", "charon"])
        .good();
    assert!(project.runs("charon"));
    let text = ways();
    assert!(
        text.contains(created) && text.contains("charon-1 (running)"),
        "{text}"
    );
    project.compose(&["down", "-t", "0"]).good();
    fs::remove_file(project.dir().join("with-files.env")).unwrap();

    // An override that came later is not read, and does not take the gate away.
    let overriding = "services: {vc: {environment: {OVERRIDDEN: 'yes'}}}\n";
    project.write("docker-compose.override.yml", overriding);
    refused(project.compose(&up));
    let status = project.status();
    let problem = status["problems"][0]["what"].as_str().unwrap();
    assert!(
        problem.starts_with("docker-compose.override.yml came after"),
        "{status:#}"
    );
    // With it, the files are named.
    project.ours(&["gate", "install"]).good();
    assert!(!ours.exists());
    let config = project.compose(&["config"]).good();
    assert!(config.out.contains("OVERRIDDEN"));
    refused(project.compose(&up));
    let text = ways();
    for way in always.iter().chain(&by_dotenv) {
        assert!(text.contains(way), "{way}: {text}");
    }
    assert!(!text.contains(named_alone), "{text}");
    // Without it, they need not be.
    fs::remove_file(project.dir().join("docker-compose.override.yml")).unwrap();
    project.ours(&["gate", "install"]).good();
    assert!(!project.dir().join("compose-charon-dkg.yml").exists());
    refused(project.compose_in(&project.dir().join("below"), &up));
    project.ours(&["gate", "remove"]).good();
    assert_eq!(tree(&project.dir()), before);
    let again = project.ours(&["gate", "remove"]).good();
    assert!(again.out.contains("no gate"), "{}", again.out);
}

/// An update of the project may rename a service; then Compose refuses everything.
#[test]
#[ignore = "needs a docker engine and Compose"]
fn a_service_that_has_gone_is_named_as_the_cause() {
    for age in [Age::Today, Age::Second] {
        for named in [false, true] {
            let project = Project::new(age, USUAL).with_outputs();
            if named {
                project.write(".env", "COMPOSE_FILE=docker-compose.yml\n");
            }
            project.ours(&["gate", "install"]).good();
            let file = project.dir().join("docker-compose.yml");
            let text = fs::read_to_string(&file).unwrap();
            fs::write(&file, text.replace("  vc:", "  vc-renamed:")).unwrap();
            for verb in [&["gate", "status"][..], &["up"]] {
                let words = ["no longer has a service", "gate install"];
                project.ours(verb).bad(3, &words);
            }
            let said = project.ours(&["status"]).good().out;
            let words = "the project no longer has vc, which the gate's file makes wait";
            assert!(
                said.contains(words) && said.contains("gate install"),
                "{said}"
            );
            project.ours(&["gate", "install"]).good();
            let status = project.status();
            assert!(status.to_string().contains("vc-renamed"), "{status:#}");
            let said = project.ours(&["status"]).good().out;
            assert!(!said.contains("no longer"), "{said}");
        }
    }
}

#[test]
#[ignore = "needs a docker engine and Compose"]
fn a_charon_that_cannot_read_the_lock_is_named_with_its_line_and_not_started() {
    let text = USUAL.replacen(
        "image: IMAGE\n    volumes",
        "image: obolnetwork/charon:${CHARON_VERSION:-v1.2.0}\n    volumes",
        1,
    );
    let project = Project::new(Age::Today, &text).with_outputs();
    project
        .ours(&["gate", "install", "--require", "verified"])
        .good();
    let about = || -> Vec<Value> {
        let status = project.status();
        let problems = status["problems"].as_array().unwrap().iter();
        let is_it = |it: &&Value| it["what"].as_str().unwrap().starts_with("charon's image");
        problems.filter(is_it).cloned().collect()
    };
    for (dotenv, words) in [
        (None, "v1.2.0, which reads formats up to v1.8.0"),
        (
            Some("CHARON_VERSION=v0.16.0\n"),
            "v0.16.0, which reads formats up to v1.7.0",
        ),
        (Some("CHARON_VERSION=latest\n"), "may or may not read"),
        (Some("CHARON_VERSION=v1.10.3\n"), ""),
    ] {
        if let Some(dotenv) = dotenv {
            project.write(".env", dotenv);
        }
        let said = about();
        assert_eq!(said.is_empty(), words.is_empty(), "{dotenv:?}: {said:?}");
        if let [problem] = said.as_slice() {
            assert!(
                problem["what"].as_str().unwrap().contains(words),
                "{problem:#}"
            );
        }
        if words.contains("which reads") {
            project
                .ours(&["up"])
                .bad(3, &["would restart forever", "project-charon-release"]);
        }
        if let [problem] = said.as_slice()
            && dotenv.is_some_and(|it| it.contains("v0.16"))
        {
            assert!(
                problem["next"].as_str().unwrap().contains("line 1 of .env"),
                "{problem:#}"
            );
        }
    }
}

/// The record of a ceremony that met at this relay.
fn met_at(project: &Project, relay: &str) {
    let from = tempfile::tempdir().unwrap();
    let dir = from.path().join("attempts/1");
    fs::create_dir_all(&dir).unwrap();
    let record = serde_json::json!({
        "format": 1, "flags": ["--relay", relay], "definition_hash": "", "enr_id": "", "charon_image": "",
        "charon_version": "v1.10.3", "container": "", "engine": "", "started": "2026-01-02T03:04:05Z",
        "state": {"kind": "promoted"},
    });
    fs::write(dir.join("attempt.json"), record.to_string()).unwrap();
    copy(from.path(), &project.dir().join(".charon-dkg"));
}

/// The gate itself knows what the variables say today, and asks no Compose.
#[test]
#[ignore = "needs a docker engine and Compose"]
fn the_gate_tells_of_a_project_that_is_not_set_up_for_the_cluster() {
    for age in [Age::Today, Age::Second, Age::First] {
        // Something that runs, under the names of two releases.
        let name = format!("cdkgtest{}/charon", uuid::Uuid::new_v4().simple());
        let images = ["v0.16.0", "v1.10.3"].map(|release| format!("{name}:{release}"));
        for image in &images {
            story::docker(&["tag", &ground().image, image]);
        }
        let image = format!("image: {name}:${{CHARON_VERSION:-v0.16.0}}\n    volumes");
        let relays = "    environment: ['CHARON_P2P_RELAYS=${CHARON_P2P_RELAYS:-https://met.example}']\n    restart";
        let text = USUAL
            .replacen("image: IMAGE\n    volumes", &image, 1)
            .replacen("    restart", relays, 1)
            + "    environment: ['NETWORK=${NETWORK:-}']\n";
        let project = Project::new(age, &text).with_outputs();
        let check = ["gate", "check", "--require", "verified"];
        project
            .ours(&["gate", "install", "--require", "verified"])
            .good();
        // What a refused `up` was creating, the engine may be at when the next one comes.
        project.compose(&["up", "-d", "el"]).good();
        let remove_old_gate = || match age {
            Age::Today | Age::Second => {}
            // It replaces no container on engines from API 1.45 on, whose images have no `ContainerConfig` any more.
            Age::First => {
                let remove = ["rm", "-s", "-f", "charon-dkg-gate"];
                project.compose(&remove).good();
            }
        };
        let refused = |dotenv: Option<&str>, words: [&str; 2]| {
            if let Some(dotenv) = dotenv {
                project.write(".env", dotenv);
            }
            project.ours(&check).bad(3, &words);
            remove_old_gate();
            let said = project.compose(&["up", "-d"]);
            assert_ne!(said.code, 0, "{age:?}: {}", said.err);
            let says = match age {
                Age::Today => said.err.clone(),
                Age::Second | Age::First => {
                    project.compose(&["logs", "charon-dkg-gate"]).good().out
                }
            };
            assert!(says.contains(words[0]), "{age:?}: {says}\n{}", said.err);
            assert!(!project.runs("charon") && !project.runs("vc"));
        };
        let old = "charon:v0.16.0, which reads formats up to v1.7.0";
        refused(None, [old, "CHARON_VERSION in .env"]);
        refused(
            Some("# mine\nCHARON_VERSION=v0.16.0\n"),
            [old, "change line 2 of .env"],
        );
        refused(
            Some("CHARON_VERSION=v1.10.3\nNETWORK=mainnet\n"),
            ["NETWORK: mainnet, expected hoodi", "line 2 of .env"],
        );
        // A shell's variable comes before that of `.env`, for Compose and for whoever asks by hand.
        project.write(".env", "CHARON_VERSION=v1.10.3\nNETWORK=hoodi\n");
        let compose: Vec<&str> = project.compose.iter().map(String::as_str).collect();
        let ours = [env!("CARGO_BIN_EXE_charon-dkg")];
        let up = [&compose[..], &["up", "-d"]].concat();
        for words in [
            up,
            [&ours[..], &check].concat(),
            [&ours[..], &["up"]].concat(),
        ] {
            remove_old_gate();
            let mut command = project.command(&words, &project.dir());
            let said = Said::of(command.env("NETWORK", "mainnet"));
            assert_ne!(said.code, 0, "{age:?} {words:?}: {}", said.err);
            assert!(!project.runs("charon") && !project.runs("vc"));
        }
        project.ours(&check).good();
        // Other relays than those of the ceremony are a note, since the group may have agreed on them.
        met_at(&project, "https://met.example");
        let other =
            "CHARON_VERSION=v1.10.3\nNETWORK=hoodi\nCHARON_P2P_RELAYS=https://other.example\n";
        project.write(".env", other);
        remove_old_gate();
        let said = project.compose(&["up", "-d"]).good();
        let says = match age {
            Age::Today => said.err,
            Age::Second | Age::First => project.compose(&["logs", "charon-dkg-gate"]).good().out,
        };
        let note = "other.example, none of which the ceremony used";
        assert!(says.contains(note), "{age:?}: {says}");
        assert!(project.runs("charon") && project.runs("vc"), "{age:?}");
        drop(project);
        for image in &images {
            story::docker(&["image", "rm", image]);
        }
    }
}

/// Compose 1.29 sorts most lists once it reads two files, and prints some in another form.
#[test]
#[ignore = "needs a docker engine and Compose"]
fn a_project_is_the_same_in_whatever_order_compose_prints_it() {
    for age in [Age::First, Age::Second, Age::Today] {
        let lists = "    restart: unless-stopped
    volumes: ['.charon:/opt/charon/.charon', './z:/a', '/w', './a:/z']
    cap_add: [SYS_NICE, NET_ADMIN]
    security_opt: ['no-new-privileges:true', 'apparmor:unconfined']
    expose: ['9', '3', '20']
    extra_hosts: ['b:192.0.2.1', 'a:192.0.2.2']
    devices: ['/dev/zero:/dev/z', '/dev/null:/dev/a']
    networks: [two, one]
";
        let text = USUAL
            .replacen("    volumes: ['.charon:/opt/charon/.charon']\n", "", 1)
            .replacen("    restart: unless-stopped\n", lists, 1)
            + "networks: {one: , two: }\n";
        let project = Project::new(age, &text).with_outputs();
        project.ours(&["gate", "install"]).good();
        let status = project.status();
        assert_eq!(waiting(&status), ["charon", "vc"], "{age:?}: {status:#}");
    }
}

#[test]
#[ignore = "needs a docker engine and Compose"]
fn a_volume_from_elsewhere_is_followed_to_the_data_directory() {
    for age in [Age::First, Age::Today] {
        let name = format!("cdkgtest{}", uuid::Uuid::new_v4().simple());
        let text = format!(
            "{USUAL}  late:
    image: IMAGE
    volumes: ['keys:/keys', 'plain:/plain']
volumes: {{keys: {{external: true, name: {name}}}, plain: }}
"
        );
        let project = Project::new(age, &text).with_outputs();
        let keys = format!("device={}/validator_keys", project.data_dir().display());
        story::docker(&[
            "volume",
            "create",
            "--opt",
            "type=none",
            "--opt",
            "o=bind",
            "--opt",
            &keys,
            &name,
        ]);
        project.ours(&["gate", "install"]).good();
        let status = project.status();
        assert_eq!(
            waiting(&status),
            ["charon", "late", "vc"],
            "{age:?}: {status:#}"
        );
        drop(project);
        story::docker(&["volume", "rm", &name]);
    }
}

#[test]
#[ignore = "needs a docker engine and Compose"]
fn a_second_node_does_not_take_the_gate_from_the_first() {
    for age in [Age::Today, Age::Second] {
        let text = format!("{USUAL}  other: {{image: IMAGE, volumes: ['./b/.charon:/x']}}\n");
        let project = Project::new(age, &text).with_outputs();
        copy(&fixture(1), &project.dir().join("b/.charon"));
        project.ours(&["gate", "install"]).good();
        let files = || {
            let text = |name| fs::read(project.dir().join(name)).ok();
            [".env", "compose.override.yml", "compose-charon-dkg.yml"].map(text)
        };
        let before = files();
        let second = ["gate", "install", "--data-dir", "b/.charon"];
        project.ours(&second).bad(
            3,
            &["charon, vc would start without being asked", "gate remove"],
        );
        assert_eq!(files(), before);
        project.ours(&["gate", "install"]).good();
        project.ours(&["gate", "remove"]).good();
        project.ours(&second).good();
        // What nothing sees any more keeps nobody from another gate.
        project.write(
            "docker-compose.yml",
            &USUAL.replace("IMAGE", &ground().image),
        );
        project.ours(&["gate", "install"]).good();
        assert_eq!(waiting(&project.status()), ["charon", "vc"]);
    }
}

/// The services that wait for the gate.
fn waiting(status: &Value) -> Vec<&str> {
    let services = status["services"].as_array().unwrap().iter();
    let waits = services.filter(|it| it["edge"] == "waits");
    waits.map(|it| it["service"].as_str().unwrap()).collect()
}

/// What the project's files say, Compose is asked for: it knows services that another file has, and every form of a variable.
#[test]
#[ignore = "needs a docker engine and Compose"]
fn settings_reach_the_gate_however_the_files_have_them() {
    for age in [Age::Today, Age::Second] {
        let name = format!("cdkgtest{}/charon", uuid::Uuid::new_v4().simple());
        let images = ["v0.16.0", "v1.10.3"].map(|release| format!("{name}:{release}"));
        for image in &images {
            story::docker(&["tag", &ground().image, image]);
        }
        let image = format!("image: {name}:${{CHARON_VERSION:?say which}}\n    volumes");
        let relays =
            "    environment: ['CHARON_P2P_RELAYS=${RELAY-https://met.example}']\n    restart";
        let text = USUAL
            .replacen("image: IMAGE\n    volumes", &image, 1)
            .replacen("    restart", relays, 1)
            .replace("IMAGE", &ground().image);
        let charon = "services: {charon: {extends: {file: base.yml, service: charon}, environment: !override ['CHARON_P2P_RELAYS=${MINE:-${RELAY-https://other.example}}']}}\n";
        let project = Project::new(age, charon).with_outputs();
        project.write("base.yml", &text);
        // As an editor of Windows writes it.
        let dotenv = |release: &str| {
            project.write(".env", &format!("\u{feff}COMPOSE_FILE=docker-compose.yml\r\nOF_CHARON={release}\r\nCHARON_VERSION=${{OF_CHARON}}\r\n"));
        };
        dotenv("v0.16.0");
        let before = fs::read(project.dir().join(".env")).unwrap();
        project
            .ours(&["gate", "install", "--require", "verified"])
            .good();
        met_at(&project, "https://met.example");
        let old = "charon:v0.16.0, which reads formats up to v1.7.0";
        let check = ["gate", "check", "--require", "verified"];
        project.ours(&check).bad(3, &[old]);
        let said = |words: &[&str]| {
            let said = project.compose(words);
            let log = match age {
                Age::Today => String::new(),
                Age::Second | Age::First => project.compose(&["logs", "charon-dkg-gate"]).out,
            };
            (said.code, said.err + &log)
        };
        let (code, says) = said(&["up", "-d"]);
        assert!(code != 0 && says.contains(old), "{age:?}: {says}");
        assert!(!project.runs("charon"), "{age:?}");
        project.ours(&["gate", "remove"]).good();
        assert_eq!(fs::read(project.dir().join(".env")).unwrap(), before);

        dotenv("v1.10.3");
        project
            .ours(&["gate", "install", "--require", "verified"])
            .good();
        let (code, says) = said(&["up", "-d"]);
        let note = "other.example, none of which the ceremony used";
        assert!(code == 0 && says.contains(note), "{age:?}: {says}");
        assert!(project.runs("charon"), "{age:?}");
        drop(project);
        for image in &images {
            story::docker(&["image", "rm", image]);
        }
    }
}

#[test]
#[ignore = "needs a docker engine and Compose"]
fn the_gate_keeps_working_when_the_project_is_edited_and_lets_go_of_the_edits() {
    let project = Project::new(Age::Today, USUAL).with_outputs();
    project.write(".env", "COMPOSE_FILE=docker-compose.yml\n");
    project.ours(&["gate", "install"]).good();
    // A validator client of one's own, which nobody gated.
    let late = "services: {late: {image: IMAGE, volumes: ['.charon/validator_keys:/keys']}}\n";
    project.write("late.yml", &late.replace("IMAGE", &ground().image));
    let dotenv = project.dir().join(".env");
    let text = fs::read_to_string(&dotenv).unwrap();
    fs::write(
        &dotenv,
        text.replace("docker-compose.yml:", "docker-compose.yml:late.yml:"),
    )
    .unwrap();
    let status = project.status();
    let problem = &status["problems"][0]["what"];
    assert!(
        problem
            .as_str()
            .unwrap()
            .contains("late sees the data directory"),
        "{status:#}"
    );
    project.ours(&["gate", "install"]).good();
    let said = project.compose(&["up", "-d", "late"]);
    assert!(said.err.contains("charon-dkg refuses"), "{}", said.err);
    project.ours(&["gate", "remove"]).good();
    assert_eq!(
        fs::read_to_string(&dotenv).unwrap(),
        "COMPOSE_FILE=docker-compose.yml:late.yml\n"
    );
}

#[test]
#[ignore = "needs a docker engine and Compose"]
fn what_cannot_be_undone_is_refused_and_nothing_changes() {
    let project = Project::new(Age::Today, USUAL).with_outputs();
    let overriding = "services: {vc: {environment: {OVERRIDDEN: 'yes'}}}\n";
    project.write("docker-compose.override.yml", overriding);
    project.ours(&["gate", "install"]).good();
    let dotenv = project.dir().join(".env");
    let text = fs::read_to_string(&dotenv).unwrap();
    fs::write(
        &dotenv,
        text.replace("docker-compose.yml:", "docker-compose.yml:mine.yml:"),
    )
    .unwrap();
    project.write("mine.yml", "services: {el: {environment: {MINE: 'yes'}}}\n");
    let before = tree(&project.dir());
    project
        .ours(&["gate", "remove"])
        .bad(3, &["were changed", "hint: "]);
    assert_eq!(tree(&project.dir()), before);
    // Put right by hand, it goes.
    fs::write(&dotenv, text).unwrap();
    project.ours(&["gate", "remove"]).good();
    assert!(!dotenv.exists());

    // An edited file of ours is not thrown away without a question.
    project.ours(&["gate", "install"]).good();
    let file = project.dir().join("compose-charon-dkg.yml");
    let edited = fs::read_to_string(&file).unwrap() + "# mine\n";
    fs::write(&file, &edited).unwrap();
    for verb in ["install", "remove"] {
        project.ours(&["gate", verb]).bad(3, &["was edited"]);
        assert_eq!(fs::read_to_string(&file).unwrap(), edited);
    }
    project.ours(&["gate", "remove", "--yes"]).good();
    assert!(!file.exists());
}

/// `sh -c WITHOUT_PLUGIN sh PLACE COMMAND…` in a mount namespace of its own: runs the command where docker finds no plugin
/// `charondkg` among those of all users.
const WITHOUT_PLUGIN: &str = r#"
place=$1
shift
for dir in /usr/local/lib /usr/local/libexec /usr/lib /usr/libexec; do
  plugins=$dir/docker/cli-plugins
  [ -e "$plugins/docker-charondkg" ] || continue
  copy=$(mktemp -d "$place/plugins.XXXXXX")
  cp -a "$plugins/." "$copy"
  rm "$copy/docker-charondkg"
  mount --bind "$copy" "$plugins"
done
exec "$@"
"#;

#[test]
#[ignore = "needs a docker engine and Compose"]
fn install_refuses_what_would_not_work_and_changes_nothing() {
    let refuses =
        |project: &Project, args: &[&str], words: &[&str], variable: Option<(&str, &str)>| {
            let before = tree(&project.dir());
            let program = [env!("CARGO_BIN_EXE_charon-dkg"), "gate", "install"];
            let mut command = project.command(&[&program, args].concat(), &project.dir());
            if let Some((name, value)) = variable {
                command.env(name, value);
            }
            Said::of(&mut command).bad(3, words);
            assert_eq!(tree(&project.dir()), before, "{words:?}");
        };
    let project = Project::new(Age::Today, USUAL);
    refuses(
        &project,
        &[],
        &[".charon does not exist", "--dir", "enr"],
        None,
    );
    let project = project.with_outputs();
    let files = ("COMPOSE_FILE", "docker-compose.yml");
    refuses(
        &project,
        &[],
        &["this shell sets COMPOSE_FILE", "unset"],
        Some(files),
    );
    // A machine may have the plugin for all of its users; here it is as on one that has not.
    let nowhere = docker_config();
    fs::remove_file(nowhere.path().join("cli-plugins/docker-charondkg")).unwrap();
    let before = tree(&project.dir());
    let mut words = vec!["unshare", "--mount", "sh", "-c", WITHOUT_PLUGIN];
    words.extend(["sh", nowhere.path().to_str().unwrap()]);
    words.extend([env!("CARGO_BIN_EXE_charon-dkg"), "gate", "install"]);
    let mut command = project.command(&words, &project.dir());
    command.env("DOCKER_CONFIG", nowhere.path());
    Said::of(&mut command).bad(3, &["docker finds no plugin charondkg", "--one-shot"]);
    assert_eq!(tree(&project.dir()), before);
    project.write("elsewhere.txt", "");
    let elsewhere = project.base.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    refuses(
        &project,
        &["--data-dir", elsewhere.to_str().unwrap()],
        &["no service of this project sees"],
        None,
    );
    refuses(
        &project,
        &["--compose", "/no/such/compose"],
        &["cannot run"],
        None,
    );
    for (dotenv, words) in [
        (
            "COMPOSE_FILE: docker-compose.yml\n",
            "in a form that is not edited",
        ),
        ("COMPOSE_FILE=\n", "to nothing"),
        (
            "COMPOSE_FILE=docker-compose.yml:missing.yml\n",
            "missing.yml",
        ),
    ] {
        project.write(".env", dotenv);
        refuses(&project, &[], &[words], None);
    }
    fs::remove_file(project.dir().join(".env")).unwrap();
    project.write("compose-charon-dkg.yml", "services: {}\n");
    refuses(&project, &[], &["is not a file of this program"], None);
    fs::remove_file(project.dir().join("compose-charon-dkg.yml")).unwrap();
    project.write("compose.yaml", "services: {}\n");
    refuses(
        &project,
        &[],
        &["compose.yaml and docker-compose.yml"],
        None,
    );
}

#[test]
#[ignore = "needs a docker engine and Compose"]
fn every_way_to_the_keys_is_gated_and_who_could_not_read_them_is_named() {
    let text = "
services:
  charon: {image: IMAGE, user: ':', volumes: ['.charon:/opt/charon/.charon']}
  borrower: {image: IMAGE, volumes_from: ['charon:ro']}
  stranger: {image: IMAGE, user: '4711', secrets: [enr]}
  volume: {image: IMAGE, profiles: [seldom], volumes: ['keys:/keys']}
  around: {image: IMAGE, volumes: ['/:/host:ro']}
  linked: {image: IMAGE, volumes: ['./link:/keys']}
  free: {image: IMAGE, volumes: ['./data:/data']}
secrets: {enr: {file: .charon/charon-enr-private-key}}
volumes: {keys: {driver: local, driver_opts: {type: none, o: bind, device: ./.charon/validator_keys}}}
";
    let project = Project::new(Age::Today, text).with_outputs();
    symlink(".charon/validator_keys", project.dir().join("link")).unwrap();
    project.ours(&["gate", "install"]).good();
    let status = project.status();
    let services: BTreeMap<&str, &Value> = status["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| (line["service"].as_str().unwrap(), line))
        .collect();
    let names: Vec<&str> = services.keys().copied().collect();
    assert_eq!(
        names,
        [
            "around", "borrower", "charon", "linked", "stranger", "volume"
        ]
    );
    assert!(
        services.values().all(|line| line["covered"] == true),
        "{status:#}"
    );
    assert_eq!(services["charon"]["as_owner"], true);
    let problems = status["problems"].as_array().unwrap();
    let about = |service: &str| {
        let start = format!("{service} could not read the keys");
        let is_it = |problem: &&Value| problem["what"].as_str().unwrap().starts_with(&start);
        problems.iter().find(is_it)
    };
    let fix = format!("services: {{stranger: {{user: \"{}\"", ground().user);
    let next = &about("stranger").unwrap()["next"];
    assert!(next.as_str().unwrap().contains(&fix), "{status:#}");
    assert_eq!(about("around").is_none(), ground().root_reads, "{status:#}");
    assert_eq!(about("charon"), None, "{status:#}");
    for service in names {
        let said = project.compose(&["up", "-d", service]);
        assert!(
            said.err.contains("charon-dkg refuses"),
            "{service}: {}",
            said.err
        );
    }
    project.compose(&["up", "-d", "free"]).good();
}

#[test]
#[ignore = "needs a docker engine and Compose"]
fn a_project_is_asked_about_itself_and_not_about_where_it_is_called_from() {
    let project = Project::new(Age::Today, USUAL).with_outputs();
    project
        .ours(&["gate", "install", "--require", "verified"])
        .good();
    let files = |dir: &Path| {
        ["docker-compose.yml", "compose.override.yml"]
            .map(|name| dir.join(name).to_str().unwrap().to_owned())
    };
    let [main, gate] = files(&project.dir());
    // From a directory of another project, and from one of none.
    let other = Project::new(Age::Today, USUAL);
    for dir in [&other.dir(), Path::new("/")] {
        project
            .compose_in(dir, &["-f", &main, "-f", &gate, "up", "-d", "charon"])
            .good();
        assert!(project.runs("charon"));
        project
            .compose_in(dir, &["-f", &main, "-f", &gate, "down", "-t", "0"])
            .good();
    }
    // A copy is another project, whose keys nobody looked at.
    let copied = project.base.path().join("copied");
    copy(&project.dir(), &copied);
    let copied = fs::canonicalize(copied).unwrap();
    let [main, gate] = files(&copied);
    for said in [
        project.compose_in(&copied, &["up", "-d", "charon"]),
        // A value may be glued to its flag.
        project.compose_in(&copied, &["-pfoo", "up", "-d", "charon"]),
        project.compose_in(&copied, &["-p", "foo", "up", "-d", "charon"]),
        project.compose_in(
            &project.dir(),
            &[
                &format!("-f{main}"),
                &format!("-f{gate}"),
                "up",
                "-d",
                "charon",
            ],
        ),
        project.compose_in(
            &project.dir(),
            &["-f", &main, "-f", &gate, "up", "-d", "charon"],
        ),
    ] {
        assert!(said.err.contains("was installed for"), "{}", said.err);
        assert!(said.err.contains("gate install --dir"), "{}", said.err);
        assert!(!project.runs("charon"));
    }
}

#[test]
#[ignore = "needs a docker engine and Compose"]
fn a_file_by_hand_works_and_a_typing_error_in_it_refuses() {
    let text = format!(
        "{USUAL}
  gate:
    provider:
      type: charondkg
      options: {{data-dir: .charon, require: verified}}
"
    )
    .replace("depends_on: [charon]", "depends_on: [charon, gate]");
    let project = Project::new(Age::Today, &text).with_outputs();
    project.compose(&["up", "-d", "vc"]).good();
    assert!(project.runs("vc"));
    project.compose(&["down", "-t", "0"]).good();
    let file = project.dir().join("docker-compose.yml");
    let right = fs::read_to_string(&file).unwrap();
    for (wrong, words) in [
        (
            right.replace("require:", "requires:"),
            "no option \"requires\"",
        ),
        (
            right.replace("require: verified", "require: nothing"),
            "expected confirmed or verified",
        ),
        (
            right.replace("data-dir: .charon", "data-dir: .charon2"),
            "does not exist",
        ),
    ] {
        fs::write(&file, wrong).unwrap();
        let said = project.compose(&["up", "-d", "vc"]);
        assert!(said.err.contains(words), "{words}: {}", said.err);
        assert!(!project.runs("vc"));
        // Leaving is never refused.
        project.compose(&["stop"]).good();
        project.compose(&["down", "-t", "0"]).good();
    }
}

#[test]
#[ignore = "needs a docker engine and Compose"]
fn the_answer_to_compose_is_one_json_line_or_nothing() {
    let project = Project::new(Age::Today, USUAL).with_outputs();
    let ask = |words: &[&str]| project.asked_by_compose(words);
    let dir = project.dir();
    let options = format!("--project-dir={}", dir.display());
    let said = ask(&["--project-name=p", "up", &options, "gate"]);
    assert_eq!(said.code, 3, "{}", said.err);
    let lines: Vec<&str> = said.out.lines().collect();
    let [line] = lines.as_slice() else {
        panic!("{}", said.out);
    };
    let message: Value = serde_json::from_str(line).unwrap();
    assert_eq!(message["type"], "error");
    let text = message["message"].as_str().unwrap();
    let first = text.lines().next().unwrap();
    assert!(
        first.contains("charon-dkg refuses: ") && first.contains("; next: docker charondkg "),
        "{text}"
    );

    let said = ask(&[
        "--project-name=p",
        "up",
        "--require=verified",
        &options,
        "gate",
    ])
    .good();
    assert_eq!((said.out.as_str(), said.err.as_str()), ("", ""));
    for words in [
        &["--project-name=p", "down", "gate"][..],
        &["--project-name", "p", "stop", "--x=y", "gate"],
    ] {
        let said = ask(words).good();
        assert_eq!((said.out.as_str(), said.err.as_str()), ("", ""));
    }
    // Nobody else may ask: what is not understood closes the gate.
    let said = project.ours(&[
        "compose",
        "--project-name=p",
        "up",
        "--require=verified",
        &options,
        "gate",
    ]);
    assert_eq!(said.code, 3);
    assert!(said.out.contains("not asked by a Compose"), "{}", said.out);
    let said = ask(&["metadata"]).good();
    let metadata: Value = serde_json::from_str(&said.out).unwrap();
    assert!(metadata.get("up").is_none(), "{metadata}");
    for words in [
        &["--project-name=p", "up", "--help", "gate"][..],
        &["--project-name=p"],
        &["frobnicate"],
    ] {
        let said = ask(words);
        assert_eq!(said.code, 3);
        let message: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(message["type"], "error");
    }
}

#[test]
#[ignore = "needs a docker engine and Compose"]
fn a_lock_that_replaced_a_confirmed_one_is_told_apart_from_missing_receipts() {
    let project = Project::new(Age::Today, USUAL).with_outputs();
    let others = receipts_of_the_others();
    let words: Vec<&str> = others.iter().map(String::as_str).collect();
    project
        .ours(&[&["confirm"], words.as_slice()].concat())
        .good();
    project.ours(&["gate", "check"]).good();
    // Another ceremony of other keys, as after a wrong restore.
    fs::remove_dir_all(project.data_dir()).unwrap();
    let other = fixture(0).to_str().unwrap().replace("-signed", "");
    copy(Path::new(&other), &project.data_dir());
    project.ours(&["gate", "check"]).bad(
        3,
        &[
            "not the one of the receipts",
            "edited",
            "do not start the cluster",
        ],
    );
}

#[test]
#[ignore = "needs a docker engine and Compose"]
fn the_keys_of_a_rehearsal_open_no_gate_but_that_of_a_rehearsal() {
    let project = Project::new(Age::Today, USUAL);
    let words = [
        "rehearse",
        "--engine",
        "simulated",
        "--validators",
        "1",
        "--without-gate",
        "--keep",
        "--format",
        "json",
    ];
    let said = project.ours(&words).good();
    let document: Value = serde_json::from_str(&said.out).unwrap();
    let kept = PathBuf::from(document["directory"].as_str().unwrap());
    let at = |operator: usize, words: &[&str]| {
        let dir = kept.join(format!("operator-{operator}"));
        let dir = ["--dir", dir.to_str().unwrap(), "--progress", "quiet"];
        project.ours(&[words, &dir].concat())
    };
    let receipts: Vec<String> = (1..=4)
        .map(|operator| at(operator, &["receipt"]).good().out.trim().to_owned())
        .collect();
    let receipts: Vec<&str> = receipts.iter().map(String::as_str).collect();
    at(1, &[&["confirm"], receipts.as_slice()].concat()).good();
    at(1, &["gate", "check"]).bad(3, &["the keys of a rehearsal", "archive"]);
    at(1, &["gate", "check", "--require", "verified"]).bad(3, &["the keys of a rehearsal"]);
    at(1, &["gate", "check", "--rehearsal"]).good();
    fs::remove_dir_all(kept).unwrap();

    let project = project.with_outputs();
    project
        .ours(&["gate", "install", "--rehearsal", "--require", "verified"])
        .good();
    let said = project.compose(&["up", "-d"]);
    assert!(
        said.err.contains("installed for a rehearsal"),
        "{}",
        said.err
    );
    assert!(!project.runs("charon"));
}
