//! Errors as charon has them: a chain of words and structured fields (`app/errors`).

use std::io;
use std::path::Path;

use serde_json::Value;

/// Fields of a log line or an error, in order.
pub(crate) type Fields = Vec<(&'static str, Value)>;

/// Why a command ends with exit code 1.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    /// The chain, outermost first.
    pub(crate) words: String,
    /// Fields of all links of the chain.
    pub(crate) fields: Fields,
    /// Whether cobra shows the command's usage before the error, as it does for errors in the flags.
    pub(crate) usage: bool,
}

impl Failure {
    /// An error without fields.
    pub(crate) fn new(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            fields: Vec::new(),
            usage: false,
        }
    }

    /// The same with one more field.
    pub(crate) fn field(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// The same inside another.
    pub(crate) fn wrapped(mut self, outer: &str) -> Self {
        self.words = format!("{outer}: {}", self.words);
        self
    }

    /// What Go's `os` package says when an operation on a path fails: `open <path>: permission denied`.
    pub(crate) fn io(operation: &str, path: &Path, error: &io::Error) -> Self {
        Self::new(format!(
            "{operation} {}: {}",
            path.display(),
            go_words(error)
        ))
    }
}

/// An operating system's error in Go's words (package `syscall`).
pub(crate) fn go_words(error: &io::Error) -> String {
    use rustix::io::Errno;

    let words = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT) => "no such file or directory",
        Some(Errno::ACCESS) => "permission denied",
        Some(Errno::PERM) => "operation not permitted",
        Some(Errno::ROFS) => "read-only file system",
        Some(Errno::NOSPC) => "no space left on device",
        Some(Errno::DQUOT) => "disk quota exceeded",
        Some(Errno::EXIST) => "file exists",
        Some(Errno::NOTDIR) => "not a directory",
        Some(Errno::ISDIR) => "is a directory",
        Some(Errno::IO) => "input/output error",
        Some(Errno::CONNREFUSED) => "connection refused",
        Some(Errno::ADDRINUSE) => "address already in use",
        _ => return error.to_string().to_lowercase(),
    };
    words.to_owned()
}
