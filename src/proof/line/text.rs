//! How a line survives a chat: an alphabet that no chat touches, a beginning and an end, and a reader that looks past
//! everything that chats put around and into a line.

use std::collections::HashSet;

use super::wire::{self, Malformed};
use super::{Broken, LineError, LineKind, Signed, Stated, TooMuch};

/// How every line ends: not in the alphabet, as the last letter of every beginning.
const END: u8 = b'1';

/// The alphabet of bech32 (BIP-173): digits and lower-case letters without 1, b, i and o, which people mix up. It has none
/// of the characters that Markdown, shells and link finders care for, and upper and lower case mean the same, since
/// keyboards write the first letter of a message large.
const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Longest text that is searched, in bytes: years of a group's chat.
pub const MAX_TEXT_BYTES: usize = 8 << 20;

/// Most lines of one kind, broken ones included, that are taken from one text: sixteen from each operator of the largest cluster.
pub(super) const MAX_FOUND: usize = 4096;

pub(super) const fn chars_for(bytes: usize) -> usize {
    (bytes * 8).div_ceil(5)
}

/// The line to paste.
pub(super) fn armour(kind: LineKind, bytes: &[u8]) -> String {
    let begin = kind.beginning().as_bytes();
    let mut text = Vec::with_capacity(begin.len() + chars_for(bytes.len()) + 1);
    text.extend(begin);
    text.extend(encode(bytes));
    text.push(END);
    text.into_iter().map(char::from).collect()
}

fn encode(bytes: &[u8]) -> impl Iterator<Item = u8> {
    (0..chars_for(bytes.len())).map(|index| {
        let bit = |offset: usize| {
            let at = index * 5 + offset;
            let byte = bytes.get(at / 8).copied().unwrap_or(0);
            usize::from(byte >> (7 - at % 8) & 1)
        };
        let value = (0..5).fold(0, |value, offset| value << 1 | bit(offset));
        ALPHABET[value & 31]
    })
}

/// As many whole bytes as the characters hold; `None` if one is not of the alphabet, or if the bits that are left over
/// are not zero.
fn decode(chars: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(chars.len() * 5 / 8);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for char in chars {
        bits = (bits << 5 | value_of(*char)?) & 0xfff;
        held += 5;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    (bits & ((1 << held) - 1) == 0).then_some(bytes)
}

/// The same with whatever bits are left over.
fn decode_start<const BYTES: usize>(chars: &[u8]) -> Option<Vec<u8>> {
    let chars = chars.get(..chars_for(BYTES))?;
    let mut padded = chars.to_vec();
    // Characters of the value 0, until the bits fill whole bytes.
    while padded.len() % 8 != 0 {
        padded.push(ALPHABET[0]);
    }
    let mut bytes = decode(&padded)?;
    bytes.truncate(BYTES);
    Some(bytes)
}

fn value_of(char: u8) -> Option<u32> {
    let position = ALPHABET.iter().position(|known| *known == char)?;
    u32::try_from(position).ok()
}

/// The letters and digits of a text, in lower case, and their positions. Everything else is what chats add: line
/// breaks, quote marks, Markdown, blanks of all kinds, marks that nobody sees.
struct Letters<'a> {
    text: &'a str,
    bytes: Vec<u8>,
    places: Vec<u32>,
    /// Whether something visible comes before this letter and after the last.
    apart: Vec<bool>,
}

/// Stands for every letter or digit that is not ASCII.
const FOREIGN: u8 = 0xff;

