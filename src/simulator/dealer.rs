//! The dealing itself, without any effect: what a real DKG spreads over all nodes is done here in one place, which is
//! exactly why this is no DKG.
//!
//! The group secret exists here while the deal is made. It signs deposits and registrations directly: BLS signatures
//! are unique, so that is, byte for byte, what threshold many nodes would have recombined.

use rayon::prelude::*;
use zeroize::Zeroizing;

use charon_files::cluster::deposit_data::{deposit_file_name, sorted_unique_amounts};
use charon_files::cluster::version::LockDeposits;
use charon_files::cluster::{
    Address, BuilderRegistration, CharonVersion, ClusterLock, Definition, DefinitionVersion,
    DepositData, DepositFile, DepositFileEntry, DistributedValidator, Gwei, Network,
    ValidatorIndex,
};
use charon_files::keys::bls::{self, NotAScalar, PublicKey, ShareSecret, Signature};

use super::failure::Failure;

/// charon's `registration.DefaultGasLimit`, for definitions that set none.
const DEFAULT_GAS_LIMIT: u64 = 30_000_000;

/// What a release makes of a definition.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    definition: Definition,
    network: Network,
    amounts: Vec<Gwei>,
    deposit_cli_version: &'static str,
}

impl Terms {
    /// # Errors
    /// As charon's: an unknown network, a definition that this release does not take.
    pub(crate) fn new(definition: Definition, release: &CharonVersion) -> Result<Self, Failure> {
        let network = Network::by_fork_version(definition.fork_version).ok_or_else(|| {
            let fork_version = charon_files::cluster::hex::to_0x(&definition.fork_version);
            Failure::new("invalid fork version").field("fork_version", fork_version)
        })?;
        let amounts = deposit_amounts(&definition, release);
        // eth2util/deposit: 2.5.0 in v0.16.0 and v0.17.0, 2.7.0 since v0.17.1.
        let old = *release <= CharonVersion::release(0, 17, 0);
        Ok(Self {
            network,
            amounts,
            deposit_cli_version: if old { "2.5.0" } else { "2.7.0" },
            definition,
        })
    }

    pub(crate) fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Shares needed for a signature, and number of nodes.
    pub(crate) fn threshold_and_nodes(&self) -> (u32, u32) {
        // Both are bounded far below by the limit of operators.
        let threshold = u32::try_from(self.definition.threshold).unwrap_or(u32::MAX);
        let nodes = u32::try_from(self.definition.operators.len()).unwrap_or(u32::MAX);
        (threshold, nodes)
    }

    /// Everything about one validator but the signatures of the group key.
    fn unsigned(&self, index: ValidatorIndex, group: &PublicKey) -> Result<Unsigned, Failure> {
        let pair = self.definition.addresses_of(index);
        let address = |text: Option<&String>| {
            text.and_then(|text| Address::parse(text))
                .ok_or_else(|| Failure::new("invalid withdrawal address"))
        };
        let withdrawal = address(pair.map(|pair| &pair.withdrawal_address))?;
        let fee_recipient = address(pair.map(|pair| &pair.fee_recipient_address))?;
        let mut withdrawal_credentials = [0; 32];
        withdrawal_credentials[0] = if self.definition.compounding { 2 } else { 1 };
        withdrawal_credentials[12..].copy_from_slice(withdrawal.as_bytes());
        let pubkey = group.to_bytes();
        let deposits = self.amounts.iter().map(|amount| DepositData {
            pubkey,
            withdrawal_credentials,
            amount: *amount,
            signature: [0; 96],
        });
        let gas_limit = match self.definition.target_gas_limit {
            0 => DEFAULT_GAS_LIMIT,
            chosen => chosen,
        };
        Ok(Unsigned {
            deposits: deposits.collect(),
            registration: BuilderRegistration {
                fee_recipient: *fee_recipient.as_bytes(),
                gas_limit,
                timestamp: self.network.genesis_time.unwrap_or(0),
                pubkey,
                signature: [0; 96],
            },
        })
    }

