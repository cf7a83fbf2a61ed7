//! Stopped lines of the operators of a real lock: what forgers could do, and when a cluster may change over.

use charon_files::cluster::{LockHash, Network, NodeIndex};
use charon_proof::confirm::{Confirmation, confirm};
use charon_proof::edit::{Edit, EditKind};
use charon_proof::ready::find_ready_lines;
use charon_proof::receipt::find_receipts;
use charon_proof::stopped::{MAX_STOPPED_CHARS, Statement, StoppedLine, find_stopped_lines};
use charon_proof::switch::{
    CLOCK_MARGIN_SECONDS, Condition, Old, Standing, Stopped, conditions, wait_seconds,
};

use crate::edits::resized;
use crate::support::{Group, TODAY, armour_as, decode};
use crate::{TEN, USUAL};

const NEW: LockHash = LockHash::new([0x77; 32]);
const MAINNET: u64 = 768 + 60;

fn statement(group: &Group, node: usize) -> Statement {
    Statement {
        node: NodeIndex::new(node),
        operators: u16::try_from(group.keys.len()).unwrap(),
        old_lock_hash: group.cluster.lock_hash(),
        new_lock_hash: NEW,
        time: TODAY,
        program_version: "0.1.0".to_owned(),
    }
}

fn signed(group: &Group, node: usize, edit: impl FnOnce(&mut Statement)) -> StoppedLine {
    let mut statement = statement(group, node);
    edit(&mut statement);
    StoppedLine::sign(statement, &group.keys[node]).unwrap()
}

fn old(group: &Group) -> Old<'_> {
    Old {
        operators: group.cluster.operators(),
        lock_hash: group.cluster.lock_hash(),
        threshold: usize::try_from(group.lock.definition.threshold).unwrap(),
    }
}

fn weigh(group: &Group, lines: &[StoppedLine]) -> Stopped {
    Stopped::weigh(&old(group), NEW, lines)
}

fn edit(kind: EditKind, removed: &[usize]) -> Edit {
    Edit {
        kind,
        removed: removed.iter().copied().map(NodeIndex::new).collect(),
        added: Vec::new(),
        new_validators: 0,
    }
}

/// Every operator has everything, whatever the lock: that of the old one serves as well here.
fn confirmed(group: &Group) -> Confirmation {
    confirm(&group.cluster, &group.receipts(), None)
}

fn standings(edit: &Edit, lines: &[StoppedLine], now: u64) -> Vec<Standing> {
    let group = Group::cached();
    let network = Network::by_name("mainnet");
    let stopped = weigh(group, lines);
    conditions(edit, &old(group), network, &confirmed(group), &stopped, now)
        .into_iter()
        .map(|(_, standing)| standing)
        .collect()
}

#[test]
fn a_line_says_everything_again_and_no_other_kind_takes_it() {
    let group = Group::cached();
    let longest = signed(group, 1, |it| {
        it.program_version = "v0.1.0-rc.1+sha.01234567".to_owned();
    });
    assert_eq!(longest.to_string().len(), MAX_STOPPED_CHARS);
    for line in [longest, signed(group, 0, |_| {})] {
        let text = line.to_string();
        assert!(text.starts_with("dkgstopped1"));
        assert_eq!(StoppedLine::parse(&text), Ok(line.clone()));
        let chat = format!("> carol:\n> {text}\n{}", group.receipt(1));
        assert_eq!(find_stopped_lines(&chat).unwrap(), [Ok(line.clone())]);
        assert_eq!(find_receipts(&chat).unwrap(), [Ok(group.receipt(1))]);
        assert_eq!(find_ready_lines(&chat).unwrap(), []);
    }
    // The very bytes with the beginning and checksum of another kind, and the other way round.
    for (from, to) in [("receipt", "stopped"), ("ready", "stopped")] {
        let bytes = decode(&group.receipt(1).to_string());
        let forged = armour_as(to, bytes);
        let read = find_stopped_lines(&forged).unwrap();
        assert!(read.iter().all(Result::is_err), "{from}: {read:?}");
    }
    let forged = armour_as("receipt", decode(&signed(group, 1, |_| {}).to_string()));
    assert!(find_receipts(&forged).unwrap().iter().all(Result::is_err));
}

