//! One defect at a time, each made by an insider who signs everything else again, and each caught by the check that is
//! meant for it and by no other.

use charon_files::cluster::eip712::{creator_config_digest, enr_digest};
use charon_files::cluster::{
    AddressPair, ClusterLock, Definition, DefinitionHash, DefinitionVersion, DepositFile, Gwei,
    ValidatorAddresses,
};
use charon_files::finding::{Finding, Weight};
use charon_files::keys::bls::{self, ShareSecret};
use charon_files::keys::k1::EnrKey;
use charon_proof::profile::Profile;
use charon_proof::verify::{
    Check, ContractQuestion, EntryKind, Expectations, FileMode, Material, Modes, NamedFile,
    Options, Outcome, Scope, Verdict, verify,
};

use serde_json::Value;

use crate::forge::{Cluster, keystore_files, keystore_files_of, wallet};
use crate::support::{ceremonies, ceremony, proved, serious, whole, whole_with_proved};

const TODAY: &str = "charon-v1.10.3-def-v1.10.0-n4-v2";
const V1_11: &str = "charon-v1.11.0-rc3-def-v1.11.0-n4-v2";
const ONE_DEPOSIT: &str = "charon-v0.19.2-def-v1.7.0-n4-v2";
const FLAT_DEPOSIT: &str = "charon-v0.16.0-def-v1.6.0-n4-v2";
const NO_DEPOSIT: &str = "charon-v0.14.4-def-v1.5.0-n4-v2";

fn stranger() -> ShareSecret {
    ShareSecret::from_entropy(&[0xaa; 32]).unwrap()
}

/// Changes the cluster, and expects exactly these checks to speak for node 0.
fn cluster_case(base: &str, edit: impl FnOnce(&mut Cluster), expected: &[&str]) -> Outcome {
    let source = ceremony(base);
    let mut cluster = Cluster::of(&source);
    edit(&mut cluster);
    let outcome = whole_with_proved(&cluster.material(0), &proved(&source));
    assert_caught(&outcome, expected);
    outcome
}

/// Changes the files of node 0 only.
fn file_case(base: &str, edit: impl FnOnce(&mut Material), expected: &[&str]) -> Outcome {
    let source = ceremony(base);
    let mut material = source.material(0);
    edit(&mut material);
    let outcome = whole_with_proved(&material, &proved(&source));
    assert_caught(&outcome, expected);
    outcome
}

fn assert_caught(outcome: &Outcome, expected: &[&str]) {
    let mut seen = serious(outcome);
    let mut expected = expected.to_vec();
    seen.sort_unstable();
    expected.sort_unstable();
    assert_eq!(seen, expected, "{:#?}", outcome.report.findings);
    assert_ne!(outcome.report.verdict, Verdict::Pass);
    assert!(outcome.verified.is_none());
}

fn says(outcome: &Outcome, text: &str) {
    let found = outcome.report.findings.iter().any(|finding| {
        [
            &finding.subject,
            &finding.seen,
            &finding.expected,
            &finding.advice,
        ]
        .iter()
        .any(|part| part.contains(text))
    });
    assert!(found, "{text:?} is not in {:#?}", outcome.report.findings);
}

/// The lock as Obol's API serves it: with a root beside each deposit, written by `write`.
fn lock_of_the_api(file: &NamedFile, write: impl Fn([u8; 32]) -> Value) -> NamedFile {
    let lock = ClusterLock::parse(&file.bytes).unwrap().value;
    let mut value: Value = serde_json::from_slice(&file.bytes).unwrap();
    for (position, validator) in lock.validators.iter().enumerate() {
        let place = &mut value["distributed_validators"][position];
        let (flat, many) = ("deposit_data", "partial_deposit_data");
        for (number, deposit) in validator.deposits.iter().enumerate() {
            let place = match place.get(many) {
                Some(_) => &mut place[many][number],
                None => &mut place[flat],
            };
            place["deposit_data_root"] = write(deposit.data_root());
        }
    }
    NamedFile::new(file.path.clone(), value.to_string().into_bytes())
}

/// What a funder sees, who has no secrets.
fn against_lock(material: &Material) -> Outcome {
    verify(
        material,
        &Expectations::default(),
        &Options::new(Scope::DepositsAgainstLock),
    )
}

fn could_not_tell(outcome: &Outcome) {
    assert_eq!(outcome.report.verdict, Verdict::CouldNotTell);
}

fn keystore(material: &mut Material, name: &str) -> usize {
    let path = format!("validator_keys/{name}");
    material
        .keystores
        .iter()
        .position(|file| file.path == path)
        .unwrap()
}

fn replace(file: &mut NamedFile, from: &str, to: &str) {
    let text = String::from_utf8(file.bytes.to_vec()).unwrap();
    assert!(text.contains(from), "{from}");
    *file = NamedFile::new(file.path.clone(), text.replacen(from, to, 1).into_bytes());
}

// Keys and shares.

#[test]
fn a_share_that_is_not_on_the_polynomial() {
    let outcome = cluster_case(
        TODAY,
        |cluster| {
            let mut shares = cluster.shares[0].clone();
            shares[2] = stranger();
            cluster.set_shares(0, shares);
            cluster.seal();
        },
        &["share-polynomial"],
    );
    says(&outcome, "operator 3 of 4");
    says(&outcome, "validator 0");
}

#[test]
fn shares_of_another_key_which_charon_accepts_up_to_v1_10_3() {
    cluster_case(
        TODAY,
        |cluster| {
            let shares = bls::split(&stranger(), 3, 4, &[1; 32]).unwrap();
            cluster.set_shares(1, shares);
            cluster.seal();
        },
        &["group-key-shares"],
    );
}

#[test]
fn a_polynomial_of_lower_degree() {
    let outcome = cluster_case(
        TODAY,
        |cluster| {
            cluster.deal(0, 2, 7);
            cluster.sign_validators();
            cluster.sign_deposit_files();
            cluster.seal();
        },
        &["share-threshold"],
    );
    says(&outcome, "fewer than 3 shares already make the group key");
}

#[test]
fn a_polynomial_of_higher_degree() {
    cluster_case(
        TODAY,
        |cluster| {
            cluster.deal(0, 4, 7);
            cluster.sign_validators();
            cluster.sign_deposit_files();
            cluster.seal();
        },
        &["share-polynomial"],
    );
}

#[test]
fn a_threshold_other_than_the_shares_have() {
    cluster_case(
        TODAY,
        |cluster| {
            cluster.lock.definition.threshold = 2;
            cluster.seal();
        },
        &["share-polynomial"],
    );
    cluster_case(
        TODAY,
        |cluster| {
            cluster.lock.definition.threshold = 4;
            cluster.seal();
        },
        &["share-threshold"],
    );
}

#[test]
fn impossible_thresholds() {
    for threshold in [5, u64::MAX >> 1] {
        cluster_case(
            TODAY,
            |cluster| {
                cluster.lock.definition.threshold = threshold;
                cluster.seal();
            },
            &["threshold-range", "share-polynomial"],
        );
    }
    cluster_case(
        TODAY,
        |cluster| {
            cluster.lock.definition.threshold = 0;
            cluster.seal();
        },
        &["threshold-range", "share-polynomial"],
    );
}

#[test]
fn two_validators_that_are_one() {
    cluster_case(
        TODAY,
        |cluster| {
            cluster.lock.validators[1] = cluster.lock.validators[0].clone();
            let shares = cluster.shares[0].clone();
            cluster.set_shares(1, shares);
            cluster.write_deposit_files();
            cluster.seal();
        },
        &["key-duplicate", "deposit-file-validators", "keystore-share"],
    );
}

#[test]
fn points_that_are_no_keys() {
    let mut infinity = [0; 48];
    infinity[0] = 0xc0;
    cluster_case(
        TODAY,
        |cluster| {
            cluster.lock.validators[0].public_key = infinity;
            cluster.seal();
        },
        &[
            "group-key",
            "registration",
            "lock-deposit",
            "deposit-file-validators",
        ],
    );
    cluster_case(
        TODAY,
        |cluster| {
            cluster.lock.validators[0].public_shares[3] = infinity;
            cluster.seal();
        },
        &["public-share"],
    );
}

