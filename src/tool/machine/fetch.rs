//! Fetches a small file, such as a cluster definition, from an https URL.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{ACCEPT, ACCEPT_ENCODING, LOCATION};
use reqwest::{Certificate, Client, ClientBuilder, Response, Url};

use crate::machine::causes::causes;

/// The largest file that is fetched. A definition of 256 operators and 10 000 validators has less
/// than a tenth of this.
pub const MAX_FETCH_BYTES: usize = 16 << 20;

/// How many redirects are followed; a launchpad needs one or two.
const MAX_REDIRECTS: usize = 5;

/// How much is shown of what a server says instead of the file.
const EXCERPT_BYTES: usize = 300;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const SILENCE_TIMEOUT: Duration = Duration::from_secs(20);
const WHOLE_TIMEOUT: Duration = Duration::from_secs(120);

/// Whether a URL without TLS may be fetched. This machine itself is always allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainHttp {
    /// Only https.
    Refuse,
    /// Only if asked for: anyone on the way can change the file.
    Allow,
}

/// A fetched file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The content, at most [`MAX_FETCH_BYTES`].
    pub bytes: Vec<u8>,
    /// Where it came from, after redirects.
    pub url: String,
    /// Whether it came over another machine's plain http, which deserves a warning.
    pub is_unprotected: bool,
}

/// Why a file could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URL cannot be understood.
    #[error("{url:?} is not a URL: {detail}")]
    BadUrl {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The URL is not https.
    #[error("{url} is not https")]
    NotHttps {
        /// The URL.
        url: String,
    },
    /// The URL carries a name or password, which would end in logs and receipts.
    #[error("the URL of {host} carries a user name or password")]
    HasCredentials {
        /// The host alone, since the rest is secret.
        host: String,
    },
    /// No TLS client could be made.
    #[error("cannot set up https: {detail}")]
    NoClient {
        /// Why.
        detail: String,
    },
    /// The server could not be reached, or its certificate is not trusted.
    #[error("cannot reach {url}: {detail}")]
    Unreachable {
        /// The URL.
        url: String,
        /// Why.
        detail: String,
    },
    /// The server took too long.
    #[error("{url} did not answer in time: {detail}")]
    TimedOut {
        /// The URL.
        url: String,
        /// What was waited for.
        detail: String,
    },
    /// The server has no such file for us.
    #[error("{url} answered with status {status}: {excerpt}")]
    Status {
        /// The URL.
        url: String,
        /// HTTP status.
        status: u16,
        /// The beginning of what it said.
        excerpt: String,
    },
    /// The server sent us on, and not to an https URL, or not to any.
    #[error("{url} leads to {to:?}, which is not https")]
    BadRedirect {
        /// The URL.
        url: String,
        /// Where it leads.
        to: String,
    },
    /// The server sent us on too often.
    #[error("{url} leads on and on, more than {MAX_REDIRECTS} times")]
    TooManyRedirects {
        /// The first URL.
        url: String,
    },
    /// The file is larger than any definition.
    #[error("{url} is larger than {MAX_FETCH_BYTES} bytes")]
    TooLarge {
        /// The URL.
        url: String,
    },
    /// The connection broke before the file was complete.
    #[error("{url} was cut off after {received} bytes: {detail}")]
    CutOff {
        /// The URL.
        url: String,
        /// Bytes received.
        received: usize,
        /// What happened.
        detail: String,
    },
}

/// Fetches a file, bounded in size, time and redirects.
///
/// Trusts the machine's certificate authorities and Mozilla's; uses the machine's proxy settings, but for this machine itself.
///
/// # Errors
/// One variant for each possible obstacle; nothing is returned in part.
pub async fn fetch(url: &str, plain_http: PlainHttp) -> Result<Fetched, FetchError> {
    let timed_out = |_| FetchError::TimedOut {
        url: url.to_owned(),
        detail: format!("{} s for all of it", WHOLE_TIMEOUT.as_secs()),
    };
    tokio::time::timeout(WHOLE_TIMEOUT, fetch_in_time(url, plain_http))
        .await
        .map_err(timed_out)?
}

/// Where every HTTP client of this program begins: with ring as its cryptography.
pub(crate) fn client_builder() -> ClientBuilder {
    // Once is enough; a second time it says that it was done.
    let _done = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
}

/// The same for what begins at this URL: past the machine's proxy where that is this machine itself, which to a proxy is
/// another. Go's programs, charon and docker among them, do likewise.
pub(crate) fn client_builder_for(url: &Url) -> ClientBuilder {
    let builder = client_builder();
    if is_this_machine(url) {
        builder.no_proxy()
    } else {
        builder
    }
}

