//! The simulated relay: where the nodes of a rehearsal meet, and the dealer.

use std::collections::{BTreeMap, HashSet};
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use charon_files::cluster::enr::Enr;
use charon_files::cluster::{CharonVersion, Definition, DefinitionHash, LockHash, NodeIndex};
use charon_files::keys::bls::{self, ShareSecret, Signature, Signed as SignedShare};
use charon_files::keys::k1::{self, EnrPublicKey};

use super::change::{Change, EditTerms};
use super::dealer::{Dealt, Terms, Validator};
use super::failure::{Failure, go_words};
use super::flags::{COMMON, Flag, Kind, Values};
use super::log::Log;
use super::names::peer_name;
use super::wire::{
    Answer, Challenge, Challenged, Collect, Deal, Dealings, DealtTo, Fault, Join, Joined, Leave,
    Refusal, Request, Sign, Signatures, Signed, Sync, Synced, join_digest, serve,
};
use charon_files::rehearsal::is_rehearsal;

/// A node that said nothing for so long is not there.
const GONE: Duration = Duration::from_secs(6);

/// How long a challenge can be answered.
const CHALLENGE_AGE: Duration = Duration::from_secs(60);

/// Most challenges that are open at a time.
const MAX_CHALLENGES: usize = 4096;

/// Most ceremonies at a time.
const MAX_CEREMONIES: usize = 64;

/// The last step: a node that reached it needs nobody any more.
pub(crate) const LAST_STEP: u32 = 8;

/// charon's flags of `relay`, and ours.
const FLAGS: [Flag; 12] = [
    ("auto-p2pkey", Kind::Switch, "true"),
    ("data-dir", Kind::Text, ".charon"),
    ("debug-address", Kind::Text, ""),
    ("http-address", Kind::Text, "127.0.0.1:3640"),
    ("loki-addresses", Kind::List, ""),
    ("loki-service", Kind::Text, "charon"),
    ("monitoring-address", Kind::Text, ""),
    ("p2p-advertise-private-addresses", Kind::Switch, "false"),
    ("p2p-max-connections", Kind::Text, "16384"),
    ("p2p-max-reservations", Kind::Text, "512"),
    ("p2p-relay-loglevel", Kind::Text, ""),
    // `<node>=<fault>`, the node counted from 0 or `all`: what is to go wrong in this rehearsal.
    ("sim-fault", Kind::List, ""),
];

/// Runs the relay until the process is stopped.
pub(crate) fn run(
    arguments: &[String],
    environment: impl Fn(&str) -> Option<String>,
    release: &CharonVersion,
    log: &mut Log,
) -> Result<(), Failure> {
    let values = Values::parse(&[&COMMON[..], &FLAGS].concat(), arguments, environment)?;
    super::disclaim(*log);
    *log = Log::new(
        values.text("log-level"),
        values.text("log-format"),
        values.text("log-color"),
    )?;
    let log = *log;
    let faults = parse_faults(values.list("sim-fault"))?;
    log.info("cmd", "Parsed config", values.as_fields());
    log.info(
        "relay",
        "Charon relay starting",
        vec![("version", release.to_string().into())],
    );
    let address = values.text("http-address");
    let failed = |error| Failure::new(format!("listen tcp {address}: bind: {}", go_words(&error)));
    let listener = TcpListener::bind(address).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    log.info(
        "relay",
        "Relay started",
        vec![("http_address", address.to_string().into())],
    );
    let relay = Relay::new(faults);
    let addresses = serde_json::json!([format!(
        "/ip4/{}/tcp/{}/p2p/simulated",
        address.ip(),
        address.port()
    )]);
    serve(&listener, |request| {
        if request.method == "GET" {
            let found = request.path == "/" || request.path == "/enr";
            return (if found { 200 } else { 404 }, addresses.to_string());
        }
        relay.answer(request, log)
    })
    .map_err(failed)
}

/// Faults by node; `None` is every node.
type Faults = BTreeMap<Option<usize>, Fault>;

