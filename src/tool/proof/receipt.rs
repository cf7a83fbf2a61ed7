//! `receipt`: proves the data directory and prints this node's receipt, the same as before if nothing has changed.

use serde::Serialize;

use crate::ceremony::attempt::{Attempt, State};
use crate::ceremony::key;
use crate::context::Context;
use crate::edit::held;
use crate::error::{Failure, Kind};
use crate::failures;
use crate::machine;
use crate::machine::datadir::Layout;
use crate::place;
use crate::promote;
use crate::proof::{prove, receipts, verify};
use charon_files::cluster::CharonVersion;
use charon_files::keys::k1::EnrKey;
use charon_proof::cluster::Cluster;
use charon_proof::confirm::{Confirmation, Own, ReceiptDocument, confirm, time_text};
use charon_proof::line::StatementError;
use charon_proof::receipt::{CharonImage, RanWith, Receipt, Statement};
use charon_proof::verify::Verified;

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    receipt: ReceiptDocument,
}

pub(crate) fn receipt(context: &Context) -> Result<(), Failure> {
    let layout = context.layout()?;
    verify::recover(context, &layout)?;
    let proof = prove::prove(context, &layout)?;
    let _guard = place::claim(&layout)?;
    proof.remember(&layout)?;
    let receipt = give(context, &layout, &proof.verified, &proof.key)?;
    context.result(
        &format!("{receipt}\n"),
        &Document {
            schema: "charon-dkg.receipt/1",
            receipt: ReceiptDocument::of(&receipt),
        },
    )?;
    context.say("paste this line into the group's chat; there is nothing secret in it");
    if let Some(notice) = promote::held::notice(&layout) {
        context.say(&notice);
    }
    Ok(())
}

/// The receipt of a ceremony whose outputs were proved and have just been promoted. Expects the caller to hold the
/// directory's guard.
///
/// # Errors
/// If it cannot be kept.
pub(crate) fn after_ceremony(
    context: &Context,
    layout: &Layout,
    verified: &Verified,
) -> Result<Receipt, Failure> {
    let unexpected = |reason: String| Failure::new(Kind::Unexpected, reason);
    let key = key::enr_key(layout)
        .map_err(unexpected)?
        .ok_or_else(|| unexpected("the ENR key is gone".to_owned()))?;
    prove::remember(layout, verified, &key, None)?;
    give(context, layout, verified, &key)
}

/// This node's receipt, which is kept.
fn give(
    context: &Context,
    layout: &Layout,
    verified: &Verified,
    key: &EnrKey,
) -> Result<Receipt, Failure> {
    let cluster = verified.cluster();
    let mut kept = kept(layout, cluster)?;
    let receipt = issue(context, layout, verified, key, &kept)?;
    if !kept.contains(&receipt) {
        kept.push(receipt.clone());
        keep(layout, &confirm(cluster, &kept, Some(&Own::of(verified))))?;
    }
    Ok(receipt)
}

/// The receipt that this node gave before, among those that are kept, as long as it still holds; otherwise a new one.
///
/// # Errors
/// If none can be made for this.
pub(crate) fn issue(
    context: &Context,
    layout: &Layout,
    verified: &Verified,
    key: &EnrKey,
    kept: &[Receipt],
) -> Result<Receipt, Failure> {
    let before = kept
        .iter()
        .filter(|receipt| {
            let statement = receipt.statement();
            statement.node == verified.node_index()
                && statement.lock_hash == verified.lock_hash()
                && receipt.is_signed_by(&key.public_key())
        })
        .max_by_key(|receipt| receipt.statement().time)
        .cloned();
    let ran_with = match before.as_ref().map(Receipt::statement) {
        Some(statement) => statement.charon_version.clone().map(|version| RanWith {
            image: statement.charon_image,
            version,
        }),
        None => ran_with(layout, verified)?,
    };
    let now = machine::unix_time();
    let statement = Statement::of(verified, ran_with.as_ref(), env!("CARGO_PKG_VERSION"), now)
        .map_err(statement_failure)?;
    if let Some(before) = &before
        && before.statement().agrees_with(&statement)
    {
        return Ok(before.clone());
    }
    let receipt = Receipt::sign(statement, key).map_err(statement_failure)?;
    if let Some(before) = before {
        context.warn(&format!(
            "this receipt differs from the one of {}; tell everyone who has that one",
            time_text(before.statement().time)
        ));
    }
    Ok(receipt)
}

fn statement_failure(error: StatementError) -> Failure {
    Failure::new(Kind::Unexpected, format!("no receipt for this: {error}"))
}

/// The receipts that are kept for this cluster's lock. What is damaged among them is as good as missing.
///
/// # Errors
/// If there are some and they cannot be read.
pub(crate) fn kept(layout: &Layout, cluster: &Cluster) -> Result<Vec<Receipt>, Failure> {
    let text = receipts::read(layout, &cluster.lock_hash())
        .map_err(|error| Failure::new(Kind::Unexpected, error.to_string()))?;
    Ok(receipts::lines_in(&text))
}

/// Keeps of the receipts what the confirmation needs to come to the same answers. Expects the caller to hold the
/// directory's guard.
///
/// # Errors
/// If they cannot be written.
pub(crate) fn keep(layout: &Layout, confirmation: &Confirmation) -> Result<(), Failure> {
    let lock_hash = confirmation.lock_hash();
    receipts::write(layout, &lock_hash, confirmation.evidence()).map_err(failures::file)
}

/// What the last ceremony here was run with, if it was for this definition.
fn ran_with(layout: &Layout, verified: &Verified) -> Result<Option<RanWith>, Failure> {
    // The ceremony before an edit says nothing of it.
    let of_edit = held::find(layout).ok().flatten();
    if let Some(edit) = of_edit.filter(|it| it.lock_hash == verified.lock_hash().to_string()) {
        return Ok(edit.ran_with.and_then(|ran| {
            Some(RanWith {
                image: CharonImage::parse(&ran.image),
                version: ran.version.parse().ok()?,
            })
        }));
    }
    let mut ran_with = None;
    for attempt in Attempt::list(layout).map_err(failures::attempt)? {
        let record = attempt.record().map_err(failures::attempt)?;
        let same = record.edit.is_none()
            && record.definition_hash == verified.definition_hash().to_string();
        if let (true, State::Held | State::Promoted, Ok(version)) = (
            same,
            &record.state,
            record.charon_version.parse::<CharonVersion>(),
        ) {
            ran_with = Some(RanWith {
                image: CharonImage::parse(&record.charon_image),
                version,
            });
        }
    }
    Ok(ran_with)
}
