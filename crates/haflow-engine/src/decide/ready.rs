//! A task with everything in it that is known at its turn.

use crate::decide::file;
use crate::decide::known::{Known, Variables};
use haflow_model::{Action, Content, Edit, Ensure, File, FileState, NodeId, Param, Task, Value};
use zeroize::Zeroize;

/// A task whose params and outputs are known.
#[derive(Debug, Clone)]
pub(crate) struct Ready<'t> {
    /// The task as it was declared.
    pub(crate) task: &'t Task,
    /// Its params, in the order of their names.
    pub(crate) params: Vec<(String, Known)>,
    /// Its `want`, or its content.
    pub(crate) want: Option<Known>,
    /// The same params for a jq filter.
    pub(crate) values: Values,
    /// The id of the task whose output its `want` will be, where that isn't known yet: in a plan only.
    pub(crate) later: Option<String>,
}

/// Params for a jq filter. Gone from memory when they are dropped, since some may be secrets.
#[derive(Clone)]
pub(crate) struct Values(pub(crate) Vec<(String, Value)>);

impl Values {
    fn of(params: &[(String, Known)]) -> Self {
        Self(params.iter().map(|(name, known)| (name.clone(), known.value())).collect())
    }
}

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Drop for Values {
    fn drop(&mut self) {
        for (_, value) in &mut self.0 {
            if let Value::String(text) = value {
                text.zeroize();
            }
        }
    }
}

impl<'t> Ready<'t> {
    /// Puts what is known in the place of outputs; the first output that isn't known is the error.
    pub(crate) fn new<E>(task: &'t Task, mut known: impl FnMut(&Param) -> Result<Known, E>) -> Result<Self, E> {
        let params =
            task.params.iter().map(|(name, param)| Ok((name.clone(), known(param)?))).collect::<Result<Vec<_>, E>>()?;
        let want = task.wanted().map(known).transpose()?;
        let values = Values::of(&params);
        Ok(Self { task, params, want, values, later: None })
    }

    /// The same where outputs aren't known yet: enough to look at the task's thing, if its probe doesn't use
    /// them. `id` names tasks.
    pub(crate) fn without(
        task: &'t Task,
        mut known: impl FnMut(&Param) -> Result<Known, NodeId>,
        id: impl Fn(NodeId) -> String,
    ) -> Option<Self> {
        let uses = |name: &str| match &task.action {
            Action::Ensure(Ensure { probe, .. }) => {
                names(&probe.script, name) || probe.jq.as_ref().is_some_and(|filter| names(filter, name))
            }
            Action::File(File { state: FileState::Content(Content::Edit(Edit::Filter(filter))), .. }) => {
                names(filter, name)
            }
            // An own edit uses all of its params. An act has nothing to look at, a gate waits anyway, and a
            // read must be right.
            Action::File(File { state: FileState::Content(Content::Edit(Edit::Own(_))), .. })
            | Action::Act(_)
            | Action::Gate(_)
            | Action::Read(_) => true,
            Action::File(_) => false,
        };
        let mut params = Vec::new();
        for (name, param) in &task.params {
            match known(param) {
                Ok(value) => params.push((name.clone(), value)),
                Err(_) if !uses(name) => {}
                Err(_) => return None,
            }
        }
        let (want, later) = match task.wanted().map(known).transpose() {
            Ok(want) => (want, None),
            Err(source) => (None, Some(id(source))),
        };
        let values = Values::of(&params);
        Some(Self { task, params, want, values, later })
    }

    /// The shell variables of the task's scripts.
    pub(crate) fn variables(&self) -> Variables {
        Variables(self.params.iter().map(|(name, known)| (name.clone(), known.variable())).collect())
    }

    /// Whether the state is JSON rather than text.
    pub(crate) fn structured(&self) -> bool {
        matches!(&self.want, Some(Known::Plain(value)) if !value.is_string())
    }

    /// The file that a file task wants.
    pub(crate) fn file(&self) -> Option<file::Wanted<'_>> {
        match &self.task.action {
            Action::File(file) => Some(file::Wanted {
                file,
                kind: &self.task.kind,
                content: self.want.as_ref(),
                params: &self.values.0,
                secret: file.secret || self.params.iter().any(|(_, known)| matches!(known, Known::Secret(_))),
            }),
            _ => None,
        }
    }
}

/// Whether a script or a filter uses the variable.
pub(crate) fn names(text: &str, variable: &str) -> bool {
    let ways = ["$", "${", "${#"].map(|sign| format!("{sign}{variable}"));
    // In arithmetic a name alone is enough.
    ways.iter().any(|way| text.contains(way)) || arithmetic(text).any(|inner| inner.contains(variable))
}

/// What is between `$((` and its `))` in a shell's text, each to the end where nothing closes it.
fn arithmetic(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("$((").map(|(at, open)| {
        let inner = &text[at + open.len()..];
        let mut depth = 2;
        let end = inner.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        });
        &inner[..end.unwrap_or(inner.len())]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_ends_with_its_own_brackets() {
        let inner = |text| arithmetic(text).collect::<Vec<_>>();
        assert_eq!(inner("a $((b + 1)) c $(( (d)*(e) )) f $((g"), ["b + 1)", " (d)*(e) )", "g"]);
        assert_eq!(inner("$(( 1 + $((n)) ))"), [" 1 + $((n)) )", "n)"]);
        assert_eq!(inner("echo $(cookie)"), [""; 0]);
    }
}
