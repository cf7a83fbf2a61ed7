//! The three hashes of a cluster, recomputed as charon does for every format version (charon `cluster/ssz.go`), and the
//! roots that deposits and builder registrations are signed over.

use std::fmt;

use sha2::{Digest, Sha256};

use super::cluster_lock::{BuilderRegistration, ClusterLock, DistributedValidator, MAX_DEPOSITS};
use super::definition::{
    Creator, Definition, MAX_DEPOSIT_AMOUNTS, MAX_OPERATORS, MAX_VALIDATORS, Operator,
    SIGNATURE_LEN, ValidatorAddresses,
};
use super::deposit_data::DepositData;
use super::hex;
pub use super::ssz::HashError;
use super::ssz::{Chunk, Leaves, chunks_of};
use super::token::Gwei;
use super::version::{DefinitionHashLayout, DefinitionVersion, LockHashLayout};

macro_rules! qualified_hash {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The hash with these bytes.
            pub const fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Reads 64 hexadecimal digits of either case, with or without `0x`.
            pub fn parse(text: &str) -> Option<Self> {
                hex::array_from_0x(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            /// `0x` and 64 lower-case hexadecimal digits.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::to_0x(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

qualified_hash! {
    /// Hash of the terms of a definition: everything but ENRs and signatures. What operators and creator sign.
    ConfigHash
}

qualified_hash! {
    /// Hash of a whole definition, ENRs and signatures included. Nodes compare it before a ceremony.
    DefinitionHash
}

qualified_hash! {
    /// Hash of a cluster lock: definition and validators. All shares and all ENR keys sign it.
    LockHash
}

/// Which of the definition's two hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Config,
    Full,
}

impl Definition {
    /// Recomputes the hash of the terms.
    ///
    /// # Errors
    /// If a field is longer than the format allows; never for a definition that was parsed and has no over-long text.
    pub fn config_hash(&self) -> Result<ConfigHash, HashError> {
        self.root(Scope::Config).map(ConfigHash)
    }

    /// Recomputes the hash of terms, ENRs and signatures. Like charon it takes the config hash as stated in `self`, so
    /// that must be checked first.
    ///
    /// # Errors
    /// As [`Definition::config_hash`].
    pub fn definition_hash(&self) -> Result<DefinitionHash, HashError> {
        self.root(Scope::Full).map(DefinitionHash)
    }

    /// The definition with both hashes set to what they should be.
    ///
    /// # Errors
    /// As [`Definition::config_hash`].
    pub fn with_hashes(mut self) -> Result<Self, HashError> {
        self.config_hash = Some(self.config_hash()?);
        self.definition_hash = Some(self.definition_hash()?);
        Ok(self)
    }

    fn root(&self, scope: Scope) -> Result<Chunk, HashError> {
        match self.version.definition_hash_layout() {
            DefinitionHashLayout::Legacy {
                nonce,
                timestamp_in_definition_hash,
            } => self.legacy_root(scope, nonce, timestamp_in_definition_hash),
            DefinitionHashLayout::Variable => self.variable_root(scope),
            DefinitionHashLayout::Fixed => self.fixed_root(scope),
        }
    }

    /// v1.0.0 to v1.2.0.
    fn legacy_root(
        &self,
        scope: Scope,
        nonce: bool,
        timestamp_in_definition_hash: bool,
    ) -> Result<Chunk, HashError> {
        let pair = self.shared_addresses();
        let mut leaves = Leaves::new();
        leaves
            .raw(self.uuid.as_bytes())
            .raw(self.name.as_bytes())
            .raw(self.version.text().as_bytes())
            .number(self.num_validators)
            .number(self.threshold)
            .raw(pair.0.as_bytes())
            .raw(pair.1.as_bytes())
            .raw(self.dkg_algorithm.as_bytes())
            .raw(hex::to_0x(&self.fork_version).as_bytes());
        let mut items = Leaves::new();
        for operator in &self.operators {
            match scope {
                Scope::Config => {
                    items.raw(operator.address.as_bytes());
                }
                Scope::Full => {
                    let mut item = Leaves::new();
                    item.raw(operator.address.as_bytes())
                        .raw(operator.enr.as_bytes());
                    if nonce {
                        item.number(0);
                    }
                    item.raw(&operator.config_signature)
                        .raw(&operator.enr_signature);
                    items.node(item.root());
                }
            }
        }
        let number = self.operators.len();
        leaves.list_counted(&mut items, number, number, "operators")?;
        if scope == Scope::Config || timestamp_in_definition_hash {
            leaves.raw(self.timestamp.as_bytes());
        }
        Ok(leaves.root())
    }

    /// v1.3.0 and v1.4.0.
    fn variable_root(&self, scope: Scope) -> Result<Chunk, HashError> {
        let pair = self.shared_addresses();
        let mut leaves = Leaves::new();
        self.put_head(&mut leaves)?;
        leaves
            .raw(&address_or_none(pair.0, "fee_recipient_address")?)
            .raw(&address_or_none(pair.1, "withdrawal_address")?)
            .byte_list(self.dkg_algorithm.as_bytes(), 32, "dkg_algorithm")?
            .raw(&self.fork_version);
        let mut items = Leaves::new();
        for operator in &self.operators {
            let mut item = Leaves::new();
            item.raw(&address_or_none(&operator.address, "operator address")?);
            if scope == Scope::Full {
                item.byte_list(operator.enr.as_bytes(), 1024, "enr")?
                    .raw(&operator.config_signature)
                    .raw(&operator.enr_signature);
            }
            items.node(item.root());
        }
        leaves.list(items, MAX_OPERATORS, "operators")?;
        if self.version.has_creator() {
            let mut item = Leaves::new();
            item.raw(&address_or_none(&self.creator.address, "creator address")?);
            if scope == Scope::Full {
                item.raw(&self.creator.config_signature);
            }
            leaves.node(item.root());
        }
        if scope == Scope::Full
            && let Some(config_hash) = &self.config_hash
        {
            leaves.node(config_hash.0);
        }
        Ok(leaves.root())
    }

    /// From v1.5.0.
    fn fixed_root(&self, scope: Scope) -> Result<Chunk, HashError> {
        let version = self.version;
        let mut leaves = Leaves::new();
        self.put_head(&mut leaves)?;
        leaves
            .byte_list(self.dkg_algorithm.as_bytes(), 32, "dkg_algorithm")?
            .raw(&self.fork_version);
        let mut items = Leaves::new();
        for operator in &self.operators {
            items.node(operator_root(operator, version, scope)?);
        }
        leaves.list(items, MAX_OPERATORS, "operators")?;
        leaves.node(creator_root(&self.creator, version, scope)?);

        let mut items = Leaves::new();
        match &self.validators {
            ValidatorAddresses::Shared(pair) => {
                // Such a value was not parsed but made; it means the same pair for all.
                for _ in 0..self.num_validators.min(MAX_VALIDATORS as u64) {
                    items.node(pair_root(
                        &pair.fee_recipient_address,
                        &pair.withdrawal_address,
                    )?);
                }
            }
            ValidatorAddresses::PerValidator(pairs) => {
                for pair in pairs {
                    items.node(pair_root(
                        &pair.fee_recipient_address,
                        &pair.withdrawal_address,
                    )?);
                }
            }
        }
        leaves.list(items, MAX_VALIDATORS, "validators")?;
        if version.has_deposit_amounts() {
            let amounts = self.deposit_amounts.as_deref().unwrap_or_default();
            put_amounts(&mut leaves, amounts)?;
        }
        if version.has_consensus_protocol() {
            leaves.byte_list(
                self.consensus_protocol.as_bytes(),
                256,
                "consensus_protocol",
            )?;
        }
        if version.has_target_gas_limit() {
            leaves.number(self.target_gas_limit);
        }
        if version.has_compounding() {
            leaves.boolean(self.compounding);
        }
        if scope == Scope::Full {
            leaves.node(self.config_hash.map_or([0; 32], |hash| hash.0));
        }
        Ok(leaves.root())
    }

    /// The first six leaves of all versions from v1.3.0.
    fn put_head(&self, leaves: &mut Leaves) -> Result<(), HashError> {
        leaves
            .byte_list(self.uuid.as_bytes(), 64, "uuid")?
            .byte_list(self.name.as_bytes(), 256, "name")?
            .byte_list(self.version.text().as_bytes(), 16, "version")?
            .byte_list(self.timestamp.as_bytes(), 32, "timestamp")?
            .number(self.num_validators)
            .number(self.threshold);
        Ok(())
    }

    /// Fee recipient and withdrawal address of all validators before v1.5.0; without validators there are none
    /// (charon `LegacyValidatorAddresses`).
    fn shared_addresses(&self) -> (&str, &str) {
        let pair = match &self.validators {
            ValidatorAddresses::Shared(pair) if self.num_validators > 0 => Some(pair),
            ValidatorAddresses::Shared(_) => None,
            ValidatorAddresses::PerValidator(pairs) => pairs.first(),
        };
        pair.map_or(("", ""), |pair| {
            (&pair.fee_recipient_address, &pair.withdrawal_address)
        })
    }
}

fn operator_root(
    operator: &Operator,
    version: DefinitionVersion,
    scope: Scope,
) -> Result<Chunk, HashError> {
    let mut item = Leaves::new();
    item.node(address_chunk(&operator.address, "operator address")?);
    if scope == Scope::Full {
        item.byte_list(operator.enr.as_bytes(), 1024, "enr")?;
        put_signature(&mut item, &operator.config_signature, version)?;
        put_signature(&mut item, &operator.enr_signature, version)?;
    }
    Ok(item.root())
}

fn creator_root(
    creator: &Creator,
    version: DefinitionVersion,
    scope: Scope,
) -> Result<Chunk, HashError> {
    let mut item = Leaves::new();
    item.node(address_chunk(&creator.address, "creator address")?);
    if scope == Scope::Full {
        put_signature(&mut item, &creator.config_signature, version)?;
    }
    Ok(item.root())
}

/// One signature of 65 bytes, or from v1.11.0 a list of them.
fn put_signature(
    leaves: &mut Leaves,
    signature: &[u8],
    version: DefinitionVersion,
) -> Result<(), HashError> {
    let pieces = version.max_signature_pieces();
    if pieces > 1 {
        let mut items = Leaves::new();
        for piece in signature.chunks(SIGNATURE_LEN) {
            items.raw(piece);
        }
        leaves.list(items, pieces, "signature")?;
        return Ok(());
    }
    put_padded::<SIGNATURE_LEN>(leaves, signature, "signature")
}

/// Bytes padded with zeros on the left to `N` (charon `putBytesN`).
fn put_padded<const N: usize>(
    leaves: &mut Leaves,
    bytes: &[u8],
    field: &'static str,
) -> Result<(), HashError> {
    let Some(zeros) = N.checked_sub(bytes.len()) else {
        return Err(HashError::TooLong {
            field,
            seen: bytes.len(),
            limit: N,
        });
    };
    let mut padded = [0; N];
    padded[zeros..].copy_from_slice(bytes);
    leaves.raw(&padded);
    Ok(())
}

fn pair_root(fee_recipient: &str, withdrawal: &str) -> Result<Chunk, HashError> {
    let mut item = Leaves::new();
    item.node(address_chunk(fee_recipient, "fee_recipient_address")?)
        .node(address_chunk(withdrawal, "withdrawal_address")?);
    Ok(item.root())
}

/// The bytes of an address text, none if it is empty.
fn address_or_none(text: &str, field: &'static str) -> Result<Vec<u8>, HashError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let bytes: [u8; 20] = hex::array_from_0x(text).ok_or(HashError::NotAnAddress { field })?;
    Ok(bytes.to_vec())
}

/// The bytes of an address text in one chunk, zeros if it is empty.
fn address_chunk(text: &str, field: &'static str) -> Result<Chunk, HashError> {
    let mut chunk = [0; 32];
    let bytes = address_or_none(text, field)?;
    chunk[..bytes.len()].copy_from_slice(&bytes);
    Ok(chunk)
}

/// Amounts as consecutive 8-byte numbers, four in a chunk.
fn put_amounts(leaves: &mut Leaves, amounts: &[Gwei]) -> Result<(), HashError> {
    let packed: Vec<u8> = amounts
        .iter()
        .flat_map(|amount| amount.0.to_le_bytes())
        .collect();
    let mut items = Leaves::new();
    for chunk in chunks_of(&packed) {
        items.node(chunk);
    }
    let limit = MAX_DEPOSIT_AMOUNTS * 8 / 32;
    leaves.list_counted(&mut items, amounts.len(), limit, "deposit_amounts")?;
    Ok(())
}

impl ClusterLock {
    /// Recomputes the hash of definition and validators. Like charon it takes the definition's config hash as stated.
    ///
    /// # Errors
    /// As [`Definition::config_hash`].
    pub fn lock_hash(&self) -> Result<LockHash, HashError> {
        let layout = self.definition.version.lock_hash_layout();
        let mut validators = Leaves::new();
        for validator in &self.validators {
            validators.node(validator_root(validator, layout)?);
        }
        let limit = match layout {
            LockHashLayout::Legacy => self.validators.len(),
            LockHashLayout::Keys
            | LockHashLayout::FlatDeposit
            | LockHashLayout::OneDeposit
            | LockHashLayout::Deposits => MAX_VALIDATORS,
        };
        let mut leaves = Leaves::new();
        leaves.node(self.definition.root(Scope::Full)?).list(
            validators,
            limit,
            "distributed_validators",
        )?;
        Ok(LockHash(leaves.root()))
    }
}

fn validator_root(
    validator: &DistributedValidator,
    layout: LockHashLayout,
) -> Result<Chunk, HashError> {
    let mut leaves = Leaves::new();
    match layout {
        LockHashLayout::Legacy => leaves.raw(hex::to_0x(&validator.public_key).as_bytes()),
        LockHashLayout::Keys
        | LockHashLayout::FlatDeposit
        | LockHashLayout::OneDeposit
        | LockHashLayout::Deposits => leaves.raw(&validator.public_key),
    };
    let mut shares = Leaves::new();
    for share in &validator.public_shares {
        shares.raw(share);
    }
    let share_limit = match layout {
        LockHashLayout::Legacy => validator.public_shares.len(),
        LockHashLayout::Keys
        | LockHashLayout::FlatDeposit
        | LockHashLayout::OneDeposit
        | LockHashLayout::Deposits => MAX_OPERATORS,
    };
    leaves.list(shares, share_limit, "public_shares")?;
    match layout {
        LockHashLayout::Legacy | LockHashLayout::Keys => {}
        LockHashLayout::FlatDeposit => put_deposit(&mut leaves, validator.deposits.first()),
        LockHashLayout::OneDeposit => {
            let mut item = Leaves::new();
            put_deposit(&mut item, validator.deposits.first());
            leaves
                .node(item.root())
                .node(registration_leaf(validator.builder_registration.as_ref()));
        }
        LockHashLayout::Deposits => {
            let mut deposits = Leaves::new();
            for deposit in &validator.deposits {
                let mut item = Leaves::new();
                put_deposit(&mut item, Some(deposit));
                deposits.node(item.root());
            }
            leaves
                .list(deposits, MAX_DEPOSITS, "partial_deposit_data")?
                .node(registration_leaf(validator.builder_registration.as_ref()));
        }
    }
    Ok(leaves.root())
}

/// The four leaves of a deposit; an absent one counts as all zeros.
fn put_deposit(leaves: &mut Leaves, deposit: Option<&DepositData>) {
    match deposit {
        Some(deposit) => leaves
            .raw(&deposit.pubkey)
            .node(deposit.withdrawal_credentials)
            .number(deposit.amount.0)
            .raw(&deposit.signature),
        None => leaves.raw(&[0; 48]).node([0; 32]).number(0).raw(&[0; 96]),
    };
}

/// The leaf of a builder registration; in an absent one the fee recipient is no leaf at all, and all else is zero.
fn registration_leaf(registration: Option<&BuilderRegistration>) -> Chunk {
    let mut leaves = Leaves::new();
    match registration {
        Some(registration) => leaves
            .node(registration.message_root())
            .raw(&registration.signature),
        None => {
            let mut message = Leaves::new();
            message.number(0).number(0).raw(&[0; 48]);
            leaves.node(message.root()).raw(&[0; 96])
        }
    };
    leaves.root()
}

/// Domain type of deposits (consensus-specs `DOMAIN_DEPOSIT`).
const DOMAIN_DEPOSIT: [u8; 4] = [3, 0, 0, 0];

/// Domain type of builder registrations (builder-specs `DOMAIN_APPLICATION_BUILDER`).
const DOMAIN_APPLICATION_BUILDER: [u8; 4] = [0, 0, 0, 1];

impl DepositData {
    /// Hash tree root of the deposit message: public key, withdrawal credentials and amount.
    pub fn message_root(&self) -> [u8; 32] {
        let mut leaves = Leaves::new();
        leaves
            .raw(&self.pubkey)
            .node(self.withdrawal_credentials)
            .number(self.amount.0);
        leaves.root()
    }

    /// Hash tree root of the message with its signature, as the deposit contract computes it.
    pub fn data_root(&self) -> [u8; 32] {
        let mut leaves = Leaves::new();
        put_deposit(&mut leaves, Some(self));
        leaves.root()
    }

    /// What the group key signs: the message root in the deposit domain of the genesis fork version.
    pub fn signing_root(&self, genesis_fork_version: [u8; 4]) -> [u8; 32] {
        signing_root(&self.message_root(), DOMAIN_DEPOSIT, genesis_fork_version)
    }
}

impl BuilderRegistration {
    /// Hash tree root of the registration message.
    pub fn message_root(&self) -> [u8; 32] {
        let mut leaves = Leaves::new();
        leaves
            .raw(&self.fee_recipient)
            .number(self.gas_limit)
            .number(self.timestamp)
            .raw(&self.pubkey);
        leaves.root()
    }

    /// What the group key signs: the message root in the builder domain of the genesis fork version.
    pub fn signing_root(&self, genesis_fork_version: [u8; 4]) -> [u8; 32] {
        signing_root(
            &self.message_root(),
            DOMAIN_APPLICATION_BUILDER,
            genesis_fork_version,
        )
    }

    /// What the group key signed in charon v0.16.0, which used fork version 0 on every network. Such a registration is
    /// worth something on mainnet only, where both roots are the same.
    pub fn signing_root_of_charon_v0_16_0(&self) -> [u8; 32] {
        self.signing_root([0; 4])
    }
}

/// Signing root with a zero genesis validators root, as deposits and registrations have it (consensus-specs
/// `compute_signing_root`, `compute_domain`).
fn signing_root(message_root: &[u8; 32], domain_type: [u8; 4], fork_version: [u8; 4]) -> [u8; 32] {
    let mut fork_data = [0; 64];
    fork_data[..4].copy_from_slice(&fork_version);
    let fork_data_root = Sha256::digest(fork_data);
    let mut signed = [0; 64];
    signed[..32].copy_from_slice(message_root);
    signed[32..36].copy_from_slice(&domain_type);
    signed[36..].copy_from_slice(&fork_data_root[..28]);
    Sha256::digest(signed).into()
}
