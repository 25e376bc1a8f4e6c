//! `template` and `render`.

use crate::hosts::text;
use crate::jail;
use crate::natives::Natives;
use crate::raise::{Call, Problem, Raise, Stop, complete};
use crate::values::to_value;
use haflow_model::{Diagnostic, Place};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use rhai::Dynamic;
use std::path::Path;

/// Beyond so many steps a template is taken to be endless.
const FUEL: u64 = 10_000_000;

pub(crate) fn register(natives: &mut Natives<'_>) {
    natives.add("template", template);
    natives.add("render", render);
}

/// An environment that takes nothing for granted.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment
}

fn template(call: &Call<'_>, [path, data]: [Dynamic; 2]) -> Result<Dynamic, Raise> {
    let path = text(&path, "template")?;
    let data = values(&data, "template")?;
    let (name, file) = jail::beside(call, &path, "template")?;
    let mut state = call.session.state();
    let mut environment = state.templates.take().unwrap_or_else(environment);
    drop(state);
    let rendered = load(call, &mut environment, &name, &file).and_then(|()| {
        environment.get_template(&name).and_then(|t| t.render(&data)).map_err(|error| wrong(call, &error, Some(&name)))
    });
    call.session.state().templates = Some(environment);
    rendered.map(Into::into)
}

fn render(call: &Call<'_>, [source, data]: [Dynamic; 2]) -> Result<Dynamic, Raise> {
    let source = text(&source, "render")?;
    let data = values(&data, "render")?;
    let environment = environment();
    environment.render_str(&source, data).map(Into::into).map_err(|error| wrong(call, &error, None))
}

fn values(data: &Dynamic, function: &str) -> Result<minijinja::Value, Problem> {
    if !data.is_map() {
        return Err(Problem::new(format!("`{function}` wants its data as a map, not {}", crate::values::shown(data)))
            .help("for example #{ name: node.name }"));
    }
    to_value(data)
        .map(|value| minijinja::Value::from(Serde(value)))
        .map_err(|why| Problem::new(format!("`{function}` can't fill that in: {why}")))
}

fn load(call: &Call<'_>, environment: &mut Environment<'static>, name: &str, file: &Path) -> Result<(), Raise> {
    if environment.get_template(name).is_ok() {
        return Ok(());
    }
    let source =
        std::fs::read(file).map_err(|error| Problem::new(format!("failed to read the template `{name}`: {error}")))?;
    let source = String::from_utf8(source).map_err(|_| Problem::new(format!("the template `{name}` isn't UTF-8")))?;
    call.session.add_source(name, &source);
    environment.add_template_owned(name.to_owned(), source).map_err(|error| wrong(call, &error, Some(name)))
}

/// What is wrong with a template, at its line and at the playbook's.
fn wrong(call: &Call<'_>, error: &minijinja::Error, name: Option<&str>) -> Raise {
    let source = error.template_source().unwrap_or_default();
    let range = error.range().filter(|range| source.get(range.clone()).is_some());
    let part = range.clone().map_or("", |range| &source[range]);
    let what = match error.kind() {
        ErrorKind::UndefinedError if !part.is_empty() => format!("it uses `{part}`, which isn't there"),
        ErrorKind::UndefinedError => "it uses a value that isn't there".to_owned(),
        ErrorKind::OutOfFuel => "it takes too many steps".to_owned(),
        ErrorKind::SyntaxError => error.detail().unwrap_or("syntax error").to_owned(),
        kind => error.detail().map_or_else(|| kind.to_string(), |detail| format!("{kind}: {detail}")),
    };
    let which = name.map_or_else(|| "the template".to_owned(), |name| format!("the template `{name}`"));
    let trace = call.trace();
    let mut diagnostic = Diagnostic::new(format!("{which} can't be filled in: {what}")).at(trace.place.clone(), "");
    if let (Some(name), Some(line)) = (name, error.line()) {
        let column =
            range.map_or(0, |range| source[..range.start].chars().rev().take_while(|c| *c != '\n').count() + 1);
        let number = |number| u32::try_from(number).unwrap_or(0);
        diagnostic = diagnostic.at(Place::new(name, number(line), number(column)), "");
        if let Some(label) = diagnostic.labels.last_mut() {
            label.length = part.lines().next().map_or(0, |line| line.chars().count());
        }
    } else if let Some(line) = error.line() {
        diagnostic.message = format!("{}, in its line {line}", diagnostic.message);
    }
    if let Some(inner) = trace.declared_in {
        diagnostic = diagnostic.at(inner, format!("`{}` is called here", call.name));
    }
    let help = match error.kind() {
        ErrorKind::UndefinedError => Some("every value that a template uses must be in the data that it is given"),
        ErrorKind::OutOfFuel => Some("look for loops in each other"),
        _ => None,
    };
    diagnostic.help = help.map(str::to_owned);
    let diagnostic = complete(diagnostic, &call.session.state().sources);
    Raise::Stop(Stop::Diagnostic(diagnostic.into(), Some(trace.place)))
}
