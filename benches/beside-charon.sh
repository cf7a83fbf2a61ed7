#!/bin/bash
# charon's own numbers beside ours: benches/beside-charon.sh CHARON [OURS]
#
# CHARON is a charon binary (v1.10 or newer), or CHARON=… in the environment; OURS is target/release/charon-dkg unless
# said otherwise. charon itself makes the cluster, so both read the same files: VALIDATORS (200) validators and NODES (4)
# nodes. Each time is the least of RUNS (5), wall clock; the files are in the page cache.
#
# How charon is timed, since it has no command that only verifies:
#   lock       `charon feerecipient list`, which reads and verifies the lock and then has nothing to ask for
#   keystores  `charon deposit sign` for one validator, less the above: it opens all keystores, and then fails for want of anybody to send to
# Both less `charon version`, which is what starting takes. Ours are `verify` of the lock, of lock and deposit files, and of
# the whole data directory; starting is included there.
set -eu
charon=${1:-${CHARON:-}}
ours=${2:-$(dirname "$0")/../target/release/charon-dkg}
[ -n "$charon" ] || { sed -n '2,4p' "$0" >&2; exit 2; }
validators=${VALIDATORS:-200}
nodes=${NODES:-4}
runs=${RUNS:-5}

dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT
address=0x000000000000000000000000000000000000dEaD
echo "making $validators validators and $nodes nodes; this takes a while" >&2
"$charon" create cluster --name bench --cluster-dir "$dir" --nodes "$nodes" --num-validators "$validators" \
    --network hoodi --withdrawal-addresses $address --fee-recipient-addresses $address >"$dir/log" 2>&1 ||
    { cat "$dir/log" >&2; exit 1; }
node=$dir/node0
chmod -R u=rwX,go= "$node"
key=$(sed -n 's/.*"distributed_public_key": *"\(0x[0-9a-f]*\)".*/\1/p' "$node/cluster-lock.json" | head -n 1)

# "WALL CPU" in milliseconds: the least of all runs of each. The processor's time hardly depends on what else the machine
# does. Some of these commands end with a failure, which is meant.
TIMEFORMAT='%R %U %S'
measure() {
    for _ in $(seq "$runs"); do
        { time "$@" >"$dir/out" 2>&1; } 2>&1 || true
    done | awk '{ wall = 1000 * $1; cpu = 1000 * ($2 + $3)
        if (NR == 1 || wall < w) w = wall
        if (NR == 1 || cpu < c) c = cpu } END { printf "%d %d\n", w, c }'
}
# "WALL CPU" less another one.
less() { echo "$1" "$2" | awk '{ print $1 - $3, $2 - $4 }'; }
cell() { echo "$1" | awk '{ print $1 " ms (" $2 " ms)" }'; }
needs() {
    grep -q "$1" "$dir/out" || { echo "charon did not come as far as expected:" >&2; cat "$dir/out" >&2; exit 1; }
}

start=$(measure "$charon" version)
charon_lock=$(measure "$charon" feerecipient list --lock-file "$node/cluster-lock.json" \
    --overrides-file "$dir/none" --publish-address http://127.0.0.1:9)
charon_all=$(measure "$charon" deposit sign --lock-file "$node/cluster-lock.json" --validator-keys-dir "$node/validator_keys" \
    --private-key-file "$node/charon-enr-private-key" --validator-public-keys "$key" --withdrawal-addresses $address \
    --publish-address http://127.0.0.1:9 --publish-timeout 1s)
# It fails behind the keystores: while it signs, or when nobody takes what it signed.
needs "depositsign.go:1[3-9][0-9]\|127.0.0.1:9"

our_lock=$(measure "$ours" verify --lock "$node/cluster-lock.json")
"$ours" verify --quiet --lock "$node/cluster-lock.json"
set --
for file in "$node"/deposit-data*.json; do set -- "$@" --deposit "$file"; done
our_deposits=$(measure "$ours" verify --lock "$node/cluster-lock.json" "$@")
our_all=$(measure "$ours" verify "$node")
"$ours" verify --quiet "$node"

cat <<END
$validators validators, $nodes nodes; $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores; load $(cut -d' ' -f1 /proc/loadavg)
charon $("$charon" version 2>/dev/null | head -n 1) beside $("$ours" --version)
wall clock, and in brackets the processor's time on all cores

| what | charon | ours |
|---|---|---|
| lock; ours with all deposits | $(cell "$(less "$charon_lock" "$start")") | $(cell "$our_lock") |
| lock and deposit files | not done | $(cell "$our_deposits") |
| keystores | $(cell "$(less "$charon_all" "$charon_lock")") | $(cell "$(less "$our_all" "$our_deposits")") |
| whole data directory | not done | $(cell "$our_all") |
END
