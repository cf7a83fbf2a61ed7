//! A stand-in for charon where there is no registry to get it from: it deals genuine files, but **it is no DKG**.
//!
//! The binary speaks charon's command lines `dkg`, `alpha edit`, `relay`, `enr`, `create enr` and `version`, its log lines and its exit
//! codes, as far as a ceremony needs them. In a real ceremony no machine ever knows a validator's key; here one process,
//! the simulated relay, draws all of them and deals the shares out. Everything else is real: every hash, signature,
//! deposit and keystore verifies, so that what comes after the ceremony can be rehearsed in full.
//!
//! It works only for definitions that are marked as rehearsals (see `charon_files::rehearsal`), so that its keys can never be
//! those of a real cluster, and it says what it is in its first log line and in `version`.

mod change;
mod dealer;
mod edit;
mod failure;
mod files;
mod flags;
mod log;
mod names;
mod node;
mod relay;
mod wire;

use std::env;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};

use charon_files::cluster::CharonVersion;

use failure::Failure;
use flags::{Flag, Kind, Values};
use log::Log;

/// What the simulator says of itself.
const DISCLAIMER: &str = "This is not charon but the rehearsal simulator of charon-dkg: all keys are dealt from one place, this is no DKG";

/// The release played where `--charon-version` does not say.
const DEFAULT_RELEASE: CharonVersion = CharonVersion::release(1, 10, 3);

/// Takes `[--charon-version vX.Y.Z] <charon's arguments>` and gives charon's exit code: 0 on success, 1 on every error.
fn main() -> ExitCode {
    let arguments: Vec<String> = env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let (release, rest) = match split_release(&arguments) {
        Ok(split) => split,
        Err(failure) => return fail(&failure, &DEFAULT_RELEASE, Log::BEFORE_FLAGS),
    };
    let mut log = Log::BEFORE_FLAGS;
    match run(&rest, &release, &mut log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(&failure, &release, log),
    }
}

/// Takes `--charon-version` off the front.
fn split_release(arguments: &[String]) -> Result<(CharonVersion, Vec<String>), Failure> {
    let (text, rest) = match arguments {
        [name, text, rest @ ..] if name == "--charon-version" => (text, rest),
        [first, rest @ ..] if first.starts_with("--charon-version=") => {
            let text = first.split_once('=').map(|(_, text)| text.to_owned());
            return Ok((parse_release(&text.unwrap_or_default())?, rest.to_vec()));
        }
        all => return Ok((DEFAULT_RELEASE, all.to_vec())),
    };
    Ok((parse_release(text)?, rest.to_vec()))
}

fn parse_release(text: &str) -> Result<CharonVersion, Failure> {
    text.parse().map_err(
        |error: charon_files::cluster::version::MalformedCharonVersion| {
            Failure::new(error.to_string())
        },
    )
}

/// Runs one command; `log` becomes what its flags say.
fn run(arguments: &[String], release: &CharonVersion, log: &mut Log) -> Result<(), Failure> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["dkg", ..] => {
            let stop = Arc::new(AtomicBool::new(false));
            for signal in [SIGINT, SIGTERM] {
                signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(no_signals)?;
            }
            node::run(rest(arguments, 1), variable, release, &stop, log)
        }
        ["alpha", "edit", ..] => {
            let stop = Arc::new(AtomicBool::new(false));
            for signal in [SIGINT, SIGTERM] {
                signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(no_signals)?;
            }
            edit::run(rest(arguments, 2), variable, release, &stop, log)
        }
        ["relay", ..] => {
            for signal in [SIGINT, SIGTERM] {
                let always = Arc::new(AtomicBool::new(true));
                signal_hook::flag::register_conditional_shutdown(signal, 0, always)
                    .map_err(no_signals)?;
            }
            relay::run(rest(arguments, 1), variable, release, log)
        }
        ["version", ..] => version(rest(arguments, 1), release),
        ["wait"] => wait(),
        ["enr", ..] => enr(rest(arguments, 1)),
        ["create", "enr", ..] => create_enr(rest(arguments, 2)),
        [word, ..] => Err(Failure::new(format!(
            "unknown command \"{word}\" for \"charon\""
        ))),
        [] => Err(Failure::new(
            "the rehearsal simulator knows dkg, alpha edit, relay, enr, create enr, version and wait",
        )),
    }
}

