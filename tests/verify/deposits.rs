//! Whether it is safe to deposit: what must be so, each time with one thing otherwise, and no changed file that passes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use charon_files::cluster::names::FileDigest;
use charon_files::cluster::{
    AddressPair, ClusterLock, DepositData, Gwei, Network, ValidatorAddresses,
};
use charon_files::finding::Weight;
use charon_proof::chain::{Chain, NewCeremony, OnChain, Standing, parse_event};
use charon_proof::deposits::{ClusterFiles, Document, Examined, Verdict, Wanted, assign, judge};
use charon_proof::line::find;
use charon_proof::profile::Profile;
use charon_proof::receipt::{Receipt, Statement};
use charon_proof::verify::{Expectations, Material, NamedFile, Options, Scope, verify};
use rayon::prelude::*;
use serde_json::Value;

use crate::forge::Cluster;
use crate::mutants::{Mutant, byte_mutants, field_mutants, plain, rehashed_locks, stride};
use crate::receipts::receipts;
use crate::schema;
use crate::support::ceremony;

const TODAY: &str = "charon-v1.10.3-def-v1.10.0-n4-v2";
const OTHER: &str = "charon-v1.10.3-def-v1.10.0-n4-v2-signed";
const HOODI: (&str, &str) = (
    "0x4473dCDDbf77679A643BdB654dbd86D67F8d32f2",
    "0x9b108015fe433F173696Af3Aa0CF7CDb3E104258",
);
const MAINNET: (&str, &str) = (
    "0xB9D7934878B5FB9610B3fE8A5e441e8fad7E293f",
    "0x388C818CA8B9251b393131C08a736A67ccB19297",
);

/// What the funder has.
#[derive(Clone)]
struct Case {
    files: ClusterFiles,
    receipts: Vec<Receipt>,
}

/// What the coordinator agreed on.
#[derive(Clone, Copy)]
struct Terms {
    network: &'static str,
    addresses: (&'static str, &'static str),
    amounts: &'static [u64],
    compounding: bool,
}

const LIDO: Terms = Terms {
    network: "hoodi",
    addresses: HOODI,
    amounts: &[32],
    compounding: false,
};

/// A cluster with the keys of a real ceremony on these terms, everything signed.
fn cluster(terms: Terms) -> Cluster {
    let mut cluster = Cluster::of(&ceremony(TODAY));
    let network = Network::by_name(terms.network).unwrap();
    let bytes = |text: &str| charon_files::cluster::hex::array_from_0x::<20>(text).unwrap();
    let pair = AddressPair {
        fee_recipient_address: terms.addresses.1.to_owned(),
        withdrawal_address: terms.addresses.0.to_owned(),
    };
    let definition = &mut cluster.lock.definition;
    definition.fork_version = network.fork_version;
    definition.validators = ValidatorAddresses::PerValidator(vec![pair; 2]);
    definition.compounding = terms.compounding;
    let eth: Vec<Gwei> = terms.amounts.iter().map(|it| Gwei::from_eth(*it)).collect();
    definition.deposit_amounts = Some(eth.clone());
    let mut made = eth;
    made.sort_unstable();
    made.dedup();
    let mut credentials = [0; 32];
    credentials[0] = if terms.compounding { 2 } else { 1 };
    credentials[12..].copy_from_slice(&bytes(terms.addresses.0));
    for validator in &mut cluster.lock.validators {
        validator.deposits = made
            .iter()
            .map(|amount| DepositData {
                pubkey: validator.public_key,
                withdrawal_credentials: credentials,
                amount: *amount,
                signature: [0; 96],
            })
            .collect();
        let registration = validator.builder_registration.as_mut().unwrap();
        registration.fee_recipient = bytes(terms.addresses.1);
        registration.timestamp = network.genesis_time.unwrap_or(registration.timestamp);
    }
    cluster.sign_validators();
    cluster.write_deposit_files();
    cluster.seal();
    cluster
}

