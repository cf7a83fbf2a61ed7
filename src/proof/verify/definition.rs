//! The terms of a cluster definition, wherever it is found: hashes, numbers, addresses and ENRs.

use std::collections::HashMap;

use charon_files::cluster::definition::{MIN_OPERATORS, default_threshold};
use charon_files::cluster::enr::EnrError;
use charon_files::cluster::hash::HashError;
use charon_files::cluster::{
    Address, ClusterLock, ConfigHash, Definition, DefinitionHash, Enr, NodeIndex, ValidatorIndex,
};
use charon_files::keys::k1::EnrPublicKey;

use super::ledger::Ledger;
use super::{Check, Context};
use crate::profile::{Term, vault_problems};

/// Every algorithm that some release runs (`dkg/dkg.go`); keycast up to v0.17, pedersen from v1.8.
const DKG_ALGORITHMS: [&str; 4] = ["default", "frost", "keycast", "pedersen"];

/// Networks on which charon refuses the zero withdrawal address (`cmd/createdkg.go`).
const NETWORKS_WITH_VALUE: [&str; 2] = ["mainnet", "gnosis"];

/// Recomputes the hashes of the definition in the lock and of the one in its own file, and compares all of them.
pub(super) fn check_hashes(
    context: &Context<'_>,
    file: Option<&Definition>,
    lock: Option<&ClusterLock>,
    ledger: &mut Ledger,
) -> (Option<ConfigHash>, Option<DefinitionHash>) {
    ledger.ran(&[Check::ConfigHash, Check::DefinitionHash]);
    let of_lock = lock.map(|lock| check_stated(&lock.definition, "cluster_definition", ledger));
    let of_file = file.map(|file| check_stated(file, "cluster-definition.json", ledger));

    if let (Some((_, lock_hash)), Some((_, file_hash))) = (of_lock, of_file) {
        // The definition hash covers the config hash from v1.3.0 only.
        let same_terms = lock.map(|lock| lock.definition.config_hash().ok())
            == file.map(|file| file.config_hash().ok());
        if lock_hash != file_hash || !same_terms {
            ledger.fail(
                Check::DefinitionFile,
                "cluster-definition.json",
                describe(file_hash),
                format!(
                    "{}, the definition in the cluster lock",
                    describe(lock_hash)
                ),
            );
        }
    }
    ledger.ran(&[Check::DefinitionFile]);

    let (config_hash, definition_hash) = of_lock.or(of_file).unwrap_or_default();
    match context.expectations.definition_hash {
        Some(expected) => {
            ledger.ran(&[Check::DefinitionExpected]);
            if definition_hash != Some(expected) {
                ledger.fail(
                    Check::DefinitionExpected,
                    "the definition",
                    describe(definition_hash),
                    format!("{expected}, with which the ceremony was started"),
                );
            }
        }
        None => ledger.not_applicable(&[Check::DefinitionExpected]),
    }
    (config_hash, definition_hash)
}

fn describe(hash: Option<DefinitionHash>) -> String {
    hash.map_or_else(
        || "no computable definition hash".to_owned(),
        |hash| format!("definition hash {hash}"),
    )
}

/// Compares the stated hashes with those of the content; returns the latter.
fn check_stated(
    definition: &Definition,
    subject: &str,
    ledger: &mut Ledger,
) -> (Option<ConfigHash>, Option<DefinitionHash>) {
    let config_hash = compare(
        Check::ConfigHash,
        format!("{subject}, config_hash"),
        definition.config_hash,
        definition.config_hash(),
        ledger,
    );
    let definition_hash = compare(
        Check::DefinitionHash,
        format!("{subject}, definition_hash"),
        definition.definition_hash,
        definition.definition_hash(),
        ledger,
    );
    (config_hash, definition_hash)
}

fn compare<H: PartialEq + std::fmt::Display>(
    check: Check,
    subject: String,
    stated: Option<H>,
    computed: Result<H, HashError>,
    ledger: &mut Ledger,
) -> Option<H> {
    match computed {
        Err(error) => {
            ledger.fail(check, subject, error, "content that charon can hash");
            None
        }
        Ok(computed) => {
            match stated {
                Some(stated) if stated == computed => {}
                Some(stated) => ledger.fail(
                    check,
                    subject,
                    format!("{stated} is stated"),
                    format!("{computed}, as computed from the content"),
                ),
                None => ledger.fail(
                    check,
                    subject,
                    "nothing is stated",
                    format!("{computed}, as computed from the content"),
                ),
            }
            Some(computed)
        }
    }
}

