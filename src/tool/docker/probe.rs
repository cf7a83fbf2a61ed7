//! Asks relays for their addresses from where the ceremony's container will ask them.
//!
//! A relay that answers this machine need not answer a container: the container has its docker
//! network's names and routes. So the question is put by a container of our own image in that
//! network. What it asks is in [`crate::machine::relays`].
//!
//! The same container proves that what the engine mounts is what is here: it is given the ENR key as the ceremony's
//! container will be, and tells the public identifier of the key that it sees. An engine in another mount namespace, as
//! docker from snap is, sees another one or none.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ceremony::plan::{ContainerPlan, Mount};
use crate::docker::{Engine, EngineError, OutputStream, UserMapping};
use crate::machine::fetch::excerpt;
use crate::machine::read;
use crate::machine::relays::{self, RelayAnswer};
use charon_files::keys::k1::EnrKey;

/// The hidden verb that puts the question inside the container.
pub const VERB: &str = "internal-probe";

/// Label with the network in which the question is asked. The network's maker finds the container by it if this
/// program is killed before it removes the container.
pub const LABEL_NETWORK: &str = "charon-dkg.probe-network";

/// Where the ENR key is mounted.
const ENR_KEY: &str = "/enr-key";

/// Before the path of an ENR key among the arguments. Relays are URLs or multiaddresses, and the latter look like paths.
pub(crate) const KEY_ARGUMENT: &str = "enr-key=";

/// How long the container may take, with starting and removing it: minutes, where a node syncs beside it.
const CONTAINER_DEADLINE: Duration = Duration::from_secs(180);

/// What a container saw of the ENR key that it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeenKey {
    /// A key with this [public identifier](charon_files::keys::k1::EnrId).
    EnrId(String),
    /// No key that it may read; the reason.
    Unreadable(String),
}

/// The line in which it is told.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyLine {
    enr_key: SeenKey,
}

/// What a container is asked.
#[derive(Debug, Clone, Default)]
pub struct Questions {
    /// Relays to ask for an answer.
    pub urls: Vec<String>,
    /// The ENR key to mount.
    pub enr_key: Option<PathBuf>,
}

impl Questions {
    fn is_empty(&self) -> bool {
        self.urls.is_empty() && self.enr_key.is_none()
    }
}

/// What it answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// Of the relays, in the order in which they were given.
    pub relays: Vec<RelayAnswer>,
    /// Of the key, where one was mounted.
    pub enr_key: Option<SeenKey>,
}

/// Why a container could not even be asked.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The container could not be run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// No process could be run in place of a container.
    #[error("this program could not be run as the owner of the data directory: {0}")]
    Process(std::io::Error),
    /// The container ended without an answer to each question.
    #[error("the probe ended with code {code} and without an answer for {question}: {output}")]
    NoAnswer {
        /// The relay, or the key.
        question: String,
        /// The container's exit code.
        code: i64,
        /// The beginning of its output.
        output: String,
    },
}

/// Puts all questions at once, from a container in the given docker network.
///
/// `image` is one of [`crate::docker::self_image`]; `mapping` is what the ceremony's container will run
/// with, since some networks and files are open to some users only.
///
/// # Errors
/// Only when the container cannot be run; an unreachable relay is an answer.
pub async fn ask_inside(
    engine: &Engine,
    image: &str,
    network: Option<&str>,
    mapping: &UserMapping,
    questions: &Questions,
) -> Result<Answers, ProbeError> {
    if questions.is_empty() {
        return Ok(Answers::default());
    }
    let enr_key = questions.enr_key.iter();
    let plan = ContainerPlan {
        name: format!("charon-dkg-probe-{}", uuid::Uuid::new_v4().simple()),
        image: image.to_owned(),
        user: Some(mapping.user.clone()),
        userns_mode: mapping.userns_mode.clone(),
        network: network.map(str::to_owned),
        entrypoint: None,
        args: std::iter::once(VERB.to_owned())
            .chain(enr_key.clone().map(|_| format!("{KEY_ARGUMENT}{ENR_KEY}")))
            .chain(questions.urls.iter().cloned())
            .collect(),
        env: Vec::new(),
        mounts: enr_key
            .map(|source| Mount {
                source: source.clone(),
                target: ENR_KEY.to_owned(),
                read_only: true,
            })
            .collect(),
        labels: network
            .map(|network| (LABEL_NETWORK.to_owned(), network.to_owned()))
            .into_iter()
            .collect(),
    };
    let run = engine.run_short(&plan, CONTAINER_DEADLINE).await?;
    let lines = run.output.iter();
    let lines = lines.filter(|line| line.stream == OutputStream::Stdout);
    let lines = lines.map(|line| line.text.as_str());
    answers(questions, lines, run.exit.code, &run.text())
}

