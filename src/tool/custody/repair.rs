//! Owners and modes as seen, to what must change, and who could read the secrets meanwhile.
//!
//! Everything in a data directory and in this program's own directory belongs to one user, and nobody else may enter: files
//! 0600, directories 0700. What is stricter stays.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use charon_files::cluster::access::{self, AccessList, EntryKind, Fault, FileMode, Owner, Reader};
use charon_files::cluster::names::{self, ENR_KEY_FILE, Name, Role};
use charon_files::finding::Finding;

/// Permission bits of a file that only its owner uses.
const FILE_MODE: u32 = 0o600;
/// Permission bits of a directory that only its owner enters.
const DIR_MODE: u32 = 0o700;

/// Most entries of a directory that are repaired: twice the 65536 keystores and passwords that a cluster can have.
pub const MAX_ENTRIES: usize = 262_144;

/// One entry as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Path relative to the directory that is repaired; empty for that itself.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// Who owns it.
    pub owner: Owner,
    /// Permission bits, setuid, setgid and sticky included.
    pub mode: u32,
    /// Its access control list, if it has one that gives somebody something.
    pub list: Option<AccessList>,
    /// How many names it has.
    pub names: u64,
    /// Whether it is on the same mount as the directory that is repaired.
    pub same_mount: bool,
    /// Device and inode: what was looked at is what will be changed, or nothing is.
    pub identity: (u64, u64),
}

/// A directory that is repaired, with all that was found in it, directories before what is in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Its path.
    pub path: PathBuf,
    /// Whether other users may pass all directories above it.
    pub others_reach_it: bool,
    /// Itself first.
    pub entries: Vec<Seen>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it was when it was looked at.
    pub seen: Seen,
    /// Who shall own it.
    pub owner: Owner,
    /// The permission bits that it shall have.
    pub mode: u32,
}

impl Step {
    /// Whether it gets another owner, which only root can do.
    pub fn changes_owner(&self) -> bool {
        self.seen.owner != self.owner
    }

    /// `1000:1000 0777 -> 1000:1000 0600`.
    pub fn text(&self) -> String {
        format!(
            "{} {:04o} -> {} {:04o}",
            self.seen.owner, self.seen.mode, self.owner, self.mode
        )
    }
}

/// Secrets that somebody else could read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exposure {
    /// Who could.
    pub reader: Reader,
    /// The secrets, relative to the directory.
    pub files: Vec<PathBuf>,
}

impl Exposure {
    /// `every user of this machine could read a, b and 3 more, which are useless without …`.
    pub fn part_text(&self) -> String {
        format!(
            "{} could read {}, and not what belongs to it: no secret was open",
            self.reader,
            self.named()
        )
    }

    fn named(&self) -> String {
        let named: Vec<String> = self
            .files
            .iter()
            .take(3)
            .map(|path| path.display().to_string())
            .collect();
        match self.files.len().saturating_sub(named.len()) {
            0 => named.join(", "),
            more => format!("{} and {more} more", named.join(", ")),
        }
    }

    /// `every user of this machine could read the keys: a, b and 3 more`.
    pub fn text(&self) -> String {
        format!("{} could read the keys: {}", self.reader, self.named())
    }
}

/// What must change in a directory, the directory itself first.
///
/// # Errors
/// Everything that cannot be repaired: what is no file or directory, has several names, or lies on another mount. Changing
/// owners there could give away files that belong to someone else.
pub fn plan(tree: &Tree, owner: Owner) -> Result<Vec<Step>, Vec<Finding>> {
    let mut findings = Vec::new();
    let mut steps = Vec::new();
    for seen in &tree.entries {
        findings.extend(refusal(tree, seen));
        let mode = match seen.kind {
            EntryKind::Directory if seen.mode != DIR_MODE => DIR_MODE,
            EntryKind::Regular if seen.mode & !FILE_MODE != 0 || seen.mode & 0o400 == 0 => {
                FILE_MODE
            }
            EntryKind::Directory
            | EntryKind::Regular
            | EntryKind::Symlink
            | EntryKind::Fifo
            | EntryKind::Other => seen.mode,
        };
        if mode != seen.mode || owner != seen.owner {
            steps.push(Step {
                seen: seen.clone(),
                owner,
                mode,
            });
        }
    }
    if tree.entries.len() >= MAX_ENTRIES {
        findings.push(fail(
            &tree.path,
            "more entries than a data directory can have",
            "a data directory",
            "name the right directory with --dir",
        ));
    }
    if findings.is_empty() {
        Ok(steps)
    } else {
        Err(findings)
    }
}

