//! What a backup is made of and where it goes: the files of a node, the file that keeps them, the record of it, and the
//! stage in which one is restored.
//!
//! ```text
//! <state dir>/backups.json                the last backup of each ENR key, see [`crate::custody::record`]
//!             restores/<name>/charon      a data directory as it was, and
//!             restores/<name>/state       what is kept of the state directory, while a backup is drilled or restored
//! ```
//!
//! All functions that write expect their caller to hold the directory's guard.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use crate::ceremony::attempt;
use crate::custody::contents::{self, ArchiveError, File, Place, Unpacked};
use crate::custody::record::{MAX_RECORD_BYTES, Record, Records};
use crate::edit::closed::CLOSED_LOCKS_FILE;
use crate::edit::held as edit_held;
use crate::machine::datadir::{self, Layout};
use crate::machine::files::{self, EntryKind, FILE_MODE, FileError, Folder, Owner, UNFINISHED};
use crate::machine::os;
use crate::machine::read::{self, Limit, ReadError};
use crate::promote::held;
use crate::promote::journal::listing;
use charon_files::cluster::names::{HEARTBEAT_FILE, MAX_DEPTH};

const RECORDS_FILE: &str = "backups.json";
const RESTORES_DIR: &str = "restores";
/// The data directory of a stage.
pub(crate) const STAGED_DATA: &str = "charon";
/// What belongs into the state directory, in a stage.
pub(crate) const STAGED_STATE: &str = "state";

const RECORDS: Limit = Limit {
    bytes: MAX_RECORD_BYTES,
    what: "a record of backups",
};

/// Any single file: a cluster lock may be the longest.
pub(crate) const ANY_FILE: Limit = Limit {
    bytes: read::CLUSTER_LOCK.bytes,
    what: "a file to back up",
};

/// Why the files of a node cannot be gathered.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// Something that no backup has: one without it would not be whole.
    #[error("{} is {seen}, expected {expected}", path.display())]
    Foreign {
        /// Where it is.
        path: PathBuf,
        /// What it is.
        seen: String,
        /// What may be there.
        expected: &'static str,
    },
    /// They would not fit into an archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// One could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<FileError> for GatherError {
    fn from(error: FileError) -> Self {
        Self::Read(error.into())
    }
}

/// Reads every file that belongs into a backup: all of the data directory but charon's heartbeat, and what of the state
/// directory is worth it, what is held above all. Other attempts are not: their stages were promoted, or are evidence of what went wrong here.
///
/// # Errors
/// When one cannot be read, or something there cannot be backed up.
pub fn gather(layout: &Layout) -> Result<Vec<File>, GatherError> {
    let mut gathered = Gathered::default();
    gathered.add_all(layout.data_dir(), Place::Data, "")?;
    if let Some(attempt) = held::find(layout) {
        let held = format!("attempts/{}/", attempt.number());
        gathered.add(
            (attempt.dir(), Path::new(attempt::RECORD_FILE)),
            (Place::State, &held),
            read::RECORD,
        )?;
        gathered.add_all(&attempt.stage(), Place::State, &format!("{held}stage/"))?;
    }
    let edit = edit_held::place(layout);
    if std::fs::symlink_metadata(&edit).is_ok() {
        gathered.add_all(&edit, Place::State, &format!("{}/", edit_held::EDIT_DIR))?;
    }
    for path in kept(layout) {
        let file = (layout.state_dir(), Path::new(&path));
        gathered.add(file, (Place::State, ""), read::DEFINITION)?;
    }
    Ok(gathered.files)
}

#[derive(Default)]
struct Gathered {
    files: Vec<File>,
    bytes: u64,
}

impl Gathered {
    /// All below a directory but charon's heartbeat.
    fn add_all(&mut self, dir: &Path, place: Place, prefix: &str) -> Result<(), GatherError> {
        for (path, kind) in listing(&Folder::open(dir)?)? {
            let foreign = |seen: String, expected| GatherError::Foreign {
                path: dir.join(&path),
                seen,
                expected,
            };
            match kind {
                EntryKind::Directory if path.components().count() <= MAX_DEPTH => {}
                EntryKind::Directory => {
                    let seen = format!("{MAX_DEPTH} directories deep");
                    return Err(foreign(seen, "fewer, as in a data directory"));
                }
                EntryKind::Regular if place == Place::Data && path == Path::new(HEARTBEAT_FILE) => {
                }
                EntryKind::Regular if path.to_str().is_none() => {
                    return Err(foreign("no text".to_owned(), "a name that is text"));
                }
                EntryKind::Regular => self.add((dir, &path), (place, prefix), ANY_FILE)?,
                EntryKind::Symlink | EntryKind::Fifo | EntryKind::Other => {
                    return Err(foreign(kind.to_string(), "a regular file or a directory"));
                }
            }
        }
        Ok(())
    }

