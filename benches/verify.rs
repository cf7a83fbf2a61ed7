//! How long verification takes: `cargo bench --bench verify`. `benches/beside-charon.sh` puts charon's own numbers beside.
//!
//! `200x4` in the name of a benchmark is validators × nodes. Everything is made here, from fixed secrets; only the shape
//! of the definition comes from a fixture.

#![expect(
    clippy::unwrap_used,
    reason = "a measurement that cannot be made has failed"
)]

#[path = "../tests/support/deposit_file.rs"]
mod deposit_file;
#[path = "../tests/support/large.rs"]
mod large;
#[path = "../tests/support/large_node.rs"]
mod large_node;
#[path = "../tests/support/receipts.rs"]
mod receipts;

use std::fs;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::path::Path;
use std::process::Command;

use charon_files::keys::bls::{self, ShareSecret, Signature};
use charon_files::keys::keystore::{self, Keystore, KeystorePassword, Nonces};
use charon_proof::verify::{Expectations, Material, NamedFile, Options, Scope, Verdict, verify};
use criterion::{BenchmarkId, Criterion, Throughput};
use rayon::prelude::*;

/// Lock, all deposits and registrations included, as `verify --lock` does it.
fn locks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lock");
    group.sample_size(20);
    for (validators, nodes) in [(2, 4), (200, 4), (200, 10), (20, 30), (200, 30)] {
        let json = large::lock(validators, nodes).to_json().into_bytes();
        let material = Material {
            cluster_lock: Some(NamedFile::new("cluster-lock.json", json)),
            ..Material::default()
        };
        group.throughput(Throughput::Elements(u64::try_from(validators).unwrap()));
        let name = format!("{validators}x{nodes}");
        group.bench_function(BenchmarkId::new("with deposits", name), |bencher| {
            bencher.iter(|| {
                let outcome = verify(
                    &material,
                    &Expectations::default(),
                    &Options::new(Scope::LockOnly),
                );
                assert_eq!(outcome.report.verdict, Verdict::Pass);
                outcome
            });
        });
    }
    group.finish();
}

/// The parts that a lock's time is made of, for 200 validators and 4 nodes.
fn parts(criterion: &mut Criterion) {
    let lock = large::lock(200, 4);
    let json = lock.to_json();
    let mut group = criterion.benchmark_group("part of 200x4");
    group.sample_size(20);
    group.bench_function("parse", |bencher| {
        bencher.iter(|| charon_files::cluster::ClusterLock::parse(json.as_bytes()).unwrap());
    });
    group.bench_function("hash", |bencher| {
        bencher.iter(|| lock.lock_hash().unwrap());
    });
    group.bench_function("keys and polynomials", |bencher| {
        bencher.iter(|| {
            lock.validators
                .par_iter()
                .map(|validator| bls::read_keys(&validator.public_key, &validator.public_shares, 3))
                .collect::<Vec<_>>()
        });
    });
    let signatures: Vec<[u8; 96]> = lock
        .validators
        .iter()
        .flat_map(|validator| {
            let deposits = validator.deposits.iter().map(|deposit| deposit.signature);
            deposits.chain(validator.builder_registration.iter().map(|it| it.signature))
        })
        .collect();
    group.bench_function("600 signatures decompressed", |bencher| {
        bencher.iter(|| {
            signatures
                .par_iter()
                .map(|bytes| Signature::parse(bytes))
                .collect::<Result<Vec<_>, _>>()
                .unwrap()
        });
    });
    group.finish();
}

/// Keystores at charon's full cost, on all cores.
fn keystores(criterion: &mut Criterion) {
    let secret = ShareSecret::from_entropy(&[7; 32]).unwrap();
    let password = KeystorePassword::new(b"00112233445566778899aabbccddeeff");
    let nonces = Nonces {
        salt: [1; 32],
        iv: [2; 16],
        uuid: [3; 16],
    };
    let rounds = NonZeroU32::new(keystore::CHARON_PBKDF2_ROUNDS).unwrap();
    let json = keystore::encrypt(&secret, &password, &nonces, rounds).unwrap();
    let keystore = Keystore::parse(json.as_bytes()).unwrap();
    let mut group = criterion.benchmark_group("keystores");
    group.sample_size(10);
    // One core at a time first: what the plain crate takes, and what sixteen lanes take.
    let one_core = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    for count in [1_usize, 16, 200] {
        let items = vec![(&keystore, &password); count];
        group.throughput(Throughput::Elements(u64::try_from(count).unwrap()));
        if count <= 16 {
            group.bench_function(BenchmarkId::new("plain, one core", count), |bencher| {
                bencher.iter(|| {
                    for (keystore, password) in &items {
                        black_box(keystore.decrypt(password).unwrap());
                    }
                });
            });
            group.bench_function(
                BenchmarkId::new("as verify does, one core", count),
                |bencher| {
                    bencher.iter(|| one_core.install(|| keystore::decrypt_many(&items, &|_| ())));
                },
            );
        }
        group.bench_function(
            BenchmarkId::new("as verify does, all cores", count),
            |bencher| {
                bencher.iter(|| keystore::decrypt_many(&items, &|_| ()));
            },
        );
    }
    group.finish();
}

/// What the program takes for a node of 200 validators and 30 operators: the lock alone; the lock with the deposits and the
/// receipts, which `deposits` looks at; and the gate, which hashes what was proved before.
fn programs(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let receipts = large_node::write(dir.path(), &large::lock(200, 30));
    let lines: Vec<String> = receipts.iter().map(ToString::to_string).collect();
    fs::write(dir.path().join("chat.txt"), lines.join("\n")).unwrap();
    run(dir.path(), &["confirm", "chat.txt"]);
    let lock = ["--lock", ".charon/cluster-lock.json"];
    let deposits = ["--deposit", ".charon/deposit-data.json"];
    let receipts = ["--receipts", "chat.txt"];
    let mut group = criterion.benchmark_group("program for 200x30");
    group.sample_size(10);
    for (name, words) in [
        ("verify", [&["verify"], &lock[..]].concat()),
        (
            "verify with deposits",
            [&["verify"], &lock[..], &deposits].concat(),
        ),
        (
            "deposits",
            [&["deposits"], &lock[..], &deposits, &receipts].concat(),
        ),
        ("gate check", vec!["gate", "check"]),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| run(dir.path(), &words));
        });
    }
    group.finish();
}

fn run(dir: &Path, words: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_charon-dkg"));
    let output = command.args(words).current_dir(dir).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    locks(&mut criterion);
    parts(&mut criterion);
    keystores(&mut criterion);
    programs(&mut criterion);
    criterion.final_summary();
}
