//! The hashes of a definition and a lock once more: recursive, slow, straight from the JSON and the tables of the format,
//! sharing no code with the library. It serves as a second opinion and nothing else.

use base64::Engine;
use serde_json::Value;
use sha2::{Digest, Sha256};

type Chunk = [u8; 32];

pub(crate) fn config_hash(definition: &Value) -> Chunk {
    container(&definition_leaves(definition, false))
}

pub(crate) fn definition_hash(definition: &Value) -> Chunk {
    container(&definition_leaves(definition, true))
}

pub(crate) fn lock_hash(lock: &Value) -> Chunk {
    let minor = minor(&lock["cluster_definition"]);
    let validators: Vec<Chunk> = elements(&lock["distributed_validators"])
        .iter()
        .map(|validator| container(&validator_leaves(validator, minor)))
        .collect();
    let limit = if minor <= 2 { validators.len() } else { 65536 };
    container(&[
        definition_hash(&lock["cluster_definition"]),
        list(&validators, validators.len(), limit),
    ])
}

/// `version` is always v1.N.0.
fn minor(definition: &Value) -> u32 {
    let version = text(&definition["version"]);
    version.split('.').nth(1).unwrap().parse().unwrap()
}

fn definition_leaves(d: &Value, full: bool) -> Vec<Chunk> {
    match minor(d) {
        0..=2 => layout_a(d, full),
        3 | 4 => layout_b(d, full),
        _ => layouts_c_to_g(d, full),
    }
}

fn layout_a(d: &Value, full: bool) -> Vec<Chunk> {
    let minor = minor(d);
    let shared = |key: &str| {
        if number(&d["num_validators"]) == 0 {
            vec![]
        } else {
            raw(text(&d[key]).as_bytes())
        }
    };
    let mut leaves = vec![];
    leaves.extend(raw(text(&d["uuid"]).as_bytes()));
    leaves.extend(raw(text(&d["name"]).as_bytes()));
    leaves.extend(raw(text(&d["version"]).as_bytes()));
    leaves.push(u64_chunk(number(&d["num_validators"])));
    leaves.push(u64_chunk(number(&d["threshold"])));
    leaves.extend(shared("fee_recipient_address"));
    leaves.extend(shared("withdrawal_address"));
    leaves.extend(raw(text(&d["dkg_algorithm"]).as_bytes()));
    leaves.extend(raw(text(&d["fork_version"]).as_bytes()));
    let operators = elements(&d["operators"]);
    let mut items = vec![];
    for operator in operators {
        let mut item = raw(text(&operator["address"]).as_bytes());
        if full {
            item.extend(raw(text(&operator["enr"]).as_bytes()));
            if minor <= 1 {
                item.push(u64_chunk(0));
            }
            item.extend(raw(&bytes(&operator["config_signature"], minor)));
            item.extend(raw(&bytes(&operator["enr_signature"], minor)));
            items.push(container(&item));
        } else {
            items.extend(item);
        }
    }
    leaves.push(list(&items, operators.len(), operators.len()));
    if !full || minor > 0 {
        leaves.extend(raw(text(&d["timestamp"]).as_bytes()));
    }
    leaves
}

fn layout_b(d: &Value, full: bool) -> Vec<Chunk> {
    let minor = minor(d);
    let shared = |key: &str| {
        if number(&d["num_validators"]) == 0 {
            vec![]
        } else {
            raw(&hex_bytes(&d[key]))
        }
    };
    let mut leaves = head(d);
    leaves.extend(shared("fee_recipient_address"));
    leaves.extend(shared("withdrawal_address"));
    leaves.push(byte_list(text(&d["dkg_algorithm"]).as_bytes(), 32));
    leaves.extend(raw(&hex_bytes(&d["fork_version"])));
    let operators: Vec<Chunk> = elements(&d["operators"])
        .iter()
        .map(|operator| {
            let mut item = raw(&hex_bytes(&operator["address"]));
            if full {
                item.push(byte_list(text(&operator["enr"]).as_bytes(), 1024));
                item.extend(raw(&hex_bytes(&operator["config_signature"])));
                item.extend(raw(&hex_bytes(&operator["enr_signature"])));
            }
            container(&item)
        })
        .collect();
    leaves.push(list(&operators, operators.len(), 256));
    if minor == 4 {
        let mut item = raw(&hex_bytes(&d["creator"]["address"]));
        if full {
            item.extend(raw(&hex_bytes(&d["creator"]["config_signature"])));
        }
        leaves.push(container(&item));
    }
    if full {
        leaves.extend(raw(&hex_bytes(&d["config_hash"])));
    }
    leaves
}

