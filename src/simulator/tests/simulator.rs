//! The simulator as plain processes of the real binary: a relay and nodes in directories of their own.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests are not inside a test function, and their failure must end the test"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use charon_files::cluster::{Definition, DefinitionVersion};
use charon_files::rehearsal::{Rehearsal, RehearsalTerms, rehearsal_definition};
use charon_log::{ClusterSize, Diagnosis, End, Phase, Transcript, Whose};
use charon_proof::verify::{Expectations, Material, NamedFile, Options, Scope, Verdict, verify};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// What the simulator says of itself.
const DISCLAIMER: &str = "This is not charon but the rehearsal simulator of charon-dkg: all keys are dealt from one place, this is no DKG";

fn simulator(release: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_charon-dkg-simulator"));
    command
        .env_clear()
        .args(["--charon-version", release])
        .stdin(Stdio::null());
    command
}

/// A process whose standard error is read along.
struct Running {
    child: Child,
    output: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let output = Arc::new(Mutex::new(Vec::new()));
        let mut stderr = child.stderr.take().unwrap();
        let kept = Arc::clone(&output);
        let reader = thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = stderr.read(&mut chunk) {
                kept.lock().unwrap().extend_from_slice(&chunk[..length]);
            }
        });
        Self {
            child,
            output,
            reader: Some(reader),
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.output.lock().unwrap().clone()).unwrap()
    }

    /// Waits until it has said something.
    fn await_text(&self, text: &str) {
        loop {
            let has_ended = self.reader.as_ref().is_none_or(JoinHandle::is_finished);
            if self.text().contains(text) {
                return;
            }
            assert!(!has_ended, "never said {text:?}: {}", self.text());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end; gives the exit code.
    fn end(&mut self) -> Option<i32> {
        let status = self.child.wait().unwrap();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        status.code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone, or to go with the test.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A relay and the directories of the nodes.
struct Stage {
    directory: TempDir,
    relay: Running,
    url: String,
    size: ClusterSize,
}

fn terms(operators: usize, validators: usize) -> RehearsalTerms<'static> {
    RehearsalTerms {
        name: "of a test",
        operators,
        threshold: None,
        validators,
        version: DefinitionVersion::V1_10,
        timestamp: "2026-01-02T03:04:05Z",
    }
}

fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).unwrap();
    seed
}

fn start_relay(arguments: &[&str]) -> (Running, String) {
    let relay = Running::start(
        simulator("v1.10.3")
            .args([
                "relay",
                "--http-address",
                "127.0.0.1:0",
                "--log-color",
                "disable",
            ])
            .args(arguments),
    );
    relay.await_text("Relay started");
    let text = relay.text();
    let (_, after) = text.split_once("\"http_address\": \"").unwrap();
    let url = format!("http://{}", after.split_once('"').unwrap().0);
    (relay, url)
}

impl Stage {
    fn new(terms: &RehearsalTerms<'_>, relay: &[&str]) -> Self {
        let made = rehearsal_definition(terms, &seed()).unwrap();
        Self::with(&made, relay)
    }

    fn with(made: &Rehearsal, relay: &[&str]) -> Self {
        let (relay, url) = start_relay(relay);
        let directory = tempfile::tempdir().unwrap();
        for (index, key) in made.enr_keys.iter().enumerate() {
            let data_dir = directory.path().join(format!("node{index}/.charon"));
            fs::create_dir_all(&data_dir).unwrap();
            let text = made.definition.to_json();
            fs::write(data_dir.join("cluster-definition.json"), text).unwrap();
            let key = key.to_file_text();
            fs::write(data_dir.join("charon-enr-private-key"), key.as_bytes()).unwrap();
        }
        Self {
            directory,
            relay,
            url,
            size: ClusterSize {
                operators: made.enr_keys.len(),
                threshold: usize::try_from(made.definition.threshold).unwrap(),
                validators: usize::try_from(made.definition.num_validators).unwrap(),
            },
        }
    }

    fn nodes(&self) -> std::ops::Range<usize> {
        0..self.size.operators
    }

