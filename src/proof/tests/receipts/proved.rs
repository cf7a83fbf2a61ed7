//! What a node remembers of its proof, who can make it believe what, and what it knows again.

use std::collections::HashSet;

use charon_files::keys::k1::EnrKey;
use charon_proof::proofs::{ChecksId, DirectoryId, ProofError, open, seal};
use charon_proof::verify::{
    EntryKind, Expectations, FileMode, Material, Modes, NamedFile, Options, Outcome, Proved, Scope,
    verify,
};

use super::USUAL;
use super::support::{Group, ceremony_names};

const HERE: DirectoryId = DirectoryId(12);
const CHECKS: ChecksId<'static> = ChecksId("these");

fn material(group: &Group, node: usize) -> Material {
    let mut material = group.material(node);
    material.keystores.sort_by(|a, b| a.path.cmp(&b.path));
    material
}

fn check(material: &Material, proved: Option<&Proved>) -> Outcome {
    let keystores: HashSet<&[u8; 32]> = proved
        .map(|proved| proved.keystores().iter().collect())
        .unwrap_or_default();
    let options = Options {
        proved_keystores: &|digest| keystores.contains(digest),
        ..Options::new(Scope::WholeDataDirectory)
    };
    verify(material, &Expectations::default(), &options)
}

/// What node 0 of this ceremony proves.
fn proved(group: &Group) -> Proved {
    Proved::of(&check(&material(group, 0), None).verified.unwrap())
}

#[test]
fn the_same_files_of_every_real_ceremony_are_known_again() {
    for name in ceremony_names() {
        let group = Group::read(&name);
        let material = material(&group, 0);
        let verified = check(&material, None).verified.unwrap();
        let record = seal(&Proved::of(&verified), &group.keys[0], HERE, CHECKS).unwrap();
        let proved = open(record.as_bytes(), &group.keys[0], HERE, CHECKS).unwrap();
        assert_eq!(proved, Proved::of(&verified), "{name}");
        let known = proved.recognise(&material, Modes::AsCharonLeavesThem);
        assert_eq!(known, Some(verified), "{name}");
        // Nobody else's are.
        let mut other = material.clone();
        other.enr_key = group.material(1).enr_key;
        assert_eq!(proved.recognise(&other, Modes::AsCharonLeavesThem), None);
        assert!(!group.secrets[0].iter().any(|it| record.contains(it)));
    }
}

#[test]
fn whatever_changed_is_not_known_again() {
    let group = Group::read(USUAL);
    let proved = proved(&group);
    let known = |edit: &dyn Fn(&mut Material)| {
        let mut material = material(&group, 0);
        edit(&mut material);
        proved
            .recognise(&material, Modes::AsCharonLeavesThem)
            .is_some()
    };
    assert!(known(&|_| {}));
    let flip = |file: &mut NamedFile, at: usize| file.bytes[at] ^= 1;
    let end = |file: &mut NamedFile| file.bytes.push(b'\n');
    let files: [fn(&mut Material) -> &mut NamedFile; 5] = [
        |it| it.cluster_lock.as_mut().unwrap(),
        |it| it.definition.as_mut().unwrap(),
        |it| &mut it.deposit_data[0],
        |it| &mut it.keystores[0],
        |it| &mut it.keystores[1],
    ];
    for file in files {
        assert!(!known(&|it| end(file(it))));
        let length = file(&mut material(&group, 0)).bytes.len();
        for at in (0..length).step_by(1 + length / 50) {
            assert!(!known(&|it| flip(file(it), at)));
        }
    }
    // Two keystores with their passwords change places: each is on record, for another validator.
    assert!(!known(&|it| {
        for (one, two) in [(0, 2), (1, 3)] {
            let bytes = it.keystores[one].bytes.clone();
            it.keystores[one].bytes = it.keystores[two].bytes.clone();
            it.keystores[two].bytes = bytes;
        }
    }));
    let extra = |path: &str| NamedFile::new(path, b"{}".to_vec());
    let edits: [&dyn Fn(&mut Material); 12] = [
        &|it| it.cluster_lock = None,
        &|it| it.definition = None,
        &|it| it.enr_key = None,
        &|it| it.deposit_data.clear(),
        &|it| drop(it.keystores.pop()),
        &|it| it.keystores.clear(),
        &|it| it.keystores.push(extra("validator_keys/keystore-2.json")),
        &|it| it.keystores.push(extra("validator_keys/wallet.json")),
        &|it| it.deposit_data.push(extra("deposit-data-8eth.json")),
        &|it| {
            it.other_names
                .push("validator_keys/keystore-2.json".to_owned());
        },
        &|it| it.other_names.push("cluster-manifest.pb".to_owned()),
        &|it| it.previous_lock = it.cluster_lock.clone(),
    ];
    for (number, edit) in edits.iter().enumerate() {
        assert!(!known(edit), "{number}");
    }
    // What says nothing about the cluster stops nobody.
    assert!(known(&|it| it.other_names.push("notes.txt".to_owned())));
}

