//! Where the cluster definition comes from: a file, an https URL, the data directory, or where it came from the last time.
//! A URL is fetched each time: the hash in the launchpad's URLs leaves ENRs and signatures out, so the same URL may have
//! another definition by now. What was kept serves only while the server cannot be reached, and that is said.

use std::path::Path;

use crate::context::Context;
use crate::machine::datadir::{self, Layout};
use crate::machine::fetch::{self, FetchError, PlainHttp};
use crate::machine::read::{self, ReadError};
use crate::proof::checked;
use charon_files::cluster::definition::Definition;
use charon_files::cluster::hash::DefinitionHash;
use charon_files::cluster::names::DEFINITION_FILE;
use charon_files::finding::{Finding, Weight};
use charon_files::wrong_file::{Expected, WrongFile};

/// A definition that was found and parsed; its findings say whether it may be used.
#[derive(Debug, Clone)]
pub(crate) struct FoundDefinition {
    /// The very bytes.
    pub(crate) bytes: Vec<u8>,
    /// Where they came from, as the operator would say it.
    pub(crate) source: String,
    pub(crate) definition: Definition,
    pub(crate) definition_hash: DefinitionHash,
    pub(crate) findings: Vec<Finding>,
    /// Whether somebody may have signed with a contract wallet: then charon asks an execution client too.
    pub(crate) has_contract_wallets: bool,
}

/// Why there is no definition.
#[derive(Debug, Clone)]
pub(crate) enum NoDefinition {
    /// No definition was found; where it was looked for.
    Missing(String),
    /// It could not be read, fetched or parsed.
    Unusable {
        /// Why not.
        reason: String,
        /// What helps against it.
        advice: String,
    },
}

/// For what came whole and is no definition.
const ASK_AGAIN: &str = "ask the coordinator for the file again; every operator needs the same one";

impl NoDefinition {
    fn malformed(source: &str, error: impl std::fmt::Display) -> Self {
        NoDefinition::Unusable {
            reason: format!("{source}: {error}"),
            advice: ASK_AGAIN.to_owned(),
        }
    }

    fn unfetched(error: FetchError) -> Self {
        let advice = match &error {
            FetchError::NotHttps { .. } => {
                "give the https URL, or fetch the file yourself and give it with --definition FILE"
            }
            FetchError::BadUrl { .. } | FetchError::HasCredentials { .. } => {
                "give the URL as the coordinator sent it"
            }
            FetchError::Unreachable { .. }
            | FetchError::TimedOut { .. }
            | FetchError::NoClient { .. }
            | FetchError::CutOff { .. } => {
                "check this machine's network, or fetch the file elsewhere and give it with --definition FILE"
            }
            FetchError::Status { .. }
            | FetchError::BadRedirect { .. }
            | FetchError::TooManyRedirects { .. }
            | FetchError::TooLarge { .. } => "ask the coordinator for the right URL",
        };
        NoDefinition::Unusable {
            reason: error.to_string(),
            advice: advice.to_owned(),
        }
    }

    fn unread(error: ReadError) -> Self {
        let advice = match &error {
            ReadError::Missing { .. } => "name the file that the coordinator sent",
            ReadError::NotRegular { .. } | ReadError::Outside { .. } => {
                "name the file itself, a regular file"
            }
            ReadError::TooLong { .. } => ASK_AGAIN,
            ReadError::Changed { .. } => {
                "let the program that writes it finish, then run this again"
            }
            ReadError::File(_) => "let this user read it",
        };
        NoDefinition::Unusable {
            reason: error.to_string(),
            advice: advice.to_owned(),
        }
    }

    /// Our own copy is damaged.
    fn unkept(error: ReadError) -> Self {
        NoDefinition::Unusable {
            reason: error.to_string(),
            advice: "give the coordinator's file with --definition FILE".to_owned(),
        }
    }
}

/// Whether the operator gave a URL, of whatever scheme, and not a file.
fn is_url(text: &str) -> bool {
    let in_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    text.split_once("://")
        .is_some_and(|(scheme, _)| !scheme.is_empty() && scheme.chars().all(in_scheme))
}

