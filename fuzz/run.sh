#!/bin/sh
# Fuzzes every target, or those named, for a while: fuzz/run.sh [SECONDS [TARGET…]]
#
# Starts from the fixtures and fuzz/corpus, and works in target/fuzz, so that nothing here grows. What is found lies in
# target/fuzz/artifacts; make it small, add it to fuzz/corpus/TARGET under a name that says what it is, and mend the
# fault. Needs nothing but a stable toolchain: the flags are those of cargo-fuzz without a sanitizer, since there is no
# unsafe code of our own to look into. With cargo-fuzz and a nightly toolchain, `cargo +nightly fuzz run TARGET` has them.
set -eu
cd "$(dirname "$0")"
seconds=${1:-60}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- definition lock deposit_data keystore enr charon_log receipt

work=$(cd .. && pwd)/target/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
# For the host by name, so that build scripts go without these flags.
flags="--cfg fuzzing -Ccodegen-units=1 -Cdebug-assertions -Cpasses=sancov-module"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    flags="$flags -Cllvm-args=-sanitizer-coverage-$option"
done
RUSTC_WORKSPACE_WRAPPER='' RUSTFLAGS=$flags \
    cargo build --release --target "$host" --target-dir "$work/build"

fixtures=../tests/fixtures
seeds() {
    case $1 in
    definition) ls "$fixtures"/ceremonies/*/node0/.charon/cluster-definition.json ../src/files/tests/cluster/synthetic/definition-*.json ;;
    lock) ls "$fixtures"/ceremonies/*/node0/.charon/cluster-lock.json ../src/files/tests/cluster/synthetic/lock-*.json ;;
    deposit_data) ls "$fixtures"/ceremonies/*/node0/.charon/deposit-data*.json ;;
    keystore) ls "$fixtures"/ceremonies/*/node0/.charon/validator_keys/*.json ;;
    charon_log) find "$fixtures" -name '*.log' ;;
    esac
    ls corpus/"$1"/*
}

for target; do
    corpus=$work/corpus/$target
    mkdir -p "$corpus" "$work/artifacts/$target"
    seeds "$target" | while read -r file; do
        cp "$file" "$corpus/$(sha256sum "$file" | cut -c1-40)"
    done
    echo "$target: $seconds seconds"
    "$work/build/$host/release/$target" -max_total_time="$seconds" -max_len=20000 -timeout=10 -rss_limit_mb=2048 \
        -artifact_prefix="$work/artifacts/$target/" -print_final_stats=1 "$corpus" 2>"$work/$target.log" ||
        { tail -n 40 "$work/$target.log"; exit 1; }
    grep -E '^stat::(number_of_executed_units|average_exec_per_sec|peak_rss_mb)|DONE' "$work/$target.log" | tail -n 4
done