impl<'a> Letters<'a> {
    fn of(text: &'a str) -> Result<Self, TooMuch> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(TooMuch::Text(text.len()));
        }
        let mut letters = Self {
            text,
            bytes: Vec::new(),
            places: Vec::new(),
            apart: Vec::new(),
        };
        let mut apart = true;
        for (place, char) in text.char_indices() {
            if !char.is_alphanumeric() {
                apart |= !is_invisible(char);
                continue;
            }
            let byte = u8::try_from(char).ok().filter(u8::is_ascii);
            letters
                .bytes
                .push(byte.map_or(FOREIGN, |byte| byte.to_ascii_lowercase()));
            // The text was found to be shorter than this above.
            letters
                .places
                .push(u32::try_from(place).unwrap_or(u32::MAX));
            letters.apart.push(std::mem::take(&mut apart));
        }
        Ok(letters)
    }

    fn from(&self, index: usize) -> &[u8] {
        self.bytes.get(index..).unwrap_or_default()
    }

    fn place(&self, index: usize) -> usize {
        self.places
            .get(index)
            .and_then(|place| usize::try_from(*place).ok())
            .unwrap_or(self.text.len())
    }

    fn character(&self, index: usize) -> char {
        let rest = self.text.get(self.place(index)..).unwrap_or_default();
        rest.chars().next().unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    /// Line breaks between two places of the text.
    fn breaks(&self, from: usize, to: usize) -> usize {
        let between = self.text.get(from..to).unwrap_or_default();
        between.bytes().filter(|byte| *byte == b'\n').count()
    }

    /// Adjacent letters from here on.
    fn word(&self, index: usize) -> &[u8] {
        let after = self.apart.get(index + 1..).unwrap_or_default();
        let more = after.iter().take_while(|apart| !**apart).count();
        self.from(index).get(..=more).unwrap_or_default()
    }

    fn find(&self, begin: &[u8], from: usize) -> Option<usize> {
        let at = self
            .from(from)
            .windows(begin.len())
            .position(|word| word == begin)?;
        Some(from + at)
    }
}

/// Soft hyphen, zero-width blanks and joiners, marks of writing direction, byte order mark.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

/// Every line of one kind in a text: one, many on one line, or a whole chat log. Each is given once, in the order in which
/// they first appear, and so is what only looks like one. A clipped copy of a line that is also there in full, as
/// replies quote it, is left out.
///
/// # Errors
/// If the text is too long, or there are more lines in it than any cluster has use for.
pub fn find<S: Stated>(text: &str) -> Result<Vec<Result<Signed<S>, Broken>>, TooMuch> {
    let begins = S::KIND.beginning().as_bytes();
    let letters = Letters::of(text)?;
    let mut found = Vec::new();
    let mut whole: HashSet<&[u8]> = HashSet::new();
    let (mut line, mut counted) = (1, 0);
    let mut at = 0;
    while let Some(begin) = letters.find(begins, at) {
        let body = begin + begins.len();
        at = body;
        let chars = letters.from(body);
        match read::<S>(chars) {
            Ok((line, length)) => {
                at = body + length;
                if whole.insert(chars.get(..length).unwrap_or_default()) {
                    found.push(Ok(line));
                }
            }
            Err(fault) => {
                let start = decode_start::<{ wire::CLAIM_BYTES }>(chars);
                let claim = start
                    .as_deref()
                    .and_then(|start| wire::claim(S::KIND, start));
                // "The DKG receipt 1" and "it begins with dkgreceipt1" are no broken lines.
                let word = letters.word(begin);
                if claim.is_none() && word.len() <= begins.len() {
                    continue;
                }
                let error = match fault {
                    Fault::Stray(index) => LineError::Stray {
                        position: begins.len() + index + 1,
                        character: letters.character(body + index),
                    },
                    Fault::Other(error) => error,
                };
                line += letters.breaks(counted, letters.place(begin));
                counted = letters.place(begin);
                let broken = Broken {
                    kind: S::KIND,
                    line,
                    claim,
                    error,
                };
                found.push(Err((word, broken)));
            }
        }
        if found.len() > MAX_FOUND {
            return Err(TooMuch::Lines(S::KIND));
        }
    }
    let mut known = HashSet::new();
    let is_quoted = |word: &[u8], error: &LineError| {
        let start = word.get(begins.len()..).unwrap_or_default();
        matches!(error, LineError::Clipped { .. })
            && whole.iter().any(|whole| whole.starts_with(start))
    };
    Ok(found
        .into_iter()
        .filter_map(|result| match result {
            Ok(line) => Some(Ok(line)),
            Err((word, broken)) => (!is_quoted(word, &broken.error)
                && known.insert((broken.claim, broken.error.clone())))
            .then_some(Err(broken)),
        })
        .collect())
}