/// Does nothing until told to stop, in the place of whatever runs when a ceremony is over.
fn wait() -> Result<(), Failure> {
    for signal in [SIGINT, SIGTERM] {
        let always = Arc::new(AtomicBool::new(true));
        signal_hook::flag::register_conditional_shutdown(signal, 0, always).map_err(no_signals)?;
    }
    loop {
        std::thread::park();
    }
}

fn rest(arguments: &[String], skipped: usize) -> &[String] {
    arguments.get(skipped..).unwrap_or_default()
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

fn no_signals(error: std::io::Error) -> Failure {
    Failure::new(format!("cannot listen to signals: {error}"))
}

/// Says in the log what this is.
fn disclaim(log: Log) {
    log.info("cmd", DISCLAIMER, Vec::new());
}

/// The end as charon's `main.go` writes it.
fn fail(failure: &Failure, release: &CharonVersion, log: Log) -> ExitCode {
    if failure.usage {
        // cobra prints the whole usage; who needs it asks charon.
        std::io::stderr()
            .write_all(b"Usage:\n  charon [command] [flags]\n\n")
            .ok();
    }
    let prefix = if (release.major, release.minor) >= (1, 8) {
        "Application failed to start"
    } else {
        "Fatal error"
    };
    log.error("cmd", prefix, failure);
    ExitCode::FAILURE
}

fn print(text: &str) -> Result<(), Failure> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::new(error.to_string()))
}

/// `charon version`: the release, then what this is.
fn version(arguments: &[String], release: &CharonVersion) -> Result<(), Failure> {
    const FLAGS: [Flag; 2] = [
        ("help", Kind::Switch, "false"),
        ("verbose", Kind::Switch, "false"),
    ];
    Values::parse(&FLAGS, arguments, variable)?;
    print(&format!(
        "{release} [git_commit_hash=simulator,git_commit_time=unknown]\n{DISCLAIMER}\n"
    ))
}

const ENR_FLAGS: [Flag; 3] = [
    ("data-dir", Kind::Text, ".charon"),
    ("help", Kind::Switch, "false"),
    ("verbose", Kind::Switch, "false"),
];

/// `charon enr`: the record of the key in the data directory.
fn enr(arguments: &[String]) -> Result<(), Failure> {
    let values = Values::parse(&ENR_FLAGS, arguments, variable)?;
    let data_dir = Path::new(values.text("data-dir"));
    let path = data_dir.join(files::KEY_FILE);
    if !path.exists() {
        return Err(Failure::new(
            "private key not found. If this is your first time running this client, create one with `charon create enr`.",
        )
        .field("enr_path", path.display().to_string()));
    }
    let key = files::load_key(data_dir)?;
    print(&format!("{}\n", key.enr().text()))
}

/// `charon create enr`: a new key and its record.
fn create_enr(arguments: &[String]) -> Result<(), Failure> {
    let values = Values::parse(&ENR_FLAGS, arguments, variable)?;
    let data_dir = Path::new(values.text("data-dir"));
    let path = data_dir.join(files::KEY_FILE);
    let shown = path.display().to_string();
    if path.exists() {
        return Err(Failure::new("charon-enr-private-key already exists").field("enr_path", shown));
    }
    let key = files::create_key(data_dir)?;
    print(&format!(
        "Created ENR private key: {shown}\n{}\n\n{DISCLAIMER}\n",
        key.enr().text()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_taken_off_the_front() {
        let split = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
            split_release(&arguments)
        };
        let old = CharonVersion::release(0, 16, 0);
        for arguments in [
            vec!["--charon-version", "v0.16.0", "dkg", "--x"],
            vec!["--charon-version=v0.16.0", "dkg", "--x"],
        ] {
            let (release, rest) = split(&arguments).unwrap();
            assert_eq!(release, old);
            assert_eq!(rest, ["dkg", "--x"]);
        }
        let (release, rest) = split(&["dkg"]).unwrap();
        assert_eq!(release, DEFAULT_RELEASE);
        assert_eq!(rest, ["dkg"]);
        assert!(split(&["--charon-version", "latest"]).is_err());
    }
}
