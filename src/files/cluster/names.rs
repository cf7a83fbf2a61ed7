//! The names of a data directory: what charon writes, and what each name means.
//!
//! One function, [`classify`], knows them all. `plan`, `archive`, `repair`, `verify`, the gate and backups ask it, so that they
//! cannot disagree about what is an output of a ceremony, and what is a secret.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::ValidatorIndex;

/// The node's ENR key (charon `p2p/k1.go`).
pub const ENR_KEY_FILE: &str = "charon-enr-private-key";
/// charon's heartbeat beside the ENR key (charon `app/privkeylock`); charon from v1.9 on leaves it behind.
pub const HEARTBEAT_FILE: &str = "charon-enr-private-key.lock";
/// The cluster definition (charon `cmd/dkg.go`).
pub const DEFINITION_FILE: &str = "cluster-definition.json";
/// The cluster lock (charon `dkg/disk.go`).
pub const CLUSTER_LOCK_FILE: &str = "cluster-lock.json";
/// The directory of keystores and their passwords (charon `cluster/helpers.go`).
pub const VALIDATOR_KEYS_DIR: &str = "validator_keys";
/// Written by `charon alpha add-validators-solo` of v0.17 to v1.5; changes which validators the cluster has.
pub const CLUSTER_MANIFEST_FILE: &str = "cluster-manifest.pb";

/// How the names of all deposit data files begin (charon `eth2util/deposit`).
const DEPOSIT_DATA: &str = "deposit-data";
/// Written by `--zipped` (charon `app.BundleOutput`), which deletes all loose files.
const BUNDLES: [&str; 2] = ["dkg.tar.gz", "cluster.tar.gz"];

/// Keeps git from a directory (gitignore(5)). Repositories put one into directories that they ship empty.
pub const GIT_IGNORE_FILE: &str = ".gitignore";

/// Deepest path inside a data directory; charon nests one directory, and more levels than this are nothing of charon's.
pub const MAX_DEPTH: usize = 8;

/// What an entry of a data directory is, by its name alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// The ENR key.
    EnrKey,
    /// charon's heartbeat.
    Heartbeat,
    /// The cluster definition.
    Definition,
    /// The cluster lock.
    ClusterLock,
    /// A manifest of validators that are not in the lock.
    ClusterManifest,
    /// `deposit-data.json`, `deposit-data-1eth.json`.
    DepositData,
    /// What is called like deposit data and has a name that charon does not give: `deposit-data.json.bak`,
    /// `Deposit-Data.json`. charon refuses to begin where most such names are (charon `dkg/disk.go`).
    OddDepositData,
    /// The directory of keystores.
    ValidatorKeys,
    /// A keystore, or anything else in or below the directory of keystores; [`KeyFile::parse`] tells them apart.
    Keystore,
    /// A keystore's password, by the end of its name.
    KeystorePassword,
    /// An archive of everything, the ENR key included.
    Bundle,
    /// A name that charon does not give.
    Other,
}

/// What an entry at the top of a data directory is to a ceremony that is about to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It may be there: ENR key, definition, sign of life.
    Input,
    /// A ceremony wrote it, so it is in the way of the next, and is moved aside by `archive`.
    Output,
    /// Neither of the two. `archive` does not touch it: an archive of everything may hold the only ENR key.
    Stranger,
}

/// What the entry at this path is; relative to the data directory, with `/` between its names.
pub fn classify(path: &str) -> Name {
    if let Some(name) = in_validator_keys(path) {
        return if name == GIT_IGNORE_FILE {
            Name::Other
        } else if path.ends_with(".txt") {
            Name::KeystorePassword
        } else {
            Name::Keystore
        };
    }
    match path {
        ENR_KEY_FILE => Name::EnrKey,
        HEARTBEAT_FILE => Name::Heartbeat,
        DEFINITION_FILE => Name::Definition,
        CLUSTER_LOCK_FILE => Name::ClusterLock,
        CLUSTER_MANIFEST_FILE => Name::ClusterManifest,
        VALIDATOR_KEYS_DIR => Name::ValidatorKeys,
        other if BUNDLES.contains(&other) => Name::Bundle,
        // In a directory of its own it does not belong to this ceremony.
        other if other.contains('/') => Name::Other,
        other if other.starts_with(DEPOSIT_DATA) && other.ends_with(".json") => Name::DepositData,
        other if other.to_ascii_lowercase().starts_with(DEPOSIT_DATA) => Name::OddDepositData,
        _ => Name::Other,
    }
}

