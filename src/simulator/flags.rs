//! Command lines as cobra reads them, with `CHARON_*` variables behind them (`cmd/cmd.go`, initializeConfig).

use std::collections::BTreeMap;
use std::time::Duration;

use super::failure::{Failure, Fields};

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A text.
    Text,
    /// Nothing, or `=true` and `=false`.
    Switch,
    /// Texts separated by commas; may be repeated.
    List,
    /// A duration such as `1m30s`.
    Period,
}

/// A flag: its name, what it takes, and its default.
pub(crate) type Flag = (&'static str, Kind, &'static str);

/// charon's flags of every command that takes part in a network, v1.10.
pub(crate) const COMMON: [Flag; 10] = [
    ("help", Kind::Switch, "false"),
    ("log-color", Kind::Text, "auto"),
    ("log-format", Kind::Text, "console"),
    ("log-level", Kind::Text, "info"),
    ("log-output-path", Kind::Text, ""),
    ("p2p-disable-reuseport", Kind::Switch, "false"),
    ("p2p-external-hostname", Kind::Text, ""),
    ("p2p-external-ip", Kind::Text, ""),
    ("p2p-tcp-address", Kind::List, ""),
    ("p2p-udp-address", Kind::List, ""),
];

/// Those of every ceremony besides.
pub(crate) const CEREMONY: [Flag; 8] = [
    ("execution-client-rpc-endpoint", Kind::Text, ""),
    ("nickname", Kind::Text, ""),
    ("no-verify", Kind::Switch, "false"),
    ("p2p-relays", Kind::List, "https://4.relay.obol.dev"),
    ("publish", Kind::Switch, "false"),
    ("publish-address", Kind::Text, "https://api.obol.tech/v1"),
    ("publish-timeout", Kind::Period, "1m0s"),
    ("shutdown-delay", Kind::Period, "5s"),
];

/// The values of all flags of a command.
#[derive(Debug, Clone)]
pub(crate) struct Values {
    values: BTreeMap<&'static str, (Kind, Vec<String>)>,
}

impl Values {
    /// Reads arguments: flags only, since none of the commands takes anything else. Flags that are not given come
    /// from `environment`, then from their defaults.
    pub(crate) fn parse(
        flags: &[Flag],
        arguments: &[String],
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let mut given: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let Some(flag) = argument.strip_prefix("--").filter(|rest| !rest.is_empty()) else {
                return Err(usage(format!(
                    "unknown command \"{argument}\" for \"charon\""
                )));
            };
            let (name, attached) = flag
                .split_once('=')
                .map_or((flag, None), |(name, value)| (name, Some(value.to_owned())));
            let Some(&(name, kind, _)) = flags.iter().find(|(known, _, _)| *known == name) else {
                return Err(usage(format!("unknown flag: --{name}")));
            };
            let value = match (attached, kind) {
                (Some(value), _) => value,
                (None, Kind::Switch) => "true".to_owned(),
                (None, Kind::Text | Kind::List | Kind::Period) => arguments
                    .next()
                    .cloned()
                    .ok_or_else(|| usage(format!("flag needs an argument: --{name}")))?,
            };
            let values = given.entry(name).or_default();
            if kind != Kind::List {
                values.clear();
            }
            values.push(value);
        }
        let mut values = BTreeMap::new();
        for &(name, kind, default) in flags {
            let variable = format!("CHARON_{}", name.to_uppercase().replace('-', "_"));
            let texts = given
                .remove(name)
                .or_else(|| environment(&variable).map(|value| vec![value]))
                .unwrap_or_else(|| vec![default.to_owned()]);
            let texts = check(name, kind, texts)?;
            values.insert(name, (kind, texts));
        }
        Ok(Self { values })
    }

    /// The value of a flag that is not a list.
    pub(crate) fn text(&self, name: &str) -> &str {
        let values = self.list(name);
        values.first().map_or("", String::as_str)
    }

    /// Whether a switch is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.text(name) == "true"
    }

    /// The values of a list.
    pub(crate) fn list(&self, name: &str) -> &[String] {
        self.values
            .get(name)
            .map_or(&[], |(_, values)| values.as_slice())
    }

    /// The value of a duration.
    pub(crate) fn period(&self, name: &str) -> Duration {
        go_duration(self.text(name)).unwrap_or_default()
    }

    /// All values as charon logs them: in alphabetical order, tokens redacted.
    pub(crate) fn as_fields(&self) -> Fields {
        let shown = self.values.iter().map(|(name, (kind, values))| {
            let text = match kind {
                _ if name.contains("auth-token") => "xxxxx".to_owned(),
                Kind::List => format!("[{}]", values.join(",")),
                Kind::Text | Kind::Switch | Kind::Period => values.concat(),
            };
            (*name, text.into())
        });
        shown.collect()
    }
}

