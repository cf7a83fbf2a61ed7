//! What is around the data directory: the engine, the image, relays as they answer there, and who else is working with the key or the directory. Reads
//! only, but for short-lived containers: one asks the image for its version, one the relays for an answer, and what it sees
//! of the ENR key that is mounted in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ceremony::key::enr_key;
use crate::ceremony::plan::{
    self, ContainerPlan, EngineFact, ImageFact, LABEL_ATTEMPT, LABEL_ENR_ID, MountFact,
    NetworkFact, OtherUser, RelayAnswer, RelayFact, Request,
};
use crate::ceremony::process;
use crate::ceremony::seen::{self, Inside, Seen, relay_fact, relay_urls};
use crate::context::Context;
use crate::docker::endpoint::{Address, Endpoint};
use crate::docker::probe::{self, Answers, ProbeError, Questions, SeenKey};
use crate::docker::self_image::{self, SelfImageError, SelfImageSpec, Use};
use crate::docker::{
    ContainerFacts, EngineError, EngineFacts, Mode, Overlap, Reason, Touching, UserMapping,
    user_for,
};
use crate::error::{Failure, Kind};
use crate::failures;
use crate::machine;
use crate::machine::datadir::{DataDirFacts, Layout};
use crate::machine::files::Owner;
use crate::machine::processes::{self, CharonCommand, Relation};
use crate::machine::selinux;
use crate::report;
use charon_files::cluster::names::ENR_KEY_FILE;
use charon_files::cluster::version::CharonVersion;

pub(crate) use crate::docker::Engine;

/// `charon version` answers at once; a cold disk may need a while to read the image.
const VERSION_DEADLINE: Duration = Duration::from_secs(60);
/// The engine that docker itself would use and where it listens, or why it cannot be used.
pub(crate) type Connection = Result<(Engine, Endpoint), EngineFact>;

/// Connects to the engine, if one is needed.
pub(crate) async fn connect(
    context: &Context,
    request: &Request,
    on_disk: &DataDirFacts,
) -> Connection {
    match &request.charon_binary {
        Some(_) => Err(EngineFact::NotNeeded {
            user: format!("{}:{}", on_disk.owner.uid, on_disk.owner.gid),
        }),
        None => engine(context).await,
    }
}

/// Waits until nothing is left of the look. What stays behind is said, not hidden.
pub(crate) async fn settle(context: &Context, engine: &Engine) {
    if let Err(error) = engine.settle().await {
        context.warn(&error.to_string());
    }
}

/// The processor that the engine runs on, or else this program, as image indexes name it.
///
/// # Errors
/// If the engine falls silent.
pub(crate) async fn processor(engine: Option<&Engine>) -> Result<String, Failure> {
    let Some(engine) = engine else {
        return Ok(machine::processor().to_owned());
    };
    let os_arch = engine.facts().await.map_err(failures::engine)?.os_arch;
    Ok(os_arch.rsplit('/').next().unwrap_or_default().to_owned())
}

