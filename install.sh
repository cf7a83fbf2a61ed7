#!/bin/sh
# Installs charon-dkg from this checkout so that `docker charon-dkg` works, and can take exactly that
# back. `./install.sh --help` tells how. Debian and Ubuntu with git and apt are enough.
# shellcheck disable=SC2015 # "a && b || die": die is wanted if either fails.
# shellcheck disable=SC2317 # cleanup is called by a trap.
set -eu
LC_ALL=C
export LC_ALL
umask 022

# The toolchain that rustup is told to get where the packages of the distribution are too old.
TOOLCHAIN=1.95.0

# Since this release Compose asks a gate by itself (providers); with an older one the gate is a service.
COMPOSE_PROVIDERS=2.36

FORWARDER_MARK='# charon-dkg forwarder: placed by install.sh, and install.sh --uninstall takes it away.'

TAB=$(printf '\t')
NEWLINE='
'

usage() {
  cat <<'EOF'
Usage: ./install.sh [OPTION]...
Builds charon-dkg from this checkout, or takes a release, and installs it so that `docker charon-dkg` works.

  --user            for this user only: ~/.local/bin and ~/.docker/cli-plugins
  --prefix DIR      below DIR instead of /usr/local (with --user: instead of ~/.local)
  --plugin-dir DIR  put docker-charondkg there, where docker looks for plugins
  --no-forwarder    leave docker alone: `docker charondkg` works, `docker charon-dkg` does not
  --with-docker     first install and start a docker engine and Compose if there is none
  --yes             install what is missing (packages, Rust) without asking
  --prepare         install only what building needs, and stop
  --from RELEASE    install a release instead of building: its directory, its https URL, or its .tar.gz
                    beside SHA256SUMS. Needs no compiler; its checksum is verified first
  --binary FILE     install this charon-dkg instead of building one
  --uninstall       remove exactly what was installed (give the same --prefix or --user)
  --print WHAT      print what would be placed: forwarder, sh or fish
  --help            print this

Exit codes: 0 done; 1 a step failed; 2 wrong usage; 3 refused. Files are placed only once everything
is ready, so after 1, 2 or 3 nothing of charon-dkg was placed, replaced or removed.
EOF
}

say() { printf '%s\n' "$*" >&2; }
out() { printf '%s\n' "$*"; }

# die CODE LINE...: ends with this exit code and these lines.
die() {
  die_code=$1
  shift
  printf 'install.sh: %s\n' "$1" >&2
  shift
  for die_line do printf '  %s\n' "$die_line" >&2; done
  exit "$die_code"
}

# ---------------------------------------------------------------------------------------------------
# What is placed
# ---------------------------------------------------------------------------------------------------

# Its variables have long names because one that the caller exported under the same name would reach
# docker changed.
print_forwarder() {
  printf '#!/bin/sh\n%s\n' "$FORWARDER_MARK"
  cat <<'EOF'
# Turns `docker charon-dkg ...` into `docker charondkg ...`, since docker allows no hyphen in the name of
# a plugin, and hands everything else to the next docker on PATH exactly as it was typed.
charondkg_mark='# charon-dkg forwarder: placed by install.sh, and install.sh --uninstall takes it away.'

# Our word is the first behind docker's global flags, which are the same from 19.03 to 29.
charondkg_look=1 charondkg_value=''
for charondkg_word do
  shift
  if [ -n "$charondkg_value" ]; then
    charondkg_value=''
  elif [ -n "$charondkg_look" ]; then
    case $charondkg_word in
      charon-dkg)
        charondkg_word=charondkg charondkg_look=''
        # So that usage lines and advice repeat what was typed.
        CHARON_DKG_SPELLING='docker charon-dkg'
        export CHARON_DKG_SPELLING
        ;;
      --config | --context | --host | --log-level | --tlscacert | --tlscert | --tlskey) charondkg_value=1 ;;
      # What docker's completion for bash, zsh and fish calls with the words typed so far; and `docker help charon-dkg`.
      __complete | __completeNoDesc | help | --*) ;;
      # Short flags may share one hyphen. A -c, -H or -l at the end takes the next word.
      -[cHl] | -[Dhv]*[cHl])
        case ${charondkg_word%?} in -*[!Dhv]*) ;; *) charondkg_value=1 ;; esac
        ;;
      -?*) ;;
      *) charondkg_look='' ;;
    esac
  fi
  set -- "$@" "$charondkg_word"
done

# The next docker: the first one behind this forwarder on PATH, or the first of all if this one is not
# on PATH. No forwarder is ever called by another, so there is no loop.
charondkg_next='' charondkg_seen='' charondkg_path=$PATH:
while [ -n "$charondkg_path" ]; do
  charondkg_file=${charondkg_path%%:*}
  charondkg_file=${charondkg_file:-.}/docker
  charondkg_path=${charondkg_path#*:}
  # shellcheck disable=SC3013 # dash, bash, ksh, busybox and POSIX 2024 all know -ef.
  if [ "$charondkg_file" -ef "$0" ]; then
    [ -n "$charondkg_seen" ] || charondkg_next=''
    charondkg_seen=1
  elif [ -z "$charondkg_next" ] && [ -f "$charondkg_file" ] && [ -x "$charondkg_file" ]; then
    charondkg_one='' charondkg_two=''
    { read -r charondkg_one && [ "$charondkg_one" = '#!/bin/sh' ] && read -r charondkg_two; } \
      2>/dev/null <"$charondkg_file"
    [ "$charondkg_two" = "$charondkg_mark" ] || charondkg_next=$charondkg_file
  fi
done
if [ -z "$charondkg_next" ]; then
  echo "docker: not found: $0 only forwards, and there is no other docker behind it on PATH" >&2
  exit 127
fi
exec "$charondkg_next" "$@"
EOF
}

# The function for bash and zsh. The keyword keeps an alias of the same name from being expanded here.
print_sh_function() {
  cat <<EOF
# Lets \`docker charon-dkg\` work in bash and zsh where no forwarder can come before docker on PATH.
function docker {
  if [ -x '$forwarder' ]; then
    '$forwarder' "\$@"
  else
    command docker "\$@"
  fi
}
EOF
}

