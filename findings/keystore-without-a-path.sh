#!/bin/sh
# The deposit tool ethstaker-deposit refuses a keystore without a derivation path, even one that it has just written.
#
# Packages: ethstaker-deposit 1.3.1 and eth-keyfile 0.10.0 (PyPI), in temporary folders. Needs python3.
# Input:    keystores (EIP-2335) of a throw-away key: one with a path, and two with "path": "", which Pbkdf2Keystore.encrypt of
#           ethstaker-deposit and create_keyfile_json of eth-keyfile write if they are told no path.
# Guess:    all are read: EIP-2335 wants the empty string there if no path is known or it does not matter, as for a key that
#           was not derived from a mnemonic. A share of a distributed validator is such a key.
# Seen:     ethstaker-deposit reads the one with a path. The others break its schema: "'' does not match", its own as well.
# So:       a tool for such keys should write some path; charon's keystores all have m/12381/3600/0/0/0. The path is part of
#           neither key nor checksum, so a copy of the file with a path is read.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

python3 -m venv "$dir/tool"
"$dir/tool/bin/pip" install -q ethstaker-deposit==1.3.1 >&2
python3 -m venv "$dir/library"
"$dir/library/bin/pip" install -q eth-keyfile==0.10.0 >&2
cat >"$dir/library.py" <<'END'
import json
from eth_keyfile import create_keyfile_json
key = bytes.fromhex("000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f")
print(json.dumps(create_keyfile_json(key, b"correct horse", version=4, kdf="pbkdf2", iterations=262144)))
END
cat >"$dir/tool.py" <<'END'
import json, sys
from ethstaker_deposit.key_handling.keystore import Keystore, Pbkdf2Keystore
key = bytes.fromhex("000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f")
path = "m/12381/3600/0/0/0"
with open(sys.argv[1]) as file:
    library = file.read()
tool = Pbkdf2Keystore.encrypt(secret=key, password="correct horse").as_json()
texts = {
    "ethstaker-deposit's, with a path": Pbkdf2Keystore.encrypt(secret=key, password="correct horse", path=path).as_json(),
    "ethstaker-deposit's, without": tool,
    "eth-keyfile's, without": library,
    "eth-keyfile's, a copy with a path": json.dumps(json.loads(library) | {"path": path}),
}
for name, text in texts.items():
    try:
        keystore = Keystore.from_json(json.loads(text))
        outcome = "the right key" if keystore.decrypt("correct horse") == key else "another key"
    except Exception as error:
        outcome = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    print(f"{name}: {outcome}")
END
"$dir/library/bin/python" "$dir/library.py" >"$dir/library.json"
seen=$("$dir/tool/bin/python" "$dir/tool.py" "$dir/library.json")
printf '%s\n' "$seen"
expected="ethstaker-deposit's, with a path: the right key
ethstaker-deposit's, without: ValidationError: '' does not match '^m/[0-9]+(/[0-9]+)+(/[0-9]+)?\$'
eth-keyfile's, without: ValidationError: '' does not match '^m/[0-9]+(/[0-9]+)+(/[0-9]+)?\$'
eth-keyfile's, a copy with a path: the right key"
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
