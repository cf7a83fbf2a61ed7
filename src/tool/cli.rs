//! The command line as typed, and the five shapes in which it arrives.
//!
//! | shape | argv |
//! |---|---|
//! | metadata | `docker-charondkg docker-cli-plugin-metadata` |
//! | plugin | `docker-charondkg [docker's global flags] charondkg VERB …` |
//! | plugin's help | `docker-charondkg help charondkg [VERB]`, which is how docker hands on `docker help` |
//! | compose provider | `charon-dkg compose [--project-name=X] up|down|… …`: see [`crate::gate::provider`] |
//! | standalone | `charon-dkg VERB …` |
//!
//! They are told apart by argv alone: docker's own variables are inherited by every child.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::LazyLock;

use clap::builder::PossibleValue;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, ValueHint};

use crate::ceremony::settings::{Setting, Settings};
use crate::error::Kind;
use crate::gate::decision::Require;
use crate::report::quoted;
use charon_proof::edit::EditKind;
use charon_proof::profile;

/// The name under which docker's CLI knows this plugin: its rule `^[a-z][a-z0-9]*$` allows no hyphen.
pub const PLUGIN_NAME: &str = "charondkg";

/// What `--version` says. Who builds a release adds the commit: `CHARON_DKG_VERSION="0.1.0 (commit 0123abc)"`.
const VERSION: &str = match option_env!("CHARON_DKG_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// Heading of the flags that every verb takes.
const COMMON: &str = "Common options";

/// Heading of the flags about the execution client.
const EXECUTION: &str = "Execution client";

/// Heading of the flags about the staking protocol.
const PROTOCOL: &str = "Staking protocol";

/// Heading of the flags about the beacon node.
const BEACON: &str = "Beacon node";

/// One operator's side of a charon DKG ceremony: run it once, prove its outputs, lose nothing.
#[derive(Debug, Parser)]
#[command(version = VERSION, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    /// Flags that every verb takes.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Flags that every verb takes.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Project directory
    #[arg(long, global = true, value_name = "DIR", default_value = ".",
        value_hint = ValueHint::DirPath, help_heading = COMMON)]
    pub dir: PathBuf,
    /// Data directory of this node [default: .charon in the project directory]
    #[arg(long, global = true, value_name = "DIR",
        value_hint = ValueHint::DirPath, help_heading = COMMON)]
    pub data_dir: Option<PathBuf>,
    /// How results and failures are written to standard output
    #[arg(long, global = true, value_name = "text|json", default_value = "text",
        hide_possible_values = true, help_heading = COMMON)]
    pub format: Format,
    /// How progress and advice are written to standard error
    #[arg(long, global = true, value_name = "auto|plain|json|quiet", default_value = "auto",
        hide_possible_values = true, help_heading = COMMON)]
    pub progress: ProgressStyle,
    /// Answer yes to every question
    #[arg(long, short = 'y', global = true, help_heading = COMMON)]
    pub yes: bool,
    /// Docker engine to use, as in docker's own --host
    #[arg(long, global = true, value_name = "HOST", help_heading = "Engine")]
    pub host: Option<String>,
    /// Docker context to use, as in docker's own --context
    #[arg(long, global = true, value_name = "NAME", help_heading = "Engine")]
    pub context: Option<String>,
}

/// How results are written to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON document, stable and documented.
    Json,
}

/// How progress is written to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressStyle {
    /// Bars on a terminal, plain lines elsewhere.
    Auto,
    /// Plain lines.
    Plain,
    /// One JSON object per line.
    Json,
    /// Nothing but errors.
    Quiet,
}

/// Every verb.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Create the ENR key if there is none, and print the ENR to give to the coordinator
    #[command(after_help = "Examples:\n  docker charon-dkg enr\n  docker charon-dkg enr show")]
    Enr(EnrArgs),
    /// Write everything this node holds to one encrypted file, and test it by restoring it
    #[command(
        after_help = "Examples:\n  docker charon-dkg backup /mnt/usb/\n  docker charon-dkg backup restore charon-backup.tar.age"
    )]
    Backup(BackupCommand),
    /// Create the cluster definition that every operator runs; for the coordinator
    #[command(
        after_help = "Example:\n  docker charon-dkg define --operators 4 --network hoodi --num-validators 2 \\\n    --withdrawal-addresses 0x52908400098527886E0F7030069857D2E4169EE7 \\\n    --fee-recipient-addresses 0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359 chat.txt"
    )]
    Define(DefineArgs),
    /// Show everything that `run` would do and every problem that would stop it; touches nothing
    #[command(
        after_help = "Example:\n  docker charon-dkg plan --definition cluster-definition.json"
    )]
    Plan(CeremonyArgs),
    /// Print this node's ready line after the whole preflight, or show from all lines who is ready and who differs
    #[command(
        after_help = "Examples:\n  docker charon-dkg ready --definition cluster-definition.json\n  docker charon-dkg ready --definition cluster-definition.json chat.txt"
    )]
    Ready(ReadyArgs),
    /// Run the ceremony, verify its outputs, and move them into the data directory
    #[command(
        after_help = "Example:\n  docker charon-dkg run --definition cluster-definition.json"
    )]
    Run(RunArgs),
    /// Verify the data directory or, without secrets, a cluster lock, a definition or deposit data
    #[command(
        after_help = "Examples:\n  docker charon-dkg verify\n  docker charon-dkg verify --lock cluster-lock.json --deposit deposit-data.json"
    )]
    Verify(VerifyArgs),
    /// Say whether it is safe to pay for a cluster's validators; for the funder, without any key
    #[command(
        after_help = "Example:\n  docker charon-dkg deposits --lock cluster-lock.json --deposit deposit-data.json \\\n    --receipts chat.txt"
    )]
    Deposits(DepositsArgs),
    /// Print this node's receipt: one signed line that tells the others what this node holds
    #[command(after_help = "Example:\n  docker charon-dkg receipt")]
    Receipt(ReceiptArgs),
    /// Collect the receipts of all operators, and say who is missing or differs
    #[command(
        after_help = "Examples:\n  docker charon-dkg confirm chat.txt\n  docker charon-dkg confirm --lock cluster-lock.json chat.txt"
    )]
    Confirm(ConfirmArgs),
    /// Show where the ceremony stands, who is missing and what to send to each; as text, JSON or a page to post
    #[command(after_help = "Example:\n  docker charon-dkg board chat.txt")]
    Board(BoardArgs),
    /// Keep a compose project from starting before every operator has confirmed
    #[command(
        after_help = "Examples:\n  docker charon-dkg gate install\n  docker charon-dkg gate status"
    )]
    Gate(GateArgs),
    /// Ask the gate, explain a refusal in full, or start the project with Compose's `up -d`
    #[command(after_help = "Example:\n  docker charon-dkg up")]
    Up(UpArgs),
    /// Show the state of this directory and the one safe next command
    #[command(after_help = "Example:\n  docker charon-dkg status --dir my-cluster")]
    Status,
    /// Move the outputs of an old or failed ceremony aside; never the ENR key
    #[command(after_help = "Example:\n  docker charon-dkg archive")]
    Archive(ArchiveArgs),
    /// Change a running cluster with charon, and switch to the new shares once the old ones can no longer sign
    #[command(
        after_help = "Examples:\n  docker charon-dkg edit replace-operator --old-operator-enr enr:… --new-operator-enr enr:…\n  docker charon-dkg edit status chat.txt\n  docker charon-dkg edit stopped\n  docker charon-dkg edit switch"
    )]
    Edit(EditArgs),
    /// Restore the owner and private modes of a data directory, after showing what would change
    #[command(after_help = "Example:\n  docker charon-dkg repair --dry-run")]
    Repair(RepairArgs),
    /// Run a whole ceremony on this machine with throw-away keys
    #[command(
        after_help = "Examples:\n  docker charon-dkg rehearse\n  docker charon-dkg rehearse --scenario late-peer"
    )]
    Rehearse(RehearseArgs),
    /// Say why charon failed and who must fix it, from anyone's log
    #[command(after_help = "Example:\n  docker charon-dkg explain ann.log bob.log")]
    Explain(ExplainArgs),
    /// Show which charon release runs which cluster definition version, and why
    #[command(after_help = "Example:\n  docker charon-dkg pins --format json")]
    Pins,
    /// Ask relays from inside a container
    #[command(hide = true)]
    InternalProbe(RawArgs),
    /// Start charon without an engine, and wait for it
    #[command(hide = true)]
    InternalKeeper(RawArgs),
}

