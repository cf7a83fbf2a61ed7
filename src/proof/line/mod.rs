//! A signed line: one line of text in which a node states something, signed with its ENR key, and which survives a chat.
//!
//! There are three kinds, [`crate::receipt`], [`crate::ready`] and [`crate::stopped`]. They share the armour, the header, the checksum and how
//! they are signed; each kind has its own beginning, and its own domain in checksum and signature, so that a line of one
//! kind is never taken for one of the other, not even if somebody writes another beginning before it.
//!
//! A line has exactly one sequence of bytes: integers of fixed width, no field that could be written in two ways, a
//! signature with low S and without V. So nobody but the node itself can make another valid line out of one.

mod text;
mod wire;

use std::fmt;

use sha2::{Digest, Sha256};

use charon_files::cluster::NodeIndex;
use charon_files::cluster::definition::MAX_OPERATORS;
use charon_files::keys::k1::{self, EnrKey, EnrPublicKey};

pub use text::{MAX_TEXT_BYTES, find};
pub use wire::{FORMAT, Malformed, OVERHEAD_BYTES, Reader, put_text};

/// Longest version of charon or of this program in a line, in bytes. The longest so far is `v1.11.0-rc3`.
pub const MAX_VERSION_BYTES: usize = 24;

/// Longest line of any kind in characters: short enough for every chat.
pub const MAX_CHARS: usize = 500;

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LineKind {
    /// What a node holds after the ceremony.
    Receipt,
    /// With what a node is about to start it.
    Ready,
    /// That a node does not run for a cluster any more.
    Stopped,
}

impl LineKind {
    /// Every kind.
    pub const ALL: [LineKind; 3] = [LineKind::Receipt, LineKind::Ready, LineKind::Stopped];

    /// How every line of this kind begins, in whatever case. The 1 is not in the alphabet, so this never occurs inside
    /// a line.
    pub const fn beginning(self) -> &'static str {
        match self {
            LineKind::Receipt => "dkgreceipt1",
            LineKind::Ready => "dkgready1",
            LineKind::Stopped => "dkgstopped1",
        }
    }

    /// In words: `receipt`.
    pub const fn name(self) -> &'static str {
        match self {
            LineKind::Receipt => "receipt",
            LineKind::Ready => "ready line",
            LineKind::Stopped => "stopped line",
        }
    }

    /// The newest format that this program reads; it reads every older one too.
    pub const fn newest_format(self) -> u8 {
        match self {
            LineKind::Ready => FORMAT + 1,
            LineKind::Receipt | LineKind::Stopped => FORMAT,
        }
    }

    const fn reads(self, format: u8) -> bool {
        FORMAT <= format && format <= self.newest_format()
    }

    const fn checksum_domain(self) -> &'static [u8] {
        match self {
            LineKind::Receipt => b"charon-dkg receipt checksum\n",
            LineKind::Ready => b"charon-dkg ready checksum\n",
            LineKind::Stopped => b"charon-dkg stopped checksum\n",
        }
    }

    /// Separates the signature from everything else that ENR keys sign: lock hashes, records, libp2p messages, and lines of
    /// the other kinds.
    const fn signature_domain(self) -> &'static [u8] {
        match self {
            LineKind::Receipt => b"charon-dkg receipt\n",
            LineKind::Ready => b"charon-dkg ready\n",
            LineKind::Stopped => b"charon-dkg stopped\n",
        }
    }
}

/// What a line of some kind says.
pub trait Stated: Sized + Clone + PartialEq {
    /// Which kind.
    const KIND: LineKind;
    /// Fewest bytes of such a line, [`OVERHEAD_BYTES`] included.
    const MIN_BYTES: usize;
    /// Most bytes of such a line.
    const MAX_BYTES: usize;

    /// Whose statement it is.
    fn node(&self) -> NodeIndex;

    /// Number of operators of the cluster.
    fn operators(&self) -> u16;

    /// When it was signed by the node's clock, in seconds of Unix time.
    fn time(&self) -> u64;

    /// The format that it is written in: the oldest that can say it.
    fn format(&self) -> u8 {
        FORMAT
    }

    /// Whether it fits the format.
    ///
    /// # Errors
    /// If it does not.
    fn check(&self) -> Result<(), StatementError>;

    /// Everything but node and number of operators.
    fn write(&self, bytes: &mut Vec<u8>);

    /// What [`Stated::write`] wrote.
    ///
    /// # Errors
    /// If these are other bytes.
    fn read(
        format: u8,
        node: NodeIndex,
        operators: u16,
        rest: &mut Reader<'_>,
    ) -> Result<Self, Malformed>;
}

/// A statement that does not fit into a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// The node is not one of the operators, or there are more than a cluster can have.
    #[error("node {node} of {operators} operators, expected one of at most {MAX_OPERATORS}")]
    Node {
        /// Position of the node, from 0.
        node: usize,
        /// Number of operators.
        operators: usize,
    },
    /// More keystores than fit the format.
    #[error("{seen} {what}, expected at most {most}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        seen: usize,
        /// How many fit.
        most: usize,
    },
    /// A version that is no short text of letters, digits, `.`, `-` and `+`.
    #[error(
        "version {0:?}, expected 1 to {MAX_VERSION_BYTES} letters, digits, dots, hyphens and plus signs"
    )]
    Version(String),
}

/// What every kind checks: the node is one of the operators.
///
/// # Errors
/// [`StatementError::Node`].
pub fn check_node(node: NodeIndex, operators: u16) -> Result<(), StatementError> {
    let operators = usize::from(operators);
    if operators > MAX_OPERATORS || node.position() >= operators {
        return Err(StatementError::Node {
            node: node.position(),
            operators,
        });
    }
    Ok(())
}

