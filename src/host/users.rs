//! Names of user ids.

use std::path::Path;

use super::read::{self, Limit};

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
    fn root_has_a_name_and_an_unknown_user_a_number() {
        assert_eq!(user_name(0).as_deref(), Some("root"));
        assert_eq!(describe_user(0), "root (uid 0)");
        assert_eq!(describe_user(3_999_999_999), "uid 3999999999");
    }

    #[test]
    fn odd_lines_are_passed_over() {
        let passwd =
            "# comment\n+::::::\nbroken\n:x:7:7::/:\na:x:seven:7::/:\nreal:x:7:7::/:/bin/sh\n";
        assert_eq!(name_in(passwd, 7).as_deref(), Some("real"));
        assert_eq!(name_in(passwd, 8), None);
    }
}
