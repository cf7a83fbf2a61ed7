//! What the gate of a project covers, what it does not, and what it says now: for people and for programs.

use serde::Serialize;

use crate::gate::coverage::{Access, Edge, RunAs, Sight, UserUnknown, Watched, fix, foreign};
use crate::gate::decision::{GateDecision, Require, Words};
use crate::gate::project::{Project, Service};
use crate::gate::{ComposeVersion, GATE_SERVICE, GateKind};
use crate::report::{clean, finding_fact};
use charon_files::finding::{Finding, Weight};

/// Name and version of the JSON form.
pub const SCHEMA: &str = "charon-dkg.gate-status/1";

/// What the gate in a project was told when it was installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Installed {
    /// Its state there.
    pub kind: GateKind,
    /// What must be so.
    pub require: Require,
    /// Whether it is a rehearsal's.
    pub rehearsal: bool,
}

impl Installed {
    /// Reads it from the project. A policy that cannot be read is the strict one, as for the gate itself.
    pub fn of(project: &Project) -> Option<Self> {
        project.services.get(GATE_SERVICE).map(Self::of_service)
    }

    fn of_service(gate: &Service) -> Self {
        let (kind, rehearsal) = match &gate.provider {
            Some(_) => (GateKind::Provider, gate.option("rehearsal") == Some("true")),
            None => (
                GateKind::OneShot,
                gate.command.iter().any(|word| word == "--rehearsal"),
            ),
        };
        let require = gate.option("require").and_then(Require::parse);
        Self {
            kind,
            require: require.unwrap_or(Require::Confirmed),
            rehearsal,
        }
    }
}

/// What was seen.
#[derive(Debug)]
pub struct Seen<'a> {
    /// How Compose is called.
    pub compose: &'a str,
    /// Which release it is.
    pub version: ComposeVersion,
    /// The project as it is.
    pub project: &'a Project,
    /// Who sees the data directory.
    pub watched: Vec<Watched>,
    /// Who must be able to read it.
    pub run_as: &'a RunAs,
    /// What the gate says now.
    pub decision: GateDecision,
    /// Whether the keys are held, so that no service can start with them.
    pub held: bool,
    /// Variables of the shell in whose presence `.env` does not count.
    pub overruling: Vec<String>,
    /// Those of our files that are in the project directory.
    pub gate_files: Vec<&'static str>,
    /// The ways of calling Compose that were tried, and in which it starts who waits and asks no gate.
    pub open_ways: Vec<String>,
    /// Why `--no-deps` could not be tried, if so.
    pub untried: Option<String>,
    /// The containers that were created and see the data directory, each with its state.
    pub created: Vec<String>,
    /// Files that Compose would read by itself, if the gate did not name others in their place.
    pub unread: Vec<String>,
    /// Why the entry in `.env` could not be taken out again, if so.
    pub not_removable: Option<String>,
    /// What `.env` says against the definition of the cluster.
    pub settings: Vec<Finding>,
}

/// The state of the gate.
#[derive(Debug, Serialize)]
pub struct Status {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// How Compose is called.
    pub compose: String,
    /// Its release, two numbers.
    pub compose_version: String,
    /// What was installed; `null` if nothing was.
    pub installed: Option<Installed>,
    /// The data directory.
    pub data_dir: String,
    /// Whether the gate is open.
    pub open: bool,
    /// Why, in one line.
    pub says: String,
    /// What to do if it is closed.
    pub next: Option<String>,
    /// Whether the keys are held, so that no service can start with them.
    pub held: bool,
    /// Who sees the data directory.
    pub services: Vec<Line>,
    /// What keeps the gate or a service from working as it should.
    pub problems: Vec<Problem>,
    /// How a service starts all the same.
    pub ways_around: Vec<String>,
}

/// A service that sees something of the data directory.
#[derive(Debug, Serialize)]
pub struct Line {
    /// What is known of it.
    #[serde(flatten)]
    pub watched: Watched,
    /// Whether it waits for a gate that is there.
    pub covered: bool,
}

/// Something to be put right.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What is so.
    pub what: String,
    /// What to do.
    pub next: String,
}

