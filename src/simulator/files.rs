//! charon's files in a data directory: its checks before the ceremony, its writes after it, its heartbeat
//! (`dkg/disk.go`, `eth2util/keystore`, `app/privkeylock`).

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::num::NonZeroU32;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use charon_files::keys::bls::ShareSecret;
use charon_files::keys::k1::EnrKey;
use charon_files::keys::keystore::{
    self, CHARON_PBKDF2_ROUNDS, Keystore, KeystorePassword, Nonces,
};

use super::failure::Failure;
use super::relay::entropy;
use super::wire::Fault;

/// The ENR key's file.
pub(crate) const KEY_FILE: &str = "charon-enr-private-key";

/// The result of a ceremony.
const LOCK_FILE: &str = "cluster-lock.json";

/// A heartbeat younger than this is somebody else's.
const STALE: Duration = Duration::from_secs(5);

/// After an edit the key rests for two epochs.
const GRACE: Duration = Duration::from_secs(768);

/// Writes a file as Go's `os.WriteFile` does: an existing file keeps its mode.
fn write_file(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .map_err(|error| Failure::io("open", path, &error))?;
    file.write_all(bytes)
        .map_err(|error| Failure::io("write", path, &error))
}

/// Creates a directory and its parents, open to all that the umask allows.
fn create_directories(path: &Path) -> Result<(), Failure> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o777);
    builder
        .create(path)
        .map_err(|error| Failure::io("mkdir", path, &error))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// charon's heartbeat beside the ENR key.
#[derive(Debug, Serialize, Deserialize)]
struct HeartbeatFile {
    command: String,
    timestamp: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    cluster_lock_hash: String,
}

/// The hash of the lock beside the key.
#[derive(Debug, Default, Deserialize)]
struct LockHashOnly {
    #[serde(default)]
    lock_hash: String,
}

/// charon's hold on an ENR key: a file that it rewrites every second (`app/privkeylock`).
#[derive(Debug, Clone)]
pub(crate) struct Heartbeat {
    path: PathBuf,
    cluster_lock_hash: String,
}

impl Heartbeat {
    /// Takes the hold, unless the file says that somebody else has it.
    pub(crate) fn take(data_dir: &Path) -> Result<Self, Failure> {
        let key = data_dir.join(KEY_FILE);
        match fs::metadata(&key) {
            Ok(found) if found.is_dir() => {
                return Err(Failure::new(
                    "private key file path is a directory, please check the path",
                )
                .field("path", shown(&key)));
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(
                    Failure::new("private key file does not exist, please check the path")
                        .field("path", shown(&key)),
                );
            }
            Err(error) => {
                return Err(Failure::io("stat", &key, &error)
                    .wrapped("fetch file info for private key file")
                    .field("path", shown(&key)));
            }
        }
        let parent = fs::metadata(data_dir).map_err(|error| {
            Failure::io("stat", data_dir, &error).wrapped("check parent directory")
        })?;
        if parent.permissions().mode() & 0o200 == 0 {
            return Err(
                Failure::new("parent directory is not writable").field("dir", shown(data_dir))
            );
        }
        let heartbeat = Self {
            path: data_dir.join(format!("{KEY_FILE}.lock")),
            cluster_lock_hash: lock_hash_beside(data_dir)?,
        };
        heartbeat.check()?;
        heartbeat.beat()?;
        Ok(heartbeat)
    }

    fn check(&self) -> Result<(), Failure> {
        let path = &self.path;
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                return Err(Failure::io("open", path, &error)
                    .wrapped("read private key lock file")
                    .field("path", shown(path)));
            }
        };
        let malformed = |words: String| {
            Failure::new(words)
                .wrapped("decode private key lock file")
                .field("path", shown(path))
        };
        let found: HeartbeatFile =
            serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        let written: Timestamp = found
            .timestamp
            .parse()
            .map_err(|error: jiff::Error| malformed(error.to_string()))?;
        let age = Timestamp::now().duration_since(written);
        let age = Duration::try_from(age).unwrap_or_default();
        if age <= STALE {
            return Err(Failure::new(
                "private key lock file is recently updated, another charon instance may be running on your machine",
            )
            .field("path", shown(path))
            .field("command", found.command)
            .field("cluster_lock_hash", found.cluster_lock_hash));
        }
        let other = found.cluster_lock_hash;
        if !other.is_empty() && other != self.cluster_lock_hash && age < GRACE {
            let wait = GRACE.saturating_sub(age).as_secs();
            return Err(Failure::new(format!(
                "an existing private key lock file is present with a different cluster lock hash, for safety reasons, \
                 you must wait for {wait}s before starting charon with a modified cluster"
            ))
            .field("path", shown(path))
            .field("command", found.command)
            .field("existing_cluster_lock_hash", other)
            .field("current_cluster_lock_hash", self.cluster_lock_hash.clone()));
        }
        Ok(())
    }

    /// Says that this node lives. Since v1.9 the file stays behind.
    pub(crate) fn beat(&self) -> Result<(), Failure> {
        let file = HeartbeatFile {
            command: "charon dkg".to_owned(),
            timestamp: Timestamp::now().to_string(),
            cluster_lock_hash: self.cluster_lock_hash.clone(),
        };
        let text = serde_json::to_string(&file)
            .map_err(|error| Failure::new(format!("marshal private key lock file: {error}")))?;
        write_file(&self.path, text.as_bytes(), 0o666).map_err(|failure| {
            if failure.words.ends_with("permission denied") {
                Failure::new(
                    "permission denied while writing lock file, please check file permissions",
                )
                .field("path", shown(&self.path))
            } else {
                failure
                    .wrapped("write private key lock file")
                    .field("path", shown(&self.path))
            }
        })
    }
}

