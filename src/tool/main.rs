//! argv in, exit code out.

use std::{env, ffi::OsString, io::Write as _, process::ExitCode};

use charon_dkg::{commands, metadata};

fn main() -> ExitCode {
    let argv: Vec<OsString> = env::args_os().collect();
    // Docker asks every plugin at every start of its own, so this comes before all else.
    if metadata::is_metadata_request(&argv) {
        return match std::io::stdout().write_all(metadata::docker_cli_plugin().as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    commands::main(argv)
}
