//! A cluster definition from ENRs, addresses and amounts, for a coordinator without a launchpad.
//!
//! Nobody signs it (charon `create dkg` without `--publish`, docs/charon-files.md §2), so operators compare its hash
//! by another way before they run it. What charon, or a later check of ours, would stumble over is refused here.

use crate::ceremony::pins;
use charon_files::cluster::definition::{
    MAX_DEPOSIT_AMOUNTS, MAX_OPERATORS, MAX_VALIDATORS, MIN_OPERATORS, default_threshold,
};
use charon_files::cluster::deposit_data::{check_chosen_amounts, repeated_to_too_little};
use charon_files::cluster::version::CharonVersion;
use charon_files::cluster::{
    Address, AddressPair, Creator, Definition, DefinitionVersion, Gwei, Network, Operator,
    StakingToken, ValidatorAddresses,
};
use charon_files::finding::{Finding, Weight};
use charon_files::rehearsal::REHEARSAL_PREFIX;
use charon_proof::profile::Profile;
use charon_proof::verify::{self, Expectations, Material, NamedFile, Options, Scope};

/// The format written: the newest that a stable charon release takes.
pub const VERSION: DefinitionVersion = DefinitionVersion::V1_10;

/// Gas limit of the builder registrations if none is chosen (charon `cmd/createdkg.go` from v1.5.0).
pub const DEFAULT_TARGET_GAS_LIMIT: u64 = 60_000_000;

/// Networks that a new cluster can be made on. charon still knows goerli and holesky, which no longer run.
pub const NETWORKS: [&str; 5] = ["mainnet", "gnosis", "hoodi", "sepolia", "chiado"];

/// The only consensus protocol (charon `core/consensus/protocols`).
const CONSENSUS_PROTOCOLS: [&str; 2] = ["", "qbft"];

/// What the operators agreed on.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Cosmetic name, at most 256 bytes; may be empty.
    pub name: String,
    /// The ENR of each operator as `enr` printed it, in the order of the nodes.
    pub enrs: Vec<String>,
    /// Number of validators.
    pub num_validators: u64,
    /// Nodes whose shares make a signature; `None` for charon's default, two thirds rounded up.
    pub threshold: Option<u64>,
    /// Who receives the stake: one address for all validators, or one for each. EIP-55 spelling.
    pub withdrawal_addresses: Vec<String>,
    /// Who receives priority fees, likewise.
    pub fee_recipient_addresses: Vec<String>,
    /// charon's name of the network.
    pub network: String,
    /// Amounts of the deposits of each validator; none for charon's default.
    pub deposit_amounts: Vec<Gwei>,
    /// Withdrawal credentials of type 0x02, with which rewards compound (EIP-7251).
    pub compounding: bool,
    /// Gas limit of the builder registrations.
    pub target_gas_limit: u64,
    /// Preferred consensus protocol; may be empty.
    pub consensus_protocol: String,
    /// `default`, `frost` or `pedersen`.
    pub dkg_algorithm: String,
    /// What the protocol asks for that the cluster is made for.
    pub profile: Option<Profile>,
}

impl Terms {
    /// What was left open as the profile has it on the network.
    fn filled(&self) -> Self {
        let mut terms = self.clone();
        let Some(profile) = &self.profile else {
            return terms;
        };
        if let Some(on) = Network::by_name(&self.network).and_then(|network| profile.on(network)) {
            for (addresses, of_profile) in [
                (&mut terms.withdrawal_addresses, on.withdrawal_address),
                (&mut terms.fee_recipient_addresses, on.fee_recipient_address),
            ] {
                if addresses.is_empty() {
                    addresses.push(of_profile.to_string());
                }
            }
        }
        if terms.deposit_amounts.is_empty() {
            terms.deposit_amounts = profile.deposits().to_vec();
        }
        terms.compounding |= profile.is_compounding();
        terms
    }
}

