//! The state of a ceremony, for the person who coordinates it: the terms, every operator's ready line and receipt, what is
//! missing, and the one sentence to send to each.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cluster::Operators;
use crate::confirm::{Confirmation, OperatorLine, Status, numbers, time_text};
use crate::readiness::{Group, Readiness, ReadyOperator};
use crate::receipt::Receipt;
use charon_files::cluster::definition::{AddressPair, ValidatorAddresses};
use charon_files::cluster::network::Network;
use charon_files::cluster::token::Gwei;
use charon_files::cluster::{Definition, DepositFile, LockHash, NodeIndex, StakingToken};
use charon_files::finding::{Finding, Weight, first_seen};

/// Name and version of the JSON form. The number changes when a field is removed or changes its meaning; new fields may
/// appear without.
pub const SCHEMA: &str = "charon-dkg.board/1";

/// Its state as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Before the ceremony: somebody is missing or differs.
    NotReady,
    /// Before the ceremony: everybody is ready and all agree.
    Ready,
    /// After the ceremony: receipts are missing, or there is no lock yet to check them against.
    ReceiptsMissing,
    /// After the ceremony: somebody differs. Nobody may start.
    Stop,
    /// After the ceremony: everybody has everything.
    Confirmed,
}

impl Verdict {
    /// What people read first.
    pub const fn text(self) -> &'static str {
        match self {
            Verdict::NotReady => "NOT READY",
            Verdict::Ready => "READY",
            Verdict::ReceiptsMissing => "RECEIPTS MISSING",
            Verdict::Stop => "STOP",
            Verdict::Confirmed => "CONFIRMED",
        }
    }
}

/// What a board is drawn from.
#[derive(Debug, Clone, Copy)]
pub struct Drawing<'a> {
    /// The definition, checked on its own.
    pub definition: &'a Definition,
    /// Its operators.
    pub operators: &'a Operators,
    /// The ready lines, judged.
    pub readiness: &'a Group,
    /// All receipts that were given.
    pub receipts: &'a [Receipt],
    /// What the receipts amount to, if there is a verified lock of this definition.
    pub confirmation: Option<&'a Confirmation>,
    /// Deposit data files that were proved against the lock.
    pub deposits: &'a [DepositFile],
    /// What else was found on the way.
    pub others: &'a [Finding],
    /// When it is drawn, in seconds of Unix time.
    pub now: u64,
}

/// The board.
#[derive(Debug, Clone, Serialize)]
pub struct Board {
    schema: &'static str,
    /// Its state.
    pub verdict: Verdict,
    /// The same in a sentence.
    pub summary: String,
    /// When it was drawn, RFC 3339.
    pub drawn: String,
    /// What the operators agreed on.
    pub terms: Terms,
    /// Every operator, in order.
    pub operators: Vec<OperatorRow>,
    /// The deposits, if deposit data files were given.
    pub deposits: Option<Deposits>,
    /// All findings.
    pub findings: Vec<Finding>,
}

/// The terms of the cluster. Texts are as the definition has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Terms {
    /// Name of the cluster; may be empty.
    pub name: String,
    /// Network of the validators.
    pub network: String,
    /// Format version of the definition.
    pub definition_version: String,
    /// Number of operators.
    pub operators: usize,
    /// How many of them must sign.
    pub threshold: u64,
    /// Number of validators.
    pub validators: u64,
    /// Where the stake goes, each address once.
    pub withdrawal_addresses: Vec<String>,
    /// Where the priority fees go, each address once.
    pub fee_recipient_addresses: Vec<String>,
    /// The deposits of each validator in 10^9 Gwei, as charon's `--deposit-amounts` has them on every network: ETH, on Gnosis
    /// Chain a 32nd of one GNO. Empty if the release's default applies.
    pub deposit_amounts: Vec<String>,
    /// The same in Gwei.
    pub deposit_amounts_gwei: Vec<u64>,
    /// What is deposited, and how many Gwei are one of it.
    pub token: StakingToken,
    /// Recomputed, `0x` and 64 hexadecimal digits.
    pub definition_hash: String,
    /// Hash of the verified lock, if there is one.
    pub lock_hash: Option<String>,
}

impl Terms {
    /// The deposits of each validator, for people; `None` if the release's default applies.
    pub fn amounts(&self) -> Option<String> {
        let amounts = self.deposit_amounts_gwei.iter().copied().map(Gwei);
        let amounts: Vec<Gwei> = amounts.collect();
        (!amounts.is_empty()).then(|| self.token.amounts(&amounts, ", "))
    }
}