fn parse_faults(texts: &[String]) -> Result<Faults, Failure> {
    let parse = |text: &String| {
        let (node, fault) = text.split_once('=')?;
        let node = if node == "all" {
            None
        } else {
            Some(node.parse().ok()?)
        };
        Some((node, Fault::parse(fault)?))
    };
    texts
        .iter()
        .map(|text| {
            parse(text).ok_or_else(|| {
                Failure::new(format!(
                    "invalid argument \"{text}\" for \"--sim-fault\" flag: not <node>=<fault>"
                ))
            })
        })
        .collect()
}

/// All ceremonies that meet here.
#[derive(Debug)]
struct Relay {
    faults: Faults,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    challenges: BTreeMap<String, Instant>,
    ceremonies: Vec<Ceremony>,
}

/// The nodes of one definition.
#[derive(Debug)]
struct Ceremony {
    definition: Definition,
    definition_hash: DefinitionHash,
    /// What is changed, if a cluster is.
    edit: Option<(EditTerms, Change)>,
    /// Of all who take part.
    keys: Vec<EnrPublicKey>,
    nodes: Vec<Option<Node>>,
    began: bool,
    dealt: Option<Vec<Dealt>>,
    signatures: Option<Signatures>,
}

/// A node that has joined.
#[derive(Debug)]
struct Node {
    token: String,
    version: CharonVersion,
    nickname: String,
    seen: Instant,
    left: bool,
    step: u32,
    refused: Option<Refusal>,
    /// Its shares before an edit.
    old: Vec<ShareSecret>,
    shares: Option<Vec<Signature>>,
    signature: Option<[u8; 65]>,
}

impl Node {
    fn is_there(&self) -> bool {
        self.step >= LAST_STEP || self.is_alive()
    }

    fn is_alive(&self) -> bool {
        !self.left && self.seen.elapsed() < GONE
    }
}

impl Relay {
    fn new(faults: Faults) -> Self {
        Self {
            faults,
            state: Mutex::new(State::default()),
        }
    }

    fn answer(&self, request: &Request, log: Log) -> (u16, String) {
        let what = request.path.strip_prefix("/simulator/").unwrap_or_default();
        match what {
            "challenge" => self.reply(request, |state, Challenge {}| state.challenge()),
            "join" => self.reply(request, |state, join: Join| {
                let joined = state.join(&join, &self.faults);
                match &joined {
                    Ok(_) => log.info("relay", "Node joined", Vec::new()),
                    Err(refusal) => log.warn(
                        "relay",
                        "Node refused",
                        vec![("why", format!("{refusal:?}").into())],
                    ),
                }
                joined
            }),
            "sync" => self.reply(request, |state, sync: Sync| state.sync(&sync)),
            "deal" => self.reply(request, |state, deal: Deal| state.deal(&deal)),
            "sign" => self.reply(request, |state, sign: Sign| state.sign(&sign)),
            "collect" => self.reply(request, |state, Collect { token }| state.collect(&token)),
            "leave" => self.reply(request, |state, Leave { token }| state.leave(&token)),
            _ => (404, "{}".to_owned()),
        }
    }

    fn reply<Q: DeserializeOwned, A: Serialize>(
        &self,
        request: &Request,
        act: impl FnOnce(&mut State, Q) -> Result<A, Refusal>,
    ) -> (u16, String) {
        let answer = match serde_json::from_str(&request.body) {
            Ok(question) => {
                // A thread that panicked leaves nothing half done that matters to others.
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                act(&mut state, question)
            }
            Err(error) => Err(nonsense(error.to_string())),
        };
        let answer = match answer {
            Ok(given) => Answer::Given(given),
            Err(refusal) => Answer::Refused(refusal),
        };
        serde_json::to_string(&answer).map_or((500, "{}".to_owned()), |body| (200, body))
    }
}

fn nonsense(what: impl Into<String>) -> Refusal {
    Refusal::Nonsense { what: what.into() }
}

