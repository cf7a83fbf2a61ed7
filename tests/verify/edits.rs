//! A lock against the one before an edit: what charon's five commands made passes, and whatever an insider who signs
//! everything again could change is caught by the check that is meant for it.

use std::path::{Path, PathBuf};

use charon_files::cluster::{
    AddressPair, ClusterLock, Definition, Gwei, NodeIndex, ValidatorAddresses,
};
use charon_files::keys::bls;
use charon_proof::edit::{EditKind, EditRequest};
use charon_proof::verify::{
    Check, Expectations, Material, NamedFile, Options, Outcome, Scope, Verdict, verify,
};
use serde_json::Value;

use crate::forge::Cluster;
use crate::support::{ceremony, data_directory, serious, whole};

const RELEASES: [&str; 2] = ["charon-v1.10.3-n4-v2", "charon-v1.11.0-rc3-n4-v2"];
const BASE: &str = "charon-v1.10.3-def-v1.10.0-n4-v2";

fn edits(release: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/edits")
        .join(release)
}

/// What one node had before, or after an edit.
fn node(release: &str, case: &str, node: usize) -> Material {
    data_directory(&edits(release).join(case).join(format!("node{node}")))
}

fn lock_file(release: &str, case: &str) -> NamedFile {
    node(release, case, 0).cluster_lock.unwrap()
}

fn parsed(file: &NamedFile) -> ClusterLock {
    ClusterLock::parse(&file.bytes).unwrap().value
}

fn enr(lock: &ClusterLock, position: usize) -> String {
    let node = NodeIndex::new(position);
    lock.definition.operator(node).unwrap().enr.clone()
}

/// What the fixtures were asked for.
fn request(release: &str, kind: EditKind) -> EditRequest {
    let before = parsed(&lock_file(release, "before"));
    let newcomer = enr(&parsed(&lock_file(release, "add-operators")), 4);
    let second = enr(&before, 1);
    match kind {
        EditKind::AddValidators => EditRequest::AddValidators {
            addresses: vec![AddressPair {
                fee_recipient_address: "0x000000000000000000000000000000000000bEEF".to_owned(),
                withdrawal_address: "0x000000000000000000000000000000000000dEaD".to_owned(),
            }],
        },
        EditKind::AddOperators => EditRequest::AddOperators {
            enrs: vec![newcomer],
        },
        EditKind::RemoveOperators => EditRequest::RemoveOperators {
            enrs: vec![second],
            threshold: None,
        },
        EditKind::ReplaceOperator => EditRequest::ReplaceOperator {
            old: second,
            new: newcomer,
        },
        EditKind::RecreatePrivateKeys => EditRequest::RecreatePrivateKeys,
    }
}

/// A bare lock against a bare lock.
fn locks(previous: &NamedFile, lock: &NamedFile, edit: Option<EditRequest>) -> Outcome {
    let material = Material {
        cluster_lock: Some(lock.clone()),
        previous_lock: Some(previous.clone()),
        ..Material::default()
    };
    let expectations = Expectations {
        edit,
        ..Expectations::default()
    };
    verify(&material, &expectations, &Options::new(Scope::LockOnly))
}

#[test]
fn what_charon_makes_of_a_cluster_passes_and_is_recognised() {
    for release in RELEASES {
        let before = lock_file(release, "before");
        for kind in EditKind::ALL {
            let after = lock_file(release, kind.command());
            let outcome = locks(&before, &after, Some(request(release, *kind)));
            assert_eq!(
                outcome.report.verdict,
                Verdict::Pass,
                "{release} {kind:?}: {:#?}",
                outcome.report.findings
            );
            let edit = outcome.edit.unwrap();
            assert_eq!(edit.kind, *kind, "{release}");
            let changed = match kind {
                EditKind::AddValidators => (0, 0, 1),
                EditKind::AddOperators => (0, 1, 0),
                EditKind::RemoveOperators => (1, 0, 0),
                EditKind::ReplaceOperator => (1, 1, 0),
                EditKind::RecreatePrivateKeys => (0, 0, 0),
            };
            let seen = (edit.removed.len(), edit.added.len(), edit.new_validators);
            assert_eq!(seen, changed, "{release} {kind:?}");
            let report = outcome.report.edit.unwrap();
            assert_eq!(
                report.previous_lock_hash,
                parsed(&before).lock_hash.map(|hash| hash.to_string())
            );
        }
    }
}

