//! The file of secrets: TOML of names and values, encrypted by age for all whose public keys are in a file
//! beside it.

use super::identity::{Own, recipients};
use crate::error::Error;
use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::{DecryptError, Decryptor, Encryptor};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The file beside the playbook.
pub(crate) const NAME: &str = "secrets.age";

/// A file of secrets, there or not.
#[derive(Debug, Clone)]
pub(crate) struct File {
    path: PathBuf,
}

/// What is in it, by name.
pub(crate) type Contents = BTreeMap<String, Zeroizing<String>>;

impl File {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn in_folder(folder: &Path) -> Self {
        Self::new(folder.join(NAME))
    }

    /// The file of the public keys of all who may read it.
    fn recipients(&self) -> PathBuf {
        self.path.with_extension("recipients")
    }

    fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    fn wrong(&self, what: &str, help: &str) -> Error {
        Error::Secret { message: format!("{} {what}", self.path.display()), help: help.into() }
    }

    /// What is in it; `None` where there is no such file.
    pub(crate) fn read(&self, stopped: &dyn Fn() -> bool) -> Result<Option<Contents>, Error> {
        self.text(stopped)?.map(|text| self.parse(&text)).transpose()
    }

    /// The same as text.
    pub(crate) fn text(&self, stopped: &dyn Fn() -> bool) -> Result<Option<Zeroizing<String>>, Error> {
        let encrypted = match std::fs::read(&self.path) {
            Ok(encrypted) => encrypted,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Io { doing: "read", path: self.path.clone(), source }),
        };
        let Some(own) = Own::read()? else {
            return Err(self.wrong(
                "can't be decrypted: you have no key yet",
                "`haflow secret key` makes one; have somebody who can read the file add its public key to the recipients",
            ));
        };
        let identities = own.identities(stopped)?;
        let broken = |error: &dyn std::fmt::Display| {
            self.wrong(&format!("can't be decrypted: {error}"), "it was changed by something else than haflow or age")
        };
        let decryptor = Decryptor::new_buffered(ArmoredReader::new(&encrypted[..])).map_err(|error| broken(&error))?;
        let mut reader = decryptor.decrypt(identities.iter().map(|identity| &**identity)).map_err(|error| match error {
            DecryptError::NoMatchingKeys => self.wrong(
                &format!("isn't encrypted for your key, {}", own.path.display()),
                "have somebody who can read it add your public key (`haflow secret key`) to the recipients, and set or edit a secret then",
            ),
            error => broken(&error),
        })?;
        // Room for all of it: what grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(encrypted.len() + 1));
        reader.read_to_string(&mut text).map_err(|error| broken(&error))?;
        Ok(Some(text))
    }

    /// What such a text says.
    pub(crate) fn parse(&self, text: &str) -> Result<Contents, Error> {
        let kept: Contents = toml::from_str::<BTreeMap<String, String>>(text)
            .map(|kept| kept.into_iter().map(|(name, value)| (name, Zeroizing::new(value))).collect())
            .map_err(|error| {
                // Neither the line nor the message: both may hold a secret.
                let line = super::command::line(text, error.span());
                let what = line
                    .map_or_else(|| "isn't what it should be".into(), |line| format!("is wrong in its line {line}"));
                self.wrong(
                    &what,
                    "each line is name = \"value\", in TOML; a text of several lines is in three quotation marks",
                )
            })?;
        match kept.keys().find(|name| haflow_script::secret_name(name).is_err()) {
            Some(name) => Err(self.wrong(
                &format!("has a name that can't be one: `{name}`"),
                "a name is made of small letters, digits and `_`, and begins with a letter",
            )),
            None => Ok(kept),
        }
    }

    /// Keeps others from changing the file for as long as this lives.
    pub(crate) fn lock(&self) -> Result<std::fs::File, Error> {
        let folder = self.folder();
        let locked = std::fs::File::open(folder).and_then(|folder| folder.lock().map(|()| folder));
        locked.map_err(|source| Error::Io { doing: "lock", path: folder.into(), source })
    }

    /// Writes it, encrypted for all recipients, whole or not at all. Makes the user's key and the list of
    /// recipients where there is none.
    pub(crate) fn write(&self, text: &str) -> Result<(), Error> {
        let listed = self.recipients();
        let failed = |source| Error::Io { doing: "write", path: self.path.clone(), source };
        let keys = match std::fs::read_to_string(&listed) {
            Ok(keys) => keys,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let keys =
                    format!("# The public keys of all who may read {}, one a line.\n{}\n", self.name(), public()?);
                write(&listed, keys.as_bytes(), 0o644).map_err(|source| Error::Io {
                    doing: "write",
                    path: listed.clone(),
                    source,
                })?;
                eprintln!("wrote {}: add the public keys of others who may read {}", listed.display(), self.name());
                keys
            }
            Err(source) => return Err(Error::Io { doing: "read", path: listed, source }),
        };
        let recipients = recipients(&listed, &keys)?;
        let encryptor = Encryptor::with_recipients(recipients.iter().map(|key| &**key))
            .map_err(|error| self.wrong(&format!("can't be encrypted: {error}"), "look at the public keys"))?;
        let mut encrypted = Vec::new();
        let write_encrypted = || -> io::Result<()> {
            let armor = ArmoredWriter::wrap_output(&mut encrypted, Format::AsciiArmor)?;
            let mut writer = encryptor.wrap_output(armor)?;
            writer.write_all(text.as_bytes())?;
            writer.finish()?.finish()?;
            Ok(())
        };
        write_encrypted().map_err(failed)?;
        write(&self.path, &encrypted, 0o600).map_err(failed)
    }

    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// The user's public key; makes a key where there is none.
pub(crate) fn public() -> Result<String, Error> {
    if let Some(own) = Own::read()? {
        return own.public();
    }
    let own = Own::make()?;
    eprintln!("made a key for secrets in {}: keep a copy of it in a safe place", own.path.display());
    own.public()
}

/// What is kept, as the text of the file.
pub(crate) fn text(kept: &Contents) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(kept.values().map(|value| 6 * value.len() + 128).sum()));
    for (name, value) in kept {
        let value = Zeroizing::new(toml::Value::String(value.to_string()).to_string());
        text.push_str(name);
        text.push_str(" = ");
        text.push_str(&value);
        text.push('\n');
    }
    text
}

/// Writes a file whole or not at all; one that is there keeps its permissions.
fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let permissions = std::fs::metadata(path).map_or(PermissionsExt::from_mode(mode), |old| old.permissions());
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(permissions)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    crate::kept::sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_reads_back() {
        let values =
            ["plain", "it's \"quoted\"\nand\r\n\n$(more)\t\\ \u{1} ünïcödé 🦀", "'''\"\"\"", "\n", "trailing \n"];
        let kept: Contents = values
            .iter()
            .enumerate()
            .map(|(at, value)| (format!("s{at}"), Zeroizing::new((*value).to_owned())))
            .collect();
        let file = File::new("x.age".into());
        assert_eq!(file.parse(&text(&kept)).ok(), Some(kept));
    }

    #[test]
    fn what_is_wrong_is_told_without_a_value() {
        let file = File::new("x.age".into());
        for text in [
            "a = \"b\"\nhunter2",
            "a = 12345678",
            "a = [\"hunter2\"]",
            "a = \"hunter2\"\na = \"hunter3\"",
            "Big = \"hunter2\"",
        ] {
            let said = format!("{:?}", file.parse(text).unwrap_err());
            assert!(!said.contains("hunter") && !said.contains("1234"), "{said}");
        }
    }
}
