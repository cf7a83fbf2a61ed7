#!/bin/sh
# Releases of Docker Compose for the tests of the gate, beside whatever the machine has.
#
#   composes.sh DIR   puts them into DIR and prints where they are, as NAME=value lines
#
# They come from the mirror of Debian that this machine uses already, unpacked in DIR. Nothing is installed: Compose 1.29,
# a program for Python, runs with the Python and the C library of its own Debian, in DIR too.
# What Python compiles while `check` runs it is kept: otherwise each start takes five times as long.
set -eu
LC_ALL=C
export LC_ALL
umask 022

fail() {
  echo "composes.sh: $1" >&2
  shift
  for line do echo "  $line" >&2; done
  exit 1
}

[ $# = 1 ] || fail "expected the directory to put them into"
mkdir -p "$1"
dir=$(cd "$1" && pwd)

# The mirror and the key that this machine uses already.
suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
# shellcheck disable=SC2016 # apt expands these.
mirror=$(apt-get indextargets --format '$(CODENAME)|$(COMPONENT)|$(REPO_URI)|$(SIGNED_BY)' 'Created-By: Packages' |
  sed -n "s/^$suite|main|//p" | head -n 1)
[ -n "$mirror" ] || fail "this machine has no package lists of Debian $suite" "apt-get update, on a Debian"
key=${mirror#*|}
mirror=${mirror%%|*}
case $key in /*) ;; *) key='' ;; esac

# unpack SUITE APT-COMMAND...: what this apt command of that suite downloads, into DIR/SUITE.
unpack() {
  from=$1
  shift
  apt=$dir/apt-$from
  rm -rf "$apt" "${dir:?}/$from"
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$dir/$from"
  echo "deb ${key:+[signed-by=$key] }$mirror $from main" >"$apt/sources.list"
  # With an apt of its own, which knows that suite alone and nothing as installed. Old releases are wanted, so an old list,
  # whose signature is checked all the same, will do.
  cat >"$apt/apt.conf" <<END
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State "$apt";
Dir::State::Lists "$apt/lists";
Dir::State::Status "/dev/null";
Dir::Cache "$apt/cache";
Acquire::Languages "none";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
Acquire::Check-Valid-Until "false";
END
  (cd "$apt/cache/archives" && export APT_CONFIG="$apt/apt.conf" && apt-get -qq update && apt-get -qq -y "$@") >&2 ||
    fail "docker-compose of Debian $from is not available from this machine's mirror"
  for package in "$apt"/cache/archives/*.deb; do dpkg-deb -x "$package" "$dir/$from"; done
  rm -rf "$apt"
}

# go_program SUITE FILE: Compose is one program there; what Debian puts on PATH is a script with a fixed path in it.
go_program() {
  "$2" version >/dev/null 2>&1 && return
  unpack "$1" download docker-compose
  mv "$dir/$1/usr/libexec/docker/cli-plugins/docker-compose" "$2"
  rm -rf "${dir:?}/$1"
}

python_program() {
  "$2" version >/dev/null 2>&1 && return
  unpack "$1" install --download-only docker-compose
  cat >"$2" <<END
#!/bin/sh
root='$dir/$1'
PYTHONHOME=\$root/usr PYTHONPATH=\$root/usr/lib/python3/dist-packages PYTHONDONTWRITEBYTECODE= \\
  exec \$root/lib/*-linux-gnu/ld-linux*.so.* --library-path "\$(echo "\$root"/lib/*-linux-gnu):\$(echo "\$root"/usr/lib/*-linux-gnu)" \\
  "\$root/usr/bin/python3" -c 'from compose.cli.main import main; main()' "\$@"
END
  chmod 755 "$2"
}

check() { # NAME PROGRAM RELEASE
  seen=$("$2" version --short) || fail "$2 does not run"
  case $seen in "$3"*) ;; *) fail "$2 is release $seen, expected $3" ;; esac
  echo "$1=$2"
}

plugins=$dir/docker/cli-plugins
mkdir -p "$plugins"
go_program forky "$plugins/docker-compose"
go_program trixie "$dir/docker-compose-2.26"
python_program bookworm "$dir/docker-compose-1.29"
# The one that asks providers is docker's plugin for whoever has this configuration.
echo "DOCKER_CONFIG=$dir/docker"
check CHARON_DKG_TEST_COMPOSE_2_26 "$dir/docker-compose-2.26" 2.26
check CHARON_DKG_TEST_COMPOSE_1_29 "$dir/docker-compose-1.29" 1.29
