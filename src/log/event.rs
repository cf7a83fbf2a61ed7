//! What a line of charon's output means. One place for every phrase of every release from v0.13 to v1.11.

use charon_files::cluster::NodeIndex;

use super::line::{Entry, Level, Line};

/// A round of the FROST key generation (`dkg/frost.go`), seen with `--log-level debug` only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Round {
    /// Commitments and shares are being sent.
    FirstSent,
    /// Those of all others have arrived.
    FirstReceived,
    /// Verification shares are being sent.
    SecondSent,
    /// Those of all others have arrived: the keys exist.
    SecondReceived,
}

/// Why this node has no place on a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayTrouble {
    /// The relay takes no connection.
    Unreachable,
    /// The relay has no place left, or none for this address.
    Refuses,
}

/// What a line of charon's output means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// charon began; the version is what it compares with its peers, by major and minor number.
    Starting {
        /// As printed: `v1.10.3`, or `v1.10` and `v1.3.0-rc` in builds of one's own.
        version: String,
    },
    /// `charon run` began, which is a node at work and no ceremony.
    NodeStarting,
    /// The cluster definition was read, not yet verified.
    DefinitionLoaded {
        /// `0x` and 64 hex digits, as the definition states it.
        definition_hash: String,
    },
    /// The local libp2p node is being set up.
    P2pUp {
        /// This node's own peer name; v0.13 and v0.14 only.
        local_peer: Option<String>,
    },
    /// One line of the roster, the "Peer summary" of v0.15 and later.
    Roster {
        /// charon's two-word name of the node.
        peer: String,
        /// Position in the definition's operators.
        index: NodeIndex,
        /// The operator's Ethereum address, if the definition has one.
        address: Option<String>,
        /// Whether it is this node.
        you: bool,
    },
    /// A relay told its addresses.
    RelayResolved {
        /// The relay's peer name.
        peer: String,
        /// Where it was asked.
        url: String,
    },
    /// A relay did not answer, or nonsense; charon tries again.
    RelayFailed {
        /// charon's words.
        reason: String,
    },
    /// This node has no place on a relay, so that nobody reaches it there; charon tries again.
    RelayTrouble {
        /// The relay's peer name.
        relay: String,
        /// What the relay does.
        trouble: RelayTrouble,
        /// charon's words.
        reason: String,
    },
    /// The node is ready and waits for all others.
    WaitingForPeers,
    /// A peer reached this node.
    PeerConnected {
        /// charon's two-word name of the node.
        peer: String,
        /// How many peers are connected now.
        count: u32,
        /// How many peers there are, without this node.
        total: u32,
        /// What its operator calls it (`--nickname`, v1.9 and later).
        nickname: Option<String>,
    },
    /// This node's connection to a peer broke; charon tries again.
    PeerDisconnected {
        /// charon's two-word name of the node.
        peer: String,
    },
    /// Every node sees every other, and key generation begins.
    AllConnected,
    /// A round of the FROST key generation.
    KeygenRound(Round),
    /// Keys are being exchanged one by one: Pedersen, and keycast up to v0.17.
    KeygenStep,
    /// One validator's key is done (Pedersen, v1.11).
    KeyDone {
        /// Which one, from 1.
        key: u32,
        /// Of how many.
        total: u32,
    },
    /// The node finished what comes before this step and waits for the others (v0.17 and later, debug level).
    /// 1 connected, 2 keys, 3 deposits signed, 4 registrations signed, 5 lock hash signed, 6 node signatures,
    /// 7 files written, 8 (v1.10 and later) ready to shut down.
    StepReached {
        /// The step.
        step: u32,
    },
    /// Signatures of one kind are complete (v0.14 to v1.3, debug level).
    Aggregated,
    /// The keystores were written, or handed to a keymanager (debug level).
    KeySharesSaved,
    /// `cluster-lock.json` was written (debug level).
    LockSaved,
    /// A deposit data file was written (debug level).
    DepositSaved,
    /// The ceremony is over, all files are written and all peers said good-bye.
    Success,
    /// charon was told to publish the lock, and could not. It goes on.
    NotPublished {
        /// charon's words.
        reason: String,
    },
    /// A warning that changes nothing by itself.
    Warning {
        /// charon's words.
        message: String,
    },
    /// An error that is not yet the end.
    Error {
        /// charon's words with the chain of errors.
        message: String,
        /// The peer it is about.
        peer: Option<String>,
    },
    /// The end: why charon gave up.
    Fatal {
        /// The chain of errors, outermost first, without charon's own prefix.
        chain: String,
        /// The error's fields.
        fields: Vec<(String, String)>,
    },
    /// The process did not end by its own decision: a Go panic, or a loader that could not start it.
    Crash {
        /// The line that says so.
        message: String,
    },
    /// Anything else.
    Other,
}

