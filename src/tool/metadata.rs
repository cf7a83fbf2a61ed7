//! What docker and Compose ask a plugin about itself, answered from two files of the source tree.

use std::ffi::OsStr;

/// The word with which docker asks a plugin who it is (docker/cli `cli-plugins/manager`,
/// `MetadataSubcommandName`).
const METADATA_SUBCOMMAND: &str = "docker-cli-plugin-metadata";

/// Whether `argv`, program name first, is docker asking who we are. docker asks so at every
/// `docker info` and `docker --help`, of every plugin, so the answer has to come before all else.
pub fn is_metadata_request<A: AsRef<OsStr>>(argv: &[A]) -> bool {
    matches!(argv, [_, word] if word.as_ref() == METADATA_SUBCOMMAND)
}

/// The answer to docker: JSON with `SchemaVersion`, `Vendor`, `Version`, `ShortDescription`. `URL` is the plugin's own page; it is left
/// out as long as `Cargo.toml` names no `repository`, since another project's page would be taken for ours.
pub const fn docker_cli_plugin() -> &'static str {
    include_str!("../../plugin-metadata/docker-cli-plugin.json")
}

/// The answer to `compose metadata`: a JSON object that declares no parameter, so that Compose
/// hands on every option of the provider (docker/compose `pkg/compose/plugins.go`, `IsEmpty`).
pub const fn compose_provider() -> &'static str {
    include_str!("../../plugin-metadata/compose-provider.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dockers_own_question_is_one() {
        assert!(is_metadata_request(&[
            "docker-charondkg",
            METADATA_SUBCOMMAND
        ]));
        assert!(is_metadata_request(&["charon-dkg", METADATA_SUBCOMMAND]));
        let none: [&str; 0] = [];
        assert!(!is_metadata_request(&none));
        assert!(!is_metadata_request(&[METADATA_SUBCOMMAND]));
        assert!(!is_metadata_request(&[
            "docker-charondkg",
            "charondkg",
            METADATA_SUBCOMMAND
        ]));
        assert!(!is_metadata_request(&[
            "docker-charondkg",
            METADATA_SUBCOMMAND,
            "more"
        ]));
    }

    #[test]
    fn docker_is_told_what_it_demands_and_our_true_version() {
        let answer: serde_json::Value = serde_json::from_str(docker_cli_plugin()).unwrap();
        assert_eq!(answer["SchemaVersion"], "0.1.0");
        assert_eq!(answer["Version"], env!("CARGO_PKG_VERSION"));
        let page = answer.get("URL").map_or("", |url| url.as_str().unwrap());
        assert_eq!(page, env!("CARGO_PKG_REPOSITORY"));
        for field in ["Vendor", "ShortDescription"] {
            assert!(
                answer[field].as_str().is_some_and(|text| !text.is_empty()),
                "{field}"
            );
        }
    }

    #[test]
    fn compose_is_told_of_no_parameter() {
        let answer: serde_json::Value = serde_json::from_str(compose_provider()).unwrap();
        // Compose takes a nonempty one of these for a declaration.
        for field in ["description", "up", "down", "stop"] {
            assert!(answer.get(field).is_none(), "{field}");
        }
    }
}
