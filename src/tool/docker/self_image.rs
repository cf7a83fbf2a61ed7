//! An image made from this very program, for engines that can reach no registry.
//!
//! It holds one static file and nothing else: no library, no shell, no package. It can only be run on the processor it was
//! made on, which is where its engine is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::docker::{Engine, EngineError, ImageFacts};
use crate::machine;
use crate::report;

/// Where the program is in the image.
pub const PROGRAM: &str = "/charon-dkg";

/// The repository of images that nobody gave another name.
pub const REPOSITORY: &str = "charon-dkg-self";

/// The label that tells from which content an image was made, in hexadecimal.
pub const CONTENT_LABEL: &str = "charon-dkg.self-image";

/// The label that tells for what an image was made.
const USE_LABEL: &str = "charon-dkg.use";

/// How long an image is left alone that another build of this program has made: it may be about to start a container.
const IN_PASSING: Duration = Duration::from_secs(60 * 60);

/// For what an image is made. Images of earlier builds for the same use go once nothing needs them any more; one that was
/// made for no use is nobody's to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use<'a> {
    /// Short runs of this program, and the gates of a rehearsal.
    Probe,
    /// The simulator in the place of this release of charon.
    Simulator(&'a str),
    /// The gate of the project in this directory, whose file names the image.
    GateOf(&'a Path),
}

impl Use<'_> {
    fn label(self) -> String {
        match self {
            Self::Probe => "probe".to_owned(),
            Self::Simulator(release) => format!("simulator {release}"),
            Self::GateOf(dir) => format!("gate of {}", dir.display()),
        }
    }
}

const EXECUTABLE: &str = "/proc/self/exe";

/// What went wrong while an image was made from this program.
#[derive(Debug, thiserror::Error)]
pub enum SelfImageError {
    /// The program's file cannot be read.
    #[error("cannot read {path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// This program was built with flags of somebody's own, and needs libraries that an image would lack.
    #[error(
        "this charon-dkg is not a static program, so no image can be made from it: build it with `./install.sh`, or \
         without RUSTFLAGS and RUSTC_WORKSPACE_WRAPPER"
    )]
    NotStatic,
    /// The engine runs another operating system or processor.
    #[error("the engine runs {engine}, and this program is made for {program}")]
    OtherPlatform {
        /// Of the engine, such as `linux/arm64`.
        engine: String,
        /// Of this program.
        program: String,
    },
    /// The engine took the image and does not have it.
    #[error("the engine loaded {reference} and does not have it")]
    NotLoaded {
        /// The image's name.
        reference: String,
    },
    /// The engine refused or failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// What the image is called and what it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfImageSpec {
    /// Another program of ours to be in the image, static and for this processor as this one is; `None` for this one.
    pub program: Option<PathBuf>,
    /// `name:tag`; `None` for [`REPOSITORY`] with a tag that follows from the content.
    pub reference: Option<String>,
    /// What runs, before the arguments of a container.
    pub entrypoint: Vec<String>,
    /// The arguments where a container gives none.
    pub cmd: Vec<String>,
    /// Labels, beside [`CONTENT_LABEL`].
    pub labels: BTreeMap<String, String>,
}

impl SelfImageSpec {
    /// The default for a use.
    pub fn of(purpose: Use<'_>) -> Self {
        Self {
            labels: BTreeMap::from([(USE_LABEL.to_owned(), purpose.label())]),
            ..Self::default()
        }
    }
}

impl Default for SelfImageSpec {
    fn default() -> Self {
        Self {
            program: None,
            reference: None,
            entrypoint: vec![PROGRAM.to_owned()],
            cmd: Vec::new(),
            labels: BTreeMap::new(),
        }
    }
}

/// An image made from this program, present on the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfImage {
    /// Its name and tag.
    pub reference: String,
    /// What the engine knows of it.
    pub facts: ImageFacts,
    /// Whether it was there already.
    pub reused: bool,
}

