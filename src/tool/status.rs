//! `status`: the state of this directory, and the one safe next command.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::ceremony::attempt::{Attempt, State};
use crate::ceremony::{facts, settings};
use crate::context::Context;
use crate::custody::record::{Changes, Record, Records};
use crate::custody::sources;
use crate::edit::stand::{self, Stand};
use crate::error::Failure;
use crate::failures;
use crate::gate::compose::ProjectFile;
use crate::gate::decide::{Asked, decide};
use crate::gate::decision::{GateDecision, Words};
use crate::gate::installed::{self, gone, installed};
use crate::gate::show_status;
use crate::gate::site::DOTENV;
use crate::gate::words::Flags;
use crate::machine::datadir::{self, DataDirFacts, Layout};
use crate::machine::files::EntryKind;
use crate::machine::read;
use crate::place::{self, WayOut};
use crate::promote::{held, journal};
use crate::proof::receipts;
use crate::report;
use charon_files::cluster::Definition;
use charon_files::cluster::names::FileDigest;
use charon_files::cluster::names::{CLUSTER_LOCK_FILE, DEFINITION_FILE};
use charon_files::finding::{Finding, Weight};
use charon_proof::verify::NoProgress;

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    data_dir: String,
    stage: &'static str,
    enr_id: Option<String>,
    attempts: Vec<AttemptLine>,
    /// The last backup of this ENR key, and what changed since.
    backup: Option<BackupLine>,
    says: String,
    next: String,
}

#[derive(Serialize)]
struct AttemptLine {
    number: u32,
    started: String,
    charon: String,
    container: String,
    /// Where charon runs, for people.
    #[serde(skip)]
    place: String,
    /// charon's command, if this was an edit of the cluster.
    #[serde(skip)]
    edit: Option<&'static str>,
    state: &'static str,
    reason: Option<String>,
    /// What charon said, if it came to be started.
    log: Option<String>,
    /// What `run` was told, and is told again.
    #[serde(skip)]
    flags: Vec<String>,
    #[serde(skip)]
    under_way: bool,
}

#[derive(Serialize)]
struct BackupLine {
    time: String,
    file: String,
    sha256: String,
    opened_by: String,
    /// Nothing where the files cannot be read now.
    changes: Option<Changes>,
}

impl BackupLine {
    fn of(layout: &Layout, record: Record) -> Self {
        let now = sources::gather(layout).ok().map(|files| {
            let digests: Vec<FileDigest> = files
                .iter()
                .map(|file| FileDigest::of(file.name(), &file.bytes))
                .collect();
            record.changes(&digests)
        });
        Self {
            time: record.time,
            file: record.file,
            sha256: record.sha256,
            opened_by: record.opened_by,
            changes: now,
        }
    }

    fn text(&self) -> String {
        let changed = self.changes.as_ref().map(Changes::count);
        let since = match changed {
            None => "what changed since cannot be told".to_owned(),
            Some(0) => "nothing changed since".to_owned(),
            Some(count) => {
                let count = u64::try_from(count).unwrap_or(u64::MAX);
                format!(
                    "{} changed since: back up again",
                    report::count(count, "file")
                )
            }
        };
        format!(
            "backed up on {} in {}; {since}\n",
            report::clean(&self.time),
            report::clean(&self.file)
        )
    }
}

/// What is known, and what follows from it.
struct Standing {
    /// Stable name of the stage in JSON output.
    stage: &'static str,
    says: String,
    next: String,
}

