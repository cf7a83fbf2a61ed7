//! What a rehearsal leaves when it is killed: containers, a network and a directory. The next one finds it by a record that
//! the kernel frees with its holder.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::error::Failure;
use crate::rehearse::rehearsal::{NAME, Rehearsal, io};
use crate::report;

/// In a rehearsal's directory: its name, locked as long as it runs.
const RECORD: &str = "rehearsal";
/// No name is longer.
const MAX_NAME: u64 = 128;

/// Says that a rehearsal runs; ends with the process, however that ends.
pub(crate) struct Running {
    path: PathBuf,
    _lock: File,
}

impl Running {
    /// Notes the name of a rehearsal in its directory.
    pub(crate) fn note(base: &Path, name: &str) -> Result<Self, Failure> {
        let path = base.join(RECORD);
        let mut file = File::create_new(&path).map_err(io("note the rehearsal"))?;
        file.lock().map_err(io("note the rehearsal"))?;
        file.write_all(name.as_bytes())
            .map_err(io("note the rehearsal"))?;
        Ok(Self { path, _lock: file })
    }

    /// The directory stays, and is no leftover.
    pub(crate) fn forget(&self) {
        // Then the next rehearsal offers to remove it, and asks.
        std::fs::remove_file(&self.path).ok();
    }
}

/// A rehearsal that was killed.
pub(crate) struct Leftover {
    pub(crate) name: String,
    pub(crate) base: PathBuf,
}

/// Directories of this user's rehearsals that nobody plays any more.
pub(crate) fn find(parent: &Path) -> Vec<Leftover> {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut found: Vec<Leftover> = entries
        .filter_map(|entry| leftover(entry.ok()?.path()))
        .collect();
    found.sort_by(|a, b| a.base.cmp(&b.base));
    found
}

fn leftover(base: PathBuf) -> Option<Leftover> {
    let named = base.file_name()?.to_str()?.starts_with(NAME);
    let meta = base.symlink_metadata().ok()?;
    if !named || !meta.is_dir() || meta.uid() != geteuid().as_raw() {
        return None;
    }
    let file = File::open(base.join(RECORD)).ok()?;
    file.try_lock().ok()?;
    let mut name = String::new();
    file.take(MAX_NAME).read_to_string(&mut name).ok()?;
    name.starts_with(NAME).then_some(Leftover { name, base })
}

/// Offers to remove what was left, and does it after a yes.
///
/// # Errors
/// When a question was interrupted or a directory cannot be removed.
pub(crate) async fn offer(rehearsal: &Rehearsal<'_>, found: Vec<Leftover>) -> Result<(), Failure> {
    if found.is_empty() {
        return Ok(());
    }
    let context = rehearsal.context;
    let count = report::count(u64::try_from(found.len()).unwrap_or(u64::MAX), "rehearsal");
    let places: Vec<String> = found.iter().map(|it| report::quoted(&it.base)).collect();
    context.warn(&format!(
        "{count} ended before everything was removed: containers, a network and {}",
        places.join(", ")
    ));
    if !context.can_agree() {
        context.say("`charon-dkg rehearse --yes` removes that first");
        return Ok(());
    }
    if !context.agree("Remove what was left?")? {
        return Ok(());
    }
    for Leftover { name, base } in found {
        rehearsal.of(name, &base).clear_all().await;
        std::fs::remove_dir_all(&base).map_err(io("remove a rehearsal's directory"))?;
        context.say(&format!("removed {}", report::quoted(&base)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rehearsal_that_nobody_plays_is_found_and_no_other() {
        let parent = tempfile::tempdir().unwrap();
        let base = |name: &str| {
            let base = parent.path().join(name);
            std::fs::create_dir(&base).unwrap();
            base
        };
        let (killed, running) = (
            base("charon-dkg-rehearsal-a"),
            base("charon-dkg-rehearsal-b"),
        );
        let (kept, other) = (base("charon-dkg-rehearsal-c"), base("other"));
        drop(Running::note(&killed, "charon-dkg-rehearsal-1").unwrap());
        let _running = Running::note(&running, "charon-dkg-rehearsal-2").unwrap();
        Running::note(&kept, "charon-dkg-rehearsal-3")
            .unwrap()
            .forget();
        drop(Running::note(&other, "charon-dkg-rehearsal-4").unwrap());
        let found: Vec<_> = find(parent.path())
            .into_iter()
            .map(|it| (it.name, it.base))
            .collect();
        assert_eq!(found, [("charon-dkg-rehearsal-1".to_owned(), killed)]);
    }
}
