//! Asks a beacon node what it knows of validators, over the standard Beacon API.
//!
//! As with execution clients, the URL often holds a key of the provider, so no error repeats what may be one.

use std::collections::HashSet;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, Response, Url};
use serde_json::json;

use crate::machine::causes::causes;
use crate::machine::fetch::{excerpt, is_this_machine};
use crate::proof::execution::{MAX_URL_BYTES, client};
use charon_files::cluster::Network;
use charon_log::url_keys::UrlKeys;
use charon_proof::chain::{
    Chain, Pubkey, parse_genesis, parse_pending, parse_syncing, parse_validators,
};

/// Check id of everything about the beacon node itself.
const CHECK: &str = "chain-beacon";
/// What it is called.
const WHO: &str = "the beacon node";

/// How many validators are asked about at once.
const BATCH: usize = 500;
/// Longest answer about one validator, in bytes; it has 500.
const VALIDATOR_BYTES: usize = 4 << 10;
/// Longest answer that is about no validators.
const SMALL_BYTES: usize = 64 << 10;
/// Longest answer about all pending deposits of a network: each has 500 bytes, and the longest queues had 60 000.
const QUEUE_BYTES: usize = 128 << 20;
/// All calls together. A queue of that length takes a node some seconds.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(180);
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The address of a beacon node. Never shown: it may hold a key.
#[derive(Clone)]
pub struct BeaconRpc(Url);

impl std::fmt::Debug for BeaconRpc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BeaconRpc(redacted)")
    }
}

/// Why a beacon node gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum BeaconError {
    /// Not a URL, or too long for one.
    #[error("what was given as the beacon node's URL is none")]
    BadUrl,
    /// A URL of another kind.
    #[error("the beacon node's URL is neither http nor https")]
    NotHttp,
    /// No client could be made.
    #[error("cannot set up https: {0}")]
    NoClient(String),
    /// It could not be reached, its certificate is not trusted, or it broke off.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// It took too long.
    #[error("did not answer in time")]
    TimedOut,
    /// An HTTP status that is no success, redirects included.
    #[error("answered {path} with status {status}")]
    Status {
        /// What was asked for.
        path: &'static str,
        /// The status.
        status: u16,
    },
    /// More than any answer has.
    #[error("its answer to {0} is longer than any should be")]
    TooLarge(&'static str),
    /// Not an answer of the Beacon API.
    #[error("its answer to {path} cannot be understood: {excerpt}")]
    Nonsense {
        /// What was asked for.
        path: &'static str,
        /// How it begins.
        excerpt: String,
    },
    /// It does not know the head of the chain.
    #[error("{0}")]
    NotReady(String),
}

const GENESIS: &str = "/eth/v1/beacon/genesis";
const SYNCING: &str = "/eth/v1/node/syncing";
const VALIDATORS: &str = "/eth/v1/beacon/states/head/validators";
const PENDING: &str = "/eth/v1/beacon/states/head/pending_deposits";

impl BeaconRpc {
    /// Reads a URL, white space around it ignored.
    ///
    /// # Errors
    /// If it is none, or neither http nor https.
    pub fn parse(text: &str) -> Result<Self, BeaconError> {
        let text = text.trim();
        if u64::try_from(text.len()).is_ok_and(|len| len > MAX_URL_BYTES) {
            return Err(BeaconError::BadUrl);
        }
        let url = Url::parse(text).map_err(|_| BeaconError::BadUrl)?;
        match url.scheme() {
            "http" | "https" => Ok(Self(url)),
            _ => Err(BeaconError::NotHttp),
        }
    }

    /// Whether somebody between here and there could change the answers.
    pub fn is_unprotected(&self) -> bool {
        self.0.scheme() == "http" && !is_this_machine(&self.0)
    }

    /// Whether a part of the URL may be a provider's key or a password.
    pub fn may_hold_key(&self) -> bool {
        !UrlKeys::of(&self.0).is_empty()
    }

