//! argv in, exit code out.

use std::process::ExitCode;

use charon_dkg::simulator;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|word| word == "simulator") {
        return simulator::main(arguments);
    }
    ExitCode::SUCCESS
}
