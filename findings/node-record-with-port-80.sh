#!/bin/sh
# The npm package @chainsafe/enr writes a node record (ENR) with port 80 that Rust's enr refuses, and cannot read Go's.
#
# Packages: @chainsafe/enr 5.0.0 (npm), github.com/ethereum/go-ethereum v1.17.10 (Go module: its p2p/enr), enr 0.14.0 (Rust crate),
#           in a temporary folder. Needs node, npm, go 1.24 and cargo.
# Input:    records of one throw-away key with an address and a TCP port, as charon's had until v0.13 and consensus clients' have:
#           port 3610 and port 80, written by JavaScript and by Go, and read by all three.
# Guess:    both ports alike, everywhere: EIP-778 says of the port that it is a big endian integer, and RLP wants integers without
#           leading zeros, so a port below 256 is one byte.
# Seen:     3610 is read by all. Of 80 @chainsafe/enr writes two bytes, 00 50. Rust's package refuses that whole record for its
#           leading zero, and Go's takes it for one without a port and says nothing. The one byte of Go's record is read by
#           Rust's, while @chainsafe/enr reads the record and then fails at its port: it wants two bytes.
# So:       whoever writes records with that package had better listen above 255; a node "without a port" may have a low one.
#           Release 6.0.2 of the package reads one byte, and its setters still write two.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT

(cd "$dir" && npm install --silent --no-audit --no-fund --ignore-scripts @chainsafe/enr@5.0.0) >&2
cat >"$dir/node.mjs" <<'END'
import { readFileSync } from "node:fs";
import { ENR, SignableENR } from "@chainsafe/enr";
if (process.argv[2] === "write") {
  for (const port of [3610, 80]) {
    const record = SignableENR.createV4(new Uint8Array(32).fill(0x11));
    record.ip = "192.0.2.7";
    record.tcp = port;
    console.log(`JavaScript ${port} ${record.encodeTxt()}`);
  }
} else {
  for (const line of readFileSync(0, "utf8").trim().split("\n")) {
    const [writer, port, text] = line.split(" ");
    let seen;
    try {
      const record = ENR.decodeTxt(text);
      seen = `address ${record.ip}`;
      seen += `, port ${record.tcp}`;
    } catch (error) {
      seen = `${seen}, and then: ${error.message}`;
    }
    console.log(`${port} by ${writer}, JavaScript reads: ${seen}`);
  }
}
END
mkdir -p "$dir/go" "$dir/rust/src"
cat >"$dir/go/go.mod" <<'END'
module example.com/records

go 1.24

require github.com/ethereum/go-ethereum v1.17.10
END
cat >"$dir/go/main.go" <<'END'
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/enr"
)

func main() {
	if len(os.Args) > 1 {
		key, err := crypto.ToECDSA(bytes.Repeat([]byte{0x11}, 32))
		if err != nil {
			panic(err)
		}
		for _, port := range []uint16{3610, 80} {
			var record enr.Record
			record.SetSeq(1)
			record.Set(enr.IP(net.IPv4(192, 0, 2, 7)))
			record.Set(enr.TCP(port))
			if err := enode.SignV4(&record, key); err != nil {
				panic(err)
			}
			node, err := enode.New(enode.ValidSchemes, &record)
			if err != nil {
				panic(err)
			}
			fmt.Println("Go", port, node)
		}
		return
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		node, err := enode.Parse(enode.ValidSchemes, words[2])
		if err != nil {
			fmt.Printf("%s by %s, Go reads: %v\n", words[1], words[0], err)
			continue
		}
		fmt.Printf("%s by %s, Go reads: address %v, port %d\n", words[1], words[0], node.IP(), node.TCP())
	}
}
END
cat >"$dir/rust/Cargo.toml" <<'END'
[package]
name = "records"
version = "0.0.0"
edition = "2021"

[dependencies]
enr = "=0.14.0"

[workspace]
END
cat >"$dir/rust/src/main.rs" <<'END'
use enr::{k256::ecdsa::SigningKey, Enr};

fn main() {
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let [writer, port, text] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("not three words");
        };
        let seen = match text.parse::<Enr<SigningKey>>() {
            Ok(record) => format!("address {}, port {}", record.ip4().unwrap(), record.tcp4().unwrap()),
            Err(error) => error,
        };
        println!("{port} by {writer}, Rust reads: {seen}");
    }
}
END
(
  GOMODCACHE=$dir/modules GOCACHE=$dir/cache GOFLAGS=-mod=mod
  export GOMODCACHE GOCACHE GOFLAGS
  cd "$dir/go"
  go build -o "$dir/record" .
) >&2
(cd "$dir/rust" && CARGO_TARGET_DIR="$dir/rust/target" cargo build --quiet) >&2
{
  node "$dir/node.mjs" write
  "$dir/record" write
} >"$dir/records"
cat "$dir/records"
seen=$(
  node "$dir/node.mjs" <"$dir/records"
  "$dir/record" <"$dir/records"
  "$dir/rust/target/debug/records" <"$dir/records"
)
printf '%s\n' "$seen"
expected="3610 by JavaScript, JavaScript reads: address 192.0.2.7, port 3610
80 by JavaScript, JavaScript reads: address 192.0.2.7, port 80
3610 by Go, JavaScript reads: address 192.0.2.7, port 3610
80 by Go, JavaScript reads: address 192.0.2.7, and then: Encoded protocol length should be 2
3610 by JavaScript, Go reads: address 192.0.2.7, port 3610
80 by JavaScript, Go reads: address 192.0.2.7, port 0
3610 by Go, Go reads: address 192.0.2.7, port 3610
80 by Go, Go reads: address 192.0.2.7, port 80
3610 by JavaScript, Rust reads: address 192.0.2.7, port 3610
80 by JavaScript, Rust reads: Invalid ENR: LeadingZero
3610 by Go, Rust reads: address 192.0.2.7, port 3610
80 by Go, Rust reads: address 192.0.2.7, port 80"
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
