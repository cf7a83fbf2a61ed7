//! The cluster lock: its hash, the keys and shares in it, who signed it, and the builder registrations.

use std::collections::HashMap;

use rayon::prelude::*;

use charon_files::cluster::{
    Address, BuilderRegistration, ClusterLock, DistributedValidator, LockHash, NodeIndex,
    ValidatorIndex,
};
use charon_files::keys::bls::{self, PublicKey, SharesFault, Signature};

use super::batch::{Batch, SignedWhat};
use super::ledger::Ledger;
use super::{Check, Context, Phase};

/// Gas limit of registrations for definitions that set none (charon `eth2util/registration`, `DefaultGasLimit`).
const DEFAULT_GAS_LIMIT: u64 = 30_000_000;

/// Values that some release's `create cluster --definition-file` took from its flags instead of the definition
/// (charon v1.3.0 to v1.10.3).
const FLAG_GAS_LIMITS: [u64; 3] = [30_000_000, 36_000_000, 60_000_000];

/// Recomputes the lock hash and compares it with the stated one.
pub(super) fn check_lock_hash(lock: &ClusterLock, ledger: &mut Ledger) -> Option<LockHash> {
    ledger.ran(&[Check::LockHash]);
    match lock.lock_hash() {
        Ok(computed) => {
            match lock.lock_hash {
                Some(stated) if stated == computed => {}
                Some(stated) => ledger.fail(
                    Check::LockHash,
                    "lock_hash",
                    format!("{stated} is stated"),
                    format!("{computed}, as computed from the content"),
                ),
                None => ledger.fail(
                    Check::LockHash,
                    "lock_hash",
                    "nothing is stated",
                    format!("{computed}, as computed from the content"),
                ),
            }
            Some(computed)
        }
        Err(error) => {
            ledger.fail(
                Check::LockHash,
                "the cluster lock",
                error,
                "content that charon can hash",
            );
            None
        }
    }
}

/// The keys of one validator; `None` where a key is no usable point.
pub(super) struct ValidatorKeys {
    pub(super) group: Option<PublicKey>,
    pub(super) shares: Vec<Option<PublicKey>>,
}

/// Reads all keys, and checks counts, repetitions and the share polynomials.
pub(super) fn check_keys(
    context: &Context<'_>,
    lock: &ClusterLock,
    ledger: &mut Ledger,
) -> Vec<ValidatorKeys> {
    let definition = context.definition;
    ledger.ran(&[
        Check::ValidatorCount,
        Check::ShareCount,
        Check::GroupKey,
        Check::PublicShare,
        Check::KeyDuplicate,
        Check::SharePolynomial,
        Check::GroupKeyShares,
        Check::ShareThreshold,
    ]);
    if u64::try_from(lock.validators.len()) != Ok(definition.num_validators) {
        ledger.fail(
            Check::ValidatorCount,
            "distributed_validators",
            format!("{} validators", lock.validators.len()),
            format!("{}, as num_validators says", definition.num_validators),
        );
    }
    let progress = context.options.progress;
    progress.set_total(Phase::Shares, lock.validators.len());
    let (keys, ledgers): (Vec<ValidatorKeys>, Vec<Ledger>) = lock
        .validators
        .par_iter()
        .enumerate()
        .map(|(position, validator)| {
            let mut ledger = Ledger::default();
            let keys = check_validator(
                context,
                ValidatorIndex::new(position),
                validator,
                &mut ledger,
            );
            progress.advance(Phase::Shares, 1);
            (keys, ledger)
        })
        .unzip();
    for part in ledgers {
        ledger.merge(part);
    }
    check_repetitions(lock, ledger);
    keys
}

fn check_validator(
    context: &Context<'_>,
    index: ValidatorIndex,
    validator: &DistributedValidator,
    ledger: &mut Ledger,
) -> ValidatorKeys {
    let definition = context.definition;
    let subject = format!("validator {index}");
    let threshold = usize::try_from(definition.threshold).unwrap_or(usize::MAX);
    let keys = bls::read_keys(&validator.public_key, &validator.public_shares, threshold);
    if let Err(error) = keys.group {
        ledger.fail(
            Check::GroupKey,
            &subject,
            format!("the group key is {error}"),
            "a point of the prime-order group",
        );
    }
    let operators = definition.operators.len();
    for (position, share) in keys.shares.iter().enumerate() {
        if let Err(error) = share {
            let owner = if position < operators {
                format!(
                    "the share of {}",
                    context.operator(NodeIndex::new(position))
                )
            } else {
                "a share without operator".to_owned()
            };
            ledger.fail(
                Check::PublicShare,
                &subject,
                format!("{owner} is {error}"),
                "a point of the prime-order group",
            );
        }
    }
    if keys.shares.len() != operators {
        ledger.fail(
            Check::ShareCount,
            &subject,
            format!("{} public shares", keys.shares.len()),
            format!("{operators}, one per operator"),
        );
    }
    if let Some(fault) = &keys.fault {
        report_shares_fault(context, &subject, fault, ledger);
    }
    ValidatorKeys {
        group: keys.group.ok(),
        shares: keys.shares.iter().map(|share| share.ok()).collect(),
    }
}

