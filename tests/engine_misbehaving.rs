//! What is made of an engine that answers late, nonsense, or dies in the middle, and of one much older or newer than this program.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, also in its helpers"
)]

#[expect(dead_code, reason = "the part that listens on TCP serves other tests")]
#[path = "support/http_server.rs"]
mod http_server;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use charon_dkg::ceremony::plan::ContainerPlan;
use charon_dkg::docker::endpoint::{Address, Endpoint, Source};
use charon_dkg::docker::{Deadlines, Engine, EngineError, PullFailure};
use futures_util::StreamExt;
use http_server::{Answer, Request, Server, answer, json, unfinished};

const VERSION: &str = r#"{"Version":"99.0","ApiVersion":"1.41","Os":"linux","Arch":"amd64"}"#;

/// Longer than any answer from memory takes on however busy a machine: for tests in which the engine does answer.
const PATIENT: Deadlines = Deadlines {
    connect: Duration::from_secs(1200),
    call: Duration::from_secs(1200),
    pull_silence: Duration::from_secs(1200),
};

fn endpoint(socket: &Path) -> Endpoint {
    Endpoint {
        address: Address::Socket(socket.to_owned()),
        source: Source::HostOption,
    }
}

/// An engine that tells its version and leaves everything else to the test.
async fn engine_that(
    rest: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> (Engine, Server, tempfile::TempDir) {
    engine_within(PATIENT, rest).await
}

/// As [`engine_that`], given up after these deadlines.
async fn engine_within(
    deadlines: Deadlines,
    rest: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> (Engine, Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("engine.sock");
    let server = Server::on_socket(&socket, move |request| {
        if request.target.ends_with("/version") {
            json(200, VERSION)
        } else {
            rest(request)
        }
    });
    let engine = Engine::connect_within(&endpoint(&socket), deadlines)
        .await
        .unwrap();
    (engine, server, dir)
}

fn frame(stream: u8, text: &str) -> Vec<u8> {
    let mut frame = vec![stream, 0, 0, 0];
    frame.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(text.as_bytes());
    frame
}

fn plan() -> ContainerPlan {
    ContainerPlan {
        name: "somebody".to_owned(),
        image: "some/image:tag".to_owned(),
        user: None,
        userns_mode: None,
        network: None,
        entrypoint: None,
        args: Vec::new(),
        env: Vec::new(),
        mounts: Vec::new(),
        labels: BTreeMap::new(),
    }
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_told_apart_from_one_that_is_dead() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("engine.sock");
    let error = Engine::connect(&endpoint(&socket)).await.unwrap_err();
    assert!(matches!(error, EngineError::NoSocket { .. }), "{error}");

    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let error = Engine::connect(&endpoint(&socket)).await.unwrap_err();
    assert!(matches!(error, EngineError::NotListening { .. }), "{error}");

    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Engine::connect(&endpoint(&file)).await.unwrap_err();
    assert!(matches!(error, EngineError::NotASocket { .. }), "{error}");
}

#[tokio::test]
async fn an_engine_elsewhere_is_refused() {
    let elsewhere = Endpoint {
        address: Address::Remote {
            transport: charon_dkg::docker::endpoint::Transport::Tcp,
            url: "tcp://192.0.2.1:2376".to_owned(),
        },
        source: Source::HostVariable,
    };
    let error = Engine::connect(&elsewhere).await.unwrap_err();
    assert!(matches!(error, EngineError::Remote { .. }), "{error}");
}

/// As docker's engines do it: a path may begin with an API version, and one out of the engine's range is refused.
fn in_range(target: &str, oldest: u32, newest: u32) -> Result<&str, Answer> {
    let Some(rest) = target.strip_prefix("/v1.") else {
        return Ok(target);
    };
    let (minor, path) = rest.split_at(rest.find('/').unwrap());
    let minor: u32 = minor.parse().unwrap();
    if minor > newest {
        let message = format!(
            r#"{{"message":"client version 1.{minor} is too new. Maximum supported API version is 1.{newest}"}}"#
        );
        return Err(json(400, &message));
    }
    if minor < oldest {
        let message = format!(
            r#"{{"message":"client version 1.{minor} is too old. Minimum supported API version is 1.{oldest}"}}"#
        );
        return Err(json(400, &message));
    }
    Ok(path)
}

const DIGEST: &str = "sha256:0f0e0d0c0b0a09080706050403020100ffeeddccbbaa99887766554433221100";

/// What an engine of this API range answers, with the image store and the keys of its time: 20.10.24 has API 1.12 to 1.41, 29.7.2 has
/// 1.44 to 1.55, containerd's image store, and says where an image was pulled from.
async fn engine_of(oldest: u32, newest: u32, image: String) -> (Engine, Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("engine.sock");
    let server = Server::on_socket(&socket, move |request| {
        match in_range(&request.target, oldest, newest) {
            Err(refused) => refused,
            Ok("/version") => json(
                200,
                &format!(
                    r#"{{"Version":"29.7.2","ApiVersion":"1.{newest}","MinAPIVersion":"1.{oldest}","Os":"linux","Arch":"arm64"}}"#
                ),
            ),
            Ok("/info") => json(
                200,
                r#"{"ID":"a","DockerRootDir":"/var/lib/docker","SecurityOptions":["name=seccomp,profile=builtin"]}"#,
            ),
            Ok(path) if path.starts_with("/images/") => json(200, &image),
            Ok(_) => json(404, r#"{"message":"page not found"}"#),
        }
    });
    let engine = Engine::connect_within(&endpoint(&socket), PATIENT)
        .await
        .unwrap();
    (engine, server, dir)
}

#[tokio::test]
async fn an_engine_of_any_age_is_called_by_an_api_version_that_it_knows() {
    let reference = format!("obolnetwork/charon@{DIGEST}");
    let image_of = |id: &str, rest: &str| {
        format!(r#"{{"Id":"{id}","Architecture":"arm64","RepoDigests":["{reference}"]{rest}}}"#)
    };
    // In containerd's store an image's id is the digest of its manifest; before, that of its configuration.
    let image = |rest: &str| image_of(DIGEST, rest);
    let configuration = DIGEST.replace("0f0e", "abcd");
    let pulled = r#","Identity":{"Pull":[{"Repository":"docker.io/obolnetwork/charon"}]}"#;
    for (oldest, newest, image, from_a_registry) in [
        (
            12,
            41,
            image_of(
                &configuration,
                r#","GraphDriver":{"Name":"overlay2","Data":{}}"#,
            ),
            true,
        ),
        (44, 55, image(pulled), true),
        // Built or loaded there: that store has a digest for it all the same.
        (44, 55, image(r#","GraphDriver":null"#), false),
        // Newer than this program by far.
        (50, 99, image(pulled), true),
    ] {
        let (engine, _server, _dir) = engine_of(oldest, newest, image).await;
        let facts = engine.facts().await.unwrap();
        assert_eq!(facts.api_version, format!("1.{newest}"));
        assert_eq!(facts.os_arch, "linux/arm64");
        let image = engine
            .inspect_image("obolnetwork/charon:v1.10.3")
            .await
            .unwrap()
            .unwrap();
        let run = image.run_image("obolnetwork/charon:v1.10.3");
        assert_eq!(
            run.reference() == reference,
            from_a_registry,
            "API 1.{newest}: {run:?}"
        );
    }
}

#[tokio::test]
async fn an_engine_that_says_nothing_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("engine.sock");
    let _server = Server::on_socket(&socket, |_| Answer::ThenSilence(Vec::new()));
    let deadlines = Deadlines {
        connect: Duration::from_millis(200),
        ..PATIENT
    };
    let error = Engine::connect_within(&endpoint(&socket), deadlines)
        .await
        .unwrap_err();
    assert!(matches!(error, EngineError::NoAnswer { .. }), "{error}");
}

#[tokio::test]
async fn an_engine_that_stops_in_the_middle_of_an_answer_is_given_up() {
    let deadlines = Deadlines {
        call: Duration::from_millis(200),
        ..PATIENT
    };
    let (engine, _server, _dir) = engine_within(deadlines, |_| {
        Answer::ThenSilence(unfinished(&[b"{\"ID\":"]))
    })
    .await;
    let error = engine.facts().await.unwrap_err();
    assert!(matches!(error, EngineError::NoAnswer { .. }), "{error}");
}

#[tokio::test]
async fn the_engines_own_words_are_kept() {
    let (engine, _server, _dir) =
        engine_that(|_| json(500, r#"{"message":"the disk is on fire"}"#)).await;
    let error = engine.facts().await.unwrap_err();
    let EngineError::Failed {
        status, message, ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((status, message.as_str()), (500, "the disk is on fire"));
}

#[tokio::test]
async fn truncated_and_foreign_json_is_nonsense() {
    let not_json: &[u8] = b"<html>";
    for body in [&b"{\"ID\": \"x\", "[..], not_json, b"[]", b""] {
        let (engine, _server, _dir) = engine_that(move |_| answer(200, &[], body)).await;
        let error = engine.facts().await.unwrap_err();
        assert!(matches!(error, EngineError::Nonsense { .. }), "{error}");
    }
}

#[tokio::test]
async fn an_answer_cut_off_is_the_engines_death() {
    let (engine, _server, _dir) = engine_that(|_| Answer::Bytes(unfinished(&[b"{\"ID\":"]))).await;
    let error = engine.facts().await.unwrap_err();
    assert!(matches!(error, EngineError::Died { .. }), "{error}");
}

#[tokio::test]
async fn an_engine_that_dies_while_output_is_followed_loses_no_line_before() {
    let (engine, _server, _dir) = engine_that(|_| {
        let (first, second) = (frame(1, "one\ntwo\n"), frame(2, "thr"));
        Answer::Bytes(unfinished(&[&first, &second]))
    })
    .await;
    let mut lines = engine.follow_logs("c");
    let mut texts = Vec::new();
    let error = loop {
        match lines.next().await.unwrap() {
            Ok(line) => texts.push(line.text),
            Err(error) => break error,
        }
    };
    assert_eq!(texts, ["one", "two", "thr"]);
    assert!(matches!(error, EngineError::Died { .. }), "{error}");
    assert!(lines.next().await.is_none());
}

#[tokio::test]
async fn an_engine_that_dies_while_a_container_is_awaited_is_no_exit() {
    for last in [unfinished(&[]), unfinished(&[b"{\"StatusCode\""])] {
        let (engine, _server, _dir) = engine_that(move |_| Answer::Bytes(last.clone())).await;
        let error = engine.wait_exit("c").await.unwrap_err();
        assert!(matches!(error, EngineError::Died { .. }), "{error}");
    }
    // An engine that is told to shut down ends its answers properly, without having answered.
    let (engine, _server, _dir) = engine_that(|_| answer(200, &[], b"")).await;
    let error = engine.wait_exit("c").await.unwrap_err();
    assert!(matches!(error, EngineError::Died { .. }), "{error}");
}

#[tokio::test]
async fn a_short_run_whose_container_cannot_be_removed_says_so() {
    let (engine, server, _dir) = engine_that(|request| match request.method.as_str() {
        "POST" if request.target.contains("/create") => json(201, r#"{"Id":"c","Warnings":[]}"#),
        "POST" => json(500, r#"{"message":"cannot start"}"#),
        _ => json(500, r#"{"message":"cannot remove"}"#),
    })
    .await;
    let error = engine.run_short(&plan(), PATIENT.call).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, EngineError::LeftBehind { .. }), "{text}");
    assert!(
        text.contains("cannot start") && text.contains("cannot remove"),
        "{text}"
    );
    let last = server.requests().pop().unwrap();
    assert!(
        last.method == "DELETE" && last.target.contains("force=true"),
        "{last:?}"
    );
}

#[tokio::test]
async fn a_pull_that_falls_silent_is_given_up() {
    // However short the deadline, it is given up; with one that is long enough for this machine, its words come first.
    for milliseconds in (0..).map(|doubled| 100 << doubled) {
        let deadlines = Deadlines {
            pull_silence: Duration::from_millis(milliseconds),
            ..PATIENT
        };
        let (engine, _server, _dir) = engine_within(deadlines, |_| {
            Answer::ThenSilence(unfinished(&[
                b"{\"status\":\"Pulling fs layer\",\"id\":\"a\"}\n",
            ]))
        })
        .await;
        let mut seen = 0;
        let error = engine
            .pull_image("some/image:tag", |_| seen += 1)
            .await
            .unwrap_err();
        let EngineError::PullFailed { reason, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(reason, PullFailure::Stalled);
        if seen == 1 {
            break;
        }
    }
}

#[tokio::test]
async fn a_pull_that_fails_under_way_tells_why() {
    let full = b"{\"status\":\"Extracting\",\"id\":\"a\"}\n{\"errorDetail\":{\"message\":\"write /x: no space left on device\"},\"error\":\"write /x: no space left on device\"}\n";
    let (engine, _server, _dir) = engine_that(|_| answer(200, &[], full)).await;
    let error = engine
        .pull_image("some/image:tag", |_| {})
        .await
        .unwrap_err();
    let EngineError::PullFailed { reason, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(reason, PullFailure::NoSpace);
}

#[tokio::test]
async fn an_engine_that_dies_during_a_pull_is_not_taken_for_the_registry() {
    let (engine, _server, _dir) = engine_that(|_| {
        Answer::Bytes(unfinished(&[
            b"{\"status\":\"Downloading\",\"id\":\"a\"}\n",
        ]))
    })
    .await;
    let error = engine
        .pull_image("some/image:tag", |_| {})
        .await
        .unwrap_err();
    assert!(matches!(error, EngineError::Died { .. }), "{error}");
}
