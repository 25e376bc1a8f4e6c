//! The file action: what is at a path, how it differs from what is wanted, and the scripts in between.

mod attributes;
pub(crate) mod chain;
mod content;
pub(crate) mod edit;
pub(crate) mod rehearse;
pub(crate) mod seen;
mod settings;
pub(crate) mod text;

use crate::cut::beginning;
use crate::decide::digest::{sha256, short};
use crate::decide::file::seen::{Edited, FileSeen, Kind};
use crate::decide::known::{Known, Variables};
use crate::decide::rehearsed::WORDS;
use crate::filters::jq::{self, Input, Yield};
use crate::filters::{Running, off_task};
use haflow_model::{Change, Content, Decision, Diff, Edit, Failure, File, FileState, Value, pinned, without_comments};
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};
use zeroize::Zeroizing;

/// The functions that the scripts below call: a lane is taught them once. `file_look` prints what is at the
/// path, `file_show` the same after it was judged; `file_write` and `file_change` get there; `file_guard`
/// ends the script with [`MOVED`] where what is at the path isn't what was seen.
pub(crate) static FUNCTIONS: LazyLock<String> = LazyLock::new(|| {
    let functions = [
        ("file_look", concat!(include_str!("probe.sh"), "file_show\n")),
        ("file_show", include_str!("show.sh")),
        ("file_write", include_str!("write.sh")),
        ("file_change", include_str!("attributes.sh")),
        ("file_guard", include_str!("guard.sh")),
    ];
    let mut text = pinned().to_owned() + &WORDS + "\n" + &without_comments(include_str!("chain.sh"));
    text += &without_comments(include_str!("rehearse.sh"));
    for (name, body) in functions {
        let _ = write!(text, "{name}() {{\n{}}}\n", without_comments(body));
    }
    text
});

/// Turns a content that comes as `printf %b` reads it into bytes. The dot keeps line breaks at the end.
const BYTES: &str = "wanted=$(printf '%b.' \"$wanted\"); wanted=${wanted%.}\n";

/// Writes the content.
const WRITE: &str = "file_write\n";

/// What the guard prints.
pub(crate) const MOVED: &[u8] = b"moved\n";

/// Content up to this size is compared by the host's shell itself, in bytes.
const SHORT: usize = 1 << 10;
/// Content up to this size is read back to show a diff, in bytes.
const MOST_SHOWN: usize = 256 << 10;
/// Content up to this size can be edited, in bytes.
const MOST_EDITED: usize = 4 << 20;

/// A file task whose values are known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) file: &'a File,
    pub(crate) kind: &'a str,
    /// The content, where the task gives it.
    pub(crate) content: Option<&'a Known>,
    /// The variables of an edit.
    pub(crate) params: &'a [(String, Value)],
    /// Whether one of them is a secret, or the task says that the content is.
    pub(crate) secret: bool,
}

/// The content that shall be there, and whether it is.
struct Whole {
    content: Zeroizing<Vec<u8>>,
    same: bool,
}

