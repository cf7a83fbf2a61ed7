//! Ready lines of the operators of a real definition: what chats do to a line, what forgers could, and who is ready.

use charon_files::cluster::{DefinitionHash, NodeIndex};
use charon_files::finding::Weight;
use charon_proof::cluster::Operators;
use charon_proof::line::{LineError, LineKind};
use charon_proof::readiness::{Group as Readied, Readiness, weigh};
use charon_proof::ready::{
    EngineKind, List, MAX_READY_CHARS, Processor, ReadyLine, SeenEngine, Statement,
    find_ready_lines,
};
use charon_proof::receipt::{CharonImage, Receipt, find_receipts};
use proptest::prelude::*;

use crate::USUAL;
use crate::edits::resized;
use crate::support::{Group, TODAY, armour_as, decode};

const DAY: u64 = 24 * 60 * 60;

fn operators(group: &Group) -> Operators {
    let definition = &group.lock.definition;
    Operators::of(definition, definition.definition_hash().unwrap()).unwrap()
}

fn statement(group: &Group, node: usize) -> Statement {
    Statement {
        node: NodeIndex::new(node),
        operators: u16::try_from(group.keys.len()).unwrap(),
        definition_hash: group.lock.definition.definition_hash().unwrap(),
        time: TODAY,
        charon_version: "v1.10.3".parse().unwrap(),
        program_version: "0.1.0".to_owned(),
        relays: List::of(["https://0.relay.obol.tech"]),
        flags: List::of([]),
        engine: runs(CharonImage::Manifest([0xab; 32])),
        processor: Processor::Amd64,
        is_backed_up: true,
    }
}

fn runs(charon_image: CharonImage) -> Option<SeenEngine> {
    Some(SeenEngine {
        kind: EngineKind::Rootful,
        charon_image,
    })
}

fn signed(group: &Group, node: usize, edit: impl FnOnce(&mut Statement)) -> ReadyLine {
    let mut statement = statement(group, node);
    edit(&mut statement);
    ReadyLine::sign(statement, &group.keys[node]).unwrap()
}

fn lines(group: &Group) -> Vec<ReadyLine> {
    (0..4).map(|node| signed(group, node, |_| {})).collect()
}

fn found(text: &str) -> Vec<ReadyLine> {
    let found = find_ready_lines(text).unwrap();
    found.into_iter().map(|it| it.expect(text)).collect()
}

fn judged(lines: &[ReadyLine]) -> Readied {
    weigh(&operators(Group::cached()), lines, None, TODAY)
}

fn statuses(lines: &[ReadyLine]) -> Vec<Readiness> {
    let group = judged(lines);
    group.operators().iter().map(|line| line.status).collect()
}

/// Everybody ready, but for this operator.
fn with(node: usize, edit: impl FnOnce(&mut Statement)) -> Vec<ReadyLine> {
    let group = Group::cached();
    let mut lines = lines(group);
    lines[node] = signed(group, node, edit);
    lines
}

#[test]
fn a_line_is_short_and_says_everything_again_and_no_secret() {
    let group = Group::cached();
    let mut longest = statement(group, 0);
    longest.charon_version = "v4294967295.10.3-rc12345".parse().unwrap();
    longest.program_version = "v0.1.0-rc.1+sha.01234567".to_owned();
    longest.relays = List::of([
        "https://relay.a-company-with-a-long-name.example",
        "http://b",
    ]);
    longest.flags = List::of([format!("--feature-set={}", "x".repeat(36)).as_str()]);
    assert!(longest.relays.shown().contains('…') && !longest.flags.shown().contains('…'));
    let longest = ReadyLine::sign(longest, &group.keys[0]).unwrap();
    assert_eq!(longest.to_string().len(), MAX_READY_CHARS);
    for line in lines(group).iter().chain([&longest]) {
        let text = line.to_string();
        assert_eq!(ReadyLine::parse(&text), Ok(line.clone()));
        let bytes = decode(&text);
        for secret in group.secrets.iter().flatten() {
            let raw = hex::decode(secret).unwrap_or_else(|_| secret.clone().into_bytes());
            assert!(!bytes.windows(raw.len()).any(|part| part == raw));
        }
    }
}

