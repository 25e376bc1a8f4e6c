//! Slips of people who come from YAML, Python or the shell: each gets the message that names it.

use crate::errors::problem::Problem;
use crate::place::offset;
use haflow_model::{Diagnostic, Place};
use rhai::{LexError, ParseErrorType};
use std::path::Path;
use std::sync::Arc;

/// What is called otherwise elsewhere (Ansible's modules, shell, Python), and what to write here.
const ELSEWHERE: [(&str, &str); 33] = [
    ("apt", "install(host, \"nginx\")"),
    ("apt_repository", "repository(host, …)"),
    ("assert", "if … { fail(\"why\"); }"),
    ("blockinfile", "block(host, path, marker, text)"),
    ("cmd", "command(host, name, script, #{ … })"),
    ("copy", "file(host, path, #{ content: … }), or template(…) for a file of the playbook's folder"),
    ("cron", "unit_file(host, \"job.timer\", …) and service(host, \"job.timer\")"),
    ("debug", "print(…)"),
    ("dnf", "install(host, \"nginx\")"),
    ("exec", "act(host, #{ name, reason, apply: \"…\" })"),
    ("group_add", "user(host, name, #{ groups: […] })"),
    ("hostname", "host.facts.hostname reads it"),
    ("ini_file", "ini_setting(host, path, section, key, value)"),
    ("lineinfile", "line(host, path, text)"),
    ("mkdir", "folder(host, path)"),
    ("package", "install(host, \"nginx\")"),
    ("pause", "wait_until(host, name, script, wanted)"),
    ("raw", "act(host, #{ name, reason, apply: \"…\" })"),
    (
        "reboot",
        "act(…) with `systemctl reboot` and a gate(…) on /proc/sys/kernel/random/boot_id; there is no function for it yet",
    ),
    ("register", "let output = output_of(host, name, script)"),
    ("replace", "line(host, path, text, #{ matching: … })"),
    ("restart", "restart_if_older(host, unit, path)"),
    ("rm", "absent(host, path)"),
    ("run", "act(host, #{ name, reason, apply: \"…\" })"),
    ("script", "act(host, #{ name, reason, apply: \"…\" })"),
    ("set_fact", "let name = …"),
    ("shell", "command(host, name, script, #{ … }), or act(host, #{ name, reason, apply })"),
    ("stat", "read(host, #{ name, probe })"),
    ("symlink", "link(host, path, target)"),
    ("systemd", "service(host, \"nginx\")"),
    ("uri", "wait_until(host, name, \"curl …\", wanted)"),
    ("wait_for", "wait_until(host, name, script, wanted)"),
    ("yum", "install(host, \"nginx\")"),
];

/// What options are called elsewhere (Ansible's modules and tasks), the option that is meant, if one is, and
/// what to write here.
const OPTIONS: [(&str, &str, &str); 28] = [
    (
        "become",
        "user",
        "`user: \"root\"` says as whom a task runs; `become` in the inventory says it of all tasks of a host",
    ),
    ("become_user", "user", "here that is `user`"),
    ("changed_when", "", "a task changed where its apply ran: `unless` of `command` says whether it has to"),
    ("cmd", "", "a script is an argument: command(host, name, script, #{ … })"),
    ("delay", "backoff", "here that is `backoff`, with `retries`; a gate has `every`"),
    ("delegate_to", "", "a task's host is its first argument: name that host there"),
    ("dest", "", "the path is an argument, as in file(host, path, #{ … })"),
    ("failed_when", "", "a script fails by its exit code: let it end with `exit 1`"),
    ("ignore_errors", "", "a failed task stops what depends on it, and nothing else; a script may end with `|| :`"),
    ("insertafter", "below", "here that is `below`"),
    ("insertbefore", "above", "here that is `above`"),
    ("listen", "on", "a task with `on: other` acts only if the task `other` changed"),
    ("loop", "", "go through a list: for x in [\"a\", \"b\"] { … }"),
    ("no_log", "secret", "here that is `secret: true`; a value of secret(\"…\") is never shown"),
    ("notify", "", "what shall follow a change has `on: task`, or see restart_if_older(host, unit, path)"),
    ("path", "", "the path is an argument, as in file(host, path, #{ … })"),
    ("recurse", "", "one task is one path: go through a list of them, or use command(…)"),
    ("regex", "matching", "here that is `matching`"),
    ("regexp", "matching", "here that is `matching`"),
    ("register", "", "let output = output_of(host, name, script)"),
    ("remote_user", "user", "`user` says as whom a task runs; who logs in is said by the inventory"),
    ("requires", "after", "here that is `after`"),
    ("src", "", "a file of the playbook's folder is read by template(…): file(host, path, #{ content: template(…) })"),
    ("state", "running", "here that is `running: true` or `false`, and `enabled`"),
    ("state", "absent", "there is no `state`: what is declared is there, unless it has `absent: true`"),
    (
        "sudo",
        "user",
        "`user: \"root\"` says as whom a task runs; `become` in the inventory says it of all tasks of a host",
    ),
    ("until", "", "wait_until(host, name, script, wanted) waits; `retries` tries again"),
    ("with_items", "", "go through a list: for x in [\"a\", \"b\"] { … }"),
];

/// What to write here for an option that is called otherwise elsewhere.
pub(crate) fn option(key: &str, known: &[&str]) -> Option<&'static str> {
    let fits = |here: &str| here.is_empty() || known.contains(&here);
    OPTIONS.iter().find(|(elsewhere, here, _)| *elsewhere == key && fits(here)).map(|(.., help)| *help)
}

/// What a text stands for where a bool is wanted.
pub(crate) fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" => Some(true),
        "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// What is wrong with a playbook in YAML, if this is one.
