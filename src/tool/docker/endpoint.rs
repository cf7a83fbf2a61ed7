//! Finds the engine where docker itself would find it.
//!
//! The order is that of docker's own command line (docker/cli `cli/command/cli.go`,
//! `resolveContextName` and `getServerHost`): `--context`; `--host`; `DOCKER_HOST`;
//! `DOCKER_CONTEXT`; `currentContext` of `config.json`; and last the default socket. Asking the
//! same questions in the same order is the point: `docker ps` and this program must never talk to
//! two different engines.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Where a rootful engine listens when nothing says otherwise.
pub const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// The name of the context that stands for `--host`, `DOCKER_HOST` and the default socket.
const DEFAULT_CONTEXT: &str = "default";

/// Docker's own files of this kind have a few hundred bytes; a larger one is not such a file.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Docker's global options, as they were on the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineOptions {
    /// `-H`, `--host`.
    pub host: Option<String>,
    /// `-c`, `--context`.
    pub context: Option<String>,
}

/// The part of the environment that docker looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineEnvironment {
    /// `DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub docker_context: Option<String>,
    /// `DOCKER_CONFIG`, the directory of `config.json`; or `--config`.
    pub docker_config: Option<PathBuf>,
    /// Whether `DOCKER_TLS` or `DOCKER_TLS_VERIFY` is set and not empty.
    pub docker_tls: bool,
    /// The home directory.
    pub home: Option<PathBuf>,
}

impl EngineEnvironment {
    /// What this process was started with. Empty variables count as unset, as they do for docker.
    pub fn of_this_process() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            docker_host: text("DOCKER_HOST"),
            docker_context: text("DOCKER_CONTEXT"),
            docker_config: path("DOCKER_CONFIG").map(PathBuf::from),
            docker_tls: path("DOCKER_TLS").is_some() || path("DOCKER_TLS_VERIFY").is_some(),
            home: std::env::home_dir(),
        }
    }
}

/// Where the engine is, and who said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where the engine listens.
    pub address: Address,
    /// What selected it.
    pub source: Source,
}

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket of this machine.
    Socket(PathBuf),
    /// Another machine, or a way that does not tell: bind mounts would be paths over there.
    Remote {
        /// How it is reached.
        transport: Transport,
        /// The address as it was given.
        url: String,
    },
}

/// How an engine that is not on a Unix socket is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `tcp://`, with or without TLS; an address without a scheme means this too.
    Tcp,
    /// `ssh://`.
    Ssh,
    /// `npipe://`, on Windows.
    NamedPipe,
    /// `fd://`, which only a daemon can use.
    FileDescriptor,
}

/// What selected the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `--host`.
    HostOption,
    /// `--context`, with the context's name.
    ContextOption(String),
    /// `DOCKER_HOST`.
    HostVariable,
    /// `DOCKER_CONTEXT`, with the context's name.
    ContextVariable(String),
    /// `currentContext` of docker's `config.json`.
    CurrentContext {
        /// The context's name.
        name: String,
        /// The file that names it.
        config: PathBuf,
    },
    /// Nothing: docker's default.
    Default,
}

/// Why docker's settings name no usable engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineLookupError {
    /// Both ways of naming an engine were used; docker refuses this too.
    #[error("both --host and --context are given")]
    HostAndContext,
    /// The context does not exist.
    #[error("there is no docker context {name:?} (no {path})")]
    NoSuchContext {
        /// The context's name.
        name: String,
        /// The file that would describe it.
        path: PathBuf,
    },
    /// The context describes something else than a docker engine.
    #[error("docker context {name:?} has no docker endpoint ({path})")]
    NotADockerContext {
        /// The context's name.
        name: String,
        /// The file that describes it.
        path: PathBuf,
    },
    /// One of docker's files exists and cannot be read. Docker goes on with its default engine
    /// then; a ceremony on an engine that nobody chose is worse than none.
    #[error("cannot read {path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// One of docker's files is larger than such a file can be.
    #[error("{path} has more than {MAX_CONFIG_BYTES} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// One of docker's files is not what docker writes.
    #[error("{path} is not a docker configuration: {error}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where it departs from the expected form.
        error: serde_json::Error,
    },
    /// An address in none of docker's forms.
    #[error("{address:?} is not an engine address; expected unix://, tcp://, ssh:// or npipe://")]
    BadAddress {
        /// The address as it was given.
        address: String,
    },
}

