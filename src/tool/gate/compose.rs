//! Running Compose, and the two files of a project that the gate changes.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

use serde_json::Value;

use crate::gate::{ComposeVersion, dotenv, yaml};
use crate::machine::files::{self, FileError, Owner};
use crate::machine::read::{self, Limit, ReadError};

/// The files that Compose reads where nobody names any, first come first (compose-go `cli.DefaultFileNames`; 1.29
/// `config.SUPPORTED_FILENAMES`, in another order).
const DEFAULT_FILES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
];

/// The files that Compose reads beside those (compose-go `cli.DefaultOverrideFileNames`).
const DEFAULT_OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// Variables under which Compose reads other files than those of the project directory and its `.env`.
const OVERRULING: [&str; 3] = [
    "COMPOSE_FILE",
    "COMPOSE_ENV_FILES",
    "COMPOSE_DISABLE_ENV_FILE",
];

/// Variables of the shell that would make Compose see another project than the directory's own.
pub const PROJECT_VARIABLES: [&str; 5] = [
    "COMPOSE_FILE",
    "COMPOSE_ENV_FILES",
    "COMPOSE_DISABLE_ENV_FILE",
    "COMPOSE_PROJECT_NAME",
    "COMPOSE_PROFILES",
];

/// What docker tells a plugin that it starts. A Compose program that inherits the first takes itself for a plugin and
/// misreads its arguments (docker/cli `plugin.RunningStandalone`, seen with Compose 2.26); the second makes it stop when
/// docker closes our socket, which is for us to decide.
const PLUGIN_VARIABLES: [&str; 2] = [
    "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND",
    "DOCKER_CLI_PLUGIN_SOCKET",
];

/// Mode of a file that a project did not have: compose files hold no secrets, and any user may run Compose.
const NEW_FILE_MODE: u32 = 0o644;

/// `.env` holds some dozens of lines, and compose files some hundreds.
const PROJECT_FILE: Limit = Limit {
    bytes: 1 << 20,
    what: "a project's file",
};

/// What went wrong with Compose or a project's files.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// No Compose at all.
    #[error("neither `docker compose` nor `docker-compose` is here")]
    NotFound,
    /// The program does not run.
    #[error("cannot run {program}: {cause}")]
    NotRunnable {
        /// As it was called.
        program: String,
        /// Why.
        cause: io::Error,
    },
    /// It does not tell its version.
    #[error("{program} says its version is {seen:?}, expected numbers such as 2.40.3")]
    UnknownVersion {
        /// As it was called.
        program: String,
        /// What it printed.
        seen: String,
    },
    /// It failed.
    #[error("`{command}` failed: {said}")]
    Failed {
        /// As it was called.
        command: String,
        /// What it printed to standard error.
        said: String,
    },
    /// The directory has no compose file, or more than one that might be meant.
    #[error("{} has {seen}, expected one of {}", dir.display(), DEFAULT_FILES.join(", "))]
    DefaultFiles {
        /// The project directory.
        dir: PathBuf,
        /// What is there.
        seen: String,
    },
    /// A file of the project cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file of the project cannot be changed.
    #[error(transparent)]
    File(#[from] FileError),
    /// Somebody else wrote a file since it was read.
    #[error("{} was changed by another program meanwhile", path.display())]
    ChangedMeanwhile {
        /// The file.
        path: PathBuf,
    },
}

/// Which engine a child is to use: what was said on our command line, or nothing.
#[derive(Debug, Clone, Default)]
pub struct EngineChoice {
    /// `--host`.
    pub host: Option<String>,
    /// `--context`.
    pub context: Option<String>,
}

/// Compose, of any age.
#[derive(Debug, Clone)]
pub struct Compose {
    words: Vec<OsString>,
    engine: EngineChoice,
    version: ComposeVersion,
}

impl Compose {
    /// Finds Compose: the program that was named, or docker's plugin, or the program of its own.
    ///
    /// # Errors
    /// If there is no Compose, or it does not tell its version.
    pub fn find(named: Option<&Path>, engine: &EngineChoice) -> Result<Self, ComposeError> {
        if let Some(program) = named {
            return Self::ask(vec![program.into()], engine);
        }
        let plugin = Self::ask(vec!["docker".into(), "compose".into()], engine);
        plugin
            .or_else(|_| Self::ask(vec!["docker-compose".into()], engine))
            .map_err(|_| ComposeError::NotFound)
    }

