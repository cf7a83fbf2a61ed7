//! What nodes and the simulated relay say to each other: JSON over plain HTTP, one request per connection.
//!
//! A real relay forwards bytes between nodes and understands none of them. This one is a meeting point and the dealer.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::change::EditTerms;

/// Longest request or answer. A deal of 1000 validators for 30 nodes needs 4 MiB.
const MAX_BODY: u64 = 32 << 20;

/// Longest request line and headers.
const MAX_HEAD: u64 = 16 << 10;

/// Most requests that are served at a time: many times more than a ceremony has nodes.
const MAX_CONNECTIONS: usize = 1024;

/// How long a connection may stay silent.
const PATIENCE: Duration = Duration::from_secs(20);

/// Fault that a node is told to have, to rehearse what happens then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// Nothing happens after "starting DKG ceremony".
    Hang,
    /// The process ends without a word between keystores and cluster lock.
    DieAfterKeys,
    /// The first keystore holds another secret.
    WrongKeystore,
    /// The last keystore is not written.
    MissingKeystore,
    /// The disk is full in the middle of the keystores.
    FullDisk,
}

impl Fault {
    const ALL: [Self; 5] = [
        Self::Hang,
        Self::DieAfterKeys,
        Self::WrongKeystore,
        Self::MissingKeystore,
        Self::FullDisk,
    ];

    /// Reads `die-after-keys` and its kin.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|fault| serde_json::to_value(fault).is_ok_and(|name| name == text))
    }
}

/// Why the meeting point sends a node away, as the node will say it in charon's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "why")]
pub(crate) enum Refusal {
    /// Another node runs another release.
    Version {
        /// The other node.
        peer: String,
        /// `v1.10`: this node's release.
        expect: String,
        /// The other node's.
        got: String,
    },
    /// Another node has another definition.
    Definition {
        /// The other node.
        peer: String,
    },
    /// The ceremony had begun when this node came, or it is there twice.
    Restarted,
    /// A node's partial signature of the lock hash is wrong.
    PartialSignature {
        /// Its position, from 0.
        peer_index: usize,
        /// The validator's group public key.
        pubkey: String,
    },
    /// The definition is not that of a rehearsal.
    NotRehearsal,
    /// The ENR key is not in the definition, or the challenge was not signed by it.
    Stranger,
    /// The meeting point has lost its memory.
    Forgotten,
    /// The request makes no sense.
    Nonsense {
        /// What is wrong with it.
        what: String,
    },
}

/// `POST /simulator/challenge`: something fresh to sign.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Challenge {}

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Challenged {
    /// 32 random bytes, hexadecimal.
    pub(crate) nonce: String,
}

/// `POST /simulator/join`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Join {
    /// The whole definition file.
    pub(crate) definition: String,
    /// charon's version.
    pub(crate) version: String,
    /// What the operator calls the node; may be empty.
    pub(crate) nickname: String,
    /// The challenge.
    pub(crate) nonce: String,
    /// The ENR key's signature of [`join_digest`], hexadecimal.
    pub(crate) signature: String,
    /// What is changed, if a cluster is; the definition is the one after it.
    #[serde(default)]
    pub(crate) edit: Option<EditTerms>,
    /// This node's shares before it, hexadecimal: secret, though worth nothing.
    #[serde(default)]
    pub(crate) shares: Vec<String>,
}

/// The answer: a node that has joined.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Joined {
    /// Authorises all that follows.
    pub(crate) token: String,
    /// A fault to rehearse.
    pub(crate) fault: Option<Fault>,
}

/// `POST /simulator/sync`: a sign of life and the step reached.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sync {
    pub(crate) token: String,
    pub(crate) step: u32,
}

/// The answer: how the others are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Synced {
    /// Whether each node, in order, is there; its nickname.
    pub(crate) nodes: Vec<Option<String>>,
    /// The least step that any node has reached; 0 while nodes are missing.
    pub(crate) step: u32,
}

/// `POST /simulator/deal`, once all are there.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Deal {
    pub(crate) token: String,
}

/// The answer: the validators, with this node's shares.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Dealings {
    pub(crate) validators: Vec<DealtTo>,
}

/// One validator as one node gets it; all hexadecimal without `0x`.
#[derive(Serialize, Deserialize)]
pub(crate) struct DealtTo {
    pub(crate) group: String,
    pub(crate) public_shares: Vec<String>,
    pub(crate) deposit_signatures: Vec<String>,
    pub(crate) registration_signature: String,
    /// This node's share: secret, though worth nothing.
    pub(crate) share: String,
}

impl std::fmt::Debug for DealtTo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DealtTo({}, share redacted)", self.group)
    }
}

/// `POST /simulator/sign`: this node's signatures of the lock hash.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sign {
    pub(crate) token: String,
    /// By each share, in the order of the validators.
    pub(crate) shares: Vec<String>,
    /// By the ENR key.
    pub(crate) node: String,
}

/// The answer to [`Sign`] and [`Collect`]: all signatures, once they are there.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Signed {
    pub(crate) signatures: Option<Signatures>,
}

/// All signatures of the lock hash.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Signatures {
    /// The aggregate of all shares'.
    pub(crate) aggregate: String,
    /// The nodes', in order.
    pub(crate) nodes: Vec<String>,
}

/// `POST /simulator/collect`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Collect {
    pub(crate) token: String,
}

/// `POST /simulator/leave`: the node ends.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Leave {
    pub(crate) token: String,
}

/// Every answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer<T> {
    /// As asked.
    Given(T),
    /// Not given.
    Refused(Refusal),
}