pub(crate) fn show(context: &Context) -> Result<(), Failure> {
    let layout = context.layout()?;
    let facts = place::look(&layout)?;
    let key = facts::enr_key(&layout);
    let attempts = attempts(&layout)?;
    let has_key = key.as_ref().map(Option::is_some).map_err(String::as_str);
    let flags = Flags::of(&layout);
    let look = Look {
        context,
        layout: &layout,
        facts: &facts,
        words: flags.words(&context.spelling),
        for_root: &context.for_root,
    };
    let standing = look.with_gone(look.standing(has_key, &attempts)?);
    let mut text = format!("{}\n", layout.data_dir().display());
    for attempt in &attempts {
        text.push_str(&format!(
            "    attempt {} of {}: {}charon {}, {}{}\n",
            attempt.number,
            report::clean(&attempt.started),
            attempt
                .edit
                .map_or_else(String::new, |command| format!("{command} with ")),
            report::clean(&attempt.charon),
            match attempt.edit {
                // What came of an edit is not in the data directory yet, or never comes there.
                Some(_) if attempt.state == State::Promoted.name() => "verified",
                Some(_) | None => attempt.state,
            },
            attempt
                .reason
                .as_deref()
                .map_or_else(String::new, |reason| format!(": {}", report::clean(reason))),
        ));
    }
    let key = key.ok().flatten();
    let backup = key
        .as_ref()
        .and_then(|key| facts::last_backup(&layout, key))
        .map(|record| BackupLine::of(&layout, record));
    match (&key, &backup) {
        (_, Some(backup)) => text.push_str(&backup.text()),
        (Some(_), None) => {
            text.push_str(&format!(
                "never backed up: `{}`\n",
                look.words.command("backup")
            ));
        }
        (None, None) => {}
    }
    if let Some(log) = attempts.last().and_then(|attempt| attempt.log.as_deref()) {
        text.push_str(&format!("charon's last output is in {log}\n"));
    }
    let says = report::clean(&standing.says);
    text.push_str(&format!("{says}\nnext: {}\n", standing.next));
    let document = Document {
        schema: "charon-dkg.status/1",
        data_dir: layout.data_dir().display().to_string(),
        stage: standing.stage,
        enr_id: key.map(|key| key.id().to_string()),
        attempts,
        backup,
        says: standing.says,
        next: standing.next,
    };
    context.result(&text, &document)
}

fn attempts(layout: &Layout) -> Result<Vec<AttemptLine>, Failure> {
    Attempt::list(layout)
        .map_err(failures::attempt)?
        .into_iter()
        .map(|attempt| {
            let record = attempt.record().map_err(failures::attempt)?;
            Ok(AttemptLine {
                number: attempt.number(),
                place: record.place(),
                edit: record
                    .edit
                    .as_ref()
                    .map(|edit| edit.request.kind().command()),
                started: record.started,
                charon: record.charon_version,
                flags: record.flags,
                container: record.container,
                log: attempt
                    .log_path()
                    .is_file()
                    .then(|| attempt.log_path().display().to_string()),
                under_way: !record.state.is_final(),
                // A release that does not know the word leaves it in the record when it finishes the move.
                state: if record.state == State::Held && held::has_moved(layout, &attempt) {
                    State::Promoted.name()
                } else {
                    record.state.name()
                },
                reason: match record.state {
                    State::Failed { reason } => Some(reason),
                    State::Prepared
                    | State::Running
                    | State::CharonDone { .. }
                    | State::Held
                    | State::Promoted => None,
                },
            })
        })
        .collect()
}

/// Said where `backup restore` cannot be given its file.
const NO_BACKUP: &str =
    "no backup is on record here: restore yours with `charon-dkg backup restore` and its file";

/// What the standing is told from.
struct Look<'a> {
    context: &'a Context,
    layout: &'a Layout,
    facts: &'a DataDirFacts,
    /// How a command that is typed here finds these directories.
    words: Words<'a>,
    for_root: &'a str,
}

