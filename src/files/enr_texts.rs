//! ENRs in what people paste: a chat, a mail, a command line. A record says how long it is and signs itself, so it is read
//! past everything that chats and mail programs put around and into it, and what cannot be saved is named and not lost.

use crate::cluster::Enr;
use crate::cluster::enr::EnrError;

/// How a record begins, in whatever case.
pub const BEGINNING: &str = "enr:";

/// Adjacent letters that look like a record without its `enr:`: shorter ones are words and dashes.
const MIN_PIECE: usize = 40;

/// Letters by which a clipped copy is known to be of one record: the first six are the same in all.
const MIN_QUOTE: usize = 12;

/// Hexadecimal digits of an ENR private key (charon `app/k1util`).
const SECRET_DIGITS: usize = 64;

/// Base64 of the key `secp256k1`, which every record holds, at each of the three alignments, without the letters that
/// depend on the neighbours.
const MARKS: [&str; 3] = ["c2VjcDI1Nmsx", "NlY3AyNTZrM", "zZWNwMjU2az"];

/// Something in a text that is an ENR, should be one, or must never have been sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The line on which it begins, counted from 1.
    pub line: usize,
    /// What it is.
    pub what: What,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A record whose own signature holds.
    Enr(Enr),
    /// Begins like a record or holds a piece of one, but is not a record.
    Broken(BrokenEnr),
    /// What looks like an ENR private key. It is not repeated anywhere.
    Secret,
}

/// What is wrong with a text that should be an ENR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrokenEnr {
    /// Characters are missing.
    #[error("a clipped ENR: only {seen} of {expected} characters are here in one piece")]
    Clipped {
        /// Adjacent characters, without `enr:`.
        seen: usize,
        /// Characters that it should have, without `enr:`.
        expected: usize,
    },
    /// A piece from the middle or the end of a record.
    #[error("a piece of an ENR without its beginning")]
    Piece,
    /// Not even its beginning is that of a record, or its signature does not hold.
    #[error("not a valid ENR: {0}")]
    Invalid(EnrError),
}

