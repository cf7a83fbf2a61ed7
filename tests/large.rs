//! Large clusters: work and memory grow with the size and no faster. With `LARGE=all` the largest, 3000 validators and 30
//! nodes, which takes minutes to make: `LARGE=all cargo test --release --test large -- --nocapture`. `LARGE_KEEP=DIR` keeps the
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

use deposit_file::deposit_file;

/// Processor time of all child processes that have ended, in the kernel's ticks of 10 ms: it does not grow while others
/// have the processor, as the clock does.
fn ticks_of_children() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // Field 2 is the program's name in parentheses; 16 and 17 are what is wanted (proc(5)).
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = rest.split(' ').collect();
    fields[13].parse::<u64>().unwrap() + fields[14].parse::<u64>().unwrap()
}

/// What `deposits` needs beside the verification is next to nothing: receipts, terms and sums.
#[test]
fn deposits_cost_what_their_verification_costs() {
    let is_all = std::env::var("LARGE").is_ok_and(|all| all == "all");
    let (validators, nodes) = (if is_all { 3000 } else { 200 }, 4);
    let dir = tempfile::tempdir().unwrap();
    let lock = large::lock(validators, nodes);
    let path = dir.path().join("cluster-lock.json");
    fs::write(&path, lock.to_json()).unwrap();
    let deposits = deposit_file(&lock, Gwei::from_eth(32))
        .to_json()
        .into_bytes();
    let file = dir.path().join("deposit-data.json");
    fs::write(&file, &deposits).unwrap();
    let files = [FileDigest::of("deposit-data.json", &deposits)];
    let lines: Vec<String> = receipts::receipts(&lock, &large::enr_keys(nodes), &files)
        .iter()
        .map(ToString::to_string)
        .collect();
    let chat = dir.path().join("chat.txt");
    fs::write(&chat, lines.join("\n")).unwrap();
    let run = |words: &[&str]| {
        let before = ticks_of_children();
        let start = std::time::Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_charon-dkg"));
        command
            .args(words)
            .arg("--lock")
            .arg(&path)
            .arg("--deposit")
            .arg(&file);
        if words[0] == "deposits" {
            command.arg("--receipts").arg(&chat);
        }
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        (ticks_of_children() - before, start.elapsed())
    };
    let (verify, verify_time) = run(&["verify"]);
    let (deposits, deposits_time) = run(&["deposits"]);
    println!(
        "{validators} x {nodes}: verify {verify} ticks, {verify_time:?}; deposits {deposits} ticks, {deposits_time:?}"
    );
    // Two seconds of processor time, whatever else the machine does.
    assert!(
        deposits < verify + verify / 2 + 200,
        "{verify} and {deposits} ticks"
    );
}

/// Verifies a lock under a limit on the memory that can be written to, which the kernel enforces; returns the processor
/// time that it took.
fn verify(lock: &Path, mebibytes: u64) -> u64 {
    let before = ticks_of_children();
    let output = Command::new("/usr/bin/prlimit")
        .arg(format!("--data={}", mebibytes << 20))
        .arg("--")
        .arg(env!("CARGO_BIN_EXE_charon-dkg"))
        .args(["verify", "--lock"])
        .arg(lock)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    ticks_of_children() - before
}

#[test]
fn work_and_memory_are_linear() {
    let is_all = std::env::var("LARGE").is_ok_and(|all| all == "all");
    let nodes = 30;
    let (small, big, mebibytes) = if is_all {
        (300, 3000, 300)
    } else {
        (20, 200, 80)
    };
    let dir = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("LARGE_KEEP").map(PathBuf::from);
    let dir = kept.as_deref().unwrap_or(dir.path());
    let write = |validators| {
        let path = dir.join(format!("{validators}.json"));
        fs::write(&path, large::lock(validators, nodes).to_json()).unwrap();
        path
    };
    let (small, big) = (write(small), write(big));
    let (of_small, of_big) = (verify(&small, mebibytes), verify(&big, mebibytes));
    println!(
        "{} x {nodes}: {of_small} ticks; {} x {nodes} ({} MiB): {of_big} ticks",
        small.file_stem().unwrap().display(),
        big.file_stem().unwrap().display(),
        fs::metadata(&big).unwrap().len() >> 20,
    );
    // Ten times the size; quadratic would be a hundred times.
    assert!(
        of_big < of_small * 30 + 200,
        "{of_small} and {of_big} ticks"
    );
}

/// What a gate proved before is hashed and not proved again.
#[test]
fn the_gate_of_an_unchanged_directory_costs_a_fraction_of_its_lock() {
    let is_all = std::env::var("LARGE").is_ok_and(|all| all == "all");
    let (validators, nodes) = (if is_all { 3000 } else { 200 }, 30);
    let dir = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("LARGE_KEEP").map(PathBuf::from);
    let dir = kept.as_deref().unwrap_or(dir.path());
    let project = dir.join(format!("node-of-{validators}"));
    fs::create_dir(&project).unwrap();
    let receipts = large_node::write(&project, &large::lock(validators, nodes));
    let lines: Vec<String> = receipts.iter().map(ToString::to_string).collect();
    let chat = project.join("chat.txt");
    fs::write(&chat, lines.join("\n")).unwrap();
    let run = |words: &[&str]| {
        let before = ticks_of_children();
        let mut command = Command::new(env!("CARGO_BIN_EXE_charon-dkg"));
        let output = command.args(words).current_dir(&project).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        ticks_of_children() - before
    };
    let first = run(&["confirm", "chat.txt"]);
    let lock = run(&["verify", "--lock", ".charon/cluster-lock.json"]);
    let gate = run(&["gate", "check"]);
    println!("{validators} x {nodes}: first {first} ticks, lock {lock} ticks, gate {gate} ticks");
    assert!(gate < lock / 3 + 10, "{gate} and {lock} ticks");
}
