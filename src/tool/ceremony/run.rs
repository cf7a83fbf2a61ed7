//! `run`: guards, preflight, pin, stage, container, proof, promotion or hold. It can be killed at any
//! instant; the next `run` goes on from what the attempt's record, the container and the journal say.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp, ZonedDateTime};

use crate::ceremony::appointment;
use crate::ceremony::attempt::{Attempt, RECORD_FORMAT, Record, State};
use crate::ceremony::charon::{Charon, remove_container};
use crate::ceremony::facts::{self, Observed, Purpose, Typed, What};
use crate::ceremony::perform::{Ceremony, Done, NewCluster, mark_failed};
use crate::ceremony::plan::{self, CeremonyKind, Plan, Request};
use crate::ceremony::process::Process;
use crate::ceremony::{ready, resume, surroundings};
use crate::cli::{CeremonyArgs, RunArgs};
use crate::context::Context;
use crate::docker::{Engine, EngineError};
use crate::edit::take;
use crate::error::{Failure, Kind};
use crate::failures;
use crate::gate::installed;
use crate::machine;
use crate::machine::datadir::{self, Layout};
use crate::machine::guard::{self, Guard};
use crate::machine::projects;
use crate::machine::signals::{Interrupt, Urgency};
use crate::place;
use crate::promote::held;
use crate::report;
use charon_files::cluster::names::CLUSTER_LOCK_FILE;
use charon_proof::receipt::Receipt;

/// A ceremony as it was asked for.
pub(crate) struct Start<'a> {
    pub(crate) typed: Typed<'a>,
    pub(crate) at: Option<&'a str>,
    pub(crate) require_ready: bool,
    /// Whether a new cluster is held until all operators have confirmed, whatever the gate says.
    pub(crate) hold: bool,
}

impl<'a> From<&'a RunArgs> for Start<'a> {
    fn from(args: &'a RunArgs) -> Self {
        Self {
            typed: (&args.ceremony).into(),
            at: args.at.as_deref(),
            require_ready: args.require_ready,
            hold: args.ceremony.hold,
        }
    }
}

/// Runs the ceremony, or goes on with the one that is under way.
///
/// # Errors
/// Every kind of failure; see the README's table of exit codes.
pub(crate) async fn run(
    context: &Arc<Context>,
    layout: &Layout,
    args: &Start<'_>,
    interrupt: &mut Interrupt,
) -> Result<Done, Failure> {
    let at = match args.at {
        Some(text) => Some(
            appointment::parse(text, &ZonedDateTime::now())
                .map_err(|error| Failure::new(Kind::Usage, error))?,
        ),
        None => None,
    };
    let mut guards = match claim(layout) {
        Ok(guards) => guards,
        Err(failure) if failure.kind == Kind::Busy => return Err(failure),
        // What keeps this user from guarding the directory is one of several problems, mostly.
        Err(failure) => {
            let observed = look(context, layout, &args.typed, interrupt).await?;
            observed.settle(context).await;
            return Err(facts::plan(&observed).err().unwrap_or(failure));
        }
    };
    context.finish_interrupted(layout)?;
    facts::check_nothing_held(layout)?;
    if let Some((attempt, mut record)) = resume::unfinished(layout)? {
        record.hold |= args.hold;
        let what = &args.typed.what;
        let resumed = resume::resume(context, layout, what, &attempt, &record, interrupt).await?;
        match (resumed, &args.typed.what, &record.edit) {
            (Some(done), _, _) => return Ok(done),
            (None, What::Dkg(_), Some(command)) => {
                return Err(Failure::new(
                    Kind::CeremonyFailed,
                    "the edit that was under way came to nothing; the data directory is as before",
                )
                .hint(format!(
                    "once all operators are ready again: `charon-dkg {}`",
                    command.typed()
                )));
            }
            (None, What::Dkg(_), None) | (None, What::Edit(..), _) => {}
        }
    }
    if let What::Edit(..) = &args.typed.what {
        take::refuse_held(layout)?;
    }
    if let Some(at) = at {
        wait(context, layout, args, at, interrupt).await?;
    }
    start(context, layout, args, &mut guards, interrupt).await
}