impl Status {
    /// Draws the conclusions.
    pub fn of(seen: Seen<'_>, words: Words<'_>) -> Self {
        let installed = Installed::of(seen.project);
        let mut problems = around_problems(&seen, installed.is_some(), words);
        problems.extend(reboot_problems(&seen));
        problems.extend(edge_problems(&seen.watched, installed.is_some(), words));
        problems.extend(access_problems(&seen.watched, seen.run_as));
        problems.extend(foreign_problems(seen.project));
        if seen.held {
            problems.extend(held_problems(&seen.watched));
        }
        // What could not be told, or may be right, comes behind what is wrong.
        problems.extend(settings_problems(&seen, |weight| weight != Weight::Fail));
        let ways_around = installed.map(|gate| ways_around(&seen, gate));
        let (open, says, next) = match seen.decision {
            GateDecision::Open { summary, .. } => (true, summary, None),
            GateDecision::Closed(closed) => (false, closed.reason, Some(closed.next)),
        };
        let covered = |watched: &Watched| installed.is_some() && watched.edge == Edge::Waits;
        Self {
            schema: SCHEMA,
            compose: seen.compose.to_owned(),
            compose_version: seen.version.to_string(),
            installed,
            data_dir: words.data_dir.to_owned(),
            open,
            says,
            next,
            held: seen.held,
            services: seen
                .watched
                .into_iter()
                .map(|watched| Line {
                    covered: covered(&watched),
                    watched,
                })
                .collect(),
            problems,
            ways_around: ways_around.unwrap_or_default(),
        }
    }

    /// The same for people.
    pub fn text(&self) -> String {
        let mut text = match self.installed {
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
                self.compose,
                self.compose_version,
            ),
            None => "gate: none in this project\n".to_owned(),
        };
        let mut line = |line: String| text.push_str(&format!("{}\n", clean(&line)));
        line(format!(
            "{}: {}",
            if self.open { "open" } else { "closed" },
            self.says
        ));
        if let Some(next) = &self.next {
            line(format!("    next: {next}"));
        }
        let names = self.services.iter().map(|line| line.watched.service.len());
        let width = names.max().unwrap_or_default();
        for service in &self.services {
            let covered = if service.covered {
                "waits"
            } else {
                "NOT COVERED"
            };
            line(format!(
                "    {:width$}  {covered:11}  {}",
                service.watched.service,
                service.watched.paths.join(", "),
            ));
        }
        for problem in &self.problems {
            line(format!("problem: {}", problem.what));
            line(format!("    next: {}", problem.next));
        }
        let sees_held = |line: &Line| sees_state(&line.watched);
        let hidden = self.held && !self.services.iter().any(sees_held);
        if hidden && !self.ways_around.is_empty() {
            line("what no gate can cover: nothing that matters while the keys are held, since no service can mount them; afterwards:".to_owned());
        } else if !self.ways_around.is_empty() {
            line("what no gate can cover:".to_owned());
        }
        for way in &self.ways_around {
            line(format!("    {way}"));
        }
        text
    }
}

fn problem(what: impl Into<String>, next: impl Into<String>) -> Problem {
    Problem {
        what: what.into(),
        next: next.into(),
    }
}

/// Whether a service is given a directory around the data directory, and so what is held beside that.
fn sees_state(watched: &Watched) -> bool {
    match watched.sight {
        Sight::Around => true,
        Sight::Part | Sight::Whole => false,
    }
}

/// What sees the keys although they are held.
fn held_problems(watched: &[Watched]) -> Vec<Problem> {
    let seeing = watched.iter().filter(|it| sees_state(it));
    seeing
        .map(|it| {
            problem(
                format!(
                    "{} mounts a directory around the data directory ({}), and sees the keys that are held beside it",
                    it.service,
                    it.paths.join(", ")
                ),
                "mount the data directory alone there, or do not start it before all operators have confirmed",
            )
        })
        .collect()
}

/// What concerns the project's files.
fn around_problems(seen: &Seen<'_>, installed: bool, words: Words<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for variable in &seen.overruling {
        problems.push(problem(
            format!("this shell sets {variable}, so Compose does not go by .env here"),
            format!("unset {}", variable.split('=').next().unwrap_or_default()),
        ));
    }
    if !installed {
        problems.extend(seen.gate_files.iter().map(|file| {
            problem(
                format!("{file} is here, and Compose does not read it"),
                words.command("gate install"),
            )
        }));
    }
    for file in &seen.unread {
        problems.push(problem(
            format!("{file} came after the gate, and is not among the files that Compose reads"),
            words.command("gate install"),
        ));
    }
    if let Some(reason) = &seen.not_removable {
        problems.push(problem(
            format!(
                "`{}` would not work: {reason}",
                words.command("gate remove")
            ),
            "put .env right by hand",
        ));
    }
    problems.extend(settings_problems(seen, |weight| weight == Weight::Fail));
    problems
}

/// Where the project's settings are not the cluster's, of such weight.
fn settings_problems(seen: &Seen<'_>, weighs: impl Fn(Weight) -> bool) -> Vec<Problem> {
    let findings = seen.settings.iter().filter(|it| weighs(it.weight));
    let problems = findings.map(|finding| problem(finding_fact(finding), finding.advice.clone()));
    problems.collect()
}

