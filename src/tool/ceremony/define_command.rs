//! `define`: the coordinator's cluster definition, written once and never over another.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::ceremony::define::{self, Birth, Defined, Terms};
use crate::cli::DefineArgs;
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::machine;
use crate::machine::os;
use crate::proof::pasted::{self, COMMAND_LINE, SECRET_ADVICE, Wanted};
use crate::report;
use charon_files::cluster::{Enr, Gwei, Payouts};
use charon_files::enr_texts::{self, BEGINNING, What};
use charon_files::finding::{Finding, Weight};

/// Room for a chat of some length; 256 ENRs need 64 KiB.
const MAX_TEXT_BYTES: usize = 4 << 20;

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    file: String,
    config_hash: Option<String>,
    definition_hash: Option<String>,
    charon_version: String,
    payouts: Payouts,
    operators: Vec<Line>,
    notes: &'a [Finding],
}

/// One operator of the new cluster.
#[derive(Serialize)]
struct Line {
    operator: usize,
    enr_id: String,
    enr: String,
    /// Where it was read from.
    source: String,
}

/// The ENRs that were given.
#[derive(Default)]
struct Given {
    enrs: Vec<Enr>,
    /// Where each was read from.
    sources: Vec<String>,
    problems: Vec<Finding>,
    notes: Vec<Finding>,
}

