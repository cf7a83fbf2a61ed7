//! The state of an edit that is held: proved anew each time, with the receipts and stopped lines that are known.

use jiff::SignedDuration;
use serde::Serialize;

use crate::ceremony::appointment::spoken;
use crate::context::Context;
use crate::edit::held;
use crate::error::{Failure, Kind};
use crate::machine;
use crate::machine::datadir::Layout;
use crate::proof::{checked, receipt};
use charon_files::cluster::names::ENR_KEY_FILE;
use charon_files::cluster::{ClusterLock, LockHash, Network, NodeIndex};
use charon_files::keys::k1::EnrKey;
use charon_files::wrong_file::Expected;
use charon_proof::cluster::Operators;
use charon_proof::confirm::{Confirmation, Own, confirm, time_text};
use charon_proof::edit::Edit;
use charon_proof::receipt::Receipt;
use charon_proof::stopped::StoppedLine;
use charon_proof::switch::{Condition, Old, Standing, Stopped, conditions};
use charon_proof::verify::{Expectations, Material, Modes, NamedFile, Outcome, Scope, Verified};

/// The cluster before the edit.
pub(crate) struct OldCluster {
    pub(crate) operators: Operators,
    pub(crate) lock_hash: LockHash,
    threshold: usize,
    network: Option<Network>,
}

impl OldCluster {
    /// Of a lock that was proved.
    pub(crate) fn of(lock: &ClusterLock) -> Option<Self> {
        let definition = &lock.definition;
        Some(Self {
            operators: Operators::of(definition, definition.definition_hash().ok()?)?,
            lock_hash: lock.lock_hash().ok()?,
            threshold: usize::try_from(definition.threshold).ok()?,
            network: Network::by_fork_version(definition.fork_version),
        })
    }

    pub(crate) fn as_old(&self) -> Old<'_> {
        Old {
            operators: &self.operators,
            lock_hash: self.lock_hash,
            threshold: self.threshold,
        }
    }
}

/// An edit that passed.
pub(crate) struct Proved {
    pub(crate) verified: Verified,
    pub(crate) key: EnrKey,
    pub(crate) edit: Edit,
    pub(crate) old: OldCluster,
    /// The cluster lock before the edit, as it was given.
    pub(crate) previous_lock: NamedFile,
    /// What it was proved from.
    pub(crate) material: Material,
}

impl Proved {
    /// Which operator of the old lock this is; `None` for a new one.
    pub(crate) fn old_node(&self) -> Option<NodeIndex> {
        self.old.operators.node_of(&self.key.public_key())
    }
}

/// Proves files of an edit with this node's key against the lock before it.
///
/// # Errors
/// [`Kind::VerificationFailed`] with every finding unless everything passed.
pub(crate) fn prove(
    context: &Context,
    layout: &Layout,
    mut material: Material,
    previous_lock: NamedFile,
    expectations: &Expectations,
    what: &str,
) -> Result<Proved, Failure> {
    let key_file = checked::read_enr_key(layout)?;
    let key = EnrKey::parse(&key_file.bytes).map_err(|error| {
        Failure::new(
            Kind::VerificationFailed,
            format!("{}: {error}", layout.enr_key_path().display()),
        )
    })?;
    let theirs = material.enr_key.replace(key_file);
    let same = theirs.is_none_or(|file| {
        EnrKey::parse(&file.bytes).is_ok_and(|other| other.public_key() == key.public_key())
    });
    if !same {
        return Err(Failure::new(
            Kind::Refused,
            format!(
                "{what} has another {ENR_KEY_FILE} than {}; nothing was changed",
                layout.data_dir().display()
            ),
        )
        .hint("every node takes what its own charon wrote"));
    }
    material.previous_lock = Some(previous_lock.clone());
    let Outcome {
        report,
        verified,
        edit,
        ..
    } = checked::verify_shown(
        context,
        &material,
        expectations,
        Scope::WholeDataDirectory,
        Modes::AsCharonLeavesThem,
    );
    let old = ClusterLock::parse(&previous_lock.bytes)
        .ok()
        .and_then(|parsed| OldCluster::of(&parsed.value));
    let (Some(verified), Some(edit), Some(old)) = (verified, edit, old) else {
        return Err(checked::not_proved(&report, what));
    };
    Ok(Proved {
        verified,
        key,
        edit,
        old,
        previous_lock,
        material,
    })
}

