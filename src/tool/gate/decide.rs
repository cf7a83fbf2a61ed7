//! The gate's answer: what is there now is proved again, at every start.

use std::path::{Path, PathBuf};

use crate::ceremony::settings::{self, Settings};
use crate::context::Context;
use crate::edit::closed::{self, Why};
use crate::error::Failure;
use crate::gate::compose::ProjectFile;
use crate::gate::decision::{
    Closed, GateDecision, Require, Words, check_confirmation, check_rehearsal, still_held,
};
use crate::gate::site::DOTENV;
use crate::gate::status::Installed;
use crate::gate::{confirmation, remember};
use crate::machine::datadir::Layout;
use crate::promote::{held, journal};
use crate::proof::checked;
use crate::proof::prove::{self, Proof};
use crate::report;
use charon_files::cluster::Definition;
use charon_files::finding::{Finding, Weight};
use charon_files::keys::k1::EnrKey;
use charon_proof::verify::{Material, Progress};

/// What a gate was told when it was installed.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) require: Require,
    pub(crate) rehearsal: bool,
    /// The project's settings, with today's variables in their place; none where the project itself is looked at.
    pub(crate) settings: Settings,
}

impl Asked {
    /// The options of a project's gate; the strict ones if it has no gate.
    pub(crate) fn of(installed: Option<Installed>) -> Self {
        Self {
            require: installed.map_or(Require::Confirmed, |gate| gate.require),
            rehearsal: installed.is_some_and(|gate| gate.rehearsal),
            settings: Settings::new(),
        }
    }
}

/// Looks, and changes nothing. What cannot be looked at is closed. Compose calls without a context, and contract wallets
/// are not asked then.
pub(crate) fn decide(
    context: Option<&Context>,
    layout: &Layout,
    asked: &Asked,
    words: Words<'_>,
    progress: &dyn Progress,
) -> GateDecision {
    answer(look(context, layout, asked, words, progress)).0
}

/// The same for those who are about to start something: what was proved for that is remembered, if that is possible, so that
/// the next start is quick after a change of files or of this program too.
pub(crate) fn decide_at_start(
    context: Option<&Context>,
    layout: &Layout,
    asked: &Asked,
    words: Words<'_>,
    progress: &dyn Progress,
) -> GateDecision {
    let (decision, proof) = answer(look(context, layout, asked, words, progress));
    if let Some(proof) = proof {
        // In a container the directory cannot be written, and another command may be at work.
        remember::keep(layout, &proof).ok();
    }
    decision
}

fn answer(looked: Result<Found, Closed>) -> (GateDecision, Option<Proof>) {
    match looked {
        Ok(Found {
            summary,
            notes,
            proof,
        }) => (GateDecision::Open { summary, notes }, Some(proof)),
        Err(closed) => (GateDecision::Closed(closed), None),
    }
}

/// What is there, where that may start.
struct Found {
    summary: String,
    notes: Vec<Finding>,
    proof: Proof,
}

