//! Signed lines sorted by who said them: a line counts as an operator's only if that operator signed it.

use charon_files::cluster::NodeIndex;

use crate::cluster::Operators;
use crate::line::{Signed, Stated};

/// What one operator said, each list from old to new.
#[derive(Debug)]
pub(crate) struct Said<'a, S> {
    /// About what is judged.
    pub(crate) here: Vec<&'a Signed<S>>,
    /// About something else.
    pub(crate) elsewhere: Vec<&'a Signed<S>>,
    /// In this operator's name, and by whom, if it was another operator.
    pub(crate) forged: Vec<(&'a Signed<S>, Option<NodeIndex>)>,
}

/// What each operator said, in their order, and the lines that are by none of them, from old to new. Equal lines count once.
pub(crate) fn sort_lines<'a, S: Stated>(
    operators: &Operators,
    lines: &'a [Signed<S>],
    is_here: impl Fn(&S) -> bool,
) -> (Vec<Said<'a, S>>, Vec<&'a Signed<S>>) {
    let mut sorted: Vec<(u64, String, &Signed<S>)> = lines
        .iter()
        .map(|line| (line.statement().time(), line.to_string(), line))
        .collect();
    sorted.sort_by(|(time, text, _), (other, others, _)| (time, text).cmp(&(other, others)));
    sorted.dedup_by(|(_, text, _), (_, others, _)| text == others);

    let mut said: Vec<Said<'_, S>> = Vec::new();
    said.resize_with(operators.count(), || Said {
        here: Vec::new(),
        elsewhere: Vec::new(),
        forged: Vec::new(),
    });
    let mut strangers = Vec::new();
    for (_, _, line) in sorted {
        let claimed = line.statement().node();
        let here = is_here(line.statement());
        let signer = operators.signer(line);
        let place = match signer {
            Some(node) if !here => said.get_mut(node.position()).map(|it| &mut it.elsewhere),
            Some(node) if node == claimed => said.get_mut(node.position()).map(|it| &mut it.here),
            Some(_) | None => None,
        };
        if let Some(place) = place {
            place.push(line);
        } else if here && let Some(victim) = said.get_mut(claimed.position()) {
            victim.forged.push((line, signer));
        } else {
            strangers.push(line);
        }
    }
    (said, strangers)
}
