//! Reads what `verify` needs and shows what it says.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rayon::prelude::*;

use crate::ceremony::attempt::Attempt;
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::failures;
use crate::machine::datadir::{self, DataDirFacts, Layout};
use crate::machine::files::EntryKind;
use crate::machine::read::{self, Limit, ReadError};
use crate::machine::terminal;
use crate::place;
use crate::promote::held;
use crate::report;
use charon_files::cluster::names::{self, DEFINITION_FILE, ENR_KEY_FILE, Name};
use charon_files::cluster::{ClusterLock, Definition};
use charon_files::finding::Finding;
use charon_files::wrong_file::{Expected, WrongFile};
use charon_proof::verify::{
    ContractQuestion, Expectations, Material, Modes, NamedFile, Options, Outcome, Phase, Progress,
    Report, Scope, Verdict, Verified, contract_questions, verify,
};

/// What is known of a definition alone.
pub(crate) struct CheckedDefinition {
    pub(crate) findings: Vec<Finding>,
    /// Whether somebody may have signed with a contract wallet: then charon asks an execution client too.
    pub(crate) has_contract_wallets: bool,
}

/// What `verify` says of a definition alone; contract wallets are asked.
pub(crate) async fn definition(
    context: &Context,
    definition: &Definition,
    bytes: &[u8],
) -> CheckedDefinition {
    let questions = contract_questions(definition);
    context.ask_contracts(&questions).await;
    let material = Material {
        definition: Some(NamedFile::new(DEFINITION_FILE, bytes.to_vec())),
        ..Material::default()
    };
    let answers = |question: &ContractQuestion| context.contracts.answer(question);
    let options = Options {
        contract_answers: &answers,
        ..Options::new(Scope::DefinitionOnly)
    };
    let outcome = verify(&material, &context.expectations(), &options);
    CheckedDefinition {
        findings: outcome.report.findings,
        has_contract_wallets: !questions.is_empty(),
    }
}

/// Everything in a data directory as material, and what is held for it. What cannot be read is named among the errors.
pub(crate) fn read_data_dir(layout: &Layout) -> Result<Material, Failure> {
    let facts = datadir::observe(layout).map_err(failures::file)?;
    if !facts.exists() {
        return Err(Failure::new(
            Kind::VerificationFailed,
            format!("{} does not exist", layout.data_dir().display()),
        )
        .hint("name the project directory with --dir, or the data directory with --data-dir"));
    }
    all_was_seen(&facts, layout.data_dir())?;
    let mut material = read_files(layout.data_dir(), &facts)?;
    material.ownership = facts.modes();
    material.untold_modes = facts.untold_modes.len();
    material.expected_owner = Some((facts.owner.uid, facts.owner.gid));
    if let Some(stage) = held::place(layout) {
        add_held(&mut material, &stage)?;
    }
    Ok(material)
}

/// What is held is proved as part of the directory that it will come into.
pub(crate) fn add_held(material: &mut Material, stage: &Path) -> Result<(), Failure> {
    let around = stage.parent().unwrap_or(stage);
    let as_data_dir = Layout::resolve(around, Some(stage)).map_err(failures::layout)?;
    let facts = datadir::observe(&as_data_dir).map_err(failures::file)?;
    all_was_seen(&facts, stage)?;
    let staged = read_files(stage, &facts)?;
    // These have their place in the data directory, and are not promoted over what is there.
    let inputs = [staged.definition, staged.enr_key].into_iter().flatten();
    material
        .other_names
        .extend(inputs.map(|file| stage.join(file.path).display().to_string()));
    material.other_names.extend(staged.other_names);
    material.cluster_lock = staged.cluster_lock;
    material.deposit_data.extend(staged.deposit_data);
    material.keystores.extend(staged.keystores);
    let modes = facts.modes().into_iter().filter(|mode| mode.path != ".");
    material.ownership.extend(modes);
    Ok(())
}

/// Everything in a directory that is no node's data directory, such as charon's output before it has its place.
///
/// # Errors
/// If it is not there, or something in it cannot be read.
pub(crate) fn read_directory(dir: &Path) -> Result<Material, Failure> {
    let around = dir.parent().filter(|it| !it.as_os_str().is_empty());
    let as_data_dir =
        Layout::resolve(around.unwrap_or(Path::new(".")), Some(dir)).map_err(failures::layout)?;
    let facts = datadir::observe(&as_data_dir).map_err(failures::file)?;
    if !facts.exists() {
        return Err(Failure::new(
            Kind::VerificationFailed,
            format!("{} is not a directory", dir.display()),
        ));
    }
    all_was_seen(&facts, dir)?;
    let mut material = read_files(as_data_dir.data_dir(), &facts)?;
    material.ownership = facts.modes();
    Ok(material)
}

