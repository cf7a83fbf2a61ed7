//! The only door to the engine: everything that is asked of docker goes through [`Engine`].
//!
//! Every call has a deadline, except following a container's output and waiting for its end. An
//! engine that dies in the middle is [`EngineError::Died`], whatever was going on.

mod containers;
mod credentials;
pub mod endpoint;
mod images;
mod logs;
mod mode;
mod networks;
pub mod probe;
pub mod self_image;
pub mod serve_probe;

use containers::Removals;
pub use containers::{
    ContainerFacts, ContainerMount, ContainerState, Exit, Overlap, Reason, ShortRun, Touching,
};
pub use images::{ImageFacts, PullFailure, PullProgress, RunImage};
pub(crate) use logs::Lines;
pub use logs::{LogLine, MAX_LINE_BYTES, OutputStream};
pub use mode::{Mode, UserMapping, UserMappingError, user_for};

use std::future::Future;
use std::io::{Error as IoError, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as BollardError;
use bollard::models::{SystemInfo, SystemVersion};

use crate::docker::endpoint::{Address, Endpoint};
use crate::machine::causes::causes;
use crate::machine::users;

/// How long the engine may take. It may be busy starting fifty containers on a slow disk; it is
/// not reasonable that it answers nothing for longer than this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For the first answer.
    pub connect: Duration,
    /// For any other call but following output, waiting, pulling and stopping.
    pub call: Duration,
    /// While pulling: the longest silence between two signs of progress.
    pub pull_silence: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            call: Duration::from_secs(60),
            pull_silence: Duration::from_secs(120),
        }
    }
}

/// The socket file's owner and mode, for the message to a user who was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketAccess {
    /// Name of the owning user, or its number.
    pub user: String,
    /// Name of the owning group, or its number.
    pub group: String,
    /// Permission bits.
    pub mode: u32,
    /// Whether the group lists this user although this process does not have the group: the
    /// session is older than the membership, and logging in again is all that is missing.
    pub listed_in_group: bool,
}

/// What went wrong between this program and the engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The engine is not on a Unix socket of this machine.
    #[error("the engine at {url} is not on a socket of this machine")]
    Remote {
        /// Its address.
        url: String,
    },
    /// There is no socket where the engine should listen.
    #[error("there is no engine socket {path}")]
    NoSocket {
        /// Where it was looked for.
        path: PathBuf,
        /// Sockets of other engines that do exist on this machine.
        others: Vec<PathBuf>,
    },
    /// There is a file where the engine should listen, and it is no socket.
    #[error("{path} is not a socket")]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// This user may not talk to the engine.
    #[error("user {user} may not open the engine socket {path}")]
    PermissionDenied {
        /// The socket.
        path: PathBuf,
        /// Name of the user who tried, or the number.
        user: String,
        /// Who may; `None` where even that cannot be seen.
        access: Option<SocketAccess>,
    },
    /// The socket is there, and no engine behind it.
    #[error("no engine listens on {path}")]
    NotListening {
        /// The socket.
        path: PathBuf,
    },
    /// The socket cannot be opened for another reason.
    #[error("cannot open the engine socket {path}: {error}")]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why.
        error: IoError,
    },
    /// The engine is there and does not answer.
    #[error("the engine was asked to {call} and did not answer within {} s", .after.as_secs_f32())]
    NoAnswer {
        /// What was asked.
        call: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// The engine went away in the middle of a call or of its answer.
    #[error("the engine went away while asked to {call}: {detail}")]
    Died {
        /// What was asked.
        call: &'static str,
        /// What was seen of the connection.
        detail: String,
    },
    /// The engine refused or failed.
    #[error("the engine could not {call}: {message} (status {status})")]
    Failed {
        /// What was asked.
        call: &'static str,
        /// HTTP status.
        status: u16,
        /// The engine's words.
        message: String,
    },
    /// The answer is not one of docker's API.
    #[error("the engine was asked to {call} and answered something else: {detail}")]
    Nonsense {
        /// What was asked.
        call: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// There is no such container, or no longer.
    #[error("there is no container {id}")]
    NoSuchContainer {
        /// Its id or name.
        id: String,
    },
    /// There is no such image on this engine.
    #[error("there is no image {reference} on this engine")]
    NoSuchImage {
        /// What was asked for.
        reference: String,
    },
    /// There is no such docker network on this engine.
    #[error("there is no docker network {name} on this engine")]
    NoSuchNetwork {
        /// What was asked for.
        name: String,
    },
    /// A path to be mounted does not exist where the engine looks.
    #[error("the engine sees no file or directory {} to mount", .source_path.display())]
    NoMountSource {
        /// The path as it was given.
        source_path: PathBuf,
    },
    /// Another container has the name. Two containers of one name cannot exist on one engine.
    #[error("container {} already has the name {name}", .holder.short_id())]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        holder: Box<ContainerFacts>,
    },
    /// The container exists and was never started, so it has no end to wait for.
    #[error("container {id} was never started")]
    NeverStarted {
        /// Its id or name.
        id: String,
    },
    /// The image could not be had.
    #[error("cannot pull {reference}: {message}")]
    PullFailed {
        /// What was asked for.
        reference: String,
        /// Which kind of failure it is.
        reason: PullFailure,
        /// The engine's words.
        message: String,
    },
    /// A container that should have ended soon did not.
    #[error("container {name} did not end within {} s", .after.as_secs_f32())]
    TooSlow {
        /// Its name.
        name: String,
        /// How long was waited.
        after: Duration,
    },
    /// A container could not be removed after use.
    #[error("container {name} was left behind: {cleanup}{}", and_before(.first))]
    LeftBehind {
        /// Its name.
        name: String,
        /// What went wrong before, if anything did.
        first: Option<Box<EngineError>>,
        /// Why it could not be removed.
        cleanup: Box<EngineError>,
    },
}

