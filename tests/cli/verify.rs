//! `verify`: what passes, what does not, and how both are told. What each check catches is in the
//! tests of the library.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use charon_files::cluster::ClusterLock;
use serde_json::Value;

use crate::schema;
use crate::support::{CEREMONY, DEFINITION, LOCK, NOBODY, TestEnv, Tree, files_below, fixture};

fn flip_a_byte(path: &Path, near: &str) {
    let mut bytes = fs::read(path).unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    let at = text.find(near).unwrap() + near.len();
    bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    fs::write(path, bytes).unwrap();
}

#[track_caller]
fn matches_the_schema(report: &Value) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify.schema.json");
    let schema: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let problems = schema::problems(&schema, &schema, report, "report");
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn a_finished_directory_passes_and_is_not_touched() {
    let env = TestEnv::finished(CEREMONY, 1);
    let before = env.tree();
    snapshot!("verify_pass", env.run(&["verify"]).exits(0));
    assert_eq!(env.tree(), before);
}

#[test]
fn every_ceremony_passes_by_the_command_too() {
    let ceremonies = fixture(CEREMONY, 0)
        .join("../../..")
        .canonicalize()
        .unwrap();
    for ceremony in fs::read_dir(ceremonies).unwrap() {
        let name = ceremony.unwrap().file_name().into_string().unwrap();
        let env = TestEnv::finished(&name, 3);
        let report = env.run(&["verify", "--format", "json"]).exits(0).json();
        assert_eq!(report["verdict"], "pass", "{name}");
        matches_the_schema(&report);
    }
}

#[test]
fn a_directory_can_be_named_by_itself_or_by_its_project() {
    let env = TestEnv::finished(CEREMONY, 0);
    let data = env.data("").display().to_string();
    for args in [
        &["verify", "."][..],
        &["verify", ".charon"],
        &["verify", &data],
        &["verify", "--data-dir", ".charon"],
        &["verify", "--dir", "../project"],
    ] {
        let outcome = env.run(args).exits(0);
        assert!(
            outcome.stdout.starts_with("PASS [ROOT]/project/.charon"),
            "{outcome}"
        );
    }
}

