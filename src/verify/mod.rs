//! Takes the bytes of a data directory, gives findings and, only if all is proved, a [`Verified`].

/// One file that a verification vouches for, by content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VouchedFile {
    /// Path relative to the data directory, with `/`: `validator_keys/keystore-0.json`.
    pub path: String,
    /// SHA-256 of the bytes that were verified.
    pub sha256: [u8; 32],
    /// Length in bytes.
    pub len: u64,
}

/// Proof that a set of files passed every applicable check. Only this module can build one.
#[derive(Debug)]
pub struct Verified {
    files: Vec<VouchedFile>,
}

impl Verified {
    /// The files vouched for.
    pub fn files(&self) -> &[VouchedFile] {
        &self.files
    }
}
