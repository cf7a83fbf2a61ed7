//! Where things are, what is in a data directory, the ENR key file and the kept definition.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::machine::files::{self, DIR_MODE, EntryKind, FileError, Folder, Owner, Status};
use crate::machine::os;
use crate::machine::read::{self, ReadError};
use charon_files::cluster::access::{AccessList, FileMode};
use charon_files::cluster::names::{ENR_KEY_FILE, GIT_IGNORE_FILE, MAX_DEPTH, VALIDATOR_KEYS_DIR};

/// Keeps git from everything beside it (gitignore(5)).
const IGNORE_FILE: &str = GIT_IGNORE_FILE;

/// The longest list of entries that is gathered: twice the 65536 keystores and passwords that a
/// cluster can have, which bounds the memory to about 100 MiB.
const MAX_ENTRIES: usize = 262_144;

/// Where one ceremony's things are. Both directories are given by their real paths, so that two
/// ways to one directory are one guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    project_dir: PathBuf,
    data_dir: PathBuf,
    state_dir: PathBuf,
}

/// Why the directories of a ceremony cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The path does not lead to a directory, or its parent does not.
    #[error(transparent)]
    File(#[from] FileError),
    /// The data directory has no name of its own, so nothing can be beside it.
    #[error("{} cannot be a data directory, expected a directory with a name", path.display())]
    NoName {
        /// The path as given.
        path: PathBuf,
    },
}

impl Layout {
    /// Finds the real directories. The project directory must exist; the data directory, by
    /// default `.charon` in it, need not. Nothing is created.
    pub fn resolve(project_dir: &Path, data_dir: Option<&Path>) -> Result<Self, LayoutError> {
        let project_dir = real_path(project_dir)?;
        let data_dir = match data_dir {
            Some(path) => path.to_owned(),
            None => project_dir.join(".charon"),
        };
        let data_dir = match std::fs::symlink_metadata(&data_dir) {
            Ok(_) => real_path(&data_dir)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => future_path(&data_dir)?,
            Err(error) => return Err(FileError::new("look at", data_dir, error).into()),
        };
        let (Some(parent), Some(name)) = (data_dir.parent(), data_dir.file_name()) else {
            return Err(LayoutError::NoName { path: data_dir });
        };
        let mut state_name = OsString::from(name);
        state_name.push("-dkg");
        let state_dir = parent.join(state_name);
        Ok(Self {
            project_dir,
            data_dir,
            state_dir,
        })
    }

    /// The project directory, `.` by default.
    pub fn project_dir(&self) -> &Path {
        &self.project_dir
    }

    /// What charon and validator clients mount; holds nothing unverified.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Ours, beside the data directory: guard, journal, attempts, receipts, archive.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// The ENR key file, whether or not it exists.
    pub fn enr_key_path(&self) -> PathBuf {
        self.data_dir.join(ENR_KEY_FILE)
    }

    /// The same data directory with its state elsewhere, as a second mount of it would show.
    #[cfg(test)]
    pub(crate) fn with_state_dir(&self, state_dir: &Path) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            ..self.clone()
        }
    }

    /// The user and group that own the data directory, and so all that is made for it. Where it
    /// does not exist yet: the owner of the directory that will contain it if we are root, who may
    /// act for another user, and else ourselves.
    pub fn owner(&self) -> Result<Owner, FileError> {
        if let Some(status) = Status::of_path(&self.data_dir)? {
            return Ok(status.owner);
        }
        if !files::acting_as_root() {
            return Ok(files::own_identity());
        }
        let parent = Status::of_path(parent_of(&self.data_dir))?;
        Ok(parent.map_or_else(files::own_identity, |status| status.owner))
    }
}

/// The directory that contains something; the root directory contains itself.
fn parent_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn real_path(path: &Path) -> Result<PathBuf, FileError> {
    dunce::canonicalize(path).map_err(|cause| FileError::new("find", path, cause))
}

/// The real path that a directory will have once it is made.
fn future_path(path: &Path) -> Result<PathBuf, LayoutError> {
    let Some(name) = path.file_name() else {
        return Err(LayoutError::NoName {
            path: path.to_owned(),
        });
    };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    Ok(real_path(parent)?.join(name))
}

