//! What a file is that should be one of charon's and is not: another of charon's files, or what a download, an editor or a
//! chat made of one.

use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::text::clean;

/// Most characters of a server's message that are repeated.
const MAX_MESSAGE: usize = 120;

/// Which of charon's files was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// `cluster-definition.json`.
    Definition,
    /// `cluster-lock.json`.
    ClusterLock,
    /// `deposit-data.json` and its kin.
    DepositData,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Expected::Definition => "a cluster definition",
            Expected::ClusterLock => "a cluster lock",
            Expected::DepositData => "deposit data",
        })
    }
}

/// What a file is instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WrongFile {
    /// Another of charon's files.
    Other(Expected),
    /// A keystore of a validator key share (EIP-2335).
    Keystore,
    /// The answer of a server that had no such file, and what it says.
    Message(String),
    /// A page as a browser saves it.
    WebPage,
    /// Text in UTF-16, as PowerShell's `>` writes it.
    Utf16,
    /// JSON whose quotation marks a word processor or a chat has replaced.
    TypographicQuotes,
    /// A definition or lock of the time before their formats had a version.
    WithoutVersion,
    /// A file that was compressed, or an archive.
    Compressed,
    /// Nothing at all.
    Empty,
}

impl fmt::Display for WrongFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WrongFile::Other(other) => other.fmt(f),
            WrongFile::Keystore => f.write_str("a keystore"),
            WrongFile::Message(message) => {
                write!(f, "a server's answer instead of the file: {message}")
            }
            WrongFile::WebPage => f.write_str("a saved web page"),
            WrongFile::Utf16 => f.write_str("UTF-16 text, as PowerShell's > writes it"),
            WrongFile::TypographicQuotes => {
                f.write_str("JSON whose quotation marks a word processor or a chat has replaced")
            }
            WrongFile::WithoutVersion => {
                f.write_str("a file without a version, from before charon's files had one")
            }
            WrongFile::Compressed => f.write_str("a compressed file or an archive"),
            WrongFile::Empty => f.write_str("an empty file"),
        }
    }
}

/// The keys that tell charon's files apart.
#[derive(Deserialize)]
struct Keys {
    cluster_definition: Option<InnerKeys>,
    distributed_validators: Option<IgnoredAny>,
    operators: Option<IgnoredAny>,
    version: Option<IgnoredAny>,
    crypto: Option<IgnoredAny>,
    message: Option<serde_json::Value>,
    error: Option<serde_json::Value>,
}

/// The same of the definition in a lock.
#[derive(Deserialize)]
struct InnerKeys {
    version: Option<IgnoredAny>,
}

/// The same of an entry of deposit data.
#[derive(Deserialize)]
struct DepositKeys {
    #[serde(rename = "withdrawal_credentials")]
    _withdrawal_credentials: IgnoredAny,
}

impl WrongFile {
    /// What a file is, if it is clearly not what was asked for; its own parser says what is wrong with any other.
    pub fn of(bytes: &[u8], expected: Expected) -> Option<Self> {
        // With its mark, or without one before the first ASCII letter.
        if matches!(
            bytes,
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 1..=0x7f, ..] | [1..=0x7f, 0, ..]
        ) {
            return Some(WrongFile::Utf16);
        }
        // gzip, zip, xz, zstd and bzip2.
        let marks: [&[u8]; 5] = [
            b"\x1f\x8b",
            b"PK\x03\x04",
            b"\xfd7zXZ\0",
            b"\x28\xb5\x2f\xfd",
            b"BZh",
        ];
        if marks.iter().any(|mark| bytes.starts_with(mark)) {
            return Some(WrongFile::Compressed);
        }
        let text = std::str::from_utf8(bytes).ok()?;
        let text = text.trim_start_matches('\u{feff}').trim();
        let first = text.chars().next();
        let found = match first {
            None => return Some(WrongFile::Empty),
            Some('<') => return Some(WrongFile::WebPage),
            Some('[') => {
                let entries = serde_json::from_str::<Vec<DepositKeys>>(text);
                entries
                    .is_ok_and(|entries| !entries.is_empty())
                    .then_some(WrongFile::Other(Expected::DepositData))
            }
            Some(_) => match serde_json::from_str::<Keys>(text) {
                Ok(keys) => keys.kind(),
                // Quotation marks within a name are no fault; those in place of JSON's own are.
                Err(_) => text
                    .contains(['\u{201c}', '\u{201d}', '\u{201e}'])
                    .then_some(WrongFile::TypographicQuotes),
            },
        };
        found.filter(|found| *found != WrongFile::Other(expected))
    }
}

