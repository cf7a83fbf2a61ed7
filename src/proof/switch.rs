//! When a cluster that was edited may change over from its old shares to its new ones.
//!
//! The new shares have other public keys, so no validator client remembers what the old ones signed. As long as enough old
//! nodes run to sign, or have signed in the last two epochs, the new ones must not start: both together could sign two
//! votes for one epoch, which is slashed. [`conditions`] says what is still missing; the caller looks and waits.

use serde::Serialize;

use charon_files::cluster::{LockHash, Network, NodeIndex};

use crate::cluster::Operators;
use crate::confirm::Confirmation;
use crate::edit::Edit;
use crate::said::sort_lines;
use crate::stopped::StoppedLine;

/// So long charon itself refuses to run another lock with a key, in seconds (charon `app/privkeylock`, from v1.9.0).
pub const CHARON_GRACE_SECONDS: u64 = 768;

/// By how much clocks of operators are taken to differ at most, in seconds.
pub const CLOCK_MARGIN_SECONDS: u64 = 60;

/// How long after the last old node has stopped the first new one may start, in seconds: two epochs, at least as long as
/// charon's own grace, and a margin for clocks. A network that is not known has epochs of Ethereum's length.
pub fn wait_seconds(network: Option<Network>) -> u64 {
    const ETHEREUM_EPOCH: u64 = 32 * 12;
    let epoch = network.map_or(ETHEREUM_EPOCH, |network| network.epoch_seconds());
    (2 * epoch).max(CHARON_GRACE_SECONDS) + CLOCK_MARGIN_SECONDS
}

/// The old cluster.
#[derive(Debug, Clone, Copy)]
pub struct Old<'a> {
    /// Who its operators are.
    pub operators: &'a Operators,
    /// Hash of its lock.
    pub lock_hash: LockHash,
    /// How many of them can sign.
    pub threshold: usize,
}

/// What every old operator has stated about this edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// By position: since when, by the newest line that counts.
    since: Vec<Option<u64>>,
    /// The lines that count, one for each operator at most.
    evidence: Vec<StoppedLine>,
    /// Lines that do not count.
    others: usize,
}

impl Stopped {
    /// Weighs lines by the old lock and the lock that the edit made. A line counts only if the operator that it names signed
    /// it, for exactly these two locks.
    pub fn weigh(old: &Old<'_>, new: LockHash, lines: &[StoppedLine]) -> Self {
        let count = old.operators.count();
        let (said, _) = sort_lines(old.operators, lines, |statement| {
            statement.old_lock_hash == old.lock_hash
                && statement.new_lock_hash == new
                && usize::from(statement.operators) == count
        });
        let newest: Vec<Option<&StoppedLine>> =
            said.iter().map(|said| said.here.last().copied()).collect();
        let evidence: Vec<StoppedLine> = newest.iter().copied().flatten().cloned().collect();
        let here: usize = said.iter().map(|said| said.here.len()).sum();
        Self {
            since: newest
                .iter()
                .map(|line| line.map(|line| line.statement().time))
                .collect(),
            evidence,
            others: lines.len().saturating_sub(here),
        }
    }

    /// Since when an operator of the old lock has stopped, in seconds of Unix time.
    pub fn since(&self, node: NodeIndex) -> Option<u64> {
        self.since.get(node.position()).copied().flatten()
    }

    /// The lines that count, to be kept.
    pub fn evidence(&self) -> &[StoppedLine] {
        &self.evidence
    }

    /// How many lines do not count: of strangers, forged, or about other locks.
    pub const fn others(&self) -> usize {
        self.others
    }
}

/// What has to be so before a node changes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Every operator of the new lock has shown to hold everything.
    AllHaveTheNewKeys,
    /// So few old nodes may still run that they cannot sign.
    OldClusterStopped,
    /// Two epochs have passed since, and a margin.
    TwoEpochsPassed,
}

impl Condition {
    /// What people read.
    pub const fn text(self) -> &'static str {
        match self {
            Condition::AllHaveTheNewKeys => "all new operators have everything",
            Condition::OldClusterStopped => "the old cluster cannot sign any more",
            Condition::TwoEpochsPassed => "two epochs have passed since",
        }
    }
}

/// The state of one condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is so.
    Met,
    /// Whose receipts for the new lock are missing or differ is for the confirmation to say.
    ReceiptsMissing,
    /// These operators of the old lock have not stated to have stopped.
    NotStopped(Vec<NodeIndex>),
    /// All who go on have stopped, but those who were removed are still enough to sign: so many more must stop.
    RemovedCanSign {
        /// How many more.
        more: usize,
        /// Who of them has not stopped.
        running: Vec<NodeIndex>,
    },
    /// An operator's time of stopping is in the future of this machine's clock: one of both clocks is wrong.
    ClockAhead(NodeIndex),
    /// It will be so at this time, in seconds of Unix time.
    NotBefore(u64),
    /// It cannot be told before the old cluster has stopped.
    NotYet,
}

/// The state of every condition that this edit has, in order. `now` is this machine's clock in seconds of Unix time.
///
/// Where old nodes keep their shares, old and new nodes sign with the same keys and may run side by side: then nothing has
/// to stop.
pub fn conditions(
    edit: &Edit,
    old: &Old<'_>,
    network: Option<Network>,
    receipts: &Confirmation,
    stopped: &Stopped,
    now: u64,
) -> Vec<(Condition, Standing)> {
    let all_have = if receipts.is_complete() {
        Standing::Met
    } else {
        Standing::ReceiptsMissing
    };
    let mut conditions = vec![(Condition::AllHaveTheNewKeys, all_have)];
    if edit.kind.keeps_shares() {
        return conditions;
    }
    let has_stopped = old_cluster(edit, old, stopped);
    let waited = if has_stopped == Standing::Met {
        waited(old, network, stopped, now)
    } else {
        Standing::NotYet
    };
    conditions.push((Condition::OldClusterStopped, has_stopped));
    conditions.push((Condition::TwoEpochsPassed, waited));
    conditions
}

fn old_cluster(edit: &Edit, old: &Old<'_>, stopped: &Stopped) -> Standing {
    let running = |node: &NodeIndex| stopped.since(*node).is_none();
    let (gone, staying): (Vec<NodeIndex>, Vec<NodeIndex>) = old
        .operators
        .nodes()
        .filter(running)
        .partition(|node| edit.removed.contains(node));
    if !staying.is_empty() {
        return Standing::NotStopped(staying);
    }
    if gone.len() < old.threshold {
        return Standing::Met;
    }
    Standing::RemovedCanSign {
        more: gone.len() + 1 - old.threshold,
        running: gone,
    }
}

fn waited(old: &Old<'_>, network: Option<Network>, stopped: &Stopped, now: u64) -> Standing {
    let times = old
        .operators
        .nodes()
        .filter_map(|node| Some((stopped.since(node)?, node)));
    let Some((last, node)) = times.max() else {
        return Standing::NotYet;
    };
    if last > now.saturating_add(CLOCK_MARGIN_SECONDS) {
        return Standing::ClockAhead(node);
    }
    let earliest = last.saturating_add(wait_seconds(network));
    if now < earliest {
        Standing::NotBefore(earliest)
    } else {
        Standing::Met
    }
}
