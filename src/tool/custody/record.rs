//! Which backups were made of which ENR key, and what changed since.
//!
//! It is a note for the operator, kept in this program's own directory: the last backup of each key. It is no proof, and the
//! file that it names may be on another machine by now.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use charon_files::cluster::names::FileDigest;

/// The format that this program writes and the only one it reads.
const FORMAT: u32 = 1;

/// Longest record read, in bytes: two files for each of 65536 validators, at 150 bytes each, for a few keys.
pub const MAX_RECORD_BYTES: u64 = 64 << 20;

/// How many keys are remembered; one directory has one, and another after each ceremony that was begun anew.
const MAX_KEYS: usize = 16;

/// The last backup of each ENR key of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Records {
    format: u32,
    backups: Vec<Record>,
}

/// One backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// When it was made, RFC 3339 in UTC.
    pub time: String,
    /// Where it was written.
    pub file: String,
    /// SHA-256 of that file, in lower-case hex.
    pub sha256: String,
    /// Public identifier of the ENR key in it.
    pub enr_id: String,
    /// What opens it: `the passphrase`, or `2 recipients`.
    pub opened_by: String,
    /// The files in it, by their names in the archive.
    pub files: Vec<FileDigest>,
}

/// What changed in a directory since its backup, by the names in the archive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// With other content.
    pub changed: Vec<String>,
    /// That are new.
    pub added: Vec<String>,
    /// That are gone.
    pub gone: Vec<String>,
}

impl Changes {
    /// How many files changed in one way or another.
    pub fn count(&self) -> usize {
        self.changed.len() + self.added.len() + self.gone.len()
    }
}

impl Default for Records {
    fn default() -> Self {
        Self {
            format: FORMAT,
            backups: Vec::new(),
        }
    }
}

impl Records {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let records: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if records.format == FORMAT {
            Ok(records)
        } else {
            Err(format!("format {}, expected {FORMAT}", records.format))
        }
    }

    /// The file with one more backup, which takes the place of the last one of the same key.
    #[must_use]
    pub fn with(mut self, record: Record) -> Self {
        self.backups.retain(|known| known.enr_id != record.enr_id);
        self.backups.insert(0, record);
        self.backups.truncate(MAX_KEYS);
        self
    }

    /// The last backup of any key.
    pub fn last(&self) -> Option<&Record> {
        self.backups.first()
    }

    /// The last backup of a key.
    pub fn of(&self, enr_id: &str) -> Option<&Record> {
        self.backups.iter().find(|record| record.enr_id == enr_id)
    }

    /// The text of the file.
    ///
    /// # Errors
    /// Never in practice: there is nothing in it that JSON cannot say.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec_pretty(self)
    }
}

impl Record {
    /// What changed in the data directory since; kept receipts are collected again, and do not count.
    pub fn changes(&self, now: &[FileDigest]) -> Changes {
        let data = |files: &[FileDigest]| -> BTreeMap<String, [u8; 32]> {
            files
                .iter()
                .filter_map(|file| Some((in_data_dir(&file.path)?, file.sha256)))
                .collect()
        };
        let (mut then, now) = (data(&self.files), data(now));
        let mut changes = Changes::default();
        for (path, sha256) in now {
            match then.remove(&path) {
                None => changes.added.push(path),
                Some(before) if before != sha256 => changes.changed.push(path),
                Some(_) => {}
            }
        }
        changes.gone = then.into_keys().collect();
        changes
    }
}

/// The name that a file has, or will have once it is held no more, in the data directory.
fn in_data_dir(name: &str) -> Option<String> {
    let held = || {
        let (_, inside) = name
            .strip_prefix(".charon-dkg/attempts/")?
            .split_once('/')?;
        inside.strip_prefix("stage/")
    };
    // What an edit made takes the place of other files only at the switch.
    if name.starts_with(".charon-dkg/edit/new/") {
        return Some(name.to_owned());
    }
    let inside = name.strip_prefix(".charon/").or_else(held)?;
    Some(format!(".charon/{inside}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(enr_id: &str, time: &str, files: &[(&str, &[u8])]) -> Record {
        Record {
            time: time.to_owned(),
            file: "/x".to_owned(),
            sha256: String::new(),
            enr_id: enr_id.to_owned(),
            opened_by: "the passphrase".to_owned(),
            files: digests(files),
        }
    }

    fn digests(files: &[(&str, &[u8])]) -> Vec<FileDigest> {
        files
            .iter()
            .map(|(path, bytes)| FileDigest::of(*path, bytes))
            .collect()
    }

    #[test]
    fn the_last_backup_of_each_key_is_kept() {
        let mut records = Records::default();
        for (key, time) in [("a", "1"), ("b", "2"), ("a", "3")] {
            records = records.with(record(key, time, &[]));
        }
        let records = Records::parse(&records.to_json().unwrap()).unwrap();
        assert_eq!(records.of("a").unwrap().time, "3");
        assert_eq!(records.of("b").unwrap().time, "2");
        assert_eq!(records.of("c"), None);
        for number in 0..100 {
            let key = number.to_string();
            let more = records.clone().with(record(&key, "4", &[]));
            assert!(more.backups.len() <= MAX_KEYS && more.of(&key).is_some());
        }
        assert!(Records::parse(b"{\"format\":2,\"backups\":[]}").is_err());
        assert!(Records::parse(b"").is_err());
    }

    #[test]
    fn changes_are_told_apart_and_receipts_do_not_count() {
        let then = record(
            "a",
            "1",
            &[
                (".charon/same", b"1"),
                (".charon/other", b"1"),
                (".charon/gone", b"1"),
                (".charon-dkg/receipts/x", b"1"),
                (".charon-dkg/edit/stopped.txt", b"1"),
            ],
        );
        let changes = then.changes(&digests(&[
            (".charon/same", b"1"),
            (".charon/other", b"2"),
            (".charon/new", b"1"),
            (".charon-dkg/edit/new/same", b"2"),
        ]));
        assert_eq!(changes.changed, [".charon/other"]);
        let mut added = changes.added.clone();
        added.sort();
        assert_eq!(added, [".charon-dkg/edit/new/same", ".charon/new"]);
        assert_eq!(changes.gone, [".charon/gone"]);
        assert_eq!(changes.count(), 4);
    }
}
