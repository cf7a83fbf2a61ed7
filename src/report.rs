//! Findings and failures, for people and for programs.
//!
//! What is shown may come from files and logs of strangers: [`clean`] takes the control characters
//! out of it, so that no file can move a terminal's cursor or forge a line.

use serde::Serialize;

use crate::error::Failure;
use crate::finding::{Finding, Weight};

/// The text without control characters, newlines included; each becomes a space.
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
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

/// A failure as a text for people.
pub fn failure_text(failure: &Failure) -> String {
    let mut text = format!("error: {}\n", clean(&failure.message));
    if !failure.findings.is_empty() {
        text.push('\n');
        text.push_str(&findings_text(&failure.findings));
    }
    for hint in &failure.hints {
        text.push_str(&format!("hint: {}\n", clean(hint)));
    }
    text
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
    fn failures_come_before_notes_and_nothing_moves_the_cursor() {
        let findings = [
            finding(Weight::Note, "a note"),
            finding(Weight::Fail, "evil\u{1b}[2Jtext\nFAIL [forged] x"),
        ];
        insta::assert_snapshot!(findings_text(&findings), @r"
        FAIL [some-check] validator 3
            seen:     evil [2Jtext FAIL [forged] x
            expected: something else
        note [some-check] validator 3
            seen:     a note
            expected: something else
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
