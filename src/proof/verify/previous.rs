//! A cluster lock against the one before an edit (`charon alpha edit`): what had to stay did, and what had to change did.

use std::collections::HashMap;

use charon_files::cluster::definition::default_threshold;
use charon_files::cluster::{AddressPair, ClusterLock, Definition, NodeIndex, ValidatorIndex};
use charon_files::finding::Weight;
use charon_files::keys::keystore::Keystore;

use super::ledger::Ledger;
use super::{
    Check, Context, ContractQuestion, EditReport, Expectations, Material, NamedFile, Options,
    Scope, verify,
};
use crate::edit::{Edit, EditKind, EditRequest, addresses_from};

/// Every check of an edit. [`Check::EditExpected`] and [`Check::EditKeystores`] are for those who asked, and who have keys.
const ALL: [Check; 11] = [
    Check::EditPreviousLock,
    Check::EditKind,
    Check::EditExpected,
    Check::EditTerms,
    Check::EditOperators,
    Check::EditThreshold,
    Check::EditValidators,
    Check::EditDeposits,
    Check::EditRegistrations,
    Check::EditShares,
    Check::EditKeystores,
];

/// What came of it.
#[derive(Default)]
pub(super) struct Compared {
    /// The edit, if it could be recognised.
    pub(super) edit: Option<Edit>,
    /// The same as a report has it.
    pub(super) report: Option<EditReport>,
    /// What only contract wallets can say of the old lock.
    pub(super) contract_questions: Vec<ContractQuestion>,
}

/// Proves the old lock by itself, and the new one against it.
pub(super) fn check(context: &Context<'_>, lock: &ClusterLock, ledger: &mut Ledger) -> Compared {
    let Some(file) = &context.material.previous_lock else {
        ledger.not_applicable(&ALL);
        return Compared::default();
    };
    ledger.ran(&[Check::EditPreviousLock]);
    let (previous, contract_questions) = prove(context, file, ledger);
    let Some(previous) = previous else {
        return Compared {
            contract_questions,
            ..Compared::default()
        };
    };
    let edit = recognise(&previous, lock, ledger);
    check_expected(context, &previous, lock, edit.as_ref(), ledger);
    check_terms(&previous.definition, &lock.definition, ledger);
    check_validators(&previous, lock, edit.as_ref(), ledger);
    if let Some(edit) = &edit {
        check_operators(&previous, lock, edit, ledger);
        check_threshold(&previous, lock, edit, ledger);
        check_shares(&previous, lock, edit, ledger);
        check_keystores(context, &previous, edit, ledger);
    }
    Compared {
        report: edit.as_ref().map(|edit| describe(&previous, lock, edit)),
        edit,
        contract_questions,
    }
}

/// The old lock as a lock of its own. All its problems are findings of one check, since it is another file.
fn prove(
    context: &Context<'_>,
    file: &NamedFile,
    ledger: &mut Ledger,
) -> (Option<ClusterLock>, Vec<ContractQuestion>) {
    let material = Material {
        cluster_lock: Some(file.clone()),
        ..Material::default()
    };
    let options = Options {
        contract_answers: context.options.contract_answers,
        ..Options::new(Scope::LockOnly)
    };
    let outcome = verify(&material, &Expectations::default(), &options);
    for finding in outcome.report.findings {
        let subject = format!("the previous lock, {}", finding.subject);
        let seen = format!("[{}] {}", finding.check, finding.seen);
        match finding.weight {
            Weight::Note => {}
            Weight::CouldNotTell => ledger.could_not_tell(
                Check::EditPreviousLock,
                subject,
                seen,
                finding.expected,
                finding.advice,
            ),
            Weight::Fail => ledger.fail_with(
                Check::EditPreviousLock,
                subject,
                seen,
                finding.expected,
                finding.advice,
            ),
        }
    }
    let previous = ClusterLock::parse(&file.bytes).ok().map(|it| it.value);
    (previous, outcome.contract_questions)
}

