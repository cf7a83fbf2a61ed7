//! `ready` with the lines of others: who is ready, who is missing or differs, and what is kept.

use std::fs;

use charon_files::cluster::NodeIndex;
use charon_files::cluster::definition::Definition;
use charon_files::keys::k1::EnrKey;
use charon_proof::ready::{EngineKind, List, Processor, ReadyLine, SeenEngine, Statement};
use charon_proof::receipt::CharonImage;

use crate::support::{CEREMONY, DEFINITION, KEY, TestEnv, fixture};

fn now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap()
}

/// What this operator of the ceremony says now, with whatever else they say.
pub(crate) fn line(node: usize, edit: impl FnOnce(&mut Statement)) -> String {
    let bytes = fs::read(fixture(CEREMONY, node).join(DEFINITION)).unwrap();
    let definition = Definition::parse(&bytes).unwrap().value;
    let key = EnrKey::parse(&fs::read(fixture(CEREMONY, node).join(KEY)).unwrap()).unwrap();
    let mut statement = Statement {
        node: NodeIndex::new(node),
        operators: 4,
        definition_hash: definition.definition_hash().unwrap(),
        time: now(),
        charon_version: "v1.10.3".parse().unwrap(),
        program_version: "0.1.0".to_owned(),
        relays: List::of(["https://4.relay.obol.dev"]),
        flags: List::of([]),
        engine: Some(SeenEngine {
            kind: EngineKind::Rootful,
            charon_image: CharonImage::Manifest([0xab; 32]),
        }),
        processor: Processor::Amd64,
        is_backed_up: true,
    };
    edit(&mut statement);
    ReadyLine::sign(statement, &key).unwrap().to_string()
}

#[test]
fn a_coordinator_without_a_key_sees_who_is_ready() {
    let env = TestEnv::new();
    let definition = fixture(CEREMONY, 0).join(DEFINITION);
    let definition = definition.to_str().unwrap();
    let chat = format!(
        "alice: {}\nbob: {}\nbob again: {}\ncarol: {} (and a receipt of last year: dkgreceipt1qyq0qqqp)\n",
        line(0, |_| {}),
        line(1, |it| it.relays = List::of(["http://other"])),
        &line(1, |_| {})[..60],
        line(2, |it| it.charon_version = "v1.9.0".parse().unwrap()),
    );
    fs::write(env.project().join("chat.txt"), &chat).unwrap();
    let before = env.tree();
    let said = env
        .run(&["ready", "chat.txt", "--definition", definition])
        .exits(4);
    snapshot!("ready_some", said);
    let said = env
        .run(&[
            "ready",
            "chat.txt",
            "--definition",
            definition,
            "--format",
            "json",
        ])
        .exits(4)
        .json();
    assert_eq!(said["ready"], false);
    let statuses: Vec<&str> = said["operators"]
        .as_array()
        .unwrap()
        .iter()
        .map(|operator| operator["status"].as_str().unwrap())
        .collect();
    assert_eq!(
        statuses,
        ["ready", "other-relays", "other-release", "missing"]
    );
    // Whoever has no key keeps nothing.
    assert_eq!(env.tree(), before);
}

/// A line from Windows or macOS, where nobody looked at an engine: kept, shown, and never as good as the others.
#[test]
fn a_line_without_an_engine_is_shown_as_such_and_completes_nothing() {
    let env = TestEnv::finished(CEREMONY, 0);
    let (all, newer) = (
        [
            line(0, |_| {}),
            line(1, |_| {}),
            line(2, |it| it.engine = None),
            line(3, |_| {}),
        ],
        line(2, |it| it.time += 1),
    );
    let chat = all.join("\n");
    fs::write(env.project().join("chat.txt"), &chat).unwrap();
    let said = env.run(&["ready", "chat.txt"]).exits(4);
    assert!(
        said.stdout.contains(
            "3 of 4    unsigned ENGINE UNKNOWN    signed where neither engine nor image was checked"
        ),
        "{said}"
    );
    let said = env.run(&["ready", "--bundle", "--format", "json"]).exits(4);
    let document = said.json();
    assert_eq!(document["ready"], false);
    assert_eq!(document["bundle"], serde_json::Value::Null);
    let third = &document["operators"][2];
    assert_eq!(third["status"], "engine-unknown");
    assert_eq!(third["statement"]["engine"], "not-looked-at");
    assert_eq!(third["statement"]["charon_image"], "");
    let definition = fixture(CEREMONY, 0).join(DEFINITION);
    let board = env
        .run(&[
            "board",
            "--definition",
            definition.to_str().unwrap(),
            "chat.txt",
        ])
        .exits(0);
    for words in [
        "NOT READY",
        "ENGINE UNKNOWN",
        "Your engine was not looked at",
    ] {
        assert!(board.stdout.contains(words), "{words}: {board}");
    }
    env.run(&["ready", &newer]).exits(0);
}

#[test]
fn a_project_keeps_the_lines_of_its_operators_until_all_are_ready() {
    let env = TestEnv::finished(CEREMONY, 0);
    let ask = |words: &[&str]| env.run(&[&["ready"], words].concat());
    ask(&[&line(0, |_| {}), &line(1, |_| {})]).exits(4);
    ask(&[&line(2, |it| it.time -= 90_000)]).exits(4);
    let said = ask(&["--bundle"]).exits(4);
    assert_eq!(said.stdout.trim(), "");
    assert!(said.stderr.contains("2 of 4 operators are ready"), "{said}");
    let (third, fourth) = (line(2, |_| {}), line(3, |_| {}));
    let said = ask(&[&third, &fourth]).exits(0);
    assert!(
        said.stdout
            .contains("4 of 4 operators are ready, and all agree"),
        "{said}"
    );
    let bundle = ask(&["--bundle"]).exits(0).stdout;
    assert_eq!(bundle.lines().count(), 4);
    assert!(bundle.contains(&third) && bundle.contains(&fourth));
    // The bundle says the same to somebody else.
    let other = TestEnv::new();
    fs::write(other.project().join("bundle.txt"), &bundle).unwrap();
    let definition = fixture(CEREMONY, 0).join(DEFINITION);
    other
        .run(&[
            "ready",
            "bundle.txt",
            "--definition",
            definition.to_str().unwrap(),
        ])
        .exits(0);
}

#[test]
fn no_line_is_printed_where_something_speaks_against_a_start() {
    let env = TestEnv::ready();
    let before = env.tree();
    let said = env.run(&["ready"]).exits(3);
    assert_eq!(said.stdout, "");
    assert_eq!(
        said.failed(),
        ["enr-key-not-backed-up", "engine-unreachable"]
    );
    assert_eq!(env.tree(), before);
    let said = env.run(&["ready", "no-such-file"]).exits(2);
    assert!(
        said.stderr
            .contains("no-such-file is neither a file nor a ready line"),
        "{said}"
    );
}
