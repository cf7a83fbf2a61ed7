//! Exclusive holds by the kernel: one ENR key is in one ceremony on this machine, whichever user runs it,
//! and one directory belongs to one command at a time.
//!
//! A hold is an flock(2), on Windows a LockFileEx, on a file that is never deleted. The kernel ends it with its holder,
//! however that dies, so there is no stale hold and no clock. Deleting the file would let two
//! holders in, each on a file of its own; if somebody else deletes it, a claim notices.
//!
//! charon's own lock beside the key (charon app/privkeylock) is a sign of life, see
//! [`crate::machine::processes`], and no hold: it is stale after five seconds.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use fs2::TryLockError;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::machine::datadir::Layout;
use crate::machine::files::{self, EntryKind, FileError, Owner, Status};
use crate::machine::{self, os, users};

/// Mode of a guard that all users share. A user who may open it may hold it; it contains only
/// who does.
const SHARED_MODE: u32 = 0o666;

/// The longest note of a holder that is read; a path may have 4096 bytes, and JSON may need six
/// for each.
const MAX_NOTE: u64 = 32 << 10;

/// How often a claim starts anew when the guard changes under it: its file was deleted, or its
/// holder ended before it could be named.
const TRIES: usize = 20;

/// An exclusive hold. Dropping it, or the end of this process, gives it up. Child processes never
/// inherit it.
#[derive(Debug)]
pub struct Guard {
    path: PathBuf,
    file: File,
    directory: Option<File>,
}

impl Guard {
    /// The file that is locked.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl GuardError {
    /// Whether this user may not open what is to be claimed.
    pub fn is_denied(&self) -> bool {
        matches!(self, GuardError::File(error) if error.cause.kind() == io::ErrorKind::PermissionDenied)
    }
}

impl Drop for Guard {
    /// Closing alone is not enough: a child process that another thread is just starting has the
    /// descriptors until it runs its program. If unlocking fails, closing follows.
    fn drop(&mut self) {
        fs2::FileExt::unlock(&self.file).ok();
        if let Some(directory) = &self.directory {
            fs2::FileExt::unlock(directory).ok();
        }
    }
}

/// Who holds a guard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// What is held: `ENR key 3fa1…`, or a directory.
    pub what: String,
    /// The holding process, told by the kernel; `None` if it runs in a container or otherwise
    /// where this process cannot see it.
    pub pid: Option<u32>,
    /// The user it runs as.
    pub uid: Option<u32>,
    /// That user's login name.
    pub user: Option<String>,
    /// Since when, RFC 3339 in UTC, as the holder noted.
    pub since: Option<String>,
    /// The data directory that it works on, as the holder noted.
    pub directory: Option<String>,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is held by ", self.what)?;
        match self.pid {
            Some(pid) => write!(f, "process {pid}")?,
            None => f.write_str("a process that cannot be seen from here")?,
        }
        match (&self.user, self.uid) {
            (Some(user), Some(uid)) => write!(f, " of user {user} (uid {uid})")?,
            (None, Some(uid)) => write!(f, " of uid {uid}")?,
            (Some(_) | None, None) => {}
        }
        if let Some(since) = &self.since {
            write!(f, " since {since}")?;
        }
        if let Some(directory) = &self.directory {
            write!(f, ", for {directory}")?;
        }
        Ok(())
    }
}

/// Why a guard was not claimed.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// Somebody else holds it.
    #[error("{0}")]
    Held(Box<Holder>),
    /// The ENR id cannot be a file name.
    #[error("an ENR id of {seen:?}, expected 8 to 128 characters of a-z, 0-9 and -")]
    BadId {
        /// The id as given.
        seen: String,
    },
    /// There is no directory where all users of this machine could meet.
    #[error("none of {tried} is a directory of root, writable for all and sticky")]
    NoSharedDirectory {
        /// The directories looked at.
        tried: String,
    },
    /// Something in the guard's place is not a guard.
    #[error("{} is {seen}, expected a regular file with one name", path.display())]
    Foreign {
        /// The guard's path.
        path: PathBuf,
        /// What it is.
        seen: String,
    },
    /// The file of the guard is deleted or replaced as fast as it can be claimed.
    #[error("{} changed {TRIES} times while it was claimed", path.display())]
    Restless {
        /// The guard's path.
        path: PathBuf,
    },
    /// The operating system refused or failed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What a holder writes into the file it holds. Anybody may write there, so nothing of it is
