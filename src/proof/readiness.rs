//! Ready lines against a cluster definition: who is ready to start, and who is missing or differs in what.
//!
//! The definition says who the operators are and which keys they have. What it does not say is compared among the lines:
//! charon's release and image, the relays, the flags that all must share. There the many show the few what they differ
//! in; where there is no majority, a difference is held against everybody. The newest line of an operator counts.
//!
//! The order of the lines and how often one is given make no difference.

use serde::Serialize;

use crate::cluster::Operators;
use crate::confirm::{numbers, time_text};
use crate::ready::{List, ReadyLine, Statement};
use crate::receipt::{CharonImage, PROGRAM_EXPECTED, program_seen};
use crate::said::{Said, sort_lines};
use charon_files::cluster::{CharonVersion, DefinitionHash, NodeIndex};
use charon_files::finding::{Finding, Weight};

/// Name and version of the JSON form. The number changes when a field is removed or changes its meaning; new fields may
/// appear without.
pub const SCHEMA: &str = "charon-dkg.readiness/1";

/// A line that is older says little about today, in seconds.
const FRESH_SECONDS: u64 = 24 * 60 * 60;
/// Clocks may differ by so many seconds.
const CLOCK_SECONDS: u64 = 60;

/// The state of one operator. Everything but the first means that the group is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Readiness {
    /// A fresh line of this operator's key for this definition, in agreement with the others.
    Ready,
    /// No line at all.
    Missing,
    /// A line for this definition in this operator's name, and no signature by this operator's key.
    WrongKey,
    /// The operator's latest line is for another definition.
    OtherDefinition,
    /// The right definition hash, and another number of operators.
    ContradictsDefinition,
    /// Another line of charon releases.
    OtherRelease,
    /// Another image of the same release.
    OtherImage,
    /// Other relays.
    OtherRelays,
    /// Other values of the flags that all must share.
    OtherFlags,
    /// Signed more than a day ago.
    TooOld,
    /// Signed more than a minute in the future.
    ClockAhead,
    /// Signed where the engine was not looked at, as on Windows and macOS.
    EngineUnknown,
}

impl Readiness {
    /// What people read in the table.
    pub const fn text(self) -> &'static str {
        match self {
            Readiness::Ready => "ready",
            Readiness::Missing => "MISSING",
            Readiness::WrongKey => "WRONG KEY",
            Readiness::OtherDefinition => "OTHER DEFINITION",
            Readiness::ContradictsDefinition => "CONTRADICTS",
            Readiness::OtherRelease => "OTHER RELEASE",
            Readiness::OtherImage => "OTHER IMAGE",
            Readiness::OtherRelays => "OTHER RELAYS",
            Readiness::OtherFlags => "OTHER FLAGS",
            Readiness::TooOld => "TOO OLD",
            Readiness::ClockAhead => "CLOCK AHEAD",
            Readiness::EngineUnknown => "ENGINE UNKNOWN",
        }
    }

    /// The same within a sentence.
    const fn words(self) -> &'static str {
        match self {
            Readiness::Ready => "ready",
            Readiness::Missing => "no ready line",
            Readiness::WrongKey => "ready line signed by another key",
            Readiness::OtherDefinition => "ready line for another definition",
            Readiness::ContradictsDefinition => "ready line that contradicts the definition",
            Readiness::OtherRelease => "another line of charon releases",
            Readiness::OtherImage => "another image of the same release",
            Readiness::OtherRelays => "other relays",
            Readiness::OtherFlags => "other flags of charon",
            Readiness::TooOld => "ready line older than a day",
            Readiness::ClockAhead => "clock ahead",
            Readiness::EngineUnknown => "engine not looked at",
        }
    }

    const fn check(self) -> &'static str {
        match self {
            Readiness::Ready => "ready-valid",
            Readiness::Missing => "ready-missing",
            Readiness::WrongKey => "ready-key",
            Readiness::OtherDefinition => "ready-definition",
            Readiness::ContradictsDefinition => "ready-contradicts-definition",
            Readiness::OtherRelease => "ready-release",
            Readiness::OtherImage => "ready-image",
            Readiness::OtherRelays => "ready-relays",
            Readiness::OtherFlags => "ready-flags",
            Readiness::TooOld => "ready-age",
            Readiness::ClockAhead => "ready-clock",
            Readiness::EngineUnknown => "ready-engine",
        }
    }

    const fn weight(self) -> Weight {
        match self {
            Readiness::Missing | Readiness::TooOld | Readiness::EngineUnknown => {
                Weight::CouldNotTell
            }
            Readiness::Ready
            | Readiness::WrongKey
            | Readiness::OtherDefinition
            | Readiness::ContradictsDefinition
            | Readiness::OtherRelease
            | Readiness::OtherImage
            | Readiness::OtherRelays
            | Readiness::OtherFlags
            | Readiness::ClockAhead => Weight::Fail,
        }
    }
}