/// Of every node whose directory is kept: continuing ones, and the new one.
#[test]
fn whole_directories_after_an_edit_pass() {
    let release = RELEASES[0];
    let mut nodes = 0;
    for kind in EditKind::ALL {
        for position in [0, 1, 4] {
            let home = edits(release).join(format!("{}/node{position}", kind.command()));
            if !home.is_dir() {
                continue;
            }
            nodes += 1;
            let mut material = data_directory(&home);
            material.previous_lock = Some(lock_file(release, "before"));
            let outcome = whole(&material);
            assert_eq!(
                outcome.report.verdict,
                Verdict::Pass,
                "{kind:?} {position}: {:#?}",
                outcome.report.findings
            );
            let verified = outcome.verified.unwrap();
            assert_eq!(verified.node_index().position(), position);
            let schema = std::fs::read(
                Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify.schema.json"),
            )
            .unwrap();
            let schema: Value = serde_json::from_slice(&schema).unwrap();
            let report = serde_json::to_value(&outcome.report).unwrap();
            let problems = crate::schema::problems(&schema, &schema, &report, "report");
            assert!(problems.is_empty(), "{problems:#?}");
        }
    }
    assert_eq!(nodes, 7);
}

/// Every edit is judged by every request: only its own will do.
#[test]
fn another_edit_than_was_asked_for_is_refused() {
    let release = RELEASES[0];
    let before = lock_file(release, "before");
    for made in EditKind::ALL {
        let after = lock_file(release, made.command());
        for asked in EditKind::ALL.iter().filter(|asked| *asked != made) {
            let outcome = locks(&before, &after, Some(request(release, *asked)));
            assert_eq!(serious(&outcome), ["edit-expected"], "{made:?} {asked:?}");
        }
    }
}

#[test]
fn the_right_command_with_other_words_is_refused() {
    let release = RELEASES[0];
    let before = lock_file(release, "before");
    let old = parsed(&before);
    let third = enr(&old, 2);
    let pair = |withdrawal: &str| AddressPair {
        fee_recipient_address: "0x000000000000000000000000000000000000bEEF".to_owned(),
        withdrawal_address: withdrawal.to_owned(),
    };
    let dead = "0x000000000000000000000000000000000000dEaD";
    let newcomer = enr(&parsed(&lock_file(release, "add-operators")), 4);
    for wrong in [
        EditRequest::AddValidators {
            addresses: vec![pair("0x000000000000000000000000000000000000dEaF")],
        },
        EditRequest::AddValidators {
            addresses: vec![pair(dead), pair(dead)],
        },
        EditRequest::AddOperators {
            enrs: vec![newcomer.clone(), third.clone()],
        },
        EditRequest::RemoveOperators {
            enrs: vec![third.clone()],
            threshold: None,
        },
        EditRequest::RemoveOperators {
            enrs: vec![enr(&old, 1)],
            threshold: Some(2),
        },
        EditRequest::ReplaceOperator {
            old: third,
            new: newcomer,
        },
    ] {
        let after = lock_file(release, wrong.kind().command());
        let outcome = locks(&before, &after, Some(wrong.clone()));
        assert_eq!(serious(&outcome), ["edit-expected"], "{wrong:?}");
    }
}

/// Locks that no edit connects, all of them sound by themselves.
#[test]
fn locks_without_an_edit_between_them_are_refused() {
    let release = RELEASES[0];
    let before = lock_file(release, "before");
    let outcome = locks(&before, &before, None);
    assert_eq!(serious(&outcome), ["edit-kind"]);
    // Back from every edit: what was added was not removed, but the other way round.
    for kind in EditKind::ALL {
        let after = lock_file(release, kind.command());
        let outcome = locks(&after, &before, None);
        let recognised = outcome.edit.as_ref().map(|edit| edit.kind);
        let expected: (&[&str], Option<EditKind>) = match kind {
            // Fewer validators than before.
            EditKind::AddValidators => (&["edit-kind", "edit-validators"], None),
            // The threshold of five stayed, and is that of four too.
            EditKind::AddOperators => (&[], Some(EditKind::RemoveOperators)),
            // The one who left was in the middle; new operators come last.
            EditKind::RemoveOperators => (&["edit-kind"], None),
            EditKind::ReplaceOperator => (&[], Some(EditKind::ReplaceOperator)),
            EditKind::RecreatePrivateKeys => (&[], Some(EditKind::RecreatePrivateKeys)),
        };
        assert_eq!((serious(&outcome).as_slice(), recognised), expected);
    }
    // Another cluster altogether.
    let other = ceremony(BASE).material(0).cluster_lock.unwrap();
    let outcome = locks(&other, &before, None);
    assert_eq!(
        serious(&outcome),
        ["edit-kind", "edit-terms", "edit-validators"]
    );
}

