//! Asks relays for their addresses from where the ceremony's container will ask them.
//!
//! A relay that answers this machine need not answer a container: the container has its docker
//! network's names and routes. So the question is put by a container of our own image in that
//! network. It is the question that charon puts (charon `p2p/bootnode.go`): `GET` of the URL
//! itself, answered by a JSON array of multiaddrs (`cmd/relay/relay.go`), or by an ENR from old
//! relays.
//!
//! The same container proves that what the engine mounts is what lies here: it is given the ENR key as the ceremony's
//! container will be, and tells the public identifier of the key that it sees. An engine in another mount namespace, as
//! docker from snap is, sees another one or none.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Response, Url};
use serde::{Deserialize, Serialize};

use crate::ceremony::plan::{ContainerPlan, Mount};
use crate::docker::{Engine, EngineError, OutputStream, UserMapping};
use crate::machine::causes::causes;
use crate::machine::fetch::{client_builder, excerpt, excerpt_of, mozilla_roots};
use crate::machine::read;
use charon_files::keys::k1::EnrKey;

/// The hidden verb that puts the question inside the container.
pub const VERB: &str = "internal-probe";

/// Label with the network that the question is put in, by which whoever made that network finds the container if this
/// program is killed before it removes it.
pub const LABEL_NETWORK: &str = "charon-dkg.probe-network";

/// Where the ENR key is mounted.
const ENR_KEY: &str = "/enr-key";

/// Before the path of an ENR key among the arguments. Relays are URLs or multiaddresses, and the latter look like paths.
pub(crate) const KEY_ARGUMENT: &str = "enr-key=";

/// How long one relay may take to be found, and as long again to answer. charon itself asks for a
/// minute; a relay that needs longer than this is no good to a ceremony either.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// How long the container may take, with starting and removing it.
const CONTAINER_DEADLINE: Duration = Duration::from_secs(30);

/// A relay's answer has some hundred bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// What became of one question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayAnswer {
    /// The relay's URL as it was given.
    pub url: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of asking a relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outcome {
    /// It told its addresses.
    Addresses {
        /// How many multiaddrs.
        count: usize,
    },
    /// It told its ENR, as relays of old releases do.
    Enr {
        /// The ENR's text.
        enr: String,
    },
    /// Its name cannot be resolved there.
    Unresolved {
        /// The resolver's words.
        detail: String,
    },
    /// Nothing listens on its port.
    Refused,
    /// There is no way to it, or the connection broke.
    Unreachable {
        /// What happened.
        detail: String,
    },
    /// It did not answer in time.
    TimedOut,
    /// Its certificate is not one that charon's image would trust, or it does not speak TLS.
    Untrusted {
        /// What is wrong with it.
        detail: String,
    },
    /// It answered with an error.
    Status {
        /// HTTP status.
        status: u16,
        /// The beginning of what it said.
        excerpt: String,
    },
    /// Something answered that is no relay, or a relay that charon would not take.
    NotARelay {
        /// What is wrong with the answer.
        detail: String,
    },
    /// Not a URL that can be asked; charon also takes multiaddrs, which answer nothing.
    NotAsked {
        /// Why.
        detail: String,
    },
}

impl Outcome {
    /// Whether charon could use this relay.
    pub const fn is_good(&self) -> bool {
        match self {
            Outcome::Addresses { .. } | Outcome::Enr { .. } => true,
            Outcome::Unresolved { .. }
            | Outcome::Refused
            | Outcome::Unreachable { .. }
            | Outcome::TimedOut
            | Outcome::Untrusted { .. }
            | Outcome::Status { .. }
            | Outcome::NotARelay { .. }
            | Outcome::NotAsked { .. } => false,
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Outcome::Addresses { count } => write!(f, "it told {count} addresses"),
            Outcome::Enr { .. } => f.write_str("it told its ENR"),
            Outcome::Unresolved { detail } => write!(f, "its name cannot be resolved: {detail}"),
            Outcome::Refused => f.write_str("nothing listens there"),
            Outcome::Unreachable { detail } => write!(f, "it cannot be reached: {detail}"),
            Outcome::TimedOut => f.write_str("it did not answer in time"),
            Outcome::Untrusted { detail } => write!(f, "its certificate is not trusted: {detail}"),
            Outcome::Status { status, excerpt } => {
                write!(f, "it answered with status {status}: {excerpt}")
            }
            Outcome::NotARelay { detail } => write!(f, "what answers is no relay: {detail}"),
            Outcome::NotAsked { detail } => write!(f, "it could not be asked: {detail}"),
        }
    }
}

