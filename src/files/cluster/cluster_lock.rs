//! The cluster lock: definition, validators and signatures, the result of a ceremony (charon `cluster/lock.go`).

use serde_json::{Map, Value, json};

use super::definition::{
    Definition, MAX_OPERATORS, MAX_VALIDATORS, SIGNATURE_LEN, array_or_empty, array_or_null,
    bytes_from_node, bytes_to_value, take_hash,
};
use super::deposit_data::{DepositData, StatedDepositRoot};
use super::hash::LockHash;
use super::hex;
use super::index::{NodeIndex, ValidatorIndex};
use super::json::{
    Node, Object, ParseError, Parsed, Path, Presence, Remarks, array, number, to_go_json,
};
use super::version::{BytesEncoding, DefinitionVersion, LockDeposits};

/// Largest cluster lock read, in bytes. 3000 validators of 30 nodes with two deposits each need 16 MiB, and four times that
/// stays within the memory that a verification may take; the number of JSON values is bounded too.
pub const MAX_LOCK_BYTES: usize = 64 << 20;

/// Most deposits of one validator: the list limit of the lock hash from v1.8.0.
pub const MAX_DEPOSITS: usize = 256;

/// A cluster lock, as in `cluster-lock.json`. Its format follows the version of the definition inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterLock {
    /// What was agreed before.
    pub definition: Definition,
    /// The validators in the order of `keystore-N.json`.
    pub validators: Vec<DistributedValidator>,
    /// BLS aggregate of the signatures of the lock hash by every share of every validator, compressed G2; `None` if empty.
    pub signature_aggregate: Option<[u8; 96]>,
    /// Hash of the definition and the validators as the file states it, not recomputed; `None` if the file has none.
    pub lock_hash: Option<LockHash>,
    /// Signature of the lock hash by each node's ENR key, R ‖ S ‖ V, in the order of operators; from v1.7.0.
    pub node_signatures: Vec<[u8; 65]>,
}

/// One validator of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistributedValidator {
    /// Group public key, compressed G1.
    pub public_key: [u8; 48],
    /// Public key of each node's share, compressed G1, in the order of operators.
    pub public_shares: Vec<[u8; 48]>,
    /// Deposits in the lock: none before v1.6.0, one in v1.6.0 and v1.7.0 (none if the file has the empty placeholder), any
    /// number after.
    pub deposits: Vec<DepositData>,
    /// Roots of deposits that the file states although charon writes none; they are not written again.
    pub stated_deposit_roots: Vec<StatedDepositRoot>,
    /// Signed registration for block builders: from v1.7.0; `None` if absent or empty.
    pub builder_registration: Option<BuilderRegistration>,
}

/// A signed validator registration (builder-specs `ValidatorRegistrationV1`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuilderRegistration {
    /// Receives priority fees.
    pub fee_recipient: [u8; 20],
    /// Target gas limit.
    pub gas_limit: u64,
    /// Unix seconds.
    pub timestamp: u64,
    /// Group public key, compressed G1.
    pub pubkey: [u8; 48],
    /// BLS signature by the group key, compressed G2.
    pub signature: [u8; 96],
}

impl ClusterLock {
    /// Reads `cluster-lock.json` as charon would.
    ///
    /// # Errors
    /// Whatever charon refuses at loading, unknown versions among it, whatever exceeds the format's limits, and keys and
    /// signatures of another length. Counts, hashes and signatures are not judged here.
    pub fn parse(bytes: &[u8]) -> Result<Parsed<Self>, ParseError> {
        use Presence::Always;

        let mut remarks = Remarks::default();
        let node = Node::parse(bytes, MAX_LOCK_BYTES)?;
        let root = Path::File;
        let mut object = Object::new(node, root)?;

        let definition_path = Path::Key(&root, "cluster_definition");
        let definition = object.take("cluster_definition", Always, &mut remarks);
        let definition = Definition::from_node(
            Object::new_or_empty(definition, definition_path)?,
            &mut remarks,
        )?;
        let version = definition.version;

        let validators_path = Path::Key(&root, "distributed_validators");
        let validators = array(
            object.take("distributed_validators", Always, &mut remarks),
            validators_path,
            MAX_VALIDATORS,
        )?;
        let validators = validators
            .into_iter()
            .enumerate()
            .map(|(position, node)| {
                let path = Path::Element(&validators_path, position);
                DistributedValidator::from_node(Object::new(node, path)?, version, &mut remarks)
            })
            .collect::<Result<Vec<_>, _>>()?;

        let signature_aggregate = array_or_empty(
            object.take("signature_aggregate", Always, &mut remarks),
            Path::Key(&root, "signature_aggregate"),
            version.bytes_encoding(),
        )?;
        let lock_hash = take_hash(&mut object, "lock_hash", version, &mut remarks)?;
        let node_signatures = if version.has_node_signatures() {
            let path = Path::Key(&root, "node_signatures");
            array(
                object.take("node_signatures", Always, &mut remarks),
                path,
                MAX_OPERATORS,
            )?
            .into_iter()
            .enumerate()
            .map(|(position, node)| {
                fixed::<SIGNATURE_LEN>(
                    Some(node),
                    Path::Element(&path, position),
                    BytesEncoding::Hex,
                )
            })
            .collect::<Result<Vec<_>, _>>()?
        } else {
            Vec::new()
        };
        object.finish(&mut remarks);

        Ok(Parsed {
            value: Self {
                definition,
                validators,
                signature_aggregate,
                lock_hash: lock_hash.map(LockHash::new),
                node_signatures,
            },
            remarks: remarks.finish(),
        })
    }

