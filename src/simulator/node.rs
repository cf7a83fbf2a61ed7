//! The `dkg` command: one node of a simulated ceremony, in charon's order and words (`dkg/dkg.go`, Run).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use charon_files::cluster::enr::Enr;
use charon_files::cluster::{
    CharonVersion, ClusterLock, Definition, DefinitionVersion, ParseError, ValidatorIndex,
};
use charon_files::finding::Weight;
use charon_files::keys::bls::{self, PublicKey, ShareSecret, Signature};
use charon_files::keys::k1::{EnrKey, EnrPublicKey};
use charon_proof::verify::{self, Expectations, Material, NamedFile, Options, Scope};

use super::change::EditTerms;
use super::dealer::{Terms, Validator};
use super::failure::{Failure, Fields};
use super::files::{self, Heartbeat};
use super::flags::{CEREMONY, COMMON, Flag, Kind, Values};
use super::log::Log;
use super::names::peer_name;
use super::relay::LAST_STEP;
use super::wire::{
    Answer, Challenge, Challenged, Client, ClientError, Collect, Deal, Dealings, DealtTo, Fault,
    Join, Joined, Leave, Refusal, Sign, Signatures, Signed, Sync, Synced, join_digest,
};
use charon_files::rehearsal::{REHEARSAL_PREFIX, is_rehearsal};

/// How often a node says that it lives. charon's own sync messages come four times a second.
pub(crate) const PULSE: Duration = Duration::from_millis(100);

/// How long charon tries to resolve its relays.
const RELAY_PATIENCE: Duration = Duration::from_secs(60);

/// charon's flags of `dkg` alone, v1.10.
const FLAGS: [Flag; 6] = [
    ("data-dir", Kind::Text, ".charon"),
    (
        "definition-file",
        Kind::Text,
        ".charon/cluster-definition.json",
    ),
    ("keymanager-address", Kind::Text, ""),
    ("keymanager-auth-token", Kind::Text, ""),
    ("timeout", Kind::Period, "2m0s"),
    ("zipped", Kind::Switch, "false"),
];

/// Runs one node to the end of the ceremony. `stop` is set when the process is asked to end.
pub(crate) fn run(
    arguments: &[String],
    environment: impl Fn(&str) -> Option<String>,
    release: &CharonVersion,
    stop: &Arc<AtomicBool>,
    log: &mut Log,
) -> Result<(), Failure> {
    let values = Values::parse(
        &[&COMMON[..], &CEREMONY, &FLAGS].concat(),
        arguments,
        environment,
    )?;
    super::disclaim(*log);
    for relay in values.list("p2p-relays") {
        if relay.starts_with("http://") {
            log.warn(
                "cmd",
                "Insecure relay address provided, not HTTPS",
                vec![("address", relay.as_str().into())],
            );
        }
    }
    if values.text("nickname").len() > 32 {
        return Err(Failure::new("--nickname exceeds 32 character limit"));
    }
    *log = Log::new(
        values.text("log-level"),
        values.text("log-format"),
        values.text("log-color"),
    )?;
    log.info("cmd", "Parsed config", values.as_fields());
    for unsupported in ["keymanager-address", "execution-client-rpc-endpoint"] {
        if !values.text(unsupported).is_empty() {
            return Err(Failure::new(format!(
                "the rehearsal simulator does not know what to do with --{unsupported}"
            )));
        }
    }
    if values.is_on("zipped") {
        return Err(Failure::new("the rehearsal simulator does not zip"));
    }
    Ceremony {
        log: *log,
        release,
        stop,
        data_dir: PathBuf::from(values.text("data-dir")),
        values,
    }
    .run()
}

/// What one run of the command knows from its flags.
pub(crate) struct Ceremony<'a> {
    pub(crate) log: Log,
    pub(crate) release: &'a CharonVersion,
    pub(crate) stop: &'a Arc<AtomicBool>,
    pub(crate) data_dir: PathBuf,
    pub(crate) values: Values,
}

