//! `gate status`: what the gate covers, what it does not, and what it would say now.

use std::path::Path;

use crate::ceremony::settings;
use crate::cli::ComposeArgs;
use crate::context::Context;
use crate::docker::Engine;
use crate::error::Failure;
use crate::gate::decide::{Asked, decide};
use crate::gate::site::{Site, engine};
use crate::gate::status::{Installed, Seen, Status};
use crate::gate::words::Flags;
use crate::gate::{GateKind, compose, dotenv};
use crate::machine::read;
use crate::promote::held;
use crate::proof::checked;
use charon_files::cluster::names::{CLUSTER_LOCK_FILE, DEFINITION_FILE};
use charon_files::cluster::{ClusterLock, Definition};
use charon_files::finding::Finding;

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
        held: held::find(&site.layout).is_some(),
        overruling: compose::overruling_variables(),
        has_gate_file: site.gate_file.bytes().is_some(),
        unread: unread(site, installed),
        not_removable: not_removable.map(|failure| failure.message),
        settings: settings_findings(site),
    };
    let status = Status::of(seen, words);
    context.result(&status.text(), &status)
}

/// What `.env` says against the definition of the cluster whose files are here. A lock that cannot be read is the
/// decision's to tell.
fn settings_findings(site: &Site) -> Vec<Finding> {
    let dir = site.layout.data_dir();
    let lock = read::read_in(dir, Path::new(CLUSTER_LOCK_FILE), read::CLUSTER_LOCK)
        .ok()
        .and_then(|bytes| ClusterLock::parse(&bytes).ok())
        .map(|parsed| parsed.value.definition);
    let definition = lock.or_else(|| {
        let bytes = read::read_in(dir, Path::new(DEFINITION_FILE), read::DEFINITION).ok()?;
        Some(Definition::parse(&bytes).ok()?.value)
    });
    match (definition, site.dotenv.bytes()) {
        (Some(definition), Some(bytes)) => settings::disagreements(bytes, &definition),
        (None, _) | (_, None) => Vec::new(),
    }
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
