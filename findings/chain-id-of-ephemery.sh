#!/bin/sh
# The npm package @lodestar/config has a chain id for ephemery that is no whole number, and a genesis time in milliseconds.
#
# Packages: @lodestar/config 1.48.0 (npm), in a temporary folder. Needs node and npm.
# Input:    the package's chain configurations, loaded by a program to which it is 2026-01-01 00:00:00 UTC, and by one to which it
#           is a second later. ephemery is the test network that starts anew after weeks.
# Guess:    EIP-6916: i whole periods have passed since the first genesis, the chain id is the first one plus i, and the genesis
#           time is i periods after the first. With the package's own numbers that is i = 212, chain id 39438212 and a genesis on
#           Thursday 2025-12-25, in seconds. Both programs see the same.
# Seen:     chain id 39440919.2908869, and a genesis "time" that is the program's own clock, in milliseconds; so each program has
#           another network. Seconds were taken from milliseconds, and the difference was rounded down before it was divided
#           and not after. As JSON, in which nodes give their configuration, the fraction stays. mainnet's are right.
# So:       for a cluster on ephemery take chain id and genesis time (charon's --testnet-chain-id and --testnet-genesis-timestamp)
#           from the network's own values. The chain id is part of what operators sign.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

(cd "$dir" && npm install --silent --no-audit --no-fund --ignore-scripts @lodestar/config@1.48.0) >&2
cat >"$dir/networks.mjs" <<'END'
const now = Number(process.argv[2]);
Date.now = () => now;
const { genesisData, networksChainConfig } = await import("@lodestar/config/networks");
const { chainConfigToJson } = await import("@lodestar/config");
for (const name of ["mainnet", "ephemery"]) {
  const config = networksChainConfig[name];
  const json = chainConfigToJson(config);
  console.log(`${name}: chain id ${config.DEPOSIT_CHAIN_ID}, as JSON "${json.DEPOSIT_CHAIN_ID}"`);
  console.log(`${name}: genesis not before ${config.MIN_GENESIS_TIME}, and at ${genesisData[name].genesisTime}`);
}
END
seen=$(
  for now in 1767225600000 1767225601000; do
    node "$dir/networks.mjs" $now
  done
  first=1638471600 period=604800
  whole=$(((1767225600 - first) / period))
  echo "EIP-6916: chain id $((39438000 + whole)), genesis not before $((first + whole * period))"
)
printf '%s\n' "$seen"
expected='mainnet: chain id 1, as JSON "1"
mainnet: genesis not before 1606824000, and at 1606824023
ephemery: chain id 39440919.2908869, as JSON "39440919.2908869"
ephemery: genesis not before 1767225600000, and at 1767225600300
mainnet: chain id 1, as JSON "1"
mainnet: genesis not before 1606824000, and at 1606824023
ephemery: chain id 39440919.290888555, as JSON "39440919.290888555"
ephemery: genesis not before 1767225601000, and at 1767225601300
EIP-6916: chain id 39438212, genesis not before 1766689200'
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