/// One entry of a data directory, itself and not what it may link to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Path relative to the data directory.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// Who owns it.
    pub owner: Owner,
    /// Permission bits, setuid, setgid and sticky included.
    pub mode: u32,
    /// Its access control list, if it has one that gives somebody something.
    pub list: Option<AccessList>,
    /// Length in bytes.
    pub len: u64,
}

impl Entry {
    /// Its path relative to the data directory, with `/` on every system.
    pub fn name(&self) -> String {
        files::slashed(&self.path)
    }
}

/// What is known of a data directory and the room beside it, without having changed anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DataDirFacts {
    /// What is at the data directory's path; `None` if nothing is.
    pub kind: Option<EntryKind>,
    /// Who owns the data directory, or will own it once it is made.
    pub owner: Owner,
    /// The data directory's permission bits, if it exists.
    pub mode: Option<u32>,
    /// Its access control list, if it has one that gives somebody something.
    pub list: Option<AccessList>,
    /// Every entry, directories before what is in them, sorted by path.
    pub entries: Vec<Entry>,
    /// Directories inside that could not be listed, with the reason.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Whether there were more or deeper entries than are gathered.
    pub truncated: bool,
    /// Entries of which this system did not tell who else may use them.
    pub untold_modes: Vec<PathBuf>,
    /// Whether files can be renamed from the state directory into the data directory: the same
    /// filesystem through the same mount.
    pub same_filesystem: bool,
    /// Bytes that this user may still write on the state directory's filesystem.
    pub free_bytes: u64,
    /// Whether this user may create files in the data directory, or make it if it is missing.
    pub writable: bool,
    /// Whether nobody can, since the file system is mounted read-only.
    pub read_only: bool,
}

impl DataDirFacts {
    /// Whether the data directory exists and is a directory.
    pub fn exists(&self) -> bool {
        self.kind == Some(EntryKind::Directory)
    }

    /// Owner and mode of the data directory and of everything in it.
    pub fn modes(&self) -> Vec<FileMode> {
        let entries = self.entries.iter().map(|entry| FileMode {
            path: entry.name(),
            uid: entry.owner.uid,
            gid: entry.owner.gid,
            mode: entry.mode,
            kind: entry.kind,
            list: entry.list.clone(),
        });
        let itself = self.mode.map(|mode| FileMode {
            path: ".".to_owned(),
            uid: self.owner.uid,
            gid: self.owner.gid,
            mode,
            kind: EntryKind::Directory,
            list: self.list.clone(),
        });
        entries.chain(itself).collect()
    }

    /// The entry at this relative path.
    pub fn entry(&self, path: &str) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| entry.path == Path::new(path))
    }
}

/// Looks at a data directory. Symbolic links are reported and never followed.
pub fn observe(layout: &Layout) -> Result<DataDirFacts, FileError> {
    let data_dir = layout.data_dir();
    let parent = parent_of(data_dir);
    let status = Status::of_path(data_dir)?;
    let is_dir = status.is_some_and(|status| status.kind == EntryKind::Directory);

    let mut listing = Listing::default();
    if is_dir {
        if status.is_some_and(|status| status.mode_untold) {
            listing.untold_modes.push(PathBuf::from("."));
        }
        match Folder::open(data_dir) {
            Ok(folder) => listing.gather(&folder, Path::new(""), 0)?,
            Err(error) => listing
                .unreadable
                .push((PathBuf::new(), error.cause.to_string())),
        }
    }
    listing.entries.sort_by(|a, b| a.path.cmp(&b.path));

    let state_room = if layout.state_dir().is_dir() {
        layout.state_dir()
    } else {
        parent
    };
    let target = if is_dir { data_dir } else { parent };
    let look = |action: &'static str| {
        move |cause: io::Error| FileError::new(action, state_room.to_owned(), cause)
    };
    let same_filesystem = os::same_mount(target, state_room).map_err(look("look at"))?;
    let free_bytes = os::free_bytes(state_room).map_err(look("measure free space of"))?;
    let may_write = os::check_writable(target);
    let writable = (is_dir || status.is_none()) && may_write.is_ok();
    let read_only = may_write.is_err_and(|cause| cause.kind() == io::ErrorKind::ReadOnlyFilesystem);
    let owner = match status {
        Some(status) => status.owner,
        None => layout.owner()?,
    };
    Ok(DataDirFacts {
        kind: status.map(|status| status.kind),
        owner,
        mode: status.map(|status| status.mode),
        list: status.and_then(|status| os::access_list_of(data_dir, status.mode)),
        entries: listing.entries,
        unreadable: listing.unreadable,
        truncated: listing.truncated,
        untold_modes: listing.untold_modes,
        same_filesystem,
        free_bytes,
        writable,
        read_only,
    })
}

