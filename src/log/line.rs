//! Bytes of charon's output as bounded, clean lines; a line as level, topic, message and fields.
//!
//! charon writes one of three formats (`app/log/config.go`): console (the default), json and logfmt. Before its
//! flags are parsed it always writes coloured console lines, so one stream may hold two formats. What it prints
//! contains text chosen by peers and relays, so nothing of it is trusted: lines are bounded, and everything that
//! could steer a terminal is removed before anything else looks at it.

use std::fmt;

use charon_files::text::clean;

/// Longest line that is kept; the rest of a longer one is dropped. charon's longest regular line, `Parsed config`,
/// stays under 2 KiB.
pub const MAX_LINE_BYTES: usize = 16 * 1024;

/// Most fields that are kept of one line; charon's `Parsed config` has about 30.
const MAX_FIELDS: usize = 64;

/// How many places of a console line are tried as the start of its JSON fields, since the message before them may
/// itself contain braces.
const MAX_FIELD_STARTS: usize = 16;

/// How libp2p lists the addresses that it could not dial, and why, in an error of several lines
/// (go-libp2p `p2p/net/swarm`, `DialError.Error`). charon's fields come after the last of them.
pub(crate) const DIALLED: &str = "  * [";

/// How the line before such a list ends: with the colon up to charon v0.17.
const BEFORE_DIALLED: [&str; 2] = [":", "all dials failed"];

/// Most reasons that are kept of such a list; there are as many addresses as a relay likes to have.
const MAX_REASONS: usize = 4;

/// Cuts a stream of bytes into clean lines, holding at most two of [`MAX_LINE_BYTES`] each.
///
/// An error that lists dialled addresses becomes one line, with the reasons and its fields.
#[derive(Debug, Default)]
pub struct LineBuffer {
    pending: Vec<u8>,
    /// A line that such a list may follow.
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    line: String,
    reasons: Vec<String>,
}

impl Held {
    /// The line with the reasons, and `fields` behind it.
    fn whole(self, fields: &str) -> String {
        if self.reasons.is_empty() {
            return self.line + fields;
        }
        let line = self.line.trim_end_matches(':');
        format!("{line}: {}{fields}", self.reasons.join("; "))
    }
}

impl LineBuffer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the stream and gives the lines that they complete, [cleaned](clean).
    pub fn push(&mut self, chunk: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end);
            self.keep(line);
            let line = self.take();
            self.join(line, &mut lines);
            rest = after.get(1..).unwrap_or_default();
        }
        self.keep(rest);
        lines
    }

    /// What the stream ended with: a line without a line break, and one that was held back.
    pub fn finish(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.pending.is_empty() {
            let line = self.take();
            self.join(line, &mut lines);
        }
        lines.extend(self.held.take().map(|held| held.whole("")));
        lines
    }

    fn join(&mut self, line: String, lines: &mut Vec<String>) {
        let Some(mut held) = self.held.take() else {
            if BEFORE_DIALLED.iter().any(|end| line.ends_with(end)) {
                let reasons = Vec::new();
                self.held = Some(Held { line, reasons });
            } else {
                lines.push(line);
            }
            return;
        };
        let Some((_, listed)) = line
            .trim_start()
            .strip_prefix(DIALLED.trim_start())
            .and_then(|rest| rest.split_once("] "))
        else {
            lines.push(held.whole(""));
            self.join(line, lines);
            return;
        };
        let (message, fields) = split_fields(listed);
        let reason = message.trim_end().to_owned();
        if held.reasons.len() < MAX_REASONS && !held.reasons.contains(&reason) {
            held.reasons.push(reason);
        }
        if fields.is_empty() {
            self.held = Some(held);
        } else {
            lines.push(held.whole(listed.split_at(message.len()).1));
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_LINE_BYTES.saturating_sub(self.pending.len());
        self.pending
            .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    fn take(&mut self) -> String {
        let line = clean(&String::from_utf8_lossy(&self.pending));
        self.pending.clear();
        line
    }
}

/// How much a line of charon weighs, in its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `DEBG`, `debug`: shown only with `--log-level debug`.
    Debug,
    /// `INFO`, `info`.
    Info,
    /// `WARN`, `warn`: "does not require any action" (`app/log/log.go`).
    Warn,
    /// `ERRO`, `error`, and zap's panic and fatal levels, which charon never uses itself.
    Error,
}

