//! The bytes of a line: a header, what is stated, the signature, a checksum. Whatever is read is written back as the same
//! bytes.

use sha2::{Digest, Sha256};

use charon_files::cluster::NodeIndex;
use charon_files::keys::k1;

use super::{LineKind, Signed, Stated};

/// The format of every kind of line that has no newer one.
pub const FORMAT: u8 = 1;

/// Format and length: the same in every format to come.
pub(super) const HEADER_BYTES: usize = 3;
/// The header, the node and the number of operators: as much as tells whose line was clipped.
pub(super) const CLAIM_BYTES: usize = 7;

const SIGNATURE_BYTES: usize = 64;
/// The last bytes in every format to come. They tell accidents apart from forgeries, no more.
const CHECKSUM_BYTES: usize = 4;

/// Bytes around what a kind writes of itself.
pub const OVERHEAD_BYTES: usize = CLAIM_BYTES + SIGNATURE_BYTES + CHECKSUM_BYTES;

/// What is wrong with bytes whose checksum is right: their writer follows other rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

fn checksum(kind: LineKind, bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = Sha256::new_with_prefix(kind.checksum_domain())
        .chain_update(bytes)
        .finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

/// Whether the last bytes are the checksum of those before, in whatever format.
pub(super) fn checksum_is_right(kind: LineKind, bytes: &[u8]) -> bool {
    bytes
        .split_last_chunk::<CHECKSUM_BYTES>()
        .is_some_and(|(content, stated)| checksum(kind, content) == *stated)
}

/// Everything before the signature.
pub(super) fn signed_part<S: Stated>(statement: &S) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(S::MAX_BYTES);
    bytes.extend([statement.format(), 0, 0]);
    // A checked statement has a node below 256; any other is refused before it is signed.
    let node = u16::try_from(statement.node().position()).unwrap_or(u16::MAX);
    bytes.extend(node.to_be_bytes());
    bytes.extend(statement.operators().to_be_bytes());
    statement.write(&mut bytes);
    let length = bytes.len() + SIGNATURE_BYTES + CHECKSUM_BYTES;
    let length = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    if let Some(place) = bytes.get_mut(1..HEADER_BYTES) {
        place.copy_from_slice(&length);
    }
    bytes
}

/// A short text behind its length in one byte.
pub fn put_text(bytes: &mut Vec<u8>, text: &str) {
    // A checked statement has texts of few bytes.
    bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    bytes.extend(text.bytes());
}

pub(super) fn encode<S: Stated>(statement: &S, signature: &[u8; SIGNATURE_BYTES]) -> Vec<u8> {
    let mut bytes = signed_part(statement);
    bytes.extend(signature);
    bytes.extend(checksum(S::KIND, &bytes));
    bytes
}

/// Format and length in bytes.
pub(super) fn header(bytes: &[u8]) -> Option<(u8, usize)> {
    let [format, high, low] = *bytes.first_chunk::<HEADER_BYTES>()?;
    Some((format, usize::from(u16::from_be_bytes([high, low]))))
}

/// Node and number of operators, from as few bytes as needed.
pub(super) fn claim(kind: LineKind, bytes: &[u8]) -> Option<(NodeIndex, usize)> {
    let [format, _, _, high, low, count_high, count_low] = *bytes.first_chunk::<CLAIM_BYTES>()?;
    if !kind.reads(format) {
        return None;
    }
    let node = usize::from(u16::from_be_bytes([high, low]));
    let operators = usize::from(u16::from_be_bytes([count_high, count_low]));
    (node < operators).then_some((NodeIndex::new(node), operators))
}

/// Reads bytes of a format that is known, whose length and checksum are right.
pub(super) fn decode<S: Stated>(bytes: &[u8]) -> Result<Signed<S>, Malformed> {
    let mut rest = Reader(bytes);
    let [format] = rest.array()?;
    let length = rest.u16()?;
    if !S::KIND.reads(format) || usize::from(length) != bytes.len() {
        return Err(Malformed("its header"));
    }
    let node = NodeIndex::new(usize::from(rest.u16()?));
    let operators = rest.u16()?;
    let statement = S::read(format, node, operators, &mut rest)?;
    let signature: [u8; SIGNATURE_BYTES] = rest.array()?;
    let _checked_before: [u8; CHECKSUM_BYTES] = rest.array()?;
    if !rest.0.is_empty() {
        return Err(Malformed("its length"));
    }
    if !k1::is_canonical(&signature) {
        return Err(Malformed("its signature"));
    }
    statement
        .check()
        .map_err(|_| Malformed("its node or a version"))?;
    // Whatever slipped through above has a second spelling, and that is refused here.
    if encode(&statement, &signature) != bytes {
        return Err(Malformed("the way it is written"));
    }
    Ok(Signed {
        statement,
        signature,
    })
}

/// The bytes that were not read yet.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next bytes.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(Malformed("its length"))?;
        self.0 = rest;
        Ok(*taken)
    }

    /// The next number of two bytes.
    ///
    /// # Errors
    /// If there are fewer bytes.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// What [`put_text`] wrote.
    ///
    /// # Errors
    /// If there is less, or it is no text.
    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        let [length] = self.array()?;
        let (text, rest) = self
            .0
            .split_at_checked(usize::from(length))
            .ok_or(Malformed("its length"))?;
        self.0 = rest;
        str::from_utf8(text).map_err(|_| Malformed("a text"))
    }
}
