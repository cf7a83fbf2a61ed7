//! The receipts that a directory keeps, and its record of what was proved: files of ours, in the state directory.
//!
//! ```text
//! <state dir>/receipts/<lock hash>.txt    receipts of the operators of this lock, one a line
//!             ready/<definition hash>.txt ready lines of the operators of this definition, likewise
//!             proved-keystores.json       which files were proved before, see [`charon_proof::proofs`]
//! ```
//!
//! Neither is believed for being there: receipts and ready lines are checked against lock or definition each time, the record against the ENR key.
//! Both are replaced whole. Writing expects the caller to hold the directory's guard; reading does not.

use std::path::Path;

use crate::machine::datadir::{self, Layout};
use crate::machine::files::{FileError, Folder};
use crate::machine::read::{self, Limit, ReadError};
use charon_files::cluster::{DefinitionHash, LockHash};
use charon_proof::line::{self, Signed, Stated};
use charon_proof::proofs::MAX_RECORD_BYTES;
use charon_proof::ready::ReadyLine;
use charon_proof::receipt::Receipt;

pub(crate) const RECEIPTS_DIR: &str = "receipts";
const READY_DIR: &str = "ready";
const PROVED_FILE: &str = "proved-keystores.json";

/// Three lines of each of 256 operators, at most 500 characters each, take 384 KiB.
const LINES: Limit = Limit {
    bytes: 1 << 20,
    what: "kept receipts, ready lines or stopped lines",
};

const PROVED: Limit = Limit {
    bytes: MAX_RECORD_BYTES,
    what: "a record of what was proved",
};

fn name(lock_hash: &LockHash) -> String {
    format!("{}.txt", hex::encode(lock_hash.as_bytes()))
}

fn ready_name(definition_hash: &DefinitionHash) -> String {
    format!("{}.txt", hex::encode(definition_hash.as_bytes()))
}

/// The text with the receipts for a lock; empty if none are kept.
///
/// # Errors
/// If there is something else in its place, or it cannot be read.
pub(crate) fn read(layout: &Layout, lock_hash: &LockHash) -> Result<String, ReadError> {
    read_lines(layout, RECEIPTS_DIR, &name(lock_hash))
}

/// The text with the ready lines for a definition; empty if none are kept.
///
/// # Errors
/// If there is something else in its place, or it cannot be read.
pub(crate) fn read_ready(
    layout: &Layout,
    definition_hash: &DefinitionHash,
) -> Result<String, ReadError> {
    read_lines(layout, READY_DIR, &ready_name(definition_hash))
}

