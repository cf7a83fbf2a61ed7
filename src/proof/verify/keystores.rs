//! `validator_keys/`: that it holds exactly this node's shares, and that every password opens its keystore.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use charon_files::cluster::names::{KeyFile, Name, VALIDATOR_KEYS_DIR, classify};
use charon_files::cluster::{ClusterLock, NodeIndex, ValidatorIndex};
use charon_files::keys::bls::ShareSecret;
use charon_files::keys::keystore::{
    CHARON_PBKDF2_ROUNDS, DecryptError, Kdf, Keystore, KeystorePassword, MAX_PASSWORD_LEN,
    ParseError, decrypt_many,
};

use super::check::OWN_KEYSTORE;
use super::ledger::Ledger;
use super::{Check, Context, NamedFile, Phase};

/// scrypt costs at least as high as PBKDF2 with charon's rounds: N = 2^14 with r = 8, the least in wide use (RFC 7914).
const MIN_SCRYPT_LOG_N: u8 = 14;
const MIN_SCRYPT_R: u32 = 8;

/// What came of it.
#[derive(Default)]
pub(super) struct Opened {
    /// Keystores that hold the right share.
    pub(super) count: usize,
    /// Those among them that were proved before.
    pub(super) proved_before: usize,
    /// One digest per such keystore, by number.
    pub(super) digests: Vec<[u8; 32]>,
}

/// The two files of one number.
#[derive(Default)]
struct Pair<'a> {
    keystore: Option<&'a NamedFile>,
    password: Option<&'a NamedFile>,
}

/// Where a public share belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Share(ValidatorIndex, NodeIndex),
    GroupKey(ValidatorIndex),
}

pub(super) fn check(
    context: &Context<'_>,
    lock: &ClusterLock,
    node: Option<NodeIndex>,
    ledger: &mut Ledger,
) -> Opened {
    ledger.ran(&[
        Check::KeystoreSet,
        Check::KeystoreCost,
        Check::KeystorePassword,
        Check::KeystoreDecrypt,
        Check::KeystorePublicKey,
        Check::KeystoreShare,
    ]);
    let pairs = pair_up(context, lock, ledger);
    let owners = owners(lock);
    let read: Vec<(Option<Ready>, Ledger)> = pairs
        .par_iter()
        .map(|(index, pair)| {
            let mut ledger = Ledger::default();
            let ready = check_pair(context, &owners, node, *index, pair, &mut ledger);
            (ready, ledger)
        })
        .collect();
    let mut ready = Vec::with_capacity(read.len());
    for (pair, part) in read {
        ledger.merge(part);
        ready.extend(pair);
    }

    // What was proved before is not stretched again: that is where the time goes.
    let (before, open): (Vec<Ready>, Vec<Ready>) = ready
        .into_iter()
        .partition(|pair| (context.options.proved_keystores)(&pair.digest));
    let progress = context.options.progress;
    progress.set_total(Phase::Keystores, before.len() + open.len());
    progress.advance(Phase::Keystores, before.len());
    let locked: Vec<(&Keystore, &KeystorePassword)> = open
        .iter()
        .map(|pair| (&pair.keystore, &pair.password))
        .collect();
    let secrets = decrypt_many(&locked, &|steps| progress.advance(Phase::Keystores, steps));

    let mut proved: Vec<&Ready> = before.iter().collect();
    for (pair, secret) in open.iter().zip(&secrets) {
        if check_secret(pair, secret, ledger) {
            proved.push(pair);
        }
    }
    proved.retain(|pair| pair.is_right_share);
    proved.sort_by_key(|pair| pair.index);
    Opened {
        count: proved.len(),
        proved_before: before.iter().filter(|pair| pair.is_right_share).count(),
        digests: proved.iter().map(|pair| pair.digest).collect(),
    }
}

