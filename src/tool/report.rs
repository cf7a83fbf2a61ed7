//! Findings and failures, for people and for programs.
//!
//! What is shown may come from files and logs of strangers, so it goes through [`clean`].

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::Path;

use serde::Serialize;

pub(crate) use charon_files::text::{clean, count, to_json};

use crate::error::Failure;
use charon_files::cluster::NodeIndex;
use charon_files::finding::{Finding, Weight};

/// A path or name as a shell reads it back; every command that people are told to type has its words from here.
///
/// What cannot be shown, a line end or what is not UTF-8, is written by its number.
pub(crate) fn quoted(word: impl AsRef<OsStr>) -> String {
    let bytes = word.as_ref().as_encoded_bytes();
    match std::str::from_utf8(bytes) {
        Ok(word) if !word.contains(char::is_control) => {
            // A NUL is the only thing that no shell can be given, and no path has one.
            shlex::try_quote(word).map_or_else(|_| word.to_owned(), Cow::into_owned)
        }
        Ok(_) | Err(_) => {
            let format: String = bytes
                .utf8_chunks()
                .flat_map(|chunk| {
                    let shown = chunk.valid().chars().map(|letter| match letter {
                        '%' => "%%".to_owned(),
                        // These mean something to a format or end the quotes around it.
                        '\\' | '\'' => format!("\\{:03o}", u32::from(letter)),
                        _ if letter.is_control() => {
                            let mut bytes = [0; 4];
                            by_number(letter.encode_utf8(&mut bytes).as_bytes())
                        }
                        _ => letter.to_string(),
                    });
                    shown.chain([by_number(chunk.invalid())])
                })
                .collect();
            format!("\"$(printf '{format}')\"")
        }
    }
}

/// Bytes as a format of `printf` has them.
fn by_number(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:03o}")).collect()
}