impl Wanted<'_> {
    /// The script that shows what is at the path, and its variables.
    pub(crate) fn probe(&self) -> (&'static str, Variables) {
        ("file_look", self.probed())
    }

    /// The variables of the probe.
    fn probed(&self) -> Variables {
        let mut content = None;
        let (show, most) = match (&self.file.state, self.content) {
            (FileState::Content(Content::Edit(_)), _) => ("always", MOST_EDITED),
            (FileState::Content(Content::Is(_)), Some(known)) => {
                content = Some(Zeroizing::new(known.variable()));
                ("different", MOST_SHOWN)
            }
            _ => ("never", 0),
        };
        let (digest, short) = content.as_ref().map(|content| compared(content)).unwrap_or_default();
        let given = content.filter(|_| !short.is_empty()).map(|content| content.to_string());
        let (kind, _) = self.kind();
        let variables = [
            ("path", self.file.path.clone()),
            ("kind", kind.into()),
            ("follow", if self.file.follow { "yes" } else { "no" }.into()),
            ("owner", self.file.owner.clone().unwrap_or_default()),
            ("group", self.file.group.clone().unwrap_or_default()),
            // Of a folder, chmod clears bits by five digits only.
            ("mode", self.file.mode.map(|mode| format!("{mode:05o}")).unwrap_or_default()),
            ("show", show.into()),
            ("digest", digest),
            ("most", most.to_string()),
            ("short", short),
            ("content", given.unwrap_or_default()),
        ];
        Variables(variables.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// The word for what shall be there, and a link's target.
    fn kind(&self) -> (&'static str, &str) {
        match &self.file.state {
            FileState::Folder => ("folder", ""),
            FileState::Link(target) => ("link", target),
            FileState::Absent => ("absent", ""),
            FileState::Content(_) => ("file", ""),
            FileState::Present => ("present", ""),
        }
    }

    /// Compares what is there with what is wanted.
    pub(crate) fn decide(&self, seen: &FileSeen) -> Decision {
        match self.differences(seen) {
            Ok(changes) if changes.is_empty() => Decision::UpToDate,
            Ok(changes) => Decision::Change { diff: Diff(changes) },
            Err(failure) => Decision::Failed { failure: Box::new(failure) },
        }
    }

    /// The script that gets from what is there to what is wanted and then shows what is there, and its
    /// variables. Its exit code is the apply's where that fails. With a guard it first makes sure that what
    /// was seen is still there.
    pub(crate) fn apply_and_probe(&self, seen: &FileSeen, guarded: bool) -> Result<(String, Variables), Failure> {
        let (apply, mut variables) = self.apply(seen)?;
        variables.0.append(&mut self.probed().0);
        let guard = if guarded {
            variables.0.push(("was".into(), seen.line()));
            "file_guard\n"
        } else {
            ""
        };
        // The apply ends the shell where it fails (`set -e`).
        Ok((format!("{guard}{apply}file_look"), variables))
    }

    /// Whether nothing of the content is to be shown: `yes` or `no`.
    fn is_secret(&self) -> String {
        if self.secret || matches!(self.content, Some(Known::Secret(_))) { "yes" } else { "no" }.into()
    }

    fn apply(&self, seen: &FileSeen) -> Result<(String, Variables), Failure> {
        let mut variables = Variables(Vec::new());
        // Where others may write, owner and mode aren't set of what is there: it may be another's by now.
        let anew = seen.loose && seen.kind == Kind::File;
        if let Some(Whole { content, same }) = self.wanted_content(seen)?
            && (anew || !same)
        {
            let (mut form, wanted) = printable(&content);
            variables.0.push(("wanted".into(), wanted));
            if let Some(script) = &self.file.validate {
                variables.0.push(("validate".into(), script.to_string()));
                variables.0.push(("secret".into(), self.is_secret()));
                form = form.replace(WRITE, &format!("file_refuse_invalid\n{WRITE}"));
            }
            return Ok((form, variables));
        }
        let (_, target) = self.kind();
        variables.0.push(("target".into(), target.into()));
        Ok(("file_change\n".into(), variables))
    }

    /// The content to write, if what is there differs from it.
    fn new_content(&self, seen: &FileSeen) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        Ok(self.wanted_content(seen)?.filter(|whole| !whole.same).map(|whole| whole.content))
    }

    /// The content that shall be there, where there shall be one.
    fn wanted_content(&self, seen: &FileSeen) -> Result<Option<Whole>, Failure> {
        let content = match (&self.file.state, self.content) {
            (FileState::Content(Content::Is(_)), Some(content)) => Zeroizing::new(content.variable().into_bytes()),
            (FileState::Content(Content::Edit(_)), _) => {
                return Ok(self
                    .edited(seen)?
                    .map(|edited| Whole { content: Zeroizing::new(edited.content.to_vec()), same: edited.same }));
            }
            _ => return Ok(None),
        };
        if content.contains(&0) {
            return Err(refused(format!("the content of {} has a NUL byte, which a shell can't hold", self.file.path)));
        }
        let same = seen.kind == Kind::File && seen.detail == sha256(&content);
        Ok(Some(Whole { content, same }))
    }

    /// What the edit makes of the text that is there; `None` where there is no file and none shall be made.
    fn edited<'s>(&self, seen: &'s FileSeen) -> Result<Option<&'s Edited>, Failure> {
        match seen.edited.as_deref() {
            Some(Ok(edited)) => Ok(edited.as_ref()),
            Some(Err(failure)) => Err(failure.clone()),
            None => Err(refused(format!("the edit of {} wasn't made", self.file.path))),
        }
    }

    /// Makes the edit of what was seen, off the run's own task: for a decision it must be there.
    pub(crate) async fn make_edit(&self, seen: &mut FileSeen, running: Running<'_>) -> Result<(), jq::Error> {
        let FileState::Content(Content::Edit(edit)) = &self.file.state else { return Ok(()) };
        let once = match self.text(seen) {
            Ok(text) => self.edit_once(edit, text, running).await?,
            Err(failure) => Err(failure),
        };
        let made = match once {
            // An edit that doesn't see its own result would be made again with every run.
            Ok(Some(made)) if Some(&made) != seen.content.as_ref() => {
                match self.edit_once(edit, Some(made.clone()), running).await? {
                    Ok(twice) if twice.as_ref() == Some(&made) => Ok(Some(made)),
                    Ok(_) => Err(Failure {
                        hint: Some(
                            "what an edit puts there must be what it looks for: a `matching` fits the line too".into(),
                        ),
                        ..refused(format!(
                            "the edit of {} would change its own result once more, so nothing was written",
                            self.file.path
                        ))
                    }),
                    Err(failure) => Err(Failure {
                        message: format!("{} (of the edit's own result, so nothing was written)", failure.message),
                        ..failure
                    }),
                }
            }
            once => once,
        };
        let compared = match made {
            Ok(Some(content)) => Ok(Some(self.compared(seen, content).await)),
            Ok(None) => Ok(None),
            Err(failure) => Err(failure),
        };
        seen.edited = Some(Box::new(compared));
        Ok(())
    }

    /// The text that is there; `None` where there is no file.
    fn text(&self, seen: &FileSeen) -> Result<Option<Vec<u8>>, Failure> {
        match (seen.kind, &seen.content) {
            (Kind::File, Some(bytes)) => match text::refused(bytes) {
                Some(why) => Err(refused(format!("{} can't be edited: {why}", self.file.path))),
                None => Ok(Some(bytes.clone())),
            },
            (Kind::File, None) if seen.size <= MOST_EDITED as u64 => Err(withheld(&self.file.path)),
            (Kind::File, None) => Err(refused(format!(
                "{} has {} bytes, too many to edit (at most {MOST_EDITED})",
                self.file.path, seen.size
            ))),
            _ => Ok(None),
        }
    }

    /// What the edit makes of a text.
    async fn edit_once(
        &self,
        edit: &Edit,
        text: Option<Vec<u8>>,
        running: Running<'_>,
    ) -> Result<Result<Option<Vec<u8>>, Failure>, jq::Error> {
        let path = &self.file.path;
        let absent = text.is_none();
        let made = match edit {
            Edit::Own(own) => {
                let (own, params) = (*own, self.params.to_vec());
                off_task(move || edit::edit(own, &params, text.as_deref())).await
            }
            Edit::Filter(filter) => {
                let input = text.map_or(Input::Value(Value::Null), Input::Text);
                match running.run(filter, input).await {
                    Ok(Yield::Text(text)) => Ok(Some(text)),
                    Ok(Yield::Value(Value::Null)) if absent => Ok(None),
                    Ok(Yield::Value(other)) => {
                        let other = beginning(&other.to_string(), 200);
                        return Ok(Err(refused(format!("the edit of {path} yields {other}, not a text"))));
                    }
                    Err(jq::Error::Killed) => return Err(jq::Error::Killed),
                    Err(error) => Err(error.to_string()),
                }
            }
        };
        let made = made.and_then(|made| match made.as_deref().and_then(text::refused) {
            Some(_) => Err("a param has a NUL byte, which no text has".to_owned()),
            None => Ok(made),
        });
        Ok(match made {
            Ok(Some(made)) if made.len() > MOST_EDITED => Err(refused(format!(
                "the edit of {path} yields {} bytes, too many (at most {MOST_EDITED})",
                made.len()
            ))),
            Ok(made) => Ok(made),
            Err(why) => Err(refused(format!("{path} can't be edited: {why}"))),
        })
    }

    /// An edit's content, compared with what is there.
    async fn compared(&self, seen: &FileSeen, content: Vec<u8>) -> Edited {
        let same = seen.kind == Kind::File && seen.content.as_ref() == Some(&content);
        let content = Arc::new(content);
        let changes = if same {
            Vec::new()
        } else {
            let (kind, secret, path) = (self.kind.to_owned(), self.secret, self.file.path.clone());
            let (seen, content) = (seen.clone(), Arc::clone(&content));
            off_task(move || text_changes(&path, &kind, secret, MOST_EDITED, &seen, &content)).await
        };
        Edited { content, same, changes }
    }

    fn differences(&self, seen: &FileSeen) -> Result<Vec<Change>, Failure> {
        let file = self.file;
        let wanted = match &file.state {
            FileState::Content(_) | FileState::Present => Kind::File,
            FileState::Folder => Kind::Folder,
            FileState::Link(_) => Kind::Link,
            FileState::Absent => Kind::Absent,
        };
        let in_the_way = match (wanted, seen.kind) {
            (Kind::Absent, _) | (_, Kind::Absent) => false,
            // Only the attributes are asked for: of whatever is there.
            (Kind::File, Kind::Folder) => !matches!(file.state, FileState::Present),
            (wanted, seen) => wanted != seen,
        };
        if in_the_way {
            return Err(Failure {
                message: format!(
                    "there is a {} at {} where a {} is wanted",
                    seen.kind.as_str(),
                    file.path,
                    wanted.as_str()
                ),
                hint: Some(if seen.kind == Kind::Link && seen.loose {
                    format!(
                        "it leads to {}; others may write where it is, so no link is followed there: name the place \
                         itself, or let the task run as the folder's owner, with the option `user`; or take the link \
                         away on the host",
                        seen.detail
                    )
                } else if seen.kind == Kind::Link && seen.detail == "/dev/null" && file.path.contains("/systemd/") {
                    "so systemd masks a unit: before this, declare `service(host, …, #{ name: \"…\", masked: false, \
                     enabled: (), running: () })`"
                        .into()
                } else if seen.kind == Kind::Link {
                    format!(
                        "it leads to {}; the option `follow: true` works there, if nobody else could have \
                         made the link; or take the link away on the host",
                        seen.detail
                    )
                } else {
                    format!("haflow doesn't replace it by itself: move {} out of the way on the host first", file.path)
                }),
                ..Failure::default()
            });
        }
        if matches!(file.state, FileState::Present) && seen.kind == Kind::Absent {
            return Err(Failure {
                message: format!("there is nothing at {}", file.path),
                hint: Some("give it content, or declare what makes it before this".into()),
                ..Failure::default()
            });
        }
        let content = self.new_content(seen)?;
        if seen.kind == Kind::Absent && matches!(file.state, FileState::Content(_)) && content.is_none() {
            // The edit makes no file where there is none.
            return Ok(Vec::new());
        }
        let mut changes = Vec::new();
        if wanted != seen.kind && !matches!(file.state, FileState::Present) {
            changes.push(field("state", Some(seen.kind.as_str().into()), Some(wanted.as_str().into())));
        }
        if let FileState::Link(target) = &file.state
            && seen.detail != *target
        {
            changes.push(field("target", (seen.kind == Kind::Link).then(|| seen.detail.clone()), Some(target.clone())));
        }
        if let Some(content) = content {
            changes.extend(self.content_change(seen, &content));
        }
        if wanted != Kind::Absent {
            let attributes = self.attributes(seen, !changes.is_empty());
            changes.extend(attributes);
        }
        Ok(changes)
    }

    /// The differences where the content will be the output of `source`, which isn't known yet, and nothing
    /// is there.
    pub(crate) fn made_new(&self, seen: &FileSeen, source: &str) -> Option<Vec<Change>> {
        if seen.kind != Kind::Absent {
            return None;
        }
        let mut changes = vec![
            field("state", Some(Kind::Absent.as_str().into()), Some(Kind::File.as_str().into())),
            Change::Later { field: "content".into(), output_of: source.into() },
        ];
        changes.extend(self.attributes(seen, true));
        Some(changes)
    }

    fn content_change(&self, seen: &FileSeen, content: &[u8]) -> Vec<Change> {
        if matches!(self.content, Some(Known::Secret(_))) {
            return vec![Change::Secret { field: "content".into() }];
        }
        match seen.edited.as_deref() {
            Some(Ok(Some(edited))) => edited.changes.clone(),
            _ => text_changes(&self.file.path, self.kind, self.secret, MOST_SHOWN, seen, content),
        }
    }
}

