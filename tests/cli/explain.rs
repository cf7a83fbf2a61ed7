//! `explain`: why charon failed, from anybody's log of it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::schema;
use crate::support::{BINARY, TestEnv};

fn log(case: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/failures");
    fixtures.join(case).with_extension("log")
}

/// A project with logs in it, as operators send them.
fn with_logs(logs: &[(&str, &str)]) -> TestEnv {
    let env = TestEnv::new();
    for (name, case) in logs {
        fs::copy(log(case), env.project().join(name)).unwrap();
    }
    env
}

#[test]
fn a_log_for_each_operator() {
    let env = with_logs(&[
        ("ann.log", "v1.10.3/definitions-differ/node1"),
        ("bob.log", "v1.10.3/relay-killed/node0"),
        ("carl.log", "v1.10.3/execution-client-down"),
        ("dora.log", "v0.16.0/disk-full/node0"),
    ]);
    let before = env.tree();
    let names = ["ann.log", "bob.log", "carl.log", "dora.log"];
    let outcome = env.run(&[&["explain"], &names[..]].concat()).exits(0);
    assert_eq!(outcome.stderr, "");
    snapshot!("explain", outcome);

    let json = [&["explain", "--format", "json"], &names[..]].concat();
    let document = env.run(&json).exits(0).json();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/explain.schema.json");
    let schema: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let problems = schema::problems(&schema, &schema, &document, "document");
    assert!(problems.is_empty(), "{problems:#?}");
    let logs = document["logs"].as_array().unwrap();
    let ids: Vec<_> = logs.iter().map(|log| log["cause"]["id"].as_str()).collect();
    let expected = [
        Some("definitions-differ"),
        Some("relay-lost"),
        Some("execution-client-unreachable"),
        None,
    ];
    assert_eq!(ids, expected);
    assert_eq!(logs[0]["operator"], 2);
    assert_eq!(logs[0]["cause"]["operators"], serde_json::json!([4]));
    assert_eq!(logs[3]["succeeded"], true);
    assert_eq!(env.tree(), before);
}

#[test]
fn a_log_from_standard_input() {
    let mut child = Command::new(BINARY)
        .args(["explain", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = fs::read_to_string(log("v1.10.3/relay-refused/node0")).unwrap();
    let text: String = text
        .lines()
        .map(|line| format!("charon-1  | {line}\r\n"))
        .collect();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let said = child.wait_with_output().unwrap();
    assert!(said.status.success());
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.starts_with("standard input (charon v1.10.3, operator 1 of 4):\nFAIL [relay-refuses]"),
        "{said}"
    );
}

/// `journalctl -o verbose` without `--all` leaves out the coloured lines.
#[test]
fn lines_that_are_missing_from_a_log_are_said() {
    let env = TestEnv::new();
    let collected = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/collected");
    let project = env.project();
    fs::copy(collected.join("left-out.verbose"), project.join("a.log")).unwrap();
    let known = "host charon[1]: [98B blob data]\nhost charon[1]: Error: unknown flag: --x\n";
    fs::write(project.join("b.log"), known).unwrap();
    snapshot!(
        "explain-left-out",
        env.run(&["explain", "a.log", "b.log"]).exits(0)
    );
    let json = ["explain", "--format", "json", "a.log", "b.log"];
    let document = env.run(&json).exits(0).json();
    let left_out = [0, 1].map(|log| document["logs"][log]["left_out"].as_u64());
    assert_eq!(left_out, [Some(2), Some(1)]);
}

#[test]
fn what_is_no_log_of_charon_is_refused() {
    let env = TestEnv::new();
    fs::write(env.project().join("chat.txt"), "hello\nwhen do we start?\n").unwrap();
    fs::write(env.project().join("empty.log"), "").unwrap();
    for (name, reason) in [
        ("chat.txt", "chat.txt holds no output of charon"),
        ("empty.log", "empty.log holds no output of charon"),
        ("missing.log", "missing.log"),
    ] {
        let outcome = env.run(&["explain", name]).exits(2);
        assert!(outcome.stderr.contains(reason), "{outcome}");
        assert_eq!(outcome.stdout, "");
    }
    env.run(&["explain"]).exits(2);
}