impl Verb {
    /// The verb's options for a protocol and for the nodes that it may ask.
    pub fn outside(&self) -> Outside {
        match self {
            Verb::Plan(args) => args.outside.clone(),
            Verb::Run(args) => args.ceremony.outside.clone(),
            Verb::Ready(args) => args.ceremony.outside.clone(),
            Verb::Verify(args) => args.outside.clone(),
            Verb::Deposits(args) => args.outside.clone(),
            Verb::Board(args) => Outside {
                profile: args.profile.clone(),
                execution: args.execution.clone(),
                ..Outside::default()
            },
            Verb::Define(args) => Outside {
                profile: args.profile.clone(),
                ..Outside::default()
            },
            Verb::Receipt(ReceiptArgs { execution, .. })
            | Verb::Confirm(ConfirmArgs { execution, .. })
            | Verb::Edit(EditArgs { execution, .. })
            | Verb::Gate(GateArgs {
                action: GateAction::Check(GateCheckArgs { execution, .. }),
            }) => Outside {
                execution: execution.clone(),
                ..Outside::default()
            },
            Verb::Archive(args) => Outside {
                beacon: args.beacon.clone(),
                ..Outside::default()
            },
            Verb::Enr(_)
            | Verb::Backup(_)
            | Verb::Gate(_)
            | Verb::Up(_)
            | Verb::Status
            | Verb::Repair(_)
            | Verb::Rehearse(_)
            | Verb::Explain(_)
            | Verb::Pins
            | Verb::InternalProbe(_)
            | Verb::InternalKeeper(_) => Outside::default(),
        }
    }

    /// Whether `--dir` and `--data-dir` name what the commands in its advice are about. The coordinator's advice is for
    /// others, and a container's directories are not the machine's.
    pub const fn has_directories_of_ours(&self) -> bool {
        !matches!(
            self,
            Verb::Define(_)
                | Verb::Deposits(_)
                | Verb::Explain(_)
                | Verb::Pins
                | Verb::Rehearse(_)
                | Verb::InternalProbe(_)
                | Verb::InternalKeeper(_)
                | Verb::Gate(GateArgs {
                    action: GateAction::Check(GateCheckArgs {
                        in_container: true,
                        ..
                    }),
                })
        )
    }
}

/// A verb's options for the world outside this machine; empty if it takes no such flags.
#[derive(Debug, Clone, Default, Args)]
pub struct Outside {
    /// Whose protocol the validators are for.
    #[command(flatten)]
    pub profile: ProfileArgs,
    /// Who is asked about validators.
    #[command(flatten)]
    pub beacon: BeaconArgs,
    /// Where contract wallets, and recent deposits, are asked for.
    #[command(flatten)]
    pub execution: ExecutionArgs,
}

/// Who is asked about validators.
#[derive(Debug, Clone, Default, Args)]
pub struct BeaconArgs {
    /// Beacon node on the cluster's network, asked whether anyone has deposited for these validators
    #[arg(long, value_name = "URL", conflicts_with = "beacon_rpc_file", help_heading = BEACON)]
    pub beacon_rpc: Option<String>,
    /// File that contains this URL, for a URL with a key in it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = BEACON)]
    pub beacon_rpc_file: Option<PathBuf>,
}

/// `deposits`.
#[derive(Debug, Args)]
pub struct DepositsArgs {
    /// Cluster lock; repeat for several clusters
    #[arg(long, value_name = "FILE", required = true, num_args = 1..,
        value_hint = ValueHint::FilePath)]
    pub lock: Vec<PathBuf>,
    /// Deposit data files of any of these clusters
    #[arg(long, value_name = "FILE", required = true, num_args = 1..,
        value_hint = ValueHint::FilePath)]
    pub deposit: Vec<PathBuf>,
    /// Receipts of all operators, files with receipts in them such as a whole chat log, or - for standard input
    #[arg(long, value_name = "RECEIPT|FILE|-", required = true, num_args = 1..)]
    pub receipts: Vec<OsString>,
    /// Network to pay on
    #[arg(long, value_name = "NETWORK")]
    pub network: Option<String>,
    /// The world outside.
    #[command(flatten)]
    pub outside: Outside,
}

/// Whose protocol the cluster is for.
#[derive(Debug, Clone, Default, Args)]
pub struct ProfileArgs {
    /// Protocol whose addresses, credentials and amounts the cluster must have: lido or lido-cm-v2
    #[arg(long, value_name = "NAME", value_parser = profile::NAMES, hide_possible_values = true,
        conflicts_with = "profile_file", help_heading = PROTOCOL)]
    pub profile: Option<String>,
    /// Another protocol's terms, from a file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = PROTOCOL)]
    pub profile_file: Option<PathBuf>,
}

/// The settings of a compose project, in which Compose put the variables' values.
#[derive(Debug, Clone, Default, Args)]
pub struct SettingsArgs {
    /// The network that its clients follow
    #[arg(long, hide = true, allow_hyphen_values = true)]
    pub network: Option<String>,
    /// Where its clients send fees
    #[arg(long, hide = true, allow_hyphen_values = true)]
    pub rewards_address: Option<String>,
    /// Images of its charon, with spaces between them
    #[arg(long, hide = true, allow_hyphen_values = true)]
    pub charon_image: Option<String>,
    /// Relays of its charon, with commas between them
    #[arg(long, hide = true, allow_hyphen_values = true)]
    pub relays: Option<String>,
}