fn layouts_c_to_g(d: &Value, full: bool) -> Vec<Chunk> {
    let minor = minor(d);
    let signature = |value: &Value| {
        let bytes = hex_bytes(value);
        if minor < 11 {
            return fixed(&bytes, 65);
        }
        let pieces: Vec<Chunk> = bytes.chunks(65).map(|piece| fixed(piece, 65)).collect();
        list(&pieces, pieces.len(), 32)
    };
    let address = |value: &Value| fixed(&hex_bytes(value), 20);
    let mut leaves = head(d);
    leaves.push(byte_list(text(&d["dkg_algorithm"]).as_bytes(), 32));
    leaves.push(fixed(&hex_bytes(&d["fork_version"]), 4));
    let operators: Vec<Chunk> = elements(&d["operators"])
        .iter()
        .map(|operator| {
            let mut item = vec![address(&operator["address"])];
            if full {
                item.push(byte_list(text(&operator["enr"]).as_bytes(), 1024));
                item.push(signature(&operator["config_signature"]));
                item.push(signature(&operator["enr_signature"]));
            }
            container(&item)
        })
        .collect();
    leaves.push(list(&operators, operators.len(), 256));
    let mut creator = vec![address(&d["creator"]["address"])];
    if full {
        creator.push(signature(&d["creator"]["config_signature"]));
    }
    leaves.push(container(&creator));
    let pairs: Vec<Chunk> = elements(&d["validators"])
        .iter()
        .map(|pair| {
            container(&[
                address(&pair["fee_recipient_address"]),
                address(&pair["withdrawal_address"]),
            ])
        })
        .collect();
    leaves.push(list(&pairs, pairs.len(), 65536));
    if minor >= 8 {
        let amounts = elements(&d["deposit_amounts"]);
        let packed: Vec<u8> = amounts
            .iter()
            .flat_map(|amount| text(amount).parse::<u64>().unwrap().to_le_bytes())
            .collect();
        leaves.push(list(&split(&packed), amounts.len(), 256 * 8 / 32));
    }
    if minor >= 9 {
        leaves.push(byte_list(text(&d["consensus_protocol"]).as_bytes(), 256));
    }
    if minor >= 10 {
        leaves.push(u64_chunk(number(&d["target_gas_limit"])));
        leaves.push(u64_chunk(u64::from(d["compounding"] == Value::Bool(true))));
    }
    if full {
        leaves.push(fixed(&hex_bytes(&d["config_hash"]), 32));
    }
    leaves
}

fn head(d: &Value) -> Vec<Chunk> {
    vec![
        byte_list(text(&d["uuid"]).as_bytes(), 64),
        byte_list(text(&d["name"]).as_bytes(), 256),
        byte_list(text(&d["version"]).as_bytes(), 16),
        byte_list(text(&d["timestamp"]).as_bytes(), 32),
        u64_chunk(number(&d["num_validators"])),
        u64_chunk(number(&d["threshold"])),
    ]
}

