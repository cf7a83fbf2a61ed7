//! `confirm`: collects receipts, shows who is missing or differs in what, and keeps them for the gate.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::ceremony::attempt::Attempt;
use crate::cli::ConfirmArgs;
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::failures;
use crate::machine::datadir::{self, Layout};
use crate::machine::guard;
use crate::promote::{held, promotion};
use crate::proof::pasted::{self, Wanted};
use crate::proof::{checked, prove, receipt, verify};
use crate::report::{self, OperatorRow};
use charon_files::cluster::NodeIndex;
use charon_files::cluster::names::FileDigest;
use charon_files::enr_texts::lines_with_secrets;
use charon_files::finding::{Finding, first_seen};
use charon_files::wrong_file::Expected;
use charon_proof::cluster::Cluster;
use charon_proof::confirm::{
    Confirmation, Own, Status, broken_finding, confirm as judge, time_text, without_lines,
};
use charon_proof::line::{self, Broken, LineKind, MAX_TEXT_BYTES, Signed, Stated};
use charon_proof::receipt::Statement;
use charon_proof::verify::{Expectations, Material, Modes, NamedFile, Scope, Verified};

pub(crate) fn confirm(context: &Context, args: &ConfirmArgs) -> Result<(), Failure> {
    let given = Given::read(context, &args.receipts)?;
    let (confirmation, here) = match &args.lock {
        Some(lock) => (by_lock(context, lock, &args.deposit, &given)?, None),
        None => {
            let (confirmation, here) = by_directory(context, args, &given)?;
            (confirmation, Some(here))
        }
    };
    show(context, args, &confirmation, &given, here.as_ref())
}

/// What somebody concludes who has the lock and nothing else.
fn by_lock(
    context: &Context,
    lock: &Path,
    deposit: &[std::path::PathBuf],
    given: &Given<Statement>,
) -> Result<Confirmation, Failure> {
    let mut material = Material {
        cluster_lock: Some(checked::read_single(lock, Expected::ClusterLock)?),
        ..Material::default()
    };
    for path in deposit {
        material
            .deposit_data
            .push(checked::read_single(path, Expected::DepositData)?);
    }
    let scope = if deposit.is_empty() {
        Scope::LockOnly
    } else {
        Scope::DepositsAgainstLock
    };
    let expectations = Expectations::default();
    let outcome = checked::verify_shown(context, &material, &expectations, scope, Modes::Private);
    let Some(cluster) = outcome.cluster else {
        let what = lock.display().to_string();
        return Err(checked::not_proved(&outcome.report, &what));
    };
    let files: Vec<FileDigest> = material
        .deposit_data
        .iter()
        .map(NamedFile::digest)
        .collect();
    let own = (!files.is_empty()).then(|| Own::of_files(&files));
    Ok(judge(&cluster, &given.lines, own.as_ref()))
}

/// What this node concludes, from its own files and all receipts that it has seen.
fn by_directory(
    context: &Context,
    args: &ConfirmArgs,
    given: &Given<Statement>,
) -> Result<(Confirmation, Here), Failure> {
    let layout = context.layout()?;
    verify::recover(context, &layout)?;
    // What is held is looked at by one command at a time: another one may be about to move it.
    let early = match held::find(&layout) {
        Some(_) => {
            let guard = guard::claim_directory(&layout).map_err(failures::guard)?;
            context.finish_interrupted(&layout)?;
            Some(guard)
        }
        None => None,
    };
    let proof = prove::prove(context, &layout)
        .map_err(|failure| failure.hint("if you only have the cluster lock, pass --lock FILE"))?;
    datadir::create_state_dir(&layout).map_err(failures::state_dir)?;
    let _guard = match early {
        Some(guard) => guard,
        None => guard::claim_directory(&layout).map_err(failures::guard)?,
    };
    let held = held::find(&layout);
    if args.promote_anyway && held.is_none() {
        return Err(Failure::new(
            Kind::Refused,
            "--promote-anyway, and no keys are held here; nothing was changed",
        )
        .hint("`charon-dkg status` shows the state of this directory"));
    }
    proof.remember(&layout)?;
    let cluster = proof.verified.cluster();
    let forgotten = forgotten(&args.forget, cluster)?;
    let kept = receipt::kept(&layout, cluster)?;
    let own = receipt::issue(context, &layout, &proof.verified, &proof.key, &kept)?;
    let mut all = kept;
    all.retain(|receipt| {
        let signer = cluster.signer(receipt);
        !signer.is_some_and(|signer| forgotten.contains(&signer))
    });
    all.push(own);
    all.extend_from_slice(&given.lines);
    let confirmation = judge(cluster, &all, Some(&Own::of(&proof.verified)));
    receipt::keep(&layout, &confirmation)?;
    let node = proof.verified.node_index();
    let held = match held {
        None => Hold::None,
        Some(attempt) => settle(
            context,
            args,
            &layout,
            &attempt,
            proof.verified,
            &confirmation,
        )?,
    };
    Ok((
        confirmation,
        Here {
            node,
            data_dir: layout.data_dir().display().to_string(),
            held,
        },
    ))
}

