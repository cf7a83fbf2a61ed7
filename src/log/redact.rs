//! charon's output without the key in the URL of an execution client.
//!
//! charon logs all its flags (`cmd/cmd.go`, `printFlags`) and redacts tokens, but not this URL; later errors repeat it.

use url::Url;

use crate::url_keys::UrlKeys;

/// The message of the line with all flags. charon writes it before it talks to anybody.
const ALL_FLAGS: &str = "Parsed config";

const FLAG: &str = "execution-client-rpc-endpoint";

/// What comes between the flag's name and its value, and what ends the value: in console lines, in JSON, in the copy of a
/// console line that logfmt carries, and in logfmt itself, which quotes what needs it.
const FORMS: [(&str, &str); 5] = [
    ("\": \"", "\""),
    ("\":\"", "\""),
    (r#"\": \""#, r#"\""#),
    ("=\"", "\""),
    ("=", " "),
];

/// As charon itself redacts tokens.
const REDACTED: &str = "xxxxx";

/// Takes the lines of one run, from the first one on. Its result depends on them alone, so reading the output again
/// gives the same bytes.
#[derive(Debug, Default)]
pub struct Redactor {
    /// Known once charon has told its flags; a later line that looks like that one is somebody else's.
    keys: Option<UrlKeys>,
}

impl Redactor {
    /// One line as it may be kept and shown.
    pub fn line(&mut self, line: &str) -> String {
        if let Some(keys) = &self.keys {
            return keys.hide(line);
        }
        if !line.contains(ALL_FLAGS) {
            return line.to_owned();
        }
        let mut shown = String::new();
        let mut url = None;
        let mut rest = line;
        while let Some(at) = rest.find(FLAG) {
            let (before, after) = rest.split_at(at + FLAG.len());
            shown.push_str(before);
            rest = after;
            if let Some((opening, value)) = value(after)
                && !value.is_empty()
            {
                shown.push_str(opening);
                shown.push_str(REDACTED);
                rest = &after[opening.len() + value.len()..];
                url = url.or_else(|| Url::parse(value).ok());
            }
        }
        shown.push_str(rest);
        let keys = url.map(|url| UrlKeys::of(&url).long());
        self.keys = Some(keys.unwrap_or_default());
        shown
    }
}

/// The value behind the flag's name, and what comes before it. A line that was cut may end in it.
fn value(after: &str) -> Option<(&'static str, &str)> {
    FORMS.into_iter().find_map(|(opening, closing)| {
        let rest = after.strip_prefix(opening)?;
        let end = rest
            .match_indices(closing)
            .find(|(at, _)| !rest[..*at].ends_with('\\'))
            .map_or(rest.len(), |(at, _)| at);
        Some((opening, &rest[..end]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://user:pw@host.example/v3/0123456789abcdef?api=secret-of-mine";

    /// The lines as charon v1.10.3 writes them with the URL.
    const LINES: [&str; 4] = [
        r#"18:42:11.099 INFO cmd        Parsed config                            {"data-dir": ".charon", "execution-client-rpc-endpoint": "URL", "help": "false"}"#,
        r#"{"level":"info","msg":"Parsed config","data-dir":".charon","execution-client-rpc-endpoint":"URL","help":"false","topic":"cmd"}"#,
        r#"ts=2026-11-22T18:23:53.313771046Z msg="Parsed config" execution-client-rpc-endpoint="URL" help=false pretty="INFO cmd        Parsed config {\"execution-client-rpc-endpoint\": \"URL\", \"help\": \"false\"}""#,
        r#"ts=2026-11-22T18:23:53.313771046Z msg="Parsed config" execution-client-rpc-endpoint=URL help=false pretty="INFO cmd        Parsed config {\"execution-client-rpc-endpoint\": \"URL\", \"help\": \"false\"}""#,
    ];

    #[test]
    fn the_url_is_redacted_where_charon_tells_its_flags_and_nothing_else_is() {
        for line in LINES {
            let told = Redactor::default().line(&line.replace("URL", URL));
            assert_eq!(told, line.replace("URL", REDACTED));
            let without = line.replace("URL", "");
            assert_eq!(Redactor::default().line(&without), without);
        }
    }

    #[test]
    fn a_line_that_is_cut_anywhere_begins_like_the_whole_one() {
        for line in LINES {
            let line = line.replace("URL", URL);
            let whole = Redactor::default().line(&line);
            for cut in 0..line.len() {
                let begun = Redactor::default().line(&line[..cut]);
                assert!(!begun.contains("host.example"), "{begun}");
                assert!(whole.starts_with(&begun), "{begun}");
            }
        }
    }

    #[test]
    fn a_later_line_does_not_repeat_the_key() {
        let mut redactor = Redactor::default();
        assert_eq!(
            redactor.line("12:00:00.000 INFO 0123456789abcdef"),
            "12:00:00.000 INFO 0123456789abcdef"
        );
        redactor.line(&LINES[0].replace("URL", URL));
        let error = format!(
            "Post \"{}\": dial tcp: refused",
            URL.replace(":pw@", ":***@")
        );
        assert_eq!(
            redactor.line(&error),
            "Post \"https://user:***@host.example/v3/[…]?api=[…]\": dial tcp: refused"
        );
    }

    #[test]
    fn a_short_name_in_the_url_hides_nothing_that_charon_says() {
        let mut redactor = Redactor::default();
        redactor.line(&LINES[0].replace("URL", "http://dkg:peer@host:8545/v2"));
        let line = "12:00:00.000 INFO dkg        Connected to peer v2";
        assert_eq!(redactor.line(line), line);
    }

    #[test]
    fn nobody_else_decides_what_is_hidden() {
        let mut redactor = Redactor::default();
        redactor.line(&LINES[0].replace("URL", ""));
        redactor.line(&LINES[0].replace("URL", "https://host/Connected"));
        assert_eq!(redactor.line("Connected"), "Connected");
    }
}
