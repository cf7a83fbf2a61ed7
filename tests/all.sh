#!/usr/bin/env bash
# All tests, on a Debian, as root: installs the packages that they need, starts an engine of their own beside whatever the
# machine has, and brings the releases of Compose that the gate is tested with. The sum is said last.
#
#   tests/all.sh [FILTER]...   only tests with such a word in their name
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\n== [%4d s] %s\n' "$SECONDS" "$*"; }

if [ "$(id -u)" != 0 ]; then
  echo "tests/all.sh: run it as root; an ordinary user's part of the tests is: cargo test" >&2
  exit 1
fi

say "what building needs"
./install.sh --prepare --yes
for dir in "${CARGO_HOME:-$HOME/.cargo}/bin" /usr/lib/rust-*/bin; do PATH=$PATH:$dir; done

work=$(mktemp -d /tmp/cdkg-tests.XXXXXX)
# Tests of other users find Compose in it.
chmod 755 "$work"
# So that a job is a process group, of which nothing is left behind.
set -m
finish() {
  code=$?
  trap - EXIT
  for job in $(jobs -p); do kill -- "-$job" 2>/dev/null || true; done
  wait
  if [ -f "$work/engine/state" ]; then tests/engines.sh stop "$work/engine" || true; fi
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

packages=(
  docker.io iptables iproute2 uidmap slirp4netns rootlesskit util-linux passwd procps # engines
  zsh fish sudo strace ca-certificates docker-registry                               # what is tested with
  chromium fonts-dejavu-core                                                         # what looks at the board's page
)
# What the network brings, while the processors build.
bring() {
  set -e
  # Since Debian 13 docker's client is a package of its own.
  if ! command -v docker >/dev/null && [ -n "$(apt-cache search --names-only '^docker-cli$')" ]; then packages+=(docker-cli); fi
  missing=()
  for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  if [ "${#missing[@]}" -gt 0 ]; then
    echo "installing ${missing[*]}" >&2
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${missing[@]}" >/dev/null
  fi
  tests/composes.sh "$work/composes"
}
say "packages and Compose, and the build"
bring >"$work/told" &
bringing=$!
# What is said of each program that was built as a test: where its package is, and where the program.
cargo test --workspace --locked --no-run --message-format json-render-diagnostics >"$work/built"
sed -n 's/.*"manifest_path":"\([^"]*\)\/Cargo.toml".*"profile":{[^}]*"test":true}.*"executable":"\([^"]*\)".*/\1 \2/p' "$work/built" >"$work/programs"
[ -s "$work/programs" ]

say "an engine"
wait "$bringing"
unset DOCKER_CONTEXT DOCKER_CONFIG
tests/engines.sh start rootful "$work/engine" >>"$work/told"
while IFS= read -r variable; do
  case $variable in DOCKER_*=* | CHARON_DKG_TEST_*=*) export "${variable?}" ;; esac
done <"$work/told"
docker version --format 'client {{.Client.Version}}, engine {{.Server.Version}}'
docker compose version

say "tests"
# Tests of an engine wait most of the time, so programs run side by side, the longest first. Not run are the parts of tests
# that others start as processes, a measurement, and three that need loop devices, an engine that enforces memory limits,
# and charon's source.
words=(--include-ignored --skip container_child --skip listening_child --skip panicking_child --skip two_thousand_validators
  --skip a_power_cut_at_any_step --skip killed_for_want_of_memory --skip goldens_of_charon "$@")
at_once=$(($(nproc) * 2))
export MUTANTS=${MUTANTS:-5} RUST_TEST_THREADS=$at_once
run() { # NAME DIR COMMAND...
  local name=$1 dir=$2 code=0
  shift 2
  # What needs no engine leaves the processors to it: an engine that cannot answer in a minute is a failure.
  case $name in
    gate-* | ceremony-* | engine*) ;;
    *) set -- nice -n 5 "$@" ;;
  esac
  (cd "$dir" && timeout --foreground 2400 "$@" </dev/null) >"$work/$name.log" 2>&1 || code=$?
  # One at a time, whole.
  {
    flock 9
    say "${name%-*}"
    cat "$work/$name.log"
  } 9<"$work"
  return "$code"
}
for name in gate ceremony verify cli engine_users engine_pull engine; do grep -E "/$name-[0-9a-f]+\$" "$work/programs"; done >"$work/longest"
{ cat "$work/longest" && grep -vxFf "$work/longest" "$work/programs"; } >"$work/order"
code=0 running=0
# The program for Windows, built and run under Wine while the others wait for engines.
case " $* " in "  " | *" windows "*)
  run windows "$PWD" tests/windows/run.sh &
  running=1 at_once=$((at_once + 1))
  ;;
esac
start() { # NAME DIR COMMAND...
  if [ "$running" = "$at_once" ]; then
    wait -n || code=1
    running=$((running - 1))
  fi
  run "$@" &
  running=$((running + 1))
}
while read -r package program; do
  start "${program##*/}" "$package" env CARGO_MANIFEST_DIR="$package" "$program" "${words[@]}"
done <"$work/order"
start examples "$PWD" cargo test --workspace --locked --doc
while [ "$running" -gt 0 ]; do
  wait -n || code=1
  running=$((running - 1))
done

summary=$(awk '/^test result:/ { passed += $4; failed += $6; skipped += $8 + $12 }
  END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped; exit !passed }' "$work"/*.log)
printf '\n%s\n' "$summary"
(exit "$code")
