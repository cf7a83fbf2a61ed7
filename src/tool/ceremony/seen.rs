//! What was seen around the data directory before a ceremony, and what can be seen of it on every system.

use crate::ceremony::pins;
use crate::ceremony::plan::{
    EngineFact, ImageFact, MountFact, NetworkFact, OtherUser, RelayAnswer, RelayFact, Request,
};
use crate::machine::datadir::Layout;
use crate::machine::heartbeat::{self, Sign};
use crate::machine::relays;
use crate::report::quoted;
use charon_files::cluster::names::HEARTBEAT_FILE;
use charon_files::cluster::version::CharonVersion;

/// The engine and what only it could tell, and who else is working with the key or the directory.
pub(crate) struct Seen {
    pub(crate) fact: EngineFact,
    pub(crate) image: ImageFact,
    pub(crate) inside: Inside,
    pub(crate) others: Vec<OtherUser>,
}

impl Seen {
    pub(crate) fn nothing_but(fact: EngineFact) -> Self {
        Self {
            fact,
            image: ImageFact::Unknown,
            inside: Inside::nothing(),
            others: Vec::new(),
        }
    }
}

/// What was seen from inside a container like that of the ceremony.
pub(crate) struct Inside {
    pub(crate) relays: Vec<RelayFact>,
    pub(crate) network: NetworkFact,
    pub(crate) mounts: MountFact,
}

impl Inside {
    pub(crate) fn nothing() -> Self {
        Self {
            relays: Vec::new(),
            network: NetworkFact::NotLookedAt,
            mounts: MountFact::NotLookedAt,
        }
    }
}

/// The relays that can be asked.
pub(crate) fn relay_urls(request: &Request, release: Option<&CharonVersion>) -> Vec<String> {
    match (request.relays.is_empty(), release) {
        // A multiaddr, which charon takes too, answers nothing that could be asked over http.
        (false, _) => request
            .relays
            .iter()
            .filter(|relay| !relay.starts_with('/'))
            .cloned()
            .collect(),
        (true, Some(release)) => pins::default_relays(release)
            .iter()
            .map(|&url| url.to_owned())
            .collect(),
        (true, None) => Vec::new(),
    }
}

/// What is reported about a relay that was asked.
pub(crate) fn relay_fact(answer: relays::RelayAnswer) -> RelayFact {
    RelayFact {
        answer: if answer.outcome.is_good() {
            RelayAnswer::Answers
        } else {
            RelayAnswer::Silent(answer.outcome.to_string())
        },
        url: answer.url,
    }
}

/// A charon at work on this data directory, by its own sign of life there.
pub(crate) fn sign_of_life(layout: &Layout) -> Option<OtherUser> {
    let mut advice =
        "stop the charon that uses this key, wait ten seconds, and try again".to_owned();
    let mut is_node = false;
    let sign = match heartbeat::read_heartbeat(layout.data_dir()) {
        Ok(None) => return None,
        Ok(Some(heartbeat)) => match heartbeat.sign(jiff::Timestamp::now(), None) {
            // The stage has no heartbeat of its own, so an edit's grace period is for `charon run`.
            Sign::Old | Sign::Grace => return None,
            Sign::Alive => {
                is_node = heartbeat.command == "charon run";
                format!(
                    "`{}` wrote it at {}",
                    heartbeat.command, heartbeat.timestamp
                )
            }
        },
        Err(reason) => {
            advice = format!(
                "stop the charon that uses this key; if none does: rm {}",
                quoted(layout.data_dir().join(HEARTBEAT_FILE))
            );
            reason
        }
    };
    Some(OtherUser {
        who: format!("{HEARTBEAT_FILE}, charon's heartbeat"),
        how: sign,
        advice,
        is_ceremony: false,
        is_node,
    })
}
