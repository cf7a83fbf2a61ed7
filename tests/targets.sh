#!/usr/bin/env bash
# Type-checks the program for Windows and macOS, with the toolchain that rustup has.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Types alone: the C libraries are not compiled. tests/windows/run.sh builds and runs the program for Windows.
stub=$(mktemp -d)
cat >"$stub/cc" <<'END'
#!/bin/sh
while [ $# -gt 0 ]; do
  [ "$1" != -o ] || : >"$2"
  shift
done
END
cat >"$stub/ar" <<'END'
#!/bin/sh
: >"$2"
END
chmod +x "$stub/cc" "$stub/ar"
for target in x86_64-pc-windows-gnu aarch64-apple-darwin x86_64-apple-darwin; do
  if rustup target list --installed | grep -qx "$target" || timeout 60 rustup target add "$target" >/dev/null 2>&1; then
    suffix=${target//-/_}
    env "CC_$suffix=$stub/cc" "CXX_$suffix=$stub/cc" "AR_$suffix=$stub/ar" \
      cargo check --quiet --locked --package charon-dkg --target "$target"
  else
    echo "the standard library of $target cannot be fetched here" >&2
    exit 1
  fi
done
rm -rf "$stub"
