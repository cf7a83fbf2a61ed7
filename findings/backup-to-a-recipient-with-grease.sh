#!/bin/sh
# The Python package age refuses every fifth file that rage's library closes for a recipient, by chance, as if it were forged.
#
# Packages: age 0.5.1 and pyrage 1.4.0 (PyPI; pyrage is the Rust library of rage), age-encryption 0.3.1 (npm, TypeScript), in a
#           temporary folder. Needs python3, node and npm.
# Input:    1000 files that pyrage closed for one throw-away recipient. Behind the recipient's lines in a file's header rage puts
#           lines of chance that say "grease", so that nobody gets used to headers without unknown lines.
# Guess:    all open: the format wants readers to pass over what they do not know.
# Seen:     age-encryption opens all. Python's age passes over such lines, too, but writes the header anew to check its code, and
#           not as it was: a blank behind a type without arguments, and no empty line where one has to end the body. Then it says
#           "Signature did not match digest", as of a forged file. By rage's source 22 in 100 lines of chance are of these kinds.
# So:       a backup for recipients that this package calls forged need not be, and one that it opened proves nothing of the next.
#           With a passphrase there is no grease, and all open.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

python3 -m venv "$dir/python"
"$dir/python/bin/pip" install -q age==0.5.1 pyrage==1.4.0 >&2
(cd "$dir" && npm install --silent --no-audit --no-fund --ignore-scripts age-encryption@0.3.1) >&2
mkdir "$dir/files"
cat >"$dir/open.py" <<'END'
import contextlib, io, os, sys
import pyrage
from age.file import Decryptor
from age.keys.agekey import AgePrivateKey
from age.keys.password import PasswordKey

def outcome(data, key):
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # "Ignoring unknown recipient type"
            return "opens" if Decryptor([key], io.BytesIO(data)).read() == b"a backup" else "opens with other content"
    except Exception as error:
        return f"{type(error).__name__}: {error}"

def kind(data):
    """Of the grease, which is the last stanza of the header: type and arguments, and the last line of the body."""
    lines = data[: data.index(b"\n---")].decode().split("\n")
    start = max(number for number, line in enumerate(lines) if line.startswith("-> "))
    arguments = lines[start].split(" ")[2:]
    if not lines[start].split(" ")[1].endswith("-grease"):
        return "no grease"
    if not arguments:
        return "grease without arguments"
    return "grease with arguments, and an empty line" if lines[-1] == "" else "grease with arguments"

identity = pyrage.x25519.Identity.generate()
key = AgePrivateKey.from_private_string(str(identity))
seen = set()
for number in range(1000):
    data = pyrage.encrypt(b"a backup", [identity.to_public()])
    with open(os.path.join(sys.argv[1], str(number)), "wb") as file:
        file.write(data)
    seen.add(f"Python's age, {kind(data)}: {outcome(data, key)}")
data = pyrage.passphrase.encrypt(b"a backup", "correct horse")
seen.add(f"Python's age, a passphrase: {outcome(data, PasswordKey(b'correct horse'))}")
print("\n".join(sorted(seen)))
with open(os.path.join(sys.argv[1], "identity"), "w") as file:
    file.write(str(identity))
END
cat >"$dir/open.mjs" <<'END'
import { readdirSync, readFileSync } from "node:fs";
import { Decrypter } from "age-encryption";
const folder = process.argv[2];
const names = readdirSync(folder).filter((name) => name !== "identity");
const reader = new Decrypter();
reader.addIdentity(readFileSync(`${folder}/identity`, "utf8"));
let opened = 0;
for (const name of names) {
  if ((await reader.decrypt(readFileSync(`${folder}/${name}`), "text")) === "a backup") opened += 1;
}
console.log(`age-encryption opens ${opened} of ${names.length}`);
END
seen=$(
  "$dir/python/bin/python" "$dir/open.py" "$dir/files"
  node "$dir/open.mjs" "$dir/files"
)
printf '%s\n' "$seen"
expected="Python's age, a passphrase: opens
Python's age, grease with arguments, and an empty line: InvalidSignature: Signature did not match digest.
Python's age, grease with arguments: opens
Python's age, grease without arguments: InvalidSignature: Signature did not match digest.
age-encryption opens 1000 of 1000"
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
