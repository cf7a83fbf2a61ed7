//! Pulling from a registry, which is a small one on this machine's loopback.
//!
//! The engine must be a docker engine in this machine's network namespace (rootful or with
//! `userns-remap`): that is the only kind that trusts a registry on 127.0.0.1 without TLS.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails, also in its helpers"
)]

#[path = "support/engine.rs"]
mod engine;

#[expect(
    dead_code,
    reason = "the parts that break off and listen on a Unix socket serve other tests"
)]
#[path = "support/http_server.rs"]
mod http_server;
#[path = "support/refusing_port.rs"]
mod refusing_port;

use charon_dkg::docker::{EngineError, PullFailure, PullProgress, RunImage};
use engine::engine;
use http_server::{Answer, Request, Server, answer, json};
use refusing_port::refusing_port;
use sha2::{Digest, Sha256};

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// One image of one layer, and what the registry API makes of it.
struct Image {
    layer: Vec<u8>,
    config: Vec<u8>,
    manifest: Vec<u8>,
}

impl Image {
    fn new() -> Self {
        let mut layer = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        // Random, so that no engine has the layer already.
        let content = uuid::Uuid::new_v4().to_string();
        header.set_size(u64::try_from(content.len()).unwrap());
        layer
            .append_data(&mut header, "file", content.as_bytes())
            .unwrap();
        let layer = layer.into_inner().unwrap();
        let config = serde_json::json!({
            "os": "linux",
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "config": { "Labels": { "made-for": "a test" } },
            "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
        });
        let config = config.to_string().into_bytes();
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": config.len(),
                "digest": digest(&config),
            },
            "layers": [{
                "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                "size": layer.len(),
                "digest": digest(&layer),
            }],
        });
        Self {
            layer,
            config,
            manifest: manifest.to_string().into_bytes(),
        }
    }

    fn answer(&self, request: &Request) -> Answer {
        let error = |status, code: &str| {
            json(
                status,
                &format!(r#"{{"errors":[{{"code":"{code}","message":"{code}"}}]}}"#),
            )
        };
        if request.target == "/v2/" {
            return json(200, "{}");
        }
        if request.target.contains("/private/") {
            return error(401, "UNAUTHORIZED");
        }
        if request.target.contains("/popular/") {
            return error(429, "TOOMANYREQUESTS");
        }
        let wanted = request.target.rsplit('/').next().unwrap();
        let manifest_digest = digest(&self.manifest);
        if wanted == "v1" || wanted == manifest_digest {
            let headers = [
                (
                    "Content-Type",
                    "application/vnd.docker.distribution.manifest.v2+json",
                ),
                ("Docker-Content-Digest", manifest_digest.as_str()),
            ];
            return answer(200, &headers, &self.manifest);
        }
        for blob in [&self.config, &self.layer] {
            if wanted == digest(blob) {
                return answer(200, &[], blob);
            }
        }
        error(404, "MANIFEST_UNKNOWN")
    }
}

#[tokio::test]
#[ignore = "needs a docker engine"]
async fn an_image_is_pulled_by_tag_and_run_by_digest() {
    let engine = engine().await;
    let image = Image::new();
    let manifest_digest = digest(&image.manifest);
    let registry = Server::on_loopback(move |request| image.answer(request));
    let repository = format!("127.0.0.1:{}/some/charon", registry.port);
    let reference = format!("{repository}:v1");
    assert!(engine.inspect_image(&reference).await.unwrap().is_none());

    let mut last = PullProgress::default();
    let facts = engine
        .pull_image(&reference, |progress| last = progress.clone())
        .await
        .unwrap();
    assert_eq!((last.layers, last.layers_done), (1, 1), "{last:?}");
    assert_eq!(facts.labels.get("made-for").unwrap(), "a test");
    let run = facts.run_image(&reference);
    assert_eq!(run.reference(), format!("{repository}@{manifest_digest}"));
    // The digest alone finds the image, and the tag moved to another repository does not.
    let by_digest = engine.inspect_image(run.reference()).await.unwrap();
    assert_eq!(by_digest.as_ref(), Some(&facts));
    let other = facts.run_image("127.0.0.1:1/some/charon:v1");
    assert!(matches!(other, RunImage::LocalOnly { .. }));
    // By digest it can be pulled, too.
    let again = engine.pull_image(run.reference(), |_| {}).await.unwrap();
    assert_eq!(again.id, facts.id);

    for name in [run.reference(), &reference] {
        engine.remove_image(name).await.unwrap();
    }
    assert!(engine.inspect_image(&facts.id).await.unwrap().is_none());
}

#[tokio::test]
#[ignore = "needs a docker engine"]
async fn failures_to_pull_are_told_apart() {
    let engine = engine().await;
    let image = Image::new();
    let registry = Server::on_loopback(move |request| image.answer(request));
    let (_kept, nobody) = refusing_port();
    let port = registry.port;
    for (reference, expected) in [
        (
            format!("127.0.0.1:{port}/some/charon:v9"),
            PullFailure::UnknownTag,
        ),
        (
            format!("127.0.0.1:{port}/private/charon:v1"),
            PullFailure::Denied,
        ),
        (
            format!("127.0.0.1:{port}/popular/charon:v1"),
            PullFailure::RateLimited,
        ),
        (
            format!("127.0.0.1:{nobody}/some/charon:v1"),
            PullFailure::NoRegistry,
        ),
    ] {
        let error = engine.pull_image(&reference, |_| {}).await.unwrap_err();
        let EngineError::PullFailed {
            reason, message, ..
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!(reason, expected, "{reference}: {message}");
    }
}
