//! An insider: holds all secrets of a fixture's cluster, and so can change anything and sign it again. What such a cluster
//! gets past verification, a real ceremony with a bug could too.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Mutex;

use charon_files::cluster::deposit_data::deposit_file_name;
use charon_files::cluster::eip712::{creator_config_digest, enr_digest, operator_config_digest};
use charon_files::cluster::version::LockDeposits;
use charon_files::cluster::{
    AddressPair, ClusterLock, DefinitionVersion, DepositFile, Gwei, Network, ValidatorAddresses,
};
use charon_files::keys::bls::{self, ShareSecret};
use charon_files::keys::k1::EnrKey;
use charon_files::keys::keystore::{self, Keystore, KeystorePassword, Nonces};
use charon_proof::verify::{Material, NamedFile};

use crate::deposit_file::deposit_file;
use crate::support::Ceremony;

/// Everything of one cluster, secrets included.
pub(crate) struct Cluster {
    pub(crate) lock: ClusterLock,
    /// Deposit data files by name.
    pub(crate) deposit_files: Vec<(String, DepositFile)>,
    /// Per node.
    pub(crate) keystores: Vec<Vec<NamedFile>>,
    /// Per node.
    pub(crate) enr_keys: Vec<EnrKey>,
    /// Per validator, per node.
    pub(crate) shares: Vec<Vec<ShareSecret>>,
    /// Per validator: the key that nobody should have.
    pub(crate) groups: Vec<ShareSecret>,
}

impl Cluster {
    /// Opens every keystore of a ceremony and recombines the group keys.
    pub(crate) fn of(ceremony: &Ceremony) -> Self {
        let materials: Vec<Material> = (0..ceremony.nodes)
            .map(|node| ceremony.material(node))
            .collect();
        let first = &materials[0];
        let lock = ClusterLock::parse(&first.cluster_lock.as_ref().unwrap().bytes)
            .unwrap()
            .value;
        let shares = all_shares(&ceremony.name, &materials, lock.validators.len());
        let threshold = usize::try_from(lock.definition.threshold).unwrap();
        let groups = shares
            .iter()
            .map(|shares| {
                let numbered: Vec<(u32, &ShareSecret)> =
                    (1..).zip(shares).take(threshold).collect();
                bls::recombine(&numbered).unwrap()
            })
            .collect();
        Self {
            deposit_files: first
                .deposit_data
                .iter()
                .map(|file| {
                    let content = DepositFile::parse(&file.bytes).unwrap().value;
                    (file.path.clone(), content)
                })
                .collect(),
            enr_keys: materials
                .iter()
                .map(|material| EnrKey::parse(&material.enr_key.as_ref().unwrap().bytes).unwrap())
                .collect(),
            keystores: materials
                .into_iter()
                .map(|material| material.keystores)
                .collect(),
            lock,
            shares,
            groups,
        }
    }

    /// One node's directory.
    pub(crate) fn material(&self, node: usize) -> Material {
        let file = |path: &str, text: String| NamedFile::new(path, text.into_bytes());
        Material {
            definition: Some(file(
                "cluster-definition.json",
                self.lock.definition.to_json(),
            )),
            cluster_lock: Some(file("cluster-lock.json", self.lock.to_json())),
            deposit_data: self
                .deposit_files
                .iter()
                .map(|(name, content)| file(name, content.to_json()))
                .collect(),
            enr_key: Some(file(
                "charon-enr-private-key",
                self.enr_keys[node].to_file_text().to_string(),
            )),
            keystores: self.keystores[node].clone(),
            ..Material::default()
        }
    }

    /// Recomputes all hashes and lets all shares and nodes sign the lock again.
    pub(crate) fn seal(&mut self) {
        let definition = self.lock.definition.clone().with_hashes().unwrap();
        self.lock.definition = definition;
        let lock_hash = self.lock.lock_hash().unwrap();
        self.lock.lock_hash = Some(lock_hash);
        let signatures: Vec<bls::Signature> = self
            .shares
            .iter()
            .flatten()
            .map(|share| share.sign(lock_hash.as_bytes()))
            .collect();
        self.lock.signature_aggregate =
            bls::aggregate(&signatures).map(|signature| signature.to_bytes());
        self.lock.node_signatures = if self.lock.definition.version.has_node_signatures() {
            self.enr_keys
                .iter()
                .map(|key| key.sign_digest(lock_hash.as_bytes()))
                .collect()
        } else {
            Vec::new()
        };
    }

    /// Lets the group keys sign all deposits and registrations in the lock again, as they stand.
    pub(crate) fn sign_validators(&mut self) {
        let fork_version = self.lock.definition.fork_version;
        for (validator, group) in self.lock.validators.iter_mut().zip(&self.groups) {
            for deposit in &mut validator.deposits {
                deposit.signature = group.sign(&deposit.signing_root(fork_version)).to_bytes();
            }
            if let Some(registration) = &mut validator.builder_registration {
                registration.signature = group
                    .sign(&registration.signing_root(fork_version))
                    .to_bytes();
            }
        }
    }

