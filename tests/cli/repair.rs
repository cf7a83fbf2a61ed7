//! `repair`: everything back to its owner and to nobody else, nothing that is somebody else's, and nothing before a yes.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;

use charon_dkg::machine::datadir;
use charon_dkg::machine::guard;

use crate::support::{CEREMONY, KEY, NOBODY, Outcome, TestEnv};

fn open_up(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            open_up(&entry.unwrap().path());
        }
    }
}

/// Everything is the owner's and private.
#[track_caller]
fn assert_private(path: &Path, uid: u32) {
    let meta = path.symlink_metadata().unwrap();
    let wanted = if meta.is_dir() { 0o700 } else { 0o600 };
    let seen = (meta.mode() & 0o7777, meta.uid(), meta.gid());
    assert_eq!(seen, (wanted, uid, uid), "{}", path.display());
    if meta.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            assert_private(&entry.unwrap().path(), uid);
        }
    }
}

/// A finished directory with a state directory, after the advice of an old manual.
fn damaged(node: usize) -> TestEnv {
    let env = TestEnv::finished(CEREMONY, node);
    datadir::create_state_dir(&env.layout()).unwrap();
    fs::create_dir_all(env.state("receipts")).unwrap();
    fs::write(env.state("receipts/x"), "x").unwrap();
    open_up(&env.data(""));
    open_up(&env.state(""));
    env
}

#[track_caller]
fn refused_without_change(env: &TestEnv, args: &[&str]) -> Outcome {
    let before = env.tree();
    let outcome = env.run(args).exits(3);
    assert_eq!(env.tree(), before);
    outcome
}

#[test]
#[ignore = "needs root"]
fn what_would_be_done_is_shown_and_done_after_a_yes() {
    let env = damaged(0);
    env.run(&["verify"]).exits(4);
    let shown = refused_without_change(&env, &["repair"]);
    let dry = refused_without_change(&env, &["repair", "--dry-run", "--yes"]);
    assert_eq!(shown.stdout, dry.stdout);
    snapshot!("repair_dry_run", dry);
    let document = refused_without_change(&env, &["repair", "--format", "json"]).json();
    assert_eq!(document["repaired"], false);
    assert_eq!(document["exposed"][0]["reader"], "everybody");

    let done = env.run(&["repair", "--yes"]).exits(0);
    assert!(done.stderr.contains("could read the keys"), "{done}");
    assert!(done.stdout.contains("every file is proved"), "{done}");
    assert_private(&env.data(""), 0);
    assert_private(&env.state(""), 0);
    env.run(&["verify"]).exits(0);
    let before = env.tree();
    let again = env.run(&["repair"]).exits(0);
    assert!(again.stdout.starts_with("nothing to repair"), "{again}");
    assert_eq!(env.tree(), before);
}

#[test]
#[ignore = "needs root"]
fn files_of_root_go_to_the_owner_of_the_directory_and_only_root_can_give_them() {
    let env = damaged(1);
    env.give_to(NOBODY);
    for name in [KEY, "validator_keys", "validator_keys/keystore-0.json"] {
        chown(env.data(name), Some(0), Some(0)).unwrap();
    }
    let before = env.tree();
    let refused = env.run_as(NOBODY, &["repair", "--yes"]).exits(3);
    assert_eq!(env.tree(), before);
    let project = env.project().canonicalize().unwrap();
    assert!(
        refused
            .stderr
            .contains("`sudo charon-dkg repair --yes --dir [ROOT]/project`"),
        "{}: {refused}",
        project.display()
    );
    env.run(&["repair", "--yes"]).exits(0);
    assert_private(&env.data(""), NOBODY);
    assert_private(&env.state(""), NOBODY);
    env.run_as(NOBODY, &["verify"]).exits(0);
}

#[test]
#[ignore = "needs root"]
fn a_directory_that_docker_made_as_root_goes_to_the_owner_named() {
    let env = damaged(2);
    let owner = format!("{NOBODY}:{NOBODY}");
    env.run(&["repair", "--yes", "--owner", &owner]).exits(0);
    assert_private(&env.data(""), NOBODY);
    assert_private(&env.state(""), NOBODY);
    for wrong in [
        "no-such-user",
        "0:no-such-group",
        "4000000",
        "4294967295:0",
        "0:4294967295",
    ] {
        refused_usage(&env, wrong);
    }
}

#[track_caller]
fn refused_usage(env: &TestEnv, owner: &str) {
    let before = env.tree();
    env.run(&["repair", "--yes", "--owner", owner]).exits(2);
    assert_eq!(env.tree(), before);
}

#[test]
#[ignore = "needs root"]
fn a_plain_user_mends_their_own_even_where_they_locked_themselves_out() {
    let env = damaged(3);
    env.give_to(NOBODY);
    for name in ["validator_keys/keystore-1.txt", "validator_keys", ""] {
        fs::set_permissions(env.data(name), fs::Permissions::from_mode(0o000)).unwrap();
    }
    env.run_as(NOBODY, &["repair", "--yes"]).exits(0);
    assert_private(&env.data(""), NOBODY);
    env.run_as(NOBODY, &["verify"]).exits(0);
}

