#!/bin/sh
# The Python package podman mounts a directory read-only if another one is, and both share a list of options.
#
# Packages: podman 5.8.0 (PyPI, podman-py), in a temporary folder. Needs python3.
# Input:    a container of charon with two directories of the host, its own read-only ("mode": "ro") and one for logs without a mode, both
#           with "extended_mode": ["z"]: as a list for each, as one list for both, and that once more for a second container. A
#           small server in podman's place notes what it is asked to create.
# Guess:    z and ro for the first directory and z alone for the second, every time: "mode" belongs to its own volume, and a list
#           that a caller hands over is only read.
# Seen:     with a list for each that is so. With one list the first directory's mode is put into the caller's list: podman is asked
#           to mount the logs read-only too, and charon cannot write them. For the second container "ro" is there twice. The
#           package gives no error.
# So:       write the list anew for every volume and every call; a constant at the top of a program is changed by the first.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

python3 -m venv "$dir/python"
"$dir/python/bin/pip" install -q podman==5.8.0 >&2
cat >"$dir/create.py" <<'END'
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from podman import PodmanClient


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
        for mount in body["mounts"]:
            print(f"{name}: {mount['destination']} {' '.join(mount['options'])}")
        self.answer(201, {"Id": "1", "Warnings": []})

    def log_message(self, *words):
        pass


server = HTTPServer(("127.0.0.1", 0), Engine)
threading.Thread(target=server.serve_forever, daemon=True).start()
shared = ["z"]
with PodmanClient(base_url=f"tcp://127.0.0.1:{server.server_port}") as podman:
    for name, lists in (
        ("a list for each", (["z"], ["z"])),
        ("one list", (shared, shared)),
        ("one list again", (shared, shared)),
    ):
        podman.containers.create("example/charon:v1.10.3", volumes={
            "/srv/charon": {"bind": "/opt/charon/.charon", "mode": "ro", "extended_mode": lists[0]},
            "/srv/logs": {"bind": "/logs", "extended_mode": lists[1]},
        })
END
seen=$("$dir/python/bin/python" "$dir/create.py")
printf '%s\n' "$seen"
expected="a list for each: /opt/charon/.charon z ro
a list for each: /logs z
one list: /opt/charon/.charon z ro
one list: /logs z ro
one list again: /opt/charon/.charon z ro ro
one list again: /logs z ro ro"
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
