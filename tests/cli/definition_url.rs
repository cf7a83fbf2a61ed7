//! A definition by URL: fetched each time, since the same URL may have another one by now.

use std::fs;
use std::sync::{Arc, Mutex};

use charon_dkg::machine::datadir;
use charon_files::cluster::definition::Definition;
use charon_files::keys::k1::EnrKey;

use crate::http_server::{Server, answer};
use crate::refusing_port::refusing_port;
use crate::support::{DEFINITION, TestEnv};

/// Makes a project whose definition was once kept from a URL.
fn kept(env: &TestEnv, url: &str) {
    let bytes = fs::read(env.data(DEFINITION)).unwrap();
    let layout = env.layout();
    datadir::create_state_dir(&layout).unwrap();
    datadir::store_definition(&layout, &bytes, url).unwrap();
    fs::remove_file(env.data(DEFINITION)).unwrap();
}

/// The same terms after operator 4 has renewed the ENR.
fn renewed(bytes: &[u8]) -> Definition {
    let mut definition = Definition::parse(bytes).unwrap().value;
    let key = EnrKey::from_secret_bytes(&[9; 32]).unwrap();
    key.enr()
        .text()
        .clone_into(&mut definition.operators[3].enr);
    definition.with_hashes().unwrap()
}

fn hash(bytes: &[u8]) -> String {
    let definition = Definition::parse(bytes).unwrap().value;
    definition.definition_hash().unwrap().to_string()
}

#[test]
fn a_definition_that_changed_behind_its_url_is_seen() {
    let env = TestEnv::ready();
    let bytes = fs::read(env.data(DEFINITION)).unwrap();
    let now = renewed(&bytes);
    // The launchpad's URLs end in the config hash, which leaves ENRs and signatures out.
    let config_hash = now.config_hash.unwrap();
    assert_eq!(
        Definition::parse(&bytes).unwrap().value.config_hash,
        Some(config_hash)
    );
    let served = Arc::new(Mutex::new((200, bytes.clone())));
    let server = Server::on_loopback({
        let served = Arc::clone(&served);
        move |_| {
            let (status, body) = served.lock().unwrap().clone();
            answer(status, &[], &body)
        }
    });
    let url = format!(
        "http://127.0.0.1:{}/v1/definition/{config_hash}",
        server.port
    );
    kept(&env, &url);
    let plan = |words: &[&str]| env.run(&[&["plan"], words].concat()).exits(3);
    let given = ["--definition", url.as_str()];

    // The same as the last time: nothing to say.
    let outcome = plan(&given);
    assert!(!outcome.stderr.contains("definition-"), "{outcome}");
    assert_eq!(server.requests().len(), 1);

    *served.lock().unwrap() = (200, now.to_json().into_bytes());
    // Given again, or from the note of the last time.
    for words in [&given[..], &[]] {
        let outcome = plan(words);
        for expected in [
            "note [definition-changed]",
            &format!(
                "another definition than the last time: definition_hash {}",
                hash(now.to_json().as_bytes())
            ),
            "definition_hash [hash], as the last time",
        ] {
            assert!(outcome.stderr.contains(expected), "{outcome}");
        }
    }
    assert_eq!(server.requests().len(), 3);
    // As a mail has it.
    plan(&["--definition", &format!(" <{url}> ")]);
    assert_eq!(server.requests().len(), 4);

    // A server that fails is not there; one that says no has said so.
    *served.lock().unwrap() = (503, b"busy".to_vec());
    let outcome = plan(&given);
    assert!(
        outcome.stderr.contains("note [definition-not-fetched]"),
        "{outcome}"
    );
    assert!(!outcome.failed().contains(&"definition"), "{outcome}");
    *served.lock().unwrap() = (404, b"not found".to_vec());
    let outcome = plan(&given);
    assert!(outcome.stderr.contains("status 404"), "{outcome}");
    assert!(
        !outcome.stderr.contains("definition-not-fetched"),
        "{outcome}"
    );
    // A store that sends files as they were compressed for it, whatever was asked for.
    *served.lock().unwrap() = (200, b"\x1f\x8b\x08\0\0".to_vec());
    let outcome = plan(&given);
    for expected in ["is a compressed file", "unpack it"] {
        assert!(outcome.stderr.contains(expected), "{outcome}");
    }
}

#[test]
fn a_url_of_another_scheme_is_no_path() {
    let env = TestEnv::ready();
    for url in ["ipfs://example/definition.json", "file:///definition.json"] {
        let outcome = env.run(&["plan", "--definition", url]).exits(3);
        for expected in [
            format!("{url} is not https"),
            "give the https URL".to_owned(),
        ] {
            assert!(outcome.stderr.contains(&expected), "{outcome}");
        }
    }
}

#[test]
fn what_was_kept_serves_while_nobody_answers_and_that_is_said() {
    let env = TestEnv::ready();
    let (_kept, port) = refusing_port();
    let url = format!("http://127.0.0.1:{port}/v1/definition");
    kept(&env, &url);
    for words in [&["plan", "--definition", &url][..], &["plan"]] {
        let outcome = env.run(words).exits(3);
        for expected in [
            "note [definition-not-fetched]",
            "cannot reach",
            "the one kept from the last time is used, definition_hash [hash]",
        ] {
            assert!(outcome.stderr.contains(expected), "{outcome}");
        }
    }
    // Of another URL nothing is kept. Its scheme may be written large.
    let other = format!("HTTPS://127.0.0.1:{port}/other");
    let outcome = env.run(&["plan", "--definition", &other]).exits(3);
    assert!(outcome.stderr.contains("cannot reach"), "{outcome}");
    assert!(
        !outcome.stderr.contains("definition-not-fetched"),
        "{outcome}"
    );
}
