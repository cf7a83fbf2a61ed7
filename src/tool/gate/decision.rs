//! Open, or closed with the reason and the next command.

use clap::ValueEnum;
use serde::Serialize;

use crate::report;
use charon_files::finding::{Finding, Weight};
use charon_files::rehearsal::REHEARSAL_PREFIX;
use charon_proof::verify::{Report, Verdict};

/// What must hold before anything starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Require {
    /// Everything is proved here, and every operator has stated to have the same.
    Confirmed,
    /// Everything is proved here: for one who runs all nodes, or a cluster that has been running.
    Verified,
}

impl Require {
    /// How files and command lines spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Verified => "verified",
        }
    }

    /// The other way round.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_str(text, false).ok()
    }
}

/// The gate's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateDecision {
    /// Everything may start.
    Open {
        /// What was found, in one line.
        summary: String,
        /// What is to know of the project's settings all the same.
        notes: Vec<Finding>,
    },
    /// Nothing that sees the data directory may start.
    Closed(Closed),
}

/// Why the gate is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// What is so, in one line without a full stop.
    pub reason: String,
    /// What to type next, or whom to ask.
    pub next: String,
    /// Everything behind the reason.
    pub findings: Vec<Finding>,
    /// Whether files are at fault, rather than receipts that have not come.
    pub files_at_fault: bool,
}

impl Closed {
    /// Closed for a reason that no file is to blame for.
    pub fn new(reason: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            next: next.into(),
            findings: Vec::new(),
            files_at_fault: false,
        }
    }

    /// Closed, since this report of a whole data directory proved too little.
    pub fn unproved(report: &Report, words: Words<'_>) -> Self {
        let problems: Vec<Finding> = report
            .findings
            .iter()
            .filter(|finding| finding.weight > Weight::Note)
            .cloned()
            .collect();
        let what = match report.verdict {
            Verdict::Fail => "did not pass verification",
            Verdict::Pass | Verdict::CouldNotTell => "could not be verified",
        };
        let worst = problems.iter().max_by_key(|finding| finding.weight);
        let worst = worst.map_or_else(String::new, |finding| {
            format!(
                ": {}: {}, expected {}",
                finding.subject, finding.seen, finding.expected
            )
        });
        let more = match problems.len() {
            0 | 1 => String::new(),
            several => format!(" (and {} more)", several - 1),
        };
        Self {
            reason: format!("{} {what}{worst}{more}", words.data_dir),
            next: words.command("verify"),
            findings: problems,
            files_at_fault: true,
        }
    }

    /// The one line that every Compose shows: the reason and the next command.
    pub fn first_line(&self) -> String {
        format!(
            "charon-dkg refuses: {}; next: {}",
            report::clean(&self.reason),
            report::clean(&self.next)
        )
    }

    /// The first line, and everything behind it.
    pub fn text(&self) -> String {
        let findings = report::findings_text(&self.findings);
        format!("{}\n{findings}", self.first_line())
            .trim_end()
            .to_owned()
    }
}

/// The state of the other operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmation {
    /// Every operator has stated to have the same.
    Complete,
    /// Not every one, or not the same.
    Incomplete {
        /// Whose receipts are missing or differ, and in what, in one line.
        reason: String,
        /// One for each such operator.
        findings: Vec<Finding>,
        /// What to do if it is not to wait and to collect.
        next: Option<String>,
    },
}

/// How advice names this program and the directories that it was asked about.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a> {
    /// `docker charondkg`.
    pub spelling: &'a str,
    /// Flags that name the directories, with a space before each; empty where the defaults are right.
    pub flags: &'a str,
    /// The data directory, as people know it.
    pub data_dir: &'a str,
}

impl Words<'_> {
    /// `docker charondkg verify --dir x`.
    pub fn command(&self, verb: &str) -> String {
        format!("{} {verb}{}", self.spelling, self.flags)
    }
}

/// Keeps rehearsals and real clusters apart.
///
/// # Errors
/// Closed, if the cluster is a rehearsal's and this gate is not, or the other way round.
pub fn check_rehearsal(
    cluster_name: &str,
    rehearsal: bool,
    words: Words<'_>,
) -> Result<(), Closed> {
    let is_one = cluster_name.starts_with(REHEARSAL_PREFIX);
    match (is_one, rehearsal) {
        (true, true) | (false, false) => Ok(()),
        (true, false) => Err(Closed::new(
            "these are the keys of a rehearsal, which controls nothing and must not run",
            words.command("archive"),
        )),
        (false, true) => Err(Closed::new(
            "this gate was installed for a rehearsal, and these are the keys of a real cluster",
            words.command("gate install"),
        )),
    }
}

/// Closed, since what was proved is held until all operators have confirmed: there is nothing that could start.
pub fn still_held(held: &str, standing: Confirmation, words: Words<'_>) -> Closed {
    match standing {
        Confirmation::Complete => Closed::new(
            format!("{held}, and all have: they only have to be moved"),
            words.command("confirm"),
        ),
        Confirmation::Incomplete {
            reason,
            findings,
            next,
        } => Closed {
            reason: format!("{held}; {reason}"),
            next: next.unwrap_or_else(|| words.command("confirm -")),
            findings,
            files_at_fault: false,
        },
    }
}

/// What the receipts mean for the gate.
///
/// # Errors
/// Closed, if they are asked for and not complete.
pub fn check_confirmation(confirmation: Confirmation, words: Words<'_>) -> Result<(), Closed> {
    match confirmation {
        Confirmation::Complete => Ok(()),
        Confirmation::Incomplete {
            reason,
            findings,
            next,
        } => Err(Closed {
            reason,
            // It asks for the receipts to be pasted.
            next: next.unwrap_or_else(|| words.command("confirm -")),
            findings,
            files_at_fault: false,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: Words<'_> = Words {
        spelling: "docker charondkg",
        flags: " --dir p",
        data_dir: ".charon",
    };

    #[test]
    fn a_policy_is_spelt_one_way() {
        for require in [Require::Confirmed, Require::Verified] {
            assert_eq!(Require::parse(require.name()), Some(require));
        }
        for odd in ["", "Confirmed", "verified ", "none"] {
            assert_eq!(Require::parse(odd), None);
        }
    }

    #[test]
    fn the_first_line_has_reason_and_next_command_and_no_line_break() {
        let closed = check_confirmation(
            Confirmation::Incomplete {
                reason: "the receipt of operator 4 of 4\nis missing".to_owned(),
                findings: Vec::new(),
                next: None,
            },
            WORDS,
        )
        .unwrap_err();
        assert_eq!(
            closed.first_line(),
            "charon-dkg refuses: the receipt of operator 4 of 4 is missing; \
             next: docker charondkg confirm - --dir p"
        );
        assert_eq!(closed.text(), closed.first_line());
        assert_eq!(check_confirmation(Confirmation::Complete, WORDS), Ok(()));
    }

    #[test]
    fn rehearsals_and_real_clusters_do_not_mix() {
        let rehearsed = "REHEARSAL of today";
        assert_eq!(check_rehearsal(rehearsed, true, WORDS), Ok(()));
        assert_eq!(check_rehearsal("real", false, WORDS), Ok(()));
        assert_eq!(check_rehearsal("", false, WORDS), Ok(()));
        assert!(check_rehearsal(rehearsed, false, WORDS).is_err());
        assert!(check_rehearsal("real", true, WORDS).is_err());
        assert!(check_rehearsal("a REHEARSAL of", true, WORDS).is_err());
    }
}
