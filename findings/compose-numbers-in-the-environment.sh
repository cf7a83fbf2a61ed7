#!/bin/sh
# An address or an amount without quotes in a Compose file becomes another value, depending on its size and on the release.
#
# Packages: docker-compose 1.29.2-3 (Debian bookworm), 2.26.1-4 (trixie) and 2.40 (forky), unpacked in a temporary folder.
# Input:    a service whose `environment`, a mapping in YAML, has two addresses, and two amounts in wei and one in gwei.
# Guess:    the variables have the characters that stand in the file, since variables are text.
# Seen:     YAML makes numbers of them. 1.29 writes an address as a decimal number of up to 49 digits. 2.26 and 2.40 leave it as
#           it is if it does not fit into 64 bits, and make a decimal number of the one that does. Amounts stay whole in 1.29;
#           in 2.26 and 2.40 32 ETH in wei become 3.2e+19, while 16 ETH, which fit into 64 bits, stay.
# So:       put quotes around addresses and amounts. That one value of a file came through says nothing about the next.
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

mkdir -p "$dir/project"
cd "$dir/project"
cat >compose.yaml <<'END'
services:
  node:
    image: example/node:1
    environment:
      FEE_RECIPIENT: 0x1111111111111111111111111111111111111111
      BURNT: 0x000000000000000000000000000000000000dEaD
      GWEI: 32000000000
      HALF: 16000000000000000000
      WHOLE: 32000000000000000000
END

wrong=0
expect() { # RELEASE SUITE FEE_RECIPIENT WHOLE; the other three are the same in all releases
  release=$(compose "$2" version --short 2>/dev/null)
  case $release in "$1"*) ;; *) echo "Debian $2 has Compose $release, not $1"; wrong=1 ;; esac
  seen=$(compose "$2" config | sed -n "s/^ *\([A-Z_]*\): *[\"']\{0,1\}\([^\"']*\)[\"']\{0,1\}\$/\1=\2/p" | grep '=.' | sort)
  echo "Compose $release:"
  printf '%s\n' "$seen" | sed 's/^/  /'
  [ "$seen" = "BURNT=57005
FEE_RECIPIENT=$3
GWEI=32000000000
HALF=16000000000000000000
WHOLE=$4" ] || wrong=1
}
expect 1.29 bookworm 97433442488726861213578988847752201310395502865 32000000000000000000
expect 2.26 trixie 0x1111111111111111111111111111111111111111 3.2e+19
expect 2.40 forky 0x1111111111111111111111111111111111111111 3.2e+19
[ "$wrong" = 0 ] || { echo "this is not what was seen before" >&2; exit 1; }