#[derive(Default)]
struct Listing {
    entries: Vec<Entry>,
    unreadable: Vec<(PathBuf, String)>,
    truncated: bool,
    untold_modes: Vec<PathBuf>,
}

impl Listing {
    fn gather(&mut self, folder: &Folder, prefix: &Path, depth: usize) -> Result<(), FileError> {
        for name in folder.names()? {
            if self.entries.len() >= MAX_ENTRIES {
                self.truncated = true;
                return Ok(());
            }
            // Removed since the directory was listed: then it is not there.
            let Some(status) = folder.status(&name)? else {
                continue;
            };
            let path = prefix.join(&name);
            if status.mode_untold {
                self.untold_modes.push(path.clone());
            }
            self.entries.push(Entry {
                path: path.clone(),
                kind: status.kind,
                owner: status.owner,
                mode: status.mode,
                list: os::access_list_of(&folder.path().join(&name), status.mode),
                len: status.len,
            });
            if status.kind != EntryKind::Directory {
                continue;
            }
            if depth + 1 >= MAX_DEPTH {
                self.truncated = true;
                continue;
            }
            match folder.folder(&name) {
                Ok(inner) => self.gather(&inner, &path, depth + 1)?,
                Err(error) => self.unreadable.push((path, error.cause.to_string())),
            }
        }
        Ok(())
    }
}

/// Why a directory of ours cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// It belongs to somebody who is neither the data directory's owner nor us.
    #[error("{} belongs to {seen}, expected {expected}, the owner of the data directory", path.display())]
    Owner {
        /// The state directory.
        path: PathBuf,
        /// Who owns it.
        seen: Owner,
        /// Who owns the data directory.
        expected: Owner,
    },
    /// The operating system refused or failed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Makes the data directory, mode 0700, if nothing is there. Gives whether it was made.
pub fn create_data_dir(layout: &Layout) -> Result<bool, FileError> {
    create_folder(layout.data_dir(), layout.owner()?)
}

/// Makes the state directory, mode 0700 and owned by the data directory's owner, if nothing is
/// there, and sets both right if root made it.
pub fn create_state_dir(layout: &Layout) -> Result<(), StateDirError> {
    let owner = layout.owner()?;
    create_folder(layout.state_dir(), owner)?;
    let state = Folder::open(layout.state_dir())?;
    let seen = state.own_status()?;
    let ours = seen.owner.uid == owner.uid || seen.owner.uid == files::own_identity().uid;
    if !ours {
        return Err(StateDirError::Owner {
            path: layout.state_dir().to_owned(),
            seen: seen.owner,
            expected: owner,
        });
    }
    // Somebody who may write in a data directory of another user, through a group, keeps the
    // state directory as it is.
    if seen.owner.uid == owner.uid || files::acting_as_root() {
        state
            .settle(owner, DIR_MODE)
            .map_err(|cause| FileError::new("set owner and mode of", layout.state_dir(), cause))?;
        // A project directory is often a checkout of somebody's repository, and stages hold keystores.
        if state.status(IGNORE_FILE)?.is_none() {
            state.write(IGNORE_FILE, b"*\n", owner)?;
        }
    }
    Ok(())
}

/// Whether a data directory has a directory of keys without keys, as repositories ship it. That is no output of a ceremony.
pub(crate) fn has_empty_key_directory(data: &Folder) -> Result<bool, FileError> {
    let status = data.status(VALIDATOR_KEYS_DIR)?;
    if status.is_none_or(|status| status.kind != EntryKind::Directory) {
        return Ok(false);
    }
    let names = data.folder(VALIDATOR_KEYS_DIR)?.names()?;
    Ok(names.iter().all(|name| name == GIT_IGNORE_FILE))
}

/// Makes a directory below the state directory, if nothing is there, and opens it.
pub(crate) fn state_folder(layout: &Layout, name: &str) -> Result<Folder, FileError> {
    Folder::open(layout.state_dir())?.folder_or_new(name, layout.owner()?)
}

