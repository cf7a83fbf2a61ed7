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

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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

/// Debian's docker-registry, which lets in ann alone.
struct PrivateRegistry {
    process: Child,
    host: String,
}

const PASSWORD: &str = "correct-horse";
/// Of this password, by `htpasswd -nbB`.
const HTPASSWD: &str = "ann:$2y$05$845PPCQCjwY0OKexgqY00ub8NJ0xMSyHBCY6DcCdbJ2ereZlWbjua\n";

impl PrivateRegistry {
    fn start(dir: &Path) -> Self {
        fs::write(dir.join("htpasswd"), HTPASSWD).unwrap();
        let dir = dir.display();
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {dir}/images}}}}\n\
             http: {{addr: '127.0.0.1:0'}}\nauth: {{htpasswd: {{realm: tests, path: {dir}/htpasswd}}}}\n"
        );
        fs::write(format!("{dir}/config.yml"), config).unwrap();
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(format!("{dir}/config.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("docker-registry, the Debian package: {error}"));
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines();
        let host = said
            .find_map(|line| {
                let line = line.unwrap();
                let (_, after) = line.split_once("msg=\"listening on ")?;
                Some(after.split_once('"')?.0.to_owned())
            })
            .unwrap();
        std::thread::spawn(move || said.for_each(drop));
        Self { process, host }
    }
}

impl Drop for PrivateRegistry {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// A node before its ceremony, and what docker knows of logins.
struct Node {
    dir: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = Self { dir };
        let fixture = "tests/fixtures/ceremonies/charon-v1.10.3-def-v1.10.0-n4-v2/node0/.charon";
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join(fixture);
        let private = |path: PathBuf, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        for name in ["bin", "docker", "project", "project/.charon", "registry"] {
            fs::create_dir(node.path(name)).unwrap();
            private(node.path(name), 0o700);
        }
        for name in ["charon-enr-private-key", "cluster-definition.json"] {
            let to = node.path("project/.charon").join(name);
            fs::copy(fixture.join(name), &to).unwrap();
            private(to, 0o600);
        }
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn docker_config(&self, text: &str) {
        fs::write(self.path("docker/config.json"), text).unwrap();
    }

    /// A program that docker asks for logins, named `docker-credential-test`. It notes for which servers.
    fn helper(&self, script: &str) {
        let path = self.path("bin/docker-credential-test");
        let asked = self.path("asked");
        let text = format!(
            "#!/bin/sh\nserver=$(cat)\necho \"$server\" >>{}\n{script}\n",
            asked.display()
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        fs::remove_file(asked).ok();
    }

    fn command(&self, program: &str) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(program);
        command
            .env("DOCKER_CONFIG", self.path("docker"))
            .env("PATH", format!("{}:{path}", self.path("bin").display()));
        command
    }

