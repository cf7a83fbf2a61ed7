//! What contract wallets said, through the execution client that the operator named.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::cli::ExecutionArgs;
use crate::proof::execution::ExecutionRpc;
use charon_proof::verify::ContractQuestion;

/// What contract wallets said in this process.
#[derive(Default)]
pub(crate) struct Contracts {
    pub(super) args: ExecutionArgs,
    pub(super) rpc: OnceLock<ExecutionRpc>,
    pub(super) answers: Mutex<HashMap<ContractQuestion, Option<bool>>>,
}

impl Contracts {
    pub(crate) fn of(args: ExecutionArgs) -> Self {
        Self {
            args,
            ..Self::default()
        }
    }

    /// Whether there is anybody to ask.
    pub(crate) fn can_ask(&self) -> bool {
        self.rpc.get().is_some()
    }

    /// Whom to ask.
    pub(crate) fn rpc(&self) -> Option<&ExecutionRpc> {
        self.rpc.get()
    }

    /// What a contract said, if it was asked and answered.
    pub(crate) fn answer(&self, question: &ContractQuestion) -> Option<bool> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(question).copied().flatten()
    }
}
