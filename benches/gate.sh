#!/usr/bin/env bash
# What the gate costs where nothing has changed, beside an earlier build and beside the check of the cluster lock alone: all in
# the same run, by turns.
#
#   benches/gate.sh PROGRAM BEFORE [ROUNDS]     two builds, as target/release/charon-dkg
#
# For a rehearsal of 200 validators by 4 operators, and for one node of 3000 validators by 30 operators, which takes minutes to
# make. CHARON_DKG_BENCH_DIR names the directory of an earlier run (see the end of the output) to use again. Needs GNU time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
program=$(realpath "${1:?"benches/gate.sh PROGRAM BEFORE"}")
before=$(realpath "${2:?"benches/gate.sh PROGRAM BEFORE"}")
rounds=${3:-15}
kept=${CHARON_DKG_BENCH_DIR:-$(mktemp -d /tmp/cdkg-gate.XXXXXX)}

if [ ! -e "$kept/200x4" ]; then
  rehearsal=$("$program" rehearse --engine simulated --validators 200 --without-gate --keep --format json --progress quiet |
    sed -n 's/^ *"directory": "\(.*\)",\{0,1\}$/\1/p')
  for operator in 1 2 3 4; do "$program" receipt --progress quiet --dir "$rehearsal/operator-$operator"; done >"$kept/chat.txt"
  mv "$kept/chat.txt" "$rehearsal/operator-1/"
  cp -a "$rehearsal/operator-1" "$kept/200x4"
fi
if [ ! -e "$kept/3000x30" ]; then
  LARGE=all LARGE_KEEP=$kept cargo test --quiet --locked --release --test large the_gate >&2
  mv "$kept/node-of-3000" "$kept/3000x30"
fi

# measure COMMAND…: milliseconds by the clock, of all processors together, which other work does not change, and the peak of
# memory in KiB.
measure() {
  local begin=$EPOCHREALTIME end spent
  spent=$(/usr/bin/time -f '%U %S %M' "$@" 2>&1 >/dev/null | tail -n 1)
  end=$EPOCHREALTIME
  awk -v clock=$((${end/./} - ${begin/./})) -v spent="$spent" \
    'BEGIN { split(spent, part, " "); printf "%d %d %d\n", clock / 1000, (part[1] + part[2]) * 1000, part[3] }'
}
# medians FIELD LINE…
medians() {
  local field=$1
  shift
  printf '%s\n' "$@" | cut -d ' ' -f "$field" | sort -n | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'
}

missed=0
for size in 200x4 3000x30; do
  # What a program remembers is of no use to the other, nor in a copy.
  for which in program before; do
    rm -rf "$kept/$size-$which"
    cp -a "$kept/$size" "$kept/$size-$which"
    "${!which}" confirm "$kept/$size/chat.txt" --progress quiet --dir "$kept/$size-$which" >/dev/null
  done
  flags=()
  if [ "$size" = 200x4 ]; then flags=(--rehearsal); fi
  lock=() old=() new=()
  for _ in $(seq "$rounds"); do
    lock+=("$(measure "$before" verify --lock "$kept/$size/.charon/cluster-lock.json")")
    old+=("$(measure "$before" gate check "${flags[@]}" --progress quiet --dir "$kept/$size-before")")
    new+=("$(measure "$program" gate check "${flags[@]}" --progress quiet --dir "$kept/$size-program")")
  done
  echo "$size, medians of $rounds: lock check of the earlier build, its gate, this gate"
  fields=('ms by the clock' 'ms of processor time' 'KiB of memory')
  for field in 1 2 3; do
    echo "  $(medians "$field" "${lock[@]}"), $(medians "$field" "${old[@]}"), $(medians "$field" "${new[@]}") ${fields[field - 1]}"
  done
  # An eighth of the earlier gate; of the earlier lock check, a thirtieth; and no more memory than the earlier gate.
  if [ "$size" = 200x4 ]; then times=8 beside=("${old[@]}"); else times=30 beside=("${lock[@]}"); fi
  [ "$((times * $(medians 1 "${new[@]}")))" -le "$(medians 1 "${beside[@]}")" ] || missed=1
  [ "$(medians 3 "${new[@]}")" -le "$(medians 3 "${old[@]}")" ] || missed=1
done
echo "kept in $kept"
exit "$missed"
