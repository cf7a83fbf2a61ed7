//! A deposit data file of a lock, as charon v1.10.3 writes it.

use charon_files::cluster::deposit_data::DepositFileEntry;
use charon_files::cluster::{ClusterLock, DepositFile, Gwei, Network};

/// The deposits of this amount.
pub(crate) fn deposit_file(lock: &ClusterLock, amount: Gwei) -> DepositFile {
    let fork_version = lock.definition.fork_version;
    let network = Network::by_fork_version(fork_version).unwrap();
    let deposits = lock.validators.iter().flat_map(|it| &it.deposits);
    let mut file = DepositFile {
        entries: deposits
            .filter(|deposit| deposit.amount == amount)
            .map(|deposit| DepositFileEntry {
                data: deposit.clone(),
                deposit_message_root: deposit.message_root(),
                deposit_data_root: deposit.data_root(),
                fork_version,
                network_name: network.name.to_owned(),
                deposit_cli_version: "2.7.0".to_owned(),
            })
            .collect(),
    };
    file.sort();
    file
}
