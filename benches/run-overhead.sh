#!/usr/bin/env bash
# What `run` costs beyond a bare `docker run … charon dkg` of the same ceremony: both in the same run, by turns, with the
# same image, relay and engine.
#
#   benches/run-overhead.sh [PROGRAM [ROUNDS [OPERATORS [VALIDATORS]]]]
#
# CHARON_IMAGE names a charon image with its tag to use instead of the simulator, such as obolnetwork/charon:v1.10.3.
# MEASURED operators, one if not told, are measured; the others stand for other people's machines and are bare each time.
# A ceremony takes as long as charon takes, some tenths of a second more or less each time. So the time that charon's own
# container runs is told apart from what a command adds to it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
program=${1:-target/release/charon-dkg}
rounds=${2:-5}
operators=${3:-4}
validators=${4:-2}
measured=${MEASURED:-1}

work=$(mktemp -d /tmp/cdkg-bench.XXXXXX)
name=cdkg-bench-$$
finish() {
  for i in $(seq "$operators"); do docker rm -f "$name-$i" >/dev/null 2>&1 || true; done
  docker rm -f "$name" >/dev/null 2>&1 || true
  docker network rm "$name" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap finish EXIT

# Throw-away keys, a definition and the simulator's image come from a rehearsal.
"$program" rehearse --engine simulated --operators "$operators" --validators "$validators" --without-gate --keep --format json \
  --progress quiet >"$work/rehearsal.json"
kept=$(sed -n 's/^ *"directory": "\(.*\)",\{0,1\}$/\1/p' "$work/rehearsal.json")
mv "$kept" "$work/kept"

image=${CHARON_IMAGE:-$(docker images --format '{{.Repository}}:{{.Tag}}' charon-dkg-simulator | head -n 1)}
docker network create "$name" >/dev/null
relay_flags=(--http-address=0.0.0.0:3640)
if [ -n "${CHARON_IMAGE:-}" ]; then
  relay_flags+=(--data-dir=/tmp/relay --p2p-tcp-address=0.0.0.0:3610 "--p2p-external-hostname=$name" --p2p-advertise-private-addresses)
fi
docker run -d --name "$name" --network "$name" "$image" relay "${relay_flags[@]}" >/dev/null
sleep 2

# A clean copy of every operator's directory, owned by the user who runs this.
prepare() {
  rm -rf "$work/now"
  mkdir "$work/now"
  for i in $(seq "$operators"); do
    mkdir -p "$work/now/$i/.charon"
    cp "$work/kept/operator-$i/.charon/charon-enr-private-key" "$work/kept/operator-$i/.charon/cluster-definition.json" "$work/now/$i/.charon/"
    chmod 600 "$work/now/$i/.charon/charon-enr-private-key"
  done
  chown -R "$(id -u):$(id -g)" "$work/now"
}

bare() {
  docker run --rm --name "$name-$1" --network "$name" --user "$(id -u):$(id -g)" -v "$work/now/$1/.charon:/opt/charon/.charon" "$image" \
    dkg --data-dir=/opt/charon/.charon --definition-file=/opt/charon/.charon/cluster-definition.json \
    --p2p-relays="http://$name:3640" >"$work/$1.log" 2>&1 || { cat "$work/$1.log" >&2; return 1; }
}

ours() {
  "$program" run --no-backup --dir "$work/now/$1" --relay "http://$name:3640" --network "$name" --image "${image%:*}" \
    --progress quiet >"$work/$1.log" 2>&1 || { cat "$work/$1.log" >&2; return 1; }
}

proof() {
  "$program" verify --dir "$work/now/$1" --quiet --progress quiet
}

now() { date +%s%N; }

# took NAME COMMAND…: its nanoseconds, into a file.
took() {
  local into=$work/took.$1 begin
  shift
  begin=$(now)
  "$@"
  echo $(($(now) - begin)) >"$into"
}

# Milliseconds from lines of nanoseconds.
mean() { awk '{ s += $1 } END { printf "%.0f\n", s / NR / 1000000 }'; }

# The mean of what the measured operators took.
mean_taken() {
  local i
  for i in $(seq "$measured"); do cat "$work/took.$i"; done | mean
}

# Nanoseconds for which containers of charon's ran since $1, one line for each of the measured operators. `dkg` is what
# they have in common; the relay is older.
container_times() {
  docker events --since "$1" --until "$(date +%s.%N)" --filter type=container --filter event=start --filter event=die \
    --format '{{.TimeNano}} {{.Action}} {{.Actor.Attributes.name}}' |
    awk -v mode="$2" -v measured="$measured" -v bench="$name-" '
      $2 == "start" { start[$3] = $1 }
      $2 == "die" && ($3 in start) {
        number = substr($3, length(bench) + 1)
        wanted = mode == "ours" ? $3 ~ /^charon-dkg-[0-9a-f]+$/ : index($3, bench) == 1 && number + 0 <= measured
        if (wanted) printf "%.0f\n", $1 - start[$3]
      }'
}

# measure bare|ours: adds a line to the files of that name: the whole, and what the command adds to charon, each in
# milliseconds and as the mean of the measured operators.
measure() {
  local since others=() mine=() i
  since=$(date +%s.%N)
  for i in $(seq $((measured + 1)) "$operators"); do
    bare "$i" &
    others+=("$!")
  done
  for i in $(seq "$measured"); do
    took "$i" "$1" "$i" &
    mine+=("$!")
  done
  for i in "${mine[@]}" "${others[@]}"; do wait "$i"; done
  local whole charon
  whole=$(mean_taken)
  charon=$(container_times "$since" "$1" | mean)
  echo "$whole" >>"$work/$1"
  echo $((whole - charon)) >>"$work/$1.beyond"
}

prove() {
  local i mine=()
  for i in $(seq "$measured"); do
    took "$i" proof "$i" &
    mine+=("$!")
  done
  for i in "${mine[@]}"; do wait "$i"; done
  mean_taken >>"$work/verify"
}

median() { sort -n "$work/$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

for round in $(seq "$rounds"); do
  prepare
  measure bare
  prepare
  measure ours
  prove
  echo "round $round: bare $(tail -n 1 "$work/bare"), run $(tail -n 1 "$work/ours"), beyond charon $(tail -n 1 "$work/bare.beyond") and $(tail -n 1 "$work/ours.beyond"), verify $(tail -n 1 "$work/verify")"
done
echo "$operators operators of which $measured measured, $validators validators, $image, medians of $rounds rounds in milliseconds"
echo "whole command: bare $(median bare), run $(median ours); verify alone $(median verify)"
echo "beyond charon's own time: bare $(median bare.beyond), run $(median ours.beyond)"
echo "run beyond bare and verify: $(($(median ours.beyond) - $(median bare.beyond) - $(median verify)))"