/// This node, and what became of what it held.
struct Here {
    node: NodeIndex,
    data_dir: String,
    held: Hold,
}

/// What became of what was held.
enum Hold {
    /// Nothing was.
    None,
    /// It is in the data directory now.
    Promoted,
    /// It waits there for the others.
    Waits(PathBuf),
}

/// Promotes what is held once every operator has confirmed, or once somebody has typed that it shall be done without.
fn settle(
    context: &Context,
    args: &ConfirmArgs,
    layout: &Layout,
    attempt: &Attempt,
    verified: Verified,
    confirmation: &Confirmation,
) -> Result<Hold, Failure> {
    if !confirmation.is_complete() {
        if !args.promote_anyway {
            return Ok(Hold::Waits(attempt.stage()));
        }
        promote_anyway(context, layout, confirmation)?;
    }
    promotion::promote(layout, attempt, verified).map_err(failures::journal)?;
    Ok(Hold::Promoted)
}

/// What has to be typed to start without all receipts.
const ANYWAY: &str = "promote without all receipts";

fn promote_anyway(
    context: &Context,
    layout: &Layout,
    confirmation: &Confirmation,
) -> Result<(), Failure> {
    let me = &context.spelling;
    context.warn(&format!(
        "{}. An operator without a receipt may have no keys, or other keys. If fewer operators than the threshold have theirs, the \
         cluster can never sign, not even an exit, and every deposit into it is lost. As long as nobody has deposited, a new \
         ceremony is safer: `{me} archive`, then `{me} run`",
        confirmation.summary(),
    ));
    let question = format!(
        "To move the keys to {} anyway, type: {ANYWAY}",
        layout.data_dir().display()
    );
    if context.typed(&question)? == ANYWAY {
        return Ok(());
    }
    Err(Failure::new(
        Kind::Refused,
        format!(
            "something else was typed than \"{ANYWAY}\"; the keys are still held, and the receipts are kept"
        ),
    ))
}

fn forgotten(numbers: &[usize], cluster: &Cluster) -> Result<Vec<NodeIndex>, Failure> {
    numbers
        .iter()
        .map(|number| {
            let position = number.checked_sub(1);
            position
                .filter(|position| *position < cluster.operator_count())
                .map(NodeIndex::new)
                .ok_or_else(|| {
                    Failure::new(
                        Kind::Usage,
                        format!(
                            "--forget {number}, expected 1 to {}",
                            cluster.operator_count()
                        ),
                    )
                })
        })
        .collect()
}

fn show(
    context: &Context,
    args: &ConfirmArgs,
    confirmation: &Confirmation,
    given: &Given<Statement>,
    here: Option<&Here>,
) -> Result<(), Failure> {
    let this = here.map(|here| here.node);
    let document = confirmation.document(&given.broken);
    let bundle = confirmation.bundle();
    let moved = match here {
        Some(Here {
            data_dir,
            held: Hold::Promoted,
            ..
        }) => format!("your keys were held, and are in {data_dir} now\n"),
        Some(_) | None => String::new(),
    };
    let text = match (&bundle, args.bundle) {
        (Some(bundle), true) => bundle.clone(),
        // With the bundle in a file, the table is not wanted on standard output.
        (None, true) => String::new(),
        (_, false) => table(confirmation, this) + &moved,
    };
    context.result(&text, &document)?;
    if bundle.is_some() {
        let mut notes = confirmation.findings();
        notes.extend_from_slice(&given.broken);
        if !notes.is_empty() {
            context.say(report::findings_text(&notes).trim_end());
        }
        return Ok(());
    }
    let mut findings = confirmation.findings();
    findings.extend_from_slice(&given.broken);
    let mut failure =
        Failure::new(Kind::VerificationFailed, confirmation.summary()).with_findings(findings);
    failure = match here.map(|here| (&here.held, &here.data_dir)) {
        Some((Hold::Waits(stage), data_dir)) => {
            let operators = confirmation.operators().len();
            failure.hint(held::says(stage, data_dir, operators))
        }
        Some((Hold::Promoted, _)) => {
            context.say(&format!(
                "a gate that requires confirmed stays closed; `{} gate install --require verified` opens it",
                context.spelling
            ));
            return Ok(());
        }
        Some((Hold::None, _)) | None => {
            failure.hint("do not start the cluster until every operator has confirmed")
        }
    };
    let has = |status| {
        let mut lines = confirmation.operators().iter();
        lines.any(|line| line.status == status)
    };
    if has(Status::Missing) {
        failure = failure.hint(
            "ask the missing operators to run `docker charon-dkg receipt` and to paste the line; then `charon-dkg confirm -`, and paste it or the whole chat",
        );
    }
    if this.is_some() && (has(Status::Conflicting) || has(Status::OtherLock)) {
        failure = failure.hint(
            "once it is clear which receipt is right, `charon-dkg confirm --forget N` with that receipt leaves out what operator N said before",
        );
    }
    Err(failure)
}

