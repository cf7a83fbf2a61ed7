//! Gathers the facts that [`plan::make`] decides on: those of the directory and the definition here, what is around them in
//! [`surroundings`].

use std::path::{Path, PathBuf};

use crate::ceremony::attempt::{Attempt, PREVIOUS_LOCK_FILE};
use crate::ceremony::define;
use crate::ceremony::definition_source::{self, FoundDefinition, NoDefinition};
use crate::ceremony::edit::{EditCommand, Role};
use crate::ceremony::edited;
pub(crate) use crate::ceremony::key::{enr_key, last_backup};
use crate::ceremony::pins;
use crate::ceremony::plan::{
    self, CeremonyKind, DataDirFact, DefinitionFact, EnrKeyFact, Entry, Facts, Request,
    StateDirProblem,
};
use crate::ceremony::ready_lines;
use crate::ceremony::settings::{self, Setting};
use crate::ceremony::surroundings::{self, Engine};
use crate::cli::{CeremonyArgs, StartArgs};
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::failures;
use crate::machine::datadir::{self, DataDirFacts, Layout};
use crate::machine::files::{self, EntryKind, Status};
use crate::machine::read::{self, Limit};
use crate::machine::{os, users};
use crate::promote::{held, journal};
use crate::report::quoted;
use charon_files::cluster::Definition;
use charon_files::cluster::index::NodeIndex;
use charon_files::cluster::names::ENR_KEY_FILE;
use charon_files::cluster::version::CharonVersion;
use charon_files::finding::{Finding, Weight};
use charon_files::keys::k1::EnrKey;

/// What one looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To start a ceremony.
    Start,
    /// To tell the other operators with what this node would.
    Propose,
}

/// What is to be started, as it was typed.
pub(crate) struct Typed<'a> {
    pub(crate) start: &'a StartArgs,
    /// charon's own flags.
    pub(crate) charon_flags: Vec<String>,
    pub(crate) what: What<'a>,
}

/// Which ceremony, and what it is made from.
pub(crate) enum What<'a> {
    /// A first one, with this definition if one was named.
    Dkg(Option<&'a str>),
    /// An edit, of this lock if one was named.
    Edit(&'a EditCommand, Option<&'a Path>),
}

impl Typed<'_> {
    /// The command that says that this node is ready, without this program's name.
    pub(crate) fn ready_command(&self) -> String {
        match &self.what {
            What::Dkg(_) => "ready".to_owned(),
            What::Edit(command, _) => format!("{} --ready", command.typed()),
        }
    }
}

impl<'a> From<&'a CeremonyArgs> for Typed<'a> {
    fn from(args: &'a CeremonyArgs) -> Self {
        Self {
            start: &args.start,
            charon_flags: args.flags_of_charon(),
            what: What::Dkg(args.definition.as_deref()),
        }
    }
}

/// Everything seen before a ceremony, and what was opened on the way.
pub(crate) struct Observed {
    pub(crate) request: Request,
    pub(crate) facts: Facts,
    pub(crate) engine: Option<Engine>,
    pub(crate) definition: Option<FoundDefinition>,
}

impl Observed {
    /// Waits until nothing is left of the look. What stays behind is said, not hidden.
    pub(crate) async fn settle(&self, context: &Context) {
        if let Some(engine) = &self.engine {
            surroundings::settle(context, engine).await;
        }
    }
}

