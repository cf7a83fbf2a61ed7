//! Scenarios: each says what must happen, brings it about, and looks whether it did.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum as _;
use futures_util::future::{join_all, try_join_all};

use crate::cli::{RehearseArgs, Scenario, ScenarioChoice};
use crate::error::{Failure, Kind};
use crate::rehearse::ceremony::{Ceremony, Operator, Process, Size, give, write_for};
use crate::rehearse::edit;
use crate::rehearse::rehearsal::{Rehearsal, io};
use crate::rehearse::trial::{Steps, Stopped, Trial, trial};
use charon_files::cluster::names::{CLUSTER_LOCK_FILE, ENR_KEY_FILE};
use charon_files::cluster::version::CharonVersion;

/// A release of another line than the pin's, for the operator who comes with the wrong one.
const OTHER_RELEASE: CharonVersion = CharonVersion::release(1, 3, 3);
/// How long a scenario may take, beside the time between operators.
const PATIENCE: Duration = Duration::from_secs(20 * 60);
/// Where keystores are in a data directory.
const KEYSTORES: &str = "validator_keys";

impl Scenario {
    /// As on the command line.
    fn name(self) -> String {
        let value = self.to_possible_value().unwrap_or_default();
        value.get_name().to_owned()
    }

    /// What must happen.
    const fn must(self) -> &'static str {
        match self {
            Self::LatePeer => {
                "those who are there wait and say for whom; when the last one comes, all end with the same proved files"
            }
            Self::OnePerMinute => {
                "operators who come one after the other all end with the same proved files"
            }
            Self::ExistingKeys | Self::ExistingLock => {
                "run refuses, names what lies there and touches nothing; after archive, which keeps it, all end well"
            }
            Self::Large => "ten operators and many validators end with the same proved files",
            Self::MixedVersions => {
                "both sides end at once, are told which releases met, and promote nothing; with one release all end well"
            }
            Self::MissingKeystore => {
                "that operator's run names what is missing and promotes nothing; the others cannot confirm, and are told whose receipt is missing"
            }
            Self::Killed => {
                "charon goes on without run, nothing is promoted; the next run goes on with the same container to the same proved files"
            }
            Self::FullDisk => {
                "that operator is told that the disk is full and promotes nothing; the others may have whole files, but cannot confirm; after archive the same definition gives all the same proved files"
            }
            Self::WrongOwner => {
                "run refuses, says who should own the ENR key and touches nothing; after `chown` all end well"
            }
        }
    }

    fn size(self, args: &RehearseArgs) -> Size {
        let (operators, validators) = if self == Self::Large {
            (10, 50)
        } else {
            (4, 2)
        };
        Size {
            operators: args.operators.unwrap_or(operators),
            validators: args.validators.unwrap_or(validators),
        }
    }

    /// What the simulator is told to do wrong: the second operator's.
    fn fault(self) -> Option<&'static str> {
        if self == Self::MissingKeystore {
            Some("1=missing-keystore")
        } else if self == Self::FullDisk {
            Some("1=full-disk")
        } else {
            None
        }
    }
}

/// Plays the scenarios that were asked for, one after the other.
pub(crate) async fn play(
    rehearsal: &Rehearsal<'_>,
    args: &RehearseArgs,
) -> Result<Vec<Trial>, Failure> {
    let mut trials = Vec::new();
    for scenario in asked(args) {
        let size = scenario.size(args);
        let patience = PATIENCE + rehearsal.pace * u32::from(size.operators);
        let name = scenario.name();
        let play = async |steps: &mut Steps| one(rehearsal, scenario, size, steps).await;
        trials.push(trial(rehearsal, name, scenario.must(), patience, play).await?);
    }
    for kind in &args.edit {
        let size = Size {
            operators: args.operators.unwrap_or(4),
            validators: args.validators.unwrap_or(2),
        };
        let play = async |steps: &mut Steps| {
            let ceremony = Ceremony::prepare(rehearsal, kind.command(), size, None).await?;
            edit::play(&ceremony, *kind, steps).await
        };
        let name = kind.command().to_owned();
        trials.push(trial(rehearsal, name, edit::MUST, PATIENCE, play).await?);
    }
    Ok(trials)
}

