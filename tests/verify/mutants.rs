//! Systematic changes to every field of every file of every ceremony: none passes, and each is reported by a check that
//! is meant for it. What means the same still passes.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Mutex;

use charon_dkg::cluster::{
    ClusterLock, Definition, DepositFile, Network, ParseError, Parsed, Remark, RemarkKind,
};
use charon_dkg::keys::bls::ShareSecret;
use charon_dkg::keys::k1::EnrKey;
use charon_dkg::keys::keystore::Keystore;
use charon_dkg::verify::{Material, NamedFile, Outcome, Verdict};
use rayon::prelude::*;
use serde_json::Value;

use crate::support::{Ceremony, ceremonies, ceremony, proved, serious, whole_with_proved};

/// JSON as written: keys may repeat, numbers are text.
#[derive(Debug, Clone, PartialEq)]
enum Tree {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Tree {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Tree::Null,
            Value::Bool(value) => Tree::Bool(*value),
            Value::Number(number) => Tree::Number(number.to_string()),
            Value::String(text) => Tree::Text(text.clone()),
            Value::Array(elements) => Tree::Array(elements.iter().map(Tree::of).collect()),
            Value::Object(members) => Tree::Object(
                members
                    .iter()
                    .map(|(key, member)| (key.clone(), Tree::of(member)))
                    .collect(),
            ),
        }
    }

    fn render(&self) -> String {
        match self {
            Tree::Null => "null".to_owned(),
            Tree::Bool(value) => value.to_string(),
            Tree::Number(number) => number.clone(),
            Tree::Text(text) => Value::String(text.clone()).to_string(),
            Tree::Array(elements) => {
                let parts: Vec<String> = elements.iter().map(Tree::render).collect();
                format!("[{}]", parts.join(","))
            }
            Tree::Object(members) => {
                let parts: Vec<String> = members
                    .iter()
                    .map(|(key, member)| {
                        format!("{}:{}", Value::String(key.clone()), member.render())
                    })
                    .collect();
                format!("{{{}}}", parts.join(","))
            }
        }
    }

    fn at(&self, path: &[usize]) -> &Tree {
        let Some((step, rest)) = path.split_first() else {
            return self;
        };
        match self {
            Tree::Array(elements) => elements[*step].at(rest),
            Tree::Object(members) => members[*step].1.at(rest),
            Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => {
                panic!("no such place")
            }
        }
    }

    fn at_mut(&mut self, path: &[usize]) -> &mut Tree {
        let Some((step, rest)) = path.split_first() else {
            return self;
        };
        match self {
            Tree::Array(elements) => elements[*step].at_mut(rest),
            Tree::Object(members) => members[*step].1.at_mut(rest),
            Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => {
                panic!("no such place")
            }
        }
    }

    /// Every place in the tree but the root, parents first.
    fn places(&self) -> Vec<Vec<usize>> {
        let mut found = Vec::new();
        let mut open = vec![Vec::new()];
        while let Some(path) = open.pop() {
            let count = match self.at(&path) {
                Tree::Array(elements) => elements.len(),
                Tree::Object(members) => members.len(),
                Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => 0,
            };
            for step in 0..count {
                let mut place = path.clone();
                place.push(step);
                open.push(place);
            }
            if !path.is_empty() {
                found.push(path);
            }
        }
        found.sort();
        found
    }

    /// The keys on the way to a place, without the positions in arrays: `operators.enr`.
    fn name_of(&self, path: &[usize]) -> String {
        let mut names = Vec::new();
        let mut here = self;
        for step in path {
            here = match here {
                Tree::Array(elements) => &elements[*step],
                Tree::Object(members) => {
                    names.push(members[*step].0.as_str());
                    &members[*step].1
                }
                Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => {
                    panic!("no such place")
                }
            };
        }
        names.join(".")
    }
}

/// One changed file.
struct Mutant {
    /// What was done: the stable part first, for the counts.
    operation: &'static str,
    /// Where: keys without positions; empty for a change of bytes.
    field: String,
    bytes: Vec<u8>,
}

