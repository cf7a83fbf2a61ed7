//! The engine, the file system, guards, signals, the terminal: all effects outside the commands.

mod causes;
pub mod docker;
pub mod engine;
pub mod fetch;
pub mod probe;
pub mod self_image;
pub mod signals;

#[cfg(test)]
#[expect(
    dead_code,
    reason = "the part that listens on a Unix socket serves other tests"
)]
#[path = "../../tests/support/http_server.rs"]
mod http_server;
