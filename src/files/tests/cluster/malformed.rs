//! Input that charon never wrote: it must be refused with a reason and a place, or be remarked on, in bounded memory.

use charon_files::cluster::cluster_lock::MAX_LOCK_BYTES;
use charon_files::cluster::definition::MAX_DEFINITION_BYTES;
use charon_files::cluster::{
    ClusterLock, Definition, DepositFile, ParseError, RemarkKind, deposit_data,
};
use charon_files::finding::Weight;

const DEFINITION: &str = include_str!(
    "../../../../tests/fixtures/ceremonies/charon-v1.10.3-def-v1.10.0-n4-v2-signed/node0/.charon/cluster-definition.json"
);
const LOCK: &str = include_str!(
    "../../../../tests/fixtures/ceremonies/charon-v1.10.3-def-v1.10.0-n4-v2-signed/node0/.charon/cluster-lock.json"
);
const LOCK_V1_7: &str = include_str!(
    "../../../../tests/fixtures/ceremonies/charon-v0.19.2-def-v1.7.0-n4-v2/node0/.charon/cluster-lock.json"
);
const DEPOSITS: &str = include_str!(
    "../../../../tests/fixtures/ceremonies/charon-v1.10.3-def-v1.10.0-n4-v2-signed/node0/.charon/deposit-data.json"
);

/// The definition with the first `from` replaced; `from` must be there.
fn edited(from: &str, to: &str) -> String {
    assert!(DEFINITION.contains(from), "{from}");
    DEFINITION.replacen(from, to, 1)
}

fn error_of(text: &str) -> String {
    Definition::parse(text.as_bytes()).unwrap_err().to_string()
}

fn remarks_of(text: &str) -> Vec<(String, RemarkKind)> {
    Definition::parse(text.as_bytes())
        .unwrap()
        .remarks
        .into_iter()
        .map(|remark| (remark.path, remark.kind))
        .collect()
}

#[test]
fn what_is_no_json_is_refused() {
    for (bytes, part) in [
        (&b""[..], "EOF while parsing"),
        (b"{", "EOF while parsing"),
        (b"null", "the file is null, expected an object"),
        (b"[]", "the file is an array, expected an object"),
        (b"\"v1.10.0\"", "the file is a text, expected an object"),
        (b"{} {}", "trailing characters"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"{\"name\": \"\xff\"}", "not UTF-8 text: byte 10"),
        (b"\x7b\x00\x7d\x00", "not valid JSON"),
        (b"{\"name\": \"\\ud800\"}", "not valid JSON"),
        (b"{}", "unknown definition version \"\""),
    ] {
        let error = Definition::parse(bytes).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert!(ClusterLock::parse(bytes).is_err());
    }
    for end in [1, 100, DEFINITION.len() / 2, DEFINITION.len() - 1] {
        let error = Definition::parse(&DEFINITION.as_bytes()[..end]).unwrap_err();
        assert!(matches!(error, ParseError::Syntax { .. }), "{error}");
    }
}

