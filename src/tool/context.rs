//! What every verb has at hand: the command line, the terminal, the engine to talk to.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use zeroize::Zeroizing;

use crate::cli::{Cli, Common, Format, ProgressStyle, Verb};
#[cfg(target_os = "linux")]
use crate::docker::endpoint::{
    self, Endpoint, EngineEnvironment, EngineLookupError, EngineOptions,
};
use crate::error::{Failure, Kind};
use crate::machine::datadir::Layout;
use crate::machine::git;
use crate::machine::terminal::{Block, Progress, PromptError, Terminal};
use crate::machine::users;
use crate::promote::journal::Recovery;
use crate::promote::recover;
use crate::proof::{contracts, named};
use crate::report::Typing;
use crate::{failures, report};

/// What every verb has at hand.
pub(crate) struct Context {
    pub(crate) common: Common,
    pub(crate) terminal: Terminal,
    /// How the operator spells this program; advice repeats it.
    pub(crate) spelling: String,
    /// What follows `sudo` instead.
    pub(crate) for_root: String,
    /// How the next command is typed.
    typing: Typing,
    /// What the protocol asks for, if one was named.
    pub(crate) profile: named::Protocol,
    /// The beacon node that was named.
    pub(crate) beacon: named::Beacon,
    /// What contract wallets say.
    pub(crate) contracts: contracts::Contracts,
    /// Whether nothing is to be printed.
    pub(crate) silent: bool,
    /// Whether a program already has its document.
    answered: Arc<AtomicBool>,
}

impl Context {
    pub(crate) fn new(cli: &Cli, spelling: String) -> Self {
        let for_root = spelling_for_root(&spelling);
        let spelling = if users::is_root_by_sudo() {
            format!("sudo {for_root}")
        } else {
            spelling
        };
        let outside = cli.verb.outside();
        let silent = matches!(&cli.verb, Verb::Verify(args) if args.quiet);
        let mode = if silent {
            ProgressStyle::Quiet
        } else {
            cli.common.progress
        };
        Self {
            common: cli.common.clone(),
            terminal: Terminal::of_process(mode, cli.common.yes),
            typing: typing(cli, &spelling, &for_root),
            spelling,
            for_root,
            profile: named::Protocol::of(outside.profile),
            beacon: named::Beacon::of(outside.beacon),
            contracts: contracts::Contracts::of(outside.execution),
            silent,
            answered: Arc::default(),
        }
    }

    /// Something that needs attention, on standard error.
    pub(crate) fn warn(&self, text: &str) {
        self.terminal.warning(&self.spelled(text));
    }

