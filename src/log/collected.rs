//! Charon's lines out of what log collectors made of them.
//!
//! Two things are undone. **Records**: a collector that writes a document for each line, as journald (`-o json` and its kin,
//! `verbose`, `export`) and docker (`json-file`, `local`) do. **Heads**: what is put before each line, such as a time, a host or
//! the name of a container. A head is not looked up in a list: it is what comes before charon's own lines, in the same shape,
//! again and again. So a line of another program that repeats one of charon's is not taken for charon's.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use charon_files::text::clean;
use serde_json::{Deserializer, Map, Value};

use crate::line::{ClockTime, DAY_MILLIS, Line};

/// How journald says that it left a line out: its text modes because of control characters, `-o json` (as null) because of
/// its length. `--all` makes both write it.
const LEFT_OUT: &str = "blob data]";

/// Longest head, in bytes.
const MAX_HEAD: usize = 512;

/// A collector may hand over what another one collected.
const MAX_HEADS: usize = 3;

/// How often a head must be before charon's lines, and before which part of them.
const MIN_LINES: usize = 2;
const MIN_SHARE: usize = 4;

/// How lines begin where charon ends before it logs: in cobra's words, or Go's.
const WITHOUT_ENTRIES: [&str; 5] = ["Error: ", "Usage:", "Flags:", "panic: ", "goroutine "];

/// Fields that hold the line in a collector's documents: journald's, docker's and fluentd's, Loki's, and stern's and many others'.
const FIELDS: [&str; 4] = ["MESSAGE", "log", "line", "message"];

/// Escapes as some collectors show them (rsyslog, `cat -v` and `less`, strings of shells), and what they stand for.
const SHOWN: [(&str, &str); 5] = [
    ("#033[", "\u{1b}["),
    ("#011", "\t"),
    ("^[[", "\u{1b}["),
    ("ESC[", "\u{1b}["),
    ("\\x1b[", "\u{1b}["),
];

/// What a collector held.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// The lines without what was around them.
    pub(crate) text: String,
    /// How many of them are charon's structured lines.
    pub(crate) entries: usize,
    /// How many lines the collector left out.
    pub(crate) left_out: usize,
    /// How many are neither understood nor plainly another program's.
    pub(crate) strange: usize,
    /// Whether there were records.
    pub(crate) records: bool,
}

impl Collected {
    pub(crate) fn read(output: &[u8]) -> Self {
        let (text, records) = opened(output);
        let lines: Vec<String> = text.lines().map(shown).collect();
        let heads = Heads::learn(&lines);
        let mut collected = Self {
            records,
            ..Self::default()
        };
        let mut inner = Vec::with_capacity(lines.len());
        let mut clocks = Vec::new();
        for line in &lines {
            let (line, is_others) = heads.off(line);
            collected.count(line, is_others, &mut clocks);
            inner.push(line);
        }
        let starts_with_a_stack = || {
            let first = inner.iter().find(|line| is_entry(line) || is_stack(line));
            first.is_some_and(|line| is_stack(line))
        };
        let order = order(&clocks);
        if order.is_gt() || order.is_eq() && starts_with_a_stack() {
            inner.reverse();
        }
        for line in inner {
            collected.text.push_str(line);
            collected.text.push('\n');
        }
        collected
    }

    fn count(&mut self, line: &str, is_others: bool, clocks: &mut Vec<ClockTime>) {
        if line.starts_with('[') && line.trim_end().ends_with(LEFT_OUT) {
            self.left_out += 1;
            return;
        }
        match Line::parse(line) {
            Line::Entry(entry) => {
                self.entries += 1;
                clocks.extend(entry.clock);
            }
            Line::Stack => {}
            // A tab, as journald shows it, and what is indented anyway.
            Line::Text(text) if is_others || text.is_empty() || text.starts_with("  ") => {}
            Line::Text(_) => self.strange += 1,
        }
    }
}