    /// Puts everything that the node says of these validators into `chain`, and what it does not say among its findings.
    pub async fn ask(&self, network: Network, keys: &[Pubkey], chain: &mut Chain) {
        let asking = self.ask_in_time(network, keys, chain);
        let problem = match tokio::time::timeout(WHOLE_TIMEOUT, asking).await {
            Ok(Ok(())) => return,
            Ok(Err(problem)) => problem,
            Err(_) => BeaconError::TimedOut,
        };
        chain.could_not_ask(CHECK, WHO, problem.to_string());
    }

    async fn ask_in_time(
        &self,
        network: Network,
        keys: &[Pubkey],
        chain: &mut Chain,
    ) -> Result<(), BeaconError> {
        let client = client().map_err(|error| BeaconError::NoClient(error.to_string()))?;
        let genesis = self.get(&client, GENESIS, SMALL_BYTES).await?;
        let genesis = parse_genesis(&genesis).ok_or_else(|| self.nonsense(GENESIS, &genesis))?;
        if let Some((seen, expected)) = genesis.differs_from(network) {
            chain.other_chain(CHECK, WHO, seen, expected);
            return Ok(());
        }
        let syncing = self.get(&client, SYNCING, SMALL_BYTES).await?;
        parse_syncing(&syncing)
            .ok_or_else(|| self.nonsense(SYNCING, &syncing))?
            .map_err(BeaconError::NotReady)?;
        let mut validators = Vec::new();
        for batch in keys.chunks(BATCH) {
            let ids: Vec<String> = batch
                .iter()
                .map(|key| format!("0x{}", hex::encode(key)))
                .collect();
            let most = SMALL_BYTES + batch.len() * VALIDATOR_BYTES;
            let body = json!({"ids": ids, "statuses": []}).to_string();
            let request = client
                .post(self.at(VALIDATORS))
                .header(CONTENT_TYPE, "application/json")
                .body(body);
            let answer = self.send(request, VALIDATORS, most).await?;
            let asked: HashSet<Pubkey> = batch.iter().copied().collect();
            validators.extend(
                parse_validators(&answer, &asked)
                    .ok_or_else(|| self.nonsense(VALIDATORS, &answer))?,
            );
        }
        chain.validators.extend(validators);
        chain.beacon = true;
        let asked: HashSet<Pubkey> = keys.iter().copied().collect();
        let answer = self.get(&client, PENDING, QUEUE_BYTES).await?;
        let pending =
            parse_pending(&answer, &asked).ok_or_else(|| self.nonsense(PENDING, &answer))?;
        for deposit in pending {
            chain
                .queued
                .entry(deposit.pubkey)
                .or_default()
                .push(deposit);
        }
        chain.queue = true;
        Ok(())
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}{path}"));
        url
    }

    async fn get(
        &self,
        client: &Client,
        path: &'static str,
        most: usize,
    ) -> Result<Vec<u8>, BeaconError> {
        self.send(client.get(self.at(path)), path, most).await
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        path: &'static str,
        most: usize,
    ) -> Result<Vec<u8>, BeaconError> {
        let response = request
            .header(ACCEPT, "application/json")
            .timeout(CALL_TIMEOUT)
            .send()
            .await
            .map_err(|error| self.unreachable(error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(BeaconError::Status {
                path,
                status: status.as_u16(),
            });
        }
        self.read(response, path, most).await
    }

    async fn read(
        &self,
        mut response: Response,
        path: &'static str,
        most: usize,
    ) -> Result<Vec<u8>, BeaconError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.unreachable(error))?
        {
            if bytes.len() + chunk.len() > most {
                return Err(BeaconError::TooLarge(path));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn shown(&self, text: &str) -> String {
        let keys = UrlKeys::of(&self.0).with_host(&self.0);
        excerpt(keys.hide_escaped(text).as_bytes())
    }

    fn nonsense(&self, path: &'static str, bytes: &[u8]) -> BeaconError {
        // An answer may be long, and only its beginning is shown.
        let beginning = bytes.get(..4096).unwrap_or(bytes);
        BeaconError::Nonsense {
            path,
            excerpt: self.shown(&String::from_utf8_lossy(beginning)),
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> BeaconError {
        if error.is_timeout() {
            BeaconError::TimedOut
        } else {
            // Its text has the URL otherwise.
            BeaconError::Unreachable(self.shown(&causes(&error.without_url())))
        }
    }
}
