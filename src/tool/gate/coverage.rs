//! Which services see the data directory, which of them wait for the gate, and who could not read the keys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::gate::project::{Project, Service};
use crate::gate::{GATE_SERVICE, GateKind};

/// What must be known beside the project itself.
#[derive(Debug)]
pub struct Scene<'a> {
    /// The real path of the data directory.
    pub data_dir: &'a Path,
    /// The real path of every source of [`Project::sources`]; one that is missing here is taken as it is.
    pub real_paths: &'a BTreeMap<String, PathBuf>,
    /// The users of images that are on the engine, by the image's name; an empty one is root.
    pub image_users: &'a BTreeMap<String, String>,
    /// Who must read the data directory, as its containers see it.
    pub run_as: &'a RunAs,
    /// The gate's state there.
    pub kind: GateKind,
}

/// As whom a container reads a data directory whose files only their owner may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAs {
    /// `uid:gid` of the owner, as a container sees it.
    pub user: String,
    /// `userns_mode` without which that is not so.
    pub userns_mode: Option<String>,
    /// Who else may read.
    pub readers: Readers,
}

/// Who may read what belongs to the owner alone. It follows from how an engine maps users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Every user of a container: Docker Desktop shows each file as the reader's own.
    Anyone,
    /// The owner, and root unless its rights were taken.
    OwnerAndRoot,
    /// The owner alone: root of a container is somebody else on the machine.
    OwnerOnly,
}

/// How much of the data directory a service sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sight {
    /// Something in it, such as `validator_keys`.
    Part,
    /// All of it.
    Whole,
    /// A directory that contains it, such as `/`.
    Around,
}

/// Whether a service waits for the gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edge {
    /// It does, by itself.
    Waits,
    /// It does not, or only through another service.
    Missing,
    /// It waits for less than the gate's answer.
    OtherCondition(String),
}

/// Whether a service could read the keys that it is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// It could.
    Reads,
    /// It could not, being this user.
    CannotRead(String),
    /// Its user is not known, for this reason.
    CouldNotTell(UserUnknown),
}

/// Why the user of a service is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub enum UserUnknown {
    /// Its image has yet to come.
    NoImage(String),
    /// Its image is made from the project, under a name that the compose files do not tell.
    BuiltHere,
    /// It has a name, and the number is in the image.
    Named(String),
}

impl From<UserUnknown> for String {
    fn from(reason: UserUnknown) -> Self {
        match reason {
            UserUnknown::NoImage(image) => format!("{image} is not here"),
            UserUnknown::BuiltHere => "its image is built here".to_owned(),
            UserUnknown::Named(user) => {
                format!("user {user} has a number that only its image knows")
            }
        }
    }
}

/// A service that sees something of the data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Watched {
    /// Its name.
    pub service: String,
    /// How much it sees.
    pub sight: Sight,
    /// The mounts that show it: `/home/op/.charon at /opt/charon/.charon`.
    pub paths: Vec<String>,
    /// Whether it waits for the gate.
    pub edge: Edge,
    /// Whether it is charon.
    pub charon: bool,
    /// Whether it could read the keys.
    pub access: Access,
    /// Whether its compose files say themselves that it runs as the owner of the data directory.
    pub as_owner: bool,
    /// Its restart policy, if that starts it without asking anybody.
    pub restart: Option<String>,
    /// Its profiles; none means that it always belongs to the project.
    pub profiles: Vec<String>,
}

/// Every service that sees something of the data directory, by name.
pub fn assess(project: &Project, scene: &Scene<'_>) -> Vec<Watched> {
    let services = project.services.iter();
    services
        .filter(|(name, _)| *name != GATE_SERVICE)
        .filter_map(|(name, service)| watch(name, service, scene))
        .collect()
}

/// Containers outside the project whose mounts a service takes over, with that service. What they see cannot be told.
pub fn foreign(project: &Project) -> Vec<(String, String)> {
    let services = project.services.iter();
    services
        .flat_map(|(name, service)| {
            let others = service.foreign_mounts.iter();
            others.map(|other| (name.clone(), other.clone()))
        })
        .collect()
}

