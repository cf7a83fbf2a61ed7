//! `gate remove`: the project as it was, byte for byte.

use crate::cli::ComposeArgs;
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::gate::compose::ProjectFile;
use crate::gate::dotenv::{self, Edit};
use crate::gate::file::{self, Origin};
use crate::gate::install::remove_images;
use crate::gate::site::{DOTENV, Site, engine, not_editable, refused};
use crate::gate::{GATE_FILE, GATE_SERVICE, OVERRIDE_FILE};
use serde::Serialize;

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    changed: Vec<String>,
}

pub(crate) async fn remove(context: &Context, args: &ComposeArgs) -> Result<(), Failure> {
    let mut site = Site::open(context, context.layout()?, args.compose.as_deref())?;
    let edit = dotenv::remove(site.dotenv.bytes(), &site.separator, GATE_FILE);
    let edit = edit.map_err(not_editable)?;
    let named = may_go(context, &site.gate_file)?;
    let by_itself = may_go(context, &site.override_file)?;
    let one_shot = is_one_shot(&site);
    if one_shot {
        take_container_away(context, &site);
    }
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
    for (ours, name, file) in [
        (named, GATE_FILE, &mut site.gate_file),
        (by_itself, OVERRIDE_FILE, &mut site.override_file),
    ] {
        if ours {
            file.replace(None).map_err(refused)?;
            changed.push(format!("{name} is gone"));
        }
    }
    // That of an engine which does not answer stays, and is said nowhere: it does no harm.
    if one_shot && let Ok(engine) = engine(context).await {
        remove_images(context, &site, &engine, "").await;
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

/// Whether a file is one of the gate's, and may be removed.
fn may_go(context: &Context, file: &ProjectFile) -> Result<bool, Failure> {
    let path = file.path().display();
    match file.bytes().map(file::origin) {
        None | Some(Origin::Foreign) => Ok(false),
        Some(Origin::Ours) => Ok(true),
        Some(Origin::Edited) => {
            if context.agree(&format!("{path} was edited; remove it anyway?"))? {
                return Ok(true);
            }
            Err(Failure::new(Kind::Refused, format!("{path} was edited"))
                .hint("move your lines to a compose file of your own; then again"))
        }
    }
}

fn is_one_shot(site: &Site) -> bool {
    site.project().is_ok_and(|project| {
        let gate = project.services.get(GATE_SERVICE);
        gate.is_some_and(|gate| gate.provider.is_none())
    })
}

/// A container of the gate would stay behind as an orphan. It holds nothing, so a failure is only worth a word.
fn take_container_away(context: &Context, site: &Site) {
    let words = ["rm", "--force", "--stop", GATE_SERVICE];
    if let Err(error) = site.compose.run_quietly(site.dir(), &words) {
        context.warn(&format!("the container of {GATE_SERVICE} stays: {error}"));
    }
}
