//! What is wrong with the definition.

use super::answer::{Diagnosis, Whose, said};
use super::chain::{Chain, shorten};

/// One cause per advice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Terms {
    VersionUnknown { version: Option<String> },
    VersionTooOld,
    HashMismatch { which: &'static str },
    SignatureInvalid,
    ContractWalletUnsupported { bytes: Option<String> },
    ExecutionClientNeeded,
    ExecutionClientFailed,
    ContractMissing,
    AddressInvalid,
    DuplicateEnr,
    EnrInvalid { enr: Option<String> },
    DepositAmountsInvalid,
    ThresholdInvalid,
    NetworkUnknown { fork_version: Option<String> },
    AlgorithmUnsupported,
    Malformed,
    Unreadable,
}

/// The size of an ordinary wallet's signature, for which definitions before v1.11 have room.
const WALLET_BYTES: &str = "65";

/// What follows charon's words for a failed check of the wallets' signatures.
fn why_signatures_failed(chain: Chain<'_>) -> Option<&str> {
    let checks = [
        "cluster definition signature verification failed", // up to v1.7.
        "verify cluster definition signatures",             // v1.8 and later.
    ];
    let find = |check: &&str| chain.words.split_once(check);
    let (_, reason) = checks.iter().find_map(find)?;
    Some(
        reason
            .split_once("own risk")
            .map_or(reason, |(_, reason)| reason),
    )
}

pub(super) fn recognise(chain: Chain<'_>) -> Option<Terms> {
    Some(if chain.has(&["unsupported definition version"]) {
        Terms::VersionUnknown {
            version: chain.field("version"),
        }
    } else if chain.has(&["only v1.6.0"]) && chain.has(&["cluster definition version"]) {
        // Three wordings: v0.17 to v0.19, v1.0 to v1.6, v1.7 and later.
        Terms::VersionTooOld
    } else if chain.has(&["invalid fork version", "invalid network name"]) {
        Terms::NetworkUnknown {
            fork_version: chain.field("fork_version"),
        }
    } else if chain.has(&["bytes too long"]) && chain.field("n").as_deref() == Some(WALLET_BYTES) {
        Terms::ContractWalletUnsupported {
            bytes: chain.field("l"),
        }
    } else if chain.has(&[
        "invalid withdrawal address",
        "invalid ethereum",
        "address has wrong length",
    ]) {
        Terms::AddressInvalid
    } else if chain.has(&["invalid config hash", "invalid definition hash"]) {
        let which = if chain.has(&["invalid config hash"]) {
            "config hash"
        } else {
            "definition hash"
        };
        Terms::HashMismatch { which }
    } else if chain.has(&["execution engine endpoint is not set"]) {
        Terms::ExecutionClientNeeded
    } else if chain.has(&["no contract code at given address"]) {
        Terms::ContractMissing
    } else if chain.has(&[
        "eth1 client",
        "execution layer client",
        "wait for execution client",
    ]) || (chain.has(&["invalid lock file"]) && chain.has(&["Post \"", "dial tcp"]))
    {
        Terms::ExecutionClientFailed
    } else if let Some(reason) = why_signatures_failed(chain) {
        // What charon does not say itself, the execution client said.
        let by_charon = ["signature", "signed", "EIP712", "execution reverted"];
        if by_charon.iter().any(|words| reason.contains(words)) {
            Terms::SignatureInvalid
        } else {
            Terms::ExecutionClientFailed
        }
    } else if chain.has(&[
        "duplicate peer enrs",
        "duplicate peer ids",
        "duplicate peer ID",
    ]) {
        Terms::DuplicateEnr
    } else if chain.has(&[
        "decode enr",
        "decode ENR", // v0.13.
        "parse enr",
        "parse ENR",
        "'enr:' prefix",
        "invalid enr ",
    ]) {
        Terms::EnrInvalid {
            enr: chain.field("enr"),
        }
    } else if chain.has(&["deposit amount", "deposit message m"]) {
        Terms::DepositAmountsInvalid
    } else if chain.has(&[
        "threshold below minimum",
        "threshold exceeds",
        "invalid threshold",
        "threshold has to be greater",
    ]) {
        Terms::ThresholdInvalid
    } else if chain.has(&["unsupported dkg algorithm"]) {
        Terms::AlgorithmUnsupported
    } else if chain.has(&[
        "unmarshal definition",
        "cluster definition hashes", // The hash of it cannot be made.
        "num_validators",
        "definition file too large",
    ]) {
        Terms::Malformed
    } else if chain.has(&["read definition"]) {
        Terms::Unreadable
    } else {
        return None;
    })
}