#[test]
fn too_few_and_too_many_shares() {
    cluster_case(
        TODAY,
        |cluster| {
            cluster.lock.validators[0].public_shares.pop();
            cluster.shares[0].pop();
            cluster.seal();
        },
        &["share-count"],
    );
    cluster_case(
        TODAY,
        |cluster| {
            cluster.shares[0].push(stranger());
            cluster.lock.validators[0]
                .public_shares
                .push(stranger().public_key().to_bytes());
            cluster.seal();
        },
        &["share-count", "share-polynomial"],
    );
}

#[test]
fn swapped_validators_and_swapped_operators() {
    cluster_case(
        TODAY,
        |cluster| {
            cluster.lock.validators.swap(0, 1);
            cluster.seal();
        },
        &["keystore-share"],
    );
    cluster_case(
        TODAY,
        |cluster| {
            cluster.lock.definition.operators.swap(1, 2);
            cluster.seal();
        },
        &["node-signature"],
    );
    let outcome = cluster_case(
        TODAY,
        |cluster| {
            cluster.lock.definition.operators.swap(0, 2);
            cluster.enr_keys.swap(0, 2);
            cluster.seal();
            cluster.enr_keys.swap(0, 2);
        },
        &["keystore-share"],
    );
    assert_eq!(outcome.report.node.unwrap().operator, 3);
}

// Who signed the lock.

#[test]
fn an_aggregate_that_lacks_a_share() {
    cluster_case(
        TODAY,
        |cluster| {
            let last = cluster.shares[1].pop().unwrap();
            cluster.seal();
            cluster.shares[1].push(last);
        },
        &["lock-aggregate"],
    );
}

#[test]
fn a_definition_that_was_changed_after_all_had_signed() {
    let outcome = cluster_case(
        TODAY,
        |cluster| {
            cluster.lock.definition.name.push('!');
            let definition = cluster.lock.definition.clone().with_hashes().unwrap();
            cluster.lock.definition = definition;
        },
        &["lock-hash", "lock-aggregate", "node-signature"],
    );
    says(&outcome, "create cluster --definition-file");
}

#[test]
fn a_lock_that_was_appended_to_without_the_old_keys() {
    let outcome = cluster_case(
        TODAY,
        |cluster| cluster.lock.signature_aggregate = None,
        &["lock-aggregate"],
    );
    says(&outcome, "--unverified");
}

#[test]
fn a_first_format_lock_without_aggregate_proves_nothing() {
    let outcome = cluster_case(
        TODAY,
        |cluster| {
            cluster.convert(DefinitionVersion::V1_1);
            cluster.lock.signature_aggregate = None;
        },
        &["lock-aggregate"],
    );
    could_not_tell(&outcome);
}

#[test]
fn node_signatures_of_somebody_else() {
    let outcome = cluster_case(
        TODAY,
        |cluster| cluster.lock.node_signatures.swap(0, 1),
        &["node-signature"],
    );
    says(&outcome, "the signature of operator 2 of 4");
    cluster_case(
        TODAY,
        |cluster| {
            cluster.lock.node_signatures.pop();
        },
        &["node-signature"],
    );
    let outcome = cluster_case(
        ONE_DEPOSIT,
        |cluster| cluster.lock.node_signatures.clear(),
        &["node-signature"],
    );
    says(&outcome, "v0.16.0");
}

#[test]
fn one_enr_for_two_operators() {
    cluster_case(
        TODAY,
        |cluster| {
            let enr = cluster.lock.definition.operators[0].enr.clone();
            cluster.lock.definition.operators[1].enr = enr;
            let text = cluster.enr_keys[0].to_file_text();
            cluster.enr_keys[1] = EnrKey::parse(text.as_bytes()).unwrap();
            cluster.seal();
        },
        &["operator-enr-duplicate"],
    );
}

#[test]
fn an_enr_that_was_not_signed_by_its_key() {
    cluster_case(
        TODAY,
        |cluster| {
            // A letter in the middle of the record's signature.
            cluster.lock.definition.operators[3]
                .enr
                .replace_range(30..31, "_");
            cluster.seal();
        },
        &["operator-enr"],
    );
}

// Who signed the definition.

#[test]
fn operators_of_whom_only_some_signed() {
    cluster_case(
        TODAY,
        |cluster| {
            cluster.sign_definition();
            let operator = &mut cluster.lock.definition.operators[2];
            // The address is part of the terms, so only the signatures can go.
            operator.config_signature.clear();
            operator.enr_signature.clear();
            cluster.seal();
        },
        &["definition-signed"],
    );
    cluster_case(
        TODAY,
        |cluster| {
            cluster.sign_definition();
            cluster.lock.definition.creator = Default::default();
            cluster.lock.definition.config_hash =
                Some(cluster.lock.definition.config_hash().unwrap());
            cluster.seal();
        },
        // The creator's address is part of the terms that the operators signed.
        &["definition-signed", "operator-config-signature"],
    );
}

#[test]
fn a_signature_by_another_key_may_be_a_contracts() {
    let sign_by_another = |cluster: &mut Cluster| {
        cluster.sign_definition();
        let operator = &mut cluster.lock.definition.operators[1];
        let digest = enr_digest(&operator.enr, 560_048);
        operator.enr_signature = wallet(3).sign_digest(&digest).to_vec();
        cluster.seal();
    };
    let outcome = cluster_case(TODAY, sign_by_another, &["operator-enr-signature"]);
    could_not_tell(&outcome);
    says(&outcome, "operator 2 of 4");
    says(&outcome, "EIP-1271");
    // With the contract's answer it is decided.
    assert_eq!(outcome.contract_questions.len(), 1);
    let source = ceremony(TODAY);
    let mut cluster = Cluster::of(&source);
    sign_by_another(&mut cluster);
    for (answer, verdict) in [(true, Verdict::Pass), (false, Verdict::Fail)] {
        let proved = proved(&source);
        let is_proved = |digest: &[u8; 32]| proved.contains(digest);
        let answers = |question: &ContractQuestion| {
            assert_eq!(*question, outcome.contract_questions[0]);
            assert_eq!(question.chain_id, 560_048);
            Some(answer)
        };
        let mut options = Options::new(Scope::WholeDataDirectory);
        options.proved_keystores = &is_proved;
        options.contract_answers = &answers;
        let outcome = verify(&cluster.material(0), &Expectations::default(), &options);
        assert_eq!(outcome.report.verdict, verdict);
        assert!(outcome.contract_questions.is_empty());
    }
    // No release that runs such old definitions asks contracts.
    let outcome = cluster_case(NO_DEPOSIT, sign_by_another, &["operator-enr-signature"]);
    assert_eq!(outcome.report.verdict, Verdict::Fail);
}

/// charon v1.10.3 asks contracts about operators only, v1.11 about the creator too, and both take definitions of v1.10.0.
#[test]
fn the_creator_may_be_a_contract_which_older_releases_do_not_ask() {
    for (base, is_told) in [(TODAY, true), (V1_11, false)] {
        let source = ceremony(base);
        let mut cluster = Cluster::of(&source);
        cluster.sign_definition();
        let config_hash = cluster.lock.definition.config_hash.unwrap();
        cluster.lock.definition.creator.config_signature = wallet(3)
            .sign_digest(&creator_config_digest(&config_hash, 560_048))
            .to_vec();
        cluster.seal();
        let material = cluster.material(0);
        let proved = proved(&source);

        let outcome = whole_with_proved(&material, &proved);
        assert_caught(&outcome, &["creator-signature"]);
        could_not_tell(&outcome);

        let is_proved = |digest: &[u8; 32]| proved.contains(digest);
        let mut options = Options::new(Scope::WholeDataDirectory);
        options.proved_keystores = &is_proved;
        options.contract_answers = &|_| Some(true);
        let outcome = verify(&material, &Expectations::default(), &options);
        assert_eq!(outcome.report.verdict, Verdict::Pass, "{base}");
        let notes: Vec<_> = outcome
            .report
            .findings
            .iter()
            .filter(|finding| finding.check == "creator-signature")
            .collect();
        assert_eq!(notes.len(), usize::from(is_told), "{notes:?}");
        if is_told {
            says(
                &outcome,
                "charon before v1.11 asks no contract about the creator",
            );
        }

        options.contract_answers = &|_| Some(false);
        let outcome = verify(&material, &Expectations::default(), &options);
        assert_caught(&outcome, &["creator-signature"]);
        assert_eq!(outcome.report.verdict, Verdict::Fail, "{base}");
    }
}