    /// Whether a program already has its document, for the one thing that ends this process without asking.
    pub(crate) fn answered(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.answered)
    }

    pub(crate) fn spelled(&self, text: &str) -> String {
        report::spelled(text, &self.typing)
    }

    /// The flags by which a child of ours finds the same engine.
    pub(crate) fn engine_flags(&self) -> Vec<String> {
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

    /// Lines that are replaced in place, where standard error is a screen.
    pub(crate) fn block(&self) -> Option<Block> {
        self.terminal.block()
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
    pub(crate) fn print_document(&self, text: &str) -> Result<(), Failure> {
        self.answered.store(true, Ordering::Relaxed);
        self.print(text)
    }

    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        self.terminal.result(text.trim_end()).map_err(|error| {
            Failure::new(
                Kind::Unexpected,
                format!("cannot write the result: {error}"),
            )
        })
    }

    /// Keeps git from a file that was made in a checkout; what cannot be done is said, not hidden.
    pub(crate) fn keep_from_git(&self, file: &Path) {
        if let Err(error) = git::exclude(file) {
            self.warn(&format!(
                "git does not know that {} belongs into no commit: {error}",
                file.display()
            ));
        }
    }

    /// Finishes or takes back a change of the directory that was interrupted, and says so. Expects the caller to hold the
    /// directory's guard.
    ///
    /// # Errors
    /// If the journal cannot be followed; then it is still there.
    pub(crate) fn finish_interrupted(&self, layout: &Layout) -> Result<(), Failure> {
        if let Some(recovery) = recover::recover(layout).map_err(failures::journal)? {
            self.recovered(&recovery);
        }
        Ok(())
    }

    /// Says what became of a change that was interrupted.
    fn recovered(&self, recovery: &Recovery) {
        let text = match recovery {
            Recovery::PromotionFinished { attempt, names } => format!(
                "the promotion of attempt {attempt} was interrupted; it is finished now: {}",
                names.join(", ")
            ),
            Recovery::PromotionUndone { attempt, problems } => format!(
                "the promotion of attempt {attempt} was interrupted and could not be finished; it is undone:\n{}",
                report::findings_text(problems).trim_end()
            ),
            Recovery::ArchiveFinished { dir, names } => format!(
                "an archive was interrupted; it is finished now: {} in {}",
                names.join(", "),
                dir.display()
            ),
            Recovery::ArchiveUndone => {
                "an archive was interrupted before anything was moved; nothing changed".to_owned()
            }
            Recovery::SwitchFinished { names } => format!(
                "changing the old cluster for the edited one was interrupted; it is finished now: {}",
                names.join(", ")
            ),
            Recovery::SwitchUndone { problems } => format!(
                "changing the old cluster for the edited one was interrupted; it is undone, and the old files are in their place\n{}",
                report::findings_text(problems).trim_end()
            ),
            Recovery::RestoreFinished { names } => format!(
                "restoring a backup was interrupted; it is finished now: {}",
                names.join(", ")
            ),
            Recovery::RestoreUndone { dir, problems } => format!(
                "restoring a backup was interrupted and could not be finished; it is undone, and what it had brought is in {}:\n{}",
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

    /// Asks likewise, and goes no further without a yes.
    ///
    /// # Errors
    /// [`Kind::Refused`] after a no, and where nobody can be asked.
    pub(crate) fn must_agree(&self, question: &str) -> Result<(), Failure> {
        if self.agree(question)? {
            return Ok(());
        }
        Err(Failure::new(
            Kind::Refused,
            "not confirmed; nothing was changed",
        ))
    }

    /// Whether a question can be asked, or is answered by `--yes`.
    pub(crate) fn can_agree(&self) -> bool {
        self.terminal.can_confirm()
    }

    /// Asks for words that somebody has to type; `--yes` does not type them.
    ///
    /// # Errors
    /// [`Kind::Refused`] where nobody can be asked.
    pub(crate) fn typed(&self, question: &str) -> Result<String, Failure> {
        self.terminal.typed(question).map_err(|error| {
            Failure::new(Kind::Refused, format!("{error}; nothing was changed"))
                .hint("run this in a terminal; --yes is no answer to it")
        })
    }

    /// Asks for a secret, without showing what is typed.
    ///
    /// # Errors
    /// [`Kind::Refused`] where nobody can be asked, [`Kind::Interrupted`] for Ctrl-C.
    pub(crate) fn secret(&self, question: &str) -> Result<Zeroizing<String>, Failure> {
        self.terminal.secret(question).map_err(unanswered)
    }

    /// Asks for a text to be pasted into the terminal.
    ///
    /// # Errors
    /// [`Kind::Interrupted`] for Ctrl-C.
    pub(crate) fn pasted(&self, request: &str, most: usize) -> Result<Vec<u8>, Failure> {
        self.terminal.pasted(request, most).map_err(unanswered)
    }

    /// Puts a terminal back in order that a question left without echo.
    pub(crate) fn calm_terminal(&self) {
        self.terminal.calm();
    }

    pub(crate) fn layout(&self) -> Result<Layout, Failure> {
        Layout::resolve(&self.common.dir, self.common.data_dir.as_deref()).map_err(failures::layout)
    }

    /// The engine that docker itself would talk to.
    #[cfg(target_os = "linux")]
    pub(crate) fn endpoint(&self) -> Result<Endpoint, EngineLookupError> {
        let options = EngineOptions {
            host: self.common.host.clone(),
            context: self.common.context.clone(),
        };
        endpoint::find_engine(&options, &EngineEnvironment::of_this_process())
    }

    /// Says why the command did not end well: on standard error for people, and on standard output
    /// for a program that asked for JSON and has no document yet. `verify` has: its report says more.
    pub(crate) fn fail(&self, failure: &Failure) {
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

fn unanswered(error: PromptError) -> Failure {
    match error {
        PromptError::Interrupted => {
            Failure::new(Kind::Interrupted, "stopped before anything was changed")
        }
        PromptError::NoTerminal { .. } | PromptError::Read { .. } => {
            Failure::new(Kind::Refused, format!("{error}; nothing was changed"))
        }
    }
}

/// What the next command repeats: where it is about the same directories, and about the same ceremony.
/// Where sudo(8) looks for programs on most distributions (`secure_path`), and docker for root's plugins beside.
const PATH_OF_ROOT: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// How root types this program: by its path where it was installed for one user, since root finds neither it nor the plugin.
fn spelling_for_root(spelling: &str) -> String {
    let program = std::env::current_exe().and_then(std::fs::canonicalize);
    match program {
        Ok(path)
            if path.parent().is_some_and(|dir| {
                PATH_OF_ROOT.iter().all(|of_root| dir != Path::new(of_root))
            }) =>
        {
            report::quoted(path)
        }
        Ok(_) | Err(_) => spelling.to_owned(),
    }
}

fn typing(cli: &Cli, spelling: &str, for_root: &str) -> Typing {
    let flag = |name: &str, value: &Path| format!(" --{name} {}", report::quoted(value));
    let mut directories = String::new();
    if cli.verb.has_directories_of_ours() {
        if cli.common.dir != Path::new(".") {
            directories.push_str(&flag("dir", &cli.common.dir));
        }
        if let Some(data_dir) = &cli.common.data_dir {
            directories.push_str(&flag("data-dir", data_dir));
        }
    }
    let mut ceremony = String::new();
    let told = if let Verb::Plan(args) = &cli.verb {
        Some(args)
    } else if let Verb::Run(args) = &cli.verb {
        Some(&args.ceremony)
    } else if let Verb::Ready(args) = &cli.verb {
        Some(&args.ceremony)
    } else {
        None
    };
    if let Some(args) = told {
        for word in args.typed_again() {
            ceremony.push_str(&format!(" {}", report::quoted(word)));
        }
    }
    Typing {
        spelling: spelling.to_owned(),
        for_root: for_root.to_owned(),
        directories,
        ceremony,
    }
}

/// Runs what waits for the engine, the network or signals.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::Unexpected, format!("cannot start: {error}")))?;
    let result = runtime.block_on(future);
    // When told to stop, do not wait for a verification or for a name to be resolved.
    runtime.shutdown_background();
    result
}
