//! charon's edits of a cluster (`charon alpha edit`), in charon's order and words (`cmd/edit_*.go`, `dkg/protocol*.go`). As in
//! a first ceremony all is dealt from one place: the nodes bring their old shares along, and the simulated relay makes new
//! ones of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::Value;

use charon_files::cluster::definition::default_threshold;
use charon_files::cluster::{AddressPair, CharonVersion, ClusterLock, ValidatorIndex};
use charon_files::keys::bls::{PublicKey, ShareSecret};
use charon_files::keys::k1::EnrKey;
use charon_files::rehearsal::is_rehearsal;
use charon_proof::edit::{EditKind, EditRequest};

use super::change::{Change, EditTerms};
use super::dealer::Validator;
use super::failure::{Failure, Fields};
use super::files;
use super::flags::{CEREMONY, COMMON, Flag, Kind, Values};
use super::log::Log;
use super::names::peer_name;
use super::node::{Bring, Ceremony, Link, PULSE, canceled, not_a_rehearsal, read_dealt};
use super::relay::LAST_STEP;
use super::wire::{DealtTo, Fault};

/// charon's flags of every edit alone, v1.10.
const FLAGS: [Flag; 6] = [
    ("lock-file", Kind::Text, ".charon/cluster-lock.json"),
    ("output-dir", Kind::Text, "distributed_validator"),
    (
        "private-key-file",
        Kind::Text,
        ".charon/charon-enr-private-key",
    ),
    ("timeout", Kind::Period, "1m0s"),
    ("validator-keys-dir", Kind::Text, ".charon/validator_keys"),
    ("verbose", Kind::Switch, "false"),
];

/// The flags of one edit alone.
const fn own_flags(kind: EditKind) -> &'static [Flag] {
    match kind {
        EditKind::AddValidators => &[
            ("fee-recipient-addresses", Kind::List, ""),
            ("keymanager-address", Kind::Text, ""),
            ("keymanager-auth-token", Kind::Text, ""),
            ("num-validators", Kind::Text, "1"),
            ("unverified", Kind::Switch, "false"),
            ("withdrawal-addresses", Kind::List, ""),
        ],
        EditKind::AddOperators => &[("new-operator-enrs", Kind::List, "")],
        EditKind::RemoveOperators => &[
            ("new-threshold", Kind::Text, "0"),
            ("operator-enrs-to-remove", Kind::List, ""),
            ("participating-operator-enrs", Kind::List, ""),
        ],
        EditKind::ReplaceOperator => &[
            ("new-operator-enr", Kind::Text, ""),
            ("old-operator-enr", Kind::Text, ""),
        ],
        EditKind::RecreatePrivateKeys => &[],
    }
}

/// Runs one node of an edit to its end. `stop` is set when the process is asked to end.
pub(crate) fn run(
    arguments: &[String],
    environment: impl Fn(&str) -> Option<String>,
    release: &CharonVersion,
    stop: &Arc<AtomicBool>,
    log: &mut Log,
) -> Result<(), Failure> {
    let unknown = |word: &str| {
        Failure::new(format!(
            "unknown command \"{word}\" for \"charon alpha edit\""
        ))
    };
    let (word, arguments) = arguments.split_first().ok_or_else(|| unknown(""))?;
    let kind = EditKind::ALL.iter().find(|kind| kind.command() == word);
    let kind = *kind.ok_or_else(|| unknown(word))?;
    let flags = [&COMMON[..], &CEREMONY, &FLAGS, own_flags(kind)].concat();
    let values = Values::parse(&flags, arguments, environment)?;
    super::disclaim(*log);
    *log = Log::new(
        values.text("log-level"),
        values.text("log-format"),
        values.text("log-color"),
    )?;
    for unsupported in ["publish", "no-verify", "unverified"] {
        if values.is_on(unsupported) {
            return Err(Failure::new(format!(
                "the rehearsal simulator does not know what to do with --{unsupported}"
            )));
        }
    }
    let lock_path = PathBuf::from(values.text("lock-file"));
    log.info(
        "cmd",
        &format!("Starting {} ceremony", spoken(kind)),
        vec![
            ("lockFilePath", lock_path.display().to_string().into()),
            ("outputDir", values.text("output-dir").into()),
        ],
    );
    let lock = std::fs::read_to_string(&lock_path)
        .map_err(|error| Failure::io("open", &lock_path, &error).wrapped("load cluster lock"))?;
    let key_path = PathBuf::from(values.text("private-key-file"));
    let key = files::load_key(key_path.parent().unwrap_or(Path::new(".")))?;
    let edit = terms(kind, &values, lock, release)?;
    let change = Change::new(&edit, release)?;
    let own = key.public_key();
    let you = change.participants().iter().position(|it| *it == own);
    let you = you.ok_or_else(|| {
        Failure::new("unknown private key provided, it doesn't match any public key encoded inside the operator ENRs")
    })?;
    let shares = old_shares(&values, &change, you, *log)?;
    let node = Ceremony {
        log: *log,
        release,
        stop,
        data_dir: PathBuf::from(values.text("output-dir")),
        values,
    };
    Node {
        key,
        key_path,
        lock_path,
        edit,
        change,
        you,
        shares,
    }
    .take_part(&node)?;
    log.info(
        "cmd",
        &format!("Successfully completed {} ceremony 🎉", spoken(kind)),
        Vec::new(),
    );
    log.info("cmd", "IMPORTANT:", Vec::new());
    log.info(
        "cmd",
        &format!(
            "You need to shut down your node (charon and VC) and restart it with the new data directory: {}",
            node.data_dir.display()
        ),
        Vec::new(),
    );
    Ok(())
}

