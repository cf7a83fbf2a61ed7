//! The ready lines that a project keeps, and the operators they are measured by.

use crate::ceremony::definition_source::{FoundDefinition, NoDefinition};
use crate::error::{Failure, Kind};
use crate::failures;
use crate::machine;
use crate::machine::datadir::{self, Layout};
use crate::machine::guard;
use crate::proof::receipts;
use charon_files::finding::Weight;
use charon_proof::cluster::Operators;
use charon_proof::readiness::{Agreement, weigh};
use charon_proof::ready::ReadyLine;

/// A definition that may be used.
///
/// # Errors
/// [`Kind::Usage`] if no definition was found, [`Kind::VerificationFailed`] if it cannot be relied on.
pub(crate) fn found_definition(
    found: Result<FoundDefinition, NoDefinition>,
) -> Result<FoundDefinition, Failure> {
    match found {
        Ok(found) => {
            let is_sound = found.findings.iter().all(|it| it.weight == Weight::Note);
            if is_sound {
                return Ok(found);
            }
            Err(Failure::new(
                Kind::VerificationFailed,
                format!("{} did not pass", found.source),
            )
            .with_findings(found.findings))
        }
        Err(NoDefinition::Missing(looked)) => Err(Failure::new(
            Kind::Usage,
            format!("no cluster definition in {looked}"),
        )
        .hint("give it with --definition FILE or --definition https://…")),
        Err(NoDefinition::Unusable { reason, advice }) => {
            Err(Failure::new(Kind::Usage, reason).hint(advice))
        }
    }
}

/// Who the operators of a definition are.
///
/// # Errors
/// Where an ENR is missing.
pub(crate) fn operators(found: &FoundDefinition) -> Result<Operators, Failure> {
    Operators::of(&found.definition, found.definition_hash).ok_or_else(|| {
        Failure::new(
            Kind::Refused,
            format!("{} does not name one ENR for each operator", found.source),
        )
        .hint("wait until every operator has given an ENR, and ask the coordinator for the definition again")
    })
}

/// The lines that are kept for a definition. What is damaged among them is as good as missing.
///
/// # Errors
/// If there are some and they cannot be read.
pub(crate) fn kept(layout: &Layout, operators: &Operators) -> Result<Vec<ReadyLine>, Failure> {
    let text = receipts::read_ready(layout, &operators.definition_hash())
        .map_err(|error| Failure::new(Kind::Unexpected, error.to_string()))?;
    Ok(receipts::lines_in(&text))
}

/// What all operators have agreed on in the lines that are kept.
pub(crate) fn agreed(layout: &Layout, found: &FoundDefinition) -> Option<Agreement> {
    let operators = Operators::of(&found.definition, found.definition_hash)?;
    let kept = kept(layout, &operators).ok()?;
    weigh(&operators, &kept, None, machine::unix_time()).agreement()
}

/// Keeps these lines beside those that are kept, and gives all of them. `run` may be waiting with the directory's guard, so
/// the lines have one of their own.
///
/// # Errors
/// If they cannot be written, or another command is just writing them.
pub(crate) fn keep(
    layout: &Layout,
    operators: &Operators,
    lines: &[ReadyLine],
) -> Result<Vec<ReadyLine>, Failure> {
    if lines.is_empty() {
        return kept(layout, operators);
    }
    datadir::create_state_dir(layout).map_err(failures::state_dir)?;
    let _guard = guard::claim_ready_lines(layout).map_err(failures::guard)?;
    let mut all = kept(layout, operators)?;
    all.extend_from_slice(lines);
    let group = weigh(operators, &all, None, machine::unix_time());
    receipts::write_ready(layout, &operators.definition_hash(), group.evidence())
        .map_err(failures::file)?;
    // Forged lines and strangers are told once, and not kept.
    Ok(all)
}