/// What makes two definitions of the same terms two ceremonies.
#[derive(Debug, Clone)]
pub struct Birth {
    /// 16 bytes of the system's randomness.
    pub random: [u8; 16],
    /// When it was made, RFC 3339.
    pub timestamp: String,
}

/// A definition that passed every check of `verify`.
#[derive(Debug, Clone)]
pub struct Defined {
    /// With its hashes.
    pub definition: Definition,
    /// The release that will run it.
    pub charon: CharonVersion,
    /// Worth knowing before it is sent.
    pub notes: Vec<Finding>,
}

/// Makes the definition.
///
/// # Errors
/// Everything that speaks against the terms, at once.
pub fn define(terms: &Terms, birth: &Birth) -> Result<Defined, Vec<Finding>> {
    let terms = &terms.filled();
    let charon = pins::choose(VERSION, None, false).map_err(|error| {
        vec![Finding::fail(
            "define-pin",
            "the definition",
            error.to_string(),
            "a stable release",
        )]
    })?;
    let mut problems = Vec::new();
    check_sizes(terms, &mut problems);
    let network = check_network(terms, &charon, &mut problems);
    check_choices(terms, &mut problems);
    for (what, addresses) in [
        ("withdrawal address", &terms.withdrawal_addresses),
        ("fee recipient address", &terms.fee_recipient_addresses),
    ] {
        check_addresses(what, addresses, terms.num_validators, &mut problems);
    }
    // Beyond the limits of the format there is nothing to verify.
    let definition = draft(terms, birth, network).with_hashes();
    let definition = match definition {
        Ok(definition) => definition,
        Err(error) => {
            problems.push(Finding::fail(
                "define-format",
                "the definition",
                error.to_string(),
                "what the format can hold",
            ));
            return Err(problems);
        }
    };
    let mut notes = Vec::new();
    let file = NamedFile::new("cluster-definition.json", definition.to_json().into_bytes());
    let material = Material {
        definition: Some(file),
        ..Material::default()
    };
    let options = Options::new(Scope::DefinitionOnly);
    let expectations = Expectations {
        profile: terms.profile.clone(),
        ..Expectations::default()
    };
    let outcome = verify::verify(&material, &expectations, &options);
    for finding in outcome.report.findings {
        // Told above: of no operators no threshold is right.
        let of_operators = ["operator-count", "threshold-range"];
        if terms.enrs.is_empty() && of_operators.contains(&finding.check) {
            continue;
        }
        match finding.weight {
            Weight::Note => notes.push(finding),
            // Its usual advice is to ask the creator, who reads this.
            Weight::CouldNotTell | Weight::Fail => problems.push(Finding {
                advice: "correct that and run this command again".to_owned(),
                ..finding
            }),
        }
    }
    if problems.is_empty() {
        Ok(Defined {
            definition,
            charon,
            notes,
        })
    } else {
        Err(problems)
    }
}

fn draft(terms: &Terms, birth: &Birth, network: Option<Network>) -> Definition {
    let operators = terms.enrs.len();
    // What is no address is told already, and must not hide the rest: any other stands in for it.
    let of = |addresses: &[String], index: usize| {
        let one = addresses.get(index).or_else(|| addresses.first());
        one.filter(|text| Address::parse(text).is_some())
            .cloned()
            .unwrap_or_else(|| Address::new([1; 20]).to_string())
    };
    let validators = usize::try_from(terms.num_validators)
        .unwrap_or(usize::MAX)
        .min(MAX_VALIDATORS);
    let addresses = (0..validators).map(|index| AddressPair {
        fee_recipient_address: of(&terms.fee_recipient_addresses, index),
        withdrawal_address: of(&terms.withdrawal_addresses, index),
    });
    let uuid = uuid::Builder::from_random_bytes(birth.random).into_uuid();
    Definition {
        name: terms.name.clone(),
        creator: Creator::default(),
        operators: terms
            .enrs
            .iter()
            .map(|enr| Operator {
                enr: enr.clone(),
                ..Operator::default()
            })
            .collect(),
        uuid: uuid.hyphenated().to_string().to_uppercase(),
        version: VERSION,
        timestamp: birth.timestamp.clone(),
        num_validators: terms.num_validators,
        threshold: terms
            .threshold
            .unwrap_or(default_threshold(operators) as u64),
        validators: ValidatorAddresses::PerValidator(addresses.collect()),
        dkg_algorithm: terms.dkg_algorithm.clone(),
        fork_version: network.map_or([0; 4], |network| network.fork_version),
        // Amounts that charon refuses to read are told already, and would hide the rest.
        deposit_amounts: (!terms.deposit_amounts.is_empty() && check_amounts(terms).is_ok())
            .then(|| terms.deposit_amounts.clone()),
        consensus_protocol: terms.consensus_protocol.clone(),
        target_gas_limit: terms.target_gas_limit,
        compounding: terms.compounding,
        config_hash: None,
        definition_hash: None,
    }
}

