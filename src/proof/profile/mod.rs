//! What a staking protocol asks of a cluster's terms: addresses, kind of credentials and deposit amounts, by network.
//!
//! The profiles of this program are files in `src/proof/profile`, dated and with their sources, in the format that
//! `--profile-file` takes for other protocols; see `docs/deposits.md`. A profile judges a definition without any other
//! file, so that it can be asked before, during and after a ceremony.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use serde::Deserialize;
use toml::Spanned;

use charon_files::cluster::deposit_data::{check_chosen_amounts, sorted_unique_amounts};
use charon_files::cluster::{Address, Definition, Gwei, Network, StakingToken, ValidatorIndex};
use charon_files::finding::{Finding, Weight};

/// Largest profile that is read, in bytes.
pub const MAX_PROFILE_BYTES: usize = 64 << 10;

const SOURCES: [&str; 2] = [include_str!("lido.toml"), include_str!("lido-cm-v2.toml")];

/// The profiles of this program.
static BUILT_IN: LazyLock<Vec<Profile>> = LazyLock::new(|| {
    SOURCES
        .iter()
        .filter_map(|text| Profile::parse(text).ok())
        .collect()
});

/// The names that [`Profile::built_in`] knows.
pub const NAMES: [&str; 2] = ["lido", "lido-cm-v2"];

/// What a protocol asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    name: String,
    compounding: bool,
    deposits: Vec<Gwei>,
    networks: Vec<OnNetwork>,
}

/// The same on one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnNetwork {
    /// The network.
    pub network: Network,
    /// Who receives the stake of every validator.
    pub withdrawal_address: Address,
    /// Who receives the priority fees of every validator.
    pub fee_recipient_address: Address,
    /// Where to upload the deposit data file, in words.
    pub upload: Option<String>,
}

/// Why a profile cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileError {
    /// Counted from 1; `None` if it is about the whole file.
    pub line: Option<usize>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for ProfileError {}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    name: Spanned<String>,
    credentials: Spanned<String>,
    deposits: Spanned<Vec<u64>>,
    network: BTreeMap<Spanned<String>, WrittenNetwork>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct WrittenNetwork {
    withdrawal_address: Spanned<String>,
    fee_recipient_address: Spanned<String>,
    upload: Option<Spanned<String>>,
}

/// What is judged. Each is a check of a verification too, by the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Term {
    Vault,
    Network,
    WithdrawalAddress,
    FeeRecipient,
    Credentials,
    Amounts,
}

impl Term {
    pub(crate) const fn id(self) -> &'static str {
        match self {
            Term::Vault => "vault-network",
            Term::Network => "profile-network",
            Term::WithdrawalAddress => "profile-withdrawal-address",
            Term::FeeRecipient => "profile-fee-recipient",
            Term::Credentials => "profile-credentials",
            Term::Amounts => "profile-amounts",
        }
    }

    const fn advice(self) -> &'static str {
        match self {
            Term::Vault => {
                "funds sent there are lost to this cluster: do not run or fund it; ask the creator for a definition with the right address"
            }
            Term::Network => {
                "name the right profile, or ask the creator for a definition on the right network"
            }
            Term::WithdrawalAddress => {
                "do not run or fund it: a withdrawal address cannot be changed after the deposit; ask the creator for a correct definition"
            }
            Term::FeeRecipient => {
                "rewards would go astray: ask the creator for a correct definition"
            }
            Term::Credentials => {
                "the protocol refuses these keys: ask the creator for a correct definition"
            }
            Term::Amounts => {
                "the protocol refuses other deposits: ask the creator for a correct definition"
            }
        }
    }
}

/// Something in a definition that a profile speaks against, or that is worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) check: Term,
    pub(crate) weight: Weight,
    pub(crate) subject: String,
    pub(crate) seen: String,
    pub(crate) expected: String,
    pub(crate) advice: String,
}

impl From<Problem> for Finding {
    fn from(problem: Problem) -> Self {
        Self {
            check: problem.check.id(),
            weight: problem.weight,
            subject: problem.subject,
            seen: problem.seen,
            expected: problem.expected,
            advice: problem.advice,
        }
    }
}

