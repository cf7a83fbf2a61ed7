//! Asks an execution client what contract wallets say of signatures (EIP-1271), over JSON-RPC.
//!
//! No error repeats what may be a key in the URL.

use std::time::Duration;

use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::proof::rpc_url::{CallFault, RpcUrl};
use charon_files::cluster::{Address, DepositData, Network, eip1271};
use charon_proof::chain::{DEPOSIT_EVENT, Pubkey, parse_event};
use charon_proof::verify::ContractQuestion;

/// Longest answer that is read, in bytes. The one that counts has a hundred; a revert may carry a few thousand.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// All calls together: at most two for each operator and one for the creator.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(120);

/// How many blocks are searched for deposits: the beacon chain knows older ones, since it takes deposits over with the block
/// that has them (EIP-6110), and took some hours before that. About a day where a block takes twelve seconds, half a day on Gnosis
/// Chain with its five.
const RECENT_BLOCKS: u64 = 8192;
/// How many of them at once; many providers answer no more.
const BLOCKS_AT_ONCE: u64 = 1024;
/// Longest answer about their events: each has a kilobyte, and a block has a few at most.
const MAX_EVENTS_BYTES: usize = 16 << 20;

/// JSON-RPC's code for a call that the contract itself refused (geth, Nethermind, Besu, Erigon, Reth).
const REVERTED: i64 = 3;

/// An execution client.
#[derive(Debug, Clone)]
pub(crate) struct ExecutionRpc(RpcUrl);

/// Why an execution client gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecutionError {
    /// No client could be made.
    #[error("cannot set up https: {0}")]
    NoClient(String),
    /// It could not be reached, its certificate is not trusted, or it broke off.
    #[error("cannot reach the execution client: {0}")]
    Unreachable(String),
    /// It took too long.
    #[error("the execution client did not answer in time")]
    TimedOut,
    /// An HTTP status that is no success, redirects included: an answer from elsewhere is not the one that was asked for.
    #[error("the execution client answered with status {0}")]
    Status(u16),
    /// More than any answer has.
    #[error("the execution client's answer is longer than {0} bytes")]
    TooLarge(usize),
    /// Not an answer of JSON-RPC.
    #[error("the execution client's answer cannot be understood: {0}")]
    Nonsense(String),
    /// It said that it cannot.
    #[error("the execution client refuses: {0}")]
    Refused(String),
    /// Another network than the cluster's.
    #[error("the execution client is on chain {seen}, expected {expected}, that of the cluster")]
    OtherChain {
        /// Its chain id.
        seen: u64,
        /// The cluster's.
        expected: u64,
    },
    /// It does not know the newest blocks.
    #[error("the execution client is still catching up")]
    CatchingUp,
    /// There is no code at the address.
    #[error("the execution client knows no contract at {0}; it may still be catching up")]
    NoContract(Address),
}

impl ExecutionRpc {
    /// The client at this address.
    pub(crate) const fn at(url: RpcUrl) -> Self {
        Self(url)
    }

