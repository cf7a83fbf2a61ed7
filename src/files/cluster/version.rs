//! The two versions that a ceremony meets: of the definition's format and of charon. Every difference between
//! format versions is answered here and nowhere else.

use std::fmt;
use std::str::FromStr;

/// Format version of a cluster definition, and of the cluster lock made from it (charon `cluster/version.go`).
///
/// Closed on purpose: a file of a version that is not listed here is refused, never read as the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DefinitionVersion {
    /// `v1.0.0`
    V1_0,
    /// `v1.1.0`: the timestamp enters the definition hash.
    V1_1,
    /// `v1.2.0`: no nonce; hexadecimal instead of base64.
    V1_2,
    /// `v1.3.0`: SSZ hashes and EIP-712 signatures.
    V1_3,
    /// `v1.4.0`: creator.
    V1_4,
    /// `v1.5.0`: one address pair per validator.
    V1_5,
    /// `v1.6.0`: deposit data in the lock.
    V1_6,
    /// `v1.7.0`: builder registrations and node signatures in the lock.
    V1_7,
    /// `v1.8.0`: chosen deposit amounts.
    V1_8,
    /// `v1.9.0`: consensus protocol.
    V1_9,
    /// `v1.10.0`: target gas limit and compounding.
    V1_10,
    /// `v1.11.0`: several owner signatures per operator; known from a release candidate only.
    V1_11,
}

/// How config hash and definition hash are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefinitionHashLayout {
    /// v1.0.0 to v1.2.0: text leaves, lists limited by their own length.
    Legacy {
        /// A zero nonce is a leaf of each operator (v1.0.0 and v1.1.0).
        nonce: bool,
        /// The timestamp is a leaf of the definition hash too, not of the config hash alone (from v1.1.0).
        timestamp_in_definition_hash: bool,
    },
    /// v1.3.0 and v1.4.0: an empty address or signature is no leaf at all.
    Variable,
    /// From v1.5.0: every field has its leaf.
    Fixed,
}

/// How the `distributed_validators` enter the lock hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockHashLayout {
    /// v1.0.0 to v1.2.0: the group key as text, shares as they are.
    Legacy,
    /// v1.3.0 to v1.5.0: group key and shares.
    Keys,
    /// v1.6.0: the four deposit leaves are beside the keys instead of under a root of their own.
    FlatDeposit,
    /// v1.7.0: one deposit and the builder registration.
    OneDeposit,
    /// From v1.8.0: a list of deposits and the builder registration.
    Deposits,
}

/// How byte strings are written in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BytesEncoding {
    /// Standard padded base64.
    Base64,
    /// Lower-case hexadecimal with `0x`; nothing at all for no bytes.
    Hex,
}

/// What the lock holds about deposits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockDeposits {
    /// Nothing: the deposit data file is all there is.
    None,
    /// One object, `deposit_data`.
    One,
    /// An array, `partial_deposit_data`.
    Many,
}

/// A definition version that this program does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown definition version {seen:?}, expected one of {}",
    SupportedVersions
)]
pub struct UnknownDefinitionVersion {
    /// The text found, cut to a printable length.
    pub seen: String,
}

struct SupportedVersions;

impl fmt::Display for SupportedVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, version) in DefinitionVersion::ALL.into_iter().enumerate() {
            if position > 0 {
                f.write_str(", ")?;
            }
            f.write_str(version.text())?;
        }
        Ok(())
    }
}

impl DefinitionVersion {
    /// Every known version, oldest first.
    pub const ALL: [DefinitionVersion; 12] = [
        Self::V1_0,
        Self::V1_1,
        Self::V1_2,
        Self::V1_3,
        Self::V1_4,
        Self::V1_5,
        Self::V1_6,
        Self::V1_7,
        Self::V1_8,
        Self::V1_9,
        Self::V1_10,
        Self::V1_11,
    ];

