#!/bin/sh
# Docker Compose 2 ends a command at an ampersand, for example in a URL, and says nothing.
#
# Packages: docker-compose 1.29.2-3 (Debian bookworm, with its python3-docker), 2.26.1-4 (trixie) and 2.40 (forky), unpacked in
#           a temporary folder.
# Input:    a service whose `command`, a string in YAML, ends in two flags, the first with a URL that has two parameters.
# Guess:    the container gets both flags whole. The string goes to no shell: Compose parts it into words, at spaces.
# Seen:     1.29 does that. 2.26 and 2.40 end the command before the ampersand: the second parameter and the second flag are
#           gone, and no word is said of it. Semicolon, vertical bar, < and > do the same.
# So:       write commands with URLs as lists, or the URL in quotes within the string, and look at `docker compose config`. What
#           follows a cut-off URL counts as not set: for a node that may be its network or its fee recipient.
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

python_of_bookworm() { # WORD…
  loader=$(echo "$dir"/bookworm/lib64/ld-linux-*.so.*)
  PYTHONHOME=$dir/bookworm/usr PYTHONPATH=$dir/bookworm/usr/lib/python3/dist-packages PYTHONDONTWRITEBYTECODE=1 \
    "$loader" --library-path "$(echo "$dir"/bookworm/lib/*-linux-gnu):$(echo "$dir"/bookworm/usr/lib/*-linux-gnu)" \
    "$dir/bookworm/usr/bin/python3" "$@"
}
compose() { # SUITE WORD…
  plugin=$dir/$1/usr/libexec/docker/cli-plugins/docker-compose
  shift
  if [ -x "$plugin" ]; then
    "$plugin" "$@"
  else
    python_of_bookworm -c 'from compose.cli.main import main; main()' "$@"
  fi
}

mkdir -p "$dir/project"
cd "$dir/project"
cat >compose.yaml <<'END'
services:
  node:
    image: example/node:1
    command: run --endpoint=http://el:8545/?key=a&chain=hoodi --network=hoodi
  listed:
    image: example/node:1
    command: [run, "--endpoint=http://el:8545/?key=a&chain=hoodi", --network=hoodi]
  quoted:
    image: example/node:1
    command: run "--endpoint=http://el:8545/?key=a&chain=hoodi" --network=hoodi
END

# words SUITE SERVICE: the words of a service's command, each between < and >. 1.29 prints a string as it is written, and has it
# parted by the function below of its library for docker when it makes the container.
words() {
  cat >"$dir/words.py" <<'END'
import sys, yaml
from docker.utils import split_command
command = yaml.safe_load(sys.stdin)["services"][sys.argv[1]]["command"]
print("".join(f"<{word}>" for word in (split_command(command) if isinstance(command, str) else command)))
END
  compose "$1" config >"$dir/config"
  python_of_bookworm "$dir/words.py" "$2" <"$dir/config"
}

wrong=0
whole='<run><--endpoint=http://el:8545/?key=a&chain=hoodi><--network=hoodi>'
expect() { # RELEASE SUITE SEEN-OF-THE-STRING
  release=$(compose "$2" version --short 2>/dev/null)
  case $release in "$1"*) ;; *) echo "Debian $2 has Compose $release, not $1"; wrong=1 ;; esac
  for service in node listed quoted; do
    seen=$(words "$2" "$service")
    echo "Compose $release, $service: $seen"
    case $service in node) right=$3 ;; *) right=$whole ;; esac
    [ "$seen" = "$right" ] || wrong=1
  done
}
expect 1.29 bookworm "$whole"
expect 2.26 trixie '<run><--endpoint=http://el:8545/?key=a>'
expect 2.40 forky '<run><--endpoint=http://el:8545/?key=a>'
[ "$wrong" = 0 ] || { echo "this is not what was seen before" >&2; exit 1; }
