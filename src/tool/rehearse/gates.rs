//! The gate's part of the story: a compose project for every operator, started with the very Compose that is here.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::ComposeArgs;
use crate::context::Context;
use crate::docker::{ContainerState, Engine};
use crate::error::{Failure, Kind};
use crate::failures;
use crate::gate::compose::{self, Compose, EngineChoice};
use crate::gate::{GateKind, PROVIDER_TYPE};
use crate::rehearse::ceremony::{Ceremony, Ended, Operator, Process, give};
use crate::rehearse::charon_image::{CharonImage, load_simulator};
use crate::rehearse::rehearsal::{COMPOSE_PROJECT_LABEL, Rehearsal, io};

/// Label in which Compose writes a container's service.
const COMPOSE_SERVICE_LABEL: &str = "com.docker.compose.service";
/// Services that see the data directory.
const GATED: [&str; 2] = ["charon", "validator-client"];
/// The service that sees nothing of it.
const FREE: &str = "execution";

/// What an operator's project is: charon and a validator client that mounts the keystores, and an execution client that
/// mounts nothing. Nobody needs a network, of which an engine has few.
const PROJECT: &str = "\
# A rehearsal of charon-dkg: these containers wait until they are stopped, and do nothing.
services:
  execution:
    image: IMAGE
    command: [wait]
    network_mode: none
  charon:
    image: IMAGE
    command: [wait]
    network_mode: none
    volumes: ['.charon:/opt/charon/.charon']
  validator-client:
    image: IMAGE
    command: [wait]
    network_mode: none
    depends_on: [charon]
    volumes: ['.charon/validator_keys:/home/charon/validator_keys:ro']
";

/// Compose, and which form of the gate it takes.
pub(crate) struct Gates {
    compose: Compose,
    /// As given on the command line.
    program: Option<PathBuf>,
    kind: GateKind,
    image: String,
}

/// How the gate was shown, or why not.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(crate) enum Shown {
    Yes { compose: String, form: GateKind },
    No { not_shown: String },
}

impl Gates {
    /// Finds out what can be shown here.
    ///
    /// # Errors
    /// Why nothing can.
    pub(crate) async fn find(
        context: &Context,
        engine: &Engine,
        charon: &CharonImage,
        args: &ComposeArgs,
    ) -> Result<Self, String> {
        let choice = EngineChoice {
            host: context.common.host.clone(),
            context: context.common.context.clone(),
        };
        let compose = Compose::find(args.compose.as_deref(), &choice);
        let compose = compose.map_err(|error| error.to_string())?;
        let kind = match compose.version().gate_kind() {
            None => {
                return Err(format!(
                    "{compose} is release {}, expected 1.29 or newer",
                    compose.version()
                ));
            }
            Some(GateKind::OneShot) => GateKind::OneShot,
            Some(GateKind::Provider) => {
                let plugin = compose::plugin_version(PROVIDER_TYPE).ok().flatten();
                if plugin.as_deref() == Some(env!("CARGO_PKG_VERSION")) {
                    GateKind::Provider
                } else {
                    context.warn(&format!(
                        "docker finds no plugin {PROVIDER_TYPE} of this release, so the gates of the rehearsal are containers; \
                         install.sh installs the plugin"
                    ));
                    GateKind::OneShot
                }
            }
        };
        let image = load_simulator(context, engine, &charon.release).await;
        Ok(Self {
            image: image.map_err(|failure| failure.message)?.reference,
            program: args.compose.clone(),
            compose,
            kind,
        })
    }

    /// For the document.
    pub(crate) fn shown(&self) -> Shown {
        Shown::Yes {
            compose: format!("{} {}", self.compose, self.compose.version()),
            form: self.kind,
        }
    }
}

/// What an operator's gate answered.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Answer {
    /// When it was asked.
    pub(crate) when: When,
    pub(crate) expected: Leaf,
    pub(crate) seen: Leaf,
    /// What it said, if it was closed.
    pub(crate) reason: Option<String>,
    /// Whether it was as expected, reason included.
    pub(crate) held: bool,
}

/// A moment of the story.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum When {
    BeforeCeremony,
    OneMissing,
    AllHere,
    ByteChanged,
    Restored,
}

/// Whether services could start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Leaf {
    Open,
    Closed,
    /// Some services started and some did not, or Compose said otherwise.
    Neither,
}

impl Leaf {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Neither => "neither",
        }
    }
}

/// One operator's project.
pub(crate) struct Project<'a> {
    ceremony: &'a Ceremony<'a>,
    gates: &'a Gates,
    operator: &'a Operator,
}

