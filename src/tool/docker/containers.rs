//! Containers: created hardened, watched to their end, found again by name, and removed.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum, HostConfig,
    HostConfigLogConfig, Mount as BollardMount, MountPoint, MountType, RestartPolicy,
    RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder,
    ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder, WaitContainerOptions,
};
use futures_util::StreamExt;
use tokio::task::JoinHandle;

use crate::ceremony::plan::{ContainerPlan, Mount};
use crate::docker::{Engine, EngineError, LogLine, convert};

/// How much output of a short run is kept; what is asked in such a run answers in a few lines.
const MAX_SHORT_OUTPUT_BYTES: usize = 1 << 20;

/// Label of containers that end by themselves: until when they are of use, in seconds since 1970.
const LABEL_USEFUL_UNTIL: &str = "charon-dkg.useful-until";

/// How many containers are inspected at the same time.
const INSPECT_AT_ONCE: usize = 8;

/// The state of a container, in docker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    /// Created and never started.
    Created,
    /// Running.
    Running,
    /// Frozen; its processes exist.
    Paused,
    /// Between two runs of a restart policy.
    Restarting,
    /// Being stopped.
    Stopping,
    /// Being removed.
    Removing,
    /// Ended.
    Exited,
    /// Could not be removed; its processes are gone.
    Dead,
    /// The engine did not say.
    Unknown,
}

impl ContainerState {
    /// Whether processes of the container may exist.
    pub const fn may_run(self) -> bool {
        match self {
            ContainerState::Running
            | ContainerState::Paused
            | ContainerState::Restarting
            | ContainerState::Stopping
            | ContainerState::Removing
            | ContainerState::Unknown => true,
            ContainerState::Created | ContainerState::Exited | ContainerState::Dead => false,
        }
    }

    /// Docker's word for this state.
    pub const fn name(self) -> &'static str {
        match self {
            ContainerState::Created => "created",
            ContainerState::Running => "running",
            ContainerState::Paused => "paused",
            ContainerState::Restarting => "restarting",
            ContainerState::Stopping => "stopping",
            ContainerState::Removing => "removing",
            ContainerState::Exited => "exited",
            ContainerState::Dead => "dead",
            ContainerState::Unknown => "unknown",
        }
    }

    fn of(status: Option<ContainerStateStatusEnum>) -> Self {
        match status {
            Some(ContainerStateStatusEnum::CREATED) => ContainerState::Created,
            Some(ContainerStateStatusEnum::RUNNING) => ContainerState::Running,
            Some(ContainerStateStatusEnum::PAUSED) => ContainerState::Paused,
            Some(ContainerStateStatusEnum::RESTARTING) => ContainerState::Restarting,
            Some(ContainerStateStatusEnum::STOPPING) => ContainerState::Stopping,
            Some(ContainerStateStatusEnum::REMOVING) => ContainerState::Removing,
            Some(ContainerStateStatusEnum::EXITED) => ContainerState::Exited,
            Some(ContainerStateStatusEnum::DEAD) => ContainerState::Dead,
            Some(ContainerStateStatusEnum::EMPTY) | None => ContainerState::Unknown,
        }
    }
}

/// What the engine knows of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerFacts {
    /// The engine's identifier, 64 hexadecimal digits.
    pub id: String,
    /// Its name, without docker's leading slash.
    pub name: String,
    /// The image as it was named when the container was created.
    pub image: String,
    /// Program and arguments of its first process, entrypoint included.
    pub command: Vec<String>,
    /// The state at the time of asking.
    pub state: ContainerState,
    /// Everything of the machine that is mounted in it.
    pub mounts: Vec<ContainerMount>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// How it ended, if it has ended.
    pub exit: Option<Exit>,
}

impl ContainerFacts {
    /// The first twelve digits of the id, as docker prints it.
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }
}

