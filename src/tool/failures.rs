//! The advice that belongs to what the host modules report. They state facts; what to type next
//! is decided here.

use std::io;
use std::path::Path;

use crate::ceremony::attempt::AttemptError;
use crate::ceremony::plan::LABEL_ATTEMPT;
#[cfg(target_os = "linux")]
use crate::docker::EngineError;
use crate::error::{Failure, Kind};
use crate::machine::datadir::{KeyFileError, LayoutError, StateDirError};
use crate::machine::files::FileError;
use crate::machine::guard::GuardError;
use crate::machine::os;
use crate::machine::read::ReadError;
use crate::machine::signals::InterruptError;
use crate::promote::journal::JournalError;
use crate::report::{MOUNT_ALL, quoted, read_only_advice};
use charon_files::finding::Finding;

/// What neither the user nor an operator can do anything about.
pub(crate) fn unexpected(error: impl ToString) -> Failure {
    Failure::new(Kind::Unexpected, error.to_string())
}

pub(crate) fn file(error: FileError) -> Failure {
    let advice = out_of_reach(&error.cause, &error.path);
    let failure = unexpected(error);
    match advice {
        Some(advice) => failure.hint(advice),
        None => failure,
    }
}

/// What to do where no right would let anybody write or move: the file system is full, fails, is mounted read-only or ends
/// there, or an attribute forbids it.
pub(crate) fn out_of_reach(cause: &io::Error, path: &Path) -> Option<String> {
    let kind = cause.kind();
    if matches!(
        kind,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    ) {
        let path = quoted(existing(path));
        return Some(format!(
            "make room on that file system, which `df -h {path}` shows, and run the command again"
        ));
    }
    if kind == io::ErrorKind::PermissionDenied {
        let frozen = path.ancestors().take(2).find(|path| os::is_frozen(path))?;
        let frozen = quoted(frozen);
        return Some(format!(
            "`lsattr -d {frozen}` shows an attribute that lets nobody change it: `sudo chattr -ia {frozen}` takes it away; then run the command again"
        ));
    }
    if kind == io::ErrorKind::ResourceBusy {
        let path = quoted(path);
        return Some(format!(
            "`findmnt {path}` shows what is mounted there: stop what uses it, unmount it, move its files into that directory itself, and run the command again"
        ));
    }
    if kind == io::ErrorKind::CrossesDevices {
        return Some(MOUNT_ALL.to_owned());
    }
    if os::is_disk_failure(cause) {
        return Some(
            "the disk or its connection is failing, and `sudo dmesg` says more: fix that, and run the command again"
                .to_owned(),
        );
    }
    (kind == io::ErrorKind::ReadOnlyFilesystem).then(|| read_only_advice(existing(path)))
}

/// The nearest directory that there is on a path.
fn existing(path: &Path) -> &Path {
    path.ancestors()
        .find(|path| path.is_dir())
        .unwrap_or(Path::new("."))
}

pub(crate) fn layout(error: LayoutError) -> Failure {
    Failure::new(Kind::Usage, error.to_string())
        .hint("name the project directory with --dir, or the data directory with --data-dir")
}

pub(crate) fn state_dir(error: StateDirError) -> Failure {
    let hint = match &error {
        StateDirError::Owner { path, expected, .. } => format!(
            "`sudo chown -R {}:{} {}` gives it to the owner of the data directory",
            expected.uid,
            expected.gid,
            quoted(path)
        ),
        StateDirError::File(FileError { cause, path, .. }) => {
            out_of_reach(cause, path).unwrap_or_else(|| {
                "let the owner of the data directory write in the project directory, or run this as root"
                    .to_owned()
            })
        }
    };
    Failure::new(Kind::Refused, error.to_string()).hint(hint)
}

pub(crate) fn attempt(error: AttemptError) -> Failure {
    match &error {
        AttemptError::Record { path, .. }
        | AttemptError::Read(
            ReadError::Missing { path, .. }
            | ReadError::NotRegular { path, .. }
            | ReadError::TooLong { path, .. },
        ) => damaged_record(&error, path),
        AttemptError::State { .. }
        | AttemptError::Placeholder { .. }
        | AttemptError::TooMany { .. }
        | AttemptError::Read(
            ReadError::Changed { .. } | ReadError::Outside { .. } | ReadError::File(_),
        )
        | AttemptError::File(_) => Failure::new(Kind::Unexpected, error.to_string()),
    }
}

/// Nobody knows how far such an attempt came, so a human looks before the next one begins.
fn damaged_record(error: &AttemptError, path: &Path) -> Failure {
    let failure = Failure::new(Kind::Refused, error.to_string());
    let Some(dir) = path.parent() else {
        return failure;
    };
    let number = dir.file_name().unwrap_or_default();
    let aside = dir
        .parent()
        .and_then(Path::parent)
        .unwrap_or(dir)
        .join(format!("damaged-attempt-{}", number.display()));
    failure
        .hint("if a newer release of charon-dkg wrote it, use that one, and move nothing")
        .hint(format!(
            "see whether its container still runs, and let it end: docker ps -a --filter label={LABEL_ATTEMPT}={}",
            quoted(dir)
        ))
        .hint(format!(
            "otherwise move the attempt aside, which keeps all that charon wrote in it: mv {} {}",
            quoted(dir),
            quoted(aside)
        ))
        .hint("the next `charon-dkg run` begins a new attempt")
}

