//! Takes the bytes of a data directory, gives findings and, only if all is proved, a [`Verified`].
//!
//! Nothing here reads files, the clock or the network: the caller brings the bytes and gets values. All problems are
//! reported at once. What each check proves is described in [`Check`] and in `docs/verify-checks.md`.
//!
//! ```
//! use charon_proof::verify::{Expectations, Material, NamedFile, Options, Scope, Verdict, verify};
//!
//! # fn read(_: &str) -> Vec<u8> { b"{}".to_vec() }
//! let material = Material {
//!     cluster_lock: Some(NamedFile::new("cluster-lock.json", read("cluster-lock.json"))),
//!     ..Material::default()
//! };
//! let outcome = verify(&material, &Expectations::default(), &Options::new(Scope::LockOnly));
//! for finding in &outcome.report.findings {
//!     println!("{}: {} is {}, expected {}", finding.check, finding.subject, finding.seen, finding.expected);
//! }
//! assert_ne!(outcome.report.verdict, Verdict::Pass);
//! ```

mod batch;
mod check;
mod cluster_lock;
mod definition;
mod deposits;
mod directory;
mod keystores;
mod ledger;
mod previous;
mod proved;
mod report;
mod signatures;

use std::fmt;

use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use charon_files::cluster::names::{FileDigest, Name, classify};
use charon_files::cluster::{
    Address, CharonVersion, ClusterLock, ConfigHash, Definition, DefinitionHash, DefinitionVersion,
    DepositFile, LockHash, Network, NodeIndex, ParseError, Parsed, Payouts, RemarkKind,
    StakingToken,
};
use charon_files::keys::k1::EnrPublicKey;

use crate::cluster::Cluster;
use crate::edit::{Edit, EditRequest};
use crate::profile::Profile;

pub use charon_files::cluster::access::{EntryKind, FileMode};
pub use check::{Check, Subject};
use ledger::Ledger;
pub use proved::Proved;
pub use report::{
    ChainReport, CheckLine, CheckResult, Counts, EditReport, Node, Report, SCHEMA, Verdict,
};

/// A file's name and content.
#[derive(Clone)]
pub struct NamedFile {
    /// Path relative to the data directory, with `/`: `validator_keys/keystore-0.json`.
    pub path: String,
    /// The content; wiped when dropped, whether it is secret or not.
    pub bytes: Zeroizing<Vec<u8>>,
}

impl NamedFile {
    /// A file.
    pub fn new(path: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self {
            path: path.into(),
            bytes: Zeroizing::new(bytes),
        }
    }

    /// The path without its directories.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Path, length and digest. That it was verified is for the caller to know.
    pub fn digest(&self) -> FileDigest {
        FileDigest::of(self.path.clone(), &self.bytes)
    }

    fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.bytes.as_slice()).into()
    }
}

impl fmt::Debug for NamedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Some of them are secret.
        write!(f, "NamedFile({}, {} bytes)", self.path, self.bytes.len())
    }
}

/// Everything that there is to verify. What is not there is `None` or empty.
#[derive(Debug, Clone, Default)]
pub struct Material {
    /// `cluster-definition.json`.
    pub definition: Option<NamedFile>,
    /// `cluster-lock.json`.
    pub cluster_lock: Option<NamedFile>,
    /// The cluster lock before an edit (`charon alpha edit`); the lock is then proved against it too.
    pub previous_lock: Option<NamedFile>,
    /// Every `deposit-data*.json`.
    pub deposit_data: Vec<NamedFile>,
    /// `charon-enr-private-key`.
    pub enr_key: Option<NamedFile>,
    /// Every file of `validator_keys/`, whatever its name.
    pub keystores: Vec<NamedFile>,
    /// Paths of everything else in the data directory.
    pub other_names: Vec<String>,
    /// Owner and mode of everything in the data directory.
    pub ownership: Vec<FileMode>,
    /// Of how many of them the system did not tell who may use them.
    pub untold_modes: usize,
    /// Who should own everything, as uid and gid; unchecked if `None`.
    pub expected_owner: Option<(u32, u32)>,
}

