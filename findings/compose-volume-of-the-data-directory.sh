#!/bin/sh
# The Rust crate compose_spec refuses the line by which compose files mount charon's data directory, and an image that is pinned.
#
# Packages: compose_spec 0.3.0 (Rust crate, with which podlet reads compose files to make Podman's Quadlet files of them), and
#           github.com/compose-spec/compose-go v2.16.2 (Go module, with whose like Compose 2 to 5 read), in a temporary folder.
#           Needs cargo and go 1.24.
# Input:    compose files of one service: ".charon:/opt/charon/.charon" and the same with "./" as a volume; an image by its tag,
#           by its digest, and by both, so that it is pinned and people still see its release.
# Guess:    both take all: what starts with a dot is a directory and no volume's name.
# Seen:     compose-go takes all, and the two volumes are the same to it. compose_spec says of ".charon" that a path must start
#           with "." or "..": it means the path's first part, not its first letter. And it wants tag or digest, not both.
# So:       write "./.charon", and the digest alone with the release in a comment, in files that not only Compose reads. A file
#           that podlet refuses with such words need not be wrong.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT

digest=sha256:5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c
mkdir "$dir/files"
file() { # NAME IMAGE VOLUME
  printf 'services:\n  charon:\n    image: example/charon%s\n    volumes:\n      - %s:/opt/charon/.charon\n' "$2" "$3" >"$dir/files/$1"
}
file 1 :v1.10.3 ./.charon
file 2 :v1.10.3 .charon
file 3 "@$digest" ./.charon
file 4 ":v1.10.3@$digest" ./.charon

mkdir "$dir/go"
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
		}, func(options *loader.Options) { options.SetProjectName("project", true) })
		if err != nil {
			fmt.Println("compose-go:", err)
			continue
		}
		charon := project.Services["charon"]
		fmt.Println("compose-go:", charon.Image, charon.Volumes[0].Type, charon.Volumes[0].Source)
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
mkdir -p "$dir/rust/src"
cat >"$dir/rust/Cargo.toml" <<'END'
[package]
name = "read"
version = "0.0.0"
edition = "2021"
[dependencies]
compose_spec = "=0.3.0"
[workspace]
END
cat >"$dir/rust/src/main.rs" <<'END'
use compose_spec::Compose;

fn main() {
    for name in std::env::args().skip(1) {
        let text = std::fs::read_to_string(name).expect("a file");
        match Compose::options().from_yaml_str(&text) {
            Ok(file) => println!("compose_spec: takes {} service", file.services.len()),
            Err(error) => println!("compose_spec: {error}"),
        }
    }
}
END
(cd "$dir/rust" && CARGO_TARGET_DIR="$dir/rust/target" cargo build --quiet) >&2

seen=$(
  "$dir/reader" "$dir"/files/*
  "$dir/rust/target/debug/read" "$dir"/files/*
)
printf '%s\n' "$seen"
expected="compose-go: example/charon:v1.10.3 bind /project/.charon
compose-go: example/charon:v1.10.3 bind /project/.charon
compose-go: example/charon@$digest bind /project/.charon
compose-go: example/charon:v1.10.3@$digest bind /project/.charon
compose_spec: takes 1 service
compose_spec: services.charon.volumes[0]: error parsing volume source: error parsing host path: volume host paths must start with \`.\` or \`..\`, or be absolute at line 5 column 9
compose_spec: takes 1 service
compose_spec: services.charon.image: image cannot have a tag and a digest at line 3 column 12"
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
