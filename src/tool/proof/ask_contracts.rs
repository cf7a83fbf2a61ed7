//! Asking contract wallets, as every verb does it.

use std::sync::PoisonError;

use crate::context::Context;
use crate::error::Failure;
use crate::proof::execution::ExecutionRpc;
use crate::proof::find_rpc::NamedNode;
use charon_proof::verify::ContractQuestion;

impl Context {
    /// Reads the URL of the execution client, before anything else is done.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] if it is not a URL.
    pub(crate) fn find_execution_client(&self) -> Result<(), Failure> {
        let args = &self.contracts.args;
        let found = self.find_rpc(&NamedNode {
            url: args.execution_rpc.as_deref(),
            file: args.execution_rpc_file.as_deref(),
            file_flag: "--execution-rpc-file",
            name: "the execution client",
            content: "the URL of an execution client",
            example: "http://127.0.0.1:8545",
            forgery: "a contract signed",
        })?;
        if let Some(url) = found {
            self.contracts.rpc.get_or_init(|| ExecutionRpc::at(url));
        }
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
