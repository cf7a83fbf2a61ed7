#!/bin/sh
# podman-compose starts a service whose dependency "service_completed_successfully" has failed.
#
# Packages: podman-compose 1.6.0 (PyPI) and Debian's busybox-static, in a temporary folder. Needs Debian, root, python3 and
#           podman (4.3.1 was there).
# Input:    a compose file with a job that ends with exit code 0 or 1, and a service that depends on the job with
#           "condition: service_completed_successfully".
# Guess:    after exit code 1 the service is not started, and "up" ends with an error: so the Compose specification has it, and so
#           Docker Compose does from 1.29 to 5.5.
# Seen:     the service runs after either, and "up -d" ends with 0 both times: podman-compose waits until the job has stopped,
#           and does not look at how.
# So:       what must not start before a check has passed is not held back by that condition with podman-compose. "podman
#           compose" with Docker Compose as its provider does hold it back.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

python3 -m venv "$dir/python"
"$dir/python/bin/pip" install -q podman-compose==1.6.0 >&2
mkdir -p "$dir/debian" "$dir/image/bin" "$dir/job"
(cd "$dir/debian" && apt-get -qq download busybox-static && dpkg-deb -x busybox-static_*.deb .) >&2
cp "$(find "$dir/debian" -path '*bin/busybox')" "$dir/image/bin/busybox"
ln -s busybox "$dir/image/bin/sh"
ln -s busybox "$dir/image/bin/sleep"
printf '[storage]\ndriver = "vfs"\nrunroot = "%s"\ngraphroot = "%s"\n' "$dir/run" "$dir/store" >"$dir/storage.conf"
CONTAINERS_STORAGE_CONF=$dir/storage.conf
export CONTAINERS_STORAGE_CONF
tar -C "$dir/image" -c . | podman import - localhost/box:1 >&2

# The limits are no part of it: podman's own are higher than some machines allow.
cat >"$dir/job/compose.yaml" <<'END'
x-box: &box
  image: localhost/box:1
  network_mode: none
  ulimits: {nofile: {soft: 1024, hard: 1024}, nproc: {soft: 1024, hard: 1024}}
services:
  job:
    <<: *box
    command: ["/bin/sh", "-c", "exit $CODE"]
  service:
    <<: *box
    command: ["/bin/sleep", "60"]
    depends_on:
      job: {condition: service_completed_successfully}
END
cd "$dir/job"
seen=$(
  for CODE in 0 1; do
    export CODE
    ended=0
    "$dir/python/bin/podman-compose" up -d >"$dir/up.log" 2>&1 || ended=$?
    echo "job $(podman inspect --format '{{.State.ExitCode}}' job_job_1), service $(podman inspect --format '{{.State.Status}}' job_service_1), up $ended"
    "$dir/python/bin/podman-compose" down -t 0 >"$dir/down.log" 2>&1
  done
)
printf '%s\n' "$seen"
expected='job 0, service running, up 0
job 1, service running, up 0'
[ "$seen" = "$expected" ] || { cat "$dir/up.log" >&2; echo "this is not what was seen before" >&2; exit 1; }