fn report_shares_fault(
    context: &Context<'_>,
    subject: &str,
    fault: &SharesFault,
    ledger: &mut Ledger,
) {
    let threshold = context.definition.threshold;
    let polynomial = format!(
        "values of one polynomial of degree {}",
        threshold.saturating_sub(1)
    );
    match fault {
        SharesFault::TooFew => ledger.fail(
            Check::SharePolynomial,
            subject,
            "fewer shares than the threshold",
            polynomial,
        ),
        SharesFault::OtherGroupKey { actual } => ledger.fail(
            Check::GroupKeyShares,
            subject,
            match actual {
                Some(actual) => format!(
                    "the shares recombine to 0x{}",
                    hex::encode(actual.to_bytes())
                ),
                None => "the shares recombine to the identity".to_owned(),
            },
            "its group key",
        ),
        SharesFault::OneOff(position) => {
            let node = NodeIndex::new(*position);
            ledger.fail(
                Check::SharePolynomial,
                subject,
                format!(
                    "the share of {} does not belong to the other shares and the group key",
                    context.operator(node)
                ),
                polynomial,
            );
        }
        SharesFault::Inconsistent => ledger.fail(
            Check::SharePolynomial,
            subject,
            "shares and group key that do not belong together",
            polynomial,
        ),
        SharesFault::DegreeTooLow => ledger.fail(
            Check::ShareThreshold,
            subject,
            format!("fewer than {threshold} shares already make the group key"),
            format!("{threshold} shares being needed"),
        ),
    }
}

/// Reports every key that appears twice in the cluster. Honest keys repeat with a chance of 2^-255.
fn check_repetitions(lock: &ClusterLock, ledger: &mut Ledger) {
    let mut seen: HashMap<&[u8; 48], (usize, Option<usize>)> = HashMap::new();
    let describe = |(validator, share): (usize, Option<usize>)| match share {
        Some(share) => format!("public share {} of validator {validator}", share + 1),
        None => format!("the group key of validator {validator}"),
    };
    for (position, validator) in lock.validators.iter().enumerate() {
        let keys = std::iter::once((&validator.public_key, None)).chain(
            validator
                .public_shares
                .iter()
                .enumerate()
                .map(|(share, key)| (key, Some(share))),
        );
        for (key, share) in keys {
            let place = (position, share);
            if let Some(first) = seen.insert(key, place) {
                ledger.fail(
                    Check::KeyDuplicate,
                    describe(place),
                    format!("the same key as {}", describe(first)),
                    "a key of its own",
                );
            }
        }
    }
}

/// Checks that all shares of all validators signed the lock hash.
pub(super) fn check_aggregate(
    lock: &ClusterLock,
    keys: &[ValidatorKeys],
    lock_hash: Option<LockHash>,
    ledger: &mut Ledger,
) {
    let subject = "signature_aggregate";
    let expected = "one signature of the lock hash by every share of every validator";
    let Some(bytes) = &lock.signature_aggregate else {
        let version = lock.definition.version;
        if version.may_lack_signature_aggregate() {
            ledger.could_not_tell(
                Check::LockAggregate,
                subject,
                "nothing; charon allows that in this format",
                expected,
                "nothing proves that the operators hold their shares: ask every operator to verify their own data directory",
            );
        } else {
            ledger.fail_with(
                Check::LockAggregate,
                subject,
                "nothing; `charon edit add-validators --unverified` leaves it so",
                expected,
                "do not use this lock: let all operators add the validators again without --unverified",
            );
        }
        return;
    };
    let signature = match Signature::parse(bytes) {
        Ok(signature) => signature,
        Err(error) => {
            ledger.fail(Check::LockAggregate, subject, error, expected);
            return;
        }
    };
    let shares: Option<Vec<PublicKey>> = keys
        .iter()
        .flat_map(|validator| validator.shares.iter().copied())
        .collect();
    // Without usable shares or a hash there is nothing to check, and that has been reported.
    let (Some(shares), Some(lock_hash)) = (shares, lock_hash) else {
        return;
    };
    ledger.ran(&[Check::LockAggregate]);
    // charon verifies against the hash that it computes, not against the stated one.
    if bls::fast_aggregate_verify(&shares, lock_hash.as_bytes(), &signature) {
        return;
    }
    let of_stated = lock.lock_hash.is_some_and(|stated| {
        stated != lock_hash && bls::fast_aggregate_verify(&shares, stated.as_bytes(), &signature)
    });
    if of_stated {
        ledger.fail_with(
            Check::LockAggregate,
            subject,
            "a signature by all shares of the stated lock hash, which is not that of the content",
            expected,
            "the definition in the lock was changed after all had signed; `charon create cluster --definition-file` up to \
             v1.11.0-rc3 does that itself if the operators of the definition have addresses",
        );
    } else {
        ledger.fail(
            Check::LockAggregate,
            subject,
            "a signature that is not by all shares, or not of this lock",
            expected,
        );
    }
}

