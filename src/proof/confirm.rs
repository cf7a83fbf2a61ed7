//! Receipts against a cluster lock: who has everything, and who is missing or differs in what.
//!
//! The lock is the truth where it speaks: who the operators are, their ENR keys, how many validators there are, the
//! definition hash. Deposit data files are measured against those of the directory at hand if there is one. Where there is
//! nothing to measure against, receipts are compared with each other, and a difference is held against all that differ:
//! three against one is no proof of who is right.
//!
//! The order of the receipts and how often one is given make no difference.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::cluster::Cluster;
use crate::line::{Broken, LineError, LineKind};
use crate::receipt::{
    CharonImage, DepositFiles, PROGRAM_EXPECTED, Receipt, Statement, program_seen,
};
use crate::said::{Said, sort_lines};
use crate::verify::Verified;
use charon_files::cluster::names::FileDigest;
use charon_files::cluster::{CharonVersion, DefinitionHash, LockHash, NodeIndex};
use charon_files::finding::{Finding, Weight};

/// Name and version of the JSON form. The number changes when a field is removed or changes its meaning; new fields may
/// appear without.
pub const SCHEMA: &str = "charon-dkg.confirm/1";

/// What is known from one's own files.
#[derive(Debug, Clone)]
pub struct Own {
    node: Option<NodeIndex>,
    files: Vec<FileDigest>,
    deposit_files: DepositFiles,
}

impl Own {
    /// What a proved data directory knows.
    pub fn of(verified: &Verified) -> Self {
        Self {
            node: Some(verified.node_index()),
            ..Self::of_files(&verified.deposit_data())
        }
    }

    /// What somebody without a node knows who has the deposit data files, proved against the lock.
    pub fn of_files(files: &[FileDigest]) -> Self {
        Self {
            node: None,
            files: files.to_vec(),
            deposit_files: DepositFiles::of(files),
        }
    }

    /// Whether these are more files, with all of ours among them. Somebody without a node may have been sent only some.
    fn is_part_of(&self, files: &DepositFiles) -> bool {
        self.node.is_none()
            && files.count() > self.deposit_files.count()
            && files.names_of_others(&self.files).is_empty()
    }
}

/// The state of one operator. Everything but the first keeps the gate shut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// A receipt of this operator's key for this lock, in agreement with all that is known.
    Valid,
    /// No receipt at all.
    Missing,
    /// A receipt for this lock in this operator's name, and no signature by this operator's key.
    WrongKey,
    /// The operator's latest receipt is for another cluster lock.
    OtherLock,
    /// The right lock hash, together with something that the lock refutes.
    ContradictsLock,
    /// Other deposit data files.
    OtherDeposits,
    /// Made by another line of charon releases. Programs know it by the name that it had first.
    #[serde(rename = "other-image")]
    OtherRelease,
    /// Two receipts that do not agree with each other.
    Conflicting,
}

impl Status {
    /// What people read in the table.
    pub const fn text(self) -> &'static str {
        match self {
            Status::Valid => "valid",
            Status::Missing => "MISSING",
            Status::WrongKey => "WRONG KEY",
            Status::OtherLock => "OTHER LOCK",
            Status::ContradictsLock => "CONTRADICTS LOCK",
            Status::OtherDeposits => "OTHER DEPOSITS",
            Status::OtherRelease => "OTHER RELEASE",
            Status::Conflicting => "CONFLICTING",
        }
    }

    /// The same within a sentence.
    const fn words(self) -> &'static str {
        match self {
            Status::Valid => "valid",
            Status::Missing => "no receipt",
            Status::WrongKey => "receipt signed by another key",
            Status::OtherLock => "receipt for another cluster lock",
            Status::ContradictsLock => "receipt that contradicts the cluster lock",
            Status::OtherDeposits => "other deposit data files",
            Status::OtherRelease => "another line of charon releases",
            Status::Conflicting => "receipts that contradict each other",
        }
    }

    const fn check(self) -> &'static str {
        match self {
            Status::Valid => "receipt-valid",
            Status::Missing => "receipt-missing",
            Status::WrongKey => "receipt-key",
            Status::OtherLock => "receipt-lock",
            Status::ContradictsLock => "receipt-contradicts-lock",
            Status::OtherDeposits => "receipt-deposits",
            Status::OtherRelease => "receipt-image",
            Status::Conflicting => "receipt-conflict",
        }
    }
}

