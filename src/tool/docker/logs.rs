//! A container's output as lines.

use std::collections::VecDeque;

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};

use crate::docker::{Engine, EngineError, convert};

/// The longest piece of a line that is kept in memory. charon's own lines have a few hundred
/// bytes; only a stack trace or a dump in one line comes near.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// Which of a container's two streams a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of a container's output, or a piece of a very long one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Where it was written.
    pub stream: OutputStream,
    /// The text without its line end; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// Whether a line end followed. A line longer than [`MAX_LINE_BYTES`] comes in pieces, of
    /// which only the last is complete; the last line of a container may have no end at all.
    pub complete: bool,
}

impl Engine {
    /// The whole output of a container from its first line on, then whatever it writes until it
    /// ends. Nothing is lost by asking again, or by asking after the container has ended. What a
    /// container writes while its engine is down is lost to the engine itself: the end of the
    /// output proves nothing, only [`Engine::wait_exit`] and the files do.
    ///
    /// # Errors
    /// The stream ends after its first error: [`EngineError::Died`] where the engine went away,
    /// which says nothing about the container.
    pub fn follow_logs(
        &self,
        id: &str,
    ) -> impl Stream<Item = Result<LogLine, EngineError>> + Send + Unpin + 'static {
        self.lines(id, Stage::Following)
    }

    /// The whole output of a container that has ended.
    pub(crate) fn read_logs(
        &self,
        id: &str,
    ) -> impl Stream<Item = Result<LogLine, EngineError>> + Send + Unpin + 'static {
        self.lines(id, Stage::Rereading)
    }

    fn lines(
        &self,
        id: &str,
        stage: Stage,
    ) -> impl Stream<Item = Result<LogLine, EngineError>> + Send + Unpin + 'static {
        let following = Following {
            output: self.read_output(id, matches!(stage, Stage::Following)),
            stage,
            lines: Lines::default(),
            seen: Counts::default(),
            again: Counts::default(),
            ready: VecDeque::new(),
            id: id.to_owned(),
            engine: self.clone(),
        };
        stream::unfold(following, Following::next).boxed()
    }

    fn read_output(&self, id: &str, follow: bool) -> Output {
        let options = LogsOptionsBuilder::default()
            .follow(follow)
            .stdout(true)
            .stderr(true)
            .tail("all")
            .build();
        self.unlimited().logs(id, Some(options)).boxed()
    }
}

type Output = BoxStream<'static, Result<LogOutput, bollard::errors::Error>>;

/// Docker sometimes ends a followed output without what a container wrote last, which is where
/// the reason of a failure is (seen with 20.10 in one of eight runs that end on an unfinished
/// line). So the output is read once more after the end, and what is new is added.
struct Following {
    engine: Engine,
    id: String,
    output: Output,
    stage: Stage,
    lines: Lines,
    /// Bytes read while following.
    seen: Counts,
    /// Bytes read again after the end.
    again: Counts,
    ready: VecDeque<Result<LogLine, EngineError>>,
}

enum Stage {
    Following,
    Rereading,
    Ended,
}

#[derive(Default)]
struct Counts {
    stdout: usize,
    stderr: usize,
}

impl Counts {
    fn of(&mut self, stream: OutputStream) -> &mut usize {
        match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        }
    }
}

impl Following {
    async fn next(mut self) -> Option<(Result<LogLine, EngineError>, Self)> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some((line, self));
            }
            if let Stage::Ended = self.stage {
                return None;
            }
            match self.output.next().await {
                Some(Ok(output)) => self.add(&output),
                Some(Err(error)) => {
                    let error = convert("read the container's output", error);
                    self.end(Some(error.about_container(&self.id)));
                }
                None => match self.stage {
                    Stage::Following => self.read_again().await,
                    Stage::Rereading | Stage::Ended => self.end(None),
                },
            }
        }
    }

    fn add(&mut self, output: &LogOutput) {
        let stream = match output {
            LogOutput::StdErr { .. } => OutputStream::Stderr,
            LogOutput::StdOut { .. } | LogOutput::StdIn { .. } | LogOutput::Console { .. } => {
                OutputStream::Stdout
            }
        };
        let bytes = output.as_ref();
        let new = match self.stage {
            Stage::Following => {
                *self.seen.of(stream) += bytes.len();
                bytes
            }
            Stage::Rereading | Stage::Ended => {
                let before = *self.again.of(stream);
                *self.again.of(stream) += bytes.len();
                let known = self.seen.of(stream).saturating_sub(before);
                bytes.get(known..).unwrap_or_default()
            }
        };
        let lines = self.lines.push(stream, new);
        self.ready.extend(lines.into_iter().map(Ok));
    }

    async fn read_again(&mut self) {
        match self.engine.wait_exit(&self.id).await {
            Ok(_) => {
                self.output = self.engine.read_output(&self.id, false);
                self.stage = Stage::Rereading;
            }
            // Then there is nothing more to read.
            Err(EngineError::NeverStarted { .. } | EngineError::NoSuchContainer { .. }) => {
                self.end(None);
            }
            Err(error) => self.end(Some(error)),
        }
    }

    fn end(&mut self, error: Option<EngineError>) {
        self.stage = Stage::Ended;
        let rest = self.lines.finish();
        self.ready.extend(rest.into_iter().map(Ok));
        self.ready.extend(error.map(Err));
    }
}

