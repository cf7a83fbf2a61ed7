//! The properties that the fuzz targets check, for all seeds: the fixtures and `fuzz/corpus`. Fuzzing itself needs other
//! tools and time: see `fuzz/run.sh`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

#[path = "support/files.rs"]
mod files;
#[path = "../fuzz/properties.rs"]
mod properties;

use std::fs;
use std::path::{Path, PathBuf};

use files::files_below;
use rayon::prelude::*;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of one target: those that were kept, and those of the fixtures that `fuzz/run.sh` starts from.
fn seeds(target: &str, is_fixture: fn(&str) -> bool) -> Vec<PathBuf> {
    let mut files = files_below(&root().join("fuzz/corpus").join(target));
    assert!(!files.is_empty(), "{target} has no corpus");
    let size: u64 = files
        .iter()
        .map(|file| fs::metadata(file).unwrap().len())
        .sum();
    assert!(size < 64 << 10, "the corpus of {target} has {size} bytes");
    let mut fixtures = files_below(&root().join("tests/fixtures"));
    fixtures.extend(files_below(
        &root().join("src/files/tests/cluster/synthetic"),
    ));
    files.extend(
        fixtures
            .into_iter()
            .filter(|file| is_fixture(&file.display().to_string())),
    );
    files
}

/// Each seed, each seed cut short, and each with a bit flipped, at a few places.
fn replay(target: &str, is_fixture: fn(&str) -> bool, property: fn(&[u8])) {
    seeds(target, is_fixture).par_iter().for_each(|file| {
        let bytes = fs::read(file).unwrap();
        property(&bytes);
        for part in 0..8 {
            let at = part * bytes.len() / 8;
            property(&bytes[..at]);
            if let Some(byte) = bytes.get(at) {
                let mut changed = bytes.clone();
                changed[at] = byte ^ (1 << part);
                property(&changed);
            }
        }
    });
}

#[test]
fn definitions() {
    replay(
        "definition",
        |path| {
            path.ends_with("node0/.charon/cluster-definition.json")
                || path.contains("/synthetic/definition-")
        },
        properties::definition,
    );
}

#[test]
fn locks() {
    replay(
        "lock",
        |path| {
            path.ends_with("node0/.charon/cluster-lock.json") || path.contains("/synthetic/lock-")
        },
        properties::lock,
    );
}

#[test]
fn deposit_data() {
    replay(
        "deposit_data",
        |path| path.contains("node0/.charon/deposit-data"),
        properties::deposit_data,
    );
}

#[test]
fn keystores() {
    replay(
        "keystore",
        |path| path.contains("/keystore-") && path.ends_with(".json"),
        properties::keystore,
    );
}

#[test]
fn enrs() {
    replay("enr", |_| false, properties::enr);
}

#[test]
fn charon_logs() {
    replay(
        "charon_log",
        |path| path.ends_with(".log"),
        properties::charon_log,
    );
}

#[test]
fn receipts() {
    replay("receipt", |_| false, properties::receipt);
}

/// Every target has its function, its corpus and its test.
#[test]
fn no_target_is_forgotten() {
    let names = |dir: &str| -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(root().join(dir))
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                path.file_stem().unwrap().to_str().unwrap().to_owned()
            })
            .collect();
        names.sort();
        names
    };
    let targets = [
        "charon_log",
        "definition",
        "deposit_data",
        "enr",
        "keystore",
        "lock",
        "receipt",
    ];
    assert_eq!(names("fuzz/fuzz_targets"), targets);
    assert_eq!(names("fuzz/corpus"), targets);
}
