//! A receipt: one line of text in which a node states, signed with its ENR key, what it holds after a ceremony.
//!
//! Operators paste receipts into a chat. Anyone who has the cluster lock can check them offline (see
//! [`crate::confirm`]); nothing in them is secret. The format is described in `docs/receipts.md`, together with a
//! test vector.
//!

mod wire;

use std::fmt;

use sha2::{Digest, Sha256};

use crate::line::{self, Broken, Signed, StatementError, TooMuch, check_node, check_version};
use crate::verify::Verified;
use charon_files::cluster::names::FileDigest;
use charon_files::cluster::{CharonVersion, DefinitionHash, LockHash, NodeIndex};

/// Deposit files that have a tag of their own in a receipt. A usual cluster has one or two; beyond these the digest over
/// all of them still tells that they differ, but not which.
pub const MAX_TAGS: usize = 8;

/// Longest receipt in characters.
pub const MAX_RECEIPT_CHARS: usize = line::max_chars::<Statement>();

const _: () = assert!(MAX_RECEIPT_CHARS <= line::MAX_CHARS);

const FILE_DOMAIN: &[u8] = b"charon-dkg deposit file\n";
const FILES_DOMAIN: &[u8] = b"charon-dkg deposit files\n";

/// What a node states about what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Whose statement it is.
    pub node: NodeIndex,
    /// Number of operators of the cluster.
    pub operators: u16,
    /// Hash of the cluster lock, recomputed by the node.
    pub lock_hash: LockHash,
    /// Hash of the cluster definition, recomputed by the node.
    pub definition_hash: DefinitionHash,
    /// Keystores that hold this node's share of a validator and that their passwords open.
    pub keystores: u32,
    /// The deposit data files.
    pub deposit_files: DepositFiles,
    /// The image that ran the ceremony; `None` if this program did not run it.
    pub charon_image: Option<CharonImage>,
    /// The release that ran the ceremony; `None` if this program did not run it.
    pub charon_version: Option<CharonVersion>,
    /// Version of the program that verified and signed, such as `0.1.0`.
    pub program_version: String,
    /// When it was signed by the node's clock, in seconds of Unix time.
    pub time: u64,
}

/// The deposit data files of a node, by content and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepositFiles {
    count: u16,
    digest: [u8; 32],
    tags: Vec<[u8; 4]>,
}

/// The image or the program that ran charon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CharonImage {
    /// SHA-256 of the manifest in a registry: the same for every operator who pulled it.
    Manifest([u8; 32]),
    /// SHA-256 id of an image that was built or loaded locally; differs between kinds of processors.
    Local([u8; 32]),
    /// SHA-256 of charon's program, which ran without an image; differs between kinds of processors.
    Binary([u8; 32]),
}

/// What comes before the digest of a program where an image would be named.
const BINARY: &str = "binary:";

/// What a ceremony of this program was run with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RanWith {
    /// The image.
    pub image: Option<CharonImage>,
    /// charon's release.
    pub version: CharonVersion,
}

/// A statement and its signature. The signature is well formed; who made it can only be told with the
/// cluster lock at hand, see [`Signed::is_signed_by`].
pub type Receipt = Signed<Statement>;

/// Every receipt in a text, and what only looks like one; see [`line::find`].
///
/// # Errors
/// If the text is too long, or there are too many.
pub fn find_receipts(text: &str) -> Result<Vec<Result<Receipt, Broken>>, TooMuch> {
    line::find(text)
}

impl Statement {
    /// What this proof entitles a node to state. `time` is in seconds of Unix time.
    ///
    /// # Errors
    /// If a count or a version does not fit the format.
    pub fn of(
        verified: &Verified,
        ran_with: Option<&RanWith>,
        program_version: &str,
        time: u64,
    ) -> Result<Self, StatementError> {
        let keystores = verified.keystore_count();
        let statement = Self {
            node: verified.node_index(),
            operators: u16::try_from(verified.operator_count()).map_err(|_| {
                StatementError::Node {
                    node: verified.node_index().position(),
                    operators: verified.operator_count(),
                }
            })?,
            lock_hash: verified.lock_hash(),
            definition_hash: verified.definition_hash(),
            keystores: u32::try_from(keystores).map_err(|_| StatementError::TooMany {
                what: "keystores",
                seen: keystores,
                most: usize::try_from(u32::MAX).unwrap_or(usize::MAX),
            })?,
            deposit_files: DepositFiles::of(&verified.deposit_data()),
            charon_image: ran_with.and_then(|ran| ran.image),
            charon_version: ran_with.map(|ran| ran.version.clone()),
            program_version: program_version.to_owned(),
            time,
        };
        line::Stated::check(&statement)?;
        Ok(statement)
    }

