#!/usr/bin/env bash
# What building costs before and after a change, and what that costs a verification: both commits in the same run.
#
#   benches/build.sh BEFORE [AFTER]     two commits; AFTER is what is checked out, if not told
#
# Processor time (user and system) of the build that install.sh does, from an empty target and with all sources downloaded,
# then of the verification of a cluster lock of 200 validators and of the data directory of a ceremony, the least of ROUNDS
# (7) by turns. Both are told as the quotient of after and before too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
before=$(git rev-parse "${1:?"benches/build.sh BEFORE [AFTER]"}")
after=$(git rev-parse "${2:-HEAD}")
rounds=${ROUNDS:-7}

work=$(mktemp -d /tmp/cdkg-build.XXXXXX)
finish() {
  for which in before after; do git worktree remove --force "$work/$which" >/dev/null 2>&1 || true; done
  rm -rf "$work"
}
trap finish EXIT
TIMEFORMAT='%U %S'

# seconds COMMAND…: processor time of it and its children.
seconds() { { time "$@" >"$work/out" 2>&1; } 2>&1 | awk '{ print $1 + $2 }'; }
quotient() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f\n", a / b }'; }

declare -A build
for which in before after; do
  git worktree add --quiet --detach "$work/$which" "${!which}"
  cargo fetch --quiet --locked --manifest-path "$work/$which/Cargo.toml"
done
for which in before after; do
  # The very command of its install.sh.
  # shellcheck disable=SC2016 # Text of the other script.
  what=$(sed -n 's/.*cargo build --release --locked .*"\$target" \(.*\) >&2.*/\1/p' "$work/$which/install.sh")
  # shellcheck disable=SC2086 # Words on purpose.
  build[$which]=$(cd "$work/$which" && seconds cargo build --release --locked --offline --target-dir "$work/$which/target" $what)
  echo "build $which: ${build[$which]} s of processor time"
done
echo "build after / before: $(quotient "${build[after]}" "${build[before]}")"

# 200 validators of 30 nodes, made from fixed secrets, and a ceremony whose keystores have charon's full cost.
LARGE_KEEP=$work cargo test --quiet --locked --test large >/dev/null
mkdir "$work/dir"
cp -r tests/fixtures/ceremonies/charon-v1.10.3-def-v1.10.0-n10-v3-gnosis-deposits-8-24/node0/.charon "$work/dir/"
chmod -R go-rwx "$work/dir"
for _ in $(seq "$rounds"); do
  for which in before after; do
    program=$work/$which/target/release/charon-dkg
    seconds "$program" verify --lock "$work/200.json" >>"$work/lock.$which"
    seconds "$program" verify --dir "$work/dir" >>"$work/dir.$which"
  done
done
for what in lock dir; do
  for which in before after; do sort -n "$work/$what.$which" | head -n 1 >"$work/$what.$which.least"; done
  b=$(cat "$work/$what.before.least") a=$(cat "$work/$what.after.least")
  echo "verify $what: before $b s, after $a s, quotient $(quotient "$a" "$b")"
done