print_fish_function() {
  cat <<EOF
# Lets \`docker charon-dkg\` work in fish where no forwarder can come before docker on PATH.
function docker --wraps docker --description 'docker, and docker charon-dkg'
    if test -x '$forwarder'
        '$forwarder' \$argv
    else
        command docker \$argv
    end
end
EOF
}

print_block() {
  out "$block_begin"
  out "if [ -r '$share/docker.sh' ]; then . '$share/docker.sh'; fi"
  out "$block_end"
}

# ---------------------------------------------------------------------------------------------------
# Small tools
# ---------------------------------------------------------------------------------------------------

digest() { sha256sum <"$1" | cut -d ' ' -f 1; }

# version_ge A B: A is the same as B or newer, by their leading numbers.
version_ge() {
  version_a=$(out "$1" | sed 's/^v//; s/[^0-9.].*//')
  [ -n "$version_a" ] && [ "$(printf '%s\n%s\n' "$2" "$version_a" | sort -V | head -n 1)" = "$2" ]
}

is_root() { [ "$(id -u)" -eq 0 ]; }
can_be_root() { is_root || command -v sudo >/dev/null 2>&1; }
as_root() { if is_root; then "$@"; else sudo -- "$@"; fi; }
is_interactive() { [ -t 0 ] && [ -t 2 ]; }

# agree QUESTION: yes by --yes, or by an answer at the terminal.
agree() {
  [ "$yes" = 0 ] || return 0
  is_interactive || return 1
  printf '%s [Y/n] ' "$1" >&2
  read -r answer || return 1
  case $answer in '' | [Yy] | [Yy][Ee][Ss]) ;; *) return 1 ;; esac
}

has_apt() { command -v apt-get >/dev/null 2>&1; }

# Once in a run; a list that cannot be read is no reason to give up on the others.
apt_update() {
  [ -z "$apt_updated" ] || return 0
  apt_updated=1
  say "Reading the package lists (apt-get update)"
  as_root apt-get -qq -o DPkg::Lock::Timeout=120 update >&2 || say "apt-get update failed; continuing with the existing lists"
}

apt_install() {
  say "Installing packages: $*"
  # Without a restart of services that have nothing to do with ours (Ubuntu's needrestart).
  as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -qq -y -o DPkg::Lock::Timeout=120 \
    -o Dpkg::Use-Pty=0 ${apt_flags:+"$apt_flags"} install "$@" >&2
}

# The version of a package that apt would install; nothing if there is none.
candidate() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: \([0-9].*\)/\1/p' | sed 's/^[0-9]*://'; }

# is_forwarder FILE: one of ours, of whatever install.
is_forwarder() { [ -f "$1" ] && [ "$(head -c 300 "$1" 2>/dev/null | tr -d '\0' | sed -n 2p)" = "$FORWARDER_MARK" ]; }

# ---------------------------------------------------------------------------------------------------
# Building
# ---------------------------------------------------------------------------------------------------

# as_builder COMMAND...: under `sudo ./install.sh` the owner of the checkout builds, not root.
as_builder() {
  if is_root && [ -n "${SUDO_UID-}" ] && [ "$SUDO_UID" != 0 ] && [ "$(stat -c %u "$here")" = "$SUDO_UID" ]; then
    sudo -H -u "#$SUDO_UID" -- "$@"
  else
    "$@"
  fi
}

cc_works() {
  printf '#include <stdlib.h>\nint main(void) { return EXIT_SUCCESS; }\n' >"$work/probe.c"
  "${CC:-cc}" -o "$work/probe" "$work/probe.c" >/dev/null 2>&1
}

# rust_at DIR [RUSTUP-TOOLCHAIN]: DIR (or PATH, if empty) has a new enough cargo and rustc.
rust_at() {
  # rustup must not fetch a toolchain just because it is asked for its version.
  set -- "$1" "${2-}" env RUSTUP_AUTO_INSTALL=0 ${2:+"RUSTUP_TOOLCHAIN=$2"}
  rust_dir=$1 rust_toolchain=$2
  shift 2
  rust_version=$(as_builder "$@" "${rust_dir:+$rust_dir/}rustc" --version 2>/dev/null | cut -d ' ' -f 2) || return 1
  version_ge "$rust_version" "$rust_needed" && as_builder "$@" "${rust_dir:+$rust_dir/}cargo" --version >/dev/null 2>&1
}

find_rust() {
  if [ -n "${CARGO_HOME-}" ] && [ "$(as_builder id -u)" = "$(id -u)" ]; then
    rustup_bin=$CARGO_HOME/bin
  else
    # shellcheck disable=SC2016 # The builder's own HOME.
    rustup_bin=$(as_builder sh -c 'printf "%s\n" "$HOME/.cargo/bin"')
  fi
  rust_at '' && return
  # The last are Ubuntu's packages of one release each.
  for rust_candidate in "$rustup_bin" /usr/lib/rust-*/bin; do
    [ ! -d "$rust_candidate" ] || { rust_at "$rust_candidate" && return; }
  done
  find_rustup && { rust_at "$rustup_dir" "$TOOLCHAIN" || rust_at "$rustup_dir" stable; }
}

find_rustup() {
  for rustup_dir in "$rustup_bin" ''; do
    as_builder "${rustup_dir:+$rustup_dir/}rustup" --version >/dev/null 2>&1 && return
  done
  return 1
}