/// Every other value worth trying at one place.
fn other_values(value: &Tree, others: &[Tree]) -> Vec<(&'static str, Tree)> {
    let mut values: Vec<(&'static str, Tree)> = vec![
        ("null", Tree::Null),
        ("array", Tree::Array(Vec::new())),
        ("object", Tree::Object(Vec::new())),
        ("empty text", Tree::Text(String::new())),
        ("zero", Tree::Number("0".to_owned())),
    ];
    match value {
        Tree::Text(text) => values.extend(
            other_texts(text)
                .into_iter()
                .map(|(operation, text)| (operation, Tree::Text(text))),
        ),
        Tree::Number(number) => {
            let parsed: u64 = number.parse().unwrap();
            for other in [
                parsed.wrapping_add(1),
                parsed.wrapping_sub(1),
                parsed ^ (1 << 40),
            ] {
                values.push(("number", Tree::Number(other.to_string())));
            }
            values.push(("negative", Tree::Number(format!("-{number}"))));
            values.push(("fraction", Tree::Number(format!("{number}.5"))));
            values.push(("number as text", Tree::Text(number.clone())));
        }
        Tree::Bool(flag) => values.push(("bool", Tree::Bool(!flag))),
        Tree::Null => values.push(("bool", Tree::Bool(true))),
        Tree::Array(elements) => {
            for position in 0..elements.len() {
                let mut shorter = elements.clone();
                let element = shorter.remove(position);
                values.push(("element removed", Tree::Array(shorter.clone())));
                shorter.insert(position, element.clone());
                shorter.insert(position, element);
                values.push(("element doubled", Tree::Array(shorter)));
                if position > 0 {
                    let mut swapped = elements.clone();
                    swapped.swap(position - 1, position);
                    values.push(("elements swapped", Tree::Array(swapped)));
                }
            }
        }
        Tree::Object(members) => {
            for position in 0..members.len() {
                let mut fewer = members.clone();
                let (key, member) = fewer.remove(position);
                values.push(("key removed", Tree::Object(fewer)));
                let mut more = members.clone();
                more.push((key.clone(), Tree::Null));
                values.push(("key doubled", Tree::Object(more)));
                let mut more = members.clone();
                more.insert(0, (key.clone(), Tree::Number("7".to_owned())));
                values.push(("key doubled", Tree::Object(more)));
                let mut renamed = members.clone();
                renamed[position] = (key.to_uppercase(), member);
                values.push(("key in capitals", Tree::Object(renamed)));
            }
            let mut more = members.clone();
            more.push(("comment".to_owned(), Tree::Text("hello".to_owned())));
            values.push(("key unknown", Tree::Object(more)));
        }
    }
    // The same field of another validator, operator or entry.
    values.extend(
        others
            .iter()
            .map(|other| ("taken from a neighbour", other.clone())),
    );
    values.retain(|(_, other)| other != value);
    values
}

fn other_texts(text: &str) -> Vec<(&'static str, String)> {
    let (prefix, digits) = match text.strip_prefix("0x") {
        Some(digits) => ("0x", digits),
        None => ("", text),
    };
    let mut texts = Vec::new();
    // Every other network by its own name, and by its own fork version.
    let networks = Network::ALL;
    let fork_version = |network: &Network| format!("0x{}", hex::encode(network.fork_version));
    for spelled in [
        |network: &Network| network.name.to_owned(),
        fork_version,
        |network: &Network| hex::encode(network.fork_version),
    ] {
        if networks.iter().any(|network| spelled(network) == text) {
            texts.extend(
                networks
                    .iter()
                    .map(|network| ("other network", spelled(network)))
                    .filter(|(_, other)| other != text),
            );
        }
    }
    match hex::decode(digits) {
        Ok(bytes) if bytes.len() >= 4 => {
            let mut positions: Vec<usize> = (0..8).map(|part| part * bytes.len() / 8).collect();
            positions.push(bytes.len() - 1);
            positions.dedup();
            for (turn, position) in positions.into_iter().enumerate() {
                let mut flipped = bytes.clone();
                flipped[position] ^= 1 << (turn % 8);
                texts.push(("bit flipped", format!("{prefix}{}", hex::encode(flipped))));
            }
            texts.push(("shortened", format!("{prefix}{}", hex::encode(&bytes[1..]))));
            texts.push(("lengthened", format!("{text}00")));
            texts.push(("zeroed", format!("{prefix}{}", "00".repeat(bytes.len()))));
            texts.push(("odd", format!("{text}0")));
        }
        Ok(_) | Err(_) => {
            texts.push(("lengthened", format!("{text}1")));
            texts.push(("lengthened", format!("1{text}")));
            for part in 0..4 {
                let position = part * text.len() / 4;
                let Some(old) = text.get(position..position + 1) else {
                    continue;
                };
                let new = if old == "a" { "b" } else { "a" };
                let mut changed = text.to_owned();
                changed.replace_range(position..position + 1, new);
                texts.push(("letter changed", changed));
            }
        }
    }
    texts
}

