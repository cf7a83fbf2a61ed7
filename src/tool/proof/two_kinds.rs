//! Lines of two kinds from what people paste: a whole chat has both.

use std::ffi::OsString;

use crate::context::Context;
use crate::error::Failure;
use crate::proof::pasted::{self, Wanted};
use charon_files::enr_texts::lines_with_secrets;
use charon_files::finding::Finding;
use charon_proof::confirm::{broken_finding, without_lines};
use charon_proof::line::{self, Broken, LineKind, Signed, Stated};

/// A line of either kind, or what only looks like one.
#[derive(Debug, PartialEq)]
pub(crate) enum Line<A, B> {
    First(Box<Signed<A>>),
    Second(Box<Signed<B>>),
    Broken(Broken),
    /// What looks like an ENR private key, on this line of the text.
    Secret(usize),
}

/// Every line of both kinds in a text.
pub(crate) fn both_kinds<A: Stated, B: Stated>(text: &str) -> Result<Vec<Line<A, B>>, String> {
    let found = || -> Result<_, line::TooMuch> { Ok((line::find(text)?, line::find(text)?)) };
    let (first, second) = found().map_err(|error| error.to_string())?;
    let first = first
        .into_iter()
        .map(|found| found.map_or_else(Line::Broken, |it| Line::First(Box::new(it))));
    let second = second
        .into_iter()
        .map(|found| found.map_or_else(Line::Broken, |it| Line::Second(Box::new(it))));
    let secrets = lines_with_secrets(text).into_iter().map(Line::Secret);
    Ok(first.chain(second).chain(secrets).collect())
}

/// All that was pasted.
pub(crate) struct Given<A, B> {
    pub(crate) first: Vec<Signed<A>>,
    pub(crate) second: Vec<Signed<B>>,
    /// About what only looks like a line, and texts without any.
    pub(crate) broken: Vec<Finding>,
}

impl<A: Stated, B: Stated> Given<A, B> {
    /// Reads everything that the arguments give or name.
    ///
    /// # Errors
    /// As [`pasted::read`].
    pub(crate) fn read<F>(
        context: &Context,
        args: &[OsString],
        wanted: &Wanted<F>,
    ) -> Result<Self, Failure>
    where
        F: Fn(&str) -> Result<Vec<Line<A, B>>, String>,
    {
        let mut given = Self {
            first: Vec::new(),
            second: Vec::new(),
            broken: Vec::new(),
        };
        for text in pasted::read(context, args, wanted)? {
            let is_line = |found: &Line<A, B>| match found {
                Line::First(_) | Line::Second(_) | Line::Broken(_) => true,
                Line::Secret(_) => false,
            };
            if !text.found.iter().any(is_line) {
                let both = LineKind::ALL
                    .into_iter()
                    .filter(|kind| [A::KIND, B::KIND].contains(kind));
                let missing = both.map(|kind| without_lines(&text.source, kind));
                given.broken.extend(missing);
            }
            for line in text.found {
                match line {
                    Line::First(line) => given.first.push(*line),
                    Line::Second(line) => given.second.push(*line),
                    Line::Broken(broken) => {
                        given.broken.push(broken_finding(&text.source, &broken));
                    }
                    Line::Secret(line) => {
                        given
                            .broken
                            .push(pasted::secret_finding(&text.source, line));
                    }
                }
            }
        }
        Ok(given)
    }
}
