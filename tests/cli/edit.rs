//! From what charon's edit wrote to a switched cluster, with the files of real edits: what is refused, and what becomes of
//! the old files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use charon_files::cluster::{ClusterLock, LockHash, NodeIndex};
use charon_files::keys::k1::EnrKey;
use charon_proof::stopped::{Statement, StoppedLine};
use serde_json::Value;

use crate::receipts::receipts;
use crate::support::{KEY, LOCK, Outcome, TestEnv, files_below};

fn edits(place: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/edits/charon-v1.10.3-n4-v2")
        .join(place)
}

fn key(place: &str) -> EnrKey {
    EnrKey::parse(&fs::read(edits(place).join(KEY)).unwrap()).unwrap()
}

fn lock(place: &str) -> ClusterLock {
    let bytes = fs::read(edits(place).join(LOCK)).unwrap();
    ClusterLock::parse(&bytes).unwrap().value
}

fn hash(place: &str) -> LockHash {
    lock(place).lock_hash().unwrap()
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// The keys of the operators after an edit, in their order.
fn keys(kind: &str) -> Vec<EnrKey> {
    let old = |node: usize| key(&format!("before/node{node}"));
    match kind {
        "replace-operator" => vec![old(0), key("replace-operator/node1"), old(2), old(3)],
        "remove-operators" => vec![old(0), old(2), old(3)],
        "add-operators" => vec![old(0), old(1), old(2), old(3), key("add-operators/node4")],
        "recreate-private-keys" | "add-validators" => (0..4).map(old).collect(),
        other => panic!("{other}"),
    }
}

/// What the operators of the new lock would paste.
fn receipts_of(kind: &str) -> String {
    let deposit_files: Vec<_> = files_below(&edits(&format!("{kind}/node0")))
        .into_iter()
        .filter(|(name, _)| name.starts_with("deposit-data"))
        .map(|(name, bytes)| charon_files::cluster::names::FileDigest::of(name, &bytes))
        .collect();
    let receipts = receipts(&lock(&format!("{kind}/node0")), &keys(kind), &deposit_files);
    let lines: Vec<String> = receipts.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// That an operator of the old lock stopped at this time.
fn stopped(kind: &str, node: usize, time: u64) -> String {
    let statement = Statement {
        node: NodeIndex::new(node),
        operators: 4,
        old_lock_hash: hash("before/node0"),
        new_lock_hash: hash(&format!("{kind}/node0")),
        time,
        program_version: "0.1.0".to_owned(),
    };
    let key = key(&format!("before/node{node}"));
    StoppedLine::sign(statement, &key).unwrap().to_string()
}

/// The first operator, with the old cluster.
fn old_node() -> TestEnv {
    let env = TestEnv::with_fixture_key();
    for (name, bytes) in files_below(&edits("before/node0")) {
        env.put(&name, &bytes);
    }
    env
}

fn hold(env: &TestEnv, kind: &str, node: usize) -> Outcome {
    let dir = edits(&format!("{kind}/node{node}"));
    env.run(&["edit", "hold", dir.to_str().unwrap()])
}

fn status(env: &TestEnv, chat: &str) -> Value {
    fs::write(env.path("chat.txt"), chat).unwrap();
    let chat = env.path("chat.txt");
    let asked = ["edit", "status", chat.to_str().unwrap(), "--format", "json"];
    env.run(&asked).exits(0).json()
}

fn met(document: &Value) -> Vec<bool> {
    let conditions = document["conditions"].as_array().unwrap();
    let met = conditions.iter().map(|it| it["met"].as_bool().unwrap());
    met.collect()
}

fn content(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = files_below(root);
    files.sort();
    files
}

const SWITCH: [&str; 4] = ["edit", "switch", "--without-docker", "--yes"];

#[test]
fn each_edit_is_held_and_switched_once_every_condition_is_met() {
    for kind in [
        "add-validators",
        "add-operators",
        "remove-operators",
        "replace-operator",
        "recreate-private-keys",
    ] {
        let env = old_node();
        let before = content(&env.data(""));
        let held = hold(&env, kind, 0).exits(0);
        assert!(held.stderr.contains("dkgreceipt1"), "{held}");
        env.run(&SWITCH).exits(3);
        assert_eq!(content(&env.data("")), before, "{kind}");

        let stage = || {
            let document = env.run(&["status", "--format", "json"]).exits(0).json();
            let next = document["next"].as_str().unwrap().to_owned();
            (document["stage"].as_str().unwrap().to_owned(), next)
        };
        let (name, next) = stage();
        assert_eq!(name, "edit-held");
        assert!(next.contains("edit status"), "{next}");
        let document = status(&env, &receipts_of(kind));
        let stops = kind != "add-validators";
        let expected: &[bool] = if stops {
            &[true, false, false]
        } else {
            &[true]
        };
        assert_eq!(met(&document), expected, "{kind}: {document:#}");
        if stops {
            env.run(&SWITCH).exits(3);
            let early = if kind == "remove-operators" || kind == "replace-operator" {
                vec![0, 2, 3]
            } else {
                vec![0, 1, 2, 3]
            };
            // All but one, then all of whom the last has only just stopped.
            let chat = |time: u64, nodes: &[usize]| -> String {
                let lines = nodes.iter().map(|node| stopped(kind, *node, time));
                lines.collect::<Vec<_>>().join("\n")
            };
            let document = status(&env, &chat(now() - 5000, &early[1..]));
            assert_eq!(met(&document), [true, false, false], "{kind}");
            let document = status(&env, &stopped(kind, 0, now() - 60));
            assert_eq!(met(&document), [true, true, false], "{kind}");
            let refused = env.run(&SWITCH).exits(3);
            assert!(refused.stderr.contains("not before "), "{refused}");
            assert_eq!(content(&env.data("")), before, "{kind}");
            // As if it had been an hour ago.
            fs::remove_file(env.state("edit/stopped.txt")).unwrap();
            let document = status(&env, &chat(now() - 3600, &early));
            assert_eq!(met(&document), [true, true, true], "{kind}");
            assert_eq!(document["may_switch"], true);
        }
        let (name, next) = stage();
        assert_eq!(name, "edit-ready");
        assert!(next.contains("edit switch"), "{next}");
        let switched = env.run(&SWITCH).exits(0);
        assert!(
            switched.stdout.contains("now holds the cluster"),
            "{switched}"
        );
        env.run(&[
            "verify",
            "--previous-lock",
            edits("before/node0/cluster-lock.json").to_str().unwrap(),
        ])
        .exits(0);
        let expected: Vec<(String, Vec<u8>)> = content(&edits(&format!("{kind}/node0")));
        assert_eq!(content(&env.data("")), expected, "{kind}");
        let archives: Vec<_> = fs::read_dir(env.state("archive")).unwrap().collect();
        assert_eq!(archives.len(), 1);
        let archive = archives.into_iter().next().unwrap().unwrap().path();
        for (name, bytes) in &before {
            if name != KEY {
                assert_eq!(
                    &fs::read(archive.join(name)).unwrap(),
                    bytes,
                    "{kind} {name}"
                );
            }
        }
        // The gate opens for the new lock, with the receipts that were collected, and never for the old one.
        env.run(&["gate", "check"]).exits(0);
        env.run(&["edit", "abandon", "--yes"]).exits(3);
        for (name, bytes) in files_below(&edits("before/node0")) {
            env.put(&name, &bytes);
        }
        fs::remove_file(env.data("validator_keys/keystore-2.json")).ok();
        fs::remove_file(env.data("validator_keys/keystore-2.txt")).ok();
        let closed = env
            .run(&["gate", "check", "--require", "verified"])
            .exits(3);
        assert!(closed.stderr.contains("before an edit"), "{kind}: {closed}");
    }
}

#[test]
fn a_node_that_has_stopped_stays_down_until_the_edit_is_abandoned() {
    let kind = "recreate-private-keys";
    let env = old_node();
    let open = ["gate", "check", "--require", "verified"];
    hold(&env, kind, 0).exits(0);
    env.run(&open).exits(0);
    // The old cluster goes on as long as somebody has not shown to have the new keys.
    let asked = ["edit", "stopped", "--without-docker"];
    env.run(&asked).exits(3);
    env.run(&open).exits(0);
    status(&env, &receipts_of(kind));
    let before = now();
    let said = env.run(&asked).exits(0);
    let line = StoppedLine::parse(said.stdout.trim()).unwrap();
    let statement = line.statement();
    assert!(line.is_signed_by(&key("before/node0").public_key()));
    assert!((before..=now()).contains(&statement.time));
    assert_eq!(statement.old_lock_hash, hash("before/node0"));
    assert_eq!(statement.new_lock_hash, hash("recreate-private-keys/node0"));
    let closed = env.run(&open).exits(3);
    assert!(
        closed.stderr.contains("has stated that it stopped"),
        "{closed}"
    );

    let abandoned = env.run(&["edit", "abandon", "--yes"]).exits(0);
    assert!(abandoned.stdout.contains("may start again"), "{abandoned}");
    env.run(&open).exits(0);
    env.run(&["edit", "status"]).exits(3);
    // The files stay as evidence. The same edit is never held again: the lines for it no longer hold. Another one is.
    assert!(env.state("edits").is_dir());
    let refused = hold(&env, kind, 0).exits(3);
    assert!(refused.stderr.contains("was given up here"), "{refused}");
    hold(&env, "replace-operator", 0).exits(0);
}

/// Old and new keys come back together: held where they were held, and stopped where they were stopped.
#[test]
fn a_backup_of_a_held_edit_brings_it_back_held() {
    let kind = "recreate-private-keys";
    let env = old_node();
    hold(&env, kind, 0).exits(0);
    status(&env, &receipts_of(kind));
    env.run(&["edit", "stopped", "--without-docker"]).exits(0);

    let identity = age::x25519::Identity::generate();
    let secret = env.path("identity.txt");
    fs::write(
        &secret,
        age::secrecy::ExposeSecret::expose_secret(&identity.to_string()),
    )
    .unwrap();
    let recipient = identity.to_public().to_string();
    let file = env.path("held.age").display().to_string();
    let back_up = |env: &TestEnv, file: &str| env.run(&["backup", file, "--recipient", &recipient]);
    let made = back_up(&env, &file).exits(0);
    assert!(
        made.stdout.contains("the copy passes verification"),
        "{made}"
    );
    let current = env.run(&["status"]).exits(0);
    assert!(
        current.stdout.contains("nothing changed since"),
        "{current}"
    );
    let restore = |env: &TestEnv, file: &str| {
        let identity = secret.display().to_string();
        env.run(&["backup", "restore", file, "--identity", &identity, "--yes"])
    };

    let other = TestEnv::new();
    let restored = restore(&other, &file).exits(0);
    assert!(restored.stdout.contains("is held again"), "{restored}");
    assert_eq!(content(&other.data("")), content(&env.data("")));
    assert_eq!(content(&other.state("edit")), content(&env.state("edit")));
    let closed = other
        .run(&["gate", "check", "--require", "verified"])
        .exits(3);
    assert!(
        closed.stderr.contains("has stated that it stopped"),
        "{closed}"
    );
    // All the same goes on from there: the others have stopped long ago.
    fs::remove_file(other.state("edit/stopped.txt")).unwrap();
    let lines: Vec<String> = (0..4)
        .map(|node| stopped(kind, node, now() - 3600))
        .collect();
    assert_eq!(met(&status(&other, &lines.join("\n"))), [true; 3]);
    other.run(&SWITCH).exits(0);
    assert_eq!(
        content(&other.data("")),
        content(&edits("recreate-private-keys/node0"))
    );

    // A new operator has nothing but the key and what is held.
    let new = TestEnv::new();
    new.put(
        KEY,
        &fs::read(edits("add-operators/node4").join(KEY)).unwrap(),
    );
    let previous = edits("before/node0").join(LOCK).display().to_string();
    let dir = edits("add-operators/node4").display().to_string();
    new.run(&["edit", "hold", &dir, "--previous-lock", &previous])
        .exits(0);
    let theirs = env.path("new.age").display().to_string();
    back_up(&new, &theirs).exits(0);
    let third = TestEnv::new();
    restore(&third, &theirs).exits(0);
    assert_eq!(content(&third.state("edit")), content(&new.state("edit")));
    third.run(&["edit", "status"]).exits(0);

    // What was given up stays given up, and what is not right is said.
    env.run(&["edit", "abandon", "--yes"]).exits(0);
    fs::remove_file(env.data(LOCK)).unwrap();
    let before = (content(&env.data("")), content(&env.state("")));
    let refused = restore(&env, &file).exits(3);
    assert!(refused.stderr.contains("given up here since"), "{refused}");
    assert_eq!((content(&env.data("")), content(&env.state(""))), before);
    let spoiled = new.state("edit/new/validator_keys/keystore-0.txt");
    fs::write(&spoiled, "another password").unwrap();
    let bad = env.path("bad.age").display().to_string();
    back_up(&new, &bad).exits(4);
    let fourth = TestEnv::new();
    restore(&fourth, &bad).exits(4);
    assert!(!fourth.data("").exists() && !fourth.state("edit").exists());
}

#[test]
fn what_is_not_this_nodes_edit_is_not_held() {
    let env = old_node();
    // Another operator's files, no edit at all, and one of which a file is damaged.
    let refused = hold(&env, "replace-operator", 1).exits(3);
    assert!(
        refused
            .stderr
            .contains("has another charon-enr-private-key"),
        "{refused}"
    );
    let refused = hold(&env, "before", 0).exits(4);
    assert!(refused.stderr.contains("[edit-kind]"), "{refused}");
    let copy = env.path("copy");
    for (name, bytes) in files_below(&edits("replace-operator/node0")) {
        let path = copy.join(&name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let old = edits("before/node0/validator_keys/keystore-0.json");
    fs::copy(old, copy.join("validator_keys/keystore-0.json")).unwrap();
    let refused = env.run(&["edit", "hold", copy.to_str().unwrap()]).exits(4);
    assert!(refused.stderr.contains("[edit-keystores]"), "{refused}");
    assert!(!env.state("edit").exists());
    // One at a time.
    hold(&env, "replace-operator", 0).exits(0);
    hold(&env, "replace-operator", 0).exits(0);
    hold(&env, "remove-operators", 0).exits(3);
}

#[test]
fn lines_for_other_edits_or_by_others_do_not_count() {
    let kind = "recreate-private-keys";
    let env = old_node();
    hold(&env, kind, 0).exits(0);
    let long_ago = now() - 5000;
    let forged = {
        let line = stopped(kind, 1, long_ago);
        let statement = StoppedLine::parse(&line).unwrap().statement().clone();
        StoppedLine::sign(statement, &key("before/node2")).unwrap()
    };
    let chat = format!(
        "{}\n{}\n{}\n{}\n{forged}\n",
        receipts_of(kind),
        stopped(kind, 0, long_ago),
        stopped("replace-operator", 2, long_ago),
        stopped(kind, 3, long_ago),
    );
    let document = status(&env, &chat);
    assert_eq!(met(&document), [true, false, false]);
    let seen = document["conditions"][1]["seen"].as_str().unwrap();
    assert!(seen.contains("operator 2 of 4, operator 3 of 4"), "{seen}");
}

#[test]
fn a_new_operator_names_the_lock_and_an_operator_who_was_removed_retires() {
    let kind = "replace-operator";
    let new = TestEnv::with_fixture_key();
    new.put(
        KEY,
        &fs::read(edits("replace-operator/node1").join(KEY)).unwrap(),
    );
    hold(&new, kind, 1).exits(3);
    let dir = edits("replace-operator/node1");
    let before = edits("before/node0/cluster-lock.json");
    let asked = [
        "edit",
        "hold",
        dir.to_str().unwrap(),
        "--previous-lock",
        before.to_str().unwrap(),
    ];
    new.run(&asked).exits(0);
    new.run(&["edit", "stopped", "--without-docker"]).exits(3);
    let lines: Vec<String> = [0, 2, 3]
        .map(|node| stopped(kind, node, now() - 5000))
        .to_vec();
    status(
        &new,
        &format!("{}\n{}", receipts_of(kind), lines.join("\n")),
    );
    new.run(&SWITCH).exits(0);
    assert_eq!(content(&new.data("")), content(&dir));

    // The second operator of the old lock: the key and the lock are all that is needed here.
    let old = TestEnv::with_fixture_key();
    old.put(KEY, &fs::read(edits("before/node1").join(KEY)).unwrap());
    old.put(LOCK, &fs::read(&before).unwrap());
    let retire = |lock: &str| {
        let lock = edits(lock);
        let asked = [
            "edit",
            "retire",
            "--new-lock",
            lock.to_str().unwrap(),
            "--without-docker",
            "--yes",
        ];
        old.run(&asked)
    };
    retire("recreate-private-keys/node0/cluster-lock.json").exits(3);
    retire("before/node0/cluster-lock.json").exits(4);
    let retired = retire("replace-operator/node0/cluster-lock.json").exits(0);
    let line = StoppedLine::parse(retired.stdout.trim()).unwrap();
    assert_eq!(line.statement().node, NodeIndex::new(1));
    assert!(!old.data(LOCK).exists() && old.data(KEY).exists());
    assert!(
        fs::read_to_string(old.state("closed-locks.json"))
            .unwrap()
            .contains("retired")
    );
}
