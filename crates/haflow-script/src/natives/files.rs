//! `file`.

use crate::calls::call::Call;
use crate::calls::jq;
use crate::calls::options::Options;
use crate::calls::register::Natives;
use crate::calls::task_options::{COMMON, param, script};
use crate::calls::values::{HostHandle, shown, type_word};
use crate::errors::problem::{Problem, Raise};
use crate::natives::tasks::Head;
use haflow_model::{Action, Content, Edit, File, FileState, OwnEdit, Param, SYSTEM_FOLDERS, Value};
use rhai::Dynamic;

const FILE: [&str; 15] = [
    "kind", "name", "params", "content", "edit", "own_edit", "folder", "link", "absent", "mode", "owner", "group",
    "follow", "secret", "validate",
];

/// What says what shall be there: one of these at most.
const STATES: [&str; 6] = ["content", "edit", "own_edit", "folder", "link", "absent"];

pub(crate) fn register(natives: &mut Natives<'_>) {
    natives.add("file", file);
    natives.add("file", |call, [host, path]| file(call, [host, path, Dynamic::UNIT]));
    natives.add("pinned", |_, []| Ok(Dynamic::from(haflow_model::pinned().to_owned())));
}

fn file(call: &Call<'_>, [host, path, options]: [Dynamic; 3]) -> Result<Dynamic, Raise> {
    HostHandle::of(&host, "file")?;
    let mut options = Options::new("file", options, &FILE, &COMMON)?;
    let (path, slash) = absolute(&path)?;
    let name = options.text("name")?.map_or_else(|| path.clone(), Into::into);
    let head = Head::named(&host, "file", Some("file"), &name, &mut options)?;
    let state = state(call, &head, &mut options)?;
    let mode = options.any("mode").map(|given| mode(&options, &given)).transpose()?;
    if mode.is_some() && matches!(state, FileState::Link(_)) {
        return Err(Problem::new("a link has no mode of its own").option("mode").into());
    }
    let secret = options.bool("secret")?.unwrap_or(false);
    let follow = options.bool("follow")?.unwrap_or(false);
    if follow && matches!(state, FileState::Link(_) | FileState::Absent) {
        return Err(Problem::new("a link that shall be there, or shall not, isn't followed").option("follow").into());
    }
    if slash && matches!(state, FileState::Content(_) | FileState::Link(_)) {
        let what = if matches!(state, FileState::Link(_)) { "link" } else { "file" };
        return Err(Problem::new(format!("a {what}'s path doesn't end in `/`, and `{path}/` does")).into());
    }
    if state == FileState::Absent && SYSTEM_FOLDERS.contains(&path.as_str()) {
        return Err(Problem::new(format!("`{path}` belongs to the system and isn't removed")).into());
    }
    let (owner, group) = (options.account("owner")?, options.account("group")?);
    let validate = match options.has("validate") {
        true if !matches!(state, FileState::Content(_)) => {
            return Err(Problem::new("only a file's content can be checked before it is written")
                .option("validate")
                .help("give it with `content`")
                .into());
        }
        true => Some(script(&mut options, "validate")?.into_boxed_str()),
        false => None,
    };
    let file = File { path, state, mode, owner, group, follow, secret, validate };
    if file.state == FileState::Absent && (file.mode.is_some() || file.owner.is_some() || file.group.is_some()) {
        return Err(Problem::new("what shall be absent can't have a mode or an owner").option("absent").into());
    }
    head.declare(call, Action::File(file), options)
}

/// One spelling for one path, without a `/` at its end, and whether it had one.
fn absolute(path: &Dynamic) -> Result<(String, bool), Problem> {
    let Ok(text) = path.as_immutable_string_ref() else {
        return Err(Problem::new(format!("`file` wants the path as a text, not {}", shown(path))));
    };
    if !text.starts_with('/') {
        return Err(
            Problem::new(format!("`{}` isn't an absolute path", *text)).help("a path on a host begins with `/`")
        );
    }
    if text.chars().any(char::is_control) {
        return Err(Problem::new(format!("the path {:?} has a control character", text.as_str()))
            .help("write the path without it: \\n and \\t in quotes are a line break and a tab"));
    }
    let bare = text.trim_end_matches('/');
    if let Some(part) = bare.split('/').skip(1).find(|part| matches!(*part, "" | "." | "..")) {
        let mut parts = Vec::new();
        for part in bare.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        let what = if part.is_empty() { "two `/` in a row".to_owned() } else { format!("a part `{part}`") };
        return Err(Problem::new(format!("the path `{}` has {what}", *text))
            .help(format!("one place, one path: write `/{}` if that is meant", parts.join("/"))));
    }
    Ok(if bare.is_empty() { ("/".into(), false) } else { (bare.into(), bare.len() < text.len()) })
}

