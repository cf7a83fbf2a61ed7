//! One of charon's edits as a node runs it: who takes part, what comes of it, and what speaks against it.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::report::quoted;
use charon_files::cluster::definition::{Operator, default_threshold};
use charon_files::cluster::{
    Address, AddressPair, CharonVersion, ClusterLock, Definition, DefinitionHash, Enr,
};
use charon_files::finding::{Finding, Weight};
use charon_files::keys::k1::EnrPublicKey;
use charon_proof::edit::EditRequest;

/// Before everything that [`EditCommand::hash`] is made of.
const HASH_DOMAIN: &str = "charon-dkg edit\n";

/// What is told to charon, and to this program with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditCommand {
    /// What all operators ask for alike.
    pub request: EditRequest,
    /// ENRs of those who take part in `remove-operators`, in the order that all use; empty if exactly those do who stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub participating: Vec<String>,
    /// A threshold below two thirds that is wanted in so many words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_threshold: Option<u64>,
}

/// What an edit makes of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It has shares, and gets new ones.
    Stays,
    /// It is new.
    Comes,
    /// It helps, and gets nothing: an operator who is removed and takes part.
    Leaves,
}

/// Where charon finds and puts files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The ENR key.
    pub key: String,
    /// The cluster lock before the edit.
    pub lock: String,
    /// The keystores before the edit; need not exist for a new operator.
    pub keystores: String,
    /// An empty directory.
    pub output: String,
}

impl From<EditRequest> for EditCommand {
    fn from(request: EditRequest) -> Self {
        Self {
            request,
            participating: Vec::new(),
            accept_threshold: None,
        }
    }
}

impl EditCommand {
    /// ENRs of all who run the command, in charon's order (`GetPeers` in `dkg/protocol_*.go`).
    pub fn participants(&self, before: &ClusterLock) -> Vec<String> {
        if self.participating.is_empty() {
            self.request.operators_after(before)
        } else {
            self.participating.clone()
        }
    }

    /// What all who take part mean alike, in the place of a definition's hash: SHA-256 of `charon-dkg edit`, the hash of the
    /// lock before it, charon's command, and its flags, each with a line feed behind it. Operators to remove are sorted.
    ///
    /// # Errors
    /// If the lock has no hash.
    pub fn hash(&self, before: &ClusterLock) -> Result<DefinitionHash, String> {
        let lock_hash = before.lock_hash().map_err(|error| error.to_string())?;
        let mut sorted = self.clone();
        if let EditRequest::RemoveOperators { enrs, .. } = &mut sorted.request {
            enrs.sort_unstable();
        }
        let mut text = format!(
            "{HASH_DOMAIN}{lock_hash}\n{}\n",
            self.request.kind().command()
        );
        for flag in sorted.flags() {
            text.push_str(&flag);
            text.push('\n');
        }
        Ok(DefinitionHash::new(Sha256::digest(text).into()))
    }

    /// The operators as charon numbers them in its log: those who take part, but by their old numbers where some leave.
    pub fn numbered(&self, before: &ClusterLock, definition: &Definition) -> Definition {
        let mut numbered = definition.clone();
        if matches!(self.request, EditRequest::RemoveOperators { .. }) {
            numbered.operators.clone_from(&before.definition.operators);
        }
        numbered
    }

    /// The definition of the old cluster with those who take part, in order, and with the validators and the threshold after
    /// the edit.
    pub fn definition(&self, before: &ClusterLock, charon: Option<&CharonVersion>) -> Definition {
        let mut definition = before.definition.clone();
        if let EditRequest::AddValidators { addresses } = &self.request {
            let more = u64::try_from(addresses.len()).unwrap_or(u64::MAX);
            definition.num_validators = definition.num_validators.saturating_add(more);
        }
        definition.threshold = self.threshold(before, charon);
        let known = std::mem::take(&mut definition.operators);
        let operator = |enr: String| {
            let found = known.iter().find(|operator| operator.enr == enr);
            found.cloned().unwrap_or(Operator {
                enr,
                ..Operator::default()
            })
        };
        let participants = self.participants(before);
        definition.operators = participants.into_iter().map(operator).collect();
        definition
    }