/// One operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperatorRow {
    /// Counted from 1.
    pub operator: usize,
    /// As written in the definition; empty in an unsigned one.
    pub address: String,
    /// The state of the ready line.
    pub ready: Cell,
    /// The state of the receipt.
    pub receipt: Cell,
    /// The one sentence to send to this operator.
    pub say: String,
}

/// The state of a line of an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// How it counts.
    pub mark: Mark,
    /// One or two words.
    pub text: String,
    /// More of it; may be empty.
    pub detail: String,
}

/// How a cell counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// It is there and in order.
    Good,
    /// It is not there, which may be its time.
    Open,
    /// It differs.
    Bad,
}

/// What the deposit data files amount to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deposits {
    /// How many deposits of which amount, the smallest first.
    pub amounts: Vec<DepositAmount>,
    /// How many deposits.
    pub count: u64,
    /// All of them, in 10^9 Gwei as in [`Terms::deposit_amounts`].
    pub total: String,
    /// The same in Gwei.
    pub total_gwei: u64,
}

/// Deposits of one amount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DepositAmount {
    /// In 10^9 Gwei.
    pub amount: String,
    /// The same in Gwei.
    pub amount_gwei: u64,
    /// How many.
    pub count: u64,
    /// All of them, in 10^9 Gwei.
    pub total: String,
    /// The same in Gwei.
    pub total_gwei: u64,
}

/// Draws the board.
pub fn draw(drawing: &Drawing<'_>) -> Board {
    let (verdict, summary) = verdict(drawing);
    let rows = drawing.operators.nodes().zip(drawing.readiness.operators());
    let mut findings = match drawing.confirmation {
        Some(confirmation) => confirmation.findings(),
        None => drawing.readiness.findings(),
    };
    findings.extend_from_slice(drawing.others);
    Board {
        schema: SCHEMA,
        verdict,
        summary,
        drawn: time_text(drawing.now),
        terms: terms(drawing),
        operators: rows
            .map(|(node, ready)| row(drawing, verdict, node, ready))
            .collect(),
        deposits: deposits(drawing.deposits),
        findings,
    }
}

fn verdict(drawing: &Drawing<'_>) -> (Verdict, String) {
    if let Some(confirmation) = drawing.confirmation {
        let is_open = |line: &&OperatorLine| line.status == Status::Missing;
        let open = confirmation.operators().iter().filter(is_open).count();
        let count = confirmation.operators().len();
        let verdict = if confirmation.is_complete() {
            Verdict::Confirmed
        } else if confirmation.valid_count() + open == count {
            Verdict::ReceiptsMissing
        } else {
            Verdict::Stop
        };
        return (verdict, confirmation.summary());
    }
    let given: Vec<NodeIndex> = drawing
        .operators
        .nodes()
        .filter(|node| !locks_of(drawing, *node).is_empty())
        .collect();
    if !given.is_empty() {
        let mut locks: Vec<LockHash> = Vec::new();
        for lock in given.iter().flat_map(|node| locks_of(drawing, *node)) {
            if !locks.contains(&lock) {
                locks.push(lock);
            }
        }
        let count = drawing.operators.count();
        let who = numbers(&given);
        return match locks.as_slice() {
            [lock] => (
                Verdict::ReceiptsMissing,
                format!(
                    "{} of {count} receipts are here ({who}), for lock {lock}; give the cluster lock with --lock to check them",
                    given.len()
                ),
            ),
            _ => (
                Verdict::Stop,
                format!("{who} sent receipts for different cluster locks: nobody may start"),
            ),
        };
    }
    if drawing.readiness.is_complete() {
        (Verdict::Ready, drawing.readiness.summary())
    } else {
        (Verdict::NotReady, drawing.readiness.summary())
    }
}

/// The locks that an operator's receipts for this definition name, by nothing but the operator's signature.
fn locks_of(drawing: &Drawing<'_>, node: NodeIndex) -> Vec<LockHash> {
    let mut locks = Vec::new();
    for receipt in drawing.receipts {
        let statement = receipt.statement();
        let is_theirs = statement.definition_hash == drawing.operators.definition_hash()
            && statement.node == node
            && drawing.operators.signer(receipt) == Some(node);
        if is_theirs && !locks.contains(&statement.lock_hash) {
            locks.push(statement.lock_hash);
        }
    }
    locks
}