/// Whether there are more steps back in time than forward, as in what `journalctl --reverse`, Loki and Grafana give. Midnight is no step back.
fn order(clocks: &[ClockTime]) -> Ordering {
    let (mut back, mut forward) = (0_usize, 0_usize);
    for (earlier, later) in clocks.iter().zip(clocks.iter().skip(1)) {
        match (later.millis() + DAY_MILLIS - earlier.millis()) % DAY_MILLIS {
            0 => {}
            step if step > DAY_MILLIS / 2 => back += 1,
            _ => forward += 1,
        }
    }
    back.cmp(&forward)
}

/// Whether a line is part of the stack that follows an error.
fn is_stack(line: &str) -> bool {
    line.starts_with(['\t', ' ']) && line.contains(".go:")
}

/// A clean line, without escapes that were made visible.
fn shown(line: &str) -> String {
    let mut line = clean(line);
    for (shown, meant) in SHOWN {
        if line.contains(shown) {
            line = clean(&line.replace(shown, meant));
        }
    }
    line
}

/// Records as lines, each with its source before it if the record names one; and whether there were any.
fn opened(output: &[u8]) -> (String, bool) {
    let mut text = String::with_capacity(output.len());
    let mut found = false;
    let mut rest = output;
    while !rest.is_empty() {
        let record = from_json(rest)
            .or_else(|| from_journal(rest))
            .or_else(|| from_local(rest));
        if let Some((lines, after)) = record {
            text.push_str(&lines);
            found = true;
            // Some forms part their records by a blank line.
            rest = after.strip_prefix(b"\n").unwrap_or(after);
        } else {
            let (line, after) = next_line(rest);
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
            rest = after;
        }
    }
    (text, found)
}

fn next_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (line, after) = bytes.split_at(end.unwrap_or(bytes.len()));
    (line, after.get(1..).unwrap_or_default())
}

/// A JSON object on one line or several, also as an event (`json-sse`), behind a record separator (`json-seq`) or in a list.
fn from_json(bytes: &[u8]) -> Option<(String, &[u8])> {
    let start = bytes.strip_prefix(b"data: ").unwrap_or(bytes);
    let around = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | 0x1e | b'[' | b',' | b']');
    let start = start.get(start.iter().position(|byte| !around(byte))?..)?;
    start.strip_prefix(b"{")?;
    let mut values = Deserializer::from_slice(start).into_iter::<Map<String, Value>>();
    let object = values.next()?.ok()?;
    let (line, after) = next_line(start.get(values.byte_offset()..)?);
    // charon's own JSON.
    let is_entry = object.contains_key("level") && object.contains_key("msg");
    if is_entry || !line.iter().all(around) {
        return None;
    }
    let message = FIELDS.iter().find_map(|name| object.get(*name))?;
    let message = match message {
        Value::String(text) => text.clone(),
        Value::Null => format!("[{LEFT_OUT}"),
        // How journald writes what holds control characters, as colours do.
        Value::Array(bytes) => {
            let byte = |value: &Value| u8::try_from(value.as_u64()?).ok();
            let bytes: Vec<u8> = bytes.iter().map(byte).collect::<Option<_>>()?;
            String::from_utf8_lossy(&bytes).into_owned()
        }
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => return None,
    };
    let field = |name: &str| object.get(name).and_then(Value::as_str);
    Some((headed(field, &message), after))
}

/// One entry of `journalctl -o export` or `-o verbose`.
fn from_journal(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (first, after) = next_line(bytes);
    let (indent, mut rest): (&[u8], _) = if first.starts_with(b"__CURSOR=") {
        (b"", after)
    } else if first.windows(4).any(|bytes| bytes == b" [s=") && after.starts_with(b"    ") {
        (b"    ", after)
    } else {
        return None;
    };
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let (line, after) = next_line(rest);
        let Some(line) = line.strip_prefix(indent).filter(|line| !line.is_empty()) else {
            break;
        };
        rest = after;
        let end = line.iter().position(|byte| *byte == b'=');
        let (name, value) = line.split_at(end.unwrap_or(line.len()));
        let is_name = |byte: &u8| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_');
        if !name.iter().all(is_name) {
            continue;
        }
        let value = if let Some(value) = value.strip_prefix(b"=") {
            value
        } else {
            // With its length before it, since it is not plain text.
            let (length, data) = rest.split_first_chunk::<8>()?;
            let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
            let (value, after) = data.split_at_checked(length)?;
            rest = after.strip_prefix(b"\n")?;
            value
        };
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        fields.insert(text(name), text(value));
    }
    let field = |name: &str| fields.get(name).map(String::as_str);
    Some((headed(field, field("MESSAGE")?), rest))
}

