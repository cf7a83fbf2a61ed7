//! Whether it is safe to pay for a cluster's validators: lock and deposit data files, the receipts of all operators, the
//! terms, and what the chain knows, in one verdict. Everything comes as values; no key and no secret is needed.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use charon_files::cluster::deposit_data::{deposit_file_name, sorted_unique_amounts};
use charon_files::cluster::names::FileDigest;
use charon_files::cluster::{
    ClusterLock, Definition, DepositFile, Gwei, LockHash, Network, StakingToken, ValidatorIndex,
};
use charon_files::finding::{Finding, Weight};
use charon_files::rehearsal::REHEARSAL_PREFIX;

use crate::chain::{Chain, Key, Pubkey, Standings};
use crate::confirm::{Confirmation, Own, confirm};
use crate::profile::{Held, Profile, fee_recipient_addresses, withdrawal_addresses};
use crate::receipt::{DepositFiles, Receipt};
use crate::verify::{NamedFile, Outcome, Verdict as Verified};

/// Name and version of the JSON form. The number changes when a field is removed or changes its meaning; new fields may
/// appear without.
pub const SCHEMA: &str = "charon-dkg.deposits/1";

/// The files of one cluster, as somebody without a node has them.
#[derive(Debug, Clone)]
pub struct ClusterFiles {
    /// Its lock.
    pub lock: NamedFile,
    /// Its deposit data files, by the paths that they were given with.
    pub deposits: Vec<NamedFile>,
}

/// Puts each deposit data file to the lock that has its first validator; what belongs to none goes to the first lock,
/// whose verification then says so.
pub fn assign(locks: Vec<NamedFile>, files: Vec<NamedFile>) -> Vec<ClusterFiles> {
    let mut owner: HashMap<Pubkey, usize> = HashMap::new();
    if locks.len() > 1 {
        for (position, lock) in locks.iter().enumerate() {
            let parsed = ClusterLock::parse(&lock.bytes);
            for validator in parsed.iter().flat_map(|parsed| &parsed.value.validators) {
                owner.entry(validator.public_key).or_insert(position);
            }
        }
    }
    let mut clusters: Vec<ClusterFiles> = locks
        .into_iter()
        .map(|lock| ClusterFiles {
            lock,
            deposits: Vec::new(),
        })
        .collect();
    for file in files {
        let place = if owner.is_empty() {
            0
        } else {
            let parsed = DepositFile::parse(&file.bytes).ok();
            let entries = parsed.iter().flat_map(|parsed| &parsed.value.entries);
            let mut owners = entries.filter_map(|entry| owner.get(&entry.data.pubkey));
            owners.next().copied().unwrap_or_default()
        };
        if let Some(cluster) = clusters.get_mut(place) {
            cluster.deposits.push(file);
        }
    }
    clusters
}

/// One cluster after verification, which reads what the verdict is about.
#[derive(Debug)]
pub struct Examined {
    files: ClusterFiles,
    outcome: Outcome,
    /// The lock's definition and public keys; nothing if the lock cannot be read.
    definition: Option<Definition>,
    pubkeys: Vec<Pubkey>,
    /// Amount and number of entries of every file that can be read.
    amounts: Vec<Option<(Gwei, usize)>>,
}

impl Examined {
    /// What verification in [`crate::verify::Scope::DepositsAgainstLock`] said of these files.
    pub fn of(files: ClusterFiles, outcome: Outcome) -> Self {
        let lock = ClusterLock::parse(&files.lock.bytes).ok();
        let lock = lock.map(|parsed| parsed.value);
        let amounts = files
            .deposits
            .iter()
            .map(|file| {
                let entries = DepositFile::parse(&file.bytes).ok()?.value.entries;
                Some((entries.first()?.data.amount, entries.len()))
            })
            .collect();
        Self {
            pubkeys: lock
                .iter()
                .flat_map(|lock| &lock.validators)
                .map(|it| it.public_key)
                .collect(),
            definition: lock.map(|lock| lock.definition),
            files,
            outcome,
            amounts,
        }
    }

    /// The network that its validators are on.
    pub fn network(&self) -> Option<Network> {
        Network::by_fork_version(self.definition.as_ref()?.fork_version)
    }