    /// One file of a directory, in the archive behind a prefix.
    fn add(
        &mut self,
        (dir, path): (&Path, &Path),
        (place, prefix): (Place, &str),
        limit: Limit,
    ) -> Result<(), GatherError> {
        let bytes = read::read_secret_in(dir, path, limit)?;
        self.bytes = self
            .bytes
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.files.push(File {
            place,
            path: format!("{prefix}{}", files::slashed(path)),
            bytes,
        });
        Ok(contents::check_size(self.files.len(), self.bytes)?)
    }
}

/// Kept receipts, locks that must not start, and the kept definition if it is whole. What is odd here was never relied on, and is left out.
fn kept(layout: &Layout) -> Vec<String> {
    let mut names = Vec::new();
    let receipts = Folder::open(layout.state_dir())
        .and_then(|state| state.folder("receipts"))
        .and_then(|receipts| receipts.names());
    for name in receipts.unwrap_or_default() {
        names.extend(name.to_str().map(|name| format!("receipts/{name}")));
    }
    if std::fs::symlink_metadata(layout.state_dir().join(CLOSED_LOCKS_FILE)).is_ok() {
        names.push(CLOSED_LOCKS_FILE.to_owned());
    }
    if let Ok(Some((stored, _))) = datadir::stored_definition(layout) {
        names.push("definition.json".to_owned());
        names.push(format!("definitions/{}.json", hex::encode(stored.sha256)));
    }
    names.retain(|path| contents::is_kept(path));
    names
}

/// A backup on the disk that does not have its name yet. Dropped, it is removed.
#[derive(Debug)]
pub struct Unnamed {
    file: NamedTempFile,
    folder: Folder,
}

/// Writes a backup into a directory, mode 0600 and for the owner of the data directory, without a name.
///
/// # Errors
/// When the operating system refuses or fails.
pub fn write_unnamed(layout: &Layout, dir: &Path, sealed: &[u8]) -> Result<Unnamed, FileError> {
    let real = dunce::canonicalize(dir).map_err(|cause| FileError::new("find", dir, cause))?;
    let folder = Folder::open(&real)?;
    let owner = layout.owner()?;
    let write = || -> std::io::Result<NamedTempFile> {
        let mut file = os::private_file(UNFINISHED, &real)?;
        // A stick with a file system without owners keeps none; what is in the file is encrypted.
        files::settle(file.as_file(), owner, FILE_MODE).ok();
        file.write_all(sealed)?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    let file = write().map_err(|cause| FileError::new("write a file in", dir, cause))?;
    Ok(Unnamed { file, folder })
}

impl Unnamed {
    /// Where it is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Reads it again: opened anew, and from the disk where the system lets us ask for that.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_back(&self, limit: Limit) -> Result<Vec<u8>, ReadError> {
        // A file system in memory has nothing else to read from.
        os::drop_cache(self.path()).ok();
        read::read_file(self.path(), limit)
    }

    /// Gives it its name, which nothing may have yet, and puts that on the disk.
    ///
    /// # Errors
    /// When the name is taken, or the operating system refuses or fails.
    pub fn name(self, name: &Path) -> Result<PathBuf, FileError> {
        let path = self.folder.path().join(name);
        self.file
            .persist_noclobber(&path)
            .map_err(|failed| FileError::new("rename into", &path, failed.error))?;
        self.folder.sync()?;
        Ok(path)
    }
}

/// The record of backups; empty if it does not exist.
///
/// # Errors
/// If there is something else in its place, or it cannot be read.
pub fn read_records(layout: &Layout) -> Result<Records, ReadError> {
    let bytes = match read::read_in(layout.state_dir(), Path::new(RECORDS_FILE), RECORDS) {
        Ok(bytes) => bytes,
        Err(error) if error.is_missing() => return Ok(Records::default()),
        Err(error) => return Err(error),
    };
    Records::parse(&bytes).map_err(|reason| {
        let cause = std::io::Error::new(std::io::ErrorKind::InvalidData, reason);
        FileError::new("use", layout.state_dir().join(RECORDS_FILE), cause).into()
    })
}

/// Notes a backup. One that cannot be read is replaced: it is a note and no more.
///
/// # Errors
/// When the operating system refuses or fails.
pub fn write_record(layout: &Layout, record: Record) -> Result<(), FileError> {
    let records = read_records(layout).unwrap_or_default().with(record);
    let path = layout.state_dir().join(RECORDS_FILE);
    let text = records
        .to_json()
        .map_err(|error| FileError::new("write", &path, error))?;
    Folder::open(layout.state_dir())?.write(RECORDS_FILE, &text, layout.owner()?)
}

