//! Strict reading of JSON that Go wrote and Go will read.
//!
//! Go's decoder ignores unknown keys, matches keys without regard to case, lets the last of several equal keys win and
//! takes an absent key for an empty value. Reading here ends with the same values, but each of these is reported as a
//! [`Remark`], because two readers of one file must never see two different things. What cannot be read is a
//! [`ParseError`] that names the place.
//!
//! Input of strangers is bounded: size, depth and number of values, each before the memory is spent.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::finding::Weight;
use crate::text::BYTE_ORDER_MARK;

/// Most JSON values in one file. A lock of 3000 validators and 30 nodes has 200 000; a value costs up to 100 bytes here.
const MAX_VALUES: usize = 1_000_000;

/// Most remarks kept for one file, missing keys apart; a file full of unknown keys must not cost more memory than it has
/// bytes.
const MAX_REMARKS: usize = 64;

/// Longest piece of a stranger's text repeated in an error or remark, in characters.
const MAX_QUOTED: usize = 48;

/// A value read from a file, and what was odd about the file although it could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed<T> {
    /// What was read, as charon would have read it.
    pub value: T,
    /// What makes the file ambiguous or unusual; empty for every file that charon writes.
    pub remarks: Vec<Remark>,
}

/// Something odd at one place of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Where: `operators[2].address`.
    pub path: String,
    /// What.
    pub kind: RemarkKind,
}

/// What can be odd about a file that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemarkKind {
    /// The key appears more than once in its object; the last one counts for charon, others may read the first.
    DuplicateKey,
    /// charon's format has no such key here; charon ignores it, and no hash covers it.
    UnknownKey,
    /// The key is spelled in another case than this; charon accepts it, others may not.
    OtherCase(&'static str),
    /// A key that charon always writes is absent; charon takes it for empty.
    MissingKey,
    /// So many more keys are missing, and are not named.
    MoreMissingKeys(usize),
    /// So many more remarks of other kinds were found and not kept.
    More(usize),
}

impl RemarkKind {
    /// How a verification weighs the remark. Only a missing key leaves a single possible reading.
    pub const fn weight(self) -> Weight {
        match self {
            Self::DuplicateKey | Self::UnknownKey | Self::OtherCase(_) | Self::More(_) => {
                Weight::Fail
            }
            Self::MissingKey | Self::MoreMissingKeys(_) => Weight::Note,
        }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match self.kind {
            RemarkKind::DuplicateKey => write!(f, "{path} appears more than once"),
            RemarkKind::UnknownKey => write!(f, "{path} is not part of the format"),
            RemarkKind::OtherCase(expected) => {
                write!(f, "{path} should be spelled {expected}")
            }
            RemarkKind::MissingKey => write!(f, "{path} is missing"),
            RemarkKind::MoreMissingKeys(count) => write!(f, "{count} more keys are missing"),
            RemarkKind::More(count) => write!(f, "{count} more remarks"),
        }
    }
}

/// Why a file cannot be read. Paths are written like `operators[2].address`; the whole file is `the file`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// More bytes than any such file needs.
    #[error("{size} bytes, expected at most {limit}")]
    TooLarge {
        /// Size in bytes.
        size: usize,
        /// Limit in bytes.
        limit: usize,
    },
    /// Not a text file.
    #[error("not UTF-8 text: byte {offset} is not part of any character")]
    NotUtf8 {
        /// Offset of the first wrong byte, from 0.
        offset: usize,
    },
    /// Not JSON, or cut off, or nested deeper than charon ever does (128).
    #[error("not valid JSON: {problem}")]
    Syntax {
        /// What and where (line, column).
        problem: String,
    },
    /// More values than any such file needs.
    #[error("more than {limit} JSON values")]
    TooManyValues {
        /// Limit.
        limit: usize,
    },
    /// A value of another JSON type.
    #[error("{path} is {seen}, expected {expected}")]
    WrongType {
        /// Where.
        path: String,
        /// The JSON type found.
        seen: &'static str,
        /// What was expected.
        expected: &'static str,
    },
    /// A value of the right type that means nothing here.
    #[error("{path} is {seen}, expected {expected}")]
    Invalid {
        /// Where.
        path: String,
        /// The value found, shortened.
        seen: String,
        /// What was expected.
        expected: String,
    },
    /// A signature of several pieces, in a definition version that has room for one.
    #[error(
        "{path} is {seen} bytes, as contract wallets with several owners make them, expected no bytes or {expected}"
    )]
    ContractSignature {
        /// Where.
        path: String,
        /// Its bytes.
        seen: usize,
        /// Bytes of one piece.
        expected: usize,
    },
    /// An array with more elements than charon's format allows.
    #[error("{path} has {seen} elements, expected at most {limit}")]
    TooMany {
        /// Where.
        path: String,
        /// Number of elements.
        seen: usize,
        /// Limit.
        limit: usize,
    },
    /// A format version that this program does not know, or none.
    #[error("{path}: {error}")]
    Version {
        /// Where.
        path: String,
        /// The text found and the versions known.
        error: super::version::UnknownDefinitionVersion,
    },
}

