//! What all plays of one rehearsal share, and what is taken away when it is over, however it ended.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use crate::ceremony::plan::LABEL_ATTEMPT;
use crate::cli::ProgressStyle;
use crate::context::Context;
use crate::docker::{Engine, EngineError, Mode, probe};
use crate::error::{Failure, Kind};
use crate::rehearse::charon_image::CharonImage;

/// The label by which Compose knows the containers of a project.
pub(crate) const COMPOSE_PROJECT_LABEL: &str = "com.docker.compose.project";
/// Label of a rehearsal's own containers, with the name of the ceremony.
pub(crate) const LABEL_REHEARSAL: &str = "charon-dkg.rehearsal";
/// Beginning of the names of a rehearsal's directory and of whatever the engine is given for it.
pub(crate) const NAME: &str = "charon-dkg-rehearsal-";
/// How often whatever is still being made when a rehearsal is stopped is looked for.
const SWEEPS: usize = 40;
/// Between two looks.
const BETWEEN_SWEEPS: Duration = Duration::from_millis(250);
/// So many looks that find nothing mean that nothing comes any more.
const QUIET_SWEEPS: usize = 2;

/// What all plays share.
pub(crate) struct Rehearsal<'a> {
    pub(crate) context: &'a Context,
    pub(crate) engine: &'a Engine,
    pub(crate) mode: Mode,
    pub(crate) charon: &'a CharonImage,
    /// Beginning of every name that this rehearsal gives to something of the engine's.
    pub(crate) name: String,
    /// The directory of everything.
    pub(crate) base: &'a Path,
    /// Time between two operators who come one after another.
    pub(crate) pace: Duration,
    ceremonies: Mutex<Vec<String>>,
}

impl<'a> Rehearsal<'a> {
    pub(crate) fn new(
        context: &'a Context,
        engine: &'a Engine,
        mode: Mode,
        charon: &'a CharonImage,
        base: &'a Path,
        pace: Duration,
    ) -> Self {
        Self {
            context,
            engine,
            mode,
            charon,
            name: format!("{NAME}{}", uuid::Uuid::new_v4().simple()),
            base,
            pace,
            ceremonies: Mutex::new(Vec::new()),
        }
    }

    /// The same rehearsal with the name and directory of another rehearsal, to clear up after that.
    pub(crate) fn of<'b>(&'b self, name: String, base: &'b Path) -> Rehearsal<'b> {
        Rehearsal {
            name,
            base,
            ceremonies: Mutex::new(Vec::new()),
            ..*self
        }
    }

    /// As [`Rehearsal::clear`], with every network that has its name.
    pub(crate) async fn clear_all(&self) {
        self.clear().await;
        let removed = async {
            for network in self.engine.networks_beginning(&self.name).await? {
                self.engine.remove_network(&network).await?;
            }
            Ok::<(), EngineError>(())
        };
        if let Err(error) = removed.await {
            self.context
                .warn(&format!("something of the rehearsal stays behind: {error}"));
        }
    }

    /// What an operator's command said: kept in a file, and shown as it comes where every line is asked for.
    pub(crate) fn heard(&self, operator: usize, line: &str) {
        match self.context.common.progress {
            ProgressStyle::Plain | ProgressStyle::Json => {
                self.context.say(&format!("operator {operator}: {line}"));
            }
            ProgressStyle::Auto | ProgressStyle::Quiet => {}
        }
        // Where it cannot be kept, the document tells what came of it.
        let path = self.base.join(format!("operator-{operator}.log"));
        let file = File::options().append(true).create(true).open(path);
        file.and_then(|mut file| writeln!(file, "{line}")).ok();
    }

    /// A name for the next ceremony, its network and its relay, which [`Rehearsal::clear`] takes away.
    pub(crate) fn next_name(&self) -> String {
        let mut ceremonies = match self.ceremonies.lock() {
            Ok(ceremonies) => ceremonies,
            Err(poisoned) => poisoned.into_inner(),
        };
        let name = format!("{}-{}", self.name, ceremonies.len() + 1);
        ceremonies.push(name.clone());
        name
    }

    /// Removes whatever the engine was given; what stays is said. Processes of ours that were killed may have asked for
    /// something that the engine is still making, so it looks until nothing comes any more.
    pub(crate) async fn clear(&self) {
        let mut quiet = 0;
        let mut trouble = None;
        for _ in 0..SWEEPS {
            match self.sweep().await {
                Ok(true) => quiet += 1,
                Ok(false) => quiet = 0,
                Err(error) => {
                    quiet = 0;
                    trouble = Some(error);
                }
            }
            if quiet == QUIET_SWEEPS {
                trouble = None;
                break;
            }
            tokio::time::sleep(BETWEEN_SWEEPS).await;
        }
        let ceremonies = match self.ceremonies.lock() {
            Ok(ceremonies) => ceremonies.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        };
        let mut troubles: Vec<EngineError> = trouble.into_iter().collect();
        for name in ceremonies {
            troubles.extend(self.engine.remove_network(&name).await.err());
        }
        for error in troubles {
            self.context
                .warn(&format!("something of the rehearsal stays behind: {error}"));
        }
    }

    /// Removes every container of this rehearsal. Whether there was none.
    async fn sweep(&self) -> Result<bool, EngineError> {
        let mut found = Vec::new();
        let attempts = PathBuf::from(self.base);
        for container in self.engine.find_with_label(LABEL_ATTEMPT).await? {
            let attempt = container.labels.get(LABEL_ATTEMPT).map(Path::new);
            if attempt.is_some_and(|attempt| attempt.starts_with(&attempts)) {
                found.push(container.id);
            }
        }
        for label in [COMPOSE_PROJECT_LABEL, LABEL_REHEARSAL, probe::LABEL_NETWORK] {
            for container in self.engine.find_with_label(label).await? {
                let value = container.labels.get(label);
                if value.is_some_and(|value| value.starts_with(&self.name)) {
                    found.push(container.id);
                }
            }
        }
        for id in &found {
            match self.engine.discard_container(id).await {
                Ok(()) | Err(EngineError::NoSuchContainer { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found.is_empty())
    }
}

/// A failure of this machine.
pub(crate) fn io(what: &'static str) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::new(Kind::Unexpected, format!("cannot {what}: {error}"))
}