/// The edit that is held here, proved anew; `None` if none is.
///
/// # Errors
/// If it cannot be read, or does not pass any more.
pub(crate) fn held(context: &Context, layout: &Layout) -> Result<Option<Proved>, Failure> {
    let record =
        held::find(layout).map_err(|error| Failure::new(Kind::Unexpected, error.to_string()))?;
    if record.is_none() {
        return Ok(None);
    }
    let material = checked::read_directory(&held::new_files(layout))?;
    let previous = checked::read_single(&held::previous_lock(layout), Expected::ClusterLock)?;
    let expectations = Expectations::default();
    prove(
        context,
        layout,
        material,
        previous,
        &expectations,
        "what is held",
    )
    .map(Some)
}

/// The same where there must be one.
///
/// # Errors
/// [`Kind::Refused`] if none is held.
pub(crate) fn must_be_held(context: &Context, layout: &Layout) -> Result<Proved, Failure> {
    held(context, layout)?.ok_or_else(|| {
        Failure::new(
            Kind::Refused,
            "no edit of the cluster is held here; nothing was changed",
        )
        .hint("`charon-dkg edit hold DIR` takes what `charon alpha edit` wrote, usually into distributed_validator")
    })
}

/// Receipts and stopped lines, and what they amount to.
pub(crate) struct Stand {
    pub(crate) confirmation: Confirmation,
    pub(crate) stopped: Stopped,
    pub(crate) conditions: Vec<(Condition, Standing)>,
    pub(crate) receipt: Receipt,
    now: u64,
}

impl Stand {
    /// Weighs what is kept and what was given beside it.
    ///
    /// # Errors
    /// If what is kept cannot be read.
    pub(crate) fn of(
        context: &Context,
        layout: &Layout,
        proved: &Proved,
        receipts: &[Receipt],
        lines: &[StoppedLine],
    ) -> Result<Self, Failure> {
        let unexpected = |error: String| Failure::new(Kind::Unexpected, error);
        let cluster = proved.verified.cluster();
        let kept = receipt::kept(layout, cluster)?;
        let own = receipt::issue(context, layout, &proved.verified, &proved.key, &kept)?;
        let mut all = kept;
        all.push(own.clone());
        all.extend_from_slice(receipts);
        let confirmation = confirm(cluster, &all, Some(&Own::of(&proved.verified)));
        let mut stopped =
            held::stopped_lines(layout).map_err(|error| unexpected(error.to_string()))?;
        stopped.extend_from_slice(lines);
        let new = proved.verified.lock_hash();
        let stopped = Stopped::weigh(&proved.old.as_old(), new, &stopped);
        let now = machine::unix_time();
        let conditions = conditions(
            &proved.edit,
            &proved.old.as_old(),
            proved.old.network,
            &confirmation,
            &stopped,
            now,
        );
        Ok(Self {
            confirmation,
            stopped,
            conditions,
            receipt: own,
            now,
        })
    }

    /// Whether nothing is missing.
    pub(crate) fn may_switch(&self) -> bool {
        self.conditions
            .iter()
            .all(|(_, standing)| *standing == Standing::Met)
    }