    /// What is deposited for them; see [`Network::token_of`].
    fn token(&self) -> StakingToken {
        let definition = self.definition.as_ref();
        definition.map_or(StakingToken::ETH, |it| Network::token_of(it.fork_version))
    }

    /// Its validators, as the chain is asked about them. `payment` is what each is to get.
    pub fn keys(&self, profile: Option<&Profile>) -> Vec<Key> {
        let payment = self.payment(profile).ok().map(|amounts| sum(&amounts));
        keys(self.definition.as_ref(), &self.pubkeys, payment)
    }

    /// The amounts of the files that are to be paid.
    fn payment(&self, profile: Option<&Profile>) -> Result<Vec<Gwei>, Box<Finding>> {
        let there: Vec<Gwei> = self
            .amounts
            .iter()
            .flatten()
            .map(|(amount, _)| *amount)
            .collect();
        let there = sorted_unique_amounts(&there);
        let definition = self.definition.as_ref();
        let compounding = definition.is_some_and(|definition| definition.compounding);
        let chosen = definition
            .and_then(|definition| definition.deposit_amounts.as_deref())
            .unwrap_or_default();
        let token = self.token();
        let wrong = |expected: String| {
            Box::new(fail(
                "deposits-sum",
                self.files.lock.path.clone(),
                format!(
                    "files for deposits of {}, which are {} for each validator",
                    token.amounts(&there, " and "),
                    token.amount(sum(&there))
                ),
                expected,
                "give every deposit data file of the cluster with --deposit; if that is all of them, do not deposit: charon writes one file for each different amount, and these do not add up",
            ))
        };
        if let Some(profile) = profile {
            let wanted = profile.deposits();
            if wanted.iter().all(|amount| there.contains(amount)) {
                return Ok(wanted.to_vec());
            }
            return Err(wrong(format!(
                "{}, by profile {}",
                token.amounts(wanted, " and "),
                profile.name()
            )));
        }
        let total = sum(&there);
        // charon's own list has one file for each way to pay, unless the coordinator chose the amounts.
        let has_full = there.contains(&Gwei::FULL);
        if has_full && (!compounding || chosen.is_empty()) {
            return Ok(vec![Gwei::FULL]);
        }
        if compounding && (Gwei::FULL..=Gwei::MAX_COMPOUNDING).contains(&total) {
            return Ok(there);
        }
        if !compounding && total == Gwei::FULL {
            return Ok(there);
        }
        Err(wrong(if compounding {
            token.amounts(&[Gwei::FULL, Gwei::MAX_COMPOUNDING], " to ")
        } else {
            token.amount(Gwei::FULL).to_string()
        }))
    }
}

/// The validators of a lock, as the chain is asked about them: nothing is to be paid.
pub fn keys_of_lock(lock: &ClusterLock) -> Vec<Key> {
    let pubkeys: Vec<Pubkey> = lock.validators.iter().map(|it| it.public_key).collect();
    keys(Some(&lock.definition), &pubkeys, None)
}

fn keys(definition: Option<&Definition>, pubkeys: &[Pubkey], payment: Option<Gwei>) -> Vec<Key> {
    let Some(definition) = definition else {
        return Vec::new();
    };
    pubkeys
        .iter()
        .enumerate()
        .map(|(position, pubkey)| Key {
            pubkey: *pubkey,
            name: format!("validator {position}"),
            credentials: definition.withdrawal_credentials(ValidatorIndex::new(position)),
            payment,
            fork_version: definition.fork_version,
        })
        .collect()
}

fn sum(amounts: &[Gwei]) -> Gwei {
    Gwei(amounts.iter().fold(0, |sum, it| sum.saturating_add(it.0)))
}

fn fail(
    check: &'static str,
    subject: String,
    seen: String,
    expected: String,
    advice: &str,
) -> Finding {
    Finding {
        check,
        weight: Weight::Fail,
        subject,
        seen,
        expected,
        advice: advice.to_owned(),
    }
}

/// What the funder wants it to be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// The network that is to be paid on.
    pub network: Option<Network>,
    /// Whose protocol the validators are for.
    pub profile: Option<&'a Profile>,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything was proved, and nothing speaks against it.
    SafeToDeposit,
    /// Nothing is wrong, but something could not be checked.
    CouldNotTell,
    /// Something is wrong.
    NotSafe,
}

