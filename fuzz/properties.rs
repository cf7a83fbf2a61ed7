//! What must be so for every input whatever, one function for each kind of input. The fuzz targets and the test that
//! replays the corpora call the same functions.

use std::time::Duration;

use charon_files::cluster::{
    ClusterLock, Definition, DepositFile, Enr, ParseError, Parsed, RemarkKind,
};
use charon_files::keys::keystore::Keystore;
use charon_log::{self, ClusterSize, End};
use charon_proof::receipt::{Receipt, find_receipts};
use charon_proof::verify::{
    Expectations, Material, NamedFile, Options, Outcome, Scope, Verdict, verify,
};

/// The locks of the fixtures, by hash: nobody without the keys can make another one.
const GENUINE: [&str; 10] = [
    "0x7bf2e56cc08b9b5ed2e682414262330f682ee28519545f455fab8f1c18c341e8",
    "0xdc4ee4ad602db0ca1076efcd887b5229ac8e982ee96217bf7f1892874e5cf083",
    "0x7cf27cbe32cfa3e7441f4b1ead94156624b505cf657fb69c40fc95086c4300d8",
    "0x05d4ebf96b02df8d892832ab0deb149e9c8154b232d887e9393a663cea0c3d8f",
    "0x568a189493f3e89bd43c2927c7ae0bc24173cb0bd1c08cb1257d6e97496eaca9",
    "0xf1e7bcd1231cae32ab43e48813654736cca0bfafd1ecf25cfe2c2730012c527a",
    "0x0678a3769fbbb5aaad35d6425c0c4b95f5b924470073d579a520a650aec224af",
    "0xa249f4d58b53f74ec24236adfd8509a4f899348d1bdbaf3b8044cc04e6f59fb3",
    "0x3966c8ef7907b0b1bddd2ec4f1206d6629c67f6cd0422d16f43818fc550ae6c0",
    "0xfd8ffb858b5d8623f89de8ba93386e6fcb7a78b34e68eebe049f006bd83b8db2",
];

fn check(material: &Material, scope: Scope) -> Outcome {
    let outcome = verify(material, &Expectations::default(), &Options::new(scope));
    // A report can be written whatever it says, and its texts fit into their lines.
    for finding in &outcome.report.findings {
        for text in [&finding.subject, &finding.seen, &finding.expected] {
            assert!(!text.contains(char::is_control), "{text:?}");
            assert!(text.chars().count() <= 401, "{text:?}");
        }
    }
    outcome
}

/// The value if charon and we read the same, and nothing was lost.
fn plain<T>(parsed: Result<Parsed<T>, ParseError>) -> Option<T> {
    let parsed = parsed.ok()?;
    let harmless = parsed
        .remarks
        .iter()
        .all(|remark| remark.kind == RemarkKind::MissingKey);
    harmless.then_some(parsed.value)
}

/// A cluster definition: what is read is written and read back, with the same hashes; and it can be verified.
pub(crate) fn definition(bytes: &[u8]) {
    if let Some(value) = plain(Definition::parse(bytes)) {
        let again = Definition::parse(value.to_json().as_bytes()).map(|parsed| parsed.value);
        if let Ok(again) = again {
            assert_eq!(again.config_hash(), value.config_hash());
            assert_eq!(again.definition_hash(), value.definition_hash());
        } else {
            panic!("what was read cannot be written: {again:?}");
        }
    }
    let material = Material {
        definition: Some(NamedFile::new("cluster-definition.json", bytes.to_vec())),
        ..Material::default()
    };
    check(&material, Scope::DefinitionOnly);
}