/// What is known from elsewhere and must agree with the files.
#[derive(Debug, Clone, Default)]
pub struct Expectations {
    /// The definition with which a ceremony was started that has just ended. Then its files must all be there.
    pub definition_hash: Option<DefinitionHash>,
    /// The charon release that made the files, if known. Otherwise what any release would have written is accepted.
    pub charon_version: Option<CharonVersion>,
    /// What the protocol asks for whose cluster it is to be.
    pub profile: Option<Profile>,
    /// What charon was told to make of the previous lock.
    pub edit: Option<EditRequest>,
}

/// How much is to be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// One node's whole data directory, secrets included. Only this can give a [`Verified`].
    WholeDataDirectory,
    /// A bare cluster lock.
    LockOnly,
    /// A bare cluster definition.
    DefinitionOnly,
    /// Deposit data files against a cluster lock: what a funder needs.
    DepositsAgainstLock,
}

impl Scope {
    /// Whether a definition in a file of its own is verified; the one in a lock always is.
    pub const fn has_definition_file(self) -> bool {
        match self {
            Scope::WholeDataDirectory | Scope::DefinitionOnly => true,
            Scope::LockOnly | Scope::DepositsAgainstLock => false,
        }
    }

    /// Whether a cluster lock is verified.
    pub const fn has_lock(self) -> bool {
        match self {
            Scope::WholeDataDirectory | Scope::LockOnly | Scope::DepositsAgainstLock => true,
            Scope::DefinitionOnly => false,
        }
    }

    /// Whether deposit data files are verified.
    pub const fn has_deposit_files(self) -> bool {
        match self {
            Scope::WholeDataDirectory | Scope::DepositsAgainstLock => true,
            Scope::LockOnly | Scope::DefinitionOnly => false,
        }
    }

    /// Whether ENR key, keystores and the directory itself are verified.
    pub const fn has_node(self) -> bool {
        match self {
            Scope::WholeDataDirectory => true,
            Scope::LockOnly | Scope::DefinitionOnly | Scope::DepositsAgainstLock => false,
        }
    }
}

/// Which file modes are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modes {
    /// Any: charon writes 0444 and 0755, and modes are set at promotion, after verification.
    AsCharonLeavesThem,
    /// Nobody else can read a secret or change anything, see [`charon_files::cluster::access`].
    Private,
}

/// The stretches of a verification that take time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Keys and shares of the validators in the lock.
    Shares,
    /// Signatures of deposits and registrations.
    Signatures,
    /// Decryption of keystores.
    Keystores,
}

/// Is told how far a verification got; called from several threads.
pub trait Progress: Sync {
    /// How many steps this phase will take.
    fn set_total(&self, phase: Phase, total: usize);
    /// So many more steps are done.
    fn advance(&self, phase: Phase, steps: usize);
}

/// Nobody is watching.
#[derive(Debug, Clone, Copy)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn set_total(&self, _phase: Phase, _total: usize) {}
    fn advance(&self, _phase: Phase, _steps: usize) {}
}

/// A signature that no single key made as it should be: perhaps the address is a contract wallet's. Only the
/// contract itself can tell, by `isValidSignature` (EIP-1271).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContractQuestion {
    /// Who is said to have signed: `operator 2 of 4 (0x…)` or `creator`.
    pub subject: String,
    /// The contract to ask.
    pub address: Address,
    /// EIP-155 chain id of the network that it lives on.
    pub chain_id: u64,
    /// The first argument: what was signed.
    pub digest: [u8; 32],
    /// The second argument.
    pub signature: Vec<u8>,
}

impl ContractQuestion {
    /// A digest of everything that the answer depends on, to remember it by.
    pub fn id(&self) -> [u8; 32] {
        Sha256::new()
            .chain_update(b"charon-dkg contract signature")
            .chain_update(self.chain_id.to_be_bytes())
            .chain_update(self.address.as_bytes())
            .chain_update(self.digest)
            .chain_update(&self.signature)
            .finalize()
            .into()
    }
}