/// Words with commas between them, each once, with how often it comes.
fn each_once(words: &[&str]) -> String {
    let mut counted: Vec<(&str, usize)> = Vec::new();
    for word in words {
        match counted.iter_mut().find(|(known, _)| known == word) {
            Some((_, count)) => *count += 1,
            None => counted.push((word, 1)),
        }
    }
    let words = counted.into_iter().map(|(word, count)| match count {
        1 => word.to_owned(),
        _ => format!("{word} ({count} times)"),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// What to do where a file system is mounted read-only, after which no right helps.
pub(crate) fn read_only_advice(path: &Path) -> String {
    format!(
        "mount that file system writable: `findmnt --target {}` shows it",
        quoted(path)
    )
}

/// What to do where a file system ends between two of our directories, as files are moved by a rename.
pub(crate) const MOUNT_ALL: &str = "mount the whole project directory, not a part of it alone";

/// Findings as a text for people, worst first, each with what was seen, expected and to be done. A note that holds for
/// several subjects is said once.
pub(crate) fn findings_text(findings: &[Finding]) -> String {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
    let mut told: Vec<(Vec<&str>, &Finding)> = Vec::new();
    for finding in sorted {
        let same = |other: &&mut (Vec<&str>, &Finding)| {
            finding.weight == Weight::Note
                && Finding {
                    subject: finding.subject.clone(),
                    ..other.1.clone()
                } == *finding
        };
        match told.iter_mut().find(same) {
            Some((subjects, _)) => subjects.push(&finding.subject),
            None => told.push((vec![&finding.subject], finding)),
        }
    }
    let mut text = String::new();
    for (subjects, finding) in told {
        let word = match finding.weight {
            Weight::Fail => "FAIL",
            Weight::CouldNotTell => "COULD NOT TELL",
            Weight::Note => "note",
        };
        text.push_str(&format!(
            "{word} [{}] {}\n",
            finding.check,
            clean(&each_once(&subjects))
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

/// A finding in one line: what was seen and what was expected.
pub(crate) fn finding_fact(finding: &Finding) -> String {
    let Finding {
        subject,
        seen,
        expected,
        ..
    } = finding;
    format!("{subject}: {seen}, expected {expected}")
}

/// A finding in one line, with what to do.
pub(crate) fn finding_line(finding: &Finding) -> String {
    format!("{}; {}", finding_fact(finding), finding.advice)
}

/// How this operator types our commands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Typing {
    /// `docker charon-dkg`.
    pub spelling: String,
    /// What follows `sudo` instead.
    pub for_root: String,
    /// Flags that name the directories, with a space before each; empty where none were typed.
    pub directories: String,
    /// What `plan` or `run` was told, with a space before each word; empty for other verbs.
    pub ceremony: String,
}

/// The text with our commands as this operator types them.
///
/// Facts and advice say "`charon-dkg VERB`", in backticks; an operator may have come by `docker charon-dkg`, named a
/// directory, or given relays that the next `run` needs too. Documents for programs keep the one name.
pub(crate) fn spelled(text: &str, typing: &Typing) -> String {
    let mut spelled = String::new();
    let mut rest = text;
    while let Some((before, command)) = rest.split_once("charon-dkg ") {
        if !before.ends_with('`') && !before.ends_with("`sudo ") {
            spelled.push_str(&format!("{before}charon-dkg "));
            rest = command;
            continue;
        }
        let end = command.find('`').unwrap_or(command.len());
        let (command, after) = command.split_at(end);
        // What names directories or a node of its own needs no others.
        let names_its_own = ["--dir ", "--data-dir "]
            .iter()
            .any(|flag| command.contains(flag))
            || command.starts_with("verify ");
        let directories = if names_its_own {
            ""
        } else {
            &typing.directories
        };
        let ceremony = match command {
            "plan" | "run" => &typing.ceremony,
            _ => "",
        };
        let spelling = if before.ends_with("`sudo ") {
            &typing.for_root
        } else {
            &typing.spelling
        };
        spelled.push_str(&format!(
            "{before}{spelling}{directories} {command}{ceremony}"
        ));
        rest = after;
    }
    spelled.push_str(rest);
    spelled
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
pub(crate) fn failure_json(failure: &Failure) -> String {
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

/// One operator in a table for people.
pub(crate) struct OperatorRow<'a> {
    pub(crate) node: NodeIndex,
    /// As the definition has it; empty in an unsigned one.
    pub(crate) address: &'a str,
    /// How the operator's line counts, in a word or two.
    pub(crate) status: &'a str,
    /// More of it.
    pub(crate) what: String,
}

/// The operators with their lines, of the kind that `column` names, and which of them is `this` node.
pub(crate) fn operator_table(
    column: &str,
    rows: &[OperatorRow<'_>],
    this: Option<NodeIndex>,
) -> String {
    let width = rows.iter().map(|row| row.address.len()).max();
    let width = width.unwrap_or(0).max("unsigned".len());
    let mut text = format!(
        "{:<9} {:<width$} {column:<17} {}\n",
        "operator", "address", "what"
    );
    for row in rows {
        let address = if row.address.is_empty() {
            "unsigned"
        } else {
            row.address
        };
        let mine = if this == Some(row.node) {
            " (this node)"
        } else {
            ""
        };
        text.push_str(&format!(
            "{:<9} {:<width$} {:<17} {}{mine}\n",
            format!("{} of {}", row.node.position() + 1, rows.len()),
            clean(address),
            row.status,
            clean(&row.what),
        ));
    }
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
    fn what_is_repeated_is_counted() {
        assert_eq!(each_once(&["a", "b", "a", "a"]), "a (3 times), b");
    }

    fn read_by_shell(word: &OsStr) -> Vec<u8> {
        let shell = std::process::Command::new("sh")
            .args(["-c", &format!("printf %s {}", quoted(word))])
            .output();
        shell.unwrap().stdout
    }

    #[cfg(unix)]
    #[test]
    fn a_shell_reads_back_what_cannot_be_shown() {
        use std::os::unix::ffi::OsStrExt as _;
        for word in [&b"/caf\xe9 \xff/%s\\$x"[..], b"\x1b[2J\xc2\x9b\t1", b"\n1"] {
            assert_eq!(read_by_shell(OsStr::from_bytes(word)), word);
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
            assert_eq!(read_by_shell(OsStr::new(word)), word.as_bytes());
        }
        // One line, so that nothing of it is lost where it is shown.
        assert_eq!(quoted("a\n'b"), "\"$(printf 'a\\012\\047b')\"");
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
    fn commands_are_spelled_as_the_operator_types_them() {
        let mut typing = Typing {
            spelling: "docker charon-dkg".to_owned(),
            for_root: "/home/ann/.local/bin/charon-dkg".to_owned(),
            ..Typing::default()
        };
        assert_eq!(
            spelled("try `charon-dkg enr`, not `charon dkg`", &typing),
            "try `docker charon-dkg enr`, not `charon dkg`"
        );
        typing.directories = " --dir 'my node'".to_owned();
        typing.ceremony = " --relay https://r".to_owned();
        assert_eq!(
            spelled(
                "`charon-dkg run` goes on; `sudo charon-dkg repair`; `charon-dkg plan --definition`; `charon-dkg verify x/node0`; `charon-dkg run --data-dir /y`",
                &typing
            ),
            "`docker charon-dkg --dir 'my node' run --relay https://r` goes on; `sudo /home/ann/.local/bin/charon-dkg --dir 'my node' repair`; `docker charon-dkg --dir 'my node' plan --definition`; \
             `docker charon-dkg verify x/node0`; `docker charon-dkg run --data-dir /y`"
        );
    }

    #[test]
    fn a_note_that_holds_for_several_is_said_once_and_a_failure_each_time() {
        let about = |subject: &str, weight| Finding {
            subject: subject.to_owned(),
            ..finding(weight, "this")
        };
        let findings = [
            about("operator 1", Weight::Note),
            about("operator 2", Weight::Fail),
            about("operator 3", Weight::Note),
            about("operator 4", Weight::Fail),
            finding(Weight::Note, "that"),
        ];
        insta::assert_snapshot!(findings_text(&findings), @r"
        FAIL [some-check] operator 2
            seen:     this
            expected: something else
        FAIL [some-check] operator 4
            seen:     this
            expected: something else
        note [some-check] operator 1, operator 3
            seen:     this
            expected: something else
        note [some-check] validator 3
            seen:     that
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
}