/// All changes of fields of one JSON file.
fn field_mutants(bytes: &[u8]) -> Vec<Mutant> {
    let tree = Tree::of(&serde_json::from_slice(bytes).unwrap());
    let places = tree.places();
    let mut by_name: BTreeMap<String, Vec<&Tree>> = BTreeMap::new();
    for place in &places {
        by_name
            .entry(tree.name_of(place))
            .or_default()
            .push(tree.at(place));
    }
    let mut mutants = Vec::new();
    for place in std::iter::once(&Vec::new()).chain(&places) {
        let field = tree.name_of(place);
        let value = tree.at(place);
        // One differing neighbour is as good as all.
        let others: Vec<Tree> = by_name
            .get(&field)
            .into_iter()
            .flatten()
            .filter(|other| **other != value)
            .take(1)
            .map(|other| (*other).clone())
            .collect();
        for (operation, other) in other_values(value, &others) {
            let mut changed = tree.clone();
            *changed.at_mut(place) = other;
            mutants.push(Mutant {
                operation,
                field: field.clone(),
                bytes: changed.render().into_bytes(),
            });
        }
    }
    mutants
}

/// Changes of single bytes and lengths, about `count` of them, spread over the file.
fn byte_mutants(bytes: &[u8], count: usize) -> Vec<Mutant> {
    let step = (bytes.len() / count).max(1);
    let mutant = |operation, bytes| Mutant {
        operation,
        field: String::new(),
        bytes,
    };
    let mut mutants = Vec::new();
    for (turn, position) in (0..bytes.len()).step_by(step).enumerate() {
        let mut flipped = bytes.to_vec();
        flipped[position] ^= 1 << (turn % 8);
        mutants.push(mutant("bit of the file flipped", flipped));
        if turn % 4 == 0 {
            mutants.push(mutant("file cut off", bytes[..position].to_vec()));
            let mut without = bytes.to_vec();
            without.remove(position);
            mutants.push(mutant("byte removed", without));
        }
    }
    mutants
}

/// Which file is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Lock,
    Definition,
    Deposits(usize),
    Keystore(usize),
    Password(usize),
    EnrKey,
}

impl Target {
    fn file(self, material: &mut Material) -> &mut NamedFile {
        match self {
            Target::Lock => material.cluster_lock.as_mut().unwrap(),
            Target::Definition => material.definition.as_mut().unwrap(),
            Target::Deposits(position) => &mut material.deposit_data[position],
            Target::Keystore(number) => named(material, number, "json"),
            Target::Password(number) => named(material, number, "txt"),
            Target::EnrKey => material.enr_key.as_mut().unwrap(),
        }
    }

    /// Whether charon and we read the same from both; then the change means nothing.
    fn means_the_same(self, old: &[u8], new: &[u8]) -> bool {
        match self {
            Target::Lock => same(old, new, |bytes| {
                let mut lock = unambiguous(ClusterLock::parse(bytes))?;
                lock.definition = plain(lock.definition);
                Some(lock)
            }),
            Target::Definition => same(old, new, |bytes| {
                unambiguous(Definition::parse(bytes)).map(plain)
            }),
            Target::Deposits(_) => same(old, new, |bytes| unambiguous(DepositFile::parse(bytes))),
            Target::Keystore(_) => same(old, new, |bytes| Keystore::parse(bytes).ok()),
            Target::Password(_) => false,
            Target::EnrKey => old.trim_ascii().eq_ignore_ascii_case(new.trim_ascii()),
        }
    }

