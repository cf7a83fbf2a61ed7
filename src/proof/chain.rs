//! What the chain knows of validators: the answers of a beacon node and of an execution client, read and weighed. Nothing
//! here asks anybody.
//!
//! The answers are those of the standard Beacon API (ethereum/beacon-APIs v2.5 and later, pending deposits from Electra on)
//! and of `eth_getLogs` for the deposit contract's `DepositEvent`.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use charon_files::cluster::{DepositData, Gwei, Network};
use charon_files::finding::{Finding, Weight};
use charon_files::keys::bls::{self, PublicKey, Signature};

/// keccak256("DepositEvent(bytes,bytes,bytes,bytes,bytes)"), the topic of the deposit contract's only event.
pub const DEPOSIT_EVENT: &str =
    "0x649bbc62d0e31342afea4e5cd82d4049e7e1ee912fc0889aa790803be39038c5";

/// Most findings of one kind; the first few tell what is wrong.
const MAX_FINDINGS: usize = 16;

/// A public key of a validator.
pub type Pubkey = [u8; 48];

/// The state of a validator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// The chain knows nothing of it.
    Unknown,
    /// Deposited, and not active yet.
    Pending,
    /// It has duties.
    Active,
    /// It has exited.
    Exited,
}

impl Standing {
    /// In a word.
    pub const fn text(self) -> &'static str {
        match self {
            Standing::Unknown => "unknown",
            Standing::Pending => "pending",
            Standing::Active => "active",
            Standing::Exited => "exited",
        }
    }

    /// The status names of the Beacon API.
    fn of(status: &str) -> Option<Self> {
        match status {
            "pending_initialized" | "pending_queued" => Some(Standing::Pending),
            "active_ongoing" | "active_exiting" | "active_slashed" => Some(Standing::Active),
            "exited_unslashed" | "exited_slashed" | "withdrawal_possible" | "withdrawal_done" => {
                Some(Standing::Exited)
            }
            _ => None,
        }
    }
}

/// A validator of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnChain {
    /// Its number.
    pub index: u64,
    /// As the Beacon API names it: `active_ongoing`.
    pub status: String,
    /// The same, roughly.
    pub standing: Standing,
    /// Its withdrawal credentials.
    pub credentials: [u8; 32],
    /// Its balance.
    pub balance: Gwei,
}

/// Everything that the chain said.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    /// Whether a beacon node answered about validators.
    pub beacon: bool,
    /// Whether a beacon node answered about pending deposits.
    pub queue: bool,
    /// Whether an execution client answered about recent deposits.
    pub events: bool,
    /// The validators among those that were asked about.
    pub validators: HashMap<Pubkey, OnChain>,
    /// Deposits that the beacon chain has accepted and not credited yet.
    pub queued: HashMap<Pubkey, Vec<DepositData>>,
    /// Recent deposits by the deposit contract's events.
    pub announced: HashMap<Pubkey, Vec<DepositData>>,
    /// What could not be asked, and answers of another chain.
    pub findings: Vec<Finding>,
}

/// A validator to be judged.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its public key.
    pub pubkey: Pubkey,
    /// `validator 3`.
    pub name: String,
    /// The withdrawal credentials that it must have; `None` if the definition has no address.
    pub credentials: Option<[u8; 32]>,
    /// What is to be deposited; nothing if nobody is about to.
    pub payment: Option<Gwei>,
    /// Genesis fork version of the cluster's network.
    pub fork_version: [u8; 4],
}

/// The state of one validator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyLine {
    /// `validator 3`.
    pub validator: String,
    /// Its public key, `0x` and hexadecimal.
    pub pubkey: String,
    /// Its state.
    pub standing: Standing,
    /// The Beacon API's word for it, if the chain has it.
    pub status: Option<String>,
    /// Its number on the chain.
    pub index: Option<u64>,
    /// Its balance in Gwei.
    pub balance_gwei: Option<u64>,
    /// Deposits on their way to it, in Gwei.
    pub pending_gwei: u64,
}

