//! The file operations that the rest of `host` is made of: relative to an open directory, never
//! through a symbolic link, whole or not at all, and on the disk when they return.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

pub(crate) use charon_files::cluster::access::{EntryKind, Owner};

use crate::machine::os;
pub(crate) use crate::machine::os::{acting_as_root, own_identity};

/// Mode of every file of ours and of every file of a promoted data directory.
pub(crate) const FILE_MODE: u32 = 0o600;
/// Mode of every directory of ours and of every directory inside a promoted data directory.
pub(crate) const DIR_MODE: u32 = 0o700;

/// Start of the names of files that were not renamed into place yet. Such a file is worthless by
/// construction: its writer died before anyone could rely on it.
pub(crate) const UNFINISHED: &str = ".unfinished-";

/// The operating system refused or failed an operation on a path.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {cause}", path.display())]
pub struct FileError {
    /// What was being done, as a verb: `open`, `rename`, `sync`.
    pub action: &'static str,
    /// The path it was done to.
    pub path: PathBuf,
    /// What the operating system said.
    pub cause: io::Error,
}

impl FileError {
    pub(crate) fn new(
        action: &'static str,
        path: impl Into<PathBuf>,
        cause: impl Into<io::Error>,
    ) -> Self {
        Self {
            action,
            path: path.into(),
            cause: os_error(cause.into()),
        }
    }

    /// Whether the path does not exist.
    pub fn is_missing(&self) -> bool {
        self.cause.kind() == io::ErrorKind::NotFound
    }

    /// Whether the path exists and must not.
    pub fn is_existing(&self) -> bool {
        self.cause.kind() == io::ErrorKind::AlreadyExists
    }
}

/// What the operating system said, which tempfile hides behind the name of its file.
fn os_error(cause: io::Error) -> io::Error {
    let inner = cause.get_ref().and_then(|wrapper| wrapper.source());
    let code = inner.and_then(|inner| inner.downcast_ref::<io::Error>()?.raw_os_error());
    code.map_or(cause, io::Error::from_raw_os_error)
}

/// A relative path with `/` on every system.
pub(crate) fn slashed(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(std::ffi::OsStr::to_string_lossy).collect();
    parts.join("/")
}

/// What `lstat` tells of an entry, in our own types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) kind: EntryKind,
    pub(crate) owner: Owner,
    /// Permission bits, setuid, setgid and sticky included.
    pub(crate) mode: u32,
    /// Whether who else may use it could not be told; never on Unix. The permission bits mean nothing then.
    pub(crate) mode_untold: bool,
    pub(crate) len: u64,
    /// How many names (hard links) it has.
    pub(crate) names: u64,
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    /// Modification and status change, seconds and nanoseconds.
    pub(crate) times: [i64; 4],
}

impl Status {
    /// What is at a path, itself and not what it may link to; `None` if nothing is.
    pub(crate) fn of_path(path: &Path) -> Result<Option<Self>, FileError> {
        os::status_of_path(path).map_err(|cause| FileError::new("look at", path, cause))
    }

    pub(crate) fn of_file(file: &File) -> io::Result<Self> {
        os::status_of_file(file)
    }
}

/// Gives an open file or directory to `owner` and sets its mode.
///
/// A user who is not root can only keep what is theirs: another owner is an error then. Anything
/// with a second hard link is refused before its owner changes, since root would otherwise give
/// away a file that somebody linked here from elsewhere.
pub(crate) fn settle(file: &File, owner: Owner, mode: u32) -> io::Result<()> {
    os::settle(file, owner, mode)
}

/// An open directory and the path by which people know it.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: os::Dir,
    path: PathBuf,
}