/// Looks at everything that a ceremony needs.
///
/// # Errors
/// Only where not even looking is possible: a project directory that does not exist.
pub(crate) async fn observe(
    context: &Context,
    layout: &Layout,
    typed: &Typed<'_>,
    purpose: Purpose,
) -> Result<Observed, Failure> {
    check_names(layout)?;
    let mut request = request(layout, typed, purpose)?;
    let on_disk = datadir::observe(layout).map_err(failures::file)?;
    let key = enr_key(layout);
    let mut role = None;
    let definition = async {
        match &typed.what {
            What::Dkg(definition) => definition_source::find(context, layout, *definition).await,
            What::Edit(command, lock_file) => {
                edit_source(context, layout, &request, (command, *lock_file), &mut role)
            }
        }
    };
    let connect = surroundings::connect(context, &request, &on_disk);
    let (mut definition, connection) = tokio::join!(definition, connect);
    if let Ok(found) = &mut definition {
        found.findings.extend(execution_finding(found, &request));
        found
            .findings
            .extend(settings_findings(&context.common.dir, &found.definition));
        if matches!(typed.what, What::Dkg(_)) {
            found
                .findings
                .extend(define::repeated_amounts_finding(&found.definition));
        }
    }
    request.agreed = definition
        .as_ref()
        .ok()
        .and_then(|found| ready_lines::agreed(layout, found));
    let node = node_of(key.as_ref(), &definition);
    let release = definition
        .as_ref()
        .ok()
        .and_then(|found| request.release_for(found.definition.version).ok());
    let enr_id = key
        .as_ref()
        .ok()
        .and_then(Option::as_ref)
        .map(|key| key.id().to_string());

    let seen = surroundings::look(
        context,
        layout,
        &request,
        &on_disk,
        release.as_ref(),
        enr_id.as_deref(),
        &connection,
    )
    .await?;
    let old_keys = context.findings_of_old_keys(layout).await;
    let mut state_dir_problem = state_dir_problem(layout, on_disk.owner.uid);
    let next_attempt = match Attempt::list(layout) {
        Ok(attempts) => attempts.last().map_or(0, Attempt::number).saturating_add(1),
        Err(error) => {
            state_dir_problem = state_dir_problem.or_else(|| {
                Some(StateDirProblem {
                    seen: error.to_string(),
                    advice: "find out why you cannot read it".to_owned(),
                })
            });
            1
        }
    };
    let facts = Facts {
        my_uid: files::own_identity().uid,
        data_dir: data_dir_fact(&on_disk),
        state_dir_problem,
        old_keys,
        enr_key: key_fact(layout, &on_disk, key.as_ref()),
        definition: match &request.kind {
            CeremonyKind::Dkg => definition_fact(&definition, node, |found| {
                datadir::definition_path(layout, &found.bytes)
            }),
            CeremonyKind::Edit(_) => definition_fact(&definition, node, |_| {
                attempt_dir(layout, next_attempt).join(PREVIOUS_LOCK_FILE)
            }),
        },
        engine: seen.fact,
        image: seen.image,
        others: seen.others,
        relays: seen.inside.relays,
        network: seen.inside.network,
        mounts: seen.inside.mounts,
        attempt_dir: attempt_dir(layout, next_attempt),
        role,
    };
    Ok(Observed {
        request,
        facts,
        engine: connection.ok().map(|(engine, _)| engine),
        definition: definition.ok(),
    })
}

/// What the project's `.env` says against the definition.
pub(crate) fn settings_findings(project: &Path, definition: &Definition) -> Vec<Finding> {
    const DOTENV: Limit = Limit {
        bytes: settings::MAX_DOTENV_BYTES,
        what: "the settings of a project",
    };
    match read::read_file(&project.join(".env"), DOTENV) {
        // Which charon runs the cluster later, and where its nodes meet, is of no concern to a ceremony.
        Ok(bytes) => {
            let mut settings = settings::of_dotenv(&bytes);
            settings.retain(|setting, _| matches!(setting, Setting::Network | Setting::Rewards));
            settings::disagreements(&settings, Some(&bytes), definition, &[])
        }
        Err(error) if error.is_missing() => Vec::new(),
        Err(error) => vec![Finding {
            check: "project-settings",
            weight: Weight::Note,
            subject: ".env".to_owned(),
            seen: error.to_string(),
            expected: "settings that can be compared with the definition".to_owned(),
            advice: "compare NETWORK and LIDO_EXECUTION_LAYER_REWARDS_ADDRESS yourself".to_owned(),
        }],
    }
}