/// believed that the kernel can tell.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Note {
    pid: u32,
    uid: u32,
    since: String,
    directory: String,
}

/// Claims an ENR key on this machine, against all its users, for work on this data directory.
///
/// The id must be the same for every copy of the key: the node id of its public key, in lower-case
/// hex.
pub fn claim_enr_key(id: &str, layout: &Layout) -> Result<Guard, GuardError> {
    let candidates = os::meeting_places();
    let candidates: Vec<&Path> = candidates.iter().map(PathBuf::as_path).collect();
    let dir = shared_directory(&candidates)?;
    claim_enr_key_in(dir, id, layout.data_dir())
}

fn claim_enr_key_in(dir: &Path, id: &str, data_dir: &Path) -> Result<Guard, GuardError> {
    let plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if !(8..=128).contains(&id.len()) || !id.bytes().all(plain) {
        return Err(GuardError::BadId {
            seen: id.chars().take(128).collect(),
        });
    }
    let claim = Claim {
        path: dir.join(format!("charon-dkg-{id}.guard")),
        mode: SHARED_MODE,
        owner: None,
        what: format!("ENR key {id}"),
        data_dir,
    };
    claim.take()
}

/// Claims a data directory and the state directory beside it, which must exist.
///
/// The data directory itself is locked too, if it exists: a bind mount shows it under a second
/// path, with another state directory beside it.
pub fn claim_directory(layout: &Layout) -> Result<Guard, GuardError> {
    let claim = directory_claim(layout)?;
    let mut guard = claim.take()?;
    match files::Folder::open(layout.data_dir()) {
        Ok(folder) => guard.directory = claim.lock_directory(folder.file())?,
        Err(error) if error.is_missing() => {}
        Err(error) => return Err(error.into()),
    }
    Ok(guard)
}

/// Claims a state directory, whose data directory its own owner cannot open.
pub fn claim_state_directory_alone(layout: &Layout) -> Result<Guard, GuardError> {
    directory_claim(layout)?.take()
}

/// Claims the ready lines that are kept in a state directory, which must exist: `ready` adds to them while `run` waits with
/// the directory's own guard.
pub fn claim_ready_lines(layout: &Layout) -> Result<Guard, GuardError> {
    Claim {
        path: layout.state_dir().join("ready-guard"),
        ..directory_claim(layout)?
    }
    .take()
}

fn directory_claim(layout: &Layout) -> Result<Claim<'_>, GuardError> {
    Ok(Claim {
        path: layout.state_dir().join("guard"),
        mode: files::FILE_MODE,
        owner: Some(layout.owner()?),
        what: layout.data_dir().display().to_string(),
        data_dir: layout.data_dir(),
    })
}

/// Claims a data directory that has no state directory beside it, without making one. It is the same claim as the usual
/// one. Nothing is changed.
pub fn claim_data_directory_alone(layout: &Layout) -> Result<Option<Guard>, GuardError> {
    let claim = Claim {
        path: layout.data_dir().to_owned(),
        mode: files::DIR_MODE,
        owner: None,
        what: layout.data_dir().display().to_string(),
        data_dir: layout.data_dir(),
    };
    let folder = files::Folder::open(layout.data_dir())?;
    Ok(claim.lock_directory(folder.file())?.map(|file| Guard {
        path: claim.path,
        file,
        directory: None,
    }))
}

/// The first of the candidates where all users of this machine can meet.
fn shared_directory<'a>(candidates: &[&'a Path]) -> Result<&'a Path, GuardError> {
    match candidates.iter().find(|dir| os::is_meeting_place(dir)) {
        Some(path) => Ok(path),
        None => {
            let tried: Vec<String> = candidates.iter().map(|p| p.display().to_string()).collect();
            Err(GuardError::NoSharedDirectory {
                tried: tried.join(", "),
            })
        }
    }
}

/// What opening a guard's file gave.
enum Checked {
    Guard(File),
    Linked(u64),
}

struct Claim<'a> {
    path: PathBuf,
    mode: u32,
    owner: Option<Owner>,
    what: String,
    data_dir: &'a Path,
}

