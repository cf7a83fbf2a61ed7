//! `rehearse`: a whole ceremony on this machine with throw-away keys. Every operator is a real `run` of
//! this program in a directory of its own; only charon may be played by the simulator.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{getgid, getuid};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::{Context, failures, observe};
use crate::cli::{RehearsalEngine, RehearseArgs};
use crate::cluster::version::{CharonVersion, DefinitionVersion};
use crate::error::{Failure, Kind};
use crate::host::docker::{Engine, Mode, UserMapping, user_for};
use crate::host::self_image::{self, PROGRAM, SelfImageSpec};
use crate::host::signals::Interrupt;
use crate::pins;
use crate::plan::{ContainerPlan, DEFINITION_FILE, ENR_KEY_FILE, Mount, RelayFact};
use crate::simulator::{self, RehearsalTerms};

/// Name of the relay's container within the rehearsal's network.
const RELAY_PORT: u16 = 3640;
/// Repository of the image in which the simulator plays charon.
const SIMULATOR_REPOSITORY: &str = "charon-dkg-simulator";
/// How long a relay may take to start.
const RELAY_PATIENCE: Duration = Duration::from_secs(30);
/// First of the user ids that own the operators' directories when root rehearses; the first
/// operator is root itself.
const FIRST_OWNER: u32 = 1000;

/// Who plays charon.
struct Cast {
    /// Image repository for `run --image`.
    repository: String,
    /// What the relay's container runs.
    run_as: String,
    simulated: bool,
    release: CharonVersion,
}

/// One operator of the rehearsal.
struct Player {
    number: usize,
    dir: PathBuf,
    owner: u32,
}

#[derive(Serialize)]
struct Line {
    operator: usize,
    owner: u32,
    run: i32,
    verify: i32,
    lock_hash: Option<String>,
    seconds: u64,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    charon: String,
    simulated: bool,
    operators: Vec<Line>,
    passed: bool,
    directory: Option<String>,
}

pub(super) async fn rehearse(context: &Context, args: &RehearseArgs) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen().map_err(failures::signals)?;
    check_size(args)?;
    let endpoint = context
        .endpoint()
        .map_err(|error| Failure::new(Kind::Refused, error.to_string()))?;
    let engine = Engine::connect(&endpoint).await.map_err(|error| {
        Failure::new(Kind::Refused, error.to_string())
            .hint("a rehearsal needs a docker engine on this machine: start docker, or install one with `./install.sh --with-docker`")
    })?;
    let mode = engine.facts().await.map_err(failures::engine)?.mode;
    let cast = cast(context, &engine, args.engine).await?;

    let base = tempfile::Builder::new()
        .prefix("charon-dkg-rehearsal-")
        .tempdir()
        .map_err(io("make a temporary directory"))?;
    // Operators of other user ids must be able to pass through it.
    std::fs::set_permissions(base.path(), std::fs::Permissions::from_mode(0o755))
        .map_err(io("open up the temporary directory"))?;
    let stage = Stage {
        context,
        engine: &engine,
        mode,
        cast: &cast,
        name: format!("charon-dkg-rehearsal-{}", uuid::Uuid::new_v4().simple()),
        base: base.path(),
    };
    let outcome = tokio::select! {
        outcome = stage.play(args) => outcome,
        _ = interrupt.next() => Err(Failure::new(Kind::Interrupted, "the rehearsal was stopped")),
    };
    stage.clear().await;
    let mut document = outcome?;
    if args.keep || !document.passed {
        document.directory = Some(base.keep().display().to_string());
    }
    context.result(&text(&document), &document)?;
    if document.passed {
        Ok(())
    } else {
        Err(Failure::new(
            Kind::CeremonyFailed,
            "not every operator of the rehearsal ended with the same, proved outputs",
        ))
    }
}

fn io(what: &'static str) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::new(Kind::Unexpected, format!("cannot {what}: {error}"))
}

fn check_size(args: &RehearseArgs) -> Result<(), Failure> {
    if !(3..=30).contains(&args.operators) || !(1..=500).contains(&args.validators) {
        return Err(Failure::new(
            Kind::Usage,
            format!(
                "{} operators and {} validators, expected 3 to 30 and 1 to 500",
                args.operators, args.validators
            ),
        ));
    }
    Ok(())
}