impl Ceremony<'_> {
    fn run(&self) -> Result<(), Failure> {
        let heartbeat = Heartbeat::take(&self.data_dir)?;
        self.beat_in_background(heartbeat);
        self.log.info(
            "dkg",
            "Charon DKG starting",
            vec![
                ("version", self.release.to_string().into()),
                ("git_commit_hash", "simulator".into()),
                ("git_commit_time", "unknown".into()),
            ],
        );
        let (definition, text) = self.load_definition()?;
        self.check_version(definition.version)?;
        files::check_clear(&self.data_dir)?;
        files::check_writes(&self.data_dir)?;
        let terms = Terms::new(definition, self.release)?;
        let keys = operator_keys(terms.definition())?;
        let key = files::load_key(&self.data_dir)?;
        self.log
            .info("dkg", "Starting local P2P networking peer", Vec::new());
        self.log_roster(terms.definition(), &keys, &key);
        let Some(you) = keys.iter().position(|known| *known == key.public_key()) else {
            return Err(Failure::new(
                "unknown private key provided, it doesn't match any public key encoded inside the operator ENRs",
            ));
        };
        if !is_rehearsal(terms.definition()) {
            return Err(not_a_rehearsal());
        }
        if !matches!(
            terms.definition().dkg_algorithm.as_str(),
            "default" | "frost" | "pedersen"
        ) {
            return Err(Failure::new("unsupported dkg algorithm"));
        }
        let bring = Bring {
            key: &key,
            definition: text,
            edit: None,
            shares: &[],
        };
        self.take_part(&bring, keys, you, |link, fault| {
            self.hold(link, &terms, &key, fault)
        })
    }

    /// Meets the others, and says goodbye if nothing comes of it.
    pub(crate) fn take_part(
        &self,
        bring: &Bring<'_>,
        keys: Vec<EnrPublicKey>,
        you: usize,
        hold: impl FnOnce(&Link<'_>, Option<Fault>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let client = self.resolve_relay()?;
        self.log
            .info("dkg", "Waiting to connect to all peers...", Vec::new());
        let joined = self.join(&client, bring)?;
        let link = Link::new(self, client, joined.token, keys, you);
        let result = thread::scope(|scope| {
            scope.spawn(|| link.pulse());
            let result = hold(&link, joined.fault);
            link.end();
            result
        });
        if result.is_err() {
            // Whether this is heard or not, the node ends.
            link.ask::<_, ()>(
                "leave",
                &Leave {
                    token: link.token.clone(),
                },
            )
            .ok();
        }
        result
    }

    /// charon's heartbeat, once a second to the end of the process.
    fn beat_in_background(&self, heartbeat: Heartbeat) {
        let log = self.log;
        thread::spawn(move || {
            loop {
                thread::sleep(Duration::from_secs(1));
                if let Err(failure) = heartbeat.beat() {
                    log.error(
                        "dkg",
                        "Failed to update the private key lock file, another process may be using the file or file \
                         permissions may be incorrect.",
                        &failure,
                    );
                    return;
                }
            }
        });
    }

    fn load_definition(&self) -> Result<(Definition, String), Failure> {
        let place = self.values.text("definition-file");
        if place.contains("://") {
            return Err(Failure::new(
                "read definition: the rehearsal simulator reads files only",
            ));
        }
        let bytes = std::fs::read(place).map_err(|error| {
            Failure::io("open", Path::new(place), &error).wrapped("read definition")
        })?;
        let malformed = |words: String| Failure::new(words).wrapped("unmarshal definition");
        let parsed = Definition::parse(&bytes).map_err(|error| {
            if let ParseError::Version { error, .. } = error {
                malformed("unsupported definition version".to_owned()).field("version", error.seen)
            } else {
                malformed(error.to_string())
            }
        })?;
        let text = String::from_utf8(bytes).map_err(|error| malformed(error.to_string()))?;
        let definition = parsed.value;
        let stated = definition.definition_hash.map(|hash| hash.to_string());
        self.log.info(
            "dkg",
            "Cluster definition loaded from disk",
            vec![
                ("path", place.into()),
                ("definition_hash", stated.unwrap_or_default().into()),
            ],
        );
        let definition = self.check_definition(definition, &text)?;
        Ok((definition, text))
    }

    /// Hashes and signatures as charon checks them, warnings only with `--no-verify`.
    fn check_definition(&self, definition: Definition, text: &str) -> Result<Definition, Failure> {
        let no_verify = self.values.is_on("no-verify");
        if let Err(failure) = check_hashes(&definition) {
            if !no_verify {
                return Err(failure.wrapped(
                    "verify cluster definition hashes (run with --no-verify to bypass at own risk)",
                ));
            }
            self.log.warn(
                "dkg",
                &format!(
                    "Ignoring failed cluster definition hashes verification due to --no-verify flag: {}",
                    failure.words
                ),
                failure.fields,
            );
        }
        if let Err(failure) = check_signatures(text) {
            if !no_verify {
                return Err(failure.wrapped(
                    "verify cluster definition signatures (run with --no-verify to bypass at own risk)",
                ));
            }
            self.log.warn(
                "dkg",
                &format!(
                    "Ignoring failed cluster definition signature verification due to --no-verify flag: {}",
                    failure.words
                ),
                failure.fields,
            );
        }
        if definition.definition_hash.is_some() {
            return Ok(definition);
        }
        definition
            .with_hashes()
            .map_err(|error| Failure::new(error.to_string()))
    }

    /// Which definitions a release takes (`dkg/dkg.go` of each).
    fn check_version(&self, version: DefinitionVersion) -> Result<(), Failure> {
        use DefinitionVersion::{V1_6, V1_7, V1_8, V1_10, V1_11};
        let (oldest, newest, words) = match (self.release.major, self.release.minor) {
            (0, ..=16) => (DefinitionVersion::V1_5, V1_7, ""),
            (0, _) => (
                V1_6,
                V1_7,
                "only v1.6.0 and v1.7.0 cluster definition version supported",
            ),
            (1, ..=2) => (
                V1_6,
                V1_8,
                "only v1.6.0, v1.7.0 and v1.8.0 cluster definition versions supported",
            ),
            (1, ..=10) => (
                V1_6,
                V1_10,
                "only v1.6.0 and newer cluster definition versions supported",
            ),
            _ => (
                V1_6,
                V1_11,
                "only v1.6.0 and newer cluster definition versions supported",
            ),
        };
        if version > newest {
            return Err(
                Failure::new("unmarshal definition: unsupported definition version")
                    .field("version", version.to_string()),
            );
        }
        if version < oldest {
            return Err(Failure::new(if words.is_empty() {
                "the rehearsal simulator begins with definitions v1.5.0"
            } else {
                words
            }));
        }
        Ok(())
    }

    fn log_roster(&self, definition: &Definition, keys: &[EnrPublicKey], key: &EnrKey) {
        let operators = definition.operators.iter().zip(keys).enumerate();
        for (index, (operator, known)) in operators {
            let mut fields: Fields = vec![
                ("peer", peer_name(known).into()),
                ("index", Value::from(index)),
            ];
            if !operator.address.is_empty() {
                fields.push(("address", operator.address.as_str().into()));
            }
            if *known == key.public_key() {
                fields.push(("you", "⭐️".into()));
            }
            self.log.info("dkg", "Peer summary", fields);
        }
    }

    /// Asks the relays for their addresses until one answers.
    fn resolve_relay(&self) -> Result<Client, Failure> {
        let relays = self.values.list("p2p-relays");
        for relay in relays {
            if relay.starts_with("http://") {
                self.log.warn(
                    "dkg",
                    "Relay URL does not use https protocol",
                    vec![("addr", relay.as_str().into())],
                );
            } else if !relay.starts_with("https://") {
                return Err(Failure::new(format!(
                    "invalid relay multiaddr: failed to parse multiaddr \"{relay}\": must begin with /"
                ))
                .field("addr", relay.as_str()));
            }
        }
        let began = Instant::now();
        let mut pause = PULSE;
        loop {
            for relay in relays {
                let client = Client::new(relay)
                    .map_err(|error| Failure::new(format!("new request: {error}")))?;
                match client.addresses() {
                    Ok(addresses) => {
                        // Go prints a list as `[a b]`; anything else is shown as it is.
                        let addresses = serde_json::from_str::<Vec<String>>(&addresses)
                            .map_or(addresses, |list| format!("[{}]", list.join(" ")));
                        self.log.info(
                            "dkg",
                            "Resolved new relay",
                            vec![
                                ("peer", "simulated-relay".into()),
                                ("url", relay.as_str().into()),
                                ("addrs", addresses.into()),
                            ],
                        );
                        return Ok(client);
                    }
                    Err(error) => self.log.warn(
                        "dkg",
                        &format!(
                            "Failure querying relay addresses (will try again): Get \"{relay}\": {}",
                            innermost(&error)
                        ),
                        Vec::new(),
                    ),
                }
            }
            if began.elapsed() >= RELAY_PATIENCE {
                return Err(Failure::new(
                    "timeout resolving bootnode ENR: context deadline exceeded",
                ));
            }
            if self.pause(pause) {
                return Err(Failure::new(
                    "timeout resolving bootnode ENR: context canceled",
                ));
            }
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    /// Waits; true if the process was asked to stop meanwhile.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        while Instant::now() < end {
            if self.stopped() {
                return true;
            }
            thread::sleep(PULSE.min(time));
        }
        self.stopped()
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Proves to the meeting point that this node belongs to the definition.
    fn join(&self, client: &Client, bring: &Bring<'_>) -> Result<Joined, Failure> {
        let joined = self.try_join(client, bring);
        if let Err(failure) = &joined {
            self.log.error("dkg", SYNC_FAILED, failure);
        }
        joined
    }

    fn try_join(&self, client: &Client, bring: &Bring<'_>) -> Result<Joined, Failure> {
        let Challenged { nonce } = given(client.ask("challenge", &Challenge {}))?;
        let signature = bring
            .key
            .sign_digest(&join_digest(&nonce, &bring.definition));
        let join = Join {
            definition: bring.definition.clone(),
            version: self.release.to_string(),
            nickname: self.values.text("nickname").to_owned(),
            nonce,
            signature: hex::encode(signature),
            edit: bring.edit.cloned(),
            shares: bring
                .shares
                .iter()
                .map(|share| hex::encode(share.to_bytes().as_slice()))
                .collect(),
        };
        given(client.ask("join", &join))
    }

    /// The ceremony proper, from the first connection to the last file.
    fn hold(
        &self,
        link: &Link<'_>,
        terms: &Terms,
        key: &EnrKey,
        fault: Option<Fault>,
    ) -> Result<(), Failure> {
        link.await_all_connected()?;
        self.next_step(link, 1)?;
        self.log.info(
            "dkg",
            "All peers connected, starting DKG ceremony",
            Vec::new(),
        );
        if fault == Some(Fault::Hang) {
            while !self.pause(PULSE) {}
            return Err(canceled().wrapped("transport round 1"));
        }
        let (validators, secrets) = link.receive_deal(link.you, |position, dealt| {
            read_dealt(terms, ValidatorIndex::new(position), dealt)
        })?;
        // Keys, deposits and registrations are there all at once.
        for step in 2..=4 {
            self.next_step(link, step)?;
        }
        let lock = terms.lock(&validators);
        let lock_text = self.sign_lock(link, lock, &validators, &secrets, key)?;
        files::write_keystores(&self.data_dir, &secrets, fault)?;
        self.log.debug(
            "dkg",
            "Saved keyshares to disk",
            vec![("total", secrets.len().into())],
        );
        if fault == Some(Fault::DieAfterKeys) {
            // As if killed: no word, no clean-up, the exit code of SIGKILL.
            std::process::exit(137);
        }
        if self.values.is_on("publish") {
            self.log.warn(
                "dkg",
                "Couldn't publish lock file to Obol API: the rehearsal simulator publishes nothing",
                Vec::new(),
            );
        }
        files::write_lock(&self.data_dir, &lock_text)?;
        self.log.debug("dkg", "Saved lock file to disk", Vec::new());
        for (name, text) in terms.deposit_files(&validators) {
            files::write_deposit_data(&self.data_dir, &name, &text)?;
            self.log
                .debug("dkg", "Saved deposit data file(s) to disk", Vec::new());
        }
        self.next_step(link, 7)?;
        self.next_step(link, LAST_STEP).map_err(|failure| {
            failure
                .wrapped("sync shutdown ready step")
                .wrapped("sync shutdown")
        })?;
        let delay = self.values.period("shutdown-delay");
        self.log.debug(
            "dkg",
            "Graceful shutdown delay",
            vec![("seconds", delay.as_secs().into())],
        );
        // Like charon, deaf to signals in these seconds.
        thread::sleep(delay);
        self.log
            .info("dkg", "Successfully completed DKG ceremony 🎉", Vec::new());
        Ok(())
    }

    pub(crate) fn next_step(&self, link: &Link<'_>, step: u32) -> Result<(), Failure> {
        link.step.store(step, Ordering::Relaxed);
        self.log.debug(
            "dkg",
            "Waiting for peers to start next step",
            vec![("step", step.into())],
        );
        link.await_step(step)
            .map_err(|failure| failure.wrapped("sync step").field("step", step))
    }

    /// Signs the lock hash with every share and with the ENR key; gives the finished lock.
    pub(crate) fn sign_lock(
        &self,
        link: &Link<'_>,
        mut lock: ClusterLock,
        validators: &[Validator],
        secrets: &[ShareSecret],
        key: &EnrKey,
    ) -> Result<String, Failure> {
        let lock_hash = lock
            .lock_hash()
            .map_err(|error| Failure::new(format!("hash lock: {error}")))?;
        let message = lock_hash.as_bytes();
        let shares = secrets
            .iter()
            .map(|secret| hex::encode(secret.sign(message).to_bytes()));
        let mut signed: Signed = link.ask(
            "sign",
            &Sign {
                token: link.token.clone(),
                shares: shares.collect(),
                node: hex::encode(key.sign_digest(message)),
            },
        )?;
        let signatures = loop {
            if let Some(signatures) = signed.signatures {
                break signatures;
            }
            if self.pause(PULSE) {
                return Err(canceled());
            }
            signed = link.ask(
                "collect",
                &Collect {
                    token: link.token.clone(),
                },
            )?;
        };
        for step in 5..=6 {
            self.next_step(link, step)?;
        }
        let (aggregate, nodes) = read_signatures(&signatures)?;
        let all: Vec<PublicKey> = validators
            .iter()
            .flat_map(|validator| validator.public_shares.iter().copied())
            .collect();
        if !bls::fast_aggregate_verify(&all, message, &aggregate) {
            return Err(Failure::new(
                "invalid lock file signatures: verify lock signature aggregate",
            ));
        }
        lock.lock_hash = Some(lock_hash);
        lock.signature_aggregate = Some(aggregate.to_bytes());
        if lock.definition.version.has_node_signatures() {
            lock.node_signatures = nodes;
        }
        Ok(lock.to_json())
    }
}

/// What a node brings along.
pub(crate) struct Bring<'a> {
    pub(crate) key: &'a EnrKey,
    pub(crate) definition: String,
    pub(crate) edit: Option<&'a EditTerms>,
    /// Its shares before an edit.
    pub(crate) shares: &'a [ShareSecret],
}