fn refusal(tree: &Tree, seen: &Seen) -> Option<Finding> {
    let path = joined(&tree.path, &seen.path);
    let (what, expected, advice) = match seen.kind {
        _ if !seen.same_mount => (
            "on another file system or mount".to_owned(),
            "everything on one",
            "unmount it, or move it out",
        ),
        EntryKind::Symlink => (
            "a symbolic link".to_owned(),
            "a regular file or directory",
            "see where it leads and move it out",
        ),
        EntryKind::Fifo | EntryKind::Other => (
            "a FIFO, socket or device".to_owned(),
            "a regular file or directory",
            "move it out",
        ),
        EntryKind::Regular if seen.names != 1 => (
            format!("a file with {} names", seen.names),
            "one name: its other names may belong to another user",
            "replace it with a copy of itself",
        ),
        EntryKind::Regular | EntryKind::Directory => return None,
    };
    Some(fail(&path, &what, expected, advice))
}

fn fail(path: &Path, seen: &str, expected: &str, advice: &str) -> Finding {
    Finding::fail("not-repairable", path.display().to_string(), seen, expected).advise(advice)
}

/// A path below a directory; that itself for the empty one, without a slash behind it.
pub fn joined(dir: &Path, path: &Path) -> PathBuf {
    dir.components().chain(path.components()).collect()
}

/// What others could read, by the modes that were seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exposures {
    /// Whole secrets: the ENR key, or keystores and their passwords.
    pub keys: Vec<Exposure>,
    /// Keystores or passwords, the one without the other.
    pub parts: Vec<Exposure>,
}

impl Exposures {
    /// Adds those of another directory.
    pub fn extend(&mut self, other: Self) {
        self.keys.extend(other.keys);
        self.parts.extend(other.parts);
    }

    /// Leaves out users who are nobody else.
    pub fn without(mut self, is_mine: impl Fn(u32) -> bool) -> Self {
        let counts = |exposure: &Exposure| match exposure.reader {
            Reader::User(uid) => !is_mine(uid),
            Reader::Everybody | Reader::Group(_) => true,
        };
        self.keys.retain(counts);
        self.parts.retain(counts);
        self
    }

    /// A sentence for each reader, the worst first.
    pub fn texts(&self) -> Vec<String> {
        let keys = self.keys.iter().map(Exposure::text);
        keys.chain(self.parts.iter().map(Exposure::part_text))
            .collect()
    }
}

/// Which secrets others could read, by the modes that were seen.
pub fn exposures(tree: &Tree, owner: Owner) -> Exposures {
    // Whom the directories above stop has no right here; a group may be let through.
    let rights = if tree.others_reach_it { 0o7777 } else { 0o7770 };
    let modes: Vec<FileMode> = tree
        .entries
        .iter()
        .map(|seen| FileMode {
            path: match seen.path.to_string_lossy() {
                path if path.is_empty() => ".".to_owned(),
                path => path.into_owned(),
            },
            uid: seen.owner.uid,
            gid: seen.owner.gid,
            mode: seen.mode & rights,
            kind: seen.kind,
            list: seen.list.clone(),
        })
        .collect();
    let mut keys: BTreeMap<Reader, Vec<PathBuf>> = BTreeMap::new();
    let mut parts = keys.clone();
    for (entry, fault) in access::faults(&modes, Some(owner.uid)) {
        match fault {
            Fault::Readable(reader) => keys
                .entry(reader)
                .or_default()
                .push(entry.path.clone().into()),
            Fault::PartReadable(reader) => {
                parts
                    .entry(reader)
                    .or_default()
                    .push(entry.path.clone().into());
            }
            Fault::Writable(_) | Fault::Lax => {}
        }
    }
    let listed = |found: BTreeMap<Reader, Vec<PathBuf>>| {
        let list = found.into_iter();
        list.map(|(reader, files)| Exposure { reader, files })
            .collect()
    };
    Exposures {
        keys: listed(keys),
        parts: listed(parts),
    }
}