/// This node's ENR key as it is in the data directory.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn read_enr_key(layout: &Layout) -> Result<NamedFile, Failure> {
    read_named(layout.data_dir(), ENR_KEY_FILE, read::ENR_KEY)
        .map_err(|error| Failure::new(Kind::Refused, error.to_string()))
}

/// What was not looked at could be anything, another node's keystores too.
fn all_was_seen(facts: &DataDirFacts, dir: &Path) -> Result<(), Failure> {
    if facts.truncated {
        return Err(Failure::new(
            Kind::VerificationFailed,
            format!(
                "{} has more files, or deeper directories, than any ceremony writes",
                dir.display()
            ),
        )
        .hint("move what charon did not write out of the directory"));
    }
    match facts.unreadable.first() {
        Some((inside, reason)) => {
            // The directory itself has an empty name here, which `join` would turn into a slash.
            let path: PathBuf = dir.components().chain(inside.components()).collect();
            let failure = Failure::new(
                Kind::VerificationFailed,
                format!("{} cannot be listed: {reason}", path.display()),
            );
            let entry = facts.entries.iter().find(|entry| entry.path == *inside);
            let owner = entry.map_or(facts.owner, |entry| entry.owner);
            let hints = place::not_for_this_user(owner.uid, facts);
            Err(hints.into_iter().fold(failure, Failure::hint))
        }
        None => Ok(()),
    }
}

/// Files by name into their place in the material. Directories are known by what is in them.
fn read_files(dir: &Path, facts: &DataDirFacts) -> Result<Material, Failure> {
    let mut material = Material::default();
    let mut wanted = Vec::new();
    for entry in &facts.entries {
        let path = entry.name();
        match entry.kind {
            EntryKind::Directory if names::classify(&path) == Name::ValidatorKeys => {}
            EntryKind::Regular => match limit_of(&path) {
                Some(limit) => wanted.push((path, limit, entry)),
                None => material.other_names.push(path),
            },
            EntryKind::Directory | EntryKind::Symlink | EntryKind::Fifo | EntryKind::Other => {
                material.other_names.push(path);
            }
        }
    }
    // What is too long by itself is not read, and told apart.
    let lengths = wanted.iter().map(|(_, limit, entry)| (limit, entry.len));
    let lengths = lengths.filter(|(limit, len)| *len <= limit.bytes);
    let total = lengths.fold(0_u64, |total, (_, len)| total.saturating_add(len));
    if total > read::MAX_DATA_DIRECTORY_BYTES {
        return Err(Failure::new(
            Kind::VerificationFailed,
            format!(
                "the files in {} are longer than {} MiB together, more than any ceremony writes",
                dir.display(),
                read::MAX_DATA_DIRECTORY_BYTES >> 20
            ),
        )
        .hint("move what charon did not write out of the directory"));
    }
    // A large cluster has thousands of keystores.
    let read: Vec<Result<NamedFile, ReadError>> = wanted
        .into_par_iter()
        .map(|(path, limit, entry)| {
            // Not longer than it was when it was counted.
            let limit = Limit {
                bytes: limit.bytes.min(entry.len),
                ..limit
            };
            read_named(dir, &path, limit)
        })
        .collect();
    let mut unread = Vec::new();
    let mut advice: Vec<String> = Vec::new();
    for file in read {
        let file = match file {
            Ok(file) => file,
            Err(error) => {
                advice.extend(place::unread(&error, facts));
                unread.push(error.to_string());
                continue;
            }
        };
        match names::classify(&file.path) {
            Name::Definition => material.definition = Some(file),
            Name::ClusterLock => material.cluster_lock = Some(file),
            Name::EnrKey => material.enr_key = Some(file),
            Name::DepositData => material.deposit_data.push(file),
            Name::Keystore | Name::KeystorePassword => material.keystores.push(file),
            // Not read, by their limit.
            Name::Heartbeat
            | Name::ClusterManifest
            | Name::OddDepositData
            | Name::ValidatorKeys
            | Name::Bundle
            | Name::Other => material.other_names.push(file.path),
        }
    }
    if unread.is_empty() {
        return Ok(material);
    }
    let mut told = HashSet::new();
    advice.retain(|line| told.insert(line.clone()));
    let failure = Failure::new(Kind::VerificationFailed, unread.join("; "));
    Err(advice.into_iter().fold(failure, Failure::hint))
}