impl SettingsArgs {
    /// Those that were given.
    pub fn given(&self) -> Settings {
        let given = [
            (Setting::Network, &self.network),
            (Setting::Rewards, &self.rewards_address),
            (Setting::CharonImage, &self.charon_image),
            (Setting::Relays, &self.relays),
        ];
        let given = given.into_iter();
        given
            .filter_map(|(setting, value)| Some((setting, value.clone()?)))
            .collect()
    }
}

/// Where contract wallets are asked whether a signature is theirs.
#[derive(Debug, Clone, Default, Args)]
pub struct ExecutionArgs {
    /// Execution client of the cluster's network, asked if a contract wallet may have signed (EIP-1271); deposits
    /// also asks it about the newest deposits
    #[arg(long, value_name = "URL", conflicts_with = "execution_rpc_file", help_heading = EXECUTION)]
    pub execution_rpc: Option<String>,
    /// File that contains this URL, for a URL with a key in it: everyone on this machine can read a command line
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = EXECUTION)]
    pub execution_rpc_file: Option<PathBuf>,
}

/// `enr`.
#[derive(Debug, Args)]
pub struct EnrArgs {
    /// `show` prints the ENR of an existing key and creates nothing
    #[command(subcommand)]
    pub action: Option<EnrAction>,
}

/// `enr show`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum EnrAction {
    /// Print the ENR of the existing key; create nothing
    Show,
}

/// `backup`.
#[derive(Debug, Args)]
pub struct BackupCommand {
    /// `restore` brings one back
    #[command(subcommand)]
    pub action: Option<BackupAction>,
    /// Making one.
    #[command(flatten)]
    pub backup: BackupArgs,
}

/// What else to do with a backup.
#[derive(Debug, Subcommand)]
pub enum BackupAction {
    /// Restore a backup into an empty data directory; never overwrites
    Restore(RestoreArgs),
}

/// `backup`: where to, and who can open it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct BackupArgs {
    /// File to write, or a directory to write it in; never overwritten
    /// [default: charon-backup-<time>-<ENR id>.tar.age in the project directory]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// Encrypt to the passphrase in this file [default: asked on the terminal]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub passphrase_file: Option<PathBuf>,
    /// Encrypt to this age recipient instead of a passphrase; repeat for several
    #[arg(long, value_name = "age1…", conflicts_with = "passphrase_file")]
    pub recipient: Vec<String>,
    /// Encrypt to the age recipients in this file, one per line; repeat for several
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_file",
        value_hint = ValueHint::FilePath)]
    pub recipients_file: Vec<PathBuf>,
    /// Read it back with this age identity of a recipient, to know that it opens the backup
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_file",
        value_hint = ValueHint::FilePath)]
    pub identity: Vec<PathBuf>,
}

/// `backup restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Read the passphrase from this file [default: asked on the terminal]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub passphrase_file: Option<PathBuf>,
    /// Restore it even if its files fail verification, as they were when it was made
    #[arg(long)]
    pub unproved: bool,
    /// Open it with the age identities in this file; repeat for several
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_file",
        value_hint = ValueHint::FilePath)]
    pub identity: Vec<PathBuf>,
}

/// `edit`.
#[derive(Debug, Args)]
pub struct EditArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: EditAction,
    /// Where contract wallets are asked about the lock before the edit.
    #[command(flatten)]
    pub execution: ExecutionArgs,
}

/// What to do about an edit of the cluster.
#[derive(Debug, Subcommand)]
pub enum EditAction {
    /// Add validators; all operators run this at the same time
    AddValidators(AddValidatorsArgs),
    /// Add operators; the old ones and the new ones run this at the same time
    AddOperators(AddOperatorsArgs),
    /// Remove operators; those who stay run this at the same time
    RemoveOperators(RemoveOperatorsArgs),
    /// Replace one operator; the others and the new one run this at the same time
    ReplaceOperator(ReplaceOperatorArgs),
    /// Make new shares for the same operators, who all run this at the same time
    RecreatePrivateKeys(EditCeremonyArgs),
    /// Verify the output of `charon alpha edit`, and hold it beside the old cluster, which keeps running
    Hold(EditHoldArgs),
    /// Show what is missing for the switch; takes the receipts and stopped lines of the others
    Status(EditStatusArgs),
    /// Check that the old cluster does not run here, keep it from starting, and print the line that says so
    Stopped(EditStoppedArgs),
    /// Move the old files to the archive and the new ones into the data directory
    Switch(EditStoppedArgs),
    /// Give up an edit before the switch: the old cluster may start again
    Abandon,
    /// For an operator who was removed: move the share to the archive, and print the line that says so
    Retire(RetireArgs),
}

/// `edit add-validators`.
#[derive(Debug, Args)]
pub struct AddValidatorsArgs {
    /// How many
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub num_validators: usize,
    /// Where the stake goes: one address for all new validators, or one for each, separated by commas
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', required = true)]
    pub withdrawal_addresses: Vec<String>,
    /// Where the fees go, likewise
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', required = true)]
    pub fee_recipient_addresses: Vec<String>,
    /// What is run.
    #[command(flatten)]
    pub ceremony: EditCeremonyArgs,
}

/// `edit add-operators`.
#[derive(Debug, Args)]
pub struct AddOperatorsArgs {
    /// ENRs of the new operators, separated by commas, in the order that all use
    #[arg(long, value_name = "ENR", value_delimiter = ',', required = true)]
    pub new_operator_enrs: Vec<String>,
    /// What is run.
    #[command(flatten)]
    pub ceremony: EditCeremonyArgs,
}

/// `edit remove-operators`.
#[derive(Debug, Args)]
pub struct RemoveOperatorsArgs {
    /// ENRs of those who leave, separated by commas
    #[arg(long, value_name = "ENR", value_delimiter = ',', required = true)]
    pub operator_enrs_to_remove: Vec<String>,
    /// ENRs of all who take part, where those who stay are fewer than the threshold
    #[arg(long, value_name = "ENR", value_delimiter = ',')]
    pub participating_operator_enrs: Vec<String>,
    /// Threshold of those who stay [default: charon's, which differs between releases]
    #[arg(long, value_name = "COUNT")]
    pub new_threshold: Option<u64>,
    /// What is run.
    #[command(flatten)]
    pub ceremony: EditCeremonyArgs,
}

/// `edit replace-operator`.
#[derive(Debug, Args)]
pub struct ReplaceOperatorArgs {
    /// ENR of the operator who leaves, and does not run this
    #[arg(long, value_name = "ENR")]
    pub old_operator_enr: String,
    /// ENR of the operator who comes
    #[arg(long, value_name = "ENR")]
    pub new_operator_enr: String,
    /// What is run.
    #[command(flatten)]
    pub ceremony: EditCeremonyArgs,
}