fn terms(drawing: &Drawing<'_>) -> Terms {
    let definition = drawing.definition;
    let pairs: &[AddressPair] = match &definition.validators {
        ValidatorAddresses::Shared(pair) => std::slice::from_ref(pair),
        ValidatorAddresses::PerValidator(pairs) => pairs,
    };
    let each_once = |address: fn(&AddressPair) -> &String| {
        let mut found: Vec<String> = Vec::new();
        for address in pairs.iter().map(address) {
            if !address.is_empty() && !found.contains(address) {
                found.push(address.clone());
            }
        }
        found
    };
    let amounts = definition.deposit_amounts.as_deref().unwrap_or_default();
    Terms {
        name: definition.name.clone(),
        network: Network::by_fork_version(definition.fork_version)
            .map_or("unknown", |network| network.name)
            .to_owned(),
        definition_version: definition.version.to_string(),
        operators: definition.operators.len(),
        threshold: definition.threshold,
        validators: definition.num_validators,
        withdrawal_addresses: each_once(|pair| &pair.withdrawal_address),
        fee_recipient_addresses: each_once(|pair| &pair.fee_recipient_address),
        deposit_amounts: amounts.iter().copied().map(in_billions).collect(),
        deposit_amounts_gwei: amounts.iter().map(|amount| amount.0).collect(),
        token: Network::token_of(definition.fork_version),
        definition_hash: drawing.operators.definition_hash().to_string(),
        lock_hash: drawing
            .confirmation
            .map(|confirmation| confirmation.lock_hash().to_string()),
    }
}

fn row(
    drawing: &Drawing<'_>,
    verdict: Verdict,
    node: NodeIndex,
    ready: &ReadyOperator,
) -> OperatorRow {
    let confirmed = drawing
        .confirmation
        .and_then(|confirmation| confirmation.operators().get(node.position()));
    OperatorRow {
        operator: node.position() + 1,
        address: ready.address.clone(),
        ready: ready_cell(verdict, ready),
        receipt: receipt_cell(drawing, node, confirmed),
        say: say(drawing, verdict, ready, confirmed),
    }
}

fn ready_cell(verdict: Verdict, ready: &ReadyOperator) -> Cell {
    let is_over = match verdict {
        Verdict::NotReady | Verdict::Ready => false,
        Verdict::ReceiptsMissing | Verdict::Stop | Verdict::Confirmed => true,
    };
    let mark = match ready.status {
        Readiness::Ready => Mark::Good,
        Readiness::Missing | Readiness::TooOld | Readiness::EngineUnknown => Mark::Open,
        Readiness::WrongKey
        | Readiness::OtherDefinition
        | Readiness::ContradictsDefinition
        | Readiness::OtherRelease
        | Readiness::OtherImage
        | Readiness::OtherRelays
        | Readiness::OtherFlags
        | Readiness::ClockAhead => Mark::Bad,
    };
    let detail = match (mark, &ready.statement) {
        (Mark::Good, Some(statement)) => format!(
            "{}, charon {}",
            time_text(statement.time),
            statement.charon_version
        ),
        (Mark::Bad, _) => first_seen(&ready.findings),
        (Mark::Good | Mark::Open, _) => String::new(),
    };
    // After the ceremony nobody waits for a ready line any more.
    let text = match ready.status {
        Readiness::Missing if is_over => "none",
        Readiness::TooOld | Readiness::EngineUnknown if is_over => "before",
        Readiness::Ready
        | Readiness::Missing
        | Readiness::WrongKey
        | Readiness::OtherDefinition
        | Readiness::ContradictsDefinition
        | Readiness::OtherRelease
        | Readiness::OtherImage
        | Readiness::OtherRelays
        | Readiness::OtherFlags
        | Readiness::TooOld
        | Readiness::ClockAhead
        | Readiness::EngineUnknown => ready.status.text(),
    };
    Cell {
        mark,
        text: text.to_owned(),
        detail,
    }
}

fn receipt_cell(drawing: &Drawing<'_>, node: NodeIndex, confirmed: Option<&OperatorLine>) -> Cell {
    let Some(line) = confirmed else {
        let locks = locks_of(drawing, node);
        return match locks.as_slice() {
            [] => Cell {
                mark: Mark::Open,
                text: "none yet".to_owned(),
                detail: String::new(),
            },
            [lock] => Cell {
                mark: Mark::Open,
                text: "not checked".to_owned(),
                detail: format!("for lock {lock}"),
            },
            [..] => Cell {
                mark: Mark::Bad,
                text: "CONFLICTING".to_owned(),
                detail: "receipts for different locks".to_owned(),
            },
        };
    };
    let mark = match line.status {
        Status::Valid => Mark::Good,
        Status::Missing => Mark::Open,
        Status::WrongKey
        | Status::OtherLock
        | Status::ContradictsLock
        | Status::OtherDeposits
        | Status::OtherRelease
        | Status::Conflicting => Mark::Bad,
    };
    let detail = match (mark, &line.receipt) {
        (Mark::Good, Some(receipt)) => {
            let statement = receipt.statement();
            let keystores = u64::from(statement.keystores);
            format!(
                "{}, {}",
                time_text(statement.time),
                charon_files::text::count(keystores, "keystore")
            )
        }
        (Mark::Bad, _) => first_seen(&line.findings),
        (Mark::Good | Mark::Open, _) => String::new(),
    };
    Cell {
        mark,
        text: line.status.text().to_owned(),
        detail,
    }
}