fn check_sizes(terms: &Terms, problems: &mut Vec<Finding>) {
    let operators = terms.enrs.len();
    if !(MIN_OPERATORS..=MAX_OPERATORS).contains(&operators) {
        problems.push(Finding::fail(
            "define-operators",
            "operators",
            operators.to_string(),
            format!("{MIN_OPERATORS} to {MAX_OPERATORS} ENRs"),
        ));
    }
    let most = u64::try_from(MAX_VALIDATORS).unwrap_or(u64::MAX);
    if terms.num_validators > most {
        problems.push(Finding::fail(
            "define-validators",
            "validators",
            terms.num_validators.to_string(),
            format!("1 to {most}"),
        ));
    }
}

fn check_network(
    terms: &Terms,
    charon: &CharonVersion,
    problems: &mut Vec<Finding>,
) -> Option<Network> {
    let offered = NETWORKS.contains(&terms.network.as_str());
    let network = Network::by_name(&terms.network)
        .filter(|network| offered && pins::knows_network(charon, network));
    if network.is_none() {
        problems.push(Finding::fail(
            "define-network",
            "network",
            &terms.network,
            format!("one of {}", NETWORKS.join(", ")),
        ));
    }
    network
}

fn check_choices(terms: &Terms, problems: &mut Vec<Finding>) {
    if let Err((seen, expected)) = check_amounts(terms) {
        problems.push(Finding::fail(
            "define-deposit-amounts",
            "deposit amounts",
            seen,
            expected,
        ));
    }
    if !["default", "frost", "pedersen"].contains(&terms.dkg_algorithm.as_str()) {
        problems.push(Finding::fail(
            "define-dkg-algorithm",
            "DKG algorithm",
            &terms.dkg_algorithm,
            "default, frost or pedersen",
        ));
    }
    if !CONSENSUS_PROTOCOLS.contains(&terms.consensus_protocol.as_str()) {
        problems.push(Finding::fail(
            "define-consensus-protocol",
            "consensus protocol",
            &terms.consensus_protocol,
            "qbft, or none",
        ));
    }
    // charon refuses zero at loading (`cluster/definition.go`).
    if terms.target_gas_limit == 0 {
        problems.push(Finding::fail(
            "define-target-gas-limit",
            "target gas limit",
            "0",
            format!("{DEFAULT_TARGET_GAS_LIMIT}, unless you know better"),
        ));
    }
    if terms.name.starts_with(REHEARSAL_PREFIX) {
        problems.push(Finding::fail(
            "define-name",
            "name",
            &terms.name,
            format!("no name that begins with {REHEARSAL_PREFIX}, which marks throw-away keys"),
        ));
    }
}

