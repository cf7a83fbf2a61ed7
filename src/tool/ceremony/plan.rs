//! Facts and a request, to a plan or all that speaks against it.
//!
//! `plan` prints the very [`Plan`] that `run` carries out. Nothing here looks at the world: the
//! facts are gathered by `ceremony::facts`.

use core::net::IpAddr;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::ceremony::edit::{EditCommand, Places, Role};
use crate::ceremony::pins;
use crate::report::{MOUNT_ALL, quoted, read_only_advice};
use charon_files::cluster::access::{self, EntryKind, FileMode};
use charon_files::cluster::definition::Definition;
use charon_files::cluster::hash::DefinitionHash;
use charon_files::cluster::index::NodeIndex;
use charon_files::cluster::names::{
    self, CLUSTER_LOCK_FILE, DEFINITION_FILE, ENR_KEY_FILE, GIT_IGNORE_FILE, VALIDATOR_KEYS_DIR,
};
use charon_files::cluster::network::Network;
use charon_files::cluster::payouts::Payouts;
use charon_files::cluster::version::{CharonVersion, DefinitionVersion};
use charon_files::finding::{Finding, Weight};
use charon_proof::readiness::Agreement;
use charon_proof::verify::Check;

/// Where the data directory is mounted inside the container (charon's Dockerfile: WORKDIR
/// `/opt/charon`, default `--data-dir .charon`).
pub const CONTAINER_DATA_DIR: &str = "/opt/charon/.charon";
/// Where the stage of an edit is mounted, whose inputs have [`CONTAINER_DATA_DIR`] (charon's default `--output-dir`).
const CONTAINER_OUTPUT_DIR: &str = "/opt/charon/distributed_validator";
/// Where the cluster lock is mounted that an operator has who is new in a cluster.
const CONTAINER_LOCK: &str = "/opt/charon/cluster-lock.json";
/// Label that carries the [ENR id](charon_files::keys::k1::EnrId) of a ceremony's container.
pub const LABEL_ENR_ID: &str = "charon-dkg.enr-id";
/// Label that carries the definition hash of a ceremony's container, `0x` and 64 hex digits.
pub const LABEL_DEFINITION_HASH: &str = "charon-dkg.definition-hash";
/// Label that carries the absolute path of the attempt's directory.
pub const LABEL_ATTEMPT: &str = "charon-dkg.attempt";

/// charon's flags that would break what this program promises, and why.
const REFUSED_FLAGS: [(&str, &str); 12] = [
    (
        "data-dir",
        "the stage is the container's data directory, so that nothing unverified reaches yours",
    ),
    (
        "definition-file",
        "the definition that was checked is the one that is run; use --definition before the `--`",
    ),
    (
        "no-verify",
        "an unverified definition or lock must not produce keys",
    ),
    (
        "private-key-file",
        "the key is the one in the data directory",
    ),
    (
        "lock-file",
        "the lock that was checked is the one that is edited; use --lock-file before the `--`",
    ),
    (
        "validator-keys-dir",
        "the keystores are those in the data directory, which were checked",
    ),
    (
        "output-dir",
        "the stage is charon's output directory, so that nothing unverified reaches yours",
    ),
    ("unverified", "a lock that nobody signed cannot be proved"),
    ("zipped", "it deletes the loose files, the ENR key included"),
    (
        "log-output-path",
        "charon's output is kept in the attempt's charon.log, and a file beside the keys would stop their promotion",
    ),
    (
        "keymanager-address",
        "keys sent away at once cannot be verified before they are used",
    ),
    (
        "keymanager-auth-token",
        "keys sent away at once cannot be verified before they are used",
    ),
];

/// Flags of ours that charon spells differently.
const OUR_FLAGS: [(&str, &str); 1] = [("p2p-relays", "--relay URL before the `--`")];

/// One bind mount of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// Absolute path on the engine's machine; must exist.
    pub source: PathBuf,
    /// Absolute path inside the container.
    pub target: String,
    /// Whether the container may only read it.
    pub read_only: bool,
}

/// A container as it will be created; the engine module adds the hardening that never varies
/// (all capabilities dropped, no new privileges, read-only root, no restart policy).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContainerPlan {
    /// Engine-wide unique name.
    pub name: String,
    /// What to run: `repository@sha256:…`, or an image id where the image exists only locally.
    pub image: String,
    /// `uid:gid` inside the container; `None` leaves the image's own user.
    pub user: Option<String>,
    /// `HostConfig.UsernsMode`: `host`, `keep-id`, or `None` for the engine's default.
    pub userns_mode: Option<String>,
    /// Docker network; `None` is the engine's default bridge.
    pub network: Option<String>,
    /// Replaces the image's entrypoint where given.
    pub entrypoint: Option<Vec<String>>,
    /// Arguments after the entrypoint. [`shown_args`] is what may be shown of them.
    #[serde(serialize_with = "serialize_args")]
    pub args: Vec<String>,
    /// Environment entries `NAME=value`; never a secret.
    pub env: Vec<String>,
    /// Bind mounts.
    pub mounts: Vec<Mount>,
    /// Labels by which a later command recognises the container.
    pub labels: BTreeMap<String, String>,
}

/// charon's flag for an execution client, whose URL often holds a provider's key.
pub const EXECUTION_CLIENT_FLAG: &str = "--execution-client-rpc-endpoint";

/// Arguments without what is nobody's business: URLs of execution clients.
pub fn shown_args(args: &[String]) -> Vec<String> {
    let mut is_value = false;
    args.iter()
        .map(|arg| {
            let hidden = std::mem::replace(&mut is_value, arg == EXECUTION_CLIENT_FLAG);
            match arg.split_once('=') {
                _ if hidden => "[…]".to_owned(),
                Some((EXECUTION_CLIENT_FLAG, _)) => format!("{EXECUTION_CLIENT_FLAG}=[…]"),
                Some(_) | None => arg.clone(),
            }
        })
        .collect()
}

fn serialize_args<S: serde::Serializer>(args: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    shown_args(args).serialize(serializer)
}

impl ContainerPlan {
    /// A container of this name and image, with nothing else given.
    pub fn named(name: &str, image: &str) -> Self {
        Self {
            name: name.to_owned(),
            image: image.to_owned(),
            user: None,
            userns_mode: None,
            network: None,
            entrypoint: None,
            args: Vec::new(),
            env: Vec::new(),
            mounts: Vec::new(),
            labels: BTreeMap::new(),
        }
    }
}

/// Which of charon's ceremonies it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CeremonyKind {
    /// The first one of a cluster: `charon dkg`.
    Dkg,
    /// One that changes a cluster: `charon alpha edit`.
    Edit(EditCommand),
}

impl CeremonyKind {
    /// What changes a cluster, if it does.
    pub const fn edit(&self) -> Option<&EditCommand> {
        match self {
            CeremonyKind::Dkg => None,
            CeremonyKind::Edit(command) => Some(command),
        }
    }
}

/// What the operator asked for, resolved from the command line.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which ceremony.
    pub kind: CeremonyKind,
    /// Data directory, absolute.
    pub data_dir: PathBuf,
    /// Our own directory beside it, absolute.
    pub state_dir: PathBuf,
    /// Relays, as given.
    pub relays: Vec<String>,
    /// Docker network.
    pub network: Option<String>,
    /// Image repository.
    pub repository: String,
    /// charon's program, absolute, which runs without an engine in place of an image.
    pub charon_binary: Option<PathBuf>,
    /// Charon release asked for instead of the pin.
    pub charon_version: Option<CharonVersion>,
    /// Whether a pre-release may be used.
    pub allow_prerelease: bool,
    /// Whether a key that was never backed up may be used.
    pub no_backup: bool,
    /// charon's own flags.
    pub charon_flags: Vec<String>,
    /// What all operators have agreed on in their ready lines.
    pub agreed: Option<Agreement>,
    /// Whether this is what a node would start, to be told to the others, rather than a start.
    pub is_proposal: bool,
}