/// Whether a whole text is 64 hexadecimal digits, with or without `0x`: what an ENR private key looks like.
pub fn is_secret(text: &str) -> bool {
    let text = text.trim();
    let digits = text.strip_prefix("0x").unwrap_or(text);
    digits.len() == SECRET_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Every ENR in a text, what should be one, and what looks like a secret, in the order in which they appear. A clipped
/// copy of a record that is also there in full, as replies quote it, is left out.
pub fn find_enrs(text: &str) -> Vec<Found> {
    let letters = Letters::of(text);
    let mut found: Vec<(usize, What)> = Vec::new();
    // Places of the text that an item accounts for.
    let mut told: Vec<(usize, usize)> = Vec::new();
    let mut pieces: Vec<(usize, String, BrokenEnr)> = Vec::new();
    let beginnings = beginnings(text, &letters);
    let mut past = 0;
    for (index, beginning) in beginnings.iter().enumerate() {
        if beginning.at < past {
            continue;
        }
        let next = beginnings.iter().skip(index + 1).find(|it| it.named);
        let until = next.map_or(text.len(), |next| next.at);
        match letters.read(beginning.body, until) {
            Ok((enr, end)) => {
                found.push((beginning.at, What::Enr(enr)));
                told.push((beginning.at, end));
                past = end;
            }
            Err((broken, end)) => {
                let (piece, piece_end) = together(text, beginning.body);
                if beginning.named || piece.len() >= MIN_PIECE {
                    pieces.push((beginning.at, piece, broken));
                    told.push((beginning.at, end.max(piece_end)));
                }
            }
        }
    }
    let words = text.split(|letter: char| !is_of_base64(letter));
    for word in words.filter(|word| MARKS.iter().any(|mark| word.contains(mark))) {
        let at = offset(text, word);
        let index = told.partition_point(|(from, _)| *from <= at);
        let last = index.checked_sub(1).and_then(|index| told.get(index));
        if last.is_none_or(|(_, end)| *end <= at) {
            pieces.push((at, word.to_owned(), BrokenEnr::Piece));
        }
    }
    for (at, piece, broken) in pieces {
        let is_quoted = piece.len() >= MIN_QUOTE
            && found
                .iter()
                .any(|(_, what)| matches!(what, What::Enr(enr) if enr.text().contains(&piece)));
        if !is_quoted {
            found.push((at, What::Broken(broken)));
        }
    }
    found.extend(secrets(text).map(|at| (at, What::Secret)));
    found.sort_by_key(|(at, _)| *at);
    let (mut line, mut counted) = (1, 0);
    found
        .into_iter()
        .map(|(at, what)| {
            let between = text.get(counted..at).unwrap_or_default();
            line += between.matches('\n').count();
            counted = at;
            Found { line, what }
        })
        .collect()
}

fn offset(text: &str, part: &str) -> usize {
    part.as_ptr().addr() - text.as_ptr().addr()
}

const fn is_of_base64(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_')
}

/// Keyboards and word processors put these where a hyphen was.
const fn is_dash(letter: char) -> bool {
    matches!(letter, '-' | '\u{2010}'..='\u{2014}' | '\u{2212}')
}

/// The adjacent letters from here on, and where they end; a backslash is what Markdown puts before an underscore.
fn together(text: &str, at: usize) -> (String, usize) {
    let rest = text.get(at..).unwrap_or_default();
    let belongs = |letter: char| is_of_base64(letter) || letter == '\\' || is_dash(letter);
    let end = rest.find(|letter| !belongs(letter)).unwrap_or(rest.len());
    let letters = rest.get(..end).unwrap_or_default().chars();
    let piece = letters
        .filter(|letter| *letter != '\\')
        .map(|letter| if is_dash(letter) { '-' } else { letter })
        .collect();
    (piece, at + end)
}

/// Where a record may begin.
struct Beginning {
    at: usize,
    /// Behind `enr:`, slashes and blanks.
    body: usize,
    /// Whether it has its `enr:`.
    named: bool,
}

fn beginnings(text: &str, letters: &Letters) -> Vec<Beginning> {
    let lower = text.to_ascii_lowercase();
    let mut beginnings: Vec<Beginning> = lower
        .match_indices(BEGINNING)
        .filter_map(|(at, _)| {
            let rest = text.get(at + BEGINNING.len()..)?;
            let rest = rest.strip_prefix("//").unwrap_or(rest);
            let body = rest.trim_start();
            // "No enr: yet" is the word alone.
            let is_word = !body.starts_with(is_dash) && !rest.starts_with(is_of_base64);
            (!is_word).then(|| Beginning {
                at,
                body: offset(text, body),
                named: true,
            })
        })
        .collect();
    // Without `enr:`: a hyphen at the start of a word, and the first letters of a list of 56 to 300 bytes (EIP-778).
    let mut before = ' ';
    for (at, letter) in text.char_indices() {
        if is_dash(letter) && !is_of_base64(before) && letters.is_list(at) {
            beginnings.push(Beginning {
                at,
                body: at,
                named: false,
            });
        }
        before = letter;
    }
    // A body that has its `enr:` is not looked at twice.
    beginnings.sort_by_key(|it| (it.body, !it.named));
    beginnings.dedup_by_key(|it| it.body);
    beginnings
}

/// The letters of base64url in a text and their positions. Everything else is what chats and mails add: line breaks, quote
/// marks, backslashes of Markdown, equals signs of quoted-printable.
struct Letters {
    letters: Vec<(usize, char)>,
}

impl Letters {
    fn of(text: &str) -> Self {
        let letters = text
            .char_indices()
            .filter_map(|(at, letter)| match letter {
                letter if is_dash(letter) => Some((at, '-')),
                letter if is_of_base64(letter) => Some((at, letter)),
                _ => None,
            })
            .collect();
        Self { letters }
    }

    fn from(&self, place: usize) -> &[(usize, char)] {
        let index = self.letters.partition_point(|(at, _)| *at < place);
        self.letters.get(index..).unwrap_or_default()
    }

    /// How many letters the record that begins here has: its first bytes are the header of a long RLP list.
    fn expected(&self, place: usize) -> Option<usize> {
        let letters = self.from(place).get(..4)?;
        let mut bits = 0_usize;
        for (_, letter) in letters {
            bits = bits << 6 | value(*letter)?;
        }
        let bytes = match bits >> 16 {
            0xf8 => 2 + (bits >> 8 & 0xff),
            0xf9 => 3 + (bits & 0xffff),
            _ => return None,
        };
        (bytes <= 300).then(|| (bytes * 4).div_ceil(3))
    }

    fn is_list(&self, place: usize) -> bool {
        self.expected(place).is_some()
    }

    /// The record that begins here and ends before `until`, and where it ends; or what is wrong, and how far it was looked at.
    fn read(&self, place: usize, until: usize) -> Result<(Enr, usize), (BrokenEnr, usize)> {
        let before_until =
            |letters: &[(usize, char)]| letters.iter().take_while(|(at, _)| *at < until).count();
        let Some(expected) = self.expected(place) else {
            return Err((BrokenEnr::Invalid(EnrError::Structure), place));
        };
        let letters = self.from(place);
        let letters = letters.get(..expected).unwrap_or(letters);
        let letters = letters.get(..before_until(letters)).unwrap_or_default();
        let end = letters.last().map_or(place, |(at, _)| at + 1);
        let body: String = letters.iter().map(|(_, letter)| *letter).collect();
        let parsed = Enr::parse(&format!("{BEGINNING}{body}"));
        // Adjacent letters, with what mail and Markdown put between them left out.
        let seen = letters
            .windows(2)
            .take_while(|pair| matches!(pair, [(one, _), (other, _)] if other - one <= 3))
            .count()
            + 1;
        match parsed {
            Ok(enr) => Ok((enr, end)),
            Err(_) if seen < expected => Err((BrokenEnr::Clipped { seen, expected }, end)),
            Err(error) => Err((BrokenEnr::Invalid(error), end)),
        }
    }
}

fn value(letter: char) -> Option<usize> {
    let alphabet = ('A'..='Z')
        .chain('a'..='z')
        .chain('0'..='9')
        .chain("-_".chars());
    alphabet.into_iter().position(|known| known == letter)
}

/// Lines, counted from 1, in which something looks like an ENR private key.
pub fn lines_with_secrets(text: &str) -> Vec<usize> {
    let (mut line, mut counted) = (1, 0);
    let mut lines = Vec::new();
    for at in secrets(text) {
        line += text
            .get(counted..at)
            .unwrap_or_default()
            .matches('\n')
            .count();
        counted = at;
        lines.push(line);
    }
    lines.dedup();
    lines
}

/// Where 64 hexadecimal digits are a separate word. With `0x`, or behind the name of a digest, they are a hash,
/// unless there is nothing else.
fn secrets(text: &str) -> impl Iterator<Item = usize> {
    let all = is_secret(text);
    text.split(|letter: char| !letter.is_alphanumeric())
        .filter(move |word| is_secret(word) && (all || !word.starts_with("0x")))
        .map(|word| offset(text, word))
        .filter(|at| {
            let before = text.get(..*at).unwrap_or_default();
            // As images are named, and as `backup` tells the digest of its file.
            !before.ends_with("sha256:") && !before.ends_with("SHA-256 ")
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::k1::EnrKey;

    fn enr(seed: u8) -> String {
        let key = EnrKey::from_secret_bytes(&[seed; 32]).unwrap();
        key.enr().text().to_owned()
    }

    /// Short names of what was found: the seed of a record, or `broken` or `secret`, and the line.
    fn names(text: &str) -> Vec<(usize, String)> {
        let name = |what| match what {
            What::Enr(found) => (1..=9)
                .find(|seed| enr(*seed) == found.text())
                .unwrap()
                .to_string(),
            What::Broken(_) => "broken".to_owned(),
            What::Secret => "secret".to_owned(),
        };
        find_enrs(text)
            .into_iter()
            .map(|found| (found.line, name(found.what)))
            .collect()
    }

    #[test]
    fn secrets_are_told_from_digests_and_hashes() {
        let key = hex::encode([0x5a; 32]);
        let text = format!(
            "lock_hash 0x{key}\nSHA-256 {key}\nimage@sha256:{key}\nmine is {key} {key}, and\n\n`{key}`\n"
        );
        assert_eq!(lines_with_secrets(&text), [4, 6]);
    }

    fn one(text: &str, expected: &str) {
        assert_eq!(names(text), [(1, expected.to_owned())], "{text}");
    }

    /// A record in whose text is an underscore.
    fn with_underscore() -> (u8, String) {
        (1..=9)
            .map(|seed| (seed, enr(seed)))
            .find(|(_, enr)| enr.contains('_'))
            .unwrap()
    }

    #[test]
    fn a_chat_gives_every_record_and_its_line() {
        let chat = format!(
            "Ann: my enr: `{}`.\n> Ben: “{}”, and no enr: yet from Cy\n\n{}, {}\n",
            enr(1),
            enr(2),
            enr(3),
            enr(4)
        );
        let expected = [(1, "1"), (2, "2"), (4, "3"), (4, "4")];
        assert_eq!(
            names(&chat),
            expected.map(|(line, name)| (line, name.to_owned()))
        );
        assert!(names("nothing here, and no enr: either").is_empty());
    }

    #[test]
    fn what_chats_and_mails_do_to_a_record_is_undone() {
        let text = enr(1);
        let wrapped = |width: usize, between: &str| {
            let lines: Vec<&str> = (0..text.len())
                .step_by(width)
                .map(|at| &text[at..text.len().min(at + width)])
                .collect();
            lines.join(between)
        };
        for whole in [
            text.replacen("enr:", "Enr:", 1),
            text.replacen("enr:", "enr: ", 1),
            text.replacen("enr:", "enr://", 1),
            text.replacen("enr:", "enr:\n", 1),
            text.replacen("enr:", "", 1),
            text.replacen("enr:-", "enr:\u{2013}", 1),
            wrapped(76, "\n"),
            wrapped(40, "\r\n> "),
            wrapped(75, "=\r\n"),
            format!("{}=3D", text),
            format!("{text}=="),
            format!("**{text}**"),
            format!("<{text}>"),
            format!("[{text}](https://example.org/)"),
        ] {
            one(&whole, "1");
        }
        let (seed, text) = with_underscore();
        one(&text.replace('_', "\\_"), &seed.to_string());
    }

    #[test]
    fn what_cannot_be_saved_is_named() {
        let text = enr(1);
        let (_, underscored) = with_underscore();
        for broken in [
            text[..90].to_owned(),
            text[4..90].to_owned(),
            text[60..].to_owned(),
            text.replacen("enr:-", "enr:", 1),
            text.to_ascii_lowercase(),
            underscored.replace('_', ""),
            "enr://682e485ac549c4eb".to_owned(),
            format!("{}… the rest comes tomorrow", &text[..100]),
        ] {
            one(&broken, "broken");
            // And it takes nothing from its neighbours.
            let among = format!("{}\n{broken}\n{}", enr(2), enr(3));
            let expected = [(1, "2"), (2, "broken"), (3, "3")];
            assert_eq!(
                names(&among),
                expected.map(|(line, name)| (line, name.to_owned()))
            );
        }
    }

    #[test]
    fn a_clipped_quote_of_a_whole_record_is_left_out() {
        let (first, second) = (enr(1), enr(2));
        let chat = format!("> {}…\n{first}\n> {}…\nthanks", &first[..60], &first[..30]);
        assert_eq!(names(&chat), [(2, "1".to_owned())]);
        // Of another record it is not.
        let chat = format!("> {}…\n{first}", &second[..60]);
        assert_eq!(names(&chat).len(), 2);
    }

    #[test]
    fn a_secret_is_told_from_a_hash() {
        let digits = "5a".repeat(32);
        one(&digits, "secret");
        one(&format!("0x{digits}\n"), "secret");
        one(&format!("my enr is {digits}, right?"), "secret");
        for harmless in [
            format!("the definition is https://api.obol.tech/v1/definition/0x{digits}"),
            format!("image sha256:{digits}"),
            format!("{digits}00"),
            digits[2..].to_owned(),
        ] {
            assert!(names(&harmless).is_empty(), "{harmless}");
        }
    }
}
