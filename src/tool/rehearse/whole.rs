//! The whole story: closed gates, a ceremony of which one operator loses the connection, receipts that come one after the
//! other, open gates, and a byte that changes.

use std::path::PathBuf;

use futures_util::future::try_join_all;
use serde::Serialize;

use crate::error::{Failure, Kind};
use crate::rehearse::ceremony::{Ceremony, Ended, Operator};
use crate::rehearse::gates::{Answer, Gates, Leaf, Project, When};
use crate::rehearse::rehearsal::io;
use charon_files::cluster::names::{CLUSTER_LOCK_FILE, VALIDATOR_KEYS_DIR};

/// What became of one operator.
#[derive(Serialize)]
pub(crate) struct Line {
    pub(crate) operator: usize,
    pub(crate) owner: u32,
    /// Exit code of the `run` that ended the ceremony.
    pub(crate) run: i32,
    /// Exit code of `verify`.
    pub(crate) verify: i32,
    pub(crate) lock_hash: Option<String>,
    pub(crate) seconds: u64,
    /// Whether this operator's first `run` was killed, and a second went on with its ceremony.
    pub(crate) cut_off: bool,
    /// The gate's answers; none where the gate could not be shown.
    pub(crate) gate: Vec<Answer>,
    #[serde(skip)]
    receipt: Option<String>,
}

impl Line {
    pub(crate) fn passed(&self) -> bool {
        self.run == 0 && self.verify == 0 && self.lock_hash.is_some() && self.receipt.is_some()
    }

    pub(crate) fn answer(&self, when: When) -> Option<&Answer> {
        self.gate.iter().find(|answer| answer.when == when)
    }
}

/// Plays it. Stops where going on makes no sense; the lines tell how far it came.
pub(crate) async fn play(
    ceremony: &Ceremony<'_>,
    gates: &Result<Gates, String>,
) -> Result<Vec<Line>, Failure> {
    let mut lines = Vec::new();
    let Some((last, first)) = ceremony.operators.split_last() else {
        return Ok(lines);
    };
    get_ready(ceremony).await?;
    let projects = match gates {
        Err(_) => Vec::new(),
        Ok(gates) => {
            ceremony.say("installing the gates");
            let installed = ceremony.operators.iter();
            try_join_all(installed.map(|operator| Project::install(ceremony, gates, operator)))
                .await?
        }
    };
    let others = try_join_all(projects.iter().map(Project::starts_others)).await?;
    if others.contains(&false) {
        return Err(Failure::new(
            Kind::VerificationFailed,
            "a service that sees nothing of the data directory could not be started before the ceremony",
        ));
    }
    let nothing_yet = "no completed ceremony";
    let before = ask(
        &projects,
        When::BeforeCeremony,
        Leaf::Closed,
        &[nothing_yet],
    )
    .await?;

    said(ceremony, &before, "before the ceremony");

    // The last operator's connection breaks as soon as the ceremony waits for the others.
    let mut cut_off = ceremony.run(last, &[])?;
    if cut_off.until(&["waiting", "for"]).await {
        ceremony.say(&format!(
            "operator {}: THE CONNECTION BREAKS: run is killed, charon goes on",
            last.number
        ));
        cut_off.kill().await?;
    } else {
        let ended = cut_off.end().await?;
        lines.push(line(ceremony, last, ended).await?);
        return Ok(lines);
    }
    lines = try_join_all(first.iter().map(|operator| async {
        let ended = ceremony.run(operator, &[])?.end().await?;
        line(ceremony, operator, ended).await
    }))
    .await?;

    let early: Vec<String> = receipts(&lines);
    let mut one_missing = Vec::new();
    if !projects.is_empty() {
        ceremony.say(&format!(
            "{} of {} receipts are in the chat",
            early.len(),
            ceremony.operators.len()
        ));
        confirm(ceremony, &early).await?;
        keys_lie(ceremony, first, Keys::Held)?;
        let missing = format!("operator {}", last.number);
        one_missing = ask(&projects, When::OneMissing, Leaf::Closed, &[&missing]).await?;
        said(ceremony, &one_missing, "with one receipt missing");
    }

    ceremony.say(&format!(
        "operator {} is back and says run again",
        last.number
    ));
    let ended = ceremony.run(last, &[])?.end().await?;
    let went_on = ended.said.contains("going on with");
    let mut last_line = line(ceremony, last, ended).await?;
    last_line.cut_off = true;
    if !went_on && last_line.run == 0 {
        ceremony
            .rehearsal
            .context
            .warn("the second run did not go on with the first one's container");
        last_line.run = -1;
    }
    lines.push(last_line);

    let mut later = Vec::new();
    if let Some((project, operator)) = projects.first().zip(ceremony.operators.first())
        && lines.iter().all(Line::passed)
    {
        ceremony.say("the last receipt arrives");
        confirm(ceremony, &receipts(&lines)).await?;
        keys_lie(ceremony, &ceremony.operators, Keys::Moved)?;
        let all_here = ask(&projects, When::AllHere, Leaf::Open, &[]).await?;
        said(ceremony, &all_here, "with all receipts");
        later.push(all_here);
        let changed = vec![a_byte_changes(project, operator, When::ByteChanged).await?];
        said(ceremony, &changed, "with one byte of a keystore changed");
        later.push(changed);
        let restored = project.try_up(When::Restored, Leaf::Open, &[]).await?;
        later.push(vec![restored]);
        project.stop().await?;
    }
    for answers in [before, one_missing].into_iter().chain(later) {
        for (line, answer) in lines.iter_mut().zip(answers) {
            line.gate.push(answer);
        }
    }
    Ok(lines)
}

