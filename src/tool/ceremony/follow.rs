//! charon's output as progress for people: who is connected, who is missing and for how long, the
//! phase, and the keys written so far.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::ceremony::explain;
use crate::context::Context;
use crate::machine::terminal::Block;
use charon_files::cluster::definition::Definition;
use charon_files::cluster::index::NodeIndex;
use charon_files::cluster::version::CharonVersion;
use charon_files::finding::Finding;
use charon_log::{ClusterSize, Diagnosis, End, Event, Link, Peer, Phase, Transcript, Waiting, Who};

/// How often a wait is told again while nothing changes.
const REMIND_EVERY: Duration = Duration::from_secs(30);

/// How many different reasons of silent relays are told; each is chosen by a stranger.
const MOST_REASONS: usize = 50;

/// One ceremony being watched.
pub(crate) struct Watch<'a> {
    context: &'a Context,
    definition: &'a Definition,
    transcript: Transcript,
    now: Duration,
    phase: Phase,
    reminded: Duration,
    keystores: usize,
    /// What was said of relays; charon says it again every few seconds.
    relays_told: BTreeSet<String>,
    /// Peers of which was said last that they are connected.
    here: BTreeSet<String>,
    /// Peers of which was said that they come and go.
    restless_told: BTreeSet<String>,
    /// Why charon could not publish the lock, in its words.
    not_published: Option<String>,
    /// Whether charon was asked to stop; then its complaints are no news.
    stopping: bool,
    /// Where all this is shown in one place instead of line by line.
    block: Option<Block>,
}

/// More operators than these are counted, and only those who are missing are named.
const MOST_ROWS: usize = 12;

impl<'a> Watch<'a> {
    /// A ceremony of which nothing was seen yet.
    pub(crate) fn new(
        context: &'a Context,
        definition: &'a Definition,
        size: ClusterSize,
        pinned: Option<&CharonVersion>,
    ) -> Self {
        Self {
            context,
            definition,
            transcript: Transcript::new(size, pinned),
            now: Duration::ZERO,
            phase: Phase::Starting,
            reminded: Duration::ZERO,
            keystores: 0,
            relays_told: BTreeSet::new(),
            here: BTreeSet::new(),
            restless_told: BTreeSet::new(),
            not_published: None,
            stopping: false,
            block: context.block(),
        }
    }

    /// Takes the next bytes of charon's output.
    pub(crate) fn push(&mut self, chunk: &[u8], now: Duration) {
        self.now = now;
        for event in self.transcript.push(chunk, now) {
            self.tell(&event);
        }
        self.tell_phase();
        self.draw();
    }

    /// Takes the end of charon's output.
    pub(crate) fn finish(&mut self, now: Duration) {
        self.now = now;
        for event in self.transcript.finish(now) {
            self.tell(&event);
        }
        self.tell_phase();
        self.draw();
    }

    /// Tells what is waited for, and what was written, when that is worth telling.
    pub(crate) fn tick(&mut self, now: Duration, stage: &Path) {
        self.now = now;
        let keystores = count_keystores(stage);
        if keystores != self.keystores {
            self.keystores = keystores;
            self.transcript.keystores_grew(now);
            let all = self.definition.num_validators;
            self.say_in_lines(&format!("keystores written: {keystores} of {all}"));
        }
        self.draw();
        if now.saturating_sub(self.reminded) < REMIND_EVERY {
            return;
        }
        if let Some(waiting) = self.transcript.progress().waiting(now) {
            self.reminded = now;
            let text = self.waiting_text(&waiting);
            match waiting {
                // This needs everybody, so it is not left to somebody's glance at a corner.
                Waiting::Hung { .. } => self.context.say(&text),
                Waiting::Relay { .. } | Waiting::Peers { .. } => self.say_in_lines(&text),
            }
        }
    }

    /// Says what the block shows anyway.
    fn say_in_lines(&self, text: &str) {
        if self.block.is_none() {
            self.context.say(text);
        }
    }