impl Look<'_> {
    fn standing(
        &self,
        has_key: Result<bool, &str>,
        attempts: &[AttemptLine],
    ) -> Result<Standing, Failure> {
        let flags = attempts.last().map_or(&[][..], |last| &last.flags);
        let run = self.words.command(&with_flags("run", flags));
        if journal::is_pending(self.layout) {
            return Ok(stands(
                "interrupted",
                "a command was interrupted while it moved files; the next one finishes or undoes that",
                run,
            ));
        }
        if let Some(attempt) = attempts.last().filter(|attempt| attempt.under_way) {
            return Ok(stands(
                "under-way",
                format!(
                    "attempt {} is under way in {}; `{run}` follows it to its end",
                    attempt.number, attempt.place
                ),
                run,
            ));
        }
        if has_key == Ok(true)
            && let Some(standing) = self.of_edit()?
        {
            return Ok(standing);
        }
        match has_key {
            Err(reason) => return Ok(self.with_unusable_key(reason)),
            Ok(false) => return self.without_key(),
            Ok(true) => {}
        }
        if self.facts.entry(CLUSTER_LOCK_FILE).is_some()
            || self.facts.entry("validator_keys").is_some()
            || held::find(self.layout).is_some()
        {
            return Ok(self.after_ceremony());
        }
        Ok(self.before_ceremony(attempts.last()))
    }

    /// The same, with what keeps Compose from doing anything in this project.
    fn with_gone(&self, standing: Standing) -> Standing {
        let gone = gone(self.layout);
        if gone.is_empty() {
            return standing;
        }
        let install = self.words.command("gate install");
        let says = format!(
            "{}; the project no longer has {}, which the gate's file makes wait, as after an update: Compose refuses everything until `{install}`",
            standing.says,
            gone.join(", ")
        );
        let next = match standing.stage {
            "confirmed" => install,
            _ => standing.next,
        };
        Standing {
            stage: standing.stage,
            says,
            next,
        }
    }

    /// An edit of the cluster that is held, and what is missing for the switch.
    fn of_edit(&self) -> Result<Option<Standing>, Failure> {
        let Some(proved) = stand::held(self.context, self.layout)? else {
            return Ok(None);
        };
        let stand = Stand::of(self.context, self.layout, &proved, &[], &[])?;
        let lines: Vec<String> = stand
            .lines(&proved)
            .into_iter()
            .map(|line| {
                let mark = if line.met { "" } else { "NOT YET: " };
                format!("{mark}{} ({})", line.condition.text(), line.seen)
            })
            .collect();
        let (stage, next) = if stand.may_switch() {
            ("edit-ready", "edit switch")
        } else {
            ("edit-held", "edit status")
        };
        Ok(Some(stands(
            stage,
            format!(
                "what {} made of the cluster is held: {}",
                proved.edit.kind.command(),
                lines.join("; ")
            ),
            self.words.command(next),
        )))
    }

    fn with_unusable_key(&self, reason: &str) -> Standing {
        let stage = "key-unusable";
        let owner = self.facts.owner.uid;
        if let Some(advice) = place::owner_to_be(owner, self.facts) {
            return stands(stage, format!("{reason}; {advice}"), self.way_out(owner));
        }
        let (known, restore) = self.restore();
        let key = self.layout.enr_key_path();
        let name = key.with_extension("unusable");
        let aside = self
            .layout
            .project_dir()
            .join(name.file_name().unwrap_or_default());
        let (key, aside) = (report::quoted(&key), report::quoted(&aside));
        match &known {
            // Nothing takes the place of a key as long as something is there.
            Some(known) => stands(
                stage,
                format!("{reason}; {known}"),
                format!("mv {key} {aside} && {restore}"),
            ),
            None => stands(
                stage,
                format!("{reason}; {NO_BACKUP}, and move {key} away first"),
                restore,
            ),
        }
    }

    /// Where something belongs to this other user.
    fn way_out(&self, owner: u32) -> String {
        let way = place::way_out(owner, self.facts).unwrap_or(WayOut::LookAsRoot);
        let (by_root, verb) = way.verb();
        if by_root {
            let words = Words {
                spelling: self.for_root,
                ..self.words
            };
            format!("sudo {}", words.command(&verb))
        } else {
            self.words.command(&verb)
        }
    }

    /// What is on record of a backup, and the command that brings it back.
    fn restore(&self) -> (Option<String>, String) {
        let records = sources::read_records(self.layout).ok();
        let last = records.as_ref().and_then(Records::last);
        let file = last.map_or("FILE", |record| &record.file);
        let restore = format!("backup restore {}", report::quoted(file));
        let known = last.map(|record| {
            format!(
                "its last backup was written to {} on {}",
                record.file, record.time
            )
        });
        (known, self.words.command(&restore))
    }

    fn without_key(&self) -> Result<Standing, Failure> {
        let nodes = place::created_nodes(self.layout.data_dir());
        if let Some(first) = nodes.first() {
            let count = u64::try_from(nodes.len()).unwrap_or(u64::MAX);
            let spelling = self.words.spelling;
            return Ok(stands(
                "created-cluster",
                format!(
                    "this directory holds {}, as `charon create cluster` makes them; each is a data directory of its own",
                    report::count(count, "node")
                ),
                format!("{spelling} verify {}", report::quoted(first)),
            ));
        }
        if let Some(trace) = place::made_for_a_key(self.layout)? {
            let (known, restore) = self.restore();
            return Ok(stands(
                "key-missing",
                format!(
                    "there is no ENR key, but there is {trace}, which belongs to an earlier key; {}",
                    known.as_deref().unwrap_or(NO_BACKUP)
                ),
                restore,
            ));
        }
        let enr = self.words.command("enr");
        let owner = self.facts.owner.uid;
        if let Some(advice) = place::owner_to_be(owner, self.facts) {
            let dir = report::quoted(self.layout.data_dir());
            return Ok(if place::is_removable(self.layout, self.facts) {
                stands(
                    "no-key",
                    "the data directory is empty and belongs to another user, as docker makes it where a directory to mount is missing",
                    format!("rmdir {dir} && {enr}"),
                )
            } else {
                stands(
                    "no-key",
                    format!("there is no ENR key here; {advice}"),
                    self.way_out(owner),
                )
            });
        }
        let elsewhere = place::projects_elsewhere(self.layout);
        Ok(match elsewhere.first() {
            Some(first) => {
                let places: Vec<String> = elsewhere
                    .iter()
                    .map(|project| project.display().to_string())
                    .collect();
                stands(
                    "no-key",
                    format!(
                        "there is no ENR key here, but there is one in {}; only for another node, create one here with `{enr}`",
                        places.join(", and in ")
                    ),
                    format!(
                        "{} status --dir {}",
                        self.words.spelling,
                        report::quoted(first)
                    ),
                )
            }
            None => stands(
                "no-key",
                "there is no ENR key here; if this node has one, name its project directory with --dir, otherwise create it",
                enr,
            ),
        })
    }

    /// With a key and without outputs.
    fn before_ceremony(&self, last: Option<&AttemptLine>) -> Standing {
        let flags = last.map_or(&[][..], |attempt| &attempt.flags);
        let plan = |more: &[String]| {
            let flags = [more, flags].concat();
            self.words.command(&with_flags("plan", &flags))
        };
        let in_place = self
            .facts
            .entry(DEFINITION_FILE)
            .is_some_and(|entry| entry.kind == EntryKind::Regular);
        if in_place || matches!(datadir::stored_definition(self.layout), Ok(Some(_))) {
            return stands(
                "ready",
                "ENR key and cluster definition are here, and no outputs",
                plan(&[]),
            );
        }
        match definitions_beside(self.layout).as_slice() {
            [] => stands(
                "no-definition",
                format!(
                    "there is an ENR key, and no cluster definition: send the coordinator this node's ENR, and once the definition comes, give its file or URL to `{} --definition`",
                    self.words.command("plan")
                ),
                self.words.command("enr show"),
            ),
            [first, more @ ..] => {
                let others = if more.is_empty() {
                    String::new()
                } else {
                    format!(
                        ", and so is this node of {}",
                        report::count(u64::try_from(more.len()).unwrap_or(u64::MAX), "other file")
                    )
                };
                stands(
                    "no-definition",
                    format!(
                        "this node is in the cluster definition {}{others}",
                        first.display()
                    ),
                    plan(&["--definition".to_owned(), self.as_typed(first)]),
                )
            }
        }
    }

    /// A file of the project directory as it is typed here.
    fn as_typed(&self, path: &Path) -> String {
        let here = std::env::current_dir().ok();
        let relative = here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
        relative
            .unwrap_or_else(|| path.to_owned())
            .display()
            .to_string()
    }

    /// What the project's settings say against the cluster, without asking Compose.
    fn settings(&self) -> Vec<Finding> {
        let Ok(dotenv) = ProjectFile::read(self.layout.project_dir(), DOTENV) else {
            return Vec::new();
        };
        let (bytes, Some(definition)) = (dotenv.bytes(), show_status::definition(self.layout))
        else {
            return Vec::new();
        };
        // The gate's file knows what the compose files make of it.
        let mut settings = bytes.map(settings::of_dotenv).unwrap_or_default();
        settings.extend(installed::settings(self.layout));
        let met = held::relays(self.layout);
        let mut findings = settings::disagreements(&settings, bytes, &definition, &met);
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
        findings
    }

    /// With outputs: first they are proved, then everybody has to have the same, then the gate lets the cluster start.
    fn after_ceremony(&self) -> Standing {
        let held = held::place(self.layout);
        let outputs = match &held {
            None => stands(
                "outputs",
                "the data directory holds the outputs of a ceremony",
                self.words.command("verify"),
            ),
            Some(stage) => stands(
                "held",
                format!(
                    "the outputs of a ceremony are held in {} until all operators have confirmed",
                    stage.display()
                ),
                self.words.command("receipt"),
            ),
        };
        // This node's own receipt is kept once its outputs are proved. Before that, a look would take as long as a proof.
        if !receipts::are_kept(self.layout) {
            return outputs;
        }
        let gate = installed(self.layout);
        let asked = Asked::of(gate);
        match decide(
            Some(self.context),
            self.layout,
            &asked,
            self.words,
            &NoProgress,
        ) {
            GateDecision::Closed(closed) if closed.files_at_fault => Standing {
                says: format!("{}; {}", outputs.says, closed.reason),
                next: closed.next,
                ..outputs
            },
            GateDecision::Closed(closed) => {
                let stage = if held.is_some() {
                    "held"
                } else {
                    "unconfirmed"
                };
                stands(stage, closed.reason, closed.next)
            }
            GateDecision::Open { summary, .. } => {
                let settings = self.settings();
                let said = settings.iter().map(report::finding_line);
                let said: String = said.map(|line| format!("; {line}")).collect();
                if settings
                    .iter()
                    .any(|finding| finding.weight == Weight::Fail)
                {
                    return stands(
                        "confirmed",
                        format!("{summary}; but the project is not set up for this cluster{said}"),
                        self.words.command("gate status"),
                    );
                }
                let (also, next) = if gate.is_some() {
                    ("the gate is installed", "up")
                } else {
                    ("no gate is installed here", "gate install")
                };
                stands(
                    "confirmed",
                    format!("{summary}; {also}{said}"),
                    self.words.command(next),
                )
            }
        }
    }
}

