//! Ethereum addresses and their EIP-55 spelling.

use std::fmt;

use sha3::{Digest, Keccak256};

use super::hex;

/// A 20-byte Ethereum address. `Display` gives the EIP-55 spelling.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address([u8; 20]);

impl Address {
    /// The zero address, which no key controls.
    pub const ZERO: Address = Address([0; 20]);

    /// An address from its bytes.
    pub const fn new(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// The 20 bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// Reads `0x` and 40 hexadecimal digits of any case; the spelling is not checked.
    pub fn parse(text: &str) -> Option<Self> {
        text.strip_prefix("0x")?;
        hex::array_from_0x(text).map(Self)
    }

    /// The address of a secp256k1 public key: the last 20 bytes of the Keccak-256 of its two coordinates.
    pub fn of_uncompressed_point(coordinates: &[u8; 64]) -> Self {
        let digest = Keccak256::digest(coordinates);
        let mut bytes = [0; 20];
        bytes.copy_from_slice(&digest[12..]);
        Self(bytes)
    }

    /// Whether the text is this address in exactly its EIP-55 spelling.
    pub fn is_checksummed(&self, text: &str) -> bool {
        self.to_string() == text
    }
}

impl fmt::Display for Address {
    /// EIP-55: a hexadecimal letter is upper case where the same digit of the Keccak-256 of the lower-case text is 8 or more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 40];
        // Twice 20 bytes always fit 40.
        ::hex::encode_to_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
        let digest = Keccak256::digest(text);
        for (position, digit) in text.iter_mut().enumerate() {
            let byte = digest[position / 2];
            let nibble = if position % 2 == 0 {
                byte >> 4
            } else {
                byte & 0x0f
            };
            if nibble >= 8 {
                digit.make_ascii_uppercase();
            }
        }
        f.write_str("0x")?;
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spelling_is_that_of_eip_55() {
        // The examples of the EIP.
        for text in [
            "0x52908400098527886E0F7030069857D2E4169EE7",
            "0xde709f2102306220921060314715629080e2fb77",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
            "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
            "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
        ] {
            let address = Address::parse(&text.to_lowercase()).unwrap();
            assert_eq!(address.to_string(), text);
            assert!(address.is_checksummed(text));
        }
        let mixed = Address::parse("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed").unwrap();
        assert!(!mixed.is_checksummed("0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "0x",
            "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0x5aAeb6",
            "0X5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        ] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }
}
