#!/usr/bin/env bash
# What works on Windows, with the program built for it, under Wine: enr, verify, receipt, confirm, board, deposits, backup and
# its restoring, define, ready, pins; and one sentence from what does not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
target=x86_64-pc-windows-gnu
if ! rustup target list --installed 2>/dev/null | grep -qx "$target" && ! timeout 300 rustup target add "$target"; then
  echo "NOT CHECKED: Windows, whose standard library cannot be fetched here"
  echo "test result: ok. 0 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out"
  exit
fi
missing=()
for package in wine64 wine gcc-mingw-w64-x86-64; do
  dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${missing[@]}" >/dev/null
fi
# Whoever lints what is built for Linux does not lint this.
env --unset=CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER cargo build --quiet --locked --package charon-dkg --target "$target"

# Wine gives files no list of their own, and takes the one it shows from their modes.
umask 077
room=$(mktemp -d)
passed=0
failed=1
relay=
finish() {
  [ -z "$relay" ] || kill "$relay" 2>/dev/null || true
  wineserver -k 2>/dev/null || true
  rm -rf "$room"
  [ "$failed" = 0 ] && verdict=ok || verdict=FAILED
  echo "test result: $verdict. $passed passed; $failed failed; 0 ignored; 0 measured; 0 filtered out"
}
trap finish EXIT
export WINEPREFIX=$room/wine WINEDEBUG=-all DISPLAY=
cp "${CARGO_TARGET_DIR:-target}/$target/debug/charon-dkg.exe" "$room"
x86_64-w64-mingw32-gcc -shared -O1 -o "$room/bcryptprimitives.dll" tests/windows/bcryptprimitives.c -ladvapi32
wineboot --init >/dev/null 2>&1

fixture=$PWD/tests/fixtures/ceremonies/charon-v1.10.3-def-v1.10.0-n4-v2
said=$room/said
# Runs the program in a directory below the room, and wants this exit code.
dkg() {
  local want=$1 dir=$room/$2 got=0
  shift 2
  mkdir -p "$dir"
  (cd "$dir" && wine "$room/charon-dkg.exe" "$@" 2>"$said.err" | tr -d '\r' >"$said") || got=$?
  if [ "$got" != "$want" ]; then
    echo "FAILED: charon-dkg $*: exit code $got, expected $want" >&2
    cat "$said" "$said.err" >&2
    exit 1
  fi
}
# Wants a word in what was said.
says() {
  if ! grep -qF -- "$1" "$said" "$said.err"; then
    echo "FAILED: nothing says: $1" >&2
    cat "$said" "$said.err" >&2
    exit 1
  fi
  passed=$((passed + 1))
}

dkg 0 any --version
says "charon-dkg "
dkg 0 any pins
says v1.10.3
dkg 0 new enr
says enr:-
cp "$said" "$room/enr"
[ "$(stat -c %a "$room/new/.charon/charon-enr-private-key")" = 600 ]
dkg 0 new enr show
cmp "$said" "$room/enr"

for node in 0 1 2 3; do
  mkdir -p "$room/node$node"
  cp -r "$fixture/node$node/.charon" "$room/node$node"
  chmod -R go= "$room/node$node"
  dkg 0 "node$node" verify
  says lock_hash
  dkg 0 "node$node" receipt
  says dkgreceipt1
  cat "$said" >>"$room/chat.txt"
done
dkg 0 node0 confirm ../chat.txt
says "4 of 4 operators have everything"
dkg 0 funder board --definition ../node0/.charon/cluster-definition.json --lock ../node0/.charon/cluster-lock.json \
  --html board.html ../chat.txt
says CONFIRMED
grep -q CONFIRMED "$room/funder/board.html"
files=(--lock ../node0/.charon/cluster-lock.json --deposit ../node0/.charon/deposit-data.json
  --deposit ../node0/.charon/deposit-data-1eth.json --receipts ../chat.txt)
dkg 0 funder deposits "${files[@]}"
says "SAFE TO DEPOSIT"
sed 3d "$room/chat.txt" >"$room/three.txt"
dkg 4 funder deposits "${files[@]:0:6}" --receipts ../three.txt
says "operator 3"

# A key that others can read is found by what Windows tells.
chmod 644 "$room/node1/.charon/charon-enr-private-key"
dkg 4 node1 verify
says "FAIL [file-mode] charon-enr-private-key"
chmod 600 "$room/node1/.charon/charon-enr-private-key"
printf x >>"$room/node1/.charon/validator_keys/keystore-0.txt"
dkg 4 node1 verify
says FAIL

printf 'a long enough passphrase\n' >"$room/passphrase"

# A node before its ceremony: the relay answers, the line says that nobody looked at an engine, and never counts as ready.
# shellcheck disable=SC2016 # perl's variables.
perl -MIO::Socket -e '
  $| = 1;
  my $listener = IO::Socket::INET->new(LocalAddr => "127.0.0.1", Listen => 5) or die;
  print $listener->sockport, "\n";
  my $body = q(["/ip4/127.0.0.1/tcp/3640/p2p/16Uiu2HAm"]);
  while (my $asks = $listener->accept) {
    while (<$asks>) { last if /^\r\n$/ }
    print $asks "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ", length $body, "\r\n\r\n$body";
    close $asks;
  }' >"$room/relay" &
relay=$!
until [ -s "$room/relay" ]; do sleep 0.1; done
mkdir -p "$room/before/.charon"
cp "$fixture"/node0/.charon/charon-enr-private-key "$fixture"/node0/.charon/cluster-definition.json "$room/before/.charon"
dkg 3 before ready --relay "http://127.0.0.1:$(cat "$room/relay")"
says enr-key-not-backed-up
dkg 0 before backup --passphrase-file ../passphrase
says "read back and compared byte by byte"
dkg 3 before ready --relay http://127.0.0.1:9
says relay-does-not-answer
dkg 4 before ready --relay "http://127.0.0.1:$(cat "$room/relay")"
says dkgready1
cp "$said" "$room/ready.txt"
says "COULD NOT TELL [engine-not-looked-at]"
says "COULD NOT TELL [image-not-looked-at]"
says "COULD NOT TELL [others-not-looked-at]"
dkg 4 before ready ../ready.txt
says "ENGINE UNKNOWN"
says "0 of 4 operators are ready; engine not looked at: operator 1; no ready line: operators 2, 3 and 4"
dkg 0 funder board --definition ../before/.charon/cluster-definition.json ../ready.txt
says "ENGINE UNKNOWN"
chmod 644 "$room/before/.charon/charon-enr-private-key"
dkg 3 before ready --relay "http://127.0.0.1:$(cat "$room/relay")"
says "FAIL [enr-key-mode]"
dkg 0 node2 backup --passphrase-file ../passphrase
says "read back and compared byte by byte"
mkdir "$room/again"
mv "$room"/node2/charon-backup-*.age "$room/again/backup.age"
dkg 0 again backup restore --yes --passphrase-file ../passphrase backup.age
dkg 0 again verify
diff -r "$room/node2/.charon" "$room/again/.charon"

for _ in 1 2 3; do
  rm -rf "$room/other"
  dkg 0 other enr
  cat "$said" >>"$room/enr"
done
address=0x$(printf '1%.0s' {1..40})
dkg 0 coordinator define --name wine --network hoodi --num-validators 1 --withdrawal-addresses "$address" \
  --fee-recipient-addresses "$address" ../enr
says definition_hash

for verb in plan run "ready --charon-binary charon" status up rehearse "gate status"; do
  # shellcheck disable=SC2086 # `gate status` are two words.
  dkg 3 node0 $verb
  says "WSL 2"
done
failed=0
