use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// Something on a host that tasks read and change: `file:/etc/hosts`, `package:nginx`, `service:nginx`, a
/// word of one's own.
///
/// A kind alone stands for all of its things, `*` for everything. A file stands for what is below it too, a
/// `folder` for itself alone: making `/srv/app` changes nothing about a file in it. Things of the kind
/// `shared` are the same on all hosts: `shared:rabbitmq` is what a cluster's members have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Thing(Cow<'static, str>);

/// Places that nearly all hosts know by two names (FHS 3.0, and a merged `/usr`), and the one that is taken.
/// Where they are two places after all, a plan is less certain than it could be.
const ALIASES: [(&str, &str); 6] = [
    ("/var/run", "/run"),
    ("/var/lock", "/run/lock"),
    ("/bin", "/usr/bin"),
    ("/sbin", "/usr/sbin"),
    ("/lib", "/usr/lib"),
    ("/lib64", "/usr/lib64"),
];

impl Thing {
    /// All there is.
    pub const EVERYTHING: Self = Self(Cow::Borrowed("*"));

    /// The thing called `name` of `kind`.
    pub fn new(kind: &str, name: &str) -> Self {
        if !matches!(kind, "file" | "folder") {
            return Self(Cow::Owned(format!("{kind}:{name}")));
        }
        // One path, one spelling.
        let parts = name.split('/').filter(|part| !part.is_empty() && *part != ".");
        let mut path = parts.fold(String::new(), |path, part| path + "/" + part);
        if let Some((other, one)) = ALIASES.iter().find(|(other, _)| Self::within(&path, other)) {
            path.replace_range(..other.len(), one);
        }
        if path.is_empty() {
            path.push('/');
        }
        Self(Cow::Owned(format!("{kind}:{path}")))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is all there is.
    pub fn is_everything(&self) -> bool {
        self.0 == "*"
    }

    /// Whether it is the same on all hosts.
    pub fn is_shared(&self) -> bool {
        self.kind() == "shared"
    }

    /// What kind of thing it is.
    pub fn kind(&self) -> &str {
        self.0.split_once(':').map_or(&self.0, |(kind, _)| kind)
    }

    /// Which one of that kind; `None` for all of them.
    pub fn name(&self) -> Option<&str> {
        self.0.split_once(':').map(|(_, name)| name)
    }

    /// Whether a path is the folder itself or below it.
    pub fn within(path: &str, folder: &str) -> bool {
        let folder = folder.trim_end_matches('/');
        path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether a change of the one can be a change of the other.
    pub fn overlaps(&self, other: &Self) -> bool {
        if self.is_everything() || other.is_everything() {
            return true;
        }
        match (self.kind() == other.kind(), self.name(), other.name()) {
            (false, one, other_name) => match (self.kind(), other.kind()) {
                ("folder", "file") => one.zip(other_name).is_none_or(|(folder, file)| Self::within(folder, file)),
                ("file", "folder") => one.zip(other_name).is_none_or(|(file, folder)| Self::within(folder, file)),
                _ => false,
            },
            (true, Some(one), Some(other)) if self.kind() == "file" => {
                Self::within(one, other) || Self::within(other, one)
            }
            (true, Some(one), Some(other)) => one == other,
            (true, ..) => true,
        }
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Thing {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::EVERYTHING);
        }
        let (kind, name) = text.split_once(':').map_or((&*text, None), |(kind, name)| (kind, Some(name)));
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if kind.is_empty() || !kind.chars().all(fits) || name == Some("") || text.chars().any(char::is_control) {
            return Err(format!("`{text}` isn't a thing: `kind:name`, such as `service:nginx`, or `*`"));
        }
        if matches!(kind, "file" | "folder") && name.is_some_and(|path| !path.starts_with('/')) {
            return Err(format!("`{text}`: a file is named by its absolute path"));
        }
        Ok(name.map_or_else(|| Self(Cow::Owned(kind.to_owned())), |name| Self::new(kind, name)))
    }
}

impl From<Thing> for String {
    fn from(thing: Thing) -> Self {
        thing.0.into_owned()
    }
}

/// What a task reads, or what it touches. By default everything: a task that doesn't say it may read and
/// change anything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Things(Option<Box<[Thing]>>);

impl Things {
    /// Just these.
    pub fn these(things: impl IntoIterator<Item = Thing>) -> Self {
        Self(Some(things.into_iter().collect()))
    }

    /// Whether this is the default, of a task that says nothing.
    pub fn is_default(&self) -> bool {
        self.0.is_none()
    }

    /// Whether it is everything.
    pub fn everything(&self) -> bool {
        self.0.as_ref().is_none_or(|things| things.iter().any(Thing::is_everything))
    }

    /// Whether each of these is, or overlaps, one of the others.
    pub fn within(&self, others: &Self) -> bool {
        let known = |thing: &Thing| others.named().any(|other| other.overlaps(thing));
        others.everything() || (!self.everything() && self.named().all(known))
    }

    /// Those that are named.
    pub fn named(&self) -> impl Iterator<Item = &Thing> {
        self.0.iter().flat_map(|things| things.iter()).filter(|thing| !thing.is_everything())
    }
}

impl Extend<Thing> for Things {
    /// To everything nothing is added.
    fn extend<I: IntoIterator<Item = Thing>>(&mut self, more: I) {
        if let Some(things) = &mut self.0 {
            *things = std::mem::take(things).into_iter().chain(more).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thing(text: &str) -> Thing {
        text.to_owned().try_into().unwrap()
    }

    #[test]
    fn things_overlap_where_a_change_of_one_can_be_one_of_the_other() {
        for (one, other, overlap) in [
            ("*", "package:a", true),
            ("package:a", "package:a", true),
            ("package:a", "package:b", false),
            ("package", "package:b", true),
            ("package:a", "service:a", false),
            ("file:/etc", "file:/etc/hosts", true),
            ("file:/etc/hosts", "file:/etc", true),
            ("file:/", "file:/etc", true),
            ("file:/etc/host", "file:/etc/hosts", false),
            ("folder:/etc/app", "file:/etc/app", true),
            ("folder:/etc/app", "file:/etc", true),
            ("folder:/etc/app", "file:/etc/app/conf", false),
            ("folder:/etc/app", "folder:/etc", false),
            ("folder:/etc/app", "file", true),
            ("file:/etc//app/./", "file:/etc/app/conf", true),
            ("file:/", "folder:/etc", true),
            ("file:/var/run/app", "folder:/run/app", true),
            ("file:/lib/systemd/system/a.service", "file:/usr/lib/systemd", true),
            ("file:/library", "file:/usr/library", false),
            ("shared:a", "shared:b", false),
        ] {
            assert_eq!(thing(one).overlaps(&thing(other)), overlap, "{one} {other}");
            assert_eq!(thing(other).overlaps(&thing(one)), overlap, "{other} {one}");
        }
    }

    #[test]
    fn what_is_no_thing_is_refused() {
        for text in ["", ":a", "package:", "Package:a", "file:etc/hosts", "a b:c", "a:\n"] {
            assert!(Thing::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn who_says_nothing_touches_everything_and_who_says_none_nothing() {
        let all = Things::default();
        let none = Things::these([]);
        let some = Things::these([thing("package:a")]);
        assert_eq!((none.named().count(), some.named().count()), (0, 1));
        assert!(all.everything() && !none.everything() && Things::these([Thing::EVERYTHING]).everything());
    }
}
