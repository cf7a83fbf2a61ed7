//! Receipts and confirmations of real ceremonies: what chats do to a line, what forgers could, and what must come of it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail best where they stand"
)]

#[path = "receipts/edits.rs"]
mod edits;
#[path = "receipts/proved.rs"]
mod proved;
#[path = "receipts/ready.rs"]
mod ready;
#[path = "receipts/stopped.rs"]
mod stopped;
#[path = "receipts/support.rs"]
mod support;

use charon_files::cluster::names::FileDigest;
use charon_files::cluster::{ClusterLock, NodeIndex};
use charon_files::finding::Weight;
use charon_files::keys::k1::EnrKey;
use charon_files::text;
use charon_proof::confirm::{Own, Status, broken_finding, confirm};
use charon_proof::line::{LineError, MAX_TEXT_BYTES, StatementError};
use charon_proof::receipt::{
    CharonImage, DepositFiles, RanWith, Receipt, Statement, find_receipts,
};
use charon_proof::verify::{Expectations, Material, NamedFile, Options, Scope, verify};
use proptest::prelude::*;
use support::{Group, TODAY, ceremony_names};

const USUAL: &str = "charon-v1.10.3-def-v1.10.0-n4-v2";
const TEN: &str = "charon-v1.10.3-def-v1.10.0-n10-v3-gnosis-deposits-8-24";

fn statuses(group: &Group, receipts: &[Receipt]) -> Vec<Status> {
    confirm(&group.cluster, receipts, None)
        .operators()
        .iter()
        .map(|line| line.status)
        .collect()
}

fn found(text: &str) -> Vec<Receipt> {
    let found = find_receipts(text).unwrap();
    found.into_iter().map(|it| it.expect(text)).collect()
}

#[test]
fn all_receipts_of_every_real_ceremony_confirm_it() {
    for name in ceremony_names() {
        let group = Group::read(&name);
        let receipts = group.receipts();
        for (receipt, secret) in receipts.iter().zip(&group.secrets) {
            let text = receipt.to_string();
            assert!(text.len() <= 500, "{} characters", text.len());
            assert!(text.chars().all(|c| c.is_ascii_alphanumeric()));
            assert!(secret.iter().all(|secret| !text.contains(secret)));
            assert_eq!(Receipt::parse(&text).as_ref(), Ok(receipt));
        }
        let confirmation = confirm(&group.cluster, &receipts, None);
        assert!(confirmation.is_complete(), "{name}");
        let serious = |weight| weight != Weight::Note;
        assert!(!confirmation.findings().iter().any(|it| serious(it.weight)));
        for missing in 0..receipts.len() {
            let mut some = receipts.clone();
            some.remove(missing);
            let confirmation = confirm(&group.cluster, &some, None);
            assert!(!confirmation.is_complete());
            assert!(confirmation.bundle().is_none());
            assert_eq!(confirmation.operators()[missing].status, Status::Missing);
            assert_eq!(confirmation.valid_count(), some.len());
        }
    }
}

#[test]
fn a_proof_of_a_directory_is_what_its_receipt_states() {
    let group = Group::read(USUAL);
    let material = group.material(2);
    let outcome = verify(
        &material,
        &Expectations::default(),
        &Options::new(Scope::WholeDataDirectory),
    );
    let verified = outcome.verified.unwrap();
    let ran_with = RanWith {
        image: CharonImage::parse(&format!("obolnetwork/charon@sha256:{}", "ab".repeat(32))),
        version: "v1.10.3".parse().unwrap(),
    };
    let statement = Statement::of(&verified, Some(&ran_with), "0.1.0", TODAY).unwrap();
    assert_eq!(statement, group.statement(2));
    let own = Own::of(&verified);
    assert!(confirm(&group.cluster, &group.receipts(), Some(&own)).is_complete());
}

