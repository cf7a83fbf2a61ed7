//! `repair`: owner and modes of a damaged data directory, shown first, changed after a yes.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use rustix::process::{getegid, geteuid, getuid};
use serde::Serialize;

use crate::ceremony::facts;
use crate::cli::RepairArgs;
use crate::context::Context;
use crate::custody::repair::{self, Exposure, Exposures, Seen, Step, Tree, joined};
use crate::custody::{backup, repair_files};
use crate::error::{Failure, Kind};
use crate::failures;
use crate::machine::datadir::Layout;
use crate::machine::files::Owner;
use crate::machine::guard::{self, Guard, GuardError};
use crate::machine::users;
use crate::promote::{archive_command, journal};
use crate::report;
use charon_files::finding::Finding;
use charon_proof::verify::Verdict;

/// A directory that cannot be listed shows what is in it only once its own mode is right; nothing nests deeper than this.
const ROUNDS: usize = 16;

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    owner: Owner,
    steps: Vec<StepLine>,
    exposed: Vec<Exposure>,
    /// Keystores that others could read without their passwords, or the other way round.
    exposed_parts: Vec<Exposure>,
    /// Whether the steps were taken.
    repaired: bool,
    verdict: Option<Verdict>,
}

#[derive(Serialize)]
struct StepLine {
    path: String,
    seen_owner: Owner,
    seen_mode: String,
    owner: Owner,
    mode: String,
}

impl Document {
    fn before(owner: Owner) -> Self {
        Self {
            schema: "charon-dkg.repair/1",
            owner,
            steps: Vec::new(),
            exposed: Vec::new(),
            exposed_parts: Vec::new(),
            repaired: false,
            verdict: None,
        }
    }
}

/// What must change in both directories, by path, and who could read keys in them.
#[derive(Default)]
struct Plan {
    steps: BTreeMap<PathBuf, Step>,
    exposed: Exposures,
}

impl Plan {
    fn text(&self) -> String {
        let mut text = String::new();
        for (path, step) in &self.steps {
            let path = report::clean(&path.display().to_string());
            text.push_str(&format!("{path}: {}\n", step.text()));
        }
        text
    }
}

impl StepLine {
    fn of(path: &Path, step: &Step) -> Self {
        Self {
            path: path.display().to_string(),
            seen_owner: step.seen.owner,
            seen_mode: format!("{:04o}", step.seen.mode),
            owner: step.owner,
            mode: format!("{:04o}", step.mode),
        }
    }
}

pub(crate) fn repair(context: &Context, args: &RepairArgs) -> Result<(), Failure> {
    let layout = layout(context)?;
    let args = &RepairArgs {
        owner: args.owner.clone().or_else(|| owner_to_be(&layout)),
        dry_run: args.dry_run,
    };
    let first = look(layout.data_dir())?.ok_or_else(|| {
        Failure::new(
            Kind::Refused,
            format!("{} does not exist", layout.data_dir().display()),
        )
        .hint("name the project directory with --dir, or the data directory with --data-dir")
    })?;
    let owner = match &args.owner {
        Some(text) => parse_owner(text)?,
        None => first
            .entries
            .first()
            .map_or(Owner { uid: 0, gid: 0 }, |seen| seen.owner),
    };
    let mut done = Document::before(owner);
    let mut guards = None;
    let mut agreed = BTreeMap::new();
    for _ in 0..ROUNDS {
        let plan = plan(&layout, owner)?;
        if plan.steps.is_empty() {
            return finish(context, &layout, done, guards.is_some());
        }
        // What was agreed to is what is there now that nobody else changes it, or it is shown again.
        let is_agreed = |(path, step)| agreed.get(path) == Some(step);
        if !plan.steps.iter().all(is_agreed) {
            agree(context, &layout, args, &plan, owner)?;
            agreed = plan.steps;
        }
        if guards.is_none() {
            guards = Some(claim(context, &layout, args)?);
            continue;
        }
        for dir in [layout.data_dir(), layout.state_dir()] {
            let mut step = |seen: &Seen| {
                let path = joined(dir, &seen.path);
                let step = agreed.get(&path).filter(|step| step.seen == *seen)?;
                done.steps.push(StepLine::of(&path, step));
                Some(step.clone())
            };
            repair_files::walk(dir, &mut step).map_err(|error| {
                let advice = failures::out_of_reach(&error.cause, &error.path);
                Failure::new(
                    Kind::Unexpected,
                    format!("{error}; what was changed before stays changed"),
                )
                .hint(advice.unwrap_or_else(|| {
                    "find out who is changing these files, and run the command again".to_owned()
                }))
            })?;
        }
        done.exposed.extend(plan.exposed.keys);
        done.exposed_parts.extend(plan.exposed.parts);
        done.repaired = true;
    }
    Err(Failure::new(
        Kind::Unexpected,
        "there is always more to repair: another process keeps changing these files",
    ))
}