impl Problem {
    fn fail(check: Term, subject: String, seen: String, expected: String) -> Self {
        Self {
            check,
            weight: Weight::Fail,
            subject,
            seen,
            expected,
            advice: check.advice().to_owned(),
        }
    }
}

impl Profile {
    /// A profile of this program; see [`NAMES`].
    pub fn built_in(name: &str) -> Option<Self> {
        BUILT_IN.iter().find(|it| it.name == name).cloned()
    }

    /// Reads a profile in TOML.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let line_of = |at: usize| {
            let before = text.get(..at).unwrap_or(text);
            before.matches('\n').count() + 1
        };
        if text.len() > MAX_PROFILE_BYTES {
            return Err(ProfileError {
                line: None,
                reason: format!("longer than {MAX_PROFILE_BYTES} bytes"),
            });
        }
        let written: Written = toml::from_str(text).map_err(|error| ProfileError {
            line: error.span().map(|span| line_of(span.start)),
            reason: error.message().replace('\n', "; "),
        })?;
        let wrong = |at: usize, reason: String| ProfileError {
            line: Some(line_of(at)),
            reason,
        };
        let plain = |it: &Spanned<String>, what: &str, most: usize| {
            let text = it.get_ref();
            if text.trim().is_empty() || text.len() > most || text.chars().any(char::is_control) {
                let reason = format!("{what} must be one line of 1 to {most} characters");
                return Err(wrong(it.span().start, reason));
            }
            Ok(text.clone())
        };
        let name = plain(&written.name, "name", 64)?;
        let compounding = match written.credentials.get_ref().as_str() {
            "0x01" => false,
            "0x02" => true,
            other => {
                let reason = format!("credentials {other:?}, expected \"0x01\" or \"0x02\"");
                return Err(wrong(written.credentials.span().start, reason));
            }
        };
        let at = written.deposits.span().start;
        let amounts: Option<Vec<Gwei>> = written
            .deposits
            .get_ref()
            .iter()
            .map(|eth| eth.checked_mul(Gwei::ONE_ETH.0).map(Gwei))
            .collect();
        let amounts = amounts.unwrap_or_default();
        let deposits = sorted_unique_amounts(&amounts);
        if amounts.is_empty() || deposits.len() != amounts.len() {
            let reason = "deposits must be amounts in whole ETH, at least one, each once: charon makes each only once";
            return Err(wrong(at, reason.to_owned()));
        }
        check_chosen_amounts(&deposits, compounding).map_err(|error| {
            // The file counts in ETH, as charon's flag does, whatever its networks stake.
            let (seen, expected) = (
                error.seen(StakingToken::ETH),
                error.expected(StakingToken::ETH),
            );
            wrong(at, format!("deposits of {seen}, expected {expected}"))
        })?;
        let mut networks = Vec::new();
        for (key, on) in &written.network {
            let network = Network::by_name(key.get_ref()).ok_or_else(|| {
                let names = Network::ALL.map(|network| network.name).join(", ");
                let reason = format!("network {:?}, expected one of {names}", key.get_ref());
                wrong(key.span().start, reason)
            })?;
            let address = |it: &Spanned<String>| {
                let text = it.get_ref();
                let at = it.span().start;
                match Address::parse(text) {
                    None => Err(wrong(
                        at,
                        format!("{text:?}, expected 0x and 40 hexadecimal digits"),
                    )),
                    Some(address) if !address.is_checksummed(text) => Err(wrong(
                        at,
                        format!("{text:?}, expected {address} if the digits are right"),
                    )),
                    Some(address) if address == Address::ZERO => Err(wrong(
                        at,
                        "the zero address, which nobody controls".to_owned(),
                    )),
                    Some(address) => Ok(address),
                }
            };
            networks.push(OnNetwork {
                network,
                withdrawal_address: address(&on.withdrawal_address)?,
                fee_recipient_address: address(&on.fee_recipient_address)?,
                upload: on
                    .upload
                    .as_ref()
                    .map(|upload| plain(upload, "upload", 300))
                    .transpose()?,
            });
        }
        if networks.is_empty() {
            return Err(ProfileError {
                line: None,
                reason: "no network: expected at least one table such as [network.mainnet]"
                    .to_owned(),
            });
        }
        Ok(Self {
            name,
            compounding,
            deposits,
            networks,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it wants credentials of type 0x02 instead of 0x01.
    pub const fn is_compounding(&self) -> bool {
        self.compounding
    }

    /// The deposits of each validator, ascending.
    pub fn deposits(&self) -> &[Gwei] {
        &self.deposits
    }

    /// What it asks for on this network.
    pub fn on(&self, network: Network) -> Option<&OnNetwork> {
        self.networks.iter().find(|on| on.network == network)
    }

    /// The networks that it knows, with commas between them.
    pub fn networks(&self) -> String {
        let names: Vec<&str> = self.networks.iter().map(|on| on.network.name).collect();
        names.join(", ")
    }

    /// Everything in the terms of a definition that this profile speaks against; empty if they are as it wants them. All
    /// findings are failures, with the check ids `profile-network`, `profile-withdrawal-address`, `profile-fee-recipient`,
    /// `profile-credentials` and `profile-amounts`.
    pub fn judge(&self, definition: &Definition) -> Vec<Finding> {
        self.problems(definition)
            .into_iter()
            .map(Finding::from)
            .collect()
    }

    pub(crate) fn problems(&self, definition: &Definition) -> Vec<Problem> {
        let mut problems = Vec::new();
        let name = &self.name;
        let network = Network::by_fork_version(definition.fork_version);
        match network.and_then(|network| self.on(network)) {
            None => problems.push(Problem::fail(
                Term::Network,
                "the definition".to_owned(),
                network.map_or_else(
                    || format!("fork version 0x{}", hex::encode(definition.fork_version)),
                    |network| format!("network {network}"),
                ),
                format!("{}, which profile {name} knows", self.networks()),
            )),
            Some(on) => {
                for (role, wanted, check) in [
                    (
                        Role::Withdrawal,
                        on.withdrawal_address,
                        Term::WithdrawalAddress,
                    ),
                    (
                        Role::FeeRecipient,
                        on.fee_recipient_address,
                        Term::FeeRecipient,
                    ),
                ] {
                    for (address, held) in addresses(definition, role) {
                        if Address::parse(&address) != Some(wanted) {
                            problems.push(Problem::fail(
                                check,
                                held.subject(role),
                                shown(&address),
                                format!("{wanted}, by profile {name} on {}", on.network),
                            ));
                        }
                    }
                }
            }
        }
        if definition.compounding != self.compounding {
            problems.push(Problem::fail(
                Term::Credentials,
                "the definition".to_owned(),
                format!("credentials {}", kind(definition.compounding)),
                format!("{}, by profile {name}", kind(self.compounding)),
            ));
        }
        let chosen = definition.deposit_amounts.as_deref().unwrap_or_default();
        let token = Network::token_of(definition.fork_version);
        // Every default of every release has a deposit of 32 ETH.
        let amounts = if chosen.is_empty() {
            vec![Gwei::FULL]
        } else {
            sorted_unique_amounts(chosen)
        };
        if !self.deposits.iter().all(|it| amounts.contains(it)) {
            problems.push(Problem::fail(
                Term::Amounts,
                "the definition".to_owned(),
                format!("deposits of {}", token.amounts(&amounts, " and ")),
                format!(
                    "a deposit of {}, by profile {name}",
                    token.amounts(&self.deposits, " and ")
                ),
            ));
        }
        problems
    }
}

/// Which of the two addresses of a validator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Withdrawal,
    FeeRecipient,
}

