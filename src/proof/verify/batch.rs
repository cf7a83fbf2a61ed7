//! The batch in which group-key signatures are verified.

use std::collections::HashMap;

use rayon::prelude::*;

use charon_files::cluster::ValidatorIndex;
use charon_files::cluster::token::Amount;
use charon_files::keys::bls::{self, PublicKey, Signature, Signed};

use super::ledger::Ledger;
use super::{Check, Phase, Progress};

/// What a group key signed.
#[derive(Debug, Clone)]
pub(super) enum SignedWhat {
    /// The builder registration of a validator.
    Registration(ValidatorIndex),
    /// A deposit in the lock.
    LockDeposit(ValidatorIndex, Amount),
    /// An entry of a deposit data file.
    FileDeposit(ValidatorIndex, String),
}

impl SignedWhat {
    const fn check(&self) -> Check {
        match self {
            SignedWhat::Registration(_) => Check::RegistrationSignature,
            SignedWhat::LockDeposit(..) => Check::LockDepositSignature,
            SignedWhat::FileDeposit(..) => Check::DepositFileSignature,
        }
    }

    const fn validator(&self) -> ValidatorIndex {
        match self {
            SignedWhat::Registration(validator)
            | SignedWhat::LockDeposit(validator, _)
            | SignedWhat::FileDeposit(validator, _) => *validator,
        }
    }

    pub(super) fn subject(&self) -> String {
        match self {
            SignedWhat::Registration(validator) => format!("validator {validator}"),
            SignedWhat::LockDeposit(validator, amount) => {
                format!("validator {validator}, deposit of {amount}")
            }
            SignedWhat::FileDeposit(validator, file) => format!("{file}, validator {validator}"),
        }
    }
}

struct Item {
    whats: Vec<SignedWhat>,
    group: PublicKey,
    root: [u8; 32],
    signature: [u8; 96],
    /// What charon v0.16.0 would have signed instead.
    quirk_root: Option<[u8; 32]>,
}

/// Signatures by group keys, collected to be verified together. A signature that is in the lock and in a file is
/// verified once and answers for both.
#[derive(Default)]
pub(super) struct Batch {
    items: Vec<Item>,
    known: HashMap<(ValidatorIndex, [u8; 32], [u8; 96]), usize>,
}

impl Batch {
    pub(super) fn add(
        &mut self,
        what: SignedWhat,
        group: PublicKey,
        root: [u8; 32],
        signature: &[u8; 96],
        quirk_root: Option<[u8; 32]>,
    ) {
        let key = (what.validator(), root, *signature);
        if let Some(item) = self
            .known
            .get(&key)
            .and_then(|position| self.items.get_mut(*position))
        {
            item.whats.push(what);
            return;
        }
        self.known.insert(key, self.items.len());
        self.items.push(Item {
            whats: vec![what],
            group,
            root,
            signature: *signature,
            quirk_root,
        });
    }

    /// Verifies all and returns how many of them were deposits.
    pub(super) fn check(&self, progress: &dyn Progress, ledger: &mut Ledger) -> usize {
        progress.set_total(Phase::Signatures, self.items.len());
        let parsed: Vec<Result<Signature, bls::PointError>> = self
            .items
            .par_iter()
            .map(|item| Signature::parse(&item.signature))
            .collect();
        let mut signed = Vec::with_capacity(self.items.len());
        let mut positions = Vec::with_capacity(self.items.len());
        for (position, (item, signature)) in self.items.iter().zip(&parsed).enumerate() {
            match signature {
                Ok(signature) => {
                    positions.push(position);
                    signed.push(Signed {
                        public_key: item.group,
                        message: item.root,
                        signature: *signature,
                    });
                }
                Err(error) => report(item, &format!("a signature that is {error}"), ledger),
            }
        }
        let done = |steps| progress.advance(Phase::Signatures, steps);
        for invalid in bls::find_invalid(&signed, &done) {
            let position = positions.get(invalid).copied().unwrap_or_default();
            if let (Some(item), Some(signed)) = (self.items.get(position), signed.get(invalid)) {
                report_invalid(item, &signed.signature, ledger);
            }
        }
        self.items
            .iter()
            .filter(|item| {
                item.whats
                    .iter()
                    .any(|what| what.check() != Check::RegistrationSignature)
            })
            .count()
    }
}

fn report_invalid(item: &Item, signature: &Signature, ledger: &mut Ledger) {
    let quirk = item
        .quirk_root
        .is_some_and(|root| bls::verify(&item.group, &root, signature));
    if !quirk {
        report(
            item,
            "a signature that is not by the group key, not of these values or not for this network",
            ledger,
        );
        return;
    }
    for what in &item.whats {
        ledger.fail_with(
            what.check(),
            what.subject(),
            "a signature for fork version 0x00000000, as charon v0.16.0 made it on every network",
            "a signature for this network",
            "no block builder and no newer charon accepts it: run the ceremony again with a newer release",
        );
    }
}

fn report(item: &Item, seen: &str, ledger: &mut Ledger) {
    for what in &item.whats {
        ledger.fail(
            what.check(),
            what.subject(),
            seen,
            "a signature by the group key of these values for this network",
        );
    }
}
