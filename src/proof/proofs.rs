//! A node's own record of what it proved before, so that the next verification of the same files need only hash them.
//!
//! The record is of no use to anyone else: it is authenticated with a secret derived from the ENR key, over all
//! its contents, the data directory, and the checks that proved it. Someone who can write the file but does not have the key
//! cannot add a digest, and a record that is carried into another directory or beside another key, or that another program
//! with other checks made, is refused. What is let through is what was proved: see [`Proved::recognise`]. Where anything
//! has changed, everything is checked anew but two questions: whether a password opens a keystore, for exactly these bytes
//! of both files, and whether a contract wallet made a signature, which takes a network to ask.

use hmac::Mac as _;
use serde::{Deserialize, Serialize};

use crate::verify::Proved;
use charon_files::cluster::definition::MAX_DEFINITION_BYTES;
use charon_files::cluster::names::FileDigest;
use charon_files::cluster::{Definition, LockHash, NodeIndex};
use charon_files::keys::k1::EnrKey;

/// The format that this program writes and the only one it reads.
const FORMAT: u32 = 2;

const PURPOSE: &[u8] = b"charon-dkg proved files";

/// Longest record read, in bytes: 65536 keystores, the most that a cluster can have, at 80 bytes each, and the definition
/// with a backslash before each quote.
pub const MAX_RECORD_BYTES: u64 = (5 << 20) + 2 * MAX_DEFINITION_BYTES as u64;

/// Which data directory a record is for: its inode number. That stays what it is when the directory is mounted into a
/// container, and is another one in a copy or a restored backup, where the first proof is made from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectoryId(pub u64);

/// Which checks proved it: a digest over the sources of the program that carried them out, in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChecksId<'a>(pub &'a str);

/// Why a record is not relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not what this program writes.
    #[error("not a record of what was proved in format {FORMAT}")]
    Format,
    /// Another program with other checks made it.
    #[error("a record of what other checks proved")]
    OtherChecks,
    /// Not made with this ENR key or not for this directory, or changed since.
    #[error("a record of what was proved that this ENR key did not make for this directory")]
    NotOurs,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    proved: Content,
    mac: String,
}

/// What is authenticated, as JSON in this order without white space.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: u32,
    checks: String,
    lock_hash: String,
    node: usize,
    /// As JSON.
    definition: String,
    files: Vec<FileDigest>,
    keystores: Vec<String>,
    contract_signatures: Vec<String>,
}

/// Reads a record and relies on it if this key made it for this data directory, after these checks.
///
/// # Errors
/// Otherwise. Then everything is proved from the beginning.
pub fn open(
    record: &[u8],
    key: &EnrKey,
    directory: DirectoryId,
    checks: ChecksId<'_>,
) -> Result<Proved, ProofError> {
    let File { proved, mac } = serde_json::from_slice(record).map_err(|_| ProofError::Format)?;
    if proved.format != FORMAT {
        return Err(ProofError::Format);
    }
    if proved.checks != checks.0 {
        return Err(ProofError::OtherChecks);
    }
    // Compared in constant time.
    key.mac(PURPOSE)
        .chain_update(message(&proved, key, directory)?)
        .verify(&digest(&mac)?.into())
        .map_err(|_| ProofError::NotOurs)?;
    let digests = |texts: &[String]| texts.iter().map(digest).collect::<Result<_, _>>();
    Ok(Proved {
        lock_hash: LockHash::parse(&proved.lock_hash).ok_or(ProofError::Format)?,
        node: NodeIndex::new(proved.node),
        definition: Definition::parse(proved.definition.as_bytes())
            .map_err(|_| ProofError::Format)?
            .value,
        keystores: digests(&proved.keystores)?,
        contract_signatures: digests(&proved.contract_signatures)?,
        files: proved.files,
    })
}

/// The record as this key makes it for this data directory, after these checks.
///
/// # Errors
/// [`ProofError::Format`] if JSON could not be written, which does not happen.
pub fn seal(
    proved: &Proved,
    key: &EnrKey,
    directory: DirectoryId,
    checks: ChecksId<'_>,
) -> Result<String, ProofError> {
    let content = Content {
        format: FORMAT,
        checks: checks.0.to_owned(),
        lock_hash: proved.lock_hash.to_string(),
        node: proved.node.position(),
        definition: proved.definition.to_json(),
        files: proved.files.clone(),
        keystores: proved.keystores.iter().map(hex::encode).collect(),
        contract_signatures: proved.contract_signatures.iter().map(hex::encode).collect(),
    };
    let mac = key
        .mac(PURPOSE)
        .chain_update(message(&content, key, directory)?)
        .finalize()
        .into_bytes();
    Ok(charon_files::text::to_json(&File {
        proved: content,
        mac: hex::encode(mac),
    }))
}

fn digest(text: &String) -> Result<[u8; 32], ProofError> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| ProofError::Format)?;
    Ok(bytes)
}

/// Key and directory in fixed width, and the content.
fn message(content: &Content, key: &EnrKey, directory: DirectoryId) -> Result<Vec<u8>, ProofError> {
    let mut message = key.public_key().as_bytes().to_vec();
    message.extend(directory.0.to_be_bytes());
    serde_json::to_writer(&mut message, content).map_err(|_| ProofError::Format)?;
    Ok(message)
}
