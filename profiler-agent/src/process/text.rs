//! Untrusted text.

/// `bytes` as text; what is not UTF-8 becomes U+FFFD.
pub(super) fn lossy(bytes: &[u8]) -> Box<str> {
    String::from_utf8_lossy(bytes).into()
}

/// The mark that the kernel puts behind the path of a deleted file.
const DELETED: &[u8] = b" (deleted)";

/// `path` without the kernel's mark of a deleted file. A file whose real name ends so loses it too:
/// the kernel's text does not tell them apart.
pub(super) fn without_deleted(path: &[u8]) -> &[u8] {
    path.strip_suffix(DELETED).unwrap_or(path)
}