#[test]
fn a_receipt_is_never_taken_for_a_ready_line_or_the_other_way_round() {
    let group = Group::cached();
    let (receipt, ready) = (group.receipt(1), signed(group, 1, |_| {}));
    let chat = format!(
        "alice: {ready}\nbob: {receipt}\n{}",
        &ready.to_string()[..200]
    );
    assert_eq!(found(&chat), std::slice::from_ref(&ready));
    let receipts = find_receipts(&chat).unwrap();
    assert_eq!(receipts, [Ok(receipt.clone())]);
    // Not with the other's beginning, and not with the other's checksum either.
    for (kind, bytes) in [
        ("ready", decode(&receipt.to_string())),
        ("receipt", decode(&ready.to_string())),
    ] {
        let (_, body) = chat.split_once("dkg").unwrap();
        assert!(!body.is_empty());
        let forged = armour_as(kind, bytes);
        let read = find_ready_lines(&forged).unwrap();
        assert!(read.iter().all(Result::is_err), "{read:?}");
        let read = find_receipts(&forged).unwrap();
        assert!(read.iter().all(Result::is_err), "{read:?}");
    }
    let swapped = receipt.to_string().replace("dkgreceipt1", "dkgready1");
    assert!(ReadyLine::parse(&swapped).is_err());
    // Not even where somebody signed the very bytes of one kind as the other: the domains differ.
    let key = group.keys[1].public_key();
    let mut bytes = decode(&ready.to_string());
    let tail = bytes.len() - 68;
    bytes[tail..tail + 64].copy_from_slice(receipt.signature());
    let forged = ReadyLine::parse(&armour_as("ready", bytes)).unwrap();
    assert!(!forged.is_signed_by(&key) && ready.is_signed_by(&key));
}

