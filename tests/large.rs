//! Large clusters, in little memory; `benches/` measures the time. With `LARGE=all` the largest, 3000 validators and 30
//! nodes, which takes minutes to make: `LARGE=all cargo test --release --test large`. `LARGE_KEEP=DIR` keeps the
//! locks and the data directory there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/deposit_file.rs"]
mod deposit_file;
#[path = "support/large.rs"]
mod large;
#[path = "support/large_node.rs"]
mod large_node;
#[path = "support/receipts.rs"]
mod receipts;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use charon_files::cluster::Gwei;
use charon_files::cluster::names::FileDigest;
use charon_proof::receipt::Receipt;

use deposit_file::deposit_file;

/// Whether the largest is wanted.
fn is_all() -> bool {
    std::env::var("LARGE").is_ok_and(|all| all == "all")
}

/// Runs the program under a limit on the memory that can be written to, which the kernel enforces.
fn run_within(mebibytes: u64, dir: &Path, words: &[&str]) {
    let output = Command::new("/usr/bin/prlimit")
        .arg(format!("--data={}", mebibytes << 20))
        .arg("--")
        .arg(env!("CARGO_BIN_EXE_charon-dkg"))
        .args(words)
        .current_dir(dir)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
}

/// Where the files of a test are, and are kept if somebody wants them.
struct Place {
    dir: PathBuf,
    _temporary: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let kept = std::env::var_os("LARGE_KEEP").map(PathBuf::from);
        Self {
            dir: kept.unwrap_or_else(|| temporary.path().to_owned()),
            _temporary: temporary,
        }
    }
}

#[test]
fn a_large_deposit_is_found_safe() {
    let (validators, nodes) = (if is_all() { 3000 } else { 200 }, 4);
    let place = Place::new();
    let lock = large::lock(validators, nodes);
    fs::write(place.dir.join("cluster-lock.json"), lock.to_json()).unwrap();
    let deposits = deposit_file(&lock, Gwei::from_eth(32))
        .to_json()
        .into_bytes();
    fs::write(place.dir.join("deposit-data.json"), &deposits).unwrap();
    let files = [FileDigest::of("deposit-data.json", &deposits)];
    let keys = large::enr_keys(nodes);
    let chat = chat(&receipts::receipts(&lock, &keys, &files));
    fs::write(place.dir.join("chat.txt"), chat).unwrap();
    let mut words = vec!["deposits", "--lock", "cluster-lock.json"];
    words.extend(["--deposit", "deposit-data.json", "--receipts", "chat.txt"]);
    run_within(if is_all() { 300 } else { 80 }, &place.dir, &words);
}

#[test]
fn a_large_lock_is_verified() {
    let (validators, mebibytes) = if is_all() { (3000, 300) } else { (200, 80) };
    let place = Place::new();
    let name = format!("{validators}.json");
    fs::write(place.dir.join(&name), large::lock(validators, 30).to_json()).unwrap();
    run_within(mebibytes, &place.dir, &["verify", "--lock", &name]);
}

#[test]
fn the_gate_opens_for_a_large_node() {
    let (validators, mebibytes) = if is_all() { (3000, 400) } else { (200, 100) };
    let place = Place::new();
    let project = place.dir.join(format!("node-of-{validators}"));
    fs::create_dir(&project).unwrap();
    let receipts = large_node::write(&project, &large::lock(validators, 30));
    fs::write(project.join("chat.txt"), chat(&receipts)).unwrap();
    for words in [&["confirm", "chat.txt"][..], &["gate", "check"]] {
        run_within(mebibytes, &project, words);
    }
}

/// The receipts as a group posts them.
fn chat(receipts: &[Receipt]) -> String {
    let lines: Vec<String> = receipts.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