impl Role {
    const fn text(self) -> &'static str {
        match self {
            Role::Withdrawal => "withdrawal address",
            Role::FeeRecipient => "fee recipient address",
        }
    }

    const fn vault(self) -> &'static str {
        match self {
            Role::Withdrawal => "withdrawal vault",
            Role::FeeRecipient => "execution layer rewards vault",
        }
    }
}

/// Who has an address: the first validator, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The first validator.
    pub first: usize,
    /// How many validators have it.
    pub count: usize,
}

impl Held {
    fn subject(self, role: Role) -> String {
        let role = role.text();
        match self.count {
            1 => format!("{role} of validator {}", self.first),
            count => format!("{role} of validator {} and {} more", self.first, count - 1),
        }
    }
}

/// The different addresses, in the order of the validators.
fn addresses(definition: &Definition, role: Role) -> Vec<(String, Held)> {
    let mut found: Vec<(String, Held)> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let count = usize::try_from(definition.num_validators).unwrap_or(usize::MAX);
    for index in 0.. {
        let Some(pair) = definition.addresses_of(ValidatorIndex::new(index)) else {
            break;
        };
        let address = match role {
            Role::Withdrawal => &pair.withdrawal_address,
            Role::FeeRecipient => &pair.fee_recipient_address,
        };
        let place = *places.entry(address.to_lowercase()).or_insert_with(|| {
            found.push((
                address.clone(),
                Held {
                    first: index,
                    count: 0,
                },
            ));
            found.len() - 1
        });
        // One pair for all stands for as many as there are, and a file may say any number.
        let all_alike = !definition.version.has_validators_array();
        if let Some((_, held)) = found.get_mut(place) {
            held.count = if all_alike { count } else { held.count + 1 };
        }
        if all_alike {
            break;
        }
    }
    found
}

