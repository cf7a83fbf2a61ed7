//! The receipts that the operators of a cluster would give for these files.

use charon_files::cluster::names::FileDigest;
use charon_files::cluster::{ClusterLock, NodeIndex};
use charon_files::keys::k1::EnrKey;
use charon_proof::receipt::{DepositFiles, Receipt, Statement};

/// One of each operator, in their order.
pub(crate) fn receipts(lock: &ClusterLock, keys: &[EnrKey], files: &[FileDigest]) -> Vec<Receipt> {
    keys.iter()
        .enumerate()
        .map(|(node, key)| {
            let statement = Statement {
                node: NodeIndex::new(node),
                operators: u16::try_from(keys.len()).unwrap(),
                lock_hash: lock.lock_hash().unwrap(),
                definition_hash: lock.definition.definition_hash().unwrap(),
                keystores: u32::try_from(lock.validators.len()).unwrap(),
                deposit_files: DepositFiles::of(files),
                charon_image: None,
                charon_version: None,
                program_version: "0.1.0".to_owned(),
                time: 1_795_000_000,
            };
            Receipt::sign(statement, key).unwrap()
        })
        .collect()
}
