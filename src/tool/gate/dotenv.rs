//! One entry more or less in `COMPOSE_FILE` of a project's `.env`, and not a byte otherwise.
//!
//! Where the variable has a value, the entry is put behind it, in the same line: later edits of that line are
//! followed. Where it has none, a marked block is put at the end, with the files that Compose would have read by itself.
//! Either is found and taken out again without any record of what was there before.

use sha2::{Digest as _, Sha256};

use charon_files::text::BYTE_ORDER_MARK;

/// The variable that names a project's files (docker/compose, compose-go `consts`).
const COMPOSE_FILE: &str = "COMPOSE_FILE";

/// The variable that names what comes between those files.
const SEPARATOR: &str = "COMPOSE_PATH_SEPARATOR";

const BEGIN: &str = "# charon-dkg gate: begin";
const END: &str = "# charon-dkg gate: end ";

/// What the first line of a block says about the file before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// It ended with a line end, or was empty.
    WholeLines,
    /// Its last line had no end, so that one was added.
    UnendedLine,
    /// There was no file.
    Nothing,
}

impl Before {
    const ALL: [Self; 3] = [Self::WholeLines, Self::UnendedLine, Self::Nothing];

    const fn first_line(self) -> &'static str {
        match self {
            Self::WholeLines => "# charon-dkg gate: begin",
            Self::UnendedLine => "# charon-dkg gate: begin, after a line without an end",
            Self::Nothing => "# charon-dkg gate: begin, of a file that was not there",
        }
    }
}

/// Why an entry cannot be put in or taken out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DotenvError {
    /// `COMPOSE_FILE` is set in a form that is not edited: over several lines, with backslashes, with a colon, with a
    /// comment after a tab.
    #[error("line {line} of .env sets COMPOSE_FILE in a form that is not edited: {text}")]
    OddForm {
        /// Counted from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// `COMPOSE_FILE` is set to nothing.
    #[error("line {line} of .env sets COMPOSE_FILE to nothing, expected a list of files")]
    Empty {
        /// Counted from 1.
        line: usize,
    },
    /// A name contains what comes between names.
    #[error("{name:?} contains {separator:?}, which separates the files in COMPOSE_FILE")]
    SeparatorInName {
        /// The file.
        name: String,
        /// What separates.
        separator: String,
    },
    /// The block was edited.
    #[error("the lines between \"{BEGIN}\" and \"{}\" in .env were changed since they were written", END.trim_end())]
    BlockChanged,
    /// The entry is in the list more than once.
    #[error("line {line} of .env names {entry} {times} times, expected once")]
    NamedOften {
        /// Counted from 1.
        line: usize,
        /// Our file.
        entry: String,
        /// How often.
        times: usize,
    },
    /// Nothing would be left of the list.
    #[error("line {line} of .env names {entry} alone, expected other files beside it")]
    NothingLeft {
        /// Counted from 1.
        line: usize,
        /// Our file.
        entry: String,
    },
}

/// What to do with the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// It is right as it is.
    Keep,
    /// It becomes these bytes.
    Write(Vec<u8>),
    /// It was not there before us, and nobody has put anything else into it.
    Delete,
}

/// One assignment to `COMPOSE_FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Assignment {
    /// Counted from 1.
    line: usize,
    /// The position of the value in the file, quotes excluded.
    value: std::ops::Range<usize>,
}

/// What separates the files: the variable in the environment, or that in `.env`, or a colon.
pub fn separator(dotenv: Option<&[u8]>, environment: Option<&str>) -> String {
    let own = environment.map(str::to_owned).or_else(|| {
        let bytes = dotenv?;
        let found = assignments(bytes, SEPARATOR).ok()?.pop()?;
        Some(text(bytes, &found.value))
    });
    own.filter(|own| !own.is_empty())
        .unwrap_or_else(|| ":".to_owned())
}

/// The files that `.env` names, in their order; `None` if it names none. Variables are not replaced.
///
/// # Errors
/// [`DotenvError::OddForm`], [`DotenvError::Empty`].
pub fn files(dotenv: Option<&[u8]>, separator: &str) -> Result<Option<Vec<String>>, DotenvError> {
    let Some(bytes) = dotenv else {
        return Ok(None);
    };
    let Some(last) = assignments(bytes, COMPOSE_FILE)?.pop() else {
        return Ok(None);
    };
    let value = text(bytes, &last.value);
    if value.is_empty() {
        return Err(DotenvError::Empty { line: last.line });
    }
    Ok(Some(value.split(separator).map(str::to_owned).collect()))
}

