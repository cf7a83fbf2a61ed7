//! `backup restore`: a backup into an empty data directory. Nothing is overwritten, and nothing unproved comes in.

use serde::Serialize;

use crate::cli::RestoreArgs;
use crate::context::Context;
use crate::custody::contents::{self, ArchiveError, Place, Unpacked};
use crate::custody::record::Record;
use crate::custody::sealed::{self, OpenError, OpenWith, Passphrase, SEALED};
use crate::custody::sources::Stage;
use crate::custody::{backup, restore, sources};
use crate::edit::closed::{self, CLOSED_LOCKS_FILE};
use crate::edit::held as edit_held;
use crate::error::{Failure, Kind};
use crate::failures;
use crate::machine::datadir::{self, DataDirFacts, Layout};
#[cfg(target_os = "linux")]
use crate::machine::projects;
use crate::machine::read;
use crate::place;
use crate::promote::held;
use crate::promote::journal::JournalError;
use crate::report;
use charon_files::finding::{Finding, Weight};
use charon_proof::verify::Verdict;

/// charon keeps its protection against slashing in the beacon node's duties and in the validator client, not in its data
/// directory, and a second copy of a node doubles what it signs.
const ONE_PLACE: &str = "one key must never run in two places. Make sure that the machine this backup comes from is off for good, or its \
     files are gone, before you start anything here: two copies of one node sign twice, and the \
     slashing protection history is in the validator client, not in a backup";

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    file: String,
    enr_id: String,
    created: String,
    restored: Vec<String>,
    verdict: Option<Verdict>,
    /// Where keys wait until all operators have confirmed; `null` if there are none.
    held: Option<String>,
    /// Where the keys that an edit made wait for the switch; `null` if there are none.
    edit: Option<String>,
}

