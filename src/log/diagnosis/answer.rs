//! What a diagnosis tells, and of what end.

use charon_files::cluster::NodeIndex;
use charon_files::text;

/// How the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct End {
    /// The container's exit code; `None` if unknown or still running.
    pub exit_code: Option<i64>,
    /// Whether the engine says that the kernel killed it for want of memory.
    pub oom_killed: bool,
    /// Whether we asked it to stop.
    pub stopped: bool,
}

/// Another node of the ceremony, by all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// charon's two-word name of the node.
    pub name: Option<String>,
    /// Position in the definition's operators.
    pub index: Option<NodeIndex>,
    /// The operator's Ethereum address, if charon printed it.
    pub address: Option<String>,
}

/// Who can do something about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// The operator of this node.
    You,
    /// These other operators.
    Operators(Vec<Who>),
    /// The person who made the definition.
    Coordinator,
    /// All operators together.
    Everybody,
    /// The operator of the relay.
    Relay,
    /// Nobody's decision: the machine or its engine.
    Machine,
    /// Not known.
    Unknown,
}

impl Whose {
    /// The stable name of this kind in JSON output.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::You => "you",
            Self::Operators(_) => "operators",
            Self::Coordinator => "coordinator",
            Self::Everybody => "everybody",
            Self::Relay => "relay",
            Self::Machine => "machine",
            Self::Unknown => "unknown",
        }
    }
}

/// Why a ceremony failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// Stable identifier of the cause, such as `charon-versions-differ`.
    pub id: &'static str,
    /// What happened, with the values seen, in one sentence without a full stop.
    pub cause: String,
    /// Who can do something about it.
    pub whose: Whose,
    /// What to do next, in one or two sentences.
    pub next_step: String,
    /// Whether charon may have written all files before it failed, so that they are worth verifying.
    pub outputs_may_be_complete: bool,
    /// charon's own words, shortened.
    pub evidence: Option<String>,
}

impl Diagnosis {
    /// With lines missing nothing follows from what the log does not say.
    pub(crate) fn without_lines(self, count: usize) -> Self {
        self.incomplete(
            &lines_left_out(count),
            "Export it again with all of them: add `--all` to `journalctl`.",
        )
    }

    /// Nor does anything where most of the log was not understood.
    pub(crate) fn with_strange_lines(self, count: usize) -> Self {
        self.incomplete(
            &format!("most of the log, {count} lines, could not be read"),
            "Give what charon itself printed, such as the output of `docker logs CONTAINER` or `journalctl --all -o cat`.",
        )
    }

    fn incomplete(self, why: &str, next_step: &str) -> Self {
        Self {
            outputs_may_be_complete: self.outputs_may_be_complete,
            ..said(
                "log-incomplete",
                Whose::Unknown,
                format!("{why}; the rest says no more than: {}", self.cause),
                next_step,
            )
        }
    }
}

/// That the collector of a log left lines out, as a part of a sentence.
pub fn lines_left_out(count: usize) -> String {
    let lines = text::count(u64::try_from(count).unwrap_or(u64::MAX), "line");
    format!("the export left out {lines} of the log")
}

/// A diagnosis without evidence.
pub(super) fn said(
    id: &'static str,
    whose: Whose,
    cause: impl Into<String>,
    next_step: impl Into<String>,
) -> Diagnosis {
    Diagnosis {
        id,
        cause: cause.into(),
        whose,
        next_step: next_step.into(),
        outputs_may_be_complete: false,
        evidence: None,
    }
}