/// The data directory must be named itself: who may put a link in its place must not choose what root repairs.
fn layout(context: &Context) -> Result<Layout, Failure> {
    let typed = context
        .common
        .data_dir
        .clone()
        .unwrap_or_else(|| context.common.dir.join(".charon"));
    if std::fs::symlink_metadata(&typed).is_ok_and(|meta| meta.is_symlink()) {
        return Err(Failure::new(
            Kind::Refused,
            format!(
                "{} is a symbolic link; nothing was changed",
                typed.display()
            ),
        )
        .hint("see where it leads, and name that directory with --data-dir if it is yours"));
    }
    context.layout()
}

/// Whom it shall belong to where a container of this user's rootless engine made it: this user. Nobody else can use it.
fn owner_to_be(layout: &Layout) -> Option<String> {
    let owner = std::fs::symlink_metadata(layout.data_dir()).ok()?.uid();
    let (me, group) = (getuid().as_raw(), getegid().as_raw());
    users::is_subordinate(owner, me).then(|| format!("{me}:{group}"))
}

fn look(path: &Path) -> Result<Option<Tree>, Failure> {
    repair_files::walk(path, &mut |_| None).map_err(failures::file)
}

fn check_directory(tree: &Tree) -> Result<(), Failure> {
    let names = tree
        .entries
        .iter()
        .filter(|seen| seen.path.components().count() == 1)
        .map(|seen| seen.path.to_str().unwrap_or("?"));
    let Err(seen) = repair::check_data_directory(names) else {
        return Ok(());
    };
    // Nothing can be seen in one that its own owner cannot list.
    let listed = tree
        .entries
        .first()
        .is_none_or(|root| root.mode & 0o500 == 0o500);
    let hidden =
        tree.entries.len() == 1 && rustix::fs::access(&tree.path, Access::READ_OK).is_err();
    if seen.is_none() && (!listed || hidden) && !geteuid().is_root() {
        return Ok(());
    }
    // An empty one of that name is what docker makes where a directory to mount is missing.
    if seen.is_none() && tree.entries.len() == 1 && tree.path.ends_with(".charon") {
        return Ok(());
    }
    let what = match seen {
        Some(name) => format!("holds {}", report::clean(name)),
        None => "holds no ENR key and no outputs of a ceremony".to_owned(),
    };
    Err(Failure::new(
        Kind::Refused,
        format!(
            "{} {what}, and does not look like a data directory",
            tree.path.display()
        ),
    )
    .hint("move out what is not charon's, or name the right directory with --dir or --data-dir"))
}

fn parse_owner(text: &str) -> Result<Owner, Failure> {
    let usage = |message: String| Failure::new(Kind::Usage, message);
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let known = users::find_user(user);
    let uid = known.map(|(uid, _)| uid).or_else(|| user.parse().ok());
    let uid = uid.ok_or_else(|| usage(format!("there is no user {user:?}")))?;
    let gid = match group {
        Some(group) => {
            users::find_group(group).ok_or_else(|| usage(format!("there is no group {group:?}")))?
        }
        None => known.map(|(_, gid)| gid).ok_or_else(|| {
            usage(format!("user {uid} has no entry and so no group here"))
                .hint(format!("name the group too: --owner {uid}:GROUP"))
        })?,
    };
    // chown(2) takes this number for "leave it".
    if uid == u32::MAX || gid == u32::MAX {
        return Err(usage(format!("{text:?} is no user's number")));
    }
    Ok(Owner { uid, gid })
}

fn plan(layout: &Layout, owner: Owner) -> Result<Plan, Failure> {
    let mut plan = Plan::default();
    let mut findings: Vec<Finding> = Vec::new();
    for dir in [layout.data_dir(), layout.state_dir()] {
        let Some(tree) = look(dir)? else {
            continue;
        };
        if dir == layout.data_dir() {
            check_directory(&tree)?;
        }
        // Containers of the owner's own rootless engine are nobody else.
        let is_own = |uid| users::is_subordinate(uid, owner.uid);
        let exposed = repair::exposures(&tree, owner).without(is_own);
        plan.exposed.extend(exposed);
        match repair::plan(&tree, owner) {
            Ok(steps) => plan.steps.extend(
                steps
                    .into_iter()
                    .map(|step| (joined(dir, &step.seen.path), step)),
            ),
            Err(more) => findings.extend(more),
        }
    }
    if findings.is_empty() {
        return Ok(plan);
    }
    Err(Failure::new(
        Kind::Refused,
        "not all of this can be repaired; nothing was changed",
    )
    .with_findings(findings))
}

