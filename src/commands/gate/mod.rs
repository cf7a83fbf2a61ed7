//! `gate`: a compose project that starts only once everybody has everything.

mod confirmation;
pub(super) mod decide;
mod install;
mod remove;
pub(super) mod site;
pub(super) mod status;
pub(super) mod words;

use decide::{Asked, decide};
use words::Flags;

use super::{Context, checked};
use crate::cli::{GateAction, GateCheckArgs};
use crate::error::{Failure, Kind};
use crate::gate::decision::{Closed, GateDecision, Words};
use crate::host::datadir::Layout;

pub(super) async fn gate(context: &Context, action: &GateAction) -> Result<(), Failure> {
    match action {
        GateAction::Install(args) => install::install(context, args).await,
        GateAction::Status(args) => status::status(context, args).await,
        GateAction::Remove(args) => remove::remove(context, args),
        GateAction::Check(args) => check(context, args),
    }
}

/// Asks the gate, and says all that there is to say.
///
/// # Errors
/// Closed.
fn check(context: &Context, args: &GateCheckArgs) -> Result<(), Failure> {
    let asked = Asked {
        require: args.require.into(),
        rehearsal: args.rehearsal,
    };
    let summary = ask(context, &context.layout()?, asked)?;
    context.say(&format!("the gate is open: {summary}"));
    Ok(())
}

/// What the gate says, and as a failure of the command if it is closed.
pub(super) fn ask(context: &Context, layout: &Layout, asked: Asked) -> Result<String, Failure> {
    let flags = Flags::of(layout);
    let words = Words {
        spelling: &context.spelling,
        flags: flags.as_str(),
    };
    match decide(layout, asked, words, &checked::shown(context)) {
        GateDecision::Open { summary } => Ok(summary),
        GateDecision::Closed(closed) => Err(failure(closed)),
    }
}

fn failure(closed: Closed) -> Failure {
    let kind = if closed.files_at_fault {
        Kind::VerificationFailed
    } else {
        Kind::Refused
    };
    Failure::new(kind, format!("the gate is closed: {}", closed.reason))
        .with_findings(closed.findings)
        .hint(closed.next)
}