impl ParseError {
    /// What helps, where that is not another copy of the file.
    pub const fn advice(&self) -> Option<&'static str> {
        match self {
            ParseError::ContractSignature { .. } => Some(
                "the file is as it was made, and no charon runs it: the coordinator makes a new definition of version v1.11 or later, or that operator signs with an ordinary wallet",
            ),
            ParseError::TooLarge { .. }
            | ParseError::NotUtf8 { .. }
            | ParseError::Syntax { .. }
            | ParseError::TooManyValues { .. }
            | ParseError::WrongType { .. }
            | ParseError::Invalid { .. }
            | ParseError::TooMany { .. }
            | ParseError::Version { .. } => None,
        }
    }
}

/// One JSON value. Objects keep every key as written, in order, duplicates included.
#[derive(Debug)]
pub(crate) enum Node<'a> {
    Null,
    Bool(bool),
    /// A whole number from 0 to `u64::MAX`.
    Unsigned(u64),
    /// Any other number: negative, fractional, with exponent or too large.
    OtherNumber,
    Text(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl<'a> Node<'a> {
    /// Reads a whole file of at most `limit` bytes.
    pub(crate) fn parse(bytes: &'a [u8], limit: usize) -> Result<Self, ParseError> {
        if bytes.len() > limit {
            return Err(ParseError::TooLarge {
                size: bytes.len(),
                limit,
            });
        }
        // Go's decoder refuses it too, and its own message shows nothing at the mark.
        if bytes.starts_with(BYTE_ORDER_MARK) {
            return Err(ParseError::Syntax {
                problem: "it begins with a byte order mark; save it as UTF-8 without one"
                    .to_owned(),
            });
        }
        let text = std::str::from_utf8(bytes).map_err(|error| ParseError::NotUtf8 {
            offset: error.valid_up_to(),
        })?;
        let left = Cell::new(MAX_VALUES);
        // serde_json stops at a depth of 128 by itself.
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let node = NodeSeed { left: &left }
            .deserialize(&mut deserializer)
            .and_then(|node| deserializer.end().map(|()| node));
        node.map_err(|error| {
            if left.get() == 0 {
                ParseError::TooManyValues { limit: MAX_VALUES }
            } else {
                ParseError::Syntax {
                    problem: error.to_string(),
                }
            }
        })
    }

    fn kind(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Bool(_) => "true or false",
            Node::Unsigned(_) => "a number",
            Node::OtherNumber => "a negative, fractional or too large number",
            Node::Text(_) => "a text",
            Node::Array(_) => "an array",
            Node::Object(_) => "an object",
        }
    }
}

struct NodeSeed<'c> {
    left: &'c Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
        let left = self.left.get().saturating_sub(1);
        self.left.set(left);
        if left == 0 {
            return Err(serde::de::Error::custom("too many values"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NodeSeed<'_> {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(Node::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(u64::try_from(value).map_or(Node::OtherNumber, Node::Unsigned))
    }

    fn visit_f64<E>(self, _value: f64) -> Result<Node<'de>, E> {
        Ok(Node::OtherNumber)
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Node<'de>, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = sequence.next_element_seed(NodeSeed { left: self.left })? {
            elements.push(element);
        }
        Ok(Node::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(key) = map.next_key::<Key<'de>>()? {
            members.push((key.0, map.next_value_seed(NodeSeed { left: self.left })?));
        }
        Ok(Node::Object(members))
    }
}

