//! `enr`: creates the ENR key if it does not exist, and prints the ENR to give to the coordinator.

use std::path::Path;

use serde::Serialize;

use crate::ceremony::key;
use crate::cli::{EnrAction, EnrArgs};
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::failures;
use crate::machine::container;
use crate::machine::datadir::{self, DataDirFacts, Layout};
use crate::machine::files::Status;
#[cfg(target_os = "linux")]
use crate::machine::projects;
use crate::place::{self, WayOut};
use crate::report;
use charon_files::keys::k1::EnrKey;

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    enr: &'a str,
    enr_id: String,
    created: bool,
    key_file: String,
}

pub(crate) fn enr(context: &Context, args: &EnrArgs) -> Result<(), Failure> {
    let layout = context.layout()?;
    let facts = place::look(&layout)?;
    let key_path = layout.enr_key_path().display().to_string();
    let existing = key::enr_key(&layout).map_err(|reason| {
        Failure::new(
            Kind::Refused,
            format!("the ENR key cannot be used: {reason}"),
        )
        .hint(format!(
            "restore {key_path} from your backup; it is not overwritten"
        ))
    })?;
    let (key, created) = match (existing, args.action) {
        (Some(key), _) => (key, false),
        (None, Some(EnrAction::Show)) => {
            return Err(
                Failure::new(Kind::Refused, format!("there is no ENR key {key_path}")).hint(
                    "`charon-dkg enr` creates one; if you had one, restore it from your backup instead",
                ),
            );
        }
        (None, None) => {
            if let Some(advice) = place::owner_to_be(facts.owner.uid, &facts) {
                return Err(somebody_elses(&layout, &facts, advice));
            }
            refuse_below_another_project(context, &layout)?;
            (create(&layout)?, true)
        }
    };
    #[cfg(target_os = "linux")]
    projects::remember(layout.project_dir());
    let enr = key.enr();
    if created {
        context.say(&format!("created {key_path}"));
        context.keep_from_git(layout.data_dir());
        let status = Status::of_path(&layout.enr_key_path()).map_err(failures::file)?;
        if status.is_none_or(|status| status.mode_untold || status.mode & 0o077 != 0) {
            context.warn(&format!(
                "others can read {key_path}, or that could not be ruled out: keep it inside your own profile"
            ));
        }
    }
    context.result(
        &format!("{}\n", enr.text()),
        &Document {
            schema: "charon-dkg.enr/1",
            enr: enr.text(),
            enr_id: key.id().to_string(),
            created,
            key_file: key_path,
        },
    )?;
    if created {
        context.say("give this ENR to the coordinator, and the key file to nobody");
        context.say(
            "back it up now with `charon-dkg backup`, and store the backup on another machine: without the key this node's keystores are useless, and nobody can restore it",
        );
    }
    Ok(())
}

/// In a subdirectory of a project, the project's key is meant. A directory that is named is the one that is meant.
fn refuse_below_another_project(context: &Context, layout: &Layout) -> Result<(), Failure> {
    let common = &context.common;
    let is_named = common.dir != Path::new(".") || common.data_dir.is_some();
    match place::project_above(layout) {
        Some(above) if !is_named => Err(Failure::new(
            Kind::Refused,
            format!(
                "there is no ENR key here, but {} has one; a second one was not made",
                above.display()
            ),
        )
        .hint(format!(
            "for the key of that project: `charon-dkg enr --dir {}`",
            report::quoted(above)
        ))
        .hint(format!(
            "for another node with a key of its own: `charon-dkg enr --dir {}`",
            report::quoted(layout.project_dir())
        ))),
        Some(_) | None => Ok(()),
    }
}

/// Nothing is made beside a data directory in which this user cannot make the key.
fn somebody_elses(layout: &Layout, facts: &DataDirFacts, advice: String) -> Failure {
    let failure = Failure::new(
        Kind::Refused,
        format!(
            "{} belongs to another user; nothing was changed",
            layout.data_dir().display()
        ),
    );
    if place::is_removable(layout, facts) {
        return failure
            .hint("it is empty: docker makes such a directory where one to mount is missing")
            .hint(format!(
                "rmdir {}, and then `charon-dkg enr`",
                report::quoted(layout.data_dir())
            ));
    }
    let failure = failure.hint(advice);
    let way = place::way_out(facts.owner.uid, facts).map(WayOut::hint);
    way.into_iter().fold(failure, Failure::hint)
}

/// Creates the key, unless it can be seen that there was another.
fn create(layout: &Layout) -> Result<EnrKey, Failure> {
    if let Some(trace) = place::made_for_a_key(layout)? {
        let key_path = layout.enr_key_path();
        return Err(Failure::new(
            Kind::Refused,
            format!(
                "there is no ENR key {}, but there is {trace}, which belongs to an earlier key",
                key_path.display()
            ),
        )
        .hint("restore the key from your backup: a new one would belong to no operator of that cluster")
        .hint("for another ceremony with a new key, first `charon-dkg archive --with-definition`"));
    }
    if container::goes_with_the_container(layout.data_dir()) {
        return Err(Failure::new(
            Kind::Refused,
            format!(
                "{} is part of this container: the key would be lost with it",
                layout.data_dir().display()
            ),
        )
        .hint("mount the project directory: `docker run --rm --volume \"$PWD:/w\" IMAGE enr`"));
    }
    datadir::create_data_dir(layout).map_err(failures::file)?;
    let _guard = place::claim(layout)?;
    let key = new_key()?;
    datadir::create_enr_key_file(layout, &key.to_file_text()).map_err(failures::key_file)?;
    Ok(key)
}

/// A new key from the operating system's random numbers.
fn new_key() -> Result<EnrKey, Failure> {
    // A number outside the group's order has a probability of 2^-128; the loop is for form.
    for _ in 0..8 {
        let mut secret = zeroize::Zeroizing::new([0_u8; 32]);
        getrandom::fill(&mut *secret).map_err(|error| {
            Failure::new(Kind::Unexpected, format!("no random numbers: {error}"))
        })?;
        if let Ok(key) = EnrKey::from_secret_bytes(&secret) {
            return Ok(key);
        }
    }
    Err(Failure::new(
        Kind::Unexpected,
        "the random numbers are not random",
    ))
}
