//! Images: what is there, how it is pulled, and by which name it is run.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{CreateImageInfo, ImageInspect};
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ImportImageOptionsBuilder, ListImagesOptionsBuilder,
    RemoveImageOptionsBuilder,
};
use futures_util::StreamExt;

use crate::docker::{Engine, EngineError, convert, credentials};

/// What the engine knows of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// Content identifier on this engine, `sha256:…`.
    pub id: String,
    /// `repository@sha256:…` under which this very content is known.
    pub repo_digests: Vec<String>,
    /// Repositories that it was pulled from or pushed to, without a registry's port, as engines of API 1.53 and newer tell for
    /// containerd's image store.
    pub pulled_from: Vec<String>,
    /// When it was built, RFC 3339; `None` where the image does not say.
    pub created: Option<String>,
    /// Processor as image indexes name it: `amd64`, `arm64`.
    pub architecture: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// As whom it runs where nobody says otherwise, as it was written; empty for root.
    pub user: String,
    /// Size on disk in bytes, shared layers included.
    pub size: u64,
}

/// An image in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedImage {
    /// Content identifier on this engine, `sha256:…`.
    pub(crate) id: String,
    /// `name:tag` of each name.
    pub(crate) names: Vec<String>,
    /// When it was made, in seconds of Unix time.
    pub(crate) created: i64,
}

/// The exact image to run, by content: a tag can be moved, a digest cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunImage {
    /// Known to the engine by the digest of its manifest in the repository that was asked for.
    ByDigest {
        /// `repository@sha256:…`.
        reference: String,
    },
    /// Exists only locally: built or loaded here, so that no repository can vouch for it.
    LocalOnly {
        /// `sha256:…`, an identifier of its content too, but none that others can pull.
        id: String,
    },
}

impl RunImage {
    /// What to put in [`crate::ceremony::plan::ContainerPlan::image`].
    pub fn reference(&self) -> &str {
        match self {
            RunImage::ByDigest { reference } => reference,
            RunImage::LocalOnly { id } => id,
        }
    }
}

impl ImageFacts {
    /// How to run exactly this content, given the reference by which it was found.
    pub fn run_image(&self, reference: &str) -> RunImage {
        let wanted = ImageReference::parse(reference);
        let found = self.repo_digests.iter().find(|candidate| {
            let candidate = ImageReference::parse(candidate);
            candidate.full_repository() == wanted.full_repository()
                && match (&wanted.digest, candidate.digest) {
                    (None, Some(digest)) => self.comes_from(&wanted, &digest),
                    (wanted, digest) => *wanted == digest,
                }
        });
        match found {
            Some(reference) => RunImage::ByDigest {
                reference: reference.clone(),
            },
            None => RunImage::LocalOnly {
                id: self.id.clone(),
            },
        }
    }
}

impl ImageFacts {
    /// Whether a repository vouches for this digest. Docker's own image store names one only after a pull or a push.
    /// Containerd's, where an image is known by the digest of its manifest, names what was built or loaded too.
    fn comes_from(&self, wanted: &ImageReference, digest: &str) -> bool {
        let is_containerds = self.id == digest;
        !is_containerds
            || self.pulled_from.iter().any(|repository| {
                ImageReference::parse(repository).without_port() == wanted.without_port()
            })
    }
}

/// How far a pull has come. Totals grow while the engine learns of more layers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PullProgress {
    /// Layers named so far.
    pub layers: usize,
    /// Layers that are in place.
    pub layers_done: usize,
    /// Bytes downloaded so far.
    pub downloaded: u64,
    /// Bytes to download, of the layers whose size is known.
    pub total: u64,
    /// The engine's last words.
    pub status: String,
}

