//! The files of a node as one tar archive (ustar), and back.
//!
//! ```text
//! charon-dkg-backup.json          the manifest: what this is, and length and SHA-256 of every file
//! .charon/…                       the data directory
//! .charon-dkg/receipts/…          kept receipts
//! .charon-dkg/definition.json     which definition is the kept one, and
//! .charon-dkg/definitions/…       its bytes
//! .charon-dkg/attempts/<n>/…      a held ceremony: its record and its stage
//! .charon-dkg/edit/…              a held edit: its record, the lock before it, what it made, and stopped lines
//! .charon-dkg/closed-locks.json   locks that must not start
//! ```
//!
//! Any `tar` unpacks it into a project directory. What is read back here is held to what is written here: regular files under
//! plain names, each once, all of them as the manifest says. Whatever else an archive can hold, such as links, devices or
//! absolute names, is refused before anything is made of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tar::{EntryType, Header};
use zeroize::Zeroizing;

use charon_files::cluster::names::{ENR_KEY_FILE, FileDigest, MAX_DEPTH};
use charon_files::keys::k1::EnrKey;

/// The format that this program writes and the only one it reads.
const FORMAT: u32 = 1;

/// Name of the manifest, which comes first.
pub const MANIFEST_FILE: &str = "charon-dkg-backup.json";

/// Longest archive in bytes, unencrypted: a cluster lock of the longest length that is read (256 MiB), and as much again for
/// the keystores and deposits of the 65536 validators that would take.
pub const MAX_ARCHIVE_BYTES: u64 = 512 << 20;

/// Most files: a keystore and a password for each of the 65536 validators that a cluster can have, and room for the rest.
pub const MAX_FILES: usize = 140_000;

/// Longest path inside a data directory, in bytes: with its prefix, what the name field of a ustar header holds at once.
const MAX_PATH: usize = 90;

/// Tar is made of blocks of this many bytes.
const BLOCK: usize = 512;

/// Which of a node's two directories a file is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The data directory.
    Data,
    /// This program's own directory beside it.
    State,
}

impl Place {
    /// The directory of the archive, with a slash.
    pub const fn prefix(self) -> &'static str {
        match self {
            Place::Data => ".charon/",
            Place::State => ".charon-dkg/",
        }
    }
}

/// One file that is, or will be, backed up. Its bytes are wiped when dropped.
pub struct File {
    /// Which directory it is in.
    pub place: Place,
    /// Path relative to that directory, plain and with `/` between its names.
    pub path: String,
    /// What is in it.
    pub bytes: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File")
            .field("name", &self.name())
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl File {
    /// The name in the archive.
    pub fn name(&self) -> String {
        format!("{}{}", self.place.prefix(), self.path)
    }
}

/// One file of an archive that was read.
#[derive(Clone, Copy)]
pub struct Unpacked<'a> {
    /// Which directory it belongs into.
    pub place: Place,
    /// Path relative to that directory.
    pub path: &'a str,
    /// What is in it.
    pub bytes: &'a [u8],
}

impl std::fmt::Debug for Unpacked<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacked")
            .field("path", &self.path)
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// What an archive says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: u32,
    /// When it was made, RFC 3339 in UTC.
    pub created: String,
    /// Version of the program that made it.
    pub program_version: String,
    /// Public identifier of the ENR key in it.
    pub enr_id: String,
    /// Every other file of the archive.
    pub files: Vec<FileDigest>,
}

/// Why an archive was not made or is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// More than an archive may have.
    #[error("{seen} bytes in all, expected at most {MAX_ARCHIVE_BYTES}")]
    TooLong {
        /// How many bytes there are.
        seen: u64,
    },
    /// More files than an archive may have.
    #[error("more than {MAX_FILES} files")]
    TooMany,
    /// A name that is not plain, too long, too deep, or of a file that no backup has.
    #[error("a file named {seen:?}, expected a plain path of a file that a backup has")]
    Name {
        /// The name.
        seen: String,
    },
    /// A link, device, directory with content or whatever else tar knows.
    #[error("{path:?} is tar's entry type {seen:?}, expected a regular file or directory")]
    Kind {
        /// Its name.
        path: String,
        /// The type's letter.
        seen: char,
    },
    /// One name twice, or a file where a directory must be.
    #[error("{path:?} twice")]
    Twice {
        /// The name.
        path: String,
    },
    /// The manifest is missing, comes late or cannot be read.
    #[error("no manifest of a backup: {reason}")]
    Manifest {
        /// What is wrong with it.
        reason: String,
    },
    /// The files are not those of the manifest.
    #[error("{path:?} is {seen}, expected what the manifest says")]
    Differs {
        /// The file's name.
        path: String,
        /// What it is.
        seen: &'static str,
    },
    /// There is no ENR key, or not the one that the manifest names.
    #[error("the ENR key in it is {seen}, expected the key {expected}")]
    Key {
        /// What there is instead.
        seen: String,
        /// The identifier in the manifest.
        expected: String,
    },
    /// Not a tar archive.
    #[error("not a tar archive: {reason}")]
    Tar {
        /// What is wrong with it.
        reason: String,
    },
}

