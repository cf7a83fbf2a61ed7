//! A panic, which is a fault of this program, told like any other failure.

use std::panic::{self, Location};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::ProgressStyle;
use crate::error::{Failure, Kind};
use crate::machine::terminal::Terminal;
use crate::report;

/// From now on a panic of any thread ends the process at once, with the exit code of [`Kind::Unexpected`]; what is half done is
/// then as after a power cut, which the journal is made for. `json`: the failure is the document on standard output too,
/// unless one was `answered` before. `hints`: what to do next, as the operator types it.
pub(crate) fn end_at_panic(json: bool, hints: Vec<String>, answered: Arc<AtomicBool>) {
    panic::set_hook(Box::new(move |info| {
        let failure = Failure {
            hints: hints.clone(),
            ..failure(info.location())
        };
        // One of its own, since the panicking thread may hold the other.
        let terminal = Terminal::of_process(ProgressStyle::Quiet, false);
        if json && !answered.swap(true, Ordering::Relaxed) {
            terminal
                .result(report::failure_json(&failure).trim_end())
                .ok();
        }
        terminal.error(&failure.message);
        for hint in &failure.hints {
            terminal.hint(hint);
        }
        process::exit(failure.kind.exit_code().into())
    }));
}

/// Without what the panic says: that of an index into a string holds the string, which may be a secret.
fn failure(at: Option<&Location<'_>>) -> Failure {
    let place = at.map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
    let version = env!("CARGO_PKG_VERSION");
    Failure::new(
        Kind::Unexpected,
        format!("charon-dkg {version} has a fault{place}, and stopped; please report this line"),
    )
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const SECRET: &str = "correct horse battery staple";

    /// Started by the test below.
    #[test]
    #[ignore = "it panics in the way that the test below looks at"]
    fn panicking_child() {
        let Ok(json) = std::env::var("PANIC_AS_JSON") else {
            return;
        };
        let answered = Arc::new(AtomicBool::new(json == "answered"));
        let hints = vec!["charon-dkg status".to_owned()];
        end_at_panic(json != "no", hints, answered);
        let join = std::thread::spawn(|| panic!("{SECRET}")).join();
        // Nobody comes here.
        assert!(join.is_ok(), "{SECRET}");
    }

    fn panicked(json: &str) -> (Option<i32>, String, String) {
        let done = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture"])
            .arg("machine::panics::tests::panicking_child")
            .env("PANIC_AS_JSON", json)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (done.status.code(), text(done.stdout), text(done.stderr))
    }

    #[test]
    fn a_panic_of_any_thread_is_a_failure_without_what_it_says() {
        let (code, stdout, stderr) = panicked("no");
        assert_eq!(code, Some(1));
        assert!(stderr.contains("has a fault at src/tool/machine/panics.rs:"));
        assert!(stderr.ends_with("hint: charon-dkg status\n"), "{stderr}");
        assert!(!format!("{stdout}{stderr}").contains(SECRET));

        let (code, stdout, stderr) = panicked("yes");
        assert_eq!(code, Some(1));
        // What the test harness says comes first.
        let document = &stdout[stdout.find('{').unwrap()..];
        let document: serde_json::Value = serde_json::from_str(document).unwrap();
        assert_eq!(document["schema"], "charon-dkg.failure/1");
        assert_eq!(document["kind"], "unexpected");
        assert_eq!(document["hints"][0], "charon-dkg status");
        assert!(!format!("{stdout}{stderr}").contains(SECRET));

        // A program that has its document gets no second one behind it.
        let (code, stdout, stderr) = panicked("answered");
        assert_eq!(code, Some(1));
        assert!(!stdout.contains('{'), "{stdout}");
        assert!(stderr.contains("has a fault"), "{stderr}");
    }
}
