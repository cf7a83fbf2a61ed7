//! Edited receipts, thousands of them: none is accepted as anything but the original.
//!
//! Edits of the text meet the checksum. A forger would put that right, so most edits are made to the bytes, with a checksum
//! that fits again.

use std::collections::BTreeMap;

use charon_proof::confirm::{Status, confirm};
use charon_proof::receipt::{Receipt, find_receipts};

use crate::support::{Group, armour, decode};
use crate::{TEN, USUAL};

/// Bytes after the statement: signature and checksum.
const TAIL: usize = 64 + 4;

#[derive(Default, Debug)]
struct Tally {
    edits: usize,
    same: usize,
    no_receipt: usize,
    not_valid: usize,
}

struct Trial<'a> {
    group: &'a Group,
    originals: Vec<Receipt>,
    tallies: BTreeMap<&'static str, Tally>,
}

impl<'a> Trial<'a> {
    fn new(group: &'a Group) -> Self {
        Self {
            group,
            originals: group.receipts(),
            tallies: BTreeMap::new(),
        }
    }

    /// Gives an edited text for a receipt: whatever is accepted of it must be the original, word for word.
    fn give(&mut self, kind: &'static str, text: &str) {
        let tally = self.tallies.entry(kind).or_default();
        tally.edits += 1;
        let read: Vec<Receipt> = find_receipts(text)
            .unwrap()
            .into_iter()
            .filter_map(Result::ok)
            .collect();
        if read.is_empty() {
            tally.no_receipt += 1;
            return;
        }
        let confirmation = confirm(&self.group.cluster, &read, None);
        let accepted: Vec<&Receipt> = confirmation.valid().collect();
        if accepted.is_empty() {
            tally.not_valid += 1;
            return;
        }
        for receipt in accepted {
            assert!(self.originals.contains(receipt), "{kind}: {text}");
        }
        tally.same += 1;
    }

    fn bytes(&mut self, kind: &'static str, bytes: Vec<u8>) {
        self.give(kind, &armour(bytes));
    }

    fn finish(self) {
        let total: usize = self.tallies.values().map(|tally| tally.edits).sum();
        assert!(total > 10_000, "{total} edits: {:#?}", self.tallies);
        for (kind, tally) in &self.tallies {
            let may_be_the_same = ["letter case", "clipped", "something beside it"].contains(kind);
            assert!(tally.same == 0 || may_be_the_same, "{kind}: {tally:?}");
        }
    }
}

#[test]
fn edits_of_the_text() {
    let group = Group::read(USUAL);
    let mut trial = Trial::new(&group);
    let text = trial.originals[1].to_string();
    let alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l1bio";
    for at in 0..text.len() {
        let (before, rest) = text.split_at(at);
        let (this, after) = rest.split_at(1);
        for other in alphabet.chars().filter(|other| !this.starts_with(*other)) {
            // A last 1 that is another character is a clipped receipt with everything in it.
            let kind = if after.is_empty() {
                "clipped"
            } else {
                "one character"
            };
            trial.give(kind, &format!("{before}{other}{after}"));
            let longer = format!("{before}{other}{rest}");
            let outside = longer.contains(&text) || after.is_empty();
            let kind = if outside {
                "something beside it"
            } else {
                "inserted"
            };
            trial.give(kind, &longer);
        }
        trial.give("clipped", before);
        trial.give("clipped", &format!("{before}…\nthanks, 1 more"));
        if at > 0 {
            trial.give("clipped", rest);
        }
        if !after.is_empty() {
            trial.give("removed", &format!("{before}{after}"));
        }
        let upper = this.to_uppercase();
        trial.give("letter case", &format!("{before}{upper}{after}"));
        // The last two change places without loss: the end is not needed.
        if after.len() > 1 && !after.starts_with(this) {
            let (next, after) = after.split_at(1);
            trial.give("transposed", &format!("{before}{next}{this}{after}"));
        }
    }
    trial.finish();
}

