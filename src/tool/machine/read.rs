//! Reading what strangers wrote, within bounds: only regular files, no longer than the limit,
//! and exactly as long as they were when opened.
//!
//! A definition may be a FIFO that nobody writes to, a key file may be a link to a device, and a
//! cluster lock may be a gigabyte: each is refused before a byte is read.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use charon_files::cluster::{cluster_lock, definition, deposit_data};
use charon_files::keys::keystore;

use crate::machine::files::{EntryKind, FileError, Folder, Status};
use crate::machine::os;

/// How long a kind of file may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Longest length in bytes that is still read.
    pub bytes: u64,
    /// What the file is, as errors call it.
    pub what: &'static str,
}

/// As much as the parser takes; the reason is given there.
pub const DEFINITION: Limit = Limit {
    bytes: definition::MAX_DEFINITION_BYTES as u64,
    what: "a cluster definition",
};

/// 64 hex digits (charon app/k1util); some editors add line ends and blanks.
pub const ENR_KEY: Limit = Limit {
    bytes: 1 << 10,
    what: "an ENR key",
};

/// As much as the parser takes; the reason is given there.
pub const CLUSTER_LOCK: Limit = Limit {
    bytes: cluster_lock::MAX_LOCK_BYTES as u64,
    what: "a cluster lock",
};

/// As much as the parser takes; the reason is given there.
pub const DEPOSIT_DATA: Limit = Limit {
    bytes: deposit_data::MAX_DEPOSIT_FILE_BYTES as u64,
    what: "deposit data",
};

/// All files of one data directory together, in bytes: a lock and several deposit data files of the greatest length, and
/// 65536 keystores. Each is bounded, but somebody may have put any number of them there.
pub const MAX_DATA_DIRECTORY_BYTES: u64 = 512 << 20;

/// As much as the parser takes; the reason is given there.
pub const KEYSTORE: Limit = Limit {
    bytes: keystore::MAX_KEYSTORE_LEN as u64,
    what: "a keystore",
};

/// As much as is tried; the reason is given there.
pub const KEYSTORE_PASSWORD: Limit = Limit {
    bytes: keystore::MAX_PASSWORD_LEN as u64,
    what: "a keystore password",
};

/// charon's heartbeat is a JSON object of about 150 bytes (charon app/privkeylock).
pub const HEARTBEAT: Limit = Limit {
    bytes: 4 << 10,
    what: "charon's key lock",
};

/// Our own record of an attempt; a failure reason may quote a few lines of charon's log.
pub const RECORD: Limit = Limit {
    bytes: 1 << 20,
    what: "an attempt's record",
};

/// Our own journal names every promoted file, up to 131072 of them at about 150 bytes.
pub const JOURNAL: Limit = Limit {
    bytes: 64 << 20,
    what: "the journal",
};

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such file.
    #[error("{} does not exist, expected {expected}", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
    },
    /// It is a FIFO, a device, a directory, or a symbolic link where none may be.
    #[error("{} is {seen}, expected {expected} in a regular file", path.display())]
    NotRegular {
        /// Where it is.
        path: PathBuf,
        /// What it is.
        seen: EntryKind,
        /// What should be there.
        expected: &'static str,
    },
    /// It is longer than such a file can be.
    #[error("{} is {seen} bytes long, expected {expected} of at most {limit} bytes", path.display())]
    TooLong {
        /// Where it is.
        path: PathBuf,
        /// Its length in bytes.
        seen: u64,
        /// What should be there.
        expected: &'static str,
        /// The longest length in bytes.
        limit: u64,
    },
    /// It changed its length while it was read.
    #[error("{} changed while it was read: {seen} bytes seen, expected {expected}", path.display())]
    Changed {
        /// Where it is.
        path: PathBuf,
        /// Bytes that could be read; one more than `expected` stands for any growth.
        seen: u64,
        /// Its length in bytes when it was opened.
        expected: u64,
    },
    /// The path leaves the directory it is meant to be in.
    #[error("{} is not a plain path inside its directory", path.display())]
    Outside {
        /// The path as given.
        path: PathBuf,
    },
    /// The operating system refused or failed.
    #[error(transparent)]
    File(#[from] FileError),
}