    /// The cluster lock of these validators, not signed yet.
    pub(crate) fn lock(&self, validators: &[Validator]) -> ClusterLock {
        let version = self.definition.version;
        let validators = validators.iter().map(|validator| DistributedValidator {
            public_key: validator.group.to_bytes(),
            public_shares: validator
                .public_shares
                .iter()
                .map(PublicKey::to_bytes)
                .collect(),
            deposits: match version.lock_deposits() {
                LockDeposits::None => Vec::new(),
                LockDeposits::One => validator.deposits.iter().take(1).cloned().collect(),
                LockDeposits::Many => validator.deposits.clone(),
            },
            stated_deposit_roots: Vec::new(),
            builder_registration: version
                .has_builder_registration()
                .then(|| validator.registration.clone()),
        });
        ClusterLock {
            definition: self.definition.clone(),
            validators: validators.collect(),
            signature_aggregate: None,
            lock_hash: None,
            node_signatures: Vec::new(),
        }
    }

    /// The deposit data files by name, byte for byte.
    pub(crate) fn deposit_files(&self, validators: &[Validator]) -> Vec<(String, String)> {
        let files = self.amounts.iter().enumerate().map(|(position, amount)| {
            let deposits = validators
                .iter()
                .filter_map(|validator| validator.deposits.get(position));
            let mut file = DepositFile {
                entries: deposits
                    .map(|data| DepositFileEntry {
                        deposit_message_root: data.message_root(),
                        deposit_data_root: data.data_root(),
                        fork_version: self.definition.fork_version,
                        network_name: self.network.name.to_owned(),
                        deposit_cli_version: self.deposit_cli_version.to_owned(),
                        data: data.clone(),
                    })
                    .collect(),
            };
            file.sort();
            (deposit_file_name(*amount), file.to_json())
        });
        files.collect()
    }

    /// A validator from what the dealer sent, with everything recomputed that can be, and every signature checked.
    ///
    /// # Errors
    /// If a signature does not verify.
    pub(crate) fn validator(
        &self,
        index: ValidatorIndex,
        group: PublicKey,
        public_shares: Vec<PublicKey>,
        deposit_signatures: &[Signature],
        registration_signature: Signature,
    ) -> Result<Validator, Failure> {
        let Unsigned {
            mut deposits,
            mut registration,
        } = self.unsigned(index, &group)?;
        if deposits.len() != deposit_signatures.len() {
            return Err(Failure::new("deposit data not found"));
        }
        for (deposit, signature) in deposits.iter_mut().zip(deposit_signatures) {
            let root = deposit.signing_root(self.definition.fork_version);
            if !bls::verify(&group, &root, signature) {
                return Err(Failure::new("invalid deposit data aggregated signature"));
            }
            deposit.signature = signature.to_bytes();
        }
        let root = registration.signing_root(self.definition.fork_version);
        if !bls::verify(&group, &root, &registration_signature) {
            return Err(Failure::new(
                "invalid validator registration aggregated signature",
            ));
        }
        registration.signature = registration_signature.to_bytes();
        Ok(Validator {
            group,
            public_shares,
            deposits,
            registration,
        })
    }

    /// Deals all validators. `entropy` fills a buffer with secret random bytes.
    ///
    /// # Errors
    /// If there is no randomness, or if the definition's addresses are invalid.
    pub(crate) fn deal(
        &self,
        entropy: &(dyn Fn(&mut [u8]) -> Result<(), Failure> + Sync),
    ) -> Result<Vec<Dealt>, Failure> {
        self.deal_from(0, entropy)
    }