pub(crate) fn restore(context: &Context, args: &RestoreArgs) -> Result<(), Failure> {
    let layout = context.layout()?;
    refuse_open_directory(&layout, &place::look(&layout)?)?;
    let with = open_with(context, args)?;
    let sealed = read::read_file(&args.file, SEALED)
        .map_err(|error| Failure::new(Kind::Refused, error.to_string()))?;
    let packed = sealed::open(&sealed, &with).map_err(not_opened)?;
    let sha256 = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&sealed));
    drop(sealed);
    let (manifest, files) = contents::unpack(&packed).map_err(|error: ArchiveError| {
        Failure::new(
            Kind::VerificationFailed,
            format!("it opens, but is not a backup of this program: {error}; nothing was changed"),
        )
        .hint("`age -d` and `tar -tv` show what is in it")
    })?;
    // Before anything is made: what speaks against it changes nothing.
    restore::missing(&layout, &files).map_err(occupied)?;
    let edit = edit_in(&files)?;
    if let Some(edit) = &edit {
        refuse_given_up(&layout, edit)?;
    }
    context.warn(ONE_PLACE);
    let question = format!(
        "Restore {} of ENR key {} from {} into {}?",
        report::count(u64::try_from(files.len()).unwrap_or(u64::MAX), "file"),
        manifest.enr_id,
        report::clean(&manifest.created),
        layout.data_dir().display()
    );
    context.must_agree(&question)?;
    let key_guard = backup::guard_key(&layout, &manifest.enr_id)?;
    let made = datadir::create_data_dir(&layout).map_err(failures::file)?;
    let guard = backup::guard_directory(context, &layout)?;
    // What was interrupted may have been finished just now.
    let missing = restore::missing(&layout, &files).map_err(occupied)?;

    let name = format!("restore-{}", uuid::Uuid::new_v4().simple());
    let stage = Stage::fill(&layout, &name, &files).map_err(failures::file)?;
    let proved = backup::prove(context, stage.path(), &stage.data_dir());
    let (verdict, operators) = match proved {
        Ok((report, findings)) => {
            let verdict = report.as_ref().map(|report| report.verdict);
            let operators = report.map_or(0, |report| report.counts.operators);
            if verdict == Some(Verdict::Fail) && !args.unproved {
                stage.remove(&layout).map_err(failures::file)?;
                unmake(&layout, made);
                return Err(Failure::new(
                    Kind::VerificationFailed,
                    "the files in the backup fail verification; nothing was restored",
                )
                .with_findings(findings)
                .hint("--unproved restores it as it was, errors included; `charon-dkg verify` and the gate keep reporting them"));
            }
            let open: Vec<Finding> = findings
                .into_iter()
                .filter(|finding| finding.weight != Weight::Note)
                .collect();
            if !open.is_empty() {
                context.warn(report::findings_text(&open).trim_end());
            }
            (verdict, operators)
        }
        Err(failure) => {
            stage.remove(&layout).map_err(failures::file)?;
            unmake(&layout, made);
            return Err(failure);
        }
    };
    // What must not start is kept from it before there is anything to start.
    if let Some(record) = of_state(&files, CLOSED_LOCKS_FILE) {
        closed::close_all(&layout, record).map_err(failures::unexpected)?;
    }
    let restored = restore::restore(&layout, stage, &missing).map_err(failures::journal)?;
    let record = Record {
        time: manifest.created.clone(),
        file: std::fs::canonicalize(&args.file)
            .unwrap_or_else(|_| args.file.clone())
            .display()
            .to_string(),
        sha256,
        enr_id: manifest.enr_id.clone(),
        opened_by: match with {
            OpenWith::Passphrase(_) => "the passphrase".to_owned(),
            OpenWith::Identities(_) => "the recipient's identity".to_owned(),
        },
        files: manifest.files,
    };
    sources::write_record(&layout, record).map_err(failures::file)?;
    context.keep_from_git(layout.data_dir());
    #[cfg(target_os = "linux")]
    projects::remember(layout.project_dir());
    drop((guard, key_guard));
    let (held_at, edit_at) = (held::place(&layout), edit_held::place(&layout));
    let done = Document {
        schema: "charon-dkg.restore/1",
        file: args.file.display().to_string(),
        enr_id: manifest.enr_id,
        created: manifest.created,
        restored: restored.names,
        verdict,
        held: held_at.as_ref().map(|stage| stage.display().to_string()),
        edit: edit.as_ref().map(|_| edit_at.display().to_string()),
    };
    let data_dir = layout.data_dir().display().to_string();
    let held = held_at.map(|stage| held::says(&stage, &data_dir, operators));
    let edit = edit.map(|record| format!(
        "{} of the cluster is held again in {}, as it was then; `{} edit status` with today's chat says what is missing for the switch",
        record.kind,
        edit_at.display(),
        context.spelling
    ));
    let text = done.text(&data_dir, held.iter().chain(&edit));
    context.result(&text, &done)?;
    context
        .say("next: `charon-dkg status`; do not start this node while another copy of it can run");
    Ok(())
}

impl Document {
    fn text<'a>(&self, data_dir: &str, waiting: impl Iterator<Item = &'a String>) -> String {
        let what = if self.restored.is_empty() {
            "everything in the backup was already there".to_owned()
        } else {
            format!("restored {}", report::clean(&self.restored.join(", ")))
        };
        let proved = match self.verdict {
            Some(Verdict::Pass) => "every file is proved",
            Some(Verdict::CouldNotTell | Verdict::Fail) => "not all could be told; see above",
            None => "ENR key and what was beside it before a ceremony",
        };
        let mut text = format!(
            "{data_dir}\n    {what}\n    ENR key {}, as of {}\n    {proved}\n",
            self.enr_id,
            report::clean(&self.created),
        );
        for line in waiting {
            text.push_str(&format!("    {}\n", report::clean(line)));
        }
        text
    }
}

/// Keys do not go where others can read or replace them.
fn refuse_open_directory(layout: &Layout, facts: &DataDirFacts) -> Result<(), Failure> {
    match facts.mode {
        Some(mode) if mode & 0o077 != 0 => Err(Failure::new(
            Kind::Refused,
            format!(
                "{} has mode {mode:04o}, expected 0700: others could read or replace what is restored; nothing was changed",
                layout.data_dir().display()
            ),
        )
        .hint(format!("chmod 700 {}", report::quoted(layout.data_dir())))),
        Some(_) | None => Ok(()),
    }
}

