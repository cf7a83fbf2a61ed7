//! `run`: guards, preflight, pin, stage, container, proof, promotion. It can be killed at any
//! instant; the next `run` goes on from what the attempt's record, the container and the journal say.

use std::io::Write as _;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::definition_source::FoundDefinition;
use super::observe::{self, Observed};
use super::{Context, checked, failures, receipt, watch::Watch};
use crate::charon_log::{ClusterSize, End};
use crate::cli::CeremonyArgs;
use crate::cluster::definition::Definition;
use crate::cluster::version::CharonVersion;
use crate::error::{Failure, Kind};
use crate::host::attempt::{Attempt, RECORD_FORMAT, Record, State};
use crate::host::datadir::{self, Layout};
use crate::host::docker::{ContainerFacts, ContainerState, Engine, EngineError, Exit};
use crate::host::guard::{self, Guard};
use crate::host::journal;
use crate::host::signals::{Interrupt, StopSource, Urgency};
use crate::plan::{self, LABEL_ATTEMPT, Plan};
use crate::receipt::Receipt;
use crate::verify::{Expectations, Report, Verified};

/// charon from v1.9 on waits up to five seconds (`--shutdown-delay`) for its peers.
const STOP_GRACE: Duration = Duration::from_secs(15);

/// What a finished ceremony leaves.
pub(super) struct Done {
    pub(super) attempt: u32,
    pub(super) report: Report,
    /// What to paste into the group's chat; `None` if it could not be made, which was said.
    pub(super) receipt: Option<Receipt>,
}

/// Runs the ceremony, or goes on with the one that is under way.
///
/// # Errors
/// Every kind of failure; see the README's table of exit codes.
pub(super) async fn run(
    context: &Context,
    layout: &Layout,
    args: &CeremonyArgs,
    interrupt: &mut Interrupt,
) -> Result<Done, Failure> {
    let _guards = claim(layout)?;
    if let Some(recovery) = journal::recover(layout).map_err(failures::journal)? {
        context.recovered(&recovery);
    }
    if let Some((attempt, record)) = unfinished(layout)?
        && let Some(done) = go_on(context, layout, &attempt, &record, interrupt).await?
    {
        return Ok(done);
    }
    start(context, layout, args, interrupt).await
}

/// Takes the guards of the key and of the directory. A directory that does not exist yet is not
/// guarded; the preflight will refuse it.
fn claim(layout: &Layout) -> Result<Vec<Guard>, Failure> {
    let mut guards = Vec::new();
    if let Ok(Some(key)) = observe::enr_key(layout) {
        let id = key.id().to_string();
        guards.push(guard::claim_enr_key(&id, layout).map_err(failures::guard)?);
    }
    if layout.data_dir().is_dir() {
        datadir::create_state_dir(layout).map_err(failures::state_dir)?;
        guards.push(guard::claim_directory(layout).map_err(failures::guard)?);
    }
    Ok(guards)
}

/// The last attempt, if it has not come to an end.
fn unfinished(layout: &Layout) -> Result<Option<(Attempt, Record)>, Failure> {
    let Some(attempt) = Attempt::list(layout).map_err(failures::attempt)?.pop() else {
        return Ok(None);
    };
    let record = attempt.record().map_err(failures::attempt)?;
    Ok((!record.state.is_final()).then_some((attempt, record)))
}

async fn start(
    context: &Context,
    layout: &Layout,
    args: &CeremonyArgs,
    interrupt: &mut Interrupt,
) -> Result<Done, Failure> {
    let mut observed = observe::observe(context, layout, args).await?;
    let mut plan = observe::plan(&observed)?;
    if plan.pull {
        plan = pull(context, &mut observed, &plan).await?;
    }
    let (Some(engine), Some(found)) = (&observed.engine, &observed.definition) else {
        return Err(Failure::new(
            Kind::Unexpected,
            "a plan without engine or definition",
        ));
    };
    for note in &plan.notes {
        context.say(crate::report::findings_text(std::slice::from_ref(note)).trim_end());
    }
    remove_leftover(engine, layout, &plan).await?;
    datadir::store_definition(layout, &found.bytes, &found.source).map_err(failures::file)?;
    let attempt = Attempt::create(layout, |_| record_of(&plan)).map_err(failures::attempt)?;
    attempt
        .advance(layout, State::Running)
        .map_err(failures::attempt)?;
    context.say(&format!(
        "attempt {}: charon {} as operator {} of {}, {}",
        attempt.number(),
        plan.charon_version,
        plan.node_index + 1,
        plan.operators,
        crate::report::count(plan.validators, "validator"),
    ));
    let started = async {
        let id = engine.create_container(&plan.container).await?;
        engine.start_container(&id).await.map(|()| id)
    };
    let id = match started.await {
        Ok(id) => id,
        Err(error) => {
            let failure = start_failure(error);
            give_up(context, layout, engine, &attempt, None, &failure.message).await;
            return Err(failure);
        }
    };
    let ceremony = Ceremony {
        context,
        layout,
        attempt: &attempt,
        found,
        pinned: plan.charon_version.parse().ok(),
    };
    ceremony.follow(engine, &id, interrupt).await
}

