//! `board`: the state of the ceremony, for people, for programs, and as a page to post or to keep.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::ceremony::definition_source::{self, FoundDefinition, NoDefinition};
use crate::ceremony::ready_lines;
use crate::cli::BoardArgs;
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::machine;
use crate::machine::os;
use crate::proof::board_page;
use crate::proof::checked;
use crate::proof::pasted::Wanted;
use crate::proof::receipt;
use crate::proof::two_kinds::{Given, both_kinds};
use crate::report;
use charon_files::cluster::names::{CLUSTER_LOCK_FILE, FileDigest};
use charon_files::cluster::{ClusterLock, DepositFile, Gwei};
use charon_files::wrong_file::Expected;
use charon_proof::board::{Board, Drawing, draw};
use charon_proof::cluster::Operators;
use charon_proof::confirm::{Own, confirm};
use charon_proof::line::MAX_TEXT_BYTES;
use charon_proof::readiness::weigh;
use charon_proof::ready::Statement as ReadyStatement;
use charon_proof::receipt::Statement as ReceiptStatement;
use charon_proof::verify::{Check, Material, Modes, NamedFile, Scope};

pub(crate) async fn board(context: &Context, args: &BoardArgs) -> Result<(), Failure> {
    let wanted = Wanted {
        // What both kinds begin with.
        beginning: "dkgre",
        name: "a ready line or receipt",
        several: "ready lines and receipts",
        limit: MAX_TEXT_BYTES,
        find: both_kinds,
    };
    let Given {
        first: mut ready,
        second: mut receipts,
        mut broken,
    } = Given::<ReadyStatement, ReceiptStatement>::read(context, &args.lines, &wanted)?;
    let layout = context.layout()?;
    let found = definition_source::find(context, &layout, args.definition.as_deref()).await;
    let found = match (found, &args.lock) {
        // A lock has its definition in it, and is proved below.
        (Err(NoDefinition::Missing(_)), Some(lock)) => of_lock(lock)?,
        (found, _) => ready_lines::found_definition(found)?,
    };
    let operators = ready_lines::operators(&found)?;
    ready.extend(ready_lines::kept(&layout, &operators)?);

    let own_lock = layout.data_dir().join(CLUSTER_LOCK_FILE);
    let lock = match &args.lock {
        Some(lock) => Some(lock.clone()),
        // With a definition named, the current directory may be any.
        None => (args.definition.is_none() && own_lock.is_file()).then_some(own_lock),
    };
    let mut deposits = Vec::new();
    let confirmation = match &lock {
        Some(lock) => {
            let checked = check(context, lock, &args.deposit, &operators)?;
            deposits = checked.deposits;
            let cluster = &checked.cluster;
            receipts.extend(receipt::kept(&layout, cluster)?);
            Some(confirm(cluster, &receipts, checked.own.as_ref()))
        }
        None => None,
    };
    if let Some(profile) = context.profile() {
        broken.extend(profile.judge(&found.definition));
    }
    let now = machine::unix_time();
    let readiness = weigh(&operators, &ready, None, now);
    let board = draw(&Drawing {
        definition: &found.definition,
        operators: &operators,
        readiness: &readiness,
        receipts: &receipts,
        confirmation: confirmation.as_ref(),
        deposits: &deposits,
        others: &broken,
        now,
    });
    if let Some(path) = &args.html {
        write(path, &board_page::page(&board))?;
    }
    let mut shown = text(&board);
    if !broken.is_empty() {
        shown.push_str(&format!("\n{}", report::findings_text(&broken)));
    }
    context.result(&shown, &board)?;
    if let Some(path) = &args.html {
        context.say(&format!("wrote {}", path.display()));
    }
    Ok(())
}

/// The definition that a lock was made from.
fn of_lock(path: &Path) -> Result<FoundDefinition, Failure> {
    let file = checked::read_single(path, Expected::ClusterLock)?;
    let source = path.display().to_string();
    let unusable = |error: String| {
        Failure::new(Kind::VerificationFailed, format!("{source}: {error}"))
            .hint(Check::FileFormat.advice())
    };
    let parsed = ClusterLock::parse(&file.bytes).map_err(|error| unusable(error.to_string()))?;
    let definition = parsed.value.definition;
    let definition_hash = definition
        .definition_hash()
        .map_err(|error| unusable(error.to_string()))?;
    Ok(FoundDefinition {
        bytes: definition.to_json().into_bytes(),
        source,
        definition,
        definition_hash,
        findings: Vec::new(),
        has_contract_wallets: false,
    })
}

/// A lock of this definition that passed, and deposit data that belongs to it.
struct Checked {
    cluster: charon_proof::cluster::Cluster,
    own: Option<Own>,
    deposits: Vec<DepositFile>,
}

