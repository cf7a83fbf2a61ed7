//! One ceremony's network, relay, and operators with a directory each.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{getgid, getuid};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::ceremony::plan::{CONTAINER_DATA_DIR, ContainerPlan, Mount, RelayFact};
use crate::ceremony::surroundings;
use crate::docker::{Mode, UserMapping, user_for};
use crate::error::{Failure, Kind};
use crate::failures;
use crate::machine;
use crate::rehearse::cast;
use crate::rehearse::house::{House, LABEL_REHEARSAL, io};
use charon_files::cluster::names::{DEFINITION_FILE, ENR_KEY_FILE};
use charon_files::cluster::version::DefinitionVersion;
use charon_files::rehearsal::{self, RehearsalTerms};

const RELAY_PORT: u16 = 3640;
/// How long a relay may take to start.
const RELAY_PATIENCE: Duration = Duration::from_secs(30);
/// First of the user ids that own the operators' directories when root rehearses; the first
/// operator is root itself.
const FIRST_OWNER: u32 = 1000;

/// How large a cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) operators: u16,
    pub(crate) validators: u16,
}

/// One operator of a rehearsal.
pub(crate) struct Player {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) dir: PathBuf,
    pub(crate) owner: u32,
    /// Of their compose project.
    pub(crate) project: String,
}

impl Player {
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.join(".charon")
    }
}

/// One ceremony's world.
pub(crate) struct Stage<'a> {
    pub(crate) house: &'a House<'a>,
    pub(crate) players: Vec<Player>,
    network: String,
    /// Of the relay in use, which is also its host name.
    relay: String,
}

impl<'a> Stage<'a> {
    /// Makes it, in a directory below the house's. `fault` is what the simulated relay lets go wrong, as
    /// `2=full-disk` for the third operator.
    pub(crate) async fn set(
        house: &'a House<'a>,
        dir: &str,
        size: Size,
        fault: Option<&str>,
    ) -> Result<Self, Failure> {
        let network = house.next_name();
        house
            .engine
            .create_network(&network)
            .await
            .map_err(failures::engine)?;
        let dir = house.base.join(dir);
        std::fs::create_dir_all(&dir).map_err(io("make a directory"))?;
        let players = players(house, &network, &dir, size)?;
        let stage = Self {
            house,
            players,
            relay: network.clone(),
            network,
        };
        stage.start_relay(&stage.relay, fault).await?;
        stage.until_relay_answers().await?;
        Ok(stage)
    }

    /// Another relay in place of the first.
    pub(crate) async fn replace_relay(&mut self) -> Result<(), Failure> {
        let name = format!("{}-again", self.network);
        self.start_relay(&name, None).await?;
        self.relay = name;
        self.until_relay_answers().await
    }

    fn relay_url(&self) -> String {
        format!("http://{}:{RELAY_PORT}", self.relay)
    }

    async fn start_relay(&self, name: &str, fault: Option<&str>) -> Result<(), Failure> {
        let house = self.house;
        let dir = house.base.join(format!("relay-{name}"));
        std::fs::create_dir(&dir).map_err(io("make the relay's directory"))?;
        let mapping = my_mapping(house.mode)?;
        let mut args = vec![
            "relay".to_owned(),
            format!("--data-dir={CONTAINER_DATA_DIR}"),
            format!("--http-address=0.0.0.0:{RELAY_PORT}"),
        ];
        if !house.cast.simulated {
            args.extend([
                "--p2p-tcp-address=0.0.0.0:3610".to_owned(),
                format!("--p2p-external-hostname={name}"),
                "--p2p-advertise-private-addresses".to_owned(),
            ]);
        }
        args.extend(fault.map(|fault| format!("--sim-fault={fault}")));
        let mut plan = ContainerPlan {
            user: Some(mapping.user),
            userns_mode: mapping.userns_mode,
            network: Some(self.network.clone()),
            args,
            mounts: vec![Mount {
                source: dir,
                target: CONTAINER_DATA_DIR.to_owned(),
                read_only: false,
            }],
            ..ContainerPlan::named(name, &house.cast.run_as)
        };
        plan.labels
            .insert(LABEL_REHEARSAL.to_owned(), name.to_owned());
        let id = house.engine.create_container(&plan).await;
        let id = id.map_err(failures::engine)?;
        house
            .engine
            .start_container(&id)
            .await
            .map_err(failures::engine)
    }

    async fn until_relay_answers(&self) -> Result<(), Failure> {
        let urls = [self.relay_url()];
        let mapping = my_mapping(self.house.mode)?;
        let begin = Instant::now();
        loop {
            let network = Some(self.network.as_str());
            let asked = surroundings::ask_relays(
                self.house.context,
                self.house.engine,
                &urls,
                network,
                &mapping,
            )
            .await;
            let problem = match asked {
                Ok(facts) => facts.iter().find_map(RelayFact::problem),
                Err(error) => Some(error.to_string()),
            };
            match problem {
                None => {
                    let settled = self.house.engine.settle().await;
                    return settled.map_err(failures::engine);
                }
                Some(_) if begin.elapsed() < RELAY_PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Some(problem) => {
                    return Err(Failure::new(
                        Kind::Unexpected,
                        format!("the rehearsal's relay does not answer: {problem}"),
                    ));
                }
            }
        }
    }

