use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A place in a file that a person wrote: a playbook, a module, an inventory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// The file as it was named, for example `playbooks/rabbit-ha.rhai` or `stdlib/services.rhai`.
    pub file: Arc<str>,
    /// Counted from 1; 0 where the line isn't known.
    pub line: u32,
    /// Counted from 1, in characters; 0 where the column isn't known.
    pub column: u32,
}

impl Place {
    /// A place in `file`, both counted from 1.
    pub fn new(file: impl Into<Arc<str>>, line: u32, column: u32) -> Self {
        Self { file: file.into(), line, column }
    }

    /// The whole of `file`, where no line is known.
    pub fn file(file: impl Into<Arc<str>>) -> Self {
        Self::new(file, 0, 0)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
            if self.column > 0 {
                write!(f, ":{}", self.column)?;
            }
        }
        Ok(())
    }
}
