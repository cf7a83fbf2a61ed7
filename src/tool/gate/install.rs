//! `gate install`: everything is tried on copies before a file of the project changes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::ceremony::settings::{Setting, Settings};
use crate::cli::GateInstallArgs;
use crate::context::Context;
use crate::docker::Engine;
use crate::docker::self_image::{self, SelfImageSpec, Use, load_self_image};
use crate::error::{Failure, Kind};
use crate::failures;
use crate::gate::compose::ProjectFile;
use crate::gate::coverage::{Edge, Watched};
use crate::gate::dotenv::{self, Edit};
use crate::gate::file::{self, Gate, GateFile, Origin, Waiting};
use crate::gate::project::{self, Project, Service};
use crate::gate::site::{
    DOTENV, Seen, Site, engine, is_ours, not_editable, not_understood, refused,
};
use crate::gate::{
    GATE_FILE, GATE_SERVICE, GateKind, OVERRIDE_FILE, PROVIDER_TYPE, compose, coverage, installed,
    show_status,
};
use crate::machine::datadir;
use crate::place;
use crate::report;

pub(crate) async fn install(context: &Context, args: &GateInstallArgs) -> Result<(), Failure> {
    let layout = context.layout()?;
    let mut site = Site::open(context, layout, args.compose.compose.as_deref())?;
    check_shell()?;
    check_gate_file(context, &site)?;
    if !site.layout.data_dir().is_dir() {
        let mut failure = Failure::new(
            Kind::Refused,
            format!(
                "{} does not exist, and its owner determines the user that charon runs as",
                site.layout.data_dir().display()
            ),
        );
        for project in place::projects_elsewhere(&site.layout) {
            let project = report::quoted(project);
            failure = failure.hint(format!("`charon-dkg gate install --dir {project}`"));
        }
        return Err(failure
            .hint("if this node lies elsewhere, name its project directory with --dir, or its data directory with --data-dir")
            .hint("only for a new node: `charon-dkg enr`"));
    }
    let kind = kind(&site, args)?;
    let base = site.dotenv_without_gate()?;
    let files = site.files(base.as_deref())?;
    let before = site.project_without_gate(base.as_deref(), &files)?;
    let names_files = dotenv::files(base.as_deref(), &site.separator).map_err(not_editable)?;
    // Compose reads one override file by itself.
    let place = match (names_files, files.as_slice()) {
        (None, [_]) => Place::Override,
        (_, _) => Place::Named,
    };
    let engine = engine(context).await?;
    let seen = site.look(&engine, &before).await?;
    let watched = site.assess(&before, &seen, kind);
    if watched.is_empty() {
        return Err(Failure::new(
            Kind::Refused,
            format!(
                "no service of this project sees {}",
                site.layout.data_dir().display()
            ),
        )
        .hint("name the data directory that its services mount with --data-dir"));
    }
    check_nobody_loses_a_gate(&site, &before, &seen, kind, &watched)?;
    let root = compose_root(&site, &files)?;
    let gate = match kind {
        GateKind::Provider => provider(&site, &root),
        GateKind::OneShot => {
            one_shot(context, &site, &engine, &seen, &root, args.rehearsal).await?
        }
    };
    let image = match &gate {
        Gate::Provider { .. } => String::new(),
        Gate::OneShot { image, .. } => image.clone(),
    };
    let gate_file = GateFile {
        gate,
        require: args.require,
        rehearsal: args.rehearsal,
        settings: settings(&site, base.as_deref(), &files, &before),
        services: watched
            .iter()
            .map(|service| waiting(service, &seen))
            .collect(),
    };
    let handed = rehearse(&site, &gate_file, &seen, kind, base.as_deref(), &files)?;
    let text = file::render(&gate_file);
    let new = match place {
        Place::Override => base,
        Place::Named => {
            let edit = dotenv::add(base.as_deref(), &files, &site.separator, GATE_FILE);
            match edit.map_err(not_editable)? {
                Edit::Write(bytes) => Some(bytes),
                Edit::Keep | Edit::Delete => base,
            }
        }
    };
    carry_out(&mut site, place, text.as_bytes(), new.as_deref())?;
    remove_images(context, &site, &engine, &image).await;
    context.keep_from_git(&site.layout.project_dir().join(place.file()));
    if place == Place::Named && !handed.is_empty() {
        context.say(&format!(
            "these services receive COMPOSE_FILE, which now names one more file, so Compose will recreate their containers: {}",
            handed.join(", ")
        ));
    }
    crate::gate::remember::remember(context, &site.layout);
    if kind == GateKind::Provider {
        context.say("Compose pulls all images before it asks the gate");
    }
    show_status::show(context, &site, &engine).await
}