/// What a container saw of the ENR key that it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeenKey {
    /// A key with this [public identifier](charon_files::keys::k1::EnrId).
    EnrId(String),
    /// No key that it may read; the reason.
    Unreadable(String),
}

/// The line in which it is told.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyLine {
    enr_key: SeenKey,
}

/// What a container is asked.
#[derive(Debug, Clone, Default)]
pub struct Questions {
    /// Relays to ask for an answer.
    pub urls: Vec<String>,
    /// The ENR key to mount.
    pub enr_key: Option<PathBuf>,
}

impl Questions {
    fn is_empty(&self) -> bool {
        self.urls.is_empty() && self.enr_key.is_none()
    }
}

/// What it answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// Of the relays, in the order in which they were given.
    pub relays: Vec<RelayAnswer>,
    /// Of the key, where one was mounted.
    pub enr_key: Option<SeenKey>,
}

/// Why a container could not even be asked.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The container could not be run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// No process could be run in place of a container.
    #[error("this program could not be run as the owner of the data directory: {0}")]
    Process(std::io::Error),
    /// The container ended without an answer to each question.
    #[error("the probe ended with code {code} and without an answer for {question}: {output}")]
    NoAnswer {
        /// The relay, or the key.
        question: String,
        /// The container's exit code.
        code: i64,
        /// The beginning of its output.
        output: String,
    },
}

/// Puts all questions at once, from a container in the given docker network.
///
/// `image` is one of [`crate::docker::self_image`]; `mapping` is what the ceremony's container will run
/// with, since some networks and files are open to some users only.
///
/// # Errors
/// Only when the container cannot be run; an unreachable relay is an answer.
pub async fn ask_inside(
    engine: &Engine,
    image: &str,
    network: Option<&str>,
    mapping: &UserMapping,
    questions: &Questions,
) -> Result<Answers, ProbeError> {
    if questions.is_empty() {
        return Ok(Answers::default());
    }
    let enr_key = questions.enr_key.iter();
    let plan = ContainerPlan {
        name: format!("charon-dkg-probe-{}", uuid::Uuid::new_v4().simple()),
        image: image.to_owned(),
        user: Some(mapping.user.clone()),
        userns_mode: mapping.userns_mode.clone(),
        network: network.map(str::to_owned),
        entrypoint: None,
        args: std::iter::once(VERB.to_owned())
            .chain(enr_key.clone().map(|_| format!("{KEY_ARGUMENT}{ENR_KEY}")))
            .chain(questions.urls.iter().cloned())
            .collect(),
        env: Vec::new(),
        mounts: enr_key
            .map(|source| Mount {
                source: source.clone(),
                target: ENR_KEY.to_owned(),
                read_only: true,
            })
            .collect(),
        labels: network
            .map(|network| (LABEL_NETWORK.to_owned(), network.to_owned()))
            .into_iter()
            .collect(),
    };
    let run = engine
        .run_short_unsettled(&plan, CONTAINER_DEADLINE)
        .await?;
    let lines = run.output.iter();
    let lines = lines.filter(|line| line.stream == OutputStream::Stdout);
    let lines = lines.map(|line| line.text.as_str());
    answers(questions, lines, run.exit.code, &run.text())
}

