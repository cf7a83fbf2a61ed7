//! Which charon release runs which cluster definition version, and why.
//!
//! The rule: the newest good patch of the newest stable charon line that accepts the definition
//! version. Peers compare major.minor only, so a row, once released, never moves to another line:
//! every operator's copy of this program must give the same answer.

use charon_files::cluster::network::Network;
use charon_files::cluster::version::{CharonVersion, DefinitionVersion};
use charon_proof::edit::EditKind;

/// The official image repository.
pub const OFFICIAL_REPOSITORY: &str = "obolnetwork/charon";

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The oldest definition version of the row.
    pub from: DefinitionVersion,
    /// The newest definition version of the row.
    pub to: DefinitionVersion,
    /// The release, if there is a stable one.
    pub charon: Option<CharonVersion>,
    /// The release candidate that `--allow-prerelease` permits where there is no stable release.
    pub prerelease: Option<CharonVersion>,
    /// Why this release.
    pub why: &'static str,
}

/// The table, oldest definition versions first. It covers every [`DefinitionVersion`].
pub fn table() -> [Pin; 3] {
    use DefinitionVersion::{V1_0, V1_5, V1_6, V1_10, V1_11};
    [
        Pin {
            from: V1_0,
            to: V1_5,
            charon: Some(CharonVersion::release(0, 16, 0)),
            prerelease: None,
            why: "v0.16 is the newest line whose dkg accepts definitions older than v1.6.0",
        },
        Pin {
            from: V1_6,
            to: V1_10,
            charon: Some(CharonVersion::release(1, 10, 3)),
            prerelease: None,
            why: "v1.10 is the newest stable line; its dkg accepts v1.6.0 to v1.10.0",
        },
        Pin {
            from: V1_11,
            to: V1_11,
            charon: None,
            prerelease: Some(CharonVersion {
                pre_release: Some("rc3".to_owned()),
                ..CharonVersion::release(1, 11, 0)
            }),
            why: "no stable release accepts v1.11.0 yet",
        },
    ]
}

/// Releases that are refused whatever is asked, with the reason.
pub fn denied(charon: &CharonVersion, definition: DefinitionVersion) -> Option<&'static str> {
    match (charon.major, charon.minor, charon.patch) {
        (0, 14, Some(0..=3)) => Some(
            "it deletes existing keys before the ceremony, does not notice peers of another release, \
             and can hang at the end; operators lost a day to it in March 2023",
        ),
        (0, 16, Some(0)) if definition == DefinitionVersion::V1_7 => {
            Some("it signs builder registrations of v1.7.0 definitions for the wrong network")
        }
        _ => None,
    }
}

/// The oldest and newest definition version that `charon dkg` of a release line accepts
/// (charon `dkg/dkg.go` and `cluster/version.go` of each line).
pub fn accepted_by(charon: &CharonVersion) -> Option<(DefinitionVersion, DefinitionVersion)> {
    use DefinitionVersion::{V1_0, V1_4, V1_6, V1_7, V1_8, V1_10, V1_11};
    match (charon.major, charon.minor) {
        (0, 13) => Some((V1_0, V1_4)),
        (0, 14 | 15) => Some((V1_0, V1_6)),
        (0, 16) => Some((V1_0, V1_7)),
        (0, 17..=19) => Some((V1_6, V1_7)),
        (1, 0..=2) => Some((V1_6, V1_8)),
        (1, 3..=10) => Some((V1_6, V1_10)),
        (1, 11) => Some((V1_6, V1_11)),
        _ => None,
    }
}

/// Whether a release knows a network, and so accepts definitions for it (charon
/// `eth2util/network.go` of each release). `charon dkg` takes no custom networks.
pub fn knows_network(charon: &CharonVersion, network: &Network) -> bool {
    let from = |major, minor, patch| *charon >= CharonVersion::release(major, minor, patch);
    match network.name {
        "ropsten" => !from(0, 15, 1),
        "chiado" => from(1, 1, 1),
        "holesky" => from(0, 17, 1) && (charon.major, charon.minor) < (1, 11),
        "hoodi" => from(1, 3, 0),
        _ => true,
    }
}

/// The relays that `charon dkg` of a release uses when it is told none (charon `cmd/dkg.go`,
/// `cmd/run.go`). Operators of one ceremony meet only at a common relay.
pub fn default_relays(charon: &CharonVersion) -> &'static [&'static str] {
    match (charon.major, charon.minor) {
        (0, 0..=18) => &["https://0.relay.obol.tech"],
        (0, _) | (1, 0..=1) => &["https://0.relay.obol.tech", "https://1.relay.obol.tech"],
        (1, 2..=8) => &[
            "https://0.relay.obol.tech",
            "https://2.relay.obol.dev",
            "https://1.relay.obol.tech",
        ],
        _ => &["https://4.relay.obol.dev"],
    }
}

