//! Verification of real ceremonies, and of defects that somebody made on purpose.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail best where they stand"
)]

#[path = "verify/contracts.rs"]
mod contracts;
#[path = "verify/defects.rs"]
mod defects;
#[path = "support/deposit_file.rs"]
mod deposit_file;
#[path = "verify/deposits.rs"]
mod deposits;
#[path = "verify/documentation.rs"]
mod documentation;
#[path = "verify/edits.rs"]
mod edits;
#[path = "support/files.rs"]
mod files;
#[path = "verify/forge.rs"]
mod forge;
#[path = "verify/mutants.rs"]
mod mutants;
#[path = "support/receipts.rs"]
mod receipts;
#[path = "support/refusing_port.rs"]
mod refusing_port;
#[path = "support/schema.rs"]
mod schema;
#[path = "verify/support.rs"]
mod support;
#[path = "verify/versions.rs"]
mod versions;

use charon_files::finding::Weight;
use charon_proof::verify::Verdict;
use support::{Ceremony, ceremonies};

#[test]
fn every_node_of_every_ceremony_passes() {
    for ceremony in ceremonies() {
        for node in 0..ceremony.nodes {
            let material = ceremony.material(node);
            let outcome = support::whole(&material);
            let report = &outcome.report;
            let serious: Vec<_> = report
                .findings
                .iter()
                .filter(|finding| finding.weight != Weight::Note)
                .collect();
            assert!(
                serious.is_empty(),
                "{} node {node}: {serious:#?}",
                ceremony.name
            );
            assert_eq!(report.verdict, Verdict::Pass);
            let notes: Vec<_> = report
                .findings
                .iter()
                .map(|finding| finding.check)
                .collect();
            let expected: &[&str] = if ceremony.name.contains("signed") {
                &[]
            } else {
                &["definition-signed"]
            };
            assert_eq!(notes, expected, "{} node {node}", ceremony.name);
            let verified = outcome
                .verified
                .expect("a pass of a whole directory is a proof");
            assert_eq!(verified.node_index().position(), node);
            let files = 3 + material.keystores.len() + material.deposit_data.len();
            assert_eq!(verified.files().len(), files);
            assert_eq!(verified.keystore_count() * 2, material.keystores.len());
            assert_eq!(verified.keystore_digests().len(), verified.keystore_count());
        }
    }
}

#[test]
fn the_ceremonies_are_those_that_the_tests_know() {
    let names: Vec<String> = ceremonies().map(|Ceremony { name, .. }| name).collect();
    assert_eq!(names.len(), 10, "{names:?}");
}
