//! `edit`: from the files that charon's edit wrote to a cluster that runs with them.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::ceremony::edit::EditCommand;
use crate::ceremony::facts::{Typed, What};
use crate::ceremony::perform::Done;
use crate::ceremony::ready;
use crate::ceremony::run::{self, Start};
use crate::ceremony::surroundings;
use crate::cli::{
    AddValidatorsArgs, EditAction, EditCeremonyArgs, EditHoldArgs, EditStatusArgs, EditStoppedArgs,
    RetireArgs,
};
use crate::context::Context;
use crate::edit::closed::{self, Why};
use crate::edit::held;
use crate::edit::stand::{self, ConditionLine, OldCluster, Proved, Stand};
use crate::edit::take;
use crate::error::{Failure, Kind};
use crate::failures::{self, unexpected};
use crate::machine;
use crate::machine::datadir::Layout;
use crate::machine::signals::Interrupt;
use crate::place;
use crate::promote::archive::{self, ArchiveResult, ArchiveScope};
use crate::promote::switch;
use crate::proof::pasted::Wanted;
use crate::proof::two_kinds::{Given, both_kinds};
use crate::proof::{checked, verify};
use crate::report;
use charon_files::cluster::names::CLUSTER_LOCK_FILE;
use charon_files::cluster::{AddressPair, ClusterLock, LockHash, NodeIndex};
use charon_files::finding::{Finding, Weight};
use charon_files::keys::k1::EnrKey;
use charon_files::wrong_file::Expected;
use charon_proof::confirm::time_text;
use charon_proof::edit::{Edit, EditRequest};
use charon_proof::line::MAX_TEXT_BYTES;
use charon_proof::receipt::Statement as ReceiptStatement;
use charon_proof::stopped::{Statement, StoppedLine};
use charon_proof::switch::{CLOCK_MARGIN_SECONDS, Condition, Standing};
use charon_proof::verify::{Expectations, Material, Modes, NamedFile, Scope};

const SCHEMA: &str = "charon-dkg.edit/1";

/// What every action prints.
#[derive(Debug, Default, Serialize)]
struct Document {
    schema: &'static str,
    /// charon's command.
    kind: Option<String>,
    previous_lock_hash: Option<String>,
    lock_hash: Option<String>,
    conditions: Vec<ConditionLine>,
    /// Whether nothing is missing for the switch.
    may_switch: bool,
    receipt: Option<String>,
    stopped_line: Option<String>,
    /// Where old files, or what was given up, are now.
    archive: Option<String>,
    /// What only looks like a line.
    broken: Vec<Finding>,
}

impl Document {
    fn new() -> Self {
        Self {
            schema: SCHEMA,
            ..Self::default()
        }
    }

    fn of(proved: &Proved, stand: &Stand) -> Self {
        Self {
            kind: Some(proved.edit.kind.command().to_owned()),
            previous_lock_hash: Some(proved.old.lock_hash.to_string()),
            lock_hash: Some(proved.verified.lock_hash().to_string()),
            conditions: stand.lines(proved),
            may_switch: stand.may_switch(),
            receipt: Some(stand.receipt.to_string()),
            ..Self::new()
        }
    }
}

pub(crate) async fn edit(context: &Arc<Context>, action: &EditAction) -> Result<(), Failure> {
    let layout = context.layout()?;
    place::look(&layout)?;
    verify::recover(context, &layout)?;
    match action {
        EditAction::AddValidators(args) => {
            ceremony(context, &layout, &args.ceremony, add_validators(args)?).await
        }
        EditAction::AddOperators(args) => {
            let enrs = args.new_operator_enrs.clone();
            let request = EditRequest::AddOperators { enrs };
            ceremony(context, &layout, &args.ceremony, request.into()).await
        }
        EditAction::RemoveOperators(args) => {
            let command = EditCommand {
                participating: args.participating_operator_enrs.clone(),
                ..EditRequest::RemoveOperators {
                    enrs: args.operator_enrs_to_remove.clone(),
                    threshold: args.new_threshold,
                }
                .into()
            };
            ceremony(context, &layout, &args.ceremony, command).await
        }
        EditAction::ReplaceOperator(args) => {
            let request = EditRequest::ReplaceOperator {
                old: args.old_operator_enr.clone(),
                new: args.new_operator_enr.clone(),
            };
            ceremony(context, &layout, &args.ceremony, request.into()).await
        }
        EditAction::RecreatePrivateKeys(args) => {
            ceremony(
                context,
                &layout,
                args,
                EditRequest::RecreatePrivateKeys.into(),
            )
            .await
        }
        EditAction::Hold(args) => hold(context, &layout, args),
        EditAction::Status(args) => status(context, &layout, args),
        EditAction::Stopped(args) => stopped(context, &layout, args).await,
        EditAction::Switch(args) => switch_over(context, &layout, args).await,
        EditAction::Abandon => abandon(context, &layout),
        EditAction::Retire(args) => retire(context, &layout, args).await,
    }
}