fn record_of(plan: &Plan) -> Record {
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
        charon_version: plan.charon_version.clone(),
        container: plan.container.name.clone(),
        started: jiff::Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string(),
        state: State::Prepared,
    }
}

fn start_failure(error: EngineError) -> Failure {
    let kind = match &error {
        EngineError::NameTaken { .. } => Kind::Busy,
        EngineError::NoSuchNetwork { .. } | EngineError::NoMountSource { .. } => Kind::Refused,
        EngineError::Remote { .. }
        | EngineError::NoSocket { .. }
        | EngineError::NotASocket { .. }
        | EngineError::PermissionDenied { .. }
        | EngineError::NotListening { .. }
        | EngineError::Unreachable { .. }
        | EngineError::NoAnswer { .. }
        | EngineError::Died { .. }
        | EngineError::Failed { .. }
        | EngineError::Nonsense { .. }
        | EngineError::NoSuchContainer { .. }
        | EngineError::NoSuchImage { .. }
        | EngineError::NeverStarted { .. }
        | EngineError::PullFailed { .. }
        | EngineError::TooSlow { .. }
        | EngineError::LeftBehind { .. } => Kind::Unexpected,
    };
    Failure::new(kind, error.to_string())
        .hint("nothing was promoted; the data directory is as before")
}

/// Pulls by tag, and plans again with what was pulled: its digest and its own word on its version.
async fn pull(context: &Context, observed: &mut Observed, plan: &Plan) -> Result<Plan, Failure> {
    let Some(engine) = &observed.engine else {
        return Err(Failure::new(Kind::Unexpected, "a plan without an engine"));
    };
    let bar = context.task(&format!("pulling {}", plan.image_tag), 0);
    let pulled = engine
        .pull_image(&plan.image_tag, |progress| {
            bar.set_of(progress.downloaded, progress.total)
        })
        .await
        .map_err(|error| {
            Failure::new(Kind::Refused, error.to_string())
                .hint("check this machine's network, or name a mirror with --image")
        })?;
    drop(bar);
    let run_as = pulled.run_image(&plan.image_tag).reference().to_owned();
    let version_output = observe::version_inside(engine, &run_as).await;
    observed.facts.image = plan::ImageFact::Present {
        run_as,
        version_output,
    };
    observe::plan(observed)
}

/// An ended container of an attempt that is over may still have the name; one of another directory
/// is somebody's evidence.
async fn remove_leftover(engine: &Engine, layout: &Layout, plan: &Plan) -> Result<(), Failure> {
    let found = engine
        .find_container(&plan.container.name)
        .await
        .map_err(failures::engine)?;
    let Some(leftover) = found else {
        return Ok(());
    };
    if leftover.state.may_run() {
        return Err(busy(&leftover));
    }
    if !belongs_here(&leftover, layout) {
        return Err(busy(&leftover));
    }
    engine
        .remove_container(&leftover.id)
        .await
        .map_err(failures::engine)
}

fn belongs_here(container: &ContainerFacts, layout: &Layout) -> bool {
    container
        .labels
        .get(LABEL_ATTEMPT)
        .is_some_and(|attempt| std::path::Path::new(attempt).starts_with(layout.state_dir()))
}

fn busy(container: &ContainerFacts) -> Failure {
    let place = container
        .labels
        .get(LABEL_ATTEMPT)
        .map_or("an unknown directory", String::as_str);
    Failure::new(
        Kind::Busy,
        format!(
            "container {} ({}) already runs a ceremony with this ENR key, for {place}",
            container.name,
            container.state.name()
        ),
    )
    .hint("go on with that ceremony from its own directory; one ENR key is never used twice")
}