#[test]
fn the_example_in_the_documentation_is_what_this_program_writes_and_reads() {
    let documentation = include_str!("../../../docs/receipts.md");
    let key = EnrKey::from_secret_bytes(&[7; 32]).unwrap();
    let file = |path: &str, content: u8| FileDigest {
        path: path.to_owned(),
        sha256: [content; 32],
        len: 1,
    };
    let files = [
        file("deposit-data.json", 0x33),
        file("deposit-data-1eth.json", 0x44),
    ];
    let statement = Statement {
        node: NodeIndex::new(1),
        operators: 4,
        lock_hash: charon_files::cluster::LockHash::new([0x11; 32]),
        definition_hash: charon_files::cluster::DefinitionHash::new([0x22; 32]),
        keystores: 2,
        deposit_files: DepositFiles::of(&files),
        charon_image: Some(CharonImage::Manifest([0x55; 32])),
        charon_version: Some("v1.10.3".parse().unwrap()),
        program_version: "0.1.0".to_owned(),
        time: 1_790_000_000,
    };
    let digest = hex::encode(statement.deposit_files.digest());
    let receipt = Receipt::sign(statement, &key).unwrap();
    let text = receipt.to_string();
    for shown in [
        text.clone(),
        key.public_key().to_string(),
        digest,
        hex::encode(support::decode(&text)),
        hex::encode(receipt.signature()),
    ] {
        assert!(
            documentation.contains(&shown),
            "the documentation lacks {shown}"
        );
    }
    // It is there twice, once hard wrapped in a quote.
    assert_eq!(found(documentation), [receipt]);
}

#[test]
fn whatever_a_chat_does_to_a_receipt_it_is_the_same_receipt() {
    let receipt = Group::read(USUAL).receipts().remove(1);
    let text = receipt.to_string();
    let (first, last) = text.split_at(200);
    let wrapped = |width: usize, between: &str| {
        let lines: Vec<&str> = (0..text.len())
            .step_by(width)
            .map(|at| &text[at..text.len().min(at + width)])
            .collect();
        lines.join(between)
    };
    for mangled in [
        format!("  {text}\r\n"),
        format!("`{text}`"),
        format!("```\n{text}\n```"),
        format!("**{text}**"),
        format!("_{text}_ ~{text}~ ||{text}||"),
        format!("\u{201c}{text}\u{201d}"),
        format!("\u{ab}\u{a0}{text}\u{a0}\u{bb}"),
        format!("here it is: {text}. Thanks!"),
        format!("({text}), {text}; {text}…"),
        format!("> {first}\n> {last}\n> thanks, bob"),
        format!("{first}\u{200b}{last}"),
        format!("\u{feff}{first}\u{2060}{last}\u{200e}"),
        format!("{first}\u{ad}{last}"),
        format!("{first}-\n{last}"),
        format!("{first}=\r\n{last}"),
        format!("{first}\u{a0}\u{2028}{last}"),
        wrapped(80, "\n"),
        wrapped(72, "\n> "),
        wrapped(40, "\n    | "),
        wrapped(1, " "),
        wrapped(11, "\u{200b}"),
        text.to_uppercase(),
        format!("D{}", &text[1..]),
        format!(
            "[22/11/2026, 18:12:03] Alice (op 2): {text}\n[22/11/2026, 18:13:00] Bob: ok 1 more"
        ),
        format!("{text}{text}"),
        format!("{text}1{text}"),
        text.trim_end_matches('1').to_owned(),
    ] {
        assert_eq!(found(&mangled), std::slice::from_ref(&receipt), "{mangled}");
    }
}

#[test]
fn a_whole_chat_log_gives_every_receipt_once_and_nothing_else() {
    let group = Group::read(USUAL);
    let receipts = group.receipts();
    let texts: Vec<String> = receipts.iter().map(ToString::to_string).collect();
    let log = format!(
        "\
Tue 18:01  alice  The DKG receipt 1 by 1 please; it begins with dkgreceipt1
Tue 18:02  alice  {}
Tue 18:04  bob    > dkgreceipt1{}…
Tue 18:04  bob    mine: {}
Tue 18:05  carol  {}
Tue 18:05  carol  sorry, clipped. {}
Tue 18:09  alice  all: {} {}
                  {}",
        texts[0],
        &texts[0][11..40],
        texts[1],
        &texts[2][..300],
        texts[2],
        texts[0],
        texts[1],
        texts[3],
    );
    assert_eq!(found(&log), receipts);
}