/// A time as part of a name, to the second.
pub(crate) fn time_name(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H-%M-%SZ").to_string()
}

/// This name, or with a number behind it the first one that nothing in the directory has.
pub(crate) fn free_name(folder: &Folder, base: &str) -> Result<String, FileError> {
    let mut name = base.to_owned();
    let mut number = 1_u32;
    while folder.status(&name)?.is_some() {
        number = number.saturating_add(1);
        name = format!("{base}-{number}");
    }
    Ok(name)
}

fn create_folder(path: &Path, owner: Owner) -> Result<bool, FileError> {
    let parent = Folder::open(parent_of(path))?;
    match parent.make_folder(path.file_name().unwrap_or_default(), owner) {
        Ok(_) => Ok(true),
        Err(error) if error.is_existing() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Why an ENR key file was not made.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// There is a key already; it is never overwritten.
    #[error("{} exists already", path.display())]
    Exists {
        /// Where it is.
        path: PathBuf,
    },
    /// The text is not a key in charon's form.
    #[error("an ENR key of {seen} bytes, expected 64 lower-case hex digits")]
    NotAKey {
        /// Its length in bytes; the text itself is secret.
        seen: usize,
    },
    /// The operating system refused or failed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Writes a new ENR key, 64 lower-case hex digits without line end (charon app/k1util), mode 0600,
/// on the disk before it has its name, and never over another. The data directory and the state
/// directory must exist; the half-written file is in the state directory, so that a crash leaves
/// the data directory clean. The caller holds the directory's guard.
pub fn create_enr_key_file(layout: &Layout, hex: &Zeroizing<String>) -> Result<(), KeyFileError> {
    let is_hex = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if hex.len() != 64 || !is_hex {
        return Err(KeyFileError::NotAKey { seen: hex.len() });
    }
    let path = layout.enr_key_path();
    let data = Folder::open(layout.data_dir())?;
    if data.status(ENR_KEY_FILE)?.is_some() {
        return Err(KeyFileError::Exists { path });
    }
    let state = Folder::open(layout.state_dir())?;
    let written = state.unfinished(hex.as_bytes(), data.own_status()?.owner)?;
    match written.persist_noclobber(&path) {
        Ok(_) => {
            data.sync()?;
            state.sync()?;
            Ok(())
        }
        Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => {
            Err(KeyFileError::Exists { path })
        }
        Err(failed) => Err(FileError::new("rename into", path, failed.error).into()),
    }
}

/// The inode number of the data directory, by which it is told from a copy of it.
///
/// # Errors
/// If it cannot be looked at.
pub fn inode(layout: &Layout) -> Result<u64, FileError> {
    let path = layout.data_dir();
    os::status_through(path)
        .map(|status| status.ino)
        .map_err(|error| FileError::new("look at", path, error))
}

/// The definition of the current ceremony, as it was fetched or read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDefinition {
    /// The kept file: the very bytes, under a name that never gets other content.
    pub path: PathBuf,
    /// Where the bytes came from: the URL or path that the operator gave.
    pub source: String,
    /// SHA-256 of the bytes.
    pub sha256: [u8; 32],
}

/// The note that says which kept definition is the current one.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DefinitionNote {
    source: String,
    sha256: String,
}

const DEFINITIONS_DIR: &str = "definitions";
const DEFINITION_NOTE: &str = "definition.json";

/// Where a definition of these bytes is, or will be, kept: a name that never gets other content.
pub fn definition_path(layout: &Layout, bytes: &[u8]) -> PathBuf {
    let name = format!("{}.json", hex::encode(Sha256::digest(bytes)));
    layout.state_dir().join(DEFINITIONS_DIR).join(name)
}

/// Keeps a definition in the state directory, which must exist, and notes where it came from. The
/// source must not carry credentials; it is shown and kept in clear. The caller holds the
/// directory's guard.
pub fn store_definition(
    layout: &Layout,
    bytes: &[u8],
    source: &str,
) -> Result<StoredDefinition, FileError> {
    let owner = layout.owner()?;
    let sha256: [u8; 32] = Sha256::digest(bytes).into();
    let folder = state_folder(layout, DEFINITIONS_DIR)?;
    let name = format!("{}.json", hex::encode(sha256));
    folder.write(&name, bytes, owner)?;
    let note = DefinitionNote {
        source: source.to_owned(),
        sha256: hex::encode(sha256),
    };
    let state = Folder::open(layout.state_dir())?;
    let text = serde_json::to_vec_pretty(&note)
        .map_err(|error| FileError::new("write", state.path().join(DEFINITION_NOTE), error))?;
    state.write(DEFINITION_NOTE, &text, owner)?;
    Ok(StoredDefinition {
        path: folder.path().join(name),
        source: note.source,
        sha256,
    })
}

