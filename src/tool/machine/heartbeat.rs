//! charon's heartbeat beside the ENR key.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::machine::read;
use charon_files::cluster::names::HEARTBEAT_FILE;

/// charon calls its sign of life stale after this time (charon app/privkeylock, `staleDuration`).
const STALE_AFTER: SignedDuration = SignedDuration::from_secs(5);

/// After an edit of the cluster, charon waits for two epochs (charon app/privkeylock,
/// `gracePeriod`).
const GRACE: SignedDuration = SignedDuration::from_secs(768);
/// charon's heartbeat beside the ENR key. Releases from v0.16 write it every second; those from
/// v1.9 leave it behind when they end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Heartbeat {
    /// What charon was doing, such as `charon dkg`.
    pub command: String,
    /// When it last said so, RFC 3339.
    pub timestamp: String,
    /// The cluster lock that it ran with, `0x` and lower-case hex; none during a first ceremony.
    pub cluster_lock_hash: Option<String>,
    #[serde(skip)]
    at: Timestamp,
}

/// What charon would make of its sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sign {
    /// It is older than charon cares for.
    Old,
    /// A charon is running, or ended within the last five seconds: charon refuses to start.
    Alive,
    /// A charon with another cluster lock ran within the last 768 seconds: charon refuses to
    /// start, so that validators are not active twice after an edit.
    Grace,
}

impl Heartbeat {
    /// Time since charon last wrote it; negative if that is in the future.
    pub fn age(&self, now: Timestamp) -> SignedDuration {
        now.duration_since(self.at)
    }

    /// Judges as charon does (charon app/privkeylock `New`), for a start with this cluster lock,
    /// or with none.
    pub fn sign(&self, now: Timestamp, lock_hash: Option<&str>) -> Sign {
        let age = self.age(now);
        if age <= STALE_AFTER {
            return Sign::Alive;
        }
        match &self.cluster_lock_hash {
            Some(seen) if Some(seen.as_str()) != lock_hash && age < GRACE => Sign::Grace,
            Some(_) | None => Sign::Old,
        }
    }
}

/// The form that charon writes.
#[derive(Deserialize)]
struct HeartbeatFile {
    command: String,
    timestamp: String,
    #[serde(default)]
    cluster_lock_hash: String,
}

/// Reads charon's heartbeat; `None` if it does not exist. The error says why an existing one
/// cannot be used; charon would fail on it too.
pub fn read_heartbeat(data_dir: &Path) -> Result<Option<Heartbeat>, String> {
    let bytes = match read::read_in(data_dir, Path::new(HEARTBEAT_FILE), read::HEARTBEAT) {
        Ok(bytes) => bytes,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let file: HeartbeatFile = serde_json::from_slice(&bytes)
        .map_err(|error| format!("{HEARTBEAT_FILE} is not what charon writes: {error}"))?;
    let at = file
        .timestamp
        .parse()
        .map_err(|error| format!("{HEARTBEAT_FILE} has no time that can be read: {error}"))?;
    Ok(Some(Heartbeat {
        command: file.command,
        timestamp: file.timestamp,
        cluster_lock_hash: Some(file.cluster_lock_hash).filter(|hash| !hash.is_empty()),
        at,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat(text: &str) -> Result<Option<Heartbeat>, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(HEARTBEAT_FILE), text).unwrap();
        read_heartbeat(dir.path())
    }

    #[test]
    fn a_sign_of_life_is_judged_as_charon_does() {
        let text = r#"{"command":"charon run","timestamp":"2026-01-02T05:04:05.123456789+02:00","cluster_lock_hash":"0xaa"}"#;
        let seen = heartbeat(text).unwrap().unwrap();
        assert_eq!(seen.command, "charon run");
        let at = |seconds: i64| -> Timestamp {
            let written: Timestamp = "2026-01-02T03:04:05.123456789Z".parse().unwrap();
            written + SignedDuration::from_secs(seconds)
        };
        assert_eq!(seen.age(at(7)), SignedDuration::from_secs(7));
        for (seconds, own, sign) in [
            (0, None, Sign::Alive),
            (5, Some("0xaa"), Sign::Alive),
            (-60, Some("0xaa"), Sign::Alive),
            (6, Some("0xaa"), Sign::Old),
            (6, Some("0xbb"), Sign::Grace),
            (6, None, Sign::Grace),
            (767, Some("0xbb"), Sign::Grace),
            (768, Some("0xbb"), Sign::Old),
        ] {
            assert_eq!(seen.sign(at(seconds), own), sign, "{seconds} {own:?}");
        }
        let first = r#"{"command":"charon dkg","timestamp":"2026-01-02T03:04:05Z"}"#;
        let first = heartbeat(first).unwrap().unwrap();
        assert_eq!(first.cluster_lock_hash, None);
        assert_eq!(first.sign(at(6), Some("0xaa")), Sign::Old);
    }

    #[test]
    fn a_sign_of_life_that_cannot_be_read_is_told() {
        let nothing = tempfile::tempdir().unwrap();
        assert_eq!(read_heartbeat(nothing.path()), Ok(None));
        for text in [
            "",
            "[]",
            r#"{"command":"x","timestamp":"yesterday"}"#,
            &"x".repeat(9000),
        ] {
            let error = heartbeat(text).unwrap_err();
            assert!(error.contains(HEARTBEAT_FILE), "{error}");
        }
    }
}