impl Case {
    fn of(cluster: &Cluster) -> Self {
        let material = cluster.material(0);
        let files: Vec<FileDigest> = material
            .deposit_data
            .iter()
            .map(NamedFile::digest)
            .collect();
        Self {
            receipts: receipts(&cluster.lock, &cluster.enr_keys, &files),
            files: ClusterFiles {
                lock: material.cluster_lock.unwrap(),
                deposits: material.deposit_data,
            },
        }
    }

    fn on(terms: Terms) -> Self {
        Self::of(&cluster(terms))
    }

    fn examined(&self, profile: Option<&Profile>) -> Examined {
        let material = Material {
            cluster_lock: Some(self.files.lock.clone()),
            deposit_data: self.files.deposits.clone(),
            ..Material::default()
        };
        let expectations = Expectations {
            profile: profile.cloned(),
            ..Expectations::default()
        };
        let options = Options::new(Scope::DepositsAgainstLock);
        Examined::of(
            self.files.clone(),
            verify(&material, &expectations, &options),
        )
    }

    fn judged_with(&self, profile: Option<&str>, chain: Option<Chain>) -> Document {
        let profile = profile.map(|name| Profile::built_in(name).unwrap());
        let wanted = Wanted {
            network: None,
            profile: profile.as_ref(),
        };
        let examined = self.examined(profile.as_ref());
        judge(&[examined], &self.receipts, &[], wanted, &[chain])
    }

    fn judged(&self, profile: Option<&str>) -> Document {
        self.judged_with(profile, None)
    }
}

/// The serious checks, each once, sorted.
fn against(document: &Document) -> Vec<&'static str> {
    let mut checks: Vec<&'static str> = document
        .findings
        .iter()
        .filter(|finding| finding.weight != Weight::Note)
        .map(|finding| finding.check)
        .collect();
    checks.sort_unstable();
    checks.dedup();
    assert_eq!(
        checks.is_empty(),
        document.verdict == Verdict::SafeToDeposit
    );
    fits_the_schema(document);
    checks
}

fn fits_the_schema(document: &Document) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/deposits.schema.json");
    let schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let value = serde_json::to_value(document).unwrap();
    let problems = schema::problems(&schema, &schema, &value, "document");
    assert!(problems.is_empty(), "{problems:#?}");
}

fn paid(document: &Document) -> Vec<&str> {
    let files = document.clusters.iter().flat_map(|it| &it.files);
    let paid = files.filter(|file| file.pay);
    paid.map(|file| file.file.as_str()).collect()
}

const NONE: [&str; 0] = [];

#[test]
fn what_is_right_is_safe_on_every_network() {
    for network in Network::ALL {
        let addresses = if network.name == "hoodi" {
            HOODI
        } else {
            (
                "0x52908400098527886E0F7030069857D2E4169EE7",
                "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
            )
        };
        let case = Case::on(Terms {
            network: network.name,
            addresses,
            ..LIDO
        });
        let document = case.judged(None);
        assert_eq!(
            against(&document),
            NONE,
            "{network}: {:#?}",
            document.findings
        );
        assert_eq!(document.total_gwei, 64_000_000_000);
        assert_eq!(paid(&document), ["deposit-data.json"]);
        // Another network's files are not this one's.
        let other = Network::by_name(if network.name == "hoodi" {
            "mainnet"
        } else {
            "hoodi"
        });
        let wanted = Wanted {
            network: other,
            profile: None,
        };
        let document = judge(&[case.examined(None)], &case.receipts, &[], wanted, &[]);
        assert_eq!(against(&document), ["deposits-network"]);
    }
}

