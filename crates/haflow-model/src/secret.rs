use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What stands wherever a secret would have been printed.
pub const REDACTED: &str = "‹secret›";

/// A text that is never shown. It prints and serializes as [`REDACTED`], and can't be read back from that.
#[derive(Clone)]
pub struct Secret(Arc<SecretString>);

impl Secret {
    /// Takes `text` under protection.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Arc::new(SecretString::from(text.into())))
    }

    /// The text itself: only for what is written into a lane.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

/// A text that has secrets in it, by their names: all that a graph knows of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretText(pub Vec<SecretPart>);

/// A part of a text that has secrets in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretPart {
    /// What everybody may see.
    Text(String),
    /// The secret of that name.
    Secret(String),
}

impl SecretText {
    /// The secret of that name, and nothing else.
    pub fn of(name: impl Into<String>) -> Self {
        Self(vec![SecretPart::Secret(name.into())])
    }

    /// The names of its secrets.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            SecretPart::Secret(name) => Some(name.as_str()),
            SecretPart::Text(_) => None,
        })
    }
}

/// The values of secrets, by their names.
#[derive(Debug, Clone, Default)]
pub struct Secrets(BTreeMap<String, Secret>);

impl Secrets {
    /// Adds one.
    pub fn insert(&mut self, name: impl Into<String>, secret: Secret) {
        self.0.insert(name.into(), secret);
    }

    /// Whether it is known.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// All, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.0.iter().map(|(name, secret)| (name.as_str(), secret))
    }

    /// The text with the values in their places.
    ///
    /// # Panics
    ///
    /// Where one of them isn't known: whoever hands over a graph hands over all that it asks for
    /// (`Graph::secrets`).
    pub fn fill(&self, text: &SecretText) -> Secret {
        let secret = |name: &String| self.0.get(name).expect("every secret of the graph is known");
        let parts = || {
            text.0.iter().map(|part| match part {
                SecretPart::Text(text) => text.as_str(),
                SecretPart::Secret(name) => secret(name).expose(),
            })
        };
        // Room for all of it: a text that grows leaves copies behind.
        let mut whole = String::with_capacity(parts().map(str::len).sum());
        whole.extend(parts());
        Secret::new(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_take_their_places_in_a_text() {
        let mut secrets = Secrets::default();
        secrets.insert("user", Secret::new("ann"));
        secrets.insert("password", Secret::new("hunter2"));
        let part = |name: &str| SecretPart::Secret(name.into());
        let text = SecretText(vec![part("user"), SecretPart::Text(":".into()), part("password")]);
        assert_eq!(text.names().collect::<Vec<_>>(), ["user", "password"]);
        assert_eq!(secrets.fill(&text).expose(), "ann:hunter2");
        assert_eq!(secrets.fill(&SecretText::of("user")).expose(), "ann");
        assert!(!format!("{secrets:?}").contains("hunter2"));
    }

    #[test]
    fn a_secret_shows_nowhere() {
        let secret = Secret::new("hunter2");
        let json = serde_json::to_string(&secret).unwrap();
        assert_eq!(format!("{secret} {secret:?} {json}"), "‹secret› ‹secret› \"‹secret›\"");
        assert_eq!(secret.expose(), "hunter2");
    }
}
