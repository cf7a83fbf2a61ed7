//! A finding is data: one check, one subject, what was seen and what was expected.

use serde::Serialize;

/// How a finding weighs. There is no flag to change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// Worth knowing; changes no verdict.
    Note,
    /// The check applies but could not be carried out. Closes the gate like a failure.
    CouldNotTell,
    /// The check was carried out and failed.
    Fail,
}

/// One result of one check on one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable identifier of the check, such as `share-pubkey-mismatch`.
    pub check: &'static str,
    /// How it weighs.
    pub weight: Weight,
    /// What it is about: `keystore-3.json`, `validator 3`, `operator 2 of 4 (0x…)`.
    pub subject: String,
    /// What was seen.
    pub seen: String,
    /// What was expected.
    pub expected: String,
    /// What to do about it; may be empty where only the summary can advise.
    pub advice: String,
}

impl Finding {
    /// A check that was carried out and failed, without advice.
    #[must_use]
    pub fn fail(
        check: &'static str,
        subject: impl Into<String>,
        seen: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            check,
            weight: Weight::Fail,
            subject: subject.into(),
            seen: seen.into(),
            expected: expected.into(),
            advice: String::new(),
        }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }
}

/// What the first of the findings saw, for a cell of a table; empty if there are no findings.
pub fn first_seen(findings: &[Finding]) -> String {
    findings
        .first()
        .map_or_else(String::new, |finding| finding.seen.clone())
}
