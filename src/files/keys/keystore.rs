//! EIP-2335 keystores: parse, decrypt, encrypt.
//!
//! Source: EIP-2335; charon `eth2util/keystore/keystore.go`, which writes PBKDF2 only. scrypt is
//! read too, because the EIP allows it.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::sync::Mutex;

use aes::Aes128;
use ctr::cipher::{KeyIvInit, StreamCipher};
use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::canonical_combining_class;
use zeroize::Zeroizing;

use crate::cluster::hex::{array_from_0x, from_0x};
use crate::cluster::json::{
    self, Node, Object, Path, Presence::Optional, RemarkKind, Remarks, invalid, number, text,
};

use super::bls::{NotAScalar, PUBLIC_KEY_LEN, ShareSecret};
use super::pbkdf2_wide;

/// The number of PBKDF2 rounds in every keystore that charon writes for use.
pub const CHARON_PBKDF2_ROUNDS: u32 = 262_144;

/// The number of PBKDF2 rounds of `create cluster --insecure-keys`.
pub const INSECURE_PBKDF2_ROUNDS: u32 = 16;

/// Longest keystore file that is read. charon's have 802 bytes; a description may be longer.
pub const MAX_KEYSTORE_LEN: usize = 64 * 1024;

/// Longest password that is read. charon's have 32 bytes.
pub const MAX_PASSWORD_LEN: usize = 4 * 1024;

/// Highest PBKDF2 cost that is carried out: 16 times charon's, about half a second per file.
pub const MAX_PBKDF2_ROUNDS: u32 = 16 * CHARON_PBKDF2_ROUNDS;

/// Highest scrypt memory that is used, in bytes: that of the EIP's own parameters (N = 2^18, r = 8). Blocks outside of
/// the large vector come on top, less than 100 KiB.
pub const MAX_SCRYPT_MEMORY: u64 = 256 * 1024 * 1024;

/// Largest scrypt block size. Memory that N does not count grows with it and with the parallelisation: 128·r·(p + 2) bytes;
/// the EIP's own parameter is 8.
pub const MAX_SCRYPT_BLOCK_SIZE: u32 = 64;

/// Highest scrypt parallelisation. It multiplies the time; the EIP's own parameter is 1.
pub const MAX_SCRYPT_PARALLELISATION: u32 = 4;

/// The derived key's length in bytes: 16 for the cipher and 16 for the checksum.
const DERIVED_LEN: usize = 32;

/// Salt lengths that are accepted, in bytes. The EIP and charon use 32.
const MAX_SALT_LEN: usize = 256;

/// Why a keystore could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not JSON, too large, a field of another type, or a value that means nothing in its place.
    #[error(transparent)]
    Json(#[from] json::ParseError),
    /// A field is missing, by its path.
    #[error("{0} is missing")]
    Missing(String),
    /// A field is given twice, or spelled in another way.
    #[error("{0}")]
    Ambiguous(String),
    /// A field that EIP-2335 does not know, by its path.
    #[error("{0} is not part of the format")]
    UnknownField(String),
    /// Not version 4.
    #[error("keystore version {0} instead of 4")]
    Version(u64),
    /// The key stretching would cost more than this program is ready to spend.
    #[error("{0}")]
    Cost(String),
}

/// Why a keystore could not be decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecryptError {
    /// The checksum does not fit: another password, or the file was changed.
    #[error("the password does not open it, or it was changed")]
    Checksum,
    /// What was encrypted is not a key.
    #[error("the decrypted secret is not a non-zero scalar below the group order")]
    NotAScalar,
}

/// The key stretching of one keystore, within the bounds of this module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kdf {
    /// PBKDF2 with HMAC-SHA-256.
    Pbkdf2 {
        /// Number of rounds.
        rounds: NonZeroU32,
        /// Salt.
        salt: Vec<u8>,
    },
    /// scrypt.
    Scrypt {
        /// Base-2 logarithm of the cost N.
        log_n: u8,
        /// Block size.
        r: u32,
        /// Parallelisation.
        p: u32,
        /// Salt.
        salt: Vec<u8>,
    },
}

/// A parsed keystore. Nothing in it is secret without the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keystore {
    /// The key stretching.
    pub kdf: Kdf,
    /// Checksum of the derived key's second half and the cipher text.
    pub checksum: [u8; 32],
    /// AES-128-CTR's initial counter block.
    pub iv: [u8; 16],
    /// The encrypted secret.
    pub cipher_text: [u8; 32],
    /// The public key as written, unchecked. In charon's keystores that of the *share*.
    pub public_key: [u8; PUBLIC_KEY_LEN],
}

/// A keystore's password, wiped when dropped.
#[derive(Clone)]
pub struct KeystorePassword(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for KeystorePassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeystorePassword(redacted)")
    }
}

