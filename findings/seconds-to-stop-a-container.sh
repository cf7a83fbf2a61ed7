#!/bin/sh
# The Python package python-on-whales drops the seconds that a container is given to stop: after ten it is killed.
#
# Packages: python-on-whales 0.81.0 (PyPI), docker-cli 26.1.5+dfsg1-9 (Debian trixie), in a temporary folder. Needs Debian, root and python3.
# Input:    container.stop("charon", time=60), restart with the same, and compose.stop with timeout=60; then all three with a
#           timedelta, which each of them takes as well. A small program in docker's place notes what it is called with, and
#           docker's own reads these words without an engine.
# Guess:    --time 60 or --timeout 60 each time: "Seconds to wait for stop before killing a container (default 10)".
# Seen:     stop with the number 60 says nothing of it to docker, so the engine sends SIGKILL after its ten seconds. There is no error.
#           With a timedelta stop says 60.0s, and restart 60.0, which docker refuses as no whole number. Restart with the
#           number, and compose.stop, are right.
# So:       a validator or a charon with a duty at hand has less time than it was given. Give the container a stop timeout when it
#           is made (stop_grace_period in a compose file), or use compose.stop.
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

mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial"
echo "deb $key${source%%|*} trixie main" >"$dir/apt/sources.list"
for name in 'Etc::SourceParts "/dev/null"' 'Etc::Preferences "/dev/null"' 'Etc::PreferencesParts "/dev/null"' \
  "Etc::SourceList \"$dir/apt/sources.list\"" "State \"$dir/apt\"" "State::Lists \"$dir/apt/lists\"" \
  'State::Status "/dev/null"' "Cache \"$dir/apt/cache\""; do echo "Dir::$name;"; done >"$dir/apt/apt.conf"
echo 'APT::Sandbox::User "root"; APT::Install-Recommends "false";' >>"$dir/apt/apt.conf"
(cd "$dir" && export APT_CONFIG="$dir/apt/apt.conf" && apt-get -qq update && apt-get -qq download docker-cli) >&2
dpkg-deb -x "$dir"/docker-cli_*.deb "$dir/debian"
python3 -m venv "$dir/python"
"$dir/python/bin/pip" install -q python-on-whales==0.81.0 >&2

cat >"$dir/notes" <<'END'
#!/bin/sh
echo "$*" >>"$NOTES"
END
chmod +x "$dir/notes"
cat >"$dir/calls.py" <<'END'
import sys
from datetime import timedelta
from python_on_whales import DockerClient
docker = DockerClient(client_call=[sys.argv[1]])
for time in (60, timedelta(seconds=60)):
    docker.container.stop("charon", time=time)
    docker.container.restart("charon", time=time)
    docker.compose.stop("charon", timeout=time)
END
NOTES=$dir/words "$dir/python/bin/python" "$dir/calls.py" "$dir/notes"
seen=$(
  while read -r words; do
    echo "python-on-whales: $words"
    case $words in compose*) continue ;; esac
    # shellcheck disable=SC2086 # The words are several.
    DOCKER_HOST=unix://$dir/none "$dir/debian/usr/bin/docker" $words 2>&1 |
      sed -n -e 's/^.*Cannot connect.*/docker: read, and there is no engine/p' -e 's/^\(invalid argument [^:]*\):.*/docker: \1/p'
  done <"$dir/words"
)
printf '%s\n' "$seen"
expected='python-on-whales: container stop charon
docker: read, and there is no engine
python-on-whales: restart --time 60 charon
docker: read, and there is no engine
python-on-whales: compose stop --timeout 60 charon
python-on-whales: container stop --time 60.0s charon
docker: invalid argument "60.0s" for "-t, --time" flag
python-on-whales: restart --time 60.0 charon
docker: invalid argument "60.0" for "-t, --time" flag
python-on-whales: compose stop --timeout 60 charon'
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
