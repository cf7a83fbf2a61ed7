//! Where the money of a cluster's validators goes, and how much is deposited: what operators and the funder compare before
//! a ceremony and before a deposit.

use serde::Serialize;

use super::definition::{AddressPair, Definition};
use super::deposit_data::sorted_unique_amounts;
use super::index::ValidatorIndex;
use super::network::Network;
use super::token::{Gwei, StakingToken};

/// An address, and the validators beside each other that it is the address of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Share {
    /// The first of them, counted from 1.
    pub first_validator: u64,
    /// The last of them.
    pub last_validator: u64,
    /// As the definition writes it; may be empty.
    pub address: String,
}

/// The addresses and amounts of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Payouts {
    /// Who receives the stake.
    pub withdrawal_addresses: Vec<Share>,
    /// Who receives priority fees.
    pub fee_recipient_addresses: Vec<Share>,
    /// The deposits of each validator in Gwei, the smallest first; empty where charon's release decides.
    pub deposit_amounts_gwei: Vec<u64>,
    /// What is deposited, and how many Gwei are one of it.
    pub token: StakingToken,
    /// Whether withdrawal credentials are of type 0x02, with which rewards compound.
    pub compounding: bool,
}

impl Payouts {
    /// What a definition says. Nothing is checked here.
    pub fn of(definition: &Definition) -> Self {
        let amounts = if definition.version.has_deposit_amounts() {
            sorted_unique_amounts(definition.deposit_amounts.as_deref().unwrap_or_default())
        } else {
            vec![Gwei::FULL]
        };
        Self {
            withdrawal_addresses: shares(definition, |pair| &pair.withdrawal_address),
            fee_recipient_addresses: shares(definition, |pair| &pair.fee_recipient_address),
            deposit_amounts_gwei: amounts.into_iter().map(|amount| amount.0).collect(),
            token: Network::token_of(definition.fork_version),
            compounding: definition.compounding,
        }
    }

    /// Name and value of each line that people read: an address once if all validators have it, else by validator.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let of = |name: &'static str, shares: &[Share]| -> Vec<(&'static str, String)> {
            let alone = shares.len() == 1;
            let line = |share: &Share| {
                let whose = match (alone, share.first_validator, share.last_validator) {
                    (true, _, _) => String::new(),
                    (false, first, last) if first == last => format!("validator {first}: "),
                    (false, first, last) => format!("validators {first} to {last}: "),
                };
                let address = if share.address.is_empty() {
                    "none"
                } else {
                    &share.address
                };
                (name, format!("{whose}{address}"))
            };
            shares.iter().map(line).collect()
        };
        let amounts: Vec<Gwei> = self
            .deposit_amounts_gwei
            .iter()
            .copied()
            .map(Gwei)
            .collect();
        let amounts = if amounts.is_empty() {
            "those of charon's release".to_owned()
        } else {
            format!("{} for each validator", self.token.amounts(&amounts, ", "))
        };
        let kind = if self.compounding {
            ", compounding (0x02)"
        } else {
            ""
        };
        let mut lines = of("withdrawal", &self.withdrawal_addresses);
        lines.extend(of("fee recipient", &self.fee_recipient_addresses));
        lines.push(("deposit amounts", format!("{amounts}{kind}")));
        lines
    }
}

/// Equal addresses of validators beside each other as one.
fn shares(definition: &Definition, address: impl Fn(&AddressPair) -> &String) -> Vec<Share> {
    let mut shares: Vec<Share> = Vec::new();
    let pairs = (0..).map_while(|position| definition.addresses_of(ValidatorIndex::new(position)));
    for (number, pair) in (1..).zip(pairs) {
        let address = address(pair);
        match shares.last_mut().filter(|share| share.address == *address) {
            Some(share) => share.last_validator = number,
            None => shares.push(Share {
                first_validator: number,
                last_validator: number,
                address: address.clone(),
            }),
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(first_validator: u64, last_validator: u64, address: &str) -> Share {
        Share {
            first_validator,
            last_validator,
            address: address.to_owned(),
        }
    }

    #[test]
    fn equal_addresses_are_shown_once_and_others_by_validator() {
        let mut payouts = Payouts {
            withdrawal_addresses: vec![share(1, 3, "0xa")],
            fee_recipient_addresses: vec![share(1, 2, "0xb"), share(3, 3, "")],
            deposit_amounts_gwei: vec![1_000_000_000, 31_500_000_000],
            token: StakingToken::ETH,
            compounding: true,
        };
        assert_eq!(
            payouts.lines(),
            [
                ("withdrawal", "0xa".to_owned()),
                ("fee recipient", "validators 1 to 2: 0xb".to_owned()),
                ("fee recipient", "validator 3: none".to_owned()),
                (
                    "deposit amounts",
                    "1, 31.5 ETH for each validator, compounding (0x02)".to_owned()
                ),
            ]
        );
        payouts.token = StakingToken::GNO;
        assert_eq!(
            payouts.lines().last().unwrap().1,
            "0.03125, 0.984375 GNO for each validator, compounding (0x02)"
        );
        payouts.deposit_amounts_gwei.clear();
        payouts.compounding = false;
        assert_eq!(
            payouts.lines().last().unwrap().1,
            "those of charon's release"
        );
    }
}