    /// What `plan` finds of the image in this repository, all of its output, and whether the registry gave a digest.
    fn plan(&self, repository: &str) -> (Option<serde_json::Value>, String) {
        let output = self
            .command(env!("CARGO_BIN_EXE_charon-dkg"))
            .args([
                "plan",
                "--no-backup",
                "--relay",
                "/dns4/relay.invalid/tcp/3640",
                "--format",
                "json",
            ])
            .args(["--image", repository, "--dir"])
            .arg(self.path("project"))
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let all = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
        let document: serde_json::Value =
            serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {all}"));
        let key = if output.status.success() {
            "notes"
        } else {
            "findings"
        };
        let findings = document[key].as_array().cloned();
        let findings = findings.unwrap_or_else(|| panic!("{all}"));
        let is_image = |it: &serde_json::Value| it["check"] == "image-unavailable";
        (findings.into_iter().find(is_image), all)
    }
}

/// `auths`, `credHelpers` and `credsStore` against a real registry behind htpasswd; no login goes to any other registry, and
/// what is wrong with a helper is said without what it said.
#[test]
#[ignore = "needs a docker engine and docker-registry"]
fn a_login_is_found_where_docker_has_it_and_goes_to_its_registry_alone() {
    let node = Node::new();
    let registry = PrivateRegistry::start(&node.path("registry"));
    let host = &registry.host;
    let repository = format!("{host}/some/charon");
    let auths = format!(
        r#"{{"auths":{{"{host}":{{"auth":"{}"}}}}}}"#,
        base64(format!("ann:{PASSWORD}").as_bytes())
    );
    node.docker_config(&auths);
    let tag = format!("{repository}:v1.10.3");
    fs::write(node.path("file"), uuid::Uuid::new_v4().to_string()).unwrap();
    let tar = node.path("image.tar");
    for words in [
        vec![
            "tar",
            "-cf",
            tar.to_str().unwrap(),
            "-C",
            node.dir.path().to_str().unwrap(),
            "file",
        ],
        vec!["docker", "import", tar.to_str().unwrap(), &tag],
        vec!["docker", "push", &tag],
        vec!["docker", "rmi", &tag],
    ] {
        let done = node.command(words[0]).args(&words[1..]).output().unwrap();
        assert!(done.status.success(), "{words:?}: {done:?}");
    }

    let seen = |said: &(Option<serde_json::Value>, String)| {
        said.0
            .as_ref()
            .map(|it| it["seen"].as_str().unwrap().to_owned())
    };
    assert_eq!(seen(&node.plan(&repository)), None);
    node.docker_config("{}");
    let said = node.plan(&repository);
    let finding = said.0.unwrap_or_else(|| panic!("{}", said.1));
    assert!(
        finding["advice"]
            .as_str()
            .unwrap()
            .contains(&format!("`docker login {host}`")),
        "{finding}"
    );

    let helped = format!(r#"{{"credHelpers":{{"{host}":"test"}}}}"#);
    let stored = format!(r#"{{"auths":{{"{host}":{{}}}},"credsStore":"test"}}"#);
    let answers = format!(
        r#"[ "$server" = "{host}" ] || {{ echo "credentials not found in native keychain"; exit 1; }}
        echo '{{"ServerURL":"'$server'","Username":"ann","Secret":"{PASSWORD}"}}'"#
    );
    for config in [&helped, &stored] {
        node.docker_config(config);
        node.helper(&answers);
        let said = node.plan(&repository);
        assert_eq!(seen(&said), None, "{}", said.1);
        assert_eq!(fs::read_to_string(node.path("asked")).unwrap().trim(), host);
        assert!(!said.1.contains(PASSWORD));

        // Another registry, which would like a login too.
        let other = Server::on_loopback(|_| {
            let challenge = [("WWW-Authenticate", "Basic realm=\"other\"")];
            answer(401, &challenge, b"{}")
        });
        let said = node.plan(&format!("127.0.0.1:{}/some/charon", other.port));
        assert!(seen(&said).is_some(), "{}", said.1);
        assert!(!said.1.contains("helper"), "{}", said.1);
        let requests = other.requests();
        assert!(!requests.is_empty());
        for request in requests {
            assert!(
                !request.headers.to_lowercase().contains("authorization"),
                "{request:?}"
            );
        }

        node.helper(&format!("echo {PASSWORD}; echo {PASSWORD} >&2; exit 3"));
        let said = node.plan(&repository);
        let words = format!(
            "docker-credential-test, which docker's config.json names, failed: `printf %s {host} | docker-credential-test get` shows why"
        );
        assert!(seen(&said).unwrap().contains(&words), "{}", said.1);
        assert!(!said.1.contains(PASSWORD), "{}", said.1);

        fs::remove_file(node.path("bin/docker-credential-test")).unwrap();
        let said = node.plan(&repository);
        let words = "docker-credential-test, which docker's config.json names, could not be asked: `printf %s ";
        assert!(seen(&said).unwrap().contains(words), "{}", said.1);
    }
}

/// In the plain alphabet, as docker writes it.
fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
