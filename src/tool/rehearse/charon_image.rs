//! Who plays charon: its own image where it can be had, the simulator elsewhere.

use std::path::PathBuf;

use crate::ceremony::pins;
use crate::cli::RehearsalEngine;
use crate::context::Context;
use crate::docker::Engine;
use crate::docker::self_image::{self, PROGRAM, SelfImage, SelfImageSpec, Use};
use crate::error::{Failure, Kind};
use charon_files::cluster::version::{CharonVersion, DefinitionVersion};

/// Repository of the image in which the simulator plays charon.
const SIMULATOR_REPOSITORY: &str = "charon-dkg-simulator";

/// The simulator's program.
const SIMULATOR: &str = "charon-dkg-simulator";

/// Where it is installed, as seen from the directory of this program.
const LIBEXEC: &str = "../libexec/charon-dkg";

/// Who plays charon.
pub(crate) struct CharonImage {
    /// Image repository for `run --image`.
    pub(crate) repository: String,
    /// What the relay's container runs.
    pub(crate) run_as: String,
    pub(crate) simulated: bool,
    pub(crate) release: CharonVersion,
}

impl CharonImage {
    /// Decides who plays charon.
    ///
    /// # Errors
    /// [`Kind::Refused`] where charon itself was asked for and is not available.
    pub(crate) async fn choose(
        context: &Context,
        engine: &Engine,
        wanted: RehearsalEngine,
    ) -> Result<Self, Failure> {
        let release = pins::choose(DefinitionVersion::V1_10, None, false)
            .map_err(|error| Failure::new(Kind::Unexpected, error.to_string()))?;
        let reference = format!("{}:{release}", pins::OFFICIAL_REPOSITORY);
        let unavailable = match wanted {
            RehearsalEngine::Simulated => None,
            RehearsalEngine::Charon | RehearsalEngine::Auto => {
                match find_image(context, engine, &reference).await {
                    Ok(run_as) => {
                        return Ok(Self {
                            repository: pins::OFFICIAL_REPOSITORY.to_owned(),
                            run_as,
                            simulated: false,
                            release,
                        });
                    }
                    Err(reason) => Some(reason),
                }
            }
        };
        if let (RehearsalEngine::Charon, Some(reason)) = (wanted, &unavailable) {
            return Err(Failure::new(
                Kind::Refused,
                format!("{reference} is not available: {reason}"),
            )
            .hint("rehearse with the simulator: --engine simulated"));
        }
        if let Some(reason) = unavailable {
            context.warn(&format!(
                "{reference} is not available ({reason}), so the built-in SIMULATOR plays charon. It deals all shares from \
                 one place and is no DKG; everything else is real."
            ));
        }
        let image = load_simulator(context, engine, &release).await?;
        Ok(Self {
            repository: SIMULATOR_REPOSITORY.to_owned(),
            run_as: image.facts.id,
            simulated: true,
            release,
        })
    }

    /// Gets another release, for the operator who comes with the wrong one.
    ///
    /// # Errors
    /// Why it is not available.
    pub(crate) async fn other_release(
        &self,
        context: &Context,
        engine: &Engine,
        release: &CharonVersion,
    ) -> Result<(), String> {
        if self.simulated {
            let loaded = load_simulator(context, engine, release).await;
            return loaded.map(|_| ()).map_err(|failure| failure.message);
        }
        let reference = format!("{}:{release}", pins::OFFICIAL_REPOSITORY);
        let found = find_image(context, engine, &reference).await;
        found
            .map(|_| ())
            .map_err(|reason| format!("{reference} is not available: {reason}"))
    }
}

/// The simulator's program: beside this one where it was built, in `libexec` where it was installed.
///
/// # Errors
/// [`Kind::Refused`] where it is in neither place.
fn find_simulator() -> Result<PathBuf, Failure> {
    let here = std::env::current_exe().and_then(std::fs::canonicalize);
    let dir = here.ok().and_then(|path| Some(path.parent()?.to_owned()));
    let places: Vec<PathBuf> = dir
        .iter()
        .flat_map(|dir| [dir.join(SIMULATOR), dir.join(LIBEXEC).join(SIMULATOR)])
        .collect();
    places
        .iter()
        .find(|path| path.is_file())
        .cloned()
        .ok_or_else(|| {
            let places: Vec<String> = places
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            Failure::new(
                Kind::Refused,
                format!(
                    "the simulator is not installed: expected {}",
                    places.join(" or ")
                ),
            )
            .hint("in a checkout of charon-dkg: `./install.sh`, or `cargo build --workspace`")
        })
}

/// An image in which the simulator plays this release of charon.
///
/// # Errors
/// Where the simulator is not installed, or the engine refuses its image.
pub(crate) async fn load_simulator(
    context: &Context,
    engine: &Engine,
    release: &CharonVersion,
) -> Result<SelfImage, Failure> {
    let version = release.to_string();
    let purpose = Use::Simulator(&version);
    let spec = SelfImageSpec {
        program: Some(find_simulator()?),
        reference: Some(format!("{SIMULATOR_REPOSITORY}:{release}")),
        entrypoint: vec![
            PROGRAM.to_owned(),
            "--charon-version".to_owned(),
            version.clone(),
        ],
        ..SelfImageSpec::of(purpose)
    };
    let (image, removed) = self_image::load_in_passing(engine, purpose, &spec)
        .await
        .map_err(|error| Failure::new(Kind::Unexpected, error.to_string()))?;
    if let Some(line) = self_image::removed_line(removed) {
        context.say(&line);
    }
    Ok(image)
}

async fn find_image(context: &Context, engine: &Engine, reference: &str) -> Result<String, String> {
    if let Some(found) = engine
        .inspect_image(reference)
        .await
        .map_err(|e| e.to_string())?
    {
        return Ok(found.run_image(reference).reference().to_owned());
    }
    engine
        .registry_digest(reference)
        .await
        .map_err(|e| e.to_string())?;
    let bar = context.task(&format!("pulling {reference}"), 0);
    let pulled = engine
        .pull_image(reference, |progress| {
            bar.set_of(progress.downloaded, progress.total)
        })
        .await
        .map_err(|e| e.to_string())?;
    Ok(pulled.run_image(reference).reference().to_owned())
}
