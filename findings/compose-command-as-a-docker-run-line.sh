#!/bin/sh
# The npm package decomposerize makes one word of a command that a compose file has as a list, with commas between its words.
#
# Packages: decomposerize 1.4.4 (npm), in a temporary folder. Needs node and npm.
# Input:    compose files of one charon, with its command as a string, as a list in one line, and as a list below it; with an entrypoint
#           of two words; and with a variable that has a "$" in it, which compose files write twice. A shell reads the lines
#           that come out, with a function in docker's place that shows its words.
# Guess:    the same words for string and list, which Compose takes for the same command; the entrypoint's first word as --entrypoint
#           and its second in front of the command; one "$".
# Seen:     of the string two words, and of both lists one: "run,--log-level=info". The entrypoint is there as two --entrypoint, of
#           which docker counts the last, so that the program to start would be the flag. "$$" stays, and for a shell that is
#           the number of its own process. There is no error: the list is put among the words as it is, and JavaScript joins it.
# So:       such a line starts charon with a command that it does not have, or with another password than Compose. Have the words of
#           the command and variables with "$" written by hand, and compare with "docker inspect" of the service's container.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

(cd "$dir" && npm install --silent --no-audit --no-fund --ignore-scripts decomposerize@1.4.4) >&2
cat >"$dir/write.cjs" <<'END'
const decomposerize = require("decomposerize");
const start = "services:\n  charon:\n    image: example/charon:v1.10.3\n";
for (const rest of [
  "command: run --log-level=info",
  'command: ["run", "--log-level=info"]',
  "command:\n      - run\n      - --log-level=info",
  'entrypoint: ["charon", "--no-verify"]',
  "environment:\n      - PASSWORD=a$$b",
]) {
  console.log(decomposerize(`${start}    ${rest}\n`));
}
END
node "$dir/write.cjs" >"$dir/lines"
cat >"$dir/docker.sh" <<'END'
docker() {
  shift
  printf '[%s]' "$@"
  printf '\n'
}
END
seen=$(
  cat "$dir/lines"
  cat "$dir/docker.sh" "$dir/lines" >"$dir/run.sh"
  # The number of a process is another one each time.
  sh "$dir/run.sh" | sed 's/=a[0-9]\{1,\}b\]/=a(a number)b]/'
)
printf '%s\n' "$seen"
# shellcheck disable=SC2016 # As it was written.
expected='docker run example/charon:v1.10.3 run --log-level=info
docker run example/charon:v1.10.3 run,--log-level=info
docker run example/charon:v1.10.3 run,--log-level=info
docker run --entrypoint charon --entrypoint --no-verify example/charon:v1.10.3
docker run -e PASSWORD=a$$b example/charon:v1.10.3
[example/charon:v1.10.3][run][--log-level=info]
[example/charon:v1.10.3][run,--log-level=info]
[example/charon:v1.10.3][run,--log-level=info]
[--entrypoint][charon][--entrypoint][--no-verify][example/charon:v1.10.3]
[-e][PASSWORD=a(a number)b][example/charon:v1.10.3]'
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