impl State {
    fn challenge(&mut self) -> Result<Challenged, Refusal> {
        self.challenges
            .retain(|_, given| given.elapsed() < CHALLENGE_AGE);
        if self.challenges.len() >= MAX_CHALLENGES {
            return Err(nonsense("too many challenges"));
        }
        let nonce = random_hex()?;
        self.challenges.insert(nonce.clone(), Instant::now());
        Ok(Challenged { nonce })
    }

    fn join(&mut self, join: &Join, faults: &Faults) -> Result<Joined, Refusal> {
        if self.challenges.remove(&join.nonce).is_none() {
            return Err(Refusal::Stranger);
        }
        let parsed = Definition::parse(join.definition.as_bytes())
            .map_err(|error| nonsense(error.to_string()))?;
        let definition = parsed.value;
        if !is_rehearsal(&definition) {
            return Err(Refusal::NotRehearsal);
        }
        let definition_hash = definition
            .definition_hash()
            .map_err(|error| nonsense(error.to_string()))?;
        let version: CharonVersion = join
            .version
            .parse()
            .map_err(|_| nonsense("not a charon version"))?;
        let edit = match &join.edit {
            None => None,
            Some(edit) => {
                let change = Change::new(edit, &version).map_err(|it| nonsense(it.words))?;
                if *change.definition() != definition {
                    return Err(nonsense("another definition than the edit makes"));
                }
                Some((edit.clone(), change))
            }
        };
        let keys = match &edit {
            None => keys_of(&definition).ok_or_else(|| nonsense("invalid ENR"))?,
            Some((_, change)) => change.participants().to_vec(),
        };
        let old = join.shares.iter().map(|text| {
            let bytes = hex::decode(text).ok()?;
            ShareSecret::parse(&bytes).ok()
        });
        let old: Option<Vec<ShareSecret>> = old.collect();
        let old = old.ok_or_else(|| nonsense("malformed shares"))?;
        let index = signer(join, &keys).ok_or(Refusal::Stranger)?;

        self.forget_the_gone();
        let known = |ceremony: &Ceremony| ceremony.is_for(definition_hash, join.edit.as_ref());
        self.refuse_other_definitions(&keys, index, &known)?;
        let at = match self.ceremonies.iter().position(known) {
            Some(at) => at,
            None if self.ceremonies.len() >= MAX_CEREMONIES => {
                return Err(nonsense("too many ceremonies"));
            }
            None => {
                let nodes = keys.iter().map(|_| None).collect();
                self.ceremonies.push(Ceremony {
                    definition,
                    definition_hash,
                    edit,
                    keys,
                    nodes,
                    began: false,
                    dealt: None,
                    signatures: None,
                });
                self.ceremonies.len() - 1
            }
        };
        let ceremony = self
            .ceremonies
            .get_mut(at)
            .ok_or_else(|| nonsense("no ceremony"))?;
        ceremony
            .join(index, version, &join.nickname, old)
            .map(|token| Joined {
                token,
                fault: faults
                    .get(&Some(index.position()))
                    .or_else(|| faults.get(&None))
                    .copied(),
            })
    }

    /// Drops what cannot go on: ceremonies without a living node, and nodes that left before the beginning.
    fn forget_the_gone(&mut self) {
        for ceremony in &mut self.ceremonies {
            if !ceremony.began {
                for node in &mut ceremony.nodes {
                    node.take_if(|node| !node.is_there());
                }
            }
        }
        self.ceremonies.retain(|ceremony| {
            let mut nodes = ceremony.nodes.iter().flatten();
            nodes.any(|node| node.is_alive() && node.step < LAST_STEP)
        });
    }

    /// charon's nodes find each other by their keys, so one with another definition is noticed by both sides.
    fn refuse_other_definitions(
        &mut self,
        keys: &[EnrPublicKey],
        index: NodeIndex,
        is_the_same: &dyn Fn(&Ceremony) -> bool,
    ) -> Result<(), Refusal> {
        let Some(key) = keys.get(index.position()) else {
            return Ok(());
        };
        let wanted: HashSet<&[u8; 33]> = keys.iter().map(EnrPublicKey::as_bytes).collect();
        let mut met = None;
        for ceremony in &mut self.ceremonies {
            if is_the_same(ceremony) || !ceremony.keys.contains(key) {
                continue;
            }
            for (node, theirs) in ceremony.nodes.iter_mut().zip(&ceremony.keys) {
                if let Some(node) = node
                    && theirs != key
                    && wanted.contains(theirs.as_bytes())
                {
                    node.refused.get_or_insert(Refusal::Definition {
                        peer: peer_name(key),
                    });
                    met.get_or_insert(peer_name(theirs));
                }
            }
        }
        met.map_or(Ok(()), |peer| Err(Refusal::Definition { peer }))
    }

