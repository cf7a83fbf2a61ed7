//! Merkle trees as charon builds them by driving the fastssz hasher by hand (charon `cluster/ssz.go`).
//!
//! It is not quite SSZ: an empty byte string may be no leaf at all, and short ones are padded on the left or on the
//! right, depending on the field. So the container is a list of 32-byte chunks, and each kind of leaf is one method.

use sha2::{Digest, Sha256};

/// Why something cannot be hashed: charon could not hash it either.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Longer than the format allows.
    #[error("{field} has length {seen}, expected at most {limit}")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Length in bytes, or number of elements.
        seen: usize,
        /// Limit, likewise.
        limit: usize,
    },
    /// An address that is not 20 bytes in hexadecimal.
    #[error("{field} is no address of 20 bytes")]
    NotAnAddress {
        /// The field.
        field: &'static str,
    },
}

/// One leaf or node of a tree.
pub(crate) type Chunk = [u8; 32];

/// The leaves of one container, in order.
#[derive(Debug, Default)]
pub(crate) struct Leaves(Vec<Chunk>);

impl Leaves {
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(16))
    }

    /// A number, little-endian.
    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        let mut chunk = [0; 32];
        chunk[..8].copy_from_slice(&number.to_le_bytes());
        self.node(chunk)
    }

    /// A truth value.
    pub(crate) fn boolean(&mut self, value: bool) -> &mut Self {
        self.number(u64::from(value))
    }

    /// A root computed before, or 32 bytes as they are.
    pub(crate) fn node(&mut self, chunk: Chunk) -> &mut Self {
        self.0.push(chunk);
        self
    }

    /// Bytes as they are: no leaf if empty, one padded on the right if they fit, else the root of several without their
    /// length (fastssz `PutBytes`).
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        match bytes.len() {
            0 => self,
            1..=32 => {
                let mut chunk = [0; 32];
                chunk[..bytes.len()].copy_from_slice(bytes);
                self.node(chunk)
            }
            _ => {
                let mut chunks = chunks_of(bytes);
                let limit = chunks.len();
                self.node(merkle_root(&mut chunks, limit))
            }
        }
    }

    /// A byte string of at most `limit` bytes, with its length (SSZ `ByteList`).
    pub(crate) fn byte_list(
        &mut self,
        bytes: &[u8],
        limit: usize,
        field: &'static str,
    ) -> Result<&mut Self, HashError> {
        if bytes.len() > limit {
            return Err(HashError::TooLong {
                field,
                seen: bytes.len(),
                limit,
            });
        }
        let root = merkle_root(&mut chunks_of(bytes), limit.div_ceil(32));
        Ok(self.node(mix_in_length(&root, bytes.len())))
    }

    /// A list of at most `limit` items, each a chunk, with their number.
    pub(crate) fn list(
        &mut self,
        mut items: Leaves,
        limit: usize,
        field: &'static str,
    ) -> Result<&mut Self, HashError> {
        let number = items.0.len();
        self.list_counted(&mut items, number, limit, field)
    }

    /// A list whose number of items is not that of its chunks: items that are no leaf, or several in a chunk.
    pub(crate) fn list_counted(
        &mut self,
        items: &mut Leaves,
        number: usize,
        limit: usize,
        field: &'static str,
    ) -> Result<&mut Self, HashError> {
        if items.0.len() > limit {
            return Err(HashError::TooLong {
                field,
                seen: items.0.len(),
                limit,
            });
        }
        let root = merkle_root(&mut items.0, limit);
        Ok(self.node(mix_in_length(&root, number)))
    }

    /// The root of the container.
    pub(crate) fn root(mut self) -> Chunk {
        let limit = self.0.len();
        merkle_root(&mut self.0, limit)
    }
}

/// The bytes in chunks, the last one padded on the right.
pub(crate) fn chunks_of(bytes: &[u8]) -> Vec<Chunk> {
    bytes
        .chunks(32)
        .map(|part| {
            let mut chunk = [0; 32];
            chunk[..part.len()].copy_from_slice(part);
            chunk
        })
        .collect()
}

fn mix_in_length(root: &Chunk, length: usize) -> Chunk {
    let mut chunk = [0; 32];
    chunk[..8].copy_from_slice(&(length as u64).to_le_bytes());
    hash_pair(root, &chunk)
}

fn hash_pair(left: &Chunk, right: &Chunk) -> Chunk {
    let mut pair = [0; 64];
    pair[..32].copy_from_slice(left);
    pair[32..].copy_from_slice(right);
    Sha256::digest(pair).into()
}

/// Root of the tree with room for `limit` chunks; the missing ones are zero. The chunks are used up.
fn merkle_root(chunks: &mut Vec<Chunk>, limit: usize) -> Chunk {
    let depth = if limit <= 1 {
        0
    } else {
        (limit - 1).ilog2() + 1
    };
    // Root of an empty subtree of the height reached so far.
    let mut empty = [0; 32];
    for _ in 0..depth {
        if !chunks.len().is_multiple_of(2) {
            chunks.push(empty);
        }
        for pair in 0..chunks.len() / 2 {
            chunks[pair] = hash_pair(&chunks[2 * pair], &chunks[2 * pair + 1]);
        }
        chunks.truncate(chunks.len() / 2);
        empty = hash_pair(&empty, &empty);
    }
    chunks.first().copied().unwrap_or(empty)
}