/// Whether a text can stand for a version in a line.
///
/// # Errors
/// [`StatementError::Version`].
pub fn check_version(text: &str) -> Result<(), StatementError> {
    let is_version = (1..=MAX_VERSION_BYTES).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-+".contains(&byte));
    if is_version {
        Ok(())
    } else {
        Err(StatementError::Version(text.to_owned()))
    }
}

/// What is wrong with a text that should be a line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LineError {
    /// The text has no line, or more than one.
    NotALine,
    /// Characters are missing, mostly at the end.
    Clipped {
        /// Characters that are here, beginning and end included.
        seen: usize,
        /// Characters that it should have, if enough is here to tell.
        expected: Option<usize>,
    },
    /// There are more characters than there should be.
    TooLong {
        /// Characters that are here, beginning and end included.
        seen: usize,
        /// Characters that it should have.
        expected: usize,
    },
    /// A letter or digit that no line contains.
    Stray {
        /// Which one, counted from 1 at the beginning of the line.
        position: usize,
        /// The character.
        character: char,
    },
    /// The checksum is wrong: at least one character is not what it was.
    Altered,
    /// A complete line of a format that this program does not know.
    OtherFormat(u8),
    /// Complete and unaltered, and yet not what this program writes.
    Malformed(&'static str),
}

impl LineError {
    /// What people read of it.
    pub fn text(&self, kind: LineKind) -> String {
        let name = kind.name();
        match self {
            LineError::NotALine => {
                format!(
                    "no {name}; one begins with {} and ends with 1",
                    kind.beginning()
                )
            }
            LineError::Clipped { seen, expected } => {
                let of = expected.map_or_else(String::new, |count| format!(" of {count}"));
                format!("a clipped {name}: only {seen}{of} characters are here")
            }
            LineError::TooLong { seen, expected } => {
                format!("a {name} with {seen} characters, expected {expected}")
            }
            LineError::Stray {
                position,
                character,
            } => format!(
                "an altered {name}: character {position} is {character:?}, which no {name} contains"
            ),
            LineError::Altered => {
                format!("an altered {name}: at least one character is not what it was")
            }
            LineError::OtherFormat(format) => {
                format!(
                    "a {name} of format {format}; this program reads none newer than format {}",
                    kind.newest_format()
                )
            }
            LineError::Malformed(what) => {
                format!("not a {name} as this program writes it: {what} is wrong")
            }
        }
    }
}

/// Something in a text that begins like a line but is not one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// What it begins like.
    pub kind: LineKind,
    /// The line of the text on which it begins, counted from 1.
    pub line: usize,
    /// The node that it claims to be of, and the number of operators; never to be relied on.
    pub claim: Option<(NodeIndex, usize)>,
    /// What is wrong.
    pub error: LineError,
}

/// A text that is not searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// Longer than [`MAX_TEXT_BYTES`].
    #[error("a text of {0} bytes, expected at most {MAX_TEXT_BYTES}")]
    Text(usize),
    /// More lines than all operators of the largest cluster write.
    #[error("more than {} {}s in one text", text::MAX_FOUND, .0.name())]
    Lines(LineKind),
}

/// A statement and its signature. The signature is well formed; who made it can only be told with the
/// operators' keys at hand, see [`Signed::is_signed_by`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<S> {
    statement: S,
    signature: [u8; 64],
}

impl<S: Stated> Signed<S> {
    /// Signs a statement. The same statement always gives the same line (RFC 6979).
    ///
    /// # Errors
    /// If the statement does not fit the format.
    pub fn sign(statement: S, key: &EnrKey) -> Result<Self, StatementError> {
        statement.check()?;
        let mut signature = [0; 64];
        signature.copy_from_slice(&key.sign_digest(&signed_digest(&statement))[..64]);
        Ok(Self {
            statement,
            signature,
        })
    }

    /// Reads a text that is one line of this kind and nothing else that looks like one.
    ///
    /// # Errors
    /// [`LineError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, LineError> {
        let found = find(text).map_err(|_: TooMuch| LineError::NotALine)?;
        let mut found = found.into_iter();
        match (found.next(), found.next()) {
            (Some(Ok(line)), None) => Ok(line),
            (Some(Err(broken)), None) => Err(broken.error),
            (None | Some(_), _) => Err(LineError::NotALine),
        }
    }

    /// What is stated.
    pub const fn statement(&self) -> &S {
        &self.statement
    }

    /// R ‖ S, S in the lower half.
    pub const fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// Whether the owner of this key made the statement.
    pub fn is_signed_by(&self, key: &EnrPublicKey) -> bool {
        k1::verify(key, &signed_digest(&self.statement), &self.signature)
    }

    /// The keys that could have made the signature: exactly one of them did, if anybody did.
    pub fn possible_signers(&self) -> impl Iterator<Item = EnrPublicKey> + use<S> {
        let digest = signed_digest(&self.statement);
        let mut signature = [0; 65];
        signature[..64].copy_from_slice(&self.signature);
        [0, 1].into_iter().filter_map(move |v| {
            signature[64] = v;
            k1::recover(&digest, &signature).map(|recovered| recovered.public_key())
        })
    }
}

impl<S: Stated> fmt::Display for Signed<S> {
    /// The line to paste, without a line end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = wire::encode(&self.statement, &self.signature);
        f.write_str(&text::armour(S::KIND, &bytes))
    }
}

/// What the ENR key signs.
fn signed_digest<S: Stated>(statement: &S) -> [u8; 32] {
    Sha256::new_with_prefix(S::KIND.signature_domain())
        .chain_update(wire::signed_part(statement))
        .finalize()
        .into()
}

/// Characters of the longest line of a kind.
pub const fn max_chars<S: Stated>() -> usize {
    S::KIND.beginning().len() + text::chars_for(S::MAX_BYTES) + 1
}