impl Keys {
    fn kind(&self) -> Option<WrongFile> {
        let said = self.message.as_ref().or(self.error.as_ref());
        let is_lock = self.cluster_definition.is_some() || self.distributed_validators.is_some();
        let is_old = |inner: &InnerKeys| inner.version.is_none();
        match (is_lock, self.operators.is_some(), said) {
            (true, _, _) if self.cluster_definition.as_ref().is_some_and(is_old) => {
                Some(WrongFile::WithoutVersion)
            }
            (true, _, _) => Some(WrongFile::Other(Expected::ClusterLock)),
            (false, true, _) if self.version.is_none() => Some(WrongFile::WithoutVersion),
            (false, true, _) => Some(WrongFile::Other(Expected::Definition)),
            (false, false, _) if self.crypto.is_some() => Some(WrongFile::Keystore),
            (false, false, Some(said)) => {
                let said = said
                    .as_str()
                    .map_or_else(|| said.to_string(), str::to_owned);
                let said: String = clean(&said).chars().take(MAX_MESSAGE).collect();
                Some(WrongFile::Message(said))
            }
            (false, false, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_what_it_is() {
        let definition = r#"{"name": "“the best” cluster", "operators": [], "version": "v1.10.0"}"#;
        let lock =
            format!(r#"{{"cluster_definition": {definition}, "distributed_validators": []}}"#);
        let deposits = r#"[{"pubkey": "", "withdrawal_credentials": ""}]"#;
        let utf16 = |text: &str, mark: bool| -> Vec<u8> {
            let units = text.encode_utf16().flat_map(u16::to_le_bytes);
            let mark = mark.then_some([0xff, 0xfe]).into_iter().flatten();
            mark.chain(units).collect()
        };
        let said = |text: &str| WrongFile::Message(text.to_owned());
        for (bytes, found) in [
            (lock.as_bytes(), WrongFile::Other(Expected::ClusterLock)),
            (deposits.as_bytes(), WrongFile::Other(Expected::DepositData)),
            (br#"{"crypto": {}, "version": 4}"#, WrongFile::Keystore),
            (
                br#"{"operators": [], "num_validators": 1}"#,
                WrongFile::WithoutVersion,
            ),
            (
                br#"{"message": "not found", "statusCode": 404}"#,
                said("not found"),
            ),
            (br#"{"error": {"code": 5}}"#, said(r#"{"code":5}"#)),
            (b"\n<!DOCTYPE html><html>", WrongFile::WebPage),
            (&utf16(definition, true), WrongFile::Utf16),
            (&utf16(definition, false), WrongFile::Utf16),
            (
                "{“version”: “v1.10.0”}".as_bytes(),
                WrongFile::TypographicQuotes,
            ),
            (b"\x1f\x8b\x08\0", WrongFile::Compressed),
            (b"PK\x03\x04\x14\0", WrongFile::Compressed),
            (b"\x28\xb5\x2f\xfd\x24", WrongFile::Compressed),
            (b"", WrongFile::Empty),
            (b" \n", WrongFile::Empty),
        ] {
            assert_eq!(WrongFile::of(bytes, Expected::Definition), Some(found));
        }
        for (bytes, expected) in [
            (definition.as_bytes(), Expected::Definition),
            (lock.as_bytes(), Expected::ClusterLock),
            (deposits.as_bytes(), Expected::DepositData),
            // What else is wrong with them, their parsers tell.
            (b"{}".as_slice(), Expected::Definition),
            (b"{", Expected::ClusterLock),
            (b"[]", Expected::DepositData),
        ] {
            assert_eq!(WrongFile::of(bytes, expected), None);
        }
        let old = br#"{"cluster_definition": {"operators": []}, "distributed_validators": []}"#;
        let found = WrongFile::of(old, Expected::ClusterLock);
        assert_eq!(found, Some(WrongFile::WithoutVersion));
        let found = WrongFile::of(definition.as_bytes(), Expected::ClusterLock);
        assert_eq!(found, Some(WrongFile::Other(Expected::Definition)));
    }
}