    /// The file as charon writes it, byte for byte; hashes as they are in `self`.
    pub fn to_json(&self) -> String {
        let version = self.definition.version;
        let bytes = |bytes: &[u8]| bytes_to_value(bytes, version.bytes_encoding());
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| {
            map.insert(key.to_owned(), value);
        };
        put("cluster_definition", self.definition.to_value());
        put(
            "distributed_validators",
            array_or_null(
                self.validators
                    .iter()
                    .map(|validator| validator.to_value(version)),
            ),
        );
        let aggregate = self.signature_aggregate.as_ref();
        put(
            "signature_aggregate",
            bytes(aggregate.map_or(&[], <[u8; 96]>::as_slice)),
        );
        let lock_hash = self.lock_hash.as_ref().map(LockHash::as_bytes);
        put(
            "lock_hash",
            bytes(lock_hash.map_or(&[], <[u8; 32]>::as_slice)),
        );
        if version.has_node_signatures() {
            put(
                "node_signatures",
                self.node_signatures
                    .iter()
                    .map(|it| hex::to_0x(it))
                    .collect(),
            );
        }
        to_go_json(&Value::Object(map))
    }

    /// The validators with their indexes.
    pub fn validators(&self) -> impl Iterator<Item = (ValidatorIndex, &DistributedValidator)> {
        self.validators
            .iter()
            .enumerate()
            .map(|(position, validator)| (ValidatorIndex::new(position), validator))
    }
}

impl DistributedValidator {
    /// The public key of a node's share; `None` if the lock has fewer shares.
    pub fn public_share(&self, node: NodeIndex) -> Option<&[u8; 48]> {
        self.public_shares.get(node.position())
    }

    fn from_node(
        mut object: Object<'_, '_>,
        version: DefinitionVersion,
        remarks: &mut Remarks,
    ) -> Result<Self, ParseError> {
        use Presence::{Always, Optional};

        let root = object.path();
        // The group key is hexadecimal even where all else is base64.
        let public_key = fixed(
            object.take("distributed_public_key", Always, remarks),
            Path::Key(&root, "distributed_public_key"),
            BytesEncoding::Hex,
        )?;
        let path = Path::Key(&root, "public_shares");
        let public_shares = array(
            object.take("public_shares", Optional, remarks),
            path,
            MAX_OPERATORS,
        )?
        .into_iter()
        .enumerate()
        .map(|(position, node)| {
            fixed(
                Some(node),
                Path::Element(&path, position),
                version.bytes_encoding(),
            )
        })
        .collect::<Result<Vec<_>, _>>()?;

        if version.has_legacy_lock_fee_recipient() {
            let path = Path::Key(&root, "fee_recipient_address");
            let node = object.take("fee_recipient_address", Optional, remarks);
            let address = bytes_from_node(node, path, BytesEncoding::Hex)?;
            if !address.is_empty() {
                return Err(ParseError::Invalid {
                    path: path.to_string(),
                    seen: hex::to_0x(&address).chars().take(42).collect(),
                    expected: "nothing, since charon supports it no more".to_owned(),
                });
            }
        }

        let mut roots = Vec::new();
        let deposits = match version.lock_deposits() {
            LockDeposits::None => Vec::new(),
            LockDeposits::One => {
                let node = object.take("deposit_data", Always, remarks);
                let path = Path::Key(&root, "deposit_data");
                Vec::from_iter(DepositData::from_node(node, path, 0, &mut roots, remarks)?)
            }
            LockDeposits::Many => {
                let path = Path::Key(&root, "partial_deposit_data");
                array(
                    object.take("partial_deposit_data", Optional, remarks),
                    path,
                    MAX_DEPOSITS,
                )?
                .into_iter()
                .enumerate()
                .map(|(position, node)| {
                    let path = Path::Element(&path, position);
                    DepositData::from_node(Some(node), path, position, &mut roots, remarks)?
                        .ok_or_else(|| ParseError::Invalid {
                            path: path.to_string(),
                            seen: "empty".to_owned(),
                            expected: "a complete deposit".to_owned(),
                        })
                })
                .collect::<Result<Vec<_>, _>>()?
            }
        };
        let builder_registration = if version.has_builder_registration() {
            let node = object.take("builder_registration", Always, remarks);
            BuilderRegistration::from_node(node, Path::Key(&root, "builder_registration"), remarks)?
        } else {
            None
        };
        object.finish(remarks);
        Ok(Self {
            public_key,
            public_shares,
            deposits,
            stated_deposit_roots: roots,
            builder_registration,
        })
    }

