//! How large something is once it is written.

use serde::Serialize;
use std::io::{self, Write};

/// How large a value is as JSON, in bytes, without writing it anywhere. What can't be JSON counts as far as
/// it could be written.
pub fn json_size(value: &impl Serialize) -> usize {
    let mut count = Count(0);
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

struct Count(usize);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
