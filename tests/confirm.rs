//! `receipt` and `confirm` as operators type them, over the data directories of a real ceremony.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail best where they stand"
)]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use charon_dkg::ceremony::attempt::{Attempt, RECORD_FORMAT, Record, State};
use charon_dkg::machine::datadir::{self, Layout};
use charon_files::cluster::NodeIndex;
use charon_files::keys::k1::EnrKey;
use charon_proof::receipt::Receipt;
use serde_json::Value;

const CEREMONY: &str = "charon-v1.10.3-def-v1.10.0-n4-v2-signed";

/// What a command said and how it ended.
struct Said {
    code: i32,
    out: String,
    err: String,
}

/// The projects of all operators, each as `run` leaves it, but for what `run` keeps beside it.
struct Group {
    base: tempfile::TempDir,
}

impl Group {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        for node in 0..4 {
            copy(
                &fixture(node),
                &base.path().join(format!("op{}/.charon", node + 1)),
            );
        }
        Self { base }
    }

    fn dir(&self, operator: usize) -> PathBuf {
        self.base.path().join(format!("op{operator}"))
    }

    fn run_with_input(&self, operator: usize, args: &[&str], input: &str) -> Said {
        let mut child = Command::new(env!("CARGO_BIN_EXE_charon-dkg"))
            .args(args)
            .args(["--dir".as_ref(), self.dir(operator).as_os_str()])
            .args(["--progress", "quiet"])
            .current_dir(self.base.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        Said {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn run(&self, operator: usize, args: &[&str]) -> Said {
        self.run_with_input(operator, args, "")
    }

    fn receipt(&self, operator: usize) -> String {
        let said = self.run(operator, &["receipt"]);
        assert_eq!(said.code, 0, "{}", said.err);
        said.out.trim_end().to_owned()
    }

    fn key(&self, operator: usize) -> EnrKey {
        let file = self.dir(operator).join(".charon/charon-enr-private-key");
        EnrKey::parse(&fs::read(file).unwrap()).unwrap()
    }

    /// What this operator says when their program says something else.
    fn lie(
        &self,
        operator: usize,
        text: &str,
        edit: impl FnOnce(&mut charon_proof::receipt::Statement),
    ) -> String {
        let mut statement = Receipt::parse(text).unwrap().statement().clone();
        edit(&mut statement);
        let receipt = Receipt::sign(statement, &self.key(operator)).unwrap();
        receipt.to_string()
    }
}

fn fixture(node: usize) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/ceremonies")
        .join(CEREMONY)
        .join(format!("node{node}/.charon"))
}

/// Copies a directory with the modes that a promotion gives.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = (
            entry.as_ref().unwrap().path(),
            to.join(entry.as_ref().unwrap().file_name()),
        );
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::write(&target, fs::read(&path).unwrap()).unwrap();
            fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

/// The output without what differs from run to run.
fn stable(text: &str) -> String {
    let mut stable = String::new();
    for word in text.split_inclusive(char::is_whitespace) {
        let bare = word.trim_end();
        let is_time = bare.trim_end_matches(',').ends_with('Z') && bare.contains('T');
        if is_time {
            stable.push_str("[time]");
            stable.push_str(&word[bare.trim_end_matches(',').len()..]);
        } else if bare.starts_with('/') && bare.ends_with("/op1") {
            stable.push_str("[dir]");
            stable.push_str(&word[bare.len()..]);
        } else {
            stable.push_str(word);
        }
    }
    stable
}