impl KeystorePassword {
    /// A password as it is in `keystore-N.txt`.
    pub fn new(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    /// Whether it is what charon writes: exactly 32 lower-case hex digits, nothing after them.
    pub fn is_charon_form(&self) -> bool {
        self.0.len() == 32
            && self
                .0
                .iter()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }

    /// The bytes that are stretched, as charon's library makes them (wealdtech's encryptor-keystorev4, `norm.go`): in NFKD
    /// and without C0 control characters and delete. EIP-2335 ("password requirements") leaves out C1 too; the library
    /// does not.
    fn normalised(&self) -> Zeroizing<Vec<u8>> {
        encode(self.text().nfkd())
    }

    /// What the library tries next, since it once normalised so: characters that combine with the one before are left
    /// out. `None` if there can be none.
    fn normalised_as_before(&self) -> Option<Zeroizing<Vec<u8>>> {
        if self.0.is_ascii() {
            return None;
        }
        let text = self.text();
        // The first character combines with nothing.
        let kept = text.nfkd().enumerate().filter(|(position, c)| {
            let is_medial_or_final_jamo =
                matches!(c, '\u{1161}'..='\u{1175}' | '\u{11a8}'..='\u{11c2}');
            *position == 0 || canonical_combining_class(*c) == 0 && !is_medial_or_final_jamo
        });
        Some(encode(kept.map(|(_, c)| c)))
    }

    /// The password as text, with U+FFFD for each byte that is not UTF-8, as Go reads it.
    fn text(&self) -> Zeroizing<String> {
        // Room enough, so that no copy is left behind.
        let room = self
            .0
            .len()
            .saturating_mul(char::REPLACEMENT_CHARACTER.len_utf8());
        let mut text = Zeroizing::new(String::with_capacity(room));
        for chunk in self.0.utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
        }
        text
    }
}

/// UTF-8 without ASCII's control characters.
fn encode(text: impl Iterator<Item = char>) -> Zeroizing<Vec<u8>> {
    // Room for most, so that hardly ever a copy is left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PASSWORD_LEN));
    let mut buffer = Zeroizing::new([0; 4]);
    for c in text.filter(|c| !c.is_ascii_control()) {
        bytes.extend_from_slice(c.encode_utf8(buffer.as_mut_slice()).as_bytes());
    }
    bytes
}

