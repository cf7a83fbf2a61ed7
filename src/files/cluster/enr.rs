//! Ethereum node records (EIP-778) as charon reads them (charon `eth2util/enr`).
//!
//! The `enr` crate is not used: it refuses the `=` padding of old records, which charon accepts, and it signs with fresh
//! randomness, while charon's record of a key is always the same text. Composing is [`k1::EnrKey::enr`].

use std::fmt;

use alloy_rlp::{Decodable, Header};
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha3::{Digest, Keccak256};

use crate::keys::k1::{self, EnrPublicKey};

/// Most bytes of an encoded record (EIP-778).
const MAX_RECORD_BYTES: usize = 300;

/// Base64url with or without padding; charon up to v0.9.0 wrote it with.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A node's signed public record, its signature verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enr {
    text: String,
    sequence: u64,
    public_key: EnrPublicKey,
}

/// Why a text is no valid record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnrError {
    /// The text is empty: the operator has not joined yet.
    #[error("the ENR is empty")]
    Empty,
    /// Not `enr:` at the start; `enr://` is another spelling that charon does not read.
    #[error("the ENR does not start with enr: and a record")]
    Prefix,
    /// Not base64url.
    #[error("the ENR is not base64url text")]
    Base64,
    /// Longer than EIP-778 allows.
    #[error("the ENR has {0} bytes, expected at most {MAX_RECORD_BYTES}")]
    TooLong(usize),
    /// Not an RLP list of signature, sequence number and pairs.
    #[error("the ENR is not an RLP list of signature, sequence number, keys and values")]
    Structure,
    /// Keys that are not in strictly ascending order, so that one may be there twice.
    #[error("the keys of the ENR are not unique and in order")]
    KeyOrder,
    /// No identity scheme, or another than `v4`.
    #[error("the identity scheme of the ENR is not v4")]
    IdentityScheme,
    /// No compressed secp256k1 public key.
    #[error("the ENR has no secp256k1 public key")]
    PublicKey,
    /// The signature is not by the record's own key.
    #[error("the signature of the ENR is wrong")]
    Signature,
}

impl Enr {
    /// Reads and verifies a record.
    ///
    /// # Errors
    /// If it is no valid v4 record of at most 300 bytes with unique sorted keys and a good signature. Where charon is more
    /// lenient than EIP-778 (order of keys, absent `id`, uncompressed keys) this is not: no tool writes such records.
    pub fn parse(text: &str) -> Result<Self, EnrError> {
        if text.is_empty() {
            return Err(EnrError::Empty);
        }
        let encoded = text.strip_prefix("enr:").ok_or(EnrError::Prefix)?;
        if encoded.starts_with("//") {
            return Err(EnrError::Prefix);
        }
        // Before the work: base64 needs four characters for three bytes, and padding.
        if encoded.len() > MAX_RECORD_BYTES.div_ceil(3) * 4 {
            return Err(EnrError::TooLong(encoded.len() / 4 * 3));
        }
        let bytes = BASE64.decode(encoded).map_err(|_| EnrError::Base64)?;
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(EnrError::TooLong(bytes.len()));
        }
        let record = Record::decode(&bytes).ok_or(EnrError::Structure)?;
        if !record.pairs.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err(EnrError::KeyOrder);
        }
        if record.value(b"id") != Some(b"v4") {
            return Err(EnrError::IdentityScheme);
        }
        let public_key = record
            .value(b"secp256k1")
            .and_then(EnrPublicKey::parse)
            .ok_or(EnrError::PublicKey)?;
        let digest: [u8; 32] = Keccak256::digest(list(record.content)).into();
        if !k1::verify(&public_key, &digest, record.signature) {
            return Err(EnrError::Signature);
        }
        Ok(Self {
            text: text.to_owned(),
            sequence: record.sequence,
            public_key,
        })
    }

    /// The record that charon composes for a key: sequence number 0 and nothing but identity scheme and public key.
    /// `sign` is given the digest and returns R ‖ S.
    pub(crate) fn compose(public_key: EnrPublicKey, sign: impl Fn(&[u8; 32]) -> [u8; 64]) -> Self {
        let mut content = Vec::new();
        for item in [
            b"".as_slice(),
            b"id",
            b"v4",
            b"secp256k1",
            public_key.as_bytes(),
        ] {
            alloy_rlp::Encodable::encode(item, &mut content);
        }
        let signature = sign(&Keccak256::digest(list(&content)).into());
        let mut payload = Vec::new();
        alloy_rlp::Encodable::encode(signature.as_slice(), &mut payload);
        payload.extend_from_slice(&content);
        Self {
            text: format!("enr:{}", BASE64.encode(list(&payload))),
            sequence: 0,
            public_key,
        }
    }

    /// The text exactly as it was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The sequence number: 0 in charon's records since v0.14, milliseconds of Unix time before.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The node's public key.
    pub fn public_key(&self) -> &EnrPublicKey {
        &self.public_key
    }
}

