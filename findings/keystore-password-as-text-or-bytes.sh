#!/bin/sh
# A keystore opens with its password as text but not with that text's bytes, in the npm package @chainsafe/bls-keystore.
#
# Packages: @chainsafe/bls-keystore 3.1.0 (npm), in a temporary folder. Needs node and npm.
# Input:    keystores (EIP-2335) of a throw-away key, closed with a text, or with the text's UTF-8 bytes in the form NFKD, which
#           is what EIP-2335 stretches; each opened with either. The API takes string | Uint8Array.
# Guess:    text and bytes do the same, as both come to the same bytes.
# Seen:     for "correct horse" and "Bjørn" they do. For "Łódź" the one does not open what the other has closed: the control
#           characters U+0080 to U+009F, which EIP-2335 leaves out, are looked for among the bytes, too, and there the second
#           half of the letter Ł (0xC5 0x81) is taken for one and left out.
# So:       decode a password that was read from a file before it is handed over. What was closed with bytes is a keystore
#           that other clients do not open with the same password.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

(cd "$dir" && npm install --silent --no-audit --no-fund --ignore-scripts @chainsafe/bls-keystore@3.1.0) >&2
cat >"$dir/open.cjs" <<'END'
const { Keystore } = require("@chainsafe/bls-keystore");
const key = Buffer.from("000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f", "hex");
(async () => {
  for (const text of ["correct horse", "Bj\u00f8rn", "\u0141\u00f3d\u017a"]) {
    const bytes = new TextEncoder().encode(text.normalize("NFKD"));
    for (const [closed, password] of [["text", text], ["bytes", bytes]]) {
      const keystore = await Keystore.create(password, key, new Uint8Array(48), "");
      const opens = async (attempt) => ((await keystore.verifyPassword(attempt)) ? "open" : "do not open");
      console.log(`${text}, closed with ${closed}: letters ${await opens(text)}, bytes ${await opens(bytes)}`);
    }
  }
})();
END
seen=$(node "$dir/open.cjs")
printf '%s\n' "$seen"
expected='correct horse, closed with text: letters open, bytes open
correct horse, closed with bytes: letters open, bytes open
Bjørn, closed with text: letters open, bytes open
Bjørn, closed with bytes: letters open, bytes open
Łódź, closed with text: letters open, bytes do not open
Łódź, closed with bytes: letters do not open, bytes open'
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
