//! The one file that is added to a project, made from `compose-templates/`.
//!
//! The templates are compose files that work as they are, for a project with one service `charon`. What varies is put in
//! their place; the service's part is repeated for every service that must wait.

use sha2::{Digest as _, Sha256};

use crate::ceremony::settings::Settings;
use crate::gate::coverage::RunAs;
use crate::gate::decision::Require;

const PROVIDER: &str = include_str!("../../../compose-templates/provider.yml");
const ONE_SHOT: &str = include_str!("../../../compose-templates/one-shot.yml");

/// Where the templates' service begins.
const SERVICE: &str = "\n  charon:\n";

/// Where the container of the one-shot template sees the data directory.
pub(crate) const DATA_DIR_INSIDE: &str = "/project/.charon";

/// How a file of ours begins; the digest of all that follows comes behind it.
const MARK: &str = "# charon-dkg gate file, sha256 ";

/// What the gate of a project needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateFile {
    /// The gate's state there.
    pub gate: Gate,
    /// What must hold before anything starts.
    pub require: Require,
    /// Whether this is a rehearsal, whose clusters are refused everywhere else.
    pub rehearsal: bool,
    /// The project's settings as its files have them: Compose puts the variables in at every start.
    pub settings: Settings,
    /// The services that wait.
    pub services: Vec<Waiting>,
}

/// What differs between the two kinds of gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// Compose asks the plugin.
    Provider {
        /// The project directory, absolute.
        project_dir: String,
        /// The data directory, relative to it or absolute.
        data_dir: String,
    },
    /// A container of this program.
    OneShot {
        /// Its image.
        image: String,
        /// As whom it runs.
        run_as: RunAs,
        /// The data directory, relative to the project directory with `./`, or absolute.
        data_dir: String,
        /// What is beside it, likewise.
        state_dir: String,
    },
}

/// A service that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its name.
    pub service: String,
    /// As whom it shall run; `None` leaves that to the project.
    pub run_as: Option<RunAs>,
}

/// What a file under our name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// As we wrote it.
    Ours,
    /// We wrote it, and somebody changed it.
    Edited,
    /// Somebody else's.
    Foreign,
}

/// The text of the file.
pub fn render(file: &GateFile) -> String {
    let (template, head) = match &file.gate {
        Gate::Provider {
            project_dir,
            data_dir,
        } => {
            let head = head(PROVIDER)
                .replace(
                    "project-dir: \".\"",
                    &format!("project-dir: {}", quoted(project_dir)),
                )
                .replace(
                    "data-dir: \".charon\"",
                    &format!("data-dir: {}", quoted(data_dir)),
                );
            let head = replace_require(&head, file.require);
            let head = if file.rehearsal {
                head + "\n        rehearsal: \"true\""
            } else {
                head
            };
            let told = settings(file).map(|(name, text)| format!("\n        {name}: {text}"));
            (PROVIDER, head + &told.collect::<String>())
        }
        Gate::OneShot {
            image,
            run_as,
            data_dir,
            state_dir,
        } => {
            let head = head(ONE_SHOT)
                .replace("\"charon-dkg-self:latest\"", &quoted(image))
                .replace("user: \"1000:1000\"", user_lines(run_as, "    ").trim())
                .replace("\"./.charon\"", &quoted(data_dir))
                .replace("\"./.charon-dkg\"", &quoted(state_dir));
            let head = replace_require(&head, file.require);
            let told = settings(file).map(|(name, text)| format!("\"--{name}\", {text}, "));
            let rehearsal = if file.rehearsal {
                "\"--rehearsal\", "
            } else {
                ""
            };
            let told = format!("{rehearsal}{}", told.collect::<String>());
            let head = head.replace("\"--require\"", &format!("{told}\"--require\""));
            (ONE_SHOT, head)
        }
    };
    let waiting = template.split_once(SERVICE).map_or("", |(_, rest)| rest);
    let mut text = head + "\n";
    for service in &file.services {
        text.push_str(&format!("  {}:\n", quoted(&service.service)));
        if let Some(run_as) = &service.run_as {
            text.push_str(&user_lines(run_as, "    "));
        }
        text.push_str(waiting);
    }
    format!("{MARK}{}\n{text}", digest(&text))
}