/// What all commands have that let charon change a cluster.
#[derive(Debug, Clone, Args)]
pub struct EditCeremonyArgs {
    /// The cluster lock before the edit, for a new operator [default: the one in the data directory]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub lock_file: Option<PathBuf>,
    /// Accept this threshold after the edit even though it is below two thirds of the operators
    #[arg(long, value_name = "COUNT")]
    pub accept_threshold: Option<u64>,
    /// Check and pull now, wait, check again and start at this time: 2027-01-15T20:00Z, or 20:00 in local time
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Print this node's signed ready line instead; or with the lines of the others, a whole chat log, or - for standard
    /// input, show who is ready
    #[arg(long, value_name = "READY|FILE|-", num_args = 0.., conflicts_with_all = ["at", "require_ready"])]
    pub ready: Option<Vec<OsString>>,
    /// Refuse to start unless the ready lines of all who take part are kept here and agree
    #[arg(long)]
    pub require_ready: bool,
    /// How it is run.
    #[command(flatten)]
    pub start: StartArgs,
}

/// `edit hold`.
#[derive(Debug, Args)]
pub struct EditHoldArgs {
    /// Directory that charon wrote, usually distributed_validator
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub target: PathBuf,
    /// The cluster lock before the edit, for a new operator [default: the one in the data directory]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub previous_lock: Option<PathBuf>,
}

/// `edit status`.
#[derive(Debug, Args)]
pub struct EditStatusArgs {
    /// Receipts, stopped lines, files with them such as a whole chat log, or - for standard input
    #[arg(value_name = "LINE|FILE|-")]
    pub lines: Vec<OsString>,
}

/// `edit stopped` and `edit switch`.
#[derive(Debug, Args)]
pub struct EditStoppedArgs {
    /// Nothing of this node runs in docker on this machine: do not ask the engine
    #[arg(long)]
    pub without_docker: bool,
}

/// `edit retire`.
#[derive(Debug, Args)]
pub struct RetireArgs {
    /// The cluster lock that the edit made, from one of the others; it is not secret
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub new_lock: PathBuf,
    /// Nothing of this node runs in docker on this machine: do not ask the engine
    #[arg(long)]
    pub without_docker: bool,
}

/// `repair`.
#[derive(Debug, Args)]
pub struct RepairArgs {
    /// Who gets all of it, by name or number [default: the owner of the data directory]
    #[arg(long, value_name = "USER[:GROUP]")]
    pub owner: Option<String>,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `define`. The flags are called as those of `charon create dkg`.
#[derive(Debug, Args)]
pub struct DefineArgs {
    /// ENRs in the order of the operators, files with ENRs in them such as a pasted chat, or - for standard
    /// input
    #[arg(value_name = "ENR|FILE|-", required = true)]
    pub enrs: Vec<OsString>,
    /// How many operators there are; any other number of ENRs is refused
    #[arg(long, value_name = "N")]
    pub operators: Option<usize>,
    /// Network of the validators: mainnet, gnosis, hoodi, sepolia or chiado
    #[arg(long, value_name = "NETWORK")]
    pub network: String,
    /// Number of validators
    #[arg(long, value_name = "N")]
    pub num_validators: u64,
    /// Who receives the stake: one address for all validators, or one for each, with commas between them
    #[arg(long, value_name = "ADDRESS", required_unless_present_any = ["profile", "profile_file"],
        value_delimiter = ',')]
    pub withdrawal_addresses: Vec<String>,
    /// Who receives priority fees, likewise
    #[arg(long, value_name = "ADDRESS", required_unless_present_any = ["profile", "profile_file"],
        value_delimiter = ',')]
    pub fee_recipient_addresses: Vec<String>,
    /// Name of the cluster
    #[arg(long, value_name = "NAME", default_value = "")]
    pub name: String,
    /// Nodes whose shares make a signature [default: two thirds of the operators, rounded up]
    #[arg(long, short, value_name = "N")]
    pub threshold: Option<u64>,
    /// Deposits of each validator in whole ETH, on gnosis and chiado in 32nds of one GNO, with commas between them [default: charon's]
    #[arg(long, value_name = "ETH", value_delimiter = ',')]
    pub deposit_amounts: Vec<u64>,
    /// Withdrawal credentials of type 0x02, with which rewards compound
    #[arg(long)]
    pub compounding: bool,
    /// Gas limit that is registered with builders
    #[arg(long, value_name = "GAS", default_value_t = crate::ceremony::define::DEFAULT_TARGET_GAS_LIMIT)]
    pub target_gas_limit: u64,
    /// Preferred consensus protocol [default: charon chooses]
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub consensus_protocol: String,
    /// How the keys are dealt: default, frost or pedersen
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub dkg_algorithm: String,
    /// File to write; an existing one is never replaced [default: cluster-definition.json in the project
    /// directory]
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Whose protocol the cluster is for.
    #[command(flatten)]
    pub profile: ProfileArgs,
}

/// `plan` and `run`: what is to be run, and how.
#[derive(Debug, Clone, Args)]
pub struct CeremonyArgs {
    /// Cluster definition: a file or an https URL
    /// [default: cluster-definition.json in the data directory, or the one of the last `run`]
    // The launchpad tells operators charon's own name of it.
    #[arg(long, alias = "definition-file", value_name = "FILE|URL", value_hint = ValueHint::FilePath)]
    pub definition: Option<String>,
    /// Let charon publish the cluster lock at the end, for the launchpad; one operator is enough
    #[arg(long)]
    pub publish: bool,
    /// How it is run.
    #[command(flatten)]
    pub start: StartArgs,
    /// Hold the keys until all operators have confirmed, as with a gate that requires it
    #[arg(long)]
    pub hold: bool,
    /// The world outside.
    #[command(flatten)]
    pub outside: Outside,
}

/// How any of charon's ceremonies is run.
#[derive(Debug, Clone, Args)]
pub struct StartArgs {
    /// Relay that every operator of the cluster uses; repeat for several [default: charon's own]
    #[arg(long, value_name = "URL")]
    pub relay: Vec<String>,
    /// Docker network of the ceremony's container
    #[arg(long, value_name = "NAME")]
    pub network: Option<String>,
    /// A charon release other than the pinned one; every operator must use the same line
    #[arg(long, value_name = "VERSION")]
    pub charon_version: Option<String>,
    /// An image repository other than obolnetwork/charon, such as a mirror; the tag stays the pin's
    #[arg(long, value_name = "REPOSITORY")]
    pub image: Option<String>,
    /// Run this charon binary without an engine, as the owner of the data directory
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, conflicts_with_all = ["image", "network"])]
    pub charon_binary: Option<PathBuf>,
    /// Accept a pre-release of charon if a definition version has no stable release yet
    #[arg(long)]
    pub allow_prerelease: bool,
    /// Run with an ENR key that was never backed up by this program
    #[arg(long)]
    pub no_backup: bool,
    /// Flags for charon itself, after `--`
    #[arg(last = true, value_name = "CHARON FLAGS")]
    pub charon_flags: Vec<String>,
}

/// `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Check and pull now, wait, check again and start at this time: 2027-01-15T20:00Z, or 20:00 in local time
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Refuse to start unless the ready lines of all operators are kept here and agree
    #[arg(long)]
    pub require_ready: bool,
    /// What is run.
    #[command(flatten)]
    pub ceremony: CeremonyArgs,
}

