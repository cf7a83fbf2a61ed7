//! `pins`: the version table and why each row is so.

use serde::Serialize;

use super::Context;
use crate::error::Failure;
use crate::pins;

#[derive(Serialize)]
struct Row {
    definition_from: String,
    definition_to: String,
    charon: Option<String>,
    prerelease: Option<String>,
    why: &'static str,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    repository: &'static str,
    pins: Vec<Row>,
}

pub(super) fn show(context: &Context) -> Result<(), Failure> {
    let rows: Vec<Row> = pins::table()
        .into_iter()
        .map(|row| Row {
            definition_from: row.from.to_string(),
            definition_to: row.to.to_string(),
            charon: row.charon.map(|charon| charon.to_string()),
            prerelease: row.prerelease.map(|charon| charon.to_string()),
            why: row.why,
        })
        .collect();
    let mut text = format!("{:<20} {:<26} why\n", "cluster definition", "charon");
    for row in &rows {
        let range = if row.definition_from == row.definition_to {
            row.definition_from.clone()
        } else {
            format!("{} to {}", row.definition_from, row.definition_to)
        };
        let charon = match (&row.charon, &row.prerelease) {
            (Some(charon), _) => charon.clone(),
            (None, Some(candidate)) => format!("none ({candidate} on request)"),
            (None, None) => "none".to_owned(),
        };
        text.push_str(&format!("{range:<20} {charon:<26} {}\n", row.why));
    }
    let document = Document {
        schema: "charon-dkg.pins/1",
        repository: pins::OFFICIAL_REPOSITORY,
        pins: rows,
    };
    context.result(&text, &document)
}
