//! A cause in the words of the ceremony in which it was seen, and the causes that only its end tells.

use std::time::Duration;

use charon_files::cluster::{CharonVersion, NodeIndex};

use super::super::event::RelayTrouble;
use super::super::progress::{Link, Peer, Phase, Progress, Waiting};
use super::answer::{Diagnosis, End, Who, Whose, said};
use super::cause::Cause;
use super::chain::shorten;
use super::evidence::Evidence;
use super::network::Network;

const RETRY_TOGETHER: &str =
    "All operators stop charon and start the ceremony again together, each with a clean directory.";

/// The step that a node reaches when all its files are written, in every release that has steps (`dkg/dkg.go`, v0.17
/// to v1.11: "disk key write was step 6, advance to step 7").
const STEP_FILES_WRITTEN: u32 = 7;

/// All that a diagnosis may look at.
pub(super) struct Case<'a> {
    pub(super) evidence: &'a Evidence,
    pub(super) progress: &'a Progress,
    pub(super) end: End,
    pub(super) now: Duration,
}

impl Case<'_> {
    pub(super) fn explain(&self, cause: &Cause, words: &str) -> Diagnosis {
        match cause {
            Cause::Local(local) => local.explain(),
            Cause::Terms(terms) => terms.explain(words),
            Cause::Settings(settings) => settings.explain(words),
            Cause::Network(network) => self.explain_network(network, words),
            // Reported in 2023: a definition in which two operators have one ENR.
            Cause::Crash
                if words.contains("index out of range")
                    && self.progress.reached() >= Phase::Keygen =>
            {
                said(
                    "charon-crashed-at-start",
                    Whose::Coordinator,
                    format!(
                        "charon crashed when all operators were connected: {}",
                        shorten(words)
                    ),
                    "Check the definition: this is how charon fails when two operators have the same ENR. If all ENRs \
                     differ, report it.",
                )
            }
            Cause::Crash => said(
                "charon-crashed",
                Whose::Machine,
                format!("charon crashed: {}", shorten(words)),
                "Check that the image fits this machine's processor and run again. If it happens twice, report it.",
            ),
            Cause::Unknown => unknown(format!("charon failed: {}", shorten(words))),
        }
    }

    fn explain_network(&self, network: &Network, words: &str) -> Diagnosis {
        match network {
            Network::VersionsDiffer => self.versions_differ(),
            Network::DefinitionsDiffer => self.definitions_differ(),
            Network::NodeRestarted { peer } => said(
                "node-restarted",
                Whose::Everybody,
                format!(
                    "a node was restarted in the middle of the ceremony, noticed at {}",
                    self.name(peer.as_deref())
                ),
                RETRY_TOGETHER,
            ),
            Network::PartialSignatureInvalid { index } => self.partial_signature_invalid(*index),
            Network::MessageInvalid { peer } => said(
                "peer-message-invalid",
                self.operators(peer.as_slice()),
                format!(
                    "{} sent something that does not fit this ceremony",
                    self.name(peer.as_deref())
                ),
                format!(
                    "Compare releases and definition hashes with that operator. {RETRY_TOGETHER}"
                ),
            ),
            Network::LockInvalid => said(
                "cluster-lock-invalid",
                Whose::Everybody,
                "charon's own check of the finished cluster lock failed",
                format!("Keep this attempt as evidence. {RETRY_TOGETHER}"),
            ),
            Network::RelayUnreachable => self.relay_unreachable(),
            Network::RelayLost => self.relay_lost(),
            Network::LateFailure => self.late_failure(),
            Network::PeersTooSlow => said(
                "peers-too-slow",
                Whose::Everybody,
                "other nodes did not answer in time",
                format!(
                    "Ask whether a node stopped or is very slow; charon's flag --timeout makes it wait longer. \
                     {RETRY_TOGETHER}"
                ),
            ),
            Network::PeerLost { .. } if self.files_were_written() => self.late_failure(),
            Network::PeerLost { .. } if self.progress.relay_trouble().is_some() => {
                self.relay_lost()
            }
            // The relay's word for a node that holds no place there (circuit relay v2).
            Network::PeerLost { peer } if words.contains("NO_RESERVATION") => said(
                "peer-lost",
                Whose::Everybody,
                format!(
                    "{} is no longer at the relay: its charon ended, or lost the relay",
                    self.name(peer.as_deref())
                ),
                format!(
                    "Ask which node ended first; its log says why. If none did, the relay was restarted. {RETRY_TOGETHER}"
                ),
            ),
            Network::PeerLost { peer } => {
                let only = match peer {
                    Some(_) => "; the one named here is only where this node noticed",
                    None => "",
                };
                said(
                    "peer-lost",
                    Whose::Everybody,
                    format!(
                        "the connection to {} broke during the ceremony",
                        self.name(peer.as_deref())
                    ),
                    format!(
                        "Ask which node stopped or lost its network first{only}. {RETRY_TOGETHER}"
                    ),
                )
            }
            Network::Stopped => self.stopped(),
        }
    }

    fn versions_differ(&self) -> Diagnosis {
        let evidence = self.evidence;
        let ours = evidence.ours.as_deref().or(self.progress.version());
        let ours = ours.unwrap_or("another release");
        let theirs: Vec<String> = evidence
            .versions
            .iter()
            .map(|(peer, version)| match version.as_str() {
                // Releases before v0.15 send none.
                "" => format!("{} runs an older release", self.name(Some(peer))),
                version => format!("{} runs {version}", self.name(Some(peer))),
            })
            .collect();
        let dissenters: Vec<String> = evidence.versions.iter().map(|(p, _)| p.clone()).collect();
        let whose = match &evidence.pinned {
            Some(pinned) if is_of_line(ours, pinned) => self.operators(&dissenters),
            Some(_) => Whose::You,
            None => self.blame(&dissenters),
        };
        let wanted = evidence.pinned.as_ref().map_or_else(
            || "the release that belongs to the definition".to_owned(),
            |pinned| format!("charon {pinned}, the release that belongs to the definition,"),
        );
        said(
            "charon-versions-differ",
            whose,
            format!("this node runs charon {ours}, but {}", theirs.join(" and ")),
            format!(
                "All operators run {wanted} or another patch of the same line. {RETRY_TOGETHER}"
            ),
        )
    }

    fn definitions_differ(&self) -> Diagnosis {
        let dissenters = &self.evidence.definitions;
        let names: Vec<String> = dissenters.iter().map(|p| self.name(Some(p))).collect();
        let names = match names.as_slice() {
            [] => "another node has".to_owned(),
            [name] => format!("{name} has"),
            several => format!("{} have", several.join(" and ")),
        };
        let ours = self.progress.definition_hash().unwrap_or("not printed");
        said(
            "definitions-differ",
            self.blame(dissenters),
            format!("{names} another definition than this node, whose definition hash is {ours}"),
            "Compare the definition hashes with all operators. Operators whose hash differs get the coordinator's \
             definition again.",
        )
    }

    fn partial_signature_invalid(&self, index: Option<NodeIndex>) -> Diagnosis {
        let peer = index.and_then(|index| self.progress.peer_at(index));
        let who = Who {
            name: peer.map(|peer| peer.name.clone()),
            index,
            address: peer.and_then(|peer| peer.address.clone()),
        };
        let (name, whose) = match index {
            Some(_) => (self.describe(&who), Whose::Operators(vec![who])),
            None => ("a node".to_owned(), Whose::Unknown),
        };
        said(
            "partial-signature-invalid",
            whose,
            format!("{name} sent a signature that does not belong to its share"),
            format!(
                "Keep this attempt as evidence, and find out what that node runs before trying again. \
                 {RETRY_TOGETHER}"
            ),
        )
    }

    fn relay_unreachable(&self) -> Diagnosis {
        let reason = self.progress.relay_reason().map(shorten);
        said(
            "relay-unreachable",
            Whose::Relay,
            format!(
                "no relay answered: {}",
                reason.as_deref().unwrap_or("charon gave no reason")
            ),
            "Check the relay's URL and whether this machine reaches it, also from inside a container. All operators \
             must use the same relays.",
        )
    }

    fn relay_at_fault(&self) -> Option<Diagnosis> {
        match self.progress.relay_trouble() {
            Some(RelayTrouble::Unreachable) => Some(self.relay_lost()),
            Some(RelayTrouble::Refuses) => Some(self.relay_refuses()),
            None => self.relay_changes().filter(|_| !self.end.stopped),
        }
    }

    fn relay_lost(&self) -> Diagnosis {
        said(
            "relay-lost",
            Whose::Relay,
            format!(
                "this node cannot connect to the relay{}, through which it reaches the other operators",
                self.relay()
            ),
            format!(
                "Ask the others whether they see the same. If so, the relay has failed; if not, check this machine's \
                 network. {RETRY_TOGETHER}"
            ),
        )
    }

    fn relay_refuses(&self) -> Diagnosis {
        said(
            "relay-refuses",
            Whose::Relay,
            format!(
                "the relay{} refuses this node a place, so that other operators cannot reach it",
                self.relay()
            ),
            "A relay has a limited number of places for each address, for about half an hour each. Wait that long and run \
             again, or agree with all operators on another relay.",
        )
    }

    /// Its URL, with a blank before it.
    fn relay(&self) -> String {
        self.progress
            .relay()
            .map_or_else(String::new, |url| format!(" {url}"))
    }

    /// A relay whose addresses change all the time, as two behind one name do, breaks every connection each time.
    fn relay_changes(&self) -> Option<Diagnosis> {
        let times = self.progress.relay_changes();
        (times >= 2).then(|| {
            said(
                "relay-changes",
                Whose::Relay,
                format!(
                    "the relay{} changed its addresses {times} times, and connections break each time",
                    self.relay()
                ),
                format!("Agree with all operators on another relay, with one fixed address. {RETRY_TOGETHER}"),
            )
        })
    }

    fn late_failure(&self) -> Diagnosis {
        Diagnosis {
            outputs_may_be_complete: true,
            ..said(
                "late-failure",
                Whose::Everybody,
                "this node wrote all its files, but another node failed or left before the end",
                "Ask which node failed. The files written here are only of use if every node has all of its files; \
                 otherwise all operators repeat the ceremony.",
            )
        }
    }

    pub(super) fn out_of_memory(&self) -> Diagnosis {
        said(
            "out-of-memory",
            Whose::Machine,
            "the machine ran out of memory and killed charon",
            format!("Free memory or lift the container's limit. {RETRY_TOGETHER}"),
        )
    }

    /// It was asked to stop.
    fn stopped(&self) -> Diagnosis {
        self.cut_short(if self.end.stopped {
            "charon was stopped"
        } else {
            "charon was stopped from outside"
        })
    }

    /// It ended before it was done: what was it waiting for?
    fn cut_short(&self, how: &str) -> Diagnosis {
        if self.files_were_written() {
            return self.late_failure();
        }
        if let Some(relay) = self.relay_at_fault() {
            return relay;
        }
        match self.progress.reached() {
            Phase::WaitingForRelay if self.progress.relay_is_silent() => self.relay_unreachable(),
            Phase::WaitingForPeers => self.peers_missing(how),
            Phase::Keygen | Phase::Signing | Phase::Saving => self.hung().unwrap_or_else(|| {
                if !self.has_ended() && !self.says_that_it_was_stopped() {
                    return self.log_ends();
                }
                let hint = self.hint();
                // A release that may be hanging for another's sake is stopped by somebody who waits in vain, and a log
                // alone does not tell for whose.
                let whose = if hint.is_empty() && self.has_ended() {
                    Whose::You
                } else {
                    Whose::Everybody
                };
                said(
                    "interrupted",
                    whose,
                    format!("{how} in the middle of the ceremony"),
                    format!("Tell the other operators.{hint} {RETRY_TOGETHER}"),
                )
            }),
            Phase::Starting | Phase::WaitingForRelay | Phase::Done | Phase::Failed => said(
                "interrupted",
                Whose::You,
                format!("{how} before the ceremony began"),
                "Run again; nothing was lost.",
            ),
        }
    }

    /// Whether anything says that the process has ended.
    fn has_ended(&self) -> bool {
        self.end.stopped || self.end.oom_killed || self.end.exit_code.is_some()
    }

    fn says_that_it_was_stopped(&self) -> bool {
        let best = self.evidence.best.as_ref();
        best.is_some_and(|(cause, _)| *cause == Cause::Network(Network::Stopped))
    }

    /// A node that waits for another one says nothing, and no more does one whose log was cut off.
    fn log_ends(&self) -> Diagnosis {
        said(
            "interrupted",
            Whose::Unknown,
            "the log ends in the middle of the ceremony, and does not say why",
            format!(
                "Look at the logs of the other operators, one of which may say more, and see whether charon still runs \
                 here.{} {RETRY_TOGETHER}",
                self.hint()
            ),
        )
    }

    fn peers_missing(&self, how: &str) -> Diagnosis {
        let restless: Vec<Who> = self
            .progress
            .peers()
            .iter()
            .filter(|peer| peer.is_restless())
            .map(who)
            .collect();
        if !restless.is_empty() {
            let names: Vec<String> = restless.iter().map(|who| self.describe(who)).collect();
            return said(
                "peers-restless",
                Whose::Everybody,
                format!(
                    "{how} while connections came and went ({}), as they do with nodes that are still in an earlier \
                     attempt",
                    names.join(", ")
                ),
                RETRY_TOGETHER,
            );
        }
        let (connected, total) = self.progress.connected_peers();
        let absent: Vec<Who> = self.absent().map(who).collect();
        let names: Vec<String> = absent.iter().map(|who| self.describe(who)).collect();
        let missing = total.saturating_sub(connected);
        let (whose, names) = if names.is_empty() {
            (Whose::Everybody, String::new())
        } else {
            (Whose::Operators(absent), format!(": {}", names.join(", ")))
        };
        said(
            "peers-missing",
            whose,
            format!("{how} while it waited for {missing} of {total} other nodes{names}"),
            "Agree on a time, on the relays and on the release with all operators, then run again; a long wait is not an \
             error.",
        )
    }

    fn hung(&self) -> Option<Diagnosis> {
        match self.progress.hung(self.now)? {
            Waiting::Relay { .. } | Waiting::Peers { .. } => None,
            Waiting::Hung { silent, lost, .. } => {
                let silent = silent.as_secs();
                let names: Vec<String> =
                    lost.iter().map(|peer| self.describe(&who(peer))).collect();
                let lost_words = if names.is_empty() {
                    String::new()
                } else {
                    format!("; connections lost since: {}", names.join(", "))
                };
                let hint = self.hint();
                let whose = if lost.is_empty() {
                    Whose::Everybody
                } else {
                    Whose::Operators(lost.iter().map(who).collect())
                };
                Some(said(
                    "hung-after-start",
                    whose,
                    format!(
                        "all nodes were connected and the ceremony began, but nothing happened for {silent} seconds\
                         {lost_words}"
                    ),
                    format!(
                        "Ask whether charon ended on one of the nodes; its log says why.{hint} {RETRY_TOGETHER}"
                    ),
                ))
            }
        }
    }

    /// The process ended without a word about it.
    pub(super) fn silent_end(&self) -> Diagnosis {
        match self.end.exit_code {
            _ if self.progress.phase() == Phase::Done => self.late_failure(),
            _ if self.end.stopped => self.stopped(),
            // Shells and engines say 128 + signal: 2 is SIGINT, 15 SIGTERM, 9 SIGKILL.
            Some(130 | 143) => self.stopped(),
            Some(137) => said(
                "killed",
                Whose::Machine,
                "charon was killed (exit code 137)",
                format!(
                    "Someone killed the container, or the machine ran out of memory: its kernel log says which. \
                     {RETRY_TOGETHER}"
                ),
            ),
            Some(code @ 125..=127) if self.progress.reached() == Phase::Starting => said(
                "container-not-started",
                Whose::Machine,
                format!("the container could not be started (exit code {code})"),
                "See what the engine says about it; the data directory's owner and the way to it are the usual reasons.",
            ),
            Some(code) => unknown(format!(
                "charon ended with exit code {code} and did not say why"
            )),
            None if self.progress.is_node() => self.node_log(),
            // It may be running still, or the log is not whole.
            None => self.cut_short("the log ends"),
        }
    }

    /// Of a node at work, which may well be running still.
    fn node_log(&self) -> Diagnosis {
        if self.progress.relay_is_silent() {
            return self.relay_unreachable();
        }
        said(
            "node-log",
            Whose::Unknown,
            "this is the log of a running node and not of a ceremony, and nothing in it says why the node would have ended",
            "Look at the last warnings in it. Of a ceremony, give the output of `charon dkg` or `charon alpha edit`.",
        )
    }

    pub(super) fn files_were_written(&self) -> bool {
        self.progress.step().max(self.evidence.step) >= STEP_FILES_WRITTEN
    }

    /// v0.13 and v0.14 run with any other release, until they hang.
    fn hint(&self) -> &'static str {
        let version = self.progress.version().unwrap_or_default();
        let lines = [
            CharonVersion::release(0, 13, 0),
            CharonVersion::release(0, 14, 0),
        ];
        if lines.iter().any(|line| is_of_line(version, line)) {
            " Releases up to v0.14 do not notice that a node runs another one, and hang: compare them first."
        } else {
            ""
        }
    }

    /// Who is of another opinion than the rest: the dissenters, if somebody agrees with this node; this node, if
    /// several dissent and nobody agrees; otherwise it cannot be told.
    fn blame(&self, dissenters: &[String]) -> Whose {
        let agrees = |peer: &Peer| {
            let was_connected = match peer.link {
                Link::Connected { .. } | Link::Lost { .. } => true,
                Link::Missing { .. } => false,
            };
            !peer.you && was_connected && !dissenters.contains(&peer.name)
        };
        let somebody_agrees = self.progress.peers().iter().any(agrees);
        match dissenters.len() {
            1.. if somebody_agrees => self.operators(dissenters),
            2.. => Whose::You,
            _ => Whose::Everybody,
        }
    }

    fn operators(&self, names: &[String]) -> Whose {
        if names.is_empty() {
            return Whose::Everybody;
        }
        let named = names.iter().map(|name| {
            self.progress.peer(name).map_or_else(
                || Who {
                    name: Some(name.clone()),
                    index: None,
                    address: None,
                },
                who,
            )
        });
        Whose::Operators(named.collect())
    }

    fn absent(&self) -> impl Iterator<Item = &Peer> {
        let peers = self.progress.peers().iter();
        peers.filter(|peer| peer.is_absent())
    }

    /// A node by charon's name, as people know it.
    fn name(&self, name: Option<&str>) -> String {
        match name {
            None | Some("") => "another node".to_owned(),
            Some(name) => self.progress.peer(name).map_or_else(
                || format!("the node {name}"),
                |peer| self.describe(&who(peer)),
            ),
        }
    }

    /// `operator 2 of 4 (joyous-song)`.
    fn describe(&self, who: &Who) -> String {
        let operators = self.progress.size().operators;
        match (who.index, &who.name) {
            (Some(index), Some(name)) => format!("{} ({name})", index.of(operators)),
            (Some(index), None) => index.of(operators).to_string(),
            (None, Some(name)) => format!("the node {name}"),
            (None, None) => "another node".to_owned(),
        }
    }
}

fn unknown(cause: String) -> Diagnosis {
    said(
        "unknown",
        Whose::Unknown,
        cause,
        "Show charon's log to the coordinator before anyone tries again.",
    )
}

fn who(peer: &Peer) -> Who {
    Who {
        name: Some(peer.name.clone()),
        index: peer.index,
        address: peer.address.clone(),
    }
}

/// Whether a release, as printed, runs with another.
fn is_of_line(printed: &str, line: &CharonVersion) -> bool {
    let printed = printed.parse::<CharonVersion>();
    printed.is_ok_and(|printed| printed.same_line(line))
}
