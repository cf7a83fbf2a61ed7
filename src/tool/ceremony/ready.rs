//! `ready`: this node's ready line after a whole preflight, and what the lines of all operators amount to.

use std::ffi::OsString;

use serde::Serialize;
use url::Url;

use crate::ceremony::definition_source;
use crate::ceremony::edited;
use crate::ceremony::facts::{self, Observed, Purpose, Typed, What};
use crate::ceremony::pins;
use crate::ceremony::plan::{self, EngineFact, EnrKeyFact, Plan};
use crate::ceremony::ready_lines;
use crate::ceremony::surroundings;
use crate::cli::ReadyArgs;
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::machine;
use crate::machine::datadir::Layout;
use crate::place;
use crate::proof::confirm::Given;
use crate::report::{self, OperatorRow};
use charon_files::cluster::NodeIndex;
use charon_files::finding::{Finding, Weight, first_seen};
use charon_files::keys::k1::EnrKey;
use charon_proof::cluster::Operators;
use charon_proof::confirm::time_text;
use charon_proof::readiness::{Group, Readiness, StatementDocument, weigh};
use charon_proof::ready::{EngineKind, List, Processor, ReadyLine, SeenEngine, Statement};
use charon_proof::receipt::CharonImage;

/// Flags of `charon dkg` that every operator must give alike: who waits shorter than the others ends the ceremony for all,
/// and features are what nodes speak to each other. Of the rest some are each node's own, and some are secrets.
const SHARED_FLAGS: [&str; 4] = [
    "timeout",
    "feature-set",
    "feature-set-enable",
    "feature-set-disable",
];

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    text: String,
    statement: StatementDocument,
    findings: Vec<Finding>,
}

pub(crate) async fn ready(context: &Context, args: &ReadyArgs) -> Result<(), Failure> {
    let typed = (&args.ceremony).into();
    if args.lines.is_empty() && !args.bundle {
        say_ready(context, &typed).await
    } else {
        collect(context, &args.lines, args.bundle, &typed).await
    }
}

/// The same for an edit of the cluster.
///
/// # Errors
/// As of [`ready`].
pub(crate) async fn for_edit(
    context: &Context,
    typed: &Typed<'_>,
    lines: &[OsString],
) -> Result<(), Failure> {
    if lines.is_empty() {
        say_ready(context, typed).await
    } else {
        collect(context, lines, false, typed).await
    }
}

/// Looks at everything as `plan` does, and signs what it found.
async fn say_ready(context: &Context, typed: &Typed<'_>) -> Result<(), Failure> {
    let layout = context.layout()?;
    place::look(&layout)?;
    facts::check_nothing_under_way(&layout)?;
    let observed = facts::observe(context, &layout, typed, Purpose::Propose).await?;
    observed.settle(context).await;
    let plan = facts::plan(&observed)?;
    let statement = state(&observed, &plan).await?;
    let unexpected = |reason: String| Failure::new(Kind::Unexpected, reason);
    let key = facts::enr_key(&layout)
        .map_err(unexpected)?
        .ok_or_else(|| unexpected("the ENR key is gone".to_owned()))?;
    let line = ReadyLine::sign(statement, &key)
        .map_err(|error| unexpected(format!("no ready line for this: {error}")))?;
    for note in &plan.notes {
        context.say(report::findings_text(std::slice::from_ref(note)).trim_end());
    }
    if let Some(found) = &observed.definition {
        ready_lines::keep(
            &layout,
            &ready_lines::operators(found)?,
            std::slice::from_ref(&line),
        )?;
    }
    context.result(
        &format!("{line}\n"),
        &Document {
            schema: "charon-dkg.ready/1",
            text: line.to_string(),
            statement: StatementDocument::of(line.statement()),
            findings: plan.notes.clone(),
        },
    )?;
    context.say("paste this line into the group's chat; there is nothing secret in it");
    context.say(&format!(
        "then save the chat as a file: `{} {} FILE` shows who else is ready",
        context.spelling,
        typed.ready_command()
    ));
    if plan.notes.iter().all(|it| it.weight == Weight::Note) {
        return Ok(());
    }
    Err(Failure::new(
        Kind::VerificationFailed,
        "the line says that it could not be determined whether charon can start here; everything else is in order",
    ))
}