    /// The threshold after the edit, as a release makes it.
    pub fn threshold(&self, before: &ClusterLock, charon: Option<&CharonVersion>) -> u64 {
        match &self.request {
            EditRequest::RemoveOperators {
                threshold: Some(threshold),
                ..
            } => *threshold,
            EditRequest::RemoveOperators { .. } => {
                least_threshold(self.request.operators_after(before).len(), charon)
            }
            EditRequest::AddValidators { .. }
            | EditRequest::AddOperators { .. }
            | EditRequest::ReplaceOperator { .. }
            | EditRequest::RecreatePrivateKeys => before.definition.threshold,
        }
    }

    /// What the edit makes of the node with this key; `None` if it takes no part.
    pub fn role(&self, before: &ClusterLock, own: &EnrPublicKey) -> Option<Role> {
        if !has(&self.participants(before), own) {
            return None;
        }
        let was = has(enrs(before), own);
        let stays = has(&self.request.operators_after(before), own);
        Some(match (was, stays) {
            (true, true) => Role::Stays,
            (true, false) => Role::Leaves,
            (false, _) => Role::Comes,
        })
    }

    /// Everything that speaks against it; charon notices some of this late and some of it never.
    pub fn findings(
        &self,
        before: &ClusterLock,
        charon: Option<&CharonVersion>,
        own: Option<&EnrPublicKey>,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.check_enrs(before, &mut findings);
        self.check_participants(before, own, &mut findings);
        self.check_threshold(before, charon, &mut findings);
        if let EditRequest::AddValidators { addresses } = &self.request {
            check_addresses(addresses, &mut findings);
        }
        findings
    }

    fn check_enrs(&self, before: &ClusterLock, findings: &mut Vec<Finding>) {
        let known: Vec<&String> = enrs(before).into_iter().collect();
        let must_be_old = |flag: &str, named: &[String], findings: &mut Vec<Finding>| {
            check_own_enrs(flag, named, findings);
            for enr in named.iter().filter(|enr| !known.contains(enr)) {
                let same =
                    key_of(enr).and_then(|key| known.iter().find(|it| key_of(it) == Some(key)));
                let advice = match same {
                    Some(text) => format!("give it as it is in the lock: {text}"),
                    None => "compare with the `operators` of the cluster lock".to_owned(),
                };
                findings.push(enr_finding(
                    flag,
                    enr,
                    "an operator of the cluster lock",
                    &advice,
                ));
            }
        };
        let must_be_new = |flag: &str, named: &[String], findings: &mut Vec<Finding>| {
            check_own_enrs(flag, named, findings);
            for enr in named {
                let key = key_of(enr);
                if key.is_some() && known.iter().any(|it| key_of(it) == key) {
                    findings.push(enr_finding(
                        flag,
                        enr,
                        "a node that is not in the cluster yet",
                        "every new operator makes a key of its own with `charon-dkg enr`, in a directory of its own",
                    ));
                }
            }
        };
        match &self.request {
            EditRequest::AddValidators { .. } | EditRequest::RecreatePrivateKeys => {}
            EditRequest::AddOperators { enrs } => {
                must_be_new("--new-operator-enrs", enrs, findings);
            }
            EditRequest::RemoveOperators { enrs, .. } => {
                must_be_old("--operator-enrs-to-remove", enrs, findings);
            }
            EditRequest::ReplaceOperator { old, new } => {
                must_be_old("--old-operator-enr", std::slice::from_ref(old), findings);
                must_be_new("--new-operator-enr", std::slice::from_ref(new), findings);
            }
        }
        must_be_old(
            "--participating-operator-enrs",
            &self.participating,
            findings,
        );
    }

