#!/usr/bin/env bash
# static.sh RUSTC ARGUMENT...: rustc, told to link statically; `___` is cargo asking what a target can do. At a fixed address, as
# programs for musl are by themselves, a program has no 90 000 relocations to read and carry out at every start, which takes 3 MB.
# Not sh: dash drops variables such as CARGO_BIN_EXE_charon-dkg.
case " $* " in
  *" --crate-name ___ "*) ;;
  *-pc-windows-* | *-apple-darwin*) set -- "$@" -C target-feature=+crt-static ;;
  *) set -- "$@" -C target-feature=+crt-static
     case $OSTYPE in linux*) set -- "$@" -C relocation-model=static ;; esac ;;
esac
exec "$@"
