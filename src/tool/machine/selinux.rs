//! Whether SELinux decides what containers may touch.

/// Whether the kernel enforces a policy (`/sys/fs/selinux/enforce`, selinuxfs; what `getenforce` prints).
pub fn is_enforcing() -> bool {
    std::fs::read("/sys/fs/selinux/enforce").is_ok_and(|text| text.starts_with(b"1"))
}