/// One address for all, or one for each.
fn add_validators(args: &AddValidatorsArgs) -> Result<EditCommand, Failure> {
    let count = args.num_validators;
    let each = |flag: &str, given: &[String]| match given {
        [one] => Ok(vec![one.clone(); count]),
        all if all.len() == count => Ok(all.to_vec()),
        all => Err(Failure::new(
            Kind::Usage,
            format!(
                "{flag} has {} addresses, expected one, or one for each of {count} validators",
                all.len()
            ),
        )),
    };
    let withdrawal = each("--withdrawal-addresses", &args.withdrawal_addresses)?;
    let fees = each("--fee-recipient-addresses", &args.fee_recipient_addresses)?;
    let pairs = withdrawal.into_iter().zip(fees);
    let addresses = pairs
        .map(|(withdrawal_address, fee_recipient_address)| AddressPair {
            fee_recipient_address,
            withdrawal_address,
        })
        .collect();
    Ok(EditRequest::AddValidators { addresses }.into())
}

/// Runs charon's edit, or goes on with it, and says what is held then.
async fn ceremony(
    context: &Arc<Context>,
    layout: &Layout,
    args: &EditCeremonyArgs,
    mut command: EditCommand,
) -> Result<(), Failure> {
    command.accept_threshold = args.accept_threshold;
    let start = Start {
        typed: Typed {
            start: &args.start,
            charon_flags: args.start.charon_flags.clone(),
            what: What::Edit(&command, args.lock_file.as_deref()),
        },
        at: args.at.as_deref(),
        require_ready: args.require_ready,
        hold: false,
    };
    if let Some(lines) = &args.ready {
        take::refuse_held(layout)?;
        return ready::for_edit(context, &start.typed, lines).await;
    }
    let mut interrupt = Interrupt::listen().map_err(failures::signals)?;
    let done = run::run(context, layout, &start, &mut interrupt).await?;
    show_done(context, layout, &done)
}

/// Says what an edit gave, and what comes next.
///
/// # Errors
/// When it cannot be kept or told.
pub(crate) fn show_done(context: &Context, layout: &Layout, done: &Done) -> Result<(), Failure> {
    match done {
        Done::Edit(proved) => {
            let _guard = place::claim(layout)?;
            show_held(context, layout, proved)
        }
        Done::Helped => context.result(
            "the others have their new shares now; nothing of them is for this node\n",
            &Document::new(),
        ).map(|()| context.say("next, with the lock from one of them: `charon-dkg edit retire --new-lock FILE`")),
        Done::Cluster(_) => Err(unexpected("a first ceremony in the place of an edit")),
    }
}

/// Takes what charon wrote, proves it, and keeps a copy of it.
fn hold(context: &Context, layout: &Layout, args: &EditHoldArgs) -> Result<(), Failure> {
    let what = args.target.display().to_string();
    let in_place = layout.data_dir().join(CLUSTER_LOCK_FILE);
    let previous = match &args.previous_lock {
        Some(path) => checked::read_single(path, Expected::ClusterLock)?,
        None if in_place.exists() => checked::read_single(&in_place, Expected::ClusterLock)?,
        None => {
            return Err(Failure::new(
                Kind::Refused,
                format!("there is no cluster lock in {}, and none was named; nothing was changed", layout.data_dir().display()),
            )
            .hint("a new operator names the lock that the cluster had before the edit with --previous-lock FILE"));
        }
    };
    let material = checked::read_directory(&args.target)?;
    let proved = stand::prove(
        context,
        layout,
        material,
        previous,
        &Expectations::default(),
        &what,
    )?;
    take::refuse_other_previous_lock(layout, &proved)?;
    let _guard = place::claim(layout)?;
    take::take(context, layout, &proved, None)?;
    show_held(context, layout, &proved)
}

