//! `backup`: one encrypted file of this node, read back from the disk and restored once before it counts.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use age::x25519;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::ceremony::key;
use crate::cli::BackupArgs;
use crate::context::Context;
use crate::custody::contents::{self, About};
use crate::custody::record::Record;
use crate::custody::sealed::{
    self, MIN_PASSPHRASE, OpenError, OpenWith, Passphrase, SEALED, SealError, SealTo,
};
use crate::custody::sources::{self, GatherError, Stage};
use crate::edit::held as edit_held;
use crate::error::{Failure, Kind};
use crate::failures;
use crate::machine;
use crate::machine::datadir::{self, Layout};
use crate::machine::guard::{self, Guard};
use crate::machine::signals::Interrupt;
use crate::place;
use crate::promote::held;
use crate::proof::checked;
use crate::report;
use charon_files::cluster::names::FileDigest;
use charon_files::finding::{Finding, Weight};
use charon_files::wrong_file::Expected;
use charon_proof::verify::{Expectations, Material, Modes, Report, Scope, Verdict};

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    file: String,
    sha256: String,
    enr_id: String,
    files: usize,
    opened_by: String,
    read_back_with: &'static str,
    /// What `verify` says of the restored copy; nothing before a ceremony.
    verdict: Option<Verdict>,
}

/// Makes a backup. If it is stopped, nothing is left of it.
pub(crate) async fn backup(context: &Arc<Context>, args: BackupArgs) -> Result<(), Failure> {
    let layout = context.layout()?;
    place::look(&layout)?;
    let mut interrupt = Interrupt::listen().map_err(failures::signals)?;
    let litter = Arc::new(Mutex::new(Litter::default()));
    let work = tokio::task::spawn_blocking({
        let (context, layout, litter) = (Arc::clone(context), layout.clone(), Arc::clone(&litter));
        move || make(&context, &layout, &args, &litter)
    });
    tokio::select! {
        done = work => done.map_err(|error| Failure::new(Kind::Unexpected, error.to_string()))?,
        _ = interrupt.next() => {
            context.calm_terminal();
            let fate = litter.lock().unwrap_or_else(PoisonError::into_inner).remove(&layout);
            Err(Failure::new(Kind::Interrupted, fate))
        }
    }
}

/// What exists while a backup is made and must not stay if that is stopped.
#[derive(Debug, Default)]
struct Litter {
    file: Option<PathBuf>,
    stage: Option<String>,
    /// The backup, once it has its name: then it was made, and stays.
    made: Option<PathBuf>,
}

impl Litter {
    /// Takes it away, and says what became of the backup. What cannot be removed here is removed by the next command, or is
    /// encrypted.
    fn remove(&self, layout: &Layout) -> String {
        if let Some(name) = &self.stage {
            sources::remove_stage(layout, name).ok();
        }
        if let Some(path) = &self.file {
            std::fs::remove_file(path).ok();
        }
        match &self.made {
            Some(path) => format!("stopped when {} was made already", path.display()),
            None => "stopped; no backup was made".to_owned(),
        }
    }
}

fn note(litter: &Mutex<Litter>, change: impl FnOnce(&mut Litter)) {
    change(&mut litter.lock().unwrap_or_else(PoisonError::into_inner));
}

/// Takes the guard of the key, as `run` does.
pub(crate) fn guard_key(layout: &Layout, enr_id: &str) -> Result<Guard, Failure> {
    guard::claim_enr_key(enr_id, layout).map_err(failures::guard)
}

/// Takes the guard of the directory, as `run` does, and finishes what was interrupted in it.
pub(crate) fn guard_directory(context: &Context, layout: &Layout) -> Result<Guard, Failure> {
    let directory = place::claim(layout)?;
    context.finish_interrupted(layout)?;
    Ok(directory)
}

