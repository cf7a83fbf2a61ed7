//! A node's own record of the keystores that it proved before, so that the next verification need not stretch their
//! passwords again, which takes nearly all of its time.
//!
//! The record is worth nothing to anybody else: it is authenticated with a secret that follows from the ENR key, over the
//! lock hash, the node, the directory and the digests. Whoever can write the file but does not have the key cannot add a
//! digest, and a record that is carried into another directory or beside another key is refused. What it lets through is two questions
//! only: whether a password opens a keystore, for exactly these bytes of both files, and whether a contract wallet made a
//! signature, which takes a network to ask. Everything else is checked anew.

use std::collections::HashSet;

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};

use crate::verify::Verified;
use charon_files::cluster::{LockHash, NodeIndex};
use charon_files::keys::k1::EnrKey;

/// The format that this program writes and the only one it reads.
const FORMAT: u32 = 1;

const PURPOSE: &[u8] = b"charon-dkg proved keystores";

/// Longest record read, in bytes: 65536 keystores, the most that a cluster can have, at 70 bytes each.
pub const MAX_RECORD_BYTES: u64 = 5 << 20;

/// Which data directory a record is for: its inode number. That stays what it is when the directory is mounted into a
/// container, and is another one in a copy or a restored backup, where the first proof is made from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectoryId(pub u64);

/// Keystores that one node proved, all of them together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvedKeystores {
    lock_hash: LockHash,
    node: NodeIndex,
    digests: HashSet<[u8; 32]>,
    contracts: HashSet<[u8; 32]>,
}

/// Why a record is not relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not what this program writes.
    #[error("not a record of proved keystores in format {FORMAT}")]
    Format,
    /// Not made with this ENR key or not for this directory, or changed since.
    #[error("a record of proved keystores that this ENR key did not make for this directory")]
    NotOurs,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    lock_hash: String,
    node: usize,
    keystores: Vec<String>,
    contract_signatures: Vec<String>,
    mac: String,
}

impl ProvedKeystores {
    /// What this proof proved.
    pub fn of(verified: &Verified) -> Self {
        Self {
            lock_hash: verified.lock_hash(),
            node: verified.node_index(),
            digests: verified.keystore_digests().iter().copied().collect(),
            contracts: verified.contract_signatures().iter().copied().collect(),
        }
    }

    /// Reads a record and relies on it if this key made it for this data directory.
    ///
    /// # Errors
    /// Otherwise. Then everything is proved from the beginning.
    pub fn open(record: &[u8], key: &EnrKey, directory: DirectoryId) -> Result<Self, ProofError> {
        let file: File = serde_json::from_slice(record).map_err(|_| ProofError::Format)?;
        if file.format != FORMAT {
            return Err(ProofError::Format);
        }
        let digest = |text: &String| {
            let mut bytes = [0; 32];
            hex::decode_to_slice(text, &mut bytes).map_err(|_| ProofError::Format)?;
            Ok(bytes)
        };
        let proved = Self {
            lock_hash: LockHash::parse(&file.lock_hash).ok_or(ProofError::Format)?,
            node: NodeIndex::new(file.node),
            digests: file
                .keystores
                .iter()
                .map(digest)
                .collect::<Result<_, _>>()?,
            contracts: file
                .contract_signatures
                .iter()
                .map(digest)
                .collect::<Result<_, _>>()?,
        };
        // Compared in constant time.
        hmac::verify(
            &mac_key(key),
            &proved.content(key, directory),
            &digest(&file.mac)?,
        )
        .map_err(|_| ProofError::NotOurs)?;
        Ok(proved)
    }

    /// The record as this key makes it for this data directory.
    pub fn seal(&self, key: &EnrKey, directory: DirectoryId) -> String {
        let mac = hmac::sign(&mac_key(key), &self.content(key, directory));
        charon_files::text::to_json(&File {
            format: FORMAT,
            lock_hash: self.lock_hash.to_string(),
            node: self.node.position(),
            keystores: sorted(&self.digests).into_iter().map(hex::encode).collect(),
            contract_signatures: sorted(&self.contracts)
                .into_iter()
                .map(hex::encode)
                .collect(),
            mac: hex::encode(mac),
        })
    }

    /// Whether a keystore with this digest was proved; what [`crate::verify::Options::proved_keystores`] asks.
    pub fn contains(&self, digest: &[u8; 32]) -> bool {
        self.digests.contains(digest)
    }

    /// Whether a contract confirmed the signature with this [`crate::verify::ContractQuestion::id`]. Wallets may change their
    /// owners later; what counts is that they signed when the ceremony began.
    pub fn contains_contract_signature(&self, id: &[u8; 32]) -> bool {
        self.contracts.contains(id)
    }