/// One operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorLine {
    /// Whose node.
    pub node: NodeIndex,
    /// The address as written in the definition; empty in an unsigned definition.
    pub address: String,
    /// The first of the problems, or [`Status::Valid`].
    pub status: Status,
    /// The newest receipt for this lock that this operator signed, if there is one.
    pub receipt: Option<Receipt>,
    /// Everything that is worth knowing, problems first.
    pub findings: Vec<Finding>,
}

/// What the receipts amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    lock_hash: LockHash,
    definition_hash: DefinitionHash,
    operators: Vec<OperatorLine>,
    evidence: Vec<Receipt>,
    strangers: Vec<Receipt>,
}

impl<'a> Said<'a, Statement> {
    /// The receipt that counts, as long as no other contradicts it.
    fn chosen(&self) -> Option<&'a Receipt> {
        self.here.last().copied()
    }

    /// The newest that does not agree with it.
    fn conflict(&self) -> Option<&'a Receipt> {
        let chosen = self.chosen()?.statement();
        let mut newest_first = self.here.iter().rev().copied();
        newest_first.find(|other| !other.statement().agrees_with(chosen))
    }

    /// A receipt for another lock that is not older than the one for this.
    fn moved_on(&self) -> Option<&'a Receipt> {
        let latest = self.elsewhere.last().copied()?;
        let chosen = self.chosen().map(|receipt| receipt.statement().time);
        chosen
            .is_none_or(|time| time <= latest.statement().time)
            .then_some(latest)
    }
}

/// Judges receipts by a verified cluster lock and, if there are any, one's own files.
pub fn confirm(cluster: &Cluster, receipts: &[Receipt], own: Option<&Own>) -> Confirmation {
    let (said, strangers) = sort_lines(cluster.operators(), receipts, |statement| {
        statement.lock_hash == cluster.lock_hash()
    });
    let judge = Judge::new(cluster, own, &said);
    let evidence = said
        .iter()
        .flat_map(|said| [said.conflict(), said.chosen(), said.moved_on()])
        .flatten();
    Confirmation {
        lock_hash: cluster.lock_hash(),
        definition_hash: cluster.definition_hash(),
        operators: said
            .iter()
            .enumerate()
            .map(|(position, said)| judge.line(NodeIndex::new(position), said))
            .collect(),
        evidence: evidence.cloned().collect(),
        strangers: strangers.into_iter().cloned().collect(),
    }
}

/// What one receipt is measured against.
struct Judge<'a> {
    cluster: &'a Cluster,
    own: Option<&'a Own>,
    /// Who has which deposit data files.
    deposits: BTreeMap<(u16, [u8; 32]), Vec<NodeIndex>>,
    /// Who ran which release; nobody for whom it is not known.
    releases: BTreeMap<&'a CharonVersion, Vec<NodeIndex>>,
    /// Who ran which image from a registry.
    images: BTreeMap<[u8; 32], Vec<NodeIndex>>,
    /// The line that this directory's own receipt states.
    own_release: Option<&'a CharonVersion>,
}

