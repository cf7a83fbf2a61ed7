//! Asks the node named on the command line what the chain knows about a cluster's validators.

use crate::context::Context;
use crate::error::Failure;
use crate::proof::beacon::BeaconRpc;
use crate::proof::find_rpc::NamedNode;
use crate::report;
use charon_files::cluster::{Gwei, Network, StakingToken};
use charon_proof::chain::{Chain, Key, NewCeremony, Pubkey, Standings};

impl Context {
    /// Reads the URL of the beacon node, before anything else is done.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] if it is not a URL.
    pub(crate) fn find_beacon_node(&self) -> Result<(), Failure> {
        let args = &self.beacon.args;
        let found = self.find_rpc(&NamedNode {
            url: args.beacon_rpc.as_deref(),
            file: args.beacon_rpc_file.as_deref(),
            file_flag: "--beacon-rpc-file",
            name: "the beacon node",
            content: "the URL of a beacon node",
            example: "http://127.0.0.1:5052",
            forgery: "nobody deposited",
        })?;
        if let Some(url) = found {
            self.beacon.rpc.get_or_init(|| BeaconRpc::at(url));
        }
        Ok(())
    }

    /// Whether a beacon node was named.
    pub(crate) fn has_beacon_node(&self) -> bool {
        self.beacon.rpc.get().is_some()
    }

    /// What the chain knows of these validators; `None` if there is nobody to ask. `deposits` says whether the execution
    /// client is asked about recent deposits too.
    ///
    /// # Errors
    /// If nothing can be asked at all on this machine.
    pub(crate) fn ask_chain(
        &self,
        network: Option<Network>,
        keys: &[Key],
        deposits: bool,
    ) -> Result<Option<Chain>, Failure> {
        crate::context::block_on(async { Ok(self.asked_chain(network, keys, deposits).await) })
    }

    /// The same for who waits already.
    pub(crate) async fn asked_chain(
        &self,
        network: Option<Network>,
        keys: &[Key],
        deposits: bool,
    ) -> Option<Chain> {
        let beacon = self.beacon.rpc.get();
        let execution = self.contracts.rpc().filter(|_| deposits);
        if beacon.is_none() && execution.is_none() {
            return None;
        }
        let mut chain = Chain::default();
        let Some(network) = network else {
            chain.could_not_ask(
                "chain-network",
                "the chain",
                "the network of the cluster is not known".to_owned(),
            );
            return Some(chain);
        };
        let pubkeys: Vec<Pubkey> = keys.iter().map(|key| key.pubkey).collect();
        if let Some(beacon) = beacon {
            self.say("asking the beacon node about the validators");
            beacon.ask(network, &pubkeys, &mut chain).await;
        }
        if let Some(execution) = execution {
            self.say("asking the execution client about recent deposits");
            match execution.deposits(network, &pubkeys).await {
                Ok(found) => {
                    for deposit in found {
                        chain
                            .announced
                            .entry(deposit.pubkey)
                            .or_default()
                            .push(deposit);
                    }
                    chain.events = true;
                }
                Err(error) => chain.could_not_ask(
                    "chain-execution",
                    "the execution client",
                    error.to_string(),
                ),
            }
        }
        Some(chain)
    }
}

/// What the chain knows of the validators of a directory, for people.
pub(crate) fn standings_text(standings: &Standings, token: StakingToken) -> String {
    let mut text = String::new();
    for line in &standings.validators {
        let detail = match (line.index, &line.status) {
            (Some(index), Some(status)) => format!(
                " ({status}, number {index}, {})",
                token.amount(Gwei(line.balance_gwei.unwrap_or_default()))
            ),
            (None, _) | (_, None) if line.pending_gwei > 0 => {
                let pending = token.amount(Gwei(line.pending_gwei));
                format!(" ({pending} on their way)")
            }
            (None, _) | (_, None) => String::new(),
        };
        text.push_str(&format!(
            "    {:<16} {} {}{}\n",
            line.validator,
            line.pubkey,
            line.standing.text(),
            report::clean(&detail)
        ));
    }
    text.push_str(&format!(
        "    {:<16} {}\n",
        "new ceremony",
        match standings.new_ceremony {
            NewCeremony::Clean => "the chain knows none of these keys",
            NewCeremony::InUse =>
                "NO: these keys are in use; keep them, and run no other ceremony here",
            NewCeremony::CouldNotTell => "NO: it could not be told whether these keys are in use",
        }
    ));
    text
}