    fn project(&self, node: usize) -> PathBuf {
        self.directory.path().join(format!("node{node}"))
    }

    fn data_dir(&self, node: usize) -> PathBuf {
        self.project(node).join(".charon")
    }

    fn command(&self, node: usize, release: &str) -> Command {
        let mut command = simulator(release);
        command
            .current_dir(self.project(node))
            .args(["dkg", "--p2p-relays", &self.url])
            .args(["--log-color", "disable", "--shutdown-delay", "0s"]);
        command
    }

    fn start(&self, node: usize) -> Running {
        Running::start(&mut self.command(node, "v1.10.3"))
    }

    fn start_all(&self) -> Vec<Running> {
        self.nodes().map(|node| self.start(node)).collect()
    }

    /// What a whole verification says of a node's data directory.
    fn verdict(&self, node: usize) -> Verdict {
        let mut material = Material::default();
        let root = self.data_dir(node);
        for name in names_below(&root) {
            if name == "validator_keys" {
                for name in names_below(&root.join(&name)) {
                    let path = format!("validator_keys/{name}");
                    let bytes = fs::read(root.join(&path)).unwrap();
                    material.keystores.push(NamedFile::new(path, bytes));
                }
                continue;
            }
            let bytes = fs::read(root.join(&name)).unwrap();
            let file = NamedFile::new(name.clone(), bytes);
            match name.as_str() {
                "cluster-definition.json" => material.definition = Some(file),
                "cluster-lock.json" => material.cluster_lock = Some(file),
                "charon-enr-private-key" => material.enr_key = Some(file),
                _ if name.starts_with("deposit-data") => material.deposit_data.push(file),
                _ => material.other_names.push(name),
            }
        }
        let options = Options::new(Scope::WholeDataDirectory);
        verify(&material, &Expectations::default(), &options)
            .report
            .verdict
    }

    fn verdicts(&self) -> Vec<Verdict> {
        self.nodes().map(|node| self.verdict(node)).collect()
    }

    /// What the log of a node says, with the end that the process had.
    fn diagnosis(
        &self,
        node: &Running,
        exit_code: Option<i32>,
        stopped: bool,
    ) -> Option<Diagnosis> {
        let transcript = self.transcript(node);
        let end = End {
            exit_code: exit_code.map(i64::from),
            oom_killed: false,
            stopped,
        };
        transcript.diagnose(end, Duration::ZERO)
    }

    fn transcript(&self, node: &Running) -> Transcript {
        let mut transcript = Transcript::new(self.size, None);
        transcript.push(node.text().as_bytes(), Duration::ZERO);
        transcript
    }
}

