//! What docker knows of logins: the entries of its `config.json` (`auths`, `credHelpers`, `credsStore`), for the registry of an
//! image and for no other. They go to the engine with the question, and into no log.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::auth::DockerCredentials;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use serde::Deserialize;

/// Docker's name for its default registry in `config.json` (docker/cli `registry.IndexServer`).
const DEFAULT_SERVER: &str = "https://index.docker.io/v1/";

/// What was found for a registry.
#[derive(Default)]
pub(super) struct Login {
    /// To be sent with the question.
    pub(super) credentials: Option<DockerCredentials>,
    /// Why docker's login is not used although there may be one, and what helps. Names no secret.
    pub(super) trouble: Option<String>,
}

/// The login for a registry, `docker.io` or `host[:port]`.
pub(super) async fn of(registry: &str) -> Login {
    // A missing one is the same error as an unreadable one to `docker_credential`.
    let Some(config) = config_file().filter(|file| file.exists()) else {
        return Login::default();
    };
    let registry = registry.to_owned();
    // A helper is a program of its own, and may take its time.
    let looked = tokio::task::spawn_blocking(move || {
        let helpers = std::fs::read(config).ok();
        let helpers = helpers.and_then(|bytes| serde_json::from_slice::<Helpers>(&bytes).ok());
        let helper = |server: &str| helpers.as_ref()?.of(server);
        look(&registry, docker_credential::get_credential, helper)
    });
    looked.await.unwrap_or_default()
}

fn config_file() -> Option<PathBuf> {
    let of_home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    let dir = std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(of_home);
    dir.map(|dir| dir.join("config.json"))
}

/// Which programs docker asks for logins; `docker_credential` does not name one that cannot be run.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Helpers {
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

impl Helpers {
    /// The program that is asked for a server.
    fn of(&self, server: &str) -> Option<String> {
        let own = self
            .cred_helpers
            .get(server)
            .filter(|name| !name.is_empty());
        let name = own.or(self.creds_store.as_ref())?;
        Some(format!("docker-credential-{name}"))
    }
}

fn look(
    registry: &str,
    get: impl Fn(&str) -> Result<DockerCredential, CredentialRetrievalError>,
    helper: impl Fn(&str) -> Option<String>,
) -> Login {
    let servers = match registry {
        "docker.io" => vec![DEFAULT_SERVER.to_owned()],
        // As it is written today, and as it was.
        host => vec![host.to_owned(), format!("https://{host}")],
    };
    let mut login = Login::default();
    for server in servers {
        match get(&server) {
            Ok(found) => return usable(found, server),
            Err(error) => {
                let trouble = trouble(&error, registry, || helper(&server));
                login.trouble = login.trouble.or(trouble);
            }
        }
    }
    login
}

fn usable(found: DockerCredential, server: String) -> Login {
    let blank = DockerCredentials {
        serveraddress: Some(server),
        ..DockerCredentials::default()
    };
    let credentials = match found {
        DockerCredential::IdentityToken(token) => DockerCredentials {
            identitytoken: Some(token),
            ..blank
        },
        DockerCredential::UsernamePassword(username, password) => DockerCredentials {
            username: Some(username),
            password: Some(password),
            ..blank
        },
    };
    // bollard 0.21 encodes them in the plain alphabet of base64, and engines read the one for URLs.
    let sent = serde_json::to_vec(&credentials).map(|json| STANDARD.encode(json));
    if sent.is_ok_and(|sent| !sent.contains(['+', '/'])) {
        Login {
            credentials: Some(credentials),
            trouble: None,
        }
    } else {
        Login {
            credentials: None,
            trouble: Some(
                "a character of the password or token cannot be handed to the engine from here"
                    .to_owned(),
            ),
        }
    }
}