impl Request {
    /// The release that must run a definition of this version, or the one asked for or agreed on if it may.
    ///
    /// # Errors
    /// [`pins::PinError`] says why no release can be chosen.
    pub fn release_for(&self, version: DefinitionVersion) -> Result<CharonVersion, pins::PinError> {
        let agreed = self.agreed.as_ref().map(|agreed| &agreed.charon_version);
        let asked = self.charon_version.as_ref();
        match &self.kind {
            CeremonyKind::Dkg => pins::choose_among(
                version,
                asked,
                self.allow_prerelease,
                agreed,
                self.is_proposal,
            ),
            CeremonyKind::Edit(command) => {
                let agreed = agreed.filter(|agreed| asked.is_none_or(|asked| asked == *agreed));
                let may_be_new = self.allow_prerelease || agreed.is_some();
                let kind = command.request.kind();
                pins::choose_for_edit(version, kind, asked.or(agreed), may_be_new)
            }
        }
    }

    /// The release that this program's own table names for the ceremony.
    fn release_of_table(
        &self,
        version: DefinitionVersion,
    ) -> Result<CharonVersion, pins::PinError> {
        match &self.kind {
            CeremonyKind::Dkg => pins::choose(version, None, self.allow_prerelease),
            CeremonyKind::Edit(command) => {
                let kind = command.request.kind();
                pins::choose_for_edit(version, kind, None, self.allow_prerelease)
            }
        }
    }

    /// The image of a release as it is looked for and pulled: by its tag, or by the digest that all have agreed on. Or the
    /// program that is run in its place.
    pub fn image_reference(&self, release: &CharonVersion) -> String {
        if let Some(program) = &self.charon_binary {
            return program.display().to_string();
        }
        let repository = &self.repository;
        match self
            .agreed
            .as_ref()
            .filter(|it| it.charon_version == *release)
        {
            Some(agreed) => format!("{repository}@sha256:{}", hex::encode(agreed.manifest)),
            None => format!("{repository}:{release}"),
        }
    }

    /// The flags that choose relays, docker network, release and image, as another attempt repeats them. charon's own
    /// may hold keys, and stay where they were typed.
    pub fn flags(&self) -> Vec<String> {
        let two = |flag: &str, value: &str| [flag.to_owned(), value.to_owned()];
        let relays = self.relays.iter().map(|relay| two("--relay", relay));
        let network = self.network.iter().map(|name| two("--network", name));
        let release = self.charon_version.iter();
        let release = release.map(|version| two("--charon-version", &version.to_string()));
        let image = (self.repository != pins::OFFICIAL_REPOSITORY)
            .then(|| two("--image", &self.repository));
        let binary = self.charon_binary.iter();
        let binary = binary.map(|path| two("--charon-binary", &path.display().to_string()));
        let chosen = relays
            .chain(network)
            .chain(release)
            .chain(image)
            .chain(binary)
            .flatten();
        let prerelease = self
            .allow_prerelease
            .then(|| "--allow-prerelease".to_owned());
        chosen.chain(prerelease).collect()
    }
}

/// One entry of the data directory's top level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Name within the data directory.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
}

impl Entry {
    /// `validator_keys (a directory)`.
    fn described(&self) -> String {
        format!("{} ({})", self.name, self.kind)
    }
}

/// The data directory as found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataDirFact {
    /// It does not exist.
    Missing,
    /// It could not be read; the reason.
    Unreadable(String),
    /// It exists.
    Found {
        /// Owner's user id.
        uid: u32,
        /// Owner's group id.
        gid: u32,
        /// Top-level entries, sorted by name.
        entries: Vec<Entry>,
        /// Owner and mode of itself and of everything in it.
        modes: Vec<FileMode>,
        /// Of how many of these this system did not tell who else may use them.
        untold_modes: usize,
        /// Whether this user may put files there.
        writable: bool,
        /// Whether nobody can, since the file system is mounted read-only.
        read_only: bool,
        /// Whether our state directory is, or would be, on the same file system.
        same_file_system: bool,
        /// Bytes that an unprivileged user may still write there.
        free_bytes: u64,
    },
}

/// The ENR key as found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnrKeyFact {
    /// There is no key file.
    Missing,
    /// It could not be read or is not a key; the reason.
    Unusable(String),
    /// A key.
    Found {
        /// Public identifier of the key.
        enr_id: String,
        /// Permission bits.
        mode: u32,
        /// Owner's user id.
        uid: u32,
        /// Whether this directory has a record of a backup of this very key.
        backed_up: bool,
    },
}

/// The cluster definition as found.
#[derive(Debug, Clone)]
pub enum DefinitionFact {
    /// No definition was found; where it was looked for.
    Missing(String),
    /// It could not be read, fetched or parsed.
    Unusable {
        /// Why not.
        reason: String,
        /// What helps against it.
        advice: String,
    },
    /// A definition, checked on its own.
    Found {
        /// Where it came from, as the operator would say it.
        source: String,
        /// The file in our state directory that holds, or will hold, the very bytes.
        kept_as: PathBuf,
        /// The parsed definition.
        definition: Box<Definition>,
        /// Hash over terms and signatures, recomputed.
        definition_hash: DefinitionHash,
        /// Which operator the ENR key belongs to.
        node: Option<NodeIndex>,
        /// What `verify` says of it.
        findings: Vec<Finding>,
    },
}

/// What the engine says of itself, as far as a ceremony needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineFact {
    /// It could not be reached.
    Unreachable {
        /// Why not.
        reason: String,
        /// What helps against it.
        advice: String,
    },
    /// It is not on this machine; its endpoint.
    Remote(String),
    /// It was not looked at, since this program uses none on this system, as [`std::env::consts::OS`] names it.
    NotLookedAt(&'static str),
    /// None is needed, since charon runs as a process of this machine.
    NotNeeded {
        /// The owner of the data directory, `uid:gid`, as whom charon runs.
        user: String,
    },
    /// It answers but cannot give containers this data directory's owner; the reason.
    WrongOwner {
        /// What this engine is: `rootless`, …
        mode: String,
        /// Why not.
        reason: String,
    },
    /// It can be used.
    Ready {
        /// What this engine is: `rootful`, `rootless`, `userns-remap`, …
        mode: String,
        /// Where it listens, as docker writes it: `unix:///…`.
        address: String,
        /// Version of the engine.
        version: String,
        /// `uid:gid` for the container.
        user: Option<String>,
        /// `HostConfig.UsernsMode`.
        userns_mode: Option<String>,
    },
}

/// The charon image as found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageFact {
    /// Not asked for, because no release could be chosen or no engine answers.
    Unknown,
    /// Neither here nor to be pulled.
    Unavailable {
        /// Why not.
        reason: String,
        /// What helps against it.
        advice: String,
    },
    /// Not here yet; the registry has it under this digest.
    Pullable(String),
    /// Here.
    Present {
        /// What to run: `repository@sha256:…` or an image id.
        run_as: String,
        /// What `charon version` printed inside, or why it could not be asked.
        version_output: Result<String, String>,
    },
}

/// A container or process that works on this data directory or key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherUser {
    /// `container charon-1 (obolnetwork/charon:v1.10.3)` or `process 4711 of alice`.
    pub who: String,
    /// What ties it to us: `mounts /x/.charon`, `runs with the same ENR key`, …
    pub how: String,
    /// The command that ends it.
    pub advice: String,
    /// Whether it is a ceremony of this program with the same key, which holds what is to be held.
    pub is_ceremony: bool,
    /// Whether it is a node at work, which may go on while its cluster is edited.
    pub is_node: bool,
}

/// What a relay answered from inside the ceremony's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayFact {
    /// The relay.
    pub url: String,
    /// Whether it answers.
    pub answer: RelayAnswer,
}

