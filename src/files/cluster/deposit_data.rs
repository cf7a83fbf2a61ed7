//! Deposits: the amounts, the entries in the cluster lock, and the `deposit-data*.json` files that a funder sends to the
//! deposit contract (charon `eth2util/deposit/deposit.go`).

use serde_json::{Value, json};

use super::definition::{MAX_VALIDATORS, array_or_empty};
use super::hex;
use super::json::{
    Node, Object, ParseError, Parsed, Path, Presence, Remarks, array, decimal, invalid, number,
    text, to_go_json,
};
use super::token::{Gwei, StakingToken};
use super::version::BytesEncoding;

/// Largest deposit data file read, in bytes. One entry has 900, so that this holds 65536 of them.
pub const MAX_DEPOSIT_FILE_BYTES: usize = 64 << 20;

/// A deposit as the cluster lock holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepositData {
    /// Group public key of the validator, compressed G1.
    pub pubkey: [u8; 48],
    /// 0x01 or 0x02, eleven zero bytes, and the withdrawal address.
    pub withdrawal_credentials: [u8; 32],
    /// How much is deposited.
    pub amount: Gwei,
    /// BLS signature of the deposit message by the group key, compressed G2.
    pub signature: [u8; 96],
}

/// The `deposit_data_root` that Obol's API adds to a deposit of the locks that it serves. charon neither writes nor reads it,
/// and no hash covers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatedDepositRoot {
    /// Position of the deposit among those of its validator.
    pub deposit: usize,
    /// As stated, with or without `0x`; `None` for anything but 32 bytes in hexadecimal.
    pub root: Option<[u8; 32]>,
}

/// A whole `deposit-data*.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepositFile {
    /// One entry per validator; charon sorts them by public key, not in the order of the lock.
    pub entries: Vec<DepositFileEntry>,
}

/// One entry of a deposit data file, in the launchpad's format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepositFileEntry {
    /// What is deposited, by whose key, and to whose credit.
    pub data: DepositData,
    /// Hash tree root of public key, withdrawal credentials and amount, as stated.
    pub deposit_message_root: [u8; 32],
    /// Hash tree root of the message with its signature, as stated; the deposit contract checks it.
    pub deposit_data_root: [u8; 32],
    /// Genesis fork version of the network.
    pub fork_version: [u8; 4],
    /// charon's name of the network.
    pub network_name: String,
    /// Version of the deposit tool whose format this is; 2.3.0 to 2.7.0 in charon's files.
    pub deposit_cli_version: String,
}

/// Why chosen deposit amounts cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AmountError {
    /// Less than the contract takes.
    TooSmall(Gwei),
    /// More than one validator may hold.
    TooLarge {
        /// The amount.
        amount: Gwei,
        /// The most that is allowed.
        limit: Gwei,
    },
    /// Not enough to activate the validator.
    SumTooSmall(Gwei),
}

impl AmountError {
    /// What was seen, without what was expected.
    pub fn seen(&self, token: StakingToken) -> String {
        match self {
            Self::TooSmall(amount) | Self::TooLarge { amount, .. } => {
                token.amount(*amount).to_string()
            }
            Self::SumTooSmall(sum) => format!("{} in all", token.amount(*sum)),
        }
    }

    /// What was expected.
    pub fn expected(&self, token: StakingToken) -> String {
        match self {
            Self::TooSmall(_) => format!("at least {} each", token.amount(Gwei::ONE_ETH)),
            Self::TooLarge { limit, .. } => format!("at most {} each", token.amount(*limit)),
            Self::SumTooSmall(_) => format!("at least {} in all", token.amount(Gwei::FULL)),
        }
    }
}

/// charon's rule for amounts given in a definition, as of v1.3.0; an empty list stands for the defaults and passes.
///
/// v1.0.0 to v1.2.0 wanted a sum of exactly 32 ETH.
///
/// # Errors
/// The first amount, or else the sum, that breaks the rule.
pub fn check_chosen_amounts(amounts: &[Gwei], compounding: bool) -> Result<(), AmountError> {
    if amounts.is_empty() {
        return Ok(());
    }
    let limit = if compounding {
        Gwei::MAX_COMPOUNDING
    } else {
        Gwei::FULL
    };
    let mut sum = Gwei(0);
    for &amount in amounts {
        if amount < Gwei::ONE_ETH {
            return Err(AmountError::TooSmall(amount));
        }
        if amount > limit {
            return Err(AmountError::TooLarge { amount, limit });
        }
        sum = Gwei(sum.0.saturating_add(amount.0));
    }
    if sum < Gwei::FULL {
        return Err(AmountError::SumTooSmall(sum));
    }
    Ok(())
}

/// Sorted and without duplicates: the order of charon's deposits in the lock and of its files (`DedupAmounts`).
pub fn sorted_unique_amounts(amounts: &[Gwei]) -> Vec<Gwei> {
    let mut amounts = amounts.to_vec();
    amounts.sort_unstable();
    amounts.dedup();
    amounts
}

