//! Definitions for rehearsals: marked, on a test network, with throw-away keys.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::cluster::definition::{MAX_OPERATORS, MAX_VALIDATORS, MIN_OPERATORS, default_threshold};
use crate::cluster::eip712::{self, Wallet};
use crate::cluster::hash::HashError;
use crate::cluster::{
    Address, AddressPair, Creator, Definition, DefinitionVersion, Network, Operator,
    ValidatorAddresses,
};
use crate::keys::k1::{EnrKey, EnrKeyError};

/// How the name of every rehearsal's cluster begins. Real clusters are not called so, and rehearsals always are: the
/// simulator deals for no other name, and a gate may refuse this one.
pub const REHEARSAL_PREFIX: &str = "REHEARSAL ";

/// Networks whose coins are worth nothing.
const TEST_NETWORKS: [&str; 5] = ["hoodi", "holesky", "sepolia", "goerli", "chiado"];

/// The network of the definitions made here: today's, but for formats that only releases older than it take (v1.5.0
/// and v0.16.0).
const fn network_of(version: DefinitionVersion) -> &'static str {
    match version {
        DefinitionVersion::V1_0
        | DefinitionVersion::V1_1
        | DefinitionVersion::V1_2
        | DefinitionVersion::V1_3
        | DefinitionVersion::V1_4
        | DefinitionVersion::V1_5 => "goerli",
        DefinitionVersion::V1_6
        | DefinitionVersion::V1_7
        | DefinitionVersion::V1_8
        | DefinitionVersion::V1_9
        | DefinitionVersion::V1_10
        | DefinitionVersion::V1_11 => "hoodi",
    }
}

/// Whether a definition is marked as a rehearsal: by its name and by a test network.
pub fn is_rehearsal(definition: &Definition) -> bool {
    let network = Network::by_fork_version(definition.fork_version);
    definition.name.starts_with(REHEARSAL_PREFIX)
        && network.is_some_and(|network| TEST_NETWORKS.contains(&network.name))
}

/// What a rehearsal is about.
#[derive(Debug, Clone)]
pub struct RehearsalTerms<'a> {
    /// Follows [`REHEARSAL_PREFIX`] in the name of the cluster.
    pub name: &'a str,
    /// Number of operators, at least 3.
    pub operators: usize,
    /// Shares needed for a signature; `None` for charon's default, two thirds rounded up.
    pub threshold: Option<usize>,
    /// Number of validators, at least 1.
    pub validators: usize,
    /// Format of the definition, v1.5.0 or later; `v1.10.0` is today's.
    pub version: DefinitionVersion,
    /// When it is made, RFC 3339.
    pub timestamp: &'a str,
}

/// A rehearsal's definition and the secrets of its nodes.
#[derive(Debug)]
pub struct Rehearsal {
    /// Signed by all operators and the creator with throw-away wallets; hashes set.
    pub definition: Definition,
    /// The ENR keys in the order of the operators.
    pub enr_keys: Vec<EnrKey>,
}