    fn sync(&mut self, sync: &Sync) -> Result<Synced, Refusal> {
        let (ceremony, index) = self.find(&sync.token)?;
        let node = ceremony.node(index)?;
        node.seen = Instant::now();
        node.step = node.step.max(sync.step);
        if let Some(refusal) = &node.refused {
            return Err(refusal.clone());
        }
        let step = ceremony.step();
        ceremony.began |= step >= 1;
        let nodes = ceremony.nodes.iter().map(|node| {
            let node = node.as_ref().filter(|node| node.is_there());
            node.map(|node| node.nickname.clone())
        });
        Ok(Synced {
            nodes: nodes.collect(),
            step,
        })
    }

    fn deal(&mut self, deal: &Deal) -> Result<Dealings, Refusal> {
        let (ceremony, index) = self.find(&deal.token)?;
        if ceremony.step() < 1 {
            return Err(nonsense("nodes are missing"));
        }
        let version = ceremony.node(index)?.version.clone();
        let dealt = match &mut ceremony.dealt {
            Some(dealt) => dealt,
            empty @ None => {
                let dealt = match &ceremony.edit {
                    None => Terms::new(ceremony.definition.clone(), &version)
                        .and_then(|terms| terms.deal(&entropy)),
                    Some((_, change)) => {
                        let nodes = ceremony.nodes.iter();
                        let old: Vec<&[ShareSecret]> = nodes
                            .map(|node| node.as_ref().map_or(&[][..], |node| &node.old))
                            .collect();
                        change.deal(&old, &entropy)
                    }
                };
                empty.insert(dealt.map_err(|failure| nonsense(failure.words))?)
            }
        };
        let place = match &ceremony.edit {
            None => Some(index.position()),
            Some((_, change)) => change.place(index.position()),
        };
        let validators = dealt.iter().map(|dealt| {
            let share = dealt.shares.get(place?);
            let validator = &dealt.validator;
            Some(DealtTo {
                group: hex::encode(validator.group.to_bytes()),
                public_shares: validator
                    .public_shares
                    .iter()
                    .map(|share| hex::encode(share.to_bytes()))
                    .collect(),
                deposit_signatures: validator
                    .deposits
                    .iter()
                    .map(|deposit| hex::encode(deposit.signature))
                    .collect(),
                registration_signature: hex::encode(validator.registration.signature),
                share: hex::encode(share?.to_bytes().as_slice()),
            })
        });
        let validators = validators.collect::<Option<Vec<_>>>();
        Ok(Dealings {
            validators: validators.ok_or_else(|| nonsense("no share for this node"))?,
        })
    }

    fn sign(&mut self, sign: &Sign) -> Result<Signed, Refusal> {
        let (ceremony, index) = self.find(&sign.token)?;
        let shares = sign.shares.iter().map(|text| {
            let bytes = hex::decode(text).ok()?;
            Signature::parse(&bytes).ok()
        });
        let shares: Option<Vec<Signature>> = shares.collect();
        let signature = <[u8; 65]>::try_from(hex::decode(&sign.node).unwrap_or_default());
        let (Some(shares), Ok(signature)) = (shares, signature) else {
            return Err(nonsense("malformed signatures"));
        };
        let node = ceremony.node(index)?;
        node.shares = Some(shares);
        node.signature = Some(signature);
        let token = sign.token.clone();
        self.collect(&token)
    }

