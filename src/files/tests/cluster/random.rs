//! Random definitions and locks of all versions: two implementations of the hashes must agree, and what is written must be
//! read back.

use charon_files::cluster::{
    AddressPair, BuilderRegistration, ClusterLock, ConfigHash, Creator, Definition, DefinitionHash,
    DefinitionVersion, DepositData, DistributedValidator, Gwei, LockHash, Operator,
    ValidatorAddresses,
};
use proptest::array::{uniform4, uniform20, uniform32};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::naive_hash;

fn bytes<const N: usize>() -> impl Strategy<Value = [u8; N]> {
    vec(any::<u8>(), N).prop_map(|bytes| bytes.try_into().unwrap())
}

/// Texts of exactly the lengths where chunks begin and end are as likely as all others together.
fn text(limit: usize) -> BoxedStrategy<String> {
    const ALPHABET: &[u8] = br#"abcXYZ0189 <>&"\"#;
    let of_length = |length: usize| {
        vec(0..ALPHABET.len(), length)
            .prop_map(|digits| digits.iter().map(|&it| char::from(ALPHABET[it])).collect())
    };
    prop_oneof![
        (0..=limit).prop_flat_map(of_length),
        proptest::sample::select(vec![
            0,
            1,
            31.min(limit),
            32.min(limit),
            33.min(limit),
            limit
        ])
        .prop_flat_map(of_length),
    ]
    .boxed()
}

fn address() -> BoxedStrategy<String> {
    prop_oneof![
        1 => Just(String::new()),
        4 => uniform20(any::<u8>()).prop_map(|it| format!("0x{}", hex::encode(it))),
        1 => uniform20(any::<u8>()).prop_map(|it| format!("0x{}", hex::encode_upper(it))),
    ]
    .boxed()
}

fn signature(version: DefinitionVersion) -> BoxedStrategy<Vec<u8>> {
    let pieces = version.max_signature_pieces().min(4);
    (0..=pieces)
        .prop_flat_map(|pieces| vec(any::<u8>(), pieces * 65))
        .boxed()
}

fn operator(version: DefinitionVersion) -> impl Strategy<Value = Operator> {
    (address(), text(200), signature(version), signature(version)).prop_map(
        |(address, enr, config_signature, enr_signature)| Operator {
            address,
            enr,
            config_signature,
            enr_signature,
        },
    )
}

fn pair() -> impl Strategy<Value = AddressPair> {
    (address(), address()).prop_map(|(fee_recipient_address, withdrawal_address)| AddressPair {
        fee_recipient_address,
        withdrawal_address,
    })
}

fn amounts(version: DefinitionVersion) -> BoxedStrategy<Option<Vec<Gwei>>> {
    if !version.has_deposit_amounts() {
        return Just(None).boxed();
    }
    let chosen = vec(1_000_000_000..=32_000_000_000u64, 0..12).prop_map(|amounts| {
        // One full deposit makes the sum large enough.
        let full = (!amounts.is_empty()).then_some(Gwei::FULL);
        Some(amounts.into_iter().map(Gwei).chain(full).collect())
    });
    prop_oneof![Just(None), chosen].boxed()
}

fn definition() -> impl Strategy<Value = Definition> {
    proptest::sample::select(DefinitionVersion::ALL.to_vec()).prop_flat_map(definition_of)
}

fn definition_of(version: DefinitionVersion) -> impl Strategy<Value = Definition> {
    let validators = if version.has_validators_array() {
        vec(pair(), 0..5)
            .prop_map(|pairs| (pairs.len() as u64, ValidatorAddresses::PerValidator(pairs)))
            .boxed()
    } else {
        (0..5u64, pair())
            .prop_map(|(number, pair)| {
                // Without validators charon writes no addresses.
                let pair = if number == 0 {
                    AddressPair::default()
                } else {
                    pair
                };
                (number, ValidatorAddresses::Shared(pair))
            })
            .boxed()
    };
    let creator = (address(), signature(version)).prop_map(move |(address, config_signature)| {
        if version.has_creator() {
            Creator {
                address,
                config_signature,
            }
        } else {
            Creator::default()
        }
    });
    let numbers = (0..1_000_000u64, 0..100_000_000u64, any::<bool>());
    let hashes = proptest::option::of((uniform32(any::<u8>()), uniform32(any::<u8>())));
    (
        (
            text(256),
            creator,
            vec(operator(version), 0..6),
            text(64),
            text(32),
        ),
        (
            validators,
            text(32),
            uniform4(any::<u8>()),
            amounts(version),
            text(256),
        ),
        (numbers, hashes),
    )
        .prop_map(move |(first, second, (numbers, hashes))| {
            let (name, creator, operators, uuid, timestamp) = first;
            let (validators, dkg_algorithm, fork_version, deposit_amounts, consensus) = second;
            let (num_validators, validators) = validators;
            let (threshold, target_gas_limit, compounding) = numbers;
            Definition {
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
                fork_version,
                deposit_amounts,
                consensus_protocol: if version.has_consensus_protocol() {
                    consensus
                } else {
                    String::new()
                },
                target_gas_limit: if version.has_target_gas_limit() {
                    target_gas_limit
                } else {
                    0
                },
                compounding: version.has_compounding() && compounding,
                config_hash: hashes.map(|(hash, _)| ConfigHash::new(hash)),
                definition_hash: hashes.map(|(_, hash)| DefinitionHash::new(hash)),
            }
        })
}