#[test]
fn a_profile_wants_its_addresses_and_amounts() {
    let lido = Some("lido");
    let good = Case::on(LIDO).judged(lido);
    assert_eq!(against(&good), NONE, "{:#?}", good.findings);
    assert!(
        good.clusters[0]
            .upload
            .as_ref()
            .unwrap()
            .contains("testnet")
    );
    let with = |addresses, amounts, compounding| {
        let terms = Terms {
            addresses,
            amounts,
            compounding,
            ..LIDO
        };
        against(&Case::on(terms).judged(lido))
    };
    let swapped = (HOODI.1, HOODI.0);
    let both = [
        "profile-fee-recipient",
        "profile-withdrawal-address",
        "vault-network",
    ];
    assert_eq!(with(swapped, &[32], false), both);
    assert_eq!(with(MAINNET, &[32], false), both);
    let stranger = ("0x52908400098527886E0F7030069857D2E4169EE7", HOODI.1);
    assert_eq!(with(stranger, &[32], false), ["profile-withdrawal-address"]);
    assert_eq!(
        with(HOODI, &[16, 16], false),
        ["deposits-sum", "profile-amounts"]
    );
    assert_eq!(
        with(HOODI, &[1, 31], false),
        ["deposits-sum", "profile-amounts"]
    );
    assert_eq!(with(HOODI, &[1, 32], false), NONE);
    assert_eq!(with(HOODI, &[32], true), ["profile-credentials"]);
    let compounding = Terms {
        compounding: true,
        ..LIDO
    };
    let document = Case::on(compounding).judged(Some("lido-cm-v2"));
    assert_eq!(against(&document), NONE);
    assert_eq!(document.clusters[0].credentials, Some("0x02"));
}

#[test]
fn partial_deposits_must_add_up() {
    let with = |amounts, compounding| {
        let case = Case::on(Terms {
            amounts,
            compounding,
            ..LIDO
        });
        let document = case.judged(None);
        let names: Vec<String> = paid(&document).into_iter().map(str::to_owned).collect();
        (
            against(&document),
            names,
            document.total_gwei / 1_000_000_000,
        )
    };
    let names =
        |names: &[&str]| -> Vec<String> { names.iter().map(|it| (*it).to_owned()).collect() };
    // charon takes three of sixteen, and makes one file.
    assert_eq!(
        with(&[16, 16, 16], false),
        (vec!["deposits-sum"], vec![], 0)
    );
    assert_eq!(with(&[8, 16, 8], false), (vec!["deposits-sum"], vec![], 0));
    let both = names(&["deposit-data-8eth.json", "deposit-data-24eth.json"]);
    assert_eq!(with(&[8, 24], false), (vec![], both, 64));
    // One of charon's two ways to pay, not both.
    let full = names(&["deposit-data.json"]);
    assert_eq!(with(&[1, 32], false), (vec![], full, 64));
    let all = names(&["deposit-data.json", "deposit-data-64eth.json"]);
    assert_eq!(with(&[32, 64], true), (vec![], all, 192));
    assert_eq!(with(&[2048, 1], true), (vec!["deposits-sum"], vec![], 0));
}

#[test]
fn every_operator_must_have_these_files() {
    let case = Case::on(Terms {
        amounts: &[1, 32],
        ..LIDO
    });
    let without = |edit: &dyn Fn(&mut Case)| {
        let mut case = case.clone();
        edit(&mut case);
        case.judged(None)
    };
    assert_eq!(against(&without(&|_| ())), NONE);
    let missing = without(&|case| drop(case.receipts.pop()));
    assert_eq!(against(&missing), ["receipt-missing"]);
    assert_eq!(missing.clusters[0].confirmed, 3);
    assert_eq!(
        against(&without(&|case| case.receipts.clear())),
        ["receipt-missing"]
    );
    // By another key.
    let forged = without(&|case| {
        let statement = case.receipts[1].statement().clone();
        let key = charon_files::keys::k1::EnrKey::from_secret_bytes(&[9; 32]).unwrap();
        case.receipts[1] = Receipt::sign(statement, &key).unwrap();
    });
    assert_ne!(forged.verdict, Verdict::SafeToDeposit);
    // The same deposits in other bytes are not what the operators have.
    let spaced = without(&|case| {
        let file = &mut case.files.deposits[0];
        let mut bytes = file.bytes.to_vec();
        bytes.push(b'\n');
        *file = NamedFile::new(file.path.clone(), bytes);
    });
    assert_eq!(against(&spaced), ["receipt-deposits"]);
    // What was renamed on its way is known by its amount.
    let renamed = without(&|case| {
        for file in &mut case.files.deposits {
            *file = NamedFile::new(format!("mail/{}.txt", file.name()), file.bytes.to_vec());
        }
    });
    assert_eq!(against(&renamed), NONE);
    // A part of the files is enough if it adds up, and each is one of theirs.
    let part = without(&|case| drop(case.files.deposits.remove(0)));
    assert_eq!(against(&part), NONE, "{:#?}", part.findings);
    assert!(part.findings.iter().any(|it| it.check == "deposits-files"));
    let other_part = without(&|case| {
        case.files.deposits.remove(0);
        let file = &mut case.files.deposits[0];
        let mut bytes = file.bytes.to_vec();
        bytes.push(b' ');
        *file = NamedFile::new(file.path.clone(), bytes);
    });
    assert_eq!(against(&other_part), ["receipt-deposits"]);
    let small = without(&|case| case.files.deposits.truncate(1));
    let kept = &small.clusters[0].files[0];
    assert_eq!(kept.amount_gwei, Some(1_000_000_000));
    assert_eq!(against(&small), ["deposits-sum"]);
}

