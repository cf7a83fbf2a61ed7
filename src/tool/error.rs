//! What went wrong, as people and programs need it: a kind (and so an exit code), a fact, and advice.

use charon_files::finding::Finding;

/// Why a command did not end well. Every kind has one documented exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something that should not happen: an I/O error, an engine that answers nonsense. Exit code 1.
    Unexpected,
    /// The command line is wrong. Exit code 2.
    Usage,
    /// The command was refused before anything was changed. Exit code 3.
    Refused,
    /// Files were checked and did not pass, or could not be checked. Exit code 4.
    VerificationFailed,
    /// Somebody else holds the guard of this ENR key, directory or container name. Exit code 5.
    Busy,
    /// charon ran and failed; nothing was promoted. Exit code 6.
    CeremonyFailed,
    /// Ctrl-C, SIGTERM, or docker closed the plugin's socket. Exit code 130.
    Interrupted,
}

impl Kind {
    /// The process exit code of this kind, as documented in `docs/scripts.md`.
    pub const fn exit_code(self) -> u8 {
        match self {
            Kind::Unexpected => 1,
            Kind::Usage => 2,
            Kind::Refused => 3,
            Kind::VerificationFailed => 4,
            Kind::Busy => 5,
            Kind::CeremonyFailed => 6,
            Kind::Interrupted => 130,
        }
    }

    /// Every kind, by exit code.
    pub const ALL: [Kind; 7] = [
        Kind::Unexpected,
        Kind::Usage,
        Kind::Refused,
        Kind::VerificationFailed,
        Kind::Busy,
        Kind::CeremonyFailed,
        Kind::Interrupted,
    ];

    /// What this kind means to an operator, as the table of exit codes says it.
    pub const fn meaning(self) -> &'static str {
        match self {
            Kind::Unexpected => "unexpected: the machine, the engine or this program failed",
            Kind::Usage => "wrong command line",
            Kind::Refused => "refused; nothing was changed",
            Kind::VerificationFailed => "verification failed, or could not tell",
            Kind::Busy => "busy: another process holds the guard of this key or directory",
            Kind::CeremonyFailed => "the ceremony itself failed; nothing was promoted",
            Kind::Interrupted => "interrupted",
        }
    }

    /// The stable name of this kind in JSON output.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Unexpected => "unexpected",
            Kind::Usage => "usage",
            Kind::Refused => "refused",
            Kind::VerificationFailed => "verification-failed",
            Kind::Busy => "busy",
            Kind::CeremonyFailed => "ceremony-failed",
            Kind::Interrupted => "interrupted",
        }
    }
}

/// A command's failure: one fact, the findings behind it, and what to type next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Decides the exit code.
    pub kind: Kind,
    /// What was seen and what was expected, in one sentence without a full stop.
    pub message: String,
    /// The next commands to type or people to ask, most useful first.
    pub hints: Vec<String>,
    /// Every single problem, where there may be more than one.
    pub findings: Vec<Finding>,
}

impl Failure {
    /// A failure with a fact and no advice yet.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hints: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// The same failure with one more piece of advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same failure with the findings that explain it.
    #[must_use]
    pub fn with_findings(mut self, findings: Vec<Finding>) -> Self {
        self.findings.extend(findings);
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
