#!/bin/sh
# The npm package dclint, asked to fix a compose file's order, gives a secret and a directory in memory other modes.
#
# Packages: dclint 3.1.0 with yaml 2.9.1 (npm), github.com/compose-spec/compose-go v2.16.2 (Go module, with whose like Compose 2 to 5
#           read), in a temporary folder. Needs node, npm and go 1.24.
# Input:    a compose file that gives charon its keymanager's token as a secret with mode 0400, a tmpfs with mode 0700, and a config
#           with mode 0o440; "dclint --fix", which sorts keys and sets quotes.
# Guess:    the modes stay, as every value does.
# Seen:     0400 becomes 400 and 0700 becomes 700: dclint reads the file as YAML 1.2, to which a zero in front says nothing, and
#           writes the numbers anew. Compose reads a number with a zero in front as octal, as YAML 1.1 has it, and another as
#           decimal: now the secret is 0620, so that its group may write it, and the tmpfs 1274. 0o440 stays. dclint ends with 0
#           and says nothing of modes. The package yaml, by which it reads and writes, does so on its own.
# So:       write modes as 0o400, which both read alike, and compare "docker compose config" before and after such a fix.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT

mkdir "$dir/go" "$dir/files"
cat >"$dir/files/before.yaml" <<'END'
name: dv
services:
  charon:
    image: example/charon:v1.10.3
    secrets:
      - source: token
        uid: "1000"
        mode: 0400
    configs:
      - source: settings
        target: /opt/charon/settings
        mode: 0o440
    volumes:
      - type: tmpfs
        target: /tmp
        tmpfs:
          mode: 0700
secrets:
  token:
    environment: KEYMANAGER_TOKEN
configs:
  settings:
    content: a setting
END
cp "$dir/files/before.yaml" "$dir/files/after.yaml"
(cd "$dir" && npm install --silent --no-audit --no-fund --ignore-scripts dclint@3.1.0 yaml@2.9.1) >&2
"$dir/node_modules/.bin/dclint" --fix "$dir/files/after.yaml" >"$dir/report" 2>&1
cat >"$dir/go/main.go" <<'END'
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

func main() {
	for _, name := range os.Args[1:] {
		project, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
			WorkingDir:  "/project",
			ConfigFiles: []types.ConfigFile{{Filename: name}},
			Environment: types.Mapping{"KEYMANAGER_TOKEN": "a token"},
		})
		if err != nil {
			panic(err)
		}
		charon := project.Services["charon"]
		fmt.Printf("compose-go: secret %04o, tmpfs %04o, config %04o\n",
			*charon.Secrets[0].Mode, charon.Volumes[0].Tmpfs.Mode, *charon.Configs[0].Mode)
	}
}
END
(
  cd "$dir/go"
  GOMODCACHE=$dir/modules GOCACHE=$dir/cache GOFLAGS=-mod=mod
  export GOMODCACHE GOCACHE GOFLAGS
  go mod init reader
  go get github.com/compose-spec/compose-go/v2@v2.16.2
  go mod tidy
  go build -o "$dir/reader" .
) >&2
seen=$(
  for name in before after; do
    printf '%s:' "$name"
    sed -n 's/^ *mode: / /p' "$dir/files/$name.yaml" | sort | tr -d '\n'
    printf '\n'
  done
  "$dir/reader" "$dir/files/before.yaml" "$dir/files/after.yaml"
  printf 'dclint says "mode": %s times\n' "$(grep -ci mode "$dir/report")"
  cd "$dir"
  node -p '"yaml: " + require("yaml").parseDocument("mode: 0400").toString().trim()'
)
printf '%s\n' "$seen"
expected="before: 0400 0700 0o440
after: 0o440 400 700
compose-go: secret 0400, tmpfs 0700, config 0440
compose-go: secret 0620, tmpfs 1274, config 0440
dclint says \"mode\": 0 times
yaml: mode: 400"
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