/// Decides who plays charon.
async fn cast(
    context: &Context,
    engine: &Engine,
    wanted: RehearsalEngine,
) -> Result<Cast, Failure> {
    let release = pins::choose(DefinitionVersion::V1_10, None, false)
        .map_err(|error| Failure::new(Kind::Unexpected, error.to_string()))?;
    let reference = format!("{}:{release}", pins::OFFICIAL_REPOSITORY);
    let unavailable = match wanted {
        RehearsalEngine::Simulated => None,
        RehearsalEngine::Charon | RehearsalEngine::Auto => {
            match charon_image(context, engine, &reference).await {
                Ok(run_as) => {
                    return Ok(Cast {
                        repository: pins::OFFICIAL_REPOSITORY.to_owned(),
                        run_as,
                        simulated: false,
                        release,
                    });
                }
                Err(reason) => Some(reason),
            }
        }
    };
    if let (RehearsalEngine::Charon, Some(reason)) = (wanted, &unavailable) {
        return Err(Failure::new(
            Kind::Refused,
            format!("{reference} cannot be had: {reason}"),
        )
        .hint("rehearse with the simulator: --engine simulated"));
    }
    if let Some(reason) = unavailable {
        context.warn(&format!(
            "{reference} cannot be had ({reason}), so the built-in SIMULATOR plays charon. It deals all shares from \
             one place and is no DKG; everything else is real."
        ));
    }
    let spec = SelfImageSpec {
        reference: Some(format!("{SIMULATOR_REPOSITORY}:{release}")),
        entrypoint: vec![
            PROGRAM.to_owned(),
            "simulator".to_owned(),
            "--charon-version".to_owned(),
            release.to_string(),
        ],
        cmd: Vec::new(),
        labels: BTreeMap::new(),
    };
    let image = self_image::load_self_image(engine, &spec)
        .await
        .map_err(|error| Failure::new(Kind::Unexpected, error.to_string()))?;
    Ok(Cast {
        repository: SIMULATOR_REPOSITORY.to_owned(),
        run_as: image.facts.id,
        simulated: true,
        release,
    })
}

async fn charon_image(
    context: &Context,
    engine: &Engine,
    reference: &str,
) -> Result<String, String> {
    if let Some(found) = engine
        .inspect_image(reference)
        .await
        .map_err(|e| e.to_string())?
    {
        return Ok(found.run_image(reference).reference().to_owned());
    }
    engine
        .registry_digest(reference)
        .await
        .map_err(|e| e.to_string())?;
    let bar = context.task(&format!("pulling {reference}"), 0);
    let pulled = engine
        .pull_image(reference, |progress| {
            bar.set_of(progress.downloaded, progress.total)
        })
        .await
        .map_err(|e| e.to_string())?;
    Ok(pulled.run_image(reference).reference().to_owned())
}

/// The rehearsal's network, relay and directories.
struct Stage<'a> {
    context: &'a Context,
    engine: &'a Engine,
    mode: Mode,
    cast: &'a Cast,
    /// Name of the network and of the relay's container.
    name: String,
    base: &'a Path,
}

