//! What the settings of a compose project say of the cluster, against its definition and the relays of its ceremony.
//!
//! ObolNetwork's compose projects name them by variables of `.env`: `NETWORK`, `CHARON_P2P_RELAYS`, and in those for Lido
//! `LIDO_EXECUTION_LAYER_REWARDS_ADDRESS`, with which validator clients are told where fees go. Samples of them have been
//! wrong: that for Hoodi of 2026-05-20 gave Holesky's vault.
//!
//! The release of charon that the project runs has to read the cluster's files: an older one restarts for ever, with
//! "unsupported definition version" in its log. And its nodes find each other only at a relay that they have in common.

use std::collections::BTreeMap;

use crate::ceremony::pins;
use crate::gate::dotenv;
use charon_files::cluster::{Address, CharonVersion, Definition, DefinitionVersion, Network};
use charon_files::finding::{Finding, Weight};
use charon_proof::profile::fee_recipient_addresses;

/// Largest `.env` that is read, in bytes.
pub const MAX_DOTENV_BYTES: u64 = 1 << 20;

/// What has to fit the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// Which network the clients follow.
    Network,
    /// Where fees go.
    Rewards,
    /// Images of charon, with spaces between them.
    CharonImage,
    /// charon's relays, with commas between them.
    Relays,
}

impl Setting {
    /// All, in the order in which they are told.
    pub const ALL: [Self; 4] = [
        Self::Network,
        Self::Rewards,
        Self::CharonImage,
        Self::Relays,
    ];

    /// The variable that ObolNetwork's compose projects have for it; charon itself reads that of the relays, too.
    pub const fn variable(self) -> &'static str {
        match self {
            Self::Network => "NETWORK",
            Self::Rewards => "LIDO_EXECUTION_LAYER_REWARDS_ADDRESS",
            Self::CharonImage => "CHARON_VERSION",
            Self::Relays => "CHARON_P2P_RELAYS",
        }
    }

    /// How a compose file has that variable's value put in.
    pub fn reference(self) -> String {
        format!("${{{}:-}}", self.variable())
    }

    /// The gate's option for it.
    pub const fn option(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Rewards => "rewards-address",
            Self::CharonImage => "charon-image",
            Self::Relays => "relays",
        }
    }
}

/// A project's settings, with all variables in their place. One that is empty says nothing.
pub type Settings = BTreeMap<Setting, String>;

/// What `.env` alone says, without Compose and the shell. What it does not set says nothing.
pub fn of_dotenv(dotenv: &[u8]) -> Settings {
    let value = |setting: Setting| {
        let value = dotenv::value(dotenv, setting.variable(), &|_| None)?;
        if value.trim().is_empty() {
            return None;
        }
        Some(match setting {
            Setting::CharonImage => (setting, format!("{}:{value}", pins::OFFICIAL_REPOSITORY)),
            Setting::Network | Setting::Rewards | Setting::Relays => (setting, value),
        })
    };
    Setting::ALL.into_iter().filter_map(value).collect()
}

/// Everything in a project's settings that does not fit this cluster, whose ceremony met at these relays. `dotenv` is where
/// the line to change is looked for.
pub fn disagreements(
    settings: &Settings,
    dotenv: Option<&[u8]>,
    definition: &Definition,
    met: &[String],
) -> Vec<Finding> {
    let about = settings.iter().flat_map(|(setting, value)| match setting {
        _ if value.trim().is_empty() => Vec::new(),
        Setting::Network => network(value, dotenv, definition).into_iter().collect(),
        Setting::Rewards => rewards(value, dotenv, definition).into_iter().collect(),
        Setting::CharonImage => {
            let images = value.split_whitespace();
            let found = images.filter_map(|it| charon_release(it, dotenv, definition.version));
            found.collect::<Vec<_>>()
        }
        Setting::Relays => relays(value, dotenv, met).into_iter().collect(),
    });
    about.collect()
}

/// The line of `.env` that gives a setting's variable this value.
fn line_of(dotenv: Option<&[u8]>, setting: Setting, value: &str) -> Option<usize> {
    let (line, set) = dotenv::set(dotenv?, setting.variable())?;
    (set == value).then_some(line)
}

/// Where a variable has this value: its line of `.env`, or by its name alone.
fn place(dotenv: Option<&[u8]>, setting: Setting, value: &str) -> String {
    let variable = setting.variable();
    line_of(dotenv, setting, value).map_or_else(
        || variable.to_owned(),
        |line| format!("line {line} of .env, {variable}"),
    )
}

fn network(seen: &str, dotenv: Option<&[u8]>, definition: &Definition) -> Option<Finding> {
    let expected = Network::by_fork_version(definition.fork_version)?;
    if Network::by_name(seen.trim()) == Some(expected) {
        return None;
    }
    Some(Finding {
        check: "project-network",
        weight: Weight::Fail,
        subject: place(dotenv, Setting::Network, seen),
        seen: seen.to_owned(),
        expected: format!("{expected}, the network of the definition"),
        advice: "compare both with the coordinator, then correct the one that is wrong".to_owned(),
    })
}

