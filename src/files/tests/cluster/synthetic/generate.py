#!/usr/bin/env python3
"""Makes the definitions and locks of versions that no real ceremony here has: v1.0.0 to v1.3.0, and v1.9.0.

Keys and signatures are random bytes from a fixed seed; only format and hashes are meant. The hashes are computed here, in
the plainest way, so that they are a second opinion on the Rust code. Run it in this directory: it writes the files anew.
"""

import base64
import hashlib
import json
import random

sha = lambda data: hashlib.sha256(data).digest()
ZERO = bytes(32)


def tree(chunks, limit):
    depth = 0
    while 2**depth < limit:
        depth += 1
    level, empty = list(chunks), ZERO
    for _ in range(depth):
        if len(level) % 2:
            level.append(empty)
        level = [sha(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
        empty = sha(empty + empty)
    return level[0] if level else empty


def split(data):
    return [data[i : i + 32].ljust(32, b"\0") for i in range(0, len(data), 32)]


def u64(number):
    return [number.to_bytes(8, "little").ljust(32, b"\0")]


def raw(data):
    chunks = split(data)
    return chunks if len(chunks) < 2 else [tree(chunks, len(chunks))]


def blist(data, limit):
    return [sha(tree(split(data), (limit + 31) // 32) + u64(len(data))[0])]


def items(chunks, number, limit):
    return [sha(tree(chunks, limit) + u64(number)[0])]


def root(chunks):
    return [tree(chunks, len(chunks))]


def unhex(text):
    return bytes.fromhex(text.removeprefix("0x"))


def definition_root(d, full):
    """d has bytes where the file has base64 or hexadecimal, except for addresses."""
    version = tuple(int(n) for n in d["version"][1:].split("."))[:2]
    text = lambda key: d.get(key, "").encode()
    if version <= (1, 2):
        leaves = raw(text("uuid")) + raw(text("name")) + raw(text("version"))
        leaves += u64(d["num_validators"]) + u64(d["threshold"])
        leaves += raw(text("fee_recipient_address")) + raw(text("withdrawal_address"))
        leaves += raw(text("dkg_algorithm")) + raw(("0x" + d["fork_version"].hex()).encode())
        operators = []
        for o in d["operators"]:
            address = raw(o["address"].encode())
            if full:
                nonce = u64(0) if version <= (1, 1) else []
                signatures = raw(o["config_signature"]) + raw(o["enr_signature"])
                operators += root(address + raw(o["enr"].encode()) + nonce + signatures)
            else:
                operators += address
        leaves += items(operators, len(d["operators"]), len(d["operators"]))
        if not full or version != (1, 0):
            leaves += raw(text("timestamp"))
        return root(leaves)

    leaves = blist(text("uuid"), 64) + blist(text("name"), 256) + blist(text("version"), 16)
    leaves += blist(text("timestamp"), 32) + u64(d["num_validators"]) + u64(d["threshold"])
    operators = []
    if version == (1, 3):
        leaves += raw(unhex(d["fee_recipient_address"])) + raw(unhex(d["withdrawal_address"]))
        leaves += blist(text("dkg_algorithm"), 32) + raw(d["fork_version"])
        for o in d["operators"]:
            operator = raw(unhex(o["address"]))
            if full:
                operator += blist(o["enr"].encode(), 1024)
                operator += raw(o["config_signature"]) + raw(o["enr_signature"])
            operators += root(operator)
        leaves += items(operators, len(operators), 256)
        return root(leaves + (raw(d["config_hash"]) if full else []))

    assert version == (1, 9)
    address = lambda text: [unhex(text).rjust(20, b"\0").ljust(32, b"\0")]
    signature = lambda data: raw(data.rjust(65, b"\0"))
    leaves += blist(text("dkg_algorithm"), 32) + raw(d["fork_version"])
    for o in d["operators"]:
        operator = address(o["address"])
        if full:
            operator += blist(o["enr"].encode(), 1024)
            operator += signature(o["config_signature"]) + signature(o["enr_signature"])
        operators += root(operator)
    leaves += items(operators, len(operators), 256)
    creator = address(d["creator"]["address"])
    if full:
        creator += signature(d["creator"]["config_signature"])
    leaves += root(creator)
    pairs = []
    for v in d["validators"]:
        pairs += root(address(v["fee_recipient_address"]) + address(v["withdrawal_address"]))
    leaves += items(pairs, len(pairs), 65536)
    amounts = [int(amount) for amount in d["deposit_amounts"] or []]
    packed = b"".join(amount.to_bytes(8, "little") for amount in amounts)
    leaves += items(split(packed), len(amounts), 64)
    leaves += blist(text("consensus_protocol"), 256)
    return root(leaves + (raw(d["config_hash"]) if full else []))


def lock_root(d, validators):
    version = tuple(int(n) for n in d["version"][1:].split("."))[:2]
    roots = []
    for v in validators:
        shares = [chunk for share in v["public_shares"] for chunk in raw(share)]
        if version <= (1, 2):
            leaves = raw(("0x" + v["distributed_public_key"].hex()).encode())
            leaves += items(shares, len(shares), len(shares))
        else:
            leaves = raw(v["distributed_public_key"]) + items(shares, len(shares), 256)
        if version == (1, 9):
            deposits = []
            for x in v["partial_deposit_data"]:
                leaves_x = raw(x["pubkey"]) + raw(x["withdrawal_credentials"])
                deposits += root(leaves_x + u64(int(x["amount"])) + raw(x["signature"]))
            leaves += items(deposits, len(deposits), 256)
            m = v["builder_registration"]["message"]
            message = raw(m["fee_recipient"]) + u64(m["gas_limit"]) + u64(m["timestamp"]) + raw(m["pubkey"])
            leaves += root(root(message) + raw(v["builder_registration"]["signature"]))
        roots += root(leaves)
    limit = len(roots) if version <= (1, 2) else 65536
    return root(definition_root(d, True) + items(roots, len(roots), limit))[0]


def write(name, value, as_base64):
    def texts(value, key=None):
        if isinstance(value, bytes):
            if as_base64 and key not in ("fork_version", "distributed_public_key"):
                return base64.b64encode(value).decode() or None
            return "0x" + value.hex() if value else ""
        if isinstance(value, dict):
            return {k: texts(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [texts(v, key) for v in value]
        return value

    with open(name, "w") as file:
        file.write(json.dumps(texts(value), indent=1, ensure_ascii=False))


# Real records of throw-away keys, so that the files are whole.
ENRS = [
    "enr:-HW4QLPgoBbY_bSnsTKf7zr7ht-UAylR3E-fLxsOU7hxmJ0aQeAiXT5L9g8_-IPjnToho5TrzOMyP2ktui0PbSqs8zWAgmlkgnY0iXNlY3AyNTZrMaECPQAd7mXbm5-DGGkYB_5_ldBHz7xWgo0CyQ5-ZkY1aAY",
    "enr:-HW4QCCwy_6dd_0KjKw7jIyiJxt513ju3ci51XyjoRP0O_ZSIFoJRPqYNN2wQ9BSc3WV8Y27y5TbLckEbczb-8BCKoeAgmlkgnY0iXNlY3AyNTZrMaECHehmf0RQt0OjxIRpLs43fBHZ1IaH0jHnN9ndTmc1swU",
    "enr:-HW4QGQIsnXVB9nVxmZYwjuZ0rucLp_YG54JRD_RB1zsMrpVao-z4kc0uFP9hmQk5-Fjgc0M0c53hbEyd0E9OeWn5KaAgmlkgnY0iXNlY3AyNTZrMaECh6KSCg909O5RDxHZqMjNp_C_O1bxFNYNPFcoSRZwLNs",
]


def make(minor):
    rand = random.Random(minor).randbytes
    address = lambda: "0x" + rand(20).hex()
    signed = minor in (3, 9)
    operators = []
    for position, enr in enumerate(ENRS):
        operator = {"address": address(), "enr": enr}
        # The last operator of v1.3.0 has not signed, which leaves leaves out.
        signs = signed and not (minor == 3 and position == 2)
        if minor <= 1:
            operator["nonce"] = 0
        operator["config_signature"] = rand(65) if signs else b""
        operator["enr_signature"] = rand(65) if signs else b""
        operators.append(operator)
    d = {"name": f"synthetic v1.{minor}"}
    if minor == 9:
        d["creator"] = {"address": address(), "config_signature": rand(65)}
    d |= {"operators": operators, "uuid": "4A1F7E2C-0000-4000-8000-00000000000" + str(minor)}
    d |= {"version": f"v1.{minor}.0", "timestamp": "2022-07-19T18:19:58+02:00"}
    d |= {"num_validators": 3, "threshold": 2}
    if minor == 9:
        pair = lambda: {"fee_recipient_address": address(), "withdrawal_address": address()}
        d["validators"] = [pair() for _ in range(3)]
    else:
        d |= {"fee_recipient_address": address(), "withdrawal_address": address()}
    d |= {"dkg_algorithm": "default", "fork_version": bytes.fromhex("90000069")}
    if minor == 9:
        d |= {"deposit_amounts": ["8000000000", "16000000000", "8000000000"] + ["1000000000"] * 3}
        d |= {"consensus_protocol": "abft"}
    d["config_hash"] = definition_root(d, False)[0]
    d["definition_hash"] = definition_root(d, True)[0]

    validators = []
    for _ in range(3):
        key = rand(48)
        v = {"distributed_public_key": key, "public_shares": [rand(48) for _ in ENRS]}
        if minor == 9:
            message = {"fee_recipient": rand(20), "gas_limit": 30000000, "timestamp": 1655733600, "pubkey": key}
            v["builder_registration"] = {"message": message, "signature": rand(96)}
            v["partial_deposit_data"] = [
                {"pubkey": key, "withdrawal_credentials": rand(32), "amount": amount, "signature": rand(96)}
                for amount in ("1000000000", "8000000000", "16000000000")
            ]
        validators.append(v)
    lock = {"cluster_definition": d, "distributed_validators": validators}
    lock |= {"signature_aggregate": rand(96), "lock_hash": lock_root(d, validators)}
    if minor == 9:
        lock["node_signatures"] = [rand(65) for _ in ENRS]
    write(f"definition-v1.{minor}.0.json", d, minor <= 1)
    write(f"lock-v1.{minor}.0.json", lock, minor <= 1)


for minor in (0, 1, 2, 3, 9):
    make(minor)