/// What is between the brackets that mails and chats put around a URL, and without blanks.
fn bare(text: &str) -> &str {
    let text = text.trim();
    let inside = text
        .strip_prefix('<')
        .and_then(|text| text.strip_suffix('>'));
    inside.unwrap_or(text)
}

/// Whether the server could not be asked, rather than had another answer.
const fn is_unreachable(error: &FetchError) -> bool {
    match error {
        FetchError::Unreachable { .. }
        | FetchError::TimedOut { .. }
        | FetchError::CutOff { .. }
        | FetchError::NoClient { .. } => true,
        FetchError::Status { status, .. } => *status >= 500,
        FetchError::BadUrl { .. }
        | FetchError::NotHttps { .. }
        | FetchError::HasCredentials { .. }
        | FetchError::BadRedirect { .. }
        | FetchError::TooManyRedirects { .. }
        | FetchError::TooLarge { .. } => false,
    }
}

/// What came from a URL.
struct FromUrl {
    bytes: Vec<u8>,
    /// What there is to say of it and of the definition kept from that URL.
    finding: Option<Finding>,
}

/// Fetches a definition, or takes the one kept from the same URL where the server cannot be reached.
async fn fetch_or_kept(
    context: &Context,
    layout: &Layout,
    url: &str,
) -> Result<FromUrl, NoDefinition> {
    // A damaged copy is no worse than none as long as the server answers.
    let kept = datadir::stored_definition(layout)
        .ok()
        .flatten()
        .filter(|(stored, _)| stored.source == url)
        .map(|(_, bytes)| bytes);
    // Not the URL itself: it has not been checked for passwords yet.
    context.say("fetching the cluster definition");
    let about = |check, seen, expected: &str, advice: &str| Finding {
        check,
        weight: Weight::Note,
        subject: url.to_owned(),
        seen,
        expected: expected.to_owned(),
        advice: advice.to_owned(),
    };
    match (fetch::fetch(url, PlainHttp::Refuse).await, kept) {
        (Ok(fetched), kept) => {
            let before = kept.filter(|kept| *kept != fetched.bytes);
            Ok(FromUrl {
                finding: before.map(|before| {
                    about(
                        "definition-changed",
                        format!("another definition than the last time: {}", hash_of(&fetched.bytes)),
                        &format!("{}, as the last time", hash_of(&before)),
                        "this is normal after an operator renewed an ENR or signed: make sure with the coordinator that every operator has this definition_hash",
                    )
                }),
                bytes: fetched.bytes,
            })
        }
        (Err(error), Some(bytes)) if is_unreachable(&error) => Ok(FromUrl {
            finding: Some(about(
                "definition-not-fetched",
                error.to_string(),
                "the definition as it is there now",
                &format!(
                    "the one kept from the last time is used, {}: compare that with the other operators, or try again",
                    hash_of(&bytes)
                ),
            )),
            bytes,
        }),
        (Err(error), _) => Err(NoDefinition::unfetched(error)),
    }
}

/// How people compare a definition.
fn hash_of(bytes: &[u8]) -> String {
    let hash = Definition::parse(bytes).map(|parsed| parsed.value.definition_hash());
    match hash {
        Ok(Ok(hash)) => format!("definition_hash {hash}"),
        Ok(Err(_)) | Err(_) => "a file that is no definition".to_owned(),
    }
}

