//! New files that come into one folder together: for all of them one `sync`, one `mv` and one `stat` on the
//! host instead of one each.

use super::seen::{FileSeen, Kind};
use super::{Wanted, compared};
use crate::decide::known::{Known, Variables};
use crate::lane::Output;
use haflow_model::{Content, File, FileState, Value};
use std::fmt::Write as _;

/// What `chain.sh` prints where it isn't that simple.
const APART: &[u8] = b"apart\n";

/// The longest content of a file in a chain, in bytes.
const LONGEST: usize = 64 << 10;

/// A file that can come into its folder with others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewFile<'a> {
    file: &'a File,
    content: &'a Known,
}

impl<'a> NewFile<'a> {
    /// What is wanted, if it is a new file whose path and content are plain.
    pub(crate) fn of(wanted: Wanted<'a>, seen: &FileSeen) -> Option<Self> {
        let (file, content) = (wanted.file, wanted.content?);
        let is_whole = matches!(file.state, FileState::Content(Content::Is(_)));
        let (folder, name) = file.path.rsplit_once('/')?;
        let mut parts = folder.split('/').skip(1).chain([name]);
        // Where the path is spelt otherwise, another one may be the same folder's.
        let is_plain = folder.starts_with('/') && !parts.any(|part| matches!(part, "" | "." | ".."));
        let is_short = |text: &str| text.len() <= LONGEST && !text.contains('\0');
        let fits = match content {
            Known::Plain(Value::String(text)) => is_short(text),
            Known::Plain(_) => false,
            Known::Secret(secret) => is_short(secret.expose()),
        };
        let new = is_whole && seen.kind == Kind::Absent && !file.follow && file.validate.is_none();
        (new && is_plain && fits).then_some(Self { file, content })
    }

    /// Whether both can come together, which goes for all that one of them can come with.
    pub(crate) fn goes_with(&self, other: &Self) -> bool {
        let place = |file: &'a File| {
            let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            (folder, &file.owner, &file.group, file.mode)
        };
        place(self.file) == place(other.file)
    }

    pub(crate) fn path(&self) -> &'a str {
        &self.file.path
    }
}

/// The script that brings the files, which all go with one another, into their folder and shows each; and its
/// variables.
pub(crate) fn together(files: &[NewFile<'_>]) -> (String, Variables) {
    let mut text = "file_chain_begin\nset --\n".to_owned();
    let first = files[0].file;
    let mut variables = vec![
        ("owner".to_owned(), first.owner.clone().unwrap_or_default()),
        ("group".to_owned(), first.group.clone().unwrap_or_default()),
        ("mode".to_owned(), first.mode.map(|mode| format!("{mode:o}")).unwrap_or_default()),
    ];
    let mut shown = "file_chain_end \"$@\"\nfile_chain_see \"$@\"\nset +eu\nkind=file show=digest most=0\n".to_owned();
    for (n, file) in (1..).zip(files) {
        let content = file.content.variable();
        let (digest, short) = compared(&content);
        let of_file = [("path", file.file.path.clone()), ("digest", digest), ("short", short), ("wanted", content)];
        variables.extend(of_file.map(|(name, value)| (format!("{name}_{n}"), value)));
        let _ = writeln!(text, "path=$path_{n} wanted=$wanted_{n}; file_chain_put; set -- \"$@\" \"$stage/$pin_name\"");
        let _ = writeln!(shown, "path=$path_{n} content=$wanted_{n} digest=$digest_{n} short=$short_{n}");
        shown += "file_chain_show \"${files%%\"$pin_newline\"*}\"; files=${files#*\"$pin_newline\"}\n";
    }
    (text + &shown, Variables(variables))
}

/// What came of an attempt to bring files in together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Came<T> {
    /// They came: what each shows.
    Together(Vec<T>),
    /// Nothing was changed.
    Apart,
    /// Some may be there, each of them whole.
    Unknown,
}

/// What came of so many files.
pub(crate) fn came(output: &Output, count: usize) -> Came<Output> {
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