# The packages of this distribution with a new enough Rust, if there are any.
rust_packages() {
  for rust_package in cargo cargo-web "$(apt-cache pkgnames cargo-1. 2>/dev/null | grep -x 'cargo-1\.[0-9]*' | sort -V | tail -n 1)"; do
    rust_compiler=rustc${rust_package#cargo}
    if [ -n "$rust_package" ] && version_ge "$(candidate "$rust_compiler")" "$rust_needed"; then
      out "$rust_package $rust_compiler"
      return
    fi
  done
}

# Sees to a C compiler and to Rust, or stops with the command that gets them.
prepare_build() {
  rust_needed=$(sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' "$here/Cargo.toml" | head -n 1)
  build_packages='' toolchain_too=''
  cc_works || build_packages=' gcc libc6-dev'
  find_rust || toolchain_too=1
  [ -n "$build_packages$toolchain_too" ] || return 0

  # Looking into fresh lists is all that is done before there is a yes.
  if has_apt && can_be_root && { is_root || [ "$yes" = 1 ] || is_interactive; }; then apt_update; fi
  if [ -n "$toolchain_too" ] && ! find_rustup; then
    rust_found=$(rust_packages)
    if [ -n "$rust_found" ]; then
      toolchain_too=''
    elif [ -n "$(candidate rustup)" ]; then
      rust_found=rustup
    else
      die 3 "building needs Rust $rust_needed or newer, which is not packaged here" \
        "Install it with rustup (https://rustup.rs), and then again:" "./install.sh${rerun_words:+ $rerun_words}"
    fi
    build_packages="$build_packages $rust_found"
  fi
  build_packages=${build_packages# }
  [ -z "$build_packages" ] || has_apt || die 3 "building needs a C compiler with its headers; install one and try again"

  # All that is missing, as a person would type it.
  set --
  if is_root; then missing_sudo=''; else missing_sudo='sudo '; fi
  [ -z "$build_packages" ] || set -- "${missing_sudo}apt-get install -y $build_packages"
  [ -z "$toolchain_too" ] || set -- "$@" "rustup toolchain install $TOOLCHAIN --profile minimal"
  agree "This is needed to build, and would be installed now: $*" ||
    die 3 "building needs a C compiler and Rust $rust_needed or newer. Missing here:" "$@" \
      "This installs it and goes on:" "./install.sh --yes${rerun_words:+ $rerun_words}"
  if [ -n "$build_packages" ]; then
    can_be_root || die 3 "packages are missing, and there is no sudo here. Have this run as root:" "apt-get install -y $build_packages"
    apt_flags=--no-install-recommends
    # shellcheck disable=SC2086 # A list of package names.
    apt_install $build_packages || die 1 "the packages could not be installed: $build_packages"
    apt_flags=''
  fi
  if [ -n "$toolchain_too" ]; then
    find_rustup && as_builder "${rustup_dir:+$rustup_dir/}rustup" toolchain install "$TOOLCHAIN" --profile minimal >&2 ||
      die 1 "rustup could not install Rust $TOOLCHAIN"
  fi
  cc_works || die 1 "the C compiler still does not work: ${CC:-cc}"
  find_rust || die 1 "Rust $rust_needed or newer is still not here"
}

build() {
  say "Building charon-dkg with Rust $rust_version (some minutes the first time)"
  build_path=${rust_dir:+$rust_dir:}$PATH
  # Cargo looks for the settings of a build, which make it static, from where it is. `charon-dkg version` says the commit.
  build_commit=$(as_builder git -C "$here" rev-parse --short HEAD 2>/dev/null) || build_commit=''
  build_version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$here/Cargo.toml" | head -n 1)
  (cd "$here" && as_builder env "PATH=$build_path" ${rust_toolchain:+"RUSTUP_TOOLCHAIN=$rust_toolchain"} \
    ${build_commit:+"CHARON_DKG_VERSION=$build_version (commit $build_commit)"} \
    cargo build --release --locked --target-dir "$target" --bins -p charon-dkg -p charon-dkg-simulator >&2) ||
    die 1 "the build failed; nothing was installed"
}

# ---------------------------------------------------------------------------------------------------
# A release
# ---------------------------------------------------------------------------------------------------

# get_from_release NAME: this file of the release, in $work/release.
get_from_release() {
  case $release in
    *://*)
      say "Fetching $release/$1"
      if command -v curl >/dev/null 2>&1; then
        curl -fsSL -o "$work/release/$1" "$release/$1"
      else
        wget -q -O "$work/release/$1" "$release/$1"
      fi
      ;;
    *) cp -- "$release/$1" "$work/release/$1" ;;
  esac || die 1 "cannot get $release/$1; nothing was installed"
}

# Unpacks the programs of a release, which has to be what SHA256SUMS beside it says.
take_release() {
  case $(uname -m) in
    x86_64) release_arch=amd64 ;;
    aarch64) release_arch=arm64 ;;
    *) die 3 "releases are for x86-64 and arm64, and this machine is $(uname -m)" ;;
  esac
  release=${from%/} archive=''
  case $release in *.tar.gz) archive=${release##*/} release=$(dirname -- "$release") ;; esac
  mkdir -- "$work/release" "$work/unpacked"
  get_from_release SHA256SUMS
  archive=${archive:-$(sed -n "s/^[0-9a-f]\{64\}  \(charon-dkg-[^/]*-linux-${release_arch}[.]tar[.]gz\)\$/\1/p" "$work/release/SHA256SUMS")}
  expected=$(awk -v name="$archive" '$2 == name { print $1 }' "$work/release/SHA256SUMS")
  [ -n "$archive" ] && [ "${#expected}" = 64 ] ||
    die 3 "$release/SHA256SUMS does not name one ${archive:-archive for $release_arch}; nothing was installed"
  get_from_release "$archive"
  [ "$(digest "$work/release/$archive")" = "$expected" ] ||
    die 3 "$archive is not what $release/SHA256SUMS says; nothing was installed" \
      "seen:     $(digest "$work/release/$archive")" "expected: $expected" "Fetch both again; if they still differ, do not use them."
  tar -xzf "$work/release/$archive" --no-same-owner --strip-components=1 -C "$work/unpacked" ||
    die 1 "$archive cannot be unpacked; nothing was installed"
  binary=$work/unpacked/charon-dkg
}

# ---------------------------------------------------------------------------------------------------
# The engine and Compose
# ---------------------------------------------------------------------------------------------------

# As root if need be: a user who is not in the group docker cannot ask.
engine_version() {
  docker version --format '{{.Server.Version}}' 2>/dev/null || {
    ! is_root && can_be_root && as_root docker version --format '{{.Server.Version}}' 2>/dev/null
  }
}

has_engine_programs() { command -v docker >/dev/null 2>&1 && PATH=$PATH:/usr/sbin:/sbin command -v dockerd >/dev/null 2>&1; }

compose_version() { docker compose version --short 2>/dev/null || docker-compose version --short 2>/dev/null; }