/// With what this plan is about to start a ceremony, signed by nobody yet.
///
/// # Errors
/// If the engine falls silent, or the plan is for something that no line can state.
pub(crate) async fn state(observed: &Observed, plan: &Plan) -> Result<Statement, Failure> {
    let unexpected = |what: &str| Failure::new(Kind::Unexpected, what);
    let Some(found) = &observed.definition else {
        return Err(unexpected("a plan without a definition"));
    };
    let processor = surroundings::processor(observed.engine.as_ref()).await?;
    let kind = match &observed.facts.engine {
        EngineFact::Ready { mode, .. } => EngineKind::by_name(mode),
        EngineFact::NotNeeded { .. } => Some(EngineKind::Process),
        EngineFact::Unreachable { .. }
        | EngineFact::Remote(_)
        | EngineFact::WrongOwner { .. }
        | EngineFact::NotLookedAt(_) => None,
    };
    let engine = match &observed.facts.engine {
        EngineFact::NotLookedAt(_) => None,
        EngineFact::Ready { .. }
        | EngineFact::NotNeeded { .. }
        | EngineFact::Unreachable { .. }
        | EngineFact::Remote(_)
        | EngineFact::WrongOwner { .. } => Some(SeenEngine {
            kind: kind.ok_or_else(|| unexpected("an engine of an unknown kind"))?,
            charon_image: CharonImage::parse(&plan.container.image)
                .ok_or_else(|| unexpected("an image without a digest"))?,
        }),
    };
    let is_backed_up = match &observed.facts.enr_key {
        EnrKeyFact::Found { backed_up, .. } => *backed_up,
        EnrKeyFact::Missing | EnrKeyFact::Unusable(_) => false,
    };
    let relays: Vec<String> = if observed.request.relays.is_empty() {
        let own = pins::default_relays(&plan.charon_version);
        own.iter().map(|url| public_url(url)).collect()
    } else {
        let given = observed.request.relays.iter();
        given.map(|url| public_url(url)).collect()
    };
    let flags = shared_flags(&observed.request.charon_flags);
    Ok(Statement {
        node: NodeIndex::new(plan.node_index),
        operators: u16::try_from(plan.operators)
            .map_err(|_| unexpected("more operators than a line can state"))?,
        definition_hash: found.definition_hash,
        time: machine::unix_time(),
        charon_version: plan.charon_version.clone(),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        relays: List::of(relays.iter().map(String::as_str)),
        flags: List::of(flags.iter().map(String::as_str)),
        engine,
        processor: Processor::by_name(&processor),
        is_backed_up,
    })
}

/// A relay's URL without what may be a password, spelled in one way.
fn public_url(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else {
        return text.to_owned();
    };
    if !url.has_host() {
        return text.to_owned();
    }
    url.set_query(None);
    url.set_fragment(None);
    // A URL with a host has room for both.
    url.set_username("").ok();
    url.set_password(None).ok();
    url.as_str().trim_end_matches('/').to_owned()
}

fn shared_flags(charon_flags: &[String]) -> Vec<String> {
    SHARED_FLAGS
        .iter()
        .flat_map(|name| {
            let values = plan::flag_values(charon_flags, name);
            values
                .into_iter()
                .map(move |value| format!("--{name}={value}"))
        })
        .collect()
}

/// The lines that were given and those that are kept, as a table.
async fn collect(
    context: &Context,
    lines: &[OsString],
    bundle: bool,
    typed: &Typed<'_>,
) -> Result<(), Failure> {
    let given = Given::<Statement>::read(context, lines)?;
    let layout = context.layout()?;
    let (found, hash) = match &typed.what {
        What::Dkg(asked) => (
            definition_source::find(context, &layout, *asked).await,
            "definition_hash",
        ),
        What::Edit(command, lock_file) => {
            let wanted = edited::Wanted {
                command,
                lock_file: *lock_file,
                own: None,
            };
            let edited = edited::find(context, &layout, &wanted);
            (edited.map(|edited| edited.found), "edit_hash")
        }
    };
    let found = ready_lines::found_definition(found)?;
    let operators = ready_lines::operators(&found)?;
    let this = this_node(&layout, &operators);
    let mut lines = given.lines;
    if this.is_some() {
        lines = ready_lines::keep(&layout, &operators, &lines)?;
    }
    let group = weigh(&operators, &lines, None, machine::unix_time());
    let document = group.document(&given.broken);
    let all = group.bundle();
    let text = match (&all, bundle) {
        (Some(all), true) => all.clone(),
        // With the bundle in a file, the table is not wanted on standard output.
        (None, true) => String::new(),
        (_, false) => table(&group, this, hash),
    };
    context.result(&text, &document)?;
    let mut findings = group.findings();
    findings.extend(given.broken);
    if group.is_complete() {
        if !findings.is_empty() {
            context.say(report::findings_text(&findings).trim_end());
        }
        return Ok(());
    }
    let mut failure =
        Failure::new(Kind::VerificationFailed, group.summary()).with_findings(findings);
    let is_missing = |line: &_| matches!(line, Readiness::Missing);
    if group
        .operators()
        .iter()
        .any(|line| is_missing(&line.status))
    {
        failure = failure.hint(format!(
            "ask the missing operators to run `docker charon-dkg {ready}` and to paste the line; then `{me} {ready}` with it, or with the whole chat log",
            me = context.spelling,
            ready = typed.ready_command()
        ));
    }
    Err(failure.hint(
        "start when all operators are ready: any difference ends the ceremony for all of them",
    ))
}