/// Looks at everything around the data directory.
///
/// # Errors
/// Only if the look itself breaks off.
pub(crate) async fn look(
    context: &Context,
    layout: &Layout,
    request: &Request,
    on_disk: &DataDirFacts,
    release: Option<&CharonVersion>,
    enr_id: Option<&str>,
    connection: &Connection,
) -> Result<Seen, Failure> {
    // Looking at every process of a large machine takes a while too.
    let processes = tokio::task::spawn_blocking({
        let layout = layout.clone();
        move || charon_processes(&layout)
    });
    let mut seen = match connection {
        Ok((engine, endpoint)) => {
            let mapped = async {
                let fact = match engine.facts().await {
                    Ok(facts) => engine_fact(&facts, &endpoint.address, on_disk),
                    Err(error) => unreachable(&error, endpoint),
                };
                let questions = Questions {
                    urls: relay_urls(request, release),
                    enr_key: key_to_mount(layout, on_disk, enr_id),
                };
                let inside = match mapping_of(&fact) {
                    Some(mapping) => {
                        let network = request.network.as_deref();
                        look_inside(context, engine, network, &mapping, questions, enr_id).await
                    }
                    None => Inside::nothing(),
                };
                (fact, inside)
            };
            let (image, (fact, inside), others) = tokio::join!(
                image(engine, request, release),
                mapped,
                containers(engine, layout, enr_id),
            );
            match fact {
                // Whatever else was asked of it says no more.
                EngineFact::Unreachable { .. } => Seen::nothing_but(fact),
                EngineFact::Ready { .. }
                | EngineFact::WrongOwner { .. }
                | EngineFact::NotNeeded { .. }
                | EngineFact::NotLookedAt(_)
                | EngineFact::Remote(_) => Seen {
                    fact,
                    image,
                    inside,
                    others,
                },
            }
        }
        Err(fact) => match &request.charon_binary {
            Some(program) if on_disk.exists() => {
                let questions = Questions {
                    urls: relay_urls(request, release),
                    enr_key: key_to_mount(layout, on_disk, enr_id),
                };
                let (image, inside) = tokio::join!(
                    process::look(program, on_disk.owner),
                    look_here(questions, on_disk.owner, enr_id),
                );
                Seen {
                    fact: fact.clone(),
                    image,
                    inside,
                    others: Vec::new(),
                }
            }
            Some(_) | None => Seen::nothing_but(fact.clone()),
        },
    };
    let processes = processes.await.map_err(|error| {
        Failure::new(
            Kind::Unexpected,
            format!("looking at the machine's processes broke off: {error}"),
        )
    })?;
    seen.others.extend(processes);
    Ok(seen)
}

/// As whom a container will run, where that is known.
fn mapping_of(fact: &EngineFact) -> Option<UserMapping> {
    match fact {
        EngineFact::Ready {
            user: Some(user),
            userns_mode,
            ..
        } => Some(UserMapping {
            user: user.clone(),
            userns_mode: userns_mode.clone(),
        }),
        EngineFact::Ready { user: None, .. }
        | EngineFact::NotNeeded { .. }
        | EngineFact::Unreachable { .. }
        | EngineFact::Remote(_)
        | EngineFact::WrongOwner { .. }
        | EngineFact::NotLookedAt(_) => None,
    }
}
/// Connects to the engine that docker itself would use.
async fn engine(context: &Context) -> Result<(Engine, Endpoint), EngineFact> {
    let endpoint = context
        .endpoint()
        .map_err(|error| EngineFact::Unreachable {
            reason: error.to_string(),
            advice: "fix docker's settings, or name the engine with --host or --context".to_owned(),
        })?;
    if let Address::Remote { url, .. } = &endpoint.address {
        return Err(EngineFact::Remote(url.clone()));
    }
    match Engine::connect(&endpoint).await {
        Ok(engine) => Ok((engine, endpoint)),
        Err(error) => Err(unreachable(&error, &endpoint)),
    }
}

fn unreachable(error: &EngineError, endpoint: &Endpoint) -> EngineFact {
    EngineFact::Unreachable {
        reason: format!("{error} ({})", endpoint.source),
        advice: engine_advice(error),
    }
}

/// What helps against an engine that does not answer.
pub(crate) fn engine_advice(error: &EngineError) -> String {
    if let EngineError::PermissionDenied { access, user, .. } = error {
        return match access {
            Some(access) if access.listed_in_group => format!(
                "log out and in again, since this session is older than your membership of the group {group}; or have it in this shell alone: `newgrp {group}`",
                group = access.group
            ),
            Some(access) if access.mode & 0o060 == 0o060 => format!(
                "`sudo usermod -aG {} {}`, then log out and in again: an open session keeps its groups. Members of this group can do everything that root can",
                report::quoted(&access.group),
                report::quoted(user)
            ),
            Some(access) => format!("run this as {}", access.user),
            None => "run this as the user who runs the engine".to_owned(),
        };
    }
    if let EngineError::NoSocket { others, .. } = error
        && let Some(other) = others.first()
    {
        return format!(
            "start docker; or if you mean the engine that does listen here: --host unix://{}",
            other.display()
        );
    }
    "start docker, or name the engine with --host or --context".to_owned()
}

