//! An edit of a cluster, from running nodes to switched ones: somebody who does not stop, a clock that is wrong, somebody who
//! starts too early, and two epochs that pass in a copy, since nobody waits for them in a rehearsal.

use futures_util::future::try_join_all;
use serde_json::Value;
use tokio::process::Command;

use crate::error::{Failure, Kind};
use crate::machine;
use crate::rehearse::house::io;
use crate::rehearse::stage::{Act, Ended, Player, Stage};
use crate::rehearse::trial::{Steps, Stopped};
use charon_files::cluster::definition::default_threshold;
use charon_files::cluster::names::{CLUSTER_LOCK_FILE, ENR_KEY_FILE};
use charon_files::cluster::{Address, LockHash, NodeIndex};
use charon_files::keys::k1::EnrKey;
use charon_proof::edit::EditKind;
use charon_proof::stopped::{Statement, StoppedLine};

/// What must happen.
pub(crate) const MUST: &str = "nodes that run go on meanwhile; nobody changes over before all have the new keys, the old cluster cannot sign any more and two epochs have passed; then all new operators have the same proved files";

/// Long enough ago on every network, in seconds.
const LONG_AGO: u64 = 3600;
/// So far ahead is no clock that is right.
const AHEAD: u64 = 3600;

/// Where somebody is while it is told.
struct Story<'a> {
    stage: &'a Stage<'a>,
    kind: EditKind,
    /// Who is new, and in no cluster yet.
    newcomer: Option<Player>,
    /// Of the old operators, by position: the one who leaves.
    leaver: Option<usize>,
}

/// Plays it.
///
/// # Errors
/// If the machine or the engine fails.
pub(crate) async fn play(
    stage: &Stage<'_>,
    kind: EditKind,
    steps: &mut Steps,
) -> Result<(), Stopped> {
    steps.all_run(stage).await?;
    let story = Story {
        stage,
        kind,
        newcomer: match kind {
            EditKind::AddOperators | EditKind::ReplaceOperator => Some(stage.newcomer().await?),
            EditKind::AddValidators | EditKind::RemoveOperators | EditKind::RecreatePrivateKeys => {
                None
            }
        },
        leaver: match kind {
            EditKind::RemoveOperators | EditKind::ReplaceOperator => Some(1),
            EditKind::AddValidators | EditKind::AddOperators | EditKind::RecreatePrivateKeys => {
                None
            }
        },
    };
    let mut nodes = Vec::new();
    for player in &stage.players {
        nodes.push(stage.start_node(player).await?);
    }
    let held = story.run(steps).await?;
    let Some(first) = held.first() else {
        return Ok(());
    };
    let hashes = Hashes::of(first)?;
    let receipts: Vec<String> = held.iter().filter_map(|it| text(it, "receipt")).collect();
    let (_, all_but_one) = receipts.split_last().unwrap_or((&hashes.none, &[]));
    story.take(all_but_one).await?;
    if kind != EditKind::AddValidators {
        let early = story.ours(story.stayer(0)?, &["stopped"]).await?;
        steps.ended(story.stayer(0)?, &early, 3, &["must go on"]);
    }
    story.take(&receipts).await?;
    if kind == EditKind::AddValidators {
        stage.stop_nodes(&nodes).await?;
        return story.switch(steps, &story.new_operators(), &hashes).await;
    }
    let later = story.copies().await?;
    story.stop(steps, &nodes, &hashes).await?;
    story.wrong_clock(steps, &later, &hashes).await?;
    story.two_epochs_later(steps, &later, &hashes).await
}

/// The lock before and the lock after.
struct Hashes {
    old: LockHash,
    new: LockHash,
    none: String,
}

impl Hashes {
    fn of(document: &Value) -> Result<Self, Failure> {
        let hash = |name| text(document, name).and_then(|text| LockHash::parse(&text));
        match (hash("previous_lock_hash"), hash("lock_hash")) {
            (Some(old), Some(new)) => Ok(Self {
                old,
                new,
                none: String::new(),
            }),
            (_, _) => Err(Failure::new(
                Kind::Unexpected,
                "an edit that is held without its locks",
            )),
        }
    }
}

