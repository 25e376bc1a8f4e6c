//! What a rehearsal found: from what it printed to reasons why an apply would fail.

use crate::cut::{self, tail};
use crate::decide::failure::{TAIL, failed};
use crate::lane::Output;
use haflow_model::{Failure, Thing, Things, without_comments};
use std::sync::LazyLock;

/// The shell functions by which a rehearsal says it, on one line.
pub(crate) static WORDS: LazyLock<String> =
    LazyLock::new(|| without_comments(include_str!("rehearsed.sh")).replace('\n', " "));

/// More reasons than these are of no use to anybody.
const MOST: usize = 8;

/// What a rehearsal found.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Rehearsed {
    /// Why the apply would fail; none where nothing stands in its way.
    pub(crate) findings: Vec<Finding>,
    /// Why it can't be told whether the apply would fail.
    pub(crate) unsure: Option<String>,
    /// What will be there once the apply has ended well.
    pub(crate) brings: Vec<Thing>,
    /// What the apply touches as things are now, where that is less than the task says.
    pub(crate) touches: Option<Things>,
}

/// One reason why an apply would fail.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finding {
    /// What isn't there, where that is all: a task that brings it mends this.
    pub(crate) lacks: Option<Thing>,
    /// What it was read from; a change of that may mend this.
    pub(crate) reads: Things,
    /// What was seen, and what to do.
    pub(crate) failure: Failure,
}

impl Rehearsed {
    /// What is kept of it, without what `redact` takes out of a failure; `None` where it says nothing.
    pub(crate) fn kept(mut self, redact: impl Fn(Failure) -> Failure) -> Option<Self> {
        if self.findings.len() > MOST {
            self.findings.truncate(MOST);
            self.unsure.get_or_insert_with(|| format!("it names more than {MOST} reasons"));
        }
        for finding in &mut self.findings {
            let failure = redact(std::mem::take(&mut finding.failure));
            let message = cut::beginning(&failure.message, cut::MOST_SAID);
            let hint = failure.hint.as_deref().map(|hint| cut::beginning(hint, cut::MOST_SAID));
            finding.failure = Failure { message, hint, ..failure };
        }
        self.unsure = self.unsure.map(|message| {
            let failure = redact(Failure { message, ..Failure::default() });
            cut::beginning(&failure.message, cut::MOST_SAID)
        });
        (self != Self::default()).then_some(self)
    }
}

/// Reads what a rehearsal printed, a line each:
///
/// - `lacks THING` and `fails WORDS` are reasons. Behind a reason, `says WORDS` says it in other words, `hint
///   WORDS` what to do, `shows WORDS` a line of what a program said, and `reads THING` what it was read from
///   besides `reads`.
/// - `unsure WORDS` says why it can't be told whether it would fail, `brings THING` what it will bring, and
///   `touches THING` what it touches, and that it touches nothing else.
///
/// Other lines are of no matter. Where there is no reason and it doesn't end with 0, its last words are it.
pub(crate) fn rehearsed(output: &Output, reads: &Things) -> Rehearsed {
    let mut found = Rehearsed::default();
    let text = String::from_utf8_lossy(&output.stdout);
    for line in text.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let thing = || Thing::try_from(rest.to_owned());
        let finding = |lacks, message: String| Finding {
            lacks,
            reads: reads.clone(),
            failure: Failure { message, ..Failure::default() },
        };
        // It needn't say why.
        let words =
            |words: String| if rest.is_empty() { "its rehearsal says that it would fail".into() } else { words };
        match (word, found.findings.last_mut()) {
            ("brings", _) => found.brings.extend(thing()),
            // What can't be told by its name may be anything.
            ("touches", _) => {
                let touches = found.touches.get_or_insert_with(|| Things::these([]));
                touches.extend([thing().unwrap_or(Thing::EVERYTHING)]);
            }
            ("lacks", _) => found.findings.push(finding(thing().ok(), words(format!("there is no {rest}")))),
            ("fails", _) => found.findings.push(finding(None, words(rest.into()))),
            ("unsure", _) => found.unsure = Some(rest.into()),
            ("says", Some(last)) => last.failure.message = rest.into(),
            ("hint", Some(last)) => last.failure.hint = Some(rest.into()),
            ("shows", Some(last)) => {
                last.failure.stderr += rest;
                last.failure.stderr.push('\n');
            }
            ("reads", Some(last)) => last.reads.extend(thing()),
            _ => {}
        }
    }
    for finding in &mut found.findings {
        finding.failure.stderr = tail(finding.failure.stderr.as_bytes(), TAIL);
    }
    if found.findings.is_empty() && output.exit != 0 {
        let mut failure = failed("", output);
        let words = [&failure.stderr, &failure.stdout];
        let last = words.into_iter().find_map(|words| words.lines().rev().find(|line| !line.trim().is_empty()));
        let last = last.map(|last| last.trim().trim_start_matches("haflow: ").to_owned());
        if is_broken(output) {
            let words = last.map_or(String::new(), |last| format!(": {last}"));
            found.unsure = Some(format!("its rehearsal can't be run{words}"));
            return found;
        }
        // It says it by a refusal, or its last words are the reason.
        if failure.message.is_empty() {
            failure.message = last
                .unwrap_or_else(|| format!("its rehearsal ended with exit code {}, and says no reason", output.exit));
        }
        found.findings.push(Finding { lacks: None, reads: reads.clone(), failure });
    }
    found
}