fn asked(args: &RehearseArgs) -> Vec<Scenario> {
    let asked: Option<Vec<Scenario>> = args
        .scenario
        .iter()
        .map(|choice| match choice {
            ScenarioChoice::One(one) => Some(*one),
            ScenarioChoice::All => None,
        })
        .collect();
    asked.unwrap_or_else(|| Scenario::value_variants().to_vec())
}

async fn one(
    rehearsal: &Rehearsal<'_>,
    scenario: Scenario,
    size: Size,
    steps: &mut Steps,
) -> Result<(), Stopped> {
    if scenario.fault().is_some() && !rehearsal.charon.simulated {
        return Err(Stopped::NotShown(
            "charon does that on no command; --engine simulated does".to_owned(),
        ));
    }
    let mut ceremony =
        Ceremony::prepare(rehearsal, &scenario.name(), size, scenario.fault()).await?;
    match scenario {
        Scenario::LatePeer => late_peer(&ceremony, steps).await?,
        Scenario::OnePerMinute => one_per_minute(&ceremony, steps).await?,
        Scenario::ExistingKeys => {
            let name = format!("{KEYSTORES}/keystore-0.json");
            existing(&ceremony, steps, &name).await?;
        }
        Scenario::ExistingLock => existing(&ceremony, steps, CLUSTER_LOCK_FILE).await?,
        Scenario::Large => steps.all_run(&ceremony).await?,
        Scenario::MixedVersions => mixed_versions(&ceremony, steps).await?,
        Scenario::MissingKeystore => missing_keystore(&ceremony, steps).await?,
        Scenario::Killed => killed(&ceremony, steps).await?,
        Scenario::FullDisk => full_disk(&mut ceremony, steps).await?,
        Scenario::WrongOwner => wrong_owner(&ceremony, steps).await?,
    }
    Ok(())
}

/// The second operator, to whom things happen.
fn victim<'a>(ceremony: &'a Ceremony<'_>) -> Result<&'a Operator, Failure> {
    let second = ceremony.operators.get(1);
    second.ok_or_else(|| Failure::new(Kind::Unexpected, "a rehearsal without a second operator"))
}

async fn late_peer(ceremony: &Ceremony<'_>, steps: &mut Steps) -> Result<(), Failure> {
    let Some((late, present)) = ceremony.operators.split_last() else {
        return Ok(());
    };
    let processes = present.iter().map(|operator| ceremony.run(operator, &[]));
    let mut processes = processes.collect::<Result<Vec<_>, _>>()?;
    let words = format!(
        "for 1 operator: operator {} of {}",
        late.number,
        ceremony.operators.len()
    );
    let phrase = ["waiting", words.as_str()];
    let told = join_all(processes.iter_mut().map(|process| process.until(&phrase))).await;
    steps.check(
        format!("all others say that they wait for operator {}", late.number),
        !told.contains(&false),
        format!("“waiting … {words}”"),
    );
    ceremony.say(&format!("operator {} comes at last", late.number));
    processes.push(ceremony.run(late, &[])?);
    let ended = try_join_all(processes.into_iter().map(Process::end)).await?;
    steps.all_well(ceremony, &ended).await
}

async fn one_per_minute(ceremony: &Ceremony<'_>, steps: &mut Steps) -> Result<(), Failure> {
    let mut wait = Duration::ZERO;
    let runs = ceremony.operators.iter().map(|operator| {
        let before = wait;
        wait += ceremony.rehearsal.pace;
        async move {
            tokio::time::sleep(before).await;
            ceremony.run(operator, &[])?.end().await
        }
    });
    let ended = try_join_all(runs).await?;
    steps.all_well(ceremony, &ended).await
}

