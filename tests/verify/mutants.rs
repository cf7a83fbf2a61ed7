//! Systematic changes to every field of every file of every ceremony: none passes, and each is reported by a check that
//! is meant for it. What means the same still passes.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Mutex;

use charon_files::cluster::eip712::{creator_config_digest, enr_digest, operator_config_digest};
use charon_files::cluster::{
    ClusterLock, Definition, DefinitionVersion, DepositFile, Gwei, Network, ParseError, Parsed,
    Remark, RemarkKind,
};
use charon_files::keys::bls::ShareSecret;
use charon_files::keys::k1::EnrKey;
use charon_files::keys::keystore::Keystore;
use charon_proof::verify::{
    Expectations, Material, NamedFile, Options, Outcome, Scope, Verdict, verify,
};
use rayon::prelude::*;
use serde_json::Value;

use crate::forge::Cluster;
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
pub(crate) struct Mutant {
    /// What was done: the stable part first, for the counts.
    pub(crate) operation: &'static str,
    /// Where: keys without positions; empty for a change of bytes.
    pub(crate) field: String,
    pub(crate) bytes: Vec<u8>,
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
            values.extend(other_amounts(parsed).map(|amount| (OTHER_AMOUNT, Tree::Number(amount))));
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

/// Another sum of money, where there was one.
const OTHER_AMOUNT: &str = "other amount";

/// Every other amount that somebody may want to deposit, if this is one: whole ETH in Gwei.
fn other_amounts(amount: u64) -> impl Iterator<Item = String> {
    let is_amount = amount > 0 && amount.is_multiple_of(Gwei::ONE_ETH.0);
    [1, 8, 16, 31, 32, 2048]
        .map(Gwei::from_eth)
        .into_iter()
        .filter(move |other| is_amount && other.0 != amount)
        .map(|other| other.0.to_string())
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
    if let Ok(amount) = text.parse() {
        texts.extend(other_amounts(amount).map(|amount| (OTHER_AMOUNT, amount)));
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
pub(crate) fn field_mutants(bytes: &[u8]) -> Vec<Mutant> {
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
pub(crate) fn byte_mutants(bytes: &[u8], count: usize) -> Vec<Mutant> {
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

    /// The scope in which this file is verified without the rest of the directory; `None` for what belongs to one node.
    const fn scope(self) -> Option<Scope> {
        match self {
            Target::Lock => Some(Scope::LockOnly),
            Target::Definition => Some(Scope::DefinitionOnly),
            Target::Deposits(_) => Some(Scope::DepositsAgainstLock),
            Target::Keystore(_) | Target::Password(_) | Target::EnrKey => None,
        }
    }

    /// The checks of which at least one must speak in the scope of this file alone; `None` if it means something else
    /// there, but nothing that is wrong.
    fn expected_alone(self, mutant: &Mutant, signed: bool) -> Option<BTreeSet<&'static str>> {
        if self != Target::Definition || !is_repaired(mutant) {
            return Some(self.expected(mutant));
        }
        // Of an unsigned definition anybody can make another one.
        signed.then(|| {
            BTreeSet::from([
                "operator-count",
                "definition-signed",
                "operator-config-signature",
                "operator-enr-signature",
                "creator-signature",
            ])
        })
    }

    /// The checks of which at least one must speak.
    fn expected(self, mutant: &Mutant) -> BTreeSet<&'static str> {
        let mut checks = BTreeSet::new();
        if self == Target::Definition && is_repaired(mutant) {
            return BTreeSet::from(["definition-file"]);
        }
        if self == Target::Lock && is_repaired(mutant) {
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

/// Whether all hashes fit again.
fn is_repaired(mutant: &Mutant) -> bool {
    [REHASHED, OUTSIDER].contains(&mutant.operation)
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
pub(crate) fn plain(mut definition: Definition) -> Definition {
    use charon_files::cluster::ValidatorAddresses;
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

fn judge(source: &Source, target: Target, mutants: &[Mutant], tally: &Mutex<Tally>) {
    let original = target.file(&mut source.material.clone()).bytes.clone();
    mutants.par_iter().enumerate().for_each(|(number, mutant)| {
        let mut material = source.material.clone();
        let file = target.file(&mut material);
        *file = NamedFile::new(file.path.clone(), mutant.bytes.clone());
        let same = target.means_the_same(&original, &mutant.bytes);
        let outcome = whole_with_proved(&material, &source.proved);
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
        let problem = problem.or_else(|| {
            // Mostly the same checks once more, so a part of them must do.
            let scope = target.scope().filter(|_| number % 4 == 0)?;
            let outcome = verify(&material, &Expectations::default(), &Options::new(scope));
            if same {
                return (outcome.report.verdict != Verdict::Pass)
                    .then(|| format!("does not pass as {scope:?}"));
            }
            let expected = target.expected_alone(mutant, source.signed)?;
            survived(&outcome, &expected).map(|problem| format!("{problem} as {scope:?}"))
        });
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

/// What anybody can do.
const REHASHED: &str = "hashes recomputed";

/// What is done by somebody who has other keys, and signs with them whatever he can.
const OUTSIDER: &str = "re-signed by an outsider";

fn outsider() -> ShareSecret {
    ShareSecret::from_entropy(&[0x66; 32]).unwrap()
}

/// What an outsider makes of a changed lock: all hashes are right again, the signatures are not, or they are his own.
/// Nothing if it cannot be read or hashed, or if nothing changed.
pub(crate) fn rehashed_locks(original: &[u8], mutant: &Mutant) -> Vec<Mutant> {
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
    let rehashed = as_mutant(REHASHED, &lock);
    lock.signature_aggregate = Some(outsider().sign(hash.as_bytes()).to_bytes());
    let enr_key = EnrKey::from_secret_bytes(&[0x66; 32]).unwrap();
    for signature in &mut lock.node_signatures {
        *signature = enr_key.sign_digest(hash.as_bytes());
    }
    vec![rehashed, as_mutant(OUTSIDER, &lock)]
}

/// The same of a definition, whose hashes anybody can compute, and whose signatures nobody else can make.
fn rehashed_definitions(original: &[u8], mutant: &Mutant) -> Vec<Mutant> {
    let Some(definition) = Definition::parse(&mutant.bytes)
        .ok()
        .and_then(|parsed| parsed.value.with_hashes().ok())
    else {
        return Vec::new();
    };
    let old = Definition::parse(original).unwrap().value;
    let hashes = |definition: &Definition| (definition.config_hash, definition.definition_hash);
    if hashes(&definition) == hashes(&old) {
        return Vec::new();
    }
    let resigned = signed_by_outsider(definition.clone());
    [(REHASHED, Some(definition)), (OUTSIDER, resigned)]
        .into_iter()
        .filter_map(|(operation, definition)| {
            Some(Mutant {
                operation,
                field: mutant.field.clone(),
                bytes: definition?.to_json().into_bytes(),
            })
        })
        .collect()
}

/// Every signature by another wallet than that of the address; `None` if there is none to replace.
fn signed_by_outsider(mut definition: Definition) -> Option<Definition> {
    let wallet = EnrKey::from_secret_bytes(&[0x66; 32]).unwrap();
    let chain_id = Network::by_fork_version(definition.fork_version)?.chain_id;
    let config_hash = definition.config_hash?;
    let digest = operator_config_digest(definition.version, &config_hash, chain_id)?;
    if definition.is_unsigned() {
        return None;
    }
    for operator in &mut definition.operators {
        operator.config_signature = wallet.sign_digest(&digest).to_vec();
        let digest = enr_digest(&operator.enr, chain_id);
        operator.enr_signature = wallet.sign_digest(&digest).to_vec();
    }
    if definition.version.has_creator() {
        let digest = creator_config_digest(&config_hash, chain_id);
        definition.creator.config_signature = wallet.sign_digest(&digest).to_vec();
    }
    definition.with_hashes().ok()
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

/// One in `stride` mutants of one file, from the one numbered `first`.
fn mutants_of(target: Target, bytes: &[u8], first: usize, stride: usize) -> Vec<Mutant> {
    let mut mutants = match target {
        Target::Lock | Target::Definition | Target::Deposits(_) | Target::Keystore(_) => {
            field_mutants(bytes)
        }
        Target::Password(_) | Target::EnrKey => Vec::new(),
    };
    let fields = mutants.len();
    mutants.extend(byte_mutants(bytes, 100));
    // Signing takes longer than all else here, so it is done for those that are tried. They are others than the ones which
    // are tried without.
    let is_tried = |number: usize, first: usize| number % stride == first % stride;
    let repaired: Vec<Mutant> = mutants[..fields]
        .iter()
        .enumerate()
        .filter(|(number, _)| is_tried(*number, first + stride / 2))
        .flat_map(|(_, mutant)| match target {
            Target::Lock => rehashed_locks(bytes, mutant),
            Target::Deposits(_) => rerooted_deposits(bytes, mutant),
            Target::Definition => rehashed_definitions(bytes, mutant),
            Target::Keystore(_) | Target::Password(_) | Target::EnrKey => Vec::new(),
        })
        .collect();
    let tried = mutants.into_iter().enumerate();
    tried
        .filter(|(number, _)| is_tried(*number, first))
        .map(|(_, mutant)| mutant)
        .chain(repaired)
        .collect()
}

/// One in this many mutants is tried, each ceremony another part: `MUTANTS=5` tries every fifth and takes minutes,
/// `MUTANTS=1` tries all. `MUTANTS_SEED=N` tries other ones of them.
pub(crate) fn stride() -> usize {
    number_in("MUTANTS", 60).max(1)
}

/// Whether the case with this number is tried, where there are so few that `MUTANTS=5` tries all.
fn is_sampled(case: usize) -> bool {
    let stride = (stride() / 5).max(1);
    case % stride == number_in("MUTANTS_SEED", 0) % stride
}

fn number_in(variable: &str, otherwise: usize) -> usize {
    match std::env::var(variable) {
        Ok(number) => number.parse().unwrap(),
        Err(_) => otherwise,
    }
}

/// One node's directory, and what is known of it.
struct Source {
    name: String,
    material: Material,
    proved: HashSet<[u8; 32]>,
    /// Whether wallets signed the definition.
    signed: bool,
    nodes: usize,
}

const TODAY: &str = "charon-v1.10.3-def-v1.10.0-n4-v2";

/// Every ceremony, and a cluster of each version that none of them has, signed if the version can be.
fn sources() -> Vec<Source> {
    let mut sources: Vec<Source> = ceremonies()
        .map(|ceremony| Source {
            material: ceremony.material(0),
            proved: proved(&ceremony),
            signed: ceremony.name.contains("signed"),
            nodes: ceremony.nodes,
            name: ceremony.name,
        })
        .collect();
    let home = ceremony(TODAY);
    let mut cluster = Cluster::of(&home);
    for version in [
        DefinitionVersion::V1_0,
        DefinitionVersion::V1_1,
        DefinitionVersion::V1_2,
        DefinitionVersion::V1_3,
        DefinitionVersion::V1_9,
    ] {
        cluster.convert(version);
        let signed = version.has_eip712_signatures();
        if signed {
            cluster.sign_definition();
            cluster.seal();
        }
        sources.push(Source {
            name: format!("made of {version}"),
            material: cluster.material(0),
            proved: proved(&home),
            signed,
            nodes: home.nodes,
        });
    }
    sources
}

/// Each way to change something, what the mutants call it, and how many there are at least of each among all.
const WAYS: [(&str, &[&str], usize); 8] = [
    (
        "flipped bits",
        &["bit flipped", "bit of the file flipped"],
        10_000,
    ),
    (
        "swapped validators, shares, operators and entries",
        &["elements swapped"],
        200,
    ),
    ("other network", &["other network"], 700),
    ("other amount", &[OTHER_AMOUNT], 200),
    ("taken from another", &["taken from a neighbour"], 900),
    ("re-signed by an outsider", &[OUTSIDER], 9_000),
    ("recomputed", &[REHASHED, "roots recomputed"], 9_000),
    ("duplicate keys", &["key doubled", "key in capitals"], 4_000),
];

#[test]
fn no_mutant_passes() {
    let tally: Mutex<Tally> = Mutex::default();
    let all = stride();
    for (number, source) in sources().iter().enumerate() {
        let mut material = source.material.clone();
        let mut targets = vec![Target::Lock, Target::Definition];
        targets.extend((0..material.deposit_data.len()).map(Target::Deposits));
        // The made ones have the keystores of a ceremony.
        if !source.name.starts_with("made") {
            targets.extend([Target::Keystore(1), Target::Password(0), Target::EnrKey]);
        }
        for target in targets {
            let bytes = target.file(&mut material).bytes.to_vec();
            let stride = match target {
                // The large ceremony has the same fields many times.
                Target::Lock if source.nodes > 4 => all * 12,
                // Every changed keystore has to be opened, and the format never changed.
                Target::Keystore(_) | Target::Password(_) if source.name != TODAY => all * 8,
                Target::Lock
                | Target::Definition
                | Target::Deposits(_)
                | Target::Keystore(_)
                | Target::Password(_)
                | Target::EnrKey => all,
            };
            let first = number + number_in("MUTANTS_SEED", 0);
            let mutants = mutants_of(target, &bytes, first, stride);
            judge(source, target, &mutants, &tally);
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
    assert!(caught >= 60_000 / all, "{caught} mutants");
    for (way, operations, least) in WAYS {
        let count: usize = operations
            .iter()
            .filter_map(|operation| tally.caught.get(operation))
            .sum();
        assert!(count >= least / all, "{count} mutants of {way}");
    }
}

/// The checks of which one must speak if the file of another node or ceremony lies in the place of this one.
fn expected_of_a_stranger(target: Target) -> BTreeSet<&'static str> {
    BTreeSet::from(match target {
        Target::Lock => ["definition-file", "keystore-share"],
        Target::Definition => ["definition-file"; 2],
        Target::Deposits(_) => ["deposit-file-validators"; 2],
        Target::Keystore(_) => ["keystore-share"; 2],
        Target::Password(_) => ["keystore-decrypt"; 2],
        Target::EnrKey => ["enr-key-operator", "keystore-share"],
    })
}

#[test]
fn no_file_of_another_node_or_ceremony_passes() {
    let homes: Vec<Ceremony> = ceremonies().collect();
    let mut cases = 0;
    for (number, home) in homes.iter().enumerate() {
        let proved = proved(home);
        let material = home.material(0);
        let next = &homes[(number + 1) % homes.len()];
        // One ceremony meets all others.
        let others = homes
            .iter()
            .filter(|other| other.name == next.name || home.name == TODAY)
            .filter(|other| other.name != home.name)
            .map(|other| other.material(0));
        let mut strangers: Vec<Material> =
            (1..home.nodes).map(|node| home.material(node)).collect();
        let nodes = strangers.len();
        strangers.extend(others);
        for (position, stranger) in strangers.iter_mut().enumerate() {
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
                    assert!(position < nodes && target.scope().is_some(), "{target:?}");
                    continue;
                }
                *file = NamedFile::new(file.path.clone(), bytes);
                cases += 1;
                if !is_sampled(cases) {
                    continue;
                }
                let outcome = whole_with_proved(&changed, &proved);
                let problem = survived(&outcome, &expected_of_a_stranger(target));
                assert_eq!(problem, None, "{}: {target:?}", home.name);
                assert_eq!(outcome.report.verdict, Verdict::Fail, "{target:?}");
            }
        }
    }
    // Nodes of nine ceremonies of four and one of ten, and pairs of ceremonies.
    assert_eq!(cases, (9 * 3 + 9) * 4 + (9 + 9) * 7);
}

/// Every node of every ceremony, without one of its files, and with one too many.
#[test]
fn no_directory_with_a_file_too_few_or_too_many_passes() {
    let mut cases = 0;
    for ceremony in ceremonies() {
        let proved = proved(&ceremony);
        let all_of = |node: usize| {
            let mut cases = 0;
            let mut case = |node: usize, expected: &'static str, edit: &dyn Fn(&mut Material)| {
                cases += 1;
                // Each node another part.
                if !is_sampled(cases + node) {
                    return;
                }
                let mut material = ceremony.material(node);
                edit(&mut material);
                let outcome = whole_with_proved(&material, &proved);
                let problem = survived(&outcome, &BTreeSet::from([expected]));
                assert_eq!(problem, None, "{} node {node}", ceremony.name);
            };
            let whole = ceremony.material(node);
            case(node, "data-directory", &|it| it.cluster_lock = None);
            case(node, "enr-key", &|it| it.enr_key = None);
            for file in 0..whole.deposit_data.len() {
                case(node, "deposit-file-set", &|it| {
                    it.deposit_data.remove(file);
                });
                for name in ["deposit-data-7eth.json", "deposit-data-32eth.json"] {
                    case(node, "deposit-file-name", &|it| {
                        let bytes = it.deposit_data[file].bytes.to_vec();
                        it.deposit_data.push(NamedFile::new(name, bytes));
                    });
                }
            }
            let validators = whole.keystores.len() / 2;
            for file in 0..whole.keystores.len() {
                case(node, "keystore-set", &|it| {
                    it.keystores.remove(file);
                });
                for name in [
                    format!("keystore-{validators}.json"),
                    format!("keystore-{validators}.txt"),
                    "keystore-0 (1).json".to_owned(),
                    "other/keystore-0.json".to_owned(),
                ] {
                    let path = format!("validator_keys/{name}");
                    case(node, "keystore-set", &|it| {
                        let bytes = it.keystores[file].bytes.to_vec();
                        it.keystores.push(NamedFile::new(path.clone(), bytes));
                    });
                }
            }
            for (name, expected) in [
                ("cluster-manifest.pb", "data-directory"),
                ("deposit-data.json.bak", "deposit-file-set"),
                ("deposit-data", "deposit-file-set"),
                ("validator_keys/keystore-9.json", "keystore-set"),
            ] {
                case(node, expected, &|it| it.other_names.push(name.to_owned()));
            }
            cases
        };
        cases += (0..ceremony.nodes)
            .into_par_iter()
            .map(all_of)
            .sum::<usize>();
    }
    assert!(cases > 1_500, "{cases}");
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
