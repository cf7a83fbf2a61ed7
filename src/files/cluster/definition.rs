//! The cluster definition: what was agreed before the ceremony (charon `cluster/definition.go`).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::deposit_data::check_chosen_amounts;
use super::enr::Enr;
use super::hash::{ConfigHash, DefinitionHash};
use super::hex;
use super::index::{NodeIndex, ValidatorIndex};
use super::json::{
    Node, Object, ParseError, Parsed, Path, Presence, Remarks, array, boolean, decimal, invalid,
    number, quotable, text, to_go_json,
};
use super::network::Network;
use super::token::{Gwei, StakingToken};
use super::version::{BytesEncoding, DefinitionVersion, UnknownDefinitionVersion};
use crate::keys::k1::EnrPublicKey;

/// Largest definition file read, in bytes. charon itself stops at 16 MiB when it fetches one (from v1.9.0); 65536
/// validators need 10 MiB.
pub const MAX_DEFINITION_BYTES: usize = 16 << 20;

/// Fewest operators of which charon makes a cluster (`cmd/createcluster.go`, from v0.16.0).
pub const MIN_OPERATORS: usize = 3;

/// Most operators, and so nodes: the list limit of the definition hash from v1.3.0.
pub const MAX_OPERATORS: usize = 256;

/// Most validators: the list limit of the lock hash from v1.3.0.
pub const MAX_VALIDATORS: usize = 65_536;

/// Most deposit amounts: the list limit of the definition hash from v1.8.0.
pub const MAX_DEPOSIT_AMOUNTS: usize = 256;

/// Length of one ECDSA signature R ‖ S ‖ V.
pub(crate) const SIGNATURE_LEN: usize = 65;

/// A cluster definition, as in `cluster-definition.json` and inside the cluster lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Cosmetic name of the cluster; may be empty. At most 256 bytes from v1.3.0.
    pub name: String,
    /// Who convened the ceremony; empty before v1.4.0 and where nobody signed as creator.
    pub creator: Creator,
    /// Operators in the order of their nodes.
    pub operators: Vec<Operator>,
    /// Random identifier, usually an upper-case UUID. At most 64 bytes from v1.3.0.
    pub uuid: String,
    /// Format version, which also decides the format of the lock.
    pub version: DefinitionVersion,
    /// When it was made, RFC 3339 with the creator's zone; not interpreted, since it is hashed as text. At most 32 bytes
    /// from v1.3.0.
    pub timestamp: String,
    /// Number of validators to create.
    pub num_validators: u64,
    /// Number of nodes whose shares make a signature.
    pub threshold: u64,
    /// Fee recipient and withdrawal addresses.
    pub validators: ValidatorAddresses,
    /// `default`, `frost`, `pedersen` or `keycast`.
    pub dkg_algorithm: String,
    /// Genesis fork version of the network.
    pub fork_version: [u8; 4],
    /// Amounts of the deposits per validator, in the order given and with duplicates; `None` if the release's defaults
    /// apply. Always `None` before v1.8.0.
    pub deposit_amounts: Option<Vec<Gwei>>,
    /// Preferred consensus protocol, often empty; from v1.9.0. At most 256 bytes.
    pub consensus_protocol: String,
    /// Gas limit of the builder registrations; from v1.10.0, 0 before.
    pub target_gas_limit: u64,
    /// Whether withdrawal credentials are of type 0x02; from v1.10.0, false before.
    pub compounding: bool,
    /// Hash of the terms as the file states it, not recomputed; `None` if the file has none.
    pub config_hash: Option<ConfigHash>,
    /// Hash of terms and signatures as the file states it, not recomputed; `None` if the file has none.
    pub definition_hash: Option<DefinitionHash>,
}

/// Who convened the ceremony; from v1.4.0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Creator {
    /// `0x` and 40 hexadecimal digits as written, or empty.
    pub address: String,
    /// EIP-712 signature of the config hash, R ‖ S ‖ V, or empty; several such pieces only from v1.11.0.
    pub config_signature: Vec<u8>,
}