/// Checks the builder registrations field by field, and leaves their signatures to the batch.
pub(super) fn check_registrations(
    context: &Context<'_>,
    lock: &ClusterLock,
    keys: &[ValidatorKeys],
    batch: &mut Batch,
    ledger: &mut Ledger,
) {
    if !context.definition.version.has_builder_registration() {
        return;
    }
    ledger.ran(&[
        Check::Registration,
        Check::RegistrationGasLimit,
        Check::RegistrationTime,
        Check::RegistrationSignature,
    ]);
    for ((index, validator), keys) in lock.validators().zip(keys) {
        let subject = format!("validator {index}");
        let Some(registration) = &validator.builder_registration else {
            ledger.fail(
                Check::Registration,
                &subject,
                "no builder registration",
                "one for each validator",
            );
            continue;
        };
        check_registration_fields(context, index, validator, registration, &subject, ledger);
        if let Some(group) = keys.group {
            batch.add(
                SignedWhat::Registration(index),
                group,
                registration.signing_root(context.definition.fork_version),
                &registration.signature,
                Some(registration.signing_root_of_charon_v0_16_0()),
            );
        }
    }
}

fn check_registration_fields(
    context: &Context<'_>,
    index: ValidatorIndex,
    validator: &DistributedValidator,
    registration: &BuilderRegistration,
    subject: &str,
    ledger: &mut Ledger,
) {
    let definition = context.definition;
    if registration.pubkey != validator.public_key {
        ledger.fail(
            Check::Registration,
            subject,
            format!("a registration of 0x{}", hex::encode(registration.pubkey)),
            format!("of 0x{}", hex::encode(validator.public_key)),
        );
    }
    let addresses = definition.addresses_of(index);
    let address_bytes = |text: &str| charon_files::cluster::hex::array_from_0x::<20>(text);
    let fee_recipient = addresses.and_then(|pair| address_bytes(&pair.fee_recipient_address));
    let withdrawal = addresses.and_then(|pair| address_bytes(&pair.withdrawal_address));
    if fee_recipient != Some(registration.fee_recipient) {
        let expected = fee_recipient.map_or_else(
            || "the definition's".to_owned(),
            |bytes| Address::new(bytes).to_string(),
        );
        let seen = Address::new(registration.fee_recipient);
        if withdrawal == Some(registration.fee_recipient) {
            ledger.fail_with(
                Check::Registration,
                subject,
                format!("{seen} as fee recipient, which is the withdrawal address"),
                expected,
                "`charon create cluster` of v0.16.0 to v0.17.1 makes this mistake: create the cluster again with a newer \
                 release",
            );
        } else {
            ledger.fail(
                Check::Registration,
                subject,
                format!("{seen} as fee recipient"),
                expected,
            );
        }
    }
    check_gas_limit(context, registration.gas_limit, subject, ledger);
    let genesis = context.network.and_then(|network| network.genesis_time);
    if let Some(genesis) = genesis
        && registration.timestamp != genesis
    {
        let seen = format!("timestamp {}", registration.timestamp);
        let expected = format!("{genesis}, the genesis time of the network");
        if registration.timestamp > genesis {
            ledger.note(
                Check::RegistrationTime,
                subject,
                seen,
                expected,
                "`charon create cluster --split-existing-keys` writes the time of creation",
            );
        } else {
            ledger.fail(Check::RegistrationTime, subject, seen, expected);
        }
    }
}

fn check_gas_limit(context: &Context<'_>, gas_limit: u64, subject: &str, ledger: &mut Ledger) {
    let definition = context.definition;
    let expected = if definition.version.has_target_gas_limit() && definition.target_gas_limit > 0 {
        definition.target_gas_limit
    } else {
        DEFAULT_GAS_LIMIT
    };
    if gas_limit == expected {
        return;
    }
    let seen = format!("gas limit {gas_limit}");
    if definition.version.has_target_gas_limit() && FLAG_GAS_LIMITS.contains(&gas_limit) {
        ledger.note(
            Check::RegistrationGasLimit,
            subject,
            seen,
            expected,
            "`charon create cluster --definition-file` of v1.3.0 to v1.10.3 takes its flag's value instead of the definition's",
        );
    } else {
        ledger.fail(Check::RegistrationGasLimit, subject, seen, expected);
    }
}
