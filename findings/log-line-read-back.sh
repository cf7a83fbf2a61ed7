#!/bin/sh
# Three readers of logfmt make something else of a line that Go's writer of logfmt has escaped, and none of them says so.
#
# Packages: github.com/go-logfmt/logfmt v0.6.0 (Go module), logfmt 1.4.0 (npm), logfmt 0.4 (PyPI), logfmt 0.0.2 (Rust crate), in
#           a temporary folder. Needs go, node, npm, python3 and cargo.
# Input:    lines that Go's package wrote: an error of two lines, and a text that ends in a backslash, each with a peer behind it.
# Guess:    whoever reads logfmt takes the escapes back, as Go's reader does, or refuses the line.
# Seen:     Go's reader gives back what was written. npm's drops the backslash alone: "first\nsecond" becomes "firstnsecond".
#           PyPI's gives True for the text, and has lost the peer. The crate leaves \n as it is, and takes the quotation mark
#           behind the last two backslashes for an escaped one: the peer has become part of the text.
# So:       where one of these reads charon's log, whose errors have a stack of several lines as one field, --log-format json
#           is the better format; a message or a peer that is not there may have been in the line.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
finish() {
  chmod -R u+w "$dir" # Go's module cache is read-only.
  rm -rf "$dir"
}
trap finish EXIT

mkdir -p "$dir/go" "$dir/rust/src"
cat >"$dir/go/go.mod" <<'END'
module example.com/lines

go 1.21

require github.com/go-logfmt/logfmt v0.6.0
END
cat >"$dir/go/main.go" <<'END'
package main

import (
	"fmt"
	"os"

	"github.com/go-logfmt/logfmt"
)

func main() {
	if len(os.Args) > 1 {
		lines := logfmt.NewEncoder(os.Stdout)
		for _, text := range []string{"first\nsecond", `not in C:\charon\`} {
			if lines.EncodeKeyvals("msg", text, "peer", "happy-cat") != nil || lines.EndRecord() != nil {
				panic("not written")
			}
		}
		return
	}
	lines := logfmt.NewDecoder(os.Stdin)
	for lines.ScanRecord() {
		for lines.ScanKeyval() {
			fmt.Printf("[%s=%q]", lines.Key(), lines.Value())
		}
		fmt.Println()
	}
}
END
cat >"$dir/read.cjs" <<'END'
const { parse } = require("logfmt");
for (const line of require("fs").readFileSync(0, "utf8").trim().split("\n"))
  console.log(Object.entries(parse(line)).map(([key, value]) => `[${key}=${JSON.stringify(value)}]`).join(""));
END
cat >"$dir/read.py" <<'END'
import json, logfmt, sys
for pairs in logfmt.parse(sys.stdin):
    print("".join(f"[{key}={json.dumps(value)}]" for key, value in pairs.items()))
END
cat >"$dir/rust/Cargo.toml" <<'END'
[package]
name = "read"
version = "0.0.0"
edition = "2021"
[dependencies]
logfmt = "=0.0.2"
[workspace]
END
cat >"$dir/rust/src/main.rs" <<'END'
fn main() {
    for line in std::io::stdin().lines() {
        for pair in logfmt::parse(&line.expect("text")) {
            print!("[{}={:?}]", pair.key, pair.val.unwrap_or_default());
        }
        println!();
    }
}
END
(cd "$dir/go" && GOFLAGS=-mod=mod GOMODCACHE="$dir/modules" go build -o lines .) >&2
(cd "$dir" && npm install --silent --no-audit --no-fund --ignore-scripts logfmt@1.4.0) >&2
python3 -m venv "$dir/python"
"$dir/python/bin/pip" install -q logfmt==0.4 >&2
(cd "$dir/rust" && CARGO_TARGET_DIR="$dir/rust/target" cargo build --quiet) >&2

"$dir/go/lines" write >"$dir/written"
seen=$(
  cat "$dir/written"
  echo "Go:"
  "$dir/go/lines" <"$dir/written"
  echo "npm:"
  node "$dir/read.cjs" <"$dir/written"
  echo "PyPI:"
  "$dir/python/bin/python" "$dir/read.py" <"$dir/written"
  echo "Rust:"
  "$dir/rust/target/debug/read" <"$dir/written"
)
printf '%s\n' "$seen"
expected='msg="first\nsecond" peer=happy-cat
msg="not in C:\\charon\\" peer=happy-cat
Go:
[msg="first\nsecond"][peer="happy-cat"]
[msg="not in C:\\charon\\"][peer="happy-cat"]
npm:
[msg="firstnsecond"][peer="happy-cat"]
[msg="not in C:\\charon\\"][peer="happy-cat"]
PyPI:
[msg=true]
[msg=true]
Rust:
[msg="first\\nsecond"][peer="happy-cat"]
[msg="not in C:\\charon\" peer=happy-cat"]'
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
