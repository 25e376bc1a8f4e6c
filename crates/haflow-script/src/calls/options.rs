//! Option maps, read key by key.

use crate::calls::values::shown;
use crate::errors::problem::Problem;
use crate::errors::slips;
use haflow_model::nearest;
use rhai::{Dynamic, ImmutableString, Map};
use std::time::Duration;

/// The options of one call. What is `()` counts as not given.
pub(crate) struct Options {
    /// The function that takes them, for messages.
    function: String,
    given: Map,
}

impl Options {
    /// Takes `given` apart; it must be a map with none but the `own` keys and those that are `common` to all
    /// tasks, or `()`.
    pub(crate) fn new(
        function: &str,
        given: Dynamic,
        own: &[&'static str],
        common: &[&'static str],
    ) -> Result<Self, Problem> {
        let given = as_map(function, given)?;
        let known = |key: &str| own.iter().chain(common).any(|known| *known == key);
        if let Some(key) = given.keys().find(|key| !known(key)) {
            return Err(unknown_option(function, key, own.iter().copied(), common));
        }
        Ok(Self { function: function.to_owned(), given })
    }

    /// What was given.
    pub(crate) fn any(&mut self, key: &str) -> Option<Dynamic> {
        self.given.remove(key).filter(|value| !value.is_unit())
    }

    /// Whether it was given.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.given.get(key).is_some_and(|value| !value.is_unit())
    }

    pub(crate) fn text(&mut self, key: &str) -> Result<Option<ImmutableString>, Problem> {
        self.any(key)
            .map(|value| match value.as_immutable_string_ref() {
                Ok(text) => Ok(text.clone()),
                Err(_) => Err(self.wrong(key, "a text", &value)),
            })
            .transpose()
    }

    /// A text of one line, which stands among haflow's own.
    pub(crate) fn line(&mut self, key: &str) -> Result<Option<ImmutableString>, Problem> {
        let text = self.text(key)?;
        match text {
            Some(text) if text.trim().is_empty() || text.chars().any(char::is_control) => {
                Err(Problem::new(format!("option `{key}` of `{}` is one line that isn't empty", self.function))
                    .help("write it without line breaks and tabs")
                    .option(key))
            }
            text => Ok(text),
        }
    }

    /// The name or number of a user or a group.
    pub(crate) fn account(&mut self, key: &str) -> Result<Option<String>, Problem> {
        let Some(given) = self.any(key) else { return Ok(None) };
        let name = match (given.as_int(), given.as_immutable_string_ref()) {
            (Ok(number), _) if number >= 0 => return Ok(Some(number.to_string())),
            (_, Ok(name)) => name.clone(),
            _ => return Err(self.wrong(key, "a name or a number", &given)),
        };
        let sound = |c: char| c.is_alphanumeric() || "_-.@+$\\".contains(c);
        if name.is_empty() || name.starts_with('-') || !name.chars().all(sound) {
            return Err(Problem::new(format!(
                "option `{key}` of `{}` is {name:?}, which is nobody's name",
                self.function
            ))
            .help("a name has letters, digits, `_`, `-` and `.`, and doesn't begin with `-`")
            .option(key));
        }
        Ok(Some(name.to_string()))
    }

    pub(crate) fn bool(&mut self, key: &str) -> Result<Option<bool>, Problem> {
        self.any(key).map(|value| value.as_bool().map_err(|_| self.wrong(key, "true or false", &value))).transpose()
    }

    /// A whole number of at least `least`.
    pub(crate) fn count(&mut self, key: &str, least: u32) -> Result<Option<u32>, Problem> {
        self.any(key)
            .map(|value| match value.as_int().ok().and_then(|int| u32::try_from(int).ok()) {
                Some(count) if count >= least => Ok(count),
                _ => Err(self.wrong(key, &format!("a whole number of at least {least}"), &value)),
            })
            .transpose()
    }

    /// A duration: a number is seconds, a text has a unit.
    pub(crate) fn duration(&mut self, key: &str) -> Result<Option<Duration>, Problem> {
        self.any(key)
            .map(|value| {
                duration(&value).ok_or_else(|| {
                    self.wrong(key, "a duration: seconds, or a text such as \"500ms\", \"10s\", \"2m\", \"1h\"", &value)
                })
            })
            .transpose()
    }

    /// A list of texts, or one text.
    pub(crate) fn texts(&mut self, key: &str) -> Result<Vec<String>, Problem> {
        let Some(value) = self.any(key) else { return Ok(Vec::new()) };
        if let Ok(text) = value.as_immutable_string_ref() {
            return Ok(vec![text.to_string()]);
        }
        value
            .as_array_ref()
            .ok()
            .and_then(|list| list.iter().map(|item| item.clone().into_string().ok()).collect::<Option<Vec<_>>>())
            .ok_or_else(|| self.wrong(key, "a list of texts", &value))
    }

    /// What must be given.
    pub(crate) fn need<T>(&self, key: &str, value: Option<T>) -> Result<T, Problem> {
        value.ok_or_else(|| {
            Problem::new(format!("`{}` needs the option `{key}`", self.function)).help(format!("add it: `{key}: …`"))
        })
    }

    /// What is wrong with an option's value.
    pub(crate) fn wrong(&self, key: &str, wanted: &str, given: &Dynamic) -> Problem {
        let example = match wanted {
            wanted if wanted.starts_with("a text") => "\"…\"",
            "true or false" if truth(given) == Some(false) => "false",
            "true or false" => "true",
            wanted if wanted.starts_with("a duration") => "\"5m\"",
            wanted if wanted.contains("list") => "[\"…\"]",
            wanted if wanted.contains("map") => "#{ … }",
            _ => "…",
        };
        Problem::new(format!("option `{key}` of `{}` wants {wanted}, not {}", self.function, shown(given)))
            .help(format!("write it as `{key}: {example}`"))
            .option(key)
    }
}

/// What somebody means who gives a text, or 0 or 1, where a bool is wanted.
pub(crate) fn truth(given: &Dynamic) -> Option<bool> {
    match given.as_int() {
        Ok(int) => [false, true].get(usize::try_from(int).ok()?).copied(),
        Err(_) => given.as_immutable_string_ref().ok().and_then(|text| slips::truth(&text)),
    }
}

/// A map of options; `()` is the empty one.
pub(crate) fn as_map(function: &str, given: Dynamic) -> Result<Map, Problem> {
    if given.is_unit() {
        return Ok(Map::new());
    }
    given.try_cast_result::<Map>().map_err(|given| {
        Problem::new(format!("`{function}` wants its options as a map, not {}", shown(&given)))
            .help("options are written as #{ key: value, … }")
    })
}

/// A key that a function doesn't know; it knows its own options, and `common` ones of all tasks.
pub(crate) fn unknown_option<'a>(
    function: &str,
    key: &str,
    own: impl IntoIterator<Item = &'a str>,
    common: &[&'a str],
) -> Problem {
    let mut own: Vec<&str> = own.into_iter().filter(|option| !common.contains(option)).collect();
    own.sort_unstable();
    let mut common = common.to_vec();
    common.sort_unstable();
    let problem = Problem::new(format!("`{function}` has no option `{key}`")).option(key);
    let known = [&own[..], &common].concat();
    if let Some(help) = slips::option(key, &known) {
        return problem.help(help);
    }
    problem.help(match (nearest(key, known), own.as_slice(), common.as_slice()) {
        (Some(near), ..) => format!("did you mean `{near}`?"),
        (None, [], []) => format!("`{function}` has no options"),
        (None, own, []) => format!("its options are {}", own.join(", ")),
        (None, [], common) => format!("it has only the options of all tasks: {}", common.join(", ")),
        (None, own, common) => {
            format!("its options are {}; and those of all tasks: {}", own.join(", "), common.join(", "))
        }
    })
}

fn duration(value: &Dynamic) -> Option<Duration> {
    if let Ok(seconds) = value.as_int() {
        return u64::try_from(seconds).ok().map(Duration::from_secs);
    }
    if let Ok(seconds) = value.as_float() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let text = value.as_immutable_string_ref().ok()?;
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 = text[..text.len() - unit.len()].parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_have_a_unit() {
        let ms = |value: Dynamic| duration(&value).map(|duration| duration.as_millis());
        assert_eq!(ms(5.into()), Some(5000));
        assert_eq!(ms("500ms".into()), Some(500));
        assert_eq!(ms("2m".into()), Some(120_000));
        assert_eq!([ms("2".into()), ms("m".into()), ms((-1).into()), ms("1 h".into())], [None; 4]);
    }
}
