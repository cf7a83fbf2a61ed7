//! One run of charon, from its output to its progress and the reason of its failure.

use std::time::Duration;

use charon_files::cluster::CharonVersion;

use crate::diagnosis::{self, Diagnosis, End, Evidence};
use crate::event::Event;
use crate::line::{ClockTime, DAY_MILLIS, Line, LineBuffer};
use crate::progress::{ClusterSize, Progress};

/// One run of charon as far as its output was read.
#[derive(Debug)]
pub struct Transcript {
    buffer: LineBuffer,
    progress: Progress,
    evidence: Evidence,
}

impl Transcript {
    /// A run of which nothing was read yet. `pinned` is the release that this ceremony should run: with it a clash of
    /// releases is blamed on the nodes that do not run it.
    pub fn new(size: ClusterSize, pinned: Option<&CharonVersion>) -> Self {
        Self {
            buffer: LineBuffer::new(),
            progress: Progress::new(size),
            evidence: Evidence::new(pinned),
        }
    }

    /// Takes the next bytes of charon's output (stdout and stderr in the order of arrival), read at `now`, which is
    /// the duration since any fixed moment of the caller's choice. Gives the events in them.
    pub fn push(&mut self, chunk: &[u8], now: Duration) -> Vec<Event> {
        let lines = self.buffer.push(chunk);
        lines.iter().map(|line| self.observe(line, now)).collect()
    }

    /// Takes the end of the output: the last line may lack its line break.
    pub fn finish(&mut self, now: Duration) -> Vec<Event> {
        let lines = self.buffer.finish();
        lines.iter().map(|line| self.observe(line, now)).collect()
    }

    /// Takes note that there are more keystores than before, of which charon says nothing.
    pub fn keystores_grew(&mut self, now: Duration) {
        self.progress.keystores_grew(now);
    }

    /// The state of the ceremony.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Why charon failed; `None` if it succeeded. `now` as in [`Transcript::push`].
    pub fn diagnose(&self, end: End, now: Duration) -> Option<Diagnosis> {
        diagnosis::diagnose(&self.evidence, &self.progress, end, now)
    }

    /// Whether the reason is in charon's words, and not only in what it did not say.
    pub(crate) fn names_cause(&self) -> bool {
        self.evidence.names_cause()
    }

    /// A run from its lines, and the time from the first to the last of them.
    pub(crate) fn replay(
        lines: &[Line],
        size: ClusterSize,
        pinned: Option<&CharonVersion>,
    ) -> (Self, Duration) {
        let mut transcript = Self::new(size, pinned);
        let mut time = LogTime::default();
        for line in lines {
            if let Line::Entry(entry) = line {
                time.advance(entry.clock);
            }
            transcript.observe_line(line, time.elapsed);
        }
        (transcript, time.elapsed)
    }

    fn observe(&mut self, line: &str, now: Duration) -> Event {
        self.observe_line(&Line::parse(line), now)
    }

    fn observe_line(&mut self, line: &Line, now: Duration) -> Event {
        let event = Event::from_line(line);
        self.progress.observe(&event, now);
        self.evidence.observe(&event);
        event
    }
}

/// Why a finished run failed, from its whole output; `None` if it succeeded. Time is what the lines state, and
/// `idle` is how long the run went on after the last of them.
pub fn diagnose(
    output: &[u8],
    size: ClusterSize,
    pinned: Option<&CharonVersion>,
    end: End,
    idle: Duration,
) -> Option<Diagnosis> {
    let mut buffer = LineBuffer::new();
    let lines = buffer.push(output).into_iter().chain(buffer.finish());
    let lines: Vec<Line> = lines.map(|line| Line::parse(&line)).collect();
    let (transcript, elapsed) = Transcript::replay(&lines, size, pinned);
    transcript.diagnose(end, elapsed.saturating_add(idle))
}

/// The time of the lines of one run, as the duration since the first of them.
#[derive(Debug, Default)]
struct LogTime {
    last: Option<ClockTime>,
    elapsed: Duration,
}

impl LogTime {
    /// Console lines have no date: a clock that goes back by more than half a day has passed midnight, one that goes
    /// back by less was set back or written out of order, and counts as no time.
    fn advance(&mut self, clock: Option<ClockTime>) {
        let Some(clock) = clock else { return };
        if let Some(last) = self.last {
            let day = DAY_MILLIS;
            let forward = (clock.millis() + day - last.millis()) % day;
            if forward > day / 2 {
                return;
            }
            self.elapsed += Duration::from_millis(u64::from(forward));
        }
        self.last = Some(clock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_time_survives_midnight_and_lines_out_of_order() {
        let mut time = LogTime::default();
        for clock in [
            "23:59:59.000",
            "23:59:58.900",
            "00:00:01.000",
            "00:00:01.500",
        ] {
            time.advance(ClockTime::parse(clock));
        }
        assert_eq!(time.elapsed, Duration::from_millis(2500));
    }
}