    /// Starts an operator's `run`.
    pub(crate) fn run(&self, player: &Player, more: &[&str]) -> Result<Act<'_>, Failure> {
        self.start_ceremonial(player, &["run"], more)
    }

    /// An operator's `ready`, to its end.
    pub(crate) async fn ready(&self, player: &Player) -> Result<Ended, Failure> {
        self.start_ceremonial(player, &["ready"], &[])?.end().await
    }

    /// Starts a command that wants to know what is run.
    pub(crate) fn start_ceremonial(
        &self,
        player: &Player,
        verb: &[&str],
        more: &[&str],
    ) -> Result<Act<'_>, Failure> {
        let relay = self.relay_url();
        let words = [
            verb,
            &[
                // Throw-away keys.
                "--no-backup",
                "--relay",
                &relay,
                "--network",
                &self.network,
                "--image",
                &self.house.cast.repository,
            ],
            more,
        ];
        self.start(player, &words.concat())
    }

    /// Somebody who is not in the cluster, with a key of their own.
    pub(crate) async fn newcomer(&self) -> Result<Player, Failure> {
        let number = self.players.len() + 1;
        let base = self.players.first().and_then(|player| player.dir.parent());
        let player = Player {
            number,
            dir: base
                .unwrap_or(self.house.base)
                .join(format!("operator-{number}")),
            owner: getuid().as_raw(),
            project: format!("{}-{number}", self.network),
        };
        std::fs::create_dir(&player.dir).map_err(io("make an operator's directory"))?;
        let made = self.ours(&player, &["enr"]).await?;
        if made.code == 0 {
            return Ok(player);
        }
        Err(Failure::new(
            Kind::Unexpected,
            "the new operator's key could not be made",
        ))
    }

    /// Something that runs with an operator's data directory, in the place of a node. Gives what stops it.
    pub(crate) async fn start_node(&self, player: &Player) -> Result<String, Failure> {
        let house = self.house;
        let image = cast::load_simulator(house.context, house.engine, &house.cast.release).await?;
        let name = format!("{}-node-{}", self.network, player.number);
        let mut plan = ContainerPlan {
            network: Some(self.network.clone()),
            args: vec!["wait".to_owned()],
            mounts: vec![Mount {
                source: player.data_dir(),
                target: CONTAINER_DATA_DIR.to_owned(),
                read_only: true,
            }],
            ..ContainerPlan::named(&name, &image.facts.id)
        };
        plan.labels.insert(LABEL_REHEARSAL.to_owned(), name);
        let id = house.engine.create_container(&plan).await;
        let id = id.map_err(failures::engine)?;
        let started = house.engine.start_container(&id).await;
        started.map_err(failures::engine)?;
        Ok(id)
    }

    /// Stops what runs in the place of nodes.
    pub(crate) async fn stop_nodes(&self, nodes: &[String]) -> Result<(), Failure> {
        for node in nodes {
            let stopped = self.house.engine.discard_container(node).await;
            stopped.map_err(failures::engine)?;
        }
        Ok(())
    }

    /// Another command of an operator, to its end.
    pub(crate) async fn ours(&self, player: &Player, words: &[&str]) -> Result<Ended, Failure> {
        self.start(player, words)?.end().await
    }

    fn start(&self, player: &Player, words: &[&str]) -> Result<Act<'_>, Failure> {
        let program = std::env::current_exe().map_err(io("find this program"))?;
        let mut command = Command::new(program);
        command
            .args(words)
            .args(["--format", "json", "--progress", "plain"])
            .arg("--dir")
            .arg(&player.dir)
            // Such a project is not one to be remembered.
            .env("XDG_STATE_HOME", self.house.base)
            .args(self.house.context.engine_flags());
        Act::start(self.house, command, Some(player.number))
    }
}

fn my_mapping(mode: Mode) -> Result<UserMapping, Failure> {
    user_for(mode, getuid().as_raw(), getgid().as_raw())
        .map_err(|error| Failure::new(Kind::Refused, error.to_string()))
}

