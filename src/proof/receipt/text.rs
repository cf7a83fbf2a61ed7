//! How a receipt survives a chat: an alphabet that no chat touches, a beginning and an end, and a reader that looks past
//! everything that chats put around and into a line.

use std::collections::HashSet;

use charon_files::cluster::NodeIndex;

use super::Receipt;
use super::wire::{self, FORMAT, Malformed};

/// How every receipt begins, in whatever case. The 1 is not in the alphabet, so this never stands inside of one.
pub const BEGINNING: &str = "dkgreceipt1";
const BEGIN: &[u8] = BEGINNING.as_bytes();
/// How every receipt ends: not in the alphabet either.
const END: u8 = b'1';

/// The alphabet of bech32 (BIP-173): digits and lower-case letters without 1, b, i and o, which people mix up. It has none
/// of the characters that Markdown, shells and link finders care for, and upper and lower case mean the same, since
/// keyboards write the first letter of a message large.
const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Longest receipt in characters.
pub const MAX_RECEIPT_CHARS: usize = BEGIN.len() + chars_for(wire::MAX_BYTES) + 1;

/// Longest text that is searched, in bytes: years of a group's chat.
pub const MAX_TEXT_BYTES: usize = 8 << 20;

/// Most receipts, broken ones included, that are taken from one text: sixteen from each operator of the largest cluster.
const MAX_FOUND: usize = 4096;

const _: () = assert!(
    MAX_RECEIPT_CHARS <= 500,
    "a receipt is short enough for every chat"
);

/// What is wrong with a text that should be a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ReceiptError {
    /// There is no receipt in it, or more than one.
    #[error("no receipt; one begins with dkgreceipt1 and ends with 1")]
    NotAReceipt,
    /// Characters are missing, mostly at the end.
    #[error("a clipped receipt: only {seen}{} characters are here", of(.expected))]
    Clipped {
        /// Characters that are here, beginning and end included.
        seen: usize,
        /// Characters that it should have, if enough is here to tell.
        expected: Option<usize>,
    },
    /// There are more characters than there should be.
    #[error("a receipt with {seen} characters, expected {expected}")]
    TooLong {
        /// Characters that are here, beginning and end included.
        seen: usize,
        /// Characters that it should have.
        expected: usize,
    },
    /// A letter or digit that no receipt contains.
    #[error("an altered receipt: character {position} is {character:?}, which no receipt contains")]
    Stray {
        /// Which one, counted from 1 at the beginning of the receipt.
        position: usize,
        /// The character.
        character: char,
    },
    /// The checksum is wrong: at least one character is not what it was.
    #[error("an altered receipt: at least one character is not what it was")]
    Altered,
    /// A complete receipt of a format that this program does not know.
    #[error("a receipt of format {0}; this program reads format {FORMAT}")]
    OtherFormat(u8),
    /// Complete and unaltered, and yet not what this program writes.
    #[error("not a receipt as this program writes it: {0} is wrong")]
    Malformed(&'static str),
}

fn of(expected: &Option<usize>) -> String {
    expected.map_or_else(String::new, |count| format!(" of {count}"))
}

/// Something in a text that begins like a receipt and is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The line on which it begins, counted from 1.
    pub line: usize,
    /// The node that it claims to be of, and the number of operators; never to be relied on.
    pub claim: Option<(NodeIndex, usize)>,
    /// What is wrong.
    pub error: ReceiptError,
}

/// A text that is not searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// Longer than [`MAX_TEXT_BYTES`].
    #[error("a text of {0} bytes, expected at most {MAX_TEXT_BYTES}")]
    Text(usize),
    /// More receipts than all operators of the largest cluster write.
    #[error("more than {MAX_FOUND} receipts in one text")]
    Receipts,
}

const fn chars_for(bytes: usize) -> usize {
    (bytes * 8).div_ceil(5)
}