/// Finds, reads and checks the definition.
///
/// # Errors
/// The fact that says why it cannot be used.
pub(crate) async fn find(
    context: &Context,
    layout: &Layout,
    asked: Option<&str>,
) -> Result<FoundDefinition, NoDefinition> {
    let mut from_url = None;
    let (bytes, source) = match asked {
        Some(given) if is_url(bare(given)) => {
            let url = bare(given);
            let fetched = fetch_or_kept(context, layout, url).await?;
            from_url = fetched.finding;
            (fetched.bytes, url.to_owned())
        }
        Some("") => {
            return Err(NoDefinition::Unusable {
                reason: "--definition is empty".to_owned(),
                advice: "name the file or URL that the coordinator sent".to_owned(),
            });
        }
        Some(file) => {
            let path = std::path::absolute(file).unwrap_or_else(|_| file.into());
            let bytes = read::read_file(&path, read::DEFINITION).map_err(NoDefinition::unread)?;
            (bytes, path.display().to_string())
        }
        None => match beside_the_key(layout)? {
            (_, url) if is_url(&url) => {
                let fetched = fetch_or_kept(context, layout, &url).await?;
                from_url = fetched.finding;
                (fetched.bytes, url)
            }
            found => found,
        },
    };
    if let Some(wrong) = WrongFile::of(&bytes, Expected::Definition) {
        return Err(NoDefinition::Unusable {
            reason: format!("{source} is {wrong}"),
            advice: checked::wrong_file_advice(&wrong, Expected::Definition, &source),
        });
    }
    let parsed = Definition::parse(&bytes).map_err(|error| match error.advice() {
        None => NoDefinition::malformed(&source, error),
        Some(advice) => NoDefinition::Unusable {
            reason: format!("{source}: {error}"),
            advice: advice.to_owned(),
        },
    })?;
    let definition_hash = parsed
        .value
        .definition_hash()
        .map_err(|error| NoDefinition::malformed(&source, error))?;
    let checked::CheckedDefinition {
        mut findings,
        has_contract_wallets,
    } = checked::definition(context, &parsed.value, &bytes).await;
    findings.extend(from_url);
    findings.extend(other_definition_finding(layout, &bytes, &source));
    if is_url(&source) {
        findings.extend(url_finding(&source, &parsed.value, definition_hash));
    }
    Ok(FoundDefinition {
        bytes,
        source,
        definition: parsed.value,
        definition_hash,
        findings,
        has_contract_wallets,
    })
}

/// The definition in the data directory, or else the one kept from an earlier URL.
fn beside_the_key(layout: &Layout) -> Result<(Vec<u8>, String), NoDefinition> {
    let path = layout.data_dir().join(DEFINITION_FILE);
    match read::read_in(
        layout.data_dir(),
        Path::new(DEFINITION_FILE),
        read::DEFINITION,
    ) {
        Ok(bytes) => return Ok((bytes, path.display().to_string())),
        Err(error) if error.is_missing() => {}
        Err(error) => return Err(NoDefinition::unread(error)),
    }
    match datadir::stored_definition(layout) {
        Ok(Some((stored, bytes))) => Ok((bytes, stored.source)),
        Ok(None) => Err(NoDefinition::Missing(path.display().to_string())),
        Err(error) => Err(NoDefinition::unkept(error)),
    }
}

/// Two definitions in one ceremony are one too many.
fn other_definition_finding(layout: &Layout, bytes: &[u8], source: &str) -> Option<Finding> {
    let there = read::read_in(
        layout.data_dir(),
        Path::new(DEFINITION_FILE),
        read::DEFINITION,
    );
    let there = there.ok().filter(|there| there != bytes)?;
    let (seen, advice) = if there.is_empty() {
        (
            "an empty file, as docker leaves it where a definition was mounted",
            "`charon-dkg archive --with-definition` moves it aside",
        )
    } else {
        (
            "another definition",
            "ask the coordinator which is right and remove the other; \
             `charon-dkg archive --with-definition` moves this one aside",
        )
    };
    Some(Finding {
        check: "definition-in-data-directory",
        weight: Weight::Fail,
        subject: layout
            .data_dir()
            .join(DEFINITION_FILE)
            .display()
            .to_string(),
        seen: seen.to_owned(),
        expected: format!("the one from {source}, or none"),
        advice: advice.to_owned(),
    })
}

/// charon's API and the launchpad put the config hash into the URL and never compare it with the
/// content; this does. A definition hash there is taken too.
fn url_finding(url: &str, definition: &Definition, hash: DefinitionHash) -> Option<Finding> {
    let named = url
        .rsplit(['/', '#', '=', '?', '&'])
        .find_map(|part| part.strip_prefix("0x").filter(|digits| digits.len() == 64))
        .map(|digits| format!("0x{}", digits.to_lowercase()))?;
    let config_hash = definition.config_hash().ok()?.to_string();
    (named != config_hash && named != hash.to_string()).then(|| Finding {
        check: "definition-url-hash",
        weight: Weight::Fail,
        subject: url.to_owned(),
        seen: format!("a definition with config_hash {config_hash}"),
        expected: format!("the hash in the URL, {named}"),
        advice: "this URL gave another cluster's definition: ask the coordinator".to_owned(),
    })
}
