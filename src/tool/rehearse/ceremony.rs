//! One ceremony: its network, its relay, and its operators with a directory each.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
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
use crate::rehearse::charon_image;
use crate::rehearse::rehearsal::{LABEL_REHEARSAL, Rehearsal, io};
use charon_files::cluster::names::{DEFINITION_FILE, ENR_KEY_FILE};
use charon_files::cluster::version::DefinitionVersion;
use charon_files::rehearsal::{RehearsalTerms, rehearsal_definition};

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
#[derive(Clone)]
pub(crate) struct Operator {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) dir: PathBuf,
    pub(crate) owner: u32,
    /// Of their compose project.
    pub(crate) project: String,
}

impl Operator {
    fn new(number: usize, base: &Path, owner: u32, network: &str) -> Self {
        Self {
            number,
            dir: base.join(format!("operator-{number}")),
            owner,
            project: format!("{network}-{number}"),
        }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.join(".charon")
    }
}

/// One ceremony.
pub(crate) struct Ceremony<'a> {
    pub(crate) rehearsal: &'a Rehearsal<'a>,
    pub(crate) operators: Vec<Operator>,
    network: String,
    /// Of the relay in use, which is also its host name.
    relay: String,
}

impl<'a> Ceremony<'a> {
    /// Makes it, in a directory below the rehearsal's. `fault` is what the simulated relay lets go wrong, as
    /// `2=full-disk` for the third operator.
    pub(crate) async fn prepare(
        rehearsal: &'a Rehearsal<'a>,
        dir: &str,
        size: Size,
        fault: Option<&str>,
    ) -> Result<Self, Failure> {
        let network = rehearsal.next_name();
        rehearsal
            .engine
            .create_network(&network)
            .await
            .map_err(failures::engine)?;
        let dir = rehearsal.base.join(dir);
        std::fs::create_dir_all(&dir).map_err(io("make a directory"))?;
        let operators = operators(rehearsal, &network, &dir, size)?;
        let ceremony = Self {
            rehearsal,
            operators,
            relay: network.clone(),
            network,
        };
        ceremony.start_relay(&ceremony.relay, fault).await?;
        ceremony.until_relay_answers().await?;
        Ok(ceremony)
    }

    pub(crate) fn say(&self, text: &str) {
        self.rehearsal.context.say(text);
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
        let rehearsal = self.rehearsal;
        let dir = rehearsal.base.join(format!("relay-{name}"));
        std::fs::create_dir(&dir).map_err(io("make the relay's directory"))?;
        let mapping = my_mapping(rehearsal.mode)?;
        let mut args = vec![
            "relay".to_owned(),
            format!("--data-dir={CONTAINER_DATA_DIR}"),
            format!("--http-address=0.0.0.0:{RELAY_PORT}"),
        ];
        if !rehearsal.charon.simulated {
            args.extend([
                "--p2p-tcp-address=0.0.0.0:3610".to_owned(),
                format!("--p2p-external-hostname={name}"),
                "--p2p-advertise-private-addresses".to_owned(),
            ]);
        }
        args.extend(fault.map(|fault| format!("--sim-fault={fault}")));
        let plan = ContainerPlan {
            user: Some(mapping.user),
            userns_mode: mapping.userns_mode,
            network: Some(self.network.clone()),
            args,
            mounts: vec![Mount {
                source: dir,
                target: CONTAINER_DATA_DIR.to_owned(),
                read_only: false,
            }],
            ..ContainerPlan::named(name, &rehearsal.charon.run_as)
        };
        self.start_container(plan).await.map(|_| ())
    }

    /// Starts a container of this rehearsal.
    async fn start_container(&self, mut plan: ContainerPlan) -> Result<String, Failure> {
        let engine = self.rehearsal.engine;
        plan.labels
            .insert(LABEL_REHEARSAL.to_owned(), plan.name.clone());
        let id = engine.create_container(&plan).await;
        let id = id.map_err(failures::engine)?;
        let started = engine.start_container(&id).await;
        started.map_err(failures::engine).map(|()| id)
    }