/// Engine and charon are told paths as text.
fn check_names(layout: &Layout) -> Result<(), Failure> {
    let data_dir = layout.data_dir();
    if data_dir.to_str().is_some() {
        return Ok(());
    }
    Err(Failure::new(
        Kind::Refused,
        format!(
            "the name of {} is not UTF-8, and charon cannot be given it",
            quoted(data_dir)
        ),
    )
    .hint("rename that directory, or move the project to another one"))
}

/// Why our directory beside the data directory cannot be made or written in, if so.
fn state_dir_problem(layout: &Layout, owner: u32) -> Option<StateDirProblem> {
    let state_dir = layout.state_dir();
    let problem = |seen: String, advice: &str| {
        Some(StateDirProblem {
            seen,
            advice: advice.to_owned(),
        })
    };
    let me = files::own_identity().uid;
    let (path, what) = match Status::of_path(state_dir) {
        Ok(Some(status)) if status.kind != EntryKind::Directory => {
            return problem("it is no directory".to_owned(), "move it out of the way");
        }
        Ok(Some(status)) if status.owner.uid != owner && status.owner.uid != me => {
            return problem(
                format!("it belongs to {}", users::describe_user(status.owner.uid)),
                "find out whose it is, and move it out of the way",
            );
        }
        Ok(Some(_)) => (state_dir, "you may not put files there"),
        Ok(None) | Err(_) => (
            state_dir.parent().unwrap_or(state_dir),
            "it does not exist, and you may not make it",
        ),
    };
    match os::check_writable(path) {
        Ok(()) => None,
        Err(error) => {
            let advice = failures::out_of_reach(&error, path).unwrap_or_else(|| let_in(path, me));
            problem(format!("{what}: {error}"), &advice)
        }
    }
}

/// How this user comes to write in a directory: its owner need only change the mode.
fn let_in(dir: &Path, user: u32) -> String {
    match Status::of_path(dir) {
        Ok(Some(status)) if status.owner.uid == user => {
            format!("chmod u+rwx {}", quoted(dir))
        }
        Ok(Some(_) | None) | Err(_) => {
            "let the owner of the data directory write there, or run this as root".to_owned()
        }
    }
}

fn attempt_dir(layout: &Layout, number: u32) -> PathBuf {
    layout.state_dir().join("attempts").join(number.to_string())
}

fn request(layout: &Layout, typed: &Typed<'_>, purpose: Purpose) -> Result<Request, Failure> {
    let args = typed.start;
    let charon_version = match &args.charon_version {
        Some(text) => Some(
            text.parse::<CharonVersion>()
                .map_err(|error| Failure::new(Kind::Usage, error.to_string()))?,
        ),
        None => None,
    };
    let repository = args
        .image
        .clone()
        .unwrap_or_else(|| pins::OFFICIAL_REPOSITORY.to_owned());
    let last = repository.rsplit('/').next().unwrap_or(&repository);
    if last.contains(':') || repository.contains('@') {
        return Err(Failure::new(
            Kind::Usage,
            format!("--image {repository} names a tag or digest, expected a repository"),
        )
        .hint(
            "the tag follows from the definition; choose another release with --charon-version",
        ));
    }
    Ok(Request {
        kind: match typed.what {
            What::Dkg(_) => CeremonyKind::Dkg,
            What::Edit(command, _) => CeremonyKind::Edit(command.clone()),
        },
        data_dir: layout.data_dir().to_owned(),
        state_dir: layout.state_dir().to_owned(),
        relays: args.relay.clone(),
        network: args.network.clone(),
        repository,
        charon_binary: match &args.charon_binary {
            Some(path) => Some(std::path::absolute(path).map_err(|error| {
                Failure::new(Kind::Usage, format!("{}: {error}", path.display()))
            })?),
            None => None,
        },
        charon_version,
        allow_prerelease: args.allow_prerelease,
        no_backup: args.no_backup,
        charon_flags: typed.charon_flags.clone(),
        agreed: None,
        is_proposal: purpose == Purpose::Propose,
    })
}