    /// Shows who is here, who is missing and since when, the phase, and the keystores so far.
    fn draw(&self) {
        let Some(block) = &self.block else {
            return;
        };
        let progress = self.transcript.progress();
        let phase = match progress.phase() {
            Phase::Starting => "charon is starting",
            Phase::WaitingForRelay => "asking the relay for the other operators",
            Phase::WaitingForPeers => "waiting for the other operators",
            Phase::Keygen => "all operators are connected; generating keys",
            Phase::Signing => "signing deposits and the cluster lock",
            Phase::Saving => "writing files",
            Phase::Done => "charon has finished",
            Phase::Failed => "charon has failed",
        };
        let mut lines = vec![format!("phase       {phase}")];
        if let Some(relay) = progress.relay() {
            lines.push(format!("relay       {relay}"));
        }
        let peers = progress.peers();
        let all = self.definition.operators.len();
        if peers.is_empty() {
            let (connected, total) = progress.connected_peers();
            lines.push(format!(
                "operators   {connected} of {total} others are here"
            ));
        }
        let is_named = |peer: &&Peer| peers.len() <= MOST_ROWS || peer.is_absent();
        if peers.len() > MOST_ROWS {
            let absent = peers.iter().filter(|peer| peer.is_absent()).count();
            let here = peers.len() - absent;
            lines.push(format!("operators   {here} of {all} are here"));
        }
        for (row, peer) in peers.iter().filter(is_named).take(MOST_ROWS).enumerate() {
            let label = if row == 0 && peers.len() <= MOST_ROWS {
                "operators"
            } else {
                ""
            };
            let is_here = match peer.link {
                _ if peer.you => "this node".to_owned(),
                Link::Connected { .. } if peer.is_restless() => "comes and goes".to_owned(),
                Link::Connected { .. } => "here".to_owned(),
                Link::Missing { since } => {
                    format!("missing for {}", spoken(self.now.saturating_sub(since)))
                }
                Link::Lost { since } => {
                    format!("lost {} ago", spoken(self.now.saturating_sub(since)))
                }
            };
            let who = match peer.index {
                Some(index) => format!("{} of {all}", index.position() + 1),
                None => peer.name.clone(),
            };
            lines.push(format!("{label:<11} {who:<9} {is_here:<20} {}", peer.name));
        }
        lines.push(format!(
            "keystores   {} of {}",
            self.keystores, self.definition.num_validators
        ));
        let lines: Vec<String> = lines
            .iter()
            .map(|line| crate::report::clean(line))
            .collect();
        block.show(&lines);
    }

    /// Why charon failed; `None` if it succeeded.
    pub(crate) fn diagnose(&self, end: End) -> Option<Diagnosis> {
        self.transcript.diagnose(end, self.now)
    }

    /// Why charon could not publish the lock as it was told to, in its words.
    pub(crate) fn not_published(&self) -> Option<String> {
        self.not_published.clone()
    }

    /// The finding of a diagnosis. The cause is told as the failure itself; charon's own words only where they add something.
    pub(crate) fn finding(&self, diagnosis: &Diagnosis) -> Finding {
        let evidence = diagnosis.evidence.clone();
        let seen = evidence.filter(|evidence| !diagnosis.cause.contains(evidence.as_str()));
        explain::finding(diagnosis, "you", seen.unwrap_or_default(), |who| {
            self.who(who)
        })
    }

    /// From now on charon is being stopped.
    pub(crate) fn stopping(&mut self) {
        self.stopping = true;
    }

    fn tell(&mut self, event: &Event) {
        let progress = self.transcript.progress();
        match event {
            Event::PeerConnected { peer, .. } | Event::PeerDisconnected { peer }
                if progress.peer(peer).is_some_and(Peer::is_restless) =>
            {
                if self.restless_told.insert(peer.clone()) {
                    self.context.say(&format!(
                        "{} connects and leaves again and again, as a node does that is still in an earlier attempt. \
                         If this goes on, agree with all operators to stop (Ctrl-C) and to run again together.",
                        self.peer_by_name(peer)
                    ));
                }
            }
            Event::PeerConnected { peer, .. } => {
                self.here.insert(peer.clone());
                let (connected, total) = progress.connected_peers();
                self.say_in_lines(&format!(
                    "connected: {} ({connected} of {total})",
                    self.peer_by_name(peer)
                ));
            }
            // charon tells the end of every connection, also of those that it never counted.
            Event::PeerDisconnected { peer } => {
                if self.here.remove(peer) {
                    self.say_in_lines(&format!(
                        "lost: {}; charon tries again",
                        self.peer_by_name(peer)
                    ));
                }
            }
            Event::RelayResolved { url, .. } => {
                self.say_in_lines(&format!("relay {url} answers"));
            }
            Event::RelayFailed { reason } => self.tell_relay("does not answer", reason),
            Event::RelayTrouble { reason, .. } => {
                self.tell_relay("does not serve this node", reason);
            }
            Event::KeyDone { key, total } => {
                self.say_in_lines(&format!("keys generated: {key} of {total}"));
            }
            Event::Error { message, peer } if !self.stopping => {
                let about = peer.as_deref().map_or_else(String::new, |peer| {
                    format!(" ({})", self.peer_by_name(peer))
                });
                self.context.say(&format!("charon: {message}{about}"));
            }
            Event::NotPublished { reason } => self.not_published = Some(reason.clone()),
            Event::Error { .. }
            | Event::Starting { .. }
            | Event::NodeStarting
            | Event::DefinitionLoaded { .. }
            | Event::P2pUp { .. }
            | Event::Roster { .. }
            | Event::WaitingForPeers
            | Event::AllConnected
            | Event::KeygenRound(_)
            | Event::KeygenStep
            | Event::StepReached { .. }
            | Event::Aggregated
            | Event::KeySharesSaved
            | Event::LockSaved
            | Event::DepositSaved
            | Event::Success
            | Event::Warning { .. }
            | Event::Fatal { .. }
            | Event::Crash { .. }
            | Event::Other => {}
        }
    }