/// Says what is held, and what comes next. Expects the caller to hold the directory's guard.
///
/// # Errors
/// When it cannot be kept or told.
fn show_held(context: &Context, layout: &Layout, proved: &Proved) -> Result<(), Failure> {
    let stand = Stand::of(context, layout, proved, &[], &[])?;
    stand.keep(layout)?;
    let old = match proved.old_node() {
        Some(_) => format!(
            "{} stays as it is, and the cluster goes on",
            layout.data_dir().display()
        ),
        None => "this node is new in the cluster".to_owned(),
    };
    let text = format!(
        "held: {} ({} keystores), lock_hash {}\n{old}; what was proved was copied to {}\n{}",
        proved.edit.kind.command(),
        proved.verified.keystore_count(),
        proved.verified.lock_hash(),
        held::new_files(layout).display(),
        table(&stand, proved, context),
    );
    context.result(&text, &Document::of(proved, &stand))?;
    context.say(&format!(
        "paste this receipt into the group's chat; there is nothing secret in it:\n{}",
        stand.receipt
    ));
    Ok(())
}

/// The conditions, one a line, each with what to do.
fn table(stand: &Stand, proved: &Proved, context: &Context) -> String {
    let mut text = String::new();
    for line in stand.lines(proved) {
        let mark = if line.met { "ok  " } else { "open" };
        text.push_str(&format!(
            "{mark}  {}: {}\n",
            line.condition.text(),
            report::clean(&line.seen)
        ));
        if let Some(next) = &line.next {
            text.push_str(&format!("      next: {}\n", context.spelled(next)));
        }
    }
    if stand.may_switch() {
        text.push_str(&format!(
            "next: {}\n",
            context.spelled("`charon-dkg edit switch`")
        ));
    }
    text
}

fn status(context: &Context, layout: &Layout, args: &EditStatusArgs) -> Result<(), Failure> {
    let wanted = Wanted {
        // What both kinds begin with.
        beginning: "dkg",
        name: "a receipt or stopped line",
        several: "receipts and stopped lines",
        limit: MAX_TEXT_BYTES,
        find: both_kinds,
    };
    let Given {
        first: receipts,
        second: stopped,
        broken,
    } = Given::<ReceiptStatement, Statement>::read(context, &args.lines, &wanted)?;
    let proved = stand::must_be_held(context, layout)?;
    let stand = Stand::of(context, layout, &proved, &receipts, &stopped)?;
    if !args.lines.is_empty() {
        let _guard = place::claim(layout)?;
        stand.keep(layout)?;
    }
    let own = proved.old_node();
    let own_line = stand
        .stopped
        .evidence()
        .iter()
        .find(|line| Some(line.statement().node) == own);
    let mut document = Document::of(&proved, &stand);
    document.stopped_line = own_line.map(ToString::to_string);
    document.broken = broken;
    let mut text = format!(
        "{}, held in {}\nlock_hash {} (before: {})\n{}your receipt: {}\n",
        proved.edit.kind.command(),
        held::place(layout).display(),
        proved.verified.lock_hash(),
        proved.old.lock_hash,
        table(&stand, &proved, context),
        stand.receipt,
    );
    if let Some(line) = own_line {
        text.push_str(&format!("your stopped line: {line}\n"));
    }
    if stand.stopped.others() > 0 {
        let count = u64::try_from(stand.stopped.others()).unwrap_or(u64::MAX);
        text.push_str(&format!(
            "{} not counted: older, of other locks, or not signed by the operator they name\n",
            report::count(count, "stopped line")
        ));
    }
    text.push_str(&report::findings_text(&problems(&stand)));
    text.push_str(&report::findings_text(&document.broken));
    context.result(&text, &document)
}

/// What is wrong with receipts that are there; who has sent none is among the conditions.
fn problems(stand: &Stand) -> Vec<Finding> {
    let mut findings = stand.confirmation.findings();
    findings.retain(|finding| finding.weight != Weight::Note && finding.check != "receipt-missing");
    findings
}

