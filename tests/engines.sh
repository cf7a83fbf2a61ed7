#!/bin/sh
# Docker engines of the tests' own, beside whatever engine the machine has. Needs root.
#
#   engines.sh start rootful|rootless|userns|hidden DIR   prints what to know, as NAME=value lines
#   engines.sh stop DIR                                   ends it and all it left outside DIR
#
# A hidden one is rootful, in a mount namespace of its own, where DIR/hidden is another directory, and keeps no logs of
# containers that ask for none.
#
# All of an engine is in DIR: data, sockets, pid file, log. Outside there are only a bridge and the
# networks of its containers in a range of 10.213.0.0/16 that was free, three iptables rules for that
# range, and for rootless and userns a system user with subordinate ids; stop takes these back.
# `start` on a DIR whose engine died starts it again as it was, but for networks made in it.
set -eu
LC_ALL=C
export LC_ALL
umask 022
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

fail() {
  echo "engines.sh: $1" >&2
  shift
  for line do echo "  $line" >&2; done
  exit 1
}

# need PROGRAM PACKAGE: Debian's name of it in the advice.
need() { command -v "$1" >/dev/null || fail "$1 is missing" "apt-get install -y $2"; }

# alive PID: it runs, and is ours. While a process becomes another program it has no command line, as a dead one has none
# that nobody has reaped.
alive() {
  [ -n "$1" ] || return 1
  line=$({ tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null) || return 1
  case $line in
    *"$dir"*) ;;
    '') { sed 's/.*) //' "/proc/$1/stat" | grep -q '^[^ZX]'; } 2>/dev/null ;;
    *) return 1 ;;
  esac
}

answers() { docker -H "unix://$socket" version >/dev/null 2>&1; }

# state NAME VALUE: what stop has to know, written down before the thing is done.
state() { printf "%s='%s'\n" "$1" "$2" >>"$dir/state"; }

# in_range: does an address or route of this machine lie in 10.213.$1.0/20?
in_range() {
  { ip -4 -o addr; ip -4 route; } | grep -o '10\.213\.[0-9]*' | cut -d . -f 3 |
    awk -v low="$1" '$1 >= low && $1 < low + 16 { found = 1 } END { exit !found }'
}

rules() { # -I, -D or -C
  iptables -w "$1" FORWARD -s "$range" -j ACCEPT &&
    iptables -w "$1" FORWARD -d "$range" -j ACCEPT &&
    iptables -w -t nat "$1" POSTROUTING -s "$range" ! -d "$range" -j MASQUERADE
}