/// Finds what an interrupted command left, and finishes it if it can be finished.
async fn go_on(
    context: &Context,
    layout: &Layout,
    attempt: &Attempt,
    record: &Record,
    interrupt: &mut Interrupt,
) -> Result<Option<Done>, Failure> {
    let on_disk = datadir::observe(layout).map_err(failures::file)?;
    let (engine, fact) = observe::engine(context, &on_disk).await;
    let Some(engine) = engine else {
        return Err(Failure::new(
            Kind::Refused,
            format!(
                "attempt {} is under way in container {}, and its engine cannot be asked: {fact:?}",
                attempt.number(),
                record.container
            ),
        )
        .hint("start docker, then run this again: it goes on where it stopped"));
    };
    let found = kept_definition(layout)?;
    let ceremony = Ceremony {
        context,
        layout,
        attempt,
        found: &found,
        pinned: record.charon_version.parse().ok(),
    };
    let container = engine
        .find_container(&record.container)
        .await
        .map_err(failures::engine)?;
    let Some(container) = container else {
        context.say(&format!(
            "attempt {}: its container is gone",
            attempt.number()
        ));
        return ceremony.without_container().await;
    };
    if container.labels.get(LABEL_ATTEMPT).map(String::as_str)
        != Some(&*attempt.dir().display().to_string())
    {
        return Err(busy(&container));
    }
    if container.state == ContainerState::Created {
        let reason = "the command was interrupted before charon was started";
        give_up(
            context,
            layout,
            &engine,
            attempt,
            Some(&container.id),
            reason,
        )
        .await;
        return Ok(None);
    }
    context.say(&format!(
        "attempt {}: going on with container {} ({})",
        attempt.number(),
        container.name,
        container.state.name()
    ));
    let result = ceremony.follow(&engine, &container.id, interrupt).await;
    match result {
        // It had failed before this command began, so the operator has not asked for its end but
        // for a ceremony.
        Err(failure) if failure.kind == Kind::CeremonyFailed && !container.state.may_run() => {
            context.say(&crate::report::failure_text(&failure));
            context.say("starting a new attempt");
            Ok(None)
        }
        result => result.map(Some),
    }
}

fn kept_definition(layout: &Layout) -> Result<FoundDefinition, Failure> {
    let lost = |reason: String| {
        Failure::new(
            Kind::Unexpected,
            format!("the definition of the ceremony under way: {reason}"),
        )
    };
    let kept = datadir::stored_definition(layout).map_err(|error| lost(error.to_string()))?;
    let (stored, bytes) = kept.ok_or_else(|| lost("it is not kept here".to_owned()))?;
    let parsed = Definition::parse(&bytes).map_err(|error| lost(error.to_string()))?;
    let definition_hash = parsed
        .value
        .definition_hash()
        .map_err(|error| lost(error.to_string()))?;
    Ok(FoundDefinition {
        bytes,
        source: stored.source,
        definition: parsed.value,
        definition_hash,
        findings: Vec::new(),
    })
}

/// Marks an attempt as over and removes its container; what cannot be done is said, not hidden.
async fn give_up(
    context: &Context,
    layout: &Layout,
    engine: &Engine,
    attempt: &Attempt,
    container: Option<&str>,
    reason: &str,
) {
    if let Some(id) = container
        && let Err(error) = engine.remove_container(id).await
    {
        context.say(&format!("the ended container stays behind: {error}"));
    }
    let failed = State::Failed {
        reason: reason.to_owned(),
    };
    if let Err(error) = attempt.advance(layout, failed) {
        context.say(&format!(
            "attempt {} could not be marked as failed: {error}",
            attempt.number()
        ));
    }
}

/// One attempt, followed to its end.
struct Ceremony<'a> {
    context: &'a Context,
    layout: &'a Layout,
    attempt: &'a Attempt,
    found: &'a FoundDefinition,
    pinned: Option<CharonVersion>,
}

/// How following a container ended.
enum Followed {
    Ended { exit: Exit, stopped: bool },
    LeftRunning,
}