#[test]
fn a_previous_lock_that_is_no_good_proves_nothing() {
    let release = RELEASES[0];
    let before = lock_file(release, "before");
    let after = lock_file(release, "recreate-private-keys");
    for (from, to) in [
        // A share, the lock hash, and the whole format.
        ("\"threshold\": 3", "\"threshold\": 4"),
        ("\"lock_hash\": \"0x", "\"lock_hash\": \"0x00"),
        ("{", "["),
    ] {
        let text = std::str::from_utf8(&before.bytes).unwrap();
        let changed = text.replacen(from, to, 1).into_bytes();
        assert_ne!(changed, *before.bytes);
        let outcome = locks(&NamedFile::new("old.json", changed), &after, None);
        assert!(
            serious(&outcome).contains(&"edit-previous-lock"),
            "{from}: {:#?}",
            outcome.report.findings
        );
        assert_ne!(outcome.report.verdict, Verdict::Pass);
    }
}

#[test]
fn old_keystores_beside_the_new_lock_are_named() {
    let release = RELEASES[0];
    for kind in EditKind::ALL {
        let mut material = node(release, kind.command(), 0);
        material.previous_lock = Some(lock_file(release, "before"));
        material
            .keystores
            .retain(|file| !file.path.contains("keystore-1."));
        let old = node(release, "before", 0).keystores;
        let kept = old
            .into_iter()
            .filter(|file| file.path.contains("keystore-1."));
        material.keystores.extend(kept);
        let outcome = whole(&material);
        if kind.keeps_shares() {
            assert_eq!(outcome.report.verdict, Verdict::Pass);
        } else {
            assert_eq!(serious(&outcome), ["edit-keystores", "keystore-share"]);
        }
    }
}

/// New shares for all validators but these, as recreate-private-keys makes them.
fn reshare(cluster: &mut Cluster, except: &[usize], threshold: u32) {
    let count = u32::try_from(cluster.enr_keys.len()).unwrap();
    for validator in 0..cluster.groups.len() {
        if except.contains(&validator) {
            continue;
        }
        let seed = [u8::try_from(validator).unwrap() + 17; 32];
        let shares = bls::split(&cluster.groups[validator], threshold, count, &seed).unwrap();
        cluster.lock.validators[validator].public_shares = shares
            .iter()
            .map(|share| share.public_key().to_bytes())
            .collect();
        cluster.shares[validator] = shares;
    }
}

fn lock_of(cluster: &Cluster) -> NamedFile {
    NamedFile::new("cluster-lock.json", cluster.lock.to_json().into_bytes())
}

/// New shares and one more change, everything signed again: exactly these checks speak.
fn insider(change: impl FnOnce(&mut Cluster), expected: &[&str]) {
    insider_of(BASE, change, expected);
}

fn insider_of(base: &str, change: impl FnOnce(&mut Cluster), expected: &[&str]) {
    let source = ceremony(base);
    let mut cluster = Cluster::of(&source);
    let before = lock_of(&cluster);
    reshare(&mut cluster, &[], 3);
    change(&mut cluster);
    cluster.seal();
    let after = lock_of(&cluster);
    let material = Material {
        cluster_lock: Some(after.clone()),
        ..Material::default()
    };
    let alone = verify(
        &material,
        &Expectations::default(),
        &Options::new(Scope::LockOnly),
    );
    assert_eq!(
        alone.report.verdict,
        Verdict::Pass,
        "{:#?}",
        alone.report.findings
    );
    let outcome = locks(&before, &after, None);
    assert_eq!(
        serious(&outcome),
        expected,
        "{:#?}",
        outcome.report.findings
    );
    assert_eq!(outcome.report.verdict == Verdict::Pass, expected.is_empty());
}