/// One operator and the node they run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Operator {
    /// `0x` and 40 hexadecimal digits as written, or empty.
    pub address: String,
    /// The node's record exactly as written; see [`super::enr::Enr::parse`]. May be empty before the operator has joined.
    pub enr: String,
    /// EIP-712 signature of the config hash, R ‖ S ‖ V, or empty; several such pieces only from v1.11.0.
    pub config_signature: Vec<u8>,
    /// EIP-712 signature of `enr`, likewise.
    pub enr_signature: Vec<u8>,
}

/// Fee recipient and withdrawal addresses of the validators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValidatorAddresses {
    /// One pair for all validators: before v1.5.0.
    Shared(AddressPair),
    /// One pair for each, in the order of `distributed_validators`: from v1.5.0.
    PerValidator(Vec<AddressPair>),
}

/// Where a validator's money goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AddressPair {
    /// Receives priority fees; as written, or empty.
    pub fee_recipient_address: String,
    /// Receives the stake; as written, or empty.
    pub withdrawal_address: String,
}

/// charon's default threshold for so many operators: two thirds rounded up (`cluster.Threshold`).
pub const fn default_threshold(operators: usize) -> usize {
    operators.saturating_mul(2).div_ceil(3)
}

impl Definition {
    /// Reads `cluster-definition.json` as charon would.
    ///
    /// # Errors
    /// Whatever charon refuses at loading, unknown versions among it, and whatever exceeds the format's limits. Hashes,
    /// signatures, ENRs and the threshold are not judged here.
    pub fn parse(bytes: &[u8]) -> Result<Parsed<Self>, ParseError> {
        let mut remarks = Remarks::default();
        let node = Node::parse(bytes, MAX_DEFINITION_BYTES)?;
        let value = Self::from_node(Object::new(node, Path::File)?, &mut remarks)?;
        Ok(Parsed {
            value,
            remarks: remarks.finish(),
        })
    }

    /// The file as charon writes it, byte for byte; hashes as they are in `self`.
    pub fn to_json(&self) -> String {
        to_go_json(&self.to_value())
    }

    /// Indexes of all nodes in order.
    pub fn nodes(&self) -> impl Iterator<Item = NodeIndex> + use<> {
        (0..self.operators.len()).map(NodeIndex::new)
    }

    /// The operator of a node.
    pub fn operator(&self, node: NodeIndex) -> Option<&Operator> {
        self.operators.get(node.position())
    }

    /// The node whose record names this ENR key.
    pub fn node_of(&self, key: &EnrPublicKey) -> Option<NodeIndex> {
        self.nodes().find(|&node| {
            self.operator(node)
                .and_then(|operator| Enr::parse(&operator.enr).ok())
                .is_some_and(|enr| enr.public_key() == key)
        })
    }

    /// The address pair of a validator; `None` if there are fewer validators.
    pub fn addresses_of(&self, validator: ValidatorIndex) -> Option<&AddressPair> {
        match &self.validators {
            ValidatorAddresses::Shared(pair) => {
                ((validator.position() as u64) < self.num_validators).then_some(pair)
            }
            ValidatorAddresses::PerValidator(pairs) => pairs.get(validator.position()),
        }
    }

    /// The withdrawal credentials that the validator's deposits must have: type 0x01 or 0x02, eleven zero bytes and the
    /// withdrawal address. `None` without such an address.
    pub fn withdrawal_credentials(&self, validator: ValidatorIndex) -> Option<[u8; 32]> {
        let address = &self.addresses_of(validator)?.withdrawal_address;
        let address = super::hex::array_from_0x::<20>(address)?;
        let mut credentials = [0; 32];
        credentials[0] = if self.compounding { 0x02 } else { 0x01 };
        credentials[12..].copy_from_slice(&address);
        Some(credentials)
    }

    /// Whether nobody signed: no operator has an address or a signature. Legal; then nothing but the ENR keys binds the
    /// operators to the definition.
    pub fn is_unsigned(&self) -> bool {
        self.operators.iter().all(Operator::is_unsigned)
    }