impl ReadError {
    /// Whether there simply is no such file.
    pub fn is_missing(&self) -> bool {
        match self {
            ReadError::Missing { .. } => true,
            ReadError::File(error) => error.is_missing(),
            ReadError::NotRegular { .. }
            | ReadError::TooLong { .. }
            | ReadError::Changed { .. }
            | ReadError::Outside { .. } => false,
        }
    }
}

/// Reads a file that the user named; symbolic links are followed.
pub fn read_file(path: &Path, limit: Limit) -> Result<Vec<u8>, ReadError> {
    let opened = open_named(path, limit)?;
    read_open(opened, path, limit).map(|mut bytes| std::mem::take(&mut *bytes))
}

/// Reads a secret from a file that the user named; symbolic links are followed. The bytes are
/// wiped when dropped.
pub fn read_secret_file(path: &Path, limit: Limit) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    let opened = open_named(path, limit)?;
    read_open(opened, path, limit)
}

/// Reads a file below a directory; no component below it may be a symbolic link.
pub fn read_in(dir: &Path, relative: &Path, limit: Limit) -> Result<Vec<u8>, ReadError> {
    read_secret_in(dir, relative, limit).map(|mut bytes| std::mem::take(&mut *bytes))
}

/// Reads a secret below a directory; no component below it may be a symbolic link. The bytes are
/// wiped when dropped.
pub fn read_secret_in(
    dir: &Path,
    relative: &Path,
    limit: Limit,
) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    let mut folder = Folder::open(dir)?;
    let (parents, name) = split(relative)?;
    for parent in parents {
        folder = folder.folder(parent)?;
    }
    read_from(&folder, name, limit)
}

/// Reads a file in an open directory; it may not be a symbolic link.
pub(crate) fn read_from(
    folder: &Folder,
    name: &Path,
    limit: Limit,
) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    let path = folder.path().join(name);
    let file = open_regular(folder, name, limit.what)?;
    read_open(file, &path, limit)
}

/// The components of a plain relative path: the directories, and the last name.
pub(crate) fn split(relative: &Path) -> Result<(Vec<&Path>, &Path), ReadError> {
    let mut names = Vec::new();
    for component in relative.components() {
        match component {
            Component::Normal(name) => names.push(Path::new(name)),
            Component::Prefix(_)
            | Component::RootDir
            | Component::CurDir
            | Component::ParentDir => {
                return Err(ReadError::Outside {
                    path: relative.to_owned(),
                });
            }
        }
    }
    match names.pop() {
        Some(last) => Ok((names, last)),
        None => Err(ReadError::Outside {
            path: relative.to_owned(),
        }),
    }
}

/// Opens a regular file in an open directory, and nothing that only looks like one.
pub(crate) fn open_regular(
    folder: &Folder,
    name: &Path,
    expected: &'static str,
) -> Result<File, ReadError> {
    let path = folder.path().join(name);
    match folder.status(name)? {
        None => return Err(ReadError::Missing { path, expected }),
        Some(status) => check_kind(status.kind, &path, expected)?,
    }
    let file = folder.file_in(name)?;
    check_open_kind(&file, &path, expected)?;
    Ok(file)
}

fn open_named(path: &Path, limit: Limit) -> Result<File, ReadError> {
    let failed = |cause: io::Error| {
        if cause.kind() == io::ErrorKind::NotFound {
            return ReadError::Missing {
                path: path.to_owned(),
                expected: limit.what,
            };
        }
        FileError::new("open", path, cause).into()
    };
    // Looking before opening: opening alone already rewinds some devices.
    let status = os::status_through(path).map_err(failed)?;
    check_kind(status.kind, path, limit.what)?;
    let file = os::open_through(path).map_err(failed)?;
    check_open_kind(&file, path, limit.what)?;
    Ok(file)
}

