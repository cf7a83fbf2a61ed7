//! What is wrong with charon's flags and with what they point to.

use super::answer::{Diagnosis, Whose, said};
use super::chain::{Chain, shorten};

/// One cause per advice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Settings {
    KeymanagerUnreachable { address: Option<String> },
    KeymanagerFlags,
    KeymanagerRefused,
    RelayUrlInvalid,
    AddressInUse,
    AddressElsewhere,
    AddressInvalid,
    FlagsWrong,
    LockNotPublished,
}

pub(super) fn recognise(chain: Chain<'_>) -> Option<Settings> {
    // An edit ends with it, behind everything else (`dkg/protocolsteps.go`).
    Some(if chain.has(&["publish lock to API"]) {
        Settings::LockNotPublished
    } else if chain.has(&["verify keymanager address"]) {
        Settings::KeymanagerUnreachable {
            address: chain.field("addr"),
        }
    } else if chain.has(&["--keymanager-"]) {
        Settings::KeymanagerFlags
    } else if chain.has(&["keymanager", "failed posting keys"]) {
        Settings::KeymanagerRefused
    } else if chain.has(&[
        "parse relay url",
        "relay url scheme",
        "invalid relay ",
        "peer from multiaddr",
        "bootnode url", // v0.13.
    ]) {
        Settings::RelayUrlInvalid
    } else if chain.has(&["address already in use"]) {
        Settings::AddressInUse
    } else if chain.has(&["cannot assign requested address"]) {
        Settings::AddressElsewhere
    } else if chain.has(&[
        "bind addr",
        "IP not specified",
        "invalid IP address format", // v1.8 and later.
        "invalid ip address",        // up to v1.5.
        "invalid TCP ip address",    // v1.6 and v1.7.
        "invalid UDP ip address",    // v1.6 and v1.7.
        "invalid p2p external ip",   // v0.13.
        "p2p external host",         // v0.13 adds “flag”.
        "invalid hostname",          // v1.9 and later.
        "invalid dns ",
        "invalid multiaddr",
        "invalid tcp multiaddr",
        "invalid quic-v1 multiaddr",
    ]) {
        Settings::AddressInvalid
    } else if chain.has(&[
        "unknown flag",
        "unknown shorthand flag",
        "unknown command",
        "flag needs an argument",
        "invalid argument \"",
        "bad flag syntax",
        "read config",
        "accepts 0 arg",
        "--nickname exceeds",
        "--log-color value",
        "parse level",
        "invalid logger format",
        "open writer", // The file for the log, up to v0.18.
        "open file writer",
        "zap register sink",
        "parse allow list", // v0.13.
    ]) {
        Settings::FlagsWrong
    } else {
        return None;
    })
}

impl Settings {
    pub(super) fn explain(&self, words: &str) -> Diagnosis {
        let you = |id, cause: String, next_step: &str| said(id, Whose::You, cause, next_step);
        match self {
            Self::KeymanagerUnreachable { address } => you(
                "keymanager-unreachable",
                format!(
                    "the keymanager {} does not answer",
                    address.as_deref().unwrap_or("given")
                ),
                "Start the keymanager, or run without it and import the keystores afterwards.",
            ),
            Self::KeymanagerFlags => you(
                "keymanager-flags",
                "charon's two keymanager flags belong together".to_owned(),
                "Give both --keymanager-address and --keymanager-auth-token, or neither.",
            ),
            Self::KeymanagerRefused => you(
                "keymanager-refused",
                format!("the keymanager did not take the keys: {}", shorten(words)),
                "The ceremony has to be repeated by all operators, better without a keymanager: keystores can be \
                 imported afterwards.",
            ),
            Self::LockNotPublished => Diagnosis {
                outputs_may_be_complete: true,
                ..you(
                    "lock-not-published",
                    format!(
                        "charon wrote its files and could not publish the lock: {}",
                        shorten(words)
                    ),
                    "Do not repeat the ceremony: `charon-dkg verify` proves what was written; the launchpad alone lacks the new \
                     lock, until one operator sends it.",
                )
            },
            Self::RelayUrlInvalid => you(
                "relay-url-invalid",
                format!("a relay's address is not a URL: {}", shorten(words)),
                "Give the relay as https://… as the coordinator wrote it.",
            ),
            Self::AddressInUse => you(
                "address-in-use",
                format!(
                    "another program listens where charon should: {}",
                    shorten(words)
                ),
                "Choose another port, or leave the p2p address flags out: a ceremony over a relay needs none.",
            ),
            Self::AddressElsewhere => you(
                "p2p-address-elsewhere",
                format!(
                    "charon cannot listen on an address that its container does not have: {}",
                    shorten(words)
                ),
                "Give 0.0.0.0 and the port in --p2p-tcp-address and the address that others see in --p2p-external-ip, or \
                 leave the p2p address flags out: a ceremony over a relay needs none.",
            ),
            Self::AddressInvalid => you(
                "p2p-address-invalid",
                format!(
                    "charon cannot use an address of the p2p flags: {}",
                    shorten(words)
                ),
                "Give --p2p-tcp-address as IP:PORT, --p2p-external-ip as a bare IP and --p2p-external-hostname as a bare \
                 name, or leave them out: a ceremony over a relay needs none.",
            ),
            Self::FlagsWrong => you(
                "flags-wrong",
                format!("this charon does not take these flags: {}", shorten(words)),
                "Correct the flags after --; each release has its own.",
            ),
        }
    }
}