/// The text of kept lines in a directory below the state directory; empty if none are kept.
///
/// # Errors
/// If there is something else in its place, or it cannot be read.
pub(crate) fn read_lines(layout: &Layout, dir: &str, name: &str) -> Result<String, ReadError> {
    let relative = Path::new(dir).join(name);
    match read::read_in(layout.state_dir(), &relative, LINES) {
        // What is not ASCII is no part of a line of ours.
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.is_missing() => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// The lines in a text that was kept. What is damaged among them is as good as missing.
pub(crate) fn lines_in<S: Stated>(text: &str) -> Vec<Signed<S>> {
    let found = line::find(text).unwrap_or_default();
    found.into_iter().filter_map(Result::ok).collect()
}

/// Whether receipts are kept for any lock.
pub(crate) fn are_kept(layout: &Layout) -> bool {
    !locks(layout).is_empty()
}

/// The locks that receipts are kept for, besides this one, sorted. What cannot be listed is as good as not there.
pub(crate) fn other_locks(layout: &Layout, lock_hash: &LockHash) -> Vec<LockHash> {
    let mut others = locks(layout);
    others.retain(|other| other != lock_hash);
    others.sort_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
    others
}

fn locks(layout: &Layout) -> Vec<LockHash> {
    let names = Folder::open(layout.state_dir())
        .and_then(|state| state.folder(RECEIPTS_DIR))
        .and_then(|receipts| receipts.names());
    names
        .unwrap_or_default()
        .iter()
        .filter_map(|name| LockHash::parse(&format!("0x{}", name.to_str()?.strip_suffix(".txt")?)))
        .collect()
}

/// Keeps exactly these receipts for a lock. The state directory must exist.
///
/// # Errors
/// If the operating system refuses or fails; then those that were kept before still are.
pub(crate) fn write(
    layout: &Layout,
    lock_hash: &LockHash,
    receipts: &[Receipt],
) -> Result<(), FileError> {
    write_lines(layout, RECEIPTS_DIR, &name(lock_hash), receipts)
}

/// Keeps exactly these ready lines for a definition. The state directory must exist. Expects the caller to hold the guard
/// of ready lines.
///
/// # Errors
/// If the operating system refuses or fails; then those that were kept before still are.
pub(crate) fn write_ready(
    layout: &Layout,
    definition_hash: &DefinitionHash,
    lines: &[ReadyLine],
) -> Result<(), FileError> {
    write_lines(layout, READY_DIR, &ready_name(definition_hash), lines)
}

/// Keeps exactly these lines in a directory below the state directory, which must exist.
///
/// # Errors
/// If the operating system refuses or fails; then those that were kept before still are.
pub(crate) fn write_lines<S: Stated>(
    layout: &Layout,
    dir: &str,
    name: &str,
    lines: &[Signed<S>],
) -> Result<(), FileError> {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    datadir::state_folder(layout, dir)?.write(name, text.as_bytes(), layout.owner()?)
}

/// The record of what was proved, as stored; `None` if it does not exist.
///
/// # Errors
/// If there is something else in its place, or it cannot be read.
pub(crate) fn read_proved(layout: &Layout) -> Result<Option<Vec<u8>>, ReadError> {
    match read::read_in(layout.state_dir(), Path::new(PROVED_FILE), PROVED) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces the record of what was proved. The state directory must exist.
///
/// # Errors
/// If the operating system refuses or fails; then the old record is still there.
pub(crate) fn write_proved(layout: &Layout, record: &str) -> Result<(), FileError> {
    Folder::open(layout.state_dir())?.write(PROVED_FILE, record.as_bytes(), layout.owner()?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::machine::testing::{Project, put, tree};
    use charon_files::cluster::{DefinitionHash, NodeIndex};
    use charon_files::keys::k1::EnrKey;
    use charon_proof::receipt::{DepositFiles, Statement, find_receipts};

    fn receipt(node: usize) -> Receipt {
        let statement = Statement {
            node: NodeIndex::new(node),
            operators: 4,
            lock_hash: LockHash::new([1; 32]),
            definition_hash: DefinitionHash::new([2; 32]),
            keystores: 1,
            deposit_files: DepositFiles::of(&[]),
            charon_image: None,
            charon_version: None,
            program_version: "0.1.0".to_owned(),
            time: 0,
        };
        Receipt::sign(statement, &EnrKey::from_secret_bytes(&[7; 32]).unwrap()).unwrap()
    }

    #[test]
    fn what_is_kept_is_read_back_and_private() {
        let project = Project::new();
        let hash = LockHash::new([1; 32]);
        assert_eq!(read(&project.layout, &hash).unwrap(), "");
        write(&project.layout, &hash, &[receipt(0), receipt(1)]).unwrap();
        let text = read(&project.layout, &hash).unwrap();
        let kept: Vec<Receipt> = find_receipts(&text)
            .unwrap()
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert_eq!(kept, [receipt(0), receipt(1)]);
        let file = project
            .layout
            .state_dir()
            .join(RECEIPTS_DIR)
            .join(name(&hash));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(file.parent().unwrap()), 0o700);
        write(&project.layout, &hash, &[receipt(1)]).unwrap();
        assert_eq!(tree(file.parent().unwrap()).len(), 1);
        // Another ceremony has receipts of its own.
        assert_eq!(read(&project.layout, &LockHash::new([2; 32])).unwrap(), "");
    }

    #[test]
    fn what_lies_in_their_place_is_not_read() {
        let project = Project::new();
        let hash = LockHash::new([1; 32]);
        let file = project
            .layout
            .state_dir()
            .join(RECEIPTS_DIR)
            .join(name(&hash));
        put(&file, &vec![b' '; (1 << 20) + 1], 0o600);
        assert!(read(&project.layout, &hash).is_err());
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
        assert!(read(&project.layout, &hash).is_err());
        std::os::unix::fs::symlink("/etc/passwd", project.layout.state_dir().join(PROVED_FILE))
            .unwrap();
        assert!(read_proved(&project.layout).is_err());
        // Ours take their place without touching what they link to.
        let before = std::fs::read("/etc/passwd").unwrap();
        write(&project.layout, &hash, &[receipt(0)]).unwrap();
        write_proved(&project.layout, "{}").unwrap();
        assert_eq!(read_proved(&project.layout).unwrap().unwrap(), b"{}");
        assert_eq!(std::fs::read("/etc/passwd").unwrap(), before);
    }
}
