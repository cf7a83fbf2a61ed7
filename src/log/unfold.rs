//! Puts lines together again that a window or a picture of one has broken at its width.

use charon_files::text::clean;

use crate::collected::Heads;
use crate::line::{DIALLED, Line};

/// Narrowest window that is believed in, in characters.
const MIN_WIDTH: usize = 40;

/// So many rows of full width, each with a rest below it, make a broken log.
const MIN_ROWS: usize = 2;

/// Most blanks that are put back at the end of a row.
const MOST_BLANKS: usize = 2;

/// How lines begin that are no whole entry in their first row.
const STARTS: [&str; 7] = [
    DIALLED,
    "{\"level\":",
    "{\"log\":",
    "{\"_",
    "{\"MESSAGE\":",
    "ts=",
    "Error:",
];

/// The log with whole lines, if its rows end at one width and go on in the next; else `None`.
///
/// A row is joined to the next where it fills the width, or lacks a blank or two that were not copied. What breaks between
/// words instead, at no fixed width, stays as it is.
pub(crate) fn unfolded(log: &str) -> Option<String> {
    let rows: Vec<String> = log.lines().map(clean).collect();
    let lengths: Vec<usize> = rows.iter().map(|row| row.chars().count()).collect();
    let width = *lengths.iter().max()?;
    if width < MIN_WIDTH {
        return None;
    }
    let heads = Heads::learn(&rows);
    let goes_on: Vec<bool> = rows.iter().map(|row| !begins(heads.off(row).0)).collect();
    let full = lengths.iter().zip(goes_on.iter().skip(1));
    let full: Vec<bool> = full
        .filter(|(length, _)| **length == width)
        .map(|(_, goes_on)| *goes_on)
        .collect();
    let broken = full.iter().filter(|goes_on| **goes_on).count();
    // By chance a line ends where the window does.
    if broken < MIN_ROWS || broken * 4 < full.len() * 3 {
        return None;
    }
    let mut whole = String::with_capacity(log.len());
    let mut last = 0;
    for ((row, length), goes_on) in rows.iter().zip(lengths).zip(goes_on) {
        let blanks = width - last;
        if goes_on && blanks <= MOST_BLANKS {
            whole.push_str(&" ".repeat(blanks));
        } else if !whole.is_empty() {
            whole.push('\n');
        }
        whole.push_str(row);
        last = length;
    }
    whole.push('\n');
    Some(whole)
}

/// Whether a line of charon, or a collector's, begins here. It has no head any more.
fn begins(row: &str) -> bool {
    match Line::parse(row) {
        Line::Entry(_) | Line::Stack => true,
        // The fields of a console line may begin a row too.
        Line::Text(text) => text.is_empty() || STARTS.iter().any(|start| text.starts_with(start)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_width_are_joined_and_whole_lines_stay() {
        let start = "18:00:00.000 INFO dkg        ";
        let long = format!("{start}{}", "0123456789 ".repeat(12));
        let short = format!("{start}short");
        let whole = format!("{long}\n{short}\n");
        assert_eq!(unfolded(&whole), None);
        let rows = |width: usize| {
            let mut rows = String::new();
            for line in whole.lines() {
                let mut rest = line;
                while let Some((row, more)) = rest.split_at_checked(width) {
                    rows.push_str(&format!("{}\n", row.trim_end()));
                    rest = more;
                }
                rows.push_str(&format!("{rest}\n"));
            }
            rows
        };
        for width in 45..70 {
            let Some(joined) = unfolded(&rows(width)) else {
                // Too few rows are full where the blanks at their ends are lost.
                continue;
            };
            assert_eq!(joined, whole, "{width}");
        }
        assert_eq!(unfolded(&rows(50)), Some(whole.clone()));
        // Lines of one length that are not charon's, below each other.
        let text = format!("{start}x\n{}", "a line of something else\n".repeat(9));
        assert_eq!(unfolded(&text), None);
    }
}
