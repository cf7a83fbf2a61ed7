//! What a verification proved, kept to know the same files again: what has not changed is hashed, and not proved again.

use std::collections::HashMap;

use charon_files::cluster::names::{FileDigest, Name, VALIDATOR_KEYS_DIR, classify};
use charon_files::cluster::{Definition, Enr, LockHash, Network, NodeIndex};
use charon_files::finding::Weight;
use charon_files::keys::k1::{EnrKey, EnrPublicKey};

use super::keystores::{may_be_loaded, pair_digest};
use super::ledger::Ledger;
use super::{Context, Expectations, Material, Modes, Options, Scope, Verified, digests, directory};
use crate::cluster::Cluster;

/// What one node proved of its data directory. Only [`Proved::of`] and a record that is authenticated make one, since
/// [`Proved::recognise`] believes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved {
    pub(crate) lock_hash: LockHash,
    pub(crate) node: NodeIndex,
    pub(crate) definition: Definition,
    /// Cluster lock, definition and deposit data, sorted.
    pub(crate) files: Vec<FileDigest>,
    /// One for each keystore with its password, by number.
    pub(crate) keystores: Vec<[u8; 32]>,
    /// See [`super::ContractQuestion::id`].
    pub(crate) contract_signatures: Vec<[u8; 32]>,
}

impl Proved {
    /// What this proof proved.
    pub fn of(verified: &Verified) -> Self {
        Self {
            lock_hash: verified.lock_hash(),
            node: verified.node,
            definition: verified.definition.clone(),
            files: shared(&verified.files),
            keystores: verified.keystore_digests.clone(),
            contract_signatures: verified.contract_signatures.clone(),
        }
    }

    /// The digests of the keystores: what [`Options::proved_keystores`] is asked for.
    pub fn keystores(&self) -> &[[u8; 32]] {
        &self.keystores
    }

    /// Whether a contract confirmed the signature with this [`super::ContractQuestion::id`]. Wallets may change their owners
    /// later; what counts is that they signed when the ceremony began.
    pub fn contains_contract_signature(&self, id: &[u8; 32]) -> bool {
        self.contract_signatures.contains(id)
    }

    /// Whether this belongs to what was verified: a verification that relied on one that does not is repeated.
    pub fn is_for(&self, verified: &Verified) -> bool {
        (self.lock_hash, self.node) == (verified.lock_hash(), verified.node)
    }

    /// The proof, if every file is there as it was and nothing speaks against the rest of the directory: names, owners, modes
    /// and the ENR key are looked at anew. `None` says nothing of what is wrong, or whether anything is: that is for
    /// [`super::verify`].
    pub fn recognise(&self, material: &Material, modes: Modes) -> Option<Verified> {
        let files = digests(material);
        if material.previous_lock.is_some()
            || shared(&files) != self.files
            || keystores(&files, self.keystores.len())? != self.keystores
        {
            return None;
        }
        let is_keystore =
            |name: &String| matches!(classify(name), Name::Keystore | Name::KeystorePassword);
        let mut others = material.other_names.iter();
        if others.any(|name| is_keystore(name) && may_be_loaded(name)) {
            return None;
        }
        let keys: Vec<EnrPublicKey> = self
            .definition
            .operators
            .iter()
            .map(|operator| Some(*Enr::parse(&operator.enr).ok()?.public_key()))
            .collect::<Option<_>>()?;
        let own = EnrKey::parse(&material.enr_key.as_ref()?.bytes).ok()?;
        if keys.get(self.node.position()) != Some(&own.public_key()) {
            return None;
        }
        if !self.directory_is_right(material, modes) {
            return None;
        }
        let definition_hash = self.definition.definition_hash().ok()?;
        Some(Verified {
            files,
            cluster: Cluster::new(
                &self.definition,
                &keys,
                self.keystores.len(),
                definition_hash,
                self.lock_hash,
            ),
            config_hash: self.definition.config_hash().ok()?,
            definition: self.definition.clone(),
            node: self.node,
            keystore_digests: self.keystores.clone(),
            contract_signatures: self.contract_signatures.clone(),
        })
    }

    /// What is in the directory, whose it is, and who may read it.
    fn directory_is_right(&self, material: &Material, modes: Modes) -> bool {
        let scope = Scope::WholeDataDirectory;
        let context = Context {
            material,
            expectations: &Expectations::default(),
            options: &Options {
                modes,
                ..Options::new(scope)
            },
            definition: &self.definition,
            network: Network::by_fork_version(self.definition.fork_version),
        };
        let mut ledger = Ledger::default();
        directory::check_presence(material, scope, &mut ledger);
        directory::check_ownership(&context, &mut ledger);
        let (_, findings) = ledger.finish(|_| false);
        findings
            .iter()
            .all(|finding| finding.weight == Weight::Note)
    }
}

/// The files that are the same on every node, and no secrets.
fn shared(files: &[FileDigest]) -> Vec<FileDigest> {
    let mut shared: Vec<FileDigest> = files
        .iter()
        .filter(|file| match classify(&file.path) {
            Name::ClusterLock | Name::Definition | Name::DepositData => true,
            Name::EnrKey
            | Name::Heartbeat
            | Name::ClusterManifest
            | Name::OddDepositData
            | Name::ValidatorKeys
            | Name::Keystore
            | Name::KeystorePassword
            | Name::Bundle
            | Name::Other => false,
        })
        .cloned()
        .collect();
    shared.sort();
    shared
}

/// The digest of each keystore with its password, if there are exactly so many and each has the name that charon gives it.
fn keystores(files: &[FileDigest], count: usize) -> Option<Vec<[u8; 32]>> {
    let secrets: Vec<&FileDigest> = files
        .iter()
        .filter(|file| {
            matches!(
                classify(&file.path),
                Name::Keystore | Name::KeystorePassword
            )
        })
        .collect();
    if secrets.len() != 2 * count {
        return None;
    }
    let by_path: HashMap<&str, &[u8; 32]> = secrets
        .into_iter()
        .map(|file| (file.path.as_str(), &file.sha256))
        .collect();
    let digest = |number: usize, suffix: &str| {
        let path = format!("{VALIDATOR_KEYS_DIR}/keystore-{number}.{suffix}");
        by_path.get(path.as_str()).copied()
    };
    (0..count)
        .map(|number| Some(pair_digest(digest(number, "json")?, digest(number, "txt")?)))
        .collect()
}