fn check(name: &str, kind: Kind, texts: Vec<String>) -> Result<Vec<String>, Failure> {
    let wrong = |text: &str, why: &str| {
        usage(format!(
            "invalid argument \"{text}\" for \"--{name}\" flag: {why}"
        ))
    };
    match kind {
        Kind::Text => Ok(texts),
        Kind::List => Ok(texts
            .iter()
            .flat_map(|text| text.split(','))
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .collect()),
        Kind::Switch => texts
            .into_iter()
            .map(|text| match text.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok("true".to_owned()),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok("false".to_owned()),
                _ => Err(wrong(&text, "invalid syntax")),
            })
            .collect(),
        Kind::Period => texts
            .into_iter()
            .map(|text| match go_duration(&text) {
                Some(_) => Ok(text),
                None => Err(wrong(&text, "time: invalid duration")),
            })
            .collect(),
    }
}

fn usage(words: String) -> Failure {
    Failure {
        usage: true,
        ..Failure::new(words)
    }
}

/// Go's `time.ParseDuration` for what anybody writes: `5s`, `1m30s`, `250ms`, `0`.
fn go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let unit_end = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let number: u64 = number.parse().ok()?;
        let millis = match unit {
            "h" => number.checked_mul(3_600_000)?,
            "m" => number.checked_mul(60_000)?,
            "s" => number.checked_mul(1000)?,
            "ms" => number,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(millis))?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: [Flag; 4] = [
        ("data-dir", Kind::Text, ".charon"),
        ("no-verify", Kind::Switch, "false"),
        ("p2p-relays", Kind::List, "https://a,https://b"),
        ("timeout", Kind::Period, "2m0s"),
    ];

    fn parse(arguments: &[&str]) -> Result<Values, Failure> {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        Values::parse(&FLAGS, &arguments, |_| None)
    }

    #[test]
    fn flags_come_from_arguments_then_environment_then_defaults() {
        let values = Values::parse(&FLAGS, &["--data-dir=x".to_owned()], |name| match name {
            "CHARON_DATA_DIR" => Some("y".to_owned()),
            "CHARON_P2P_RELAYS" => Some("https://c".to_owned()),
            _ => None,
        })
        .unwrap();
        assert_eq!(values.text("data-dir"), "x");
        assert_eq!(values.list("p2p-relays"), ["https://c"]);
        assert_eq!(values.period("timeout"), Duration::from_secs(120));
        assert!(!values.is_on("no-verify"));
    }

    #[test]
    fn lists_are_split_and_repeated_and_switches_stand_alone() {
        let values = parse(&[
            "--p2p-relays",
            "http://a,http://b",
            "--p2p-relays=http://c",
            "--no-verify",
            "--timeout",
            "1m30s",
        ])
        .unwrap();
        assert_eq!(
            values.list("p2p-relays"),
            ["http://a", "http://b", "http://c"]
        );
        assert!(values.is_on("no-verify"));
        assert_eq!(values.period("timeout"), Duration::from_secs(90));
    }

    #[test]
    fn mistakes_are_told_in_cobras_words() {
        for (arguments, words) in [
            (vec!["--frobnicate"], "unknown flag: --frobnicate"),
            (vec!["--data-dir"], "flag needs an argument: --data-dir"),
            (vec!["x"], "unknown command \"x\" for \"charon\""),
            (
                vec!["--timeout=soon"],
                "invalid argument \"soon\" for \"--timeout\" flag: time: invalid duration",
            ),
            (
                vec!["--no-verify=perhaps"],
                "invalid argument \"perhaps\" for \"--no-verify\" flag: invalid syntax",
            ),
        ] {
            let failure = parse(&arguments).unwrap_err();
            assert_eq!(failure.words, words);
            assert!(failure.usage);
        }
    }

    #[test]
    fn durations_are_gos() {
        assert_eq!(go_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(go_duration("1h2m3s"), Some(Duration::from_secs(3723)));
        for bad in ["", "5", "s", "5x", "-5s"] {
            assert_eq!(go_duration(bad), None, "{bad}");
        }
    }
}