fn check_kind(seen: EntryKind, path: &Path, expected: &'static str) -> Result<(), ReadError> {
    if seen == EntryKind::Regular {
        return Ok(());
    }
    Err(ReadError::NotRegular {
        path: path.to_owned(),
        seen,
        expected,
    })
}

/// The name may have been given to something else between looking and opening.
fn check_open_kind(file: &File, path: &Path, expected: &'static str) -> Result<(), ReadError> {
    let status = Status::of_file(file).map_err(|cause| FileError::new("look at", path, cause))?;
    check_kind(status.kind, path, expected)
}

/// Reads an open regular file whole. The buffer is made once, so that no copy of a secret stays
/// behind in memory that was grown out of.
fn read_open(file: File, path: &Path, limit: Limit) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    let failed = |cause| FileError::new("read", path, cause);
    let len = file.metadata().map_err(failed)?.len();
    if len > limit.bytes {
        return Err(ReadError::TooLong {
            path: path.to_owned(),
            seen: len,
            expected: limit.what,
            limit: limit.bytes,
        });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    // One byte more than expected, to see growth.
    let room = usize::try_from(len.saturating_add(1)).unwrap_or(usize::MAX);
    bytes
        .try_reserve_exact(room)
        .map_err(|_| failed(io::ErrorKind::OutOfMemory.into()))?;
    file.take(len + 1).read_to_end(&mut bytes).map_err(failed)?;
    let seen = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if seen != len {
        return Err(ReadError::Changed {
            path: path.to_owned(),
            seen,
            expected: len,
        });
    }
    Ok(bytes)
}

