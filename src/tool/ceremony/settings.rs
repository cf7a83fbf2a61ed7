//! What the settings of a compose project, its `.env`, say of the cluster, against its definition.
//!
//! Two settings count, as ObolNetwork's compose projects name them: `NETWORK`, and in those for Lido
//! `LIDO_EXECUTION_LAYER_REWARDS_ADDRESS`, with which validator clients are told where fees go. Samples of them have been
//! wrong: that for Hoodi of 2026-05-20 gave Holesky's vault.
//!
//! The release of charon that the project runs has to read the cluster's files: an older one restarts for ever, with
//! "unsupported definition version" in its log. And its nodes find each other only at a relay that they have in common.

use crate::ceremony::pins;
use crate::gate::dotenv;
use charon_files::cluster::{Address, CharonVersion, Definition, DefinitionVersion, Network};
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
    let value =
        |variable| dotenv::set(dotenv, variable).filter(|(_, value)| !value.trim().is_empty());
    if let (Some((line, seen)), Some(expected)) = (value(NETWORK), of_cluster)
        && Network::by_name(seen.trim()) != Some(expected)
    {
        findings.push(Finding {
            check: "project-network",
            weight: Weight::Fail,
            subject: format!("line {line} of .env, {NETWORK}"),
            seen,
            expected: format!("{expected}, the network of the definition"),
            advice: "compare both with the coordinator, then correct the one that is wrong"
                .to_owned(),
        });
    }
    let Some((line, seen)) = value(REWARDS) else {
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
            subject: format!("line {line} of .env, {REWARDS}"),
            seen,
            expected: format!("{}, the fee recipient of the definition", wrong.join(", ")),
            advice:
                "rewards would go astray: compare both with the protocol's own page, then correct the one that is wrong"
                    .to_owned(),
        });
    }
    findings
}

/// The variable that chooses charon's release in ObolNetwork's compose projects.
const CHARON_VERSION: &str = "CHARON_VERSION";

/// What speaks against running a cluster of this format with this image of charon; `None` if its release reads it.
pub fn charon_release(
    image: &str,
    dotenv: Option<&[u8]>,
    version: DefinitionVersion,
) -> Option<Finding> {
    let tag = tag(image);
    let release: Option<CharonVersion> = tag.and_then(|tag| tag.parse().ok());
    let newest = release.as_ref().and_then(pins::accepted_by);
    if newest.is_some_and(|(_, newest)| version <= newest) {
        return None;
    }
    if release.as_ref().is_some_and(pins::is_newer) {
        return None;
    }
    let reads = pins::table()
        .into_iter()
        .find(|row| (row.from..=row.to).contains(&version))
        .and_then(|row| row.charon.or(row.prerelease));
    let reads = reads.map_or_else(
        || "a release that reads it".to_owned(),
        |charon| format!("{charon}, or another release that reads it"),
    );
    let set = dotenv.and_then(|bytes| dotenv::set(bytes, CHARON_VERSION));
    let advice = match set {
        Some((line, value)) if Some(value.as_str()) == tag => {
            format!("change line {line} of .env, which has {CHARON_VERSION}={value}")
        }
        Some(_) | None => format!(
            "name such a release by {CHARON_VERSION} in .env, or in the compose file if its image does not have that variable"
        ),
    };
    let (weight, seen) = match newest {
        Some((_, newest)) => (
            Weight::Fail,
            format!(
                "{image}, which reads formats up to {newest} and would restart for ever; this cluster's is {version}"
            ),
        ),
        None => (
            Weight::CouldNotTell,
            format!(
                "{image}, of which it cannot be told whether it reads this cluster's format {version}"
            ),
        ),
    };
    Some(Finding {
        check: "project-charon-release",
        weight,
        subject: "charon's image".to_owned(),
        seen,
        expected: reads,
        advice,
    })
}

/// The same for what `.env` alone says, without asking Compose; `None` if it names no release that cannot read it.
pub fn charon_release_in_dotenv(dotenv: &[u8], version: DefinitionVersion) -> Option<Finding> {
    let value = dotenv::value(dotenv, CHARON_VERSION)?;
    let image = format!("{}:{value}", pins::OFFICIAL_REPOSITORY);
    let finding = charon_release(&image, Some(dotenv), version)?;
    (finding.weight == Weight::Fail).then_some(finding)
}

/// The variable that names charon's relays in ObolNetwork's compose projects; charon itself reads it too.
pub const RELAYS: &str = "CHARON_P2P_RELAYS";