/// Why no release could be chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// There is no stable release for this definition version.
    #[error("no stable charon release runs a {definition} cluster definition yet")]
    NoStableRelease {
        /// Version of the definition.
        definition: DefinitionVersion,
        /// The release candidate that would.
        candidate: Option<CharonVersion>,
    },
    /// A pre-release was asked for without `--allow-prerelease`.
    #[error("charon {0} is a pre-release")]
    Prerelease(CharonVersion),
    /// The release asked for has no patch number, so it names no image.
    #[error("charon version {0} names no image; a release has three numbers, such as v1.10.3")]
    Incomplete(CharonVersion),
    /// The release asked for does not accept the definition.
    #[error(
        "charon {charon} does not accept a {definition} cluster definition (it accepts {accepts})"
    )]
    NotAccepted {
        /// The release asked for.
        charon: CharonVersion,
        /// Version of the definition.
        definition: DefinitionVersion,
        /// What it would accept, for people.
        accepts: String,
    },
    /// The release asked for does not know charon's command.
    #[error("charon {charon} has no `charon alpha edit {command}` ({since} and newer have)")]
    NoSuchEdit {
        /// The release asked for.
        charon: CharonVersion,
        /// The command.
        command: &'static str,
        /// The oldest release that has it.
        since: CharonVersion,
    },
    /// The release asked for is on the denylist.
    #[error("charon {charon} is refused: {reason}")]
    Denied {
        /// The release asked for.
        charon: CharonVersion,
        /// Why.
        reason: &'static str,
    },
}

/// The release that must run this definition, or the one asked for if it may.
///
/// # Errors
/// [`PinError`] says why no release can be chosen.
pub fn choose(
    definition: DefinitionVersion,
    asked: Option<&CharonVersion>,
    allow_prerelease: bool,
) -> Result<CharonVersion, PinError> {
    if let Some(charon) = asked {
        if charon.patch.is_none() {
            return Err(PinError::Incomplete(charon.clone()));
        }
        let accepted = accepted_by(charon);
        let accepts = |(from, to)| from <= definition && definition <= to;
        if !is_newer(charon) && !accepted.is_some_and(accepts) {
            return Err(PinError::NotAccepted {
                charon: charon.clone(),
                definition,
                accepts: accepted.map_or_else(
                    || "only formats older than v1.0.0".to_owned(),
                    |(from, to)| format!("{from} to {to}"),
                ),
            });
        }
        if let Some(reason) = denied(charon, definition) {
            return Err(PinError::Denied {
                charon: charon.clone(),
                reason,
            });
        }
        if charon.pre_release.is_some() && !allow_prerelease {
            return Err(PinError::Prerelease(charon.clone()));
        }
        return Ok(charon.clone());
    }
    let row = table()
        .into_iter()
        .find(|row| row.from <= definition && definition <= row.to);
    let (stable, candidate) = row.map_or((None, None), |row| (row.charon, row.prerelease));
    match (stable, candidate) {
        (Some(charon), _) => Ok(charon),
        (None, Some(charon)) if allow_prerelease => Ok(charon),
        (None, candidate) => Err(PinError::NoStableRelease {
            definition,
            candidate,
        }),
    }
}

/// The same for operators who agree among themselves. What all have named counts more than the table, even if this
/// program does not know it; what is refused whatever is asked, stays refused. A release newer than every one that is known
/// may be proposed to the others.
///
/// # Errors
/// As [`choose`].
pub fn choose_among(
    definition: DefinitionVersion,
    asked: Option<&CharonVersion>,
    allow_prerelease: bool,
    agreed: Option<&CharonVersion>,
    is_proposal: bool,
) -> Result<CharonVersion, PinError> {
    let agreed = agreed.filter(|agreed| asked.is_none_or(|asked| asked == *agreed));
    let proposed = asked.filter(|asked| is_proposal && asked.patch.is_some() && is_newer(asked));
    match agreed.or(proposed) {
        None => choose(definition, asked, allow_prerelease),
        Some(charon) => match denied(charon, definition) {
            Some(reason) => Err(PinError::Denied {
                charon: charon.clone(),
                reason,
            }),
            None => Ok(charon.clone()),
        },
    }
}