pub(crate) fn yaml(playbook: &Path, name: &Arc<str>, text: &str) -> Option<Diagnostic> {
    let blank = |line: &&str| line.trim().is_empty() || line.starts_with('#') && !line.starts_with("#{");
    let at = text.lines().take_while(blank).count();
    let first = text.lines().nth(at).unwrap_or_default();
    let item = first.strip_prefix("- ").and_then(|rest| rest.split_once(':')).map(|(key, _)| key.trim());
    let key = item.is_some_and(|key| !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "_.-".contains(c)));
    if !(is_yaml(playbook) || first.trim_end() == "---" || key) {
        return None;
    }
    let line = if first.is_empty() { 1 } else { u32::try_from(at + 1).unwrap_or(1) };
    Some(
        Diagnostic::new(format!("`{name}` is YAML, and haflow's playbooks are Rhai"))
            .at(Place::new(name.clone(), line, 1), "")
            .help(IN_RHAI)
            .source(name.clone(), text),
    )
}

/// Where somebody begins who has a playbook in YAML.
pub(crate) const IN_RHAI: &str = "write it anew in a file that ends in .rhai, as docs/playbook-guide.md shows; \
     `haflow docs` lists the functions; an inventory in YAML is fine as it is (`-i`)";

/// Whether a file's name is that of YAML.
pub(crate) fn is_yaml(file: &Path) -> bool {
    file.extension().is_some_and(|end| end.eq_ignore_ascii_case("yml") || end.eq_ignore_ascii_case("yaml"))
}

/// What a function of that name is called here, if people know it by that name from elsewhere (Ansible,
/// shell, Python).
pub fn function(name: &str) -> Option<String> {
    let (_, here) = ELSEWHERE.iter().find(|(elsewhere, _)| *elsewhere == name)?;
    Some(format!("here that is {here}"))
}

/// What an error of the parser means where the text shows a slip.
pub(crate) fn syntax(error: &ParseErrorType, text: &str, place: &Place) -> Option<Problem> {
    let at = offset(text, place)?;
    let rest = &text[at..];
    let before = text[..at].trim_end();
    match error {
        ParseErrorType::BadInput(LexError::MalformedChar(inside)) => {
            Some(Problem::new(format!("'{inside}' is no text")).help(format!("texts take double quotes: \"{inside}\"")))
        }
        ParseErrorType::MissingToken(..) if is_word(rest, "and") => {
            Some(Problem::new("there is no `and`").help("write `&&` for both, `||` for either, `!` for not"))
        }
        ParseErrorType::MissingToken(..) if is_word(rest, "or") => {
            Some(Problem::new("there is no `or`").help("write `||` for either, `&&` for both, `!` for not"))
        }
        ParseErrorType::MissingToken(..) if before.ends_with("\\`") => Some(
            Problem::new("a backtick can't be written between backticks")
                .help("write the text as #\"…\"#, in which quotes and backticks are as they are"),
        ),
        // What comes before the colon is a key.
        ParseErrorType::MissingToken(..) if rest.starts_with(':') && after_brace(before) => Some(a_map()),
        ParseErrorType::VariableUndefined(name) => variable(name, rest, before),
        ParseErrorType::Reserved(word) if matches!(word.as_str(), "null" | "nil" | "void") => Some(no_value(word)),
        ParseErrorType::Reserved(word) => {
            let problem = Problem::new(format!("`{word}` is a word that rhai keeps for itself"));
            function(word).map(|help| problem.help(help))
        }
        _ => None,
    }
}

/// What an unknown variable means where the text shows a slip.
fn variable(name: &str, rest: &str, before: &str) -> Option<Problem> {
    let behind = rest.strip_prefix(name)?.trim_start();
    match name {
        "True" | "False" | "TRUE" | "FALSE" => {
            let right = name.to_lowercase();
            Some(Problem::new(format!("there is no `{name}`")).help(format!("write `{right}`")))
        }
        "yes" | "no" | "off" | "on" | "Yes" | "No" => {
            let right = truth(name).unwrap_or_default();
            Some(Problem::new(format!("there is no `{name}`")).help(format!("write `{right}`")))
        }
        "None" | "undefined" | "nil" | "null" => Some(no_value(name)),
        "elif" | "elsif" | "elseif" => Some(Problem::new(format!("there is no `{name}`")).help("write `else if`")),
        "not" => Some(Problem::new("there is no `not`").help("write `!` for it, as in `!found`")),
        _ if behind.starts_with(':') && !behind.starts_with("::") && after_brace(before) => Some(a_map()),
        _ if before.ends_with(&format!("for {name} in")) => Some(
            Problem::new(format!("`{name}` is what the loop itself defines"))
                .help(format!("go through a list: for {name} in group(\"…\"), or for {name} in hosts()")),
        ),
        _ if is_word(behind, "or") || is_word(behind, "and") => Some(
            Problem::new(format!("there is no variable `{name}`, and no `and` or `or`")).help("write `&&` and `||`"),
        ),
        _ => None,
    }
}

fn a_map() -> Problem {
    Problem::new("a map begins with `#{`").help("write #{ key: value }; `{ … }` is a block of statements")
}

fn no_value(word: &str) -> Problem {
    Problem::new(format!("there is no `{word}`")).help("no value is written `()`")
}

fn is_word(text: &str, word: &str) -> bool {
    let behind = text.strip_prefix(word);
    behind.is_some_and(|behind| !behind.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// Whether a brace that isn't a map's has just been opened, before a key at most.
fn after_brace(before: &str) -> bool {
    let before = before.strip_suffix('"').map_or(before, |key| key.rsplit_once('"').map_or(key, |(before, _)| before));
    let before = before.trim_end();
    before.ends_with('{') && !before.ends_with("#{")
}