fn recognise(previous: &ClusterLock, lock: &ClusterLock, ledger: &mut Ledger) -> Option<Edit> {
    ledger.ran(&[Check::EditKind]);
    let edit = Edit::between(previous, lock);
    if edit.is_none() {
        let same = previous.lock_hash().is_ok() && previous.lock_hash() == lock.lock_hash();
        let (seen, advice) = if same {
            (
                "the same lock",
                "give the lock that the cluster had before the edit",
            )
        } else {
            (
                "operators that no single edit makes of the previous ones",
                Check::EditKind.advice(),
            )
        };
        ledger.fail_with(
            Check::EditKind,
            "the cluster lock",
            seen,
            "more validators, more operators, fewer operators, one operator in the place of another, or new shares alone",
            advice,
        );
    }
    edit
}

/// Against what was asked for, if anybody did.
fn check_expected(
    context: &Context<'_>,
    previous: &ClusterLock,
    lock: &ClusterLock,
    edit: Option<&Edit>,
    ledger: &mut Ledger,
) {
    let Some(request) = &context.expectations.edit else {
        ledger.not_applicable(&[Check::EditExpected]);
        return;
    };
    ledger.ran(&[Check::EditExpected]);
    let kind = request.kind();
    if let Some(edit) = edit
        && edit.kind != kind
    {
        ledger.fail(
            Check::EditExpected,
            "the cluster lock",
            edit.kind.command(),
            kind.command(),
        );
        return;
    }
    let operators: Vec<&str> = enrs(&lock.definition).collect();
    let expected = request.operators_after(previous);
    if operators != expected {
        ledger.fail(
            Check::EditExpected,
            "operators",
            operators.join(", "),
            expected.join(", "),
        );
    }
    match request {
        EditRequest::AddValidators { addresses } => {
            let first = previous.validators.len();
            let made = addresses_from(lock, first);
            let same = made.len() == addresses.len()
                && made
                    .iter()
                    .zip(addresses)
                    .all(|(made, asked)| made.is_some_and(|made| same_addresses(made, asked)));
            if !same {
                ledger.fail(
                    Check::EditExpected,
                    format!("validators from {first} on"),
                    describe_addresses(made.into_iter().flatten()),
                    describe_addresses(addresses.iter()),
                );
            }
        }
        EditRequest::RemoveOperators {
            threshold: Some(threshold),
            ..
        } if *threshold != lock.definition.threshold => ledger.fail(
            Check::EditExpected,
            "threshold",
            lock.definition.threshold,
            threshold,
        ),
        EditRequest::RemoveOperators { .. }
        | EditRequest::AddOperators { .. }
        | EditRequest::ReplaceOperator { .. }
        | EditRequest::RecreatePrivateKeys => {}
    }
}

fn enrs(definition: &Definition) -> impl Iterator<Item = &str> {
    definition.operators.iter().map(|it| it.enr.as_str())
}

/// charon copies them as they were, or writes them as they were asked for; letter case has no meaning.
fn same_addresses(a: &AddressPair, b: &AddressPair) -> bool {
    a.fee_recipient_address
        .eq_ignore_ascii_case(&b.fee_recipient_address)
        && a.withdrawal_address
            .eq_ignore_ascii_case(&b.withdrawal_address)
}

fn describe_addresses<'a>(pairs: impl Iterator<Item = &'a AddressPair>) -> String {
    let texts: Vec<String> = pairs
        .map(|pair| {
            format!(
                "withdrawal to {}, fees to {}",
                pair.withdrawal_address, pair.fee_recipient_address
            )
        })
        .collect();
    if texts.is_empty() {
        "none".to_owned()
    } else {
        texts.join("; ")
    }
}