/// Takes back the data directory that was made for this, if it is empty still.
fn unmake(layout: &Layout, made: bool) {
    if made {
        std::fs::remove_dir(layout.data_dir()).ok();
    }
}

/// A file of the state directory.
fn of_state<'a>(files: &[Unpacked<'a>], path: &str) -> Option<&'a [u8]> {
    let is_it = |file: &&Unpacked<'_>| file.place == Place::State && file.path == path;
    files.iter().find(is_it).map(|file| file.bytes)
}

/// The edit that is held in a backup.
fn edit_in(files: &[Unpacked<'_>]) -> Result<Option<edit_held::Record>, Failure> {
    let path = format!("{}/{}", edit_held::EDIT_DIR, edit_held::RECORD_FILE);
    let Some(bytes) = of_state(files, &path) else {
        return Ok(None);
    };
    edit_held::Record::parse(bytes).map(Some).map_err(|reason| {
        Failure::new(
            Kind::VerificationFailed,
            format!("{path} in the backup is not a record of this program: {reason}; nothing was changed"),
        )
    })
}

/// An edit that was given up here does not come back with a backup.
fn refuse_given_up(layout: &Layout, edit: &edit_held::Record) -> Result<(), Failure> {
    let closed = closed::read(layout).map_err(failures::unexpected)?;
    if closed.iter().all(|lock| lock.lock_hash != edit.lock_hash) {
        return Ok(());
    }
    Err(Failure::new(
        Kind::Refused,
        format!(
            "the backup holds an edit ({}) that was given up here since; nothing was changed",
            report::clean(&edit.kind)
        ),
    )
    .hint("if only files of the data directory are missing here: restore into an empty directory with --dir, and move them from there to here"))
}

fn open_with(context: &Context, args: &RestoreArgs) -> Result<OpenWith, Failure> {
    if !args.identity.is_empty() {
        let mut identities = Vec::new();
        for path in &args.identity {
            identities.extend(sealed::read_identities(path).map_err(backup::seal)?);
        }
        return Ok(OpenWith::Identities(identities));
    }
    let passphrase = match &args.passphrase_file {
        Some(path) => Passphrase::read(path).map_err(backup::seal)?,
        None => {
            let typed = context.secret("passphrase of the backup").map_err(|failure| {
                if failure.kind == Kind::Interrupted {
                    return failure;
                }
                failure.hint("give it with --passphrase-file FILE, or --identity FILE if it is encrypted to a key")
            })?;
            Passphrase::new(&typed)
        }
    };
    Ok(OpenWith::Passphrase(passphrase))
}

/// What the operator gave can be given better; a damaged file cannot.
fn not_opened(error: OpenError) -> Failure {
    let message = format!("the backup was not opened: {error}; nothing was changed");
    match error {
        OpenError::Wrong(_) | OpenError::OtherKind { .. } => Failure::new(Kind::Refused, message)
            .hint("try another passphrase with --passphrase-file, or identity with --identity"),
        OpenError::Costly { .. } => Failure::new(Kind::Refused, message)
            .hint("`age -d` opens it if you trust it and have the memory"),
        OpenError::Damaged(_) => {
            Failure::new(Kind::VerificationFailed, message).hint("fetch another copy of the backup")
        }
    }
}

fn occupied(error: JournalError) -> Failure {
    match error {
        JournalError::Refused(findings) => Failure::new(
            Kind::Refused,
            "the data directory holds something else than the backup; nothing was changed",
        )
        .with_findings(findings)
        .hint("restore into an empty directory with --dir; nothing is overwritten")
        .hint("if only the ENR key is missing here, and the backup is older than the ceremony: restore into an empty directory, and move charon-enr-private-key from there to here"),
        other @ (JournalError::Pending { .. }
        | JournalError::Undone { .. }
        | JournalError::Stuck { .. }
        | JournalError::Unrecorded { .. }
        | JournalError::Journal { .. }
        | JournalError::Attempt(_)
        | JournalError::Read(_)
        | JournalError::File(_)) => failures::journal(other),
    }
}