fn make(
    context: &Context,
    layout: &Layout,
    args: &BackupArgs,
    litter: &Mutex<Litter>,
) -> Result<(), Failure> {
    let enr_id = match key::enr_key(layout) {
        Ok(Some(key)) => key.id().to_string(),
        Ok(None) => {
            return Err(Failure::new(
                Kind::Refused,
                format!("there is no ENR key {}", layout.enr_key_path().display()),
            )
            .hint("`charon-dkg enr` creates one, or name the right directory with --dir"));
        }
        Err(reason) => {
            return Err(Failure::new(
                Kind::Refused,
                format!("the ENR key cannot be used: {reason}"),
            ));
        }
    };
    let now = jiff::Timestamp::now();
    let target = Target::find(layout, args.file.as_deref(), &enr_id, now)?;
    let keys = Keys::find(context, args)?;
    let _key_guard = guard_key(layout, &enr_id)?;
    let _guard = guard_directory(context, layout)?;

    let files = sources::gather(layout).map_err(|error| gather(layout, error))?;
    let created = machine::time_text(now);
    let owner = layout.owner().map_err(failures::file)?;
    let about = About {
        seconds: u64::try_from(now.as_second()).unwrap_or(0),
        created: &created,
        enr_id: &enr_id,
        owner: (owner.uid, owner.gid),
    };
    let packed = contents::pack(&files, &about).map_err(|error| gather(layout, error.into()))?;
    drop(files);
    context.say("encrypting");
    let sealed = sealed::seal(&packed, &keys.to).map_err(seal)?;
    drop(packed);
    let sha256 = hex::encode(Sha256::digest(&sealed));
    let unnamed = sources::write_unnamed(layout, &target.dir, &sealed).map_err(failures::file)?;
    note(litter, |litter| {
        litter.file = Some(unnamed.path().to_owned())
    });
    drop(sealed);

    context.say("reading it back and restoring it into a temporary directory");
    let (digests, report, findings) =
        drill(context, layout, &unnamed, &keys.with, &sha256, litter)?;
    let file = unnamed.name(&target.name).map_err(failures::file)?;
    note(litter, |litter| litter.made = Some(file.clone()));
    context.keep_from_git(&file);
    let file = file.display().to_string();
    let count = digests.len();
    let record = Record {
        time: created,
        file: file.clone(),
        sha256: sha256.clone(),
        enr_id: enr_id.clone(),
        opened_by: keys.opened_by.clone(),
        files: digests,
    };
    sources::write_record(layout, record).map_err(failures::file)?;

    let verdict = report.as_ref().map(|report| report.verdict);
    let proved = match verdict {
        Some(Verdict::Pass) => "restored once, and the copy passes verification",
        Some(Verdict::Fail | Verdict::CouldNotTell) => {
            "restored once, and the copy is the same as the original"
        }
        None => "restored once: ENR key and what is beside it, before a ceremony",
    };
    let text = format!(
        "{file}\n    {} of ENR key {enr_id}, read back and compared byte by byte\n    {proved}\n    opened by {}\n    SHA-256 {sha256}\n",
        report::count(u64::try_from(count).unwrap_or(u64::MAX), "file"),
        keys.opened_by,
    );
    context.result(
        &text,
        &Document {
            schema: "charon-dkg.backup/1",
            file,
            sha256,
            enr_id,
            files: count,
            opened_by: keys.opened_by,
            read_back_with: keys.read_back_with,
            verdict,
        },
    )?;
    if keys.read_back_with == THROW_AWAY {
        context.say(
            "it was read back with a temporary key; only you know whether you still have the recipients' identities: --identity FILE tests one",
        );
    }
    if verdict == Some(Verdict::Pass)
        && let Some(notice) = held::notice(layout)
    {
        context.say(&notice);
    }
    context.say(
        "now store it on another machine, and keep what opens it elsewhere; `charon-dkg backup restore` restores it",
    );
    judge(verdict, findings)
}