fn deposit() -> impl Strategy<Value = DepositData> {
    (bytes(), bytes(), 0..=i64::MAX as u64, bytes()).prop_map(
        |(pubkey, withdrawal_credentials, amount, signature)| DepositData {
            pubkey,
            withdrawal_credentials,
            amount: Gwei(amount),
            signature,
        },
    )
}

fn registration() -> impl Strategy<Value = BuilderRegistration> {
    (
        bytes(),
        0..=i64::MAX as u64,
        0..=i64::MAX as u64,
        bytes(),
        bytes(),
    )
        .prop_map(|(fee_recipient, gas_limit, timestamp, pubkey, signature)| {
            BuilderRegistration {
                fee_recipient,
                gas_limit,
                timestamp,
                pubkey,
                signature,
            }
        })
}

fn validator(version: DefinitionVersion) -> impl Strategy<Value = DistributedValidator> {
    use charon_files::cluster::version::LockDeposits;
    let deposits = match version.lock_deposits() {
        LockDeposits::None => 0..1,
        LockDeposits::One => 0..2,
        LockDeposits::Many => 0..4,
    };
    let registration = proptest::option::of(registration());
    (
        bytes(),
        vec(bytes(), 0..6),
        vec(deposit(), deposits),
        registration,
    )
        .prop_map(move |(public_key, public_shares, deposits, registration)| {
            DistributedValidator {
                public_key,
                public_shares,
                deposits,
                stated_deposit_roots: Vec::new(),
                builder_registration: registration.filter(|_| version.has_builder_registration()),
            }
        })
}

fn lock() -> impl Strategy<Value = ClusterLock> {
    definition().prop_flat_map(|definition| {
        let version = definition.version;
        let signatures = if version.has_node_signatures() {
            0..4
        } else {
            0..1
        };
        (
            vec(validator(version), 0..4),
            proptest::option::of(bytes()),
            proptest::option::of(uniform32(any::<u8>())),
            vec(bytes(), signatures),
        )
            .prop_map(
                move |(validators, aggregate, hash, node_signatures)| ClusterLock {
                    definition: definition.clone(),
                    validators,
                    signature_aggregate: aggregate,
                    lock_hash: hash.map(LockHash::new),
                    node_signatures,
                },
            )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn two_implementations_agree_and_files_are_read_back(lock in lock()) {
        let text = lock.to_json();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let definition = &lock.definition;
        prop_assert_eq!(
            *definition.config_hash().unwrap().as_bytes(),
            naive_hash::config_hash(&json["cluster_definition"])
        );
        prop_assert_eq!(
            *definition.definition_hash().unwrap().as_bytes(),
            naive_hash::definition_hash(&json["cluster_definition"])
        );
        prop_assert_eq!(*lock.lock_hash().unwrap().as_bytes(), naive_hash::lock_hash(&json));

        let parsed = ClusterLock::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(&parsed.value, &lock);
        let parsed = Definition::parse(definition.to_json().as_bytes()).unwrap();
        prop_assert_eq!(&parsed.value, definition);
        prop_assert_eq!(parsed.remarks, []);
    }

    #[test]
    fn nothing_that_was_cut_or_changed_makes_it_stop(
        lock in lock(),
        cut in any::<proptest::sample::Index>(),
        change in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = lock.to_json().into_bytes();
        prop_assert!(ClusterLock::parse(&bytes[..cut.index(bytes.len())]).is_err());
        let position = change.index(bytes.len());
        bytes[position] = byte;
        // Whatever comes out, it must come out, and be hashable or say why not.
        if let Ok(parsed) = ClusterLock::parse(&bytes) {
            drop(parsed.value.lock_hash());
        }
    }
}
