#!/bin/sh
# In a throw-away root: what a system-wide install does to it, and that --uninstall takes it all back.
set -eu
fail() {
  echo "FAILED: $*" >&2
  exit 1
}
need() { command -v "$1" >/dev/null || fail "this test needs $1: apt-get install $1"; }
for tool in docker bash zsh fish sudo; do need "$tool"; done

snapshot() {
  {
    find /etc /root /home /usr/local -maxdepth 4 -printf '%y %m %U %G %p %l\n'
    find /etc /usr/local/bin -type f -size -1M -exec sha256sum {} +
    find /root /home -maxdepth 2 -type f -exec sha256sum {} +
  } 2>/dev/null | sort
}
# as NAME COMMAND...: what comes out of COMMAND is the program's own version.
as() {
  as_name=$1
  shift
  # This shell remembers where docker was before.
  hash -r
  # An interactive shell without a terminal complains about that on stderr.
  as_seen=$("$@" 2>/tmp/as-stderr) || fail "$as_name: exit code $?: $as_seen $(cat /tmp/as-stderr)"
  [ "$as_seen" = 'charon-dkg 9.9.9' ] || fail "$as_name gave: $as_seen $(cat /tmp/as-stderr)"
}
has() { printf '%s\n' "$report" | grep -qF -e "$1" || fail "the report lacks '$1': $report"; }
not_has() { ! printf '%s\n' "$report" | grep -qF -e "$1" || fail "the report has '$1': $report"; }

cd /checkout
# What is tested is the first installation of this machine, also where it has one.
if [ -f /usr/local/share/charon-dkg/install.sh ]; then
  sh /usr/local/share/charon-dkg/install.sh --uninstall >/dev/null 2>&1 || true
  for left in /usr/local/bin/charon-dkg /usr/local/lib/docker/cli-plugins/docker-charondkg; do
    [ ! -e "$left" ] || fail "$left cannot be taken away"
  done
fi
# The real docker where Debian's package has it, and nowhere else. This shell remembers a forwarder that has just gone.
hash -r
mv "$(command -v docker)" /docker-real
rm -f /usr/local/bin/docker /usr/bin/docker
mv /docker-real /usr/bin/docker
useradd --create-home --shell /bin/bash alice
echo 'alice ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/alice
cp recorder.sh recorder
chmod 755 recorder charon-dkg
# What fish and zsh themselves leave where they never ran before is none of the installer's.
for user in root alice; do
  for shell in fish zsh; do sudo -u "$user" -H setsid -w "$shell" -ic true >/dev/null 2>&1 || fail "$shell does not start"; done
done
before=$(snapshot)

echo "== docker in /usr/bin: a forwarder comes first"
report=$(./install.sh --binary recorder 2>&1) || fail "$report"
has '/usr/local/lib/docker/cli-plugins/docker-charondkg -> /usr/local/bin/charon-dkg'
has 'docker charon-dkg  works, in every shell'
as 'charon-dkg' charon-dkg --version
as 'docker charondkg' docker charondkg --version
for shell in sh bash zsh fish; do
  as "$shell" "$shell" -c 'docker charon-dkg --version'
  as "$shell with --context" "$shell" -c 'docker --context default charon-dkg --version'
done
as 'sudo' sudo docker charon-dkg --version
as 'sudo of another user' sudo -u alice sudo -n docker charon-dkg --version
as 'another user' sudo -u alice -i docker charon-dkg --version
docker info 2>/dev/null | grep -q 'charondkg: recorder' || fail "docker info does not list the plugin"
! docker info 2>&1 | grep -q 'Invalid Plugins' || fail "docker info calls the plugin invalid"

echo "== again, with the real program: an upgrade"
report=$(./install.sh --binary charon-dkg 2>&1) || fail "$report"
cmp -s charon-dkg /usr/local/bin/charon-dkg || fail "the binary was not replaced"
cp /usr/local/share/charon-dkg/install.sh /tmp/uninstall.sh
sh /usr/local/share/charon-dkg/install.sh --uninstall >/dev/null 2>&1 || fail "uninstall"
[ "$(snapshot)" = "$before" ] || { snapshot >/tmp/after; printf '%s\n' "$before" | diff - /tmp/after; fail "not as before"; }

echo "== an ordinary user: sudo does what needs root, and only that"
report=$(sudo -u alice ./install.sh --binary recorder 2>&1) || fail "$report"
has 'Continuing as root with sudo'
as 'docker charon-dkg' docker charon-dkg --version
for mode in 644 600; do
  chmod "$mode" /usr/local/share/charon-dkg/manifest
  cat charon-dkg >upgrade && echo "# $mode" >>upgrade && chmod 755 upgrade
  report=$(sudo -u alice ./install.sh --binary upgrade 2>&1) || fail "$report"
  cmp -s upgrade /usr/local/bin/charon-dkg || fail "the binary was not replaced with a manifest of mode $mode"