    pub(crate) fn from_node(
        mut object: Object<'_, '_>,
        remarks: &mut Remarks,
    ) -> Result<Self, ParseError> {
        use Presence::{Always, Optional};

        let root = object.path();
        let version = peek_version(&object)?;
        // The version was read ahead; taking it reports duplicates.
        object.take("version", Always, remarks);

        let mut take_text = |object: &mut Object<'_, '_>, name, presence| {
            let node = object.take(name, presence, remarks);
            text(node, Path::Key(&root, name)).map(std::borrow::Cow::into_owned)
        };
        let name = take_text(&mut object, "name", Optional)?;
        let uuid = take_text(&mut object, "uuid", Always)?;
        let timestamp = take_text(&mut object, "timestamp", Optional)?;
        let dkg_algorithm = take_text(&mut object, "dkg_algorithm", Always)?;
        let fork_version = take_text(&mut object, "fork_version", Always)?;
        let consensus_protocol = if version.has_consensus_protocol() {
            take_text(&mut object, "consensus_protocol", Always)?
        } else {
            String::new()
        };

        let mut take_number = |object: &mut Object<'_, '_>, name| {
            let node = object.take(name, Always, remarks);
            number(node, Path::Key(&root, name))
        };
        let num_validators = take_number(&mut object, "num_validators")?;
        let threshold = take_number(&mut object, "threshold")?;
        let target_gas_limit = if version.has_target_gas_limit() {
            take_number(&mut object, "target_gas_limit")?
        } else {
            0
        };
        if num_validators > MAX_VALIDATORS as u64 {
            return Err(ParseError::Invalid {
                path: Path::Key(&root, "num_validators").to_string(),
                seen: num_validators.to_string(),
                expected: format!("at most {MAX_VALIDATORS}"),
            });
        }
        let compounding = if version.has_compounding() {
            let node = object.take("compounding", Always, remarks);
            boolean(node, Path::Key(&root, "compounding"))?
        } else {
            false
        };

        let creator = if version.has_creator() {
            let node = object.take("creator", Always, remarks);
            read_creator(node, Path::Key(&root, "creator"), version, remarks)?
        } else {
            Creator::default()
        };
        let operators = {
            let path = Path::Key(&root, "operators");
            array(
                object.take("operators", Always, remarks),
                path,
                MAX_OPERATORS,
            )?
            .into_iter()
            .enumerate()
            .map(|(position, node)| {
                read_operator(node, Path::Element(&path, position), version, remarks)
            })
            .collect::<Result<Vec<_>, _>>()?
        };
        let validators = if version.has_validators_array() {
            let path = Path::Key(&root, "validators");
            let pairs = array(
                object.take("validators", Always, remarks),
                path,
                MAX_VALIDATORS,
            )?
            .into_iter()
            .enumerate()
            .map(|(position, node)| {
                let path = Path::Element(&path, position);
                let mut object = Object::new(node, path)?;
                let pair = read_address_pair(&mut object, Always, remarks)?;
                object.finish(remarks);
                Ok(pair)
            })
            .collect::<Result<Vec<_>, ParseError>>()?;
            if pairs.len() as u64 != num_validators {
                return Err(ParseError::Invalid {
                    path: path.to_string(),
                    seen: format!("{} address pairs", pairs.len()),
                    expected: format!("{num_validators} as num_validators says"),
                });
            }
            ValidatorAddresses::PerValidator(pairs)
        } else {
            ValidatorAddresses::Shared(read_address_pair(&mut object, Optional, remarks)?)
        };
        let deposit_amounts = if version.has_deposit_amounts() {
            // One that cannot be read is an error below.
            let token =
                hex::array_from_0x(&fork_version).map_or(StakingToken::ETH, Network::token_of);
            read_amounts(&mut object, compounding, token, remarks)?
        } else {
            None
        };

        let config_hash = take_hash(&mut object, "config_hash", version, remarks)?;
        let definition_hash = take_hash(&mut object, "definition_hash", version, remarks)?;
        object.finish(remarks);

        Ok(Self {
            name,
            creator,
            operators,
            uuid,
            version,
            timestamp,
            num_validators,
            threshold,
            validators,
            dkg_algorithm,
            fork_version: hex::array_from_0x(&fork_version).ok_or_else(|| {
                let path = Path::Key(&root, "fork_version");
                invalid(path, &fork_version, "4 bytes in hexadecimal")
            })?,
            deposit_amounts,
            consensus_protocol,
            target_gas_limit,
            compounding,
            config_hash: config_hash.map(ConfigHash::new),
            definition_hash: definition_hash.map(DefinitionHash::new),
        })
    }