/// A backup of a directory that is not right is better than none, and is no good news.
fn judge(verdict: Option<Verdict>, findings: Vec<Finding>) -> Result<(), Failure> {
    let bad = findings
        .iter()
        .any(|finding| finding.weight == Weight::Fail);
    if verdict != Some(Verdict::Fail) && !bad {
        return Ok(());
    }
    Err(Failure::new(
        Kind::VerificationFailed,
        "the backup was written and is complete, but its files failed verification",
    )
    .with_findings(findings)
    .hint("fix the original, as `charon-dkg verify` says, and back up again")
    .hint("`charon-dkg backup restore` restores this one only with --unproved"))
}

/// Where the backup goes.
struct Target {
    dir: PathBuf,
    name: PathBuf,
}

impl Target {
    fn find(
        layout: &Layout,
        asked: Option<&Path>,
        enr_id: &str,
        now: jiff::Timestamp,
    ) -> Result<Self, Failure> {
        let here = layout.project_dir();
        let target = match asked {
            Some(path) if !path.is_dir() => Self {
                dir: match path.parent() {
                    Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
                    Some(_) | None => PathBuf::from("."),
                },
                name: path.file_name().unwrap_or_default().into(),
            },
            dir => {
                let dir = dir.unwrap_or(here).to_owned();
                let name = free_name(&dir, enr_id, now);
                Self { dir, name }
            }
        };
        let refused = |message: String| Failure::new(Kind::Refused, message);
        let dir = std::fs::canonicalize(&target.dir)
            .map_err(|error| refused(format!("cannot find {}: {error}", target.dir.display())))?;
        for (ours, why) in [
            (
                layout.data_dir(),
                "nothing but charon's files may lie there",
            ),
            (layout.state_dir(), "a backup belongs elsewhere"),
        ] {
            if dir.starts_with(ours) {
                return Err(refused(format!(
                    "{} is inside {}: {why}",
                    dir.join(&target.name).display(),
                    ours.display()
                )));
            }
        }
        let path = dir.join(&target.name);
        if std::fs::symlink_metadata(&path).is_ok() {
            return Err(refused(format!(
                "{} exists already; a backup is never overwritten",
                path.display()
            ))
            .hint("name another file, or none: the default has the time in it"));
        }
        Ok(Self {
            dir,
            name: target.name,
        })
    }
}

fn free_name(dir: &Path, enr_id: &str, now: jiff::Timestamp) -> PathBuf {
    let time = datadir::time_name(now);
    let mut name = PathBuf::from(format!("charon-backup-{time}-{enr_id}.tar.age"));
    let mut number = 1_u32;
    while std::fs::symlink_metadata(dir.join(&name)).is_ok() {
        number = number.saturating_add(1);
        name = PathBuf::from(format!("charon-backup-{time}-{enr_id}-{number}.tar.age"));
    }
    name
}

const THROW_AWAY: &str = "a throw-away identity";

/// What the backup is encrypted to, and what reads it back.
struct Keys {
    to: SealTo,
    with: OpenWith,
    opened_by: String,
    read_back_with: &'static str,
}

impl Keys {
    fn find(context: &Context, args: &BackupArgs) -> Result<Self, Failure> {
        let mut recipients: Vec<x25519::Recipient> = Vec::new();
        for text in &args.recipient {
            recipients.push(sealed::parse_recipient(text).map_err(seal)?);
        }
        for path in &args.recipients_file {
            recipients.extend(sealed::read_recipients(path).map_err(seal)?);
        }
        let mut identities = Vec::new();
        for path in &args.identity {
            identities.extend(sealed::read_identities(path).map_err(seal)?);
        }
        if !recipients.is_empty() {
            return Ok(Self::of_recipients(recipients, identities));
        }
        if !identities.is_empty() {
            return Err(Failure::new(
                Kind::Usage,
                "--identity without a recipient: it only reads the backup back",
            )
            .hint("name whom to encrypt it to with --recipient age1…; `age-keygen -y` tells that of an identity"));
        }
        let passphrase = match &args.passphrase_file {
            Some(path) => Passphrase::read(path).map_err(seal)?,
            None => ask_for_new_passphrase(context)?,
        };
        let length = passphrase.length();
        if length < MIN_PASSPHRASE {
            return Err(Failure::new(
                Kind::Refused,
                format!("a passphrase of {length} characters, expected at least {MIN_PASSPHRASE}; nothing was changed"),
            )
            .hint("anyone who finds the backup can try for years: take several random words"));
        }
        Ok(Self {
            to: SealTo::Passphrase(passphrase.clone()),
            with: OpenWith::Passphrase(passphrase),
            opened_by: "the passphrase".to_owned(),
            read_back_with: "the passphrase",
        })
    }

