//! Large clusters: time and memory grow with the size and no faster. With `LARGE=all` the largest, 3000 validators and 30
//! nodes, which takes minutes to make: `LARGE=all cargo test --release --test large -- --nocapture`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/large.rs"]
mod large;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Verifies a lock under a limit on the memory that can be written to, which the kernel enforces.
fn verify(lock: &Path, mebibytes: u64) -> Duration {
    let begun = Instant::now();
    let output = Command::new("/usr/bin/prlimit")
        .arg(format!("--data={}", mebibytes << 20))
        .arg("--")
        .arg(env!("CARGO_BIN_EXE_charon-dkg"))
        .args(["verify", "--lock"])
        .arg(lock)
        .output()
        .unwrap();
    let took = begun.elapsed();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    took
}

#[test]
fn time_and_memory_are_linear() {
    let is_all = std::env::var("LARGE").is_ok_and(|all| all == "all");
    let nodes = 30;
    let (small, big, mebibytes) = if is_all {
        (300, 3000, 300)
    } else {
        (20, 200, 80)
    };
    let dir = tempfile::tempdir().unwrap();
    let write = |validators| {
        let path = dir.path().join(format!("{validators}.json"));
        fs::write(&path, large::lock(validators, nodes).to_json()).unwrap();
        path
    };
    let (small, big) = (write(small), write(big));
    // The faster of two, since other programs run too.
    let time = |lock: &Path| verify(lock, mebibytes).min(verify(lock, mebibytes));
    let (of_small, of_big) = (time(&small), time(&big));
    println!(
        "{} x {nodes}: {of_small:?}; {} x {nodes} ({} MiB): {of_big:?}",
        small.file_stem().unwrap().display(),
        big.file_stem().unwrap().display(),
        fs::metadata(&big).unwrap().len() >> 20,
    );
    // Ten times the size; quadratic would be a hundred times.
    assert!(of_big < of_small * 30 + Duration::from_secs(2));
}
