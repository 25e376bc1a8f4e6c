//! Texts that tests compare with. `UPDATE_GOLDEN=1 cargo test -p haflow` writes them anew.

use std::path::Path;

/// Fails where a file's text isn't the one that came out.
pub(crate) fn compare(file: &Path, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(file, text).expect("the case can be written");
    }
    let expected = std::fs::read_to_string(file).unwrap_or_default();
    assert!(expected == text, "{} differs; UPDATE_GOLDEN=1 writes it anew. It is now:\n{text}", file.display());
}