/// Whose file this is.
pub fn origin(bytes: &[u8]) -> Origin {
    let Some((first, rest)) = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.split_once('\n'))
    else {
        return Origin::Foreign;
    };
    match first.strip_prefix(MARK) {
        None => Origin::Foreign,
        Some(written) if written == digest(rest) => Origin::Ours,
        Some(_) => Origin::Edited,
    }
}

fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// A template up to its service.
fn head(template: &str) -> String {
    template
        .split_once(SERVICE)
        .map_or(template, |(head, _)| head)
        .to_owned()
}

fn replace_require(head: &str, require: Require) -> String {
    head.replace(&quoted(Require::Confirmed.name()), &quoted(require.name()))
}

fn user_lines(run_as: &RunAs, indent: &str) -> String {
    let mut lines = format!("{indent}user: {}\n", quoted(&run_as.user));
    if let Some(mode) = &run_as.userns_mode {
        lines.push_str(&format!("{indent}userns_mode: {}\n", quoted(mode)));
    }
    lines
}

/// Options with texts whose variables Compose is to put in.
fn settings(file: &GateFile) -> impl Iterator<Item = (&'static str, String)> {
    let told = file.settings.iter();
    told.map(|(setting, text)| {
        (
            setting.option(),
            serde_json::Value::from(text.as_str()).to_string(),
        )
    })
}