/// Every signature of a definition that only a contract can confirm: the questions of which [`Outcome::contract_questions`]
/// are those that stayed open.
pub fn contract_questions(definition: &Definition) -> Vec<ContractQuestion> {
    let context = Context {
        material: &Material::default(),
        expectations: &Expectations::default(),
        options: &Options::new(Scope::DefinitionOnly),
        definition,
        network: Network::by_fork_version(definition.fork_version),
    };
    signatures::check_definition_signatures(&context, &mut Ledger::default()).open
}

/// What a contract says about a signature; `None` if nobody asked or nobody answered.
pub type ContractAnswers<'a> = dyn Fn(&ContractQuestion) -> Option<bool> + Sync + 'a;

/// How to verify.
pub struct Options<'a> {
    /// How much.
    pub scope: Scope,
    /// Which file modes are right.
    pub modes: Modes,
    /// Whether a keystore with this digest (see [`Verified::keystore_digests`]) was proved before; then its key stretching,
    /// which takes most of the time, is skipped.
    pub proved_keystores: &'a (dyn Fn(&[u8; 32]) -> bool + Sync),
    /// What contract wallets say, from an earlier round: verify once, ask the contracts about all of
    /// [`Outcome::contract_questions`], and verify again with the answers. Without answer a check is undecided.
    pub contract_answers: &'a ContractAnswers<'a>,
    /// Who is watching.
    pub progress: &'a dyn Progress,
}

impl Options<'static> {
    /// Everything in this scope from the beginning, with modes as charon leaves them, no answers of contracts and nobody
    /// watching.
    pub fn new(scope: Scope) -> Self {
        Self {
            scope,
            modes: Modes::AsCharonLeavesThem,
            proved_keystores: &|_| false,
            contract_answers: &|_| None,
            progress: &NoProgress,
        }
    }
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("scope", &self.scope)
            .field("modes", &self.modes)
            .finish_non_exhaustive()
    }
}

/// Proof that a whole data directory passed every applicable check. Only this module can build one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    files: Vec<FileDigest>,
    cluster: Cluster,
    config_hash: ConfigHash,
    definition: Definition,
    node: NodeIndex,
    keystore_digests: Vec<[u8; 32]>,
    contract_signatures: Vec<[u8; 32]>,
}

impl Verified {
    /// The files vouched for: everything that was given as a file, secrets included.
    pub fn files(&self) -> &[FileDigest] {
        &self.files
    }

    /// The cluster of the lock.
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Hash of the terms.
    pub const fn config_hash(&self) -> ConfigHash {
        self.config_hash
    }

    /// Hash of terms and signatures.
    pub const fn definition_hash(&self) -> DefinitionHash {
        self.cluster.definition_hash()
    }

    /// Hash of the lock.
    pub const fn lock_hash(&self) -> LockHash {
        self.cluster.lock_hash()
    }

    /// The definition in the lock.
    pub const fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Whose directory it is.
    pub const fn node_index(&self) -> NodeIndex {
        self.node
    }

    /// Number of operators, and so of receipts that open the gate.
    pub const fn operator_count(&self) -> usize {
        self.cluster.operator_count()
    }

    /// Number of keystores, and so of validators.
    pub const fn keystore_count(&self) -> usize {
        self.cluster.validator_count()
    }

    /// One digest per keystore, over file and password: what [`Options::proved_keystores`] is asked for the next time. They
    /// are not secret, but they belong to this directory alone.
    pub fn keystore_digests(&self) -> &[[u8; 32]] {
        &self.keystore_digests
    }

    /// The signatures that only a contract could confirm and did, by [`ContractQuestion::id`].
    pub fn contract_signatures(&self) -> &[[u8; 32]] {
        &self.contract_signatures
    }