impl<'a> Judge<'a> {
    fn new(cluster: &'a Cluster, own: Option<&'a Own>, said: &[Said<'a, Statement>]) -> Self {
        let mut judge = Self {
            cluster,
            own,
            deposits: BTreeMap::new(),
            releases: BTreeMap::new(),
            images: BTreeMap::new(),
            own_release: None,
        };
        for (position, said) in said.iter().enumerate() {
            let node = NodeIndex::new(position);
            // What somebody says who contradicts themselves is no measure for others.
            let (Some(receipt), None) = (said.chosen(), said.conflict()) else {
                continue;
            };
            let statement = receipt.statement();
            let files = &statement.deposit_files;
            let key = (files.count(), *files.digest());
            judge.deposits.entry(key).or_default().push(node);
            if let Some(version) = &statement.charon_version {
                judge.releases.entry(version).or_default().push(node);
                if own.is_some_and(|own| own.node == Some(node)) {
                    judge.own_release = Some(version);
                }
            }
            if let Some(CharonImage::Manifest(digest)) = statement.charon_image {
                judge.images.entry(digest).or_default().push(node);
            }
        }
        judge
    }

    fn line(&self, node: NodeIndex, said: &Said<'_, Statement>) -> OperatorLine {
        let mut line = Line {
            subject: self.cluster.name(node),
            status: Status::Valid,
            problems: Vec::new(),
            notes: Vec::new(),
        };
        if let (Some(one), Some(other)) = (said.conflict(), said.chosen()) {
            let (one, other) = (one.statement(), other.statement());
            line.problem(
                Status::Conflicting,
                format!(
                    "receipts of {} and {} with different {}",
                    time_text(one.time),
                    time_text(other.time),
                    differences(one, other).join(", ")
                ),
                "receipts that agree",
                "ask which one is right, and leave the other out",
            );
        }
        if let Some(latest) = said.moved_on() {
            let latest = latest.statement();
            line.problem(
                Status::OtherLock,
                format!(
                    "a receipt of {} for lock {}",
                    time_text(latest.time),
                    latest.lock_hash
                ),
                format!("lock {}", self.cluster.lock_hash()),
                "they hold the files of another ceremony: compare the lock hashes before anyone starts",
            );
        } else if !said.elsewhere.is_empty() {
            line.note(
                Status::OtherLock,
                "older receipts for other locks",
                "receipts for this lock",
            );
        }
        if let Some(receipt) = said.chosen() {
            self.check_against_lock(receipt.statement(), &mut line);
            self.check_deposits(node, receipt.statement(), &mut line);
            self.check_release(node, receipt.statement(), &mut line);
        }
        for (receipt, signer) in &said.forged {
            let seen = match signer {
                Some(signer) => format!("a receipt signed by {}", self.cluster.name(*signer)),
                None => "a receipt not signed by any operator of this cluster".to_owned(),
            };
            let seen = format!("{seen}, of {}", time_text(receipt.statement().time));
            let expected = "the signature of this operator's ENR key";
            if said.chosen().is_some() || said.moved_on().is_some() {
                line.note(Status::WrongKey, seen, expected);
            } else {
                line.problem(
                    Status::WrongKey,
                    seen,
                    expected,
                    "ask them for the receipt that their own machine prints",
                );
            }
        }
        if line.status == Status::Valid && said.chosen().is_none() {
            line.problem(
                Status::Missing,
                "no receipt",
                "a receipt",
                "ask them for the line that `docker charon-dkg receipt` prints",
            );
        }
        line.problems.append(&mut line.notes);
        OperatorLine {
            node,
            address: self.cluster.operators().address(node).to_owned(),
            status: line.status,
            receipt: said.chosen().cloned(),
            findings: line.problems,
        }
    }

    fn check_against_lock(&self, statement: &Statement, line: &mut Line) {
        let cluster = self.cluster;
        let validators = cluster.validator_count();
        for (what, seen, expected) in [
            (
                "definition hash",
                statement.definition_hash.to_string(),
                cluster.definition_hash().to_string(),
            ),
            (
                "operators",
                statement.operators.to_string(),
                cluster.operator_count().to_string(),
            ),
            (
                "keystores",
                statement.keystores.to_string(),
                validators.to_string(),
            ),
        ] {
            if seen != expected {
                line.problem(
                    Status::ContradictsLock,
                    format!("{what}: {seen}"),
                    format!("{what}: {expected}"),
                    "they must not start: have them run `docker charon-dkg verify`",
                );
            }
        }
    }

    fn check_deposits(&self, node: NodeIndex, statement: &Statement, line: &mut Line) {
        let files = &statement.deposit_files;
        let own = self.own.filter(|own| !own.is_part_of(files));
        let (expected, others) = match own {
            Some(own) if own.deposit_files == *files => return,
            Some(own) => {
                let names = files.names_of_others(&own.files);
                let names = if names.is_empty() {
                    String::new()
                } else {
                    format!("; not alike: {}", names.join(", "))
                };
                (describe(&own.deposit_files), names)
            }
            None if self.deposits.len() < 2 => return,
            None => {
                let others: Vec<String> = self
                    .deposits
                    .values()
                    .filter(|nodes| !nodes.contains(&node))
                    .map(|nodes| numbers(nodes))
                    .collect();
                let others = format!("; unlike {}", others.join(" and "));
                ("the same files for every operator".to_owned(), others)
            }
        };
        line.problem(
            Status::OtherDeposits,
            format!("{}{others}", describe(files)),
            expected,
            "do not deposit until it is clear whose files are right: `charon-dkg verify` proves them against the lock",
        );
    }

    fn check_release(&self, node: NodeIndex, statement: &Statement, line: &mut Line) {
        let Some(version) = &statement.charon_version else {
            line.note(
                Status::OtherRelease,
                "no charon release, since the ceremony was not run with this program",
                "a release",
            );
            return;
        };
        let reference = self.own_release.or_else(|| {
            let mut others = self.releases.keys();
            others.find(|other| !other.same_line(version)).copied()
        });
        if let Some(other) = reference.filter(|other| !other.same_line(version)) {
            let who = self.releases.get(other).map_or(&[][..], Vec::as_slice);
            line.problem(
                Status::OtherRelease,
                format!("charon {version}"),
                format!("the line of charon {other}, which {} ran", numbers(who)),
                "nodes of different release lines cannot form a cluster: compare what each operator ran",
            );
            return;
        }
        if self.releases.len() > 1 {
            line.note(
                Status::OtherRelease,
                format!("charon {version}; others ran another patch of the same line"),
                "the same release for every operator",
            );
        }
        match statement.charon_image {
            Some(CharonImage::Manifest(digest)) => {
                let same = self
                    .images
                    .get(&digest)
                    .is_some_and(|it| it.contains(&node));
                if same && self.images.len() > 1 {
                    line.note(
                        Status::OtherRelease,
                        format!("image sha256:{}", hex::encode(digest)),
                        "the same image for every operator",
                    );
                }
            }
            Some(CharonImage::Local(id)) => line.note(
                Status::OtherRelease,
                format!(
                    "image sha256:{}, which no registry vouches for",
                    hex::encode(id)
                ),
                "an image from a registry",
            ),
            Some(CharonImage::Binary(digest)) => line.note(
                Status::OtherRelease,
                program_seen(&digest),
                PROGRAM_EXPECTED,
            ),
            None => {}
        }
    }
}

struct Line {
    subject: String,
    status: Status,
    problems: Vec<Finding>,
    notes: Vec<Finding>,
}

impl Line {
    fn problem(
        &mut self,
        status: Status,
        seen: impl Into<String>,
        expected: impl Into<String>,
        advice: &str,
    ) {
        if self.status == Status::Valid {
            self.status = status;
        }
        self.problems.push(Finding {
            check: status.check(),
            weight: match status {
                Status::Missing => Weight::CouldNotTell,
                Status::Valid
                | Status::WrongKey
                | Status::OtherLock
                | Status::ContradictsLock
                | Status::OtherDeposits
                | Status::OtherRelease
                | Status::Conflicting => Weight::Fail,
            },
            subject: self.subject.clone(),
            seen: seen.into(),
            expected: expected.into(),
            advice: advice.to_owned(),
        });
    }