fn lock_hash_beside(data_dir: &Path) -> Result<String, Failure> {
    let path = data_dir.join(LOCK_FILE);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice::<LockHashOnly>(&bytes)
            .map(|found| found.lock_hash)
            .map_err(|error| {
                Failure::new(format!("decode cluster lock hash file: {error}"))
                    .field("path", shown(&path))
            }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Failure::io("open", &path, &error)
            .wrapped("read cluster lock file")
            .field("path", shown(&path))),
    }
}

/// Refuses a directory with results of another ceremony.
pub(crate) fn check_clear(data_dir: &Path) -> Result<(), Failure> {
    let place = || shown(data_dir);
    match fs::metadata(data_dir) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => {
            return Err(Failure::new("data directory is a file, cannot continue")
                .field("data-dir", place()));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(
                Failure::new("data directory does not exist, cannot continue")
                    .field("data-dir", place()),
            );
        }
        Err(error) => {
            return Err(Failure::io("stat", data_dir, &error)
                .wrapped("error while retrieving data directory info")
                .field("data-dir", place()));
        }
    }
    let listing = |error: std::io::Error| {
        Failure::io("open", data_dir, &error)
            .wrapped("list contents of data directory")
            .field("data-dir", place())
    };
    let entries = fs::read_dir(data_dir).map_err(listing)?;
    let mut names = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(listing)?;
    // Go lists directories in order.
    names.sort();
    let is_result = |name: &&String| {
        *name == "validator_keys" || *name == LOCK_FILE || name.starts_with("deposit-data")
    };
    if let Some(name) = names.iter().find(is_result) {
        return Err(Failure::new("data directory not clean, cannot continue")
            .field("disallowed_entity", name.clone())
            .field("data-dir", place()));
    }
    if !names.iter().any(|name| name == KEY_FILE) {
        return Err(Failure::new("missing required files, cannot continue")
            .field("file_name", KEY_FILE)
            .field("data-dir", place()));
    }
    Ok(())
}

/// Tries to write what the ceremony will write.
pub(crate) fn check_writes(data_dir: &Path) -> Result<(), Failure> {
    const PROBE: &[u8] = b"delete me: dummy file used to check write permissions";
    for file in [
        LOCK_FILE,
        "deposit-data.json",
        "validator_keys/keystore-0.json",
    ] {
        let path = data_dir.join(file);
        let directory = file.split_once('/').map(|(directory, _)| directory);
        if let Some(directory) = directory {
            create_directories(&data_dir.join(directory)).map_err(|failure| {
                failure
                    .wrapped("mkdir check writes")
                    .field("dir", directory)
            })?;
        }
        write_file(&path, PROBE, 0o444).map_err(|failure| {
            failure
                .wrapped("write file check writes")
                .field("file", file)
        })?;
        fs::remove_file(&path).map_err(|error| {
            Failure::io("remove", &path, &error)
                .wrapped("remove file check writes")
                .field("file", file)
        })?;
        if let Some(directory) = directory {
            let path = data_dir.join(directory);
            fs::remove_dir_all(&path).map_err(|error| {
                Failure::io("remove", &path, &error)
                    .wrapped("remove dir check writes")
                    .field("dir", directory)
            })?;
        }
    }
    Ok(())
}

