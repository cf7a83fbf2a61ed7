//! What a verification says, as data. The JSON form is described by `docs/verify.schema.json`.

use serde::Serialize;

use charon_files::cluster::Payouts;
use charon_files::finding::{Finding, Weight};

use super::Scope;
use crate::chain::Standings;
use crate::edit::EditKind;

/// Name and version of the JSON form. The number changes when a field is removed or changes its meaning;
/// new fields may appear without.
pub const SCHEMA: &str = "charon-dkg.verify/1";

/// The answer. There is no other way to a pass than every applicable check having been carried out and passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every applicable check passed.
    Pass,
    /// Nothing failed, but something could not be checked.
    CouldNotTell,
    /// Something failed.
    Fail,
}

impl From<Weight> for Verdict {
    fn from(weight: Weight) -> Self {
        match weight {
            Weight::Note => Verdict::Pass,
            Weight::CouldNotTell => Verdict::CouldNotTell,
            Weight::Fail => Verdict::Fail,
        }
    }
}

/// How one check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckResult {
    /// It does not apply to this format version or scope, or was not asked for.
    NotApplicable,
    /// It applies, but an earlier failure left nothing to check.
    NotRun,
    /// Carried out without any finding.
    Passed,
    /// Carried out; there is something worth knowing.
    Noted,
    /// It could not be carried out for everything.
    CouldNotTell,
    /// It failed for at least one subject.
    Failed,
}

impl From<Weight> for CheckResult {
    fn from(weight: Weight) -> Self {
        match weight {
            Weight::Note => CheckResult::Noted,
            Weight::CouldNotTell => CheckResult::CouldNotTell,
            Weight::Fail => CheckResult::Failed,
        }
    }
}

/// One line of [`Report::checks`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckLine {
    /// The stable name of the check.
    pub id: &'static str,
    /// How it ended.
    pub result: CheckResult,
}

/// Whose directory was verified, found by its ENR key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Position among the operators, from 0.
    pub index: usize,
    /// Position as people count, from 1.
    pub operator: usize,
    /// The operator's address as written in the definition; empty in an unsigned definition.
    pub address: String,
    /// Short public name of the ENR key: 16 hexadecimal digits (see [`charon_files::keys::k1::EnrId`]).
    pub enr_id: String,
    /// The ENR as written in the definition.
    pub enr: String,
}

/// How many there were of what. Zero where a scope has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Operators of the definition.
    pub operators: usize,
    /// Shares needed for a signature.
    pub threshold: u64,
    /// Validators of the definition.
    pub validators: u64,
    /// Keystores that were opened, or had been proved before.
    pub keystores: usize,
    /// Keystores among them whose key stretching was skipped because they had been proved before.
    pub keystores_proved_before: usize,
    /// Deposit data files.
    pub deposit_files: usize,
    /// Deposits whose signature was checked, in the lock and in files.
    pub deposits: usize,
    /// Checks carried out, whatever their result.
    pub checks_run: usize,
}

/// Which edit led from the previous lock to this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EditReport {
    /// charon's command.
    pub kind: EditKind,
    /// Recomputed hash of the previous lock, `0x` and hexadecimal.
    pub previous_lock_hash: Option<String>,
    /// Operators of the previous lock.
    pub previous_operators: usize,
    /// Threshold of the previous lock.
    pub previous_threshold: u64,
    /// ENRs of operators who are no longer there.
    pub operators_removed: Vec<String>,
    /// ENRs of operators who are new.
    pub operators_added: Vec<String>,
    /// Validators that are new.
    pub validators_added: usize,
}

/// What the chain says, and what speaks against the validators there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainReport {
    /// The state of each.
    #[serde(flatten)]
    pub standings: Standings,
    /// With ids that begin with `chain-`.
    pub findings: Vec<Finding>,
}

/// What a verification says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The answer.
    pub verdict: Verdict,
    /// What was looked at.
    pub scope: Scope,
    /// Format version of definition and lock, such as `v1.10.0`; absent if it could not be read.
    pub definition_version: Option<&'static str>,
    /// Cosmetic name of the cluster.
    pub cluster_name: Option<String>,
    /// charon's name of the network, or the fork version of an unknown one.
    pub network: Option<String>,
    /// Where the money goes, and how much is deposited: as the definition says, or of the amounts as the lock has them.
    pub payouts: Option<Payouts>,
    /// Recomputed hash of the terms, `0x` and hexadecimal.
    pub config_hash: Option<String>,
    /// Recomputed hash of terms and signatures, `0x` and hexadecimal.
    pub definition_hash: Option<String>,
    /// Recomputed hash of the lock, `0x` and hexadecimal.
    pub lock_hash: Option<String>,
    /// Whose directory it is.
    pub node: Option<Node>,
    /// Counts.
    pub counts: Counts,
    /// The edit that was recognised; absent without a previous lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edit: Option<EditReport>,
    /// Every check with its result, in the order of the documentation.
    pub checks: Vec<CheckLine>,
    /// What the chain knows of the validators; absent if nobody was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<ChainReport>,
    /// All findings, the most serious first.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Adds what the chain says of the validators, and what speaks against them there.
    pub fn add_chain(&mut self, standings: Standings, findings: Vec<Finding>) {
        let of_chain = findings
            .iter()
            .map(|finding| Verdict::from(finding.weight))
            .max();
        self.verdict = self.verdict.max(of_chain.unwrap_or(Verdict::Pass));
        self.chain = Some(ChainReport {
            standings,
            findings,
        });
    }

    /// Everything that was found, by the checks and on the chain.
    pub fn all_findings(&self) -> Vec<Finding> {
        let of_chain = self.chain.iter().flat_map(|chain| &chain.findings);
        self.findings.iter().chain(of_chain).cloned().collect()
    }

    /// Whether a check of this name failed for at least one subject.
    pub fn failed(&self, id: &str) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.check == id && finding.weight == Weight::Fail)
    }
}