    /// The text in the file's `version` field.
    pub const fn text(self) -> &'static str {
        match self {
            Self::V1_0 => "v1.0.0",
            Self::V1_1 => "v1.1.0",
            Self::V1_2 => "v1.2.0",
            Self::V1_3 => "v1.3.0",
            Self::V1_4 => "v1.4.0",
            Self::V1_5 => "v1.5.0",
            Self::V1_6 => "v1.6.0",
            Self::V1_7 => "v1.7.0",
            Self::V1_8 => "v1.8.0",
            Self::V1_9 => "v1.9.0",
            Self::V1_10 => "v1.10.0",
            Self::V1_11 => "v1.11.0",
        }
    }

    /// How the definition's two hashes are put together.
    pub const fn definition_hash_layout(self) -> DefinitionHashLayout {
        match self {
            Self::V1_0 => DefinitionHashLayout::Legacy {
                nonce: true,
                timestamp_in_definition_hash: false,
            },
            Self::V1_1 => DefinitionHashLayout::Legacy {
                nonce: true,
                timestamp_in_definition_hash: true,
            },
            Self::V1_2 => DefinitionHashLayout::Legacy {
                nonce: false,
                timestamp_in_definition_hash: true,
            },
            Self::V1_3 | Self::V1_4 => DefinitionHashLayout::Variable,
            Self::V1_5
            | Self::V1_6
            | Self::V1_7
            | Self::V1_8
            | Self::V1_9
            | Self::V1_10
            | Self::V1_11 => DefinitionHashLayout::Fixed,
        }
    }

    /// How the validators enter the lock hash.
    pub const fn lock_hash_layout(self) -> LockHashLayout {
        match self {
            Self::V1_0 | Self::V1_1 | Self::V1_2 => LockHashLayout::Legacy,
            Self::V1_3 | Self::V1_4 | Self::V1_5 => LockHashLayout::Keys,
            Self::V1_6 => LockHashLayout::FlatDeposit,
            Self::V1_7 => LockHashLayout::OneDeposit,
            Self::V1_8 | Self::V1_9 | Self::V1_10 | Self::V1_11 => LockHashLayout::Deposits,
        }
    }

    /// How signatures and hashes, and the shares in the lock, are written.
    pub fn bytes_encoding(self) -> BytesEncoding {
        if self <= Self::V1_1 {
            BytesEncoding::Base64
        } else {
            BytesEncoding::Hex
        }
    }

    /// Whether operators carry a `nonce`, which must be 0.
    pub fn has_nonce(self) -> bool {
        self <= Self::V1_1
    }

    /// Whether signatures of operators are defined at all; before, any signature is an error.
    pub fn has_eip712_signatures(self) -> bool {
        self >= Self::V1_3
    }

    /// EIP-712 type name and member of the operators' config signature; `None` before v1.3.0.
    pub const fn operator_config_statement(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::V1_0 | Self::V1_1 | Self::V1_2 => None,
            Self::V1_3 => Some(("ConfigHash", "config_hash")),
            Self::V1_4
            | Self::V1_5
            | Self::V1_6
            | Self::V1_7
            | Self::V1_8
            | Self::V1_9
            | Self::V1_10
            | Self::V1_11 => Some(("OperatorConfigHash", "operator_config_hash")),
        }
    }

    /// Whether the definition names a creator.
    pub fn has_creator(self) -> bool {
        self >= Self::V1_4
    }

    /// Whether each validator has an address pair of its own; before, one pair serves all.
    pub fn has_validators_array(self) -> bool {
        self >= Self::V1_5
    }

    /// Whether the definition may choose deposit amounts, and the lock holds several deposits per validator.
    pub fn has_deposit_amounts(self) -> bool {
        self >= Self::V1_8
    }

    /// Whether the definition names a consensus protocol.
    pub fn has_consensus_protocol(self) -> bool {
        self >= Self::V1_9
    }

    /// Whether the definition sets a target gas limit.
    pub fn has_target_gas_limit(self) -> bool {
        self >= Self::V1_10
    }

    /// Whether the definition may ask for compounding (0x02) withdrawal credentials.
    pub fn has_compounding(self) -> bool {
        self >= Self::V1_10
    }

    /// How many 65-byte pieces a definition signature may have: several only for Safe owners from v1.11.0
    /// (charon `cluster/definition.go`, `validateSignatureLength`).
    pub fn max_signature_pieces(self) -> usize {
        if self >= Self::V1_11 { 32 } else { 1 }
    }

    /// Whether a signer may be a contract wallet (EIP-1271): charon asks contracts from v1.4.0 on, and the releases that
    /// do so refuse definitions before v1.6.0.
    pub fn signer_may_be_contract(self) -> bool {
        self >= Self::V1_6
    }

    /// Whether every release that takes this version asks a contract about the creator too, and not about operators only:
    /// charon v1.11.0 is the first that does (charon `cluster/definition.go`, `VerifySignatures`); it takes definitions
    /// from v1.6.0 on.
    pub fn creator_may_always_be_contract(self) -> bool {
        self >= Self::V1_11
    }

    /// Whether the `fee_recipient_address` of a validator in the lock is known, if only to be refused.
    pub fn has_legacy_lock_fee_recipient(self) -> bool {
        self <= Self::V1_5
    }

    /// What the lock holds about deposits.
    pub const fn lock_deposits(self) -> LockDeposits {
        match self {
            Self::V1_0 | Self::V1_1 | Self::V1_2 | Self::V1_3 | Self::V1_4 | Self::V1_5 => {
                LockDeposits::None
            }
            Self::V1_6 | Self::V1_7 => LockDeposits::One,
            Self::V1_8 | Self::V1_9 | Self::V1_10 | Self::V1_11 => LockDeposits::Many,
        }
    }

    /// Whether the lock holds a builder registration for each validator.
    pub fn has_builder_registration(self) -> bool {
        self >= Self::V1_7
    }

    /// Whether the lock holds one signature of the lock hash per node.
    pub fn has_node_signatures(self) -> bool {
        self >= Self::V1_7
    }

    /// Whether charon accepts a lock without aggregate signature (`Lock.VerifySignatures`).
    pub fn may_lack_signature_aggregate(self) -> bool {
        self <= Self::V1_1
    }
}