impl Ceremony<'_> {
    fn size(&self) -> ClusterSize {
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        ClusterSize {
            operators: self.found.definition.operators.len(),
            threshold: count(self.found.definition.threshold),
            validators: count(self.found.definition.num_validators),
        }
    }

    async fn follow(
        &self,
        engine: &Engine,
        id: &str,
        interrupt: &mut Interrupt,
    ) -> Result<Done, Failure> {
        let mut watch = Watch::new(
            self.context,
            &self.found.definition,
            self.size(),
            self.pinned.as_ref(),
        );
        let (exit, stopped) = match self.until_exit(engine, id, interrupt, &mut watch).await? {
            Followed::Ended { exit, stopped } => (exit, stopped),
            Followed::LeftRunning => {
                return Err(Failure::new(
                    Kind::Interrupted,
                    format!(
                        "the ceremony goes on in container {}",
                        id.get(..12).unwrap_or(id)
                    ),
                )
                .hint(format!(
                    "`{} run` follows it again and finishes it",
                    self.context.spelling
                )));
            }
        };
        self.attempt
            .advance(self.layout, State::CharonDone { exit: exit.code })
            .map_err(failures::attempt)?;
        let end = End {
            exit_code: Some(exit.code),
            oom_killed: exit.oom_killed,
            stopped,
        };
        let result = self.finish(&watch, end, &exit);
        let over = match &result {
            Ok(_) => None,
            Err(failure) => Some(failure.message.clone()),
        };
        match over {
            None => {
                if let Err(error) = engine.remove_container(id).await {
                    self.context
                        .say(&format!("the ended container stays behind: {error}"));
                }
            }
            Some(reason) => {
                give_up(
                    self.context,
                    self.layout,
                    engine,
                    self.attempt,
                    Some(id),
                    &reason,
                )
                .await;
            }
        }
        result
    }

    /// Copies the container's output into the attempt's log and onto the screen until it ends.
    async fn until_exit(
        &self,
        engine: &Engine,
        id: &str,
        interrupt: &mut Interrupt,
        watch: &mut Watch<'_>,
    ) -> Result<Followed, Failure> {
        let log_failed = |error: std::io::Error| {
            Failure::new(
                Kind::Unexpected,
                format!(
                    "cannot write {}: {error}",
                    self.attempt.log_path().display()
                ),
            )
        };
        let mut log = self
            .attempt
            .open_log(self.layout)
            .map_err(failures::attempt)?;
        // The engine gives the output from its first line: what an earlier command already wrote
        // is not written again.
        let mut written = log.metadata().map_err(log_failed)?.len();
        let mut lines = engine.follow_logs(id);
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let begin = Instant::now();
        let mut stopped = false;
        loop {
            tokio::select! {
                line = lines.next() => match line {
                    Some(Ok(line)) => {
                        let text = line.text + if line.complete { "\n" } else { "" };
                        let skip = text.len().min(usize::try_from(written).unwrap_or(usize::MAX));
                        written -= u64::try_from(skip).unwrap_or(written);
                        log.write_all(text.as_bytes().get(skip..).unwrap_or_default())
                            .map_err(log_failed)?;
                        watch.push(text.as_bytes(), begin.elapsed());
                    }
                    Some(Err(error)) => return Err(engine_lost(self.context, error)),
                    None => break,
                },
                _ = tick.tick() => watch.tick(begin.elapsed(), &self.attempt.stage()),
                request = interrupt.next() => match (request.source, request.urgency) {
                    // The terminal went away, not the operator's wish.
                    (StopSource::Hangup, Urgency::Orderly) => return Ok(Followed::LeftRunning),
                    (
                        StopSource::Interrupt | StopSource::Terminate | StopSource::PluginSocket,
                        Urgency::Orderly,
                    ) => {
                        stopped = true;
                        self.context.say("stopping charon; Ctrl-C once more kills it");
                        let (engine, id) = (engine.clone(), id.to_owned());
                        // It must not hold up the log, which has charon's last words.
                        tokio::spawn(async move { engine.stop_container(&id, STOP_GRACE).await });
                    }
                    (_, Urgency::Now) => {
                        engine.kill_container(id).await.map_err(failures::engine)?;
                    }
                },
            }
        }
        log.sync_all().map_err(log_failed)?;
        watch.finish(begin.elapsed());
        let exit = engine
            .wait_exit(id)
            .await
            .map_err(|error| engine_lost(self.context, error))?;
        Ok(Followed::Ended { exit, stopped })
    }

    /// Proves what charon left and promotes it, or says why the ceremony failed.
    ///
    /// charon writes its files before it waits for its peers a last time, so the files can be whole
    /// though charon failed or was stopped. Then the others have theirs too, and this node's count.
    fn finish(&self, watch: &Watch<'_>, end: End, exit: &Exit) -> Result<Done, Failure> {
        self.attempt
            .clear_placeholders(self.layout)
            .map_err(failures::attempt)?;
        let complete = self.attempt.stage().join(crate::plan::LOCK_FILE).is_file();
        if complete && (exit.code == 0 || !end.oom_killed) {
            let proof = self.verify_stage()?;
            match proof {
                Ok((verified, report)) => {
                    if exit.code != 0 {
                        self.context.say(
                            "charon ended with an error after it had written everything; every file is proved",
                        );
                    }
                    return self.promote(verified, report);
                }
                Err(failure) if exit.code == 0 => return Err(failure),
                // charon's own failure explains more than files that it did not finish.
                Err(_) => {}
            }
        }
        Err(self.charon_failure(watch, end, exit))
    }

    fn verify_stage(&self) -> Result<Result<(Verified, Report), Failure>, Failure> {
        let expectations = Expectations {
            definition_hash: Some(self.found.definition_hash),
            charon_version: self.pinned.clone(),
        };
        checked::stage(self.context, self.layout, self.attempt, &expectations)
    }

    fn promote(&self, verified: Verified, report: Report) -> Result<Done, Failure> {
        let proved = verified.clone();
        journal::promote(self.layout, self.attempt, verified).map_err(failures::journal)?;
        // Everything is in its place now; what fails from here on can be made up for.
        let receipt = receipt::after_ceremony(self.context, self.layout, &proved);
        Ok(Done {
            attempt: self.attempt.number(),
            report,
            receipt: receipt
                .inspect_err(|failure| {
                    self.context.warn(&format!(
                        "no receipt yet: {failure}; `{} receipt` makes it",
                        self.context.spelling
                    ));
                })
                .ok(),
        })
    }

    fn charon_failure(&self, watch: &Watch<'_>, end: End, exit: &Exit) -> Failure {
        if end.stopped {
            return Failure::new(
                Kind::Interrupted,
                "the ceremony was stopped; nothing was promoted and the data directory is as before",
            )
            .hint(format!(
                "tell the other operators, whose ceremonies fail too; `{} run` starts a new attempt",
                self.context.spelling
            ));
        }
        let mut failure = match watch.diagnose(end) {
            Some(diagnosis) => Failure::new(
                Kind::CeremonyFailed,
                format!("the ceremony failed: {}", diagnosis.cause),
            )
            .with_findings(vec![watch.finding(&diagnosis)])
            .hint(diagnosis.next_step),
            None => Failure::new(
                Kind::CeremonyFailed,
                format!("charon ended with exit code {}{}", exit.code, exit.error),
            ),
        };
        failure = failure.hint(format!(
            "nothing was promoted; charon's output is in {}",
            self.attempt.log_path().display()
        ));
        failure
    }

    /// The container was removed by somebody; its files may still be whole.
    async fn without_container(&self) -> Result<Option<Done>, Failure> {
        let reason = "its container was removed before charon's result was seen";
        if self.attempt.stage().join(crate::plan::LOCK_FILE).is_file() {
            if self.attempt.record().map_err(failures::attempt)?.state == State::Running {
                self.attempt
                    .advance(self.layout, State::CharonDone { exit: -1 })
                    .map_err(failures::attempt)?;
            }
            self.attempt
                .clear_placeholders(self.layout)
                .map_err(failures::attempt)?;
            if let Ok((verified, report)) = self.verify_stage()? {
                return self.promote(verified, report).map(Some);
            }
        }
        let failed = State::Failed {
            reason: reason.to_owned(),
        };
        self.attempt
            .advance(self.layout, failed)
            .map_err(failures::attempt)?;
        Ok(None)
    }
}