/// The path within the directory of keystores.
fn in_validator_keys(path: &str) -> Option<&str> {
    path.strip_prefix(VALIDATOR_KEYS_DIR)?.strip_prefix('/')
}

/// A keystore or password under the name that charon gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyFile {
    /// Which validator it is of.
    pub validator: ValidatorIndex,
    /// Whether it is the password.
    pub is_password: bool,
    /// Whether the name says that the encryption is worthless (`create cluster --insecure-keys`).
    pub insecure: bool,
}

impl KeyFile {
    /// `validator_keys/keystore-12.json`, `validator_keys/keystore-insecure-0.txt` (charon `eth2util/keystore`); charon looks
    /// in this directory alone, and below it nowhere.
    pub fn parse(path: &str) -> Option<Self> {
        let rest = in_validator_keys(path)?.strip_prefix("keystore-")?;
        let (rest, insecure) = match rest.strip_prefix("insecure-") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let (digits, is_password) = match rest.rsplit_once('.')? {
            (digits, "json") => (digits, false),
            (digits, "txt") => (digits, true),
            _ => return None,
        };
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit())
            && (digits == "0" || !digits.starts_with('0'));
        Some(Self {
            validator: ValidatorIndex::new(digits.parse().ok().filter(|_| plain)?),
            is_password,
            insecure,
        })
    }
}

/// What the entry of this name at the top of a data directory is to a ceremony.
pub fn role(name: &str) -> Role {
    match classify(name) {
        Name::EnrKey | Name::Definition | Name::Heartbeat => Role::Input,
        // Not text, and so nothing that a journal of moves could name.
        _ if name.contains(char::REPLACEMENT_CHARACTER) => Role::Stranger,
        Name::ClusterLock
        | Name::ClusterManifest
        | Name::DepositData
        | Name::OddDepositData
        | Name::ValidatorKeys => Role::Output,
        Name::Keystore | Name::KeystorePassword | Name::Bundle | Name::Other => Role::Stranger,
    }
}

/// Whether what is beside a ceremony's files, or below that, may be a key, a cluster lock, deposit data or a secret, by the
/// last name of its path. A ceremony cannot confuse anything else.
pub fn may_be_of_a_ceremony(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    match classify(name) {
        Name::EnrKey
        | Name::Heartbeat
        | Name::ClusterLock
        | Name::ClusterManifest
        | Name::DepositData
        | Name::OddDepositData
        | Name::Keystore
        | Name::KeystorePassword
        | Name::Bundle => true,
        Name::Definition | Name::ValidatorKeys => false,
        Name::Other => {
            let name = name.to_ascii_lowercase();
            let begins = ["keystore", "cluster-lock", "deposit_data"];
            let ends = [".tar", ".tar.gz", ".tgz", ".zip", ".bak"];
            name.contains(char::REPLACEMENT_CHARACTER)
                || name.contains("private-key")
                || begins.iter().any(|begin| name.starts_with(begin))
                || ends.iter().any(|end| name.ends_with(end))
        }
    }
}

/// What of a secret a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secret<'a> {
    /// A whole one: the ENR key, or an archive that holds it.
    Whole,
    /// A keystore, which is of use only with the password of the same name; the path of both without what ends it.
    Keystore(&'a str),
    /// The password of a keystore.
    Password(&'a str),
}

/// What of a secret the file at this path holds, in a data directory or in this program's own, where outputs are kept aside.
pub fn secret(path: &str) -> Option<Secret<'_>> {
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    if name == ENR_KEY_FILE || BUNDLES.contains(&name) {
        return Some(Secret::Whole);
    }
    if name == GIT_IGNORE_FILE || !dir.split('/').any(|part| part == VALIDATOR_KEYS_DIR) {
        return None;
    }
    Some(match path.strip_suffix(".txt") {
        Some(stem) => Secret::Password(stem),
        None => Secret::Keystore(path.strip_suffix(".json").unwrap_or(path)),
    })
}

/// A file by name, length and content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileDigest {
    /// Path, relative to a directory that the context tells, with `/`: `validator_keys/keystore-0.json`.
    pub path: String,
    /// Length in bytes.
    pub len: u64,
    /// SHA-256 of the content; 64 hexadecimal digits as JSON.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub sha256: [u8; 32],
}