start_engine() {
  if [ -d /run/systemd/system ]; then
    say "Starting the engine (systemctl enable --now docker)"
    as_root systemctl enable --now docker >&2
  elif ! { [ -x /etc/init.d/docker ] && say "Starting the engine (service docker start)" && as_root service docker start >&2; }; then
    say "Starting the engine (dockerd, until the machine stops; its log is /var/log/docker.log)"
    # shellcheck disable=SC2016 # Expanded by the inner shell.
    as_root sh -c 'PATH=$PATH:/usr/sbin:/sbin; setsid nohup dockerd >>/var/log/docker.log 2>&1 </dev/null &'
  fi
  for _ in $(seq 60); do
    engine_version >/dev/null && return
    sleep 1
  done
  return 1
}

# Finds out first what this machine's own package sources have; nothing is added to them.
with_docker() {
  engine=$(engine_version) || engine=''
  compose=$(compose_version) || compose=''
  engine_packages='' compose_package=''
  [ -n "$engine" ] || has_engine_programs || engine_packages='ca-certificates docker.io'
  if [ -n "$engine_packages" ] || ! version_ge "$compose" "$COMPOSE_PROVIDERS"; then
    if has_apt && can_be_root; then apt_update; fi
    for docker_package in docker-compose-plugin docker-compose-v2 docker-compose; do
      docker_candidate=$(candidate "$docker_package")
      if version_ge "$docker_candidate" "$COMPOSE_PROVIDERS"; then
        compose_package=$docker_package
        break
      fi
      [ -n "$compose$compose_package" ] || [ -z "$docker_candidate" ] || compose_package=$docker_package
    done
  fi
  [ -z "$engine_packages" ] || [ -n "$(candidate docker.io)" ] ||
    die 1 "no docker engine is here, and this machine's package sources have no docker.io; nothing was installed"
  [ -n "$compose$compose_package" ] ||
    die 1 "no Compose is here, and this machine's package sources have none; nothing was installed"
  [ -n "$engine" ] && [ -z "$compose_package" ] || can_be_root || die 3 "--with-docker needs root, and there is no sudo here"

  # shellcheck disable=SC2086 # A list of package names.
  [ -z "$engine_packages" ] || apt_install $engine_packages || die 1 "the engine could not be installed"
  # Since Debian 13 the client is a package of its own. Before, a newer suite may offer one that does not go together
  # with this engine.
  command -v docker >/dev/null 2>&1 || apt_install docker-cli || die 1 "docker's client could not be installed"
  [ -z "$compose_package" ] || apt_install "$compose_package" || die 1 "Compose could not be installed"
  [ -n "$engine" ] || start_engine || die 1 "the engine does not answer" "Look at: journalctl -u docker, or /var/log/docker.log"
  say "Docker engine $(engine_version) answers"
  compose=$(compose_version) || die 1 "Compose was installed but does not answer"
  say "Docker Compose $compose answers"
  version_ge "$compose" "$COMPOSE_PROVIDERS" ||
    say "It is older than $COMPOSE_PROVIDERS, so gates will be one-shot services instead of providers; they refuse the same."
}

# ---------------------------------------------------------------------------------------------------
# What is where
# ---------------------------------------------------------------------------------------------------

# The manifest has one line for each thing placed: kind, mark, path, with tabs between. The mark is a
# file's sha256, a link's target, or for a block in a shell's start file what was there before
# ("kept", "newline" that we added, or "created") and the block's sha256.
recorded() {
  [ ! -f "$manifest" ] || KIND=$1 THE_PATH=$2 awk -F '\t' '$1 == ENVIRON["KIND"] && $3 == ENVIRON["THE_PATH"] { print $2 }' "$manifest"
}

# is_ours KIND PATH: it is there, exactly as an install placed it.
is_ours() {
  case $1 in
    file) [ ! -L "$2" ] && [ -f "$2" ] && recorded file "$2" | grep -qxF -e "$(digest "$2")" ;;
    link) [ -L "$2" ] && recorded link "$2" | grep -qxF -e "$(readlink "$2")" ;;
    block) block_in "$2" && recorded block "$2" | grep -q ":$(block_digest "$2")\$" ;;
  esac
}