/// The cluster that is edited, with all that speaks against the edit.
fn edit_source(
    context: &Context,
    layout: &Layout,
    request: &Request,
    (command, lock_file): (&EditCommand, Option<&Path>),
    role: &mut Option<Role>,
) -> Result<FoundDefinition, NoDefinition> {
    let key = enr_key(layout).ok().flatten();
    let wanted = edited::Wanted {
        command,
        lock_file,
        own: key.map(|key| key.public_key()),
    };
    let mut edited = edited::find(context, layout, &wanted)?;
    let request = Request {
        agreed: ready_lines::agreed(layout, &edited.found),
        ..request.clone()
    };
    let charon = request.release_for(edited.lock.definition.version).ok();
    let own = wanted.own.as_ref();
    *role = edited.role;
    edited.found.definition = command.definition(&edited.lock, charon.as_ref());
    let against = command.findings(&edited.lock, charon.as_ref(), own);
    edited.found.findings.splice(0..0, against);
    Ok(edited.found)
}

fn node_of(
    key: Result<&Option<EnrKey>, &String>,
    definition: &Result<FoundDefinition, NoDefinition>,
) -> Option<NodeIndex> {
    let key = key.ok()?.as_ref()?.public_key();
    let found = definition.as_ref().ok()?;
    found.definition.node_of(&key)
}

fn data_dir_fact(on_disk: &DataDirFacts) -> DataDirFact {
    match on_disk.kind {
        None => DataDirFact::Missing,
        Some(EntryKind::Directory) => match on_disk.unreadable.first() {
            Some((path, reason)) => {
                DataDirFact::Unreadable(format!("{}: {reason}", path.display()))
            }
            None => DataDirFact::Found {
                uid: on_disk.owner.uid,
                gid: on_disk.owner.gid,
                entries: on_disk
                    .entries
                    .iter()
                    .filter(|entry| entry.path.components().count() == 1)
                    .map(|entry| Entry {
                        name: entry.name(),
                        kind: entry.kind,
                    })
                    .collect(),
                modes: on_disk.modes(),
                untold_modes: on_disk.untold_modes.len(),
                writable: on_disk.writable,
                read_only: on_disk.read_only,
                same_file_system: on_disk.same_filesystem,
                free_bytes: on_disk.free_bytes,
            },
        },
        Some(
            kind @ (EntryKind::Regular | EntryKind::Symlink | EntryKind::Fifo | EntryKind::Other),
        ) => DataDirFact::Unreadable(format!("it is {kind}, not a directory")),
    }
}

fn key_fact(
    layout: &Layout,
    on_disk: &DataDirFacts,
    key: Result<&Option<EnrKey>, &String>,
) -> EnrKeyFact {
    match key {
        Ok(None) => EnrKeyFact::Missing,
        Err(reason) => EnrKeyFact::Unusable(reason.clone()),
        Ok(Some(key)) => match on_disk.entry(ENR_KEY_FILE) {
            Some(entry) => EnrKeyFact::Found {
                enr_id: key.id().to_string(),
                mode: entry.mode,
                uid: entry.owner.uid,
                backed_up: last_backup(layout, key).is_some(),
            },
            None => EnrKeyFact::Missing,
        },
    }
}

fn definition_fact(
    definition: &Result<FoundDefinition, NoDefinition>,
    node: Option<NodeIndex>,
    kept_as: impl FnOnce(&FoundDefinition) -> PathBuf,
) -> DefinitionFact {
    match definition {
        Err(NoDefinition::Missing(looked)) => DefinitionFact::Missing(looked.clone()),
        Err(NoDefinition::Unusable { reason, advice }) => DefinitionFact::Unusable {
            reason: reason.clone(),
            advice: advice.clone(),
        },
        Ok(found) => DefinitionFact::Found {
            source: found.source.clone(),
            kept_as: kept_as(found),
            definition: Box::new(found.definition.clone()),
            definition_hash: found.definition_hash,
            node,
            findings: found.findings.clone(),
        },
    }
}

