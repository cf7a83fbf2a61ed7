//! Reads ceremonies of the fixtures, signs receipts with their real ENR keys, and writes and reads the format a second
//! time, from its description alone.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use charon_files::cluster::names::FileDigest;
use charon_files::cluster::{ClusterLock, NodeIndex};
use charon_files::keys::k1::EnrKey;
use charon_proof::cluster::Cluster;
use charon_proof::receipt::{CharonImage, DepositFiles, Receipt, Statement};
use charon_proof::verify::{Expectations, Material, NamedFile, Options, Scope, verify};
use sha2::{Digest, Sha256};

/// When every receipt of these tests was signed, in seconds of Unix time.
pub(crate) const TODAY: u64 = 1_790_000_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/ceremonies")
}

/// All ceremonies of the fixtures.
pub(crate) fn ceremony_names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(!names.is_empty());
    names
}

/// The operators of one ceremony, with all their keys.
#[derive(Debug)]
pub(crate) struct Group {
    path: PathBuf,
    pub(crate) lock: ClusterLock,
    pub(crate) cluster: Cluster,
    pub(crate) keys: Vec<EnrKey>,
    /// What must never be in a receipt, by node.
    pub(crate) secrets: Vec<Vec<String>>,
    pub(crate) deposit_files: Vec<FileDigest>,
}

impl Group {
    pub(crate) fn read(name: &str) -> Self {
        let path = root().join(name);
        let data_dir = |node: usize| path.join(format!("node{node}/.charon"));
        let bytes = std::fs::read(data_dir(0).join("cluster-lock.json")).unwrap();
        let lock = ClusterLock::parse(&bytes).unwrap().value;
        let material = Material {
            cluster_lock: Some(NamedFile::new("cluster-lock.json", bytes)),
            ..Material::default()
        };
        let options = Options::new(Scope::LockOnly);
        let outcome = verify(&material, &Expectations::default(), &options);
        let nodes = 0..lock.definition.operators.len();
        let key = |node| std::fs::read(data_dir(node).join("charon-enr-private-key")).unwrap();
        let secrets = |node| {
            let keystores = data_dir(node).join("validator_keys");
            let mut secrets = vec![String::from_utf8(key(node)).unwrap().trim().to_owned()];
            for number in 0..lock.validators.len() {
                let file = keystores.join(format!("keystore-{number}.txt"));
                secrets.push(std::fs::read_to_string(file).unwrap());
            }
            secrets
        };
        let mut deposit_files = Vec::new();
        for entry in std::fs::read_dir(data_dir(0)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.starts_with("deposit-data") {
                let bytes = std::fs::read(data_dir(0).join(&name)).unwrap();
                deposit_files.push(FileDigest::of(name, &bytes));
            }
        }
        deposit_files.sort_by(|a, b| a.path.cmp(&b.path));
        Self {
            cluster: outcome.cluster.unwrap(),
            keys: nodes
                .clone()
                .map(|node| EnrKey::parse(&key(node)).unwrap())
                .collect(),
            secrets: nodes.map(secrets).collect(),
            deposit_files,
            lock,
            path,
        }
    }

    /// The usual ceremony, read once.
    pub(crate) fn cached() -> &'static Self {
        static USUAL: OnceLock<Group> = OnceLock::new();
        USUAL.get_or_init(|| Self::read(super::USUAL))
    }

    pub(crate) fn statement(&self, node: usize) -> Statement {
        Statement {
            node: NodeIndex::new(node),
            operators: u16::try_from(self.keys.len()).unwrap(),
            lock_hash: self.lock.lock_hash().unwrap(),
            definition_hash: self.lock.definition.definition_hash().unwrap(),
            keystores: u32::try_from(self.lock.validators.len()).unwrap(),
            deposit_files: DepositFiles::of(&self.deposit_files),
            charon_image: Some(CharonImage::Manifest([0xab; 32])),
            charon_version: Some("v1.10.3".parse().unwrap()),
            program_version: "0.1.0".to_owned(),
            time: TODAY,
        }
    }

    /// What this operator says when told to say something else.
    pub(crate) fn signed(&self, node: usize, edit: impl FnOnce(&mut Statement)) -> Receipt {
        let mut statement = self.statement(node);
        edit(&mut statement);
        Receipt::sign(statement, &self.keys[node]).unwrap()
    }

    pub(crate) fn receipt(&self, node: usize) -> Receipt {
        self.signed(node, |_| {})
    }

    pub(crate) fn receipts(&self) -> Vec<Receipt> {
        (0..self.keys.len())
            .map(|node| self.receipt(node))
            .collect()
    }

    /// One node's data directory.
    pub(crate) fn material(&self, node: usize) -> Material {
        let data_dir = self.path.join(format!("node{node}/.charon"));
        let file = |name: &str| NamedFile::new(name, std::fs::read(data_dir.join(name)).unwrap());
        let keystores = std::fs::read_dir(data_dir.join("validator_keys")).unwrap();
        Material {
            definition: Some(file("cluster-definition.json")),
            cluster_lock: Some(file("cluster-lock.json")),
            enr_key: Some(file("charon-enr-private-key")),
            deposit_data: self
                .deposit_files
                .iter()
                .map(|vouched| file(&vouched.path))
                .collect(),
            keystores: keystores
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .map(|name| file(&format!("validator_keys/{name}")))
                .collect(),
            ..Material::default()
        }
    }
}

const ALPHABET: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// The bytes of a line, checksum included, whether or not it is right.
pub(crate) fn decode(text: &str) -> Vec<u8> {
    let (_, body) = text.split_once('1').unwrap();
    let bits: String = body
        .strip_suffix('1')
        .unwrap()
        .chars()
        .map(|c| {
            format!(
                "{:05b}",
                ALPHABET.find(c).expect("a character of the alphabet")
            )
        })
        .collect();
    bits.as_bytes()
        .chunks_exact(8)
        .map(|byte| u8::from_str_radix(str::from_utf8(byte).unwrap(), 2).unwrap())
        .collect()
}

/// A receipt from these bytes, the last four replaced by the right checksum.
pub(crate) fn armour(bytes: Vec<u8>) -> String {
    armour_as("receipt", bytes)
}

/// A line of a kind from these bytes, the last four replaced by the right checksum.
pub(crate) fn armour_as(kind: &str, mut bytes: Vec<u8>) -> String {
    let content = bytes.len() - 4;
    let checksum = Sha256::new()
        .chain_update(format!("charon-dkg {kind} checksum\n"))
        .chain_update(&bytes[..content])
        .finalize();
    bytes[content..].copy_from_slice(&checksum[..4]);
    let mut bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    while !bits.len().is_multiple_of(5) {
        bits.push('0');
    }
    let body: String = bits
        .as_bytes()
        .chunks(5)
        .map(|char| usize::from_str_radix(str::from_utf8(char).unwrap(), 2).unwrap())
        .map(|value| char::from(ALPHABET.as_bytes()[value]))
        .collect();
    format!("dkg{kind}1{body}1")
}
