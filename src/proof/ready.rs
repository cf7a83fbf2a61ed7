//! A ready line: one line of text in which a node states, signed with its ENR key, that its preflight passed and with what
//! it is about to start the ceremony.
//!
//! Operators paste ready lines into a chat before a ceremony, as they paste [receipts](crate::receipt) after it. Anyone who
//! has the definition can check them offline (see [`crate::readiness`]); nothing in them is secret. The format is
//! described in `docs/ready.md`.

use sha2::{Digest, Sha256};

use crate::line::{
    self, Broken, FORMAT, LineKind, MAX_VERSION_BYTES, Malformed, OVERHEAD_BYTES, Reader, Signed,
    Stated, StatementError, TooMuch, check_node, check_version, put_text,
};
use crate::receipt::{CharonImage, check_charon};
use charon_files::cluster::{CharonVersion, DefinitionHash, NodeIndex};

/// Longest list that a line contains in full, in bytes.
const MAX_LIST_BYTES: usize = 50;
/// Bytes of the digest that stands for a longer one, behind its beginning.
const LIST_DIGEST_BYTES: usize = 16;
const LIST_DOMAIN: &[u8] = b"charon-dkg ready list\n";

/// Longest ready line in characters.
pub const MAX_READY_CHARS: usize = line::max_chars::<Statement>();

const _: () = assert!(MAX_READY_CHARS <= line::MAX_CHARS);

/// With what a node is about to start a ceremony.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Whose statement it is.
    pub node: NodeIndex,
    /// Number of operators of the definition.
    pub operators: u16,
    /// Hash of the cluster definition, recomputed by the node.
    pub definition_hash: DefinitionHash,
    /// When it was signed by the node's clock, in seconds of Unix time.
    pub time: u64,
    /// The release that will run.
    pub charon_version: CharonVersion,
    /// Version of the program that looked and signed, such as `0.1.0`.
    pub program_version: String,
    /// The relays that will be used, charon's own ones by name.
    pub relays: List,
    /// The flags of charon that every operator must give alike.
    pub flags: List,
    /// With what charon will run; `None` where that was not looked at, as on Windows and macOS.
    pub engine: Option<SeenEngine>,
    /// The processor that the engine runs on, or else this program.
    pub processor: Processor,
    /// Whether the ENR key has a backup that was tested.
    pub is_backed_up: bool,
}

/// With what a node will run charon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenEngine {
    /// The docker engine, or what is in its place.
    pub kind: EngineKind,
    /// The image that will run.
    pub charon_image: CharonImage,
}

/// The format of a line without a word of engine and image: a program that knows the first format alone cannot take it for
/// a line of a node whose engine was looked at.
const WITHOUT_ENGINE: u8 = FORMAT + 1;

/// A ready line: the statement and its signature.
pub type ReadyLine = Signed<Statement>;

/// Every ready line in a text, and what only looks like one; see [`line::find`].
///
/// # Errors
/// If the text is too long, or there are too many.
pub fn find_ready_lines(text: &str) -> Result<Vec<Result<ReadyLine, Broken>>, TooMuch> {
    line::find(text)
}

/// Words that all operators must have alike, whatever their order. A long list is cut, and a digest tells whether two are
/// the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct List {
    /// Printable ASCII.
    text: String,
    /// Of everything, if the text is only the beginning.
    digest: Option<[u8; LIST_DIGEST_BYTES]>,
}

impl List {
    /// The list of these words.
    pub fn of<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut words: Vec<&str> = words.into_iter().collect();
        words.sort_unstable();
        words.dedup();
        let whole = words.join(" ");
        if whole.len() <= MAX_LIST_BYTES && is_plain(&whole) {
            return Self {
                text: whole,
                digest: None,
            };
        }
        let shown = whole
            .chars()
            .map(|c| if is_plain_char(c) { c } else { '?' })
            .take(MAX_LIST_BYTES - LIST_DIGEST_BYTES);
        let full = Sha256::new_with_prefix(LIST_DOMAIN)
            .chain_update(&whole)
            .finalize();
        let mut digest = [0; LIST_DIGEST_BYTES];
        digest.copy_from_slice(&full[..LIST_DIGEST_BYTES]);
        Self {
            text: shown.collect(),
            digest: Some(digest),
        }
    }

    /// Whether there are no words.
    pub const fn is_empty(&self) -> bool {
        self.text.is_empty() && self.digest.is_none()
    }

    /// For people: `none`, the words, or their beginning and a part of the digest of all.
    pub fn shown(&self) -> String {
        match self.digest {
            None if self.text.is_empty() => "none".to_owned(),
            None => self.text.clone(),
            Some([a, b, c, d, ..]) => {
                format!("{}… (digest {})", self.text, hex::encode([a, b, c, d]))
            }
        }
    }

    fn most_bytes(&self) -> usize {
        match self.digest {
            None => MAX_LIST_BYTES,
            Some(_) => MAX_LIST_BYTES - LIST_DIGEST_BYTES,
        }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(self.digest.is_some()));
        put_text(bytes, &self.text);
        bytes.extend(self.digest.iter().flatten());
    }

    fn read(rest: &mut Reader<'_>) -> Result<Self, Malformed> {
        let is_cut = flag(rest)?;
        let text = rest.text()?.to_owned();
        let digest = if is_cut { Some(rest.array()?) } else { None };
        let list = Self { text, digest };
        if list.text.len() > list.most_bytes() || !is_plain(&list.text) {
            return Err(Malformed("a list"));
        }
        Ok(list)
    }
}

/// Nothing that a terminal or a reader could take for something else.
fn is_plain(text: &str) -> bool {
    text.chars().all(is_plain_char)
}

const fn is_plain_char(c: char) -> bool {
    matches!(c, ' '..='~')
}