impl Level {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "DEBG" | "debug" => Some(Self::Debug),
            "INFO" | "info" => Some(Self::Info),
            "WARN" | "warn" => Some(Self::Warn),
            "ERRO" | "error" | "PNIC" | "panic" | "dpanic" | "FATL" | "fatal" => Some(Self::Error),
            _ => None,
        }
    }
}

/// A time of day on the clock of charon's container, without date or zone, in milliseconds since midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClockTime(u32);

/// One day, in milliseconds.
pub(crate) const DAY_MILLIS: u32 = 24 * 60 * 60 * 1000;

impl ClockTime {
    /// Reads `HH:MM:SS.mmm`; more digits of the fraction are dropped, fewer are filled up.
    pub fn parse(text: &str) -> Option<Self> {
        let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
        let mut parts = clock.split(':');
        let mut part = |limit: u32| {
            let digits = parts.next().filter(|part| part.len() == 2)?;
            digits.parse::<u32>().ok().filter(|value| *value < limit)
        };
        let (hours, minutes, seconds) = (part(24)?, part(60)?, part(61)?);
        if parts.next().is_some() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let millis: u32 = format!("{fraction:0<3.3}").parse().ok()?;
        let total = ((hours * 60 + minutes) * 60 + seconds) * 1000 + millis;
        Some(Self(total % DAY_MILLIS))
    }

    /// Milliseconds since midnight, less than one day.
    pub const fn millis(self) -> u32 {
        self.0
    }
}

/// One structured line of charon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When charon wrote it, on its own clock.
    pub clock: Option<ClockTime>,
    /// How much it weighs.
    pub level: Level,
    /// `cmd`, `dkg`, `p2p`, `relay` and so on; console lines cut it at ten characters.
    pub topic: String,
    /// The message; for warnings and errors followed by `: ` and the chain of errors.
    pub message: String,
    /// The fields in the order of the line, strings without quotes, all else as JSON.
    pub fields: Vec<(String, String)>,
}

impl Entry {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for (key, value) in &self.fields {
            write!(f, " {key}={value}")?;
        }
        Ok(())
    }
}

/// What one clean line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A structured line.
    Entry(Entry),
    /// A line of the stack that follows an error, indented by a tab.
    Stack,
    /// Anything else: cobra's plain `Error: …` and usage, a Go panic, a loader's complaint, the rest of a
    /// message that contains line breaks.
    Text(String),
}

impl Line {
    /// Reads one line that has been [cleaned]. Never fails: what is not understood is [`Line::Text`].
    pub fn parse(line: &str) -> Self {
        if line.starts_with('\t') {
            return Self::Stack;
        }
        let entry = if line.starts_with('{') {
            parse_json(line)
        } else if line.starts_with("ts=") {
            parse_logfmt(line)
        } else {
            parse_console(line)
        };
        entry.map_or_else(|| Self::Text(line.trim_end().to_owned()), Self::Entry)
    }
}

/// `HH:MM:SS.mmm LEVL topic      message {"field": "value"}` (`app/log/config.go`, consoleEncoder).
fn parse_console(line: &str) -> Option<Entry> {
    let (clock, rest) = line.split_once(' ')?;
    let clock = ClockTime::parse(clock)?;
    let (level, rest) = rest.split_once(' ')?;
    let level = Level::parse(level)?;
    let (topic, rest) = rest.split_at_checked(10)?;
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    let (message, fields) = split_fields(rest);
    Some(Entry {
        clock: Some(clock),
        level,
        topic: topic.trim_end().to_owned(),
        message: message.trim_end().to_owned(),
        fields,
    })
}

/// Splits the JSON object at the end of a console line from the message before it.
fn split_fields(rest: &str) -> (&str, Vec<(String, String)>) {
    if rest.trim_end().ends_with('}') {
        for (at, _) in rest.match_indices(" {\"").take(MAX_FIELD_STARTS) {
            let (message, object) = rest.split_at(at);
            if let Some(fields) = parse_object(object) {
                return (message, fields);
            }
        }
    }
    (rest, Vec::new())
}

fn parse_object(text: &str) -> Option<Vec<(String, String)>> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    let fields = object.into_iter().take(MAX_FIELDS);
    Some(
        fields
            .map(|(key, value)| (clean(&key), clean(&plain(value))))
            .collect(),
    )
}