#[test]
fn an_insider_can_change_nothing_that_an_edit_keeps() {
    let definition = |change: fn(&mut Definition)| {
        move |cluster: &mut Cluster| change(&mut cluster.lock.definition)
    };
    insider(|_| {}, &[]);
    for change in [
        definition(|it| it.name.push('x')),
        definition(|it| it.uuid.push('x')),
        definition(|it| it.timestamp = "2020-01-01T00:00:00Z".to_owned()),
        definition(|it| it.dkg_algorithm = "pedersen".to_owned()),
        definition(|it| it.consensus_protocol = "qbft".to_owned()),
        definition(|it| it.deposit_amounts = Some(vec![Gwei::from_eth(1), Gwei::from_eth(32)])),
    ] {
        insider(change, &["edit-terms"]);
    }
    // The same key in another spelling of its record.
    insider(
        definition(|it| it.operators[2].enr.push('=')),
        &["edit-operators"],
    );
    insider(
        |cluster| {
            reshare(cluster, &[], 4);
            cluster.lock.definition.threshold = 4;
        },
        &["edit-threshold"],
    );
    // One validator with its old shares, or with those of another.
    insider(
        |cluster| {
            let old = Cluster::of(&ceremony(BASE));
            cluster.lock.validators[1].public_shares = old.lock.validators[1].public_shares.clone();
            cluster.shares[1] = old.shares[1].clone();
        },
        &["edit-shares"],
    );
    // Another validator in the place of one, with everything that belongs to it.
    insider(
        |cluster| {
            cluster.deal(1, 3, 5);
            cluster.sign_validators();
        },
        &["edit-validators"],
    );
    insider(
        |cluster| {
            cluster.lock.validators.swap(0, 1);
            cluster.shares.swap(0, 1);
        },
        &["edit-validators"],
    );
    insider(
        |cluster| {
            let ValidatorAddresses::PerValidator(pairs) = &mut cluster.lock.definition.validators
            else {
                panic!("one pair for each");
            };
            let other = "0x00000000000000000000000000000000000000aa";
            pairs[1].withdrawal_address = other.to_owned();
            let credentials = cluster
                .lock
                .definition
                .withdrawal_credentials(charon_files::cluster::ValidatorIndex::new(1))
                .unwrap();
            for deposit in &mut cluster.lock.validators[1].deposits {
                deposit.withdrawal_credentials = credentials;
            }
            cluster.sign_validators();
        },
        &["edit-validators", "edit-deposits"],
    );
    // In this format both sets of amounts are some release's default.
    insider_of(
        "charon-v1.2.0-def-v1.8.0-n4-v2",
        |cluster| {
            for validator in &mut cluster.lock.validators {
                let mut first = validator.deposits[0].clone();
                first.amount = Gwei::from_eth(1);
                validator.deposits.insert(0, first);
            }
            cluster.sign_validators();
        },
        &["edit-deposits"],
    );
    insider(
        |cluster| {
            let registration = cluster.lock.validators[0].builder_registration.as_mut();
            registration.unwrap().timestamp += 12;
            cluster.sign_validators();
        },
        &["edit-registrations"],
    );
    // Two operators for two others, and operators in another order: no edit does that.
    insider(
        |cluster| {
            cluster.lock.definition.operators.swap(0, 1);
            cluster.enr_keys.swap(0, 1);
        },
        &["edit-kind"],
    );
    insider(
        |cluster| {
            for position in [0, 1] {
                let key = crate::forge::wallet(40 + position);
                cluster.lock.definition.operators[position].enr = key.enr().text().to_owned();
                cluster.enr_keys[position] = key;
            }
        },
        &["edit-kind"],
    );
}

#[test]
fn without_a_previous_lock_nothing_of_an_edit_is_checked() {
    let outcome = whole(&node(RELEASES[0], "recreate-private-keys", 0));
    assert_eq!(outcome.report.verdict, Verdict::Pass);
    assert!(outcome.edit.is_none() && outcome.report.edit.is_none());
    let of_edits = |id: &str| id.starts_with("edit-");
    let lines = outcome.report.checks.iter();
    for line in lines.filter(|line| of_edits(line.id)) {
        assert_eq!(
            line.result,
            charon_proof::verify::CheckResult::NotApplicable
        );
    }
    assert_eq!(Check::ALL.iter().filter(|it| of_edits(it.id())).count(), 11);
}