/// What was seen and expected, where charon would not take the amounts.
fn check_amounts(terms: &Terms) -> Result<(), (String, String)> {
    let count = terms.deposit_amounts.len();
    if count > MAX_DEPOSIT_AMOUNTS {
        return Err((
            format!("{count} amounts"),
            format!("at most {MAX_DEPOSIT_AMOUNTS}"),
        ));
    }
    let network = Network::by_name(&terms.network);
    let token = network.map_or(StakingToken::ETH, |network| network.token());
    check_chosen_amounts(&terms.deposit_amounts, terms.compounding)
        .map_err(|error| (error.seen(token), error.expected(token)))?;
    match repeated_amounts(&terms.deposit_amounts, token) {
        Some(told) => Err(told),
        None => Ok(()),
    }
}

/// What was seen and expected, where charon takes the amounts and makes too few deposits of them.
fn repeated_amounts(amounts: &[Gwei], token: StakingToken) -> Option<(String, String)> {
    let sum = repeated_to_too_little(amounts)?;
    Some((
        format!(
            "{}, of which charon makes one deposit for each different amount, {} for each validator",
            token.amounts(amounts, ", "),
            token.amount(sum)
        ),
        format!(
            "different amounts of at least {} in all",
            token.amount(Gwei::FULL)
        ),
    ))
}

/// The same of a definition that somebody else made, which charon runs.
pub(crate) fn repeated_amounts_finding(definition: &Definition) -> Option<Finding> {
    let amounts = definition.deposit_amounts.as_deref().unwrap_or_default();
    let token = Network::token_of(definition.fork_version);
    let (seen, expected) = repeated_amounts(amounts, token)?;
    Some(Finding {
        check: "deposit-amounts-repeated",
        weight: Weight::Note,
        subject: "deposit amounts".to_owned(),
        seen,
        expected,
        advice: "no validator becomes active with that: ask the coordinator for another definition before anyone runs this one"
            .to_owned(),
    })
}

