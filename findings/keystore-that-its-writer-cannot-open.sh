#!/bin/sh
# The Python package eth-keyfile writes a validator's keystore that it cannot open with the password it was given.
#
# Packages: eth-keyfile 0.10.0 (PyPI), in a temporary folder. Needs python3.
# Input:    keystores (EIP-2335, version 4) of one throw-away key, with a password and with the same password and a line end,
#           as it comes out of a text file; create_keyfile_json and then decode_keyfile_json, both with the same bytes.
# Guess:    both open: EIP-2335 leaves control characters out of a password, a line end among them, on both ways.
# Seen:     create_keyfile_json leaves the line end out, decode_keyfile_json does not. So the second keystore is answered
#           "Checksum mismatch", and opens with a password that nobody gave. With PBKDF2 and scrypt alike.
# So:       take control characters out of a password before it is handed to this package. A keystore that "has another
#           password" may only have been read by it.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

python3 -m venv "$dir/python"
"$dir/python/bin/pip" install -q eth-keyfile==0.10.0 >&2
cat >"$dir/open.py" <<'END'
from eth_keyfile import create_keyfile_json, decode_keyfile_json

key = bytes.fromhex("000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f")

def outcome(keystore, password):
    try:
        return "opens" if decode_keyfile_json(keystore, password) == key else "opens with another key"
    except Exception as error:
        return f"fails: {error}"

for kdf, cost in (("pbkdf2", 262144), ("scrypt", 16384)):
    for password in (b"correct horse", b"correct horse\n"):
        keystore = create_keyfile_json(key, password, version=4, kdf=kdf, iterations=cost)
        for attempt in (b"correct horse", b"correct horse\n"):
            print(f"{kdf}, closed with {password!r}, {attempt!r}: {outcome(keystore, attempt)}")
END
seen=$("$dir/python/bin/python" "$dir/open.py")
printf '%s\n' "$seen"
expected=$(for kdf in pbkdf2 scrypt; do
  for password in 'correct horse' 'correct horse\n'; do
    printf '%s\n' "$kdf, closed with b'$password', b'correct horse': opens" \
      "$kdf, closed with b'$password', b'correct horse\\n': fails: Checksum mismatch"
  done
done)
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