    fn tell_relay(&mut self, what: &str, reason: &str) {
        let is_news = self.relays_told.len() < MOST_REASONS
            && !self.stopping
            && self.relays_told.insert(reason.to_owned());
        if is_news {
            self.context.say(&format!("a relay {what}: {reason}"));
        }
    }

    fn tell_phase(&mut self) {
        let phase = self.transcript.progress().phase();
        if phase == self.phase {
            return;
        }
        self.phase = phase;
        self.reminded = self.now;
        let text = match phase {
            Phase::Starting | Phase::Failed => return,
            Phase::WaitingForRelay => "asking the relay for the other operators".to_owned(),
            Phase::WaitingForPeers => match self.transcript.progress().waiting(self.now) {
                Some(waiting) => self.waiting_text(&waiting),
                None => "waiting for the other operators".to_owned(),
            },
            Phase::Keygen => "all operators are connected; generating keys".to_owned(),
            Phase::Signing => "signing deposits and the cluster lock".to_owned(),
            Phase::Saving => "writing files".to_owned(),
            Phase::Done => "charon has finished".to_owned(),
        };
        self.say_in_lines(&text);
    }

    fn waiting_text(&self, waiting: &Waiting) -> String {
        match waiting {
            Waiting::Relay { elapsed, reason } => format!(
                "no relay has answered for {}{}",
                spoken(*elapsed),
                reason
                    .as_deref()
                    .map_or_else(String::new, |reason| format!(": {reason}"))
            ),
            Waiting::Peers {
                absent,
                count,
                elapsed,
            } => {
                let restless = self.transcript.progress().peers().iter();
                let restless = restless.filter(|peer| peer.is_restless() && !peer.is_absent());
                // Here now, gone in a moment.
                let absent: Vec<&Peer> = absent.iter().chain(restless).collect();
                let count = (*count).max(absent.len());
                let names: Vec<String> = absent.iter().map(|peer| self.peer(peer)).collect();
                let names = if names.is_empty() {
                    String::new()
                } else {
                    format!(": {}", names.join(", "))
                };
                let since = if elapsed.as_secs() == 0 {
                    String::new()
                } else {
                    format!(" for {}", spoken(*elapsed))
                };
                format!(
                    "waiting{since} for {}{names}",
                    crate::report::count(u64::try_from(count).unwrap_or(u64::MAX), "operator"),
                )
            }
            Waiting::Hung {
                silent,
                limit,
                lost,
            } => {
                let lost: Vec<String> = lost.iter().map(|peer| self.peer(peer)).collect();
                let lost = if lost.is_empty() {
                    String::new()
                } else {
                    format!(" The connection to {} broke.", lost.join(", "))
                };
                format!(
                    "HUNG: all operators were connected and key generation began, but nothing has happened for {} \
                     (at most {} is plausible for this cluster).{lost} Agree with all operators to stop (Ctrl-C), \
                     to compare `charon-dkg status`, and to run again at the same time.",
                    spoken(*silent),
                    spoken(*limit)
                )
            }
        }
    }

    fn peer_by_name(&self, name: &str) -> String {
        match self.transcript.progress().peer(name) {
            Some(peer) => self.peer(peer),
            None => name.to_owned(),
        }
    }

    fn peer(&self, peer: &Peer) -> String {
        self.who(&Who {
            name: Some(peer.name.clone()),
            index: peer.index,
            address: peer.address.clone(),
        })
    }

    fn who(&self, who: &Who) -> String {
        let address = who.index.and_then(|index| self.address(index));
        explain::name(who, address, self.definition.operators.len())
    }

    fn address(&self, index: NodeIndex) -> Option<String> {
        let address = &self.definition.operator(index)?.address;
        (!address.is_empty()).then(|| address.clone())
    }
}

/// `45s`, `3m20s`.
fn spoken(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{seconds}s")
    } else {
        format!("{}m{:02}s", seconds / 60, seconds % 60)
    }
}

fn count_keystores(stage: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(stage.join("validator_keys")) else {
        return 0;
    };
    entries
        .flatten()
        .filter(|entry| {
            Path::new(&entry.file_name())
                .extension()
                .is_some_and(|e| e == "json")
                // charon makes a file before it has anything to write in it.
                && entry.metadata().is_ok_and(|meta| meta.len() > 0)
        })
        .count()
}
