//! A chain of errors as charon prints it: its words and its fields.

/// Longest piece of charon's words that is repeated to people, in characters.
const MAX_QUOTE: usize = 400;

/// The words and fields of one error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain<'a> {
    /// From the outermost error to the innermost, separated by `: `.
    pub(super) words: &'a str,
    /// Fields of all of them.
    pub(super) fields: &'a [(String, String)],
}

impl Chain<'_> {
    /// Whether any of the phrases occurs.
    pub(super) fn has(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.words.contains(phrase))
    }

    /// A field that is there and not empty.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        let mut found = self.fields.iter().filter(|(key, _)| key == name);
        let value = found.next().map(|(_, value)| value.clone());
        value.filter(|value| !value.is_empty())
    }

    /// The path that the error is about: a field, or the one in Go's `open <path>: permission denied`.
    pub(super) fn path(&self) -> Option<String> {
        let named = ["path", "file", "filename", "dir", "data-dir"];
        named
            .iter()
            .find_map(|name| self.field(name))
            .or_else(|| self.operated_path())
    }

    fn operated_path(&self) -> Option<String> {
        let verbs = [
            "open ",
            "mkdir ",
            "write ",
            "remove ",
            "unlinkat ",
            "stat ",
            "lstat ",
        ];
        let (_, after) = verbs
            .iter()
            .filter_map(|verb| self.words.rsplit_once(&format!(": {verb}")))
            .max_by_key(|(before, _)| before.len())?;
        let (path, _) = after.split_once(": ")?;
        Some(path.to_owned())
    }
}

/// charon's words, no longer than people will read.
pub(super) fn shorten(words: &str) -> String {
    let mut short: String = words.chars().take(MAX_QUOTE).collect();
    if short.len() < words.len() {
        short.push('…');
    }
    short
}
