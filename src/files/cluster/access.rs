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
    /// Its access control list, if it has one that gives somebody something.
    pub list: Option<AccessList>,
}

impl FileMode {
    /// What its group may do.
    fn group_rights(&self) -> u32 {
        self.list
            .as_ref()
            .map_or((self.mode >> 3) & 0o7, |list| list.group)
    }

    /// Whether this reader has a right to it, by its mode or its list.
    fn gives(&self, reader: Reader, right: u32) -> bool {
        let by_mode = match reader {
            Reader::Everybody => false,
            Reader::Group(gid) => self.gid == gid && self.group_rights() & right != 0,
            Reader::User(uid) => self.uid == uid,
        };
        let by_list = |list: &AccessList| {
            let mut named = list.named.iter();
            named.any(|(named, rights)| *named == reader && rights & right != 0)
        };
        self.mode & right != 0 || by_mode || self.list.as_ref().is_some_and(by_list)
    }
}

/// An access control list (acl(5)), as far as it counts: what its mask takes away is taken off. Where there is one, the
/// mode's bits for the group are that mask, and not what the group may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AccessList {
    /// What the owning group may do.
    group: u32,
    /// What further users and groups may do.
    named: Vec<(Reader, u32)>,
}

impl AccessList {
    /// Reads the kernel's form of it, the extended attribute `system.posix_acl_access` (Linux,
    /// `include/uapi/linux/posix_acl_xattr.h`): a version, then for each entry who it is about, the rights, and an id.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        const VERSION: u32 = 2;
        const USER: u16 = 0x02;
        const GROUP_OBJ: u16 = 0x04;
        const GROUP: u16 = 0x08;
        const MASK: u16 = 0x10;
        let (version, entries) = bytes.split_first_chunk()?;
        if u32::from_le_bytes(*version) != VERSION {
            return None;
        }
        let entries: Vec<(u16, u32, u32)> = entries
            .chunks_exact(8)
            .filter_map(|entry| {
                let (tag, rest) = entry.split_first_chunk()?;
                let (rights, id) = rest.split_first_chunk()?;
                let id = id.first_chunk()?;
                let rights = u16::from_le_bytes(*rights);
                Some((
                    u16::from_le_bytes(*tag),
                    rights.into(),
                    u32::from_le_bytes(*id),
                ))
            })
            .collect();
        let of = |tag: u16| {
            entries
                .iter()
                .find(|entry| entry.0 == tag)
                .map(|entry| entry.1)
        };
        let mask = of(MASK).unwrap_or(0o7);
        let named = entries.iter().filter_map(|(tag, rights, id)| match *tag {
            USER => Some((Reader::User(*id), rights & mask)),
            GROUP => Some((Reader::Group(*id), rights & mask)),
            _ => None,
        });
        Some(Self {
            group: of(GROUP_OBJ).unwrap_or(0) & mask,
            named: named.collect(),
        })
    }
}

/// Somebody besides the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reader {
    /// Every user of this machine.
    Everybody,
    /// The members of a group.
    Group(u32),
    /// A user who owns a file and should not, or whom an access control list names.
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
    entry.uid != uid || (entry.gid != gid && favours_group(entry))
}

