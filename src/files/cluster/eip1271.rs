//! Asking a contract whether it made a signature: `isValidSignature(bytes32,bytes)` (EIP-1271), as charon's
//! `app/eth1wrap` does.

/// First four bytes of the Keccak-256 of `isValidSignature(bytes32,bytes)`: what is called, and what a contract answers
/// if the signature is its own (EIP-1271).
pub const MAGIC: [u8; 4] = [0x16, 0x26, 0xba, 0x7e];

/// Length of a word of the contract ABI in bytes.
const WORD: usize = 32;

/// The call's input: selector, digest, and the signature as dynamic bytes (Solidity ABI specification).
pub fn call_data(digest: &[u8; 32], signature: &[u8]) -> Vec<u8> {
    let mut data = MAGIC.to_vec();
    data.extend_from_slice(digest);
    // The signature begins behind two words: the digest and this offset.
    data.extend_from_slice(&word(2 * WORD));
    data.extend_from_slice(&word(signature.len()));
    data.extend_from_slice(signature);
    data.resize(4 + 3 * WORD + signature.len().next_multiple_of(WORD), 0);
    data
}

/// Whether a contract's answer is yes: one word that begins with [`MAGIC`]. Like charon's decoder, this does not look at
/// the bytes behind it.
pub fn is_yes(answer: &[u8]) -> bool {
    answer.len() >= WORD && answer.starts_with(&MAGIC)
}

/// A number as a big-endian word.
fn word(number: usize) -> [u8; WORD] {
    let mut word = [0; WORD];
    // A length in memory fits 64 bits.
    let number = u64::try_from(number).unwrap_or(u64::MAX);
    word[WORD - 8..].copy_from_slice(&number.to_be_bytes());
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha3::{Digest, Keccak256};

    #[test]
    fn the_selector_is_that_of_the_function() {
        let hash = Keccak256::digest(b"isValidSignature(bytes32,bytes)");
        assert_eq!(hash[..4], MAGIC);
    }

    #[test]
    fn the_input_is_as_solidity_encodes_it() {
        let data = call_data(&[0xaa; 32], &[0xbb; 65]);
        let expected = [
            "1626ba7e",
            &"aa".repeat(32),
            "0000000000000000000000000000000000000000000000000000000000000040",
            "0000000000000000000000000000000000000000000000000000000000000041",
            &"bb".repeat(65),
            &"00".repeat(31),
        ]
        .concat();
        assert_eq!(hex::encode(data), expected);
        assert_eq!(call_data(&[0; 32], &[]).len(), 4 + 96);
        assert_eq!(call_data(&[0; 32], &[1; 64]).len(), 4 + 96 + 64);
    }

    #[test]
    fn only_the_magic_value_is_a_yes() {
        let mut answer = [0; 32];
        assert!(!is_yes(&answer));
        answer[..4].copy_from_slice(&MAGIC);
        assert!(is_yes(&answer));
        assert!(!is_yes(&answer[..31]));
        // At the other end of the word it is a number.
        answer.reverse();
        assert!(!is_yes(&answer));
        assert!(!is_yes(&[]));
    }
}