#[test]
fn three_of_four_are_not_enough_and_the_fourth_opens() {
    let group = Group::new();
    let receipts: Vec<String> = (1..=4).map(|operator| group.receipt(operator)).collect();
    for (node, text) in receipts.iter().enumerate() {
        let receipt = Receipt::parse(text).unwrap();
        assert_eq!(receipt.statement().node, NodeIndex::new(node));
        assert!(text.len() <= 500);
        // Nothing has changed, so nothing new is said.
        assert_eq!(group.receipt(node + 1), *text);
    }

    let said = group.run(1, &["confirm", &receipts[1], &receipts[2]]);
    assert_eq!(said.code, 4);
    insta::assert_snapshot!(stable(&said.out), @r"
    lock_hash 0xf1e7bcd1231cae32ab43e48813654736cca0bfafd1ecf25cfe2c2730012c527a
    operator  address                                    receipt           what
    1 of 4    0x992d2B3D8764FcF90c7863BE864C6F6507545fB9 valid             [time], charon unknown, 2 keystores (this node)
    2 of 4    0x98Aa31BBaC59eCE69612C65aBEebEc496aaD7902 valid             [time], charon unknown, 2 keystores
    3 of 4    0x3522F09061bFcfe54D1727665Ea1139e626d5e8C valid             [time], charon unknown, 2 keystores
    4 of 4    0x21Dbe8D2A81464F923db00eACa3d518FD136B862 MISSING           no receipt
    3 of 4 operators have everything; no receipt: operator 4 (0x21Dbe8D2A81464F923db00eACa3d518FD136B862)
    ");
    insta::assert_snapshot!(stable(&said.err), @r"
    COULD NOT TELL [receipt-missing] operator 4 of 4 (0x21Dbe8D2A81464F923db00eACa3d518FD136B862)
        seen:     no receipt
        expected: a receipt
        next:     ask them for the line that `docker charon-dkg receipt` prints
    note [receipt-image] operator 1 of 4 (0x992d2B3D8764FcF90c7863BE864C6F6507545fB9), operator 2 of 4 (0x98Aa31BBaC59eCE69612C65aBEebEc496aaD7902), operator 3 of 4 (0x3522F09061bFcfe54D1727665Ea1139e626d5e8C)
        seen:     no charon release, since the ceremony was not run with this program
        expected: a release
    error: 3 of 4 operators have everything; no receipt: operator 4 (0x21Dbe8D2A81464F923db00eACa3d518FD136B862)
    hint: do not start the cluster until every operator has confirmed
    hint: ask the missing operators to run `docker charon-dkg receipt` and to paste the line; then `charon-dkg --dir [dir] confirm -`, and paste it or the whole chat
    ");

    // The last one comes with a whole chat log; the others are still known.
    let log = format!("bob: hello\nbob: > `{}`\ncarol: thanks", receipts[3]);
    fs::write(group.base.path().join("chat.txt"), log).unwrap();
    let said = group.run(1, &["confirm", "chat.txt"]);
    assert_eq!(said.code, 0, "{}", said.err);
    insta::assert_snapshot!(stable(&said.out), @r"
    lock_hash 0xf1e7bcd1231cae32ab43e48813654736cca0bfafd1ecf25cfe2c2730012c527a
    operator  address                                    receipt           what
    1 of 4    0x992d2B3D8764FcF90c7863BE864C6F6507545fB9 valid             [time], charon unknown, 2 keystores (this node)
    2 of 4    0x98Aa31BBaC59eCE69612C65aBEebEc496aaD7902 valid             [time], charon unknown, 2 keystores
    3 of 4    0x3522F09061bFcfe54D1727665Ea1139e626d5e8C valid             [time], charon unknown, 2 keystores
    4 of 4    0x21Dbe8D2A81464F923db00eACa3d518FD136B862 valid             [time], charon unknown, 2 keystores
    4 of 4 operators have everything, and all have the same
    ");
    for args in [&["confirm"][..], &["confirm", "--format", "json"]] {
        assert_eq!(group.run(1, args).code, 0);
    }

    // One line carries all of it on, also to somebody who has the lock only.
    let bundle = group.run(1, &["confirm", "--bundle"]).out;
    assert_eq!(bundle.trim_end(), receipts.join("\n"));
    let before = group.run(2, &["confirm", "--bundle"]);
    assert_eq!((before.code, before.out.as_str()), (4, "\n"));
    assert_eq!(group.run_with_input(2, &["confirm", "-"], &bundle).code, 0);
    let lock = fixture(0).join("cluster-lock.json");
    let deposit = fixture(0).join("deposit-data.json");
    let coordinator = |rest: &[&str]| {
        let lock = ["confirm", "--lock", lock.to_str().unwrap()];
        group.run_with_input(3, &[&lock[..], rest].concat(), &bundle)
    };
    assert_eq!(coordinator(&["-"]).code, 0);
    assert_eq!(coordinator(&[]).code, 4);
    assert_eq!(coordinator(&[&receipts[0], &receipts[1]]).code, 4);
    // One of the operators' two files is measure enough; a changed one is not what they have.
    let some = coordinator(&["-", "--deposit", deposit.to_str().unwrap()]);
    assert_eq!(some.code, 0, "{}", some.err);
    let changed = group.base.path().join("deposit-data.json");
    fs::write(
        &changed,
        [fs::read(&deposit).unwrap(), b"\n".to_vec()].concat(),
    )
    .unwrap();
    let said = coordinator(&["-", "--deposit", changed.to_str().unwrap()]);
    assert_eq!(said.code, 4);
    assert!(
        said.err.contains("other deposit data files: operator 1"),
        "{}",
        said.err
    );
    // Whoever judges by a lock keeps nothing.
    assert_eq!(group.run(3, &["confirm"]).code, 4);
}

#[test]
fn what_lies_there_is_proved_each_time() {
    let group = Group::new();
    let receipts: Vec<String> = (1..=4).map(|operator| group.receipt(operator)).collect();
    let all: Vec<&str> = receipts.iter().map(String::as_str).collect();
    assert_eq!(group.run(1, &[&["confirm"], &all[..]].concat()).code, 0);
    let data_dir = group.dir(1).join(".charon");
    for name in [
        "validator_keys/keystore-1.json",
        "validator_keys/keystore-0.txt",
        "deposit-data.json",
        "cluster-lock.json",
    ] {
        let path = data_dir.join(name);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        let at = bad.iter().rposition(u8::is_ascii_digit).unwrap();
        bad[at] = if bad[at] == b'0' { b'1' } else { b'0' };
        fs::write(&path, bad).unwrap();
        let said = group.run(1, &["confirm"]);
        assert_eq!(said.code, 4, "{name}");
        assert!(said.out.is_empty(), "{name}: {}", said.out);
        assert_eq!(group.run(1, &["receipt"]).code, 4, "{name}");
        fs::write(&path, good).unwrap();
        assert_eq!(group.run(1, &["confirm"]).code, 0, "{name}");
    }

    // A kept receipt that somebody damaged is as good as none, and a mark would be worth nothing.
    let kept = group.dir(1).join(".charon-dkg/receipts");
    let kept = fs::read_dir(kept).unwrap().next().unwrap().unwrap().path();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&kept), 0o600);
    let text = fs::read_to_string(&kept).unwrap();
    fs::write(&kept, text.replace(&receipts[2], &receipts[2][..200])).unwrap();
    let said = group.run(1, &["confirm"]);
    assert_eq!(said.code, 4);
    assert!(said.err.contains("no receipt: operator 3"), "{}", said.err);
}

#[test]
fn a_conflict_is_remembered_until_it_is_settled() {
    let group = Group::new();
    let receipts: Vec<String> = (1..=4).map(|operator| group.receipt(operator)).collect();
    let all: Vec<&str> = receipts.iter().map(String::as_str).collect();
    assert_eq!(group.run(1, &[&["confirm"], &all[..]].concat()).code, 0);
    let other = group.lie(3, &receipts[2], |it| {
        it.charon_version = Some("v1.10.2".parse().unwrap());
        it.time += 60;
    });
    let said = group.run(1, &["confirm", &other]);
    assert_eq!(said.code, 4);
    assert!(
        said.err
            .contains("receipts that contradict each other: operator 3"),
        "{}",
        said.err
    );
    assert!(
        said.err.contains("with different charon releases"),
        "{}",
        said.err
    );
    assert!(said.err.contains("confirm --forget N"), "{}", said.err);
    assert_eq!(group.run(1, &["confirm"]).code, 4, "it is remembered");
    assert_eq!(
        group.run(1, &["confirm", "--forget", "3"]).code,
        4,
        "now it is missing"
    );
    assert_eq!(group.run(1, &["confirm", &receipts[2]]).code, 0);
    assert_eq!(group.run(1, &["confirm", "--forget", "5"]).code, 2);
    // What is on this disk is this node's own word.
    let own = group.lie(1, &receipts[0], |it| it.keystores = 1);
    assert_eq!(group.run(1, &["confirm", &own]).code, 4);
    assert_eq!(group.run(1, &["confirm", "--forget", "1"]).code, 0);
}

#[test]
fn what_is_typed_wrong_is_said_and_nothing_is_kept() {
    let group = Group::new();
    let receipt = group.receipt(2);
    for args in [
        &["confirm", "chatt.txt"][..],
        &["confirm", "--deposit", "x"],
        &["confirm", "--forget", "0"],
        &["confirm", "--lock", "x", "--forget", "1"],
    ] {
        assert_eq!(group.run(1, args).code, 2, "{args:?}");
    }
    let said = group.run(1, &["confirm", "chatt.txt"]);
    assert!(
        said.err
            .contains("chatt.txt is neither a file nor a receipt"),
        "{}",
        said.err
    );
    // Pasted without quotes and wrapped: several words.
    let (first, last) = receipt.split_at(100);
    let said = group.run(1, &["confirm", first, last, "--format", "json"]);
    assert_eq!(said.code, 4);
    let document: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(document["schema"], "charon-dkg.confirm/1");
    assert_eq!(document["confirmed"], false);
    let statuses: Vec<&str> = (0..4)
        .map(|at| document["operators"][at]["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["valid", "valid", "missing", "missing"]);
    // A clipped one is said to be clipped, and whose it is.
    let said = group.run(3, &["confirm", first]);
    assert!(said.err.contains("only 100 of"), "{}", said.err);
    assert!(
        said.err.contains("which says operator 2 of 4"),
        "{}",
        said.err
    );
}

#[test]
fn the_receipt_is_a_document_too() {
    let group = Group::new();
    let text = group.receipt(4);
    let said = group.run(4, &["receipt", "--format", "json"]);
    let document: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(document["schema"], "charon-dkg.receipt/1");
    assert_eq!(document["receipt"]["text"], *text);
    assert_eq!(document["receipt"]["charon_version"], Value::Null);
    let secret = fs::read_to_string(group.dir(4).join(".charon/charon-enr-private-key")).unwrap();
    for said in [said.out, said.err] {
        assert!(!said.contains(secret.trim()));
    }
}

#[test]
fn the_record_of_proved_keystores_is_of_no_use_elsewhere() {
    let group = Group::new();
    group.receipt(1);
    group.receipt(2);
    let record = |operator: usize| {
        group
            .dir(operator)
            .join(".charon-dkg/proved-keystores.json")
    };
    let (one, two) = (fs::read(record(1)).unwrap(), fs::read(record(2)).unwrap());
    assert_ne!(one, two);
    // It is refused, everything is proved from the beginning, and written anew.
    fs::write(record(2), &one).unwrap();
    group.receipt(2);
    assert_eq!(fs::read(record(2)).unwrap(), two);
}

#[test]
fn nothing_that_was_given_is_without_effect() {
    let group = Group::new();
    let receipts: Vec<String> = (1..=3).map(|operator| group.receipt(operator)).collect();
    // A file may have the name of what it holds.
    let file = group.base.path().join("dkgreceipt1-bob.txt");
    fs::write(&file, &receipts[1]).unwrap();
    let said = group.run(1, &["confirm", "dkgreceipt1-bob.txt"]);
    assert!(said.out.starts_with("lock_hash"), "{}", said.err);
    assert!(said.err.contains("2 of 4 operators"), "{}", said.err);
    fs::remove_file(file).unwrap();
    // Where there is no such file, or a word is no part of a receipt, that is said.
    let (first, last) = receipts[2].split_at(100);
    for (words, stray) in [
        (&["dkgreceipt1-bob.txt"][..], "dkgreceipt1-bob.txt"),
        (&[&receipts[2], "chatt.txt"], "chatt.txt"),
        (&["chatt.txt", &receipts[2]], "chatt.txt"),
        (&[first, last, "chatt.txt"], "chatt.txt"),
    ] {
        let said = group.run(1, &[&["confirm"], words].concat());
        assert_eq!(said.code, 2, "{words:?}: {}", said.err);
        let expected = format!("{stray} is neither a file nor a receipt");
        assert!(said.err.contains(&expected), "{words:?}: {}", said.err);
    }
    // A chat without a receipt is one with nothing in it.
    fs::write(group.base.path().join("chat.txt"), "soon!\n").unwrap();
    let said = group.run(1, &["confirm", "chat.txt"]);
    assert_eq!(said.code, 4);
    assert!(
        said.err.contains("note [receipt-text] chat.txt"),
        "{}",
        said.err
    );
    assert!(said.err.contains("no receipt in it"), "{}", said.err);
    // And a key is none, and is not shown.
    let key = hex::encode([0x5a; 32]);
    fs::write(group.base.path().join("key.txt"), &key).unwrap();
    for word in [key.as_str(), "key.txt"] {
        let said = group.run(1, &["confirm", word]);
        assert_eq!(said.code, 2);
        assert!(
            said.err.contains("never send an ENR private key"),
            "{}",
            said.err
        );
        assert!(!said.err.contains(&key));
    }
}

#[test]
fn a_key_in_a_chat_is_called_one_and_receipts_beside_it_count() {
    let group = Group::new();
    let receipts: Vec<String> = (2..=3).map(|operator| group.receipt(operator)).collect();
    let key = hex::encode([0x5a; 32]);
    let chat = format!("{}\nBob: oops, mine is {key}\n", receipts.join("\n"));
    fs::write(group.base.path().join("chat.txt"), &chat).unwrap();
    let said = group.run(1, &["confirm", "chat.txt"]);
    assert_eq!(said.code, 4, "{}", said.err);
    for text in [
        "3 of 4 operators have everything",
        "note [pasted-secret] chat.txt, line 3",
        "never send an ENR private key",
    ] {
        assert!(said.err.contains(text), "{}", said.err);
    }
    assert!(!said.err.contains(&key) && !said.out.contains(&key));
}

/// A terminal that edits lines takes 4095 bytes of one and drops the rest.
#[test]
fn a_line_longer_than_a_terminal_takes_is_pasted_whole() {
    let group = Group::new();
    let receipts: Vec<String> = (1..=4).map(|operator| group.receipt(operator)).collect();
    let filler = "long lines of a chat ".repeat(300);
    let pasted = format!("{filler}{}\n\u{4}", receipts.join(" "));
    let keyboard =
        rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY)
            .unwrap();
    rustix::pty::grantpt(&keyboard).unwrap();
    rustix::pty::unlockpt(&keyboard).unwrap();
    let name = rustix::pty::ptsname(&keyboard, Vec::new()).unwrap();
    let terminal = File::options()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_charon-dkg"))
        .args(["confirm", "-", "--dir"])
        .arg(group.dir(1))
        .args(["--progress", "plain"])
        .stdin(terminal)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut asked = String::new();
    err.read_line(&mut asked).unwrap();
    assert!(asked.contains("paste the receipts"), "{asked}");
    assert!(asked.contains("Ctrl-D"), "{asked}");
    let mut keyboard = File::from(keyboard);
    // What is typed is shown; somebody has to look at it.
    let mut screen = keyboard.try_clone().unwrap();
    std::thread::spawn(move || std::io::copy(&mut screen, &mut std::io::sink()));
    keyboard.write_all(pasted.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{out}");
    assert!(out.contains("4 of 4 operators have everything"), "{out}");
}

/// What `run` leaves where the policy asks for it: proved outputs in their stage, and the inputs where they were.
fn hold(group: &Group, operator: usize) -> PathBuf {
    let layout = Layout::resolve(&group.dir(operator), None).unwrap();
    datadir::create_state_dir(&layout).unwrap();
    let attempt = Attempt::create(&layout, |_| Record {
        format: RECORD_FORMAT,
        flags: Vec::new(),
        hold: true,
        edit: None,
        definition_hash: format!("0x{}", "ab".repeat(32)),
        enr_id: "0123456789abcdef".to_owned(),
        charon_image: "obolnetwork/charon@sha256:00".to_owned(),
        charon_version: "v1.10.3".to_owned(),
        container: "charon-dkg-test".to_owned(),
        engine: "unix:///var/run/docker.sock".to_owned(),
        started: "2026-01-02T03:04:05Z".to_owned(),
        state: State::Prepared,
    })
    .unwrap();
    for state in [State::Running, State::CharonDone { exit: 0 }] {
        attempt.advance(&layout, state).unwrap();
    }
    attempt.clear_placeholders(&layout).unwrap();
    for name in names(&group.dir(operator).join(".charon")) {
        if name != "charon-enr-private-key" && name != "cluster-definition.json" {
            let from = layout.data_dir().join(&name);
            fs::rename(from, attempt.stage().join(&name)).unwrap();
        }
    }
    attempt.advance(&layout, State::Held).unwrap();
    attempt.stage()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

const INPUTS: [&str; 2] = ["charon-enr-private-key", "cluster-definition.json"];

#[test]
fn held_keys_move_with_the_last_receipt() {
    let group = Group::new();
    let data_dir = group.dir(1).join(".charon");
    let everything = names(&data_dir);
    let stage = hold(&group, 1);
    let receipts: Vec<String> = (1..=4).map(|operator| group.receipt(operator)).collect();
    let here = format!("your keys are complete and safe in {}", stage.display());
    let said = group.run(1, &["verify"]);
    assert_eq!(
        (said.code, said.out.contains(&here)),
        (0, true),
        "{}",
        said.out
    );

    let said = group.run(1, &["confirm", &receipts[1], &receipts[2]]);
    assert_eq!(said.code, 4, "{}", said.err);
    for words in [&*here, "when all 4 operators have confirmed"] {
        assert!(said.err.contains(words), "{}", said.err);
    }
    assert_eq!(names(&data_dir), INPUTS);
    let said = group.run(1, &["status"]);
    for words in [
        &*here,
        "no receipt: operator 4",
        "attempt 1",
        "held",
        "confirm -",
    ] {
        assert!(said.out.contains(words), "{}", said.out);
    }
    let said = group.run(1, &["gate", "check"]);
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains(&here), "{}", said.err);
    for verb in ["plan", "run"] {
        let said = group.run(1, &[verb]);
        assert_eq!(said.code, 3, "{}", said.err);
        assert!(said.err.contains("complete and safe"), "{}", said.err);
    }

    let said = group.run(1, &["confirm", &receipts[3]]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("your keys were held"), "{}", said.out);
    assert_eq!(names(&data_dir), everything);
    assert!(names(&stage).is_empty());
    let said = group.run(1, &["confirm"]);
    assert_eq!((said.code, said.out.contains("held")), (0, false));
    let said = group.run(1, &["verify"]);
    assert_eq!((said.code, said.out.contains("safe in")), (0, false));
    assert!(group.run(1, &["gate", "check"]).code == 0);
}

#[test]
fn fifty_who_confirm_at_once_promote_once() {
    let group = Group::new();
    let data_dir = group.dir(1).join(".charon");
    let everything = names(&data_dir);
    let stage = hold(&group, 1);
    let receipts: Vec<String> = (2..=4).map(|operator| group.receipt(operator)).collect();
    let words: Vec<&str> = std::iter::once("confirm")
        .chain(receipts.iter().map(String::as_str))
        .collect();
    let ends: Vec<Said> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..50)
            .map(|_| scope.spawn(|| group.run(1, &words)))
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let moved = ends.iter().filter(|end| end.out.contains("were held"));
    assert_eq!(moved.count(), 1);
    for end in &ends {
        // Done, or told who else was at work.
        assert!([0, 5].contains(&end.code), "{}", end.err);
    }
    assert_eq!(names(&data_dir), everything);
    assert!(names(&stage).is_empty());
    assert_eq!(group.run(1, &["verify"]).code, 0);
}

#[test]
fn nobody_promotes_without_everybody_by_a_flag_alone() {
    let group = Group::new();
    let stage = hold(&group, 1);
    for more in [&[][..], &["--yes"]] {
        let said = group.run(1, &[&["confirm", "--promote-anyway"], more].concat());
        assert_eq!(said.code, 3, "{}", said.err);
        for words in [
            "every deposit into it is lost",
            "promote without all receipts",
        ] {
            assert!(said.err.contains(words), "{}", said.err);
        }
        assert_eq!(names(&group.dir(1).join(".charon")), INPUTS);
        assert!(stage.join("cluster-lock.json").is_file());
    }
    // Where nothing is held, there is nothing to promote.
    let said = group.run(2, &["confirm", "--promote-anyway"]);
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains("no keys are held"), "{}", said.err);
}

#[test]
fn a_held_ceremony_that_is_given_up_keeps_its_files_and_a_key_that_is_lost_is_not_made_anew() {
    let group = Group::new();
    let stage = hold(&group, 1);
    let kept = names(&stage);
    let key = group.dir(1).join(".charon/charon-enr-private-key");
    let bytes = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    let said = group.run(1, &["enr"]);
    assert_ne!(said.code, 0, "{}", said.out);
    assert!(!key.exists());
    fs::write(&key, bytes).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();

    let said = group.run(1, &["archive", "--yes"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.out.contains(&stage.display().to_string()),
        "{}",
        said.out
    );
    assert_eq!(names(&stage), kept);
    let said = group.run(1, &["receipt"]);
    assert_eq!(said.code, 4, "{}", said.err);
    let said = group.run(1, &["status"]);
    assert!(said.out.contains("given up"), "{}", said.out);
}

#[test]
fn what_was_backed_up_while_it_was_held_is_held_again_when_it_is_restored() {
    let group = Group::new();
    let everything = names(&group.dir(1).join(".charon"));
    let stage = hold(&group, 1);
    let receipts: Vec<String> = (1..=4).map(|operator| group.receipt(operator)).collect();
    let secret = group.base.path().join("passphrase");
    fs::write(&secret, "a passphrase of a test, long enough\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let (secret, file) = (secret.to_str().unwrap().to_owned(), "held.age");
    let words = ["backup", file, "--passphrase-file", &secret];
    let said = group.run(1, &words);
    assert_eq!(said.code, 0, "{}", said.err);

    // Another machine.
    let kept = group.dir(1).with_extension("off");
    fs::rename(group.dir(1), &kept).unwrap();
    fs::create_dir(group.dir(1)).unwrap();
    let words = [
        "backup",
        "restore",
        file,
        "--passphrase-file",
        &secret,
        "--yes",
    ];
    let said = group.run(1, &words);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.out.contains("when all 4 operators have confirmed"),
        "{}",
        said.out
    );
    assert_eq!(names(&group.dir(1).join(".charon")), INPUTS);
    assert_eq!(group.run(1, &["gate", "check"]).code, 3);
    let said = group.run(1, &words);
    assert_eq!(said.code, 0, "again: {}", said.err);

    // Another attempt in its place is not mixed with it.
    let password = stage.join("validator_keys/keystore-0.txt");
    let right = fs::read(&password).unwrap();
    fs::write(&password, "other").unwrap();
    let said = group.run(1, &words);
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains("keystore-0.txt"), "{}", said.err);
    fs::write(&password, right).unwrap();

    let all: Vec<&str> = receipts.iter().map(String::as_str).collect();
    let said = group.run(1, &[&["confirm"], all.as_slice()].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(names(&group.dir(1).join(".charon")), everything);
    assert_eq!(group.run(1, &["verify"]).code, 0);
    // What was backed up is what is there now.
    let said = group.run(1, &["status"]);
    assert!(said.out.contains("nothing changed since"), "{}", said.out);
}