fn stands(stage: &'static str, says: impl Into<String>, next: impl Into<String>) -> Standing {
    Standing {
        stage,
        says: says.into(),
        next: next.into(),
    }
}

/// A verb with what it was told before.
fn with_flags(verb: &str, flags: &[String]) -> String {
    let words = flags.iter().map(report::quoted);
    let words: Vec<String> = std::iter::once(verb.to_owned()).chain(words).collect();
    words.join(" ")
}

/// Most files of a project directory that are looked into.
const MAX_BESIDE: usize = 64;

/// The definitions in the project directory that name this node, the one with charon's name for it first.
fn definitions_beside(layout: &Layout) -> Vec<PathBuf> {
    let Some(key) = facts::enr_key(layout).ok().flatten() else {
        return Vec::new();
    };
    let Ok(entries) = std::fs::read_dir(layout.project_dir()) else {
        return Vec::new();
    };
    let is_ours = |path: &Path| {
        let bytes = read::read_file(path, read::DEFINITION).ok()?;
        let definition = Definition::parse(&bytes).ok()?.value;
        definition.node_of(&key.public_key())
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    paths.sort_by_key(|path| (!path.ends_with(DEFINITION_FILE), path.clone()));
    paths.truncate(MAX_BESIDE);
    paths.retain(|path| is_ours(path).is_some());
    paths
}