#[test]
fn a_flipped_digit_is_found_and_named() {
    let env = TestEnv::finished(CEREMONY, 0);
    flip_a_byte(&env.data("validator_keys/keystore-1.txt"), "");
    snapshot!("verify_flipped_password", env.run(&["verify"]).exits(4));

    let env = TestEnv::finished(CEREMONY, 0);
    flip_a_byte(&env.data(LOCK), r#""distributed_public_key": "0x"#);
    let outcome = env.run(&["verify"]).exits(4);
    assert!(outcome.failed().contains(&"lock-hash"), "{outcome}");
    assert_eq!(outcome.stdout, "");
}

/// A program reads one document, also when the verdict is bad.
#[test]
fn a_bad_report_is_a_report() {
    let env = TestEnv::finished(CEREMONY, 0);
    flip_a_byte(&env.data(LOCK), r#""threshold": "#);
    let outcome = env.run(&["verify", "--format", "json"]).exits(4);
    let report = outcome.json();
    matches_the_schema(&report);
    assert_eq!(report["verdict"], "fail");
    assert!(
        outcome.stderr.contains("did not pass verification"),
        "{outcome}"
    );
}

#[test]
fn a_bare_lock_needs_no_secrets() {
    let env = TestEnv::new();
    fs::copy(
        fixture(CEREMONY, 0).join(LOCK),
        env.project().join("lock.json"),
    )
    .unwrap();
    snapshot!(
        "verify_lock",
        env.run(&["verify", "--lock", "lock.json"]).exits(0)
    );
}

#[test]
fn the_lock_that_obols_api_serves_passes() {
    let env = TestEnv::new();
    let text = fs::read_to_string(fixture(CEREMONY, 0).join(LOCK)).unwrap();
    let lock = ClusterLock::parse(text.as_bytes()).unwrap().value;
    let mut served: serde_json::Value = serde_json::from_str(&text).unwrap();
    let deposits = lock.validators.iter().map(|validator| &validator.deposits);
    for (position, deposits) in deposits.enumerate() {
        let place = &mut served["distributed_validators"][position]["partial_deposit_data"];
        for (number, deposit) in deposits.iter().enumerate() {
            place[number]["deposit_data_root"] = hex::encode(deposit.data_root()).into();
        }
    }
    fs::write(env.project().join(LOCK), served.to_string()).unwrap();
    snapshot!(
        "verify_lock_of_api",
        env.run(&["verify", "--lock", LOCK]).exits(0)
    );
    // Nobody has confirmed yet, and that is all.
    let said = env.run(&["confirm", "--lock", LOCK]).exits(4);
    assert!(said.stderr.contains("[receipt-missing]"), "{}", said.stderr);
    assert!(!said.stderr.contains("[lock-"), "{}", said.stderr);
}

#[test]
fn deposits_are_held_to_their_lock() {
    let env = TestEnv::new();
    let from = fixture(CEREMONY, 0);
    for name in [LOCK, "deposit-data.json", "deposit-data-1eth.json"] {
        fs::copy(from.join(name), env.project().join(name)).unwrap();
    }
    let deposits = [
        "--deposit",
        "deposit-data.json",
        "--deposit",
        "deposit-data-1eth.json",
    ];
    let args = [&["verify", "--lock", LOCK][..], &deposits].concat();
    snapshot!("verify_deposits", env.run(&args).exits(0));

    // Another cluster's deposits are genuine, and not for this lock; all operators' files have the same name.
    let other = fixture("charon-v1.3.3-def-v1.10.0-n4-v2", 0).join("deposit-data.json");
    fs::create_dir(env.project().join("bob")).unwrap();
    fs::copy(other, env.project().join("bob/deposit-data.json")).unwrap();
    let args = [&args[..], &["--deposit", "bob/deposit-data.json"]].concat();
    let outcome = env.run(&args).exits(4);
    assert!(
        outcome.failed().contains(&"deposit-file-validators"),
        "{outcome}"
    );
    for line in outcome
        .stderr
        .lines()
        .filter(|line| line.contains("FAIL ["))
    {
        assert!(line.contains("bob/deposit-data.json"), "{outcome}");
    }
}

#[test]
fn a_definition_can_be_checked_before_the_ceremony() {
    let env = TestEnv::new();
    let path = env.project().join("definition.json");
    fs::copy(fixture(CEREMONY, 0).join(DEFINITION), &path).unwrap();
    let args = ["verify", "--definition", "definition.json"];
    snapshot!("verify_definition", env.run(&args).exits(0));
    flip_a_byte(&path, r#""withdrawal_address": "0x"#);
    snapshot!("verify_definition_changed", env.run(&args).exits(4));
}

#[test]
fn quiet_says_nothing_but_the_exit_code() {
    let env = TestEnv::finished(CEREMONY, 0);
    for args in [
        &["verify", "-q"][..],
        &["verify", "--quiet", "--format", "json"],
    ] {
        let outcome = env.run(args).exits(0);
        assert_eq!((&*outcome.stdout, &*outcome.stderr), ("", ""));
    }
    flip_a_byte(&env.data("validator_keys/keystore-0.txt"), "");
    for args in [
        &["verify", "-q"][..],
        &[
            "verify",
            "--quiet",
            "--format",
            "json",
            "--progress",
            "plain",
        ],
        &["verify", "-q", "nowhere"],
        &["verify", "-q", "--lock", "nowhere"],
    ] {
        let outcome = env.run(args).exits(4);
        assert_eq!((&*outcome.stdout, &*outcome.stderr), ("", ""));
    }
}

#[test]
fn what_is_not_there_cannot_pass() {
    let env = TestEnv::new();
    snapshot!("verify_no_data_directory", env.run(&["verify"]).exits(4));
    // `receipt` has no argument, and that of `confirm` is something else.
    let said = env.run(&["verify"]).exits(4).stderr;
    assert_eq!(env.run(&["receipt"]).exits(4).stderr, said);
    let line = format!("dkgreceipt1{}1", "q".repeat(200));
    let outcome = env.run(&["confirm", &line]).exits(4);
    assert!(outcome.stderr.starts_with(&said), "{}", outcome.stderr);
    snapshot!(
        "verify_no_such_directory",
        env.run(&["verify", "nowhere"]).exits(4)
    );
    snapshot!(
        "verify_no_such_lock",
        env.run(&["verify", "--lock", "nowhere"]).exits(4)
    );
    let outcome = env.run(&["verify", "--format", "json"]).exits(4);
    assert_eq!(outcome.json()["schema"], "charon-dkg.failure/1");
}

#[test]
fn a_directory_before_its_ceremony_does_not_pass() {
    let env = TestEnv::ready();
    let outcome = env.run(&["verify"]).exits(4);
    assert_eq!(outcome.failed(), ["data-directory"], "{outcome}");
}

/// Sets the modes that charon gives in a container or a login shell.
fn set_stock_modes(env: &TestEnv, keystore: u32, password: u32) {
    let set = |path: &str, mode| {
        fs::set_permissions(env.data(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    for (path, _) in files_below(&env.data("")) {
        let mode = match path.rsplit_once('.') {
            None => 0o600,
            Some((_, "txt")) => password,
            Some(_) => keystore,
        };
        set(&path, mode);
    }
    set("", 0o755);
    set("validator_keys", 0o755);
}

#[test]
fn a_directory_as_charon_leaves_it_passes_every_verb() {
    for (keystore, password) in [(0o444, 0o400), (0o644, 0o600)] {
        let env = TestEnv::finished(CEREMONY, 0);
        set_stock_modes(&env, keystore, password);
        let outcome = env.run(&["verify"]).exits(0);
        assert!(outcome.stdout.contains("charon-dkg repair"), "{outcome}");
        let receipt = env.run(&["receipt"]).exits(0);
        let confirm = env.run(&["confirm", receipt.stdout.trim()]).exits(4);
        assert!(!confirm.failed().contains(&"file-mode"), "{confirm}");
        let shown = env.run(&["repair", "--dry-run"]).exits(3);
        assert!(
            shown
                .stdout
                .contains("could read validator_keys/keystore-0.json, "),
            "{shown}"
        );
        assert!(!shown.stdout.contains("could read the keys"), "{shown}");
        let done = env.run(&["repair", "--yes"]).exits(0);
        assert!(!done.stderr.contains("could read the keys"), "{done}");
        let outcome = env.run(&["verify"]).exits(0);
        assert!(!outcome.stdout.contains("repair"), "{outcome}");
    }
}

#[test]
fn keys_that_all_may_read_do_not_pass() {
    let env = TestEnv::finished(CEREMONY, 0);
    set_stock_modes(&env, 0o644, 0o644);
    let outcome = env.run(&["verify"]).exits(4);
    assert!(
        outcome.failed().iter().all(|check| *check == "file-mode"),
        "{outcome}"
    );
    assert!(
        outcome
            .stderr
            .contains("every user of this machine can read a keystore and its password"),
        "{outcome}"
    );
    env.run(&["receipt"]).exits(4);
    env.run(&["repair", "--yes"]).exits(0);
    env.run(&["verify"]).exits(0);
}

#[test]
fn files_that_are_links_do_not_pass() {
    let env = TestEnv::finished(CEREMONY, 0);
    let elsewhere = env.project().join("elsewhere.json");
    fs::rename(env.data(LOCK), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, env.data(LOCK)).unwrap();
    let outcome = env.run(&["verify"]).exits(4);
    assert!(outcome.failed().contains(&"data-directory"), "{outcome}");

    let env = TestEnv::finished(CEREMONY, 0);
    let elsewhere = env.project().join("keys");
    fs::rename(env.data("validator_keys"), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, env.data("validator_keys")).unwrap();
    let said = env.run(&["verify"]).exits(4).to_string();
    let words = "a link to one, which is not followed";
    assert!(
        said.contains(words) && !said.contains("key manager"),
        "{said}"
    );
}

/// A directory that cannot be listed is not an empty one.
#[test]
#[ignore = "needs root"]
fn another_user_gets_no_verdict_but_the_reason() {
    let env = TestEnv::finished(CEREMONY, 0);
    let before = Tree::of(&env.data(""));
    snapshot!(
        "verify_of_another_user",
        env.run_as(NOBODY, &["verify"]).exits(4)
    );
    assert_eq!(Tree::of(&env.data("")), before);
}

/// The name of a cluster is chosen by whoever made the definition.
#[test]
fn names_of_strangers_stay_in_their_line() {
    let mut env = TestEnv::ready();
    env.edit_definition(|definition| {
        "evil\u{1b}[2J\u{202e}\nPASS name".clone_into(&mut definition.name);
    });
    let path = env.data(DEFINITION).display().to_string();
    let outcome = env.run(&["verify", "--definition", &path]).exits(0);
    assert!(
        outcome.stdout.contains("cluster          evil PASS name\n"),
        "{outcome}"
    );
}

/// Validator clients look into every directory below; what is too deep to be looked at is no note.
#[test]
fn keystores_buried_deep_do_not_pass() {
    let env = TestEnv::finished(CEREMONY, 0);
    let deep = "validator_keys/a/b/c/d/e/f/g/h/keystore-0.json";
    let stranger = fixture(CEREMONY, 1).join("validator_keys/keystore-0.json");
    env.put(deep, &fs::read(stranger).unwrap());
    let outcome = env.run(&["verify"]).exits(4);
    assert!(outcome.stderr.contains("deeper directories"), "{outcome}");
}

/// What cannot be listed may hold another node's keys, and a validator client run by another user may load them.
#[test]
#[ignore = "needs root"]
fn directories_that_cannot_be_listed_do_not_pass() {
    let env = TestEnv::finished(CEREMONY, 0);
    let sub = env.data("validator_keys/sub");
    fs::create_dir(&sub).unwrap();
    fs::set_permissions(&sub, fs::Permissions::from_mode(0o000)).unwrap();
    env.give_to(NOBODY);
    let outcome = env.run_as(NOBODY, &["verify"]).exits(4);
    assert!(outcome.stderr.contains("validator_keys/sub"), "{outcome}");
}
