//! A compose project as it is now: its files, what Compose makes of them, and who sees the data directory.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use serde_json::Value;

use crate::ceremony::settings::Setting;
use crate::ceremony::surroundings;
use crate::cli::{Format, ProgressStyle};
use crate::context::Context;
use crate::docker::{Engine, Mode, user_for};
use crate::error::{Failure, Kind};
use crate::failures;
use crate::gate::compose::{self, Compose, ComposeError, EngineChoice, ProjectFile, Streams};
use crate::gate::coverage::{Readers, RunAs, Scene, Watched, assess};
use crate::gate::dotenv::{self, DotenvError, Edit};
use crate::gate::file::{self, Origin};
use crate::gate::project::{Project, ProjectError, Via};
use crate::gate::{GATE_FILE, GATE_SERVICE, GateKind, OVERRIDE_FILE, installed};
use crate::machine::datadir::Layout;
use crate::machine::files::Owner;

pub(crate) const DOTENV: &str = ".env";

/// A project's directory, with Compose at hand.
pub(crate) struct Site {
    pub(crate) layout: Layout,
    pub(crate) compose: Compose,
    pub(crate) dotenv: ProjectFile,
    /// [`GATE_FILE`], whosever it is.
    pub(crate) gate_file: ProjectFile,
    /// [`OVERRIDE_FILE`], whosever it is.
    pub(crate) override_file: ProjectFile,
    pub(crate) separator: String,
}

/// Who sees the data directory, and what had to be asked for that.
pub(crate) struct Seen {
    pub(crate) run_as: RunAs,
    image_users: BTreeMap<String, String>,
    /// Where volumes are, by the engine's names.
    volumes: BTreeMap<String, PathBuf>,
}

impl Site {
    pub(crate) fn open(
        context: &Context,
        layout: Layout,
        program: Option<&Path>,
    ) -> Result<Self, Failure> {
        let choice = EngineChoice {
            host: context.common.host.clone(),
            context: context.common.context.clone(),
        };
        let compose = Compose::find(program, &choice).map_err(no_compose)?;
        let dotenv = ProjectFile::read(layout.project_dir(), DOTENV).map_err(refused)?;
        let gate_file = ProjectFile::read(layout.project_dir(), GATE_FILE).map_err(refused)?;
        let override_file =
            ProjectFile::read(layout.project_dir(), OVERRIDE_FILE).map_err(refused)?;
        let variable = compose::separator_variable();
        let separator = dotenv::separator(dotenv.bytes(), variable.as_deref());
        Ok(Self {
            layout,
            compose,
            dotenv,
            gate_file,
            override_file,
            separator,
        })
    }

    pub(crate) fn dir(&self) -> &Path {
        self.layout.project_dir()
    }

    /// `.env` as it is without the gate; `None` if it would not be there.
    pub(crate) fn dotenv_without_gate(&self) -> Result<Option<Vec<u8>>, Failure> {
        let edit = dotenv::remove(self.dotenv.bytes(), &self.separator, GATE_FILE);
        match edit.map_err(not_editable)? {
            Edit::Keep => Ok(self.dotenv.bytes().map(<[u8]>::to_vec)),
            Edit::Write(bytes) => Ok(Some(bytes)),
            Edit::Delete => Ok(None),
        }
    }

    /// The files of the project without the gate, in their order.
    pub(crate) fn files(&self, dotenv: Option<&[u8]>) -> Result<Vec<String>, Failure> {
        match dotenv::files(dotenv, &self.separator).map_err(not_editable)? {
            Some(files) => Ok(files),
            None => compose::default_files(self.dir(), self.own_override()).map_err(|error| {
                refused(error).hint(
                    "name the project directory with --dir, or its files in COMPOSE_FILE in .env",
                )
            }),
        }
    }

