//! secp256k1: the ENR key of a node, and signatures that carry their public key (charon `app/k1util`).

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use k256::ecdsa::signature::hazmat::PrehashVerifier;
use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::cluster::address::Address;

/// Length of the hexadecimal text in `charon-enr-private-key`.
const KEY_FILE_DIGITS: usize = 64;

/// Longest key file read, in bytes: the digits, and some white space around them.
pub const MAX_KEY_FILE_BYTES: usize = 1024;

/// The secret of a node: anyone who has it can act as that node. Wiped on drop; never shown.
pub struct EnrKey(SigningKey);

/// Why the content of a key file is no ENR key. Never repeats what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnrKeyError {
    /// Not 64 hexadecimal digits between white space.
    #[error("the ENR key is not 64 hexadecimal digits")]
    NotHexadecimal,
    /// Zero, or not below the order of the curve.
    #[error("the ENR key is no secp256k1 secret: zero or out of range")]
    OutOfRange,
}

/// A node's public key, 33 bytes compressed; a point of the curve.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnrPublicKey([u8; 33]);

/// A short public name of an ENR key for guards, labels and file names: the first 16 hexadecimal digits of the SHA-256 of
/// the compressed public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnrId([u8; 8]);

impl EnrKey {
    /// Reads the content of `charon-enr-private-key`: 64 hexadecimal digits, white space around them ignored.
    ///
    /// # Errors
    /// If it is anything else, or no valid secret.
    pub fn parse(file: &[u8]) -> Result<Self, EnrKeyError> {
        let digits = file.trim_ascii();
        if digits.len() != KEY_FILE_DIGITS {
            return Err(EnrKeyError::NotHexadecimal);
        }
        let mut secret = Zeroizing::new([0; 32]);
        hex::decode_to_slice(digits, secret.as_mut_slice())
            .map_err(|_| EnrKeyError::NotHexadecimal)?;
        Self::from_secret_bytes(&secret)
    }

    /// The key with this secret. A fresh key needs 32 bytes of the system's randomness.
    ///
    /// # Errors
    /// If the bytes are zero or not below the order of the curve; for random ones that is a chance of 2^-127.
    pub fn from_secret_bytes(secret: &[u8; 32]) -> Result<Self, EnrKeyError> {
        SigningKey::from_slice(secret)
            .map(Self)
            .map_err(|_| EnrKeyError::OutOfRange)
    }

    /// The content of `charon-enr-private-key`: 64 lower-case hexadecimal digits, no newline.
    pub fn to_file_text(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(<[u8; 32]>::from(self.0.to_bytes()));
        Zeroizing::new(hex::encode(secret.as_slice()))
    }

    /// The public key.
    pub fn public_key(&self) -> EnrPublicKey {
        EnrPublicKey::of(self.0.verifying_key())
    }

    /// The short public name.
    pub fn id(&self) -> EnrId {
        self.public_key().id()
    }

    /// The Ethereum address of the key, if it were a wallet's.
    pub(crate) fn address(&self) -> Address {
        Recovered(*self.0.verifying_key()).address()
    }

    /// Signs 32 bytes as they are, without a prefix or another hash: R ‖ S ‖ V, V 0 or 1, low S, deterministic. So are the
    /// `node_signatures` of a lock made, over its lock hash.
    pub fn sign_digest(&self, digest: &[u8; 32]) -> [u8; 65] {
        let (signature, recovery) = self.0.sign_prehash_recoverable(digest);
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&signature.to_bytes());
        bytes[64] = recovery.to_byte();
        bytes
    }
}

impl EnrKey {
    /// A secret for one purpose of this program, which tells nothing of the key itself or of other purposes: HMAC-SHA256
    /// with the key's 32 bytes over the purpose.
    pub fn derive(&self, purpose: &[u8]) -> Zeroizing<[u8; 32]> {
        let secret = Zeroizing::new(<[u8; 32]>::from(self.0.to_bytes()));
        Zeroizing::new(
            keyed(&secret)
                .chain_update(purpose)
                .finalize()
                .into_bytes()
                .into(),
        )
    }

