//! `edit add-validators` and its kin, from the command to held files, with several operators. The simulator plays charon.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use charon_files::cluster::{ClusterLock, ValidatorIndex};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::charon_binary::{Group, simulator};
use crate::support::{BINARY, KEY, LOCK, Outcome, files_below};

/// A cluster of four with one validator and a threshold of three, which runs; and a fifth node that is in no cluster.
struct Running {
    group: Group,
}

impl Running {
    fn new() -> Self {
        let group = Group::new(4);
        let nodes: Vec<Child> = (0..4).map(|node| group.start(node)).collect();
        for mut node in nodes {
            assert!(node.wait().unwrap().success());
        }
        let running = Self { group };
        for node in 0..4 {
            let data = running.data(node);
            fs::remove_file(data.join("cluster-definition.json")).unwrap();
            // As a node at work leaves it.
            let now = jiff::Timestamp::now();
            let sign = format!(r#"{{"command":"charon run","timestamp":"{now}"}}"#);
            fs::write(data.join(format!("{KEY}.lock")), sign).unwrap();
        }
        fs::create_dir_all(running.group.env.path("node4")).unwrap();
        let enr = running.group.command(4, "enr");
        running.group.env.outcome(enr).exits(0);
        running
    }

    fn data(&self, node: usize) -> PathBuf {
        self.group.env.path(&format!("node{node}/.charon"))
    }

    fn lock(&self) -> PathBuf {
        self.data(0).join(LOCK)
    }

    /// The addresses of the validator that is there.
    fn addresses(&self) -> (String, String) {
        let lock = ClusterLock::parse(&fs::read(self.lock()).unwrap()).unwrap();
        let pair = lock.value.definition.addresses_of(ValidatorIndex::new(0));
        let pair = pair.unwrap().clone();
        (pair.withdrawal_address, pair.fee_recipient_address)
    }

    fn enr(&self, node: usize) -> String {
        let mut command = self.group.command(node, "enr");
        command.arg("show");
        let shown = self.group.env.outcome(command).exits(0).json();
        shown["enr"].as_str().unwrap().to_owned()
    }

    /// `edit` and what follows it, as this node types it.
    fn edit(&self, node: usize, words: &[&str]) -> Command {
        let mut command = self.group.command(node, "edit");
        command.args(words);
        command
    }

    /// One of charon's edits.
    fn ceremony(&self, node: usize, words: &[&str]) -> Command {
        let mut command = self.edit(node, words);
        command
            .args(["--no-backup", "--relay", &self.group.url, "--charon-binary"])
            .arg(simulator());
        if node == 4 {
            command.arg("--lock-file").arg(self.lock());
        }
        command
    }

    /// All of these nodes run it; gives what each printed.
    fn all(&self, nodes: &[usize], words: &[&str]) -> Vec<Value> {
        let started: Vec<Child> = nodes
            .iter()
            .map(|node| {
                let mut command = self.ceremony(*node, words);
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                command.spawn().unwrap()
            })
            .collect();
        started
            .into_iter()
            .map(|child| {
                let output = child.wait_with_output().unwrap();
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{words:?}: {said}");
                serde_json::from_slice(&output.stdout).unwrap()
            })
            .collect()
    }

    fn status(&self, node: usize, chat: &str) -> Value {
        let path = self.group.env.path("chat.txt");
        fs::write(&path, chat).unwrap();
        let command = self.edit(node, &["status", path.to_str().unwrap()]);
        self.group.env.outcome(command).exits(0).json()
    }

    /// What `status` says of this node, for people.
    fn told(&self, node: usize) -> String {
        let mut command = self.group.env.command(Path::new(BINARY));
        command.args(["status", "--dir"]);
        command.arg(self.group.env.path(&format!("node{node}")));
        self.group.env.outcome(command).exits(0).stdout
    }

    fn abandon(&self, node: usize) {
        let command = self.edit(node, &["abandon", "--yes"]);
        self.group.env.outcome(command).exits(0);
    }

    fn refused(&self, node: usize, words: &[&str]) -> BTreeSet<String> {
        let before = files_below(&self.data(node));
        let outcome = self.group.env.outcome(self.ceremony(node, words)).exits(3);
        assert_eq!(files_below(&self.data(node)), before);
        checks(&outcome)
    }
}

fn checks(outcome: &Outcome) -> BTreeSet<String> {
    let document = outcome.json();
    let findings = document["findings"].as_array().unwrap();
    let names = findings.iter().map(|it| it["check"].as_str().unwrap());
    names.map(str::to_owned).collect()
}

/// Every edit in turn, each given up again, with one cluster that goes on.
#[test]
fn each_edit_is_run_proved_and_held_while_the_cluster_goes_on() {
    let running = Running::new();
    let enrs: Vec<String> = (0..5).map(|node| running.enr(node)).collect();
    let before: Vec<_> = (0..5)
        .map(|node| files_below(&running.data(node)))
        .collect();
    let (withdrawal, fees) = running.addresses();
    let remove = format!("--operator-enrs-to-remove={}", enrs[1]);
    let all = format!("--participating-operator-enrs={}", enrs[..4].join(","));
    let cases = vec![
        (
            "add-validators",
            vec![0, 1, 2, 3],
            vec![
                "--num-validators=2".to_owned(),
                format!("--withdrawal-addresses={withdrawal}"),
                format!("--fee-recipient-addresses={fees},{fees}"),
            ],
            4,
            3,
        ),
        (
            "add-operators",
            vec![0, 1, 2, 3, 4],
            vec![
                format!("--new-operator-enrs={}", enrs[4]),
                "--accept-threshold=3".to_owned(),
            ],
            5,
            3,
        ),
        (
            "remove-operators",
            vec![0, 2, 3],
            vec![remove.clone()],
            3,
            3,
        ),
        (
            "remove-operators",
            vec![0, 1, 2, 3],
            vec![remove, all],
            3,
            3,
        ),
        (
            "replace-operator",
            vec![0, 2, 3, 4],
            vec![
                format!("--old-operator-enr={}", enrs[1]),
                format!("--new-operator-enr={}", enrs[4]),
            ],
            4,
            3,
        ),
        ("recreate-private-keys", vec![0, 1, 2, 3], Vec::new(), 4, 3),
    ];
    for (kind, nodes, flags, operators, threshold) in cases {
        let mut words = vec![kind];
        words.extend(flags.iter().map(String::as_str));
        let printed = running.all(&nodes, &words);
        let (held, helped): (Vec<_>, Vec<_>) = nodes
            .iter()
            .zip(&printed)
            .partition(|(_, document)| document["lock_hash"].is_string());
        assert_eq!(held.len(), operators, "{printed:?}");
        assert_eq!(helped.len(), nodes.len() - operators);
        let mut chat = String::new();
        for (node, document) in &held {
            assert_eq!(document["kind"], kind);
            assert_eq!(document["lock_hash"], held[0].1["lock_hash"]);
            chat.push_str(document["receipt"].as_str().unwrap());
            chat.push('\n');
            // The old cluster is as it was, and no second copy of the new keys is left.
            assert_eq!(files_below(&running.data(**node)), before[**node]);
            let state = running.group.env.path(&format!("node{node}/.charon-dkg"));
            let stages = fs::read_dir(state.join("attempts")).unwrap().filter(|it| {
                let stage = it.as_ref().unwrap().path().join("stage");
                fs::read_dir(stage).is_ok_and(|mut entries| entries.next().is_some())
            });
            assert_eq!(stages.count(), 0);
            let new = fs::read(state.join("edit/new").join(LOCK)).unwrap();
            let new = ClusterLock::parse(&new).unwrap().value.definition;
            assert_eq!(new.operators.len(), operators);
            assert_eq!(new.threshold, threshold);
        }
        for (node, _) in &held {
            let status = running.status(**node, &chat);
            assert_eq!(status["conditions"][0]["met"], true, "{status}");
            assert_eq!(status["may_switch"], kind == "add-validators");
            let told = running.told(**node);
            let mut attempts = told
                .lines()
                .filter(|line| line.contains(kind) && line.contains("attempt"));
            assert!(attempts.any(|line| line.ends_with(", verified")), "{told}");
            running.abandon(**node);
        }
    }
}

/// A command that is killed loses nothing, and another edit is not begun meanwhile.
#[test]
fn an_edit_outlives_its_command_and_is_the_only_one() {
    let running = Running::new();
    let words = ["recreate-private-keys"];
    let mut first = running.ceremony(0, &words);
    let mut first = first
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    running.group.until_charon_speaks_in(0, 2);
    first.kill().unwrap();
    first.wait().unwrap();

    let status = running.group.command(0, "status");
    let status = running.group.env.outcome(status).exits(0).json();
    assert_eq!(status["stage"], "under-way");
    let enr = running.enr(4);
    let other = [
        "add-operators",
        &format!("--new-operator-enrs={enr}"),
        "--accept-threshold=3",
    ];
    let outcome = running.group.env.outcome(running.ceremony(0, &other));
    assert!(outcome.exits(3).stdout.contains("under way"));

    // `run` goes on with whatever is under way, and asks for nothing.
    let others: Vec<Child> = (1..4)
        .map(|node| {
            let mut command = running.ceremony(node, &words);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().unwrap()
        })
        .collect();
    let again = running.group.command(0, "run");
    let held = running.group.env.outcome(again).exits(0);
    assert!(held.stderr.contains("going on with charon's process"));
    assert_eq!(held.json()["kind"], "recreate-private-keys");
    for mut other in others {
        assert!(other.wait().unwrap().success());
    }
    // One at a time.
    let outcome = running.group.env.outcome(running.ceremony(0, &words));
    assert!(outcome.exits(3).stdout.contains("is held here"));
}

/// What ends without the others leaves charon's words, and says what to type.
#[test]
fn an_edit_that_comes_to_nothing_is_told_with_its_command() {
    let running = Running::new();
    let mut alone = running.ceremony(0, &["recreate-private-keys"]);
    let alone = alone.stdout(Stdio::piped()).stderr(Stdio::null());
    let alone = alone.spawn().unwrap();
    running.group.until_charon_speaks_in(0, 2);
    let pid = Pid::from_raw(alone.id().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let output = alone.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("edit recreate-private-keys`"), "{said}");
    let status = running.group.command(0, "status");
    let status = running.group.env.outcome(status).exits(0).json();
    assert_eq!(status["attempts"][1]["state"], "failed");
    assert!(!running.group.env.path("node0/.charon-dkg/edit").exists());
}

/// What charon would accept, or notice only once all had come, is refused before anything is changed.
#[test]
fn what_the_group_would_regret_is_refused() {
    let running = Running::new();
    let enr = |node| running.enr(node);
    let (old, new) = (enr(1), enr(4));
    let refused = |node, words: &[&str], check: &str| {
        let checks = running.refused(node, words);
        assert!(checks.contains(check), "{words:?}: {checks:?}");
        // A node that runs is no obstacle.
        assert!(!checks.contains("already-in-use"), "{checks:?}");
    };
    let twice = format!("--new-operator-enrs={new},{new}");
    refused(0, &["add-operators", &twice], "edit-enrs");
    let known = format!("--new-operator-enrs={old}");
    refused(0, &["add-operators", &known], "edit-enrs");
    let one = format!("--new-operator-enrs={new}");
    refused(0, &["add-operators", &one], "edit-threshold-low");
    refused(
        0,
        &["add-operators", &one, "--accept-threshold=2"],
        "edit-threshold-low",
    );
    let stranger = format!("--operator-enrs-to-remove={new}");
    refused(0, &["remove-operators", &stranger], "edit-enrs");
    let two = format!("--operator-enrs-to-remove={old},{}", enr(2));
    refused(0, &["remove-operators", &two], "edit-participants");
    let absent = format!("--participating-operator-enrs={},{}", enr(0), enr(3));
    let one_less = format!("--operator-enrs-to-remove={old}");
    refused(
        0,
        &["remove-operators", &one_less, &absent],
        "edit-participants",
    );
    refused(
        0,
        &["remove-operators", &one_less, "--new-threshold=2"],
        "edit-new-threshold",
    );
    let (leaves, comes) = (
        format!("--old-operator-enr={old}"),
        format!("--new-operator-enr={new}"),
    );
    refused(
        1,
        &["replace-operator", &leaves, &comes],
        "edit-participants",
    );
    refused(4, &["recreate-private-keys"], "edit-participants");
    refused(
        0,
        &[
            "add-validators",
            "--withdrawal-addresses=0x12",
            "--fee-recipient-addresses=0x12",
        ],
        "edit-addresses",
    );
    refused(
        0,
        &["recreate-private-keys", "--charon-version=v1.7.1"],
        "no-charon-release",
    );
    fs::write(running.data(0).join("validator_keys/keystore-0.txt"), "x").unwrap();
    refused(0, &["recreate-private-keys"], "keystore-decrypt");
}

/// The same command, the same options, the same lock: what differs is told before anybody starts.
#[test]
fn all_say_that_they_are_ready_for_the_same_edit() {
    let running = Running::new();
    let say = |node, words: &[&str]| {
        let mut all = words.to_vec();
        all.push("--ready");
        let outcome = running.group.env.outcome(running.ceremony(node, &all));
        outcome.exits(0).json()["text"].as_str().unwrap().to_owned()
    };
    let words = ["recreate-private-keys"];
    let enr = running.enr(4);
    let other = [
        "add-operators",
        &format!("--new-operator-enrs={enr}"),
        "--accept-threshold=3",
    ];
    let mut lines: Vec<String> = (0..3).map(|node| say(node, &words)).collect();
    lines.push(say(3, &other));
    let chat = running.group.env.path("ready.txt");
    let see = |node| {
        let with = ["recreate-private-keys", "--ready", chat.to_str().unwrap()];
        running.group.env.outcome(running.ceremony(node, &with))
    };
    fs::write(&chat, lines.join("\n")).unwrap();
    let differs = see(0).exits(4);
    assert!(checks(&differs).contains("ready-definition"), "{differs}");
    let strict = ["recreate-private-keys", "--require-ready"];
    let refused = running.group.env.outcome(running.ceremony(0, &strict));
    refused.exits(3);

    lines.push(say(3, &words));
    fs::write(&chat, lines.join("\n")).unwrap();
    for node in 0..4 {
        see(node).exits(0);
    }
    for document in running.all(&[0, 1, 2, 3], &strict) {
        assert_eq!(document["kind"], "recreate-private-keys");
    }
}
