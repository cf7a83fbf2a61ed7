#!/usr/bin/env bash
# static.sh RUSTC ARGUMENT...: rustc, told to link statically; `___` is cargo asking what a target can do.
# Not sh: dash drops variables such as CARGO_BIN_EXE_charon-dkg.
case " $* " in *" --crate-name ___ "*) ;; *) set -- "$@" -C target-feature=+crt-static ;; esac
exec "$@"