/// Whether the keys can be given up for those of a new ceremony.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NewCeremony {
    /// The chain knows none of them.
    Clean,
    /// At least one of them has, or will have, duties or money.
    InUse,
    /// It could not be asked about all of them.
    CouldNotTell,
}

/// What the chain says of a cluster's validators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standings {
    /// Whether these keys may make way for a new ceremony.
    pub new_ceremony: NewCeremony,
    /// Every validator, in the order of the lock.
    pub validators: Vec<KeyLine>,
}

impl Standings {
    /// `1 active, 2 unknown`.
    pub fn summary(&self) -> String {
        let all = [
            Standing::Active,
            Standing::Pending,
            Standing::Exited,
            Standing::Unknown,
        ];
        let parts: Vec<String> = all
            .into_iter()
            .filter_map(|standing| {
                let count = self
                    .validators
                    .iter()
                    .filter(|line| line.standing == standing)
                    .count();
                (count > 0).then(|| format!("{count} {}", standing.text()))
            })
            .collect();
        parts.join(", ")
    }
}

fn finding(
    check: &'static str,
    weight: Weight,
    subject: impl Into<String>,
    seen: impl Into<String>,
    expected: impl Into<String>,
    advice: impl Into<String>,
) -> Finding {
    Finding {
        check,
        weight,
        subject: subject.into(),
        seen: seen.into(),
        expected: expected.into(),
        advice: advice.into(),
    }
}

impl Chain {
    /// Notes that somebody could not be asked.
    pub fn could_not_ask(&mut self, check: &'static str, who: &str, reason: String) {
        self.findings.push(finding(
            check,
            Weight::CouldNotTell,
            who,
            reason,
            "an answer about these validators",
            "ask again later, or name another one; until then it is unknown whether someone has already deposited",
        ));
    }

    /// Notes that somebody answered for another chain.
    pub fn other_chain(&mut self, check: &'static str, who: &str, seen: String, expected: String) {
        self.findings.push(finding(
            check,
            Weight::Fail,
            who,
            seen,
            expected,
            "name one of the cluster's network",
        ));
    }