    /// The same for the validators from this position on.
    ///
    /// # Errors
    /// As for all of them.
    pub(crate) fn deal_from(
        &self,
        first: usize,
        entropy: &(dyn Fn(&mut [u8]) -> Result<(), Failure> + Sync),
    ) -> Result<Vec<Dealt>, Failure> {
        let count = usize::try_from(self.definition.num_validators).unwrap_or(usize::MAX);
        (first..count)
            .into_par_iter()
            .map(|position| self.deal_one(ValidatorIndex::new(position), entropy))
            .collect()
    }

    fn deal_one(
        &self,
        index: ValidatorIndex,
        entropy: &(dyn Fn(&mut [u8]) -> Result<(), Failure> + Sync),
    ) -> Result<Dealt, Failure> {
        let no_scalar = |NotAScalar| Failure::new("the dealer drew an impossible key");
        let mut random = Zeroizing::new([0; 64]);
        entropy(random.as_mut_slice())?;
        let (for_secret, for_polynomial) = random.split_at(32);
        let secret = ShareSecret::from_entropy(for_secret).map_err(no_scalar)?;
        let (threshold, nodes) = self.threshold_and_nodes();
        let shares = bls::split(&secret, threshold, nodes, for_polynomial).map_err(no_scalar)?;
        let group = secret.public_key();
        let Unsigned {
            mut deposits,
            mut registration,
        } = self.unsigned(index, &group)?;
        for deposit in &mut deposits {
            let root = deposit.signing_root(self.definition.fork_version);
            deposit.signature = secret.sign(&root).to_bytes();
        }
        let root = registration.signing_root(self.definition.fork_version);
        registration.signature = secret.sign(&root).to_bytes();
        Ok(Dealt {
            validator: Validator {
                group,
                public_shares: shares.iter().map(ShareSecret::public_key).collect(),
                deposits,
                registration,
            },
            shares,
        })
    }
}

/// What the group key of a validator has to sign.
struct Unsigned {
    deposits: Vec<DepositData>,
    registration: BuilderRegistration,
}

/// The public side of a dealt validator.
#[derive(Debug, Clone)]
pub(crate) struct Validator {
    /// The group public key.
    pub(crate) group: PublicKey,
    /// Of each node, in order.
    pub(crate) public_shares: Vec<PublicKey>,
    /// Signed deposits in ascending order of their amounts.
    pub(crate) deposits: Vec<DepositData>,
    /// The signed registration.
    pub(crate) registration: BuilderRegistration,
}

/// A dealt validator with the shares of all nodes, in order.
#[derive(Debug)]
pub(crate) struct Dealt {
    pub(crate) validator: Validator,
    pub(crate) shares: Vec<ShareSecret>,
}