/// What charon calls it in its log.
const fn spoken(kind: EditKind) -> &'static str {
    match kind {
        EditKind::AddValidators
        | EditKind::AddOperators
        | EditKind::RemoveOperators
        | EditKind::ReplaceOperator => kind.command(),
        EditKind::RecreatePrivateKeys => "reshare",
    }
}

/// What the flags ask for.
fn terms(
    kind: EditKind,
    values: &Values,
    lock: String,
    release: &CharonVersion,
) -> Result<EditTerms, Failure> {
    let before = ClusterLock::parse(lock.as_bytes())
        .map_err(|error| Failure::new(format!("unmarshal lock: {error}")))?
        .value;
    let number = |name: &str| {
        values.text(name).parse::<usize>().map_err(|_| {
            Failure::new(format!(
                "invalid argument \"{}\" for \"--{name}\" flag",
                values.text(name)
            ))
        })
    };
    let mut threshold = before.definition.threshold;
    let mut participating = Vec::new();
    let request = match kind {
        EditKind::AddValidators => {
            let count = number("num-validators")?;
            let of = |name: &str| match values.list(name) {
                [one] => Ok(vec![one.clone(); count]),
                all if all.len() == count => Ok(all.to_vec()),
                _ => Err(Failure::new(format!(
                    "mismatching --num-validators and --{name}"
                ))),
            };
            let pairs = of("fee-recipient-addresses")?
                .into_iter()
                .zip(of("withdrawal-addresses")?);
            EditRequest::AddValidators {
                addresses: pairs
                    .map(|(fee_recipient_address, withdrawal_address)| AddressPair {
                        fee_recipient_address,
                        withdrawal_address,
                    })
                    .collect(),
            }
        }
        EditKind::AddOperators => EditRequest::AddOperators {
            enrs: values.list("new-operator-enrs").to_vec(),
        },
        EditKind::RemoveOperators => {
            let enrs = values.list("operator-enrs-to-remove").to_vec();
            participating = values.list("participating-operator-enrs").to_vec();
            let left = before.definition.operators.len().saturating_sub(enrs.len());
            let least = if (release.major, release.minor) < (1, 11) {
                left.saturating_sub(left.saturating_sub(1) / 3)
            } else {
                default_threshold(left)
            };
            let asked = number("new-threshold")?;
            if asked != 0 && (asked >= left || asked < least) {
                return Err(
                    Failure::new("new-threshold is invalid").field("recommendedThreshold", least)
                );
            }
            let chosen = if asked == 0 { least } else { asked };
            threshold = u64::try_from(chosen).unwrap_or(u64::MAX);
            EditRequest::RemoveOperators {
                enrs,
                threshold: Some(threshold),
            }
        }
        EditKind::ReplaceOperator => EditRequest::ReplaceOperator {
            old: values.text("old-operator-enr").to_owned(),
            new: values.text("new-operator-enr").to_owned(),
        },
        EditKind::RecreatePrivateKeys => EditRequest::RecreatePrivateKeys,
    };
    let participants = if participating.is_empty() {
        request.operators_after(&before)
    } else {
        participating
    };
    Ok(EditTerms {
        request,
        lock,
        participants,
        threshold,
    })
}

/// The shares of one who has some.
fn old_shares(
    values: &Values,
    change: &Change,
    you: usize,
    log: Log,
) -> Result<Vec<ShareSecret>, Failure> {
    if change.old_node(you).is_none() {
        return Ok(Vec::new());
    }
    let directory = Path::new(values.text("validator-keys-dir"));
    let count = change.before.validators.len();
    let shares = files::read_keystores(directory, count)?;
    log.info(
        "cmd",
        "Loaded private key shares",
        vec![("numKeys", shares.len().into())],
    );
    Ok(shares)
}

/// One node of an edit.
struct Node {
    key: EnrKey,
    key_path: PathBuf,
    lock_path: PathBuf,
    edit: EditTerms,
    change: Change,
    you: usize,
    shares: Vec<ShareSecret>,
}