fn owners(lock: &ClusterLock) -> HashMap<[u8; 48], Owner> {
    let mut owners = HashMap::new();
    for (index, validator) in lock.validators() {
        for (position, share) in validator.public_shares.iter().enumerate() {
            owners.insert(*share, Owner::Share(index, NodeIndex::new(position)));
        }
        owners.insert(validator.public_key, Owner::GroupKey(index));
    }
    owners
}

/// Sorts the files by their number and reports what is missing, too many or misnamed.
fn pair_up<'a>(
    context: &Context<'a>,
    lock: &ClusterLock,
    ledger: &mut Ledger,
) -> BTreeMap<ValidatorIndex, Pair<'a>> {
    let files = &context.material.keystores;
    let count = lock.validators.len();
    let mut pairs: BTreeMap<ValidatorIndex, Pair<'a>> = BTreeMap::new();
    for file in files {
        let Some(named) = KeyFile::parse(&file.path) else {
            if may_be_loaded(&file.path) {
                ledger.fail_with(
                    Check::KeystoreSet,
                    &file.path,
                    "a name or place that charon does not give",
                    "keystore-N.json and keystore-N.txt in validator_keys",
                    "find out what it is and move it away: a validator client may load it beside this node's own keys",
                );
            } else {
                ledger.note(
                    Check::KeystoreSet,
                    &file.path,
                    "a file that charon does not write",
                    "keystores and passwords only",
                    "",
                );
            }
            continue;
        };
        let index = named.validator;
        if named.insecure {
            ledger.fail(
                Check::KeystoreCost,
                &file.path,
                "a name that charon gives to insecure keystores",
                "keystore-N.json and keystore-N.txt",
            );
        }
        if index.position() >= count {
            ledger.fail_with(
                Check::KeystoreSet,
                &file.path,
                format!("number {index}"),
                format!("numbers below {count}, the number of validators"),
                "it belongs to another cluster or to validators that were added later: find out which",
            );
            continue;
        }
        let pair = pairs.entry(index).or_default();
        let place = if named.is_password {
            &mut pair.password
        } else {
            &mut pair.keystore
        };
        if let Some(other) = place.replace(file) {
            ledger.fail(
                Check::KeystoreSet,
                &file.path,
                format!("the same number as {}", other.path),
                "one file for each validator",
            );
        }
    }
    // What is no file cannot be read, but it is there, and charon looks for everything of such a name.
    for name in &context.material.other_names {
        if matches!(classify(name), Name::Keystore | Name::KeystorePassword) && may_be_loaded(name)
        {
            ledger.fail(
                Check::KeystoreSet,
                name,
                "something that is no file",
                "keystores and passwords only",
            );
        }
    }
    report_missing(context, count, &pairs, ledger);
    pairs
}

/// Whether some validator client would take it for a keystore: Teku loads every `.json` below the directory, others what
/// begins like charon's.
pub(super) fn may_be_loaded(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    name.starts_with("keystore") || name.ends_with(".json")
}

