//! What Linux and macOS do in one way and Windows in another: looking at files, owners and modes, and names relative to an
//! open directory. `windows.rs` has the same functions.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};

use rustix::fs::{Access, AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, Stat, Uid};
use rustix::io::Errno;

use crate::machine::files::{DIR_MODE, EntryKind, FILE_MODE, Owner, Status};
use crate::machine::signals::StopSource;
use charon_files::cluster::access::AccessList;

/// What an entry is, by its mode as the system tells it, with the bits of its type.
pub(crate) fn kind_of_mode(raw_mode: u32) -> EntryKind {
    match FileType::from_raw_mode(wide(raw_mode)) {
        FileType::RegularFile => EntryKind::Regular,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Symlink,
        FileType::Fifo => EntryKind::Fifo,
        FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => EntryKind::Other,
    }
}

/// The widths and signs of what the system tells differ between systems; all values fit.
fn wide<T: TryInto<U>, U: Default>(value: T) -> U {
    value.try_into().unwrap_or_default()
}

fn status_of(stat: Stat) -> Status {
    let mode: u32 = wide(stat.st_mode);
    Status {
        kind: kind_of_mode(mode),
        owner: Owner {
            uid: stat.st_uid,
            gid: stat.st_gid,
        },
        mode: mode & 0o7777,
        mode_untold: false,
        len: wide(stat.st_size),
        names: wide(stat.st_nlink),
        dev: wide(stat.st_dev),
        ino: wide(stat.st_ino),
        times: [
            wide(stat.st_mtime),
            wide(stat.st_mtime_nsec),
            wide(stat.st_ctime),
            wide(stat.st_ctime_nsec),
        ],
    }
}

/// What is at a path, itself and not what it may link to; `None` if nothing is.
pub(crate) fn status_of_path(path: &Path) -> io::Result<Option<Status>> {
    match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(status_of(stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether an attribute (chattr(1)) keeps everybody, root too, from changing what is there or from removing it.
#[cfg(target_os = "linux")]
pub(crate) fn is_frozen(path: &Path) -> bool {
    use rustix::fs::{StatxAttributes, StatxFlags};
    let frozen = StatxAttributes::IMMUTABLE | StatxAttributes::APPEND;
    rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty())
        .is_ok_and(|stat| stat.stx_attributes.intersects(frozen))
}

/// Not looked for there.
#[cfg(not(target_os = "linux"))]
pub(crate) const fn is_frozen(_path: &Path) -> bool {
    false
}

/// The access control list of what has this mode, read by the call that is handed its name and a place for it; `None` where
/// nobody has anything by one.
pub(crate) fn access_list(
    mode: u32,
    read: impl FnOnce(&str, &mut [u8]) -> rustix::io::Result<usize>,
) -> Option<AccessList> {
    // The longest extended attribute (Linux, `XATTR_SIZE_MAX`).
    const LONGEST: usize = 1 << 16;
    // The group's bits are the list's mask.
    if mode & 0o070 == 0 {
        return None;
    }
    let mut bytes = vec![0; LONGEST];
    let length = read("system.posix_acl_access", &mut bytes).ok()?;
    AccessList::parse(bytes.get(..length)?)
}

/// The same for what is at a path, itself and not what it may link to.
pub(crate) fn access_list_of(path: &Path, mode: u32) -> Option<AccessList> {
    access_list(mode, |name, into| rustix::fs::lgetxattr(path, name, into))
}

/// What a path leads to.
pub(crate) fn status_through(path: &Path) -> io::Result<Status> {
    Ok(status_of(rustix::fs::statat(CWD, path, AtFlags::empty())?))
}

/// What an open file is.
pub(crate) fn status_of_file(file: &File) -> io::Result<Status> {
    Ok(status_of(rustix::fs::fstat(file)?))
}

/// Whether this process may give files to other users.
pub(crate) fn acting_as_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The user and group that this process creates files as.
pub(crate) fn own_identity() -> Owner {
    Owner {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    }
}

/// See [`crate::machine::files::settle`].
pub(crate) fn settle(file: &File, owner: Owner, mode: u32) -> io::Result<()> {
    let meta = file.metadata()?;
    if meta.is_file() && meta.nlink() > 1 {
        return Err(io::Error::other(format!(
            "it has {} hard links, expected 1",
            meta.nlink()
        )));
    }
    if (meta.uid(), meta.gid()) != (owner.uid, owner.gid) {
        if acting_as_root() {
            let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
            rustix::fs::fchown(file, Some(uid), Some(gid))?;
        } else if meta.uid() != owner.uid {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("it belongs to uid {}, expected {}", meta.uid(), owner.uid),
            ));
        }
    }
    set_mode(file, mode)
}