/// charon takes a withdrawal address in exactly its EIP-55 spelling (`cmd/createdkg.go`); we ask the same of both,
/// since only the spelling tells a typing error.
fn check_addresses(
    what: &str,
    addresses: &[String],
    num_validators: u64,
    problems: &mut Vec<Finding>,
) {
    let count = addresses.len();
    if count != 1 && u64::try_from(count).ok() != Some(num_validators) {
        problems.push(Finding::fail(
            "define-address-count",
            what,
            format!("{count} for {num_validators} validators"),
            "one for all, or one for each",
        ));
    }
    for (index, text) in addresses.iter().enumerate() {
        let subject = if count == 1 {
            what.to_owned()
        } else {
            format!("{what} {} of {count}", index + 1)
        };
        match Address::parse(text) {
            None => problems.push(Finding::fail(
                "define-address",
                subject,
                text,
                "0x and 40 hexadecimal digits",
            )),
            Some(address) if !address.is_checksummed(text) => {
                let mut finding = Finding::fail(
                    "define-address-spelling",
                    subject,
                    text,
                    format!("{address}, if the digits are right"),
                );
                finding.advice =
                    "compare every digit with where the address comes from, then give it in this spelling"
                        .to_owned();
                problems.push(finding);
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use charon_files::keys::k1::EnrKey;

    fn enr(seed: u8) -> String {
        let key = EnrKey::from_secret_bytes(&[seed; 32]).unwrap();
        key.enr().text().to_owned()
    }

    fn address(seed: u8) -> String {
        Address::new([seed; 20]).to_string()
    }

    fn terms() -> Terms {
        Terms {
            name: "four by two".to_owned(),
            enrs: (1..=4).map(enr).collect(),
            num_validators: 2,
            threshold: None,
            withdrawal_addresses: vec![address(0xa1)],
            fee_recipient_addresses: vec![address(0xb1), address(0xb2)],
            network: "mainnet".to_owned(),
            deposit_amounts: Vec::new(),
            compounding: false,
            target_gas_limit: DEFAULT_TARGET_GAS_LIMIT,
            consensus_protocol: String::new(),
            dkg_algorithm: "default".to_owned(),
            profile: None,
        }
    }

    fn birth() -> Birth {
        Birth {
            random: [7; 16],
            timestamp: "2026-01-02T03:04:05Z".to_owned(),
        }
    }

    fn checks(terms: &Terms) -> Vec<&'static str> {
        define(terms, &birth())
            .unwrap_err()
            .iter()
            .map(|problem| problem.check)
            .collect()
    }

    #[test]
    fn what_is_defined_says_what_was_agreed() {
        let made = define(&terms(), &birth()).unwrap();
        let read = Definition::parse(made.definition.to_json().as_bytes()).unwrap();
        assert!(read.remarks.is_empty());
        let read = read.value;
        assert_eq!(read, made.definition);
        assert_eq!(read.threshold, 3);
        assert_eq!(read.uuid, "07070707-0707-4707-8707-070707070707");
        assert_eq!(read.fork_version, [0; 4]);
        assert!(read.is_unsigned());
        for (node, operator) in read.nodes().zip(&read.operators) {
            assert_eq!(
                operator.enr,
                enr(u8::try_from(node.position()).unwrap() + 1)
            );
        }
        let pairs = match read.validators {
            ValidatorAddresses::PerValidator(pairs) => pairs,
            ValidatorAddresses::Shared(_) => Vec::new(),
        };
        let seen: Vec<_> = pairs
            .iter()
            .map(|pair| (&pair.withdrawal_address, &pair.fee_recipient_address))
            .collect();
        assert_eq!(
            seen,
            [
                (&address(0xa1), &address(0xb1)),
                (&address(0xa1), &address(0xb2))
            ]
        );
    }

    #[test]
    fn the_same_terms_are_another_ceremony_each_time() {
        let one = define(&terms(), &birth()).unwrap().definition;
        let other = Birth {
            random: [8; 16],
            ..birth()
        };
        let two = define(&terms(), &other).unwrap().definition;
        assert_ne!(one.definition_hash, two.definition_hash);
    }

    #[test]
    fn all_choices_reach_the_definition() {
        let chosen = Terms {
            threshold: Some(4),
            network: "hoodi".to_owned(),
            deposit_amounts: vec![Gwei::ONE_ETH, Gwei::from_eth(2000)],
            compounding: true,
            target_gas_limit: 36_000_000,
            consensus_protocol: "qbft".to_owned(),
            dkg_algorithm: "pedersen".to_owned(),
            ..terms()
        };
        let made = define(&chosen, &birth()).unwrap();
        let definition = &made.definition;
        assert_eq!(definition.threshold, 4);
        assert_eq!(definition.fork_version, [0x10, 0x00, 0x09, 0x10]);
        assert_eq!(
            definition.deposit_amounts.as_ref(),
            Some(&chosen.deposit_amounts)
        );
        assert!(definition.compounding);
        assert_eq!(definition.target_gas_limit, 36_000_000);
        assert_eq!(definition.consensus_protocol, "qbft");
        assert_eq!(definition.dkg_algorithm, "pedersen");
        // Another threshold than the default is said.
        assert!(
            made.notes
                .iter()
                .any(|note| note.check == "threshold-default")
        );
    }

    /// charon's own rule counts a repeated amount each time, and charon then makes one deposit of it.
    #[test]
    fn amounts_that_only_add_up_repeated_are_told() {
        let with = |amounts: &[u64]| Definition {
            deposit_amounts: Some(amounts.iter().map(|eth| Gwei::from_eth(*eth)).collect()),
            ..define(&terms(), &birth()).unwrap().definition
        };
        for (amounts, sum) in [
            (&[16, 16][..], Some("16 ETH for each validator")),
            (&[1; 32], Some("1 ETH for each validator")),
            (&[8, 16, 8], Some("24 ETH for each validator")),
            (&[1, 32, 1], None),
            (&[8, 24], None),
            (&[], None),
        ] {
            let found = repeated_amounts_finding(&with(amounts));
            assert_eq!(found.is_some(), sum.is_some(), "{amounts:?}");
            if let (Some(found), Some(sum)) = (found, sum) {
                assert!(found.seen.ends_with(sum), "{found:?}");
            }
        }
    }

    #[test]
    fn each_mistake_is_named() {
        let cases: Vec<(Terms, &str)> = vec![
            (
                Terms {
                    enrs: (1..=2).map(enr).collect(),
                    ..terms()
                },
                "define-operators",
            ),
            (
                Terms {
                    enrs: vec![enr(1), enr(2), enr(1), enr(3)],
                    ..terms()
                },
                "operator-enr-duplicate",
            ),
            (
                Terms {
                    enrs: vec![enr(1), enr(2), enr(3), enr(4)[..80].to_owned()],
                    ..terms()
                },
                "operator-enr",
            ),
            (
                Terms {
                    num_validators: 0,
                    ..terms()
                },
                "validator-count",
            ),
            (
                Terms {
                    num_validators: 65_537,
                    ..terms()
                },
                "define-validators",
            ),
            (
                Terms {
                    num_validators: 3,
                    ..terms()
                },
                "define-address-count",
            ),
            (
                Terms {
                    threshold: Some(5),
                    ..terms()
                },
                "threshold-range",
            ),
            (
                Terms {
                    threshold: Some(1),
                    ..terms()
                },
                "threshold-range",
            ),
            (
                Terms {
                    network: "goerli".to_owned(),
                    ..terms()
                },
                "define-network",
            ),
            (
                Terms {
                    withdrawal_addresses: vec![Address::ZERO.to_string()],
                    ..terms()
                },
                "withdrawal-address",
            ),
            (
                Terms {
                    withdrawal_addresses: vec![address(0xab).to_lowercase()],
                    ..terms()
                },
                "define-address-spelling",
            ),
            (
                Terms {
                    fee_recipient_addresses: vec!["vitalik.eth".to_owned()],
                    ..terms()
                },
                "define-address",
            ),
            (
                Terms {
                    deposit_amounts: vec![Gwei::from_eth(31)],
                    ..terms()
                },
                "define-deposit-amounts",
            ),
            (
                Terms {
                    deposit_amounts: vec![Gwei::from_eth(64)],
                    ..terms()
                },
                "define-deposit-amounts",
            ),
            (
                Terms {
                    deposit_amounts: vec![Gwei::from_eth(16); 2],
                    ..terms()
                },
                "define-deposit-amounts",
            ),
            (
                Terms {
                    target_gas_limit: 0,
                    ..terms()
                },
                "define-target-gas-limit",
            ),
            (
                Terms {
                    dkg_algorithm: "keycast".to_owned(),
                    ..terms()
                },
                "define-dkg-algorithm",
            ),
            (
                Terms {
                    consensus_protocol: "raft".to_owned(),
                    ..terms()
                },
                "define-consensus-protocol",
            ),
            (
                Terms {
                    name: "REHEARSAL of nothing".to_owned(),
                    ..terms()
                },
                "define-name",
            ),
            (
                Terms {
                    name: "x".repeat(257),
                    ..terms()
                },
                "define-format",
            ),
        ];
        for (terms, expected) in cases {
            let seen = checks(&terms);
            assert!(seen.contains(&expected), "{expected}: {seen:?}");
        }
    }

    #[test]
    fn without_any_enr_that_alone_is_said_of_operators() {
        let terms = Terms {
            enrs: Vec::new(),
            ..terms()
        };
        assert_eq!(checks(&terms), ["define-operators"]);
    }

    #[test]
    fn all_mistakes_are_named_at_once() {
        let terms = Terms {
            threshold: Some(9),
            network: "ropsten".to_owned(),
            withdrawal_addresses: vec!["0x1".to_owned()],
            deposit_amounts: vec![Gwei(1)],
            ..terms()
        };
        let seen = checks(&terms);
        for expected in [
            "define-network",
            "define-address",
            "define-deposit-amounts",
            "threshold-range",
        ] {
            assert!(seen.contains(&expected), "{expected}: {seen:?}");
        }
    }
}