    /// The checks of which at least one must speak.
    fn expected(self, mutant: &Mutant) -> BTreeSet<&'static str> {
        let mut checks = BTreeSet::new();
        if let ("hashes recomputed", Target::Lock) | (OUTSIDER, Target::Lock) =
            (mutant.operation, self)
        {
            // Nobody but the nodes can sign the lock again; and without a usable share there is nothing to verify.
            return BTreeSet::from(["lock-aggregate", "public-share"]);
        }
        let field = mutant.field.as_str();
        let last = field.rsplit('.').next().unwrap_or_default();
        match self {
            Target::Lock => {
                checks.extend(["file-format", "file-ambiguous", "file-unknown-field"]);
                if field.is_empty() || mutant.operation.starts_with("key") {
                    checks.extend([
                        "config-hash",
                        "definition-hash",
                        "lock-hash",
                        "lock-aggregate",
                        "node-signature",
                        "definition-version",
                        "deposit-file-against-lock",
                    ]);
                }
                if field == "cluster_definition" {
                    checks.insert("definition-version");
                }
                match field.split('.').next().unwrap_or_default() {
                    "cluster_definition" => {
                        checks.extend(expected_in_definition(last, field));
                        checks.remove("definition-file");
                    }
                    "distributed_validators" => {
                        checks.insert("lock-hash");
                    }
                    "lock_hash" => {
                        checks.insert("lock-hash");
                    }
                    "signature_aggregate" => {
                        checks.insert("lock-aggregate");
                    }
                    "node_signatures" => {
                        checks.insert("node-signature");
                    }
                    _ => {}
                }
            }
            Target::Definition => {
                checks.extend(["file-format", "file-ambiguous", "file-unknown-field"]);
                checks.extend(expected_in_definition(last, field));
                if field.is_empty() || mutant.operation.starts_with("key") {
                    checks.extend(["config-hash", "definition-hash", "definition-version"]);
                }
            }
            Target::Deposits(_) => {
                checks.extend(["file-format", "file-ambiguous", "file-unknown-field"]);
                if mutant.operation == OUTSIDER {
                    checks.insert("deposit-file-signature");
                }
                checks.extend(match last {
                    "pubkey" => &["deposit-file-validators"][..],
                    "withdrawal_credentials" => &["deposit-file-credentials"],
                    "amount" => &["deposit-file-amounts", "deposit-file-name"],
                    "signature" => &["deposit-file-signature"],
                    "deposit_message_root" | "deposit_data_root" => &["deposit-file-roots"],
                    "fork_version" | "network_name" => &["deposit-file-network"],
                    "deposit_cli_version" => &["deposit-file-tool"],
                    _ => &[
                        "deposit-file-validators",
                        "deposit-file-order",
                        "deposit-file-credentials",
                        "deposit-file-amounts",
                        "deposit-file-name",
                        "deposit-file-signature",
                        "deposit-file-roots",
                        "deposit-file-network",
                        "deposit-file-tool",
                    ],
                });
            }
            Target::Keystore(_) => {
                checks.extend(["file-format", "file-ambiguous", "file-unknown-field"]);
                checks.extend(match last {
                    "pubkey" => &["keystore-share"][..],
                    "c" => &["keystore-cost", "keystore-decrypt"],
                    "iv" => &["keystore-public-key", "keystore-decrypt"],
                    _ => &[
                        "keystore-decrypt",
                        "keystore-share",
                        "keystore-cost",
                        "keystore-public-key",
                    ],
                });
            }
            Target::Password(_) => {
                checks.extend(["keystore-decrypt", "keystore-password"]);
            }
            Target::EnrKey => {
                checks.extend(["enr-key", "enr-key-operator"]);
            }
        }
        checks
    }
}

/// Which checks must notice a change of a field of a definition.
fn expected_in_definition(last: &str, field: &str) -> Vec<&'static str> {
    match last {
        "enr" => vec!["definition-hash", "operator-enr"],
        "config_signature" | "enr_signature" => vec!["definition-hash"],
        "definition_hash" => vec!["definition-hash"],
        "config_hash" => vec!["config-hash"],
        "version" => vec!["definition-version", "config-hash"],
        _ if field.contains("operators") || field.contains("creator") => {
            vec!["config-hash", "definition-hash"]
        }
        _ => vec!["config-hash", "definition-file"],
    }
}