    /// Lets the group keys sign all entries of the deposit files again, as they stand, and corrects the roots.
    pub(crate) fn sign_deposit_files(&mut self) {
        for (_, file) in &mut self.deposit_files {
            for entry in &mut file.entries {
                let position = self
                    .lock
                    .validators
                    .iter()
                    .position(|validator| validator.public_key == entry.data.pubkey)
                    .unwrap();
                let root = entry.data.signing_root(entry.fork_version);
                entry.data.signature = self.groups[position].sign(&root).to_bytes();
                entry.deposit_message_root = entry.data.message_root();
                entry.deposit_data_root = entry.data.data_root();
            }
        }
    }

    /// Writes the deposit files anew from the lock.
    pub(crate) fn write_deposit_files(&mut self) {
        let mut amounts: Vec<Gwei> = self.lock.validators[0]
            .deposits
            .iter()
            .map(|deposit| deposit.amount)
            .collect();
        amounts.dedup();
        self.deposit_files = amounts
            .into_iter()
            .map(|amount| (deposit_file_name(amount), deposit_file(&self.lock, amount)))
            .collect();
    }

    /// Replaces the keys of one validator by freshly dealt ones, keystores included; signatures are left as they are.
    pub(crate) fn deal(&mut self, validator: usize, threshold: u32, seed: u8) {
        let group = ShareSecret::from_entropy(&[seed; 32]).unwrap();
        let count = u32::try_from(self.enr_keys.len()).unwrap();
        let shares = bls::split(&group, threshold, count, &[seed ^ 0x55; 32]).unwrap();
        self.groups[validator] = group;
        self.set_shares(validator, shares);
        let public_key = self.groups[validator].public_key().to_bytes();
        let entry = &mut self.lock.validators[validator];
        for deposit in &mut entry.deposits {
            deposit.pubkey = public_key;
        }
        if let Some(registration) = &mut entry.builder_registration {
            registration.pubkey = public_key;
        }
        for (_, file) in &mut self.deposit_files {
            for line in &mut file.entries {
                if line.data.pubkey == entry.public_key {
                    line.data.pubkey = public_key;
                }
            }
            file.sort();
        }
        entry.public_key = public_key;
    }

    /// Sets the shares of one validator, in lock and keystores.
    pub(crate) fn set_shares(&mut self, validator: usize, shares: Vec<ShareSecret>) {
        self.lock.validators[validator].public_shares = shares
            .iter()
            .map(|share| share.public_key().to_bytes())
            .collect();
        for (node, share) in shares.iter().enumerate() {
            self.put_keystore(node, validator, share);
        }
        self.shares[validator] = shares;
    }

    /// Writes a keystore and its password.
    pub(crate) fn put_keystore(&mut self, node: usize, validator: usize, share: &ShareSecret) {
        let (json, password) = keystore_files(validator, share, keystore::CHARON_PBKDF2_ROUNDS);
        let files = &mut self.keystores[node];
        files.retain(|file| file.path != json.path && file.path != password.path);
        files.extend([json, password]);
    }

    /// Moves the cluster to another format version, with what that version has and has not, and signs everything.
    pub(crate) fn convert(&mut self, version: DefinitionVersion) {
        let definition = &mut self.lock.definition;
        definition.version = version;
        let pairs: Vec<AddressPair> = match &definition.validators {
            ValidatorAddresses::Shared(pair) => {
                vec![pair.clone(); usize::try_from(definition.num_validators).unwrap()]
            }
            ValidatorAddresses::PerValidator(pairs) => pairs.clone(),
        };
        definition.validators = if version.has_validators_array() {
            ValidatorAddresses::PerValidator(pairs.clone())
        } else {
            ValidatorAddresses::Shared(pairs[0].clone())
        };
        definition.deposit_amounts = None;
        definition.compounding = false;
        definition.consensus_protocol.clear();
        definition.target_gas_limit = if version.has_target_gas_limit() {
            30_000_000
        } else {
            0
        };
        let fork_version = definition.fork_version;
        let genesis = Network::by_fork_version(fork_version)
            .and_then(|network| network.genesis_time)
            .unwrap();
        let amounts: &[u64] = match version.lock_deposits() {
            LockDeposits::None | LockDeposits::One => &[32],
            LockDeposits::Many => &[1, 32],
        };
        for (validator, pair) in self.lock.validators.iter_mut().zip(&pairs) {
            let address =
                |text: &str| charon_files::cluster::hex::array_from_0x::<20>(text).unwrap();
            let mut withdrawal_credentials = [0; 32];
            withdrawal_credentials[0] = 1;
            withdrawal_credentials[12..].copy_from_slice(&address(&pair.withdrawal_address));
            validator.deposits = amounts
                .iter()
                .map(|amount| charon_files::cluster::DepositData {
                    pubkey: validator.public_key,
                    withdrawal_credentials,
                    amount: Gwei::from_eth(*amount),
                    signature: [0; 96],
                })
                .collect();
            validator.builder_registration = version.has_builder_registration().then(|| {
                charon_files::cluster::BuilderRegistration {
                    fee_recipient: address(&pair.fee_recipient_address),
                    gas_limit: 30_000_000,
                    timestamp: genesis,
                    pubkey: validator.public_key,
                    signature: [0; 96],
                }
            });
        }
        self.sign_validators();
        self.write_deposit_files();
        if version.lock_deposits() == LockDeposits::None {
            for validator in &mut self.lock.validators {
                validator.deposits.clear();
            }
        }
        self.seal();
    }