fn engine_fact(facts: &EngineFacts, address: &Address, on_disk: &DataDirFacts) -> EngineFact {
    let mode = mode_name(facts.mode).to_owned();
    match user_for(facts.mode, on_disk.owner.uid, on_disk.owner.gid) {
        Ok(mapping) => EngineFact::Ready {
            mode,
            address: address.to_string(),
            version: facts.version.clone(),
            user: Some(mapping.user),
            userns_mode: mapping.userns_mode,
        },
        Err(error) => EngineFact::WrongOwner {
            mode,
            reason: error.to_string(),
        },
    }
}

/// What people call this kind of engine.
pub(crate) const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Rootful => "rootful",
        Mode::Rootless { .. } => "rootless",
        Mode::UsernsRemap => "userns-remap",
        Mode::DockerDesktop => "docker-desktop",
        Mode::PodmanRootful => "podman",
        Mode::PodmanRootless { .. } => "podman-rootless",
    }
}

async fn image(engine: &Engine, request: &Request, release: Option<&CharonVersion>) -> ImageFact {
    let Some(release) = release else {
        return ImageFact::Unknown;
    };
    let reference = request.image_reference(release);
    match engine.inspect_image(&reference).await {
        Ok(Some(found)) => {
            let run_as = found.run_image(&reference).reference().to_owned();
            let version_output = version_inside(engine, &run_as).await;
            ImageFact::Present {
                run_as,
                version_output,
            }
        }
        Ok(None) => match engine.registry_digest(&reference).await {
            Ok(digest) => ImageFact::Pullable(digest),
            Err(error) => unavailable(&error),
        },
        Err(error) => unavailable(&error),
    }
}

fn unavailable(error: &EngineError) -> ImageFact {
    ImageFact::Unavailable {
        reason: error.to_string(),
        advice: image_advice(error),
    }
}

/// What helps where an image is not available.
pub(crate) fn image_advice(error: &EngineError) -> String {
    if let EngineError::PullFailed {
        reference, reason, ..
    } = error
    {
        reason.advice(reference)
    } else {
        engine_advice(error)
    }
}

/// What `charon version` prints inside an image.
pub(crate) async fn version_inside(engine: &Engine, run_as: &str) -> Result<String, String> {
    let plan = ContainerPlan {
        network: Some("none".to_owned()),
        args: vec!["version".to_owned()],
        ..ContainerPlan::named(
            &format!("charon-dkg-version-{}", uuid::Uuid::new_v4()),
            run_as,
        )
    };
    let run = engine
        .run_short(&plan, VERSION_DEADLINE)
        .await
        .map_err(|error| error.to_string())?;
    if run.exit.code == 0 {
        Ok(run.text())
    } else {
        Err(format!(
            "`charon version` ended with exit code {}: {}",
            run.exit.code,
            run.text()
        ))
    }
}
/// The ENR key, if it is one that the owner of the data directory can read; else that is what is to be told.
fn key_to_mount(layout: &Layout, on_disk: &DataDirFacts, enr_id: Option<&str>) -> Option<PathBuf> {
    let entry = on_disk.entry(ENR_KEY_FILE)?;
    (enr_id.is_some() && entry.owner.uid == on_disk.owner.uid && entry.mode & 0o400 != 0)
        .then(|| layout.data_dir().join(ENR_KEY_FILE))
}

/// Looks at relays and at the ENR key as charon's process will, unless there is nothing to look at.
async fn look_here(questions: Questions, owner: Owner, enr_id: Option<&str>) -> Inside {
    if questions.urls.is_empty() && questions.enr_key.is_none() {
        return Inside::nothing();
    }
    match process::ask(&questions, owner).await {
        Ok(answers) => Inside {
            mounts: mount_fact(answers.enr_key.as_ref(), enr_id),
            relays: answers.relays.into_iter().map(relay_fact).collect(),
            network: NetworkFact::Usable,
        },
        Err(error) => Inside {
            relays: not_asked(questions.urls, &error.to_string()),
            ..Inside::nothing()
        },
    }
}