#[test]
fn several_owners_of_a_contract_from_v1_11() {
    let outcome = cluster_case(
        V1_11,
        |cluster| {
            cluster.sign_definition();
            let operator = &mut cluster.lock.definition.operators[0];
            operator.config_signature.extend([1; 65]);
            cluster.seal();
        },
        &["operator-config-signature"],
    );
    could_not_tell(&outcome);
}

#[test]
fn signatures_in_formats_that_have_none() {
    cluster_case(
        TODAY,
        |cluster| {
            cluster.convert(DefinitionVersion::V1_2);
            cluster.lock.definition.operators[0].enr_signature = vec![1; 65];
            cluster.seal();
        },
        &["legacy-signature"],
    );
}

#[test]
fn a_creator_who_did_not_sign() {
    for base in [TODAY, NO_DEPOSIT] {
        let outcome = cluster_case(
            base,
            |cluster| {
                cluster.sign_definition();
                cluster.lock.definition.creator.config_signature.clear();
                cluster.seal();
            },
            &["creator-signature"],
        );
        assert_eq!(outcome.report.verdict, Verdict::Fail);
    }
}

// The terms.

/// Changes the definition, lets its hashes fit, and verifies it alone.
fn definition_case(edit: impl FnOnce(&mut Definition)) -> Outcome {
    let mut definition = Cluster::of(&ceremony(TODAY)).lock.definition;
    edit(&mut definition);
    let text = definition.with_hashes().unwrap().to_json();
    let material = Material {
        definition: Some(NamedFile::new("cluster-definition.json", text.into_bytes())),
        ..Material::default()
    };
    verify(
        &material,
        &Expectations::default(),
        &Options::new(Scope::DefinitionOnly),
    )
}

fn pairs(definition: &mut Definition) -> &mut Vec<AddressPair> {
    match &mut definition.validators {
        ValidatorAddresses::PerValidator(pairs) => pairs,
        ValidatorAddresses::Shared(_) => panic!("an old format"),
    }
}

#[test]
fn terms_that_no_ceremony_can_have() {
    let outcome = definition_case(|definition| "magic".clone_into(&mut definition.dkg_algorithm));
    assert_caught(&outcome, &["dkg-algorithm"]);
    let outcome = definition_case(|definition| {
        definition.num_validators = 0;
        pairs(definition).clear();
    });
    assert_caught(&outcome, &["validator-count"]);
    let outcome = definition_case(|definition| definition.operators.clear());
    assert_caught(&outcome, &["operator-count", "threshold-range"]);
    let outcome = definition_case(|definition| definition.threshold = 1);
    assert_caught(&outcome, &["threshold-range"]);
}

#[test]
fn a_lock_with_fewer_validators_than_agreed() {
    let mut cluster = Cluster::of(&ceremony(TODAY));
    cluster.lock.validators.pop();
    cluster.shares.pop();
    cluster.seal();
    let outcome = verify(
        &cluster.material(0),
        &Expectations::default(),
        &Options::new(Scope::LockOnly),
    );
    assert_caught(&outcome, &["validator-count"]);
}

#[test]
fn hashes_that_are_not_of_the_content() {
    let change = |field: &'static str| {
        move |material: &mut Material| {
            let from = format!("\"{field}\": \"0x");
            let file = material.definition.as_mut().unwrap();
            let text = String::from_utf8(file.bytes.to_vec()).unwrap();
            let at = text.find(&from).unwrap() + from.len();
            let digit = if text[at..].starts_with('0') {
                "1"
            } else {
                "0"
            };
            file.bytes[at] = digit.as_bytes()[0];
        }
    };
    // The definition hash covers the other one as it is stated.
    file_case(
        TODAY,
        change("config_hash"),
        &["config-hash", "definition-hash", "definition-file"],
    );
    file_case(TODAY, change("definition_hash"), &["definition-hash"]);
}

/// Legal, but somebody may not have meant it.
#[test]
fn terms_that_are_worth_a_note() {
    for (check, edit) in [
        (
            "operator-count",
            (|definition| definition.operators.truncate(2)) as fn(&mut Definition),
        ),
        ("threshold-default", |definition| definition.threshold = 4),
        ("fee-recipient-address", |definition| {
            pairs(definition)[1].fee_recipient_address = format!("0x{}", "0".repeat(40));
        }),
        ("address-spelling", |definition| {
            // In the right spelling it ends with "dEaD".
            pairs(definition)[0].withdrawal_address = format!("0x{}Dead", "0".repeat(36));
        }),
    ] {
        let outcome = definition_case(|definition| {
            definition.threshold = 3.min(definition.threshold);
            edit(definition);
            let operators = definition.operators.len();
            definition.threshold = definition.threshold.min(u64::try_from(operators).unwrap());
        });
        assert_eq!(outcome.report.verdict, Verdict::Pass, "{check}");
        let notes: Vec<&str> = outcome
            .report
            .findings
            .iter()
            .map(|finding| finding.check)
            .filter(|note| *note != "definition-signed")
            .collect();
        assert_eq!(notes, [check]);
    }
    let mut material = ceremony(TODAY).material(0);
    let definition = material.definition.as_mut().unwrap();
    replace(definition, "\"consensus_protocol\": \"\",", "");
    let outcome = verify(
        &material,
        &Expectations::default(),
        &Options::new(Scope::DefinitionOnly),
    );
    assert_eq!(outcome.report.verdict, Verdict::Pass);
    assert!(
        outcome
            .report
            .findings
            .iter()
            .any(|finding| finding.check == "file-missing-field" && finding.weight == Weight::Note)
    );
}

