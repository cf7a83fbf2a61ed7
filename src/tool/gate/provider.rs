//! What Compose asks a provider, and how it wants to be answered (docker/compose `docs/extension.md`,
//! `pkg/compose/plugins.go`).
//!
//! Compose runs `docker-charondkg compose --project-name=NAME up --OPTION=VALUE… SERVICE`, and reads JSON lines from
//! standard output. Anything else there ends the `up` without our reason; standard error is lost. One `error` message
//! ends it with our words, of which newer releases show the first line alone.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::Serialize;

use crate::ceremony::settings::{Setting, Settings};
use crate::gate::decision::Require;

/// The word with which Compose begins.
const SUBCOMMAND: &str = "compose";

/// What Compose asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Which options there are.
    Metadata,
    /// May what depends on this service start?
    Up(Options),
    /// The project is stopped or taken down, which is always right.
    Leave,
}

/// The options of the provider service in a compose file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `project-dir`: where the project is, absolute in files of `gate install`.
    pub project_dir: Option<PathBuf>,
    /// `data-dir`: the data directory, relative to the project directory.
    pub data_dir: Option<PathBuf>,
    /// `require`.
    pub require: Require,
    /// `rehearsal`.
    pub rehearsal: bool,
    /// The project's settings, with today's variables in their place.
    pub settings: Settings,
}

/// Why a request is not understood. All of these keep the gate closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not UTF-8.
    #[error("an argument is not UTF-8: {0:?}")]
    NotText(OsString),
    /// No command.
    #[error("compose gave no command, expected up, down, stop or metadata")]
    NoCommand,
    /// An unknown command.
    #[error("compose gave the command {0:?}, expected up, down, stop or metadata")]
    UnknownCommand(String),
    /// An option that the gate does not have; a typing error in a safety option must not pass.
    #[error(
        "the gate has no option {0:?}, expected project-dir, data-dir, require, rehearsal, network, rewards-address, charon-image or relays"
    )]
    UnknownOption(String),
    /// An option without a value.
    #[error("the gate's option {0:?} has no value")]
    NoValue(String),
    /// An option that was given twice.
    #[error("the gate's option {0:?} was given twice")]
    Twice(String),
    /// A value that the option cannot have.
    #[error("the gate's option {option} is {seen:?}, expected {expected}")]
    BadValue {
        /// Which option.
        option: &'static str,
        /// Its value.
        seen: String,
        /// Which there are.
        expected: &'static str,
    },
}

/// What Compose asks, if it is Compose that asks: `argv` with the program's name first.
pub fn words_of_compose(argv: &[OsString]) -> Option<&[OsString]> {
    match argv {
        [_, first, rest @ ..] if first == SUBCOMMAND => Some(rest),
        _ => None,
    }
}

impl Request {
    /// Reads what comes after `compose`.
    ///
    /// # Errors
    /// If anything is not understood. Where a project is stopped or taken down, nothing needs to be.
    pub fn parse(words: &[OsString]) -> Result<Self, RequestError> {
        let mut words = words.iter();
        let command = loop {
            let word = words.next().ok_or(RequestError::NoCommand)?;
            match text(word)? {
                // 2.36 gives the name as a word of its own.
                "--project-name" => {
                    words.next();
                }
                flag if flag.starts_with("--project-name=") => {}
                command => break command,
            }
        };
        match command {
            "metadata" => Ok(Self::Metadata),
            "down" | "stop" => Ok(Self::Leave),
            "up" => Ok(Self::Up(options(words)?)),
            other => Err(RequestError::UnknownCommand(other.to_owned())),
        }
    }
}

fn text(word: &OsString) -> Result<&str, RequestError> {
    word.to_str()
        .ok_or_else(|| RequestError::NotText(word.clone()))
}

/// `--name=value` in any order, and the service's name.
fn options<'a>(words: impl Iterator<Item = &'a OsString>) -> Result<Options, RequestError> {
    let (mut project_dir, mut data_dir, mut require, mut rehearsal) = (None, None, None, None);
    let mut settings = Settings::new();
    for word in words {
        let Some(option) = text(word)?.strip_prefix("--") else {
            continue;
        };
        let (name, value) = option
            .split_once('=')
            .ok_or_else(|| RequestError::NoValue(option.to_owned()))?;
        let of_name = |setting: &Setting| setting.option() == name;
        if let Some(setting) = Setting::ALL.into_iter().find(of_name) {
            // A variable may well be empty.
            if settings.insert(setting, value.to_owned()).is_some() {
                return Err(RequestError::Twice(name.to_owned()));
            }
            continue;
        }
        let place = match name {
            "project-dir" => &mut project_dir,
            "data-dir" => &mut data_dir,
            "require" => &mut require,
            "rehearsal" => &mut rehearsal,
            _ => return Err(RequestError::UnknownOption(name.to_owned())),
        };
        if value.is_empty() {
            return Err(RequestError::NoValue(name.to_owned()));
        }
        if place.replace(value.to_owned()).is_some() {
            return Err(RequestError::Twice(name.to_owned()));
        }
    }
    let require = match require {
        None => Require::Confirmed,
        Some(seen) => Require::parse(&seen).ok_or(RequestError::BadValue {
            option: "require",
            seen,
            expected: "confirmed or verified",
        })?,
    };
    let rehearsal = match rehearsal.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => {
            return Err(RequestError::BadValue {
                option: "rehearsal",
                seen: other.to_owned(),
                expected: "true or false",
            });
        }
    };
    Ok(Options {
        project_dir: project_dir.map(PathBuf::from),
        data_dir: data_dir.map(PathBuf::from),
        require,
        rehearsal,
        settings,
    })
}