impl<'a> Project<'a> {
    /// Writes the compose file and installs the gate.
    ///
    /// # Errors
    /// If the gate cannot be installed.
    pub(crate) async fn install(
        ceremony: &'a Ceremony<'a>,
        gates: &'a Gates,
        operator: &'a Operator,
    ) -> Result<Self, Failure> {
        for (name, text) in [
            ("docker-compose.yml", PROJECT.replace("IMAGE", &gates.image)),
            (
                ".env",
                format!("COMPOSE_PROJECT_NAME={}\n", operator.project),
            ),
        ] {
            let path = operator.dir.join(name);
            std::fs::write(&path, text).map_err(io("write a compose project"))?;
            give(&path, operator.owner)?;
        }
        let project = Self {
            ceremony,
            gates,
            operator,
        };
        let mut words = vec!["gate", "install", "--rehearsal"];
        if gates.kind == GateKind::OneShot {
            words.push("--one-shot");
        }
        let program = gates.program.as_deref().map(Path::to_string_lossy);
        if let Some(program) = &program {
            words.extend(["--compose", program]);
        }
        let installed = ceremony.ours(operator, &words).await?;
        if installed.code != 0 {
            return Err(Failure::new(
                Kind::Unexpected,
                format!(
                    "gate install of operator {} ended with exit code {}",
                    operator.number, installed.code
                ),
            ));
        }
        Ok(project)
    }

    async fn compose(&self, words: &[&str]) -> Result<Ended, Failure> {
        let mut command = self.gates.compose.command(&self.operator.dir);
        command.args(words).env("PWD", &self.operator.dir);
        for variable in compose::PROJECT_VARIABLES {
            command.env_remove(variable);
        }
        Process::start(self.ceremony.rehearsal, command.into(), None)?
            .end()
            .await
    }

    /// The services of this project that run.
    async fn running(&self) -> Result<Vec<String>, Failure> {
        let rehearsal: &Rehearsal<'_> = self.ceremony.rehearsal;
        let found = rehearsal
            .engine
            .find_labelled(COMPOSE_PROJECT_LABEL, &self.operator.project)
            .await
            .map_err(failures::engine)?;
        Ok(found
            .into_iter()
            .filter(|container| container.state == ContainerState::Running)
            .filter_map(|container| container.labels.get(COMPOSE_SERVICE_LABEL).cloned())
            .collect())
    }

    /// Starts what sees nothing of the data directory, as nodes do that have to sync; whether it runs.
    pub(crate) async fn starts_others(&self) -> Result<bool, Failure> {
        let ended = self.compose(&["up", "-d", FREE]).await?;
        Ok(ended.code == 0 && self.running().await? == [FREE])
    }

    /// Asks for everything to be started, as people do, and looks what came of it. Where the gate has to be closed, its
    /// reason has to have one of these words in it.
    pub(crate) async fn try_up(
        &self,
        when: When,
        expected: Leaf,
        words: &[&str],
    ) -> Result<Answer, Failure> {
        let ended = self.compose(&["up", "-d"]).await?;
        let running = self.running().await?;
        let gated = GATED
            .iter()
            .filter(|service| running.iter().any(|it| it == *service));
        let seen = match (ended.code, gated.count()) {
            (0, 2) => Leaf::Open,
            (1.., 0) | (..0, 0) => Leaf::Closed,
            (_, _) => Leaf::Neither,
        };
        let mut held = seen == expected;
        let mut reason = None;
        if seen != Leaf::Open {
            // The same in full, for Composes that say only that a service failed.
            let checked = ["gate", "check", "--rehearsal"];
            let checked = self.ceremony.ours(self.operator, &checked).await?;
            let message = checked.text("message").unwrap_or_default();
            let message = message
                .strip_prefix("the gate is closed: ")
                .unwrap_or(message);
            held &= words.iter().any(|word| message.contains(word));
            // Where Compose passes it on, it has to be there as well.
            if self.gates.kind == GateKind::Provider {
                let mut lines = ended.said.lines();
                held &= lines.any(|line| {
                    line.contains("charon-dkg refuses: ")
                        && line.contains("; next: ")
                        && words.iter().any(|word| line.contains(word))
                });
            }
            reason = Some(message.to_owned());
        }
        if !held {
            let rehearsal = self.ceremony.rehearsal;
            rehearsal.context.warn(&format!(
                "operator {}: Compose ended with {}, these services run: {}\n{}",
                self.operator.number,
                ended.code,
                running.join(", "),
                ended.said.trim_end()
            ));
        }
        Ok(Answer {
            when,
            expected,
            seen,
            reason,
            held,
        })
    }

    /// Stops all services.
    pub(crate) async fn stop(&self) -> Result<(), Failure> {
        self.compose(&["stop", "-t", "0"]).await.map(|_| ())
    }
}