/// Variables by their names; `None` for one that is not set.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The last value that a variable is set to, if that is in a form that is read here. What it takes from other variables,
/// of the shell or else set before it, is in its place, as with Compose 2.
pub fn value(dotenv: &[u8], variable: &str, shell: Lookup<'_>) -> Option<String> {
    let last = assignments(dotenv, variable).ok()?.pop()?;
    resolved(dotenv, &last, shell)
}

/// The line, counted from 1, with the last value that a variable is set to, and that value by this file alone.
pub fn set(dotenv: &[u8], variable: &str) -> Option<(usize, String)> {
    let last = assignments(dotenv, variable).ok()?.pop()?;
    Some((last.line, resolved(dotenv, &last, &|_| None)?))
}

/// An assigned value with the variables in it in their place; those between single quotes are text.
fn resolved(bytes: &[u8], found: &Assignment, shell: Lookup<'_>) -> Option<String> {
    let (head, raw) = (
        bytes.get(..found.value.start).unwrap_or_default(),
        text(bytes, &found.value),
    );
    if head.ends_with(b"'") || !raw.contains('$') {
        return Some(raw);
    }
    let line = head.iter().rposition(|byte| *byte == b'\n');
    let before = head.get(..line.unwrap_or(0)).unwrap_or_default();
    interpolated(&raw, &|name| {
        shell(name).or_else(|| value(before, name, shell))
    })
}

/// Whether a compose file has this variable somewhere.
pub fn mentions(text: &str, variable: &str) -> bool {
    let named = |part: &str| {
        let part = part.strip_prefix('{').unwrap_or(part);
        let rest = part.strip_prefix(variable);
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
    };
    text.split('$').skip(1).any(named)
}

/// A text of a compose file with these variables in their place, as Compose puts them in; `None` for what Compose would refuse,
/// and for a dollar sign that does not belong to a variable.
pub fn interpolated(text: &str, value: Lookup<'_>) -> Option<String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once('$') {
        out.push_str(before);
        let (own, behind) = match behind.strip_prefix('{') {
            Some(braced) => {
                let end = closing_brace(braced)?;
                (
                    braced_value(braced.get(..end)?, value)?,
                    braced.get(end + 1..)?,
                )
            }
            None => {
                let (name, behind) = leading_name(behind)?;
                (value(name).unwrap_or_default(), behind)
            }
        };
        out.push_str(&own);
        rest = behind;
    }
    out.push_str(rest);
    Some(out)
}

/// What stands for the inside of `${…}`: a name alone, or with what to put where it is not set (`-`), where it is (`+`), or to
/// say then (`?`). With a colon before these, an empty value counts as none.
fn braced_value(inside: &str, value: Lookup<'_>) -> Option<String> {
    let (name, form) = leading_name(inside)?;
    let own = value(name);
    let (own, form) = match form.strip_prefix(':') {
        Some(form) => (own.filter(|own| !own.is_empty()), form),
        None if form.is_empty() => return Some(own.unwrap_or_default()),
        None => (own, form),
    };
    if let Some(default) = form.strip_prefix('-') {
        return own.or_else(|| interpolated(default, value));
    }
    if let Some(instead) = form.strip_prefix('+') {
        return match own {
            Some(_) => interpolated(instead, value),
            None => Some(String::new()),
        };
    }
    form.strip_prefix('?').and(own)
}

/// A variable's name, and what is behind it.
fn leading_name(text: &str) -> Option<(&str, &str)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (name, behind) = text.split_at(text.find(|c| !is_name(c)).unwrap_or(text.len()));
    let starts_well = name.starts_with(|c: char| !c.is_ascii_digit());
    starts_well.then_some((name, behind))
}

/// Where a brace ends that was opened before this text.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 1_usize;
    text.bytes().position(|byte| {
        match byte {
            b'{' => open += 1,
            b'}' => open -= 1,
            _ => {}
        }
        open == 0
    })
}

