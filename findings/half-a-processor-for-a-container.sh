#!/bin/sh
# The Python package podman takes a limit on processors that it documents, and makes the container without one.
#
# Packages: podman 5.8.0 (PyPI, podman-py) and docker 7.2.0 (PyPI, docker-py), in a temporary folder. Needs python3.
# Input:    a container of charon with half a processor and 512 MiB: nano_cpus=500000000, "CPU quota in units of 1e-9 CPUs" in both
#           packages, and mem_limit="512m"; then the same half with cpu_period and cpu_quota. A small server in the engine's place
#           notes what it is asked to create.
# Guess:    both packages ask for the limits they were given: podman's is written to be called like docker's, and raises a TypeError
#           for what podman does not have, for example blkio_weight.
# Seen:     docker's asks for 500000000 billionths. podman's asks for the memory, and drops nano_cpus: the container may take every
#           processor of the machine. There is no error. With cpu_period and cpu_quota both ask for a half.
# So:       give cpu_period=100000 and cpu_quota=50000, and look into cpu.max in the container whether a limit is there.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

python3 -m venv "$dir/python"
"$dir/python/bin/pip" install -q podman==5.8.0 docker==7.2.0 >&2
cat >"$dir/create.py" <<'END'
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import docker
import podman


class Engine(BaseHTTPRequestHandler):
    def answer(self, status, value):
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        self.answer(200, {"Id": "1"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if host := body.get("HostConfig"):
            wanted = {name: host.get(name) for name in ("NanoCpus", "CpuPeriod", "CpuQuota", "Memory")}
        else:
            limits = body["resource_limits"]
            wanted = {**limits.get("cpu", {}), "memory": limits["memory"]["limit"]}
        print(f"{who}:", " ".join(f"{name}={value}" for name, value in wanted.items() if value))
        self.answer(201, {"Id": "1", "Warnings": []})

    def log_message(self, *words):
        pass


server = HTTPServer(("127.0.0.1", 0), Engine)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"tcp://127.0.0.1:{server.server_port}"
clients = {"docker": docker.DockerClient(base_url=url, version="1.43"), "podman": podman.PodmanClient(base_url=url)}
for limit in ({"nano_cpus": 500000000}, {"cpu_period": 100000, "cpu_quota": 50000}):
    for who, client in clients.items():
        client.containers.create("example/charon:v1.10.3", mem_limit="512m", **limit)
try:
    clients["podman"].containers.create("example/charon:v1.10.3", blkio_weight=500)
except TypeError as error:
    print("podman, blkio_weight:", type(error).__name__)
END
seen=$("$dir/python/bin/python" "$dir/create.py")
printf '%s\n' "$seen"
expected="docker: NanoCpus=500000000 Memory=536870912
podman: memory=536870912
docker: CpuPeriod=100000 CpuQuota=50000 Memory=536870912
podman: period=100000 quota=50000 memory=536870912
podman, blkio_weight: TypeError"
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