    fn check_participants(
        &self,
        before: &ClusterLock,
        own: Option<&EnrPublicKey>,
        findings: &mut Vec<Finding>,
    ) {
        let participants = self.participants(before);
        let after = self.request.operators_after(before);
        let absent: Vec<&str> = after
            .iter()
            .filter(|enr| !participants.contains(enr))
            .map(String::as_str)
            .collect();
        if !absent.is_empty() {
            findings.push(
                Finding::fail(
                    "edit-participants",
                    "--participating-operator-enrs",
                    format!("without {}, who would stay without a share", absent.join(", ")),
                    "all operators who stay",
                )
                .advise("name every operator who stays, and as many of those who leave as it takes to reach the old threshold"),
            );
        }
        let holders = enrs(before)
            .into_iter()
            .filter(|enr| participants.contains(enr))
            .count();
        let needed = before.definition.threshold;
        if u64::try_from(holders).unwrap_or(u64::MAX) < needed {
            findings.push(
                Finding::fail(
                    "edit-participants",
                    "operators with shares who take part",
                    holders.to_string(),
                    format!("{needed}, the threshold of the cluster"),
                )
                .advise("fewer cannot make new shares: let some of those who leave take part too, all naming the same with --participating-operator-enrs (remove-operators)"),
            );
        }
        if after.is_empty() {
            findings.push(Finding::fail(
                "edit-participants",
                "the cluster after the edit",
                "no operator",
                "operators who stay",
            ));
        }
        if let Some(own) = own
            && self.role(before, own).is_none()
        {
            let was = has(enrs(before), own);
            let (seen, advice) = if was {
                (
                    "an operator who leaves and does not take part",
                    "the others run it; when they are done, `charon-dkg edit retire --new-lock FILE` with their lock",
                )
            } else {
                (
                    "the key of no participant",
                    "compare `charon-dkg enr show` with the ENRs of the command",
                )
            };
            findings.push(
                Finding::fail(
                    "edit-participants",
                    "this node",
                    seen,
                    "the key of a participant",
                )
                .advise(advice),
            );
        }
    }

    fn check_threshold(
        &self,
        before: &ClusterLock,
        charon: Option<&CharonVersion>,
        findings: &mut Vec<Finding>,
    ) {
        let operators = self.request.operators_after(before).len();
        let count = u64::try_from(operators).unwrap_or(u64::MAX);
        let threshold = self.threshold(before, charon);
        if let EditRequest::RemoveOperators {
            threshold: Some(asked),
            ..
        } = &self.request
        {
            let least = least_threshold(operators, charon);
            if *asked < least || *asked >= count {
                findings.push(
                    Finding::fail(
                        "edit-new-threshold",
                        "--new-threshold",
                        asked.to_string(),
                        format!("from {least} to {}, which is what charon takes", count.saturating_sub(1)),
                    )
                    .advise("leave it out, or choose with all operators; charon notices only once all are connected"),
                );
                return;
            }
        }
        let was = (enrs(before).len(), before.definition.threshold);
        let wanted = u64::try_from(default_threshold(operators)).unwrap_or(u64::MAX);
        let is_low = threshold < wanted && was != (operators, threshold);
        let accepted = self.accept_threshold == Some(threshold);
        let is_other = self.accept_threshold.is_some() && !accepted;
        if (is_low && !accepted) || is_other {
            findings.push(
                Finding::fail(
                    "edit-threshold-low",
                    "the cluster after the edit",
                    format!("threshold {threshold} of {operators} operators"),
                    match self.accept_threshold {
                        Some(accepted) if is_other => format!("threshold {accepted}, as --accept-threshold says"),
                        Some(_) | None => format!("threshold {wanted}, two thirds"),
                    },
                )
                .advise(format!(
                    "{threshold} operators could sign alone; only if all agree to that: --accept-threshold {threshold}"
                )),
            );
        }
        if threshold == count && was != (operators, threshold) {
            findings.push(Finding {
                weight: Weight::Note,
                ..Finding::fail(
                    "edit-no-tolerance",
                    "the cluster after the edit",
                    format!("threshold {threshold} of {operators} operators: none of them may fail"),
                    format!("threshold {wanted}, two thirds"),
                )
                .advise("it is what this release of charon makes of it; more operators, or a newer release that all run, would do better")
            });
        }
    }

    /// charon's arguments.
    pub fn args(&self, places: &Places) -> Vec<String> {
        let words = ["alpha", "edit", self.request.kind().command()].map(str::to_owned);
        let files = [
            format!("--private-key-file={}", places.key),
            format!("--lock-file={}", places.lock),
            format!("--validator-keys-dir={}", places.keystores),
            format!("--output-dir={}", places.output),
        ];
        words.into_iter().chain(files).chain(self.flags()).collect()
    }