/// What a probe that has ended answered, by the lines of its standard output and all of its output.
pub(crate) fn answers<'a>(
    questions: &Questions,
    lines: impl Iterator<Item = &'a str> + Clone,
    code: i64,
    output: &str,
) -> Result<Answers, ProbeError> {
    let no_answer = |question: &str| ProbeError::NoAnswer {
        question: question.to_owned(),
        code,
        output: excerpt(output.as_bytes()),
    };
    let told: Vec<RelayAnswer> = lines
        .clone()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let answer_of = |url: &String| {
        let found = told.iter().find(|answer| answer.url == *url).cloned();
        found.ok_or_else(|| no_answer(url))
    };
    let seen = lines
        .clone()
        .find_map(|line| serde_json::from_str::<KeyLine>(line).ok());
    Ok(Answers {
        relays: questions
            .urls
            .iter()
            .map(answer_of)
            .collect::<Result<_, _>>()?,
        enr_key: match (&questions.enr_key, seen) {
            (None, _) => None,
            (Some(source), Some(line)) => Some(match line.enr_key {
                // As it is called here.
                SeenKey::Unreadable(reason) => {
                    SeenKey::Unreadable(reason.replace(ENR_KEY, &source.display().to_string()))
                }
                seen @ SeenKey::EnrId(_) => seen,
            }),
            (Some(_), None) => return Err(no_answer("the ENR key")),
        },
    })
}

/// What the hidden verb prints and ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// One JSON object per line and question, for standard output.
    pub lines: String,
    /// 0 where every relay is good, else 1.
    pub exit_code: u8,
}

/// Answers from where this process is: the work of the hidden verb. Each argument is a relay, or [`KEY_ARGUMENT`] and the path of an ENR key.
///
/// Never takes longer than a few seconds. A name that is still being resolved then goes on in a
/// thread: end the process, or drop the runtime with `shutdown_background`.
pub async fn serve(args: &[String]) -> Served {
    let keys = args.iter().filter_map(|arg| arg.strip_prefix(KEY_ARGUMENT));
    let urls = args.iter().filter(|arg| !arg.starts_with(KEY_ARGUMENT));
    let answers = join_all(urls.map(|url| ask(url, ANSWER_DEADLINE))).await;
    let keys = keys.map(|key| {
        serde_json::to_string(&KeyLine {
            enr_key: see_key(Path::new(key)),
        })
    });
    let lines = keys
        .chain(answers.iter().map(serde_json::to_string))
        .filter_map(Result::ok)
        .map(|line| line + "\n")
        .collect();
    let all_good = answers.iter().all(|answer| answer.outcome.is_good());
    Served {
        lines,
        exit_code: u8::from(!all_good),
    }
}

fn see_key(path: &Path) -> SeenKey {
    let read = read::read_secret_file(path, read::ENR_KEY);
    let key = read.map_err(|error| error.to_string()).and_then(|bytes| {
        // What is not a key is not repeated.
        EnrKey::parse(&bytes).map_err(|error| error.to_string())
    });
    match key {
        Ok(key) => SeenKey::EnrId(key.id().to_string()),
        Err(reason) => SeenKey::Unreadable(reason),
    }
}

async fn ask(url: &str, deadline: Duration) -> RelayAnswer {
    RelayAnswer {
        url: url.to_owned(),
        outcome: outcome_of_asking(url, deadline).await,
    }
}

async fn outcome_of_asking(text: &str, deadline: Duration) -> Outcome {
    let not_asked = |detail: &str| Outcome::NotAsked {
        detail: detail.to_owned(),
    };
    // As charon tells URLs from multiaddrs.
    if !text.starts_with("http") {
        return not_asked("not an http or https URL");
    }
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return not_asked(&error.to_string()),
    };
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return not_asked("no host");
    };
    // Resolved apart, so that a name that is unknown is told from a relay that is down.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let resolved = tokio::time::timeout(deadline, tokio::net::lookup_host((bare, port))).await;
    let unresolved = |detail: String| Outcome::Unresolved { detail };
    let addresses: Vec<SocketAddr> = match resolved {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return unresolved(error.to_string()),
        Err(_) => return unresolved("the name server did not answer in time".to_owned()),
    };
    tokio::time::timeout(deadline, ask_at(&url, &addresses))
        .await
        .unwrap_or(Outcome::TimedOut)
}

