#!/bin/sh
# The npm package docker-compose makes one port of two published ports that are neighbours, and its number is NaN.
#
# Packages: docker-compose 1.5.0 (npm), github.com/docker/cli v29.9.3 with github.com/moby/moby/api v1.56.1 (Go modules: Compose's
#           own wording of ports), in a temporary folder. Needs go 1.26, node and npm.
# Input:    the ports of a consensus client on all addresses, TCP and UDP 9000, and then UDP 9001 for QUIC with them, worded by
#           the function with which "docker ps" and "docker compose ps" do it, in lines as "ps --format json" has them.
# Guess:    two ports, and three: the package makes numbers of them so that a program can look whether all are there.
# Seen:     of the first line two. In the second docker writes the neighbours as one range, 9000-9001->9000-9001/udp; of that the
#           package makes one port, inside and outside NaN, and in JSON null. There is no error.
# So:       a check that looks for 9000/udp or 9001/udp in it misses both. Publishers, in Compose's own line, has each port by
#           itself, as a number.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT

mkdir "$dir/go"
cat >"$dir/go/main.go" <<'END'
package main

import (
	"encoding/json"
	"net/netip"
	"os"

	"github.com/docker/cli/cli/command/formatter"
	"github.com/moby/moby/api/types/container"
)

func published(number uint16, protocol string) container.PortSummary {
	return container.PortSummary{
		IP: netip.MustParseAddr("0.0.0.0"), PrivatePort: number, PublicPort: number, Type: protocol,
	}
}

func main() {
	lines := json.NewEncoder(os.Stdout)
	lines.SetEscapeHTML(false)
	for _, ports := range [][]container.PortSummary{
		{published(9000, "tcp"), published(9000, "udp")},
		{published(9000, "tcp"), published(9000, "udp"), published(9001, "udp")},
	} {
		if lines.Encode(map[string]string{
			"Name": "dv-cl-1", "Command": "client", "State": "running", "Ports": formatter.DisplayablePorts(ports),
		}) != nil {
			panic("not written")
		}
	}
}
END
(
  cd "$dir/go"
  GOMODCACHE=$dir/modules GOCACHE=$dir/cache GOFLAGS=-mod=mod
  export GOMODCACHE GOCACHE GOFLAGS
  go mod init writer
  go get github.com/docker/cli@v29.9.3+incompatible github.com/moby/moby/api@v1.56.1
  go mod tidy
  go build -o "$dir/writer" .
) >&2
(cd "$dir" && npm install --silent --no-audit --no-fund --ignore-scripts docker-compose@1.5.0) >&2
cat >"$dir/read.cjs" <<'END'
const { mapPsOutput } = require("docker-compose");
const lines = require("fs").readFileSync(0, "utf8");
const text = ({ port, protocol = "" }) => `${port}${protocol && "/"}${protocol}`;
for (const { ports } of mapPsOutput(lines, { commandOptions: [["--format", "json"]] }).services) {
  console.log(ports.map(({ exposed, mapped }) => `${text(mapped)} to ${text(exposed)}`).join(", "));
}
END
"$dir/writer" >"$dir/lines"
seen=$(
  sed 's/.*"Ports":"\([^"]*\)".*/docker: \1/' "$dir/lines"
  node "$dir/read.cjs" <"$dir/lines"
)
printf '%s\n' "$seen"
expected='docker: 0.0.0.0:9000->9000/tcp, 0.0.0.0:9000->9000/udp
docker: 0.0.0.0:9000->9000/tcp, 0.0.0.0:9000-9001->9000-9001/udp
9000 to 9000/tcp, 9000 to 9000/udp
9000 to 9000/tcp, NaN to NaN/udp'
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
