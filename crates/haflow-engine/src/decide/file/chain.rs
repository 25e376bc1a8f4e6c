//! New files that come into one folder together: for all of them one `sync`, one `mv` and one `stat` on the host
//! instead of one each.

use super::seen::{FileSeen, Kind};
use super::{SHORT, Wanted};
use crate::decide::digest::sha256;
use crate::decide::known::Variables;
use crate::lane::Output;
use haflow_model::{Content, FileState};
use std::fmt::Write as _;
use zeroize::Zeroizing;

/// What `chain.sh` prints where it isn't that simple.
const APART: &[u8] = b"apart\n";

/// The longest content of a file in a chain, in bytes.
const LONGEST: usize = 64 << 10;

/// A file that can come into its folder with others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewFile<'a> {
    wanted: Wanted<'a>,
    folder: &'a str,
}

impl<'a> NewFile<'a> {
    /// What is wanted, if it is a new file whose path and content are plain.
    pub(crate) fn of(wanted: Wanted<'a>, seen: &FileSeen) -> Option<Self> {
        let file = wanted.file;
        let is_whole = matches!(file.state, FileState::Content(Content::Is(_)));
        if !is_whole || seen.kind != Kind::Absent || file.follow {
            return None;
        }
        let (folder, name) = file.path.rsplit_once('/')?;
        let mut parts = folder.split('/').skip(1).chain([name]);
        // Where the path is spelt otherwise, another one may be the same folder's.
        if !folder.starts_with('/') || parts.any(|part| part.is_empty() || part == "." || part == "..") {
            return None;
        }
        let content = Zeroizing::new(wanted.content?.variable());
        (content.len() <= LONGEST && !content.contains('\0')).then_some(Self { wanted, folder })
    }

    /// Whether both can come together.
    pub(crate) fn goes_with(&self, other: &Self) -> bool {
        let of = |file: &Self| {
            let wanted = file.wanted.file;
            (file.folder.to_owned(), wanted.owner.clone(), wanted.group.clone(), wanted.mode)
        };
        of(self) == of(other) && self.wanted.file.path != other.wanted.file.path
    }
}

/// The script that brings the files, which all go with one another, into their folder and shows each; and its
/// variables.
pub(crate) fn together(files: &[NewFile<'_>]) -> (String, Variables) {
    let mut text = "file_chain_begin\nset --\n".to_owned();
    let first = files[0].wanted.file;
    let mut variables = vec![
        ("owner".to_owned(), first.owner.clone().unwrap_or_default()),
        ("group".to_owned(), first.group.clone().unwrap_or_default()),
        ("mode".to_owned(), first.mode.map(|mode| format!("{mode:o}")).unwrap_or_default()),
    ];
    let mut shown = "file_chain_end \"$@\"\nfile_chain_see \"$@\"\nset +eu\nkind=file show=digest most=0\n".to_owned();
    for (n, file) in (1..).zip(files) {
        let content = file.wanted.content.expect("a new file has a content").variable();
        let short = if content.len() <= SHORT { content.len().to_string() } else { String::new() };
        let digest = sha256(content.as_bytes());
        let of_file =
            [("path", file.wanted.file.path.clone()), ("digest", digest), ("short", short), ("wanted", content)];
        variables.extend(of_file.map(|(name, value)| (format!("{name}_{n}"), value)));
        let _ = writeln!(text, "path=$path_{n} wanted=$wanted_{n}; file_chain_put; set -- \"$@\" \"$stage/$pin_name\"");
        let _ = writeln!(shown, "path=$path_{n} content=$wanted_{n} digest=$digest_{n} short=$short_{n}");
        shown += "file_chain_show \"${files%%\"$pin_newline\"*}\"; files=${files#*\"$pin_newline\"}\n";
    }
    (text + &shown, Variables(variables))
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// They came together: what was shown of each.
    Together(Vec<Output>),
    /// Nothing was changed.
    Apart,
    /// Some may be there, each of them whole.
    Unknown,
}

/// What came of so many files.
pub(crate) fn came(output: &Output, count: usize) -> Came {
    if output.exit == 0 && output.stdout == APART {
        return Came::Apart;
    }
    let lines: Vec<&[u8]> = output.stdout.split_inclusive(|byte| *byte == b'\n').collect();
    if output.exit != 0 || lines.len() != 2 * count {
        return Came::Unknown;
    }
    let one = |lines: &[&[u8]]| Output { exit: 0, stdout: lines.concat(), stderr: output.stderr.clone() };
    Came::Together(lines.chunks(2).map(one).collect())
}
