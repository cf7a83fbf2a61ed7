//! Deposits, in the cluster lock and in deposit data files.

use std::collections::{HashMap, HashSet};

use charon_files::cluster::deposit_data::{deposit_file_name, sorted_unique_amounts};
use charon_files::cluster::version::LockDeposits;
use charon_files::cluster::{
    Address, CharonVersion, ClusterLock, DefinitionVersion, DepositFile, DepositFileEntry, Gwei,
    StakingToken, ValidatorIndex,
};

use super::batch::{Batch, SignedWhat};
use super::cluster_lock::ValidatorKeys;
use super::ledger::Ledger;
use super::{Check, Context, NamedFile, Scope};

/// Versions of the deposit tool whose format charon's releases say they write (charon `eth2util/deposit`).
const DEPOSIT_CLI_VERSIONS: [&str; 4] = ["2.1.0", "2.3.0", "2.5.0", "2.7.0"];

/// Credentials as people compare them: kind and address if they have that form, else plain hexadecimal.
fn describe_credentials(credentials: &[u8; 32]) -> String {
    let (head, address) = credentials.split_at(12);
    match (head, <[u8; 20]>::try_from(address)) {
        ([kind @ (1 | 2), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Ok(address)) => {
            format!("0x{kind:02x} credentials of {}", Address::new(address))
        }
        _ => format!("0x{}", hex::encode(credentials)),
    }
}

fn check_credentials(
    context: &Context<'_>,
    check: Check,
    subject: &str,
    index: ValidatorIndex,
    seen: &[u8; 32],
    ledger: &mut Ledger,
) {
    let expected = context.definition.withdrawal_credentials(index);
    if expected.as_ref() != Some(seen) {
        ledger.fail(
            check,
            subject,
            describe_credentials(seen),
            expected.map_or_else(
                || "the definition's withdrawal address, which is missing".to_owned(),
                |expected| describe_credentials(&expected),
            ),
        );
    }
}

/// Every list of amounts, ascending, that some release would have made of this definition.
fn acceptable_amounts(context: &Context<'_>) -> Vec<Vec<Gwei>> {
    let definition = context.definition;
    let eth = |amounts: &[u64]| -> Vec<Gwei> {
        amounts
            .iter()
            .map(|amount| Gwei::from_eth(*amount))
            .collect()
    };
    if !definition.version.has_deposit_amounts() {
        return vec![eth(&[32])];
    }
    if let Some(amounts) = definition.deposit_amounts.as_deref()
        && !amounts.is_empty()
    {
        return vec![sorted_unique_amounts(amounts)];
    }
    // charon `DefaultDepositAmounts`: 32 up to v1.2, then 1 and 32, and from v1.4 more when compounding.
    let made_by = context.expectations.charon_version.as_ref();
    let may_be = |from: Option<CharonVersion>, before: Option<CharonVersion>| {
        made_by.is_none_or(|made_by| {
            from.is_none_or(|from| *made_by >= from)
                && before.is_none_or(|before| *made_by < before)
        })
    };
    let v1_3 = || Some(CharonVersion::release(1, 3, 0));
    let mut acceptable = Vec::new();
    if may_be(v1_3(), None) {
        acceptable.push(eth(&[1, 32]));
    }
    if definition.compounding && may_be(Some(CharonVersion::release(1, 4, 0)), None) {
        acceptable.push(eth(&[1, 8, 32, 256]));
    }
    // Later definition versions are not read by the releases before v1.3.
    if definition.version == DefinitionVersion::V1_8 && may_be(None, v1_3()) {
        acceptable.push(eth(&[32]));
    }
    acceptable
}

/// Checks the deposits in the lock field by field, and leaves their signatures to the batch.
pub(super) fn check_lock_deposits(
    context: &Context<'_>,
    lock: &ClusterLock,
    keys: &[ValidatorKeys],
    batch: &mut Batch,
    ledger: &mut Ledger,
) {
    if context.definition.version.lock_deposits() == LockDeposits::None {
        return;
    }
    ledger.ran(&[
        Check::LockDeposit,
        Check::LockDepositCredentials,
        Check::LockDepositAmounts,
        Check::LockDepositSignature,
        Check::LockDepositRoot,
    ]);
    let is_empty =
        |validator: &charon_files::cluster::DistributedValidator| validator.deposits.is_empty();
    if !lock.validators.is_empty() && lock.validators.iter().all(is_empty) {
        ledger.note(
            Check::LockDeposit,
            "cluster lock",
            "no deposit data for any validator",
            "signed deposit data; charon accepts a lock without",
            "",
        );
        return;
    }
    check_stated_roots(lock, context.token(), ledger);
    let token = context.token();
    let acceptable = acceptable_amounts(context);
    let first: Option<Vec<Gwei>> = lock.validators.first().map(amounts_of);
    for ((index, validator), keys) in lock.validators().zip(keys) {
        let subject = format!("validator {index}");
        if validator.deposits.is_empty() {
            ledger.fail(
                Check::LockDeposit,
                &subject,
                "no deposit data",
                "signed deposit data; charon does not notice when they are missing",
            );
            continue;
        }
        let amounts = amounts_of(validator);
        if !acceptable.contains(&amounts) || Some(&amounts) != first.as_ref() {
            let expected: Vec<String> = acceptable
                .iter()
                .map(|amounts| token.amounts(amounts, ", "))
                .collect();
            ledger.fail(
                Check::LockDepositAmounts,
                &subject,
                format!("deposits of {}", token.amounts(&amounts, ", ")),
                format!("{}, the same for all validators", expected.join(" or ")),
            );
        }
        for deposit in &validator.deposits {
            let what = SignedWhat::LockDeposit(index, token.amount(deposit.amount));
            let subject = what.subject();
            if deposit.pubkey != validator.public_key {
                ledger.fail(
                    Check::LockDeposit,
                    &subject,
                    format!("a deposit for 0x{}", hex::encode(deposit.pubkey)),
                    format!("for 0x{}", hex::encode(validator.public_key)),
                );
            }
            check_credentials(
                context,
                Check::LockDepositCredentials,
                &subject,
                index,
                &deposit.withdrawal_credentials,
                ledger,
            );
            if let Some(group) = keys.group {
                let root = deposit.signing_root(context.definition.fork_version);
                batch.add(what, group, root, &deposit.signature, None);
            }
        }
    }
}

/// Roots that charon does not write prove nothing that the signatures do not, but they must not mislead a reader.
fn check_stated_roots(lock: &ClusterLock, token: StakingToken, ledger: &mut Ledger) {
    let mut right = 0;
    for (index, validator) in lock.validators() {
        for stated in &validator.stated_deposit_roots {
            // The placeholder of old releases has no root, and that the deposit is missing is a finding of its own.
            let Some(deposit) = validator.deposits.get(stated.deposit) else {
                continue;
            };
            let computed = deposit.data_root();
            if stated.root == Some(computed) {
                right += 1;
                continue;
            }
            ledger.fail(
                Check::LockDepositRoot,
                SignedWhat::LockDeposit(index, token.amount(deposit.amount)).subject(),
                stated.root.map_or_else(
                    || "a deposit_data_root that is no 32 bytes in hexadecimal".to_owned(),
                    |root| format!("deposit_data_root {}", hex::encode(root)),
                ),
                hex::encode(computed),
            );
        }
    }
    if right > 0 {
        ledger.note(
            Check::LockDepositRoot,
            "the cluster lock",
            format!(
                "{} beside the deposits, as Obol's API adds them",
                charon_files::text::count(right, "correct deposit_data_root")
            ),
            "charon writes none",
            "",
        );
    }
}

fn amounts_of(validator: &charon_files::cluster::DistributedValidator) -> Vec<Gwei> {
    validator
        .deposits
        .iter()
        .map(|deposit| deposit.amount)
        .collect()
}

/// Checks deposit data files against definition, lock and each other.
pub(super) fn check_files(
    context: &Context<'_>,
    lock: &ClusterLock,
    keys: &[ValidatorKeys],
    files: &[(&NamedFile, DepositFile)],
    batch: &mut Batch,
    ledger: &mut Ledger,
) {
    ledger.ran(&[
        Check::DepositFileName,
        Check::DepositFileSet,
        Check::DepositFileValidators,
        Check::DepositFileOrder,
        Check::DepositFileAmounts,
        Check::DepositFileCredentials,
        Check::DepositFileNetwork,
        Check::DepositFileRoots,
        Check::DepositFileSignature,
        Check::DepositFileTool,
    ]);
    let lock_has_deposits = context.definition.version.lock_deposits() != LockDeposits::None;
    if lock_has_deposits {
        ledger.ran(&[Check::DepositFileAgainstLock]);
    }
    let validators: HashMap<&[u8; 48], ValidatorIndex> = lock
        .validators()
        .map(|(index, validator)| (&validator.public_key, index))
        .collect();
    let mut amounts = Vec::new();
    for (file, content) in files {
        amounts.extend(check_file_shape(context, file, content, ledger));
        check_file_validators(file, content, lock, &validators, ledger);
        for entry in &content.entries {
            let Some(index) = validators.get(&entry.data.pubkey).copied() else {
                continue;
            };
            let subject = format!("{}, validator {index}", file.path);
            check_entry(context, index, entry, &subject, ledger);
            if lock_has_deposits {
                check_entry_against_lock(context, lock, index, entry, &subject, ledger);
            }
            if let Some(group) = keys.get(index.position()).and_then(|keys| keys.group) {
                let root = entry.data.signing_root(context.definition.fork_version);
                let what = SignedWhat::FileDeposit(index, file.path.clone());
                batch.add(what, group, root, &entry.data.signature, None);
            }
        }
    }
    check_file_set(context, lock, &amounts, ledger);
}

/// Name, order and amounts. Returns the amount that the file is for.
fn check_file_shape(
    context: &Context<'_>,
    file: &NamedFile,
    content: &DepositFile,
    ledger: &mut Ledger,
) -> Option<Gwei> {
    let token = context.token();
    let amount = content.entries.first()?.data.amount;
    if let Some(other) = content
        .entries
        .iter()
        .find(|entry| entry.data.amount != amount)
    {
        ledger.fail(
            Check::DepositFileAmounts,
            &file.path,
            format!(
                "deposits of {} and of {}",
                token.amount(amount),
                token.amount(other.data.amount)
            ),
            "one amount",
        );
    }
    let expected = deposit_file_name(amount);
    if file.name() != expected {
        let expected = format!(
            "{expected}, since its deposits are of {}",
            token.amount(amount)
        );
        if has_time_in_name(file.name()) {
            ledger.could_not_tell(
                Check::DepositFileName,
                &file.path,
                "the name that `charon alpha add-validators-solo` gives to deposits of validators beyond the lock",
                expected,
                "validators that were added so are not in the lock, and this program cannot verify them",
            );
        } else if context.options.scope == Scope::DepositsAgainstLock {
            // A recipient may have renamed the file.
            ledger.note(
                Check::DepositFileName,
                &file.path,
                "this name",
                expected,
                "",
            );
        } else {
            ledger.fail(Check::DepositFileName, &file.path, "this name", expected);
        }
    }
    if !content.entries.is_sorted_by_key(|entry| entry.data.pubkey) {
        ledger.fail(
            Check::DepositFileOrder,
            &file.path,
            "another order",
            "entries by ascending public key",
        );
    }
    Some(amount)
}

/// `deposit-data-20230301120000.json`.
fn has_time_in_name(name: &str) -> bool {
    name.strip_prefix("deposit-data-")
        .and_then(|rest| rest.strip_suffix(".json"))
        .is_some_and(|middle| middle.len() == 14 && middle.bytes().all(|b| b.is_ascii_digit()))
}

fn check_file_validators(
    file: &NamedFile,
    content: &DepositFile,
    lock: &ClusterLock,
    validators: &HashMap<&[u8; 48], ValidatorIndex>,
    ledger: &mut Ledger,
) {
    let mut found: HashSet<&[u8; 48]> = HashSet::new();
    for entry in &content.entries {
        let key = &entry.data.pubkey;
        if !validators.contains_key(key) {
            ledger.fail_with(
                Check::DepositFileValidators,
                &file.path,
                format!("a deposit for 0x{}", hex::encode(key)),
                "deposits for the validators of this lock only",
                "do not deposit: this cluster does not hold that key",
            );
        } else if !found.insert(key) {
            ledger.fail(
                Check::DepositFileValidators,
                &file.path,
                format!("two entries for 0x{}", hex::encode(key)),
                "one entry for each validator",
            );
        }
    }
    for (index, validator) in lock.validators() {
        if !found.contains(&validator.public_key) {
            ledger.fail(
                Check::DepositFileValidators,
                &file.path,
                format!("no entry for validator {index}"),
                "one entry for each validator",
            );
        }
    }
}

fn check_entry(
    context: &Context<'_>,
    index: ValidatorIndex,
    entry: &DepositFileEntry,
    subject: &str,
    ledger: &mut Ledger,
) {
    check_credentials(
        context,
        Check::DepositFileCredentials,
        subject,
        index,
        &entry.data.withdrawal_credentials,
        ledger,
    );
    let fork_version = context.definition.fork_version;
    if entry.fork_version != fork_version {
        ledger.fail(
            Check::DepositFileNetwork,
            subject,
            format!("fork version 0x{}", hex::encode(entry.fork_version)),
            format!("0x{}", hex::encode(fork_version)),
        );
    }
    // The name of an unknown network cannot be judged; that the network is unknown is a finding of its own.
    if let Some(network) = context.network
        && entry.network_name != network.name
    {
        ledger.fail(
            Check::DepositFileNetwork,
            subject,
            format!("network {}", entry.network_name),
            network.name,
        );
    }
    for (what, stated, computed) in [
        (
            "deposit_message_root",
            entry.deposit_message_root,
            entry.data.message_root(),
        ),
        (
            "deposit_data_root",
            entry.deposit_data_root,
            entry.data.data_root(),
        ),
    ] {
        if stated != computed {
            ledger.fail(
                Check::DepositFileRoots,
                subject,
                format!("{what} {}", hex::encode(stated)),
                hex::encode(computed),
            );
        }
    }
    if !DEPOSIT_CLI_VERSIONS.contains(&entry.deposit_cli_version.as_str()) {
        ledger.could_not_tell(
            Check::DepositFileTool,
            subject,
            format!("deposit_cli_version {}", entry.deposit_cli_version),
            format!("one of {}", DEPOSIT_CLI_VERSIONS.join(", ")),
            "a newer charon may write another: use a newer version of this program, or copy the file from another operator",
        );
    }
}

fn check_entry_against_lock(
    context: &Context<'_>,
    lock: &ClusterLock,
    index: ValidatorIndex,
    entry: &DepositFileEntry,
    subject: &str,
    ledger: &mut Ledger,
) {
    let deposits = lock
        .validators
        .get(index.position())
        .map(|validator| validator.deposits.as_slice())
        .unwrap_or_default();
    if deposits.contains(&entry.data) {
        return;
    }
    let of_this_amount = deposits
        .iter()
        .find(|deposit| deposit.amount == entry.data.amount);
    let seen = match of_this_amount {
        None => format!("a deposit of {}", context.token().amount(entry.data.amount)),
        Some(deposit) if deposit.withdrawal_credentials != entry.data.withdrawal_credentials => {
            "other withdrawal credentials than in the lock".to_owned()
        }
        Some(_) => "another signature than in the lock".to_owned(),
    };
    ledger.fail(
        Check::DepositFileAgainstLock,
        subject,
        seen,
        "a deposit that is in the lock",
    );
}

/// One file per amount, none missing, none too many.
fn check_file_set(context: &Context<'_>, lock: &ClusterLock, found: &[Gwei], ledger: &mut Ledger) {
    // Files that could not be read are there nevertheless, and have been reported.
    let files = &context.material.deposit_data;
    let token = context.token();
    let expected = match lock.validators.first().map(amounts_of) {
        Some(amounts) if !amounts.is_empty() => sorted_unique_amounts(&amounts),
        Some(_) | None => acceptable_amounts(context)
            .into_iter()
            .next()
            .unwrap_or_default(),
    };
    for amount in found {
        if !expected.contains(amount) {
            ledger.fail(
                Check::DepositFileSet,
                deposit_file_name(*amount),
                format!("deposits of {}", token.amount(*amount)),
                format!("files for {} only", token.amounts(&expected, ", ")),
            );
        }
    }
    match context.options.scope {
        Scope::DepositsAgainstLock => {
            if files.is_empty() {
                ledger.fail(
                    Check::DepositFileSet,
                    "deposit data",
                    "no file",
                    "at least one file to verify",
                );
            }
            return;
        }
        Scope::WholeDataDirectory | Scope::LockOnly | Scope::DefinitionOnly => {}
    }
    if files.is_empty() && may_lack_deposit_files(context) {
        ledger.note(
            Check::DepositFileSet,
            "deposit data",
            "no deposit data file",
            format!("files for {}", token.amounts(&expected, ", ")),
            "a cluster that was edited with `charon edit` has none; the deposits in the lock were verified",
        );
        return;
    }
    for amount in &expected {
        let name = deposit_file_name(*amount);
        match found.iter().filter(|found| *found == amount).count() {
            0 if files.iter().any(|file| file.name() == name) => {}
            0 => ledger.fail_with(
                Check::DepositFileSet,
                &name,
                "missing",
                format!("a file for the deposits of {}", token.amount(*amount)),
                "copy it from another operator: the file is the same for all",
            ),
            1 => {}
            count => ledger.fail(
                Check::DepositFileSet,
                &name,
                format!(
                    "{count} files for the deposits of {}",
                    token.amount(*amount)
                ),
                "one file",
            ),
        }
    }
}

/// Whether this looks like the output of `charon edit`, which writes no deposit data and no definition, and leaves the
/// definition unsigned.
fn may_lack_deposit_files(context: &Context<'_>) -> bool {
    let definition = context.definition;
    context.expectations.definition_hash.is_none()
        && context.material.definition.is_none()
        && definition.version.lock_deposits() != LockDeposits::None
        && definition.is_unsigned()
}