impl Keystore {
    /// Reads a keystore. Strict: every field is present once, no other field is, functions and lengths
    /// are those of EIP-2335, and the key stretching stays within the bounds of this module.
    ///
    /// # Errors
    /// The first thing that is not so.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut remarks = Remarks::default();
        let file = Object::new(Node::parse(bytes, MAX_KEYSTORE_LEN)?, Path::File)?;
        let keystore = Self::from_object(file, &mut remarks)?;
        // Clients differ in what they make of these, so there is no lenient reading.
        match remarks.finish().into_iter().next() {
            None => Ok(keystore),
            Some(remark) if remark.kind == RemarkKind::UnknownKey => {
                Err(ParseError::UnknownField(remark.path))
            }
            Some(remark) => Err(ParseError::Ambiguous(remark.to_string())),
        }
    }

    fn from_object(mut file: Object<'_, '_>, remarks: &mut Remarks) -> Result<Self, ParseError> {
        let version = take_number(&mut file, "version", remarks)?;
        if version != 4 {
            return Err(ParseError::Version(version));
        }
        let root = file.path();
        let mut crypto = Object::new_or_empty(
            required(&mut file, "crypto", remarks)?,
            Path::Key(&root, "crypto"),
        )?;
        let public_key = take_hex(&mut file, "pubkey", remarks)?;
        // These two mean nothing to charon, but other clients refuse a keystore in which they are wrong.
        let uuid = take_text(&mut file, "uuid", remarks)?;
        if uuid::Uuid::try_parse(&uuid).is_err() {
            return Err(invalid(Path::Key(&root, "uuid"), &uuid, "a UUID").into());
        }
        let path = take_text(&mut file, "path", remarks)?;
        if !is_derivation_path(&path) {
            let expected = "a derivation path, or nothing";
            return Err(invalid(Path::Key(&root, "path"), &path, expected).into());
        }
        let description = file.take("description", Optional, remarks);
        text(description, Path::Key(&root, "description"))?;
        file.finish(remarks);

        let path = crypto.path();
        let kdf = read_kdf(
            required(&mut crypto, "kdf", remarks)?,
            Path::Key(&path, "kdf"),
            remarks,
        )?;
        let checksum = {
            let path = Path::Key(&path, "checksum");
            let node = required(&mut crypto, "checksum", remarks)?;
            let mut module = Object::new_or_empty(node, path)?;
            expect_text(&mut module, "function", "sha256", remarks)?;
            let message = take_hex(&mut module, "message", remarks)?;
            let params = required(&mut module, "params", remarks)?;
            Object::new_or_empty(params, Path::Key(&path, "params"))?.finish(remarks);
            module.finish(remarks);
            message
        };
        let cipher_path = Path::Key(&path, "cipher");
        let node = required(&mut crypto, "cipher", remarks)?;
        let mut cipher = Object::new_or_empty(node, cipher_path)?;
        expect_text(&mut cipher, "function", "aes-128-ctr", remarks)?;
        let cipher_text = take_hex(&mut cipher, "message", remarks)?;
        let params = required(&mut cipher, "params", remarks)?;
        let mut params = Object::new_or_empty(params, Path::Key(&cipher_path, "params"))?;
        let iv = take_hex(&mut params, "iv", remarks)?;
        params.finish(remarks);
        cipher.finish(remarks);
        crypto.finish(remarks);
        Ok(Self {
            kdf,
            checksum,
            iv,
            cipher_text,
            public_key,
        })
    }

    /// Stretches the password (slow, as it is meant to be) and decrypts the secret.
    ///
    /// # Errors
    /// Another password, a changed file, or a content that is no key.
    pub fn decrypt(&self, password: &KeystorePassword) -> Result<ShareSecret, DecryptError> {
        self.decrypt_with(&derive(&self.kdf, &password.normalised()))
            .or_else(|error| self.decrypt_as_before(error, password))
    }

    /// charon's library tries a password that does not open a keystore a second time, in another form.
    fn decrypt_as_before(
        &self,
        error: DecryptError,
        password: &KeystorePassword,
    ) -> Result<ShareSecret, DecryptError> {
        match (error, password.normalised_as_before()) {
            (DecryptError::Checksum, Some(password)) => {
                self.decrypt_with(&derive(&self.kdf, &password))
            }
            (DecryptError::Checksum | DecryptError::NotAScalar, _) => Err(error),
        }
    }

    fn decrypt_with(&self, derived: &[u8; DERIVED_LEN]) -> Result<ShareSecret, DecryptError> {
        let (cipher_key, checksum_key) = derived.split_at(DERIVED_LEN / 2);
        if checksum(checksum_key, &self.cipher_text) != self.checksum {
            return Err(DecryptError::Checksum);
        }
        let mut secret = Zeroizing::new(self.cipher_text);
        apply_cipher(cipher_key, &self.iv, secret.as_mut_slice());
        ShareSecret::parse(secret.as_slice()).map_err(|NotAScalar| DecryptError::NotAScalar)
    }
}

/// Decrypts many keystores on all cores, several at once in each core where the processor can. The results are in the
/// order of the items. `done` is told how many more are done, from several threads.
pub fn decrypt_many(
    items: &[(&Keystore, &KeystorePassword)],
    done: &(dyn Fn(usize) + Sync),
) -> Vec<Result<ShareSecret, DecryptError>> {
    // With few keystores per core the lanes would be empty and other cores idle.
    let enough = pbkdf2_wide::WORTHWHILE * rayon::current_num_threads();
    let at_a_time = if items.len() < enough {
        1
    } else {
        pbkdf2_wide::LANES
    };
    items
        .par_chunks(at_a_time)
        .flat_map_iter(|chunk| match decrypt_wide(chunk) {
            Some(results) => {
                done(chunk.len());
                results
            }
            None => chunk
                .iter()
                .map(|(keystore, password)| {
                    let result = keystore.decrypt(password);
                    done(1);
                    result
                })
                .collect(),
        })
        .collect()
}

/// Decrypts keystores side by side, if they are enough, all of PBKDF2 with the same rounds, and the processor can.
fn decrypt_wide(
    items: &[(&Keystore, &KeystorePassword)],
) -> Option<Vec<Result<ShareSecret, DecryptError>>> {
    if items.len() < pbkdf2_wide::WORTHWHILE {
        return None;
    }
    let passwords: Vec<Zeroizing<Vec<u8>>> = items
        .iter()
        .map(|(_, password)| password.normalised())
        .collect();
    let mut common_rounds = None;
    let mut inputs = Vec::with_capacity(items.len());
    for ((keystore, _), password) in items.iter().zip(&passwords) {
        let Kdf::Pbkdf2 { rounds, salt } = &keystore.kdf else {
            return None;
        };
        if *common_rounds.get_or_insert(*rounds) != *rounds {
            return None;
        }
        inputs.push(pbkdf2_wide::Input { password, salt });
    }
    let derived = pbkdf2_wide::stretch(&inputs, common_rounds?)?;
    let results = items
        .iter()
        .zip(&derived)
        .map(|((keystore, password), derived)| {
            keystore
                .decrypt_with(derived)
                .or_else(|error| keystore.decrypt_as_before(error, password))
        })
        .collect();
    Some(results)
}