    /// The override file, if it is the gate's.
    pub(crate) fn own_override(&self) -> Option<&'static str> {
        is_ours(&self.override_file).then_some(OVERRIDE_FILE)
    }

    /// The project as Compose sees it without the gate, which is these files.
    pub(crate) fn project_without_gate(
        &self,
        base: Option<&[u8]>,
        files: &[String],
    ) -> Result<Project, Failure> {
        let bytes = self.naming(base, files).map_err(not_editable)?;
        self.project_with(bytes.as_deref())
    }

    /// `.env` naming these files, if it does not already.
    fn naming(
        &self,
        base: Option<&[u8]>,
        files: &[String],
    ) -> Result<Option<Vec<u8>>, DotenvError> {
        Ok(match dotenv::files(base, &self.separator)? {
            Some(_) => base.map(<[u8]>::to_vec),
            None => Some(dotenv::naming(base, files, &self.separator)),
        })
    }

    /// The project as Compose sees it.
    ///
    /// # Errors
    /// What Compose says against it; and if the gate's part is all that is left of a service, as after an update of the
    /// project: Compose starts, stops and shows nothing then.
    pub(crate) fn project(&self) -> Result<Project, Failure> {
        let project = self.parse(self.compose.config(self.dir(), None))?;
        match (project.without_body(), self.own_file()) {
            (Some(service), Some(file)) => Err(gone(
                Failure::new(
                    Kind::Refused,
                    format!("service {service} has neither an image nor a build context"),
                ),
                file,
            )),
            (_, _) => Ok(project),
        }
    }

    /// The project as Compose would see it with other bytes in `.env`.
    pub(crate) fn project_with(&self, dotenv: Option<&[u8]>) -> Result<Project, Failure> {
        if dotenv == self.dotenv.bytes() {
            return self.project();
        }
        let other = in_place_of_dotenv(dotenv).map_err(|error| {
            Failure::new(
                Kind::Unexpected,
                format!("cannot write a temporary file: {error}"),
            )
        })?;
        self.parse(self.compose.config(self.dir(), Some(other.path())))
    }

    /// The project without the gate with its variables as its files have them: as Compose merges these, or where it cannot,
    /// document by document, the last one first.
    pub(crate) fn uninterpolated(&self, base: Option<&[u8]>, files: &[String]) -> Vec<Value> {
        let merged = || -> Option<Value> {
            if !self.compose.version().is_second() {
                return None;
            }
            let bytes = self.naming(base, files).ok()?;
            let dotenv = in_place_of_dotenv(bytes.as_deref()).ok()?;
            let printed = self.compose.uninterpolated(self.dir(), dotenv.path());
            serde_json::from_slice(&printed.ok()?).ok()
        };
        let documents = |file: &String| ProjectFile::read(self.dir(), file).ok()?.documents();
        let each = || {
            let in_order: Vec<Value> = files.iter().filter_map(documents).flatten().collect();
            in_order.into_iter().rev().collect()
        };
        merged().map_or_else(each, |it| vec![it])
    }

    fn parse(&self, printed: Result<Vec<u8>, ComposeError>) -> Result<Project, Failure> {
        let printed = printed.map_err(|error| match self.has_gone(&error) {
            Some(file) => gone(refused(error), file),
            None => refused(error).hint(format!(
                "fix the project until `{} config` prints it",
                self.compose
            )),
        })?;
        Project::parse(&printed).map_err(not_understood)
    }

    /// The gate's file, if what Compose says is that it names a service which the project does not have: all that is left of
    /// that is the gate's part, without image.
    fn has_gone(&self, error: &ComposeError) -> Option<&'static str> {
        let said = error.to_string();
        // Of the gate's own service an older Compose says so that knows no providers.
        let of_another = !said.contains(GATE_SERVICE);
        let is_hollow = said.contains("neither an image nor a build context");
        self.own_file().filter(|_| of_another && is_hollow)
    }

    /// The data directory that the gate which is here was installed for, as far as Compose reads the project.
    pub(crate) fn gated_dir(&self) -> Option<PathBuf> {
        self.own_file()?;
        let project = self.project().ok()?;
        let gate = project.services.get(GATE_SERVICE)?;
        let dir = match &gate.provider {
            Some(_) => Path::new(gate.option("project-dir")?).join(gate.option("data-dir")?),
            None => {
                let there = Via::Volume(file::DATA_DIR_INSIDE.to_owned());
                let mount = gate.mounts.iter().find(|mount| mount.via == there)?;
                PathBuf::from(&mount.source)
            }
        };
        Some(compose::real_path(&dir))
    }

    /// The gate's file that is here.
    fn own_file(&self) -> Option<&'static str> {
        let named = is_ours(&self.gate_file).then_some(GATE_FILE);
        named.or(self.own_override())
    }

    /// The settings that are variables alone and concern this project: those that `.env` sets or a file of the project names.
    pub(crate) fn variables(
        &self,
        dotenv: Option<&[u8]>,
        files: &[String],
    ) -> impl Iterator<Item = Setting> {
        let text = |file: &String| -> Option<String> {
            let file = ProjectFile::read(self.dir(), file).ok()?;
            Some(String::from_utf8_lossy(file.bytes()?).into_owned())
        };
        let texts: Vec<String> = files.iter().filter_map(text).collect();
        let settings = [Setting::Network, Setting::Rewards].into_iter();
        settings.filter(move |setting| {
            let variable = setting.variable();
            let set = dotenv.and_then(|bytes| dotenv::value(bytes, variable, &installed::shell));
            set.is_some_and(|value| !value.trim().is_empty())
                || texts.iter().any(|text| dotenv::mentions(text, variable))
        })
    }

    /// Asks the engine what the assessment needs.
    pub(crate) async fn look(&self, engine: &Engine, project: &Project) -> Result<Seen, Failure> {
        let facts = engine.facts().await.map_err(failures::engine)?;
        let run_as = run_as(facts.mode, self.layout.owner().map_err(failures::file)?)?;
        let mut image_users = BTreeMap::new();
        for image in project
            .services
            .values()
            .filter_map(|service| service.image.as_ref())
        {
            // An image that is not here, or an engine that cannot say, leaves the user unknown.
            if let Ok(Some(found)) = engine.inspect_image(image).await {
                image_users.insert(image.clone(), found.user);
            }
        }
        let mut volumes = BTreeMap::new();
        for name in project
            .sources()
            .into_iter()
            .filter(|it| !it.starts_with('/'))
        {
            // One that is not there yet is made empty.
            let path = engine.volume_path(name).await.map_err(failures::engine)?;
            volumes.extend(path.map(|path| (name.to_owned(), path)));
        }
        Ok(Seen {
            run_as,
            image_users,
            volumes,
        })
    }

    /// Whether the engine has this image, as far as it was asked.
    pub(crate) fn has_image(seen: &Seen, image: &str) -> bool {
        seen.image_users.contains_key(image)
    }

    /// Who sees the data directory.
    pub(crate) fn assess(&self, project: &Project, seen: &Seen, kind: GateKind) -> Vec<Watched> {
        Self::assess_of(self.layout.data_dir(), project, seen, kind)
    }

    /// Who sees this data directory.
    pub(crate) fn assess_of(
        data_dir: &Path,
        project: &Project,
        seen: &Seen,
        kind: GateKind,
    ) -> Vec<Watched> {
        let real_paths: BTreeMap<String, PathBuf> = project
            .sources()
            .into_iter()
            .filter_map(|source| {
                let volume = seen.volumes.get(source).map(PathBuf::as_path);
                let path = source.starts_with('/').then_some(Path::new(source));
                Some((source.to_owned(), compose::real_path(volume.or(path)?)))
            })
            .collect();
        assess(
            project,
            &Scene {
                data_dir,
                real_paths: &real_paths,
                image_users: &seen.image_users,
                run_as: &seen.run_as,
                kind,
            },
        )
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Runs Compose. What it says is for people and goes to standard error where a program reads standard output, and
    /// as events where a program reads that too.
    pub(crate) fn start(
        &self,
        context: &Context,
        words: &[OsString],
    ) -> Result<ExitStatus, Failure> {
        let take = |line: &str| context.terminal.said(COMPOSE_EVENT, line);
        let streams = match (context.common.progress, context.common.format) {
            (ProgressStyle::Json, _) | (_, Format::Json) => Streams::Lines(&take),
            (ProgressStyle::Auto | ProgressStyle::Plain | ProgressStyle::Quiet, Format::Text) => {
                Streams::Ours
            }
        };
        self.compose
            .run(self.dir(), words, streams)
            .map_err(refused)
    }

    /// Compose's command for people.
    pub(crate) fn spelt(&self, words: &str) -> String {
        format!("{} {words}", self.compose)
    }
}

