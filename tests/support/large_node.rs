//! The data directory of the first node of a large cluster, complete and private.

use std::fs;
use std::num::NonZeroU32;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use charon_files::cluster::names::FileDigest;
use charon_files::cluster::{ClusterLock, Gwei};
use charon_files::keys::keystore::{CHARON_PBKDF2_ROUNDS, KeystorePassword, Nonces, encrypt};
use charon_proof::receipt::Receipt;
use rayon::prelude::*;
use ring::pbkdf2;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::deposit_file::deposit_file;
use crate::{large, receipts};

const PASSWORD: &str = "00112233445566778899aabbccddeeff";
const NONCES: Nonces = Nonces {
    salt: [1; 32],
    iv: [2; 16],
    uuid: [3; 16],
};

/// Writes lock, deposits, ENR key and keystores into `project/.charon`, and gives the receipts of all operators.
pub(crate) fn write(project: &Path, lock: &ClusterLock) -> Vec<Receipt> {
    let data_dir = project.join(".charon");
    let nodes = lock.definition.operators.len();
    let keys = large::enr_keys(nodes);
    let make = |dir: &Path| fs::DirBuilder::new().mode(0o700).create(dir).unwrap();
    make(&data_dir);
    make(&data_dir.join("validator_keys"));
    let put = |name: &str, bytes: &[u8]| {
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600);
        std::io::Write::write_all(&mut file.open(data_dir.join(name)).unwrap(), bytes).unwrap();
    };
    put("cluster-lock.json", lock.to_json().as_bytes());
    put("charon-enr-private-key", keys[0].to_file_text().as_bytes());
    let deposits = [("deposit-data-1eth.json", 1), ("deposit-data.json", 32)];
    let deposits = deposits.map(|(name, amount)| {
        let json = deposit_file(lock, Gwei::from_eth(amount)).to_json();
        put(name, json.as_bytes());
        FileDigest::of(name, json.as_bytes())
    });
    keystores(lock.validators.len(), nodes)
        .par_iter()
        .enumerate()
        .for_each(|(position, keystore)| {
            let name = format!("validator_keys/keystore-{position}");
            put(&format!("{name}.json"), keystore.as_bytes());
            put(&format!("{name}.txt"), PASSWORD.as_bytes());
        });
    receipts::receipts(lock, &keys, &deposits)
}

/// Keystores of charon's full cost. One salt, one password and one key stream serve them all, so that the password is
/// stretched for the first alone.
fn keystores(validators: usize, nodes: usize) -> Vec<String> {
    let rounds = NonZeroU32::new(CHARON_PBKDF2_ROUNDS).unwrap();
    let mut derived = [0; 32];
    let password = PASSWORD.as_bytes();
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        rounds,
        &NONCES.salt,
        password,
        &mut derived,
    );
    let share = |validator: usize| large::secrets(validator, nodes).1.swap_remove(0);
    let first = share(0);
    let json = encrypt(&first, &KeystorePassword::new(password), &NONCES, rounds).unwrap();
    let shape: Value = serde_json::from_str(&json).unwrap();
    let message = |value: &Value| hex::decode(value["message"].as_str().unwrap()).unwrap();
    let xor = |one: &[u8], other: &[u8]| -> Vec<u8> {
        let pairs = one.iter().zip(other);
        pairs.map(|(one, other)| one ^ other).collect()
    };
    let stream = xor(&message(&shape["crypto"]["cipher"]), &first.to_bytes()[..]);
    (0..validators)
        .into_par_iter()
        .map(|validator| {
            let share = share(validator);
            let cipher_text = xor(&stream, &share.to_bytes()[..]);
            let checksum = Sha256::new()
                .chain_update(&derived[16..])
                .chain_update(&cipher_text)
                .finalize();
            let mut keystore = shape.clone();
            keystore["crypto"]["cipher"]["message"] = hex::encode(&cipher_text).into();
            keystore["crypto"]["checksum"]["message"] = hex::encode(checksum).into();
            keystore["pubkey"] = hex::encode(share.public_key().to_bytes()).into();
            serde_json::to_string_pretty(&keystore).unwrap()
        })
        .collect()
}