/// The different withdrawal addresses of a definition, in the order of the validators.
pub fn withdrawal_addresses(definition: &Definition) -> Vec<(String, Held)> {
    addresses(definition, Role::Withdrawal)
}

/// The different fee recipient addresses, likewise.
pub fn fee_recipient_addresses(definition: &Definition) -> Vec<(String, Held)> {
    addresses(definition, Role::FeeRecipient)
}

/// What the vaults of the profiles of this program say of a definition, whatever profile was asked for: an address that is
/// another network's vault, or a vault in the place of the other, is a failure; a vault in its place a note that suggests
/// the profile, unless one is named.
pub(crate) fn vault_problems(definition: &Definition, is_profile_named: bool) -> Vec<Problem> {
    let network = Network::by_fork_version(definition.fork_version);
    let Some(lido) = BUILT_IN.first() else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    let mut suggested = false;
    for role in [Role::Withdrawal, Role::FeeRecipient] {
        for (text, held) in addresses(definition, role) {
            let Some(address) = Address::parse(&text) else {
                continue;
            };
            let vaults = lido.networks.iter().flat_map(|on| {
                [
                    (on.network, Role::Withdrawal, on.withdrawal_address),
                    (on.network, Role::FeeRecipient, on.fee_recipient_address),
                ]
            });
            let Some((its_network, its_role, _)) =
                vaults.into_iter().find(|(_, _, vault)| *vault == address)
            else {
                continue;
            };
            let own = network.and_then(|network| lido.on(network));
            let seen = format!(
                "{address}, the {} of Lido on {its_network}",
                its_role.vault()
            );
            if Some(its_network) == network && its_role == role {
                let name = match definition.compounding {
                    true => "lido-cm-v2",
                    false => "lido",
                };
                if !is_profile_named && !suggested {
                    suggested = true;
                    problems.push(Problem {
                        check: Term::Vault,
                        weight: Weight::Note,
                        subject: held.subject(role),
                        seen,
                        expected: "everything else as Lido wants it".to_owned(),
                        advice: format!("add --profile {name}, which checks all of it"),
                    });
                }
                continue;
            }
            let expected = match own {
                Some(on) => format!(
                    "{}, the {} on {}",
                    match role {
                        Role::Withdrawal => on.withdrawal_address,
                        Role::FeeRecipient => on.fee_recipient_address,
                    },
                    role.vault(),
                    on.network
                ),
                None => "an address that someone controls on this network".to_owned(),
            };
            problems.push(Problem::fail(
                Term::Vault,
                held.subject(role),
                seen,
                expected,
            ));
        }
    }
    problems
}

const fn kind(compounding: bool) -> &'static str {
    if compounding { "0x02" } else { "0x01" }
}