#[test]
#[ignore = "needs root"]
fn traps_are_named_and_nothing_is_changed() {
    let env = damaged(0);
    let outside = env.path("outside");
    fs::write(&outside, "somebody else's").unwrap();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o644)).unwrap();
    symlink(&outside, env.data("validator_keys/link.json")).unwrap();
    fs::hard_link(&outside, env.data("validator_keys/hard.json")).unwrap();
    let pipe = env.data("validator_keys/pipe.json");
    rustix::fs::mkfifoat(rustix::fs::CWD, pipe, 0o666.into()).unwrap();
    let outcome = refused_without_change(&env, &["repair", "--yes", "--owner", "65534:65534"]);
    assert_eq!(outcome.failed(), ["not-repairable"; 3], "{outcome}");
    let meta = fs::metadata(&outside).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o644, 0));
}

#[test]
fn only_a_data_directory_is_repaired_and_only_where_it_is_named() {
    let env = damaged(0);
    env.put(".bashrc", b"no file of charon's");
    let outcome = refused_without_change(&env, &["repair", "--yes"]);
    assert!(
        outcome
            .stderr
            .contains("does not look like a data directory"),
        "{outcome}"
    );
    fs::remove_file(env.data(".bashrc")).unwrap();
    // Whoever may write in the project directory must not choose what root repairs.
    let hidden = env.path("hidden");
    fs::rename(env.data(""), &hidden).unwrap();
    symlink(&hidden, env.project().join(".charon")).unwrap();
    let outcome = refused_without_change(&env, &["repair", "--yes"]);
    assert!(outcome.stderr.contains("is a symbolic link"), "{outcome}");
    refused_without_change(&env, &["repair", "--yes", "--dir", "/proc"]);
    refused_without_change(&env, &["repair", "--yes", "--data-dir", "/etc"]);
    refused_without_change(&TestEnv::new(), &["repair", "--yes"]);
}

#[test]
#[ignore = "needs root"]
fn whoever_is_at_work_here_is_waited_for() {
    let env = damaged(1);
    let held = guard::claim_directory(&env.layout()).unwrap();
    env.run(&["repair", "--yes"]).exits(5);
    drop(held);
    let held = guard::claim_enr_key(&env.key().id().to_string(), &env.layout()).unwrap();
    env.run(&["repair", "--yes"]).exits(5);
    drop(held);
    fs::remove_dir_all(env.state("")).unwrap();
    env.run(&["repair", "--yes"]).exits(0);
    assert!(!env.state("").exists(), "made for nothing");
    assert_private(&env.data(""), 0);
}

/// The mode's bits for the group are the list's mask then, and say nothing of the group.
#[test]
fn whom_an_access_control_list_lets_read_is_named() {
    let env = TestEnv::finished(CEREMONY, 0);
    // What `setfacl -m u:4242:rX` writes for a private file (acl(5); Linux, `posix_acl_xattr.h`).
    let list = |own: u16, given: u16| {
        let mut bytes = 2_u32.to_le_bytes().to_vec();
        for (tag, rights, id) in [
            (0x01_u16, own, u32::MAX),
            (0x02, given, 4242),
            (0x04, 0, u32::MAX),
            (0x10, given, u32::MAX),
            (0x20, 0, u32::MAX),
        ] {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(rights.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        bytes
    };
    for (name, list) in [("", list(7, 5)), (KEY, list(6, 4))] {
        let path = env.data(name);
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(&path, "system.posix_acl_access", &list, flags).unwrap();
    }
    let said = env.run(&["verify"]).exits(4).to_string();
    let reader = "mode 0640 with an access control list: uid 4242 can read it";
    assert!(said.contains(reader) && !said.contains("group"), "{said}");
    let shown = refused_without_change(&env, &["repair", "--format", "json"]).json();
    assert_eq!(
        shown["exposed"][0]["reader"],
        serde_json::json!({"user": 4242})
    );
    let done = env.run(&["repair", "--yes"]).exits(0).to_string();
    let words = format!("uid 4242 could read the keys: {KEY}");
    assert!(done.contains(&words) && !done.contains("group"), "{done}");
    env.run(&["verify"]).exits(0);
}

#[test]
#[ignore = "needs root"]
fn an_attribute_that_forbids_changes_is_named() {
    use rustix::fs::{IFlags, ioctl_setflags};
    let env = TestEnv::finished(CEREMONY, 0);
    let lock = env.data("cluster-lock.json");
    let file = fs::File::open(&lock).unwrap();
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o644)).unwrap();
    // Not every file system has attributes.
    if ioctl_setflags(&file, IFlags::IMMUTABLE).is_err() {
        return;
    }
    for args in [["repair", "--yes"], ["archive", "--yes"]] {
        let said = env.run(&args).exits(1).to_string();
        let words = [
            "cluster-lock.json: Operation not permitted",
            "sudo chattr -ia",
        ];
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
    assert!(env.data("validator_keys").exists(), "all is back");
    ioctl_setflags(&file, IFlags::empty()).unwrap();
    env.run(&["repair", "--yes"]).exits(0);
    env.run(&["archive", "--yes"]).exits(0);
}