/// What no test provokes may never speak.
#[test]
fn every_check_has_a_test_that_provokes_it() {
    let tests = concat!(
        include_str!("defects.rs"),
        include_str!("contracts.rs"),
        include_str!("edits.rs")
    );
    let missing: Vec<&str> = Check::ALL
        .iter()
        .map(|check| check.id())
        .filter(|id| !tests.contains(&format!("\"{id}\"")))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

// Profiles.

const VAULT: &str = "0x4473dCDDbf77679A643BdB654dbd86D67F8d32f2";
const REWARDS: &str = "0x9b108015fe433F173696Af3Aa0CF7CDb3E104258";
const MAINNET_VAULT: &str = "0xB9D7934878B5FB9610B3fE8A5e441e8fad7E293f";
/// What the sample settings of Lido's compose repository for Hoodi gave.
const HOLESKY_REWARDS: &str = "0xE73a3602b99f1f913e72F8bdcBC235e206794Ac8";

/// What is said of a definition with these addresses: the serious checks, and the notes.
fn terms(
    withdrawal: &str,
    fee_recipient: &str,
    profile: Option<&str>,
    edit: impl FnOnce(&mut Definition),
) -> (Vec<&'static str>, Vec<&'static str>) {
    let file = ceremony(TODAY).material(0).definition.unwrap();
    let mut definition = Definition::parse(&file.bytes).unwrap().value;
    let pair = AddressPair {
        fee_recipient_address: fee_recipient.to_owned(),
        withdrawal_address: withdrawal.to_owned(),
    };
    definition.validators = ValidatorAddresses::PerValidator(vec![pair; 2]);
    edit(&mut definition);
    let text = definition.with_hashes().unwrap().to_json();
    let material = Material {
        definition: Some(NamedFile::new(file.path.clone(), text.into_bytes())),
        ..Material::default()
    };
    let expectations = Expectations {
        profile: profile.map(|name| Profile::built_in(name).unwrap()),
        ..Expectations::default()
    };
    let outcome = verify(
        &material,
        &expectations,
        &Options::new(Scope::DefinitionOnly),
    );
    let notes =
        outcome.report.findings.iter().filter(|finding| {
            finding.weight == Weight::Note && finding.check != "definition-signed"
        });
    let notes = notes.map(|finding| finding.check).collect();
    (serious(&outcome), notes)
}

#[test]
fn vaults_of_another_network_or_in_the_wrong_place() {
    let lido = Some("lido");
    let none: [&str; 0] = [];
    assert_eq!(terms(VAULT, REWARDS, lido, |_| ()), (vec![], vec![]));
    // Without a profile, it is suggested.
    assert_eq!(
        terms(VAULT, REWARDS, None, |_| ()),
        (vec![], vec!["vault-network"])
    );
    let other = "0x52908400098527886E0F7030069857D2E4169EE7";
    for (withdrawal, fee_recipient, with_profile) in [
        (VAULT, HOLESKY_REWARDS, &["profile-fee-recipient"][..]),
        (MAINNET_VAULT, REWARDS, &["profile-withdrawal-address"]),
        (
            other,
            HOLESKY_REWARDS,
            &["profile-withdrawal-address", "profile-fee-recipient"],
        ),
        // Swapped.
        (
            REWARDS,
            VAULT,
            &["profile-withdrawal-address", "profile-fee-recipient"],
        ),
    ] {
        let (serious, _) = terms(withdrawal, fee_recipient, None, |_| ());
        assert_eq!(serious, ["vault-network"], "{withdrawal} {fee_recipient}");
        let (serious, notes) = terms(withdrawal, fee_recipient, lido, |_| ());
        assert_eq!(serious, [&["vault-network"], with_profile].concat());
        assert_eq!(notes, none);
    }
    // Whatever the network is, a vault is known by its address.
    let gnosis = |definition: &mut Definition| definition.fork_version = [0, 0, 0, 0x64];
    assert_eq!(terms(VAULT, other, None, gnosis).0, ["vault-network"]);
    assert_eq!(terms(other, other, None, gnosis).0, none);
}

#[test]
fn terms_that_a_profile_speaks_against() {
    let lido = Some("lido");
    let gwei = |eth: &[u64]| Some(eth.iter().map(|eth| Gwei::from_eth(*eth)).collect());
    let amounts = |eth: &'static [u64]| move |it: &mut Definition| it.deposit_amounts = gwei(eth);
    let compounding = |definition: &mut Definition| definition.compounding = true;
    let none: [&str; 0] = [];
    let gnosis = |definition: &mut Definition| definition.fork_version = [0, 0, 0, 0x64];
    let other = "0x52908400098527886E0F7030069857D2E4169EE7";
    assert_eq!(terms(other, other, lido, gnosis).0, ["profile-network"]);
    assert_eq!(
        terms(VAULT, REWARDS, lido, amounts(&[16, 16])).0,
        ["profile-amounts"]
    );
    assert_eq!(
        terms(VAULT, REWARDS, lido, amounts(&[1, 31])).0,
        ["profile-amounts"]
    );
    assert_eq!(terms(VAULT, REWARDS, lido, amounts(&[1, 32])).0, none);
    assert_eq!(
        terms(VAULT, REWARDS, lido, compounding).0,
        ["profile-credentials"]
    );
    assert_eq!(
        terms(VAULT, REWARDS, Some("lido-cm-v2"), compounding).0,
        none
    );
    assert_eq!(
        terms(VAULT, REWARDS, Some("lido-cm-v2"), |_| ()).0,
        ["profile-credentials"]
    );
}

// Money.

#[test]
fn a_deposit_file_with_another_withdrawal_address_and_a_valid_signature() {
    let edit = |cluster: &mut Cluster| {
        let entry = &mut cluster.deposit_files[0].1.entries[0];
        entry.data.withdrawal_credentials[12..].fill(0x66);
        cluster.sign_deposit_files();
    };
    for base in [TODAY, ONE_DEPOSIT, FLAT_DEPOSIT] {
        let outcome = cluster_case(
            base,
            edit,
            &["deposit-file-credentials", "deposit-file-against-lock"],
        );
        says(&outcome, "0x6666666666666666666666666666666666666666");
    }
    cluster_case(NO_DEPOSIT, edit, &["deposit-file-credentials"]);
}

#[test]
fn a_lock_with_another_withdrawal_address_and_valid_signatures() {
    for base in [TODAY, ONE_DEPOSIT, FLAT_DEPOSIT] {
        cluster_case(
            base,
            |cluster| {
                for deposit in &mut cluster.lock.validators[1].deposits {
                    deposit.withdrawal_credentials[12..].fill(0x66);
                }
                cluster.sign_validators();
                cluster.write_deposit_files();
                cluster.seal();
            },
            &["lock-deposit-credentials", "deposit-file-credentials"],
        );
    }
}

#[test]
fn compounding_credentials_that_nobody_asked_for() {
    cluster_case(
        TODAY,
        |cluster| {
            for validator in &mut cluster.lock.validators {
                for deposit in &mut validator.deposits {
                    deposit.withdrawal_credentials[0] = 2;
                }
            }
            cluster.sign_validators();
            cluster.write_deposit_files();
            cluster.seal();
        },
        &["lock-deposit-credentials", "deposit-file-credentials"],
    );
}

#[test]
fn a_lock_with_empty_deposit_data() {
    for base in [ONE_DEPOSIT, FLAT_DEPOSIT] {
        let outcome = cluster_case(
            base,
            |cluster| {
                for validator in &mut cluster.lock.validators {
                    validator.deposits.clear();
                }
                cluster.seal();
            },
            &["deposit-file-against-lock"],
        );
        says(&outcome, "no deposit data");
        // One validator without, among others with, is another matter.
        let outcome = cluster_case(
            base,
            |cluster| {
                cluster.lock.validators[1].deposits.clear();
                cluster.seal();
            },
            &["lock-deposit", "deposit-file-against-lock"],
        );
        says(&outcome, "charon does not notice");
    }
}

#[test]
fn other_amounts_than_agreed() {
    cluster_case(
        TODAY,
        |cluster| {
            for validator in &mut cluster.lock.validators {
                validator.deposits[1].amount = Gwei::from_eth(31);
            }
            cluster.sign_validators();
            cluster.write_deposit_files();
            cluster.seal();
        },
        &["lock-deposit-amounts"],
    );
    cluster_case(
        "charon-v1.10.3-def-v1.10.0-n10-v3-gnosis-deposits-8-24",
        |cluster| {
            for validator in &mut cluster.lock.validators {
                validator.deposits.pop();
            }
            cluster.write_deposit_files();
            cluster.seal();
        },
        &["lock-deposit-amounts"],
    );
    // One validator with other deposits than the rest.
    cluster_case(
        "charon-v1.2.0-def-v1.8.0-n4-v2",
        |cluster| {
            let mut small = cluster.lock.validators[0].deposits[0].clone();
            small.amount = Gwei::ONE_ETH;
            cluster.lock.validators[0].deposits.insert(0, small);
            cluster.sign_validators();
            cluster.seal();
        },
        &["lock-deposit-amounts", "deposit-file-set"],
    );
}

#[test]
fn a_release_is_held_to_its_own_amounts() {
    let source = ceremony(TODAY);
    let proved = proved(&source);
    let is_proved = |digest: &[u8; 32]| proved.contains(digest);
    for (release, pass) in [("v1.10.3", true), ("v1.3.0", true), ("v1.2.0", false)] {
        let mut options = Options::new(Scope::WholeDataDirectory);
        options.proved_keystores = &is_proved;
        let expectations = Expectations {
            charon_version: Some(release.parse().unwrap()),
            ..Expectations::default()
        };
        let outcome = verify(&source.material(0), &expectations, &options);
        assert_eq!(outcome.report.verdict == Verdict::Pass, pass, "{release}");
        assert_eq!(
            outcome.report.failed("lock-deposit-amounts"),
            !pass,
            "{release}"
        );
    }
}

#[test]
fn deposits_signed_for_another_network() {
    cluster_case(
        TODAY,
        |cluster| {
            let actual = cluster.lock.definition.fork_version;
            cluster.lock.definition.fork_version = [0; 4];
            cluster.sign_validators();
            cluster.lock.definition.fork_version = actual;
            cluster.write_deposit_files();
            cluster.seal();
        },
        &[
            "lock-deposit-signature",
            "deposit-file-signature",
            "registration-signature",
        ],
    );
}

#[test]
fn registrations_of_charon_v0_16_0() {
    let outcome = cluster_case(
        TODAY,
        |cluster| {
            // On mainnet, whose fork version is 0, there is no difference.
            cluster.convert(DefinitionVersion::V1_7);
            for (validator, group) in cluster.lock.validators.iter_mut().zip(&cluster.groups) {
                let registration = validator.builder_registration.as_mut().unwrap();
                let root = registration.signing_root_of_charon_v0_16_0();
                registration.signature = group.sign(&root).to_bytes();
            }
            cluster.seal();
        },
        &["registration-signature"],
    );
    says(&outcome, "as charon v0.16.0 made it");
}

#[test]
fn registrations_for_somebody_else() {
    cluster_case(
        TODAY,
        |cluster| {
            let registration = cluster.lock.validators[0].builder_registration.as_mut();
            registration.unwrap().fee_recipient = [0x66; 20];
            cluster.sign_validators();
            cluster.seal();
        },
        &["registration"],
    );
    let outcome = cluster_case(
        ONE_DEPOSIT,
        |cluster| {
            for validator in &mut cluster.lock.validators {
                let withdrawal = validator.deposits[0].withdrawal_credentials[12..].to_vec();
                let registration = validator.builder_registration.as_mut().unwrap();
                registration.fee_recipient.copy_from_slice(&withdrawal);
            }
            cluster.sign_validators();
            cluster.seal();
        },
        &["registration"],
    );
    says(&outcome, "v0.17.1");
    cluster_case(
        TODAY,
        |cluster| {
            cluster.lock.validators[1].builder_registration = None;
            cluster.seal();
        },
        &["registration"],
    );
}

#[test]
fn registrations_with_another_gas_limit_or_time() {
    let with = |gas_limit: u64, time_shift: i64| {
        move |cluster: &mut Cluster| {
            for validator in &mut cluster.lock.validators {
                let registration = validator.builder_registration.as_mut().unwrap();
                if gas_limit > 0 {
                    registration.gas_limit = gas_limit;
                }
                registration.timestamp = registration
                    .timestamp
                    .checked_add_signed(time_shift)
                    .unwrap();
            }
            cluster.sign_validators();
            cluster.seal();
        }
    };
    cluster_case(TODAY, with(1_000_000, 0), &["registration-gas-limit"]);
    cluster_case(TODAY, with(0, -1), &["registration-time"]);

    // What `create cluster` is known to do is worth a note only.
    for edit in [with(30_000_000, 0), with(0, 1000)] {
        let source = ceremony(TODAY);
        let mut cluster = Cluster::of(&source);
        edit(&mut cluster);
        let outcome = whole_with_proved(&cluster.material(0), &proved(&source));
        assert_eq!(outcome.report.verdict, Verdict::Pass);
        assert_eq!(
            outcome.report.findings.len(),
            3,
            "unsigned, and one per validator"
        );
    }
}

#[test]
fn a_stake_that_could_never_be_withdrawn() {
    let burn = |network: [u8; 4]| {
        move |cluster: &mut Cluster| {
            let definition = &mut cluster.lock.definition;
            definition.fork_version = network;
            if let ValidatorAddresses::PerValidator(pairs) = &mut definition.validators {
                for pair in pairs {
                    pair.withdrawal_address = format!("0x{}", "0".repeat(40));
                }
            }
            cluster.convert(DefinitionVersion::V1_10);
        }
    };
    cluster_case(TODAY, burn([0; 4]), &["withdrawal-address"]);
    cluster_case(TODAY, burn([0, 0, 0, 0x64]), &["withdrawal-address"]);
}

#[test]
fn an_unknown_network_cannot_be_judged() {
    let outcome = cluster_case(
        TODAY,
        |cluster| {
            cluster.lock.definition.fork_version = [1, 2, 3, 4];
            for (_, file) in &mut cluster.deposit_files {
                for entry in &mut file.entries {
                    entry.fork_version = [1, 2, 3, 4];
                }
            }
            cluster.sign_validators();
            cluster.sign_deposit_files();
            cluster.seal();
        },
        &["network"],
    );
    could_not_tell(&outcome);
    assert_eq!(outcome.report.network.as_deref(), Some("0x01020304"));
}

// Deposit data files as files.

#[test]
fn deposit_files_that_charon_would_not_write() {
    let edit = |edit: fn(&mut Vec<(String, DepositFile)>)| {
        move |cluster: &mut Cluster| edit(&mut cluster.deposit_files)
    };
    for (change, expected) in [
        (
            edit(|files| files[0].0 = "deposit-data-2eth.json".to_owned()),
            &["deposit-file-name"][..],
        ),
        (
            edit(|files| files.swap_remove(0).0.clear()),
            &["deposit-file-set"],
        ),
        (
            edit(|files| {
                let copy = files[0].1.clone();
                files.push(("deposit-data-1.0eth.json".to_owned(), copy));
            }),
            &["deposit-file-set", "deposit-file-name"],
        ),
        (
            edit(|files| files[0].1.entries.swap(0, 1)),
            &["deposit-file-order"],
        ),
        (
            edit(|files| {
                files[1].1.entries.pop();
            }),
            &["deposit-file-validators"],
        ),
        (
            edit(|files| {
                let copy = files[1].1.entries[0].clone();
                files[1].1.entries.insert(0, copy);
            }),
            &["deposit-file-validators"],
        ),
        (
            edit(|files| {
                let other = files[0].1.entries[0].clone();
                files[1].1.entries[0] = other;
            }),
            &[
                "deposit-file-amounts",
                "deposit-file-name",
                "deposit-file-set",
            ],
        ),
        (
            edit(|files| files[0].1.entries[0].network_name = "mainnet".to_owned()),
            &["deposit-file-network"],
        ),
        (
            edit(|files| files[0].1.entries[0].fork_version = [0; 4]),
            &["deposit-file-network"],
        ),
        (
            edit(|files| files[0].1.entries[0].deposit_message_root[5] ^= 1),
            &["deposit-file-roots"],
        ),
        (
            edit(|files| files[0].1.entries[0].deposit_data_root[5] ^= 1),
            &["deposit-file-roots"],
        ),
        (
            edit(|files| files[0].1.entries[0].deposit_cli_version = "1.0.0".to_owned()),
            &["deposit-file-tool"],
        ),
        (
            edit(|files| files[0].0 = "deposit-data-20230301120000.json".to_owned()),
            &["deposit-file-name"],
        ),
    ] {
        cluster_case(TODAY, change, expected);
    }
}

/// What is called like deposit data but is none of it was not looked at, and may be sent to the contract nevertheless.
#[test]
fn what_only_looks_like_a_deposit_file() {
    for name in [
        "deposit-data.json.bak",
        "deposit-data-1eth.json~",
        "deposit-data",
        "Deposit-Data.json",
        "deposit-data.JSON",
    ] {
        let outcome = file_case(
            TODAY,
            |material| material.other_names.push(name.to_owned()),
            &["deposit-file-set"],
        );
        says(&outcome, name);
    }
    // In a directory of its own it is somebody's archive.
    let source = ceremony(TODAY);
    let mut material = source.material(0);
    material
        .other_names
        .push("old/deposit-data.json".to_owned());
    let outcome = whole_with_proved(&material, &proved(&source));
    assert_eq!(outcome.report.verdict, Verdict::Pass);
}

/// Files of several operators, against each other: the same name, and each is told apart.
#[test]
fn deposit_files_of_several_operators() {
    let source = ceremony(NO_DEPOSIT);
    let mut cluster = Cluster::of(&source);
    let honest = cluster.material(0).deposit_data;
    cluster.deposit_files[0].1.entries[1]
        .data
        .withdrawal_credentials[12..]
        .fill(0x66);
    cluster.sign_deposit_files();
    let changed = cluster.material(0).deposit_data;
    let from = |operator: &str, file: &NamedFile| {
        NamedFile::new(format!("{operator}/{}", file.path), file.bytes.to_vec())
    };
    let mut material = Material {
        cluster_lock: source.material(0).cluster_lock,
        deposit_data: vec![from("alice", &honest[0]), from("bob", &honest[0])],
        ..Material::default()
    };
    assert_eq!(against_lock(&material).report.verdict, Verdict::Pass);
    material.deposit_data.push(from("carol", &changed[0]));
    let outcome = against_lock(&material);
    assert_caught(&outcome, &["deposit-file-credentials"]);
    assert_eq!(
        outcome.report.findings[0].subject,
        "carol/deposit-data.json, validator 1"
    );
}

#[test]
fn a_deposit_file_of_another_cluster() {
    let other = ceremony("charon-v1.3.3-def-v1.10.0-n4-v2").material(0);
    file_case(
        TODAY,
        |material| material.deposit_data = other.deposit_data,
        &["deposit-file-validators"],
    );
}

#[test]
fn a_funder_needs_no_secrets_and_may_hold_one_file_only() {
    let source = ceremony(TODAY);
    let mut material = Material {
        cluster_lock: source.material(0).cluster_lock,
        deposit_data: source.material(3).deposit_data,
        ..Material::default()
    };
    assert_eq!(against_lock(&material).report.verdict, Verdict::Pass);
    material.deposit_data.remove(0);
    material.deposit_data[0].path = "downloads/deposit-data (1).json".to_owned();
    assert_eq!(against_lock(&material).report.verdict, Verdict::Pass);
    material.deposit_data.clear();
    assert_caught(&against_lock(&material), &["deposit-file-set"]);
}

#[test]
fn deposit_roots_in_a_lock_are_noted_if_right() {
    let mut with_deposits = 0;
    for source in ceremonies() {
        let mut material = source.material(0);
        let file = material.cluster_lock.clone().unwrap();
        let lock = ClusterLock::parse(&file.bytes).unwrap().value;
        if lock.definition.version < DefinitionVersion::V1_7 {
            continue;
        }
        with_deposits += 1;
        let proved = proved(&source);
        for prefix in ["", "0x"] {
            let served = lock_of_the_api(&file, |root| {
                Value::from(format!("{prefix}{}", hex::encode(root)))
            });
            let read = ClusterLock::parse(&served.bytes).unwrap();
            assert_eq!(read.remarks, [], "{}", source.name);
            assert_eq!(read.value.to_json(), lock.to_json(), "{}", source.name);
            material.cluster_lock = Some(served);
            let outcome = whole_with_proved(&material, &proved);
            assert_eq!(outcome.report.verdict, Verdict::Pass, "{}", source.name);
            let notes = outcome.report.findings.iter();
            let notes = notes.filter(|finding| finding.check == "lock-deposit-root");
            assert_eq!(notes.count(), 1, "{:#?}", outcome.report.findings);
            assert_eq!(against_lock(&material).report.verdict, Verdict::Pass);
        }
    }
    assert!(with_deposits > 0);
}

#[test]
fn a_deposit_root_in_a_lock_that_is_not_that_of_the_deposit() {
    for base in [TODAY, V1_11, ONE_DEPOSIT, FLAT_DEPOSIT] {
        let case = |write: fn([u8; 32]) -> Value| {
            let edit = |material: &mut Material| {
                let lock = material.cluster_lock.as_mut().unwrap();
                *lock = lock_of_the_api(lock, write);
            };
            file_case(base, edit, &["lock-deposit-root"])
        };
        let outcome = case(|mut root| {
            root[31] ^= 1;
            hex::encode(root).into()
        });
        says(&outcome, "validator 1, deposit of 32 ETH");
        case(|root| hex::encode(&root[1..]).into());
        case(|_| "".into());
        case(|_| 1.into());
    }
}

// The node's own files.

#[test]
fn keystores_swapped_or_of_another_operator() {
    let outcome = file_case(
        TODAY,
        |material| {
            for suffix in ["json", "txt"] {
                let first = keystore(material, &format!("keystore-0.{suffix}"));
                let second = keystore(material, &format!("keystore-1.{suffix}"));
                let path = material.keystores[first].path.clone();
                material.keystores[first].path = material.keystores[second].path.clone();
                material.keystores[second].path = path;
            }
        },
        &["keystore-share"],
    );
    says(&outcome, "the share of operator 1 of 4 of validator 1");

    let other = ceremony(TODAY).material(1).keystores;
    let outcome = file_case(
        TODAY,
        |material| {
            material
                .keystores
                .retain(|file| !file.path.contains("keystore-0"));
            let moved = other.iter().filter(|file| file.path.contains("keystore-0"));
            material.keystores.extend(moved.cloned());
        },
        &["keystore-share"],
    );
    says(&outcome, "the share of operator 2 of 4 of validator 0");

    let other = ceremony(ONE_DEPOSIT).material(0).keystores;
    let outcome = file_case(
        TODAY,
        |material| material.keystores = other,
        &["keystore-share"],
    );
    says(&outcome, "in no validator of this lock");
}

#[test]
fn an_undivided_key_in_a_keystore() {
    let outcome = cluster_case(
        TODAY,
        |cluster| {
            let group = cluster.groups[1].clone();
            cluster.put_keystore(0, 1, &group);
        },
        &["keystore-share"],
    );
    says(&outcome, "the undivided key of validator 1");
}

#[test]
fn a_keystore_that_holds_another_secret_than_it_says() {
    cluster_case(
        TODAY,
        |cluster| {
            let (mut json, password) = keystore_files(0, &stranger(), 262_144);
            let stated = hex::encode(stranger().public_key().to_bytes());
            let right = hex::encode(cluster.lock.validators[0].public_shares[0]);
            replace(&mut json, &stated, &right);
            let files = &mut cluster.keystores[0];
            files.retain(|file| !file.path.contains("keystore-0"));
            files.extend([json, password]);
        },
        &["keystore-public-key"],
    );
}

#[test]
fn keystores_and_passwords_that_do_not_fit() {
    let edit_file = |name: &'static str, edit: fn(&mut NamedFile)| {
        move |material: &mut Material| {
            let position = keystore(material, name);
            edit(&mut material.keystores[position]);
        }
    };
    let password = "keystore-1.txt";
    file_case(
        TODAY,
        edit_file(password, |file| {
            file.bytes[0] = if file.bytes[0] == b'0' { b'1' } else { b'0' };
        }),
        &["keystore-decrypt"],
    );
    file_case(
        TODAY,
        edit_file(password, |file| file.bytes.clear()),
        &["keystore-decrypt"],
    );
    let outcome = file_case(
        TODAY,
        edit_file(password, |file| *file.bytes = vec![b'0'; 5000]),
        &["keystore-password"],
    );
    could_not_tell(&outcome);
    let outcome = file_case(
        TODAY,
        edit_file("keystore-0.json", |file| file.bytes.truncate(400)),
        &["file-format"],
    );
    says(&outcome, "only this node has this file");
    file_case(
        TODAY,
        edit_file("keystore-0.json", |file| {
            replace(file, "\"version\": 4", "\"version\": 4, \"Version\": 4");
        }),
        &["file-ambiguous"],
    );
    let outcome = file_case(
        TODAY,
        edit_file("keystore-0.json", |file| {
            replace(file, "262144", "2147483648");
        }),
        &["keystore-cost"],
    );
    could_not_tell(&outcome);
}

