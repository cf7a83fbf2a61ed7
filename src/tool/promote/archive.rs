//! Archive: outputs of an old or failed ceremony go from the data directory aside.
//!
//! Renames under the journal of [`crate::promote::journal`]; `cluster-lock.json` leaves first, so that no
//! charon starts on what is left. The caller holds the directory's guard.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rayon::prelude::*;
use serde::Serialize;

use crate::machine::datadir::{self, Layout};
use crate::machine::files::{EntryKind, FileError, Folder, Owner};
use crate::machine::read;
use crate::promote::journal::{self, FORMAT, Job, Journal, JournalError, Moves, Reached, Recovery};
use charon_files::cluster::names::{
    self, CLUSTER_LOCK_FILE, DEFINITION_FILE, HEARTBEAT_FILE, Role, VALIDATOR_KEYS_DIR,
};

pub(crate) const ARCHIVE_DIR: &str = "archive";
pub(crate) const MANIFEST_FILE: &str = "manifest.json";

/// What to move aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArchiveScope {
    /// What a ceremony writes; the definition stays for the next attempt.
    Outputs,
    /// The cluster definition too, for a new ceremony with other terms.
    OutputsAndDefinition,
}

/// What [`archive`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ArchiveResult {
    /// There was nothing to move aside; nothing was changed.
    Nothing,
    /// Old outputs were moved aside.
    Archived(Archive),
}

/// Outputs that were moved aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Archive {
    /// The directory that holds them and their `manifest.json`.
    pub dir: PathBuf,
    /// The names moved, `cluster-lock.json` first.
    pub names: Vec<String>,
    /// The names that stay in the data directory.
    pub left: Vec<String>,
}

/// What an archive holds.
#[derive(Debug, Serialize)]
pub(crate) struct Manifest {
    format: u32,
    archived: String,
    entries: Vec<ManifestEntry>,
}

#[derive(Debug, Serialize)]
struct ManifestEntry {
    path: String,
    kind: EntryKind,
    len: u64,
    mode: String,
    owner: Owner,
    /// SHA-256 in lower-case hex, of regular files that we may read.
    sha256: Option<String>,
}

/// Moves outputs of an old or failed ceremony into `archive/<now>/` of the state directory, which
/// must exist, with a manifest. The ENR key never moves; nothing is overwritten or deleted.
pub(crate) fn archive(
    layout: &Layout,
    now: Timestamp,
    scope: ArchiveScope,
) -> Result<ArchiveResult, JournalError> {
    archive_at(layout, now, scope, &|_| ())
}