/// The lines of a message as `journalctl` shows them, without a time; or as they are, if the record names no source.
fn headed<'a>(field: impl Fn(&str) -> Option<&'a str>, message: &str) -> String {
    let source = field("SYSLOG_IDENTIFIER").or_else(|| field("_COMM"));
    let head = source.map_or_else(String::new, |source| {
        format!("journal {source}[{}]: ", field("_PID").unwrap_or("0"))
    });
    let message = message.strip_suffix('\n').unwrap_or(message);
    let lines = message.split('\n').map(|line| format!("{head}{line}\n"));
    lines.collect()
}

/// One entry of docker's `local` files: its length, a protocol buffer in which field 3 is the line, and its length again.
fn from_local(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (mut entry, rest) =
        rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let rest = rest.strip_prefix(length)?;
    while let Some((key, after)) = entry.split_first() {
        let (number, after) = varint(after)?;
        // 0 is a number, 2 are bytes.
        entry = if key & 7 == 2 {
            let (value, after) = after.split_at_checked(number)?;
            if key >> 3 == 3 {
                return Some((String::from_utf8_lossy(value).into_owned() + "\n", rest));
            }
            after
        } else {
            after
        };
    }
    None
}

fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let end = bytes.iter().take(10).position(|byte| byte & 0x80 == 0)?;
    let (number, rest) = bytes.split_at(end + 1);
    let bits = number.iter().rev();
    let number = bits.fold(0_u64, |sum, byte| sum << 7 | u64::from(byte & 0x7f));
    Some((usize::try_from(number).ok()?, rest))
}

/// Heads that are before charon's lines, by their shape, with the blanks after them.
#[derive(Debug)]
pub(crate) struct Heads(BTreeMap<String, String>);

impl Heads {
    pub(crate) fn learn(lines: &[String]) -> Self {
        let starts = lines.iter().map(|line| (line, entry_start(line)));
        let starts: Vec<_> = starts.filter_map(|(line, at)| Some((line, at?))).collect();
        let starts = if starts.is_empty() {
            let starts = lines.iter().map(|line| (line, other_start(line)));
            starts.filter_map(|(line, at)| Some((line, at?))).collect()
        } else {
            starts
        };
        let all = starts.len();
        let mut shapes: BTreeMap<(String, &str), usize> = BTreeMap::new();
        for (line, at) in starts {
            let (head, _) = line.split_at(at);
            let (_, blanks) = head.split_at(head.trim_end().len());
            let last = shapes_of(head.trim_end()).last();
            if let Some((_, shape)) = last {
                *shapes.entry((shape, blanks)).or_default() += 1;
            }
        }
        // A head of a log with a single such line has to be before most of the others too.
        let of_most = |shape: &str, blanks: &str| {
            let head = Self(BTreeMap::from([(shape.to_owned(), blanks.to_owned())]));
            let lines = lines.iter().filter(|line| !line.trim().is_empty());
            let (with, without): (Vec<_>, Vec<_>) =
                lines.partition(|line| head.rest(line).is_some());
            with.len() >= without.len()
        };
        let heads = shapes.into_iter().filter(|((shape, blanks), count)| {
            if all == 1 {
                of_most(shape, blanks)
            } else {
                *count >= MIN_LINES && count * MIN_SHARE >= all
            }
        });
        Self(
            heads
                .map(|((shape, blanks), _)| (shape, blanks.to_owned()))
                .collect(),
        )
    }

