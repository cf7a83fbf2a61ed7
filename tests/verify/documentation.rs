//! The documentation says what the program does, or this fails.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use charon_dkg::verify::{Check, Outcome, Report, SCHEMA, Subject};
use serde_json::Value;

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
         Each check has a stable name, which stands in findings and in the JSON output. A verification passes only if every check\n\
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
        let problems = problems(&schema, &schema, &value, "report");
        assert!(problems.is_empty(), "{problems:#?}");
    }
    // The schema is no empty promise: it notices what is wrong.
    let mut value = serde_json::to_value(&reports[0]).unwrap();
    value["verdict"] = "perhaps".into();
    value["counts"]["operators"] = "4".into();
    value["findings"][0]["check"] = "no-such-check".into();
    value["surprise"] = 1.into();
    value.as_object_mut().unwrap().remove("scope");
    assert_eq!(problems(&schema, &schema, &value, "report").len(), 5);
}

/// What is wrong with a value, for the few keywords that our schema uses. Any other keyword is a problem too, so that the schema
/// cannot say what is not tested.
fn problems(root: &Value, schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (keyword, argument) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" => {}
            "$ref" => {
                let name = argument.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                found.extend(problems(root, &root["$defs"][name], value, path));
            }
            "const" if value != argument => found.push(format!("{path} is {value}")),
            "enum" if !argument.as_array().unwrap().contains(value) => {
                found.push(format!("{path} is {value}"));
            }
            "const" | "enum" => {}
            "type" => {
                let types = argument
                    .as_array()
                    .cloned()
                    .unwrap_or_else(|| vec![argument.clone()]);
                if !types
                    .iter()
                    .any(|name| is_of_type(name.as_str().unwrap(), value))
                {
                    found.push(format!("{path} is {value}, not {argument}"));
                }
            }
            "minimum" => {
                if value.is_u64() && value.as_u64() < argument.as_u64() {
                    found.push(format!("{path} is {value}"));
                }
            }
            "pattern" => {
                // The two patterns that occur: hashes and the ENR id.
                let text = value.as_str().unwrap_or_default();
                let digits = match argument.as_str().unwrap() {
                    "^0x[0-9a-f]{64}$" => text.strip_prefix("0x").filter(|it| it.len() == 64),
                    "^[0-9a-f]{16}$" => Some(text).filter(|it| it.len() == 16),
                    other => panic!("unknown pattern {other}"),
                };
                let is_hex = |digits: &str| digits.bytes().all(|b| b.is_ascii_hexdigit());
                if !value.is_null() && !digits.is_some_and(is_hex) {
                    found.push(format!("{path} is {value}"));
                }
            }
            "required" => {
                for name in argument.as_array().unwrap() {
                    if !value.is_null() && value.get(name.as_str().unwrap()).is_none() {
                        found.push(format!("{path} has no {name}"));
                    }
                }
            }
            "properties" => {
                for (name, schema) in argument.as_object().unwrap() {
                    if let Some(member) = value.get(name) {
                        found.extend(problems(root, schema, member, &format!("{path}.{name}")));
                    }
                }
            }
            "additionalProperties" => {
                assert_eq!(argument, false);
                for name in value.as_object().map(|it| it.keys()).into_iter().flatten() {
                    if schema["properties"].get(name).is_none() {
                        found.push(format!("{path} has an unknown {name}"));
                    }
                }
            }
            "items" => {
                for (position, element) in value.as_array().into_iter().flatten().enumerate() {
                    let path = format!("{path}[{position}]");
                    found.extend(problems(root, argument, element, &path));
                }
            }
            other => found.push(format!("the schema has an untested keyword {other}")),
        }
    }
    found
}

fn is_of_type(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        other => panic!("unknown type {other}"),
    }
}
