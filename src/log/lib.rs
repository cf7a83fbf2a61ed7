//! charon's output as events, progress and diagnosis.
//!
//! [`Transcript`] takes the bytes that charon writes and keeps what matters of them, in bounded memory:
//! [`Progress`] tells the state of the ceremony, who is missing and whether it hangs; after the end
//! [`Transcript::diagnose`] tells why it failed, whose fault it is and what to do.
//!
//! Phrases are those of charon v0.13 to v1.11 (sources in `dkg/`, `p2p/`, `app/privkeylock/` and `main.go` of each
//! release). The output holds text chosen by strangers: see [`line`] for what is removed from it.

mod collected;
pub mod diagnosis;
pub mod event;
pub mod explain;
pub mod line;
pub mod progress;
pub mod redact;
pub mod transcript;
mod unfold;
pub mod url_keys;

pub use diagnosis::{Diagnosis, End, Who, Whose, lines_left_out};
pub use event::{Event, RelayTrouble, Round};
pub use explain::{Told, explain};
pub use line::{ClockTime, Entry, Level, Line, LineBuffer};
pub use progress::{ClusterSize, Link, Peer, Phase, Progress, Waiting};
pub use redact::Redactor;
pub use transcript::{Transcript, diagnose};