impl Terms {
    pub(super) fn explain(&self, words: &str) -> Diagnosis {
        let coordinator = |id, cause: String| {
            said(
                id,
                Whose::Coordinator,
                cause,
                "Ask the coordinator for a new definition; all operators need the new one.",
            )
        };
        let value = |value: &Option<String>| value.clone().unwrap_or("not stated".to_owned());
        match self {
            Self::VersionUnknown { version } => said(
                "definition-version-unknown",
                Whose::You,
                format!(
                    "this charon does not know definitions of version {}",
                    value(version)
                ),
                "Run the release that belongs to this definition, as the pins command tells; all operators need the \
                 same one.",
            ),
            Self::VersionTooOld => said(
                "definition-version-too-old",
                Whose::You,
                "this charon no longer accepts definitions as old as this one (v1.6.0 is the oldest)",
                "Run the release that belongs to this definition, as the pins command tells; all operators need the \
                 same one.",
            ),
            Self::HashMismatch { which } => said(
                "definition-hash-mismatch",
                Whose::Coordinator,
                format!(
                    "the definition was changed after it was made: its {which} does not fit its content"
                ),
                "Get the definition again from where the coordinator published it, and compare the definition hash \
                 with the other operators. If theirs is the same, the coordinator must make a new one.",
            ),
            // v1.11 says the same of a contract wallet where it was given no execution client (`verifySigOrERC1271` in
            // cluster/helpers.go).
            Self::SignatureInvalid => said(
                "definition-signature-invalid",
                Whose::Coordinator,
                format!(
                    "a signature in the definition is missing or wrong, or a contract wallet's that charon had no execution \
                     client to ask about: {}",
                    shorten(words)
                ),
                "If an operator signed with a contract wallet, run again with charon's flag \
                 --execution-client-rpc-endpoint and the URL of an execution client. Otherwise ask the coordinator for a \
                 new definition; all operators need the new one.",
            ),
            Self::ContractWalletUnsupported { bytes } => said(
                "contract-wallet-unsupported",
                Whose::Coordinator,
                format!(
                    "a signature in the definition has {} bytes, as contract wallets with several owners make them; this \
                     version of definitions has room for {WALLET_BYTES}",
                    value(bytes)
                ),
                "The coordinator makes a new definition: of version v1.11 or later, or with an ordinary wallet for that \
                 operator.",
            ),
            Self::ExecutionClientNeeded => said(
                "execution-client-needed",
                Whose::You,
                "a signature in the definition is not by the key of its address: either a contract wallet signed, which charon \
                 needs an execution client to check, or the signature is wrong",
                "Run again with charon's flag --execution-client-rpc-endpoint and the URL of an execution client.",
            ),
            Self::ExecutionClientFailed => said(
                "execution-client-unreachable",
                Whose::You,
                format!(
                    "the execution client given to charon does not answer as it should: {}",
                    shorten(words)
                ),
                "Check that it is running and synced, and that its URL works inside a container, where 127.0.0.1 is the \
                 container itself. If no operator signed with a contract wallet, leave \
                 --execution-client-rpc-endpoint out.",
            ),
            Self::ContractMissing => said(
                "contract-wallet-missing",
                Whose::You,
                "an operator signed with a contract wallet, but the execution client knows no contract at that \
                 operator's address",
                "Check that the execution client serves the definition's network and is synced. If it does, ask the \
                 coordinator for a new definition: the signature is not that operator's.",
            ),
            Self::AddressInvalid => coordinator(
                "address-invalid",
                format!(
                    "an address in the definition is not valid: {}",
                    shorten(words)
                ),
            ),
            Self::DuplicateEnr => coordinator(
                "duplicate-enr",
                "two operators of the definition have the same ENR key".to_owned(),
            ),
            Self::EnrInvalid { enr } => coordinator(
                "enr-invalid",
                format!("an ENR in the definition is broken: {}", value(enr)),
            ),
            Self::DepositAmountsInvalid => coordinator(
                "deposit-amounts-invalid",
                format!("the deposit amounts are impossible: {}", shorten(words)),
            ),
            Self::ThresholdInvalid => coordinator(
                "threshold-invalid",
                format!("the threshold is impossible: {}", shorten(words)),
            ),
            Self::NetworkUnknown { fork_version } => coordinator(
                "network-unknown",
                format!(
                    "this charon does not know the definition's network; its fork version is {}",
                    value(fork_version)
                ),
            ),
            Self::AlgorithmUnsupported => coordinator(
                "dkg-algorithm-unsupported",
                "this charon does not know the definition's DKG algorithm".to_owned(),
            ),
            Self::Malformed => said(
                "definition-malformed",
                Whose::You,
                format!("the definition file is damaged: {}", shorten(words)),
                "Get the definition again from the coordinator and compare the definition hash.",
            ),
            Self::Unreadable => said(
                "definition-unreadable",
                Whose::You,
                format!("the definition could not be read: {}", shorten(words)),
                "Check the path or URL of the definition.",
            ),
        }
    }
}