/// One mount of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerMount {
    /// Path on the engine's machine; for a volume, where its files are.
    pub source: PathBuf,
    /// Path in the container.
    pub target: String,
    /// Whether the container may only read it.
    pub read_only: bool,
    /// The volume's name, where it is one.
    pub volume: Option<String>,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Exit code of its first process; 128 and more for a signal.
    pub code: i64,
    /// Whether the kernel killed a process of it for want of memory.
    pub oom_killed: bool,
    /// What the engine itself has to say, such as that the program was not found; often empty.
    pub error: String,
    /// When it was started, RFC 3339.
    pub started_at: String,
    /// When it ended, RFC 3339.
    pub finished_at: String,
}

/// What a short run gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShortRun {
    /// How it ended.
    pub exit: Exit,
    /// Its output, both streams in the order in which they arrived, at most a mebibyte.
    pub output: Vec<LogLine>,
}

impl ShortRun {
    /// The output as one text.
    pub fn text(&self) -> String {
        self.output
            .iter()
            .map(|line| line.text.clone() + if line.complete { "\n" } else { "" })
            .collect()
    }
}

/// A running container that has to do with this ceremony's files or key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touching {
    /// The container.
    pub container: ContainerFacts,
    /// Everything that speaks for it; never empty.
    pub reasons: Vec<Reason>,
}

/// Why a container is thought to have to do with this ceremony.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It has a mount that overlaps a path of ours.
    Mount {
        /// The path that was asked about.
        path: PathBuf,
        /// The container's mount.
        mount: ContainerMount,
        /// How the two are related.
        overlap: Overlap,
    },
    /// It carries a label that was asked about.
    Label {
        /// Key.
        key: String,
        /// Value.
        value: String,
    },
}

/// How a mount is related to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// It is the path.
    Same,
    /// It is something inside the path.
    Inside,
    /// It is a directory above the path, as when a whole home or `/` is mounted.
    Above,
}

type Removal = JoinHandle<Result<(), EngineError>>;

/// Containers of short runs that are being removed, with their names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Removals(Arc<Mutex<Vec<(String, Removal)>>>);

impl Removals {
    fn add(&self, name: &str, removal: Removal) {
        self.lock().push((name.to_owned(), removal));
    }

    fn take(&self) -> Vec<(String, Removal)> {
        std::mem::take(&mut *self.lock())
    }

    /// A list is whole whatever happened to who held it.
    fn lock(&self) -> MutexGuard<'_, Vec<(String, Removal)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of a removal.
async fn removed(removal: Removal) -> Result<(), EngineError> {
    removal.await.unwrap_or_else(|error| {
        Err(EngineError::Died {
            call: "remove a container",
            detail: error.to_string(),
        })
    })
}

impl Engine {
    /// Creates a container as planned, with the hardening that never varies: no capabilities, no
    /// new privileges, a read-only root, no restart, no removal by the engine, and its output
    /// kept where it can be read, whatever the engine's defaults are.
    ///
    /// Returns the container's id.
    ///
    /// # Errors
    /// [`EngineError::NameTaken`], [`EngineError::NoSuchImage`], [`EngineError::NoMountSource`],
    /// [`EngineError::NoSuchNetwork`], or what every call may answer.
    pub async fn create_container(&self, plan: &ContainerPlan) -> Result<String, EngineError> {
        let options = CreateContainerOptionsBuilder::default()
            .name(&plan.name)
            .build();
        let created = self.docker.create_container(Some(options), body_of(plan));
        match self.call("create a container", created).await {
            Ok(created) => Ok(created.id),
            Err(error) => Err(self.explain(plan, error).await),
        }
    }

    /// Starts a container that was created.
    ///
    /// # Errors
    /// [`EngineError::NoSuchContainer`]; [`EngineError::Failed`] with the engine's words where
    /// the container cannot be started, for instance for its network, its user or its program.
    pub async fn start_container(&self, id: &str) -> Result<(), EngineError> {
        let started = self
            .docker
            .start_container(id, None::<StartContainerOptions>);
        match self.call("start a container", started).await {
            Ok(()) => Ok(()),
            Err(error) if says(&error, "network") => Err(error),
            Err(error) => Err(error.about_container(id)),
        }
    }