/// Sets permission bits, if they are others.
pub(crate) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    if file.metadata()?.mode() & 0o7777 != mode {
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Puts an open file on the disk.
pub(crate) fn sync_file(file: &File, _path: &Path) -> io::Result<()> {
    file.sync_all()
}

/// A temporary file that nobody else may open.
pub(crate) fn private_file(prefix: &str, dir: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new()
        .prefix(prefix)
        .permissions(std::fs::Permissions::from_mode(FILE_MODE))
        .tempfile_in(dir)
}

/// Opens what the user named, links followed, without ever waiting for a writer, as opening a FIFO would.
pub(crate) fn open_through(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(
        CWD,
        path,
        flags,
        Mode::empty(),
    )?))
}

/// Opens a file that is locked rather than read, itself and not what it may link to.
pub(crate) fn open_guard(path: &Path, writable: bool) -> io::Result<File> {
    let access = if writable {
        OFlags::RDWR
    } else {
        OFlags::RDONLY
    };
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(
        CWD,
        path,
        flags,
        Mode::empty(),
    )?))
}

/// What blocks [`open_guard`], as far as its error tells.
pub(crate) fn in_the_way(error: &io::Error) -> Option<EntryKind> {
    match Errno::from_io_error(error) {
        Some(Errno::LOOP) => Some(EntryKind::Symlink),
        Some(Errno::ISDIR) => Some(EntryKind::Directory),
        Some(Errno::NXIO) => Some(EntryKind::Other),
        Some(_) | None => None,
    }
}

/// Whether a file may be read although it may not be written, as far as an error tells.
pub(crate) fn is_read_only(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS)
    )
}

/// Whether a disk, or the way to it, did not do what it was asked.
pub(crate) fn is_disk_failure(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::IO)
}

/// Whether a file system does not lock what is only open for reading (NFS), or no directories.
pub(crate) fn locks_no_directories(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::BADF | Errno::INVAL | Errno::NOLCK | Errno::OPNOTSUPP)
    )
}

/// Reads from a place in a file without moving its own.
pub(crate) fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

/// Where the guards of ENR keys may be, first fitting one first. Whether one fits depends on
/// nothing but the machine, so that all users agree: it must be root's, writable for all and
/// sticky. Debian and Ubuntu have the first; others keep it to root, and have the last.
pub(crate) fn meeting_places() -> Vec<PathBuf> {
    ["/run/lock", "/var/lock", "/tmp"].map(PathBuf::from).into()
}

/// Major and minor number of a device.
pub(crate) fn device_numbers(dev: u64) -> (u32, u32) {
    let dev = wide(dev);
    (wide(rustix::fs::major(dev)), wide(rustix::fs::minor(dev)))
}

/// Whether all users of this machine can meet in a directory: root's, writable for all and sticky.
pub(crate) fn is_meeting_place(dir: &Path) -> bool {
    std::fs::metadata(dir)
        .is_ok_and(|meta| meta.is_dir() && meta.uid() == 0 && meta.mode() & 0o1002 == 0o1002)
}

/// Whether this user may put files into a directory.
pub(crate) fn check_writable(dir: &Path) -> io::Result<()> {
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    Ok(rustix::fs::accessat(CWD, dir, wanted, AtFlags::EACCESS)?)
}