/// A text as YAML and Compose read it back: JSON's quotes are YAML's, and Compose reads two dollar signs as one.
fn quoted(text: &str) -> String {
    serde_json::Value::String(text.replace('$', "$$")).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::ceremony::settings::Setting;
    use crate::gate::project::Project;
    use crate::gate::{GATE_SERVICE, GateKind};

    fn parse(text: &str) -> Value {
        serde_yaml::from_str(text).unwrap()
    }

    fn run_as() -> RunAs {
        RunAs {
            user: "1001:1002".to_owned(),
            userns_mode: Some("host".to_owned()),
            readers: crate::gate::coverage::Readers::OwnerAndRoot,
        }
    }

    fn services() -> Vec<Waiting> {
        vec![
            Waiting {
                service: "charon".to_owned(),
                run_as: Some(run_as()),
            },
            Waiting {
                service: "vc-lodestar".to_owned(),
                run_as: None,
            },
        ]
    }

    fn provider() -> GateFile {
        GateFile {
            gate: Gate::Provider {
                project_dir: "/home/o \"p\"/$x".to_owned(),
                data_dir: "/elsewhere/.charon".to_owned(),
            },
            require: Require::Verified,
            rehearsal: false,
            settings: Settings::from([(Setting::CharonImage, "charon:${V:-v1}".to_owned())]),
            services: services(),
        }
    }

    fn one_shot() -> GateFile {
        GateFile {
            gate: Gate::OneShot {
                image: "charon-dkg-self:0011".to_owned(),
                run_as: run_as(),
                data_dir: "./node0".to_owned(),
                state_dir: "./node0-dkg".to_owned(),
            },
            require: Require::Confirmed,
            rehearsal: false,
            settings: Settings::from([
                (Setting::CharonImage, "charon:${V:-v1} charon:v2".to_owned()),
                (Setting::Network, "${NETWORK:-}".to_owned()),
            ]),
            services: services(),
        }
    }

    #[test]
    fn the_templates_are_compose_files_as_they_are() {
        for (text, kind) in [
            (PROVIDER, GateKind::Provider),
            (ONE_SHOT, GateKind::OneShot),
        ] {
            assert_eq!(text.matches(SERVICE).count(), 1);
            let project = Project::parse(text.as_bytes()).unwrap();
            let charon = &project.services["charon"];
            assert_eq!(charon.depends_on[GATE_SERVICE], kind.condition());
            assert_eq!(project.services.len(), 2);
        }
    }

    #[test]
    fn the_provider_is_told_where_it_stands() {
        let text = render(&provider());
        let project = Project::parse(text.as_bytes()).unwrap();
        let options = &project.services[GATE_SERVICE]
            .provider
            .as_ref()
            .unwrap()
            .options;
        assert_eq!(options["project-dir"], "/home/o \"p\"/$x");
        assert_eq!(options["data-dir"], "/elsewhere/.charon");
        assert_eq!(options["require"], "verified");
        assert_eq!(options["charon-image"], "charon:${V:-v1}");
        assert_eq!(options.len(), 4);
        let parsed = parse(&text);
        assert_eq!(parsed["services"]["charon"]["user"], "1001:1002");
        assert_eq!(parsed["services"]["charon"]["userns_mode"], "host");
        for service in ["charon", "vc-lodestar"] {
            let condition = &parsed["services"][service]["depends_on"][GATE_SERVICE]["condition"];
            assert_eq!(condition, "service_started");
        }
        assert!(parsed["services"]["vc-lodestar"].get("user").is_none());
        let rehearsal = render(&GateFile {
            rehearsal: true,
            ..provider()
        });
        let options = &parse(&rehearsal)["services"][GATE_SERVICE]["provider"]["options"];
        assert_eq!(options["rehearsal"], "true");
    }

    #[test]
    fn the_one_shot_sees_two_directories_and_can_write_neither() {
        let parsed = parse(&render(&one_shot()));
        let gate = &parsed["services"][GATE_SERVICE];
        assert_eq!(gate["image"], "charon-dkg-self:0011");
        assert_eq!(gate["user"], "1001:1002");
        assert_eq!(gate["userns_mode"], "host");
        assert_eq!(gate["volumes"][0]["source"], "./node0");
        assert_eq!(gate["volumes"][0]["target"], DATA_DIR_INSIDE);
        assert_eq!(gate["volumes"][1]["source"], "./node0-dkg");
        assert!(
            gate["volumes"]
                .as_array()
                .unwrap()
                .iter()
                .all(|volume| volume["read_only"] == true)
        );
        assert_eq!(
            gate["command"].as_array().unwrap().last().unwrap(),
            "confirmed"
        );
        let project = Project::parse(render(&one_shot()).as_bytes()).unwrap();
        let told = |name: &str| project.services[GATE_SERVICE].option(name);
        assert_eq!(told("charon-image"), Some("charon:${V:-v1} charon:v2"));
        assert_eq!(told("network"), Some("${NETWORK:-}"));
        assert_eq!(told("relays"), None);
        let bare = parse(&render(&GateFile {
            gate: Gate::OneShot {
                image: "i".to_owned(),
                run_as: run_as(),
                data_dir: "/d".to_owned(),
                state_dir: "/d-dkg".to_owned(),
            },
            require: Require::Verified,
            rehearsal: true,
            settings: Settings::new(),
            services: services(),
        }));
        let gate = &bare["services"][GATE_SERVICE];
        let command = gate["command"].as_array().unwrap();
        assert!(command.contains(&Value::from("--rehearsal")));
        assert!(!command.contains(&Value::from("--charon-image")));
        assert_eq!(command.last().unwrap(), "verified");
        assert_eq!(
            bare["services"]["vc-lodestar"]["depends_on"][GATE_SERVICE]["condition"],
            "service_completed_successfully"
        );
    }

    #[test]
    fn a_file_of_ours_is_known_and_so_is_an_edit() {
        let text = render(&provider());
        assert_eq!(origin(text.as_bytes()), Origin::Ours);
        assert_eq!(
            origin((text.clone() + "# mine\n").as_bytes()),
            Origin::Edited
        );
        assert_eq!(
            origin(text.replace("verified", "confirmed").as_bytes()),
            Origin::Edited
        );
        for foreign in [&b""[..], b"services: {}\n", b"\xff\n"] {
            assert_eq!(origin(foreign), Origin::Foreign);
        }
    }
}
