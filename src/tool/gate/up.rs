//! `up`: asks the gate, says why not in full, and then starts the project with whatever Compose there is.

use serde::Serialize;

use crate::cli::UpArgs;
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::gate::command::ask;
use crate::gate::decide::Asked;
use crate::gate::project::Project;
use crate::gate::remember::remember;
use crate::gate::show_status;
use crate::gate::site::{Site, os};
use crate::gate::status::Installed;
use crate::gate::words::Flags;
use crate::report;
use charon_files::finding::Weight;

/// A project that was started.
#[derive(Serialize)]
struct Document {
    schema: &'static str,
    started: bool,
    /// Whether a plain `docker compose up` would ask too.
    gate_installed: bool,
    /// What the gate found.
    summary: String,
}

pub(crate) fn up(context: &Context, args: &UpArgs) -> Result<(), Failure> {
    let site = Site::open(context, context.layout()?, args.compose.compose.as_deref())?;
    let project = site.project()?;
    let installed = Installed::of(&project);
    remember(context, site.layout());
    let (summary, _) = ask(
        context,
        site.layout(),
        &Asked::of(installed),
        &Flags::of(site.layout()),
    )?;
    context.say(&format!("the gate is open: {summary}"));
    check_settings(context, &site, &project)?;
    if installed.is_none() {
        context.warn(&format!(
            "no gate is installed in this project: a plain `{}` asks nobody; next: `charon-dkg gate install`",
            site.spelt("up")
        ));
    }
    let words = [os(&["up", "-d"]), args.compose_args.clone()].concat();
    let status = site.start(context, &words)?;
    if status.success() {
        return context.result_for_programs(&Document {
            schema: "charon-dkg.up/1",
            started: true,
            gate_installed: installed.is_some(),
            summary,
        });
    }
    Err(Failure::new(
        Kind::Unexpected,
        format!("`{}` ended with {status}", site.spelt("up -d")),
    )
    .hint("Compose's own message is above"))
}

/// Settings that are not the cluster's: charon would restart for ever, or validators run for another network.
fn check_settings(context: &Context, site: &Site, project: &Project) -> Result<(), Failure> {
    let findings = show_status::settings_findings(site, project);
    let (wrong, unsure): (Vec<_>, Vec<_>) = findings
        .into_iter()
        .partition(|finding| finding.weight == Weight::Fail);
    if wrong.is_empty() {
        for finding in unsure {
            context.warn(&report::finding_line(&finding));
        }
        return Ok(());
    }
    Err(Failure::new(
        Kind::Refused,
        "this project is not set up for this cluster; nothing was started",
    )
    .with_findings(wrong))
}