/// Where proved keys are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    /// Beside the data directory, until all operators have confirmed.
    Held,
    /// In the data directory.
    Moved,
}

/// Looks where the keys of these operators are, and says it.
fn keys_lie(
    ceremony: &Ceremony<'_>,
    operators: &[Operator],
    expected: Keys,
) -> Result<(), Failure> {
    let lie = |operator: &Operator| {
        let outputs = [CLUSTER_LOCK_FILE, VALIDATOR_KEYS_DIR];
        let there = outputs.map(|name| operator.data_dir().join(name).exists());
        match expected {
            Keys::Held => there == [false, false],
            Keys::Moved => there == [true, true],
        }
    };
    let (right, all) = (
        operators.iter().filter(|operator| lie(operator)).count(),
        operators.len(),
    );
    let words = match expected {
        Keys::Held => "are held beside .charon, which has nothing that could start",
        Keys::Moved => "have moved to .charon",
    };
    let told = format!("the keys of {right} of {all} operators {words}");
    if right == all {
        ceremony.say(&told);
        Ok(())
    } else {
        Err(Failure::new(Kind::VerificationFailed, told))
    }
}

/// Everybody says that they are ready, and takes the lines of all from the chat.
async fn get_ready(ceremony: &Ceremony<'_>) -> Result<(), Failure> {
    let operators = || ceremony.operators.iter();
    let said = try_join_all(operators().map(|operator| ceremony.ready(operator))).await?;
    let line = |ended: &Ended| ended.text("text").map(str::to_owned);
    let lines: Vec<String> = said.iter().filter_map(line).collect();
    ceremony.say(&format!(
        "{} of {} ready lines are in the chat",
        lines.len(),
        ceremony.operators.len()
    ));
    let mut words = vec!["ready"];
    words.extend(lines.iter().map(String::as_str));
    let taken = try_join_all(operators().map(|operator| ceremony.ours(operator, &words))).await?;
    match taken
        .iter()
        .zip(operators())
        .find(|(ended, _)| ended.code != 0)
    {
        None => Ok(()),
        Some((_, operator)) => Err(Failure::new(
            Kind::VerificationFailed,
            format!(
                "operator {} does not see all operators ready",
                operator.number
            ),
        )),
    }
}

fn receipts(lines: &[Line]) -> Vec<String> {
    lines
        .iter()
        .filter_map(|line| line.receipt.clone())
        .collect()
}

/// One line on what the gates answered; a refusal that had to come is no error.
fn said(ceremony: &Ceremony<'_>, answers: &[Answer], when: &str) {
    let Some(first) = answers.first() else {
        return;
    };
    let held = answers.iter().filter(|answer| answer.held).count();
    let what = match first.expected {
        Leaf::Open => "open",
        Leaf::Closed | Leaf::Neither => "refused to start the cluster",
    };
    ceremony.say(&format!(
        "gates {when}: {held} of {} {what}, as they must{}",
        answers.len(),
        if held == answers.len() {
            ""
        } else {
            ": THE OTHERS DID NOT"
        }
    ));
}

/// All gates at the same time.
async fn ask(
    projects: &[Project<'_>],
    when: When,
    expected: Leaf,
    words: &[&str],
) -> Result<Vec<Answer>, Failure> {
    let asked = projects.iter();
    try_join_all(asked.map(|project| project.try_up(when, expected, words))).await
}

/// Everybody takes these receipts from the chat. Who misses some is told so, which is what the gate will say.
async fn confirm(ceremony: &Ceremony<'_>, receipts: &[String]) -> Result<(), Failure> {
    let mut words = vec!["confirm"];
    words.extend(receipts.iter().map(String::as_str));
    let all = ceremony.operators.iter();
    try_join_all(all.map(|operator| ceremony.ours(operator, &words))).await?;
    Ok(())
}

/// Proves what a `run` left.
async fn line(ceremony: &Ceremony<'_>, operator: &Operator, ended: Ended) -> Result<Line, Failure> {
    let verify = ceremony.ours(operator, &["verify"]).await?;
    ceremony.say(&format!(
        "operator {}: run ended with {}, verify with {}",
        operator.number, ended.code, verify.code
    ));
    Ok(Line {
        operator: operator.number,
        owner: operator.owner,
        run: ended.code,
        verify: verify.code,
        lock_hash: verify.text("lock_hash").map(str::to_owned),
        seconds: ended.seconds,
        cut_off: false,
        gate: Vec::new(),
        receipt: ended.text("receipt").map(str::to_owned),
    })
}

/// One byte of a keystore is another one while services are stopped, then it is as before.
async fn a_byte_changes(
    project: &Project<'_>,
    operator: &Operator,
    when: When,
) -> Result<Answer, Failure> {
    project.stop().await?;
    let path: PathBuf = operator.data_dir().join("validator_keys/keystore-0.json");
    let whole = std::fs::read(&path).map_err(io("read a keystore"))?;
    let mut changed = whole.clone();
    // A digit of the ciphertext, which is long.
    let cipher = find(&changed, b"\"cipher\"");
    let digits = find(changed.get(cipher..).unwrap_or_default(), b"\"message\"");
    if let Some(byte) = changed.get_mut(cipher + digits + 20) {
        *byte = if *byte == b'0' { b'1' } else { b'0' };
    }
    std::fs::write(&path, &changed).map_err(io("change a keystore"))?;
    let answer = project.try_up(when, Leaf::Closed, &["keystore-0"]).await;
    std::fs::write(&path, &whole).map_err(io("restore a keystore"))?;
    answer
}

fn find(text: &[u8], word: &[u8]) -> usize {
    let mut windows = text.windows(word.len());
    windows
        .position(|window| window == word)
        .unwrap_or_default()
}