/// What the deposits of a validator come to where that is too little: of repeated amounts charon makes one deposit, although
/// its own rule counts each (`VerifyDepositAmounts`).
pub fn repeated_to_too_little(amounts: &[Gwei]) -> Option<Gwei> {
    let different = sorted_unique_amounts(amounts);
    let sum = different
        .iter()
        .fold(0_u64, |sum, amount| sum.saturating_add(amount.0));
    (different.len() < amounts.len() && sum < Gwei::FULL.0).then_some(Gwei(sum))
}

/// The name of the file for deposits of this amount (charon `GetDepositFilePath`, from v1.0.0). It counts in ETH on every
/// network: `deposit-data-8eth.json` on Gnosis Chain is for deposits of 0.25 GNO.
pub fn deposit_file_name(amount: Gwei) -> String {
    if amount == Gwei::FULL {
        "deposit-data.json".to_owned()
    } else {
        let eth = StakingToken::ETH.number(amount);
        format!("deposit-data-{eth}eth.json")
    }
}

impl DepositFile {
    /// Reads a deposit data file. Its hexadecimal has no `0x`.
    ///
    /// # Errors
    /// Whatever is not a list of complete entries; roots and signatures are not judged here.
    pub fn parse(bytes: &[u8]) -> Result<Parsed<Self>, ParseError> {
        let mut remarks = Remarks::default();
        let node = Node::parse(bytes, MAX_DEPOSIT_FILE_BYTES)?;
        let entries = array(Some(node), Path::File, MAX_VALIDATORS)?
            .into_iter()
            .enumerate()
            .map(|(position, node)| {
                DepositFileEntry::from_node(
                    Object::new(node, Path::Element(&Path::File, position))?,
                    &mut remarks,
                )
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Parsed {
            value: Self { entries },
            remarks: remarks.finish(),
        })
    }

    /// Sorts the entries by public key, as charon does before it writes them.
    pub fn sort(&mut self) {
        self.entries.sort_by_key(|entry| entry.data.pubkey);
    }

    /// The file as charon writes it, byte for byte; the order of the entries is that of `self`.
    pub fn to_json(&self) -> String {
        to_go_json(
            &self
                .entries
                .iter()
                .map(DepositFileEntry::to_value)
                .collect(),
        )
    }
}

impl DepositFileEntry {
    fn from_node(mut object: Object<'_, '_>, remarks: &mut Remarks) -> Result<Self, ParseError> {
        let root = object.path();
        let mut take = |name| object.take(name, Presence::Always, remarks);
        let pubkey = take("pubkey");
        let withdrawal_credentials = take("withdrawal_credentials");
        let amount = take("amount");
        let signature = take("signature");
        let message_root = take("deposit_message_root");
        let data_root = take("deposit_data_root");
        let fork_version = take("fork_version");
        let network_name = take("network_name");
        let deposit_cli_version = take("deposit_cli_version");
        object.finish(remarks);
        Ok(Self {
            data: DepositData {
                pubkey: bare_hex(pubkey, Path::Key(&root, "pubkey"))?,
                withdrawal_credentials: bare_hex(
                    withdrawal_credentials,
                    Path::Key(&root, "withdrawal_credentials"),
                )?,
                amount: Gwei(number(amount, Path::Key(&root, "amount"))?),
                signature: bare_hex(signature, Path::Key(&root, "signature"))?,
            },
            deposit_message_root: bare_hex(message_root, Path::Key(&root, "deposit_message_root"))?,
            deposit_data_root: bare_hex(data_root, Path::Key(&root, "deposit_data_root"))?,
            fork_version: bare_hex(fork_version, Path::Key(&root, "fork_version"))?,
            network_name: text(network_name, Path::Key(&root, "network_name"))?.into_owned(),
            deposit_cli_version: text(
                deposit_cli_version,
                Path::Key(&root, "deposit_cli_version"),
            )?
            .into_owned(),
        })
    }

