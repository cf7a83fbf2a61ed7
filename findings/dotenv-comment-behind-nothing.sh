#!/bin/sh
# A comment behind an empty variable in .env becomes the variable's value in Compose, and one behind a tab belongs to it.
#
# Packages: github.com/compose-spec/compose-go v2.16.2, with whose like Compose 2 to 5 read .env, and github.com/joho/godotenv v1.5.1
#           (Go modules); python-dotenv 0.21.1 (PyPI), Compose 1.29's; dotenv 18.0.10 (npm); in a temporary folder. Needs go 1.24,
#           python3, node and npm.
# Input:    lines of a .env file that is aligned by hand: a version with a comment after a blank or a tab, and one that is still
#           empty with a comment.
# Guess:    everywhere "v1.10.3" and an empty value, as a shell that sources the file has it; at worst all readers agree.
# Seen:     of the empty variable, compose-go, godotenv and python-dotenv say "# to be agreed", so "${CHARON_VERSION:-v1.10.3}" in
#           a compose file is not the default but "# to be agreed"; npm's dotenv says nothing. After a tab compose-go keeps the
#           comment as part of the value, and the other three do not: a file that Compose 1.29 understands gives
#           Compose 2 an image's tag with a tab in it.
# So:       put comments on lines of their own. Who reads .env for Compose has to read it as that does.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT

cat >"$dir/lines" <<'END'
CHARON_VERSION=v1.10.3 # agreed
CHARON_VERSION=v1.10.3	# agreed
CHARON_VERSION= # to be agreed
CHARON_VERSION=	# to be agreed
END

mkdir "$dir/go"
cat >"$dir/go/main.go" <<'END'
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	compose "github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/joho/godotenv"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		one, err := compose.Parse(strings.NewReader(lines.Text()))
		if err != nil {
			panic(err)
		}
		other, err := godotenv.Unmarshal(lines.Text())
		if err != nil {
			panic(err)
		}
		fmt.Printf("compose-go %q, godotenv %q\n", one["CHARON_VERSION"], other["CHARON_VERSION"])
	}
}
END
(
  cd "$dir/go"
  GOMODCACHE=$dir/modules GOCACHE=$dir/cache GOFLAGS=-mod=mod
  export GOMODCACHE GOCACHE GOFLAGS
  go mod init readers
  go get github.com/compose-spec/compose-go/v2@v2.16.2 github.com/joho/godotenv@v1.5.1
  go mod tidy
  go build -o "$dir/readers" .
) >&2
python3 -m venv "$dir/python"
"$dir/python/bin/pip" install -q python-dotenv==0.21.1 >&2
(cd "$dir" && npm install --silent --no-audit --no-fund --ignore-scripts dotenv@18.0.10) >&2
cat >"$dir/read.py" <<'END'
import io, json, sys
from dotenv import dotenv_values
for line in sys.stdin:
    print("python-dotenv", json.dumps(dotenv_values(stream=io.StringIO(line), interpolate=True)["CHARON_VERSION"]))
END
cat >"$dir/read.cjs" <<'END'
const { parse } = require("dotenv");
for (const line of require("fs").readFileSync(0, "utf8").trimEnd().split("\n"))
  console.log("npm's dotenv", JSON.stringify(parse(line).CHARON_VERSION));
END
"$dir/readers" <"$dir/lines" >"$dir/1"
"$dir/python/bin/python" "$dir/read.py" <"$dir/lines" >"$dir/2"
node "$dir/read.cjs" <"$dir/lines" >"$dir/3"
# What a shell has after it has read the line.
while IFS= read -r line; do
  sh -c "$line
printf 'sh \"%s\"\n' \"\$CHARON_VERSION\""
done <"$dir/lines" >"$dir/4"
seen=$(paste -d ';' "$dir/1" "$dir/2" "$dir/3" "$dir/4")
printf '%s\n' "$seen"
expected='compose-go "v1.10.3", godotenv "v1.10.3";python-dotenv "v1.10.3";npm'\''s dotenv "v1.10.3";sh "v1.10.3"
compose-go "v1.10.3\t# agreed", godotenv "v1.10.3";python-dotenv "v1.10.3";npm'\''s dotenv "v1.10.3";sh "v1.10.3"
compose-go "# to be agreed", godotenv "# to be agreed";python-dotenv "# to be agreed";npm'\''s dotenv "";sh ""
compose-go "# to be agreed", godotenv "# to be agreed";python-dotenv "# to be agreed";npm'\''s dotenv "";sh ""'
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