/// charon ignores control characters in a password, and takes any that opens its keystore.
#[test]
fn passwords_that_charon_did_not_write_but_reads_are_noted() {
    let source = ceremony(TODAY);
    let notes = |material: &Material| {
        let outcome = whole_with_proved(material, &proved(&source));
        assert_eq!(outcome.report.verdict, Verdict::Pass, "{outcome:#?}");
        assert!(outcome.verified.is_some());
        let noted = |finding: &&Finding| finding.check == "keystore-password";
        outcome.report.findings.iter().filter(noted).count()
    };
    let mut material = source.material(0);
    assert_eq!(notes(&material), 0);
    for (name, end) in [("keystore-0.txt", "\n"), ("keystore-1.txt", "\r\n")] {
        let position = keystore(&mut material, name);
        material.keystores[position].bytes.extend(end.bytes());
    }
    assert_eq!(notes(&material), 2);

    // Sealed with one spelling of an accent, and typed in the other.
    let share = &Cluster::of(&source).shares[0][0];
    let (json, mut password) = keystore_files_of("caf\u{e9}", 0, share, 262_144);
    *password.bytes = "cafe\u{301}".into();
    let mut material = source.material(0);
    for file in [json, password] {
        let position = keystore(&mut material, file.name());
        material.keystores[position] = file;
    }
    assert_eq!(notes(&material), 1);
}