/// What a helper says may hold anything, and is not repeated.
fn trouble(
    error: &CredentialRetrievalError,
    registry: &str,
    named: impl Fn() -> Option<String>,
) -> Option<String> {
    let helper = || named().unwrap_or_else(|| "docker's credential helper".to_owned());
    match error {
        CredentialRetrievalError::NoCredentialConfigured
        | CredentialRetrievalError::ConfigNotFound => None,
        // Helpers end so where they have nothing for a registry (docker-credential-helpers, `errCredentialsNotFound`).
        CredentialRetrievalError::HelperFailure { stdout, .. }
            if stdout.contains("credentials not found") =>
        {
            None
        }
        CredentialRetrievalError::HelperFailure { helper, .. } => Some(format!(
            "{helper}, which docker's config.json names, failed: `printf %s {registry} | {helper} get` shows why"
        )),
        CredentialRetrievalError::MalformedHelperResponse => Some(format!(
            "{}, which docker's config.json names, gave no login that can be read",
            helper()
        )),
        // It is not there, or ended before it had heard the question.
        CredentialRetrievalError::HelperCommunicationError => Some(format!(
            "{0}, which docker's config.json names, could not be asked: `printf %s {registry} | {0} get` shows why; if it is \
             gone, install it, or take credsStore or credHelpers out of config.json",
            helper()
        )),
        CredentialRetrievalError::CredentialDecodingError
        | CredentialRetrievalError::CredentialMismatchError
        | CredentialRetrievalError::ConfigReadError => {
            Some("docker's config.json holds no login that can be read".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> DockerCredential {
        DockerCredential::UsernamePassword("ann".to_owned(), text.to_owned())
    }

    /// The login for a registry where `config.json` has this one.
    fn found(registry: &str, server: &str, secret: &str) -> Login {
        let get = |asked: &str| {
            if asked == server {
                Ok(password(secret))
            } else {
                Err(CredentialRetrievalError::NoCredentialConfigured)
            }
        };
        look(registry, get, |_| None)
    }

    #[test]
    fn a_login_is_for_its_own_registry() {
        for (registry, server) in [
            ("docker.io", DEFAULT_SERVER),
            ("r.example:5000", "r.example:5000"),
            ("r.example", "https://r.example"),
        ] {
            let credentials = found(registry, server, "secret").credentials.unwrap();
            assert_eq!(credentials.username.as_deref(), Some("ann"));
            assert_eq!(credentials.password.as_deref(), Some("secret"));
            assert_eq!(credentials.serveraddress.as_deref(), Some(server));
        }
        for (registry, server) in [
            ("r.example", "r.example:5000"),
            ("r.example", DEFAULT_SERVER),
            ("docker.io", "docker.io.example"),
        ] {
            let login = found(registry, server, "secret");
            assert!(login.credentials.is_none() && login.trouble.is_none());
        }
    }

    /// Some bytes do not survive the way; then nothing is sent, and that is said.
    #[test]
    fn what_would_arrive_as_something_else_is_not_sent() {
        let mut refused = 0;
        for filler in ["", "a", "ab"] {
            let login = found("r.example", "r.example", &format!("{filler}>>>~~~???"));
            assert!(login.credentials.is_none(), "{filler}");
            refused += usize::from(login.trouble.is_some());
        }
        assert_eq!(refused, 3);
        let odd = "correct-horse_battery.staple!$%&()=+/\\\"";
        assert!(found("r.example", "r.example", odd).credentials.is_some());
    }

    #[test]
    fn what_a_helper_says_is_not_repeated() {
        let failure = |stdout: &str| CredentialRetrievalError::HelperFailure {
            helper: "docker-credential-pass".to_owned(),
            stdout: stdout.to_owned(),
            stderr: String::new(),
        };
        let said = |stdout: &str| trouble(&failure(stdout), "r.example", || None);
        assert_eq!(said("credentials not found in native keychain\n"), None);
        assert_eq!(
            said("s3cret").unwrap(),
            "docker-credential-pass, which docker's config.json names, failed: `printf %s r.example | docker-credential-pass get` shows why"
        );
    }

    #[test]
    fn a_helper_that_cannot_be_asked_is_named() {
        let helpers: Helpers = serde_json::from_str(
            r#"{"credsStore":"one","credHelpers":{"r.example":"two"},"auths":{}}"#,
        )
        .unwrap();
        for (registry, name) in [("r.example", "two"), ("other.example", "one")] {
            let gone = |_: &str| Err(CredentialRetrievalError::HelperCommunicationError);
            let login = look(registry, gone, |server| helpers.of(server));
            let trouble = login.trouble.unwrap();
            assert!(
                trouble.starts_with(&format!("docker-credential-{name}, which")),
                "{trouble}"
            );
        }
    }
}
