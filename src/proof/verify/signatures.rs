//! Signatures over secp256k1: of operators and creator (EIP-712), and of nodes over the lock hash.

use charon_files::cluster::eip712::{
    SignatureCheck, check_signature, creator_config_digest, enr_digest, operator_config_digest,
};
use charon_files::cluster::{
    Address, ClusterLock, DefinitionVersion, LockHash, NodeIndex, Operator,
};
use charon_files::keys::k1::{self, EnrPublicKey};

use super::ledger::Ledger;
use super::{Check, Context, ContractQuestion};

/// Length of one ECDSA signature R ‖ S ‖ V.
const SIGNATURE_LEN: usize = 65;

/// What a finding about an unsigned definition advises.
const UNSIGNED: &str = "legal; but nothing except the ENR keys binds the operators to these terms: compare the definition hash \
                        with every operator";

/// What is advised while an operator has not signed: nothing is wrong with the rest.
const NOT_YET: &str = "have this operator approve the cluster on the launchpad, then fetch the definition again; no ceremony before";

/// What is advised where a contract signed as the creator, and not every release would ask it.
const CONTRACT_CREATOR: &str = "charon before v1.11 asks no contract about the creator, and refuses to run this definition: for such a release \
                                it must be created and signed anew by a wallet with a key of its own";

/// Signatures that only contracts can confirm.
#[derive(Default)]
pub(super) struct Contracts {
    /// Those that nobody confirmed or denied.
    pub(super) open: Vec<ContractQuestion>,
    /// Those that are confirmed, by [`ContractQuestion::id`].
    pub(super) confirmed: Vec<[u8; 32]>,
}

/// Checks who signed the definition (charon `Definition.VerifySignatures`). Returns what only contracts can answer.
pub(super) fn check_definition_signatures(context: &Context<'_>, ledger: &mut Ledger) -> Contracts {
    let definition = context.definition;
    if !definition.version.has_eip712_signatures() {
        ledger.ran(&[Check::LegacySignature]);
        for node in definition.nodes() {
            let signed = definition.operator(node).is_some_and(|operator| {
                !operator.config_signature.is_empty() || !operator.enr_signature.is_empty()
            });
            if signed {
                ledger.fail(
                    Check::LegacySignature,
                    context.operator(node),
                    "a signature",
                    "none: charon refuses signatures in this format",
                );
            }
        }
        return Contracts::default();
    }
    ledger.ran(&[
        Check::DefinitionSigned,
        Check::OperatorConfigSignature,
        Check::OperatorEnrSignature,
        Check::CreatorSignature,
    ]);
    let unsigned: Vec<NodeIndex> = definition
        .nodes()
        .filter(|node| {
            definition
                .operator(*node)
                .is_some_and(Operator::is_unsigned)
        })
        .collect();
    let mut contracts = Contracts::default();
    if unsigned.len() == definition.operators.len() {
        ledger.note(
            Check::DefinitionSigned,
            "operators",
            "an unsigned definition",
            "signatures of all operators",
            UNSIGNED,
        );
    } else {
        for node in unsigned {
            ledger.fail(
                Check::DefinitionSigned,
                context.operator(node),
                "no address and no signatures",
                "signatures, as other operators signed",
            );
        }
        check_operators(context, &mut contracts, ledger);
    }
    check_creator(context, &mut contracts, ledger);
    contracts
}

fn check_operators(context: &Context<'_>, contracts: &mut Contracts, ledger: &mut Ledger) {
    let definition = context.definition;
    // What was signed is what the file states; that it is the hash of the content is a check of its own.
    let config_hash = definition.config_hash;
    let chain_id = context.network.map(|network| network.chain_id);
    for (node, operator) in definition.nodes().zip(&definition.operators) {
        if operator.is_unsigned() {
            continue;
        }
        let subject = context.operator(node);
        if operator.has_not_signed() {
            ledger.fail_with(
                Check::DefinitionSigned,
                &subject,
                "no signatures: this operator has not signed yet",
                "signatures, as other operators signed",
                NOT_YET,
            );
            continue;
        }
        let Some(address) = Address::parse(&operator.address) else {
            ledger.fail(
                Check::DefinitionSigned,
                &subject,
                "signatures without an address",
                "an address that the signatures are by",
            );
            continue;
        };
        let config_digest = chain_id
            .zip(config_hash)
            .and_then(|(chain, hash)| operator_config_digest(definition.version, &hash, chain));
        for (check, signature, digest) in [
            (
                Check::OperatorConfigSignature,
                &operator.config_signature,
                config_digest,
            ),
            (
                Check::OperatorEnrSignature,
                &operator.enr_signature,
                chain_id.map(|chain_id| enr_digest(&operator.enr, chain_id)),
            ),
        ] {
            let statement = Statement {
                check,
                subject: &subject,
                address,
                signature,
                digest,
                contract_remark: None,
            };
            check_one(context, &statement, contracts, ledger);
        }
    }
}

