//! Why a run of charon failed, whose fault it is, and what to do: from its output and the way it ended.
//!
//! A failing charon often says several things, the last of them the least telling (`p2p connection failed, please
//! retry DKG: context canceled`). Each line is read for causes by itself and the most specific cause is kept; where
//! only the way it ended is known, the state of the ceremony decides.

mod answer;
mod case;
mod cause;
mod chain;
mod evidence;
mod local;
mod network;
mod settings;
mod terms;

use std::time::Duration;

use super::progress::{Phase, Progress};

pub use self::answer::{Diagnosis, End, Who, Whose, lines_left_out};
use self::case::Case;
use self::chain::shorten;
pub(super) use self::evidence::Evidence;

/// Puts evidence, state and the way of the end together.
pub(super) fn diagnose(
    evidence: &Evidence,
    progress: &Progress,
    end: End,
    now: Duration,
) -> Option<Diagnosis> {
    if progress.phase() == Phase::Done && end.exit_code.is_none_or(|code| code == 0) {
        return None;
    }
    let case = Case {
        evidence,
        progress,
        end,
        now,
    };
    let found = match &evidence.best {
        _ if end.oom_killed => case.out_of_memory(),
        Some((cause, words)) => Diagnosis {
            evidence: Some(shorten(words)),
            ..case.explain(cause, words)
        },
        None => case.silent_end(),
    };
    Some(Diagnosis {
        outputs_may_be_complete: found.outputs_may_be_complete || case.files_were_written(),
        ..found
    })
}
