//! Encryption of a backup, in the age format (<https://age-encryption.org/v1>): to a passphrase, or to recipients. What
//! was put into ASCII armour since, to be sent as text, opens too.

use std::io::{Read as _, Write as _};
use std::path::Path;

use age::armor::ArmoredReader;
use age::secrecy::SecretString;
use age::{DecryptError, Decryptor, Encryptor, scrypt, x25519};
use zeroize::Zeroizing;

use crate::custody::contents::MAX_ARCHIVE_BYTES;
use crate::machine::read::{self, Limit, ReadError};
use charon_files::text::{from_utf16, written_as_utf8};

/// Work factor of a passphrase, as of the `age` program: 2^18, about a second and 256 MiB.
const WORK_FACTOR: u8 = 18;

/// The highest work factor that is carried out on reading: 1 GiB of memory. More is a trap, not a backup.
const MAX_WORK_FACTOR: u8 = 20;

/// Longest header that is read, in bytes: a few hundred recipients at about 100 bytes. Each of them costs a multiplication
/// on the curve for each identity, before anything is known to be right.
const MAX_HEADER: usize = 64 << 10;

/// Shortest passphrase that a backup is made with, in characters: strangers may keep the file for years.
pub const MIN_PASSPHRASE: usize = 12;

/// The archive, a 16-byte tag for each 64 KiB of it, and the header.
const MAX_BINARY: u64 = MAX_ARCHIVE_BYTES + MAX_ARCHIVE_BYTES / 4096 + (1 << 20);

/// Longest encrypted backup: in ASCII armour, which makes 66 bytes of 48 at most.
pub const SEALED: Limit = Limit {
    bytes: MAX_BINARY / 48 * 66,
    what: "an encrypted backup",
};

/// A passphrase that cannot be typed is refused.
const PASSPHRASE: Limit = Limit {
    bytes: 4 << 10,
    what: "a passphrase",
};

/// Identities and recipients are lines of below 100 characters.
const AGE_KEYS: Limit = Limit {
    bytes: 64 << 10,
    what: "a list of age keys",
};

/// A passphrase; shown nowhere, and wiped when dropped.
#[derive(Clone)]
pub struct Passphrase(SecretString);

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

impl Passphrase {
    /// Takes it over as it is.
    pub fn new(text: &Zeroizing<String>) -> Self {
        Self(SecretString::from(text.as_str()))
    }

    /// Reads it from a file: its one line, with blanks at both ends, as it would be typed.
    ///
    /// # Errors
    /// When there is no such file, or nothing or anything but text in it, or more than can be typed at once.
    pub fn read(path: &Path) -> Result<Self, SealError> {
        let bytes = read::read_secret_file(path, PASSPHRASE)?;
        let text = text_of(&bytes, path)?.trim_end_matches(['\r', '\n']);
        let lines = text.lines().count();
        if lines > 1 {
            return Err(SealError::NotAKey {
                path: path.display().to_string(),
                seen: format!("{lines} lines"),
                expected: "a passphrase of one line, which can also be typed",
            });
        }
        Ok(Self(SecretString::from(text)))
    }

    /// Length in characters.
    pub fn length(&self) -> usize {
        age::secrecy::ExposeSecret::expose_secret(&self.0)
            .chars()
            .count()
    }

    /// Whether both are the same.
    pub fn is(&self, other: &Self) -> bool {
        use age::secrecy::ExposeSecret as _;
        self.0.expose_secret() == other.0.expose_secret()
    }
}

/// What a backup is encrypted to.
pub enum SealTo {
    /// Anyone who knows it can open the backup.
    Passphrase(Passphrase),
    /// Each of them can open it.
    Recipients(Vec<x25519::Recipient>),
}

impl std::fmt::Debug for SealTo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SealTo::Passphrase(_) => f.write_str("Passphrase(..)"),
            SealTo::Recipients(recipients) => write!(f, "Recipients({})", recipients.len()),
        }
    }
}

/// What opens a backup.
pub enum OpenWith {
    /// The passphrase.
    Passphrase(Passphrase),
    /// Any of these.
    Identities(Vec<x25519::Identity>),
}

impl std::fmt::Debug for OpenWith {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OpenWith::Passphrase(_) => f.write_str("Passphrase(..)"),
            OpenWith::Identities(identities) => write!(f, "Identities({})", identities.len()),
        }
    }
}

