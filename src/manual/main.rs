//! `charon-dkg-manual DIR`: writes the man pages of every verb and the completions of bash, zsh and fish for
//! `charon-dkg` into DIR, from the command line's own definition. Packages have them; it is installed nowhere.

use std::path::PathBuf;

use clap_complete::{Shell, generate_to};

const PROGRAM: &str = "charon-dkg";

fn main() -> std::io::Result<()> {
    let Some(dir) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err(std::io::Error::other("usage: charon-dkg-manual DIR"));
    };
    std::fs::create_dir_all(&dir)?;
    let command = charon_dkg::cli::command().name(PROGRAM);
    clap_mangen::generate_to(command.clone(), &dir)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut command.clone(), PROGRAM, &dir)?;
    }
    Ok(())
}