/// What a host compares a content by: its digest, and the size of one that its shell can compare.
fn compared(content: &str) -> (String, String) {
    let short = if content.len() <= SHORT { content.len().to_string() } else { String::new() };
    (sha256(content.as_bytes()), short)
}

/// How what is there differs from a content, of which at most `most` bytes are shown.
fn text_changes(path: &str, kind: &str, secret: bool, most: usize, seen: &FileSeen, content: &[u8]) -> Vec<Change> {
    let was = match (seen.kind, &seen.content) {
        (Kind::File, Some(bytes)) => Some(&bytes[..]),
        (Kind::File, None) => None,
        _ => Some(&b""[..]),
    };
    let readable = |text: &&[u8]| text.len() <= most && !text.contains(&0);
    let texts = was.filter(readable).zip(Some(content).filter(readable));
    // Where a text isn't UTF-8, what isn't is shown as U+FFFD.
    let texts = texts.map(|(was, want)| (String::from_utf8_lossy(was), String::from_utf8_lossy(want)));
    match texts.filter(|(was, want)| was != want) {
        // What is there may be another secret, which nobody knows by its value.
        Some((was, want)) if secret => content::secrets(path, kind, &was, &want),
        None if secret => vec![Change::Secret { field: "content".into() }],
        Some((was, want)) => content::changes(path, kind, &was, &want),
        None => vec![Change::Opaque {
            was: (seen.kind == Kind::File).then(|| (seen.size, short(&seen.detail))),
            want: (content.len() as u64, short(&sha256(content))),
        }],
    }
}

fn refused(message: String) -> Failure {
    Failure { message, ..Failure::default() }
}

/// A content as a shell variable can hold it everywhere, and the script that writes it: what isn't UTF-8
/// comes in octal digits.
fn printable(content: &[u8]) -> (String, String) {
    if let Ok(text) = std::str::from_utf8(content) {
        return (WRITE.into(), text.to_owned());
    }
    let mut text = String::with_capacity(content.len() * 2);
    for chunk in content.utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', "\\\\"));
        for byte in chunk.invalid() {
            let _ = write!(text, "\\0{byte:03o}");
        }
    }
    (format!("{BYTES}{WRITE}"), text)
}

/// An edit would show what others who may write there can't read.
fn withheld(path: &str) -> Failure {
    Failure {
        message: format!(
            "{path} can't be edited: others may write in its folder who can't read it, or it changes all the time"
        ),
        hint: Some(
            "give it its content as a whole, or let the task run as the folder's owner, with the option `user`".into(),
        ),
        ..Failure::default()
    }
}

fn field(name: &str, was: Option<String>, want: Option<String>) -> Change {
    Change::Field { field: name.into(), was: was.map(Value::from), want: want.map(Value::from) }
}