/// SHA-256 and length of an open file, from its start, without holding it in memory.
pub(crate) fn digest(mut file: &File) -> io::Result<([u8; 32], u64)> {
    let mut hasher = Sha256::new();
    let mut buffer = Zeroizing::new(vec![0; 64 << 10]);
    let mut len = 0_u64;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((hasher.finalize().into(), len)),
            Ok(count) => {
                hasher.update(buffer.get(..count).unwrap_or_default());
                len += u64::try_from(count).unwrap_or(u64::MAX);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    const SMALL: Limit = Limit {
        bytes: 8,
        what: "a test",
    };

    fn dir() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_file_up_to_the_limit_is_read() {
        let dir = dir();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        for content in ["", "1234567", "12345678"] {
            std::fs::write(dir.path().join("sub/file"), content).unwrap();
            let named = read_file(&dir.path().join("sub/file"), SMALL).unwrap();
            assert_eq!(named, content.as_bytes());
            let inside = read_in(dir.path(), Path::new("sub/file"), SMALL).unwrap();
            assert_eq!(inside, content.as_bytes());
            let secret = read_secret_in(dir.path(), Path::new("sub/file"), SMALL).unwrap();
            assert_eq!(secret.as_slice(), content.as_bytes());
        }
    }

    #[test]
    fn a_longer_file_is_refused_before_it_is_read() {
        let dir = dir();
        let path = dir.path().join("huge");
        // Sparse: reading it would take a terabyte of memory.
        std::fs::File::create(&path)
            .unwrap()
            .set_len(1 << 40)
            .unwrap();
        let error = read_file(&path, CLUSTER_LOCK).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "{} is 1099511627776 bytes long, expected a cluster lock of at most 67108864 bytes",
                path.display()
            )
        );
        std::fs::write(&path, "123456789").unwrap();
        let error = read_file(&path, SMALL).unwrap_err();
        assert!(
            matches!(
                error,
                ReadError::TooLong {
                    seen: 9,
                    limit: 8,
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn a_fifo_is_refused_and_never_waited_for() {
        let dir = dir();
        let path = dir.path().join("fifo");
        assert!(
            Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        for error in [
            read_file(&path, SMALL).unwrap_err(),
            read_in(dir.path(), Path::new("fifo"), SMALL).unwrap_err(),
        ] {
            assert!(
                matches!(
                    error,
                    ReadError::NotRegular {
                        seen: EntryKind::Fifo,
                        ..
                    }
                ),
                "{error}"
            );
        }
        // The name may become a FIFO after it was looked at.
        let folder = Folder::open(dir.path()).unwrap();
        let opened = folder.file_in("fifo").unwrap();
        assert!(check_open_kind(&opened, &path, "a test").is_err());
    }

    #[test]
    fn devices_and_directories_are_refused() {
        for (path, kind) in [
            ("/dev/zero", EntryKind::Other),
            ("/dev", EntryKind::Directory),
        ] {
            let error = read_file(Path::new(path), SMALL).unwrap_err();
            assert!(
                matches!(error, ReadError::NotRegular { seen, .. } if seen == kind),
                "{error}"
            );
        }
        let inside = read_in(Path::new("/dev"), Path::new("zero"), SMALL).unwrap_err();
        assert_eq!(
            inside.to_string(),
            "/dev/zero is a device or socket, expected a test in a regular file"
        );
    }

    #[test]
    fn a_link_is_followed_only_where_the_user_named_it() {
        let dir = dir();
        std::fs::create_dir(dir.path().join("real")).unwrap();
        std::fs::write(dir.path().join("real/file"), "1234").unwrap();
        symlink("file", dir.path().join("real/link")).unwrap();
        symlink("real", dir.path().join("linked")).unwrap();
        assert_eq!(
            read_file(&dir.path().join("linked/link"), SMALL).unwrap(),
            b"1234"
        );
        let error = read_in(dir.path(), Path::new("real/link"), SMALL).unwrap_err();
        assert!(
            matches!(
                error,
                ReadError::NotRegular {
                    seen: EntryKind::Symlink,
                    ..
                }
            ),
            "{error}"
        );
        let error = read_in(dir.path(), Path::new("linked/file"), SMALL).unwrap_err();
        assert!(matches!(error, ReadError::File(_)), "{error}");
    }

    #[test]
    fn a_path_cannot_leave_its_directory() {
        let dir = dir();
        for path in ["../etc/passwd", "/etc/passwd", "a/../../b", "", "."] {
            let error = read_in(dir.path(), Path::new(path), SMALL).unwrap_err();
            assert!(
                matches!(error, ReadError::Outside { .. }),
                "{path:?}: {error}"
            );
        }
    }

    #[test]
    fn what_is_missing_is_told_apart() {
        let dir = dir();
        let path = dir.path().join("none");
        let named = read_file(&path, DEFINITION).unwrap_err();
        assert_eq!(
            named.to_string(),
            format!(
                "{} does not exist, expected a cluster definition",
                path.display()
            )
        );
        assert!(named.is_missing());
        for path in ["none", "none/file"] {
            let error = read_in(dir.path(), Path::new(path), SMALL).unwrap_err();
            assert!(error.is_missing(), "{path:?}: {error}");
        }
    }

    #[test]
    fn growth_while_reading_is_noticed() {
        // The kernel says 0 bytes of its own files and then gives more.
        let path = Path::new("/proc/self/status");
        let error = read_file(path, KEYSTORE).unwrap_err();
        assert!(
            matches!(
                error,
                ReadError::Changed {
                    seen: 1,
                    expected: 0,
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn a_digest_is_that_of_sha256() {
        let dir = dir();
        let path = dir.path().join("file");
        let content = vec![7; 200_000];
        std::fs::write(&path, &content).unwrap();
        let (sha256, len) = digest(&File::open(&path).unwrap()).unwrap();
        assert_eq!(len, 200_000);
        let expected: [u8; 32] = Sha256::digest(&content).into();
        assert_eq!(sha256, expected);
    }
}
