//! `define`: one file that every later step takes, or all that is wrong with the terms.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use charon_files::cluster::definition::Definition;
use charon_files::keys::k1::EnrKey;

use crate::support::{DEFINITION, KEY, TestEnv};

const WITHDRAWAL: &str = "0x52908400098527886E0F7030069857D2E4169EE7";
const FEES: &str = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359";

fn enr(seed: u8) -> String {
    let key = EnrKey::from_secret_bytes(&[seed; 32]).unwrap();
    key.enr().text().to_owned()
}

/// Four operators' ENRs as a group's chat has them.
fn chat() -> String {
    format!(
        "Ann: mine is {}\nBen:\n`{}`\nCy: “{}”\nDi: {}.\n",
        enr(1),
        enr(2),
        enr(3),
        enr(4)
    )
}

/// The command with sound terms and more words.
fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![
        "define",
        "--network=hoodi",
        "--num-validators=2",
        "--withdrawal-addresses",
        WITHDRAWAL,
        "--fee-recipient-addresses",
        FEES,
    ];
    args.extend_from_slice(more);
    args
}

#[test]
fn the_file_is_what_verify_and_plan_take() {
    let env = TestEnv::new();
    fs::write(env.path("chat.txt"), chat()).unwrap();
    let chat = env.path("chat.txt").display().to_string();
    let shown = env
        .run(&with(&["--name=my cluster", "--format=json", &chat]))
        .exits(0)
        .json();
    let path = env.project().join(DEFINITION);
    let bytes = fs::read(&path).unwrap();
    let definition = Definition::parse(&bytes).unwrap().value;
    assert_eq!(
        shown["definition_hash"],
        definition.definition_hash.unwrap().to_string()
    );
    assert_eq!(definition.name, "my cluster");
    assert_eq!(
        definition
            .operators
            .iter()
            .map(|it| it.enr.clone())
            .collect::<Vec<_>>(),
        [enr(1), enr(2), enr(3), enr(4)]
    );
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
    let name = path.display().to_string();
    // What the funder compares is the same everywhere.
    let verified = env.run(&["verify", "--definition", &name, "--format=json"]);
    let verified = verified.exits(0).json();
    assert_eq!(verified["payouts"], shown["payouts"]);
    let whole = |address: &str| serde_json::json!([{"first_validator": 1, "last_validator": 2, "address": address}]);
    assert_eq!(shown["payouts"]["withdrawal_addresses"], whole(WITHDRAWAL));
    assert_eq!(shown["payouts"]["fee_recipient_addresses"], whole(FEES));
    let text = env.run(&["verify", "--definition", &name]).exits(0).stdout;
    assert!(
        text.contains(&format!("withdrawal       {WITHDRAWAL}\n")),
        "{text}"
    );

    // The operator whose key is the third finds its place in it.
    let mine = TestEnv::new();
    mine.put(KEY, hex::encode([3_u8; 32]).as_bytes());
    let plan = mine.run(&["plan", "--definition", &name, "--format=json"]);
    let plan = plan.json();
    let problems: Vec<_> = plan["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["weight"] != "note")
        .map(|finding| finding["check"].as_str().unwrap())
        .collect();
    assert!(
        !problems.contains(&"enr-key-not-in-definition") && !problems.contains(&"definition"),
        "{problems:?}"
    );
}

#[test]
fn people_are_told_what_to_send_and_compare() {
    let env = TestEnv::new();
    let enrs: Vec<String> = (1..=4).map(enr).collect();
    let mut args = with(&["--name=my cluster"]);
    args.extend(enrs.iter().map(String::as_str));
    let outcome = env.run(&args).exits(0);
    let definition = Definition::parse(&fs::read(env.project().join(DEFINITION)).unwrap()).unwrap();
    let definition = definition.value;
    for expected in [
        definition.definition_hash.unwrap().to_string(),
        definition.config_hash.unwrap().to_string(),
        "2 (3 of 4 operators sign)".to_owned(),
        "operator 4".to_owned(),
        "v1.10.0, run by charon v1.10.3".to_owned(),
    ] {
        assert!(outcome.stdout.contains(&expected), "{}", outcome.stdout);
    }
    assert!(
        outcome
            .stderr
            .contains("run --definition cluster-definition.json")
    );
}

#[test]
fn a_definition_is_never_replaced() {
    let env = TestEnv::new();
    let enrs: Vec<String> = (1..=4).map(enr).collect();
    let mut args = with(&[]);
    args.extend(enrs.iter().map(String::as_str));
    env.run(&args).exits(0);
    let before = env.tree();
    let outcome = env.run(&args).exits(3);
    assert!(outcome.stderr.contains("exists already"), "{outcome}");
    assert_eq!(env.tree(), before);

    env.run(&[&args[..], &["--output", "other.json"]].concat())
        .exits(0);
    // What is neither a file nor an ENR is a mistake of the command line.
    let before = env.tree();
    let misspelt = ["no-such-file.txt", "--output", "third.json"];
    env.run(&with(&misspelt)).exits(2);
    assert_eq!(env.tree(), before);
}

/// A web page breaks a record into pieces that look whole, and a recorded terminal colours it.
#[test]
fn a_saved_page_is_read_as_it_was_shown() {
    let env = TestEnv::new();
    let middle = |enr: String, between: &str| {
        let (start, end) = enr.split_at(70);
        format!("{start}{between}{end}")
    };
    let page = format!(
        "<div class=\"text\">{}</div>\n<p><a href=\"{}\">mine</a></p><p>{}</p>\n<p>{}</p>\n{}\n",
        middle(enr(1), "<wbr>"),
        enr(2),
        middle(enr(3), "<br>\n&gt; "),
        middle(enr(4).replace('-', "&#45;"), "&#8203;"),
        middle(enr(5), "\u{1b}[0;32m"),
    );
    fs::write(env.path("page.html"), page).unwrap();
    let page = env.path("page.html").display().to_string();
    let shown = env
        .run(&with(&["--operators=5", "--format=json", &page]))
        .exits(0)
        .json();
    let operators = shown["operators"].as_array().unwrap();
    let lines = [1, 2, 2, 4, 5];
    for ((operator, seed), line) in operators.iter().zip(1..).zip(lines) {
        assert_eq!(operator["enr"], enr(seed));
        let source = operator["source"].as_str().unwrap();
        assert!(
            source.ends_with(&format!("page.html, line {line}")),
            "{source}"
        );
    }
}

#[test]
fn a_pipe_is_asked_for_through_standard_input() {
    let env = TestEnv::new();
    let pipe = env.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let pipe = pipe.display().to_string();
    let refused = env.run(&with(&[&pipe])).exits(2);
    assert!(refused.stderr.contains("give - for it"), "{refused}");
}

#[test]
fn everything_wrong_is_said_at_once_and_nothing_written() {
    let env = TestEnv::new();
    let clipped = &enr(4)[..90];
    let (one, two) = (enr(1), enr(2));
    let outcome = env
        .run(&[
            "define",
            "--network=goerli",
            "--num-validators=2",
            "--withdrawal-addresses",
            &WITHDRAWAL.to_lowercase(),
            "--fee-recipient-addresses=vitalik.eth",
            "--deposit-amounts=1,30",
            "--threshold=9",
            "--operators=4",
            &one,
            &two,
            &one,
            clipped,
        ])
        .exits(3);
    for expected in [
        "define-network",
        "define-address-spelling",
        "define-address",
        "define-deposit-amounts",
        "threshold-range",
        "operator-enr",
        "define-operator-count",
    ] {
        assert!(
            outcome.failed().contains(&expected),
            "{expected}: {outcome}"
        );
    }
    assert!(!env.project().join(DEFINITION).exists());
}

#[test]
fn nothing_that_was_given_vanishes() {
    let env = TestEnv::new();
    let enrs: Vec<String> = (1..=4).map(enr).collect();
    let good: Vec<&str> = enrs.iter().map(String::as_str).collect();
    let key = "5a".repeat(32);
    fs::write(env.path("empty.txt"), "hello\n").unwrap();
    fs::write(env.path("key.txt"), format!("{key}\n")).unwrap();
    fs::write(env.path("leak.txt"), format!("{}\nmine: {key}\n", enr(5))).unwrap();
    let [empty, key_file, leak] = ["empty.txt", "key.txt", "leak.txt"].map(|it| {
        let path = env.path(it);
        path.display().to_string()
    });
    let secret_word = "never send an ENR private key";
    let unprefixed = enr(5)[60..].to_owned();
    for (word, code, says) in [
        ("gone.txt", 2, "gone.txt is neither a file nor an ENR"),
        ("thanks", 2, "thanks is neither a file nor an ENR"),
        (&key, 2, secret_word),
        (&format!("0x{key}"), 2, secret_word),
        (&empty, 3, "no ENR in it"),
        (&key_file, 2, secret_word),
        (&leak, 3, secret_word),
        (
            "enr://682e485ac549c4eb",
            3,
            "FAIL [operator-enr] command line",
        ),
        (&unprefixed, 3, "a piece of an ENR"),
    ] {
        for position in [0, 2, 4] {
            let mut words = with(&good);
            words.insert(words.len() - 4 + position, word);
            let outcome = env.run(&words).exits(code);
            assert!(outcome.stderr.contains(says), "{word}: {outcome}");
            assert!(!outcome.to_string().contains(&key), "{outcome}");
            assert!(!env.project().join(DEFINITION).exists());
        }
    }
    // All at once.
    let outcome = env.run(&with(&["gone.txt", good[0], "thanks"])).exits(2);
    assert!(
        outcome
            .stderr
            .contains("neither files nor ENRs: gone.txt, thanks"),
        "{outcome}"
    );
}

#[test]
fn a_mangled_chat_is_read_and_each_record_has_its_place() {
    let env = TestEnv::new();
    let wrapped = format!("{}\n> {}", &enr(2)[..76], &enr(2)[76..]);
    let chat = format!(
        "Ann: {}\nBen:\n> {wrapped}\nCy: {}\nDi: {}\nAnn: as I said, {}\n",
        enr(1).replace('_', "\\_"),
        enr(3).replacen("enr:", "enr://", 1),
        enr(4).replacen("enr:", "", 1),
        enr(1),
    );
    let utf16: Vec<u8> = ["\u{feff}", &chat]
        .concat()
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    for (name, bytes) in [("chat.txt", chat.into_bytes()), ("windows.txt", utf16)] {
        fs::write(env.project().join(name), bytes).unwrap();
        let output = format!("--output={name}.json");
        let outcome = env
            .run(&with(&[name, "--operators=4", &output, "--format=json"]))
            .exits(0);
        let shown = outcome.json();
        for (index, line) in [1, 3, 5, 6].into_iter().enumerate() {
            let operator = &shown["operators"][index];
            assert_eq!(operator["enr"], enr(u8::try_from(index + 1).unwrap()));
            assert_eq!(operator["source"], format!("{name}, line {line}"));
        }
        assert!(shown["operators"][4].is_null());
        let notes = shown["notes"].as_array().unwrap();
        let repeated = notes.iter().find(|it| it["check"] == "define-enr-repeated");
        assert_eq!(repeated.unwrap()["subject"], format!("{name}, line 7"));
    }
    // One more or fewer than was agreed is refused, with where each was found.
    for expected in ["--operators=3", "--operators=5"] {
        let outcome = env.run(&with(&["chat.txt", expected])).exits(3);
        assert_eq!(outcome.failed(), ["define-operator-count"]);
        assert!(outcome.stderr.contains("chat.txt, line 6"), "{outcome}");
    }
}