    fn note(&mut self, status: Status, seen: impl Into<String>, expected: impl Into<String>) {
        self.notes.push(Finding {
            check: status.check(),
            weight: Weight::Note,
            subject: self.subject.clone(),
            seen: seen.into(),
            expected: expected.into(),
            advice: String::new(),
        });
    }
}

/// `operator 3`, `operators 1, 2 and 4`.
pub(crate) fn numbers(nodes: &[NodeIndex]) -> String {
    let texts: Vec<String> = nodes
        .iter()
        .map(|node| (node.position() + 1).to_string())
        .collect();
    match texts.split_last() {
        None => "nobody".to_owned(),
        Some((only, [])) => format!("operator {only}"),
        Some((last, first)) => format!("operators {} and {last}", first.join(", ")),
    }
}

/// `operator 2 (0x…)`.
fn short_name(line: &OperatorLine) -> String {
    let number = line.node.position() + 1;
    if line.address.is_empty() {
        format!("operator {number}")
    } else {
        format!("operator {number} ({})", line.address)
    }
}

fn describe(files: &DepositFiles) -> String {
    format!(
        "{} with digest {}",
        charon_files::text::count(u64::from(files.count()), "deposit data file"),
        hex::encode(files.digest())
    )
}

fn differences(one: &Statement, other: &Statement) -> Vec<&'static str> {
    [
        (one.operators != other.operators, "numbers of operators"),
        (
            one.definition_hash != other.definition_hash,
            "definition hashes",
        ),
        (one.keystores != other.keystores, "numbers of keystores"),
        (
            one.deposit_files != other.deposit_files,
            "deposit data files",
        ),
        (
            one.charon_version != other.charon_version,
            "charon releases",
        ),
        (one.charon_image != other.charon_image, "images"),
    ]
    .into_iter()
    .filter_map(|(differs, what)| differs.then_some(what))
    .collect()
}