impl RelayFact {
    /// Why it does not answer, if it does not.
    pub fn problem(&self) -> Option<String> {
        match &self.answer {
            RelayAnswer::Answers => None,
            RelayAnswer::Silent(reason) | RelayAnswer::NotAsked(reason) => Some(reason.clone()),
        }
    }
}

/// Whether a relay answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayAnswer {
    /// It told its addresses.
    Answers,
    /// It did not; the reason.
    Silent(String),
    /// It could not be asked; the reason.
    NotAsked(String),
}

/// The docker network of the ceremony.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkFact {
    /// A container ran in it.
    Usable,
    /// No container can run in it; the reason.
    Unusable(String),
    /// No container had to run in it so far.
    NotLookedAt,
}

/// Whether what the engine mounts is what is here, tried with the ENR key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountFact {
    /// A container with the ceremony's user read this very key.
    Same,
    /// There was no key to mount, or no engine to mount it.
    NotLookedAt,
    /// The engine sees no such file, or another one; its words, or what it is.
    Elsewhere(String),
    /// The container may not read it.
    Unreadable {
        /// Why not.
        reason: String,
        /// Whether SELinux enforces on this machine.
        selinux: bool,
    },
    /// The engine did not run a container with it; the reason.
    Refused(String),
    /// The container did not end in time; the reason.
    TooSlow(String),
}

impl MountFact {
    /// Whether it blocks a ceremony.
    pub const fn is_problem(&self) -> bool {
        match self {
            MountFact::Same | MountFact::NotLookedAt => false,
            MountFact::Elsewhere(_)
            | MountFact::Unreadable { .. }
            | MountFact::Refused(_)
            | MountFact::TooSlow(_) => true,
        }
    }
}

/// Why our own directory cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDirProblem {
    /// What is wrong with it.
    pub seen: String,
    /// What helps against it.
    pub advice: String,
}

/// Everything that was seen before the ceremony.
#[derive(Debug, Clone)]
pub struct Facts {
    /// User id of this process.
    pub my_uid: u32,
    /// The data directory.
    pub data_dir: DataDirFact,
    /// Why our own directory beside it cannot be used, if it cannot.
    pub state_dir_problem: Option<StateDirProblem>,
    /// What the chain says against giving up the keys of ceremonies before, if a beacon node was named.
    pub old_keys: Vec<Finding>,
    /// The ENR key.
    pub enr_key: EnrKeyFact,
    /// The definition.
    pub definition: DefinitionFact,
    /// The engine.
    pub engine: EngineFact,
    /// The image.
    pub image: ImageFact,
    /// Others at work here.
    pub others: Vec<OtherUser>,
    /// Relays asked.
    pub relays: Vec<RelayFact>,
    /// The docker network.
    pub network: NetworkFact,
    /// Whether the engine mounts what is here.
    pub mounts: MountFact,
    /// Directory of the attempt that `run` would make.
    pub attempt_dir: PathBuf,
    /// What an edit makes of this node; `None` if it takes no part, and for a first ceremony.
    pub role: Option<Role>,
}

/// What `run` will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Which charon release.
    pub charon_version: CharonVersion,
    /// `repository:tag` as it is pulled; `repository@sha256:…` where all operators have agreed on an image.
    pub image_tag: String,
    /// Whether the image must be pulled first.
    pub pull: bool,
    /// Which operator of the definition this node is.
    pub node_index: usize,
    /// Number of operators.
    pub operators: usize,
    /// Number of validators to be made.
    pub validators: u64,
    /// How many nodes must sign.
    pub threshold: u64,
    /// Network of the validators.
    pub network: String,
    /// Where the money goes, and how much is deposited.
    pub payouts: Payouts,
    /// Definition hash, `0x` and 64 hex digits.
    pub definition_hash: String,
    /// Where the definition came from.
    pub definition_source: String,
    /// Kind of engine.
    pub engine_mode: String,
    /// Where the engine listens, as docker writes it: `unix:///…`; `process` if charon runs without an engine.
    pub engine_address: String,
    /// charon's program, where it runs without an engine. What is said of a container is true of its process then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charon_binary: Option<PathBuf>,
    /// The container.
    pub container: ContainerPlan,
    /// What is worth knowing and stops nothing.
    pub notes: Vec<Finding>,
}

/// Bytes a ceremony may write: keystores, lock and deposits of one validator, generously.
const BYTES_PER_VALIDATOR: u64 = 64 * 1024;
/// Bytes for the log and the fixed files.
const BYTES_ALWAYS: u64 = 16 * 1024 * 1024;

/// What became of the definition since the last time, which may be why the rest does not fit.
const SOURCE_NOTES: [&str; 2] = ["definition-changed", "definition-not-fetched"];

/// Turns facts into a plan, or into every finding that speaks against the ceremony.
///
/// # Errors
/// All findings that stop the ceremony, and what may have led to them. Other notes would hide them.
pub fn make(request: &Request, facts: &Facts) -> Result<Plan, Vec<Finding>> {
    let mut findings = Vec::new();
    check_flags(request, &mut findings);
    check_p2p_flags(request, &mut findings);
    let owner = check_data_dir(request, facts, &mut findings);
    check_state_dir(request, facts, &mut findings);
    findings.extend(facts.old_keys.iter().cloned());
    let key = check_key(request, facts, &mut findings);
    let definition = check_definition(request, facts, key.as_ref(), &mut findings);
    let charon = definition
        .as_ref()
        .and_then(|found| choose_release(request, found.definition, &mut findings));
    check_disk(facts, definition.as_ref(), &mut findings);
    let is_edit = request.kind.edit().is_some();
    let in_the_way = |other: &&OtherUser| !(is_edit && other.is_node);
    for other in facts.others.iter().filter(in_the_way) {
        findings.push(other_user_finding(other));
    }
    let engine = check_engine(facts, &mut findings);
    let image = charon
        .as_ref()
        .and_then(|charon| check_image(request, facts, charon, &mut findings));
    check_network(request, facts, &mut findings);
    check_mounts(request, facts, &mut findings);
    check_relays(facts, &mut findings);
    let (Some(_owner), Some(key), Some(found), Some(charon), Some(engine), Some(image), false) = (
        owner,
        key,
        definition,
        charon,
        engine,
        image,
        findings
            .iter()
            .any(|finding| finding.weight != Weight::Note),
    ) else {
        findings.retain(|finding| {
            finding.weight != Weight::Note || SOURCE_NOTES.contains(&finding.check)
        });
        return Err(findings);
    };
    findings.splice(0..0, not_looked_at(request, facts));
    Ok(assemble(
        request,
        facts,
        Chosen {
            key,
            found,
            charon,
            engine,
            image,
        },
        findings,
    ))
}

/// What the checks let through.
struct Chosen<'a> {
    key: KeyChosen<'a>,
    found: DefinitionChosen<'a>,
    charon: CharonVersion,
    engine: EngineChosen<'a>,
    image: ImageChosen,
}

struct KeyChosen<'a> {
    enr_id: &'a str,
}

struct DefinitionChosen<'a> {
    source: &'a str,
    kept_as: &'a Path,
    definition: &'a Definition,
    definition_hash: DefinitionHash,
    node: Option<NodeIndex>,
}

struct EngineChosen<'a> {
    mode: &'a str,
    address: &'a str,
    user: Option<String>,
    userns_mode: Option<String>,
}

struct ImageChosen {
    run_as: String,
    pull: bool,
}

