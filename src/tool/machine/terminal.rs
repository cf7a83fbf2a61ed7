//! The three streams: results on stdout; progress, warnings and advice on stderr; questions on
//! stderr with the answer from stdin. This is the only place that prints.

use std::io::{self, BufRead, IsTerminal as _, Read as _, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::cli::ProgressStyle;
use crate::machine::os;

/// How often a plain progress line is repeated at most: often enough to see life in a log, seldom
/// enough to read the rest of it.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// How long work may take before plain lines tell of it at all.
const PLAIN_PATIENCE: Duration = Duration::from_secs(1);

/// How often a JSON progress line is repeated at most; a program draws its own bar from it.
const JSON_INTERVAL: Duration = Duration::from_millis(250);

/// The longest answer to a question that is read.
const MAX_ANSWER: u64 = 1 << 10;

/// The longest secret that is typed, in bytes: a long sentence.
const MAX_SECRET: usize = 1 << 10;

/// What a piece of text means; how that looks is up to the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    /// Failed, refused.
    Bad,
    /// Needs attention.
    Warn,
    /// A heading, or what to type.
    Strong,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Tone::Bad => "1;31",
            Tone::Warn => "33",
            Tone::Strong => "1",
        }
    }

    fn paint(self, text: &str, coloured: bool) -> String {
        if coloured {
            format!("\u{1b}[{}m{text}\u{1b}[0m", self.code())
        } else {
            text.to_owned()
        }
    }
}

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// There is nobody to ask: stdin or stderr is no terminal, and `--yes` was not given.
    #[error("there is no terminal to ask {question:?} on")]
    NoTerminal {
        /// What would have been asked.
        question: String,
    },
    /// Reading the answer failed.
    #[error("cannot read the answer to {question:?}: {cause}")]
    Read {
        /// What was asked.
        question: String,
        /// What the operating system said.
        cause: io::Error,
    },
    /// Ctrl-C instead of an answer.
    #[error("interrupted")]
    Interrupted,
}

/// What is known of the streams and of the user's wishes.
#[derive(Debug, Clone, Copy)]
struct Manners {
    colour_err: bool,
    /// Whether a question can be asked.
    can_ask: bool,
    /// Whether questions are answered in advance.
    yes: bool,
}

enum Shown {
    Bars(MultiProgress),
    Plain,
    Json,
    Quiet,
}

type Output = Mutex<Box<dyn Write + Send>>;

/// Sees to it that what clap printed to stdout is there; as with [`Terminal::result`], nobody has to read it.
pub(crate) fn flush_output(printed: io::Result<()>) -> io::Result<()> {
    unless_unread(printed.and_then(|()| io::stdout().flush()))
}

fn unless_unread(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// The three streams of a command. It may be shared between threads.
pub struct Terminal {
    out: Output,
    err: Output,
    input: Mutex<Box<dyn BufRead + Send>>,
    manners: Manners,
    shown: Shown,
    /// The terminal's settings from before a question without echo, while it is asked.
    settings: Mutex<Option<os::TerminalSettings>>,
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal")
            .field("manners", &self.manners)
            .finish_non_exhaustive()
    }
}