/// Everything that runs here with this directory or key.
async fn running(
    context: &Context,
    layout: &Layout,
    without_docker: bool,
) -> Result<Vec<Finding>, Failure> {
    let mut others = tokio::task::spawn_blocking({
        let layout = layout.clone();
        move || {
            [
                surroundings::charon_processes(&layout),
                surroundings::keystore_users(&layout),
            ]
            .concat()
        }
    })
    .await
    .map_err(unexpected)?;
    if !without_docker {
        let containers = surroundings::running_containers(context, layout).await;
        others.extend(containers.map_err(|failure| {
            failure.hint("if nothing of this node runs in docker on this machine: --without-docker")
        })?);
    }
    Ok(others
        .iter()
        .map(|other| {
            Finding::fail(
                "already-in-use",
                &other.who,
                &other.how,
                "nothing of the old cluster running",
            )
            .advise(&other.advice)
        })
        .collect())
}

async fn refuse_running(
    context: &Context,
    layout: &Layout,
    without_docker: bool,
) -> Result<(), Failure> {
    let findings = running(context, layout, without_docker).await?;
    if findings.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Kind::Refused,
        "the old cluster still runs here; nothing was changed",
    )
    .with_findings(findings)
    .hint("stop charon and the validator client, for instance with `docker compose down`, wait ten seconds, and try again"))
}

async fn stopped(
    context: &Context,
    layout: &Layout,
    args: &EditStoppedArgs,
) -> Result<(), Failure> {
    let proved = stand::must_be_held(context, layout)?;
    if proved.edit.kind.keeps_shares() {
        return Err(Failure::new(
            Kind::Refused,
            "after add-validators nothing has to stop: old and new nodes sign with the same shares",
        )
        .hint("`charon-dkg edit switch` on one node after the other"));
    }
    let Some(node) = proved.old_node() else {
        return Err(Failure::new(
            Kind::Refused,
            "this node is new in the cluster, and has nothing to stop",
        )
        .hint("`charon-dkg edit status` shows what the others still have to do"));
    };
    let stand = Stand::of(context, layout, &proved, &[], &[])?;
    if !stand.confirmation.is_complete() {
        return Err(Failure::new(
            Kind::Refused,
            format!(
                "not every new operator has shown that they have everything, so the old cluster must keep running: {}",
                stand.confirmation.summary()
            ),
        )
        .hint("`charon-dkg edit status -` takes the receipts"));
    }
    refuse_slow_clock(&stand)?;
    refuse_running(context, layout, args.without_docker).await?;
    let _guard = place::claim(layout)?;
    // First what keeps it true, then the word of it.
    let before = closed::find(layout, &proved.old.lock_hash).map_err(unexpected)?;
    let old_lock = proved.old.lock_hash.to_string();
    closed::close(layout, &old_lock, Why::Stopped).map_err(unexpected)?;
    // Somebody may have started it before the gate was closed. A line that was given earlier still holds the gate.
    if let Err(failure) = refuse_running(context, layout, args.without_docker).await {
        if before.is_none() {
            closed::open_again(layout, &old_lock).map_err(unexpected)?;
        }
        return Err(failure);
    }
    let line = sign(&proved.old, proved.verified.lock_hash(), node, &proved.key)?;
    let stand = Stand::of(context, layout, &proved, &[], std::slice::from_ref(&line))?;
    stand.keep(layout)?;
    let mut document = Document::of(&proved, &stand);
    document.stopped_line = Some(line.to_string());
    context.result(&format!("{line}\n"), &document)?;
    context.say("paste this line into the group's chat; there is nothing secret in it. The gate keeps the old cluster from starting here");
    context.say(table(&stand, &proved, context).trim_end());
    Ok(())
}

/// The others have signed their receipts before now. A clock that says otherwise would let the new cluster start too early.
fn refuse_slow_clock(stand: &Stand) -> Result<(), Failure> {
    let now = machine::unix_time();
    let ahead = stand
        .confirmation
        .valid()
        .map(|receipt| receipt.statement())
        .filter(|statement| statement.time > now.saturating_add(CLOCK_MARGIN_SECONDS))
        .max_by_key(|statement| statement.time);
    let Some(ahead) = ahead else { return Ok(()) };
    Err(Failure::new(
        Kind::Refused,
        format!(
            "{} signed a receipt at {}, and it is only {} here: one of the two clocks is wrong; nothing was changed",
            ahead.node.of(usize::from(ahead.operators)),
            time_text(ahead.time),
            time_text(now)
        ),
    )
    .hint("`timedatectl` shows whether this clock is set by the network; with the right time, stop again"))
}