fn watch(name: &str, service: &Service, scene: &Scene<'_>) -> Option<Watched> {
    let mut sight = None;
    let mut paths = Vec::new();
    for mount in &service.mounts {
        let given = Path::new(&mount.source);
        let real = scene
            .real_paths
            .get(&mount.source)
            .map_or(given, PathBuf::as_path);
        if let Some(seen) = see(real, scene.data_dir) {
            sight = sight.max(Some(seen));
            let what = if given.is_absolute() { "" } else { "volume " };
            paths.push(format!("{what}{} {}", mount.source, mount.via));
        }
    }
    let restarts = |policy: &&String| policy.as_str() != "no";
    Some(Watched {
        service: name.to_owned(),
        sight: sight?,
        paths,
        edge: edge(service, scene.kind),
        charon: is_charon(name, service),
        access: access(service, scene),
        as_owner: runs_as(service, scene.run_as),
        restart: service.restart.as_ref().filter(restarts).cloned(),
        profiles: service.profiles.clone(),
    })
}

fn see(source: &Path, data_dir: &Path) -> Option<Sight> {
    if source == data_dir {
        Some(Sight::Whole)
    } else if source.starts_with(data_dir) {
        Some(Sight::Part)
    } else if data_dir.starts_with(source) {
        Some(Sight::Around)
    } else {
        None
    }
}

fn edge(service: &Service, kind: GateKind) -> Edge {
    match (service.depends_on.get(GATE_SERVICE), kind) {
        (None, _) => Edge::Missing,
        // Compose asks a provider before it creates a service that depends on it, under any condition.
        (Some(_), GateKind::Provider) => Edge::Waits,
        (Some(condition), GateKind::OneShot) if condition == kind.condition() => Edge::Waits,
        (Some(condition), GateKind::OneShot) => Edge::OtherCondition(condition.clone()),
    }
}

/// Recognised by the image, from any publisher, or else by the program that it runs, or else by its name.
pub(crate) fn is_charon(name: &str, service: &Service) -> bool {
    if let Some(image) = &service.image {
        let untagged = image.split('@').next().unwrap_or(image);
        let last = untagged.rsplit('/').next().unwrap_or(untagged);
        if last.split(':').next() == Some("charon") {
            return true;
        }
    }
    let program = |word: &String| word.rsplit('/').next() == Some("charon");
    service.command.first().is_some_and(program) || name == "charon"
}

/// Whether `user:` and `userns_mode:` are there and the owner's. The group is of no use: nothing is open to it.
fn runs_as(service: &Service, run_as: &RunAs) -> bool {
    let uid = |user: &str| user.split(':').next().map(str::to_owned);
    let user = service.user.as_deref();
    user.is_some_and(|user| uid(user) == uid(&run_as.user))
        && service.userns_mode == run_as.userns_mode
}

fn access(service: &Service, scene: &Scene<'_>) -> Access {
    let run_as = scene.run_as;
    if run_as.readers == Readers::Anyone {
        return Access::Reads;
    }
    let (user, shown) = match (&service.user, &service.image) {
        (Some(user), _) => (user.clone(), format!("{user:?}, as its service says")),
        (None, None) => {
            return Access::CouldNotTell(UserUnknown::BuiltHere);
        }
        (None, Some(image)) => match scene.image_users.get(image) {
            Some(user) => (user.clone(), format!("{user:?}, as its image says")),
            None => {
                return Access::CouldNotTell(UserUnknown::NoImage(image.clone()));
            }
        },
    };
    // `:` and nothing at all are root (moby/sys `user.GetExecUser`).
    let uid = match user.split(':').next().unwrap_or_default() {
        "" | "root" => "0",
        other => other,
    };
    if uid.parse::<u32>().is_err() {
        return Access::CouldNotTell(UserUnknown::Named(uid.to_owned()));
    }
    let owner = run_as.user.split(':').next().unwrap_or_default();
    if uid == owner && service.userns_mode == run_as.userns_mode {
        return Access::Reads;
    }
    // The right to read what belongs to others (capabilities(7)).
    let names_it = |list: &[String]| {
        list.iter().any(|name| {
            let name = name.trim_start_matches("CAP_");
            name.eq_ignore_ascii_case("ALL") || name.eq_ignore_ascii_case("DAC_OVERRIDE")
        })
    };
    let root_reads = match run_as.readers {
        Readers::Anyone | Readers::OwnerAndRoot => {
            !names_it(&service.cap_drop) || names_it(&service.cap_add)
        }
        Readers::OwnerOnly => false,
    };
    if uid == "0" && root_reads {
        return Access::Reads;
    }
    Access::CannotRead(if uid == "0" { "root".to_owned() } else { shown })
}

