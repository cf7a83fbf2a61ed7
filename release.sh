#!/usr/bin/env bash
# release.sh [DIR]: makes all that a release consists of in DIR (dist, unless told otherwise): static programs for x86-64 and
# arm64 as .tar.gz, .deb, .rpm and .apk, images, the list of what is in them, and SHA256SUMS. The same commit gives the same
# bytes, wherever it is built. Needs rustup, Python with venv, and Go; what else it uses it gets into target/release-tools.
set -euo pipefail
export LC_ALL=C
umask 022
cd "$(dirname "${BASH_SOURCE[0]}")"
here=$(pwd -P)
dist=${1:-dist}
mkdir -p "$dist"
dist=$(cd "$dist" && pwd -P)
target=${CARGO_TARGET_DIR:-$here/target/release-build}
tools=${RELEASE_TOOLS:-$here/target/release-tools}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
RUSTUP_TOOLCHAIN=$(sed -n 's/^TOOLCHAIN=//p' install.sh)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.toml)
export RUSTUP_TOOLCHAIN SOURCE_DATE_EPOCH
say() { printf '== %s\n' "$*" >&2; }
for tool in rustup python3 go; do
  command -v "$tool" >/dev/null || { echo "release.sh: $tool is missing" >&2; exit 3; }
done

say "tools"
for arch in x86_64 aarch64; do
  rustup target list --installed | grep -qx "$arch-unknown-linux-musl" || rustup target add "$arch-unknown-linux-musl"
done
[ -x "$tools/bin/cargo-zigbuild" ] || { python3 -m venv "$tools" && "$tools/bin/pip" --quiet install ziglang==0.17.1 cargo-zigbuild==0.24.1; }
[ -x "$tools/bin/nfpm" ] || GOBIN=$tools/bin GOFLAGS='' go install github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.4
[ -x "$tools/bin/cargo-cyclonedx" ] || cargo install --quiet --locked --root "$tools" cargo-cyclonedx --version 0.5.9
PATH=$tools/bin:$PATH

say "programs"
# No path of this machine gets into a program.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
case $here$target$cargo_home in *[[:space:]]*) echo "release.sh: a directory with a space in its name cannot be built in" >&2; exit 3 ;; esac
RUSTFLAGS="--remap-path-prefix=$here=/src --remap-path-prefix=$target=/target --remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$(rustc --print sysroot)=/rust"
CFLAGS="-ffile-prefix-map=$here=/src -ffile-prefix-map=$target=/target -ffile-prefix-map=$cargo_home=/cargo"
export RUSTFLAGS CFLAGS
# `charon-dkg version` says the commit.
commit=$(git rev-parse HEAD 2>/dev/null | cut -c 1-7) || commit=''
export CHARON_DKG_VERSION="$version${commit:+ (commit $commit)}"
# What .cargo/config.toml names makes programs static that are linked with glibc; these are by themselves, and its path would be hashed into every symbol.
RUSTC_WORKSPACE_WRAPPER='' cargo zigbuild --quiet --release --locked --target-dir "$target" -p charon-dkg -p charon-dkg-simulator -p charon-dkg-manual --bins \
  --target x86_64-unknown-linux-musl --target aarch64-unknown-linux-musl