/// A key, borrowed from the input unless it has escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(value)))
            }

            fn visit_str<E>(self, value: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(value.to_owned())))
            }
        }

        deserializer.deserialize_str(KeyVisitor)
    }
}

/// Where we are in the file; a text is made of it only when there is something to say.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'p> {
    File,
    Key(&'p Path<'p>, &'p str),
    Element(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::File => f.write_str("the file"),
            Path::Key(Path::File, key) => write!(f, "{}", quotable(key)),
            Path::Key(parent, key) => write!(f, "{parent}.{}", quotable(key)),
            Path::Element(Path::File, position) => write!(f, "[{position}]"),
            Path::Element(parent, position) => write!(f, "{parent}[{position}]"),
        }
    }
}

/// A stranger's text, short and without control characters.
pub(crate) fn quotable(text: &str) -> String {
    let mut quoted: String = text
        .chars()
        .take(MAX_QUOTED)
        .flat_map(char::escape_default)
        .collect();
    if text.chars().nth(MAX_QUOTED).is_some() {
        quoted.push('…');
    }
    quoted
}

/// Collects the remarks of one file.
#[derive(Debug, Default)]
pub(crate) struct Remarks {
    kept: Vec<Remark>,
    missing_keys: usize,
    others: usize,
}

impl Remarks {
    fn add(&mut self, path: Path<'_>, kind: RemarkKind) {
        // Apart, so that neither many harmless ones hide another, nor are taken for one.
        let seen = match kind {
            RemarkKind::MissingKey | RemarkKind::MoreMissingKeys(_) => &mut self.missing_keys,
            RemarkKind::DuplicateKey
            | RemarkKind::UnknownKey
            | RemarkKind::OtherCase(_)
            | RemarkKind::More(_) => &mut self.others,
        };
        *seen = seen.saturating_add(1);
        if *seen <= MAX_REMARKS {
            self.kept.push(Remark {
                path: path.to_string(),
                kind,
            });
        }
    }

    /// All remarks, with a last one for those of either sort that were not kept.
    pub(crate) fn finish(mut self) -> Vec<Remark> {
        let more = |seen: usize| seen.checked_sub(MAX_REMARKS).filter(|more| *more > 0);
        let kinds = [
            more(self.missing_keys).map(RemarkKind::MoreMissingKeys),
            more(self.others).map(RemarkKind::More),
        ];
        for kind in kinds.into_iter().flatten() {
            self.kept.push(Remark {
                path: Path::File.to_string(),
                kind,
            });
        }
        self.kept
    }
}

/// Whether Go's `encoding/json` takes `key` for `name` (its `foldName`: simple case folding, so that the long s and the
/// Kelvin sign stand for s and k).
fn go_takes_for(key: &str, name: &str) -> bool {
    let folded = key.chars().map(|c| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    });
    folded.eq(name.chars())
}

/// The members of one object, taken key by key; what is left at the end is unknown.
#[derive(Debug)]
pub(crate) struct Object<'a, 'p> {
    members: Vec<Option<(Cow<'a, str>, Node<'a>)>>,
    path: Path<'p>,
}

/// Whether charon always writes a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Its absence is worth a remark.
    Always,
    /// charon omits it when empty.
    Optional,
}

impl<'a, 'p> Object<'a, 'p> {
    /// The members of `node`, which must be an object.
    pub(crate) fn new(node: Node<'a>, path: Path<'p>) -> Result<Self, ParseError> {
        match node {
            Node::Object(members) => Ok(Self {
                members: members.into_iter().map(Some).collect(),
                path,
            }),
            Node::Null
            | Node::Bool(_)
            | Node::Unsigned(_)
            | Node::OtherNumber
            | Node::Text(_)
            | Node::Array(_) => Err(wrong_type(&node, path, "an object")),
        }
    }