/// What charon says when the sync protocol fails before the ceremony.
const SYNC_FAILED: &str = "Failed to start sync protocol, please make sure you don't have any other long-running charon or dkg processes running";

pub(crate) fn canceled() -> Failure {
    Failure::new("p2p connection failed, please retry DKG: context canceled")
}

pub(crate) fn not_a_rehearsal() -> Failure {
    Failure::new(format!(
        "this is the rehearsal simulator and no DKG: it takes only definitions whose name begins with \
         \"{REHEARSAL_PREFIX}\" and that are on a test network"
    ))
}

/// What a refusal of the meeting point is in charon's words.
fn refused(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Version { peer, expect, got } => Failure::new(format!(
            "mismatching charon version; expect={expect}, got={got}"
        ))
        .wrapped("invalid sync message")
        .wrapped("sync server error")
        .field("peer", peer),
        Refusal::Definition { peer } => Failure::new("invalid definition hash signature")
            .wrapped("invalid sync message")
            .wrapped("sync server error")
            .field("peer", peer),
        Refusal::Restarted => Failure::new("peer reported step is behind the last known step")
            .wrapped("sync server error"),
        Refusal::PartialSignature { peer_index, pubkey } => Failure::new("signature not verified")
            .wrapped("invalid lock hash partial signature from peer")
            .field("peerIdx", peer_index)
            .field("pubkey", pubkey),
        Refusal::NotRehearsal => not_a_rehearsal(),
        Refusal::Stranger => Failure::new(
            "unknown private key provided, it doesn't match any public key encoded inside the operator ENRs",
        ),
        Refusal::Forgotten => Failure::new(
            "p2p connection failed, please retry DKG: the simulated relay was restarted",
        ),
        Refusal::Nonsense { what } => Failure::new(format!("the simulated relay refused: {what}")),
    }
}