    /// The deposit data files among the files, sorted by name; the same on every node.
    pub fn deposit_data(&self) -> Vec<FileDigest> {
        let mut deposit_data: Vec<FileDigest> = self
            .files
            .iter()
            .filter(|file| classify(&file.path) == Name::DepositData)
            .cloned()
            .collect();
        deposit_data.sort();
        deposit_data
    }
}

/// What a verification gives.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Everything that was found.
    pub report: Report,
    /// The proof, only if the verdict is a pass and the scope the whole data directory.
    pub verified: Option<Verified>,
    /// The cluster of the lock, if the verdict is a pass and the scope has a lock.
    pub cluster: Option<Cluster>,
    /// Which edit led from the previous lock to this one, if both were given and it could be recognised. That it went well is
    /// for the verdict to say.
    pub edit: Option<Edit>,
    /// Signatures that only contract wallets can confirm and nobody did. Each has a finding that could not tell.
    pub contract_questions: Vec<ContractQuestion>,
}

/// What the parts of a verification share.
struct Context<'a> {
    material: &'a Material,
    expectations: &'a Expectations,
    options: &'a Options<'a>,
    /// The definition that everything is measured against: that of the lock, or else the file.
    definition: &'a Definition,
    network: Option<Network>,
}

impl Context<'_> {
    /// What is deposited.
    fn token(&self) -> StakingToken {
        Network::token_of(self.definition.fork_version)
    }

    /// `operator 2 of 4 (0x…)`.
    fn operator(&self, node: NodeIndex) -> String {
        let count = self.definition.operators.len();
        match self.definition.operator(node) {
            Some(operator) if !operator.address.is_empty() => {
                format!("{} ({})", node.of(count), operator.address)
            }
            Some(_) | None => node.of(count).to_string(),
        }
    }
}

/// Verifies. See the module for what this means; it reads nothing but its arguments.
pub fn verify(material: &Material, expectations: &Expectations, options: &Options<'_>) -> Outcome {
    let mut ledger = Ledger::default();
    let mut counts = Counts::default();
    let scope = options.scope;

    let definition_file = if scope.has_definition_file() {
        material
            .definition
            .as_ref()
            .and_then(|file| read(file, Definition::parse, &mut ledger))
    } else {
        None
    };
    let lock = if scope.has_lock() {
        material
            .cluster_lock
            .as_ref()
            .and_then(|file| read(file, ClusterLock::parse, &mut ledger))
    } else {
        None
    };
    let deposit_files: Vec<(&NamedFile, DepositFile)> = if scope.has_deposit_files() {
        material
            .deposit_data
            .iter()
            .filter_map(|file| Some((file, read(file, DepositFile::parse, &mut ledger)?)))
            .collect()
    } else {
        Vec::new()
    };
    directory::check_presence(material, scope, &mut ledger);

    let definition = lock
        .as_ref()
        .map(|lock| &lock.definition)
        .or(definition_file.as_ref());
    let mut summary = Summary::default();
    if let Some(definition) = definition {
        ledger.ran(&[Check::DefinitionVersionKnown]);
        let context = Context {
            material,
            expectations,
            options,
            definition,
            network: Network::by_fork_version(definition.fork_version),
        };
        summary = check_everything(
            &context,
            definition_file.as_ref(),
            lock.as_ref(),
            &deposit_files,
            &mut counts,
            &mut ledger,
        );
    }
    ledger.ran(&[
        Check::FileFormat,
        Check::FileAmbiguous,
        Check::FileUnknownField,
        Check::FileMissingField,
    ]);

    let version = definition.map(|definition| definition.version);
    let (checks, findings) =
        ledger.finish(|check| version.is_some_and(|version| check.applies(version, scope)));
    let verdict = findings
        .iter()
        .map(|finding| Verdict::from(finding.weight))
        .max()
        .unwrap_or(Verdict::Pass);
    counts.checks_run = checks
        .iter()
        .filter(|line| line.result >= CheckResult::Passed)
        .count();

    let cluster = lock
        .as_ref()
        .filter(|_| verdict == Verdict::Pass)
        .and_then(|lock| summary.cluster(lock));
    let verified = lock
        .as_ref()
        .zip(cluster.as_ref())
        .filter(|_| scope == Scope::WholeDataDirectory)
        .and_then(|(lock, cluster)| summary.proof(material, lock, cluster, &counts));
    let report = Report {
        schema: SCHEMA,
        verdict,
        scope,
        definition_version: version.map(DefinitionVersion::text),
        cluster_name: definition
            .map(|definition| definition.name.clone())
            .filter(|name| !name.is_empty()),
        network: definition.map(network_name),
        payouts: definition.map(|definition| payouts(definition, lock.as_ref())),
        config_hash: summary.config_hash.map(|hash| hash.to_string()),
        definition_hash: summary.definition_hash.map(|hash| hash.to_string()),
        lock_hash: summary.lock_hash.map(|hash| hash.to_string()),
        node: summary
            .node
            .zip(definition)
            .and_then(|(node, definition)| directory::describe_node(node, definition)),
        counts,
        edit: summary.compared.report,
        checks,
        chain: None,
        findings,
    };
    let mut contract_questions = summary.contracts.open;
    contract_questions.extend(summary.compared.contract_questions);
    Outcome {
        report,
        verified,
        cluster,
        edit: summary.compared.edit,
        contract_questions,
    }
}

