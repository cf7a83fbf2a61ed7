#!/bin/sh
# An apostrophe in one variable of a compose file takes the variables behind it away, in the file that podlet makes for Podman.
#
# Packages: podlet 0.3.2 (Rust crate), github.com/containers/podman/v5 v5.8.0 (Go module: Quadlet, which makes systemd's units of
#           such files), in a temporary folder. Needs cargo and go 1.25.
# Input:    compose files of one charon with four variables, of which the second has an apostrophe, JSON without or with a blank in it,
#           or a backslash. podlet writes charon.container, and Quadlet makes the line for podman of it.
# Guess:    four times --env, with the values of the compose file: Quadlet reads Environment= as systemd does, whose systemd.syntax(7)
#           has quotation marks and escapes for that.
# Seen:     podlet quotes and escapes a value with a blank, as the second JSON, and writes every other as it is. Behind an apostrophe
#           all variables become part of the value: charon has neither its beacon node nor its network. The first JSON has no
#           quotation marks any more, and of "\b" a control character is made. Neither program says a word.
# So:       look at "podman-system-generator --dryrun" before such a file is used, or put such variables into a file that
#           EnvironmentFile= names.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT

CARGO_TARGET_DIR="$dir/target" cargo install --quiet --locked --root "$dir/podlet" podlet@0.3.2 >&2
mkdir "$dir/go"
(
  cd "$dir/go"
  GOMODCACHE=$dir/modules GOCACHE=$dir/cache GOFLAGS=-mod=mod CGO_ENABLED=0
  export GOMODCACHE GOCACHE GOFLAGS CGO_ENABLED
  go mod init reader
  go get github.com/containers/podman/v5/cmd/quadlet@v5.8.0
  go build -tags remote,containers_image_openpgp,exclude_graphdriver_btrfs -o "$dir/quadlet" \
    github.com/containers/podman/v5/cmd/quadlet
) >&2

convert() { # VALUE, as YAML has it
  rm -rf "$dir/units"
  mkdir "$dir/units"
  cat >"$dir/compose.yaml" <<YAML
services:
  charon:
    image: docker.io/example/charon:v1.10.3
    environment:
      CHARON_LOG_LEVEL: debug
      CHARON_NICKNAME: $1
      CHARON_BEACON_NODE_ENDPOINTS: http://beacon:5052
      NETWORK: hoodi
YAML
  (cd "$dir" && "$dir/podlet/bin/podlet" --file units compose compose.yaml) >&2
  grep '^Environment=' "$dir/units/charon.container"
  # Quadlet writes a blank within a word as \x20.
  QUADLET_UNIT_DIRS="$dir/units" "$dir/quadlet" -dryrun -user 2>/dev/null |
    sed -n 's/^ExecStart=//p' | tr ' ' '\n' | sed -n '/^--env$/{n;s/\\x20/ /g;s/^/  /p;}'
}
seen=$(
  convert plain
  convert "it's"
  convert "'{\"of\":\"it\"}'"
  convert "'{\"of\": \"it\"}'"
  convert "'a\\b'"
)
printf '%s\n' "$seen"
expected='Environment=CHARON_LOG_LEVEL=debug CHARON_NICKNAME=plain CHARON_BEACON_NODE_ENDPOINTS=http://beacon:5052 NETWORK=hoodi
  CHARON_BEACON_NODE_ENDPOINTS=http://beacon:5052
  CHARON_LOG_LEVEL=debug
  CHARON_NICKNAME=plain
  NETWORK=hoodi
Environment=CHARON_LOG_LEVEL=debug CHARON_NICKNAME=it'\''s CHARON_BEACON_NODE_ENDPOINTS=http://beacon:5052 NETWORK=hoodi
  CHARON_LOG_LEVEL=debug
  "CHARON_NICKNAME=its CHARON_BEACON_NODE_ENDPOINTS=http://beacon:5052 NETWORK=hoodi"
Environment=CHARON_LOG_LEVEL=debug CHARON_NICKNAME={"of":"it"} CHARON_BEACON_NODE_ENDPOINTS=http://beacon:5052 NETWORK=hoodi
  CHARON_BEACON_NODE_ENDPOINTS=http://beacon:5052
  CHARON_LOG_LEVEL=debug
  CHARON_NICKNAME={of:it}
  NETWORK=hoodi
Environment=CHARON_LOG_LEVEL=debug "CHARON_NICKNAME={\"of\": \"it\"}" CHARON_BEACON_NODE_ENDPOINTS=http://beacon:5052 NETWORK=hoodi
  CHARON_BEACON_NODE_ENDPOINTS=http://beacon:5052
  CHARON_LOG_LEVEL=debug
  "CHARON_NICKNAME={\"of\": \"it\"}"
  NETWORK=hoodi
Environment=CHARON_LOG_LEVEL=debug CHARON_NICKNAME=a\b CHARON_BEACON_NODE_ENDPOINTS=http://beacon:5052 NETWORK=hoodi
  CHARON_BEACON_NODE_ENDPOINTS=http://beacon:5052
  CHARON_LOG_LEVEL=debug
  "CHARON_NICKNAME=a\b"
  NETWORK=hoodi'
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