    fn ask(words: Vec<OsString>, engine: &EngineChoice) -> Result<Self, ComposeError> {
        let compose = Self {
            words,
            engine: engine.clone(),
            version: ComposeVersion { major: 0, minor: 0 },
        };
        let mut command = compose.command(Path::new("."));
        let told = run(command.args(["version", "--short"]))?;
        let text = String::from_utf8_lossy(&told.stdout);
        match ComposeVersion::parse(&text) {
            Some(version) => Ok(Self { version, ..compose }),
            None => Err(ComposeError::UnknownVersion {
                program: compose.to_string(),
                seen: text.trim().to_owned(),
            }),
        }
    }

    /// Its version.
    pub const fn version(&self) -> ComposeVersion {
        self.version
    }

    /// A command of Compose's to be run in this directory; arguments are for the caller to add.
    pub fn command(&self, dir: &Path) -> Command {
        let mut words = self.words.iter();
        let mut command = Command::new(
            words
                .next()
                .map_or(OsStr::new("docker"), OsString::as_os_str),
        );
        command.args(words).current_dir(dir);
        for variable in PLUGIN_VARIABLES {
            command.env_remove(variable);
        }
        // One of them would overrule the other.
        if let Some(host) = &self.engine.host {
            command
                .env("DOCKER_HOST", host)
                .env_remove("DOCKER_CONTEXT");
        }
        if let Some(context) = &self.engine.context {
            command
                .env("DOCKER_CONTEXT", context)
                .env_remove("DOCKER_HOST");
        }
        command
    }

    /// The whole project in this directory, services of every profile included, as Compose prints it; with another file
    /// in place of `.env` if one is given.
    ///
    /// # Errors
    /// What Compose says against the project.
    pub fn config(&self, dir: &Path, dotenv: Option<&Path>) -> Result<Vec<u8>, ComposeError> {
        let reading = dotenv.map_or(Reading::ByItself, Reading::EnvFile);
        self.config_reading(dir, reading)
    }

    /// The same, told in one of several ways what to read.
    ///
    /// # Errors
    /// What Compose says against the project.
    pub fn config_reading(
        &self,
        dir: &Path,
        reading: Reading<'_>,
    ) -> Result<Vec<u8>, ComposeError> {
        self.printed(dir, reading, &[])
    }

    /// The project that this file in place of `.env` makes, with variables where its files have them. Not of 1.29, which puts
    /// some in all the same.
    ///
    /// # Errors
    /// What Compose says against the project.
    pub fn uninterpolated(&self, dir: &Path, dotenv: &Path) -> Result<Vec<u8>, ComposeError> {
        self.printed(dir, Reading::EnvFile(dotenv), &["--no-interpolate"])
    }

    fn printed(
        &self,
        dir: &Path,
        reading: Reading<'_>,
        how: &[&str],
    ) -> Result<Vec<u8>, ComposeError> {
        let ask = |more: &[&str]| {
            let mut command = self.command(dir);
            match reading {
                Reading::ByItself => {}
                Reading::EnvFile(file) => drop(command.arg("--env-file").arg(file)),
                Reading::File(file) => drop(command.arg("--file").arg(file)),
                Reading::Variable(name, value) => drop(command.env(name, value)),
            }
            // 1.29 always prints all services, and YAML only.
            if self.version.is_second() {
                command.args(["--profile", "*", "config", "--format", "json"]);
            } else {
                command.arg("config");
            }
            run(command.args(how).args(more))
        };
        // Two services of different profiles may well have one container's name; with all profiles that is refused.
        let told = ask(&[]).or_else(|error| match self.version.is_second() {
            true => ask(&["--no-consistency"]).map_err(|_| error),
            false => Err(error),
        });
        told.map(|output| output.stdout)
    }

    /// Runs Compose in this directory with our own streams, and waits for its end.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn run(
        &self,
        dir: &Path,
        args: &[OsString],
        streams: Streams<'_>,
    ) -> Result<ExitStatus, ComposeError> {
        let mut command = self.command(dir);
        command.args(args);
        let ended = match streams {
            Streams::Ours => command.status(),
            Streams::Lines(take) => by_line(&mut command, take),
        };
        let program = self.to_string();
        ended.map_err(|cause| ComposeError::NotRunnable { program, cause })
    }

    /// Runs Compose in this directory and keeps what it prints.
    ///
    /// # Errors
    /// If it cannot be run or fails.
    pub fn run_quietly(&self, dir: &Path, args: &[&str]) -> Result<(), ComposeError> {
        run(self.command(dir).args(args)).map(|_| ())
    }
}