/// The names in the data directory that [`archive`] would move, `cluster-lock.json` first; none if
/// there is no data directory.
pub(crate) fn outputs(layout: &Layout, scope: ArchiveScope) -> Result<Vec<String>, FileError> {
    match Folder::open(layout.data_dir()) {
        Ok(data) => Ok(split_names(&data, scope)?.0),
        Err(error) if error.is_missing() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The names that leave when another cluster comes into the directory, `cluster-lock.json` first. charon's heartbeat
/// stays: by it charon itself refuses another lock for a while.
pub(crate) fn replaced_names(data: &Folder) -> Result<Vec<String>, FileError> {
    let (mut names, _) = split_names(data, ArchiveScope::OutputsAndDefinition)?;
    names.retain(|name| name != HEARTBEAT_FILE);
    Ok(names)
}

/// The names that move, in the order in which they do, and those that stay.
fn split_names(
    data: &Folder,
    scope: ArchiveScope,
) -> Result<(Vec<String>, Vec<String>), FileError> {
    let mut moved = Vec::new();
    let mut left = Vec::new();
    let with_definition = scope == ArchiveScope::OutputsAndDefinition;
    let no_keys = datadir::has_empty_key_directory(data)?;
    for name in data.names()? {
        let name = name.to_string_lossy().into_owned();
        let moves = names::role(&name) == Role::Output && !(no_keys && name == VALIDATOR_KEYS_DIR);
        if moves || (with_definition && name == DEFINITION_FILE) {
            moved.push(name);
        } else {
            left.push(name);
        }
    }
    // charon's heartbeat tells of the cluster that goes, and does not go alone.
    if !moved.is_empty() {
        moved.extend(left.extract_if(.., |name| name == HEARTBEAT_FILE));
    }
    moved.sort_by_key(|name| (name != CLUSTER_LOCK_FILE, name.clone()));
    Ok((moved, left))
}

fn archive_at(
    layout: &Layout,
    now: Timestamp,
    scope: ArchiveScope,
    reached: Reached<'_>,
) -> Result<ArchiveResult, JournalError> {
    let state = Folder::open(layout.state_dir())?;
    journal::check_no_journal(&state)?;
    let data = Folder::open(layout.data_dir())?;
    let owner = data.own_status()?.owner;
    let (names, left) = split_names(&data, scope)?;
    if names.is_empty() {
        return Ok(ArchiveResult::Nothing);
    }

    let manifest = manifest(&data, &names, now)?;
    let archive_name = free_archive_name(layout, now)?;
    let journal = Journal {
        format: FORMAT,
        job: Job::Archive {
            name: archive_name.clone(),
        },
        names,
        files: Vec::new(),
    };
    journal::write_journal(&state, &journal, owner)?;
    reached("journal written");

    let dir = match fill_archive(layout, &journal, &archive_name, &manifest, &data, reached) {
        Ok(dir) => dir,
        Err(cause) => {
            let undone = empty_archive(layout, &journal, &archive_name, &data, reached)
                .and_then(|()| journal::remove_journal(&state));
            return Err(JournalError::after_undo(cause.into(), undone));
        }
    };
    journal::remove_journal(&state)?;
    reached("journal removed");
    Ok(ArchiveResult::Archived(Archive {
        dir,
        names: journal.names,
        left,
    }))
}

/// The manifest is on the disk before anything moves.
fn fill_archive(
    layout: &Layout,
    journal: &Journal,
    name: &str,
    manifest: &Manifest,
    data: &Folder,
    reached: Reached<'_>,
) -> Result<PathBuf, FileError> {
    let owner = layout.owner()?;
    let archive = datadir::state_folder(layout, ARCHIVE_DIR)?.make_folder(name, owner)?;
    reached("archive made");
    let text = serde_json::to_vec_pretty(manifest)
        .map_err(|error| FileError::new("write", archive.path().join(MANIFEST_FILE), error))?;
    archive.write(MANIFEST_FILE, &text, owner)?;
    reached("manifest written");
    let moves = Moves {
        from: data,
        to: &archive,
        names: &journal.names,
        reached,
    };
    moves.forward()?;
    Ok(archive.path().to_owned())
}

fn empty_archive(
    layout: &Layout,
    journal: &Journal,
    name: &str,
    data: &Folder,
    reached: Reached<'_>,
) -> Result<(), FileError> {
    let archives = datadir::state_folder(layout, ARCHIVE_DIR)?;
    let archive = match archives.folder(name) {
        Ok(archive) => archive,
        Err(error) if error.is_missing() => return Ok(()),
        Err(error) => return Err(error),
    };
    let moves = Moves {
        from: data,
        to: &archive,
        names: &journal.names,
        reached,
    };
    moves.back()?;
    archive.remove_file(MANIFEST_FILE)?;
    archives.remove_folder(name)
}

/// What these names refer to now.
pub(crate) fn manifest(
    data: &Folder,
    names: &[String],
    now: Timestamp,
) -> Result<Manifest, FileError> {
    let mut paths = Vec::new();
    for name in names {
        paths.push(PathBuf::from(name));
        if data
            .status(name)?
            .is_some_and(|s| s.kind == EntryKind::Directory)
        {
            let below = journal::listing(&data.folder(name)?)?;
            paths.extend(
                below
                    .into_iter()
                    .map(|(path, _)| Path::new(name).join(path)),
            );
        }
    }
    let entries = paths
        .par_iter()
        .filter_map(|path| manifest_entry(data, path).transpose())
        .collect::<Result<_, _>>()?;
    Ok(Manifest {
        format: FORMAT,
        archived: now.to_string(),
        entries,
    })
}

fn manifest_entry(data: &Folder, path: &Path) -> Result<Option<ManifestEntry>, FileError> {
    let Some(status) = data.status(path)? else {
        return Ok(None);
    };
    let mut sha256 = None;
    if status.kind == EntryKind::Regular
        && let Some(text) = path.to_str()
        && let Ok((_, file)) = journal::open_in(data, text)
    {
        sha256 = read::digest(&file).ok().map(|(hash, _)| hex::encode(hash));
    }
    Ok(Some(ManifestEntry {
        path: path.to_string_lossy().into_owned(),
        kind: status.kind,
        len: status.len,
        mode: format!("{:04o}", status.mode),
        owner: status.owner,
        sha256,
    }))
}

/// `<now>`, or with a number behind it if that is taken.
pub(crate) fn free_archive_name(layout: &Layout, now: Timestamp) -> Result<String, FileError> {
    datadir::free_name(
        &datadir::state_folder(layout, ARCHIVE_DIR)?,
        &datadir::time_name(now),
    )
}

/// Removes an archive without a manifest, into which nothing was moved.
pub(crate) fn remove_unbegun(
    archives: &Folder,
    archive: &Folder,
    name: &str,
) -> Result<(), FileError> {
    archive.remove_unfinished()?;
    archives.remove_folder(name)
}

/// Moves the rest aside if the archive was begun. What came into the data directory anew under a
/// name that was moved already is not part of the archive and stays.
pub(crate) fn recover(
    layout: &Layout,
    journal: &Journal,
    name: &str,
    data: &Folder,
    reached: Reached<'_>,
) -> Result<Recovery, JournalError> {
    let archives = datadir::state_folder(layout, ARCHIVE_DIR)?;
    let archive = archives.folder_or_new(name, layout.owner()?)?;
    let mut rest = Vec::new();
    for name in &journal.names {
        if archive.status(name)?.is_none() {
            rest.push(name.clone());
        }
    }
    if archive.status(MANIFEST_FILE)?.is_none() && rest.len() == journal.names.len() {
        remove_unbegun(&archives, &archive, name)?;
        return Ok(Recovery::ArchiveUndone);
    }
    let moves = Moves {
        from: data,
        to: &archive,
        names: &rest,
        reached,
    };
    moves.forward()?;
    Ok(Recovery::ArchiveFinished {
        dir: archive.path().to_owned(),
        names: journal.names.clone(),
    })
}

#[cfg(test)]
mod tests {
    use charon_files::cluster::names::ENR_KEY_FILE;
    use std::cell::Cell;
    use std::fs;
    use std::os::unix::fs::symlink;

    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::machine::testing::{Project, as_tree, crashing_at, outputs, put, tree};
    use crate::promote::recover::{recover, recover_at};

    fn now() -> Timestamp {
        "2026-01-02T03:04:05Z".parse().unwrap()
    }

    const OLD: [(&str, &[u8]); 6] = [
        ("charon-enr-private-key.lock", b"{}"),
        ("cluster-lock.json", b"the lock"),
        ("cluster-manifest.pb", b"manifest"),
        ("deposit-data-1eth.json", b"one"),
        ("validator_keys/keystore-0.json", b"keystore 0"),
        ("validator_keys/keystore-0.txt", b"password 0"),
    ];

    fn project_with_outputs() -> Project {
        let project = Project::in_memory();
        for (name, bytes) in OLD {
            put(&project.data(name), bytes, 0o444);
        }
        put(&project.data(DEFINITION_FILE), b"terms", 0o644);
        put(&project.data("notes.txt"), b"mine", 0o644);
        project
    }

    fn archived(result: Result<ArchiveResult, JournalError>) -> Archive {
        match result.unwrap() {
            ArchiveResult::Archived(archive) => archive,
            ArchiveResult::Nothing => panic!("nothing was archived"),
        }
    }

    #[test]
    fn outputs_are_moved_aside_with_a_manifest_and_the_key_stays() {
        let project = project_with_outputs();
        let layout = &project.layout;
        let archive = archived(archive(layout, now(), ArchiveScope::Outputs));
        assert_eq!(
            archive.dir,
            layout.state_dir().join("archive/2026-01-02T03-04-05Z")
        );
        assert_eq!(archive.left, [ENR_KEY_FILE, DEFINITION_FILE, "notes.txt"]);
        assert_eq!(archive.names[0], CLUSTER_LOCK_FILE);
        let mut kept = tree(&archive.dir);
        let manifest = kept.remove(MANIFEST_FILE).unwrap();
        assert_eq!(kept, as_tree(&OLD));
        let left = as_tree(&[(DEFINITION_FILE, b"terms"), ("notes.txt", b"mine")]);
        assert_eq!(outputs(&project), left);

        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["archived"], "2026-01-02T03:04:05Z");
        let entries = manifest["entries"].as_array().unwrap();
        assert_eq!(entries.len(), OLD.len() + 1);
        for (name, bytes) in OLD {
            let entry = entries.iter().find(|entry| entry["path"] == name).unwrap();
            assert_eq!(
                entry["sha256"],
                hex::encode(Sha256::digest(bytes)),
                "{name}"
            );
            assert_eq!(
                (&entry["mode"], &entry["len"]),
                (&"0444".into(), &bytes.len().into())
            );
        }
        let again = crate::promote::archive::archive(layout, now(), ArchiveScope::Outputs).unwrap();
        assert_eq!(again, ArchiveResult::Nothing);
        let terms = archived(crate::promote::archive::archive(
            layout,
            now(),
            ArchiveScope::OutputsAndDefinition,
        ));
        assert_eq!(
            terms.dir,
            layout.state_dir().join("archive/2026-01-02T03-04-05Z-2")
        );
        assert_eq!(terms.names, [DEFINITION_FILE]);
        assert_eq!(tree(&archive.dir).len(), OLD.len() + 1);
    }

    #[test]
    fn nothing_to_archive_changes_nothing() {
        let project = Project::new();
        put(&project.data("dkg.tar.gz"), b"may hold the key", 0o600);
        let result = archive(&project.layout, now(), ArchiveScope::OutputsAndDefinition).unwrap();
        assert_eq!(result, ArchiveResult::Nothing);
        assert!(!project.layout.state_dir().join("archive").exists());
    }

    #[test]
    fn odd_entries_are_moved_as_they_are() {
        let project = Project::new();
        symlink("elsewhere.json", project.data("cluster-lock.json")).unwrap();
        fs::create_dir(project.data("validator_keys")).unwrap();
        put(&project.data("validator_keys/notes"), b"odd", 0o600);
        let archive = archived(archive(&project.layout, now(), ArchiveScope::Outputs));
        let link = fs::read_link(archive.dir.join("cluster-lock.json")).unwrap();
        assert_eq!(link, Path::new("elsewhere.json"));
        assert!(archive.dir.join("validator_keys").is_dir());
    }

    #[test]
    fn an_archive_cut_short_at_any_step_is_finished_or_was_not_begun() {
        for first in 0.. {
            let mut first_done = false;
            for second in 0.. {
                let project = project_with_outputs();
                let layout = &project.layout;
                let done = crashing_at(first, |reached| {
                    archived(archive_at(layout, now(), ArchiveScope::Outputs, reached));
                });
                first_done = done.is_some();
                let second_done = crashing_at(second, |reached| {
                    recover_at(layout, reached).unwrap();
                });
                recover(layout).unwrap();
                assert_eq!(recover(layout).unwrap(), None);
                let dir = layout.state_dir().join("archive/2026-01-02T03-04-05Z");
                let mut all = outputs(&project);
                assert_eq!(all.remove("notes.txt").as_deref(), Some(b"mine".as_slice()));
                assert_eq!(
                    all.remove(DEFINITION_FILE).as_deref(),
                    Some(b"terms".as_slice())
                );
                if dir.exists() {
                    assert!(all.is_empty(), "{first} {second}: {all:?}");
                    all = tree(&dir);
                    assert!(all.remove(MANIFEST_FILE).is_some());
                }
                assert_eq!(all, as_tree(&OLD), "{first} {second}");
                if second_done.is_some() {
                    break;
                }
            }
            if first_done {
                assert!(first > 8);
                break;
            }
        }
    }

    #[test]
    fn an_archive_that_fails_is_undone() {
        let project = project_with_outputs();
        let before = tree(project.layout.data_dir());
        let dir = project
            .layout
            .state_dir()
            .join("archive/2026-01-02T03-04-05Z");
        let once = Cell::new(true);
        let error = archive_at(&project.layout, now(), ArchiveScope::Outputs, &|step| {
            if step == "moved deposit-data-1eth.json" && once.take() {
                fs::create_dir(dir.join("validator_keys")).unwrap();
            }
        })
        .unwrap_err();
        // What somebody put there keeps the directory, and so the journal; nothing is lost.
        assert!(matches!(error, JournalError::Stuck { .. }), "{error}");
        assert_eq!(tree(project.layout.data_dir()), before);
        fs::remove_dir(dir.join("validator_keys")).unwrap();
        assert_eq!(
            recover(&project.layout).unwrap(),
            Some(Recovery::ArchiveUndone)
        );
        assert_eq!(tree(project.layout.data_dir()), before);
        assert!(!dir.exists());
    }
}