fn check(
    context: &Context,
    lock: &Path,
    deposit: &[PathBuf],
    operators: &Operators,
) -> Result<Checked, Failure> {
    let mut material = Material {
        cluster_lock: Some(checked::read_single(lock, Expected::ClusterLock)?),
        ..Material::default()
    };
    for path in deposit {
        let file = checked::read_single(path, Expected::DepositData)?;
        material.deposit_data.push(file);
    }
    let scope = if deposit.is_empty() {
        Scope::LockOnly
    } else {
        Scope::DepositsAgainstLock
    };
    let expectations = context.expectations();
    let outcome = checked::verify_shown(context, &material, &expectations, scope, Modes::Private);
    let shown = lock.display().to_string();
    let Some(cluster) = outcome.cluster else {
        return Err(checked::not_proved(&outcome.report, &shown));
    };
    if cluster.definition_hash() != operators.definition_hash() {
        return Err(Failure::new(
            Kind::VerificationFailed,
            format!(
                "{shown} is the lock of definition {}, expected {}",
                cluster.definition_hash(),
                operators.definition_hash()
            ),
        )
        .hint("give the lock and the definition of one cluster"));
    }
    let files: Vec<FileDigest> = material
        .deposit_data
        .iter()
        .map(NamedFile::digest)
        .collect();
    let parsed = material.deposit_data.iter();
    // What cannot be parsed did not pass above.
    let parsed = parsed.filter_map(|file| DepositFile::parse(&file.bytes).ok());
    Ok(Checked {
        own: (!files.is_empty()).then(|| Own::of_files(&files)),
        deposits: parsed.map(|parsed| parsed.value).collect(),
        cluster,
    })
}

/// The board for people.
fn text(board: &Board) -> String {
    let terms = &board.terms;
    let mut text = format!("{}: {}\n\n", board.verdict.text(), board.summary);
    let amounts = terms.amounts().map_or_else(
        || "charon's default".to_owned(),
        |amounts| format!("{amounts} each"),
    );
    let rows = [
        ("cluster", terms.name.clone()),
        (
            "terms",
            format!(
                "{} on {}, {} of {} operators sign",
                report::count(terms.validators, "validator"),
                terms.network,
                terms.threshold,
                terms.operators
            ),
        ),
        ("withdrawal", terms.withdrawal_addresses.join(", ")),
        ("fees", terms.fee_recipient_addresses.join(", ")),
        ("amounts", amounts),
        ("definition", terms.definition_hash.clone()),
        (
            "lock",
            terms
                .lock_hash
                .clone()
                .unwrap_or_else(|| "none yet".to_owned()),
        ),
    ];
    for (label, value) in rows {
        text.push_str(&format!("{label:<11} {}\n", report::clean(&value)));
    }
    if let Some(deposits) = &board.deposits {
        let amounts = deposits.amounts.iter();
        let token = terms.token;
        let amounts =
            amounts.map(|it| format!("{} of {}", it.count, token.amount(Gwei(it.amount_gwei))));
        text.push_str(&format!(
            "deposits    {}; {} in all files together\n",
            amounts.collect::<Vec<_>>().join(", "),
            token.amount(Gwei(deposits.total_gwei))
        ));
    }
    text.push_str(&format!("\n{:<9} {:<17} receipt\n", "operator", "ready"));
    for row in &board.operators {
        text.push_str(&format!(
            "{:<9} {:<17} {}\n",
            format!("{} of {}", row.operator, board.operators.len()),
            row.ready.text,
            row.receipt.text
        ));
    }
    text.push('\n');
    for row in &board.operators {
        text.push_str(&format!(
            "to operator {}: {}\n",
            row.operator,
            report::clean(&row.say)
        ));
    }
    text
}

/// Writes the page, whole or not at all. Only a page of ours is ever replaced.
fn write(path: &Path, page: &str) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        Failure::new(
            Kind::Refused,
            format!("cannot write {}: {error}", path.display()),
        )
        .hint("name a file that you may create with --html")
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(_) => {
            let mut beginning = Vec::new();
            let most = u64::try_from(board_page::BEGINNING.len()).unwrap_or(u64::MAX);
            let is_file = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file());
            if is_file {
                let file = fs::File::open(path).map_err(failed)?;
                file.take(most)
                    .read_to_end(&mut beginning)
                    .map_err(failed)?;
            }
            if beginning != board_page::BEGINNING.as_bytes() {
                return Err(Failure::new(
                    Kind::Refused,
                    format!("{} exists and is no board", path.display()),
                )
                .hint("name another file with --html; only an older board is replaced"));
            }
        }
    }
    let dir = match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        Some(_) | None => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    file.write_all(page.as_bytes()).map_err(failed)?;
    // It is made to be shown.
    os::set_mode(file.as_file(), 0o644).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