/// Takes the guards of the key and of the directory. A directory that does not exist yet is not
/// guarded; the preflight will refuse it. No state directory is created: if the
/// preflight refuses, nothing was changed.
fn claim(layout: &Layout) -> Result<Vec<Guard>, Failure> {
    let mut guards = Vec::new();
    if let Ok(Some(key)) = facts::enr_key(layout) {
        let id = key.id().to_string();
        guards.push(guard::claim_enr_key(&id, layout).map_err(failures::guard)?);
    }
    if !layout.data_dir().is_dir() {
        return Ok(guards);
    }
    let alone = if layout.state_dir().symlink_metadata().is_ok() {
        None
    } else {
        guard::claim_data_directory_alone(layout).map_err(failures::guard)?
    };
    guards.push(match alone {
        Some(guard) => guard,
        // Not every file system locks directories.
        None => place::claim(layout)?,
    });
    Ok(guards)
}

/// Looks, pulls and asks whatever is to be asked now, and waits. Nothing is changed.
async fn wait(
    context: &Context,
    layout: &Layout,
    args: &Start<'_>,
    at: Timestamp,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    let mut observed = look(context, layout, &args.typed, interrupt).await?;
    let prepared = async {
        let plan = prepare(context, &mut observed, interrupt).await?;
        hold_to_group(
            context,
            layout,
            args,
            &observed,
            &plan,
            Moment::BeforeTheWait,
        )
        .await
    };
    let prepared = prepared.await;
    observed.settle(context).await;
    prepared?;
    until(context, at, interrupt).await
}

/// Waits until a time by this machine's clock, and says how long it still takes.
async fn until(context: &Context, at: Timestamp, interrupt: &mut Interrupt) -> Result<(), Failure> {
    let here = at.to_zoned_datetime(jiff::tz::TimeZone::system());
    let left = || at.duration_since(Timestamp::now());
    context.say(&format!(
        "everything is prepared; starting at {at} ({} here), in {}",
        here.strftime("%H:%M"),
        appointment::spoken(left())
    ));
    let block = context.block();
    let mut told = left().as_secs();
    loop {
        let left = left();
        if left <= SignedDuration::ZERO {
            return Ok(());
        }
        // A machine that slept, or whose clock was set, skips seconds.
        let now = left.as_secs();
        if let Some(block) = &block {
            block.show(&[format!(
                "starting in {}; Ctrl-C ends this and leaves nothing behind",
                appointment::spoken(left)
            )]);
        } else if (now..told).rev().any(appointment::is_worth_a_line) && now > 0 {
            context.say(&format!("starting in {}", appointment::spoken(left)));
        }
        told = now;
        let step = Duration::try_from(left)
            .unwrap_or_default()
            .min(Duration::from_secs(1));
        tokio::select! {
            () = tokio::time::sleep(step) => {}
            _ = interrupt.next() => return Err(stopped_early()),
        }
    }
}

/// When the group is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// `--at`: others may get ready in the meantime.
    BeforeTheWait,
    /// Nothing comes between this and the start.
    BeforeTheStart,
}

/// Says who of the group is not ready or differs, by the ready lines that are kept here, and asks whether to go on.
async fn hold_to_group(
    context: &Context,
    layout: &Layout,
    args: &Start<'_>,
    observed: &Observed,
    plan: &Plan,
    moment: Moment,
) -> Result<(), Failure> {
    let Some(group) = ready::group(layout, observed, plan, args.require_ready).await? else {
        return Ok(());
    };
    let summary = group.summary();
    if group.is_complete() {
        context.say(&summary);
        return Ok(());
    }
    let collect = format!(
        "`{} {} FILE` takes the lines of the others, from the whole chat",
        context.spelling,
        args.typed.ready_command()
    );
    let is_now = moment == Moment::BeforeTheStart;
    if args.require_ready && is_now {
        return Err(
            Failure::new(Kind::Refused, format!("{summary}; nothing was changed"))
                .with_findings(group.findings())
                .hint(collect),
        );
    }
    context.say(report::findings_text(&group.findings()).trim_end());
    context.say(&format!("{summary}; {collect}"));
    // Nobody need be there when the time has come: it was asked before the wait.
    let was_asked = args.at.is_some() && is_now;
    if args.require_ready || was_asked {
        return Ok(());
    }
    let question = match moment {
        Moment::BeforeTheWait => "not all operators are ready; wait, and then start anyway?",
        Moment::BeforeTheStart => "not all operators are ready; start anyway?",
    };
    if context.agree(question)? {
        return Ok(());
    }
    Err(Failure::new(Kind::Refused, format!("{summary}; nothing was changed")).hint(collect))
}

