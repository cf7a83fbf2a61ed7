//! Every check there is: its stable name, what it proves, and since which format it applies.

use charon_files::cluster::DefinitionVersion;

use super::Scope;

/// What a verification looks at, from the most public to the most secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// Any file at all.
    File,
    /// The cluster definition, alone or inside the cluster lock.
    Definition,
    /// The cluster lock.
    Lock,
    /// The cluster lock against the one before an edit.
    Edit,
    /// Deposit data files.
    DepositFile,
    /// What belongs to one node: ENR key, keystores, the directory itself.
    Node,
}

/// Declares [`Check`] with one documented row per check, so that the enum, the names and the documentation
/// cannot drift apart.
macro_rules! checks {
    ($($variant:ident = $id:literal, $subject:ident, $since:ident, $section:literal, $proves:literal, $advice:expr;)*) => {
        /// One check. The name of each in JSON, in findings and in the documentation is [`Check::id`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Check {
            $(#[doc = $proves] $variant,)*
        }

        impl Check {
            /// Every check, in the order in which a report lists them.
            pub const ALL: &[Check] = &[$(Check::$variant,)*];

            /// The stable name, such as `lock-hash`.
            pub const fn id(self) -> &'static str {
                match self { $(Check::$variant => $id,)* }
            }

            /// What a passed check proves, as a sentence without a full stop.
            pub const fn proves(self) -> &'static str {
                match self { $(Check::$variant => $proves,)* }
            }

            /// What to do when the check fails and nothing more precise can be said.
            pub const fn advice(self) -> &'static str {
                match self { $(Check::$variant => $advice,)* }
            }

            /// The section of `docs/charon-files.md` that the check follows.
            pub const fn section(self) -> &'static str {
                match self { $(Check::$variant => $section,)* }
            }

            /// The first definition version whose files have what is checked.
            pub const fn since(self) -> DefinitionVersion {
                match self { $(Check::$variant => DefinitionVersion::$since,)* }
            }

            /// What the check looks at.
            pub const fn subject(self) -> Subject {
                match self { $(Check::$variant => Subject::$subject,)* }
            }
        }
    };
}

const FETCH_AGAIN: &str =
    "copy the file again from another operator, who has the same one, and compare the hashes";
const ASK_CREATOR: &str = "ask the creator of the cluster for a correct definition; do not start a ceremony with this one";
const NEW_CEREMONY: &str =
    "do not fund or start this cluster; all operators run the ceremony again";
const NO_FUNDS: &str = "do not deposit: the funds could be lost; compare with the other operators and run the ceremony again";
const NO_SWITCH: &str =
    "do not use this lock: keep the cluster as it was, and let all operators run the edit again";
const COPY_DEPOSIT: &str =
    "do not deposit with this file; copy it from another operator whose verification passes";
/// Keystores are this node's alone, and a backup made before the ceremony has none.
pub(super) const OWN_KEYSTORE: &str = "only this node has this file: put it back from a backup that was made after the ceremony; without one, \
     all operators run the ceremony again, but only if nothing was deposited yet";
const REPAIR: &str = "`charon-dkg repair` gives everything to the owner of the data directory, takes the rights of others away, and says who could read what";
/// Elsewhere there is no `repair`, and on Windows no modes.
const PRIVATE: &str = if cfg!(target_os = "macos") {
    "in its directory: chmod -R go= .charon"
} else if cfg!(windows) {
    "keep the data directory below your own profile; or in its directory: icacls .charon /inheritance:r /grant:r \"%USERNAME%:(OI)(CI)F\" \"*S-1-5-18:(OI)(CI)F\""
} else {
    REPAIR
};