fn assemble(request: &Request, facts: &Facts, chosen: Chosen<'_>, notes: Vec<Finding>) -> Plan {
    let Chosen {
        key,
        found,
        charon,
        engine,
        image,
    } = chosen;
    let definition_hash = found.definition_hash.to_string();
    let stage = facts.attempt_dir.join("stage");
    let (mut args, mounts) = match &request.kind {
        CeremonyKind::Dkg => for_dkg(request, &stage, found.kept_as),
        CeremonyKind::Edit(command) => {
            for_edit(request, command, facts.role, &stage, found.kept_as)
        }
    };
    if !request.relays.is_empty() {
        args.push(format!("--p2p-relays={}", request.relays.join(",")));
    }
    args.extend(request.charon_flags.iter().cloned());
    let container = ContainerPlan {
        name: container_name(key.enr_id),
        image: image.run_as,
        user: engine.user,
        userns_mode: engine.userns_mode,
        network: request.network.clone(),
        entrypoint: request
            .charon_binary
            .iter()
            .map(|program| vec![program.display().to_string()])
            .next(),
        args,
        env: Vec::new(),
        mounts,
        labels: BTreeMap::from([
            (LABEL_ENR_ID.to_owned(), key.enr_id.to_owned()),
            (LABEL_DEFINITION_HASH.to_owned(), definition_hash.clone()),
            (
                LABEL_ATTEMPT.to_owned(),
                facts.attempt_dir.display().to_string(),
            ),
        ]),
    };
    Plan {
        charon_version: charon.clone(),
        image_tag: request.image_reference(&charon),
        pull: image.pull,
        node_index: found.node.map_or(0, NodeIndex::position),
        operators: found.definition.operators.len(),
        validators: found.definition.num_validators,
        threshold: found.definition.threshold,
        network: Network::by_fork_version(found.definition.fork_version)
            .map_or("unknown", |network| network.name)
            .to_owned(),
        payouts: Payouts::of(found.definition),
        definition_hash,
        definition_source: found.source.to_owned(),
        engine_mode: engine.mode.to_owned(),
        engine_address: engine.address.to_owned(),
        charon_binary: request.charon_binary.clone(),
        container,
        notes,
    }
}

fn mount(source: &Path, target: &str, read_only: bool) -> Mount {
    Mount {
        source: source.to_owned(),
        target: target.to_owned(),
        read_only,
    }
}

/// charon's arguments and mounts for a first ceremony: the stage is its data directory, with the key and the definition
/// mounted into it.
fn for_dkg(request: &Request, stage: &Path, definition: &Path) -> (Vec<String>, Vec<Mount>) {
    let args = |data_dir: &str, definition_file: &str| {
        vec![
            "dkg".to_owned(),
            format!("--data-dir={data_dir}"),
            format!("--definition-file={definition_file}"),
        ]
    };
    if request.charon_binary.is_some() {
        let (stage, definition) = (stage.display(), definition.display());
        return (
            args(&stage.to_string(), &definition.to_string()),
            Vec::new(),
        );
    }
    let key = format!("{CONTAINER_DATA_DIR}/{ENR_KEY_FILE}");
    let definition_file = format!("{CONTAINER_DATA_DIR}/{DEFINITION_FILE}");
    let mounts = vec![
        mount(stage, CONTAINER_DATA_DIR, false),
        mount(&request.data_dir.join(ENR_KEY_FILE), &key, true),
        mount(definition, &definition_file, true),
    ];
    (args(CONTAINER_DATA_DIR, &definition_file), mounts)
}

/// The same for an edit: the data directory is only read, and the stage is charon's output directory. A new operator has no
/// lock there. charon looks for the deposit data of the old validators beside the lock.
fn for_edit(
    request: &Request,
    command: &EditCommand,
    role: Option<Role>,
    stage: &Path,
    lock: &Path,
) -> (Vec<String>, Vec<Mount>) {
    let is_new = role == Some(Role::Comes);
    if request.charon_binary.is_some() {
        let inside = |name: &str| request.data_dir.join(name).display().to_string();
        let places = Places {
            key: inside(ENR_KEY_FILE),
            lock: if is_new {
                lock.display().to_string()
            } else {
                inside(CLUSTER_LOCK_FILE)
            },
            keystores: inside(VALIDATOR_KEYS_DIR),
            output: stage.display().to_string(),
        };
        return (command.args(&places), Vec::new());
    }
    let inside = |name: &str| format!("{CONTAINER_DATA_DIR}/{name}");
    let places = Places {
        key: inside(ENR_KEY_FILE),
        lock: if is_new {
            CONTAINER_LOCK.to_owned()
        } else {
            inside(CLUSTER_LOCK_FILE)
        },
        keystores: inside(VALIDATOR_KEYS_DIR),
        output: CONTAINER_OUTPUT_DIR.to_owned(),
    };
    let mut mounts = vec![
        mount(stage, CONTAINER_OUTPUT_DIR, false),
        mount(&request.data_dir, CONTAINER_DATA_DIR, true),
    ];
    if is_new {
        mounts.push(mount(lock, CONTAINER_LOCK, true));
    }
    (command.args(&places), mounts)
}

/// The name under which an engine can run an ENR key only once.
pub fn container_name(enr_id: &str) -> String {
    format!("charon-dkg-{enr_id}")
}

fn fail(check: &'static str, subject: &str, seen: &str, expected: &str, advice: &str) -> Finding {
    Finding::fail(check, subject, seen, expected).advise(advice)
}

/// What is said of somebody else who works on this data directory or key.
pub fn other_user_finding(other: &OtherUser) -> Finding {
    let check = if other.is_ceremony {
        "ceremony-under-way"
    } else {
        "already-in-use"
    };
    fail(
        check,
        &other.who,
        &other.how,
        "no other command at work here",
        &other.advice,
    )
}

fn check_flags(request: &Request, findings: &mut Vec<Finding>) {
    for flag in &request.charon_flags {
        let Some(name) = flag
            .strip_prefix("--")
            .map(|rest| rest.split('=').next().unwrap_or(rest))
        else {
            continue;
        };
        if let Some((_, reason)) = REFUSED_FLAGS.iter().find(|(refused, _)| *refused == name) {
            findings.push(fail(
                "charon-flag-refused",
                &format!("--{name}"),
                // Without its value, which may be a secret.
                &format!("--{name}"),
                "no such flag",
                &format!("leave it out: {reason}"),
            ));
        }
        if let Some((_, instead)) = OUR_FLAGS.iter().find(|(ours, _)| *ours == name) {
            findings.push(fail(
                "charon-flag-refused",
                &format!("--{name}"),
                &format!("--{name}"),
                "no such flag",
                &format!("use {instead}"),
            ));
        }
    }
}

/// The p2p flags that charon refuses, which it does only after a relay has answered. `dkg` does not use
/// `--p2p-udp-address`.
fn check_p2p_flags(request: &Request, findings: &mut Vec<Finding>) {
    let mut wrong = |name: &str, value: &str, expected: &str, advice: &str| {
        let advice = format!(
            "give {advice}, or leave it out: a ceremony over a relay needs no address of its own"
        );
        let seen = format!("--{name}={value}");
        findings.push(fail(
            "charon-flag-invalid",
            &format!("--{name}"),
            &seen,
            expected,
            &advice,
        ));
    };
    let tcp = "p2p-tcp-address";
    let listens = flag_values(&request.charon_flags, tcp);
    for address in listens.iter().flat_map(|value| value.split(',')) {
        match listening_ip(address) {
            // "missing port in address", "p2p TCP bind IP not specified", "invalid port".
            None => wrong(tcp, address, "IP:PORT", &format!("--{tcp}=0.0.0.0:PORT")),
            // "cannot assign requested address": the container has an address of its own.
            Some(Some(ip))
                if !ip.is_unspecified()
                    && !ip.is_loopback()
                    && request.network.as_deref() != Some("host")
                    && request.charon_binary.is_none() =>
            {
                wrong(
                    tcp,
                    address,
                    "an address of the container",
                    &format!("--{tcp}=0.0.0.0:PORT --p2p-external-ip={ip}"),
                );
            }
            Some(_) => {}
        }
    }
    let external = "p2p-external-ip";
    for ip in flag_values(&request.charon_flags, external) {
        // "invalid IP address format"; charon looks at it only if it listens.
        if !listens.is_empty() && !ip.is_empty() && ip.parse::<IpAddr>().is_err() {
            wrong(
                external,
                ip,
                "an IP address alone",
                &format!("--{external}=IP"),
            );
        }
    }
    let external = "p2p-external-hostname";
    for host in flag_values(&request.charon_flags, external) {
        // "invalid hostname: idna: disallowed rune".
        if host.contains([':', '/']) {
            wrong(
                external,
                host,
                "a host name alone",
                &format!("--{external}=NAME"),
            );
        }
    }
}