impl Stage<'_> {
    async fn play(&self, args: &RehearseArgs) -> Result<Document, Failure> {
        self.engine
            .create_network(&self.name)
            .await
            .map_err(failures::engine)?;
        self.start_relay().await?;
        let players = self.prepare(args)?;
        self.context.say(&format!(
            "{} operators, {} validators, charon {}{}",
            args.operators,
            args.validators,
            self.cast.release,
            if self.cast.simulated {
                " (simulated)"
            } else {
                ""
            }
        ));
        let runs = players.iter().map(|player| self.perform(player));
        let lines = futures_util::future::try_join_all(runs).await?;
        let first = lines.first().and_then(|line| line.lock_hash.clone());
        let passed = first.is_some()
            && lines
                .iter()
                .all(|line| line.run == 0 && line.verify == 0 && line.lock_hash == first);
        Ok(Document {
            schema: "charon-dkg.rehearse/1",
            charon: self.cast.release.to_string(),
            simulated: self.cast.simulated,
            operators: lines,
            passed,
            directory: None,
        })
    }

    /// Removes what the engine was given; what stays is said.
    async fn clear(&self) {
        for error in [
            self.engine.discard_container(&self.name).await.err(),
            self.engine.remove_network(&self.name).await.err(),
        ]
        .into_iter()
        .flatten()
        {
            self.context
                .warn(&format!("something of the rehearsal stays behind: {error}"));
        }
    }

    fn relay_url(&self) -> String {
        format!("http://{}:{RELAY_PORT}", self.name)
    }

    async fn start_relay(&self) -> Result<(), Failure> {
        let dir = self.base.join("relay");
        std::fs::create_dir(&dir).map_err(io("make the relay's directory"))?;
        let mapping = self.my_mapping()?;
        let mut args = vec![
            "relay".to_owned(),
            format!("--data-dir={}", crate::plan::CONTAINER_DATA_DIR),
            format!("--http-address=0.0.0.0:{RELAY_PORT}"),
        ];
        if !self.cast.simulated {
            args.extend([
                "--p2p-tcp-address=0.0.0.0:3610".to_owned(),
                format!("--p2p-external-hostname={}", self.name),
                "--p2p-advertise-private-addresses".to_owned(),
            ]);
        }
        let plan = ContainerPlan {
            user: Some(mapping.user),
            userns_mode: mapping.userns_mode,
            network: Some(self.name.clone()),
            args,
            mounts: vec![Mount {
                source: dir,
                target: crate::plan::CONTAINER_DATA_DIR.to_owned(),
                read_only: false,
            }],
            ..ContainerPlan::named(&self.name, &self.cast.run_as)
        };
        let id = self
            .engine
            .create_container(&plan)
            .await
            .map_err(failures::engine)?;
        self.engine
            .start_container(&id)
            .await
            .map_err(failures::engine)?;
        self.until_relay_answers().await
    }

    fn my_mapping(&self) -> Result<UserMapping, Failure> {
        user_for(self.mode, getuid().as_raw(), getgid().as_raw())
            .map_err(|error| Failure::new(Kind::Refused, error.to_string()))
    }

    async fn until_relay_answers(&self) -> Result<(), Failure> {
        let urls = [self.relay_url()];
        let mapping = self.my_mapping()?;
        let begin = Instant::now();
        loop {
            let asked = observe::ask_relays(self.engine, &urls, Some(&self.name), &mapping).await;
            let problem = match asked {
                Ok(facts) => facts.iter().find_map(RelayFact::problem),
                Err(error) => Some(error.to_string()),
            };
            match problem {
                None => return self.engine.settle().await.map_err(failures::engine),
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

    /// Directories, throw-away keys and the definition.
    fn prepare(&self, args: &RehearseArgs) -> Result<Vec<Player>, Failure> {
        let mut seed = zeroize::Zeroizing::new([0_u8; 32]);
        getrandom::fill(&mut *seed).map_err(|error| {
            Failure::new(Kind::Unexpected, format!("no random numbers: {error}"))
        })?;
        let terms = RehearsalTerms {
            name: "of charon-dkg",
            operators: usize::from(args.operators),
            threshold: None,
            validators: usize::from(args.validators),
            version: DefinitionVersion::V1_10,
            timestamp: &jiff::Timestamp::now()
                .strftime("%Y-%m-%dT%H:%M:%SZ")
                .to_string(),
        };
        let rehearsal = simulator::rehearsal_definition(&terms, &seed)
            .map_err(|error| Failure::new(Kind::Unexpected, error.to_string()))?;
        let definition = rehearsal.definition.to_json();
        let me = getuid().as_raw();
        let mut players = Vec::new();
        for (position, key) in rehearsal.enr_keys.iter().enumerate() {
            let several_owners = me == 0 && matches!(self.mode, Mode::Rootful | Mode::UsernsRemap);
            let owner = match u32::try_from(position) {
                Ok(position) if several_owners && position > 0 => FIRST_OWNER + position - 1,
                Ok(_) | Err(_) => me,
            };
            let dir = self.base.join(format!("operator-{}", position + 1));
            let data_dir = dir.join(".charon");
            std::fs::create_dir_all(&data_dir).map_err(io("make an operator's directory"))?;
            for (name, bytes) in [
                (ENR_KEY_FILE, key.to_file_text().as_bytes()),
                (DEFINITION_FILE, definition.as_bytes()),
            ] {
                let path = data_dir.join(name);
                std::fs::write(&path, bytes).map_err(io("write an operator's file"))?;
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
                    .map_err(io("protect an operator's file"))?;
                give(&path, owner, me)?;
            }
            for path in [&data_dir, &dir] {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
                    .map_err(io("protect an operator's directory"))?;
                give(path, owner, me)?;
            }
            players.push(Player {
                number: position + 1,
                dir,
                owner,
            });
        }
        Ok(players)
    }

    /// One operator's `run` and `verify`, as processes of their own.
    async fn perform(&self, player: &Player) -> Result<Line, Failure> {
        let begin = Instant::now();
        let relay = self.relay_url();
        let run = self
            .this_program(
                player,
                &[
                    "run",
                    // Throw-away keys.
                    "--no-backup",
                    "--relay",
                    &relay,
                    "--network",
                    &self.name,
                    "--image",
                    &self.cast.repository,
                ],
            )
            .await?;
        let seconds = begin.elapsed().as_secs();
        let verify = self.this_program(player, &["verify"]).await?;
        let lock_hash = serde_json::from_str::<serde_json::Value>(&verify.stdout)
            .ok()
            .and_then(|report| Some(report.get("lock_hash")?.as_str()?.to_owned()));
        self.context.say(&format!(
            "operator {}: run ended with {}, verify with {}",
            player.number, run.code, verify.code
        ));
        Ok(Line {
            operator: player.number,
            owner: player.owner,
            run: run.code,
            verify: verify.code,
            lock_hash,
            seconds,
        })
    }

    async fn this_program(&self, player: &Player, args: &[&str]) -> Result<Ended, Failure> {
        let program = std::env::current_exe().map_err(io("find this program"))?;
        let mut child = Command::new(program)
            .args(args)
            .args(["--format", "json", "--progress", "plain"])
            .arg("--dir")
            .arg(&player.dir)
            .args(self.context.engine_flags())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(io("start this program for an operator"))?;
        let stderr = child.stderr.take();
        let narrate = async {
            let Some(stderr) = stderr else { return };
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                self.context
                    .say(&format!("operator {}: {line}", player.number));
            }
        };
        let (output, ()) = tokio::join!(child.wait_with_output(), narrate);
        let output = output.map_err(io("wait for an operator"))?;
        Ok(Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        })
    }
}