/// charon's own flag of the same meaning.
const PUBLISH_FLAG: &str = "--publish";

impl CeremonyArgs {
    /// charon's own flags, with those that have a name here.
    pub fn flags_of_charon(&self) -> Vec<String> {
        let mut flags = self.start.charon_flags.clone();
        if self.publish && !self.publishes() {
            flags.push(PUBLISH_FLAG.to_owned());
        }
        flags
    }

    /// Whether charon is told to publish the lock in so many words.
    fn publishes(&self) -> bool {
        let is_it = |flag: &String| *flag == PUBLISH_FLAG || *flag == "--publish=true";
        self.start.charon_flags.iter().any(is_it)
    }

    /// Whether charon will publish the lock.
    pub fn will_publish(&self) -> bool {
        self.publish || self.publishes()
    }
}

/// `ready`.
#[derive(Debug, Args)]
pub struct ReadyArgs {
    /// Ready lines, files with ready lines in them such as a whole chat log, or - for standard input
    /// [default: print this node's own]
    #[arg(value_name = "READY|FILE|-")]
    pub lines: Vec<OsString>,
    /// Print the lines of all operators, one per line, instead of the table, to pass them on
    #[arg(long)]
    pub bundle: bool,
    /// What is about to be run, as for `run`.
    #[command(flatten)]
    pub ceremony: CeremonyArgs,
}

impl CeremonyArgs {
    /// The flags that the next `plan` or `run` needs too. charon's own, and the URLs of an execution client and of a beacon
    /// node, may hold keys and stay where they were typed.
    pub fn typed_again(&self) -> Vec<String> {
        let one = |flag: &str, value: &str| [flag.to_owned(), value.to_owned()];
        let chosen = [
            ("--definition", &self.definition),
            ("--network", &self.start.network),
            ("--charon-version", &self.start.charon_version),
            ("--image", &self.start.image),
        ];
        let chosen = chosen
            .iter()
            .filter_map(|(flag, value)| Some(one(flag, value.as_deref()?)));
        let relays = self.start.relay.iter().map(|relay| one("--relay", relay));
        let switches = [
            ("--allow-prerelease", self.start.allow_prerelease),
            ("--no-backup", self.start.no_backup),
        ];
        let switches = switches
            .into_iter()
            .filter(|(_, given)| *given)
            .map(|(flag, _)| flag.to_owned());
        let words = chosen.chain(relays).flatten().chain(switches);
        let files = [
            ("--charon-binary", &self.start.charon_binary),
            (
                "--execution-rpc-file",
                &self.outside.execution.execution_rpc_file,
            ),
            ("--beacon-rpc-file", &self.outside.beacon.beacon_rpc_file),
        ];
        let files = files
            .iter()
            .filter_map(|(flag, file)| Some(one(flag, &file.as_ref()?.display().to_string())));
        words.chain(files.flatten()).collect()
    }
}

/// `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A directory to verify instead of the data directory
    #[arg(value_name = "DIR", conflicts_with = "data_dir", value_hint = ValueHint::DirPath)]
    pub target: Option<PathBuf>,
    /// A bare cluster lock; needs no secrets
    #[arg(long, value_name = "FILE", conflicts_with = "target", value_hint = ValueHint::FilePath)]
    pub lock: Option<PathBuf>,
    /// A cluster definition alone
    #[arg(long, value_name = "FILE", conflicts_with_all = ["target", "lock"],
        value_hint = ValueHint::FilePath)]
    pub definition: Option<PathBuf>,
    /// A deposit data file to check against --lock; repeat for several
    #[arg(long, value_name = "FILE", requires = "lock", value_hint = ValueHint::FilePath)]
    pub deposit: Vec<PathBuf>,
    /// The cluster lock before an edit (`charon alpha edit`), to verify the lock against it too
    #[arg(long, value_name = "FILE", conflicts_with = "definition", value_hint = ValueHint::FilePath)]
    pub previous_lock: Option<PathBuf>,
    /// Print nothing; the exit code is the answer
    #[arg(long, short)]
    pub quiet: bool,
    /// The world outside.
    #[command(flatten)]
    pub outside: Outside,
}

/// `receipt`.
#[derive(Debug, Args)]
pub struct ReceiptArgs {
    /// Where contract wallets are asked.
    #[command(flatten)]
    pub execution: ExecutionArgs,
}

/// What `explain` takes.
#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// charon's output as it was saved or pasted, one file per node, or - for standard input
    #[arg(value_name = "FILE|-", required = true, value_hint = ValueHint::FilePath)]
    pub logs: Vec<OsString>,
}

/// `confirm`.
#[derive(Debug, Args)]
pub struct ConfirmArgs {
    /// Receipts, files with receipts in them such as a whole chat log, or - for standard input
    #[arg(value_name = "RECEIPT|FILE|-")]
    pub receipts: Vec<OsString>,
    /// Judge by a bare cluster lock instead of the data directory; needs no key and keeps nothing
    #[arg(long, value_name = "FILE", conflicts_with = "data_dir")]
    pub lock: Option<PathBuf>,
    /// A deposit data file to compare with, beside --lock; repeat for several
    #[arg(long, value_name = "FILE", requires = "lock")]
    pub deposit: Vec<PathBuf>,
    /// Print the receipts of all operators, one per line, instead of the table, to pass them on
    #[arg(long)]
    pub bundle: bool,
    /// Leave out the receipts that this operator, counted from 1, gave before
    #[arg(long, value_name = "N", conflicts_with = "lock")]
    pub forget: Vec<usize>,
    /// Move held keys to the data directory even though receipts are missing, once you type your consent
    #[arg(long, conflicts_with = "lock")]
    pub promote_anyway: bool,
    /// Where contract wallets are asked.
    #[command(flatten)]
    pub execution: ExecutionArgs,
}

/// `board`.
#[derive(Debug, Args)]
pub struct BoardArgs {
    /// Files with ready lines and receipts in them such as a whole chat log, such lines themselves, or - for standard
    /// input; those that are kept in the project count too
    #[arg(value_name = "FILE|LINE|-")]
    pub lines: Vec<OsString>,
    /// Cluster definition: a file or an https URL [default: that of the project, or else of --lock]
    #[arg(long, value_name = "FILE|URL", value_hint = ValueHint::FilePath)]
    pub definition: Option<String>,
    /// Cluster lock to check receipts against [default: that of the project, unless a definition is given]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub lock: Option<PathBuf>,
    /// A deposit data file to check against the lock and to add up; repeat for several
    #[arg(long, value_name = "FILE", requires = "lock", value_hint = ValueHint::FilePath)]
    pub deposit: Vec<PathBuf>,
    /// Write a self-contained page, to post in the group or to keep as the record of the ceremony
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub html: Option<PathBuf>,
    /// Whose protocol the cluster is for.
    #[command(flatten)]
    pub profile: ProfileArgs,
    /// Where contract wallets are asked.
    #[command(flatten)]
    pub execution: ExecutionArgs,
}