fn check_creator(context: &Context<'_>, contracts: &mut Contracts, ledger: &mut Ledger) {
    let definition = context.definition;
    if !definition.version.has_creator() {
        return;
    }
    let creator = &definition.creator;
    if creator.address.is_empty() && creator.config_signature.is_empty() {
        if !definition.is_unsigned() {
            ledger.fail(
                Check::DefinitionSigned,
                "creator",
                "no address and no signature",
                "a signature, as operators signed",
            );
        }
        return;
    }
    let Some(address) = Address::parse(&creator.address) else {
        ledger.fail(
            Check::DefinitionSigned,
            "creator",
            "a signature without an address",
            "an address that the signature is by",
        );
        return;
    };
    let chain_id = context.network.map(|network| network.chain_id);
    let statement = Statement {
        check: Check::CreatorSignature,
        subject: "creator",
        address,
        signature: &creator.config_signature,
        digest: chain_id
            .zip(definition.config_hash)
            .map(|(chain_id, hash)| creator_config_digest(&hash, chain_id)),
        contract_remark: (!definition.version.creator_may_always_be_contract())
            .then_some(CONTRACT_CREATOR),
    };
    check_one(context, &statement, contracts, ledger);
}

/// One signature of the definition and who should have made it.
struct Statement<'a> {
    check: Check,
    subject: &'a str,
    address: Address,
    signature: &'a [u8],
    /// What was signed; `None` if network or config hash are unknown.
    digest: Option<[u8; 32]>,
    /// What has to be said if a contract confirms the signature.
    contract_remark: Option<&'static str>,
}

fn check_one(
    context: &Context<'_>,
    statement: &Statement<'_>,
    contracts: &mut Contracts,
    ledger: &mut Ledger,
) {
    let Statement {
        check,
        subject,
        address,
        signature,
        digest,
        contract_remark,
    } = *statement;
    let version = context.definition.version;
    let expected = format!("a signature by {address}");
    if signature.is_empty() {
        ledger.fail(check, subject, "no signature", expected);
        return;
    }
    let (Some(network), Some(digest)) = (context.network, digest) else {
        ledger.could_not_tell(
            check,
            subject,
            "a signature whose network or config hash is unknown",
            expected,
            "see the findings about the network and the config hash",
        );
        return;
    };
    // From v1.11.0 several owners of a Safe may sign, and charon asks the contract about whatever it cannot recover.
    let several_owners = version.max_signature_pieces() > 1;
    let (seen, contract_possible) = match check_signature(&digest, signature, &address) {
        SignatureCheck::Valid => return,
        SignatureCheck::OtherAddress(other) => (
            format!("a signature by {other}"),
            version.signer_may_be_contract(),
        ),
        SignatureCheck::Malformed if signature.len() == SIGNATURE_LEN => {
            ("a signature that no key made".to_owned(), several_owners)
        }
        SignatureCheck::Malformed => (
            format!("{} signatures in one", signature.len() / SIGNATURE_LEN),
            several_owners,
        ),
    };
    let question = ContractQuestion {
        subject: subject.to_owned(),
        address,
        chain_id: network.chain_id,
        digest,
        signature: signature.to_vec(),
    };
    let answer = if contract_possible {
        (context.options.contract_answers)(&question)
    } else {
        Some(false)
    };
    match answer {
        Some(true) => {
            if let Some(remark) = contract_remark {
                let seen = format!("a signature that the contract wallet {address} confirms");
                ledger.note(
                    check,
                    subject,
                    seen,
                    "a signature that every release accepts",
                    remark,
                );
            }
            contracts.confirmed.push(question.id());
        }
        Some(false) => ledger.fail(check, subject, seen, expected),
        None => {
            ledger.could_not_tell(
                check,
                subject,
                seen,
                expected,
                "a contract wallet may have signed; only its own network can tell (EIP-1271): ask it with --execution-rpc-file",
            );
            contracts.open.push(question);
        }
    }
}

/// Checks that every node signed the lock hash with its ENR key (charon `verifyNodeSignatures`).
pub(super) fn check_node_signatures(
    context: &Context<'_>,
    lock: &ClusterLock,
    enrs: &[Option<EnrPublicKey>],
    lock_hash: Option<LockHash>,
    ledger: &mut Ledger,
) {
    if !lock.definition.version.has_node_signatures() {
        return;
    }
    let operators = lock.definition.operators.len();
    if lock.node_signatures.len() != operators {
        let seen = format!("{} signatures", lock.node_signatures.len());
        let expected = format!("{operators}, one per operator");
        if lock.node_signatures.is_empty() && lock.definition.version == DefinitionVersion::V1_7 {
            ledger.fail_with(
                Check::NodeSignature,
                "node_signatures",
                seen,
                expected,
                "charon v0.16.0 could leave them out, and no newer release accepts that: run the ceremony again",
            );
        } else {
            ledger.fail(Check::NodeSignature, "node_signatures", seen, expected);
        }
    }
    let Some(lock_hash) = lock_hash else {
        return;
    };
    ledger.ran(&[Check::NodeSignature]);
    for ((node, signature), key) in lock.definition.nodes().zip(&lock.node_signatures).zip(enrs) {
        // An operator without valid ENR has been reported.
        let Some(key) = key else { continue };
        let signer =
            k1::recover(lock_hash.as_bytes(), signature).map(|recovered| recovered.public_key());
        match signer {
            Some(signer) if signer == *key => {}
            Some(signer) => {
                let seen = enrs
                    .iter()
                    .position(|enr| *enr == Some(signer))
                    .map_or_else(
                        || "a signature by another key, or of another lock".to_owned(),
                        |position| {
                            format!(
                                "the signature of {}",
                                context.operator(NodeIndex::new(position))
                            )
                        },
                    );
                ledger.fail(
                    Check::NodeSignature,
                    context.operator(node),
                    seen,
                    "a signature of the lock hash by this operator's ENR key",
                );
            }
            None => ledger.fail(
                Check::NodeSignature,
                context.operator(node),
                "a signature that no key made",
                "a signature of the lock hash by this operator's ENR key",
            ),
        }
    }
}