async fn start(
    context: &Arc<Context>,
    layout: &Layout,
    args: &Start<'_>,
    guards: &mut Vec<Guard>,
    interrupt: &mut Interrupt,
) -> Result<Done, Failure> {
    let mut observed = look(context, layout, &args.typed, interrupt).await?;
    let result = begin(context, layout, args, &mut observed, guards, interrupt).await;
    observed.settle(context).await;
    result
}

/// The plan, and the image here.
async fn prepare(
    context: &Context,
    observed: &mut Observed,
    interrupt: &mut Interrupt,
) -> Result<Plan, Failure> {
    let plan = facts::plan(observed)?;
    if plan.pull {
        return pull(context, observed, &plan, interrupt).await;
    }
    Ok(plan)
}

async fn begin(
    context: &Arc<Context>,
    layout: &Layout,
    args: &Start<'_>,
    observed: &mut Observed,
    guards: &mut Vec<Guard>,
    interrupt: &mut Interrupt,
) -> Result<Done, Failure> {
    let plan = prepare(context, observed, interrupt).await?;
    hold_to_group(
        context,
        layout,
        args,
        observed,
        &plan,
        Moment::BeforeTheStart,
    )
    .await?;
    let Some(found) = &observed.definition else {
        return Err(Failure::new(
            Kind::Unexpected,
            "a plan without a definition",
        ));
    };
    for note in &plan.notes {
        context.say(report::findings_text(std::slice::from_ref(note)).trim_end());
    }
    let is_guarded = |guard: &Guard| guard.path().starts_with(layout.state_dir());
    if !guards.iter().any(is_guarded) {
        datadir::create_state_dir(layout).map_err(failures::state_dir)?;
        guards.push(guard::claim_state_directory_alone(layout).map_err(failures::guard)?);
    }
    if let Some(engine) = &observed.engine {
        resume::remove_leftover(context, engine, layout, &plan.container.name).await?;
    }
    let mut record = record_of(&plan, &observed.request);
    let attempt = match &observed.request.kind {
        CeremonyKind::Dkg => {
            datadir::store_definition(layout, &found.bytes, &found.source)
                .map_err(failures::file)?;
            projects::remember(layout.project_dir());
            if args.hold {
                record.flags.push("--hold".to_owned());
            }
            record.hold = args.hold || installed::wants_confirmation(layout);
            Attempt::create(layout, |_| record)
        }
        CeremonyKind::Edit(_) => Attempt::create_edit(layout, |_| record, &found.bytes),
    };
    let attempt = attempt.map_err(failures::attempt)?;
    let record = attempt
        .advance(layout, State::Running)
        .map_err(failures::attempt)?;
    match &observed.request.kind {
        CeremonyKind::Dkg => context.say(&format!(
            "cluster definition {} ({})",
            plan.definition_hash, plan.definition_source
        )),
        CeremonyKind::Edit(command) => context.say(&format!(
            "{} of the cluster in {}; it goes on meanwhile",
            command.request.kind().command(),
            plan.definition_source
        )),
    }
    if let CeremonyKind::Edit(_) = &observed.request.kind {
        context.say(&format!(
            "attempt {}: charon {}, {} take part",
            attempt.number(),
            plan.charon_version,
            report::count(
                u64::try_from(plan.operators).unwrap_or(u64::MAX),
                "operator"
            ),
        ));
    } else {
        context.say(&format!(
            "attempt {}: charon {} as operator {} of {}, {}",
            attempt.number(),
            plan.charon_version,
            plan.node_index + 1,
            plan.operators,
            report::count(plan.validators, "validator"),
        ));
    }
    let charon = match &observed.engine {
        Some(engine) => {
            let id = start_container(context, layout, engine, &plan, &attempt).await?;
            let engine = engine.clone();
            // Nobody waits for this, and what it cannot do is done by the next run.
            tokio::spawn({
                let engine = engine.clone();
                async move { engine.sweep_short_runs().await }
            });
            Charon::Container {
                engine: Box::new(engine),
                id,
            }
        }
        None => Charon::Process(start_process(context, layout, &plan, &attempt)?),
    };
    let ceremony = Ceremony {
        context,
        layout,
        attempt: &attempt,
        record: &record,
        found,
    };
    ceremony.follow(&charon, interrupt).await
}