    /// Keeps what counts. Expects the caller to hold the directory's guard.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn keep(&self, layout: &Layout) -> Result<(), Failure> {
        receipt::keep(layout, &self.confirmation)?;
        held::keep_stopped_lines(layout, self.stopped.evidence()).map_err(crate::failures::file)
    }

    /// Every condition with what is seen and what to do.
    pub(crate) fn lines(&self, proved: &Proved) -> Vec<ConditionLine> {
        self.conditions
            .iter()
            .map(|(condition, standing)| {
                let (seen, next) = self.words(proved, *condition, standing);
                ConditionLine {
                    condition: *condition,
                    met: *standing == Standing::Met,
                    seen,
                    next,
                }
            })
            .collect()
    }

    fn words(
        &self,
        proved: &Proved,
        condition: Condition,
        standing: &Standing,
    ) -> (String, Option<String>) {
        const COLLECT: &str = "`charon-dkg edit status -`, and paste the whole chat";
        let old = &proved.old.operators;
        let name = |node: &NodeIndex| node.of(old.count()).to_string();
        let names = |nodes: &[NodeIndex]| {
            let names: Vec<String> = nodes.iter().map(name).collect();
            names.join(", ")
        };
        match standing {
            Standing::Met => (self.met(proved, condition), None),
            Standing::ReceiptsMissing => (
                self.confirmation.summary(),
                Some(format!(
                    "ask them for the receipt that `docker charon-dkg edit status` prints; then {COLLECT}"
                )),
            ),
            Standing::NotStopped(nodes) => {
                let is_own = proved.old_node().is_some_and(|own| nodes.contains(&own));
                let next = if is_own {
                    "stop charon and the validator client here, then `charon-dkg edit stopped`"
                        .to_owned()
                } else {
                    format!(
                        "ask them for the line that `docker charon-dkg edit stopped` prints; then {COLLECT}"
                    )
                };
                (
                    format!("no line from {} of the old cluster", names(nodes)),
                    Some(next),
                )
            }
            Standing::RemovedCanSign { more, running } => (
                format!(
                    "those who were removed can still sign by themselves; {more} more of {} must stop",
                    names(running)
                ),
                Some(format!(
                    "ask them for the line that `docker charon-dkg edit retire` prints; then {COLLECT}"
                )),
            ),
            Standing::ClockAhead(node) => (
                format!(
                    "{} claims to have stopped at {}, and it is {} here: one of the two clocks is wrong",
                    name(node),
                    self.stopped
                        .since(*node)
                        .map_or_else(String::new, time_text),
                    time_text(self.now)
                ),
                Some(
                    "compare both clocks with `timedatectl`, and set the wrong one right"
                        .to_owned(),
                ),
            ),
            Standing::NotBefore(earliest) => (
                format!(
                    "not before {}, in {}",
                    time_text(*earliest),
                    left(earliest.saturating_sub(self.now))
                ),
                Some("`charon-dkg edit switch` then".to_owned()),
            ),
            Standing::NotYet => (
                "counts from when the old cluster has stopped".to_owned(),
                None,
            ),
        }
    }

    fn met(&self, proved: &Proved, condition: Condition) -> String {
        match condition {
            Condition::AllHaveTheNewKeys => self.confirmation.summary(),
            Condition::OldClusterStopped => {
                let old = &proved.old.operators;
                let stopped = self.stopped.evidence().len();
                format!("{stopped} of {} old operators have stopped", old.count())
            }
            Condition::TwoEpochsPassed => {
                let since = self.stopped.evidence().iter();
                let last = since.map(|line| line.statement().time).max();
                last.map_or_else(String::new, |last| {
                    format!("the last one stopped at {}", time_text(last))
                })
            }
        }
    }
}

fn left(seconds: u64) -> String {
    spoken(SignedDuration::from_secs(
        i64::try_from(seconds).unwrap_or(i64::MAX),
    ))
}

/// One condition, for people and programs.
#[derive(Debug, Serialize)]
pub(crate) struct ConditionLine {
    pub(crate) condition: Condition,
    pub(crate) met: bool,
    pub(crate) seen: String,
    pub(crate) next: Option<String>,
}