#[test]
fn what_is_wrong_with_a_receipt_is_said() {
    let receipt = Group::read(USUAL).receipts().remove(1);
    let text = receipt.to_string();
    let error = |text: &str| Receipt::parse(text).unwrap_err();
    let all = text.len();
    assert_eq!(error(""), LineError::NotALine);
    assert_eq!(error("hello"), LineError::NotALine);
    assert_eq!(error(&text[1..]), LineError::NotALine);
    for length in 12..all - 1 {
        let expected = (length >= 16).then_some(all);
        let clipped = LineError::Clipped {
            seen: length,
            expected,
        };
        assert_eq!(error(&text[..length]), clipped);
        assert_eq!(error(&format!("{}…", &text[..length])), clipped);
    }
    let without = format!("{}{}", &text[..100], &text[140..]);
    assert_eq!(
        error(&without),
        LineError::Clipped {
            seen: all - 40,
            expected: Some(all)
        }
    );
    let doubled = format!("{}{}", &text[..140], &text[100..]);
    assert_eq!(
        error(&doubled),
        LineError::TooLong {
            seen: all + 40,
            expected: all
        }
    );
    let replaced = |with: char| format!("{}{with}{}", &text[..100], &text[101..]);
    for character in ['b', 'I', 'o', '1', 'é', '\u{441}', '\u{212a}'] {
        let stray = LineError::Stray {
            position: 101,
            character,
        };
        assert_eq!(error(&replaced(character)), stray, "{character}");
    }
    let other = if &text[100..101] == "q" { 'p' } else { 'q' };
    assert_eq!(error(&replaced(other)), LineError::Altered);

    let mut bytes = support::decode(&text);
    bytes[0] = 2;
    assert_eq!(
        error(&support::armour(bytes.clone())),
        LineError::OtherFormat(2)
    );
    bytes.insert(20, 0);
    let length = u16::try_from(bytes.len()).unwrap();
    bytes[1..3].copy_from_slice(&length.to_be_bytes());
    assert_eq!(error(&support::armour(bytes)), LineError::OtherFormat(2));

    let broken = find_receipts(&format!("one\ntwo\n  {}", &text[..300])).unwrap();
    let broken = broken[0].as_ref().unwrap_err();
    assert_eq!(broken.line, 3);
    assert_eq!(broken.claim, Some((NodeIndex::new(1), 4)));
}

#[test]
fn a_text_without_end_is_not_read() {
    let text = " ".repeat(MAX_TEXT_BYTES + 1);
    assert!(find_receipts(&text).is_err());
    assert!(find_receipts(&text[1..]).is_ok());
    let many = "dkgreceipt1qqqqqqqqqqqqqqqqq ".repeat(100_000);
    assert!(find_receipts(&many).is_err());
}

#[test]
fn the_longest_receipt_fits_and_what_is_longer_is_refused() {
    let group = Group::read(USUAL);
    let file = |number: usize| FileDigest {
        path: format!("deposit-data-{number}eth.json"),
        sha256: [1; 32],
        len: 1,
    };
    let mut statement = group.statement(0);
    statement.deposit_files = DepositFiles::of(&(0..256).map(file).collect::<Vec<_>>());
    statement.charon_version = Some("v4294967295.10.3-rc12345".parse().unwrap());
    statement.program_version = "v0.1.0-rc.1+sha.01234567".to_owned();
    let longest = Receipt::sign(statement.clone(), &group.keys[0]).unwrap();
    let text = longest.to_string();
    assert_eq!(text.len(), charon_proof::receipt::MAX_RECEIPT_CHARS);
    assert_eq!(text.len(), 492);
    assert_eq!(Receipt::parse(&text), Ok(longest));

    let refused = |edit: fn(&mut Statement)| {
        let mut statement = statement.clone();
        edit(&mut statement);
        Receipt::sign(statement, &group.keys[0]).unwrap_err()
    };
    for error in [
        refused(|it| it.program_version.push('8')),
        refused(|it| it.program_version.clear()),
        refused(|it| it.program_version = "0.1 0".to_owned()),
        refused(|it| it.charon_version = Some("v4294967295.10.3-rc123456".parse().unwrap())),
    ] {
        assert!(matches!(error, StatementError::Version(_)), "{error}");
    }
    for error in [
        refused(|it| it.node = NodeIndex::new(4)),
        refused(|it| it.operators = 0),
        refused(|it| it.operators = 257),
    ] {
        assert!(matches!(error, StatementError::Node { .. }), "{error}");
    }
}