fn given<A>(answer: Result<Answer<A>, ClientError>) -> Result<A, Failure> {
    match answer {
        Ok(Answer::Given(given)) => Ok(given),
        Ok(Answer::Refused(refusal)) => Err(refused(refusal)),
        Err(error) => Err(Failure::new(format!(
            "sync client: this relay is not the rehearsal simulator's, or does not answer: {}",
            innermost(&error)
        ))),
    }
}

/// The last cause of an error, which is what Go would print.
fn innermost(error: &ClientError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match cause.downcast_ref::<std::io::Error>() {
        Some(error) => super::failure::go_words(error),
        None => cause.to_string(),
    }
}

/// The connection to the meeting point, kept alive by a thread of its own.
pub(crate) struct Link<'a> {
    log: Log,
    stop: &'a AtomicBool,
    client: Client,
    token: String,
    names: Vec<String>,
    you: usize,
    step: AtomicU32,
    ended: AtomicBool,
    view: Mutex<View>,
    changed: Condvar,
}

/// What the meeting point said last.
#[derive(Default)]
struct View {
    connected: Vec<bool>,
    step: u32,
    refused: Option<Refusal>,
}

impl<'a> Link<'a> {
    fn new(
        ceremony: &'a Ceremony<'_>,
        client: Client,
        token: String,
        keys: Vec<EnrPublicKey>,
        you: usize,
    ) -> Self {
        let view = View {
            connected: vec![false; keys.len()],
            ..View::default()
        };
        Self {
            log: ceremony.log,
            stop: ceremony.stop,
            client,
            token,
            names: keys.iter().map(peer_name).collect(),
            you,
            step: AtomicU32::new(0),
            ended: AtomicBool::new(false),
            view: Mutex::new(view),
            changed: Condvar::new(),
        }
    }