    /// Whether the record belongs to what was verified: a verification that relied on one that does not is repeated.
    pub fn is_for(&self, verified: &Verified) -> bool {
        (self.lock_hash, self.node) == (verified.lock_hash(), verified.node_index())
    }

    /// Fields of fixed width, the number of keystores among them, and digests to the end.
    fn content(&self, key: &EnrKey, directory: DirectoryId) -> Vec<u8> {
        let digests = self.digests.len() + self.contracts.len();
        let mut content = Vec::with_capacity(89 + digests * 32);
        content.extend(key.public_key().as_bytes());
        content.extend(directory.0.to_be_bytes());
        content.extend(self.lock_hash.as_bytes());
        // What is in memory fits 64 bits.
        for number in [self.node.position(), self.digests.len()] {
            content.extend(u64::try_from(number).unwrap_or(u64::MAX).to_be_bytes());
        }
        for digest in sorted(&self.digests)
            .into_iter()
            .chain(sorted(&self.contracts))
        {
            content.extend(digest);
        }
        content
    }
}

fn sorted(digests: &HashSet<[u8; 32]>) -> Vec<&[u8; 32]> {
    let mut sorted: Vec<&[u8; 32]> = digests.iter().collect();
    sorted.sort_unstable();
    sorted
}

fn mac_key(key: &EnrKey) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key.derive(PURPOSE).as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: DirectoryId = DirectoryId(12);

    fn key(secret: u8) -> EnrKey {
        EnrKey::from_secret_bytes(&[secret; 32]).unwrap()
    }

    fn proved() -> ProvedKeystores {
        ProvedKeystores {
            lock_hash: LockHash::new([1; 32]),
            node: NodeIndex::new(2),
            digests: [[3; 32], [4; 32]].into(),
            contracts: [[6; 32]].into(),
        }
    }

    #[test]
    fn a_record_is_read_back_by_the_key_that_made_it_and_by_no_other() {
        let record = proved().seal(&key(7), HERE);
        assert_eq!(
            ProvedKeystores::open(record.as_bytes(), &key(7), HERE),
            Ok(proved())
        );
        assert_eq!(
            ProvedKeystores::open(record.as_bytes(), &key(8), HERE),
            Err(ProofError::NotOurs)
        );
        assert!(!record.contains(&"07".repeat(16)));
        assert!(proved().contains(&[3; 32]) && !proved().contains(&[5; 32]));
        // One kind does not stand for the other.
        assert!(!proved().contains(&[6; 32]) && !proved().contains_contract_signature(&[3; 32]));
        assert!(proved().contains_contract_signature(&[6; 32]));
    }

    #[test]
    fn no_change_of_a_record_is_relied_on() {
        let record = proved().seal(&key(7), HERE);
        let edits = [
            (hex::encode([3; 32]), hex::encode([5; 32])),
            (hex::encode([1; 32]), hex::encode([2; 32])),
            ("\"node\": 2".to_owned(), "\"node\": 1".to_owned()),
            (format!("\"{}\",", hex::encode([3; 32])), String::new()),
            (hex::encode([6; 32]), hex::encode([7; 32])),
            // A keystore is made a contract's signature.
            (
                format!(
                    ",\n    \"{}\"\n  ],\n  \"contract_signatures\": [",
                    hex::encode([4; 32])
                ),
                format!(
                    "\n  ],\n  \"contract_signatures\": [\n    \"{}\",",
                    hex::encode([4; 32])
                ),
            ),
            (
                format!("\"{}\"", hex::encode([4; 32])),
                format!("\"{}\", \"{}\"", hex::encode([4; 32]), hex::encode([5; 32])),
            ),
        ];
        for (from, to) in edits {
            let edited = record.replace(&from, &to);
            assert_ne!(edited, record);
            assert_eq!(
                ProvedKeystores::open(edited.as_bytes(), &key(7), HERE),
                Err(ProofError::NotOurs),
                "{edited}"
            );
        }
        for no_record in [
            "",
            "{}",
            "[]",
            &record.replace("\"format\": 1", "\"format\": 2"),
        ] {
            assert_eq!(
                ProvedKeystores::open(no_record.as_bytes(), &key(7), HERE),
                Err(ProofError::Format)
            );
        }
        for at in 0..record.len() {
            let mut bytes = record.clone().into_bytes();
            bytes[at] ^= 1;
            // Letter case of a digit is no change.
            if let Ok(read) = ProvedKeystores::open(&bytes, &key(7), HERE) {
                assert_eq!(read, proved());
            }
        }
    }
}
