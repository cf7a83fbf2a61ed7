#!/bin/sh
# The npm package composerize makes a directory writable that a docker run line mounts read-only, and says nothing.
#
# Packages: composerize 1.7.6 (npm), github.com/compose-spec/compose-go v2.16.2 (Go module, with whose like Compose 2 to 5 read), in a
#           temporary folder. Needs go 1.24, node and npm.
# Input:    docker run lines for charon, made compose files, with its data directory mounted read-only by -v or by --mount; with
#           the image by its digest; with --stop-timeout.
# Guess:    files that Compose reads, and that mean what the lines mean.
# Seen:     of "-v …:ro" so it is. Of "--mount …,readonly", as docker's manual has it, the last word is left out, since no "=" is
#           in it: the container may write. Of an image by its digest the service is called charon@sha256, which Compose refuses,
#           with --name as well; of --stop-timeout 90 there is stop_grace_period "90", which Compose refuses for want of a unit.
# So:       look in such a file for read_only before it is used: what is refused is seen, this is not.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT

(cd "$dir" && npm install --silent --no-audit --no-fund --ignore-scripts composerize@1.7.6) >&2
cat >"$dir/write.cjs" <<'END'
const composerize = require("composerize");
const { writeFileSync } = require("fs");
const image = "example/charon:v1.10.3";
[
  `-v /srv/dv/.charon:/opt/charon/.charon:ro ${image}`,
  `--mount type=bind,source=/srv/dv/.charon,target=/opt/charon/.charon,readonly ${image}`,
  `--name charon example/charon@sha256:${"5c".repeat(32)}`,
  `--stop-timeout 90 ${image}`,
].forEach((words, number) => {
  // The project's name is left to be filled in.
  const file = composerize(`docker run ${words}`).replace(/^name: .*$/m, "name: dv");
  writeFileSync(`${process.argv[2]}/${number + 1}.yaml`, file);
});
END
mkdir "$dir/files" "$dir/go"
node "$dir/write.cjs" "$dir/files"
cat >"$dir/go/main.go" <<'END'
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

func main() {
	for _, name := range os.Args[1:] {
		project, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
			WorkingDir:  "/project",
			ConfigFiles: []types.ConfigFile{{Filename: name}},
		})
		if err != nil {
			lines := strings.Split(err.Error(), "\n")
			fmt.Println("refused:", strings.TrimPrefix(lines[len(lines)-1], "validating "+name+": "))
			continue
		}
		for _, volume := range project.Services["charon"].Volumes {
			fmt.Println("read:", volume.Type, volume.Source, "read-only:", volume.ReadOnly)
		}
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
seen=$("$dir/reader" "$dir"/files/*)
printf '%s\n' "$seen"
expected="read: bind /srv/dv/.charon read-only: true
read: bind /srv/dv/.charon read-only: false
refused: services additional properties 'charon@sha256' not allowed
refused: 'services[charon].stop_grace_period' time: missing unit in duration \"90\""
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
