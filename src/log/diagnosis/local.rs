//! What is wrong on this machine: the data directory, the ENR key, the disk.

use super::answer::{Diagnosis, Whose, said};
use super::chain::Chain;

/// One cause per advice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Local {
    DataDirectoryNotClean { entity: Option<String> },
    DataDirectoryMissing { path: Option<String> },
    EnrKeyMissing { path: Option<String> },
    EnrKeyUnreadable,
    HeartbeatUnreadable { path: Option<String> },
    ClusterLockUnusable,
    KeystoresOfAnother,
    EnrKeyNotInDefinition,
    OtherCharonRunning { command: Option<String> },
    GracePeriod,
    DiskFull { path: Option<String> },
    PermissionDenied { path: Option<String> },
    InputOutput,
}

const LOADING_THE_KEY: [&str; 4] = [
    "load priv key",
    "load private key",
    "read private key from disk",
    "decode private key hex",
];

/// What charon does when it writes its files, and before, when it tries whether it can.
const WRITING_FILES: [&str; 8] = [
    "check writes",
    "mkdir /validator_keys",
    "write keystore",
    "write password file",
    "store password",
    "write lock",
    "write deposit data",
    "delete private key lock file",
];

pub(super) fn recognise(chain: Chain<'_>) -> Option<Local> {
    Some(
        if chain.has(&["no space left on device", "disk quota exceeded"]) {
            Local::DiskFull { path: chain.path() }
        } else if chain.has(&[
            "permission denied",
            "operation not permitted",
            "read-only file system",
            "parent directory is not writable",
        ]) && !chain.has(&["dial "])
        {
            Local::PermissionDenied { path: chain.path() }
        } else if chain.has(&["input/output error", "too many open files"]) {
            Local::InputOutput
        } else if chain.has(&["data directory not clean"]) {
            Local::DataDirectoryNotClean {
                entity: chain.field("disallowed_entity"),
            }
        } else if chain.has(&[
            "data directory doesn't exist",               // v0.15 to v1.7.
            "data directory does not exist",              // v1.8 and later.
            "data directory is a file",                   // v1.8 and later.
            "already exists and is a file",               // v0.15 to v1.7.
            "write private key lock file", // v0.16 to v1.8 notice it first while they write the heartbeat.
            "private key lock file path, does not exist", // v1.9 and later.
            "check parent directory",
            "parent path is not a directory",
            "retrieving data directory info",
            "list contents of data directory",
        ]) || (chain.has(&WRITING_FILES) && chain.has(&["no such file"]))
        {
            Local::DataDirectoryMissing { path: chain.path() }
        } else if chain.has(&[
            "private key file does not exist", // v1.9 and later.
            "private key file path is a directory",
            "file info for private key file",
            "missing required files", // v0.15 to v1.8.
            "private key not found",  // `charon enr` up to v0.17.
        ]) || (chain.has(&LOADING_THE_KEY) && chain.has(&["no such file"]))
        {
            Local::EnrKeyMissing { path: chain.path() }
        } else if chain.has(&["another charon instance may be running"]) {
            Local::OtherCharonRunning {
                command: chain.field("command"),
            }
        } else if chain.has(&["different cluster lock hash, for safety reasons"]) {
            Local::GracePeriod
        } else if chain.has(&[
            "unknown private key provided",
            "private key not matching definition file",
        ]) {
            Local::EnrKeyNotInDefinition
        } else if chain.has(&["load private key share", "order private key shares"]) {
            Local::ClusterLockUnusable
        } else if chain.has(&LOADING_THE_KEY) {
            Local::EnrKeyUnreadable
        } else if chain.has(&["decode private key lock file", "read private key lock file"]) {
            Local::HeartbeatUnreadable { path: chain.path() }
        } else if chain.has(&["mismatching validator client key share index"]) {
            Local::KeystoresOfAnother
        } else if chain.has(&["cluster lock", "cluster-lock.json", "cluster manifest"]) {
            Local::ClusterLockUnusable
        } else {
            return None;
        },
    )
}