/// A file for Compose to read in place of `.env`, which may hold secrets: its mode is 0600.
fn in_place_of_dotenv(bytes: Option<&[u8]>) -> std::io::Result<tempfile::NamedTempFile> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), bytes.unwrap_or_default())?;
    Ok(file)
}

/// The event of a line that Compose wrote.
const COMPOSE_EVENT: &str = "compose";

/// As whom a container reads the data directory with this engine, and who else could.
fn run_as(mode: Mode, owner: Owner) -> Result<RunAs, Failure> {
    let mapping = user_for(mode, owner.uid, owner.gid).map_err(|error| {
        Failure::new(Kind::Refused, error.to_string())
            .hint("use a data directory of the user who runs the engine, or a rootful engine")
    })?;
    let readers = match mode {
        Mode::DockerDesktop => Readers::Anyone,
        Mode::UsernsRemap => Readers::OwnerOnly,
        // Root of such an engine's container is the user who runs the engine, who is the owner here.
        Mode::Rootful
        | Mode::PodmanRootful
        | Mode::Rootless { .. }
        | Mode::PodmanRootless { .. } => Readers::OwnerAndRoot,
    };
    Ok(RunAs {
        user: mapping.user,
        userns_mode: mapping.userns_mode,
        readers,
    })
}

pub(crate) async fn engine(context: &Context) -> Result<Engine, Failure> {
    let endpoint = context
        .endpoint()
        .map_err(|error| Failure::new(Kind::Refused, error.to_string()))?;
    Engine::connect(&endpoint).await.map_err(|error| {
        let advice = surroundings::engine_advice(&error);
        failures::engine(error).hint(advice)
    })
}