fn not_asked(urls: Vec<String>, reason: &str) -> Vec<RelayFact> {
    let fact = |url| RelayFact {
        url,
        answer: RelayAnswer::NotAsked(reason.to_owned()),
    };
    urls.into_iter().map(fact).collect()
}

/// Looks at relays and at the mounted ENR key, unless there is nothing to look at.
async fn look_inside(
    context: &Context,
    engine: &Engine,
    network: Option<&str>,
    mapping: &UserMapping,
    mut questions: Questions,
    enr_id: Option<&str>,
) -> Inside {
    if questions.urls.is_empty() && questions.enr_key.is_none() {
        return Inside::nothing();
    }
    let mut asked = ask_inside(context, engine, &questions, network, mapping).await;
    let mut mounts = match &asked {
        Ok(answers) => mount_fact(answers.enr_key.as_ref(), enr_id),
        Err(AskError::Probe(ProbeError::Engine(error)))
            if questions.enr_key.is_some() && !is_about_network(error) =>
        {
            refused_mount(error, selinux::is_enforcing())
        }
        Err(_) => MountFact::NotLookedAt,
    };
    // Whether it was the mount, and what the relays say all the same.
    if mounts.is_problem() && asked.is_err() && !questions.urls.is_empty() {
        questions.enr_key = None;
        asked = ask_inside(context, engine, &questions, network, mapping).await;
        if asked.is_err() {
            mounts = MountFact::NotLookedAt;
        }
    }
    match asked {
        Ok(answers) => Inside {
            relays: answers.relays.into_iter().map(relay_fact).collect(),
            network: NetworkFact::Usable,
            mounts,
        },
        Err(AskError::Probe(ProbeError::Engine(error))) if is_about_network(&error) => Inside {
            network: NetworkFact::Unusable(error.to_string()),
            ..Inside::nothing()
        },
        Err(error) => Inside {
            relays: not_asked(questions.urls, &error.to_string()),
            network: NetworkFact::NotLookedAt,
            mounts,
        },
    }
}

fn mount_fact(seen: Option<&SeenKey>, enr_id: Option<&str>) -> MountFact {
    match seen {
        None => MountFact::NotLookedAt,
        Some(SeenKey::EnrId(id)) if Some(id.as_str()) == enr_id => MountFact::Same,
        Some(SeenKey::EnrId(id)) => {
            MountFact::Elsewhere(format!("the key of ENR id {id} in its place"))
        }
        Some(SeenKey::Unreadable(reason)) => MountFact::Unreadable {
            reason: reason.clone(),
            selinux: selinux::is_enforcing(),
        },
    }
}

/// Where SELinux confines the engine too, that may not look at what no label gives to containers.
fn refused_mount(error: &EngineError, selinux_enforces: bool) -> MountFact {
    let reason = error.to_string();
    if matches!(error, EngineError::NoMountSource { .. }) {
        MountFact::Elsewhere(reason)
    } else if matches!(error, EngineError::TooSlow { .. }) {
        MountFact::TooSlow(reason)
    } else if selinux_enforces && reason.to_lowercase().contains("permission denied") {
        MountFact::Unreadable {
            reason,
            selinux: true,
        }
    } else {
        MountFact::Refused(reason)
    }
}

/// Whether a container could not be had for want of its network. Engines say so when it is created
/// or when it is started.
pub(crate) fn is_about_network(error: &EngineError) -> bool {
    let says_so = |message: &str| message.contains("network");
    matches!(error, EngineError::NoSuchNetwork { .. })
        || matches!(error, EngineError::Failed { status: 404, message, .. } if says_so(message))
}