    fn to_value(&self, version: DefinitionVersion) -> Value {
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| {
            map.insert(key.to_owned(), value);
        };
        put(
            "distributed_public_key",
            hex::to_0x(&self.public_key).into(),
        );
        if !self.public_shares.is_empty() {
            put(
                "public_shares",
                self.public_shares
                    .iter()
                    .map(|share| bytes_to_value(share, version.bytes_encoding()))
                    .collect(),
            );
        }
        let registration = version
            .has_builder_registration()
            .then(|| BuilderRegistration::to_value(self.builder_registration.as_ref()));
        match version.lock_deposits() {
            LockDeposits::None => {}
            LockDeposits::One => {
                put("deposit_data", DepositData::to_value(self.deposits.first()));
                if let Some(registration) = registration {
                    put("builder_registration", registration);
                }
            }
            LockDeposits::Many => {
                if let Some(registration) = registration {
                    put("builder_registration", registration);
                }
                if !self.deposits.is_empty() {
                    put(
                        "partial_deposit_data",
                        self.deposits
                            .iter()
                            .map(|deposit| DepositData::to_value(Some(deposit)))
                            .collect(),
                    );
                }
            }
        }
        Value::Object(map)
    }
}

impl BuilderRegistration {
    fn from_node(
        node: Option<Node<'_>>,
        path: Path<'_>,
        remarks: &mut Remarks,
    ) -> Result<Option<Self>, ParseError> {
        use Presence::Always;

        if node.is_none() {
            return Ok(None);
        }
        let mut object = Object::new_or_empty(node, path)?;
        let message_path = Path::Key(&path, "message");
        let message = object.take("message", Always, remarks);
        let signature = object.take("signature", Always, remarks);
        object.finish(remarks);
        let mut message = Object::new_or_empty(message, message_path)?;
        let fee_recipient = message.take("fee_recipient", Always, remarks);
        let gas_limit = message.take("gas_limit", Always, remarks);
        let timestamp = message.take("timestamp", Always, remarks);
        let pubkey = message.take("pubkey", Always, remarks);
        message.finish(remarks);

        let hex = BytesEncoding::Hex;
        let fee_recipient = array_or_empty(
            fee_recipient,
            Path::Key(&message_path, "fee_recipient"),
            hex,
        )?;
        let gas_limit = number(gas_limit, Path::Key(&message_path, "gas_limit"))?;
        let timestamp = number(timestamp, Path::Key(&message_path, "timestamp"))?;
        let pubkey = array_or_empty(pubkey, Path::Key(&message_path, "pubkey"), hex)?;
        let signature = array_or_empty(signature, Path::Key(&path, "signature"), hex)?;
        match (fee_recipient, pubkey, signature) {
            (Some(fee_recipient), Some(pubkey), Some(signature)) => Ok(Some(Self {
                fee_recipient,
                gas_limit,
                timestamp,
                pubkey,
                signature,
            })),
            (None, None, None) if gas_limit == 0 && timestamp == 0 => Ok(None),
            _ => Err(ParseError::Invalid {
                path: path.to_string(),
                seen: "partly empty".to_owned(),
                expected: "a complete registration".to_owned(),
            }),
        }
    }

    fn to_value(registration: Option<&Self>) -> Value {
        match registration {
            Some(registration) => json!({
                "message": {
                    "fee_recipient": hex::to_0x(&registration.fee_recipient),
                    "gas_limit": registration.gas_limit,
                    "timestamp": registration.timestamp,
                    "pubkey": hex::to_0x(&registration.pubkey),
                },
                "signature": hex::to_0x(&registration.signature),
            }),
            None => json!({
                "message": {"fee_recipient": "", "gas_limit": 0, "timestamp": 0, "pubkey": ""},
                "signature": "",
            }),
        }
    }
}

/// Exactly `N` bytes.
fn fixed<const N: usize>(
    node: Option<Node<'_>>,
    path: Path<'_>,
    encoding: BytesEncoding,
) -> Result<[u8; N], ParseError> {
    array_or_empty(node, path, encoding)?.ok_or_else(|| ParseError::Invalid {
        path: path.to_string(),
        seen: "empty".to_owned(),
        expected: format!("{N} bytes"),
    })
}