/// Puts `entry` at the end of the list. `defaults` are the files that Compose reads where `.env` names none.
///
/// # Errors
/// Where that could not be taken back exactly.
pub fn add(
    dotenv: Option<&[u8]>,
    defaults: &[String],
    separator: &str,
    entry: &str,
) -> Result<Edit, DotenvError> {
    for name in defaults.iter().map(String::as_str).chain([entry]) {
        if name.contains(separator) {
            return Err(DotenvError::SeparatorInName {
                name: name.to_owned(),
                separator: separator.to_owned(),
            });
        }
    }
    let mut bytes = dotenv.unwrap_or_default().to_vec();
    if let Some(last) = assignments(&bytes, COMPOSE_FILE)?.pop() {
        if last.value.is_empty() {
            return Err(DotenvError::Empty { line: last.line });
        }
        if !named(&bytes, &last, separator, entry).is_empty() {
            return Ok(Edit::Keep);
        }
        let at = last.value.end;
        bytes.splice(at..at, format!("{separator}{entry}").into_bytes());
        return Ok(Edit::Write(bytes));
    }
    let before = match dotenv {
        None => Before::Nothing,
        Some(bytes) if bytes.last().is_some_and(|byte| *byte != b'\n') => Before::UnendedLine,
        Some(_) => Before::WholeLines,
    };
    let list = [defaults, &[entry.to_owned()]].concat().join(separator);
    if before == Before::UnendedLine {
        bytes.push(b'\n');
    }
    let line = format!("{COMPOSE_FILE}={list}\n");
    let first = before.first_line();
    bytes.extend(format!("{first}\n{line}{}\n", end_line(&line)).into_bytes());
    Ok(Edit::Write(bytes))
}

/// The bytes with a line more that names these files, for Compose to read once.
pub fn naming(dotenv: Option<&[u8]>, files: &[String], separator: &str) -> Vec<u8> {
    let mut bytes = dotenv.unwrap_or_default().to_vec();
    bytes.extend(format!("\n{COMPOSE_FILE}={}\n", files.join(separator)).into_bytes());
    bytes
}

/// Takes `entry` out again, and the block that [`add`] may have written. What others changed meanwhile stays.
///
/// # Errors
/// Where it cannot be told what to take out, or the rest would name no file.
pub fn remove(dotenv: Option<&[u8]>, separator: &str, entry: &str) -> Result<Edit, DotenvError> {
    let Some(original) = dotenv else {
        return Ok(Edit::Keep);
    };
    let (mut bytes, before) = without_block(original)?;
    loop {
        let ours = |found: &Assignment| named(&bytes, found, separator, entry);
        let all = assignments(&bytes, COMPOSE_FILE)?;
        let Some(found) = all.into_iter().find(|found| !ours(found).is_empty()) else {
            break;
        };
        let cut = match ours(&found).as_slice() {
            [cut] => cut.clone(),
            several => {
                return Err(DotenvError::NamedOften {
                    line: found.line,
                    entry: entry.to_owned(),
                    times: several.len(),
                });
            }
        };
        // A separator goes with it: the one before it, or where it comes first, the one behind.
        let cut = if cut.start > found.value.start {
            cut.start - separator.len()..cut.end
        } else if cut.end < found.value.end {
            cut.start..cut.end + separator.len()
        } else {
            return Err(DotenvError::NothingLeft {
                line: found.line,
                entry: entry.to_owned(),
            });
        };
        bytes.drain(cut);
    }
    if bytes == original {
        return Ok(Edit::Keep);
    }
    if before == Some(Before::Nothing) && bytes.is_empty() {
        return Ok(Edit::Delete);
    }
    Ok(Edit::Write(bytes))
}

/// The last line of a block, with a digest of the line between.
fn end_line(line: &str) -> String {
    let digest: String = hex::encode(Sha256::digest(line)).chars().take(16).collect();
    format!("{END}{digest}")
}