pub(crate) fn guard(error: GuardError) -> Failure {
    match error {
        GuardError::Held(holder) => Failure::new(Kind::Busy, holder.to_string())
            .hint("wait for it to end; never run one ENR key in two ceremonies, and never from two directories"),
        GuardError::BadId { .. }
        | GuardError::NoSharedDirectory { .. }
        | GuardError::Foreign { .. }
        | GuardError::Restless { .. } => Failure::new(Kind::Refused, error.to_string()),
        GuardError::File(error) => Failure {
            kind: Kind::Refused,
            ..file(error)
        },
    }
}

#[cfg(target_os = "linux")]
pub(crate) fn engine(error: EngineError) -> Failure {
    Failure::new(Kind::Unexpected, error.to_string())
}

pub(crate) fn key_file(error: KeyFileError) -> Failure {
    Failure::new(Kind::Refused, error.to_string())
}

pub(crate) fn journal(error: JournalError) -> Failure {
    match error {
        JournalError::Refused(findings) => Failure::new(
            Kind::Refused,
            "the files of the stage cannot be moved into the data directory; nothing was moved",
        )
        .with_findings(findings.into_iter().map(advised).collect()),
        JournalError::Pending { .. }
        | JournalError::Undone { .. }
        | JournalError::Stuck { .. }
        | JournalError::Unrecorded { .. }
        | JournalError::Journal { .. }
        | JournalError::Attempt(_)
        | JournalError::Read(_)
        | JournalError::File(_) => {
            let advice = file_at_fault(&error).and_then(|it| out_of_reach(&it.cause, &it.path));
            let mut failure = Failure::new(Kind::Unexpected, error.to_string());
            if let Some(advice) = advice {
                failure = failure.hint(advice);
            }
            let is_half_done = matches!(
                error,
                JournalError::Stuck { .. } | JournalError::Unrecorded { .. }
            );
            if is_half_done {
                failure = failure.hint(
                    "nothing is lost: the command, run again, first finishes what this one began, or takes it back",
                );
            }
            failure
        }
    }
}

/// What could not be moved or written.
fn file_at_fault(error: &JournalError) -> Option<&FileError> {
    match error {
        JournalError::File(error) | JournalError::Attempt(AttemptError::File(error)) => Some(error),
        JournalError::Undone { cause }
        | JournalError::Stuck { cause, .. }
        | JournalError::Unrecorded { cause } => file_at_fault(cause),
        JournalError::Refused(_)
        | JournalError::Pending { .. }
        | JournalError::Journal { .. }
        | JournalError::Attempt(_)
        | JournalError::Read(_) => None,
    }
}

/// The journal knows what is wrong and not what helps.
fn advised(finding: Finding) -> Finding {
    let advice = match finding.check {
        "data-directory-occupied" => "move it out of the data directory; never overwrite keys",
        "input-changed" => "put back the file with which the ceremony was started",
        "stage-unverified-entry" | "stage-file-changed" => {
            "someone changed the stage: find out who and why before you trust this machine with keys"
        }
        _ => "",
    };
    Finding {
        advice: advice.to_owned(),
        ..finding
    }
}

pub(crate) fn signals(error: InterruptError) -> Failure {
    Failure::new(Kind::Unexpected, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_right_is_asked_for_where_none_would_help() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none/file");
        let said = |kind: io::ErrorKind| {
            let error = FileError::new("make directory", &path, io::Error::from(kind));
            let failure = state_dir(error.into());
            failure.hints.join("; ")
        };
        let shown = dir.path().display().to_string();
        let full = said(io::ErrorKind::StorageFull);
        assert!(full.contains(&format!("`df -h {shown}`")), "{full}");
        let read_only = said(io::ErrorKind::ReadOnlyFilesystem);
        assert!(
            read_only.contains(&format!("`findmnt --target {shown}`")),
            "{read_only}"
        );
        let failing = FileError::new("sync", &path, io::Error::from_raw_os_error(5));
        let failing = file(failing).hints.join("; ");
        assert!(
            cfg!(windows) || failing.contains("`sudo dmesg`"),
            "{failing}"
        );
        let mounted = said(io::ErrorKind::ResourceBusy);
        assert!(
            mounted.contains(&format!("`findmnt {shown}/none/file`")),
            "{mounted}"
        );
        let apart = said(io::ErrorKind::CrossesDevices);
        assert!(apart.contains("whole project directory"), "{apart}");
        let denied = said(io::ErrorKind::PermissionDenied);
        assert!(denied.contains("run this as root"), "{denied}");
    }

    #[test]
    fn what_stays_half_done_is_finished_by_the_command_run_again() {
        let error = || FileError::new("sync", "/x", io::Error::other("no"));
        let stuck = JournalError::after_undo(error().into(), Err(error()));
        let hints = journal(stuck).hints;
        assert!(hints.concat().contains("nothing is lost"), "{hints:?}");
        let undone = JournalError::after_undo(error().into(), Ok(()));
        assert_eq!(journal(undone).hints, [""; 0]);
    }
}