/// Directories, throw-away keys and the definition.
fn players(
    house: &House<'_>,
    network: &str,
    dir: &Path,
    size: Size,
) -> Result<Vec<Player>, Failure> {
    let mut seed = zeroize::Zeroizing::new([0_u8; 32]);
    getrandom::fill(&mut *seed)
        .map_err(|error| Failure::new(Kind::Unexpected, format!("no random numbers: {error}")))?;
    let terms = RehearsalTerms {
        name: "of charon-dkg",
        operators: usize::from(size.operators),
        threshold: None,
        validators: usize::from(size.validators),
        version: DefinitionVersion::V1_10,
        timestamp: &machine::time_text(jiff::Timestamp::now()),
    };
    let rehearsal = rehearsal::rehearsal_definition(&terms, &seed)
        .map_err(|error| Failure::new(Kind::Unexpected, error.to_string()))?;
    let definition = rehearsal.definition.to_json();
    let me = getuid().as_raw();
    let mut players = Vec::new();
    for (position, key) in rehearsal.enr_keys.iter().enumerate() {
        let several_owners = me == 0 && matches!(house.mode, Mode::Rootful | Mode::UsernsRemap);
        let owner = match u32::try_from(position) {
            Ok(position) if several_owners && position > 0 => FIRST_OWNER + position - 1,
            Ok(_) | Err(_) => me,
        };
        let player = Player {
            number: position + 1,
            dir: dir.join(format!("operator-{}", position + 1)),
            owner,
            project: format!("{network}-{}", position + 1),
        };
        let data_dir = player.data_dir();
        std::fs::create_dir_all(&data_dir).map_err(io("make an operator's directory"))?;
        for (name, bytes) in [
            (ENR_KEY_FILE, key.to_file_text().as_bytes()),
            (DEFINITION_FILE, definition.as_bytes()),
        ] {
            write_for(&player, &data_dir.join(name), bytes)?;
        }
        for path in [&data_dir, &player.dir] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
                .map_err(io("protect an operator's directory"))?;
            give(path, owner)?;
        }
        players.push(player);
    }
    Ok(players)
}

/// Writes a file that belongs to an operator and is nobody else's business.
pub(crate) fn write_for(player: &Player, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes).map_err(io("write an operator's file"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(io("protect an operator's file"))?;
    give(path, player.owner)
}

pub(crate) fn give(path: &Path, owner: u32) -> Result<(), Failure> {
    if owner == getuid().as_raw() {
        return Ok(());
    }
    std::os::unix::fs::chown(path, Some(owner), Some(owner)).map_err(io("give an operator a file"))
}

/// A process that somebody started, and that does not outlive the rehearsal.
pub(crate) struct Act<'a> {
    house: &'a House<'a>,
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    heard: String,
    operator: Option<usize>,
    begun: Instant,
}

/// How a process ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    /// Standard output, if it is JSON.
    pub(crate) document: Value,
    /// Standard error.
    pub(crate) said: String,
    pub(crate) seconds: u64,
}

impl<'a> Act<'a> {
    /// What it says on standard error is told on, if it is an operator's.
    pub(crate) fn start(
        house: &'a House<'a>,
        mut command: Command,
        operator: Option<usize>,
    ) -> Result<Self, Failure> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(io("start a program for an operator"))?;
        let stderr = child
            .stderr
            .take()
            .ok_or_else(|| Failure::new(Kind::Unexpected, "a process without standard error"))?;
        Ok(Self {
            house,
            child,
            lines: BufReader::new(stderr).lines(),
            heard: String::new(),
            operator,
            begun: Instant::now(),
        })
    }

    async fn next_line(&mut self) -> Option<String> {
        // Whatever cannot be read is as good as the end.
        let line = self.lines.next_line().await.ok()??;
        self.heard.push_str(&line);
        self.heard.push('\n');
        if let Some(operator) = self.operator {
            self.house.heard(operator, &line);
        }
        Some(line)
    }

    /// Waits until it says something in which all of these words are; whether it did before its end.
    pub(crate) async fn until(&mut self, words: &[&str]) -> bool {
        while let Some(line) = self.next_line().await {
            if words.iter().all(|word| line.contains(word)) {
                return true;
            }
        }
        false
    }

    /// Kills it as a lost connection or a power cut would: it gets to do nothing any more.
    pub(crate) async fn kill(mut self) -> Result<(), Failure> {
        self.child.kill().await.map_err(io("kill a process"))
    }

    /// Asks it to stop, as Ctrl-C does.
    pub(crate) fn interrupt(&self) -> Result<(), Failure> {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) else {
            return Ok(());
        };
        rustix::process::kill_process(pid, rustix::process::Signal::INT)
            .map_err(|error| io("stop a process")(error.into()))
    }

    /// Waits for its end.
    pub(crate) async fn end(mut self) -> Result<Ended, Failure> {
        let stdout = self.child.stdout.take();
        let mut out = Vec::new();
        let read = async {
            if let Some(mut stdout) = stdout {
                // What is missing of it shows in the document.
                stdout.read_to_end(&mut out).await.ok();
            }
        };
        let listen = async { while self.next_line().await.is_some() {} };
        tokio::join!(read, listen);
        let status = self.child.wait().await.map_err(io("wait for a process"))?;
        Ok(Ended {
            code: status.code().unwrap_or(-1),
            document: serde_json::from_slice(&out).unwrap_or_default(),
            said: self.heard,
            seconds: self.begun.elapsed().as_secs(),
        })
    }
}