impl fmt::Display for Enr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A decoded record; the slices are of its bytes.
struct Record<'a> {
    signature: &'a [u8],
    /// Sequence number and pairs as encoded: what is signed.
    content: &'a [u8],
    sequence: u64,
    pairs: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Record<'a> {
    fn decode(mut bytes: &'a [u8]) -> Option<Self> {
        let mut payload = Header::decode_bytes(&mut bytes, true).ok()?;
        if !bytes.is_empty() {
            return None;
        }
        let signature = Header::decode_bytes(&mut payload, false).ok()?;
        let content = payload;
        let sequence = u64::decode(&mut payload).ok()?;
        let mut pairs = Vec::new();
        while !payload.is_empty() {
            let key = Header::decode_bytes(&mut payload, false).ok()?;
            let value = Header::decode_bytes(&mut payload, false).ok()?;
            pairs.push((key, value));
        }
        Some(Self {
            signature,
            content,
            sequence,
            pairs,
        })
    }

    fn value(&self, key: &[u8]) -> Option<&'a [u8]> {
        self.pairs
            .iter()
            .find(|(candidate, _)| *candidate == key)
            .map(|(_, value)| *value)
    }
}

/// The payload as an RLP list.
fn list(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 3);
    Header {
        list: true,
        payload_length: payload.len(),
    }
    .encode(&mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

impl k1::EnrKey {
    /// The record that charon prints for this key (`charon enr`); always the same text, since signatures are
    /// deterministic (RFC 6979).
    pub fn enr(&self) -> Enr {
        Enr::compose(self.public_key(), |digest| {
            let mut signature = [0; 64];
            signature.copy_from_slice(&self.sign_digest(digest)[..64]);
            signature
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example record of EIP-778, with address and port.
    const EXAMPLE: &str = "enr:-IS4QHCYrYZbAKWCBRlAy5zzaDZXJBGkcnh4MHcBFZntXNFrdvJjX04jRzjzCBOonrkTfj499SZuOh8R33Ls8RRcy5wBgmlkgnY0gmlwhH8AAAGJc2VjcDI1NmsxoQPKY0yuDUmstAHYpMa2_oxVtw0RW_QAdpzBQA8yWM0xOIN1ZHCCdl8";

    #[test]
    fn the_example_of_the_eip_is_read() {
        let enr = Enr::parse(EXAMPLE).unwrap();
        assert_eq!(enr.sequence(), 1);
        assert_eq!(
            enr.public_key().to_string(),
            "0x03ca634cae0d49acb401d8a4c6b6fe8c55b70d115bf400769cc1400f3258cd3138"
        );
        assert_eq!(enr.text(), EXAMPLE);
    }

    #[test]
    fn padding_is_accepted_and_the_text_kept() {
        let bytes = BASE64.decode(&EXAMPLE[4..]).unwrap();
        let padded = format!(
            "enr:{}",
            base64::engine::general_purpose::URL_SAFE.encode(bytes)
        );
        assert!(padded.ends_with('='));
        assert_eq!(Enr::parse(&padded).unwrap().text(), padded);
    }

    #[test]
    fn what_is_no_record_says_why() {
        let with = |edit: fn(&mut Vec<u8>)| {
            let mut bytes = BASE64.decode(&EXAMPLE[4..]).unwrap();
            edit(&mut bytes);
            Enr::parse(&format!("enr:{}", BASE64.encode(bytes)))
        };
        assert_eq!(Enr::parse(""), Err(EnrError::Empty));
        assert_eq!(Enr::parse(&EXAMPLE[4..]), Err(EnrError::Prefix));
        assert_eq!(Enr::parse("enr://682e485ac549c4eb"), Err(EnrError::Prefix));
        assert_eq!(Enr::parse(&format!(" {EXAMPLE}")), Err(EnrError::Prefix));
        assert_eq!(Enr::parse(&format!("{EXAMPLE}\n")), Err(EnrError::Base64));
        assert_eq!(Enr::parse("enr:"), Err(EnrError::Structure));
        assert_eq!(with(|bytes| bytes.truncate(100)), Err(EnrError::Structure));
        assert_eq!(with(|bytes| bytes.push(0)), Err(EnrError::Structure));
        assert_eq!(with(|bytes| bytes[10] ^= 1), Err(EnrError::Signature));
        let last = |bytes: &mut Vec<u8>| {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        };
        assert_eq!(with(last), Err(EnrError::Signature));
        assert_eq!(
            Enr::parse(&format!("enr:{}", "A".repeat(1_000_000))),
            Err(EnrError::TooLong(750_000))
        );
    }

    /// A record of these pairs, signed over whatever they are.
    fn signed(pairs: &[(&[u8], &[u8])]) -> String {
        let key = k1::EnrKey::from_secret_bytes(&[7; 32]).unwrap();
        let mut content = Vec::new();
        alloy_rlp::Encodable::encode(b"".as_slice(), &mut content);
        for (name, value) in pairs {
            alloy_rlp::Encodable::encode(*name, &mut content);
            alloy_rlp::Encodable::encode(*value, &mut content);
        }
        let signature = key.sign_digest(&Keccak256::digest(list(&content)).into());
        let mut payload = Vec::new();
        alloy_rlp::Encodable::encode(&signature[..64], &mut payload);
        payload.extend_from_slice(&content);
        format!("enr:{}", BASE64.encode(list(&payload)))
    }

    #[test]
    fn well_signed_records_of_the_wrong_content_are_refused() {
        let key = *k1::EnrKey::from_secret_bytes(&[7; 32])
            .unwrap()
            .public_key()
            .as_bytes();
        let parse = |pairs: &[(&[u8], &[u8])]| Enr::parse(&signed(pairs)).map(|_| ());
        assert_eq!(parse(&[(b"id", b"v4"), (b"secp256k1", &key)]), Ok(()));
        assert_eq!(
            parse(&[(b"id", b"v4"), (b"secp256k1", &key), (b"secp256k1", &key)]),
            Err(EnrError::KeyOrder)
        );
        assert_eq!(
            parse(&[(b"secp256k1", &key), (b"id", b"v4")]),
            Err(EnrError::KeyOrder)
        );
        assert_eq!(
            parse(&[(b"id", b"v5"), (b"secp256k1", &key)]),
            Err(EnrError::IdentityScheme)
        );
        assert_eq!(
            parse(&[(b"secp256k1", &key)]),
            Err(EnrError::IdentityScheme)
        );
        assert_eq!(parse(&[(b"id", b"v4")]), Err(EnrError::PublicKey));
        assert_eq!(
            parse(&[(b"id", b"v4"), (b"secp256k1", &[2; 32])]),
            Err(EnrError::PublicKey)
        );
        assert_eq!(
            parse(&[(b"id", b"v4"), (b"secp256k1", &key), (b"z", &[0; 200])]),
            Err(EnrError::TooLong(321))
        );
    }
}