/// Bytes that this user may still write on a directory's file system.
pub(crate) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let space = rustix::fs::statvfs(dir)?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

/// Whether `rename` works between two directories. It does neither across devices nor between two mounts of one device, as
/// of a directory that is bind-mounted onto itself.
pub(crate) fn same_mount(one: &Path, other: &Path) -> io::Result<bool> {
    Ok(mount_of(one)? == mount_of(other)?)
}

#[cfg(target_os = "linux")]
fn mount_of(path: &Path) -> io::Result<(u32, u32, u64)> {
    use rustix::fs::StatxFlags;
    let wanted = StatxFlags::MNT_ID | StatxFlags::TYPE;
    // Kernels before 5.8 leave the mount id at 0, and then only the device counts.
    let seen = rustix::fs::statx(CWD, path, AtFlags::empty(), wanted)?;
    Ok((seen.stx_dev_major, seen.stx_dev_minor, seen.stx_mnt_id))
}

#[cfg(not(target_os = "linux"))]
fn mount_of(path: &Path) -> io::Result<u64> {
    Ok(status_through(path)?.dev)
}

/// Makes the system forget what it holds of a file in memory, so that it is read from the disk.
pub(crate) fn drop_cache(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    #[cfg(target_os = "linux")]
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    #[cfg(target_os = "macos")]
    rustix::fs::fcntl_nocache(&file, true)?;
    drop(file);
    Ok(())
}

/// An open directory.
#[derive(Debug)]
pub(crate) struct Dir(File);

impl Dir {
    /// Opens a directory; its last component must not be a symbolic link.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::open_at(&CWD, path)
    }

    fn open_at(at: &impl std::os::fd::AsFd, name: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(File::from(rustix::fs::openat(
            at,
            name,
            flags,
            Mode::empty(),
        )?)))
    }

    /// Opens for reading what a descriptor only names.
    pub(crate) fn open_named(named: &File) -> io::Result<Self> {
        Self::open_at(named, Path::new("."))
    }

    /// Opens a directory inside this one, without following a symbolic link; `.` opens it once more.
    pub(crate) fn dir(&self, name: &Path) -> io::Result<Self> {
        Self::open_at(&self.0, name)
    }

    /// The open directory itself, to be locked.
    pub(crate) fn file(&self) -> &File {
        &self.0
    }

    /// What a name refers to, itself and not what it may link to; `None` if there is no such name.
    pub(crate) fn status(&self, name: &Path) -> io::Result<Option<Status>> {
        match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(status_of(stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// What the directory itself is now.
    pub(crate) fn own_status(&self) -> io::Result<Status> {
        status_of_file(&self.0)
    }

    /// Sets its owner and mode.
    pub(crate) fn settle(&self, owner: Owner, mode: u32) -> io::Result<()> {
        settle(&self.0, owner, mode)
    }

    /// The names in this directory.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        let mut entries = rustix::fs::Dir::read_from(&self.0)?;
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Opens a regular file for reading, without following a symbolic link and without ever
    /// waiting for a writer, as opening a FIFO would.
    pub(crate) fn open_file(&self, name: &Path) -> io::Result<File> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.0, name, flags, Mode::empty())?;
        Ok(File::from(fd))
    }

    /// Makes a file that must not exist yet, private.
    pub(crate) fn make_file(&self, name: &Path) -> io::Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(wide(FILE_MODE));
        Ok(File::from(rustix::fs::openat(&self.0, name, flags, mode)?))
    }

    /// Opens a file to append to it, or makes it, private.
    pub(crate) fn append_to_file(&self, name: &Path) -> io::Result<File> {
        let flags = OFlags::RDWR
            | OFlags::APPEND
            | OFlags::CREATE
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(wide(FILE_MODE));
        Ok(File::from(rustix::fs::openat(&self.0, name, flags, mode)?))
    }

    /// Makes a private directory that must not exist yet.
    pub(crate) fn make_dir(&self, name: &Path) -> io::Result<()> {
        let mode = Mode::from_raw_mode(wide(DIR_MODE));
        Ok(rustix::fs::mkdirat(&self.0, name, mode)?)
    }

    /// Moves an entry to a name that nothing has yet. [`io::ErrorKind::Unsupported`] where the file system cannot tell (NFS,
    /// ZFS before 2.2).
    pub(crate) fn move_new(&self, name: &Path, to: &Self, new_name: &Path) -> io::Result<()> {
        match rustix::fs::renameat_with(&self.0, name, &to.0, new_name, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                Err(io::ErrorKind::Unsupported.into())
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Moves an entry, over another if there is one.
    pub(crate) fn move_over(&self, name: &Path, to: &Self, new_name: &Path) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.0, name, &to.0, new_name)?)
    }

    /// Removes a file or a symbolic link.
    pub(crate) fn remove_file(&self, name: &Path) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// Removes an empty directory.
    pub(crate) fn remove_dir(&self, name: &Path) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }

    /// Puts the names in this directory on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

