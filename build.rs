//! Builds the one line of C that a static program needs with glibc: see `src/tool/machine/nss.c`.

fn main() {
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