/// Whether the group may do what others may not. Only then it matters which group that is; a rootless engine leaves the
/// one of the user who runs it, and no other.
fn favours_group(entry: &FileMode) -> bool {
    entry.group_rights() & !entry.mode != 0
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
        let by_list = match entry.list {
            Some(_) => " with an access control list",
            None => "",
        };
        let mode = format!("mode {:04o}{by_list}", entry.mode);
        match self {
            Fault::Readable(reader) => {
                let what = match secret(&entry.path) {
                    Some(Secret::Keystore(_) | Secret::Password(_)) => {
                        "a keystore and its password"
                    }
                    Some(Secret::Whole) | None => "it",
                };
                Some((
                    format!("{mode}: {reader} can read {what}"),
                    "mode 0600: a secret that only its owner reads",
                ))
            }
            Fault::Writable(reader) => Some((
                format!("{mode}: {reader} can change it"),
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
        let involved = || {
            files
                .iter()
                .flat_map(|file| self.above(file).chain([*file]))
        };
        let groups = involved().map(|entry| Reader::Group(entry.gid));
        let users = files
            .iter()
            .filter(|_| right == 0o4)
            .map(|file| file.uid)
            .filter(|uid| self.owner.is_some_and(|owner| owner != *uid))
            .map(Reader::User);
        let named = involved()
            .flat_map(|entry| entry.list.iter().flat_map(|list| &list.named))
            .map(|(reader, _)| *reader);
        let candidates = groups.chain(users).chain(named);
        let mut others = candidates.filter(|reader| match reader {
            // Root reads everything.
            Reader::User(uid) => *uid != 0 && self.owner != Some(*uid),
            Reader::Everybody | Reader::Group(_) => true,
        });
        others.find(|reader| has(*reader))
    }

    fn has(&self, reader: Reader, file: &FileMode, right: u32) -> bool {
        match reader {
            Reader::User(uid) if file.uid == uid => true,
            Reader::Everybody | Reader::Group(_) | Reader::User(_) => {
                file.gives(reader, right) && self.above(file).all(|dir| dir.gives(reader, 0o1))
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
            list: None,
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

    /// A list in the kernel's form.
    fn list(entries: &[(u16, u16, u32)]) -> AccessList {
        let mut bytes = 2_u32.to_le_bytes().to_vec();
        for (tag, rights, id) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(rights.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        AccessList::parse(&bytes).unwrap()
    }

    #[test]
    fn who_reads_by_a_list_is_named_and_not_the_group() {
        const NOBODY: u32 = u32::MAX;
        let (owner, others) = ((0x01, 7, NOBODY), (0x20, 0, NOBODY));
        let of = |named: (u16, u16, u32), group: u16, mask: u16, mode: u32| {
            let list = list(&[
                owner,
                named,
                (0x04, group, NOBODY),
                (0x10, mask, NOBODY),
                others,
            ]);
            let mut key = entry("charon-enr-private-key", EntryKind::Regular, 1000, mode);
            key.list = Some(list);
            let entries = [key];
            let found = faults(&entries, None);
            found.first().map(|(entry, fault)| {
                let said = fault.describe(entry).map(|(seen, _)| seen);
                (*fault, said.unwrap_or_default())
            })
        };
        let (bob, group) = (Reader::User(4242), Reader::Group(77));
        let said = "mode 0640 with an access control list: uid 4242 can read it";
        let found = of((0x02, 4, 4242), 0, 4, 0o640);
        assert_eq!(found, Some((Fault::Readable(bob), said.to_owned())));
        let fault = |named, group, mask, mode| of(named, group, mask, mode).map(|(fault, _)| fault);
        assert_eq!(
            fault((0x08, 6, 77), 0, 4, 0o640),
            Some(Fault::Readable(group))
        );
        assert_eq!(
            fault((0x02, 7, 4242), 4, 7, 0o670),
            Some(Fault::Readable(Reader::Group(1000)))
        );
        assert_eq!(
            fault((0x02, 2, 4242), 0, 2, 0o620),
            Some(Fault::Writable(bob))
        );
        // What the mask takes away, and what root and the owner have anyhow, is nothing.
        assert_eq!(fault((0x02, 6, 4242), 6, 0, 0o600), None);
        assert_eq!(fault((0x02, 4, 0), 0, 4, 0o640), Some(Fault::Lax));
    }

    #[test]
    fn a_list_leads_through_directories() {
        const NOBODY: u32 = u32::MAX;
        let given = |rights: u16| {
            list(&[
                (0x02, rights, 4242),
                (0x04, 0, NOBODY),
                (0x10, rights, NOBODY),
            ])
        };
        let judged = |above: Option<AccessList>| {
            let mut dir = entry("validator_keys", EntryKind::Directory, 7, 0o710);
            let mut files = [
                "validator_keys/keystore-0.json",
                "validator_keys/keystore-0.txt",
            ]
            .map(|name| entry(name, EntryKind::Regular, 1000, 0o640));
            dir.list = above;
            for file in &mut files {
                file.list = Some(given(4));
            }
            let [json, txt] = files;
            let entries = [dir, json, txt];
            faults(&entries, None)
                .into_iter()
                .map(|(_, fault)| fault)
                .collect::<Vec<_>>()
        };
        let bob = Reader::User(4242);
        assert_eq!(
            judged(Some(given(1))),
            [Fault::Readable(bob), Fault::Readable(bob)]
        );
        assert_eq!(judged(None), [Fault::Lax, Fault::Lax]);
    }

    #[test]
    fn a_list_in_another_form_is_none() {
        for bytes in [
            &b""[..],
            b"\x02\0\0",
            b"\x01\0\0\0",
            b"\x03\0\0\0\x02\0\x04\0\0\0\0\0",
        ] {
            assert_eq!(AccessList::parse(bytes), None, "{bytes:?}");
        }
    }
}