async fn fetch_in_time(url: &str, plain_http: PlainHttp) -> Result<Fetched, FetchError> {
    let mut at = check_url(url, plain_http)?;
    // Redirects are followed below, where each step can be checked and named.
    let client = client_builder_for(&at)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(SILENCE_TIMEOUT)
        .user_agent(concat!("charon-dkg/", env!("CARGO_PKG_VERSION")))
        .tls_certs_merge(mozilla_roots())
        .build()
        .map_err(|error| FetchError::NoClient {
            detail: causes(&error),
        })?;
    for _ in 0..=MAX_REDIRECTS {
        let asked = client
            .get(at.clone())
            .header(ACCEPT, "application/json")
            // A client that names no encoding may be sent any (RFC 9110, 12.5.3).
            .header(ACCEPT_ENCODING, "identity")
            .send()
            .await;
        let response = asked.map_err(|error| failed_to_reach(&at, error))?;
        let status = response.status();
        if status.is_redirection() && response.headers().contains_key(LOCATION) {
            at = check_redirect(&at, &response)?;
            continue;
        }
        if !status.is_success() {
            return Err(FetchError::Status {
                url: at.to_string(),
                status: status.as_u16(),
                excerpt: excerpt_of(response).await,
            });
        }
        return Ok(Fetched {
            bytes: read_body(&at, response).await?,
            is_unprotected: at.scheme() == "http" && !is_this_machine(&at),
            url: at.to_string(),
        });
    }
    Err(FetchError::TooManyRedirects {
        url: url.to_owned(),
    })
}

/// Mozilla's certificate authorities, which an image without any file and a minimal system lack.
pub(crate) fn mozilla_roots() -> impl Iterator<Item = Certificate> {
    webpki_root_certs::TLS_SERVER_ROOT_CERTS
        .iter()
        .filter_map(|root| Certificate::from_der(root).ok())
}