    /// What comes after one of the heads.
    fn rest<'a>(&self, line: &'a str) -> Option<&'a str> {
        let longest = self.0.keys().map(String::len).max()?;
        let shapes = shapes_of(line).take_while(|(_, shape)| shape.len() <= longest);
        let rests = shapes.filter_map(|(end, shape)| {
            let blanks = self.0.get(&shape)?;
            let (_, rest) = line.split_at(end);
            rest.strip_prefix(blanks.as_str())
                .or_else(|| rest.trim().is_empty().then_some(""))
        });
        rests.last()
    }

    /// A line without its head, and whether it is plainly another program's.
    pub(crate) fn off<'a>(&self, line: &'a str) -> (&'a str, bool) {
        if is_entry(line) {
            return (line, false);
        }
        if let Some(rest) = self.rest(line) {
            return (rest, false);
        }
        let mut inner = line;
        for _ in 0..MAX_HEADS {
            if is_entry(inner) {
                break;
            }
            let next = stamped(inner)
                .or_else(|| composed(inner))
                .or_else(|| journald(inner));
            inner = next.unwrap_or(inner);
        }
        if self.0.is_empty() || is_entry(inner) {
            (inner, false)
        } else {
            (line, inner != line)
        }
    }
}

fn is_entry(line: &str) -> bool {
    matches!(Line::parse(line), Line::Entry(_))
}

/// Where one of charon's structured lines begins.
fn entry_start(line: &str) -> Option<usize> {
    start(line, |rest| {
        let is_log = rest.starts_with("{\"") || rest.starts_with("ts=");
        // Other programs write a time and the same levels; charon's topic is one word in ten columns.
        let is_console = || {
            let topic = rest.get(..29)?.splitn(3, ' ').nth(2)?.strip_suffix(' ')?;
            let is_part =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
            topic.trim_end().chars().all(is_part).then_some(())
        };
        (is_log || is_console().is_some()) && is_entry(rest)
    })
}

/// Where the text begins with which charon ends before it logs.
fn other_start(line: &str) -> Option<usize> {
    start(line, |rest| {
        WITHOUT_ENTRIES.iter().any(|words| rest.starts_with(words))
    })
}

/// The first place of a line, at its start or after a mark or blank, with this behind it.
fn start(line: &str, is_start: impl Fn(&str) -> bool) -> Option<usize> {
    let mut before = ' ';
    for (at, c) in line.char_indices().take_while(|(at, _)| *at <= MAX_HEAD) {
        let begins = !c.is_whitespace() && (before.is_whitespace() || "]|>".contains(before));
        if begins && is_start(line.split_at(at).1) {
            return Some(at);
        }
        before = c;
    }
    None
}

/// The shapes of how a line begins, each with its end: digits are any digits, blanks any blanks, and months, days and the two
/// output streams are any of their kind.
fn shapes_of(line: &str) -> impl Iterator<Item = (usize, String)> {
    let mut shape = String::new();
    let mut end = 0;
    std::iter::from_fn(move || {
        let rest = line.get(end..).filter(|_| end <= MAX_HEAD)?;
        let first = rest.chars().next()?;
        let kind = |c: char| match c {
            _ if c.is_ascii_digit() => 0,
            _ if c.is_whitespace() => 1,
            _ if c.is_alphabetic() => 2,
            _ => 3,
        };
        let length = if kind(first) == 3 {
            first.len_utf8()
        } else {
            rest.find(|c| kind(c) != kind(first)).unwrap_or(rest.len())
        };
        let (word, _) = rest.split_at(length);
        end += length;
        shape.push_str(match (kind(first), word) {
            (0, _) => "0",
            (1, _) => " ",
            (_, "stdout" | "stderr") => "std",
            (_, "Mon" | "Tue" | "Wed" | "Thu" | "Fri" | "Sat" | "Sun") => "Day",
            (
                _,
                "Jan" | "Feb" | "Mar" | "Apr" | "May" | "Jun" | "Jul" | "Aug" | "Sep" | "Oct"
                | "Nov" | "Dec",
            ) => "Month",
            (_, word) => word,
        });
        Some((end, shape.clone()))
    })
}

