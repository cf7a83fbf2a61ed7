//! charon at work, whether in a container or as a process of this machine: what both can do.

use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt as _};

use crate::ceremony::process::Process;
use crate::context::Context;
use crate::docker::LogLine;
use crate::docker::{Engine, EngineError, Exit};
use crate::error::{Failure, Kind};

/// charon, from its start on.
#[derive(Clone)]
pub(crate) enum Charon {
    /// In a container of this id.
    Container { engine: Box<Engine>, id: String },
    /// As a process.
    Process(Process),
}

/// Why charon can be followed no further.
pub(crate) enum Lost {
    /// Its container was removed, or its keeper was ended, before anybody saw its end.
    Removed,
    /// The engine, or what charon writes, cannot be read; charon itself may go on.
    Unseen(String),
}

impl From<EngineError> for Lost {
    fn from(error: EngineError) -> Self {
        if let EngineError::NoSuchContainer { .. } = error {
            return Lost::Removed;
        }
        Lost::Unseen(format!("the engine was lost during the ceremony: {error}"))
    }
}

impl From<std::io::Error> for Lost {
    fn from(error: std::io::Error) -> Self {
        Lost::Unseen(format!("charon's process cannot be followed: {error}"))
    }
}

impl Charon {
    /// All of its output from the first line, until it ends.
    pub(crate) fn follow(&self) -> BoxStream<'static, Result<LogLine, Lost>> {
        match self {
            Charon::Container { engine, id } => engine
                .follow_logs(id)
                .map(|line| line.map_err(Lost::from))
                .boxed(),
            Charon::Process(process) => process
                .follow()
                .map(|line| line.map_err(Lost::from))
                .boxed(),
        }
    }

    /// How it ended, once it has.
    pub(crate) async fn end(&self) -> Result<Exit, Lost> {
        match self {
            Charon::Container { engine, id } => Ok(engine.wait_exit(id).await?),
            Charon::Process(process) => process.end().await?.ok_or(Lost::Removed),
        }
    }

    /// Asks it to end, and ends it if it has not by then. Whether that worked shows in its end.
    pub(crate) async fn stop(&self, grace: Duration) {
        match self {
            Charon::Container { engine, id } => {
                engine.stop_container(id, grace).await.ok();
            }
            Charon::Process(process) => {
                process.stop(grace).await.ok();
            }
        }
    }

    /// Ends it at once.
    pub(crate) async fn kill(&self) -> Result<(), Lost> {
        match self {
            Charon::Container { engine, id } => Ok(engine.kill_container(id).await?),
            Charon::Process(process) => Ok(process.kill()?),
        }
    }

    /// Removes what is left of it, once it has ended and its output is in the attempt's log; what cannot be done is said, not
    /// hidden.
    pub(crate) async fn remove(&self, context: &Context) {
        match self {
            Charon::Container { engine, id } => {
                remove_container(context, engine, id).await;
            }
            Charon::Process(process) => {
                if let Err(error) = process.remove() {
                    context.warn(&format!("charon's output stays behind: {error}"));
                }
            }
        }
    }

    /// What to say and do where it can be followed no further.
    pub(crate) fn lost(&self, reason: String) -> Failure {
        let failure = Failure::new(Kind::Unexpected, reason)
            .hint("nothing was promoted; the data directory is as before");
        match self {
            Charon::Container { .. } => failure.hint(
                "start docker again, then `charon-dkg run`: it finds out what happened to the ceremony",
            ),
            Charon::Process(_) => {
                failure.hint("`charon-dkg run` finds out what happened to the ceremony")
            }
        }
    }
}

/// Removes an ended container; what cannot be done is said, not hidden.
pub(crate) async fn remove_container(context: &Context, engine: &Engine, id: &str) {
    if let Err(error) = engine.remove_container(id).await {
        context.warn(&format!("the ended container stays behind: {error}"));
    }
}