/// How much is read of a file with this name; `None` if such a file is not verified.
fn limit_of(path: &str) -> Option<Limit> {
    match names::classify(path) {
        Name::Definition => Some(read::DEFINITION),
        Name::ClusterLock => Some(read::CLUSTER_LOCK),
        Name::EnrKey => Some(read::ENR_KEY),
        Name::DepositData => Some(read::DEPOSIT_DATA),
        Name::Keystore => Some(read::KEYSTORE),
        Name::KeystorePassword => Some(read::KEYSTORE_PASSWORD),
        Name::Heartbeat
        | Name::ClusterManifest
        | Name::OddDepositData
        | Name::ValidatorKeys
        | Name::Bundle
        | Name::Other => None,
    }
}

fn read_named(dir: &Path, path: &str, limit: Limit) -> Result<NamedFile, ReadError> {
    let mut bytes = read::read_secret_in(dir, Path::new(path), limit)?;
    Ok(NamedFile::new(path, std::mem::take(&mut *bytes)))
}

/// What to do about a file of the wrong kind.
pub(crate) fn wrong_file_advice(wrong: &WrongFile, expected: Expected, path: &str) -> String {
    let path = report::quoted(path);
    match wrong {
        WrongFile::Other(Expected::ClusterLock) => format!(
            "`charon-dkg verify --lock {path}` proves a cluster lock, which a ceremony leaves; here, give {expected}"
        ),
        WrongFile::Other(Expected::Definition) => format!(
            "`charon-dkg verify --definition {path}` checks a cluster definition, which is agreed on before a ceremony; here, give {expected}"
        ),
        WrongFile::Other(Expected::DepositData) => format!(
            "deposit data is checked against a lock: `charon-dkg verify --lock cluster-lock.json --deposit {path}`; here, give {expected}"
        ),
        WrongFile::Keystore => {
            "keystores are proved with their data directory: `charon-dkg verify`; never send one to anyone"
                .to_owned()
        }
        WrongFile::Message(_) | WrongFile::WebPage => format!(
            "the server had no such file, or not at this address: ask for the address of {expected} itself{}",
            download(expected)
        ),
        WrongFile::Compressed => format!(
            "unpack it and give what is in it{}",
            download(expected)
        ),
        WrongFile::Utf16 | WrongFile::TypographicQuotes | WrongFile::Empty => format!(
            "get the file again, as a file and not as pasted text{}",
            download(expected)
        ),
        WrongFile::WithoutVersion => {
            "this program reads the formats v1.0.0 to v1.11.0: ask for a file that a current release of charon made"
                .to_owned()
        }
    }
}

fn download(expected: Expected) -> &'static str {
    match expected {
        Expected::Definition => {
            "; to have it fetched, give its https URL to `charon-dkg plan --definition` or `charon-dkg run --definition`"
        }
        Expected::ClusterLock | Expected::DepositData => "",
    }
}

/// One file given by its path.
///
/// # Errors
/// [`Kind::VerificationFailed`]: what cannot be read cannot pass.
pub(crate) fn read_single(path: &Path, expected: Expected) -> Result<NamedFile, Failure> {
    let limit = match expected {
        Expected::Definition => read::DEFINITION,
        Expected::ClusterLock => read::CLUSTER_LOCK,
        Expected::DepositData => read::DEPOSIT_DATA,
    };
    let bytes = read::read_file(path, limit)
        .map_err(|error| Failure::new(Kind::VerificationFailed, error.to_string()))?;
    if let Some(wrong) = WrongFile::of(&bytes, expected) {
        let path = path.display().to_string();
        return Err(Failure::new(
            Kind::VerificationFailed,
            format!("{path} is {wrong}; expected {expected}"),
        )
        .hint(wrong_file_advice(&wrong, expected, &path)));
    }
    let name = path.file_name().map_or_else(
        || path.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    );
    Ok(NamedFile::new(name, bytes))
}

/// Asks contract wallets about the signatures of the definition, in the lock or alone, so that everything else need be
/// verified only once.
pub(crate) fn ask_first(context: &Context, material: &Material, scope: Scope) {
    // Reading the lock twice is for those who have somebody to ask.
    if !context.contracts.can_ask() {
        return;
    }
    let of_lock = |file: &NamedFile| Some(ClusterLock::parse(&file.bytes).ok()?.value.definition);
    let of_file = |file: &NamedFile| Some(Definition::parse(&file.bytes).ok()?.value);
    let definition = if scope.has_lock() {
        material.cluster_lock.as_ref().and_then(of_lock)
    } else {
        material.definition.as_ref().and_then(of_file)
    };
    let previous = material.previous_lock.as_ref().and_then(of_lock);
    for definition in definition.iter().chain(&previous) {
        context.ask_contracts_now(&contract_questions(definition));
    }
}