impl std::fmt::Display for Compose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<_> = self.words.iter().map(crate::report::quoted).collect();
        f.write_str(&words.join(" "))
    }
}

/// What Compose is told to read.
#[derive(Debug, Clone, Copy)]
pub enum Reading<'a> {
    /// Nothing: it looks for its files.
    ByItself,
    /// This file in place of `.env`.
    EnvFile(&'a Path),
    /// This compose file.
    File(&'a str),
    /// What this variable of the shell says, `COMPOSE_FILE` or another.
    Variable(&'a str, &'a str),
}

/// Where Compose's own words go.
#[derive(Clone, Copy)]
pub enum Streams<'a> {
    /// To our standard output and error.
    Ours,
    /// To this, line by line.
    Lines(&'a (dyn Fn(&str) + Sync)),
}

/// Runs a program and hands on each line that it writes, to whichever of its streams.
fn by_line(command: &mut Command, take: &(dyn Fn(&str) + Sync)) -> io::Result<ExitStatus> {
    let (read, write) = io::pipe()?;
    let mut child = command
        .stdout(write.try_clone()?)
        .stderr(write)
        .stdin(Stdio::null())
        .spawn()?;
    // The pipe ends only when nobody holds its other end any more, and the command holds two.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    for line in BufReader::new(read).split(b'\n') {
        let line = line?;
        take(String::from_utf8_lossy(&line).trim_end());
    }
    child.wait()
}

/// What docker says of itself in `docker info --format '{{json .ClientInfo.Plugins}}'`.
#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Plugin {
    name: String,
    #[serde(default)]
    version: String,
}

/// The version of a plugin, as docker finds it, and so Compose; `None` if there is no such plugin.
///
/// # Errors
/// If docker cannot be run. That its engine does not answer is no reason.
pub fn plugin_version(name: &str) -> Result<Option<String>, ComposeError> {
    let words = ["info", "--format", "{{json .ClientInfo.Plugins}}"];
    let told = run(Command::new("docker").args(words))?;
    let plugins: Option<Vec<Plugin>> = serde_json::from_slice(&told.stdout).unwrap_or_default();
    let found = plugins
        .unwrap_or_default()
        .into_iter()
        .find(|plugin| plugin.name == name);
    Ok(found.map(|plugin| plugin.version))
}

fn run(command: &mut Command) -> Result<Output, ComposeError> {
    let output =
        command
            .stdin(Stdio::null())
            .output()
            .map_err(|cause| ComposeError::NotRunnable {
                program: command.get_program().to_string_lossy().into_owned(),
                cause,
            })?;
    if output.status.success() {
        return Ok(output);
    }
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ComposeError::Failed {
        command: words.join(" "),
        said: if said.is_empty() {
            output.status.to_string()
        } else {
            said
        },
    })
}

/// Variables of this process under which a project's `.env` would not count, with their values.
pub fn overruling_variables() -> Vec<String> {
    OVERRULING
        .into_iter()
        .filter_map(|name| {
            let value = std::env::var(name).ok()?;
            (!value.is_empty()).then(|| format!("{name}={value}"))
        })
        .collect()
}

/// The separator that this process's environment sets.
pub fn separator_variable() -> Option<String> {
    std::env::var("COMPOSE_PATH_SEPARATOR").ok()
}

/// The override files in this directory, of which Compose takes the first.
pub fn overrides(dir: &Path) -> Vec<String> {
    here(dir, DEFAULT_OVERRIDES)
}

fn here(dir: &Path, names: [&str; 4]) -> Vec<String> {
    let there = names.into_iter().filter(|name| dir.join(name).exists());
    there.map(str::to_owned).collect()
}

