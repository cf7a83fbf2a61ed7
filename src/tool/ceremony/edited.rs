//! The cluster that an edit changes, as this node has it: its lock, whether that and the keystores are right, and what speaks
//! against the edit.

use std::path::Path;

use crate::ceremony::definition_source::{FoundDefinition, NoDefinition};
use crate::ceremony::edit::{EditCommand, Role};
use crate::context::Context;
use crate::edit::closed::{self, Why};
use crate::edit::take;
use crate::machine::datadir::Layout;
use crate::proof::checked;
use charon_files::cluster::names::CLUSTER_LOCK_FILE;
use charon_files::cluster::{CharonVersion, ClusterLock};
use charon_files::finding::{Finding, Weight};
use charon_files::keys::k1::EnrPublicKey;
use charon_files::wrong_file::Expected;
use charon_proof::verify::{Expectations, Material, Modes, NamedFile, Outcome, Scope};

/// A lock that can be edited, unless its findings say otherwise.
pub(crate) struct Edited {
    pub(crate) lock: ClusterLock,
    /// The lock's very bytes, the definition with those who take part, and the edit's hash in the place of the definition's.
    pub(crate) found: FoundDefinition,
    pub(crate) role: Option<Role>,
}

/// What is edited, and by whom.
pub(crate) struct Wanted<'a> {
    pub(crate) command: &'a EditCommand,
    /// The lock before the edit, where it is not the one in the data directory.
    pub(crate) lock_file: Option<&'a Path>,
    pub(crate) own: Option<EnrPublicKey>,
}

/// Reads the lock and proves what is here.
///
/// # Errors
/// If there is no lock, or none that can be read.
pub(crate) fn find(
    context: &Context,
    layout: &Layout,
    wanted: &Wanted<'_>,
) -> Result<Edited, NoDefinition> {
    let in_place = layout.data_dir().join(CLUSTER_LOCK_FILE);
    let path = match wanted.lock_file {
        Some(path) => path.to_owned(),
        None if in_place.exists() => in_place.clone(),
        None => {
            return Err(NoDefinition::Missing(format!(
                "{}; a new operator names the lock that the cluster has before the edit with --lock-file FILE",
                layout.data_dir().display()
            )));
        }
    };
    let unusable = |reason: String| NoDefinition::Unusable {
        reason,
        advice: "name the cluster lock from before the edit with --lock-file FILE".to_owned(),
    };
    let file = checked::read_single(&path, Expected::ClusterLock)
        .map_err(|failure| unusable(failure.message))?;
    let mut edited = of(
        &file.bytes,
        path.display().to_string(),
        wanted.command,
        None,
    )
    .map_err(|reason| unusable(format!("{}: {reason}", path.display())))?;
    edited.role = wanted
        .own
        .and_then(|own| wanted.command.role(&edited.lock, &own));
    let mut findings = prove(context, layout, &file, &mut edited);
    findings.extend(closed_finding(layout, &edited.lock));
    if path != in_place && in_place.exists() {
        findings.extend(other_lock(&path, &in_place, &edited.lock));
    }
    edited.found.findings = findings;
    Ok(edited)
}

/// A lock by its bytes, as the edit sees it. `charon` is the release that edits it, once it is known.
///
/// # Errors
/// If it is no lock.
pub(crate) fn of(
    bytes: &[u8],
    source: String,
    command: &EditCommand,
    charon: Option<&CharonVersion>,
) -> Result<Edited, String> {
    let lock = ClusterLock::parse(bytes)
        .map_err(|error| error.to_string())?
        .value;
    Ok(Edited {
        found: FoundDefinition {
            bytes: bytes.to_vec(),
            source,
            definition: command.definition(&lock, charon),
            definition_hash: command.hash(&lock)?,
            findings: Vec::new(),
            has_contract_wallets: false,
        },
        lock,
        role: None,
    })
}

/// The lock by itself, or all that a node has whose shares the edit needs: wrong ones would spoil it for everybody.
fn prove(
    context: &Context,
    layout: &Layout,
    lock: &NamedFile,
    edited: &mut Edited,
) -> Vec<Finding> {
    let (material, scope) = match edited.role {
        Some(Role::Stays | Role::Leaves) => match checked::read_data_dir(layout) {
            Ok(material) => (material, Scope::WholeDataDirectory),
            Err(failure) => {
                return vec![
                    Finding::fail(
                        "edit-previous-lock",
                        layout.data_dir().display().to_string(),
                        failure.message,
                        "a data directory that can be read",
                    )
                    .advise("`charon-dkg verify`"),
                ];
            }
        },
        Some(Role::Comes) | None => {
            let material = Material {
                cluster_lock: Some(lock.clone()),
                ..Material::default()
            };
            (material, Scope::LockOnly)
        }
    };
    let Outcome {
        report,
        contract_questions,
        ..
    } = checked::verify_shown(
        context,
        &material,
        &Expectations::default(),
        scope,
        Modes::AsCharonLeavesThem,
    );
    edited.found.has_contract_wallets = !contract_questions.is_empty();
    let mut findings = report.findings;
    findings.retain(|finding| finding.weight != Weight::Note);
    findings
}

/// A lock that was left, or that an edit left behind, is not edited.
fn closed_finding(layout: &Layout, lock: &ClusterLock) -> Option<Finding> {
    let hash = lock.lock_hash().ok()?;
    let seen = match closed::find(layout, &hash) {
        Ok(None) => return None,
        Ok(Some(Why::Stopped)) => "this node has stopped for another edit of it",
        Ok(Some(Why::Switched)) => "this node runs the lock that another edit made of it",
        Ok(Some(Why::Retired)) => "this operator has left it",
        Ok(Some(Why::Abandoned)) => "it is what an edit made that was given up here",
        Err(error) => {
            return Some(
                Finding::fail(
                    "edit-lock-closed",
                    "the cluster lock before the edit",
                    error.to_string(),
                    "a record that can be read",
                )
                .advise("find out why you cannot read it"),
            );
        }
    };
    Some(
        Finding::fail(
            "edit-lock-closed",
            "the cluster lock before the edit",
            seen,
            "the lock with which the cluster runs",
        )
        .advise("`charon-dkg edit status` and `charon-dkg status` show the state of this node"),
    )
}

fn other_lock(path: &Path, in_place: &Path, lock: &ClusterLock) -> Option<Finding> {
    let here = checked::read_single(in_place, Expected::ClusterLock).ok();
    let here = here.and_then(|file| take::lock_hash_of(&file));
    let named = lock.lock_hash().ok();
    (here != named).then(|| {
        Finding::fail(
            "edit-other-lock",
            path.display().to_string(),
            format!("another cluster lock than {}", in_place.display()),
            "one and the same lock",
        )
        .advise("leave out --lock-file to edit the cluster whose lock lies here")
    })
}