/// Why something was not encrypted or a key for it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// No passphrase at all, or no text.
    #[error("{path} has {seen}, expected {expected}")]
    NotAKey {
        /// Where it was looked for.
        path: String,
        /// What is there instead.
        seen: String,
        /// What should be there.
        expected: &'static str,
    },
    /// Not an age recipient, or one of another kind.
    #[error("{seen:?}… is {what}, expected an age recipient: age1 and 58 more characters")]
    Recipient {
        /// How what was given begins.
        seen: String,
        /// What that is.
        what: &'static str,
    },
    /// The file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The library failed.
    #[error("cannot encrypt: {0}")]
    Encrypt(String),
}

/// Why a backup was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is encrypted to something else.
    #[error("this {0} does not open it")]
    Wrong(&'static str),
    /// It is opened by something of the other kind.
    #[error("it is opened by {expected}, not by {seen}")]
    OtherKind {
        /// What was given.
        seen: &'static str,
        /// What it needs.
        expected: &'static str,
    },
    /// Opening it would take too much memory.
    #[error("its passphrase has the work factor {seen}, expected at most {MAX_WORK_FACTOR}")]
    Costly {
        /// Binary logarithm of scrypt's N.
        seen: u8,
    },
    /// It is cut off, changed, or no such file.
    #[error("it is damaged or no age file: {0}")]
    Damaged(String),
}

fn text_of<'a>(bytes: &'a [u8], path: &Path) -> Result<&'a str, SealError> {
    written_as_utf8(bytes).ok_or_else(|| SealError::NotAKey {
        path: path.display().to_string(),
        seen: match from_utf16(bytes) {
            Some(_) => "UTF-16 text, as PowerShell's > writes it".to_owned(),
            None => "bytes that are no text".to_owned(),
        },
        expected: "UTF-8",
    })
}

/// The lines of a file of keys, without comments.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// An age recipient, `age1…`.
///
/// # Errors
/// If it is not one.
pub fn parse_recipient(text: &str) -> Result<x25519::Recipient, SealError> {
    // A secret key in the wrong place must not be shown.
    text.parse().map_err(|_| SealError::Recipient {
        seen: text.chars().take(8).collect(),
        what: key_kind(text),
    })
}

/// What a key is that the `age` program may take and this one does not, by how it begins.
fn key_kind(text: &str) -> &'static str {
    let text = text.to_ascii_lowercase();
    let begins = |start: &str| text.starts_with(start);
    // Bech32 has its data behind the last 1, so that a plugin's name is in front of a second one.
    let of_plugin = |prefix: &str| {
        text.strip_prefix(prefix)
            .is_some_and(|rest| rest.contains('1'))
    };
    if begins("age1pq1") {
        "a post-quantum recipient, to which this program does not encrypt"
    } else if of_plugin("age1") {
        "the recipient of a plugin, to which this program does not encrypt"
    } else if begins("age1") {
        "a recipient that is mistyped or cut off"
    } else if begins("ssh-") || begins("-----begin openssh") {
        "an SSH key, which this program does not use"
    } else if begins("age-secret-key-pq-") {
        "a post-quantum identity, which this program does not use"
    } else if begins("age-plugin-") {
        "the identity of a plugin, which this program does not use"
    } else if begins("age-secret-key-") {
        "an identity, which is secret"
    } else if begins("-----begin age") || begins("age-encryption.org") {
        "an encrypted file, which `age --decrypt` opens"
    } else {
        "something else"
    }
}

/// The recipients in a file, one a line.
///
/// # Errors
/// If the file has none, or something else.
pub fn read_recipients(path: &Path) -> Result<Vec<x25519::Recipient>, SealError> {
    let bytes = read::read_file(path, AGE_KEYS)?;
    let recipients = lines(text_of(&bytes, path)?)
        .map(parse_recipient)
        .collect::<Result<Vec<_>, _>>()?;
    some(recipients, path, "age recipients, one a line")
}

/// The identities in a file as `age-keygen` writes it.
///
/// # Errors
/// If the file has none, or something else.
pub fn read_identities(path: &Path) -> Result<Vec<x25519::Identity>, SealError> {
    let bytes = read::read_secret_file(path, AGE_KEYS)?;
    let expected = "AGE-SECRET-KEY-1…, as age-keygen writes it";
    let identity = |line: &str| {
        line.parse().map_err(|_: &str| SealError::NotAKey {
            path: path.display().to_string(),
            seen: key_kind(line).to_owned(),
            expected,
        })
    };
    let identities = lines(text_of(&bytes, path)?)
        .map(identity)
        .collect::<Result<Vec<_>, _>>()?;
    some(identities, path, expected)
}