    async fn until_relay_answers(&self) -> Result<(), Failure> {
        let urls = [self.relay_url()];
        let mapping = my_mapping(self.rehearsal.mode)?;
        let begin = Instant::now();
        loop {
            let network = Some(self.network.as_str());
            let asked = surroundings::ask_relays(
                self.rehearsal.context,
                self.rehearsal.engine,
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
                    let settled = self.rehearsal.engine.settle().await;
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
    pub(crate) fn run(&self, operator: &Operator, more: &[&str]) -> Result<Process<'_>, Failure> {
        self.start_ceremonial(operator, &["run"], more)
    }

    /// Everybody's `run`, at once and to its end.
    pub(crate) async fn run_all(&self) -> Result<Vec<Ended>, Failure> {
        let runs = self
            .operators
            .iter()
            .map(|operator| self.run(operator, &[]));
        Process::end_all(runs).await
    }

    /// An operator's `ready`, to its end.
    pub(crate) async fn ready(&self, operator: &Operator) -> Result<Ended, Failure> {
        self.start_ceremonial(operator, &["ready"], &[])?
            .end()
            .await
    }

    /// Starts a command that wants to know what is run.
    pub(crate) fn start_ceremonial(
        &self,
        operator: &Operator,
        verb: &[&str],
        more: &[&str],
    ) -> Result<Process<'_>, Failure> {
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
                &self.rehearsal.charon.repository,
            ],
            more,
        ];
        self.start(operator, &words.concat())
    }

    /// Somebody who is not in the cluster, with a key of their own.
    pub(crate) async fn newcomer(&self) -> Result<Operator, Failure> {
        let base = self
            .operators
            .first()
            .and_then(|operator| operator.dir.parent());
        let base = base.unwrap_or(self.rehearsal.base);
        let number = self.operators.len() + 1;
        let operator = Operator::new(number, base, getuid().as_raw(), &self.network);
        std::fs::create_dir(&operator.dir).map_err(io("make an operator's directory"))?;
        let made = self.ours(&operator, &["enr"]).await?;
        if made.code == 0 {
            return Ok(operator);
        }
        Err(Failure::new(
            Kind::Unexpected,
            "the new operator's key could not be made",
        ))
    }

    /// Something that runs with an operator's data directory, in the place of a node. Gives what stops it.
    pub(crate) async fn start_node(&self, operator: &Operator) -> Result<String, Failure> {
        let rehearsal = self.rehearsal;
        let image = charon_image::load_simulator(
            rehearsal.context,
            rehearsal.engine,
            &rehearsal.charon.release,
        )
        .await?;
        let name = format!("{}-node-{}", self.network, operator.number);
        let plan = ContainerPlan {
            network: Some(self.network.clone()),
            args: vec!["wait".to_owned()],
            mounts: vec![Mount {
                source: operator.data_dir(),
                target: CONTAINER_DATA_DIR.to_owned(),
                read_only: true,
            }],
            ..ContainerPlan::named(&name, &image.facts.id)
        };
        self.start_container(plan).await
    }

    /// Stops what runs in the place of nodes.
    pub(crate) async fn stop_nodes(&self, nodes: &[String]) -> Result<(), Failure> {
        for node in nodes {
            let stopped = self.rehearsal.engine.discard_container(node).await;
            stopped.map_err(failures::engine)?;
        }
        Ok(())
    }

    /// Another command of an operator, to its end.
    pub(crate) async fn ours(&self, operator: &Operator, words: &[&str]) -> Result<Ended, Failure> {
        self.start(operator, words)?.end().await
    }

    fn start(&self, operator: &Operator, words: &[&str]) -> Result<Process<'_>, Failure> {
        let program = std::env::current_exe().map_err(io("find this program"))?;
        let mut command = Command::new(program);
        command
            .args(words)
            .args(["--format", "json", "--progress", "plain"])
            .arg("--dir")
            .arg(&operator.dir)
            // Such a project is not one to be remembered.
            .env("XDG_STATE_HOME", self.rehearsal.base)
            .args(self.rehearsal.context.engine_flags());
        Process::start(self.rehearsal, command, Some(operator.number))
    }
}

