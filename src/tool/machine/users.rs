//! Names of user ids, and the ids of names.

use std::path::Path;

use crate::machine::files;
use crate::machine::read::{self, Limit};

/// Large sites keep tens of thousands of accounts in this file, at about 100 bytes each.
const PASSWD: Limit = Limit {
    bytes: 16 << 20,
    what: "the user list",
};

/// The login name of a user id, where `/etc/passwd` knows it.
///
/// Accounts that only a directory service (LDAP, SSSD) knows have no name here; asking them needs
/// the C library. Callers show the number as well.
pub fn user_name(uid: u32) -> Option<String> {
    let text = read::read_file(Path::new("/etc/passwd"), PASSWD).ok()?;
    name_in(&String::from_utf8_lossy(&text), uid)
}

/// `alice (uid 1000)`, or `uid 1000` where there is no name.
pub fn describe_user(uid: u32) -> String {
    match user_name(uid) {
        Some(name) => format!("{name} (uid {uid})"),
        None => format!("uid {uid}"),
    }
}

/// User id and primary group of a login name or number, where `/etc/passwd` knows it.
pub fn find_user(user: &str) -> Option<(u32, u32)> {
    let text = read::read_file(Path::new("/etc/passwd"), PASSWD).ok()?;
    user_in(&String::from_utf8_lossy(&text), user)
}

/// Whether this is root by way of sudo(8): then the user's next command needs it too.
pub fn is_root_by_sudo() -> bool {
    let user = std::env::var("SUDO_UID").ok();
    files::acting_as_root() && user.is_some_and(|uid| uid != "0")
}

/// Whether a user id is a subordinate one of this user: a container of this user's rootless engine has it, and nobody else.
pub fn is_subordinate(uid: u32, user: u32) -> bool {
    let Ok(text) = read::read_file(Path::new("/etc/subuid"), PASSWD) else {
        return false;
    };
    let name = user_name(user);
    subordinate_in(&String::from_utf8_lossy(&text), uid, name.as_deref(), user)
}

/// The format is that of subuid(5): `name or number:first:count`.
fn subordinate_in(subuid: &str, uid: u32, name: Option<&str>, user: u32) -> bool {
    subuid.lines().any(|line| {
        let mut fields = line.split(':');
        let whose = fields.next().unwrap_or_default();
        let mut number = || fields.next().and_then(|it| it.trim().parse::<u32>().ok());
        let (Some(first), Some(count)) = (number(), number()) else {
            return false;
        };
        let mine = Some(whose) == name || whose.parse() == Ok(user);
        mine && uid.checked_sub(first).is_some_and(|offset| offset < count)
    })
}

/// Group id of a group's name or number; a number needs no entry in `/etc/group`.
pub fn find_group(group: &str) -> Option<u32> {
    if let Ok(gid) = group.parse() {
        return Some(gid);
    }
    let text = read::read_file(Path::new("/etc/group"), PASSWD).ok()?;
    let text = String::from_utf8_lossy(&text);
    text.lines().find_map(|line| {
        // group(5): `name:password:gid:members`.
        let mut fields = line.split(':');
        (fields.next()? == group).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// Name and members of a group, where `/etc/group` knows it.
pub fn group(gid: u32) -> Option<(String, Vec<String>)> {
    let text = read::read_file(Path::new("/etc/group"), PASSWD).ok()?;
    group_in(&String::from_utf8_lossy(&text), gid)
}

fn group_in(groups: &str, gid: u32) -> Option<(String, Vec<String>)> {
    groups.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields.as_slice() {
            [name, _, number, members] if number.parse() == Ok(gid) => Some((
                (*name).to_owned(),
                members.split(',').map(str::to_owned).collect(),
            )),
            _ => None,
        }
    })
}

fn user_in(passwd: &str, user: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?;
        let gid = fields.next()?.parse().ok()?;
        (!name.is_empty() && (name == user || uid == user))
            .then(|| Some((uid.parse().ok()?, gid)))?
    })
}

/// The format is that of passwd(5): `name:password:uid:gid:comment:home:shell`.
fn name_in(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        (number == uid && !name.is_empty()).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids_are_those_of_the_user() {
        let text = "ann:100000:65536\nbroken\n1001:165536:65536\n";
        let of = |uid, name, user| subordinate_in(text, uid, name, user);
        assert!(of(100_000, Some("ann"), 1000) && of(165_535, Some("ann"), 1000));
        assert!(!of(99_999, Some("ann"), 1000) && !of(165_536, Some("ann"), 1000));
        assert!(of(165_536, None, 1001) && !of(100_000, None, 1001));
    }

    #[test]
    fn root_has_a_name_and_an_unknown_user_a_number() {
        assert_eq!(user_name(0).as_deref(), Some("root"));
        assert_eq!(describe_user(0), "root (uid 0)");
        assert_eq!(describe_user(3_999_999_999), "uid 3999999999");
    }

    #[test]
    fn a_user_is_found_by_name_and_by_number() {
        assert_eq!(find_user("root"), Some((0, 0)));
        assert_eq!(find_user("0"), Some((0, 0)));
        let passwd = "broken\n:x:7:7::/:\nalice:x:1000:1001::/:\nodd:x:-1:7::/:\n";
        assert_eq!(user_in(passwd, "alice"), Some((1000, 1001)));
        assert_eq!(user_in(passwd, "1000"), Some((1000, 1001)));
        assert_eq!(user_in(passwd, "odd"), None);
        assert_eq!(user_in(passwd, ""), None);
        assert_eq!(find_group("root"), Some(0));
        let members = vec!["alice".to_owned(), "bob".to_owned()];
        let docker = Some(("docker".to_owned(), members));
        assert_eq!(group_in("broken\ndocker:x:7:alice,bob\n", 7), docker);
        assert_eq!(find_group("4000000"), Some(4_000_000));
        assert_eq!(find_group("no such group"), None);
    }

    #[test]
    fn odd_lines_are_passed_over() {
        let passwd =
            "# comment\n+::::::\nbroken\n:x:7:7::/:\na:x:seven:7::/:\nreal:x:7:7::/:/bin/sh\n";
        assert_eq!(name_in(passwd, 7).as_deref(), Some("real"));
        assert_eq!(name_in(passwd, 8), None);
    }
}
