//! `secret`: what a playbook knows by its name only.

use crate::calls::call::Call;
use crate::calls::register::Natives;
use crate::calls::values::{SecretHandle, text};
use crate::errors::problem::{Problem, Raise};
use crate::request::SecretNeed;
use haflow_model::{SecretPart, SecretText};
use rhai::Dynamic;

/// How long a name may be.
const LONGEST: usize = 64;

pub(crate) fn register(natives: &mut Natives<'_>) {
    natives.engine.register_type_with_name::<SecretHandle>("Secret");
    natives.add("secret", secret);
    natives.engine.register_fn("to_debug", |secret: &mut SecretHandle| word(&secret.0));
    // The interpreter swallows an error of to_string; the declaration remembers it, and the script ends at
    // its next step.
    natives.method::<SecretHandle, 1>("to_string", |_, [secret]| Err(refused(&secret, "put into a text").into()));
    for operator in ["==", "!=", "<", ">", "<=", ">=", "+", "-", "+="] {
        natives.operator::<SecretHandle>(operator, |call, [left, right]| {
            let secret = if left.is::<SecretHandle>() { left } else { right };
            let what = if call.name.starts_with('+') { "put into a text" } else { "compared" };
            Err(refused(&secret, what).into())
        });
    }
    for test in ["equals", "contains", "matches"] {
        natives.method::<SecretHandle, 2>(test, |_, [secret, _]| Err(refused(&secret, "compared").into()));
    }
    natives.method::<SecretHandle, 1>("is_empty", |_, [secret]| Err(refused(&secret, "compared").into()));
}

fn secret(call: &Call<'_>, [name]: [Dynamic; 1]) -> Result<Dynamic, Raise> {
    let given = text(&name, call.name)?;
    name_of(&given)?;
    let name = given.to_string();
    let place = call.trace().place;
    let mut state = call.declaration.state();
    if !state.secrets.iter().any(|need| need.name == name) {
        state.secrets.push(SecretNeed { name: name.clone(), place });
    }
    Ok(Dynamic::from(SecretHandle(SecretText::of(name))))
}

/// What is wrong with the name of a secret. It becomes the name of an environment variable too, in capitals.
pub fn name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(fits) && name.len() <= LONGEST {
        return Ok(());
    }
    Err(HELP.to_owned())
}

const HELP: &str = "a name is made of small letters, digits and `_`, begins with a letter, and isn't the secret itself";

/// Checks a name. The message doesn't say what was given: it may be the secret itself.
fn name_of(given: &str) -> Result<(), Problem> {
    name(given).map_err(|help| Problem::new("that can't be the name of a secret").help(help))
}

/// The word for a secret, or for a text with secrets in it.
fn word(text: &SecretText) -> String {
    match &text.0[..] {
        [SecretPart::Secret(name)] => format!("the secret `{name}`"),
        _ => format!("a text with the secret `{}` in it", text.names().next().unwrap_or_default()),
    }
}

fn refused(secret: &Dynamic, what: &str) -> Problem {
    let word = secret.read_lock::<SecretHandle>().map(|secret| word(&secret.0)).unwrap_or_default();
    let problem = Problem::new(format!("{word} can't be {what} here: the script doesn't know its value"));
    if what == "compared" {
        return problem
            .help("pass it to a task as one of its `params`, as `want` or as `content`; it is compared there");
    }
    problem.help(
        "pass it to a task as one of its `params`, as `want` or as `content`; `render` and `template` put it into a text, \
         which is a secret then: render(\"password = {{ password }}\", #{ password: secret(\"…\") })",
    )
}