impl Claim<'_> {
    fn take(&self) -> Result<Guard, GuardError> {
        let mut unseen = None;
        for _ in 0..TRIES {
            let file = self.open()?;
            match fs2::FileExt::try_lock(&file) {
                Ok(()) if self.is_in_place(&file)? => {
                    self.leave_note(&file);
                    return Ok(Guard {
                        path: self.path.clone(),
                        file,
                        directory: None,
                    });
                }
                // Deleted or replaced between opening and locking: others would lock the new one.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let holder = self.holder(&file, true)?;
                    if holder.pid.is_some() {
                        return Err(GuardError::Held(Box::new(holder)));
                    }
                    // It ended in between, or is in another pid namespace: the next try tells.
                    unseen = Some(holder);
                }
                Err(TryLockError::Error(error)) => {
                    return Err(FileError::new("lock", &self.path, error).into());
                }
            }
        }
        match unseen {
            Some(holder) => Err(GuardError::Held(Box::new(holder))),
            None => Err(GuardError::Restless {
                path: self.path.clone(),
            }),
        }
    }

    /// Locks the data directory's inode. Filesystems that lock only what is open for writing (NFS)
    /// refuse; the guard's file then has to do.
    fn lock_directory(&self, directory: &File) -> Result<Option<File>, GuardError> {
        let failed = |cause| FileError::new("lock", self.data_dir, cause);
        let own = directory.try_clone().map_err(failed)?;
        match fs2::FileExt::try_lock(&own) {
            Ok(()) => Ok(Some(own)),
            Err(TryLockError::WouldBlock) => {
                Err(GuardError::Held(Box::new(self.holder(&own, false)?)))
            }
            Err(TryLockError::Error(error)) if os::locks_no_directories(&error) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(error).into()),
        }
    }

    /// Opens the guard's file, or makes it. The kernel lets nobody open another user's file with
    /// O_CREAT in a sticky directory (`fs.protected_regular`), so it is opened without first.
    fn open(&self) -> Result<File, GuardError> {
        let mut linked = None;
        for _ in 0..TRIES {
            match os::open_guard(&self.path, true) {
                Ok(file) => match self.checked(file)? {
                    Checked::Guard(file) => return Ok(file),
                    Checked::Linked(names) => linked = Some(names),
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if let Some(file) = self.create()? {
                        return Ok(file);
                    }
                }
                Err(error) => {
                    if let Some(kind) = os::in_the_way(&error) {
                        return Err(self.foreign(kind.to_string()));
                    }
                    // A lock needs no right to write; only the note is lost.
                    let opened = if os::is_read_only(&error) {
                        os::open_guard(&self.path, false)
                    } else {
                        Err(error)
                    };
                    let file =
                        opened.map_err(|cause| FileError::new("open guard", &self.path, cause))?;
                    match self.checked(file)? {
                        Checked::Guard(file) => return Ok(file),
                        Checked::Linked(names) => linked = Some(names),
                    }
                }
            }
        }
        match linked {
            Some(names) => Err(self.foreign(format!("a file with {names} names"))),
            None => Err(GuardError::Restless {
                path: self.path.clone(),
            }),
        }
    }

    /// Makes the guard's file with its final mode, whatever the umask, before it has its name: no
    /// other user ever meets it half made. `None` if somebody else was first.
    fn create(&self) -> Result<Option<File>, GuardError> {
        let failed = |cause| FileError::new("make guard", &self.path, cause);
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        let made = tempfile::Builder::new()
            .prefix(".charon-dkg-")
            .tempfile_in(dir)
            .map_err(failed)?;
        match self.owner {
            Some(owner) => files::settle(made.as_file(), owner, self.mode),
            None => os::set_mode(made.as_file(), self.mode),
        }
        .map_err(failed)?;
        match made.persist_noclobber(&self.path) {
            Ok(file) => Ok(Some(file)),
            Err(lost) if lost.error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(lost) => Err(failed(lost.error).into()),
        }
    }

    /// A guard is a regular file under one name: anything else there, or linked here from
    /// elsewhere, is not ours to write a note into. A filesystem without RENAME_NOREPLACE shows a
    /// guard under two names for the moment in which it is made.
    fn checked(&self, file: File) -> Result<Checked, GuardError> {
        let status =
            Status::of_file(&file).map_err(|cause| FileError::new("look at", &self.path, cause))?;
        match status.kind {
            EntryKind::Regular if status.names > 1 => Ok(Checked::Linked(status.names)),
            EntryKind::Regular => Ok(Checked::Guard(file)),
            kind @ (EntryKind::Directory
            | EntryKind::Symlink
            | EntryKind::Fifo
            | EntryKind::Other) => Err(self.foreign(kind.to_string())),
        }
    }

    fn foreign(&self, seen: String) -> GuardError {
        GuardError::Foreign {
            path: self.path.clone(),
            seen,
        }
    }

    fn is_in_place(&self, file: &File) -> Result<bool, GuardError> {
        let failed = |cause| FileError::new("look at", &self.path, cause);
        let held = Status::of_file(file).map_err(failed)?;
        let named = Status::of_path(&self.path)?;
        Ok(named.is_some_and(|named| (named.dev, named.ino) == (held.dev, held.ino)))
    }

    /// Writes who we are. The hold does not need it, so a full disk or a file that is not ours to
    /// write only leaves others with less to show.
    fn leave_note(&self, mut file: &File) {
        let note = Note {
            pid: std::process::id(),
            uid: files::own_identity().uid,
            since: machine::time_text(Timestamp::now()),
            directory: self.data_dir.display().to_string(),
        };
        let mut write = || {
            let text = serde_json::to_vec(&note)?;
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(&text)
        };
        write().ok();
    }

    /// Who holds the lock on this file: the kernel says which process, the process whose user it
    /// is, and the note the rest if it is that process's note.
    fn holder(&self, file: &File, has_note: bool) -> Result<Holder, GuardError> {
        let status =
            Status::of_file(file).map_err(|cause| FileError::new("look at", &self.path, cause))?;
        let note = if has_note { read_note(file) } else { None };
        let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
        let noted_pid = note.as_ref().map(|note| note.pid);
        let pid = lock_owner(&locks, status.dev, status.ino, noted_pid);
        let note = note.filter(|note| pid.is_none_or(|pid| pid == note.pid));
        let uid = match pid {
            Some(pid) => process_uid(pid).or(note.as_ref().map(|note| note.uid)),
            None => note.as_ref().map(|note| note.uid),
        };
        let (since, directory) = match note {
            Some(note) => (Some(note.since), Some(note.directory)),
            None => (None, None),
        };
        Ok(Holder {
            what: self.what.clone(),
            pid,
            uid,
            user: uid.and_then(users::user_name),
            since,
            directory,
        })
    }
}