    pub(crate) fn to_value(&self) -> Value {
        let version = self.version;
        let bytes = |bytes: &[u8]| bytes_to_value(bytes, version.bytes_encoding());
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| {
            map.insert(key.to_owned(), value);
        };
        let put_unless_empty = |put: &mut dyn FnMut(&str, Value), key: &str, text: &str| {
            if !text.is_empty() {
                put(key, text.into());
            }
        };
        put_unless_empty(&mut put, "name", &self.name);
        if version.has_creator() {
            put(
                "creator",
                json!({
                    "address": self.creator.address,
                    "config_signature": bytes(&self.creator.config_signature),
                }),
            );
        }
        put(
            "operators",
            array_or_null(self.operators.iter().map(|operator| {
                let mut map = Map::new();
                map.insert("address".to_owned(), json!(operator.address));
                map.insert("enr".to_owned(), json!(operator.enr));
                if version.has_nonce() {
                    map.insert("nonce".to_owned(), json!(0));
                }
                map.insert(
                    "config_signature".to_owned(),
                    json!(bytes(&operator.config_signature)),
                );
                map.insert(
                    "enr_signature".to_owned(),
                    json!(bytes(&operator.enr_signature)),
                );
                Value::Object(map)
            })),
        );
        put("uuid", json!(self.uuid));
        put("version", json!(version.text()));
        put_unless_empty(&mut put, "timestamp", &self.timestamp);
        put("num_validators", json!(self.num_validators));
        put("threshold", json!(self.threshold));
        match &self.validators {
            ValidatorAddresses::Shared(pair) => {
                // Without validators charon has no pair to write (`LegacyValidatorAddresses`).
                if self.num_validators > 0 {
                    put_unless_empty(
                        &mut put,
                        "fee_recipient_address",
                        &pair.fee_recipient_address,
                    );
                    put_unless_empty(&mut put, "withdrawal_address", &pair.withdrawal_address);
                }
            }
            ValidatorAddresses::PerValidator(pairs) => put(
                "validators",
                array_or_null(pairs.iter().map(|pair| {
                    json!({
                        "fee_recipient_address": pair.fee_recipient_address,
                        "withdrawal_address": pair.withdrawal_address,
                    })
                })),
            ),
        }
        put("dkg_algorithm", json!(self.dkg_algorithm));
        put("fork_version", json!(hex::to_0x(&self.fork_version)));
        if version.has_deposit_amounts() {
            put(
                "deposit_amounts",
                match &self.deposit_amounts {
                    None => Value::Null,
                    Some(amounts) => amounts.iter().map(|amount| amount.0.to_string()).collect(),
                },
            );
        }
        if version.has_consensus_protocol() {
            put("consensus_protocol", json!(self.consensus_protocol));
        }
        if version.has_target_gas_limit() {
            put("target_gas_limit", json!(self.target_gas_limit));
        }
        if version.has_compounding() {
            put("compounding", json!(self.compounding));
        }
        let config_hash = self.config_hash.as_ref().map(ConfigHash::as_bytes);
        put(
            "config_hash",
            json!(bytes(config_hash.map_or(&[], <[u8; 32]>::as_slice))),
        );
        let definition_hash = self.definition_hash.as_ref().map(DefinitionHash::as_bytes);
        put(
            "definition_hash",
            json!(bytes(definition_hash.map_or(&[], <[u8; 32]>::as_slice))),
        );
        Value::Object(map)
    }
}

impl Operator {
    /// Whether this operator signed nothing and has no address.
    pub fn is_unsigned(&self) -> bool {
        self.address.is_empty() && self.has_not_signed()
    }

    /// Whether this operator signed nothing.
    pub fn has_not_signed(&self) -> bool {
        self.config_signature.is_empty() && self.enr_signature.is_empty()
    }
}

/// A list as Go writes one that was filled by appending: `null` if nothing was appended.
pub(crate) fn array_or_null(elements: impl Iterator<Item = Value>) -> Value {
    let elements: Vec<Value> = elements.collect();
    if elements.is_empty() {
        Value::Null
    } else {
        Value::Array(elements)
    }
}

