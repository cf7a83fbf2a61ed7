#!/bin/sh
# Docker Compose, called from a subdirectory of a project, reads the project's `.env` in three ways, by release.
#
# Packages: docker-compose 1.29.2-3 (Debian bookworm), 2.26.1-4 (trixie) and 2.40 (forky), unpacked in a temporary folder.
# Input:    a project whose `.env` sets COMPOSE_FILE=compose.yaml:second.yaml and TAG; `config` in it and in a subdirectory.
# Guess:    the subdirectory makes no difference, since Compose finds the project upwards: `.env` counts as a whole, or not at all.
# Seen:     1.29 finds compose.yaml upwards and ignores `.env`; 2.26 takes COMPOSE_FILE from it, looks for the files in the
#           subdirectory and fails; 2.40 takes TAG from it but not COMPOSE_FILE, and goes on without second.yaml, without a word.
# So:       a file that is named in COMPOSE_FILE of `.env` alone is not part of the project for everybody who calls Compose.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
# shellcheck disable=SC2016 # apt expands these.
source=$(apt-get indextargets --format '$(CODENAME)|$(COMPONENT)|$(REPO_URI)|$(SIGNED_BY)' 'Created-By: Packages' |
  sed -n "s/^$suite|main|//p" | head -n 1)
key=${source#*|}
case $key in /*) key="[signed-by=$key] " ;; *) key= ;; esac

# unpack SUITE APT-COMMAND…: into $dir/SUITE, by an apt that knows that suite alone.
unpack() {
  from=$1
  shift
  mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial" "$dir/$from"
  echo "deb $key${source%%|*} $from main" >"$dir/apt/sources.list"
  for name in 'Etc::SourceParts "/dev/null"' 'Etc::Preferences "/dev/null"' 'Etc::PreferencesParts "/dev/null"' \
    "Etc::SourceList \"$dir/apt/sources.list\"" "State \"$dir/apt\"" "State::Lists \"$dir/apt/lists\"" \
    'State::Status "/dev/null"' "Cache \"$dir/apt/cache\""; do echo "Dir::$name;"; done >"$dir/apt/apt.conf"
  echo 'APT::Sandbox::User "root"; APT::Install-Recommends "false";' >>"$dir/apt/apt.conf"
  (cd "$dir/apt/cache/archives" && export APT_CONFIG="$dir/apt/apt.conf" && apt-get -qq update && apt-get -qq -y "$@") >&2
  for package in "$dir"/apt/cache/archives/*.deb; do dpkg-deb -x "$package" "$dir/$from"; done
  rm -rf "$dir/apt"
}
unpack trixie download docker-compose
unpack forky download docker-compose
unpack bookworm install --download-only docker-compose

compose() { # SUITE WORD…
  root=$dir/$1
  shift
  if [ -x "$root/usr/libexec/docker/cli-plugins/docker-compose" ]; then
    "$root/usr/libexec/docker/cli-plugins/docker-compose" "$@"
  else
    loader=$(echo "$root"/lib64/ld-linux-*.so.*)
    PYTHONHOME=$root/usr PYTHONPATH=$root/usr/lib/python3/dist-packages PYTHONDONTWRITEBYTECODE=1 \
      "$loader" --library-path "$(echo "$root"/lib/*-linux-gnu):$(echo "$root"/usr/lib/*-linux-gnu)" \
      "$root/usr/bin/python3" -c 'from compose.cli.main import main; main()' "$@"
  fi
}

mkdir -p "$dir/project/sub"
cd "$dir/project"
# shellcheck disable=SC2016 # Compose expands it.
printf 'services:\n  first:\n    image: example/first:${TAG:-unset}\n' >compose.yaml
printf 'services:\n  second:\n    image: example/second:1\n' >second.yaml
printf 'COMPOSE_FILE=compose.yaml:second.yaml\nTAG=set\n' >.env

images() { # SUITE: the images of the project as seen from here, or the failure.
  if seen=$(compose "$1" config 2>"$dir/error"); then
    printf '%s\n' "$seen" | sed -n 's/^ *image: *//p' | sort | tr '\n' ' '
  else
    sed "s|$dir/||" "$dir/error" | tail -n 1
  fi
}

wrong=0
expect() { # RELEASE SUITE SEEN-IN-SUB
  release=$(compose "$2" version --short 2>/dev/null)
  case $release in "$1"*) ;; *) echo "Debian $2 has Compose $release, not $1"; wrong=1 ;; esac
  above=$(images "$2")
  below=$(cd sub && images "$2")
  echo "Compose $release, in the project:   $above"
  echo "Compose $release, in project/sub:   $below"
  [ "$above" = 'example/first:set example/second:1 ' ] || wrong=1
  [ "$below" = "$3" ] || wrong=1
}
expect 1.29 bookworm 'example/first:unset '
expect 2.26 trixie 'stat project/sub/compose.yaml: no such file or directory'
expect 2.40 forky 'example/first:set '
[ "$wrong" = 0 ] || { echo "this is not what was seen before" >&2; exit 1; }