    fn collect(&mut self, token: &str) -> Result<Signed, Refusal> {
        let (ceremony, index) = self.find(token)?;
        let node = ceremony.node(index)?;
        if let Some(refusal) = &node.refused {
            return Err(refusal.clone());
        }
        if ceremony.signatures.is_none()
            && let Err(refusal) = ceremony.aggregate()
        {
            for node in ceremony.nodes.iter_mut().flatten() {
                node.refused.get_or_insert(refusal.clone());
            }
            return Err(refusal);
        }
        Ok(Signed {
            signatures: ceremony.signatures.clone(),
        })
    }

    fn leave(&mut self, token: &str) -> Result<(), Refusal> {
        let (ceremony, index) = self.find(token)?;
        ceremony.node(index)?.left = true;
        Ok(())
    }

    fn find(&mut self, token: &str) -> Result<(&mut Ceremony, NodeIndex), Refusal> {
        self.ceremonies
            .iter_mut()
            .find_map(|ceremony| {
                let is_it = |node: &Option<Node>| node.as_ref().is_some_and(|n| n.token == token);
                let position = ceremony.nodes.iter().position(is_it)?;
                Some((ceremony, NodeIndex::new(position)))
            })
            .ok_or(Refusal::Forgotten)
    }
}

impl Ceremony {
    fn is_for(&self, definition_hash: DefinitionHash, edit: Option<&EditTerms>) -> bool {
        let own = self.edit.as_ref().map(|(edit, _)| edit);
        self.definition_hash == definition_hash && own == edit
    }

    /// Which of the nodes have shares in the end, in the order of operators.
    fn signers(&self) -> Vec<usize> {
        match &self.edit {
            None => (0..self.nodes.len()).collect(),
            Some((_, change)) => change.signers().to_vec(),
        }
    }

    fn node(&mut self, index: NodeIndex) -> Result<&mut Node, Refusal> {
        let node = self.nodes.get_mut(index.position());
        node.and_then(Option::as_mut).ok_or(Refusal::Forgotten)
    }

    fn join(
        &mut self,
        index: NodeIndex,
        version: CharonVersion,
        nickname: &str,
        old: Vec<ShareSecret>,
    ) -> Result<String, Refusal> {
        let slot = self.nodes.get(index.position());
        let is_taken = slot.and_then(Option::as_ref).is_some_and(Node::is_there);
        if self.began || is_taken {
            return Err(Refusal::Restarted);
        }
        self.refuse_other_versions(index, &version)?;
        let token = random_hex()?;
        if let Some(slot) = self.nodes.get_mut(index.position()) {
            *slot = Some(Node {
                token: token.clone(),
                version,
                nickname: nickname.chars().take(32).collect(),
                seen: Instant::now(),
                left: false,
                step: 0,
                refused: None,
                old,
                shares: None,
                signature: None,
            });
        }
        Ok(token)
    }

    /// As in charon, both sides of a clash notice it, each from its own side.
    fn refuse_other_versions(
        &mut self,
        index: NodeIndex,
        version: &CharonVersion,
    ) -> Result<(), Refusal> {
        let line = |version: &CharonVersion| format!("v{}.{}", version.major, version.minor);
        let newcomer = self.keys.get(index.position()).map(peer_name);
        let mut met = None;
        for (node, key) in self.nodes.iter_mut().zip(&self.keys) {
            if let Some(node) = node
                && !node.version.same_line(version)
            {
                node.refused.get_or_insert(Refusal::Version {
                    peer: newcomer.clone().unwrap_or_default(),
                    expect: line(&node.version),
                    got: line(version),
                });
                met.get_or_insert(Refusal::Version {
                    peer: peer_name(key),
                    expect: line(version),
                    got: line(&node.version),
                });
            }
        }
        met.map_or(Ok(()), Err)
    }

    /// The least step that any node has reached; 0 while nodes are missing.
    fn step(&self) -> u32 {
        let steps = self.nodes.iter().map(|node| {
            let node = node.as_ref();
            node.map_or(0, |node| node.step)
        });
        steps.min().unwrap_or(0)
    }