/// What a backup says of itself.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Seconds since 1970.
    pub seconds: u64,
    /// The same, RFC 3339 in UTC.
    pub created: &'a str,
    /// Public identifier of the ENR key.
    pub enr_id: &'a str,
    /// Who owns the data directory, for a `tar` that root runs.
    pub owner: (u32, u32),
}

/// Makes the archive of these files.
///
/// # Errors
/// When they are more or longer than [`unpack`] would read, or have names that it would refuse.
pub fn pack(files: &[File], about: &About<'_>) -> Result<Zeroizing<Vec<u8>>, ArchiveError> {
    let mut names = BTreeMap::new();
    for file in files {
        check_path(file.place, &file.path)?;
        if names.insert(file.name(), file).is_some() {
            return Err(ArchiveError::Twice { path: file.name() });
        }
    }
    let manifest = Manifest {
        format: FORMAT,
        created: about.created.to_owned(),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        enr_id: about.enr_id.to_owned(),
        files: names
            .iter()
            .map(|(name, file)| FileDigest::of(name.clone(), &file.bytes))
            .collect(),
    };
    let manifest =
        serde_json::to_vec_pretty(&manifest).map_err(|error| ArchiveError::Manifest {
            reason: error.to_string(),
        })?;
    let folders: BTreeSet<&str> = names.keys().flat_map(|name| folders_of(name)).collect();

    // Made once: growing would leave copies of secrets behind.
    let blocks = |bytes: &[u8]| bytes.len().div_ceil(BLOCK) + 1;
    let room = files.iter().map(|file| blocks(&file.bytes)).sum::<usize>()
        + blocks(&manifest)
        + folders.len()
        + 2;
    let room = room * BLOCK;
    check_size(files.len(), u64::try_from(room).unwrap_or(u64::MAX))?;
    let mut out = Zeroizing::new(Vec::with_capacity(room));
    let put = |out: &mut Vec<u8>, name: &str, kind: EntryType, bytes: &[u8]| {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(length(bytes));
        header.set_mode(if kind.is_dir() { 0o700 } else { 0o600 });
        header.set_mtime(about.seconds);
        header.set_uid(about.owner.0.into());
        header.set_gid(about.owner.1.into());
        header.set_path(name).map_err(|_| ArchiveError::Name {
            seen: name.to_owned(),
        })?;
        header.set_cksum();
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(bytes);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
        Ok(())
    };
    put(&mut out, MANIFEST_FILE, EntryType::Regular, &manifest)?;
    for folder in folders {
        put(&mut out, folder, EntryType::Directory, b"")?;
    }
    for (name, file) in &names {
        put(&mut out, name, EntryType::Regular, &file.bytes)?;
    }
    let end = out.len() + 2 * BLOCK;
    out.resize(end, 0);
    Ok(out)
}

/// `a/`, `a/b/` of `a/b/c`.
fn folders_of(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/')
        .filter_map(|(at, _)| name.get(..=at))
}

