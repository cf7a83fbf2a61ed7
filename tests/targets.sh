#!/usr/bin/env bash
# Type-checks the program for Windows and macOS, and lints everything for arm64, with the toolchain that rustup has.
#
#   tests/targets.sh [TARGET]...   these targets instead of all four
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
[ $# -gt 0 ] || set -- x86_64-pc-windows-gnu aarch64-apple-darwin x86_64-apple-darwin aarch64-unknown-linux-gnu
for target; do
  if rustup target list --installed | grep -qx "$target" || timeout 300 rustup target add "$target" >/dev/null 2>&1; then
    case $target in
      *-linux-*) what=(clippy --workspace --all-targets) lints=(-- -D warnings) ;;
      *) what=(check --package charon-dkg) lints=() ;;
    esac
    suffix=${target//-/_}
    env "CC_$suffix=$stub/cc" "CXX_$suffix=$stub/cc" "AR_$suffix=$stub/ar" \
      cargo "${what[@]}" --quiet --locked --target "$target" "${lints[@]}"
  else
    echo "NOT CHECKED: $target, whose standard library cannot be fetched here"
  fi
done
rm -rf "$stub"
