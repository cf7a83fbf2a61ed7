//! Requests to stop: signals, and docker closing its plugin socket.
//!
//! In a terminal, Ctrl-C reaches docker and this program alike. Without one, docker passes on its
//! own signals by closing a socket that it offers to each plugin (docker/cli
//! `cli-plugins/socket/socket.go`); a docker that dies closes it too.

use std::ffi::{OsStr, OsString};
use std::io::Error as IoError;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixStream as StdUnixStream};
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Where docker tells its plugins the socket's address.
pub const PLUGIN_SOCKET_VARIABLE: &str = "DOCKER_CLI_PLUGIN_SOCKET";

/// When a terminal goes away, docker dies of the same hang-up that we are told of, and its socket
/// closes at the same time; so long is waited for the signal, which is the better reason.
const HANGUP_GRACE: Duration = Duration::from_millis(100);

/// Who asks to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSource {
    /// `SIGINT`: Ctrl-C.
    Interrupt,
    /// `SIGTERM`.
    Terminate,
    /// `SIGHUP`: the terminal went away, for instance with an ssh connection.
    Hangup,
    /// Docker closed the plugin socket: it was told to stop, or is gone.
    PluginSocket,
}

/// How a request to stop is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// The first one: stop in order.
    Orderly,
    /// Somebody insists: stop now.
    Now,
}

/// One request to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopRequest {
    /// Who asks.
    pub source: StopSource,
    /// How it is meant.
    pub urgency: Urgency,
}

/// Why stop requests cannot be listened for.
#[derive(Debug, thiserror::Error)]
pub enum InterruptError {
    /// The system refused a signal handler.
    #[error("cannot listen for signals: {0}")]
    Signals(IoError),
}

/// Listens for requests to stop, from its creation on.
///
/// The process no longer ends by `SIGINT`, `SIGTERM` or `SIGHUP`, not even when this is dropped.
#[derive(Debug)]
pub struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    plugin_socket: Option<UnixStream>,
    /// It was closed, and that is not reported yet.
    plugin_socket_closed: bool,
    /// `SIGINT` and `SIGTERM` so far: only somebody who sends two of them insists. One hang-up of
    /// a terminal may well arrive as two signals and a closed socket.
    deliberate: u32,
    was_requested: bool,
}

impl Interrupt {
    /// Begins to listen. Must be called within a tokio runtime.
    ///
    /// A plugin socket that cannot be opened is passed over, as docker's own plugins do: it may
    /// have been inherited from a docker that is long gone.
    ///
    /// # Errors
    /// When the system refuses a signal handler.
    pub fn listen() -> Result<Self, InterruptError> {
        Self::listen_with(std::env::var_os(PLUGIN_SOCKET_VARIABLE))
    }

    /// The same with the address of a plugin socket; a leading `@` or NUL means an abstract name.
    ///
    /// # Errors
    /// When the system refuses a signal handler.
    pub fn listen_with(plugin_socket: Option<OsString>) -> Result<Self, InterruptError> {
        let handler = |kind| signal(kind).map_err(InterruptError::Signals);
        Ok(Self {
            interrupt: handler(SignalKind::interrupt())?,
            terminate: handler(SignalKind::terminate())?,
            hangup: handler(SignalKind::hangup())?,
            plugin_socket: plugin_socket.and_then(|address| open_plugin_socket(&address).ok()),
            plugin_socket_closed: false,
            deliberate: 0,
            was_requested: false,
        })
    }

    /// Waits for the next request to stop: the first is [`Urgency::Orderly`]; a second `SIGINT`
    /// or `SIGTERM` is [`Urgency::Now`], and so is each one after it. Nothing else is reported.
    ///
    /// Nothing is lost when this is dropped before it is done, as in `tokio::select!`.
    pub async fn next(&mut self) -> StopRequest {
        loop {
            let source = self.next_source().await;
            let is_deliberate = match source {
                StopSource::Interrupt | StopSource::Terminate => true,
                StopSource::Hangup | StopSource::PluginSocket => false,
            };
            self.deliberate = self.deliberate.saturating_add(u32::from(is_deliberate));
            let was_requested = std::mem::replace(&mut self.was_requested, true);
            if !was_requested {
                return StopRequest {
                    source,
                    urgency: Urgency::Orderly,
                };
            }
            if is_deliberate && self.deliberate > 1 {
                return StopRequest {
                    source,
                    urgency: Urgency::Now,
                };
            }
        }
    }

    async fn next_source(&mut self) -> StopSource {
        if let Some(socket) = &mut self.plugin_socket {
            tokio::select! {
                biased;
                source = next_signal(
                    &mut self.interrupt,
                    &mut self.terminate,
                    &mut self.hangup,
                ) => return source,
                () = read_to_end(socket) => {}
            }
            self.plugin_socket = None;
            self.plugin_socket_closed = true;
        }
        let signal = next_signal(&mut self.interrupt, &mut self.terminate, &mut self.hangup);
        if !self.plugin_socket_closed {
            return signal.await;
        }
        let source = tokio::time::timeout(HANGUP_GRACE, signal).await;
        self.plugin_socket_closed = false;
        source.unwrap_or(StopSource::PluginSocket)
    }
}

async fn next_signal(
    interrupt: &mut Signal,
    terminate: &mut Signal,
    hangup: &mut Signal,
) -> StopSource {
    tokio::select! {
        Some(()) = interrupt.recv() => StopSource::Interrupt,
        Some(()) = terminate.recv() => StopSource::Terminate,
        Some(()) = hangup.recv() => StopSource::Hangup,
        else => std::future::pending().await,
    }
}

/// Ends when docker has closed the socket. Docker sends nothing on it, and what it might send one
/// day is passed over, as its own plugins do.
async fn read_to_end(socket: &mut UnixStream) {
    let mut byte = [0];
    while socket.read(&mut byte).await.is_ok_and(|count| count > 0) {}
}

fn open_plugin_socket(address: &OsStr) -> Result<UnixStream, IoError> {
    let bytes = address.as_bytes();
    // Go writes the leading NUL of an abstract name as `@`.
    let abstract_name = bytes
        .strip_prefix(b"@")
        .or_else(|| bytes.strip_prefix(b"\0"));
    let address = match abstract_name {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(PathBuf::from(address))?,
    };
    let socket = StdUnixStream::connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}