#[test]
fn wrong_values_are_refused_with_their_place() {
    for (from, to, expected) in [
        (
            r#""threshold": 3"#,
            r#""threshold": "3""#,
            "threshold is a text, expected a whole number that is not negative",
        ),
        (
            r#""threshold": 3"#,
            r#""threshold": -3"#,
            "threshold is a negative, fractional or too large number",
        ),
        (
            r#""threshold": 3"#,
            r#""threshold": 3.0"#,
            "threshold is a negative, fractional or too large number",
        ),
        (
            r#""threshold": 3"#,
            r#""threshold": 9223372036854775808"#,
            "threshold is 9223372036854775808, expected a number up to",
        ),
        (
            r#""threshold": 3"#,
            r#""threshold": 1e400"#,
            "not valid JSON",
        ),
        (
            r#""num_validators": 2"#,
            r#""num_validators": 3"#,
            "validators is 2 address pairs, expected 3 as num_validators says",
        ),
        (
            r#""num_validators": 2"#,
            r#""num_validators": 100000000"#,
            "num_validators is 100000000, expected at most 65536",
        ),
        (
            r#""version": "v1.10.0""#,
            r#""version": "v1.12.0""#,
            r#"version: unknown definition version "v1.12.0", expected one of v1.0.0,"#,
        ),
        (
            r#""version": "v1.10.0""#,
            r#""version": 1"#,
            "version is a number, expected a text",
        ),
        (
            r#""compounding": false"#,
            r#""compounding": 0"#,
            "compounding is a number, expected true or false",
        ),
        (
            r#""fork_version": "0x10000910""#,
            r#""fork_version": "0x100009""#,
            "fork_version is \"0x100009\", expected 4 bytes",
        ),
        (
            r#""fork_version": "0x10000910""#,
            r#""fork_version": """#,
            "fork_version is \"\", expected 4 bytes",
        ),
        (
            r#""uuid": ""#,
            r#""uuid": {}, "x": ""#,
            "uuid is an object, expected a text",
        ),
        (
            r#""deposit_amounts": null"#,
            r#""deposit_amounts": [32000000000]"#,
            "deposit_amounts[0] is a number, expected a text",
        ),
        (
            r#""deposit_amounts": null"#,
            r#""deposit_amounts": ["32e9"]"#,
            "deposit_amounts[0] is \"32e9\", expected a decimal",
        ),
        (
            r#""deposit_amounts": null"#,
            r#""deposit_amounts": ["999999999"]"#,
            "deposit_amounts is 0.999999999 ETH, expected at least 1 ETH each",
        ),
        (
            r#""deposit_amounts": null"#,
            r#""deposit_amounts": ["33000000000"]"#,
            "deposit_amounts is 33 ETH, expected at most 32 ETH each",
        ),
        (
            r#""deposit_amounts": null"#,
            r#""deposit_amounts": ["31500000000"]"#,
            "deposit_amounts is 31.5 ETH in all, expected at least 32 ETH in all",
        ),
        (
            r#""address": "0x98Aa31BBaC59eCE69612C65aBEebEc496aaD7902""#,
            r#""address": "0x98Aa31""#,
            "operators[1].address is \"0x98Aa31\", expected an address",
        ),
        (
            r#""enr_signature": "0x15827e"#,
            r#""enr_signature": "0x"#,
            "operators[1].enr_signature is 62 bytes, expected no bytes or 65",
        ),
        (
            r#""enr_signature": "0x15827e"#,
            r#""enr_signature": "0xz5827e"#,
            "operators[1].enr_signature is \"0xz5827e",
        ),
        (
            r#""config_hash": "0x25"#,
            r#""config_hash": "0x"#,
            "config_hash is 31 bytes, expected 32 bytes",
        ),
    ] {
        let error = error_of(&edited(from, to));
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn amounts_on_gnosis_chain_are_told_in_gno() {
    let text = edited(
        r#""deposit_amounts": null"#,
        r#""deposit_amounts": ["31000000000"]"#,
    )
    .replacen("0x10000910", "0x00000064", 1);
    let error = error_of(&text);
    let expected = "deposit_amounts is 0.96875 GNO in all, expected at least 1 GNO in all";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_stranger_cannot_fill_the_screen() {
    let long = "x".repeat(1_000_000) + "\x1b[2J";
    let error = error_of(&edited(
        r#""version": "v1.10.0""#,
        &format!(r#""version": "{}""#, long.replace('\x1b', "\\u001b")),
    ));
    assert!(error.len() < 400, "{}", error.len());
    let error = error_of(&edited(
        r#""fork_version": "0x10000910""#,
        r#""fork_version": "\u001b[2J""#,
    ));
    assert!(!error.contains('\x1b'), "{error:?}");
}

#[test]
fn several_pieces_of_signature_are_for_v1_11_only() {
    let signature = "15827ed115e3d19405519e03d130ec8cdc7b84f6b6a662ac700dba3e7a1e326f513deb6bd1f186efa2eedba904b00d7c6bb943d7bb02e253de16837080a2731b00";
    let twice = edited(signature, &signature.repeat(2));
    assert!(error_of(&twice).contains(
        "operators[1].enr_signature is 130 bytes, as contract wallets with several owners"
    ));
    let v1_11 = twice.replace("v1.10.0", "v1.11.0");
    assert_eq!(
        Definition::parse(v1_11.as_bytes()).unwrap().value.operators[1]
            .enr_signature
            .len(),
        130
    );
    let too_many = edited(signature, &signature.repeat(33)).replace("v1.10.0", "v1.11.0");
    assert!(error_of(&too_many).contains("expected a multiple of 65 bytes, at most 32 times"));
}

#[test]
fn a_nonce_other_than_zero_is_refused() {
    let text = include_str!("synthetic/definition-v1.1.0.json");
    let error = error_of(&text.replacen(r#""nonce": 0"#, r#""nonce": 1"#, 1));
    assert_eq!(error, "operators[0].nonce is 1, expected 0");
}

#[test]
fn the_last_of_equal_keys_counts_and_is_remarked_on() {
    let text = edited(r#""threshold": 3"#, r#""threshold": 2, "threshold": 3"#);
    assert_eq!(
        remarks_of(&text),
        [("threshold".to_owned(), RemarkKind::DuplicateKey)]
    );
    assert_eq!(
        Definition::parse(text.as_bytes()).unwrap().value.threshold,
        3
    );

    let text = edited(
        r#""version": "v1.10.0""#,
        r#""version": "v9", "version": "v1.10.0""#,
    );
    assert_eq!(
        remarks_of(&text),
        [("version".to_owned(), RemarkKind::DuplicateKey)]
    );

    let text = edited(
        r#""enr": "enr:-HW4QCC"#,
        r#""enr": "", "enr": "enr:-HW4QCC"#,
    );
    assert_eq!(
        remarks_of(&text),
        [("operators[1].enr".to_owned(), RemarkKind::DuplicateKey)]
    );
}

#[test]
fn keys_in_another_case_count_and_are_remarked_on() {
    // Go folds the long s and the Kelvin sign too.
    for (key, shown) in [
        ("Threshold", "Threshold"),
        ("THRESHOLD", "THRESHOLD"),
        ("thre\u{17f}hold", r"thre\u{17f}hold"),
    ] {
        let text = edited(
            r#""threshold": 3"#,
            &format!(r#""threshold": 3, "{key}": 1"#),
        );
        assert_eq!(
            Definition::parse(text.as_bytes()).unwrap().value.threshold,
            1,
            "{key}"
        );
        assert_eq!(
            remarks_of(&text),
            [
                (shown.to_owned(), RemarkKind::OtherCase("threshold")),
                ("threshold".to_owned(), RemarkKind::DuplicateKey),
            ]
        );
    }
    let text = edited(r#""dkg_algorithm""#, "\"d\u{212a}g_algorithm\"");
    assert_eq!(
        Definition::parse(text.as_bytes())
            .unwrap()
            .value
            .dkg_algorithm,
        "default"
    );
}

#[test]
fn unknown_and_missing_keys_are_remarked_on() {
    let text = edited(
        r#""threshold": 3"#,
        r#""threshold": 3, "thresholds": 4, "fee_recipient_address": """#,
    );
    assert_eq!(
        remarks_of(&text),
        [
            ("thresholds".to_owned(), RemarkKind::UnknownKey),
            ("fee_recipient_address".to_owned(), RemarkKind::UnknownKey),
        ]
    );
    let text = edited(r#""compounding": false,"#, "");
    assert_eq!(
        remarks_of(&text),
        [("compounding".to_owned(), RemarkKind::MissingKey)]
    );
    // Go writes null for what it never filled.
    assert_eq!(
        remarks_of(&edited(r#""compounding": false"#, r#""compounding": null"#)),
        []
    );
    // Nothing is odd about leaving out what charon leaves out.
    assert_eq!(remarks_of(&edited(r#""name": "signed v1.10.3","#, "")), []);
}

#[test]
fn remarks_are_bounded() {
    let many: String = (0..100_000)
        .map(|number| format!("\"x{number}\": 0,"))
        .collect();
    let parsed = Definition::parse(edited("{", &format!("{{{many}")).as_bytes()).unwrap();
    assert_eq!(parsed.remarks.len(), 65);
    assert_eq!(parsed.remarks[64].kind, RemarkKind::More(100_000 - 64));
}

/// A key that is missing in every validator or operator of a large cluster is as harmless as in one, and what comes after
/// it is still seen.
#[test]
fn many_missing_keys_are_no_worse_than_one_and_hide_nothing() {
    let mut definition: serde_json::Value = serde_json::from_str(DEFINITION).unwrap();
    let mut operator = definition["operators"][0].clone();
    operator.as_object_mut().unwrap().remove("enr_signature");
    definition["operators"] = vec![operator; 100].into();
    let text = definition.to_string();
    let remarks = remarks_of(&text);
    assert_eq!(remarks.len(), 65);
    for (number, (path, kind)) in remarks[..64].iter().enumerate() {
        assert_eq!(*path, format!("operators[{number}].enr_signature"));
        assert_eq!(*kind, RemarkKind::MissingKey);
    }
    assert_eq!(remarks[64].1, RemarkKind::MoreMissingKeys(36));
    assert!(
        remarks
            .iter()
            .all(|(_, kind)| kind.weight() == Weight::Note)
    );

    let end = text.rfind('}').unwrap();
    let text = format!("{},\"thresholds\":4}}", &text[..end]);
    assert!(remarks_of(&text).contains(&("thresholds".to_owned(), RemarkKind::UnknownKey)));
}

#[test]
fn what_means_the_same_reads_the_same() {
    let reference = Definition::parse(DEFINITION.as_bytes()).unwrap();
    let value: serde_json::Value = serde_json::from_str(DEFINITION).unwrap();
    let compact = value.to_string();
    let upper = DEFINITION.replace("0x257db9efc5cb275d", "0x257DB9EFC5CB275D");
    let bare = DEFINITION.replace("0x257db9efc5cb275d", "257db9efc5cb275d");
    let escaped = DEFINITION.replace("\"threshold\"", r#""\u0074hreshold""#);
    let crlf = DEFINITION.replace('\n', "\r\n");
    for text in [compact, upper, bare, escaped, crlf] {
        assert_ne!(text, DEFINITION);
        assert_eq!(Definition::parse(text.as_bytes()).unwrap(), reference);
    }
}

#[test]
fn locks_say_where_too() {
    for (from, to, expected) in [
        (
            r#""distributed_validators": ["#,
            r#""distributed_validators": [7,"#,
            "distributed_validators[0] is a number, expected an object",
        ),
        (
            r#""node_signatures": ["#,
            r#""node_signatures": ["0x00","#,
            "node_signatures[0] is 1 bytes, expected 65 bytes",
        ),
        (
            r#""signature_aggregate": "0x"#,
            r#""signature_aggregate": "0x00"#,
            "signature_aggregate is 97 bytes, expected 96 bytes",
        ),
        (
            r#""lock_hash": "0x"#,
            r#""lock_hash": "0x00"#,
            "lock_hash is 33 bytes, expected 32 bytes",
        ),
        (
            r#""distributed_public_key": "0x"#,
            r#""distributed_public_key": "", "x": "0x"#,
            "distributed_validators[0].distributed_public_key is empty, expected 48 bytes",
        ),
        (
            r#""amount": "1000000000""#,
            r#""amount": 1000000000"#,
            "distributed_validators[0].partial_deposit_data[0].amount is a number, expected a text",
        ),
        (
            r#""amount": "1000000000""#,
            r#""amount": "-1000000000""#,
            "distributed_validators[0].partial_deposit_data[0].amount is \"-1000000000\"",
        ),
        (
            r#""gas_limit": 36000000"#,
            r#""gas_limit": 36000000.5"#,
            "distributed_validators[0].builder_registration.message.gas_limit is a negative",
        ),
        (
            r#""threshold": 3"#,
            r#""threshold": true"#,
            "cluster_definition.threshold is true or false",
        ),
    ] {
        assert!(LOCK.contains(from), "{from}");
        let error = ClusterLock::parse(LOCK.replacen(from, to, 1).as_bytes()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    // Before v1.7.0 there are no node signatures, and up to v1.5.0 a fee recipient is refused by name.
    let old = include_str!("synthetic/lock-v1.3.0.json");
    let text = old.replacen(r#""lock_hash""#, r#""node_signatures": [], "lock_hash""#, 1);
    let remarks = ClusterLock::parse(text.as_bytes()).unwrap().remarks;
    assert_eq!(remarks[0].path, "node_signatures");
    assert_eq!(remarks[0].kind, RemarkKind::UnknownKey);
    let text = old.replacen(
        r#""public_shares""#,
        r#""fee_recipient_address": "0x01", "public_shares""#,
        1,
    );
    let error = ClusterLock::parse(text.as_bytes()).unwrap_err().to_string();
    assert!(
        error.contains("fee_recipient_address is 0x01, expected nothing"),
        "{error}"
    );
}

#[test]
fn an_empty_deposit_is_missing_and_half_of_one_is_refused() {
    let lock: serde_json::Value = serde_json::from_str(LOCK_V1_7).unwrap();
    let key = lock["distributed_validators"][0]["deposit_data"]["pubkey"]
        .as_str()
        .unwrap();
    let mut empty = lock.clone();
    empty["distributed_validators"][0]["deposit_data"] = serde_json::json!({"pubkey": "", "withdrawal_credentials": "", "amount": "0", "signature": ""});
    let parsed = ClusterLock::parse(empty.to_string().as_bytes()).unwrap();
    assert_eq!(parsed.remarks, []);
    assert!(parsed.value.validators[0].deposits.is_empty());
    assert_eq!(parsed.value.validators[1].deposits.len(), 1);
    let written: serde_json::Value = serde_json::from_str(&parsed.value.to_json()).unwrap();
    assert_eq!(written, empty);

    let mut half = empty;
    half["distributed_validators"][0]["deposit_data"]["pubkey"] = key.into();
    let error = ClusterLock::parse(half.to_string().as_bytes())
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "distributed_validators[0].deposit_data is partly empty, expected a complete deposit"
    );
}

#[test]
fn deposit_files_are_strict() {
    let parse = |text: &str| DepositFile::parse(text.as_bytes());
    assert_eq!(parse("[]").unwrap().value.entries, []);
    for (from, to, expected) in [
        (
            r#""amount": 32000000000"#,
            r#""amount": "32000000000""#,
            "[0].amount is a text, expected a whole number",
        ),
        (
            r#""pubkey": ""#,
            r#""pubkey": "0x"#,
            "expected hexadecimal without 0x",
        ),
        (
            r#""signature": ""#,
            r#""signature": "00"#,
            "expected 96 bytes in hexadecimal",
        ),
        (
            r#""fork_version": ""#,
            r#""fork_versions": ""#,
            "[0].fork_version is \"\", expected 4 bytes",
        ),
    ] {
        assert!(DEPOSITS.contains(from), "{from}");
        let error = parse(&DEPOSITS.replacen(from, to, 1))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(
        parse("{}")
            .unwrap_err()
            .to_string()
            .contains("the file is an object, expected an array")
    );
}

#[test]
fn what_is_too_large_is_stopped_before_the_work() {
    let spaces = vec![b' '; MAX_LOCK_BYTES + 1];
    assert_eq!(
        ClusterLock::parse(&spaces),
        Err(ParseError::TooLarge {
            size: spaces.len(),
            limit: MAX_LOCK_BYTES
        })
    );
    let limit = MAX_DEFINITION_BYTES;
    assert!(matches!(
        Definition::parse(&spaces[..limit + 1]),
        Err(ParseError::TooLarge { .. })
    ));
    assert!(matches!(
        Definition::parse(&spaces[..limit]),
        Err(ParseError::Syntax { .. })
    ));
    let limit = deposit_data::MAX_DEPOSIT_FILE_BYTES;
    assert!(matches!(
        DepositFile::parse(&spaces[..limit]),
        Err(ParseError::Syntax { .. })
    ));

    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}0{}", open.repeat(100_000), close.repeat(100_000));
        let error = Definition::parse(deep.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("recursion limit"), "{error}");
        let error = ClusterLock::parse(deep.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("recursion limit"), "{error}");
    }

    let operators = "{},".repeat(999_000) + "{}";
    let text = edited(
        r#""operators": ["#,
        &format!(r#""operators": [{operators}], "x": ["#),
    );
    assert_eq!(
        error_of(&text),
        "operators has 999000 elements, expected at most 256".replace("999000", "999001")
    );

    let many = format!("[{}0]", "0,".repeat(2_000_000));
    assert_eq!(
        DepositFile::parse(many.as_bytes()).unwrap_err().to_string(),
        "more than 1000000 JSON values"
    );
}