    /// The members of `node`, or none at all for an absent value, as Go reads it.
    pub(crate) fn new_or_empty(node: Option<Node<'a>>, path: Path<'p>) -> Result<Self, ParseError> {
        match node {
            Some(node) => Self::new(node, path),
            None => Ok(Self {
                members: Vec::new(),
                path,
            }),
        }
    }

    pub(crate) fn path(&self) -> Path<'p> {
        self.path
    }

    /// The text of a key without taking it: the version, which decides how the rest is read.
    pub(crate) fn peek(&self, name: &str) -> Option<&Node<'a>> {
        let mut found = None;
        for (key, node) in self.members.iter().flatten() {
            if go_takes_for(key, name) {
                found = Some(node);
            }
        }
        found
    }

    /// The value that Go would read for this key; `None` if absent or null.
    pub(crate) fn take(
        &mut self,
        name: &'static str,
        presence: Presence,
        remarks: &mut Remarks,
    ) -> Option<Node<'a>> {
        let mut found = None;
        for member in &mut self.members {
            let Some((key, _)) = member.as_ref() else {
                continue;
            };
            if !go_takes_for(key, name) {
                continue;
            }
            let Some((key, node)) = member.take() else {
                continue;
            };
            if key != name {
                remarks.add(Path::Key(&self.path, &key), RemarkKind::OtherCase(name));
            }
            if found.is_some() {
                remarks.add(Path::Key(&self.path, name), RemarkKind::DuplicateKey);
            }
            found = Some(node);
        }
        if found.is_none() && presence == Presence::Always {
            remarks.add(Path::Key(&self.path, name), RemarkKind::MissingKey);
        }
        // Go writes null for what it never filled, so that is nothing odd.
        found.filter(|node| !matches!(node, Node::Null))
    }

    /// Remarks on every key that was not taken.
    pub(crate) fn finish(self, remarks: &mut Remarks) {
        for (key, _) in self.members.iter().flatten() {
            remarks.add(Path::Key(&self.path, key), RemarkKind::UnknownKey);
        }
    }
}

pub(crate) fn wrong_type(node: &Node<'_>, path: Path<'_>, expected: &'static str) -> ParseError {
    ParseError::WrongType {
        path: path.to_string(),
        seen: node.kind(),
        expected,
    }
}

/// A value of the right type that means nothing at its place.
pub(crate) fn invalid(path: Path<'_>, seen: &str, expected: impl Into<String>) -> ParseError {
    ParseError::Invalid {
        path: path.to_string(),
        seen: format!("\"{}\"", quotable(seen)),
        expected: expected.into(),
    }
}

/// A text; empty if absent.
pub(crate) fn text<'a>(node: Option<Node<'a>>, path: Path<'_>) -> Result<Cow<'a, str>, ParseError> {
    match node {
        None => Ok(Cow::Borrowed("")),
        Some(Node::Text(text)) => Ok(text),
        Some(
            node @ (Node::Null
            | Node::Bool(_)
            | Node::Unsigned(_)
            | Node::OtherNumber
            | Node::Array(_)
            | Node::Object(_)),
        ) => Err(wrong_type(&node, path, "a text")),
    }
}

/// A whole number that is not negative; 0 if absent.
pub(crate) fn number(node: Option<Node<'_>>, path: Path<'_>) -> Result<u64, ParseError> {
    match node {
        None => Ok(0),
        // Go reads into an `int`, which ends at 2^63 - 1.
        Some(Node::Unsigned(number)) if i64::try_from(number).is_ok() => Ok(number),
        Some(Node::Unsigned(number)) => Err(ParseError::Invalid {
            path: path.to_string(),
            seen: number.to_string(),
            expected: format!("a number up to {}", i64::MAX),
        }),
        Some(
            node @ (Node::Null
            | Node::Bool(_)
            | Node::OtherNumber
            | Node::Text(_)
            | Node::Array(_)
            | Node::Object(_)),
        ) => Err(wrong_type(
            &node,
            path,
            "a whole number that is not negative",
        )),
    }
}

