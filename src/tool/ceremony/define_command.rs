//! `define`: the coordinator's cluster definition, written once and never over another.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::ceremony::define::{self, Birth, Defined, Terms};
use crate::cli::DefineArgs;
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::proof::pasted::{self, Wanted};
use crate::report;
use charon_files::cluster::{Definition, Enr, Gwei};
use charon_files::finding::Finding;

/// Room for a chat of some length; 256 ENRs need 64 KiB.
const MAX_TEXT_BYTES: usize = 4 << 20;

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    file: String,
    config_hash: Option<String>,
    definition_hash: Option<String>,
    charon_version: String,
    operators: Vec<Line>,
    notes: &'a [Finding],
}

/// One operator of the new cluster.
#[derive(Serialize)]
struct Line {
    operator: usize,
    enr_id: String,
    enr: String,
}

pub(crate) fn define(context: &Context, args: DefineArgs) -> Result<(), Failure> {
    let path = args
        .output
        .clone()
        .unwrap_or_else(|| context.common.dir.join("cluster-definition.json"));
    refuse_existing(&path)?;
    let terms = terms(args)?;
    let made = define::define(&terms, &birth()?).map_err(|problems| {
        let count = u64::try_from(problems.len()).unwrap_or(u64::MAX);
        Failure::new(
            Kind::Refused,
            format!(
                "no definition was written: {}",
                report::count(count, "problem")
            ),
        )
        .with_findings(problems)
    })?;
    write(&path, &made.definition.to_json())?;
    let document = Document {
        schema: "charon-dkg.define/1",
        file: path.display().to_string(),
        config_hash: made.definition.config_hash.map(|hash| hash.to_string()),
        definition_hash: made.definition.definition_hash.map(|hash| hash.to_string()),
        charon_version: made.charon.to_string(),
        operators: operators(&made.definition),
        notes: &made.notes,
    };
    context.result(&text(&made, &document), &document)?;
    context.say("nobody signs this definition: give every operator the file, and its definition_hash by another way, to compare");
    context.say(&format!(
        "then every operator types, all at the same time: `charon-dkg run --definition {}`",
        report::quoted(path.file_name().unwrap_or_default())
    ));
    Ok(())
}

fn refuse_existing(path: &Path) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(unwritable(path, &error)),
        Ok(_) => Err(exists(path)),
    }
}

fn exists(path: &Path) -> Failure {
    Failure::new(
        Kind::Refused,
        format!(
            "{} exists already; a definition is never replaced, since somebody may have it",
            path.display()
        ),
    )
    .hint("move it away, or name another file with --output")
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Kind::Refused,
        format!("cannot write {}: {error}", path.display()),
    )
    .hint("name a file that you may create with --output")
}

fn terms(args: DefineArgs) -> Result<Terms, Failure> {
    let wanted = Wanted {
        beginning: "enr:",
        name: "an ENR",
        limit: MAX_TEXT_BYTES,
    };
    let texts = pasted::read(&args.enrs, &wanted)?;
    let enrs = texts
        .iter()
        .flat_map(|pasted| define::find_enrs(&pasted.text))
        .collect();
    let amounts: Option<Vec<Gwei>> = args.deposit_amounts.iter().map(|eth| gwei(*eth)).collect();
    Ok(Terms {
        name: args.name,
        enrs,
        num_validators: args.num_validators,
        threshold: args.threshold,
        withdrawal_addresses: args.withdrawal_addresses,
        fee_recipient_addresses: args.fee_recipient_addresses,
        network: args.network,
        deposit_amounts: amounts.ok_or_else(|| {
            Failure::new(
                Kind::Usage,
                "--deposit-amounts is larger than all there is; it is in whole ETH",
            )
        })?,
        compounding: args.compounding,
        target_gas_limit: args.target_gas_limit,
        consensus_protocol: args.consensus_protocol,
        dkg_algorithm: args.dkg_algorithm,
    })
}

fn gwei(eth: u64) -> Option<Gwei> {
    eth.checked_mul(Gwei::ONE_ETH.0).map(Gwei)
}

fn birth() -> Result<Birth, Failure> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::new(Kind::Unexpected, format!("no random numbers: {error}")))?;
    Ok(Birth {
        random,
        timestamp: jiff::Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string(),
    })
}

/// Whole or not at all, and never over another file.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: &io::Error| unwritable(path, error);
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(&parent).map_err(|error| failed(&error))?;
    file.write_all(text.as_bytes())
        .map_err(|error| failed(&error))?;
    // There is nothing secret in it, and the others are to read it.
    file.as_file()
        .set_permissions(Permissions::from_mode(0o644))
        .and_then(|()| file.as_file().sync_all())
        .map_err(|error| failed(&error))?;
    file.persist_noclobber(path).map_err(|failed| {
        if failed.error.kind() == io::ErrorKind::AlreadyExists {
            exists(path)
        } else {
            unwritable(path, &failed.error)
        }
    })?;
    File::open(&parent)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| failed(&error))
}

fn operators(definition: &Definition) -> Vec<Line> {
    let numbered = definition.operators.iter().enumerate();
    numbered
        .filter_map(|(position, operator)| {
            let enr = Enr::parse(&operator.enr).ok()?;
            Some(Line {
                operator: position + 1,
                enr_id: enr.public_key().id().to_string(),
                enr: operator.enr.clone(),
            })
        })
        .collect()
}

fn text(made: &Defined, document: &Document<'_>) -> String {
    let definition = &made.definition;
    let mut text = format!("wrote {}\n", document.file);
    let mut line = |name: &str, value: &str| {
        text.push_str(&format!("    {name:<16} {}\n", report::clean(value)));
    };
    if !definition.name.is_empty() {
        line("cluster", &definition.name);
    }
    line(
        "format",
        &format!("{}, run by charon {}", definition.version, made.charon),
    );
    line(
        "validators",
        &format!(
            "{} ({} of {} operators sign)",
            definition.num_validators,
            definition.threshold,
            definition.operators.len()
        ),
    );
    for operator in &document.operators {
        line(
            &format!("operator {}", operator.operator),
            &format!("ENR id {}", operator.enr_id),
        );
    }
    for (name, hash) in [
        ("config_hash", &document.config_hash),
        ("definition_hash", &document.definition_hash),
    ] {
        if let Some(hash) = hash {
            line(name, hash);
        }
    }
    text.push_str(&report::findings_text(document.notes));
    text
}
