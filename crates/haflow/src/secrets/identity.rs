//! Who can read a file of secrets: the user's own key, and the public keys of all who may.

use super::prompt;
use crate::error::Error;
use age::secrecy::{ExposeSecret, SecretString};
use age::{Callbacks, Identity, IdentityFile, Recipient, ssh, x25519};
use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The user's private key: age's own, or one of ssh's.
pub(super) struct Own {
    pub(super) path: PathBuf,
    text: Zeroizing<String>,
}

/// Where it is: what `HAFLOW_IDENTITY` says, or a file in the user's folder for settings.
fn path() -> Result<PathBuf, Error> {
    if let Some(path) = std::env::var_os("HAFLOW_IDENTITY").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let set = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = set.or_else(|| std::env::home_dir().map(|home| home.join(".config")));
    folder.map(|folder| folder.join("haflow/identity.txt")).ok_or_else(|| Error::Secret {
        message: "it isn't known where your key for secrets is".into(),
        help: "set HAFLOW_IDENTITY to its file, or HOME".into(),
    })
}

impl Own {
    /// The user's key, if there is one.
    pub(super) fn read() -> Result<Option<Self>, Error> {
        let path = path()?;
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(Self { path, text: Zeroizing::new(text) })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Io { doing: "read your key for secrets,", path, source }),
        }
    }

    /// A new key, for nobody else to read.
    pub(super) fn make() -> Result<Self, Error> {
        let path = path()?;
        let failed = |source| Error::Io { doing: "write a key for secrets,", path: path.clone(), source };
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        }
        let identity = x25519::Identity::generate();
        let public = identity.to_public();
        let text = Zeroizing::new(format!("# public key: {public}\n{}\n", identity.to_string().expose_secret()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        Ok(Self { path, text })
    }

    fn is_of_ssh(&self) -> bool {
        self.text.trim_start().starts_with("-----BEGIN")
    }

    fn wrong(&self, what: &str) -> Error {
        Error::Secret {
            message: format!("your key for secrets, {}, {what}", self.path.display()),
            help: "it is a file as `age-keygen` writes it, or an ssh key of the type ed25519 or rsa; HAFLOW_IDENTITY names another one".into(),
        }
    }

    /// What decrypts.
    pub(super) fn identities(&self, stopped: &dyn Fn() -> bool) -> Result<Vec<Box<dyn Identity>>, Error> {
        if self.is_of_ssh() {
            let name = self.path.display().to_string();
            let identity = ssh::Identity::from_buffer(self.text.trim_start().as_bytes(), Some(name))
                .map_err(|error| self.wrong(&format!("can't be read: {error}")))?;
            let passphrase = match &identity {
                ssh::Identity::Encrypted(_) if prompt::is_possible() => {
                    let question = format!("passphrase of {}: ", self.path.display());
                    prompt::ask(&question, stopped).ok_or(Error::Interrupted)?
                }
                ssh::Identity::Encrypted(_) => {
                    return Err(self.wrong("has a passphrase, and there is no terminal to ask for it on"));
                }
                ssh::Identity::Unsupported(_) => return Err(self.wrong("is of a type that age can't use")),
                ssh::Identity::Unencrypted(_) => Zeroizing::default(),
            };
            let known = Known(SecretString::from(passphrase.as_str()));
            return Ok(vec![Box::new(identity.with_callbacks(known))]);
        }
        let file = IdentityFile::from_buffer(self.text.as_bytes())
            .map_err(|error| self.wrong(&format!("can't be read: {error}")))?;
        let identities = file.into_identities().map_err(|error| self.wrong(&format!("can't be used: {error}")))?;
        if identities.is_empty() {
            return Err(self.wrong("has no key in it"));
        }
        Ok(identities.into_iter().map(|identity| identity as Box<dyn Identity>).collect())
    }

    /// The public key, as a line of the file of recipients.
    pub(super) fn public(&self) -> Result<String, Error> {
        if self.is_of_ssh() {
            let mut path = self.path.clone().into_os_string();
            path.push(".pub");
            let text = std::fs::read_to_string(&path)
                .map_err(|_| self.wrong(&format!("has no public key beside it, {}", Path::new(&path).display())))?;
            return Ok(text.trim().to_owned());
        }
        let keys: Vec<x25519::Identity> = self.text.lines().filter_map(|line| line.parse().ok()).collect();
        let lines: Vec<String> = keys.iter().map(|key| key.to_public().to_string()).collect();
        if lines.is_empty() { Err(self.wrong("has no key in it")) } else { Ok(lines.join("\n")) }
    }
}

/// Answers with what was asked before.
#[derive(Clone)]
struct Known(SecretString);

impl Callbacks for Known {
    fn display_message(&self, _: &str) {}

    fn confirm(&self, _: &str, _: &str, _: Option<&str>) -> Option<bool> {
        None
    }

    fn request_public_string(&self, _: &str) -> Option<String> {
        None
    }

    fn request_passphrase(&self, _: &str) -> Option<SecretString> {
        Some(self.0.clone())
    }
}

/// The public keys in a file of recipients, one a line; lines that begin with `#` say whose they are.
pub(super) fn recipients(path: &Path, text: &str) -> Result<Vec<Box<dyn Recipient>>, Error> {
    let mut recipients: Vec<Box<dyn Recipient>> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let native = line.parse::<x25519::Recipient>().ok().map(|key| Box::new(key) as Box<dyn Recipient>);
        let key = native.or_else(|| line.parse::<ssh::Recipient>().ok().map(|key| Box::new(key) as Box<dyn Recipient>));
        recipients.push(key.ok_or_else(|| Error::Secret {
            message: format!("{}:{} is no public key", path.display(), number + 1),
            help: "each line is one: age1…, ssh-ed25519 …, ssh-rsa …; what begins with `#` is left out".into(),
        })?);
    }
    if recipients.is_empty() {
        return Err(Error::Secret {
            message: format!("{} has no public key in it: nobody could read the secrets", path.display()),
            help: "write those of all who may, one a line".into(),
        });
    }
    Ok(recipients)
}