async fn ask_at(url: &Url, addresses: &[SocketAddr]) -> Outcome {
    let host = url.host_str().unwrap_or_default();
    // No proxy: charon in its container has no settings for one either. Mozilla's roots: they are
    // what charon's image has.
    let client = client_builder()
        .no_proxy()
        .resolve_to_addrs(host, addresses)
        .tls_certs_only(mozilla_roots())
        .user_agent(concat!("charon-dkg/", env!("CARGO_PKG_VERSION")))
        .build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            return Outcome::NotAsked {
                detail: causes(&error),
            };
        }
    };
    match client.get(url.clone()).send().await {
        Ok(response) => read_answer(response).await,
        Err(error) => outcome_of(error),
    }
}

async fn read_answer(mut response: Response) -> Outcome {
    let status = response.status();
    if !status.is_success() {
        return Outcome::Status {
            status: status.as_u16(),
            excerpt: excerpt_of(response).await,
        };
    }
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return judge(&body),
            Err(error) => return outcome_of(error),
        }
        if body.len() > MAX_ANSWER_BYTES {
            return Outcome::NotARelay {
                detail: format!("more than {MAX_ANSWER_BYTES} bytes: {}", excerpt(&body)),
            };
        }
    }
}

/// What charon would make of the answer (`queryRelayAddrs` and `resolveRelay`).
fn judge(body: &[u8]) -> Outcome {
    let not_a_relay = |detail: String| Outcome::NotARelay { detail };
    if body.starts_with(b"enr:") {
        return Outcome::Enr { enr: excerpt(body) };
    }
    let Ok(addresses) = serde_json::from_slice::<Vec<String>>(body) else {
        return not_a_relay(format!("not a list of addresses: {}", excerpt(body)));
    };
    let peers: Option<BTreeSet<&str>> = addresses
        .iter()
        .map(|address| Some(address.rsplit_once("/p2p/")?.1))
        .collect();
    match peers.map(|peers| peers.len()) {
        Some(1) => Outcome::Addresses {
            count: addresses.len(),
        },
        Some(0) => not_a_relay("it tells no address of its own".to_owned()),
        Some(count) => not_a_relay(format!("addresses of {count} different relays")),
        None => not_a_relay(format!("not libp2p addresses: {}", excerpt(body))),
    }
}

fn outcome_of(error: reqwest::Error) -> Outcome {
    let kind = io_kind(&error);
    if error.is_timeout() {
        return Outcome::TimedOut;
    }
    let detail = causes(&error.without_url());
    match kind {
        Some(ErrorKind::ConnectionRefused) => Outcome::Refused,
        Some(ErrorKind::TimedOut) => Outcome::TimedOut,
        // What rustls has to say comes in this form.
        Some(ErrorKind::InvalidData) => Outcome::Untrusted { detail },
        Some(_) | None => Outcome::Unreachable { detail },
    }
}

