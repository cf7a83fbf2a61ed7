//! The whole story: closed gates, a ceremony of which one operator loses the connection, receipts that come one after the
//! other, open gates, and a byte that changes.

use std::path::PathBuf;

use futures_util::future::try_join_all;
use serde::Serialize;

use crate::error::{Failure, Kind};
use crate::rehearse::gates::{Answer, Gates, Leaf, Project, When};
use crate::rehearse::house::io;
use crate::rehearse::stage::{Ended, Player, Stage};
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
    stage: &Stage<'_>,
    gates: &Result<Gates, String>,
) -> Result<Vec<Line>, Failure> {
    let house = stage.house;
    let mut lines = Vec::new();
    let Some((last, first)) = stage.players.split_last() else {
        return Ok(lines);
    };
    get_ready(stage).await?;
    let projects = match gates {
        Err(_) => Vec::new(),
        Ok(gates) => {
            house.context.say("installing the gates");
            let installed = stage.players.iter();
            try_join_all(installed.map(|player| Project::install(stage, gates, player))).await?
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

    said(stage, &before, "before the ceremony");

    // The last operator's connection breaks as soon as the ceremony waits for the others.
    let mut cut_off = stage.run(last, &[])?;
    if cut_off.until(&["waiting", "for"]).await {
        house.context.say(&format!(
            "operator {}: THE CONNECTION BREAKS: run is killed, charon goes on",
            last.number
        ));
        cut_off.kill().await?;
    } else {
        let ended = cut_off.end().await?;
        lines.push(line(stage, last, ended).await?);
        return Ok(lines);
    }
    lines = try_join_all(first.iter().map(|player| async {
        let ended = stage.run(player, &[])?.end().await?;
        line(stage, player, ended).await
    }))
    .await?;

    let early: Vec<String> = receipts(&lines);
    let mut one_missing = Vec::new();
    if !projects.is_empty() {
        house.context.say(&format!(
            "{} of {} receipts are in the chat",
            early.len(),
            stage.players.len()
        ));
        confirm(stage, &early).await?;
        keys_lie(stage, first, Keys::Held)?;
        let missing = format!("operator {}", last.number);
        one_missing = ask(&projects, When::OneMissing, Leaf::Closed, &[&missing]).await?;
        said(stage, &one_missing, "with one receipt missing");
    }

    house.context.say(&format!(
        "operator {} is back and says run again",
        last.number
    ));
    let ended = stage.run(last, &[])?.end().await?;
    let went_on = ended.said.contains("going on with");
    let mut last_line = line(stage, last, ended).await?;
    last_line.cut_off = true;
    if !went_on && last_line.run == 0 {
        house
            .context
            .warn("the second run did not go on with the first one's container");
        last_line.run = -1;
    }
    lines.push(last_line);

    let mut later = Vec::new();
    if let Some((project, player)) = projects.first().zip(stage.players.first())
        && lines.iter().all(Line::passed)
    {
        house.context.say("the last receipt arrives");
        confirm(stage, &receipts(&lines)).await?;
        keys_lie(stage, &stage.players, Keys::Moved)?;
        let all_here = ask(&projects, When::AllHere, Leaf::Open, &[]).await?;
        said(stage, &all_here, "with all receipts");
        later.push(all_here);
        let changed = vec![a_byte_changes(project, player, When::ByteChanged).await?];
        said(stage, &changed, "with one byte of a keystore changed");
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
fn keys_lie(stage: &Stage<'_>, players: &[Player], expected: Keys) -> Result<(), Failure> {
    let lie = |player: &Player| {
        let outputs = [CLUSTER_LOCK_FILE, VALIDATOR_KEYS_DIR];
        let there = outputs.map(|name| player.data_dir().join(name).exists());
        match expected {
            Keys::Held => there == [false, false],
            Keys::Moved => there == [true, true],
        }
    };
    let (right, all) = (
        players.iter().filter(|player| lie(player)).count(),
        players.len(),
    );
    let words = match expected {
        Keys::Held => "are held beside .charon, which has nothing that could start",
        Keys::Moved => "have moved to .charon",
    };
    let told = format!("the keys of {right} of {all} operators {words}");
    if right == all {
        stage.house.context.say(&told);
        Ok(())
    } else {
        Err(Failure::new(Kind::VerificationFailed, told))
    }
}

/// Everybody says that they are ready, and takes the lines of all from the chat.
async fn get_ready(stage: &Stage<'_>) -> Result<(), Failure> {
    let players = || stage.players.iter();
    let said = try_join_all(players().map(|player| stage.ready(player))).await?;
    let line = |ended: &Ended| ended.document["text"].as_str().map(str::to_owned);
    let lines: Vec<String> = said.iter().filter_map(line).collect();
    stage.house.context.say(&format!(
        "{} of {} ready lines are in the chat",
        lines.len(),
        stage.players.len()
    ));
    let mut words = vec!["ready"];
    words.extend(lines.iter().map(String::as_str));
    let taken = try_join_all(players().map(|player| stage.ours(player, &words))).await?;
    match taken
        .iter()
        .zip(players())
        .find(|(ended, _)| ended.code != 0)
    {
        None => Ok(()),
        Some((_, player)) => Err(Failure::new(
            Kind::VerificationFailed,
            format!("operator {} does not see everybody ready", player.number),
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
fn said(stage: &Stage<'_>, answers: &[Answer], when: &str) {
    let Some(first) = answers.first() else {
        return;
    };
    let held = answers.iter().filter(|answer| answer.held).count();
    let what = match first.expected {
        Leaf::Open => "open",
        Leaf::Closed | Leaf::Neither => "refused to start the cluster",
    };
    stage.house.context.say(&format!(
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
async fn confirm(stage: &Stage<'_>, receipts: &[String]) -> Result<(), Failure> {
    let mut words = vec!["confirm"];
    words.extend(receipts.iter().map(String::as_str));
    let all = stage.players.iter();
    try_join_all(all.map(|player| stage.ours(player, &words))).await?;
    Ok(())
}

/// Proves what a `run` left.
async fn line(stage: &Stage<'_>, player: &Player, ended: Ended) -> Result<Line, Failure> {
    let verify = stage.ours(player, &["verify"]).await?;
    stage.house.context.say(&format!(
        "operator {}: run ended with {}, verify with {}",
        player.number, ended.code, verify.code
    ));
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    Ok(Line {
        operator: player.number,
        owner: player.owner,
        run: ended.code,
        verify: verify.code,
        lock_hash: text(&verify.document["lock_hash"]),
        seconds: ended.seconds,
        cut_off: false,
        gate: Vec::new(),
        receipt: text(&ended.document["receipt"]),
    })
}

/// One byte of a keystore is another one while services are stopped, then it is as before.
async fn a_byte_changes(
    project: &Project<'_>,
    player: &Player,
    when: When,
) -> Result<Answer, Failure> {
    project.stop().await?;
    let path: PathBuf = player.data_dir().join("validator_keys/keystore-0.json");
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