fn engine_lost(context: &Context, error: EngineError) -> Failure {
    Failure::new(
        Kind::Unexpected,
        format!("the engine was lost during the ceremony: {error}"),
    )
    .hint("nothing was promoted; the data directory is as before")
    .hint(format!(
        "start docker again, then `{} run`: it finds out what became of the ceremony",
        context.spelling
    ))
}

#[derive(serde::Serialize)]
struct Document<'a> {
    schema: &'static str,
    attempt: u32,
    data_dir: String,
    report: &'a crate::verify::Report,
    receipt: Option<String>,
}

/// Says what the ceremony gave, and what comes next.
///
/// # Errors
/// When standard output cannot be written.
pub(super) fn show(context: &Context, layout: &Layout, done: &Done) -> Result<(), Failure> {
    let data_dir = layout.data_dir().display().to_string();
    let document = Document {
        schema: "charon-dkg.run/1",
        attempt: done.attempt,
        data_dir: data_dir.clone(),
        report: &done.report,
        receipt: done.receipt.as_ref().map(Receipt::to_string),
    };
    let mut text = super::verify::text(&done.report, &data_dir);
    if let Some(receipt) = &document.receipt {
        text.push_str(&format!("receipt:\n{receipt}\n"));
    }
    context.result(&text, &document)?;
    context.say("back up this directory now, and paste the receipt into the group's chat");
    context.say(&format!(
        "start nothing before `{} confirm` has the receipts of all operators",
        context.spelling
    ));
    Ok(())
}