/// What a flag of charon was given, each time, behind `=` or as the next word.
pub(crate) fn flag_values<'a>(flags: &'a [String], name: &str) -> Vec<&'a str> {
    let mut values = Vec::new();
    let mut words = flags.iter();
    while let Some(word) = words.next() {
        let Some(rest) = word
            .strip_prefix("--")
            .and_then(|word| word.strip_prefix(name))
        else {
            continue;
        };
        match rest.strip_prefix('=') {
            Some(value) => values.push(value),
            None if rest.is_empty() => values.extend(words.next().map(String::as_str)),
            None => {}
        }
    }
    values
}

/// The IP of a listening address as Go reads it; the inner `None` stands for a name, which charon looks up itself.
fn listening_ip(address: &str) -> Option<Option<IpAddr>> {
    let (host, port) = address.rsplit_once(':')?;
    if port.is_empty()
        || (port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_err())
    {
        return None;
    }
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    match bare.unwrap_or(host).parse::<IpAddr>() {
        Ok(IpAddr::V6(_)) if bare.is_none() => None,
        Ok(ip) => Some(Some(ip)),
        Err(_) if host.is_empty() || host.contains([':', '/']) => None,
        Err(_) => Some(None),
    }
}

fn check_data_dir(
    request: &Request,
    facts: &Facts,
    findings: &mut Vec<Finding>,
) -> Option<(u32, u32)> {
    let subject = format!("data directory {}", request.data_dir.display());
    match &facts.data_dir {
        DataDirFact::Missing => {
            findings.push(fail(
                "data-directory-missing",
                &subject,
                "it does not exist",
                "a directory with the ENR key in it",
                "create the key with `charon-dkg enr`, or name the right directory with --dir",
            ));
            None
        }
        DataDirFact::Unreadable(reason) => {
            findings.push(fail(
                "data-directory-unreadable",
                &subject,
                reason,
                "a directory that you can read",
                "run as the owner of the directory",
            ));
            None
        }
        DataDirFact::Found {
            uid,
            gid,
            entries,
            modes,
            untold_modes,
            writable,
            read_only,
            same_file_system,
            free_bytes: _,
        } => {
            if facts.my_uid != 0 && facts.my_uid != *uid {
                findings.push(fail(
                    "not-the-owner",
                    &subject,
                    &format!("it belongs to uid {uid}; you are uid {}", facts.my_uid),
                    "its owner, or root",
                    "run this as its owner, or as root: `sudo charon-dkg status`",
                ));
            } else if *read_only {
                findings.push(fail(
                    "data-directory-not-writable",
                    &subject,
                    "its file system is mounted read-only",
                    "a directory that its owner may write in",
                    &read_only_advice(&request.data_dir),
                ));
            } else if !writable {
                findings.push(fail(
                    "data-directory-not-writable",
                    &subject,
                    "you may not put files there",
                    "a directory that its owner may write in",
                    &format!("chmod u+rwx {}", quoted(&request.data_dir)),
                ));
            }
            match facts.role {
                // What a running node needs is there.
                Some(Role::Stays | Role::Leaves) => {}
                Some(Role::Comes) => {
                    let mut others = entries.clone();
                    others.retain(|entry| entry.name != CLUSTER_LOCK_FILE);
                    check_entries(&others, modes, &subject, findings);
                }
                None if request.kind.edit().is_some() => {}
                None => check_entries(entries, modes, &subject, findings),
            }
            findings.extend(check_access(request, modes, (*uid, *gid)));
            if *untold_modes > 0 {
                findings.push(Finding {
                    weight: Weight::CouldNotTell,
                    ..fail(
                        "data-directory-mode",
                        &subject,
                        &format!(
                            "this system does not tell who may use {untold_modes} of its entries"
                        ),
                        "files that nobody else may use",
                        Check::FileMode.advice(),
                    )
                });
            }
            if !same_file_system {
                findings.push(fail(
                    "other-file-system",
                    &subject,
                    &format!("{} is on another file system", request.state_dir.display()),
                    "both on one file system, so that promotion is a rename",
                    MOUNT_ALL,
                ));
            }
            Some((*uid, *gid))
        }
    }
}

/// Where the data directory is somebody else's, the state directory is not to be blamed too.
fn check_state_dir(request: &Request, facts: &Facts, findings: &mut Vec<Finding>) {
    let strangers = match &facts.data_dir {
        DataDirFact::Found { uid, .. } => facts.my_uid != 0 && facts.my_uid != *uid,
        DataDirFact::Missing | DataDirFact::Unreadable(_) => true,
    };
    if let Some(problem) = facts.state_dir_problem.as_ref().filter(|_| !strangers) {
        findings.push(fail(
            "state-directory-unusable",
            &format!("working directory {}", request.state_dir.display()),
            &problem.seen,
            "a directory of the data directory's owner, beside the data directory",
            &problem.advice,
        ));
    }
}