impl Verdict {
    /// For people.
    pub const fn text(self) -> &'static str {
        match self {
            Verdict::SafeToDeposit => "SAFE TO DEPOSIT",
            Verdict::CouldNotTell => "COULD NOT TELL whether it is safe to deposit",
            Verdict::NotSafe => "NOT SAFE TO DEPOSIT",
        }
    }
}

/// An address and how many validators have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AddressLine {
    /// As the definition writes it.
    pub address: String,
    /// How many validators have it.
    pub validators: usize,
}

/// A deposit data file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileLine {
    /// As it was given.
    pub file: String,
    /// What each of its deposits is of, in Gwei; `null` if it cannot be read.
    pub amount_gwei: Option<u64>,
    /// How many deposits there are in it.
    pub deposits: usize,
    /// Whether it is to be paid, or uploaded.
    pub pay: bool,
}

/// One cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClusterLine {
    /// The lock, as it was given.
    pub lock: String,
    /// Cosmetic name.
    pub name: Option<String>,
    /// charon's name of the network, or the fork version of an unknown one.
    pub network: Option<String>,
    /// Recomputed hash of the lock.
    pub lock_hash: Option<String>,
    /// Recomputed hash of terms and signatures.
    pub definition_hash: Option<String>,
    /// Number of operators.
    pub operators: usize,
    /// How many of them have a valid receipt for these files.
    pub confirmed: usize,
    /// Number of validators.
    pub validators: usize,
    /// Type of the withdrawal credentials: `0x01` or `0x02`.
    pub credentials: Option<&'static str>,
    /// Who receives the stake.
    pub withdrawal_addresses: Vec<AddressLine>,
    /// Who receives priority fees.
    pub fee_recipient_addresses: Vec<AddressLine>,
    /// The deposit data files.
    pub files: Vec<FileLine>,
    /// What is paid, and how many Gwei are one of it; ETH where the network is not known.
    pub token: StakingToken,
    /// What each validator gets, in Gwei.
    pub per_validator_gwei: u64,
    /// What all of them get, in Gwei.
    pub total_gwei: u64,
    /// Where the files go, in words.
    pub upload: Option<String>,
    /// What the chain knows; `null` if nobody was asked.
    pub chain: Option<Standings>,
}

/// The verdict and everything that it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The answer.
    pub verdict: Verdict,
    /// The profile that everything was measured by.
    pub profile: Option<String>,
    /// The clusters, in the order of their locks.
    pub clusters: Vec<ClusterLine>,
    /// What all validators of all clusters get, in Gwei.
    pub total_gwei: u64,
    /// All findings, the most serious first.
    pub findings: Vec<Finding>,
}