/// Reads an archive, refusing whatever [`pack`] does not make.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn unpack(archive: &[u8]) -> Result<(Manifest, Vec<Unpacked<'_>>), ArchiveError> {
    let broken = |error: &dyn std::fmt::Display| ArchiveError::Tar {
        reason: error.to_string(),
    };
    check_size(0, length(archive))?;
    let mut reader = tar::Archive::new(archive);
    // Raw: an entry with a long name or with extensions is an entry of its own, and refused.
    let entries = reader.entries().map_err(|error| broken(&error))?.raw(true);
    let mut manifest = None;
    let mut seen = BTreeSet::new();
    let mut files: Vec<Unpacked<'_>> = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| broken(&error))?;
        let header = entry.header();
        let lossy = || String::from_utf8_lossy(&header.path_bytes()).into_owned();
        let kind = header.entry_type();
        if !kind.is_file() && !kind.is_dir() {
            return Err(ArchiveError::Kind {
                path: lossy(),
                seen: char::from(kind.as_byte()),
            });
        }
        let position = usize::try_from(entry.raw_file_position()).ok();
        let len = usize::try_from(entry.size()).ok();
        let bytes = position
            .zip(len)
            .and_then(|(from, len)| archive.get(from..from.checked_add(len)?))
            .ok_or_else(|| broken(&"it ends in the middle of a file"))?;
        let name = borrowed_name(archive, entry.raw_header_position())
            .ok_or_else(|| ArchiveError::Name { seen: lossy() })?;
        if kind.is_dir() {
            let known = [Place::Data, Place::State].into_iter().any(|place| {
                let rest = name.strip_prefix(place.prefix());
                rest.is_some_and(|rest| rest.is_empty() || is_plain(rest.trim_end_matches('/')))
            });
            if !known || !bytes.is_empty() {
                return Err(ArchiveError::Name {
                    seen: name.to_owned(),
                });
            }
            continue;
        }
        if manifest.is_none() {
            if name != MANIFEST_FILE {
                return Err(ArchiveError::Manifest {
                    reason: format!("the first file is {name:?}"),
                });
            }
            manifest = Some(parse_manifest(bytes)?);
            continue;
        }
        let (place, path) = [Place::Data, Place::State]
            .into_iter()
            .find_map(|place| Some((place, name.strip_prefix(place.prefix())?)))
            .ok_or_else(|| ArchiveError::Name {
                seen: name.to_owned(),
            })?;
        check_path(place, path)?;
        if !seen.insert(name) {
            return Err(ArchiveError::Twice {
                path: name.to_owned(),
            });
        }
        files.push(Unpacked { place, path, bytes });
        check_size(files.len(), 0)?;
    }
    let manifest = manifest.ok_or_else(|| ArchiveError::Manifest {
        reason: "the archive is empty".to_owned(),
    })?;
    if let Some(parent) = seen
        .iter()
        .flat_map(|name| folders_of(name))
        .find(|folder| seen.contains(folder.trim_end_matches('/')))
    {
        return Err(ArchiveError::Twice {
            path: parent.to_owned(),
        });
    }
    check_manifest(&manifest, &files)?;
    Ok((manifest, files))
}

/// The name in a header, as a part of the archive itself: [`pack`] writes names that fit in one field.
fn borrowed_name(archive: &[u8], position: u64) -> Option<&str> {
    let at = usize::try_from(position).ok()?;
    let block = archive.get(at..at.checked_add(BLOCK)?)?;
    // The name field has 100 bytes; the prefix field, from byte 345 on, continues longer names.
    let prefix = block.get(345..500)?;
    if prefix.first() != Some(&0) {
        return None;
    }
    let field = block.get(..100)?;
    let name = field.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(name).ok()
}

fn parse_manifest(bytes: &[u8]) -> Result<Manifest, ArchiveError> {
    let invalid = |reason: String| ArchiveError::Manifest { reason };
    let manifest: Manifest =
        serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
    if manifest.format != FORMAT {
        return Err(invalid(format!(
            "format {}, expected {FORMAT}",
            manifest.format
        )));
    }
    Ok(manifest)
}