#[test]
fn owners_and_modes_are_looked_at_each_time() {
    let group = Group::read(USUAL);
    let proved = proved(&group);
    let known = |mode: u32, uid: u32, kind: EntryKind| {
        let mut material = material(&group, 0);
        material.expected_owner = Some((1000, 1000));
        let mut entry = |path: &str, mode: u32, kind: EntryKind| {
            material.ownership.push(FileMode {
                path: path.to_owned(),
                uid,
                gid: 1000,
                mode,
                kind,
                list: None,
            });
        };
        entry(".", 0o755, EntryKind::Directory);
        entry("validator_keys", 0o755, EntryKind::Directory);
        entry("validator_keys/keystore-0.json", mode, kind);
        entry("validator_keys/keystore-0.txt", mode, kind);
        proved.recognise(&material, Modes::Private).is_some()
    };
    assert!(known(0o600, 1000, EntryKind::Regular));
    assert!(!known(0o644, 1000, EntryKind::Regular));
    assert!(!known(0o600, 1001, EntryKind::Regular));
    assert!(!known(0o600, 1000, EntryKind::Symlink));
}

#[test]
fn only_key_stretching_is_spared_where_something_changed_and_only_for_the_node_that_proved() {
    let group = Group::read(USUAL);
    let proved = proved(&group);
    let again = check(&material(&group, 0), Some(&proved));
    assert_eq!(again.report.counts.keystores_proved_before, 2);
    assert_eq!(
        again.verified.as_ref().map(Proved::of),
        Some(proved.clone())
    );
    assert!(proved.is_for(&again.verified.unwrap()));
    // Files with digests that are not on record are opened, and fail.
    let mut swapped = material(&group, 0);
    let password = swapped.keystores[1].bytes.clone();
    swapped.keystores[1].bytes = swapped.keystores[3].bytes.clone();
    swapped.keystores[3].bytes = password;
    let outcome = check(&swapped, Some(&proved));
    assert!(outcome.verified.is_none() && outcome.report.failed("keystore-decrypt"));
    // Another node's keystores are on nobody's record but its own.
    let other = check(&material(&group, 1), Some(&proved));
    assert_eq!(other.report.counts.keystores_proved_before, 0);
    assert!(!proved.is_for(&other.verified.unwrap()));
}

#[test]
fn a_record_is_read_by_the_key_that_made_it_for_this_directory_after_these_checks_alone() {
    let group = Group::read(USUAL);
    let key = &group.keys[0];
    let record = seal(&proved(&group), key, HERE, CHECKS).unwrap();
    let read = |key, directory, checks| open(record.as_bytes(), key, directory, checks);
    assert_eq!(read(key, HERE, CHECKS), Ok(proved(&group)));
    let stranger = EnrKey::from_secret_bytes(&[8; 32]).unwrap();
    for key in [&group.keys[1], &stranger] {
        assert_eq!(read(key, HERE, CHECKS), Err(ProofError::NotOurs));
    }
    let not_ours = Err(ProofError::NotOurs);
    assert_eq!(read(key, DirectoryId(13), CHECKS), not_ours);
    let others = ChecksId("others");
    assert_eq!(read(key, HERE, others), Err(ProofError::OtherChecks));
    // Nor by writing the other's name into it.
    let renamed = record.replace("\"these\"", "\"others\"");
    assert_ne!(renamed, record);
    assert_eq!(open(renamed.as_bytes(), key, HERE, others), not_ours);
}

#[test]
fn no_change_of_a_record_is_relied_on() {
    let group = Group::read(USUAL);
    let key = &group.keys[0];
    let proved = proved(&group);
    let record = seal(&proved, key, HERE, CHECKS).unwrap();
    for no_record in [
        "",
        "{}",
        "[]",
        &record.replace("\"format\": 2", "\"format\": 1"),
    ] {
        assert_eq!(
            open(no_record.as_bytes(), key, HERE, CHECKS),
            Err(ProofError::Format)
        );
    }
    for at in 0..record.len() {
        let mut bytes = record.clone().into_bytes();
        bytes[at] ^= 1;
        // Letter case of a digit in the authentication itself, or white space, is no change.
        if let Ok(read) = open(&bytes, key, HERE, CHECKS) {
            assert_eq!(read, proved);
        }
    }
}
