//! The state of a ceremony, who is connected, and whether it hangs: events folded into a state.
//!
//! Times are the caller's own: the duration since any fixed moment that it chose, never going back.

use std::time::Duration;

use charon_files::cluster::NodeIndex;

use super::event::{Event, RelayTrouble, Round};

/// Most peers that are remembered: charon's own limit of operators (`cluster/ssz.go`).
pub(crate) const MAX_PEERS: usize = 256;

/// Most relays that are remembered.
const MAX_RELAYS: usize = 16;

/// How long a relay may stay silent before it is worth a word; charon itself gives up after a minute.
const RELAY_PATIENCE: Duration = Duration::from_secs(10);

/// How large a ceremony is, from its definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterSize {
    /// Number of operators, and so of nodes.
    pub operators: usize,
    /// Shares needed for a signature.
    pub threshold: usize,
    /// Number of validators.
    pub validators: usize,
}

impl ClusterSize {
    /// How long charon may say nothing after "starting DKG ceremony" before that is called a hang.
    ///
    /// Between that line and success charon prints nothing at level info, so the limit covers a whole ceremony:
    /// one minute, plus 100 ms for each validator × operator × threshold, since every node checks, for every
    /// validator, what every operator commits to, coefficient by coefficient, and that dominates.
    ///
    /// Measured, from that line to success, all nodes of a ceremony together on two cores:
    ///
    /// | operators × validators | v0.16.0 | v1.10.3 | limit |
    /// |---|---|---|---|
    /// | 4 × 2 | 1 s | 1 s | 62 s |
    /// | 4 × 50 | 19 s | 12 s | 120 s |
    /// | 4 × 200 | | 55 s | 300 s |
    /// | 10 × 20 | 44 s | 48 s | 200 s |
    /// | 10 × 100 | | 226 s | 760 s |
    ///
    /// A node with one such core to itself needs about 7 ms for each, so the limit leaves room for machines
    /// more than ten times slower.
    pub fn silence_limit(self) -> Duration {
        let steps = [self.operators, self.threshold, self.validators]
            .into_iter()
            .map(|count| u32::try_from(count).unwrap_or(u32::MAX))
            .fold(1_u32, u32::saturating_mul);
        let work = Duration::from_millis(100).saturating_mul(steps);
        Duration::from_secs(60).saturating_add(work)
    }
}

/// The phase of a ceremony, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// charon reads its files.
    Starting,
    /// No relay has answered yet.
    WaitingForRelay,
    /// Not all peers are connected yet.
    WaitingForPeers,
    /// Keys are being generated.
    Keygen,
    /// Deposits, registrations and the cluster lock are being signed; seen at debug level only.
    Signing,
    /// Files are being written; seen at debug level only.
    Saving,
    /// charon said that it succeeded.
    Done,
    /// charon said that it failed.
    Failed,
}

/// A peer's link to this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Never seen, since then.
    Missing {
        /// When this node began to wait.
        since: Duration,
    },
    /// Connected, since then.
    Connected {
        /// When it was first seen connected.
        since: Duration,
    },
    /// Was connected, and the connection broke; charon tries again by itself.
    Lost {
        /// When it broke.
        since: Duration,
    },
}

/// One node of the ceremony as charon names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// charon's two-word name of the node.
    pub name: String,
    /// Position in the definition's operators; unknown up to v0.14, which prints no roster.
    pub index: Option<NodeIndex>,
    /// The operator's Ethereum address, if charon printed it.
    pub address: Option<String>,
    /// What its operator calls it, if it said so.
    pub nickname: Option<String>,
    /// Whether it is this node.
    pub you: bool,
    /// Its link to this node; meaningless for this node itself.
    pub link: Link,
    /// How often the link broke.
    pub losses: u32,
}

/// Links break once or twice in a bad network. One that breaks more often has a reason: a node that is still in an
/// earlier attempt turns newcomers away, twenty times a second (seen with v1.10.3).
const RESTLESS_LOSSES: u32 = 5;

impl Peer {
    /// Whether this node has no working connection to it.
    pub fn is_absent(&self) -> bool {
        match self.link {
            Link::Missing { .. } | Link::Lost { .. } => !self.you,
            Link::Connected { .. } => false,
        }
    }

