//! What is in a receipt, byte by byte; `docs/receipts.md` has the table.

use charon_files::cluster::{CharonVersion, DefinitionHash, LockHash, NodeIndex};

use super::{CharonImage, DepositFiles, MAX_TAGS, Statement, check_node, check_version};
use crate::line::{
    LineKind, MAX_VERSION_BYTES, Malformed, OVERHEAD_BYTES, Reader, Stated, StatementError,
    put_text,
};

/// Both hashes, keystores, time, and count and digest of the deposit files.
const FIXED_BYTES: usize = 32 + 32 + 4 + 8 + 2 + 32;

impl Stated for Statement {
    const KIND: LineKind = LineKind::Receipt;
    /// No deposit files, no image, no charon version, a program version of one byte.
    const MIN_BYTES: usize = OVERHEAD_BYTES + FIXED_BYTES + 1 + 1 + 2;
    /// As many of everything as there may be.
    const MAX_BYTES: usize =
        OVERHEAD_BYTES + FIXED_BYTES + 4 * MAX_TAGS + 33 + 2 * (1 + MAX_VERSION_BYTES);

    fn node(&self) -> NodeIndex {
        self.node
    }

    fn operators(&self) -> u16 {
        self.operators
    }

    fn time(&self) -> u64 {
        self.time
    }

    fn check(&self) -> Result<(), StatementError> {
        check_node(self.node, self.operators)?;
        if let Some(version) = &self.charon_version {
            super::check_charon(version)?;
        }
        check_version(&self.program_version)
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.lock_hash.as_bytes());
        bytes.extend(self.definition_hash.as_bytes());
        bytes.extend(self.keystores.to_be_bytes());
        bytes.extend(self.time.to_be_bytes());
        bytes.extend(self.deposit_files.count.to_be_bytes());
        bytes.extend(self.deposit_files.digest);
        bytes.extend(self.deposit_files.tags.as_flattened());
        CharonImage::write(self.charon_image.as_ref(), bytes);
        let charon = self.charon_version.as_ref();
        put_text(
            bytes,
            &charon.map_or_else(String::new, CharonVersion::to_string),
        );
        put_text(bytes, &self.program_version);
    }

    fn read(
        _format: u8,
        node: NodeIndex,
        operators: u16,
        rest: &mut Reader<'_>,
    ) -> Result<Self, Malformed> {
        let lock_hash = LockHash::new(rest.array()?);
        let definition_hash = DefinitionHash::new(rest.array()?);
        let keystores = u32::from_be_bytes(rest.array()?);
        let time = u64::from_be_bytes(rest.array()?);
        let count = rest.u16()?;
        let digest = rest.array()?;
        let tags = (0..usize::from(count).min(MAX_TAGS))
            .map(|_| rest.array())
            .collect::<Result<Vec<_>, _>>()?;
        let charon_image = CharonImage::read(rest)?;
        let charon_version = match rest.text()? {
            "" => None,
            text => Some(
                text.parse()
                    .map_err(|_| Malformed("its version of charon"))?,
            ),
        };
        Ok(Self {
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
            program_version: rest.text()?.to_owned(),
            time,
        })
    }
}

impl CharonImage {
    /// One byte for its kind, and the digest.
    pub(crate) fn write(image: Option<&Self>, bytes: &mut Vec<u8>) {
        match image {
            None => bytes.push(0),
            Some(CharonImage::Manifest(digest)) => {
                bytes.push(1);
                bytes.extend(digest);
            }
            Some(CharonImage::Local(id)) => {
                bytes.push(2);
                bytes.extend(id);
            }
            Some(CharonImage::Binary(digest)) => {
                bytes.push(3);
                bytes.extend(digest);
            }
        }
    }

    pub(crate) fn read(rest: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        Ok(match rest.array()? {
            [0] => None,
            [1] => Some(CharonImage::Manifest(rest.array()?)),
            [2] => Some(CharonImage::Local(rest.array()?)),
            [3] => Some(CharonImage::Binary(rest.array()?)),
            _ => return Err(Malformed("its kind of image")),
        })
    }
}
