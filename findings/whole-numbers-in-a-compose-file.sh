#!/bin/sh
# The npm package composeverter says of every whole number in a compose file that it must be a number.
#
# Packages: composeverter 1.7.5 (npm, the converter behind composerize), check-jsonschema 0.39.0 (PyPI, which brings the schema of the
#           Compose specification), in a temporary folder. Needs node, npm and python3.
# Input:    compose files of one charon: with a health check tried three times, a port, a limit of open files; with the same port in
#           quotation marks, and with one and a half processors.
# Guess:    no errors in any: the package checks files against the Compose specification, which has numbers in these places.
# Seen:     check-jsonschema has nothing to say. composeverter takes "3610" and 1.5, and calls 3, 3610 and 4096 wrong: "must be
#           number". It reads whole numbers as JavaScript's BigInt, which keeps the digits of long ones, and the validator behind
#           it takes a BigInt for no number.
# So:       have "docker compose config --quiet" say whether a file is valid. That this package calls a line with a whole number
#           wrong says nothing of it.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

(cd "$dir" && npm install --silent --no-audit --no-fund --ignore-scripts composeverter@1.7.5) >&2
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet check-jsonschema==0.39.0 >&2
mkdir "$dir/files"
number=0
for line in "healthcheck: {test: /check, retries: 3}" "ports: [3610]" "ulimits: {nofile: 4096}" "ports: ['3610']" "cpus: 1.5"; do
  number=$((number + 1))
  printf 'services:\n  charon:\n    image: example/charon\n    %s\n' "$line" >"$dir/files/$number.yaml"
done
cat >"$dir/check.cjs" <<'END'
const { validateDockerComposeToCommonSpec } = require("composeverter");
const { readFileSync } = require("fs");
for (const name of process.argv.slice(2)) {
  const text = readFileSync(name, "utf8");
  const errors = validateDockerComposeToCommonSpec(text);
  console.log(text.split("\n")[3].trim(), "=>", errors.length ? errors[0].message.replace(/ \(type.*/, "") : "valid");
}
END
seen=$(
  "$dir/venv/bin/check-jsonschema" --builtin-schema vendor.compose-spec "$dir"/files/*
  node "$dir/check.cjs" "$dir"/files/*
)
printf '%s\n' "$seen"
expected='ok -- validation done
healthcheck: {test: /check, retries: 3} => Line 4(/services/charon/healthcheck/retries): must be number
ports: [3610] => Line 4(/services/charon/ports/0): must be number
ulimits: {nofile: 4096} => Line 4(/services/charon/ulimits/nofile): must be integer
ports: ['\''3610'\''] => valid
cpus: 1.5 => valid'
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
