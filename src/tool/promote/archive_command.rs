//! `archive`: moves the outputs of an old or failed ceremony aside; never the ENR key.

use serde::Serialize;

use crate::ceremony::attempt::{Attempt, State};
use crate::cli::ArchiveArgs;
use crate::context::{Context, block_on};
use crate::error::{Failure, Kind};
use crate::failures;
use crate::machine::datadir::{self, Layout};
use crate::machine::heartbeat::{self, Sign};
use crate::machine::processes::{self, Relation};
use crate::place;
use crate::promote::archive::{self, ArchiveResult, ArchiveScope};
use crate::promote::held;
use crate::report;
use charon_files::cluster::names::HEARTBEAT_FILE;
use charon_files::finding::{Finding, Weight};

#[derive(Default, Serialize)]
struct Document {
    schema: &'static str,
    archive: Option<String>,
    moved: Vec<String>,
    left: Vec<String>,
    /// Where the definition came from that `run` had kept and no longer uses.
    forgotten_definition: Option<String>,
    /// Where the files of a held ceremony stay that was given up.
    kept_held: Option<String>,
}

pub(crate) fn archive(context: &Context, args: &ArchiveArgs) -> Result<(), Failure> {
    let layout = context.layout()?;
    if !place::look(&layout)?.exists() {
        return Err(Failure::new(
            Kind::Refused,
            format!("{} does not exist", layout.data_dir().display()),
        )
        .hint("name the project directory with --dir"));
    }
    let scope = if args.with_definition {
        ArchiveScope::OutputsAndDefinition
    } else {
        ArchiveScope::Outputs
    };
    let mut guard = None;
    if layout.state_dir().is_dir() {
        guard = Some(place::claim(&layout)?);
        context.finish_interrupted(&layout)?;
        refuse_under_way(&layout)?;
    }
    let kept = match scope {
        ArchiveScope::Outputs => None,
        ArchiveScope::OutputsAndDefinition => datadir::stored_definition(&layout)
            .map_err(|error| Failure::new(Kind::Unexpected, error.to_string()))?
            .map(|(stored, _)| stored.source),
    };
    let names = archive::outputs(&layout, scope).map_err(failures::file)?;
    let mut document = Document {
        schema: "charon-dkg.archive/1",
        ..Document::default()
    };
    let held = held::find(&layout);
    refuse_on_chain(context, &layout)?;
    if let Some(attempt) = &held {
        give_up(context, &layout, attempt)?;
        document.kept_held = Some(attempt.stage().display().to_string());
    }
    if names.is_empty() && kept.is_none() && held.is_none() {
        return context.result("nothing to move aside\n", &document);
    }
    refuse_in_use(&layout)?;
    if !names.is_empty() {
        let question = format!(
            "Move {} aside? Validators that run with them stop at their next restart.",
            report::clean(&names.join(", "))
        );
        context.must_agree(&question)?;
    }
    if guard.is_none() {
        guard = Some(place::claim(&layout)?);
    }
    let mut text = String::new();
    if let Some(stage) = &document.kept_held {
        text.push_str(&format!(
            "the held ceremony is given up; its files stay in {stage} as evidence\n"
        ));
    }
    // The definition first: if interrupted after this, the command is simply run again.
    if let Some(source) = kept {
        datadir::forget_definition(&layout).map_err(failures::file)?;
        text.push_str(&format!(
            "the definition kept from {} is no longer used\n",
            report::clean(&source)
        ));
        document.forgotten_definition = Some(source);
    }
    let done =
        archive::archive(&layout, jiff::Timestamp::now(), scope).map_err(failures::journal)?;
    if let ArchiveResult::Archived(done) = done {
        text.push_str(&format!(
            "moved to {}: {}\n",
            done.dir.display(),
            report::clean(&done.names.join(", "))
        ));
        document.archive = Some(done.dir.display().to_string());
        document.moved = done.names;
        document.left = done.left;
    }
    drop(guard);
    context.result(&text, &document)
}

/// Gives a held ceremony up: its files never were in the data directory, and stay where they are.
fn give_up(context: &Context, layout: &Layout, attempt: &Attempt) -> Result<(), Failure> {
    let stage = attempt.stage();
    let question = format!(
        "Give up the keys that are held in {}? They stay there, and will not be moved to {} any more.",
        stage.display(),
        layout.data_dir().display()
    );
    context.must_agree(&question)?;
    let reason = "given up with `charon-dkg archive` before all operators had confirmed";
    let failed = State::Failed {
        reason: reason.to_owned(),
    };
    attempt.advance(layout, failed).map_err(failures::attempt)?;
    Ok(())
}

/// A ceremony whose command died goes on in its container, and its outputs are still to come.
pub(crate) fn refuse_under_way(layout: &Layout) -> Result<(), Failure> {
    let Some(attempt) = Attempt::list(layout).map_err(failures::attempt)?.pop() else {
        return Ok(());
    };
    let record = attempt.record().map_err(failures::attempt)?;
    if record.state.is_final() {
        return Ok(());
    }
    Err(Failure::new(
        Kind::Refused,
        format!(
            "attempt {} is under way in {}; nothing was changed",
            attempt.number(),
            record.place()
        ),
    )
    .hint("`charon-dkg run` follows it to its end"))
}

/// Keys that have duties or money, or are about to, are not given up by mistake.
fn refuse_on_chain(context: &Context, layout: &Layout) -> Result<(), Failure> {
    let findings = block_on(async { Ok(context.findings_of_present_keys(layout).await) })?;
    if findings.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Kind::Refused,
        "these keys are in use on the chain, or that could not be ruled out; nothing was changed",
    )
    .with_findings(findings))
}

/// Files are not taken from under a running charon.
fn refuse_in_use(layout: &Layout) -> Result<(), Failure> {
    let in_use = |subject: String, seen: String, advice: String| Finding {
        check: "already-in-use",
        weight: Weight::Fail,
        subject,
        seen,
        expected: "no other command at work here".to_owned(),
        advice,
    };
    let mut findings: Vec<Finding> = processes::find_charon(layout.data_dir())
        .into_iter()
        .filter(|process| process.relation == Relation::SameDirectory)
        .map(|process| {
            let user = process.user.unwrap_or_else(|| "an unknown user".to_owned());
            in_use(
                format!("process {} of {user}", process.pid),
                format!(
                    "runs `charon {}` on this data directory",
                    process.command.name()
                ),
                "stop it, or its container, first".to_owned(),
            )
        })
        .collect();
    // One that cannot be read is no sign of life, and is moved aside with the rest.
    if let Ok(Some(heartbeat)) = heartbeat::read_heartbeat(layout.data_dir())
        && heartbeat.sign(jiff::Timestamp::now(), None) == Sign::Alive
    {
        findings.push(in_use(
            format!("{}, charon's heartbeat", HEARTBEAT_FILE),
            format!(
                "`{}` wrote it at {}",
                heartbeat.command, heartbeat.timestamp
            ),
            "stop the charon that uses this key, wait ten seconds, and try again".to_owned(),
        ));
    }
    if findings.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Kind::Refused,
        "charon is at work on this data directory; nothing was changed",
    )
    .with_findings(findings))
}