/// One operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyOperator {
    /// Whose node.
    pub node: NodeIndex,
    /// The address as written in the definition; empty in an unsigned definition.
    pub address: String,
    /// The first of the problems, or [`Readiness::Ready`].
    pub status: Readiness,
    /// What counts of what this operator said, if there is anything for this definition.
    pub statement: Option<Statement>,
    /// Everything that is worth knowing, problems first.
    pub findings: Vec<Finding>,
}

/// What all operators will run, by their own signed words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// charon's release.
    pub charon_version: CharonVersion,
    /// SHA-256 of the image's manifest in a registry.
    pub manifest: [u8; 32],
}

/// What the ready lines amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    definition_hash: DefinitionHash,
    operators: Vec<ReadyOperator>,
    evidence: Vec<ReadyLine>,
    chosen: Vec<ReadyLine>,
    strangers: usize,
}

impl<'a> Said<'a, Statement> {
    /// The line that counts: the newest; one from the future only if there is no other.
    fn chosen(&self, now: u64) -> Option<&'a ReadyLine> {
        let newest_first = || self.here.iter().rev().copied();
        let mut sober = newest_first().filter(|line| !is_ahead(line.statement(), now));
        sober.next().or_else(|| newest_first().next())
    }

    /// A line for another definition that is newer than the one for this.
    fn moved_on(&self, now: u64) -> Option<&'a ReadyLine> {
        let latest = self.elsewhere.last().copied()?;
        let chosen = self.chosen(now).map(|line| line.statement().time);
        chosen
            .is_none_or(|time| time < latest.statement().time)
            .then_some(latest)
    }
}

/// The image that a node will run, where its engine was looked at.
fn image(statement: &Statement) -> Option<&CharonImage> {
    statement.engine.as_ref().map(|engine| &engine.charon_image)
}

/// Its digest, where a registry has it.
fn manifest(statement: &Statement) -> Option<[u8; 32]> {
    match image(statement)? {
        CharonImage::Manifest(digest) => Some(*digest),
        CharonImage::Local(_) | CharonImage::Binary(_) => None,
    }
}

fn image_text(statement: &Statement) -> String {
    image(statement).map_or_else(|| "no image".to_owned(), |image| format!("image {image}"))
}

const fn is_ahead(statement: &Statement, now: u64) -> bool {
    statement.time > now.saturating_add(CLOCK_SECONDS)
}

/// Judges ready lines by the operators of a definition, at a time in seconds of Unix time. `own` is what the node that
/// judges is about to start with, which counts more than what it said before.
pub fn weigh(
    operators: &Operators,
    lines: &[ReadyLine],
    own: Option<&Statement>,
    now: u64,
) -> Group {
    let (said, strangers) = sort_lines(operators, lines, |statement| {
        statement.definition_hash == operators.definition_hash()
    });
    let judge = Judge {
        operators,
        now,
        own,
        stated: said
            .iter()
            .enumerate()
            .map(|(position, said)| {
                let own = own.filter(|own| own.node.position() == position);
                own.or_else(|| said.chosen(now).map(ReadyLine::statement))
            })
            .collect(),
    };
    let kept =
        |said: &Said<'_, Statement>| [said.chosen(now).cloned(), said.moved_on(now).cloned()];
    Group {
        definition_hash: operators.definition_hash(),
        operators: operators
            .nodes()
            .zip(&said)
            .map(|(node, said)| judge.line(node, said))
            .collect(),
        evidence: said.iter().flat_map(kept).flatten().collect(),
        chosen: said
            .iter()
            .filter_map(|said| said.chosen(now).cloned())
            .collect(),
        strangers: strangers.len(),
    }
}

/// What one line is measured against.
struct Judge<'a> {
    operators: &'a Operators,
    now: u64,
    own: Option<&'a Statement>,
    /// What counts of each operator.
    stated: Vec<Option<&'a Statement>>,
}