fn check_url(text: &str, plain_http: PlainHttp) -> Result<Url, FetchError> {
    let url = Url::parse(text.trim()).map_err(|error| FetchError::BadUrl {
        url: text.to_owned(),
        detail: error.to_string(),
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(FetchError::HasCredentials {
            host: url.host_str().unwrap_or_default().to_owned(),
        });
    }
    let is_allowed = match url.scheme() {
        "https" => true,
        "http" => plain_http == PlainHttp::Allow || is_this_machine(&url),
        _ => false,
    };
    if !is_allowed {
        return Err(FetchError::NotHttps {
            url: text.to_owned(),
        });
    }
    Ok(url)
}

pub(crate) fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn check_redirect(from: &Url, response: &Response) -> Result<Url, FetchError> {
    let location = response.headers().get(LOCATION);
    let to = location
        .map(|location| String::from_utf8_lossy(location.as_bytes()).into_owned())
        .unwrap_or_default();
    match from.join(&to) {
        Ok(url) if url.scheme() == "https" => Ok(url),
        Ok(_) | Err(_) => Err(FetchError::BadRedirect {
            url: from.to_string(),
            to,
        }),
    }
}

fn failed_to_reach(url: &Url, error: reqwest::Error) -> FetchError {
    let is_timeout = error.is_timeout();
    let (url, detail) = (url.to_string(), causes(&error.without_url()));
    if is_timeout {
        FetchError::TimedOut { url, detail }
    } else {
        FetchError::Unreachable { url, detail }
    }
}

async fn read_body(url: &Url, mut response: Response) -> Result<Vec<u8>, FetchError> {
    let too_large = || FetchError::TooLarge {
        url: url.to_string(),
    };
    let is_announced_too_large = response
        .content_length()
        .is_some_and(|len| usize::try_from(len).map_or(true, |len| len > MAX_FETCH_BYTES));
    if is_announced_too_large {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    loop {
        let chunk = response.chunk().await.map_err(|error| {
            let is_timeout = error.is_timeout();
            let (url, detail) = (url.to_string(), causes(&error.without_url()));
            if is_timeout {
                return FetchError::TimedOut { url, detail };
            }
            FetchError::CutOff {
                url,
                received: bytes.len(),
                detail,
            }
        })?;
        let Some(chunk) = chunk else {
            return Ok(bytes);
        };
        if bytes.len() + chunk.len() > MAX_FETCH_BYTES {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
}

/// The beginning of an answer, in one line and without anything that could steer a terminal.
pub(crate) async fn excerpt_of(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < EXCERPT_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    bytes.truncate(EXCERPT_BYTES);
    excerpt(&bytes)
}

/// The same of bytes at hand.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    let bytes = bytes.get(..EXCERPT_BYTES).unwrap_or(bytes);
    let text: String = String::from_utf8_lossy(bytes)
        .chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::machine::http_server::{Answer, Server, answer, json, unfinished};
    use crate::machine::refusing_port::refusing_port;

    fn url(server: &Server, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", server.port)
    }

    #[tokio::test]
    async fn a_file_arrives_byte_for_byte() {
        let body: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let sent = body.clone();
        let server = Server::on_loopback(move |_| answer(200, &[], &sent));
        let fetched = fetch(&url(&server, "/d?x=1"), PlainHttp::Refuse)
            .await
            .unwrap();
        assert!(fetched.bytes == body);
        assert!(!fetched.is_unprotected, "this machine is no stranger");
        let request = &server.requests()[0];
        assert_eq!(request.target, "/d?x=1");
        let headers = request.headers.to_lowercase();
        assert!(headers.contains("accept-encoding: identity"), "{headers}");
    }

    /// The names are those of the URL Standard (UTS 46, nontransitional processing), which browsers ask for too.
    #[test]
    fn a_host_in_any_script_is_asked_for_by_its_ascii_name() {
        for (text, host) in [
            ("https://bücher.example/d", "xn--bcher-kva.example"),
            ("https://faß.example/d", "xn--fa-hia.example"),
            ("https://例え.テスト/d", "xn--r8jz45g.xn--zckzah"),
        ] {
            let url = check_url(text, PlainHttp::Refuse).unwrap();
            assert_eq!(url.host_str(), Some(host));
        }
    }

    #[tokio::test]
    async fn what_is_not_https_is_refused_unless_asked_for() {
        for text in [
            "http://192.0.2.1/d",
            "http://localhost.example/d",
            "ftp://x/d",
            "file:///d",
        ] {
            let error = fetch(text, PlainHttp::Refuse).await.unwrap_err();
            assert!(matches!(error, FetchError::NotHttps { .. }), "{error}");
        }
        assert!(check_url("http://192.0.2.1/d", PlainHttp::Allow).is_ok());
        assert!(check_url("http://[::1]:80/d", PlainHttp::Refuse).is_ok());
        assert!(check_url("ftp://192.0.2.1/d", PlainHttp::Allow).is_err());
        let error = fetch("definition.json", PlainHttp::Allow)
            .await
            .unwrap_err();
        assert!(matches!(error, FetchError::BadUrl { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_password_in_a_url_is_refused_and_not_repeated() {
        let error = fetch("https://user:secret@example.org/d", PlainHttp::Refuse)
            .await
            .unwrap_err();
        assert!(
            matches!(error, FetchError::HasCredentials { .. }),
            "{error}"
        );
        assert!(!format!("{error} {error:?}").contains("secret"));
    }

    #[tokio::test]
    async fn a_refusal_is_told_with_its_first_words() {
        let server = Server::on_loopback(|_| json(404, "{\"message\":\n \"not\x1b[2J found\"}"));
        let error = fetch(&url(&server, "/d"), PlainHttp::Refuse)
            .await
            .unwrap_err();
        let FetchError::Status {
            status, excerpt, ..
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!(status, 404);
        assert!(
            excerpt.contains("found") && !excerpt.contains(['\x1b', '\n']),
            "{excerpt}"
        );
    }

    #[tokio::test]
    async fn a_redirect_may_lead_to_https_only() {
        for to in ["/other", "http://127.0.0.1:1/d", "ftp://example.org/d"] {
            let server = Server::on_loopback(move |_| answer(302, &[("Location", to)], b""));
            let error = fetch(&url(&server, "/d"), PlainHttp::Allow)
                .await
                .unwrap_err();
            assert!(matches!(error, FetchError::BadRedirect { .. }), "{error}");
            assert_eq!(server.requests().len(), 1);
        }
        // A choice (RFC 9110, 15.4.1) and what is not modified lead nowhere.
        for status in [300, 302, 304] {
            let server = Server::on_loopback(move |_| answer(status, &[], b""));
            let error = fetch(&url(&server, "/d"), PlainHttp::Allow)
                .await
                .unwrap_err();
            assert!(matches!(error, FetchError::Status { .. }), "{error}");
        }
    }

    #[tokio::test]
    async fn a_large_file_is_given_up_before_and_while_it_is_read() {
        let announced = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1 << 30);
        let server =
            Server::on_loopback(move |_| Answer::ThenSilence(announced.clone().into_bytes()));
        let error = fetch(&url(&server, "/d"), PlainHttp::Refuse)
            .await
            .unwrap_err();
        assert!(matches!(error, FetchError::TooLarge { .. }), "{error}");

        let server = Server::on_loopback(|_| {
            let chunk = vec![b'x'; MAX_FETCH_BYTES + 1];
            Answer::ThenSilence(unfinished(&[&chunk]))
        });
        let error = fetch(&url(&server, "/d"), PlainHttp::Refuse)
            .await
            .unwrap_err();
        assert!(matches!(error, FetchError::TooLarge { .. }), "{error}");
    }

    #[tokio::test]
    async fn half_a_file_is_no_file() {
        let server = Server::on_loopback(|_| Answer::Bytes(unfinished(&[b"{\"name\":"])));
        let error = fetch(&url(&server, "/d"), PlainHttp::Refuse)
            .await
            .unwrap_err();
        let FetchError::CutOff { received, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(received, 8);
    }

    #[tokio::test]
    async fn nobody_there_is_told() {
        let (_kept, port) = refusing_port();
        let error = fetch(&format!("http://127.0.0.1:{port}/d"), PlainHttp::Refuse)
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, FetchError::Unreachable { .. }), "{text}");
        assert!(text.contains("refused"), "{text}");
    }
}
