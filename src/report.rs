//! Findings and failures, for people and for programs.
//!
//! What is shown may come from files and logs of strangers: [`clean`] takes out of it what could
//! move a terminal's cursor or forge a line. It is the only function that does so.

use std::borrow::Cow;
use std::ffi::OsStr;

use serde::Serialize;

use crate::error::Failure;
use crate::finding::{Finding, Weight};

/// The text as one line without anything that could steer a terminal or mislead a reader: escape
/// sequences, control characters other than the tab, and characters that change the direction of
/// text are left out; a line end becomes a space.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            match chars.peek() {
                // A control sequence (ECMA-48 §5.4) ends with its first byte in `@`…`~`.
                Some('[') => {
                    chars.next();
                    while chars.next_if(|c| (' '..='?').contains(c)).is_some() {}
                    chars.next_if(|c| ('@'..='~').contains(c));
                }
                // An operating system command and its kin (§5.6) end with BEL or ESC \.
                Some(']' | 'P' | 'X' | '^' | '_') => {
                    chars.next();
                    while let Some(inner) = chars.next() {
                        if inner == '\u{7}' || inner == '\u{9c}' {
                            break;
                        }
                        if inner == '\u{1b}' {
                            chars.next_if_eq(&'\\');
                            break;
                        }
                    }
                }
                // Two bytes, or more with intermediate ones (§13.2, ECMA-35).
                Some(_) | None => {
                    while chars.next_if(|c| (' '..='/').contains(c)).is_some() {}
                    chars.next_if(|c| ('0'..='~').contains(c));
                }
            }
        } else if c == '\n' {
            out.push(' ');
        } else if c == '\t' || !(c.is_control() || steers_text(c)) {
            out.push(c);
        }
    }
    out
}

/// A path or name as a shell reads it back; every command that people are told to type has its words from here.
///
/// What is not UTF-8 is replaced, as wherever paths are shown.
pub fn quoted(word: impl AsRef<OsStr>) -> String {
    let word = word.as_ref().to_string_lossy();
    // A NUL is the only thing that no shell can be given, and no path has one.
    shlex::try_quote(&word).map_or_else(|_| word.to_string(), Cow::into_owned)
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

/// Findings as a text for people, worst first, each with what was seen, expected and to be done.
pub fn findings_text(findings: &[Finding]) -> String {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
    let mut text = String::new();
    for finding in sorted {
        let word = match finding.weight {
            Weight::Fail => "FAIL",
            Weight::CouldNotTell => "COULD NOT TELL",
            Weight::Note => "note",
        };
        text.push_str(&format!(
            "{word} [{}] {}\n",
            finding.check,
            clean(&finding.subject)
        ));
        for (label, value) in [
            ("seen:    ", &finding.seen),
            ("expected:", &finding.expected),
            ("next:    ", &finding.advice),
        ] {
            if !value.is_empty() {
                text.push_str(&format!("    {label} {}\n", clean(value)));
            }
        }
    }
    text
}

/// A failure as a text for people. The findings come first, since they may be many and the end is
/// what stays in sight.
pub fn failure_text(failure: &Failure) -> String {
    let mut text = findings_text(&failure.findings);
    text.push_str(&format!("error: {}\n", clean(&failure.message)));
    for hint in &failure.hints {
        text.push_str(&format!("hint: {}\n", clean(hint)));
    }
    text
}

/// The text with our commands spelled as this operator types them.
///
/// Facts and advice say "`charon-dkg VERB`", in backticks; an operator may have come by
/// `docker charon-dkg`. Documents for programs keep the one name.
pub fn spelled(text: &str, spelling: &str) -> String {
    text.replace("`charon-dkg ", &format!("`{spelling} "))
}

#[derive(Serialize)]
struct FailureDocument<'a> {
    schema: &'static str,
    kind: &'static str,
    exit_code: u8,
    message: &'a str,
    findings: &'a [Finding],
    hints: &'a [String],
}

/// A failure as one JSON document, schema `charon-dkg.failure/1`.
pub fn failure_json(failure: &Failure) -> String {
    let document = FailureDocument {
        schema: "charon-dkg.failure/1",
        kind: failure.kind.name(),
        exit_code: failure.kind.exit_code(),
        message: &failure.message,
        findings: &failure.findings,
        hints: &failure.hints,
    };
    to_json(&document)
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
    use crate::error::Kind;

    fn finding(weight: Weight, seen: &str) -> Finding {
        Finding {
            check: "some-check",
            weight,
            subject: "validator 3".to_owned(),
            seen: seen.to_owned(),
            expected: "something else".to_owned(),
            advice: String::new(),
        }
    }

    #[test]
    fn a_shell_reads_quoted_words_back() {
        assert_eq!(quoted("/srv/my-cluster_1.2"), "/srv/my-cluster_1.2");
        for word in [
            "",
            "/o'p/$x y",
            "a;b",
            "`id`",
            "$(id)",
            "a\nb",
            "*",
            "~",
            "é",
        ] {
            let read = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quoted(word))])
                .output()
                .unwrap();
            assert_eq!(read.stdout, word.as_bytes());
        }
    }

    #[test]
    fn failures_come_before_notes_and_nothing_moves_the_cursor() {
        let findings = [
            finding(Weight::Note, "a note"),
            finding(Weight::Fail, "evil\u{1b}[2Jtext\nFAIL [forged] x"),
        ];
        insta::assert_snapshot!(findings_text(&findings), @r"
        FAIL [some-check] validator 3
            seen:     eviltext FAIL [forged] x
            expected: something else
        note [some-check] validator 3
            seen:     a note
            expected: something else
        ");
    }

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
    fn commands_are_spelled_as_the_operator_types_them() {
        assert_eq!(
            spelled(
                "try `charon-dkg enr`, not `charon dkg`",
                "docker charon-dkg"
            ),
            "try `docker charon-dkg enr`, not `charon dkg`"
        );
    }

    #[test]
    fn a_failure_ends_with_what_to_do() {
        let failure = Failure::new(Kind::Refused, "it\u{1b}[2J cannot start")
            .with_findings(vec![finding(Weight::Fail, "this")])
            .hint("do that");
        insta::assert_snapshot!(failure_text(&failure), @r"
        FAIL [some-check] validator 3
            seen:     this
            expected: something else
        error: it cannot start
        hint: do that
        ");
    }

    #[test]
    fn a_failure_says_its_kind_to_programs() {
        let failure = Failure::new(Kind::Busy, "held by alice").hint("wait");
        let value: serde_json::Value = serde_json::from_str(&failure_json(&failure)).unwrap();
        assert_eq!(value["kind"], "busy");
        assert_eq!(value["exit_code"], 5);
        assert_eq!(value["hints"][0], "wait");
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