impl<'a> Judge<'a> {
    fn line(&self, node: NodeIndex, said: &Said<'_, Statement>) -> ReadyOperator {
        let mut line = Line {
            subject: self.operators.name(node),
            status: Readiness::Ready,
            problems: Vec::new(),
            notes: Vec::new(),
        };
        let statement = self.stated.get(node.position()).copied().flatten();
        if let Some(latest) = said.moved_on(self.now) {
            let latest = latest.statement();
            line.problem(
                Readiness::OtherDefinition,
                format!(
                    "a ready line of {} for definition {}",
                    time_text(latest.time),
                    latest.definition_hash
                ),
                format!("definition {}", self.operators.definition_hash()),
                "they are about to run another definition: send them this one, and compare its hash",
            );
        }
        if let Some(statement) = statement {
            self.check_statement(node, statement, &mut line);
        }
        for (forged, signer) in &said.forged {
            let by = match signer {
                Some(signer) => self.operators.name(*signer),
                None => "nobody of this definition".to_owned(),
            };
            let seen = format!(
                "a ready line signed by {by}, of {}",
                time_text(forged.statement().time)
            );
            let expected = "the signature of this operator's ENR key";
            if statement.is_some() || line.status != Readiness::Ready {
                line.note(Readiness::WrongKey, seen, expected);
            } else {
                line.problem(
                    Readiness::WrongKey,
                    seen,
                    expected,
                    "ask them for the line that their own machine prints with `docker charon-dkg ready`",
                );
            }
        }
        if line.status == Readiness::Ready && statement.is_none() {
            line.problem(
                Readiness::Missing,
                "no ready line",
                "a ready line",
                "ask them for the line that `docker charon-dkg ready` prints",
            );
        }
        line.problems.append(&mut line.notes);
        ReadyOperator {
            node,
            address: self.operators.address(node).to_owned(),
            status: line.status,
            statement: statement.cloned(),
            findings: line.problems,
        }
    }

    fn check_statement(&self, node: NodeIndex, statement: &Statement, line: &mut Line) {
        let count = self.operators.count();
        if usize::from(statement.operators) != count {
            line.problem(
                Readiness::ContradictsDefinition,
                format!("operators: {}", statement.operators),
                format!("operators: {count}"),
                "ask them for the line that `docker charon-dkg ready` prints",
            );
        }
        let version = &statement.charon_version;
        self.compare(
            line,
            node,
            Readiness::OtherRelease,
            |it| Some((it.charon_version.major, it.charon_version.minor)),
            |it| format!("charon {}", it.charon_version),
            "give the same --charon-version, or none, and print a new line with `charon-dkg ready`",
        );
        let others = self.stated.iter().flatten();
        let mut patches = others.filter(|it| it.charon_version.same_line(version));
        if patches.any(|it| it.charon_version != *version) {
            line.note(
                Readiness::OtherRelease,
                format!("charon {version}; others have another patch of the same line"),
                "the same release for every operator",
            );
        }
        self.compare(
            line,
            node,
            Readiness::OtherImage,
            |it| {
                let digest = manifest(it)?;
                (it.charon_version == *version).then_some(digest)
            },
            image_text,
            "pull the image of the release again, from the official repository",
        );
        match image(statement) {
            Some(CharonImage::Manifest(_)) | None => {}
            Some(CharonImage::Local(_)) => line.note(
                Readiness::OtherImage,
                format!("{}, which no registry vouches for", image_text(statement)),
                "an image from a registry",
            ),
            Some(CharonImage::Binary(digest)) => line.note(
                Readiness::OtherImage,
                program_seen(digest),
                PROGRAM_EXPECTED,
            ),
        }
        self.compare(
            line,
            node,
            Readiness::OtherRelays,
            |it| Some(&it.relays),
            |it| format!("relays: {}", it.relays.shown()),
            "give the same --relay, or none, and print a new line with `charon-dkg ready`",
        );
        self.compare(
            line,
            node,
            Readiness::OtherFlags,
            |it| Some(&it.flags),
            |it| format!("flags of charon: {}", it.flags.shown()),
            "give the same flags after `--`, and print a new line with `charon-dkg ready`",
        );
        if !statement.is_backed_up {
            line.note_about(
                "ready-backup",
                "no backup of the ENR key",
                "a backup, which `charon-dkg backup` makes",
            );
        }
        // What is about to start now is as fresh as can be.
        let is_own = self.own.is_some_and(|own| own.node == node);
        let is_old = statement.time.saturating_add(FRESH_SECONDS) < self.now;
        if !is_own && is_ahead(statement, self.now) {
            line.problem(
                Readiness::ClockAhead,
                format!("signed at {}", time_text(statement.time)),
                format!("a time before {}", time_text(self.now)),
                "have them set the clock of their machine, or set that of this one, and print a new line with `docker charon-dkg ready`",
            );
        } else if !is_own && is_old {
            line.problem(
                Readiness::TooOld,
                format!("signed at {}", time_text(statement.time)),
                "a line of the last 24 hours",
                "ask them for the line that `docker charon-dkg ready` prints now",
            );
        }
        if statement.engine.is_none() {
            line.problem(
                Readiness::EngineUnknown,
                "signed where neither engine nor image was checked, as on Windows and macOS",
                "a line from where the ceremony will run",
                "ask them for the line that `docker charon-dkg ready` prints where the ceremony will run: in WSL 2, or on Linux",
            );
        }
    }