/// The files that Compose would read in this directory by itself, if `ours` were not there.
///
/// # Errors
/// If there are no files, or several of which different releases take different ones.
pub fn default_files(dir: &Path, ours: Option<&str>) -> Result<Vec<String>, ComposeError> {
    let wrong = |seen: String| ComposeError::DefaultFiles {
        dir: dir.to_owned(),
        seen,
    };
    let files = here(dir, DEFAULT_FILES);
    let mut overrides = overrides(dir);
    overrides.retain(|name| Some(name.as_str()) != ours);
    match (files.as_slice(), overrides.as_slice()) {
        ([], _) => Err(wrong("no compose file".to_owned())),
        ([_], [] | [_]) => Ok([files, overrides].concat()),
        ([_], several) | (several, _) => Err(wrong(several.join(" and "))),
    }
}

/// The real path of something, or of what it will be once it is made.
pub fn real_path(path: &Path) -> PathBuf {
    let mut missing = Vec::new();
    let mut there = path;
    loop {
        if let Ok(real) = fs::canonicalize(there) {
            return missing
                .iter()
                .rev()
                .fold(real, |path, name| path.join(name));
        }
        let (Some(parent), Some(name)) = (there.parent(), there.file_name()) else {
            return path.to_owned();
        };
        missing.push(name);
        there = parent;
    }
}

/// A file of a project, as it was when it was read.
#[derive(Debug, Clone)]
pub struct ProjectFile {
    /// Where it really is: `.env` may be a link.
    path: PathBuf,
    bytes: Option<Vec<u8>>,
}

