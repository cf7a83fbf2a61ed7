//! Versions of which there is no real ceremony here. The files under `synthetic` are made by `generate.py` beside them.

use std::path::{Path, PathBuf};

use charon_files::cluster::eip712::{
    SignatureCheck, check_signature, creator_config_digest, enr_digest, operator_config_digest,
};
use charon_files::cluster::{
    Address, ClusterLock, Definition, DefinitionVersion, Network, Remark, RemarkKind,
};

use crate::naive_hash;

const SYNTHETIC: [&str; 5] = ["v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0", "v1.9.0"];

fn synthetic(kind: &str, version: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cluster/synthetic")
        .join(format!("{kind}-{version}.json"));
    std::fs::read(path).unwrap()
}

#[test]
fn old_and_rare_versions_hash_and_are_written_back() {
    for version in SYNTHETIC {
        let bytes = synthetic("definition", version);
        let parsed = Definition::parse(&bytes).unwrap();
        assert_eq!(parsed.remarks, [], "{version}");
        let definition = parsed.value;
        assert_eq!(definition.version.text(), version);
        assert_eq!(definition.to_json().as_bytes(), bytes, "{version}");
        assert_eq!(
            definition.config_hash().ok(),
            definition.config_hash,
            "{version}"
        );
        assert_eq!(
            definition.definition_hash().ok(),
            definition.definition_hash,
            "{version}"
        );

        let bytes = synthetic("lock", version);
        let parsed = ClusterLock::parse(&bytes).unwrap();
        assert_eq!(parsed.remarks, [], "{version}");
        let lock = parsed.value;
        assert_eq!(lock.definition, definition);
        assert_eq!(lock.to_json().as_bytes(), bytes, "{version}");
        assert_eq!(lock.lock_hash().ok(), lock.lock_hash, "{version}");
    }
}

#[test]
fn the_second_opinion_agrees_with_the_files() {
    for version in SYNTHETIC {
        let json = serde_json::from_slice(&synthetic("lock", version)).unwrap();
        let lock = ClusterLock::parse(&synthetic("lock", version))
            .unwrap()
            .value;
        let lock_hash = lock.lock_hash.unwrap();
        assert_eq!(
            naive_hash::lock_hash(&json),
            *lock_hash.as_bytes(),
            "{version}"
        );
    }
}

/// charon's own test data, which its licence keeps out of this repository. Hash fields of it are sound; keys and
/// signatures are random bytes, some of an impossible length, which are replaced here.
#[test]
#[ignore = "needs charon's source: CHARON_CLUSTER_DIR=<charon>/cluster cargo test --test cluster -- --ignored"]
fn goldens_of_charon() {
    let directory = PathBuf::from(std::env::var("CHARON_CLUSTER_DIR").unwrap());
    let mut seen = Vec::new();
    for version in DefinitionVersion::ALL {
        let suffix = format!("{}.json", version.text().replace('.', "_"));
        let path = directory.join("testdata");
        let bytes = std::fs::read(path.join(format!("cluster_definition_{suffix}"))).unwrap();
        let parsed = Definition::parse(&bytes).unwrap();
        assert_eq!(parsed.remarks, [], "{version}");
        assert_definition_hashes(&parsed.value);
        assert_eq!(parsed.value.to_json(), with_null(&bytes), "{version}");

        let bytes = std::fs::read(path.join(format!("cluster_lock_{suffix}"))).unwrap();
        let text = with_lengths_mended(&bytes);
        let parsed = ClusterLock::parse(text.as_bytes()).unwrap();
        assert_eq!(parsed.remarks, [], "{version}");
        assert_lock_hashes(&parsed.value);
        assert_eq!(
            parsed.value.to_json(),
            with_null(text.as_bytes()),
            "{version}"
        );
        seen.push(version);
    }
    assert_eq!(seen, DefinitionVersion::ALL);

    for number in 0..7 {
        let path = directory.join(format!("examples/cluster-definition-00{number}.json"));
        let parsed = Definition::parse(&std::fs::read(path).unwrap()).unwrap();
        assert_definition_hashes(&parsed.value);
        let remarks: Vec<Remark> = parsed.remarks;
        assert!(
            remarks.iter().all(|it| it.kind == RemarkKind::MissingKey),
            "{remarks:?}"
        );
        // The rest of the examples has no signatures.
        match number {
            0 | 1 => assert_wallet_signatures(&parsed.value, true),
            2 | 3 => assert_wallet_signatures(&parsed.value, false),
            _ => assert!(parsed.value.is_unsigned()),
        }
    }
    for number in 0..4 {
        let path = directory.join(format!("examples/cluster-lock-00{number}.json"));
        let parsed = ClusterLock::parse(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(parsed.remarks, [], "{number}");
        assert_lock_hashes(&parsed.value);
        if number == 3 {
            assert_wallet_signatures(&parsed.value.definition, true);
            assert!(
                parsed
                    .value
                    .validators
                    .iter()
                    .all(|it| it.deposits.is_empty())
            );
        }
    }
}

fn assert_definition_hashes(definition: &Definition) {
    assert_eq!(definition.config_hash().ok(), definition.config_hash);
    assert_eq!(
        definition.definition_hash().ok(),
        definition.definition_hash
    );
}

fn assert_lock_hashes(lock: &ClusterLock) {
    assert_definition_hashes(&lock.definition);
    assert_eq!(lock.lock_hash().ok(), lock.lock_hash);
}

fn assert_wallet_signatures(definition: &Definition, operators_too: bool) {
    let chain_id = Network::by_fork_version(definition.fork_version)
        .unwrap()
        .chain_id;
    let config_hash = definition.config_hash.unwrap();
    let check = |digest, signature: &[u8], address: &str| {
        let address = Address::parse(address).unwrap();
        assert_eq!(
            check_signature(&digest, signature, &address),
            SignatureCheck::Valid
        );
    };
    if operators_too {
        for operator in &definition.operators {
            let digest = operator_config_digest(definition.version, &config_hash, chain_id);
            check(
                digest.unwrap(),
                &operator.config_signature,
                &operator.address,
            );
            let digest = enr_digest(&operator.enr, chain_id);
            check(digest, &operator.enr_signature, &operator.address);
        }
    }
    if definition.version.has_creator() {
        let digest = creator_config_digest(&config_hash, chain_id);
        check(
            digest,
            &definition.creator.config_signature,
            &definition.creator.address,
        );
    }
}

/// The goldens of v1.0.0 and v1.1.0 have an empty text where a real charon writes null for a missing signature.
fn with_null(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).unwrap();
    if !text.contains(r#""nonce""#) {
        return text.to_owned();
    }
    text.replace(r#"_signature": """#, r#"_signature": null"#)
}

/// The aggregate has 32 bytes in the goldens, and so has each node signature.
fn with_lengths_mended(bytes: &[u8]) -> String {
    use base64::Engine;
    let mut json: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    let text = std::str::from_utf8(bytes).unwrap();
    let aggregate = json["signature_aggregate"].take();
    let aggregate = aggregate.as_str().unwrap();
    let mended = if aggregate.starts_with("0x") {
        format!("0x{}", "11".repeat(96))
    } else {
        base64::engine::general_purpose::STANDARD.encode([0x11; 96])
    };
    let mut text = text.replace(aggregate, &mended);
    for signature in json["node_signatures"].as_array().into_iter().flatten() {
        let mended = format!("0x{}", "11".repeat(65));
        text = text.replace(signature.as_str().unwrap(), &mended);
    }
    text
}