fn plain(value: serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text,
        other @ (serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::Array(_)
        | serde_json::Value::Object(_)) => other.to_string(),
    }
}

/// zap's production JSON: `level`, `ts`, `caller`, `msg`, the fields, `topic`, `stacktrace`.
fn parse_json(line: &str) -> Option<Entry> {
    structured(parse_object(line)?)
}

/// zap-logfmt: `ts=… level=… caller=… msg="…" key=value topic=… pretty="…"`.
fn parse_logfmt(line: &str) -> Option<Entry> {
    let mut fields = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() && fields.len() < MAX_FIELDS {
        let (key, after) = rest.split_once('=')?;
        let (value, after) = if after.starts_with('"') {
            let end = closing_quote(after)?;
            let (quoted, after) = after.split_at(end);
            (serde_json::from_str::<String>(quoted).ok()?, after)
        } else {
            let (bare, after) = after.split_at(after.find(' ').unwrap_or(after.len()));
            (bare.to_owned(), after)
        };
        fields.push((key.trim().to_owned(), clean(&value)));
        rest = after.trim_start();
    }
    structured(fields)
}

/// The length of the quoted string at the start of `text`, both quotes included.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// An entry from the fields of a json or logfmt line.
fn structured(all: Vec<(String, String)>) -> Option<Entry> {
    let (mut clock, mut level, mut message) = (None, None, None);
    let mut topic = String::new();
    let mut fields = Vec::new();
    for (key, value) in all {
        match key.as_str() {
            "level" => level = Level::parse(&value),
            "ts" => {
                let time = value
                    .split_once('T')
                    .map_or(value.as_str(), |(_, time)| time);
                let end = time.find(['Z', '+', '-']).unwrap_or(time.len());
                clock = time.get(..end).and_then(ClockTime::parse);
            }
            "msg" => message = Some(value),
            "topic" => topic = value,
            "caller" | "stacktrace" | "pretty" => {}
            _ => fields.push((key, value)),
        }
    }
    Some(Entry {
        clock,
        level: level?,
        topic,
        message: message?.trim_end().to_owned(),
        fields,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(line: &str) -> Entry {
        match Line::parse(&clean(line)) {
            Line::Entry(entry) => entry,
            other @ (Line::Stack | Line::Text(_)) => panic!("not an entry: {other:?}"),
        }
    }

    #[test]
    fn a_list_of_dialled_addresses_becomes_part_of_its_line() {
        let list = "  * [/ip4/1.2.3.4/tcp/1/p2p-circuit] error opening relay circuit: NO_RESERVATION (204)\n  * [/ip4/1.2.3.5/tcp/1/p2p-circuit] dial backoff\n  * [/ip4/1.2.3.6/tcp/1/p2p-circuit] dial backoff";
        let reasons = "error opening relay circuit: NO_RESERVATION (204); dial backoff";
        for (first, joined) in [
            ("failed to dial 16U:", "failed to dial 16U: "),
            (
                "failed to dial 16U: all dials failed",
                "failed to dial 16U: all dials failed: ",
            ),
        ] {
            for (fields, peer) in [
                (" {\"peer\": \"proud-ring\"}", Some("proud-ring")),
                ("", None),
            ] {
                let text = format!(
                    "18:00:00.000 ERRO dkg        {first}\n{list}{fields}\n\tmain.go:1 .main\n"
                );
                let mut buffer = LineBuffer::new();
                let lines = buffer.push(text.as_bytes());
                assert_eq!(lines.len(), 2, "{lines:?}");
                let entry = entry(&lines[0]);
                assert_eq!(entry.message, joined.to_owned() + reasons);
                assert_eq!(entry.field("peer"), peer);
                assert_eq!(Line::parse(&lines[1]), Line::Stack);
            }
        }
    }

    #[test]
    fn clock_times_are_read_strictly() {
        assert_eq!(
            ClockTime::parse("00:00:01.5").map(ClockTime::millis),
            Some(1500)
        );
        assert_eq!(
            ClockTime::parse("23:59:59.999999999").map(ClockTime::millis),
            Some(DAY_MILLIS - 1)
        );
        for bad in [
            "24:00:00",
            "1:00:00",
            "00:00",
            "00:00:00:00",
            "00:00:0x",
            "00:00:00.x",
            "",
        ] {
            assert_eq!(ClockTime::parse(bad), None, "{bad}");
        }
    }
}
