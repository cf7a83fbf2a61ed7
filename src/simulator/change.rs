//! From a cluster to what an edit makes of it, without any effect: who takes part, and the new shares from the old ones.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use charon_files::cluster::{
    BuilderRegistration, CharonVersion, ClusterLock, Creator, Definition, Enr, Operator,
    ValidatorAddresses,
};
use charon_files::keys::bls::{self, NotAScalar, PublicKey, ShareSecret};
use charon_files::keys::k1::EnrPublicKey;
use charon_proof::edit::{EditKind, EditRequest};

use super::dealer::{Dealt, Terms, Validator};
use super::failure::Failure;

/// What all nodes of an edit tell the meeting point alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EditTerms {
    pub(crate) request: EditRequest,
    /// The whole lock file from before.
    pub(crate) lock: String,
    /// ENRs of all who take part, in order.
    pub(crate) participants: Vec<String>,
    pub(crate) threshold: u64,
}

/// From a cluster to what an edit makes of it.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) before: ClusterLock,
    /// Of the new validators, and of the new lock.
    pub(crate) terms: Terms,
    participants: Vec<EnrPublicKey>,
    /// Of the operators after it, in order, which participant each is.
    signers: Vec<usize>,
    pub(crate) kind: EditKind,
}

impl Change {
    /// # Errors
    /// In charon's words, if the lock cannot be read or is not to be changed so.
    pub(crate) fn new(edit: &EditTerms, release: &CharonVersion) -> Result<Self, Failure> {
        let before = ClusterLock::parse(edit.lock.as_bytes())
            .map_err(|error| Failure::new(format!("unmarshal lock: {error}")))?
            .value;
        let participants = keys(&edit.participants)?;
        let after = edit.request.operators_after(&before);
        let signers = keys(&after)?
            .iter()
            .map(|key| participants.iter().position(|known| known == key))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Failure::new("not enough participating operators"))?;
        let definition = definition_after(&before, edit, after)?;
        Ok(Self {
            terms: Terms::new(definition, release)?,
            before,
            participants,
            signers,
            kind: edit.request.kind(),
        })
    }

    /// The definition of the new lock.
    pub(crate) fn definition(&self) -> &Definition {
        self.terms.definition()
    }

    /// The keys of all who take part, in order.
    pub(crate) fn participants(&self) -> &[EnrPublicKey] {
        &self.participants
    }

    /// Of the operators after it, in order, which participant each is.
    pub(crate) fn signers(&self) -> &[usize] {
        &self.signers
    }

    /// Which operator a participant is after it; `None` for one who leaves.
    pub(crate) fn place(&self, participant: usize) -> Option<usize> {
        self.signers
            .iter()
            .position(|signer| *signer == participant)
    }

    /// Deals the new shares from each participant's old ones; a new participant has none.
    pub(crate) fn deal(
        &self,
        old: &[&[ShareSecret]],
        entropy: &(dyn Fn(&mut [u8]) -> Result<(), Failure> + Sync),
    ) -> Result<Vec<Dealt>, Failure> {
        let kept = self.before.validators.iter().enumerate();
        let mut dealt = kept
            .map(|(position, validator)| {
                let mut shares = Vec::new();
                for (participant, theirs) in old.iter().enumerate() {
                    if let (Some(node), Some(share)) =
                        (self.old_node(participant), theirs.get(position))
                    {
                        shares.push((node, share));
                    }
                }
                let shares = if self.kind.keeps_shares() {
                    shares.into_iter().map(|(_, share)| share.clone()).collect()
                } else {
                    self.reshare(&shares, &validator.public_key, entropy)?
                };
                let public_shares = shares.iter().map(ShareSecret::public_key).collect();
                Ok(Dealt {
                    validator: self.kept(position, public_shares)?,
                    shares,
                })
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        dealt.extend(
            self.terms
                .deal_from(self.before.validators.len(), entropy)?,
        );
        Ok(dealt)
    }

    fn reshare(
        &self,
        old: &[(u32, &ShareSecret)],
        group: &[u8; 48],
        entropy: &(dyn Fn(&mut [u8]) -> Result<(), Failure> + Sync),
    ) -> Result<Vec<ShareSecret>, Failure> {
        let impossible = |NotAScalar| Failure::new("the shares make no key");
        let secret = bls::recombine(old).map_err(impossible)?;
        if secret.public_key().to_bytes() != *group {
            return Err(Failure::new("the shares are not those of the validator"));
        }
        let mut random = Zeroizing::new([0; 32]);
        entropy(random.as_mut_slice())?;
        let (threshold, nodes) = self.terms.threshold_and_nodes();
        bls::split(&secret, threshold, nodes, random.as_slice()).map_err(impossible)
    }

    /// The number of a participant's old shares, from 1.
    pub(crate) fn old_node(&self, participant: usize) -> Option<u32> {
        let key = self.participants.get(participant)?;
        let node = self.before.definition.node_of(key)?;
        u32::try_from(node.position() + 1).ok()
    }

    /// A validator that was there before, with other shares.
    pub(crate) fn kept(
        &self,
        position: usize,
        public_shares: Vec<PublicKey>,
    ) -> Result<Validator, Failure> {
        let wrong = || Failure::new("invalid validator in the cluster lock");
        let known = self.before.validators.get(position).ok_or_else(wrong)?;
        let registration = known.builder_registration.clone();
        Ok(Validator {
            group: PublicKey::parse(&known.public_key).map_err(|_| wrong())?,
            public_shares,
            deposits: known.deposits.clone(),
            registration: registration.unwrap_or(BuilderRegistration {
                fee_recipient: [0; 20],
                gas_limit: 0,
                timestamp: 0,
                pubkey: known.public_key,
                signature: [0; 96],
            }),
        })
    }

    /// The new lock, not signed yet.
    pub(crate) fn lock(&self, validators: &[Validator]) -> ClusterLock {
        self.terms.lock(validators)
    }
}

fn keys(enrs: &[String]) -> Result<Vec<EnrPublicKey>, Failure> {
    enrs.iter()
        .map(|text| {
            let enr = Enr::parse(text).map_err(|error| {
                Failure::new(error.to_string())
                    .wrapped("parse enr")
                    .field("enr", text.as_str())
            })?;
            Ok(*enr.public_key())
        })
        .collect()
}

/// As charon leaves it: operators are their ENRs, and nobody has signed.
fn definition_after(
    before: &ClusterLock,
    edit: &EditTerms,
    operators: Vec<String>,
) -> Result<Definition, Failure> {
    let mut definition = before.definition.clone();
    definition.creator = Creator::default();
    definition.operators = operators
        .into_iter()
        .map(|enr| Operator {
            enr,
            ..Operator::default()
        })
        .collect();
    definition.threshold = edit.threshold;
    if let EditRequest::AddValidators { addresses } = &edit.request {
        let more = u64::try_from(addresses.len()).unwrap_or(u64::MAX);
        definition.num_validators = definition.num_validators.saturating_add(more);
        if let ValidatorAddresses::PerValidator(pairs) = &mut definition.validators {
            pairs.extend(addresses.iter().cloned());
        }
    }
    definition
        .with_hashes()
        .map_err(|error| Failure::new(format!("set definition hashes: {error}")))
}