#[derive(Serialize)]
struct Message<'a> {
    r#type: &'static str,
    message: &'a str,
}

/// The message that ends an `up`, as one line with its end.
pub fn refusal(text: &str) -> String {
    message("error", text)
}

/// The message of a yes with something to know, likewise. A yes alone has none: Compose 2.36 shows also this one like a failure,
/// and goes on.
pub fn note(text: &str) -> String {
    message("info", text)
}

fn message(kind: &'static str, text: &str) -> String {
    let message = Message {
        r#type: kind,
        message: text,
    };
    // A line of text always has a JSON form.
    serde_json::to_string(&message).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Request, RequestError> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        Request::parse(&words)
    }

    fn up(words: &[&str]) -> Result<Options, RequestError> {
        match parse(&[&["--project-name=p", "up"], words].concat())? {
            Request::Up(options) => Ok(options),
            other @ (Request::Metadata | Request::Leave) => panic!("{other:?}"),
        }
    }

    #[test]
    fn compose_is_told_by_its_first_word_alone() {
        let argv = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(
            words_of_compose(&argv(&["docker-charondkg", "compose", "metadata"])),
            Some(&argv(&["metadata"])[..])
        );
        for other in [
            &["docker-charondkg", "charondkg", "compose", "metadata"][..],
            &["charon-dkg", "up", "compose"],
            &["compose"],
        ] {
            assert_eq!(words_of_compose(&argv(other)), None);
        }
    }

    #[test]
    fn both_ways_to_name_the_project_are_understood() {
        let plain = Options {
            project_dir: None,
            data_dir: None,
            require: Require::Confirmed,
            rehearsal: false,
            settings: Settings::new(),
        };
        for words in [
            &["--project-name=p", "up", "gate"][..],
            &["--project-name", "p", "up", "gate"],
            &["--project-name", "up", "up", "gate"],
            &["up", "gate"],
        ] {
            assert_eq!(parse(words), Ok(Request::Up(plain.clone())), "{words:?}");
        }
    }

    #[test]
    fn options_come_in_any_order() {
        assert_eq!(
            up(&[
                "--require=verified",
                "--data-dir=a=b",
                "--project-dir=/p",
                "--rehearsal=true",
                "--charon-image=charon:v1 m/charon:v2",
                "--network=",
                "gate"
            ]),
            Ok(Options {
                project_dir: Some(PathBuf::from("/p")),
                data_dir: Some(PathBuf::from("a=b")),
                require: Require::Verified,
                rehearsal: true,
                settings: Settings::from([
                    (Setting::CharonImage, "charon:v1 m/charon:v2".to_owned()),
                    (Setting::Network, String::new()),
                ]),
            })
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let owned = str::to_owned;
        for (words, error) in [
            (
                &["--requires=verified", "g"][..],
                RequestError::UnknownOption(owned("requires")),
            ),
            (&["--require", "g"], RequestError::NoValue(owned("require"))),
            (
                &["--data-dir=", "g"],
                RequestError::NoValue(owned("data-dir")),
            ),
            (
                &["--data-dir=a", "--data-dir=b", "g"],
                RequestError::Twice(owned("data-dir")),
            ),
            (
                &["--require=none", "g"],
                RequestError::BadValue {
                    option: "require",
                    seen: owned("none"),
                    expected: "confirmed or verified",
                },
            ),
            (
                &["--rehearsal=yes", "g"],
                RequestError::BadValue {
                    option: "rehearsal",
                    seen: owned("yes"),
                    expected: "true or false",
                },
            ),
        ] {
            assert_eq!(up(words), Err(error));
        }
        assert_eq!(parse(&["--project-name=p"]), Err(RequestError::NoCommand));
        assert_eq!(
            parse(&["restart", "g"]),
            Err(RequestError::UnknownCommand(owned("restart")))
        );
    }

    #[test]
    fn leaving_is_never_refused() {
        for words in [
            &["--project-name=p", "down", "--whatever", "gate"][..],
            &["--project-name", "p", "stop", "--require=none"],
        ] {
            assert_eq!(parse(words), Ok(Request::Leave));
        }
    }

    #[test]
    fn a_refusal_is_one_json_line() {
        let line = refusal("first \"line\"\nsecond");
        assert_eq!(line.matches('\n').count(), 1);
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(parsed["type"], "error");
        assert_eq!(parsed["message"], "first \"line\"\nsecond");
        assert_eq!(note("n"), "{\"type\":\"info\",\"message\":\"n\"}\n");
    }
}
