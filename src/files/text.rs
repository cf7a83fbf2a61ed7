//! Text as people read it.
//!
//! What is shown may come from files and logs of strangers: [`clean`] takes out of it what could
//! move a terminal's cursor or forge a line. It is the only function that does so.

use std::borrow::Cow;

use serde::Serialize;

/// U+FEFF in UTF-8, which some editors put in front of every file.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The text of UTF-16 with a byte order mark, which PowerShell's `>` writes; nothing for other bytes.
pub fn from_utf16(bytes: &[u8]) -> Option<String> {
    let read: fn([u8; 2]) -> u16 = match bytes {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return None,
    };
    let (units, _) = bytes.as_chunks::<2>();
    let units: Vec<u16> = units.iter().skip(1).map(|unit| read(*unit)).collect();
    Some(String::from_utf16_lossy(&units))
}

/// The text of a small file that somebody wrote, without the byte order mark that Windows puts before it: UTF-8, or UTF-16
/// with such a mark. Nothing for other bytes.
pub fn written(bytes: &[u8]) -> Option<Cow<'_, str>> {
    if let Some(text) = from_utf16(bytes) {
        return Some(text.into());
    }
    written_as_utf8(bytes).map(Cow::Borrowed)
}

/// The same of a file with a secret, of which no other copy is made: UTF-8 alone.
pub fn written_as_utf8(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    Some(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The text as one line without anything that could steer a terminal or mislead a reader: escape
/// sequences, control characters other than the tab, and characters that change the direction of
/// text are left out; a line end becomes a space.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            chars = after_escape(chars.as_str()).chars();
        } else if c == '\n' {
            out.push(' ');
        } else if c == '\t' || !(c.is_control() || steers_text(c)) {
            out.push(c);
        }
    }
    out
}

/// What follows an escape sequence, of which this is what comes after its ESC.
fn after_escape(text: &str) -> &str {
    if let Some(after) = after_control_sequence(text) {
        return after;
    }
    // An operating system command and its kin (§5.6) end with BEL or ESC \.
    let Some(command) = text.strip_prefix([']', 'P', 'X', '^', '_']) else {
        // Two bytes, or more with intermediate ones (§13.2, ECMA-35).
        let last = text.trim_start_matches(|c| (' '..='/').contains(&c));
        return last
            .strip_prefix(|c| ('0'..='~').contains(&c))
            .unwrap_or(last);
    };
    let Some(at) = command.find(['\u{7}', '\u{9c}', '\u{1b}']) else {
        return "";
    };
    let (_, end) = command.split_at(at);
    let mut end = end.chars();
    match end.next() {
        Some('\u{1b}') => end.as_str().strip_prefix('\\').unwrap_or(end.as_str()),
        Some(_) | None => end.as_str(),
    }
}

/// What follows a control sequence (ECMA-48 §5.4), of which this is what comes after its ESC; `None` for another sequence. It
/// sets a colour or moves the cursor, and ends with its first byte in `@`…`~`.
pub fn after_control_sequence(text: &str) -> Option<&str> {
    let last = text
        .strip_prefix('[')?
        .trim_start_matches(|c| (' '..='?').contains(&c));
    Some(
        last.strip_prefix(|c| ('@'..='~').contains(&c))
            .unwrap_or(last),
    )
}

/// Whether a character has no shape of its own but changes how others are shown.
fn steers_text(c: char) -> bool {
    matches!(
        c,
        '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// `1 validator`, `2 validators`.
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

/// A hash as people compare it by voice: `0x` and eight groups of eight digits.
pub fn grouped(hash: &[u8; 32]) -> String {
    let digits = hex::encode(hash);
    let groups: Vec<&str> = (0..8)
        .filter_map(|group| digits.get(group * 8..group * 8 + 8))
        .collect();
    format!("0x {}", groups.join(" "))
}

/// Any of our documents as indented JSON with a final newline.
pub fn to_json<T: Serialize>(document: &T) -> String {
    // Our documents have string keys and no fallible serializers, so this cannot fail; were it to,
    // an empty object says less than a lie would.
    let mut text = serde_json::to_string_pretty(document).unwrap_or_else(|_| "{}".to_owned());
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_survives() {
        assert_eq!(clean("a\u{1b}[2J\u{1b}[1;31mb\u{1b}[0mc"), "abc");
        assert_eq!(clean("a\u{1b}]0;title\u{7}b\u{1b}]8;;x\u{1b}\\c"), "abc");
        assert_eq!(clean("a\r\u{8}\u{0}\u{7f}\u{9b}31mb"), "a31mb");
        assert_eq!(clean("a\u{202e}b\u{2066}c\u{200b}d"), "abcd");
        assert_eq!(clean("one\r\ntwo\n"), "one two ");
        assert_eq!(clean("ends in \u{1b}"), "ends in ");
        assert_eq!(clean("ends in \u{1b}["), "ends in ");
        assert_eq!(clean("\tJörg & Søn 🎉"), "\tJörg & Søn 🎉");
    }

    #[test]
    fn what_windows_puts_before_a_text_is_no_part_of_it() {
        let mut utf16 = vec![0xff, 0xfe];
        utf16.extend("wörd\r\n".encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(written(&utf16).as_deref(), Some("wörd\r\n"));
        assert_eq!(written_as_utf8(&utf16), None);
        for (bytes, expected) in [
            ("\u{feff}wörd".as_bytes(), Some("wörd")),
            ("w\u{feff}rd".as_bytes(), Some("w\u{feff}rd")),
            (b"caf\xe9", None),
        ] {
            assert_eq!(written(bytes).as_deref(), expected);
            assert_eq!(written_as_utf8(bytes), expected);
        }
    }

    #[test]
    fn hashes_are_read_aloud_in_groups() {
        let hash = std::array::from_fn(|i| u8::try_from(i).unwrap());
        assert_eq!(
            grouped(&hash),
            "0x 00010203 04050607 08090a0b 0c0d0e0f 10111213 14151617 18191a1b 1c1d1e1f"
        );
    }
}