impl ProjectFile {
    /// Reads a file that may not be there.
    ///
    /// # Errors
    /// If it is there and is no readable file of a sensible size.
    pub fn read(dir: &Path, name: &str) -> Result<Self, ComposeError> {
        let path = real_path(&dir.join(name));
        let bytes = match read::read_file(&path, PROJECT_FILE) {
            Ok(bytes) => Some(bytes),
            Err(_)
                if fs::symlink_metadata(&path)
                    .is_err_and(|error| error.kind() == io::ErrorKind::NotFound) =>
            {
                None
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { path, bytes })
    }

    /// What was in it; `None` if it was not there.
    pub fn bytes(&self) -> Option<&[u8]> {
        self.bytes.as_deref()
    }

    /// What it says as YAML, document by document; `None` if it is not there or no YAML.
    pub(crate) fn documents(&self) -> Option<Vec<Value>> {
        yaml::documents(self.bytes()?)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it other content, whole or not at all, with the mode and the owner that it has; `None` removes it.
    ///
    /// # Errors
    /// If somebody else changed it meanwhile, or the operating system refuses.
    pub fn replace(&mut self, bytes: Option<&[u8]>) -> Result<(), ComposeError> {
        let (dir, name) = match (self.path.parent(), self.path.file_name()) {
            (Some(dir), Some(name)) => (dir.to_owned(), name.to_string_lossy().into_owned()),
            (_, _) => (PathBuf::from("/"), String::new()),
        };
        if Self::read(&dir, &name)?.bytes != self.bytes {
            return Err(ComposeError::ChangedMeanwhile {
                path: self.path.clone(),
            });
        }
        match bytes {
            Some(bytes) => self.write(&dir, bytes)?,
            None if self.bytes.is_some() => fs::remove_file(&self.path)
                .map_err(|cause| FileError::new("remove", &self.path, cause))?,
            None => {}
        }
        self.bytes = bytes.map(<[u8]>::to_vec);
        Ok(())
    }

    fn write(&self, dir: &Path, bytes: &[u8]) -> Result<(), FileError> {
        let write = || -> io::Result<()> {
            let (owner, mode) = match fs::metadata(&self.path) {
                Ok(there) => (owner_of(&there), there.mode() & 0o7777),
                // Root acts for the project's owner.
                Err(_) if files::acting_as_root() => (owner_of(&fs::metadata(dir)?), NEW_FILE_MODE),
                Err(_) => (files::own_identity(), NEW_FILE_MODE),
            };
            // One name, so that what a killed command left of it goes with the next: the file may hold secrets, as `.env` does.
            let mut name = OsString::from(files::UNFINISHED);
            name.push(self.path.file_name().unwrap_or_default());
            match fs::remove_file(dir.join(&name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let mut temporary = tempfile::Builder::new()
                .prefix(&name)
                .rand_bytes(0)
                .permissions(fs::Permissions::from_mode(0o600))
                .tempfile_in(dir)?;
            temporary.write_all(bytes)?;
            files::settle(temporary.as_file(), owner, mode)?;
            temporary.as_file().sync_all()?;
            temporary
                .persist(&self.path)
                .map_err(|failed| failed.error)?;
            fs::File::open(dir)?.sync_all()
        };
        write().map_err(|cause| FileError::new("write", &self.path, cause))
    }
}

fn owner_of(there: &fs::Metadata) -> Owner {
    Owner {
        uid: there.uid(),
        gid: there.gid(),
    }
}

/// Why the project that Compose was called for cannot be told.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownCall {
    /// The parent process is not Compose, or hides its command line.
    #[error("this gate was not asked by a Compose that it knows: {seen}")]
    NotCompose {
        /// What is known of the parent.
        seen: String,
    },
    /// A flag of another release.
    #[error(
        "Compose was called with {flag}, which this gate does not know, so it cannot tell for which project"
    )]
    UnknownFlag {
        /// As typed, without its value.
        flag: String,
    },
    /// No compose file where Compose looks.
    #[error("Compose was called in {dir}, where this gate finds no compose file")]
    NoProject {
        /// Compose's own directory.
        dir: PathBuf,
    },
}

/// The directory of the project that our parent, Compose, was called for.
///
/// A provider is not told. What Compose goes by is its command line, `COMPOSE_FILE`, and the nearest directory upwards
/// with a compose file (compose-go `ProjectOptions.GetWorkingDir`).
///
/// # Errors
/// Where that cannot be told; the gate is closed then.
pub fn calling_project() -> Result<PathBuf, UnknownCall> {
    let hidden = |error: &dyn std::fmt::Display| UnknownCall::NotCompose {
        seen: format!("the command line of its parent process cannot be read ({error})"),
    };
    let parent = rustix::process::getppid().ok_or_else(|| hidden(&"there is none"))?;
    let line = fs::read(format!("/proc/{}/cmdline", parent.as_raw_nonzero()))
        .map_err(|error| hidden(&error))?;
    let words: Vec<OsString> = line
        .strip_suffix(b"\0")
        .unwrap_or(&line)
        .split(|byte| *byte == 0)
        .map(|word| OsStr::from_bytes(word).to_owned())
        .collect();
    // Compose starts us in its own directory.
    let here = std::env::current_dir().map_err(|error| hidden(&error))?;
    let named = match named_project(&words)? {
        Named::Directory(dir) => Some(here.join(dir)),
        Named::File(file) if file == Path::new("-") => Some(here.clone()),
        Named::File(file) => here.join(file).parent().map(Path::to_owned),
        Named::Nothing => named_by_variable(&here),
    };
    let dir = named.or_else(|| {
        here.ancestors()
            .find(|dir| DEFAULT_FILES.iter().any(|name| dir.join(name).exists()))
            .map(Path::to_owned)
    });
    dir.and_then(|dir| fs::canonicalize(dir).ok())
        .ok_or(UnknownCall::NoProject { dir: here })
}

/// The directory of the first file in `COMPOSE_FILE`, of the environment or of `.env`.
fn named_by_variable(here: &Path) -> Option<PathBuf> {
    let dotenv = ProjectFile::read(here, ".env").ok();
    let bytes = dotenv.as_ref().and_then(ProjectFile::bytes);
    let separator = dotenv::separator(bytes, separator_variable().as_deref());
    let first = match std::env::var("COMPOSE_FILE") {
        Ok(list) => list.split(&*separator).next().map(str::to_owned),
        Err(_) => dotenv::files(bytes, &separator).ok()??.into_iter().next(),
    };
    here.join(first.filter(|first| !first.is_empty())?)
        .parent()
        .map(Path::to_owned)
}

/// What Compose's command line says about the project.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    Directory(PathBuf),
    File(PathBuf),
    Nothing,
}

/// What a flag before Compose's command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flag {
    Directory,
    File,
    Value,
    Switch,
}

