//! By what to see later that a secret is another one.

use crate::error::Error;
use crate::kept::{hash, private_folder, state_folder, sync_folder};
use haflow_model::Secrets;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use zeroize::Zeroizing;

/// What is kept of secrets: digests that begin with a key of this user on this machine. Without the key,
/// which is kept elsewhere, a secret can't be guessed from them, however short it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Marks {
    /// Which key it is.
    key: String,
    /// A digest of each secret, by its name.
    of: BTreeMap<String, String>,
}

impl Marks {
    pub(crate) fn of(secrets: &Secrets, salt: &str) -> Result<Self, Error> {
        if secrets.iter().next().is_none() {
            return Ok(Self::default());
        }
        let key = key()?;
        let mark = |name: &str, value: &str| {
            let text = Zeroizing::new([&key, salt, name, value].join("\n"));
            hash(&text)[..32].to_owned()
        };
        Ok(Self {
            key: hash(&format!("which\n{}", *key))[..16].to_owned(),
            of: secrets.iter().map(|(name, secret)| (name.to_owned(), mark(name, secret.expose()))).collect(),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// The names of those that aren't what they were; `None` where that can't be told, since the key is
    /// another one.
    pub(crate) fn changed(&self, now: &Self) -> Option<Vec<&str>> {
        if self.is_empty() && now.is_empty() {
            return Some(Vec::new());
        }
        let names = self.of.iter().filter(|(name, mark)| now.of.get(*name) != Some(mark));
        (self.key == now.key).then(|| names.map(|(name, _)| name.as_str()).collect())
    }
}

/// The key: of 256 random bits, in hex, made when they are first needed.
fn key() -> Result<Zeroizing<String>, Error> {
    let folder = state_folder()?;
    let path = folder.join("secrets.key");
    let failed = |source| Error::Io { doing: "keep a key for digests of secrets in", path: path.clone(), source };
    if !path.exists() {
        private_folder(&folder).map_err(failed)?;
        let mut bits = Zeroizing::new([0_u8; 32]);
        File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut *bits)).map_err(failed)?;
        let key = Zeroizing::new(hash(&Zeroizing::new(format!("{:?}", *bits))));
        let mut file = tempfile::NamedTempFile::new_in(&folder).map_err(failed)?;
        file.write_all(key.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        match file.persist_noclobber(&path) {
            // Another haflow may have been first.
            Err(error) if error.error.kind() != ErrorKind::AlreadyExists => return Err(failed(error.error)),
            _ => sync_folder(&folder).map_err(failed)?,
        }
    }
    std::fs::read_to_string(&path).map(Zeroizing::new).map_err(failed)
}