/// One finding for each thing to do, not for each file.
fn check_entries(
    entries: &[Entry],
    modes: &[FileMode],
    subject: &str,
    findings: &mut Vec<Finding>,
) {
    let names = |fits: &dyn Fn(&Entry) -> bool| {
        let names: Vec<String> = entries
            .iter()
            .filter(|entry| fits(entry))
            .map(Entry::described)
            .collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let is_special = |entry: &Entry| !entry.kind.is_file_or_directory();
    let is = |entry: &Entry, role: names::Role| names::role(&entry.name) == role;
    let is_output =
        |entry: &Entry| is(entry, names::Role::Output) && !is_empty_of_keys(entry, modes);
    if let Some(seen) = names(&|entry| !is_special(entry) && is_output(entry)) {
        findings.push(fail(
            "data-directory-not-clean",
            subject,
            &seen,
            "nothing but the ENR key and the definition",
            "if these are the keys of a running cluster, stop: this directory has had its ceremony; \
             otherwise move them aside with `charon-dkg archive`",
        ));
    }
    let is_stranger = |entry: &Entry| !is_special(entry) && is(entry, names::Role::Stranger);
    if let Some(seen) = names(&|entry| is_stranger(entry) && is_bystander(entry, modes)) {
        findings.push(Finding {
            check: "data-directory-bystanders",
            weight: Weight::Note,
            subject: subject.to_owned(),
            seen,
            expected:
                "neither key, cluster lock, deposit data nor secret, by name; they stay as they are"
                    .to_owned(),
            advice: String::new(),
        });
    }
    if let Some(seen) = names(&|entry| is_stranger(entry) && !is_bystander(entry, modes)) {
        findings.push(fail(
            "data-directory-not-clean",
            subject,
            &seen,
            "nothing but the ENR key and the definition",
            "move it out of the data directory",
        ));
    }
    if let Some(seen) =
        names(&|entry| is(entry, names::Role::Input) && entry.kind == EntryKind::Directory)
    {
        findings.push(fail(
            "data-directory-not-clean",
            subject,
            &seen,
            "a file",
            "docker makes such a directory when a file to mount is missing; remove it if it is empty and put the real \
             file there",
        ));
    }
    if let Some(seen) = names(&|entry| is_special(entry) && is(entry, names::Role::Output)) {
        findings.push(fail(
            "data-directory-special-file",
            subject,
            &seen,
            "nothing but the ENR key and the definition",
            "see where it leads; `charon-dkg archive` moves the entry itself aside",
        ));
    }
    if let Some(seen) = names(&|entry| is_special(entry) && !is(entry, names::Role::Output)) {
        findings.push(fail(
            "data-directory-special-file",
            subject,
            &seen,
            "regular files only",
            "put the real file there, or take the entry away",
        ));
    }
}

/// Everything below an entry of the data directory.
fn below<'a>(entry: &'a Entry, modes: &'a [FileMode]) -> impl Iterator<Item = &'a str> {
    modes
        .iter()
        .filter_map(|mode| mode.path.strip_prefix(&*entry.name)?.strip_prefix('/'))
}

/// Whether this is a directory of keys without keys, as repositories ship it.
fn is_empty_of_keys(entry: &Entry, modes: &[FileMode]) -> bool {
    entry.name == VALIDATOR_KEYS_DIR
        && entry.kind == EntryKind::Directory
        && modes.iter().any(|mode| mode.path == entry.name)
        && below(entry, modes).all(|name| name == GIT_IGNORE_FILE)
}

/// Whether this is nothing that a ceremony could mix up with its own.
fn is_bystander(entry: &Entry, modes: &[FileMode]) -> bool {
    !names::may_be_of_a_ceremony(&entry.name)
        && !below(entry, modes).any(names::may_be_of_a_ceremony)
}

/// What `verify` will say of owners and modes, so that what a ceremony makes is not refused after it for what was there
/// before.
pub fn access_findings(data_dir: &Path, modes: &[FileMode], uid: u32, gid: u32) -> Vec<Finding> {
    let path = |entry: &FileMode| {
        let path: PathBuf = data_dir.join(&entry.path).components().collect();
        path.display().to_string()
    };
    let open = access::faults(modes, None)
        .into_iter()
        .filter_map(|(entry, fault)| {
            let (seen, expected) = fault.describe(entry)?;
            Some(fail(
                "data-directory-mode",
                &path(entry),
                &seen,
                expected,
                if cfg!(target_os = "linux") {
                    "`charon-dkg repair`"
                } else {
                    Check::FileMode.advice()
                },
            ))
        });
    let misowned = modes
        .iter()
        .filter(|entry| entry.kind.is_file_or_directory() && access::is_misowned(entry, uid, gid))
        .map(|entry| {
            fail(
                "data-directory-owner",
                &path(entry),
                &format!("owned by {}:{}", entry.uid, entry.gid),
                &format!("owned by {uid}:{gid}, as the data directory is"),
                "`sudo charon-dkg repair`",
            )
        });
    open.chain(misowned).collect()
}

fn check_access(request: &Request, modes: &[FileMode], owner: (u32, u32)) -> Vec<Finding> {
    // What is wrong with the key itself is told with the key.
    let others: Vec<FileMode> = modes
        .iter()
        .filter(|entry| entry.path != ENR_KEY_FILE)
        .cloned()
        .collect();
    access_findings(&request.data_dir, &others, owner.0, owner.1)
}

fn is_readable(facts: &Facts) -> bool {
    match &facts.data_dir {
        DataDirFact::Found { .. } => true,
        DataDirFact::Missing | DataDirFact::Unreadable(_) => false,
    }
}

/// Whether there is something of this name that is no file, which [`check_entries`] tells.
fn is_no_file(facts: &Facts, name: &str) -> bool {
    match &facts.data_dir {
        DataDirFact::Found { entries, .. } => entries
            .iter()
            .any(|entry| entry.name == name && entry.kind != EntryKind::Regular),
        DataDirFact::Missing | DataDirFact::Unreadable(_) => false,
    }
}

fn check_key<'a>(
    request: &Request,
    facts: &'a Facts,
    findings: &mut Vec<Finding>,
) -> Option<KeyChosen<'a>> {
    let subject = request.data_dir.join(ENR_KEY_FILE).display().to_string();
    match &facts.enr_key {
        // What is wrong with the directory was told.
        EnrKeyFact::Missing | EnrKeyFact::Unusable(_) if !is_readable(facts) => None,
        EnrKeyFact::Unusable(_) if is_no_file(facts, ENR_KEY_FILE) => None,
        EnrKeyFact::Missing => {
            findings.push(fail("enr-key-missing", &subject, "no such file", "this node's ENR key",
                "restore it from your backup; only if you never gave an ENR to the coordinator, create one with `charon-dkg enr`"));
            None
        }
        EnrKeyFact::Unusable(reason) => {
            findings.push(fail(
                "enr-key-unusable",
                &subject,
                reason,
                "64 hex digits of a secp256k1 key",
                "restore it from your backup",
            ));
            None
        }
        EnrKeyFact::Found {
            enr_id,
            mode,
            uid,
            backed_up,
        } => {
            if !backed_up && !request.no_backup {
                findings.push(fail(
                    "enr-key-not-backed-up",
                    &subject,
                    "never backed up by this program",
                    "a backup: without this key nobody can use or restore what the ceremony makes for this node",
                    "`charon-dkg backup`; or --no-backup if you keep the key in another way",
                ));
            }
            if mode & 0o077 != 0 {
                findings.push(fail(
                    "enr-key-mode",
                    &subject,
                    &format!("mode {mode:04o}"),
                    "mode 0600: readable by its owner alone",
                    &if cfg!(windows) {
                        Check::FileMode.advice().to_owned()
                    } else {
                        format!("chmod 600 {}", quoted(&subject))
                    },
                ));
            }
            if let DataDirFact::Found { uid: owner, .. } = &facts.data_dir
                && uid != owner
            {
                findings.push(fail(
                    "enr-key-owner",
                    &subject,
                    &format!("it belongs to uid {uid}"),
                    &format!("uid {owner}, the owner of the directory"),
                    &format!("chown {owner} {}", quoted(&subject)),
                ));
            }
            Some(KeyChosen { enr_id })
        }
    }
}

fn check_definition<'a>(
    request: &Request,
    facts: &'a Facts,
    key: Option<&KeyChosen<'_>>,
    findings: &mut Vec<Finding>,
) -> Option<DefinitionChosen<'a>> {
    match &facts.definition {
        DefinitionFact::Unusable { .. } if is_no_file(facts, DEFINITION_FILE) => None,
        DefinitionFact::Missing(_) if !is_readable(facts) => None,
        DefinitionFact::Missing(looked) => {
            findings.push(fail(
                "definition-missing",
                "cluster definition",
                &format!("none in {looked}"),
                "the coordinator's definition",
                "give it with --definition FILE or --definition https://…",
            ));
            None
        }
        DefinitionFact::Unusable { reason, advice } => {
            findings.push(fail(
                "definition-unusable",
                "cluster definition",
                reason,
                "a cluster definition that charon wrote",
                advice,
            ));
            None
        }
        DefinitionFact::Found {
            source,
            kept_as,
            definition,
            definition_hash,
            node,
            findings: own,
        } => {
            findings.extend(own.iter().cloned());
            // An edit says itself who takes part.
            if request.kind.edit().is_none() && key.is_some() && node.is_none() {
                findings.push(fail("enr-key-not-in-definition", &request.data_dir.join(ENR_KEY_FILE).display().to_string(),
                    "the key of none of the definition's operators",
                    &format!("the key of one of its {} ENRs", definition.operators.len()),
                    "you have the wrong key or the wrong definition: compare `charon-dkg enr show` with the ENR that you gave to the coordinator"));
            }
            Some(DefinitionChosen {
                source,
                kept_as,
                definition,
                definition_hash: *definition_hash,
                node: *node,
            })
        }
    }
}

