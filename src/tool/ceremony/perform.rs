//! One attempt from its container or process to its end: followed, proved and promoted, or told why not.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::Instant;

use crate::ceremony::attempt::{Attempt, AttemptError, Record, State};
use crate::ceremony::charon::{Charon, Lost};
use crate::ceremony::definition_source::FoundDefinition;
use crate::ceremony::edit::{EditCommand, Role};
use crate::ceremony::facts;
use crate::ceremony::follow::Watch;
use crate::ceremony::plan;
use crate::ceremony::process::Process;
use crate::context::Context;
use crate::docker::Exit;
use crate::edit::held::RanWith;
use crate::edit::stand::{self, Proved};
use crate::edit::take;
use crate::error::{Failure, Kind};
use crate::failures;
use crate::gate::installed;
use crate::machine::datadir::{self, Layout};
use crate::machine::read;
use crate::machine::signals::{Interrupt, StopSource, Urgency};
use crate::promote::promotion;
use crate::proof::{checked, receipt};
use charon_files::cluster::names::{CLUSTER_LOCK_FILE, DEFINITION_FILE, ENR_KEY_FILE};
use charon_files::cluster::{ClusterLock, Definition};
use charon_files::finding::{Finding, Weight};
use charon_log::{ClusterSize, End, Redactor};
use charon_proof::receipt::Receipt;
use charon_proof::verify::{Expectations, NamedFile, Report, Verified};

/// charon from v1.9 on waits up to five seconds (`--shutdown-delay`) for its peers.
const STOP_GRACE: Duration = Duration::from_secs(15);

/// What a ceremony that has ended well leaves.
pub(crate) enum Done {
    /// A cluster, in the data directory or held until all operators have confirmed.
    Cluster(Box<NewCluster>),
    /// What an edit made, held beside the old cluster.
    Edit(Box<Proved>),
    /// Nothing here: this operator leaves, and has helped the others.
    Helped,
}

/// What a first ceremony leaves.
pub(crate) struct NewCluster {
    pub(crate) attempt: u32,
    pub(crate) report: Report,
    /// Who else could change or read something in the data directory now; then `verify` fails.
    pub(crate) open: Vec<Finding>,
    /// What to paste into the group's chat; `None` if it could not be made, which was said.
    pub(crate) receipt: Option<Receipt>,
    /// Where the files wait until all operators have confirmed; `None` if they are in the data directory.
    pub(crate) held: Option<PathBuf>,
    /// Why charon could not publish the lock as it was told to, in its words.
    pub(crate) not_published: Option<String>,
}

/// One attempt.
pub(crate) struct Ceremony<'a> {
    pub(crate) context: &'a Arc<Context>,
    pub(crate) layout: &'a Layout,
    pub(crate) attempt: &'a Attempt,
    pub(crate) record: &'a Record,
    pub(crate) found: &'a FoundDefinition,
}

/// What is known of a container's end.
enum Ending<'a> {
    /// The engine saw it.
    Seen {
        exit: Exit,
        watch: Box<Watch<'a>>,
        stopped: bool,
    },
    /// The container was removed before anybody saw its end.
    Removed,
}

/// How following a container ended.
enum Followed {
    Ended { exit: Exit, stopped: bool },
    Removed,
    LeftRunning,
}

/// What came of an attempt.
enum Outcome {
    /// Its outputs are proved, and in the data directory or held.
    Proved(Done),
    /// Nothing can come of it any more.
    Over(Failure),
    /// Its outputs may be promoted once what blocks it is fixed.
    Open(Failure),
}

