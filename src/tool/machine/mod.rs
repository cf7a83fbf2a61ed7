//! This machine: files, guards, processes, signals, the terminal.

pub mod datadir;
pub mod fetch;
pub mod files;
pub mod guard;
pub mod processes;
pub mod read;
pub mod selinux;
pub mod signals;
pub mod terminal;
#[cfg(test)]
pub mod testing;
pub mod users;

#[cfg(test)]
#[expect(
    dead_code,
    reason = "the part that listens on a Unix socket serves other tests"
)]
#[path = "../../../tests/support/http_server.rs"]
pub(crate) mod http_server;
