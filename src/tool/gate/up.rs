//! `up`: asks the gate, says why not in full, and then starts the project with whatever Compose there is.

use crate::cli::UpArgs;
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::gate::command::ask;
use crate::gate::decide::Asked;
use crate::gate::remember::remember;
use crate::gate::site::{Site, os};
use crate::gate::status::Installed;
use crate::gate::words::Flags;

pub(crate) fn up(context: &Context, args: &UpArgs) -> Result<(), Failure> {
    let site = Site::open(context, context.layout()?, args.compose.compose.as_deref())?;
    let installed = Installed::of(&site.project()?);
    remember(context, site.layout());
    let summary = ask(
        context,
        site.layout(),
        Asked::of(installed),
        &Flags::of(site.layout()),
    )?;
    context.say(&format!("the gate is open: {summary}"));
    if installed.is_none() {
        context.warn(&format!(
            "no gate is installed in this project: a plain `{}` asks nobody; next: {} gate install",
            site.spelt("up"),
            context.spelling
        ));
    }
    let words = [os(&["up", "-d"]), args.compose_args.clone()].concat();
    let status = site.start(&words)?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(
        Kind::Unexpected,
        format!("`{}` ended with {status}", site.spelt("up -d")),
    )
    .hint("what Compose says stands above"))
}
