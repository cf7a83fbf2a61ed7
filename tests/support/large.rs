//! A cluster of any size, made from fixed secrets. Only the shape of the definition comes from a fixture.

use std::path::Path;

use charon_files::cluster::{
    AddressPair, BuilderRegistration, ClusterLock, DepositData, DistributedValidator, Gwei,
    Network, ValidatorAddresses,
};
use charon_files::keys::bls::{self, ShareSecret, Signature};
use charon_files::keys::k1::EnrKey;
use rayon::prelude::*;

/// A signed lock of today's format with deposits of 1 and 32 ETH, unsigned by wallets; it passes verification.
pub(crate) fn lock(validators: usize, nodes: usize) -> ClusterLock {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join(
        "tests/fixtures/ceremonies/charon-v1.10.3-def-v1.10.0-n4-v2/node0/.charon/cluster-lock.json",
    );
    let mut lock = ClusterLock::parse(&std::fs::read(fixture).unwrap())
        .unwrap()
        .value;
    let threshold = threshold(nodes);
    let enr_keys = enr_keys(nodes);

    let definition = &mut lock.definition;
    definition.num_validators = u64::try_from(validators).unwrap();
    definition.threshold = u64::try_from(threshold).unwrap();
    let mut operator = definition.operators[0].clone();
    definition.operators = enr_keys
        .iter()
        .map(|key| {
            operator.enr = key.enr().text().to_owned();
            operator.clone()
        })
        .collect();
    let pair = AddressPair {
        fee_recipient_address: "0x1111111111111111111111111111111111111111".to_owned(),
        withdrawal_address: "0x2222222222222222222222222222222222222222".to_owned(),
    };
    definition.validators = ValidatorAddresses::PerValidator(vec![pair; validators]);
    lock.definition = lock.definition.with_hashes().unwrap();

    let fork_version = lock.definition.fork_version;
    let gas_limit = lock.definition.target_gas_limit;
    let genesis = Network::by_fork_version(fork_version)
        .and_then(|network| network.genesis_time)
        .unwrap();
    let (distributed, shares): (Vec<DistributedValidator>, Vec<Vec<ShareSecret>>) = (0..validators)
        .into_par_iter()
        .map(|position| {
            let (group, shares) = secrets(position, nodes);
            let validator = validator(&group, &shares, fork_version, gas_limit, genesis);
            (validator, shares)
        })
        .unzip();
    lock.validators = distributed;
    let lock_hash = lock.lock_hash().unwrap();
    lock.lock_hash = Some(lock_hash);
    let signatures: Vec<Signature> = shares
        .par_iter()
        .flatten()
        .map(|share| share.sign(lock_hash.as_bytes()))
        .collect();
    lock.signature_aggregate = bls::aggregate(&signatures).map(|sum| sum.to_bytes());
    lock.node_signatures = enr_keys
        .iter()
        .map(|key| key.sign_digest(lock_hash.as_bytes()))
        .collect();
    lock
}

fn threshold(nodes: usize) -> usize {
    nodes.saturating_mul(2).div_ceil(3)
}

/// The group's secret and the shares of one validator of such a lock.
pub(crate) fn secrets(validator: usize, nodes: usize) -> (ShareSecret, Vec<ShareSecret>) {
    let group = ShareSecret::from_entropy(&seed(b'g', validator)).unwrap();
    let shares = bls::split(
        &group,
        u32::try_from(threshold(nodes)).unwrap(),
        u32::try_from(nodes).unwrap(),
        &seed(b's', validator),
    )
    .unwrap();
    (group, shares)
}

/// The ENR keys of such a lock.
pub(crate) fn enr_keys(nodes: usize) -> Vec<EnrKey> {
    (0..nodes)
        .map(|node| EnrKey::from_secret_bytes(&seed(b'e', node)).unwrap())
        .collect()
}

fn validator(
    group: &ShareSecret,
    shares: &[ShareSecret],
    fork_version: [u8; 4],
    gas_limit: u64,
    genesis: u64,
) -> DistributedValidator {
    let public_key = group.public_key().to_bytes();
    let mut withdrawal_credentials = [0x22; 32];
    withdrawal_credentials[..12].copy_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let deposits = [1, 32]
        .map(|amount| {
            let mut deposit = DepositData {
                pubkey: public_key,
                withdrawal_credentials,
                amount: Gwei::from_eth(amount),
                signature: [0; 96],
            };
            deposit.signature = group.sign(&deposit.signing_root(fork_version)).to_bytes();
            deposit
        })
        .to_vec();
    let mut registration = BuilderRegistration {
        fee_recipient: [0x11; 20],
        gas_limit,
        timestamp: genesis,
        pubkey: public_key,
        signature: [0; 96],
    };
    let root = registration.signing_root(fork_version);
    registration.signature = group.sign(&root).to_bytes();
    DistributedValidator {
        public_key,
        public_shares: shares
            .iter()
            .map(|share| share.public_key().to_bytes())
            .collect(),
        deposits,
        stated_deposit_roots: Vec::new(),
        builder_registration: Some(registration),
    }
}

/// Secrets that differ by kind and number.
fn seed(kind: u8, number: usize) -> [u8; 32] {
    let mut seed = [kind; 32];
    seed[..8].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
    seed
}
