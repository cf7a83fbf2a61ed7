//! `gate status`: what the gate covers, what it does not, and what it would say now.

use serde::Serialize;

use super::decide::{Asked, decide};
use super::site::{Site, engine};
use super::words::Flags;
use crate::cli::ComposeArgs;
use crate::commands::{Context, checked};
use crate::error::Failure;
use crate::gate::coverage::{Access, Edge, RunAs, Watched, fix, foreign};
use crate::gate::decision::{GateDecision, Require, Words};
use crate::gate::project::{Project, Service};
use crate::gate::{GATE_FILE, GATE_SERVICE, GateKind};
use crate::host::compose;
use crate::host::docker::Engine;
use crate::report;

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    compose: String,
    compose_version: String,
    installed: Option<Installed>,
    data_dir: String,
    open: bool,
    says: String,
    next: Option<String>,
    services: Vec<Line>,
    /// What keeps the gate from working as it should.
    problems: Vec<Problem>,
    /// How a service starts all the same.
    ways_around: Vec<String>,
}

#[derive(Serialize, Clone, Copy)]
struct Installed {
    kind: GateKind,
    require: Require,
    rehearsal: bool,
}

#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    watched: Watched,
    covered: bool,
}

#[derive(Serialize)]
struct Problem {
    what: String,
    next: String,
}

pub(super) async fn status(context: &Context, args: &ComposeArgs) -> Result<(), Failure> {
    let site = Site::open(context, context.layout()?, args.compose.as_deref())?;
    let engine = engine(context).await?;
    show(context, site, &engine).await
}

pub(super) async fn show(context: &Context, site: Site, engine: &Engine) -> Result<(), Failure> {
    let project = site.project()?;
    let gate = project.services.get(GATE_SERVICE).and_then(installed);
    let kind = match gate {
        Some(gate) => gate.kind,
        None => site
            .compose
            .version()
            .gate_kind()
            .unwrap_or(GateKind::OneShot),
    };
    let seen = site.look(engine, &project).await?;
    let watched = site.assess(&project, &seen, kind);
    let flags = Flags::of(&site.layout);
    let words = flags.words(&context.spelling);
    let asked = asked(gate);
    let decision = decide(&site.layout, asked, words, &checked::shown(context));
    let (open, says, next) = match decision {
        GateDecision::Open { summary } => (true, summary, None),
        GateDecision::Closed(closed) => (false, closed.reason, Some(closed.next)),
    };
    let mut problems = site_problems(&site, &project, gate.is_some(), words)?;
    problems.extend(service_problems(&watched, gate.is_some(), words));
    problems.extend(access_problems(&watched, &seen.run_as));
    for (service, container) in foreign(&project) {
        problems.push(Problem {
            what: format!("{service} takes over the volumes of container {container}, which cannot be looked into from here"),
            next: "name a service instead".to_owned(),
        });
    }
    let document = Document {
        schema: "charon-dkg.gate-status/1",
        compose: site.compose.to_string(),
        compose_version: site.compose.version().to_string(),
        installed: gate,
        data_dir: site.layout.data_dir().display().to_string(),
        open,
        says,
        next,
        ways_around: ways_around(&site, gate, &watched),
        services: watched
            .into_iter()
            .map(|watched| Line {
                covered: gate.is_some() && watched.edge == Edge::Waits,
                watched,
            })
            .collect(),
        problems,
    };
    context.result(&text(&document), &document)
}

/// What the gate in a project was told. An unreadable policy is the strict one.
pub(in crate::commands) fn asked_of(project: &Project) -> Option<Asked> {
    project
        .services
        .get(GATE_SERVICE)
        .and_then(installed)
        .map(|gate| asked(Some(gate)))
}

fn asked(gate: Option<Installed>) -> Asked {
    Asked {
        require: gate.map_or(Require::Confirmed, |gate| gate.require),
        rehearsal: gate.is_some_and(|gate| gate.rehearsal),
    }
}

fn installed(gate: &Service) -> Option<Installed> {
    let require = |text: Option<&String>| text.and_then(|text| Require::parse(text));
    Some(match &gate.provider {
        Some(provider) => Installed {
            kind: GateKind::Provider,
            require: require(provider.options.get("require")).unwrap_or(Require::Confirmed),
            rehearsal: provider
                .options
                .get("rehearsal")
                .is_some_and(|value| value == "true"),
        },
        None => {
            let after = gate
                .command
                .iter()
                .skip_while(|word| *word != "--require")
                .nth(1);
            Installed {
                kind: GateKind::OneShot,
                require: require(after).unwrap_or(Require::Confirmed),
                rehearsal: gate.command.iter().any(|word| word == "--rehearsal"),
            }
        }
    })
}