impl Terminal {
    /// The streams of this process. Colours need a terminal, no `NO_COLOR` and a `TERM` other than
    /// `dumb`; `yes` answers every question.
    pub fn of_process(mode: ProgressStyle, yes: bool) -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let able = std::env::var_os("TERM").is_some_and(|term| term != "dumb" && !term.is_empty());
        let manners = Manners {
            colour_err: err.is_terminal() && able && !no_color,
            can_ask: io::stdin().is_terminal() && err.is_terminal(),
            yes,
        };
        let shown = match mode {
            ProgressStyle::Auto if err.is_terminal() && able => {
                let target = ProgressDrawTarget::stderr();
                Shown::Bars(MultiProgress::with_draw_target(target))
            }
            ProgressStyle::Auto | ProgressStyle::Plain => Shown::Plain,
            ProgressStyle::Json => Shown::Json,
            ProgressStyle::Quiet => Shown::Quiet,
        };
        Self {
            out: Mutex::new(Box::new(out)),
            err: Mutex::new(Box::new(err)),
            input: Mutex::new(Box::new(io::BufReader::new(io::stdin()))),
            manners,
            shown,
            settings: Mutex::new(None),
        }
    }

    /// Prints a result and a line end to stdout. That nobody reads it any more, as behind
    /// `| head`, is no error.
    pub fn result(&self, text: &str) -> io::Result<()> {
        let write = || {
            let mut out = lock(&self.out);
            out.write_all(format!("{text}\n").as_bytes())?;
            out.flush()
        };
        let written = match &self.shown {
            Shown::Bars(bars) => bars.suspend(write),
            Shown::Plain | Shown::Json | Shown::Quiet => write(),
        };
        unless_unread(written)
    }

    /// Says what is going on; silent with `--progress quiet`.
    pub fn note(&self, text: &str) {
        match &self.shown {
            Shown::Bars(_) | Shown::Plain => self.line(text),
            Shown::Json => self.event("note", &json!({ "text": text })),
            Shown::Quiet => {}
        }
    }

    /// Says what needs attention, always.
    pub fn warning(&self, text: &str) {
        self.labelled("warning", Tone::Warn, text);
    }

    /// Hands on a line that another program wrote, as an event of this name.
    pub fn said(&self, event: &str, line: &str) {
        match &self.shown {
            Shown::Json => self.event(event, &json!({ "text": line })),
            Shown::Bars(_) | Shown::Plain | Shown::Quiet => self.line(line),
        }
    }

    /// Writes prepared text to stderr, always.
    pub fn text(&self, text: &str) {
        if matches!(self.shown, Shown::Json) {
            self.event("text", &json!({ "text": text }));
        } else {
            self.line(text);
        }
    }

    /// Says why the command did not succeed, always.
    pub fn error(&self, text: &str) {
        self.labelled("error", Tone::Bad, text);
    }

    /// Says what to do next, always.
    pub fn hint(&self, text: &str) {
        self.labelled("hint", Tone::Strong, text);
    }

    fn labelled(&self, label: &str, tone: Tone, text: &str) {
        if matches!(self.shown, Shown::Json) {
            self.event(label, &json!({ "text": text }));
        } else {
            let label = tone.paint(&format!("{label}:"), self.manners.colour_err);
            self.line(&format!("{label} {text}"));
        }
    }

    /// Tells a program what happened, as one JSON line; silent unless with `--progress json`. The
    /// fields are beside `event`, which carries the name.
    pub fn event(&self, name: &str, fields: &Value) {
        if !matches!(self.shown, Shown::Json) {
            return;
        }
        let mut object = Map::new();
        object.insert("event".to_owned(), Value::String(name.to_owned()));
        if let Value::Object(fields) = fields {
            object.extend(fields.clone());
        }
        self.line(&Value::Object(object).to_string());
    }

    /// Writes a line to stderr. If that is closed there is nowhere to say so.
    fn line(&self, text: &str) {
        let write = || {
            let mut err = lock(&self.err);
            err.write_all(format!("{text}\n").as_bytes())?;
            err.flush()
        };
        match &self.shown {
            Shown::Bars(bars) => bars.suspend(write),
            Shown::Plain | Shown::Json | Shown::Quiet => write(),
        }
        .ok();
    }

    /// Starts showing how far some work is: `label` is what is being done, `total` how much there
    /// is of it.
    pub fn progress(&self, label: &str, total: u64) -> Progress<'_> {
        let bar = match &self.shown {
            Shown::Bars(bars) => {
                let bar = bars.add(ProgressBar::new(total));
                // The template is fixed and tested; without it indicatif has its own.
                if let Ok(style) = indicatif::ProgressStyle::with_template(BAR_TEMPLATE) {
                    bar.set_style(style.progress_chars("=> "));
                }
                bar.set_prefix(label.to_owned());
                bar.enable_steady_tick(Duration::from_millis(120));
                Some(bar)
            }
            Shown::Plain | Shown::Json | Shown::Quiet => None,
        };
        let progress = Progress {
            terminal: self,
            label: label.to_owned(),
            bar,
            line: Mutex::new(Line {
                done: 0,
                total,
                begun: Instant::now(),
                told: None,
            }),
        };
        progress.tell(Instant::now(), |_| ());
        progress
    }

    /// A few lines at the end of the screen that are replaced in place; `None` where there is no screen.
    pub fn block(&self) -> Option<Block> {
        match &self.shown {
            Shown::Bars(bars) => {
                let bar = bars.add(ProgressBar::new_spinner());
                if let Ok(style) = indicatif::ProgressStyle::with_template("{msg}") {
                    bar.set_style(style);
                }
                Some(Block { bar })
            }
            Shown::Plain | Shown::Json | Shown::Quiet => None,
        }
    }

    /// Asks a yes-or-no question. `--yes` answers it; anything but `y` or `yes` is no.
    pub fn confirm(&self, question: &str) -> Result<bool, PromptError> {
        if self.manners.yes {
            self.note(&format!("{question} [y/N] yes (--yes)"));
            return Ok(true);
        }
        let answer = self.ask(question, "[y/N] ")?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }

    /// Asks for words to be typed, which `--yes` does not. Gives them without white space around.
    ///
    /// # Errors
    /// Where there is nobody to ask, and when the terminal fails.
    pub fn typed(&self, question: &str) -> Result<String, PromptError> {
        let answer = self.ask(question, "\n> ")?;
        Ok(answer.trim().to_owned())
    }

    /// One line of a person.
    fn ask(&self, question: &str, how: &str) -> Result<String, PromptError> {
        self.must_be_able_to_ask(question)?;
        let ask = || {
            self.prompt(&format!("{question} {how}"));
            let mut answer = String::new();
            lock(&self.input)
                .by_ref()
                .take(MAX_ANSWER)
                .read_line(&mut answer)
                .map(|_| Some(answer))
        };
        let answer = match &self.shown {
            Shown::Bars(bars) => bars.suspend(ask),
            Shown::Plain | Shown::Json | Shown::Quiet => ask(),
        };
        answered(question, answer)
    }

    fn must_be_able_to_ask(&self, question: &str) -> Result<(), PromptError> {
        if self.manners.can_ask {
            return Ok(());
        }
        Err(PromptError::NoTerminal {
            question: question.to_owned(),
        })
    }
}