/// The terms that no edit changes. Operators, creator, threshold and validators have checks of their own.
fn check_terms(previous: &Definition, definition: &Definition, ledger: &mut Ledger) {
    ledger.ran(&[Check::EditTerms]);
    let terms = |it: &Definition| {
        [
            ("version", it.version.text().to_owned()),
            ("name", it.name.clone()),
            ("uuid", it.uuid.clone()),
            ("timestamp", it.timestamp.clone()),
            ("dkg_algorithm", it.dkg_algorithm.clone()),
            (
                "fork_version",
                format!("0x{}", hex::encode(it.fork_version)),
            ),
            (
                "deposit_amounts",
                // Nothing and an empty list are hashed alike.
                it.deposit_amounts
                    .iter()
                    .flatten()
                    .map(|amount| amount.0.to_string())
                    .collect::<Vec<_>>()
                    .join(", "),
            ),
            ("consensus_protocol", it.consensus_protocol.clone()),
            ("target_gas_limit", it.target_gas_limit.to_string()),
            ("compounding", it.compounding.to_string()),
        ]
    };
    for ((term, old), (_, new)) in terms(previous).into_iter().zip(terms(definition)) {
        if old != new {
            ledger.fail(
                Check::EditTerms,
                term,
                format!("`{new}`"),
                format!("`{old}`, as in the previous lock"),
            );
        }
    }
}

/// Kept validators: key, addresses, deposits and registration.
fn check_validators(
    previous: &ClusterLock,
    lock: &ClusterLock,
    edit: Option<&Edit>,
    ledger: &mut Ledger,
) {
    ledger.ran(&[
        Check::EditValidators,
        Check::EditDeposits,
        Check::EditRegistrations,
    ]);
    let may_grow = edit.is_none_or(|edit| edit.kind == EditKind::AddValidators);
    let count = lock.validators.len();
    let old_count = previous.validators.len();
    if count < old_count || (count > old_count && !may_grow) {
        ledger.fail(
            Check::EditValidators,
            "distributed_validators",
            format!("{count} validators"),
            format!("the {old_count} of the previous lock"),
        );
    }
    for ((index, old), new) in previous.validators().zip(&lock.validators) {
        let subject = format!("validator {index}");
        if old.public_key != new.public_key {
            ledger.fail(
                Check::EditValidators,
                &subject,
                format!("0x{}", hex::encode(new.public_key)),
                format!("0x{}, as in the previous lock", hex::encode(old.public_key)),
            );
            // Deposits and registration of another validator are other ones.
            continue;
        }
        let pairs = (
            previous.definition.addresses_of(index),
            lock.definition.addresses_of(index),
        );
        if let (Some(old), Some(new)) = pairs
            && !same_addresses(old, new)
        {
            ledger.fail(
                Check::EditValidators,
                &subject,
                describe_addresses([new].into_iter()),
                describe_addresses([old].into_iter()),
            );
        }
        if old.deposits != new.deposits {
            ledger.fail(
                Check::EditDeposits,
                &subject,
                "other deposits",
                "those of the previous lock, byte for byte",
            );
        }
        if old.builder_registration != new.builder_registration {
            ledger.fail(
                Check::EditRegistrations,
                &subject,
                "another builder registration",
                "that of the previous lock, byte for byte",
            );
        }
    }
}

/// Who stays has the same record.
fn check_operators(previous: &ClusterLock, lock: &ClusterLock, edit: &Edit, ledger: &mut Ledger) {
    ledger.ran(&[Check::EditOperators]);
    let kept = |definition: &Definition, gone: &[NodeIndex]| -> Vec<String> {
        definition
            .nodes()
            .filter(|node| !gone.contains(node))
            .filter_map(|node| definition.operator(node))
            .map(|operator| operator.enr.clone())
            .collect()
    };
    let old = kept(&previous.definition, &edit.removed);
    let new = kept(&lock.definition, &edit.added);
    for (old, new) in old.iter().zip(&new) {
        if old != new {
            ledger.fail(
                Check::EditOperators,
                "operators",
                new,
                format!("{old}, the record of the same key in the previous lock"),
            );
        }
    }
}