/// What a probe that has ended answered, by the lines of its standard output and all of its output.
pub(crate) fn answers<'a>(
    questions: &Questions,
    lines: impl Iterator<Item = &'a str> + Clone,
    code: i64,
    output: &str,
) -> Result<Answers, ProbeError> {
    let no_answer = |question: &str| ProbeError::NoAnswer {
        question: question.to_owned(),
        code,
        output: excerpt(output.as_bytes()),
    };
    let told: Vec<RelayAnswer> = lines
        .clone()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let answer_of = |url: &String| {
        let found = told.iter().find(|answer| answer.url == *url).cloned();
        found.ok_or_else(|| no_answer(url))
    };
    let seen = lines
        .clone()
        .find_map(|line| serde_json::from_str::<KeyLine>(line).ok());
    Ok(Answers {
        relays: questions
            .urls
            .iter()
            .map(answer_of)
            .collect::<Result<_, _>>()?,
        enr_key: match (&questions.enr_key, seen) {
            (None, _) => None,
            (Some(source), Some(line)) => Some(match line.enr_key {
                // As it is called here.
                SeenKey::Unreadable(reason) => {
                    SeenKey::Unreadable(reason.replace(ENR_KEY, &source.display().to_string()))
                }
                seen @ SeenKey::EnrId(_) => seen,
            }),
            (Some(_), None) => return Err(no_answer("the ENR key")),
        },
    })
}

/// What the hidden verb prints and ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// One JSON object per line and question, for standard output.
    pub lines: String,
    /// 0 where every relay is good, else 1.
    pub exit_code: u8,
}

/// Answers from where this process is: the work of the hidden verb. Each argument is a relay, or [`KEY_ARGUMENT`] and the path of an ENR key.
/// See [`relays::ask_all`].
pub async fn serve(args: &[String]) -> Served {
    let keys = args.iter().filter_map(|arg| arg.strip_prefix(KEY_ARGUMENT));
    let urls = args.iter().filter(|arg| !arg.starts_with(KEY_ARGUMENT));
    let answers = relays::ask_all(urls).await;
    let keys = keys.map(|key| {
        serde_json::to_string(&KeyLine {
            enr_key: see_key(Path::new(key)),
        })
    });
    let lines = keys
        .chain(answers.iter().map(serde_json::to_string))
        .filter_map(Result::ok)
        .map(|line| line + "\n")
        .collect();
    let all_good = answers.iter().all(|answer| answer.outcome.is_good());
    Served {
        lines,
        exit_code: u8::from(!all_good),
    }
}

fn see_key(path: &Path) -> SeenKey {
    let read = read::read_secret_file(path, read::ENR_KEY);
    let key = read.map_err(|error| error.to_string()).and_then(|bytes| {
        // What is not a key is not repeated.
        EnrKey::parse(&bytes).map_err(|error| error.to_string())
    });
    match key {
        Ok(key) => SeenKey::EnrId(key.id().to_string()),
        Err(reason) => SeenKey::Unreadable(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::machine::http_server::{Server, json};

    const ADDRESSES: &str = r#"["/ip4/10.0.0.1/tcp/3641/p2p/16Uiu2HAm"]"#;

    #[tokio::test]
    async fn each_url_gets_its_line() {
        let server = Server::on_loopback(|_| json(200, ADDRESSES));
        let good = format!("http://127.0.0.1:{}", server.port);
        let urls = [good.clone(), "/dns/relay.invalid".to_owned()];
        let served = serve(&urls).await;
        assert_eq!(served.exit_code, 1);
        let answers: Vec<RelayAnswer> = served
            .lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert!(answers.iter().map(|answer| &answer.url).eq(&urls));
        assert!(answers[0].outcome.is_good() && !answers[1].outcome.is_good());
        assert_eq!(serve(&[good]).await.exit_code, 0);
    }
}