/// `m/12381/3600/0/0/0` (EIP-2334), or empty where the key was not derived (EIP-2335).
fn is_derivation_path(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text.is_empty()
        || text
            .strip_prefix("m/")
            .is_some_and(|rest| rest.split('/').all(is_number))
}

fn read_kdf(
    node: Option<Node<'_>>,
    path: Path<'_>,
    remarks: &mut Remarks,
) -> Result<Kdf, ParseError> {
    let mut module = Object::new_or_empty(node, path)?;
    let function = take_text(&mut module, "function", remarks)?.into_owned();
    expect_text(&mut module, "message", "", remarks)?;
    let node = required(&mut module, "params", remarks)?;
    module.finish(remarks);
    let mut params = Object::new_or_empty(node, Path::Key(&path, "params"))?;
    let root = params.path();
    let derived_len = take_number(&mut params, "dklen", remarks)?;
    if derived_len != 32 {
        let seen = derived_len.to_string();
        return Err(invalid(Path::Key(&root, "dklen"), &seen, "32").into());
    }
    let salt_text = take_text(&mut params, "salt", remarks)?;
    let salt = from_0x(&salt_text)
        .filter(|salt| (1..=MAX_SALT_LEN).contains(&salt.len()))
        .ok_or_else(|| {
            let expected = "1 to 256 bytes in hexadecimal";
            invalid(Path::Key(&root, "salt"), &salt_text, expected)
        })?;
    let kdf = match function.as_str() {
        "pbkdf2" => {
            expect_text(&mut params, "prf", "hmac-sha256", remarks)?;
            let rounds = take_number(&mut params, "c", remarks)?;
            let rounds = u32::try_from(rounds)
                .ok()
                .filter(|rounds| *rounds <= MAX_PBKDF2_ROUNDS)
                .and_then(NonZeroU32::new)
                .ok_or_else(|| {
                    ParseError::Cost(format!(
                        "{rounds} rounds of PBKDF2, outside 1 to {MAX_PBKDF2_ROUNDS}"
                    ))
                })?;
            Kdf::Pbkdf2 { rounds, salt }
        }
        "scrypt" => {
            let n = take_number(&mut params, "n", remarks)?;
            let r = take_number(&mut params, "r", remarks)?;
            let p = take_number(&mut params, "p", remarks)?;
            bounded_scrypt(n, r, p, salt)?
        }
        other => {
            let expected = "pbkdf2 or scrypt";
            return Err(invalid(Path::Key(&path, "function"), other, expected).into());
        }
    };
    params.finish(remarks);
    Ok(kdf)
}

/// The value of a key that must be there.
fn required<'a>(
    object: &mut Object<'a, '_>,
    name: &'static str,
    remarks: &mut Remarks,
) -> Result<Option<Node<'a>>, ParseError> {
    let root = object.path();
    match object.take(name, Optional, remarks) {
        Some(node) => Ok(Some(node)),
        None => Err(ParseError::Missing(Path::Key(&root, name).to_string())),
    }
}

/// The text of a key that must be there.
fn take_text<'a>(
    object: &mut Object<'a, '_>,
    name: &'static str,
    remarks: &mut Remarks,
) -> Result<Cow<'a, str>, ParseError> {
    let root = object.path();
    Ok(text(
        required(object, name, remarks)?,
        Path::Key(&root, name),
    )?)
}

fn expect_text(
    object: &mut Object<'_, '_>,
    name: &'static str,
    expected: &str,
    remarks: &mut Remarks,
) -> Result<(), ParseError> {
    let root = object.path();
    let seen = take_text(object, name, remarks)?;
    if seen == expected {
        return Ok(());
    }
    let expected = if expected.is_empty() {
        "empty"
    } else {
        expected
    };
    Err(invalid(Path::Key(&root, name), &seen, expected).into())
}

fn take_number(
    object: &mut Object<'_, '_>,
    name: &'static str,
    remarks: &mut Remarks,
) -> Result<u64, ParseError> {
    let root = object.path();
    Ok(number(
        required(object, name, remarks)?,
        Path::Key(&root, name),
    )?)
}

/// Hexadecimal of either case, with or without `0x`, as charon's own reader takes it.
fn take_hex<const N: usize>(
    object: &mut Object<'_, '_>,
    name: &'static str,
    remarks: &mut Remarks,
) -> Result<[u8; N], ParseError> {
    let root = object.path();
    let text = take_text(object, name, remarks)?;
    array_from_0x(&text).ok_or_else(|| {
        let expected = format!("{N} bytes in hexadecimal");
        invalid(Path::Key(&root, name), &text, expected).into()
    })
}

