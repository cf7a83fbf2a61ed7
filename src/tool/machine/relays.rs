//! Asks relays for their addresses, from where this process is. It is the question that charon puts (charon
//! `p2p/bootnode.go`): `GET` of the URL itself, answered by a JSON array of multiaddrs (`cmd/relay/relay.go`), or by an
//! ENR from old relays.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Response, Url};
use serde::{Deserialize, Serialize};

use crate::machine::causes::causes;
use crate::machine::fetch::{client_builder, excerpt, excerpt_of, mozilla_roots};

/// How long one relay may take to be found, and as long again to answer. charon itself asks for a
/// minute; a relay that needs longer than this is no good to a ceremony either.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

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
/// Asks relays from where this process is, all at once.
///
/// Never takes longer than a few seconds. A name that is still being resolved then goes on in a
/// thread: end the process, or drop the runtime with `shutdown_background`.
pub async fn ask_all<'a>(urls: impl IntoIterator<Item = &'a String>) -> Vec<RelayAnswer> {
    join_all(urls.into_iter().map(|url| ask(url, ANSWER_DEADLINE))).await
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
}