/// `gate`.
#[derive(Debug, Args)]
pub struct GateArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub action: GateAction,
}

/// What to do with the gate.
#[derive(Debug, Subcommand)]
pub enum GateAction {
    /// Install the gate in the compose project: one file, and its name in COMPOSE_FILE in .env
    Install(GateInstallArgs),
    /// Say what the gate covers, what it does not, and what it would answer now
    Status(ComposeArgs),
    /// Remove the gate, byte for byte
    Remove(ComposeArgs),
    /// Ask the gate; the exit code is the answer
    Check(GateCheckArgs),
}

/// `gate install`.
#[derive(Debug, Args)]
pub struct GateInstallArgs {
    /// What must hold before anything starts
    #[arg(long, value_name = "POLICY", default_value = "confirmed")]
    pub require: Require,
    /// Use a container of this program as the gate, which works with every Compose from 1.29, even where Compose could ask the plugin
    #[arg(long)]
    pub one_shot: bool,
    /// Accept the keys of a rehearsal, and no others
    #[arg(long, hide = true)]
    pub rehearsal: bool,
    /// Which Compose.
    #[command(flatten)]
    pub compose: ComposeArgs,
}

/// `gate check`.
#[derive(Debug, Args)]
pub struct GateCheckArgs {
    /// What must be so
    #[arg(long, value_name = "POLICY", default_value = "confirmed")]
    pub require: Require,
    /// Accept the keys of a rehearsal, and no others
    #[arg(long, hide = true)]
    pub rehearsal: bool,
    /// Name no directories: those of a container are not the machine's
    #[arg(long, hide = true)]
    pub in_container: bool,
    /// The project's settings, where Compose put its variables in.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Where contract wallets are asked.
    #[command(flatten)]
    pub execution: ExecutionArgs,
}

/// Which Compose to use.
#[derive(Debug, Args)]
pub struct ComposeArgs {
    /// Program to run as Compose [default: `docker compose`, or else `docker-compose`]
    #[arg(long, value_name = "PROGRAM", env = "CHARON_DKG_COMPOSE")]
    pub compose: Option<PathBuf>,
}

/// `up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Which Compose.
    #[command(flatten)]
    pub compose: ComposeArgs,
    /// Services and flags for Compose's `up -d`, after `--`
    #[arg(last = true, value_name = "COMPOSE ARGS")]
    pub compose_args: Vec<OsString>,
}

/// `archive`.
#[derive(Debug, Args)]
pub struct ArchiveArgs {
    /// Move the cluster definition aside too
    #[arg(long)]
    pub with_definition: bool,
    /// Who is asked whether these keys are in use.
    #[command(flatten)]
    pub beacon: BeaconArgs,
}

/// `rehearse`.
#[derive(Debug, Args)]
pub struct RehearseArgs {
    /// Number of operators [default: 4]
    #[arg(long, value_name = "N")]
    pub operators: Option<u16>,
    /// Number of validators [default: 2]
    #[arg(long, value_name = "N")]
    pub validators: Option<u16>,
    /// What plays charon: its image, our simulator, or the image if it is available
    #[arg(
        long,
        value_name = "charon|simulated|auto",
        default_value = "auto",
        hide_possible_values = true
    )]
    pub engine: RehearsalEngine,
    /// A scenario to play instead of the whole process; repeat for several, or `all`
    #[arg(long, value_name = "NAME")]
    pub scenario: Vec<ScenarioChoice>,
    /// An edit to play instead of the whole process, from running nodes to switched ones; repeat for several
    #[arg(long, value_name = "COMMAND", value_parser = edit_kind, conflicts_with = "scenario")]
    pub edit: Vec<EditKind>,
    /// Leave out the compose projects and their gates
    #[arg(long)]
    pub without_gate: bool,
    /// Keep the operators' directories instead of removing them
    #[arg(long)]
    pub keep: bool,
    /// Seconds between operators who join one after another
    #[arg(long, value_name = "SECONDS", default_value_t = 60, hide = true,
        value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub pace: u64,
    /// Which Compose.
    #[command(flatten)]
    pub compose: ComposeArgs,
}

/// A scenario of `rehearse`: something that goes wrong or otherwise than usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// The last operator joins after all others have been waiting.
    LatePeer,
    /// Operators join one after the other.
    OnePerMinute,
    /// A data directory holds keystores of an earlier ceremony.
    ExistingKeys,
    /// A data directory holds a cluster lock of an earlier ceremony.
    ExistingLock,
    /// Ten operators and many validators.
    Large,
    /// One operator runs another release of charon.
    MixedVersions,
    /// charon leaves one keystore out.
    MissingKeystore,
    /// `run` is killed in the middle of the ceremony.
    Killed,
    /// An operator's disk fills up while the keystores are written.
    FullDisk,
    /// An operator's ENR key belongs to another user.
    WrongOwner,
}

/// An edit by charon's command.
fn edit_kind(text: &str) -> Result<EditKind, String> {
    let known = EditKind::ALL.iter().find(|kind| kind.command() == text);
    known.copied().ok_or_else(|| {
        let names: Vec<&str> = EditKind::ALL.iter().map(|kind| kind.command()).collect();
        format!("expected one of {}", names.join(", "))
    })
}

/// What `rehearse --scenario` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScenarioChoice {
    /// This one.
    One(Scenario),
    /// Every one of them, one after the other.
    All,
}

impl ValueEnum for ScenarioChoice {
    fn value_variants<'a>() -> &'a [Self] {
        static CHOICES: LazyLock<Vec<ScenarioChoice>> = LazyLock::new(|| {
            let each = Scenario::value_variants().iter();
            each.map(|one| ScenarioChoice::One(*one))
                .chain([ScenarioChoice::All])
                .collect()
        });
        &CHOICES
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::One(one) => one.to_possible_value(),
            Self::All => {
                Some(PossibleValue::new("all").help("Every one of them, one after the other"))
            }
        }
    }
}

/// What plays charon in a rehearsal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RehearsalEngine {
    /// charon's own image; refuse without it.
    Charon,
    /// The built-in simulator.
    Simulated,
    /// charon's image where present or pullable, the simulator elsewhere.
    Auto,
}

