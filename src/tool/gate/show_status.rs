//! `gate status`: what the gate covers, what it does not, and what it would say now.

use std::path::Path;

use crate::ceremony::settings;
use crate::cli::ComposeArgs;
use crate::context::Context;
use crate::docker::Engine;
use crate::error::Failure;
use crate::gate::compose::Reading;
use crate::gate::decide::{Asked, decide};
use crate::gate::project::Project;
use crate::gate::site::{Site, engine};
use crate::gate::status::{Installed, Seen, Status};
use crate::gate::words::Flags;
use crate::gate::{GATE_FILE, GATE_SERVICE, GateKind, compose, coverage, dotenv};
use crate::machine::datadir::Layout;
use crate::machine::read;
use crate::promote::held;
use crate::proof::checked;
use crate::report;
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
            &asked,
            words,
            &checked::shown(context),
        ),
        held: held::find(&site.layout).is_some(),
        overruling: compose::overruling_variables(),
        gate_files: gate_files(site),
        open_ways: open_ways(site, &project),
        unread: unread(site, installed),
        not_removable: not_removable.map(|failure| failure.message),
        settings: settings_findings(site, &project),
    };
    let status = Status::of(seen, words);
    context.result(&status.text(), &status)
}

/// What `.env` and the project's charon say against the definition of the cluster whose files are here, and the relays at
/// which its ceremony met. A lock that cannot be read is the decision's to tell.
pub(crate) fn settings_findings(site: &Site, project: &Project) -> Vec<Finding> {
    let Some(definition) = definition(&site.layout) else {
        return Vec::new();
    };
    let bytes = site.dotenv.bytes();
    let of_dotenv = bytes.map(|bytes| settings::disagreements(bytes, &definition));
    let met = held::relays(&site.layout);
    let services = project.services.iter();
    let charons = services.filter(|(name, service)| coverage::is_charon(name, service));
    let of_charon = charons.flat_map(|(_, service)| {
        let release = service
            .image
            .as_deref()
            .and_then(|image| settings::charon_release(image, bytes, definition.version));
        let relays = service.relays.as_deref();
        let relays = relays.and_then(|relays| settings::relays(relays, bytes, &met));
        [release, relays]
    });
    let of_dotenv = of_dotenv.into_iter().flatten();
    of_dotenv.chain(of_charon.flatten()).collect()
}

/// The definition of the cluster whose files are here, that of the lock or else the one beside it.
pub(crate) fn definition(layout: &Layout) -> Option<Definition> {
    let dir = layout.data_dir();
    let lock = read::read_in(dir, Path::new(CLUSTER_LOCK_FILE), read::CLUSTER_LOCK)
        .ok()
        .and_then(|bytes| ClusterLock::parse(&bytes).ok())
        .map(|parsed| parsed.value.definition);
    lock.or_else(|| {
        let bytes = read::read_in(dir, Path::new(DEFINITION_FILE), read::DEFINITION).ok()?;
        Some(Definition::parse(&bytes).ok()?.value)
    })
}

/// Files that came after the gate, which Compose would have read by itself.
fn unread(site: &Site, installed: Option<Installed>) -> Vec<String> {
    let files = |bytes: Option<&[u8]>| dotenv::files(bytes, &site.separator).ok().flatten();
    let base = site.dotenv_without_gate().ok().flatten();
    // Whoever names files in `.env` names all of them.
    if installed.is_none() || files(base.as_deref()).is_some() {
        return Vec::new();
    }
    let ours = site.own_override();
    match files(site.dotenv.bytes()) {
        Some(named) => {
            let defaults = compose::default_files(site.dir(), ours).unwrap_or_default();
            let unnamed = defaults.into_iter().filter(|file| !named.contains(file));
            unnamed.collect()
        }
        None => {
            let mut overrides = compose::overrides(site.dir());
            overrides.retain(|name| Some(name.as_str()) != ours);
            overrides
        }
    }
}

/// The gate's files that are here, whether or not Compose reads them.
fn gate_files(site: &Site) -> Vec<&'static str> {
    let named = site.gate_file.bytes().map(|_| GATE_FILE);
    named.into_iter().chain(site.own_override()).collect()
}

/// The ways of calling Compose in which it sees services that wait for the gate, and no gate: each is tried.
fn open_ways(site: &Site, project: &Project) -> Vec<String> {
    let waiting: Vec<&String> = project
        .services
        .iter()
        .filter(|(_, service)| service.depends_on.contains_key(GATE_SERVICE))
        .map(|(name, _)| name)
        .collect();
    let is_open = |dir: &Path, reading: Reading<'_>| {
        let printed = site.compose.config_reading(dir, reading).ok();
        printed
            .and_then(|printed| Project::parse(&printed).ok())
            .is_some_and(|seen| {
                !seen.services.contains_key(GATE_SERVICE)
                    && waiting.iter().any(|name| seen.services.contains_key(*name))
            })
    };
    let base = site.dotenv_without_gate().ok().flatten();
    let files = site.files(base.as_deref()).unwrap_or_default();
    let list = files.join(&site.separator);
    let mut ways = Vec::new();
    if is_open(site.dir(), Reading::Variable(&list)) {
        ways.push("COMPOSE_FILE in the shell".to_owned());
    }
    let alone = |file: &&String| is_open(site.dir(), Reading::File(file));
    if let Some(file) = files.iter().find(alone) {
        let file = report::quoted(file);
        ways.push(format!("`{}`", site.spelt(&format!("-f {file}"))));
    }
    let empty = tempfile::NamedTempFile::new().ok();
    if empty.is_some_and(|empty| is_open(site.dir(), Reading::EnvFile(empty.path()))) {
        ways.push(format!("`{}`", site.spelt("--env-file FILE")));
    }
    // Whichever subdirectory it is, Compose looks for the project above it.
    let below = site.layout.data_dir();
    if below.starts_with(site.dir()) && is_open(below, Reading::ByItself) {
        ways.push("a call from a subdirectory".to_owned());
    }
    ways
}