/// Makes an image from the running program and loads it, unless the engine has it already.
///
/// # Errors
/// When the program cannot be read or is not static, the engine runs on another platform, or refuses.
pub async fn load_self_image(
    engine: &Engine,
    spec: &SelfImageSpec,
) -> Result<SelfImage, SelfImageError> {
    if !cfg!(target_feature = "crt-static") {
        return Err(SelfImageError::NotStatic);
    }
    let platform = format!("{}/{}", std::env::consts::OS, machine::processor());
    if engine.os_arch() != platform {
        return Err(SelfImageError::OtherPlatform {
            engine: engine.os_arch(),
            program: platform,
        });
    }
    let program = spec
        .program
        .clone()
        .unwrap_or_else(|| PathBuf::from(EXECUTABLE));
    let unreadable = |error| SelfImageError::Unreadable {
        path: program.clone(),
        error,
    };
    // Reading and hashing some tens of megabytes must not hold up a signal handler.
    let packed = tokio::task::spawn_blocking({
        let (program, spec) = (program.clone(), spec.clone());
        let now = jiff::Timestamp::now();
        move || Packed::of(&std::fs::read(program)?, &spec, now)
    });
    let packed = packed
        .await
        .map_err(|error| unreadable(std::io::Error::other(error)))?
        .map_err(unreadable)?;
    if let Some(facts) = find(engine, &packed.reference, &packed.content).await? {
        return Ok(SelfImage {
            reference: packed.reference,
            facts,
            reused: true,
        });
    }
    let (reference, content) = (packed.reference.clone(), packed.content.clone());
    let archive = tokio::task::spawn_blocking(move || packed.archive())
        .await
        .map_err(|error| unreadable(std::io::Error::other(error)))?
        .map_err(unreadable)?;
    engine.load_image(archive).await?;
    match find(engine, &reference, &content).await? {
        Some(facts) => Ok(SelfImage {
            reference,
            facts,
            reused: false,
        }),
        None => Err(SelfImageError::NotLoaded { reference }),
    }
}

/// The same for a use that ends with the command, and takes away what earlier builds left behind of it; gives how many.
///
/// # Errors
/// As [`load_self_image`]. What cannot be taken away stays.
pub async fn load_in_passing(
    engine: &Engine,
    purpose: Use<'_>,
    spec: &SelfImageSpec,
) -> Result<(SelfImage, usize), SelfImageError> {
    let image = load_self_image(engine, spec).await?;
    let removed = if image.reused {
        0
    } else {
        remove_earlier(engine, purpose, &image.reference, IN_PASSING)
            .await
            .unwrap_or_default()
    };
    Ok((image, removed))
}