/// Whether the names at a directory's top are those of a data directory: charon's, with a key or the outputs of a ceremony
/// among them. What is repaired here loses its permissions for everybody else, so it must not be a home directory.
///
/// # Errors
/// The first name that does not belong there, or nothing if all that is missing is a key.
pub fn check_data_directory<'a>(
    names: impl Iterator<Item = &'a str>,
) -> Result<(), Option<&'a str>> {
    let mut is_one = false;
    for name in names {
        let is_stranger = names::role(name) == Role::Stranger;
        // Copies of the key are as secret as the key.
        if is_stranger && !name.starts_with(ENR_KEY_FILE) {
            return Err(Some(name));
        }
        is_one |= matches!(
            names::classify(name),
            Name::EnrKey | Name::ValidatorKeys | Name::ClusterLock
        );
    }
    if is_one { Ok(()) } else { Err(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Owner = Owner {
        uid: 1000,
        gid: 1000,
    };

    fn seen(path: &str, kind: EntryKind, owner: (u32, u32), mode: u32) -> Seen {
        Seen {
            path: path.into(),
            kind,
            owner: Owner {
                uid: owner.0,
                gid: owner.1,
            },
            mode,
            list: None,
            names: 1,
            same_mount: true,
            identity: (1, 1),
        }
    }

    fn tree(entries: Vec<Seen>) -> Tree {
        Tree {
            path: "/x/.charon".into(),
            others_reach_it: true,
            entries,
        }
    }

    fn me(path: &str, kind: EntryKind, mode: u32) -> Seen {
        seen(path, kind, (1000, 1000), mode)
    }

    #[test]
    fn everything_becomes_private_and_what_is_stricter_stays() {
        let tree = tree(vec![
            me("", EntryKind::Directory, 0o777),
            me(ENR_KEY_FILE, EntryKind::Regular, 0o400),
            me("cluster-lock.json", EntryKind::Regular, 0o4755),
            me("deposit-data.json", EntryKind::Regular, 0o600),
            me("validator_keys", EntryKind::Directory, 0o700),
            seen(
                "validator_keys/keystore-0.json",
                EntryKind::Regular,
                (0, 0),
                0o600,
            ),
            me("validator_keys/keystore-0.txt", EntryKind::Regular, 0o000),
        ]);
        let steps: Vec<(String, String)> = plan(&tree, ME)
            .unwrap()
            .iter()
            .map(|step| (step.seen.path.display().to_string(), step.text()))
            .collect();
        let expected = [
            ("", "1000:1000 0777 -> 1000:1000 0700"),
            ("cluster-lock.json", "1000:1000 4755 -> 1000:1000 0600"),
            (
                "validator_keys/keystore-0.json",
                "0:0 0600 -> 1000:1000 0600",
            ),
            (
                "validator_keys/keystore-0.txt",
                "1000:1000 0000 -> 1000:1000 0600",
            ),
        ];
        let expected = expected.map(|(path, text)| (path.to_owned(), text.to_owned()));
        assert_eq!(steps, expected);
    }

    #[test]
    fn what_may_be_somebody_elses_is_refused_all_at_once() {
        let mut linked = me("hard", EntryKind::Regular, 0o600);
        linked.names = 2;
        let mut mounted = me("mount", EntryKind::Directory, 0o700);
        mounted.same_mount = false;
        let tree = tree(vec![
            me("", EntryKind::Directory, 0o700),
            linked,
            mounted,
            me("link", EntryKind::Symlink, 0o777),
            me("fifo", EntryKind::Fifo, 0o600),
        ]);
        let findings = plan(&tree, ME).unwrap_err();
        let subjects: Vec<&str> = findings.iter().map(|f| f.subject.as_str()).collect();
        let expected = ["hard", "mount", "link", "fifo"].map(|name| format!("/x/.charon/{name}"));
        assert_eq!(subjects, expected);
    }

    #[test]
    fn who_could_read_the_keys_is_told() {
        let open = vec![
            me("", EntryKind::Directory, 0o777),
            me(ENR_KEY_FILE, EntryKind::Regular, 0o777),
            me("cluster-lock.json", EntryKind::Regular, 0o777),
            me("validator_keys", EntryKind::Directory, 0o750),
            me("validator_keys/keystore-0.json", EntryKind::Regular, 0o644),
            seen(
                "validator_keys/keystore-0.txt",
                EntryKind::Regular,
                (7, 7),
                0o600,
            ),
        ];
        let told = |tree: &Tree| -> Vec<String> { exposures(tree, ME).texts() };
        assert_eq!(
            told(&tree(open.clone())),
            [
                "every user of this machine could read the keys: charon-enr-private-key",
                "every member of group 1000 could read validator_keys/keystore-0.json, and not what belongs to it: no secret was open",
                "uid 7 could read validator_keys/keystore-0.txt, and not what belongs to it: no secret was open",
            ]
        );
        let home = Tree {
            others_reach_it: false,
            ..tree(open)
        };
        assert!(
            !told(&home)
                .iter()
                .any(|text| text.starts_with("every user"))
        );
        let private = tree(vec![
            me("", EntryKind::Directory, 0o700),
            me(ENR_KEY_FILE, EntryKind::Regular, 0o644),
        ]);
        assert_eq!(told(&private), [""; 0]);
    }

    #[test]
    fn only_a_data_directory_is_repaired() {
        let check = |names: &[&'static str]| check_data_directory(names.iter().copied());
        assert_eq!(check(&[ENR_KEY_FILE, "cluster-definition.json"]), Ok(()));
        assert_eq!(
            check(&["cluster-lock.json", "deposit-data-32eth.json"]),
            Ok(())
        );
        assert_eq!(check(&["cluster-definition.json"]), Err(None));
        assert_eq!(check(&[]), Err(None));
        assert_eq!(check(&[ENR_KEY_FILE, ".ssh"]), Err(Some(".ssh")));
    }
}
