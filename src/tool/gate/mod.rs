//! The gate: what a compose project starts only once everybody has everything.
//!
//! | module | what |
//! |---|---|
//! | [`project`] | a project as Compose sees it, and which paths its services are given |
//! | [`coverage`] | which services see the data directory, which of them wait for the gate, and who could not read the keys |
//! | [`file`](mod@file) | the one file that is added to a project, made from `compose-templates/` |
//! | [`dotenv`] | the one entry that is added to `COMPOSE_FILE` in `.env` where files are named there, and taken out again |
//! | [`decision`] | open, or closed with the reason and the next command |
//! | [`status`] | all of it for people and for programs |
//! | `yaml` | compose files as they are written |
//!
//! All of it is pure: values in, values out.

#[cfg(target_os = "linux")]
pub mod answer_compose;
#[cfg(target_os = "linux")]
pub mod command;
#[cfg(target_os = "linux")]
pub mod compose;
#[cfg(target_os = "linux")]
pub mod confirmation;
pub mod coverage;
#[cfg(target_os = "linux")]
pub mod decide;
pub mod decision;
pub mod dotenv;
pub mod file;
#[cfg(target_os = "linux")]
pub mod install;
#[cfg(target_os = "linux")]
pub mod installed;
pub mod project;
pub mod provider;
#[cfg(target_os = "linux")]
pub mod remember;
#[cfg(target_os = "linux")]
pub mod remove;
#[cfg(target_os = "linux")]
pub mod show_status;
#[cfg(target_os = "linux")]
pub mod site;
pub mod status;
#[cfg(target_os = "linux")]
pub mod up;
#[cfg(target_os = "linux")]
pub mod words;
#[cfg(target_os = "linux")]
pub mod yaml;

/// The service that all others wait for.
pub const GATE_SERVICE: &str = "charon-dkg-gate";

/// The file that is added to a project which names its files in `COMPOSE_FILE`, in the project's directory.
pub const GATE_FILE: &str = "compose-charon-dkg.yml";

/// The file that is added to a project which does not and has no override of its own: Compose reads it by itself, wherever it
/// is called from. Of several such files Compose takes the first of its list, which is this, and 1.29 refuses; so that an
/// override that comes later does not take the gate away.
pub const OVERRIDE_FILE: &str = "compose.override.yml";

/// The name under which Compose finds the provider: docker's plugin `docker-charondkg`.
pub const PROVIDER_TYPE: &str = "charondkg";

/// The gate's state in a project; which one follows from the Compose that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateKind {
    /// Compose asks the plugin itself.
    Provider,
    /// A container of this program, which the others wait for.
    OneShot,
}

impl GateKind {
    /// The condition under which a service that waits for the gate may start (compose-spec `depends_on`).
    pub const fn condition(self) -> &'static str {
        match self {
            Self::Provider => "service_started",
            Self::OneShot => "service_completed_successfully",
        }
    }
}

/// A release of Compose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ComposeVersion {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
}

impl ComposeVersion {
    /// The first that knows `service_completed_successfully`.
    const OLDEST: Self = Self {
        major: 1,
        minor: 29,
    };

    /// The first with documented providers (docker/compose `docs/extension.md`; a draft in 2.35).
    const FIRST_WITH_PROVIDERS: Self = Self {
        major: 2,
        minor: 36,
    };

    /// What `compose version --short` printed: `2.40.3-3`, `v2.26.1`, `1.29.2`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.trim().trim_start_matches('v').split('.');
        Some(Self {
            major: numbers.next()?.parse().ok()?,
            minor: numbers.next()?.parse().ok()?,
        })
    }

    /// Which gate it can have; `None` if it is too old for any.
    pub fn gate_kind(self) -> Option<GateKind> {
        if self >= Self::FIRST_WITH_PROVIDERS {
            Some(GateKind::Provider)
        } else if self >= Self::OLDEST {
            Some(GateKind::OneShot)
        } else {
            None
        }
    }

    /// Whether it is the second program, which knows JSON output and `--profile '*'`.
    pub const fn is_second(self) -> bool {
        self.major >= 2
    }
}

impl std::fmt::Display for ComposeVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_gate_follows_from_the_release() {
        for (text, kind) in [
            ("5.0.2", Some(GateKind::Provider)),
            ("2.40.3-3\n", Some(GateKind::Provider)),
            ("v2.36.0", Some(GateKind::Provider)),
            ("2.35.1", Some(GateKind::OneShot)),
            ("2.0.0-rc.1", Some(GateKind::OneShot)),
            ("1.29.2", Some(GateKind::OneShot)),
            ("1.28.6", None),
        ] {
            let version = ComposeVersion::parse(text).unwrap();
            assert_eq!(version.gate_kind(), kind, "{text}");
        }
        for odd in ["", "dev", "2"] {
            assert_eq!(ComposeVersion::parse(odd), None, "{odd}");
        }
    }
}