/// Bytes as the version writes them; no bytes are `null` in base64 and an empty text in hexadecimal.
pub(crate) fn bytes_to_value(bytes: &[u8], encoding: BytesEncoding) -> Value {
    use base64::Engine;
    match encoding {
        BytesEncoding::Base64 if bytes.is_empty() => Value::Null,
        BytesEncoding::Base64 => base64::engine::general_purpose::STANDARD
            .encode(bytes)
            .into(),
        BytesEncoding::Hex => hex::to_0x(bytes).into(),
    }
}

/// Bytes as the version writes them; none if absent.
pub(crate) fn bytes_from_node(
    node: Option<Node<'_>>,
    path: Path<'_>,
    encoding: BytesEncoding,
) -> Result<Vec<u8>, ParseError> {
    use base64::Engine;
    let text = text(node, path)?;
    match encoding {
        BytesEncoding::Base64 => base64::engine::general_purpose::STANDARD
            .decode(text.as_bytes())
            .map_err(|_| invalid(path, &text, "bytes in base64")),
        BytesEncoding::Hex => {
            hex::from_0x(&text).ok_or_else(|| invalid(path, &text, "bytes in hexadecimal"))
        }
    }
}

/// Exactly `N` bytes, or none at all.
pub(crate) fn array_or_empty<const N: usize>(
    node: Option<Node<'_>>,
    path: Path<'_>,
    encoding: BytesEncoding,
) -> Result<Option<[u8; N]>, ParseError> {
    // The shares of a large lock are a hundred thousand such texts, so the usual case goes without a detour.
    if let (BytesEncoding::Hex, Some(Node::Text(text))) = (encoding, &node)
        && let Some(array) = hex::array_from_0x(text)
    {
        return Ok(Some(array));
    }
    let bytes = bytes_from_node(node, path, encoding)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    match <[u8; N]>::try_from(bytes.as_slice()) {
        Ok(array) => Ok(Some(array)),
        Err(_) => Err(ParseError::Invalid {
            path: path.to_string(),
            seen: format!("{} bytes", bytes.len()),
            expected: format!("{N} bytes"),
        }),
    }
}

pub(crate) fn take_hash(
    object: &mut Object<'_, '_>,
    name: &'static str,
    version: DefinitionVersion,
    remarks: &mut Remarks,
) -> Result<Option<[u8; 32]>, ParseError> {
    let root = object.path();
    let node = object.take(name, Presence::Always, remarks);
    array_or_empty(node, Path::Key(&root, name), version.bytes_encoding())
}

fn peek_version(object: &Object<'_, '_>) -> Result<DefinitionVersion, ParseError> {
    let root = object.path();
    let path = Path::Key(&root, "version");
    let seen = match object.peek("version") {
        None | Some(Node::Null) => "",
        Some(Node::Text(text)) => text,
        Some(
            node @ (Node::Bool(_)
            | Node::Unsigned(_)
            | Node::OtherNumber
            | Node::Array(_)
            | Node::Object(_)),
        ) => return Err(super::json::wrong_type(node, path, "a text")),
    };
    seen.parse()
        .map_err(|_: UnknownDefinitionVersion| ParseError::Version {
            path: path.to_string(),
            error: UnknownDefinitionVersion {
                seen: quotable(seen),
            },
        })
}

fn read_signature(
    node: Option<Node<'_>>,
    path: Path<'_>,
    version: DefinitionVersion,
) -> Result<Vec<u8>, ParseError> {
    let signature = bytes_from_node(node, path, version.bytes_encoding())?;
    let limit = version.max_signature_pieces();
    let is_whole = signature.len().is_multiple_of(SIGNATURE_LEN);
    if is_whole && limit == 1 && signature.len() > SIGNATURE_LEN {
        return Err(ParseError::ContractSignature {
            path: path.to_string(),
            seen: signature.len(),
            expected: SIGNATURE_LEN,
        });
    }
    if !is_whole || signature.len() / SIGNATURE_LEN > limit {
        return Err(ParseError::Invalid {
            path: path.to_string(),
            seen: format!("{} bytes", signature.len()),
            expected: if limit == 1 {
                format!("no bytes or {SIGNATURE_LEN}")
            } else {
                format!("a multiple of {SIGNATURE_LEN} bytes, at most {limit} times")
            },
        });
    }
    Ok(signature)
}