struct Ended {
    code: i32,
    stdout: String,
}

fn give(path: &Path, owner: u32, me: u32) -> Result<(), Failure> {
    if owner == me {
        return Ok(());
    }
    std::os::unix::fs::chown(path, Some(owner), Some(owner))
        .map_err(io("give an operator its directory"))
}

fn text(document: &Document) -> String {
    let mut text = format!(
        "{:<10} {:<8} {:<6} {:<8} {:<6} lock_hash\n",
        "operator", "owner", "run", "verify", "time"
    );
    let word = |code: i32| {
        if code == 0 {
            "ok".to_owned()
        } else {
            format!("exit {code}")
        }
    };
    for line in &document.operators {
        text.push_str(&format!(
            "{:<10} {:<8} {:<6} {:<8} {:<6} {}\n",
            line.operator,
            line.owner,
            word(line.run),
            word(line.verify),
            format!("{}s", line.seconds),
            line.lock_hash.as_deref().unwrap_or("none"),
        ));
    }
    text.push_str(if document.passed {
        "every operator has everything, and all have the same\n"
    } else {
        "the rehearsal failed\n"
    });
    if document.simulated {
        text.push_str(
            "charon was played by the simulator: these shares were dealt from one place\n",
        );
    }
    if let Some(directory) = &document.directory {
        text.push_str(&format!("kept in {directory}\n"));
    }
    text
}