impl Folder {
    /// Opens a directory; its last component must not be a symbolic link.
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        Self::opened(os::Dir::open(path), path.to_owned())
    }

    /// Opens a directory inside this one, without following a symbolic link.
    pub(crate) fn folder(&self, name: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = self.path.join(name.as_ref());
        Self::opened(self.dir.dir(name.as_ref()), path)
    }

    fn opened(dir: io::Result<os::Dir>, path: PathBuf) -> Result<Self, FileError> {
        match dir {
            Ok(dir) => Ok(Self { dir, path }),
            Err(cause) => Err(FileError::new("open directory", path, cause)),
        }
    }

    /// Opens for reading what a descriptor only names.
    #[cfg(target_os = "linux")]
    pub(crate) fn open_in(named: &File, path: &Path) -> Result<Self, FileError> {
        Self::opened(os::Dir::open_named(named), path.to_owned())
    }

    /// Opens this directory once more.
    pub(crate) fn again(&self) -> Result<Self, FileError> {
        Self::opened(self.dir.dir(Path::new(".")), self.path.clone())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The open directory, to be locked.
    pub(crate) fn file(&self) -> &File {
        self.dir.file()
    }

    /// Gives it to `owner` and sets its mode, as [`settle`] does.
    pub(crate) fn settle(&self, owner: Owner, mode: u32) -> io::Result<()> {
        self.dir.settle(owner, mode)
    }

    fn error(&self, action: &'static str, name: impl AsRef<Path>, cause: io::Error) -> FileError {
        FileError::new(action, self.path.join(name.as_ref()), cause)
    }

    /// What `name` refers to, itself and not what it may link to; `None` if there is no such name.
    pub(crate) fn status(&self, name: impl AsRef<Path>) -> Result<Option<Status>, FileError> {
        self.dir
            .status(name.as_ref())
            .map_err(|cause| self.error("look at", name, cause))
    }

    /// What the directory itself is now.
    pub(crate) fn own_status(&self) -> Result<Status, FileError> {
        self.dir
            .own_status()
            .map_err(|cause| FileError::new("look at", &self.path, cause))
    }

    /// The names in this directory, sorted.
    pub(crate) fn names(&self) -> Result<Vec<OsString>, FileError> {
        let names = self.dir.names();
        let mut names = names.map_err(|cause| FileError::new("list", &self.path, cause))?;
        names.sort_unstable();
        Ok(names)
    }

    /// Opens a regular file for reading, without following a symbolic link and without ever
    /// waiting for a writer, as opening a FIFO would.
    pub(crate) fn file_in(&self, name: impl AsRef<Path>) -> Result<File, FileError> {
        self.dir
            .open_file(name.as_ref())
            .map_err(|cause| self.error("open", name, cause))
    }

    /// Opens a file to append to it, without following a symbolic link, or makes it.
    pub(crate) fn append_to(&self, name: &str, owner: Owner) -> Result<File, FileError> {
        let open = || -> io::Result<File> {
            let file = self.dir.append_to_file(Path::new(name))?;
            settle(&file, owner, FILE_MODE)?;
            Ok(file)
        };
        open().map_err(|cause| self.error("open", name, cause))
    }

    /// Opens somebody else's file to read it and append to it, without following a symbolic link, or makes it.
    pub(crate) fn append_as_it_is(&self, name: &str) -> Result<File, FileError> {
        self.dir
            .append_to_file(Path::new(name))
            .map_err(|cause| self.error("open", name, cause))
    }

    /// Makes a directory that must not exist yet, and puts it on the disk.
    pub(crate) fn make_folder(
        &self,
        name: impl AsRef<Path>,
        owner: Owner,
    ) -> Result<Self, FileError> {
        self.dir
            .make_dir(name.as_ref())
            .map_err(|cause| self.error("make directory", &name, cause))?;
        let made = self.folder(&name)?;
        made.settle(owner, DIR_MODE)
            .map_err(|cause| FileError::new("give directory to its owner", &made.path, cause))?;
        self.sync()?;
        Ok(made)
    }

    /// Opens a directory in this one, or makes it.
    pub(crate) fn folder_or_new(&self, name: &str, owner: Owner) -> Result<Self, FileError> {
        match self.folder(name) {
            Err(error) if error.is_missing() => match self.make_folder(name, owner) {
                Err(error) if error.is_existing() => self.folder(name),
                made => made,
            },
            opened => opened,
        }
    }

    /// Writes a file whole or not at all, replacing what was there: a temporary file with the
    /// final mode and owner in the same directory, on the disk before it takes the name.
    pub(crate) fn write(&self, name: &str, bytes: &[u8], owner: Owner) -> Result<(), FileError> {
        let path = self.path.join(name);
        let written = self.unfinished(bytes, owner)?;
        written
            .persist(&path)
            .map_err(|failed| FileError::new("rename into", &path, failed.error))?;
        self.sync()
    }

    /// Writes a file that must not exist yet. It is not on the disk when this returns: for what a crash makes worthless.
    pub(crate) fn put_new(&self, name: &str, bytes: &[u8], owner: Owner) -> Result<(), FileError> {
        let made = self.dir.make_file(Path::new(name));
        let mut file = made.map_err(|cause| self.error("make", name, cause))?;
        let mut write = || {
            settle(&file, owner, FILE_MODE)?;
            file.write_all(bytes)
        };
        write().map_err(|cause| FileError::new("write", self.path.join(name), cause))
    }

    /// A temporary file in this directory, complete and on the disk, to be renamed into place.
    pub(crate) fn unfinished(
        &self,
        bytes: &[u8],
        owner: Owner,
    ) -> Result<tempfile::NamedTempFile, FileError> {
        let write = || -> io::Result<tempfile::NamedTempFile> {
            let mut temporary = os::private_file(UNFINISHED, &self.path)?;
            settle(temporary.as_file(), owner, FILE_MODE)?;
            temporary.write_all(bytes)?;
            temporary.as_file().sync_all()?;
            Ok(temporary)
        };
        write().map_err(|cause| FileError::new("write a file in", &self.path, cause))
    }

    /// Moves an entry to a name in another directory that nothing has yet.
    pub(crate) fn move_new(
        &self,
        name: &str,
        to: &Folder,
        new_name: &str,
    ) -> Result<(), FileError> {
        match self
            .dir
            .move_new(Path::new(name), &to.dir, Path::new(new_name))
        {
            Ok(()) => Ok(()),
            Err(cause) if cause.kind() == io::ErrorKind::Unsupported => {
                self.move_looking_first(name, to, new_name)
            }
            Err(cause) => Err(self.not_moved(name, to, new_name, cause)),
        }
    }

    /// Who sees that something may not be moved has to know what.
    fn not_moved(&self, name: &str, to: &Self, new_name: &str, cause: io::Error) -> FileError {
        let entry = self.path.join(name);
        let mut ways = [
            ("move", &entry),
            ("move anything out of", &self.path),
            ("move anything into", &to.path),
        ]
        .into_iter();
        match ways.find(|(_, path)| os::is_frozen(path)) {
            Some((what, frozen)) => FileError::new(what, frozen, cause),
            // A mount point.
            None if cause.kind() == io::ErrorKind::ResourceBusy => {
                FileError::new("move", &entry, cause)
            }
            None => to.error("rename into", new_name, cause),
        }
    }

    /// Not every file system knows how to rename without replacing. Everybody of ours who writes here holds the directory's
    /// guard, so looking first is enough between us.
    fn move_looking_first(&self, name: &str, to: &Folder, new_name: &str) -> Result<(), FileError> {
        if to.status(new_name)?.is_some() {
            let cause = io::ErrorKind::AlreadyExists.into();
            return Err(to.error("rename into", new_name, cause));
        }
        self.dir
            .move_over(Path::new(name), &to.dir, Path::new(new_name))
            .map_err(|cause| self.not_moved(name, to, new_name, cause))
    }

    /// Removes a file or a symbolic link; nothing there is fine.
    pub(crate) fn remove_file(&self, name: impl AsRef<Path>) -> Result<(), FileError> {
        self.gone("remove", name.as_ref(), self.dir.remove_file(name.as_ref()))
    }

    /// Removes files of which a command that was killed had not written all.
    pub(crate) fn remove_unfinished(&self) -> Result<(), FileError> {
        for name in self.names()? {
            if name.to_string_lossy().starts_with(UNFINISHED) {
                self.remove_file(&name)?;
            }
        }
        Ok(())
    }

    /// Removes an empty directory; nothing there is fine.
    pub(crate) fn remove_folder(&self, name: impl AsRef<Path>) -> Result<(), FileError> {
        let removed = self.dir.remove_dir(name.as_ref());
        self.gone("remove directory", name.as_ref(), removed)
    }

    fn gone(
        &self,
        action: &'static str,
        name: &Path,
        removed: io::Result<()>,
    ) -> Result<(), FileError> {
        match removed {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                Err(self.error(action, name, cause))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Removes an entry with all that is in it, following no link; nothing there is fine.
    pub(crate) fn remove_tree(&self, name: impl AsRef<Path>) -> Result<(), FileError> {
        match self.status(&name)? {
            None => Ok(()),
            Some(status) if status.kind == EntryKind::Directory => {
                let inner = self.folder(&name)?;
                for below in inner.names()? {
                    inner.remove_tree(&below)?;
                }
                drop(inner);
                self.remove_folder(name)
            }
            Some(_) => self.remove_file(name),
        }
    }

    /// Puts the names in this directory on the disk.
    pub(crate) fn sync(&self) -> Result<(), FileError> {
        self.dir
            .sync()
            .map_err(|cause| FileError::new("sync", &self.path, cause))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::machine::testing::{NOBODY, need_root};

    fn folder(dir: &tempfile::TempDir) -> Folder {
        Folder::open(dir.path()).unwrap()
    }

    #[test]
    fn a_file_is_replaced_whole_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let own = own_identity();
        for content in ["long content", "short"] {
            folder(&dir).write("file", content.as_bytes(), own).unwrap();
            assert_eq!(
                fs::read_to_string(dir.path().join("file")).unwrap(),
                content
            );
        }
        let status = folder(&dir).status("file").unwrap().unwrap();
        assert_eq!((status.mode, status.owner), (0o600, own));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        // A link in its place is replaced, and what it leads to left alone.
        symlink("/etc/passwd", dir.path().join("link")).unwrap();
        folder(&dir).write("link", b"x", own).unwrap();
        let status = folder(&dir).status("link").unwrap().unwrap();
        assert_eq!(status.kind, EntryKind::Regular);
    }

    #[test]
    fn no_way_of_moving_overwrites() {
        type Move = fn(&Folder, &str, &Folder, &str) -> Result<(), FileError>;
        let ways: [Move; 2] = [
            |from, name, to, new| from.move_new(name, to, new),
            |from, name, to, new| from.move_looking_first(name, to, new),
        ];
        for way in ways {
            let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            fs::write(from.path().join("file"), "new").unwrap();
            fs::create_dir_all(from.path().join("dir/sub")).unwrap();
            fs::write(to.path().join("file"), "old").unwrap();
            fs::create_dir(to.path().join("dir")).unwrap();
            symlink("nowhere", to.path().join("link")).unwrap();
            for (name, new_name) in [("file", "file"), ("dir", "dir"), ("file", "link")] {
                let error = way(&folder(&from), name, &folder(&to), new_name).unwrap_err();
                assert!(error.is_existing(), "{name}: {error}");
            }
            assert_eq!(fs::read_to_string(to.path().join("file")).unwrap(), "old");
            way(&folder(&from), "file", &folder(&to), "file2").unwrap();
            way(&folder(&from), "dir", &folder(&to), "dir2").unwrap();
            assert!(to.path().join("dir2/sub").is_dir());
            assert_eq!(fs::read_dir(from.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        symlink("/etc", dir.path().join("etc")).unwrap();
        symlink("/etc/passwd", dir.path().join("passwd")).unwrap();
        assert!(Folder::open(&dir.path().join("etc")).is_err());
        assert!(folder(&dir).folder("etc").is_err());
        assert!(folder(&dir).file_in("passwd").is_err());
        folder(&dir).remove_file("passwd").unwrap();
        assert!(Path::new("/etc/passwd").exists());
    }

    #[test]
    #[ignore = "needs root"]
    fn root_gives_away_only_what_has_one_name() {
        need_root();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        fs::hard_link(dir.path().join("file"), dir.path().join("second")).unwrap();
        let file = fs::File::open(dir.path().join("file")).unwrap();
        let owner = Owner {
            uid: NOBODY,
            gid: NOBODY,
        };
        assert!(settle(&file, owner, 0o600).is_err());
        assert_eq!(Status::of_file(&file).unwrap().owner, own_identity());
        fs::remove_file(dir.path().join("second")).unwrap();
        settle(&file, owner, 0o600).unwrap();
        let status = Status::of_file(&file).unwrap();
        assert_eq!((status.owner, status.mode), (owner, 0o600));
    }
}