fn and_before(first: &Option<Box<EngineError>>) -> String {
    first
        .as_ref()
        .map(|first| format!(" (before that: {first})"))
        .unwrap_or_default()
}

impl EngineError {
    /// Names the container where the engine says that something does not exist.
    fn about_container(self, id: &str) -> Self {
        if let EngineError::Failed { status: 404, .. } = self {
            return EngineError::NoSuchContainer { id: id.to_owned() };
        }
        self
    }
}

/// What must be known of an engine before a container is planned for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineFacts {
    /// What it calls itself: `Docker Engine - Community`, `Podman Engine`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The newest API version it speaks.
    pub api_version: String,
    /// Operating system and processor as image indexes name them: `linux/amd64`.
    pub os_arch: String,
    /// The operating system in words: `Debian GNU/Linux 12 (bookworm)`, `Docker Desktop`.
    pub operating_system: String,
    /// How it maps users.
    pub mode: Mode,
    /// Where it keeps images and containers, as it sees its own file system.
    pub root_dir: Option<PathBuf>,
}

/// A connection to an engine that has answered.
#[derive(Debug, Clone)]
pub struct Engine {
    docker: Docker,
    deadlines: Deadlines,
    version: SystemVersion,
    /// The user who runs the engine, as the kernel tells it of the socket's other end.
    peer_uid: u32,
    removals: Removals,
}

impl Engine {
    /// Connects to an engine and waits for its first answer.
    ///
    /// # Errors
    /// [`EngineError::Remote`] for an engine that is not on a socket of this machine, and one
    /// variant for each common obstacle on this machine.
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, EngineError> {
        Self::connect_within(endpoint, Deadlines::default()).await
    }

    /// The same with other deadlines than the usual ones.
    ///
    /// # Errors
    /// As [`Engine::connect`].
    pub async fn connect_within(
        endpoint: &Endpoint,
        deadlines: Deadlines,
    ) -> Result<Self, EngineError> {
        const CALL: &str = "tell its version";
        let path = match &endpoint.address {
            Address::Socket(path) => path,
            Address::Remote { url, .. } => {
                return Err(EngineError::Remote { url: url.clone() });
            }
        };
        let peer_uid = open_socket(path, deadlines.connect).await?;
        let unreachable = |error| EngineError::Unreachable {
            path: path.clone(),
            error,
        };
        let text = path
            .to_str()
            .ok_or_else(|| unreachable(IoError::other("the path is not UTF-8")))?;
        // Our own deadlines rule; bollard's would also cut off waiting for a container.
        let docker = Docker::connect_with_unix(text, FOR_EVER_SECS, bollard::API_DEFAULT_VERSION)
            .map_err(|error| unreachable(IoError::other(error)))?;
        // An engine answers a call of a newer API version than its own with an error.
        let docker = within(CALL, deadlines.connect, docker.negotiate_version()).await?;
        let version = within(CALL, deadlines.connect, docker.version()).await?;
        Ok(Self {
            docker,
            deadlines,
            version,
            peer_uid,
            removals: Removals::default(),
        })
    }

    /// The operating system and processor as image indexes name them: `linux/amd64`.
    pub fn os_arch(&self) -> String {
        let known = |text: &Option<String>| text.clone().unwrap_or_default();
        format!("{}/{}", known(&self.version.os), known(&self.version.arch))
    }

