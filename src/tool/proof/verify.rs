//! `verify`: proves a data directory, a bare cluster lock, a definition, or deposits against a lock.

use std::path::Path;

use crate::cli::VerifyArgs;
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::failures;
use crate::machine::datadir::Layout;
use crate::machine::guard;
use crate::place;
use crate::promote::{held, journal};
use crate::proof::chain::standings_text;
use crate::proof::checked;
use crate::report;
use charon_files::cluster::{ClusterLock, Network, Payouts, StakingToken};
use charon_files::wrong_file::Expected;
use charon_proof::deposits::keys_of_lock;
use charon_proof::edit::EditKind;
use charon_proof::verify::{EditReport, Material, Modes, Report, Scope, Verdict};

pub(crate) fn verify(context: &Context, args: &VerifyArgs) -> Result<(), Failure> {
    let mut notice = None;
    let (mut material, scope, what) = match (&args.lock, &args.definition) {
        (Some(lock), _) => {
            let mut material = Material {
                cluster_lock: Some(checked::read_single(lock, Expected::ClusterLock)?),
                ..Material::default()
            };
            for path in &args.deposit {
                let mut file = checked::read_single(path, Expected::DepositData)?;
                // As it was given: the files of several operators have the same name.
                file.path = path.display().to_string();
                material.deposit_data.push(file);
            }
            let scope = if args.deposit.is_empty() {
                Scope::LockOnly
            } else {
                Scope::DepositsAgainstLock
            };
            (material, scope, lock.display().to_string())
        }
        (None, Some(definition)) => {
            let material = Material {
                definition: Some(checked::read_single(definition, Expected::Definition)?),
                ..Material::default()
            };
            (
                material,
                Scope::DefinitionOnly,
                definition.display().to_string(),
            )
        }
        (None, None) => {
            let layout = layout(context, args.target.as_deref())?;
            place::look(&layout).map_err(unverified)?;
            recover(context, &layout)?;
            refuse_created_cluster(layout.data_dir())?;
            let material = checked::read_data_dir(&layout)?;
            notice = held::notice(&layout);
            (
                material,
                Scope::WholeDataDirectory,
                layout.data_dir().display().to_string(),
            )
        }
    };
    if let Some(path) = &args.previous_lock {
        material.previous_lock = Some(checked::read_single(path, Expected::ClusterLock)?);
    }
    let expectations = context.expectations();
    let mut report =
        checked::verify_shown(context, &material, &expectations, scope, Modes::Private).report;
    ask_chain(context, &material, &mut report)?;
    let passed = report.verdict == Verdict::Pass;
    match (passed, args.quiet) {
        (true, true) => return Ok(()),
        (true, false) => {
            let notice = notice.map_or_else(String::new, |notice| format!("{notice}\n"));
            return context.result(&(text(&report, &what) + &notice), &report);
        }
        (false, true) => {}
        // The report is the result also when it is bad: programs read it from standard output.
        (false, false) => context.result_for_programs(&report)?,
    }
    Err(checked::not_proved(&report, &what))
}

/// Adds what the chain knows of the validators of the lock, if there is one and somebody to ask.
fn ask_chain(context: &Context, material: &Material, report: &mut Report) -> Result<(), Failure> {
    if !context.has_beacon_node() {
        return Ok(());
    }
    let lock = material
        .cluster_lock
        .as_ref()
        .and_then(|file| ClusterLock::parse(&file.bytes).ok());
    let Some(lock) = lock.map(|parsed| parsed.value) else {
        return Ok(());
    };
    let keys = keys_of_lock(&lock);
    let network = Network::by_fork_version(lock.definition.fork_version);
    if let Some(chain) = context.ask_chain(network, &keys, false)? {
        let (standings, findings) = chain.judge(&keys);
        report.add_chain(standings, findings);
    }
    Ok(())
}

/// What charon's `create cluster` made is no data directory, but holds one for each node.
fn refuse_created_cluster(data_dir: &Path) -> Result<(), Failure> {
    let nodes = place::created_nodes(data_dir);
    if nodes.is_empty() {
        return Ok(());
    }
    let failure = Failure::new(
        Kind::VerificationFailed,
        format!(
            "{} is no data directory of a node: it holds {}, as `charon create cluster` makes them",
            data_dir.display(),
            report::count(u64::try_from(nodes.len()).unwrap_or(u64::MAX), "node")
        ),
    );
    Err(nodes.iter().fold(failure, |failure, node| {
        failure.hint(format!("`charon-dkg verify {}`", report::quoted(node)))
    }))
}

