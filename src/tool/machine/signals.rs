//! Requests to stop: signals, and docker closing its plugin socket.
//!
//! In a terminal, Ctrl-C reaches docker and this program alike. Without one, docker passes on its
//! own signals by closing a socket that it offers to each plugin (docker/cli
//! `cli-plugins/socket/socket.go`); a docker that dies closes it too.

use std::ffi::OsString;
use std::io::Error as IoError;
use std::time::Duration;

use crate::machine::os;

/// Where docker tells its plugins the socket's address.
pub const PLUGIN_SOCKET_VARIABLE: &str = "DOCKER_CLI_PLUGIN_SOCKET";

/// When a terminal goes away, docker dies of the same hang-up that is sent to us, and its socket
/// closes at the same time. This is how long to wait for the signal, which is the better reason.
const HANGUP_GRACE: Duration = Duration::from_millis(100);

/// Who asks to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSource {
    /// `SIGINT`: Ctrl-C, or Ctrl-Break on Windows.
    Interrupt,
    /// `SIGTERM`.
    Terminate,
    /// `SIGHUP`: the terminal went away, for instance with an ssh connection, or a console was closed.
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
    signals: os::Signals,
    plugin_socket: Option<os::PluginSocket>,
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
        Ok(Self {
            signals: os::Signals::listen().map_err(InterruptError::Signals)?,
            plugin_socket: plugin_socket.and_then(|address| os::PluginSocket::open(&address).ok()),
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
                source = self.signals.next() => return source,
                () = socket.closed() => {}
            }
            self.plugin_socket = None;
            self.plugin_socket_closed = true;
        }
        let signal = self.signals.next();
        if !self.plugin_socket_closed {
            return signal.await;
        }
        let source = tokio::time::timeout(HANGUP_GRACE, signal).await;
        self.plugin_socket_closed = false;
        source.unwrap_or(StopSource::PluginSocket)
    }
}