async fn existing(ceremony: &Ceremony<'_>, steps: &mut Steps, name: &str) -> Result<(), Failure> {
    let victim = victim(ceremony)?;
    let data_dir = victim.data_dir();
    let path = data_dir.join(name);
    if let Some(dir) = path.parent().filter(|dir| *dir != data_dir) {
        std::fs::create_dir(dir).map_err(io("make a directory"))?;
        give(dir, victim.owner)?;
    }
    write_for(victim, &path, b"{\"of\": \"an earlier ceremony\"}\n")?;
    let before = tree(&data_dir)?;
    let top = name.split('/').next().unwrap_or(name);
    let refused = ceremony.run(victim, &[])?.end().await?;
    steps.ended(victim, &refused, 3, &[top, "archive"]);
    steps.check(
        "nothing in the data directory has changed",
        tree(&data_dir)? == before,
        "",
    );
    let archived = ceremony.ours(victim, &["archive", "--yes"]).await?;
    let kept = archived.text("archive").unwrap_or_default();
    let same = std::fs::read(&path).is_err()
        && std::fs::read(Path::new(kept).join(name)).ok().as_ref()
            == before.get(&path).map(|(_, _, content)| content);
    steps.check("archive moves it aside and keeps it", same, kept);
    steps.all_run(ceremony).await
}

async fn mixed_versions(ceremony: &Ceremony<'_>, steps: &mut Steps) -> Result<(), Stopped> {
    let rehearsal = ceremony.rehearsal;
    rehearsal
        .charon
        .other_release(rehearsal.context, rehearsal.engine, &OTHER_RELEASE)
        .await
        .map_err(Stopped::NotShown)?;
    let (Some(first), victim) = (ceremony.operators.first(), victim(ceremony)?) else {
        return Ok(());
    };
    let release = OTHER_RELEASE.to_string();
    let mut odd = ceremony.run(victim, &["--charon-version", &release])?;
    if !odd.until(&["waiting", "for"]).await {
        let ended = odd.end().await?;
        let message = ended.text("message").unwrap_or_default();
        return Err(Stopped::NotShown(format!(
            "operator {}'s run with charon {release} ended before it met any other node: exit code {}, {message}",
            victim.number, ended.code
        )));
    }
    let usual = ceremony.run(first, &[])?.end();
    let (odd, usual) = tokio::join!(odd.end(), usual);
    let line = |release: &CharonVersion| format!("v{}.{}", release.major, release.minor);
    let releases = [line(&OTHER_RELEASE), line(&rehearsal.charon.release)];
    let words: Vec<&str> = releases.iter().map(String::as_str).collect();
    steps.ended(victim, &odd?, 6, &words);
    steps.ended(first, &usual?, 6, &words);
    for operator in [victim, first] {
        steps.nothing_promoted(operator);
    }
    Ok(steps.all_run(ceremony).await?)
}

async fn missing_keystore(ceremony: &Ceremony<'_>, steps: &mut Steps) -> Result<(), Failure> {
    let victim = victim(ceremony)?;
    let ended = ceremony.run_all().await?;
    let mut receipts = Vec::new();
    let mut others_well = true;
    for (operator, ended) in ceremony.operators.iter().zip(&ended) {
        if operator.number == victim.number {
            steps.ended(operator, ended, 4, &["keystore"]);
            steps.nothing_promoted(operator);
        } else {
            others_well &= ended.code == 0;
            receipts.extend(ended.text("receipt"));
        }
    }
    steps.check("all others have everything", others_well, "");
    let others = ceremony.operators.iter();
    for operator in others.filter(|operator| operator.number != victim.number) {
        cannot_confirm(ceremony, steps, operator, &receipts, victim.number).await?;
    }
    Ok(())
}

async fn killed(ceremony: &Ceremony<'_>, steps: &mut Steps) -> Result<(), Failure> {
    let victim = victim(ceremony)?;
    let mut first = ceremony.run(victim, &[])?;
    let waits = first.until(&["waiting", "for"]).await;
    first.kill().await?;
    steps.check("run was killed while it waited for the others", waits, "");
    steps.nothing_promoted(victim);
    let ended = ceremony.run_all().await?;
    let went_on = ceremony
        .operators
        .iter()
        .zip(&ended)
        .any(|(operator, ended)| {
            operator.number == victim.number && ended.said.contains("going on with container")
        });
    steps.check("the next run goes on with the same container", went_on, "");
    steps.all_well(ceremony, &ended).await
}

