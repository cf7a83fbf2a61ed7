//! `enr`: one key, never a second one, and never the wrong owner's.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use charon_dkg::machine::guard;

use crate::support::{DEFINITION, KEY, LOCK, NOBODY, TestEnv};

fn mode_and_owner(path: &std::path::Path) -> (u32, u32) {
    let meta = path.symlink_metadata().unwrap();
    (meta.mode() & 0o7777, meta.uid())
}

#[test]
fn a_key_is_created_once_and_its_enr_printed_ever_after() {
    let mut env = TestEnv::new();
    env.run(&["enr"]).exits(0);
    env.redact_own_key();
    assert_eq!(mode_and_owner(&env.data("")).0, 0o700);
    assert_eq!(mode_and_owner(&env.data(KEY)).0, 0o600);
    let before = env.tree();
    let again = env.run(&["enr"]).exits(0);
    assert_eq!(again.stdout, "[enr]\n");
    assert_eq!(again.stderr, "");
    snapshot!(
        "enr_show_json",
        env.run(&["enr", "show", "--format", "json"]).exits(0)
    );
    assert_eq!(env.tree(), before);
}

#[test]
fn creating_tells_what_to_do_with_key_and_enr() {
    let mut env = TestEnv::new();
    let outcome = env.run(&["enr"]).exits(0);
    env.redact_own_key();
    let enr = env.key().enr().text().to_owned();
    assert_eq!(outcome.stdout, format!("{enr}\n"));
    insta::assert_snapshot!(outcome.stderr, @r"
    created [ROOT]/project/.charon/charon-enr-private-key
    give this ENR to the coordinator, and the key file to nobody
    back it up now with `charon-dkg backup`, and store the backup on another machine: without the key this node's keystores are useless, and nobody can restore it
    ");
}

#[test]
fn the_enr_is_that_of_charons_own_key_file() {
    let env = TestEnv::finished(crate::support::CEREMONY, 2);
    let definition: serde_json::Value =
        serde_json::from_slice(&fs::read(env.data(DEFINITION)).unwrap()).unwrap();
    let shown = env.run(&["enr"]).exits(0).stdout;
    assert_eq!(shown.trim_end(), definition["operators"][2]["enr"]);
}

/// A repository may ship the directory of keys, kept by a `.gitignore`; eth-docker does.
#[test]
fn an_empty_directory_of_keys_tells_of_no_earlier_key() {
    let env = TestEnv::new();
    env.put("validator_keys/.gitignore", b"*\n");
    env.run(&["enr"]).exits(0);
    let env = TestEnv::new();
    env.put("validator_keys/keystore-0.json", b"{}");
    env.run(&["enr"]).exits(3);
}

#[test]
fn showing_creates_nothing() {
    let env = TestEnv::new();
    snapshot!("enr_show_without_key", env.run(&["enr", "show"]).exits(3));
    assert_eq!(env.tree().names(), [""; 0]);
}

#[test]
fn what_is_no_key_is_neither_used_nor_overwritten() {
    let put = |bytes: &[u8]| {
        let env = TestEnv::new();
        env.put(KEY, bytes);
        env
    };
    let key = fs::read_to_string(crate::support::fixture(crate::support::CEREMONY, 0).join(KEY));
    let key = key.unwrap();
    let linked = put(b"");
    fs::remove_file(linked.data(KEY)).unwrap();
    symlink("/dev/zero", linked.data(KEY)).unwrap();
    let dangling = put(b"");
    fs::remove_file(dangling.data(KEY)).unwrap();
    symlink("nowhere", dangling.data(KEY)).unwrap();
    let directory = put(b"");
    fs::remove_file(directory.data(KEY)).unwrap();
    fs::create_dir(directory.data(KEY)).unwrap();
    for (case, env) in [
        ("empty", put(b"")),
        ("too short", put(&key.as_bytes()[..63])),
        (
            "not hexadecimal",
            put(key.replace(['a', 'b', 'c'], "g").as_bytes()),
        ),
        ("not text", put(&[0xff; 64])),
        ("byte order mark", put(format!("\u{feff}{key}").as_bytes())),
        ("zero", put(&[b'0'; 64])),
        ("beyond the group's order", put(&[b'f'; 64])),
        ("linked", linked),
        ("dangling", dangling),
        ("directory", directory),
    ] {
        let before = env.tree();
        for args in [&["enr"][..], &["enr", "show"]] {
            let outcome = env.run(args).exits(3);
            assert!(
                outcome.stderr.contains("from your backup"),
                "{case}: {outcome}"
            );
            assert_eq!(env.tree(), before, "{case}");
        }
    }
}

#[test]
fn an_unusable_key_is_told_with_its_path() {
    let env = TestEnv::new();
    env.put(KEY, b"not a key");
    snapshot!("enr_unusable_key", env.run(&["enr"]).exits(3));
}

#[test]
fn line_ends_around_a_key_are_none_of_it() {
    let env = TestEnv::with_key();
    let key = fs::read_to_string(env.data(KEY)).unwrap();
    env.put(KEY, format!("{key}\r\n").as_bytes());
    assert_eq!(env.run(&["enr"]).exits(0).stdout, "[enr]\n");
}

/// A new key would belong to no operator of the cluster that is there.
#[test]
fn no_second_key_is_made_where_there_was_one() {
    let env = TestEnv::ready();
    fs::remove_file(env.data(KEY)).unwrap();
    let before = env.tree();
    snapshot!("enr_where_a_key_was", env.run(&["enr"]).exits(3));
    assert_eq!(env.tree(), before);

    let env = TestEnv::new();
    env.put(LOCK, b"{}");
    env.run(&["enr"]).exits(3);

    let env = TestEnv::ready();
    let layout = env.layout();
    charon_dkg::machine::datadir::create_state_dir(&layout).unwrap();
    let bytes = fs::read(env.data(DEFINITION)).unwrap();
    charon_dkg::machine::datadir::store_definition(&layout, &bytes, "https://x.example/d").unwrap();
    fs::remove_dir_all(env.data("")).unwrap();
    let outcome = env.run(&["enr"]).exits(3);
    assert!(
        outcome
            .stderr
            .contains("the cluster definition from https://x.example/d"),
        "{outcome}"
    );
}

#[test]
#[ignore = "needs root"]
fn somebody_at_work_here_is_named() {
    let env = TestEnv::new();
    let layout = env.layout();
    charon_dkg::machine::datadir::create_data_dir(&layout).unwrap();
    charon_dkg::machine::datadir::create_state_dir(&layout).unwrap();
    let guard = guard::claim_directory(&layout).unwrap();
    snapshot!("enr_busy", env.run(&["enr"]).exits(5));
    assert!(!env.data(KEY).exists());
    drop(guard);
    env.run(&["enr"]).exits(0);
}

#[test]
#[ignore = "needs root"]
fn root_creates_a_key_for_the_owner_of_the_project() {
    let env = TestEnv::new();
    env.give_to(12_345);
    assert!(rustix::process::geteuid().is_root(), "this test needs root");
    env.run(&["enr"]).exits(0);
    assert_eq!(mode_and_owner(&env.data("")), (0o700, 12_345));
    assert_eq!(mode_and_owner(&env.data(KEY)), (0o600, 12_345));
    assert_eq!(mode_and_owner(&env.state("")), (0o700, 12_345));
    // And that user works on with it.
    env.run_as(12_345, &["enr", "show"]).exits(0);
}

#[test]
#[ignore = "needs root"]
fn another_user_is_told_whose_key_it_is() {
    let env = TestEnv::with_key();
    snapshot!("enr_of_another_user", env.run_as(NOBODY, &["enr"]).exits(3));
    // A directory that all may list says no more of the key in it.
    fs::set_permissions(
        env.data(""),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let outcome = env.run_as(NOBODY, &["enr", "show"]).exits(3);
    assert!(
        outcome
            .stderr
            .contains("you are nobody (uid 65534); run this as root"),
        "{outcome}"
    );
}

#[test]
fn no_second_key_is_made_below_a_project_that_has_one() {
    let env = TestEnv::with_key();
    let below = env.project().join("notes");
    fs::create_dir(&below).unwrap();
    let before = env.tree();
    let mut command = env.command(std::path::Path::new(crate::support::BINARY));
    command.arg("enr").current_dir(&below);
    let outcome = env.outcome(command).exits(3);
    for text in ["[ROOT]/project has one", "enr --dir [ROOT]/project`"] {
        assert!(outcome.stderr.contains(text), "{outcome}");
    }
    assert_eq!(env.tree(), before);
    // Whoever names the place means it.
    let named = below.display().to_string();
    env.run(&["enr", "--dir", &named]).exits(0);
    assert!(below.join(".charon").is_dir());
}

#[test]
fn a_data_directory_that_is_none_is_refused() {
    let env = TestEnv::new();
    fs::write(env.project().join(".charon"), "a file").unwrap();
    let before = env.tree();
    for args in [
        &["enr"][..],
        &["status"],
        &["plan"],
        &["run"],
        &["archive", "--yes"],
    ] {
        let outcome = env.run(args).exits(3);
        insta::allow_duplicates! {
            insta::assert_snapshot!(outcome.stderr, @r"
            error: [ROOT]/project/.charon is a file, expected a directory
            hint: name the project directory with --dir, or the data directory with --data-dir
            ");
        }
    }
    env.run(&["verify"]).exits(4);
    assert_eq!(env.tree(), before);
}

/// In a checkout of a repository that does not ignore it, `git add .` would take the key into a commit.
#[test]
fn git_leaves_a_new_key_alone() {
    let env = TestEnv::new();
    let git = |words: &[&str]| {
        let output = std::process::Command::new("git")
            .arg("-C")
            .arg(env.project())
            .args(words)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    git(&["init", "-q"]);
    env.run(&["enr"]).exits(0);
    git(&["add", "."]);
    assert_eq!(git(&["status", "--porcelain"]), "");
}