    /// Whether it comes and goes, so that being connected means little.
    pub fn is_restless(&self) -> bool {
        self.losses >= RESTLESS_LOSSES
    }
}

/// A relay that this node uses.
#[derive(Debug, Clone, Default)]
struct Relay {
    /// charon's two-word name of it.
    peer: String,
    /// Empty if it was given as a multiaddress.
    url: String,
    /// What charon said last; it does not say when that is over.
    trouble: Option<RelayTrouble>,
}

/// What a ceremony waits for that may need a human.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// No relay has answered for a while.
    Relay {
        /// How long.
        elapsed: Duration,
        /// charon's last words about it.
        reason: Option<String>,
    },
    /// Peers are not there yet. Not an error: they may come late.
    Peers {
        /// Those with no connection; empty where charon printed no roster.
        absent: Vec<Peer>,
        /// How many are not there.
        count: usize,
        /// How long this node has been waiting.
        elapsed: Duration,
    },
    /// All were connected, key generation began, and nothing came since, for longer than a ceremony of this size
    /// can take. charon waits for ever in some such cases.
    Hung {
        /// How long nothing came.
        silent: Duration,
        /// The longest silence that is still plausible.
        limit: Duration,
        /// Peers whose connection broke after key generation began.
        lost: Vec<Peer>,
    },
}

/// The state of a ceremony, as far as charon's output tells.
#[derive(Debug, Clone)]
pub struct Progress {
    size: ClusterSize,
    reached: Phase,
    failed: bool,
    version: Option<String>,
    definition_hash: Option<String>,
    local_peer: Option<String>,
    relays: Vec<Relay>,
    /// How often one answered with other addresses than before.
    relay_changes: u32,
    relay_reason: Option<String>,
    peers: Vec<Peer>,
    step: u32,
    keys_done: u32,
    waiting_since: Duration,
    last_progress: Duration,
    is_node: bool,
}

impl Progress {
    /// A ceremony of which nothing was seen yet.
    pub fn new(size: ClusterSize) -> Self {
        Self {
            size,
            reached: Phase::Starting,
            failed: false,
            version: None,
            definition_hash: None,
            local_peer: None,
            relays: Vec::new(),
            relay_changes: 0,
            relay_reason: None,
            peers: Vec::new(),
            step: 0,
            keys_done: 0,
            waiting_since: Duration::ZERO,
            last_progress: Duration::ZERO,
            is_node: false,
        }
    }

    /// Takes one event, seen at `now`.
    pub fn observe(&mut self, event: &Event, now: Duration) {
        match event {
            Event::Starting { version } => {
                self.version = Some(version.clone());
                self.is_node = false;
            }
            Event::NodeStarting => self.is_node = true,
            Event::DefinitionLoaded { definition_hash } => {
                self.definition_hash = Some(definition_hash.clone());
            }
            Event::P2pUp { local_peer } => {
                self.local_peer.clone_from(local_peer);
                self.advance(Phase::WaitingForRelay, now);
            }
            Event::Roster {
                peer,
                index,
                address,
                you,
            } => self.add_roster(peer, *index, address.as_deref(), *you, now),
            Event::RelayResolved { peer, url } => {
                self.relay_resolved(peer, url);
                self.last_progress = now;
            }
            Event::RelayFailed { reason } => self.relay_reason = Some(reason.clone()),
            Event::RelayTrouble { relay, trouble, .. } => {
                if let Some(known) = self.relay_of(|known| known.peer == *relay) {
                    relay.clone_into(&mut known.peer);
                    known.trouble = Some(*trouble);
                }
            }
            Event::WaitingForPeers => self.advance(Phase::WaitingForPeers, now),
            Event::PeerConnected {
                peer,
                count,
                total,
                nickname,
            } => self.connected(peer, (*count, *total), nickname.as_deref(), now),
            Event::PeerDisconnected { peer } => self.disconnected(peer, now),
            Event::AllConnected => {
                self.all_connected(now);
                self.advance(Phase::Keygen, now);
            }
            Event::KeygenRound(
                Round::FirstSent | Round::FirstReceived | Round::SecondSent | Round::SecondReceived,
            )
            | Event::KeygenStep => self.advance(Phase::Keygen, now),
            Event::KeyDone { key, total: _ } => {
                self.keys_done = self.keys_done.max(*key);
                self.advance(Phase::Keygen, now);
            }
            Event::StepReached { step } => {
                self.step = self.step.max(*step);
                self.last_progress = now;
                if *step >= 2 {
                    // Nobody gets past a step without all the others.
                    self.all_connected(now);
                    self.advance(Phase::Signing, now);
                }
            }
            Event::Aggregated => self.advance(Phase::Signing, now),
            Event::KeySharesSaved | Event::LockSaved | Event::DepositSaved => {
                self.advance(Phase::Saving, now);
            }
            Event::Success => {
                self.all_connected(now);
                self.advance(Phase::Done, now);
            }
            Event::Fatal { .. } | Event::Crash { .. } => self.failed = true,
            Event::NotPublished { .. }
            | Event::Warning { .. }
            | Event::Error { .. }
            | Event::Other => {}
        }
    }

