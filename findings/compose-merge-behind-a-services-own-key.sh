#!/bin/sh
# The Go package goccy/go-yaml lets a merged mapping win over a service's own key if "<<" is behind that key.
#
# Packages: github.com/goccy/go-yaml v1.19.2 and github.com/compose-spec/compose-go v2.16.2 (Go modules; with the like of the second
#           Compose 2 to 5 read), PyYAML 6.0.3 (PyPI), in a temporary folder. Needs go 1.24 and python3.
# Input:    compose files of one charon that merges what is common to all nodes and has its own image: with "<<" in front of the image
#           or behind it. And one that has no image of its own and merges two mappings, this node's first.
# Guess:    its own image both times, and this node's in the third file: by the specification of "<<" a key of one's own wins, wherever
#           it is, and of several mappings the first.
# Seen:     compose-go and PyYAML agree. Into a map goccy/go-yaml takes what comes last: the image of all nodes where "<<"
#           is at the end, and of two mappings the second, without an error. Into a struct it reads none of the three: an
#           own key beside a merged one is "duplicate" to it, in front or behind, and a list "was used where mapping is expected".
# So:       a check that is written with it may see another image than the one that runs. Let it read what "docker compose config"
#           prints, which has no merges.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT

for name in front behind two; do
  cat >"$dir/$name.yaml" <<'END'
x-every: &every
  image: example/charon:v1.10.3
  restart: unless-stopped
x-this: &this
  image: example/charon:v1.11.0
services:
  charon:
END
done
cat >>"$dir/front.yaml" <<'END'
    <<: *every
    image: example/charon:v1.11.0
END
cat >>"$dir/behind.yaml" <<'END'
    image: example/charon:v1.11.0
    <<: *every
END
cat >>"$dir/two.yaml" <<'END'
    <<: [*this, *every]
END
python3 -m venv "$dir/python"
"$dir/python/bin/pip" install -q pyyaml==6.0.3 >&2
mkdir "$dir/go"
cat >"$dir/go/main.go" <<'END'
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/goccy/go-yaml"
)

type service struct {
	Image   string
	Restart string
}

type file struct {
	Services map[string]service
}

func main() {
	for _, name := range os.Args[1:] {
		text, err := os.ReadFile(name)
		if err != nil {
			panic(err)
		}
		show := func(words ...any) {
			fmt.Println(append([]any{filepath.Base(name)}, words...)...)
		}
		project, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
			WorkingDir:  "/project",
			ConfigFiles: []types.ConfigFile{{Filename: name}},
		}, func(options *loader.Options) { options.SetProjectName("project", true) })
		if err != nil {
			panic(err)
		}
		show("compose-go:", project.Services["charon"].Image, project.Services["charon"].Restart)
		var typed file
		if err := yaml.Unmarshal(text, &typed); err != nil {
			show("goccy/go-yaml, struct:", strings.Split(err.Error(), "\n")[0])
		} else {
			show("goccy/go-yaml, struct:", typed.Services["charon"].Image, typed.Services["charon"].Restart)
		}
		var free map[string]any
		if err := yaml.Unmarshal(text, &free); err != nil {
			panic(err)
		}
		charon := free["services"].(map[string]any)["charon"].(map[string]any)
		show("goccy/go-yaml, map:", charon["image"], charon["restart"])
	}
}
END
(
  cd "$dir/go"
  GOMODCACHE=$dir/modules GOCACHE=$dir/cache GOFLAGS=-mod=mod
  export GOMODCACHE GOCACHE GOFLAGS
  go mod init reader
  go get github.com/compose-spec/compose-go/v2@v2.16.2 github.com/goccy/go-yaml@v1.19.2
  go mod tidy
  go build -o "$dir/reader" .
) >&2
cat >"$dir/read.py" <<'END'
import os, sys, yaml
for name in sys.argv[1:]:
    charon = yaml.safe_load(open(name))["services"]["charon"]
    print(os.path.basename(name), "PyYAML:", charon["image"], charon["restart"])
END

seen=$(
  "$dir/reader" "$dir/front.yaml" "$dir/behind.yaml" "$dir/two.yaml"
  "$dir/python/bin/python" "$dir/read.py" "$dir/front.yaml" "$dir/behind.yaml" "$dir/two.yaml"
)
printf '%s\n' "$seen"
expected='front.yaml compose-go: example/charon:v1.11.0 unless-stopped
front.yaml goccy/go-yaml, struct: [9:5] duplicate key "image"
front.yaml goccy/go-yaml, map: example/charon:v1.11.0 unless-stopped
behind.yaml compose-go: example/charon:v1.11.0 unless-stopped
behind.yaml goccy/go-yaml, struct: [2:10] duplicate key "image"
behind.yaml goccy/go-yaml, map: example/charon:v1.10.3 unless-stopped
two.yaml compose-go: example/charon:v1.11.0 unless-stopped
two.yaml goccy/go-yaml, struct: [8:9] sequence was used where mapping is expected
two.yaml goccy/go-yaml, map: example/charon:v1.10.3 unless-stopped
front.yaml PyYAML: example/charon:v1.11.0 unless-stopped
behind.yaml PyYAML: example/charon:v1.11.0 unless-stopped
two.yaml PyYAML: example/charon:v1.11.0 unless-stopped'
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
