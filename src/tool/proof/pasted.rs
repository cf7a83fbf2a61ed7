//! Texts that people paste: on the command line, in files, or through standard input. Nothing that was given is without
//! effect: a word that is neither a file nor part of what is looked for is refused, and a text without anything in it is
//! handed on as such.

use std::ffi::OsString;
use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::machine::files::EntryKind;
use crate::machine::read::{self, Limit, ReadError};
use crate::proof::markup::{with_mail_readable, without_markup};
use crate::report;
use charon_files::enr_texts::is_secret;
use charon_files::finding::{Finding, Weight};
use charon_files::text::from_utf16;

/// Where words of the command line come from.
pub(crate) const COMMAND_LINE: &str = "command line";

/// Most characters of a stray word that are repeated.
const MAX_SHOWN: usize = 60;

/// A text and what was found in it.
#[derive(Debug)]
pub(crate) struct Pasted<T> {
    /// [`COMMAND_LINE`], `standard input`, or the file as it was named.
    pub(crate) source: String,
    /// In the order in which it appears; nothing in a file or standard input that has none.
    pub(crate) found: Vec<T>,
}

/// What is looked for in the texts.
pub(crate) struct Wanted<F> {
    /// How it begins, in lower case.
    pub(crate) beginning: &'static str,
    /// In words, such as `a receipt`.
    pub(crate) name: &'static str,
    /// The same for several: `receipts`.
    pub(crate) several: &'static str,
    /// Most bytes of one text.
    pub(crate) limit: usize,
    /// Everything in a text that is one or should be one.
    pub(crate) find: F,
}

/// What is in the texts that the arguments give or name, in their order. Adjacent words are one text: what
/// was pasted without quotes comes as several words if it was wrapped.
///
/// # Errors
/// [`Kind::Usage`] for words that are neither a file nor part of anything wanted, for a secret, and for what cannot be read.
pub(crate) fn read<T: PartialEq, F: Fn(&str) -> Result<Vec<T>, String>>(
    context: &Context,
    args: &[OsString],
    wanted: &Wanted<F>,
) -> Result<Vec<Pasted<T>>, Failure> {
    let mut texts = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut strays: Vec<String> = Vec::new();
    let mut take = |words: &mut Vec<String>, texts: &mut Vec<Pasted<T>>| {
        // A text begins with each word that has a beginning in it.
        let words = std::mem::take(words);
        let begins = |word: &String| word.to_ascii_lowercase().contains(wanted.beginning);
        for words in words.chunk_by(|_, next| !begins(next)) {
            let found = find(wanted, COMMAND_LINE, &words.join(" "))?;
            strays.extend(stray_words(words, &found, wanted)?);
            texts.push(Pasted {
                source: COMMAND_LINE.to_owned(),
                found,
            });
        }
        Ok::<(), Failure>(())
    };
    for arg in args {
        let word = arg.to_string_lossy();
        if arg == "-" {
            take(&mut words, &mut texts)?;
            let source = "standard input".to_owned();
            let found = find(wanted, &source, &standard_input(context, wanted)?)?;
            texts.push(Pasted { source, found });
        } else if Path::new(arg).exists() {
            take(&mut words, &mut texts)?;
            let limit = Limit {
                bytes: u64::try_from(wanted.limit).unwrap_or(u64::MAX),
                what: "a pasted text",
            };
            let bytes = read::read_file(Path::new(arg), limit).map_err(unreadable)?;
            let text = text_of(&bytes, wanted.beginning);
            if is_secret(&text) {
                return Err(secret(&word));
            }
            let found = find(wanted, &word, &text)?;
            texts.push(Pasted {
                source: word.into_owned(),
                found,
            });
        } else if is_secret(&word) {
            return Err(secret("the command line"));
        } else {
            words.push(word.into_owned());
        }
    }
    take(&mut words, &mut texts)?;
    if strays.is_empty() {
        Ok(texts)
    } else {
        Err(refused(&strays, wanted))
    }
}

/// A pipe has a name too, as of bash's `<(…)`; who waits for it might wait for ever.
fn unreadable(error: ReadError) -> Failure {
    let is_pipe = matches!(
        error,
        ReadError::NotRegular {
            seen: EntryKind::Fifo,
            ..
        }
    );
    let failure = Failure::new(Kind::Usage, error.to_string());
    if is_pipe {
        failure.hint("give - for it, and the text through standard input: `… | charon-dkg … -`")
    } else {
        failure
    }
}

