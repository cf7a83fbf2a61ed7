#!/bin/sh
# A health check that a compose file has as one line becomes a probe that cannot pass, when kompose makes Kubernetes files of it.
#
# Packages: github.com/kubernetes/kompose v1.38.0 (Go module), in a temporary folder. Needs go 1.25 and python3.
# Input:    a compose file of three charons with one health check: as a string, as most have it, as a list that begins with CMD-SHELL,
#           and as one that begins with CMD. The words of each probe that comes out are run as Kubernetes runs them, without a shell.
# Guess:    three probes that pass: Compose says of the string that it is the same as CMD-SHELL with that string, which a shell
#           reads; so there should be a shell in the first two, with -c and the line.
# Seen:     kompose takes CMD-SHELL away as it does CMD, and leaves the line as one word. Kubernetes looks for a program of that name
#           and finds none: the probe fails each time, and as it is a livenessProbe, the container is killed and started anew
#           for ever, however well it is. There is no warning.
# So:       write ["CMD", "/bin/sh", "-c", "…"] before such files are made, which means the same to Compose.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT

mkdir "$dir/go"
(
  cd "$dir/go"
  GOMODCACHE=$dir/modules GOCACHE=$dir/cache GOFLAGS=-mod=mod
  export GOMODCACHE GOCACHE GOFLAGS
  go mod init converter
  go get github.com/kubernetes/kompose@v1.38.0
  go build -o "$dir/kompose" github.com/kubernetes/kompose
) >&2
cat >"$dir/compose.yaml" <<'END'
name: dv
services:
  charon-1:
    image: example/charon
    ports: ["3610:3610"]
    healthcheck: {test: "test -d / || exit 1"}
  charon-2:
    image: example/charon
    ports: ["3611:3610"]
    healthcheck: {test: ["CMD-SHELL", "test -d / || exit 1"]}
  charon-3:
    image: example/charon
    ports: ["3612:3610"]
    healthcheck: {test: ["CMD", "/bin/sh", "-c", "test -d / || exit 1"]}
END
cat >"$dir/probe.py" <<'END'
import json, subprocess, sys

for name in sys.argv[1:]:
    made = json.load(open(name))
    container = made["spec"]["template"]["spec"]["containers"][0]
    words = container["livenessProbe"]["exec"]["command"]
    try:
        ended = subprocess.run(words).returncode
    except FileNotFoundError:
        ended = "no such program"
    print(made["metadata"]["name"], json.dumps(words), ended)
END
mkdir "$dir/out"
"$dir/kompose" convert --json --out "$dir/out/" --file "$dir/compose.yaml" >&2
seen=$(python3 "$dir/probe.py" "$dir"/out/*-deployment.json)
printf '%s\n' "$seen"
expected='charon-1 ["test -d / || exit 1"] no such program
charon-2 ["test -d / || exit 1"] no such program
charon-3 ["/bin/sh", "-c", "test -d / || exit 1"] 0'
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
