#!/bin/sh
# podman-compose makes 1023 of the mode 01777 of a directory in memory, and the kernel reads that as another mode.
#
# Packages: podman-compose 1.6.0 (PyPI), github.com/compose-spec/compose-go v2.16.2 and github.com/docker/docker v28.5.2 (Go modules: with
#           the like of the first Compose 2 to 5 read, the second is docker's engine), in a temporary folder. Needs root, python3,
#           go 1.24 and unshare.
# Input:    compose files of a charon with a directory in memory, as a volume of type tmpfs, with mode 01777, 0770 and 0711.
#           A small program in podman's place notes what it is called with; then the kernel mounts with each of the options.
# Guess:    the directory has the mode that the file says: by the Compose specification it is "Unix permission bits as an
#           octal number", and the kernel's option "mode" has octal digits.
# Seen:     docker's engine gives the kernel 1777, 770 and 711. podman-compose gives podman 1023, 504 and 457, the same numbers
#           in decimal digits. The first directory its owner can neither read nor write; the second others can read, who
#           should not; the third they can read and write. There is no error. Modes that have an 8 or a 9 in
#           decimal, such as 0700, are refused by the kernel.
# So:       use the short form, whose options reach podman as they are: "tmpfs: [/work:mode=1777]".
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT

python3 -m venv "$dir/python"
"$dir/python/bin/pip" install -q podman-compose==1.6.0 >&2
mkdir -p "$dir/go" "$dir/bin" "$dir/mount"
for mode in 01777 0770 0711; do
  cat >"$dir/$mode.yaml" <<END
services:
  charon:
    image: example/charon:v1.10.3
    volumes:
      - type: tmpfs
        target: /work
        tmpfs:
          mode: $mode
END
done
cat >"$dir/bin/podman" <<'END'
#!/bin/sh
case $1 in
  --version) echo "podman version 5.4.2" ;;
  ps) echo "[]" ;;
  create) echo "$*" >"$NOTES" ;;
esac
END
chmod +x "$dir/bin/podman"
cat >"$dir/go/main.go" <<'END'
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/volume/mounts"
)

func main() {
	project, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  "/project",
		ConfigFiles: []types.ConfigFile{{Filename: os.Args[1]}},
	}, func(options *loader.Options) { options.SetProjectName("project", true) })
	if err != nil {
		panic(err)
	}
	mode := os.FileMode(project.Services["charon"].Volumes[0].Tmpfs.Mode)
	options, err := mounts.NewLinuxParser().ConvertTmpfsOptions(&mount.TmpfsOptions{Mode: mode}, false)
	if err != nil {
		panic(err)
	}
	fmt.Println(options)
}
END
(
  cd "$dir/go"
  GOMODCACHE=$dir/modules GOCACHE=$dir/cache GOFLAGS=-mod=mod
  export GOMODCACHE GOCACHE GOFLAGS
  go mod init reader
  go get github.com/compose-spec/compose-go/v2@v2.16.2 github.com/docker/docker@v28.5.2+incompatible
  go mod tidy
  go build -o "$dir/reader" .
) >&2

show() { # MODE WHO OPTIONS
  # shellcheck disable=SC2016 # The inner shell expands these.
  mounted=$(unshare -m sh -c 'mount -t tmpfs -o "$1" none "$2" && stat -c %A "$2"' sh "$3" "$dir/mount")
  echo "$1: $2 says $3, mounted $mounted"
}
seen=$(
  for mode in 01777 0770 0711; do
    options=$("$dir/reader" "$dir/$mode.yaml" | sed 's/.*\(mode=[0-9]*\).*/\1/')
    show "$mode" "docker's engine" "$options"
    PATH=$dir/bin:$PATH NOTES=$dir/words \
      "$dir/python/bin/podman-compose" -f "$dir/$mode.yaml" up -d >&2
    show "$mode" podman-compose "$(sed 's/.*--tmpfs [^ ]*\(mode=[0-9]*\).*/\1/' "$dir/words")"
  done
)
printf '%s\n' "$seen"
expected="01777: docker's engine says mode=1777, mounted drwxrwxrwt
01777: podman-compose says mode=1023, mounted d----w--wt
0770: docker's engine says mode=770, mounted drwxrwx---
0770: podman-compose says mode=504, mounted dr-x---r--
0711: docker's engine says mode=711, mounted drwx--x--x
0711: podman-compose says mode=457, mounted dr--r-xrwx"
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
