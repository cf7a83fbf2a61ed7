#!/bin/sh
# The Python package python-on-whales takes what a container received from the network for what it sent, and the other way round.
#
# Packages: python-on-whales 0.81.0 (PyPI), docker-cli 26.1.5+dfsg1-9 (Debian trixie), in a temporary folder. Needs Debian, root
#           and python3.
# Input:    the statistics of a container that received 1,000 bytes, and sent 2,000,000, as a charon does that answers many peers. A
#           small server in the engine's place gives them; docker itself and container.stats of the package, which calls docker, show
#           them.
# Guess:    net_download is 1000 and net_upload 2000000. docker's NET I/O is "the amount of data the container has received
#           and sent over its network interface", in this order.
# Seen:     docker says 1kB / 2MB. The package has net_upload 1000 and net_download 2000000. There is no error.
# So:       read the two the other way round, or ask the engine, whose rx_bytes and tx_bytes cannot be mixed up: a limit on
#           outgoing traffic that is watched with net_upload is never reached.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
# shellcheck disable=SC2016 # apt expands these.
source=$(apt-get indextargets --format '$(CODENAME)|$(COMPONENT)|$(REPO_URI)|$(SIGNED_BY)' 'Created-By: Packages' |
  sed -n "s/^$suite|main|//p" | head -n 1)
key=${source#*|}
case $key in /*) key="[signed-by=$key] " ;; *) key= ;; esac

mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial"
echo "deb $key${source%%|*} trixie main" >"$dir/apt/sources.list"
for name in 'Etc::SourceParts "/dev/null"' 'Etc::Preferences "/dev/null"' 'Etc::PreferencesParts "/dev/null"' \
  "Etc::SourceList \"$dir/apt/sources.list\"" "State \"$dir/apt\"" "State::Lists \"$dir/apt/lists\"" \
  'State::Status "/dev/null"' "Cache \"$dir/apt/cache\""; do echo "Dir::$name;"; done >"$dir/apt/apt.conf"
echo 'APT::Sandbox::User "root"; APT::Install-Recommends "false";' >>"$dir/apt/apt.conf"
(cd "$dir" && export APT_CONFIG="$dir/apt/apt.conf" && apt-get -qq update && apt-get -qq download docker-cli) >&2
dpkg-deb -x "$dir"/docker-cli_*.deb "$dir/debian"
python3 -m venv "$dir/python"
"$dir/python/bin/pip" install -q python-on-whales==0.81.0 >&2

cat >"$dir/stats.py" <<'END'
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from python_on_whales import DockerClient


class Engine(BaseHTTPRequestHandler):
    def version_string(self):
        return "Docker/26.1.5 (linux)"

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        text = json.dumps({
            "id": "1" * 64,
            "name": "/charon",
            "networks": {"eth0": {"rx_bytes": 1000, "tx_bytes": 2000000}},
        } if "/stats" in self.path else {}).encode()
        self.send_response(200)
        self.send_header("Api-Version", "1.45")
        self.send_header("Ostype", "linux")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(text)

    def log_message(self, *words):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
threading.Thread(target=server.serve_forever, daemon=True).start()
host = f"tcp://127.0.0.1:{server.server_port}"
line = [sys.argv[1], "--host", host, "container", "stats", "--no-stream", "--format", "{{.NetIO}}", "charon"]
print("docker: NET I/O", subprocess.check_output(line, text=True).strip())
stats = DockerClient(host=host, client_call=[sys.argv[1]]).container.stats("charon")[0]
print("python-on-whales: net_download", int(stats.net_download))
print("python-on-whales: net_upload", int(stats.net_upload))
END
seen=$("$dir/python/bin/python" "$dir/stats.py" "$dir/debian/usr/bin/docker")
printf '%s\n' "$seen"
expected="docker: NET I/O 1kB / 2MB
python-on-whales: net_download 2000000
python-on-whales: net_upload 1000"
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