/// How Compose comes to read the gate's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is named in `COMPOSE_FILE`.
    Named,
    /// It is the override file that Compose reads by itself.
    Override,
}

impl Place {
    const fn file(self) -> &'static str {
        match self {
            Self::Named => GATE_FILE,
            Self::Override => OVERRIDE_FILE,
        }
    }
}

/// The shell's own variables would take the place of what is written to `.env`.
fn check_shell() -> Result<(), Failure> {
    let set = compose::overruling_variables();
    if set.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Kind::Refused,
        format!(
            "this shell sets {}, so Compose does not go by {DOTENV}",
            set.join(", ")
        ),
    )
    .hint(format!(
        "unset it and put its value into {DOTENV}; then again"
    )))
}

fn check_gate_file(context: &Context, site: &Site) -> Result<(), Failure> {
    check_written(context, &site.override_file)?;
    match site.gate_file.bytes().map(file::origin) {
        Some(Origin::Foreign) => Err(Failure::new(
            Kind::Refused,
            format!(
                "{} is not a file of this program",
                site.gate_file.path().display()
            ),
        )
        .hint("give it another name")),
        Some(Origin::Ours | Origin::Edited) | None => check_written(context, &site.gate_file),
    }
}

/// What the gate wrote may be rewritten. The project's own override is not ours to change.
fn check_written(context: &Context, file: &ProjectFile) -> Result<(), Failure> {
    let path = file.path().display();
    match file.bytes().map(file::origin) {
        None | Some(Origin::Ours | Origin::Foreign) => Ok(()),
        Some(Origin::Edited) => {
            if context.agree(&format!(
                "{path} was edited; overwrite it and lose the edits?"
            ))? {
                Ok(())
            } else {
                Err(Failure::new(Kind::Refused, format!("{path} was edited"))
                    .hint("move your lines to a compose file of your own, and name that in COMPOSE_FILE"))
            }
        }
    }
}

fn kind(site: &Site, args: &GateInstallArgs) -> Result<GateKind, Failure> {
    let version = site.compose.version();
    let Some(kind) = version.gate_kind() else {
        return Err(Failure::new(
            Kind::Refused,
            format!(
                "{} is release {version}, expected 1.29 or newer",
                site.compose
            ),
        )
        .hint("install a newer Docker Compose, or name its program with --compose"));
    };
    if args.one_shot || kind == GateKind::OneShot {
        return Ok(GateKind::OneShot);
    }
    // Compose would find no provider, and start nothing for a reason that names none.
    let ours = env!("CARGO_PKG_VERSION");
    let failure = match compose::plugin_version(PROVIDER_TYPE).map_err(refused)? {
        Some(version) if version == ours => return Ok(kind),
        Some(version) => Failure::new(
            Kind::Refused,
            format!(
                "docker's plugin {PROVIDER_TYPE} is release {version}, expected {ours}, as this one"
            ),
        )
        .hint("install this release as the plugin, with install.sh"),
        None => Failure::new(
            Kind::Refused,
            format!("docker finds no plugin {PROVIDER_TYPE}, which Compose would ask"),
        )
        .hint("install it for this user, with install.sh"),
    };
    Err(failure.hint("or pass --one-shot: then Compose needs no plugin"))
}

/// Where Compose takes the project to be: the directory of its first file.
fn compose_root(site: &Site, files: &[String]) -> Result<PathBuf, Failure> {
    let first = files.first().map(String::as_str).unwrap_or_default();
    let path = site.dir().join(first);
    let dir = path.parent().unwrap_or(site.dir());
    std::fs::canonicalize(dir).map_err(|error| {
        Failure::new(
            Kind::Refused,
            format!("the directory of {first:?}, the first file in COMPOSE_FILE, cannot be found: {error}"),
        )
        .hint("name the files in .env without variables")
    })
}

/// Relative wherever that is possible, so that the file says what people expect.
fn below(root: &Path, path: &Path, prefix: &str) -> String {
    match path.strip_prefix(root) {
        Ok(relative) => format!("{prefix}{}", relative.display()),
        Err(_) => path.display().to_string(),
    }
}

fn provider(site: &Site, root: &Path) -> Gate {
    Gate::Provider {
        project_dir: root.display().to_string(),
        data_dir: below(root, site.layout.data_dir(), ""),
    }
}

