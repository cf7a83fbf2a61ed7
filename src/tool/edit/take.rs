//! Takes a proved edit into the directory where it is held, or says why not.

use jiff::Timestamp;

use crate::context::Context;
use crate::edit::closed::{self, Why};
use crate::edit::held::{self, RanWith, Record};
use crate::edit::stand::Proved;
use crate::error::{Failure, Kind};
use crate::failures::unexpected;
use crate::machine;
use crate::machine::datadir::Layout;
use crate::proof::checked;
use charon_files::cluster::names::CLUSTER_LOCK_FILE;
use charon_files::cluster::{ClusterLock, LockHash};
use charon_files::wrong_file::Expected;
use charon_proof::verify::NamedFile;

/// Holds what was proved; nothing happens if it is held already. Expects the caller to hold the directory's guard.
///
/// # Errors
/// If another edit is held, if this one must not be, or if it cannot be written.
pub(crate) fn take(
    context: &Context,
    layout: &Layout,
    proved: &Proved,
    ran_with: Option<RanWith>,
) -> Result<(), Failure> {
    let is_it = |record: &Record| record.lock_hash == proved.verified.lock_hash().to_string();
    if held::find(layout)
        .map_err(unexpected)?
        .is_some_and(|record| is_it(&record))
    {
        return Ok(());
    }
    refuse_held(layout)?;
    refuse_closed(layout, &proved.verified.lock_hash())?;
    keep(context, layout, proved, ran_with)
}

/// One edit at a time.
///
/// # Errors
/// [`Kind::Refused`] if one is held here.
pub(crate) fn refuse_held(layout: &Layout) -> Result<(), Failure> {
    match held::find(layout).map_err(unexpected)? {
        None => Ok(()),
        Some(record) => Err(Failure::new(
            Kind::Refused,
            format!(
                "another edit ({}) is held here since {}; nothing was changed",
                record.kind, record.held
            ),
        )
        .hint("`charon-dkg edit status` shows it; `charon-dkg edit abandon` gives it up")),
    }
}

/// The lock in the data directory is the one that was edited, or there is no lock.
///
/// # Errors
/// [`Kind::Refused`] if it is another one.
pub(crate) fn refuse_other_previous_lock(layout: &Layout, proved: &Proved) -> Result<(), Failure> {
    let path = layout.data_dir().join(CLUSTER_LOCK_FILE);
    if !path.exists() {
        return Ok(());
    }
    let here = lock_hash_of(&checked::read_single(&path, Expected::ClusterLock)?);
    if here == Some(proved.old.lock_hash) {
        return Ok(());
    }
    Err(Failure::new(
        Kind::Refused,
        format!(
            "{} is another lock than the one that was edited; nothing was changed",
            path.display()
        ),
    )
    .hint(format!(
        "seen: lock_hash {}; expected: {}",
        here.map_or_else(|| "unknown".to_owned(), |hash| hash.to_string()),
        proved.old.lock_hash
    )))
}

/// An edit that was given up here stays given up, and a cluster that was left is not entered again.
///
/// # Errors
/// [`Kind::Refused`] if it is closed here.
pub(crate) fn refuse_closed(layout: &Layout, new: &LockHash) -> Result<(), Failure> {
    let reason = match closed::find(layout, new).map_err(unexpected)? {
        None => return Ok(()),
        Some(Why::Abandoned) => {
            "this edit was given up here, and others may have stopped for it before: what they said then no longer holds"
        }
        Some(Why::Stopped | Why::Switched | Why::Retired) => {
            "this lock is one that must not run here any more"
        }
    };
    Err(
        Failure::new(Kind::Refused, format!("{reason}; nothing was changed"))
            .hint("all operators run the edit again, which makes a new lock"),
    )
}

/// The hash of a lock file; `None` if it is not a lock.
pub(crate) fn lock_hash_of(file: &NamedFile) -> Option<LockHash> {
    let parsed = ClusterLock::parse(&file.bytes).ok()?;
    parsed.value.lock_hash().ok()
}

fn keep(
    context: &Context,
    layout: &Layout,
    proved: &Proved,
    ran_with: Option<RanWith>,
) -> Result<(), Failure> {
    let material = &proved.material;
    let files: Vec<&NamedFile> = material
        .cluster_lock
        .iter()
        .chain(&material.deposit_data)
        .chain(&material.keystores)
        .collect();
    let record = Record::new(
        proved.edit.kind,
        proved.old.lock_hash.to_string(),
        proved.verified.lock_hash().to_string(),
        machine::time_text(Timestamp::now()),
        ran_with,
    );
    let total = u64::try_from(files.len()).unwrap_or(u64::MAX);
    let task = context.task("copying", total);
    held::hold(
        layout,
        &record,
        &proved.previous_lock.bytes,
        &files,
        &|| {
            task.advance(1);
        },
    )
    .map_err(unexpected)
}