/// Why relays could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(transparent)]
    Image(#[from] SelfImageError),
    #[error(transparent)]
    Probe(#[from] ProbeError),
}

/// Asks from inside a docker network.
///
/// # Errors
/// When the container that asks cannot be made or run.
async fn ask_inside(
    context: &Context,
    engine: &Engine,
    questions: &Questions,
    network: Option<&str>,
    mapping: &UserMapping,
) -> Result<Answers, AskError> {
    let spec = SelfImageSpec::of(Use::Probe);
    let (image, removed) = self_image::load_in_passing(engine, Use::Probe, &spec).await?;
    if let Some(line) = self_image::removed_line(removed) {
        context.say(&line);
    }
    Ok(probe::ask_inside(engine, &image.facts.id, network, mapping, questions).await?)
}

/// Asks relays from inside a docker network.
///
/// # Errors
/// When the container that asks cannot be made or run.
pub(crate) async fn ask_relays(
    context: &Context,
    engine: &Engine,
    urls: &[String],
    network: Option<&str>,
    mapping: &UserMapping,
) -> Result<Vec<RelayFact>, AskError> {
    let questions = Questions {
        urls: urls.to_vec(),
        enr_key: None,
    };
    let answers = ask_inside(context, engine, &questions, network, mapping).await?;
    Ok(answers.relays.into_iter().map(relay_fact).collect())
}

/// Running containers that work on this data directory, or run a ceremony with this key.
///
/// # Errors
/// Where the engine does not answer: then nobody can tell.
pub(crate) async fn running_containers(
    context: &Context,
    layout: &Layout,
) -> Result<Vec<OtherUser>, Failure> {
    let (engine, _) = engine(context).await.map_err(|fact| {
        let reason = match fact {
            EngineFact::Unreachable { reason, .. } => reason,
            EngineFact::Remote(url) => format!("{url} is not on this machine"),
            EngineFact::WrongOwner { reason, .. } => reason,
            EngineFact::Ready { .. }
            | EngineFact::NotNeeded { .. }
            | EngineFact::NotLookedAt(_) => String::new(),
        };
        Failure::new(
            Kind::Refused,
            format!(
                "whether containers of this node run cannot be told: {reason}; nothing was changed"
            ),
        )
    })?;
    let key = enr_key(layout).ok().flatten();
    let id = key.map(|key| key.id().to_string());
    Ok(containers(&engine, layout, id.as_deref()).await)
}

async fn containers(engine: &Engine, layout: &Layout, enr_id: Option<&str>) -> Vec<OtherUser> {
    let labels: Vec<(String, String)> = enr_id
        .map(|id| (LABEL_ENR_ID.to_owned(), id.to_owned()))
        .into_iter()
        .collect();
    let name = enr_id.map(plan::container_name).unwrap_or_default();
    let paths = [layout.data_dir().to_owned()];
    let (touching, holder) = tokio::join!(
        engine.containers_touching(&paths, &labels),
        engine.find_container(&name)
    );
    let mut others = match touching {
        Ok(touching) => touching
            .iter()
            .filter(|touching| touching.container.name != name)
            .filter_map(other_container)
            .collect(),
        Err(error) => vec![OtherUser {
            who: "the engine's containers".to_owned(),
            how: format!("could not be listed: {error}"),
            advice: "ask the engine again with `docker ps`".to_owned(),
            is_ceremony: false,
            is_node: false,
        }],
    };
    // The engine's trouble was told above.
    if let Ok(Some(holder)) = holder
        && (holder.state.may_run() || !belongs_here(&holder, layout))
    {
        others.push(name_holder(&holder));
    }
    others
}

/// Whether a ceremony's container is of an attempt in this directory.
pub(crate) fn belongs_here(container: &ContainerFacts, layout: &Layout) -> bool {
    container
        .labels
        .get(LABEL_ATTEMPT)
        .is_some_and(|attempt| Path::new(attempt).starts_with(layout.state_dir()))
}

/// What to say of the container that has the name of this key's ceremony.
pub(crate) fn name_holder(container: &ContainerFacts) -> OtherUser {
    let name = &container.name;
    let attempt = container.labels.get(LABEL_ATTEMPT).map(Path::new);
    // `<data directory>-dkg/attempts/<n>`.
    let data_dir = attempt
        .and_then(|attempt| attempt.ancestors().nth(2))
        .and_then(|state_dir| state_dir.to_str()?.strip_suffix("-dkg"));
    let whose = data_dir.unwrap_or("an unknown directory");
    let run = data_dir.map_or_else(
        || "`charon-dkg run` in its directory".to_owned(),
        |dir| format!("`charon-dkg run --data-dir {}`", report::quoted(dir)),
    );
    let (how, advice) = if container.state.may_run() {
        (
            format!("runs a ceremony with the same ENR key, for {whose}"),
            format!(
                "one ENR key must never be in two ceremonies: continue that one, {run}, or end it there"
            ),
        )
    } else if attempt.is_some_and(Path::is_dir) {
        (
            format!("holds the end of a ceremony with the same ENR key, for {whose}"),
            format!("see what became of it: {run}"),
        )
    } else {
        (
            format!("is left from a ceremony with the same ENR key, for {whose}, which is gone"),
            format!("docker rm {name}"),
        )
    };
    OtherUser {
        who: format!("container {name} ({})", container.state.name()),
        how,
        advice,
        is_ceremony: true,
        is_node: false,
    }
}

fn other_container(touching: &Touching) -> Option<OtherUser> {
    let container = &touching.container;
    let command = CharonCommand::of_container(&container.command);
    let is_ceremony = command.is_some_and(CharonCommand::is_ceremony);
    let is_charon = command.is_some() || container.image.contains("charon");
    let mut carries_label = false;
    let mut how = Vec::new();
    for reason in &touching.reasons {
        match reason {
            // A container with a directory far above ours mounted, such as a monitoring agent with `/`,
            // works on everything and so on nothing in particular.
            Reason::Mount {
                overlap: Overlap::Above,
                mount,
                ..
            } if !is_ceremony && (!is_charon || mount.read_only) => {}
            Reason::Mount { mount, .. } => how.push(format!("mounts {}", mount.source.display())),
            Reason::Label { .. } => {
                carries_label = true;
                how.push("runs a ceremony with the same ENR key".to_owned());
            }
        }
    }
    if how.is_empty() {
        return None;
    }
    if let Some(command) = command {
        how.insert(0, format!("runs `charon {}`", command.name()));
    }
    Some(OtherUser {
        who: format!("container {} ({})", container.name, container.image),
        how: how.join(", "),
        advice: format!("docker stop {}", container.name),
        is_ceremony: false,
        is_node: !is_ceremony && !carries_label,
    })
}

/// Validator clients that run outside of containers with the keystores of this directory.
pub(crate) fn keystore_users(layout: &Layout) -> Vec<OtherUser> {
    let found = processes::find_keystore_users(layout.data_dir()).into_iter();
    let others = found.map(|process| OtherUser {
        who: format!(
            "process {} of {}",
            process.pid,
            process.user.as_deref().unwrap_or("an unknown user")
        ),
        how: format!("`{}` was started with these keystores", process.program),
        advice: format!("end it, for instance with: kill {}", process.pid),
        is_ceremony: false,
        is_node: true,
    });
    others.collect()
}

/// charon processes at work on this directory or key, and charon's own sign of life there.
pub(crate) fn charon_processes(layout: &Layout) -> Vec<OtherUser> {
    let mut others: Vec<OtherUser> = processes::find_charon(layout.data_dir())
        .into_iter()
        .filter_map(|process| {
            let how = match process.relation {
                Relation::SameDirectory => "on this data directory",
                Relation::SameKey => "with a copy of this ENR key",
                Relation::Other | Relation::Unknown => return None,
            };
            let user = process.user.unwrap_or_else(|| "an unknown user".to_owned());
            Some(OtherUser {
                who: format!("process {} of {user}", process.pid),
                how: format!("runs `charon {}` {how}", process.command.name()),
                advice: format!("end it, for instance with: kill {}", process.pid),
                is_ceremony: false,
                is_node: !process.command.is_ceremony(),
            })
        })
        .collect();
    others.extend(seen::sign_of_life(layout));
    others
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::docker::{ContainerMount, ContainerState};

    /// The words are those of docker 26.1 on Debian 13, with that policy enforced.
    #[test]
    fn an_engine_that_selinux_keeps_from_a_file_is_no_engine_with_other_files() {
        let denied = EngineError::Failed {
            call: "create a container",
            status: 400,
            message: "invalid mount config for type \"bind\": stat /home/ann/my/.charon/charon-enr-private-key: permission denied"
                .to_owned(),
        };
        assert!(matches!(
            refused_mount(&denied, true),
            MountFact::Unreadable { selinux: true, .. }
        ));
        assert!(matches!(
            refused_mount(&denied, false),
            MountFact::Refused(_)
        ));
        let slow = EngineError::TooSlow {
            name: "probe".to_owned(),
            after: std::time::Duration::from_secs(30),
        };
        assert!(matches!(refused_mount(&slow, true), MountFact::TooSlow(_)));
    }

    fn container(image: &str, command: &[&str], overlap: Overlap, read_only: bool) -> Touching {
        let mount = ContainerMount {
            source: PathBuf::from("/srv/my/.charon"),
            target: "/opt/charon/.charon".to_owned(),
            read_only,
            volume: None,
        };
        Touching {
            container: ContainerFacts {
                id: "0".repeat(64),
                name: "by-hand".to_owned(),
                image: image.to_owned(),
                command: command.iter().map(|&word| word.to_owned()).collect(),
                state: ContainerState::Running,
                mounts: vec![mount.clone()],
                labels: BTreeMap::new(),
                exit: None,
            },
            reasons: vec![Reason::Mount {
                path: mount.source.clone(),
                mount,
                overlap,
            }],
        }
    }

    /// Something that makes keys in this directory blocks every ceremony; a node and its validator client block only
    /// the first one.
    #[test]
    fn a_ceremony_by_hand_in_a_container_is_no_node() {
        const CHARON: &str = "/usr/local/bin/charon";
        let edit = [CHARON, "alpha", "edit", "recreate-private-keys"];
        for (image, command, overlap, read_only, expected) in [
            (
                "obolnetwork/charon:v1.10.3",
                &[CHARON, "run"][..],
                Overlap::Same,
                false,
                Some(true),
            ),
            (
                "sigp/lighthouse",
                &["lighthouse", "vc"][..],
                Overlap::Inside,
                true,
                Some(true),
            ),
            (
                "obolnetwork/charon:v1.10.3",
                &[CHARON, "dkg"][..],
                Overlap::Same,
                false,
                Some(false),
            ),
            (
                "obolnetwork/charon:v1.10.3",
                &edit[..],
                Overlap::Above,
                false,
                Some(false),
            ),
            ("mirror/image", &edit[..], Overlap::Above, true, Some(false)),
            (
                "obolnetwork/charon:v1.10.3",
                &[CHARON, "run"][..],
                Overlap::Above,
                true,
                None,
            ),
            ("monitor", &["agent"][..], Overlap::Above, false, None),
        ] {
            let seen = other_container(&container(image, command, overlap, read_only));
            assert_eq!(
                seen.map(|other| other.is_node),
                expected,
                "{image} {command:?}"
            );
        }
        let seen = other_container(&container("i", &edit, Overlap::Same, true)).unwrap();
        assert_eq!(seen.how, "runs `charon alpha edit`, mounts /srv/my/.charon");
        let mut ours = container("i", &[CHARON, "run"], Overlap::Same, true);
        ours.reasons.push(Reason::Label {
            key: LABEL_ENR_ID.to_owned(),
            value: "id".to_owned(),
        });
        assert!(!other_container(&ours).unwrap().is_node);
    }
}
