//! An edit of a cluster, from running nodes to switched ones: somebody who does not stop, a clock that is wrong, somebody who
//! starts too early, and two epochs that pass in a copy, since nobody waits for them in a rehearsal.

use futures_util::future::try_join_all;
use tokio::process::Command;

use crate::error::{Failure, Kind};
use crate::machine;
use crate::rehearse::ceremony::{Ceremony, Ended, Operator, Process};
use crate::rehearse::rehearsal::io;
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
struct Edit<'a> {
    ceremony: &'a Ceremony<'a>,
    kind: EditKind,
    /// Who is new, and in no cluster yet.
    newcomer: Option<Operator>,
    /// Of the old operators, by position: the one who leaves.
    leaver: Option<usize>,
}

/// Plays it.
///
/// # Errors
/// If the machine or the engine fails.
pub(crate) async fn play(
    ceremony: &Ceremony<'_>,
    kind: EditKind,
    steps: &mut Steps,
) -> Result<(), Stopped> {
    steps.all_run(ceremony).await?;
    let (brings_newcomer, has_leaver) = match kind {
        EditKind::AddOperators => (true, false),
        EditKind::ReplaceOperator => (true, true),
        EditKind::RemoveOperators => (false, true),
        EditKind::AddValidators | EditKind::RecreatePrivateKeys => (false, false),
    };
    let edit = Edit {
        ceremony,
        kind,
        newcomer: if brings_newcomer {
            Some(ceremony.newcomer().await?)
        } else {
            None
        },
        leaver: has_leaver.then_some(1),
    };
    let mut nodes = Vec::new();
    for operator in &ceremony.operators {
        nodes.push(ceremony.start_node(operator).await?);
    }
    let held = edit.run(steps).await?;
    let Some(first) = held.first() else {
        return Ok(());
    };
    let hashes = Hashes::of(first)?;
    let receipts: Vec<String> = held
        .iter()
        .filter_map(|it| it.text("receipt").map(str::to_owned))
        .collect();
    let (all_but_one, _) = receipts.split_at(receipts.len().saturating_sub(1));
    edit.take(all_but_one).await?;
    if kind != EditKind::AddValidators {
        let early = edit.ours(edit.stayer(0)?, &["stopped"]).await?;
        steps.ended(edit.stayer(0)?, &early, 3, &["must keep running"]);
    }
    edit.take(&receipts).await?;
    if kind == EditKind::AddValidators {
        ceremony.stop_nodes(&nodes).await?;
        return edit.switch(steps, &edit.new_operators(), &hashes).await;
    }
    let later = edit.copies().await?;
    edit.stop(steps, &nodes).await?;
    edit.wrong_clock(steps, &later, &hashes).await?;
    edit.two_epochs_later(steps, &later, &hashes).await
}

/// The lock before and the lock after.
struct Hashes {
    old: LockHash,
    new: LockHash,
}

impl Hashes {
    fn of(held: &Ended) -> Result<Self, Failure> {
        let hash = |name| held.text(name).and_then(LockHash::parse);
        match (hash("previous_lock_hash"), hash("lock_hash")) {
            (Some(old), Some(new)) => Ok(Self { old, new }),
            (_, _) => Err(Failure::new(
                Kind::Unexpected,
                "an edit that is held without its locks",
            )),
        }
    }
}