/// Why an image could not be pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullFailure {
    /// The registry could not be reached from the engine: no name, no route, no answer.
    NoRegistry,
    /// The registry has the repository but not this tag or digest.
    UnknownTag,
    /// The registry wants a login, or there is no such repository; registries do not tell which.
    Denied,
    /// The registry wants fewer pulls per hour from this address or account.
    RateLimited,
    /// The engine's disk is full.
    NoSpace,
    /// The engine fell silent in the middle.
    Stalled,
    /// None of these; the engine's own words must do.
    Unclassified,
}

impl PullFailure {
    /// What helps against it.
    pub fn advice(self, reference: &str) -> String {
        let registry = ImageReference::parse(reference).registry();
        let login = match registry.as_str() {
            DOCKER => "docker login".to_owned(),
            registry => format!("docker login {registry}"),
        };
        match self {
            PullFailure::Denied => format!(
                "`{login}` as the user who runs this, or `docker pull {reference}`; if you are logged in, check the name \
                 of the repository: registries do not tell which it is"
            ),
            PullFailure::RateLimited => {
                format!("wait, or `{login}` for a higher limit, or name a mirror with --image")
            }
            PullFailure::UnknownTag => {
                "this repository has no such release: check --image and --charon-version".to_owned()
            }
            PullFailure::NoSpace => "make room where the engine keeps its images".to_owned(),
            PullFailure::NoRegistry | PullFailure::Stalled | PullFailure::Unclassified => {
                "check this machine's network, or name a mirror with --image".to_owned()
            }
        }
    }

    /// Engines pass on the registry's words or Go's, and no code; so these are looked for.
    fn of(message: &str) -> Self {
        let message = message.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        if says(&["no space left on device", "disk quota exceeded"]) {
            PullFailure::NoSpace
        } else if says(&["toomanyrequests", "rate limit", "too many requests"]) {
            PullFailure::RateLimited
        } else if says(&[
            "unauthorized",
            "access denied",
            "denied:",
            "authentication required",
            "no basic auth credentials",
            "forbidden",
        ]) {
            PullFailure::Denied
        } else if says(&["manifest unknown", "not found", "name unknown"]) {
            PullFailure::UnknownTag
        } else if says(&[
            "no such host",
            "dial tcp",
            "connection refused",
            "connection reset",
            "i/o timeout",
            "handshake timeout",
            "request canceled",
            "deadline exceeded",
            "network is unreachable",
            "no route to host",
            "server misbehaving",
            "temporary failure in name resolution",
            "proxyconnect",
            "pinging container registry",
        ]) {
            PullFailure::NoRegistry
        } else {
            PullFailure::Unclassified
        }
    }
}

