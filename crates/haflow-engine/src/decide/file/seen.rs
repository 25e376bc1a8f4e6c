//! What is at a path, as the probe prints it.

use crate::decide::digest::sha256;
use crate::decide::failure::failed;
use crate::lane::Output;
use haflow_model::{Change, Failure};
use std::sync::Arc;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct FileSeen {
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) owner: String,
    pub(super) group: String,
    pub(super) uid: String,
    pub(super) gid: String,
    pub(super) size: u64,
    /// A link's target, or the SHA-256 of a file's content in hex.
    pub(super) detail: String,
    /// Whether others may write where it is: no link is followed there, and what is there may be another's.
    pub(super) loose: bool,
    /// The content, where the probe was asked for it.
    pub(super) content: Option<Vec<u8>>,
    /// What the task's edit makes of it, once that has been made.
    pub(super) edited: Option<Box<Result<Option<Edited>, Failure>>>,
}

/// A content that an edit has made.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Edited {
    pub(super) content: Arc<Vec<u8>>,
    /// Whether it is what is there.
    pub(super) same: bool,
    /// How what is there differs from it.
    pub(super) changes: Vec<Change>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    #[default]
    Absent,
    File,
    Folder,
    Link,
    Other,
}

impl Kind {
    /// The word that the probe prints.
    fn word(self) -> &'static str {
        match self {
            Self::Other => "other",
            kind => kind.as_str(),
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::File => "file",
            Self::Folder => "folder",
            Self::Link => "link",
            Self::Other => "device, pipe or socket",
        }
    }
}

impl FileSeen {
    /// As the probe prints it, without the content.
    pub(crate) fn line(&self) -> String {
        self.line_of(self.size, self.loose)
    }

    /// The same without what may be another in the same state: the size, where the content is of no matter (a
    /// log grows), and who may write where it is, which only a link's meaning hangs on.
    pub(crate) fn state(&self) -> String {
        let size = if self.detail == "-" { 0 } else { self.size };
        self.line_of(size, self.loose && self.kind == Kind::Link)
    }

    fn line_of(&self, size: u64, loose: bool) -> String {
        let Self { kind, mode, owner, group, uid, gid, detail, .. } = self;
        match kind {
            Kind::Absent => "absent\n-".into(),
            kind => {
                let loose = if loose { "loose-" } else { "" };
                format!("{loose}{} {mode:o} {uid} {gid} {size} {owner}:{group}\n{detail}", kind.word())
            }
        }
    }
}

/// What the probe printed.
pub(crate) fn parse(output: &Output) -> Result<FileSeen, Failure> {
    if output.exit != 0 {
        return Err(failed(format!("the probe exited {}", output.exit), output));
    }
    let odd = || failed("the probe of the path printed something else than expected", output);
    let mut lines = output.stdout.splitn(3, |byte| *byte == b'\n');
    let mut line = || lines.next().and_then(|line| std::str::from_utf8(line).ok());
    // Names may have blanks.
    let words: Vec<&str> = line().ok_or_else(odd)?.splitn(6, ' ').collect();
    let detail = line().ok_or_else(odd)?.to_owned();
    let (loose, word) = match words[0].strip_prefix("loose-") {
        Some(word) => (true, word),
        None => (false, words[0]),
    };
    let kind = match word {
        "absent" => return Ok(FileSeen::default()),
        "file" => Kind::File,
        "folder" => Kind::Folder,
        "link" => Kind::Link,
        "other" => Kind::Other,
        _ => return Err(odd()),
    };
    let [_, mode, uid, gid, size, names] = words[..] else { return Err(odd()) };
    let (owner, group) = names.split_once(':').ok_or_else(odd)?;
    let size = size.parse().map_err(|_| odd())?;
    let rest = lines.next().unwrap_or_default();
    // In a folder that others may write, it can be another file than the one whose digest was taken.
    let whole = kind == Kind::File && rest.len() as u64 == size && (detail == "-" || sha256(rest) == detail);
    Ok(FileSeen {
        kind,
        mode: u32::from_str_radix(mode, 8).map_err(|_| odd())?,
        owner: owner.to_owned(),
        group: group.to_owned(),
        uid: uid.to_owned(),
        gid: gid.to_owned(),
        size,
        detail,
        loose,
        content: whole.then(|| rest.to_vec()),
        edited: None,
    })
}
