#!/bin/sh
# An age file in ASCII armour with a blank line in front, as mails leave it, does not open with rage's library.
#
# Packages: filippo.io/age v1.3.2 (Go module), age-encryption 0.3.1 (npm, TypeScript), pyrage 1.4.0 (PyPI, the Rust library of
#           rage), in a temporary folder. Needs go 1.24, node, npm and python3.
# Input:    a file that age closed with a passphrase, in ASCII armour; then with blank lines behind it, or in front of it, or with
#           carriage returns.
# Guess:    all open everywhere: age's own collection of test files has such a file, to be read, since "whitespace is allowed
#           before and after armored files".
# Seen:     age and age-encryption open all. pyrage opens those with blanks behind and with carriage returns; with a blank line
#           in front it says "Header is invalid", as of a damaged file.
# So:       before a backup is given up for damaged, take away what is in front of the first hyphen. A program built on the Rust
#           library should do so itself.
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
	"bufio"
	"fmt"
	"io"
	"os"

	"filippo.io/age"
	"filippo.io/age/armor"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	if len(os.Args) == 1 {
		recipient, err := age.NewScryptRecipient("correct horse")
		must(err)
		recipient.SetWorkFactor(12)
		text := armor.NewWriter(os.Stdout)
		sealed, err := age.Encrypt(text, recipient)
		must(err)
		_, err = io.WriteString(sealed, "keys")
		must(err)
		must(sealed.Close())
		must(text.Close())
		return
	}
	for _, name := range os.Args[1:] {
		file, err := os.Open(name)
		must(err)
		identity, err := age.NewScryptIdentity("correct horse")
		must(err)
		var opened []byte
		reader, err := age.Decrypt(armor.NewReader(bufio.NewReader(file)), identity)
		if err == nil {
			opened, err = io.ReadAll(reader)
		}
		fmt.Println(name+": age", string(opened), err)
	}
}
END
(
  cd "$dir/go"
  GOMODCACHE=$dir/modules GOCACHE=$dir/cache GOFLAGS=-mod=mod
  export GOMODCACHE GOCACHE GOFLAGS
  go mod init sealed
  go get filippo.io/age@v1.3.2
  go mod tidy
  go build -o "$dir/sealed" .
) >&2
python3 -m venv "$dir/python"
"$dir/python/bin/pip" install -q pyrage==1.4.0 >&2
(cd "$dir" && npm install --silent --no-audit --no-fund --ignore-scripts age-encryption@0.3.1) >&2
cat >"$dir/open.py" <<'END'
import sys, pyrage
for name in sys.argv[1:]:
    with open(name, "rb") as file:
        try:
            print(f"{name}: pyrage", pyrage.passphrase.decrypt(file.read(), "correct horse").decode())
        except Exception as error:
            print(f"{name}: pyrage {type(error).__name__}: {error}")
END
cat >"$dir/open.mjs" <<'END'
import { readFileSync } from "node:fs";
import { Decrypter, armor } from "age-encryption";
for (const name of process.argv.slice(2)) {
  const decrypter = new Decrypter();
  decrypter.addPassphrase("correct horse");
  console.log(`${name}: age-encryption`, await decrypter.decrypt(armor.decode(readFileSync(name, "utf8")), "text"));
}
END
mkdir "$dir/backups"
cd "$dir/backups"
"$dir/sealed" >as-written
{ cat as-written && printf '\n  \n'; } >blank-behind
{ echo && cat as-written; } >blank-in-front
sed 's/$/\r/' as-written >with-returns
seen=$("$dir/sealed" ./* && node "$dir/open.mjs" ./* && "$dir/python/bin/python" "$dir/open.py" ./*)
printf '%s\n' "$seen"
expected='./as-written: age keys <nil>
./blank-behind: age keys <nil>
./blank-in-front: age keys <nil>
./with-returns: age keys <nil>
./as-written: age-encryption keys
./blank-behind: age-encryption keys
./blank-in-front: age-encryption keys
./with-returns: age-encryption keys
./as-written: pyrage keys
./blank-behind: pyrage keys
./blank-in-front: pyrage DecryptError: Header is invalid
./with-returns: pyrage keys'
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
