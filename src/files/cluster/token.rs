//! What is staked on a network, and how amounts of it are written for people.
//!
//! Every consensus chain counts in its own Gwei: 32 * 10^9 of them activate a validator, on Gnosis Chain too. There they are
//! Gwei of mGNO, of which 32 are one GNO, and the depositor pays GNO: the contract takes a token, multiplies what it got by
//! 32 before it writes the event and checks the `deposit_data_root`, and divides withdrawals by 32 (gnosischain/deposit-contract
//! fa9f3a4, `contracts/SBCDepositContract.sol`). So do `MULTIPLIER=32`, `MIN_ACTIVATION_AMOUNT=1` and
//! `MIN_DEPOSIT_AMOUNT=0.03125` of ethstaker-deposit-cli (`settings.py`), for gnosis and chiado; docs.gnosischain.com says
//! "32 mGNO (equivalent to 1 GNO)". The limits in Gwei are Ethereum's (@lodestar/params `presets/gnosis.ts`; gnosischain/configs
//! `presets/gnosis/phase0.yaml`). charon knows nothing of it: its texts, flags and file names say ETH on every network.

use std::fmt;

use serde::Serialize;

/// An amount in Gwei as the consensus chain counts: 10^9 Gwei are one ETH, or on Gnosis Chain a 32nd of one GNO. What people
/// read is a matter of the network's [`StakingToken`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Gwei(pub u64);

impl Gwei {
    /// One ETH, or a 32nd of one GNO: the least deposit that the contract takes.
    pub const ONE_ETH: Gwei = Gwei::from_eth(1);
    /// 32 ETH, or one GNO: what activates a validator, and the most it may hold without compounding.
    pub const FULL: Gwei = Gwei::from_eth(32);
    /// 2048 ETH, or 64 GNO: the most a compounding validator may hold (EIP-7251).
    pub const MAX_COMPOUNDING: Gwei = Gwei::from_eth(2048);

    /// Whole ETH in Gwei, as charon counts on every network; saturates far above all ETH there is.
    pub const fn from_eth(eth: u64) -> Self {
        Self(eth.saturating_mul(1_000_000_000))
    }
}

/// What is staked on a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct StakingToken {
    /// Its short name.
    pub symbol: &'static str,
    /// How many Gwei of the consensus chain, of a lock and of a deposit data file are one of it.
    pub gwei: u64,
}

impl StakingToken {
    /// Of Ethereum and its test networks.
    pub const ETH: StakingToken = StakingToken {
        symbol: "ETH",
        gwei: 1_000_000_000,
    };
    /// Of Gnosis Chain and its test network.
    pub const GNO: StakingToken = StakingToken {
        symbol: "GNO",
        gwei: 32_000_000_000,
    };

    /// An amount with its unit: `32 ETH`.
    pub const fn amount(self, gwei: Gwei) -> Amount {
        Amount { gwei, token: self }
    }

    /// Several with the unit once: `1, 32 ETH`, or with another separator `1 and 32 ETH`.
    pub fn amounts(self, amounts: &[Gwei], separator: &str) -> String {
        let texts: Vec<String> = amounts.iter().map(|it| self.number(*it)).collect();
        format!("{} {}", texts.join(separator), self.symbol)
    }

    /// The exact amount with as few decimals as it needs, without the unit: `32`, `31.5`.
    pub fn number(self, gwei: Gwei) -> String {
        /// Enough for one Gwei of GNO: 10^14 / (32 * 10^9) is whole.
        const DECIMALS: usize = 14;
        const SCALE: u128 = 100_000_000_000_000;
        let (whole, rest) = (gwei.0 / self.gwei, gwei.0 % self.gwei);
        if rest == 0 {
            return whole.to_string();
        }
        let rest = u128::from(rest) * SCALE / u128::from(self.gwei);
        let decimals = format!("{rest:0DECIMALS$}");
        format!("{whole}.{}", decimals.trim_end_matches('0'))
    }
}

/// An amount of what is staked on a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    gwei: Gwei,
    token: StakingToken,
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.token.number(self.gwei), self.token.symbol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_short() {
        for (gwei, eth, gno) in [
            (32_000_000_000, "32 ETH", "1 GNO"),
            (24_000_000_000, "24 ETH", "0.75 GNO"),
            (8_000_000_000, "8 ETH", "0.25 GNO"),
            (1_000_000_000, "1 ETH", "0.03125 GNO"),
            (2_048_000_000_000, "2048 ETH", "64 GNO"),
            (31_500_000_000, "31.5 ETH", "0.984375 GNO"),
            (0, "0 ETH", "0 GNO"),
            (1, "0.000000001 ETH", "0.00000000003125 GNO"),
            (
                u64::MAX,
                "18446744073.709551615 ETH",
                "576460752.30342348796875 GNO",
            ),
        ] {
            assert_eq!(StakingToken::ETH.amount(Gwei(gwei)).to_string(), eth);
            assert_eq!(StakingToken::GNO.amount(Gwei(gwei)).to_string(), gno);
        }
        let amounts = [8, 24].map(Gwei::from_eth);
        assert_eq!(StakingToken::ETH.amounts(&amounts, ", "), "8, 24 ETH");
        assert_eq!(
            StakingToken::GNO.amounts(&amounts, " and "),
            "0.25 and 0.75 GNO"
        );
    }
}