fn some<T>(keys: Vec<T>, path: &Path, expected: &'static str) -> Result<Vec<T>, SealError> {
    if keys.is_empty() {
        return Err(SealError::NotAKey {
            path: path.display().to_string(),
            seen: "none".to_owned(),
            expected,
        });
    }
    Ok(keys)
}

/// A throw-away identity: made a recipient of a backup, it reads that back where none of the recipients' identities is at
/// hand, and nobody has it afterwards.
pub fn throw_away_identity() -> x25519::Identity {
    x25519::Identity::generate()
}

/// Encrypts.
///
/// # Errors
/// When the library refuses, which it does without recipients.
pub fn seal(plain: &[u8], to: &SealTo) -> Result<Vec<u8>, SealError> {
    seal_at(plain, to, WORK_FACTOR)
}

fn seal_at(plain: &[u8], to: &SealTo, work_factor: u8) -> Result<Vec<u8>, SealError> {
    let failed = |error: &dyn std::fmt::Display| SealError::Encrypt(error.to_string());
    let encryptor = match to {
        SealTo::Passphrase(Passphrase(text)) => {
            let mut recipient = scrypt::Recipient::new(text.clone());
            recipient.set_work_factor(work_factor);
            let only: &dyn age::Recipient = &recipient;
            Encryptor::with_recipients(std::iter::once(only))
        }
        SealTo::Recipients(all) => {
            Encryptor::with_recipients(all.iter().map(|one| -> &dyn age::Recipient { one }))
        }
    }
    .map_err(|error| failed(&error))?;
    let mut sealed = Vec::new();
    let mut writer = encryptor
        .wrap_output(&mut sealed)
        .map_err(|error| failed(&error))?;
    writer.write_all(plain).map_err(|error| failed(&error))?;
    writer.finish().map_err(|error| failed(&error))?;
    Ok(sealed)
}