    /// An HMAC-SHA256 with [`EnrKey::derive`] of this purpose as its key: authenticates records of this program's own.
    pub fn mac(&self, purpose: &[u8]) -> Hmac<Sha256> {
        keyed(&self.derive(purpose))
    }
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    // A key shorter than the hash's block is filled up with zeros (RFC 2104, section 2).
    let mut block = Zeroizing::new([0_u8; 64]);
    block[..32].copy_from_slice(key);
    Hmac::new(&(*block).into())
}

impl fmt::Debug for EnrKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnrKey({}, secret redacted)", self.id())
    }
}

impl EnrPublicKey {
    /// Reads the 33 bytes of a compressed point; `None` if they are not a point.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; 33] = bytes.try_into().ok()?;
        VerifyingKey::from_sec1_bytes(&bytes).ok()?;
        Some(Self(bytes))
    }

    fn of(key: &VerifyingKey) -> Self {
        let mut bytes = [0; 33];
        bytes.copy_from_slice(key.to_sec1_point(true).as_bytes());
        Self(bytes)
    }

    /// The 33 bytes.
    pub const fn as_bytes(&self) -> &[u8; 33] {
        &self.0
    }

    /// The short public name.
    pub fn id(&self) -> EnrId {
        let digest = Sha256::digest(self.0);
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest[..8]);
        EnrId(bytes)
    }
}

impl fmt::Display for EnrPublicKey {
    /// `0x` and 66 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl fmt::Debug for EnrPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnrPublicKey({self})")
    }
}

impl fmt::Display for EnrId {
    /// 16 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The key that made a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered(VerifyingKey);

impl Recovered {
    /// The key itself.
    pub fn public_key(&self) -> EnrPublicKey {
        EnrPublicKey::of(&self.0)
    }