    /// Blames a difference on the operators outside the majority, or on all of them if there is no majority. An operator
    /// whose line does not mention it is not compared.
    fn compare<T: PartialEq>(
        &self,
        line: &mut Line,
        node: NodeIndex,
        status: Readiness,
        value: impl Fn(&'a Statement) -> Option<T>,
        shown: impl Fn(&Statement) -> String,
        advice: &str,
    ) {
        let mut parties: Vec<(T, &'a Statement, Vec<NodeIndex>)> = Vec::new();
        for (said, voter) in self.stated.iter().zip(self.operators.nodes()) {
            let Some((statement, value)) = said.and_then(|it| Some((it, value(it)?))) else {
                continue;
            };
            match parties.iter_mut().find(|(other, ..)| *other == value) {
                Some((_, _, nodes)) => nodes.push(voter),
                None => parties.push((value, statement, vec![voter])),
            }
        }
        let voters: usize = parties.iter().map(|(_, _, nodes)| nodes.len()).sum();
        let Some((_, mine, with_me)) = parties.iter().find(|(_, _, it)| it.contains(&node)) else {
            return;
        };
        if parties.len() < 2 || with_me.len() * 2 > voters {
            return;
        }
        let others: Vec<String> = parties
            .iter()
            .filter(|(_, _, nodes)| !nodes.contains(&node))
            .filter(|(_, _, nodes)| nodes.len() * 2 > voters || parties.len() <= MOST_PARTIES)
            .map(|(_, statement, nodes)| format!("{} of {}", shown(statement), numbers(nodes)))
            .collect();
        let expected = if others.is_empty() {
            "the same for every operator".to_owned()
        } else {
            format!("the same for every operator; {}", others.join("; "))
        };
        line.problem(status, shown(mine), expected, advice);
    }
}

/// More different answers than these are not told one by one.
const MOST_PARTIES: usize = 4;

struct Line {
    subject: String,
    status: Readiness,
    problems: Vec<Finding>,
    notes: Vec<Finding>,
}

impl Line {
    fn problem(
        &mut self,
        status: Readiness,
        seen: impl Into<String>,
        expected: impl Into<String>,
        advice: &str,
    ) {
        if self.status == Readiness::Ready {
            self.status = status;
        }
        self.problems.push(Finding {
            check: status.check(),
            weight: status.weight(),
            subject: self.subject.clone(),
            seen: seen.into(),
            expected: expected.into(),
            advice: advice.to_owned(),
        });
    }

    fn note(&mut self, status: Readiness, seen: impl Into<String>, expected: &str) {
        self.note_about(status.check(), &seen.into(), expected);
    }

    fn note_about(&mut self, check: &'static str, seen: &str, expected: &str) {
        self.notes.push(Finding {
            check,
            weight: Weight::Note,
            subject: self.subject.clone(),
            seen: seen.to_owned(),
            expected: expected.to_owned(),
            advice: String::new(),
        });
    }
}

impl Group {
    /// Whether everybody is ready.
    pub fn is_complete(&self) -> bool {
        !self.operators.is_empty() && self.ready_count() == self.operators.len()
    }

    /// How many operators are ready.
    pub fn ready_count(&self) -> usize {
        let ready = |line: &&ReadyOperator| line.status == Readiness::Ready;
        self.operators.iter().filter(ready).count()
    }

    /// Hash of the definition that everybody was measured against.
    pub const fn definition_hash(&self) -> DefinitionHash {
        self.definition_hash
    }

    /// Every operator, in order.
    pub fn operators(&self) -> &[ReadyOperator] {
        &self.operators
    }

    /// As few lines as lead to the same answer for every operator: what is to be kept.
    pub fn evidence(&self) -> &[ReadyLine] {
        &self.evidence
    }

    /// What all have agreed on, if all are ready and name the same release and the same image of a registry, each in a
    /// signed line.
    pub fn agreement(&self) -> Option<Agreement> {
        if !self.is_complete() || self.chosen.len() != self.operators.len() {
            return None;
        }
        let mut stated = self.chosen.iter().map(|line| {
            let statement = line.statement();
            Some(Agreement {
                charon_version: statement.charon_version.clone(),
                manifest: manifest(statement)?,
            })
        });
        let first = stated.next().flatten()?;
        stated
            .all(|other| other.as_ref() == Some(&first))
            .then_some(first)
    }

    /// The lines of all operators, if everybody is ready: one a line, to pass on. Anybody who has the definition comes to
    /// the same result from them.
    pub fn bundle(&self) -> Option<String> {
        let lines: Vec<String> = self.chosen.iter().map(ReadyLine::to_string).collect();
        (self.is_complete() && lines.len() == self.operators.len()).then(|| lines.join("\n"))
    }

    /// One line for people: how many are ready, and what is with the others.
    pub fn summary(&self) -> String {
        let count = self.operators.len();
        if self.is_complete() {
            return format!("{count} of {count} operators are ready, and all agree");
        }
        let mut others: Vec<(Readiness, Vec<NodeIndex>)> = Vec::new();
        for line in &self.operators {
            if line.status == Readiness::Ready {
                continue;
            }
            match others.iter_mut().find(|(status, _)| *status == line.status) {
                Some((_, nodes)) => nodes.push(line.node),
                None => others.push((line.status, vec![line.node])),
            }
        }
        let others: Vec<String> = others
            .into_iter()
            .map(|(status, nodes)| format!("{}: {}", status.words(), numbers(&nodes)))
            .collect();
        format!(
            "{} of {count} operators are ready; {}",
            self.ready_count(),
            others.join("; ")
        )
    }

    /// Everything that is worth knowing, operator by operator, then what came from elsewhere.
    pub fn findings(&self) -> Vec<Finding> {
        let strangers = (self.strangers > 0).then(|| Finding {
            check: "ready-stranger",
            weight: Weight::Note,
            subject: charon_files::text::count(
                u64::try_from(self.strangers).unwrap_or(u64::MAX),
                "ready line",
            ),
            seen: "signed by no operator of this definition".to_owned(),
            expected: "ready lines of this definition's operators".to_owned(),
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
            ready: self.is_complete(),
            definition_hash: self.definition_hash.to_string(),
            operators: self.operators.iter().map(OperatorDocument::of).collect(),
            findings,
            bundle: self.bundle(),
        }
    }
}

/// What `ready --format json` prints of a group.
#[derive(Debug, Clone, Serialize)]
pub struct Document {
    schema: &'static str,
    ready: bool,
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
    status: Readiness,
    statement: Option<StatementDocument>,
}

impl OperatorDocument {
    fn of(line: &ReadyOperator) -> Self {
        Self {
            index: line.node.position(),
            operator: line.node.position() + 1,
            address: line.address.clone(),
            status: line.status,
            statement: line.statement.as_ref().map(StatementDocument::of),
        }
    }
}

/// The name of an engine that was not looked at, for programs.
const NOT_LOOKED_AT: &str = "not-looked-at";

/// A ready line's content for programs.
#[derive(Debug, Clone, Serialize)]
pub struct StatementDocument {
    index: usize,
    operators: u16,
    definition_hash: String,
    charon_version: String,
    charon_image: String,
    relays: String,
    flags: String,
    engine: &'static str,
    processor: &'static str,
    backed_up: bool,
    program_version: String,
    time: String,
}

impl StatementDocument {
    /// The content of a ready line.
    pub fn of(statement: &Statement) -> Self {
        let shown = |list: &List| {
            if list.is_empty() {
                String::new()
            } else {
                list.shown()
            }
        };
        Self {
            index: statement.node.position(),
            operators: statement.operators,
            definition_hash: statement.definition_hash.to_string(),
            charon_version: statement.charon_version.to_string(),
            charon_image: image(statement).map_or_else(String::new, CharonImage::to_string),
            relays: shown(&statement.relays),
            flags: shown(&statement.flags),
            engine: match &statement.engine {
                Some(engine) => engine.kind.name(),
                None => NOT_LOOKED_AT,
            },
            processor: statement.processor.name(),
            backed_up: statement.is_backed_up,
            program_version: statement.program_version.clone(),
            time: time_text(statement.time),
        }
    }
}
