//! What the settings of a compose project, its `.env`, say of the cluster, against its definition.
//!
//! Two settings count, as ObolNetwork's compose projects name them: `NETWORK`, and in those for Lido
//! `LIDO_EXECUTION_LAYER_REWARDS_ADDRESS`, with which validator clients are told where fees go. Samples of them have been
//! wrong: that for Hoodi of 2026-05-20 gave Holesky's vault.

use crate::gate::dotenv;
use charon_files::cluster::{Address, Definition, Network};
use charon_files::finding::{Finding, Weight};
use charon_proof::profile::fee_recipient_addresses;

const NETWORK: &str = "NETWORK";
const REWARDS: &str = "LIDO_EXECUTION_LAYER_REWARDS_ADDRESS";

/// Largest `.env` that is read, in bytes.
pub const MAX_DOTENV_BYTES: u64 = 1 << 20;

/// Everything in `.env` that disagrees with the definition. What is not set, or only by another variable, says nothing.
pub fn disagreements(dotenv: &[u8], definition: &Definition) -> Vec<Finding> {
    let mut findings = Vec::new();
    let of_cluster = Network::by_fork_version(definition.fork_version);
    if let (Some(seen), Some(expected)) = (dotenv::value(dotenv, NETWORK), of_cluster)
        && Network::by_name(seen.trim()) != Some(expected)
    {
        findings.push(Finding {
            check: "project-network",
            weight: Weight::Fail,
            subject: format!(".env, {NETWORK}"),
            seen,
            expected: format!("{expected}, the network of the definition"),
            advice: "compare both with the coordinator, then correct the one that is wrong"
                .to_owned(),
        });
    }
    let Some(seen) = dotenv::value(dotenv, REWARDS) else {
        return findings;
    };
    let address = Address::parse(seen.trim());
    let wrong: Vec<String> = fee_recipient_addresses(definition)
        .into_iter()
        .map(|(text, _)| text)
        .filter(|text| address.is_none() || Address::parse(text) != address)
        .collect();
    if !wrong.is_empty() {
        findings.push(Finding {
            check: "project-rewards-address",
            weight: Weight::Fail,
            subject: format!(".env, {REWARDS}"),
            seen,
            expected: format!("{}, the fee recipient of the definition", wrong.join(", ")),
            advice:
                "rewards would go astray: compare both with the protocol's own page, then correct the one that is wrong"
                    .to_owned(),
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(network: &str, fee_recipient: &str) -> Definition {
        let fixture = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/ceremonies/charon-v1.10.3-def-v1.10.0-n4-v2/node0/.charon/cluster-definition.json"
        );
        let mut definition = Definition::parse(&std::fs::read(fixture).unwrap())
            .unwrap()
            .value;
        definition.fork_version = Network::by_name(network).unwrap().fork_version;
        if let charon_files::cluster::ValidatorAddresses::PerValidator(pairs) =
            &mut definition.validators
        {
            for pair in pairs {
                fee_recipient.clone_into(&mut pair.fee_recipient_address);
            }
        }
        definition
    }

    const HOODI: &str = "0x9b108015fe433F173696Af3Aa0CF7CDb3E104258";
    /// What the sample for Hoodi says.
    const HOLESKY: &str = "0xE73a3602b99f1f913e72F8bdcBC235e206794Ac8";

    fn checks(dotenv: &str) -> Vec<&'static str> {
        let findings = disagreements(dotenv.as_bytes(), &definition("hoodi", HOODI));
        findings.iter().map(|finding| finding.check).collect()
    }

    #[test]
    fn settings_that_agree_or_are_not_there_say_nothing() {
        for dotenv in [
            "",
            "OTHER=1\n# NETWORK=mainnet\n",
            "NETWORK=hoodi\n",
            &format!(
                "NETWORK=\"hoodi\" # x\nexport {REWARDS}={}\n",
                HOODI.to_lowercase()
            ),
            "NETWORKS=mainnet\nMY_NETWORK=mainnet\n",
        ] {
            assert_eq!(checks(dotenv), [""; 0], "{dotenv}");
        }
    }

    #[test]
    fn settings_that_disagree_are_found() {
        let both = format!("NETWORK=holesky\n{REWARDS}={HOLESKY}\n");
        assert_eq!(
            checks(&both),
            ["project-network", "project-rewards-address"]
        );
        assert_eq!(
            checks("NETWORK=hoodi\nNETWORK=mainnet\n"),
            ["project-network"]
        );
        assert_eq!(checks("NETWORK=hoody\n"), ["project-network"]);
        assert_eq!(
            checks(&format!("{REWARDS}=0x12\n")),
            ["project-rewards-address"]
        );
    }
}
