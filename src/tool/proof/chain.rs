//! Asks whoever was named on the command line what the chain knows of a cluster's validators.

use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::machine::read::{self, Limit};
use crate::proof::beacon::{BeaconError, BeaconRpc};
use crate::proof::execution::MAX_URL_BYTES;
use crate::report;
use charon_files::cluster::{Gwei, Network};
use charon_proof::chain::{Chain, Key, NewCeremony, Pubkey, Standings};

/// A URL, and a line end.
const URL_FILE: Limit = Limit {
    bytes: MAX_URL_BYTES,
    what: "the URL of a beacon node",
};

impl Context {
    /// Reads the URL of the beacon node, before anything else is done.
    ///
    /// # Errors
    /// [`Kind::Usage`] if it is none.
    pub(crate) fn find_beacon_node(&self) -> Result<(), Failure> {
        let usage = |error: String| Failure::new(Kind::Usage, error);
        let args = &self.beacon.args;
        let rpc = match (&args.beacon_rpc, &args.beacon_rpc_file) {
            (Some(url), _) => BeaconRpc::parse(url),
            (None, Some(path)) => {
                let bytes = read::read_secret_file(path, URL_FILE)
                    .map_err(|error| usage(error.to_string()))?;
                std::str::from_utf8(&bytes)
                    .map_err(|_| BeaconError::BadUrl)
                    .and_then(BeaconRpc::parse)
            }
            (None, None) => return Ok(()),
        };
        let rpc = rpc.map_err(|error| {
            usage(error.to_string())
                .hint("give a URL such as http://127.0.0.1:5052, or a file with one in it")
        })?;
        if rpc.is_unprotected() {
            self.warn(
                "the beacon node is asked over plain http: whoever sits on the way can say that nobody deposited",
            );
        }
        if args.beacon_rpc.is_some() && rpc.may_hold_key() {
            self.warn(
                "everybody on this machine can read the URL of the beacon node, which may hold a key, in the command line: \
                 put it into a file and name that with --beacon-rpc-file",
            );
        }
        self.beacon.rpc.get_or_init(|| rpc);
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
        let beacon = self.beacon.rpc.get();
        let execution = self.contracts.rpc().filter(|_| deposits);
        if beacon.is_none() && execution.is_none() {
            return Ok(None);
        }
        let mut chain = Chain::default();
        let Some(network) = network else {
            chain.could_not_ask(
                "chain-network",
                "the chain",
                "the network of the cluster is not known".to_owned(),
            );
            return Ok(Some(chain));
        };
        let pubkeys: Vec<Pubkey> = keys.iter().map(|key| key.pubkey).collect();
        crate::context::block_on(async {
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
            Ok(())
        })?;
        Ok(Some(chain))
    }
}

/// What the chain knows of the validators of a directory, for people.
pub(crate) fn standings_text(standings: &Standings) -> String {
    let mut text = String::new();
    for line in &standings.validators {
        let detail = match (line.index, &line.status) {
            (Some(index), Some(status)) => format!(
                " ({status}, number {index}, {} ETH)",
                Gwei(line.balance_gwei.unwrap_or_default())
            ),
            (None, _) | (_, None) if line.pending_gwei > 0 => {
                format!(" ({} ETH on their way)", Gwei(line.pending_gwei))
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
