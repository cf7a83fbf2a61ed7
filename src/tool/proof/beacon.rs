//! Asks a beacon node what it knows of validators, over the standard Beacon API.
//!
//! No error repeats what may be a key in the URL.

use std::collections::HashSet;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, Url};
use serde_json::json;

use crate::proof::rpc_url::{CallFault, RpcUrl};
use charon_files::cluster::Network;
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
/// One call about validators or pending deposits; a client's own limit is for the others.
const LONG_CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A beacon node.
#[derive(Debug, Clone)]
pub(crate) struct BeaconRpc(RpcUrl);

/// Why a beacon node gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BeaconError {
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
    /// The node at this address.
    pub(crate) const fn at(url: RpcUrl) -> Self {
        Self(url)
    }

    /// Puts everything that the node says of these validators into `chain`, and what it does not say among its findings.
    pub(crate) async fn ask(&self, network: Network, keys: &[Pubkey], chain: &mut Chain) {
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
        let client = self.0.client().map_err(BeaconError::NoClient)?;
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
                .post(self.path(VALIDATORS))
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

    fn path(&self, path: &str) -> Url {
        let mut url = self.0.url().clone();
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
        self.send(client.get(self.path(path)), path, most).await
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        path: &'static str,
        most: usize,
    ) -> Result<Vec<u8>, BeaconError> {
        let request = request.header(ACCEPT, "application/json");
        let request = if most > SMALL_BYTES {
            request.timeout(LONG_CALL_TIMEOUT)
        } else {
            request
        };
        let response = request
            .send()
            .await
            .map_err(|error| failed(self.0.call_fault(error), path))?;
        let status = response.status();
        if !status.is_success() {
            return Err(BeaconError::Status {
                path,
                status: status.as_u16(),
            });
        }
        let read = self.0.read(response, most).await;
        read.map_err(|fault| failed(fault, path))
    }

    fn nonsense(&self, path: &'static str, bytes: &[u8]) -> BeaconError {
        // An answer may be long, and only its beginning is shown.
        let beginning = bytes.get(..4096).unwrap_or(bytes);
        BeaconError::Nonsense {
            path,
            excerpt: self.0.shown(&String::from_utf8_lossy(beginning)),
        }
    }
}

/// What a call came to.
fn failed(fault: CallFault, path: &'static str) -> BeaconError {
    match fault {
        CallFault::TimedOut => BeaconError::TimedOut,
        CallFault::Unreachable(reason) => BeaconError::Unreachable(reason),
        CallFault::TooLarge => BeaconError::TooLarge(path),
    }
}
