//! `run --charon-binary`: a whole ceremony without an engine. The simulator plays charon.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use charon_files::cluster::{Creator, Definition, DefinitionVersion, Gwei, Operator};
use charon_files::rehearsal::{RehearsalTerms, rehearsal_definition};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{BINARY, DEFINITION, KEY, TestEnv};

pub(crate) fn simulator() -> PathBuf {
    Path::new(BINARY).with_file_name("charon-dkg-simulator")
}

/// Operators with a directory each, and the relay where they meet.
pub(crate) struct Group {
    pub(crate) env: TestEnv,
    relay: Child,
    pub(crate) url: String,
}

impl Group {
    pub(crate) fn new(operators: usize) -> Self {
        let env = TestEnv::new();
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).unwrap();
        let terms = RehearsalTerms {
            name: "of a test",
            operators,
            threshold: None,
            validators: 1,
            version: DefinitionVersion::V1_10,
            timestamp: "2026-01-02T03:04:05Z",
        };
        let made = rehearsal_definition(&terms, &seed).unwrap();
        for (node, key) in made.enr_keys.iter().enumerate() {
            let data = env.path(&format!("node{node}/.charon"));
            fs::create_dir_all(&data).unwrap();
            fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
            for (name, bytes) in [
                (KEY, key.to_file_text().as_bytes()),
                (DEFINITION, made.definition.to_json().as_bytes()),
            ] {
                fs::write(data.join(name), bytes).unwrap();
                let private = fs::Permissions::from_mode(0o600);
                fs::set_permissions(data.join(name), private).unwrap();
            }
        }
        let mut relay = Command::new(simulator())
            .env_clear()
            .args(["relay", "--http-address=127.0.0.1:0", "--log-color=disable"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(relay.stderr.take().unwrap()).lines();
        let url = lines
            .find_map(|line| {
                let line = line.unwrap();
                let (_, after) = line.split_once("\"http_address\": \"")?;
                Some(format!("http://{}", after.split_once('"')?.0))
            })
            .unwrap();
        thread::spawn(move || lines.for_each(drop));
        Self { env, relay, url }
    }

    fn attempt(&self, node: usize, file: &str) -> PathBuf {
        self.env
            .path(&format!("node{node}/.charon-dkg/attempts/1/{file}"))
    }

    pub(crate) fn command(&self, node: usize, verb: &str) -> Command {
        let mut command = self.env.command(Path::new(BINARY));
        command
            .args([verb, "--format=json", "--dir"])
            .arg(self.env.path(&format!("node{node}")));
        if ["run", "plan"].contains(&verb) {
            command
                .args(["--no-backup", "--relay", &self.url, "--charon-binary"])
                .arg(simulator());
        }
        command
    }

    pub(crate) fn start(&self, node: usize) -> Child {
        let mut command = self.command(node, "run");
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Waits until charon has said something.
    fn until_charon_speaks(&self, node: usize) {
        self.until_charon_speaks_in(node, 1);
    }

    /// Waits until charon has said something in this attempt.
    pub(crate) fn until_charon_speaks_in(&self, node: usize, attempt: u32) {
        let path = format!("node{node}/.charon-dkg/attempts/{attempt}/charon.log");
        let log = self.env.path(&path);
        while !fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What the kernel says of the process whose standard output is this file: `/proc/<pid>/status`.
fn status_of_who_writes(output: &Path) -> String {
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap());
    let mut writers = processes
        .filter(|entry| fs::read_link(entry.path().join("fd/1")).is_ok_and(|path| path == output));
    fs::read_to_string(writers.next().unwrap().path().join("status")).unwrap()
}

impl Drop for Group {
    fn drop(&mut self) {
        self.relay.kill().ok();
        self.relay.wait().ok();
    }
}

#[test]
fn a_ceremony_without_an_engine_outlives_its_command() {
    let group = Group::new(3);
    let env = &group.env;
    let planned = env.outcome(group.command(0, "plan")).exits(0).json();
    let image = planned["container"]["image"].as_str().unwrap().to_owned();
    let digest = image.strip_prefix("binary:").unwrap();

    let mut first = group.command(0, "run");
    first.arg("--publish").stdout(Stdio::null());
    let mut killed = first.stderr(Stdio::null()).spawn().unwrap();
    group.until_charon_speaks(0);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let kernel = status_of_who_writes(&group.attempt(0, "output"));
    assert!(kernel.contains("NoNewPrivs:\t1\n"), "{kernel}");
    let status = env.outcome(group.command(0, "status")).exits(0).json();
    assert_eq!(status["stage"], "under-way");

    let others = [group.start(1), group.start(2)];
    let mut again = group.command(0, "run");
    again.arg("--publish").stdin(Stdio::null());
    let said = env.outcome(again).exits(0);
    for words in [
        "going on with charon's process",
        "charon could not publish the lock: the rehearsal simulator publishes nothing; if",
        "curl --fail",
    ] {
        assert!(said.stderr.contains(words), "{words}: {said}");
    }
    for mut other in others {
        assert!(other.wait().unwrap().success());
    }

    let mut receipts = String::new();
    for node in 0..3 {
        let shown = env.outcome(group.command(node, "receipt")).exits(0).json();
        let receipt = &shown["receipt"];
        assert_eq!(receipt["charon_image"], format!("{digest} (binary)"));
        receipts.push_str(receipt["text"].as_str().unwrap());
        receipts.push('\n');
        // charon's output is kept once, and the key was never copied.
        assert!(!group.attempt(node, "output").exists());
        assert!(
            fs::metadata(group.attempt(node, "charon.log"))
                .unwrap()
                .len()
                > 0
        );
        let left = fs::read_dir(group.attempt(node, "stage")).unwrap().count();
        assert_eq!(left, 0);
    }
    let chat = env.path("chat.txt");
    fs::write(&chat, receipts).unwrap();
    let mut confirm = group.command(1, "confirm");
    confirm.arg(&chat);
    env.outcome(confirm).exits(0);
}

#[test]
fn charon_ends_when_its_command_is_told_to() {
    let group = Group::new(3);
    let mut run = group.start(0);
    group.until_charon_speaks(0);
    let pid = Pid::from_raw(run.id().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(130));
    let data = group.env.path("node0/.charon");
    assert_eq!(fs::read_dir(data).unwrap().count(), 2);
    // It is removed only once nobody holds it any more.
    assert!(!group.attempt(0, "output").exists());
    let status = group.env.outcome(group.command(0, "status"));
    assert_eq!(status.exits(0).json()["attempts"][0]["state"], "failed");
}

#[test]
fn what_is_no_charon_of_this_release_is_refused() {
    let env = TestEnv::ready();
    let refused = |program: &str, check: &str| {
        let plan = env.run(&["plan", "--format=json", "--charon-binary", program]);
        let plan = plan.exits(3).json();
        let findings = plan["findings"].as_array().unwrap();
        let has = |finding: &&serde_json::Value| finding["check"] == check;
        assert!(findings.iter().find(has).is_some(), "{plan}");
    };
    refused("/bin/true", "image-version-differs");
    refused("/bin/false", "image-version-unknown");
    refused("/no/such/charon", "image-unavailable");
    env.run(&["plan", "--charon-binary=/bin/true", "--network=host"])
        .exits(2);
}

/// charon would run it, and nobody could pay for what comes of it.
#[test]
fn amounts_that_only_add_up_repeated_are_noted() {
    let group = Group::new(3);
    let path = group.env.path(&format!("node0/.charon/{DEFINITION}"));
    let mut definition = Definition::parse(&fs::read(&path).unwrap()).unwrap().value;
    definition.deposit_amounts = Some(vec![Gwei::from_eth(16); 2]);
    // Nobody signs it: with other amounts no signature holds.
    definition.creator = Creator::default();
    for operator in &mut definition.operators {
        *operator = Operator {
            enr: operator.enr.clone(),
            ..Operator::default()
        };
    }
    let definition = definition.with_hashes().unwrap();
    fs::write(&path, definition.to_json()).unwrap();
    let planned = group.env.outcome(group.command(0, "plan")).exits(0);
    let said = planned.to_string();
    assert!(said.contains("deposit-amounts-repeated"), "{said}");
}