/// Weighs everything. `chains` has what the chain said about each cluster, in their order, if a node was asked; `broken`
/// is what looked like receipts but is not.
pub fn judge(
    clusters: &[Examined],
    receipts: &[Receipt],
    broken: &[Finding],
    wanted: Wanted<'_>,
    chains: &[Option<Chain>],
) -> Document {
    let mut findings: Vec<Finding> = broken.to_vec();
    if clusters.is_empty() {
        findings.push(fail(
            "deposits-lock",
            "the cluster lock".to_owned(),
            "none".to_owned(),
            "at least one".to_owned(),
            "name it with --lock",
        ));
    }
    let locks: Vec<LockHash> = clusters
        .iter()
        .filter_map(|it| Some(it.outcome.cluster.as_ref()?.lock_hash()))
        .collect();
    let mut all_proved = !clusters.is_empty();
    let mut lines = Vec::new();
    for (position, cluster) in clusters.iter().enumerate() {
        let mut own: Vec<Finding> = cluster.outcome.report.findings.clone();
        let confirmation = cluster.outcome.cluster.as_ref().map(|verified| {
            let here: Vec<Receipt> = receipts
                .iter()
                .filter(|receipt| {
                    let hash = receipt.statement().lock_hash;
                    hash == verified.lock_hash() || !locks.contains(&hash)
                })
                .cloned()
                .collect();
            let (confirmation, others) = confirmed(cluster, verified, &here);
            own.extend(confirmation.findings());
            own.extend(others);
            confirmation
        });
        own.extend(terms(cluster, wanted));
        let payment = match cluster.payment(wanted.profile) {
            Ok(payment) => payment,
            Err(finding) => {
                own.push(*finding);
                Vec::new()
            }
        };
        own.extend(files_twice(cluster));
        let standings = chains.get(position).and_then(Option::as_ref).map(|chain| {
            let (standings, found) = chain.judge(&cluster.keys(wanted.profile));
            own.extend(found);
            standings
        });
        let is_proved = cluster.outcome.report.verdict == Verified::Pass
            && confirmation.as_ref().is_some_and(Confirmation::is_complete)
            && !payment.is_empty();
        all_proved &= is_proved;
        if clusters.len() > 1 {
            for finding in &mut own {
                finding.subject = format!("{}: {}", cluster.files.lock.path, finding.subject);
            }
        }
        findings.extend(own);
        lines.push(line(
            cluster,
            confirmation.as_ref(),
            &payment,
            wanted,
            standings,
        ));
    }
    findings.extend(clusters_together(clusters));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
    let heaviest = findings.iter().map(|finding| finding.weight).max();
    let verdict = match heaviest {
        Some(Weight::Fail) => Verdict::NotSafe,
        Some(Weight::CouldNotTell) => Verdict::CouldNotTell,
        Some(Weight::Note) | None if all_proved => Verdict::SafeToDeposit,
        Some(Weight::Note) | None => Verdict::CouldNotTell,
    };
    Document {
        schema: SCHEMA,
        verdict,
        profile: wanted.profile.map(|profile| profile.name().to_owned()),
        total_gwei: lines
            .iter()
            .fold(0, |sum, line| sum.saturating_add(line.total_gwei)),
        clusters: lines,
        findings,
    }
}

/// Who has these files, and a note if the funder has only some of the operators'.
fn confirmed(
    cluster: &Examined,
    verified: &crate::cluster::Cluster,
    receipts: &[Receipt],
) -> (Confirmation, Option<Finding>) {
    // By the name that charon gives them: a recipient may have renamed the file.
    let files: Vec<FileDigest> = cluster
        .files
        .deposits
        .iter()
        .zip(&cluster.amounts)
        .map(|(file, amount)| {
            let name = amount.map_or_else(|| file.path.clone(), |(it, _)| deposit_file_name(it));
            FileDigest::of(name, &file.bytes)
        })
        .collect();
    let own = Own::of_files(&files);
    let confirmation = confirm(verified, receipts, Some(&own));
    let ours = DepositFiles::of(&files).count();
    let is_part = confirmation
        .valid()
        .any(|receipt| receipt.statement().deposit_files.count() > ours);
    let note = is_part.then(|| Finding {
        check: "deposits-files",
        weight: Weight::Note,
        subject: cluster.files.lock.path.clone(),
        seen: format!("{ours} of the operators' deposit data files"),
        expected: "each is one that all operators have".to_owned(),
        advice: String::new(),
    });
    (confirmation, note)
}

fn terms(cluster: &Examined, wanted: Wanted<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(definition) = &cluster.definition else {
        return findings;
    };
    if definition.name.starts_with(REHEARSAL_PREFIX) {
        findings.push(fail(
            "deposits-rehearsal",
            cluster.files.lock.path.clone(),
            "the cluster of a rehearsal".to_owned(),
            "a cluster whose keys were not dealt from one place".to_owned(),
            "never deposit for these keys: they were thrown away",
        ));
    }
    if let Some(network) = wanted.network
        && network.fork_version != definition.fork_version
    {
        let seen = cluster.network().map_or_else(
            || format!("fork version 0x{}", hex::encode(definition.fork_version)),
            |network| format!("network {network}"),
        );
        findings.push(fail(
            "deposits-network",
            cluster.files.lock.path.clone(),
            seen,
            format!("{network}, as --network says"),
            "do not deposit: find out which network is meant",
        ));
    }
    findings
}

