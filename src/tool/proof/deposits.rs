//! `deposits`: whether it is safe to pay for a cluster's validators, in one verdict. Needs no key.

use crate::cli::DepositsArgs;
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::proof::checked;
use crate::proof::confirm::Given;
use crate::report;
use charon_files::cluster::{Gwei, Network, StakingToken};
use charon_files::wrong_file::Expected;
use charon_proof::deposits::{
    AddressLine, ClusterLine, Document, Examined, Verdict, Wanted, assign, judge,
};
use charon_proof::receipt::Statement;
use charon_proof::verify::{Material, Modes, NamedFile, Scope};

pub(crate) fn deposits(context: &Context, args: &DepositsArgs) -> Result<(), Failure> {
    let network = args.network.as_deref().map(network_of).transpose()?;
    let given = Given::<Statement>::read(context, &args.receipts)?;
    let read = |path: &std::path::PathBuf, expected: Expected| -> Result<NamedFile, Failure> {
        let mut file = checked::read_single(path, expected)?;
        // As it was given: the files of several clusters have the same name.
        file.path = path.display().to_string();
        Ok(file)
    };
    let mut locks = Vec::new();
    for path in &args.lock {
        locks.push(read(path, Expected::ClusterLock)?);
    }
    let mut files = Vec::new();
    for path in &args.deposit {
        files.push(read(path, Expected::DepositData)?);
    }
    let expectations = context.expectations();
    let mut clusters = Vec::new();
    for files in assign(locks, files) {
        let material = Material {
            cluster_lock: Some(files.lock.clone()),
            deposit_data: files.deposits.clone(),
            ..Material::default()
        };
        let scope = Scope::DepositsAgainstLock;
        let outcome =
            checked::verify_shown(context, &material, &expectations, scope, Modes::Private);
        clusters.push(Examined::of(files, outcome));
    }
    let profile = context.profile();
    let mut chains = Vec::new();
    for cluster in &clusters {
        let keys = cluster.keys(profile);
        chains.push(context.ask_chain(cluster.network(), &keys, true)?);
    }
    let wanted = Wanted { network, profile };
    let document = judge(&clusters, &given.lines, &given.broken, wanted, &chains);
    if document.verdict == Verdict::SafeToDeposit {
        return context.result(&text(&document), &document);
    }
    context.result_for_programs(&document)?;
    let mut failure = Failure::new(Kind::VerificationFailed, document.verdict.text())
        .with_findings(document.findings.clone());
    if document
        .findings
        .iter()
        .any(|it| it.check == "receipt-missing")
    {
        failure = failure.hint(
            "ask each operator for the line that `charon-dkg receipt` prints there, and give all of them with --receipts",
        );
    }
    Err(failure.hint("do not deposit, and do not upload anything, until this says that it is safe"))
}

fn network_of(name: &str) -> Result<Network, Failure> {
    Network::by_name(name).ok_or_else(|| {
        let names = Network::ALL.map(|network| network.name).join(", ");
        Failure::new(
            Kind::Usage,
            format!("--network {name}, expected one of {names}"),
        )
    })
}

fn text(document: &Document) -> String {
    let mut text = format!("{}\n", document.verdict.text());
    for cluster in &document.clusters {
        cluster_text(cluster, document.profile.as_deref(), &mut text);
    }
    // Clusters of two networks are never safe, so that all are paid in one token.
    if let [first, _, ..] = document.clusters.as_slice() {
        text.push_str(&format!(
            "{} in all, for {}\n",
            first.token.amount(Gwei(document.total_gwei)),
            report::count(pieces(document.clusters.len()), "cluster")
        ));
    }
    text.push_str(&report::findings_text(&document.findings));
    text
}

fn cluster_text(cluster: &ClusterLine, profile: Option<&str>, text: &mut String) {
    text.push_str(&format!("{}\n", report::clean(&cluster.lock)));
    let mut line = |name: &str, value: &str| {
        text.push_str(&format!("    {name:<16} {}\n", report::clean(value)));
    };
    if let Some(name) = &cluster.name {
        line("cluster", name);
    }
    line("network", cluster.network.as_deref().unwrap_or("unknown"));
    line(
        "receipts",
        &format!(
            "{} of {} operators have everything",
            cluster.confirmed, cluster.operators
        ),
    );
    line(
        "withdrawal",
        &format!(
            "{}, credentials {}",
            addresses(&cluster.withdrawal_addresses),
            cluster.credentials.unwrap_or("unknown")
        ),
    );
    line(
        "fee recipient",
        &addresses(&cluster.fee_recipient_addresses),
    );
    match profile {
        Some(profile) => line("addresses by", &format!("profile {profile}")),
        None => line(
            "addresses by",
            "nobody: compare them with what was agreed; --profile does that",
        ),
    }
    line(
        "pay",
        &format!(
            "{} for each of {}, {} in all",
            cluster.token.amount(Gwei(cluster.per_validator_gwei)),
            report::count(pieces(cluster.validators), "validator"),
            cluster.token.amount(Gwei(cluster.total_gwei))
        ),
    );
    if cluster.token != StakingToken::ETH {
        let token = cluster.token;
        line(
            "in the files",
            &format!(
                "{} is {} Gwei; 1eth in a name is {}",
                token.amount(Gwei(token.gwei)),
                token.gwei,
                token.amount(Gwei::ONE_ETH),
            ),
        );
    }
    for file in &cluster.files {
        let amount = Gwei(file.amount_gwei.unwrap_or_default());
        let amount = cluster.token.amount(amount);
        let name = if file.pay { "upload" } else { "do not upload" };
        line(
            name,
            &format!(
                "{} ({} of {amount})",
                file.file,
                report::count(pieces(file.deposits), "deposit")
            ),
        );
    }
    line(
        "where",
        cluster.upload.as_deref().unwrap_or(
            "the launchpad of the network, or the service that sends deposits for you; never twice",
        ),
    );
    match &cluster.chain {
        Some(chain) => line("chain", &chain.summary()),
        None => line(
            "chain",
            "not asked: --beacon-rpc tells whether someone has already deposited",
        ),
    }
    for (name, hash) in [
        ("definition_hash", &cluster.definition_hash),
        ("lock_hash", &cluster.lock_hash),
    ] {
        if let Some(hash) = hash {
            line(name, hash);
        }
    }
}

fn addresses(lines: &[AddressLine]) -> String {
    let texts: Vec<String> = lines
        .iter()
        .map(|line| {
            format!(
                "{} ({})",
                line.address,
                report::count(pieces(line.validators), "validator")
            )
        })
        .collect();
    texts.join(", ")
}

fn pieces(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