fn named<'a>(material: &'a mut Material, number: usize, suffix: &str) -> &'a mut NamedFile {
    let path = format!("validator_keys/keystore-{number}.{suffix}");
    material
        .keystores
        .iter_mut()
        .find(|file| file.path == path)
        .unwrap()
}

fn same<T: PartialEq>(old: &[u8], new: &[u8], read: impl Fn(&[u8]) -> Option<T>) -> bool {
    read(new).is_some_and(|new| Some(new) == read(old))
}

/// A definition with everything in one spelling that the format does not care for.
fn plain(mut definition: Definition) -> Definition {
    use charon_dkg::cluster::ValidatorAddresses;
    let pairs = match &mut definition.validators {
        ValidatorAddresses::Shared(pair) => std::slice::from_mut(pair),
        ValidatorAddresses::PerValidator(pairs) => pairs,
    };
    let addresses = pairs
        .iter_mut()
        .flat_map(|pair| {
            [
                &mut pair.fee_recipient_address,
                &mut pair.withdrawal_address,
            ]
        })
        .chain(
            definition
                .operators
                .iter_mut()
                .map(|operator| &mut operator.address),
        )
        .chain([&mut definition.creator.address]);
    for address in addresses {
        *address = address.trim_start_matches("0x").to_lowercase();
    }
    // Null and an empty list are hashed alike and mean the same.
    if definition.deposit_amounts.as_deref() == Some(&[]) {
        definition.deposit_amounts = None;
    }
    definition
}

/// The content, if all readers agree on it.
fn unambiguous<T>(parsed: Result<Parsed<T>, ParseError>) -> Option<T> {
    let parsed = parsed.ok()?;
    // charon takes an absent key for an empty value, which is a value like any other.
    let harmless = |remark: &Remark| remark.kind == RemarkKind::MissingKey;
    parsed.remarks.iter().all(harmless).then_some(parsed.value)
}

/// How many mutants there were of which kind.
#[derive(Default)]
struct Tally {
    caught: BTreeMap<&'static str, usize>,
    same: usize,
    problems: Vec<String>,
}

fn judge(
    source: &Ceremony,
    target: Target,
    mutants: &[Mutant],
    proved: &HashSet<[u8; 32]>,
    tally: &Mutex<Tally>,
) {
    let node = 0;
    let whole = source.material(node);
    let original = target.file(&mut whole.clone()).bytes.clone();
    mutants.par_iter().for_each(|mutant| {
        let mut material = whole.clone();
        let file = target.file(&mut material);
        *file = NamedFile::new(file.path.clone(), mutant.bytes.clone());
        let same = target.means_the_same(&original, &mutant.bytes);
        let outcome = whole_with_proved(&material, proved);
        let last = mutant.field.rsplit('.').next().unwrap_or_default();
        let problem = if same {
            let may_differ = mutant.operation.contains("key")
                || ["", "uuid", "path", "description"].contains(&last);
            if let Target::Keystore(_) = target
                && !may_differ
            {
                Some("is read but not looked at".to_owned())
            } else {
                (outcome.report.verdict != Verdict::Pass).then(|| "does not pass".to_owned())
            }
        } else {
            survived(&outcome, &target.expected(mutant))
        };
        let mut tally = tally.lock().unwrap();
        if same {
            tally.same += 1;
        } else {
            *tally.caught.entry(mutant.operation).or_default() += 1;
        }
        if let Some(problem) = problem {
            let text = String::from_utf8_lossy(&mutant.bytes);
            let start: String = text.chars().take(200).collect();
            tally.problems.push(format!(
                "{} {target:?}: {} of {:?}: {problem} ({start})",
                source.name, mutant.operation, mutant.field
            ));
        }
    });
}

