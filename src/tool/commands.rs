//! From the command line to the verb, and from its end to the exit code.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use crate::ceremony::{define_command, enr, explain, ready, run, show_pins, show_plan};
use crate::cli::{self, BackupAction, BackupArgs, Invocation, Verb};
use crate::context::{Context, block_on};
use crate::custody::{backup, repair_command, restore_command};
use crate::docker::serve_probe;
use crate::error::{Failure, Kind};
use crate::gate::{answer_compose, command as gate, provider, up};
use crate::machine::signals::Interrupt;
use crate::machine::terminal::{ProgressMode, Terminal};
use crate::promote::archive_command;
use crate::proof::{board, confirm, receipt, verify};
use crate::{completion, failures, place, rehearse, report, status};

/// Runs a command line and gives the process exit code.
pub fn main(argv: Vec<OsString>) -> ExitCode {
    // Compose wants to be answered in its own way, mistakes in its own options included.
    if let Some(words) = provider::words_of_compose(&argv) {
        return answer_compose::answer(words);
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
        Verb::Define(args) => define_command::define(context, args),
        Verb::Plan(args) => block_on(show_plan::show(context, &args)),
        Verb::Ready(args) => block_on(ready::ready(context, &args)),
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
        Verb::Board(args) => block_on(board::board(context, &args)),
        Verb::Status => status::show(context),
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
        Verb::Repair(args) => repair_command::repair(context, &args),
        Verb::Pins => show_pins::show(context),
        Verb::Explain(args) => explain::explain(context, &args),
        Verb::Rehearse(args) => block_on(rehearse::rehearse(context, &args)),
        Verb::Gate(args) => block_on(gate::gate(context, &args.action)),
        Verb::Up(args) => up::up(context, &args),
        Verb::InternalProbe(args) => block_on(serve_probe::serve(context, &args)),
    };
    done.map(|()| ExitCode::SUCCESS)
}