make_network() {
  need ip iproute2
  need iptables iptables
  if [ -z "${range-}" ]; then
    third=0
    while in_range "$third"; do
      third=$((third + 16))
      [ "$third" -lt 256 ] || fail "no free range is left in 10.213.0.0/16" "ip -4 addr shows what is there"
    done
    bridge=cdkg-test$third range=10.213.$third.0/20
    state bridge "$bridge"
    state range "$range"
  fi
  third=${bridge#cdkg-test}
  if [ ! -e "/sys/class/net/$bridge" ]; then
    ip link add "$bridge" type bridge || fail "this machine makes no bridge" "modprobe bridge"
    ip addr add "10.213.$third.1/24" dev "$bridge"
    ip link set "$bridge" up
  fi
  rules -C >/dev/null 2>&1 || rules -I || fail "iptables does not work here" "update-alternatives --config iptables"
}

# A user that nobody else has, with 65536 subordinate ids that nobody else has.
make_user() {
  need useradd passwd
  if [ -n "${user-}" ]; then return; fi
  number=0
  while id "cdkg-test$number" >/dev/null 2>&1; do number=$((number + 1)); done
  user=cdkg-test$number
  state user "$user"
  touch /etc/subuid /etc/subgid
  useradd --system --user-group --no-create-home --home-dir "$dir/home" --shell /usr/sbin/nologin "$user"
  grep -q "^$user:" /etc/subuid || {
    first=$(cat /etc/subuid /etc/subgid | awk -F : '{ end = $2 + $3; if (end > last) last = end } END { print (last < 200000) ? 200000 : last }')
    usermod --add-subuids "$first-$((first + 65535))" --add-subgids "$first-$((first + 65535))" "$user"
  }
}

# The engine's user has to pass through every directory on the way.
check_way() {
  way=$dir
  while way=$(dirname -- "$way") && [ "$way" != / ]; do
    [ -n "$(find "$way" -maxdepth 0 -perm -o=x)" ] ||
      fail "$way cannot be passed through by other users, as this engine must" "chmod o+x $way, or choose another directory"
  done
}

make_tun() {
  [ -e /dev/net/tun ] || modprobe tun 2>/dev/null || true
  [ -c /dev/net/tun ] || fail "/dev/net/tun is missing, which slirp4netns needs" "modprobe tun" \
    "or, in a container: mkdir -p /dev/net && mknod -m 666 /dev/net/tun c 10 200"
  # udev's own mode for it; without udev it is 600.
  if [ "$(stat -c %a /dev/net/tun)" != 666 ]; then
    state tun_mode "$(stat -c %a /dev/net/tun)"
    chmod 666 /dev/net/tun
  fi
}

before=
run_rootful() { # more options of dockerd
  # Not the engine's own iptables rules: at its start it would flush those of the machine's engine.
  # Not the machine's configuration, nor its containerd's name space.
  # What comes before dockerd, where something does, is replaced by it.
  # shellcheck disable=SC2086 # Words.
  setsid nohup $before dockerd --config-file "$dir/daemon.json" --data-root "$dir/data" --exec-root "$dir/exec" \
    --pidfile "$dir/dockerd.pid" --host "unix://$socket" --bridge "$bridge" --iptables=false --ip6tables=false \
    --default-address-pool "base=10.213.$((third + 8)).0/21,size=26" \
    --containerd-namespace "charon-dkg-$bridge" --containerd-plugins-namespace "charon-dkg-$bridge-plugins" \
    "$@" >>"$dir/log" 2>&1 </dev/null 9>&- &
  echo $! >"$dir/pid"
}

run_rootless() {
  install -d -m 700 -o "$user" -g "$user" "$dir/home" "$dir/run" "$dir/data"
  setsid nohup setpriv --reuid "$user" --regid "$user" --clear-groups --reset-env \
    env -C "$dir/home" "PATH=$PATH" "HOME=$dir/home" "USER=$user" "XDG_RUNTIME_DIR=$dir/run" \
    sh "$rootless" --host "unix://$socket" --data-root "$dir/data" >>"$dir/log" 2>&1 </dev/null 9>&- &
  echo $! >"$dir/pid"
}

start() {
  case $kind in rootful | rootless | userns | hidden) ;; *) fail "what kind of engine is '$kind'?" ;; esac
  [ "$(id -u)" = 0 ] || fail "engines for the tests are started by root"
  # Sockets have at most 107 bytes of path, and containerd's lie deeper.
  [ "${#dir}" -le 60 ] || fail "$dir is too long a path for sockets in it" "choose a directory of at most 60 bytes"
  need docker docker.io
  need dockerd docker.io
  need flock util-linux
  mkdir -p "$dir"
  chmod 711 "$dir"
  echo '{}' >"$dir/daemon.json"
  if [ -f "$dir/state" ]; then
    # shellcheck disable=SC1091 # Written by state().
    . "$dir/state"
    ! alive "$(cat "$dir/pid")" || fail "an engine is running in $dir already"
    # What a killed engine leaves; an init that reaps no orphans keeps the pids occupied.
    rm -f "$dir/dockerd.pid" "$dir/run/docker.pid"
    for pidfile in "$dir/exec/containerd/containerd.pid" "$dir/run/docker/containerd/containerd.pid"; do
      [ ! -f "$pidfile" ] || alive "$(cat "$pidfile")" || rm -f "$pidfile"
    done
    # A dockerd that finds its old bridge network and has address pools of its own deletes the link
    # docker0 (moby daemon/daemon_unix.go, removeDefaultBridgeInterface), which is the machine's
    # engine's. So it finds none; networks that were made in this engine are forgotten too.
    rm -f "$dir/data/network/files/local-kv.db" "$dir"/data/*.*/network/files/local-kv.db
  else
    state kind "$kind"
  fi
  : >>"$dir/log"

  # Two starts at a time must not choose the same range or the same ids.
  exec 9>/run/charon-dkg-test-engines.lock
  flock 9
  case $kind in
    rootful)
      make_network
      run_rootful
      ;;
    hidden)
      need unshare util-linux
      mkdir -p "$dir/hidden"
      printf '#!/bin/sh\nmount -t tmpfs tmpfs "%s/hidden" && exec "$@"\n' "$dir" >"$dir/hide"
      before="unshare --mount sh $dir/hide"
      echo '{"log-driver": "none"}' >"$dir/daemon.json"
      make_network
      run_rootful
      ;;
    userns)
      check_way
      make_network
      make_user
      run_rootful --userns-remap="$user"
      ;;
    rootless)
      need newuidmap uidmap
      need slirp4netns slirp4netns
      need rootlesskit rootlesskit
      need setpriv util-linux
      rootless=$(command -v dockerd-rootless.sh) || rootless=/usr/share/docker.io/contrib/dockerd-rootless.sh
      [ -f "$rootless" ] || fail "dockerd-rootless.sh is missing" "it comes with docker.io, or with docker-ce-rootless-extras"
      check_way
      make_tun
      make_user
      run_rootless
      ;;
  esac
  flock -u 9

  pid=$(cat "$dir/pid")
  waited=0
  until answers; do
    if ! alive "$pid" || [ "$waited" -ge 6000 ]; then
      tail -n 15 "$dir/log" >&2
      stop
      fail "the $kind engine did not come up; the end of $dir/log is above"
    fi
    sleep 0.2
    waited=$((waited + 1))
  done
  echo "DOCKER_HOST=unix://$socket"
  echo "PIDFILE=$dir/pid"
  if [ -n "${user-}" ]; then
    echo "ENGINE_USER=$user"
    echo "ENGINE_UID=$(id -u "$user")"
    echo "SUBUID_START=$(sed -n "s/^$user:\([0-9]*\):.*/\1/p" /etc/subuid)"
  fi
}