impl Event {
    /// The meaning of a clean line.
    pub fn from_line(line: &Line) -> Self {
        match line {
            Line::Entry(entry) => from_entry(entry),
            Line::Stack => Self::Other,
            Line::Text(text) => from_text(text),
        }
    }
}

/// How charon's warning begins that it could not send the lock to the launchpad.
const NOT_PUBLISHED: &str = "Couldn't publish lock file to Obol API";

/// The prefixes of the last error: v1.8 and later, v0.16 to v1.7 (`main.go`), and v0.13 to v0.15 with topic dkg.
const FATAL_PREFIXES: [&str; 2] = ["Application failed to start: ", "Fatal error: "];

/// `Reserve relay circuit: reservation error: status: <STATUS> reason: …` (go-libp2p `p2p/protocol/circuitv2`).
fn relay_trouble(entry: &Entry) -> Event {
    let says = |statuses: &[&str]| statuses.iter().any(|status| entry.message.contains(status));
    let trouble = if says(&["RESERVATION_REFUSED", "RESOURCE_LIMIT", "PERMISSION_DENIED"]) {
        RelayTrouble::Refuses
    } else if says(&["CONNECTION_FAILED"]) {
        RelayTrouble::Unreachable
    } else {
        return Event::Warning {
            message: entry.to_string(),
        };
    };
    Event::RelayTrouble {
        relay: entry.field("relay_peer").unwrap_or_default().to_owned(),
        trouble,
        reason: entry.message.clone(),
    }
}

/// How a warning ends that is due to charon's own end.
const WHEN_STOPPED: [&str; 3] = ["context canceled", "signal received", "swarm closed"];

