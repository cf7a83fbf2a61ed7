#!/bin/sh
# The login for a registry, as the Rust crate bollard sends it, is not what docker's engine reads, depending on the password.
#
# Packages: bollard 0.21.1 and tokio 1.48.0 (Rust crates), github.com/docker/docker v28.5.2 (Go module: the engine's own
#           reader of the header), built in a temporary folder. Needs cargo, go and python3.
# Input:    pulls of one image with two valid logins that differ in the password alone; a small server notes X-Registry-Auth.
# Guess:    the engine reads both logins: its API wants the header in the alphabet of base64 that is safe in URLs (RFC 4648
#           section 5), and bollard's function is called base64_url_encode.
# Seen:     bollard encodes in the standard alphabet. Where that gives neither + nor /, the engine reads the login; with
#           another password it says "illegal base64 data". The pull then fails although name and password are right.
# So:       look at the encoded login before it is sent, or leave the pull to docker's client.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
server=
finish() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  chmod -R u+w "$dir" # Go's module cache is read-only.
  rm -rf "$dir"
}
trap finish EXIT

cat >"$dir/server.py" <<'END'
# Notes the header of every request in a file, and answers with an empty stream.
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        with open(sys.argv[1], "a") as seen:
            print(self.headers.get("X-Registry-Auth", ""), file=seen, flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *words):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
with open(sys.argv[2], "w") as port:
    print(server.server_port, file=port, flush=True)
server.serve_forever()
END
python3 "$dir/server.py" "$dir/headers" "$dir/port" &
server=$!

mkdir -p "$dir/send/src" "$dir/read"
cat >"$dir/send/Cargo.toml" <<'END'
[package]
name = "send"
version = "0.0.0"
edition = "2024"
[dependencies]
bollard = { version = "=0.21.1", default-features = false, features = ["http"] }
futures-util = "=0.3.31"
tokio = { version = "=1.48.0", features = ["rt", "macros"] }
[workspace]
END
cat >"$dir/send/src/main.rs" <<'END'
use bollard::auth::DockerCredentials;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let address = format!("http://127.0.0.1:{}", std::env::args().nth(1).expect("a port"));
    let docker = bollard::Docker::connect_with_http(&address, 10, bollard::API_DEFAULT_VERSION).expect("an address");
    for password in ["correct horse", "correct horse?>?>?>"] {
        let options = CreateImageOptionsBuilder::default().from_image("registry.example/image").tag("1").build();
        let login = DockerCredentials {
            username: Some("ann".to_owned()),
            password: Some(password.to_owned()),
            serveraddress: Some("registry.example".to_owned()),
            ..Default::default()
        };
        let mut events = docker.create_image(Some(options), None, Some(login));
        while events.next().await.is_some() {}
    }
}
END
cat >"$dir/read/main.go" <<'END'
package main

import (
	"bufio"
	"fmt"
	"os"

	"github.com/docker/docker/api/types/registry"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		login, err := registry.DecodeAuthConfig(lines.Text())
		if err != nil {
			fmt.Println("refused:", err)
		} else {
			fmt.Printf("read: %s, %q\n", login.Username, login.Password)
		}
	}
}
END
cat >"$dir/read/go.mod" <<'END'
module example.com/read

go 1.23

require github.com/docker/docker v28.5.2+incompatible
END
(cd "$dir/send" && CARGO_TARGET_DIR="$dir/send/target" cargo build --quiet) >&2
(cd "$dir/read" && GOFLAGS=-mod=mod GOMODCACHE="$dir/modules" go build -o reader .) >&2
while [ ! -s "$dir/port" ]; do sleep 0.1; done
"$dir/send/target/debug/send" "$(cat "$dir/port")"

seen=$("$dir/read/reader" <"$dir/headers")
echo "bollard 0.21.1 sends:"
sed 's/^/  /' "$dir/headers"
echo "the reader of docker v28.5.2 says:"
printf '%s\n' "$seen" | sed 's/^/  /'
expected='read: ann, "correct horse"
refused: invalid X-Registry-Auth header: illegal base64 data at input byte '
case $seen in
"$expected"*) ;;
*)
  echo "this is not what was seen before" >&2
  exit 1
  ;;
esac