async fn one_shot(
    context: &Context,
    site: &Site,
    engine: &Engine,
    seen: &Seen,
    root: &Path,
    rehearsal: bool,
) -> Result<Gate, Failure> {
    context.say("making an image of this program");
    // A rehearsal's directory goes, and what is of its own would stay.
    let purpose = if rehearsal {
        Use::Probe
    } else {
        Use::GateOf(site.dir())
    };
    let image = load_self_image(engine, &SelfImageSpec::of(purpose)).await;
    let image = image.map_err(|error| Failure::new(Kind::Unexpected, error.to_string()))?;
    // Docker would make it as root.
    datadir::create_state_dir(&site.layout).map_err(failures::state_dir)?;
    Ok(Gate::OneShot {
        image: image.reference,
        run_as: seen.run_as.clone(),
        data_dir: below(root, site.layout.data_dir(), "./"),
        state_dir: below(root, site.layout.state_dir(), "./"),
    })
}

/// Takes away the images that earlier gates of this project had, once nothing names them. One whose container is still there
/// goes the next time.
pub(crate) async fn remove_images(context: &Context, site: &Site, engine: &Engine, kept: &str) {
    let purpose = Use::GateOf(site.dir());
    let removed = self_image::remove_earlier(engine, purpose, kept, Duration::ZERO).await;
    if let Some(line) = removed.ok().and_then(self_image::removed_line) {
        context.say(&line);
    }
}

/// The project's settings as its files have them, variables and all: the gate's file hands them to the gate with the values of
/// each start. What Compose comes to in another way is left out.
fn settings(site: &Site, dotenv: Option<&[u8]>, files: &[String], project: &Project) -> Settings {
    let documents = site.uninterpolated(dotenv, files);
    let value = |name: &str| installed::variable(dotenv, name);
    // Of each charon, the last text for it, or else the variable alone, if that is what Compose came to.
    let of_charons = |text: fn(&Value) -> Option<String>,
                      of: fn(&Service) -> &Option<String>,
                      setting: Setting| {
        let services = project.services.iter();
        let charons = services.filter(|(name, service)| coverage::is_charon(name, service));
        let texts = charons.filter_map(|(name, service)| {
            let mut bodies = documents
                .iter()
                .filter_map(|it| it.get("services")?.get(name));
            let text = bodies.find_map(text).unwrap_or_else(|| setting.reference());
            (dotenv::interpolated(&text, &value) == *of(service)).then_some(text)
        });
        texts.collect::<BTreeSet<_>>()
    };
    let image = |body: &Value| body.get("image")?.as_str().map(str::to_owned);
    let images = of_charons(image, |service| &service.image, Setting::CharonImage);
    let relays = of_charons(project::relays, |service| &service.relays, Setting::Relays);
    let listed = [
        (Setting::CharonImage, images, " "),
        (Setting::Relays, relays, ","),
    ];
    let listed = listed.into_iter().filter(|(_, texts, _)| !texts.is_empty());
    let listed = listed.map(|(setting, texts, between)| {
        let texts: Vec<String> = texts.into_iter().collect();
        (setting, texts.join(between))
    });
    let variables = site.variables(dotenv, files);
    let variables = variables.map(|it| (it, it.reference()));
    listed.chain(variables).collect()
}

fn waiting(service: &Watched, seen: &Seen) -> Waiting {
    // charon writes into the data directory and nowhere else; others may own directories of their own.
    let needs_user = service.charon && !service.as_owner;
    Waiting {
        service: service.service.clone(),
        run_as: needs_user.then(|| seen.run_as.clone()),
    }
}

/// A project has one gate. One that another node's data directory has is not taken away from it in passing.
fn check_nobody_loses_a_gate(
    site: &Site,
    project: &Project,
    seen: &Seen,
    kind: GateKind,
    watched: &[Watched],
) -> Result<(), Failure> {
    let Some(other) = site.gated_dir() else {
        return Ok(());
    };
    let waits = |name: &str| watched.iter().any(|service| service.service == name);
    let mut lost = Site::assess_of(&other, project, seen, kind);
    lost.retain(|service| !waits(&service.service));
    if lost.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = lost.into_iter().map(|service| service.service).collect();
    let other = report::quoted(&other);
    Err(Failure::new(
        Kind::Refused,
        format!(
            "the gate of this project is for {other}, and a project has one gate: {} would start without being asked",
            names.join(", ")
        ),
    )
    .hint("give each node a compose project of its own, in a directory of its own, with a gate there")
    .hint(format!("if {other} needs no gate any more: `charon-dkg gate remove`, then this again")))
}