say "man pages, completions and the list of components"
"$target/$(uname -m)-unknown-linux-musl/release/charon-dkg-manual" "$work/manual"
gzip -n9 "$work"/manual/*.1
sh install.sh --print forwarder >"$work/forwarder"
chmod 755 "$work/forwarder"
# .apk keeps the times of these.
cp packaging/postinstall packaging/preremove "$work"
touch --date="@$SOURCE_DATE_EPOCH" "$work/postinstall" "$work/preremove"
cargo cyclonedx --quiet --format json --target all --override-filename charon-dkg.cdx
# Without the directory of this checkout, which is nobody's business.
sed "s|$here|/src|g" charon-dkg.cdx.json >"$dist/charon-dkg-$version.cdx.json"
find . -path ./target -prune -o -name charon-dkg.cdx.json -exec rm {} +

# pack NAME FILE...: a tar archive of these files in $work, the same wherever it is made.
pack() {
  local archive=$1
  shift
  tar --create --file "$archive" --sort=name --format=ustar --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --directory "$@"
}
digest() { sha256sum "$1" | cut -d ' ' -f 1; }

# package ARCH FORMAT: what docker and the shells look for, where they look on every distribution.
package() {
  local zsh=/usr/share/zsh/vendor-completions
  [ "$2" = deb ] || zsh=/usr/share/zsh/site-functions
  cat >"$work/nfpm.yaml" <<EOF
name: charon-dkg
arch: $1
version: $version
mtime: $(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
maintainer: the charon-dkg authors <charon-dkg@localhost>
description: $(sed -n '/^\[package\]/,/^$/s/^description = "\(.*\)"/\1/p' Cargo.toml)
license: Apache-2.0
section: admin
suggests: [docker.io]
rpm: { buildhost: localhost }
scripts: { postinstall: "$work/postinstall", preremove: "$work/preremove" }
contents:
  - { dst: /usr/libexec/charon-dkg, type: dir, file_info: { mode: 0755 } }
  - { dst: /usr/share/doc/charon-dkg, type: dir, file_info: { mode: 0755 } }
  - { src: "$work/$1/charon-dkg", dst: /usr/bin/charon-dkg, file_info: { mode: 0755 } }
  - { src: "$work/$1/charon-dkg-simulator", dst: /usr/libexec/charon-dkg/charon-dkg-simulator, file_info: { mode: 0755 } }
  - { src: "$work/forwarder", dst: /usr/libexec/charon-dkg/docker, file_info: { mode: 0755 } }
  - { src: /usr/bin/charon-dkg, dst: /usr/libexec/docker/cli-plugins/docker-charondkg, type: symlink }
  - { src: "$work/manual/*.1.gz", dst: /usr/share/man/man1/, file_info: { mode: 0644 } }
  - { src: "$work/manual/charon-dkg.bash", dst: /usr/share/bash-completion/completions/charon-dkg, file_info: { mode: 0644 } }
  - { src: "$work/manual/_charon-dkg", dst: $zsh/_charon-dkg, file_info: { mode: 0644 } }
  - { src: "$work/manual/charon-dkg.fish", dst: /usr/share/fish/vendor_completions.d/charon-dkg.fish, file_info: { mode: 0644 } }
  - { src: LICENSE, dst: /usr/share/doc/charon-dkg/copyright, file_info: { mode: 0644 } }
EOF
  nfpm package --config "$work/nfpm.yaml" --packager "$2" --target "$dist/charon-dkg-$version-$1.$2" >/dev/null
}

# image ARCH: the program alone, as an archive that docker load and OCI tools take.
image() {
  local root=$work/$1/root oci=$work/$1/oci layer config manifest
  mkdir -p "$root/tmp" "$root/w" "$oci/blobs/sha256"
  chmod 1777 "$root/tmp"
  cp "$work/$1/charon-dkg" "$root/charon-dkg"
  pack "$oci/blobs/layer" "$root" charon-dkg tmp w
  layer=$(digest "$oci/blobs/layer")
  # `enr` goes by the variable; /w is where a project is mounted.
  printf '{"architecture":"%s","os":"linux","config":{"Entrypoint":["/charon-dkg"],"Env":["PATH=/","CHARON_DKG_IN_IMAGE=1"],"WorkingDir":"/w"},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$1" "$layer" >"$oci/blobs/config"
  config=$(digest "$oci/blobs/config")
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:%s","size":%s}]}' \
    "$config" "$(stat -c %s "$oci/blobs/config")" "$layer" "$(stat -c %s "$oci/blobs/layer")" >"$oci/blobs/manifest"
  manifest=$(digest "$oci/blobs/manifest")
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"platform":{"architecture":"%s","os":"linux"},"annotations":{"io.containerd.image.name":"docker.io/library/charon-dkg:%s","org.opencontainers.image.ref.name":"%s"}}]}' \
    "$manifest" "$(stat -c %s "$oci/blobs/manifest")" "$1" "$version" "$version" >"$oci/index.json"
  printf '{"imageLayoutVersion":"1.0.0"}' >"$oci/oci-layout"
  printf '[{"Config":"blobs/sha256/%s","RepoTags":["charon-dkg:%s"],"Layers":["blobs/sha256/%s"]}]' "$config" "$version" "$layer" >"$oci/manifest.json"
  mv "$oci/blobs/layer" "$oci/blobs/sha256/$layer"
  mv "$oci/blobs/config" "$oci/blobs/sha256/$config"
  mv "$oci/blobs/manifest" "$oci/blobs/sha256/$manifest"
  pack "$dist/charon-dkg-$version-image-$1.tar" "$oci" blobs index.json manifest.json oci-layout
}

say "packages and images"
for arch in amd64 arm64; do
  case $arch in amd64) triple=x86_64-unknown-linux-musl ;; *) triple=aarch64-unknown-linux-musl ;; esac
  name=charon-dkg-$version-linux-$arch
  mkdir -p "$work/$arch" "$work/$name"
  cp "$target/$triple/release/charon-dkg" "$target/$triple/release/charon-dkg-simulator" "$work/$arch"
  cp -r "$work/$arch"/* "$work/manual" install.sh README.md LICENSE "$work/$name"
  pack "$work/$name.tar" "$work" "$name"
  gzip -n9 <"$work/$name.tar" >"$dist/$name.tar.gz"
  for format in deb rpm apk; do package "$arch" "$format"; done
  image "$arch"
done
(cd "$dist" && sha256sum -- *"$version"* >SHA256SUMS)
say "$dist"
cat "$dist/SHA256SUMS"