/// `2026-11-27T22:35:43.123Z …`, with `stderr F ` or `stdout F ` behind it in Kubernetes' files.
fn stamped(line: &str) -> Option<&str> {
    let (stamp, rest) = line.split_once(' ')?;
    stamp.parse::<jiff::Timestamp>().ok()?;
    let files = ["stderr F ", "stdout F "];
    let inner = files.iter().find_map(|mark| rest.strip_prefix(mark));
    Some(inner.unwrap_or(rest))
}

/// `Nov 27 22:35:43 host charon[123]: …`, with any form of time or none; with `[    4.127 <    0.002 >]` there are seven words.
fn journald(line: &str) -> Option<&str> {
    let (head, rest) = line
        .split_once("]: ")
        .or_else(|| Some((line.strip_suffix("]:")?, "")))?;
    let (head, pid) = head.rsplit_once('[')?;
    let words = head.split_whitespace().count();
    let is_source = (2..=7).contains(&words) && !head.ends_with(' ');
    (is_source && pid.parse::<u32>().is_ok()).then_some(rest)
}

/// `charon-1  | …`, in brackets (podman-compose) or with the node behind it (`docker service logs`).
fn composed(line: &str) -> Option<&str> {
    let (name, rest) = line
        .split_once(" | ")
        .or_else(|| Some((line.strip_suffix(" |")?, "")))?;
    let name = name.trim_end();
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.@[]".contains(c);
    (!name.is_empty() && name.chars().all(is_name)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: [&str; 9] = [
        r#"18:23:54.518 INFO dkg        Connected to peer 3 of 3                 {"peer": "a"}"#,
        r#"{"level":"info","ts":"2026-11-22T18:23:54.518820076Z","msg":"Connected to peer 3 of 3"}"#,
        r#"ts=2026-11-22T18:23:54.518820076Z level=info msg="Connected to peer 3 of 3" topic=dkg"#,
        "\tdkg/dkg.go:226 .Run",
        "  * [/ip4/1.2.3.4/tcp/1] dial backoff",
        "Error: unknown flag: --x",
        "panic: runtime error: index out of range [4] with length 4",
        "18:23:55.518 INFO dkg        a[1]: b | c",
        "",
    ];

    /// Heads of collectors, as printf would make them of the number of a line.
    fn heads(line: usize) -> Vec<String> {
        vec![
            "charon-1  | ".to_owned(),
            "\u{1b}[36mmy_charon_1    |\u{1b}[0m ".to_owned(),
            "[charon] | ".to_owned(),
            "dv_charon.1.x2k0q1@node    | ".to_owned(),
            format!("charon-1  | 2026-11-27T22:35:{line:02}.123456789Z "),
            "host charon[123]: ".to_owned(),
            format!("Nov {line:2} 22:35:43 host charon[123]: "),
            format!("2026-11-27T22:35:{line:02}+0000 host dockerd[9]: "),
            format!("[    4.{line:06} <    0.002000 >] host charon[1]: "),
            format!("Nov 27 22:35:{line:02} host compose[7]: charon-1  | "),
            format!("Nov 27 22:35:{line:02} host charon: "),
            format!("2026-11-27T22:35:43.{line:03}Z "),
            format!(
                "2026-11-27T22:35:43.{line:03}Z std{} F ",
                if line.is_multiple_of(2) { "out" } else { "err" }
            ),
            format!(
                "<30>1 2026-11-27T22:35:43.{line:03}Z host charon 123 - [a b=\"c d\"] \u{feff}"
            ),
            format!("<30>Nov 27 22:35:{line:02} host charon[123]: "),
            "[pod/charon-0/charon] ".to_owned(),
            format!("[pod/charon-0/charon] 2026-11-27T22:35:43.{line:03}Z "),
            "charon-0 charon ".to_owned(),
            format!("2026-11-27T22:35:{line:02}Z {{job=\"charon\", stream=\"stderr\"}} "),
        ]
    }

    fn read(text: &str) -> Vec<String> {
        let read = Collected::read(text.as_bytes());
        read.text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_head_that_is_before_every_line_is_taken_off() {
        for kind in 0..heads(0).len() {
            let lines = BARE.iter().enumerate();
            let text: String = lines
                .map(|(number, line)| format!("{}{line}\r\n", heads(number)[kind]))
                .collect();
            assert_eq!(read(&text), BARE, "{text}");
        }
    }

    #[test]
    fn records_are_opened() {
        let json = |line: &str| Value::from(line).to_string();
        let bytes = |line: &str| format!("{:?}", line.as_bytes());
        let wraps: [&dyn Fn(&str) -> String; 7] = [
            &|line| {
                format!(
                    r#"{{"log":{},"stream":"stderr","time":"2026-11-27T22:35:43.1Z"}}"#,
                    json(&format!("{line}\n"))
                )
            },
            &|line| {
                format!(
                    r#"{{"__CURSOR":"s=1","MESSAGE":{},"_PID":"1"}}"#,
                    json(line)
                )
            },
            &|line| {
                format!(
                    r#"data: {{"MESSAGE":{},"_PID":"1"}}{}"#,
                    bytes(&format!("\u{1b}[0m{line}")),
                    "\n"
                )
            },
            &|line| {
                format!(
                    "\u{1e}{{\"MESSAGE\":{},\n\t\"_COMM\" : \"x\"\n}}",
                    json(line)
                )
            },
            &|line| {
                format!(
                    r#"{{"labels":{{}},"line":{},"timestamp":"2026-11-27T22:35:43Z"}}"#,
                    json(line)
                )
            },
            &|line| format!("__CURSOR=s=1\n_COMM=charon\nMESSAGE={line}\n"),
            &|line| {
                format!(
                    "Fri 2026-11-27 22:33:44.125000 UTC [s=1;i=1]\n    _COMM=charon\n    MESSAGE={line}"
                )
            },
        ];
        for wrap in wraps {
            let text: String = BARE.iter().map(|line| wrap(line) + "\n").collect();
            let lines = read(&text);
            assert_eq!(lines, BARE, "{text}");
        }
        let mut local = Vec::new();
        for line in BARE {
            let mut entry = b"\x0a\x06stderr\x10\x80\xd2\x93\xad\x03\x1a".to_vec();
            entry.push(u8::try_from(line.len()).unwrap());
            entry.extend(line.as_bytes());
            let length = u32::try_from(entry.len()).unwrap().to_be_bytes();
            local.extend([&length[..], &entry, &length].concat());
        }
        let local = Collected::read(&local);
        assert_eq!(local.text.lines().collect::<Vec<_>>(), BARE);
    }

    #[test]
    fn one_line_is_enough_behind_a_well_known_head() {
        for line in BARE {
            for head in [
                "charon-1  | ",
                "host charon[123]: ",
                "Nov 27 22:35:43 host charon[123]: ",
                "2026-11-27T22:35:43.1Z stderr F ",
            ] {
                assert_eq!(read(&format!("{head}{line}")), [line]);
            }
        }
    }

    #[test]
    fn what_another_program_says_is_not_charons() {
        let lines = [
            "lighthouse-1  | Nov 27 22:35:43.001 INFO Synced                                  slot: 1",
            "charon-1      | 18:23:54.518 INFO dkg        a",
            "charon-1      | 18:23:54.519 INFO dkg        b",
            "lighthouse-1  | Nov 27 22:35:43.002 INFO Synced                                  slot: 2",
            "lighthouse-1  | panic: of another program",
            r#"lighthouse-1  | Nov 27 22:35:43.003 WARN peer said "18:23:54.518 ERRO cmd        Fatal error: x""#,
            "charon-1      | Error: c",
        ];
        let mut expected = lines;
        expected[1] = "18:23:54.518 INFO dkg        a";
        expected[2] = "18:23:54.519 INFO dkg        b";
        expected[6] = "Error: c";
        assert_eq!(read(&lines.join("\n")), expected);
        for line in [
            "18:00:00.000 INFO dkg        a[1]: b",
            "18:00:00.000 INFO dkg        charon | b",
            r#"{"level":"info","msg":"log","stream":"x","log":"y"}"#,
        ] {
            assert_eq!(read(line), [line]);
        }
    }
}