# block_in FILE: sets block_start and block_length if our markers are there, else fails.
block_in() {
  block_start=$(grep -abFx -e "$block_begin" -- "$1" | head -n 1 | cut -d : -f 1)
  [ -n "$block_start" ] || return 1
  block_stop=$(grep -abFx -e "$block_end" -- "$1" | cut -d : -f 1 | awk -v start="$block_start" '$1 > start { print; exit }')
  [ -n "$block_stop" ] || return 1
  block_length=$((block_stop + ${#block_end} + 1 - block_start))
}

block_digest() { tail -c "+$((block_start + 1))" "$1" | head -c "$block_length" | sha256sum | cut -d ' ' -f 1; }

# The docker that a call reaches now, not counting forwarders; and whether our directory comes first.
look_at_path() {
  real_docker='' bin_on_path=0 bin_first=0 look_path=$PATH:
  while [ -n "$look_path" ]; do
    look_dir=${look_path%%:*}
    look_dir=${look_dir:-.}
    look_path=${look_path#*:}
    # shellcheck disable=SC3013 # Known to every sh this runs on.
    if [ "${look_dir%/}" = "$bin" ] || [ "$look_dir" -ef "$bin" ]; then
      bin_on_path=1
      [ -n "$real_docker" ] || bin_first=1
    fi
    if [ -z "$real_docker" ] && [ -f "$look_dir/docker" ] && [ -x "$look_dir/docker" ] && ! is_forwarder "$look_dir/docker"; then
      real_docker=$look_dir/docker
    fi
  done
}

choose_way() {
  look_at_path
  way=functions way_reason=''
  if [ "$no_forwarder" = 1 ]; then
    way=none
  elif [ "$bin_on_path" = 0 ]; then
    way_reason="$bin is not on PATH"
  elif [ -e "$bin/docker" ] || [ -L "$bin/docker" ]; then
    if is_ours file "$bin/docker" || { [ ! -L "$bin/docker" ] && cmp -s "$work/forwarder" "$bin/docker"; }; then
      way=forwarder
    else
      way_reason="$bin/docker is there already and is not ours; it was left as it is"
    fi
  elif [ "$bin_first" = 1 ]; then
    way=forwarder
  else
    way_reason="$real_docker comes before $bin on PATH"
  fi
}

# The start files that the shells of this scope read. Only shells that are here are looked after.
rc_files() {
  case $scope in
    user)
      out "$HOME/.bashrc"
      if command -v zsh >/dev/null 2>&1 || [ -e "${ZDOTDIR:-$HOME}/.zshrc" ]; then out "${ZDOTDIR:-$HOME}/.zshrc"; fi
      ;;
    system)
      if [ -e /etc/bashrc ] && [ ! -e /etc/bash.bashrc ]; then out /etc/bashrc; else out /etc/bash.bashrc; fi
      if [ -d /etc/zsh ]; then
        out /etc/zsh/zshrc
      elif [ -e /etc/zshrc ] || command -v zsh >/dev/null 2>&1; then
        out /etc/zshrc
      fi
      ;;
  esac
}

# plan KIND SOURCE MODE PATH
plan() { printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >>"$work/plan"; }

make_plan() {
  choose_way
  : >"$work/plan"
  plan file "$binary" 755 "$bin/charon-dkg"
  # What plays charon in rehearsals; a lone binary comes without it.
  simulator=$(dirname -- "$binary")/charon-dkg-simulator
  [ ! -x "$simulator" ] || plan file "$simulator" 755 "$prefix/libexec/charon-dkg/charon-dkg-simulator"
  for page in "$work"/unpacked/manual/*.1.gz; do
    [ ! -f "$page" ] || plan file "$page" 644 "$prefix/share/man/man1/${page##*/}"
  done
  plan link "$bin/charon-dkg" - "$plugin_dir/docker-charondkg"
  case $way in
    forwarder) plan file "$work/forwarder" 755 "$bin/docker" ;;
    functions)
      plan file "$work/forwarder" 755 "$forwarder"
      plan file "$work/docker.sh" 644 "$share/docker.sh"
      rc_files >"$work/rc-files"
      while read -r rc_file; do plan block "$work/block" 644 "$rc_file"; done <"$work/rc-files"
      case $scope in
        user) fish_dir=${XDG_CONFIG_HOME:-$HOME/.config}/fish ;;
        *) fish_dir=/etc/fish ;;
      esac
      if [ "$scope" = prefix ]; then
        plan file "$work/docker.fish" 644 "$share/docker.fish"
      elif [ -d "$fish_dir" ] || command -v fish >/dev/null 2>&1; then
        plan file "$work/docker.fish" 644 "$fish_dir/conf.d/charon-dkg.fish"
      fi
      ;;
  esac
  plan file "$here/$self" 755 "$share/install.sh"
}

# Names everything in the way of the plan, before anything is touched.
check_plan() {
  while IFS=$TAB read -r plan_kind plan_source plan_mode plan_path; do
    [ -e "$plan_path" ] || [ -L "$plan_path" ] || continue
    ! is_ours "$plan_kind" "$plan_path" || continue
    case $plan_kind in
      file)
        if [ -L "$plan_path" ] || [ ! -f "$plan_path" ] || [ ! -r "$plan_path" ]; then
          out "$plan_path is not a plain file of ours"
        elif ! cmp -s "$plan_source" "$plan_path"; then
          if [ -n "$(recorded file "$plan_path")" ]; then
            out "$plan_path was changed since it was installed"
          else
            out "$plan_path is there already and is not ours"
          fi
        fi
        ;;
      link)
        if [ ! -L "$plan_path" ]; then
          out "$plan_path is there already and is not ours"
        elif [ "$(readlink "$plan_path")" != "$plan_source" ]; then
          out "$plan_path is a link to $(readlink "$plan_path"), which is not ours"
        fi
        ;;
      block)
        if [ ! -f "$plan_path" ]; then
          out "$plan_path is not a plain file"
        elif grep -qaFx -e "$block_begin" -- "$plan_path"; then
          block_in "$plan_path" && [ "$(block_digest "$plan_path")" = "$(digest "$work/block")" ] ||
            out "$plan_path was edited between the markers of charon-dkg"
        fi
        ;;
    esac
  done <"$work/plan" >"$work/refused"
  if [ -s "$work/refused" ]; then
    set --
    while read -r refused_line; do set -- "$@" "$refused_line"; done <"$work/refused"
    die 3 "files that are not ours would have to be overwritten; nothing was changed" "$@" "Move them away, or choose another --prefix."
  fi
}

# ---------------------------------------------------------------------------------------------------
# Placing, and taking back
# ---------------------------------------------------------------------------------------------------

# alone: no other install.sh places or takes back anything there until this one is done.
alone() {
  exec 9<"$share"
  flock -w 60 9 || die 3 "another install.sh is using $prefix"
}

# make_dir DIR: with all that is missing above it; remembers what it made.
make_dir() {
  [ ! -d "$1" ] || return 0
  make_dir "$(dirname -- "$1")"
  # docker's own choice of mode for its configuration.
  case $1 in */.docker) make_mode=700 ;; *) make_mode=755 ;; esac
  if mkdir -m "$make_mode" -- "$1" 2>/dev/null; then
    printf 'dir\t-\t%s\n' "$1" >>"$work/made"
  else
    [ -d "$1" ] || die 1 "cannot make the directory $1; nothing was installed"
  fi
}

# stage PATH: a temporary file beside it, so that the last step is a rename.
stage() {
  make_dir "$(dirname -- "$1")"
  staged=$(mktemp "$(dirname -- "$1")/.charon-dkg.XXXXXX") || die 1 "cannot write beside $1; nothing was installed" \
    "Who may write there: ls -ld '$(dirname -- "$1")'" "Options that choose another place: --prefix, --plugin-dir."
  out "$staged" >>"$work/staged"
}

# splice FILE START LENGTH TEXT INSERT: FILE into $staged, with what is there from START replaced by TEXT and the file
# INSERT. Each step is looked at, since a full disk must not pass for a short file.
splice() {
  cp -p -- "$1" "$staged" && {
    head -c "$2" -- "$1" && printf %s "$4" && cat <"$5" && tail -c "+$(($2 + $3 + 1))" -- "$1"
  } >"$staged"
}

