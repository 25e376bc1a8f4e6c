//! What keeps files from becoming what is wanted, of several files in one script.

use super::Wanted;
use super::seen::FileSeen;
use crate::decide::known::Variables;
use crate::lane::Output;

/// What stands between what is said of two files.
const NEXT: &str = "next file";

impl Wanted<'_> {
    /// The variables of its rehearsal, and what makes bytes of its content.
    fn rehearsed(&self, seen: &FileSeen) -> [(&'static str, String); 7] {
        let (kind, _) = self.kind();
        // What can't be made of it was told by its look.
        let content = self.new_content(seen).ok().flatten();
        [
            ("path", self.file.path.clone()),
            ("kind", kind.into()),
            ("follow", if self.file.follow { "yes" } else { "no" }.into()),
            ("owner", self.file.owner.clone().unwrap_or_default()),
            ("group", self.file.group.clone().unwrap_or_default()),
            ("bytes", content.as_ref().map(|content| content.len().to_string()).unwrap_or_default()),
            ("validate", String::new()),
        ]
    }
}

/// The script that rehearses the files, and its variables.
pub(crate) fn together<'a>(files: impl IntoIterator<Item = (Wanted<'a>, &'a FileSeen)>) -> (String, Variables) {
    let mut text = "file_accounts= file_room_of=\n".to_owned();
    let mut variables = Vec::new();
    for (n, (wanted, seen)) in (1..).zip(files) {
        for (name, value) in wanted.rehearsed(seen) {
            text += &format!("{name}=${name}_{n} ");
            variables.push((format!("{name}_{n}"), value));
        }
        text += &format!("\nfile_rehearse; echo '{NEXT}'\n");
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