done
rm upgrade
report=$(sudo -u alice ./install.sh --uninstall 2>&1) || fail "$report"
[ "$(snapshot)" = "$before" ] || fail "not as before, after sudo"

echo "== docker in /usr/local/bin: it stays, and the shells get a function"
mv /usr/bin/docker /usr/local/bin/docker
before=$(snapshot)
report=$(./install.sh --binary recorder 2>&1) || fail "$report"
has '/usr/local/bin/docker is there already and is not ours; it was left as it is'
has '/etc/bash.bashrc'
has 'docker charon-dkg  works at the prompt of bash, zsh, fish'
not_has 'does not work'
for shell in bash zsh; do
  as "$shell" setsid -w "$shell" -ic 'docker charon-dkg --version'
  as "$shell of another user" sudo -u alice -H setsid -w "$shell" -ic 'docker -D charon-dkg --version'
done
as fish fish -c 'docker charon-dkg --version'
as 'sudo' sudo docker charondkg --version
./install.sh --uninstall >/dev/null 2>&1 || fail "uninstall"
[ "$(snapshot)" = "$before" ] || { snapshot >/tmp/after; printf '%s\n' "$before" | diff - /tmp/after; fail "not as before"; }

echo "== --no-forwarder leaves docker alone"
report=$(./install.sh --binary recorder --no-forwarder 2>&1) || fail "$report"
has 'left out (--no-forwarder)'
as 'docker charondkg' docker charondkg --version
./install.sh --uninstall >/dev/null 2>&1 || fail "uninstall"
[ "$(snapshot)" = "$before" ] || fail "not as before, after --no-forwarder"

echo "== a prefix of one's own: nothing outside it"
report=$(./install.sh --binary recorder --prefix /opt/charon-dkg 2>&1) || fail "$report"
[ "$(snapshot)" = "$before" ] || fail "something outside the prefix was touched"
has 'does not look in /opt/charon-dkg/lib/docker/cli-plugins'
./install.sh --uninstall --prefix /opt/charon-dkg >/dev/null 2>&1 || fail "uninstall"
[ ! -e /opt/charon-dkg ] || fail "the prefix is still there"
echo "== sudo ./install.sh: the owner of the checkout builds, root places"
cp -r /checkout /home/alice/checkout
mkdir -p /home/alice/.cargo/bin
printf '#!/bin/sh\necho "rustc 1.95.0 (stand-in)"\n' >/home/alice/.cargo/bin/rustc
cat >/home/alice/.cargo/bin/cargo <<'EOF'
#!/bin/sh
[ "$1" != --version ] || exit 0
id -un >"$HOME/builder"
while [ "$1" != --target-dir ]; do shift; done
mkdir -p "$2/release" && cp "$HOME/checkout/recorder" "$2/release/charon-dkg"
EOF
chmod 755 /home/alice/.cargo/bin/*
chown -R alice: /home/alice/checkout /home/alice/.cargo
rm -f /usr/bin/cargo /usr/bin/rustc
report=$(cd /home/alice/checkout && sudo -u alice sudo ./install.sh 2>&1) || fail "$report"
[ "$(cat /home/alice/builder)" = alice ] || fail "$(cat /home/alice/builder) built it"
[ "$(stat -c %U /home/alice/checkout/target/release/charon-dkg)" = alice ] || fail "the build is not alice's"
[ "$(stat -c %U /usr/local/bin/charon-dkg)" = root ] || fail "what is installed is not root's"
as 'docker charondkg' docker charondkg --version
./install.sh --uninstall >/dev/null 2>&1 || fail "uninstall"

echo "== a full disk: nothing is placed, nothing is lost"
mkdir /small
mount -t tmpfs -o size=256k none /small
echo 'precious=1' >/small/.bashrc
head -c 2000000 /dev/zero >/checkout/fat && cat recorder /checkout/fat >/checkout/fat-recorder && chmod 755 /checkout/fat-recorder
before=$(find /small -printf '%y %m %p\n'; cat /small/.bashrc)
code=0
report=$(HOME=/small ./install.sh --user --binary /checkout/fat-recorder 2>&1) || code=$?
[ "$code" = 1 ] || fail "exit code $code: $report"
has 'nothing was installed'
[ "$(find /small -printf '%y %m %p\n'; cat /small/.bashrc)" = "$before" ] || fail "not as before, after a full disk"
# Room for all but the start file.
head -c 2000000 /dev/urandom >/small/fill 2>/dev/null || true
before=$(find /small -printf '%y %m %p\n'; cat /small/.bashrc)
code=0
report=$(HOME=/small ./install.sh --user --binary recorder 2>&1) || code=$?
[ "$code" = 1 ] || fail "exit code $code: $report"
[ "$(find /small -printf '%y %m %p\n'; cat /small/.bashrc)" = "$before" ] || fail "not as before, after a full disk"
umount /small
echo "system: all passed"
