#!/bin/sh
# Two addresses of one relay print alike but are not equal in the PyPI package multiaddr, and others misread one's bytes.
#
# Packages: multiaddr 0.2.0 (PyPI), github.com/multiformats/go-multiaddr v0.16.1 (Go module, charon's side of it),
#           @multiformats/multiaddr 13.0.3 (npm), in a temporary folder. Needs python3, go 1.24, node and npm.
# Input:    the address of a relay with its peer id, which is a secp256k1 key as those of charon's nodes and relays are, in both
#           forms that the libp2p specification of peer ids wants to be read: base58 of the multihash (16Uiu2HA…) and CID (baf…).
# Guess:    in bytes both are the same: an address has the multihash of its peer, whatever the text looked like.
# Seen:     so it is in Go and JavaScript. Python keeps the two bytes that make a CID of a multihash (01 72) in the address,
#           so the addresses are not equal, though both print with base58. Of those bytes Go says that they are no address,
#           and JavaScript prints a peer id that nobody has (KPJ7…).
# So:       compare relays by the text that was printed, or give the peer id in base58, as charon prints it.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT

python3 -m venv "$dir/python"
"$dir/python/bin/pip" install -q multiaddr==0.2.0 >&2
(cd "$dir" && npm install --silent --no-audit --no-fund --ignore-scripts @multiformats/multiaddr@13.0.3) >&2
cat >"$dir/addresses" <<'END'
/ip4/192.0.2.1/tcp/3640/p2p/16Uiu2HAmHTBoqNRhFCJjxYB3HXcxnFQ3yFVc2RM3iUFmUdbHUxrC
/ip4/192.0.2.1/tcp/3640/p2p/bafzaajiiaijcca2hirvy6gs5czt6hamehjoad6b7ublxicek23zbmikwl73ucpvy3e
END

mkdir "$dir/go"
cat >"$dir/go/main.go" <<'END'
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"github.com/multiformats/go-multiaddr"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var address multiaddr.Multiaddr
		var err error
		if text := lines.Text(); strings.HasPrefix(text, "/") {
			address, err = multiaddr.NewMultiaddr(text)
		} else {
			var raw []byte
			if raw, err = hex.DecodeString(text); err == nil {
				address, err = multiaddr.NewMultiaddrBytes(raw)
			}
		}
		if err != nil {
			fmt.Println("Go: refused")
			continue
		}
		fmt.Println("Go:", address, len(address.Bytes()), "bytes")
	}
}
END
(
  cd "$dir/go"
  GOMODCACHE=$dir/modules GOCACHE=$dir/cache GOFLAGS=-mod=mod
  export GOMODCACHE GOCACHE GOFLAGS
  go mod init reader
  go get github.com/multiformats/go-multiaddr@v0.16.1
  go mod tidy
  go build -o "$dir/reader" .
) >&2
cat >"$dir/read.mjs" <<'END'
import { readFileSync } from "node:fs";
import { multiaddr } from "@multiformats/multiaddr";
for (const line of readFileSync(0, "utf8").trim().split("\n")) {
  try {
    const address = multiaddr(line.startsWith("/") ? line : Buffer.from(line, "hex"));
    console.log(`JavaScript: ${address} ${address.bytes.length} bytes`);
  } catch {
    console.log("JavaScript: refused");
  }
}
END
cat >"$dir/read.py" <<'END'
import sys
from multiaddr import Multiaddr
with open(sys.argv[1]) as file:
    one, other = (Multiaddr(line.strip()) for line in file)
for address in (one, other):
    print(f"Python: {address} {len(address.to_bytes())} bytes")
print("Python: texts", "alike" if str(one) == str(other) else "not alike", "and addresses", "equal" if one == other else "not equal")
with open(sys.argv[2], "w") as file:
    for address in (one, other):
        print(address.to_bytes().hex(), file=file)
END
seen=$(
  "$dir/python/bin/python" "$dir/read.py" "$dir/addresses" "$dir/bytes"
  for input in addresses bytes; do
    echo "$input:"
    "$dir/reader" <"$dir/$input"
    node "$dir/read.mjs" <"$dir/$input"
  done
)
printf '%s\n' "$seen"
address=/ip4/192.0.2.1/tcp/3640/p2p/16Uiu2HAmHTBoqNRhFCJjxYB3HXcxnFQ3yFVc2RM3iUFmUdbHUxrC
expected="Python: $address 50 bytes
Python: $address 52 bytes
Python: texts alike and addresses not equal
addresses:
Go: $address 50 bytes
Go: $address 50 bytes
JavaScript: $address 50 bytes
JavaScript: ${address%/*}/bafzaajiiaijcca2hirvy6gs5czt6hamehjoad6b7ublxicek23zbmikwl73ucpvy3e 50 bytes
bytes:
Go: $address 50 bytes
Go: refused
JavaScript: $address 50 bytes
JavaScript: ${address%/*}/KPJ7QRXxW7mRwyKkritYGcDu1Z2hf1tpVeM5KX5X1BiZi2UUabHePzG 52 bytes"
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