fn report_missing(
    context: &Context<'_>,
    count: usize,
    pairs: &BTreeMap<ValidatorIndex, Pair<'_>>,
    ledger: &mut Ledger,
) {
    // A ceremony of ours never sends keys to a key manager, so after one they must be there.
    if pairs.is_empty() && count > 0 && context.expectations.definition_hash.is_none() {
        let is_elsewhere = context
            .material
            .other_names
            .iter()
            .any(|name| name == VALIDATOR_KEYS_DIR);
        let (seen, advice) = if is_elsewhere {
            (
                "no directory, such as a link to one, which is not followed",
                "put the directory itself in its place",
            )
        } else {
            (
                "no keystore",
                "they are in a key manager (`charon dkg --keymanager-address`), which this program cannot look into, or lost",
            )
        };
        let expected = format!("{count} keystores");
        ledger.could_not_tell(
            Check::KeystoreSet,
            VALIDATOR_KEYS_DIR,
            seen,
            expected,
            advice,
        );
        return;
    }
    for index in (0..count).map(ValidatorIndex::new) {
        let pair = pairs.get(&index);
        let has = |pick: fn(&Pair<'_>) -> bool| pair.is_some_and(pick);
        for (present, suffix) in [
            (has(|pair| pair.keystore.is_some()), "json"),
            (has(|pair| pair.password.is_some()), "txt"),
        ] {
            if !present {
                ledger.fail(
                    Check::KeystoreSet,
                    format!("{VALIDATOR_KEYS_DIR}/keystore-{index}.{suffix}"),
                    "missing",
                    format!("keystores and passwords for all {count} validators"),
                );
            }
        }
    }
}

/// A keystore with its password, ready to be opened.
struct Ready {
    index: ValidatorIndex,
    path: String,
    keystore: Keystore,
    password: KeystorePassword,
    digest: [u8; 32],
    /// Whether its public key is that of this node's share of this validator.
    is_right_share: bool,
}

fn check_pair(
    context: &Context<'_>,
    owners: &HashMap<[u8; 48], Owner>,
    node: Option<NodeIndex>,
    index: ValidatorIndex,
    pair: &Pair<'_>,
    ledger: &mut Ledger,
) -> Option<Ready> {
    let password = pair.password.and_then(|file| read_password(file, ledger));
    let file = pair.keystore?;
    let keystore = read_keystore(file, ledger)?;
    check_cost(file, &keystore, ledger);
    let is_right_share = check_share(context, owners, node, index, file, &keystore, ledger);
    let (password_file, password) = password?;
    Some(Ready {
        index,
        path: file.path.clone(),
        keystore,
        password,
        digest: pair_digest(&file.sha256(), &password_file.sha256()),
        is_right_share,
    })
}

/// One digest for a keystore and its password, from the SHA-256 of both files.
pub(super) fn pair_digest(keystore: &[u8; 32], password: &[u8; 32]) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"charon-dkg keystore and password")
        .chain_update(keystore)
        .chain_update(password)
        .finalize()
        .into()
}

fn read_password<'a>(
    file: &'a NamedFile,
    ledger: &mut Ledger,
) -> Option<(&'a NamedFile, KeystorePassword)> {
    if file.bytes.len() > MAX_PASSWORD_LEN {
        ledger.could_not_tell(
            Check::KeystorePassword,
            &file.path,
            format!("{} bytes", file.bytes.len()),
            format!("at most {MAX_PASSWORD_LEN} bytes; charon writes 32 hexadecimal digits"),
            Check::KeystorePassword.advice(),
        );
        return None;
    }
    let password = KeystorePassword::new(&file.bytes);
    if !password.is_charon_form() {
        // charon takes any password that opens the keystore, and that is a check of its own.
        let newline = file.bytes.last() == Some(&b'\n');
        ledger.note(
            Check::KeystorePassword,
            &file.path,
            format!(
                "{} bytes{}",
                file.bytes.len(),
                if newline {
                    ", the last a newline, which charon ignores"
                } else {
                    ""
                }
            ),
            "32 lower-case hexadecimal digits, as charon writes them",
            "",
        );
    }
    Some((file, password))
}

fn read_keystore(file: &NamedFile, ledger: &mut Ledger) -> Option<Keystore> {
    let error = match Keystore::parse(&file.bytes) {
        Ok(keystore) => return Some(keystore),
        Err(error) => error,
    };
    let expected = "a keystore of EIP-2335 as charon writes it";
    match &error {
        ParseError::UnknownField(_) => ledger.could_not_tell(
            Check::FileUnknownField,
            &file.path,
            error,
            expected,
            "charon ignores it, but a validator client may not: find out which program wrote it",
        ),
        ParseError::Cost(_) => ledger.could_not_tell(
            Check::KeystoreCost,
            &file.path,
            error,
            expected,
            "charon never writes such a keystore: find out where it comes from",
        ),
        ParseError::Ambiguous(_) => {
            ledger.fail_with(
                Check::FileAmbiguous,
                &file.path,
                error,
                expected,
                OWN_KEYSTORE,
            );
        }
        ParseError::Json(_) | ParseError::Missing(_) | ParseError::Version(_) => {
            ledger.fail_with(Check::FileFormat, &file.path, error, expected, OWN_KEYSTORE)
        }
    }
    None
}

