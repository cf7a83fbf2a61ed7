//! From the command line to the verb, and from its end to the exit code.

#[cfg(unix)]
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

#[cfg(target_os = "linux")]
use crate::ceremony::perform::Done;
#[cfg(not(target_os = "linux"))]
use crate::ceremony::plan;
use crate::ceremony::{define_command, enr, explain, ready, show_pins};
#[cfg(target_os = "linux")]
use crate::ceremony::{process, run, show_plan};
#[cfg(target_os = "linux")]
use crate::cli::GateAction;
use crate::cli::{self, BackupAction, BackupArgs, Invocation, ProgressStyle, Verb};
use crate::context::{Context, block_on};
use crate::custody::{backup, restore_command};
#[cfg(target_os = "linux")]
use crate::edit::command;
use crate::error::{Failure, Kind};
use crate::gate::provider;
use crate::machine::panics;
use crate::machine::terminal::{self, Terminal};
use crate::proof::{board, confirm, deposits, receipt, verify};
use crate::{completion, report};
#[cfg(target_os = "linux")]
use crate::{
    custody::repair_command,
    docker::serve_probe,
    failures,
    gate::{answer_compose, command as gate, install, remove, show_status, up},
    machine::signals::Interrupt,
    place,
    promote::archive_command,
    rehearse, status,
};

/// Runs a command line and gives the process exit code.
pub fn main(argv: Vec<OsString>) -> ExitCode {
    let json = cli::asks_for_json(&argv);
    panics::end_at_panic(json, Vec::new(), Arc::default());
    // Compose wants to be answered in its own way, mistakes in its own options included.
    if let Some(words) = provider::words_of_compose(&argv) {
        return answer_compose(words);
    }
    if let Some(answer) = completion::answer(&argv) {
        return Terminal::of_process(ProgressStyle::Quiet, false)
            .result(answer.trim_end())
            .map_or(Kind::Unexpected.exit_code(), |()| 0)
            .into();
    }
    let typed = std::env::var("CHARON_DKG_SPELLING").ok();
    let Invocation {
        cli,
        spelling,
        docker_variables,
    } = match Invocation::from_args(argv.clone(), typed) {
        Ok(invocation) => invocation,
        Err(error) => return not_a_command(&error, json).into(),
    };
    let context = Arc::new(Context::new(&cli, spelling));
    let next = "where this directory stands, and what to do next: `charon-dkg status`";
    panics::end_at_panic(json, vec![context.spelled(next)], context.answered());
    match begin_again(&argv, &docker_variables).and_then(|()| dispatch(&context, cli.verb)) {
        Ok(code) => code,
        Err(failure) => {
            context.fail(&failure);
            ExitCode::from(failure.kind.exit_code())
        }
    }
}

#[cfg(target_os = "linux")]
fn answer_compose(words: &[OsString]) -> ExitCode {
    answer_compose::answer(words)
}

#[cfg(not(target_os = "linux"))]
fn answer_compose(_words: &[OsString]) -> ExitCode {
    let refused = provider::refusal(&needs_linux().message);
    Terminal::of_process(ProgressStyle::Quiet, false)
        .result(refused.trim_end())
        .map_or(Kind::Unexpected.exit_code(), |()| Kind::Refused.exit_code())
        .into()
}