/// Arguments handed on as they are.
#[derive(Debug, Args)]
pub struct RawArgs {
    /// As given.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}

/// A parsed command line, and how its author spells this program.
#[derive(Debug)]
pub struct Invocation {
    /// What was asked for.
    pub cli: Cli,
    /// `docker charon-dkg`, `docker charondkg` or `charon-dkg`: usage lines and advice repeat it.
    pub spelling: String,
    /// Variables that say what docker's own flags said.
    pub docker_variables: Vec<(&'static str, OsString)>,
}

impl Invocation {
    /// Reads argv; `forwarder` is the spelling that the `docker` forwarder says was typed.
    ///
    /// # Errors
    /// clap's error, which also carries `--help` and `--version`.
    pub fn from_args(
        argv: Vec<OsString>,
        forwarder: Option<String>,
    ) -> Result<Self, Box<clap::Error>> {
        let Shape {
            args,
            engine_flags,
            plugin,
        } = Shape::of(argv);
        let name = match forwarder {
            Some(typed) if typed == "docker charon-dkg" => "charon-dkg",
            Some(_) | None => PLUGIN_NAME,
        };
        let mut variables = engine_flags.variables.iter();
        let config = variables
            .rfind(|(variable, _)| *variable == "DOCKER_CONFIG")
            .map(|(_, dir)| format!("--config {} ", quoted(dir)));
        let spelling = if plugin {
            format!("docker {}{name}", config.unwrap_or_default())
        } else {
            "charon-dkg".to_owned()
        };
        let args = as_flags(args);
        let command = command().bin_name(spelling.clone());
        let matches = command.try_get_matches_from(args).map_err(Box::new)?;
        let mut cli = Cli::from_arg_matches(&matches).map_err(Box::new)?;
        cli.common.host = cli.common.host.or(engine_flags.host);
        cli.common.context = cli.common.context.or(engine_flags.context);
        Ok(Self {
            cli,
            spelling,
            docker_variables: engine_flags.variables,
        })
    }
}

/// The words `help` and `version`, and no word at all, as the flags that they stand for. So docker's own commands take them.
fn as_flags(args: Vec<OsString>) -> Vec<OsString> {
    let mut words = args.into_iter();
    let program: Vec<OsString> = words.by_ref().take(1).collect();
    let mut words: Vec<OsString> = words.collect();
    match words.first().and_then(|word| word.to_str()) {
        None if words.is_empty() => words.push("--help".into()),
        Some("help") => {
            words.remove(0);
            words.push("--help".into());
        }
        Some("version") if words.len() == 1 => words = vec!["--version".into()],
        Some(_) | None => {}
    }
    [program, words].concat()
}

/// Everything that can be typed, as the help and completion know it.
pub fn command() -> clap::Command {
    Cli::command()
        .name("charon-dkg")
        .display_name("charon-dkg")
        .after_help(exit_codes())
}

/// The table of exit codes, for the help.
fn exit_codes() -> String {
    let mut text = "Exit codes:\n  0    done\n".to_owned();
    for kind in Kind::ALL {
        text.push_str(&format!("  {:<4} {}\n", kind.exit_code(), kind.meaning()));
    }
    text
}

/// Whether a command line asks for JSON on standard output. For one that cannot be parsed; the
/// parsed one knows.
pub fn asks_for_json(argv: &[OsString]) -> bool {
    let words: Vec<&str> = argv
        .iter()
        .map(|word| word.to_str().unwrap_or_default())
        .take_while(|word| *word != "--")
        .collect();
    words.contains(&"--format=json") || words.windows(2).any(|pair| pair == ["--format", "json"])
}

/// What docker's own flags before the plugin's name said about the engine.
#[derive(Debug, Default, PartialEq, Eq)]
struct EngineFlags {
    host: Option<String>,
    context: Option<String>,
    /// What can be said by variables as well, which children, credential helpers and libraries read.
    variables: Vec<(&'static str, OsString)>,
}

/// argv with docker's part taken off.
struct Shape {
    args: Vec<OsString>,
    engine_flags: EngineFlags,
    plugin: bool,
}

impl Shape {
    fn of(argv: Vec<OsString>) -> Self {
        let mut flags = EngineFlags::default();
        let mut at = 1;
        while let Some(word) = argv.get(at).and_then(|word| word.to_str()) {
            let asks_help = word == "help" && argv.get(at + 1).is_some_and(|w| w == PLUGIN_NAME);
            if word == PLUGIN_NAME || asks_help {
                let own = argv.iter().skip(at + 1 + usize::from(asks_help));
                let help = asks_help.then(|| OsString::from("--help"));
                return Self {
                    args: argv
                        .iter()
                        .take(1)
                        .chain(own)
                        .cloned()
                        .chain(help)
                        .collect(),
                    engine_flags: flags,
                    plugin: true,
                };
            }
            let Some(taken) = docker_flag(word, argv.get(at + 1), &mut flags) else {
                break;
            };
            at += taken;
        }
        Self {
            args: argv,
            engine_flags: EngineFlags::default(),
            plugin: false,
        }
    }
}

/// How many words a global flag of docker's takes, or `None` if `word` is not one
/// (docker/cli `cli/flags/options.go`).
fn docker_flag(word: &str, next: Option<&OsString>, flags: &mut EngineFlags) -> Option<usize> {
    let value = |inline: Option<&str>| match inline {
        Some(text) => (Some(OsString::from(text)), 1),
        None => (next.cloned(), 2),
    };
    let text = |given: Option<OsString>| given.and_then(|given| given.into_string().ok());
    let (name, inline) = match word.strip_prefix("--") {
        Some(long) => match long.split_once('=') {
            Some((name, text)) => (name, Some(text)),
            None => (long, None),
        },
        None => {
            let short = word.strip_prefix('-').filter(|rest| !rest.is_empty())?;
            // Short flags may share one hyphen.
            let short = match short.trim_start_matches('D') {
                "" => "D",
                rest => rest,
            };
            let (first, rest) = short.split_at(short.chars().next()?.len_utf8());
            let inline = (!rest.is_empty()).then(|| rest.trim_start_matches('='));
            (first, inline)
        }
    };
    match name {
        "host" | "H" => {
            let (given, taken) = value(inline);
            flags.host = text(given);
            Some(taken)
        }
        "context" | "c" => {
            let (given, taken) = value(inline);
            flags.context = text(given);
            Some(taken)
        }
        "config" => {
            let (given, taken) = value(inline);
            flags
                .variables
                .extend(given.map(|dir| ("DOCKER_CONFIG", dir)));
            Some(taken)
        }
        "tls" | "tlsverify" => {
            // Docker's flags of yes and no take these words for no (Go `strconv.ParseBool`).
            let is_no = matches!(inline, Some("0" | "f" | "F" | "false" | "FALSE" | "False"));
            let variable = if name == "tls" {
                "DOCKER_TLS"
            } else {
                "DOCKER_TLS_VERIFY"
            };
            if !is_no {
                flags.variables.push((variable, "1".into()));
            }
            Some(1)
        }
        "log-level" | "l" | "tlscacert" | "tlscert" | "tlskey" => Some(value(inline).1),
        "debug" | "D" => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(argv: &[&str]) -> Invocation {
        Invocation::from_args(argv.iter().map(Into::into).collect(), None).unwrap()
    }

    #[test]
    fn clap_agrees_with_itself() {
        Cli::command().debug_assert();
    }

    #[test]
    fn dockers_flags_before_the_plugin_name_reach_the_engine_choice() {
        for argv in [
            &[
                "/x/docker-charondkg",
                "--context",
                "far",
                "charondkg",
                "status",
            ][..],
            &[
                "/x/docker-charondkg",
                "--context=far",
                "charondkg",
                "status",
            ],
            &["/x/docker-charondkg", "-c", "far", "charondkg", "status"],
            &["/x/docker-charondkg", "-cfar", "-D", "charondkg", "status"],
            &[
                "/x/docker-charondkg",
                "-l",
                "warn",
                "--tls",
                "-c=far",
                "charondkg",
                "status",
            ],
        ] {
            let parsed = parse(argv);
            assert_eq!(
                parsed.cli.common.context.as_deref(),
                Some("far"),
                "{argv:?}"
            );
            assert_eq!(parsed.spelling, "docker charondkg");
            assert!(matches!(parsed.cli.verb, Verb::Status));
        }
    }

    #[test]
    fn dockers_flags_that_are_variables_too_are_said_as_those() {
        let parse = |words: &[&str]| parse(&[&["/x/docker-charondkg"], words].concat());
        let parsed = parse(&[
            "--config",
            "/a b",
            "--tls",
            "-Dc",
            "far",
            "charondkg",
            "status",
        ]);
        let expected: [(&str, OsString); 2] =
            [("DOCKER_CONFIG", "/a b".into()), ("DOCKER_TLS", "1".into())];
        assert_eq!(parsed.docker_variables, expected);
        assert_eq!(parsed.cli.common.context.as_deref(), Some("far"));
        assert_eq!(parsed.spelling, "docker --config '/a b' charondkg");
        let parsed = parse(&["--tlsverify=false", "--config=c", "charondkg", "status"]);
        assert_eq!(parsed.docker_variables, [("DOCKER_CONFIG", "c".into())]);
        assert_eq!(parsed.spelling, "docker --config c charondkg");
        assert_eq!(parse(&["charondkg", "status"]).docker_variables, []);
    }

    #[test]
    fn the_standalone_form_has_flags_of_its_own() {
        let parsed = parse(&[
            "charon-dkg",
            "--host",
            "unix:///x.sock",
            "status",
            "--dir",
            "a",
        ]);
        assert_eq!(parsed.cli.common.host.as_deref(), Some("unix:///x.sock"));
        assert_eq!(parsed.cli.common.dir, PathBuf::from("a"));
        assert_eq!(parsed.spelling, "charon-dkg");
    }

    #[test]
    fn usage_repeats_the_spelling_that_was_typed() {
        let argv = ["/x/docker-charondkg", "charondkg", "frobnicate"];
        let argv = || argv.iter().map(OsString::from).collect::<Vec<_>>();
        let forwarded = Some("docker charon-dkg".to_owned());
        let error = Invocation::from_args(argv(), forwarded).unwrap_err();
        assert!(error.to_string().contains("docker charon-dkg"), "{error}");
        let error = Invocation::from_args(argv(), None).unwrap_err();
        assert!(error.to_string().contains("docker charondkg"), "{error}");
    }

    #[test]
    fn dockers_help_reaches_the_verb() {
        for (argv, usage) in [
            (
                &["/x/docker-charondkg", "help", "charondkg"][..],
                "docker charondkg [OPTIONS]",
            ),
            (
                &["/x/docker-charondkg", "-D", "help", "charondkg", "enr"],
                "docker charondkg enr [OPTIONS]",
            ),
        ] {
            let argv = argv.iter().map(OsString::from).collect();
            let help = Invocation::from_args(argv, None).unwrap_err();
            assert_eq!(help.kind(), clap::error::ErrorKind::DisplayHelp);
            assert!(help.to_string().contains(usage), "{help}");
        }
    }

    #[test]
    fn words_that_people_bring_along_are_understood() {
        let kind = |argv: &[&str]| {
            let argv = argv.iter().map(OsString::from).collect();
            Invocation::from_args(argv, None).map_err(|error| (error.kind(), error.to_string()))
        };
        for (argv, usage) in [
            (&["charon-dkg"][..], "charon-dkg [OPTIONS] <COMMAND>"),
            (
                &["/x/docker-charondkg", "charondkg"],
                "docker charondkg [OPTIONS]",
            ),
            (&["charon-dkg", "help"], "charon-dkg [OPTIONS] <COMMAND>"),
            (&["charon-dkg", "help", "enr"], "charon-dkg enr [OPTIONS]"),
            (
                &[
                    "/x/docker-charondkg",
                    "charondkg",
                    "help",
                    "gate",
                    "install",
                ],
                "docker charondkg gate install [OPTIONS]",
            ),
        ] {
            let (kind, text) = kind(argv).unwrap_err();
            assert_eq!(kind, clap::error::ErrorKind::DisplayHelp, "{argv:?}");
            assert!(text.contains(usage), "{argv:?}: {text}");
        }
        for argv in [
            &["charon-dkg", "version"][..],
            &["/x/docker-charondkg", "charondkg", "version"],
        ] {
            let (kind, text) = kind(argv).unwrap_err();
            assert_eq!(kind, clap::error::ErrorKind::DisplayVersion, "{argv:?}");
            assert!(text.contains(env!("CARGO_PKG_VERSION")), "{text}");
        }
        // What the launchpad shows to be pasted.
        let parsed = parse(&[
            "charon-dkg",
            "run",
            "--definition-file=https://api.example/v1/definition/0x12",
            "--publish",
        ]);
        let Verb::Run(args) = parsed.cli.verb else {
            panic!("not run");
        };
        assert_eq!(
            args.ceremony.definition.as_deref(),
            Some("https://api.example/v1/definition/0x12")
        );
        assert_eq!(args.ceremony.flags_of_charon(), ["--publish"]);
        let parsed = parse(&["charon-dkg", "run", "--publish", "--", "--publish"]);
        let Verb::Run(args) = parsed.cli.verb else {
            panic!("not run");
        };
        assert_eq!(args.ceremony.flags_of_charon(), ["--publish"]);
    }

    #[test]
    fn charons_own_flags_are_no_wish_for_json() {
        let asks =
            |words: &[&str]| asks_for_json(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(asks(&[
            "charon-dkg",
            "run",
            "--format=json",
            "--frobnicate"
        ]));
        assert!(asks(&["charon-dkg", "--format", "json"]));
        assert!(!asks(&["charon-dkg", "run", "--", "--format=json"]));
        assert!(!asks(&["charon-dkg", "run", "--format", "text", "json"]));
    }

    #[test]
    fn the_next_command_runs_the_same_charon() {
        let words = ["--relay", "http://r", "--charon-binary", "/opt/charon"];
        let parsed = parse(&[&["charon-dkg", "run"], &words[..]].concat());
        let Verb::Run(args) = parsed.cli.verb else {
            panic!("not run");
        };
        assert_eq!(args.ceremony.typed_again(), words);
    }

    #[test]
    fn charon_flags_follow_two_dashes() {
        let parsed = parse(&[
            "charon-dkg",
            "run",
            "--relay",
            "http://r",
            "--",
            "--timeout=5m",
        ]);
        let Verb::Run(args) = parsed.cli.verb else {
            panic!("not run");
        };
        assert_eq!(args.ceremony.start.charon_flags, ["--timeout=5m"]);
        assert_eq!(args.ceremony.start.relay, ["http://r"]);
    }
}
