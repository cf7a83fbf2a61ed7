//! `gate`: a compose project that starts only once everybody has everything.

use serde::Serialize;

use crate::gate::decide::{Asked, decide_at_start};
use crate::gate::installed;
use crate::gate::words::Flags;

use crate::cli::GateCheckArgs;
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::gate::decision::{Closed, GateDecision, Require};
use crate::machine::datadir::Layout;
use crate::proof::checked;
use crate::report;
use charon_files::finding::Finding;

/// An open gate; a closed one is a failure.
#[derive(Serialize)]
struct Document {
    schema: &'static str,
    open: bool,
    require: Require,
    summary: String,
    /// What is to know of the project's settings all the same.
    findings: Vec<Finding>,
}

/// Asks the gate, and says all that there is to say.
///
/// # Errors
/// Closed.
pub(crate) fn check(context: &Context, args: &GateCheckArgs) -> Result<(), Failure> {
    let layout = context.layout()?;
    let asked = Asked {
        require: args.require,
        rehearsal: args.rehearsal,
        settings: if args.in_container {
            args.settings.given()
        } else {
            installed::settings(&layout)
        },
    };
    let flags = if args.in_container {
        Flags::of_container(&layout)
    } else {
        Flags::of(&layout)
    };
    let (summary, notes) = ask(context, &layout, &asked, &flags)?;
    context.say(&format!("the gate is open: {summary}"));
    for finding in &notes {
        context.warn(&report::finding_line(finding));
    }
    context.result_for_programs(&Document {
        schema: "charon-dkg.gate-check/1",
        open: true,
        require: args.require,
        summary,
        findings: notes,
    })
}

/// What the gate says, with what is to know all the same, and as a failure of the command if it is closed.
pub(crate) fn ask(
    context: &Context,
    layout: &Layout,
    asked: &Asked,
    flags: &Flags,
) -> Result<(String, Vec<Finding>), Failure> {
    let words = flags.words(&context.spelling);
    match decide_at_start(
        Some(context),
        layout,
        asked,
        words,
        &checked::shown(context),
    ) {
        GateDecision::Open { summary, notes } => Ok((summary, notes)),
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
