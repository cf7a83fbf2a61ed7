//! A compose project as Compose itself prints it: the JSON of `docker compose config --format json`, or the YAML of
//! `docker-compose config` 1.29, which has most things in a shorter form.
//!
//! Compose has read all files, put variables in and made paths absolute by then. It writes a dollar sign twice, so that
//! its output can be read again.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::ceremony::settings::Setting;

/// A project: everything of it that concerns the gate.
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    /// Its services, by name.
    pub services: BTreeMap<String, Service>,
    /// As printed, to compare two states of a project.
    document: Value,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// The image, if it has one.
    pub image: Option<String>,
    /// The words of its entrypoint and command, those of the entrypoint first.
    pub command: Vec<String>,
    /// charon's relays, by its command or its environment.
    pub relays: Option<String>,
    /// `user:`, as given.
    pub user: Option<String>,
    /// `userns_mode:`.
    pub userns_mode: Option<String>,
    /// `cap_drop:`.
    pub cap_drop: Vec<String>,
    /// `cap_add:`.
    pub cap_add: Vec<String>,
    /// `restart:`.
    pub restart: Option<String>,
    /// `profiles:`; none means always.
    pub profiles: Vec<String>,
    /// Which services it waits for, and until which condition.
    pub depends_on: BTreeMap<String, String>,
    /// Whether it is a provider's, with its type and options.
    pub provider: Option<Provider>,
    /// What of the machine it sees, in any way.
    pub mounts: Vec<Mount>,
    /// Containers outside the project whose mounts it takes over; what those are cannot be told.
    pub foreign_mounts: Vec<String>,
}

impl Service {
    /// What the gate's own service was told under this name: an option of the provider, or of its command.
    pub fn option(&self, name: &str) -> Option<&str> {
        match &self.provider {
            Some(provider) => provider.options.get(name),
            None => {
                let is_it = |word: &&String| word.strip_prefix("--") == Some(name);
                let mut words = self.command.iter();
                words.find(is_it)?;
                words.next()
            }
        }
        .map(String::as_str)
    }
}

/// A service that is no container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Its type.
    pub kind: String,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

/// A path of the machine that a service sees.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mount {
    /// The path on the machine; or, without a slash before it, the engine's name of a volume, which knows where that is.
    pub source: String,
    /// The mounts through which the service sees it.
    pub via: Via,
}

/// A mount through which a service sees a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Via {
    /// `volumes:` with a path, or a named volume that is bound to one; the path in the container.
    Volume(String),
    /// `secrets:`; the secret's name.
    Secret(String),
    /// `configs:`; the config's name.
    Config(String),
    /// `volumes_from:`; the other service.
    Service(String),
}

impl std::fmt::Display for Via {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Volume(target) => write!(f, "at {target}"),
            Self::Secret(name) => write!(f, "as secret {name}"),
            Self::Config(name) => write!(f, "as config {name}"),
            Self::Service(name) => write!(f, "with the volumes of {name}"),
        }
    }
}

/// Why Compose's output was not understood.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// Neither JSON nor YAML.
    #[error("what compose printed cannot be read: {0}")]
    Unreadable(#[from] serde_yaml::Error),
    /// No `services`.
    #[error("what compose printed has no services")]
    NoServices,
    /// Two states of a project differ in more than the gate. The values are not told: they may be secret.
    #[error("{what} would be another one with the gate, expected the same")]
    OtherChange {
        /// What: `service lodestar: image`.
        what: String,
    },
}

impl Project {
    /// Reads what Compose printed. JSON is YAML.
    ///
    /// # Errors
    /// If it is no project.
    pub fn parse(printed: &[u8]) -> Result<Self, ProjectError> {
        let document: Value = match serde_json::from_slice(printed) {
            Ok(document) => document,
            Err(_) => serde_yaml::from_slice(printed)?,
        };
        let Some(Value::Object(listed)) = document.get("services") else {
            return Err(ProjectError::NoServices);
        };
        let mut services: BTreeMap<String, Service> = listed
            .iter()
            .map(|(name, body)| (name.clone(), service(body, &document)))
            .collect();
        take_over_mounts(&mut services, listed);
        Ok(Self { services, document })
    }