fn text(document: &Value, name: &str) -> Option<String> {
    document[name].as_str().map(str::to_owned)
}

impl Story<'_> {
    fn is_leaver(&self, position: usize) -> bool {
        self.leaver == Some(position)
    }

    /// The old operators who stay.
    fn stayers(&self) -> Vec<&Player> {
        let numbered = self.stage.players.iter().enumerate();
        let stay = numbered.filter(|(position, _)| !self.is_leaver(*position));
        stay.map(|(_, player)| player).collect()
    }

    fn stayer(&self, position: usize) -> Result<&Player, Failure> {
        let missing = || Failure::new(Kind::Unexpected, "a rehearsal without operators");
        self.stayers().get(position).copied().ok_or_else(missing)
    }

    fn new_operators(&self) -> Vec<&Player> {
        self.stayers().into_iter().chain(&self.newcomer).collect()
    }

    async fn enr(&self, player: &Player) -> Result<String, Failure> {
        let shown = self.stage.ours(player, &["enr", "show"]).await?;
        text(&shown.document, "enr")
            .ok_or_else(|| Failure::new(Kind::Unexpected, "an operator without an ENR"))
    }

    /// `edit` and what follows it, to its end.
    async fn ours(&self, player: &Player, words: &[&str]) -> Result<Ended, Failure> {
        self.stage.ours(player, &[&["edit"], words].concat()).await
    }

    /// What all type.
    async fn flags(&self) -> Result<Vec<String>, Failure> {
        let leaver = match self.leaver.and_then(|at| self.stage.players.get(at)) {
            Some(player) => self.enr(player).await?,
            None => String::new(),
        };
        let newcomer = match &self.newcomer {
            Some(player) => self.enr(player).await?,
            None => String::new(),
        };
        let address = Address::of_uncompressed_point(&[7; 64]);
        Ok(match self.kind {
            EditKind::AddValidators => vec![
                format!("--withdrawal-addresses={address}"),
                format!("--fee-recipient-addresses={address}"),
            ],
            EditKind::AddOperators => vec![
                format!("--new-operator-enrs={newcomer}"),
                format!(
                    "--accept-threshold={}",
                    default_threshold(self.stage.players.len())
                ),
            ],
            EditKind::RemoveOperators => vec![format!("--operator-enrs-to-remove={leaver}")],
            EditKind::ReplaceOperator => vec![
                format!("--old-operator-enr={leaver}"),
                format!("--new-operator-enr={newcomer}"),
            ],
            EditKind::RecreatePrivateKeys => Vec::new(),
        })
    }

    /// Everybody who takes part runs charon's edit; gives what each holds then.
    async fn run(&self, steps: &mut Steps) -> Result<Vec<Value>, Failure> {
        let flags = self.flags().await?;
        let lock = self.stayer(0)?.data_dir().join(CLUSTER_LOCK_FILE);
        let lock = lock.display().to_string();
        let new = self.newcomer.as_ref().map(|player| player.number);
        let acts = self.new_operators().into_iter().map(|player| {
            let mut words: Vec<&str> = flags.iter().map(String::as_str).collect();
            if new == Some(player.number) {
                words.extend(["--lock-file", &lock]);
            }
            self.stage
                .start_ceremonial(player, &["edit", self.kind.command()], &words)
        });
        let acts = acts.collect::<Result<Vec<_>, _>>()?;
        let ended = try_join_all(acts.into_iter().map(Act::end)).await?;
        let hashes: Vec<Option<String>> = ended
            .iter()
            .map(|it| text(&it.document, "lock_hash"))
            .collect();
        let good = ended.iter().all(|it| it.code == 0)
            && hashes.iter().all(|it| it.is_some() && *it == hashes[0]);
        let codes: Vec<String> = ended.iter().map(|it| it.code.to_string()).collect();
        steps.check(
            "all who take part hold the same new lock, while the old nodes run",
            good,
            match (good, &hashes.first()) {
                (true, Some(Some(hash))) => format!("lock_hash {hash}"),
                (_, _) => format!("edit ended with {}", codes.join(" ")),
            },
        );
        if !good {
            return Ok(Vec::new());
        }
        Ok(ended.into_iter().map(|it| it.document).collect())
    }

    /// Everybody takes these lines from the chat.
    async fn take(&self, lines: &[String]) -> Result<(), Failure> {
        take(self.stage, &self.new_operators(), lines).await
    }

    /// The old nodes stop, but for one at first; nobody gets past what is missing.
    async fn stop(
        &self,
        steps: &mut Steps,
        nodes: &[String],
        hashes: &Hashes,
    ) -> Result<(), Failure> {
        let stayers = self.stayers();
        let Some((late, punctual)) = stayers.split_last() else {
            return Ok(());
        };
        let first = self.stayer(0)?;
        let refused = self.ours(first, &["stopped"]).await?;
        steps.ended(first, &refused, 3, &["still runs here"]);
        // Whoever does not stop is the last one.
        let (running, stopping) = nodes.split_last().unwrap_or((&hashes.none, &[]));
        self.stage.stop_nodes(stopping).await?;
        let mut lines = Vec::new();
        for player in punctual {
            lines.extend(self.line(steps, player).await?);
        }
        self.take(&lines).await?;
        let refused = self.ours(first, &["switch", "--yes"]).await?;
        let name = format!("operator {} of", late.number);
        steps.ended(first, &refused, 3, &["edit-stopped", &name]);
        self.stage.stop_nodes(std::slice::from_ref(running)).await?;
        lines.extend(self.line(steps, late).await?);
        if let Some(leaver) = self.leaver.and_then(|at| self.stage.players.get(at)) {
            let lock = first
                .dir
                .join(".charon-dkg/edit/new")
                .join(CLUSTER_LOCK_FILE);
            let lock = lock.display().to_string();
            let words = ["retire", "--new-lock", &lock, "--yes"];
            let retired = self.ours(leaver, &words).await?;
            steps.check(
                format!(
                    "operator {} leaves, and the share goes to the archive",
                    leaver.number
                ),
                retired.code == 0 && !leaver.data_dir().join(CLUSTER_LOCK_FILE).exists(),
                format!("exit code {}", retired.code),
            );
        }
        self.take(&lines).await?;
        let refused = self.ours(first, &["switch", "--yes"]).await?;
        steps.ended(first, &refused, 3, &["edit-epochs", "not before"]);
        Ok(())
    }

    /// The line that an operator prints who has stopped.
    async fn line(&self, steps: &mut Steps, player: &Player) -> Result<Option<String>, Failure> {
        let stopped = self.ours(player, &["stopped"]).await?;
        let line = text(&stopped.document, "stopped_line");
        steps.check(
            format!("operator {} has stopped and says so", player.number),
            stopped.code == 0 && line.is_some(),
            format!("exit code {}", stopped.code),
        );
        Ok(line)
    }

    /// The new operators as they are now, in directories beside theirs.
    async fn copies(&self) -> Result<Vec<Player>, Failure> {
        let mut copies = Vec::new();
        for player in self.new_operators() {
            copies.push(copy(player).await?);
        }
        Ok(copies)
    }

    /// What each old operator who stays would say of this time. The keys are throw-away keys of this rehearsal.
    fn lines_of(&self, hashes: &Hashes, time: u64) -> Result<Vec<String>, Failure> {
        let unexpected = |error: String| Failure::new(Kind::Unexpected, error);
        let old = self.stage.players.iter().enumerate();
        let mut lines = Vec::new();
        for (position, player) in old.filter(|(position, _)| !self.is_leaver(*position)) {
            let key = std::fs::read(player.data_dir().join(ENR_KEY_FILE))
                .map_err(io("read a throw-away key"))?;
            let key = EnrKey::parse(&key).map_err(|error| unexpected(error.to_string()))?;
            let statement = Statement {
                node: NodeIndex::new(position),
                operators: u16::try_from(self.stage.players.len()).unwrap_or(u16::MAX),
                old_lock_hash: hashes.old,
                new_lock_hash: hashes.new,
                time,
                program_version: env!("CARGO_PKG_VERSION").to_owned(),
            };
            let line = StoppedLine::sign(statement, &key)
                .map_err(|error| unexpected(error.to_string()))?;
            lines.push(line.to_string());
        }
        Ok(lines)
    }

    /// An operator's clock is an hour ahead.
    async fn wrong_clock(
        &self,
        steps: &mut Steps,
        later: &[Player],
        hashes: &Hashes,
    ) -> Result<(), Failure> {
        // A copy that is good for nothing else.
        let Some((spoilt, _)) = later.split_first() else {
            return Ok(());
        };
        let spoilt = copy(spoilt).await?;
        let lines = self.lines_of(hashes, machine::unix_time() + AHEAD)?;
        take(self.stage, &[&spoilt], &lines).await?;
        let refused = self.ours(&spoilt, &["switch", "--yes"]).await?;
        steps.ended(&spoilt, &refused, 3, &["edit-epochs", "clocks is wrong"]);
        Ok(())
    }

    /// In the copies all have stopped long ago.
    async fn two_epochs_later(
        &self,
        steps: &mut Steps,
        later: &[Player],
        hashes: &Hashes,
    ) -> Result<(), Stopped> {
        let lines = self.lines_of(hashes, machine::unix_time() - LONG_AGO)?;
        let later: Vec<&Player> = later.iter().collect();
        take(self.stage, &later, &lines).await?;
        self.switch(steps, &later, hashes).await
    }

    /// All change over, and have the same proved files.
    async fn switch(
        &self,
        steps: &mut Steps,
        players: &[&Player],
        hashes: &Hashes,
    ) -> Result<(), Stopped> {
        let mut seen = Vec::new();
        for player in players {
            let switched = self.ours(player, &["switch", "--yes"]).await?;
            let verified = self.stage.ours(player, &["verify"]).await?;
            let hash = text(&verified.document, "lock_hash");
            let same = hash.as_deref() == Some(&hashes.new.to_string());
            if switched.code != 0 || verified.code != 0 || !same {
                seen.push(format!(
                    "operator {}: switch ended with {}, verify with {}",
                    player.number, switched.code, verified.code
                ));
            }
        }
        steps.check(
            "two epochs later all new operators change over, and have the same proved files",
            seen.is_empty(),
            seen.join("; "),
        );
        Ok(())
    }
}

/// An operator as they are now, in a directory beside theirs.
async fn copy(player: &Player) -> Result<Player, Failure> {
    let name = player.dir.file_name().unwrap_or_default().to_string_lossy();
    let dir = player.dir.with_file_name(format!("{name}-later"));
    let copied = Command::new("cp")
        .arg("-a")
        .args([&player.dir, &dir])
        .status()
        .await
        .map_err(io("copy an operator's directory"))?;
    if !copied.success() {
        return Err(Failure::new(
            Kind::Unexpected,
            "cannot copy an operator's directory",
        ));
    }
    Ok(Player {
        number: player.number,
        dir,
        owner: player.owner,
        project: player.project.clone(),
    })
}

/// These operators take these lines from the chat.
async fn take(stage: &Stage<'_>, players: &[&Player], lines: &[String]) -> Result<(), Failure> {
    let mut words = vec!["edit", "status"];
    words.extend(lines.iter().map(String::as_str));
    let taken = players.iter().map(|player| stage.ours(player, &words));
    try_join_all(taken).await.map(|_| ())
}