/// What a node signs to prove that it holds an ENR key of a definition.
pub(crate) fn join_digest(nonce: &str, definition: &str) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(b"charon-dkg simulator join\0");
    hasher.update(nonce);
    hasher.update(b"\0");
    hasher.update(definition);
    hasher.finalize().into()
}

/// Asks the meeting point.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    base: String,
    http: reqwest::Client,
}

impl Client {
    /// # Errors
    /// If the HTTP client cannot be set up.
    pub(crate) fn new(url: &str) -> Result<Self, reqwest::Error> {
        // Once is enough; a second time it says that it was done.
        let _done = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            // A rehearsal speaks plain http, and its image has no certificates to look for.
            .tls_certs_only([])
            // A proxy of the environment must not see a rehearsal.
            .no_proxy()
            .timeout(PATIENCE)
            .build()?;
        Ok(Self {
            base: url.trim_end_matches('/').to_owned(),
            http,
        })
    }

    /// What a node asks of any relay first: its addresses.
    pub(crate) fn addresses(&self) -> Result<String, ClientError> {
        self.run(self.http.get(&self.base))
    }

    /// One request of the simulator's own.
    pub(crate) fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        what: &str,
        question: &Q,
    ) -> Result<Answer<A>, ClientError> {
        let body = serde_json::to_string(question)?;
        let url = format!("{}/simulator/{what}", self.base);
        let text = self.run(self.http.post(url).body(body))?;
        Ok(serde_json::from_str(&text)?)
    }

    fn run(&self, request: reqwest::RequestBuilder) -> Result<String, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut response = request.send().await?;
            let status = response.status().as_u16();
            if status != 200 {
                return Err(ClientError::Status(status));
            }
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                body.extend_from_slice(&chunk);
                if body.len() as u64 > MAX_BODY {
                    return Err(ClientError::TooLong);
                }
            }
            String::from_utf8(body).map_err(|_| ClientError::NotText)
        })
    }
}

/// Why an answer did not come.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("status {0}")]
    Status(u16),
    #[error("the answer is longer than {MAX_BODY} bytes")]
    TooLong,
    #[error("the answer is not text")]
    NotText,
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// One request as the server sees it.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: String,
}

/// Serves requests for ever, each on a thread of its own: `answer` gives the status and the JSON body.
///
/// Both ends of every conversation but `GET /` are this file, so that this is no more of HTTP than it needs.
pub(crate) fn serve(
    listener: &TcpListener,
    answer: impl Fn(&Request) -> (u16, String) + Send + std::marker::Sync,
) -> io::Result<()> {
    let open = AtomicUsize::new(0);
    thread::scope(|scope| {
        for stream in listener.incoming() {
            let stream = match stream {
                Ok(stream) => stream,
                // A client that went away before it was accepted is no reason to stop.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            if open.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
                open.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            scope.spawn(|| {
                // A client that breaks off has nobody to be told.
                serve_one(stream, &answer).ok();
                open.fetch_sub(1, Ordering::Relaxed);
            });
        }
        Ok(())
    })
}

fn serve_one(mut stream: TcpStream, answer: &impl Fn(&Request) -> (u16, String)) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (status, body) = match read_request(&stream)? {
        Some(request) => answer(&request),
        None => (400, "{}".to_owned()),
    };
    let reason = if status == 200 { "OK" } else { "Refused" };
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    stream.flush()
}

/// A request; `None` if it is something else, or too long.
fn read_request(stream: &TcpStream) -> io::Result<Option<Request>> {
    let mut reader = BufReader::new(stream.try_clone()?.take(MAX_HEAD));
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    let (method, path) = (method.to_owned(), path.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            None => break,
        }
    }
    let length = headers
        .get("content-length")
        .map_or(Some(0), |length| length.parse::<u64>().ok());
    let Some(length) = length.filter(|length| *length <= MAX_BODY) else {
        return Ok(None);
    };
    // What was read ahead counts towards the head's limit, so the limit is moved by the whole body.
    let inner = reader.get_mut();
    inner.set_limit(inner.limit().saturating_add(length));
    let mut body = String::new();
    reader.take(length).read_to_string(&mut body)?;
    if (body.len() as u64) < length {
        return Ok(None);
    }
    Ok(Some(Request { method, path, body }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that tells what it was asked.
    fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            serve(&listener, |request| {
                let Request { method, path, body } = request;
                (200, format!("{method} {path} {}", body.len()))
            })
        });
        format!("http://{address}")
    }

    #[test]
    fn requests_of_any_size_up_to_the_limit_are_read_whole() {
        let url = echo();
        let client = Client::new(&url).unwrap();
        assert_eq!(client.addresses().unwrap(), "GET / 0");
        for size in [0, 10, 16 << 10, 1 << 20] {
            let body = "x".repeat(size);
            let request = client.http.post(format!("{url}/p")).body(body);
            assert_eq!(client.run(request).unwrap(), format!("POST /p {size}"));
        }
    }

    #[test]
    fn nonsense_is_answered_and_forgotten() {
        let url = echo();
        let address = url.strip_prefix("http://").unwrap();
        for nonsense in [
            "\r\n\r\n".to_owned(),
            "POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n".to_owned(),
            "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n".to_owned(),
        ] {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(nonsense.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        }
        assert_eq!(Client::new(&url).unwrap().addresses().unwrap(), "GET / 0");
    }

    #[test]
    fn faults_have_names() {
        assert_eq!(Fault::parse("die-after-keys"), Some(Fault::DieAfterKeys));
        assert_eq!(Fault::parse("nothing"), None);
    }
}