    fn to_value(&self) -> Value {
        json!({
            "pubkey": ::hex::encode(self.data.pubkey),
            "withdrawal_credentials": ::hex::encode(self.data.withdrawal_credentials),
            "amount": self.data.amount.0,
            "signature": ::hex::encode(self.data.signature),
            "deposit_message_root": ::hex::encode(self.deposit_message_root),
            "deposit_data_root": ::hex::encode(self.deposit_data_root),
            "fork_version": ::hex::encode(self.fork_version),
            "network_name": self.network_name,
            "deposit_cli_version": self.deposit_cli_version,
        })
    }
}

/// Exactly `N` bytes in hexadecimal without `0x`, as the deposit launchpad wants them.
fn bare_hex<const N: usize>(node: Option<Node<'_>>, path: Path<'_>) -> Result<[u8; N], ParseError> {
    let text = text(node, path)?;
    if text.starts_with("0x") {
        return Err(invalid(path, &text, "hexadecimal without 0x"));
    }
    hex::array_from_0x(&text)
        .ok_or_else(|| invalid(path, &text, format!("{N} bytes in hexadecimal")))
}

impl DepositData {
    /// The entry at this position of a validator in the cluster lock; `None` if it is the empty placeholder that some
    /// releases wrote (v1.6, v1.7).
    pub(crate) fn from_node(
        node: Option<Node<'_>>,
        path: Path<'_>,
        position: usize,
        roots: &mut Vec<StatedDepositRoot>,
        remarks: &mut Remarks,
    ) -> Result<Option<Self>, ParseError> {
        if node.is_none() {
            return Ok(None);
        }
        let mut object = Object::new_or_empty(node, path)?;
        let mut take = |name| object.take(name, Presence::Always, remarks);
        let pubkey = take("pubkey");
        let withdrawal_credentials = take("withdrawal_credentials");
        let amount = take("amount");
        let signature = take("signature");
        if let Some(node) = object.take("deposit_data_root", Presence::Optional, remarks) {
            roots.push(StatedDepositRoot {
                deposit: position,
                root: match &node {
                    Node::Text(text) => hex::array_from_0x(text),
                    Node::Null
                    | Node::Bool(_)
                    | Node::Unsigned(_)
                    | Node::OtherNumber
                    | Node::Array(_)
                    | Node::Object(_) => None,
                },
            });
        }
        object.finish(remarks);
        let hex = BytesEncoding::Hex;
        let pubkey = array_or_empty(pubkey, Path::Key(&path, "pubkey"), hex)?;
        let withdrawal_credentials = array_or_empty(
            withdrawal_credentials,
            Path::Key(&path, "withdrawal_credentials"),
            hex,
        )?;
        let signature = array_or_empty(signature, Path::Key(&path, "signature"), hex)?;
        let amount = match amount {
            None => Gwei(0),
            Some(node) => {
                let path = Path::Key(&path, "amount");
                Gwei(decimal(&text(Some(node), path)?, path)?)
            }
        };
        match (pubkey, withdrawal_credentials, signature) {
            (Some(pubkey), Some(withdrawal_credentials), Some(signature)) => Ok(Some(Self {
                pubkey,
                withdrawal_credentials,
                amount,
                signature,
            })),
            (None, None, None) if amount == Gwei(0) => Ok(None),
            _ => Err(ParseError::Invalid {
                path: path.to_string(),
                seen: "partly empty".to_owned(),
                expected: "a complete deposit".to_owned(),
            }),
        }
    }

    /// The entry as the cluster lock writes it; the empty placeholder for `None`.
    pub(crate) fn to_value(deposit: Option<&Self>) -> Value {
        match deposit {
            Some(deposit) => json!({
                "pubkey": hex::to_0x(&deposit.pubkey),
                "withdrawal_credentials": hex::to_0x(&deposit.withdrawal_credentials),
                "amount": deposit.amount.0.to_string(),
                "signature": hex::to_0x(&deposit.signature),
            }),
            None => json!({
                "pubkey": "",
                "withdrawal_credentials": "",
                "amount": "0",
                "signature": "",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETH: u64 = 1_000_000_000;

    #[test]
    fn files_are_named_by_their_amount() {
        for (gwei, name) in [
            (32 * ETH, "deposit-data.json"),
            (ETH, "deposit-data-1eth.json"),
            (31 * ETH + ETH / 2, "deposit-data-31.5eth.json"),
            (256 * ETH, "deposit-data-256eth.json"),
            (ETH + 1, "deposit-data-1.000000001eth.json"),
        ] {
            assert_eq!(deposit_file_name(Gwei(gwei)), name);
        }
    }

    #[test]
    fn chosen_amounts_keep_to_the_rule() {
        let check = |eth: &[u64], compounding| {
            let amounts: Vec<Gwei> = eth.iter().map(|&eth| Gwei::from_eth(eth)).collect();
            check_chosen_amounts(&amounts, compounding)
        };
        assert_eq!(check(&[], false), Ok(()));
        assert_eq!(check(&[32], false), Ok(()));
        assert_eq!(check(&[8, 16, 8], false), Ok(()));
        assert_eq!(check(&[1, 32], false), Ok(()));
        assert_eq!(check(&[2048, 1], true), Ok(()));
        assert_eq!(
            check(&[8, 16], false),
            Err(AmountError::SumTooSmall(Gwei::from_eth(24)))
        );
        assert_eq!(check(&[32, 0], false), Err(AmountError::TooSmall(Gwei(0))));
        assert!(matches!(
            check(&[33], false),
            Err(AmountError::TooLarge { .. })
        ));
        assert!(matches!(
            check(&[2049], true),
            Err(AmountError::TooLarge { .. })
        ));
        assert_eq!(
            check_chosen_amounts(&[Gwei(u64::MAX)], true)
                .unwrap_err()
                .seen(StakingToken::ETH),
            "18446744073.709551615 ETH"
        );
    }

    #[test]
    fn deposits_are_made_once_per_amount_smallest_first() {
        let amounts = [8, 16, 8, 1].map(Gwei::from_eth);
        assert_eq!(
            sorted_unique_amounts(&amounts),
            [1, 8, 16].map(Gwei::from_eth)
        );
    }
}