impl Edit<'_> {
    fn is_leaver(&self, position: usize) -> bool {
        self.leaver == Some(position)
    }

    /// The old operators who stay.
    fn stayers(&self) -> Vec<&Operator> {
        let numbered = self.ceremony.operators.iter().enumerate();
        let stay = numbered.filter(|(position, _)| !self.is_leaver(*position));
        stay.map(|(_, operator)| operator).collect()
    }

    fn stayer(&self, position: usize) -> Result<&Operator, Failure> {
        let missing = || Failure::new(Kind::Unexpected, "a rehearsal without operators");
        self.stayers().get(position).copied().ok_or_else(missing)
    }

    fn new_operators(&self) -> Vec<&Operator> {
        self.stayers().into_iter().chain(&self.newcomer).collect()
    }

    async fn enr(&self, operator: &Operator) -> Result<String, Failure> {
        let shown = self.ceremony.ours(operator, &["enr", "show"]).await?;
        let enr = shown.text("enr").map(str::to_owned);
        enr.ok_or_else(|| Failure::new(Kind::Unexpected, "an operator without an ENR"))
    }

    /// `edit` and what follows it, to its end.
    async fn ours(&self, operator: &Operator, words: &[&str]) -> Result<Ended, Failure> {
        self.ceremony
            .ours(operator, &[&["edit"], words].concat())
            .await
    }

    /// What all type.
    async fn flags(&self) -> Result<Vec<String>, Failure> {
        let leaver = match self.leaver.and_then(|at| self.ceremony.operators.get(at)) {
            Some(operator) => self.enr(operator).await?,
            None => String::new(),
        };
        let newcomer = match &self.newcomer {
            Some(operator) => self.enr(operator).await?,
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
                    default_threshold(self.ceremony.operators.len())
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
    async fn run(&self, steps: &mut Steps) -> Result<Vec<Ended>, Failure> {
        let flags = self.flags().await?;
        let lock = self.stayer(0)?.data_dir().join(CLUSTER_LOCK_FILE);
        let lock = lock.display().to_string();
        let new = self.newcomer.as_ref().map(|operator| operator.number);
        let edits = self.new_operators().into_iter().map(|operator| {
            let mut words: Vec<&str> = flags.iter().map(String::as_str).collect();
            if new == Some(operator.number) {
                words.extend(["--lock-file", &lock]);
            }
            self.ceremony
                .start_ceremonial(operator, &["edit", self.kind.command()], &words)
        });
        let ended = Process::end_all(edits).await?;
        let agreed = Ended::agreed(&ended);
        let seen = match agreed {
            Some(hash) => format!("lock_hash {hash}"),
            None => format!("edit ended with {}", Ended::codes(&ended)),
        };
        steps.check(
            "all who take part hold the same new lock, while the old nodes run",
            agreed.is_some(),
            seen,
        );
        let good = agreed.is_some();
        Ok(if good { ended } else { Vec::new() })
    }

    /// Everybody takes these lines from the chat.
    async fn take(&self, lines: &[String]) -> Result<(), Failure> {
        take(self.ceremony, &self.new_operators(), lines).await
    }

    /// The old nodes stop, but for one at first; nobody gets past what is missing.
    async fn stop(&self, steps: &mut Steps, nodes: &[String]) -> Result<(), Failure> {
        let stayers = self.stayers();
        let Some((late, punctual)) = stayers.split_last() else {
            return Ok(());
        };
        let first = self.stayer(0)?;
        let refused = self.ours(first, &["stopped"]).await?;
        steps.ended(first, &refused, 3, &["still runs here"]);
        // The one that does not stop is the last one.
        let (stopping, running) = nodes.split_at(nodes.len().saturating_sub(1));
        self.ceremony.stop_nodes(stopping).await?;
        let mut lines = Vec::new();
        for operator in punctual {
            lines.extend(self.line(steps, operator).await?);
        }
        self.take(&lines).await?;
        let refused = self.ours(first, &["switch", "--yes"]).await?;
        let name = format!("operator {} of", late.number);
        steps.ended(first, &refused, 3, &["edit-stopped", &name]);
        self.ceremony.stop_nodes(running).await?;
        lines.extend(self.line(steps, late).await?);
        if let Some(leaver) = self.leaver.and_then(|at| self.ceremony.operators.get(at)) {
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
    async fn line(
        &self,
        steps: &mut Steps,
        operator: &Operator,
    ) -> Result<Option<String>, Failure> {
        let stopped = self.ours(operator, &["stopped"]).await?;
        let line = stopped.text("stopped_line").map(str::to_owned);
        steps.check(
            format!("operator {} has stopped and says so", operator.number),
            stopped.code == 0 && line.is_some(),
            format!("exit code {}", stopped.code),
        );
        Ok(line)
    }

    /// The new operators as they are now, in directories beside theirs.
    async fn copies(&self) -> Result<Vec<Operator>, Failure> {
        let mut copies = Vec::new();
        for operator in self.new_operators() {
            copies.push(copy(operator).await?);
        }
        Ok(copies)
    }

    /// What each old operator who stays would say of this time. The keys are throw-away keys of this rehearsal.
    fn lines_of(&self, hashes: &Hashes, time: u64) -> Result<Vec<String>, Failure> {
        let unexpected = |error: String| Failure::new(Kind::Unexpected, error);
        let old = self.ceremony.operators.iter().enumerate();
        let mut lines = Vec::new();
        for (position, operator) in old.filter(|(position, _)| !self.is_leaver(*position)) {
            let key = std::fs::read(operator.data_dir().join(ENR_KEY_FILE))
                .map_err(io("read a throw-away key"))?;
            let key = EnrKey::parse(&key).map_err(|error| unexpected(error.to_string()))?;
            let statement = Statement {
                node: NodeIndex::new(position),
                operators: u16::try_from(self.ceremony.operators.len()).unwrap_or(u16::MAX),
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
        later: &[Operator],
        hashes: &Hashes,
    ) -> Result<(), Failure> {
        // A copy that is good for nothing else.
        let Some((spoilt, _)) = later.split_first() else {
            return Ok(());
        };
        let spoilt = copy(spoilt).await?;
        let lines = self.lines_of(hashes, machine::unix_time() + AHEAD)?;
        take(self.ceremony, &[&spoilt], &lines).await?;
        let refused = self.ours(&spoilt, &["switch", "--yes"]).await?;
        steps.ended(&spoilt, &refused, 3, &["edit-epochs", "clocks is wrong"]);
        Ok(())
    }

    /// In the copies all have stopped long ago.
    async fn two_epochs_later(
        &self,
        steps: &mut Steps,
        later: &[Operator],
        hashes: &Hashes,
    ) -> Result<(), Stopped> {
        let lines = self.lines_of(hashes, machine::unix_time() - LONG_AGO)?;
        let later: Vec<&Operator> = later.iter().collect();
        take(self.ceremony, &later, &lines).await?;
        self.switch(steps, &later, hashes).await
    }

    /// All change over, and have the same proved files.
    async fn switch(
        &self,
        steps: &mut Steps,
        operators: &[&Operator],
        hashes: &Hashes,
    ) -> Result<(), Stopped> {
        let mut seen = Vec::new();
        for operator in operators {
            let switched = self.ours(operator, &["switch", "--yes"]).await?;
            let verified = self.ceremony.ours(operator, &["verify"]).await?;
            let same = verified.text("lock_hash") == Some(&hashes.new.to_string());
            if switched.code != 0 || verified.code != 0 || !same {
                seen.push(format!(
                    "operator {}: switch ended with {}, verify with {}",
                    operator.number, switched.code, verified.code
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
async fn copy(operator: &Operator) -> Result<Operator, Failure> {
    let name = operator
        .dir
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let dir = operator.dir.with_file_name(format!("{name}-later"));
    let copied = Command::new("cp")
        .arg("-a")
        .args([&operator.dir, &dir])
        .status()
        .await
        .map_err(io("copy an operator's directory"))?;
    if !copied.success() {
        return Err(Failure::new(
            Kind::Unexpected,
            "cannot copy an operator's directory",
        ));
    }
    Ok(Operator {
        dir,
        ..operator.clone()
    })
}

/// These operators take these lines from the chat.
async fn take(
    ceremony: &Ceremony<'_>,
    operators: &[&Operator],
    lines: &[String],
) -> Result<(), Failure> {
    let mut words = vec!["edit", "status"];
    words.extend(lines.iter().map(String::as_str));
    let taken = operators
        .iter()
        .map(|operator| ceremony.ours(operator, &words));
    try_join_all(taken).await.map(|_| ())
}