/// The innermost I/O error's kind. An I/O error that wraps another does not name it as its source.
fn io_kind(error: &reqwest::Error) -> Option<ErrorKind> {
    let mut next = error.source();
    let mut kind = None;
    while let Some(cause) = next {
        let mut io = cause.downcast_ref::<std::io::Error>();
        while let Some(error) = io {
            kind = Some(error.kind());
            io = error.get_ref().and_then(|inner| inner.downcast_ref());
        }
        next = cause.source();
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::machine::http_server::{Answer, Server, answer, json};
    use crate::machine::refusing_port::refusing_port;

    const ADDRESSES: &str = r#"["/ip4/10.0.0.1/tcp/3641/p2p/16Uiu2HAm","/ip4/10.0.0.1/udp/3641/quic-v1/p2p/16Uiu2HAm"]"#;

    async fn outcome(url: &str) -> Outcome {
        ask(url, Duration::from_secs(1200)).await.outcome
    }

    async fn outcome_from(reply: impl Fn() -> Answer + Send + Sync + 'static) -> Outcome {
        let server = Server::on_loopback(move |_| reply());
        outcome(&format!("http://127.0.0.1:{}", server.port)).await
    }

    #[tokio::test]
    async fn relays_new_and_old_are_understood() {
        let seen = outcome_from(|| json(200, ADDRESSES)).await;
        assert_eq!(seen, Outcome::Addresses { count: 2 });
        let seen = outcome_from(|| answer(200, &[], b"enr:-Iu4Q")).await;
        let enr = "enr:-Iu4Q".to_owned();
        assert_eq!(seen, Outcome::Enr { enr });
    }

    #[tokio::test]
    async fn what_charon_would_not_take_is_no_relay() {
        for body in [
            "<html>hello</html>",
            "[]",
            "{}",
            r#"["/ip4/10.0.0.1/tcp/3641"]"#,
            r#"["/ip4/10.0.0.1/tcp/1/p2p/a","/ip4/10.0.0.1/tcp/1/p2p/b"]"#,
        ] {
            let seen = outcome_from(move || json(200, body)).await;
            assert!(
                matches!(seen, Outcome::NotARelay { .. }),
                "{body}: {seen:?}"
            );
        }
        let seen = outcome_from(|| json(503, "no")).await;
        assert!(
            matches!(seen, Outcome::Status { status: 503, .. }),
            "{seen:?}"
        );
        let seen = outcome_from(|| answer(200, &[], &vec![b'x'; MAX_ANSWER_BYTES + 1])).await;
        assert!(matches!(seen, Outcome::NotARelay { .. }), "{seen:?}");
    }

    #[tokio::test]
    async fn failures_are_told_apart() {
        let (_kept, port) = refusing_port();
        let seen = outcome(&format!("http://127.0.0.1:{port}")).await;
        assert_eq!(seen, Outcome::Refused);

        // Whether the name server says no or nothing at all.
        let url = "http://relay.invalid:3640";
        let seen = ask(url, Duration::from_millis(300)).await.outcome;
        assert!(matches!(seen, Outcome::Unresolved { .. }), "{seen:?}");

        let server = Server::on_loopback(|_| Answer::ThenSilence(Vec::new()));
        let url = format!("http://127.0.0.1:{}", server.port);
        let seen = ask(&url, Duration::from_millis(100)).await.outcome;
        assert_eq!(seen, Outcome::TimedOut);

        // No TLS where TLS was asked for.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            std::io::Write::write_all(&mut connection, b"HTTP/1.1 400 Bad\r\n\r\n").unwrap();
        });
        let seen = outcome(&format!("https://127.0.0.1:{port}")).await;
        assert!(matches!(seen, Outcome::Untrusted { .. }), "{seen:?}");

        let seen = outcome("/ip4/10.0.0.1/tcp/3641/p2p/16Uiu2HAm").await;
        assert!(matches!(seen, Outcome::NotAsked { .. }), "{seen:?}");
    }

    #[tokio::test]
    async fn each_url_gets_its_line() {
        let server = Server::on_loopback(|_| json(200, ADDRESSES));
        let good = format!("http://127.0.0.1:{}", server.port);
        let urls = [good.clone(), "/dns/relay.invalid".to_owned()];
        let served = serve(&urls).await;
        assert_eq!(served.exit_code, 1);
        let answers: Vec<RelayAnswer> = served
            .lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert!(answers.iter().map(|answer| &answer.url).eq(&urls));
        assert!(answers[0].outcome.is_good() && !answers[1].outcome.is_good());
        assert_eq!(serve(&[good]).await.exit_code, 0);
    }
}