/// Looks at everything. A request to stop is acknowledged at once and obeyed when the
/// short-lived containers are gone again; a second request is obeyed at once.
async fn look(
    context: &Context,
    layout: &Layout,
    typed: &Typed<'_>,
    interrupt: &mut Interrupt,
) -> Result<Observed, Failure> {
    let looking = facts::observe(context, layout, typed, Purpose::Start);
    tokio::pin!(looking);
    let mut stopped = false;
    loop {
        tokio::select! {
            observed = &mut looking => {
                if !stopped {
                    return observed;
                }
                if let Ok(observed) = observed {
                    observed.settle(context).await;
                }
                return Err(stopped_early());
            }
            request = interrupt.next() => match request.urgency {
                Urgency::Orderly => {
                    stopped = true;
                    context.say("stopping; Ctrl-C once more stops at once");
                }
                Urgency::Now => return Err(stopped_early()),
            },
        }
    }
}

fn stopped_early() -> Failure {
    Failure::new(
        Kind::Interrupted,
        "stopped before the ceremony began; nothing was changed",
    )
}

fn record_of(plan: &Plan, request: &Request) -> Record {
    Record {
        format: RECORD_FORMAT,
        definition_hash: plan.definition_hash.clone(),
        enr_id: plan
            .container
            .labels
            .get(plan::LABEL_ENR_ID)
            .cloned()
            .unwrap_or_default(),
        charon_image: plan.container.image.clone(),
        charon_version: plan.charon_version.to_string(),
        container: plan.container.name.clone(),
        engine: plan.engine_address.clone(),
        started: machine::time_text(jiff::Timestamp::now()),
        flags: request.flags(),
        hold: false,
        edit: request.kind.edit().cloned(),
        state: State::Prepared,
    }
}

/// Starts charon's process. Where that failed, the attempt is over.
fn start_process(
    context: &Context,
    layout: &Layout,
    plan: &Plan,
    attempt: &Attempt,
) -> Result<Process, Failure> {
    Process::start(layout, plan, attempt).map_err(|error| {
        let failure = Failure::new(Kind::Unexpected, format!("charon was not started: {error}"))
            .hint("nothing was promoted; the data directory is as before");
        mark_failed(context, layout, attempt, &failure.message);
        failure
    })
}

/// Creates and starts the container. Where the engine said no, the attempt is over; where it fell
/// silent, the container may run, and the attempt stays open.
async fn start_container(
    context: &Context,
    layout: &Layout,
    engine: &Engine,
    plan: &Plan,
    attempt: &Attempt,
) -> Result<String, Failure> {
    let mut created = None;
    let started = async {
        let id = engine.create_container(&plan.container).await?;
        created = Some(id.clone());
        engine.start_container(&id).await.map(|()| id)
    };
    let error = match started.await {
        Ok(id) => return Ok(id),
        Err(error) => error,
    };
    if fell_silent(&error) {
        return Err(Failure::new(Kind::Unexpected, error.to_string()).hint(
            "whether charon was started is not known; nothing was promoted. `charon-dkg run` finds out and goes on",
        ));
    }
    let failure = if let EngineError::NameTaken { holder, .. } = &error {
        let other = surroundings::name_holder(holder);
        Failure::new(Kind::Busy, format!("{} {}", other.who, other.how)).hint(other.advice)
    } else if surroundings::is_about_network(&error) {
        Failure::new(Kind::Refused, error.to_string())
            .hint("`docker network ls` shows the networks; name one with --network, or none")
    } else if let EngineError::NoMountSource { .. } = &error {
        Failure::new(Kind::Refused, error.to_string()).hint(plan::ELSEWHERE_ADVICE)
    } else {
        Failure::new(Kind::Unexpected, format!("charon was not started: {error}"))
            .hint("nothing was promoted; the data directory is as before")
    };
    if mark_failed(context, layout, attempt, &failure.message)
        && let Some(id) = &created
    {
        remove_container(context, engine, id).await;
    }
    Err(failure)
}