/// Removes the images that were made for this use, but for `kept`, those that are younger, those that a container uses,
/// running or not, and those that a user has tagged; returns how many.
///
/// # Errors
/// As every call. It is no error if the engine keeps an image.
pub async fn remove_earlier(
    engine: &Engine,
    purpose: Use<'_>,
    kept: &str,
    older_than: Duration,
) -> Result<usize, EngineError> {
    let before = jiff::Timestamp::now()
        .as_second()
        .saturating_sub_unsigned(older_than.as_secs());
    let mut removed = 0;
    for image in engine.labelled_images(USE_LABEL, &purpose.label()).await? {
        if image.created > before || image.names.iter().any(|name| name == kept) {
            continue;
        }
        match engine.remove_image(&image.id).await {
            Ok(()) => removed += 1,
            // In use.
            Err(EngineError::Failed { status: 409, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

/// What is said of that, if there is anything to say.
pub(crate) fn removed_line(removed: usize) -> Option<String> {
    let count = u64::try_from(removed).unwrap_or(u64::MAX);
    (removed > 0).then(|| {
        format!(
            "removed {} of this program that nothing needs any more",
            report::count(count, "image")
        )
    })
}

/// The image of this name, if it was made from the same content and with the same settings.
async fn find(
    engine: &Engine,
    reference: &str,
    content: &str,
) -> Result<Option<ImageFacts>, EngineError> {
    let found = engine.inspect_image(reference).await?;
    Ok(found.filter(|facts| {
        facts
            .labels
            .get(CONTENT_LABEL)
            .is_some_and(|it| it == content)
    }))
}

/// What an image archive in the form of `docker save` is made of, and what it is known by.
struct Packed {
    reference: String,
    content: String,
    config: String,
    layer: Vec<u8>,
    layer_digest: String,
}

impl Packed {
    /// The same program and settings at the same time give the same bytes, and at any time the same content.
    fn of(program: &[u8], spec: &SelfImageSpec, now: jiff::Timestamp) -> std::io::Result<Self> {
        let layer = tar_of(&[(PROGRAM.trim_start_matches('/'), program)])?;
        let layer_digest = hex::encode(Sha256::digest(&layer));
        let created = machine::time_text(now);
        let config = |content: &str, created: &str| {
            let mut labels = spec.labels.clone();
            labels.insert(CONTENT_LABEL.to_owned(), content.to_owned());
            // Fields of the OCI image configuration (image-spec `config.md`).
            let config = serde_json::json!({
                "created": created,
                "os": std::env::consts::OS,
                "architecture": machine::processor(),
                "config": {
                    "Entrypoint": spec.entrypoint,
                    "Cmd": spec.cmd,
                    "Env": ["PATH=/"],
                    "WorkingDir": "/",
                    "Labels": labels,
                },
                "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer_digest}")] },
            });
            config.to_string()
        };
        // The label stands for the content and all settings; it cannot stand for itself.
        let content = hex::encode(Sha256::digest(config("", "")));
        let config = config(&content, &created);
        let reference = spec.reference.clone().unwrap_or_else(|| {
            let tag: String = content.chars().take(16).collect();
            format!("{REPOSITORY}:{tag}")
        });
        Ok(Self {
            reference,
            content,
            config,
            layer,
            layer_digest,
        })
    }

    /// For an engine that does not have the image yet.
    fn archive(&self) -> std::io::Result<Vec<u8>> {
        let config_name = format!("{}.json", hex::encode(Sha256::digest(&self.config)));
        let layer_name = format!("{}.tar", self.layer_digest);
        let manifest = serde_json::json!([{
            "Config": config_name,
            "RepoTags": [self.reference],
            "Layers": [layer_name],
        }]);
        tar_of(&[
            (&config_name, self.config.as_bytes()),
            (&layer_name, &self.layer),
            ("manifest.json", manifest.to_string().as_bytes()),
        ])
    }
}

/// A tar archive of these files, without times and owners.
fn tar_of(files: &[(&str, &[u8])]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        archive.append_data(&mut header, name, *bytes)?;
    }
    archive.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_twice_gives_the_same_bytes_and_other_settings_give_another_label() {
        let spec = SelfImageSpec::default();
        let at = |second| jiff::Timestamp::from_second(second).unwrap();
        let one = Packed::of(b"program", &spec, at(1)).unwrap();
        let two = Packed::of(b"program", &spec, at(1)).unwrap();
        assert!(one.archive().unwrap() == two.archive().unwrap());
        assert_eq!(one.reference, two.reference);
        let later = Packed::of(b"program", &spec, at(2)).unwrap();
        assert!(one.archive().unwrap() != later.archive().unwrap());
        assert_eq!(one.content, later.content);
        let other = SelfImageSpec {
            entrypoint: vec![PROGRAM.to_owned(), "simulator".to_owned()],
            ..spec.clone()
        };
        let other = Packed::of(b"program", &other, at(1)).unwrap();
        assert_ne!(one.content, other.content);
        assert_ne!(one.reference, other.reference);
        let newer = Packed::of(b"newer program", &spec, at(1)).unwrap();
        assert_ne!(one.reference, newer.reference);
    }
}