/// Shows what would be done, and asks.
fn agree(
    context: &Context,
    layout: &Layout,
    args: &RepairArgs,
    plan: &Plan,
    owner: Owner,
) -> Result<(), Failure> {
    let count = report::count(
        u64::try_from(plan.steps.len()).unwrap_or(u64::MAX),
        "change",
    );
    let needs_root = plan.steps.values().any(Step::changes_owner) && !geteuid().is_root();
    if args.dry_run || needs_root || !context.can_agree() {
        let steps = plan.steps.iter();
        let document = Document {
            steps: steps.map(|(path, step)| StepLine::of(path, step)).collect(),
            exposed: plan.exposed.keys.clone(),
            exposed_parts: plan.exposed.parts.clone(),
            ..Document::before(owner)
        };
        let mut text = plan.text();
        for exposure in plan.exposed.texts() {
            text.push_str(&format!("{exposure}\n"));
        }
        context.result(&text, &document)?;
        let failure = Failure::new(
            Kind::Refused,
            format!("{count} to make; nothing was changed"),
        );
        let command = command(context, layout, args, needs_root);
        return Err(if needs_root {
            failure.hint(format!("only root can give files away: `{command}`"))
        } else {
            failure.hint(format!("`{command}` makes them"))
        });
    }
    context.say(plan.text().trim_end());
    for exposure in plan.exposed.texts() {
        context.warn(&exposure);
    }
    if context.agree(&format!("Make {count}?"))? {
        return Ok(());
    }
    Err(Failure::new(
        Kind::Refused,
        "not confirmed; nothing more was changed",
    ))
}

/// The command that repairs, from anywhere.
fn command(context: &Context, layout: &Layout, args: &RepairArgs, needs_root: bool) -> String {
    let mut words = Vec::new();
    if needs_root {
        words.push("sudo".to_owned());
        words.push(context.for_root.clone());
    } else {
        words.push(context.spelling.clone());
    }
    words.push("repair".to_owned());
    words.push("--yes".to_owned());
    words.push("--dir".to_owned());
    words.push(report::quoted(layout.project_dir()));
    if context.common.data_dir.is_some() {
        words.push("--data-dir".to_owned());
        words.push(report::quoted(layout.data_dir()));
    }
    if let Some(owner) = &args.owner {
        words.push("--owner".to_owned());
        words.push(report::quoted(owner));
    }
    words.join(" ")
}

/// Nobody else may be at work here: a promotion checks owners and modes too.
fn claim(context: &Context, layout: &Layout, args: &RepairArgs) -> Result<Vec<Guard>, Failure> {
    match archive_command::refuse_under_way(layout) {
        Err(failure) if failure.kind == Kind::Refused => return Err(failure),
        // Attempts that cannot be read are part of the damage.
        Ok(()) | Err(_) => {}
    }
    let with_sudo = |failure: Failure| {
        if failure.kind == Kind::Busy || geteuid().is_root() {
            return failure;
        }
        let command = command(context, layout, args, true);
        failure.hint(format!("root can: `{command}`"))
    };
    let mut guards = Vec::new();
    // One that cannot be read is part of the damage.
    if let Ok(Some(key)) = facts::enr_key(layout) {
        guards.push(backup::guard_key(layout, &key.id().to_string()).map_err(with_sudo)?);
    }
    // If the owner is locked out, only root can help.
    let locked_out = |error: &GuardError| error.is_denied() && !geteuid().is_root();
    if layout.state_dir().is_dir() {
        let guard = match guard::claim_directory(layout) {
            Err(error) if locked_out(&error) => guard::claim_state_directory_alone(layout),
            other => other,
        };
        guards.push(guard.map_err(failures::guard).map_err(with_sudo)?);
        if journal::is_pending(layout) {
            return Err(Failure::new(
                Kind::Refused,
                "a command was interrupted while it moved files; nothing was changed",
            )
            .hint("`charon-dkg status` says how to finish it"));
        }
        return Ok(guards);
    }
    match guard::claim_data_directory_alone(layout) {
        Ok(guard) => guards.extend(guard),
        Err(error) if locked_out(&error) => {}
        Err(error) => return Err(with_sudo(failures::guard(error))),
    }
    Ok(guards)
}

/// Proves that it is right now, and says what that cannot mend.
fn finish(
    context: &Context,
    layout: &Layout,
    mut done: Document,
    anything: bool,
) -> Result<(), Failure> {
    let (verification, findings) = backup::prove(context, layout.project_dir(), layout.data_dir())?;
    done.verdict = verification.as_ref().map(|report| report.verdict);
    let count = u64::try_from(done.steps.len()).unwrap_or(u64::MAX);
    let mut text = if anything {
        format!("made {}", report::count(count, "change"))
    } else {
        "nothing to repair".to_owned()
    };
    text.push_str(&format!(
        ": all of {} belongs to {} and to nobody else\n",
        layout.data_dir().display(),
        users::describe_user(done.owner.uid)
    ));
    text.push_str(match done.verdict {
        Some(Verdict::Pass) => "every file is proved\n",
        Some(Verdict::CouldNotTell) => "not every file could be proved: `charon-dkg verify`\n",
        Some(Verdict::Fail) | None => "",
    });
    let exposed = !done.exposed.is_empty();
    let verdict = done.verdict;
    context.result(&text, &done)?;
    if exposed {
        context.warn(
            "anyone who could read the keys may have copies. Before a ceremony, take a new ENR key and tell the coordinator; after it, tell the \
             other operators",
        );
    }
    if anything {
        context.say(
            "services that run as another user can no longer read the keys: `charon-dkg gate status` names them",
        );
    }
    if verdict == Some(Verdict::Fail) {
        return Err(Failure::new(
            Kind::VerificationFailed,
            "owner and modes are right, and something else is not",
        )
        .with_findings(findings));
    }
    Ok(())
}
