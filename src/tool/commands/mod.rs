//! The verbs.

mod archive;
mod backup;
mod ceremony;
mod checked;
mod compose;
mod confirm;
mod contracts;
mod define;
mod definition_source;
mod enr;
mod failures;
mod gate;
mod observe;
mod pasted;
mod pins;
mod place;
mod plan;
mod probe;
mod proof;
mod receipt;
mod rehearse;
mod repair;
mod restore;
mod resume;
mod run;
mod status;
mod up;
mod verify;
mod watch;

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use zeroize::Zeroizing;

use crate::cli::{
    self, BackupAction, BackupArgs, Cli, Common, Format, Invocation, ProgressStyle, Verb,
};
use crate::completion;
use crate::error::{Failure, Kind};
use crate::host::datadir::Layout;
use crate::host::engine::{self, Endpoint, EngineEnvironment, EngineLookupError, EngineOptions};
use crate::host::journal::Recovery;
use crate::host::signals::Interrupt;
use crate::host::terminal::{Progress, ProgressMode, PromptError, Terminal};
use crate::provider;
use crate::report;

/// What every verb has at hand.
pub(crate) struct Context {
    common: Common,
    terminal: Terminal,
    /// How the operator spells this program; advice repeats it.
    pub(crate) spelling: String,
    /// What contract wallets say.
    contracts: contracts::Contracts,
    /// Whether nothing is to be printed.
    silent: bool,
    /// Whether a program already has its document.
    answered: AtomicBool,
}

impl Context {
    fn new(cli: &Cli, spelling: String) -> Self {
        let silent = matches!(&cli.verb, Verb::Verify(args) if args.quiet);
        let mode = if silent {
            ProgressMode::Quiet
        } else {
            mode(cli.common.progress)
        };
        Self {
            common: cli.common.clone(),
            terminal: Terminal::of_process(mode, cli.common.yes),
            spelling,
            contracts: contracts::Contracts::of(&cli.verb),
            silent,
            answered: AtomicBool::new(false),
        }
    }

    /// Something that needs attention, on standard error.
    pub(crate) fn warn(&self, text: &str) {
        self.terminal.warning(&self.spelled(text));
    }

    fn spelled(&self, text: &str) -> String {
        report::spelled(text, &self.spelling)
    }

    /// The flags by which a child of ours finds the same engine.
    fn engine_flags(&self) -> Vec<String> {
        let flag = |name: &str, value: &Option<String>| {
            value
                .iter()
                .map(|value| format!("--{name}={value}"))
                .collect::<Vec<_>>()
        };
        [
            flag("host", &self.common.host),
            flag("context", &self.common.context),
        ]
        .concat()
    }

    /// One line of progress or advice, on standard error.
    pub(crate) fn say(&self, text: &str) {
        self.terminal.note(&self.spelled(text));
    }