pub(crate) fn define(context: &Context, args: DefineArgs) -> Result<(), Failure> {
    let path = args
        .output
        .clone()
        .unwrap_or_else(|| context.common.dir.join("cluster-definition.json"));
    refuse_existing(&path)?;
    let given = Given::read(context, &args)?;
    let made = define::define(&terms(context, args, &given)?, &birth()?);
    let made = match made {
        Ok(made) if given.problems.is_empty() => Ok(made),
        Ok(_) => Err(given.problems),
        Err(problems) => Err([given.problems, given.notes.clone(), problems].concat()),
    };
    let mut made = made.map_err(|findings| {
        let problems = findings.iter().filter(|it| it.weight != Weight::Note);
        let count = u64::try_from(problems.count()).unwrap_or(u64::MAX);
        Failure::new(
            Kind::Refused,
            format!(
                "no definition was written: {}",
                report::count(count, "problem")
            ),
        )
        .with_findings(findings)
    })?;
    made.notes.splice(..0, given.notes);
    write(&path, &made.definition.to_json())?;
    let document = Document {
        schema: "charon-dkg.define/1",
        file: path.display().to_string(),
        config_hash: made.definition.config_hash.map(|hash| hash.to_string()),
        definition_hash: made.definition.definition_hash.map(|hash| hash.to_string()),
        charon_version: made.charon.to_string(),
        payouts: Payouts::of(&made.definition),
        operators: operators(&given.enrs, given.sources),
        notes: &made.notes,
    };
    context.result(&text(&made, &document), &document)?;
    context.say("nobody signs this definition: send every operator the file and, over a different channel, its definition_hash to compare");
    context.say(&format!(
        "then all operators run at the same time: `charon-dkg run --definition {}`",
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
            "{} exists already; a definition is never replaced, because someone may already have it",
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

impl Given {
    fn read(context: &Context, args: &DefineArgs) -> Result<Self, Failure> {
        let wanted = Wanted {
            beginning: BEGINNING,
            name: "an ENR",
            several: "ENRs",
            limit: MAX_TEXT_BYTES,
            find: |text: &str| Ok(enr_texts::find_enrs(text)),
        };
        let mut given = Self::default();
        for text in pasted::read(context, &args.enrs, &wanted)? {
            if text.found.is_empty() {
                given.problem(
                    "define-text",
                    text.source,
                    "no ENR in it".to_owned(),
                    "at least one ENR, which begins with enr:",
                    "check that this is the right file; `charon-dkg enr show` prints an operator's ENR",
                );
                continue;
            }
            for found in text.found {
                let place = if text.source == COMMAND_LINE {
                    text.source.clone()
                } else {
                    format!("{}, line {}", text.source, found.line)
                };
                given.take(place, found.what);
            }
        }
        let seen = given.enrs.len();
        if let Some(expected) = args.operators.filter(|expected| *expected != seen) {
            given.problem(
                "define-operator-count",
                "operators".to_owned(),
                format!(
                    "{}: {}",
                    report::count(u64::try_from(seen).unwrap_or(u64::MAX), "different ENR"),
                    given.sources.join("; ")
                ),
                &format!("{expected}, as --operators says"),
                "give one ENR of each operator: of a corrected one only the last, and none twice",
            );
        }
        Ok(given)
    }

    fn take(&mut self, place: String, what: What) {
        match what {
            What::Enr(enr) => match self.enrs.iter().position(|known| *known == enr) {
                None => {
                    self.enrs.push(enr);
                    self.sources.push(place);
                }
                Some(index) => self.notes.push(Finding {
                    check: "define-enr-repeated",
                    weight: Weight::Note,
                    subject: place,
                    seen: format!(
                        "the ENR of operator {} again ({})",
                        index + 1,
                        self.sources.get(index).map_or("", String::as_str)
                    ),
                    expected: "each ENR once; it counts once".to_owned(),
                    advice: String::new(),
                }),
            },
            What::Broken(broken) => self.problem(
                "operator-enr",
                place,
                broken.to_string(),
                "a complete ENR",
                "have its operator send it again as `charon-dkg enr show` prints it, between ` marks or as a file",
            ),
            What::Secret => self.problem(
                "define-secret",
                place,
                "64 hexadecimal digits, which is what an ENR private key looks like".to_owned(),
                "nothing but ENRs",
                &format!("{SECRET_ADVICE}; if it is something else, leave it out"),
            ),
        }
    }

    fn problem(
        &mut self,
        check: &'static str,
        subject: String,
        seen: String,
        expected: &str,
        advice: &str,
    ) {
        self.problems.push(Finding {
            check,
            weight: Weight::Fail,
            subject,
            seen,
            expected: expected.to_owned(),
            advice: advice.to_owned(),
        });
    }
}

fn terms(context: &Context, args: DefineArgs, given: &Given) -> Result<Terms, Failure> {
    let enrs = given.enrs.iter().map(|enr| enr.text().to_owned()).collect();
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
                "--deposit-amounts is larger than all there is; it is in whole ETH, on gnosis and chiado in 32nds of one GNO",
            )
        })?,
        compounding: args.compounding,
        target_gas_limit: args.target_gas_limit,
        consensus_protocol: args.consensus_protocol,
        dkg_algorithm: args.dkg_algorithm,
        profile: context.profile().cloned(),
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
        timestamp: machine::time_text(jiff::Timestamp::now()),
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
    os::set_mode(file.as_file(), 0o644)
        .and_then(|()| file.as_file().sync_all())
        .map_err(|error| failed(&error))?;
    file.persist_noclobber(path).map_err(|failed| {
        if failed.error.kind() == io::ErrorKind::AlreadyExists {
            exists(path)
        } else {
            unwritable(path, &failed.error)
        }
    })?;
    os::Dir::open(&parent)
        .and_then(|dir| dir.sync())
        .map_err(|error| failed(&error))
}

fn operators(enrs: &[Enr], sources: Vec<String>) -> Vec<Line> {
    let numbered = enrs.iter().zip(sources).enumerate();
    numbered
        .map(|(position, (enr, source))| Line {
            operator: position + 1,
            enr_id: enr.public_key().id().to_string(),
            enr: enr.text().to_owned(),
            source,
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
    for (name, value) in document.payouts.lines() {
        line(name, &value);
    }
    for operator in &document.operators {
        line(
            &format!("operator {}", operator.operator),
            &format!("ENR id {} ({})", operator.enr_id, operator.source),
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
