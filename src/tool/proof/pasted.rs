//! Texts that people paste: on the command line, in files, or through standard input.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::Path;

use crate::error::{Failure, Kind};
use crate::machine::read::{self, Limit};

/// A text and where it comes from.
pub(crate) struct Pasted {
    /// `command line`, `standard input`, or the file as it was named.
    pub(crate) source: String,
    pub(crate) text: String,
}

/// What is looked for in the texts.
pub(crate) struct Wanted {
    /// How it begins, in lower case.
    pub(crate) beginning: &'static str,
    /// In words, such as `a receipt`.
    pub(crate) name: &'static str,
    /// Most bytes of one text.
    pub(crate) limit: usize,
}

/// The texts that the arguments give or name, in their order. Words that stand side by side are one text: what was
/// pasted without quotes comes as several words if it was wrapped.
///
/// # Errors
/// [`Kind::Usage`] for a word that is neither a file nor near anything wanted, and for what cannot be read.
pub(crate) fn read(args: &[OsString], wanted: &Wanted) -> Result<Vec<Pasted>, Failure> {
    let mut texts = Vec::new();
    let mut words: Vec<String> = Vec::new();
    for arg in args {
        let word = arg.to_string_lossy();
        if word.to_ascii_lowercase().contains(wanted.beginning) {
            words.push(word.into_owned());
        } else if arg == "-" {
            take(&mut words, wanted, &mut texts)?;
            texts.push(Pasted {
                source: "standard input".to_owned(),
                text: standard_input(wanted)?,
            });
        } else if Path::new(arg).exists() {
            take(&mut words, wanted, &mut texts)?;
            let limit = Limit {
                bytes: u64::try_from(wanted.limit).unwrap_or(u64::MAX),
                what: "a pasted text",
            };
            let bytes = read::read_file(Path::new(arg), limit)
                .map_err(|error| Failure::new(Kind::Usage, error.to_string()))?;
            texts.push(Pasted {
                source: word.into_owned(),
                text: String::from_utf8_lossy(&bytes).into_owned(),
            });
        } else {
            words.push(word.into_owned());
        }
    }
    take(&mut words, wanted, &mut texts)?;
    Ok(texts)
}

/// The words so far as one text.
fn take(words: &mut Vec<String>, wanted: &Wanted, texts: &mut Vec<Pasted>) -> Result<(), Failure> {
    if words.is_empty() {
        return Ok(());
    }
    let text = std::mem::take(words).join(" ");
    if !text.to_ascii_lowercase().contains(wanted.beginning) {
        let Wanted {
            name, beginning, ..
        } = wanted;
        return Err(
            Failure::new(Kind::Usage, format!("{text} is neither a file nor {name}"))
                .hint(format!("{name} begins with {beginning}")),
        );
    }
    texts.push(Pasted {
        source: "command line".to_owned(),
        text,
    });
    Ok(())
}

fn standard_input(wanted: &Wanted) -> Result<String, Failure> {
    // One byte more than is taken, so that a text that is too long is refused and not cut.
    let most = u64::try_from(wanted.limit).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(most.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| {
            Failure::new(
                Kind::Unexpected,
                format!("cannot read standard input: {error}"),
            )
        })?;
    if bytes.len() > wanted.limit {
        return Err(Failure::new(
            Kind::Usage,
            format!("standard input has more than {} bytes", wanted.limit),
        ));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