/// Checks everything in the definition that is neither hash nor signature. Returns the operators' ENR keys, `None` where
/// an ENR is not valid.
pub(super) fn check_terms(context: &Context<'_>, ledger: &mut Ledger) -> Vec<Option<EnrPublicKey>> {
    check_network(context, ledger);
    check_numbers(context, ledger);
    check_validator_addresses(context, ledger);
    check_profile(context, ledger);
    check_operator_addresses(context, ledger);
    check_enrs(context, ledger)
}

fn check_network(context: &Context<'_>, ledger: &mut Ledger) {
    ledger.ran(&[Check::Network]);
    if context.network.is_none() {
        let fork_version = hex::encode(context.definition.fork_version);
        ledger.could_not_tell(
            Check::Network,
            "fork_version",
            format!("0x{fork_version}"),
            "the fork version of a network that charon knows",
            Check::Network.advice(),
        );
    }
}

fn check_numbers(context: &Context<'_>, ledger: &mut Ledger) {
    let definition = context.definition;
    let operators = definition.operators.len();
    ledger.ran(&[
        Check::OperatorCount,
        Check::ThresholdRange,
        Check::ThresholdDefault,
        Check::ValidatorCount,
        Check::DkgAlgorithm,
    ]);
    if operators == 0 {
        ledger.fail(Check::OperatorCount, "operators", "none", "at least three");
    } else if operators < MIN_OPERATORS {
        ledger.note(
            Check::OperatorCount,
            "operators",
            operators,
            format!("at least {MIN_OPERATORS}, so that one node may fail"),
            Check::OperatorCount.advice(),
        );
    }
    let threshold = usize::try_from(definition.threshold).unwrap_or(usize::MAX);
    if threshold < 2 || threshold > operators {
        ledger.fail(
            Check::ThresholdRange,
            "threshold",
            format!("{} of {operators}", definition.threshold),
            format!("between 2 and {operators}"),
        );
    } else if threshold != default_threshold(operators) {
        ledger.note(
            Check::ThresholdDefault,
            "threshold",
            format!("{threshold} of {operators}"),
            format!(
                "{} of {operators}, charon's default",
                default_threshold(operators)
            ),
            Check::ThresholdDefault.advice(),
        );
    }
    if definition.num_validators == 0 {
        ledger.fail(Check::ValidatorCount, "num_validators", "0", "at least 1");
    }
    if !DKG_ALGORITHMS.contains(&definition.dkg_algorithm.as_str()) {
        ledger.fail(
            Check::DkgAlgorithm,
            "dkg_algorithm",
            format!("\"{}\"", definition.dkg_algorithm),
            format!("one of {}", DKG_ALGORITHMS.join(", ")),
        );
    }
}

fn check_validator_addresses(context: &Context<'_>, ledger: &mut Ledger) {
    let definition = context.definition;
    ledger.ran(&[
        Check::FeeRecipientAddress,
        Check::WithdrawalAddress,
        Check::AddressSpelling,
    ]);
    // One pair for all would only repeat itself.
    let count = if definition.version.has_validators_array() {
        usize::try_from(definition.num_validators).unwrap_or(usize::MAX)
    } else {
        1
    };
    let has_value = context
        .network
        .is_none_or(|network| NETWORKS_WITH_VALUE.contains(&network.name));
    for index in (0..count).map(ValidatorIndex::new) {
        let Some(pair) = definition.addresses_of(index) else {
            continue;
        };
        let subject = if definition.version.has_validators_array() {
            format!("validator {index}")
        } else {
            "all validators".to_owned()
        };
        check_spelling(&subject, &pair.fee_recipient_address, ledger);
        check_spelling(&subject, &pair.withdrawal_address, ledger);
        if is_zero(&pair.fee_recipient_address) {
            ledger.note(
                Check::FeeRecipientAddress,
                &subject,
                describe_address(&pair.fee_recipient_address),
                "an address that someone controls",
                Check::FeeRecipientAddress.advice(),
            );
        }
        if is_zero(&pair.withdrawal_address) {
            let seen = describe_address(&pair.withdrawal_address);
            let expected = "an address that someone controls";
            if has_value {
                ledger.fail(Check::WithdrawalAddress, &subject, seen, expected);
            } else {
                ledger.note(
                    Check::WithdrawalAddress,
                    &subject,
                    seen,
                    expected,
                    "charon allows this on test networks",
                );
            }
        }
    }
}

