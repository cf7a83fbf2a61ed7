//! `gate remove`: the project as it was, byte for byte.

use crate::cli::ComposeArgs;
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::gate::dotenv::{self, Edit};
use crate::gate::file::{self, Origin};
use crate::gate::site::{DOTENV, Site, not_editable, refused};
use crate::gate::{GATE_FILE, GATE_SERVICE};
use serde::Serialize;

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    changed: Vec<String>,
}

pub(crate) fn remove(context: &Context, args: &ComposeArgs) -> Result<(), Failure> {
    let mut site = Site::open(context, context.layout()?, args.compose.as_deref())?;
    let edit = dotenv::remove(site.dotenv.bytes(), &site.separator, GATE_FILE);
    let edit = edit.map_err(not_editable)?;
    let path = site.gate_file.path().display().to_string();
    let ours = match site.gate_file.bytes().map(file::origin) {
        None | Some(Origin::Foreign) => false,
        Some(Origin::Ours) => true,
        Some(Origin::Edited) => {
            if !context.agree(&format!("{path} was edited; remove it all the same?"))? {
                return Err(Failure::new(Kind::Refused, format!("{path} was edited"))
                    .hint("move your lines to a compose file of your own; then again"));
            }
            true
        }
    };
    take_container_away(context, &site);
    let mut changed = Vec::new();
    match edit {
        Edit::Keep => {}
        Edit::Write(bytes) => {
            site.dotenv.replace(Some(&bytes)).map_err(refused)?;
            changed.push(format!("{DOTENV} is as it was"));
        }
        Edit::Delete => {
            site.dotenv.replace(None).map_err(refused)?;
            changed.push(format!("{DOTENV} is gone again"));
        }
    }
    // Last, since Compose reads nothing at all while a file is named that is not there.
    if ours {
        site.gate_file.replace(None).map_err(refused)?;
        changed.push(format!("{GATE_FILE} is gone"));
    }
    let text = if changed.is_empty() {
        "there is no gate here".to_owned()
    } else {
        changed.join("\n")
    };
    context.result(
        &text,
        &Document {
            schema: "charon-dkg.gate-remove/1",
            changed,
        },
    )
}

/// A container of the gate would stay behind as an orphan. It holds nothing, so a failure is only worth a word.
fn take_container_away(context: &Context, site: &Site) {
    let one_shot = site.project().is_ok_and(|project| {
        let gate = project.services.get(GATE_SERVICE);
        gate.is_some_and(|gate| gate.provider.is_none())
    });
    if !one_shot {
        return;
    }
    let words = ["rm", "--force", "--stop", GATE_SERVICE];
    if let Err(error) = site.compose.run_quietly(site.dir(), &words) {
        context.warn(&format!("the container of {GATE_SERVICE} stays: {error}"));
    }
}