/// How a docker engine runs, or what is in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// As root, users as they are.
    Rootful,
    /// As an ordinary user.
    Rootless,
    /// As root, with other users inside.
    UsernsRemap,
    /// Docker Desktop.
    DockerDesktop,
    /// Podman as root.
    Podman,
    /// Podman as an ordinary user.
    PodmanRootless,
    /// No engine: charon's program by itself.
    Process,
}

impl EngineKind {
    /// Every kind, in the order of their numbers in a line, from 0.
    const ALL: [EngineKind; 7] = [
        EngineKind::Rootful,
        EngineKind::Rootless,
        EngineKind::UsernsRemap,
        EngineKind::DockerDesktop,
        EngineKind::Podman,
        EngineKind::PodmanRootless,
        EngineKind::Process,
    ];

    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            EngineKind::Rootful => "rootful",
            EngineKind::Rootless => "rootless",
            EngineKind::UsernsRemap => "userns-remap",
            EngineKind::DockerDesktop => "docker-desktop",
            EngineKind::Podman => "podman",
            EngineKind::PodmanRootless => "podman-rootless",
            EngineKind::Process => "process",
        }
    }

    /// The kind with this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A kind of processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processor {
    /// One that charon has no image for.
    Other,
    /// x86-64.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Processor {
    /// Every kind, in the order of their numbers in a line, from 0.
    const ALL: [Processor; 3] = [Processor::Other, Processor::Amd64, Processor::Arm64];

    /// As image indexes name it.
    pub const fn name(self) -> &'static str {
        match self {
            Processor::Other => "other",
            Processor::Amd64 => "amd64",
            Processor::Arm64 => "arm64",
        }
    }

    /// The kind with this name.
    pub fn by_name(name: &str) -> Self {
        let named = Self::ALL.into_iter().find(|kind| kind.name() == name);
        named.unwrap_or(Processor::Other)
    }
}

/// Hash, time, and one byte each for processor and backup.
const FIXED_BYTES: usize = 32 + 8 + 2;
/// The image, and one byte for the engine.
const ENGINE_BYTES: usize = 33 + 1;

impl Stated for Statement {
    const KIND: LineKind = LineKind::Ready;
    /// Versions of two bytes (`v0`) and one byte, empty lists.
    const MIN_BYTES: usize = OVERHEAD_BYTES + FIXED_BYTES + 3 + 2 + 2 * 2;
    /// As much of everything as there may be.
    const MAX_BYTES: usize = OVERHEAD_BYTES
        + FIXED_BYTES
        + ENGINE_BYTES
        + 2 * (1 + MAX_VERSION_BYTES)
        + 2 * (2 + MAX_LIST_BYTES);

    fn node(&self) -> NodeIndex {
        self.node
    }

    fn operators(&self) -> u16 {
        self.operators
    }

    fn time(&self) -> u64 {
        self.time
    }

    fn format(&self) -> u8 {
        match self.engine {
            Some(_) => FORMAT,
            None => WITHOUT_ENGINE,
        }
    }

    fn check(&self) -> Result<(), StatementError> {
        check_node(self.node, self.operators)?;
        check_charon(&self.charon_version)?;
        check_version(&self.program_version)
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.definition_hash.as_bytes());
        bytes.extend(self.time.to_be_bytes());
        if let Some(engine) = &self.engine {
            CharonImage::write(Some(&engine.charon_image), bytes);
        }
        put_text(bytes, &self.charon_version.to_string());
        put_text(bytes, &self.program_version);
        self.relays.write(bytes);
        self.flags.write(bytes);
        if let Some(engine) = &self.engine {
            bytes.push(number_of(&EngineKind::ALL, engine.kind));
        }
        bytes.push(number_of(&Processor::ALL, self.processor));
        bytes.push(u8::from(self.is_backed_up));
    }

    fn read(
        format: u8,
        node: NodeIndex,
        operators: u16,
        rest: &mut Reader<'_>,
    ) -> Result<Self, Malformed> {
        let has_engine = format != WITHOUT_ENGINE;
        let definition_hash = DefinitionHash::new(rest.array()?);
        let time = u64::from_be_bytes(rest.array()?);
        let image = if has_engine {
            Some(CharonImage::read(rest)?.ok_or(Malformed("its image"))?)
        } else {
            None
        };
        let charon_version = rest.text()?.parse();
        let program_version = rest.text()?.to_owned();
        let relays = List::read(rest)?;
        let flags = List::read(rest)?;
        let engine = match image {
            Some(charon_image) => Some(SeenEngine {
                kind: by_number(&EngineKind::ALL, rest)?,
                charon_image,
            }),
            None => None,
        };
        Ok(Self {
            node,
            operators,
            definition_hash,
            time,
            charon_version: charon_version.map_err(|_| Malformed("its version of charon"))?,
            program_version,
            relays,
            flags,
            engine,
            processor: by_number(&Processor::ALL, rest)?,
            is_backed_up: flag(rest)?,
        })
    }
}

fn number_of<T: PartialEq>(all: &[T], one: T) -> u8 {
    let position = all.iter().position(|other| *other == one);
    position
        .and_then(|position| u8::try_from(position).ok())
        .unwrap_or(u8::MAX)
}

fn by_number<T: Copy>(all: &[T], rest: &mut Reader<'_>) -> Result<T, Malformed> {
    let [number] = rest.array()?;
    let one = all.get(usize::from(number)).copied();
    one.ok_or(Malformed("its kind of machine"))
}

fn flag(rest: &mut Reader<'_>) -> Result<bool, Malformed> {
    match rest.array()? {
        [0] => Ok(false),
        [1] => Ok(true),
        [_] => Err(Malformed("a yes or no")),
    }
}
