//! Who else may use a file, from Windows' own words for it: the security descriptor string (SDDL, [MS-DTYP] 2.5.1.1).

/// Read and write, for others.
const READ: u32 = 0o044;
const WRITE: u32 = 0o022;

/// Whom everybody on a machine has to trust, and who stands for the owner: the system, administrators, the creator and the
/// owner.
const TRUSTED: [&str; 9] = [
    "SY",
    "S-1-5-18",
    "BA",
    "S-1-5-32-544",
    "LA",
    "CO",
    "S-1-3-0",
    "OW",
    "S-1-3-4",
];

/// The permission bits that others have, `0o044` to read and `0o022` to write; `None` if the text is not understood. `own` is
/// the user's own security identifier, `S-1-5-21-…`. What is denied to somebody is passed over: it only makes others fewer.
pub(crate) fn rights_of_others(sddl: &str, own: &str) -> Option<u32> {
    let is_trusted = |who: &str| who == own || TRUSTED.contains(&who);
    let owner = sddl.strip_prefix("O:")?;
    let (owner, rest) = owner.split_at(owner.find([':', '('])?.checked_sub(1)?);
    // The owner can give himself every right.
    if !is_trusted(owner) {
        return Some(READ | WRITE);
    }
    let list = match rest.strip_prefix("G:") {
        Some(group) => group.get(group.find(':')?.checked_sub(1)?..)?,
        None => rest,
    };
    // Without a list, everybody has every right.
    let Some(list) = list.strip_prefix("D:") else {
        return Some(READ | WRITE);
    };
    let mut others = 0;
    let mut rest = list.get(list.find('(').unwrap_or(list.len())..)?;
    if list.starts_with("NO_ACCESS_CONTROL") {
        return Some(READ | WRITE);
    }
    while let Some(entry) = rest.strip_prefix('(') {
        let (entry, after) = entry.split_once(')')?;
        rest = after;
        let fields: Vec<&str> = entry.split(';').collect();
        let [kind, flags, rights, _, _, who] = fields.as_slice() else {
            return None;
        };
        match *kind {
            "A" => {}
            "D" => continue,
            _ => return None,
        }
        let inherit_only = flags.as_bytes().chunks(2).any(|flag| flag == b"IO");
        if !inherit_only && !is_trusted(who) {
            others |= rights_in(rights)?;
        }
    }
    Some(others)
}

/// Reading and writing among the rights of one entry, as a number or as pairs of letters.
fn rights_in(rights: &str) -> Option<u32> {
    if let Some(hex) = rights.strip_prefix("0x") {
        return Some(bits(u32::from_str_radix(hex, 16).ok()?));
    }
    let mut found = 0;
    for pair in rights.as_bytes().chunks(2) {
        found |= bits(match pair {
            b"GA" => 0x1000_0000,
            b"GR" => 0x8000_0000,
            b"GW" => 0x4000_0000,
            b"GX" => 0x2000_0000,
            b"FA" => 0x001f_01ff,
            b"FR" => 0x0012_0089,
            b"FW" => 0x0012_0116,
            b"FX" => 0x0012_00a0,
            b"RC" => 0x0002_0000,
            b"SD" => 0x0001_0000,
            b"WD" => 0x0004_0000,
            b"WO" => 0x0008_0000,
            b"CC" => 0x1,
            b"DC" => 0x2,
            b"LC" => 0x4,
            b"SW" => 0x8,
            b"RP" => 0x10,
            b"WP" => 0x20,
            b"DT" => 0x40,
            b"LO" => 0x80,
            b"CR" => 0x100,
            _ => return None,
        });
    }
    Some(found)
}

/// The bits of an access mask ([MS-DTYP] 2.4.3, and winnt.h for files).
fn bits(mask: u32) -> u32 {
    // FILE_READ_DATA, GENERIC_READ; FILE_WRITE_DATA, FILE_APPEND_DATA, FILE_DELETE_CHILD, DELETE, GENERIC_WRITE; and what gives
    // both: WRITE_DAC, WRITE_OWNER, GENERIC_ALL.
    const READS: u32 = 0x8000_0001;
    const WRITES: u32 = 0x4001_0046;
    const BOTH: u32 = 0x100c_0000;
    let read = if mask & (READS | BOTH) == 0 { 0 } else { READ };
    let write = if mask & (WRITES | BOTH) == 0 {
        0
    } else {
        WRITE
    };
    read | write
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: &str = "S-1-5-21-1-2-3-1001";

    #[test]
    fn others_are_whoever_is_neither_the_user_nor_trusted_by_all() {
        let of = |list: &str| rights_of_others(&format!("O:{ME}G:S-1-5-21-1-2-3-513D:{list}"), ME);
        for (list, expected) in [
            // What a user's profile gives.
            (
                format!("AI(A;OICIID;FA;;;SY)(A;OICIID;FA;;;BA)(A;OICIID;FA;;;{ME})"),
                Some(0),
            ),
            (format!("P(A;;FA;;;{ME})"), Some(0)),
            (String::new(), Some(0)),
            // What C:\ gives to a new directory in it.
            (
                "AI(A;ID;FA;;;BA)(A;OICIID;0x1200a9;;;BU)".to_owned(),
                Some(0o044),
            ),
            (
                "AI(A;ID;FA;;;SY)(A;OICIID;0x1301bf;;;AU)".to_owned(),
                Some(0o066),
            ),
            // Only what is made below inherits it.
            ("AI(A;OICIIO;GA;;;WD)".to_owned(), Some(0)),
            ("(D;;FA;;;WD)(A;;FR;;;WD)".to_owned(), Some(0o044)),
            ("(A;;WD;;;WD)".to_owned(), Some(0o066)),
            ("(A;;FX;;;WD)".to_owned(), Some(0)),
            ("NO_ACCESS_CONTROL".to_owned(), Some(0o066)),
            // Not understood.
            ("(A;;XY;;;WD)".to_owned(), None),
            ("(XA;;FR;;;WD;(x))".to_owned(), None),
        ] {
            assert_eq!(of(&list), expected, "{list}");
        }
        assert_eq!(rights_of_others("O:BAG:SYD:(A;;FA;;;SY)", ME), Some(0));
        let list = format!("D:(A;;FA;;;{ME})");
        assert_eq!(
            rights_of_others(&format!("O:S-1-5-21-9{list}"), ME),
            Some(0o066)
        );
        assert_eq!(rights_of_others("O:BA", ME), None);
        assert_eq!(rights_of_others("", ME), None);
    }
}