/// Takes docker's flags into the environment, where Compose, credential helpers and libraries look for the same: by beginning
/// again as the same process. Does nothing where they are there.
///
/// # Errors
/// [`Kind::Unexpected`] if this program cannot be started.
#[cfg(unix)]
fn begin_again(argv: &[OsString], variables: &[(&'static str, OsString)]) -> Result<(), Failure> {
    use std::os::unix::process::CommandExt as _;
    let last: BTreeMap<_, _> = variables
        .iter()
        .map(|(name, value)| (*name, value))
        .collect();
    if last
        .iter()
        .all(|(name, value)| std::env::var_os(name).as_ref() == Some(*value))
    {
        return Ok(());
    }
    let name = argv.first().map(OsString::as_os_str).unwrap_or_default();
    let error = match std::env::current_exe() {
        Ok(program) => std::process::Command::new(program)
            .arg0(name)
            .args(argv.iter().skip(1))
            .envs(last)
            .exec(),
        Err(error) => error,
    };
    let message = format!("cannot begin again with docker's flags in the environment: {error}");
    Err(Failure::new(Kind::Unexpected, message))
}

/// No engine is used there, nor docker's configuration.
#[cfg(not(unix))]
const fn begin_again(
    _argv: &[OsString],
    _variables: &[(&'static str, OsString)],
) -> Result<(), Failure> {
    Ok(())
}

/// Shows what clap has to say: help or version, which were asked for, or what is wrong.
fn not_a_command(error: &clap::Error, json: bool) -> u8 {
    let printed = terminal::flush_output(error.print());
    if !error.use_stderr() {
        return match printed {
            Ok(()) => 0,
            Err(error) => {
                Terminal::of_process(ProgressStyle::Quiet, false)
                    .error(&format!("cannot write the result: {error}"));
                Kind::Unexpected.exit_code()
            }
        };
    }
    if json {
        let text = error.to_string();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let fact = lines.next().unwrap_or_default();
        let failure = Failure {
            hints: lines.map(str::to_owned).collect(),
            ..Failure::new(Kind::Usage, fact.trim_start_matches("error: "))
        };
        Terminal::of_process(ProgressStyle::Quiet, false)
            .result(report::failure_json(&failure).trim_end())
            .ok();
    }
    Kind::Usage.exit_code()
}

fn dispatch(context: &Arc<Context>, verb: Verb) -> Result<ExitCode, Failure> {
    context.find_profile()?;
    context.find_execution_client()?;
    context.find_beacon_node()?;
    let done = match verb {
        Verb::Enr(args) => enr::enr(context, &args),
        Verb::Define(args) => define_command::define(context, args),
        #[cfg(target_os = "linux")]
        Verb::Plan(args) => block_on(show_plan::show(context, &args)),
        #[cfg(not(target_os = "linux"))]
        Verb::Ready(args) if args.ceremony.start.charon_binary.is_some() => Err(needs_linux()),
        Verb::Ready(args) => block_on(ready::ready(context, &args)),
        #[cfg(target_os = "linux")]
        Verb::Run(args) => {
            let layout = context.layout()?;
            place::look(&layout)?;
            block_on(async {
                let mut interrupt = Interrupt::listen().map_err(failures::signals)?;
                let start = (&args).into();
                match run::run(context, &layout, &start, &mut interrupt).await? {
                    Done::Cluster(done) => run::show(context, &layout, &args.ceremony, &done),
                    done @ (Done::Edit(_) | Done::Helped) => {
                        command::show_done(context, &layout, &done)
                    }
                }
            })
        }
        Verb::Verify(args) => verify::verify(context, &args),
        Verb::Deposits(args) => deposits::deposits(context, &args),
        Verb::Receipt(_) => receipt::receipt(context),
        Verb::Confirm(args) => confirm::confirm(context, &args),
        Verb::Board(args) => block_on(board::board(context, &args)),
        #[cfg(target_os = "linux")]
        Verb::Edit(args) => block_on(command::edit(context, &args.action)),
        #[cfg(target_os = "linux")]
        Verb::Status => status::show(context),
        #[cfg(target_os = "linux")]
        Verb::Archive(args) => archive_command::archive(context, &args),
        Verb::Backup(args) => match args.action {
            None => block_on(backup::backup(context, args.backup)),
            Some(BackupAction::Restore(restored)) if args.backup == BackupArgs::default() => {
                restore_command::restore(context, &restored)
            }
            Some(BackupAction::Restore(_)) => Err(Failure::new(
                Kind::Usage,
                "flags of a backup before the word restore; they belong behind it",
            )),
        },
        #[cfg(target_os = "linux")]
        Verb::Repair(args) => repair_command::repair(context, &args),
        Verb::Pins => show_pins::show(context),
        Verb::Explain(args) => explain::explain(context, &args),
        #[cfg(target_os = "linux")]
        Verb::Rehearse(args) => block_on(rehearse::rehearse(context, &args)),
        #[cfg(target_os = "linux")]
        Verb::Gate(args) => match args.action {
            GateAction::Check(args) => gate::check(context, &args),
            GateAction::Install(args) => block_on(install::install(context, &args)),
            GateAction::Status(args) => block_on(show_status::status(context, &args)),
            GateAction::Remove(args) => block_on(remove::remove(context, &args)),
        },
        #[cfg(target_os = "linux")]
        Verb::Up(args) => up::up(context, &args),
        #[cfg(target_os = "linux")]
        Verb::InternalProbe(args) => block_on(serve_probe::serve(context, &args)),
        #[cfg(target_os = "linux")]
        Verb::InternalKeeper(args) => process::keep(&args),
        #[cfg(not(target_os = "linux"))]
        Verb::Plan(_)
        | Verb::Run(_)
        | Verb::Status
        | Verb::Archive(_)
        | Verb::Edit(_)
        | Verb::Repair(_)
        | Verb::Rehearse(_)
        | Verb::Gate(_)
        | Verb::Up(_)
        | Verb::InternalProbe(_)
        | Verb::InternalKeeper(_) => Err(needs_linux()),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// What needs the engine, the modes and the processes of Linux, asked for elsewhere.
#[cfg(not(target_os = "linux"))]
fn needs_linux() -> Failure {
    let place = plan::elsewhere(std::env::consts::OS);
    Failure::new(
        Kind::Refused,
        format!("this command works on Linux alone; run it {place}; nothing was changed"),
    )
    .hint("here work: enr, backup, define, ready, verify, receipt, confirm, board, deposits, explain and pins")
}