/// The lines of a compose file with which a service could read the keys.
pub fn fix(service: &str, run_as: &RunAs) -> String {
    let mut lines = format!("services: {{{service}: {{user: \"{}\"", run_as.user);
    if let Some(mode) = &run_as.userns_mode {
        lines.push_str(&format!(", userns_mode: \"{mode}\""));
    }
    lines.push_str("}}");
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(readers: Readers) -> RunAs {
        RunAs {
            user: "1000:1000".to_owned(),
            userns_mode: None,
            readers,
        }
    }

    fn assessed(services: &str, run_as: &RunAs, kind: GateKind) -> Vec<Watched> {
        let project = Project::parse(format!("services: {services}").as_bytes()).unwrap();
        let real_paths = BTreeMap::from([("/link".to_owned(), PathBuf::from("/p/.charon"))]);
        let image_users = BTreeMap::from([
            ("rooted".to_owned(), String::new()),
            ("named".to_owned(), "node".to_owned()),
            ("numbered".to_owned(), "1000".to_owned()),
        ]);
        assess(
            &project,
            &Scene {
                data_dir: Path::new("/p/.charon"),
                real_paths: &real_paths,
                image_users: &image_users,
                run_as,
                kind,
            },
        )
    }

    #[test]
    fn part_whole_and_around_are_seen_and_neighbours_are_not() {
        let found = assessed(
            "{whole: {volumes: ['/p/.charon:/x']}, part: {volumes: ['/p/.charon/validator_keys:/x']},
              around: {volumes: ['/p:/x']}, root: {volumes: ['/:/x']}, linked: {volumes: ['/link:/x']},
              neighbour: {volumes: ['/p/.charon-dkg:/x', '/p/data:/y']}, none: {}}",
            &owner(Readers::OwnerAndRoot),
            GateKind::Provider,
        );
        let seen: Vec<_> = found
            .iter()
            .map(|found| (found.service.as_str(), found.sight))
            .collect();
        assert_eq!(
            seen,
            [
                ("around", Sight::Around),
                ("linked", Sight::Whole),
                ("part", Sight::Part),
                ("root", Sight::Around),
                ("whole", Sight::Whole)
            ]
        );
    }

    #[test]
    fn only_an_edge_of_its_own_counts() {
        let services = "{charon: {volumes: ['/p/.charon:/x'], depends_on: [charon-dkg-gate]},
              vc: {volumes: ['/p/.charon:/x'], depends_on: [charon]}}";
        let edges = |kind| {
            assessed(services, &owner(Readers::OwnerAndRoot), kind)
                .into_iter()
                .map(|found| found.edge)
                .collect::<Vec<_>>()
        };
        assert_eq!(edges(GateKind::Provider), [Edge::Waits, Edge::Missing]);
        assert_eq!(
            edges(GateKind::OneShot),
            [
                Edge::OtherCondition("service_started".to_owned()),
                Edge::Missing
            ]
        );
    }

    #[test]
    fn charon_is_told_by_image_program_or_name() {
        let found = assessed(
            "{a: {image: 'obolnetwork/charon:v1.10.3', volumes: ['/p/.charon:/x']},
              b: {image: 'mirror.example:5000/charon@sha256:00', volumes: ['/p/.charon:/x']},
              c: {image: own, entrypoint: [/usr/local/bin/charon, run], volumes: ['/p/.charon:/x']},
              charon: {build: ., volumes: ['/p/.charon:/x']},
              d: {image: 'obolnetwork/charon-dkg-sidecar:v1', volumes: ['/p/.charon:/x']},
              e: {image: 'lido-dv-exit', command: 'watch charon', volumes: ['/p/.charon:/x']}}",
            &owner(Readers::OwnerAndRoot),
            GateKind::Provider,
        );
        let charons: Vec<_> = found
            .iter()
            .filter(|found| found.charon)
            .map(|found| found.service.as_str())
            .collect();
        assert_eq!(charons, ["a", "b", "c", "charon"]);
    }

    #[test]
    fn who_reads_follows_from_user_image_and_rights() {
        let services = "{
            a-owner: {user: '1000', volumes: ['/p/.charon:/x']},
            b-other: {user: '1001:1000', volumes: ['/p/.charon:/x']},
            c-colon: {user: ':', volumes: ['/p/.charon:/x']},
            d-stripped: {user: root, cap_drop: [ALL], volumes: ['/p/.charon:/x']},
            e-given-back: {user: root, cap_drop: [ALL], cap_add: [all], volumes: ['/p/.charon:/x']},
            f-image: {image: numbered, volumes: ['/p/.charon:/x']},
            g-image: {image: rooted, volumes: ['/p/.charon:/x']},
            h-image: {image: named, volumes: ['/p/.charon:/x']},
            i-absent: {image: absent, volumes: ['/p/.charon:/x']},
            j-built: {build: ., volumes: ['/p/.charon:/x']}}";
        let verdicts = |readers| {
            assessed(services, &owner(readers), GateKind::Provider)
                .into_iter()
                .map(|found| match found.access {
                    Access::Reads => 'y',
                    Access::CannotRead(_) => 'n',
                    Access::CouldNotTell(_) => '?',
                })
                .collect::<String>()
        };
        assert_eq!(verdicts(Readers::OwnerAndRoot), "ynynyyy???");
        assert_eq!(verdicts(Readers::OwnerOnly), "ynnnnyn???");
        assert_eq!(verdicts(Readers::Anyone), "yyyyyyyyyy");
    }

    #[test]
    fn without_the_machines_user_namespace_the_number_is_not_enough() {
        let run_as = RunAs {
            userns_mode: Some("host".to_owned()),
            ..owner(Readers::OwnerOnly)
        };
        let found = assessed(
            "{a: {user: '1000', userns_mode: host, volumes: ['/p/.charon:/x']}, b: {user: '1000', volumes: ['/p/.charon:/x']}}",
            &run_as,
            GateKind::Provider,
        );
        let reads: Vec<_> = found
            .iter()
            .map(|found| found.access == Access::Reads)
            .collect();
        assert_eq!(reads, [true, false]);
        assert_eq!(
            fix("b", &run_as),
            "services: {b: {user: \"1000:1000\", userns_mode: \"host\"}}"
        );
    }

    #[test]
    fn only_what_is_written_down_makes_a_service_run_as_the_owner() {
        let found = assessed(
            "{a: {user: '1000:5', volumes: ['/p/.charon:/x']}, b: {user: ':', volumes: ['/p/.charon:/x']},
              c: {image: numbered, volumes: ['/p/.charon:/x']}}",
            &owner(Readers::OwnerAndRoot),
            GateKind::Provider,
        );
        let as_owner: Vec<_> = found.into_iter().map(|found| found.as_owner).collect();
        assert_eq!(as_owner, [true, false, false]);
    }

    #[test]
    fn a_policy_that_starts_by_itself_is_told() {
        let found = assessed(
            "{a: {restart: unless-stopped, volumes: ['/p/.charon:/x']}, b: {restart: 'no', volumes: ['/p/.charon:/x']}}",
            &owner(Readers::OwnerAndRoot),
            GateKind::Provider,
        );
        let policies: Vec<_> = found.into_iter().map(|found| found.restart).collect();
        assert_eq!(policies, [Some("unless-stopped".to_owned()), None]);
    }
}
