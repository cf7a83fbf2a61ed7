//! What a run of charon said about the cause of its failure.

use charon_files::cluster::CharonVersion;

use super::super::event::Event;
use super::cause::Cause;
use super::chain::Chain;
use super::network::{Network, clashing_versions};

/// Most peers that are remembered as being of another opinion: charon's own limit of operators.
const MAX_NAMED: usize = 256;

/// What was said about the cause so far.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(super) pinned: Option<CharonVersion>,
    /// The most specific cause, and charon's words for it.
    pub(super) best: Option<(Cause, String)>,
    /// The release of this node.
    pub(super) ours: Option<String>,
    /// Peers that run another release, and which.
    pub(super) versions: Vec<(String, String)>,
    /// Peers whose definition is another.
    pub(super) definitions: Vec<String>,
    /// The furthest step that a last error names; see [`Event::StepReached`].
    pub(super) step: u32,
}

impl Evidence {
    pub(crate) fn new(pinned: Option<&CharonVersion>) -> Self {
        Self {
            pinned: pinned.cloned(),
            best: None,
            ours: None,
            versions: Vec::new(),
            definitions: Vec::new(),
            step: 0,
        }
    }

    /// Whether charon said why it failed, and not only that it was told to stop.
    pub(crate) fn names_cause(&self) -> bool {
        let best = self.best.as_ref();
        best.is_some_and(|(cause, _)| *cause != Cause::Network(Network::Stopped))
    }

    pub(crate) fn observe(&mut self, event: &Event) {
        match event {
            Event::Fatal { chain, fields } => {
                let chain = Chain {
                    words: chain,
                    fields,
                };
                let step = chain.field("step").and_then(|step| step.parse().ok());
                self.step = self.step.max(step.unwrap_or(0));
                let cause = self.read(chain);
                self.keep(cause, chain.words);
            }
            Event::Error { message, peer } => {
                let peer = peer.iter().map(|peer| ("peer".to_owned(), peer.clone()));
                let fields: Vec<_> = peer.collect();
                let chain = Chain {
                    words: message,
                    fields: &fields,
                };
                let cause = self.read(chain);
                if cause.explains_from_afar() {
                    self.keep(cause, chain.words);
                }
            }
            Event::Crash { message } => self.keep(Cause::Crash, message),
            Event::Starting { .. }
            | Event::NodeStarting
            | Event::DefinitionLoaded { .. }
            | Event::P2pUp { .. }
            | Event::Roster { .. }
            | Event::RelayResolved { .. }
            | Event::RelayFailed { .. }
            | Event::RelayTrouble { .. }
            | Event::WaitingForPeers
            | Event::PeerConnected { .. }
            | Event::PeerDisconnected { .. }
            | Event::AllConnected
            | Event::KeygenRound(_)
            | Event::KeygenStep
            | Event::KeyDone { .. }
            | Event::StepReached { .. }
            | Event::Aggregated
            | Event::KeySharesSaved
            | Event::LockSaved
            | Event::DepositSaved
            | Event::Success
            | Event::NotPublished { .. }
            | Event::Warning { .. }
            | Event::Other => {}
        }
    }

    fn keep(&mut self, cause: Cause, words: &str) {
        let best = self.best.as_ref();
        if cause.specificity() > best.map_or(0, |(cause, _)| cause.specificity()) {
            self.best = Some((cause, words.to_owned()));
        }
    }

    /// The cause that a chain states; takes note of who is of another opinion.
    fn read(&mut self, chain: Chain<'_>) -> Cause {
        let cause = Cause::recognise(chain);
        let peer = chain.field("peer");
        if let Some((ours, theirs)) = clashing_versions(chain.words) {
            self.ours = ours.or(self.ours.take());
            let peer = peer.unwrap_or_default();
            let known = self.versions.iter().any(|(name, _)| *name == peer);
            if !known && self.versions.len() < MAX_NAMED {
                self.versions.push((peer, theirs));
            }
        } else if cause == Cause::Network(Network::DefinitionsDiffer)
            && let Some(peer) = peer
            && !self.definitions.contains(&peer)
            && self.definitions.len() < MAX_NAMED
        {
            self.definitions.push(peer);
        }
        cause
    }
}