/// The flags of docker, which come before `compose`, and of Compose, 1.29 to 5.
const FLAGS: [(&str, Option<char>, Flag); 28] = [
    ("project-directory", None, Flag::Directory),
    ("workdir", None, Flag::Directory),
    ("file", Some('f'), Flag::File),
    ("ansi", None, Flag::Value),
    ("env-file", None, Flag::Value),
    ("parallel", None, Flag::Value),
    ("profile", None, Flag::Value),
    ("progress", None, Flag::Value),
    ("project-name", Some('p'), Flag::Value),
    ("config", None, Flag::Value),
    ("context", Some('c'), Flag::Value),
    ("host", Some('H'), Flag::Value),
    ("log-level", Some('l'), Flag::Value),
    ("tlscacert", None, Flag::Value),
    ("tlscert", None, Flag::Value),
    ("tlskey", None, Flag::Value),
    ("all-resources", None, Flag::Switch),
    ("compatibility", None, Flag::Switch),
    ("dry-run", None, Flag::Switch),
    ("insecure-registry", None, Flag::Value),
    ("verbose", None, Flag::Switch),
    ("no-ansi", None, Flag::Switch),
    ("debug", Some('D'), Flag::Switch),
    ("skip-hostname-check", None, Flag::Switch),
    ("tls", None, Flag::Switch),
    ("tlsverify", None, Flag::Switch),
    ("version", Some('v'), Flag::Switch),
    ("help", Some('h'), Flag::Switch),
];