/// The one sentence to send. Before the ceremony it is about the ready line, after it about the receipt.
fn say(
    drawing: &Drawing<'_>,
    verdict: Verdict,
    ready: &ReadyOperator,
    confirmed: Option<&OperatorLine>,
) -> String {
    let problem = |findings: &[Finding]| {
        let finding = findings.iter().find(|it| it.weight != Weight::Note);
        finding.map(|it| {
            // They type it where they are.
            let advice = it.advice.replace("`charon-dkg ", "`docker charon-dkg ");
            let advice = match advice.as_str() {
                "" => String::new(),
                advice => format!(" Please: {advice}."),
            };
            format!(
                "What you sent does not fit: {}. Expected: {}.{advice}",
                it.seen, it.expected
            )
        })
    };
    match verdict {
        Verdict::Confirmed => {
            "All operators hold the same complete files: back up, and start at the agreed time."
                .to_owned()
        }
        Verdict::ReceiptsMissing | Verdict::Stop => {
            let has_some = confirmed.is_none() && !locks_of(drawing, ready.node).is_empty();
            match confirmed.map(|line| (line.status, line)) {
                Some((Status::Valid, _)) => {
                    "Your receipt is here; do not start your node until every operator has confirmed."
                        .to_owned()
                }
                None if has_some => {
                    "Your receipt is here; do not start your node until every operator has confirmed."
                        .to_owned()
                }
                Some((Status::Missing, _)) | None => {
                    "Your receipt is missing: please run `docker charon-dkg receipt` and paste the line."
                        .to_owned()
                }
                Some((
                    Status::WrongKey
                    | Status::OtherLock
                    | Status::ContradictsLock
                    | Status::OtherDeposits
                    | Status::OtherRelease
                    | Status::Conflicting,
                    line,
                )) => problem(&line.findings).unwrap_or_default(),
            }
        }
        Verdict::Ready => {
            "All are ready: run `docker charon-dkg run` at the agreed time, with the same flags."
                .to_owned()
        }
        Verdict::NotReady => match ready.status {
            Readiness::Ready => {
                "You are ready; wait for the others, and do not start yet.".to_owned()
            }
            Readiness::Missing | Readiness::TooOld => {
                "Please run `docker charon-dkg ready` with this definition, and paste the line."
                    .to_owned()
            }
            Readiness::EngineUnknown => {
                "Your engine was not looked at: please run `docker charon-dkg ready` once more where the ceremony will run, in WSL 2 or on Linux, and paste the line."
                    .to_owned()
            }
            Readiness::WrongKey
            | Readiness::OtherDefinition
            | Readiness::ContradictsDefinition
            | Readiness::OtherRelease
            | Readiness::OtherImage
            | Readiness::OtherRelays
            | Readiness::OtherFlags
            | Readiness::ClockAhead => problem(&ready.findings).unwrap_or_default(),
        },
    }
}

/// In 10^9 Gwei, which are one ETH.
fn in_billions(amount: Gwei) -> String {
    StakingToken::ETH.number(amount)
}

fn deposits(files: &[DepositFile]) -> Option<Deposits> {
    let mut amounts: BTreeMap<Gwei, u64> = BTreeMap::new();
    for entry in files.iter().flat_map(|file| &file.entries) {
        *amounts.entry(entry.data.amount).or_default() += 1;
    }
    let total = amounts.iter().fold(0_u64, |sum, (Gwei(amount), count)| {
        sum.saturating_add(amount.saturating_mul(*count))
    });
    (!files.is_empty()).then(|| Deposits {
        count: amounts.values().sum(),
        total: in_billions(Gwei(total)),
        total_gwei: total,
        amounts: amounts
            .into_iter()
            .map(|(amount, count)| {
                let total = amount.0.saturating_mul(count);
                DepositAmount {
                    amount: in_billions(amount),
                    amount_gwei: amount.0,
                    count,
                    total: in_billions(Gwei(total)),
                    total_gwei: total,
                }
            })
            .collect(),
    })
}