/// What the protocol whose cluster it is asks for, as far as anybody named it.
fn check_profile(context: &Context<'_>, ledger: &mut Ledger) {
    const OF_PROFILE: [Check; 5] = [
        Check::ProfileNetwork,
        Check::ProfileWithdrawalAddress,
        Check::ProfileFeeRecipient,
        Check::ProfileCredentials,
        Check::ProfileAmounts,
    ];
    let profile = context.expectations.profile.as_ref();
    ledger.ran(&[Check::VaultNetwork]);
    let mut problems = vault_problems(context.definition, profile.is_some());
    match profile {
        Some(profile) => {
            ledger.ran(&OF_PROFILE);
            problems.extend(profile.problems(context.definition));
        }
        None => ledger.not_applicable(&OF_PROFILE),
    }
    for problem in problems {
        ledger.take(check_of(problem.check), &problem);
    }
}

const fn check_of(term: Term) -> Check {
    match term {
        Term::Vault => Check::VaultNetwork,
        Term::Network => Check::ProfileNetwork,
        Term::WithdrawalAddress => Check::ProfileWithdrawalAddress,
        Term::FeeRecipient => Check::ProfileFeeRecipient,
        Term::Credentials => Check::ProfileCredentials,
        Term::Amounts => Check::ProfileAmounts,
    }
}

/// Whether the text is empty or the zero address.
fn is_zero(text: &str) -> bool {
    charon_files::cluster::hex::array_from_0x::<20>(text).is_none_or(|bytes| bytes == [0; 20])
}

fn describe_address(text: &str) -> String {
    if text.is_empty() {
        "no address".to_owned()
    } else {
        text.to_owned()
    }
}

/// All lower or all upper case says nothing; mixed case is a checksum.
fn check_spelling(subject: &str, text: &str, ledger: &mut Ledger) {
    let Some(address) = Address::parse(text) else {
        return;
    };
    let digits = text.get(2..).unwrap_or_default();
    let mixed = digits.bytes().any(|byte| byte.is_ascii_lowercase())
        && digits.bytes().any(|byte| byte.is_ascii_uppercase());
    if mixed && !address.is_checksummed(text) {
        ledger.note(
            Check::AddressSpelling,
            subject,
            text,
            format!("{address}, if the digits are right"),
            Check::AddressSpelling.advice(),
        );
    }
}

fn check_operator_addresses(context: &Context<'_>, ledger: &mut Ledger) {
    let definition = context.definition;
    ledger.ran(&[Check::OperatorAddressDuplicate]);
    check_spelling("creator", &definition.creator.address, ledger);
    let mut first: HashMap<String, NodeIndex> = HashMap::new();
    for node in definition.nodes() {
        let address = definition
            .operator(node)
            .map(|operator| operator.address.as_str())
            .unwrap_or_default();
        if address.is_empty() {
            continue;
        }
        check_spelling(&context.operator(node), address, ledger);
        if let Some(other) = first.insert(address.to_lowercase(), node) {
            ledger.note(
                Check::OperatorAddressDuplicate,
                context.operator(node),
                format!("the address of {} too", context.operator(other)),
                "an address of its own",
                Check::OperatorAddressDuplicate.advice(),
            );
        }
    }
}

fn check_enrs(context: &Context<'_>, ledger: &mut Ledger) -> Vec<Option<EnrPublicKey>> {
    let definition = context.definition;
    ledger.ran(&[Check::OperatorEnr, Check::OperatorEnrDuplicate]);
    let mut first: HashMap<EnrPublicKey, NodeIndex> = HashMap::new();
    let mut keys = Vec::with_capacity(definition.operators.len());
    for (node, operator) in definition.nodes().zip(&definition.operators) {
        match Enr::parse(&operator.enr) {
            Ok(enr) => {
                let key = *enr.public_key();
                if let Some(other) = first.insert(key, node) {
                    ledger.fail(
                        Check::OperatorEnrDuplicate,
                        context.operator(node),
                        format!("the ENR key of {} too", context.operator(other)),
                        "an ENR key of its own",
                    );
                }
                keys.push(Some(key));
            }
            // The launchpad has the ENR from the approval, whose absence is told.
            Err(EnrError::Empty)
                if definition.version.has_eip712_signatures()
                    && !operator.is_unsigned()
                    && operator.has_not_signed() =>
            {
                keys.push(None);
            }
            Err(error) => {
                ledger.fail(
                    Check::OperatorEnr,
                    context.operator(node),
                    error,
                    "an ENR as `charon enr` prints it",
                );
                keys.push(None);
            }
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_have_the_ids_of_their_checks() {
        for term in [
            Term::Vault,
            Term::Network,
            Term::WithdrawalAddress,
            Term::FeeRecipient,
            Term::Credentials,
            Term::Amounts,
        ] {
            assert_eq!(check_of(term).id(), term.id());
        }
    }
}