/// charon asks contract wallets itself, before anything else, from inside its container (charon dkg/disk.go).
fn execution_finding(found: &FoundDefinition, request: &Request) -> Option<Finding> {
    const FLAG: &str = plan::EXECUTION_CLIENT_FLAG;
    let is_given = request
        .charon_flags
        .iter()
        .any(|flag| flag.split('=').next() == Some(FLAG));
    (found.has_contract_wallets && !is_given).then(|| Finding {
        check: "execution-client-needed",
        weight: Weight::Fail,
        subject: "charon's flags".to_owned(),
        seen: "no execution client, although a contract wallet may have signed the definition".to_owned(),
        expected: format!("{FLAG}=URL, an address that charon's container reaches"),
        advice: format!("add `-- {FLAG}=URL`; charon asks the contract itself and refuses the definition otherwise"),
    })
}

/// Refuses where the outputs of a ceremony wait for the other operators.
///
/// # Errors
/// [`Kind::Refused`] with where they are.
pub(crate) fn check_nothing_held(layout: &Layout) -> Result<(), Failure> {
    let Some(attempt) = held::find(layout) else {
        return Ok(());
    };
    Err(Failure::new(
        Kind::Refused,
        format!(
            "the ceremony of attempt {} has ended well: its keys are complete and safe in {}, and wait until all operators have confirmed",
            attempt.number(),
            attempt.stage().display()
        ),
    )
    .hint("`charon-dkg status` says who is missing; `charon-dkg confirm -` takes their receipts")
    .hint("only if this ceremony is given up: `charon-dkg archive`"))
}

/// Refuses where there is something to finish and so nothing to plan.
///
/// # Errors
/// [`Kind::Refused`] with what is under way.
pub(crate) fn check_nothing_under_way(layout: &Layout) -> Result<(), Failure> {
    if journal::is_pending(layout) {
        return Err(Failure::new(
            Kind::Refused,
            "a command was interrupted while it moved files",
        )
        .hint("`charon-dkg run` finishes or undoes that first"));
    }
    check_nothing_held(layout)?;
    let unfinished = Attempt::list(layout)
        .ok()
        .and_then(|mut attempts| attempts.pop())
        .and_then(|attempt| Some((attempt.number(), attempt.record().ok()?)))
        .filter(|(_, record)| !record.state.is_final());
    match unfinished {
        Some((number, record)) => Err(Failure::new(
            Kind::Refused,
            format!(
                "attempt {number}, begun at {}, is under way in {}",
                record.started,
                record.place()
            ),
        )
        .hint("`charon-dkg run` goes on with it")),
        None => Ok(()),
    }
}

/// The plan, or a refusal with every finding.
///
/// # Errors
/// [`Kind::Busy`] where a ceremony with the same key is among the findings, else [`Kind::Refused`].
pub(crate) fn plan(observed: &Observed) -> Result<plan::Plan, Failure> {
    plan::make(&observed.request, &observed.facts).map_err(|findings| {
        let ceremonies = observed.facts.others.iter().any(|other| other.is_ceremony);
        let kind = if ceremonies {
            Kind::Busy
        } else {
            Kind::Refused
        };
        Failure::new(kind, "the ceremony cannot start; nothing was changed").with_findings(findings)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_of_a_directory_without_rights_in_it_is_told_the_command() {
        let dir = tempfile::tempdir().unwrap();
        let owner = files::own_identity().uid;
        let advice = let_in(dir.path(), owner);
        assert_eq!(advice, format!("chmod u+rwx {}", quoted(dir.path())));
        let advice = let_in(dir.path(), owner + 1);
        assert!(advice.starts_with("let the owner"), "{advice}");
    }
}