/// charon keeps the threshold, but for those who remove operators.
fn check_threshold(previous: &ClusterLock, lock: &ClusterLock, edit: &Edit, ledger: &mut Ledger) {
    ledger.ran(&[Check::EditThreshold]);
    let threshold = lock.definition.threshold;
    let operators = lock.definition.operators.len();
    let least = u64::try_from(default_threshold(operators)).unwrap_or(u64::MAX);
    match edit.kind {
        EditKind::RemoveOperators => {
            let most = u64::try_from(operators).unwrap_or(u64::MAX);
            if threshold < least || threshold > most {
                ledger.fail(
                    Check::EditThreshold,
                    "threshold",
                    format!("{threshold} of {operators}"),
                    format!("{least} to {most}"),
                );
            }
        }
        EditKind::AddValidators
        | EditKind::AddOperators
        | EditKind::ReplaceOperator
        | EditKind::RecreatePrivateKeys => {
            let old = previous.definition.threshold;
            if threshold != old {
                ledger.fail(
                    Check::EditThreshold,
                    "threshold",
                    threshold,
                    format!("{old}, which this edit keeps"),
                );
            }
        }
    }
}

/// The position of a public share in a lock.
fn places(lock: &ClusterLock) -> HashMap<[u8; 48], (ValidatorIndex, NodeIndex)> {
    let mut places = HashMap::new();
    for (index, validator) in lock.validators() {
        for (position, share) in validator.public_shares.iter().enumerate() {
            places.insert(*share, (index, NodeIndex::new(position)));
        }
    }
    places
}

/// Shares of kept validators: all as they were, or none.
fn check_shares(previous: &ClusterLock, lock: &ClusterLock, edit: &Edit, ledger: &mut Ledger) {
    ledger.ran(&[Check::EditShares]);
    if edit.kind.keeps_shares() {
        for ((index, old), new) in previous.validators().zip(&lock.validators) {
            if old.public_shares != new.public_shares {
                ledger.fail(
                    Check::EditShares,
                    format!("validator {index}"),
                    "other public shares",
                    "those of the previous lock",
                );
            }
        }
        return;
    }
    let old = places(previous);
    let operators = previous.definition.operators.len();
    for (index, validator) in lock.validators() {
        for share in &validator.public_shares {
            if let Some((of, holder)) = old.get(share) {
                ledger.fail(
                    Check::EditShares,
                    format!("validator {index}"),
                    format!(
                        "the share that {} had of validator {of} in the previous lock",
                        holder.of(operators)
                    ),
                    "a new share for every operator",
                );
            }
        }
    }
}

/// The old keystores are the likeliest to be where the new ones belong.
fn check_keystores(
    context: &Context<'_>,
    previous: &ClusterLock,
    edit: &Edit,
    ledger: &mut Ledger,
) {
    if !context.options.scope.has_node() || edit.kind.keeps_shares() {
        ledger.not_applicable(&[Check::EditKeystores]);
        return;
    }
    ledger.ran(&[Check::EditKeystores]);
    let old = places(previous);
    let operators = previous.definition.operators.len();
    for file in &context.material.keystores {
        // Files that are not keystores have findings of their own; passwords are not keystores.
        let Ok(keystore) = Keystore::parse(&file.bytes) else {
            continue;
        };
        if let Some((index, holder)) = old.get(&keystore.public_key) {
            ledger.fail(
                Check::EditKeystores,
                &file.path,
                format!(
                    "the share that {} had of validator {index} in the previous lock",
                    holder.of(operators)
                ),
                "a share of the new lock",
            );
        }
    }
}

fn describe(previous: &ClusterLock, lock: &ClusterLock, edit: &Edit) -> EditReport {
    let names = |definition: &Definition, nodes: &[NodeIndex]| -> Vec<String> {
        let operators = nodes.iter().filter_map(|node| definition.operator(*node));
        operators.map(|operator| operator.enr.clone()).collect()
    };
    EditReport {
        kind: edit.kind,
        previous_lock_hash: previous.lock_hash().ok().map(|hash| hash.to_string()),
        operators_removed: names(&previous.definition, &edit.removed),
        operators_added: names(&lock.definition, &edit.added),
        validators_added: edit.new_validators,
        previous_threshold: previous.definition.threshold,
        previous_operators: previous.definition.operators.len(),
    }
}