    /// The state of the ceremony. Success remains, whatever comes after it.
    pub fn phase(&self) -> Phase {
        if self.failed && self.reached != Phase::Done {
            Phase::Failed
        } else {
            self.reached
        }
    }

    /// The furthest phase that was reached, never [`Phase::Failed`].
    pub fn reached(&self) -> Phase {
        self.reached
    }

    /// The size given at the start.
    pub fn size(&self) -> ClusterSize {
        self.size
    }

    /// charon's version as it printed it.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The definition hash as charon printed it.
    pub fn definition_hash(&self) -> Option<&str> {
        self.definition_hash.as_deref()
    }

    /// This node's own peer name.
    pub fn local_peer(&self) -> Option<&str> {
        let in_roster = self.peers.iter().find(|peer| peer.you);
        in_roster
            .map(|peer| peer.name.as_str())
            .or(self.local_peer.as_deref())
    }

    /// The relay that answered, by its URL.
    pub fn relay(&self) -> Option<&str> {
        let answered = self.relays.iter().rev().find(|relay| !relay.url.is_empty());
        answered.map(|relay| relay.url.as_str())
    }

    /// How often a relay answered with other addresses than before; two relays behind one URL do so every two minutes.
    pub fn relay_changes(&self) -> u32 {
        self.relay_changes
    }

    /// What is wrong with the relays, if none of them works for this node.
    pub fn relay_trouble(&self) -> Option<RelayTrouble> {
        let mut troubles = self.relays.iter().map(|relay| relay.trouble);
        let first = troubles.next()??;
        troubles.all(|trouble| trouble.is_some()).then_some(first)
    }