#[test]
fn a_clipped_line_before_another_kind_is_said_to_be_clipped() {
    let group = Group::cached();
    let (receipt, ready) = (
        group.receipt(1).to_string(),
        signed(group, 1, |_| {}).to_string(),
    );
    let ready_error = |text: &str| {
        let found = find_ready_lines(text).unwrap().remove(0);
        found.unwrap_err().error
    };
    let receipt_error = |text: &str| find_receipts(text).unwrap().remove(0).unwrap_err().error;
    for (error, whole) in [
        (ready_error(&format!("{} {receipt}", &ready[..100])), &ready),
        (
            receipt_error(&format!("{} {ready}", &receipt[..100])),
            &receipt,
        ),
    ] {
        let LineError::Clipped { expected, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(expected, Some(whole.len()));
    }
    assert_eq!(
        ready_error(&ready[..100]).text(LineKind::Ready),
        format!(
            "a clipped ready line: only 100 of {} characters are here",
            ready.len()
        )
    );
}

#[test]
fn everybody_is_ready_only_with_a_line_of_each() {
    let group = Group::cached();
    let all = lines(group);
    let whole = judged(&all);
    assert!(whole.is_complete());
    assert_eq!(whole.summary(), "4 of 4 operators are ready, and all agree");
    assert_eq!(found(&whole.bundle().unwrap()), all);
    let agreement = whole.agreement().unwrap();
    assert_eq!(agreement.charon_version.to_string(), "v1.10.3");
    assert_eq!(agreement.manifest, [0xab; 32]);
    let three = judged(&all[..3]);
    assert_eq!(three.operators()[3].status, Readiness::Missing);
    assert_eq!(
        three.summary(),
        "3 of 4 operators are ready; no ready line: operator 4"
    );
    assert!(three.bundle().is_none() && three.agreement().is_none());
    assert!(judged(&[]).bundle().is_none());
}

#[test]
fn who_differs_is_named_and_what_the_others_have_is_said() {
    use Readiness::{
        ClockAhead, ContradictsDefinition, OtherDefinition, OtherFlags, OtherImage, OtherRelays,
        OtherRelease, Ready, TooOld,
    };
    let alone = |status| vec![Ready, Ready, status, Ready];
    let one = |edit: fn(&mut Statement)| statuses(&with(2, edit));
    assert_eq!(
        one(|it| it.charon_version = "v1.9.0".parse().unwrap()),
        alone(OtherRelease)
    );
    assert_eq!(
        one(|it| it.relays = List::of(["http://other"])),
        alone(OtherRelays)
    );
    assert_eq!(
        one(|it| it.flags = List::of(["--timeout=5m"])),
        alone(OtherFlags)
    );
    assert_eq!(
        one(|it| it.engine = runs(CharonImage::Manifest([1; 32]))),
        alone(OtherImage)
    );
    assert_eq!(one(|it| it.time += 61), alone(ClockAhead));
    assert_eq!(one(|it| it.time += 60), alone(Ready));
    assert_eq!(one(|it| it.time -= DAY + 1), alone(TooOld));
    assert_eq!(one(|it| it.time -= DAY), alone(Ready));
    assert_eq!(one(|it| it.operators = 5), alone(ContradictsDefinition));
    let elsewhere = |it: &mut Statement| it.definition_hash = DefinitionHash::new([9; 32]);
    assert_eq!(one(elsewhere), alone(OtherDefinition));

    let group = judged(&with(2, |it| it.relays = List::of(["http://other"])));
    let finding = &group.operators()[2].findings[0];
    assert_eq!(finding.check, "ready-relays");
    assert_eq!(finding.seen, "relays: http://other");
    assert_eq!(
        finding.expected,
        "the same for every operator; relays: https://0.relay.obol.tech of operators 1, 2 and 4"
    );
    // Two against two: nobody is the measure.
    let mut halves = with(2, |it| it.relays = List::of(["http://other"]));
    halves[3] = signed(Group::cached(), 3, |it| {
        it.relays = List::of(["http://other"])
    });
    assert_eq!(statuses(&halves), [OtherRelays; 4]);
    // Another patch of the same line, or an image that no registry knows, stops nobody; but neither is agreed on.
    for edit in [
        (|it| it.charon_version = "v1.10.2".parse().unwrap()) as fn(&mut Statement),
        |it| it.engine = runs(CharonImage::Local([1; 32])),
        |it| it.is_backed_up = false,
    ] {
        let group = judged(&with(2, edit));
        assert!(group.is_complete());
        assert_eq!(group.operators()[2].findings.len(), 1);
    }
    assert!(
        judged(&with(2, |it| it.engine = runs(CharonImage::Local([1; 32]))))
            .agreement()
            .is_none()
    );
}

/// What is signed where no engine was looked at is a line of another format, so that no older program counts it; and it is
/// never as good as one of a machine whose engine was looked at.
#[test]
fn a_line_without_an_engine_is_told_apart_and_makes_nobody_ready() {
    let group = Group::cached();
    let without = signed(group, 2, |it| it.engine = None);
    let text = without.to_string();
    assert_eq!(ReadyLine::parse(&text), Ok(without));
    let bytes = decode(&text);
    assert_eq!(
        (bytes[0], decode(&lines(group)[2].to_string())[0]),
        (2, 1),
        "the first byte is the format"
    );
    // Who calls it a line of the other format finds nothing where the image should be, and the signature is of neither.
    for format in [1, 3] {
        let mut renamed = bytes.clone();
        renamed[0] = format;
        let error = ReadyLine::parse(&armour_as("ready", renamed)).unwrap_err();
        match format {
            1 => assert!(matches!(error, LineError::Malformed(_)), "{error:?}"),
            other => assert_eq!(
                error.text(LineKind::Ready),
                format!(
                    "a ready line of format {other}; this program reads none newer than format 2"
                )
            ),
        }
    }

    let all = with(2, |it| it.engine = None);
    let judged = judged(&all);
    let [ready, _, unknown, _] = judged.operators() else {
        panic!("four operators");
    };
    assert_eq!(ready.status, Readiness::Ready);
    assert_eq!(unknown.status, Readiness::EngineUnknown);
    let [finding] = &*unknown.findings else {
        panic!("{:?}", unknown.findings);
    };
    assert_eq!(
        (finding.check, finding.weight),
        ("ready-engine", Weight::CouldNotTell)
    );
    assert!(!judged.is_complete() && judged.agreement().is_none() && judged.bundle().is_none());
    assert_eq!(
        judged.summary(),
        "3 of 4 operators are ready; engine not looked at: operator 3"
    );
    // What it does say is compared all the same, and the next line with an engine counts.
    assert_eq!(
        statuses(&with(2, |it| {
            it.engine = None;
            it.relays = List::of(["http://other"]);
        }))[2],
        Readiness::OtherRelays
    );
    let mut later = all;
    later.push(signed(group, 2, |it| it.time += 1));
    assert_eq!(statuses(&later), [Readiness::Ready; 4]);
}

#[test]
fn the_newest_line_counts_and_one_of_an_older_ceremony_does_no_harm() {
    let group = Group::cached();
    let mut all = lines(group);
    // A mended line after a wrong one, an older ceremony, and a clock that was wrong for a while.
    all.push(signed(group, 1, |it| {
        it.time -= 60;
        it.relays = List::of(["http://other"]);
    }));
    all.push(signed(group, 2, |it| {
        it.time -= 9 * DAY;
        it.definition_hash = DefinitionHash::new([9; 32]);
    }));
    all.push(signed(group, 3, |it| it.time += DAY));
    assert_eq!(statuses(&all), [Readiness::Ready; 4]);
    all.push(signed(group, 1, |it| {
        it.time += 1;
        it.flags = List::of(["--timeout=5m"]);
    }));
    assert_eq!(statuses(&all)[1], Readiness::OtherFlags);
}

#[test]
fn a_line_in_anothers_name_is_no_line_of_theirs() {
    let group = Group::cached();
    let mut all = lines(group);
    let forged = ReadyLine::sign(statement(group, 2), &group.keys[0]).unwrap();
    all[2] = forged.clone();
    assert_eq!(statuses(&all)[2], Readiness::WrongKey);
    // Beside a real one it is noted.
    all[2] = signed(group, 2, |_| {});
    all.push(forged);
    let judged = judged(&all);
    assert!(judged.is_complete());
    assert_eq!(judged.operators()[2].findings[0].check, "ready-key");
}

#[test]
fn what_a_node_is_about_to_start_with_counts_more_than_what_it_said() {
    let group = Group::cached();
    let own = Statement {
        relays: List::of(["http://other"]),
        time: TODAY - 9 * DAY,
        ..statement(group, 0)
    };
    let judged = weigh(&operators(group), &lines(group), Some(&own), TODAY);
    assert_eq!(judged.operators()[0].status, Readiness::OtherRelays);
    // And without a signed line of its own it makes no agreement.
    let own = statement(group, 0);
    let judged = weigh(&operators(group), &lines(group)[1..], Some(&own), TODAY);
    assert!(judged.is_complete() && judged.agreement().is_none() && judged.bundle().is_none());
}

/// Edited lines: none is accepted as anything but the original. `MUTANTS=1` tries all, which are more than ten thousand.
#[test]
fn no_edited_line_is_accepted() {
    let group = Group::cached();
    let originals = lines(group);
    let step: usize = std::env::var("MUTANTS").map_or(16, |text| text.parse().unwrap());
    let mut number = 0_usize;
    let mut tried = 0_usize;
    let mut give = |text: &dyn Fn() -> String| {
        number += 1;
        if !number.is_multiple_of(step) {
            return;
        }
        tried += 1;
        let text = text();
        let read: Vec<ReadyLine> = find_ready_lines(&text)
            .unwrap()
            .into_iter()
            .filter_map(Result::ok)
            .collect();
        let judged = judged(&read);
        for line in judged.operators() {
            assert_ne!(line.status, Readiness::Ready, "{text}");
        }
    };
    for line in &originals[..2] {
        let bytes = decode(&line.to_string());
        let content = bytes.len() - 4;
        for bit in 0..content * 8 {
            give(&|| {
                let mut edited = bytes.clone();
                edited[bit / 8] ^= 1 << (bit % 8);
                armour_as("ready", edited)
            });
        }
        for at in 0..content {
            for value in [0, 1, 2, 3, 0x7f, 0x80, 0xff] {
                give(&|| {
                    let mut edited = bytes.clone();
                    edited[at] = if edited[at] == value {
                        value ^ 0x55
                    } else {
                        value
                    };
                    armour_as("ready", edited)
                });
            }
            give(&|| {
                let mut shorter = bytes.clone();
                shorter.remove(at);
                armour_as("ready", resized(shorter))
            });
            give(&|| {
                let mut longer = bytes.clone();
                longer.insert(at, bytes[at]);
                armour_as("ready", resized(longer))
            });
        }
        // Signed by this operator, in the name of another.
        for victim in (0..4).filter(|victim| *victim != line.statement().node.position()) {
            give(&|| {
                let mut edited = bytes.clone();
                edited[4] = u8::try_from(victim).unwrap();
                armour_as("ready", edited)
            });
        }
    }
    // Edits of the text, which meet the checksum.
    let text = originals[1].to_string();
    for at in 9..text.len() - 1 {
        for other in "qpzry9x8gf2tvdw0s3jn54khce6mua7l1".chars() {
            if text[at..].starts_with(other) {
                continue;
            }
            give(&|| format!("{}{other}{}", &text[..at], &text[at + 1..]));
            give(&|| format!("{}{other}{}", &text[..at], &text[at..]));
        }
        give(&|| format!("{}{}", &text[..at], &text[at + 1..]));
    }
    assert!(
        number > 10_000 && tried >= number / step,
        "{tried} of {number}"
    );
}

#[test]
fn a_receipts_text_is_no_ready_line_for_anybody() {
    let group = Group::read(USUAL);
    let receipts: Vec<String> = group.receipts().iter().map(Receipt::to_string).collect();
    assert_eq!(find_ready_lines(&receipts.join("\n")).unwrap(), []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_and_repetition_change_nothing_and_what_is_kept_says_the_same(
        order in prop::collection::vec(0..9_usize, 0..24),
    ) {
        let group = Group::cached();
        let mut pool = lines(group);
        pool.push(signed(group, 1, |it| it.time += 5));
        pool.push(signed(group, 2, |it| it.relays = List::of(["http://other"])));
        pool.push(signed(group, 3, |it| it.time += 3600));
        pool.push(ReadyLine::sign(statement(group, 0), &group.keys[3]).unwrap());
        pool.push(signed(group, 0, |it| {
            it.time += 1;
            it.definition_hash = DefinitionHash::new([1; 32]);
        }));
        let picked: Vec<ReadyLine> = order.iter().map(|at| pool[*at].clone()).collect();
        let mut canonical: Vec<usize> = order.clone();
        canonical.sort_unstable();
        canonical.dedup();
        let canonical: Vec<ReadyLine> = canonical.into_iter().map(|at| pool[at].clone()).collect();
        let one = judged(&picked);
        prop_assert_eq!(&one, &judged(&canonical));
        let kept = judged(one.evidence());
        prop_assert_eq!(kept.evidence(), one.evidence());
        for (kept, one) in kept.operators().iter().zip(one.operators()) {
            let forged = one.status == Readiness::WrongKey;
            prop_assert_eq!(kept.status, if forged { Readiness::Missing } else { one.status });
            prop_assert_eq!(&kept.statement, &one.statement);
        }
    }

    #[test]
    fn a_list_says_the_same_in_any_order(mut words in prop::collection::vec("[ -~é]{0,30}", 0..6)) {
        let list = List::of(words.iter().map(String::as_str));
        words.reverse();
        prop_assert_eq!(&list, &List::of(words.iter().map(String::as_str)));
        prop_assert!(list.shown().chars().all(|c| matches!(c, ' '..='~' | '…')));
        let group = Group::cached();
        let line = signed(group, 0, |it| it.relays = list);
        prop_assert_eq!(ReadyLine::parse(&line.to_string()), Ok(line));
    }
}
