//! The ENR key of a data directory, and whether it was backed up.

use std::path::Path;

use crate::custody::record::Record;
use crate::custody::sources;
use crate::machine::datadir::Layout;
use crate::machine::read;
use charon_files::cluster::names::ENR_KEY_FILE;
use charon_files::keys::k1::EnrKey;

/// The ENR key of a data directory, if there is one that can be read.
pub(crate) fn enr_key(layout: &Layout) -> Result<Option<EnrKey>, String> {
    match read::read_secret_in(layout.data_dir(), Path::new(ENR_KEY_FILE), read::ENR_KEY) {
        Ok(bytes) => EnrKey::parse(&bytes)
            .map(Some)
            .map_err(|error| error.to_string()),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// The record of this key's last backup. One that cannot be read says nothing.
pub(crate) fn last_backup(layout: &Layout, key: &EnrKey) -> Option<Record> {
    let records = sources::read_records(layout).ok()?;
    records.of(&key.id().to_string()).cloned()
}