    /// All nodes that charon named, this one included, in the definition's order if it printed a roster.
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// A node by charon's name for it.
    pub fn peer(&self, name: &str) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.name == name)
    }

    /// A node by its position in the definition.
    pub fn peer_at(&self, index: NodeIndex) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.index == Some(index))
    }

    /// How many other nodes are connected now, of how many.
    pub fn connected_peers(&self) -> (usize, usize) {
        let total = self.size.operators.saturating_sub(1);
        let named = self.peers.iter().filter(|peer| !peer.you);
        let connected = named.filter(|peer| !peer.is_absent()).count();
        (connected.min(total), total)
    }

    /// How many keys are done, where the key generation tells (Pedersen, v1.11).
    pub fn keys_done(&self) -> u32 {
        self.keys_done
    }

    /// The last step this node reached, as in [`Event::StepReached`]; 0 if charon did not say.
    pub fn step(&self) -> u32 {
        self.step
    }

    /// As [`super::transcript::Transcript::keystores_grew`].
    pub(crate) fn keystores_grew(&mut self, now: Duration) {
        self.last_progress = now;
    }

    /// Whether a node at work comes last, and no ceremony.
    pub(crate) fn is_node(&self) -> bool {
        self.is_node
    }

    /// How long nothing has happened that brings the ceremony forward.
    pub fn silent_for(&self, now: Duration) -> Duration {
        now.saturating_sub(self.last_progress)
    }

    /// What the ceremony waits for, if that is worth telling.
    pub fn waiting(&self, now: Duration) -> Option<Waiting> {
        match self.phase() {
            Phase::Starting | Phase::Done | Phase::Failed => None,
            Phase::WaitingForRelay => self.waiting_for_relay(now),
            Phase::WaitingForPeers => Some(self.waiting_for_peers(now)),
            Phase::Keygen | Phase::Signing | Phase::Saving => self.hung(now),
        }
    }

    fn waiting_for_relay(&self, now: Duration) -> Option<Waiting> {
        let elapsed = self.silent_for(now);
        (self.relay().is_none() && elapsed >= RELAY_PATIENCE).then(|| Waiting::Relay {
            elapsed,
            reason: self.relay_reason.clone(),
        })
    }

    fn waiting_for_peers(&self, now: Duration) -> Waiting {
        let (connected, total) = self.connected_peers();
        let absent = self.peers.iter().filter(|peer| peer.is_absent());
        let absent = absent.cloned().collect();
        Waiting::Peers {
            absent,
            count: total.saturating_sub(connected),
            elapsed: now.saturating_sub(self.waiting_since),
        }
    }

    /// Whether nothing came for longer than it may, given that key generation has begun.
    pub(crate) fn hung(&self, now: Duration) -> Option<Waiting> {
        let silent = self.silent_for(now);
        let limit = self.size.silence_limit();
        let lost = self.peers.iter().filter(|peer| peer.is_absent());
        (silent >= limit).then(|| Waiting::Hung {
            silent,
            limit,
            lost: lost.cloned().collect(),
        })
    }

    /// Whether no relay has answered although the node asked.
    pub(crate) fn relay_is_silent(&self) -> bool {
        self.relay().is_none() && self.relay_reason.is_some()
    }

    /// charon's last words about a relay that did not answer.
    pub(crate) fn relay_reason(&self) -> Option<&str> {
        self.relay_reason.as_deref()
    }

    /// charon tells a relay once, and again when its addresses change.
    fn relay_resolved(&mut self, peer: &str, url: &str) {
        if self.relays.iter().any(|known| known.url == url) {
            self.relay_changes = self.relay_changes.saturating_add(1);
        }
        if let Some(relay) = self.relay_of(|known| known.url == url || known.peer == peer) {
            peer.clone_into(&mut relay.peer);
            url.clone_into(&mut relay.url);
        }
    }

    /// The relay that is meant, which may be new; `None` if there are too many.
    fn relay_of(&mut self, is_meant: impl Fn(&Relay) -> bool) -> Option<&mut Relay> {
        match self.relays.iter().position(is_meant) {
            Some(at) => self.relays.get_mut(at),
            None if self.relays.len() < MAX_RELAYS => {
                self.relays.push(Relay::default());
                self.relays.last_mut()
            }
            None => None,
        }
    }

    /// Takes back what somebody's arrival disproves.
    fn relays_work(&mut self, is_over: impl Fn(RelayTrouble) -> bool) {
        for relay in &mut self.relays {
            relay.trouble = relay.trouble.filter(|trouble| !is_over(*trouble));
        }
    }

    fn advance(&mut self, phase: Phase, now: Duration) {
        self.last_progress = now;
        if phase > self.reached {
            if phase == Phase::WaitingForPeers {
                self.waiting_since = now;
                for peer in &mut self.peers {
                    if let Link::Missing { since } = &mut peer.link {
                        *since = now;
                    }
                }
            }
            self.reached = phase;
        }
    }

    fn add_roster(
        &mut self,
        name: &str,
        index: NodeIndex,
        address: Option<&str>,
        you: bool,
        now: Duration,
    ) {
        self.last_progress = now;
        // Two nodes may have the same name, but not the same place.
        if self.peer_at(index).is_some() || self.peers.len() >= MAX_PEERS {
            return;
        }
        self.peers.push(Peer {
            name: name.to_owned(),
            index: Some(index),
            address: address.map(str::to_owned),
            nickname: None,
            you,
            link: Link::Missing { since: now },
            losses: 0,
        });
    }

    fn connected(
        &mut self,
        name: &str,
        counted: (u32, u32),
        nickname: Option<&str>,
        now: Duration,
    ) {
        self.last_progress = now;
        self.relays_work(|trouble| trouble == RelayTrouble::Unreachable);
        let link = Link::Connected { since: now };
        let others = || self.peers.iter().enumerate().filter(|(_, peer)| !peer.you);
        let mut named = others().filter(|(_, peer)| peer.name == name);
        let absent = named.clone().find(|(_, peer)| peer.is_absent());
        let found = absent.or_else(|| named.next()).map(|(at, _)| at);
        if let Some(peer) = found.and_then(|at| self.peers.get_mut(at)) {
            if !peer.is_absent() {
                // charon tells each new connection and not every lost one.
                peer.losses = peer.losses.saturating_add(1);
            }
            peer.link = link;
            peer.nickname = nickname.map(str::to_owned);
        } else if self.peers.len() < MAX_PEERS && self.roster_is_missing() {
            self.peers.push(Peer {
                name: name.to_owned(),
                index: None,
                address: None,
                nickname: nickname.map(str::to_owned),
                you: false,
                link,
                losses: 0,
            });
        }
        if counted.0 == counted.1 {
            self.all_connected(now);
        }
    }

    fn disconnected(&mut self, name: &str, now: Duration) {
        for peer in &mut self.peers {
            if peer.name == name && matches!(peer.link, Link::Connected { .. }) {
                peer.link = Link::Lost { since: now };
                peer.losses = peer.losses.saturating_add(1);
            }
        }
    }

    fn all_connected(&mut self, now: Duration) {
        self.relays_work(|_| true);
        for peer in &mut self.peers {
            if peer.is_absent() {
                peer.link = Link::Connected { since: now };
            }
        }
    }

    /// Up to v0.14 there is no roster, and peers are known only once they connect.
    fn roster_is_missing(&self) -> bool {
        self.peers.iter().all(|peer| peer.index.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: ClusterSize = ClusterSize {
        operators: 3,
        threshold: 2,
        validators: 1,
    };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn roster(name: &str, index: usize, you: bool) -> Event {
        Event::Roster {
            peer: name.to_owned(),
            index: NodeIndex::new(index),
            address: None,
            you,
        }
    }

    fn connected(name: &str, count: u32) -> Event {
        Event::PeerConnected {
            peer: name.to_owned(),
            count,
            total: 2,
            nickname: None,
        }
    }

    #[test]
    fn a_peer_that_comes_and_goes_is_restless() {
        let mut progress = waiting_for_peers();
        for time in 3..8 {
            assert!(!progress.peer("b").is_some_and(Peer::is_restless));
            progress.observe(&connected("b", 1), at(time));
            let peer = "b".to_owned();
            progress.observe(&Event::PeerDisconnected { peer }, at(time));
        }
        assert!(progress.peer("b").is_some_and(Peer::is_restless));
        assert!(!progress.peer("c").is_some_and(Peer::is_restless));
    }

    fn waiting_for_peers() -> Progress {
        let mut progress = Progress::new(SIZE);
        for (event, now) in [
            (Event::P2pUp { local_peer: None }, 1),
            (roster("a", 0, true), 1),
            (roster("b", 1, false), 1),
            (roster("c", 2, false), 1),
            (Event::WaitingForPeers, 2),
        ] {
            progress.observe(&event, at(now));
        }
        progress
    }

    fn names(peers: &[Peer]) -> Vec<&str> {
        peers.iter().map(|peer| peer.name.as_str()).collect()
    }

    #[test]
    fn who_is_missing_is_told_with_the_time_and_is_no_error() {
        let mut progress = waiting_for_peers();
        progress.observe(&connected("c", 1), at(5));
        let Some(Waiting::Peers {
            absent,
            count,
            elapsed,
        }) = progress.waiting(at(3600))
        else {
            panic!("nobody is missing");
        };
        assert_eq!(names(&absent), ["b"]);
        assert_eq!(absent[0].link, Link::Missing { since: at(2) });
        assert_eq!((count, elapsed), (1, at(3598)));
        assert_eq!(progress.connected_peers(), (1, 2));
        assert_eq!(progress.local_peer(), Some("a"));
    }

    #[test]
    fn a_peer_that_leaves_before_the_start_is_missing_again() {
        let mut progress = waiting_for_peers();
        progress.observe(&connected("b", 1), at(3));
        progress.observe(
            &Event::PeerDisconnected {
                peer: "b".to_owned(),
            },
            at(4),
        );
        assert_eq!(progress.connected_peers(), (0, 2));
        let lost = progress.peer("b").map(|peer| peer.link);
        assert_eq!(lost, Some(Link::Lost { since: at(4) }));
        progress.observe(&connected("b", 2), at(5));
        assert_eq!(progress.connected_peers(), (2, 2));
    }

    #[test]
    fn without_a_roster_there_are_counts() {
        let mut progress = Progress::new(SIZE);
        progress.observe(
            &Event::P2pUp {
                local_peer: Some("me".to_owned()),
            },
            at(1),
        );
        progress.observe(&Event::WaitingForPeers, at(2));
        progress.observe(&connected("c", 1), at(3));
        let waiting = progress.waiting(at(10));
        assert_eq!(
            waiting,
            Some(Waiting::Peers {
                absent: Vec::new(),
                count: 1,
                elapsed: at(8)
            })
        );
        assert_eq!(progress.local_peer(), Some("me"));
    }

    #[test]
    fn two_nodes_of_the_same_name_are_two_nodes() {
        let mut progress = Progress::new(SIZE);
        progress.observe(&roster("a", 0, true), at(1));
        progress.observe(&roster("b", 1, false), at(1));
        progress.observe(&roster("b", 2, false), at(1));
        progress.observe(&Event::WaitingForPeers, at(1));
        assert_eq!(progress.peers().len(), 3);
        progress.observe(&connected("b", 1), at(2));
        assert_eq!(progress.connected_peers(), (1, 2));
        progress.observe(&connected("b", 2), at(3));
        assert_eq!(progress.connected_peers(), (2, 2));
    }

    #[test]
    fn a_silent_relay_is_told_after_a_while() {
        let mut progress = Progress::new(SIZE);
        progress.observe(&Event::P2pUp { local_peer: None }, at(1));
        progress.observe(
            &Event::RelayFailed {
                reason: "refused".to_owned(),
            },
            at(2),
        );
        assert_eq!(progress.waiting(at(10)), None);
        assert_eq!(
            progress.waiting(at(11)),
            Some(Waiting::Relay {
                elapsed: at(10),
                reason: Some("refused".to_owned())
            })
        );
    }

    #[test]
    fn silence_after_the_start_is_a_hang_only_beyond_what_the_size_allows() {
        let mut progress = waiting_for_peers();
        progress.observe(&connected("b", 1), at(3));
        progress.observe(&connected("c", 2), at(3));
        progress.observe(&Event::AllConnected, at(4));
        let limit = SIZE.silence_limit();
        assert_eq!(limit, Duration::from_millis(60_600));
        assert_eq!(progress.waiting(at(4) + limit - at(1)), None);
        progress.observe(
            &Event::PeerDisconnected {
                peer: "c".to_owned(),
            },
            at(30),
        );
        let Some(Waiting::Hung { lost, silent, .. }) = progress.waiting(at(4) + limit) else {
            panic!("not called a hang");
        };
        assert_eq!(names(&lost), ["c"]);
        assert_eq!(silent, limit);
        progress.keystores_grew(at(40));
        assert_eq!(progress.waiting(at(4) + limit), None);
        progress.observe(&Event::Success, at(70));
        assert_eq!(progress.waiting(at(10_000)), None);
        assert_eq!(progress.phase(), Phase::Done);
    }

    #[test]
    fn the_limit_grows_with_the_cluster_and_never_overflows() {
        let limit = |operators, threshold, validators| {
            ClusterSize {
                operators,
                threshold,
                validators,
            }
            .silence_limit()
        };
        assert_eq!(limit(4, 3, 50), at(120));
        assert_eq!(limit(10, 7, 100), at(760));
        assert!(limit(usize::MAX, usize::MAX, usize::MAX) > at(1_000_000));
    }

    #[test]
    fn success_stands_whatever_comes_after_it() {
        let mut progress = waiting_for_peers();
        progress.observe(&Event::Success, at(5));
        progress.observe(
            &Event::Fatal {
                chain: "late".to_owned(),
                fields: Vec::new(),
            },
            at(6),
        );
        assert_eq!(progress.phase(), Phase::Done);
    }
}