fn from_entry(entry: &Entry) -> Event {
    let peer = || entry.field("peer").unwrap_or_default().to_owned();
    let message = entry.message.as_str();
    if entry.level == Level::Error {
        return from_error(entry);
    }
    match message {
        "Charon starting" => Event::NodeStarting,
        "Charon DKG starting" => Event::Starting {
            version: entry.field("version").unwrap_or_default().to_owned(),
        },
        "Cluster definition loaded from disk" | "Cluster definition downloaded from URL" => {
            Event::DefinitionLoaded {
                definition_hash: entry
                    .field("definition_hash")
                    .unwrap_or_default()
                    .to_owned(),
            }
        }
        "Starting local P2P networking peer" => Event::P2pUp {
            local_peer: entry.field("local_peer").map(str::to_owned),
        },
        "Peer summary" => entry
            .field("index")
            .and_then(|index| index.parse().ok())
            .map_or(Event::Other, |index| Event::Roster {
                peer: peer(),
                index: NodeIndex::new(index),
                address: entry.field("address").map(str::to_owned),
                you: entry.field("you").is_some(),
            }),
        // v0.13 resolved relays as bootnodes, by ENR.
        "Resolved new relay" | "Resolved new bootnode ENR" => Event::RelayResolved {
            peer: peer(),
            url: entry.field("url").unwrap_or_default().to_owned(),
        },
        "Waiting to connect to all peers..." => Event::WaitingForPeers,
        "Disconnected from peer" => Event::PeerDisconnected { peer: peer() },
        "All peers connected, starting DKG ceremony" => Event::AllConnected,
        "Sending round 1 messages" => Event::KeygenRound(Round::FirstSent),
        "Received round 1 results" => Event::KeygenRound(Round::FirstReceived),
        "Sending round 2 messages" => Event::KeygenRound(Round::SecondSent),
        "Received round 2 results" => Event::KeygenRound(Round::SecondReceived),
        "Starting pedersen DKG..."
        | "Pedersen DKG completed."
        | "Requesting shares from dealer..."
        | "Successfully received shares from dealer"
        | "Node selected as dealer, serving shares..."
        | "Serving shares to node"
        | "Successfully shared to all other nodes" => Event::KeygenStep,
        "DKG for key successful" => Event::KeyDone {
            key: number(entry, "key"),
            total: number(entry, "total"),
        },
        "Waiting for peers to start next step" => Event::StepReached {
            step: number(entry, "step"),
        },
        "Aggregated deposit data signatures"
        | "Aggregated builder validator registration signatures"
        | "Aggregated lock hash signatures"
        | "Exchanged node signatures" => Event::Aggregated,
        "Saved keyshares to disk" | "Imported keyshares to keymanager" => Event::KeySharesSaved,
        "Saved lock file to disk" => Event::LockSaved,
        "Saved deposit data file to disk" | "Saved deposit data file(s) to disk" => {
            Event::DepositSaved
        }
        _ if message.starts_with("Successfully completed DKG ceremony") => Event::Success,
        _ if message.starts_with("Connected to peer ") => connected(entry).unwrap_or(Event::Other),
        // The last ones, when charon stops, are about that.
        _ if entry.level == Level::Warn
            && WHEN_STOPPED.iter().any(|end| message.ends_with(end)) =>
        {
            Event::Other
        }
        _ if entry.level == Level::Warn && message.starts_with("Reserve relay circuit") => {
            relay_trouble(entry)
        }
        // `Failure querying relay addresses (will try again)` and its four kin in p2p/bootnode.go.
        _ if entry.level == Level::Warn && message.contains("(will try again)") => {
            let reason = entry.to_string();
            let innermost = reason.split_once("(will try again): ");
            Event::RelayFailed {
                reason: innermost.map_or(reason.clone(), |(_, inner)| inner.to_owned()),
            }
        }
        // charon `dkg/dkg.go`, since v0.14.
        _ if entry.level == Level::Warn && message.starts_with(NOT_PUBLISHED) => {
            Event::NotPublished {
                reason: message
                    .trim_start_matches(NOT_PUBLISHED)
                    .trim_start_matches(": ")
                    .to_owned(),
            }
        }
        // The library under Pedersen's DKG talks at level info up to v1.10.
        _ if entry.topic == "pedersen" => Event::KeygenStep,
        _ if entry.level == Level::Warn => Event::Warning {
            message: entry.to_string(),
        },
        _ => Event::Other,
    }
}

fn from_error(entry: &Entry) -> Event {
    let message = entry.message.as_str();
    for prefix in FATAL_PREFIXES {
        if let Some(chain) = message.strip_prefix(prefix) {
            return Event::Fatal {
                chain: chain.to_owned(),
                fields: entry.fields.clone(),
            };
        }
    }
    // At the end of all trying charon says so once more, without the reason.
    if message.starts_with("Failed to resolve relay") && !message.contains(": context ") {
        return Event::RelayFailed {
            reason: entry.to_string(),
        };
    }
    Event::Error {
        message: message.to_owned(),
        peer: entry.field("peer").map(str::to_owned),
    }
}

fn from_text(text: &str) -> Event {
    // Before v0.16 cobra printed the error itself; the same chain came before it as `Fatal error`, except for
    // errors in the flags, which have only this line.
    if let Some(chain) = text.strip_prefix("Error: ") {
        return Event::Fatal {
            chain: chain.to_owned(),
            fields: Vec::new(),
        };
    }
    let crashed = ["panic: ", "fatal error: ", "SIGSEGV", "SIGBUS", "SIGILL"]
        .iter()
        .any(|start| text.starts_with(start));
    if crashed || text.contains("exec format error") {
        return Event::Crash {
            message: text.to_owned(),
        };
    }
    Event::Other
}

/// `Connected to peer <count> of <total>`.
fn connected(entry: &Entry) -> Option<Event> {
    let rest = entry.message.strip_prefix("Connected to peer ")?;
    let (count, total) = rest.split_once(" of ")?;
    Some(Event::PeerConnected {
        peer: entry.field("peer").unwrap_or_default().to_owned(),
        count: count.parse().ok()?,
        total: total.parse().ok()?,
        nickname: entry.field("nickname").map(str::to_owned),
    })
}

fn number(entry: &Entry, name: &str) -> u32 {
    entry
        .field(name)
        .and_then(|value| value.parse().ok())
        .unwrap_or(0)
}