/// What comes back by itself, with files that are not what was proved.
fn reboot_problems(seen: &Seen<'_>) -> Vec<Problem> {
    let at_fault = match &seen.decision {
        GateDecision::Closed(closed) => closed.files_at_fault,
        GateDecision::Open { .. } => false,
    };
    let restarting = restarting(&seen.watched);
    // Without a container there is nothing that could come back.
    if !at_fault || seen.held || restarting.is_empty() || seen.created.is_empty() {
        return Vec::new();
    }
    let names = seen.watched.iter().filter(|it| it.restart.is_some());
    let names: Vec<&str> = names.map(|it| it.service.as_str()).collect();
    vec![problem(
        format!(
            "after a reboot the engine starts these again with the files as they are now, if their containers ran, and asks nobody: {}",
            restarting.join(", ")
        ),
        format!("{} stop {}", seen.compose, names.join(" ")),
    )]
}

/// The services that the engine starts by itself, each with its policy.
fn restarting(watched: &[Watched]) -> Vec<String> {
    let policies = watched.iter().filter_map(|service| {
        let policy = service.restart.as_ref()?;
        Some(format!("{} ({policy})", service.service))
    });
    policies.collect()
}

/// Who does not wait.
fn edge_problems(watched: &[Watched], installed: bool, words: Words<'_>) -> Vec<Problem> {
    let next = words.command("gate install");
    if !installed {
        return vec![problem("no gate is installed in this project", next)];
    }
    watched
        .iter()
        .filter(|service| service.edge != Edge::Waits)
        .map(|service| {
            let what = "sees the data directory and does not wait for the gate";
            problem(format!("{} {what}", service.service), next.clone())
        })
        .collect()
}

/// Who could not read the keys, and of whom that cannot be told.
fn access_problems(watched: &[Watched], run_as: &RunAs) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut absent = Vec::new();
    for service in watched {
        let name = &service.service;
        let set = || {
            let lines = fix(name, run_as);
            format!(
                "put this into a compose file that the project reads, not into the gate's: {lines}"
            )
        };
        match &service.access {
            Access::Reads => {}
            Access::CannotRead(user) => problems.push(problem(
                format!(
                    "{name} could not read the keys: it runs as user {user}, and they are for {} alone",
                    run_as.user
                ),
                set(),
            )),
            Access::CouldNotTell(reason) => {
                let shown = String::from(reason.clone());
                match reason {
                    UserUnknown::NoImage(_) => absent.push(format!("{name} ({shown})")),
                    // No pull would change that.
                    UserUnknown::BuiltHere | UserUnknown::Named(_) => problems.push(problem(
                        format!("it cannot be told whether {name} could read the keys: {shown}"),
                        format!("so that it can, {}", set()),
                    )),
                }
            }
        }
    }
    if !absent.is_empty() {
        problems.push(problem(
            format!(
                "it cannot be told yet whether these could read the keys: {}",
                absent.join(", ")
            ),
            format!(
                "pull their images and ask again; the keys are for user {} alone",
                run_as.user
            ),
        ));
    }
    problems
}

fn foreign_problems(project: &Project) -> Vec<Problem> {
    let others = foreign(project).into_iter();
    others
        .map(|(service, container)| {
            problem(
                format!(
                    "{service} takes over the volumes of container {container}, whatever they are"
                ),
                "name a service instead",
            )
        })
        .collect()
}

