//! The bytes of a receipt; `docs/receipts.md` has the table. Whatever is read is written back as the same bytes.

use sha2::{Digest, Sha256};

use charon_files::cluster::{CharonVersion, DefinitionHash, LockHash, NodeIndex};
use charon_files::keys::k1;

use super::{CharonImage, DepositFiles, MAX_TAGS, MAX_VERSION_BYTES, Receipt, Statement};

/// The format that this program writes and the only one it reads.
pub const FORMAT: u8 = 1;

/// Format and length: the same in every format to come.
pub(super) const HEADER_BYTES: usize = 3;
/// The header, the node and the number of operators: as much as tells whose receipt was clipped.
pub(super) const CLAIM_BYTES: usize = 7;

const SIGNATURE_BYTES: usize = 64;
/// The last bytes in every format to come. They tell accidents apart from forgeries, no more.
const CHECKSUM_BYTES: usize = 4;
const CHECKSUM_DOMAIN: &[u8] = b"charon-dkg receipt checksum\n";

/// No deposit files, no image, no charon version, a program version of one byte.
pub(super) const MIN_BYTES: usize = 117 + 1 + 1 + 2 + SIGNATURE_BYTES + CHECKSUM_BYTES;
/// As many of everything as there may be.
pub(super) const MAX_BYTES: usize =
    117 + 4 * MAX_TAGS + 33 + 2 * (1 + MAX_VERSION_BYTES) + SIGNATURE_BYTES + CHECKSUM_BYTES;

/// What is wrong with bytes whose checksum is right: whoever wrote them follows other rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = Sha256::new_with_prefix(CHECKSUM_DOMAIN)
        .chain_update(bytes)
        .finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

/// Whether the last bytes are the checksum of those before, in whatever format.
pub(super) fn checksum_is_right(bytes: &[u8]) -> bool {
    bytes
        .split_last_chunk::<CHECKSUM_BYTES>()
        .is_some_and(|(content, stated)| checksum(content) == *stated)
}

/// Everything before the signature.
pub(super) fn signed_part(statement: &Statement) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MAX_BYTES);
    bytes.extend([FORMAT, 0, 0]);
    // A checked statement has a node below 256; any other is refused before it is signed.
    let node = u16::try_from(statement.node.position()).unwrap_or(u16::MAX);
    bytes.extend(node.to_be_bytes());
    bytes.extend(statement.operators.to_be_bytes());
    bytes.extend(statement.lock_hash.as_bytes());
    bytes.extend(statement.definition_hash.as_bytes());
    bytes.extend(statement.keystores.to_be_bytes());
    bytes.extend(statement.time.to_be_bytes());
    bytes.extend(statement.deposit_files.count.to_be_bytes());
    bytes.extend(statement.deposit_files.digest);
    bytes.extend(statement.deposit_files.tags.as_flattened());
    match &statement.charon_image {
        None => bytes.push(0),
        Some(CharonImage::Manifest(digest)) => {
            bytes.push(1);
            bytes.extend(digest);
        }
        Some(CharonImage::Local(id)) => {
            bytes.push(2);
            bytes.extend(id);
        }
    }
    let charon = statement.charon_version.as_ref();
    put_text(
        &mut bytes,
        &charon.map_or_else(String::new, CharonVersion::to_string),
    );
    put_text(&mut bytes, &statement.program_version);
    let length = bytes.len() + SIGNATURE_BYTES + CHECKSUM_BYTES;
    let length = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    if let Some(place) = bytes.get_mut(1..3) {
        place.copy_from_slice(&length);
    }
    bytes
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    // A checked statement has texts of at most 24 bytes.
    bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    bytes.extend(text.bytes());
}

pub(super) fn encode(statement: &Statement, signature: &[u8; SIGNATURE_BYTES]) -> Vec<u8> {
    let mut bytes = signed_part(statement);
    bytes.extend(signature);
    bytes.extend(checksum(&bytes));
    bytes
}

/// Format and length in bytes.
pub(super) fn header(bytes: &[u8]) -> Option<(u8, usize)> {
    let [format, high, low] = *bytes.first_chunk::<HEADER_BYTES>()?;
    Some((format, usize::from(u16::from_be_bytes([high, low]))))
}

/// Node and number of operators, from as few bytes as needed.
pub(super) fn claim(bytes: &[u8]) -> Option<(NodeIndex, usize)> {
    let [FORMAT, _, _, high, low, count_high, count_low] = *bytes.first_chunk::<CLAIM_BYTES>()?
    else {
        return None;
    };
    let node = usize::from(u16::from_be_bytes([high, low]));
    let operators = usize::from(u16::from_be_bytes([count_high, count_low]));
    (node < operators).then_some((NodeIndex::new(node), operators))
}

/// Reads bytes of this format, whose length and checksum are right.
pub(super) fn decode(bytes: &[u8]) -> Result<Receipt, Malformed> {
    let malformed = Malformed;
    let mut rest = Reader(bytes);
    let [format] = rest.array()?;
    let length = rest.u16()?;
    if format != FORMAT || usize::from(length) != bytes.len() {
        return Err(malformed("its header"));
    }
    let node = NodeIndex::new(usize::from(rest.u16()?));
    let operators = rest.u16()?;
    let lock_hash = LockHash::new(rest.array()?);
    let definition_hash = DefinitionHash::new(rest.array()?);
    let keystores = u32::from_be_bytes(rest.array()?);
    let time = u64::from_be_bytes(rest.array()?);
    let count = rest.u16()?;
    let digest = rest.array()?;
    let tags = (0..usize::from(count).min(MAX_TAGS))
        .map(|_| rest.array())
        .collect::<Result<Vec<_>, _>>()?;
    let charon_image = match rest.array()? {
        [0] => None,
        [1] => Some(CharonImage::Manifest(rest.array()?)),
        [2] => Some(CharonImage::Local(rest.array()?)),
        _ => return Err(malformed("its kind of image")),
    };
    let charon_version = match rest.text()? {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|_| malformed("its version of charon"))?,
        ),
    };
    let program_version = rest.text()?.to_owned();
    let signature: [u8; SIGNATURE_BYTES] = rest.array()?;
    let _checked_before: [u8; CHECKSUM_BYTES] = rest.array()?;
    if !rest.0.is_empty() {
        return Err(malformed("its length"));
    }
    if !k1::is_canonical(&signature) {
        return Err(malformed("its signature"));
    }
    let statement = Statement {
        node,
        operators,
        lock_hash,
        definition_hash,
        keystores,
        deposit_files: DepositFiles {
            count,
            digest,
            tags,
        },
        charon_image,
        charon_version,
        program_version,
        time,
    };
    statement
        .check()
        .map_err(|_| malformed("its node or a version"))?;
    // Whatever slipped through above has a second spelling, and that is refused here.
    if encode(&statement, &signature) != bytes {
        return Err(malformed("the way it is written"));
    }
    Ok(Receipt {
        statement,
        signature,
    })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(Malformed("its length"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    fn text(&mut self) -> Result<&'a str, Malformed> {
        let [length] = self.array()?;
        let (text, rest) = self
            .0
            .split_at_checked(usize::from(length))
            .ok_or(Malformed("its length"))?;
        self.0 = rest;
        str::from_utf8(text).map_err(|_| Malformed("a version"))
    }
}
