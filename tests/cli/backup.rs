//! `backup` and `backup restore`: what was there comes back the very same, or nothing changes; and `run` asks for it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use age::secrecy::ExposeSecret as _;
use age::x25519::Identity;
use charon_dkg::custody::contents::{self, About, File, Place};
use charon_dkg::custody::sealed::{self, OpenWith, SealTo};
use charon_dkg::machine::guard;
use zeroize::Zeroizing;

use crate::support::{CEREMONY, KEY, LOCK, NOBODY, Outcome, TestEnv, Tree};

/// An age identity in a file, and the recipient that it belongs to.
struct Owner {
    identity: Identity,
    file: String,
    recipient: String,
}

fn owner(env: &TestEnv) -> Owner {
    let identity = Identity::generate();
    let file = env.path("identity.txt");
    let secret = identity.to_string();
    fs::write(&file, format!("# of a test\n{}\n", secret.expose_secret())).unwrap();
    Owner {
        file: file.display().to_string(),
        recipient: identity.to_public().to_string(),
        identity,
    }
}

/// Backs up to `backup.age` beside the project.
fn back_up(env: &TestEnv, owner: &Owner) -> PathBuf {
    let file = env.path("backup.age");
    let text = file.display().to_string();
    env.run(&["backup", &text, "--recipient", &owner.recipient])
        .exits(0);
    file
}

fn restore(env: &TestEnv, file: &Path, owner: &Owner) -> Outcome {
    let file = file.display().to_string();
    env.run(&[
        "backup",
        "restore",
        &file,
        "--identity",
        &owner.file,
        "--yes",
    ])
}