    /// What kind of engine this is.
    ///
    /// # Errors
    /// When the engine does not answer or leaves out what it must tell.
    pub async fn facts(&self) -> Result<EngineFacts, EngineError> {
        let info = self.call("describe itself", self.docker.info()).await?;
        let version = &self.version;
        let mode = mode_of(version, &info, self.peer_uid);
        let known = |text: &Option<String>| text.clone().unwrap_or_default();
        let name = components(version)
            .map(|component| component.name.as_str())
            .find(|name| *name == PODMAN)
            .map(str::to_owned)
            .or_else(|| version.platform.as_ref().map(|p| p.name.clone()))
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "Docker Engine".to_owned());
        Ok(EngineFacts {
            name,
            version: known(&version.version),
            api_version: known(&version.api_version),
            os_arch: self.os_arch(),
            operating_system: known(&info.operating_system),
            mode,
            root_dir: info.docker_root_dir.map(PathBuf::from),
        })
    }

    async fn call<T>(
        &self,
        call: &'static str,
        answer: impl Future<Output = Result<T, BollardError>>,
    ) -> Result<T, EngineError> {
        within(call, self.deadlines.call, answer).await
    }

    /// For the calls that last as long as a container does.
    fn unlimited(&self) -> &Docker {
        &self.docker
    }
}

/// Ten years; bollard adds it to the clock, so it must stay within what the clock can hold.
const FOR_EVER_SECS: u64 = 10 * 365 * 24 * 3600;

const PODMAN: &str = "Podman Engine";

async fn within<T>(
    call: &'static str,
    after: Duration,
    answer: impl Future<Output = Result<T, BollardError>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(after, answer).await {
        Ok(answer) => answer.map_err(|error| convert(call, error)),
        Err(_) => Err(EngineError::NoAnswer { call, after }),
    }
}

/// Sorts bollard's errors into: the engine said no, the engine died, the engine talks nonsense.
fn convert(call: &'static str, error: BollardError) -> EngineError {
    if let BollardError::DockerResponseServerError {
        status_code,
        message,
    } = error
    {
        return EngineError::Failed {
            call,
            status: status_code,
            message: message.trim().to_owned(),
        };
    }
    if let BollardError::DockerStreamError { error } = error {
        return EngineError::Failed {
            call,
            status: 200,
            message: error.trim().to_owned(),
        };
    }
    let detail = causes(&error);
    if matches!(
        error,
        BollardError::IOError { .. }
            | BollardError::HyperResponseError { .. }
            | BollardError::HyperLegacyError { .. }
    ) {
        return EngineError::Died { call, detail };
    }
    EngineError::Nonsense { call, detail }
}

fn components(
    version: &SystemVersion,
) -> impl Iterator<Item = &bollard::models::SystemVersionComponents> {
    version.components.iter().flatten()
}

fn mode_of(version: &SystemVersion, info: &SystemInfo, peer_uid: u32) -> Mode {
    let is_podman = components(version).any(|component| component.name == PODMAN);
    let has_option = |wanted: &str| {
        info.security_options
            .iter()
            .flatten()
            .flat_map(|option| option.split(','))
            .any(|part| part == wanted)
    };
    // Podman's answer to docker's question leaves this out (seen with 4.3).
    let is_rootless = has_option("name=rootless") || (is_podman && peer_uid != 0);
    match (is_podman, is_rootless) {
        (true, true) => Mode::PodmanRootless { uid: peer_uid },
        (true, false) => Mode::PodmanRootful,
        (false, true) => Mode::Rootless { uid: peer_uid },
        (false, false) if info.operating_system.as_deref() == Some("Docker Desktop") => {
            Mode::DockerDesktop
        }
        (false, false) if has_option("name=userns") => Mode::UsernsRemap,
        (false, false) => Mode::Rootful,
    }
}