fn bounded_scrypt(n: u64, r: u64, p: u64, salt: Vec<u8>) -> Result<Kdf, ParseError> {
    let cost = || {
        ParseError::Cost(format!(
            "scrypt with n={n}, r={r}, p={p}: n must be a power of two, the memory at most {} MiB, r at most \
             {MAX_SCRYPT_BLOCK_SIZE}, p at most {MAX_SCRYPT_PARALLELISATION}",
            MAX_SCRYPT_MEMORY / 1024 / 1024
        ))
    };
    // RFC 7914: the large vector has 128·N·r bytes.
    let memory = n.checked_mul(r).and_then(|nr| nr.checked_mul(128));
    if !n.is_power_of_two()
        || n < 2
        || !(1..=u64::from(MAX_SCRYPT_BLOCK_SIZE)).contains(&r)
        || memory.is_none_or(|memory| memory > MAX_SCRYPT_MEMORY)
        || !(1..=u64::from(MAX_SCRYPT_PARALLELISATION)).contains(&p)
    {
        return Err(cost());
    }
    Ok(Kdf::Scrypt {
        log_n: u8::try_from(n.trailing_zeros()).map_err(|_| cost())?,
        r: u32::try_from(r).map_err(|_| cost())?,
        p: u32::try_from(p).map_err(|_| cost())?,
        salt,
    })
}

/// One scrypt at a time: each may take [`MAX_SCRYPT_MEMORY`], and there is one thread per core.
static SCRYPT_MEMORY: Mutex<()> = Mutex::new(());

/// Stretches a normalised password.
fn derive(kdf: &Kdf, password: &[u8]) -> Zeroizing<[u8; DERIVED_LEN]> {
    let mut derived = Zeroizing::new([0_u8; DERIVED_LEN]);
    match kdf {
        Kdf::Pbkdf2 { rounds, salt } => {
            pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, rounds.get(), derived.as_mut_slice());
        }
        Kdf::Scrypt { log_n, r, p, salt } => {
            let _memory = SCRYPT_MEMORY
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            // The parameters were bounded when parsed. Should the crate refuse them nevertheless, the
            // key stays zero and the checksum cannot fit.
            if let Ok(params) = scrypt::Params::new(*log_n, *r, *p)
                && scrypt::scrypt(password, salt, &params, derived.as_mut_slice()).is_err()
            {
                derived.fill(0);
            }
        }
    }
    derived
}

fn checksum(key: &[u8], cipher_text: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(key)
        .chain_update(cipher_text)
        .finalize()
        .into()
}

fn apply_cipher(key: &[u8], iv: &[u8; 16], data: &mut [u8]) {
    type Aes128Ctr = ctr::Ctr128BE<Aes128>;
    // The only error is a key of another length, and ours is half of the derived key.
    if let Ok(mut cipher) = Aes128Ctr::new_from_slices(key, iv) {
        cipher.apply_keystream(data);
    }
}

/// Everything random that goes into a new keystore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonces {
    /// Salt of the key stretching.
    pub salt: [u8; 32],
    /// Initial counter block of the cipher.
    pub iv: [u8; 16],
    /// The identifier; charon uses 16 raw random bytes, which are no valid UUIDv4.
    pub uuid: [u8; 16],
}

#[derive(Serialize)]
struct OutKeystore {
    crypto: OutCrypto,
    description: &'static str,
    pubkey: String,
    path: &'static str,
    uuid: String,
    version: u8,
}

#[derive(Serialize)]
struct OutCrypto {
    checksum: OutModule<OutEmpty>,
    cipher: OutModule<OutCipherParams>,
    kdf: OutModule<OutKdfParams>,
}

#[derive(Serialize)]
struct OutModule<P> {
    function: &'static str,
    message: String,
    params: P,
}

#[derive(Serialize)]
struct OutEmpty {}

#[derive(Serialize)]
struct OutCipherParams {
    iv: String,
}

#[derive(Serialize)]
struct OutKdfParams {
    c: u32,
    dklen: u8,
    prf: &'static str,
    salt: String,
}

