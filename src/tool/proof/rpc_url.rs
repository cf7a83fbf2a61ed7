//! The address of a node that answers over HTTP, an execution client or a beacon node.
//!
//! It often holds a key of the provider, so nothing that is shown repeats what may be one.

use std::time::Duration;

use reqwest::{Client, Response, Url};

use crate::machine::causes::causes;
use crate::machine::fetch::{client_builder_for, excerpt, is_this_machine, mozilla_roots};
use charon_log::url_keys::UrlKeys;

/// Longest URL that is taken, in bytes.
pub(crate) const MAX_URL_BYTES: u64 = 4 << 10;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// One call, where the caller sets no other limit; providers answer in less than a second, a node that is catching up may
/// take longer.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// The address of a node. Never shown: it may hold a key.
#[derive(Clone)]
pub(crate) struct RpcUrl(Url);

impl std::fmt::Debug for RpcUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RpcUrl(redacted)")
    }
}

/// Why a text is no address of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UrlFault {
    /// Not a URL, or too long for one.
    NoUrl,
    /// A URL of another kind, such as a WebSocket.
    NotHttp,
}

/// Why a node could not be asked, or its answer not be read.
#[derive(Debug)]
pub(crate) enum CallFault {
    /// It took too long.
    TimedOut,
    /// It could not be reached, its certificate is not trusted, or it broke off; without what may be a key.
    Unreachable(String),
    /// More than the caller reads.
    TooLarge,
}

impl RpcUrl {
    /// Reads a URL, white space around it ignored.
    ///
    /// # Errors
    /// If it is not a URL, or neither http nor https.
    pub(crate) fn parse(text: &str) -> Result<Self, UrlFault> {
        let text = text.trim();
        if u64::try_from(text.len()).is_ok_and(|len| len > MAX_URL_BYTES) {
            return Err(UrlFault::NoUrl);
        }
        let url = Url::parse(text).map_err(|_| UrlFault::NoUrl)?;
        match url.scheme() {
            "http" | "https" => Ok(Self(url)),
            _ => Err(UrlFault::NotHttp),
        }
    }

    /// The URL itself, to be asked and not to be shown.
    pub(crate) const fn url(&self) -> &Url {
        &self.0
    }

    /// Whether somebody between here and there could change the answers.
    pub(crate) fn is_unprotected(&self) -> bool {
        self.0.scheme() == "http" && !is_this_machine(&self.0)
    }

    /// Whether a part of the URL may be a provider's key or a password.
    pub(crate) fn may_hold_key(&self) -> bool {
        !UrlKeys::of(&self.0).is_empty()
    }

    /// What may be shown of a text from elsewhere, which may repeat any of the URL.
    pub(crate) fn shown(&self, text: &str) -> String {
        let keys = UrlKeys::of(&self.0).with_host(&self.0);
        // The whole is cleaned before it is cut.
        excerpt(keys.hide_escaped(text).as_bytes())
    }

    /// What became of a call that failed.
    pub(crate) fn call_fault(&self, error: reqwest::Error) -> CallFault {
        if error.is_timeout() {
            CallFault::TimedOut
        } else {
            // Its text has the URL otherwise.
            CallFault::Unreachable(self.shown(&causes(&error.without_url())))
        }
    }

    /// A client that follows no redirects: an answer from elsewhere is not the one that was asked for.
    ///
    /// # Errors
    /// What keeps https from being set up.
    pub(crate) fn client(&self) -> Result<Client, String> {
        client_builder_for(&self.0)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .user_agent(concat!("charon-dkg/", env!("CARGO_PKG_VERSION")))
            .tls_certs_merge(mozilla_roots())
            .build()
            .map_err(|error| causes(&error))
    }

    /// The content of an answer, of at most so many bytes.
    ///
    /// # Errors
    /// If it is longer or breaks off.
    pub(crate) async fn read(
        &self,
        mut response: Response,
        most: usize,
    ) -> Result<Vec<u8>, CallFault> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.call_fault(error))?
        {
            if bytes.len() + chunk.len() > most {
                return Err(CallFault::TooLarge);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_before_the_text_is_cut() {
        let rpc = RpcUrl::parse("https://host/abcdefghijklmnopqrstuvwxyz").unwrap();
        for before in 250..310 {
            let text = format!("{}abcdefghijklmnopqrstuvwxyz", "-".repeat(before));
            let shown = rpc.shown(&text);
            assert!(!shown.contains('a'), "{shown}");
        }
    }
}