/// Lets Compose read copies of both files, and looks at what becomes of the project. Gives what is handed the list of files.
///
/// The project is compared with itself beside a gate that nobody waits for: Compose 1.29 prints what it merged of several files
/// in another order than what is in one.
fn rehearse(
    site: &Site,
    gate_file: &GateFile,
    seen: &Seen,
    kind: GateKind,
    base: Option<&[u8]>,
    files: &[String],
) -> Result<Vec<String>, Failure> {
    let unexpected = |error: std::io::Error| {
        Failure::new(
            Kind::Unexpected,
            format!("cannot write a temporary file: {error}"),
        )
    };
    let dir = tempfile::tempdir().map_err(unexpected)?;
    let copy = dir.path().join(GATE_FILE);
    let entry = copy.display().to_string();
    let edit = dotenv::add(base, files, &site.separator, &entry).map_err(not_editable)?;
    let Edit::Write(bytes) = edit else {
        return Err(Failure::new(
            Kind::Unexpected,
            format!("{entry} is in {DOTENV} already"),
        ));
    };
    let project_with = |file: &GateFile| {
        std::fs::write(&copy, file::render(file)).map_err(unexpected)?;
        site.project_with(Some(&bytes))
    };
    let nobody_waits = GateFile {
        services: Vec::new(),
        ..gate_file.clone()
    };
    let before = project_with(&nobody_waits)?;
    let after = project_with(gate_file)?;
    before
        .check_only_waits_added(&after)
        .map_err(not_understood)?;
    check_effect(site, &after, seen, kind)?;
    Ok(after.handed(&format!("{}{entry}", site.separator)))
}

/// Whether the gate is there, sees the right directory, and everybody waits for it.
fn check_effect(
    site: &Site,
    project: &Project,
    seen: &Seen,
    kind: GateKind,
) -> Result<(), Failure> {
    let wrong = |what: String| {
        Failure::new(Kind::Refused, format!("the gate would not work: {what}")).hint(
            "nothing was changed; please report this with the output of `docker compose config`",
        )
    };
    let Some(gate) = project.services.get(GATE_SERVICE) else {
        return Err(wrong(format!(
            "Compose does not see the service {GATE_SERVICE}"
        )));
    };
    if kind == GateKind::OneShot {
        let data_dir = site.layout.data_dir();
        let sees = |source: &str| compose::real_path(Path::new(source)) == data_dir;
        if !gate.mounts.iter().any(|mount| sees(&mount.source)) {
            return Err(wrong(format!("it does not see {}", data_dir.display())));
        }
    }
    for service in site.assess(project, seen, kind) {
        if service.edge != Edge::Waits {
            return Err(wrong(format!("{} does not wait for it", service.service)));
        }
    }
    Ok(())
}

/// Writes the files, asks Compose once more, and takes all back if that goes wrong.
fn carry_out(
    site: &mut Site,
    place: Place,
    text: &[u8],
    dotenv: Option<&[u8]>,
) -> Result<(), Failure> {
    let bytes = |file: &ProjectFile| file.bytes().map(<[u8]>::to_vec);
    let old_named = bytes(&site.gate_file);
    let old_override = bytes(&site.override_file);
    let old_dotenv = bytes(&site.dotenv);
    let mut write = || -> Result<(), Failure> {
        // The gate's file first and what it was called before last, so that there is a gate all the time.
        let (new, other) = match place {
            Place::Named => (&mut site.gate_file, &mut site.override_file),
            Place::Override => (&mut site.override_file, &mut site.gate_file),
        };
        new.replace(Some(text)).map_err(refused)?;
        site.dotenv.replace(dotenv).map_err(refused)?;
        if is_ours(other) {
            other.replace(None).map_err(refused)?;
        }
        let project = site.project()?;
        if project.services.contains_key(GATE_SERVICE) {
            return Ok(());
        }
        Err(Failure::new(
            Kind::Refused,
            format!("Compose does not see the gate in {}", place.file()),
        ))
    };
    let Err(failure) = write() else {
        return Ok(());
    };
    let undone = site
        .dotenv
        .replace(old_dotenv.as_deref())
        .and_then(|()| site.override_file.replace(old_override.as_deref()))
        .and_then(|()| site.gate_file.replace(old_named.as_deref()));
    match undone {
        Ok(()) => Err(failure.hint("nothing was changed")),
        Err(error) => Err(failure.hint(format!("and taking it back failed: {error}"))),
    }
}