/// Encrypts a secret and lays it out byte for byte as charon does (`eth2util/keystore`
/// `storeKeysInternal`: one space of indent, no newline at the end).
///
/// # Errors
/// Only if JSON could not be written, which does not happen.
pub fn encrypt(
    secret: &ShareSecret,
    password: &KeystorePassword,
    nonces: &Nonces,
    rounds: NonZeroU32,
) -> Result<String, serde_json::Error> {
    let kdf = Kdf::Pbkdf2 {
        rounds,
        salt: nonces.salt.to_vec(),
    };
    let derived = derive(&kdf, &password.normalised());
    let (cipher_key, checksum_key) = derived.split_at(DERIVED_LEN / 2);
    let mut cipher_text = secret.to_bytes();
    apply_cipher(cipher_key, &nonces.iv, cipher_text.as_mut_slice());
    let out = OutKeystore {
        crypto: OutCrypto {
            checksum: OutModule {
                function: "sha256",
                message: hex::encode(checksum(checksum_key, cipher_text.as_slice())),
                params: OutEmpty {},
            },
            cipher: OutModule {
                function: "aes-128-ctr",
                message: hex::encode(cipher_text.as_slice()),
                params: OutCipherParams {
                    iv: hex::encode(nonces.iv),
                },
            },
            kdf: OutModule {
                function: "pbkdf2",
                message: String::new(),
                params: OutKdfParams {
                    c: rounds.get(),
                    dklen: 32,
                    prf: "hmac-sha256",
                    salt: hex::encode(nonces.salt),
                },
            },
        },
        description: "",
        pubkey: hex::encode(secret.public_key().to_bytes()),
        path: "m/12381/3600/0/0/0",
        uuid: uuid::Uuid::from_bytes(nonces.uuid)
            .hyphenated()
            .to_string()
            .to_uppercase(),
        version: 4,
    };
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
    out.serialize(&mut serde_json::Serializer::with_formatter(
        &mut text, formatter,
    ))?;
    // serde_json writes UTF-8 only.
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vectors of EIP-2335.
    const EIP_SECRET: &str = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";
    const EIP_PBKDF2: &str = r#"{
        "crypto": {
            "kdf": {"function": "pbkdf2", "params": {"dklen": 32, "c": 262144, "prf": "hmac-sha256",
                "salt": "d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3"}, "message": ""},
            "checksum": {"function": "sha256", "params": {},
                "message": "8a9f5d9912ed7e75ea794bc5a89bca5f193721d30868ade6f73043c6ea6febf1"},
            "cipher": {"function": "aes-128-ctr", "params": {"iv": "264daa3f303d7259501c93d997d84fe6"},
                "message": "cee03fde2af33149775b7223e7845e4fb2c8ae1792e5f99fe9ecf474cc8c16ad"}
        },
        "description": "This is a test keystore that uses PBKDF2 to secure the secret.",
        "pubkey": "9612d7a727c9d0a22e185a1c768478dfe919cada9266988cb32359c11f2b7b27f4ae4040902382ae2910c15e2b420d07",
        "path": "m/12381/60/0/0", "uuid": "64625def-3331-4eea-ab6f-782f3ed16a83", "version": 4}"#;
    const EIP_SCRYPT: &str = r#"{
        "crypto": {
            "kdf": {"function": "scrypt", "params": {"dklen": 32, "n": 262144, "p": 1, "r": 8,
                "salt": "d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3"}, "message": ""},
            "checksum": {"function": "sha256", "params": {},
                "message": "d2217fe5f3e9a1e34581ef8a78f7c9928e436d36dacc5e846690a5581e8ea484"},
            "cipher": {"function": "aes-128-ctr", "params": {"iv": "264daa3f303d7259501c93d997d84fe6"},
                "message": "06ae90d55fe0a6e9c5c3bc5b170827b2e5cce3929ed3f116c2811e6366dfe20f"}
        },
        "description": "This is a test keystore that uses scrypt to secure the secret.",
        "pubkey": "9612d7a727c9d0a22e185a1c768478dfe919cada9266988cb32359c11f2b7b27f4ae4040902382ae2910c15e2b420d07",
        "path": "m/12381/60/3141592653/589793238", "uuid": "1d85ae20-35c5-4611-98e8-aa14a633906f", "version": 4}"#;

    fn eip_password() -> KeystorePassword {
        // "testpassword" with a key symbol, after NFKD.
        KeystorePassword::new(&hex::decode("7465737470617373776f7264f09f9491").unwrap())
    }

    #[test]
    fn the_vectors_of_the_eip_decrypt() {
        for text in [EIP_PBKDF2, EIP_SCRYPT] {
            let keystore = Keystore::parse(text.as_bytes()).unwrap();
            let secret = keystore.decrypt(&eip_password()).unwrap();
            assert_eq!(hex::encode(secret.to_bytes().as_slice()), EIP_SECRET);
            assert_eq!(secret.public_key().to_bytes(), keystore.public_key);
        }
    }

    #[test]
    fn many_keystores_open_as_each_of_them_does() {
        let rounds = NonZeroU32::new(50).unwrap();
        let count = pbkdf2_wide::LANES + pbkdf2_wide::WORTHWHILE * rayon::current_num_threads();
        let (mut keystores, mut passwords, mut secrets) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..count {
            let byte = u8::try_from(number).unwrap();
            let secret = ShareSecret::from_entropy(&[byte; 32]).unwrap();
            let password = KeystorePassword::new(format!("{byte:032x}").as_bytes());
            let nonces = Nonces {
                salt: [byte; 32],
                iv: [byte; 16],
                uuid: [byte; 16],
            };
            // One with another cost, so that its chunk cannot go side by side.
            let rounds = if number == count - 1 {
                NonZeroU32::MIN
            } else {
                rounds
            };
            let text = encrypt(&secret, &password, &nonces, rounds).unwrap();
            keystores.push(Keystore::parse(text.as_bytes()).unwrap());
            passwords.push(password);
            secrets.push(secret);
        }
        passwords[3] = KeystorePassword::new(b"wrong");
        let items: Vec<_> = keystores.iter().zip(&passwords).collect();
        let total = std::sync::atomic::AtomicUsize::new(0);
        let results = decrypt_many(&items, &|steps| {
            total.fetch_add(steps, std::sync::atomic::Ordering::Relaxed);
        });
        assert_eq!(total.into_inner(), count);
        if let Some(wide) = decrypt_wide(&items[..pbkdf2_wide::LANES]) {
            for (wide, plain) in wide.iter().zip(&results) {
                assert_eq!(
                    wide.as_ref().map(ShareSecret::to_bytes),
                    plain.as_ref().map(ShareSecret::to_bytes)
                );
            }
        }
        assert!(decrypt_wide(&items[count - pbkdf2_wide::LANES..]).is_none());
        for (number, (result, secret)) in results.iter().zip(&secrets).enumerate() {
            match result {
                Ok(opened) => assert_eq!(opened.to_bytes(), secret.to_bytes()),
                Err(error) => assert_eq!((number, *error), (3, DecryptError::Checksum)),
            }
        }
        assert_eq!(results.len(), count);
    }

    /// Both forms as made by charon's library, v1.4.1, with golang.org/x/text v0.9.0.
    #[test]
    fn passwords_are_normalised_as_charons_library_does() {
        let cases: [(&[u8], &str, Option<&str>); 14] = [
            (b"0123abcd", "0123abcd", None),
            (b" pass\r\nword\n\x7f", " password", None),
            ("ü".as_bytes(), "u\u{308}", Some("u")),
            ("u\u{308}x".as_bytes(), "u\u{308}x", Some("ux")),
            ("ﬁ½".as_bytes(), "fi1⁄2", Some("fi1⁄2")),
            (
                "한글".as_bytes(),
                "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}",
                Some("\u{1112}\u{1100}"),
            ),
            ("\u{308}a".as_bytes(), "\u{308}a", Some("\u{308}a")),
            ("a\u{323}\u{307}".as_bytes(), "a\u{323}\u{307}", Some("a")),
            (
                "pä\nw\u{7f}\u{85}".as_bytes(),
                "pa\u{308}w\u{85}",
                Some("paw\u{85}"),
            ),
            (b"x\xffy", "x\u{fffd}y", Some("x\u{fffd}y")),
            ("Å①".as_bytes(), "A\u{30a}1", Some("A1")),
            ("ａ\u{308}\n".as_bytes(), "a\u{308}", Some("a")),
            ("\n\u{308}".as_bytes(), "\u{308}", Some("")),
            (
                b"\xc3\xa9\xff\xcc\x81",
                "e\u{301}\u{fffd}\u{301}",
                Some("e\u{fffd}"),
            ),
        ];
        for (password, expected, before) in cases {
            let password = KeystorePassword::new(password);
            let text = |bytes: Zeroizing<Vec<u8>>| String::from_utf8(bytes.to_vec()).unwrap();
            assert_eq!(text(password.normalised()), expected);
            assert_eq!(password.normalised_as_before().map(text).as_deref(), before);
        }
    }

    #[test]
    fn a_password_in_another_normal_form_opens() {
        let secret = ShareSecret::from_entropy(&[5; 32]).unwrap();
        let nonces = Nonces {
            salt: [1; 32],
            iv: [2; 16],
            uuid: [3; 16],
        };
        let rounds = NonZeroU32::new(16).unwrap();
        let opens = |sealed_with: &str, with: &str| {
            let password = KeystorePassword::new(sealed_with.as_bytes());
            let text = encrypt(&secret, &password, &nonces, rounds).unwrap();
            let keystore = Keystore::parse(text.as_bytes()).unwrap();
            let password = KeystorePassword::new(with.as_bytes());
            keystore.decrypt(&password).is_ok()
        };
        assert!(opens("caf\u{e9}", "cafe\u{301}\n"));
        assert!(opens("cafe\u{301}", "caf\u{e9}"));
        // The second form has no accents.
        assert!(opens("cafe", "caf\u{e9}"));
        assert!(!opens("caf\u{e9}", "cafe"));
    }

    #[test]
    fn another_password_is_told() {
        let keystore = Keystore::parse(EIP_PBKDF2.as_bytes()).unwrap();
        assert_eq!(
            keystore
                .decrypt(&KeystorePassword::new(b"testpassword"))
                .err(),
            Some(DecryptError::Checksum)
        );
    }

    #[test]
    fn what_is_encrypted_decrypts_and_looks_like_charons() {
        let secret = ShareSecret::from_entropy(&[5; 32]).unwrap();
        let password = KeystorePassword::new(b"00112233445566778899aabbccddeeff");
        assert!(password.is_charon_form());
        let nonces = Nonces {
            salt: [1; 32],
            iv: [2; 16],
            uuid: [0xab; 16],
        };
        let text = encrypt(&secret, &password, &nonces, NonZeroU32::new(16).unwrap()).unwrap();
        assert!(
            text.starts_with("{\n \"crypto\": {\n  \"checksum\": {\n   \"function\": \"sha256\"")
        );
        assert!(text.contains("\"params\": {}\n"));
        assert!(text.ends_with(
            "\"path\": \"m/12381/3600/0/0/0\",\n \"uuid\": \"ABABABAB-ABAB-ABAB-ABAB-ABABABABABAB\",\n \"version\": 4\n}"
        ));
        let keystore = Keystore::parse(text.as_bytes()).unwrap();
        let opened = keystore.decrypt(&password).unwrap();
        assert_eq!(opened.to_bytes(), secret.to_bytes());
    }

    #[test]
    fn every_departure_from_the_eip_is_refused() {
        let cases = [
            (
                "\"version\": 4",
                "\"version\": 3",
                "keystore version 3 instead of 4",
            ),
            (
                "\"version\": 4",
                "\"version\": 4, \"version\": 4",
                "version appears more than once",
            ),
            (
                "\"version\": 4",
                "\"version\": 4, \"extra\": 1",
                "extra is not part of the format",
            ),
            (
                "\"c\": 262144",
                "\"c\": 2147483648",
                "2147483648 rounds of PBKDF2",
            ),
            ("\"c\": 262144", "\"c\": 0", "0 rounds of PBKDF2"),
            ("\"c\": 262144", "\"c\": -1", "not negative"),
            ("\"c\": 262144", "\"n\": 262144", "c is missing"),
            (
                "\"dklen\": 32",
                "\"dklen\": 1073741824",
                "crypto.kdf.params.dklen",
            ),
            ("hmac-sha256", "hmac-sha512", "crypto.kdf.params.prf"),
            ("\"pbkdf2\"", "\"argon2\"", "crypto.kdf.function"),
            ("aes-128-ctr", "aes-128-cbc", "crypto.cipher.function"),
            ("\"sha256\"", "\"sha512\"", "crypto.checksum.function"),
            ("264daa3f", "264daa", "crypto.cipher.params.iv"),
            ("9612d7a7", "9612d7zz", "pubkey"),
            ("64625def-", "64625de-", "uuid"),
            ("m/12381", "m//12381", "path"),
        ];
        for (from, to, expected) in cases {
            let text = EIP_PBKDF2.replacen(from, to, 1);
            let error = Keystore::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
        for (from, to) in [
            ("\"n\": 262144", "\"n\": 1073741824"),
            ("\"n\": 262144", "\"n\": 262143"),
            ("\"n\": 262144", "\"n\": 524288"),
            ("\"r\": 8", "\"r\": 4294967295"),
            ("\"r\": 8", "\"r\": 0"),
            // Little for N times r, and four blocks of a gigabyte in all.
            (
                "\"n\": 262144, \"p\": 1, \"r\": 8",
                "\"n\": 2, \"p\": 4, \"r\": 1048576",
            ),
            (
                "\"n\": 262144, \"p\": 1, \"r\": 8",
                "\"n\": 1024, \"p\": 1, \"r\": 65",
            ),
            ("\"p\": 1", "\"p\": 1000000"),
        ] {
            let text = EIP_SCRYPT.replacen(from, to, 1);
            assert_ne!(text, EIP_SCRYPT, "{from}");
            assert!(
                matches!(Keystore::parse(text.as_bytes()), Err(ParseError::Cost(_))),
                "{to}"
            );
        }
        assert!(matches!(
            Keystore::parse(&vec![b' '; MAX_KEYSTORE_LEN + 1]),
            Err(ParseError::Json(json::ParseError::TooLarge { .. }))
        ));
        let deep = [b'['; 60_000];
        assert!(Keystore::parse(&deep).is_err());
    }

    #[test]
    fn passwords_of_another_form_are_told_apart() {
        for text in [
            "00112233445566778899AABBCCDDEEFF",
            "00112233445566778899aabbccddeeff\n",
            "0011",
            "",
        ] {
            assert!(!KeystorePassword::new(text.as_bytes()).is_charon_form());
        }
        assert_eq!(
            format!("{:?}", eip_password()),
            "KeystorePassword(redacted)"
        );
    }
}