fn my_mapping(mode: Mode) -> Result<UserMapping, Failure> {
    user_for(mode, getuid().as_raw(), getgid().as_raw())
        .map_err(|error| Failure::new(Kind::Refused, error.to_string()))
}

/// Directories, throw-away keys and the definition.
fn operators(
    rehearsal: &Rehearsal<'_>,
    network: &str,
    dir: &Path,
    size: Size,
) -> Result<Vec<Operator>, Failure> {
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
    let cluster = rehearsal_definition(&terms, &seed)
        .map_err(|error| Failure::new(Kind::Unexpected, error.to_string()))?;
    let definition = cluster.definition.to_json();
    let me = getuid().as_raw();
    let mut operators = Vec::new();
    for (position, key) in cluster.enr_keys.iter().enumerate() {
        let several_owners = me == 0 && matches!(rehearsal.mode, Mode::Rootful | Mode::UsernsRemap);
        let owner = match u32::try_from(position) {
            Ok(position) if several_owners && position > 0 => FIRST_OWNER + position - 1,
            Ok(_) | Err(_) => me,
        };
        let operator = Operator::new(position + 1, dir, owner, network);
        let data_dir = operator.data_dir();
        std::fs::create_dir_all(&data_dir).map_err(io("make an operator's directory"))?;
        for (name, bytes) in [
            (ENR_KEY_FILE, key.to_file_text().as_bytes()),
            (DEFINITION_FILE, definition.as_bytes()),
        ] {
            write_for(&operator, &data_dir.join(name), bytes)?;
        }
        for path in [&data_dir, &operator.dir] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
                .map_err(io("protect an operator's directory"))?;
            give(path, owner)?;
        }
        operators.push(operator);
    }
    Ok(operators)
}

/// Writes a file that belongs to an operator and is nobody else's business.
pub(crate) fn write_for(operator: &Operator, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes).map_err(io("write an operator's file"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(io("protect an operator's file"))?;
    give(path, operator.owner)
}

pub(crate) fn give(path: &Path, owner: u32) -> Result<(), Failure> {
    if owner == getuid().as_raw() {
        return Ok(());
    }
    std::os::unix::fs::chown(path, Some(owner), Some(owner)).map_err(io("give an operator a file"))
}

/// A process that somebody started, and that does not outlive the rehearsal.
pub(crate) struct Process<'a> {
    rehearsal: &'a Rehearsal<'a>,
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

impl Ended {
    /// A text of the document.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.document[name].as_str()
    }

    /// The lock hash that all of them tell, if all ended well and with the same.
    pub(crate) fn agreed<'a>(all: impl IntoIterator<Item = &'a Self>) -> Option<&'a str> {
        let hash = |one: &'a Self| one.text("lock_hash").filter(|_| one.code == 0);
        let mut hashes = all.into_iter().map(hash);
        let first = hashes.next()??;
        hashes.all(|it| it == Some(first)).then_some(first)
    }

    /// The exit codes, for people.
    pub(crate) fn codes(all: &[Self]) -> String {
        let codes: Vec<String> = all.iter().map(|one| one.code.to_string()).collect();
        codes.join(" ")
    }
}

impl<'a> Process<'a> {
    /// What it says on standard error is told on, if it is an operator's.
    pub(crate) fn start(
        rehearsal: &'a Rehearsal<'a>,
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
            rehearsal,
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
            self.rehearsal.heard(operator, &line);
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

    /// Starts all before it waits for the first.
    pub(crate) async fn end_all(
        starts: impl Iterator<Item = Result<Self, Failure>>,
    ) -> Result<Vec<Ended>, Failure> {
        let started = starts.collect::<Result<Vec<_>, _>>()?;
        try_join_all(started.into_iter().map(Self::end)).await
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
