#!/bin/sh
# The Rust crates serde_yaml and serde_yaml_ng merge mappings one step deep: a service that merges twice has no image, and no error.
#
# Packages: serde_yaml 0.9.34+deprecated and serde_yaml_ng 0.10.0, which goes on with it (Rust crates), github.com/compose-spec/compose-go
#           v2.16.2 (Go module, with whose like Compose 2 to 5 read), in a temporary folder. Needs cargo and go 1.24.
# Input:    a compose file as clusters of several nodes have it: a mapping for every container, one for every charon that merges it,
#           and two services, of which "relay" merges the first and "charon" the second. Value::apply_merge of the crates, which
#           is there to put merged mappings in, and then serde into a struct.
# Guess:    both services have image, user and restart policy: apply_merge goes through the whole file.
# Seen:     compose-go gives both services all. The crates give "relay" all, and "charon" what stands in the second mapping alone:
#           what that one merges stays below a key "<<" in the service. apply_merge says Ok, and serde passes over a
#           key that the struct does not have.
# So:       a check of image or user that is written with these crates sees none where Compose sees one. Look for a "<<" that is left,
#           call apply_merge until none is, or read the output of "docker compose config", which has no merges.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT

cat >"$dir/compose.yaml" <<'END'
x-every: &every
  image: example/charon:v1.10.3
  user: "1000:1000"
x-charon: &charon
  <<: *every
  restart: unless-stopped
services:
  relay:
    <<: *every
    restart: always
  charon:
    <<: *charon
END
mkdir -p "$dir/go" "$dir/rust/src"
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
	project, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  "/project",
		ConfigFiles: []types.ConfigFile{{Filename: os.Args[1]}},
	}, func(options *loader.Options) { options.SetProjectName("project", true) })
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"relay", "charon"} {
		service := project.Services[name]
		fmt.Println("compose-go:", name, service.Image, service.User, service.Restart)
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
cat >"$dir/rust/Cargo.toml" <<'END'
[package]
name = "read"
version = "0.0.0"
edition = "2021"
[dependencies]
serde = { version = "=1.0.228", features = ["derive"] }
serde_yaml = "=0.9.34"
serde_yaml_ng = "=0.10.0"
[workspace]
END
cat >"$dir/rust/src/main.rs" <<'END'
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct File {
    services: BTreeMap<String, Service>,
}

#[derive(Deserialize)]
struct Service {
    image: Option<String>,
    user: Option<String>,
    restart: Option<String>,
}

fn show(reader: &str, file: &File) {
    for name in ["relay", "charon"] {
        let service = &file.services[name];
        let values = [&service.image, &service.user, &service.restart];
        let texts = values.map(|value| value.as_deref().unwrap_or("none"));
        println!("{reader}: {name} {}", texts.join(" "));
    }
}

macro_rules! read {
    ($yaml:ident, $text:expr) => {{
        let mut value: $yaml::Value = $yaml::from_str($text).expect("YAML");
        for step in ["one step", "two steps"] {
            value.apply_merge().expect("merges");
            let file = $yaml::from_value(value.clone()).expect("a compose file");
            show(&format!("{}, {step}", stringify!($yaml)), &file);
        }
    }};
}

fn main() {
    let name = std::env::args().nth(1).expect("a name");
    let text = std::fs::read_to_string(name).expect("a file");
    read!(serde_yaml, &text);
    read!(serde_yaml_ng, &text);
}
END
(cd "$dir/rust" && CARGO_TARGET_DIR="$dir/rust/target" cargo build --quiet) >&2

seen=$(
  "$dir/reader" "$dir/compose.yaml"
  "$dir/rust/target/debug/read" "$dir/compose.yaml"
)
printf '%s\n' "$seen"
expected="compose-go: relay example/charon:v1.10.3 1000:1000 always
compose-go: charon example/charon:v1.10.3 1000:1000 unless-stopped
serde_yaml, one step: relay example/charon:v1.10.3 1000:1000 always
serde_yaml, one step: charon none none unless-stopped
serde_yaml, two steps: relay example/charon:v1.10.3 1000:1000 always
serde_yaml, two steps: charon example/charon:v1.10.3 1000:1000 unless-stopped
serde_yaml_ng, one step: relay example/charon:v1.10.3 1000:1000 always
serde_yaml_ng, one step: charon none none unless-stopped
serde_yaml_ng, two steps: relay example/charon:v1.10.3 1000:1000 always
serde_yaml_ng, two steps: charon example/charon:v1.10.3 1000:1000 unless-stopped"
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
