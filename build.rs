//! Says which checks this program has, and builds the one line of C that a static program needs with glibc: see
//! `src/tool/machine/nss.c`.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// What verifies: the sources of the crates without their tests, and the releases of all that they stand on.
const CHECKS: [&str; 3] = ["src/files", "src/proof", "Cargo.lock"];

fn main() -> io::Result<()> {
    println!("cargo::rustc-env=CHARON_DKG_CHECKS={}", checks()?);
    build_nss();
    Ok(())
}

/// One digest over the paths and contents of what verifies.
fn checks() -> io::Result<String> {
    let mut files = Vec::new();
    for root in CHECKS {
        println!("cargo::rerun-if-changed={root}");
        gather(Path::new(root), &mut files)?;
    }
    files.sort();
    let mut all = Sha256::new();
    for path in files {
        all.update(Sha256::digest(path.to_string_lossy().replace('\\', "/")));
        all.update(Sha256::digest(std::fs::read(path)?));
    }
    Ok(all
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn gather(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    if path.ends_with("tests") {
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        gather(&entry?.path(), files)?;
    }
    Ok(())
}

fn build_nss() {
    const SOURCE: &str = "src/tool/machine/nss.c";
    println!("cargo::rerun-if-changed={SOURCE}");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        cc::Build::new()
            .file(SOURCE)
            .link_lib_modifier("+whole-archive")
            .compile("charon_dkg_nss");
    }
}
