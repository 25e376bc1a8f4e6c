use crate::error::Error;
use crate::exit::Exit;
use crate::report::say;
use crate::secrets::file::{self, Contents, File};
use crate::secrets::{command_text, guard, prompt};
use clap::{Args, Subcommand};
use rustix::fs::statfs;
use std::io::{Read, Write, stdin};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

const WHERE: &str = "\
Where a playbook's secret(\"db_password\") comes from, in this order:
    1. the environment variable HAFLOW_SECRET_DB_PASSWORD,
       which nothing that haflow starts inherits
    2. the file secrets.age beside the playbook,
       which these commands read and write
    3. a command that secrets.toml beside the playbook names:
       db_password = [\"pass\", \"show\", \"db\"]
    4. a question, where there is a terminal

secrets.age is TOML, encrypted by age for all whose public keys are in
secrets.recipients. Who is added there can read it once it was set or edited again.
Your own key is in ~/.config/haflow/identity.txt, or in the file that
HAFLOW_IDENTITY names, which may be an ssh key of the type ed25519 or rsa.

For example:
    haflow secret set db_password
    haflow secret set tls_key < key.pem
    haflow secret edit --file site/secrets.age";

/// Keep secrets in an encrypted file beside the playbook.
#[derive(Debug, Args)]
#[command(after_help = WHERE)]
pub(super) struct SecretCommand {
    #[command(subcommand)]
    action: Action,
    /// The file
    #[arg(short, long, global = true, value_name = "FILE", default_value = file::NAME)]
    file: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Keep a secret: asks for it on a terminal, and otherwise takes what comes on stdin, without its last
    /// line break
    Set {
        /// Its name: small letters, digits and `_`
        #[arg(value_parser = name)]
        name: String,
    },
    /// Print the names
    List,
    /// Edit all of them with $EDITOR, in memory only; a text that isn't TOML isn't kept
    Edit,
    /// Print your public key, for others to add to secrets.recipients; makes a key where there is none
    Key,
}

fn name(text: &str) -> Result<String, String> {
    haflow_script::secret_name(text).map(|()| text.to_owned())
}

impl SecretCommand {
    pub(super) fn run(self) -> Result<Exit, Error> {
        guard();
        let path = self.file.clone();
        let file = File::new(self.file);
        let nobody = || false;
        match self.action {
            Action::Set { name } => {
                let value = given(&name)?;
                let _lock = file.lock()?;
                let mut kept = file.read(&nobody)?.unwrap_or_default();
                let word = if kept.insert(name.clone(), value).is_some() { "changed" } else { "kept" };
                file.write(&file::text(&kept))?;
                eprintln!("{word} {name}");
            }
            Action::List => {
                let Some(kept) = file.read(&nobody)? else {
                    eprintln!("note: there is no {} yet; `haflow secret set NAME` begins one", path.display());
                    return Ok(Exit::Done);
                };
                say(&kept.keys().fold(String::new(), |names, name| names + name.as_str() + "\n"));
            }
            Action::Edit => {
                let _lock = file.lock()?;
                edit(&file)?;
            }
            Action::Key => say(&(file::public()? + "\n")),
        }
        Ok(Exit::Done)
    }
}

/// The value of a secret that is set.
fn given(name: &str) -> Result<Zeroizing<String>, Error> {
    let usage = |message: &str, help: &str| Error::Usage { message: message.into(), help: help.into() };
    let value = if prompt::is_possible() {
        let ask = |question: &str| prompt::ask(question, &|| false).ok_or(Error::Interrupted);
        let value = ask(&format!("secret {name}: "))?;
        if *value != *ask("once more: ")? {
            return Err(usage("that was something else; nothing was kept", "try again"));
        }
        value
    } else {
        // Room for what secrets are: what grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(64 << 10));
        let read = stdin().lock().read_to_end(&mut bytes);
        read.map_err(|source| Error::Io { doing: "read", path: "stdin".into(), source })?;
        command_text(&bytes).ok_or_else(|| {
            usage("what came on stdin isn't UTF-8", "give bytes as base64, and decode them on the host")
        })?
    };
    if value.is_empty() || value.contains('\0') {
        return Err(usage("a secret has at least one character, and none that is NUL", "nothing was kept"));
    }
    Ok(value)
}

/// Lets the user edit the file's text, and keeps it where it can be read.
fn edit(file: &File) -> Result<(), Error> {
    const EMPTY: &str = "# name = \"value\"\n";
    let text = file.text(&|| false)?.unwrap_or_else(|| Zeroizing::new(EMPTY.to_owned()));
    // A folder of its own, for what the editor leaves beside the file; it goes with this.
    let parent = memory()?;
    let failed = |source| Error::Io { doing: "write the text to be edited in", path: parent.clone(), source };
    let folder = tempfile::Builder::new()
        .prefix("haflow-")
        .permissions(PermissionsExt::from_mode(0o700))
        .tempdir_in(&parent)
        .map_err(failed)?;
    let path = folder.path().join("secrets.toml");
    let mut opened = std::fs::OpenOptions::new();
    let mut opened = opened.write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    opened.write_all(text.as_bytes()).map_err(failed)?;
    drop(opened);
    run_editor(&path)?;
    let edited = std::fs::read_to_string(&path).map(Zeroizing::new).map_err(failed)?;
    drop(folder);
    let kept: Contents = file.parse(&edited).map_err(|error| match error {
        Error::Secret { message, help } => Error::Secret { message: message + "; nothing was kept", help },
        error => error,
    })?;
    if kept.is_empty() && *edited == EMPTY {
        eprintln!("nothing was kept");
        return Ok(());
    }
    // As it was typed: with comments, and encrypted anew also where nothing was changed, since the recipients
    // may be others now.
    file.write(&edited)?;
    eprintln!("kept {}", crate::report::count(kept.len(), "secret"));
    Ok(())
}

/// A folder that is on no disk.
fn memory() -> Result<PathBuf, Error> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let found = own.into_iter().chain([PathBuf::from("/dev/shm")]).find(|folder| is_in_memory(folder));
    found.ok_or_else(|| Error::Secret {
        message: "there is no folder in memory, and what is edited isn't to be written to a disk".into(),
        help: "mount one (tmpfs) on /dev/shm, or use `haflow secret set`".into(),
    })
}

