#!/bin/sh
# The Python package runlike publishes a port at another port's address, and loses the second word of an entrypoint.
#
# Packages: runlike 1.5.4 (PyPI), github.com/moby/moby/api v1.56.1 (Go module: the engine's own form of "docker inspect"), in a
#           temporary folder. Needs python3 and go 1.26.
# Input:    three containers of charon as "docker inspect" has them, given to "runlike --stdin": monitoring published at 127.0.0.1:3620
#           and at 3621 of all addresses; the same two the other way round; an entrypoint of "sh" and "-c" with a command.
#           A shell reads the lines that come out.
# Guess:    "docker run" has what the container has: runlike says it prints what is needed to run a copy of it.
# Seen:     127.0.0.1 is kept for every binding behind it that has no address: 3621 is at 127.0.0.1 too, where nobody outside
#           reaches it. The other way round both are right. Of the entrypoint "sh" is left: without "-c" the shell looks for a file
#           with the command's name. There is no error.
# So:       compare -p and --entrypoint with HostConfig.PortBindings and Config.Entrypoint in "docker inspect" before a
#           container is made anew from the line.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT

python3 -m venv "$dir/python"
"$dir/python/bin/pip" install -q runlike==1.5.4 >&2
mkdir "$dir/go"
cat >"$dir/go/main.go" <<'END'
package main

import (
	"encoding/json"
	"net/netip"
	"os"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

func main() {
	port := network.MustParsePort("3620/tcp")
	private := network.PortBinding{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: "3620"}
	public := network.PortBinding{HostPort: "3621"}
	for name, change := range map[string]func(*container.InspectResponse){
		"private-first": func(seen *container.InspectResponse) {
			seen.HostConfig.PortBindings = network.PortMap{port: {private, public}}
		},
		"public-first": func(seen *container.InspectResponse) {
			seen.HostConfig.PortBindings = network.PortMap{port: {public, private}}
		},
		"entrypoint": func(seen *container.InspectResponse) {
			seen.Config.Entrypoint = []string{"sh", "-c"}
			seen.Config.Cmd = []string{"exec charon run"}
		},
	} {
		seen := container.InspectResponse{
			Name: "/charon",
			Config: &container.Config{
				Hostname: "node", Image: "example/charon:v1.10.3", Cmd: []string{"run"},
			},
			HostConfig:      &container.HostConfig{NetworkMode: "default"},
			NetworkSettings: &container.NetworkSettings{},
			Mounts:          []container.MountPoint{},
		}
		seen.HostConfig.LogConfig.Type = "json-file"
		seen.HostConfig.RestartPolicy.Name = "no"
		change(&seen)
		text, err := json.Marshal([]container.InspectResponse{seen})
		if err != nil {
			panic(err)
		}
		if err := os.WriteFile(os.Args[1]+"/"+name+".json", text, 0o644); err != nil {
			panic(err)
		}
	}
}
END
(
  cd "$dir/go"
  GOMODCACHE=$dir/modules GOCACHE=$dir/cache GOFLAGS=-mod=mod
  export GOMODCACHE GOCACHE GOFLAGS
  go mod init writer
  go get github.com/moby/moby/api@v1.56.1
  go mod tidy
  go run . "$dir"
) >&2

seen=$(
  for name in private-first public-first entrypoint; do
    "$dir/python/bin/python" - "$dir/$name.json" <<'END'
import json, sys
container = json.load(open(sys.argv[1]))[0]
for bindings in (container["HostConfig"]["PortBindings"] or {}).values():
    print("docker: ports", ", ".join(f"{one['HostIp'] or 'all'} {one['HostPort']}" for one in bindings))
print("docker: runs", (container["Config"]["Entrypoint"] or []) + container["Config"]["Cmd"])
END
    line=$("$dir/python/bin/runlike" --stdin <"$dir/$name.json")
    sh -c 'docker() { printf "runlike:"; printf " [%s]" "$@"; echo; }; '"$line"
  done
)
printf '%s\n' "$seen"
expected="docker: ports 127.0.0.1 3620, all 3621
docker: runs ['run']
runlike: [run] [--name=charon] [--hostname=node] [-p] [127.0.0.1:3620:3620] [-p] [127.0.0.1:3621:3620] [--detach=true] [example/charon:v1.10.3] [run]
docker: ports all 3621, 127.0.0.1 3620
docker: runs ['run']
runlike: [run] [--name=charon] [--hostname=node] [-p] [3621:3620] [-p] [127.0.0.1:3620:3620] [--detach=true] [example/charon:v1.10.3] [run]
docker: runs ['sh', '-c', 'exec charon run']
runlike: [run] [--name=charon] [--hostname=node] [--entrypoint] [sh] [--detach=true] [example/charon:v1.10.3] [exec charon run]"
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