fn layout(context: &Context, target: Option<&Path>) -> Result<Layout, Failure> {
    match target {
        None => context.layout(),
        // A project directory is taken for its data directory.
        Some(path) if path.join(".charon").is_dir() => {
            Layout::resolve(path, None).map_err(failures::layout)
        }
        Some(path) => Layout::resolve(path, Some(path)).map_err(|error| {
            unverified(
                Failure::new(Kind::VerificationFailed, error.to_string())
                    .hint("name a data directory, or the project directory that it lies in"),
            )
        }),
    }
}

/// What cannot be looked at cannot pass.
fn unverified(failure: Failure) -> Failure {
    Failure {
        kind: Kind::VerificationFailed,
        ..failure
    }
}

/// A promotion that was interrupted is finished or undone first, if this user may.
pub(crate) fn recover(context: &Context, layout: &Layout) -> Result<(), Failure> {
    if !journal::is_pending(layout) {
        return Ok(());
    }
    let _guard = guard::claim_directory(layout).map_err(failures::guard)?;
    context.finish_interrupted(layout)?;
    Ok(())
}

/// How many deposits were checked, and where they were: also in the lock from v1.6.0 on (charon
/// cluster/distvalidator.go), and there alone if no files were given.
fn deposits(report: &Report) -> String {
    let files = u64::try_from(report.counts.deposit_files).unwrap_or(u64::MAX);
    let place = if files == 0 {
        "in the lock".to_owned()
    } else {
        report::count(files, "file")
    };
    format!("{} ({place})", report.counts.deposits)
}

/// `replace-operator (3 of 4 operators signed before, 3 of 4 now)`.
fn edit_text(edit: &EditReport, report: &Report) -> String {
    let many = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let changes = match edit.kind {
        EditKind::AddValidators => format!(
            "{} more",
            report::count(many(edit.validators_added), "validator")
        ),
        EditKind::AddOperators
        | EditKind::RemoveOperators
        | EditKind::ReplaceOperator
        | EditKind::RecreatePrivateKeys => format!(
            "{} of {} operators sign, {} of {} before",
            report.counts.threshold,
            report.counts.operators,
            edit.previous_threshold,
            edit.previous_operators
        ),
    };
    format!("{} ({changes})", edit.kind.command())
}

/// A passed report for people.
pub(crate) fn text(report: &Report, what: &str) -> String {
    let mut text = format!("PASS {what}\n");
    let mut line = |name: &str, value: &str| {
        text.push_str(&format!("    {name:<16} {}\n", report::clean(value)));
    };
    if let Some(name) = report
        .cluster_name
        .as_deref()
        .filter(|name| !name.is_empty())
    {
        line("cluster", name);
    }
    line(
        "format",
        &format!(
            "{}, network {}",
            report.definition_version.unwrap_or("unknown"),
            report.network.as_deref().unwrap_or("unknown")
        ),
    );
    if let Some(node) = &report.node {
        let address = if node.address.is_empty() {
            "unsigned"
        } else {
            &node.address
        };
        line(
            "this node",
            &format!(
                "operator {} of {} ({address})",
                node.operator, report.counts.operators
            ),
        );
    }
    line(
        "validators",
        &format!(
            "{} ({} of {} operators sign)",
            report.counts.validators, report.counts.threshold, report.counts.operators
        ),
    );
    for (name, value) in report.payouts.iter().flat_map(Payouts::lines) {
        line(name, &value);
    }
    if report.node.is_some() {
        line("keystores", &report.counts.keystores.to_string());
    }
    if report.counts.deposits > 0 {
        line("deposits", &deposits(report));
    }
    if let Some(edit) = &report.edit {
        line("edit", &edit_text(edit, report));
        let previous = edit.previous_lock_hash.as_deref();
        line("previous lock", previous.unwrap_or("unknown"));
    }
    for (name, hash) in [
        ("config_hash", &report.config_hash),
        ("definition_hash", &report.definition_hash),
        ("lock_hash", &report.lock_hash),
    ] {
        if let Some(hash) = hash {
            line(name, hash);
        }
    }
    line("checks", &report.counts.checks_run.to_string());
    if let Some(chain) = &report.chain {
        // Where there are validators to ask about, the terms were read too.
        let token = report.payouts.as_ref().map(|it| it.token);
        let token = token.unwrap_or(StakingToken::ETH);
        text.push_str(&standings_text(&chain.standings, token));
    }
    text.push_str(&report::findings_text(&report.all_findings()));
    text
}