stage_plan() {
  : >"$work/renames"
  : >"$work/new"
  while IFS=$TAB read -r plan_kind plan_source plan_mode plan_path; do
    plan_real=$plan_path
    case $plan_kind-$([ -f "$plan_path" ] && echo there) in
      file-*)
        stage "$plan_path"
        cat <"$plan_source" >"$staged" && chmod "$plan_mode" "$staged" || die 1 "cannot write $staged; nothing was installed"
        plan_mark=$(digest "$staged")
        ;;
      link-*)
        stage "$plan_path"
        ln -sf -- "$plan_source" "$staged" || die 1 "cannot write $staged; nothing was installed"
        plan_mark=$plan_source
        ;;
      block-)
        stage "$plan_path"
        cat <"$plan_source" >"$staged" && chmod "$plan_mode" "$staged" || die 1 "cannot write $staged; nothing was installed"
        plan_mark=created:$(digest "$plan_source")
        ;;
      block-there)
        plan_real=$(readlink -f -- "$plan_path") plan_break='' plan_mark=kept
        if block_in "$plan_path"; then
          # It is there; only its text may be an older one.
          plan_mark=$(recorded block "$plan_path" | head -n 1)
          plan_mark=${plan_mark%%:*}
        else
          block_start=$(stat -c %s -- "$plan_real") block_length=0
          if [ "$block_start" -gt 0 ] && [ -n "$(tail -c 1 -- "$plan_real" | tr -d '\n\0')" ]; then
            plan_mark=newline plan_break=$NEWLINE
          fi
        fi
        stage "$plan_real"
        splice "$plan_real" "$block_start" "$block_length" "$plan_break" "$plan_source" ||
          die 1 "cannot write $staged; nothing was installed"
        plan_mark=${plan_mark:-kept}:$(digest "$plan_source")
        ;;
    esac
    printf '%s\t%s\n' "$staged" "$plan_real" >>"$work/renames"
    printf '%s\t%s\t%s\n' "$plan_kind" "$plan_mark" "$plan_path" >>"$work/new"
  done <"$work/plan"
}

commit_plan() {
  touch "$work/made" "$work/old"
  [ ! -f "$manifest" ] || cat <"$manifest" >"$work/old"
  # While the renames go on, the manifest knows both what was and what will be: whatever ends this, the
  # next run or --uninstall recognises every file as ours.
  stage "$manifest"
  during=$staged
  cat -- "$work/old" "$work/made" "$work/new" >"$during"
  stage "$manifest"
  after=$staged
  {
    grep "^dir$TAB" "$work/old" || true
    cat -- "$work/made" "$work/new"
  } >"$after"
  # Who upgrades with sudo reads it before, as an ordinary user.
  chmod 644 "$during" "$after"
  while read -r staged; do [ -L "$staged" ] || sync -- "$staged" 2>/dev/null || true; done <"$work/staged"

  trap '' INT TERM HUP
  committed=1
  mv -fT -- "$during" "$manifest"
  while IFS=$TAB read -r rename_from rename_to; do
    mv -fT -- "$rename_from" "$rename_to" || die 1 "cannot place $rename_to; run this again, or with --uninstall"
  done <"$work/renames"
  # What an earlier install placed and this one does not.
  : >"$work/left"
  cut -f 1,3 "$work/new" >"$work/new-paths"
  grep -v "^dir$TAB" "$work/old" | while IFS=$TAB read -r old_kind old_mark old_path; do
    grep -qxF -e "$old_kind$TAB$old_path" "$work/new-paths" || take_back "$old_kind" "$old_mark" "$old_path"
  done
  mv -fT -- "$after" "$manifest"
  trap - HUP
  trap 'exit 130' INT TERM
}

# take_back KIND MARK PATH: removes it if it is as it was put, else notes it in $work/left.
take_back() {
  if [ ! -e "$3" ] && [ ! -L "$3" ]; then return; fi
  case $1-$(is_ours "$1" "$3" && echo ours) in
    file-ours | link-ours) rm -f -- "$3" ;;
    file- | link-) out "$3" >>"$work/left" ;;
    block-ours) take_back_block "${2%%:*}" "$(readlink -f -- "$3")" ;;
    block-) ! grep -qaFx -e "$block_begin" -- "$3" || out "$3 (between the markers of charon-dkg)" >>"$work/left" ;;
  esac
}

# take_back_block BEFORE FILE: the file again as it was before, with whatever else was added since.
take_back_block() {
  block_in "$2"
  rc_size=$(stat -c %s -- "$2")
  rc_at_end=$((block_start + block_length == rc_size))
  if [ "$1-$rc_at_end-$block_start" = created-1-0 ]; then
    rm -f -- "$2"
    return
  fi
  if [ "$1-$rc_at_end" = newline-1 ]; then block_start=$((block_start - 1)) block_length=$((block_length + 1)); fi
  stage "$2"
  splice "$2" "$block_start" "$block_length" '' /dev/null || die 1 "cannot write beside $2; it was left as it is"
  mv -fT -- "$staged" "$2"
}

uninstall() {
  [ -f "$manifest" ] || die 3 "nothing is installed there: $manifest does not exist" \
    "Give the --prefix or --user of the install."
  alone
  : >"$work/left"
  tac "$manifest" >"$work/backwards"
  while IFS=$TAB read -r old_kind old_mark old_path; do
    take_back "$old_kind" "$old_mark" "$old_path"
  done <"$work/backwards"
  rm -f -- "$manifest"
  # What is below comes after what is above, in this order.
  grep "^dir$TAB" "$work/backwards" | sort -r | while IFS=$TAB read -r _ _ old_path; do
    if [ -d "$old_path" ]; then rmdir -- "$old_path" 2>/dev/null || true; fi
  done
  out "charon-dkg is uninstalled from $prefix"
  if [ -s "$work/left" ]; then
    say "These were changed since they were installed, so they were left:"
    while read -r left_line; do say "  $left_line"; done <"$work/left"
  fi
  if grep -q "^block$TAB" "$work/backwards"; then
    say "Shells that are open now keep the function docker until they are closed."
  fi
}