/// The same amount in two files would be paid twice.
fn files_twice(cluster: &Examined) -> Vec<Finding> {
    let mut seen: HashMap<Gwei, &str> = HashMap::new();
    let mut findings = Vec::new();
    for (file, amount) in cluster.files.deposits.iter().zip(&cluster.amounts) {
        let Some((amount, _)) = amount else {
            continue;
        };
        if let Some(other) = seen.insert(*amount, &file.path) {
            findings.push(fail(
                "deposits-key-twice",
                file.path.clone(),
                format!(
                    "deposits of {} for the same validators as in {other}",
                    cluster.token().amount(*amount)
                ),
                "each public key and amount once".to_owned(),
                "leave one of the files out: both would be paid",
            ));
        }
    }
    findings
}

/// A validator in two clusters, and clusters of two networks.
fn clusters_together(clusters: &[Examined]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut owner: HashMap<&Pubkey, usize> = HashMap::new();
    let mut told: HashSet<(usize, usize)> = HashSet::new();
    for (position, cluster) in clusters.iter().enumerate() {
        for pubkey in &cluster.pubkeys {
            let other = *owner.entry(pubkey).or_insert(position);
            if other != position && told.insert((other, position)) {
                let name = |at: usize| {
                    clusters
                        .get(at)
                        .map_or("", |it| it.files.lock.path.as_str())
                };
                findings.push(fail(
                    "deposits-key-twice",
                    name(position).to_owned(),
                    format!(
                        "0x{}, which is a validator of {} too",
                        hex::encode(pubkey),
                        name(other)
                    ),
                    "each public key in one cluster only".to_owned(),
                    "give each lock once; if they are of two ceremonies, do not deposit for either",
                ));
            }
        }
    }
    let mut networks: Vec<&str> = clusters
        .iter()
        .filter_map(|cluster| Some(cluster.network()?.name))
        .collect();
    networks.dedup();
    if networks.len() > 1 {
        findings.push(fail(
            "deposits-network",
            "the cluster locks".to_owned(),
            format!("clusters on {}", networks.join(", ")),
            "one network".to_owned(),
            "run this once for each network",
        ));
    }
    findings
}

fn line(
    cluster: &Examined,
    confirmation: Option<&Confirmation>,
    payment: &[Gwei],
    wanted: Wanted<'_>,
    chain: Option<Standings>,
) -> ClusterLine {
    let report = &cluster.outcome.report;
    let definition = cluster.definition.as_ref();
    let addresses = |of: fn(&Definition) -> Vec<(String, Held)>| {
        let found = definition.map(of).unwrap_or_default();
        found
            .into_iter()
            .map(|(address, held)| AddressLine {
                address,
                validators: held.count,
            })
            .collect()
    };
    let per_validator = sum(payment);
    let validators = u64::try_from(cluster.pubkeys.len()).unwrap_or(u64::MAX);
    let on = wanted.profile.zip(cluster.network());
    let on = on.and_then(|(profile, network)| profile.on(network).cloned());
    ClusterLine {
        lock: cluster.files.lock.path.clone(),
        name: report.cluster_name.clone(),
        network: report.network.clone(),
        lock_hash: report.lock_hash.clone(),
        definition_hash: report.definition_hash.clone(),
        operators: report.counts.operators,
        confirmed: confirmation.map_or(0, Confirmation::valid_count),
        validators: cluster.pubkeys.len(),
        credentials: definition.map(|it| if it.compounding { "0x02" } else { "0x01" }),
        withdrawal_addresses: addresses(withdrawal_addresses),
        fee_recipient_addresses: addresses(fee_recipient_addresses),
        files: cluster
            .files
            .deposits
            .iter()
            .zip(&cluster.amounts)
            .map(|(file, amount)| FileLine {
                file: file.path.clone(),
                amount_gwei: amount.map(|(amount, _)| amount.0),
                deposits: amount.map_or(0, |(_, entries)| entries),
                pay: amount.is_some_and(|(amount, _)| payment.contains(&amount)),
            })
            .collect(),
        token: cluster.token(),
        per_validator_gwei: per_validator.0,
        total_gwei: per_validator.0.saturating_mul(validators),
        upload: on.and_then(|on| on.upload),
        chain,
    }
}