/// What a verification learned on the way and others need: recomputed, not as stated.
#[derive(Default)]
struct Summary {
    config_hash: Option<ConfigHash>,
    definition_hash: Option<DefinitionHash>,
    lock_hash: Option<LockHash>,
    enrs: Vec<Option<EnrPublicKey>>,
    node: Option<NodeIndex>,
    keystore_digests: Vec<[u8; 32]>,
    contracts: signatures::Contracts,
    compared: previous::Compared,
}

impl Summary {
    /// The cluster of a lock that passed.
    fn cluster(&self, lock: &ClusterLock) -> Option<Cluster> {
        let keys: Vec<EnrPublicKey> = self.enrs.iter().copied().collect::<Option<_>>()?;
        Some(Cluster::new(
            &lock.definition,
            &keys,
            lock.validators.len(),
            self.definition_hash?,
            self.lock_hash?,
        ))
    }

    fn proof(
        &self,
        material: &Material,
        lock: &ClusterLock,
        cluster: &Cluster,
        counts: &Counts,
    ) -> Option<Verified> {
        // Whatever the findings say, a proof without every keystore opened would be none.
        if counts.keystores != lock.validators.len() {
            return None;
        }
        Some(Verified {
            files: digests(material),
            cluster: cluster.clone(),
            config_hash: self.config_hash?,
            definition: lock.definition.clone(),
            node: self.node?,
            keystore_digests: self.keystore_digests.clone(),
            contract_signatures: self.contracts.confirmed.clone(),
        })
    }
}

/// Everything that is given as a file, with its digest.
fn digests(material: &Material) -> Vec<FileDigest> {
    let files: Vec<&NamedFile> = material
        .definition
        .iter()
        .chain(&material.cluster_lock)
        .chain(&material.enr_key)
        .chain(&material.keystores)
        .chain(&material.deposit_data)
        .collect();
    files.into_par_iter().map(NamedFile::digest).collect()
}