fn find<T, F: Fn(&str) -> Result<Vec<T>, String>>(
    wanted: &Wanted<F>,
    source: &str,
    text: &str,
) -> Result<Vec<T>, Failure> {
    (wanted.find)(text).map_err(|error| Failure::new(Kind::Usage, format!("{source}: {error}")))
}

/// The words of one text without which the same would be found.
fn stray_words<T: PartialEq, F: Fn(&str) -> Result<Vec<T>, String>>(
    words: &[String],
    found: &[T],
    wanted: &Wanted<F>,
) -> Result<Vec<String>, Failure> {
    if found.is_empty() {
        return Ok(words.to_vec());
    }
    let mut strays = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let (before, after) = words.split_at(index);
        let rest = [before, after.get(1..).unwrap_or_default()].concat();
        if find(wanted, COMMAND_LINE, &rest.join(" "))? == found {
            strays.push(word.clone());
        }
    }
    Ok(strays)
}

fn refused<F>(strays: &[String], wanted: &Wanted<F>) -> Failure {
    let Wanted {
        name,
        several,
        beginning,
        ..
    } = wanted;
    let shown: Vec<String> = strays
        .iter()
        .map(|word| {
            let short: String = word.chars().take(MAX_SHOWN).collect();
            let more = if short.len() < word.len() { "…" } else { "" };
            format!("{}{more}", report::clean(&short))
        })
        .collect();
    let message = match shown.as_slice() {
        [one] => format!("{one} is neither a file nor {name}"),
        many => format!("neither files nor {several}: {}", many.join(", ")),
    };
    Failure::new(Kind::Usage, message)
        .hint(format!(
            "{name} begins with {beginning}; check how the name of a file is spelled"
        ))
        .hint("put a text with other words in it into a file and name that, or pass it in quotes")
}

/// For what looks like an ENR private key. It is not repeated.
pub(crate) fn secret(place: &str) -> Failure {
    Failure::new(
        Kind::Usage,
        format!("{place} holds 64 hexadecimal digits, which is what an ENR private key looks like"),
    )
    .hint(SECRET_ADVICE)
    .hint("`charon-dkg enr show` prints the ENR of a key, which is what others need")
}

/// Its sender has more to fear than a missing line. It is not repeated.
pub(crate) fn secret_finding(source: &str, line: usize) -> Finding {
    Finding {
        check: "pasted-secret",
        weight: Weight::Note,
        subject: if source == COMMAND_LINE {
            source.to_owned()
        } else {
            format!("{source}, line {line}")
        },
        seen: "64 hexadecimal digits, which is what an ENR private key looks like".to_owned(),
        expected: "nothing secret".to_owned(),
        advice: SECRET_ADVICE.to_owned(),
    }
}

/// What to do about a secret that was pasted.
pub(crate) const SECRET_ADVICE: &str = "never send an ENR private key: if it is one and was sent, \
    its operator must make a new key with `charon-dkg enr` in an empty directory and send that ENR";

/// As text, with UTF-16 as PowerShell writes it and mails as they were encoded, and without the markup of pages and terminals.
fn text_of(bytes: &[u8], beginning: &str) -> String {
    let text = from_utf16(bytes).unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned());
    without_markup(&with_mail_readable(&text, beginning), beginning).into_owned()
}

/// Standard input to its end, but no more than `most` bytes of it.
///
/// # Errors
/// [`Kind::Unexpected`] if it cannot be read.
pub(crate) fn read_standard_input(most: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(u64::try_from(most).unwrap_or(u64::MAX))
        .read_to_end(&mut bytes)
        .map_err(|error| {
            Failure::new(
                Kind::Unexpected,
                format!("cannot read standard input: {error}"),
            )
        })?;
    Ok(bytes)
}

fn standard_input<F>(context: &Context, wanted: &Wanted<F>) -> Result<String, Failure> {
    // One byte more than is taken, so that a text that is too long is refused and not cut.
    let most = wanted.limit.saturating_add(1);
    let bytes = if std::io::stdin().is_terminal() {
        let request = format!(
            "paste the {}, or a text with them in it; then press Enter and Ctrl-D",
            wanted.several
        );
        context.pasted(&request, most)?
    } else {
        read_standard_input(most)?
    };
    if bytes.len() > wanted.limit {
        return Err(Failure::new(
            Kind::Usage,
            format!("standard input has more than {} bytes", wanted.limit),
        ));
    }
    let text = text_of(&bytes, wanted.beginning);
    if is_secret(&text) {
        return Err(secret("standard input"));
    }
    Ok(text)
}