/// The ways past any `depends_on`: tried, or looked for where a try would start something.
fn ways_around(seen: &Seen<'_>, gate: Installed) -> Vec<String> {
    let compose = seen.compose;
    let mut ways = Vec::new();
    if !seen.open_ways.is_empty() {
        ways.push(format!(
            "tested now, and Compose did not ask the gate: {}",
            seen.open_ways.join(", ")
        ));
    }
    if let Some(reason) = &seen.untried {
        ways.push(format!(
            "`{compose} up --no-deps` and `{compose} run --no-deps` ask none either, which could not be tried: {reason}"
        ));
    }
    if seen.created.is_empty() {
        return ways;
    }
    let start = match gate.kind {
        GateKind::Provider => format!("`{compose} start`, `{compose} restart` and `docker start`"),
        GateKind::OneShot => format!("`{compose} restart` and `docker start`"),
    };
    ways.push(format!(
        "{start} ask none, and start these, which were created and see the data directory: {}",
        seen.created.join(", ")
    ));
    let restarting = restarting(&seen.watched);
    if !restarting.is_empty() {
        ways.push(format!(
            "what ran once is started again by the engine, by its restart policy: {}",
            restarting.join(", ")
        ));
    }
    ways
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::gate::GATE_FILE;
    use crate::gate::coverage::{Readers, Scene, assess};
    use crate::gate::decision::Closed;

    fn status(services: &str, edit: impl FnOnce(&mut Seen<'_>)) -> Status {
        let project = Project::parse(format!("services: {services}").as_bytes()).unwrap();
        let run_as = RunAs {
            user: "1000:1000".to_owned(),
            userns_mode: None,
            readers: Readers::OwnerAndRoot,
        };
        let scene = Scene {
            data_dir: Path::new("/p/.charon"),
            real_paths: &BTreeMap::new(),
            image_users: &BTreeMap::from([("named".to_owned(), "node".to_owned())]),
            run_as: &run_as,
            kind: Installed::of(&project).map_or(GateKind::Provider, |gate| gate.kind),
        };
        let mut seen = Seen {
            compose: "docker compose",
            version: ComposeVersion {
                major: 2,
                minor: 40,
            },
            watched: assess(&project, &scene),
            project: &project,
            run_as: &run_as,
            decision: GateDecision::Closed(Closed::new("nobody has\nconfirmed", "ask")),
            held: false,
            overruling: Vec::new(),
            gate_files: vec![GATE_FILE],
            open_ways: vec![
                "COMPOSE_FILE in the shell".to_owned(),
                "`docker compose -f a.yml`".to_owned(),
            ],
            untried: Some("no image".to_owned()),
            created: vec!["p-charon-1 (exited)".to_owned()],
            unread: Vec::new(),
            not_removable: None,
            settings: Vec::new(),
        };
        edit(&mut seen);
        let words = Words {
            spelling: "docker charon-dkg",
            flags: "",
            data_dir: "/p/.charon",
        };
        Status::of(seen, words)
    }

    const GATE: &str =
        "charon-dkg-gate: {provider: {type: charondkg, options: {require: verified}}}";

    #[test]
    fn people_read_what_waits_and_what_does_not() {
        let services = format!(
            "{{{GATE}, charon: {{user: '1000', restart: always, volumes: ['/p/.charon:/x'], depends_on: [charon-dkg-gate]}},
              vc-x: {{user: '7', volumes: ['/p/.charon/validator_keys:/k']}},
              vc-y: {{image: absent, volumes_from: ['container:z'], volumes: ['/p/.charon:/k'], depends_on: [charon-dkg-gate]}}}}"
        );
        insta::assert_snapshot!(status(&services, |_| ()).text(), @r#"
        gate: asked by Compose, requires verified, for docker compose 2.40
        closed: nobody has confirmed
            next: ask
            charon  waits        /p/.charon at /x
            vc-x    NOT COVERED  /p/.charon/validator_keys at /k
            vc-y    waits        /p/.charon at /k
        problem: vc-x sees the data directory and does not wait for the gate
            next: docker charon-dkg gate install
        problem: vc-x could not read the keys: it runs as user "7", as its service says, and they are for 1000:1000 alone
            next: put this into a compose file that the project reads, not into the gate's: services: {vc-x: {user: "1000:1000"}}
        problem: it cannot be told yet whether these could read the keys: vc-y (absent is not here)
            next: pull their images and ask again; the keys are for user 1000:1000 alone
        problem: vc-y takes over the volumes of container z, whatever they are
            next: name a service instead
        what no gate can cover:
            tested now, and Compose did not ask the gate: COMPOSE_FILE in the shell, `docker compose -f a.yml`
            `docker compose up --no-deps` and `docker compose run --no-deps` ask none either, which could not be tried: no image
            `docker compose start`, `docker compose restart` and `docker start` ask none, and start these, which were created and see the data directory: p-charon-1 (exited)
            what ran once is started again by the engine, by its restart policy: charon (always)
        "#);
    }

    #[test]
    fn a_pull_is_advised_only_where_it_tells_the_user() {
        let services = format!(
            "{{{GATE}, a: {{image: named, volumes: ['/p/.charon:/k'], depends_on: [charon-dkg-gate]}},
              b: {{build: ., volumes: ['/p/.charon:/k'], depends_on: [charon-dkg-gate]}},
              c: {{image: absent, volumes: ['/p/.charon:/k'], depends_on: [charon-dkg-gate]}}}}"
        );
        let text = status(&services, |_| ()).text();
        let problems: Vec<&str> = text
            .lines()
            .skip_while(|it| !it.starts_with("problem"))
            .collect();
        insta::assert_snapshot!(problems[..6].join("\n"), @r#"
        problem: it cannot be told whether a could read the keys: user node has a number that only its image knows
            next: so that it can, put this into a compose file that the project reads, not into the gate's: services: {a: {user: "1000:1000"}}
        problem: it cannot be told whether b could read the keys: its image is built here
            next: so that it can, put this into a compose file that the project reads, not into the gate's: services: {b: {user: "1000:1000"}}
        problem: it cannot be told yet whether these could read the keys: c (absent is not here)
            next: pull their images and ask again; the keys are for user 1000:1000 alone
        "#);
    }

    #[test]
    fn what_is_held_is_seen_by_what_mounts_the_project_and_by_nothing_else() {
        let around = |source: &str, held: bool| {
            let services = format!(
                "{{{GATE}, charon: {{user: '1000', volumes: ['{source}:/x'], depends_on: [charon-dkg-gate]}}}}"
            );
            status(&services, |seen| seen.held = held).text()
        };
        let (sees, harmless) = ("sees the keys that are held", "nothing that matters");
        let text = around("/p/.charon", true);
        assert!(text.contains(harmless) && !text.contains(sees), "{text}");
        let text = around("/p", true);
        assert!(text.contains(sees) && !text.contains(harmless), "{text}");
        let text = around("/p", false);
        assert!(!text.contains(sees) && !text.contains(harmless), "{text}");
    }

    #[test]
    fn what_a_reboot_would_start_with_files_that_changed_is_named() {
        let services = format!(
            "{{{GATE}, charon: {{user: '1000', restart: always, volumes: ['/p/.charon:/x'], depends_on: [charon-dkg-gate]}},
              vc: {{user: '1000', volumes: ['/p/.charon:/x'], depends_on: [charon-dkg-gate]}}}}"
        );
        let text = |at_fault: bool, held: bool| {
            let status = status(&services, |seen| {
                seen.held = held;
                seen.decision = GateDecision::Closed(Closed {
                    files_at_fault: at_fault,
                    ..Closed::new("changed", "verify")
                });
            });
            status.text()
        };
        let changed = text(true, false);
        assert!(
            changed.contains(
                "and asks nobody: charon (always)\n    next: docker compose stop charon\n"
            ),
            "{changed}"
        );
        for other in [text(false, false), text(true, true)] {
            assert!(!other.contains("after a reboot"), "{other}");
        }
    }

    #[test]
    fn without_a_gate_nothing_is_covered() {
        let status = status(
            "{charon: {user: '1000', volumes: ['/p/.charon:/x']}}",
            |seen| {
                seen.decision = GateDecision::Open {
                    summary: "verified".to_owned(),
                    notes: Vec::new(),
                };
                seen.overruling = vec!["COMPOSE_FILE=a.yml".to_owned()];
                seen.unread = vec!["compose.override.yml".to_owned()];
                seen.not_removable = Some("two blocks".to_owned());
            },
        );
        insta::assert_snapshot!(status.text(), @"
        gate: none in this project
        open: verified
            charon  NOT COVERED  /p/.charon at /x
        problem: this shell sets COMPOSE_FILE=a.yml, so Compose does not go by .env here
            next: unset COMPOSE_FILE
        problem: compose-charon-dkg.yml is here, and Compose does not read it
            next: docker charon-dkg gate install
        problem: compose.override.yml came after the gate, and is not among the files that Compose reads
            next: docker charon-dkg gate install
        problem: `docker charon-dkg gate remove` would not work: two blocks
            next: put .env right by hand
        problem: no gate is installed in this project
            next: docker charon-dkg gate install
        ");
        assert!(!status.services.iter().any(|line| line.covered));
    }

    #[test]
    fn what_was_installed_is_read_from_the_project() {
        let installed = |gate: &str| {
            let project = Project::parse(format!("services: {{{gate}}}").as_bytes()).unwrap();
            Installed::of(&project)
        };
        assert_eq!(
            installed(GATE),
            Some(Installed {
                kind: GateKind::Provider,
                require: Require::Verified,
                rehearsal: false
            })
        );
        assert_eq!(
            installed(
                "charon-dkg-gate: {image: i, command: [gate, check, --rehearsal, --require, verified]}"
            ),
            Some(Installed {
                kind: GateKind::OneShot,
                require: Require::Verified,
                rehearsal: true
            })
        );
        let strict = installed("charon-dkg-gate: {image: i, command: [gate, check, --require]}");
        assert_eq!(strict.map(|gate| gate.require), Some(Require::Confirmed));
        assert_eq!(installed("other: {image: i}"), None);
    }
}
