#!/bin/sh
# Older releases of Docker Compose for the tests, beside whatever the machine has.
#
#   composes.sh DIR   puts them into DIR and prints where they are, as NAME=value lines
#
# They come from the mirror of Debian that this machine uses already, one package each, unpacked and not installed.
# Compose 1.29 is a program for Python, whose libraries are installed as root if they are missing.
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

# Which suite has which, and nothing newer in it.
second_suite=trixie
first_suite=bookworm

# What compose 1.29 imports.
libraries="python3 python3-distutils python3-distro python3-docker python3-dockerpty python3-docopt python3-dotenv
python3-jsonschema python3-requests python3-texttable python3-websocket python3-yaml"

find_mirror() {
  suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  # shellcheck disable=SC2016 # apt expands these.
  mirror=$(apt-get indextargets --format '$(CODENAME)|$(COMPONENT)|$(REPO_URI)|$(SIGNED_BY)' 'Created-By: Packages' |
    sed -n "s/^$suite|main|//p" | head -n 1)
  [ -n "$mirror" ] || fail "this machine has no package lists of Debian $suite" "apt-get update, on a Debian"
  key=${mirror#*|}
  mirror=${mirror%%|*}
  case $key in /*) ;; *) key='' ;; esac
}

# fetch SUITE: unpacks that suite's docker-compose into DIR/SUITE.
fetch() {
  rm -rf "${dir:?}/apt" "$dir/${1:?}"
  mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial" "$dir/$1"
  echo "deb ${key:+[signed-by=$key] }$mirror $1 main" >"$dir/apt/sources.list"
  apt="-qq -o Dir::Etc::SourceList=$dir/apt/sources.list -o Dir::Etc::SourceParts=/dev/null -o Dir::Etc::Preferences=/dev/null
    -o Dir::Etc::PreferencesParts=/dev/null -o Dir::State::Lists=$dir/apt/lists -o Dir::Cache=$dir/apt/cache
    -o Dir::State::Status=/dev/null -o Acquire::Languages=none -o APT::Sandbox::User=root"
  # shellcheck disable=SC2086 # Words on purpose.
  (cd "$dir/apt" && apt-get $apt update && apt-get $apt download docker-compose) >&2 ||
    fail "docker-compose of Debian $1 cannot be had from this machine's mirror"
  dpkg-deb -x "$dir"/apt/docker-compose_*.deb "$dir/$1"
  rm -rf "$dir/apt"
}

need_libraries() {
  missing=
  for library in $libraries; do
    dpkg-query -W -f '${Status}\n' "$library" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $library"
  done
  if [ -n "$missing" ]; then
    # shellcheck disable=SC2086 # Words on purpose.
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install $missing >&2 ||
      fail "these are missing:$missing" "apt-get update && apt-get install -y$missing"
  fi
}

find_mirror

second=$dir/docker-compose-2.26
if ! "$second" version >/dev/null 2>&1; then
  fetch "$second_suite"
  # The program itself; what Debian puts on PATH is a script with a fixed path in it.
  cp "$dir/$second_suite/usr/libexec/docker/cli-plugins/docker-compose" "$second"
  rm -rf "${dir:?}/$second_suite"
fi

first=$dir/docker-compose-1.29
if ! "$first" version >/dev/null 2>&1; then
  need_libraries
  fetch "$first_suite"
  cat >"$first" <<END
#!/bin/sh
PYTHONPATH='$dir/$first_suite/usr/lib/python3/dist-packages' exec /usr/bin/python3 -c 'from compose.cli.main import main; main()' "\$@"
END
  chmod 755 "$first"
fi

check() { # PROGRAM RELEASE
  seen=$("$1" version --short) || fail "$1 does not run"
  case $seen in "$2"*) ;; *) fail "$1 is release $seen, expected $2" ;; esac
}
check "$second" 2.26
check "$first" 1.29
echo "CHARON_DKG_TEST_COMPOSE_2_26=$second"
echo "CHARON_DKG_TEST_COMPOSE_1_29=$first"
