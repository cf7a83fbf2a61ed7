//! What a crash left of a promotion, an archive or a restore.

use crate::custody::{restore, sources};
use crate::machine::datadir::Layout;
use crate::machine::files::Folder;
use crate::promote::journal::{Job, JournalError, Reached, Recovery, read_journal, remove_journal};
use crate::promote::switch::{self, SwitchJob};
use crate::promote::{archive, promotion};
use crate::proof::receipts::RECEIPTS_DIR;

/// Finishes or undoes what an earlier promote or archive left when it was interrupted. `None` if
/// there was nothing to do. Doing it twice, or being interrupted again, changes nothing.
pub(crate) fn recover(layout: &Layout) -> Result<Option<Recovery>, JournalError> {
    recover_at(layout, &|_| ())
}

pub(crate) fn recover_at(
    layout: &Layout,
    reached: Reached<'_>,
) -> Result<Option<Recovery>, JournalError> {
    let state = match Folder::open(layout.state_dir()) {
        Ok(state) => state,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    state.remove_unfinished()?;
    match state.folder(RECEIPTS_DIR) {
        Ok(receipts) => receipts.remove_unfinished()?,
        Err(error) if error.is_missing() => {}
        Err(error) => return Err(error.into()),
    }
    let Some(journal) = read_journal(&state)? else {
        // Without a journal, nothing in them is needed: their maker was killed.
        sources::remove_stages(&state)?;
        return Ok(None);
    };
    let data = Folder::open(layout.data_dir())?;
    let recovery = match &journal.job {
        Job::Promote { attempt } => promotion::recover(layout, *attempt, &journal, &data, reached)?,
        Job::Archive { name } => archive::recover(layout, &journal, name, &data, reached)?,
        Job::Switch { archive, kept, old } => {
            let job = SwitchJob {
                archive: archive.as_deref(),
                kept,
                old,
            };
            switch::recover(layout, job, &journal, &data, reached)?
        }
        Job::Restore { name, kept } => {
            restore::recover(layout, &journal, name, kept, &data, reached)?
        }
    };
    remove_journal(&state)?;
    reached("journal removed");
    sources::remove_stages(&state)?;
    Ok(Some(recovery))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::testing::{Project, put};

    #[test]
    fn what_a_killed_command_left_of_its_files_is_removed() {
        let project = Project::in_memory();
        let state = project.layout.state_dir();
        let left = [".unfinished-a", "receipts/.unfinished-b"].map(|name| state.join(name));
        let kept = ["receipts/ab.txt", "backups.json"].map(|name| state.join(name));
        for path in left.iter().chain(&kept) {
            put(path, b"half", 0o600);
        }
        assert_eq!(recover(&project.layout).unwrap(), None);
        assert!(!left.iter().any(|path| path.exists()));
        assert!(kept.iter().all(|path| path.exists()));
    }
}