# The end of every path: nothing temporary is left, and nothing half done.
cleanup() {
  cleanup_code=$?
  trap - EXIT
  if [ -n "${work-}" ]; then
    if [ -f "$work/staged" ]; then
      while read -r staged; do rm -f -- "$staged"; done <"$work/staged"
    fi
    if [ "$committed" = 0 ] && [ -f "$work/made" ]; then
      tac "$work/made" | while IFS=$TAB read -r _ _ made_path; do rmdir -- "$made_path" 2>/dev/null || true; done
    fi
    rm -rf -- "$work"
  fi
  exit "$cleanup_code"
}

# ---------------------------------------------------------------------------------------------------
# Trying
# ---------------------------------------------------------------------------------------------------

# answers COMMAND...: it gives the same version as the program itself. Without a terminal, because an
# interactive shell would otherwise wait for one; and fish makes directories of its own wherever it is.
answers() {
  if [ "$scope" = user ]; then fish_home=${XDG_CONFIG_HOME:-$HOME/.config}; else fish_home=$work; fi
  answer=$(XDG_CONFIG_HOME=$fish_home XDG_DATA_HOME=$work XDG_CACHE_HOME=$work XDG_STATE_HOME=$work setsid -w timeout 30 "$@" </dev/null 2>/dev/null) && [ "${answer##* }" = "${expected##* }" ]
}

# tell SPELLING REMARK
tell() { printf '  %-18s %s\n' "$1" "$2"; }

report() {
  expected=$("$bin/charon-dkg" --version 2>/dev/null) || expected=''
  out "charon-dkg $version is installed:"
  while IFS=$TAB read -r new_kind new_mark new_path; do
    case $new_kind-$new_path in
      file-*/docker) out "  $new_path (a forwarder: turns docker charon-dkg into docker charondkg, and passes everything else on)" ;;
      file-*) out "  $new_path" ;;
      link-*) out "  $new_path -> $new_mark" ;;
      block-*) out "  $new_path (a few lines at its end, between markers)" ;;
    esac
  done <"$work/new"

  out "Tried just now:"
  if answers sh -c 'charon-dkg --version'; then
    tell charon-dkg works
  elif [ "$bin_on_path" = 0 ]; then
    tell charon-dkg "only as $bin/charon-dkg: $bin is not on PATH"
  else
    tell charon-dkg "does not work: PATH finds $(command -v charon-dkg || echo nothing)"
  fi
  if [ -z "$real_docker" ]; then
    tell 'docker charondkg' "not yet: there is no docker on PATH (./install.sh --with-docker installs one)"
    [ "$way" = none ] || tell 'docker charon-dkg' "not yet, for the same reason"
  else
    if answers sh -c 'docker charondkg --version'; then
      tell 'docker charondkg' works
    else
      tell 'docker charondkg' "does not work: $real_docker does not look in $plugin_dir (see --plugin-dir)"
    fi
    report_forwarding
  fi
  [ -z "$way_reason" ] || out "The forwarder is a shell function, not a program: $way_reason."
  if [ "$way-$scope" = functions-prefix ]; then
    out "For docker charon-dkg add this line to ~/.bashrc or ~/.zshrc:   . '$share/docker.sh'"
    out "or this one to ~/.config/fish/config.fish:                      source '$share/docker.fish'"
  fi
  case $way in
    forwarder) out "Shells that are open now may have to be told: hash -r" ;;
    functions) out "Shells that are open now do not know the function yet; open a new one." ;;
  esac
  [ "$way" = none ] || out "Where PATH differs (cron, some services), use docker charondkg: docker charon-dkg may reach docker alone there."
  out "To take all of it back: sh '$share/install.sh' --uninstall$rerun_scope"
}

report_forwarding() {
  case $way in
    none) tell 'docker charon-dkg' "left out (--no-forwarder)" ;;
    forwarder)
      if answers sh -c 'docker charon-dkg --version'; then
        tell 'docker charon-dkg' "works, in every shell and script with this PATH"
      else
        tell 'docker charon-dkg' "does not work: PATH finds $(command -v docker || echo nothing)"
      fi
      ;;
    functions)
      function_works='' function_fails=''
      for shell in bash zsh fish; do
        command -v "$shell" >/dev/null 2>&1 || continue
        case $scope-$shell in
          prefix-fish) set -- fish -c "source '$share/docker.fish'; docker charon-dkg --version" ;;
          prefix-*) set -- "$shell" -c ". '$share/docker.sh'; docker charon-dkg --version" ;;
          *-fish) set -- fish -c 'docker charon-dkg --version' ;;
          *) set -- "$shell" -i -c 'docker charon-dkg --version' ;;
        esac
        if answers "$@"; then
          function_works="$function_works${function_works:+, }$shell"
        else
          function_fails="$function_fails${function_fails:+, }$shell"
        fi
      done
      [ -z "$function_works" ] ||
        tell 'docker charon-dkg' "works at the prompt of $function_works; scripts and sudo: docker charondkg"
      [ -z "$function_fails" ] || tell 'docker charon-dkg' "does not work in $function_fails"
      ;;
  esac
}

# ---------------------------------------------------------------------------------------------------
# The command line
# ---------------------------------------------------------------------------------------------------

read_options() {
  while [ "$#" -gt 0 ]; do
    case $1 in
      --prefix=* | --plugin-dir=* | --from=* | --binary=* | --print=*)
        option=$1
        shift
        set -- "${option%%=*}" "${option#*=}" "$@"
        ;;
    esac
    case $1 in
      --prefix | --plugin-dir | --from | --binary | --print)
        [ "$#" -ge 2 ] && [ -n "$2" ] || die 2 "$1 needs a value"
        rerun_words="$rerun_words${rerun_words:+ }$1 '$2'"
        ;;
      --yes | -y) ;;
      *) rerun_words="$rerun_words${rerun_words:+ }$1" ;;
    esac
    case $1 in
      --prefix) prefix=$2 prefix_given=1 ;;
      --plugin-dir) plugin_dir=$2 ;;
      --from) from=$2 ;;
      --binary) binary=$2 ;;
      --print) action=print print_what=$2 ;;
      --user) user=1 ;;
      --no-forwarder) no_forwarder=1 ;;
      --with-docker) docker_too=1 ;;
      --yes | -y) yes=1 ;;
      --prepare) action=prepare ;;
      --uninstall) action=uninstall ;;
      --help | -h) action=help ;;
      *) die 2 "unknown option: $1" "See: ./install.sh --help" ;;
    esac
    case $1 in --prefix | --plugin-dir | --from | --binary | --print) shift ;; esac
    shift
  done
}

