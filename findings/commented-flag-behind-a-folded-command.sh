#!/bin/sh
# A flag that is commented out behind a command of several lines becomes part of the command when ruamel.yaml writes the file.
#
# Packages: ruamel.yaml 0.19.1, yamlfix 1.19.1 (a formatter built on it) and PyYAML 6.0.3 (PyPI), in a temporary folder. Needs python3.
# Input:    compose files whose command is folded (">-") and ends without or with a blank, and then a comment, less indented: a flag
#           of charon that somebody does not want any more. ruamel.yaml reads and writes them with another image; yamlfix formats.
# Guess:    comments stay comments: ruamel.yaml's round trip is there to keep them, and it reads the command as PyYAML does.
# Seen:     so it is without the blank. With it, ruamel.yaml writes the comment behind the last line of the command, where YAML knows
#           no comments: whoever reads the file then has "#" and the flag among the words. yamlfix does the same, and both are
#           silent. Of a folded variable, such as a list of relays, the comment becomes part of the value.
# So:       take blanks at line ends away before a program edits such a file, and compare "docker compose config" before and after.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet ruamel.yaml==0.19.1 yamlfix==1.19.1 PyYAML==6.0.3 >&2
cat >"$dir/edit.py" <<'END'
import json, pathlib, subprocess, sys
import ruamel.yaml
import yaml

def command(path):
    return json.dumps(yaml.safe_load(path.read_text())["services"]["charon"]["command"])

folder = pathlib.Path(sys.argv[1])
for end in ["", " "]:
    text = f"""\
services:
  charon:
    image: example/charon:v1.9.0
    command: >-
      run
      --log-level=info{end}
    # --no-verify
    restart: unless-stopped
"""
    path = folder / "compose.yaml"
    path.write_text(text)
    print("as it was:", command(path))
    round_trip = ruamel.yaml.YAML()
    document = round_trip.load(path)
    document["services"]["charon"]["image"] = "example/charon:v1.10.3"
    round_trip.dump(document, path)
    print("ruamel.yaml:", command(path))
    path.write_text(text)
    subprocess.run([sys.argv[2], str(path)], check=True, stdout=sys.stderr)
    print("yamlfix:", command(path))
END
seen=$("$dir/venv/bin/python" "$dir/edit.py" "$dir" "$dir/venv/bin/yamlfix")
printf '%s\n' "$seen"
expected='as it was: "run --log-level=info"
ruamel.yaml: "run --log-level=info"
yamlfix: "run --log-level=info"
as it was: "run --log-level=info "
ruamel.yaml: "run --log-level=info  # --no-verify"
yamlfix: "run --log-level=info  # --no-verify"'
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
