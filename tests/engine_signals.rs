//! Requests to stop, with real signals and a real plugin socket.
//!
//! Signals go to the whole process, so each scene is played by a child of this test program.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, also in its helpers"
)]

use std::io::{BufRead, BufReader, Lines};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::{Child, ChildStdout, Command, Stdio};

use charon_dkg::machine::signals::{Interrupt, PLUGIN_SOCKET_VARIABLE, Urgency};
use rustix::process::{Pid, Signal, kill_process};

/// Prints each request to stop, and ends after one that is urgent.
#[test]
#[ignore = "the other tests run this as a child"]
fn listening_child() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut interrupt = Interrupt::listen().unwrap();
        println!("\nlistening");
        loop {
            let request = interrupt.next().await;
            println!("{:?} {:?}", request.source, request.urgency);
            if request.urgency == Urgency::Now {
                break;
            }
        }
    });
}

struct Listening {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Listening {
    fn start(plugin_socket: Option<&str>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--ignored", "--exact", "--nocapture", "listening_child"])
            .env_remove(PLUGIN_SOCKET_VARIABLE)
            .stdout(Stdio::piped());
        if let Some(address) = plugin_socket {
            command.env(PLUGIN_SOCKET_VARIABLE, address);
        }
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut listening = Self { child, lines };
        listening.wait_for("listening");
        listening
    }

    /// Reads on to this line; fails on any other report.
    fn wait_for(&mut self, expected: &str) {
        for line in &mut self.lines {
            let line = line.unwrap();
            if line == expected {
                return;
            }
            let is_harness =
                line.is_empty() || line.starts_with("running") || line.starts_with("test ");
            assert!(is_harness, "saw {line:?}, expected {expected:?}");
        }
        assert_eq!("the end", expected);
    }

    fn send(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    fn end(mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // Already ended, unless the test failed.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn the_first_signal_is_orderly_and_the_second_means_now() {
    for (first, second, seen) in [
        (
            Signal::INT,
            Signal::INT,
            ["Interrupt Orderly", "Interrupt Now"],
        ),
        (
            Signal::TERM,
            Signal::INT,
            ["Terminate Orderly", "Interrupt Now"],
        ),
        (
            Signal::INT,
            Signal::TERM,
            ["Interrupt Orderly", "Terminate Now"],
        ),
    ] {
        let mut listening = Listening::start(None);
        listening.send(first);
        listening.wait_for(seen[0]);
        listening.send(second);
        listening.wait_for(seen[1]);
    }
}

#[test]
fn a_terminal_that_goes_away_does_not_insist() {
    let mut listening = Listening::start(None);
    listening.send(Signal::HUP);
    listening.wait_for("Hangup Orderly");
    // The shell sends one, the kernel another.
    listening.send(Signal::HUP);
    listening.send(Signal::TERM);
    listening.send(Signal::INT);
    // Neither the second hang-up nor the first deliberate signal was reported.
    let line = listening.lines.next().unwrap().unwrap();
    assert!(line == "Interrupt Now" || line == "Terminate Now", "{line}");
}

fn plugin_socket(address: &str) -> UnixListener {
    let address = match address.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name).unwrap(),
        None => SocketAddr::from_pathname(address).unwrap(),
    };
    UnixListener::bind_addr(&address).unwrap()
}

#[test]
fn docker_closing_the_plugin_socket_is_a_request_to_stop() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plugin.sock");
    let abstract_name = format!("@docker_cli_{}", uuid::Uuid::new_v4().simple());
    for address in [path.to_str().unwrap(), &abstract_name] {
        let docker = plugin_socket(address);
        let mut listening = Listening::start(Some(address));
        let connection: UnixStream = docker.accept().unwrap().0;
        drop((docker, connection));
        listening.wait_for("PluginSocket Orderly");
        // A Ctrl-C that docker passed on like this also comes as a signal: still the same one.
        listening.send(Signal::INT);
        listening.send(Signal::TERM);
        let line = listening.lines.next().unwrap().unwrap();
        assert!(line == "Interrupt Now" || line == "Terminate Now", "{line}");
        listening.end();
    }
}

#[test]
fn a_plugin_socket_of_a_docker_long_gone_is_no_request() {
    let mut listening = Listening::start(Some("@docker_cli_gone"));
    listening.send(Signal::TERM);
    listening.wait_for("Terminate Orderly");
}