fn end_all(nodes: &mut [Running]) -> Vec<Option<i32>> {
    nodes.iter_mut().map(Running::end).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn four_nodes_leave_what_charon_would_leave_and_all_of_it_verifies() {
    let stage = Stage::new(&terms(4, 2), &[]);
    let mut nodes = stage.start_all();
    for (node, code) in end_all(&mut nodes).into_iter().enumerate() {
        assert_eq!(code, Some(0), "{}", nodes[node].text());
    }
    assert_eq!(stage.verdicts(), [Verdict::Pass; 4]);

    let shared = [
        "cluster-lock.json",
        "deposit-data.json",
        "deposit-data-1eth.json",
    ];
    for name in shared {
        let first = fs::read(stage.data_dir(0).join(name)).unwrap();
        for node in stage.nodes() {
            let path = stage.data_dir(node).join(name);
            assert_eq!(fs::read(&path).unwrap(), first, "{name} of node {node}");
            assert_eq!(mode(&path), 0o444, "{name}");
        }
    }
    let keys = stage.data_dir(3).join("validator_keys");
    for validator in 0..2 {
        assert_eq!(
            mode(&keys.join(format!("keystore-{validator}.json"))),
            0o444
        );
        assert_eq!(mode(&keys.join(format!("keystore-{validator}.txt"))), 0o400);
    }
    let heartbeat = stage.data_dir(0).join("charon-enr-private-key.lock");
    assert!(
        fs::read_to_string(heartbeat)
            .unwrap()
            .contains("charon dkg")
    );
}

#[test]
fn its_log_is_read_as_charons_and_begins_with_what_it_is() {
    let stage = Stage::new(&terms(4, 1), &[]);
    let mut nodes = stage.start_all();
    end_all(&mut nodes);
    for (index, node) in nodes.iter().enumerate() {
        let text = node.text();
        let first = text.lines().next().unwrap();
        assert!(first.contains(DISCLAIMER), "{first}");
        let transcript = stage.transcript(node);
        let progress = transcript.progress();
        assert_eq!(progress.phase(), Phase::Done, "{text}");
        assert_eq!(progress.connected_peers(), (3, 3), "{text}");
        assert_eq!(progress.version(), Some("v1.10.3"));
        assert!(progress.definition_hash().unwrap().starts_with("0x"));
        assert_eq!(progress.relay(), Some(stage.url.as_str()));
        let you = progress.peers().iter().find(|peer| peer.you).unwrap();
        assert_eq!(you.index.unwrap().position(), index);
        assert!(you.address.as_ref().unwrap().starts_with("0x"));
        assert_eq!(transcript.diagnose(End::default(), Duration::ZERO), None);
    }
}

#[test]
fn every_definition_version_gives_files_that_verify() {
    for (version, release) in [
        (DefinitionVersion::V1_5, "v0.16.0"),
        (DefinitionVersion::V1_6, "v1.10.3"),
        (DefinitionVersion::V1_7, "v1.10.3"),
        (DefinitionVersion::V1_8, "v1.10.3"),
        (DefinitionVersion::V1_9, "v1.10.3"),
    ] {
        let stage = Stage::new(
            &RehearsalTerms {
                version,
                ..terms(3, 1)
            },
            &[],
        );
        let mut nodes: Vec<Running> = stage
            .nodes()
            .map(|node| Running::start(&mut stage.command(node, release)))
            .collect();
        for (node, code) in end_all(&mut nodes).into_iter().enumerate() {
            assert_eq!(code, Some(0), "{version}: {}", nodes[node].text());
        }
        assert_eq!(stage.verdicts(), [Verdict::Pass; 3], "{version}");
    }
}

#[test]
fn a_late_peer_is_waited_for_and_told_by_number() {
    let stage = Stage::new(&terms(4, 1), &[]);
    let mut nodes: Vec<Running> = (0..3).map(|node| stage.start(node)).collect();
    nodes[0].await_text("Connected to peer 2 of 3");
    let transcript = stage.transcript(&nodes[0]);
    let absent: Vec<usize> = transcript
        .progress()
        .peers()
        .iter()
        .filter(|peer| peer.is_absent())
        .map(|peer| peer.index.unwrap().position())
        .collect();
    assert_eq!(absent, [3]);
    nodes.push(stage.start(3));
    assert_eq!(end_all(&mut nodes), [Some(0); 4]);
    assert_eq!(stage.verdicts(), [Verdict::Pass; 4]);
}

#[test]
fn a_node_that_leaves_before_the_beginning_may_come_back() {
    let stage = Stage::new(&terms(3, 1), &[]);
    let mut nodes = vec![stage.start(0), stage.start(1)];
    nodes[0].await_text("Connected to peer 1 of 2");
    nodes[1].await_text("Connected to peer 1 of 2");
    nodes[1].signal(Signal::TERM);
    assert_eq!(nodes[1].end(), Some(1));
    let found = stage.diagnosis(&nodes[1], Some(1), true).unwrap();
    assert_eq!(found.id, "peers-missing");
    nodes[0].await_text("Disconnected from peer");
    // A heartbeat younger than five seconds keeps the key.
    fs::remove_file(stage.data_dir(1).join("charon-enr-private-key.lock")).unwrap();
    nodes[1] = stage.start(1);
    nodes.push(stage.start(2));
    assert_eq!(end_all(&mut nodes), [Some(0); 3]);
    assert_eq!(stage.verdicts(), [Verdict::Pass; 3]);
}

#[test]
fn mixed_releases_are_refused_in_charons_words_on_both_sides() {
    let stage = Stage::new(&terms(3, 1), &[]);
    let mut old = Running::start(&mut stage.command(0, "v1.3.3"));
    old.await_text("Waiting to connect");
    // It has to be there before the other comes.
    stage.relay.await_text("Node joined");
    let mut new = Running::start(&mut stage.command(1, "v1.10.3"));
    assert_eq!((old.end(), new.end()), (Some(1), Some(1)));
    assert!(
        new.text()
            .contains("invalid sync message: mismatching charon version; expect=v1.10, got=v1.3"),
        "{}",
        new.text()
    );
    for (node, ours) in [(&old, "v1.3"), (&new, "v1.10")] {
        let found = stage.diagnosis(node, Some(1), false).unwrap();
        assert_eq!(found.id, "charon-versions-differ");
        let begin = format!("this node runs charon {ours},");
        assert!(found.cause.starts_with(&begin), "{}", found.cause);
    }
    // Another patch of the same line is welcome.
    let stage = Stage::new(&terms(3, 1), &[]);
    let mut nodes: Vec<Running> = ["v1.10.0", "v1.10.3", "v1.10.3"]
        .iter()
        .enumerate()
        .map(|(node, release)| Running::start(&mut stage.command(node, release)))
        .collect();
    assert_eq!(end_all(&mut nodes), [Some(0); 3]);
}

#[test]
fn different_definitions_are_refused_on_both_sides() {
    let seed = seed();
    let made = rehearsal_definition(&terms(3, 1), &seed).unwrap();
    let other = RehearsalTerms {
        name: "of another test",
        ..terms(3, 1)
    };
    let other = rehearsal_definition(&other, &seed).unwrap();
    let stage = Stage::with(&made, &[]);
    let definition = stage.data_dir(1).join("cluster-definition.json");
    fs::write(definition, other.definition.to_json()).unwrap();
    let mut first = stage.start(0);
    stage.relay.await_text("Node joined");
    let mut second = stage.start(1);
    assert_eq!((first.end(), second.end()), (Some(1), Some(1)));
    for node in [&first, &second] {
        let found = stage.diagnosis(node, Some(1), false).unwrap();
        assert_eq!(found.id, "definitions-differ", "{}", node.text());
    }
}

#[test]
fn mistakes_are_found_before_any_network_in_charons_words() {
    let made = rehearsal_definition(&terms(3, 1), &seed()).unwrap();
    let stage = Stage::with(&made, &[]);
    let run = |spoil: &dyn Fn(&Path)| {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join(".charon");
        fs::create_dir(&data_dir).unwrap();
        for name in ["cluster-definition.json", "charon-enr-private-key"] {
            fs::copy(stage.data_dir(0).join(name), data_dir.join(name)).unwrap();
        }
        spoil(&data_dir);
        let before = names_below(&data_dir);
        let mut command = simulator("v1.10.3");
        command
            .current_dir(directory.path())
            .args(["dkg", "--p2p-relays", "http://127.0.0.1:9"]);
        let mut node = Running::start(&mut command);
        assert_eq!(node.end(), Some(1), "{}", node.text());
        fs::set_permissions(&data_dir, fs::Permissions::from_mode(0o755)).unwrap();
        let mut after = names_below(&data_dir);
        after.retain(|name| !name.ends_with(".lock") || before.contains(name));
        assert_eq!(before, after, "nothing but the heartbeat is left behind");
        stage.diagnosis(&node, Some(1), false).unwrap().id
    };
    let edit = |data_dir: &Path, from: &str, to: &str| {
        let path = data_dir.join("cluster-definition.json");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from));
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    };
    let put =
        |data_dir: &Path, name: &str, text: &str| fs::write(data_dir.join(name), text).unwrap();
    assert_eq!(
        run(&|dir| fs::create_dir(dir.join("validator_keys")).unwrap()),
        "data-directory-not-clean"
    );
    assert_eq!(
        run(&|dir| put(dir, "cluster-lock.json", "{}")),
        "data-directory-not-clean"
    );
    assert_eq!(
        run(&|dir| put(dir, "deposit-data-1eth.json", "[]")),
        "data-directory-not-clean"
    );
    assert_eq!(
        run(&|dir| fs::remove_file(dir.join("charon-enr-private-key")).unwrap()),
        "enr-key-missing"
    );
    assert_eq!(
        run(&|dir| put(dir, "charon-enr-private-key", "x")),
        "enr-key-unreadable"
    );
    assert_eq!(
        run(&|dir| put(dir, "charon-enr-private-key", &"1".repeat(64))),
        "enr-key-not-in-definition"
    );
    assert_eq!(
        run(&|dir| edit(dir, "of a test", "of a text")),
        "definition-hash-mismatch"
    );
    assert_eq!(
        run(&|dir| put(dir, "cluster-definition.json", "{\"name\":")),
        "definition-malformed"
    );
    assert_eq!(
        run(&|dir| edit(dir, "\"v1.10.0\"", "\"v9.9.0\"")),
        "definition-version-unknown"
    );
    assert_eq!(
        run(&|dir| fs::set_permissions(dir, fs::Permissions::from_mode(0o555)).unwrap()),
        "permission-denied"
    );
    let now = jiff::Timestamp::now();
    assert_eq!(
        run(&|dir| put(
            dir,
            "charon-enr-private-key.lock",
            &format!("{{\"command\":\"charon run\",\"timestamp\":\"{now}\"}}")
        )),
        "other-charon-running"
    );
}