#[test]
fn nothing_is_paid_twice() {
    let case = Case::on(LIDO);
    let mut twice = case.clone();
    twice.files.deposits.push(case.files.deposits[0].clone());
    let found = against(&twice.judged(None));
    assert!(found.contains(&"deposits-key-twice"), "{found:?}");

    // Several clusters at once: each file finds its lock.
    let other = Case::of(&Cluster::of(&ceremony(OTHER)));
    let locks = vec![case.files.lock.clone(), other.files.lock.clone()];
    let files = [other.files.deposits.clone(), case.files.deposits.clone()].concat();
    let together = |locks: Vec<NamedFile>, files: Vec<NamedFile>| {
        let examined: Vec<Examined> = assign(locks, files)
            .into_iter()
            .map(|files| {
                let receipts = Vec::new();
                Case { files, receipts }.examined(None)
            })
            .collect();
        let receipts = [case.receipts.clone(), other.receipts.clone()].concat();
        judge(&examined, &receipts, &[], Wanted::default(), &[])
    };
    let document = together(locks.clone(), files.clone());
    assert_eq!(against(&document), NONE, "{:#?}", document.findings);
    assert_eq!(document.total_gwei, 128_000_000_000);
    let same_lock = vec![locks[0].clone(), locks[1].clone(), locks[0].clone()];
    assert!(against(&together(same_lock, files)).contains(&"deposits-key-twice"));
    assert_eq!(
        judge(&[], &[], &[], Wanted::default(), &[]).verdict,
        Verdict::NotSafe
    );
}

#[test]
fn keys_of_a_rehearsal_are_never_paid_for() {
    let mut cluster = cluster(LIDO);
    cluster.lock.definition.name = "REHEARSAL of something".to_owned();
    cluster.seal();
    assert_eq!(
        against(&Case::of(&cluster).judged(None)),
        ["deposits-rehearsal"]
    );
}

/// A chain that answers and knows nothing.
fn empty_chain() -> Chain {
    Chain {
        beacon: true,
        queue: true,
        ..Chain::default()
    }
}