impl Ceremony<'_> {
    /// Follows the container to its end and takes what it leaves.
    ///
    /// # Errors
    /// [`Kind::CeremonyFailed`], [`Kind::VerificationFailed`] or [`Kind::Interrupted`] after which
    /// the attempt is over; otherwise the next `run` goes on with it.
    pub(crate) async fn follow(
        &self,
        charon: &Charon,
        interrupt: &mut Interrupt,
    ) -> Result<Done, Failure> {
        let numbered = self.numbered();
        let mut watch = Watch::new(
            self.context,
            &numbered,
            self.size(),
            self.record.pinned().as_ref(),
        );
        let mut log = Log::open(self)?;
        let followed = self
            .until_exit(charon, interrupt, &mut watch, &mut log)
            .await?;
        let ending = match followed {
            Followed::Ended { exit, stopped } => {
                self.advance(State::CharonDone { exit: exit.code });
                Ending::Seen {
                    exit,
                    watch: Box::new(watch),
                    stopped,
                }
            }
            Followed::Removed => return self.without_container(interrupt).await,
            Followed::LeftRunning => return Err(self.left_running()),
        };
        match self.finish(&ending, interrupt).await {
            Outcome::Proved(done) => {
                charon.remove(self.context).await;
                Ok(done)
            }
            Outcome::Over(failure) => {
                // Marked first: a container without a record of its end would be followed again,
                // an ended container of an attempt that is over is only in the way.
                if self.mark_failed(&failure.message) && log.is_complete() {
                    charon.remove(self.context).await;
                }
                Err(failure)
            }
            Outcome::Open(failure) => Err(self.still_open(failure)),
        }
    }

    /// Takes what a container left that was removed before its end was seen: its files may be whole.
    ///
    /// # Errors
    /// As [`Ceremony::follow`].
    pub(crate) async fn without_container(
        &self,
        interrupt: &mut Interrupt,
    ) -> Result<Done, Failure> {
        let state = self.attempt.record().map_err(failures::attempt)?.state;
        if state == State::Running {
            // The code that the engine took with it.
            self.advance(State::CharonDone { exit: -1 });
        }
        match self.finish(&Ending::Removed, interrupt).await {
            Outcome::Proved(done) => Ok(done),
            Outcome::Over(failure) => {
                self.mark_failed(&failure.message);
                Err(failure)
            }
            Outcome::Open(failure) => Err(self.still_open(failure)),
        }
    }

    /// Marks the attempt as over; what cannot be done is said, not hidden. Whether it was done.
    pub(crate) fn mark_failed(&self, reason: &str) -> bool {
        mark_failed(self.context, self.layout, self.attempt, reason)
    }

    /// Writes down how far it came. On a full disk that fails, and what charon says of it is worth
    /// more; nothing is promoted without this record.
    fn advance(&self, state: State) {
        if let Err(error) = self.attempt.advance(self.layout, state) {
            self.context.warn(&error.to_string());
        }
    }

    fn left_running(&self) -> Failure {
        Failure::new(
            Kind::Interrupted,
            format!("the ceremony goes on in {}", self.record.place()),
        )
        .hint("`charon-dkg run` follows it again and finishes it")
    }

    /// Says that the attempt is not lost.
    fn still_open(&self, failure: Failure) -> Failure {
        failure.hint(format!(
            "nothing was promoted and nothing is lost: once this is fixed, `charon-dkg run` continues attempt {}",
            self.attempt.number()
        ))
    }

    fn size(&self) -> ClusterSize {
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        ClusterSize {
            operators: self.found.definition.operators.len(),
            threshold: count(self.found.definition.threshold),
            validators: count(self.found.definition.num_validators),
        }
    }

    /// Copies the container's output into the attempt's log and onto the screen until it ends.
    async fn until_exit(
        &self,
        charon: &Charon,
        interrupt: &mut Interrupt,
        watch: &mut Watch<'_>,
        log: &mut Log<'_>,
    ) -> Result<Followed, Failure> {
        let mut lines = charon.follow();
        let mut redactor = Redactor::default();
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let begin = Instant::now();
        let mut stopped = false;
        loop {
            tokio::select! {
                line = lines.next() => match line {
                    Some(Ok(line)) => {
                        let text = redactor.line(&line.text) + if line.complete { "\n" } else { "" };
                        log.write(text.as_bytes());
                        watch.push(text.as_bytes(), begin.elapsed());
                    }
                    Some(Err(Lost::Removed)) => return Ok(Followed::Removed),
                    Some(Err(Lost::Unseen(reason))) => return Err(charon.lost(reason)),
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
                        watch.stopping();
                        self.context.say("stopping charon; Ctrl-C once more kills it");
                        let charon = charon.clone();
                        // It must not hold up the log, which has charon's last words.
                        tokio::spawn(async move { charon.stop(STOP_GRACE).await });
                    }
                    (_, Urgency::Now) => match charon.kill().await {
                        Ok(()) | Err(Lost::Removed) => {}
                        Err(Lost::Unseen(reason)) => return Err(charon.lost(reason)),
                    },
                },
            }
        }
        log.sync();
        watch.finish(begin.elapsed());
        match charon.end().await {
            Ok(exit) => Ok(Followed::Ended { exit, stopped }),
            Err(Lost::Removed) => Ok(Followed::Removed),
            Err(Lost::Unseen(reason)) => Err(charon.lost(reason)),
        }
    }

    /// Proves what charon left and promotes it, or says why the ceremony failed.
    ///
    /// charon writes its files before it waits for its peers a last time, so the files can be whole
    /// though charon failed or was stopped. Then the others have theirs too, and this node's count.
    async fn finish(&self, ending: &Ending<'_>, interrupt: &mut Interrupt) -> Outcome {
        if !self.attempt.stage().is_dir() {
            return Outcome::Over(Failure::new(
                Kind::CeremonyFailed,
                format!(
                    "{} is gone, and with it whatever charon wrote",
                    self.attempt.stage().display()
                ),
            ));
        }
        if let Some(command) = &self.record.edit {
            return self.finish_edit(command, ending, interrupt).await;
        }
        match self.attempt.clear_placeholders(self.layout) {
            Ok(()) => {}
            Err(error @ AttemptError::Placeholder { .. }) => {
                return Outcome::Over(
                    Failure::new(Kind::VerificationFailed, error.to_string()).hint(
                        "the engine did not mount the key or the definition there: report this",
                    ),
                );
            }
            Err(error) => return Outcome::Open(failures::attempt(error)),
        }
        if !self.attempt.stage().join(CLUSTER_LOCK_FILE).is_file() {
            return Outcome::Over(self.failure(ending));
        }
        if let Some(refused) = self.refuse_changed_inputs() {
            return Outcome::Open(refused);
        }
        let succeeded = ending.succeeded();
        match self.prove(interrupt).await {
            Err(failure) => Outcome::Open(failure),
            Ok(Ok((verified, report))) => {
                if !succeeded {
                    self.context.say(
                        "charon failed, but only after it had written everything; every file passed verification",
                    );
                }
                let proved = verified.clone();
                let holds = self.holds(&verified);
                let settled = if holds {
                    promotion::hold(self.layout, self.attempt, &verified)
                } else {
                    promotion::promote(self.layout, self.attempt, verified).map(|_| ())
                };
                match settled {
                    Ok(()) => Outcome::Proved(Done::Cluster(Box::new(NewCluster {
                        attempt: self.attempt.number(),
                        report,
                        open: self.open(),
                        receipt: self.receipt(&proved),
                        held: holds.then(|| self.attempt.stage()),
                        not_published: ending.not_published(),
                    }))),
                    Err(error) => Outcome::Open(failures::journal(error)),
                }
            }
            Ok(Err(failure)) if succeeded => Outcome::Over(failure),
            // charon's own failure explains more than files that it did not finish.
            Ok(Err(_)) => Outcome::Over(self.failure(ending)),
        }
    }

    /// Nothing is proved of files that charon did not have.
    fn refuse_changed_inputs(&self) -> Option<Failure> {
        let changed = self.changed_inputs();
        (!changed.is_empty()).then(|| {
            Failure::new(
                Kind::Refused,
                "charon has finished, but its input in the data directory has changed meanwhile",
            )
            .with_findings(changed)
        })
    }

    /// Proves what an edit made and holds it beside the old cluster, or says why the ceremony failed.
    async fn finish_edit(
        &self,
        command: &EditCommand,
        ending: &Ending<'_>,
        interrupt: &mut Interrupt,
    ) -> Outcome {
        if let Some(refused) = self.refuse_changed_inputs() {
            return Outcome::Open(refused);
        }
        if ending.succeeded() && self.role(command) == Some(Role::Leaves) {
            return self.promoted(Done::Helped);
        }
        if !self.attempt.stage().join(CLUSTER_LOCK_FILE).is_file() {
            return Outcome::Over(self.failure(ending));
        }
        let proved = match self.prove_edit(command, interrupt).await {
            Ok(proved) => proved,
            Err(failure) if failure.kind != Kind::VerificationFailed => {
                return Outcome::Open(failure);
            }
            Err(failure) if failure.findings.iter().all(could_not_tell) => {
                return Outcome::Open(failure.hint(
                    "where contract wallets have to be asked: `charon-dkg edit --execution-rpc-file FILE …`",
                ));
            }
            Err(failure) if ending.succeeded() => {
                return Outcome::Over(failure.hint(format!(
                    "nothing is held; the files stay in {} as evidence",
                    self.attempt.stage().display()
                )));
            }
            // charon's own failure explains more than files that it did not finish.
            Err(_) => return Outcome::Over(self.failure(ending)),
        };
        if !ending.succeeded() {
            self.context.say(
                "charon failed, but only after it had written everything; every file passed verification",
            );
        }
        let ran_with = RanWith {
            image: self.record.charon_image.clone(),
            version: self.record.charon_version.clone(),
        };
        if let Err(failure) = take::take(self.context, self.layout, &proved, Some(ran_with)) {
            return Outcome::Open(failure);
        }
        self.promoted(Done::Edit(Box::new(proved)))
    }

    /// The attempt is over, and nothing is left to keep in its stage.
    fn promoted(&self, done: Done) -> Outcome {
        if let Err(error) = self.attempt.advance(self.layout, State::Promoted) {
            return Outcome::Open(failures::attempt(error));
        }
        if let Err(error) = self.attempt.remove_stage(self.layout) {
            self.context.warn(&format!(
                "a second copy of the new keys stays behind: {error}"
            ));
        }
        Outcome::Proved(done)
    }

    /// The operators as charon numbers them in its log.
    fn numbered(&self) -> Definition {
        let definition = &self.found.definition;
        let command = self.record.edit.as_ref();
        command
            .and_then(|command| Some(command.numbered(&self.before_edit()?, definition)))
            .unwrap_or_else(|| definition.clone())
    }

    /// The lock that an edit changes.
    fn before_edit(&self) -> Option<ClusterLock> {
        let parsed = ClusterLock::parse(&self.found.bytes).ok()?;
        Some(parsed.value)
    }

    fn role(&self, command: &EditCommand) -> Option<Role> {
        let key = facts::enr_key(self.layout).ok()??;
        command.role(&self.before_edit()?, &key.public_key())
    }

    /// Proves the stage of an edit against the lock before it and against what was asked for, on other threads.
    async fn prove_edit(
        &self,
        command: &EditCommand,
        interrupt: &mut Interrupt,
    ) -> Result<Proved, Failure> {
        let expectations = Expectations {
            edit: Some(command.request.clone()),
            ..Expectations::default()
        };
        self.context.say("verifying every file");
        let previous = NamedFile::new(CLUSTER_LOCK_FILE, self.found.bytes.clone());
        self.on_other_threads(interrupt, move |context, layout, attempt| {
            let material = checked::read_directory(&attempt.stage())?;
            let what = "what charon wrote";
            stand::prove(&context, &layout, material, previous, &expectations, what)
        })
        .await
    }

    /// Works where a request to stop is heard meanwhile.
    async fn on_other_threads<T: Send + 'static>(
        &self,
        interrupt: &mut Interrupt,
        work: impl FnOnce(Arc<Context>, Layout, Attempt) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (context, layout) = (Arc::clone(self.context), self.layout.clone());
        let attempt = self.attempt.clone();
        let work = tokio::task::spawn_blocking(move || work(context, layout, attempt));
        tokio::select! {
            done = work => done.map_err(|error| {
                Failure::new(Kind::Unexpected, format!("the verification broke off: {error}"))
            })?,
            _ = interrupt.next() => Err(Failure::new(
                Kind::Interrupted,
                "stopped before every file was verified",
            )),
        }
    }

    /// The preflight looked, but others may have changed owners and modes since.
    fn open(&self) -> Vec<Finding> {
        match datadir::observe(self.layout) {
            Ok(seen) => {
                let (uid, gid) = (seen.owner.uid, seen.owner.gid);
                plan::access_findings(self.layout.data_dir(), &seen.modes(), uid, gid)
            }
            Err(error) => vec![
                Finding::fail(
                    "data-directory-mode",
                    self.layout.data_dir().display().to_string(),
                    error.to_string(),
                    "a directory that can be looked at",
                )
                .advise("`charon-dkg verify`"),
            ],
        }
    }

    /// Whether the files wait until all operators have confirmed: as was said when the ceremony began, or as the gate wants
    /// that is installed by now. One operator alone has nobody to wait for.
    fn holds(&self, verified: &Verified) -> bool {
        let wanted = self.record.hold || installed::wants_confirmation(self.layout);
        wanted && verified.cluster().operator_count() > 1
    }

    /// Everything is in its place by now; what fails here can be made up for.
    fn receipt(&self, proved: &Verified) -> Option<Receipt> {
        receipt::after_ceremony(self.context, self.layout, proved)
            .inspect_err(|failure| {
                self.context.warn(&format!(
                    "no receipt yet: {failure}; `charon-dkg receipt` makes it"
                ));
            })
            .ok()
    }

    /// The key and the definition are where others can touch them while the ceremony runs. Changed
    /// ones would make right outputs look wrong.
    fn changed_inputs(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut changed = |name: &str, seen: String, expected: String, advice: &str| {
            findings.push(Finding {
                check: "input-changed",
                weight: Weight::Fail,
                subject: self.layout.data_dir().join(name).display().to_string(),
                seen,
                expected,
                advice: advice.to_owned(),
            });
        };
        let seen = match facts::enr_key(self.layout) {
            Ok(Some(key)) if key.id().to_string() == self.record.enr_id => None,
            Ok(Some(_)) => Some("another ENR key".to_owned()),
            Ok(None) => Some("no ENR key".to_owned()),
            Err(reason) => Some(reason),
        };
        if let Some(seen) = seen {
            changed(
                ENR_KEY_FILE,
                seen,
                "the key with which the ceremony was started".to_owned(),
                "put it back, from your backup if need be",
            );
        }
        let (name, limit, what, kept) = match &self.record.edit {
            None => (
                DEFINITION_FILE,
                read::DEFINITION,
                "definition",
                datadir::definition_path(self.layout, &self.found.bytes),
            ),
            Some(_) => (
                CLUSTER_LOCK_FILE,
                read::CLUSTER_LOCK,
                "cluster lock",
                self.attempt.previous_lock(),
            ),
        };
        let there = read::read_in(self.layout.data_dir(), Path::new(name), limit);
        let seen = match there {
            Ok(bytes) if bytes == self.found.bytes => None,
            Ok(_) => Some(format!("another {what}")),
            // It may have come from elsewhere.
            Err(error) if error.is_missing() => None,
            Err(error) => Some(error.to_string()),
        };
        if let Some(seen) = seen {
            changed(
                name,
                seen,
                format!("the {what} with which the ceremony was started, or none"),
                &format!("copy {} over it", kept.display()),
            );
        }
        findings
    }

    /// Verifies the stage on other threads, so that a request to stop is heard.
    ///
    /// The outer error means that it could not be told; the inner, that it did not pass.
    async fn prove(
        &self,
        interrupt: &mut Interrupt,
    ) -> Result<Result<(Verified, Report), Failure>, Failure> {
        let expectations = Expectations {
            definition_hash: Some(self.found.definition_hash),
            charon_version: self.record.charon_version.parse().ok(),
            profile: self.context.profile().cloned(),
            edit: None,
        };
        self.on_other_threads(interrupt, move |context, layout, attempt| {
            checked::stage(&context, &layout, &attempt, &expectations)
        })
        .await
    }

    /// Why there is nothing to promote.
    fn failure(&self, ending: &Ending<'_>) -> Failure {
        let (exit, watch, stopped) = match ending {
            Ending::Seen {
                exit,
                watch,
                stopped,
            } => (exit, watch, *stopped),
            Ending::Removed => {
                return self.with_evidence(Failure::new(
                    Kind::CeremonyFailed,
                    if self.record.is_process() {
                        "charon's process was ended from outside before it had written everything"
                            .to_owned()
                    } else {
                        format!(
                            "container {} was removed before charon had written everything",
                            self.record.container
                        )
                    },
                ));
            }
        };
        let end = End {
            exit_code: Some(exit.code),
            oom_killed: exit.oom_killed,
            stopped,
        };
        let diagnosis = watch.diagnose(end);
        if stopped {
            // Whatever charon says of that, the operator knows why it ended; what it was waiting
            // for is news.
            return self.with_evidence(match diagnosis {
                Some(diagnosis) if diagnosis.cause.starts_with("charon was stopped") => {
                    Failure::new(Kind::Interrupted, diagnosis.cause).hint(diagnosis.next_step)
                }
                Some(diagnosis) => Failure::new(
                    Kind::Interrupted,
                    format!("stopped as you asked; {}", diagnosis.cause),
                )
                .hint(diagnosis.next_step),
                None => Failure::new(Kind::Interrupted, "stopped as you asked"),
            });
        }
        self.with_evidence(match diagnosis {
            Some(diagnosis) => Failure::new(
                Kind::CeremonyFailed,
                format!("the ceremony failed: {}", diagnosis.cause),
            )
            .with_findings(vec![watch.finding(&diagnosis)]),
            None => Failure::new(
                Kind::CeremonyFailed,
                format!(
                    "charon ended with exit code {} and left no {CLUSTER_LOCK_FILE}{}",
                    exit.code,
                    if exit.error.is_empty() {
                        String::new()
                    } else {
                        format!(" ({})", exit.error)
                    }
                ),
            ),
        })
    }

    fn with_evidence(&self, failure: Failure) -> Failure {
        let log = self.attempt.log_path();
        // On a full disk there is no log, and the container stays.
        let place = match std::fs::metadata(&log) {
            Ok(meta) if meta.len() > 0 => log.display().to_string(),
            Ok(_) | Err(_) if self.record.is_process() => {
                Process::of(self.attempt).output().display().to_string()
            }
            Ok(_) | Err(_) => format!("`docker logs {}`", self.record.container),
        };
        failure
            .hint(format!(
                "nothing was promoted and the data directory is as before; charon's output is in {place}"
            ))
            .hint(format!(
                "once that is fixed and all operators are ready again: `charon-dkg {}`",
                self.record.command()
            ))
    }
}

