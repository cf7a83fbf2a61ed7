//! Goes on with an attempt that an earlier command left unfinished.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::ceremony::attempt::{Attempt, Record};
use crate::ceremony::charon::{Charon, remove_container};
use crate::ceremony::definition_source::{self, FoundDefinition};
use crate::ceremony::edit::EditCommand;
use crate::ceremony::edited;
use crate::ceremony::facts::What;
use crate::ceremony::perform::{Ceremony, Done};
use crate::ceremony::plan::LABEL_ATTEMPT;
use crate::ceremony::process::Process;
use crate::ceremony::surroundings;
use crate::context::Context;
use crate::docker::endpoint::{Address, Endpoint, Source};
use crate::docker::{ContainerFacts, ContainerState, Engine};
use crate::error::{Failure, Kind};
use crate::failures;
use crate::machine::datadir::{self, Layout};
use crate::machine::read;
use crate::machine::signals::Interrupt;
use crate::report;
use charon_files::cluster::definition::Definition;
use charon_files::cluster::names::DEFINITION_FILE;

/// The last attempt, if it has not come to an end.
///
/// # Errors
/// When its record cannot be read.
pub(crate) fn unfinished(layout: &Layout) -> Result<Option<(Attempt, Record)>, Failure> {
    let Some(attempt) = Attempt::list(layout).map_err(failures::attempt)?.pop() else {
        return Ok(None);
    };
    let record = attempt.record().map_err(failures::attempt)?;
    Ok((!record.state.is_final()).then_some((attempt, record)))
}

/// Finds what an interrupted command left and finishes it; `None` if nothing came of it, so that a
/// new attempt can begin.
///
/// # Errors
/// Every kind of failure.
pub(crate) async fn resume(
    context: &Arc<Context>,
    layout: &Layout,
    what: &What<'_>,
    attempt: &Attempt,
    record: &Record,
    interrupt: &mut Interrupt,
) -> Result<Option<Done>, Failure> {
    let number = attempt.number();
    check_same_ceremony(context, layout, what, number, record).await?;
    let found = match &record.edit {
        None => kept_definition(layout, record)?,
        Some(command) => kept_lock(attempt, record, command)?,
    };
    let ceremony = Ceremony {
        context,
        layout,
        attempt,
        record,
        found: &found,
    };
    if record.is_process() {
        return resume_process(&ceremony, interrupt).await;
    }
    let engine = engine_of(context, number, record).await?;
    let container = engine
        .find_container(&record.container)
        .await
        .map_err(failures::engine)?;
    // Its container is gone if another directory's has the name by now.
    let Some(container) = container.filter(|container| is_of(container, attempt)) else {
        check_nobody_at_work(layout)?;
        context.say(&format!(
            "attempt {number} was left unfinished, and its container is gone"
        ));
        return over(
            context,
            attempt,
            ceremony.without_container(interrupt).await,
        );
    };
    let container = match container.state {
        ContainerState::Created => match withdraw(&ceremony, &engine, container).await? {
            Some(started) => started,
            None => return Ok(None),
        },
        ContainerState::Running
        | ContainerState::Paused
        | ContainerState::Restarting
        | ContainerState::Stopping
        | ContainerState::Removing
        | ContainerState::Exited
        | ContainerState::Dead
        | ContainerState::Unknown => container,
    };
    context.say(&format!(
        "attempt {number}: going on with container {} ({}), which runs as it was started",
        container.name,
        container.state.name()
    ));
    let may_run = container.state.may_run();
    let charon = Charon::Container {
        engine: Box::new(engine),
        id: container.id,
    };
    let result = ceremony.follow(&charon, interrupt).await;
    if may_run {
        return result.map(Some);
    }
    over(context, attempt, result)
}

