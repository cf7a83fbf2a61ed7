#!/bin/sh
# The npm package web3-eth-abi hashes typed data otherwise than wallets do where a text in it looks like hexadecimal.
#
# Packages: web3-eth-abi 4.4.1 (npm, of web3.js), ethers 6.17.0, viem 2.57.20 and @metamask/eth-sig-util 9.0.0 (npm), in a temporary
#           folder. Needs node and npm.
# Input:    typed data (EIP-712) of the kind that operators of a cluster sign: charon has the config hash as a field of type
#           string, and the ENR as another. The hash with 0x in front, as charon has it, and without; signed with a throw-away key.
# Guess:    one digest everywhere: EIP-712 hashes a string as its UTF-8, whatever the text says.
# Seen:     of the ENR, and of the hash without 0x, the four agree. With 0x, getEncodedEip712Data of web3-eth-abi hashes the 32
#           bytes that the digits stand for, as if the field were no string. There is no error, and from the signature and that
#           digest comes the address of nobody in the cluster.
# So:       signatures that "do not verify" may only have been checked with this package, and charon refuses what was signed
#           over its digest. Take the digest from another one.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

(cd "$dir" && npm install --silent --no-audit --no-fund --ignore-scripts \
  web3-eth-abi@4.4.1 ethers@6.17.0 viem@2.57.20 @metamask/eth-sig-util@9.0.0) >&2
cat >"$dir/hash.cjs" <<'END'
const { Wallet, TypedDataEncoder, concat, id, keccak256, recoverAddress } = require("ethers");
const { SignTypedDataVersion, TypedDataUtils } = require("@metamask/eth-sig-util");
const { hashTypedData } = require("viem");
const { getEncodedEip712Data } = require("web3-eth-abi");

const libraries = {
  ethers: ({ domain, types: { EIP712Domain, ...types }, message }) => TypedDataEncoder.hash(domain, types, message),
  viem: hashTypedData,
  "@metamask/eth-sig-util": (data) => "0x" + TypedDataUtils.eip712Hash(data, SignTypedDataVersion.V4).toString("hex"),
  "web3-eth-abi": (data) => getEncodedEip712Data(data, true),
};
const wallet = new Wallet("0x" + "11".repeat(32));
const hash = "5c".repeat(32);
const inputs = [
  ["the config hash with 0x", "OperatorConfigHash", "operator_config_hash", `0x${hash}`],
  ["the config hash without", "OperatorConfigHash", "operator_config_hash", hash],
  ["an ENR", "ENR", "enr", "enr:-not-read-here"],
];
(async () => {
  for (const [name, primaryType, field, text] of inputs) {
    const EIP712Domain = [["name", "string"], ["version", "string"], ["chainId", "uint256"]];
    const data = {
      domain: { name: "Obol", version: "1", chainId: 1 },
      types: {
        EIP712Domain: EIP712Domain.map(([name, type]) => ({ name, type })),
        [primaryType]: [{ name: field, type: "string" }],
      },
      primaryType,
      message: { [field]: text },
    };
    const signature = await wallet.signTypedData(data.domain, { [primaryType]: data.types[primaryType] }, data.message);
    const ofBytes = text.startsWith("0x") && keccak256(concat([
      "0x1901",
      TypedDataEncoder.hashDomain(data.domain),
      keccak256(concat([id(`${primaryType}(string ${field})`), keccak256(text)])),
    ]));
    for (const [library, digestOf] of Object.entries(libraries)) {
      const digest = digestOf(data);
      const signer = recoverAddress(digest, signature) === wallet.address ? "the signer's" : "somebody else's";
      console.log(`${name}, ${library}: the signature is ${signer}${digest === ofBytes ? ", bytes were hashed" : ""}`);
    }
  }
})();
END
seen=$(node "$dir/hash.cjs")
printf '%s\n' "$seen"
expected="the config hash with 0x, ethers: the signature is the signer's
the config hash with 0x, viem: the signature is the signer's
the config hash with 0x, @metamask/eth-sig-util: the signature is the signer's
the config hash with 0x, web3-eth-abi: the signature is somebody else's, bytes were hashed
the config hash without, ethers: the signature is the signer's
the config hash without, viem: the signature is the signer's
the config hash without, @metamask/eth-sig-util: the signature is the signer's
the config hash without, web3-eth-abi: the signature is the signer's
an ENR, ethers: the signature is the signer's
an ENR, viem: the signature is the signer's
an ENR, @metamask/eth-sig-util: the signature is the signer's
an ENR, web3-eth-abi: the signature is the signer's"
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