impl Node {
    /// Meets the others, and runs the edit with them.
    fn take_part(&self, ceremony: &Ceremony<'_>) -> Result<(), Failure> {
        let definition = self.change.definition();
        let keys = self.change.participants().to_vec();
        for (index, key) in keys.iter().enumerate() {
            let mut fields: Fields = vec![
                ("peer", peer_name(key).into()),
                ("index", Value::from(index)),
            ];
            if index == self.you {
                fields.push(("you", "⭐️".into()));
            }
            ceremony.log.info("cmd", "Peer summary", fields);
        }
        if !is_rehearsal(definition) {
            return Err(not_a_rehearsal());
        }
        let bring = Bring {
            key: &self.key,
            definition: definition.to_json(),
            edit: Some(&self.edit),
            shares: &self.shares,
        };
        ceremony.take_part(&bring, keys, self.you, |link, fault| {
            self.hold(ceremony, link, fault)
        })
    }

    /// What comes after everybody is there.
    fn hold(
        &self,
        ceremony: &Ceremony<'_>,
        link: &Link<'_>,
        fault: Option<Fault>,
    ) -> Result<(), Failure> {
        link.await_all_connected()?;
        ceremony.next_step(link, 1)?;
        ceremony.log.info(
            "cmd",
            "Starting pedersen reshare...",
            vec![(
                "oldThreshold",
                self.change.before.definition.threshold.into(),
            )],
        );
        if fault == Some(Fault::Hang) {
            while !ceremony.pause(PULSE) {}
            return Err(canceled());
        }
        let Some(place) = self.change.place(self.you) else {
            for step in 2..=LAST_STEP {
                ceremony.next_step(link, step)?;
            }
            return Ok(());
        };
        let (validators, secrets) = self.receive_deal(link, place)?;
        for step in 2..=4 {
            ceremony.next_step(link, step)?;
        }
        ceremony
            .log
            .info("cmd", "Pedersen reshare completed.", Vec::new());
        let lock = self.change.lock(&validators);
        let lock_text = ceremony.sign_lock(link, lock, &validators, &secrets, &self.key)?;
        self.write(ceremony, &validators, &secrets, &lock_text, fault)?;
        ceremony.next_step(link, 7)?;
        ceremony.next_step(link, LAST_STEP)?;
        std::thread::sleep(ceremony.values.period("shutdown-delay"));
        Ok(())
    }

    fn receive_deal(
        &self,
        link: &Link<'_>,
        place: usize,
    ) -> Result<(Vec<Validator>, Vec<ShareSecret>), Failure> {
        link.receive_deal(place, |position, dealt| {
            if position < self.change.before.validators.len() {
                self.read_kept(position, dealt)
            } else {
                read_dealt(&self.change.terms, ValidatorIndex::new(position), dealt)
            }
        })
    }

    fn read_kept(
        &self,
        position: usize,
        dealt: &DealtTo,
    ) -> Result<(Validator, ShareSecret), Failure> {
        let wrong = || Failure::new("the simulated relay sent a malformed deal");
        let bytes = |text: &String| hex::decode(text).map_err(|_| wrong());
        let shares = dealt.public_shares.iter();
        let shares = shares.map(|text| PublicKey::parse(&bytes(text)?).map_err(|_| wrong()));
        let validator = self
            .change
            .kept(position, shares.collect::<Result<_, _>>()?)?;
        let secret = ShareSecret::parse(&bytes(&dealt.share)?).map_err(|_| wrong())?;
        Ok((validator, secret))
    }

    fn write(
        &self,
        ceremony: &Ceremony<'_>,
        validators: &[Validator],
        secrets: &[ShareSecret],
        lock_text: &str,
        fault: Option<Fault>,
    ) -> Result<(), Failure> {
        let output = &ceremony.data_dir;
        files::create_empty_directory(output)?;
        files::copy_key(&self.key_path, output)?;
        files::write_keystores(output, secrets, fault)?;
        if fault == Some(Fault::DieAfterKeys) {
            std::process::exit(137);
        }
        files::write_lock(output, lock_text)?;
        if self.change.kind == EditKind::AddValidators {
            let beside = self.lock_path.parent().unwrap_or(Path::new("."));
            // Merged with the old ones, where those are beside the lock.
            let first = match files::has_deposit_data(beside) {
                true => 0,
                false => self.change.before.validators.len(),
            };
            let made = validators.get(first..).unwrap_or_default();
            for (name, text) in self.change.terms.deposit_files(made) {
                files::write_deposit_data(output, &name, &text)?;
            }
        }
        ceremony.log.info(
            "cmd",
            "Stored artifacts",
            vec![("output_dir", output.display().to_string().into())],
        );
        Ok(())
    }
}
