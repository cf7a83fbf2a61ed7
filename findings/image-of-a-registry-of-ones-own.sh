#!/bin/sh
# The npm package docker-parse-image puts "library/" into the name of an image from a registry of one's own, and a colon before a digest.
#
# Packages: docker-parse-image 3.0.1 and @swimlane/docker-reference 2.0.1 (npm), github.com/distribution/reference v0.6.0 (Go module, with
#           which docker reads names), in a temporary folder. Needs go 1.24, node and npm.
# Input:    names of charon's image as projects have them: from Docker Hub, from a mirror in the house, pinned by its digest, and from
#           a registry with more than one directory.
# Guess:    the full name that docker makes of each: library/ is Docker Hub's own directory, for names without one, and a digest
#           stands behind an at sign.
# Seen:     of "mirror:5000/charon:v1.10.3" the package makes "mirror:5000/library/charon:v1.10.3", which is another image of that
#           registry, or none. Before a digest alone it puts a colon, "charon:sha256:5c…", and docker calls that no name. Of the last
#           it makes null. @swimlane/docker-reference agrees with docker everywhere.
# So:       a program that compares or pulls by "fullname" looks for images that nobody has. "registry", "namespace" and "repository" are
#           right where there is no digest; put the name together from them.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT

digest=sha256:5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c
set -- example/charon:v1.10.3 mirror:5000/charon:v1.10.3 "mirror:5000/charon@$digest" "example/charon:v1.10.3@$digest" \
  registry.example/dv/nodes/charon:v1.10.3
(
  cd "$dir"
  npm install --silent --no-audit --no-fund --ignore-scripts docker-parse-image@3.0.1 @swimlane/docker-reference@2.0.1
) >&2
cat >"$dir/read.cjs" <<'END'
const parse = require("docker-parse-image");
const { parseFamiliarName } = require("@swimlane/docker-reference");
for (const name of process.argv.slice(2)) {
  const read = parse(name);
  console.log("docker-parse-image:", read && read.fullname);
  console.log("docker-reference:", parseFamiliarName(name).toString());
}
END
mkdir "$dir/go"
cat >"$dir/go/main.go" <<'END'
package main

import (
	_ "crypto/sha256"
	"fmt"
	"os"

	"github.com/distribution/reference"
)

func main() {
	for _, name := range os.Args[1:] {
		read, err := reference.ParseNormalizedNamed(name)
		if err != nil {
			fmt.Println("docker:", err)
			continue
		}
		fmt.Println("docker:", read)
	}
}
END
(
  cd "$dir/go"
  GOMODCACHE=$dir/modules GOCACHE=$dir/cache GOFLAGS=-mod=mod
  export GOMODCACHE GOCACHE GOFLAGS
  go mod init reader
  go get github.com/distribution/reference@v0.6.0
  go build -o "$dir/reader" .
) >&2
seen=$(
  "$dir/reader" "$@"
  node "$dir/read.cjs" "$@"
  "$dir/reader" "mirror:5000/library/charon:$digest"
)
seen=$(printf '%s\n' "$seen" | sed "s/$digest/DIGEST/g")
printf '%s\n' "$seen"
expected='docker: docker.io/example/charon:v1.10.3
docker: mirror:5000/charon:v1.10.3
docker: mirror:5000/charon@DIGEST
docker: docker.io/example/charon:v1.10.3@DIGEST
docker: registry.example/dv/nodes/charon:v1.10.3
docker-parse-image: example/charon:v1.10.3
docker-reference: docker.io/example/charon:v1.10.3
docker-parse-image: mirror:5000/library/charon:v1.10.3
docker-reference: mirror:5000/charon:v1.10.3
docker-parse-image: mirror:5000/library/charon:DIGEST
docker-reference: mirror:5000/charon@DIGEST
docker-parse-image: example/charon:v1.10.3@DIGEST
docker-reference: docker.io/example/charon:v1.10.3@DIGEST
docker-parse-image: null
docker-reference: registry.example/dv/nodes/charon:v1.10.3
docker: invalid reference format'
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