    /// charon's flags that all operators give alike.
    fn flags(&self) -> Vec<String> {
        let joined = |texts: &[String]| texts.join(",");
        let mut flags = match &self.request {
            EditRequest::AddValidators { addresses } => {
                let of = |address: fn(&AddressPair) -> &String| {
                    let texts: Vec<String> = addresses.iter().map(address).cloned().collect();
                    texts.join(",")
                };
                vec![
                    format!("--num-validators={}", addresses.len()),
                    format!("--withdrawal-addresses={}", of(|it| &it.withdrawal_address)),
                    format!(
                        "--fee-recipient-addresses={}",
                        of(|it| &it.fee_recipient_address)
                    ),
                ]
            }
            EditRequest::AddOperators { enrs } => {
                vec![format!("--new-operator-enrs={}", joined(enrs))]
            }
            EditRequest::RemoveOperators { enrs, threshold } => {
                let mut flags = vec![format!("--operator-enrs-to-remove={}", joined(enrs))];
                flags.extend(threshold.map(|it| format!("--new-threshold={it}")));
                flags
            }
            EditRequest::ReplaceOperator { old, new } => vec![
                format!("--old-operator-enr={old}"),
                format!("--new-operator-enr={new}"),
            ],
            EditRequest::RecreatePrivateKeys => Vec::new(),
        };
        if !self.participating.is_empty() {
            let named = joined(&self.participating);
            flags.push(format!("--participating-operator-enrs={named}"));
        }
        flags
    }

    /// The same as it is typed after this program's name.
    pub fn typed(&self) -> String {
        let mut words = vec!["edit".to_owned(), self.request.kind().command().to_owned()];
        words.extend(self.flags());
        words.extend(
            self.accept_threshold
                .map(|it| format!("--accept-threshold={it}")),
        );
        let words: Vec<String> = words.iter().map(quoted).collect();
        words.join(" ")
    }
}

/// The least threshold that `remove-operators` of a release takes, and its default (charon
/// `dkg/protocol_removeoperators.go`).
fn least_threshold(operators: usize, charon: Option<&CharonVersion>) -> u64 {
    let two_thirds = default_threshold(operators);
    let is_old = charon.is_some_and(|it| (it.major, it.minor) < (1, 11));
    let least = if is_old {
        operators.saturating_sub(operators.saturating_sub(1) / 3)
    } else {
        two_thirds
    };
    u64::try_from(least).unwrap_or(u64::MAX)
}

fn enrs(lock: &ClusterLock) -> Vec<&String> {
    let operators = lock.definition.operators.iter();
    operators.map(|operator| &operator.enr).collect()
}

fn key_of(enr: &str) -> Option<EnrPublicKey> {
    Enr::parse(enr).ok().map(|enr| *enr.public_key())
}

fn has<'a>(enrs: impl IntoIterator<Item = &'a String>, key: &EnrPublicKey) -> bool {
    enrs.into_iter()
        .any(|enr| key_of(enr).as_ref() == Some(key))
}

/// What is wrong with ENRs by themselves: one that is invalid, and one that appears twice.
fn check_own_enrs(flag: &str, named: &[String], findings: &mut Vec<Finding>) {
    let mut seen = HashSet::new();
    for enr in named {
        match Enr::parse(enr) {
            Err(error) => findings.push(
                Finding::fail(
                    "edit-enrs",
                    flag,
                    error.to_string(),
                    "ENRs, separated by commas",
                )
                .advise("copy it again from the operator's own message"),
            ),
            Ok(parsed) if !seen.insert(*parsed.public_key().as_bytes()) => {
                findings.push(enr_finding(
                    flag,
                    enr,
                    "every node once",
                    "name each node once",
                ));
            }
            Ok(_) => {}
        }
    }
}

fn enr_finding(flag: &str, enr: &str, expected: &str, advice: &str) -> Finding {
    Finding::fail("edit-enrs", flag, enr, expected).advise(advice)
}

fn check_addresses(addresses: &[AddressPair], findings: &mut Vec<Finding>) {
    if addresses.is_empty() {
        findings.push(
            Finding::fail("edit-addresses", "--num-validators", "0", "one or more")
                .advise("say how many validators are to be added"),
        );
    }
    let texts = addresses.iter().flat_map(|pair| {
        [
            ("--withdrawal-addresses", &pair.withdrawal_address),
            ("--fee-recipient-addresses", &pair.fee_recipient_address),
        ]
    });
    let mut told = HashSet::new();
    for (flag, text) in texts {
        // As charon writes them into the lock.
        let is_right = Address::parse(text).is_some_and(|address| address.is_checksummed(text));
        if !is_right && told.insert((flag, text)) {
            let advice = match Address::parse(text) {
                Some(address) => format!("if it is the right one, it is written {address}"),
                None => "compare with the coordinator".to_owned(),
            };
            findings.push(
                Finding::fail(
                    "edit-addresses",
                    flag,
                    text.as_str(),
                    "an address of 0x and 40 hexadecimal digits, in upper and lower case as its checksum wants",
                )
                .advise(advice),
            );
        }
    }
}
