//! Files of the wrong kind, where charon's are asked for: what the file is, and what to do.

use std::fs;

use charon_files::cluster::definition::Definition;

use crate::support::{CEREMONY, DEFINITION, LOCK, TestEnv, fixture};

const ONLY_SOME_SIGNED: &str = "charon-v1.10.3-def-v1.10.0-n4-v2-signed";

fn utf16(text: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(text).unwrap();
    let units = ["\u{feff}", text].concat();
    units.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn a_file_of_the_wrong_kind_is_called_what_it_is() {
    let env = TestEnv::with_key();
    let definition = fs::read(fixture(CEREMONY, 0).join(DEFINITION)).unwrap();
    let lock = fs::read(fixture(CEREMONY, 0).join(LOCK)).unwrap();
    let quoted = String::from_utf8(definition.clone())
        .unwrap()
        .replace('"', "\u{201d}");
    let files: [(&str, Vec<u8>, &str, &str); 8] = [
        (
            "lock.json",
            lock,
            "is a cluster lock",
            "proves a cluster lock",
        ),
        (
            "message.json",
            br#"{"message": "cluster not found"}"#.to_vec(),
            "a server's answer instead of the file: cluster not found",
            "ask for the address",
        ),
        (
            "page.json",
            b"<!DOCTYPE html><html></html>".to_vec(),
            "is a saved web page",
            "ask for the address",
        ),
        (
            "powershell.json",
            utf16(&definition),
            "PowerShell",
            "get the file again",
        ),
        (
            "word.json",
            quoted.into_bytes(),
            "quotation marks",
            "get the file again",
        ),
        (
            "old.json",
            br#"{"name": "x", "operators": [], "num_validators": 1}"#.to_vec(),
            "without a version",
            "v1.0.0 to v1.11.0",
        ),
        (
            "empty.json",
            Vec::new(),
            "an empty file",
            "get the file again",
        ),
        (
            "shares.json",
            br#"{"crypto": {}, "version": 4}"#.to_vec(),
            "is a keystore",
            "never send",
        ),
    ];
    for (name, bytes, seen, advice) in files {
        fs::write(env.project().join(name), bytes).unwrap();
        let plan = env.run(&["plan", "--definition", name]).exits(3);
        let verify = env.run(&["verify", "--definition", name]).exits(4);
        for outcome in [plan, verify] {
            assert!(outcome.stderr.contains(seen), "{name}: {outcome}");
            assert!(outcome.stderr.contains(advice), "{name}: {outcome}");
            assert!(
                !outcome.stderr.contains("newer version of this"),
                "{name}: {outcome}"
            );
        }
        if name != "lock.json" {
            let outcome = env.run(&["verify", "--lock", name]).exits(4);
            assert!(outcome.stderr.contains(seen), "{name}: {outcome}");
        }
    }
    // The other way round, wherever a lock is taken.
    fs::write(env.project().join("definition.json"), &definition).unwrap();
    for words in [
        &["verify", "--lock", "definition.json"][..],
        &["confirm", "--lock", "definition.json"],
    ] {
        let outcome = env.run(words).exits(4);
        assert!(
            outcome.stderr.contains("is a cluster definition"),
            "{outcome}"
        );
        assert!(
            outcome
                .stderr
                .contains("verify --definition definition.json"),
            "{outcome}"
        );
    }
    let outcome = env
        .run(&[
            "verify",
            "--lock",
            "lock.json",
            "--deposit",
            "definition.json",
        ])
        .exits(4);
    assert!(
        outcome.stderr.contains("expected deposit data"),
        "{outcome}"
    );
}

/// As the launchpad gives it while it waits: the address is known from the invitation, and the rest is empty.
#[test]
fn an_operator_who_has_not_approved_yet_is_waited_for_once() {
    let env = TestEnv::new();
    let bytes = fs::read(fixture(ONLY_SOME_SIGNED, 0).join(DEFINITION)).unwrap();
    let mut definition = Definition::parse(&bytes).unwrap().value;
    let operator = &mut definition.operators[2];
    operator.enr.clear();
    operator.config_signature.clear();
    operator.enr_signature.clear();
    let definition = definition.with_hashes().unwrap();
    fs::write(env.project().join("d.json"), definition.to_json()).unwrap();
    let outcome = env.run(&["verify", "--definition", "d.json"]).exits(4);
    assert_eq!(outcome.failed(), ["definition-signed"], "{outcome}");
    assert!(outcome.stderr.contains("operator 3 of 4"), "{outcome}");
    assert!(outcome.stderr.contains("has not signed yet"), "{outcome}");
    assert!(outcome.stderr.contains("approve the cluster"), "{outcome}");
    assert!(!outcome.stderr.contains("correct definition"), "{outcome}");
}

#[test]
fn a_contract_wallets_signature_where_there_is_no_room_is_no_damage() {
    let env = TestEnv::new();
    let original = fixture("charon-v1.2.0-def-v1.8.0-n4-v2", 0).join(DEFINITION);
    let mut definition: serde_json::Value =
        serde_json::from_slice(&fs::read(original).unwrap()).unwrap();
    definition["operators"][1]["config_signature"] = format!("0x{}", "ab".repeat(130)).into();
    fs::write(env.project().join("safe.json"), definition.to_string()).unwrap();
    for (args, code) in [
        (&["verify", "--definition", "safe.json"][..], 4),
        (&["plan", "--definition", "safe.json"], 3),
    ] {
        let said = env.run(args).exits(code);
        assert!(
            said.stderr
                .contains("as contract wallets with several owners make them"),
            "{said}"
        );
        assert!(
            said.stderr
                .contains("makes a new definition of version v1.11"),
            "{said}"
        );
        assert!(!said.stderr.contains("copy the file again"), "{said}");
    }
}