#[cfg(target_os = "linux")]
fn is_in_memory(folder: &Path) -> bool {
    const TMPFS: i64 = 0x0102_1994;
    const RAMFS: i64 = 0x8584_58f6;
    statfs(folder).is_ok_and(|found| [TMPFS, RAMFS].contains(&found.f_type))
}

#[cfg(not(target_os = "linux"))]
fn is_in_memory(_: &Path) -> bool {
    false
}

/// Waits for the editor. A signal ends it first, so that the caller can clean up.
fn run_editor(path: &Path) -> Result<(), Error> {
    let set = |name: &str| std::env::var(name).ok().filter(|words| !words.trim().is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".to_owned());
    let failed = |why: String| Error::Secret {
        message: format!("the editor `{editor}` {why}; nothing was kept"),
        help: "EDITOR names the program that is started".into(),
    };
    let words = shell_words::split(&editor).map_err(|error| failed(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    let status = runtime.block_on(async {
        // Ctrl-C is the editor's own affair.
        let _int = signal(SignalKind::interrupt())?;
        let _quit = signal(SignalKind::quit())?;
        let (mut term, mut hup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
        let mut child = tokio::process::Command::new(words.first().map_or("vi", String::as_str))
            .args(words.iter().skip(1))
            .arg(path)
            .spawn()?;
        tokio::select! {
            status = child.wait() => status.map(Some),
            _ = term.recv() => child.kill().await.map(|()| None),
            _ = hup.recv() => child.kill().await.map(|()| None),
        }
    });
    match status.map_err(|error| failed(format!("can't be started: {error}")))? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(failed(format!("failed ({status})"))),
        None => Err(Error::Interrupted),
    }
}