#[test]
fn insecure_keystores() {
    cluster_case(
        TODAY,
        |cluster| {
            let (json, text) = keystore_files(0, &cluster.shares[0][0], 16);
            let files = &mut cluster.keystores[0];
            files.retain(|file| !file.path.contains("keystore-0"));
            files.extend([json, text]);
        },
        &["keystore-cost"],
    );
    file_case(
        TODAY,
        |material| {
            for file in &mut material.keystores {
                file.path = file.path.replace("keystore-", "keystore-insecure-");
            }
        },
        &["keystore-cost"],
    );
}

#[test]
fn keystores_missing_and_too_many() {
    for name in ["keystore-0.json", "keystore-1.txt"] {
        let outcome = file_case(
            TODAY,
            |material| {
                let position = keystore(material, name);
                material.keystores.remove(position);
            },
            &["keystore-set"],
        );
        says(&outcome, name);
    }
    for name in [
        "keystore-2.json",
        "keystore-2.txt",
        "keystore-00.json",
        "keystore-0.json.bak",
        // Teku loads every .json at any depth, and charon none of these.
        "mine.json",
        "MINE.JSON",
        "old/keystore-0.json",
        "old/mine.json",
    ] {
        file_case(
            TODAY,
            |material| {
                let bytes = material.keystores[0].bytes.to_vec();
                material
                    .keystores
                    .push(NamedFile::new(format!("validator_keys/{name}"), bytes));
            },
            &["keystore-set"],
        );
    }
    let outcome = file_case(
        TODAY,
        |material| material.keystores.clear(),
        &["keystore-set"],
    );
    could_not_tell(&outcome);
    says(&outcome, "key manager");
}

