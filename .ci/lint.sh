#!/usr/bin/env bash
# lint.sh RUSTC ARGUMENT...: .cargo/static.sh with clippy as the compiler, so that nothing is compiled for the lints alone.
exec "$(dirname "${BASH_SOURCE[0]}")/../.cargo/static.sh" clippy-driver "$@" -D warnings