#[test]
fn edits_of_the_bytes_with_a_checksum_that_fits() {
    let group = Group::read(USUAL);
    let other = Group::read(TEN);
    let mut trial = Trial::new(&group);
    let originals: Vec<Vec<u8>> = trial
        .originals
        .iter()
        .map(|it| decode(&it.to_string()))
        .collect();
    let strangers: Vec<Vec<u8>> = other
        .receipts()
        .iter()
        .map(|it| decode(&it.to_string()))
        .collect();
    let content = originals[0].len() - 4;

    for bytes in &originals {
        for bit in 0..content * 8 {
            let mut edited = bytes.clone();
            edited[bit / 8] ^= 1 << (bit % 8);
            trial.bytes("flipped bit", edited);
        }
        for at in 0..content {
            for value in [0, 1, 2, 0x7f, 0x80, 0xff] {
                let mut edited = bytes.clone();
                if edited[at] != value {
                    edited[at] = value;
                    trial.bytes("other byte", edited);
                }
            }
            let mut shorter = bytes.clone();
            shorter.remove(at);
            trial.bytes("removed byte", resized(shorter));
            let mut longer = bytes.clone();
            longer.insert(at, bytes[at]);
            trial.bytes("inserted byte", resized(longer));
        }
        for format in (0..=255).filter(|format| *format != 1) {
            let mut edited = bytes.clone();
            edited[0] = format;
            trial.bytes("other format", edited);
        }
    }

    // The fields of fixed width: from where to where.
    let fields = [
        (3, 5),
        (5, 7),
        (7, 39),
        (39, 71),
        (71, 75),
        (75, 83),
        (83, 85),
        (85, 117),
    ];
    let signature = (content - 64, content);
    for (field, pairs) in fields
        .into_iter()
        .chain([signature])
        .flat_map(|field| [(field, &originals), (field, &strangers)])
    {
        for bytes in &originals {
            for donor in pairs {
                let from_end = field == signature;
                let start = if from_end {
                    donor.len() - TAIL
                } else {
                    field.0
                };
                let mut edited = bytes.clone();
                let width = field.1 - field.0;
                edited[field.0..field.1].copy_from_slice(&donor[start..start + width]);
                if edited != *bytes {
                    trial.bytes("field of another receipt", edited);
                }
            }
        }
    }
    for bytes in &originals {
        for (one, two) in [((3, 5), (5, 7)), ((7, 39), (39, 71)), ((39, 71), (85, 117))] {
            let mut edited = bytes.clone();
            edited[one.0..one.1].copy_from_slice(&bytes[two.0..two.1]);
            edited[two.0..two.1].copy_from_slice(&bytes[one.0..one.1]);
            trial.bytes("two fields swapped", edited);
        }
        // (R, N - S) verifies for the same message and key.
        let mut edited = bytes.clone();
        negate(&mut edited[content - 32..content]);
        trial.bytes("the other S", edited);
    }
    for (node, key) in other.keys.iter().chain(&group.keys).enumerate() {
        for victim in 0..4 {
            let is_own = node == other.keys.len() + victim;
            if !is_own {
                let forged = Receipt::sign(group.statement(victim), key).unwrap();
                trial.give("other key", &forged.to_string());
            }
        }
    }
    for bytes in strangers {
        trial.bytes("other cluster", bytes.clone());
        let mut edited = bytes;
        edited[7..39].copy_from_slice(&originals[0][7..39]);
        trial.bytes("other cluster", edited);
    }
    trial.finish();
}

#[test]
fn the_operators_own_other_statements_are_accepted_only_where_they_hold() {
    let group = Group::read(USUAL);
    let newer = group.signed(2, |it| it.time += 1);
    let line = confirm(&group.cluster, std::slice::from_ref(&newer), None).operators()[2].clone();
    assert_eq!(
        (line.status, line.receipt.as_ref()),
        (Status::Valid, Some(&newer))
    );
}

/// The same bytes with a length that fits.
pub(crate) fn resized(mut bytes: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap();
    bytes[1..3].copy_from_slice(&length.to_be_bytes());
    bytes
}

/// S becomes N - S, N being the order of secp256k1.
fn negate(s: &mut [u8]) {
    let order: [u8; 32] =
        hex::decode("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
            .unwrap()
            .try_into()
            .unwrap();
    let mut borrow = 0;
    for at in (0..32).rev() {
        let difference = i16::from(order[at]) - i16::from(s[at]) - borrow;
        borrow = i16::from(difference < 0);
        s[at] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
}