checks! {
    // Files as such.
    FileFormat = "file-format", File, V1_0, "§0.2",
        "every file is complete, well-formed and within the limits of its format",
        FETCH_AGAIN;
    FileAmbiguous = "file-ambiguous", File, V1_0, "§0.2",
        "no JSON key appears twice or in another spelling, so that all readers of a file see the same",
        FETCH_AGAIN;
    FileUnknownField = "file-unknown-field", File, V1_0, "§0.2",
        "no file has a JSON key that its format does not know and that no hash covers",
        "a newer charon may have written it: use a newer version of this program, or fetch the file from another operator";
    FileMissingField = "file-missing-field", File, V1_0, "§0.2",
        "every JSON key that charon always writes is there",
        "";
    DefinitionVersionKnown = "definition-version", File, V1_0, "§1",
        "the format version is one that this program knows completely",
        "use a newer version of this program";

    // The definition.
    ConfigHash = "config-hash", Definition, V1_0, "§1.3",
        "config_hash is the hash of the terms as they are in the file",
        ASK_CREATOR;
    DefinitionHash = "definition-hash", Definition, V1_0, "§1.3",
        "definition_hash is the hash of terms, ENRs and signatures as they are in the file",
        ASK_CREATOR;
    DefinitionExpected = "definition-expected", Definition, V1_0, "§8.4",
        "the definition is the one that the ceremony was started with",
        FETCH_AGAIN;
    Network = "network", Definition, V1_0, "§3.8",
        "the fork version is that of a known network",
        "if the network is a private one, this program cannot verify it";
    OperatorCount = "operator-count", Definition, V1_0, "§7",
        "there are at least three operators",
        "";
    ThresholdRange = "threshold-range", Definition, V1_0, "§7",
        "the threshold is at least 2 and at most the number of operators",
        ASK_CREATOR;
    ThresholdDefault = "threshold-default", Definition, V1_0, "§7",
        "the threshold is charon's default, two thirds of the operators rounded up",
        "make sure that all operators want this threshold";
    ValidatorCount = "validator-count", Definition, V1_0, "§1.1",
        "there is at least one validator, and the lock has as many as the definition says",
        NEW_CEREMONY;
    DkgAlgorithm = "dkg-algorithm", Definition, V1_0, "§1.1",
        "the key generation algorithm is one that charon has or had",
        ASK_CREATOR;
    OperatorEnr = "operator-enr", Definition, V1_0, "§6",
        "every operator has an ENR that decodes and carries its own valid signature",
        ASK_CREATOR;
    OperatorEnrDuplicate = "operator-enr-duplicate", Definition, V1_0, "§6",
        "no two operators share an ENR key",
        ASK_CREATOR;
    OperatorAddressDuplicate = "operator-address-duplicate", Definition, V1_0, "§1.2",
        "no two operators share an address",
        "make sure that one operator is meant to run several nodes";
    AddressSpelling = "address-spelling", Definition, V1_0, "§0.3",
        "addresses in mixed case have the EIP-55 spelling, which catches typing errors",
        "compare the address letter by letter with the one that you meant";
    FeeRecipientAddress = "fee-recipient-address", Definition, V1_0, "§1.1",
        "every validator has a fee recipient other than the zero address",
        "fees sent to the zero address are lost: make sure that this is meant";
    WithdrawalAddress = "withdrawal-address", Definition, V1_0, "§8.3",
        "every validator has a withdrawal address other than the zero address",
        "do not fund this cluster: its stake could never be withdrawn";
    VaultNetwork = "vault-network", Definition, V1_0, "§8.3",
        "no address is a vault of Lido of another network, or in the place of the other vault",
        "";
    ProfileNetwork = "profile-network", Definition, V1_0, "§3.8",
        "the profile, if one is named, has addresses for the network",
        "";
    ProfileWithdrawalAddress = "profile-withdrawal-address", Definition, V1_0, "§8.3",
        "every withdrawal address is that of the profile, if one is named",
        "";
    ProfileFeeRecipient = "profile-fee-recipient", Definition, V1_0, "§1.1",
        "every fee recipient is that of the profile, if one is named",
        "";
    ProfileCredentials = "profile-credentials", Definition, V1_0, "§4.1",
        "the withdrawal credentials are of the profile's type, if one is named",
        "";
    ProfileAmounts = "profile-amounts", Definition, V1_0, "§4.3",
        "there will be a deposit data file for each deposit of the profile, if one is named",
        "";
    DefinitionSigned = "definition-signed", Definition, V1_3, "§2.1",
        "all operators and the creator signed, or none of them did",
        ASK_CREATOR;
    OperatorConfigSignature = "operator-config-signature", Definition, V1_3, "§2",
        "every operator's signature of the terms is by the operator's address",
        ASK_CREATOR;
    OperatorEnrSignature = "operator-enr-signature", Definition, V1_3, "§2",
        "every operator's signature of the ENR is by the operator's address",
        ASK_CREATOR;
    CreatorSignature = "creator-signature", Definition, V1_4, "§2",
        "the creator's signature of the terms is by the creator's address",
        ASK_CREATOR;
    LegacySignature = "legacy-signature", Definition, V1_0, "§2.1",
        "definitions before v1.3.0 carry no signatures, since no release defines them",
        ASK_CREATOR;

    // The lock.
    LockHash = "lock-hash", Lock, V1_0, "§3.2",
        "lock_hash is the hash of definition and validators as they are in the file",
        FETCH_AGAIN;
    ShareCount = "share-count", Lock, V1_0, "§3.1",
        "every validator has one public share per operator",
        NEW_CEREMONY;
    GroupKey = "group-key", Lock, V1_0, "§7",
        "every group key is a point of the prime-order group and not the identity",
        NEW_CEREMONY;
    PublicShare = "public-share", Lock, V1_0, "§7",
        "every public share is a point of the prime-order group and not the identity",
        NEW_CEREMONY;
    KeyDuplicate = "key-duplicate", Lock, V1_0, "§7",
        "no group key and no public share occurs twice in the cluster",
        NEW_CEREMONY;
    SharePolynomial = "share-polynomial", Lock, V1_0, "§7",
        "the shares of each validator lie on one polynomial of degree threshold - 1",
        NEW_CEREMONY;
    GroupKeyShares = "group-key-shares", Lock, V1_0, "§7",
        "the shares of each validator recombine to its group key",
        NEW_CEREMONY;
    ShareThreshold = "share-threshold", Lock, V1_0, "§7",
        "fewer shares than the threshold do not recombine to the group key",
        NEW_CEREMONY;
    LockAggregate = "lock-aggregate", Lock, V1_0, "§3.3",
        "every share of every validator signed the lock hash",
        NEW_CEREMONY;
    NodeSignature = "node-signature", Lock, V1_7, "§3.4",
        "every node signed the lock hash with its ENR key",
        NEW_CEREMONY;
    Registration = "registration", Lock, V1_7, "§3.5",
        "every validator has a builder registration for its own key and fee recipient",
        NEW_CEREMONY;
    RegistrationGasLimit = "registration-gas-limit", Lock, V1_7, "§3.5",
        "the registrations' gas limit is the one that the definition asks for",
        "make sure that all operators want this gas limit";
    RegistrationTime = "registration-time", Lock, V1_7, "§3.5",
        "the registrations' time is the genesis time of the network",
        "";
    RegistrationSignature = "registration-signature", Lock, V1_7, "§3.5",
        "every builder registration is signed by its group key for this network",
        NEW_CEREMONY;
    LockDeposit = "lock-deposit", Lock, V1_6, "§3.6",
        "every validator has deposit data for its own key in the lock",
        NEW_CEREMONY;
    LockDepositCredentials = "lock-deposit-credentials", Lock, V1_6, "§4.1",
        "the deposits in the lock are withdrawn to the definition's withdrawal address",
        NO_FUNDS;
    LockDepositAmounts = "lock-deposit-amounts", Lock, V1_6, "§4.3",
        "the amounts in the lock are those of the definition, or a release's defaults if it names none",
        NEW_CEREMONY;
    LockDepositSignature = "lock-deposit-signature", Lock, V1_6, "§3.5",
        "every deposit in the lock is signed by its group key for this network",
        NO_FUNDS;
    LockDepositRoot = "lock-deposit-root", Lock, V1_6, "§3.6",
        "every deposit_data_root in the lock, which charon does not write but Obol's API adds, is the hash tree root of its deposit",
        "do not deposit with these roots: the deposit contract refuses them; take the lock of an operator's data directory";

    // The lock before an edit.
    EditPreviousLock = "edit-previous-lock", Edit, V1_0, "§10",
        "the previous lock passes every check of a lock by itself",
        FETCH_AGAIN;
    EditKind = "edit-kind", Edit, V1_0, "§10",
        "the operators are those that one of charon's five edits makes of the previous ones",
        "find out which lock was edited: this one does not come from the previous lock by one edit";
    EditExpected = "edit-expected", Edit, V1_0, "§10",
        "command, operators, new validators and threshold are the requested ones, if this program ran the edit",
        NO_SWITCH;
    EditTerms = "edit-terms", Edit, V1_0, "§10",
        "name, uuid, network, deposit amounts and all other terms that no edit changes are those of the previous lock",
        NO_SWITCH;
    EditOperators = "edit-operators", Edit, V1_0, "§10",
        "every operator who stays has the same ENR, and all are in the same order",
        NO_SWITCH;
    EditThreshold = "edit-threshold", Edit, V1_0, "§10",
        "the threshold is the previous one; after operators were removed, at least two thirds of those who stay",
        NO_SWITCH;
    EditValidators = "edit-validators", Edit, V1_0, "§10",
        "every validator of the previous lock has the same group key, addresses and number, and new ones come after them",
        NO_SWITCH;
    EditDeposits = "edit-deposits", Edit, V1_0, "§10",
        "the deposits of these validators are the same",
        NO_SWITCH;
    EditRegistrations = "edit-registrations", Edit, V1_0, "§10",
        "the builder registrations of these validators are the same",
        NO_SWITCH;
    EditShares = "edit-shares", Edit, V1_0, "§10",
        "no share of the previous lock is in the new one; after validators were added, the old shares are all as they were",
        NO_SWITCH;
    EditKeystores = "edit-keystores", Edit, V1_0, "§10",
        "no keystore of this node holds a share of the previous lock, unless validators were added",
        "do not start this node: the old shares do not fit the new lock; use the keystores that the edit wrote";

    // Deposit data files.
    DepositFileName = "deposit-file-name", DepositFile, V1_0, "§4.2",
        "the name of every deposit data file says the amount inside",
        COPY_DEPOSIT;
    DepositFileSet = "deposit-file-set", DepositFile, V1_0, "§4.3",
        "there is one deposit data file for each amount, and no other",
        COPY_DEPOSIT;
    DepositFileValidators = "deposit-file-validators", DepositFile, V1_0, "§4.1",
        "every deposit data file has exactly one entry for each validator",
        COPY_DEPOSIT;
    DepositFileOrder = "deposit-file-order", DepositFile, V1_0, "§4.1",
        "the entries are sorted by public key, so that all operators have the same file",
        COPY_DEPOSIT;
    DepositFileAmounts = "deposit-file-amounts", DepositFile, V1_0, "§4.3",
        "all amounts of one file are equal",
        COPY_DEPOSIT;
    DepositFileCredentials = "deposit-file-credentials", DepositFile, V1_0, "§4.1",
        "the deposits are withdrawn to the definition's withdrawal address",
        NO_FUNDS;
    DepositFileNetwork = "deposit-file-network", DepositFile, V1_0, "§3.8",
        "fork version and network name are those of the definition's network",
        COPY_DEPOSIT;
    DepositFileRoots = "deposit-file-roots", DepositFile, V1_0, "§4.1",
        "both roots are the hash tree roots of the entry; the deposit contract refuses another",
        COPY_DEPOSIT;
    DepositFileSignature = "deposit-file-signature", DepositFile, V1_0, "§3.5",
        "every deposit is signed by its group key for this network",
        NO_FUNDS;
    DepositFileAgainstLock = "deposit-file-against-lock", DepositFile, V1_6, "§4.3",
        "every entry is the deposit that the lock holds",
        COPY_DEPOSIT;
    DepositFileTool = "deposit-file-tool", DepositFile, V1_0, "§4.1",
        "the deposit tool version is one that charon writes",
        "";

    // The node's own.
    DataDirectory = "data-directory", Node, V1_0, "§8.4",
        "the directory holds a cluster lock and nothing that changes its meaning, such as a manifest or an archive",
        "";
    DefinitionFile = "definition-file", Node, V1_0, "§1",
        "the definition file beside the lock is the one inside the lock",
        "put the definition of this ceremony beside the lock, or remove it: charon needs only the lock";
    EnrKey = "enr-key", Node, V1_0, "§6",
        "the ENR key is there and is a secp256k1 secret",
        "restore it from the backup; a new key would not be one of this cluster's";
    EnrKeyOperator = "enr-key-operator", Node, V1_0, "§6",
        "the ENR key is that of one of the operators",
        "this directory belongs to another cluster, or the key was replaced: restore the right key from the backup";
    KeystoreSet = "keystore-set", Node, V1_0, "§5",
        "there is one keystore and one password file for each validator, and no other",
        OWN_KEYSTORE;
    KeystoreCost = "keystore-cost", Node, V1_0, "§5",
        "every keystore is encrypted at charon's full cost and named accordingly",
        "do not use these keys for real validators";
    KeystorePassword = "keystore-password", Node, V1_0, "§5",
        "every password file can be read; one that has not charon's form, 32 hexadecimal digits, is noted",
        OWN_KEYSTORE;
    KeystoreDecrypt = "keystore-decrypt", Node, V1_0, "§5",
        "every keystore opens with its password, as charon reads it",
        OWN_KEYSTORE;
    KeystorePublicKey = "keystore-public-key", Node, V1_0, "§5",
        "the secret in every keystore belongs to the public key written beside it",
        OWN_KEYSTORE;
    KeystoreShare = "keystore-share", Node, V1_0, "§5",
        "every keystore holds this node's share of the validator that its number says",
        "do not start this node: put its own keystores back from a backup that was made after the ceremony";
    FileKind = "file-kind", Node, V1_0, "§4.2",
        "everything is a regular file, no link or device",
        "replace a link with a copy of the file that it points to, and move anything else away";
    FileOwner = "file-owner", Node, V1_0, "§4.2",
        "everything belongs to the owner of the data directory",
        REPAIR;
    FileMode = "file-mode", Node, V1_0, "§5",
        "nobody but the owner can read keys or change anything",
        PRIVATE;
}

impl Check {
    /// Whether the check is carried out for files of this version in this scope. A passed verification has carried out
    /// every check for which this is true, or nobody asked for it: see [`super::CheckResult::NotApplicable`].
    pub fn applies(self, version: DefinitionVersion, scope: Scope) -> bool {
        if version < self.since() {
            return false;
        }
        if self == Check::LegacySignature && version.has_eip712_signatures() {
            return false;
        }
        match self.subject() {
            Subject::File | Subject::Definition => true,
            Subject::Lock | Subject::Edit => scope.has_lock(),
            Subject::DepositFile => scope.has_deposit_files(),
            Subject::Node => scope.has_node(),
        }
    }
}
