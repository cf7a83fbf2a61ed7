//! Who else can read a secret of a data directory, or change something in it, by owners and modes.
//!
//! charon leaves keystores readable by everybody and their passwords by their owner alone, so one readable file is not yet a
//! readable secret: the ENR key is one, a keystore only together with its password. Directories count from the data directory
//! down; those above it do not travel with it, and a container that mounts it does not pass them.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::names::{Secret, secret};

/// User and group that own a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Numeric user id.
    pub uid: u32,
    /// Numeric group id.
    pub gid: u32,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// What a directory entry is, without following links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link, whatever it points to.
    Symlink,
    /// A FIFO, also called named pipe.
    Fifo,
    /// A socket or a device.
    Other,
}

impl EntryKind {
    /// Whether it is what a data directory consists of; owner and mode of anything else mean nothing here.
    pub fn is_file_or_directory(self) -> bool {
        match self {
            EntryKind::Regular | EntryKind::Directory => true,
            EntryKind::Symlink | EntryKind::Fifo | EntryKind::Other => false,
        }
    }
}

impl std::fmt::Display for EntryKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            EntryKind::Regular => "a file",
            EntryKind::Directory => "a directory",
            EntryKind::Symlink => "a symbolic link",
            EntryKind::Fifo => "a FIFO",
            EntryKind::Other => "a device or socket",
        })
    }
}

/// Owner and mode of one file or directory of the data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMode {
    /// Path relative to the data directory, with `/`; `.` for the directory itself.
    pub path: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits, as in `0o600`.
    pub mode: u32,
    /// What it is.
    pub kind: EntryKind,
}

/// Somebody besides the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reader {
    /// Every user of this machine.
    Everybody,
    /// The members of a group.
    Group(u32),
    /// A user who owns a file, and should not.
    User(u32),
}

impl std::fmt::Display for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reader::Everybody => f.write_str("every user of this machine"),
            Reader::Group(gid) => write!(f, "every member of group {gid}"),
            Reader::User(uid) => write!(f, "uid {uid}"),
        }
    }
}

/// What is too open about an entry; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Somebody else can read a whole secret: this file, or this keystore and its password.
    Readable(Reader),
    /// Somebody else can change it.
    Writable(Reader),
    /// Somebody else can read a part of a secret that is useless without the rest.
    PartReadable(Reader),
    /// Its mode is laxer than it need be, but the directories above it let nobody through.
    Lax,
}

/// Whether an entry belongs to another user than it should, or to another group that its mode gives anything.
pub fn is_misowned(entry: &FileMode, uid: u32, gid: u32) -> bool {
    entry.uid != uid || (entry.gid != gid && favours_group(entry.mode))
}

/// Whether the group may do what others may not. Only then it matters which group that is; a rootless engine leaves the
/// one of the user who runs it, and no other.
const fn favours_group(mode: u32) -> bool {
    (mode >> 3) & 0o7 & !mode != 0
}

/// Every entry that is too open, with its worst fault. `owner` is the user id that everything should belong to, if that is
/// known; another one who owns a secret reads it.
pub fn faults(entries: &[FileMode], owner: Option<u32>) -> Vec<(&FileMode, Fault)> {
    let tree = Tree::new(entries, owner);
    entries
        .iter()
        .filter(|entry| entry.kind.is_file_or_directory())
        .filter_map(|entry| Some((entry, tree.fault(entry)?)))
        .collect()
}

impl Fault {
    /// What is seen and expected of an entry with a fault that lets somebody else use a secret or change something; nothing
    /// for the others.
    pub fn describe(self, entry: &FileMode) -> Option<(String, &'static str)> {
        match self {
            Fault::Readable(reader) => {
                let what = match secret(&entry.path) {
                    Some(Secret::Keystore(_) | Secret::Password(_)) => {
                        "a keystore and its password"
                    }
                    Some(Secret::Whole) | None => "it",
                };
                Some((
                    format!("mode {:04o}: {reader} can read {what}", entry.mode),
                    "mode 0600: a secret that only its owner reads",
                ))
            }
            Fault::Writable(reader) => Some((
                format!("mode {:04o}: {reader} can change it", entry.mode),
                "nothing that others may write",
            )),
            Fault::PartReadable(_) | Fault::Lax => None,
        }
    }
}