/// Reads the ENR key.
pub(crate) fn load_key(data_dir: &Path) -> Result<EnrKey, Failure> {
    let path = data_dir.join(KEY_FILE);
    let bytes = fs::read(&path).map(Zeroizing::new).map_err(|error| {
        Failure::io("open", &path, &error)
            .wrapped("read private key from disk")
            .wrapped("load private key")
            .field("file", shown(&path))
    })?;
    EnrKey::parse(&bytes).map_err(|error| {
        Failure::new(error.to_string())
            .wrapped("decode private key hex")
            .wrapped("load private key")
    })
}

/// Reads the shares of this many validators, in order.
pub(crate) fn read_keystores(directory: &Path, count: usize) -> Result<Vec<ShareSecret>, Failure> {
    let wrong = |path: &Path, words: String| {
        Failure::new(words)
            .wrapped("load private key share")
            .field("path", shown(path))
    };
    let read = |path: &Path| {
        fs::read(path)
            .map(Zeroizing::new)
            .map_err(|error| wrong(path, error.to_string()))
    };
    (0..count)
        .into_par_iter()
        .map(|position| {
            let path = directory.join(format!("keystore-{position}.json"));
            let password = read(&path.with_extension("txt"))?;
            let keystore =
                Keystore::parse(&read(&path)?).map_err(|error| wrong(&path, error.to_string()))?;
            keystore
                .decrypt(&KeystorePassword::new(&password))
                .map_err(|error| wrong(&path, error.to_string()))
        })
        .collect()
}

/// Makes a directory, or takes an empty one (`app/disk.go`, `CreateNewEmptyDir`).
pub(crate) fn create_empty_directory(path: &Path) -> Result<(), Failure> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(Failure::io("mkdir", path, &error).wrapped("mkdir"));
        }
        Ok(()) | Err(_) => {}
    }
    let entries = fs::read_dir(path).map_err(|error| Failure::io("open", path, &error))?;
    if entries.count() > 0 {
        return Err(Failure::new("directory not empty").field("path", shown(path)));
    }
    Ok(())
}

/// Copies the ENR key, and the heartbeat beside it.
pub(crate) fn copy_key(key: &Path, output: &Path) -> Result<(), Failure> {
    let heartbeat = format!("{KEY_FILE}.lock");
    for (from, name) in [
        (key.to_owned(), KEY_FILE),
        (key.with_file_name(&heartbeat), &heartbeat),
    ] {
        match fs::read(&from).map(Zeroizing::new) {
            Ok(bytes) => write_file(&output.join(name), &bytes, 0o600)?,
            Err(error) if error.kind() == ErrorKind::NotFound && name != KEY_FILE => {}
            Err(error) => {
                return Err(Failure::io("open", &from, &error).wrapped("open source file"));
            }
        }
    }
    Ok(())
}

/// Whether deposit data is there.
pub(crate) fn has_deposit_data(directory: &Path) -> bool {
    let Ok(entries) = fs::read_dir(directory) else {
        return false;
    };
    entries.flatten().any(|entry| {
        entry
            .file_name()
            .to_string_lossy()
            .starts_with("deposit-data")
    })
}

/// Makes a new ENR key.
pub(crate) fn create_key(data_dir: &Path) -> Result<EnrKey, Failure> {
    create_directories(data_dir).map_err(|failure| failure.wrapped("create directory"))?;
    let mut secret = Zeroizing::new([0; 32]);
    entropy(secret.as_mut_slice())?;
    let key = EnrKey::from_secret_bytes(&secret)
        .map_err(|error| Failure::new(format!("generate private key: {error}")))?;
    let path = data_dir.join(KEY_FILE);
    write_file(&path, key.to_file_text().as_bytes(), 0o600).map_err(|failure| {
        failure
            .wrapped("write private key to disk")
            .wrapped("save private key")
    })?;
    Ok(key)
}

/// Writes the keystores with their passwords, as many at a time as there are cores.
pub(crate) fn write_keystores(
    data_dir: &Path,
    secrets: &[ShareSecret],
    fault: Option<Fault>,
) -> Result<(), Failure> {
    let directory = data_dir.join("validator_keys");
    create_directories(&directory)
        .map_err(|failure| failure.wrapped("mkdir").field("path", shown(&directory)))?;
    let last = secrets.len().saturating_sub(1);
    let full_at = secrets.len() / 2;
    secrets
        .par_iter()
        .enumerate()
        .filter(|(index, _)| match fault {
            Some(Fault::MissingKeystore) => *index != last,
            Some(Fault::FullDisk) => *index <= full_at,
            Some(Fault::Hang | Fault::DieAfterKeys | Fault::WrongKeystore) | None => true,
        })
        .try_for_each(|(index, secret)| {
            let stem = directory.join(format!("keystore-{index}"));
            if fault == Some(Fault::WrongKeystore) && index == 0 {
                let mut random = Zeroizing::new([0; 32]);
                entropy(random.as_mut_slice())?;
                let other = ShareSecret::from_entropy(random.as_slice())
                    .map_err(|error| Failure::new(error.to_string()))?;
                return write_keystore(&stem, &other);
            }
            if fault == Some(Fault::FullDisk) && index == full_at {
                let path = stem.with_extension("json");
                write_file(&path, b"{\n \"crypto\"", 0o444)?;
                return Err(Failure::new(format!(
                    "write keystore: write {}: no space left on device",
                    shown(&path)
                ))
                .field("filename", shown(&path)));
            }
            write_keystore(&stem, secret)
        })
}

