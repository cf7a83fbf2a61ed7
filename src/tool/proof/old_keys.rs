//! Whether keys of a ceremony before may be given up for new ones, as a beacon node sees it.

use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::machine::datadir::Layout;
use crate::machine::files::Folder;
use crate::promote::{archive, held};
use crate::proof::checked;
use charon_files::cluster::names::CLUSTER_LOCK_FILE;
use charon_files::cluster::{ClusterLock, Network};
use charon_files::finding::{Finding, Weight};
use charon_files::wrong_file::Expected;
use charon_proof::chain::NewCeremony;
use charon_proof::deposits::keys_of_lock;

/// Check id of everything that keeps old keys in their place.
const CHECK: &str = "chain-old-keys";

impl Context {
    /// What speaks against a new ceremony here: the keys of this directory and those that were put aside. Nothing if no
    /// beacon node was named.
    pub(crate) async fn findings_of_old_keys(&self, layout: &Layout) -> Vec<Finding> {
        let mut locks = present(layout);
        let aside = Folder::open(&layout.state_dir().join(archive::ARCHIVE_DIR));
        let names = aside.and_then(|aside| Ok((aside.path().to_owned(), aside.names()?)));
        // Without an archive there is nothing put aside; one that cannot be read stops a ceremony by itself.
        if let Ok((aside, names)) = names {
            locks.extend(
                names
                    .into_iter()
                    .map(|name| aside.join(name).join(CLUSTER_LOCK_FILE)),
            );
        }
        self.findings_of_locks(&locks).await
    }

    /// What speaks against putting the keys of this directory aside, those of a held ceremony included.
    pub(crate) async fn findings_of_present_keys(&self, layout: &Layout) -> Vec<Finding> {
        self.findings_of_locks(&present(layout)).await
    }

    async fn findings_of_locks(&self, locks: &[PathBuf]) -> Vec<Finding> {
        let mut findings = Vec::new();
        if !self.has_beacon_node() {
            return findings;
        }
        for path in locks {
            // Without a lock there are no keys.
            if std::fs::symlink_metadata(path).is_err() {
                continue;
            }
            for finding in self.findings_of_lock(path).await {
                // The same node does not answer about any.
                if !findings.contains(&finding) {
                    findings.push(finding);
                }
            }
        }
        findings
    }

    async fn findings_of_lock(&self, path: &Path) -> Vec<Finding> {
        let lock = checked::read_single(path, Expected::ClusterLock)
            .map_err(|failure| failure.message)
            .and_then(|file| ClusterLock::parse(&file.bytes).map_err(|error| error.to_string()));
        let lock = match lock {
            Ok(parsed) => parsed.value,
            Err(reason) => {
                return vec![Finding {
                    check: CHECK,
                    weight: Weight::CouldNotTell,
                    subject: path.display().to_string(),
                    seen: reason,
                    expected: "a lock, whose validators the beacon node is asked about".to_owned(),
                    advice: "find the lock of these keys, and ask with `charon-dkg verify --beacon-rpc URL --lock FILE`"
                        .to_owned(),
                }];
            }
        };
        let keys = keys_of_lock(&lock);
        let network = Network::by_fork_version(lock.definition.fork_version);
        let Some(chain) = self.asked_chain(network, &keys, false).await else {
            return Vec::new();
        };
        let (standings, mut findings) = chain.judge(&keys);
        findings.retain(|finding| finding.weight != Weight::Note);
        if standings.new_ceremony == NewCeremony::InUse {
            findings.push(Finding {
                check: CHECK,
                weight: Weight::Fail,
                subject: path.display().to_string(),
                seen: format!("keys that are in use: {}", standings.summary()),
                expected: "keys that the chain does not know".to_owned(),
                advice: "keep these keys where their node runs, and run another ceremony in another directory; only where all operators have agreed to give these validators up, leave the beacon node out"
                    .to_owned(),
            });
        }
        findings
    }
}

/// Where the lock of the data directory and that of a held ceremony are.
fn present(layout: &Layout) -> Vec<PathBuf> {
    let held = held::find(layout).map(|attempt| attempt.stage());
    [layout.data_dir().to_owned()]
        .into_iter()
        .chain(held)
        .map(|dir| dir.join(CLUSTER_LOCK_FILE))
        .collect()
}