/// A directory of our own, mode 0700 and on the data directory's file system, in which the files of a backup are laid out.
#[derive(Debug)]
pub struct Stage {
    name: String,
    folder: Folder,
}

impl Stage {
    /// Makes it and puts the files in, each mode 0600.
    ///
    /// # Errors
    /// When the operating system refuses or fails; then it is removed again.
    pub fn fill(layout: &Layout, name: &str, files: &[Unpacked<'_>]) -> Result<Self, FileError> {
        let owner = layout.owner()?;
        let restores = datadir::state_folder(layout, RESTORES_DIR)?;
        let stage = Self {
            name: name.to_owned(),
            folder: restores.make_folder(name, owner)?,
        };
        let put = || -> Result<(), FileError> {
            for place in [STAGED_DATA, STAGED_STATE] {
                stage.folder.make_folder(place, owner)?;
            }
            for file in files {
                let place = match file.place {
                    Place::Data => STAGED_DATA,
                    Place::State => STAGED_STATE,
                };
                let mut folder = stage.folder.folder(place)?;
                let (parents, name) = file.path.rsplit_once('/').unwrap_or(("", file.path));
                for parent in parents.split('/').filter(|parent| !parent.is_empty()) {
                    folder = folder.folder_or_new(parent, owner)?;
                }
                folder.put_new(name, file.bytes, owner)?;
            }
            Ok(())
        };
        match put() {
            Ok(()) => Ok(stage),
            Err(error) => {
                stage.remove(layout)?;
                Err(error)
            }
        }
    }

    /// Its name among the stages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join(STAGED_DATA)
    }

    /// Removes it with all that is in it.
    ///
    /// # Errors
    /// When the operating system refuses or fails.
    pub fn remove(self, layout: &Layout) -> Result<(), FileError> {
        remove_stage(layout, &self.name)
    }
}

pub(crate) fn open_stage(layout: &Layout, name: &str) -> Result<Folder, FileError> {
    Folder::open(layout.state_dir())?
        .folder(RESTORES_DIR)?
        .folder(name)
}

pub(crate) fn open_or_make_stage(
    layout: &Layout,
    name: &str,
    owner: Owner,
) -> Result<Folder, FileError> {
    datadir::state_folder(layout, RESTORES_DIR)?.folder_or_new(name, owner)
}

/// Moves a stage out of the way of [`remove_stages`], as evidence.
pub(crate) fn set_aside(layout: &Layout, name: &str) -> Result<PathBuf, FileError> {
    let state = Folder::open(layout.state_dir())?;
    let aside = format!("undone-{name}");
    state.folder(RESTORES_DIR)?.move_new(name, &state, &aside)?;
    Ok(layout.state_dir().join(aside))
}

pub(crate) fn remove_stage(layout: &Layout, name: &str) -> Result<(), FileError> {
    let restores =
        match Folder::open(layout.state_dir()).and_then(|state| state.folder(RESTORES_DIR)) {
            Ok(restores) => restores,
            Err(error) if error.is_missing() => return Ok(()),
            Err(error) => return Err(error),
        };
    restores.remove_tree(name)?;
    // Another command's stage keeps it, and an empty one harms nobody.
    Folder::open(layout.state_dir())?
        .remove_folder(RESTORES_DIR)
        .ok();
    Ok(())
}

/// Removes the stages that a command left when it was killed: copies of what is elsewhere.
///
/// # Errors
/// When the operating system refuses or fails.
pub(crate) fn remove_stages(state: &Folder) -> Result<(), FileError> {
    match state.status(RESTORES_DIR)? {
        Some(status) if status.kind == EntryKind::Directory => state.remove_tree(RESTORES_DIR),
        Some(_) | None => Ok(()),
    }
}

/// The bytes of every file, for comparing what was read back with what is on the disk now.
///
/// # Errors
/// When the files cannot be gathered.
pub fn differences(layout: &Layout, unpacked: &[Unpacked<'_>]) -> Result<Vec<String>, GatherError> {
    let now = gather(layout)?;
    let mut expected: std::collections::BTreeMap<String, &Zeroizing<Vec<u8>>> =
        now.iter().map(|file| (file.name(), &file.bytes)).collect();
    let mut differ = Vec::new();
    for file in unpacked {
        let name = format!("{}{}", file.place.prefix(), file.path);
        match expected.remove(&name) {
            Some(bytes) if bytes.as_slice() == file.bytes => {}
            Some(_) | None => differ.push(name),
        }
    }
    differ.extend(expected.into_keys());
    Ok(differ)
}
