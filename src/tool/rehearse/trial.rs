//! One thing that must happen: what was looked at on the way, and whether it was so.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use serde::Serialize;

use crate::error::{Failure, Kind};
use crate::rehearse::ceremony::{Ceremony, Ended, Operator};
use crate::rehearse::rehearsal::Rehearsal;
use crate::report;
use charon_files::cluster::names::{CLUSTER_LOCK_FILE, VALIDATOR_KEYS_DIR};

/// What came of a scenario.
#[derive(Serialize)]
pub(crate) struct Trial {
    scenario: String,
    must: &'static str,
    /// `None` if it could not be shown here.
    pub(crate) held: Option<bool>,
    not_shown: Option<String>,
    steps: Vec<Step>,
    seconds: u64,
}

/// One thing that had to be so.
#[derive(Serialize)]
struct Step {
    what: String,
    held: bool,
    seen: String,
}

impl Trial {
    pub(crate) fn text(&self) -> String {
        let result = match self.held {
            Some(true) => "held",
            Some(false) => "FAILED",
            None => "NOT SHOWN",
        };
        let mut text = format!(
            "{:<17} {result} ({}s): {}\n",
            self.scenario, self.seconds, self.must
        );
        for step in &self.steps {
            let mark = if step.held { "yes" } else { "NO " };
            text.push_str(&format!("    {mark}  {}", step.what));
            if !step.seen.is_empty() {
                text.push_str(&format!(": {}", report::clean(&step.seen)));
            }
            text.push('\n');
        }
        if let Some(reason) = &self.not_shown {
            text.push_str(&format!("    {}\n", report::clean(reason)));
        }
        text
    }
}

/// Why a scenario went no further.
pub(crate) enum Stopped {
    /// It cannot be shown here.
    NotShown(String),
    /// The machine or the engine failed.
    Broken(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Broken(failure)
    }
}

/// One play, to its end or as far as it comes.
pub(crate) async fn trial(
    rehearsal: &Rehearsal<'_>,
    name: String,
    must: &'static str,
    patience: Duration,
    play: impl AsyncFnOnce(&mut Steps) -> Result<(), Stopped>,
) -> Result<Trial, Failure> {
    rehearsal.context.say(&format!("{name}: {must}"));
    let begin = Instant::now();
    let mut steps = Steps::default();
    let outcome = tokio::time::timeout(patience, play(&mut steps)).await;
    let outcome = outcome.unwrap_or_else(|_| {
        Err(Stopped::Broken(Failure::new(
            Kind::Unexpected,
            format!("it has not ended after {} minutes", patience.as_secs() / 60),
        )))
    });
    let not_shown = match outcome {
        Ok(()) => None,
        Err(Stopped::NotShown(reason)) => Some(reason),
        Err(Stopped::Broken(failure)) if failure.kind == Kind::Interrupted => {
            return Err(failure);
        }
        Err(Stopped::Broken(failure)) => {
            steps.check("the rehearsal itself works", false, failure.to_string());
            None
        }
    };
    rehearsal.clear().await;
    let held = steps.0.iter().all(|step| step.held);
    Ok(Trial {
        scenario: name,
        must,
        held: not_shown.is_none().then_some(held),
        not_shown,
        steps: steps.0,
        seconds: begin.elapsed().as_secs(),
    })
}

/// What is looked at in one scenario.
#[derive(Default)]
pub(crate) struct Steps(Vec<Step>);

impl Steps {
    pub(crate) fn check(&mut self, what: impl Into<String>, held: bool, seen: impl Into<String>) {
        self.0.push(Step {
            what: what.into(),
            held,
            seen: seen.into(),
        });
    }

    /// A `run` that must not succeed.
    pub(crate) fn ended(&mut self, operator: &Operator, ended: &Ended, code: i32, words: &[&str]) {
        let message = ended.text("message").unwrap_or_default();
        let text = format!("{}{}", ended.document, ended.said);
        self.check(
            format!(
                "operator {} is told so with exit code {code}",
                operator.number
            ),
            ended.code == code && words.iter().all(|word| text.contains(word)),
            format!("exit code {}, {message}", ended.code),
        );
    }

    pub(crate) fn nothing_promoted(&mut self, operator: &Operator) {
        let there: Vec<&str> = [CLUSTER_LOCK_FILE, VALIDATOR_KEYS_DIR]
            .into_iter()
            .filter(|name| operator.data_dir().join(name).exists())
            .collect();
        self.check(
            format!(
                "operator {}'s data directory holds nothing new",
                operator.number
            ),
            there.is_empty(),
            there.join(", "),
        );
    }

    /// All operators have everything, and the same.
    pub(crate) async fn all_well(
        &mut self,
        ceremony: &Ceremony<'_>,
        ended: &[Ended],
    ) -> Result<(), Failure> {
        let verified = ceremony
            .operators
            .iter()
            .map(|operator| ceremony.ours(operator, &["verify"]));
        let verified = try_join_all(verified).await?;
        let agreed = Ended::agreed(&verified).filter(|_| {
            ended.len() == ceremony.operators.len() && ended.iter().all(|one| one.code == 0)
        });
        let (held, seen) = match agreed {
            Some(hash) => (true, format!("lock_hash {hash}")),
            None => {
                let hashes = verified.iter().map(|one| one.text("lock_hash"));
                let hashes: Vec<&str> = hashes.map(|hash| hash.unwrap_or("none")).collect();
                let seen = format!(
                    "run ended with {}, verify with {}, lock_hash {}",
                    Ended::codes(ended),
                    Ended::codes(&verified),
                    hashes.join(" ")
                );
                (false, seen)
            }
        };
        self.check("all operators end with the same proved files", held, seen);
        Ok(())
    }

    /// Everybody runs.
    pub(crate) async fn all_run(&mut self, ceremony: &Ceremony<'_>) -> Result<(), Failure> {
        let ended = ceremony.run_all().await?;
        self.all_well(ceremony, &ended).await
    }
}
