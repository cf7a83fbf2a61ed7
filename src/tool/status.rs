//! `status`: where this directory stands, and the one safe next command.

use serde::Serialize;

use crate::ceremony::attempt::{Attempt, State};
use crate::ceremony::facts;
use crate::context::Context;
use crate::custody::record::{Changes, Record};
use crate::custody::sources;
use crate::error::Failure;
use crate::failures;
use crate::gate::compose::{self, ProjectFile};
use crate::gate::decide::{Asked, decide};
use crate::gate::decision::GateDecision;
use crate::gate::project::Project;
use crate::gate::status::Installed;
use crate::gate::words::Flags;
use crate::gate::{GATE_FILE, dotenv};
use crate::machine::datadir::{self, DataDirFacts, Layout};
use crate::machine::files::EntryKind;
use crate::place;
use crate::promote::journal;
use crate::proof::receipts;
use crate::report;
use charon_files::cluster::names::FileDigest;
use charon_files::cluster::names::{CLUSTER_LOCK_FILE, DEFINITION_FILE};
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
    state: &'static str,
    reason: Option<String>,
    /// What charon said, if it came to be started.
    log: Option<String>,
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
    let standing = standing(context, &layout, &facts, has_key, &attempts)?;
    let mut text = format!("{}\n", layout.data_dir().display());
    for attempt in &attempts {
        text.push_str(&format!(
            "    attempt {} of {}: charon {}, {}{}\n",
            attempt.number,
            report::clean(&attempt.started),
            report::clean(&attempt.charon),
            attempt.state,
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
        (Some(_), None) => text.push_str("never backed up: `charon-dkg backup`\n"),
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
                started: record.started,
                charon: record.charon_version,
                container: record.container,
                log: attempt
                    .log_path()
                    .is_file()
                    .then(|| attempt.log_path().display().to_string()),
                under_way: !record.state.is_final(),
                state: record.state.name(),
                reason: match record.state {
                    State::Failed { reason } => Some(reason),
                    State::Prepared
                    | State::Running
                    | State::CharonDone { .. }
                    | State::Promoted => None,
                },
            })
        })
        .collect()
}

fn standing(
    context: &Context,
    layout: &Layout,
    facts: &DataDirFacts,
    has_key: Result<bool, &str>,
    attempts: &[AttemptLine],
) -> Result<Standing, Failure> {
    let stands = |stage, says: &str, next: &str| Standing {
        stage,
        says: says.to_owned(),
        next: next.to_owned(),
    };
    let me = &context.spelling;
    if journal::is_pending(layout) {
        return Ok(stands(
            "interrupted",
            "a command was cut short while it moved files; the next one finishes or undoes that",
            &format!("{me} run"),
        ));
    }
    if let Some(attempt) = attempts.last().filter(|attempt| attempt.under_way) {
        return Ok(stands(
            "under-way",
            &format!(
                "attempt {} is under way in container {}; `{me} run` follows it to its end",
                attempt.number, attempt.container
            ),
            &format!("{me} run"),
        ));
    }
    let has_key = match has_key {
        Ok(has_key) => has_key,
        Err(reason) => {
            let next = place::owner_to_be(facts).unwrap_or_else(|| {
                format!(
                    "restore {} from your backup",
                    layout.enr_key_path().display()
                )
            });
            return Ok(stands("key-unusable", reason, &next));
        }
    };
    if !has_key {
        return Ok(match place::made_for_a_key(layout)? {
            Some(trace) => stands(
                "key-missing",
                &format!(
                    "there is no ENR key, but there is {trace}, which belongs to an earlier key"
                ),
                &format!("{me} backup restore FILE"),
            ),
            None => stands("no-key", "there is no ENR key yet", &format!("{me} enr")),
        });
    }
    if facts.entry(CLUSTER_LOCK_FILE).is_some() || facts.entry("validator_keys").is_some() {
        return Ok(after_ceremony(context, layout));
    }
    let in_place = facts
        .entry(DEFINITION_FILE)
        .is_some_and(|entry| entry.kind == EntryKind::Regular);
    if in_place || matches!(datadir::stored_definition(layout), Ok(Some(_))) {
        return Ok(stands(
            "ready",
            "ENR key and cluster definition are here, and no outputs",
            &format!("{me} plan"),
        ));
    }
    Ok(stands(
        "no-definition",
        "there is an ENR key, and no cluster definition",
        &format!("{me} plan --definition FILE|URL"),
    ))
}

/// With outputs: first they are proved, then everybody has to have the same, then the gate lets the cluster start.
fn after_ceremony(context: &Context, layout: &Layout) -> Standing {
    let me = &context.spelling;
    let outputs = Standing {
        stage: "outputs",
        says: "the data directory holds the outputs of a ceremony".to_owned(),
        next: format!("{me} verify"),
    };
    // This node's own receipt is kept once its outputs are proved. Before that, a look would take as long as a proof.
    if !receipts::are_kept(layout) {
        return outputs;
    }
    let gate = installed_gate(layout);
    let asked = Asked::of(gate);
    let flags = Flags::of(layout);
    match decide(Some(context), layout, asked, flags.words(me), &NoProgress) {
        GateDecision::Closed(closed) if closed.files_at_fault => Standing {
            says: format!("{}; {}", outputs.says, closed.reason),
            next: closed.next,
            ..outputs
        },
        GateDecision::Closed(closed) => Standing {
            stage: "unconfirmed",
            says: closed.reason,
            next: closed.next,
        },
        GateDecision::Open { summary } => {
            let (also, next) = if gate.is_some() {
                ("the gate is installed", "up")
            } else {
                ("no gate is installed here", "gate install")
            };
            Standing {
                stage: "confirmed",
                says: format!("{summary}; {also}"),
                next: flags.words(me).command(next),
            }
        }
    }
}

/// The gate in the compose project, if `.env` there names its file; asking Compose itself, as `gate status` does, takes
/// longer than a status may.
fn installed_gate(layout: &Layout) -> Option<Installed> {
    let dir = layout.project_dir();
    let dotenv = ProjectFile::read(dir, ".env").ok()?;
    let separator = dotenv::separator(dotenv.bytes(), compose::separator_variable().as_deref());
    let files = dotenv::files(dotenv.bytes(), &separator).ok()??;
    if !files.iter().any(|file| file == GATE_FILE) {
        return None;
    }
    let file = ProjectFile::read(dir, GATE_FILE).ok()?;
    Installed::of(&Project::parse(file.bytes()?).ok()?)
}
