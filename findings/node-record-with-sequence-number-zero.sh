#!/bin/sh
# The node record (ENR) of a new node, as charon writes it, cannot be read with the npm package @chainsafe/enr.
#
# Packages: @chainsafe/enr 5.0.0 (npm), eth-enr 0.5.0 (PyPI), in a temporary folder. Needs node, npm and python3.
# Input:    two records of one throw-away key, with nothing but identity scheme and public key; sequence number 0 and 1.
# Guess:    both are read: EIP-778 says of the number only that it is unsigned and goes up with every change, so a first
#           record may have 0, and charon's have. In RLP that is the empty string.
# Seen:     eth-enr, which wrote them, reads both. @chainsafe/enr reads the one with 1; of the other it says "Cannot convert
#           0x to a BigInt", which speaks neither of a record nor of a sequence number. It composes records with 0 itself,
#           and cannot read those either.
# So:       a web page or tool that checks operators' ENRs with this package refuses every fresh one of charon. The record is
#           right; read it with something else.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

python3 -m venv "$dir/python"
"$dir/python/bin/pip" install -q eth-enr==0.5.0 >&2
(cd "$dir" && npm install --silent --no-audit --no-fund --ignore-scripts @chainsafe/enr@5.0.0) >&2

cat >"$dir/write.py" <<'END'
from eth_enr import UnsignedENR
from eth_keys import keys
key = keys.PrivateKey(b"\x11" * 32)
for number in (0, 1):
    pairs = {b"id": b"v4", b"secp256k1": key.public_key.to_compressed_bytes()}
    print(repr(UnsignedENR(number, pairs).to_signed_enr(key.to_bytes())))
END
cat >"$dir/read.py" <<'END'
import sys
from eth_enr import ENR
for line in sys.stdin:
    record = ENR.from_repr(line.strip())
    record.validate_signature()
    print("eth-enr: sequence number", record.sequence_number)
END
cat >"$dir/read.mjs" <<'END'
import { readFileSync } from "node:fs";
import { ENR, SignableENR } from "@chainsafe/enr";
const read = (name, text) => {
  try {
    console.log(`${name}: sequence number ${ENR.decodeTxt(text).seq}`);
  } catch (error) {
    console.log(`${name}: ${error.message}`);
  }
};
for (const line of readFileSync(0, "utf8").trim().split("\n")) read("@chainsafe/enr", line);
const key = new Uint8Array(32).fill(0x11);
const { kvs } = SignableENR.createV4(key);
read("@chainsafe/enr, a record of its own", new SignableENR(kvs, 0n, key).encodeTxt());
END
"$dir/python/bin/python" "$dir/write.py" >"$dir/records"
cat "$dir/records"
seen=$(
  "$dir/python/bin/python" "$dir/read.py" <"$dir/records"
  node "$dir/read.mjs" <"$dir/records"
)
printf '%s\n' "$seen"
expected='eth-enr: sequence number 0
eth-enr: sequence number 1
@chainsafe/enr: Cannot convert 0x to a BigInt
@chainsafe/enr: sequence number 1
@chainsafe/enr, a record of its own: Cannot convert 0x to a BigInt'
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