fn gone(failure: Failure, file: &str) -> Failure {
    failure
        .hint(format!(
            "this project no longer has a service that {file} makes wait, as after an update: Compose refuses everything until the gate is written again"
        ))
        .hint("`charon-dkg gate install`")
}

/// Whether a project's file is one that the gate wrote, edited or not.
pub(crate) fn is_ours(file: &ProjectFile) -> bool {
    match file.bytes().map(file::origin) {
        Some(Origin::Ours | Origin::Edited) => true,
        Some(Origin::Foreign) | None => false,
    }
}

/// Compose's own refusals and files that are not as expected: nothing was changed.
pub(crate) fn refused(error: ComposeError) -> Failure {
    Failure::new(Kind::Refused, error.to_string())
}

fn no_compose(error: ComposeError) -> Failure {
    refused(error)
        .hint("install Docker Compose, or name its program with --compose or CHARON_DKG_COMPOSE")
}

pub(crate) fn not_understood(error: ProjectError) -> Failure {
    Failure::new(Kind::Refused, error.to_string())
}

/// What cannot be edited exactly, people edit.
pub(crate) fn not_editable(error: DotenvError) -> Failure {
    let failure = Failure::new(Kind::Refused, error.to_string());
    match error {
        DotenvError::BlockChanged => failure.hint(format!(
            "edit .env: keep your own lines, take out those of the gate and {GATE_FILE} in COMPOSE_FILE; then again"
        )),
        DotenvError::OddForm { .. } | DotenvError::Empty { .. } => {
            failure.hint("write it in one line, as COMPOSE_FILE=docker-compose.yml:more.yml; then again")
        }
        DotenvError::SeparatorInName { .. }
        | DotenvError::NamedOften { .. }
        | DotenvError::NothingLeft { .. } => {
            failure.hint(format!("edit COMPOSE_FILE in .env so that it is right without {GATE_FILE}; then again"))
        }
    }
}

/// Words for a child process.
pub(crate) fn os(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}