fn read_address(node: Option<Node<'_>>, path: Path<'_>) -> Result<String, ParseError> {
    let text = text(node, path)?;
    if text.is_empty() || hex::array_from_0x::<20>(&text).is_some() {
        Ok(text.into_owned())
    } else {
        Err(invalid(
            path,
            &text,
            "an address of 20 bytes in hexadecimal",
        ))
    }
}

fn read_creator(
    node: Option<Node<'_>>,
    path: Path<'_>,
    version: DefinitionVersion,
    remarks: &mut Remarks,
) -> Result<Creator, ParseError> {
    let absent = node.is_none();
    let mut object = Object::new_or_empty(node, path)?;
    // One remark on the missing object is enough.
    let presence = if absent {
        Presence::Optional
    } else {
        Presence::Always
    };
    let address = object.take("address", presence, remarks);
    let signature = object.take("config_signature", presence, remarks);
    let creator = Creator {
        address: read_address(address, Path::Key(&path, "address"))?,
        config_signature: read_signature(signature, Path::Key(&path, "config_signature"), version)?,
    };
    object.finish(remarks);
    Ok(creator)
}

fn read_operator(
    node: Node<'_>,
    path: Path<'_>,
    version: DefinitionVersion,
    remarks: &mut Remarks,
) -> Result<Operator, ParseError> {
    use Presence::Always;

    let mut object = Object::new(node, path)?;
    let address = object.take("address", Always, remarks);
    let enr = object.take("enr", Always, remarks);
    let config_signature = object.take("config_signature", Always, remarks);
    let enr_signature = object.take("enr_signature", Always, remarks);
    if version.has_nonce() {
        let path = Path::Key(&path, "nonce");
        let nonce = number(object.take("nonce", Always, remarks), path)?;
        if nonce != 0 {
            return Err(ParseError::Invalid {
                path: path.to_string(),
                seen: nonce.to_string(),
                expected: "0".to_owned(),
            });
        }
    }
    object.finish(remarks);
    Ok(Operator {
        address: read_address(address, Path::Key(&path, "address"))?,
        enr: text(enr, Path::Key(&path, "enr"))?.into_owned(),
        config_signature: read_signature(
            config_signature,
            Path::Key(&path, "config_signature"),
            version,
        )?,
        enr_signature: read_signature(enr_signature, Path::Key(&path, "enr_signature"), version)?,
    })
}

fn read_address_pair(
    object: &mut Object<'_, '_>,
    presence: Presence,
    remarks: &mut Remarks,
) -> Result<AddressPair, ParseError> {
    let root = object.path();
    let mut take = |name| {
        let node = object.take(name, presence, remarks);
        read_address(node, Path::Key(&root, name))
    };
    Ok(AddressPair {
        fee_recipient_address: take("fee_recipient_address")?,
        withdrawal_address: take("withdrawal_address")?,
    })
}

fn read_amounts(
    object: &mut Object<'_, '_>,
    compounding: bool,
    token: StakingToken,
    remarks: &mut Remarks,
) -> Result<Option<Vec<Gwei>>, ParseError> {
    let root = object.path();
    let path = Path::Key(&root, "deposit_amounts");
    let Some(node) = object.take("deposit_amounts", Presence::Always, remarks) else {
        return Ok(None);
    };
    let mut amounts = Vec::new();
    for (position, node) in array(Some(node), path, MAX_DEPOSIT_AMOUNTS)?
        .into_iter()
        .enumerate()
    {
        let path = Path::Element(&path, position);
        amounts.push(Gwei(decimal(&text(Some(node), path)?, path)?));
    }
    check_chosen_amounts(&amounts, compounding).map_err(|error| ParseError::Invalid {
        path: path.to_string(),
        seen: error.seen(token),
        expected: error.expected(token),
    })?;
    Ok(Some(amounts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_threshold_is_charons() {
        for (operators, threshold) in [(3, 2), (4, 3), (5, 4), (6, 4), (7, 5), (10, 7)] {
            assert_eq!(default_threshold(operators), threshold);
        }
    }
}