async fn full_disk(ceremony: &mut Ceremony<'_>, steps: &mut Steps) -> Result<(), Failure> {
    let victim_number = victim(ceremony)?.number;
    let runs = ceremony.operators.iter().map(|operator| async {
        let mut process = ceremony.run(operator, &[])?;
        if operator.number != victim_number {
            // They would wait for long; people agree to stop.
            process.until(&["lost:"]).await;
            process.interrupt()?;
        }
        process.end().await
    });
    let ended = try_join_all(runs).await?;
    for (operator, ended) in ceremony.operators.iter().zip(&ended) {
        if operator.number == victim_number {
            steps.ended(operator, ended, 6, &["disk"]);
            steps.nothing_promoted(operator);
        } else if ended.code == 0 {
            // charon writes its files before it waits for the others a last time.
            cannot_confirm(ceremony, steps, operator, &[], victim_number).await?;
            let archived = ceremony.ours(operator, &["archive", "--yes"]).await?;
            let kept = archived.text("archive").unwrap_or_default();
            steps.check("archive moves them aside", archived.code == 0, kept);
        } else {
            steps.ended(operator, ended, 130, &[]);
            steps.nothing_promoted(operator);
        }
    }
    ceremony.replace_relay().await?;
    steps.all_run(ceremony).await
}

/// With these receipts an operator is told whose is missing.
async fn cannot_confirm(
    ceremony: &Ceremony<'_>,
    steps: &mut Steps,
    operator: &Operator,
    receipts: &[&str],
    missing: usize,
) -> Result<(), Failure> {
    let confirm = ceremony
        .ours(operator, &[&["confirm"], receipts].concat())
        .await?;
    let operators = confirm.document["operators"].as_array();
    let line = operators.and_then(|all| all.get(missing.checked_sub(1)?));
    let status = line.and_then(|line| line["status"].as_str());
    steps.check(
        format!(
            "operator {} cannot confirm, and is told who is missing",
            operator.number
        ),
        confirm.code == 4 && status == Some("missing"),
        format!(
            "exit code {}, operator {missing}: {}",
            confirm.code,
            status.unwrap_or("unknown")
        ),
    );
    Ok(())
}

async fn wrong_owner(ceremony: &Ceremony<'_>, steps: &mut Steps) -> Result<(), Stopped> {
    let victim = victim(ceremony)?;
    if victim.owner == rustix::process::getuid().as_raw() {
        return Err(Stopped::NotShown(
            "only root can give a file to another user, with an engine that is root's".to_owned(),
        ));
    }
    let key = victim.data_dir().join(ENR_KEY_FILE);
    give_to(&key, 0)?;
    let before = tree(&victim.data_dir())?;
    let refused = ceremony.run(victim, &[])?.end().await?;
    let advice = format!("chown {} ", victim.owner);
    steps.ended(victim, &refused, 3, &[&advice]);
    steps.check(
        "nothing in the data directory has changed",
        tree(&victim.data_dir())? == before,
        "",
    );
    give_to(&key, victim.owner)?;
    Ok(steps.all_run(ceremony).await?)
}

/// What `chown` does.
fn give_to(path: &Path, owner: u32) -> Result<(), Failure> {
    std::os::unix::fs::chown(path, Some(owner), None).map_err(io("give a file away"))
}

/// Files and directories by path, as far as they could be changed: mode, owner and content.
type Tree = BTreeMap<PathBuf, (u32, u32, Vec<u8>)>;

fn tree(dir: &Path) -> Result<Tree, Failure> {
    let read = || -> std::io::Result<Tree> {
        let mut found = BTreeMap::new();
        let mut waiting = vec![dir.to_owned()];
        while let Some(next) = waiting.pop() {
            for entry in std::fs::read_dir(&next)? {
                let path = entry?.path();
                let meta = std::fs::symlink_metadata(&path)?;
                let mut content = Vec::new();
                if meta.is_file() {
                    content = std::fs::read(&path)?;
                } else if meta.is_dir() {
                    waiting.push(path.clone());
                }
                found.insert(path, (meta.mode(), meta.uid(), content));
            }
        }
        Ok(found)
    };
    read().map_err(io("look at a data directory"))
}
