//! EIP-712 statements that operators and creator sign with their wallets (charon `cluster/eip712sigs.go`).
//!
//! The one member of each statement is a *string*: a config hash is signed as its text, `0x` and 64 lower-case digits.

use sha3::{Digest, Keccak256};

use super::address::Address;
use super::hash::ConfigHash;
use super::version::DefinitionVersion;
use crate::keys::k1;

/// What a signature says about who made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureCheck {
    /// The expected address signed.
    Valid,
    /// A well-formed signature, but the key that made it has this address. Either it is forged, or the expected address is
    /// a contract that must be asked itself (EIP-1271).
    OtherAddress(Address),
    /// No signature that any single key could have made: not 65 bytes, V not one of 0, 1, 27 and 28, or R, S out of range.
    Malformed,
}

/// What an operator signs to agree to the terms; `None` before v1.3.0, when there were no such signatures.
pub fn operator_config_digest(
    version: DefinitionVersion,
    config_hash: &ConfigHash,
    chain_id: u64,
) -> Option<[u8; 32]> {
    let (type_name, member) = version.operator_config_statement()?;
    Some(digest(
        type_name,
        member,
        &config_hash.to_string(),
        chain_id,
    ))
}

/// What an operator signs to let a node act for them; `enr` exactly as the definition has it.
pub fn enr_digest(enr: &str, chain_id: u64) -> [u8; 32] {
    digest("ENR", "enr", enr, chain_id)
}

/// What the creator signs; from v1.4.0.
pub fn creator_config_digest(config_hash: &ConfigHash, chain_id: u64) -> [u8; 32] {
    digest(
        "CreatorConfigHash",
        "creator_config_hash",
        &config_hash.to_string(),
        chain_id,
    )
}

/// Whether `signature` (R ‖ S ‖ V) of the digest was made by the key of this address. High S is accepted, as charon does.
pub fn check_signature(digest: &[u8; 32], signature: &[u8], expected: &Address) -> SignatureCheck {
    let recovered = <&[u8; 65]>::try_from(signature)
        .ok()
        .and_then(|signature| k1::recover(digest, signature));
    match recovered.map(|key| key.address()) {
        None => SignatureCheck::Malformed,
        Some(address) if address == *expected => SignatureCheck::Valid,
        Some(address) => SignatureCheck::OtherAddress(address),
    }
}

/// The digest of a statement with a single string member, in charon's domain.
fn digest(type_name: &str, member: &str, value: &str, chain_id: u64) -> [u8; 32] {
    let mut chain = [0; 32];
    chain[24..].copy_from_slice(&chain_id.to_be_bytes());
    let domain = keccak(&[
        &keccak(&[b"EIP712Domain(string name,string version,uint256 chainId)"]),
        &keccak(&[b"Obol"]),
        &keccak(&[b"1"]),
        &chain,
    ]);
    let type_text = format!("{type_name}(string {member})");
    let message = keccak(&[
        &keccak(&[type_text.as_bytes()]),
        &keccak(&[value.as_bytes()]),
    ]);
    keccak(&[&[0x19, 0x01], &domain, &message])
}

fn keccak(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Keccak256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}