/// A truth value; false if absent.
pub(crate) fn boolean(node: Option<Node<'_>>, path: Path<'_>) -> Result<bool, ParseError> {
    match node {
        None => Ok(false),
        Some(Node::Bool(value)) => Ok(value),
        Some(
            node @ (Node::Null
            | Node::Unsigned(_)
            | Node::OtherNumber
            | Node::Text(_)
            | Node::Array(_)
            | Node::Object(_)),
        ) => Err(wrong_type(&node, path, "true or false")),
    }
}

/// The elements of an array of at most `limit`; none if absent.
pub(crate) fn array<'a>(
    node: Option<Node<'a>>,
    path: Path<'_>,
    limit: usize,
) -> Result<Vec<Node<'a>>, ParseError> {
    match node {
        None => Ok(Vec::new()),
        Some(Node::Array(elements)) if elements.len() > limit => Err(ParseError::TooMany {
            path: path.to_string(),
            seen: elements.len(),
            limit,
        }),
        Some(Node::Array(elements)) => Ok(elements),
        Some(
            node @ (Node::Null
            | Node::Bool(_)
            | Node::Unsigned(_)
            | Node::OtherNumber
            | Node::Text(_)
            | Node::Object(_)),
        ) => Err(wrong_type(&node, path, "an array")),
    }
}

/// A decimal number in a text, as charon writes amounts; digits only.
pub(crate) fn decimal(text: &str, path: Path<'_>) -> Result<u64, ParseError> {
    let expected = "a decimal number of Gwei in a text";
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid(path, text, expected));
    }
    text.parse().map_err(|_| invalid(path, text, expected))
}

/// The text Go would write: indented by one space, and five characters escaped even where JSON does not ask for it
/// (Go `encoding/json`, `MarshalIndent` and `HTMLEscape`). No newline at the end.
pub(crate) fn to_go_json(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value, 0);
    // Outside of texts JSON has none of these characters, so a plain replacement is exact.
    for (character, escape) in [
        ('<', r"\u003c"),
        ('>', r"\u003e"),
        ('&', r"\u0026"),
        ('\u{2028}', r"\u2028"),
        ('\u{2029}', r"\u2029"),
    ] {
        if out.contains(character) {
            out = out.replace(character, escape);
        }
    }
    out
}

fn write_value(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Array(elements) if !elements.is_empty() => {
            for (position, element) in elements.iter().enumerate() {
                out.push_str(if position == 0 { "[" } else { "," });
                new_line(out, depth + 1);
                write_value(out, element, depth + 1);
            }
            new_line(out, depth);
            out.push(']');
        }
        Value::Object(members) if !members.is_empty() => {
            for (position, (key, member)) in members.iter().enumerate() {
                out.push_str(if position == 0 { "{" } else { "," });
                new_line(out, depth + 1);
                out.push('"');
                out.push_str(key);
                out.push_str("\": ");
                write_value(out, member, depth + 1);
            }
            new_line(out, depth);
            out.push('}');
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => out.push_str(&value.to_string()),
    }
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_written_as_go_writes_them() {
        let value = serde_json::json!({
            "name": "<a> & \"b\" \\ \u{2028}\u{2029} é \n\u{1}",
            "empty": [[], {}, null, true],
        });
        assert_eq!(
            to_go_json(&value),
            "{\n \"name\": \"\\u003ca\\u003e \\u0026 \\\"b\\\" \\\\ \\u2028\\u2029 é \\n\\u0001\",\n \"empty\": \
             [\n  [],\n  {},\n  null,\n  true\n ]\n}"
        );
    }

    #[test]
    fn paths_read_like_code() {
        let operators = Path::Key(&Path::File, "operators");
        let second = Path::Element(&operators, 1);
        assert_eq!(Path::Key(&second, "enr").to_string(), "operators[1].enr");
        let entry = Path::Element(&Path::File, 0);
        assert_eq!(Path::Key(&entry, "amount").to_string(), "[0].amount");
    }
}
