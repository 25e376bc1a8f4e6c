//! What keeps files from becoming what is wanted, of several files in one script.

use super::seen::FileSeen;
use super::{WRITE, Wanted, printable};
use crate::decide::known::Variables;
use crate::lane::Output;
use std::fmt::Write as _;

/// What stands between what is said of two files.
const NEXT: &str = "next file";

/// The script that rehearses the files, and its variables.
pub(crate) fn together<'a>(files: impl IntoIterator<Item = (Wanted<'a>, &'a FileSeen)>) -> (String, Variables) {
    let mut text = "file_accounts= file_room_of= file_uid= file_gone=\n".to_owned();
    let mut variables = Vec::new();
    for (n, (wanted, seen)) in (1..).zip(files) {
        let file = wanted.file;
        // What can't be made of it was told by its look.
        let content = wanted.new_content(seen).ok().flatten();
        let bytes = content.as_ref().map(|content| content.len().to_string()).unwrap_or_default();
        let validate = file.validate.as_deref().filter(|_| content.is_some()).unwrap_or_default();
        let (form, content) = match &content {
            Some(content) if !validate.is_empty() => printable(content),
            _ => (WRITE.to_owned(), String::new()),
        };
        for (name, value) in [
            ("path", file.path.clone()),
            ("kind", wanted.kind().0.into()),
            ("follow", if file.follow { "yes" } else { "no" }.into()),
            ("owner", file.owner.clone().unwrap_or_default()),
            ("group", file.group.clone().unwrap_or_default()),
            ("bytes", bytes),
            ("validate", validate.into()),
            ("wanted", content),
            ("secret", wanted.is_secret()),
        ] {
            let _ = write!(text, "{name}=${name}_{n} ");
            variables.push((format!("{name}_{n}"), value));
        }
        let _ = writeln!(text, "\n{}", form.replace(WRITE, &format!("file_rehearse; echo '{NEXT}'")));
    }
    (text, Variables(variables))
}

/// What is said of each of so many files.
pub(crate) fn apart(output: &Output, count: usize) -> Vec<Output> {
    let text = String::from_utf8_lossy(&output.stdout);
    let next = format!("{NEXT}\n");
    let said = text.split(next.as_str()).chain(std::iter::repeat("")).take(count);
    said.map(|said| Output { exit: 0, stdout: said.into(), stderr: Vec::new() }).collect()
}
