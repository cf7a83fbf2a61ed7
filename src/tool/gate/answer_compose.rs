//! `compose`: what Compose asks a provider. Nothing but its answer may reach standard output.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::PLUGIN_NAME;
use crate::error::Kind;
use crate::gate::compose;
use crate::gate::decide::{Asked, decide_at_start};
use crate::gate::decision::{Closed, GateDecision};
use crate::gate::provider::{self, Options, Request};
use crate::gate::words::Flags;
use crate::machine::datadir::Layout;
use crate::metadata;
use crate::report;
use charon_proof::verify::NoProgress;

/// Answers Compose.
pub(crate) fn answer(words: &[OsString]) -> ExitCode {
    // This is the one spelling that works wherever Compose has found us.
    let spelling = format!("docker {PLUGIN_NAME}");
    let answer = match Request::parse(words) {
        Ok(Request::Metadata) => return say(metadata::compose_provider(), 0),
        Ok(Request::Leave) => return ExitCode::SUCCESS,
        Ok(Request::Up(options)) => ask(&options, &spelling),
        Err(error) => Err(Closed::new(
            error.to_string(),
            format!("{spelling} gate install, or correct the compose file"),
        )),
    };
    match answer {
        Ok(notes) => say(&notes, 0),
        Err(closed) => {
            let kind = if closed.files_at_fault {
                Kind::VerificationFailed
            } else {
                Kind::Refused
            };
            say(&provider::refusal(&closed.text()), kind.exit_code())
        }
    }
}

fn say(text: &str, code: u8) -> ExitCode {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::from(code),
        Err(_) => ExitCode::FAILURE,
    }
}

/// A yes, with the messages of what is to know all the same.
fn ask(options: &Options, spelling: &str) -> Result<String, Closed> {
    let project_dir = project_dir(options, spelling)?;
    let data_dir = options.data_dir.as_ref().map(|dir| project_dir.join(dir));
    let layout = Layout::resolve(&project_dir, data_dir.as_deref())
        .map_err(|error| Closed::new(error.to_string(), format!("{spelling} gate install")))?;
    let flags = Flags::of(&layout);
    let words = flags.words(spelling);
    let asked = Asked {
        require: options.require,
        rehearsal: options.rehearsal,
        settings: options.settings.clone(),
    };
    match decide_at_start(None, &layout, &asked, words, &NoProgress) {
        GateDecision::Open { notes, .. } => {
            let lines = notes.iter().map(report::finding_line);
            let said = lines.map(|line| provider::note(&report::clean(&line)));
            Ok(said.collect())
        }
        GateDecision::Closed(closed) => Err(closed),
    }
}

/// Where the project is. `gate install` writes it down; a project that was copied or moved since would have the gate
/// look into another one's data directory. What cannot be told closes the gate.
fn project_dir(options: &Options, spelling: &str) -> Result<PathBuf, Closed> {
    let calling = compose::calling_project().map_err(|unknown| {
        Closed::new(
            unknown.to_string(),
            format!("{spelling} up, which starts the project of this directory"),
        )
    })?;
    let Some(written) = options
        .project_dir
        .as_deref()
        .filter(|dir| dir.is_absolute())
    else {
        return Ok(calling.join(options.project_dir.as_deref().unwrap_or(Path::new("."))));
    };
    let installed = compose::real_path(written);
    if calling == installed {
        return Ok(installed);
    }
    Err(Closed::new(
        format!(
            "this gate was installed for {}, and compose was called for {}",
            installed.display(),
            calling.display()
        ),
        format!("{spelling} gate install --dir {}", report::quoted(&calling)),
    ))
}
