#!/usr/bin/env bash
# What the gate costs beyond the check of the cluster lock alone, for a directory that is confirmed and unchanged: both in
# the same run, by turns.
#
#   benches/gate.sh [PROGRAM [ROUNDS [VALIDATORS]]]
#
# CHARON_DKG_BENCH_DIR names a directory of an earlier run (see the end of its output) to use again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
program=${1:-target/release/charon-dkg}
rounds=${2:-15}
validators=${3:-200}

kept=${CHARON_DKG_BENCH_DIR:-}
if [ -z "$kept" ]; then
  kept=$("$program" rehearse --engine simulated --validators "$validators" --without-gate --keep --format json --progress quiet |
    sed -n 's/^ *"directory": "\(.*\)",\{0,1\}$/\1/p')
  for operator in 1 2 3 4; do
    "$program" receipt --progress quiet --dir "$kept/operator-$operator"
  done >"$kept/receipts"
  "$program" confirm "$kept/receipts" --progress quiet --dir "$kept/operator-1" >/dev/null
fi
dir=$kept/operator-1

# measure COMMAND…: milliseconds by the clock, and of all processors together, which other work does not change.
measure() {
  local begin=$EPOCHREALTIME end spent
  TIMEFORMAT='%U %S'
  spent=$({ time "$@" >/dev/null 2>&1; } 2>&1)
  end=$EPOCHREALTIME
  awk -v clock=$((${end/./} - ${begin/./})) -v spent="$spent" \
    'BEGIN { split(spent, part, " "); printf "%d %d\n", clock / 1000, (part[1] + part[2]) * 1000 }'
}
# medians FIELD LINE…
medians() {
  local field=$1
  shift
  printf '%s\n' "$@" | cut -d ' ' -f "$field" | sort -n | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'
}

"$program" gate check --rehearsal --progress quiet --dir "$dir"
lock=() gate=()
for _ in $(seq "$rounds"); do
  lock+=("$(measure "$program" verify --lock "$dir/.charon/cluster-lock.json")")
  gate+=("$(measure "$program" gate check --rehearsal --dir "$dir")")
done
for field in 1 2; do
  what='by the clock'
  if [ "$field" = 2 ]; then what='of processor time'; fi
  beyond=$(($(medians "$field" "${gate[@]}") - $(medians "$field" "${lock[@]}")))
  echo "medians of $rounds $what: lock check $(medians "$field" "${lock[@]}") ms, gate $(medians "$field" "${gate[@]}") ms, $beyond ms more"
done
echo "for $validators validators; the gate may take 50 ms more than the lock check"
echo "kept in $kept"
[ "$(($(medians 1 "${gate[@]}") - $(medians 1 "${lock[@]}")))" -le 50 ]
