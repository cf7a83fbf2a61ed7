#!/usr/bin/env bash
# What `run` costs beyond a bare `docker run … charon dkg` of the same ceremony: both in the same run, by turns, with the
# same image, relay and engine.
#
#   benches/run-overhead.sh [PROGRAM [ROUNDS [OPERATORS [VALIDATORS]]]]
#
# CHARON_IMAGE names a charon image with its tag to use instead of the simulator, such as obolnetwork/charon:v1.10.3.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
program=${1:-target/release/charon-dkg}
rounds=${2:-5}
operators=${3:-4}
validators=${4:-2}

work=$(mktemp -d /tmp/cdkg-bench.XXXXXX)
name=cdkg-bench-$$
finish() {
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
  docker run --rm --network "$name" --user "$(id -u):$(id -g)" -v "$work/now/$1/.charon:/opt/charon/.charon" "$image" \
    dkg --data-dir=/opt/charon/.charon --definition-file=/opt/charon/.charon/cluster-definition.json \
    --p2p-relays="http://$name:3640" >"$work/$1.log" 2>&1 || { cat "$work/$1.log" >&2; return 1; }
}

ours() {
  "$program" run --dir "$work/now/$1" --relay "http://$name:3640" --network "$name" --image "${image%:*}" \
    --progress quiet >"$work/$1.log" 2>&1 || { cat "$work/$1.log" >&2; return 1; }
}

proof() {
  "$program" verify --dir "$work/now/$1" --quiet --progress quiet
}

# Milliseconds for all operators side by side.
measure() {
  local begin end pids=() pid
  begin=$(date +%s%N)
  for i in $(seq "$operators"); do
    "$1" "$i" &
    pids+=("$!")
  done
  for pid in "${pids[@]}"; do wait "$pid"; done
  end=$(date +%s%N)
  echo $(((end - begin) / 1000000))
}

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

: >"$work/bare"
: >"$work/run"
: >"$work/verify"
for _ in $(seq "$rounds"); do
  prepare
  measure bare >>"$work/bare"
  prepare
  measure ours >>"$work/run"
  measure proof >>"$work/verify"
done
b=$(median <"$work/bare")
r=$(median <"$work/run")
v=$(median <"$work/verify")
echo "$operators operators, $validators validators, $image, medians of $rounds rounds, milliseconds for all operators side by side"
echo "bare docker run $b, run $r, verify alone $v"
echo "run beyond bare and verify: $((r - b - v))"
