#!/bin/sh
# The Python package eip712 gives all messages another chain id, those made before too, once one message has been given it.
#
# Packages: eip712 0.3.3 and eth-account 0.13.7 (PyPI), in a temporary folder. Needs python3.
# Input:    typed data (EIP-712) as operators of a cluster sign it: an ENR and a config hash, in the domain of a cluster on hoodi,
#           which is the default of both classes. Then one message for mainnet, in the way that the package documents:
#           ENR(..., eip712_chainId=1). And the ENR once more, for hoodi.
# Guess:    only that one message is of chain 1. The package says that the value given to a message is that message's, and
#           EIP-712 hashes a message with the domain that it was made for.
# Seen:     from then on everything is of chain 1: the message on hoodi from before, the class for config hashes, and what is made
#           later. The one domain object is written to, and not a copy. hash_message gives other digests than eth_account
#           does from the same values, so good signatures come out as somebody else's, and there is no error.
# So:       write a domain for each network and hand it over whole, as eip712_domain=..., or take the digests from eth_account.
set -eu
LC_ALL=C
export LC_ALL
umask 022
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

python3 -m venv "$dir/python"
"$dir/python/bin/pip" install -q eip712==0.3.3 eth-account==0.13.7 >&2
cat >"$dir/messages.py" <<'END'
from eip712 import EIP712Domain, EIP712Message
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_pydantic_types import abi

operator = Account.from_key("0x" + "11" * 32)
text, config_hash = "enr:-not-read-here", "0x" + "5c" * 32

class ENR(EIP712Message):
    eip712_domain = EIP712Domain(name="Obol", version="1", chainId=560048)
    enr: abi.string

class OperatorConfigHash(EIP712Message):
    eip712_domain = ENR.eip712_domain
    operator_config_hash: abi.string

def signature(chain, kind, field, value):
    domain = {"name": "Obol", "version": "1", "chainId": chain}
    message = encode_typed_data(domain, {kind: [{"name": field, "type": "string"}]}, {field: value})
    return operator.sign_message(message).signature

enr_on_hoodi = signature(560048, "ENR", "enr", text)
enr_on_mainnet = signature(1, "ENR", "enr", text)
config_on_hoodi = signature(560048, "OperatorConfigHash", "operator_config_hash", config_hash)

def show(name, message, given):
    signer = Account.recover_message(message.signable_message, signature=given)
    whose = "the operator's" if signer == operator.address else "somebody else's"
    print(f"{name}: chain {message._eip712_domain_.chainId}, the signature is {whose}")

enr = ENR(enr=text)
config = OperatorConfigHash(operator_config_hash=config_hash)
show("ENR on hoodi", enr, enr_on_hoodi)
show("config hash on hoodi", config, config_on_hoodi)
show("ENR on mainnet", ENR(enr=text, eip712_chainId=1), enr_on_mainnet)
show("ENR on hoodi, the same object", enr, enr_on_hoodi)
show("config hash on hoodi, the same object", config, config_on_hoodi)
show("ENR on hoodi, made now", ENR(enr=text), enr_on_hoodi)
hoodi = EIP712Domain(name="Obol", version="1", chainId=560048)

class Whole(EIP712Message):
    enr: abi.string

Whole.__name__ = "ENR"
Whole(enr=text, eip712_domain=EIP712Domain(name="Obol", version="1", chainId=1))
show("ENR on hoodi, with a domain handed over whole", Whole(enr=text, eip712_domain=hoodi), enr_on_hoodi)
END
seen=$("$dir/python/bin/python" "$dir/messages.py")
printf '%s\n' "$seen"
expected="ENR on hoodi: chain 560048, the signature is the operator's
config hash on hoodi: chain 560048, the signature is the operator's
ENR on mainnet: chain 1, the signature is the operator's
ENR on hoodi, the same object: chain 1, the signature is somebody else's
config hash on hoodi, the same object: chain 1, the signature is somebody else's
ENR on hoodi, made now: chain 1, the signature is somebody else's
ENR on hoodi, with a domain handed over whole: chain 560048, the signature is the operator's"
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