fn state(call: &Call<'_>, head: &Head, options: &mut Options) -> Result<FileState, Problem> {
    let folder = options.has("folder") && options.bool("folder")?.unwrap_or(false);
    let absent = options.has("absent") && options.bool("absent")?.unwrap_or(false);
    let given: Vec<&str> = STATES
        .into_iter()
        .filter(|key| match *key {
            "folder" => folder,
            "absent" => absent,
            key => options.has(key),
        })
        .collect();
    if let [first, second, ..] = given.as_slice() {
        return Err(Problem::new(format!("`file` can't have both `{first}` and `{second}`"))
            .option(*second)
            .help(format!("give one of {} at most", STATES.join(", "))));
    }
    Ok(match given.first() {
        Some(&"content") => FileState::Content(Content::Is(content(options)?)),
        Some(&"edit") => {
            let filter = options.text("edit")?;
            let filter = options.need("edit", filter)?;
            jq::check(call, &filter, head.params.keys(), "edit")?;
            FileState::Content(Content::Edit(Edit::Filter(filter.to_string())))
        }
        Some(&"own_edit") => FileState::Content(Content::Edit(Edit::Own(own_edit(head, options)?))),
        Some(&"link") => {
            let target = options.text("link")?;
            let target = options.need("link", target)?;
            if target.is_empty() || target.chars().any(char::is_control) {
                return Err(Problem::new("a link points to a path of one line that isn't empty").option("link"));
            }
            FileState::Link(target.to_string())
        }
        Some(&"folder") => FileState::Folder,
        Some(&"absent") => FileState::Absent,
        _ => FileState::Present,
    })
}

/// One of haflow's own edits, which gets its params from the task's.
fn own_edit(head: &Head, options: &mut Options) -> Result<OwnEdit, Problem> {
    let name = options.text("own_edit")?;
    let name = options.need("own_edit", name)?;
    let known = || OwnEdit::ALL.map(OwnEdit::name).join("`, `");
    let edit = OwnEdit::named(&name).ok_or_else(|| {
        Problem::new(format!("there is no edit `{name}`")).option("own_edit").help(format!("there are `{}`", known()))
    })?;
    match head.params.keys().find(|param| !edit.params().contains(&param.as_str())) {
        None => Ok(edit),
        Some(param) => Err(Problem::new(format!("the edit `{name}` knows no param `{param}`"))
            .option("own_edit")
            .help(format!("it knows `{}`", edit.params().join("`, `")))),
    }
}

fn content(options: &mut Options) -> Result<Param, Problem> {
    let given = options.any("content").unwrap_or_default();
    match param(&given) {
        Ok(Param::Value(Value::String(text))) => Ok(Param::Value(Value::String(text))),
        Ok(given @ (Param::Output(_) | Param::Secret(_))) => Ok(given),
        _ => {
            let problem = options.wrong("content", "a text, an output or a secret", &given);
            Err(match type_word(&given) {
                "a list" | "a map" => {
                    problem.help("`json(value)` makes a text of it; `template` and `render` fill it in")
                }
                _ => problem,
            })
        }
    }
}

fn mode(options: &Options, given: &Dynamic) -> Result<u32, Problem> {
    let mode = match (given.as_int(), given.as_immutable_string_ref()) {
        (Ok(int), _) => u32::try_from(int).ok(),
        (_, Ok(text)) => u32::from_str_radix(text.strip_prefix("0o").unwrap_or(&text), 8).ok(),
        _ => None,
    };
    mode.filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| options.wrong("mode", "permission bits such as \"0644\" or 0o644", given))
}
