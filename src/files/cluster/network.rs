//! The networks charon knows (charon `eth2util/network.go`), found by their exact fork version.

use super::Address;
use super::token::StakingToken;

/// A chain on which a cluster can be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    /// charon's name, as in `network_name` of a deposit data file.
    pub name: &'static str,
    /// Genesis fork version: the first four bytes of every signing domain.
    pub fork_version: [u8; 4],
    /// EIP-155 chain id, part of the EIP-712 domain.
    pub chain_id: u64,
    /// Genesis time in Unix seconds: the timestamp of builder registrations. Unknown to charon for ropsten.
    pub genesis_time: Option<u64>,
    /// Address of the deposit contract, in EIP-55 spelling.
    deposit_contract: &'static str,
}

impl Network {
    /// Every network that any charon release from v0.13 to v1.11 knew.
    ///
    /// holesky was removed in v1.11 and ropsten after v0.15.0; files made on them are still to be read.
    pub const ALL: [Network; 8] = [
        Network::new(
            "mainnet",
            [0x00, 0x00, 0x00, 0x00],
            1,
            Some(1_606_824_023),
            "0x00000000219ab540356cBB839Cbe05303d7705Fa",
        ),
        Network::new(
            "goerli",
            [0x00, 0x00, 0x10, 0x20],
            5,
            Some(1_616_508_000),
            "0xff50ed3d0ec03aC01D4C79aAd74928BFF48a7b2b",
        ),
        Network::new(
            "gnosis",
            [0x00, 0x00, 0x00, 0x64],
            100,
            Some(1_638_993_340),
            "0x0B98057eA310F4d31F2a452B414647007d1645d9",
        ),
        Network::new(
            "chiado",
            [0x00, 0x00, 0x00, 0x6f],
            10_200,
            Some(1_665_396_300),
            "0xb97036A26259B7147018913bD58a774cf91acf25",
        ),
        Network::new(
            "sepolia",
            [0x90, 0x00, 0x00, 0x69],
            11_155_111,
            Some(1_655_733_600),
            "0x7f02C3E3c98b133055B8B348B2Ac625669Ed295D",
        ),
        Network::new(
            "holesky",
            [0x01, 0x01, 0x70, 0x00],
            17_000,
            Some(1_696_000_704),
            "0x4242424242424242424242424242424242424242",
        ),
        Network::new(
            "hoodi",
            [0x10, 0x00, 0x09, 0x10],
            560_048,
            Some(1_742_213_400),
            "0x00000000219ab540356cBB839Cbe05303d7705Fa",
        ),
        Network::new(
            "ropsten",
            [0x80, 0x00, 0x00, 0x69],
            3,
            None,
            "0x6f22fFbC56eFF051aECF839396DD1eD9aD6BBA9D",
        ),
    ];

    const fn new(
        name: &'static str,
        fork_version: [u8; 4],
        chain_id: u64,
        genesis_time: Option<u64>,
        deposit_contract: &'static str,
    ) -> Self {
        Self {
            name,
            fork_version,
            chain_id,
            genesis_time,
            deposit_contract,
        }
    }

    /// The contract to which deposits are sent, whose events announce them.
    pub fn deposit_contract(&self) -> Option<Address> {
        Address::parse(self.deposit_contract)
    }

    /// What is staked on it, and how amounts of it are written.
    pub fn token(&self) -> StakingToken {
        match self.name {
            "gnosis" | "chiado" => StakingToken::GNO,
            _ => StakingToken::ETH,
        }
    }

    /// The same for the network with this genesis fork version; ETH where the network is not known, which verification says.
    pub fn token_of(fork_version: [u8; 4]) -> StakingToken {
        Self::by_fork_version(fork_version).map_or(StakingToken::ETH, |network| network.token())
    }

    /// Length of an epoch in seconds: 32 slots of 12 s, on Gnosis Chain and its test network 16 slots of 5 s.
    pub fn epoch_seconds(&self) -> u64 {
        match self.name {
            "gnosis" | "chiado" => 16 * 5,
            _ => 32 * 12,
        }
    }

