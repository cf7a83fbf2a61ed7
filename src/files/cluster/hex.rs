//! Hexadecimal as charon reads and writes it.

/// `0x` and lower-case hexadecimal; nothing at all for no bytes (charon `cluster/helpers.go`, `to0xHex`).
pub fn to_0x(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return String::new();
    }
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("0x");
    text.push_str(&hex::encode(bytes));
    text
}

/// Hexadecimal of either case, with or without `0x` (charon `cluster/helpers.go`, `ethHex`); `None` if it is not.
pub fn from_0x(text: &str) -> Option<Vec<u8>> {
    hex::decode(text.strip_prefix("0x").unwrap_or(text)).ok()
}

/// Exactly `N` bytes in hexadecimal of either case, with or without `0x`.
pub fn array_from_0x<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_is_lenient_and_writing_is_not() {
        assert_eq!(to_0x(&[]), "");
        assert_eq!(to_0x(&[0xab, 0x01]), "0xab01");
        assert_eq!(from_0x("0xAb01"), Some(vec![0xab, 1]));
        assert_eq!(from_0x("aB01"), Some(vec![0xab, 1]));
        assert_eq!(from_0x(""), Some(vec![]));
        assert_eq!(from_0x("0x"), Some(vec![]));
        assert_eq!(from_0x("0XAB01"), None);
        assert_eq!(from_0x("0xab0"), None);
        assert_eq!(array_from_0x::<2>("0xab01"), Some([0xab, 1]));
        assert_eq!(array_from_0x::<3>("0xab01"), None);
    }
}