/// `2026-11-22T18:12:00Z`, or the bare seconds where no calendar reaches.
pub fn time_text(seconds: u64) -> String {
    let timestamp = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok());
    timestamp.map_or_else(
        || format!("{seconds} seconds of Unix time"),
        |timestamp| timestamp.to_string(),
    )
}

impl Confirmation {
    /// Whether everybody has everything: a valid receipt of every operator, and nothing that speaks against it.
    pub fn is_complete(&self) -> bool {
        !self.operators.is_empty()
            && self
                .operators
                .iter()
                .all(|line| line.status == Status::Valid && line.receipt.is_some())
    }

    /// Hash of the lock that everybody was measured against.
    pub const fn lock_hash(&self) -> LockHash {
        self.lock_hash
    }

    /// Every operator, in order.
    pub fn operators(&self) -> &[OperatorLine] {
        &self.operators
    }

    /// Receipts of other clusters, or of nobody.
    pub fn strangers(&self) -> &[Receipt] {
        &self.strangers
    }

    /// How many operators have a valid receipt.
    pub fn valid_count(&self) -> usize {
        self.valid().count()
    }

    /// The valid receipts, in the order of the operators.
    pub fn valid(&self) -> impl Iterator<Item = &Receipt> {
        self.operators
            .iter()
            .filter(|line| line.status == Status::Valid)
            .filter_map(|line| line.receipt.as_ref())
    }

    /// One line for people: how many have everything, and what is with the others.
    pub fn summary(&self) -> String {
        let count = self.operators.len();
        if self.is_complete() {
            return format!("{count} of {count} operators have everything, and all have the same");
        }
        let mut others: Vec<(Status, Vec<&OperatorLine>)> = Vec::new();
        for line in self
            .operators
            .iter()
            .filter(|it| it.status != Status::Valid)
        {
            match others.iter_mut().find(|(status, _)| *status == line.status) {
                Some((_, lines)) => lines.push(line),
                None => others.push((line.status, vec![line])),
            }
        }
        let others: Vec<String> = others
            .into_iter()
            .map(|(status, lines)| {
                let names: Vec<String> = lines.into_iter().map(short_name).collect();
                format!("{}: {}", status.words(), names.join(", "))
            })
            .collect();
        format!(
            "{} of {count} operators have everything; {}",
            self.valid_count(),
            others.join("; ")
        )
    }

    /// As few receipts as lead to the same answer for every operator, the bad ones included: what is to be kept, so that a
    /// conflict seen once is not forgotten.
    pub fn evidence(&self) -> &[Receipt] {
        &self.evidence
    }

    /// The receipts of all operators, if every operator has everything: one a line, to pass on. Anybody who has the lock
    /// comes to the same result from them.
    pub fn bundle(&self) -> Option<String> {
        let lines: Vec<String> = self.valid().map(Receipt::to_string).collect();
        self.is_complete().then(|| lines.join("\n"))
    }

    /// Everything that is worth knowing, operator by operator, then what came from elsewhere.
    pub fn findings(&self) -> Vec<Finding> {
        let strangers = self.strangers.iter().map(|receipt| Finding {
            check: "receipt-stranger",
            weight: Weight::Note,
            subject: format!("a receipt for lock {}", receipt.statement().lock_hash),
            seen: "not signed by any operator of this cluster".to_owned(),
            expected: "receipts of this cluster's operators".to_owned(),
            advice: String::new(),
        });
        self.operators
            .iter()
            .flat_map(|line| line.findings.iter().cloned())
            .chain(strangers)
            .collect()
    }