impl FromStr for DefinitionVersion {
    type Err = UnknownDefinitionVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|version| version.text() == text)
            .ok_or_else(|| UnknownDefinitionVersion {
                seen: text.chars().take(32).collect(),
            })
    }
}

impl fmt::Display for DefinitionVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Version of a charon release, as in its log, its image tag and `charon version`.
///
/// Ordered as semantic versions are: `v1.11.0-rc3 < v1.11.0`, numbers inside a pre-release by value. A missing patch
/// (local builds print `v1.10`) sorts before patch 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CharonVersion {
    /// The 1 of `v1.10.3`.
    pub major: u32,
    /// The 10 of `v1.10.3`.
    pub minor: u32,
    /// The 3 of `v1.10.3`; absent in `v1.10` and `v0.16-rc`.
    pub patch: Option<u32>,
    /// The `rc3` of `v1.11.0-rc3`.
    pub pre_release: Option<String>,
}

/// A text that is no charon version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a charon version: {seen:?}, expected a text such as v1.10.3")]
pub struct MalformedCharonVersion {
    /// The text found, cut to a printable length.
    pub seen: String,
}

impl CharonVersion {
    /// A final release.
    pub const fn release(major: u32, minor: u32, patch: u32) -> Self {
        Self {
            major,
            minor,
            patch: Some(patch),
            pre_release: None,
        }
    }

    /// Whether charon nodes of these versions run a ceremony with each other: same major and minor; patch and
    /// pre-release never matter (charon `dkg/sync/server.go`).
    pub fn same_line(&self, other: &Self) -> bool {
        (self.major, self.minor) == (other.major, other.minor)
    }
}

impl FromStr for CharonVersion {
    type Err = MalformedCharonVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_charon_version(text).ok_or_else(|| MalformedCharonVersion {
            seen: text.chars().take(32).collect(),
        })
    }
}

