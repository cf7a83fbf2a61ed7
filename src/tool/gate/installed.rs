//! Which gate a project has, without asking Compose, which takes longer than most commands may.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::ceremony::settings::{Setting, Settings};
use crate::gate::compose::{self, ProjectFile};
use crate::gate::decision::Require;
use crate::gate::project::Project;
use crate::gate::status::Installed;
use crate::gate::{GATE_FILE, GATE_SERVICE, OVERRIDE_FILE, dotenv, yaml};
use crate::machine::datadir::Layout;

/// What Compose reads of a project that has a gate.
struct Files {
    dotenv: ProjectFile,
    /// The gate's own.
    gate: Project,
    /// The names of the others, in their order, if it can be told which.
    others: Option<Vec<String>>,
}

fn files(layout: &Layout) -> Option<Files> {
    let dir = layout.project_dir();
    let dotenv = ProjectFile::read(dir, ".env").ok()?;
    let separator = dotenv::separator(dotenv.bytes(), compose::separator_variable().as_deref());
    let (name, others) = match dotenv::files(dotenv.bytes(), &separator).ok()? {
        Some(mut files) => {
            let before = files.len();
            files.retain(|file| file != GATE_FILE);
            (files.len() < before).then_some((GATE_FILE, Some(files)))?
        }
        None => (
            OVERRIDE_FILE,
            compose::default_files(dir, Some(OVERRIDE_FILE)).ok(),
        ),
    };
    let file = ProjectFile::read(dir, name).ok()?;
    let gate = Project::parse(file.bytes()?).ok()?;
    Some(Files {
        dotenv,
        gate,
        others,
    })
}

/// The gate in the compose project, if Compose reads its file there.
pub(crate) fn installed(layout: &Layout) -> Option<Installed> {
    Installed::of(&files(layout)?.gate)
}

/// A variable of the shell.
pub(crate) fn shell(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A value as Compose finds it: the shell's before that of `.env`.
pub(crate) fn variable(dotenv: Option<&[u8]>, name: &str) -> Option<String> {
    shell(name).or_else(|| dotenv::value(dotenv?, name, &shell))
}

/// The settings that the project's gate was given, with the current values of their variables.
pub(crate) fn settings(layout: &Layout) -> Settings {
    let told = || {
        let files = files(layout)?;
        let gate = files.gate.services.get(GATE_SERVICE)?;
        let value = |name: &str| variable(files.dotenv.bytes(), name);
        let told = |setting: Setting| {
            let text = gate.option(setting.option())?;
            Some((setting, dotenv::interpolated(text, &value)?))
        };
        Some(Setting::ALL.into_iter().filter_map(told).collect())
    };
    told().unwrap_or_default()
}

/// Services that the gate's file makes wait and that the project does not have any more, as after an update: all that is left
/// of them is the gate's part, and Compose refuses everything. None where that cannot be told from the files alone.
pub(crate) fn gone(layout: &Layout) -> Vec<String> {
    let find = || {
        let files = files(layout)?;
        files.gate.services.get(GATE_SERVICE)?;
        let mut there = BTreeSet::from([GATE_SERVICE.to_owned()]);
        for name in &files.others? {
            let file = ProjectFile::read(layout.project_dir(), name).ok()?;
            for document in file.documents()? {
                if document.get("include").is_some() {
                    return None;
                }
                let Some(Value::Object(services)) = document.get("services") else {
                    continue;
                };
                for (service, body) in services {
                    if body == yaml::RESET {
                        there.remove(service);
                    } else {
                        there.insert(service.clone());
                    }
                }
            }
        }
        let waiting = files.gate.services.into_keys();
        Some(waiting.filter(|name| !there.contains(name)).collect())
    };
    find().unwrap_or_default()
}

/// Whether nothing may start here before all operators have confirmed.
pub(crate) fn wants_confirmation(layout: &Layout) -> bool {
    installed(layout).is_some_and(|gate| gate.require == Require::Confirmed)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_service_is_gone_only_where_no_file_has_it_or_merges_it() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write(".env", &format!("COMPOSE_FILE=compose.yaml:{GATE_FILE}\n"));
        let waiting = "charon: {}, vc: {}, renamed: {}";
        let gate = format!("services: {{{GATE_SERVICE}: {{image: example}}, {waiting}}}\n");
        write(GATE_FILE, &gate);
        let charon = "x-charon: &charon {charon: {image: example}}\n";
        let services = "services: {<<: *charon, vc: {image: example}}\n";
        write("compose.yaml", &format!("{charon}{services}"));
        let layout = Layout::resolve(dir.path(), None).unwrap();
        assert_eq!(gone(&layout), ["renamed"]);

        // Files with Compose's tags and with an amount in wei are read like others.
        let files = format!("COMPOSE_FILE=compose.yaml:own.yaml:{GATE_FILE}\n");
        write(".env", &files);
        let tags = "vc: !reset null, charon: {ports: !override [], environment: {AMOUNT: 32000000000000000000}}";
        write("own.yaml", &format!("services: {{{tags}}}\n"));
        assert_eq!(gone(&layout), ["renamed", "vc"]);
    }
}
