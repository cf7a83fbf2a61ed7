//! Every file of every node of every real ceremony under `tests/fixtures/ceremonies`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use charon_files::cluster::eip712::{
    SignatureCheck, check_signature, creator_config_digest, enr_digest, operator_config_digest,
};
use charon_files::cluster::{
    Address, ClusterLock, Definition, DepositFile, Enr, Network, ValidatorIndex, deposit_data,
};
use charon_files::keys::k1::{EnrKey, verify_recoverable};

/// Every ceremony and its number of nodes. A directory that is not listed fails the first test.
const CEREMONIES: [(&str, usize); 10] = [
    ("charon-v0.13.2-def-v1.4.0-n4-v2", 4),
    ("charon-v0.14.4-def-v1.5.0-n4-v2", 4),
    ("charon-v0.16.0-def-v1.6.0-n4-v2", 4),
    ("charon-v0.19.2-def-v1.7.0-n4-v2", 4),
    ("charon-v1.10.3-def-v1.10.0-n10-v3-gnosis-deposits-8-24", 10),
    ("charon-v1.10.3-def-v1.10.0-n4-v2", 4),
    ("charon-v1.10.3-def-v1.10.0-n4-v2-signed", 4),
    ("charon-v1.11.0-rc3-def-v1.11.0-n4-v2", 4),
    ("charon-v1.2.0-def-v1.8.0-n4-v2", 4),
    ("charon-v1.3.3-def-v1.10.0-n4-v2", 4),
];

const SIGNED: &str = "charon-v1.10.3-def-v1.10.0-n4-v2-signed";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/ceremonies")
}

/// The data directories of a ceremony, in the order of operators.
fn data_directories(ceremony: &str, nodes: usize) -> Vec<PathBuf> {
    (0..nodes)
        .map(|node| root().join(ceremony).join(format!("node{node}/.charon")))
        .collect()
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn lock_of(directory: &Path) -> ClusterLock {
    let parsed = ClusterLock::parse(&read(&directory.join("cluster-lock.json"))).unwrap();
    assert_eq!(parsed.remarks, []);
    parsed.value
}

fn deposit_files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("deposit-data")
        })
        .collect();
    files.sort();
    files
}

#[test]
fn every_ceremony_is_tested() {
    let present: BTreeSet<String> = std::fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let listed: BTreeSet<String> = CEREMONIES
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(present, listed);
    for (name, nodes) in CEREMONIES {
        assert_eq!(std::fs::read_dir(root().join(name)).unwrap().count(), nodes);
    }
}

#[test]
fn definitions_hash_and_are_written_as_charon_did() {
    for (ceremony, nodes) in CEREMONIES {
        for directory in data_directories(ceremony, nodes) {
            let bytes = read(&directory.join("cluster-definition.json"));
            let parsed = Definition::parse(&bytes).unwrap();
            assert_eq!(parsed.remarks, [], "{ceremony}");
            let definition = parsed.value;
            assert_eq!(definition.to_json().as_bytes(), bytes, "{ceremony}");
            assert_eq!(definition.config_hash().ok(), definition.config_hash);
            assert_eq!(
                definition.definition_hash().ok(),
                definition.definition_hash
            );
            assert_eq!(definition.clone().with_hashes().unwrap(), definition);
            assert_eq!(definition.operators.len(), nodes);
            assert!(Network::by_fork_version(definition.fork_version).is_some());
            assert_eq!(definition.is_unsigned(), ceremony != SIGNED);
        }
    }
}

#[test]
fn locks_hash_and_are_written_as_charon_did() {
    for (ceremony, nodes) in CEREMONIES {
        for directory in data_directories(ceremony, nodes) {
            let bytes = read(&directory.join("cluster-lock.json"));
            let lock = lock_of(&directory);
            assert_eq!(lock.to_json().as_bytes(), bytes, "{ceremony}");
            assert_eq!(lock.lock_hash().ok(), lock.lock_hash, "{ceremony}");
            let definition = &lock.definition;
            assert_eq!(definition.config_hash().ok(), definition.config_hash);
            assert_eq!(
                definition.definition_hash().ok(),
                definition.definition_hash
            );
            assert_eq!(lock.validators.len() as u64, definition.num_validators);
        }
    }
}

#[test]
fn deposit_files_have_the_right_roots_and_are_written_as_charon_did() {
    for (ceremony, nodes) in CEREMONIES {
        for directory in data_directories(ceremony, nodes) {
            let lock = lock_of(&directory);
            let network = Network::by_fork_version(lock.definition.fork_version).unwrap();
            let files = deposit_files(&directory);
            assert!(!files.is_empty());
            for path in files {
                let bytes = read(&path);
                let parsed = DepositFile::parse(&bytes).unwrap();
                assert_eq!(parsed.remarks, []);
                let mut file = parsed.value;
                assert_eq!(file.to_json().as_bytes(), bytes, "{}", path.display());
                for entry in &file.entries {
                    assert_eq!(entry.data.message_root(), entry.deposit_message_root);
                    assert_eq!(entry.data.data_root(), entry.deposit_data_root);
                    assert_eq!(entry.fork_version, network.fork_version);
                    assert_eq!(entry.network_name, network.name);
                    let name = deposit_data::deposit_file_name(entry.data.amount);
                    assert!(path.ends_with(name), "{}", path.display());
                }
                let as_written = file.clone();
                file.sort();
                assert_eq!(file, as_written);
            }
        }
    }
}

