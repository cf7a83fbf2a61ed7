//! `pins`: the version table and why each row is so.

use serde::Serialize;

use crate::ceremony::pins;
use crate::context::Context;
use crate::error::Failure;

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

pub(crate) fn show(context: &Context) -> Result<(), Failure> {
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
    let mut table = vec![[
        "cluster definition".to_owned(),
        "charon".to_owned(),
        "why".to_owned(),
    ]];
    for row in &rows {
        let range = if row.definition_from == row.definition_to {
            row.definition_from.clone()
        } else {
            format!("{} to {}", row.definition_from, row.definition_to)
        };
        let charon = match (&row.charon, &row.prerelease) {
            (Some(charon), _) => charon.clone(),
            (None, Some(candidate)) => format!("none; {candidate} with --allow-prerelease"),
            (None, None) => "none".to_owned(),
        };
        table.push([range, charon, row.why.to_owned()]);
    }
    let text = columns(&table);
    let document = Document {
        schema: "charon-dkg.pins/1",
        repository: pins::OFFICIAL_REPOSITORY,
        pins: rows,
    };
    context.result(&text, &document)
}

/// Rows with their columns under each other.
fn columns(rows: &[[String; 3]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(String::len).max().unwrap_or(0)
    };
    let (first, second) = (width(0), width(1));
    rows.iter()
        .map(|[range, charon, why]| format!("{range:<first$}  {charon:<second$}  {why}\n"))
        .collect()
}
