//! Keeps count of what was checked and what was found, so that nothing unchecked can look passed.

use std::collections::BTreeMap;
use std::fmt::Display;

use charon_files::finding::{Finding, Weight};

use super::check::Check;
use crate::profile::Problem;

use super::report::{CheckLine, CheckResult};

/// Most findings of one check and weight that are kept. The first few tell what is wrong; a hostile file
/// must not make a report of a million lines.
const MAX_FINDINGS: usize = 32;

/// Longest text of a finding in characters. Values of files are repeated in findings.
const MAX_TEXT: usize = 400;

/// The record of one verification, or of one part of it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    results: BTreeMap<Check, CheckResult>,
    findings: Vec<(Check, Finding)>,
    suppressed: BTreeMap<(Check, Weight), usize>,
}

impl Ledger {
    /// Notes that a check was carried out, at least for one subject or because there was none to check.
    pub(super) fn ran(&mut self, checks: &[Check]) {
        for check in checks {
            self.raise(*check, CheckResult::Passed);
        }
    }

    /// Notes that a check does not apply after all: nobody asked for it.
    pub(super) fn not_applicable(&mut self, checks: &[Check]) {
        for check in checks {
            self.raise(*check, CheckResult::NotApplicable);
        }
    }

    /// The check failed.
    pub(super) fn fail(
        &mut self,
        check: Check,
        subject: impl Display,
        seen: impl Display,
        expected: impl Display,
    ) {
        self.fail_with(check, subject, seen, expected, check.advice());
    }

    /// The check failed, and more can be said than the check's usual advice.
    pub(super) fn fail_with(
        &mut self,
        check: Check,
        subject: impl Display,
        seen: impl Display,
        expected: impl Display,
        advice: impl Display,
    ) {
        self.add(Weight::Fail, check, &subject, &seen, &expected, &advice);
    }

    /// The check applies but cannot be carried out.
    pub(super) fn could_not_tell(
        &mut self,
        check: Check,
        subject: impl Display,
        seen: impl Display,
        expected: impl Display,
        advice: impl Display,
    ) {
        self.add(
            Weight::CouldNotTell,
            check,
            &subject,
            &seen,
            &expected,
            &advice,
        );
    }

    /// The check passed, but there is something worth knowing.
    pub(super) fn note(
        &mut self,
        check: Check,
        subject: impl Display,
        seen: impl Display,
        expected: impl Display,
        advice: impl Display,
    ) {
        self.add(Weight::Note, check, &subject, &seen, &expected, &advice);
    }

    /// Takes over what was found elsewhere.
    pub(super) fn take(&mut self, check: Check, problem: &Problem) {
        self.add(
            problem.weight,
            check,
            &problem.subject,
            &problem.seen,
            &problem.expected,
            &problem.advice,
        );
    }

    /// Takes over everything another record holds.
    pub(super) fn merge(&mut self, other: Ledger) {
        for (check, result) in other.results {
            self.raise(check, result);
        }
        for (key, count) in other.suppressed {
            *self.suppressed.entry(key).or_default() += count;
        }
        for (check, finding) in other.findings {
            self.push(check, finding);
        }
    }

    /// Every check with its result, and every finding, the heaviest first. `applies` says which checks had to
    /// be carried out: one that was not gets a finding of its own unless something else explains it.
    pub(super) fn finish(
        mut self,
        applies: impl Fn(Check) -> bool,
    ) -> (Vec<CheckLine>, Vec<Finding>) {
        let explained = self
            .findings
            .iter()
            .any(|(_, finding)| finding.weight != Weight::Note);
        let forgotten: Vec<Check> = Check::ALL
            .iter()
            .copied()
            .filter(|check| applies(*check) && !self.results.contains_key(check))
            .collect();
        if !explained {
            for check in &forgotten {
                self.could_not_tell(
                    *check,
                    "this verification",
                    "the check was not carried out",
                    check.proves(),
                    "please report this: no verification should end like this",
                );
            }
        }
        let lines = Check::ALL
            .iter()
            .map(|check| CheckLine {
                id: check.id(),
                result: match self.results.get(check) {
                    Some(result) => *result,
                    None if applies(*check) => CheckResult::NotRun,
                    None => CheckResult::NotApplicable,
                },
            })
            .collect();
        for ((check, weight), count) in std::mem::take(&mut self.suppressed) {
            self.findings.push((
                check,
                Finding {
                    check: check.id(),
                    weight,
                    subject: format!("{count} more"),
                    seen: "the same as above".to_owned(),
                    expected: check.proves().to_owned(),
                    advice: String::new(),
                },
            ));
        }
        // Stable: equal weights stay in the order of the checks, then of discovery.
        self.findings
            .sort_by_key(|(check, finding)| (std::cmp::Reverse(finding.weight), *check));
        let findings = self
            .findings
            .into_iter()
            .map(|(_, finding)| finding)
            .collect();
        (lines, findings)
    }

    fn raise(&mut self, check: Check, result: CheckResult) {
        let entry = self.results.entry(check).or_insert(result);
        *entry = (*entry).max(result);
    }

    fn add(
        &mut self,
        weight: Weight,
        check: Check,
        subject: &dyn Display,
        seen: &dyn Display,
        expected: &dyn Display,
        advice: &dyn Display,
    ) {
        self.raise(check, weight.into());
        // Counted before it is made: texts cost more than the check itself.
        if self.kept(check, weight) >= MAX_FINDINGS {
            *self.suppressed.entry((check, weight)).or_default() += 1;
            return;
        }
        self.findings.push((
            check,
            Finding {
                check: check.id(),
                weight,
                subject: shorten(subject),
                seen: shorten(seen),
                expected: shorten(expected),
                advice: shorten(advice),
            },
        ));
    }

    fn push(&mut self, check: Check, finding: Finding) {
        if self.kept(check, finding.weight) >= MAX_FINDINGS {
            *self.suppressed.entry((check, finding.weight)).or_default() += 1;
        } else {
            self.findings.push((check, finding));
        }
    }

    fn kept(&self, check: Check, weight: Weight) -> usize {
        self.findings
            .iter()
            .filter(|(kept, finding)| *kept == check && finding.weight == weight)
            .count()
    }
}

/// A text of bounded length without control characters: values of strangers' files are repeated in findings, and
/// findings are printed to terminals.
fn shorten(text: &dyn Display) -> String {
    let text = text.to_string();
    let mut short: String = text
        .chars()
        .take(MAX_TEXT)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(MAX_TEXT).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_was_forgotten_is_no_pass() {
        let mut ledger = Ledger::default();
        ledger.ran(&[Check::LockHash]);
        let (lines, findings) =
            ledger.finish(|check| matches!(check, Check::LockHash | Check::GroupKey));
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].check, "group-key");
        assert_eq!(findings[0].weight, Weight::CouldNotTell);
        assert!(
            lines
                .iter()
                .any(|line| line.id == "lock-hash" && line.result == CheckResult::Passed)
        );
    }

    #[test]
    fn floods_are_summed_up() {
        let mut ledger = Ledger::default();
        let mut other = Ledger::default();
        for number in 0..1000 {
            ledger.fail(Check::GroupKey, number, "a", "b");
            other.fail(Check::GroupKey, number, "\u{1b}[2J", "b".repeat(1000));
        }
        ledger.merge(other);
        let (_, findings) = ledger.finish(|_| false);
        assert_eq!(findings.len(), MAX_FINDINGS + 1);
        assert_eq!(
            findings[MAX_FINDINGS].subject,
            format!("{} more", 2000 - MAX_FINDINGS)
        );
    }
}