/// The bytes without our block, and what that says about the file before it.
fn without_block(bytes: &[u8]) -> Result<(Vec<u8>, Option<Before>), DotenvError> {
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let starts = |line: &&[u8], with: &str| line.starts_with(with.as_bytes());
    let begins: Vec<usize> = (0..lines.len())
        .filter(|at| lines.get(*at).is_some_and(|line| starts(line, BEGIN)))
        .collect();
    let ends = lines
        .iter()
        .filter(|line| starts(line, END.trim_end()))
        .count();
    let at = match (begins.as_slice(), ends) {
        ([], 0) => return Ok((bytes.to_vec(), None)),
        ([at], 1) => *at,
        (_, _) => return Err(DotenvError::BlockChanged),
    };
    let (Some(first), Some(line), Some(last)) =
        (lines.get(at), lines.get(at + 1), lines.get(at + 2))
    else {
        return Err(DotenvError::BlockChanged);
    };
    let as_text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
    let before = Before::ALL
        .into_iter()
        .find(|before| as_text(first).strip_suffix('\n') == Some(before.first_line()));
    let line = as_text(line);
    // The file's last line may have lost its end; nothing else may have changed.
    let whole = as_text(last).trim_end_matches('\n') == end_line(&line);
    let Some(before) = before.filter(|_| whole) else {
        return Err(DotenvError::BlockChanged);
    };
    let mut head = lines.get(..at).unwrap_or_default().concat();
    let tail = lines.get(at + 3..).unwrap_or_default().concat();
    // The line end that we added stays if it is needed now.
    if before == Before::UnendedLine && tail.is_empty() {
        head.pop();
    }
    head.extend(tail);
    Ok((head, Some(before)))
}

/// Where an assignment names `entry`.
fn named(
    bytes: &[u8],
    found: &Assignment,
    separator: &str,
    entry: &str,
) -> Vec<std::ops::Range<usize>> {
    let separator = separator.as_bytes();
    let mut start = found.value.start;
    let mut ours = Vec::new();
    if separator.is_empty() {
        return ours;
    }
    while start <= found.value.end {
        let rest = bytes.get(start..found.value.end).unwrap_or_default();
        let length = rest
            .windows(separator.len())
            .position(|window| window == separator)
            .unwrap_or(rest.len());
        if rest.get(..length) == Some(entry.as_bytes()) {
            ours.push(start..start + length);
        }
        start += length + separator.len();
    }
    ours
}

fn text(bytes: &[u8], range: &std::ops::Range<usize>) -> String {
    String::from_utf8_lossy(bytes.get(range.clone()).unwrap_or_default()).into_owned()
}

/// Every assignment to a variable, in the order of the file. The last one counts, in every Compose.
fn assignments(bytes: &[u8], variable: &str) -> Result<Vec<Assignment>, DotenvError> {
    let mut found = Vec::new();
    // Some editors of Windows begin every file with a mark, which Compose of every age passes over.
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let mut start = bytes.len() - text.len();
    let mut inside_until = 0;
    for (index, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        // Between the quotes of another variable, whatever it looks like.
        if start < inside_until {
            start += line.len();
            continue;
        }
        inside_until = start + end_of_quotes(bytes.get(start..).unwrap_or_default(), line);
        match value_of(line, variable) {
            Value::NotThis => {}
            Value::At(range) => found.push(Assignment {
                line: index + 1,
                value: start + range.start..start + range.end,
            }),
            Value::Odd => {
                return Err(DotenvError::OddForm {
                    line: index + 1,
                    text: String::from_utf8_lossy(line).trim().to_owned(),
                });
            }
        }
        start += line.len();
    }
    Ok(found)
}

enum Value {
    NotThis,
    At(std::ops::Range<usize>),
    Odd,
}

const fn blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Where the first byte that is no blank is, from here on.
fn skip(line: &[u8], mut at: usize) -> usize {
    while line.get(at).is_some_and(blank) {
        at += 1;
    }
    at
}

/// The start of an assignment.
struct Head<'a> {
    name: &'a [u8],
    /// `=`, or a colon, which Compose 2 takes, too, and 1.29 does not.
    sign: u8,
    /// Where the value begins.
    value: usize,
}

/// What a line assigns to; `None` for comments, and for a name alone, which takes its value from the environment.
fn head_of(line: &[u8]) -> Option<Head<'_>> {
    let mut at = skip(line, 0);
    let rest = |at: usize| line.get(at..).unwrap_or_default();
    if rest(at).starts_with(b"export ") || rest(at).starts_with(b"export\t") {
        at = skip(line, at + b"export ".len());
    }
    let length = rest(at)
        .iter()
        .position(|byte| blank(byte) || matches!(byte, b'=' | b':' | b'#'))?;
    let name = line.get(at..at + length)?;
    let sign_at = skip(line, at + length);
    let sign = *line.get(sign_at)?;
    matches!(sign, b'=' | b':').then(|| Head {
        name,
        sign,
        value: skip(line, sign_at + 1),
    })
}