#[test]
fn no_edited_line_counts() {
    let group = Group::cached();
    let other = Group::read(TEN);
    let originals: Vec<StoppedLine> = (0..4).map(|node| signed(group, node, |_| {})).collect();
    let mut edits = 0;
    let mut give = |text: &str| {
        edits += 1;
        let read: Vec<StoppedLine> = find_stopped_lines(text)
            .unwrap()
            .into_iter()
            .filter_map(Result::ok)
            .collect();
        let weighed = weigh(group, &read);
        for line in weighed.evidence() {
            assert!(originals.contains(line), "{text}");
        }
        weighed.evidence().len()
    };
    let text = originals[1].to_string();
    let alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    for at in "dkgstopped1".len()..text.len() - 1 {
        let (before, rest) = text.split_at(at);
        let (this, after) = rest.split_at(1);
        for other in alphabet.chars().filter(|other| !this.starts_with(*other)) {
            assert_eq!(give(&format!("{before}{other}{after}")), 0);
        }
        assert_eq!(give(&format!("{before}{after}")), 0);
        assert_eq!(give(before), 0);
    }
    // An editor also corrects the checksum.
    for line in &originals {
        let bytes = decode(&line.to_string());
        let content = bytes.len() - 4;
        for bit in 0..content * 8 {
            let mut edited = bytes.clone();
            edited[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(give(&armour_as("stopped", edited)), 0, "bit {bit}");
        }
        for at in 0..content {
            let mut shorter = bytes.clone();
            shorter.remove(at);
            assert_eq!(give(&armour_as("stopped", resized(shorter))), 0);
            let mut longer = bytes.clone();
            longer.insert(at, bytes[at]);
            assert_eq!(give(&armour_as("stopped", resized(longer))), 0);
        }
    }
    // In the name of each, by the key of every other, and by strangers.
    for (signer, key) in group.keys.iter().chain(&other.keys).enumerate() {
        for victim in (0..4).filter(|victim| *victim != signer) {
            let forged = StoppedLine::sign(statement(group, victim), key).unwrap();
            assert_eq!(give(&forged.to_string()), 0, "{signer} as {victim}");
        }
    }
    assert!(edits > 10_000, "{edits}");
}

#[test]
fn a_line_about_other_locks_never_counts() {
    let group = Group::cached();
    for odd in [
        signed(group, 0, |it| it.old_lock_hash = NEW),
        signed(group, 0, |it| it.new_lock_hash = group.cluster.lock_hash()),
        // That of an edit that was abandoned.
        signed(group, 0, |it| it.new_lock_hash = LockHash::new([1; 32])),
        signed(group, 0, |it| it.operators = 5),
    ] {
        let weighed = weigh(group, &[odd]);
        assert_eq!((weighed.evidence(), weighed.others()), (&[][..], 1));
        assert_eq!(weighed.since(NodeIndex::new(0)), None);
    }
    assert!(USUAL.contains("n4"));
}

#[test]
fn who_goes_on_has_to_stop_and_who_goes_must_be_too_few() {
    let group = Group::cached();
    let line = |node| signed(group, node, |_| {});
    let late = TODAY + 10 * MAINNET;
    let nodes =
        |list: &[usize]| -> Vec<NodeIndex> { list.iter().copied().map(NodeIndex::new).collect() };
    let replace = edit(EditKind::ReplaceOperator, &[1]);
    let all = [line(0), line(2), line(3)];
    assert_eq!(
        standings(&replace, &all, late),
        [Standing::Met, Standing::Met, Standing::Met]
    );
    // The one who was replaced may run on: one of four cannot sign. One of the others may not.
    for missing in 0..3 {
        let some: Vec<StoppedLine> = (0..3)
            .filter(|it| *it != missing)
            .map(|it| all[it].clone())
            .collect();
        let expected = Standing::NotStopped(nodes(&[[0, 2, 3][missing]]));
        assert_eq!(
            standings(&replace, &some, late),
            [Standing::Met, expected, Standing::NotYet]
        );
    }
    // Those who were removed, three of four, could sign by themselves.
    let remove = edit(EditKind::RemoveOperators, &[1, 2, 3]);
    let expected = Standing::RemovedCanSign {
        more: 1,
        running: nodes(&[1, 2, 3]),
    };
    assert_eq!(
        standings(&remove, &[line(0)], late),
        [Standing::Met, expected, Standing::NotYet]
    );
    assert_eq!(
        standings(&remove, &[line(0), line(3)], late),
        [Standing::Met, Standing::Met, Standing::Met]
    );
    // Old and new nodes with the same keys: nothing has to stop.
    let more = edit(EditKind::AddValidators, &[]);
    assert_eq!(standings(&more, &[], 0), [Standing::Met]);
}

#[test]
fn without_every_receipt_the_first_condition_is_open() {
    let group = Group::cached();
    let stopped = weigh(group, &[]);
    for kind in EditKind::ALL {
        let receipts = confirm(&group.cluster, &group.receipts()[..3], None);
        let seen = conditions(
            &edit(*kind, &[]),
            &old(group),
            None,
            &receipts,
            &stopped,
            TODAY,
        );
        let first = (Condition::AllHaveTheNewKeys, Standing::ReceiptsMissing);
        assert_eq!(seen[0], first);
        assert_eq!(seen.len(), if kind.keeps_shares() { 1 } else { 3 });
    }
}

#[test]
fn two_epochs_are_kept_to_the_second() {
    let group = Group::cached();
    for (name, seconds) in [
        ("mainnet", MAINNET),
        ("hoodi", MAINNET),
        ("sepolia", MAINNET),
        // Two epochs are 160 s there, and charon's own grace is longer.
        ("gnosis", MAINNET),
        ("chiado", MAINNET),
    ] {
        assert_eq!(wait_seconds(Network::by_name(name)), seconds, "{name}");
    }
    assert_eq!(wait_seconds(None), MAINNET);
    let recreate = edit(EditKind::RecreatePrivateKeys, &[]);
    // The last one decides, wherever it is in the chat.
    let lines: Vec<StoppedLine> = [300, 7, 0, 299]
        .into_iter()
        .enumerate()
        .map(|(node, late)| signed(group, node, |it| it.time += late))
        .collect();
    let earliest = TODAY + 300 + MAINNET;
    let at = |now| standings(&recreate, &lines, now)[2].clone();
    assert_eq!(at(earliest - 1), Standing::NotBefore(earliest));
    assert_eq!(at(earliest), Standing::Met);
    assert_eq!(at(u64::MAX), Standing::Met);
    // A clock that is ahead, by as much as is allowed and by more.
    let first = NodeIndex::new(0);
    let border = TODAY + 300 - CLOCK_MARGIN_SECONDS;
    assert_eq!(at(border), Standing::NotBefore(earliest));
    assert_eq!(at(border - 1), Standing::ClockAhead(first));
    assert_eq!(at(0), Standing::ClockAhead(first));
    let absurd = [
        lines.as_slice(),
        &[signed(group, 2, |it| it.time = u64::MAX)],
    ]
    .concat();
    assert_eq!(
        standings(&recreate, &absurd, earliest)[2],
        Standing::ClockAhead(NodeIndex::new(2))
    );
    // Who starts again and stops again has stopped at the later time.
    let again = [lines.as_slice(), &[signed(group, 1, |it| it.time += 1000)]].concat();
    assert_eq!(
        standings(&recreate, &again, earliest)[2],
        Standing::NotBefore(TODAY + 1000 + MAINNET)
    );
}
