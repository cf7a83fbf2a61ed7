//! `archive`: moves the outputs of an old or failed ceremony aside; never the ENR key.

use serde::Serialize;

use super::{Context, failures};
use crate::cli::ArchiveArgs;
use crate::error::{Failure, Kind};
use crate::host::archive::{self, ArchiveResult, ArchiveScope};
use crate::host::{datadir, guard, journal};

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    archive: Option<String>,
    moved: Vec<String>,
    left: Vec<String>,
}

pub(super) fn archive(context: &Context, args: &ArchiveArgs) -> Result<(), Failure> {
    let layout = context.layout()?;
    if !layout.data_dir().is_dir() {
        return Err(Failure::new(
            Kind::Refused,
            format!("{} does not exist", layout.data_dir().display()),
        )
        .hint("name the project directory with --dir"));
    }
    datadir::create_state_dir(&layout).map_err(failures::state_dir)?;
    let _guard = guard::claim_directory(&layout).map_err(failures::guard)?;
    if let Some(recovery) = journal::recover(&layout).map_err(failures::journal)? {
        context.recovered(&recovery);
    }
    let scope = if args.with_definition {
        ArchiveScope::OutputsAndDefinition
    } else {
        ArchiveScope::Outputs
    };
    if !context.agree(
        "Move the outputs of this directory's ceremony aside? Validators that run with them stop at their next restart.",
    )? {
        return Err(Failure::new(Kind::Refused, "not confirmed; nothing was changed"));
    }
    let (text, document) = match archive::archive(&layout, jiff::Timestamp::now(), scope)
        .map_err(failures::journal)?
    {
        ArchiveResult::Nothing => (
            "nothing to move aside\n".to_owned(),
            Document {
                schema: "charon-dkg.archive/1",
                archive: None,
                moved: Vec::new(),
                left: Vec::new(),
            },
        ),
        ArchiveResult::Archived(done) => (
            format!(
                "moved to {}: {}\n",
                done.dir.display(),
                done.names.join(", ")
            ),
            Document {
                schema: "charon-dkg.archive/1",
                archive: Some(done.dir.display().to_string()),
                moved: done.names,
                left: done.left,
            },
        ),
    };
    context.result(&text, &document)
}