    /// Asks about every signature, in order. `Some(true)` is the contract's yes, `Some(false)` its no; the error belongs to
    /// the questions that have no answer, all of which come behind it if the client itself is at fault.
    pub(crate) async fn ask(
        &self,
        questions: &[ContractQuestion],
    ) -> (Vec<Option<bool>>, Option<ExecutionError>) {
        let mut answers = Vec::with_capacity(questions.len());
        let mut problem = None;
        let asking = async {
            let client = self.0.client().map_err(ExecutionError::NoClient)?;
            for question in questions {
                // Each time: a pool of nodes may have a stranger among them.
                self.check_chain(&client, question.chain_id).await?;
                match self.ask_one(&client, question).await {
                    Ok(answer) => answers.push(Some(answer)),
                    Err(error @ ExecutionError::NoContract(_)) => {
                        answers.push(None);
                        problem = Some(error);
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        let outcome = tokio::time::timeout(WHOLE_TIMEOUT, asking).await;
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => problem = Some(error),
            Err(_) => problem = Some(ExecutionError::TimedOut),
        }
        answers.resize(questions.len(), None);
        (answers, problem)
    }

    fn nonsense(&self, bytes: &[u8]) -> ExecutionError {
        ExecutionError::Nonsense(self.0.shown(&String::from_utf8_lossy(bytes)))
    }

    fn refused(&self, error: &RpcError) -> ExecutionError {
        ExecutionError::Refused(self.0.shown(&error.message))
    }

    async fn check_chain(&self, client: &Client, expected: u64) -> Result<(), ExecutionError> {
        let result = self.call(client, "eth_chainId", json!([])).await?;
        let result = result.map_err(|error| self.refused(&error))?;
        let seen = number(&result).ok_or_else(|| self.nonsense(result.to_string().as_bytes()))?;
        if seen == expected {
            Ok(())
        } else {
            Err(ExecutionError::OtherChain { seen, expected })
        }
    }

    async fn ask_one(
        &self,
        client: &Client,
        question: &ContractQuestion,
    ) -> Result<bool, ExecutionError> {
        let data = eip1271::call_data(&question.digest, &question.signature);
        let parameters = json!([
            {
                "to": question.address.to_string(),
                "data": format!("0x{}", hex::encode(data)),
            },
            "latest",
        ]);
        let result = match self.call(client, "eth_call", parameters).await? {
            Ok(result) => result,
            // Many wallets do not answer no, they revert.
            Err(error) if error.is_revert() => return Ok(false),
            Err(error) => return Err(self.refused(&error)),
        };
        let answer = result
            .as_str()
            .and_then(|text| text.strip_prefix("0x"))
            .and_then(|digits| hex::decode(digits).ok())
            .ok_or_else(|| self.nonsense(result.to_string().as_bytes()))?;
        if answer.is_empty() {
            return Err(ExecutionError::NoContract(question.address));
        }
        Ok(eip1271::is_yes(&answer))
    }

    /// The deposits for these validators among the newest [`RECENT_BLOCKS`], by the events of the network's deposit contract.
    ///
    /// # Errors
    /// If the client is at fault, still catching up, or does not serve events.
    pub(crate) async fn deposits(
        &self,
        network: Network,
        keys: &[Pubkey],
    ) -> Result<Vec<DepositData>, ExecutionError> {
        let asking = self.deposits_in_time(network, keys);
        tokio::time::timeout(WHOLE_TIMEOUT, asking)
            .await
            .unwrap_or(Err(ExecutionError::TimedOut))
    }

    async fn deposits_in_time(
        &self,
        network: Network,
        keys: &[Pubkey],
    ) -> Result<Vec<DepositData>, ExecutionError> {
        let client = self.0.client().map_err(ExecutionError::NoClient)?;
        let contract = network
            .deposit_contract()
            .ok_or_else(|| ExecutionError::Refused("no deposit contract is known".to_owned()))?;
        self.check_chain(&client, network.chain_id).await?;
        let done = self.call(&client, "eth_syncing", json!([])).await?;
        if done.map_err(|error| self.refused(&error))? != Value::Bool(false) {
            return Err(ExecutionError::CatchingUp);
        }
        // A chain of the same number without it has no events either.
        let parameters = json!([contract.to_string(), "latest"]);
        let code = self.call(&client, "eth_getCode", parameters).await?;
        let code = code.map_err(|error| self.refused(&error))?;
        match code.as_str() {
            Some("0x") => return Err(ExecutionError::NoContract(contract)),
            Some(code) if code.starts_with("0x") => {}
            Some(_) | None => return Err(self.nonsense(code.to_string().as_bytes())),
        }
        let head = self.call(&client, "eth_blockNumber", json!([])).await?;
        let head = head.map_err(|error| self.refused(&error))?;
        let head = number(&head).ok_or_else(|| self.nonsense(head.to_string().as_bytes()))?;
        let mut from = head.saturating_sub(RECENT_BLOCKS - 1);
        let mut found = Vec::new();
        while from <= head {
            let to = head.min(from + BLOCKS_AT_ONCE - 1);
            let parameters = json!([{
                "fromBlock": format!("0x{from:x}"),
                "toBlock": format!("0x{to:x}"),
                "address": contract.to_string(),
                "topics": [DEPOSIT_EVENT],
            }]);
            let events = self
                .call_for(&client, "eth_getLogs", parameters, MAX_EVENTS_BYTES)
                .await?
                .map_err(|error| self.refused(&error))?;
            let read = events.as_array().and_then(|events| {
                let deposit = |event: &Value| {
                    let data = event.get("data")?.as_str()?.strip_prefix("0x")?;
                    parse_event(&hex::decode(data).ok()?)
                };
                events.iter().map(deposit).collect::<Option<Vec<_>>>()
            });
            let read = read.ok_or_else(|| self.nonsense(events.to_string().as_bytes()))?;
            found.extend(read.into_iter().filter(|it| keys.contains(&it.pubkey)));
            from = to + 1;
        }
        Ok(found)
    }

    /// One call. The inner error is the client's own.
    async fn call(
        &self,
        client: &Client,
        method: &str,
        parameters: Value,
    ) -> Result<Result<Value, RpcError>, ExecutionError> {
        self.call_for(client, method, parameters, MAX_ANSWER_BYTES)
            .await
    }

    async fn call_for(
        &self,
        client: &Client,
        method: &str,
        parameters: Value,
        most: usize,
    ) -> Result<Result<Value, RpcError>, ExecutionError> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters});
        let response = client
            .post(self.0.url().clone())
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string())
            .send()
            .await
            .map_err(|error| failed(self.0.call_fault(error), most))?;
        let status = response.status();
        let is_success = status.is_success();
        let bytes = match self.0.read(response, most).await {
            Ok(bytes) => bytes,
            Err(_) if !is_success => return Err(ExecutionError::Status(status.as_u16())),
            Err(fault) => return Err(failed(fault, most)),
        };
        let answer: Result<Value, _> = serde_json::from_slice(&bytes);
        // Some give errors of JSON-RPC with a status of HTTP; redirects are no answers whatever they carry.
        match answer {
            Ok(Value::Object(mut answer)) if is_success || status.is_client_error() => {
                if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
                    return Ok(Err(RpcError::of(error)));
                }
                match answer.remove("result") {
                    Some(result) if is_success => Ok(Ok(result)),
                    Some(_) | None if !is_success => Err(ExecutionError::Status(status.as_u16())),
                    Some(_) | None => Err(self.nonsense(&bytes)),
                }
            }
            Ok(_) | Err(_) if !is_success => Err(ExecutionError::Status(status.as_u16())),
            Ok(_) | Err(_) => Err(self.nonsense(&bytes)),
        }
    }
}

/// What a call came to of whose answer so many bytes are read.
fn failed(fault: CallFault, most: usize) -> ExecutionError {
    match fault {
        CallFault::TimedOut => ExecutionError::TimedOut,
        CallFault::Unreachable(reason) => ExecutionError::Unreachable(reason),
        CallFault::TooLarge => ExecutionError::TooLarge(most),
    }
}

/// An error as JSON-RPC has it.
struct RpcError {
    code: i64,
    /// As it came: see [`RpcUrl::shown`].
    message: String,
}

impl RpcError {
    fn of(error: &Value) -> Self {
        let message = error.get("message").and_then(Value::as_str);
        Self {
            code: error
                .get("code")
                .and_then(Value::as_i64)
                .unwrap_or_default(),
            message: message.unwrap_or("without a reason").to_owned(),
        }
    }

    /// Whether the contract refused and not the client. Older clients use other codes than [`REVERTED`].
    fn is_revert(&self) -> bool {
        self.code == REVERTED || self.message.to_lowercase().contains("revert")
    }
}

/// A quantity of JSON-RPC.
fn number(value: &Value) -> Option<u64> {
    let digits = value.as_str()?.strip_prefix("0x")?;
    u64::from_str_radix(digits, 16).ok()
}