fn check_cost(file: &NamedFile, keystore: &Keystore, ledger: &mut Ledger) {
    let expected = format!("{CHARON_PBKDF2_ROUNDS} rounds of PBKDF2");
    match &keystore.kdf {
        Kdf::Pbkdf2 { rounds, .. } if rounds.get() >= CHARON_PBKDF2_ROUNDS => {}
        Kdf::Pbkdf2 { rounds, .. } => ledger.fail(
            Check::KeystoreCost,
            &file.path,
            format!("{rounds} rounds of PBKDF2"),
            expected,
        ),
        Kdf::Scrypt { log_n, r, .. } if *log_n >= MIN_SCRYPT_LOG_N && *r >= MIN_SCRYPT_R => ledger
            .note(
                Check::KeystoreCost,
                &file.path,
                "scrypt, which charon never writes",
                expected,
                "",
            ),
        Kdf::Scrypt { log_n, r, .. } => ledger.fail(
            Check::KeystoreCost,
            &file.path,
            format!("scrypt with N = 2^{log_n} and r = {r}"),
            expected,
        ),
    }
}

/// Whether the keystore's public key is this node's share of the right validator; if not, says whose it is.
fn check_share(
    context: &Context<'_>,
    owners: &HashMap<[u8; 48], Owner>,
    node: Option<NodeIndex>,
    index: ValidatorIndex,
    file: &NamedFile,
    keystore: &Keystore,
    ledger: &mut Ledger,
) -> bool {
    let owner = owners.get(&keystore.public_key).copied();
    // Without a known node the keystores can still be in the right order.
    if let Some(Owner::Share(validator, holder)) = owner
        && validator == index
        && node.is_none_or(|node| node == holder)
    {
        return node.is_some();
    }
    let expected = match node {
        Some(node) => format!(
            "the share of {} of validator {index}",
            context.operator(node)
        ),
        None => format!("a share of validator {index}"),
    };
    match owner {
        Some(Owner::Share(validator, holder)) => ledger.fail(
            Check::KeystoreShare,
            &file.path,
            format!(
                "the share of {} of validator {validator}",
                context.operator(holder)
            ),
            expected,
        ),
        Some(Owner::GroupKey(validator)) => ledger.fail_with(
            Check::KeystoreShare,
            &file.path,
            format!("the undivided key of validator {validator}"),
            expected,
            "anyone who holds this file controls the validator alone: do not fund it",
        ),
        None => ledger.fail(
            Check::KeystoreShare,
            &file.path,
            format!(
                "a key that is in no validator of this lock (0x{})",
                hex::encode(keystore.public_key)
            ),
            expected,
        ),
    }
    false
}

/// Whether the keystore opened and holds the secret of the public key beside it.
fn check_secret(
    pair: &Ready,
    secret: &Result<ShareSecret, DecryptError>,
    ledger: &mut Ledger,
) -> bool {
    match secret {
        Ok(secret) => {
            let actual = secret.public_key().to_bytes();
            let stated = pair.keystore.public_key;
            if actual == stated {
                return true;
            }
            ledger.fail(
                Check::KeystorePublicKey,
                &pair.path,
                format!("the secret of 0x{}", hex::encode(actual)),
                format!("of 0x{}, as stated", hex::encode(stated)),
            );
        }
        Err(error @ (DecryptError::Checksum | DecryptError::NotAScalar)) => ledger.fail(
            Check::KeystoreDecrypt,
            &pair.path,
            error,
            "a keystore that its password file opens",
        ),
    }
    false
}
