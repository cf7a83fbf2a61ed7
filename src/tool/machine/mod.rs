//! This machine: files, guards, processes, signals, the terminal, the network. What differs between systems is in `os`: `unix.rs` or
//! `windows.rs`.

pub mod causes;
pub mod container;
pub mod datadir;
pub mod fetch;
pub mod files;
pub mod git;
pub mod guard;
pub mod heartbeat;
pub(crate) mod panics;
#[cfg(target_os = "linux")]
pub mod processes;
#[cfg(target_os = "linux")]
pub(crate) mod projects;
pub mod read;
pub mod relays;
#[cfg(any(windows, test))]
mod sddl;
#[cfg(target_os = "linux")]
pub mod selinux;
pub mod signals;
pub mod terminal;
#[cfg(test)]
pub mod testing;
pub mod users;

#[cfg(unix)]
#[path = "unix.rs"]
pub(crate) mod os;
#[cfg(windows)]
#[path = "windows.rs"]
pub(crate) mod os;

/// The processor that this program runs on, by the name that Go, and so docker and image indexes, give it.
pub(crate) fn processor() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

/// The time of this machine's clock, in seconds of Unix time.
pub(crate) fn unix_time() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0)
}

/// A time to the second, RFC 3339 in UTC: `2026-11-22T18:12:00Z`.
pub(crate) fn time_text(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
#[expect(
    dead_code,
    reason = "the part that listens on a Unix socket serves other tests"
)]
#[path = "../../../tests/support/http_server.rs"]
pub(crate) mod http_server;
#[cfg(test)]
#[path = "../../../tests/support/refusing_port.rs"]
pub(crate) mod refusing_port;
