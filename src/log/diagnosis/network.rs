//! What can go wrong between the nodes.

use charon_files::cluster::NodeIndex;

use super::chain::Chain;

/// One cause per advice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Network {
    /// Peers run another release; who, is kept beside.
    VersionsDiffer,
    /// Peers have another definition; who, is kept beside.
    DefinitionsDiffer,
    /// A node was restarted in the middle.
    NodeRestarted { peer: Option<String> },
    /// A peer's partial signature does not verify.
    PartialSignatureInvalid { index: Option<NodeIndex> },
    /// A peer sent something else that does not fit.
    MessageInvalid { peer: Option<String> },
    /// The finished lock does not verify.
    LockInvalid,
    /// The relay did not answer for a minute.
    RelayUnreachable,
    /// The relay answered, and then no more.
    RelayLost,
    /// The good-bye failed; all files had been written.
    LateFailure,
    /// charon's own patience ran out.
    PeersTooSlow,
    /// A connection broke.
    PeerLost { peer: Option<String> },
    /// The process was asked to stop.
    Stopped,
}

/// The version of this node, if it is told, and of its peer, from `mismatching charon version; expect=v1.10, got=v1.3`;
/// none of the peer (`parse peer version`) is one from before v0.15.
///
/// The server writes what *it* expects and what it got from its client (`dkg/sync/server.go`, validReq). If the line
/// tells what a peer answered to us, the peer is the server and we are the client.
pub(super) fn clashing_versions(words: &str) -> Option<(Option<String>, String)> {
    if words.contains("parse peer version") {
        return Some((None, String::new()));
    }
    let (before, after) = words.split_once("mismatching charon version; expect=")?;
    let (server, rest) = after.split_once(", got=")?;
    let client = rest.split([' ', ':', ',']).next()?;
    let (server, client) = (server.to_owned(), client.to_owned());
    if before.contains("peer responded with error") {
        Some((Some(client), server))
    } else {
        Some((Some(server), client))
    }
}

/// What a peer of another ceremony, or of another release, may send.
const MESSAGE_INVALID: [&str; 28] = [
    "invalid round ",
    "invalid node sig",
    "invalid pubshare",
    "invalid amount of commitments",
    "invalid number of signatures",
    "invalid message id",
    "invalid peer index",
    "too many round ",
    "round 1 cast",
    "round 1 p2p",
    "round 2 cast",
    "round 1 shamir",
    "exec round ",
    "frost check message",
    "sender peer ID does not match",
    "partial signature from unknown peer",
    "duplicate ID, mismatching hash",
    "unknown message id",
    "request malformed",
    "bundle request invalid",
    "public key share length from node",
    "decode commitment",
    "decode c1 scalar", // up to v1.8.
    "decode ci scalar", // v1.9 and later.
    "decode wi scalar",
    "decode verification key",
    "verify signatures",
    "pedersen DKG protocol failed",
];

pub(super) fn recognise(chain: Chain<'_>) -> Option<Network> {
    let peer = || chain.field("peer");
    Some(if clashing_versions(chain.words).is_some() {
        Network::VersionsDiffer
    } else if chain.has(&[
        "invalid definition hash signature",
        "error verifying definition hash signature",
        "mismatching cluster definition hash", // v0.13 and v0.14.
    ]) {
        Network::DefinitionsDiffer
    } else if chain.has(&[
        "node restarted mid-ceremony",
        "peer reported step is behind",
        "peer reported step is ahead",
        "peer reported abnormal initial step",
        "peer step is too far ahead",
    ]) {
        Network::NodeRestarted { peer: peer() }
    } else if chain.has(&[
        "partial signature from peer",
        "partial signature share index",
    ]) {
        // charon counts its peerIdx from 0 (share index − 1).
        let index = chain.field("peerIdx").and_then(|index| index.parse().ok());
        Network::PartialSignatureInvalid {
            index: index.map(NodeIndex::new),
        }
    } else if chain.has(&[
        "timeout resolving bootnode ENR",
        "timeout querying bootnode ENR", // v0.13.
        "timeout querying relay",
    ])
        // charon calls it a timeout too when it is stopped meanwhile.
        && !chain.words.ends_with("context canceled")
    {
        Network::RelayUnreachable
    } else if chain.has(&[
        "invalid lock file",
        "verify multisignature",
        "reconstruct distributed public key",
        "aggregated signature",
    ]) {
        Network::LockInvalid
    } else if chain.has(&MESSAGE_INVALID) {
        Network::MessageInvalid { peer: peer() }
    } else if chain.has(&["sync shutdown"]) {
        Network::LateFailure
    } else if chain.has(&["error opening hop stream to relay"]) {
        Network::RelayLost
    } else if chain.has(&[
        // charon asks all peers at once, and lets go of the rest when it loses one of them.
        "send sig request: context canceled",
        "send message: context canceled",
    ]) {
        Network::PeerLost { peer: peer() }
    } else if chain.has(&["context canceled", "context done"]) {
        Network::Stopped
    } else if chain.has(&["timed out waiting for", "context deadline exceeded"]) {
        Network::PeersTooSlow
    } else if chain.has(&[
        "p2p connection failed",
        "sync failed with peer",
        "sync client",
        "sync step",
        "Sync failed to peer",
        "Failed to sync with peer",
        "stream reset",
        "transport round",
        "failed to dial",
        "send sig request",
        "lock hash signature broadcast",
        "k1 lock hash signature",
        "new stream",
        "tcpNode stream", // up to v1.5.
        "p2pNode stream", // v1.6 and later.
        "send message",
        "write request",
        "read response",
        "peer errored",
        "no or zero response received",
        "sigdata channel has been closed",
    ]) {
        Network::PeerLost { peer: peer() }
    } else {
        return None;
    })
}
