//! What Windows does in another way than Linux and macOS, see `unix.rs`. A path is looked at by its own handle, and links and
//! junctions in its last component are not followed.
//!
//! Windows has no modes: who may use a file is a list ([`crate::machine::sddl`]), which files inherit from their directory.
//! It is told in permission bits, `0600` for what the user alone may use. The user who runs this owns whatever he may change.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tokio::signal::windows::{CtrlBreak, CtrlC, CtrlClose, ctrl_break, ctrl_c, ctrl_close};
use windows_permissions::constants::{SeObjectType, SecurityInformation};
use windows_permissions::wrappers::{
    ConvertSecurityDescriptorToStringSecurityDescriptor, GetSecurityInfo, SetNamedSecurityInfo,
};
use windows_permissions::{LocalBox, SecurityDescriptor, utilities};

use crate::machine::files::{DIR_MODE, EntryKind, Owner, Status};
use crate::machine::sddl;
use crate::machine::signals::StopSource;
use charon_files::cluster::access::AccessList;

// winnt.h and winbase.h.
const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
const FILE_FLAG_OPEN_REPARSE_POINT: u32 = 0x0020_0000;
const FILE_READ_ATTRIBUTES: u32 = 0x80;
const READ_CONTROL: u32 = 0x0002_0000;
// winerror.h.
const ERROR_ACCESS_DENIED: i32 = 5;

/// Opens something to look at it.
fn open_to_look(path: &Path, follow: bool) -> io::Result<File> {
    let link = if follow {
        0
    } else {
        FILE_FLAG_OPEN_REPARSE_POINT
    };
    let open = |access: u32| {
        OpenOptions::new()
            .access_mode(access)
            .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | link)
            .open(path)
    };
    // A user who may not read the list may still see the file.
    open(FILE_READ_ATTRIBUTES | READ_CONTROL).or_else(|_| open(FILE_READ_ATTRIBUTES))
}

/// The security identifier of the user who runs this.
fn own_sid() -> Option<String> {
    utilities::current_process_sid()
        .ok()
        .map(|sid| sid.to_string())
}

/// What others may do with an open file, in permission bits; `None` if it cannot be told.
fn rights_of_others(file: &File) -> Option<u32> {
    let wanted =
        SecurityInformation::Owner | SecurityInformation::Group | SecurityInformation::Dacl;
    let descriptor = GetSecurityInfo(file, SeObjectType::SE_FILE_OBJECT, wanted).ok()?;
    let text = ConvertSecurityDescriptorToStringSecurityDescriptor(&descriptor, wanted).ok()?;
    sddl::rights_of_others(text.to_str()?, &own_sid()?)
}

/// There are no such attributes.
pub(crate) const fn is_frozen(_path: &Path) -> bool {
    false
}

/// Its lists are told in permission bits.
pub(crate) const fn access_list_of(_path: &Path, _mode: u32) -> Option<AccessList> {
    None
}