#[test]
fn another_key_never_speaks_for_an_operator() {
    let group = Group::read(USUAL);
    let other = Group::read(TEN);
    let mut receipts = group.receipts();
    // Operator 1 in the name of operator 3, and somebody from elsewhere in the name of operator 4.
    receipts[2] = Receipt::sign(group.statement(2), &group.keys[0]).unwrap();
    receipts[3] = Receipt::sign(group.statement(3), &other.keys[3]).unwrap();
    let confirmation = confirm(&group.cluster, &receipts, None);
    let seen: Vec<_> = confirmation.operators()[2..]
        .iter()
        .map(|line| (line.status, line.findings[0].seen.as_str()))
        .collect();
    insta::assert_debug_snapshot!(seen, @r#"
    [
        (
            WrongKey,
            "a receipt signed by operator 1 of 4, of 2026-09-21T14:13:20Z",
        ),
        (
            WrongKey,
            "a receipt not signed by any operator of this cluster, of 2026-09-21T14:13:20Z",
        ),
    ]
    "#);
    // The real ones win, and what was forged is still said.
    receipts.extend(group.receipts());
    let confirmation = confirm(&group.cluster, &receipts, None);
    assert!(confirmation.is_complete());
    assert_eq!(confirmation.operators()[2].findings[0].check, "receipt-key");
}

#[test]
fn a_receipt_of_another_cluster_counts_for_nobody() {
    let group = Group::read(USUAL);
    let other = Group::read(TEN);
    let mut receipts = other.receipts();
    assert_eq!(statuses(&group, &receipts), [Status::Missing; 4]);
    receipts.extend(group.receipts());
    let confirmation = confirm(&group.cluster, &receipts, None);
    assert!(confirmation.is_complete());
    assert_eq!(confirmation.strangers().len(), 10);
    assert_eq!(confirmation.findings().len(), 10);
    assert!(confirm(&other.cluster, &receipts, None).is_complete());
}

#[test]
fn the_latest_word_of_an_operator_on_the_lock_counts() {
    let group = Group::read(USUAL);
    let elsewhere = |time| {
        let mut statement = group.statement(1);
        statement.lock_hash = charon_files::cluster::LockHash::new([9; 32]);
        statement.time = time;
        Receipt::sign(statement, &group.keys[1]).unwrap()
    };
    let with = |receipt: Receipt| {
        let mut receipts = group.receipts();
        receipts.push(receipt);
        statuses(&group, &receipts)
    };
    let alone = statuses(&group, &[elsewhere(TODAY)]);
    assert_eq!(alone[1], Status::OtherLock);
    assert_eq!(with(elsewhere(TODAY - 1)), [Status::Valid; 4]);
    for time in [TODAY, TODAY + 1] {
        assert_eq!(with(elsewhere(time))[1], Status::OtherLock);
    }
}

#[test]
fn what_the_lock_refutes_is_refused() {
    let group = Group::read(USUAL);
    let edits: [fn(&mut Statement); 3] = [
        |it| it.keystores = 1,
        |it| it.operators = 3,
        |it| it.definition_hash = charon_files::cluster::DefinitionHash::new([9; 32]),
    ];
    for edit in edits {
        let mut receipts = group.receipts();
        receipts[1] = group.signed(1, edit);
        let seen = statuses(&group, &receipts);
        assert_eq!(seen[1], Status::ContradictsLock);
        assert_eq!(seen[0], Status::Valid);
    }
}

#[test]
fn the_majority_does_not_say_whose_deposit_data_is_right() {
    let group = Group::read(USUAL);
    let mut files = group.deposit_files.clone();
    files[0].sha256[0] ^= 1;
    let mut receipts = group.receipts();
    receipts[3] = group.signed(3, |it| {
        it.deposit_files = DepositFiles::of(&files);
    });
    assert_eq!(statuses(&group, &receipts), [Status::OtherDeposits; 4]);
    let confirmation = confirm(&group.cluster, &receipts, None);
    let seen = &confirmation.operators()[3].findings[0].seen;
    assert!(seen.ends_with("; unlike operators 1, 2 and 3"), "{seen}");

    let by = |files: &[FileDigest]| confirm(&group.cluster, &receipts, Some(&Own::of_files(files)));
    let right = by(&group.deposit_files);
    let seen: Vec<Status> = right.operators().iter().map(|line| line.status).collect();
    assert_eq!(
        seen,
        [
            Status::Valid,
            Status::Valid,
            Status::Valid,
            Status::OtherDeposits
        ]
    );
    let seen = &right.operators()[3].findings[0].seen;
    assert!(
        seen.ends_with("; not alike: deposit-data-1eth.json"),
        "{seen}"
    );
    let wrong = by(&files);
    let seen: Vec<Status> = wrong.operators().iter().map(|line| line.status).collect();
    assert_eq!(
        seen,
        [
            Status::OtherDeposits,
            Status::OtherDeposits,
            Status::OtherDeposits,
            Status::Valid
        ]
    );
}

/// Who was sent only some of the files sees that everybody has these, and that all have the same others.
#[test]
fn some_of_the_deposit_files_are_measure_enough() {
    let group = Group::read(USUAL);
    let some = &group.deposit_files[..1];
    assert!(group.deposit_files.len() > 1);
    let of = |receipts: &[Receipt], files: &[FileDigest]| -> Vec<Status> {
        let confirmation = confirm(&group.cluster, receipts, Some(&Own::of_files(files)));
        let lines = confirmation.operators().iter();
        lines.map(|line| line.status).collect()
    };
    let receipts = group.receipts();
    assert_eq!(of(&receipts, some), [Status::Valid; 4]);
    let mut changed = some.to_vec();
    changed[0].sha256[0] ^= 1;
    assert_eq!(of(&receipts, &changed), [Status::OtherDeposits; 4]);
    // One whose other files are others.
    let mut files = group.deposit_files.clone();
    files[1].sha256[0] ^= 1;
    let mut receipts = receipts;
    receipts[3] = group.signed(3, |it| {
        it.deposit_files = DepositFiles::of(&files);
    });
    assert_eq!(of(&receipts, some), [Status::OtherDeposits; 4]);
    // A node has all of them, and so has a coordinator who was sent more than an operator has.
    receipts[3] = group.signed(3, |it| it.deposit_files = DepositFiles::of(some));
    let all = of(&receipts, &group.deposit_files);
    assert_eq!(all[3], Status::OtherDeposits);
    assert_eq!(all[..3], [Status::Valid; 3]);
}

#[test]
fn another_line_of_charon_is_refused_and_another_patch_is_noted() {
    let group = Group::read(USUAL);
    let with = |version: Option<&str>| {
        let mut receipts = group.receipts();
        let version = version.map(|version| version.parse().unwrap());
        receipts[3] = group.signed(3, |it| it.charon_version = version);
        confirm(&group.cluster, &receipts, None)
    };
    let other = with(Some("v1.3.3"));
    assert!(
        other
            .operators()
            .iter()
            .all(|line| line.status == Status::OtherRelease)
    );
    assert_eq!(
        other.operators()[3].findings[0].expected,
        "the line of charon v1.10.3, which operators 1, 2 and 3 ran"
    );
    for version in [Some("v1.10.2"), Some("v1.10.3-rc1"), None] {
        let noted = with(version);
        assert!(noted.is_complete());
        assert_eq!(noted.operators()[3].findings[0].weight, Weight::Note);
    }
    let mut receipts = group.receipts();
    receipts[3] = group.signed(3, |it| {
        it.charon_image = Some(CharonImage::Manifest([1; 32]))
    });
    let noted = confirm(&group.cluster, &receipts, None);
    assert!(noted.is_complete());
    assert_eq!(noted.findings().len(), 4);
    receipts[3] = group.signed(3, |it| it.charon_image = Some(CharonImage::Local([1; 32])));
    let noted = confirm(&group.cluster, &receipts, None);
    assert!(noted.is_complete());
    assert_eq!(noted.findings().len(), 1);
}

#[test]
fn two_receipts_of_one_node_agree_or_the_gate_stays_shut() {
    let group = Group::read(USUAL);
    let again = |edit: fn(&mut Statement)| {
        let mut receipts = group.receipts();
        receipts.push(group.signed(2, |it| {
            it.time += 100;
            edit(it);
        }));
        confirm(&group.cluster, &receipts, None)
    };
    let newer = again(|it| it.program_version = "0.2.0".to_owned());
    assert!(newer.is_complete());
    let chosen = newer.operators()[2].receipt.as_ref().unwrap();
    assert_eq!(chosen.statement().time, TODAY + 100);
    let edits: [fn(&mut Statement); 6] = [
        |it| it.keystores = 3,
        |it| it.operators = 5,
        |it| it.charon_version = Some("v1.10.2".parse().unwrap()),
        |it| it.charon_image = None,
        |it| it.deposit_files = DepositFiles::of(&[]),
        |it| it.definition_hash = charon_files::cluster::DefinitionHash::new([9; 32]),
    ];
    for edit in edits {
        let line = again(edit).operators()[2].clone();
        assert_eq!(line.status, Status::Conflicting);
    }
}

#[test]
fn a_bundle_carries_all_receipts_on() {
    for name in [USUAL, TEN] {
        let group = Group::read(name);
        let bundle = confirm(&group.cluster, &group.receipts(), None)
            .bundle()
            .unwrap();
        // A chat takes each line, and so does a terminal.
        assert!(
            bundle
                .lines()
                .all(|line| line.len() <= 500 && found(line).len() == 1)
        );
        let again = confirm(&group.cluster, &found(&bundle), None);
        assert_eq!(again.bundle(), Some(bundle));
    }
}

#[test]
fn the_document_for_programs_has_its_stable_form() {
    let group = Group::read(USUAL);
    let mut receipts = group.receipts();
    receipts.truncate(1);
    let broken = find_receipts("dkgreceipt1qqqq")
        .unwrap()
        .remove(0)
        .unwrap_err();
    let document =
        confirm(&group.cluster, &receipts, None).document(&[broken_finding("chat.txt", &broken)]);
    insta::assert_snapshot!(text::to_json(&document), @r#"
    {
      "schema": "charon-dkg.confirm/1",
      "confirmed": false,
      "lock_hash": "0x0678a3769fbbb5aaad35d6425c0c4b95f5b924470073d579a520a650aec224af",
      "definition_hash": "0x267f3eaa941416a7f12e6b96f3780d35668bff1958790c491084780aaa4be0ee",
      "operators": [
        {
          "index": 0,
          "operator": 1,
          "address": "",
          "status": "valid",
          "receipt": {
            "text": "dkgreceipt1qyq0qqqqqqzqv79rw60mhdd2456avsjup39etadey3rsqu740xjjpfjs4mpzftex0ul249q5z6nlztntjmehsrf4v69l7x2c0yxyjyyy0q925jlqacqqqqqzqqqqqqr2kyacqqqzc03afq57kmxux0ekwt2cdde34nnxsk7q0g7n6xtcsr9duequeh4lfn8q2k3z7gtmqx46h2at4w46h2at4w46h2at4w46h2at4w46h2at4w46h2at4w46kpmkxyhrzvpwxvznqt339cc9a4v8czv5yw8h43fc6738q5he0uzefa2mnmh5mvp5n5hkp59z5atq2r0tdmwk57kjlhhahv4xq3644v9f2zynd5fu4cuamjt48y2ytkv80r4q1",
            "index": 0,
            "operators": 4,
            "lock_hash": "0x0678a3769fbbb5aaad35d6425c0c4b95f5b924470073d579a520a650aec224af",
            "definition_hash": "0x267f3eaa941416a7f12e6b96f3780d35668bff1958790c491084780aaa4be0ee",
            "keystores": 2,
            "deposit_files": 2,
            "deposit_files_digest": "sha256:c3e3d4829eb6cdc33f3672d586b731ace6685bc07a3d3d197880cade641ccdeb",
            "charon_image": "sha256:abababababababababababababababababababababababababababababababab",
            "charon_version": "v1.10.3",
            "program_version": "0.1.0",
            "time": "2026-09-21T14:13:20Z"
          }
        },
        {
          "index": 1,
          "operator": 2,
          "address": "",
          "status": "missing",
          "receipt": null
        },
        {
          "index": 2,
          "operator": 3,
          "address": "",
          "status": "missing",
          "receipt": null
        },
        {
          "index": 3,
          "operator": 4,
          "address": "",
          "status": "missing",
          "receipt": null
        }
      ],
      "findings": [
        {
          "check": "receipt-missing",
          "weight": "could-not-tell",
          "subject": "operator 2 of 4",
          "seen": "no receipt",
          "expected": "a receipt",
          "advice": "ask them for the line that `docker charon-dkg receipt` prints"
        },
        {
          "check": "receipt-missing",
          "weight": "could-not-tell",
          "subject": "operator 3 of 4",
          "seen": "no receipt",
          "expected": "a receipt",
          "advice": "ask them for the line that `docker charon-dkg receipt` prints"
        },
        {
          "check": "receipt-missing",
          "weight": "could-not-tell",
          "subject": "operator 4 of 4",
          "seen": "no receipt",
          "expected": "a receipt",
          "advice": "ask them for the line that `docker charon-dkg receipt` prints"
        },
        {
          "check": "receipt-text",
          "weight": "note",
          "subject": "chat.txt, line 1",
          "seen": "a clipped receipt: only 15 characters are here",
          "expected": "a complete receipt",
          "advice": "copy the whole line again from where it was printed"
        }
      ],
      "bundle": null
    }
    "#);
}

#[test]
fn a_lock_that_does_not_pass_is_no_measure() {
    let mut group = Group::read(USUAL);
    let cluster = |lock: &ClusterLock| {
        let material = Material {
            cluster_lock: Some(NamedFile::new("cluster-lock.json", lock.to_json().into())),
            ..Material::default()
        };
        let options = Options::new(Scope::LockOnly);
        verify(&material, &Expectations::default(), &options).cluster
    };
    assert_eq!(cluster(&group.lock), Some(group.cluster));
    let operators = &mut group.lock.definition.operators;
    operators[1].enr = operators[0].enr.clone();
    assert_eq!(cluster(&group.lock), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_and_repetition_change_nothing(order in prop::collection::vec(0..9_usize, 0..30)) {
        let group = Group::cached();
        let mut pool = group.receipts();
        pool.push(group.signed(1, |it| it.time += 5));
        pool.push(group.signed(2, |it| it.keystores = 7));
        pool.push(group.signed(3, |it| it.charon_version = None));
        pool.push(Receipt::sign(group.statement(0), &group.keys[3]).unwrap());
        pool.push(group.signed(0, |it| it.lock_hash = charon_files::cluster::LockHash::new([1; 32])));
        let picked: Vec<Receipt> = order.iter().map(|at| pool[*at].clone()).collect();
        let mut canonical: Vec<usize> = order.clone();
        canonical.sort_unstable();
        canonical.dedup();
        let canonical: Vec<Receipt> = canonical.into_iter().map(|at| pool[at].clone()).collect();
        let one = confirm(&group.cluster, &picked, None);
        prop_assert_eq!(&one, &confirm(&group.cluster, &canonical, None));
        // What is kept of a confirmation and given again brings nothing new.
        let mut again = canonical;
        again.extend_from_slice(one.evidence());
        prop_assert_eq!(&one, &confirm(&group.cluster, &again, None));
        // And it leads to the same answers by itself.
        let kept = confirm(&group.cluster, one.evidence(), None);
        prop_assert_eq!(kept.evidence(), one.evidence());
        for (kept, one) in kept.operators().iter().zip(one.operators()) {
            // A forged receipt is no evidence against anybody.
            let forged = one.status == Status::WrongKey;
            prop_assert_eq!(kept.status, if forged { Status::Missing } else { one.status });
            prop_assert_eq!(&kept.receipt, &one.receipt);
        }
    }

    #[test]
    fn no_mangling_of_lines_loses_a_receipt(
        width in 1..200_usize,
        between in prop::sample::select(vec!["\n", "\r\n", "\n> ", "\n>> ", " ", "\u{a0}", "\u{200b}", "\n\t| ", "\u{2028}", "-\n", "\\\n"]),
        around in prop::sample::select(vec![("", ""), ("`", "`"), ("**", "**."), ("\u{201e}", "\u{201c}"), ("<", ">"), ("op 2: ", " (sent 18:12)"), ("see\n", "\nthanks")]),
        upper in any::<bool>(),
    ) {
        let group = Group::cached();
        let receipt = group.receipt(1);
        let mut text = receipt.to_string();
        if upper {
            text.make_ascii_uppercase();
        }
        let lines: Vec<&str> = (0..text.len())
            .step_by(width)
            .map(|at| &text[at..text.len().min(at + width)])
            .collect();
        let mangled = format!("{}{}{}", around.0, lines.join(between), around.1);
        prop_assert_eq!(found(&mangled), [receipt]);
    }

    #[test]
    fn no_text_makes_the_reader_fall_over(text in "\\PC{0,300}") {
        let with = format!("dkgreceipt1{text}");
        prop_assert!(find_receipts(&with).unwrap().iter().all(Result::is_err));
    }
}