    /// What it says of these validators, and everything that speaks against paying for them. What could not be asked is
    /// among the findings.
    pub fn judge(&self, keys: &[Key]) -> (Standings, Vec<Finding>) {
        let mut findings = self.findings.clone();
        let mut judged = Vec::new();
        let lines: Vec<KeyLine> = keys
            .iter()
            .map(|key| self.judge_key(key, &mut judged))
            .collect();
        let mut kept: BTreeMap<(&str, Weight), usize> = BTreeMap::new();
        let mut more: Vec<((&'static str, Weight), usize)> = Vec::new();
        for found in judged {
            let kind = (found.check, found.weight);
            let count = kept.entry(kind).or_default();
            *count += 1;
            if *count <= MAX_FINDINGS {
                findings.push(found);
            } else {
                match more.iter_mut().find(|(other, _)| *other == kind) {
                    Some((_, count)) => *count += 1,
                    None => more.push((kind, 1)),
                }
            }
        }
        for ((check, weight), count) in more {
            let subject = format!("{count} more");
            findings.push(finding(check, weight, subject, "the same as above", "", ""));
        }
        let new_ceremony = if lines.iter().any(|line| {
            matches!(line.standing, Standing::Pending | Standing::Active)
                || line.balance_gwei.is_some_and(|balance| balance > 0)
        }) {
            NewCeremony::InUse
        } else if self.beacon && self.queue {
            NewCeremony::Clean
        } else {
            NewCeremony::CouldNotTell
        };
        let standings = Standings {
            new_ceremony,
            validators: lines,
        };
        (standings, findings)
    }

    fn judge_key(&self, key: &Key, findings: &mut Vec<Finding>) -> KeyLine {
        let subject = format!("{} (0x{})", key.name, hex::encode(key.pubkey));
        let of = |map: &HashMap<Pubkey, Vec<DepositData>>| {
            map.get(&key.pubkey).cloned().unwrap_or_default()
        };
        let token = Network::token_of(key.fork_version);
        let (queued, announced) = (of(&self.queued), of(&self.announced));
        let validator = self.validators.get(&key.pubkey);
        // An event may be that of a deposit which is counted already.
        let pending = if validator.is_none() && queued.is_empty() {
            &announced
        } else {
            &queued
        };
        let is_expected = |seen: &[u8; 32]| is_same_address(key.credentials.as_ref(), seen);
        let mut held = 0_u64;
        if let Some(validator) = validator {
            if is_expected(&validator.credentials) {
                held = validator.balance.0;
            }
            if !is_expected(&validator.credentials) {
                findings.push(foreign(
                    key,
                    &subject,
                    &format!(
                        "VALIDATOR {} ({}) EXISTS ALREADY, WITH OTHER WITHDRAWAL CREDENTIALS: 0x{}",
                        validator.index,
                        validator.status,
                        hex::encode(validator.credentials)
                    ),
                ));
            } else if key.payment.is_some() {
                findings.push(finding(
                    "chain-validator",
                    Weight::Note,
                    &subject,
                    format!(
                        "validator {} ({}) exists already, with {} and the expected withdrawal address",
                        validator.index,
                        validator.status,
                        token.amount(validator.balance)
                    ),
                    "",
                    "find out who deposited, and whether the rest is still to be paid",
                ));
            }
        } else {
            // The first deposit with a valid signature decides on the credentials.
            let mut seen: Vec<&DepositData> = Vec::new();
            for deposit in queued.iter().chain(&announced) {
                if seen.contains(&deposit) {
                    continue;
                }
                seen.push(deposit);
                if is_expected(&deposit.withdrawal_credentials) {
                    continue;
                }
                if is_signed(deposit, key.fork_version) {
                    findings.push(foreign(key, &subject, &format!(
                        "A DEPOSIT OF {} IS ON ITS WAY, WITH OTHER WITHDRAWAL CREDENTIALS: 0x{}",
                        token.amount(deposit.amount),
                        hex::encode(deposit.withdrawal_credentials)
                    )));
                } else {
                    findings.push(finding(
                        "chain-deposit",
                        Weight::Note,
                        &subject,
                        format!(
                            "a deposit of {} with other withdrawal credentials and without a valid signature",
                            token.amount(deposit.amount)
                        ),
                        "",
                        "the chain drops it, and the money is lost",
                    ));
                }
            }
        }
        let on_the_way = pending
            .iter()
            .filter(|deposit| {
                validator.is_some_and(|validator| is_expected(&validator.credentials))
                    || (validator.is_none()
                        && is_expected(&deposit.withdrawal_credentials)
                        && is_signed(deposit, key.fork_version))
            })
            .fold(0_u64, |sum, deposit| sum.saturating_add(deposit.amount.0));
        if on_the_way > 0 && key.payment.is_some() {
            findings.push(finding(
                "chain-deposit",
                Weight::Note,
                &subject,
                format!("{} are on their way to it", token.amount(Gwei(on_the_way))),
                "",
                "find out who deposited, and whether the rest is still to be paid",
            ));
        }
        held = held.saturating_add(on_the_way);
        self.judge_payment(key, &subject, held, findings);
        let standing = match validator {
            Some(validator) => validator.standing,
            None if queued.is_empty() && announced.is_empty() => Standing::Unknown,
            None => Standing::Pending,
        };
        KeyLine {
            validator: key.name.clone(),
            pubkey: format!("0x{}", hex::encode(key.pubkey)),
            standing,
            status: validator.map(|validator| validator.status.clone()),
            index: validator.map(|validator| validator.index),
            balance_gwei: validator.map(|validator| validator.balance.0),
            pending_gwei: on_the_way,
        }
    }

    fn judge_payment(&self, key: &Key, subject: &str, held: u64, findings: &mut Vec<Finding>) {
        let Some(payment) = key.payment else {
            return;
        };
        let exited = self
            .validators
            .get(&key.pubkey)
            .is_some_and(|validator| validator.standing == Standing::Exited);
        if exited {
            findings.push(finding(
                "chain-exited",
                Weight::Fail,
                subject,
                "a validator that has exited",
                "one that can still become active",
                "do not deposit: this key is used up; run a new ceremony",
            ));
        }
        let token = Network::token_of(key.fork_version);
        let compounding = key.credentials.is_some_and(|it| it[0] == 0x02);
        let most = if compounding {
            Gwei::MAX_COMPOUNDING
        } else {
            Gwei::FULL
        };
        if held > 0 && held.saturating_add(payment.0) > most.0 {
            findings.push(finding(
                "chain-paid",
                Weight::Fail,
                subject,
                format!(
                    "{} there or on their way, and {} to be paid",
                    token.amount(Gwei(held)),
                    token.amount(payment)
                ),
                format!("at most {} in all", token.amount(most)),
                "do not deposit: someone has already paid; pay only what is missing, if anything",
            ));
        }
    }
}

fn foreign(key: &Key, subject: &str, seen: &str) -> Finding {
    let expected = key.credentials.map_or_else(
        || "NO DEPOSIT BY ANYBODY".to_owned(),
        |expected| format!("0x{}, OR NO DEPOSIT AT ALL", hex::encode(expected)),
    );
    finding(
        "chain-credentials",
        Weight::Fail,
        subject,
        seen,
        expected,
        "DO NOT DEPOSIT: SOMEONE ELSE DEPOSITED FIRST, AND EVERY FURTHER DEPOSIT FOR THIS KEY GOES TO THEM. Tell all operators and run a new ceremony",
    )
}

/// The kind may have changed: a validator can turn itself into a compounding one, and its address stays.
fn is_same_address(expected: Option<&[u8; 32]>, seen: &[u8; 32]) -> bool {
    expected.is_some_and(|expected| {
        expected == seen || (expected[0] == 0x01 && seen[0] == 0x02 && expected[1..] == seen[1..])
    })
}

fn is_signed(deposit: &DepositData, fork_version: [u8; 4]) -> bool {
    let key = PublicKey::parse(&deposit.pubkey);
    let signature = Signature::parse(&deposit.signature);
    match (key, signature) {
        (Ok(key), Ok(signature)) => {
            bls::verify(&key, &deposit.signing_root(fork_version), &signature)
        }
        (Err(_), _) | (_, Err(_)) => false,
    }
}

#[derive(Deserialize)]
struct Data<T> {
    data: T,
    /// A node says so whose execution client has not checked the blocks yet.
    #[serde(default)]
    execution_optimistic: bool,
}

/// When and on which fork the chain began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Genesis {
    /// Unix seconds.
    pub time: u64,
    /// The first fork version.
    pub fork_version: [u8; 4],
}

impl Genesis {
    /// Why this is not the network's chain, as seen and expected; `None` if it is.
    pub fn differs_from(&self, network: Network) -> Option<(String, String)> {
        if self.fork_version != network.fork_version {
            return Some((
                format!(
                    "a chain with genesis fork version 0x{}",
                    hex::encode(self.fork_version)
                ),
                format!("0x{}, that of {network}", hex::encode(network.fork_version)),
            ));
        }
        (!network.began_at(self.time)).then(|| {
            (
                format!("a chain that began at {} of Unix time", self.time),
                format!("the chain of {network}"),
            )
        })
    }
}

/// Reads an answer of `/eth/v1/beacon/genesis`; `None` if it is something else.
pub fn parse_genesis(bytes: &[u8]) -> Option<Genesis> {
    #[derive(Deserialize)]
    struct Answer {
        genesis_time: String,
        genesis_fork_version: String,
    }
    let answer: Data<Answer> = serde_json::from_slice(bytes).ok()?;
    Some(Genesis {
        time: answer.data.genesis_time.parse().ok()?,
        fork_version: bytes_of(&answer.data.genesis_fork_version)?,
    })
}

/// Reads an answer of `/eth/v1/node/syncing`: why the node does not know the head of the chain, or that it does; `None` if
/// it is something else.
pub fn parse_syncing(bytes: &[u8]) -> Option<Result<(), String>> {
    #[derive(Deserialize)]
    struct Answer {
        is_syncing: bool,
        sync_distance: String,
        #[serde(default)]
        is_optimistic: bool,
        #[serde(default)]
        el_offline: bool,
    }
    let answer = serde_json::from_slice::<Data<Answer>>(bytes).ok()?.data;
    let distance: u64 = answer.sync_distance.parse().ok()?;
    Some(if answer.is_syncing {
        Err(format!("still syncing, {distance} slots behind"))
    } else if answer.el_offline {
        Err("its execution client is offline".to_owned())
    } else if answer.is_optimistic {
        Err("its execution client has not checked the newest blocks yet".to_owned())
    } else {
        Ok(())
    })
}

/// Reads an answer about validators. `None` if it is something else, or not about those that were asked for.
pub fn parse_validators(bytes: &[u8], asked: &HashSet<Pubkey>) -> Option<Vec<(Pubkey, OnChain)>> {
    #[derive(Deserialize)]
    struct Answer {
        index: String,
        balance: String,
        status: String,
        validator: Inner,
    }
    #[derive(Deserialize)]
    struct Inner {
        pubkey: String,
        withdrawal_credentials: String,
    }
    let answer: Data<Vec<Answer>> = serde_json::from_slice(bytes).ok()?;
    if answer.execution_optimistic {
        return None;
    }
    let mut seen = HashSet::new();
    answer
        .data
        .into_iter()
        .map(|answer| {
            let pubkey: Pubkey = bytes_of(&answer.validator.pubkey)?;
            if !asked.contains(&pubkey) || !seen.insert(pubkey) {
                return None;
            }
            let validator = OnChain {
                index: answer.index.parse().ok()?,
                standing: Standing::of(&answer.status)?,
                status: answer.status,
                credentials: bytes_of(&answer.validator.withdrawal_credentials)?,
                balance: Gwei(answer.balance.parse().ok()?),
            };
            Some((pubkey, validator))
        })
        .collect()
}

/// Reads an answer about all pending deposits, and keeps those of the validators that were asked for. `None` if it is something else.
pub fn parse_pending(bytes: &[u8], asked: &HashSet<Pubkey>) -> Option<Vec<DepositData>> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        pubkey: &'a str,
        withdrawal_credentials: &'a str,
        amount: &'a str,
        signature: &'a str,
    }
    let answer: Data<Vec<Answer<'_>>> = serde_json::from_slice(bytes).ok()?;
    if answer.execution_optimistic {
        return None;
    }
    let mut found = Vec::new();
    for deposit in answer.data {
        let pubkey: Pubkey = bytes_of(deposit.pubkey)?;
        if asked.contains(&pubkey) {
            found.push(DepositData {
                pubkey,
                withdrawal_credentials: bytes_of(deposit.withdrawal_credentials)?,
                amount: Gwei(deposit.amount.parse().ok()?),
                signature: bytes_of(deposit.signature)?,
            });
        }
    }
    Some(found)
}

/// Reads the data of a `DepositEvent`: public key, credentials, amount in Gwei, signature and index, each as bytes in the
/// ABI's encoding, with integers in little-endian order. `None` if it is something else.
pub fn parse_event(data: &[u8]) -> Option<DepositData> {
    let word = |at: usize| -> Option<usize> {
        let word: [u8; 32] = data.get(at..at.checked_add(32)?)?.try_into().ok()?;
        let (high, low) = word.split_at(24);
        if high.iter().any(|byte| *byte != 0) {
            return None;
        }
        usize::try_from(u64::from_be_bytes(low.try_into().ok()?)).ok()
    };
    let field = |number: usize| -> Option<&[u8]> {
        let at = word(number * 32)?;
        let len = word(at)?;
        let start = at.checked_add(32)?;
        data.get(start..start.checked_add(len)?)
    };
    Some(DepositData {
        pubkey: field(0)?.try_into().ok()?,
        withdrawal_credentials: field(1)?.try_into().ok()?,
        amount: Gwei(u64::from_le_bytes(field(2)?.try_into().ok()?)),
        signature: field(3)?.try_into().ok()?,
    })
}

fn bytes_of<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text.strip_prefix("0x")?, &mut bytes).ok()?;
    Some(bytes)
}