fn site_problems(
    site: &Site,
    project: &Project,
    installed: bool,
    words: Words<'_>,
) -> Result<Vec<Problem>, Failure> {
    let mut problems = Vec::new();
    for variable in compose::overruling_variables() {
        problems.push(Problem {
            what: format!("this shell sets {variable}, so Compose does not go by .env here"),
            next: format!("unset {}", variable.split('=').next().unwrap_or_default()),
        });
    }
    if !installed && site.gate_file.bytes().is_some() {
        problems.push(Problem {
            what: format!("{GATE_FILE} is here, and Compose does not read it"),
            next: words.command("gate install"),
        });
    }
    // A file of the default names that came later is no longer read by itself.
    let base = site.dotenv_without_gate()?;
    if installed && base.as_deref() != site.dotenv.bytes() {
        let named = crate::gate::dotenv::files(site.dotenv.bytes(), &site.separator)
            .ok()
            .flatten();
        let named = named.unwrap_or_default();
        let unset = matches!(
            crate::gate::dotenv::files(base.as_deref(), &site.separator),
            Ok(None)
        );
        for file in compose::default_files(site.dir()).unwrap_or_default() {
            if unset && !named.contains(&file) {
                problems.push(Problem {
                    what: format!(
                        "{file} is not among the files in COMPOSE_FILE, so Compose does not read it"
                    ),
                    next: words.command("gate install"),
                });
            }
        }
    }
    // A provider keeps the name that it had; a container may have been made from an older program.
    if installed && project.services.len() == 1 {
        problems.push(Problem {
            what: "the project has no service but the gate".to_owned(),
            next: words.command("gate remove"),
        });
    }
    Ok(problems)
}

fn service_problems(watched: &[Watched], installed: bool, words: Words<'_>) -> Vec<Problem> {
    if !installed {
        return vec![Problem {
            what: "no gate is installed in this project".to_owned(),
            next: words.command("gate install"),
        }];
    }
    watched
        .iter()
        .filter(|service| service.edge != Edge::Waits)
        .map(|service| Problem {
            what: format!(
                "{} sees the data directory and does not wait for the gate",
                service.service
            ),
            next: words.command("gate install"),
        })
        .collect()
}

/// Who could not read the keys, and of whom that cannot be told.
fn access_problems(watched: &[Watched], run_as: &RunAs) -> Vec<Problem> {
    let mut problems: Vec<Problem> = watched
        .iter()
        .filter_map(|service| {
            let Access::CannotRead(user) = &service.access else {
                return None;
            };
            Some(Problem {
                what: format!(
                    "{} could not read the keys: it runs as user {user}, and they are readable for {} alone",
                    service.service, run_as.user
                ),
                next: format!(
                    "put this into a compose file of yours that COMPOSE_FILE names: {}",
                    fix(&service.service, run_as)
                ),
            })
        })
        .collect();
    let unknown: Vec<String> = watched
        .iter()
        .filter_map(|service| match &service.access {
            Access::CouldNotTell(reason) => Some(format!("{} ({reason})", service.service)),
            Access::Reads | Access::CannotRead(_) => None,
        })
        .collect();
    if !unknown.is_empty() {
        problems.push(Problem {
            what: format!(
                "it cannot be told yet whether these could read the keys: {}",
                unknown.join(", ")
            ),
            next: format!(
                "pull the images and ask again; only root and user {} can read them",
                run_as.user
            ),
        });
    }
    problems
}

/// Compose's own ways past any `depends_on`, tried with releases 1.29, 2.26 and 2.40.
fn ways_around(site: &Site, gate: Option<Installed>, watched: &[Watched]) -> Vec<String> {
    let compose = &site.compose;
    let Some(gate) = gate else {
        return Vec::new();
    };
    let mut ways = vec![format!(
        "`{compose} up --no-deps`, `{compose} run --no-deps` and `{compose} restart` do not ask the gate, nor does `docker start`"
    )];
    if gate.kind == GateKind::Provider {
        ways.push(format!(
            "`{compose} start` does not ask it: it starts what was created, and `create` asks"
        ));
    }
    ways.push(format!(
        "`{compose} -f FILE`, `--env-file`, COMPOSE_FILE in the shell, and a call from a subdirectory do not read .env here, and so not the gate"
    ));
    let restarting: Vec<String> = watched
        .iter()
        .filter_map(|service| {
            let policy = service.restart.as_ref()?;
            Some(format!("{} ({policy})", service.service))
        })
        .collect();
    if !restarting.is_empty() {
        ways.push(format!(
            "once they ran, the engine restarts these by their restart policy without asking anybody: {}",
            restarting.join(", ")
        ));
    }
    ways
}

fn text(document: &Document) -> String {
    let mut text = match document.installed {
        Some(gate) => format!(
            "gate: {}, requires {}{}, for {} {}\n",
            match gate.kind {
                GateKind::Provider => "asked by Compose",
                GateKind::OneShot => "a container that others wait for",
            },
            gate.require.name(),
            if gate.rehearsal {
                ", in a rehearsal"
            } else {
                ""
            },
            document.compose,
            document.compose_version,
        ),
        None => "gate: none in this project\n".to_owned(),
    };
    let word = if document.open { "open" } else { "closed" };
    text.push_str(&format!("{word}: {}\n", report::clean(&document.says)));
    if let Some(next) = &document.next {
        text.push_str(&format!("    next: {}\n", report::clean(next)));
    }
    let width = document
        .services
        .iter()
        .map(|line| line.watched.service.len())
        .max()
        .unwrap_or_default();
    for line in &document.services {
        text.push_str(&format!(
            "    {:width$}  {}  {}\n",
            line.watched.service,
            if line.covered {
                "waits      "
            } else {
                "NOT COVERED"
            },
            report::clean(&line.watched.paths.join(", ")),
        ));
    }
    for problem in &document.problems {
        text.push_str(&format!(
            "problem: {}\n    next: {}\n",
            report::clean(&problem.what),
            report::clean(&problem.next)
        ));
    }
    if !document.ways_around.is_empty() {
        text.push_str("what no gate can cover:\n");
    }
    for way in &document.ways_around {
        text.push_str(&format!("    {}\n", report::clean(way)));
    }
    text
}
