//! A ceremony whose outputs are proved and wait in their stage until all operators have confirmed: until then the data
//! directory has the ENR key and nothing that could start.

use std::path::{Path, PathBuf};

use crate::ceremony::attempt::{ATTEMPTS_DIR, Attempt, STAGE_DIR, State};
use crate::machine::datadir::Layout;
use crate::machine::files::{EntryKind, Folder, Status};
use charon_files::cluster::names::CLUSTER_LOCK_FILE;

/// The attempt that is held. What counts is where the cluster lock is: a promotion that was finished by a release that
/// does not know the word, or a backup that was restored, leaves a record behind that says held.
pub(crate) fn find(layout: &Layout) -> Option<Attempt> {
    if lies(&layout.data_dir().join(CLUSTER_LOCK_FILE)) {
        return None;
    }
    let attempts = Attempt::list(layout).ok()?.into_iter().rev();
    // A record that cannot be read says nothing about the others.
    let mut held =
        attempts.filter(|attempt| attempt.record().is_ok_and(|it| it.state == State::Held));
    held.find(|attempt| lies(&attempt.stage().join(CLUSTER_LOCK_FILE)))
}

/// Where what is held is kept.
pub(crate) fn place(layout: &Layout) -> Option<PathBuf> {
    find(layout).map(|attempt| attempt.stage())
}

/// Whether the outputs of an attempt are in the data directory by now, whatever its record says.
pub(crate) fn has_moved(layout: &Layout, attempt: &Attempt) -> bool {
    lies(&layout.data_dir().join(CLUSTER_LOCK_FILE))
        && !lies(&attempt.stage().join(CLUSTER_LOCK_FILE))
}

/// The relays at which the ceremony met whose outputs are here, if it was run here.
pub(crate) fn relays(layout: &Layout) -> Vec<String> {
    let attempts = Attempt::list(layout).unwrap_or_default().into_iter().rev();
    let records = attempts.filter_map(|attempt| attempt.record().ok());
    let mut ended = records.filter(|record| match record.state {
        State::Held | State::Promoted => true,
        State::Prepared | State::Running | State::CharonDone { .. } | State::Failed { .. } => false,
    });
    ended.next().map_or_else(Vec::new, |record| record.relays())
}

/// Where what is held is kept in the state directory of a backup that was laid out.
pub(crate) fn laid_out(state_dir: &Path) -> Option<PathBuf> {
    let attempts = Folder::open(&state_dir.join(ATTEMPTS_DIR)).ok()?;
    let names = attempts.names().ok()?.into_iter();
    let mut stages = names.map(|name| attempts.path().join(name).join(STAGE_DIR));
    stages.find(|stage| lies(&stage.join(CLUSTER_LOCK_FILE)))
}

fn lies(path: &Path) -> bool {
    let status = Status::of_path(path).ok().flatten();
    status.is_some_and(|status| status.kind == EntryKind::Regular)
}

/// The same where it was just proved, if it is held; said where nobody counts the operators.
pub(crate) fn notice(layout: &Layout) -> Option<String> {
    let stage = place(layout)?;
    Some(format!(
        "your keys are complete and safe in {}; they move to {} when all operators have confirmed: `charon-dkg confirm`",
        stage.display(),
        layout.data_dir().display()
    ))
}

/// What a person is told who looks for keystores and finds none.
pub(crate) fn says(stage: &Path, data_dir: &str, operators: usize) -> String {
    format!(
        "your keys are complete and safe in {}; they move to {data_dir} when all {operators} operators have confirmed",
        stage.display()
    )
}