    /// Something that takes a while, shown as a bar or as lines on standard error.
    pub(crate) fn task(&self, name: &str, total: u64) -> Progress<'_> {
        self.terminal.progress(name, total)
    }

    /// A result: the text for people or the document for programs, on standard output.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(crate) fn result<T: Serialize>(&self, text: &str, document: &T) -> Result<(), Failure> {
        match self.common.format {
            Format::Text => self.print(&self.spelled(text)),
            Format::Json => self.print_document(&report::to_json(document)),
        }
    }

    /// A result that people read from the failure that goes with it.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(crate) fn result_for_programs<T: Serialize>(&self, document: &T) -> Result<(), Failure> {
        match self.common.format {
            Format::Text => Ok(()),
            Format::Json => self.print_document(&report::to_json(document)),
        }
    }

    /// The one document that a program gets: the result, or else the failure.
    fn print_document(&self, text: &str) -> Result<(), Failure> {
        self.answered.store(true, Ordering::Relaxed);
        self.print(text)
    }

    fn print(&self, text: &str) -> Result<(), Failure> {
        self.terminal.result(text.trim_end()).map_err(|error| {
            Failure::new(
                Kind::Unexpected,
                format!("cannot write the result: {error}"),
            )
        })
    }

    /// Says what became of a change that was cut short.
    pub(crate) fn recovered(&self, recovery: &Recovery) {
        let text = match recovery {
            Recovery::PromotionFinished { attempt, names } => format!(
                "the promotion of attempt {attempt} had been cut short; it is finished now: {}",
                names.join(", ")
            ),
            Recovery::PromotionUndone { attempt, problems } => format!(
                "the promotion of attempt {attempt} had been cut short and could not be finished; it is undone:\n{}",
                report::findings_text(problems).trim_end()
            ),
            Recovery::ArchiveFinished { dir, names } => format!(
                "an archive had been cut short; it is finished now: {} in {}",
                names.join(", "),
                dir.display()
            ),
            Recovery::ArchiveUndone => {
                "an archive had been cut short before anything was moved; nothing changed"
                    .to_owned()
            }
            Recovery::RestoreFinished { names } => format!(
                "restoring a backup had been cut short; it is finished now: {}",
                names.join(", ")
            ),
            Recovery::RestoreUndone { dir, problems } => format!(
                "restoring a backup had been cut short and could not be finished; it is undone, and what it had brought is in {}:\n{}",
                dir.display(),
                report::findings_text(problems).trim_end()
            ),
        };
        self.warn(&text);
    }

    /// Asks before something that cannot be taken back lightly.
    ///
    /// # Errors
    /// [`Kind::Refused`] where nobody can be asked.
    pub(crate) fn agree(&self, question: &str) -> Result<bool, Failure> {
        self.terminal.confirm(question).map_err(|error| {
            Failure::new(Kind::Refused, format!("{error}; nothing was changed"))
                .hint("pass --yes to answer in advance")
        })
    }

    /// Whether a question can be asked, or is answered by `--yes`.
    pub(crate) fn can_agree(&self) -> bool {
        self.terminal.can_confirm()
    }

    /// Asks for a secret, without showing what is typed.
    ///
    /// # Errors
    /// [`Kind::Refused`] where nobody can be asked, [`Kind::Interrupted`] for Ctrl-C.
    pub(crate) fn secret(&self, question: &str) -> Result<Zeroizing<String>, Failure> {
        self.terminal.secret(question).map_err(|error| match error {
            PromptError::Interrupted => {
                Failure::new(Kind::Interrupted, "stopped before anything was changed")
            }
            PromptError::NoTerminal { .. } | PromptError::Read { .. } => {
                Failure::new(Kind::Refused, format!("{error}; nothing was changed"))
            }
        })
    }

    /// Puts a terminal back in order that a question left without echo.
    pub(crate) fn calm_terminal(&self) {
        self.terminal.calm();
    }

    fn layout(&self) -> Result<Layout, Failure> {
        Layout::resolve(&self.common.dir, self.common.data_dir.as_deref()).map_err(failures::layout)
    }

    /// The engine that docker itself would talk to.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, EngineLookupError> {
        let options = EngineOptions {
            host: self.common.host.clone(),
            context: self.common.context.clone(),
            ..EngineOptions::default()
        };
        engine::find_engine(&options, &EngineEnvironment::of_this_process())
    }

    /// Says why the command did not end well: on standard error for people, and on standard output
    /// for a program that asked for JSON and has no document yet. `verify` has: its report says more.
    fn fail(&self, failure: &Failure) {
        if self.silent {
            return;
        }
        if self.common.format == Format::Json && !self.answered.load(Ordering::Relaxed) {
            // Where that cannot be written, the exit code still tells.
            drop(self.print_document(&report::failure_json(failure)));
        }
        if !failure.findings.is_empty() {
            let findings = report::findings_text(&failure.findings);
            self.terminal.text(self.spelled(&findings).trim_end());
        }
        let line = |text: &str| self.spelled(&report::clean(text));
        self.terminal.error(&line(&failure.message));
        for hint in &failure.hints {
            self.terminal.hint(&line(hint));
        }
    }
}