/// What a person answered; `None` is Ctrl-C.
fn answered<T>(question: &str, answer: io::Result<Option<T>>) -> Result<T, PromptError> {
    match answer {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(PromptError::Interrupted),
        Err(cause) => Err(PromptError::Read {
            question: question.to_owned(),
            cause,
        }),
    }
}

impl Terminal {
    /// Whether a yes-or-no question gets an answer.
    pub fn can_confirm(&self) -> bool {
        self.manners.yes || self.manners.can_ask
    }

    /// Asks for a secret, one line, without showing what is typed. `--yes` is no answer to this.
    ///
    /// # Errors
    /// Where there is nobody to ask, for Ctrl-C, and when the terminal fails.
    pub fn secret(&self, question: &str) -> Result<Zeroizing<String>, PromptError> {
        self.must_be_able_to_ask(question)?;
        let ask = || self.prompt(&format!("{question}: "));
        answered(question, self.read_bytes(true, ask, read_hidden))
    }

    fn prompt(&self, text: &str) {
        let mut err = lock(&self.err);
        write!(err, "{text}").ok();
        err.flush().ok();
    }

    /// Asks for what is to be pasted, and reads until Ctrl-D, or at most so many bytes. A terminal that edits lines cuts each
    /// at 4096 bytes (termios(3)), so it does not edit these.
    ///
    /// # Errors
    /// For Ctrl-C, and when the terminal fails.
    pub fn pasted(&self, request: &str, most: usize) -> Result<Vec<u8>, PromptError> {
        let read = |input: &mut dyn BufRead| read_until_end(input, most);
        answered(request, self.read_bytes(false, || self.note(request), read))
    }