#[test]
fn deposits_in_the_lock_are_those_of_the_files() {
    for (ceremony, nodes) in CEREMONIES {
        let directory = &data_directories(ceremony, nodes)[0];
        let lock = lock_of(directory);
        let from_files: Vec<_> = deposit_files(directory)
            .iter()
            .flat_map(|path| DepositFile::parse(&read(path)).unwrap().value.entries)
            .map(|entry| entry.data)
            .collect();
        for (_, validator) in lock.validators() {
            for deposit in &validator.deposits {
                assert!(from_files.contains(deposit), "{ceremony}");
            }
        }
    }
}

#[test]
fn the_record_of_every_key_is_the_one_in_the_definition() {
    for (ceremony, nodes) in CEREMONIES {
        for (node, directory) in data_directories(ceremony, nodes).iter().enumerate() {
            let lock = lock_of(directory);
            let key = EnrKey::parse(&read(&directory.join("charon-enr-private-key"))).unwrap();
            let enr = Enr::parse(&lock.definition.operators[node].enr).unwrap();
            assert_eq!(*enr.public_key(), key.public_key(), "{ceremony}");
            assert_eq!(enr, key.enr(), "{ceremony}");
            assert_eq!(
                key.to_file_text().as_bytes(),
                read(&directory.join("charon-enr-private-key"))
            );
        }
    }
}

#[test]
fn node_signatures_are_by_the_nodes_and_no_other() {
    let mut checked = 0;
    for (ceremony, nodes) in CEREMONIES {
        let lock = lock_of(&data_directories(ceremony, nodes)[0]);
        let lock_hash = lock.lock_hash.unwrap();
        if !lock.definition.version.has_node_signatures() {
            assert!(lock.node_signatures.is_empty());
            continue;
        }
        assert_eq!(lock.node_signatures.len(), nodes);
        for (signer, signature) in lock.node_signatures.iter().enumerate() {
            for (operator, expected) in lock.definition.operators.iter().enumerate() {
                let key = *Enr::parse(&expected.enr).unwrap().public_key();
                let valid = verify_recoverable(&key, lock_hash.as_bytes(), signature);
                assert_eq!(valid, signer == operator, "{ceremony}");
                checked += 1;
            }
        }
        let key = EnrKey::parse(&read(
            &data_directories(ceremony, nodes)[0].join("charon-enr-private-key"),
        ));
        assert_eq!(
            key.unwrap().sign_digest(lock_hash.as_bytes()),
            lock.node_signatures[0],
            "{ceremony}"
        );
    }
    assert_eq!(checked, 6 * 16 + 100);
}

#[test]
fn wallets_signed_the_signed_definition() {
    let directory = &data_directories(SIGNED, 4)[0];
    let bytes = read(&directory.join("cluster-definition.json"));
    let definition = Definition::parse(&bytes).unwrap().value;
    let chain_id = Network::by_fork_version(definition.fork_version)
        .unwrap()
        .chain_id;
    let config_hash = definition.config_hash.unwrap();
    let config = operator_config_digest(definition.version, &config_hash, chain_id).unwrap();
    for operator in &definition.operators {
        let address = Address::parse(&operator.address).unwrap();
        assert!(address.is_checksummed(&operator.address));
        let enr = enr_digest(&operator.enr, chain_id);
        let check = |digest, signature| check_signature(digest, signature, &address);
        assert_eq!(
            check(&config, &operator.config_signature),
            SignatureCheck::Valid
        );
        assert_eq!(check(&enr, &operator.enr_signature), SignatureCheck::Valid);
        // Neither stands for the other, nor for another chain.
        let other_chain = enr_digest(&operator.enr, chain_id + 1);
        for (digest, signature) in [
            (&config, &operator.enr_signature),
            (&enr, &operator.config_signature),
            (&other_chain, &operator.enr_signature),
        ] {
            assert!(matches!(
                check(digest, signature),
                SignatureCheck::OtherAddress(_)
            ));
        }
    }
    let creator = Address::parse(&definition.creator.address).unwrap();
    let digest = creator_config_digest(&config_hash, chain_id);
    let signature = &definition.creator.config_signature;
    assert_eq!(
        check_signature(&digest, signature, &creator),
        SignatureCheck::Valid
    );
    assert_eq!(
        check_signature(&digest, &signature[..64], &creator),
        SignatureCheck::Malformed
    );
}

#[test]
fn registrations_repeat_the_terms() {
    let mut checked = 0;
    for (ceremony, nodes) in CEREMONIES {
        let lock = lock_of(&data_directories(ceremony, nodes)[0]);
        let definition = &lock.definition;
        for (index, validator) in lock.validators() {
            let present = validator.builder_registration.is_some();
            assert_eq!(present, definition.version.has_builder_registration());
            let Some(registration) = &validator.builder_registration else {
                continue;
            };
            let addresses = definition.addresses_of(index).unwrap();
            let fee_recipient = Address::parse(&addresses.fee_recipient_address).unwrap();
            assert_eq!(Address::new(registration.fee_recipient), fee_recipient);
            assert_eq!(registration.pubkey, validator.public_key);
            let network = Network::by_fork_version(definition.fork_version).unwrap();
            assert_eq!(Some(registration.timestamp), network.genesis_time);
            checked += 1;
        }
        let beyond = ValidatorIndex::new(lock.validators.len());
        assert_eq!(definition.addresses_of(beyond), None);
    }
    assert_eq!(checked, 6 * 2 + 3);
}