    /// The identity may be in a safe and not at hand. One more recipient, whose identity nobody keeps, makes it possible to
    /// read the backup back anyway and lets nobody else open it.
    fn of_recipients(
        mut recipients: Vec<x25519::Recipient>,
        identities: Vec<x25519::Identity>,
    ) -> Self {
        let count = u64::try_from(recipients.len()).unwrap_or(u64::MAX);
        let opened_by = format!(
            "the identity of any of {}",
            report::count(count, "recipient")
        );
        let opened_by = if count == 1 {
            "the recipient's identity".to_owned()
        } else {
            opened_by
        };
        let (identities, read_back_with) = if identities.is_empty() {
            let identity = sealed::throw_away_identity();
            recipients.push(identity.to_public());
            (vec![identity], THROW_AWAY)
        } else {
            (identities, "the identity given")
        };
        Self {
            to: SealTo::Recipients(recipients),
            with: OpenWith::Identities(identities),
            opened_by,
            read_back_with,
        }
    }
}

fn ask_for_new_passphrase(context: &Context) -> Result<Passphrase, Failure> {
    let ask = |question| {
        context.secret(question).map_err(|failure| {
            if failure.kind == Kind::Interrupted {
                return failure;
            }
            failure.hint(
                "give the passphrase with --passphrase-file FILE, or encrypt to a key with --recipient age1…",
            )
        })
    };
    let first = Passphrase::new(&ask("passphrase for the backup")?);
    let second = Passphrase::new(&ask("the same again")?);
    if !first.is(&second) {
        return Err(Failure::new(
            Kind::Refused,
            "the two passphrases differ; nothing was changed",
        ));
    }
    Ok(first)
}

type Drilled = (Vec<FileDigest>, Option<Report>, Vec<Finding>);

/// Reads the backup from the disk, compares it with what it was made of, and restores it into a directory that is removed
/// again.
fn drill(
    context: &Context,
    layout: &Layout,
    unnamed: &sources::Unnamed,
    with: &OpenWith,
    sha256: &str,
    litter: &Mutex<Litter>,
) -> Result<Drilled, Failure> {
    let wrong = |reason: String| {
        Failure::new(
            Kind::Unexpected,
            format!("the backup could not be read back, and is removed again: {reason}"),
        )
    };
    let sealed = unnamed
        .read_back(SEALED)
        .map_err(|error| wrong(error.to_string()))?;
    if hex::encode(Sha256::digest(&sealed)) != sha256 {
        return Err(
            wrong("the disk gives other bytes than were written".to_owned())
                .hint("this disk loses data: check it before anything else"),
        );
    }
    let packed = sealed::open(&sealed, with).map_err(|error| match error {
        OpenError::Wrong(_) => Failure::new(
            Kind::Refused,
            "the identity given opens no backup to these recipients; no backup was made",
        ),
        other
        @ (OpenError::OtherKind { .. } | OpenError::Costly { .. } | OpenError::Damaged(_)) => {
            wrong(other.to_string())
        }
    })?;
    drop(sealed);
    let (manifest, files) = contents::unpack(&packed).map_err(|error| wrong(error.to_string()))?;
    let differ = sources::differences(layout, &files).map_err(|error| gather(layout, error))?;
    if !differ.is_empty() {
        return Err(wrong(format!(
            "different from what is here now: {}",
            differ.join(", ")
        ))
        .hint("something changed here during the backup: find out what, and try again"));
    }
    let name = format!("drill-{}", uuid::Uuid::new_v4().simple());
    note(litter, |litter| litter.stage = Some(name.clone()));
    let stage = Stage::fill(layout, &name, &files).map_err(failures::file)?;
    let proved = prove(context, stage.path(), &stage.data_dir());
    stage.remove(layout).map_err(failures::file)?;
    let (report, findings) = proved?;
    Ok((manifest.files, report, findings))
}