fn parse_charon_version(text: &str) -> Option<CharonVersion> {
    let rest = text.strip_prefix('v')?;
    let (numbers, pre_release) = match rest.split_once('-') {
        Some((numbers, label)) => (numbers, Some(label)),
        None => (rest, None),
    };
    if let Some(label) = pre_release {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        if label.is_empty() || label.len() > 32 || !label.chars().all(allowed) {
            return None;
        }
    }
    let mut parts = numbers.split('.').map(parse_number);
    let major = parts.next()??;
    let minor = parts.next()??;
    let patch = match parts.next() {
        Some(patch) => Some(patch?),
        None => None,
    };
    if parts.next().is_some() {
        return None;
    }
    Some(CharonVersion {
        major,
        minor,
        patch,
        pre_release: pre_release.map(str::to_owned),
    })
}

fn parse_number(text: &str) -> Option<u32> {
    // `u32::from_str` would take "+1".
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

impl serde::Serialize for CharonVersion {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for CharonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}", self.major, self.minor)?;
        if let Some(patch) = self.patch {
            write!(f, ".{patch}")?;
        }
        if let Some(label) = &self.pre_release {
            write!(f, "-{label}")?;
        }
        Ok(())
    }
}

impl PartialOrd for CharonVersion {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for CharonVersion {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.major, self.minor, self.patch)
            .cmp(&(other.major, other.minor, other.patch))
            .then_with(|| match (&self.pre_release, &other.pre_release) {
                (None, None) => std::cmp::Ordering::Equal,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(_), None) => std::cmp::Ordering::Less,
                (Some(a), Some(b)) => split_label(a).cmp(&split_label(b)).then_with(|| a.cmp(b)),
            })
    }
}

/// `rc10` as ("rc", 10), so that it sorts after `rc9`.
fn split_label(label: &str) -> (&str, u64) {
    let name = label.trim_end_matches(|c: char| c.is_ascii_digit());
    (name, label[name.len()..].parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_read_back_and_sorts_by_age() {
        for pair in DefinitionVersion::ALL.windows(2) {
            assert!(pair[0] < pair[1]);
        }
        for version in DefinitionVersion::ALL {
            assert_eq!(version.text().parse(), Ok(version));
        }
    }

    #[test]
    fn an_unknown_version_is_refused_and_the_known_ones_are_named() {
        for text in [
            "v1.12.0", "1.10.0", "v1.10", "V1.10.0", "", "v1.10.0 ", "v1.1.1",
        ] {
            let error = text.parse::<DefinitionVersion>().unwrap_err().to_string();
            assert!(
                error.contains("v1.0.0") && error.contains("v1.11.0"),
                "{error}"
            );
        }
    }

    #[test]
    fn charon_versions_are_read_as_charon_prints_them() {
        for text in ["v1.10.3", "v1.10", "v0.16-rc", "v1.11.0-rc3", "v0.14.4"] {
            assert_eq!(text.parse::<CharonVersion>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "1.10.3",
            "v1",
            "v1.10.3.4",
            "v1.x",
            "v1.10.",
            "v1.10-",
            "v+1.2",
            "v1.2.3-a b",
        ] {
            assert!(text.parse::<CharonVersion>().is_err(), "{text}");
        }
    }

    #[test]
    fn charon_versions_sort_as_releases_do() {
        let sorted = [
            "v0.9.1",
            "v0.13.2",
            "v0.14.0",
            "v1.10.0",
            "v1.10.3",
            "v1.11.0-rc3",
            "v1.11.0-rc10",
            "v1.11.0",
        ];
        let versions: Vec<CharonVersion> =
            sorted.iter().map(|text| text.parse().unwrap()).collect();
        for pair in versions.windows(2) {
            assert!(pair[0] < pair[1], "{} < {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn a_line_is_major_and_minor() {
        let version = |text: &str| text.parse::<CharonVersion>().unwrap();
        assert!(version("v1.10.3").same_line(&version("v1.10")));
        assert!(version("v1.11.0-rc3").same_line(&version("v1.11.0")));
        assert!(!version("v1.10.3").same_line(&version("v1.1.3")));
        assert!(!version("v0.14.3").same_line(&version("v1.14.3")));
    }
}