fn choose_release(
    request: &Request,
    definition: &Definition,
    findings: &mut Vec<Finding>,
) -> Option<CharonVersion> {
    match request.release_for(definition.version) {
        Ok(charon) => {
            if let Some(note) = release_note(request, definition, &charon) {
                findings.push(note);
            }
            if let Some(network) = Network::by_fork_version(definition.fork_version)
                && !pins::knows_network(&charon, &network)
            {
                findings.push(fail(
                    "network-unknown-to-charon",
                    "cluster definition",
                    &format!(
                        "network {}, which charon {charon} does not know",
                        network.name
                    ),
                    "a network that the release knows",
                    "ask the coordinator for a definition made by a newer charon",
                ));
                return None;
            }
            Some(charon)
        }
        Err(error) => {
            let advice = match &error {
                pins::PinError::NoStableRelease {
                    candidate: Some(candidate),
                    ..
                } => {
                    let stable = CharonVersion {
                        pre_release: None,
                        ..candidate.clone()
                    };
                    format!(
                        "agree with every operator: once charon {stable} is released, all pass --charon-version {stable}; \
                         before, all pass --allow-prerelease, which runs {candidate}"
                    )
                }
                pins::PinError::Prerelease(_) => {
                    "agree with every operator and all pass --allow-prerelease".to_owned()
                }
                pins::PinError::NoStableRelease {
                    candidate: None, ..
                }
                | pins::PinError::Incomplete(_)
                | pins::PinError::NoSuchEdit { .. }
                | pins::PinError::NotAccepted { .. }
                | pins::PinError::Denied { .. } => {
                    "leave out --charon-version; `charon-dkg pins` shows the table".to_owned()
                }
            };
            findings.push(fail(
                "no-charon-release",
                "charon release",
                &error.to_string(),
                "a release that runs this definition",
                &advice,
            ));
            None
        }
    }
}

/// Says where a release comes from that this program's table does not name.
fn release_note(
    request: &Request,
    definition: &Definition,
    charon: &CharonVersion,
) -> Option<Finding> {
    let agreed = request.agreed.as_ref();
    let is_agreed = agreed.is_some_and(|agreed| agreed.charon_version == *charon);
    let table = request.release_of_table(definition.version);
    let (check, seen, advice) = if is_agreed && table.as_ref() != Ok(charon) {
        (
            "charon-release-agreed",
            format!("charon {charon}, which the ready lines of all operators name"),
            "",
        )
    } else if pins::is_newer(charon) {
        (
            "charon-release-unknown",
            format!("charon {charon}, which is newer than this program and was not tried with it"),
            "every operator must run the same line: `charon-dkg ready` shows whether all name it. charon says whether it runs \
             this definition, and its files are proved as always; see whether there is a newer version of this program",
        )
    } else {
        return None;
    };
    let expected = table.map_or_else(
        |_| "a release that the table names".to_owned(),
        |release| format!("{release}, by this program's own table"),
    );
    Some(Finding {
        weight: Weight::Note,
        ..fail(check, "charon release", &seen, &expected, advice)
    })
}

fn check_disk(
    facts: &Facts,
    definition: Option<&DefinitionChosen<'_>>,
    findings: &mut Vec<Finding>,
) {
    let DataDirFact::Found { free_bytes, .. } = &facts.data_dir else {
        return;
    };
    let validators = definition.map_or(1, |found| found.definition.num_validators);
    let needed = validators
        .saturating_mul(BYTES_PER_VALIDATOR)
        .saturating_add(BYTES_ALWAYS);
    if *free_bytes < needed {
        findings.push(fail(
            "disk-full",
            "file system of the data directory",
            &format!("{} MiB free", free_bytes >> 20),
            &format!("{} MiB", needed >> 20),
            "make room",
        ));
    }
}

fn check_engine<'a>(facts: &'a Facts, findings: &mut Vec<Finding>) -> Option<EngineChosen<'a>> {
    match &facts.engine {
        EngineFact::Unreachable { reason, advice } => {
            findings.push(fail(
                "engine-unreachable",
                "docker engine",
                reason,
                "an engine that answers",
                advice,
            ));
            None
        }
        EngineFact::Remote(endpoint) => {
            findings.push(fail(
                "engine-remote",
                "docker engine",
                &format!("{endpoint} is not a socket of this machine"),
                "a local engine: the directories to mount are paths of this machine",
                "log in to the machine that holds the data directory and run this there",
            ));
            None
        }
        EngineFact::WrongOwner { mode, reason } => {
            findings.push(fail(
                "engine-cannot-be-owner",
                &format!("{mode} docker engine"),
                reason,
                "an engine whose containers can own the data directory",
                "use a data directory of the user who runs the engine, or a rootful engine",
            ));
            None
        }
        EngineFact::Ready {
            mode,
            address,
            user,
            userns_mode,
            version: _,
        } => Some(EngineChosen {
            mode,
            address,
            user: user.clone(),
            userns_mode: userns_mode.clone(),
        }),
        // Only a proposal is made there, and it says so.
        EngineFact::NotLookedAt(_) => Some(EngineChosen {
            mode: NOT_LOOKED_AT,
            address: NOT_LOOKED_AT,
            user: None,
            userns_mode: None,
        }),
        EngineFact::NotNeeded { user } => Some(EngineChosen {
            mode: PROCESS,
            address: PROCESS,
            user: Some(user.clone()),
            userns_mode: None,
        }),
    }
}

/// What replaces an engine where charon runs without one.
pub const PROCESS: &str = "process";

/// What replaces an engine that was not looked at.
const NOT_LOOKED_AT: &str = "not-looked-at";

/// What only Linux tells: whether charon could start here.
fn not_looked_at(request: &Request, facts: &Facts) -> Vec<Finding> {
    let EngineFact::NotLookedAt(system) = facts.engine else {
        return Vec::new();
    };
    let advice = format!(
        "{}, `charon-dkg ready` prints a line that says all of it; the others see from this one that the engine was not looked at",
        elsewhere(system)
    );
    let system = system_name(system);
    let could_not_tell = |check, subject: &str, seen: &str, expected: &str, advice: &str| Finding {
        weight: Weight::CouldNotTell,
        ..fail(check, subject, seen, expected, advice)
    };
    vec![
        could_not_tell(
            "engine-not-looked-at",
            "docker engine",
            &format!("not looked at: on {system} this program uses none"),
            "an engine that runs charon as the owner of the data directory and mounts what lies here",
            &advice,
        ),
        could_not_tell(
            "image-not-looked-at",
            "charon's image",
            "not looked at",
            "the image here, or a registry that has it, and `charon version` inside",
            "",
        ),
        could_not_tell(
            "others-not-looked-at",
            &request.data_dir.display().to_string(),
            "charon's heartbeat was looked for; containers and processes were not",
            "no other charon with this key or directory",
            "",
        ),
    ]
}

fn system_name(system: &str) -> &str {
    match system {
        "windows" => "Windows",
        "macos" => "macOS",
        other => other,
    }
}

/// Where `run` works for somebody who sits before this system.
pub fn elsewhere(system: &str) -> &'static str {
    match system {
        "windows" => "in WSL 2 (`wsl --install`), with Docker Desktop's integration for it",
        _ => "in a Linux virtual machine, or in a Linux container that has the docker socket",
    }
}