    /// Puts the signatures of all nodes together, if they are there and right.
    fn aggregate(&mut self) -> Result<(), Refusal> {
        let (Some(dealt), Some(version)) = (&self.dealt, self.version()) else {
            return Ok(());
        };
        let nodes: Option<Vec<_>> = self
            .signers()
            .into_iter()
            .map(|at| {
                let node = self.nodes.get(at)?.as_ref()?;
                Some((self.keys.get(at)?, node.shares.as_ref()?, node.signature?))
            })
            .collect();
        let Some(nodes) = nodes else {
            return Ok(());
        };
        let validators: Vec<Validator> = dealt.iter().map(|d| d.validator.clone()).collect();
        let lock = match &self.edit {
            None => Terms::new(self.definition.clone(), &version)
                .map_err(|failure| nonsense(failure.words))?
                .lock(&validators),
            Some((_, change)) => change.lock(&validators),
        };
        let lock_hash = lock
            .lock_hash()
            .map_err(|error| nonsense(error.to_string()))?;
        for (index, (key, shares, signature)) in nodes.iter().enumerate() {
            let genuine = k1::verify_recoverable(key, lock_hash.as_bytes(), signature);
            if !genuine || shares.len() != validators.len() {
                return Err(nonsense(format!("invalid node signature of node {index}")));
            }
            check_shares(index, shares, &validators, &lock_hash)?;
        }
        let all: Vec<Signature> = nodes
            .iter()
            .flat_map(|(_, s, _)| s.iter().copied())
            .collect();
        let aggregate = bls::aggregate(&all).ok_or_else(|| nonsense("nothing to aggregate"))?;
        self.signatures = Some(Signatures {
            aggregate: hex::encode(aggregate.to_bytes()),
            nodes: nodes.iter().map(|(_, _, node)| hex::encode(node)).collect(),
        });
        Ok(())
    }

    fn version(&self) -> Option<CharonVersion> {
        let mut nodes = self.nodes.iter().flatten();
        nodes.next().map(|node| node.version.clone())
    }
}

/// Whether a node's partial signatures are by its shares.
fn check_shares(
    index: usize,
    shares: &[Signature],
    validators: &[Validator],
    lock_hash: &LockHash,
) -> Result<(), Refusal> {
    let items = shares.iter().zip(validators).map(|(signature, validator)| {
        let public_key = validator.public_shares.get(index).copied()?;
        Some(SignedShare {
            public_key,
            message: *lock_hash.as_bytes(),
            signature: *signature,
        })
    });
    let items: Option<Vec<_>> = items.collect();
    let items = items.ok_or_else(|| nonsense("no share for this node"))?;
    let invalid = bls::find_invalid(&items, &|_| {});
    match invalid.first().and_then(|at| validators.get(*at)) {
        None => Ok(()),
        Some(validator) => Err(Refusal::PartialSignature {
            peer_index: index,
            pubkey: charon_files::cluster::hex::to_0x(&validator.group.to_bytes()),
        }),
    }
}

fn keys_of(definition: &Definition) -> Option<Vec<EnrPublicKey>> {
    let keys = definition.operators.iter().map(|operator| {
        let enr = Enr::parse(&operator.enr).ok()?;
        Some(*enr.public_key())
    });
    keys.collect()
}

/// Which of the definition's nodes signed the challenge.
fn signer(join: &Join, keys: &[EnrPublicKey]) -> Option<NodeIndex> {
    let signature = <[u8; 65]>::try_from(hex::decode(&join.signature).ok()?).ok()?;
    let digest = join_digest(&join.nonce, &join.definition);
    let key = k1::recover(&digest, &signature)?.public_key();
    let position = keys.iter().position(|known| *known == key)?;
    Some(NodeIndex::new(position))
}

/// Secret random bytes of the system.
pub(crate) fn entropy(buffer: &mut [u8]) -> Result<(), Failure> {
    getrandom::fill(buffer).map_err(|error| Failure::new(format!("read random: {error}")))
}

fn random_hex() -> Result<String, Refusal> {
    let mut bytes = [0; 32];
    entropy(&mut bytes).map_err(|failure| nonsense(failure.words))?;
    Ok(hex::encode(bytes))
}
