//! Large clusters: work and memory grow with the size and no faster. With `LARGE=all` the largest, 3000 validators and 30
//! nodes, which takes minutes to make: `LARGE=all cargo test --release --test large -- --nocapture`. `LARGE_KEEP=DIR` keeps the
//! locks there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/large.rs"]
mod large;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Processor time of all child processes that have ended, in the kernel's ticks of 10 ms: it does not grow while others
/// have the processor, as the clock does.
fn ticks_of_children() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // Field 2 is the program's name in parentheses; 16 and 17 are what is wanted (proc(5)).
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = rest.split(' ').collect();
    fields[13].parse::<u64>().unwrap() + fields[14].parse::<u64>().unwrap()
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