/// Reads the flags before Compose's command, as pflag does (`-pNAME`, `-p=NAME` and `-p NAME` are one).
fn named_project(words: &[OsString]) -> Result<Named, UnknownCall> {
    let mut words = words.iter();
    let program = words.next().map(OsString::as_os_str).unwrap_or_default();
    let name = Path::new(program).file_name().unwrap_or_default();
    if !name.as_bytes().starts_with(b"docker-compose") {
        return Err(UnknownCall::NotCompose {
            seen: program.to_string_lossy().into_owned(),
        });
    }
    let mut named = Named::Nothing;
    while let Some(word) = words.next() {
        let Some(bytes) = word.as_bytes().strip_prefix(b"-") else {
            if word == "compose" {
                continue;
            }
            return Ok(named);
        };
        let mut take = |flag: Flag, glued: Option<&[u8]>| {
            if flag == Flag::Switch {
                return;
            }
            let value = match glued {
                Some(glued) => PathBuf::from(OsStr::from_bytes(glued)),
                None => PathBuf::from(words.next().cloned().unwrap_or_default()),
            };
            match flag {
                Flag::Directory => named = Named::Directory(value),
                Flag::File if named == Named::Nothing => named = Named::File(value),
                Flag::File | Flag::Value | Flag::Switch => {}
            }
        };
        if let Some(long) = bytes.strip_prefix(b"-") {
            let mut parts = long.splitn(2, |byte| *byte == b'=');
            let name = parts.next().unwrap_or_default();
            let known = FLAGS.iter().find(|(long, ..)| long.as_bytes() == name);
            let (.., flag) = known.ok_or_else(|| UnknownCall::UnknownFlag {
                flag: format!("--{}", String::from_utf8_lossy(name)),
            })?;
            take(*flag, parts.next());
            continue;
        }
        let mut rest = bytes;
        while let Some((letter, behind)) = rest.split_first() {
            let letter = char::from(*letter);
            let known = FLAGS.iter().find(|(_, short, _)| *short == Some(letter));
            let (.., flag) = known.ok_or_else(|| UnknownCall::UnknownFlag {
                flag: format!("-{letter}"),
            })?;
            if *flag == Flag::Switch {
                rest = behind;
                continue;
            }
            let glued = behind.strip_prefix(b"=").unwrap_or(behind);
            take(*flag, (!behind.is_empty()).then_some(glued));
            break;
        }
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn named(line: &str) -> Result<Named, UnknownCall> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        named_project(&words)
    }

    #[test]
    fn what_a_killed_command_left_of_a_file_goes_with_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join(".unfinished-.env");
        fs::write(&left, "SECRET=").unwrap();
        let mut file = ProjectFile::read(dir.path(), ".env").unwrap();
        file.replace(Some(b"SECRET=1\n")).unwrap();
        assert_eq!(fs::read(dir.path().join(".env")).unwrap(), b"SECRET=1\n");
        assert!(!left.exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn composes_command_line_tells_the_project() {
        let dir = |text: &str| Ok(Named::Directory(PathBuf::from(text)));
        let file = |text: &str| Ok(Named::File(PathBuf::from(text)));
        let unknown = |flag: &str| {
            Err(UnknownCall::UnknownFlag {
                flag: flag.to_owned(),
            })
        };
        for (line, expected) in [
            ("/x/docker-compose compose up -d", Ok(Named::Nothing)),
            (
                "docker-compose up --project-directory z",
                Ok(Named::Nothing),
            ),
            ("docker-compose --project-directory a up", dir("a")),
            (
                "docker-compose --project-directory=a -f b/c.yml up",
                dir("a"),
            ),
            (
                "docker-compose -f b/c.yml --project-directory=a up",
                dir("a"),
            ),
            (
                "docker-compose -f b/c.yml --file d/e.yml up",
                file("b/c.yml"),
            ),
            (
                "/x/docker-compose --context far compose -p n --profile x --verbose -f - run f",
                file("-"),
            ),
            // What is glued to a short flag is its value.
            ("docker-compose compose -pfoo up", Ok(Named::Nothing)),
            ("docker-compose compose -fb/c.yml up", file("b/c.yml")),
            ("docker-compose compose -f=b/c.yml up", file("b/c.yml")),
            ("docker-compose -Dpfoo -Df b/c.yml up", file("b/c.yml")),
            (
                "docker-compose --tlskey k --tlsverify=false -H=h compose -f b/c.yml up",
                file("b/c.yml"),
            ),
            ("docker-compose --new-flag up", unknown("--new-flag")),
            ("docker-compose --new-flag=x up", unknown("--new-flag")),
            ("docker-compose -Dz up", unknown("-z")),
            (
                "bash -c up",
                Err(UnknownCall::NotCompose {
                    seen: "bash".to_owned(),
                }),
            ),
        ] {
            assert_eq!(named(line), expected, "{line}");
        }
    }

    #[test]
    fn default_files_are_named_with_their_override() {
        let dir = tempfile::tempdir().unwrap();
        let touch = |name: &str| fs::write(dir.path().join(name), "").unwrap();
        assert!(matches!(
            default_files(dir.path(), None),
            Err(ComposeError::DefaultFiles { .. })
        ));
        touch("docker-compose.yml");
        assert_eq!(
            default_files(dir.path(), None).unwrap(),
            ["docker-compose.yml"]
        );
        touch("compose.override.yml");
        let ours = Some("compose.override.yml");
        let without = default_files(dir.path(), ours).unwrap();
        assert_eq!(without, ["docker-compose.yml"]);
        fs::remove_file(dir.path().join("compose.override.yml")).unwrap();
        touch("docker-compose.override.yml");
        assert_eq!(
            default_files(dir.path(), None).unwrap(),
            ["docker-compose.yml", "docker-compose.override.yml"]
        );
        touch("compose.yaml");
        let error = default_files(dir.path(), None).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("compose.yaml and docker-compose.yml"),
            "{error}"
        );
    }

    #[test]
    fn a_file_keeps_its_mode_and_its_link() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shared.env");
        fs::write(&path, "A=1\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("shared.env", dir.path().join(".env")).unwrap();
        let mut file = ProjectFile::read(dir.path(), ".env").unwrap();
        assert_eq!(file.bytes(), Some(&b"A=1\n"[..]));
        file.replace(Some(b"A=2\n")).unwrap();
        assert!(
            fs::symlink_metadata(dir.path().join(".env"))
                .unwrap()
                .is_symlink()
        );
        assert_eq!(fs::read(&path).unwrap(), b"A=2\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_somebody_else_wrote_meanwhile_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = ProjectFile::read(dir.path(), ".env").unwrap();
        assert_eq!(file.bytes(), None);
        fs::write(dir.path().join(".env"), "B=1\n").unwrap();
        let error = file.replace(Some(b"A=1\n")).unwrap_err();
        assert!(
            matches!(error, ComposeError::ChangedMeanwhile { .. }),
            "{error}"
        );
        assert_eq!(fs::read(dir.path().join(".env")).unwrap(), b"B=1\n");
    }

    #[test]
    fn a_file_that_was_not_there_goes_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = ProjectFile::read(dir.path(), ".env").unwrap();
        file.replace(Some(b"A=1\n")).unwrap();
        assert_eq!(fs::read(dir.path().join(".env")).unwrap(), b"A=1\n");
        file.replace(None).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_path_that_is_not_there_yet_has_a_real_path() {
        let dir = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(dir.path()).unwrap();
        symlink(&real, dir.path().join("link")).unwrap();
        assert_eq!(real_path(&dir.path().join("link/a/b")), real.join("a/b"));
        assert_eq!(real_path(Path::new("/")), Path::new("/"));
    }
}