fn survived(outcome: &Outcome, expected: &BTreeSet<&'static str>) -> Option<String> {
    if outcome.report.verdict == Verdict::Pass || outcome.verified.is_some() {
        return Some("passes".to_owned());
    }
    let seen = serious(outcome);
    if seen.iter().any(|check| expected.contains(check)) {
        return None;
    }
    Some(format!(
        "is reported by {seen:?}, not by any of {expected:?}"
    ))
}

/// What is done by somebody who has other keys, and signs with them whatever he can.
const OUTSIDER: &str = "re-signed by an outsider";

fn outsider() -> ShareSecret {
    ShareSecret::from_entropy(&[0x66; 32]).unwrap()
}

/// What an outsider makes of a changed lock: all hashes are right again, the signatures are not, or they are his own.
/// Nothing if it cannot be read or hashed, or if nothing changed.
fn rehashed_locks(original: &[u8], mutant: &Mutant) -> Vec<Mutant> {
    let rehash = || {
        let mut lock = ClusterLock::parse(&mutant.bytes).ok()?.value;
        lock.definition = lock.definition.with_hashes().ok()?;
        let hash = lock.lock_hash().ok()?;
        lock.lock_hash = Some(hash);
        Some((lock, hash))
    };
    let old = ClusterLock::parse(original).unwrap().value;
    // A change of a hash only is undone by this; one of the signatures is not hashed.
    let Some((mut lock, hash)) = rehash().filter(|(lock, _)| lock.lock_hash != old.lock_hash)
    else {
        return Vec::new();
    };
    let as_mutant = |operation, lock: &ClusterLock| Mutant {
        operation,
        field: mutant.field.clone(),
        bytes: lock.to_json().into_bytes(),
    };
    let rehashed = as_mutant("hashes recomputed", &lock);
    lock.signature_aggregate = Some(outsider().sign(hash.as_bytes()).to_bytes());
    let enr_key = EnrKey::from_secret_bytes(&[0x66; 32]).unwrap();
    for signature in &mut lock.node_signatures {
        *signature = enr_key.sign_digest(hash.as_bytes());
    }
    vec![rehashed, as_mutant(OUTSIDER, &lock)]
}

/// The same of a deposit data file and its roots.
fn rerooted_deposits(original: &[u8], mutant: &Mutant) -> Vec<Mutant> {
    let Ok(parsed) = DepositFile::parse(&mutant.bytes) else {
        return Vec::new();
    };
    let mut file = parsed.value;
    let old = DepositFile::parse(original).unwrap().value;
    let mut mutants = Vec::new();
    for operation in ["roots recomputed", OUTSIDER] {
        for entry in &mut file.entries {
            if operation == OUTSIDER {
                let root = entry.data.signing_root(entry.fork_version);
                entry.data.signature = outsider().sign(&root).to_bytes();
            }
            entry.deposit_message_root = entry.data.message_root();
            entry.deposit_data_root = entry.data.data_root();
        }
        if file != old {
            mutants.push(Mutant {
                operation,
                field: mutant.field.clone(),
                bytes: file.to_json().into_bytes(),
            });
        }
    }
    mutants
}

/// All mutants of one file.
fn mutants_of(target: Target, bytes: &[u8]) -> Vec<Mutant> {
    let mut mutants = match target {
        Target::Lock | Target::Definition | Target::Deposits(_) | Target::Keystore(_) => {
            field_mutants(bytes)
        }
        Target::Password(_) | Target::EnrKey => Vec::new(),
    };
    let repaired: Vec<Mutant> = mutants
        .iter()
        .flat_map(|mutant| match target {
            Target::Lock => rehashed_locks(bytes, mutant),
            Target::Deposits(_) => rerooted_deposits(bytes, mutant),
            Target::Definition | Target::Keystore(_) | Target::Password(_) | Target::EnrKey => {
                Vec::new()
            }
        })
        .collect();
    mutants.extend(repaired);
    mutants.extend(byte_mutants(bytes, 100));
    mutants
}

/// One in this many mutants is tried, each ceremony another part; all with `MUTANTS=all`, which takes minutes.
fn stride() -> usize {
    match std::env::var("MUTANTS") {
        Ok(all) if all == "all" => 1,
        Ok(_) | Err(_) => 3,
    }
}