    /// The Ethereum address of the key.
    pub fn address(&self) -> Address {
        let mut coordinates = [0; 64];
        // The first byte tells that the point is uncompressed.
        coordinates.copy_from_slice(&self.0.to_sec1_point(false).as_bytes()[1..]);
        Address::of_uncompressed_point(&coordinates)
    }
}

/// The key that made this signature (R ‖ S ‖ V) of 32 bytes as they are; `None` if V is not 0, 1, 27 or 28, or if no key
/// could have made it. High S is accepted, as charon does.
pub fn recover(digest: &[u8; 32], signature: &[u8; 65]) -> Option<Recovered> {
    let recovery = match signature[64] {
        v @ (0 | 1) => RecoveryId::from_byte(v)?,
        v @ (27 | 28) => RecoveryId::from_byte(v - 27)?,
        _ => return None,
    };
    let signature = Signature::from_slice(&signature[..64]).ok()?;
    VerifyingKey::recover_from_prehash(digest, &signature, recovery)
        .ok()
        .map(Recovered)
}

/// Whether this key made the signature (R ‖ S ‖ V) of 32 bytes as they are, by recovery: what charon asks of
/// `node_signatures`.
pub fn verify_recoverable(key: &EnrPublicKey, digest: &[u8; 32], signature: &[u8; 65]) -> bool {
    recover(digest, signature).is_some_and(|recovered| recovered.public_key() == *key)
}

/// Whether a signature (R ‖ S) is one that [`EnrKey::sign_digest`] may have made: scalars in range and S in the lower half.
/// Of the two signatures that anybody can make out of one, only one is canonical.
pub fn is_canonical(signature: &[u8; 64]) -> bool {
    Signature::from_slice(signature).is_ok_and(|signature| signature.normalize_s() == signature)
}

/// Whether this key made the signature (R ‖ S) of 32 bytes as they are. High S is accepted, as charon does.
pub fn verify(key: &EnrPublicKey, digest: &[u8; 32], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (
        VerifyingKey::from_sec1_bytes(&key.0),
        Signature::from_slice(signature),
    ) else {
        return false;
    };
    // k256 wants low S; (R, S) and (R, -S) are valid for the same messages and keys.
    key.verify_prehash(digest, &signature.normalize_s()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::enr::Enr;

    fn key() -> EnrKey {
        EnrKey::from_secret_bytes(&[7; 32]).unwrap()
    }

    #[test]
    fn a_key_file_is_read_back_and_white_space_around_it_ignored() {
        let text = key().to_file_text();
        assert_eq!(text.as_str(), "07".repeat(32));
        for file in [
            text.to_string(),
            format!(" {}\r\n", *text),
            "07".repeat(32).to_uppercase(),
        ] {
            let read = EnrKey::parse(file.as_bytes()).unwrap();
            assert_eq!(read.public_key(), key().public_key());
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        use EnrKeyError::{NotHexadecimal, OutOfRange};
        let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        for (file, error) in [
            (String::new(), NotHexadecimal),
            ("0x".to_owned() + &"07".repeat(32), NotHexadecimal),
            ("0x".to_owned() + &"07".repeat(31), NotHexadecimal),
            ("07".repeat(31), NotHexadecimal),
            ("07".repeat(33), NotHexadecimal),
            ("0g".repeat(32), NotHexadecimal),
            ("00".repeat(32), OutOfRange),
            (order.to_owned(), OutOfRange),
        ] {
            assert_eq!(EnrKey::parse(file.as_bytes()).unwrap_err(), error, "{file}");
        }
    }

    #[test]
    fn a_derived_secret_is_one_of_its_purpose_and_key() {
        let derived = key().derive(b"one");
        assert_eq!(derived, key().derive(b"one"));
        assert_ne!(derived, key().derive(b"two"));
        assert_ne!(derived.as_slice(), [7; 32]);
        let other = EnrKey::from_secret_bytes(&[8; 32]).unwrap();
        assert_ne!(derived, other.derive(b"one"));
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", key());
        assert!(!shown.contains("0707"), "{shown}");
    }

    #[test]
    fn the_record_of_a_key_verifies_and_never_changes() {
        let enr = key().enr();
        assert_eq!(enr, key().enr());
        assert_eq!(Enr::parse(enr.text()), Ok(enr.clone()));
        assert_eq!(enr.text().len(), 163);
        assert!(enr.text().starts_with("enr:-HW4Q"));
    }

    #[test]
    fn the_id_is_the_start_of_the_digest_of_the_public_key() {
        let digest = hex::encode(Sha256::digest(key().public_key().as_bytes()));
        assert_eq!(key().id().to_string(), digest[..16]);
    }

    #[test]
    fn a_signature_tells_its_key_for_every_spelling_of_v() {
        let digest = [3; 32];
        let mut signature = key().sign_digest(&digest);
        assert!(verify_recoverable(&key().public_key(), &digest, &signature));
        assert!(verify(&key().public_key(), &digest, &signature[..64]));
        assert!(!verify(&key().public_key(), &[4; 32], &signature[..64]));
        assert!(!verify_recoverable(
            &key().public_key(),
            &[4; 32],
            &signature
        ));
        signature[64] += 27;
        assert!(verify_recoverable(&key().public_key(), &digest, &signature));
        for v in [2, 3, 26, 29, 255] {
            signature[64] = v;
            assert_eq!(recover(&digest, &signature), None);
        }
    }

    #[test]
    fn high_s_is_accepted() {
        let digest = [3; 32];
        let signature = key().sign_digest(&digest);
        let low = Signature::from_slice(&signature[..64]).unwrap();
        let high = Signature::from_scalars(*low.r(), -*low.s()).unwrap();
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&high.to_bytes());
        bytes[64] = signature[64] ^ 1;
        assert!(verify(&key().public_key(), &digest, &bytes[..64]));
        assert!(verify_recoverable(&key().public_key(), &digest, &bytes));
        let r_and_s = |bytes: &[u8; 65]| *bytes.first_chunk::<64>().unwrap();
        assert!(is_canonical(&r_and_s(&signature)));
        assert!(!is_canonical(&r_and_s(&bytes)));
        assert!(!is_canonical(&[0; 64]));
    }

    #[test]
    fn zero_and_too_large_scalars_are_no_signature() {
        for (r, s) in [(0, 1), (1, 0), (0xff, 1), (1, 0xff)] {
            let mut signature = [0; 65];
            signature[..32].fill(r);
            signature[32..64].fill(s);
            assert_eq!(recover(&[3; 32], &signature), None);
            assert!(!verify(&key().public_key(), &[3; 32], &signature[..64]));
        }
    }
}