fn validator_leaves(v: &Value, minor: u32) -> Vec<Chunk> {
    let shares: Vec<Chunk> = elements(&v["public_shares"])
        .iter()
        .map(|share| fixed(&bytes(share, minor), 48))
        .collect();
    let key = &v["distributed_public_key"];
    if minor <= 2 {
        let mut leaves = raw(text(key).as_bytes());
        leaves.push(list(&shares, shares.len(), shares.len()));
        return leaves;
    }
    let mut leaves = vec![fixed(&hex_bytes(key), 48), list(&shares, shares.len(), 256)];
    match minor {
        3..=5 => {}
        6 => leaves.extend(deposit_leaves(&v["deposit_data"])),
        7 => leaves.push(container(&deposit_leaves(&v["deposit_data"]))),
        _ => {
            let deposits: Vec<Chunk> = elements(&v["partial_deposit_data"])
                .iter()
                .map(|deposit| container(&deposit_leaves(deposit)))
                .collect();
            leaves.push(list(&deposits, deposits.len(), 256));
        }
    }
    if minor >= 7 {
        let registration = &v["builder_registration"];
        let message = &registration["message"];
        let mut message_leaves = raw(&hex_bytes(&message["fee_recipient"]));
        message_leaves.push(u64_chunk(number(&message["gas_limit"])));
        message_leaves.push(u64_chunk(number(&message["timestamp"])));
        message_leaves.push(fixed(&hex_bytes(&message["pubkey"]), 48));
        leaves.push(container(&[
            container(&message_leaves),
            fixed(&hex_bytes(&registration["signature"]), 96),
        ]));
    }
    leaves
}

fn deposit_leaves(deposit: &Value) -> Vec<Chunk> {
    vec![
        fixed(&hex_bytes(&deposit["pubkey"]), 48),
        fixed(&hex_bytes(&deposit["withdrawal_credentials"]), 32),
        u64_chunk(text(&deposit["amount"]).parse().unwrap()),
        fixed(&hex_bytes(&deposit["signature"]), 96),
    ]
}

// What the chunks are made of.

fn container(leaves: &[Chunk]) -> Chunk {
    tree(leaves, depth(leaves.len()))
}

fn list(items: &[Chunk], number: usize, limit: usize) -> Chunk {
    pair(tree(items, depth(limit)), u64_chunk(number as u64))
}

fn byte_list(bytes: &[u8], max: usize) -> Chunk {
    list(&split(bytes), bytes.len(), max.div_ceil(32))
}

fn raw(bytes: &[u8]) -> Vec<Chunk> {
    let chunks = split(bytes);
    match chunks.len() {
        0 | 1 => chunks,
        _ => vec![container(&chunks)],
    }
}

fn fixed(bytes: &[u8], size: usize) -> Chunk {
    let mut padded = vec![0; size - bytes.len()];
    padded.extend(bytes);
    raw(&padded)[0]
}

fn u64_chunk(number: u64) -> Chunk {
    split(&number.to_le_bytes())[0]
}

fn split(bytes: &[u8]) -> Vec<Chunk> {
    let padded = |part: &[u8]| std::array::from_fn(|i| part.get(i).copied().unwrap_or(0));
    bytes.chunks(32).map(padded).collect()
}

fn depth(limit: usize) -> u32 {
    (0..).find(|&depth| 1usize << depth >= limit).unwrap()
}

fn tree(chunks: &[Chunk], depth: u32) -> Chunk {
    if depth == 0 {
        return chunks.first().copied().unwrap_or([0; 32]);
    }
    if chunks.is_empty() {
        let half = tree(&[], depth - 1);
        return pair(half, half);
    }
    let (left, right) = chunks.split_at(chunks.len().min(1 << (depth - 1)));
    pair(tree(left, depth - 1), tree(right, depth - 1))
}

fn pair(left: Chunk, right: Chunk) -> Chunk {
    Sha256::digest([left, right].concat()).into()
}

// What the JSON is made of; absent and null are empty.

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn elements(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn hex_bytes(value: &Value) -> Vec<u8> {
    hex::decode(text(value).trim_start_matches("0x")).unwrap()
}

fn bytes(value: &Value, minor: u32) -> Vec<u8> {
    if minor <= 1 {
        base64::engine::general_purpose::STANDARD
            .decode(text(value))
            .unwrap()
    } else {
        hex_bytes(value)
    }
}
