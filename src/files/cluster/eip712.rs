//! EIP-712 statements that operators and creator sign with their wallets (charon `cluster/eip712sigs.go`).
//!
//! The one member of each statement is a *string*: a config hash is signed as its text, `0x` and 64 lower-case digits.

use sha3::{Digest, Keccak256};

use super::address::Address;
use super::hash::ConfigHash;
use super::version::DefinitionVersion;
use crate::keys::k1::{self, EnrKey, EnrKeyError};

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

/// A throw-away wallet for rehearsals and tests, which sign what a launchpad would ask of real ones.
#[derive(Debug)]
pub struct Wallet(EnrKey);

impl Wallet {
    /// The wallet with this secret.
    ///
    /// # Errors
    /// As [`EnrKey::from_secret_bytes`].
    pub fn from_secret_bytes(secret: &[u8; 32]) -> Result<Self, EnrKeyError> {
        EnrKey::from_secret_bytes(secret).map(Self)
    }

    /// The wallet's address.
    pub fn address(&self) -> Address {
        self.0.address()
    }

    /// Signs a digest: R ‖ S ‖ V, V 0 or 1.
    pub fn sign(&self, digest: &[u8; 32]) -> [u8; 65] {
        self.0.sign_digest(digest)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN_ID: u64 = 560_048;

    #[test]
    fn a_wallet_signs_for_its_own_address() {
        // A well-known pair: the secret is 1.
        let mut secret = [0; 32];
        secret[31] = 1;
        let wallet = Wallet::from_secret_bytes(&secret).unwrap();
        let address = wallet.address();
        assert_eq!(
            address.to_string(),
            "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"
        );
        let digest = enr_digest("enr:-", CHAIN_ID);
        let signature = wallet.sign(&digest);
        let check = |signature: &[u8], expected| check_signature(&digest, signature, expected);
        assert_eq!(check(&signature, &address), SignatureCheck::Valid);
        assert_eq!(
            check(&signature, &Address::ZERO),
            SignatureCheck::OtherAddress(address)
        );
        for malformed in [
            &signature[..64],
            &[signature, signature].concat(),
            &[],
            &[0; 65],
        ] {
            assert_eq!(check(malformed, &address), SignatureCheck::Malformed);
        }
    }

    #[test]
    fn every_statement_and_chain_has_its_own_digest() {
        use DefinitionVersion::{V1_2, V1_3, V1_4, V1_11};
        let hash = ConfigHash::new([5; 32]);
        let operator = |version, chain| operator_config_digest(version, &hash, chain);
        assert_eq!(operator(V1_2, CHAIN_ID), None);
        assert_eq!(operator(V1_4, CHAIN_ID), operator(V1_11, CHAIN_ID));
        let digests = [
            operator(V1_3, CHAIN_ID).unwrap(),
            operator(V1_4, CHAIN_ID).unwrap(),
            operator(V1_4, 1).unwrap(),
            creator_config_digest(&hash, CHAIN_ID),
            enr_digest(&hash.to_string(), CHAIN_ID),
        ];
        for (position, digest) in digests.iter().enumerate() {
            assert!(!digests[..position].contains(digest));
        }
    }
}
