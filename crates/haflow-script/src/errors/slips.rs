//! Slips of people who come from YAML, Python or the shell: each gets the message that names it.

use crate::errors::problem::Problem;
use crate::place::offset;
use haflow_model::Place;
use rhai::{LexError, ParseErrorType};

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

/// What a function of that name is called here, if people know it by that name from elsewhere.
pub(crate) fn function(name: &str) -> Option<String> {
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
