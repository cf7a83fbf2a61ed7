//! The state of the other operators' receipts.

use crate::ceremony::attempt::{Attempt, State};
use crate::error::Failure;
use crate::gate::decision::{Confirmation, Words};
use crate::machine::datadir::Layout;
use crate::proof::confirm::judge_kept;
use crate::proof::receipts;
use charon_files::cluster::LockHash;
use charon_files::cluster::names::CLUSTER_LOCK_FILE;
use charon_files::finding::{Finding, Weight};
use charon_proof::receipt::find_receipts;
use charon_proof::verify::Verified;

/// Looks at the kept receipts of a directory that was just proved.
///
/// # Errors
/// Where the receipts cannot be read, which closes the gate too.
pub(crate) fn standing(
    layout: &Layout,
    verified: &Verified,
    words: Words<'_>,
) -> Result<Confirmation, Failure> {
    let confirmation = judge_kept(layout, verified)?;
    if confirmation.is_complete() {
        return Ok(Confirmation::Complete);
    }
    let here = verified.lock_hash();
    let others = receipts::other_locks(layout, &here);
    // Once somebody else has stated to have this lock, it is no accident, and only receipts are missing. The same goes for a
    // lock that a later ceremony made here.
    if others.is_empty()
        || confirmation.valid_count() > 1
        || is_of_later_ceremony(layout, verified, &others)
    {
        return Ok(Confirmation::Incomplete {
            reason: confirmation.summary(),
            findings: confirmation.findings(),
            next: None,
        });
    }
    Ok(another_lock(&here, &others, words))
}

/// Whether the last ceremony here made a lock of this definition, after all that is kept for other locks was signed.
fn is_of_later_ceremony(layout: &Layout, verified: &Verified, others: &[LockHash]) -> bool {
    let started = || {
        let promoted = Attempt::list(layout).ok()?.into_iter().rev();
        let mut records = promoted.filter_map(|attempt| attempt.record().ok());
        let last = records.find(|record| matches!(record.state, State::Held | State::Promoted))?;
        let is_this = last.definition_hash == verified.definition_hash().to_string();
        let started: jiff::Timestamp = last.started.parse().ok().filter(|_| is_this)?;
        u64::try_from(started.as_second()).ok()
    };
    let newest = |lock: &LockHash| {
        let text = receipts::read(layout, lock).ok()?;
        let found = find_receipts(&text).ok()?.into_iter().flatten();
        found.map(|receipt| receipt.statement().time).max()
    };
    let newest = others.iter().filter_map(newest).max();
    started().is_some_and(|started| newest.is_none_or(|newest| newest < started))
}

/// The lock is another one than was confirmed: edited by charon's own commands, which make a new lock of the old keys
/// (charon `alpha edit` and `alpha add-validators`), or restored, or copied from elsewhere.
fn another_lock(here: &LockHash, others: &[LockHash], words: Words<'_>) -> Confirmation {
    let others: Vec<String> = others.iter().map(ToString::to_string).collect();
    Confirmation::Incomplete {
        reason: "the cluster lock is not the one of the receipts kept here; every operator must \
                 send a new receipt if the cluster was edited on purpose, and none if not"
            .to_owned(),
        findings: vec![Finding {
            check: "gate-other-lock",
            weight: Weight::Fail,
            subject: CLUSTER_LOCK_FILE.to_owned(),
            seen: format!("lock_hash {here}"),
            expected: format!("lock_hash {}", others.join(" or ")),
            advice: "a cluster that charon's own commands have edited needs the receipts of all operators anew; \
                     if it was not edited, these are not the files that were confirmed: do not start the cluster, and compare the lock_hash with the other operators"
                .to_owned(),
        }],
        next: Some(words.command("receipt")),
    }
}