impl Local {
    pub(super) fn explain(&self) -> Diagnosis {
        let or = |value: &Option<String>, other: &str| value.clone().unwrap_or(other.to_owned());
        match self {
            Self::DataDirectoryNotClean { entity } => said(
                "data-directory-not-clean",
                Whose::You,
                format!(
                    "the data directory holds {} of an earlier ceremony",
                    or(entity, "outputs")
                ),
                "Move the old outputs aside with the archive command; never delete them. Then run again.",
            ),
            Self::DataDirectoryMissing { path } => said(
                "data-directory-missing",
                Whose::You,
                format!(
                    "the data directory is not there: {}",
                    or(path, "charon found none")
                ),
                "Check the path of the data directory, and that it is a directory on this machine.",
            ),
            Self::EnrKeyMissing { path } => said(
                "enr-key-missing",
                Whose::You,
                format!(
                    "there is no ENR key: {}",
                    or(path, "charon-enr-private-key was not found")
                ),
                "Check that this is the right data directory. If it is, restore charon-enr-private-key from the backup: \
                 a new key would not belong to the definition.",
            ),
            Self::EnrKeyUnreadable => said(
                "enr-key-unreadable",
                Whose::You,
                "the file charon-enr-private-key does not hold a key",
                "Restore it from the backup: it holds exactly 64 hexadecimal digits.",
            ),
            Self::HeartbeatUnreadable { path } => said(
                "enr-key-lock-unreadable",
                Whose::You,
                format!(
                    "charon cannot read its own heartbeat, {}",
                    or(path, "charon-enr-private-key.lock")
                ),
                "Make sure that no charon uses this ENR key on any machine, then delete that one file and run again.",
            ),
            Self::ClusterLockUnusable => said(
                "cluster-lock-unusable",
                Whose::You,
                "charon cannot use the cluster lock and the keystores in this directory",
                "Find out with the verify command what is wrong with them; restore them from this node's own backup.",
            ),
            Self::KeystoresOfAnother => said(
                "keystores-of-another-operator",
                Whose::You,
                "this node's validator client has the keystores of another operator",
                "Stop the validator client. The verify command tells whose keystores a directory holds.",
            ),
            Self::EnrKeyNotInDefinition => said(
                "enr-key-not-in-definition",
                Whose::You,
                "the ENR key of this node belongs to no operator of the definition",
                "Check that this is the data directory whose ENR you gave to the coordinator, and that the definition \
                 is the one of this ceremony.",
            ),
            Self::OtherCharonRunning { command } => said(
                "other-charon-running",
                Whose::You,
                format!(
                    "another charon uses this ENR key: {} wrote its heartbeat less than five seconds ago",
                    or(command, "a charon")
                ),
                "Stop the other charon, on every machine that has a copy of this key, wait ten seconds and run again.",
            ),
            Self::GracePeriod => said(
                "edit-grace-period",
                Whose::You,
                "this ENR key served another cluster lock less than 768 seconds ago",
                "Make sure that no other charon runs with this key, wait 13 minutes and run again.",
            ),
            Self::DiskFull { path } => said(
                "disk-full",
                Whose::Machine,
                format!("the disk is full: {}", or(path, "charon could not write")),
                "Free some space, tell the other operators, whose nodes wait for this one, and start again together, \
                 each with a clean directory.",
            ),
            Self::PermissionDenied { path } => said(
                "permission-denied",
                Whose::Machine,
                format!(
                    "charon may not read or write {}",
                    or(path, "its data directory")
                ),
                "Give the data directory and the directory it lies in back to their owner (`chown -R`). Permissions \
                 for everyone (`chmod 777`) are never needed. Where SELinux enforces (`getenforce`), containers also need a label on the \
                 data directory and on its working directory beside it: `chcon -R -t container_file_t .charon .charon-dkg`.",
            ),
            Self::InputOutput => said(
                "input-output-error",
                Whose::Machine,
                "the machine failed to read or write",
                "Read the machine's kernel log (dmesg) before anything else; the disk may be failing.",
            ),
        }
    }
}
