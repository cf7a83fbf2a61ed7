//! `explain`: why charon failed, from anybody's log of it; and how a diagnosis is shown.

use std::ffi::OsString;
use std::path::Path;

use serde::Serialize;

use crate::cli::ExplainArgs;
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::machine::read::{self, Limit};
use crate::proof::pasted::read_standard_input;
use crate::report;
use charon_files::finding::{Finding, Weight};
use charon_log::{Diagnosis, Phase, Told, Who, Whose};

/// Longest log, in bytes: a day of charon's output at level debug fits.
const MAX_LOG_BYTES: usize = 64 * 1024 * 1024;

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    logs: Vec<Log>,
}

#[derive(Serialize)]
struct Log {
    source: String,
    charon: Option<String>,
    definition_hash: Option<String>,
    /// Whose log it is, counted from 1.
    operator: Option<usize>,
    /// 0 if the log does not say.
    operators: usize,
    succeeded: bool,
    /// Lines that the log's collector left out.
    left_out: usize,
    cause: Option<Cause>,
}

#[derive(Serialize)]
struct Cause {
    id: &'static str,
    text: String,
    /// `you` is the operator whose log it is.
    whose: &'static str,
    /// Who must fix it, where it is other operators; those counted from 1 that the log names.
    operators: Vec<usize>,
    next: String,
    charon: Option<String>,
    outputs_may_be_complete: bool,
}

pub(crate) fn explain(context: &Context, args: &ExplainArgs) -> Result<(), Failure> {
    let mut text = String::new();
    let mut logs = Vec::new();
    for log in &args.logs {
        let (source, bytes) = read(log)?;
        let told = charon_log::explain(&bytes).ok_or_else(|| {
            Failure::new(Kind::Usage, format!("{source} holds no output of charon")).hint(
                "give what charon itself printed, such as the output of `docker logs CONTAINER`",
            )
        })?;
        text.push_str(&shown(&source, &told));
        logs.push(document(source, &told));
    }
    let schema = "charon-dkg.explain/1";
    context.result(&text, &Document { schema, logs })
}

fn read(log: &OsString) -> Result<(String, Vec<u8>), Failure> {
    if log == "-" {
        let bytes = read_standard_input(MAX_LOG_BYTES.saturating_add(1))?;
        if bytes.len() > MAX_LOG_BYTES {
            let message = format!("standard input has more than {MAX_LOG_BYTES} bytes");
            return Err(Failure::new(Kind::Usage, message));
        }
        return Ok(("standard input".to_owned(), bytes));
    }
    let limit = Limit {
        bytes: u64::try_from(MAX_LOG_BYTES).unwrap_or(u64::MAX),
        what: "a log",
    };
    let bytes = read::read_file(Path::new(log), limit)
        .map_err(|error| Failure::new(Kind::Usage, error.to_string()))?;
    Ok((log.to_string_lossy().into_owned(), bytes))
}

fn shown(source: &str, told: &Told) -> String {
    let progress = &told.progress;
    let operators = progress.size().operators;
    let charon = progress
        .version()
        .map(|version| format!("charon {version}"));
    let own = progress.peers().iter().find(|peer| peer.you);
    let own = own.and_then(|peer| peer.index);
    let own = own.map(|index| index.of(operators).to_string());
    let known: Vec<String> = charon.into_iter().chain(own).collect();
    let known = if known.is_empty() {
        String::new()
    } else {
        format!(" ({})", known.join(", "))
    };
    let source = report::clean(source);
    let Some(diagnosis) = &told.diagnosis else {
        return format!("{source}{known}: the ceremony succeeded on this node\n");
    };
    let evidence = diagnosis.evidence.as_deref();
    let charon = evidence.filter(|evidence| !diagnosis.cause.contains(evidence));
    let charon = charon.map_or_else(String::new, |words| format!(" (charon: {words})"));
    let seen = diagnosis.cause.clone() + &charon;
    let finding = finding(diagnosis, "this node's operator", seen, |who| {
        name(who, None, operators)
    });
    let findings = report::findings_text(&[finding]);
    format!("{source}{known}:\n{findings}{}", left_out(told))
}

/// That lines are missing, where the diagnosis does not say so itself.
fn left_out(told: &Told) -> String {
    let is_said = told.diagnosis.iter().any(|it| it.id == "log-incomplete");
    if told.left_out == 0 || is_said {
        return String::new();
    }
    format!(
        "    note:     {}; `journalctl --all` leaves out none\n",
        charon_log::lines_left_out(told.left_out)
    )
}

fn document(source: String, told: &Told) -> Log {
    let progress = &told.progress;
    let number = |who: &Who| who.index.map(|index| index.position() + 1);
    let own = progress.peers().iter().find(|peer| peer.you);
    Log {
        source,
        charon: progress.version().map(str::to_owned),
        definition_hash: progress.definition_hash().map(str::to_owned),
        operator: own
            .and_then(|peer| peer.index)
            .map(|index| index.position() + 1),
        operators: progress.size().operators,
        left_out: told.left_out,
        succeeded: progress.phase() == Phase::Done && told.diagnosis.is_none(),
        cause: told.diagnosis.clone().map(|diagnosis| Cause {
            id: diagnosis.id,
            text: diagnosis.cause,
            whose: diagnosis.whose.name(),
            operators: match &diagnosis.whose {
                Whose::Operators(operators) => operators.iter().filter_map(number).collect(),
                Whose::You
                | Whose::Coordinator
                | Whose::Everybody
                | Whose::Relay
                | Whose::Machine
                | Whose::Unknown => Vec::new(),
            },
            next: diagnosis.next_step,
            charon: diagnosis.evidence,
            outputs_may_be_complete: diagnosis.outputs_may_be_complete,
        }),
    }
}

/// The finding of a diagnosis; `you` is the operator of the node that it is about.
pub(crate) fn finding(
    diagnosis: &Diagnosis,
    you: &str,
    seen: String,
    name: impl Fn(&Who) -> String,
) -> Finding {
    let subject = match &diagnosis.whose {
        Whose::Operators(operators) => {
            let names: Vec<String> = operators.iter().map(name).collect();
            format!("{} must fix this", names.join(", "))
        }
        Whose::You => format!("{you} must fix this"),
        Whose::Coordinator => "the coordinator must fix this".to_owned(),
        Whose::Everybody => "all operators must fix this together".to_owned(),
        Whose::Relay => "the relay's operator must fix this, or this network's".to_owned(),
        Whose::Machine => "this machine's administrator must fix this".to_owned(),
        Whose::Unknown => "it is not known who must fix this".to_owned(),
    };
    Finding {
        check: diagnosis.id,
        weight: Weight::Fail,
        subject,
        seen,
        expected: String::new(),
        advice: diagnosis.next_step.clone(),
    }
}

/// `operator 2 of 4 (0x…, charon's anxious-food)`; an address of the definition is worth more than charon's.
pub(crate) fn name(who: &Who, address: Option<String>, operators: usize) -> String {
    let name = who.name.as_deref().map(|name| format!("charon's {name}"));
    let Some(index) = who.index else {
        return name.unwrap_or_else(|| "an operator".to_owned());
    };
    let address = address.or_else(|| who.address.clone());
    let details: Vec<String> = address.into_iter().chain(name).collect();
    let number = index.of(operators);
    if details.is_empty() {
        number.to_string()
    } else {
        format!("{number} ({})", details.join(", "))
    }
}