fn check_everything(
    context: &Context<'_>,
    definition_file: Option<&Definition>,
    lock: Option<&ClusterLock>,
    deposit_files: &[(&NamedFile, DepositFile)],
    counts: &mut Counts,
    ledger: &mut Ledger,
) -> Summary {
    let definition = context.definition;
    let scope = context.options.scope;
    counts.operators = definition.operators.len();
    counts.threshold = definition.threshold;
    counts.validators = definition.num_validators;

    let mut summary = Summary::default();
    (summary.config_hash, summary.definition_hash) =
        definition::check_hashes(context, definition_file, lock, ledger);
    summary.enrs = definition::check_terms(context, ledger);
    summary.contracts = signatures::check_definition_signatures(context, ledger);

    if let Some(lock) = lock {
        summary.lock_hash = cluster_lock::check_lock_hash(lock, ledger);
        let keys = cluster_lock::check_keys(context, lock, ledger);
        cluster_lock::check_aggregate(lock, &keys, summary.lock_hash, ledger);
        signatures::check_node_signatures(context, lock, &summary.enrs, summary.lock_hash, ledger);
        let mut batch = batch::Batch::default();
        cluster_lock::check_registrations(context, lock, &keys, &mut batch, ledger);
        deposits::check_lock_deposits(context, lock, &keys, &mut batch, ledger);
        if scope.has_deposit_files() {
            deposits::check_files(context, lock, &keys, deposit_files, &mut batch, ledger);
            counts.deposit_files = deposit_files.len();
        }
        counts.deposits = batch.check(context.options.progress, ledger);
    }
    if let Some(lock) = lock {
        summary.compared = previous::check(context, lock, ledger);
    }
    if scope.has_node() {
        summary.node = directory::check_enr_key(context, &summary.enrs, ledger);
        if let Some(lock) = lock {
            let opened = keystores::check(context, lock, summary.node, ledger);
            counts.keystores = opened.count;
            counts.keystores_proved_before = opened.proved_before;
            summary.keystore_digests = opened.digests;
        }
        directory::check_ownership(context, ledger);
    }
    summary
}

/// What the definition says; where it leaves the amounts to charon's release, those of the lock's first validator, to which
/// [`Check::LockDepositAmounts`] holds the others.
fn payouts(definition: &Definition, lock: Option<&ClusterLock>) -> Payouts {
    let mut payouts = Payouts::of(definition);
    if payouts.deposit_amounts_gwei.is_empty()
        && let Some(first) = lock.and_then(|lock| lock.validators.first())
    {
        payouts.deposit_amounts_gwei = first.deposits.iter().map(|it| it.amount.0).collect();
    }
    payouts
}

fn network_name(definition: &Definition) -> String {
    match Network::by_fork_version(definition.fork_version) {
        Some(network) => network.name.to_owned(),
        None => format!("0x{}", hex::encode(definition.fork_version)),
    }
}

/// Reads one file and notes what is odd about it.
fn read<T>(
    file: &NamedFile,
    parse: impl Fn(&[u8]) -> Result<Parsed<T>, ParseError>,
    ledger: &mut Ledger,
) -> Option<T> {
    let parsed = match parse(&file.bytes) {
        Ok(parsed) => parsed,
        Err(ParseError::Version { path, error }) => {
            ledger.could_not_tell(
                Check::DefinitionVersionKnown,
                &file.path,
                format!("{path}: {error}"),
                Check::DefinitionVersionKnown.proves(),
                Check::DefinitionVersionKnown.advice(),
            );
            return None;
        }
        Err(error) => {
            let advice = error.advice().unwrap_or(Check::FileFormat.advice());
            ledger.fail_with(
                Check::FileFormat,
                &file.path,
                error,
                "a complete file as charon writes it",
                advice,
            );
            return None;
        }
    };
    for remark in &parsed.remarks {
        match remark.kind {
            RemarkKind::DuplicateKey | RemarkKind::OtherCase(_) | RemarkKind::More(_) => ledger
                .fail(
                    Check::FileAmbiguous,
                    &file.path,
                    remark,
                    "every key once and in charon's spelling",
                ),
            RemarkKind::UnknownKey => ledger.could_not_tell(
                Check::FileUnknownField,
                &file.path,
                remark,
                "only keys of charon's format",
                Check::FileUnknownField.advice(),
            ),
            RemarkKind::MissingKey | RemarkKind::MoreMissingKeys(_) => ledger.note(
                Check::FileMissingField,
                &file.path,
                remark,
                "every key that charon writes",
                "",
            ),
        }
    }
    Some(parsed.value)
}
