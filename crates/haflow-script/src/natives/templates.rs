//! `template` and `render`.

use crate::calls::call::Call;
use crate::calls::register::Natives;
use crate::calls::values::{SecretHandle, text, to_value, too_deep};
use crate::declaration::stop::Stop;
use crate::errors::problem::{Problem, Raise};
use crate::limits::MAX_VALUE_DEPTH;
use crate::modules::jail;
use crate::place::complete;
use crate::sized;
use haflow_model::{Diagnostic, Place, SecretPart, SecretText};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Object, ObjectRepr, Serde};
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use rhai::Dynamic;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A template that takes more steps is taken to be endless.
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
    environment.set_formatter(|out, state, value| match value.downcast_object_ref::<Blank>() {
        Some(blank) => out.write_str(&blank.mark()).map_err(minijinja::Error::from),
        None => minijinja::escape_formatter(out, state, value),
    });
    environment
}

fn template(call: &Call<'_>, [path, data]: [Dynamic; 2]) -> Result<Dynamic, Raise> {
    let path = text(&path, "template")?;
    let data = values(&data, "template")?;
    let (name, file) = jail::beside(call, &path, "template")?;
    let mut state = call.declaration.state();
    let mut environment = state.templates.take().unwrap_or_else(environment);
    drop(state);
    let rendered = load(call, &mut environment, &name, &file).and_then(|()| {
        let rendered = environment.get_template(&name).and_then(|template| template.render(&data.values));
        rendered.map_err(|error| wrong(call, &error, Some(&name)))
    });
    call.declaration.state().templates = Some(environment);
    Ok(data.blanks.filled(rendered?)?)
}

fn render(call: &Call<'_>, [source, data]: [Dynamic; 2]) -> Result<Dynamic, Raise> {
    let source = text(&source, "render")?;
    let data = values(&data, "render")?;
    let environment = environment();
    let rendered = environment.render_str(&source, data.values).map_err(|error| wrong(call, &error, None))?;
    Ok(data.blanks.filled(rendered)?)
}

/// What a template is filled in with.
struct Data {
    values: minijinja::Value,
    blanks: Blanks,
}

fn values(data: &Dynamic, function: &str) -> Result<Data, Problem> {
    if !data.is_map() {
        return Err(Problem::new(format!(
            "`{function}` wants its data as a map, not {}",
            crate::calls::values::shown(data)
        ))
        .help("for example #{ name: node.name }"));
    }
    let mut blanks = Blanks::default();
    let values =
        blanks.value(data, 0).map_err(|why| Problem::new(format!("`{function}` can't fill that in: {why}")))?;
    Ok(Data { values, blanks })
}

/// The secrets in a template's data. Its text has a mark where one belongs; what becomes of the text knows
/// only the secret's name.
#[derive(Default)]
struct Blanks {
    texts: Vec<SecretText>,
    misused: Arc<AtomicBool>,
}

/// A secret as a template has it.
struct Blank {
    number: usize,
    /// Whether anything else was done with it than to put it in as it is.
    misused: Arc<AtomicBool>,
}

/// Marks begin and end with characters that Unicode keeps for such use.
const OPEN: char = '\u{f0000}';
const CLOSE: char = '\u{f0001}';

impl fmt::Debug for Blank {
    /// A list or map that is put in shows its parts by this.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.misused.store(true, Ordering::Relaxed);
        f.write_str(haflow_model::REDACTED)
    }
}

impl Blank {
    fn mark(&self) -> String {
        format!("{OPEN}{}{CLOSE}", self.number)
    }
}

impl Object for Blank {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    /// Filters, `~` and tests get this, which isn't the value.
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Blanks {
    fn value(&mut self, value: &Dynamic, depth: usize) -> Result<minijinja::Value, String> {
        if depth > MAX_VALUE_DEPTH {
            return Err(too_deep());
        }
        if let Some(secret) = value.read_lock::<SecretHandle>() {
            self.texts.push(secret.0.clone());
            let blank = Blank { number: self.texts.len() - 1, misused: self.misused.clone() };
            return Ok(minijinja::Value::from_object(blank));
        }
        // Only maps and lists can have secrets in them.
        if let Ok(map) = value.as_map_ref() {
            let items = map.iter().map(|(key, item)| Ok((key.to_string(), self.value(item, depth + 1)?)));
            return Ok(items.collect::<Result<BTreeMap<_, _>, String>>()?.into());
        }
        if let Ok(list) = value.as_array_ref() {
            return Ok(list.iter().map(|item| self.value(item, depth + 1)).collect::<Result<Vec<_>, _>>()?.into());
        }
        to_value(value).map(|value| minijinja::Value::from(Serde(value)))
    }

    /// The text, or the secret that it is where secrets were put in.
    fn filled(&self, text: String) -> Result<Dynamic, Problem> {
        if self.misused.load(Ordering::Relaxed) {
            return Err(Problem::new("the template does something with a secret, which can only be put in as it is")
                .help(
                    "write `{{ name }}` alone, without a filter; what shall be made of a secret is made on the host",
                ));
        }
        if self.texts.is_empty() || !text.contains(OPEN) {
            return Ok(text.into());
        }
        let mut parts: Vec<SecretPart> = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once(OPEN) {
            let mark = after.split_once(CLOSE).and_then(|(number, rest)| Some((number.parse::<usize>().ok()?, rest)));
            let found = mark.and_then(|(number, rest)| Some((self.texts.get(number)?, rest)));
            let Some((secret, after)) = found else {
                return Err(Problem::new(
                    "the text has a character in it (U+F0000) by which secrets are put into texts",
                )
                .help("take it out of the template and its data"));
            };
            parts.push(SecretPart::Text(before.to_owned()));
            parts.extend(secret.0.iter().cloned());
            rest = after;
        }
        parts.push(SecretPart::Text(rest.to_owned()));
        parts.retain(|part| *part != SecretPart::Text(String::new()));
        Ok(Dynamic::from(SecretHandle(SecretText(parts))))
    }
}

fn load(call: &Call<'_>, environment: &mut Environment<'static>, name: &str, file: &Path) -> Result<(), Raise> {
    if environment.get_template(name).is_ok() {
        return Ok(());
    }
    let source =
        sized::read(file).map_err(|error| Problem::new(format!("failed to read the template `{name}`: {error}")))?;
    let source = String::from_utf8(source).map_err(|_| Problem::new(format!("the template `{name}` isn't UTF-8")))?;
    call.declaration.add_source(name, &source);
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
        ErrorKind::InvalidOperation => Some("look at what the value is; a secret can only be put in as it is"),
        _ => None,
    };
    diagnostic.help = help.map(str::to_owned);
    let diagnostic = complete(diagnostic, &call.declaration.state().sources);
    Raise::Stop(Stop::Diagnostic(diagnostic.into(), Some(trace.place)))
}