/// Opens the socket once, to tell apart what bollard cannot, and to learn who is at its other end.
async fn open_socket(path: &Path, deadline: Duration) -> Result<u32, EngineError> {
    const CALL: &str = "accept a connection";
    let opened = tokio::time::timeout(deadline, tokio::net::UnixStream::connect(path)).await;
    let Ok(opened) = opened else {
        return Err(EngineError::NoAnswer {
            call: CALL,
            after: deadline,
        });
    };
    let unreachable = |error| EngineError::Unreachable {
        path: path.to_owned(),
        error,
    };
    let error = match opened {
        Ok(stream) => return Ok(stream.peer_cred().map_err(unreachable)?.uid()),
        Err(error) => error,
    };
    let is_other_file =
        std::fs::metadata(path).is_ok_and(|metadata| !metadata.file_type().is_socket());
    if is_other_file {
        return Err(EngineError::NotASocket {
            path: path.to_owned(),
        });
    }
    if error.kind() == ErrorKind::NotFound {
        return Err(EngineError::NoSocket {
            path: path.to_owned(),
            others: find_other_sockets(path),
        });
    }
    if error.kind() == ErrorKind::PermissionDenied {
        return Err(EngineError::PermissionDenied {
            path: path.to_owned(),
            user: user_name(rustix::process::geteuid().as_raw()),
            access: read_socket_access(path),
        });
    }
    if error.kind() == ErrorKind::ConnectionRefused {
        return Err(EngineError::NotListening {
            path: path.to_owned(),
        });
    }
    Err(unreachable(error))
}

/// The usual places of engines' sockets, those that exist.
fn find_other_sockets(besides: &Path) -> Vec<PathBuf> {
    let uid = rustix::process::geteuid().as_raw();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR")
        .map_or_else(|| PathBuf::from(format!("/run/user/{uid}")), PathBuf::from);
    let home = std::env::home_dir().unwrap_or_default();
    [
        PathBuf::from(crate::docker::endpoint::DEFAULT_SOCKET),
        runtime.join("docker.sock"),
        home.join(".docker/desktop/docker.sock"),
        home.join(".docker/run/docker.sock"),
        runtime.join("podman/podman.sock"),
        PathBuf::from("/run/podman/podman.sock"),
    ]
    .into_iter()
    .filter(|candidate| candidate != besides)
    .filter(|candidate| {
        std::fs::metadata(candidate).is_ok_and(|metadata| metadata.file_type().is_socket())
    })
    .collect()
}

fn read_socket_access(path: &Path) -> Option<SocketAccess> {
    let metadata = std::fs::metadata(path).ok()?;
    let user = user_name(rustix::process::geteuid().as_raw());
    let group = users::group(metadata.gid());
    let listed_in_group = group
        .as_ref()
        .is_some_and(|(_, members)| members.contains(&user));
    Some(SocketAccess {
        user: user_name(metadata.uid()),
        group: group.map_or_else(|| metadata.gid().to_string(), |(name, _)| name),
        mode: metadata.mode() & 0o7777,
        listed_in_group,
    })
}

fn user_name(uid: u32) -> String {
    users::user_name(uid).unwrap_or_else(|| uid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    use bollard::models::{SystemVersionComponents, SystemVersionPlatform};

    fn engine(component: &str, security: &[&str], system: &str) -> (SystemVersion, SystemInfo) {
        let version = SystemVersion {
            platform: Some(SystemVersionPlatform {
                name: String::new(),
            }),
            components: Some(vec![SystemVersionComponents {
                name: component.to_owned(),
                version: "1".to_owned(),
                details: None,
            }]),
            ..SystemVersion::default()
        };
        let info = SystemInfo {
            security_options: Some(security.iter().map(|s| (*s).to_owned()).collect()),
            operating_system: Some(system.to_owned()),
            ..SystemInfo::default()
        };
        (version, info)
    }

    #[test]
    fn modes_are_told_apart_by_what_engines_say_of_themselves() {
        let seccomp = "name=seccomp,profile=default";
        for (component, security, system, expected) in [
            ("Engine", vec![seccomp], "Debian", Mode::Rootful),
            (
                "Engine",
                vec![seccomp, "name=rootless"],
                "Debian",
                Mode::Rootless { uid: 7 },
            ),
            (
                "Engine",
                vec![seccomp, "name=userns"],
                "Debian",
                Mode::UsernsRemap,
            ),
            (
                "Engine",
                vec![seccomp],
                "Docker Desktop",
                Mode::DockerDesktop,
            ),
            (
                PODMAN,
                vec![seccomp],
                "fedora",
                Mode::PodmanRootless { uid: 7 },
            ),
        ] {
            let (version, info) = engine(component, &security, system);
            assert_eq!(mode_of(&version, &info, 7), expected);
        }
        let (version, info) = engine(PODMAN, &[seccomp], "fedora");
        assert_eq!(mode_of(&version, &info, 0), Mode::PodmanRootful);
    }

    #[test]
    fn root_has_a_name() {
        assert_eq!(user_name(0), "root");
        assert_eq!(user_name(4_000_000_000), "4000000000");
    }
}