/// The first release with one of charon's edits under its present name (charon `cmd/edit.go` of each).
pub const fn knows_edit_since(kind: EditKind) -> CharonVersion {
    match kind {
        EditKind::AddValidators
        | EditKind::AddOperators
        | EditKind::RemoveOperators
        | EditKind::RecreatePrivateKeys => CharonVersion::release(1, 8, 0),
        EditKind::ReplaceOperator => CharonVersion::release(1, 9, 0),
    }
}

/// The oldest cluster lock that an edit takes: all releases with edits read every older one, but new validators are made
/// as by `dkg` (charon `dkg/dkg.go`).
const fn oldest_edited(kind: EditKind) -> DefinitionVersion {
    match kind {
        EditKind::AddValidators => DefinitionVersion::V1_6,
        EditKind::AddOperators
        | EditKind::RemoveOperators
        | EditKind::ReplaceOperator
        | EditKind::RecreatePrivateKeys => DefinitionVersion::V1_0,
    }
}

/// The release that must edit a cluster whose lock has this version, or the one asked for if it may. The table's releases for
/// locks that are older than every release with edits do not know them; the row after theirs counts then.
///
/// # Errors
/// [`PinError`] says why no release can be chosen.
pub fn choose_for_edit(
    lock: DefinitionVersion,
    kind: EditKind,
    asked: Option<&CharonVersion>,
    allow_prerelease: bool,
) -> Result<CharonVersion, PinError> {
    let as_if = lock.max(DefinitionVersion::V1_6);
    let charon = choose(as_if, asked, allow_prerelease)?;
    let since = knows_edit_since(kind);
    if charon < since {
        return Err(PinError::NoSuchEdit {
            charon,
            command: kind.command(),
            since,
        });
    }
    if lock < oldest_edited(kind) {
        return Err(PinError::NotAccepted {
            charon,
            definition: lock,
            accepts: format!("{} and newer for {}", oldest_edited(kind), kind.command()),
        });
    }
    Ok(charon)
}