/// Verifies from the beginning, with progress.
pub(crate) fn verify_shown(
    context: &Context,
    material: &Material,
    expectations: &Expectations,
    scope: Scope,
    modes: Modes,
) -> Outcome {
    let shown = shown(context);
    ask_first(context, material, scope);
    let answers = |question: &ContractQuestion| context.contracts.answer(question);
    let options = Options {
        modes,
        progress: &shown,
        contract_answers: &answers,
        ..Options::new(scope)
    };
    verify(material, expectations, &options)
}

/// The failure of a command for which this report proved too little.
pub(crate) fn not_proved(report: &Report, what: &str) -> Failure {
    let message = match report.verdict {
        Verdict::Fail => format!("{what} did not pass verification"),
        Verdict::Pass | Verdict::CouldNotTell => {
            format!("it could not be told whether {what} is right")
        }
    };
    Failure::new(Kind::VerificationFailed, message).with_findings(report.all_findings())
}

/// Verifies the stage of an attempt, together with the key and the definition that were mounted
/// into it.
///
/// # Errors
/// The outer error means that not even checking was possible; the inner, that it did not pass.
pub(crate) fn stage(
    context: &Context,
    layout: &Layout,
    attempt: &Attempt,
    expectations: &Expectations,
) -> Result<Result<(Verified, Report), Failure>, Failure> {
    let stage = attempt.stage();
    let as_data_dir = Layout::resolve(attempt.dir(), Some(&stage)).map_err(failures::layout)?;
    let facts = datadir::observe(&as_data_dir).map_err(failures::file)?;
    let read = all_was_seen(&facts, &stage).and_then(|()| read_files(&stage, &facts));
    let mut material = match read {
        Ok(material) => material,
        Err(failure) => return Ok(Err(failure)),
    };
    // The promoted directory is proved as it will be: with the definition, if it is there.
    material.definition = read_named(layout.data_dir(), DEFINITION_FILE, read::DEFINITION).ok();
    material.enr_key = Some(
        read_named(layout.data_dir(), ENR_KEY_FILE, read::ENR_KEY)
            .map_err(|error| Failure::new(Kind::Unexpected, error.to_string()))?,
    );
    context.say("verifying every file");
    let Outcome {
        report,
        verified,
        contract_questions,
        ..
    } = verify_shown(
        context,
        &material,
        expectations,
        Scope::WholeDataDirectory,
        Modes::AsCharonLeavesThem,
    );
    // The answers were there before the ceremony; that they are not available now is not its failure.
    if report.verdict == Verdict::CouldNotTell && !contract_questions.is_empty() {
        return Err(Failure::new(
            Kind::VerificationFailed,
            "what charon wrote cannot be verified until contract wallets have been asked",
        )
        .with_findings(report.findings)
        .hint("`charon-dkg run` with --execution-rpc-file goes on where this stopped; nothing is lost"));
    }
    let Some(verified) = verified else {
        let failure = not_proved(&report, "what charon wrote");
        return Ok(Err(failure.hint(format!(
            "nothing was promoted; the files stay in {} as evidence",
            stage.display()
        ))));
    };
    Ok(Ok((verified, report)))
}

/// A verification's progress, on the terminal.
pub(crate) fn shown(context: &Context) -> Shown<'_> {
    Shown {
        context,
        current: Mutex::new(None),
    }
}

/// A verification's progress as bars or lines.
pub(crate) struct Shown<'a> {
    context: &'a Context,
    /// One phase comes after the other, and what is done needs no bar.
    current: Mutex<Option<(Phase, terminal::Progress<'a>)>>,
}

const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Shares => "checking shares",
        Phase::Signatures => "checking signatures",
        Phase::Keystores => "opening keystores",
    }
}

fn pieces(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

impl Progress for Shown<'_> {
    fn set_total(&self, phase: Phase, total: usize) {
        if let Ok(mut current) = self.current.lock() {
            // The old bar goes before the new one comes.
            *current = None;
            *current = Some((phase, self.context.task(phase_name(phase), pieces(total))));
        }
    }

    fn advance(&self, phase: Phase, steps: usize) {
        if let Ok(current) = self.current.lock()
            && let Some((known, task)) = &*current
            && *known == phase
        {
            task.advance(pieces(steps));
        }
    }
}
