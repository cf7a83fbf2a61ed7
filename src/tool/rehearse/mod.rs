//! `rehearse`: a whole ceremony on this machine with throw-away keys. Every operator is a real `run` of
//! this program in a directory of its own; only charon may be played by the simulator.

mod ceremony;
mod charon_image;
mod edit;
mod gates;
mod leftovers;
mod rehearsal;
mod report;
mod scenario;
mod trial;
mod whole;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use ceremony::{Ceremony, Size};
use charon_image::CharonImage;
use gates::{Gates, Shown};
use rehearsal::{NAME, Rehearsal, io};
use report::Document;
use trial::Trial;
use whole::Line;

use crate::ceremony::surroundings;
use crate::cli::RehearseArgs;
use crate::context::Context;
use crate::docker::endpoint::Endpoint;
use crate::docker::{Engine, EngineError, Mode};
use crate::error::{Failure, Kind};
use crate::failures;
use crate::machine::signals::Interrupt;

pub(crate) async fn rehearse(context: &Context, args: &RehearseArgs) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen().map_err(failures::signals)?;
    check_size(args)?;
    let endpoint = context
        .endpoint()
        .map_err(|error| Failure::new(Kind::Refused, error.to_string()))?;
    // If it is stopped here, it has made only images, which stay for the next time.
    let (engine, mode, charon, gates) = tokio::select! {
        ready = prepare(context, &endpoint, args) => ready?,
        _ = interrupt.next() => return Err(stopped()),
    };

    let base = tempfile::Builder::new()
        .prefix(NAME)
        .tempdir()
        .map_err(io("make a temporary directory"))?;
    // Operators of other user ids must be able to pass through it.
    std::fs::set_permissions(base.path(), std::fs::Permissions::from_mode(0o755))
        .map_err(io("open up the temporary directory"))?;
    // Compose, docker and we name a directory by its real path.
    let real = std::fs::canonicalize(base.path()).map_err(io("find the temporary directory"))?;
    let pace = Duration::from_secs(args.pace);
    let rehearsal = Rehearsal::new(context, &engine, mode, &charon, &real, pace);
    let running = leftovers::Running::note(&real, &rehearsal.name)?;
    let parent = real.parent().unwrap_or(Path::new("/tmp"));
    leftovers::offer(&rehearsal, leftovers::find(parent)).await?;
    let outcome = tokio::select! {
        outcome = play(&rehearsal, &gates, args) => outcome,
        _ = interrupt.next() => Err(stopped()),
    };
    context.say("removing containers and networks");
    rehearsal.clear().await;
    let (lines, trials) = outcome?;
    let shown = match &gates {
        Ok(gates) => gates.shown(),
        Err(reason) => Shown::No {
            not_shown: reason.clone(),
        },
    };
    let mut document = Document::of(&charon, lines, shown, trials);
    if args.keep || !document.passed {
        document.directory = Some(base.keep().display().to_string());
        running.forget();
    }
    let judged = document.judge(args.without_gate);
    context.result(&document.text(&judged), &document)?;
    judged
}

fn stopped() -> Failure {
    Failure::new(Kind::Interrupted, "the rehearsal was stopped")
}

/// What has to be there before anything is made.
async fn prepare(
    context: &Context,
    endpoint: &Endpoint,
    args: &RehearseArgs,
) -> Result<(Engine, Mode, CharonImage, Result<Gates, String>), Failure> {
    let engine = Engine::connect(endpoint).await.map_err(|error| {
        let failure = Failure::new(Kind::Refused, error.to_string()).hint(surroundings::engine_advice(&error));
        if let EngineError::NoSocket { .. } = error {
            return failure.hint(
                "a rehearsal needs a docker engine on this machine: `./install.sh --with-docker` installs one",
            );
        }
        failure
    })?;
    let mode = engine.facts().await.map_err(failures::engine)?.mode;
    let charon = CharonImage::choose(context, &engine, args.engine).await?;
    let gates = gates(context, &engine, &charon, args).await;
    Ok((engine, mode, charon, gates))
}

async fn gates(
    context: &Context,
    engine: &Engine,
    charon: &CharonImage,
    args: &RehearseArgs,
) -> Result<Gates, String> {
    if args.without_gate {
        return Err("left out by --without-gate".to_owned());
    }
    if !args.scenario.is_empty() || !args.edit.is_empty() {
        return Err("a scenario shows what it is about".to_owned());
    }
    let gates = Gates::find(context, engine, charon, &args.compose).await;
    if let Err(reason) = &gates {
        context.warn(&format!(
            "the gate cannot be rehearsed here, only the ceremony: {reason}"
        ));
    }
    gates
}

async fn play(
    rehearsal: &Rehearsal<'_>,
    gates: &Result<Gates, String>,
    args: &RehearseArgs,
) -> Result<(Vec<Line>, Vec<Trial>), Failure> {
    if !args.scenario.is_empty() || !args.edit.is_empty() {
        let trials = scenario::play(rehearsal, args).await?;
        return Ok((Vec::new(), trials));
    }
    let size = Size {
        operators: args.operators.unwrap_or(4),
        validators: args.validators.unwrap_or(2),
    };
    rehearsal.context.say(&format!(
        "{} operators, {} validators, charon {}{}",
        size.operators,
        size.validators,
        rehearsal.charon.release,
        if rehearsal.charon.simulated {
            " (simulated)"
        } else {
            ""
        }
    ));
    let ceremony = Ceremony::prepare(rehearsal, "", size, None).await?;
    Ok((whole::play(&ceremony, gates).await?, Vec::new()))
}

fn check_size(args: &RehearseArgs) -> Result<(), Failure> {
    let operators = args.operators.is_none_or(|it| (3..=30).contains(&it));
    let validators = args.validators.is_none_or(|it| (1..=500).contains(&it));
    if operators && validators {
        return Ok(());
    }
    let shown = |number: Option<u16>, usual: u16| number.unwrap_or(usual);
    Err(Failure::new(
        Kind::Usage,
        format!(
            "{} operators and {} validators, expected 3 to 30 and 1 to 500",
            shown(args.operators, 4),
            shown(args.validators, 2)
        ),
    ))
}