/// Says of a data directory what `verify` would say: all of it after a ceremony, and else of the definition, if there is one.
pub(crate) fn prove(
    context: &Context,
    dir: &Path,
    data_dir: &Path,
) -> Result<(Option<Report>, Vec<Finding>), Failure> {
    let layout = Layout::resolve(dir, Some(data_dir)).map_err(failures::layout)?;
    let mut material = checked::read_data_dir(&layout)?;
    if let Some(stage) = held::laid_out(&dir.join(sources::STAGED_STATE)) {
        checked::add_held(&mut material, &stage)?;
    }
    let verify = |material: &Material, scope| {
        let expectations = Expectations::default();
        checked::verify_shown(context, material, &expectations, scope, Modes::Private).report
    };
    let edit = prove_edit(&material, &dir.join(sources::STAGED_STATE), &verify)?;
    if material.cluster_lock.is_some() || !material.keystores.is_empty() {
        let mut report = verify(&material, Scope::WholeDataDirectory);
        if let Some(edit) = edit {
            report.verdict = report.verdict.max(edit.verdict);
            report.findings.extend(edit.findings);
        }
        let findings = report.findings.clone();
        return Ok((Some(report), findings));
    }
    if let Some(report) = edit {
        let findings = report.findings.clone();
        return Ok((Some(report), findings));
    }
    if material.definition.is_none() {
        return Ok((None, Vec::new()));
    }
    let definition = Material {
        definition: material.definition,
        ..Material::default()
    };
    let report = verify(&definition, Scope::DefinitionOnly);
    Ok((None, report.findings))
}

/// The same of the edit that is held, if one is: what it made is right by itself, and for the lock before it.
fn prove_edit(
    material: &Material,
    state_dir: &Path,
    verify: &dyn Fn(&Material, Scope) -> Report,
) -> Result<Option<Report>, Failure> {
    let dir = state_dir.join(edit_held::EDIT_DIR);
    if !dir.is_dir() {
        return Ok(None);
    }
    let previous = dir.join(edit_held::PREVIOUS_LOCK_FILE);
    let mut made = Material {
        enr_key: material.enr_key.clone(),
        previous_lock: Some(checked::read_single(&previous, Expected::ClusterLock)?),
        ..Material::default()
    };
    checked::add_held(&mut made, &dir.join(edit_held::NEW_DIR))?;
    Ok(Some(verify(&made, Scope::WholeDataDirectory)))
}

fn gather(layout: &Layout, error: GatherError) -> Failure {
    let message = format!("this directory cannot be backed up whole: {error}");
    let failure = Failure::new(Kind::Refused, message);
    let hints = match error {
        GatherError::Read(error) => {
            let facts = datadir::observe(layout);
            facts.map_or_else(|_| Vec::new(), |facts| place::unread(&error, &facts))
        }
        GatherError::Foreign { .. } | GatherError::Archive(_) => {
            vec!["move files that are not charon's out of the data directory".to_owned()]
        }
    };
    hints.into_iter().fold(failure, Failure::hint)
}

pub(crate) fn seal(error: SealError) -> Failure {
    let kind = match &error {
        SealError::Recipient { .. } => Kind::Usage,
        SealError::NotAKey { .. } | SealError::Read(_) => Kind::Refused,
        SealError::Encrypt(_) => Kind::Unexpected,
    };
    let failure = Failure::new(kind, error.to_string());
    match error {
        SealError::Recipient { .. } => failure.hint(
            "`age-keygen -o backup-identity.txt` makes an identity and prints its recipient; `age-keygen -y` tells that of one there is",
        ),
        SealError::NotAKey { .. } | SealError::Read(_) | SealError::Encrypt(_) => failure,
    }
}