# Sets where everything goes.
choose_places() {
  if [ "$user" = 1 ]; then
    scope=user
    [ -d "${HOME-}" ] || die 2 "--user needs a HOME that exists"
    if is_root && [ "$(stat -c %u "$HOME")" != 0 ]; then
      die 3 "--user as root would leave root-owned files in $HOME" "Run it as the user, without sudo."
    fi
    prefix=${prefix:-$HOME/.local}
    plugin_dir=${plugin_dir:-${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins}
  else
    scope=system
    prefix=${prefix:-/usr/local}
  fi
  case $prefix in /*) ;; *) prefix=$PWD/$prefix ;; esac
  while [ "$prefix" != "${prefix%/}" ]; do prefix=${prefix%/}; done
  # These work wherever they are pasted.
  [ "$user" = 0 ] || rerun_scope=' --user'
  [ "$prefix_given" = 0 ] || rerun_scope="$rerun_scope --prefix '$prefix'"
  # Below a prefix of somebody's own choosing nothing outside it is touched.
  [ "$scope" = user ] || [ "$prefix" = /usr/local ] || [ "$prefix" = /usr ] || scope=prefix
  plugin_dir=${plugin_dir:-$prefix/lib/docker/cli-plugins}
  case $plugin_dir in /*) ;; *) plugin_dir=$PWD/$plugin_dir ;; esac
  [ -n "$prefix" ] || die 2 "--prefix / is not possible"
  case "$prefix$plugin_dir${HOME-}${ZDOTDIR-}${XDG_CONFIG_HOME-}" in
    *[\'\\:]* | *"$TAB"* | *"$NEWLINE"*)
      die 2 "a directory with a quote, backslash, colon, tab or line break in its name cannot be used"
      ;;
  esac
  bin=$prefix/bin
  share=$prefix/share/charon-dkg
  forwarder=$prefix/libexec/charon-dkg/docker
  manifest=$share/manifest
  block_begin="# >>> charon-dkg $prefix >>>"
  block_end="# <<< charon-dkg $prefix <<<"
}

main() {
  user=0 prefix='' plugin_dir='' no_forwarder=0 docker_too=0 yes=0 from='' binary='' action=install
  rerun_words='' rerun_scope='' prefix_given=0 committed=0 apt_updated=''
  read_options "$@"
  if [ "$action" = help ]; then
    usage
    return
  fi
  here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
  self=$(basename -- "$0")
  choose_places
  if [ "$action" = print ]; then
    case $print_what in
      forwarder) print_forwarder ;;
      sh) print_sh_function ;;
      fish) print_fish_function ;;
      *) die 2 "--print knows forwarder, sh and fish" ;;
    esac
    return
  fi
  [ -f "$here/$self" ] || die 2 "this script was not run from a file; it has to be one, since it installs a copy of itself" \
    "Clone the repository, or get a release, and run install.sh there."

  trap cleanup EXIT
  trap 'exit 130' INT TERM HUP
  work=$(mktemp -d)
  print_forwarder >"$work/forwarder"
  print_sh_function >"$work/docker.sh"
  print_fish_function >"$work/docker.fish"
  print_block >"$work/block"
  if [ "$action" = uninstall ]; then
    [ ! -f "$manifest" ] || [ -w "$manifest" ] || become_root --uninstall
    committed=1
    uninstall
    return
  fi

  # The nearest directory that exists decides who may write there.
  nearest=$bin
  while [ ! -d "$nearest" ]; do nearest=$(dirname -- "$nearest"); done
  if [ "$scope" != user ] && [ ! -w "$nearest" ]; then
    can_be_root || die 3 "$nearest cannot be written to, and there is no sudo here" "Use --user, or run it as root."
  fi

  # All that can be in the way is looked at before anything is installed or compiled.
  case $from in '' | /* | *://*) ;; *) from=$PWD/$from ;; esac
  [ -z "$from" ] || take_release
  target=${CARGO_TARGET_DIR:-$here/target}
  case $target in /*) ;; *) target=$PWD/$target ;; esac
  built=$binary
  binary=${binary:-$target/release/charon-dkg}
  case $binary in /*) ;; *) binary=$PWD/$binary ;; esac
  if [ -z "$built" ]; then
    [ -f "$here/Cargo.toml" ] && grep -qx 'name = "charon-dkg"' "$here/Cargo.toml" ||
      die 2 "there is no charon-dkg source beside this script" "Run it in a clone of the repository, or give --binary FILE."
  fi
  make_plan
  # A manifest that only root may read, as earlier releases made it, is looked at as root.
  [ -f "$manifest" ] && [ ! -r "$manifest" ] && [ "$scope" != user ] || check_plan
  [ -n "$built" ] || prepare_build
  [ "$action" != prepare ] || return 0
  [ "$docker_too" = 0 ] || with_docker
  [ -n "$built" ] || build
  [ -f "$binary" ] && [ -x "$binary" ] || die 2 "not a program: $binary"
  "$binary" docker-cli-plugin-metadata >"$work/metadata" 2>/dev/null && grep -q '"SchemaVersion"' "$work/metadata" ||
    die 1 "$binary does not run here, or is not charon-dkg"
  version=$(sed -n 's/.*"Version": *"\([^"]*\)".*/\1/p' "$work/metadata" | head -n 1)
  if [ "$scope" != user ] && [ ! -w "$nearest" ]; then
    if [ -n "$from" ]; then set -- --from "$from"; else set -- --binary "$binary"; fi
    set -- "$@" --plugin-dir "$plugin_dir"
    [ "$no_forwarder" = 0 ] || set -- "$@" --no-forwarder
    become_root "$@"
  fi

  make_dir "$share"
  alone
  make_plan
  check_plan
  stage_plan
  commit_plan
  exec 9<&-
  report
}

# become_root OPTION...: the rest as root, by sudo.
become_root() {
  can_be_root && ! is_root || die 3 "$prefix cannot be written to"
  say "Continuing as root with sudo, to write below $prefix"
  rm -rf -- "$work"
  work=''
  exec sudo -- sh "$here/$self" "$@" --prefix "$prefix"
}

main "$@"; exit