/// Whether this finding is not a known fault.
fn could_not_tell(finding: &Finding) -> bool {
    finding.weight != Weight::Fail
}

impl Ending<'_> {
    fn succeeded(&self) -> bool {
        match self {
            Ending::Seen { exit, .. } => exit.code == 0,
            Ending::Removed => false,
        }
    }

    fn not_published(&self) -> Option<String> {
        match self {
            Ending::Seen { watch, .. } => watch.not_published(),
            Ending::Removed => None,
        }
    }
}

/// Marks an attempt as over; what cannot be done is said, not hidden. Whether it was done.
pub(crate) fn mark_failed(
    context: &Context,
    layout: &Layout,
    attempt: &Attempt,
    reason: &str,
) -> bool {
    let failed = State::Failed {
        reason: reason.to_owned(),
    };
    match attempt.advance(layout, failed) {
        Ok(_) => true,
        Err(error) => {
            context.warn(&format!(
                "attempt {} could not be marked as failed: {error}",
                attempt.number()
            ));
            false
        }
    }
}

/// The attempt's copy of charon's output. A full disk must not end a ceremony for want of its log,
/// so a log that cannot be written is given up; the container keeps the output.
struct Log<'a> {
    context: &'a Context,
    path: String,
    file: Option<File>,
    /// The engine gives the output from its first line: so much of it an earlier command already
    /// wrote, redacted by the same rule.
    written: u64,
}