    /// Every path of the machine and every volume that some service sees.
    pub fn sources(&self) -> BTreeSet<&str> {
        self.services
            .values()
            .flat_map(|service| &service.mounts)
            .map(|mount| mount.source.as_str())
            .collect()
    }

    /// A service that is nothing that could start: no image, nothing to build, no provider.
    pub fn without_body(&self) -> Option<&str> {
        let Some(Value::Object(listed)) = self.document.get("services") else {
            return None;
        };
        let is_hollow = |body: &Value| {
            let has = |field: &str| body.get(field).is_some_and(|value| !value.is_null());
            !["image", "build", "provider"].into_iter().any(has)
        };
        let mut hollow = listed.iter().filter(|(_, body)| is_hollow(body));
        hollow.next().map(|(name, _)| name.as_str())
    }

    /// Checks that a second project is this one with services that wait for the gate, and nothing else.
    ///
    /// # Errors
    /// [`ProjectError::OtherChange`] with the first field that is another one.
    pub fn check_only_waits_added(&self, waiting: &Self) -> Result<(), ProjectError> {
        let (before, after) = (self.comparable(), waiting.comparable());
        let mut names = before.keys().chain(after.keys());
        let other = names.find(|what| before.get(*what) != after.get(*what));
        other.map_or(Ok(()), |what| {
            Err(ProjectError::OtherChange { what: what.clone() })
        })
    }

    /// What is handed this text: a project may hand `COMPOSE_FILE` into its containers (eth-docker does).
    pub fn handed(&self, text: &str) -> Vec<String> {
        let parts = self.comparable().into_iter();
        let handed = parts.filter(|(_, value)| contains(value, text));
        handed.map(|(what, _)| what).collect()
    }

    /// Everything that the gate must leave alone, by name.
    fn comparable(&self) -> BTreeMap<String, &Value> {
        let mut parts = BTreeMap::new();
        for (section, name) in [
            ("services", "service"),
            ("volumes", "volume"),
            ("secrets", "secret"),
            ("configs", "config"),
        ] {
            let Some(Value::Object(members)) = self.document.get(section) else {
                continue;
            };
            for (member, body) in members {
                let Value::Object(fields) = body else {
                    parts.insert(format!("{name} {member}:"), body);
                    continue;
                };
                for (field, value) in fields {
                    let ours = section == "services"
                        && matches!(field.as_str(), "depends_on" | "user" | "userns_mode");
                    if !ours {
                        parts.insert(format!("{name} {member}: {field}"), value);
                    }
                }
            }
        }
        parts
    }
}