    /// Byte by byte, and hidden or shown: Ctrl-C is read like any other, so that it cannot end this program with the
    /// terminal left like that.
    fn read_bytes<T>(
        &self,
        hidden: bool,
        ask: impl FnOnce(),
        read: impl FnOnce(&mut dyn BufRead) -> io::Result<T>,
    ) -> io::Result<T> {
        let before = os::read_bytes(hidden)?;
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        ask();
        let typed = read(&mut **lock(&self.input));
        self.calm();
        self.prompt("\n");
        typed
    }

    /// Gives the terminal its settings back, if a question took them.
    pub fn calm(&self) {
        let before = self
            .settings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(before) = before {
            os::restore_terminal(&before).ok();
        }
    }
}

/// One line typed without echo; `None` for Ctrl-C, and for Ctrl-D before anything was typed.
fn read_hidden(input: &mut dyn BufRead) -> io::Result<Option<Zeroizing<String>>> {
    // Made once: growing would leave copies behind.
    let mut typed = Zeroizing::new(Vec::with_capacity(MAX_SECRET));
    let mut byte = Zeroizing::new([0_u8; 1]);
    loop {
        if input.read(&mut *byte)? == 0 {
            return Ok(None);
        }
        match byte[0] {
            b'\r' | b'\n' => break,
            0x03 => return Ok(None),
            0x04 if typed.is_empty() => return Ok(None),
            0x04 => break,
            0x15 => typed.clear(),
            0x08 | 0x7f => {
                // A character may have several bytes; those that continue one start with the bits 10.
                while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            _ if typed.len() == MAX_SECRET => {
                return Err(io::Error::other(format!(
                    "more than {MAX_SECRET} bytes typed"
                )));
            }
            other => typed.push(other),
        }
    }
    match String::from_utf8(std::mem::take(&mut *typed)) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(io::Error::other("what was typed is no UTF-8"))
        }
    }
}

/// Everything up to Ctrl-D or the end; `None` for Ctrl-C.
fn read_until_end(input: &mut dyn BufRead, most: usize) -> io::Result<Option<Vec<u8>>> {
    let mut typed = Vec::new();
    let mut byte = [0_u8; 1];
    while typed.len() < most && input.read(&mut byte)? != 0 {
        match byte[0] {
            0x03 => return Ok(None),
            0x04 => break,
            0x08 | 0x7f => {
                typed.pop();
            }
            other => typed.push(other),
        }
    }
    Ok(Some(typed))
}

const BAR_TEMPLATE: &str = "{prefix} [{bar:30}] {pos}/{len} {eta} left {wide_msg}";

/// A lock that a panic in another thread does not spoil: a stream has no invariant to lose.
fn lock<T: ?Sized>(mutex: &Mutex<Box<T>>) -> std::sync::MutexGuard<'_, Box<T>> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Work under way. It may be shared between threads; dropping it ends the display.
#[derive(Debug)]
pub struct Progress<'a> {
    terminal: &'a Terminal,
    label: String,
    bar: Option<ProgressBar>,
    line: Mutex<Line>,
}

/// What a progress line says, and when it was last said.
#[derive(Debug)]
struct Line {
    done: u64,
    total: u64,
    begun: Instant,
    told: Option<(Instant, u64)>,
}

impl Progress<'_> {
    /// One more piece, or several, are done.
    pub fn advance(&self, pieces: u64) {
        self.tell(Instant::now(), |line| {
            line.done = line.done.saturating_add(pieces);
        });
    }

    /// So many pieces are done, of a number that is learnt on the way.
    pub fn set_of(&self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
        }
        self.tell(Instant::now(), |line| {
            line.done = done;
            line.total = total;
        });
    }

    fn tell(&self, now: Instant, change: impl FnOnce(&mut Line)) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut line);
        if let Some(bar) = &self.bar {
            bar.set_position(line.done);
            return;
        }
        match &self.terminal.shown {
            Shown::Plain if line.is_due(now, PLAIN_PATIENCE, PLAIN_INTERVAL) => {
                let Line { done, total, .. } = &*line;
                let label = &self.label;
                self.terminal.line(&format!("{label}: {done} of {total}"));
            }
            Shown::Json if line.is_due(now, Duration::ZERO, JSON_INTERVAL) => {
                let fields = json!({
                    "text": format!("{}: {} of {}", self.label, line.done, line.total),
                    "label": self.label,
                    "done": line.done,
                    "total": line.total,
                });
                self.terminal.event("progress", &fields);
            }
            Shown::Plain | Shown::Json | Shown::Bars(_) | Shown::Quiet => {}
        }
    }
}

