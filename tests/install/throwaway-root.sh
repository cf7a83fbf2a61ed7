#!/bin/sh
# throwaway-root.sh BINARY SCRIPT: runs SCRIPT as root in a copy of this machine's root file system
# that is thrown away afterwards. In it, /checkout has install.sh and the tests' scripts, and
# /checkout/charon-dkg is BINARY. Nothing outside is written to.
set -eu
binary=$1
script=$2
tests=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)

if [ "$(id -u)" != 0 ]; then
  echo "this test needs root: run the tests as root, or leave it out with: -- --skip system_" >&2
  exit 1
fi
if [ "${CHARON_DKG_UNSHARED-}" != 1 ]; then
  CHARON_DKG_UNSHARED=1 exec unshare --mount --propagation private -- sh "$0" "$@"
fi

# The mounts are this process's own and go with it.
place=$(mktemp -d)
mount -t tmpfs -o mode=755 none "$place"
mkdir "$place/upper" "$place/work" "$place/root"
mount -t overlay -o "lowerdir=/,upperdir=$place/upper,workdir=$place/work" none "$place/root"
for dir in proc dev sys; do mount --rbind "/$dir" "$place/root/$dir"; done
mount -t tmpfs -o mode=1777 none "$place/root/tmp"
# Homes as on a new machine.
for home in root home; do mount -t tmpfs -o mode=755 none "$place/root/$home"; done
mkdir "$place/root/checkout"
cp "$tests/../../install.sh" "$tests/../../Cargo.toml" "$tests"/*.sh "$place/root/checkout/"
cp "$binary" "$place/root/checkout/charon-dkg"
code=0
chroot "$place/root" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  HOME=/root LANG=C.UTF-8 sh "/checkout/$script" || code=$?
umount -R -l "$place"
rmdir "$place"
exit "$code"