enum Fault {
    /// The letter at this index of the body is not of the alphabet.
    Stray(usize),
    Other(LineError),
}

impl From<LineError> for Fault {
    fn from(error: LineError) -> Self {
        Self::Other(error)
    }
}

impl From<Malformed> for Fault {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Other(LineError::Malformed(what))
    }
}

/// Reads what follows the beginning of a line, to the end of the text. Gives the line and the length of its body.
fn read<S: Stated>(chars: &[u8]) -> Result<(Signed<S>, usize), Fault> {
    let begin = S::KIND.beginning().len();
    let in_alphabet = chars
        .iter()
        .position(|char| value_of(*char).is_none())
        .unwrap_or(chars.len());
    let Some(start) = decode_start::<{ wire::HEADER_BYTES }>(chars) else {
        let too_short =
            chars.len() < chars_for(wire::HEADER_BYTES) || chars.get(in_alphabet) == Some(&END);
        return Err(if too_short {
            Fault::Other(LineError::Clipped {
                seen: begin + in_alphabet,
                expected: None,
            })
        } else {
            Fault::Stray(in_alphabet)
        });
    };
    let (format, bytes) = wire::header(&start).ok_or(LineError::Altered)?;
    let plausible = !S::KIND.reads(format) || (S::MIN_BYTES..=S::MAX_BYTES).contains(&bytes);
    if format == 0 || bytes < wire::HEADER_BYTES || !plausible {
        return Err(LineError::Altered.into());
    }
    let expected = chars_for(bytes);
    if let Some(body) = chars.get(..expected)
        && let Some(decoded) = decode(body)
        && decoded.len() == bytes
        && wire::checksum_is_right(S::KIND, &decoded)
    {
        if !S::KIND.reads(format) {
            return Err(LineError::OtherFormat(format).into());
        }
        return Ok((wire::decode(&decoded)?, expected));
    }
    Err(why_not(begin, chars, in_alphabet, expected))
}

/// What is wrong with a body that should have this many characters.
fn why_not(begin: usize, chars: &[u8], in_alphabet: usize, expected: usize) -> Fault {
    let whole = |body: usize| begin + body + 1;
    if chars.get(expected) == Some(&END) {
        // Nothing is missing.
        return if in_alphabet < expected {
            Fault::Stray(in_alphabet)
        } else {
            LineError::Altered.into()
        };
    }
    let end = chars.iter().position(|char| *char == END);
    // The end that was found may belong to the beginning of the next line, of whatever kind.
    let end = end.filter(|end| {
        let upto = chars.get(..=*end).unwrap_or_default();
        let begins = LineKind::ALL.map(|kind| upto.ends_with(kind.beginning().as_bytes()));
        !begins.contains(&true)
    });
    match end {
        Some(end) if end > expected && in_alphabet < expected => Fault::Stray(in_alphabet),
        Some(end) if end > expected => LineError::TooLong {
            seen: whole(end),
            expected: whole(expected),
        }
        .into(),
        Some(end) if in_alphabet == end => LineError::Clipped {
            seen: whole(end),
            expected: Some(whole(expected)),
        }
        .into(),
        None if in_alphabet >= expected => LineError::Altered.into(),
        // Foreign letters come with the text that follows a clipped line.
        Some(_) | None => LineError::Clipped {
            seen: begin + in_alphabet,
            expected: Some(whole(expected)),
        }
        .into(),
    }
}
