//! Reading whole files, of which the size is looked at first: a sparse file costs nothing on the disk, and
//! all memory here.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A playbook, a module or a template is no larger than this, in bytes.
const LARGEST: u64 = 16 << 20;

/// Reads a file, unless it is too large.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {} MiB", LARGEST >> 20));
    if file.metadata()?.len() > LARGEST {
        return Err(too_large());
    }
    // What isn't a file, such as a pipe, has no size.
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST { Err(too_large()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparse_file_is_not_read() {
        let path = std::env::temp_dir().join(format!("haflow-sparse-{}", std::process::id()));
        File::create(&path).and_then(|file| file.set_len(3 << 30)).expect("there is room");
        let read = read(&path);
        std::fs::remove_file(&path).expect("it is ours");
        assert_eq!(read.unwrap_err().to_string(), "it is larger than 16 MiB");
    }
}