impl FileDigest {
    /// Of these bytes.
    pub fn of(path: impl Into<String>, bytes: &[u8]) -> Self {
        Self {
            path: path.into(),
            // A length in memory fits 64 bits.
            len: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            sha256: Sha256::digest(bytes).into(),
        }
    }
}

fn to_hex<S: Serializer>(sha256: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(sha256))
}

fn from_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    let text = String::deserialize(deserializer)?;
    let mut sha256 = [0; 32];
    hex::decode_to_slice(&text, &mut sha256).map_err(serde::de::Error::custom)?;
    Ok(sha256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        for (path, expected) in [
            ("charon-enr-private-key", Name::EnrKey),
            ("charon-enr-private-key.bak", Name::Other),
            ("charon-enr-private-key.lock", Name::Heartbeat),
            ("old/charon-enr-private-key", Name::Other),
            ("cluster-definition.json", Name::Definition),
            ("cluster-lock.json", Name::ClusterLock),
            ("cluster-lock.json.bak", Name::Other),
            ("cluster-manifest.pb", Name::ClusterManifest),
            ("deposit-data.json", Name::DepositData),
            ("deposit-data-31.5eth.json", Name::DepositData),
            ("deposit-data-32eth.json.bak", Name::OddDepositData),
            ("Deposit-Data.json", Name::OddDepositData),
            ("deposit-data/x.json", Name::Other),
            ("validator_keys", Name::ValidatorKeys),
            ("validator_keys.bak", Name::Other),
            ("validator_keys/keystore-0.json", Name::Keystore),
            ("validator_keys/keystore-0.txt", Name::KeystorePassword),
            ("validator_keys/.gitignore", Name::Other),
            ("keystore-0.json", Name::Other),
            ("dkg.tar.gz", Name::Bundle),
            ("", Name::Other),
        ] {
            assert_eq!(classify(path), expected, "{path}");
        }
    }

    #[test]
    fn only_charons_names_are_key_files() {
        for (name, validator, is_password, insecure) in [
            ("keystore-0.json", 0, false, false),
            ("keystore-12.txt", 12, true, false),
            ("keystore-insecure-3.json", 3, false, true),
        ] {
            let expected = KeyFile {
                validator: ValidatorIndex::new(validator),
                is_password,
                insecure,
            };
            let path = format!("{VALIDATOR_KEYS_DIR}/{name}");
            assert_eq!(KeyFile::parse(&path), Some(expected), "{name}");
            assert_eq!(KeyFile::parse(name), None, "{name}");
        }
        for name in [
            "keystore-00.json",
            "keystore-01.json",
            "keystore-.json",
            "keystore-+1.json",
            "keystore-1.json.bak",
            "keystore-1",
            "keystore-99999999999999999999999.json",
            "below/keystore-0.json",
            "README",
        ] {
            let path = format!("{VALIDATOR_KEYS_DIR}/{name}");
            assert_eq!(KeyFile::parse(&path), None, "{name}");
        }
    }

    #[test]
    fn neither_the_key_nor_what_may_hold_it_is_moved_aside() {
        for name in [
            ENR_KEY_FILE,
            "charon-enr-private-key.bak",
            HEARTBEAT_FILE,
            "dkg.tar.gz",
            "other.lock",
            "deposit-data\u{fffd}.json",
        ] {
            assert_ne!(role(name), Role::Output, "{name}");
        }
    }

    #[test]
    fn a_keystore_and_its_password_are_known_as_a_pair() {
        let stem = "archive/x/validator_keys/keystore-0";
        let of = |end: &str| format!("{stem}{end}");
        assert_eq!(secret(&of(".json")), Some(Secret::Keystore(stem)));
        assert_eq!(secret(&of(".txt")), Some(Secret::Password(stem)));
        let key = "attempts/1/stage/charon-enr-private-key";
        assert_eq!(secret(key), Some(Secret::Whole));
        assert_eq!(secret("cluster.tar.gz"), Some(Secret::Whole));
        for public in ["validator_keys", CLUSTER_LOCK_FILE, "keystore-0.txt"] {
            assert_eq!(secret(public), None, "{public}");
        }
    }
}