#[test]
fn keystores_in_another_place_are_none() {
    // All of them are there, and charon would find none.
    let outcome = file_case(
        TODAY,
        |material| {
            for file in &mut material.keystores {
                file.path = file.path.replace("validator_keys/", "validator_keys/0/");
            }
        },
        &["keystore-set"],
    );
    says(&outcome, "validator_keys/0/keystore-0.json");
    // What charon's pattern finds must be a file.
    file_case(
        TODAY,
        |material| {
            material
                .other_names
                .push("validator_keys/keystore-2.json".to_owned());
        },
        &["keystore-set"],
    );
    // Notes of the operator are nobody's keys.
    let source = ceremony(TODAY);
    let mut material = source.material(0);
    material.other_names.push("validator_keys/old".to_owned());
    let file = NamedFile::new("validator_keys/README", b"hello".to_vec());
    material.keystores.push(file);
    let outcome = whole_with_proved(&material, &proved(&source));
    assert_eq!(outcome.report.verdict, Verdict::Pass);
}

#[test]
fn after_a_ceremony_everything_must_be_there() {
    let source = ceremony(TODAY);
    let definition_hash = verify(
        &source.material(0),
        &Expectations::default(),
        &Options::new(Scope::DefinitionOnly),
    )
    .report
    .definition_hash
    .unwrap();
    let expect = |hash: &str| Expectations {
        definition_hash: DefinitionHash::parse(hash),
        charon_version: Some("v1.10.3".parse().unwrap()),
        profile: None,
        edit: None,
    };
    let options = Options::new(Scope::WholeDataDirectory);
    let mut material = source.material(0);
    let outcome = verify(&material, &expect(&definition_hash), &options);
    assert_eq!(outcome.report.verdict, Verdict::Pass);
    let outcome = verify(&material, &expect(&"00".repeat(32)), &options);
    assert_caught(&outcome, &["definition-expected"]);
    material.keystores.clear();
    material.deposit_data.clear();
    material.definition = None;
    let outcome = verify(&material, &expect(&definition_hash), &options);
    assert_caught(&outcome, &["keystore-set", "deposit-file-set"]);
    assert_eq!(outcome.report.verdict, Verdict::Fail);
}

#[test]
fn enr_keys_of_another_cluster_or_none() {
    let other = ceremony(ONE_DEPOSIT).material(0).enr_key;
    file_case(
        TODAY,
        |material| material.enr_key = other,
        &["enr-key-operator"],
    );
    file_case(TODAY, |material| material.enr_key = None, &["enr-key"]);
    file_case(
        TODAY,
        |material| material.enr_key.as_mut().unwrap().bytes.truncate(63),
        &["enr-key"],
    );
    // Another operator's key makes it another operator's directory.
    let other = ceremony(TODAY).material(1).enr_key;
    file_case(
        TODAY,
        |material| material.enr_key = other,
        &["keystore-share"],
    );
}

#[test]
fn another_definition_beside_the_lock() {
    let other = ceremony("charon-v1.3.3-def-v1.10.0-n4-v2")
        .material(0)
        .definition;
    file_case(
        TODAY,
        |material| material.definition = other,
        &["definition-file"],
    );
}

#[test]
fn manifests_and_archives_are_said_to_be_beyond_this_program() {
    let outcome = file_case(
        TODAY,
        |material| material.other_names.push("cluster-manifest.pb".to_owned()),
        &["data-directory"],
    );
    could_not_tell(&outcome);
    let source = ceremony(TODAY);
    let material = Material {
        definition: source.material(0).definition,
        other_names: vec!["dkg.tar.gz".to_owned()],
        ..Material::default()
    };
    let outcome = whole_with_proved(&material, &proved(&source));
    says(&outcome, "tar -xzf dkg.tar.gz");
    assert_caught(&outcome, &["data-directory", "enr-key"]);
}

#[test]
fn files_with_more_than_one_meaning() {
    let lock = |from: &'static str, to: &'static str| {
        move |material: &mut Material| {
            replace(material.cluster_lock.as_mut().unwrap(), from, to);
        }
    };
    file_case(
        TODAY,
        lock("\"threshold\": 3", "\"threshold\": 2, \"threshold\": 3"),
        &["file-ambiguous"],
    );
    file_case(
        TODAY,
        lock("\"threshold\": 3", "\"Threshold\": 3"),
        &["file-ambiguous"],
    );
    let outcome = file_case(
        TODAY,
        lock("\"threshold\": 3", "\"threshold\": 3, \"extra\": 1"),
        &["file-unknown-field"],
    );
    could_not_tell(&outcome);
    let outcome = file_case(TODAY, lock("v1.10.0", "v1.12.0"), &["definition-version"]);
    could_not_tell(&outcome);
    file_case(
        TODAY,
        |material| {
            let position = keystore(material, "keystore-0.json");
            replace(
                &mut material.keystores[position],
                "\"version\": 4",
                "\"version\": 4, \"version\": 4",
            );
        },
        &["file-ambiguous"],
    );
}