    /// Whether both say the same of what the node holds: everything but the time and the program's version, which differ
    /// between two receipts for the same files.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let timeless = |statement: &Self| Self {
            program_version: String::new(),
            time: 0,
            ..statement.clone()
        };
        timeless(self) == timeless(other)
    }
}

/// Only what is read back as the same version has one spelling.
pub(crate) fn check_charon(version: &CharonVersion) -> Result<(), StatementError> {
    let text = version.to_string();
    check_version(&text)?;
    if text.parse().as_ref() == Ok(version) {
        Ok(())
    } else {
        Err(StatementError::Version(text))
    }
}

impl DepositFiles {
    /// The files of a node, in whatever order. A cluster has at most 256, one per amount; above 65535 the count stands
    /// still.
    pub fn of(files: &[FileDigest]) -> Self {
        let mut files: Vec<&FileDigest> = files.iter().collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let leaves: Vec<[u8; 32]> = files.into_iter().map(leaf).collect();
        let digest = leaves
            .iter()
            .fold(Sha256::new_with_prefix(FILES_DOMAIN), Digest::chain_update)
            .finalize();
        Self {
            count: u16::try_from(leaves.len()).unwrap_or(u16::MAX),
            digest: digest.into(),
            tags: leaves.iter().take(MAX_TAGS).map(tag).collect(),
        }
    }

    /// How many there are.
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// SHA-256 over names and contents of all of them; see `docs/receipts.md`.
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Those of our files that the node of this receipt does not have alike, as far as the tags tell.
    pub fn names_of_others<'a>(&self, ours: &'a [FileDigest]) -> Vec<&'a str> {
        let mut ours: Vec<&FileDigest> = ours.iter().collect();
        ours.sort_by(|a, b| a.path.cmp(&b.path));
        ours.into_iter()
            .take(MAX_TAGS)
            .filter(|file| !self.tags.contains(&tag(&leaf(file))))
            .map(|file| file.path.as_str())
            .collect()
    }
}

/// The name goes last, so that no length is needed to keep it apart from the digest.
fn leaf(file: &FileDigest) -> [u8; 32] {
    Sha256::new_with_prefix(FILE_DOMAIN)
        .chain_update(file.sha256)
        .chain_update(&file.path)
        .finalize()
        .into()
}

const fn tag(leaf: &[u8; 32]) -> [u8; 4] {
    [leaf[0], leaf[1], leaf[2], leaf[3]]
}

impl CharonImage {
    /// What is run where it is no image: `binary:sha256:…`.
    pub fn binary_reference(digest: &[u8; 32]) -> String {
        format!("{BINARY}sha256:{}", hex::encode(digest))
    }

    /// Reads an image as a container is made from it: `repository@sha256:…`, or `sha256:…` for one that is only local; or a
    /// program, `binary:sha256:…`.
    pub fn parse(reference: &str) -> Option<Self> {
        let digest = |text: &str| {
            let mut bytes = [0; 32];
            hex::decode_to_slice(text.strip_prefix("sha256:")?, &mut bytes).ok()?;
            Some(bytes)
        };
        if let Some(text) = reference.strip_prefix(BINARY) {
            return digest(text).map(Self::Binary);
        }
        match reference.rsplit_once('@') {
            Some((_, text)) => digest(text).map(Self::Manifest),
            None => digest(reference).map(Self::Local),
        }
    }
}

/// What is noted where charon ran without an image.
pub(crate) fn program_seen(digest: &[u8; 32]) -> String {
    format!("charon's program alone, SHA-256 {}", hex::encode(digest))
}

/// What a program is to be.
pub(crate) const PROGRAM_EXPECTED: &str =
    "an image from a registry, or the program of charon's own release, by its SHA-256";

impl fmt::Display for CharonImage {
    /// `sha256:` and 64 hexadecimal digits; followed by `(local)` where no registry knows it, and `(binary)` for a program.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CharonImage::Manifest(digest) => write!(f, "sha256:{}", hex::encode(digest)),
            CharonImage::Local(id) => write!(f, "sha256:{} (local)", hex::encode(id)),
            CharonImage::Binary(digest) => write!(f, "sha256:{} (binary)", hex::encode(digest)),
        }
    }
}
