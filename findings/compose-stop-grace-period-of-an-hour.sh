#!/bin/sh
# podman-compose stops a container after ten seconds if its compose file gives it an hour, or the seconds in another unit.
#
# Packages: podman-compose 1.6.0 (PyPI) and github.com/compose-spec/compose-go v2.16.2 (Go module, with whose like Compose 2 to 5
#           read), in a temporary folder. Needs python3 and go 1.24.
# Input:    a compose file of execution clients, which may need long to write what they hold in memory, with a stop_grace_period of
#           90s, 1m30s, 60m, 1h, 1h30m and 120000ms. A small program in podman's place notes what it is called with at "stop".
# Guess:    "-t" with the seconds each time: by the Compose specification durations have the units us, ms, s, m and h.
# Seen:     compose-go reads all. podman-compose hands on the seconds of the first three. Of the others it says nothing to podman,
#           which then waits ten seconds, its default, and kills. There is no error, though the longest times are lost.
# So:       write minutes and seconds, as 60m or 120s, or give the time by hand: "podman-compose stop -t 3600".
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT

python3 -m venv "$dir/python"
"$dir/python/bin/pip" install -q podman-compose==1.6.0 >&2
mkdir -p "$dir/go" "$dir/bin"
echo "services:" >"$dir/compose.yaml"
for period in 90s 1m30s 60m 1h 1h30m 120000ms; do
  cat >>"$dir/compose.yaml" <<END
  node-$period:
    image: example/client:v1
    stop_grace_period: $period
END
done
cat >"$dir/bin/podman" <<'END'
#!/bin/sh
case $1 in
  --version) echo "podman version 5.4.2" ;;
  stop) echo "$*" >>"$NOTES" ;;
esac
END
chmod +x "$dir/bin/podman"
cat >"$dir/go/main.go" <<'END'
package main

import (
	"context"
	"fmt"
	"os"
	"time"

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
	for name, service := range project.Services {
		fmt.Printf("%s: compose-go reads %g seconds\n", name, time.Duration(*service.StopGracePeriod).Seconds())
	}
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

PATH=$dir/bin:$PATH NOTES=$dir/words "$dir/python/bin/podman-compose" -p project -f "$dir/compose.yaml" stop >&2
seen=$(
  "$dir/reader" "$dir/compose.yaml" | sort
  sed 's/^\(stop .*\)project_\(node-[^_]*\)_1$/\2: podman-compose says \1/; s/ $//' "$dir/words" | sort
)
printf '%s\n' "$seen"
expected="node-120000ms: compose-go reads 120 seconds
node-1h30m: compose-go reads 5400 seconds
node-1h: compose-go reads 3600 seconds
node-1m30s: compose-go reads 90 seconds
node-60m: compose-go reads 3600 seconds
node-90s: compose-go reads 90 seconds
node-120000ms: podman-compose says stop
node-1h30m: podman-compose says stop
node-1h: podman-compose says stop
node-1m30s: podman-compose says stop -t 90
node-60m: podman-compose says stop -t 3600
node-90s: podman-compose says stop -t 90"
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