/// The line to paste.
pub(super) fn armour(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(BEGIN.len() + chars_for(bytes.len()) + 1);
    text.extend(BEGIN);
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

/// The letters and digits of a text, in lower case, and where they stand. Everything else is what chats add: line
/// breaks, quote marks, Markdown, blanks of all kinds, marks that nobody sees.
struct Letters<'a> {
    text: &'a str,
    bytes: Vec<u8>,
    places: Vec<u32>,
    /// Whether something that is seen stands before this letter and after the last.
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

    /// Letters from here on that stand together.
    fn word(&self, index: usize) -> &[u8] {
        let after = self.apart.get(index + 1..).unwrap_or_default();
        let more = after.iter().take_while(|apart| !**apart).count();
        self.from(index).get(..=more).unwrap_or_default()
    }

    fn find(&self, from: usize) -> Option<usize> {
        let at = self
            .from(from)
            .windows(BEGIN.len())
            .position(|word| word == BEGIN)?;
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

/// Every receipt in a text: one receipt, many on one line, or a whole chat log. Each is given once, in the order in which
/// they first appear, and so is what only looks like one. A clipped copy of a receipt that is also there in full, as
/// replies quote it, is left out.
///
/// # Errors
/// If the text is too long, or there are more receipts in it than any cluster has use for.
pub fn find_receipts(text: &str) -> Result<Vec<Result<Receipt, Broken>>, TooMuch> {
    let letters = Letters::of(text)?;
    let mut found = Vec::new();
    let mut whole: HashSet<&[u8]> = HashSet::new();
    let (mut line, mut counted) = (1, 0);
    let mut at = 0;
    while let Some(begin) = letters.find(at) {
        let body = begin + BEGIN.len();
        at = body;
        let chars = letters.from(body);
        match read(chars) {
            Ok((receipt, length)) => {
                at = body + length;
                if whole.insert(chars.get(..length).unwrap_or_default()) {
                    found.push(Ok(receipt));
                }
            }
            Err(fault) => {
                let start = decode_start::<{ wire::CLAIM_BYTES }>(chars);
                let claim = start.as_deref().and_then(wire::claim);
                // "The DKG receipt 1" and "it begins with dkgreceipt1" are no broken receipts.
                let word = letters.word(begin);
                if claim.is_none() && word.len() <= BEGIN.len() {
                    continue;
                }
                let error = match fault {
                    Fault::Stray(index) => ReceiptError::Stray {
                        position: BEGIN.len() + index + 1,
                        character: letters.character(body + index),
                    },
                    Fault::Other(error) => error,
                };
                line += letters.breaks(counted, letters.place(begin));
                counted = letters.place(begin);
                found.push(Err((word, Broken { line, claim, error })));
            }
        }
        if found.len() > MAX_FOUND {
            return Err(TooMuch::Receipts);
        }
    }
    let mut known = HashSet::new();
    let is_quoted = |word: &[u8], error: &ReceiptError| {
        let start = word.get(BEGIN.len()..).unwrap_or_default();
        matches!(error, ReceiptError::Clipped { .. })
            && whole.iter().any(|whole| whole.starts_with(start))
    };
    Ok(found
        .into_iter()
        .filter_map(|result| match result {
            Ok(receipt) => Some(Ok(receipt)),
            Err((word, broken)) => (!is_quoted(word, &broken.error)
                && known.insert((broken.claim, broken.error.clone())))
            .then_some(Err(broken)),
        })
        .collect())
}

enum Fault {
    /// The letter at this index of the body is not of the alphabet.
    Stray(usize),
    Other(ReceiptError),
}

impl From<ReceiptError> for Fault {
    fn from(error: ReceiptError) -> Self {
        Self::Other(error)
    }
}

impl From<Malformed> for Fault {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Other(ReceiptError::Malformed(what))
    }
}

/// Reads what follows the beginning of a receipt, to the end of the text. Gives the receipt and the length of its body.
fn read(chars: &[u8]) -> Result<(Receipt, usize), Fault> {
    let in_alphabet = chars
        .iter()
        .position(|char| value_of(*char).is_none())
        .unwrap_or(chars.len());
    let Some(start) = decode_start::<{ wire::HEADER_BYTES }>(chars) else {
        let too_short =
            chars.len() < chars_for(wire::HEADER_BYTES) || chars.get(in_alphabet) == Some(&END);
        return Err(if too_short {
            Fault::Other(ReceiptError::Clipped {
                seen: BEGIN.len() + in_alphabet,
                expected: None,
            })
        } else {
            Fault::Stray(in_alphabet)
        });
    };
    let (format, bytes) = wire::header(&start).ok_or(ReceiptError::Altered)?;
    let plausible = format != FORMAT || (wire::MIN_BYTES..=wire::MAX_BYTES).contains(&bytes);
    if format == 0 || bytes < wire::HEADER_BYTES || !plausible {
        return Err(ReceiptError::Altered.into());
    }
    let expected = chars_for(bytes);
    if let Some(body) = chars.get(..expected)
        && let Some(decoded) = decode(body)
        && decoded.len() == bytes
        && wire::checksum_is_right(&decoded)
    {
        if format != FORMAT {
            return Err(ReceiptError::OtherFormat(format).into());
        }
        return Ok((wire::decode(&decoded)?, expected));
    }
    Err(why_not(chars, in_alphabet, expected))
}

/// Why a body that should have so many characters is none.
fn why_not(chars: &[u8], in_alphabet: usize, expected: usize) -> Fault {
    let whole = |body: usize| BEGIN.len() + body + 1;
    if chars.get(expected) == Some(&END) {
        // Nothing is missing.
        return if in_alphabet < expected {
            Fault::Stray(in_alphabet)
        } else {
            ReceiptError::Altered.into()
        };
    }
    let end = chars.iter().position(|char| *char == END);
    // The end that was found may belong to the beginning of the next receipt.
    let end = end.filter(|end| !chars.get(..=*end).unwrap_or_default().ends_with(BEGIN));
    match end {
        Some(end) if end > expected && in_alphabet < expected => Fault::Stray(in_alphabet),
        Some(end) if end > expected => ReceiptError::TooLong {
            seen: whole(end),
            expected: whole(expected),
        }
        .into(),
        Some(end) if in_alphabet == end => ReceiptError::Clipped {
            seen: whole(end),
            expected: Some(whole(expected)),
        }
        .into(),
        None if in_alphabet >= expected => ReceiptError::Altered.into(),
        // Foreign letters come with the text that follows a clipped receipt.
        Some(_) | None => ReceiptError::Clipped {
            seen: BEGIN.len() + in_alphabet,
            expected: Some(whole(expected)),
        }
        .into(),
    }
}