    /// Waits, for as long as it takes, until a container has ended; at once if it has.
    ///
    /// # Errors
    /// [`EngineError::NeverStarted`], [`EngineError::NoSuchContainer`], and
    /// [`EngineError::Died`] when the engine goes away meanwhile, which says nothing about the
    /// container.
    pub async fn wait_exit(&self, id: &str) -> Result<Exit, EngineError> {
        const CALL: &str = "wait for a container";
        loop {
            let mut answers = self
                .unlimited()
                .wait_container(id, None::<WaitContainerOptions>);
            match answers.next().await {
                // bollard makes an error of an exit code that is not 0; the truth is asked below.
                Some(Ok(_))
                | Some(Err(bollard::errors::Error::DockerContainerWaitError { .. })) => {}
                Some(Err(error)) => return Err(convert(CALL, error).about_container(id)),
                None => {
                    return Err(EngineError::Died {
                        call: CALL,
                        detail: "the connection was closed without an answer".to_owned(),
                    });
                }
            }
            let container = self.inspect_container(id).await?;
            if let Some(exit) = container.exit {
                return Ok(exit);
            }
            if container.state == ContainerState::Created {
                return Err(EngineError::NeverStarted { id: id.to_owned() });
            }
            // The engine answers a wait a moment before it has written down the end.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks a container to end (`SIGTERM`), waits, and kills it after the grace time. All this is
    /// the engine's work: it goes on should this process die. A container that has ended is left
    /// as it is.
    ///
    /// # Errors
    /// [`EngineError::NoSuchContainer`], or what every call may answer.
    pub async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), EngineError> {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        let deadline = grace.saturating_add(self.deadlines.call);
        let stopped = self.docker.stop_container(id, Some(options));
        crate::docker::within("stop a container", deadline, stopped)
            .await
            .map_err(|error| error.about_container(id))
    }

    /// Kills a container at once. One that has ended is left as it is.
    ///
    /// # Errors
    /// [`EngineError::NoSuchContainer`], or what every call may answer.
    pub async fn kill_container(&self, id: &str) -> Result<(), EngineError> {
        let options = KillContainerOptionsBuilder::default()
            .signal("SIGKILL")
            .build();
        let killed = self.docker.kill_container(id, Some(options));
        let Err(error) = self.call("kill a container", killed).await else {
            return Ok(());
        };
        // Docker and Podman refuse in different ways to kill what does not run.
        match self.inspect_container(id).await {
            Ok(container) if !container.state.may_run() => Ok(()),
            Ok(_) => Err(error),
            Err(gone @ EngineError::NoSuchContainer { .. }) => Err(gone),
            Err(_) => Err(error),
        }
    }

    /// Removes a container that has ended or never started, with its output. One that is gone
    /// already, or going, is no error; one that runs is.
    ///
    /// # Errors
    /// What every call may answer.
    pub async fn remove_container(&self, id: &str) -> Result<(), EngineError> {
        self.remove(id, false).await
    }

    /// Removes a container of no further use, running or not.
    ///
    /// # Errors
    /// As [`Engine::remove_container`].
    pub async fn discard_container(&self, id: &str) -> Result<(), EngineError> {
        self.remove(id, true).await
    }

    async fn remove(&self, id: &str, force: bool) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::default()
            .force(force)
            .v(true)
            .build();
        let removed = self.docker.remove_container(id, Some(options));
        match self.call("remove a container", removed).await {
            Ok(()) | Err(EngineError::Failed { status: 404, .. }) => Ok(()),
            Err(EngineError::Failed { status: 409, .. })
                if matches!(
                    self.inspect_container(id).await,
                    Err(EngineError::NoSuchContainer { .. })
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// What the engine knows of a container.
    ///
    /// # Errors
    /// [`EngineError::NoSuchContainer`], or what every call may answer.
    pub async fn inspect_container(&self, id: &str) -> Result<ContainerFacts, EngineError> {
        let asked = self
            .docker
            .inspect_container(id, None::<InspectContainerOptions>);
        let container = self
            .call("inspect a container", asked)
            .await
            .map_err(|error| error.about_container(id))?;
        facts_of(container)
    }

    /// The container of exactly this name, in whatever state.
    ///
    /// # Errors
    /// What every call may answer.
    pub async fn find_container(&self, name: &str) -> Result<Option<ContainerFacts>, EngineError> {
        match self.inspect_container(name).await {
            // Engines take the beginning of an id for a name, too.
            Ok(found) => Ok(Some(found).filter(|found| found.name == name)),
            Err(EngineError::NoSuchContainer { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All containers, in whatever state, that carry a label of this key and value.
    ///
    /// # Errors
    /// What every call may answer.
    pub async fn find_labelled(
        &self,
        key: &str,
        value: &str,
    ) -> Result<Vec<ContainerFacts>, EngineError> {
        self.find_by_label(&format!("{key}={value}")).await
    }

    /// All containers, in whatever state, that carry a label of this key, whatever its value.
    ///
    /// # Errors
    /// What every call may answer.
    pub async fn find_with_label(&self, key: &str) -> Result<Vec<ContainerFacts>, EngineError> {
        self.find_by_label(key).await
    }

    async fn find_by_label(&self, label: &str) -> Result<Vec<ContainerFacts>, EngineError> {
        let filters = HashMap::from([("label", vec![label.to_owned()])]);
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters);
        self.list_containers(options).await
    }

    /// The containers that may be at work on these paths: those that are not known to have ended
    /// and have a mount that is, contains, or lies inside one of them, or carry one of the labels.
    ///
    /// Symbolic links are followed on both sides, and volumes that are a directory of the machine
    /// in disguise are seen through. Short runs of this program change nothing and are left out.
    ///
    /// # Errors
    /// What every call may answer.
    pub async fn containers_touching(
        &self,
        paths: &[PathBuf],
        labels: &[(String, String)],
    ) -> Result<Vec<Touching>, EngineError> {
        self.touching(ListContainersOptionsBuilder::default(), paths, labels)
            .await
    }

    /// All containers, in whatever state, that have a mount which is, contains, or lies inside this path, as above.
    ///
    /// # Errors
    /// What every call may answer.
    pub async fn containers_seeing(&self, path: &Path) -> Result<Vec<ContainerFacts>, EngineError> {
        let all = ListContainersOptionsBuilder::default().all(true);
        let touching = self.touching(all, &[path.to_owned()], &[]).await?;
        Ok(touching.into_iter().map(|it| it.container).collect())
    }

    async fn touching(
        &self,
        which: ListContainersOptionsBuilder,
        paths: &[PathBuf],
        labels: &[(String, String)],
    ) -> Result<Vec<Touching>, EngineError> {
        let paths: Vec<_> = paths.iter().map(|path| (path, resolved(path))).collect();
        let listed = self.list_containers(which).await?;
        let mut touching = Vec::new();
        let lasting =
            |container: &ContainerFacts| !container.labels.contains_key(LABEL_USEFUL_UNTIL);
        for container in listed.into_iter().filter(lasting) {
            let mut reasons = Vec::new();
            for mount in &container.mounts {
                let source = resolved(&self.real_source(mount).await?);
                reasons.extend(paths.iter().filter_map(|(path, real)| {
                    Some(Reason::Mount {
                        path: (*path).clone(),
                        mount: mount.clone(),
                        overlap: overlap(&source, real)?,
                    })
                }));
            }
            let carried = labels
                .iter()
                .filter(|(key, value)| container.labels.get(key) == Some(value));
            reasons.extend(carried.map(|(key, value)| Reason::Label {
                key: key.clone(),
                value: value.clone(),
            }));
            if !reasons.is_empty() {
                touching.push(Touching { container, reasons });
            }
        }
        Ok(touching)
    }

    /// Runs a container that ends by itself, such as `charon version`, and removes it whatever
    /// happens, also when it does not end in time. Nobody has to wait until one that ended well
    /// is removed; [`Engine::settle`] does.
    ///
    /// # Errors
    /// [`EngineError::TooSlow`]; [`EngineError::LeftBehind`] where it could not be removed; and
    /// what creating and starting may answer.
    pub async fn run_short(
        &self,
        plan: &ContainerPlan,
        deadline: Duration,
    ) -> Result<ShortRun, EngineError> {
        let until = jiff::Timestamp::now().as_second()
            + i64::try_from(deadline.as_secs()).unwrap_or(i64::MAX / 2);
        let mut plan = plan.clone();
        plan.labels
            .insert(LABEL_USEFUL_UNTIL.to_owned(), until.to_string());
        let plan = &plan;
        let id = self.create_container(plan).await?;
        let ran = match tokio::time::timeout(deadline, self.run_created(&id)).await {
            Ok(ran) => ran,
            Err(_) => Err(EngineError::TooSlow {
                name: plan.name.clone(),
                after: deadline,
            }),
        };
        let removal = tokio::spawn({
            let engine = self.clone();
            async move { engine.remove(&id, true).await }
        });
        let error = match ran {
            Ok(run) => {
                self.removals.add(&plan.name, removal);
                return Ok(run);
            }
            Err(error) => error,
        };
        match removed(removal).await {
            Ok(()) => Err(error),
            Err(cleanup) => Err(EngineError::LeftBehind {
                name: plan.name.clone(),
                first: Some(Box::new(error)),
                cleanup: Box::new(cleanup),
            }),
        }
    }

    /// Waits until the containers of short runs are removed.
    ///
    /// # Errors
    /// [`EngineError::LeftBehind`] for the first that could not be removed; all are waited for.
    pub async fn settle(&self) -> Result<(), EngineError> {
        let mut settled = Ok(());
        for (name, removal) in self.removals.take() {
            if let Err(cleanup) = removed(removal).await {
                settled = settled.and(Err(EngineError::LeftBehind {
                    name,
                    first: None,
                    cleanup: Box::new(cleanup),
                }));
            }
        }
        settled
    }

    /// Removes what short runs left behind whose program was killed in the middle.
    ///
    /// # Errors
    /// What every call may answer.
    pub async fn sweep_short_runs(&self) -> Result<(), EngineError> {
        let now = jiff::Timestamp::now().as_second();
        for container in self.find_with_label(LABEL_USEFUL_UNTIL).await? {
            let until = container.labels.get(LABEL_USEFUL_UNTIL);
            if until
                .and_then(|until| until.parse().ok())
                .is_some_and(|until: i64| until < now)
            {
                self.discard_container(&container.id).await?;
            }
        }
        Ok(())
    }

    async fn run_created(&self, id: &str) -> Result<ShortRun, EngineError> {
        self.start_container(id).await?;
        let exit = self.wait_exit(id).await?;
        let mut output = Vec::new();
        let mut room = MAX_SHORT_OUTPUT_BYTES;
        let mut lines = self.read_logs(id);
        while let Some(line) = lines.next().await {
            let line = line?;
            if let Some(left) = room.checked_sub(line.text.len() + 1) {
                room = left;
                output.push(line);
            }
        }
        Ok(ShortRun { exit, output })
    }

    async fn list_containers(
        &self,
        options: ListContainersOptionsBuilder,
    ) -> Result<Vec<ContainerFacts>, EngineError> {
        let listed = self.docker.list_containers(Some(options.build()));
        let listed = self.call("list containers", listed).await?;
        // The list leaves out mounts on some engines, so each container is asked for by itself.
        let ids = listed.into_iter().filter_map(|container| container.id);
        let inspected: Vec<_> = futures_util::stream::iter(ids)
            .map(|id| async move { self.inspect_container(&id).await })
            .buffered(INSPECT_AT_ONCE)
            .collect()
            .await;
        inspected
            .into_iter()
            .filter(|container| {
                // It ended and was removed since the list was made.
                !matches!(container, Err(EngineError::NoSuchContainer { .. }))
            })
            .collect()
    }

    /// Where the files of a mount really are: a local volume can be a bind mount with a name
    /// (`driver_opts: {type: none, o: bind, device: …}` in compose).
    async fn real_source(&self, mount: &ContainerMount) -> Result<PathBuf, EngineError> {
        let Some(volume) = &mount.volume else {
            return Ok(mount.source.clone());
        };
        let found = self.volume_path(volume).await?;
        Ok(found.unwrap_or_else(|| mount.source.clone()))
    }

    /// Where the files of a volume really are: at the path that it is bound to, or where the engine keeps it; `None` if there is
    /// no such volume.
    ///
    /// # Errors
    /// What every call may answer.
    pub async fn volume_path(&self, name: &str) -> Result<Option<PathBuf>, EngineError> {
        let asked = self.docker.inspect_volume(name);
        match self.call("inspect a volume", asked).await {
            Ok(volume) => {
                let bound = volume
                    .options
                    .get("device")
                    .filter(|it| it.starts_with('/'));
                Ok(Some(bound.unwrap_or(&volume.mountpoint).into()))
            }
            Err(EngineError::Failed { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Finds out what the engine's refusal to create a container is about.
    async fn explain(&self, plan: &ContainerPlan, error: EngineError) -> EngineError {
        let is_name_taken = matches!(error, EngineError::Failed { status: 409, .. })
            || says(&error, "already in use");
        if is_name_taken {
            return match self.find_container(&plan.name).await {
                Ok(Some(holder)) => EngineError::NameTaken {
                    name: plan.name.clone(),
                    holder: Box::new(holder),
                },
                Ok(None) | Err(_) => error,
            };
        }
        let missing = plan
            .mounts
            .iter()
            .find(|mount| is_about_source(&error, mount));
        if let Some(mount) = missing {
            return EngineError::NoMountSource {
                source_path: mount.source.clone(),
            };
        }
        if let Some(network) = plan.network.as_ref().filter(|_| says(&error, "network")) {
            return EngineError::NoSuchNetwork {
                name: network.clone(),
            };
        }
        if matches!(error, EngineError::Failed { status: 404, .. }) {
            return EngineError::NoSuchImage {
                reference: plan.image.clone(),
            };
        }
        error
    }
}

fn says(error: &EngineError, word: &str) -> bool {
    matches!(error, EngineError::Failed { message, .. } if message.contains(word))
}

/// Docker: `bind source path does not exist: /x`; Podman: `statfs /x: no such file or directory`.
fn is_about_source(error: &EngineError, mount: &Mount) -> bool {
    (says(error, "does not exist") || says(error, "no such file or directory"))
        && says(error, &mount.source.to_string_lossy())
}

/// No new privileges; and where SELinux enforces, no categories of its own: files that charon made with them could be read by no
/// other container. Engines without SELinux pass over that.
fn security_options() -> Vec<String> {
    ["no-new-privileges", "label=level:s0"]
        .map(str::to_owned)
        .to_vec()
}

fn body_of(plan: &ContainerPlan) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(plan.image.clone()),
        user: plan.user.clone(),
        entrypoint: plan.entrypoint.clone(),
        cmd: Some(plan.args.clone()),
        env: Some(plan.env.clone()),
        labels: Some(plan.labels.clone().into_iter().collect()),
        tty: Some(false),
        open_stdin: Some(false),
        host_config: Some(HostConfig {
            userns_mode: plan.userns_mode.clone(),
            network_mode: plan.network.clone(),
            mounts: Some(plan.mounts.iter().map(mount_of).collect()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(security_options()),
            privileged: Some(false),
            readonly_rootfs: Some(true),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            }),
            auto_remove: Some(false),
            init: Some(false),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                // An engine may be told to keep less than one ceremony writes, or to drop lines
                // rather than wait.
                config: Some(HashMap::from([
                    ("max-size".to_owned(), "100m".to_owned()),
                    ("mode".to_owned(), "blocking".to_owned()),
                ])),
            }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// A mount of type `bind`, unlike docker's `-v`, refuses a source that does not exist instead of
/// making a directory of root there.
fn mount_of(mount: &Mount) -> BollardMount {
    BollardMount {
        typ: Some(MountType::BIND),
        source: Some(mount.source.to_string_lossy().into_owned()),
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        ..BollardMount::default()
    }
}

fn facts_of(container: ContainerInspectResponse) -> Result<ContainerFacts, EngineError> {
    let missing = |what: &str| EngineError::Nonsense {
        call: "inspect a container",
        detail: format!("no {what}"),
    };
    let state = container.state.ok_or_else(|| missing("State"))?;
    let config = container.config.ok_or_else(|| missing("Config"))?;
    let status = ContainerState::of(state.status);
    let has_ended = matches!(status, ContainerState::Exited | ContainerState::Dead);
    let exit = has_ended.then(|| Exit {
        code: state.exit_code.unwrap_or(-1),
        oom_killed: state.oom_killed.unwrap_or(false),
        error: state.error.unwrap_or_default(),
        started_at: state.started_at.unwrap_or_default(),
        finished_at: state.finished_at.unwrap_or_default(),
    });
    Ok(ContainerFacts {
        id: container.id.ok_or_else(|| missing("Id"))?,
        name: container
            .name
            .ok_or_else(|| missing("Name"))?
            .trim_start_matches('/')
            .to_owned(),
        image: config.image.unwrap_or_default(),
        command: container
            .path
            .into_iter()
            .chain(container.args.unwrap_or_default())
            .collect(),
        state: status,
        mounts: container
            .mounts
            .unwrap_or_default()
            .into_iter()
            .filter_map(mount_facts_of)
            .collect(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        exit,
    })
}

/// `None` for what is not of the machine's file system, such as a tmpfs.
fn mount_facts_of(mount: MountPoint) -> Option<ContainerMount> {
    let is_volume = mount.typ.as_deref() == Some("volume");
    Some(ContainerMount {
        source: PathBuf::from(mount.source.filter(|source| !source.is_empty())?),
        target: mount.destination.unwrap_or_default(),
        read_only: mount.rw == Some(false),
        volume: mount.name.filter(|_| is_volume),
    })
}

/// The path without symbolic links; unchanged where it cannot be followed from here.
fn resolved(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn overlap(mount: &Path, path: &Path) -> Option<Overlap> {
    if mount == path {
        Some(Overlap::Same)
    } else if mount.starts_with(path) {
        Some(Overlap::Inside)
    } else if path.starts_with(mount) {
        Some(Overlap::Above)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_are_of_paths_not_of_letters() {
        let seen = |mount: &str, path: &str| overlap(Path::new(mount), Path::new(path));
        assert_eq!(seen("/a/b", "/a/b"), Some(Overlap::Same));
        assert_eq!(seen("/a/b/c", "/a/b"), Some(Overlap::Inside));
        assert_eq!(seen("/a", "/a/b"), Some(Overlap::Above));
        assert_eq!(seen("/", "/a/b"), Some(Overlap::Above));
        assert_eq!(seen("/a/bc", "/a/b"), None);
    }

    #[test]
    fn the_hardening_never_varies() {
        let plan = ContainerPlan {
            name: "n".to_owned(),
            image: "i".to_owned(),
            user: None,
            userns_mode: None,
            network: None,
            entrypoint: None,
            args: Vec::new(),
            env: Vec::new(),
            mounts: vec![Mount {
                source: PathBuf::from("/s"),
                target: "/t".to_owned(),
                read_only: true,
            }],
            labels: BTreeMap::new(),
        };
        let host = body_of(&plan).host_config.unwrap();
        assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(
            host.security_opt,
            Some(vec![
                "no-new-privileges".to_owned(),
                "label=level:s0".to_owned()
            ])
        );
        assert_eq!(host.readonly_rootfs, Some(true));
        assert_eq!(host.privileged, Some(false));
        assert_eq!(host.auto_remove, Some(false));
        assert_eq!(host.init, Some(false));
        let restart = host.restart_policy.unwrap().name;
        assert_eq!(restart, Some(RestartPolicyNameEnum::NO));
        assert_eq!(host.log_config.unwrap().typ.as_deref(), Some("json-file"));
        assert!(host.binds.is_none());
        let mount = host.mounts.unwrap().remove(0);
        assert_eq!(mount.typ, Some(MountType::BIND));
        assert_eq!(mount.read_only, Some(true));
    }
}