    /// Says that this node lives, until the end.
    fn pulse(&self) {
        while !self.ended.load(Ordering::Relaxed) {
            let sync = Sync {
                token: self.token.clone(),
                step: self.step.load(Ordering::Relaxed),
            };
            match self.client.ask::<_, Synced>("sync", &sync) {
                Ok(Answer::Given(synced)) => self.take(&synced),
                Ok(Answer::Refused(refusal)) => {
                    let mut view = self.view();
                    view.refused = Some(refusal);
                    self.changed.notify_all();
                    return;
                }
                // Like charon, try again for ever.
                Err(_) => {}
            }
            thread::sleep(PULSE);
        }
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    fn view(&self) -> std::sync::MutexGuard<'_, View> {
        // A thread that panicked leaves nothing half done that matters here.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs who came and who went.
    fn take(&self, synced: &Synced) {
        let mut view = self.view();
        let total = self.names.len().saturating_sub(1);
        for (index, name) in self.names.iter().enumerate() {
            let nickname = synced.nodes.get(index).and_then(Option::as_ref);
            let Some(was) = view.connected.get_mut(index) else {
                continue;
            };
            let before = std::mem::replace(was, nickname.is_some());
            if index == self.you {
                continue;
            }
            let mut fields: Fields = vec![("peer", name.as_str().into())];
            match (before, nickname) {
                (false, Some(nickname)) => {
                    if !nickname.is_empty() {
                        fields.push(("nickname", nickname.as_str().into()));
                    }
                    let count = others(&view.connected, self.you);
                    let message = format!("Connected to peer {count} of {total}");
                    self.log.info("dkg", &message, fields);
                }
                (true, None) => self.log.info("dkg", "Disconnected from peer", fields),
                (false, None) | (true, Some(_)) => {}
            }
        }
        view.step = synced.step;
        self.changed.notify_all();
    }

    /// Asks for what was dealt to this node, as `read` takes each validator by its position, and sees that each share is the one at
    /// this place.
    pub(crate) fn receive_deal(
        &self,
        place: usize,
        read: impl Fn(usize, &DealtTo) -> Result<(Validator, ShareSecret), Failure>,
    ) -> Result<(Vec<Validator>, Vec<ShareSecret>), Failure> {
        let dealings: Dealings = self.ask(
            "deal",
            &Deal {
                token: self.token.clone(),
            },
        )?;
        let mut validators = Vec::new();
        let mut secrets = Vec::new();
        for (position, dealt) in dealings.validators.iter().enumerate() {
            let (validator, secret) = read(position, dealt)?;
            if validator.public_shares.get(place) != Some(&secret.public_key()) {
                return Err(Failure::new("invalid pubshare"));
            }
            validators.push(validator);
            secrets.push(secret);
        }
        Ok((validators, secrets))
    }

    pub(crate) fn await_all_connected(&self) -> Result<(), Failure> {
        let total = self.names.len().saturating_sub(1);
        self.wait(|view| others(&view.connected, self.you) == total)
            .inspect_err(|failure| self.log.error("dkg", SYNC_FAILED, failure))
    }

    fn await_step(&self, step: u32) -> Result<(), Failure> {
        self.wait(|view| view.step >= step)
    }

    fn wait(&self, done: impl Fn(&View) -> bool) -> Result<(), Failure> {
        let mut view = self.view();
        loop {
            if let Some(refusal) = &view.refused {
                return Err(refused(refusal.clone()));
            }
            if done(&view) {
                return Ok(());
            }
            if self.stop.load(Ordering::Relaxed) {
                return Err(canceled());
            }
            let waited = self.changed.wait_timeout(view, PULSE);
            (view, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        what: &str,
        question: &Q,
    ) -> Result<A, Failure> {
        given(self.client.ask(what, question))
    }
}

/// How many others are connected.
fn others(connected: &[bool], you: usize) -> usize {
    let others = connected.iter().enumerate().filter(|(at, _)| *at != you);
    others.filter(|(_, connected)| **connected).count()
}

fn operator_keys(definition: &Definition) -> Result<Vec<EnrPublicKey>, Failure> {
    let mut keys: Vec<EnrPublicKey> = Vec::new();
    for operator in &definition.operators {
        let enr = Enr::parse(&operator.enr).map_err(|error| {
            Failure::new(error.to_string())
                .wrapped("decode enr")
                .field("enr", operator.enr.as_str())
        })?;
        if keys.contains(enr.public_key()) {
            return Err(Failure::new("definition contains duplicate peer enrs")
                .field("enr", operator.enr.as_str()));
        }
        keys.push(*enr.public_key());
    }
    Ok(keys)
}

fn check_hashes(definition: &Definition) -> Result<(), Failure> {
    let hashing = |error: charon_files::cluster::hash::HashError| Failure::new(error.to_string());
    if definition.config_hash != Some(definition.config_hash().map_err(hashing)?) {
        return Err(Failure::new("invalid config hash"));
    }
    if definition.definition_hash != Some(definition.definition_hash().map_err(hashing)?) {
        return Err(Failure::new("invalid definition hash"));
    }
    Ok(())
}

/// The signatures of operators and creator; what is wrong with the hashes is told elsewhere.
fn check_signatures(text: &str) -> Result<(), Failure> {
    let material = Material {
        definition: Some(NamedFile::new(
            "cluster-definition.json",
            text.as_bytes().to_vec(),
        )),
        ..Material::default()
    };
    let options = Options::new(Scope::DefinitionOnly);
    let report = verify::verify(&material, &Expectations::default(), &options).report;
    let wrong = report
        .findings
        .iter()
        .find(|finding| finding.weight == Weight::Fail && finding.check.contains("signature"));
    wrong.map_or(Ok(()), |finding| {
        Err(Failure::new(format!(
            "invalid operator config signature: {}",
            finding.seen
        ))
        .field("check", finding.check))
    })
}

pub(crate) fn read_dealt(
    terms: &Terms,
    index: ValidatorIndex,
    dealt: &DealtTo,
) -> Result<(Validator, ShareSecret), Failure> {
    let wrong = || Failure::new("the simulated relay sent a malformed deal");
    let bytes = |text: &String| hex::decode(text).map_err(|_| wrong());
    let key = |text: &String| PublicKey::parse(&bytes(text)?).map_err(|_| wrong());
    let signature = |text: &String| Signature::parse(&bytes(text)?).map_err(|_| wrong());
    let deposits: Vec<Signature> = dealt
        .deposit_signatures
        .iter()
        .map(signature)
        .collect::<Result<_, _>>()?;
    let public_shares = dealt.public_shares.iter().map(key);
    let validator = terms.validator(
        index,
        key(&dealt.group)?,
        public_shares.collect::<Result<_, _>>()?,
        &deposits,
        signature(&dealt.registration_signature)?,
    )?;
    let secret = ShareSecret::parse(&bytes(&dealt.share)?).map_err(|_| wrong())?;
    Ok((validator, secret))
}

fn read_signatures(signatures: &Signatures) -> Result<(Signature, Vec<[u8; 65]>), Failure> {
    let wrong = || Failure::new("the simulated relay sent malformed signatures");
    let aggregate = hex::decode(&signatures.aggregate).map_err(|_| wrong())?;
    let aggregate = Signature::parse(&aggregate).map_err(|_| wrong())?;
    let nodes = signatures.nodes.iter().map(|text| {
        let bytes = hex::decode(text).map_err(|_| wrong())?;
        <[u8; 65]>::try_from(bytes).map_err(|_| wrong())
    });
    Ok((aggregate, nodes.collect::<Result<_, _>>()?))
}