/// A cluster lock: as above; and none passes that a ceremony did not make.
pub(crate) fn lock(bytes: &[u8]) {
    if let Some(value) = plain(ClusterLock::parse(bytes)) {
        let again = ClusterLock::parse(value.to_json().as_bytes()).map(|parsed| parsed.value);
        if let Ok(again) = again {
            assert_eq!(again.lock_hash(), value.lock_hash());
        } else {
            panic!("what was read cannot be written: {again:?}");
        }
    }
    let material = Material {
        cluster_lock: Some(NamedFile::new("cluster-lock.json", bytes.to_vec())),
        ..Material::default()
    };
    let outcome = check(&material, Scope::LockOnly);
    if outcome.report.verdict == Verdict::Pass {
        let hash = outcome.report.lock_hash.unwrap_or_default();
        assert!(GENUINE.contains(&hash.as_str()), "{hash} passes");
    }
}

/// A deposit data file, against a genuine lock.
pub(crate) fn deposit_data(bytes: &[u8]) {
    if let Some(value) = plain(DepositFile::parse(bytes)) {
        let again = DepositFile::parse(value.to_json().as_bytes()).map(|parsed| parsed.value);
        assert_eq!(again.as_ref(), Ok(&value));
    }
    let lock = include_bytes!(
        "../tests/fixtures/ceremonies/charon-v1.10.3-def-v1.10.0-n4-v2/node0/.charon/cluster-lock.json"
    );
    let material = Material {
        cluster_lock: Some(NamedFile::new("cluster-lock.json", lock.to_vec())),
        deposit_data: vec![NamedFile::new("deposit-data.json", bytes.to_vec())],
        ..Material::default()
    };
    let outcome = check(&material, Scope::DepositsAgainstLock);
    if outcome.report.verdict == Verdict::Pass {
        // Every field of the file is the lock's, or follows from it; only 1 and 32 ETH are there.
        let file = DepositFile::parse(bytes).map(|parsed| parsed.value);
        assert!(file.is_ok_and(|file| file.entries.len() == 2));
    }
}

/// A keystore: what is read stays within the bounds of its cost. It is not opened, which would take all the time.
pub(crate) fn keystore(bytes: &[u8]) {
    use charon_files::keys::keystore::{Kdf, MAX_PBKDF2_ROUNDS, MAX_SCRYPT_MEMORY};
    let Ok(keystore) = Keystore::parse(bytes) else {
        return;
    };
    match keystore.kdf {
        Kdf::Pbkdf2 { rounds, salt } => {
            assert!(rounds.get() <= MAX_PBKDF2_ROUNDS && !salt.is_empty());
        }
        Kdf::Scrypt { log_n, r, p, salt } => {
            let memory = (128_u64 << log_n) * u64::from(r);
            assert!(memory <= MAX_SCRYPT_MEMORY && p > 0 && !salt.is_empty());
        }
    }
}

/// An ENR: what is read is the text itself, and its signature is good.
pub(crate) fn enr(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(enr) = Enr::parse(&text) {
        assert_eq!(enr.text(), text);
        assert_eq!(Enr::parse(enr.text()).as_ref(), Ok(&enr));
    }
}

/// charon's output, in pieces of any size: the pieces do not matter.
pub(crate) fn charon_log(bytes: &[u8]) {
    let size = ClusterSize {
        operators: 4,
        threshold: 3,
        validators: 2,
    };
    let read = |pieces: usize| {
        let mut transcript = charon_log::Transcript::new(size, None);
        for chunk in bytes.chunks(pieces) {
            transcript.push(chunk, Duration::from_secs(1));
        }
        transcript.finish(Duration::from_secs(1));
        (
            transcript.progress().phase(),
            transcript.progress().peers().to_vec(),
        )
    };
    assert_eq!(read(7), read(bytes.len().max(1)));
    let end = End {
        exit_code: Some(1),
        oom_killed: false,
        stopped: false,
    };
    let diagnosis = charon_log::diagnose(bytes, size, None, end, Duration::from_secs(1));
    // charon failed, so there is something to say.
    assert!(diagnosis.is_some());
}

/// Text with receipts in it: what is found is written and read back.
pub(crate) fn receipt(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for receipt in find_receipts(&text).into_iter().flatten().flatten() {
        assert_eq!(Receipt::parse(&receipt.to_string()), Ok(receipt));
    }
}