/// The table for people.
fn table(confirmation: &Confirmation, this: Option<NodeIndex>) -> String {
    let rows: Vec<OperatorRow<'_>> = confirmation
        .operators()
        .iter()
        .map(|line| OperatorRow {
            node: line.node,
            address: &line.address,
            status: line.status.text(),
            what: match (line.status, &line.receipt) {
                (Status::Valid, Some(receipt)) => described(receipt.statement()),
                (
                    Status::Valid
                    | Status::Missing
                    | Status::WrongKey
                    | Status::OtherLock
                    | Status::ContradictsLock
                    | Status::OtherDeposits
                    | Status::OtherRelease
                    | Status::Conflicting,
                    _,
                ) => first_seen(&line.findings),
            },
        })
        .collect();
    format!(
        "lock_hash {}\n{}{}\n",
        confirmation.lock_hash(),
        report::operator_table("receipt", &rows, this),
        confirmation.summary()
    )
}

/// `2026-11-28T03:00:00Z, charon v1.10.3, 2 keystores`.
fn described(statement: &Statement) -> String {
    let charon = statement
        .charon_version
        .as_ref()
        .map_or_else(|| "charon unknown".to_owned(), |it| format!("charon {it}"));
    format!(
        "{}, {charon}, {}",
        time_text(statement.time),
        report::count(u64::from(statement.keystores), "keystore")
    )
}

/// Lines of one kind from the command line, from files and from standard input.
pub(crate) struct Given<S> {
    pub(crate) lines: Vec<Signed<S>>,
    /// What looks like such a line but is not one.
    pub(crate) broken: Vec<Finding>,
}

/// Something in a pasted text.
#[derive(PartialEq)]
enum Found<S> {
    Line(Box<Result<Signed<S>, Broken>>),
    /// What looks like an ENR private key, on this line of the text.
    Secret(usize),
}

fn find<S: Stated>(text: &str) -> Result<Vec<Found<S>>, String> {
    let lines = line::find::<S>(text).map_err(|error| error.to_string())?;
    let secrets = lines_with_secrets(text).into_iter().map(Found::Secret);
    let lines = lines.into_iter().map(|line| Found::Line(Box::new(line)));
    Ok(lines.chain(secrets).collect())
}

impl<S: Stated> Given<S> {
    pub(crate) fn read(context: &Context, args: &[OsString]) -> Result<Self, Failure> {
        let kind = S::KIND;
        let (name, several) = match kind {
            LineKind::Receipt => ("a receipt", "receipts"),
            LineKind::Ready => ("a ready line", "ready lines"),
            LineKind::Stopped => ("a stopped line", "stopped lines"),
        };
        let wanted = Wanted {
            beginning: kind.beginning(),
            name,
            several,
            limit: MAX_TEXT_BYTES,
            find: find::<S>,
        };
        let mut given = Self {
            lines: Vec::new(),
            broken: Vec::new(),
        };
        for text in pasted::read(context, args, &wanted)? {
            let is_line = |found: &Found<S>| matches!(found, Found::Line(_));
            if !text.found.iter().any(is_line) {
                given.broken.push(without_lines(&text.source, kind));
            }
            for found in text.found {
                match found {
                    Found::Line(line) => match *line {
                        Ok(line) => given.lines.push(line),
                        Err(broken) => given.broken.push(broken_finding(&text.source, &broken)),
                    },
                    Found::Secret(line) => given
                        .broken
                        .push(pasted::secret_finding(&text.source, line)),
                }
            }
        }
        Ok(given)
    }
}

/// What the kept receipts say of a directory that was just proved. Their signatures are checked each time; there is no mark
/// that says that all operators confirmed. Writes nothing.
///
/// # Errors
/// If receipts are kept and cannot be read.
pub(crate) fn judge_kept(layout: &Layout, verified: &Verified) -> Result<Confirmation, Failure> {
    let kept = receipt::kept(layout, verified.cluster())?;
    Ok(judge(verified.cluster(), &kept, Some(&Own::of(verified))))
}