#[test]
fn no_mutant_passes() {
    let tally: Mutex<Tally> = Mutex::default();
    let stride = stride();
    for (number, source) in ceremonies().enumerate() {
        let proved = proved(&source);
        let mut material = source.material(0);
        let mut targets = vec![Target::Lock, Target::Definition];
        targets.extend((0..material.deposit_data.len()).map(Target::Deposits));
        // Every changed keystore has to be opened, so one ceremony must do: the format never changed.
        if source.name == "charon-v1.10.3-def-v1.10.0-n4-v2" {
            targets.extend([Target::Keystore(1), Target::Password(0), Target::EnrKey]);
        }
        for target in targets {
            let bytes = target.file(&mut material).bytes.to_vec();
            // The large ceremony has the same fields many times.
            let stride = match target {
                Target::Lock if source.nodes > 4 => stride * 12,
                Target::Lock
                | Target::Definition
                | Target::Deposits(_)
                | Target::Keystore(_)
                | Target::Password(_)
                | Target::EnrKey => stride,
            };
            let mutants: Vec<Mutant> = mutants_of(target, &bytes)
                .into_iter()
                .skip(number % stride)
                .step_by(stride)
                .collect();
            judge(&source, target, &mutants, &proved, &tally);
        }
    }

    let tally = tally.into_inner().unwrap();
    let caught: usize = tally.caught.values().sum();
    println!(
        "{caught} mutants caught; {} that mean the same passed",
        tally.same
    );
    for (operation, count) in &tally.caught {
        println!("{count:>8} {operation}");
    }
    let shown: Vec<&String> = tally.problems.iter().take(20).collect();
    assert!(
        shown.is_empty(),
        "{} problems: {shown:#?}",
        tally.problems.len()
    );
    assert!(caught >= 36_000 / stride, "{caught} mutants");
}

#[test]
fn no_file_of_another_node_or_ceremony_passes() {
    let home = ceremony("charon-v1.10.3-def-v1.10.0-n4-v2");
    let proved = proved(&home);
    let material = home.material(0);
    let mut strangers: Vec<Material> = (1..4).map(|node| home.material(node)).collect();
    strangers.extend(
        ceremonies()
            .filter(|other| other.name != home.name)
            .map(|other| other.material(0)),
    );
    let mut tried = 0;
    for stranger in &mut strangers {
        for target in [
            Target::Lock,
            Target::Definition,
            Target::Deposits(0),
            Target::Keystore(0),
            Target::Keystore(1),
            Target::Password(1),
            Target::EnrKey,
        ] {
            let bytes = target.file(stranger).bytes.to_vec();
            let mut changed = material.clone();
            let file = target.file(&mut changed);
            // Lock, definition and deposit data are the same for all nodes of a ceremony.
            if *file.bytes == bytes {
                continue;
            }
            *file = NamedFile::new(file.path.clone(), bytes);
            let outcome = whole_with_proved(&changed, &proved);
            assert_eq!(outcome.report.verdict, Verdict::Fail, "{target:?}");
            tried += 1;
        }
    }
    assert_eq!(tried, 3 * 4 + 9 * 7);
}

/// The same content with every object's keys in reverse order, and hexadecimal in upper case where it is data.
pub(crate) fn reversed_and_shouted(value: &Value) -> String {
    shouted(&Tree::of(value)).render()
}

fn shouted(tree: &Tree) -> Tree {
    match tree {
        Tree::Object(members) => Tree::Object(
            members
                .iter()
                .rev()
                .map(|(key, member)| (key.clone(), shouted(member)))
                .collect(),
        ),
        Tree::Array(elements) => Tree::Array(elements.iter().map(shouted).collect()),
        Tree::Text(text) => Tree::Text(shout(text)),
        Tree::Null | Tree::Bool(_) | Tree::Number(_) => tree.clone(),
    }
}

/// Hexadecimal of at least 4 bytes in upper case, with its `0x` kept; other text as it is.
fn shout(text: &str) -> String {
    let (prefix, digits) = match text.strip_prefix("0x") {
        Some(digits) => ("0x", digits),
        None => ("", text),
    };
    let is_hex = digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex {
        format!("{prefix}{}", digits.to_uppercase())
    } else {
        text.to_owned()
    }
}