    /// Lets made-up wallets sign the definition, as creator and operators; the lock must be sealed afterwards.
    pub(crate) fn sign_definition(&mut self) {
        let definition = &mut self.lock.definition;
        // Addresses are part of what is signed.
        for (number, operator) in definition.operators.iter_mut().enumerate() {
            operator.address = address_of(&wallet(number));
        }
        if definition.version.has_creator() {
            definition.creator.address = address_of(&wallet(0));
        }
        let wallets: Vec<usize> = (0..definition.operators.len()).collect();
        self.resign_with(&wallets);
    }

    /// Lets these wallets sign for the operators, and the first for the creator; addresses stay as they are.
    pub(crate) fn resign_with(&mut self, wallets: &[usize]) {
        let definition = &mut self.lock.definition;
        let chain_id = Network::by_fork_version(definition.fork_version)
            .unwrap()
            .chain_id;
        let config_hash = definition.config_hash().unwrap();
        definition.config_hash = Some(config_hash);
        let version = definition.version;
        let config_digest = operator_config_digest(version, &config_hash, chain_id).unwrap();
        for (operator, number) in definition.operators.iter_mut().zip(wallets) {
            let wallet = wallet(*number);
            operator.config_signature = wallet.sign_digest(&config_digest).to_vec();
            operator.enr_signature = wallet
                .sign_digest(&enr_digest(&operator.enr, chain_id))
                .to_vec();
        }
        if version.has_creator() {
            definition.creator.config_signature = wallet(wallets[0])
                .sign_digest(&creator_config_digest(&config_hash, chain_id))
                .to_vec();
        }
    }
}

/// The wallet of an operator.
pub(crate) fn wallet(operator: usize) -> EnrKey {
    EnrKey::from_secret_bytes(&[u8::try_from(operator).unwrap() + 1; 32]).unwrap()
}

fn address_of(wallet: &EnrKey) -> String {
    let signature = wallet.sign_digest(&[9; 32]);
    charon_files::keys::k1::recover(&[9; 32], &signature)
        .unwrap()
        .address()
        .to_string()
}

/// The two files of one keystore.
pub(crate) fn keystore_files(
    validator: usize,
    share: &ShareSecret,
    rounds: u32,
) -> (NamedFile, NamedFile) {
    keystore_files_of("00112233445566778899aabbccddeeff", validator, share, rounds)
}

/// The same with this password.
pub(crate) fn keystore_files_of(
    password: &str,
    validator: usize,
    share: &ShareSecret,
    rounds: u32,
) -> (NamedFile, NamedFile) {
    let nonces = Nonces {
        salt: [1; 32],
        iv: [2; 16],
        uuid: [3; 16],
    };
    let json = keystore::encrypt(
        share,
        &KeystorePassword::new(password.as_bytes()),
        &nonces,
        NonZeroU32::new(rounds).unwrap(),
    )
    .unwrap();
    let path = format!("validator_keys/keystore-{validator}");
    (
        NamedFile::new(format!("{path}.json"), json.into_bytes()),
        NamedFile::new(format!("{path}.txt"), password.as_bytes().to_vec()),
    )
}

/// The shares in all keystores of a ceremony, per validator and node; decrypted once per process.
fn all_shares(name: &str, materials: &[Material], validators: usize) -> Vec<Vec<ShareSecret>> {
    static KNOWN: Mutex<BTreeMap<String, Vec<Vec<ShareSecret>>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap();
    known
        .entry(name.to_owned())
        .or_insert_with(|| {
            (0..validators)
                .map(|validator| {
                    materials
                        .iter()
                        .map(|material| open(&material.keystores, validator))
                        .collect()
                })
                .collect()
        })
        .clone()
}

fn open(files: &[NamedFile], validator: usize) -> ShareSecret {
    let find = |suffix: &str| {
        let path = format!("validator_keys/keystore-{validator}.{suffix}");
        files.iter().find(|file| file.path == path).unwrap()
    };
    Keystore::parse(&find("json").bytes)
        .unwrap()
        .decrypt(&KeystorePassword::new(&find("txt").bytes))
        .unwrap()
}
