#!/bin/sh
# PyYAML 6.0.4 lets the last of several merged mappings win, where the first has to, unless the key has one letter.
#
# Packages: PyYAML 6.0.4 and, one release older, 6.0.3; ruamel.yaml 0.19.1 (PyPI); github.com/compose-spec/compose-go v2.16.2 (Go
#           module, with whose like Compose 2 to 5 read), in a temporary folder. Needs python3 and go 1.24.
# Input:    a compose file whose nodes share mappings: "<<: [*this, *every]" takes what is this node's own, and then what is every
#           node's. Both have the image's release, a restart policy, and the variables TZ and N.
# Guess:    this node's values, in every reader: of a list of mappings to merge, the earlier one counts where both have a key.
# Seen:     so it is in compose-go, ruamel.yaml and PyYAML 6.0.3. With 6.0.4 it is every node's image, policy and TZ, and this node's
#           N: it knows by the memory in which a key's text lies whether it had the key, and Python keeps one copy of a text
#           only of one-letter keys here. The loader in C does the same. There is no error and no warning.
# So:       what reads compose files with PyYAML, as podman-compose does with any release of it, may run another image than
#           Docker Compose, on one machine of several. Merge one mapping alone, or write what differs into the service.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT

cat >"$dir/compose.yaml" <<'END'
x-every: &every
  image: example/charon:v1.9.0
  restart: unless-stopped
  init: true
x-every-variables: &every-variables
  TZ: UTC
  N: "1"
x-this: &this
  image: example/charon:v1.10.3
  restart: "no"
x-this-variables: &this-variables
  TZ: Europe/Berlin
  N: "2"
services:
  charon:
    <<: [*this, *every]
    environment:
      <<: [*this-variables, *every-variables]
END
cat >"$dir/read.py" <<'END'
import sys

def show(reader, file):
    charon = file["services"]["charon"]
    variables = charon["environment"]
    print(f"{reader}: {charon['image']} {charon['restart']} init={charon['init']} TZ={variables['TZ']} N={variables['N']}")

with open(sys.argv[1]) as file:
    text = file.read()
if sys.argv[2] == "ruamel.yaml":
    from ruamel.yaml import YAML
    show("ruamel.yaml", YAML(typ="safe", pure=True).load(text))
else:
    import yaml
    show(f"PyYAML {yaml.__version__}", yaml.safe_load(text))
    show(f"PyYAML {yaml.__version__} in C", yaml.load(text, yaml.CSafeLoader))
END
for package in PyYAML==6.0.3 PyYAML==6.0.4 ruamel.yaml==0.19.1; do
  python3 -m venv "$dir/$package"
  "$dir/$package/bin/pip" install -q --only-binary :all: "$package" >&2
done
mkdir "$dir/go"
cat >"$dir/go/main.go" <<'END'
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

func main() {
	project, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  "/project",
		ConfigFiles: []types.ConfigFile{{Filename: os.Args[1]}},
	}, func(options *loader.Options) { options.SetProjectName("project", true) })
	if err != nil {
		panic(err)
	}
	charon := project.Services["charon"]
	variables := charon.Environment
	fmt.Printf("compose-go: %s %s init=%v TZ=%s N=%s\n", charon.Image, charon.Restart, *charon.Init, *variables["TZ"], *variables["N"])
}
END
(
  cd "$dir/go"
  GOMODCACHE=$dir/modules GOCACHE=$dir/cache GOFLAGS=-mod=mod
  export GOMODCACHE GOCACHE GOFLAGS
  go mod init reader
  go get github.com/compose-spec/compose-go/v2@v2.16.2
  go mod tidy
  go build -o "$dir/reader" .
) >&2

seen=$(
  "$dir/reader" "$dir/compose.yaml"
  for package in ruamel.yaml==0.19.1 PyYAML==6.0.3 PyYAML==6.0.4; do
    "$dir/$package/bin/python" "$dir/read.py" "$dir/compose.yaml" "${package%%=*}"
  done
)
printf '%s\n' "$seen"
expected="compose-go: example/charon:v1.10.3 no init=true TZ=Europe/Berlin N=2
ruamel.yaml: example/charon:v1.10.3 no init=True TZ=Europe/Berlin N=2
PyYAML 6.0.3: example/charon:v1.10.3 no init=True TZ=Europe/Berlin N=2
PyYAML 6.0.3 in C: example/charon:v1.10.3 no init=True TZ=Europe/Berlin N=2
PyYAML 6.0.4: example/charon:v1.9.0 unless-stopped init=True TZ=UTC N=2
PyYAML 6.0.4 in C: example/charon:v1.9.0 unless-stopped init=True TZ=UTC N=2"
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