fn look(
    context: Option<&Context>,
    layout: &Layout,
    asked: &Asked,
    words: Words<'_>,
    progress: &dyn Progress,
) -> Result<Found, Closed> {
    // Its advice may be a sentence; `verify` says it in full.
    let unreadable = |failure: Failure| Closed::new(failure.message, words.command("verify"));
    if journal::is_pending(layout) {
        return Err(Closed::new(
            format!(
                "a command was interrupted while it moved files to or from {}",
                words.data_dir
            ),
            words.command("status"),
        ));
    }
    let material = checked::read_data_dir(layout).map_err(unreadable)?;
    if material.cluster_lock.is_none() && material.keystores.is_empty() {
        return Err(Closed::new(
            format!(
                "no completed ceremony{}: {} has no cluster lock",
                whose(&material),
                words.data_dir
            ),
            words.command("status"),
        ));
    }
    let proof = prove::look(context, layout, &material, progress)
        .map_err(|report| Closed::unproved(&report, words))?;
    let verified = &proof.verified;
    check_rehearsal(&verified.definition().name, asked.rehearsal, words)?;
    let why = closed::find(layout, &verified.lock_hash());
    let why = why.map_err(|error| Closed::new(error.to_string(), words.command("status")))?;
    if let Some(why) = why {
        return Err(closed_for_good(why, words));
    }
    if let Some(stage) = held::place(layout) {
        let operators = verified.cluster().operator_count();
        let held = held::says(&shown(layout, &stage, words), words.data_dir, operators);
        let standing = confirmation::standing(layout, verified, words);
        return Err(still_held(&held, standing.map_err(unreadable)?, words));
    }
    let how = match asked.require {
        Require::Verified => "verified",
        Require::Confirmed => {
            let standing = confirmation::standing(layout, verified, words);
            check_confirmation(standing.map_err(unreadable)?, words)?;
            "verified and confirmed"
        }
    };
    let notes = check_settings(layout, asked, verified.definition(), words)?;
    let summary = format!(
        "{how}: {} keystores, lock_hash {}",
        verified.keystore_count(),
        verified.lock_hash()
    );
    Ok(Found {
        summary,
        notes,
        proof,
    })
}

/// Closed, if the project is not set up for this cluster: charon would restart for ever, or validators run for another network.
/// Gives what is to know all the same.
fn check_settings(
    layout: &Layout,
    asked: &Asked,
    definition: &Definition,
    words: Words<'_>,
) -> Result<Vec<Finding>, Closed> {
    if asked.settings.is_empty() {
        return Ok(Vec::new());
    }
    let dotenv = ProjectFile::read(layout.project_dir(), DOTENV).ok();
    let dotenv = dotenv.as_ref().and_then(ProjectFile::bytes);
    let met = held::relays(layout);
    let found = settings::disagreements(&asked.settings, dotenv, definition, &met);
    let (wrong, notes): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|it| it.weight == Weight::Fail);
    let Some(first) = wrong.first() else {
        return Ok(notes);
    };
    let said = wrong.iter().map(report::finding_fact);
    Err(Closed {
        reason: format!(
            "this project is not set up for this cluster: {}",
            said.collect::<Vec<_>>().join("; ")
        ),
        next: format!(
            "{}; or, if the project's own files changed since, {}",
            first.advice,
            words.command("gate install")
        ),
        findings: wrong,
        files_at_fault: false,
    })
}

/// Closed, since an edit of the cluster ended the time of this lock.
fn closed_for_good(why: Why, words: Words<'_>) -> Closed {
    let (reason, next) = match why {
        Why::Stopped => (
            "this node has stated that it stopped for an edit of the cluster: with the old shares running beside the new ones, validators could be slashed",
            "edit status",
        ),
        Why::Switched => (
            "these are the shares from before an edit of the cluster, and this node has run with the new ones: starting the old ones could get validators slashed",
            "status",
        ),
        Why::Retired => (
            "this operator was removed from the cluster, and has stated not to run any more",
            "status",
        ),
        Why::Abandoned => (
            "this is what an edit of the cluster made that was given up here: the old cluster may be running",
            "status",
        ),
    };
    Closed::new(reason, words.command(next))
}

/// A place in the state directory as people know it: in a container, its own directories are not the machine's.
fn shown(layout: &Layout, place: &Path, words: Words<'_>) -> PathBuf {
    let beside = layout.state_dir().parent();
    match beside.and_then(|beside| place.strip_prefix(beside).ok()) {
        Some(relative) if !words.data_dir.starts_with('/') => relative.to_owned(),
        Some(_) | None => place.to_owned(),
    }
}

/// Whose node this is, as the others would say it, where key and definition tell.
fn whose(material: &Material) -> String {
    let tell = || {
        let key = EnrKey::parse(&material.enr_key.as_ref()?.bytes).ok()?;
        let file = material.definition.as_ref()?;
        let definition = Definition::parse(&file.bytes).ok()?.value;
        let node = definition.node_of(&key.public_key())?;
        Some(node.of(definition.operators.len()).to_string())
    };
    tell().map_or_else(String::new, |who| format!(" for {who}"))
}