/// The deposits that a release makes: those of the definition, sorted and once each, or its defaults
/// (`deposit.DefaultDepositAmounts`).
fn deposit_amounts(definition: &Definition, release: &CharonVersion) -> Vec<Gwei> {
    let since = |minor| (release.major, release.minor) >= (1, minor);
    let eth = |amounts: &[u64]| amounts.iter().copied().map(Gwei::from_eth).collect();
    match definition.deposit_amounts.as_deref() {
        Some(chosen @ [_, ..]) => sorted_unique_amounts(chosen),
        Some([]) | None if definition.version < DefinitionVersion::V1_8 || !since(3) => eth(&[32]),
        Some([]) | None if definition.compounding && since(4) => eth(&[1, 8, 32, 256]),
        Some([]) | None => eth(&[1, 32]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use charon_files::rehearsal::{RehearsalTerms, rehearsal_definition};

    fn terms(version: DefinitionVersion, release: &CharonVersion) -> Terms {
        let wanted = RehearsalTerms {
            name: "x",
            operators: 5,
            threshold: Some(3),
            validators: 2,
            version,
            timestamp: "2026-01-02T03:04:05Z",
        };
        let definition = rehearsal_definition(&wanted, &[1; 32]).unwrap().definition;
        Terms::new(definition, release).unwrap()
    }

    fn test_entropy(buffer: &mut [u8]) -> Result<(), Failure> {
        getrandom::fill(buffer).unwrap();
        Ok(())
    }

    #[test]
    fn shares_lie_on_a_polynomial_of_the_right_degree() {
        let terms = terms(DefinitionVersion::V1_10, &CharonVersion::release(1, 10, 3));
        for dealt in terms.deal(&test_entropy).unwrap() {
            assert_eq!(dealt.shares.len(), 5);
            let chosen = |indices: [u32; 3]| {
                let shares = indices.map(|x| (x, &dealt.shares[(x - 1) as usize]));
                bls::recombine(&shares).unwrap().public_key()
            };
            assert_eq!(chosen([1, 2, 3]), dealt.validator.group);
            assert_eq!(chosen([5, 2, 4]), dealt.validator.group);
            let too_few = [(1, &dealt.shares[0]), (2, &dealt.shares[1])];
            let too_few = bls::recombine(&too_few).unwrap().public_key();
            assert_ne!(too_few, dealt.validator.group);
        }
    }

    #[test]
    fn what_the_dealer_signs_is_what_the_nodes_would_have_recombined() {
        let terms = terms(DefinitionVersion::V1_10, &CharonVersion::release(1, 10, 3));
        let dealt = terms.deal(&test_entropy).unwrap();
        for dealt in &dealt {
            let shares = [1_u32, 3, 4].map(|x| (x, &dealt.shares[(x - 1) as usize]));
            let recombined = bls::recombine(&shares).unwrap();
            for deposit in &dealt.validator.deposits {
                let root = deposit.signing_root(terms.definition.fork_version);
                assert_eq!(recombined.sign(&root).to_bytes(), deposit.signature);
            }
        }
    }

    #[test]
    fn deposits_follow_definition_and_release() {
        let amounts = |version, release: CharonVersion| terms(version, &release).amounts;
        let eth = |amounts: &[u64]| -> Vec<Gwei> {
            amounts.iter().map(|eth| Gwei::from_eth(*eth)).collect()
        };
        use DefinitionVersion::{V1_7, V1_8, V1_10};
        assert_eq!(
            amounts(V1_10, CharonVersion::release(1, 10, 3)),
            eth(&[1, 32])
        );
        assert_eq!(amounts(V1_8, CharonVersion::release(1, 2, 0)), eth(&[32]));
        assert_eq!(amounts(V1_7, CharonVersion::release(1, 10, 3)), eth(&[32]));
        let mut terms = terms(V1_10, &CharonVersion::release(1, 10, 3));
        terms.definition.compounding = true;
        let release = CharonVersion::release(1, 10, 3);
        let compounding = deposit_amounts(&terms.definition, &release);
        assert_eq!(compounding, eth(&[1, 8, 32, 256]));
        terms.definition.deposit_amounts = Some(eth(&[8, 16, 8]));
        assert_eq!(deposit_amounts(&terms.definition, &release), eth(&[8, 16]));
    }

    #[test]
    fn a_signature_that_does_not_fit_is_refused() {
        let terms = terms(DefinitionVersion::V1_10, &CharonVersion::release(1, 10, 3));
        let dealt = terms.deal(&test_entropy).unwrap();
        let (one, two) = (&dealt[0].validator, &dealt[1].validator);
        let signatures = |validator: &Validator| -> Vec<Signature> {
            let deposits = validator.deposits.iter();
            deposits
                .map(|deposit| Signature::parse(&deposit.signature).unwrap())
                .collect()
        };
        let registration = Signature::parse(&one.registration.signature).unwrap();
        let take = |deposits: &[Signature]| {
            terms.validator(
                ValidatorIndex::new(0),
                one.group,
                one.public_shares.clone(),
                deposits,
                registration,
            )
        };
        assert!(take(&signatures(one)).is_ok());
        assert!(take(&signatures(two)).is_err());
        assert!(take(&signatures(one)[..1]).is_err());
    }
}