impl Engine {
    /// The image behind a tag, digest or id, or `None` where this engine has none.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn inspect_image(&self, reference: &str) -> Result<Option<ImageFacts>, EngineError> {
        let asked = self
            .call("inspect an image", self.docker.inspect_image(reference))
            .await;
        match asked {
            Ok(image) => facts_of(image).map(Some),
            Err(EngineError::Failed { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The digest, `sha256:…`, that the registry has for a tag; pulls nothing.
    ///
    /// # Errors
    /// [`EngineError::PullFailed`] with the reason, and what every call may answer.
    pub async fn registry_digest(&self, reference: &str) -> Result<String, EngineError> {
        let login = credentials::of(&ImageReference::parse(reference).registry()).await;
        let asked = self
            .docker
            .inspect_registry_image(reference, login.credentials);
        let failed = |reason, message: String| {
            pull_failed(reference, reason, message, login.trouble.as_deref())
        };
        match self.call("ask the registry for an image", asked).await {
            Ok(image) => image.descriptor.digest.ok_or_else(|| {
                failed(
                    PullFailure::Unclassified,
                    "the registry names no digest".to_owned(),
                )
            }),
            Err(EngineError::Failed { message, .. }) => {
                Err(failed(PullFailure::of(&message), message))
            }
            Err(error) => Err(error),
        }
    }

    /// Pulls an image by tag or digest; without either, `latest`; with this user's login at its registry, as docker has it.
    ///
    /// # Errors
    /// [`EngineError::PullFailed`] with the reason, and what every call may answer.
    pub async fn pull_image(
        &self,
        reference: &str,
        mut on_progress: impl FnMut(&PullProgress),
    ) -> Result<ImageFacts, EngineError> {
        const CALL: &str = "pull an image";
        let parts = ImageReference::parse(reference);
        let options = CreateImageOptionsBuilder::default()
            .from_image(&parts.repository)
            .tag(
                parts
                    .digest
                    .as_deref()
                    .or(parts.tag.as_deref())
                    .unwrap_or("latest"),
            )
            .build();
        let login = credentials::of(&parts.registry()).await;
        let failed = |reason, message: String| {
            pull_failed(reference, reason, message, login.trouble.as_deref())
        };
        let mut layers = BTreeMap::new();
        let mut events = self
            .docker
            .create_image(Some(options), None, login.credentials);
        loop {
            let silence = self.deadlines.pull_silence;
            let Ok(event) = tokio::time::timeout(silence, events.next()).await else {
                let message = format!("nothing happened for {} s", silence.as_secs_f32());
                return Err(failed(PullFailure::Stalled, message));
            };
            match event {
                None => break,
                Some(Ok(event)) => on_progress(&progress_after(&mut layers, event)),
                Some(Err(error)) => {
                    let error = convert(CALL, error);
                    let EngineError::Failed { message, .. } = error else {
                        return Err(error);
                    };
                    return Err(failed(PullFailure::of(&message), message));
                }
            }
        }
        self.inspect_image(reference).await?.ok_or_else(|| {
            let message = "the engine reported no error, and does not have the image".to_owned();
            failed(PullFailure::Unclassified, message)
        })
    }

    /// Loads an image from an archive as `docker save` writes it.
    ///
    /// # Errors
    /// When the engine refuses the archive or does not answer.
    pub async fn load_image(&self, archive: Vec<u8>) -> Result<(), EngineError> {
        const CALL: &str = "load an image";
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        let body = bollard::body_full(archive.into());
        let mut events = self.docker.import_image(options, body, None);
        loop {
            let event = tokio::time::timeout(self.deadlines.pull_silence, events.next()).await;
            match event {
                Ok(None) => return Ok(()),
                Ok(Some(event)) => {
                    event.map_err(|error| convert(CALL, error))?;
                }
                Err(_) => {
                    return Err(EngineError::NoAnswer {
                        call: CALL,
                        after: self.deadlines.pull_silence,
                    });
                }
            }
        }
    }

    /// The images with this label.
    pub(crate) async fn labelled_images(
        &self,
        key: &str,
        value: &str,
    ) -> Result<Vec<ListedImage>, EngineError> {
        let filters = HashMap::from([("label", vec![format!("{key}={value}")])]);
        let options = ListImagesOptionsBuilder::default()
            .filters(&filters)
            .build();
        let listed = self
            .call("list images", self.docker.list_images(Some(options)))
            .await?;
        let listed = listed.into_iter().map(|image| ListedImage {
            id: image.id,
            names: image.repo_tags,
            created: image.created,
        });
        Ok(listed.collect())
    }

    /// Takes away a name of an image, and the image itself when it was the last one.
    /// An image that is not there is no error; one that is in use is.
    ///
    /// # Errors
    /// What every call may answer.
    pub async fn remove_image(&self, reference: &str) -> Result<(), EngineError> {
        let options = RemoveImageOptionsBuilder::default().build();
        let removed = self.docker.remove_image(reference, Some(options), None);
        match self.call("remove an image", removed).await {
            Ok(_) | Err(EngineError::Failed { status: 404, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A login that is there and was not used may be why a registry says no.
fn pull_failed(
    reference: &str,
    reason: PullFailure,
    message: String,
    trouble: Option<&str>,
) -> EngineError {
    EngineError::PullFailed {
        reference: reference.to_owned(),
        reason,
        message: match (reason, trouble) {
            (PullFailure::Denied | PullFailure::RateLimited, Some(trouble)) => {
                format!("{message} ({trouble})")
            }
            (
                PullFailure::Denied
                | PullFailure::RateLimited
                | PullFailure::NoRegistry
                | PullFailure::UnknownTag
                | PullFailure::NoSpace
                | PullFailure::Stalled
                | PullFailure::Unclassified,
                _,
            ) => message,
        },
    }
}

fn facts_of(image: ImageInspect) -> Result<ImageFacts, EngineError> {
    let missing = |what: &str| EngineError::Nonsense {
        call: "inspect an image",
        detail: format!("no {what}"),
    };
    let id = image.id.ok_or_else(|| missing("Id"))?;
    Ok(ImageFacts {
        // Podman leaves out the algorithm.
        id: if id.contains(':') {
            id
        } else {
            format!("sha256:{id}")
        },
        repo_digests: image.repo_digests.unwrap_or_default(),
        pulled_from: image
            .identity
            .and_then(|identity| identity.pull)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|pull| pull.repository)
            .collect(),
        created: image
            .created
            .filter(|created| !created.starts_with("0001-")),
        architecture: image.architecture.ok_or_else(|| missing("Architecture"))?,
        user: image
            .config
            .as_ref()
            .and_then(|config| config.user.clone())
            .unwrap_or_default(),
        labels: image
            .config
            .and_then(|config| config.labels)
            .unwrap_or_default()
            .into_iter()
            .collect(),
        size: image
            .size
            .and_then(|size| u64::try_from(size).ok())
            .unwrap_or_default(),
    })
}

/// Bytes downloaded and to download, and whether the layer is in place.
#[derive(Default)]
struct Layer {
    downloaded: u64,
    total: u64,
    done: bool,
}

fn progress_after(layers: &mut BTreeMap<String, Layer>, event: CreateImageInfo) -> PullProgress {
    let status = event.status.unwrap_or_default();
    // The line "Pulling from repository" carries the tag where the others carry the layer.
    if let Some(id) = event.id.filter(|_| !status.starts_with("Pulling from")) {
        let layer = layers.entry(id).or_default();
        match status.as_str() {
            "Downloading" => {
                let bytes = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
                if let Some(detail) = event.progress_detail {
                    layer.downloaded = bytes(detail.current);
                    layer.total = bytes(detail.total).max(layer.downloaded);
                }
            }
            "Download complete" | "Verifying Checksum" => layer.downloaded = layer.total,
            "Pull complete" | "Already exists" => {
                layer.downloaded = layer.total;
                layer.done = true;
            }
            _ => {}
        }
    }
    PullProgress {
        layers: layers.len(),
        layers_done: layers.values().filter(|layer| layer.done).count(),
        downloaded: layers.values().map(|layer| layer.downloaded).sum(),
        total: layers.values().map(|layer| layer.total).sum(),
        status,
    }
}

/// Docker's default registry.
const DOCKER: &str = "docker.io";

/// An image reference in its parts (distribution/reference, `reference.go`).
#[derive(Debug, PartialEq, Eq)]
struct ImageReference {
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl ImageReference {
    fn parse(text: &str) -> Self {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.to_owned())),
            None => (text, None),
        };
        // A colon before the last slash belongs to a port.
        let after_slash = name.rfind('/').map_or(0, |slash| slash + 1);
        let (repository, tag) = match name.get(after_slash..).and_then(|last| last.find(':')) {
            Some(colon) => {
                let (repository, tag) = name.split_at(after_slash + colon);
                (repository, Some(tag.trim_start_matches(':').to_owned()))
            }
            None => (name, None),
        };
        Self {
            repository: repository.to_owned(),
            tag,
            digest,
        }
    }

    /// `docker.io`, or `host[:port]`.
    fn registry(&self) -> String {
        let full = self.full_repository();
        full.split_once('/')
            .map_or(full.clone(), |(registry, _)| registry.to_owned())
    }

    /// As engines tell where an image was pulled from.
    fn without_port(&self) -> String {
        let full = self.full_repository();
        let (registry, path) = full.split_once('/').unwrap_or(("", &full));
        let host = registry.split_once(':').map_or(registry, |(host, _)| host);
        format!("{host}/{path}")
    }

    /// Docker shortens the names of its default registry, Podman never does.
    fn full_repository(&self) -> String {
        let (first, rest) = match self.repository.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (first, rest)
            }
            Some(_) | None => (DOCKER, self.repository.as_str()),
        };
        let first = if first == "index.docker.io" {
            DOCKER
        } else {
            first
        };
        if first == DOCKER && !rest.contains('/') {
            return format!("{first}/library/{rest}");
        }
        format!("{first}/{rest}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const OTHER: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn image(repo_digests: &[String]) -> ImageFacts {
        ImageFacts {
            id: "sha256:1234".to_owned(),
            repo_digests: repo_digests.to_vec(),
            pulled_from: Vec::new(),
            created: None,
            architecture: "amd64".to_owned(),
            labels: BTreeMap::new(),
            user: String::new(),
            size: 1,
        }
    }

    #[test]
    fn references_fall_into_their_parts() {
        for (text, repository, tag, digest) in [
            ("alpine", "alpine", None, None),
            (
                "obolnetwork/charon:v1.10.3",
                "obolnetwork/charon",
                Some("v1.10.3"),
                None,
            ),
            (
                "mirror.example:5000/charon",
                "mirror.example:5000/charon",
                None,
                None,
            ),
            (
                "mirror.example:5000/a/charon:v1",
                "mirror.example:5000/a/charon",
                Some("v1"),
                None,
            ),
            ("a/b:c@sha256:1", "a/b", Some("c"), Some("sha256:1")),
        ] {
            let parts = ImageReference::parse(text);
            assert_eq!(parts.repository, repository);
            assert_eq!(parts.tag.as_deref(), tag);
            assert_eq!(parts.digest.as_deref(), digest);
        }
    }

    #[test]
    fn an_image_is_run_by_the_digest_of_the_repository_that_was_asked_for() {
        let facts = image(&[
            format!("mirror.example/charon@{OTHER}"),
            format!("obolnetwork/charon@{DIGEST}"),
        ]);
        let run = facts.run_image("obolnetwork/charon:v1.10.3");
        assert_eq!(run.reference(), format!("obolnetwork/charon@{DIGEST}"));
        let run = facts.run_image("mirror.example/charon:v1.10.3");
        assert_eq!(run.reference(), format!("mirror.example/charon@{OTHER}"));
    }

    #[test]
    fn long_and_short_names_of_one_repository_are_the_same() {
        let facts = image(&[format!("docker.io/obolnetwork/charon@{DIGEST}")]);
        let run = facts.run_image("obolnetwork/charon:v1.10.3");
        assert_eq!(
            run.reference(),
            format!("docker.io/obolnetwork/charon@{DIGEST}")
        );
        let facts = image(&[format!("alpine@{DIGEST}")]);
        let run = facts.run_image("docker.io/library/alpine:3");
        assert_eq!(run.reference(), format!("alpine@{DIGEST}"));
    }

    #[test]
    fn an_image_that_no_repository_vouches_for_is_run_by_its_id() {
        let facts = image(&[format!("somebody/else@{DIGEST}")]);
        let run = facts.run_image("obolnetwork/charon:v1.10.3");
        assert_eq!(
            run,
            RunImage::LocalOnly {
                id: "sha256:1234".to_owned()
            }
        );
        let facts = image(&[format!("obolnetwork/charon@{DIGEST}")]);
        let run = facts.run_image(&format!("obolnetwork/charon@{OTHER}"));
        assert!(matches!(run, RunImage::LocalOnly { .. }));
    }

    /// What engine 29.7.2 (API 1.55) with containerd's image store answers, after `docker load` and after a pull.
    #[test]
    fn what_was_only_loaded_into_containerds_store_is_local() {
        let reference = format!("mirror.example:5000/obolnetwork/charon@{DIGEST}");
        let facts = |identity: &str| {
            let text = format!(
                r#"{{"Id":"{DIGEST}","Architecture":"amd64","RepoDigests":["{reference}"]{identity}}}"#
            );
            facts_of(serde_json::from_str(&text).unwrap()).unwrap()
        };
        let tag = "mirror.example:5000/obolnetwork/charon:v1.10.3";
        let loaded = facts("");
        let local = RunImage::LocalOnly {
            id: DIGEST.to_owned(),
        };
        assert_eq!(loaded.run_image(tag), local);
        // Tagged with another name, it still comes from where it was pulled.
        let pulled = |repository: &str| {
            facts(&format!(
                r#","Identity":{{"Pull":[{{"Repository":"{repository}"}}]}}"#
            ))
        };
        assert_eq!(pulled("docker.io/obolnetwork/charon").run_image(tag), local);
        let by_digest = RunImage::ByDigest {
            reference: reference.clone(),
        };
        let mirrored = pulled("mirror.example/obolnetwork/charon");
        assert_eq!(mirrored.run_image(tag), by_digest);
        // Its name there is its content: a request for this digest returns it, wherever it came from.
        assert_eq!(loaded.run_image(&reference), by_digest);
    }

    #[test]
    fn reasons_are_found_in_the_words_of_engines() {
        for (message, reason) in [
            (
                "manifest for obolnetwork/charon:v9 not found: manifest unknown: manifest unknown",
                PullFailure::UnknownTag,
            ),
            (
                "pull access denied for a/b, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
                PullFailure::Denied,
            ),
            (
                "Get \"https://mirror.example/v2/\": unauthorized: authentication required",
                PullFailure::Denied,
            ),
            (
                "Get \"https://registry.example/v2/\": dial tcp: lookup registry.example on 127.0.0.53:53: no such host",
                PullFailure::NoRegistry,
            ),
            (
                "Get \"https://registry.example/v2/\": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)",
                PullFailure::NoRegistry,
            ),
            (
                "toomanyrequests: You have reached your pull rate limit.",
                PullFailure::RateLimited,
            ),
            (
                "failed to register layer: Error processing tar file(exit status 1): write /usr/bin/x: no space left on device",
                PullFailure::NoSpace,
            ),
            ("invalid reference format", PullFailure::Unclassified),
        ] {
            assert_eq!(PullFailure::of(message), reason, "{message}");
        }
    }

    #[test]
    fn progress_adds_up_over_layers() {
        let mut layers = BTreeMap::new();
        let mut seen = PullProgress::default();
        for event in [
            r#"{"status":"Pulling from obolnetwork/charon","id":"v1.10.3"}"#,
            r#"{"status":"Pulling fs layer","progressDetail":{},"id":"a"}"#,
            r#"{"status":"Already exists","progressDetail":{},"id":"b"}"#,
            r#"{"status":"Downloading","progressDetail":{"current":10,"total":40},"id":"a"}"#,
        ] {
            seen = progress_after(&mut layers, serde_json::from_str(event).unwrap());
        }
        assert_eq!((seen.layers, seen.layers_done), (2, 1));
        assert_eq!((seen.downloaded, seen.total), (10, 40));
        let event = r#"{"status":"Pull complete","progressDetail":{},"id":"a"}"#;
        seen = progress_after(&mut layers, serde_json::from_str(event).unwrap());
        assert_eq!((seen.layers_done, seen.downloaded), (2, 40));
    }
}
