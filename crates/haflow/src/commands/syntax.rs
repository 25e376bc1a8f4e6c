//! Whether the scripts that a playbook sends to its hosts are shell.

use crate::error::Error;
use haflow_model::{Diagnostic, Graph, Sources};
use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

/// Has `sh -n` of this machine read each script. Where there is no `sh`, or it can't be asked, nothing is
/// said.
pub(super) fn check(graph: &Graph, sources: &Sources) -> Result<(), Error> {
    let mut read: BTreeSet<&str> = BTreeSet::new();
    for (_, task) in graph.tasks() {
        for (option, script) in task.action.scripts() {
            if !read.insert(script) {
                continue;
            }
            let Some(said) = complaint(script) else { continue };
            let mut wrong = Diagnostic::new(format!("`{option}` of `{}` is no shell script: {said}", task.id()))
                .at(task.place.clone(), "");
            if let Some(inner) = &task.declared_in {
                wrong = wrong.at(inner.clone(), "it is made here");
            }
            for label in wrong.labels.clone() {
                if let Some((file, text)) = sources.get_key_value(&label.place.file) {
                    wrong = wrong.source(file.clone(), text.clone());
                }
            }
            return Err(wrong
                .help(format!(
                    "the script's own lines are counted from 1; it begins: {}",
                    script.trim_start().lines().next().unwrap_or_default()
                ))
                .into());
        }
    }
    Ok(())
}

/// What `sh -n` has against a script.
fn complaint(script: &str) -> Option<String> {
    let mut sh = Command::new("sh");
    let mut sh = sh.arg("-n").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
    let mut stdin = sh.stdin.take()?;
    let text = script.to_owned();
    // It may end before it has read all of it.
    let writer = std::thread::spawn(move || drop(stdin.write_all(text.as_bytes())));
    let output = sh.wait_with_output().ok()?;
    let _ = writer.join();
    if output.status.success() {
        return None;
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().next().unwrap_or("sh -n doesn't say why").trim();
    Some(first.trim_start_matches("sh: ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::complaint;

    #[test]
    fn what_sh_cannot_read_is_said() {
        assert_eq!(complaint("if true; then echo; fi\n"), None);
        assert_eq!(complaint(&"echo a\n".repeat(100_000)), None);
        for script in ["echo $(", "if true; then", "case x in", "a() { b"] {
            assert!(
                complaint(script).is_some_and(|said| said.contains("yntax error") || said.contains("unexpected")),
                "{script}"
            );
        }
    }
}
