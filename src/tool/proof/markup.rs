//! A text without what programs put into it to send or show it: the base64 of a saved mail, tags and character references of
//! a web page, and colours of a recorded terminal. A page breaks long words with `<wbr>`, so what is looked for may have tags
//! inside.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use charon_files::text::after_control_sequence;

/// Tags that occur in running text; anything else between angle brackets may be what somebody wrote.
const TAGS: [&str; 28] = [
    "a",
    "b",
    "big",
    "blockquote",
    "br",
    "code",
    "dd",
    "div",
    "dt",
    "em",
    "font",
    "i",
    "kbd",
    "li",
    "mark",
    "p",
    "pre",
    "s",
    "samp",
    "small",
    "span",
    "strong",
    "td",
    "tr",
    "tt",
    "u",
    "wbr",
    "img",
];

/// Longest tag and longest character reference that is looked for, in characters.
const MAX_TAG: usize = 4096;
const MAX_REFERENCE: usize = 16;

/// What begins markup.
const BEGINNINGS: [char; 3] = ['<', '&', '\u{1b}'];

/// The text without markup, with all its line ends. A tag stays that holds what is looked for, such as a link to it.
pub(super) fn without_markup<'a>(text: &'a str, wanted: &str) -> Cow<'a, str> {
    if !text.contains(BEGINNINGS) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, markup)) = rest
        .find(BEGINNINGS)
        .and_then(|at| rest.split_at_checked(at))
    {
        out.push_str(before);
        let mut after = markup.chars();
        let first = after.next();
        rest = after.as_str();
        if let Some((inside, after)) = tag(markup, wanted) {
            out.extend(inside.matches('\n'));
            rest = after;
        } else if let Some((letter, after)) = reference(markup) {
            out.push(letter);
            rest = after;
        } else if let Some(after) = markup
            .strip_prefix('\u{1b}')
            .and_then(after_control_sequence)
        {
            rest = after;
        } else {
            out.extend(first);
        }
    }
    out.push_str(rest);
    out.into()
}

/// A saved mail with those parts readable that hold what is looked for and were sent in base64 (RFC 2045, 6.8), as programs send
/// a text with letters beyond ASCII.
pub(super) fn with_mail_readable<'a>(text: &'a str, wanted: &str) -> Cow<'a, str> {
    let says_base64 = |line: &str| {
        let header = line
            .split_once(':')
            .map(|(name, value)| (name, value.trim()));
        header.is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("content-transfer-encoding")
                && value.eq_ignore_ascii_case("base64")
        })
    };
    if !text.lines().any(says_base64) {
        return text.into();
    }
    let is_encoded = |line: &&str| {
        let line = line.trim();
        let of_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
        !line.is_empty() && line.bytes().all(of_base64)
    };
    let mut out = String::with_capacity(text.len());
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        out.push_str(line);
        if !says_base64(line) {
            continue;
        }
        // Up to the blank line between the headers and what they are about.
        while let Some(header) = lines.next_if(|line| !line.trim().is_empty()) {
            out.push_str(header);
        }
        out.extend(lines.next());
        let mut body = String::new();
        while let Some(line) = lines.next_if(is_encoded) {
            body.push_str(line);
        }
        let joined: String = body.split_whitespace().collect();
        let bytes = BASE64_STANDARD.decode(joined).unwrap_or_default();
        let readable = String::from_utf8_lossy(&bytes);
        if readable.to_ascii_lowercase().contains(wanted) {
            out.push_str(&readable);
            out.push('\n');
        } else {
            out.push_str(&body);
        }
    }
    out.into()
}

/// What is inside of the tag that begins here, and what follows it.
fn tag<'a>(text: &'a str, wanted: &str) -> Option<(&'a str, &'a str)> {
    let (inside, after) = up_to(text.strip_prefix('<')?, '>', MAX_TAG)?;
    let name = inside.strip_prefix('/').unwrap_or(inside);
    let name = name
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .next()?;
    let name = name.to_ascii_lowercase();
    let is_tag = TAGS.contains(&name.as_str()) && !inside.contains('<');
    (is_tag && !inside.to_ascii_lowercase().contains(wanted)).then_some((inside, after))
}

/// The character that is written by number or name here, and what follows it.
fn reference(text: &str) -> Option<(char, &str)> {
    let (name, after) = up_to(text.strip_prefix('&')?, ';', MAX_REFERENCE)?;
    let letter = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "nbsp" => '\u{a0}',
        "shy" => '\u{ad}',
        "ZeroWidthSpace" => '\u{200b}',
        _ => {
            let number = name.strip_prefix('#')?;
            let number = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            char::from_u32(number.ok()?)?
        }
    };
    Some((letter, after))
}

/// What comes before and after the first such letter among so many.
fn up_to(text: &str, end: char, most: usize) -> Option<(&str, &str)> {
    let (at, _) = text
        .char_indices()
        .take(most)
        .find(|(_, letter)| *letter == end)?;
    let (inside, after) = text.split_at_checked(at)?;
    Some((inside, after.strip_prefix(end)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_shows_a_text_is_left_out() {
        for (text, expected) in [
            ("ab<wbr>cd<br/>\ne<p\nclass=\"x\">f", "abcd\ne\nf"),
            ("<SPAN style='a'>ab</SPAN>", "ab"),
            (
                "ab&#8203;cd&#x5F;&shy;e&amp;lt;",
                "ab\u{200b}cd_\u{ad}e&lt;",
            ),
            ("\u{1b}[1;32mab\u{1b}[0mcd\u{1b}", "abcd\u{1b}"),
            // What somebody wrote stays.
            ("<enr:-HW4> <op1> a<b & c", "<enr:-HW4> <op1> a<b & c"),
            (
                "1 < 2 & 3 > 2; &unknown; &#xd800;",
                "1 < 2 & 3 > 2; &unknown; &#xd800;",
            ),
            ("<a href=\"ENR:-HW4\">this</a>", "<a href=\"ENR:-HW4\">this"),
            ("<b", "<b"),
        ] {
            assert_eq!(without_markup(text, "enr:"), expected);
        }
        let unclosed = "<b ".repeat(100_000);
        assert_eq!(without_markup(&unclosed, "enr:"), unclosed);
    }

    #[test]
    fn parts_of_a_mail_are_read_as_what_they_say() {
        let encoded = |text: &str| {
            let encoded = BASE64_STANDARD.encode(text);
            let lines: Vec<&str> = encoded
                .as_bytes()
                .chunks(76)
                .filter_map(|line| std::str::from_utf8(line).ok())
                .collect();
            lines.join("\r\n")
        };
        let head =
            "Content-Transfer-Encoding: Base64\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n";
        let said = format!("Grüße\r\nENR:-{}\r\n", "HW4".repeat(50));
        let mail = |text: &str| {
            format!(
                "From: a@example.org\r\n{head}{}\r\n--part--\r\n",
                encoded(text)
            )
        };
        let read = with_mail_readable(&mail(&said), "enr:").into_owned();
        assert_eq!(
            read,
            format!("From: a@example.org\r\n{head}{said}\n--part--\r\n")
        );
        // Another part, what is no base64, and a text that only speaks of it.
        let several = format!("{}{}", mail("a picture"), mail(&said));
        let read = with_mail_readable(&several, "enr:").into_owned();
        assert!(read.contains(&said) && read.contains(&encoded("a picture")));
        for text in [
            format!("{head}@@\r\n"),
            "base64: enr:-HW4\n".to_owned(),
            head.to_owned(),
        ] {
            let read = with_mail_readable(&text, "enr:");
            assert_eq!(read.trim_end(), text.trim_end());
        }
    }
}
