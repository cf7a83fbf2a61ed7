#!/bin/sh
# The npm package micro-eth-signer reads one in 64 of the keystores that charon writes.
#
# Packages: micro-eth-signer 0.20.1, @chainsafe/bls-keystore 3.1.0 (npm), eth-keyfile 0.10.0 (PyPI), in a temporary folder.
#           Needs node, npm and python3.
# Input:    one keystore (EIP-2335) of a throw-away key, with other values of "uuid": of version 4, of version 7 (RFC 9562), and
#           16 random bytes in capital letters without version and variant bits, which is what charon writes (v0.16.0 to
#           v1.11.0-rc3). Then all 256 pairs of the two digits in which version and variant are.
# Guess:    all open: the value is a name for the file, on which neither key, password nor checksum depends. EIP-2335's text wants
#           a random one as in RFC 4122, its schema any UUID.
# Seen:     @chainsafe/bls-keystore and eth-keyfile open all. micro-eth-signer opens only version 4 ("wrong uuid"): 4 of the 256
#           pairs, and so one in 64 of charon's, as chance has it. It asks for that before it looks at the password.
# So:       a tool built on it can seem to work with some of a node's keystores. The keys are right. A copy of the file with a
#           UUID of version 4 is read.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

python3 -m venv "$dir/python"
"$dir/python/bin/pip" install -q eth-keyfile==0.10.0 >&2
(cd "$dir" && npm install --silent --no-audit --no-fund --ignore-scripts micro-eth-signer@0.20.1 @chainsafe/bls-keystore@3.1.0) >&2

cat >"$dir/open.mjs" <<'END'
import { writeFileSync } from "node:fs";
import { decrypt, create, isValidKeystore } from "@chainsafe/bls-keystore";
import { decryptEIP2335Keystore } from "micro-eth-signer/keystore.js";
const key = Buffer.from("000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f", "hex");
const password = "correct horse";
const pubkey = Buffer.from(process.argv[2], "hex");
const keystore = await create(password, key, pubkey, "m/12381/3600/0/0/0", "", undefined, undefined);
const same = (opened) => (Buffer.from(opened).equals(key) ? "opens" : "another key");
const micro = (store) => {
  try {
    return same(decryptEIP2335Keystore(store, password));
  } catch (error) {
    return error.message;
  }
};
for (const [name, uuid] of [
  ["version 4", "1d85ae20-35c5-4611-98e8-aa14a633906f"],
  ["version 4, capitals", "1D85AE20-35C5-4611-98E8-AA14A633906F"],
  ["version 7", "019322a4-6f3c-7d1e-9c55-2b8a4f0e6d31"],
  ["random bytes", "0868D9BD-195F-BAF4-0DBC-47984B11B829"],
]) {
  const store = { ...keystore, uuid };
  writeFileSync(`${process.argv[3]}/${name}.json`, JSON.stringify(store));
  const chainsafe = isValidKeystore(store) ? same(await decrypt(store, password)) : "invalid";
  console.log(`${name}: @chainsafe/bls-keystore ${chainsafe}; micro-eth-signer ${micro(store)}`);
}
let opened = 0;
for (let version = 0; version < 16; version++)
  for (let variant = 0; variant < 16; variant++) {
    const digit = (number) => number.toString(16).toUpperCase();
    const uuid = `0868D9BD-195F-${digit(version)}AF4-${digit(variant)}DBC-47984B11B829`;
    if (micro({ ...keystore, uuid }) === "opens") opened++;
  }
console.log(`micro-eth-signer opens ${opened} of 256`);
END
cat >"$dir/open.py" <<'END'
import json, pathlib, sys
from eth_keyfile import decode_keyfile_json
key = bytes.fromhex("000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f")
files = sorted(pathlib.Path(sys.argv[1]).glob("*.json"))
print("eth-keyfile opens", sum(decode_keyfile_json(json.loads(f.read_text()), b"correct horse") == key for f in files), "of", len(files))
END
cat >"$dir/public.py" <<'END'
from eth_keyfile import create_keyfile_json
key = bytes.fromhex("000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f")
print(create_keyfile_json(key, b"correct horse", version=4, kdf="pbkdf2", iterations=1)["pubkey"])
END
mkdir "$dir/keystores"
public=$("$dir/python/bin/python" "$dir/public.py")
seen=$(node "$dir/open.mjs" "$public" "$dir/keystores" && "$dir/python/bin/python" "$dir/open.py" "$dir/keystores")
printf '%s\n' "$seen"
expected='version 4: @chainsafe/bls-keystore opens; micro-eth-signer opens
version 4, capitals: @chainsafe/bls-keystore opens; micro-eth-signer opens
version 7: @chainsafe/bls-keystore opens; micro-eth-signer keystore: wrong uuid
random bytes: @chainsafe/bls-keystore opens; micro-eth-signer keystore: wrong uuid
micro-eth-signer opens 4 of 256
eth-keyfile opens 4 of 4'
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