/// The engine that docker itself would talk to. Reads docker's configuration; connects to nothing.
///
/// # Errors
/// When the options contradict each other, a named context does not exist, or docker's files
/// cannot be read or understood.
pub fn find_engine(
    options: &EngineOptions,
    environment: &EngineEnvironment,
) -> Result<Endpoint, EngineLookupError> {
    if options.host.is_some() && options.context.is_some() {
        return Err(EngineLookupError::HostAndContext);
    }
    if let Some(name) = options.context.as_deref().filter(|name| !name.is_empty()) {
        return find_context(name, Source::ContextOption(name.to_owned()), environment);
    }
    if let Some(host) = &options.host {
        let address = parse_address(host, environment.docker_tls)?;
        return Ok(Endpoint {
            address,
            source: Source::HostOption,
        });
    }
    if environment.docker_host.is_some() {
        return default_endpoint(environment);
    }
    if let Some(name) = &environment.docker_context {
        let source = Source::ContextVariable(name.clone());
        return find_context(name, source, environment);
    }
    if let Some((name, config)) = read_current_context(environment)? {
        let source = Source::CurrentContext {
            name: name.clone(),
            config,
        };
        return find_context(&name, source, environment);
    }
    default_endpoint(environment)
}

/// What docker calls the context "default": `DOCKER_HOST`, or else the default socket.
fn default_endpoint(environment: &EngineEnvironment) -> Result<Endpoint, EngineLookupError> {
    let tls = environment.docker_tls;
    let (host, source) = match &environment.docker_host {
        Some(host) => (host.as_str(), Source::HostVariable),
        None => ("", Source::Default),
    };
    Ok(Endpoint {
        address: parse_address(host, tls)?,
        source,
    })
}

/// The forms of docker/cli `opts/hosts.go`, `ParseHost`.
fn parse_address(given: &str, tls: bool) -> Result<Address, EngineLookupError> {
    let address = given.trim();
    let remote = |transport, url: &str| {
        Ok(Address::Remote {
            transport,
            url: url.to_owned(),
        })
    };
    let bad = || EngineLookupError::BadAddress {
        address: given.to_owned(),
    };
    if address.is_empty() {
        if tls {
            return remote(Transport::Tcp, "tcp://localhost:2376");
        }
        return Ok(Address::Socket(PathBuf::from(DEFAULT_SOCKET)));
    }
    let Some((scheme, rest)) = address.split_once("://") else {
        return remote(Transport::Tcp, &format!("tcp://{address}"));
    };
    if rest.contains("://") {
        return Err(bad());
    }
    match scheme {
        "unix" if rest.is_empty() => Ok(Address::Socket(PathBuf::from(DEFAULT_SOCKET))),
        "unix" => Ok(Address::Socket(PathBuf::from(rest))),
        "tcp" | "http" | "https" => remote(Transport::Tcp, address),
        "ssh" => remote(Transport::Ssh, address),
        "npipe" => remote(Transport::NamedPipe, address),
        "fd" => remote(Transport::FileDescriptor, address),
        _ => Err(bad()),
    }
}

/// Docker's configuration directory (docker/cli `cli/config/config.go`, `Dir`).
fn config_dir(environment: &EngineEnvironment) -> Option<PathBuf> {
    environment
        .docker_config
        .clone()
        .or_else(|| environment.home.as_ref().map(|home| home.join(".docker")))
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(rename = "currentContext", default)]
    current_context: String,
}

fn read_current_context(
    environment: &EngineEnvironment,
) -> Result<Option<(String, PathBuf)>, EngineLookupError> {
    let Some(dir) = config_dir(environment) else {
        return Ok(None);
    };
    let path = dir.join("config.json");
    let Some(config) = read_json::<ConfigFile>(&path)? else {
        return Ok(None);
    };
    if config.current_context.is_empty() {
        return Ok(None);
    }
    Ok(Some((config.current_context, path)))
}

#[derive(Deserialize)]
struct ContextFile {
    #[serde(rename = "Endpoints", default)]
    endpoints: ContextEndpoints,
}

#[derive(Deserialize, Default)]
struct ContextEndpoints {
    docker: Option<ContextEndpoint>,
}