    /// The document for programs, together with what else was found on the way to it.
    pub fn document(&self, others: &[Finding]) -> Document {
        let mut findings = self.findings();
        findings.extend_from_slice(others);
        Document {
            schema: SCHEMA,
            confirmed: self.is_complete(),
            lock_hash: self.lock_hash.to_string(),
            definition_hash: self.definition_hash.to_string(),
            operators: self.operators.iter().map(OperatorDocument::of).collect(),
            findings,
            bundle: self.bundle(),
        }
    }
}

/// What to say about a text that looks like a line but is not one. It changes no verdict: either the operator's line is
/// there in full too, or it is missing. `source` is where the text came from.
pub fn broken_finding(source: &str, broken: &Broken) -> Finding {
    let claim = broken.claim.map_or_else(String::new, |(node, operators)| {
        format!(", which says {}", node.of(operators))
    });
    Finding {
        check: text_check(broken.kind),
        weight: Weight::Note,
        subject: format!("{source}, line {}{claim}", broken.line),
        seen: broken.error.text(broken.kind),
        expected: format!("a complete {}", broken.kind.name()),
        advice: match broken.error {
            LineError::OtherFormat(_) => "use a newer version of this program",
            LineError::NotALine
            | LineError::Clipped { .. }
            | LineError::TooLong { .. }
            | LineError::Stray { .. }
            | LineError::Altered
            | LineError::Malformed(_) => "copy the whole line again from where it was printed",
        }
        .to_owned(),
    }
}

/// A text that was given and changes nothing.
pub fn without_lines(source: &str, kind: LineKind) -> Finding {
    Finding {
        check: text_check(kind),
        weight: Weight::Note,
        subject: source.to_owned(),
        seen: format!("no {} in it", kind.name()),
        expected: format!("{}s, which begin with {}", kind.name(), kind.beginning()),
        advice: "check that this is the right file and that the chat was copied as text".to_owned(),
    }
}

const fn text_check(kind: LineKind) -> &'static str {
    match kind {
        LineKind::Receipt => "receipt-text",
        LineKind::Ready => "ready-text",
        LineKind::Stopped => "stopped-text",
    }
}

/// What `confirm --format json` prints.
#[derive(Debug, Clone, Serialize)]
pub struct Document {
    schema: &'static str,
    confirmed: bool,
    lock_hash: String,
    definition_hash: String,
    operators: Vec<OperatorDocument>,
    findings: Vec<Finding>,
    bundle: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
struct OperatorDocument {
    index: usize,
    operator: usize,
    address: String,
    status: Status,
    receipt: Option<ReceiptDocument>,
}

impl OperatorDocument {
    fn of(line: &OperatorLine) -> Self {
        Self {
            index: line.node.position(),
            operator: line.node.position() + 1,
            address: line.address.clone(),
            status: line.status,
            receipt: line.receipt.as_ref().map(ReceiptDocument::of),
        }
    }
}

/// A receipt's content for programs.
#[derive(Debug, Clone, Serialize)]
pub struct ReceiptDocument {
    text: String,
    index: usize,
    operators: u16,
    lock_hash: String,
    definition_hash: String,
    keystores: u32,
    deposit_files: u16,
    deposit_files_digest: String,
    charon_image: Option<String>,
    charon_version: Option<String>,
    program_version: String,
    time: String,
}

impl ReceiptDocument {
    /// The content of a receipt.
    pub fn of(receipt: &Receipt) -> Self {
        let statement = receipt.statement();
        Self {
            text: receipt.to_string(),
            index: statement.node.position(),
            operators: statement.operators,
            lock_hash: statement.lock_hash.to_string(),
            definition_hash: statement.definition_hash.to_string(),
            keystores: statement.keystores,
            deposit_files: statement.deposit_files.count(),
            deposit_files_digest: format!(
                "sha256:{}",
                hex::encode(statement.deposit_files.digest())
            ),
            charon_image: statement.charon_image.map(|image| image.to_string()),
            charon_version: statement.charon_version.as_ref().map(ToString::to_string),
            program_version: statement.program_version.clone(),
            time: time_text(statement.time),
        }
    }
}
