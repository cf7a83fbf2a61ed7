//! The documentation says what the program does, or this fails.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use charon_proof::verify::{Check, Outcome, Report, SCHEMA, Subject};
use serde_json::Value;

use crate::schema;
use crate::support::{ceremonies, ceremony, whole};

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(name)
}

/// The page of all checks, as it must lie in `docs/verify-checks.md`.
fn checks_page() -> String {
    let mut page = String::from(
        "# The checks of `verify`\n\
         \n\
         Each check has a stable name, used in findings and in the JSON output. A verification passes only if every check\n\
         that applies was carried out and none failed or was left undecided. *Since* is the first format version of the cluster\n\
         definition whose files have what is checked; *section* is that of the notes on charon's files.\n\
         \n\
         This page is made from the program: `UPDATE_DOCS=1 cargo test --test verify documentation` writes it anew.\n",
    );
    let subjects = [
        (Subject::File, "Every file", "in every scope"),
        (
            Subject::Definition,
            "The cluster definition",
            "in every scope, alone or inside the lock",
        ),
        (
            Subject::Lock,
            "The cluster lock",
            "except with `--definition`",
        ),
        (
            Subject::Edit,
            "The cluster lock before an edit",
            "with `--previous-lock`",
        ),
        (
            Subject::DepositFile,
            "Deposit data files",
            "for a data directory, and with `--deposit`",
        ),
        (
            Subject::Node,
            "The node's own files",
            "for a data directory",
        ),
    ];
    for (subject, title, when) in subjects {
        write!(page, "\n## {title}\n\nChecked {when}.\n\n").unwrap();
        page.push_str("| check | what it proves | since | section |\n|---|---|---|---|\n");
        for check in Check::ALL.iter().filter(|check| check.subject() == subject) {
            writeln!(
                page,
                "| `{}` | {} | {} | {} |",
                check.id(),
                check.proves(),
                check.since(),
                check.section()
            )
            .unwrap();
        }
    }
    page
}

#[test]
fn the_page_of_checks_is_the_programs() {
    let path = docs("verify-checks.md");
    let page = checks_page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        found, page,
        "run: UPDATE_DOCS=1 cargo test --test verify documentation"
    );
}

#[test]
fn the_names_of_checks_are_unique_and_plain() {
    for (position, check) in Check::ALL.iter().enumerate() {
        let plain = |c: char| c.is_ascii_lowercase() || c == '-';
        assert!(check.id().chars().all(plain), "{}", check.id());
        assert!(!check.proves().ends_with('.'), "{}", check.id());
        for other in &Check::ALL[position + 1..] {
            assert_ne!(check.id(), other.id());
        }
    }
}

/// A broken directory gives a report with findings of all kinds, absent values and counts.
fn broken() -> Outcome {
    let mut material = ceremony("charon-v1.10.3-def-v1.10.0-n4-v2").material(0);
    material.keystores.remove(0);
    material.cluster_lock = None;
    whole(&material)
}

#[test]
fn reports_have_the_form_that_the_schema_describes() {
    let schema: Value =
        serde_json::from_slice(&std::fs::read(docs("verify.schema.json")).unwrap()).unwrap();
    assert_eq!(schema["properties"]["schema"]["const"], SCHEMA);
    let ids: Vec<Value> = Check::ALL.iter().map(|check| check.id().into()).collect();
    assert_eq!(schema["$defs"]["check"]["enum"], Value::Array(ids));

    let mut reports: Vec<Report> = ceremonies()
        .map(|ceremony| whole(&ceremony.material(0)).report)
        .collect();
    reports.push(broken().report);
    for report in &reports {
        let value = serde_json::to_value(report).unwrap();
        let problems = schema::problems(&schema, &schema, &value, "report");
        assert!(problems.is_empty(), "{problems:#?}");
    }
    // The schema is no empty promise: it notices what is wrong.
    let mut value = serde_json::to_value(&reports[0]).unwrap();
    value["verdict"] = "perhaps".into();
    value["counts"]["operators"] = "4".into();
    value["findings"][0]["check"] = "no-such-check".into();
    value["surprise"] = 1.into();
    value.as_object_mut().unwrap().remove("scope");
    assert_eq!(
        schema::problems(&schema, &schema, &value, "report").len(),
        5
    );
}