#[test]
fn what_the_chain_says_counts() {
    let made = cluster(LIDO);
    let case = Case::of(&made);
    let first = &made.lock.validators[0];
    let deposit = first.deposits[0].clone();
    let pubkey = first.public_key;
    let with = |edit: &dyn Fn(&mut Chain)| {
        let mut chain = empty_chain();
        edit(&mut chain);
        let document = case.judged_with(None, Some(chain));
        let standings = document.clusters[0].chain.clone().unwrap();
        (against(&document), standings)
    };
    let (found, standings) = with(&|_| ());
    assert_eq!(found, NONE);
    assert_eq!(standings.new_ceremony, NewCeremony::Clean);
    assert_eq!(standings.summary(), "2 unknown");

    let validator = |status: &str, standing, credentials, eth| OnChain {
        index: 7,
        status: status.to_owned(),
        standing,
        credentials,
        balance: Gwei::from_eth(eth),
    };
    let own = deposit.withdrawal_credentials;
    let mut compounding = own;
    compounding[0] = 2;
    for (credentials, standing, eth, expected) in [
        ([1; 32], Standing::Pending, 1, &["chain-credentials"][..]),
        ([1; 32], Standing::Active, 32, &["chain-credentials"]),
        (own, Standing::Active, 32, &["chain-paid"]),
        (compounding, Standing::Active, 32, &["chain-paid"]),
        (own, Standing::Exited, 0, &["chain-exited"]),
        (own, Standing::Pending, 0, &[]),
    ] {
        let (found, standings) = with(&|chain| {
            let it = validator("as said", standing, credentials, eth);
            chain.validators.insert(pubkey, it);
        });
        assert_eq!(found, expected);
        assert_eq!(standings.validators[0].standing, standing);
        assert_eq!(standings.validators[1].standing, Standing::Unknown);
    }

    // Deposits on their way; one that is not signed does not count.
    let mut foreign = deposit.clone();
    foreign.withdrawal_credentials = [1; 32];
    let signed = made.groups[0].sign(&foreign.signing_root(made.lock.definition.fork_version));
    let unsigned = foreign.clone();
    foreign.signature = signed.to_bytes();
    for events in [false, true] {
        for (deposit, expected) in [
            (&deposit, &["chain-paid"][..]),
            (&foreign, &["chain-credentials"]),
            (&unsigned, &[]),
        ] {
            let (found, standings) = with(&|chain| {
                let there = if events {
                    &mut chain.announced
                } else {
                    &mut chain.queued
                };
                there.insert(pubkey, vec![deposit.clone()]);
            });
            assert_eq!(found, expected, "{events}");
            assert_eq!(standings.new_ceremony, NewCeremony::InUse);
        }
    }

    // Whoever cannot be asked has not said that nobody deposited.
    let (found, standings) = with(&|chain| {
        chain.queue = false;
        chain.could_not_ask("chain-beacon", "the beacon node", "gone".to_owned());
    });
    assert_eq!(found, ["chain-beacon"]);
    assert_eq!(standings.new_ceremony, NewCeremony::CouldNotTell);
}

/// As the contract's ABI has it (ethereum/consensus-specs `deposit_contract.sol`).
#[test]
fn events_of_the_deposit_contract_are_read() {
    let deposit = cluster(LIDO).lock.validators[0].deposits[0].clone();
    let mut data = Vec::new();
    let word = |number: usize| {
        let mut word = [0_u8; 32];
        word[24..].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
        word
    };
    for offset in [160, 256, 320, 384, 512] {
        data.extend(word(offset));
    }
    for field in [
        &deposit.pubkey[..],
        &deposit.withdrawal_credentials,
        &deposit.amount.0.to_le_bytes(),
        &deposit.signature,
        &7_u64.to_le_bytes(),
    ] {
        data.extend(word(field.len()));
        data.extend(field);
        data.resize(data.len().next_multiple_of(32), 0);
    }
    assert_eq!(data.len(), 576);
    assert_eq!(parse_event(&data), Some(deposit));
    for end in 0..480 {
        assert_eq!(parse_event(&data[..end]), None, "{end}");
    }
    data[0] = 1;
    assert_eq!(parse_event(&data), None);
}

/// One changed file of a case that is safe.
enum Changed {
    Lock(Mutant),
    Deposits(usize, Mutant),
    Receipts(String),
}