/// Whether the engine may have done what it was asked for although it did not say so.
fn fell_silent(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::Died { .. } | EngineError::NoAnswer { .. } | EngineError::Nonsense { .. }
    )
}

/// Pulls by tag, and plans again with what was pulled: its digest and its own word on its version.
async fn pull(
    context: &Context,
    observed: &mut Observed,
    plan: &Plan,
    interrupt: &mut Interrupt,
) -> Result<Plan, Failure> {
    let Some(engine) = &observed.engine else {
        return Err(Failure::new(Kind::Unexpected, "a plan without an engine"));
    };
    let bar = context.task(&format!("pulling {}", plan.image_tag), 0);
    let pulling = engine.pull_image(&plan.image_tag, |progress| {
        bar.set_of(progress.downloaded, progress.total);
    });
    let pulled = tokio::select! {
        pulled = pulling => pulled,
        _ = interrupt.next() => return Err(stopped_early()),
    };
    let pulled = pulled.map_err(|error| {
        let advice = surroundings::image_advice(&error);
        Failure::new(Kind::Refused, error.to_string()).hint(advice)
    })?;
    drop(bar);
    let run_as = pulled.run_image(&plan.image_tag).reference().to_owned();
    let version_output = surroundings::version_inside(engine, &run_as).await;
    observed.facts.image = plan::ImageFact::Present {
        run_as,
        version_output,
    };
    facts::plan(observed)
}

#[derive(serde::Serialize)]
struct Document<'a> {
    schema: &'static str,
    attempt: u32,
    data_dir: String,
    report: &'a charon_proof::verify::Report,
    receipt: Option<String>,
    /// Where the files wait until all operators have confirmed; `null` if they are in the data directory.
    held: Option<String>,
}

/// Says what the ceremony gave, and what comes next.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn show(
    context: &Context,
    layout: &Layout,
    args: &CeremonyArgs,
    done: &NewCluster,
) -> Result<(), Failure> {
    let data_dir = layout.data_dir().display().to_string();
    let document = Document {
        schema: "charon-dkg.run/1",
        attempt: done.attempt,
        data_dir: data_dir.clone(),
        report: &done.report,
        receipt: done.receipt.as_ref().map(Receipt::to_string),
        held: done.held.as_ref().map(|stage| stage.display().to_string()),
    };
    let place = document.held.as_deref().unwrap_or(&data_dir);
    let mut text = crate::proof::verify::text(&done.report, place);
    if let Some(receipt) = &document.receipt {
        text.push_str(&format!("receipt:\n{receipt}\n"));
    }
    if !done.open.is_empty() {
        context.result_for_programs(&document)?;
        return Err(Failure::new(
            Kind::VerificationFailed,
            "every file of the ceremony is verified and in place, but others can access some of them",
        )
        .with_findings(done.open.clone())
        .hint("`charon-dkg repair`, then `charon-dkg verify` and `charon-dkg receipt`"));
    }
    context.result(&text, &document)?;
    context.say(
        "back up this directory now with `charon-dkg backup`, and paste the receipt into the group's chat",
    );
    let unpublished = match &done.not_published {
        Some(reason) => Some(format!("charon could not publish the lock: {reason}")),
        None => (!args.will_publish()).then(|| "nothing was published".to_owned()),
    };
    if let Some(unpublished) = unpublished {
        let when = if done.held.is_some() {
            "once all operators have confirmed, "
        } else {
            ""
        };
        // What charon's --publish sends, and where (charon `app/obolapi/publish.go`).
        context.say(&format!(
            "{unpublished}; if the launchpad is to show this cluster and nobody else has published it, {when}one operator \
             sends the lock, which holds no secret: `curl --fail --header 'Content-Type: application/json' \
             --data-binary @{} https://api.obol.tech/lock`",
            report::quoted(layout.data_dir().join(CLUSTER_LOCK_FILE))
        ));
    }
    match &done.held {
        Some(stage) => context.say(&format!(
            "{}: `charon-dkg confirm` with their receipts moves them",
            held::says(stage, &data_dir, done.report.counts.operators),
        )),
        None => {
            context
                .say("do not start the cluster until every operator has confirmed: `charon-dkg confirm` with their receipts");
        }
    }
    Ok(())
}