/// Whether this text is in any of a value's texts.
fn contains(value: &Value, text: &str) -> bool {
    match value {
        Value::String(own) => own.contains(text),
        Value::Array(items) => items.iter().any(|item| contains(item, text)),
        Value::Object(fields) => fields.values().any(|value| contains(value, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn service(body: &Value, document: &Value) -> Service {
    let strings = |field: &str| {
        list(body.get(field))
            .iter()
            .filter_map(|value| value.as_str().map(undouble))
            .collect::<Vec<_>>()
    };
    let string = |field: &str| body.get(field).and_then(scalar);
    Service {
        image: string("image"),
        relays: relays(body),
        command: command(body),
        user: string("user"),
        userns_mode: string("userns_mode"),
        cap_drop: strings("cap_drop"),
        cap_add: strings("cap_add"),
        restart: string("restart"),
        profiles: strings("profiles"),
        depends_on: depends_on(body.get("depends_on")),
        provider: body.get("provider").and_then(provider),
        mounts: mounts(body, document),
        foreign_mounts: Vec::new(),
    }
}

fn command(body: &Value) -> Vec<String> {
    [words(body.get("entrypoint")), words(body.get("command"))].concat()
}

/// The relays that the charon of this service goes by: its flag, or else its variable.
pub fn relays(body: &Value) -> Option<String> {
    let variable = Setting::Relays.variable();
    let command = command(body);
    let mut words = command
        .iter()
        .skip_while(|word| !word.starts_with("--p2p-relays"));
    let flag = words
        .next()
        .and_then(|word| match word.strip_prefix("--p2p-relays=") {
            Some(value) => Some(value.to_owned()),
            None => words.next().cloned(),
        });
    flag.or_else(|| match body.get("environment")? {
        Value::Object(variables) => variables.get(variable).and_then(scalar),
        Value::Array(lines) => {
            let mut lines = lines.iter().filter_map(scalar);
            lines.find_map(|line| Some(line.strip_prefix(variable)?.strip_prefix('=')?.to_owned()))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

/// A command is a list of words, or one text.
fn words(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Array(words)) => words.iter().filter_map(scalar).collect(),
        Some(Value::String(text)) => text.split_whitespace().map(undouble).collect(),
        Some(_) | None => Vec::new(),
    }
}

fn depends_on(value: Option<&Value>) -> BTreeMap<String, String> {
    let started = || "service_started".to_owned();
    match value {
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .map(|name| (name.to_owned(), started()))
            .collect(),
        Some(Value::Object(members)) => members
            .iter()
            .map(|(name, body)| {
                let condition = body.get("condition").and_then(scalar);
                (name.clone(), condition.unwrap_or_else(started))
            })
            .collect(),
        Some(_) | None => BTreeMap::new(),
    }
}

fn provider(value: &Value) -> Option<Provider> {
    let kind = scalar(value.get("type")?)?;
    let options = value.get("options").and_then(Value::as_object);
    let options = options.into_iter().flatten().filter_map(|(name, value)| {
        // Newer releases print every option as a list.
        let first = value.as_array().and_then(|values| values.first());
        let value = scalar(first.unwrap_or(value));
        Some((name.clone(), value?))
    });
    Some(Provider {
        kind,
        options: options.collect(),
    })
}

fn mounts(body: &Value, document: &Value) -> Vec<Mount> {
    let volumes = list(body.get("volumes")).iter().filter_map(|volume| {
        let (source, target) = match volume.as_str() {
            // `source:target[:mode]`, as 1.29 prints them.
            Some(text) => {
                let mut parts = text.splitn(3, ':');
                (undouble(parts.next()?), undouble(parts.next()?))
            }
            None => (
                volume.get("source").and_then(scalar)?,
                volume.get("target").and_then(scalar).unwrap_or_default(),
            ),
        };
        // What is no path is the name of a volume.
        let source = if source.starts_with('/') {
            source
        } else {
            named_volume(document, &source)?
        };
        Some(Mount {
            source,
            via: Via::Volume(target),
        })
    });
    let files = |section: &'static str, via: fn(String) -> Via| {
        list(body.get(section)).iter().filter_map(move |used| {
            let name = used
                .as_str()
                .or_else(|| used.get("source").and_then(Value::as_str))?;
            let source = scalar(document.get(section)?.get(name)?.get("file")?)?;
            Some(Mount {
                source,
                via: via(name.to_owned()),
            })
        })
    };
    volumes
        .chain(files("secrets", Via::Secret))
        .chain(files("configs", Via::Config))
        .collect()
}

/// The path that a named volume is bound to by the project (docker's `local` driver with `o: bind`), or what the engine calls it.
/// 1.29 says that of external ones alone.
fn named_volume(document: &Value, name: &str) -> Option<String> {
    let volume = document.get("volumes")?.get(name)?;
    let text = |from: Option<&Value>, field: &str| scalar(from?.get(field)?);
    let external = volume.get("external");
    text(volume.get("driver_opts"), "device")
        .filter(|device| device.starts_with('/'))
        .or_else(|| text(Some(volume), "name"))
        .or_else(|| text(external, "name"))
        .or_else(|| (external == Some(&Value::Bool(true))).then(|| name.to_owned()))
}

/// Gives every service the mounts of those that it names in `volumes_from`, however far that goes.
fn take_over_mounts(services: &mut BTreeMap<String, Service>, listed: &Map<String, Value>) {
    let mut sources: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, body) in listed {
        for from in list(body.get("volumes_from"))
            .iter()
            .filter_map(Value::as_str)
        {
            if let Some(container) = from.strip_prefix("container:") {
                if let Some(service) = services.get_mut(name) {
                    service.foreign_mounts.push(container.to_owned());
                }
                continue;
            }
            // `service[:mode]`; 1.29 writes `service:` before it.
            let from = from.strip_prefix("service:").unwrap_or(from);
            let other = from.split(':').next().unwrap_or(from);
            sources.entry(name).or_default().push(other.to_owned());
        }
    }
    // Each round goes one step further; a chain is at most as long as there are services.
    for _ in 0..services.len() {
        let before = services.clone();
        for (name, others) in &sources {
            let Some(service) = services.get_mut(*name) else {
                continue;
            };
            for other in others {
                for mount in before
                    .get(other)
                    .into_iter()
                    .flat_map(|other| &other.mounts)
                {
                    let taken = Mount {
                        source: mount.source.clone(),
                        via: Via::Service(other.clone()),
                    };
                    if !service.mounts.contains(&taken) {
                        service.mounts.push(taken);
                    }
                }
            }
        }
        if *services == before {
            return;
        }
    }
}

fn list(value: Option<&Value>) -> &[Value] {
    match value {
        Some(Value::Array(values)) => values,
        Some(_) | None => &[],
    }
}

/// Text, also where YAML took it for a number.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(undouble(text)),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Compose writes every dollar sign twice.
fn undouble(text: &str) -> String {
    text.replace("$$", "$")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What 2.40 prints, shortened.
    const SECOND: &str = r#"{"name": "p",
        "services": {
            "charon": {"image": "obolnetwork/charon:v1.10.3", "user": ":", "command": null, "restart": "unless-stopped",
                "volumes": [{"type": "bind", "source": "/p/.charon", "target": "/opt/charon/.charon"},
                    {"type": "tmpfs", "target": "/tmp"}]},
            "lodestar": {"depends_on": {"charon": {"condition": "service_started", "required": true}},
                "profiles": [""], "volumes_from": ["charon:ro"], "entrypoint": ["/run.sh"]},
            "second-hand": {"volumes_from": ["lodestar", "container:other:ro"]},
            "secretive": {"secrets": [{"source": "key"}], "configs": [{"source": "lock"}]},
            "named": {"volumes": [{"type": "volume", "source": "data", "target": "/x"},
                {"type": "volume", "source": "plain", "target": "/y"}, {"type": "image", "source": "i", "target": "/z"}]},
            "gate": {"provider": {"type": "charondkg", "options": {"data-dir": [".charon"], "require": "verified"}}}
        },
        "secrets": {"key": {"name": "p_key", "file": "/p/.charon/charon-enr-private-key"}},
        "configs": {"lock": {"file": "/p/.charon/cluster-lock.json"}},
        "volumes": {"data": {"driver": "local", "driver_opts": {"device": "/p/$$a/.charon", "o": "bind", "type": "none"}},
            "plain": {"name": "p_plain"}}}"#;

    /// What 1.29 prints of the same, shortened.
    const FIRST: &str = "
services:
  charon:
    command: sleep 1
    user: 1000:1000
    volumes:
    - /p/.charon:/opt/charon/.charon:ro
    - data:/x:rw
    - own:/y:rw
    - theirs:/z:rw
    - old:/o:rw
  vc:
    depends_on:
      charon:
        condition: service_started
    volumes_from:
    - service:charon:ro
version: '3.9'
volumes:
  data:
    driver_opts: {device: /p/.charon, o: bind, type: none}
  old:
    external: {name: of-old}
  own: {}
  theirs:
    external: true
    name: of-theirs
";

    fn sources(project: &Project, service: &str) -> Vec<String> {
        project.services[service]
            .mounts
            .iter()
            .map(|mount| format!("{} {}", mount.source, mount.via))
            .collect()
    }

    #[test]
    fn every_way_to_a_path_is_found() {
        let project = Project::parse(SECOND.as_bytes()).unwrap();
        assert_eq!(
            sources(&project, "charon"),
            ["/p/.charon at /opt/charon/.charon"]
        );
        assert_eq!(
            sources(&project, "lodestar"),
            ["/p/.charon with the volumes of charon"]
        );
        assert_eq!(
            sources(&project, "second-hand"),
            ["/p/.charon with the volumes of lodestar"]
        );
        assert_eq!(project.services["second-hand"].foreign_mounts, ["other:ro"]);
        assert_eq!(
            sources(&project, "secretive"),
            [
                "/p/.charon/charon-enr-private-key as secret key",
                "/p/.charon/cluster-lock.json as config lock"
            ]
        );
        assert_eq!(
            sources(&project, "named"),
            ["/p/$a/.charon at /x", "p_plain at /y"]
        );
        assert_eq!(project.services["charon"].user.as_deref(), Some(":"));
        assert_eq!(project.services["lodestar"].command, ["/run.sh"]);
        assert_eq!(project.services["lodestar"].profiles, [""]);
        let provider = project.services["gate"].provider.clone().unwrap();
        assert_eq!(provider.kind, "charondkg");
        assert_eq!(provider.options["data-dir"], ".charon");
        assert_eq!(provider.options["require"], "verified");
    }

    #[test]
    fn the_first_compose_is_understood_too() {
        let project = Project::parse(FIRST.as_bytes()).unwrap();
        assert_eq!(
            sources(&project, "charon"),
            [
                "/p/.charon at /opt/charon/.charon",
                "/p/.charon at /x",
                "of-theirs at /z",
                "of-old at /o"
            ]
        );
        let vc = sources(&project, "vc");
        assert!(vc.contains(&"/p/.charon with the volumes of charon".to_owned()));
        assert_eq!(
            project.services["charon"].user.as_deref(),
            Some("1000:1000")
        );
        assert_eq!(
            project.services["vc"].depends_on["charon"],
            "service_started"
        );
    }

    #[test]
    fn charons_relays_are_read_wherever_they_are_said() {
        for said in [
            "environment: {CHARON_P2P_RELAYS: 'a,b'}",
            "environment: ['X=y', 'CHARON_P2P_RELAYS=a,b']",
            "command: 'run --p2p-relays=a,b'",
            "command: [run, --p2p-relays, 'a,b'], environment: {CHARON_P2P_RELAYS: c}",
        ] {
            let project = Project::parse(format!("services: {{x: {{{said}}}}}").as_bytes());
            let relays = project.unwrap().services["x"].relays.clone();
            assert_eq!(relays.as_deref(), Some("a,b"), "{said}");
        }
        let project = Project::parse(SECOND.as_bytes()).unwrap();
        assert_eq!(project.services["charon"].relays, None);
    }

    #[test]
    fn only_what_waits_may_be_new() {
        let before = Project::parse(FIRST.as_bytes()).unwrap();
        let with_gate = FIRST.replace("1000:1000", "1001:1001").replace(
            "condition: service_started\n",
            "condition: service_started\n      gate: {condition: service_completed_successfully}\n",
        );
        let after = |text: &str| Project::parse(text.as_bytes()).unwrap();
        before.check_only_waits_added(&after(&with_gate)).unwrap();
        for (old, new) in [
            ("sleep 1", "sleep 2"),
            ("device: /p", "device: /q"),
            ("  vc:\n", "  more: {image: x}\n  vc:\n"),
            ("    command: sleep 1\n", ""),
        ] {
            let other = with_gate.replace(old, new);
            assert_ne!(other, with_gate);
            let error = before.check_only_waits_added(&after(&other)).unwrap_err();
            assert!(matches!(error, ProjectError::OtherChange { .. }), "{error}");
        }
    }

    #[test]
    fn what_is_handed_the_list_of_files_is_told() {
        let text = "services: {a: {image: x, environment: {FILES: 'a.yml:/t/gate.yml'}}, b: {image: a.yml}}";
        let project = Project::parse(text.as_bytes()).unwrap();
        assert_eq!(project.handed(":/t/gate.yml"), ["service a: environment"]);
        assert!(project.handed(":/t/other.yml").is_empty());
    }

    #[test]
    fn what_is_no_project_is_refused() {
        for text in ["", "{}", "a: b", "services: 1"] {
            assert!(
                matches!(
                    Project::parse(text.as_bytes()),
                    Err(ProjectError::NoServices)
                ),
                "{text}"
            );
        }
        assert!(Project::parse(b"\tx: [").is_err());
    }
}