/// Runs a command line and gives the process exit code.
pub fn main(argv: Vec<OsString>) -> ExitCode {
    // Compose wants to be answered in its own way, mistakes in its own options included.
    if let Some(words) = provider::words_of_compose(&argv) {
        return compose::answer(words);
    }
    if let Some(answer) = completion::answer(&argv) {
        return Terminal::of_process(ProgressMode::Quiet, false)
            .result(answer.trim_end())
            .map_or(Kind::Unexpected.exit_code(), |()| 0)
            .into();
    }
    let typed = std::env::var("CHARON_DKG_SPELLING").ok();
    let json = cli::asks_for_json(&argv);
    let Invocation { cli, spelling } = match Invocation::from_args(argv, typed) {
        Ok(invocation) => invocation,
        Err(error) => return not_a_command(&error, json).into(),
    };
    let context = Arc::new(Context::new(&cli, spelling));
    match dispatch(&context, cli.verb) {
        Ok(code) => code,
        Err(failure) => {
            context.fail(&failure);
            ExitCode::from(failure.kind.exit_code())
        }
    }
}

/// Shows what clap has to say: help or version, which were asked for, or what is wrong.
fn not_a_command(error: &clap::Error, json: bool) -> u8 {
    // A closed standard output changes nothing about what was asked for.
    error.print().ok();
    if !error.use_stderr() {
        return 0;
    }
    if json {
        let text = error.to_string();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let fact = lines.next().unwrap_or_default();
        let failure = Failure {
            hints: lines.map(str::to_owned).collect(),
            ..Failure::new(Kind::Usage, fact.trim_start_matches("error: "))
        };
        Terminal::of_process(ProgressMode::Quiet, false)
            .result(report::failure_json(&failure).trim_end())
            .ok();
    }
    Kind::Usage.exit_code()
}

fn dispatch(context: &Arc<Context>, verb: Verb) -> Result<ExitCode, Failure> {
    context.find_execution_client()?;
    let done = match verb {
        Verb::Enr(args) => enr::enr(context, &args),
        Verb::Define(args) => define::define(context, args),
        Verb::Plan(args) => block_on(plan::show(context, &args)),
        Verb::Run(args) => {
            let layout = context.layout()?;
            place::look(&layout)?;
            block_on(async {
                let mut interrupt = Interrupt::listen().map_err(failures::signals)?;
                let done = run::run(context, &layout, &args, &mut interrupt).await?;
                run::show(context, &layout, &done)
            })
        }
        Verb::Verify(args) => verify::verify(context, &args),
        Verb::Receipt(_) => receipt::receipt(context),
        Verb::Confirm(args) => confirm::confirm(context, &args),
        Verb::Status => status::show(context),
        Verb::Archive(args) => archive::archive(context, &args),
        Verb::Backup(args) => match args.action {
            None => block_on(backup::backup(context, args.backup)),
            Some(BackupAction::Restore(restored)) if args.backup == BackupArgs::default() => {
                restore::restore(context, &restored)
            }
            Some(BackupAction::Restore(_)) => Err(Failure::new(
                Kind::Usage,
                "flags of a backup before the word restore; they belong behind it",
            )),
        },
        Verb::Repair(args) => repair::repair(context, &args),
        Verb::Pins => pins::show(context),
        Verb::Rehearse(args) => block_on(rehearse::rehearse(context, &args)),
        Verb::Gate(args) => block_on(gate::gate(context, &args.action)),
        Verb::Up(args) => up::up(context, &args),
        Verb::InternalProbe(args) => block_on(probe::serve(context, &args)),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Runs what waits for the engine, the network or signals.
fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::Unexpected, format!("cannot start: {error}")))?;
    let result = runtime.block_on(future);
    // Whoever was told to stop does not wait for a verification or a name to be resolved.
    runtime.shutdown_background();
    result
}

fn mode(style: ProgressStyle) -> ProgressMode {
    match style {
        ProgressStyle::Auto => ProgressMode::Auto,
        ProgressStyle::Plain => ProgressMode::Plain,
        ProgressStyle::Json => ProgressMode::Json,
        ProgressStyle::Quiet => ProgressMode::Quiet,
    }
}