/// What there is to know where the project's charon is told none of the relays at which the ceremony met. The others may
/// have agreed on new ones, so it is a note.
pub fn relays(project: &str, dotenv: Option<&[u8]>, ceremony: &[String]) -> Option<Finding> {
    let same = |relay: &str| relay.trim().trim_end_matches('/').to_ascii_lowercase();
    let met: Vec<String> = ceremony.iter().map(|relay| same(relay)).collect();
    let in_common = project.split(',').any(|relay| met.contains(&same(relay)));
    if in_common || met.is_empty() || project.trim().is_empty() {
        return None;
    }
    let set = dotenv.and_then(|bytes| dotenv::set(bytes, RELAYS));
    let advice = match set {
        Some((line, value)) if value == project => format!("change line {line} of .env, {RELAYS}"),
        Some(_) | None => format!("set {RELAYS} in .env"),
    };
    Some(Finding {
        check: "project-relays",
        weight: Weight::Note,
        subject: "charon's relays".to_owned(),
        seen: format!("{project}, at none of which the ceremony met"),
        expected: format!(
            "one that the nodes of all operators have, such as {}",
            ceremony.join(",")
        ),
        advice: format!(
            "nodes meet only at a relay that they have in common: unless all operators agreed on this, {advice}"
        ),
    })
}

/// The same for what `.env` alone says; `None` if it names no relays.
pub fn relays_in_dotenv(dotenv: &[u8], ceremony: &[String]) -> Option<Finding> {
    relays(&dotenv::value(dotenv, RELAYS)?, Some(dotenv), ceremony)
}

/// The tag of an image, if it has one.
fn tag(image: &str) -> Option<&str> {
    let named = image.split('@').next()?;
    let last = named.rsplit('/').next()?;
    last.split_once(':').map(|(_, tag)| tag)
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
    fn charons_release_has_to_read_the_format() {
        let weight = |image: &str, dotenv: &str, version| {
            let found = charon_release(image, Some(dotenv.as_bytes()), version);
            found.map(|finding| (finding.weight, finding.advice))
        };
        let (old, today, new) = (
            DefinitionVersion::V1_5,
            DefinitionVersion::V1_10,
            DefinitionVersion::V1_11,
        );
        for (image, version) in [
            ("obolnetwork/charon:v1.10.3", today),
            ("obolnetwork/charon:v1.10.0", old),
            ("mirror:5000/charon:v1.11.0-rc3@sha256:00", new),
            // What is newer than this program, its authors know.
            ("obolnetwork/charon:v1.12.0", new),
            ("obolnetwork/charon:v2.0", new),
        ] {
            assert_eq!(weight(image, "", version), None, "{image}");
        }
        for (image, version) in [
            ("obolnetwork/charon:v0.16.0", today),
            ("obolnetwork/charon:v1.10.3", new),
            ("obolnetwork/charon:v1.2.0", today),
        ] {
            let (weight, advice) = weight(image, "CHARON_VERSION=v9\n", version).unwrap();
            assert_eq!(weight, Weight::Fail, "{image}");
            assert!(advice.contains("name such a release"), "{advice}");
        }
        let dotenv = "NETWORK=hoodi\nCHARON_VERSION=v0.16.0\n";
        let (_, advice) = weight("obolnetwork/charon:v0.16.0", dotenv, today).unwrap();
        assert!(
            advice.contains("line 2 of .env, which has CHARON_VERSION=v0.16.0"),
            "{advice}"
        );
        for image in [
            "charon",
            "charon:latest",
            "m:5000/charon@sha256:00",
            "charon:v0.9.0",
        ] {
            let (weight, _) = weight(image, dotenv, today).unwrap();
            assert_eq!(weight, Weight::CouldNotTell, "{image}");
        }
        let alone = |dotenv: &str| charon_release_in_dotenv(dotenv.as_bytes(), today).is_some();
        assert!(alone(dotenv));
        for fine in [
            "",
            "CHARON_VERSION=\n",
            "CHARON_VERSION=latest\n",
            "CHARON_VERSION=v1.10.1\n",
        ] {
            assert!(!alone(fine), "{fine}");
        }
    }

    #[test]
    fn relays_have_one_in_common() {
        let met = ["https://0.relay.obol.tech", "https://2.relay.obol.dev/"].map(str::to_owned);
        for fine in [
            "https://0.relay.obol.tech",
            "https://other.org, https://2.Relay.obol.dev",
            " ",
        ] {
            assert_eq!(relays(fine, None, &met), None, "{fine}");
        }
        assert_eq!(relays("https://other.org", None, &[]), None);
        let dotenv = b"NETWORK=hoodi\nCHARON_P2P_RELAYS=https://other.org\n";
        let finding = relays_in_dotenv(dotenv, &met).unwrap();
        assert_eq!(finding.weight, Weight::Note);
        assert!(
            finding
                .advice
                .ends_with("change line 2 of .env, CHARON_P2P_RELAYS")
        );
        // What a compose file or the shell says is not in that line.
        let finding = relays("https://another.org", Some(dotenv), &met).unwrap();
        assert!(finding.advice.ends_with("set CHARON_P2P_RELAYS in .env"));
        assert_eq!(relays_in_dotenv(b"NETWORK=hoodi\n", &met), None);
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
        let found = disagreements(both.as_bytes(), &definition("hoodi", HOODI));
        assert!(
            found[0].subject.starts_with("line 1 of .env")
                && found[1].subject.starts_with("line 2 ")
        );
        assert_eq!(
            checks(&format!("{REWARDS}=0x12\n")),
            ["project-rewards-address"]
        );
    }
}