impl<'a> Log<'a> {
    fn open(ceremony: &Ceremony<'a>) -> Result<Self, Failure> {
        let file = ceremony
            .attempt
            .open_log(ceremony.layout)
            .map_err(failures::attempt)?;
        let path = ceremony.attempt.log_path().display().to_string();
        let written = file
            .metadata()
            .map_err(|error| Failure::new(Kind::Unexpected, format!("{path}: {error}")))?
            .len();
        Ok(Self {
            context: ceremony.context,
            path,
            file: Some(file),
            written,
        })
    }

    fn write(&mut self, text: &[u8]) {
        let skip = text
            .len()
            .min(usize::try_from(self.written).unwrap_or(usize::MAX));
        self.written -= u64::try_from(skip).unwrap_or(self.written);
        let rest = text.get(skip..).unwrap_or_default();
        self.attempt(|mut file| file.write_all(rest));
    }

    fn sync(&mut self) {
        self.attempt(|file| file.sync_all());
    }

    fn attempt(&mut self, write: impl FnOnce(&File) -> std::io::Result<()>) {
        let Some(file) = &self.file else { return };
        if let Err(error) = write(file) {
            self.file = None;
            self.context.warn(&format!(
                "{} cannot be written ({error}); the ceremony goes on without it",
                self.path
            ));
        }
    }

    fn is_complete(&self) -> bool {
        self.file.is_some()
    }
}
