//! `gate status`: what the gate covers, what it does not, and what it would say now.

use crate::cli::ComposeArgs;
use crate::context::Context;
use crate::docker::Engine;
use crate::error::Failure;
use crate::gate::decide::{Asked, decide};
use crate::gate::site::{Site, engine};
use crate::gate::status::{Installed, Seen, Status};
use crate::gate::words::Flags;
use crate::gate::{GateKind, compose, dotenv};
use crate::proof::checked;

pub(crate) async fn status(context: &Context, args: &ComposeArgs) -> Result<(), Failure> {
    let site = Site::open(context, context.layout()?, args.compose.as_deref())?;
    let engine = engine(context).await?;
    show(context, &site, &engine).await
}

pub(crate) async fn show(context: &Context, site: &Site, engine: &Engine) -> Result<(), Failure> {
    let project = site.project()?;
    let installed = Installed::of(&project);
    let possible = site.compose.version().gate_kind();
    let kind = installed.map_or(possible, |gate| Some(gate.kind));
    let looked = site.look(engine, &project).await?;
    let flags = Flags::of(&site.layout);
    let words = flags.words(&context.spelling);
    let asked = Asked::of(installed);
    let not_removable = site.dotenv_without_gate().err();
    let seen = Seen {
        compose: &site.compose.to_string(),
        version: site.compose.version(),
        watched: site.assess(&project, &looked, kind.unwrap_or(GateKind::OneShot)),
        project: &project,
        run_as: &looked.run_as,
        decision: decide(
            Some(context),
            &site.layout,
            asked,
            words,
            &checked::shown(context),
        ),
        overruling: compose::overruling_variables(),
        has_gate_file: site.gate_file.bytes().is_some(),
        unread: unread(site, installed),
        not_removable: not_removable.map(|failure| failure.message),
    };
    let status = Status::of(seen, words);
    context.result(&status.text(), &status)
}

/// Files that came after the gate, which Compose would have read by itself.
fn unread(site: &Site, installed: Option<Installed>) -> Vec<String> {
    let files = |bytes: Option<&[u8]>| dotenv::files(bytes, &site.separator).ok().flatten();
    let base = site.dotenv_without_gate().ok().flatten();
    // Whoever names files in `.env` names all of them.
    if installed.is_none() || files(base.as_deref()).is_some() {
        return Vec::new();
    }
    let named = files(site.dotenv.bytes()).unwrap_or_default();
    let defaults = compose::default_files(site.dir()).unwrap_or_default();
    defaults
        .into_iter()
        .filter(|file| !named.contains(file))
        .collect()
}