fn check_image(
    request: &Request,
    facts: &Facts,
    charon: &CharonVersion,
    findings: &mut Vec<Finding>,
) -> Option<ImageChosen> {
    let is_binary = request.charon_binary.is_some();
    let what = if is_binary { "program" } else { "image" };
    let subject = format!("{what} {}", request.image_reference(charon));
    let (expected, again) = if is_binary {
        (
            "charon's program, which the owner of the data directory can run",
            "name the program of that release of charon, for this processor",
        )
    } else {
        (
            "the image here, or a registry that has it",
            "pull the image again, or name the repository of charon's own images",
        )
    };
    match &facts.image {
        // Without an engine there is nothing to ask, which was told.
        ImageFact::Unknown if matches!(facts.engine, EngineFact::NotLookedAt(_)) => {
            Some(ImageChosen {
                run_as: request.image_reference(charon),
                pull: true,
            })
        }
        ImageFact::Unknown if !matches!(facts.engine, EngineFact::Ready { .. }) => None,
        ImageFact::Unknown => {
            findings.push(fail(
                "image-unavailable",
                &subject,
                "it was not looked for",
                "the image here, or a registry that has it",
                "run this again",
            ));
            None
        }
        ImageFact::Unavailable { reason, advice } => {
            findings.push(fail(
                "image-unavailable",
                &subject,
                reason,
                expected,
                advice,
            ));
            None
        }
        ImageFact::Pullable(digest) => Some(ImageChosen {
            run_as: format!("{}@{digest}", request.repository),
            pull: true,
        }),
        ImageFact::Present {
            run_as,
            version_output,
        } => {
            match version_output {
                Ok(output) => {
                    if let Some(finding) = version_disagrees(&subject, output, charon, is_binary) {
                        findings.push(finding);
                        return None;
                    }
                }
                Err(reason) => {
                    findings.push(fail(
                        "image-version-unknown",
                        &subject,
                        reason,
                        &format!("`charon version` to say {charon}"),
                        again,
                    ));
                    return None;
                }
            }
            Some(ImageChosen {
                run_as: run_as.clone(),
                pull: false,
            })
        }
    }
}

fn check_network(request: &Request, facts: &Facts, findings: &mut Vec<Finding>) {
    match &facts.network {
        NetworkFact::Usable | NetworkFact::NotLookedAt => {}
        NetworkFact::Unusable(reason) => findings.push(fail(
            "network-unusable",
            &format!(
                "docker network {}",
                request.network.as_deref().unwrap_or("default")
            ),
            reason,
            "a network of this engine",
            "`docker network ls` shows the networks; name one with --network, or none",
        )),
    }
}

fn check_mounts(request: &Request, facts: &Facts, findings: &mut Vec<Finding>) {
    let engine = match &facts.engine {
        EngineFact::Ready { address, .. } => format!("docker engine {address}"),
        EngineFact::Unreachable { .. }
        | EngineFact::Remote(_)
        | EngineFact::WrongOwner { .. }
        | EngineFact::NotLookedAt(_) => "docker engine".to_owned(),
        EngineFact::NotNeeded { user } => format!("charon as {user}"),
    };
    let key = request.data_dir.join(ENR_KEY_FILE);
    match &facts.mounts {
        MountFact::Same | MountFact::NotLookedAt => {}
        MountFact::Elsewhere(seen) => findings.push(fail(
            "engine-sees-other-files",
            &engine,
            seen,
            &format!("the file that lies here: {}", key.display()),
            ELSEWHERE_ADVICE,
        )),
        MountFact::Unreadable { reason, .. } if request.charon_binary.is_some() => {
            findings.push(fail(
                "key-unreadable",
                &engine,
                reason,
                "an owner of the data directory who can go there and read the key",
                &format!(
                    "`namei -l {}` shows which directory keeps that user out: let it through, or move the project",
                    quoted(&key)
                ),
            ));
        }
        MountFact::Unreadable { reason, selinux } => {
            let selinux_advice;
            let advice = if *selinux {
                selinux_advice = format!(
                    "SELinux enforces here: label the directories for containers, `{}`",
                    label_commands(&request.data_dir, &request.state_dir)
                );
                &selinux_advice
            } else {
                "find out what keeps containers from it: `dmesg` shows AppArmor denials, and a \
                 network file system has its own rules"
            };
            findings.push(fail(
                "mount-unreadable",
                &engine,
                &format!("a container with this ENR key mounted: {reason}"),
                "a container of the directory's owner that reads it",
                advice,
            ));
        }
        MountFact::Refused(reason) => findings.push(fail(
            "mount-refused",
            &engine,
            reason,
            &format!("a container with {} mounted", key.display()),
            ELSEWHERE_ADVICE,
        )),
        MountFact::TooSlow(reason) => findings.push(fail(
            "mount-refused",
            &engine,
            reason,
            &format!("a container with {} mounted", key.display()),
            "this machine or its engine is busy: run the command again when `docker ps` answers at once",
        )),
    }
}

/// What to do about an engine that has other files than this machine.
pub const ELSEWHERE_ADVICE: &str = "an engine in another mount namespace or container sees its own files. Docker \
    from snap sees only your home directory, and nothing in it whose top-level name begins with \
    a dot: move the project to a plain \
    directory in your home, or use an engine that is not from snap (`snap list docker` tells); another engine of this \
    machine is named with --host or --context";

/// What lets containers use both directories where SELinux enforces. The second may not exist yet.
fn label_commands(data_dir: &Path, state_dir: &Path) -> String {
    let (data_dir, state_dir) = (quoted(data_dir), quoted(state_dir));
    format!("mkdir -p -m 700 {state_dir} && chcon -R -t container_file_t {data_dir} {state_dir}")
}

/// One relay that answers is enough to meet; the others are only worth knowing.
fn check_relays(facts: &Facts, findings: &mut Vec<Finding>) {
    let any_answers = facts
        .relays
        .iter()
        .any(|relay| relay.answer == RelayAnswer::Answers);
    for relay in &facts.relays {
        let subject = format!("relay {}", relay.url);
        match &relay.answer {
            RelayAnswer::Answers => {}
            RelayAnswer::Silent(reason) => findings.push(Finding {
                weight: if any_answers {
                    Weight::Note
                } else {
                    Weight::Fail
                },
                ..fail(
                    "relay-does-not-answer",
                    &subject,
                    reason,
                    "an answer over the network that the ceremony will use",
                    "ask the coordinator whether this is the relay of this ceremony, and check this machine's network",
                )
            }),
            RelayAnswer::NotAsked(reason) => findings.push(Finding {
                weight: Weight::CouldNotTell,
                ..fail(
                    "relay-not-asked",
                    &subject,
                    reason,
                    "a container of this program that asks it",
                    "see what keeps the engine from running such a container",
                )
            }),
        }
    }
}

/// Whether what `charon version` printed inside an image is the release of its tag.
///
/// Builds from source print `v0.16-rc` or `v1.10` without a patch number; peers compare
/// major.minor only, so such an output agrees where these two do.
fn says_version(output: &str, charon: &CharonVersion) -> bool {
    version_in(output).is_some_and(|said| {
        said.same_line(charon) && said.patch.is_none_or(|patch| Some(patch) == charon.patch)
    })
}

fn version_in(output: &str) -> Option<CharonVersion> {
    output.split_whitespace().find_map(|word| word.parse().ok())
}

fn version_disagrees(
    subject: &str,
    output: &str,
    charon: &CharonVersion,
    is_binary: bool,
) -> Option<Finding> {
    (!says_version(output, charon)).then(|| {
        fail(
            "image-version-differs",
            subject,
            &format!(
                "`charon version` inside says {}",
                version_in(output).map_or_else(
                    || "nothing that is a version".to_owned(),
                    |said| said.to_string()
                )
            ),
            &charon.to_string(),
            if is_binary {
                "name the program of that release of charon"
            } else {
                "pull the official image again; this one is mislabelled"
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_an_execution_client_is_not_shown() {
        let args = ["dkg", "--a=b", EXECUTION_CLIENT_FLAG, "https://key", "--c"].map(str::to_owned);
        let shown = ["dkg", "--a=b", EXECUTION_CLIENT_FLAG, "[…]", "--c"];
        assert_eq!(shown_args(&args), shown);
        let joined = [format!("{EXECUTION_CLIENT_FLAG}=https://x/?k=key")];
        assert_eq!(
            shown_args(&joined),
            [format!("{EXECUTION_CLIENT_FLAG}=[…]")]
        );
    }
}
