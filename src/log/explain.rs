//! What a log alone says, as somebody pasted it: without the definition, and with nothing known of charon's end but what the
//! log says.

use crate::collected::Collected;
use crate::diagnosis::{Diagnosis, End};
use crate::event::Event;
use crate::line::{Line, LineBuffer};
use crate::progress::{ClusterSize, MAX_PEERS, Progress};
use crate::redact::Redactor;
use crate::transcript::Transcript;
use crate::unfold::unfolded;
use charon_files::text::from_utf16;

/// Validators of a cluster whose size a log does not say: with them silence is called a hang only when it is one for most.
const ASSUMED_VALIDATORS: usize = 100;

/// One run of charon, as far as its log goes.
#[derive(Debug)]
pub struct Told {
    /// How far it came, and who took part.
    pub progress: Progress,
    /// Why it failed; `None` if it succeeded.
    pub diagnosis: Option<Diagnosis>,
    /// How many lines the log's collector left out.
    pub left_out: usize,
}

/// What a log says of the last run of charon in it; `None` if there is nothing of charon in it.
///
/// Its lines may be broken at the width of a window. It may have been collected as [`crate::collected`] says, and be in UTF-16 with a byte order mark, as `PowerShell` writes it.
pub fn explain(output: &[u8]) -> Option<Told> {
    let text = from_utf16(output);
    let output = text.as_ref().map_or(output, String::as_bytes);
    let collected = collected(output);
    let mut buffer = LineBuffer::new();
    let mut lines = buffer.push(collected.text.as_bytes());
    lines.extend(buffer.finish());
    let mut redactor = Redactor::default();
    let lines: Vec<Line> = lines
        .iter()
        .map(|line| Line::parse(&redactor.line(line)))
        .collect();
    let run = last_run(&lines);
    let events: Vec<Event> = run.iter().map(Event::from_line).collect();
    let is_charons = collected.entries > 0 || events.iter().any(|event| *event != Event::Other);
    if !is_charons && collected.left_out == 0 {
        return None;
    }
    let operators = operators(&events);
    let size = ClusterSize {
        operators,
        threshold: operators - operators.saturating_sub(1) / 3,
        validators: ASSUMED_VALIDATORS,
    };
    let (transcript, elapsed) = Transcript::replay(run, size, None);
    let mut diagnosis = transcript.diagnose(End::default(), elapsed);
    // Nothing follows from what a log does not say if not all of it was read.
    if !transcript.names_cause() {
        if collected.left_out > 0 {
            diagnosis = diagnosis.map(|found| found.without_lines(collected.left_out));
        } else if collected.strange > collected.entries {
            diagnosis = diagnosis.map(|found| found.with_strange_lines(collected.strange));
        }
    }
    Some(Told {
        progress: transcript.progress().clone(),
        diagnosis,
        left_out: collected.left_out,
    })
}

/// The log as it is, or with whole lines if more of charon is in it then.
fn collected(output: &[u8]) -> Collected {
    let plain = Collected::read(output);
    let whole = unfolded(&String::from_utf8_lossy(output));
    let whole = whole.map(|whole| Collected::read(whole.as_bytes()));
    whole
        .filter(|whole| {
            whole.entries > plain.entries || whole.entries == plain.entries && !plain.records
        })
        .unwrap_or(plain)
}

/// A container that was started again goes on in the same log. charon begins with its flags, and up to v0.13 with its name.
fn last_run(lines: &[Line]) -> &[Line] {
    let begins = |words: &str| {
        lines.iter().rposition(|line| match line {
            Line::Entry(entry) => entry.message.starts_with(words),
            Line::Stack | Line::Text(_) => false,
        })
    };
    let start = begins("Parsed config").or_else(|| begins("Charon DKG starting"));
    lines.get(start.unwrap_or(0)..).unwrap_or(lines)
}

/// How many operators there are, as far as the log says; 0 if it does not.
fn operators(events: &[Event]) -> usize {
    let counted = events.iter().map(|event| {
        if let Event::Roster { index, .. } = event {
            index.position().saturating_add(1)
        } else if let Event::PeerConnected { total, .. } = event {
            usize::try_from(*total).unwrap_or(0).saturating_add(1)
        } else {
            0
        }
    });
    counted
        .filter(|count| *count <= MAX_PEERS)
        .max()
        .unwrap_or(0)
}
