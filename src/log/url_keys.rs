//! What of a URL may be a provider's key or a password, and texts without it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use url::Url;

/// Parts of a URL of this length in bytes may be a provider's key; shorter ones are words such as `v2`.
const SHORTEST_KEY: usize = 8;

/// A text may show an address that was escaped for another one; more escapes than these nobody puts around one.
const ESCAPED_TIMES: usize = 3;

/// What may be a key or a password, as it is sent and without escapes; the longest first.
#[derive(Clone, Default)]
pub struct UrlKeys(Vec<String>);

impl std::fmt::Debug for UrlKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UrlKeys(redacted)")
    }
}

impl UrlKeys {
    /// What may be one in user name, password, path and query.
    pub fn of(url: &Url) -> Self {
        let (user, password) = (url.username(), url.password().unwrap_or_default());
        let mut keys = vec![user.to_owned(), password.to_owned()];
        let query = url.query().unwrap_or_default();
        let parts = url.path().split('/').chain(query.split(['&', '=']));
        for part in parts.filter(|part| part.len() >= SHORTEST_KEY) {
            // In a query `+` may stand for a blank.
            keys.extend([part.to_owned(), part.replace('+', " ")]);
        }
        let decoded: Vec<String> = keys.iter().map(|key| plain(key)).collect();
        keys.extend(decoded);
        if !(user.is_empty() && password.is_empty()) {
            // So it is sent (RFC 7617).
            keys.push(STANDARD.encode(format!("{}:{}", plain(user), plain(password))));
        }
        Self(keys).sorted()
    }

    /// The same with the long names in the host's own name: some providers have the key there.
    pub fn with_host(mut self, url: &Url) -> Self {
        let labels = url.host_str().unwrap_or_default().split('.');
        let labels = labels.filter(|label| label.len() >= SHORTEST_KEY);
        self.0.extend(labels.map(str::to_owned));
        self.sorted()
    }

    /// Without the short ones, such as a user's name: among texts about other things they would be found in words that
    /// mean something.
    pub fn long(mut self) -> Self {
        self.0.retain(|key| key.len() >= SHORTEST_KEY);
        self
    }

    /// A short one may be part of a long one, whose rest would stay.
    fn sorted(mut self) -> Self {
        self.0.retain(|key| !key.is_empty());
        self.0.sort_by_key(|key| std::cmp::Reverse(key.len()));
        self
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A text without them, as it is otherwise. Cut it afterwards if at all: half a key would be found no more.
    pub fn hide(&self, text: &str) -> String {
        let text = text.to_owned();
        self.0
            .iter()
            .fold(text, |text, key| text.replace(key, "[…]"))
    }

    /// A text without them however they are escaped, and without escapes.
    pub fn hide_escaped(&self, text: &str) -> String {
        self.hide(&plain(&self.hide(text)))
    }
}

/// A text without the escapes of URLs, which may be escaped themselves, and without those that JSON has for `/`.
fn plain(text: &str) -> String {
    let mut text = text.replace("\\/", "/");
    for _ in 0..ESCAPED_TIMES {
        text = percent_decode_str(&text).decode_utf8_lossy().into_owned();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(url: &str) -> UrlKeys {
        UrlKeys::of(&Url::parse(url).unwrap())
    }

    #[test]
    fn no_part_of_the_url_that_may_be_a_key_is_shown_however_it_is_written() {
        let url = "https://user:pa%24s@label-with-a-key.example:8545/v2/path%2Fkey%3D1?api+key%21name=query%20value&id=1";
        let keys = keys(url).with_host(&Url::parse(url).unwrap());
        for (said, shown) in [
            ("no /v2/path%2Fkey%3D1 here", "no /v2/[…] here"),
            ("no /v2/path%2fkey%3d1 here", "no /v2/[…] here"),
            ("no /v2/path/key=1 here", "no /v2/[…] here"),
            ("no \\/v2\\/path\\/key=1 here", "no /v2/[…] here"),
            ("no %2Fv2%2Fpath%252Fkey%253D1", "no /v2/[…]"),
            ("100%path%2Fkey%3D1", "100%[…]"),
            ("?api+key%21name=1", "?[…]=1"),
            ("?api key!name=query value&id=1", "?[…]=[…]&id=1"),
            ("query%20value", "[…]"),
            ("label-with-a-key.example", "[…].example"),
            ("pa%24s and pa$s of user", "[…] and […] of […]"),
            (
                "Authorization: Basic dXNlcjpwYSRz",
                "Authorization: Basic […]",
            ),
        ] {
            assert_eq!(keys.hide_escaped(said), shown);
        }
    }

    #[test]
    fn a_short_key_does_not_keep_a_long_one_from_being_found() {
        let keys = keys("https://host/password?token=password-of-mine");
        assert_eq!(keys.hide("no password-of-mine"), "no […]");
    }

    #[test]
    fn a_url_without_anything_like_a_key_is_known_as_such() {
        for url in [
            "http://127.0.0.1:8545",
            "http://execution-client:8545/",
            "https://host/v2?id=1",
        ] {
            assert!(keys(url).is_empty(), "{url}");
        }
        for url in [
            "https://host/v3/0123456789abcdef",
            "https://host/?key=0123456789abcdef",
            "https://host/?0123456789abcdef",
            "https://me:pw@host/",
        ] {
            assert!(!keys(url).is_empty(), "{url}");
        }
    }
}