/// Goes on with a process, or with what it left.
async fn resume_process(
    ceremony: &Ceremony<'_>,
    interrupt: &mut Interrupt,
) -> Result<Option<Done>, Failure> {
    let context = ceremony.context;
    let process = Process::of(ceremony.attempt);
    let number = ceremony.attempt.number();
    if !process.was_started() {
        let reason = "the command was interrupted before charon was started";
        context.say(&format!("attempt {number}: {reason}"));
        ceremony.mark_failed(reason);
        return Ok(None);
    }
    let runs = process.runs().map_err(|error| {
        Failure::new(
            Kind::Unexpected,
            format!("whether charon runs cannot be told: {error}"),
        )
    })?;
    let state = if runs { "running" } else { "ended" };
    context.say(&format!(
        "attempt {number}: going on with charon's process ({state}), which runs as it was started"
    ));
    let charon = Charon::Process(process);
    let result = ceremony.follow(&charon, interrupt).await;
    if runs {
        return result.map(Some);
    }
    over(context, ceremony.attempt, result)
}

/// An attempt that had failed before this command began: the operator has not asked for its end but
/// for a ceremony.
fn over(
    context: &Context,
    attempt: &Attempt,
    result: Result<Done, Failure>,
) -> Result<Option<Done>, Failure> {
    let number = attempt.number();
    let is_over = || attempt.record().is_ok_and(|record| record.state.is_final());
    match result {
        Err(failure) if failure.kind == Kind::CeremonyFailed && is_over() => {
            let findings = report::findings_text(&failure.findings);
            if !findings.is_empty() {
                context.say(findings.trim_end());
            }
            context.warn(&format!(
                "attempt {number} came to nothing: {}; a new one begins",
                report::clean(&failure.message)
            ));
            Ok(None)
        }
        result => result.map(Some),
    }
}

fn is_of(container: &ContainerFacts, attempt: &Attempt) -> bool {
    container.labels.get(LABEL_ATTEMPT).map(String::as_str)
        == Some(&*attempt.dir().display().to_string())
}

/// Takes back a container that was created and not started. It may just have been started after
/// all, if the command that did so died with its request under way; then it is given back.
async fn withdraw(
    ceremony: &Ceremony<'_>,
    engine: &Engine,
    container: ContainerFacts,
) -> Result<Option<ContainerFacts>, Failure> {
    if let Err(error) = engine.remove_container(&container.id).await {
        let again = engine
            .find_container(&container.name)
            .await
            .map_err(failures::engine)?;
        return match again {
            Some(again) if again.state != ContainerState::Created => Ok(Some(again)),
            Some(_) | None => Err(failures::engine(error)),
        };
    }
    let reason = "the command was interrupted before charon was started";
    ceremony
        .context
        .say(&format!("attempt {}: {reason}", ceremony.attempt.number()));
    ceremony.mark_failed(reason);
    Ok(None)
}

/// A definition or an edit that is named must be the one in progress. Plain `run` continues whatever is in progress.
async fn check_same_ceremony(
    context: &Context,
    layout: &Layout,
    what: &What<'_>,
    number: u32,
    record: &Record,
) -> Result<(), Failure> {
    let asked = match what {
        What::Edit(asked, _) if record.edit.as_ref() == Some(asked) => return Ok(()),
        What::Edit(asked, _) => {
            return Err(Failure::new(
                Kind::Refused,
                format!(
                    "attempt {number} is under way for `charon-dkg {}`, not for `charon-dkg {}`",
                    record.command(),
                    asked.typed()
                ),
            )
            .hint("`charon-dkg run` goes on with it, and Ctrl-C there stops it"));
        }
        What::Dkg(None) => return Ok(()),
        What::Dkg(Some(asked)) => *asked,
    };
    match definition_source::find(context, layout, Some(asked)).await {
        Ok(found) if found.definition_hash.to_string() != record.definition_hash => {
            Err(Failure::new(
                Kind::Refused,
                format!(
                    "attempt {number} is under way for the definition {}, and {asked} is {}",
                    record.definition_hash, found.definition_hash
                ),
            )
            .hint(
                "`charon-dkg run` without --definition goes on with it, and Ctrl-C there stops it",
            ))
        }
        // What cannot be read cannot be meant to replace it.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The engine that the attempt runs on, whatever docker's choice is by now.
async fn engine_of(context: &Context, number: u32, record: &Record) -> Result<Engine, Failure> {
    let unreachable = |reason: String| {
        Failure::new(
            Kind::Refused,
            format!(
                "attempt {number} is under way in container {} on the engine at {}, which cannot be asked: {reason}",
                record.container, record.engine
            ),
        )
        .hint("start that docker, then run this again: it goes on where it stopped")
    };
    let Some(path) = record.engine.strip_prefix("unix://") else {
        return Err(unreachable("it is no socket of this machine".to_owned()));
    };
    let chosen = context
        .endpoint()
        .map(|endpoint| endpoint.address.to_string());
    if chosen.is_ok_and(|chosen| chosen != record.engine) {
        context.say(&format!(
            "attempt {number} is under way on the engine at {}; that one is asked",
            record.engine
        ));
    }
    let endpoint = Endpoint {
        address: Address::Socket(PathBuf::from(path)),
        source: Source::Default,
    };
    Engine::connect(&endpoint)
        .await
        .map_err(|error| unreachable(error.to_string()))
}

/// A container that its engine no longer knows can still run, for instance when the engine lost its
/// records.
fn check_nobody_at_work(layout: &Layout) -> Result<(), Failure> {
    let others = surroundings::charon_processes(layout);
    if others.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Kind::Refused,
        "the engine no longer knows the container, but another process is using this key",
    )
    .with_findings(
        others
            .iter()
            .map(crate::ceremony::plan::other_user_finding)
            .collect(),
    ))
}