impl Line {
    /// Whether to say it again: when it lasts, at the end, and seldom in between.
    fn is_due(&mut self, now: Instant, patience: Duration, interval: Duration) -> bool {
        let due = match self.told {
            None => now.saturating_duration_since(self.begun) >= patience,
            Some((_, done)) if self.done >= self.total => done < self.total,
            Some((told, _)) => now.saturating_duration_since(told) >= interval,
        };
        if due {
            self.told = Some((now, self.done));
        }
        due
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Lines that are replaced in place. The last ones stay when it is dropped.
#[derive(Debug)]
pub struct Block {
    bar: ProgressBar,
}

impl Block {
    /// Shows these lines instead of those before, each cut to the width of the screen.
    pub fn show(&self, lines: &[String]) {
        let width = os::terminal_width().unwrap_or(0);
        // Some terminals say nothing of their size.
        let width = if width == 0 { 80 } else { width };
        let cut: Vec<String> = lines
            .iter()
            .map(|line| line.chars().take(width - 1).collect())
            .collect();
        self.bar.set_message(cut.join("\n"));
        self.bar.tick();
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.bar.abandon();
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::sync::Arc;

    use super::*;
    use crate::machine::testing;

    /// A stream that can be looked at afterwards.
    #[derive(Debug, Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Paper {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    /// A terminal whose cursor nobody sees.
    #[derive(Debug, Clone, Default)]
    struct Screen(Paper);

    impl indicatif::TermLike for Screen {
        fn width(&self) -> u16 {
            100
        }

        fn move_cursor_up(&self, _lines: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _lines: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _columns: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _columns: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.clone().write_all(text.as_bytes())
        }

        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    const PLAIN: Manners = Manners {
        colour_err: false,
        can_ask: false,
        yes: false,
    };

    fn terminal(shown: Shown, manners: Manners, input: &'static str) -> (Terminal, Paper, Paper) {
        let (out, err) = (Paper::default(), Paper::default());
        let terminal = Terminal {
            out: Mutex::new(Box::new(out.clone())),
            err: Mutex::new(Box::new(err.clone())),
            input: Mutex::new(Box::new(input.as_bytes())),
            manners,
            shown,
            settings: Mutex::new(None),
        };
        (terminal, out, err)
    }

    fn say_all(terminal: &Terminal) {
        terminal.result("the result").unwrap();
        terminal.note("a note");
        terminal.event("phase", &json!({ "name": "keygen" }));
        terminal.warning("a warning");
        terminal.error("an error");
        terminal.hint("a hint");
    }

    #[test]
    fn results_and_the_rest_go_their_ways() {
        let (plain, out, err) = terminal(Shown::Plain, PLAIN, "");
        say_all(&plain);
        assert_eq!(out.text(), "the result\n");
        assert_eq!(
            err.text(),
            "a note\nwarning: a warning\nerror: an error\nhint: a hint\n"
        );

        let (quiet, out, err) = terminal(Shown::Quiet, PLAIN, "");
        say_all(&quiet);
        assert_eq!(out.text(), "the result\n");
        assert_eq!(
            err.text(),
            "warning: a warning\nerror: an error\nhint: a hint\n"
        );

        let (json, out, err) = terminal(Shown::Json, PLAIN, "");
        say_all(&json);
        assert_eq!(out.text(), "the result\n");
        assert_eq!(
            err.text(),
            "{\"event\":\"note\",\"text\":\"a note\"}\n\
             {\"event\":\"phase\",\"name\":\"keygen\"}\n\
             {\"event\":\"warning\",\"text\":\"a warning\"}\n\
             {\"event\":\"error\",\"text\":\"an error\"}\n\
             {\"event\":\"hint\",\"text\":\"a hint\"}\n"
        );
    }

    #[test]
    fn colours_only_where_they_are_shown() {
        let manners = Manners {
            colour_err: true,
            ..PLAIN
        };
        let (terminal, _, err) = terminal(Shown::Plain, manners, "");
        terminal.error("no");
        assert_eq!(err.text(), "\u{1b}[1;31merror:\u{1b}[0m no\n");
    }

    #[test]
    fn plain_progress_is_only_for_what_lasts_and_tells_the_end() {
        let (terminal, _, err) = terminal(Shown::Plain, PLAIN, "");
        // Not later than the beginning, however slow this machine is.
        let at_once = Instant::now();
        let progress = terminal.progress("keystores", 100);
        for _ in 0..50 {
            progress.tell(at_once, |line| line.done += 1);
        }
        assert_eq!(err.text(), "");
        let later = Instant::now() + PLAIN_INTERVAL;
        progress.tell(later, |line| line.done = 60);
        progress.set_of(100, 100);
        progress.set_of(100, 100);
        drop(progress);
        assert_eq!(
            err.text(),
            "keystores: 60 of 100\n\
             keystores: 100 of 100\n"
        );

        let progress = terminal.progress("signatures", 1);
        progress.tell(at_once, |line| line.done = 1);
        drop(progress);
        assert!(!err.text().contains("signatures"));
    }

    #[test]
    fn progress_for_programs_and_for_nobody() {
        let (json, _, err) = terminal(Shown::Json, PLAIN, "");
        let progress = json.progress("peers", 1);
        progress.advance(1);
        assert_eq!(
            err.text(),
            "{\"event\":\"progress\",\"text\":\"peers: 0 of 1\",\"label\":\"peers\",\"done\":0,\"total\":1}\n\
             {\"event\":\"progress\",\"text\":\"peers: 1 of 1\",\"label\":\"peers\",\"done\":1,\"total\":1}\n"
        );
        let (quiet, _, err) = terminal(Shown::Quiet, PLAIN, "");
        quiet.progress("peers", 1).advance(1);
        assert_eq!(err.text(), "");
    }

    #[test]
    fn a_bar_tells_how_many_are_done_and_how_long_the_rest_takes() {
        let screen = Screen::default();
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        let shown = Shown::Bars(MultiProgress::with_draw_target(target));
        let (terminal, ..) = terminal(shown, PLAIN, "");
        let progress = terminal.progress("keystores", 40);
        progress.advance(20);
        if let Some(bar) = &progress.bar {
            bar.force_draw();
        }
        let text = screen.0.text();
        assert!(text.contains("keystores [===============>"), "{text:?}");
        assert!(text.contains("] 20/40 "), "{text:?}");
        assert!(text.contains("s left"), "{text:?}");
    }

    #[test]
    fn a_block_is_on_a_screen_alone_and_its_last_lines_stay() {
        let screen = Screen::default();
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        let shown = Shown::Bars(MultiProgress::with_draw_target(target));
        let (on_screen, ..) = terminal(shown, PLAIN, "");
        let block = on_screen.block().unwrap();
        block.show(&["operators  2 of 4".to_owned(), "x".repeat(1000)]);
        block.bar.force_draw();
        drop(block);
        let text = screen.0.text();
        assert!(text.contains("operators  2 of 4"), "{text:?}");
        assert!(!text.contains(&"x".repeat(999)), "{text:?}");
        for shown in [Shown::Plain, Shown::Json, Shown::Quiet] {
            assert!(terminal(shown, PLAIN, "").0.block().is_none());
        }
    }

    #[test]
    fn bars_are_well_formed() {
        assert!(indicatif::ProgressStyle::with_template(BAR_TEMPLATE).is_ok());
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        let (terminal, out, err) = terminal(Shown::Bars(bars), PLAIN, "");
        let progress = terminal.progress("keystores", 3);
        progress.advance(2);
        say_all(&terminal);
        drop(progress);
        assert_eq!(out.text(), "the result\n");
        assert!(err.text().contains("hint: a hint"));
    }

    #[test]
    fn questions_need_somebody_to_answer() {
        let (nobody, _, err) = terminal(Shown::Plain, PLAIN, "yes\n");
        let refused = nobody.confirm("Move them?").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "there is no terminal to ask \"Move them?\" on"
        );
        assert_eq!(err.text(), "");

        let yes = Manners { yes: true, ..PLAIN };
        let (terminal, _, err) = terminal(Shown::Plain, yes, "");
        assert!(terminal.confirm("Move them?").unwrap());
        assert_eq!(err.text(), "Move them? [y/N] yes (--yes)\n");
    }

    #[test]
    fn what_is_typed_hidden_can_be_mended_and_given_up() {
        for (typed, expected) in [
            ("secret\nmore", Some("secret")),
            ("secret\r", Some("secret")),
            ("secreX\u{7f}t\n", Some("secret")),
            ("w\u{f6}\u{8}ord\n", Some("word")),
            ("\u{7f}\u{7f}a\n", Some("a")),
            ("wrong\u{15}right\n", Some("right")),
            ("right\u{4}", Some("right")),
            ("\n", Some("")),
            ("sec\u{3}ret\n", None),
            ("\u{4}", None),
            ("cut off", None),
        ] {
            let seen = read_hidden(&mut typed.as_bytes()).unwrap();
            assert_eq!(
                seen.as_ref().map(|text| text.as_str()),
                expected,
                "{typed:?}"
            );
        }
        assert!(read_hidden(&mut &b"\xff\n"[..]).is_err());
        assert!(read_hidden(&mut "x".repeat(MAX_SECRET + 1).as_bytes()).is_err());
    }

    #[test]
    fn a_secret_needs_a_terminal_whatever_was_answered_in_advance() {
        let yes = Manners { yes: true, ..PLAIN };
        let (nobody, _, err) = terminal(Shown::Plain, yes, "secret\n");
        let refused = nobody.secret("passphrase").unwrap_err();
        assert!(matches!(refused, PromptError::NoTerminal { .. }));
        assert_eq!(err.text(), "");
    }

    #[test]
    fn only_yes_is_yes() {
        let asking = Manners {
            can_ask: true,
            ..PLAIN
        };
        for (answer, expected) in [
            ("y\n", true),
            ("YES\r\n", true),
            ("\n", false),
            ("", false),
            ("no\n", false),
            ("yesterday\n", false),
        ] {
            let (terminal, _, err) = terminal(Shown::Plain, asking, answer);
            assert_eq!(
                terminal.confirm("Move them?").unwrap(),
                expected,
                "{answer:?}"
            );
            assert_eq!(err.text(), "Move them? [y/N] ");
        }
    }

    /// Prints into a pipe that nobody reads.
    #[test]
    #[ignore = "the other side of other tests"]
    fn helper() {
        if testing::task().is_none() {
            return;
        }
        testing::say("ready");
        testing::wait_for_word();
        let terminal = Terminal::of_process(ProgressStyle::Auto, false);
        let ended_well = terminal.result(&"x".repeat(1 << 20)).is_ok();
        terminal.warning("still here");
        std::process::exit(if ended_well { 42 } else { 43 });
    }

    #[test]
    fn a_broken_pipe_is_no_panic() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "machine::terminal::tests::helper",
                "--include-ignored",
            ])
            .arg("--nocapture")
            .env(testing::TASK, "print")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = io::BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("HELPER ready") {
            line.clear();
            assert_ne!(stdout.read_line(&mut line).unwrap(), 0);
        }
        drop(stdout);
        drop(child.stdin.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(42), "{output:?}");
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            "warning: still here\n"
        );
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let (mut terminal, _, _) = terminal(Shown::Plain, PLAIN, "");
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        terminal.out = Mutex::new(Box::new(full));
        assert!(terminal.result("lost").is_err());
    }

    #[test]
    fn modes_are_named() {
        let named = |name| <ProgressStyle as clap::ValueEnum>::from_str(name, false);
        assert_eq!(named("plain"), Ok(ProgressStyle::Plain));
        assert!(named("loud").is_err());
    }
}
