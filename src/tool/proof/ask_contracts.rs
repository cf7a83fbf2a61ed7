//! Asking contract wallets, as every verb does it.

use std::sync::PoisonError;

use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::machine::read::{self, Limit};
use crate::proof::execution::{ExecutionError, ExecutionRpc, MAX_URL_BYTES};
use charon_proof::verify::ContractQuestion;

/// A URL, and a line end.
const URL_FILE: Limit = Limit {
    bytes: MAX_URL_BYTES,
    what: "the URL of an execution client",
};

impl Context {
    /// Reads the URL of the execution client, before anything else is done.
    ///
    /// # Errors
    /// [`Kind::Usage`] if it is none.
    pub(crate) fn find_execution_client(&self) -> Result<(), Failure> {
        let usage = |error: String| Failure::new(Kind::Usage, error);
        let args = &self.contracts.args;
        let rpc = match (&args.execution_rpc, &args.execution_rpc_file) {
            (Some(url), _) => ExecutionRpc::parse(url),
            (None, Some(path)) => {
                let bytes = read::read_secret_file(path, URL_FILE)
                    .map_err(|error| usage(error.to_string()))?;
                std::str::from_utf8(&bytes)
                    .map_err(|_| ExecutionError::BadUrl)
                    .and_then(ExecutionRpc::parse)
            }
            (None, None) => return Ok(()),
        };
        let rpc = rpc.map_err(|error| {
            usage(error.to_string())
                .hint("give a URL such as http://127.0.0.1:8545, or a file with one in it")
        })?;
        if rpc.is_unprotected() {
            self.warn(
                "the execution client is asked over plain http: whoever sits on the way can say that a contract signed",
            );
        }
        if args.execution_rpc.is_some() && rpc.may_hold_key() {
            self.warn(
                "everybody on this machine can read the URL of the execution client, which may hold a key, in the command line: \
                 put it into a file and name that with --execution-rpc-file",
            );
        }
        self.contracts.rpc.get_or_init(|| rpc);
        Ok(())
    }

    /// Asks the contracts about what was not asked before.
    pub(crate) async fn ask_contracts(&self, questions: &[ContractQuestion]) {
        let Some(rpc) = self.contracts.rpc.get() else {
            return;
        };
        let new: Vec<ContractQuestion> = {
            let answers = self.contracts.answers.lock();
            let answers = answers.unwrap_or_else(PoisonError::into_inner);
            let is_new = |question: &&ContractQuestion| !answers.contains_key(*question);
            questions.iter().filter(is_new).cloned().collect()
        };
        if new.is_empty() {
            return;
        }
        self.say("asking the execution client about contract wallets");
        let (found, problem) = rpc.ask(&new).await;
        if let Some(problem) = problem {
            self.warn(&problem.to_string());
        }
        let answers = self.contracts.answers.lock();
        answers
            .unwrap_or_else(PoisonError::into_inner)
            .extend(new.into_iter().zip(found));
    }

    /// The same where nothing else waits. It may be called on any thread: the waiting is done on one of its own.
    pub(crate) fn ask_contracts_now(&self, questions: &[ContractQuestion]) {
        if questions.is_empty() || !self.contracts.can_ask() {
            return;
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Without a runtime there are no answers, which is what the report then says.
                crate::context::block_on(async {
                    self.ask_contracts(questions).await;
                    Ok(())
                })
                .ok()
            });
        });
    }
}