    /// Whether the chain began at this time, in Unix seconds. Of holesky charon states another time than the chain has
    /// (lidofinance/core `deployed-holesky.json`, 2026-06-23); where charon knows none, any is right.
    pub fn began_at(&self, time: u64) -> bool {
        const HOLESKY: u64 = 1_695_902_400;
        self.genesis_time.is_none_or(|known| known == time)
            || (self.name == "holesky" && time == HOLESKY)
    }

    /// The network with exactly this genesis fork version.
    pub fn by_fork_version(fork_version: [u8; 4]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|network| network.fork_version == fork_version)
    }

    /// The network of this name; `prater` is charon's flag alias of goerli.
    pub fn by_name(name: &str) -> Option<Self> {
        let name = if name == "prater" { "goerli" } else { name };
        Self::ALL.into_iter().find(|network| network.name == name)
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_told_apart_by_name_fork_version_and_chain_id() {
        for (position, network) in Network::ALL.into_iter().enumerate() {
            assert_eq!(
                Network::by_fork_version(network.fork_version),
                Some(network)
            );
            assert_eq!(Network::by_name(network.name), Some(network));
            for other in &Network::ALL[position + 1..] {
                assert_ne!(network.chain_id, other.chain_id);
            }
        }
    }

    /// The same from sources that charon has nothing to do with: @lodestar/config 1.48.0 for the chains that still run,
    /// eth-clients/goerli `prater/config.yaml` for goerli, and public code of consensus clients for the others.
    #[test]
    fn the_chains_are_those_of_the_consensus_clients() {
        for (name, fork_version, chain_id, contract) in [
            (
                "mainnet",
                "00000000",
                1,
                "0x00000000219ab540356cBB839Cbe05303d7705Fa",
            ),
            (
                "goerli",
                "00001020",
                5,
                "0xff50ed3d0ec03aC01D4C79aAd74928BFF48a7b2b",
            ),
            (
                "gnosis",
                "00000064",
                100,
                "0x0B98057eA310F4d31F2a452B414647007d1645d9",
            ),
            (
                "chiado",
                "0000006f",
                10_200,
                "0xb97036A26259B7147018913bD58a774cf91acf25",
            ),
            (
                "sepolia",
                "90000069",
                11_155_111,
                "0x7f02C3E3c98b133055B8B348B2Ac625669Ed295D",
            ),
            (
                "holesky",
                "01017000",
                17_000,
                "0x4242424242424242424242424242424242424242",
            ),
            (
                "hoodi",
                "10000910",
                560_048,
                "0x00000000219ab540356cBB839Cbe05303d7705Fa",
            ),
            (
                "ropsten",
                "80000069",
                3,
                "0x6f22fFbC56eFF051aECF839396DD1eD9aD6BBA9D",
            ),
        ] {
            let network = Network::by_name(name).unwrap();
            assert_eq!(::hex::encode(network.fork_version), fork_version);
            assert_eq!(network.chain_id, chain_id);
            let seen = network.deposit_contract().unwrap();
            assert_eq!(seen.to_string(), contract, "{name}");
        }
        let holesky = Network::by_name("holesky").unwrap();
        assert!(holesky.began_at(1_695_902_400) && holesky.began_at(1_696_000_704));
        assert!(!Network::by_name("hoodi").unwrap().began_at(1_695_902_400));
    }

    #[test]
    fn gno_is_staked_on_gnosis_chain_and_its_test_network_only() {
        for network in Network::ALL {
            let token = match network.chain_id {
                100 | 10_200 => StakingToken::GNO,
                _ => StakingToken::ETH,
            };
            assert_eq!(network.token(), token, "{network}");
            assert_eq!(Network::token_of(network.fork_version), token, "{network}");
        }
        assert_eq!(Network::token_of([9, 9, 9, 9]), StakingToken::ETH);
    }

    #[test]
    fn prater_is_goerli_and_the_unknown_is_unknown() {
        assert_eq!(Network::by_name("prater").unwrap().chain_id, 5);
        assert_eq!(Network::by_name("Mainnet"), None);
        assert_eq!(Network::by_fork_version([0, 0, 0, 1]), None);
    }
}