#[derive(Deserialize)]
struct ContextEndpoint {
    #[serde(rename = "Host", default)]
    host: String,
}

/// A context lives in a directory named by the SHA-256 of its name
/// (docker/cli `cli/context/store/metadatastore.go`).
fn find_context(
    name: &str,
    source: Source,
    environment: &EngineEnvironment,
) -> Result<Endpoint, EngineLookupError> {
    if name == DEFAULT_CONTEXT {
        return default_endpoint(environment);
    }
    let path = config_dir(environment)
        .unwrap_or_default()
        .join("contexts/meta")
        .join(hex::encode(Sha256::digest(name)))
        .join("meta.json");
    let Some(context) = read_json::<ContextFile>(&path)? else {
        return Err(EngineLookupError::NoSuchContext {
            name: name.to_owned(),
            path,
        });
    };
    let Some(endpoint) = context.endpoints.docker else {
        return Err(EngineLookupError::NotADockerContext {
            name: name.to_owned(),
            path,
        });
    };
    Ok(Endpoint {
        address: parse_address(&endpoint.host, false)?,
        source,
    })
}

/// `None` where there is no such file.
fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, EngineLookupError> {
    let unreadable = |error| EngineLookupError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_CONFIG_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > MAX_CONFIG_BYTES) {
        return Err(EngineLookupError::TooLarge {
            path: path.to_owned(),
        });
    }
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| EngineLookupError::Malformed {
            path: path.to_owned(),
            error,
        })
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Socket(path) => write!(f, "unix://{}", path.display()),
            Address::Remote { url, .. } => f.write_str(url),
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::HostOption => f.write_str("--host"),
            Source::ContextOption(name) => write!(f, "--context {name}"),
            Source::HostVariable => f.write_str("DOCKER_HOST"),
            Source::ContextVariable(name) => write!(f, "DOCKER_CONTEXT={name}"),
            Source::CurrentContext { name, config } => {
                write!(f, "context {name} of {}", config.display())
            }
            Source::Default => f.write_str("docker's default"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(path: &str) -> Address {
        Address::Socket(PathBuf::from(path))
    }

    /// A configuration directory as `docker context create` and `docker context use` leave it.
    fn config_with(current: Option<&str>, contexts: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        if let Some(name) = current {
            let config = serde_json::json!({ "auths": {}, "currentContext": name });
            std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        }
        for (name, host) in contexts {
            let meta = dir
                .path()
                .join("contexts/meta")
                .join(hex::encode(Sha256::digest(name)));
            std::fs::create_dir_all(&meta).unwrap();
            let context = serde_json::json!({
                "Name": name,
                "Metadata": {},
                "Endpoints": { "docker": { "Host": host, "SkipTLSVerify": false } },
            });
            std::fs::write(meta.join("meta.json"), context.to_string()).unwrap();
        }
        dir
    }

    fn environment_with(dir: &tempfile::TempDir) -> EngineEnvironment {
        EngineEnvironment {
            docker_config: Some(dir.path().to_owned()),
            ..EngineEnvironment::default()
        }
    }

    #[test]
    fn without_any_setting_the_default_socket_is_used() {
        let dir = config_with(None, &[]);
        let found = find_engine(&EngineOptions::default(), &environment_with(&dir)).unwrap();
        assert_eq!(found.address, socket(DEFAULT_SOCKET));
        assert_eq!(found.source, Source::Default);
    }

    #[test]
    fn each_setting_yields_to_the_one_before_it() {
        let dir = config_with(
            Some("current"),
            &[
                ("current", "unix:///c.sock"),
                ("variable", "unix:///v.sock"),
                ("option", "unix:///o.sock"),
            ],
        );
        let mut options = EngineOptions::default();
        let mut environment = environment_with(&dir);

        let found = find_engine(&options, &environment).unwrap();
        assert_eq!(found.address, socket("/c.sock"));
        assert_eq!(
            found.source,
            Source::CurrentContext {
                name: "current".to_owned(),
                config: dir.path().join("config.json"),
            }
        );

        environment.docker_context = Some("variable".to_owned());
        let found = find_engine(&options, &environment).unwrap();
        assert_eq!(found.address, socket("/v.sock"));

        environment.docker_host = Some("unix:///h.sock".to_owned());
        let found = find_engine(&options, &environment).unwrap();
        assert_eq!(found.address, socket("/h.sock"));
        assert_eq!(found.source, Source::HostVariable);

        options.context = Some("option".to_owned());
        let found = find_engine(&options, &environment).unwrap();
        assert_eq!(found.address, socket("/o.sock"));
        assert_eq!(found.source, Source::ContextOption("option".to_owned()));

        options.context = None;
        options.host = Some("unix:///x.sock".to_owned());
        let found = find_engine(&options, &environment).unwrap();
        assert_eq!(found.address, socket("/x.sock"));
        assert_eq!(found.source, Source::HostOption);
    }

    #[test]
    fn host_and_context_together_are_refused() {
        let options = EngineOptions {
            host: Some("unix:///x.sock".to_owned()),
            context: Some("default".to_owned()),
        };
        let refused = find_engine(&options, &EngineEnvironment::default());
        assert!(matches!(refused, Err(EngineLookupError::HostAndContext)));
    }

    #[test]
    fn the_default_context_is_docker_host_or_the_default_socket() {
        let dir = config_with(Some("elsewhere"), &[("elsewhere", "unix:///e.sock")]);
        let options = EngineOptions {
            context: Some("default".to_owned()),
            ..EngineOptions::default()
        };
        let mut environment = environment_with(&dir);
        let found = find_engine(&options, &environment).unwrap();
        assert_eq!(found.address, socket(DEFAULT_SOCKET));
        environment.docker_host = Some("unix:///h.sock".to_owned());
        let found = find_engine(&options, &environment).unwrap();
        assert_eq!(found.address, socket("/h.sock"));
    }

    #[test]
    fn engines_elsewhere_are_recognised() {
        for (host, transport) in [
            ("tcp://10.1.2.3:2376", Transport::Tcp),
            ("10.1.2.3:2375", Transport::Tcp),
            ("ssh://operator@node", Transport::Ssh),
            ("npipe:////./pipe/docker_engine", Transport::NamedPipe),
            ("fd://", Transport::FileDescriptor),
        ] {
            let options = EngineOptions {
                host: Some(host.to_owned()),
                ..EngineOptions::default()
            };
            let found = find_engine(&options, &EngineEnvironment::default()).unwrap();
            let Address::Remote {
                transport: seen, ..
            } = found.address
            else {
                panic!("{host} was taken for a local socket");
            };
            assert_eq!(seen, transport, "{host}");
        }
        let tls = EngineEnvironment {
            docker_tls: true,
            ..EngineEnvironment::default()
        };
        let found = find_engine(&EngineOptions::default(), &tls).unwrap();
        assert_eq!(found.address.to_string(), "tcp://localhost:2376");
    }

    #[test]
    fn an_address_that_docker_would_refuse_is_refused() {
        for host in ["ftp://x", "unix://unix:///x", "tcp://a://b"] {
            let options = EngineOptions {
                host: Some(host.to_owned()),
                ..EngineOptions::default()
            };
            let refused = find_engine(&options, &EngineEnvironment::default());
            assert!(
                matches!(refused, Err(EngineLookupError::BadAddress { .. })),
                "{host}"
            );
        }
    }

    #[test]
    fn docker_files_that_cannot_be_understood_are_no_reason_to_choose_another_engine() {
        let dir = config_with(None, &[]);
        std::fs::write(dir.path().join("config.json"), "{ \"currentContext\": ").unwrap();
        let refused = find_engine(&EngineOptions::default(), &environment_with(&dir));
        assert!(matches!(refused, Err(EngineLookupError::Malformed { .. })));

        let dir = config_with(Some("gone"), &[]);
        let refused = find_engine(&EngineOptions::default(), &environment_with(&dir));
        assert!(matches!(
            refused,
            Err(EngineLookupError::NoSuchContext { .. })
        ));

        let dir = config_with(None, &[]);
        let large = vec![b' '; usize::try_from(MAX_CONFIG_BYTES).unwrap() + 1];
        std::fs::write(dir.path().join("config.json"), large).unwrap();
        let refused = find_engine(&EngineOptions::default(), &environment_with(&dir));
        assert!(matches!(refused, Err(EngineLookupError::TooLarge { .. })));
    }
}