fn shown(address: &str) -> String {
    if address.is_empty() {
        "no address".to_owned()
    } else {
        address.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profiles_of_the_program_can_be_read() {
        let names: Vec<&str> = BUILT_IN.iter().map(Profile::name).collect();
        assert_eq!(names, NAMES);
        let lido = Profile::built_in("lido").unwrap();
        assert_eq!(lido.networks(), "holesky, hoodi, mainnet");
        for (network, vault, rewards) in [
            (
                "mainnet",
                "0xB9D7934878B5FB9610B3fE8A5e441e8fad7E293f",
                "0x388C818CA8B9251b393131C08a736A67ccB19297",
            ),
            (
                "hoodi",
                "0x4473dCDDbf77679A643BdB654dbd86D67F8d32f2",
                "0x9b108015fe433F173696Af3Aa0CF7CDb3E104258",
            ),
            (
                "holesky",
                "0xF0179dEC45a37423EAD4FaD5fCb136197872EAd9",
                "0xE73a3602b99f1f913e72F8bdcBC235e206794Ac8",
            ),
        ] {
            let on = lido.on(Network::by_name(network).unwrap()).unwrap();
            assert_eq!(on.withdrawal_address.to_string(), vault);
            assert_eq!(on.fee_recipient_address.to_string(), rewards);
        }
        // The same protocol, so the same vaults.
        for on in &Profile::built_in("lido-cm-v2").unwrap().networks {
            let other = lido.on(on.network).unwrap();
            assert_eq!(on.withdrawal_address, other.withdrawal_address);
            assert_eq!(on.fee_recipient_address, other.fee_recipient_address);
        }
    }

    #[test]
    fn bad_profiles_are_refused_with_their_line() {
        let good = SOURCES[0];
        assert!(Profile::parse(good).is_ok());
        for (from, to, line, reason) in [
            ("[32]", "[32, 32]", 10, "each once"),
            (
                "[32]",
                "[16]",
                10,
                "deposits of 16 ETH in all, expected at least 32 ETH in all",
            ),
            (
                "[32]",
                "[33]",
                10,
                "deposits of 33 ETH, expected at most 32 ETH each",
            ),
            ("[32]", "[]", 10, "at least one"),
            ("[32]", "[18446744073709551615]", 10, ""),
            ("[32]", "32", 10, "sequence"),
            ("\"0x01\"", "\"0x00\"", 9, "expected \"0x01\" or \"0x02\""),
            ("\"0x01\"", "1", 9, "string"),
            ("deposits", "depsits", 10, "depsits"),
            ("name = \"lido\"\n", "", 8, "name"),
            ("\"lido\"", "\"\"", 8, "one line"),
            ("network.hoodi", "network.hodi", 17, "expected one of"),
            ("4473dCDD", "4473dcDD", 18, "if the digits are right"),
            ("0x4473dCDD", "0x4473dCD", 18, "40 hexadecimal digits"),
            ("[network.hoodi]", "[network.mainnet]", 17, "duplicate"),
            ("[network.hoodi]", "[network.hoodi", 17, ""),
        ] {
            assert!(good.contains(from), "{from}");
            let error = Profile::parse(&good.replacen(from, to, 1)).unwrap_err();
            assert!(error.reason.contains(reason), "{to}: {error}");
            if reason != "name" {
                assert_eq!(error.line, Some(line), "{to}: {error}");
            }
        }
        let zero = good.replacen(
            "0x4473dCDDbf77679A643BdB654dbd86D67F8d32f2",
            &Address::ZERO.to_string(),
            1,
        );
        assert!(Profile::parse(&zero).unwrap_err().reason.contains("zero"));
        assert!(Profile::parse("").is_err());
        assert!(Profile::parse(&" ".repeat(MAX_PROFILE_BYTES + 1)).is_err());
        let none = "name = \"x\"\ncredentials = \"0x01\"\ndeposits = [32]\n[network]\n";
        assert!(
            Profile::parse(none)
                .unwrap_err()
                .reason
                .contains("no network")
        );
    }
}