/// Decrypts all of it: nothing is given before the last byte is known to be right.
///
/// # Errors
/// When it does not open, costs too much, or is damaged.
pub fn open(sealed: &[u8], with: &OpenWith) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let damaged = |reason: &dyn std::fmt::Display| OpenError::Damaged(reason.to_string());
    // Text that was sent has blank lines in front.
    let sealed = sealed.trim_ascii_start();
    let mut head = Vec::new();
    ArmoredReader::new(sealed)
        .take(u64::try_from(MAX_HEADER).unwrap_or(u64::MAX))
        .read_to_end(&mut head)
        .map_err(|error| damaged(&error))?;
    // The header ends with a line of three hyphens and its MAC.
    if !head.windows(5).any(|part| part == b"\n--- ") {
        return Err(damaged(&format_args!(
            "no header within {MAX_HEADER} bytes"
        )));
    }
    let decryptor = Decryptor::new(ArmoredReader::new(sealed)).map_err(|error| damaged(&error))?;
    let (passphrase, identity) = ("a passphrase", "an identity");
    let reader = match with {
        OpenWith::Passphrase(_) if !decryptor.is_scrypt() => {
            return Err(OpenError::OtherKind {
                seen: passphrase,
                expected: identity,
            });
        }
        OpenWith::Identities(_) if decryptor.is_scrypt() => {
            return Err(OpenError::OtherKind {
                seen: identity,
                expected: passphrase,
            });
        }
        OpenWith::Passphrase(Passphrase(text)) => {
            let mut identity = scrypt::Identity::new(text.clone());
            identity.set_max_work_factor(MAX_WORK_FACTOR);
            let only: &dyn age::Identity = &identity;
            decryptor.decrypt(std::iter::once(only))
        }
        OpenWith::Identities(all) => {
            decryptor.decrypt(all.iter().map(|one| -> &dyn age::Identity { one }))
        }
    };
    let reader = reader.map_err(|error| match (&error, with) {
        (DecryptError::ExcessiveWork { required, .. }, _) => OpenError::Costly { seen: *required },
        (
            DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed,
            OpenWith::Passphrase(_),
        ) => OpenError::Wrong("passphrase"),
        (DecryptError::NoMatchingKeys, OpenWith::Identities(_)) => OpenError::Wrong("identity"),
        _ => damaged(&error),
    })?;
    // It is never longer than what it was encrypted to; growing would leave copies of secrets behind.
    let mut plain = Zeroizing::new(Vec::new());
    plain
        .try_reserve_exact(sealed.len())
        .map_err(|error| damaged(&error))?;
    reader
        .take(MAX_ARCHIVE_BYTES.saturating_add(1))
        .read_to_end(&mut plain)
        .map_err(|error| damaged(&error))?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Quick to try, and of no worth.
    const LOW: u8 = 2;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(&Zeroizing::new(text.to_owned()))
    }

    fn sealed(text: &str) -> Vec<u8> {
        seal_at(b"plain", &SealTo::Passphrase(passphrase(text)), LOW).unwrap()
    }

    #[test]
    fn what_was_sealed_opens() {
        let opened = open(&sealed("right"), &OpenWith::Passphrase(passphrase("right"))).unwrap();
        assert_eq!(&**opened, b"plain");
        let (one, other) = (throw_away_identity(), throw_away_identity());
        let to = SealTo::Recipients(vec![one.to_public(), other.to_public()]);
        let both = seal(b"plain", &to).unwrap();
        for identity in [one, other] {
            let opened = open(&both, &OpenWith::Identities(vec![identity])).unwrap();
            assert_eq!(&**opened, b"plain");
        }
        assert!(seal(b"plain", &SealTo::Recipients(Vec::new())).is_err());
    }

    /// What `age -a` makes of it.
    fn armoured(sealed: &[u8]) -> Vec<u8> {
        use age::armor::{ArmoredWriter, Format};
        let mut writer = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor).unwrap();
        writer.write_all(sealed).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn ascii_armour_opens_and_damage_in_it_does_not() {
        let identity = throw_away_identity();
        let to = SealTo::Recipients(vec![identity.to_public()]);
        let with = OpenWith::Identities(vec![identity]);
        // Longer than the part that is searched for the header's end.
        let plain = vec![b'x'; 2 * MAX_HEADER];
        let armour = armoured(&seal(&plain, &to).unwrap());
        assert!(armour.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----\n"));
        assert_eq!(**open(&armour, &with).unwrap(), plain);
        let text = String::from_utf8(armour.clone()).unwrap();
        let sent = format!("\r\n {}\r\n", text.replace('\n', "\r\n"));
        assert_eq!(**open(sent.as_bytes(), &with).unwrap(), plain);
        let word = OpenWith::Passphrase(passphrase("right"));
        assert_eq!(
            &**open(&armoured(&sealed("right")), &word).unwrap(),
            b"plain"
        );
        assert!(matches!(
            open(&armour, &word),
            Err(OpenError::OtherKind { .. })
        ));
        let middle = armour.len() / 2;
        let mut changed = armour.clone();
        changed[middle] = if changed[middle] == b'A' { b'B' } else { b'A' };
        let after = [&armour[..], b"more"].concat();
        for bad in [&changed, &armour[..middle].to_vec(), &after] {
            let opened = open(bad, &with);
            assert!(matches!(opened, Err(OpenError::Damaged(_))), "{opened:?}");
        }
    }

    #[test]
    fn what_does_not_open_it_is_told_from_damage() {
        let by_word = sealed("right");
        let mine = throw_away_identity();
        let by_key = seal(b"plain", &SealTo::Recipients(vec![mine.to_public()])).unwrap();
        let word = |text| OpenWith::Passphrase(passphrase(text));
        let key = |identity| OpenWith::Identities(vec![identity]);
        let other = throw_away_identity();
        assert!(matches!(
            open(&by_word, &word("wrong")),
            Err(OpenError::Wrong("passphrase"))
        ));
        assert!(matches!(
            open(&by_key, &key(other)),
            Err(OpenError::Wrong("identity"))
        ));
        let wrong_kind = open(&by_word, &key(mine.clone()));
        assert!(matches!(wrong_kind, Err(OpenError::OtherKind { .. })));
        let wrong_kind = open(&by_key, &word("right"));
        assert!(matches!(wrong_kind, Err(OpenError::OtherKind { .. })));
        for bad in [&b""[..], b"no age file", &by_key[..by_key.len() / 2]] {
            let opened = open(bad, &key(mine.clone()));
            assert!(matches!(opened, Err(OpenError::Damaged(_))), "{opened:?}");
        }
        for cut in 0..by_key.len() {
            assert!(open(&by_key[..cut], &key(mine.clone())).is_err(), "{cut}");
        }
        for at in 0..by_key.len() {
            for bit in [0, 3, 7] {
                let mut bad = by_key.clone();
                bad[at] ^= 1 << bit;
                assert!(open(&bad, &key(mine.clone())).is_err(), "{at}");
            }
        }
        let more = [&by_key[..], b"x"].concat();
        assert!(open(&more, &key(mine)).is_err());
    }

    #[test]
    fn a_costly_passphrase_is_refused() {
        let mut forged = sealed("right");
        // The stanza says `-> scrypt SALT 2`.
        let stanza = forged.windows(10).position(|w| w == b"-> scrypt ").unwrap();
        let end = forged
            .iter()
            .skip(stanza)
            .position(|b| *b == b'\n')
            .unwrap()
            + stanza;
        assert_eq!(forged[end - 1], b'2');
        forged.splice(end - 1..end, *b"30");
        let opened = open(&forged, &OpenWith::Passphrase(passphrase("right")));
        assert!(
            matches!(opened, Err(OpenError::Costly { seen: 30 })),
            "{opened:?}"
        );
    }

    #[test]
    fn a_header_without_end_is_refused() {
        let mut endless = b"age-encryption.org/v1\n".to_vec();
        while endless.len() < 2 * MAX_HEADER {
            endless.extend_from_slice(b"-> X25519 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n");
        }
        endless.extend_from_slice(b"\n--- mac\n");
        let opened = open(&endless, &OpenWith::Identities(vec![throw_away_identity()]));
        assert!(matches!(opened, Err(OpenError::Damaged(_))));
    }

    #[test]
    fn keys_are_read_from_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for (content, length) in [
            ("word", 4),
            ("word\n", 4),
            ("word\r\n", 4),
            (" wörd \n\n", 6),
            // As Windows writes it. A typed passphrase has no mark.
            ("\u{feff}wörd\r\n", 4),
        ] {
            fs::write(&path, content).unwrap();
            assert_eq!(
                Passphrase::read(&path).unwrap().length(),
                length,
                "{content:?}"
            );
        }
        fs::write(&path, "word\nother\n").unwrap();
        let error = Passphrase::read(&path).unwrap_err().to_string();
        assert!(
            error.contains("has 2 lines, expected a passphrase of one line"),
            "{error}"
        );
        fs::write(&path, b"\xff\xfew\0o\0").unwrap();
        let error = Passphrase::read(&path).unwrap_err().to_string();
        assert!(error.contains("UTF-16 text"), "{error}");
        let identity = throw_away_identity();
        let secret = identity.to_string();
        let secret = age::secrecy::ExposeSecret::expose_secret(&secret);
        fs::write(&path, format!("# created: now\n\n{secret}\n")).unwrap();
        assert_eq!(read_identities(&path).unwrap().len(), 1);
        fs::write(&path, format!("\u{feff}# created: now\r\n{secret}\r\n")).unwrap();
        assert_eq!(read_identities(&path).unwrap().len(), 1);
        // In the place of a recipient, it is refused without being shown.
        let error = read_recipients(&path).unwrap_err().to_string();
        assert!(!error.contains(&secret[..20]), "{error}");
        fs::write(&path, format!("{}\n", identity.to_public())).unwrap();
        assert_eq!(read_recipients(&path).unwrap().len(), 1);
        assert!(read_identities(&path).is_err());
        // What the age program takes besides, of releases up to 1.3.2: public test keys and how others begin.
        for (key, kind) in [
            (
                "age1pq1lg6v9ghfvekwzpk0cst82trqtmnt36z89wr7shcp3ztnkmqpnrd2l",
                "a post-quantum recipient",
            ),
            (
                "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t",
                "the recipient of a plugin",
            ),
            (
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN a@b",
                "an SSH key",
            ),
            (
                "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8",
                "mistyped or cut off",
            ),
            ("AGE-SECRET-KEY-PQ-1…", "a post-quantum identity"),
            ("AGE-PLUGIN-YUBIKEY-1…", "the identity of a plugin"),
            (secret, "an identity, which is secret"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", "an SSH key"),
            (
                "-----BEGIN AGE ENCRYPTED FILE-----",
                "`age --decrypt` opens",
            ),
            ("nobody", "something else"),
        ] {
            let error = parse_recipient(key).unwrap_err().to_string();
            assert!(error.contains(kind), "{error}");
            if key != secret {
                fs::write(&path, format!("# mine\n{key}\n")).unwrap();
                let error = read_identities(&path).err().unwrap().to_string();
                assert!(error.contains(kind), "{error}");
            }
        }
        for content in [&b""[..], b"# nothing\n", b"\xff\xfe"] {
            fs::write(&path, content).unwrap();
            assert!(read_identities(&path).is_err());
            assert!(read_recipients(&path).is_err());
        }
        assert!(Passphrase::read(&path).is_err());
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?}", OpenWith::Passphrase(passphrase("hunter2hunter2")));
        assert!(!shown.contains("hunter"), "{shown}");
    }
}