/// The definition of the attempt under way: the kept one, or the one beside the key if it is the
/// same.
fn kept_definition(layout: &Layout, record: &Record) -> Result<FoundDefinition, Failure> {
    let kept = datadir::stored_definition(layout).map_err(|error| error.to_string());
    let beside = read::read_in(
        layout.data_dir(),
        Path::new(DEFINITION_FILE),
        read::DEFINITION,
    );
    let candidates = [
        kept.ok()
            .flatten()
            .map(|(stored, bytes)| (stored.source, bytes)),
        beside.ok().map(|bytes| (DEFINITION_FILE.to_owned(), bytes)),
    ];
    candidates
        .into_iter()
        .flatten()
        .find_map(|(source, bytes)| {
            let definition = Definition::parse(&bytes).ok()?.value;
            let definition_hash = definition.definition_hash().ok()?;
            (definition_hash.to_string() == record.definition_hash).then(|| FoundDefinition {
                bytes,
                source,
                definition,
                definition_hash,
                findings: Vec::new(),
                has_contract_wallets: false,
            })
        })
        .ok_or_else(|| {
            Failure::new(
                Kind::Refused,
                format!(
                    "the definition {} of the ceremony under way is no longer here",
                    record.definition_hash
                ),
            )
            .hint(format!(
                "put the coordinator's file back as {}, then run this again",
                layout.data_dir().join(DEFINITION_FILE).display()
            ))
        })
}

/// The lock that the edit under way changes.
fn kept_lock(
    attempt: &Attempt,
    record: &Record,
    command: &EditCommand,
) -> Result<FoundDefinition, Failure> {
    let path = attempt.previous_lock();
    let gone = |reason: String| {
        Failure::new(
            Kind::Refused,
            format!("the cluster lock of the edit under way is no longer here: {reason}"),
        )
        .hint(format!(
            "put the lock from before the edit back as {}, then run this again",
            path.display()
        ))
    };
    let name = path.file_name().unwrap_or_default();
    let bytes = read::read_in(attempt.dir(), Path::new(name), read::CLUSTER_LOCK)
        .map_err(|error| gone(error.to_string()))?;
    let charon = record.charon_version.parse().ok();
    let source = path.display().to_string();
    let edited = edited::of(&bytes, source, command, charon.as_ref()).map_err(gone)?;
    Ok(edited.found)
}

/// Removes the ended container of an attempt of this directory that is over.
pub(crate) async fn remove_leftover(
    context: &Context,
    engine: &Engine,
    layout: &Layout,
    name: &str,
) -> Result<(), Failure> {
    let found = engine
        .find_container(name)
        .await
        .map_err(failures::engine)?;
    if let Some(leftover) = found
        && !leftover.state.may_run()
        && surroundings::belongs_here(&leftover, layout)
    {
        remove_container(context, engine, &leftover.id).await;
    }
    Ok(())
}