fn check_manifest(manifest: &Manifest, files: &[Unpacked<'_>]) -> Result<(), ArchiveError> {
    let differs = |path: &str, seen| ArchiveError::Differs {
        path: path.to_owned(),
        seen,
    };
    let mut expected: BTreeMap<&str, &FileDigest> = BTreeMap::new();
    for file in &manifest.files {
        if expected.insert(&file.path, file).is_some() {
            return Err(ArchiveError::Twice {
                path: file.path.clone(),
            });
        }
    }
    let mut key = None;
    for file in files {
        let name = format!("{}{}", file.place.prefix(), file.path);
        let Some(digest) = expected.remove(name.as_str()) else {
            return Err(differs(&name, "not in the manifest"));
        };
        if *digest != FileDigest::of(name.clone(), file.bytes) {
            return Err(differs(&name, "another content"));
        }
        if file.place == Place::Data && file.path == ENR_KEY_FILE {
            key = Some(EnrKey::parse(file.bytes).map_err(|error| error.to_string()));
        }
    }
    if let Some(path) = expected.keys().next() {
        return Err(differs(path, "missing"));
    }
    let seen = match key {
        Some(Ok(key)) if key.id().to_string() == manifest.enr_id => return Ok(()),
        Some(Ok(key)) => key.id().to_string(),
        Some(Err(reason)) => reason,
        None => "missing".to_owned(),
    };
    Err(ArchiveError::Key {
        seen,
        expected: manifest.enr_id.clone(),
    })
}

/// Whether an archive may have so many files, or bytes.
///
/// # Errors
/// When it may not.
pub(crate) fn check_size(files: usize, bytes: u64) -> Result<(), ArchiveError> {
    if files > MAX_FILES {
        return Err(ArchiveError::TooMany);
    }
    if bytes > MAX_ARCHIVE_BYTES {
        return Err(ArchiveError::TooLong { seen: bytes });
    }
    Ok(())
}

/// Whether a backup has such a file. Of this program's own directory only what says nothing that is not checked again, or
/// keeps something from starting: a journal, say, would make the next command move files.
fn check_path(place: Place, path: &str) -> Result<(), ArchiveError> {
    let known = match place {
        Place::Data => is_plain(path),
        Place::State => is_kept(path),
    };
    if known {
        return Ok(());
    }
    Err(ArchiveError::Name {
        seen: format!("{}{path}", place.prefix()),
    })
}

fn is_plain(path: &str) -> bool {
    path.len() <= MAX_PATH
        && path.split('/').count() <= MAX_DEPTH
        && path.split('/').all(|name| {
            !matches!(name, "" | "." | "..") && !name.chars().any(|c| c.is_control() || c == '\\')
        })
}

/// Whether this is a file of the state directory that is worth keeping.
pub fn is_kept(path: &str) -> bool {
    let named_by_hash = |name: &str, end: &str| {
        name.strip_suffix(end).is_some_and(|stem| {
            stem.len() == 64 && stem.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        })
    };
    match path.split_once('/') {
        None => matches!(path, "definition.json" | "closed-locks.json"),
        Some(("receipts", name)) => named_by_hash(name, ".txt"),
        Some(("definitions", name)) => named_by_hash(name, ".json"),
        Some(("attempts", rest)) => is_of_attempt(path, rest),
        Some(("edit", rest)) => is_of_edit(path, rest),
        Some(_) => false,
    }
}

/// Whether this is the record or an output of a held ceremony: `1/attempt.json`, `1/stage/…`. A name of the archive has to fit
/// in one field, with a longer prefix here than in the data directory.
fn is_of_attempt(path: &str, rest: &str) -> bool {
    let Some((number, inside)) = rest.split_once('/') else {
        return false;
    };
    let output = inside.strip_prefix("stage/");
    fits_in_state(path)
        && number
            .parse::<u32>()
            .is_ok_and(|it| it.to_string() == number)
        && (inside == "attempt.json" || output.is_some_and(is_plain))
}

/// Whether this belongs to a held edit: `record.json`, `new/…`.
fn is_of_edit(path: &str, rest: &str) -> bool {
    let output = rest.strip_prefix("new/");
    fits_in_state(path)
        && (matches!(rest, "record.json" | "previous-lock.json" | "stopped.txt")
            || output.is_some_and(is_plain))
}

fn fits_in_state(path: &str) -> bool {
    Place::State.prefix().len() + path.len() <= Place::Data.prefix().len() + MAX_PATH
}

/// What a file of a held ceremony or edit belongs to and is restored with, as a path in the state directory: `attempts/1`, `edit`.
pub fn held_with(path: &str) -> Option<&str> {
    if path.starts_with("edit/") {
        return path.get(.."edit".len());
    }
    let rest = path.strip_prefix("attempts/")?;
    let number = rest.split('/').next()?;
    path.get(.."attempts/".len() + number.len())
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &[u8] = b"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn enr_id() -> String {
        EnrKey::parse(KEY).unwrap().id().to_string()
    }

    fn file(place: Place, path: &str, bytes: &[u8]) -> File {
        File {
            place,
            path: path.to_owned(),
            bytes: Zeroizing::new(bytes.to_vec()),
        }
    }

    fn node() -> Vec<File> {
        let receipts = format!("receipts/{}.txt", "ab".repeat(32));
        vec![
            file(Place::Data, ENR_KEY_FILE, KEY),
            file(Place::Data, "cluster-lock.json", b"the lock"),
            file(Place::Data, "validator_keys/keystore-0.json", &[7; 700]),
            file(Place::Data, "validator_keys/empty", b""),
            file(Place::State, &receipts, b"receipt\n"),
        ]
    }

    fn packed(files: &[File], enr_id: &str) -> Vec<u8> {
        let about = About {
            seconds: 1_700_000_000,
            created: "2023-11-14T22:13:20Z",
            enr_id,
            owner: (1000, 1000),
        };
        pack(files, &about).unwrap().to_vec()
    }

    /// An archive as somebody else could make it: any names and types, and a manifest to match.
    fn forged(entries: &[(&str, EntryType, &[u8])], listed: &[(&str, &[u8])]) -> Vec<u8> {
        let manifest = Manifest {
            format: FORMAT,
            created: String::new(),
            program_version: String::new(),
            enr_id: enr_id(),
            files: listed
                .iter()
                .map(|(name, bytes)| FileDigest::of(*name, bytes))
                .collect(),
        };
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let mut out = Vec::new();
        let all = [(MANIFEST_FILE, EntryType::Regular, &*manifest)];
        for (name, kind, bytes) in all.iter().chain(entries) {
            let mut header = Header::new_ustar();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(bytes.len() as u64);
            header.set_cksum();
            out.extend_from_slice(header.as_bytes());
            out.extend_from_slice(bytes);
            out.resize(out.len().next_multiple_of(BLOCK), 0);
        }
        out.resize(out.len() + 2 * BLOCK, 0);
        out
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let files = node();
        let archive = packed(&files, &enr_id());
        let (manifest, seen) = unpack(&archive).unwrap();
        assert_eq!(manifest.enr_id, enr_id());
        let mut expected: Vec<_> = files.iter().map(|f| (f.name(), f.bytes.to_vec())).collect();
        expected.sort();
        let seen: Vec<_> = seen
            .iter()
            .map(|f| (format!("{}{}", f.place.prefix(), f.path), f.bytes.to_vec()))
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn the_buffer_is_made_once() {
        let files = node();
        let id = enr_id();
        let about = About {
            seconds: 0,
            created: "",
            enr_id: &id,
            owner: (0, 0),
        };
        let archive = pack(&files, &about).unwrap();
        assert_eq!(archive.len(), archive.capacity());
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [
            "/etc/passwd",
            "../escape",
            ".charon/../../escape",
            ".charon//etc/passwd",
            ".charon/./x",
            ".charon/a/../b",
            ".charon",
            ".charon/",
            ".charonx/y",
            ".charon/new\nline",
            ".charon/a/b/c/d/e/f/g/h/i",
            ".charon-dkg/journal.json",
            ".charon-dkg/guard",
            ".charon-dkg/backups.json",
            ".charon-dkg/receipts/../journal.json",
            ".charon-dkg/receipts/ABCDEF.txt",
            "charon-dkg-backup.json",
            "",
        ] {
            let key = (".charon/charon-enr-private-key", KEY);
            let archive = forged(
                &[
                    (key.0, EntryType::Regular, KEY),
                    (name, EntryType::Regular, b"x"),
                ],
                &[key, (name, b"x")],
            );
            let error = unpack(&archive).unwrap_err();
            assert!(
                matches!(error, ArchiveError::Name { .. }),
                "{name}: {error}"
            );
        }
    }

    #[test]
    fn only_regular_files_and_empty_directories_are_taken() {
        for kind in [
            EntryType::Symlink,
            EntryType::Link,
            EntryType::Char,
            EntryType::Block,
            EntryType::Fifo,
            EntryType::GNULongName,
            EntryType::GNULongLink,
            EntryType::GNUSparse,
            EntryType::XHeader,
            EntryType::XGlobalHeader,
            EntryType::Continuous,
            EntryType::new(b'?'),
        ] {
            let name = ".charon/cluster-lock.json";
            let error = unpack(&forged(&[(name, kind, b"x")], &[(name, b"x")])).unwrap_err();
            assert!(
                matches!(error, ArchiveError::Kind { .. }),
                "{kind:?}: {error}"
            );
        }
        let folder = forged(&[(".charon/x/", EntryType::Directory, b"content")], &[]);
        assert!(unpack(&folder).is_err());
    }

    #[test]
    fn nothing_comes_twice_and_nothing_is_both_file_and_directory() {
        let key = (".charon/charon-enr-private-key", EntryType::Regular, KEY);
        let listed = (key.0, KEY);
        let twice = unpack(&forged(&[key, key], &[listed])).unwrap_err();
        assert_eq!(
            twice,
            ArchiveError::Twice {
                path: key.0.to_owned()
            }
        );
        let twice = unpack(&forged(&[key], &[listed, listed])).unwrap_err();
        assert_eq!(
            twice,
            ArchiveError::Twice {
                path: key.0.to_owned()
            }
        );
        let below = ".charon/charon-enr-private-key/x";
        let both = forged(
            &[key, (below, EntryType::Regular, b"")],
            &[listed, (below, b"")],
        );
        assert!(matches!(
            unpack(&both).unwrap_err(),
            ArchiveError::Twice { .. }
        ));
    }

    #[test]
    fn the_manifest_and_the_files_must_agree() {
        let key = (".charon/charon-enr-private-key", EntryType::Regular, KEY);
        let lock = (
            ".charon/cluster-lock.json",
            EntryType::Regular,
            &b"lock"[..],
        );
        for (entries, listed) in [
            (vec![key, lock], vec![(key.0, KEY)]),
            (vec![key], vec![(key.0, KEY), (lock.0, b"lock")]),
            (vec![key, lock], vec![(key.0, KEY), (lock.0, b"LOCK")]),
        ] {
            let error = unpack(&forged(&entries, &listed)).unwrap_err();
            assert!(matches!(error, ArchiveError::Differs { .. }), "{error}");
        }
        let other = [b'1'; 64];
        for (entries, listed) in [
            (vec![lock], vec![(lock.0, lock.2)]),
            (vec![(key.0, key.1, &other[..])], vec![(key.0, &other[..])]),
            (
                vec![(key.0, key.1, &b"no key"[..])],
                vec![(key.0, &b"no key"[..])],
            ),
        ] {
            let error = unpack(&forged(&entries, &listed)).unwrap_err();
            assert!(matches!(error, ArchiveError::Key { .. }), "{error}");
        }
    }

    #[test]
    fn sizes_that_lie_are_not_believed() {
        let good = packed(&node(), &enr_id());
        // The size of the second entry's file, in octal, and its checksum.
        for size in ["77777777777", "00000001000"] {
            let mut bad = good.clone();
            let at = good.len() - 2 * BLOCK - 2 * BLOCK;
            let mut header = Header::new_ustar();
            header.as_mut_bytes().copy_from_slice(&bad[at..at + BLOCK]);
            header.as_old_mut().size[..11].copy_from_slice(size.as_bytes());
            header.set_cksum();
            bad[at..at + BLOCK].copy_from_slice(header.as_bytes());
            assert!(unpack(&bad).is_err(), "{size}");
        }
        let error = check_size(0, MAX_ARCHIVE_BYTES + 1).unwrap_err();
        assert!(matches!(error, ArchiveError::TooLong { .. }));
        assert_eq!(check_size(MAX_FILES + 1, 0), Err(ArchiveError::TooMany));
    }

    #[test]
    fn what_would_not_be_read_is_not_written() {
        let id = enr_id();
        let about = About {
            seconds: 0,
            created: "",
            enr_id: &id,
            owner: (0, 0),
        };
        let long = "x".repeat(MAX_PATH + 1);
        for (place, path) in [
            (Place::Data, "../x"),
            (Place::Data, long.as_str()),
            (Place::State, "journal.json"),
        ] {
            assert!(pack(&[file(place, path, b"")], &about).is_err(), "{path}");
        }
        let longest = "x".repeat(MAX_PATH);
        let archive = packed(
            &[
                file(Place::Data, ENR_KEY_FILE, KEY),
                file(Place::Data, &longest, b"1"),
            ],
            &id,
        );
        assert!(unpack(&archive).is_ok());
    }

    proptest! {
        #[test]
        fn damage_is_noticed_and_never_a_panic(at in 0_usize..20_000, bit in 0_u32..8) {
            let good = packed(&node(), &enr_id());
            let at = at % good.len();
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            if let Ok((manifest, files)) = unpack(&bad) {
                // Then what changed is nothing that is used: padding, times, owners of the headers.
                let (same, unchanged) = unpack(&good).unwrap();
                prop_assert_eq!(manifest.files, same.files);
                for (one, other) in files.iter().zip(&unchanged) {
                    prop_assert_eq!(one.bytes, other.bytes);
                    prop_assert_eq!(one.path, other.path);
                }
            }
            prop_assert!(unpack(&good[..at]).is_err() || at > good.len() - 3 * BLOCK);
        }

        #[test]
        fn noise_is_no_archive(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            prop_assert!(unpack(&bytes).is_err());
        }
    }
}
