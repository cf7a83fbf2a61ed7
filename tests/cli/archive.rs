//! `archive`: outputs go aside, the ENR key never, and nothing from under a running charon.

use std::fs;
use std::path::Path;

use charon_dkg::ceremony::attempt::State;
use charon_dkg::machine::datadir;

use crate::support::{BINARY, CEREMONY, DEFINITION, KEY, LOCK, TestEnv, Tree, files_below};

#[test]
fn nothing_to_move_is_said_without_a_question_or_a_trace() {
    let env = TestEnv::ready();
    let before = env.tree();
    snapshot!("archive_nothing", env.run(&["archive"]).exits(0));
    assert_eq!(env.tree(), before);
}

#[test]
fn no_data_directory_is_a_refusal() {
    let env = TestEnv::new();
    snapshot!("archive_no_data_directory", env.run(&["archive"]).exits(3));
    assert_eq!(env.tree().names(), [""; 0]);
}

#[test]
fn nobody_to_ask_is_a_no() {
    let env = TestEnv::finished(CEREMONY, 0);
    let before = env.tree();
    snapshot!("archive_nobody_to_ask", env.run(&["archive"]).exits(3));
    assert_eq!(env.tree(), before);
}

#[test]
fn outputs_are_moved_whole_and_key_and_definition_stay() {
    let env = TestEnv::finished(CEREMONY, 0);
    let keystore = fs::read(env.data("validator_keys/keystore-1.json")).unwrap();
    snapshot!("archive_outputs", env.run(&["archive", "--yes"]).exits(0));
    assert_eq!(Tree::of(&env.data("")).names(), [KEY, DEFINITION]);
    let archive = fs::read_dir(env.state("archive"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let moved = archive.join("validator_keys/keystore-1.json");
    assert_eq!(fs::read(moved).unwrap(), keystore);
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(archive.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["entries"][0]["path"], LOCK);
    // And now there is nothing.
    let again = env.run(&["archive"]).exits(0);
    assert_eq!(again.stdout, "nothing to move aside\n");
}

#[test]
#[ignore = "needs root"]
fn what_is_mounted_cannot_be_moved_and_the_refusal_says_where() {
    for (mounted, hint) in [
        (
            "validator_keys",
            "/validator_keys` shows what is mounted there",
        ),
        ("", "mount the whole project directory"),
    ] {
        let env = TestEnv::finished(CEREMONY, 0);
        let before = files_below(&env.data(""));
        // What is mounted is gone with the process.
        let mut command = env.command(Path::new("unshare"));
        command
            .args([
                "--mount",
                "sh",
                "-ec",
                r#"mount --bind "$0" "$0"; exec "$@""#,
            ])
            .arg(env.data(mounted))
            .args([BINARY, "archive", "--yes"]);
        let outcome = env.outcome(command).exits(1);
        assert!(
            outcome.stderr.contains("everything is back in its place"),
            "{outcome}"
        );
        assert!(outcome.stderr.contains(hint), "{outcome}");
        assert!(files_below(&env.data("")) == before, "something was moved");
    }
}

/// As the answer to that question says, by the shell.
#[test]
fn archive_is_undone_as_the_docs_say() {
    let faq = include_str!("../../docs/faq.md");
    let answer = faq.split("**How do I undo `archive`?**").nth(1).unwrap();
    let script = answer.split("```sh\n").nth(1).unwrap();
    let script = script.split("```").next().unwrap();
    let env = TestEnv::finished(CEREMONY, 0);
    let names = Tree::of(&env.data("")).names().join(" ");
    env.run(&["archive", "--yes"]).exits(0);
    assert_ne!(Tree::of(&env.data("")).names().join(" "), names);
    let mut archives = fs::read_dir(env.state("archive")).unwrap();
    let time = archives.next().unwrap().unwrap().file_name();
    let script = script.replace("TIME", time.to_str().unwrap());
    let (moves, verify) = script.rsplit_once("docker charon-dkg ").unwrap();
    assert_eq!(verify.trim(), "verify");
    let mut shell = env.command(std::path::Path::new("/bin/sh"));
    shell.args(["-ec", moves]).current_dir(env.project());
    env.outcome(shell).exits(0);
    assert_eq!(Tree::of(&env.data("")).names().join(" "), names);
    env.run(&["verify"]).exits(0);
}

#[test]
fn the_definition_goes_too_when_asked_for() {
    let env = TestEnv::finished(CEREMONY, 0);
    snapshot!(
        "archive_with_definition_json",
        env.run(&["archive", "--yes", "--with-definition", "--format", "json"])
            .exits(0)
    );
    assert_eq!(Tree::of(&env.data("")).names(), [KEY]);
}

/// Otherwise the next `run` would take the old terms, which the operator has just put aside.
#[test]
fn a_kept_definition_is_not_used_again_after_it_was_archived() {
    let env = TestEnv::ready();
    let layout = env.layout();
    datadir::create_state_dir(&layout).unwrap();
    let bytes = fs::read(env.data(DEFINITION)).unwrap();
    let kept = datadir::store_definition(&layout, &bytes, "https://api.example/d").unwrap();
    fs::remove_file(env.data(DEFINITION)).unwrap();

    env.run(&["archive", "--yes"]).exits(0);
    assert!(
        env.run(&["status"])
            .stdout
            .contains("cluster definition are here")
    );
    let outcome = env.run(&["archive", "--with-definition"]).exits(0);
    assert_eq!(
        outcome.stdout,
        "the definition kept from https://api.example/d is no longer used\n"
    );
    assert!(
        env.run(&["status"])
            .stdout
            .contains("no cluster definition")
    );
    let refused = env.run(&["plan"]).exits(3);
    assert!(
        refused.failed().contains(&"definition-missing"),
        "{refused}"
    );
    assert_eq!(fs::read(kept.path).unwrap(), bytes, "the bytes stay");
}

#[test]
fn a_ceremony_under_way_keeps_its_files() {
    let env = TestEnv::finished(CEREMONY, 0);
    env.attempt(&[State::Running]);
    let before = Tree::of(&env.data(""));
    snapshot!(
        "archive_under_way",
        env.run(&["archive", "--yes", "--with-definition"]).exits(3)
    );
    assert_eq!(Tree::of(&env.data("")), before);
}

#[test]
fn a_living_charon_keeps_its_files() {
    let env = TestEnv::finished(CEREMONY, 0);
    let beat = format!(
        r#"{{"command":"charon run","timestamp":"{}"}}"#,
        jiff::Timestamp::now() + jiff::SignedDuration::from_secs(60)
    );
    env.put("charon-enr-private-key.lock", beat.as_bytes());
    let before = Tree::of(&env.data(""));
    snapshot!(
        "archive_charon_alive",
        env.run(&["archive", "--yes"]).exits(3)
    );
    assert_eq!(Tree::of(&env.data("")), before);
    // One that is long dead goes aside with the rest.
    env.put(
        "charon-enr-private-key.lock",
        br#"{"command":"charon run","timestamp":"2020-01-01T00:00:00Z"}"#,
    );
    env.run(&["archive", "--yes"]).exits(0);
    assert_eq!(Tree::of(&env.data("")).names(), [KEY, DEFINITION]);
}

#[test]
fn a_guard_held_by_somebody_else_keeps_its_files() {
    let env = TestEnv::finished(CEREMONY, 0);
    datadir::create_state_dir(&env.layout()).unwrap();
    let guard = charon_dkg::machine::guard::claim_directory(&env.layout()).unwrap();
    let outcome = env.run(&["archive", "--yes", "--format", "json"]).exits(5);
    assert_eq!(outcome.json()["kind"], "busy");
    drop(guard);
    env.run(&["archive", "--yes"]).exits(0);
}

/// Whoever follows the advice of `plan` gets on, and nothing else is touched.
#[test]
fn what_plan_says_to_archive_is_archived_and_nothing_else() {
    let heart = "charon-enr-private-key.lock";
    let mut archived = Vec::new();
    for name in [
        LOCK,
        "cluster-lock.json.bak",
        "validator_keys/keystore-0.json",
        "validator_keys.bak/keystore-0.json",
        "deposit-data.json",
        "deposit-data-1eth.json",
        "deposit-data-32eth.json.bak",
        "Deposit-Data.json",
        "deposit-data/x.json",
        "cluster-manifest.pb",
        "charon-enr-private-key.bak",
        "dkg.tar.gz",
        "other.lock",
        "notes.txt",
        heart,
    ] {
        let env = TestEnv::ready();
        env.put(name, b"{}");
        let old = br#"{"command":"charon run","timestamp":"2020-01-01T00:00:00Z"}"#;
        if name == heart {
            env.put(name, old);
        }
        let top = name.split('/').next().unwrap();
        let plan = env.run(&["plan", "--format", "json"]).exits(3);
        let findings = plan.json()["findings"].as_array().unwrap().clone();
        let told = findings.iter().any(|finding| {
            finding["seen"].as_str().unwrap().contains(top)
                && finding["advice"]
                    .as_str()
                    .unwrap()
                    .contains("charon-dkg archive")
        });
        let before = Tree::of(&env.data(""));
        let outcome = env.run(&["archive", "--yes", "--format", "json"]).exits(0);
        if told {
            assert_eq!(outcome.json()["moved"], serde_json::json!([top]), "{name}");
            let left = Tree::of(&env.data(""));
            assert_eq!(left.names(), [KEY, DEFINITION], "{name}");
            // And it is in the way no longer.
            let again = env.run(&["plan"]).exits(3);
            assert_eq!(again.failed(), ["engine-unreachable"], "{name}: {again}");
            archived.push(top);
        } else {
            assert_eq!(outcome.json()["moved"], serde_json::json!([]), "{name}");
            assert_eq!(Tree::of(&env.data("")), before, "{name}");
        }
    }
    let expected = [
        LOCK,
        "validator_keys",
        "deposit-data.json",
        "deposit-data-1eth.json",
        "deposit-data-32eth.json.bak",
        "Deposit-Data.json",
        "deposit-data",
        "cluster-manifest.pb",
    ];
    assert_eq!(archived, expected);
}