/// Whether it is the script itself that is wrong: no such program, or none that can be run (POSIX shell,
/// 2.8.2), or the shell doesn't take its text.
fn is_broken(output: &Output) -> bool {
    let syntax = || String::from_utf8_lossy(&output.stderr).to_lowercase().contains("syntax error");
    matches!(output.exit, 126 | 127) || output.exit == 2 && syntax()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(exit: i32, stdout: &str, stderr: &str) -> Rehearsed {
        rehearsed(&Output { exit, stdout: stdout.into(), stderr: stderr.into() }, &Things::these([]))
    }

    #[test]
    fn a_line_is_a_reason() {
        let found = said(0, "noise\nlacks user:bob\nsays no bob\nhint make one\nfails no room\nreads file:/\n", "");
        let [lacks, fails] = &found.findings[..] else { panic!("{found:?}") };
        assert_eq!(lacks.lacks.as_ref().map(Thing::as_str), Some("user:bob"));
        assert_eq!(lacks.failure.message, "no bob");
        assert_eq!(lacks.failure.hint.as_deref(), Some("make one"));
        assert_eq!((fails.failure.message.as_str(), fails.reads.named().count()), ("no room", 1));
    }

    #[test]
    fn without_a_line_the_last_words_are_the_reason() {
        let found = said(1, "brings service:nginx\n", "checking\nnginx: unknown directive\n\n");
        assert_eq!(found.findings[0].failure.message, "nginx: unknown directive");
        assert_eq!(said(0, "fails \n", "").findings[0].failure.message, "its rehearsal says that it would fail");
        let refused = said(77, "", "haflow: no\nhint: do\n");
        assert_eq!(refused.findings[0].failure.message, "no");
        assert_eq!(refused.findings[0].failure.hint.as_deref(), Some("do"));
        let silent = &said(3, "", "").findings[0].failure;
        assert_eq!((silent.exit, silent.message.contains("says no reason")), (Some(3), true));
    }

    #[test]
    fn a_script_that_is_wrong_says_nothing_of_the_apply() {
        for (exit, stderr) in
            [(127, "sh: 1: cheker: not found"), (2, "/dev/fd/3: 1: Syntax error: \"then\" unexpected")]
        {
            let found = said(exit, "", stderr);
            assert!(found.findings.is_empty() && found.unsure.expect("it is told").contains(stderr), "{stderr}");
        }
        assert_eq!(said(2, "", "grep: /srv: Is a directory").findings.len(), 1);
    }

    #[test]
    fn what_an_apply_touches_may_be_less_than_the_task_says() {
        assert_eq!(said(0, "", "").touches, None);
        let these = |output: &str| said(0, output, "").touches.expect("some");
        assert_eq!(these("touches user:a\ntouches file:/h/a\n").named().count(), 2);
        assert!(these("touches user:a\ntouches file:nowhere\n").everything());
    }

    #[test]
    fn what_ends_well_and_says_nothing_finds_nothing() {
        let found = said(0, "brings service:nginx\nbrings nonsense thing\nhint none\n", "a warning\n");
        assert_eq!((found.findings.len(), found.brings.len()), (0, 1));
    }
}
