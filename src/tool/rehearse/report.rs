//! What a rehearsal showed: one table for people, one document for programs.

use serde::Serialize;

use crate::error::{Failure, Kind};
use crate::rehearse::charon_image::CharonImage;
use crate::rehearse::gates::Shown;
use crate::rehearse::trial::Trial;
use crate::rehearse::whole::Line;
use crate::report;

#[derive(Serialize)]
pub(crate) struct Document {
    schema: &'static str,
    charon: String,
    simulated: bool,
    operators: Vec<Line>,
    gate: Shown,
    scenarios: Vec<Trial>,
    /// Whether everything that was shown was as it must be.
    pub(crate) passed: bool,
    pub(crate) directory: Option<String>,
}

impl Document {
    pub(crate) fn of(
        charon: &CharonImage,
        operators: Vec<Line>,
        gate: Shown,
        scenarios: Vec<Trial>,
    ) -> Self {
        let mut document = Self {
            schema: "charon-dkg.rehearse/1",
            charon: charon.release.to_string(),
            simulated: charon.simulated,
            operators,
            gate,
            scenarios,
            passed: false,
            directory: None,
        };
        document.passed = document.must_have_happened().is_ok();
        document
    }

    fn ceremony_passed(&self) -> bool {
        let Some(first) = self.operators.first() else {
            return !self.scenarios.is_empty();
        };
        self.operators
            .iter()
            .all(|line| line.passed() && line.lock_hash == first.lock_hash)
    }

    fn gates_passed(&self) -> bool {
        let mut lines = self.operators.iter();
        // Before, with one receipt missing, and with all.
        let asked_often = |line: &Line| line.gate.len() >= 3;
        match self.gate {
            Shown::Yes { .. } => {
                lines.all(|line| asked_often(line) && line.gate.iter().all(|answer| answer.held))
            }
            Shown::No { .. } => true,
        }
    }

    /// Whether the command ends well.
    ///
    /// # Errors
    /// What was not as it must be, or was not shown.
    pub(crate) fn judge(&self, without_gate: bool) -> Result<(), Failure> {
        self.must_have_happened()?;
        if let (Shown::No { not_shown }, false, false) =
            (&self.gate, without_gate, self.operators.is_empty())
        {
            return Err(Failure::new(
                Kind::Refused,
                format!("the gate was not shown: {not_shown}"),
            )
            .hint("install Docker Compose, or leave this part out with --without-gate"));
        }
        if self.scenarios.iter().any(|it| it.held.is_none()) {
            return Err(Failure::new(
                Kind::Refused,
                "not every scenario could be shown here",
            ));
        }
        Ok(())
    }

    fn must_have_happened(&self) -> Result<(), Failure> {
        if !self.ceremony_passed() {
            return Err(Failure::new(
                Kind::CeremonyFailed,
                "not every operator of the rehearsal ended with the same, proved outputs",
            ));
        }
        let wrong = if !self.gates_passed() {
            "a gate of the rehearsal did not answer as it must"
        } else if self.scenarios.iter().any(|it| it.held == Some(false)) {
            "what must happen did not happen"
        } else {
            return Ok(());
        };
        Err(Failure::new(Kind::VerificationFailed, wrong))
    }

    /// For people: what was shown, and the verdict in the last line.
    pub(crate) fn text(&self, judged: &Result<(), Failure>) -> String {
        let mut text = String::new();
        if !self.operators.is_empty() {
            text.push_str(&self.table());
            text.push_str(&self.summary());
        }
        for trial in &self.scenarios {
            text.push_str(&trial.text());
        }
        if self.simulated {
            text.push_str(
                "charon was played by the simulator: these shares were dealt from one place\n",
            );
        }
        if let Some(directory) = &self.directory {
            text.push_str(&format!(
                "kept in {directory}; what every operator was told is in operator-N.log there\n"
            ));
        }
        text.push_str(&match judged {
            Ok(()) => "PASS everything was as it must be\n".to_owned(),
            Err(failure) if failure.kind == Kind::Refused => {
                format!("NOT ALL SHOWN {}\n", report::clean(&failure.message))
            }
            Err(failure) => format!("FAIL {}\n", report::clean(&failure.message)),
        });
        text
    }

    fn table(&self) -> String {
        use crate::rehearse::gates::When;

        let moments = match self.gate {
            Shown::Yes { .. } => vec![
                (When::BeforeCeremony, "no files"),
                (When::OneMissing, "one less"),
                (When::AllHere, "all"),
                (When::ByteChanged, "changed"),
                (When::Restored, "restored"),
            ],
            Shown::No { .. } => Vec::new(),
        };
        let mut text = format!(
            "{:<3}{:<7}{:<7}{:<7}{:<5}",
            "op", "owner", "run", "verify", "time"
        );
        for (_, title) in &moments {
            text.push_str(&format!("{title:<9}"));
        }
        text.push_str("lock\n");
        for line in &self.operators {
            let time = format!("{}s", line.seconds);
            text.push_str(&format!(
                "{:<3}{:<7}{:<7}{:<7}{time:<5}",
                line.operator,
                line.owner,
                word(line.run),
                word(line.verify),
            ));
            for (when, _) in &moments {
                let seen = match line.answer(*when) {
                    Some(answer) if answer.held => answer.seen.name(),
                    Some(_) => "WRONG",
                    None => "-",
                };
                text.push_str(&format!("{seen:<9}"));
            }
            text.push_str(line.lock_hash.as_deref().map_or("none", short));
            text.push('\n');
        }
        text
    }

    fn summary(&self) -> String {
        use crate::rehearse::gates::When;

        let mut text = String::new();
        text.push_str(if self.ceremony_passed() {
            "all operators hold the same complete files\n"
        } else {
            "the rehearsal failed\n"
        });
        for line in self.operators.iter().filter(|line| line.cut_off) {
            text.push_str(&format!(
                "operator {} lost the connection during the ceremony; the next run went on with it\n",
                line.operator
            ));
        }
        match &self.gate {
            Shown::No { not_shown } => {
                text.push_str(&format!(
                    "NOT SHOWN: the gate, because {}\n",
                    report::clean(not_shown)
                ));
            }
            Shown::Yes { compose, .. } => {
                text.push_str(&format!(
                    "the gates: what came of `docker compose up -d`, with {compose}\n\
                     no files: before the ceremony; one less, all: receipts in the chat;\n\
                     changed, restored: one byte of a keystore\n"
                ));
                let mut lines = self.operators.iter();
                let reason = lines.find_map(|line| line.answer(When::OneMissing)?.reason.clone());
                if let Some(reason) = reason {
                    text.push_str(&format!(
                        "with one receipt missing: {}\n",
                        report::clean(&reason)
                    ));
                }
            }
        }
        text
    }
}

/// Enough of a hash to see by eye that it is the same; the whole is in the document.
fn short(hash: &str) -> &str {
    let digits = hash.strip_prefix("0x").unwrap_or(hash);
    digits.get(..6).unwrap_or(digits)
}

fn word(code: i32) -> String {
    if code == 0 {
        "ok".to_owned()
    } else {
        format!("exit {code}")
    }
}
