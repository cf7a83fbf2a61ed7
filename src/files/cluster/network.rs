//! The networks charon knows (charon `eth2util/network.go`), found by their exact fork version.

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
}

impl Network {
    /// Every network that any charon release from v0.13 to v1.11 knew.
    ///
    /// holesky was removed in v1.11 and ropsten after v0.15.0; files made on them are still to be read.
    pub const ALL: [Network; 8] = [
        Network::new("mainnet", [0x00, 0x00, 0x00, 0x00], 1, Some(1_606_824_023)),
        Network::new("goerli", [0x00, 0x00, 0x10, 0x20], 5, Some(1_616_508_000)),
        Network::new("gnosis", [0x00, 0x00, 0x00, 0x64], 100, Some(1_638_993_340)),
        Network::new(
            "chiado",
            [0x00, 0x00, 0x00, 0x6f],
            10_200,
            Some(1_665_396_300),
        ),
        Network::new(
            "sepolia",
            [0x90, 0x00, 0x00, 0x69],
            11_155_111,
            Some(1_655_733_600),
        ),
        Network::new(
            "holesky",
            [0x01, 0x01, 0x70, 0x00],
            17_000,
            Some(1_696_000_704),
        ),
        Network::new(
            "hoodi",
            [0x10, 0x00, 0x09, 0x10],
            560_048,
            Some(1_742_213_400),
        ),
        Network::new("ropsten", [0x80, 0x00, 0x00, 0x69], 3, None),
    ];

    const fn new(
        name: &'static str,
        fork_version: [u8; 4],
        chain_id: u64,
        genesis_time: Option<u64>,
    ) -> Self {
        Self {
            name,
            fork_version,
            chain_id,
            genesis_time,
        }
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

    #[test]
    fn prater_is_goerli_and_the_unknown_is_unknown() {
        assert_eq!(Network::by_name("prater").unwrap().chain_id, 5);
        assert_eq!(Network::by_name("Mainnet"), None);
        assert_eq!(Network::by_fork_version([0, 0, 0, 1]), None);
    }
}