fn rewards(seen: &str, dotenv: Option<&[u8]>, definition: &Definition) -> Option<Finding> {
    let address = Address::parse(seen.trim());
    let wrong: Vec<String> = fee_recipient_addresses(definition)
        .into_iter()
        .map(|(text, _)| text)
        .filter(|text| address.is_none() || Address::parse(text) != address)
        .collect();
    if wrong.is_empty() {
        return None;
    }
    Some(Finding {
        check: "project-rewards-address",
        weight: Weight::Fail,
        subject: place(dotenv, Setting::Rewards, seen),
        seen: seen.to_owned(),
        expected: format!("{}, the fee recipient of the definition", wrong.join(", ")),
        advice:
            "rewards would go astray: compare both with the protocol's own page, then correct the one that is wrong"
                .to_owned(),
    })
}

/// What speaks against running a cluster of this format with this image of charon; `None` if its release reads it.
fn charon_release(
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
    let variable = Setting::CharonImage.variable();
    let line = tag.and_then(|tag| Some((line_of(dotenv, Setting::CharonImage, tag)?, tag)));
    let advice = match line {
        Some((line, tag)) => format!("change line {line} of .env, which has {variable}={tag}"),
        None => format!(
            "name such a release by {variable} in .env, or in the compose file if its image does not have that variable"
        ),
    };
    let (weight, seen) = match newest {
        Some((_, newest)) => (
            Weight::Fail,
            format!(
                "{image}, which reads formats up to {newest} and would restart forever; this cluster's is {version}"
            ),
        ),
        None => (
            Weight::CouldNotTell,
            format!("{image}, which may or may not read this cluster's format {version}"),
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

/// What there is to know where the project's charon is told none of the relays at which the ceremony met. The others may
/// have agreed on new ones, so it is a note.
fn relays(project: &str, dotenv: Option<&[u8]>, ceremony: &[String]) -> Option<Finding> {
    let same = |relay: &str| relay.trim().trim_end_matches('/').to_ascii_lowercase();
    let met: Vec<String> = ceremony.iter().map(|relay| same(relay)).collect();
    let in_common = project.split(',').any(|relay| met.contains(&same(relay)));
    if in_common || met.is_empty() {
        return None;
    }
    let variable = Setting::Relays.variable();
    let advice = match line_of(dotenv, Setting::Relays, project) {
        Some(line) => format!("change line {line} of .env, {variable}"),
        None => format!("set {variable} in .env"),
    };
    Some(Finding {
        check: "project-relays",
        weight: Weight::Note,
        subject: "charon's relays".to_owned(),
        seen: format!("{project}, none of which the ceremony used"),
        expected: format!(
            "one that all operators' nodes share, such as {}",
            ceremony.join(",")
        ),
        advice: format!(
            "nodes meet only at a relay that they share: unless all operators agreed on this, {advice}"
        ),
    })
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

    const REWARDS: &str = Setting::Rewards.variable();

    fn findings(dotenv: &str) -> Vec<Finding> {
        let bytes = dotenv.as_bytes();
        let cluster = definition("hoodi", HOODI);
        disagreements(&of_dotenv(bytes), Some(bytes), &cluster, &[])
    }

    fn checks(dotenv: &str) -> Vec<&'static str> {
        findings(dotenv).iter().map(|found| found.check).collect()
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
        assert_eq!(checks(dotenv), ["project-charon-release"]);
        for fine in ["", "CHARON_VERSION=\n", "CHARON_VERSION=v1.10.1\n"] {
            assert_eq!(checks(fine), [""; 0], "{fine}");
        }
    }

    #[test]
    fn relays_have_one_in_common() {
        let met = ["https://0.relay.obol.tech", "https://2.relay.obol.dev/"].map(str::to_owned);
        for fine in [
            "https://0.relay.obol.tech",
            "https://other.org, https://2.Relay.obol.dev",
        ] {
            assert_eq!(relays(fine, None, &met), None, "{fine}");
        }
        assert_eq!(relays("https://other.org", None, &[]), None);
        let dotenv = b"NETWORK=hoodi\nCHARON_P2P_RELAYS=https://other.org\n";
        let cluster = definition("hoodi", HOODI);
        let found = disagreements(&of_dotenv(dotenv), Some(dotenv), &cluster, &met);
        let [finding] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!(finding.weight, Weight::Note);
        assert!(
            finding
                .advice
                .ends_with("change line 2 of .env, CHARON_P2P_RELAYS")
        );
        // What a compose file or the shell says is not in that line.
        let finding = relays("https://another.org", Some(dotenv), &met).unwrap();
        assert!(finding.advice.ends_with("set CHARON_P2P_RELAYS in .env"));
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
        let found = findings(&both);
        assert!(
            found[0].subject.starts_with("line 1 of .env")
                && found[1].subject.starts_with("line 2 ")
        );
        assert_eq!(
            checks(&format!("{REWARDS}=0x12\n")),
            ["project-rewards-address"]
        );
        // What the shell or a compose file says is in no line of `.env`.
        let elsewhere = Settings::from([
            (Setting::Network, "mainnet".to_owned()),
            (Setting::Rewards, " ".to_owned()),
        ]);
        let cluster = definition("hoodi", HOODI);
        let found = disagreements(&elsewhere, Some(b"NETWORK=hoodi\n"), &cluster, &[]);
        let subjects: Vec<_> = found.iter().map(|found| found.subject.as_str()).collect();
        assert_eq!(subjects, ["NETWORK"]);
    }
}