/// The state of the group, by the lines that are kept and what this node is about to start; `None` where none are kept and
/// none are `required`, so that nothing else need be looked at.
///
/// # Errors
/// If kept lines cannot be read, or the engine falls silent.
pub(crate) async fn group(
    layout: &Layout,
    observed: &Observed,
    plan: &Plan,
    required: bool,
) -> Result<Option<Group>, Failure> {
    let Some(found) = &observed.definition else {
        return Err(Failure::new(
            Kind::Unexpected,
            "a plan without a definition",
        ));
    };
    let operators = ready_lines::operators(found)?;
    let kept = ready_lines::kept(layout, &operators)?;
    if kept.is_empty() && !required {
        return Ok(None);
    }
    let own = state(observed, plan).await?;
    let group = weigh(&operators, &kept, Some(&own), machine::unix_time());
    Ok(Some(group))
}

/// The operator whose key is here, if it is one of them.
fn this_node(layout: &Layout, operators: &Operators) -> Option<NodeIndex> {
    let key: EnrKey = facts::enr_key(layout).ok().flatten()?;
    operators.node_of(&key.public_key())
}

/// The table for people.
fn table(group: &Group, this: Option<NodeIndex>, hash: &str) -> String {
    let rows: Vec<OperatorRow<'_>> = group
        .operators()
        .iter()
        .map(|line| OperatorRow {
            node: line.node,
            address: &line.address,
            status: line.status.text(),
            what: match (line.status, &line.statement) {
                (Readiness::Ready, Some(statement)) => described(statement),
                (
                    Readiness::Ready
                    | Readiness::Missing
                    | Readiness::WrongKey
                    | Readiness::OtherDefinition
                    | Readiness::ContradictsDefinition
                    | Readiness::OtherRelease
                    | Readiness::OtherImage
                    | Readiness::OtherRelays
                    | Readiness::OtherFlags
                    | Readiness::TooOld
                    | Readiness::ClockAhead
                    | Readiness::EngineUnknown,
                    _,
                ) => first_seen(&line.findings),
            },
        })
        .collect();
    format!(
        "{hash} {}\n{}{}\n",
        group.definition_hash(),
        report::operator_table("ready", &rows, this),
        group.summary()
    )
}

/// `2026-11-28T03:00:00Z, charon v1.10.3, rootful on amd64`.
fn described(statement: &Statement) -> String {
    let engine = statement.engine.as_ref();
    format!(
        "{}, charon {}, {} on {}",
        time_text(statement.time),
        statement.charon_version,
        engine.map_or("engine not looked at", |engine| engine.kind.name()),
        statement.processor.name()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_spelled_in_one_way_and_without_passwords() {
        for (given, stated) in [
            ("https://0.relay.obol.tech", "https://0.relay.obol.tech"),
            (
                "HTTPS://0.Relay.obol.tech:443/",
                "https://0.relay.obol.tech",
            ),
            ("http://relay:3640/enr", "http://relay:3640/enr"),
            (
                "https://me:secret@relay.x/?key=secret#secret",
                "https://relay.x",
            ),
            (
                "/ip4/1.2.3.4/tcp/3610/p2p/16Uiu2",
                "/ip4/1.2.3.4/tcp/3610/p2p/16Uiu2",
            ),
            ("relay", "relay"),
        ] {
            assert_eq!(public_url(given), stated);
        }
    }

    #[test]
    fn only_flags_that_all_must_share_are_stated() {
        let flags = [
            "--timeout",
            "5m",
            "--execution-client-rpc-endpoint=https://x/secret",
            "--p2p-tcp-address=0.0.0.0:3610",
            "--nickname=alice",
            "--feature-set=alpha",
        ]
        .map(str::to_owned);
        assert_eq!(
            shared_flags(&flags),
            ["--timeout=5m", "--feature-set=alpha"]
        );
    }
}
