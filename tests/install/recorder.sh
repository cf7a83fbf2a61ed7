#!/bin/sh
# Stands in for charon-dkg, or for docker: says how it was called, each argument followed by a NUL.
# As a plugin it also answers docker's question for metadata.
if [ "$#" = 1 ] && [ "$1" = docker-cli-plugin-metadata ]; then
  echo '{"SchemaVersion": "0.1.0", "Vendor": "tests", "Version": "9.9.9", "ShortDescription": "recorder"}'
  exit
fi
last=
for last do :; done
if [ "$last" = --version ]; then
  echo 'charon-dkg 9.9.9'
  exit
fi
printf '%s\0' "spelling=${CHARON_DKG_SPELLING-}" "$@"