/// Joins what the engine sends into lines: it cuts a container's output where it likes (docker at
/// 16 KiB), and the two streams are cut independently.
#[derive(Default)]
pub(crate) struct Lines {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Lines {
    pub(crate) fn push(&mut self, stream: OutputStream, mut bytes: &[u8]) -> Vec<LogLine> {
        let pending = match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        };
        let mut lines = Vec::new();
        while !bytes.is_empty() {
            let room = MAX_LINE_BYTES - pending.len();
            let end = bytes.iter().take(room).position(|byte| *byte == b'\n');
            if let Some(end) = end {
                let (line, rest) = bytes.split_at(end);
                pending.extend_from_slice(line);
                lines.push(line_of(stream, pending, true));
                pending.clear();
                bytes = rest.get(1..).unwrap_or_default();
            } else {
                let (piece, rest) = bytes.split_at(room.min(bytes.len()));
                pending.extend_from_slice(piece);
                bytes = rest;
                if pending.len() == MAX_LINE_BYTES {
                    let rest = pending.split_off(end_of_last_character(pending));
                    lines.push(line_of(stream, pending, false));
                    *pending = rest;
                }
            }
        }
        lines
    }

    pub(crate) fn finish(&mut self) -> Vec<LogLine> {
        [
            (OutputStream::Stdout, std::mem::take(&mut self.stdout)),
            (OutputStream::Stderr, std::mem::take(&mut self.stderr)),
        ]
        .into_iter()
        .filter(|(_, pending)| !pending.is_empty())
        .map(|(stream, pending)| line_of(stream, &pending, false))
        .collect()
    }
}

fn line_of(stream: OutputStream, bytes: &[u8], complete: bool) -> LogLine {
    let bytes = if complete {
        bytes.strip_suffix(b"\r").unwrap_or(bytes)
    } else {
        bytes
    };
    LogLine {
        stream,
        text: String::from_utf8_lossy(bytes).into_owned(),
        complete,
    }
}

/// Where to cut so that no UTF-8 character is torn; a character has at most four bytes.
fn end_of_last_character(bytes: &[u8]) -> usize {
    let is_inside = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
    let torn = bytes
        .iter()
        .rev()
        .take(3)
        .take_while(|b| is_inside(b))
        .count();
    let lead = bytes.len() - torn;
    let width = match lead.checked_sub(1).and_then(|at| bytes.get(at)) {
        Some(byte) if byte & 0b1110_0000 == 0b1100_0000 => 2,
        Some(byte) if byte & 0b1111_0000 == 0b1110_0000 => 3,
        Some(byte) if byte & 0b1111_1000 == 0b1111_0000 => 4,
        Some(_) | None => return bytes.len(),
    };
    if torn + 1 == width {
        bytes.len()
    } else {
        lead - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    fn texts(lines: &[LogLine]) -> Vec<(&str, bool)> {
        lines
            .iter()
            .map(|line| (line.text.as_str(), line.complete))
            .collect()
    }

    #[test]
    fn pieces_are_joined_per_stream() {
        let mut lines = Lines::default();
        assert!(lines.push(OutputStream::Stdout, b"one, ").is_empty());
        assert!(lines.push(OutputStream::Stderr, b"err ").is_empty());
        let seen = lines.push(OutputStream::Stdout, b"still one\ntwo\r\nthr");
        assert_eq!(texts(&seen), [("one, still one", true), ("two", true)]);
        let seen = lines.push(OutputStream::Stderr, b"first\n");
        assert_eq!(texts(&seen), [("err first", true)]);
        assert_eq!(texts(&lines.finish()), [("thr", false)]);
        assert!(lines.finish().is_empty());
    }

    #[test]
    fn empty_lines_are_lines() {
        let seen = Lines::default().push(OutputStream::Stdout, b"\n\na\n");
        assert_eq!(texts(&seen), [("", true), ("", true), ("a", true)]);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced() {
        let seen = Lines::default().push(OutputStream::Stdout, b"a\xffb\n");
        assert_eq!(texts(&seen), [("a\u{fffd}b", true)]);
    }

    #[test]
    fn a_long_line_comes_in_pieces_and_no_character_is_torn() {
        let line = "€".repeat(MAX_LINE_BYTES) + "\n";
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for chunk in line.as_bytes().chunks(16 * 1024) {
            seen.extend(lines.push(OutputStream::Stdout, chunk));
        }
        assert!(lines.finish().is_empty());
        assert!(seen.len() > 1);
        assert!(seen.iter().all(|piece| piece.text.len() <= MAX_LINE_BYTES));
        let (last, pieces) = seen.split_last().unwrap();
        assert!(last.complete && pieces.iter().all(|piece| !piece.complete));
        let joined: String = seen.iter().map(|piece| piece.text.as_str()).collect();
        assert_eq!(joined + "\n", line);
    }

    proptest! {
        #[test]
        fn text_is_the_same_however_it_is_cut(
            text in "[a-z€𝄞\n]{0,200}",
            cuts in prop::collection::vec(1usize..20, 1..50),
        ) {
            let mut lines = Lines::default();
            let mut rest = text.as_bytes();
            let mut seen = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                seen.extend(lines.push(OutputStream::Stderr, piece));
                rest = after;
            }
            seen.extend(lines.finish());
            let joined: String = seen
                .iter()
                .map(|line| line.text.clone() + if line.complete { "\n" } else { "" })
                .collect();
            prop_assert_eq!(joined, text);
        }
    }
}