/// Makes the kept definition no longer the current one; its bytes stay. The caller holds the
/// directory's guard.
pub fn forget_definition(layout: &Layout) -> Result<(), FileError> {
    let state = Folder::open(layout.state_dir())?;
    state.remove_file(DEFINITION_NOTE)?;
    state.sync()
}

/// The kept definition and its bytes, if there is one. Bytes that no longer have their hash are an
/// error.
pub fn stored_definition(
    layout: &Layout,
) -> Result<Option<(StoredDefinition, Vec<u8>)>, ReadError> {
    let note_path = layout.state_dir().join(DEFINITION_NOTE);
    let note = match read::read_in(layout.state_dir(), Path::new(DEFINITION_NOTE), read::RECORD) {
        Ok(bytes) => bytes,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error),
    };
    let invalid = |reason: String| {
        let cause = io::Error::new(io::ErrorKind::InvalidData, reason);
        ReadError::from(FileError::new("use", &note_path, cause))
    };
    let note: DefinitionNote =
        serde_json::from_slice(&note).map_err(|error| invalid(error.to_string()))?;
    // The name is part of a path: only a hash may become one.
    let mut sha256 = [0; 32];
    hex::decode_to_slice(&note.sha256, &mut sha256).map_err(|error| invalid(error.to_string()))?;
    let relative = Path::new(DEFINITIONS_DIR).join(format!("{}.json", hex::encode(sha256)));
    let bytes = read::read_in(layout.state_dir(), &relative, read::DEFINITION)?;
    let seen: [u8; 32] = Sha256::digest(&bytes).into();
    if seen != sha256 {
        return Err(invalid(format!(
            "the kept definition has the SHA-256 {}, expected {}",
            hex::encode(seen),
            note.sha256
        )));
    }
    let stored = StoredDefinition {
        path: layout.state_dir().join(relative),
        source: note.source,
        sha256,
    };
    Ok(Some((stored, bytes)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
    use std::process::Command;

    use super::*;
    use crate::machine::testing::{self, KEY, NOBODY, Project, put, tree};

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn the_state_lies_beside_the_real_data_directory() {
        let dir = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(dir.path()).unwrap();
        let layout = Layout::resolve(dir.path(), None).unwrap();
        assert_eq!(layout.project_dir(), real);
        assert_eq!(layout.data_dir(), real.join(".charon"));
        assert_eq!(layout.state_dir(), real.join(".charon-dkg"));
        assert!(!layout.data_dir().exists() && !layout.state_dir().exists());

        // By way of a link, it is the same directory and so the same state.
        fs::create_dir_all(real.join("disk/node0")).unwrap();
        symlink(real.join("disk/node0"), real.join(".charon")).unwrap();
        let linked = Layout::resolve(dir.path(), None).unwrap();
        assert_eq!(linked.data_dir(), real.join("disk/node0"));
        assert_eq!(linked.state_dir(), real.join("disk/node0-dkg"));
        let direct = Layout::resolve(dir.path(), Some(&real.join("disk/node0/"))).unwrap();
        assert_eq!(direct, linked);
    }

    #[test]
    fn what_cannot_be_a_data_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        symlink("nowhere", dir.path().join("dangling")).unwrap();
        for data_dir in ["/", "/proc/self/nonexistent/x"] {
            assert!(Layout::resolve(dir.path(), Some(Path::new(data_dir))).is_err());
        }
        let dangling = Layout::resolve(dir.path(), Some(&dir.path().join("dangling")));
        assert!(dangling.is_err());
        let none = Layout::resolve(&dir.path().join("none"), None).unwrap_err();
        assert!(none.to_string().contains("No such file"), "{none}");
    }

    #[test]
    fn everything_is_seen_and_nothing_followed() {
        let project = Project::new();
        put(
            &project.data("validator_keys/keystore-0.json"),
            b"{}",
            0o640,
        );
        symlink("/etc", project.data("etc")).unwrap();
        let fifo = project.data("fifo");
        assert!(
            Command::new("mkfifo")
                .arg(&fifo)
                .status()
                .unwrap()
                .success()
        );
        fs::set_permissions(project.layout.data_dir(), fs::Permissions::from_mode(0o777)).unwrap();

        let facts = observe(&project.layout).unwrap();
        let seen: Vec<(&str, EntryKind)> = facts
            .entries
            .iter()
            .map(|e| (e.path.to_str().unwrap(), e.kind))
            .collect();
        assert_eq!(
            seen,
            [
                ("charon-enr-private-key", EntryKind::Regular),
                ("etc", EntryKind::Symlink),
                ("fifo", EntryKind::Fifo),
                ("validator_keys", EntryKind::Directory),
                ("validator_keys/keystore-0.json", EntryKind::Regular),
            ]
        );
        assert!(facts.exists() && facts.writable && facts.same_filesystem && !facts.truncated);
        assert_eq!(facts.mode, Some(0o777));
        assert_eq!(facts.owner, files::own_identity());
        assert!(facts.free_bytes > 0);
        let keystore = facts.entry("validator_keys/keystore-0.json").unwrap();
        assert_eq!((keystore.mode, keystore.len), (0o640, 2));
    }

    #[test]
    fn a_missing_directory_is_seen_as_missing() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::resolve(dir.path(), None).unwrap();
        let facts = observe(&layout).unwrap();
        assert_eq!((facts.kind, facts.mode), (None, None));
        assert!(facts.entries.is_empty() && facts.writable && facts.same_filesystem);
        fs::write(layout.data_dir(), "a file").unwrap();
        let facts = observe(&layout).unwrap();
        assert_eq!(facts.kind, Some(EntryKind::Regular));
        assert!(!facts.exists() && !facts.writable);
    }

    #[test]
    fn depth_is_bounded() {
        let project = Project::new();
        let deep: PathBuf = std::iter::repeat_n("d", 30).collect();
        fs::create_dir_all(project.layout.data_dir().join(deep)).unwrap();
        let facts = observe(&project.layout).unwrap();
        assert!(facts.truncated);
        assert_eq!(facts.entries.len(), MAX_DEPTH + 1);
    }

    #[test]
    fn another_filesystem_is_seen() {
        let project = Project::new();
        let memory = tempfile::tempdir_in("/dev/shm").unwrap();
        let apart = project.layout.with_state_dir(memory.path());
        assert!(!observe(&apart).unwrap().same_filesystem);
    }

    #[test]
    #[ignore = "needs root"]
    fn directories_of_ours_are_private_and_their_owners() {
        testing::need_root();
        let dir = tempfile::tempdir().unwrap();
        chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        let layout = Layout::resolve(dir.path(), None).unwrap();
        assert!(create_data_dir(&layout).unwrap());
        assert!(!create_data_dir(&layout).unwrap());
        create_state_dir(&layout).unwrap();
        create_enr_key_file(&layout, &key()).unwrap();
        store_definition(&layout, b"{}", "definition.json").unwrap();
        for path in [layout.data_dir(), layout.state_dir()] {
            assert_eq!(
                (mode(path), fs::metadata(path).unwrap().uid()),
                (0o700, NOBODY)
            );
        }
        let mut checked = 0;
        for dir in [layout.data_dir(), layout.state_dir()] {
            for name in tree(dir).keys() {
                let path = dir.join(name);
                let meta = fs::metadata(&path).unwrap();
                assert_eq!(
                    (mode(&path), meta.uid(), meta.gid()),
                    (0o600, NOBODY, NOBODY)
                );
                checked += 1;
            }
        }
        assert_eq!(checked, 4);
        // git looks at none of it.
        let ignored = fs::read(layout.state_dir().join(IGNORE_FILE)).unwrap();
        assert_eq!(ignored, b"*\n");
        // What root once left there is put right; a stranger's directory is refused.
        chown(layout.state_dir(), Some(0), Some(0)).unwrap();
        fs::set_permissions(layout.state_dir(), fs::Permissions::from_mode(0o755)).unwrap();
        create_state_dir(&layout).unwrap();
        assert_eq!(mode(layout.state_dir()), 0o700);
        assert_eq!(fs::metadata(layout.state_dir()).unwrap().uid(), NOBODY);
        chown(layout.state_dir(), Some(4242), None).unwrap();
        let refused = create_state_dir(&layout).unwrap_err();
        assert!(matches!(refused, StateDirError::Owner { .. }), "{refused}");
    }

    #[test]
    fn a_state_directory_that_is_a_link_is_refused() {
        let project = Project::new();
        fs::remove_dir_all(project.layout.state_dir()).unwrap();
        symlink("/tmp", project.layout.state_dir()).unwrap();
        assert!(create_state_dir(&project.layout).is_err());
    }

    fn key() -> Zeroizing<String> {
        Zeroizing::new(String::from_utf8(KEY.to_vec()).unwrap())
    }

    #[test]
    fn a_key_is_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::resolve(dir.path(), None).unwrap();
        create_data_dir(&layout).unwrap();
        create_state_dir(&layout).unwrap();
        create_enr_key_file(&layout, &key()).unwrap();
        assert_eq!(fs::read(layout.enr_key_path()).unwrap(), KEY);
        assert_eq!(mode(&layout.enr_key_path()), 0o600);
        let other = Zeroizing::new("ab".repeat(32));
        let refused = create_enr_key_file(&layout, &other).unwrap_err();
        assert!(matches!(refused, KeyFileError::Exists { .. }), "{refused}");
        assert_eq!(fs::read(layout.enr_key_path()).unwrap(), KEY);

        // Not through a link either, even one that leads nowhere.
        fs::remove_file(layout.enr_key_path()).unwrap();
        symlink(dir.path().join("elsewhere"), layout.enr_key_path()).unwrap();
        assert!(create_enr_key_file(&layout, &other).is_err());
        assert!(!dir.path().join("elsewhere").exists());
        let names: Vec<_> = tree(layout.state_dir()).into_keys().collect();
        assert_eq!(names, [IGNORE_FILE]);
    }

    #[test]
    fn concurrent_keys_leave_one() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::resolve(dir.path(), None).unwrap();
        create_data_dir(&layout).unwrap();
        create_state_dir(&layout).unwrap();
        let made: Vec<bool> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|n| {
                    let layout = &layout;
                    let key = Zeroizing::new(format!("{n:064x}"));
                    scope.spawn(move || create_enr_key_file(layout, &key).is_ok())
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(made.iter().filter(|made| **made).count(), 1);
        let winner = made.iter().position(|made| *made).unwrap();
        let content = fs::read_to_string(layout.enr_key_path()).unwrap();
        assert_eq!(content, format!("{winner:064x}"));
    }

    #[test]
    fn what_is_no_key_is_not_written() {
        let project = Project::new();
        for text in [
            "",
            "ab",
            &"AB".repeat(32),
            &format!("{}\n", "ab".repeat(32)),
        ] {
            let refused = create_enr_key_file(&project.layout, &Zeroizing::new(text.to_owned()));
            assert!(
                matches!(refused, Err(KeyFileError::NotAKey { .. })),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn a_definition_is_kept_with_its_source() {
        let project = Project::new();
        let layout = &project.layout;
        assert_eq!(stored_definition(layout).unwrap(), None);
        let first = store_definition(layout, b"{\"a\": 1}", "https://example.org/a").unwrap();
        let again = store_definition(layout, b"{\"a\": 1}", "a.json").unwrap();
        assert_eq!(first.path, again.path);
        let second = store_definition(layout, b"{\"b\": 2}", "b.json").unwrap();
        let (stored, bytes) = stored_definition(layout).unwrap().unwrap();
        assert_eq!(
            (&stored, bytes.as_slice()),
            (&second, b"{\"b\": 2}".as_slice())
        );
        // A container that mounts the first one goes on seeing its bytes.
        assert_eq!(fs::read(&first.path).unwrap(), b"{\"a\": 1}");

        fs::write(&second.path, "{\"b\": 3}").unwrap();
        assert!(stored_definition(layout).is_err());
        let note = layout.state_dir().join("definition.json");
        fs::write(note, r#"{"source":"x","sha256":"../../etc/passwd"}"#).unwrap();
        assert!(stored_definition(layout).is_err());
    }
}