/// Why there is no such rehearsal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RehearsalError {
    /// Too few or too many operators.
    #[error("{0} operators; charon takes {MIN_OPERATORS} to {MAX_OPERATORS}")]
    Operators(usize),
    /// Too few or too many validators.
    #[error("{0} validators; a definition takes 1 to {MAX_VALIDATORS}")]
    Validators(usize),
    /// A threshold that no cluster of this size can have.
    #[error(
        "a threshold of {threshold} with {operators} operators; it is 2 to the number of operators"
    )]
    Threshold {
        /// The threshold asked for.
        threshold: usize,
        /// The number of operators.
        operators: usize,
    },
    /// A format without per-validator addresses, or without signatures.
    #[error("definition version {0}; rehearsals begin with v1.5.0")]
    Version(DefinitionVersion),
    /// Name or timestamp too long.
    #[error("{0}")]
    Hash(#[from] HashError),
    /// The seed gives no key; the chance of that is 2^-127.
    #[error("{0}")]
    Key(#[from] EnrKeyError),
}

/// Makes a definition for a rehearsal, and the ENR keys of its nodes. All that is random comes from `seed`, 32 bytes
/// of the system's randomness; the same seed gives the same result.
///
/// # Errors
/// If the terms are impossible.
pub fn rehearsal_definition(
    terms: &RehearsalTerms<'_>,
    seed: &[u8; 32],
) -> Result<Rehearsal, RehearsalError> {
    let &RehearsalTerms {
        operators,
        validators,
        version,
        ..
    } = terms;
    if !(MIN_OPERATORS..=MAX_OPERATORS).contains(&operators) {
        return Err(RehearsalError::Operators(operators));
    }
    if !(1..=MAX_VALIDATORS).contains(&validators) {
        return Err(RehearsalError::Validators(validators));
    }
    let threshold = terms.threshold.unwrap_or(default_threshold(operators));
    if !(2..=operators).contains(&threshold) {
        return Err(RehearsalError::Threshold {
            threshold,
            operators,
        });
    }
    if version < DefinitionVersion::V1_5 {
        return Err(RehearsalError::Version(version));
    }
    let enr_keys = (0..operators)
        .map(|position| EnrKey::from_secret_bytes(&derived(seed, "enr key", position)))
        .collect::<Result<Vec<_>, _>>()?;
    let wallets = (0..operators)
        .map(|position| Wallet::from_secret_bytes(&derived(seed, "wallet", position)))
        .collect::<Result<Vec<_>, _>>()?;
    let creator = Wallet::from_secret_bytes(&derived(seed, "creator", 0))?;
    let addresses = (0..validators).map(|position| AddressPair {
        fee_recipient_address: throw_away_address(seed, "fee recipient", position),
        withdrawal_address: throw_away_address(seed, "withdrawal", position),
    });
    let network = Network::by_name(network_of(version));
    let definition = Definition {
        name: format!("{REHEARSAL_PREFIX}{}", terms.name),
        creator: Creator {
            address: creator.address().to_string(),
            config_signature: Vec::new(),
        },
        operators: enr_keys
            .iter()
            .zip(&wallets)
            .map(|(key, wallet)| Operator {
                address: wallet.address().to_string(),
                enr: key.enr().text().to_owned(),
                config_signature: Vec::new(),
                enr_signature: Vec::new(),
            })
            .collect(),
        uuid: uuid(seed),
        version,
        timestamp: terms.timestamp.to_owned(),
        num_validators: validators as u64,
        threshold: threshold as u64,
        validators: ValidatorAddresses::PerValidator(addresses.collect()),
        dkg_algorithm: "default".to_owned(),
        fork_version: network.map_or([0; 4], |network| network.fork_version),
        deposit_amounts: None,
        consensus_protocol: String::new(),
        // The default of `create dkg` from v1.5.0.
        target_gas_limit: if version.has_target_gas_limit() {
            60_000_000
        } else {
            0
        },
        compounding: false,
        config_hash: None,
        definition_hash: None,
    };
    let definition = sign(definition, &creator, &wallets)?;
    Ok(Rehearsal {
        definition,
        enr_keys,
    })
}

/// The definition with the signatures of creator and operators, and its hashes.
fn sign(
    mut definition: Definition,
    creator: &Wallet,
    wallets: &[Wallet],
) -> Result<Definition, RehearsalError> {
    let chain_id = Network::by_fork_version(definition.fork_version).map_or(0, |n| n.chain_id);
    let config_hash = definition.config_hash()?;
    definition.creator.config_signature = creator
        .sign(&eip712::creator_config_digest(&config_hash, chain_id))
        .to_vec();
    let terms = eip712::operator_config_digest(definition.version, &config_hash, chain_id);
    for (operator, wallet) in definition.operators.iter_mut().zip(wallets) {
        if let Some(terms) = &terms {
            operator.config_signature = wallet.sign(terms).to_vec();
        }
        let enr = eip712::enr_digest(&operator.enr, chain_id);
        operator.enr_signature = wallet.sign(&enr).to_vec();
    }
    Ok(definition.with_hashes()?)
}

/// 32 bytes for one purpose.
fn derived(seed: &[u8; 32], purpose: &str, position: usize) -> Zeroizing<[u8; 32]> {
    let mut hasher = Sha256::new();
    hasher.update(b"charon-dkg rehearsal\0");
    hasher.update(seed);
    hasher.update((position as u64).to_le_bytes());
    hasher.update(purpose);
    Zeroizing::new(hasher.finalize().into())
}

/// An address that no key controls.
fn throw_away_address(seed: &[u8; 32], purpose: &str, position: usize) -> String {
    let mut bytes = [0; 20];
    bytes.copy_from_slice(&derived(seed, purpose, position)[..20]);
    Address::new(bytes).to_string()
}

/// An upper-case UUIDv4, as charon writes it.
fn uuid(seed: &[u8; 32]) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&derived(seed, "uuid", 0)[..16]);
    let uuid = uuid::Builder::from_random_bytes(bytes).into_uuid();
    uuid.hyphenated().to_string().to_uppercase()
}