/// What is at a path, itself and not what it may link to; `None` if nothing is.
pub(crate) fn status_of_path(path: &Path) -> io::Result<Option<Status>> {
    match open_to_look(path, false) {
        Ok(file) => status_of_file(&file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a path leads to.
pub(crate) fn status_through(path: &Path) -> io::Result<Status> {
    status_of_file(&open_to_look(path, true)?)
}

/// What an open file is.
pub(crate) fn status_of_file(file: &File) -> io::Result<Status> {
    let what = winapi_util::file::typ(file)?;
    if !what.is_disk() {
        let kind = if what.is_pipe() {
            EntryKind::Fifo
        } else {
            EntryKind::Other
        };
        return Ok(Status {
            kind,
            owner: own_identity(),
            mode: 0,
            mode_untold: true,
            len: 0,
            names: 1,
            dev: 0,
            ino: 0,
            times: [0; 4],
        });
    }
    let seen = winapi_util::file::information(file)?;
    let meta = file.metadata()?;
    let kind = if meta.file_type().is_symlink() {
        EntryKind::Symlink
    } else if meta.is_dir() {
        EntryKind::Directory
    } else if meta.is_file() {
        EntryKind::Regular
    } else {
        EntryKind::Other
    };
    // Every user of Windows may pass every directory, unless an administrator took that right away.
    let own = if kind == EntryKind::Directory {
        0o711
    } else {
        0o600
    };
    let others = rights_of_others(file);
    let time = |time: Option<u64>| time.and_then(|time| i64::try_from(time).ok()).unwrap_or(0);
    Ok(Status {
        kind,
        owner: own_identity(),
        mode: own | others.unwrap_or(0),
        mode_untold: others.is_none(),
        len: seen.file_size(),
        names: seen.number_of_links(),
        dev: seen.volume_serial_number(),
        ino: seen.file_index(),
        times: [
            time(seen.last_write_time()),
            0,
            time(seen.creation_time()),
            0,
        ],
    })
}

/// Whether this process may give files to other users; here that is not done.
pub(crate) const fn acting_as_root() -> bool {
    false
}

/// Windows has no numbers for users.
pub(crate) const fn own_identity() -> Owner {
    Owner { uid: 0, gid: 0 }
}

/// A file has the list that it inherits from its directory, see [`Dir::settle`].
pub(crate) fn settle(file: &File, _owner: Owner, _mode: u32) -> io::Result<()> {
    let seen = winapi_util::file::information(file)?;
    if seen.number_of_links() > 1 && !file.metadata()?.is_dir() {
        return Err(io::Error::other(format!(
            "it has {} hard links, expected 1",
            seen.number_of_links()
        )));
    }
    Ok(())
}

/// What others may do follows from the directory.
pub(crate) const fn set_mode(_file: &File, _mode: u32) -> io::Result<()> {
    Ok(())
}

/// Puts an open file on the disk, for which it must be open for writing.
pub(crate) fn sync_file(_file: &File, path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.sync_all()
}

/// A temporary file, as private as its directory.
pub(crate) fn private_file(prefix: &str, dir: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(prefix).tempfile_in(dir)
}

/// Opens what the user named, links followed.
pub(crate) fn open_through(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Opens a file that is locked rather than read, itself and not what it may link to.
pub(crate) fn open_guard(path: &Path, writable: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(writable)
        .custom_flags(FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path)
}

/// What blocks [`open_guard`], as far as its error tells: nothing here.
pub(crate) const fn in_the_way(_error: &io::Error) -> Option<EntryKind> {
    None
}

/// Whether a file may be read although it may not be written, as far as an error tells.
pub(crate) fn is_read_only(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ERROR_ACCESS_DENIED)
}

/// Not told apart there.
pub(crate) const fn is_disk_failure(_error: &io::Error) -> bool {
    false
}

/// Windows locks ranges of files, and a directory has none.
pub(crate) const fn locks_no_directories(_error: &io::Error) -> bool {
    true
}

/// Reads from a place in a file.
pub(crate) fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    if file.seek_read(bytes, offset)? == bytes.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Where the guards of ENR keys are: every user may make files there.
pub(crate) fn meeting_places() -> Vec<PathBuf> {
    let place =
        std::env::var_os("ProgramData").map_or_else(|| r"C:\ProgramData".into(), PathBuf::from);
    vec![place]
}

/// Nothing tells who holds a lock by these.
pub(crate) const fn device_numbers(_dev: u64) -> (u32, u32) {
    (0, 0)
}

/// Whether all users of this machine can meet in a directory.
pub(crate) fn is_meeting_place(dir: &Path) -> bool {
    dir.is_dir()
}

/// Whether a directory is there. Whether this user may write in it shows when it is written in.
pub(crate) fn check_writable(dir: &Path) -> io::Result<()> {
    std::fs::metadata(dir).map(|_| ())
}

/// Bytes that this user may still write on a directory's file system.
pub(crate) fn free_bytes(dir: &Path) -> io::Result<u64> {
    fs2::available_space(dir)
}

/// Whether `rename` works between two directories: they are on one volume.
pub(crate) fn same_mount(one: &Path, other: &Path) -> io::Result<bool> {
    Ok(status_through(one)?.dev == status_through(other)?.dev)
}

/// Windows cannot be asked to read a file from the disk again.
pub(crate) const fn drop_cache(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// A directory, by its path. An open handle does not lead to the names in a directory here, so every step looks for links
/// again; who could change that in between may write in this user's own directories.
#[derive(Debug)]
pub(crate) struct Dir {
    file: File,
    path: PathBuf,
}

impl Dir {
    /// Opens a directory; its last component must not be a link.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT)
            .open(path)?;
        let kind = status_of_file(&file)?.kind;
        if kind != EntryKind::Directory {
            return Err(io::Error::new(
                io::ErrorKind::NotADirectory,
                format!("it is {kind}, not a directory"),
            ));
        }
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// Opens a directory inside this one, without following a link; `.` opens it once more.
    pub(crate) fn dir(&self, name: &Path) -> io::Result<Self> {
        Self::open(&if name == Path::new(".") {
            self.path.clone()
        } else {
            self.path.join(name)
        })
    }

    /// The open directory itself.
    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    /// What a name refers to, itself and not what it may link to; `None` if there is no such name.
    pub(crate) fn status(&self, name: &Path) -> io::Result<Option<Status>> {
        status_of_path(&self.path.join(name))
    }

    /// What the directory itself is now.
    pub(crate) fn own_status(&self) -> io::Result<Status> {
        status_of_file(&self.file)
    }

    /// Makes the directory and all that inherits from it the user's alone, if others may use it and nobody else is to.
    pub(crate) fn settle(&self, _owner: Owner, mode: u32) -> io::Result<()> {
        let status = self.own_status()?;
        if mode != DIR_MODE || (status.mode & 0o066 == 0 && !status.mode_untold) {
            return Ok(());
        }
        let own = own_sid().ok_or_else(|| io::Error::other("this user has no identifier"))?;
        let entry = |who: &str| format!("(A;OICI;FA;;;{who})");
        let list = format!("D:P{}{}{}", entry("SY"), entry("BA"), entry(&own));
        let descriptor: LocalBox<SecurityDescriptor> = list.parse()?;
        SetNamedSecurityInfo(
            &self.path,
            SeObjectType::SE_FILE_OBJECT,
            SecurityInformation::Dacl | SecurityInformation::ProtectedDacl,
            None,
            None,
            descriptor.dacl(),
            None,
        )
    }

    /// The names in this directory.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        std::fs::read_dir(&self.path)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect()
    }

    /// Opens a regular file for reading, without following a link.
    pub(crate) fn open_file(&self, name: &Path) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .custom_flags(FILE_FLAG_OPEN_REPARSE_POINT)
            .open(self.path.join(name))
    }

    /// Makes a file that must not exist yet.
    pub(crate) fn make_file(&self, name: &Path) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(self.path.join(name))
    }

    /// Opens a file to append to it, or makes it.
    pub(crate) fn append_to_file(&self, name: &Path) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .custom_flags(FILE_FLAG_OPEN_REPARSE_POINT)
            .open(self.path.join(name))
    }

    /// Makes a directory that must not exist yet.
    pub(crate) fn make_dir(&self, name: &Path) -> io::Result<()> {
        std::fs::create_dir(self.path.join(name))
    }

    /// The standard library always replaces.
    pub(crate) fn move_new(&self, _name: &Path, _to: &Self, _new_name: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Moves an entry, over another if there is one.
    pub(crate) fn move_over(&self, name: &Path, to: &Self, new_name: &Path) -> io::Result<()> {
        std::fs::rename(self.path.join(name), to.path.join(new_name))
    }

    /// Removes a file or a link.
    pub(crate) fn remove_file(&self, name: &Path) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    /// Removes an empty directory.
    pub(crate) fn remove_dir(&self, name: &Path) -> io::Result<()> {
        std::fs::remove_dir(self.path.join(name))
    }

    /// NTFS keeps a journal of its names, and offers nothing to wait for it.
    pub(crate) const fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// How a console was set.
pub(crate) type TerminalSettings = u32;

/// Sets the console on standard input so that every byte is read as it is typed, Ctrl-C too, if it is to be hidden; a console
/// that shows what is typed reads lines. Gives how it was set before.
pub(crate) fn read_bytes(hidden: bool) -> io::Result<TerminalSettings> {
    // ENABLE_PROCESSED_INPUT, ENABLE_LINE_INPUT and ENABLE_ECHO_INPUT of consoleapi.h.
    const AS_TYPED: u32 = 0x7;
    let before = winapi_util::console::mode(io::stdin())?;
    if hidden {
        winapi_util::console::set_mode(io::stdin(), before & !AS_TYPED)?;
    }
    Ok(before)
}

/// Sets the console on standard input as it was.
pub(crate) fn restore_terminal(before: &TerminalSettings) -> io::Result<()> {
    winapi_util::console::set_mode(io::stdin(), *before)
}

/// How many characters a line of the console on standard error has.
pub(crate) fn terminal_width() -> io::Result<usize> {
    let seen = winapi_util::console::screen_buffer_info(io::stderr())?.window_rect();
    let width = i32::from(seen.right) - i32::from(seen.left) + 1;
    Ok(usize::try_from(width).unwrap_or(0))
}

/// What asks to stop.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: CtrlC,
    break_key: CtrlBreak,
    close: CtrlClose,
}

impl Signals {
    /// Begins to listen. Must be called within a tokio runtime.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: ctrl_c()?,
            break_key: ctrl_break()?,
            close: ctrl_close()?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> StopSource {
        tokio::select! {
            Some(()) = self.interrupt.recv() => StopSource::Interrupt,
            Some(()) = self.break_key.recv() => StopSource::Interrupt,
            Some(()) = self.close.recv() => StopSource::Hangup,
            else => std::future::pending().await,
        }
    }
}

/// Docker offers its plugins a Unix socket, which does not exist here.
#[derive(Debug)]
pub(crate) struct PluginSocket(Infallible);

impl PluginSocket {
    /// Always fails.
    pub(crate) fn open(_address: &OsStr) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Never called.
    pub(crate) async fn closed(&mut self) {
        match self.0 {}
    }
}