fn names_below(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn it_takes_no_definition_that_is_not_a_rehearsals() {
    let mut made = rehearsal_definition(&terms(3, 1), &seed()).unwrap();
    made.definition.name = "Lido cluster 7".to_owned();
    made.definition.creator = Default::default();
    for operator in &mut made.definition.operators {
        operator.address.clear();
        operator.config_signature.clear();
        operator.enr_signature.clear();
    }
    made.definition = made.definition.with_hashes().unwrap();
    let stage = Stage::with(&made, &[]);
    let mut node = stage.start(0);
    assert_eq!(node.end(), Some(1));
    assert!(
        node.text().contains("takes only definitions"),
        "{}",
        node.text()
    );
    assert!(!stage.relay.text().contains("Node joined"));
}

#[test]
fn flags_are_judged_as_cobra_judges_them() {
    let mut node = Running::start(simulator("v1.10.3").args(["dkg", "--frobnicate"]));
    assert_eq!(node.end(), Some(1));
    let transcript = {
        let mut transcript = Transcript::new(
            ClusterSize {
                operators: 4,
                threshold: 3,
                validators: 1,
            },
            None,
        );
        transcript.push(node.text().as_bytes(), Duration::ZERO);
        transcript
    };
    let end = End {
        exit_code: Some(1),
        ..End::default()
    };
    let found = transcript.diagnose(end, Duration::ZERO).unwrap();
    assert_eq!(found.id, "flags-wrong");
    assert!(found.cause.contains("unknown flag: --frobnicate"));

    let output = simulator("v1.10.3").arg("version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("v1.10.3 ["), "{text}");
    assert_eq!(text.lines().nth(1), Some(DISCLAIMER));
}

#[test]
fn keys_are_made_and_shown_as_charon_does() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = simulator("v1.10.3");
        command.current_dir(directory.path()).args(arguments);
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    assert_eq!(run(&["enr"]).0, Some(1));
    let (code, created) = run(&["create", "enr"]);
    assert_eq!(code, Some(0));
    let (code, shown) = run(&["enr"]);
    assert_eq!(code, Some(0));
    assert!(shown.starts_with("enr:-HW4Q"), "{shown}");
    assert!(created.contains(&shown), "{created}");
    let path = directory.path().join(".charon/charon-enr-private-key");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(fs::metadata(path).unwrap().len(), 64);
    assert_eq!(run(&["create", "enr"]).0, Some(1));
}

#[test]
fn a_hang_can_be_rehearsed() {
    let stage = Stage::new(&terms(3, 1), &["--sim-fault", "0=hang"]);
    let mut nodes = stage.start_all();
    for node in &nodes {
        node.await_text("starting DKG ceremony");
    }
    for node in &nodes {
        node.signal(Signal::TERM);
    }
    assert_eq!(end_all(&mut nodes), [Some(1); 3]);
    for node in &nodes {
        let found = stage.diagnosis(node, Some(1), true).unwrap();
        assert_eq!(found.id, "interrupted", "{}", node.text());
    }
    assert!(!stage.data_dir(0).join("validator_keys").exists());
}

#[test]
fn a_node_that_dies_between_keys_and_lock_leaves_the_others_waiting_with_all_their_files() {
    let stage = Stage::new(&terms(3, 2), &["--sim-fault", "1=die-after-keys"]);
    let mut nodes = stage.start_all();
    assert_eq!(nodes[1].end(), Some(137));
    let found = stage.diagnosis(&nodes[1], Some(137), false).unwrap();
    assert_eq!(found.id, "killed");
    assert_eq!(
        names_below(&stage.data_dir(1).join("validator_keys")).len(),
        4
    );
    assert!(!stage.data_dir(1).join("cluster-lock.json").exists());
    for node in [0, 2] {
        nodes[node].await_text("Disconnected from peer");
        nodes[node].signal(Signal::INT);
        assert_eq!(nodes[node].end(), Some(1));
        let found = stage.diagnosis(&nodes[node], Some(1), true).unwrap();
        assert_eq!(found.id, "late-failure", "{}", nodes[node].text());
        assert!(found.outputs_may_be_complete);
        assert_eq!(found.whose, Whose::Everybody);
    }
    for (node, expected) in [(0, true), (1, false), (2, true)] {
        let passed = stage.verdict(node) == Verdict::Pass;
        assert_eq!(passed, expected, "node {node}");
    }
}

#[test]
fn wrong_and_missing_keystores_are_made_and_found() {
    let faults = ["--sim-fault", "0=wrong-keystore,2=missing-keystore"];
    let stage = Stage::new(&terms(3, 2), &faults);
    let mut nodes = stage.start_all();
    assert_eq!(end_all(&mut nodes), [Some(0); 3]);
    let verdicts = stage.verdicts();
    assert_eq!(verdicts[1], Verdict::Pass);
    assert_ne!(verdicts[0], Verdict::Pass);
    assert_ne!(verdicts[2], Verdict::Pass);
}

#[test]
fn a_full_disk_can_be_rehearsed_and_the_ceremony_repeated_with_the_same_definition() {
    let made = rehearsal_definition(&terms(3, 4), &seed()).unwrap();
    let stage = Stage::with(&made, &["--sim-fault", "2=full-disk"]);
    let mut nodes = stage.start_all();
    assert_eq!(nodes[2].end(), Some(1));
    let found = stage.diagnosis(&nodes[2], Some(1), false).unwrap();
    assert_eq!(found.id, "disk-full");
    assert!(found.cause.contains("keystore-2.json"), "{}", found.cause);
    for node in &nodes[..2] {
        node.await_text("Disconnected from peer");
        node.signal(Signal::INT);
    }
    assert_eq!(end_all(&mut nodes)[..2], [Some(1), Some(1)]);

    // The same relay program without the fault, everything moved aside, and the same definition again.
    let (relay, url) = start_relay(&[]);
    let stage = Stage {
        relay,
        url,
        ..stage
    };
    for node in stage.nodes() {
        for name in names_below(&stage.data_dir(node)) {
            let path = stage.data_dir(node).join(&name);
            if path.is_dir() {
                fs::remove_dir_all(path).unwrap();
            } else if !["cluster-definition.json", "charon-enr-private-key"]
                .contains(&name.as_str())
            {
                fs::remove_file(path).unwrap();
            }
        }
    }
    let mut nodes = stage.start_all();
    assert_eq!(end_all(&mut nodes), [Some(0); 3]);
    assert_eq!(stage.verdicts(), [Verdict::Pass; 3]);
}

#[test]
fn one_relay_serves_several_ceremonies_at_a_time() {
    let one = Stage::new(&terms(3, 1), &[]);
    let two = Stage {
        url: one.url.clone(),
        ..Stage::new(&terms(4, 1), &[])
    };
    let mut nodes = one.start_all();
    nodes.extend(two.start_all());
    assert_eq!(end_all(&mut nodes), [Some(0); 7]);
    assert_eq!(one.verdicts(), [Verdict::Pass; 3]);
    assert_eq!(two.verdicts(), [Verdict::Pass; 4]);
    let lock = |stage: &Stage| fs::read(stage.data_dir(0).join("cluster-lock.json")).unwrap();
    assert_ne!(lock(&one), lock(&two));
}

/// One request by hand; the status and the body.
fn request(url: &str, head: &str, body: &str) -> (u16, String) {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let text = format!(
        "{head} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status).unwrap();
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    let (_, body) = rest.split_once("\r\n\r\n").unwrap();
    let code = status.split_whitespace().nth(1).unwrap().parse().unwrap();
    (code, body.to_owned())
}

#[test]
fn the_relay_answers_a_probe_like_charons_and_gives_strangers_nothing() {
    let made = rehearsal_definition(&terms(3, 1), &seed()).unwrap();
    let stage = Stage::with(&made, &[]);
    let (code, body) = request(&stage.url, "GET /", "");
    assert_eq!(code, 200);
    let addresses: Vec<String> = serde_json::from_str(&body).unwrap();
    assert!(addresses[0].starts_with("/ip4/127.0.0.1/tcp/"), "{body}");
    assert_eq!(request(&stage.url, "GET /elsewhere", "").0, 404);

    let ask =
        |what: &str, body: &str| request(&stage.url, &format!("POST /simulator/{what}"), body).1;
    let challenge = ask("challenge", "{}");
    let challenge: serde_json::Value = serde_json::from_str(&challenge).unwrap();
    let nonce = challenge["given"]["nonce"].as_str().unwrap();
    let stranger = rehearsal_definition(&terms(3, 1), &seed()).unwrap();
    let join = serde_json::json!({
        "definition": made.definition.to_json(),
        "version": "v1.10.3",
        "nickname": "",
        "nonce": nonce,
        "signature": hex::encode(stranger.enr_keys[0].sign_digest(&[1; 32])),
    });
    assert!(ask("join", &join.to_string()).contains("stranger"));
    // A challenge can be answered once.
    assert!(ask("join", &join.to_string()).contains("stranger"));
    for what in ["sync", "deal", "sign", "collect", "leave"] {
        let body = serde_json::json!({ "token": "", "step": 8, "shares": [], "node": "00" });
        let answer = ask(what, &body.to_string());
        assert!(answer.contains("refused"), "{what}: {answer}");
    }
    for rubbish in ["", "{", "[]", "{\"token\": 1}"] {
        assert!(ask("sync", rubbish).contains("nonsense"));
    }
    assert!(Definition::parse(made.definition.to_json().as_bytes()).is_ok());
}

#[test]
fn a_relay_that_is_not_there_is_asked_again_until_told_to_stop() {
    let stage = Stage::new(&terms(3, 1), &[]);
    let mut command = simulator("v1.10.3");
    command.current_dir(stage.project(0)).args([
        "dkg",
        "--p2p-relays",
        "http://127.0.0.1:9",
        "--log-color",
        "disable",
    ]);
    let mut node = Running::start(&mut command);
    node.await_text("(will try again)");
    node.signal(Signal::TERM);
    assert_eq!(node.end(), Some(1));
    let found = stage.diagnosis(&node, Some(1), true).unwrap();
    assert_eq!(found.id, "relay-unreachable");
    assert!(
        found.cause.contains("connection refused"),
        "{}",
        found.cause
    );
}