/// The note in a guard's file, if it is whole. Control characters would let one user write on
/// another's terminal, so such a note is ignored.
fn read_note(file: &File) -> Option<Note> {
    let len = usize::try_from(file.metadata().ok()?.len().min(MAX_NOTE)).ok()?;
    let mut bytes = vec![0; len];
    os::read_exact_at(file, &mut bytes, 0).ok()?;
    let note: Note = serde_json::from_slice(&bytes).ok()?;
    let printable = |text: &str| !text.chars().any(char::is_control);
    (printable(&note.since) && printable(&note.directory)).then_some(note)
}

/// The process that holds an exclusive flock on an inode, from the text of `/proc/locks`
/// (proc_locks(5)): `1: FLOCK  ADVISORY  WRITE 4242 fe:00:131 0 EOF`, device in hex. Those who
/// wait for it have `->` in the second field.
///
/// Some filesystems (btrfs, overlayfs) show another device there than `stat` does; then the inode
/// counts, if the process is the one that left the note.
fn lock_owner(locks: &str, dev: u64, ino: u64, noted: Option<u32>) -> Option<u32> {
    let (major, minor) = os::device_numbers(dev);
    let exact = format!("{major:02x}:{minor:02x}:{ino}");
    let same_inode = format!(":{ino}");
    let mut by_note = None;
    for line in locks.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, place, ..] = fields.as_slice() else {
            continue;
        };
        let Ok(pid) = pid.parse::<u32>() else {
            continue;
        };
        if *place == exact {
            return Some(pid);
        }
        if place.ends_with(&same_inode) && noted == Some(pid) {
            by_note = Some(pid);
        }
    }
    by_note
}

