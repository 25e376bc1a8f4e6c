//! Options of Ansible's on the command line: what they are called here.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Options of `ansible-playbook` that haflow hasn't got, and what to do instead.
const ELSEWHERE: [(&[&str], &str); 16] = [
    (&["--check", "-C"], "`haflow plan`, or `haflow run --dry-run`, says what would be done and changes nothing"),
    (&["--diff", "-D"], "leave it out: what differs is always told"),
    (&["--extra-vars"], "here that is `-e NAME=VALUE`, with each command that takes a playbook"),
    (&["--forks", "-f"], "here that is `haflow run --parallel N`"),
    (&["--become", "-b"], "the inventory says it: `become`; or a task, by its option `user`"),
    (&["--become-user"], "the inventory says it: `become = \"…\"`; or a task, by its option `user`"),
    (&["--ask-become-pass", "-K"], "haflow asks for no password: sudo on the hosts must need none"),
    (&["--ask-pass", "-k"], "haflow asks for no password: it logs in by keys"),
    (&["--user", "-u"], "the inventory says who logs in: `user`; or `--hosts root@db1`"),
    (&["--private-key", "--key-file"], "the inventory says it: `key`; or your configuration of ssh"),
    (&["--connection", "-c"], "the inventory says it: `connection`; `--hosts localhost` needs no ssh"),
    (&["--list-hosts"], "`haflow hosts` reaches them, and `haflow plan` says what would be done on each"),
    (&["--list-tasks", "--list-tags"], "`haflow plan` and `haflow graph` tell the tasks"),
    (&["--syntax-check"], "`haflow check PLAYBOOK` checks a playbook and reaches no host"),
    (&["--skip-tags"], "`haflow run --tags` names those that are wanted"),
    (
        &["--start-at-task", "--step"],
        "`haflow resume` goes on with a run; what is as it should be is left alone anyway",
    ),
];

/// What is wrong with the command line; of an option that people know from elsewhere it says what that is
/// here.
pub(super) fn named(mut error: clap::Error) -> clap::Error {
    let unknown = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(unknown))) => unknown.clone(),
        _ => return error,
    };
    // Of `--forks=5` the name.
    let name = unknown.split('=').next().unwrap_or_default();
    if let Some((_, here)) = ELSEWHERE.iter().find(|(names, _)| names.contains(&name)) {
        let told = ContextValue::StyledStrs(vec![StyledStr::from(*here)]);
        error.remove(ContextKind::SuggestedArg);
        // It would name options that clap takes for meant.
        error.remove(ContextKind::Usage);
        error.insert(ContextKind::Suggested, told);
    }
    error
}