# Every process of this engine, whatever became of dockerd: its programs name its sockets, and a
# container is a child of its shim.
processes() {
  for process in /proc/[0-9]*; do
    # A process that has ended meanwhile is none of it.
    { read -r name <"$process/comm"; } 2>/dev/null || continue
    case $name in
      dockerd | containerd | containerd-shim* | rootlesskit | exe | slirp4netns | vpnkit) ;;
      *) continue ;;
    esac
    if tr '\0' '\n' <"$process/cmdline" 2>/dev/null | grep -qF -e "$dir/"; then
      case $name in containerd-shim*) cat "$process/task"/*/children 2>/dev/null || true ;; esac
      echo "${process#/proc/}"
    fi
  done
}

stop() {
  [ -f "$dir/state" ] || fail "no engine was started in $dir"
  # shellcheck disable=SC1091 # Written by state().
  . "$dir/state"
  pid=$(cat "$dir/pid" 2>/dev/null) || pid=''
  if alive "$pid"; then
    if answers; then
      containers=$(timeout 20 docker -H "unix://$socket" ps -aq) || containers=''
      # shellcheck disable=SC2086 # A list of ids.
      [ -z "$containers" ] || timeout 60 docker -H "unix://$socket" rm -f $containers >/dev/null 2>&1 || true
    fi
    kill "$pid" 2>/dev/null || true
    waited=0
    while alive "$pid" && [ "$waited" -lt 150 ]; do
      sleep 0.2
      waited=$((waited + 1))
    done
  fi
  rest=$(processes)
  # shellcheck disable=SC2086 # A list of pids.
  [ -z "$rest" ] || { kill -KILL $rest 2>/dev/null || true; sleep 0.5; }
  sed -n "s#^[^ ]* \($dir/[^ ]*\) .*#\1#p" /proc/mounts | sort -r | while read -r mounted; do umount -l "$mounted"; done
  if [ -n "${range-}" ]; then
    ip -4 -o addr | awk '{ print $2, $4 }' | while read -r device address; do
      octet=$(echo "$address" | sed -n 's/^10\.213\.\([0-9]*\)\..*/\1/p')
      third=${bridge#cdkg-test}
      if [ -n "$octet" ] && [ "$octet" -ge "$third" ] && [ "$octet" -lt $((third + 16)) ]; then
        ip link del "$device" || true
      fi
    done
    while rules -C >/dev/null 2>&1; do rules -D; done
  fi
  [ -z "${tun_mode-}" ] || chmod "$tun_mode" /dev/net/tun
  if [ -n "${user-}" ] && id "$user" >/dev/null 2>&1; then
    userdel "$user"
    # Older shadow leaves these.
    sed -i "/^$user:/d" /etc/subuid /etc/subgid
  fi
  rm -f "$dir/state" "$dir/pid" "$dir/dockerd.pid" "$socket"
}

usage() { fail "usage: engines.sh start rootful|rootless|userns|hidden DIR" "or: engines.sh stop DIR"; }

kind=''
case ${1-}-$# in
  start-3) kind=$2 dir=$3 ;;
  stop-2) dir=$2 ;;
  *) usage ;;
esac
case $dir in /*) ;; *) dir=$PWD/$dir ;; esac
case $dir in *[!A-Za-z0-9/._-]*) fail "only letters, digits, '.', '_' and '-' may be in $dir" ;; esac
if [ "$kind" = rootless ] || grep -qx "kind='rootless'" "$dir/state" 2>/dev/null; then
  socket=$dir/run/docker.sock
else
  socket=$dir/docker.sock
fi
"$1"