#[test]
fn owners_kinds_and_modes() {
    let entry = |path: &str, mode: u32, kind: EntryKind| FileMode {
        path: path.to_owned(),
        uid: 1000,
        gid: 1000,
        mode,
        kind,
        list: None,
    };
    let regular = EntryKind::Regular;
    let source = ceremony(TODAY);
    let proved = proved(&source);
    let is_proved = |digest: &[u8; 32]| proved.contains(digest);
    let judge = |entries: Vec<FileMode>, modes: Modes, owner: Option<(u32, u32)>| {
        let mut material = source.material(0);
        material.ownership = entries;
        material.expected_owner = owner;
        let mut options = Options::new(Scope::WholeDataDirectory);
        options.modes = modes;
        options.proved_keystores = &is_proved;
        verify(&material, &Expectations::default(), &options)
    };
    let good = || {
        vec![
            entry(".", 0o700, EntryKind::Directory),
            entry("validator_keys", 0o700, EntryKind::Directory),
            entry("cluster-lock.json", 0o444, regular),
            entry("charon-enr-private-key", 0o600, regular),
            entry("validator_keys/keystore-0.txt", 0o400, regular),
        ]
    };
    let owner = Some((1000, 1000));
    let outcome = judge(good(), Modes::Private, owner);
    assert_eq!(outcome.report.verdict, Verdict::Pass);
    assert_caught(
        &judge(good(), Modes::Private, Some((0, 0))),
        &["file-owner"],
    );
    // A group without rights of its own may be any group.
    let other_group = Some((1000, 4242));
    let outcome = judge(good(), Modes::Private, other_group);
    assert_eq!(outcome.report.verdict, Verdict::Pass);
    let mut entries = good();
    entries.push(entry("deposit-data.json", 0o640, regular));
    assert_caught(
        &judge(entries, Modes::Private, other_group),
        &["file-owner"],
    );
    // As charon leaves them: everybody may read a keystore, and nobody its password.
    let stock = || {
        let mut entries = vec![
            entry(".", 0o755, EntryKind::Directory),
            entry("validator_keys", 0o755, EntryKind::Directory),
            entry("cluster-lock.json", 0o444, regular),
            entry("deposit-data.json", 0o444, regular),
            entry("charon-enr-private-key", 0o600, regular),
        ];
        for number in 0..2 {
            let path = format!("validator_keys/keystore-{number}");
            entries.push(entry(&format!("{path}.json"), 0o444, regular));
            entries.push(entry(&format!("{path}.txt"), 0o400, regular));
        }
        entries
    };
    let outcome = judge(stock(), Modes::Private, owner);
    assert_eq!(outcome.report.verdict, Verdict::Pass);
    let notes: Vec<&Finding> = outcome
        .report
        .findings
        .iter()
        .filter(|finding| finding.check == "file-mode")
        .collect();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].advice.contains("repair"), "{notes:?}");
    for (path, mode) in [
        ("validator_keys/keystore-1.txt", 0o440),
        ("validator_keys/keystore-1.txt", 0o404),
        ("charon-enr-private-key", 0o604),
        ("cluster-lock.json", 0o666),
        ("validator_keys", 0o775),
        (".", 0o777),
    ] {
        let mut entries = stock();
        for entry in &mut entries {
            if entry.path == path {
                entry.mode = mode;
            }
        }
        assert_caught(
            &judge(entries.clone(), Modes::Private, owner),
            &["file-mode"],
        );
        let lenient = judge(entries.clone(), Modes::AsCharonLeavesThem, owner);
        assert_eq!(lenient.report.verdict, Verdict::Pass);
        // Nobody comes as far as that.
        if path != "." {
            entries[0].mode = 0o700;
            let closed = judge(entries, Modes::Private, owner);
            assert_eq!(closed.report.verdict, Verdict::Pass, "{path}");
        }
    }
    let link = vec![entry("cluster-lock.json", 0o777, EntryKind::Other)];
    assert_caught(
        &judge(link, Modes::AsCharonLeavesThem, None),
        &["file-kind"],
    );
}

// What must pass although it looks unusual.

#[test]
fn edited_clusters_pass_and_are_recognised() {
    let source = ceremony(TODAY);
    let mut cluster = Cluster::of(&source);
    // `charon alpha edit recreate-private-keys`: the same group keys, all shares new.
    for validator in 0..2 {
        let group = cluster.groups[validator].clone();
        let shares = bls::split(&group, 3, 4, &[0x77; 32]).unwrap();
        cluster.set_shares(validator, shares);
    }
    cluster.seal();
    let edited = |cluster: &Cluster| {
        let mut material = cluster.material(0);
        material.definition = None;
        material.deposit_data.clear();
        material
    };
    let outcome = whole_with_proved(&edited(&cluster), &proved(&source));
    assert_eq!(
        outcome.report.verdict,
        Verdict::Pass,
        "{:#?}",
        outcome.report.findings
    );
    says(&outcome, "a cluster that was edited");

    // `add-operators`: a fifth operator, and the threshold stays at three.
    let newcomer = EnrKey::from_secret_bytes(&[0x42; 32]).unwrap();
    let enr = newcomer.enr().text().to_owned();
    cluster
        .lock
        .definition
        .operators
        .push(charon_files::cluster::Operator {
            enr,
            ..Default::default()
        });
    cluster.enr_keys.push(newcomer);
    cluster.keystores.push(Vec::new());
    for validator in 0..2 {
        let group = cluster.groups[validator].clone();
        let shares = bls::split(&group, 3, 5, &[0x78; 32]).unwrap();
        cluster.set_shares(validator, shares);
    }
    cluster.seal();
    let outcome = whole_with_proved(&edited(&cluster), &proved(&source));
    assert_eq!(
        outcome.report.verdict,
        Verdict::Pass,
        "{:#?}",
        outcome.report.findings
    );
    says(&outcome, "3 of 5");

    // An old keystore beside the new lock.
    let mut material = edited(&cluster);
    material.keystores = source.material(0).keystores;
    let outcome = whole_with_proved(&material, &proved(&source));
    assert_caught(&outcome, &["keystore-share"]);
}

#[test]
fn one_wallet_for_two_nodes_is_worth_a_note() {
    let source = ceremony(TODAY);
    let mut cluster = Cluster::of(&source);
    cluster.sign_definition();
    // Operator 4 signs with the wallet of operator 1.
    let first = cluster.lock.definition.operators[0].address.clone();
    cluster.lock.definition.operators[3].address = first;
    cluster.resign_with(&[0, 1, 2, 0]);
    cluster.seal();
    let outcome = whole_with_proved(&cluster.material(0), &proved(&source));
    assert_eq!(
        outcome.report.verdict,
        Verdict::Pass,
        "{:#?}",
        outcome.report.findings
    );
    assert_eq!(outcome.report.findings.len(), 1);
    assert_eq!(
        outcome.report.findings[0].check,
        "operator-address-duplicate"
    );
    assert_eq!(outcome.report.findings[0].weight, Weight::Note);
}

#[test]
fn what_means_the_same_still_passes() {
    for source in ceremonies() {
        let mut material = source.material(2);
        let files = [&mut material.cluster_lock, &mut material.definition]
            .into_iter()
            .flatten()
            .chain(&mut material.deposit_data)
            .chain(
                material
                    .keystores
                    .iter_mut()
                    .filter(|file| file.path.ends_with(".json")),
            );
        for file in files {
            let value: serde_json::Value = serde_json::from_slice(&file.bytes).unwrap();
            let text = crate::mutants::reversed_and_shouted(&value);
            assert_ne!(text.as_bytes(), file.bytes.as_slice());
            *file = NamedFile::new(file.path.clone(), format!("\n\t{text}\r\n ").into_bytes());
        }
        // charon takes blanks and capitals here too.
        let key = material.enr_key.as_mut().unwrap();
        let text = String::from_utf8(key.bytes.to_vec()).unwrap();
        *key = NamedFile::new(
            key.path.clone(),
            format!(" {}\n", text.to_uppercase()).into_bytes(),
        );
        let outcome = whole(&material);
        assert_eq!(
            outcome.report.verdict,
            Verdict::Pass,
            "{}: {:#?}",
            source.name,
            outcome.report.findings
        );
        let is_signed = source.name.contains("signed");
        assert_eq!(
            outcome.report.findings.is_empty(),
            is_signed,
            "{}",
            source.name
        );
    }
}