/// Whether a release is of a newer line than all that the table names. Which definitions it accepts is for itself to say.
pub fn is_newer(charon: &CharonVersion) -> bool {
    let line = |charon: &CharonVersion| (charon.major, charon.minor);
    let known = table().into_iter();
    known
        .filter_map(|row| row.charon.max(row.prerelease))
        .all(|known| line(&known) < line(charon))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_version_has_exactly_one_row() {
        for version in DefinitionVersion::ALL {
            let rows = table()
                .iter()
                .filter(|row| row.from <= version && version <= row.to)
                .count();
            assert_eq!(rows, 1, "{version}");
        }
    }

    #[test]
    fn every_pinned_release_accepts_its_rows_and_is_not_denied() {
        for row in table() {
            let charon = row.charon.or(row.prerelease).unwrap();
            let (from, to) = accepted_by(&charon).unwrap();
            assert!(from <= row.from && row.to <= to, "{charon}");
            assert_eq!(denied(&charon, row.to), None);
        }
    }

    #[test]
    fn the_pins_are_the_ones_that_were_released() {
        let pinned = |text: &str| {
            choose(text.parse().unwrap(), None, false).map(|charon| charon.to_string())
        };
        assert_eq!(pinned("v1.0.0").unwrap(), "v0.16.0");
        assert_eq!(pinned("v1.5.0").unwrap(), "v0.16.0");
        assert_eq!(pinned("v1.6.0").unwrap(), "v1.10.3");
        assert_eq!(pinned("v1.10.0").unwrap(), "v1.10.3");
        assert!(matches!(
            pinned("v1.11.0"),
            Err(PinError::NoStableRelease { .. })
        ));
        let candidate = choose(DefinitionVersion::V1_11, None, true).unwrap();
        assert_eq!(candidate.to_string(), "v1.11.0-rc3");
    }

    #[test]
    fn edits_run_with_a_release_that_knows_them() {
        let choose = |lock: &str, kind, asked: Option<&str>| {
            let asked = asked.map(|text| text.parse::<CharonVersion>().unwrap());
            choose_for_edit(lock.parse().unwrap(), kind, asked.as_ref(), false)
                .map(|charon| charon.to_string())
        };
        for kind in EditKind::ALL {
            assert_eq!(choose("v1.7.0", *kind, None).unwrap(), "v1.10.3");
            assert!(choose("v1.11.0", *kind, None).is_err());
            assert!(matches!(
                choose("v1.7.0", *kind, Some("v1.7.1")),
                Err(PinError::NoSuchEdit { .. })
            ));
        }
        use EditKind::{AddValidators, RecreatePrivateKeys, ReplaceOperator};
        assert!(choose("v1.7.0", ReplaceOperator, Some("v1.8.3")).is_err());
        assert!(choose("v1.7.0", RecreatePrivateKeys, Some("v1.8.3")).is_ok());
        assert_eq!(
            choose("v1.5.0", RecreatePrivateKeys, None).unwrap(),
            "v1.10.3"
        );
        assert!(matches!(
            choose("v1.5.0", AddValidators, None),
            Err(PinError::NotAccepted { .. })
        ));
    }

    #[test]
    fn networks_came_and_went_with_releases() {
        let knows = |charon: &str, network: &str| {
            knows_network(
                &charon.parse().unwrap(),
                &Network::by_name(network).unwrap(),
            )
        };
        assert!(knows("v0.16.0", "goerli") && knows("v1.10.3", "goerli"));
        assert!(!knows("v0.16.0", "holesky") && knows("v1.10.3", "holesky"));
        assert!(!knows("v1.11.0-rc3", "holesky") && knows("v1.11.0-rc3", "hoodi"));
        assert!(!knows("v1.2.0", "hoodi") && knows("v1.3.3", "hoodi"));
        assert!(!knows("v0.16.0", "ropsten"));
    }

    #[test]
    fn what_all_agree_on_counts_more_than_the_table_but_not_than_what_is_refused() {
        let choose = |definition: &str, asked: Option<&str>, agreed: Option<&str>, proposal| {
            let parse = |text: &str| text.parse::<CharonVersion>().unwrap();
            choose_among(
                definition.parse().unwrap(),
                asked.map(parse).as_ref(),
                false,
                agreed.map(parse).as_ref(),
                proposal,
            )
            .map(|charon| charon.to_string())
        };
        let chosen = |text: &str| Ok(text.to_owned());
        assert_eq!(choose("v1.10.0", None, None, false), chosen("v1.10.3"));
        assert_eq!(
            choose("v1.10.0", None, Some("v1.12.0"), false),
            chosen("v1.12.0")
        );
        assert_eq!(
            choose("v1.10.0", Some("v1.12.0"), Some("v1.12.0"), false),
            chosen("v1.12.0")
        );
        assert_eq!(
            choose("v1.11.0", None, Some("v1.11.0-rc3"), false),
            chosen("v1.11.0-rc3")
        );
        // Another release that was asked for takes precedence.
        assert_eq!(
            choose("v1.10.0", Some("v1.9.0"), Some("v1.12.0"), false),
            chosen("v1.9.0")
        );
        assert_eq!(
            choose("v1.10.0", Some("v1.12.0"), None, false),
            chosen("v1.12.0")
        );
        assert_eq!(
            choose("v1.10.0", Some("v1.12.0"), None, true),
            chosen("v1.12.0")
        );
        assert!(choose("v1.10.0", Some("v1.12"), None, true).is_err());
        assert!(choose("v1.10.0", Some("v0.16.0"), None, true).is_err());
        assert!(matches!(
            choose("v1.4.0", None, Some("v0.14.2"), false),
            Err(PinError::Denied { .. })
        ));
    }

    #[test]
    fn an_override_must_be_accepted_known_and_not_denied() {
        let ask = |definition: &str, charon: &str| {
            choose(
                definition.parse().unwrap(),
                Some(&charon.parse().unwrap()),
                false,
            )
        };
        assert_eq!(ask("v1.10.0", "v1.3.3").unwrap().to_string(), "v1.3.3");
        assert!(matches!(
            ask("v1.5.0", "v1.10.3"),
            Err(PinError::NotAccepted { .. })
        ));
        assert!(matches!(
            ask("v1.5.0", "v0.14.2"),
            Err(PinError::Denied { .. })
        ));
        assert!(matches!(
            ask("v1.7.0", "v0.16.0"),
            Err(PinError::Denied { .. })
        ));
        // Older than all that this program knows, and newer: the latter is for charon to accept or not.
        assert!(matches!(
            ask("v1.10.0", "v0.12.0"),
            Err(PinError::NotAccepted { .. })
        ));
        assert_eq!(ask("v1.10.0", "v1.12.0").unwrap().to_string(), "v1.12.0");
        assert_eq!(ask("v1.11.0", "v2.0.1").unwrap().to_string(), "v2.0.1");
        assert!(matches!(
            ask("v1.10.0", "v1.12.0-rc1"),
            Err(PinError::Prerelease(_))
        ));
        assert!(matches!(
            ask("v1.10.0", "v1.11.0-rc3"),
            Err(PinError::Prerelease(_))
        ));
        assert!(matches!(
            ask("v1.10.0", "v1.10"),
            Err(PinError::Incomplete(_))
        ));
    }
}