fn write_keystore(stem: &Path, secret: &ShareSecret) -> Result<(), Failure> {
    let path = stem.with_extension("json");
    let mut random = Zeroizing::new([0; 80]);
    entropy(random.as_mut_slice())?;
    let mut nonces = Nonces {
        salt: [0; 32],
        iv: [0; 16],
        uuid: [0; 16],
    };
    nonces.salt.copy_from_slice(&random[..32]);
    nonces.iv.copy_from_slice(&random[32..48]);
    nonces.uuid.copy_from_slice(&random[48..64]);
    let password = Zeroizing::new(hex::encode(&random[64..]));
    let rounds = NonZeroU32::new(CHARON_PBKDF2_ROUNDS).unwrap_or(NonZeroU32::MIN);
    let text = keystore::encrypt(
        secret,
        &KeystorePassword::new(password.as_bytes()),
        &nonces,
        rounds,
    )
    .map_err(|error| Failure::new(format!("encryption error: {error}")))?;
    let named = |failure: Failure| failure.field("filename", shown(&path));
    write_file(&path, text.as_bytes(), 0o444)
        .map_err(|failure| named(failure.wrapped("write keystore")))?;
    write_file(&stem.with_extension("txt"), password.as_bytes(), 0o400).map_err(|failure| {
        named(
            failure
                .wrapped("write password file")
                .wrapped("store password"),
        )
    })
}

/// Writes the cluster lock.
pub(crate) fn write_lock(data_dir: &Path, text: &str) -> Result<(), Failure> {
    write_file(&data_dir.join(LOCK_FILE), text.as_bytes(), 0o444)
        .map_err(|failure| failure.wrapped("write lock"))
}

/// Writes a deposit data file.
pub(crate) fn write_deposit_data(data_dir: &Path, name: &str, text: &str) -> Result<(), Failure> {
    write_file(&data_dir.join(name), text.as_bytes(), 0o444)
        .map_err(|failure| failure.wrapped("write deposit data"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean_directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        create_key(directory.path()).unwrap();
        directory
    }

    #[test]
    fn results_of_another_ceremony_are_refused_by_name() {
        let directory = clean_directory();
        check_clear(directory.path()).unwrap();
        for name in [
            "validator_keys",
            "cluster-lock.json",
            "deposit-data-1eth.json",
        ] {
            let path = directory.path().join(name);
            fs::write(&path, "").unwrap();
            let failure = check_clear(directory.path()).unwrap_err();
            assert_eq!(failure.words, "data directory not clean, cannot continue");
            assert_eq!(failure.fields[0], ("disallowed_entity", name.into()));
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn the_write_check_leaves_nothing_behind() {
        let directory = clean_directory();
        check_writes(directory.path()).unwrap();
        let names: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, [KEY_FILE]);
    }

    #[test]
    fn a_fresh_heartbeat_keeps_others_away_and_an_old_one_does_not() {
        let directory = clean_directory();
        Heartbeat::take(directory.path()).unwrap();
        let failure = Heartbeat::take(directory.path()).unwrap_err();
        assert!(
            failure
                .words
                .starts_with("private key lock file is recently updated"),
            "{failure:?}"
        );
        assert_eq!(failure.fields[1], ("command", "charon dkg".into()));

        let path = directory.path().join(format!("{KEY_FILE}.lock"));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o600, 0o600);
        fs::write(
            &path,
            r#"{"command":"charon run","timestamp":"2026-01-02T03:04:05.678901234Z"}"#,
        )
        .unwrap();
        Heartbeat::take(directory.path()).unwrap();
    }

    #[test]
    fn a_missing_key_is_told_before_anything_else() {
        let directory = tempfile::tempdir().unwrap();
        let failure = Heartbeat::take(directory.path()).unwrap_err();
        assert_eq!(
            failure.words,
            "private key file does not exist, please check the path"
        );
    }
}