/// How far the quotes reach that the value of this first line of a text begins with, if beyond that line, and otherwise 0.
/// Both kinds of Compose read a value between quotes over several lines, and a backslash before one of its quotes as that.
fn end_of_quotes(text: &[u8], line: &[u8]) -> usize {
    let Some(head) = head_of(line) else {
        return 0;
    };
    let Some(quote) = text
        .get(head.value)
        .filter(|byte| matches!(byte, b'"' | b'\''))
    else {
        return 0;
    };
    let mut at = head.value + 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 2,
            byte if byte == quote => return if at < line.len() { 0 } else { at + 1 },
            _ => at += 1,
        }
    }
    // Never closed: Compose 2 refuses the file, and 1.29 passes this line over.
    0
}

/// The value that a line gives to a variable: unquoted up to a comment, or between quotes.
fn value_of(line: &[u8], variable: &str) -> Value {
    let rest = |at: usize| line.get(at..).unwrap_or_default();
    let Some(head) = head_of(line).filter(|head| head.name == variable.as_bytes()) else {
        return Value::NotThis;
    };
    if head.sign == b':' {
        return Value::Odd;
    }
    let at = head.value;
    let Some(quote) = line
        .get(at)
        .copied()
        .filter(|byte| matches!(byte, b'"' | b'\''))
    else {
        let value = rest(at);
        // Only a blank after something makes a comment: Compose takes one behind nothing for the value.
        let comment = |blank: u8| value.windows(2).position(|two| two == [blank, b'#']);
        let mut end = comment(b' ').unwrap_or(value.len());
        // Compose 1.29 begins a comment after a tab, too, and Compose 2 does not; and a list that begins with # is no list.
        let unclear = value.starts_with(b"#") || comment(b'\t').is_some_and(|tab| tab < end);
        if unclear && (variable == COMPOSE_FILE || variable == SEPARATOR) {
            return Value::Odd;
        }
        while end > 0 && value.get(end - 1).is_some_and(blank) {
            end -= 1;
        }
        if value.get(..end).unwrap_or_default().contains(&b'\\') {
            return Value::Odd;
        }
        return Value::At(at..at + end);
    };
    let inner = rest(at + 1);
    let Some(length) = inner.iter().position(|byte| *byte == quote) else {
        return Value::Odd;
    };
    let after = skip(line, at + 1 + length + 1);
    let ends_well = line.get(after).is_none_or(|byte| *byte == b'#');
    if !ends_well || inner.get(..length).unwrap_or_default().contains(&b'\\') {
        return Value::Odd;
    }
    Value::At(at + 1..at + 1 + length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENTRY: &str = "compose-charon-dkg.yml";

    fn defaults() -> Vec<String> {
        vec![
            "docker-compose.yml".to_owned(),
            "docker-compose.override.yml".to_owned(),
        ]
    }

    fn added(dotenv: Option<&str>) -> String {
        match add(dotenv.map(str::as_bytes), &defaults(), ":", ENTRY).unwrap() {
            Edit::Write(bytes) => String::from_utf8(bytes).unwrap(),
            other @ (Edit::Keep | Edit::Delete) => panic!("{other:?}"),
        }
    }

    fn removed(dotenv: &str) -> Result<Edit, DotenvError> {
        remove(Some(dotenv.as_bytes()), ":", ENTRY)
    }

    fn wrote(text: &str) -> Edit {
        Edit::Write(text.as_bytes().to_vec())
    }

    #[test]
    fn variables_are_put_in_as_compose_does() {
        let value = |name: &str| match name {
            "V" => Some("v1.10.3".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (text, expected) in [
            ("charon:v1", Some("charon:v1")),
            ("charon:${V:-v1.0.0}", Some("charon:v1.10.3")),
            ("charon:${W:-v1.0.0}", Some("charon:v1.0.0")),
            ("charon:${EMPTY:-v1.0.0}@x", Some("charon:v1.0.0@x")),
            ("$W/charon:$V-rc", Some("/charon:v1.10.3-rc")),
            ("${V}${V}", Some("v1.10.3v1.10.3")),
            ("${V-x}${EMPTY-x}${W-x}", Some("v1.10.3x")),
            ("${V:?must}${EMPTY?must}", Some("v1.10.3")),
            ("${W:?must}", None),
            ("${EMPTY:?must}", None),
            ("${W?must}", None),
            ("${V:+x}${EMPTY:+y}${W:+z}", Some("x")),
            ("${V+x}${EMPTY+y}${W+z}", Some("xy")),
            ("${W:-${EMPTY:-${V}}}.", Some("v1.10.3.")),
            ("${W:-${X:?must}}", None),
            ("${V:+${W-a}b}", Some("ab")),
            ("a$$b", None),
            ("${V", None),
            ("${W:-${V}", None),
            ("${V:x}", None),
            ("${V x}", None),
            ("${1}", None),
            ("$", None),
        ] {
            assert_eq!(interpolated(text, &value).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn settings_may_come_from_other_variables() {
        // As Compose 2.26 and 2.40 print them.
        let shell = |name: &str| (name == "SHELL_HAS").then(|| "s".to_owned());
        for (text, expected) in [
            ("A=a\nV=${A}-$A\n", Some("a-a")),
            ("A=a\nV=\"${A}\" # mine\n", Some("a")),
            ("A=a\nV='${A}'\n", Some("${A}")),
            ("V=${A}x\nA=a\n", Some("x")),
            ("A=1\nA=2\nV=$A\nA=3\n", Some("2")),
            ("A=a\nB=${A:-b}\nV=${B}${C:-c}", Some("ac")),
            ("V=${V:-own}\n", Some("own")),
            ("V=1\nV=${V}2\n", Some("12")),
            ("SHELL_HAS=e\nV=$SHELL_HAS\n", Some("s")),
            ("V=${A:?must}\n", None),
            ("V=\n", Some("")),
        ] {
            let read = value(text.as_bytes(), "V", &shell);
            assert_eq!(read.as_deref(), expected, "{text}");
        }
        let text = b"A=a\r\nV=${A}b\r\n";
        assert_eq!(set(text, "V"), Some((2, "ab".to_owned())));
    }

    #[test]
    fn a_byte_order_mark_is_passed_over_and_kept() {
        // Compose 1.29, 2.26 and 2.40 read the first variable of such a file.
        let before = "\u{feff}COMPOSE_FILE=a.yml\r\nV=1";
        let named = Ok(Some(vec!["a.yml".to_owned()]));
        assert_eq!(files(Some(before.as_bytes()), ":"), named);
        let after = added(Some(before));
        assert_eq!(
            after,
            "\u{feff}COMPOSE_FILE=a.yml:compose-charon-dkg.yml\r\nV=1"
        );
        assert_eq!(removed(&after), Ok(wrote(before)));
        for before in ["\u{feff}", "\u{feff}V=1\n"] {
            assert_eq!(
                removed(&added(Some(before))),
                Ok(wrote(before)),
                "{before:?}"
            );
        }
    }

    #[test]
    fn comments_begin_where_they_do_for_compose() {
        // Compose 2.26, 2.40 and 5.5; but for the tabs, 1.29 as well.
        for (line, expected) in [
            ("V=v1.10.3 # pinned", "v1.10.3"),
            ("V=v1.10.3# pinned", "v1.10.3# pinned"),
            ("V= # not yet", "# not yet"),
            ("V=# not yet", "# not yet"),
            ("V=\t# not yet", "# not yet"),
            ("V=#1 # the first", "#1"),
            ("V=v1.10.3\t# pinned", "v1.10.3\t# pinned"),
            ("V=v1.10.3 \t# pinned # twice", "v1.10.3 \t# pinned"),
            ("V=\"v1.10.3\"\t# pinned", "v1.10.3"),
        ] {
            let read = value(line.as_bytes(), "V", &|_| None);
            assert_eq!(read.as_deref(), Some(expected), "{line}");
        }
        let commented = b"COMPOSE_FILE=compose.yml # mine\t# and yours\n".as_slice();
        assert_eq!(
            files(Some(commented), ":"),
            Ok(Some(vec!["compose.yml".to_owned()]))
        );
    }

    #[test]
    fn what_is_between_quotes_of_several_lines_sets_nothing() {
        // Compose 1.29, 2.26, 2.40 and 5.5 read each as one variable.
        for quote in ['"', '\''] {
            let inside = format!("NOTE={quote}first\nCOMPOSE_FILE=other.yml\n{quote}\n");
            assert_eq!(files(Some(inside.as_bytes()), ":"), Ok(None), "{inside}");
            let both = format!("{inside}COMPOSE_FILE=a.yml\n");
            let expected = Ok(Some(vec!["a.yml".to_owned()]));
            assert_eq!(files(Some(both.as_bytes()), ":"), expected, "{both}");
            assert_eq!(set(both.as_bytes(), "COMPOSE_FILE").unwrap().0, 4);
        }
        let escaped = b"A=\"one\\\"\nCOMPOSE_FILE=b.yml\n\"\n";
        assert_eq!(files(Some(escaped), ":"), Ok(None));
        // These end where they begin.
        for line in ["A=\"x\"", "A='it''s'", "A=it's", "# \"", "A=\"never", "A"] {
            let text = format!("{line}\nCOMPOSE_FILE=a.yml\n");
            let found = files(Some(text.as_bytes()), ":").unwrap();
            assert_eq!(found.as_deref(), Some(&["a.yml".to_owned()][..]), "{line}");
        }
    }

    #[test]
    fn an_existing_list_gets_one_entry_more_in_its_own_line() {
        for (before, after) in [
            (
                "COMPOSE_FILE=a.yml:b.yml\n",
                "COMPOSE_FILE=a.yml:b.yml:compose-charon-dkg.yml\n",
            ),
            (
                "COMPOSE_FILE=a.yml",
                "COMPOSE_FILE=a.yml:compose-charon-dkg.yml",
            ),
            (
                "COMPOSE_FILE=a.yml # mine\nX=1",
                "COMPOSE_FILE=a.yml:compose-charon-dkg.yml # mine\nX=1",
            ),
            (
                "COMPOSE_FILE=\"a.yml\"  # mine\r\n",
                "COMPOSE_FILE=\"a.yml:compose-charon-dkg.yml\"  # mine\r\n",
            ),
            (
                " export COMPOSE_FILE = 'a.yml'\n",
                " export COMPOSE_FILE = 'a.yml:compose-charon-dkg.yml'\n",
            ),
            (
                "COMPOSE_FILE=${X}.yml\r\n",
                "COMPOSE_FILE=${X}.yml:compose-charon-dkg.yml\r\n",
            ),
            // The last one counts.
            (
                "COMPOSE_FILE=a.yml\nCOMPOSE_FILE=b.yml\n",
                "COMPOSE_FILE=a.yml\nCOMPOSE_FILE=b.yml:compose-charon-dkg.yml\n",
            ),
        ] {
            assert_eq!(added(Some(before)), after);
            assert_eq!(removed(after), Ok(wrote(before)), "{after:?}");
        }
    }

    #[test]
    fn without_a_list_the_defaults_are_named_in_a_block() {
        let block = added(None);
        let lines: Vec<&str> = block.lines().collect();
        assert_eq!(
            lines.get(1),
            Some(
                &"COMPOSE_FILE=docker-compose.yml:docker-compose.override.yml:compose-charon-dkg.yml"
            )
        );
        assert_eq!(removed(&block), Ok(Edit::Delete));
        for before in [
            "",
            "X=1\n",
            "X=1",
            "# COMPOSE_FILE=a.yml\n",
            "MY_COMPOSE_FILE=a\nCOMPOSE_FILES=b\r\n",
        ] {
            assert_eq!(
                removed(&added(Some(before))),
                Ok(wrote(before)),
                "{before:?}"
            );
        }
    }

    #[test]
    fn what_others_write_meanwhile_stays() {
        assert_eq!(
            removed(&format!("{}NETWORK=hoodi\n", added(None))),
            Ok(wrote("NETWORK=hoodi\n"))
        );
        // The line end that was added keeps two lines apart.
        assert_eq!(
            removed(&format!("{}Y=2\n", added(Some("X=1")))),
            Ok(wrote("X=1\nY=2\n"))
        );
        assert_eq!(
            removed("COMPOSE_FILE=z.yml:compose-charon-dkg.yml:new.yml\n"),
            Ok(wrote("COMPOSE_FILE=z.yml:new.yml\n"))
        );
        assert_eq!(
            removed("COMPOSE_FILE=compose-charon-dkg.yml:new.yml"),
            Ok(wrote("COMPOSE_FILE=new.yml"))
        );
        assert_eq!(removed("COMPOSE_FILE=a.yml\n"), Ok(Edit::Keep));
        assert_eq!(remove(None, ":", ENTRY), Ok(Edit::Keep));
    }

    #[test]
    fn what_cannot_be_undone_exactly_is_refused() {
        let block = added(Some("X=1\n"));
        for changed in [
            block.replace("override.yml", "override.yml:mine.yml"),
            block.replace(BEGIN, "# charon"),
            block.replace(END, "# charon"),
            block.repeat(2),
        ] {
            assert_eq!(
                removed(&changed),
                Err(DotenvError::BlockChanged),
                "{changed}"
            );
        }
        assert!(matches!(
            removed("COMPOSE_FILE=compose-charon-dkg.yml\n"),
            Err(DotenvError::NothingLeft { line: 1, .. })
        ));
        assert!(matches!(
            removed("COMPOSE_FILE=compose-charon-dkg.yml:a:compose-charon-dkg.yml\n"),
            Err(DotenvError::NamedOften { times: 2, .. })
        ));
    }

    #[test]
    fn odd_forms_are_left_alone() {
        for odd in [
            "COMPOSE_FILE: a.yml\n",
            "COMPOSE_FILE=\"a.yml:\nb.yml\"\n",
            "COMPOSE_FILE=\"a\\\".yml\"\n",
            "COMPOSE_FILE='a.yml'b.yml\n",
            "COMPOSE_FILE=a\\ b.yml\n",
            "COMPOSE_FILE= # none\n",
            "COMPOSE_FILE=a.yml\t# mine\n",
        ] {
            assert!(
                matches!(
                    add(Some(odd.as_bytes()), &defaults(), ":", ENTRY),
                    Err(DotenvError::OddForm { line: 1, .. })
                ),
                "{odd}"
            );
        }
        for empty in ["X=1\nCOMPOSE_FILE=\n", "X=1\nCOMPOSE_FILE=''"] {
            assert_eq!(
                add(Some(empty.as_bytes()), &defaults(), ":", ENTRY),
                Err(DotenvError::Empty { line: 2 })
            );
        }
    }

    #[test]
    fn the_separator_is_found_and_kept_out_of_names() {
        let dotenv = b"COMPOSE_PATH_SEPARATOR=,\nCOMPOSE_FILE=a.yml,b.yml\n";
        assert_eq!(separator(Some(dotenv), None), ",");
        assert_eq!(separator(Some(dotenv), Some(";")), ";");
        assert_eq!(separator(None, None), ":");
        assert_eq!(
            add(Some(dotenv), &defaults(), ",", ENTRY),
            Ok(wrote(
                "COMPOSE_PATH_SEPARATOR=,\nCOMPOSE_FILE=a.yml,b.yml,compose-charon-dkg.yml\n"
            ))
        );
        assert!(matches!(
            add(None, &defaults(), "-", ENTRY),
            Err(DotenvError::SeparatorInName { .. })
        ));
    }

    #[test]
    fn a_second_time_changes_nothing() {
        for once in [added(None), added(Some("COMPOSE_FILE=a.yml"))] {
            assert_eq!(
                add(Some(once.as_bytes()), &defaults(), ":", ENTRY),
                Ok(Edit::Keep)
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_was_there_comes_back_byte_for_byte(
            before in prop::option::of(prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..20),
                    Just(b"\n".to_vec()),
                    Just(b"\r\n".to_vec()),
                    Just(b"COMPOSE_FILE=".to_vec()),
                    Just(b"COMPOSE_FILE=a.yml:b.yml".to_vec()),
                    Just(b"COMPOSE_FILE='a b.yml' # x".to_vec()),
                    Just(b"export ".to_vec()),
                    Just(b"X=\"1".to_vec()),
                ],
                0..8,
            )),
        ) {
            let before = before.map(|pieces| pieces.concat());
            if let Ok(Edit::Write(after)) = add(before.as_deref(), &defaults(), ":", ENTRY) {
                let expected = match before {
                    Some(bytes) => Edit::Write(bytes),
                    None => Edit::Delete,
                };
                prop_assert_eq!(remove(Some(&after), ":", ENTRY), Ok(expected));
            }
        }
    }
}
