//! charon's log lines (`app/log/config.go`) on standard error.

use std::io::{IsTerminal as _, Write as _};

use serde_json::{Map, Value};

use super::failure::{Failure, Fields};

/// Width to which a message is padded, in bytes.
const PADDING: usize = 40;

/// Severity of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    const fn console(self) -> (&'static str, u8) {
        match self {
            Self::Debug => ("DEBG", 35),
            Self::Info => ("INFO", 34),
            Self::Warn => ("WARN", 33),
            Self::Error => ("ERRO", 31),
        }
    }

    const fn json(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Debug, Self::Info, Self::Warn, Self::Error]
            .into_iter()
            .find(|level| level.json() == text)
    }
}

/// Where and how lines are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Log {
    level: Level,
    colour: bool,
    json: bool,
}

impl Log {
    /// As charon logs before it has read its flags: everything, in colour.
    pub(crate) const BEFORE_FLAGS: Self = Self {
        level: Level::Debug,
        colour: true,
        json: false,
    };

    /// As charon's flags say.
    pub(crate) fn new(level: &str, format: &str, colour: &str) -> Result<Self, Failure> {
        let level = Level::parse(level)
            .ok_or_else(|| Failure::new(format!("parse level: unrecognized level: \"{level}\"")))?;
        let colour = match colour {
            "disable" => false,
            "force" => true,
            "auto" | "" => std::io::stderr().is_terminal(),
            other => {
                return Err(Failure::new("invalid --log-color value").field("value", other));
            }
        };
        let json = match format {
            "console" => false,
            "json" => true,
            other => {
                return Err(Failure::new(
                    "invalid logger format; the rehearsal simulator knows console and json",
                )
                .field("format", other));
            }
        };
        Ok(Self {
            level,
            colour,
            json,
        })
    }

    pub(crate) fn debug(self, topic: &str, message: &str, fields: Fields) {
        self.write(Level::Debug, topic, message, fields);
    }

    pub(crate) fn info(self, topic: &str, message: &str, fields: Fields) {
        self.write(Level::Info, topic, message, fields);
    }

    pub(crate) fn warn(self, topic: &str, message: &str, fields: Fields) {
        self.write(Level::Warn, topic, message, fields);
    }

    /// A line of level error: a message, and the chain and fields of its cause.
    pub(crate) fn error(self, topic: &str, message: &str, cause: &Failure) {
        let message = format!("{message}: {}", cause.words);
        self.write(Level::Error, topic, &message, cause.fields.clone());
    }

    fn write(self, level: Level, topic: &str, message: &str, fields: Fields) {
        if level < self.level {
            return;
        }
        let line = if self.json {
            json_line(level, topic, message, fields)
        } else {
            console_line(level, topic, message, fields, self.colour)
        };
        // Nobody is left to be told that standard error is gone.
        std::io::stderr().write_all(line.as_bytes()).ok();
    }
}

fn console_line(level: Level, topic: &str, message: &str, fields: Fields, colour: bool) -> String {
    let time = jiff::Timestamp::now().strftime("%H:%M:%S%.3f");
    let (word, code) = level.console();
    let (word, topic) = if colour {
        (
            format!("\u{1b}[{code}m{word}\u{1b}[0m"),
            format!("\u{1b}[32m{topic:<10.10}\u{1b}[0m"),
        )
    } else {
        (word.to_owned(), format!("{topic:<10.10}"))
    };
    let fields = if fields.is_empty() {
        String::new()
    } else {
        // zap's console encoder puts spaces into its JSON.
        let pairs = fields.iter().map(|(name, value)| {
            let name = Value::from(*name);
            format!("{name}: {value}")
        });
        format!(" {{{}}}", pairs.collect::<Vec<_>>().join(", "))
    };
    // Go counts bytes.
    let padding = " ".repeat(PADDING.saturating_sub(message.len()));
    format!("{time} {word} {topic} {message}{padding}{fields}\n")
}

fn json_line(level: Level, topic: &str, message: &str, fields: Fields) -> String {
    let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.9fZ");
    let mut line = Map::new();
    line.insert("level".to_owned(), level.json().into());
    line.insert("ts".to_owned(), time.to_string().into());
    line.insert("msg".to_owned(), message.into());
    for (name, value) in fields {
        line.insert(name.to_owned(), value);
    }
    line.insert("topic".to_owned(), topic.into());
    format!("{}\n", Value::from(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use charon_log::{Event, Line};

    fn meaning(line: &str) -> Event {
        let clean = charon_files::text::clean(line.trim_end());
        Event::from_line(&Line::parse(&clean))
    }

    #[test]
    fn lines_are_read_as_charons_in_both_formats_and_with_colours() {
        let fields = || -> Fields {
            vec![
                ("peer", "a-b".into()),
                ("index", 1.into()),
                ("you", "⭐️".into()),
            ]
        };
        let expected = meaning(
            "17:17:52.922 INFO dkg        Peer summary                             {\"peer\": \"a-b\", \"index\": 1, \"you\": \"⭐️\"}",
        );
        assert!(matches!(expected, Event::Roster { .. }));
        for colour in [false, true] {
            let line = console_line(Level::Info, "dkg", "Peer summary", fields(), colour);
            assert_eq!(meaning(&line), expected, "{line}");
        }
        let line = json_line(Level::Info, "dkg", "Peer summary", fields());
        assert_eq!(meaning(&line), expected, "{line}");
    }

    #[test]
    fn a_line_looks_like_charons() {
        let line = console_line(
            Level::Info,
            "dkg",
            "Peer summary",
            vec![("peer", "a-b".into()), ("index", 1.into())],
            false,
        );
        assert_eq!(
            &line[12..],
            " INFO dkg        Peer summary                             {\"peer\": \"a-b\", \"index\": 1}\n"
        );
    }
}