/// Changed texts of receipts: every character, pieces left out, doubled and in another order.
fn changed_receipts(text: &str) -> Vec<String> {
    let mut changed = Vec::new();
    for (position, character) in text.char_indices() {
        if character != '\n' {
            let other = if character == 'q' { 'p' } else { 'q' };
            let mut one = text.to_owned();
            one.replace_range(position..=position, &other.to_string());
            changed.push(one);
            let mut without = text.to_owned();
            without.remove(position);
            changed.push(without);
        }
        changed.push(text[..position].to_owned());
    }
    let lines: Vec<&str> = text.lines().collect();
    for line in &lines {
        let rest: Vec<&str> = lines.iter().filter(|it| *it != line).copied().collect();
        changed.push(rest.join("\n"));
        // One operator's in the place of another.
        let same = vec![*line; lines.len()];
        changed.push(same.join("\n"));
    }
    changed
}

/// `MUTANTS=1` tries all, some ten thousand.
#[test]
fn no_changed_file_is_safe() {
    let made = cluster(Terms {
        amounts: &[1, 32],
        ..LIDO
    });
    let case = Case::of(&made);
    assert_eq!(against(&case.judged(Some("lido"))), NONE);
    let lock = case.files.lock.bytes.to_vec();
    let text: Vec<String> = case.receipts.iter().map(Receipt::to_string).collect();
    let text = text.join("\n");
    let of_bytes = |bytes: &[u8]| {
        let mut mutants = field_mutants(bytes);
        mutants.extend(byte_mutants(bytes, 300));
        mutants
    };
    let mut all: Vec<Changed> = Vec::new();
    for mutant in of_bytes(&lock) {
        let rehashed = rehashed_locks(&lock, &mutant).into_iter();
        all.extend(rehashed.map(Changed::Lock));
        all.push(Changed::Lock(mutant));
    }
    for (position, file) in case.files.deposits.iter().enumerate() {
        let mutants = of_bytes(&file.bytes).into_iter();
        all.extend(mutants.map(|mutant| Changed::Deposits(position, mutant)));
    }
    all.extend(changed_receipts(&text).into_iter().map(Changed::Receipts));
    let total = all.len();
    assert!(total >= 5000, "{total}");

    let meaning_of = |bytes: &[u8]| {
        let mut lock = ClusterLock::parse(bytes).ok()?.value;
        lock.definition = plain(lock.definition);
        Some(lock)
    };
    let meaning = meaning_of(&lock);
    let counts: Mutex<BTreeMap<&str, usize>> = Mutex::default();
    let passed: Vec<String> = all
        .into_par_iter()
        .step_by(stride())
        .filter_map(|changed| {
            let mut other = case.clone();
            let (kind, same) = match &changed {
                Changed::Lock(mutant) => {
                    let same = meaning_of(&mutant.bytes) == meaning;
                    other.files.lock = NamedFile::new("cluster-lock.json", mutant.bytes.clone());
                    ("lock", same)
                }
                Changed::Deposits(position, mutant) => {
                    let same = mutant.bytes == *case.files.deposits[*position].bytes;
                    let path = case.files.deposits[*position].path.clone();
                    other.files.deposits[*position] = NamedFile::new(path, mutant.bytes.clone());
                    ("deposit data", same)
                }
                Changed::Receipts(text) => {
                    let found = find::<Statement>(text).unwrap();
                    other.receipts = found.into_iter().filter_map(Result::ok).collect();
                    let same = case.receipts.iter().all(|it| other.receipts.contains(it));
                    ("receipts", same)
                }
            };
            // What means the same may pass.
            if same {
                return None;
            }
            *counts.lock().unwrap().entry(kind).or_default() += 1;
            let document = other.judged(Some("lido"));
            (document.verdict == Verdict::SafeToDeposit).then(|| match changed {
                Changed::Lock(mutant) | Changed::Deposits(_, mutant) => {
                    format!("{kind}: {} of {}", mutant.operation, mutant.field)
                }
                Changed::Receipts(text) => format!("{kind}: {text}"),
            })
        })
        .collect();
    let counts = counts.into_inner().unwrap();
    println!("{total} changed files, tried: {counts:?}");
    assert!(passed.is_empty(), "{passed:#?}");
    for kind in ["lock", "deposit data", "receipts"] {
        assert!(counts.contains_key(kind), "{counts:?}");
    }
}