/// How a terminal was set.
pub(crate) type TerminalSettings = rustix::termios::Termios;

/// Sets the terminal on standard input so that every byte is read as it is typed, Ctrl-C too, and hidden if so asked. Gives
/// how it was set before.
pub(crate) fn read_bytes(hidden: bool) -> io::Result<TerminalSettings> {
    use rustix::termios::{LocalModes, OptionalActions};
    let before = rustix::termios::tcgetattr(io::stdin())?;
    let mut raw = before.clone();
    let mut without = LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
    without.set(LocalModes::ECHO, hidden);
    raw.local_modes.remove(without);
    rustix::termios::tcsetattr(io::stdin(), OptionalActions::Flush, &raw)?;
    Ok(before)
}

/// Sets the terminal on standard input as it was.
pub(crate) fn restore_terminal(before: &TerminalSettings) -> io::Result<()> {
    use rustix::termios::OptionalActions;
    Ok(rustix::termios::tcsetattr(
        io::stdin(),
        OptionalActions::Now,
        before,
    )?)
}

/// How many characters a line of the terminal on standard error has; some say 0.
pub(crate) fn terminal_width() -> io::Result<usize> {
    let size = rustix::termios::tcgetwinsize(io::stderr())?;
    Ok(usize::from(size.ws_col))
}

/// The signals that ask to stop.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Begins to listen. Must be called within a tokio runtime.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> StopSource {
        tokio::select! {
            Some(()) = self.interrupt.recv() => StopSource::Interrupt,
            Some(()) = self.terminate.recv() => StopSource::Terminate,
            Some(()) = self.hangup.recv() => StopSource::Hangup,
            else => std::future::pending().await,
        }
    }
}

/// The socket that docker offers to each plugin.
#[derive(Debug)]
pub(crate) struct PluginSocket(UnixStream);

impl PluginSocket {
    /// Opens it by its address; a leading `@` or NUL means an abstract name, which only Linux has.
    pub(crate) fn open(address: &OsStr) -> io::Result<Self> {
        let socket = std::os::unix::net::UnixStream::connect_addr(&socket_address(address)?)?;
        socket.set_nonblocking(true)?;
        UnixStream::from_std(socket).map(Self)
    }

    /// Ends when docker has closed the socket. Docker sends nothing on it, and what it might send one
    /// day is passed over, as its own plugins do.
    pub(crate) async fn closed(&mut self) {
        let mut byte = [0];
        while self.0.read(&mut byte).await.is_ok_and(|count| count > 0) {}
    }
}

fn socket_address(address: &OsStr) -> io::Result<std::os::unix::net::SocketAddr> {
    #[cfg(target_os = "linux")]
    {
        use std::os::linux::net::SocketAddrExt as _;
        let bytes = address.as_bytes();
        // Go writes the leading NUL of an abstract name as `@`.
        if let Some(name) = bytes
            .strip_prefix(b"@")
            .or_else(|| bytes.strip_prefix(b"\0"))
        {
            return std::os::unix::net::SocketAddr::from_abstract_name(name);
        }
    }
    std::os::unix::net::SocketAddr::from_pathname(Path::new(address))
}