fn sign(
    old: &OldCluster,
    new: LockHash,
    node: NodeIndex,
    key: &EnrKey,
) -> Result<StoppedLine, Failure> {
    let statement = Statement {
        node,
        operators: u16::try_from(old.operators.count()).map_err(unexpected)?,
        old_lock_hash: old.lock_hash,
        new_lock_hash: new,
        time: machine::unix_time(),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    StoppedLine::sign(statement, key).map_err(unexpected)
}

async fn switch_over(
    context: &Context,
    layout: &Layout,
    args: &EditStoppedArgs,
) -> Result<(), Failure> {
    let proved = stand::must_be_held(context, layout)?;
    let stand = Stand::of(context, layout, &proved, &[], &[])?;
    if !stand.may_switch() {
        return Err(not_yet(&stand, &proved));
    }
    take::refuse_other_previous_lock(layout, &proved)?;
    take::refuse_closed(layout, &proved.verified.lock_hash())?;
    refuse_running(context, layout, args.without_docker).await?;
    let question = format!(
        "Replace the cluster in {} by the one that {} made? The old files go to the archive.",
        layout.data_dir().display(),
        proved.edit.kind.command()
    );
    context.must_agree(&question)?;
    let _guard = place::claim(layout)?;
    stand.keep(layout)?;
    // Somebody may have started it again while the question was open.
    refuse_running(context, layout, args.without_docker).await?;
    let files = proved.verified.files();
    let done = switch::switch(layout, Timestamp::now(), files).map_err(failures::journal)?;
    let mut document = Document::of(&proved, &stand);
    document.archive = done.archive.as_ref().map(|dir| dir.display().to_string());
    let aside = done.archive.map_or_else(String::new, |dir| {
        format!("the old files are in {}\n", dir.display())
    });
    let text = format!(
        "{} now holds the cluster that {} made: {}\n{aside}next: make a backup; start with `{} up`, or as you always do\n",
        layout.data_dir().display(),
        proved.edit.kind.command(),
        done.names.join(", "),
        context.spelling,
    );
    context.result(&text, &document)
}

fn not_yet(stand: &Stand, proved: &Proved) -> Failure {
    let findings = stand
        .lines(proved)
        .into_iter()
        .filter(|line| !line.met)
        .map(|line| {
            let check = match line.condition {
                Condition::AllHaveTheNewKeys => "edit-receipts",
                Condition::OldClusterStopped => "edit-stopped",
                Condition::TwoEpochsPassed => "edit-epochs",
            };
            Finding::fail(check, "the switch", line.seen, line.condition.text())
                .advise(line.next.unwrap_or_default())
        })
        .collect();
    let wait = stand.conditions.iter().any(|(_, standing)| match standing {
        Standing::NotBefore(_) => true,
        Standing::Met
        | Standing::ReceiptsMissing
        | Standing::NotStopped(_)
        | Standing::RemovedCanSign { .. }
        | Standing::ClockAhead(_)
        | Standing::NotYet => false,
    });
    let message = if wait {
        "the new cluster must not start yet: old and new shares could sign for the same epoch, which is slashed; nothing was changed"
    } else {
        "the new cluster must not start yet; nothing was changed"
    };
    Failure::new(Kind::Refused, message)
        .with_findings(findings)
        .hint("`charon-dkg edit status` shows all conditions")
}

fn abandon(context: &Context, layout: &Layout) -> Result<(), Failure> {
    let Some(record) = held::find(layout).map_err(unexpected)? else {
        return Err(nothing_to_abandon(layout)?);
    };
    let question = format!(
        "Give up {} for good? The old cluster may start again here. Every node must give it up: a node that has switched cannot go back.",
        record.kind
    );
    context.must_agree(&question)?;
    let _guard = place::claim(layout)?;
    let name = held::free_name(layout, Timestamp::now(), "abandoned").map_err(failures::file)?;
    // First what keeps the new cluster from starting, last what lets the old one start.
    closed::close(layout, &record.lock_hash, Why::Abandoned).map_err(unexpected)?;
    let dir = held::put_aside(layout, &name).map_err(failures::file)?;
    closed::open_again(layout, &record.previous_lock_hash).map_err(unexpected)?;
    let document = Document {
        kind: Some(record.kind.clone()),
        previous_lock_hash: Some(record.previous_lock_hash.clone()),
        lock_hash: Some(record.lock_hash.clone()),
        archive: Some(dir.display().to_string()),
        ..Document::new()
    };
    context.result(
        &format!(
            "{} is given up; its files are in {}\nthe cluster in {} may start again\n",
            record.kind,
            dir.display(),
            layout.data_dir().display()
        ),
        &document,
    )
}

/// After the switch there is no way back, and why.
fn nothing_to_abandon(layout: &Layout) -> Result<Failure, Failure> {
    let locks = closed::read(layout).map_err(unexpected)?;
    // It may have been cut off between its two steps.
    for lock in locks.iter().filter(|lock| lock.why == Why::Stopped) {
        let _guard = place::claim(layout)?;
        closed::open_again(layout, &lock.lock_hash).map_err(unexpected)?;
    }
    let switched = locks.iter().any(|lock| lock.why == Why::Switched);
    let failure = Failure::new(
        Kind::Refused,
        if switched {
            "this node has switched already: its old shares must never run beside the new ones; nothing was changed"
        } else {
            "no edit of the cluster is held here; nothing was changed"
        },
    );
    Ok(if switched {
        failure.hint(format!(
            "the old files are below {}",
            layout.state_dir().join(archive::ARCHIVE_DIR).display()
        ))
    } else {
        failure
    })
}

/// The operator who was removed: the share goes to the archive, and the old lock never starts here again.
async fn retire(context: &Context, layout: &Layout, args: &RetireArgs) -> Result<(), Failure> {
    let path = layout.data_dir().join(CLUSTER_LOCK_FILE);
    let previous = checked::read_single(&path, Expected::ClusterLock)?;
    let (old, new, edit) = removed_by(context, &args.new_lock, &previous)?;
    let key = checked::read_enr_key(layout)?;
    let key = EnrKey::parse(&key.bytes).map_err(unexpected)?;
    let node = old.operators.node_of(&key.public_key());
    let Some(node) = node.filter(|node| edit.removed.contains(node)) else {
        return Err(Failure::new(
            Kind::Refused,
            "this operator is in the new lock too; nothing was changed",
        )
        .hint("`charon-dkg edit hold DIR` takes what charon wrote for an operator who stays"));
    };
    refuse_running(context, layout, args.without_docker).await?;
    let question = format!(
        "Leave the cluster? The share in {} goes to the archive, and nothing starts here with it again.",
        layout.data_dir().display()
    );
    context.must_agree(&question)?;
    let _guard = place::claim(layout)?;
    closed::close(layout, &old.lock_hash.to_string(), Why::Retired).map_err(unexpected)?;
    refuse_running(context, layout, args.without_docker).await?;
    let line = sign(&old, new, node, &key)?;
    let scope = ArchiveScope::OutputsAndDefinition;
    let done = archive::archive(layout, Timestamp::now(), scope).map_err(failures::journal)?;
    let dir = match done {
        ArchiveResult::Nothing => None,
        ArchiveResult::Archived(done) => Some(done.dir.display().to_string()),
    };
    let document = Document {
        kind: Some(edit.kind.command().to_owned()),
        previous_lock_hash: Some(old.lock_hash.to_string()),
        lock_hash: Some(new.to_string()),
        stopped_line: Some(line.to_string()),
        archive: dir.clone(),
        ..Document::new()
    };
    context.result(&format!("{line}\n"), &document)?;
    context.say("paste this line into the group's chat; there is nothing secret in it");
    if let Some(dir) = dir {
        context.say(&format!(
            "your share is in {dir}; delete it once the others run with their new ones"
        ));
    }
    Ok(())
}

/// Proves a bare lock against the one before it, for an operator who has no files of it.
fn removed_by(
    context: &Context,
    new_lock: &Path,
    previous: &NamedFile,
) -> Result<(OldCluster, LockHash, Edit), Failure> {
    let material = Material {
        cluster_lock: Some(checked::read_single(new_lock, Expected::ClusterLock)?),
        previous_lock: Some(previous.clone()),
        ..Material::default()
    };
    let outcome = checked::verify_shown(
        context,
        &material,
        &context.expectations(),
        Scope::LockOnly,
        Modes::AsCharonLeavesThem,
    );
    let what = new_lock.display().to_string();
    let old = ClusterLock::parse(&previous.bytes)
        .ok()
        .and_then(|parsed| OldCluster::of(&parsed.value));
    match (outcome.cluster, outcome.edit, old) {
        (Some(cluster), Some(edit), Some(old)) => Ok((old, cluster.lock_hash(), edit)),
        _ => Err(checked::not_proved(&outcome.report, &what)),
    }
}