/// The effective user of a process, from `/proc/<pid>/status` (proc_pid_status(5)).
pub(crate) fn process_uid(pid: u32) -> Option<u32> {
    let mut text = String::new();
    let file = File::open(format!("/proc/{pid}/status")).ok()?;
    file.take(64 << 10).read_to_string(&mut text).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::process::{Command, Stdio};
    use std::sync::Barrier;

    use super::*;
    use crate::machine::testing::{self, Helper, NOBODY, Project};

    const HELPER: &str = "machine::guard::tests::helper";
    const ID: &str = "00112233445566778899aabbccddeeff";

    /// A directory as `/run/lock` is.
    fn shared_dir() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let mode = std::fs::Permissions::from_mode(0o1777);
        std::fs::set_permissions(dir.path(), mode).unwrap();
        dir
    }

    fn claim(dir: &Path) -> Result<Guard, GuardError> {
        claim_enr_key_in(dir, ID, Path::new("/home/test/.charon"))
    }

    fn held(claimed: Result<Guard, GuardError>) -> Holder {
        match claimed {
            Err(GuardError::Held(holder)) => *holder,
            other => panic!("{other:?}, expected that somebody holds it"),
        }
    }

    /// Waits for a word, claims the key in the directory of its task, says who has it, and keeps
    /// what it has until it is told to end.
    #[test]
    #[ignore = "the other side of other tests"]
    fn helper() {
        let Some(dir) = testing::task() else {
            return;
        };
        testing::say("ready");
        testing::wait_for_word();
        match claim(Path::new(&dir)) {
            Ok(_guard) => {
                testing::say("won");
                testing::wait_for_word();
            }
            Err(GuardError::Held(holder)) => {
                let user = holder.user.unwrap_or_default();
                testing::say(&format!("held {} {user}", holder.pid.unwrap_or(0)));
            }
            Err(error) => testing::say(&format!("error {error}")),
        }
    }

    fn helper_claims(dir: &Path, uid: Option<u32>) -> Helper {
        let mut helper = Helper::start(HELPER, &dir.display().to_string(), uid);
        assert_eq!(helper.line(), "ready");
        word(&mut helper);
        helper
    }

    fn word(helper: &mut Helper) {
        helper
            .child
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"\n")
            .unwrap();
    }

    #[test]
    fn one_of_fifty_threads_holds_it() {
        let dir = shared_dir();
        let barrier = Barrier::new(50);
        let results: Vec<_> = std::thread::scope(|scope| {
            let claims: Vec<_> = (0..50)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        claim(dir.path())
                    })
                })
                .collect();
            claims.into_iter().map(|c| c.join().unwrap()).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        for claimed in lost {
            assert_eq!(held(claimed).pid, Some(std::process::id()));
        }
        drop(won);
        claim(dir.path()).unwrap();
        // Nothing but the guard stays behind.
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn one_of_fifty_processes_holds_it_and_the_others_know_which() {
        let dir = shared_dir();
        let task = dir.path().display().to_string();
        let mut helpers: Vec<Helper> = (0..50)
            .map(|_| Helper::start(HELPER, &task, None))
            .collect();
        for helper in &mut helpers {
            assert_eq!(helper.line(), "ready");
        }
        for helper in &mut helpers {
            word(helper);
        }
        let said: Vec<(u32, String)> = helpers.iter_mut().map(|h| (h.pid(), h.line())).collect();
        let winners: Vec<u32> = said
            .iter()
            .filter(|(_, text)| text == "won")
            .map(|(pid, _)| *pid)
            .collect();
        let [winner] = winners[..] else {
            panic!("{said:?}, expected one winner");
        };
        let others = said.iter().filter(|(pid, _)| *pid != winner);
        for (_, text) in others {
            assert!(
                text.starts_with(&format!("held {winner} ")),
                "{text}, expected {winner}"
            );
        }
    }

    #[test]
    fn a_killed_holder_holds_nothing() {
        let dir = shared_dir();
        let mut holder = helper_claims(dir.path(), None);
        assert_eq!(holder.line(), "won");
        let seen = held(claim(dir.path()));
        assert_eq!(seen.pid, Some(holder.pid()));
        assert_eq!(seen.directory.as_deref(), Some("/home/test/.charon"));
        assert!(seen.since.unwrap().parse::<Timestamp>().is_ok());
        holder.kill();
        claim(dir.path()).unwrap();
    }

    #[test]
    #[ignore = "needs root"]
    fn users_hold_it_against_each_other() {
        let dir = shared_dir();
        // Nobody makes the guard, with a umask of 077, and root meets it.
        let mut other = helper_claims(dir.path(), Some(NOBODY));
        assert_eq!(other.line(), "won");
        let seen = held(claim(dir.path()));
        assert_eq!((seen.pid, seen.uid), (Some(other.pid()), Some(NOBODY)));
        assert_eq!(seen.user.as_deref(), Some("nobody"));
        let mut third = helper_claims(dir.path(), Some(4242));
        assert_eq!(third.line(), format!("held {} nobody", other.pid()));
        other.kill();

        // Root takes the same file over, and a third user meets root.
        let own = claim(dir.path()).unwrap();
        assert_eq!(
            std::fs::metadata(own.path()).unwrap().mode() & 0o7777,
            0o666
        );
        let mut third = helper_claims(dir.path(), Some(4242));
        assert_eq!(third.line(), format!("held {} root", std::process::id()));
        drop(own);
        let mut third = helper_claims(dir.path(), Some(4242));
        assert_eq!(third.line(), "won");
    }

    #[test]
    #[ignore = "needs root"]
    fn a_guard_that_may_only_be_read_is_held_all_the_same() {
        let dir = shared_dir();
        drop(claim(dir.path()).unwrap());
        let path = dir.path().join(format!("charon-dkg-{ID}.guard"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let mut other = helper_claims(dir.path(), Some(NOBODY));
        assert_eq!(other.line(), "won");
        let seen = held(claim(dir.path()));
        assert_eq!((seen.pid, seen.uid), (Some(other.pid()), Some(NOBODY)));
        // The note in the file is an earlier holder's, so nothing of it is told.
        assert_eq!((seen.since, seen.directory), (None, None));
    }

    #[test]
    #[ignore = "needs root"]
    fn the_machine_has_one_place_for_all_users() {
        let places = os::meeting_places();
        let places: Vec<&Path> = places.iter().map(PathBuf::as_path).collect();
        let first = shared_directory(&places).unwrap();
        println!("ENR keys are guarded in {}", first.display());
        let private = tempfile::tempdir().unwrap();
        let shared = shared_dir();
        let candidates = [private.path(), Path::new("/nonexistent"), shared.path()];
        testing::need_root();
        assert_eq!(shared_directory(&candidates).unwrap(), shared.path());
        let none = shared_directory(&candidates[..2]);
        assert!(
            matches!(none, Err(GuardError::NoSharedDirectory { .. })),
            "{none:?}"
        );
        // The directory of somebody else could be emptied under a holder.
        let taken = shared_dir();
        std::os::unix::fs::chown(taken.path(), Some(NOBODY), None).unwrap();
        assert!(shared_directory(&[taken.path()]).is_err());
    }

    #[test]
    fn what_is_no_guard_is_refused_and_left_alone() {
        let dir = shared_dir();
        let path = dir.path().join(format!("charon-dkg-{ID}.guard"));
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        let foreign = || match claim(dir.path()) {
            Err(GuardError::Foreign { seen, .. }) => seen,
            other => panic!("{other:?}, expected a refusal"),
        };

        symlink(&victim, &path).unwrap();
        assert_eq!(foreign(), "a symbolic link");
        std::fs::remove_file(&path).unwrap();

        std::fs::hard_link(&victim, &path).unwrap();
        assert_eq!(foreign(), "a file with 2 names");
        std::fs::remove_file(&path).unwrap();

        std::fs::create_dir(&path).unwrap();
        assert_eq!(foreign(), "a directory");
        std::fs::remove_dir(&path).unwrap();

        let made = Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        assert_eq!(foreign(), "a FIFO");
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    }

    #[test]
    fn a_deleted_guard_is_not_taken_for_the_one_in_place() {
        let dir = shared_dir();
        let first = claim(dir.path()).unwrap();
        std::fs::remove_file(first.path()).unwrap();
        let claim = Claim {
            path: first.path().to_owned(),
            mode: SHARED_MODE,
            owner: None,
            what: String::new(),
            data_dir: Path::new("/"),
        };
        assert!(!claim.is_in_place(&first.file).unwrap());
        let second = claim.take().unwrap();
        assert!(claim.is_in_place(&second.file).unwrap());
        assert!(!claim.is_in_place(&first.file).unwrap());
    }

    #[test]
    fn children_do_not_inherit_it() {
        let dir = shared_dir();
        let guard = claim(dir.path()).unwrap();
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        drop(guard);
        claim(dir.path()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_directory_has_one_holder_whatever_its_path() {
        let project = Project::new();
        let guard = claim_directory(&project.layout).unwrap();
        assert_eq!(
            std::fs::metadata(guard.path()).unwrap().mode() & 0o7777,
            0o600
        );
        let seen = held(claim_directory(&project.layout));
        assert_eq!(seen.pid, Some(std::process::id()));
        assert_eq!(seen.what, project.layout.data_dir().display().to_string());

        let link = project.layout.project_dir().join("link");
        symlink(project.layout.data_dir(), &link).unwrap();
        let linked = Layout::resolve(project.layout.project_dir(), Some(&link)).unwrap();
        held(claim_directory(&linked));

        // As a bind mount would show it: the same directory, but nothing of ours beside it.
        let elsewhere = tempfile::tempdir().unwrap();
        let mounted = project.layout.with_state_dir(elsewhere.path());
        let seen = held(claim_directory(&mounted));
        assert_eq!(seen.pid, Some(std::process::id()));
        drop(guard);
        claim_directory(&mounted).unwrap();
    }

    #[test]
    fn a_note_is_believed_only_as_far_as_the_kernel_confirms_it() {
        let dir = shared_dir();
        let guard = claim(dir.path()).unwrap();
        let forge = |text: &str| std::fs::write(guard.path(), text).unwrap();
        let pid = std::process::id();

        forge(r#"{"pid":1,"uid":77,"since":"2020-01-01T00:00:00Z","directory":"/elsewhere"}"#);
        let seen = held(claim(dir.path()));
        assert_eq!(
            (seen.pid, seen.uid),
            (Some(pid), Some(files::own_identity().uid))
        );
        assert_eq!((seen.since, seen.directory), (None, None));

        forge(&format!(
            r#"{{"pid":{pid},"uid":77,"since":"x","directory":"\u001b[2J"}}"#
        ));
        assert_eq!(held(claim(dir.path())).directory, None);

        forge("{");
        assert_eq!(held(claim(dir.path())).pid, Some(pid));
        forge("");
        assert_eq!(held(claim(dir.path())).pid, Some(pid));
    }

    #[test]
    fn an_id_is_a_file_name_and_nothing_else() {
        let dir = shared_dir();
        for id in [
            "",
            "short",
            "../../../etc/passwd",
            "ABCDEFGH",
            "abcdefgh/",
            "abcdefg\0",
        ] {
            let claimed = claim_enr_key_in(dir.path(), id, Path::new("/"));
            assert!(
                matches!(claimed, Err(GuardError::BadId { .. })),
                "{id:?}: {claimed:?}"
            );
        }
    }

    #[test]
    fn the_kernels_list_of_locks_is_read_right() {
        let locks = "1: POSIX  ADVISORY  WRITE 5 fe:00:77 0 EOF\n\
                     2: FLOCK  ADVISORY  READ 6 fe:00:77 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 7 00:19:77 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE 8 fe:00:177 0 EOF\n\
                     5: FLOCK  ADVISORY  WRITE 9 fe:00:77 0 EOF\n\
                     5: -> FLOCK  ADVISORY  WRITE 10 fe:00:77 0 EOF\n";
        let dev = |major, minor| rustix::fs::makedev(major, minor);
        assert_eq!(lock_owner(locks, dev(0xfe, 0), 77, None), Some(9));
        assert_eq!(lock_owner(locks, dev(0xfe, 1), 77, None), None);
        assert_eq!(lock_owner(locks, dev(0xfe, 1), 77, Some(7)), Some(7));
        assert_eq!(lock_owner(locks, dev(0xfe, 0), 7, None), None);
        assert_eq!(lock_owner("", 0, 0, None), None);
    }

    #[test]
    fn a_holder_is_told_in_one_sentence() {
        let mut holder = Holder {
            what: "ENR key 00ff".to_owned(),
            pid: Some(42),
            uid: Some(1000),
            user: Some("alice".to_owned()),
            since: Some("2026-01-02T03:04:05Z".to_owned()),
            directory: Some("/home/alice/.charon".to_owned()),
        };
        assert_eq!(
            holder.to_string(),
            "ENR key 00ff is held by process 42 of user alice (uid 1000) \
             since 2026-01-02T03:04:05Z, for /home/alice/.charon"
        );
        holder.user = None;
        holder.since = None;
        holder.directory = None;
        holder.pid = None;
        assert_eq!(
            holder.to_string(),
            "ENR key 00ff is held by a process that cannot be seen from here of uid 1000"
        );
    }
}