struct Tree<'a> {
    by_path: HashMap<&'a str, &'a FileMode>,
    /// Keystore and password of one name.
    pairs: BTreeMap<&'a str, [Option<&'a FileMode>; 2]>,
    owner: Option<u32>,
}

impl<'a> Tree<'a> {
    fn new(entries: &'a [FileMode], owner: Option<u32>) -> Self {
        let mut pairs: BTreeMap<&str, [Option<&FileMode>; 2]> = BTreeMap::new();
        for entry in entries
            .iter()
            .filter(|entry| entry.kind == EntryKind::Regular)
        {
            match secret(&entry.path) {
                Some(Secret::Keystore(stem)) => pairs.entry(stem).or_default()[0] = Some(entry),
                Some(Secret::Password(stem)) => pairs.entry(stem).or_default()[1] = Some(entry),
                Some(Secret::Whole) | None => {}
            }
        }
        Self {
            by_path: entries.iter().map(|entry| (&*entry.path, entry)).collect(),
            pairs,
            owner,
        }
    }

    fn fault(&self, entry: &'a FileMode) -> Option<Fault> {
        let held = (entry.kind == EntryKind::Regular)
            .then(|| secret(&entry.path))
            .flatten();
        let whole: Option<Vec<&'a FileMode>> = match held {
            Some(Secret::Whole) => Some(vec![entry]),
            Some(Secret::Keystore(stem) | Secret::Password(stem)) => match self.pairs.get(stem) {
                Some([Some(keystore), Some(password)]) => Some(vec![keystore, password]),
                Some(_) | None => None,
            },
            None => None,
        };
        if let Some(reader) = whole.and_then(|files| self.first(&files, 0o4)) {
            return Some(Fault::Readable(reader));
        }
        if let Some(writer) = self.first(&[entry], 0o2) {
            return Some(Fault::Writable(writer));
        }
        if held.is_some()
            && let Some(reader) = self.first(&[entry], 0o4)
        {
            return Some(Fault::PartReadable(reader));
        }
        let needless = if held.is_some() { 0o066 } else { 0o022 };
        (entry.mode & needless != 0).then_some(Fault::Lax)
    }

    /// The first who has this right (4 to read, 2 to write) to all of these.
    fn first(&self, files: &[&'a FileMode], right: u32) -> Option<Reader> {
        let has = |reader: Reader| files.iter().all(|file| self.has(reader, file, right));
        if has(Reader::Everybody) {
            return Some(Reader::Everybody);
        }
        let groups = files
            .iter()
            .flat_map(|file| self.above(file).chain([*file]))
            .map(|entry| Reader::Group(entry.gid));
        let users = files
            .iter()
            .map(|file| file.uid)
            // Root reads everything anyway, and who owns a file that others must not change is told with its owner.
            .filter(|uid| {
                right == 0o4 && *uid != 0 && self.owner.is_some_and(|owner| owner != *uid)
            })
            .map(Reader::User);
        groups.chain(users).find(|reader| has(*reader))
    }

    fn has(&self, reader: Reader, file: &FileMode, right: u32) -> bool {
        let by_mode = |entry: &FileMode, right: u32| match reader {
            Reader::Everybody => entry.mode & right != 0,
            Reader::Group(gid) => {
                entry.mode & right != 0 || (entry.gid == gid && entry.mode & (right << 3) != 0)
            }
            Reader::User(uid) => entry.mode & right != 0 || entry.uid == uid,
        };
        match reader {
            Reader::User(uid) if file.uid == uid => true,
            Reader::Everybody | Reader::Group(_) | Reader::User(_) => {
                by_mode(file, right) && self.above(file).all(|dir| by_mode(dir, 0o1))
            }
        }
    }

    /// The directories that somebody passes on the way; one that was not looked at stops nobody.
    fn above(&self, file: &FileMode) -> impl Iterator<Item = &'a FileMode> {
        let mut next = (file.path != ".").then(|| parent(&file.path).to_owned());
        std::iter::from_fn(move || {
            let path = next.take()?;
            next = (path != ".").then(|| parent(&path).to_owned());
            Some(path)
        })
        .filter_map(|path| self.by_path.get(&*path).copied())
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or(".", |(dir, _)| dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: EntryKind, gid: u32, mode: u32) -> FileMode {
        FileMode {
            path: path.to_owned(),
            uid: 1000,
            gid,
            mode,
            kind,
        }
    }

    /// As modes of the data directory, the directory of keystores, the ENR key, a keystore and its password.
    fn judged(modes: [u32; 5]) -> Vec<(String, Fault)> {
        let [root, keys, enr, keystore, password] = modes;
        let entries = [
            entry(".", EntryKind::Directory, 1000, root),
            entry("validator_keys", EntryKind::Directory, 7, keys),
            entry("charon-enr-private-key", EntryKind::Regular, 1000, enr),
            entry(
                "validator_keys/keystore-0.json",
                EntryKind::Regular,
                1000,
                keystore,
            ),
            entry(
                "validator_keys/keystore-0.txt",
                EntryKind::Regular,
                1000,
                password,
            ),
            entry("cluster-lock.json", EntryKind::Regular, 1000, 0o444),
        ];
        faults(&entries, Some(1000))
            .into_iter()
            .map(|(entry, fault)| (entry.path.rsplit('/').next().unwrap().to_owned(), fault))
            .collect()
    }

    #[test]
    fn charons_own_modes_expose_nothing() {
        type Case<'a> = ([u32; 5], &'a [(&'a str, Fault)]);
        use Fault::{Lax, PartReadable, Readable, Writable};
        use Reader::{Everybody, Group};
        let (json, txt, key) = (
            "keystore-0.json",
            "keystore-0.txt",
            "charon-enr-private-key",
        );
        let cases: [Case<'_>; 9] = [
            ([0o700, 0o700, 0o600, 0o600, 0o600], &[]),
            (
                [0o755, 0o755, 0o600, 0o444, 0o400],
                &[(json, PartReadable(Everybody))],
            ),
            (
                [0o755, 0o755, 0o600, 0o644, 0o600],
                &[(json, PartReadable(Everybody))],
            ),
            (
                [0o755, 0o755, 0o600, 0o444, 0o444],
                &[(json, Readable(Everybody)), (txt, Readable(Everybody))],
            ),
            (
                [0o755, 0o700, 0o600, 0o444, 0o444],
                &[(json, Lax), (txt, Lax)],
            ),
            // Who may pass by the directory's group reads what everybody may.
            (
                [0o755, 0o750, 0o600, 0o444, 0o444],
                &[(json, Readable(Group(7))), (txt, Readable(Group(7)))],
            ),
            (
                [0o755, 0o755, 0o640, 0o400, 0o400],
                &[(key, Readable(Group(1000)))],
            ),
            ([0o700, 0o755, 0o644, 0o400, 0o400], &[(key, Lax)]),
            (
                [0o777, 0o755, 0o600, 0o400, 0o400],
                &[(".", Writable(Everybody))],
            ),
        ];
        for (modes, expected) in cases {
            let expected: Vec<(String, Fault)> = expected
                .iter()
                .map(|(name, fault)| ((*name).to_owned(), *fault))
                .collect();
            assert_eq!(judged(modes), expected, "{modes:?}");
        }
    }

    #[test]
    fn another_owner_reads_what_is_his() {
        let mut key = entry("charon-enr-private-key", EntryKind::Regular, 1000, 0o600);
        key.uid = 7;
        let entries = [key];
        let of = |owner| faults(&entries, owner).first().map(|(_, fault)| *fault);
        assert_eq!(of(Some(1000)), Some(Fault::Readable(Reader::User(7))));
        assert_eq!(of(Some(7)), None);
        assert_eq!(of(None), None);
    }
}
