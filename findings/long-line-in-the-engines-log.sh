#!/bin/sh
# The engine of Docker 20.10 loses the end of a line that has more than 16 KiB, if it keeps logs with the driver "local".
#
# Packages: github.com/docker/docker v20.10.24, the release in Debian bookworm, and v28.5.2 (Go modules: the engine's own copier and
#           log drivers), built in a temporary folder. Needs go 1.24.
# Input:    four lines on a container's standard error, the second of 20,000 letters, as an error with its stack or a request's
#           body can be; kept with "json-file" and with "local", which Docker's manual advises for its rotation; read whole,
#           and the last three, as "docker logs" and "docker logs --tail 3" read them.
# Guess:    four lines come back, and then three, of which the first is the long one.
# Seen:     the copier cuts long lines into pieces of 16 KiB. With 20.10.24 and "local" the last piece has no line end, so that the
#           third line goes on behind the long one: three lines come back. "json-file", and 28.5.2 with either, give four. The
#           last three are of pieces in all of them: of the long line only the 3,616 letters behind the first 16 KiB.
# So:       a program that looks at the starts of lines, or reads JSON by lines, misses what comes behind a long line; and one that
#           asks for the last lines may get the end of one for a whole one.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT

GOMODCACHE=$dir/modules GOCACHE=$dir/cache GOFLAGS=-mod=mod
export GOMODCACHE GOCACHE GOFLAGS
build() { # RELEASE, and the first argument of ReadLogs if it has one more
  mkdir -p "$dir/$1"
  cat >"$dir/$1/main.go" <<'END'
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/docker/daemon/logger"
	"github.com/docker/docker/daemon/logger/jsonfilelog"
	"github.com/docker/docker/daemon/logger/local"
)

// shown has the lengths of the lines, with the first and last letters of what is long.
func shown(text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for number, line := range lines {
		if len(line) > 10 {
			lines[number] = fmt.Sprintf("%s...%s (%d)", line[:1], line[len(line)-6:], len(line))
		}
	}
	return fmt.Sprintf("%d lines: %s", len(lines), strings.Join(lines, ", "))
}

func main() {
	text := "first\n" + strings.Repeat("x", 20000) + "\nthird\nfourth\n"
	for _, driver := range []struct {
		name string
		make logger.Creator
	}{{"json-file", jsonfilelog.New}, {"local", local.New}} {
		folder := filepath.Join(os.Args[2], driver.name)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			panic(err)
		}
		log, err := driver.make(logger.Info{ContainerID: strings.Repeat("5c", 32), LogPath: filepath.Join(folder, "log")})
		if err != nil {
			panic(err)
		}
		copier := logger.NewCopier(map[string]io.Reader{"stderr": strings.NewReader(text)}, log)
		copier.Run()
		copier.Wait()
		for _, tail := range []int{-1, 3} {
			watcher := log.(logger.LogReader).ReadLogs(CONTEXT logger.ReadConfig{Tail: tail})
			read := ""
			for message := range watcher.Msg {
				read += string(message.Line)
			}
			asked := map[int]string{-1: "all", 3: "last 3"}[tail]
			fmt.Printf("%s %s, %s, %s\n", os.Args[1], driver.name, asked, shown(read))
		}
		if err := log.Close(); err != nil {
			panic(err)
		}
	}
}
END
  if [ "$1" = v20.10.24 ]; then
    sed -i 's/CONTEXT //' "$dir/$1/main.go"
  else
    sed -i 's/CONTEXT /context.Background(), /; s/^import (/&\n\t"context"/' "$dir/$1/main.go"
  fi
  (
    cd "$dir/$1"
    go mod init reader
    go get "github.com/docker/docker@$1+incompatible"
    go mod tidy
    go build -o reader .
  ) >&2
}
build v20.10.24
build v28.5.2

seen=$(for release in v20.10.24 v28.5.2; do "$dir/$release/reader" "$release" "$dir/$release/logs"; done)
printf '%s\n' "$seen"
expected="v20.10.24 json-file, all, 4 lines: first, x...xxxxxx (20000), third, fourth
v20.10.24 json-file, last 3, 3 lines: x...xxxxxx (3616), third, fourth
v20.10.24 local, all, 3 lines: first, x...xthird (20005), fourth
v20.10.24 local, last 3, 2 lines: x...xthird (3621), fourth
v28.5.2 json-file, all, 4 lines: first, x...xxxxxx (20000), third, fourth
v28.5.2 json-file, last 3, 3 lines: x...xxxxxx (3616), third, fourth
v28.5.2 local, all, 4 lines: first, x...xxxxxx (20000), third, fourth
v28.5.2 local, last 3, 3 lines: x...xxxxxx (3616), third, fourth"
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
