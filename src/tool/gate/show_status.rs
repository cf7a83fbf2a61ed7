//! `gate status`: what the gate covers, what it does not, and what it would say now.

use std::path::Path;

use rayon::prelude::*;

use crate::ceremony::settings::{self, Setting, Settings};
use crate::cli::ComposeArgs;
use crate::context::Context;
use crate::docker::Engine;
use crate::error::Failure;
use crate::failures;
use crate::gate::compose::Reading;
use crate::gate::decide::{Asked, decide};
use crate::gate::project::{Project, Service};
use crate::gate::site::{self, Site, engine};
use crate::gate::status::{Installed, Seen, Status};
use crate::gate::words::Flags;
use crate::gate::{GATE_FILE, GATE_SERVICE, GateKind, compose, coverage, dotenv, installed};
use crate::machine::datadir::Layout;
use crate::machine::read;
use crate::promote::held;
use crate::proof::checked;
use crate::report;
use charon_files::cluster::names::{CLUSTER_LOCK_FILE, DEFINITION_FILE};
use charon_files::cluster::{ClusterLock, Definition};
use charon_files::finding::Finding;

/// The label with which Compose names a container's service.
const SERVICE_LABEL: &str = "com.docker.compose.service";

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
    let ways = ways(site, &project, &looked);
    let created = engine
        .containers_seeing(site.layout.data_dir())
        .await
        .map_err(failures::engine)?;
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
        open_ways: ways.open,
        untried: ways.untried,
        created: created
            .into_iter()
            .filter(|container| {
                container
                    .labels
                    .get(SERVICE_LABEL)
                    .is_none_or(|it| it != GATE_SERVICE)
            })
            .map(|container| format!("{} ({})", container.name, container.state.name()))
            .collect(),
        unread: unread(site, installed),
        not_removable: not_removable.map(|failure| failure.message),
        settings: settings_findings(site, &project),
    };
    let status = Status::of(seen, words);
    context.result(&status.text(), &status)
}

/// What the project's settings say against the cluster whose files are here. A lock that cannot be read is the decision's to
/// tell.
pub(crate) fn settings_findings(site: &Site, project: &Project) -> Vec<Finding> {
    let Some(definition) = definition(&site.layout) else {
        return Vec::new();
    };
    let bytes = site.dotenv.bytes();
    let services = project.services.iter();
    let charons: Vec<&Service> = services
        .filter(|(name, service)| coverage::is_charon(name, service))
        .map(|(_, service)| service)
        .collect();
    let images: Vec<&str> = charons
        .iter()
        .filter_map(|it| it.image.as_deref())
        .collect();
    let relays: Vec<&str> = charons
        .iter()
        .filter_map(|it| it.relays.as_deref())
        .collect();
    let files = site.files(bytes).unwrap_or_default();
    let variables = site.variables(bytes, &files);
    let mut settings: Settings = variables
        .filter_map(|it| Some((it, installed::variable(bytes, it.variable())?)))
        .collect();
    settings.insert(Setting::CharonImage, images.join(" "));
    settings.insert(Setting::Relays, relays.join(","));
    settings::disagreements(&settings, bytes, &definition, &held::relays(&site.layout))
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
    // If `.env` names files, it names all of them.
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

/// The ways of calling Compose in which it starts services that wait for the gate, and does not ask that.
struct Ways {
    /// Each was tried.
    open: Vec<String>,
    /// Why `--no-deps` was not tried, if so.
    untried: Option<String>,
}

fn ways(site: &Site, project: &Project, looked: &site::Seen) -> Ways {
    let waiting: Vec<(&String, &Service)> = project
        .services
        .iter()
        .filter(|(_, service)| service.depends_on.contains_key(GATE_SERVICE))
        .collect();
    let is_open = |dir: &Path, reading: Reading<'_>| {
        let printed = site.compose.config_reading(dir, reading).ok();
        printed
            .and_then(|printed| Project::parse(&printed).ok())
            .is_some_and(|seen| {
                !seen.services.contains_key(GATE_SERVICE)
                    && waiting
                        .iter()
                        .any(|(name, _)| seen.services.contains_key(*name))
            })
    };
    let here = |reading: Reading<'_>| is_open(site.dir(), reading);
    let base = site.dotenv_without_gate().ok().flatten();
    let files = site.files(base.as_deref()).unwrap_or_default();
    let list = files.join(&site.separator);
    let in_shell = |name: &str, value: &str| {
        here(Reading::Variable(name, value)).then(|| format!("{name} in the shell"))
    };
    // A file for `--env-file`, with this in it.
    let file_with = |bytes: &[u8]| {
        let file = tempfile::NamedTempFile::new().ok()?;
        std::fs::write(file.path(), bytes).ok()?;
        Some(file)
    };
    let with_files = || file_with(&dotenv::naming(None, &files, ":"));
    let by_env_file = || {
        if here(Reading::EnvFile(file_with(b"")?.path())) {
            return Some(format!("`{}`", site.spelt("--env-file FILE")));
        }
        let way = format!(
            "`{}` with COMPOSE_FILE in it",
            site.spelt("--env-file FILE")
        );
        here(Reading::EnvFile(with_files()?.path())).then_some(way)
    };
    let by_file = || {
        let file = files.iter().find(|file| here(Reading::File(file)))?;
        Some(format!(
            "`{}`",
            site.spelt(&format!("-f {}", report::quoted(file)))
        ))
    };
    // Whichever subdirectory it is, Compose looks for the project above it.
    let from_below = || {
        let below = site.layout.data_dir();
        let is_way = below.starts_with(site.dir()) && is_open(below, Reading::ByItself);
        is_way.then(|| "a call from a subdirectory".to_owned())
    };
    let by_env_files = || in_shell("COMPOSE_ENV_FILES", with_files()?.path().to_str()?);
    let tries: [&(dyn Fn() -> Option<String> + Sync); 6] = [
        &|| in_shell("COMPOSE_FILE", &list),
        &by_env_files,
        &|| in_shell("COMPOSE_DISABLE_ENV_FILE", "1"),
        &by_file,
        &by_env_file,
        &from_below,
    ];
    let mut open: Vec<String> = tries.par_iter().filter_map(|attempt| attempt()).collect();
    let has_image = |(_, service): &&(&String, &Service)| {
        service
            .image
            .as_ref()
            .is_some_and(|image| Site::has_image(looked, image))
    };
    let untried = match waiting.iter().find(has_image) {
        _ if !site.compose.version().is_second() => Some("this Compose has no dry run".to_owned()),
        None => Some("no image of theirs is here yet".to_owned()),
        Some((service, _)) => {
            let dry = |words: &[&str]| {
                let words = [&["--dry-run"], words, &[service.as_str()]].concat();
                site.compose.run_quietly(site.dir(), &words)
            };
            let up = [
                "up",
                "--no-deps",
                "--no-build",
                "--pull",
                "never",
                "--detach",
            ];
            match dry(&up) {
                Err(error) => Some(format!("its dry run failed: {error}")),
                Ok(()) => {
                    open.push(format!("`{}`", site.spelt("up --no-deps")));
                    if dry(&["run", "--detach", "--no-deps"]).is_ok() {
                        open.push(format!("`{}`", site.spelt("run --no-deps")));
                    }
                    None
                }
            }
        }
    };
    Ways { open, untried }
}
