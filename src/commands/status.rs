//! `status`: where this directory stands, and the one safe next command.

use serde::Serialize;

use super::{Context, failures, observe};
use crate::error::Failure;
use crate::host::attempt::{Attempt, State};
use crate::host::datadir;
use crate::host::journal;
use crate::plan::{DEFINITION_FILE, LOCK_FILE};

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    data_dir: String,
    stage: &'static str,
    enr_id: Option<String>,
    attempts: Vec<AttemptLine>,
    says: String,
    next: String,
}

#[derive(Serialize)]
struct AttemptLine {
    number: u32,
    started: String,
    charon: String,
    state: &'static str,
    reason: Option<String>,
}

pub(super) async fn show(context: &Context) -> Result<(), Failure> {
    let layout = context.layout()?;
    let facts = datadir::observe(&layout).map_err(failures::file)?;
    let key = observe::enr_key(&layout);
    let mut attempts = Vec::new();
    let mut under_way = None;
    for attempt in Attempt::list(&layout).map_err(failures::attempt)? {
        let record = attempt.record().map_err(failures::attempt)?;
        if !record.state.is_final() {
            under_way = Some(record.container.clone());
        }
        attempts.push(AttemptLine {
            number: attempt.number(),
            started: record.started,
            charon: record.charon_version,
            state: record.state.name(),
            reason: match record.state {
                State::Failed { reason } => Some(reason),
                State::Prepared | State::Running | State::CharonDone { .. } | State::Promoted => {
                    None
                }
            },
        });
    }
    let me = &context.spelling;
    let has_definition = facts.entry(DEFINITION_FILE).is_some()
        || matches!(datadir::stored_definition(&layout), Ok(Some(_)));
    let has_outputs = facts.entry(LOCK_FILE).is_some() || facts.entry("validator_keys").is_some();
    let (stage, says, next) = if journal::is_pending(&layout) {
        (
            "interrupted",
            "a command was cut short while it moved files; the next one finishes or undoes that"
                .to_owned(),
            format!("{me} run"),
        )
    } else if let Some(container) = under_way {
        (
            "under-way",
            format!("a ceremony is under way in container {container}"),
            format!("{me} run"),
        )
    } else if let Err(reason) = &key {
        (
            "key-unusable",
            reason.clone(),
            "restore the ENR key from your backup".to_owned(),
        )
    } else if has_outputs {
        (
            "outputs",
            "the data directory holds the outputs of a ceremony".to_owned(),
            format!("{me} verify"),
        )
    } else if matches!(key, Ok(None)) {
        (
            "no-key",
            "there is no ENR key yet".to_owned(),
            format!("{me} enr"),
        )
    } else if has_definition {
        (
            "ready",
            "ENR key and cluster definition are here, and no outputs".to_owned(),
            format!("{me} plan"),
        )
    } else {
        (
            "no-definition",
            "there is an ENR key, and no cluster definition".to_owned(),
            format!("{me} run --definition FILE|URL"),
        )
    };
    let mut text = format!("{}\n", layout.data_dir().display());
    for attempt in &attempts {
        text.push_str(&format!(
            "    attempt {} of {}: charon {}, {}{}\n",
            attempt.number,
            attempt.started,
            attempt.charon,
            attempt.state,
            attempt
                .reason
                .as_deref()
                .map_or_else(String::new, |reason| format!(": {reason}")),
        ));
    }
    text.push_str(&format!("{says}\nnext: {next}\n"));
    let document = Document {
        schema: "charon-dkg.status/1",
        data_dir: layout.data_dir().display().to_string(),
        stage,
        enr_id: key.ok().flatten().map(|key| key.id().to_string()),
        attempts,
        says,
        next,
    };
    context.result(&text, &document)
}