/// The content of every file of the data directory.
fn contents(env: &TestEnv) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut pending = vec![env.data("")];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path.strip_prefix(env.data("")).unwrap();
                found.push((name.display().to_string(), fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o7777
}

#[test]
fn a_key_that_was_never_backed_up_is_not_run() {
    let env = TestEnv::ready();
    for verb in ["plan", "run"] {
        let refused = env.run_as_typed(&[verb]).exits(3);
        assert_eq!(
            refused.failed(),
            ["enr-key-not-backed-up", "engine-unreachable"],
            "{refused}"
        );
        assert!(refused.stderr.contains("`charon-dkg backup`"), "{refused}");
    }
    assert!(
        env.run(&["status"])
            .exits(0)
            .stdout
            .contains("never backed up")
    );
    let owner = owner(&env);
    back_up(&env, &owner);
    for verb in ["plan", "run"] {
        let refused = env.run_as_typed(&[verb]).exits(3);
        assert_eq!(refused.failed(), ["engine-unreachable"], "{refused}");
    }
    let status = env.run(&["status"]).exits(0);
    assert!(status.stdout.contains("nothing changed since"), "{status}");
    // The file may be elsewhere by now. Another key is another matter.
    fs::remove_file(env.path("backup.age")).unwrap();
    let refused = env.run_as_typed(&["plan"]).exits(3);
    assert_eq!(refused.failed(), ["engine-unreachable"], "{refused}");
    env.put(KEY, &[b'1'; 64]);
    let refused = env.run_as_typed(&["plan"]).exits(3);
    assert!(refused.failed().contains(&"enr-key-not-backed-up"));
}

#[test]
fn a_finished_directory_comes_back_the_very_same() {
    let env = TestEnv::finished(CEREMONY, 0);
    let before = contents(&env);
    let owner = owner(&env);
    let file = back_up(&env, &owner);
    assert_eq!(mode(&file), 0o600);
    assert_eq!(contents(&env), before);
    let left = Tree::of(&env.state("")).names();
    assert_eq!(left, [".gitignore", "backups.json", "guard"]);

    let other = TestEnv::new();
    let outcome = restore(&other, &file, &owner).exits(0);
    assert!(
        outcome.stderr.contains("must never run in two places"),
        "{outcome}"
    );
    assert_eq!(contents(&other), before);
    assert_eq!(mode(&other.data("")), 0o700);
    assert_eq!(mode(&other.data("validator_keys")), 0o700);
    for (name, _) in &before {
        assert_eq!(mode(&other.data(name)), 0o600, "{name}");
    }
    other.run(&["verify"]).exits(0);
    let left = Tree::of(&other.state("")).names();
    assert_eq!(left, [".gitignore", "backups.json", "guard"]);
    let status = other.run(&["status"]).exits(0);
    assert!(status.stdout.contains("nothing changed since"), "{status}");
    // Once more, there is nothing to do.
    let tree = Tree::of(&other.data(""));
    restore(&other, &file, &owner).exits(0);
    assert_eq!(Tree::of(&other.data("")), tree);
}

#[test]
fn what_is_missing_is_filled_in_and_what_is_there_stays() {
    let env = TestEnv::finished(CEREMONY, 1);
    let before = contents(&env);
    let owner = owner(&env);
    let file = back_up(&env, &owner);
    let there = fs::metadata(env.data(KEY)).unwrap().ino();
    fs::remove_file(env.data(LOCK)).unwrap();
    fs::remove_file(env.data("validator_keys/keystore-1.txt")).unwrap();
    let document = env
        .run(&[
            "backup",
            "restore",
            &file.display().to_string(),
            "--identity",
            &owner.file,
            "--yes",
            "--format",
            "json",
        ])
        .exits(0)
        .json();
    let restored = ["validator_keys/keystore-1.txt", LOCK];
    assert_eq!(document["restored"], serde_json::json!(restored));
    assert_eq!(contents(&env), before);
    assert_eq!(fs::metadata(env.data(KEY)).unwrap().ino(), there);
}

#[test]
fn nothing_that_differs_is_overwritten() {
    let env = TestEnv::finished(CEREMONY, 0);
    let owner = owner(&env);
    let file = back_up(&env, &owner);
    let other = TestEnv::finished(CEREMONY, 1);
    other.put("notes.txt", b"mine");
    let before = other.tree();
    let outcome = restore(&other, &file, &owner).exits(3);
    for name in [KEY, LOCK, "notes.txt", "validator_keys/keystore-0.json"] {
        let named = format!("FAIL [data-directory-occupied] {name}");
        assert_eq!(
            outcome.stderr.contains(&named),
            name != LOCK,
            "{name}: {outcome}"
        );
    }
    assert_eq!(other.tree(), before);
    // A link in the place of a directory leads nowhere.
    let other = TestEnv::new();
    let outside = other.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::create_dir(other.data("")).unwrap();
    fs::set_permissions(other.data(""), fs::Permissions::from_mode(0o700)).unwrap();
    symlink(&outside, other.data("validator_keys")).unwrap();
    restore(&other, &file, &owner).exits(3);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn keys_do_not_go_where_others_may_look_or_write() {
    let env = TestEnv::finished(CEREMONY, 0);
    let owner = owner(&env);
    let file = back_up(&env, &owner);
    let other = TestEnv::new();
    fs::create_dir(other.data("")).unwrap();
    for open in [0o777, 0o750, 0o701] {
        fs::set_permissions(other.data(""), fs::Permissions::from_mode(open)).unwrap();
        let before = other.tree();
        let refused = restore(&other, &file, &owner).exits(3);
        assert!(refused.stderr.contains("chmod 700"), "{refused}");
        assert_eq!(other.tree(), before);
    }
    fs::set_permissions(other.data(""), fs::Permissions::from_mode(0o700)).unwrap();
    restore(&other, &file, &owner).exits(0);
    other.run(&["verify"]).exits(0);
}

#[test]
fn a_backup_of_what_is_wrong_comes_back_on_demand_only() {
    let env = TestEnv::finished(CEREMONY, 0);
    env.put("validator_keys/keystore-old.json", b"{}");
    let owner = owner(&env);
    let file = env.path("backup.age").display().to_string();
    let made = env
        .run(&["backup", &file, "--recipient", &owner.recipient])
        .exits(4);
    assert!(made.stderr.contains("--unproved"), "{made}");
    let other = TestEnv::new();
    let words = ["backup", "restore", &file, "--identity", &owner.file, "-y"];
    let refused = other.run(&words).exits(4);
    assert!(refused.stderr.contains("--unproved"), "{refused}");
    assert!(!other.data("").exists());
    other.run(&[&words[..], &["--unproved"]].concat()).exits(0);
    assert_eq!(contents(&other), contents(&env));
    other.run(&["verify"]).exits(4);
}

/// As in a repository that ships the directory of keys; there is nothing to prove yet.
#[test]
fn an_empty_directory_of_keys_is_no_ceremony() {
    let env = TestEnv::ready();
    env.put("validator_keys/.gitignore", b"*\n");
    let passphrase = env.path("passphrase");
    fs::write(&passphrase, "correct horse battery staple\n").unwrap();
    let passphrase = passphrase.display().to_string();
    let done = env
        .run(&["backup", "--passphrase-file", &passphrase])
        .exits(0);
    assert!(done.stdout.contains("before a ceremony"), "{done}");
}

#[test]
fn a_passphrase_does_as_well() {
    let env = TestEnv::ready();
    let right = env.path("right");
    fs::write(&right, "correct horse battery staple\n").unwrap();
    let right = right.display().to_string();
    let document = env
        .run(&["backup", "--passphrase-file", &right, "--format", "json"])
        .exits(0)
        .json();
    let name = fs::read_dir(env.project())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .find(|name| name.starts_with("charon-backup-"))
        .unwrap();
    let id = env.key().id().to_string();
    assert!(name.ends_with(&format!("Z-{id}.tar.age")), "{name}");
    let file = env.project().join(name).display().to_string();
    assert_eq!(document["verdict"], serde_json::Value::Null);

    let other = TestEnv::new();
    let wrong = other.path("wrong");
    fs::write(&wrong, "incorrect horse battery staple\n").unwrap();
    let wrong = wrong.display().to_string();
    let refused = other
        .run(&[
            "backup",
            "restore",
            &file,
            "--passphrase-file",
            &wrong,
            "--yes",
        ])
        .exits(3);
    assert!(
        refused.stderr.contains("this passphrase does not open it"),
        "{refused}"
    );
    let identity = owner(&other);
    restore(&other, Path::new(&file), &identity).exits(3);
    assert_eq!(other.tree().names(), [""; 0]);
    other
        .run(&[
            "backup",
            "restore",
            &file,
            "--passphrase-file",
            &right,
            "--yes",
        ])
        .exits(0);
    assert_eq!(contents(&other), contents(&env));
}

#[test]
fn nobody_is_asked_where_nobody_is() {
    let env = TestEnv::ready();
    let before = env.tree();
    for args in [
        &["backup"][..],
        &["backup", "--yes"],
        &["backup", "restore", "nowhere.age"],
    ] {
        let refused = env.run(args).exits(3);
        assert!(refused.stderr.contains("--passphrase-file"), "{refused}");
    }
    let short = env.path("short");
    fs::write(&short, "hunter2\n").unwrap();
    let short = short.display().to_string();
    let refused = env.run(&["backup", "--passphrase-file", &short]).exits(3);
    assert!(!refused.stderr.contains("hunter2"), "{refused}");
    let owner = owner(&env);
    let refused = env.run(&["backup", "--identity", &owner.file]).exits(2);
    assert!(refused.stderr.contains("--recipient"), "{refused}");
    // A secret key in the place of a recipient is not repeated.
    let secret = owner.identity.to_string();
    let refused = env
        .run(&["backup", "--recipient", secret.expose_secret()])
        .exits(2);
    assert!(!refused.stderr.contains(&secret.expose_secret()[..30]));
    env.run(&["backup", "--yes", "--recipient", "x", "restore", "y"])
        .exits(2);
    assert_eq!(env.tree(), before);
    // Without a yes, nothing is restored.
    let file = back_up(&env, &owner);
    let other = TestEnv::new();
    let file = file.display().to_string();
    other
        .run(&["backup", "restore", &file, "--identity", &owner.file])
        .exits(3);
    assert_eq!(other.tree().names(), [""; 0]);
}

#[test]
fn a_backup_never_overwrites_and_never_lies_among_the_keys() {
    let env = TestEnv::ready();
    let owner = owner(&env);
    let taken = env.path("taken.age");
    fs::write(&taken, "mine").unwrap();
    let state = env.state("");
    fs::create_dir(&state).unwrap();
    for file in [
        taken.clone(),
        env.data("x.age"),
        env.state("x.age"),
        env.data(""),
    ] {
        let file = file.display().to_string();
        env.run(&["backup", &file, "--recipient", &owner.recipient])
            .exits(3);
    }
    assert_eq!(fs::read(&taken).unwrap(), b"mine");
    let link = env.path("link.age");
    symlink(env.path("elsewhere"), &link).unwrap();
    let link = link.display().to_string();
    env.run(&["backup", &link, "--recipient", &owner.recipient])
        .exits(3);
    assert!(!env.path("elsewhere").exists());
    // In a directory, it gets a name of its own, a second one too.
    let dir = env.path("safe");
    fs::create_dir(&dir).unwrap();
    for _ in 0..2 {
        let dir = dir.display().to_string();
        env.run(&["backup", &dir, "--recipient", &owner.recipient])
            .exits(0);
    }
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
}

#[test]
fn what_is_no_file_keeps_a_backup_from_being_whole() {
    let env = TestEnv::ready();
    let owner = owner(&env);
    symlink("/etc/passwd", env.data("deposit-data.json")).unwrap();
    let file = env.path("backup.age").display().to_string();
    let refused = env
        .run(&["backup", &file, "--recipient", &owner.recipient])
        .exits(3);
    assert!(refused.stderr.contains("a symbolic link"), "{refused}");
    assert!(!env.path("backup.age").exists());
    fs::remove_file(env.data(KEY)).unwrap();
    let refused = env
        .run(&["backup", &file, "--recipient", &owner.recipient])
        .exits(3);
    assert!(refused.stderr.contains("there is no ENR key"), "{refused}");
}

#[test]
fn whoever_is_at_work_here_is_waited_for() {
    let env = TestEnv::finished(CEREMONY, 2);
    let owner = owner(&env);
    let file = back_up(&env, &owner);
    let held = guard::claim_directory(&env.layout()).unwrap();
    env.run(&["backup", "--recipient", &owner.recipient])
        .exits(5);
    restore(&env, &file, &owner).exits(5);
    drop(held);
    // The same key elsewhere.
    let other = TestEnv::new();
    let id = env.key().id().to_string();
    let held = guard::claim_enr_key(&id, &env.layout()).unwrap();
    restore(&other, &file, &owner).exits(5);
    assert_eq!(other.tree().names(), [""; 0]);
    drop(held);
    restore(&other, &file, &owner).exits(0);
}

#[test]
fn a_directory_that_is_not_right_is_kept_and_not_restored() {
    let env = TestEnv::finished(CEREMONY, 3);
    let owner = owner(&env);
    env.put("validator_keys/keystore-0.txt", b"not the password");
    let before = contents(&env);
    let file = env.path("backup.age");
    let text = file.display().to_string();
    let outcome = env
        .run(&["backup", &text, "--recipient", &owner.recipient])
        .exits(4);
    assert!(
        outcome
            .stderr
            .contains("the backup was written and is complete"),
        "{outcome}"
    );
    assert!(!outcome.failed().is_empty(), "{outcome}");
    let status = env.run(&["status"]).exits(0);
    assert!(status.stdout.contains("backed up on"), "{status}");
    let other = TestEnv::new();
    let refused = restore(&other, &file, &owner).exits(4);
    assert!(refused.stderr.contains("nothing was restored"), "{refused}");
    assert!(!other.data("").exists());
    assert_eq!(contents(&env), before);
}

#[test]
#[ignore = "needs root"]
fn root_backs_up_for_the_owner_of_the_directory() {
    let env = TestEnv::finished(CEREMONY, 0);
    env.give_to(NOBODY);
    let owner = owner(&env);
    let file = back_up(&env, &owner);
    for path in [&file, &env.state(""), &env.state("backups.json")] {
        assert_eq!(
            fs::metadata(path).unwrap().uid(),
            NOBODY,
            "{}",
            path.display()
        );
    }
    // And so does the owner alone.
    let own = env.project().join("own.age").display().to_string();
    env.run_as(NOBODY, &["backup", &own, "--recipient", &owner.recipient])
        .exits(0);
}

#[test]
fn changes_since_are_counted() {
    let env = TestEnv::finished(CEREMONY, 1);
    let owner = owner(&env);
    back_up(&env, &owner);
    fs::remove_file(env.data("deposit-data.json")).unwrap();
    env.put("validator_keys/keystore-0.txt", b"changed");
    let status = env.run(&["status"]).exits(0);
    assert!(status.stdout.contains("2 files changed since"), "{status}");
}

fn file_of(place: Place, path: &str, bytes: &[u8]) -> File {
    File {
        place,
        path: path.to_owned(),
        bytes: Zeroizing::new(bytes.to_vec()),
    }
}

/// A backup that holds these bytes, whatever they are.
fn forged(env: &TestEnv, owner: &Owner, archive: &[u8]) -> PathBuf {
    let to = SealTo::Recipients(vec![owner.identity.to_public()]);
    let file = env.path("forged.age");
    fs::write(&file, sealed::seal(archive, &to).unwrap()).unwrap();
    file
}

#[test]
fn what_is_no_backup_or_damaged_changes_nothing() {
    let env = TestEnv::finished(CEREMONY, 0);
    let owner = owner(&env);
    let good = fs::read(back_up(&env, &owner)).unwrap();
    let other = TestEnv::new();
    let damaged = other.path("damaged.age");
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for bytes in [
        &good[..good.len() - 1],
        &good[..100],
        &flipped,
        b"",
        b"not age",
    ] {
        fs::write(&damaged, bytes).unwrap();
        let refused = restore(&other, &damaged, &owner).exits(4);
        assert!(
            refused.stderr.contains("damaged or no age file"),
            "{refused}"
        );
    }
    for archive in [&b""[..], b"no tar archive", &[0; 10_240]] {
        let file = forged(&other, &owner, archive);
        restore(&other, &file, &owner).exits(4);
    }
    // An escape, made with the program that makes archives of anything.
    let evil = other.path("evil");
    fs::create_dir(&evil).unwrap();
    fs::write(evil.join("x"), "x").unwrap();
    for name in [
        "../escape",
        "/tmp/charon-dkg-escape",
        ".charon/../../escape",
    ] {
        let tar = Command::new("tar")
            .arg("-C")
            .arg(&evil)
            .args(["-cPf", "-", "--transform", &format!("s,^x$,{name},"), "x"])
            .output()
            .unwrap();
        assert!(tar.status.success(), "{tar:?}");
        let file = forged(&other, &owner, &tar.stdout);
        let refused = restore(&other, &file, &owner).exits(4);
        assert!(
            refused.stderr.contains("not a backup of this program"),
            "{refused}"
        );
    }
    assert_eq!(other.tree().names(), [""; 0]);
    assert!(!other.path("escape").exists());
    assert!(!Path::new("/tmp/charon-dkg-escape").exists());
    // A device for a backup is not read.
    restore(&other, Path::new("/dev/zero"), &owner).exits(3);
}

#[test]
fn a_backup_put_together_of_two_clusters_is_not_restored() {
    let (env, strange) = (
        TestEnv::finished(CEREMONY, 0),
        TestEnv::finished(CEREMONY, 1),
    );
    let owner = owner(&env);
    let id = env.key().id().to_string();
    let mut files: Vec<File> = contents(&env)
        .into_iter()
        .filter(|(name, _)| !name.starts_with("validator_keys/"))
        .map(|(name, bytes)| file_of(Place::Data, &name, &bytes))
        .collect();
    files.extend(
        contents(&strange)
            .into_iter()
            .filter(|(name, _)| name.starts_with("validator_keys/"))
            .map(|(name, bytes)| file_of(Place::Data, &name, &bytes)),
    );
    let about = About {
        seconds: 0,
        created: "2026-01-01T00:00:00Z",
        enr_id: &id,
        owner: (0, 0),
    };
    let archive = contents::pack(&files, &about).unwrap();
    let file = forged(&env, &owner, &archive);
    let other = TestEnv::new();
    let refused = restore(&other, &file, &owner).exits(4);
    assert!(!refused.failed().is_empty(), "{refused}");
    assert!(!other.data("").exists());
}

/// With the two programs that everybody has; see docs/backup.md.
#[test]
fn tar_reads_what_age_decrypts() {
    let env = TestEnv::finished(CEREMONY, 0);
    let owner = owner(&env);
    let sealed = fs::read(back_up(&env, &owner)).unwrap();
    let with = OpenWith::Identities(vec![owner.identity.clone()]);
    let archive = sealed::open(&sealed, &with).unwrap();
    let other = TestEnv::new();
    let tar = other.path("backup.tar");
    fs::write(&tar, &*archive).unwrap();
    let done = Command::new("tar")
        .arg("-xpf")
        .arg(&tar)
        .arg("-C")
        .arg(other.project())
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    assert_eq!(contents(&other), contents(&env));
    other.run(&["verify"]).exits(0);
}

#[test]
fn receipts_and_the_kept_definition_come_along_and_attempts_do_not() {
    let env = TestEnv::ready();
    let layout = env.layout();
    charon_dkg::machine::datadir::create_state_dir(&layout).unwrap();
    let bytes = fs::read(env.data("cluster-definition.json")).unwrap();
    charon_dkg::machine::datadir::store_definition(&layout, &bytes, "https://x.example/y").unwrap();
    env.attempt(&[]);
    let receipts = format!("receipts/{}.txt", "ab".repeat(32));
    fs::create_dir(env.state("receipts")).unwrap();
    fs::write(env.state(&receipts), "a receipt\n").unwrap();
    let owner = owner(&env);
    let file = back_up(&env, &owner);
    let other = TestEnv::new();
    restore(&other, &file, &owner).exits(0);
    assert_eq!(fs::read(other.state(&receipts)).unwrap(), b"a receipt\n");
    let (stored, kept) = charon_dkg::machine::datadir::stored_definition(&other.layout())
        .unwrap()
        .unwrap();
    assert_eq!(
        (stored.source.as_str(), kept),
        ("https://x.example/y", bytes)
    );
    assert!(!other.state("attempts").exists());
}
