//! One long-lived remote shell on one host, through which scripts are framed.

pub(crate) mod frame;
mod script;

pub use script::{Output, Process, Script, Stopped};

use crate::lane::frame::{BEGIN, Collector, Frame};
use std::any::Any;
use std::pin::{Pin, pin};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Why a script's end isn't known.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// The connection is gone. The script may still be running there.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// The script took longer than it may.
    #[error("it took longer than {} s and was killed", .after.as_secs_f64())]
    TimedOut {
        /// How long it may take.
        after: Duration,
        /// What it had printed.
        stdout: Vec<u8>,
        /// Its messages.
        stderr: Vec<u8>,
        /// What was ended for that.
        stopped: Stopped,
    },
    /// The run was interrupted for the second time.
    #[error("it was killed, because the run was interrupted")]
    Killed(Stopped),
    /// The script printed more than a lane takes in.
    #[error("it printed more than {} MiB", crate::lane::frame::MOST >> 20)]
    TooMuch,
    /// A shell wouldn't take its text as it is.
    #[error(
        "it can't be sent: some texts in it have lines that begin with each mark, letter and digit of ASCII, and go on with another character"
    )]
    Unsendable,
}

type Reader = Pin<Box<dyn AsyncRead + Send>>;
type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// A lane's shell, as the host knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shell {
    /// Its process, and when that started: a number is used again.
    pub(crate) process: u32,
    pub(crate) started: u64,
    /// The process group of the shell and of everything that its scripts start, steps aside: sshd makes one
    /// for each session.
    pub(crate) group: u32,
}

/// One shell and the scripts that run in it, one after the other.
pub struct Lane {
    stdin: Writer,
    stdout: Reader,
    stderr: Reader,
    /// 128 random bits; each frame adds its number.
    nonce: String,
    frames: u64,
    /// Whose shell it is, there; nothing where the host doesn't say.
    shell: Option<Shell>,
    /// Which boot of the host this is; empty where it doesn't say.
    boot: String,
    /// Whether results of steps can be kept there.
    keeps: bool,
    /// Whether the host is locked for as long as this lane lives.
    pub(crate) locks: bool,
    /// Whether it was taught the functions of [`Process::Taught`].
    taught: bool,
    /// Keeps the connection open for as long as the lane lives.
    _guard: Box<dyn Any + Send>,
}

/// What a new shell is told before its first script: a path with the administrator's tools, messages in plain
/// English, and no folder that could be unmounted.
const WELCOME: &str = "PATH=\"${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin\" LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive; \
                       export PATH LC_ALL DEBIAN_FRONTEND; unset ENV CDPATH; umask 022; cd /";

/// What it knows from then on.
pub(crate) const LANE: &str = include_str!("lane.sh");
/// The most that is read of why a shell ended, in bytes.
const MOST_SAID: u64 = 64 << 10;
/// How long it may take until it is noticed that a script that has ended had been sent.
const LAST_OF_WRITING: Duration = Duration::from_secs(1);

/// Empty lines that come first: a login script that reads its input takes these.
const FOR_LOGIN_SCRIPTS: &str = "\n\n\n\n\n\n\n\n";

impl Lane {
    /// Takes over the streams of a shell that has just been started, and waits until it answers. Whatever it
    /// printed before (a chatty login script) is thrown away.
    pub async fn open(
        stdin: impl AsyncWrite + Send + 'static,
        stdout: impl AsyncRead + Send + 'static,
        stderr: impl AsyncRead + Send + 'static,
        guard: impl Any + Send,
    ) -> Result<Self, LaneError> {
        let nonce =
            crate::random::random_hex().map_err(|error| LaneError::Lost(format!("no random numbers: {error}")))?;
        let mut lane = Self {
            stdin: Box::pin(stdin),
            stdout: Box::pin(stdout),
            stderr: Box::pin(stderr),
            nonce,
            frames: 0,
            shell: None,
            boot: String::new(),
            keeps: false,
            locks: false,
            taught: false,
            _guard: Box::new(guard),
        };
        let hello = lane.frame();
        let mut out = hello.collector();
        let mut err = hello.collector();
        let marker = &lane.nonce;
        // A container shares its machine's boot id: its first process tells its boots apart. bash may put a
        // large here-document, which holds a script's values, into a file: where nobody asked for another
        // place, that is in memory.
        let text = format!(
            "{FOR_LOGIN_SCRIPTS}{WELCOME}\n{LANE}\
             for __haflow_run in /run /tmp /dev/shm; do [ ! -w \"$__haflow_run\" ] || break; done; \
             if [ -n \"${{BASH_VERSION-}}\" ] && [ -z \"${{TMPDIR-}}\" ] && [ -w /dev/shm ]; then TMPDIR=/dev/shm; fi; \
             __haflow_start=; __haflow_process 1; __haflow_boot=${{__haflow_start:-0}}; \
             __haflow=; read -r __haflow 2>/dev/null </proc/sys/kernel/random/boot_id; __haflow_boot=$__haflow_boot-${{__haflow%%-*}}; \
             __haflow_group=; __haflow_start=; __haflow_process $$; __haflow_started=${{__haflow_start:-0}}; \
             if command -v setsid >/dev/null && [ -w \"$__haflow_run\" ]; then __haflow=keeps; else __haflow=; fi; \
             printf '{marker}.1 %s %s %s %s %s\\n' \"${{__haflow_group:-0}}\" \"$$\" \"$__haflow_started\" \"$__haflow_boot\" \"$__haflow\"; \
             printf '{marker}.1 end\\n' >&2\n"
        );
        // A shell that isn't there closes its streams: reading tells why, the broken pipe doesn't.
        let _ = lane.stdin.write_all(text.as_bytes()).await;
        let _ = lane.stdin.flush().await;
        let (mut answer, mut end) = (None, None);
        while answer.is_none() || end.is_none() {
            if out.is_broken() || err.is_broken() {
                return Err(LaneError::Lost("the host answered with a line that doesn't end".into()));
            }
            pump(&mut lane.stdout, &mut lane.stderr, &mut out, &mut err).await?;
            answer = answer.or_else(|| out.piece());
            end = end.or_else(|| err.piece());
        }
        let answer = answer.map(|piece| piece.word).unwrap_or_default();
        let words: Vec<&str> = answer.split_whitespace().collect();
        if let [group, process, started, boot, keeps @ ..] = &words[..] {
            (lane.boot, lane.keeps) = ((*boot).to_owned(), !keeps.is_empty());
            lane.shell = match (group.parse(), process.parse(), started.parse()) {
                (Ok(group), Ok(process), Ok(started)) if group > 1 => Some(Shell { process, started, group }),
                _ => None,
            };
        }
        Ok(lane)
    }

    /// Runs scripts one after the other with a single round trip, each for at most `timeout`, and hands over
    /// each output when it has come. All of them run, whatever the first ones' exit codes are.
    pub async fn run(
        &mut self,
        scripts: &[Script<'_>],
        timeout: Duration,
        mut each: impl FnMut(Output),
    ) -> Result<(), LaneError> {
        let frames: Vec<Frame> = scripts.iter().map(|_| self.frame()).collect();
        let encode = |(frame, script): (&Frame, &Script<'_>)| {
            let process = match script.process {
                Process::Kept(_) if !self.keeps => Process::Own,
                process => process,
            };
            frame.encode(&Script { process, ..*script })
        };
        let encoded: Option<Vec<_>> = frames.iter().zip(scripts).map(encode).collect();
        let encoded = encoded.ok_or(LaneError::Unsendable)?;
        let lesson = scripts.iter().find_map(|script| match script.process {
            Process::Taught(functions) if !self.taught => Some(functions),
            _ => None,
        });
        self.taught |= lesson.is_some();
        // Written while the answer is read: neither side's buffers hold a large script and a large answer.
        let Self { stdin, stdout, stderr, .. } = self;
        let write = async {
            if let Some(functions) = lesson {
                // Within braces, as all that is sent: half of them are none.
                for text in ["{\n", functions, "}\n"] {
                    stdin.write_all(text.as_bytes()).await?;
                }
            }
            for frame in &encoded {
                stdin.write_all(frame.as_bytes()).await?;
            }
            stdin.flush().await
        };
        let read = async {
            let mut carried = (Vec::new(), Vec::new());
            for frame in &frames {
                let (mut out, mut err) = (frame.collector(), frame.collector());
                out.push(&carried.0);
                err.push(&carried.1);
                match tokio::time::timeout(timeout, gather(stdout, stderr, &mut out, &mut err)).await {
                    Ok(Ok(output)) => each(output),
                    Ok(Err(error)) => return Err(error),
                    Err(_) => {
                        let (stdout, stderr) = (out.rest(), err.rest());
                        return Err(LaneError::TimedOut {
                            after: timeout,
                            stdout,
                            stderr,
                            stopped: Stopped::default(),
                        });
                    }
                }
                carried = (out.rest(), err.rest());
            }
            Ok(())
        };
        let (mut write, mut read) = (pin!(write), pin!(read));
        let mut written = None;
        loop {
            tokio::select! {
                biased;
                // Whatever has become of what is still to be written: a host that takes nothing any more must
                // not hold up a timeout.
                read = &mut read => {
                    read?;
                    break;
                }
                done = &mut write, if written.is_none() => written = Some(done),
            }
        }
        let written = match written {
            Some(written) => written,
            // All that was sent has been run, so it has all arrived.
            None => tokio::time::timeout(LAST_OF_WRITING, write)
                .await
                .map_err(|_| LaneError::Lost("it answered more than it was asked".into()))?,
        };
        written.map_err(|error| LaneError::Lost(error.to_string()))
    }

    /// Its shell, to be ended when [`Lane::run`] ended early.
    pub(crate) fn shell(&self) -> Option<Shell> {
        self.shell
    }

    /// Which boot of the host this is; empty where it doesn't say.
    pub(crate) fn boot(&self) -> &str {
        &self.boot
    }

    /// Whether results of steps can be kept there.
    pub(crate) fn keeps(&self) -> bool {
        self.keeps
    }

    /// A new id for a step whose result is to be kept, if that can be: its folder is of this boot of the
    /// host.
    pub(crate) fn step(&self) -> Option<String> {
        let id = crate::random::random_hex().ok()?;
        self.keeps.then(|| format!("{}.{}", &id[..16], self.boot))
    }

    fn frame(&mut self) -> Frame {
        self.frames += 1;
        Frame::new(format!("{}.{}", self.nonce, self.frames))
    }
}

/// Reads until both streams have shown the end of one script.
async fn gather(
    stdout: &mut Reader,
    stderr: &mut Reader,
    out: &mut Collector,
    err: &mut Collector,
) -> Result<Output, LaneError> {
    let (mut printed, mut messages) = (None, None);
    loop {
        // What comes before the beginning is of something that an earlier script left running.
        while printed.is_none()
            && let Some(piece) = out.piece()
        {
            printed = Some(piece).filter(|piece| piece.word != BEGIN);
        }
        while messages.is_none()
            && let Some(piece) = err.piece()
        {
            messages = Some(piece).filter(|piece| piece.word != BEGIN);
        }
        if let (Some(printed), Some(messages)) = (&mut printed, &mut messages) {
            if printed.dropped + messages.dropped > 0 {
                return Err(LaneError::TooMuch);
            }
            let exit = printed
                .word
                .parse()
                .map_err(|_| LaneError::Lost(format!("the shell answered {:?} for an exit code", printed.word)))?;
            let (stdout, stderr) = (std::mem::take(&mut printed.bytes), std::mem::take(&mut messages.bytes));
            return Ok(Output { exit, stdout, stderr });
        }
        if out.is_broken() || err.is_broken() {
            return Err(LaneError::Lost("the host answered with a line that doesn't end".into()));
        }
        pump(stdout, stderr, out, err).await?;
    }
}

/// Reads more of whichever stream has something.
async fn pump(
    stdout: &mut Reader,
    stderr: &mut Reader,
    out: &mut Collector,
    err: &mut Collector,
) -> Result<(), LaneError> {
    let ended = tokio::select! {
        read = stdout.read_buf(out.room()) => read,
        read = stderr.read_buf(err.room()) => read,
    };
    match ended {
        Ok(1..) => Ok(()),
        Ok(0) => {
            // What ended the shell may have said why.
            let mut said = Vec::new();
            let mut rest = (&mut *stderr).take(MOST_SAID);
            let _ = tokio::time::timeout(Duration::from_secs(2), rest.read_to_end(&mut said)).await;
            err.push(&said);
            let said = crate::cut::tail(err.peek(), 3);
            Err(LaneError::Lost(if said.is_empty() { "the remote shell ended".into() } else { said }))
        }
        Err(error) => Err(LaneError::Lost(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;
    use tokio::io::{DuplexStream, duplex};

    /// What a large script's here-document is read from. bash may make a file for it; others make a pipe.
    #[tokio::test]
    async fn scripts_stay_in_memory_where_sh_is_bash() {
        let sh = tokio::process::Command::new("bash")
            .arg("--posix")
            .env_remove("TMPDIR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        // Not every machine has one.
        let Ok(mut sh) = sh else { return };
        let streams = (sh.stdin.take(), sh.stdout.take(), sh.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = streams else { panic!("all three are piped") };
        let mut lane = Lane::open(stdin, stdout, stderr, sh).await.expect("it answers");
        let variables = [("secret".to_owned(), "s3cret ".repeat(50_000))];
        // As much of its own. The variables' one is closed by then.
        let text =
            format!("readlink /proc/$$/fd/3; ls /proc/$$/fd/4; env | grep TMPDIR\n: '{}'", "s3cret ".repeat(50_000));
        let script = Script { text: &text, variables: &variables, process: Process::Own };
        let mut said = String::new();
        let each = |output: Output| said = String::from_utf8_lossy(&output.stdout).into_owned();
        lane.run(&[script], Duration::from_mins(1), each).await.expect("it runs");
        assert!(said.starts_with("/dev/shm/") || said.starts_with("pipe:"), "a secret was in {said}");
        assert!(!said.contains("TMPDIR"), "scripts have another environment: {said}");
    }

    /// A lane, and the other ends of its streams: nobody reads what is sent there after the hello.
    async fn lane() -> (Lane, String, [DuplexStream; 3]) {
        let (stdin, mut far_stdin) = duplex(1 << 10);
        let (mut far_stdout, stdout) = duplex(1 << 20);
        let (mut far_stderr, stderr) = duplex(1 << 10);
        let far = async move {
            let mut text = String::new();
            while !text.contains(".1 end") {
                let mut bytes = [0; 256];
                let read = far_stdin.read(&mut bytes).await.expect("it talks");
                text.push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
            let marker = text.rsplit("printf '").next().and_then(|rest| rest.split('.').next()).expect("a marker");
            far_stdout.write_all(format!("{marker}.1 2 3 4 5\n").as_bytes()).await.expect("it listens");
            far_stderr.write_all(format!("{marker}.1 end\n").as_bytes()).await.expect("it listens");
            (marker.to_owned(), [far_stdin, far_stdout, far_stderr])
        };
        let (lane, (marker, far)) = tokio::join!(Lane::open(stdin, stdout, stderr, ()), far);
        (lane.expect("it opens"), marker, far)
    }

    /// The script doesn't fit the way to a host that has stopped reading.
    #[tokio::test]
    async fn a_timeout_fires_while_a_script_is_still_being_written() {
        let (mut lane, _, _far) = lane().await;
        let text = format!(": {}", "x".repeat(4 << 20));
        let scripts = [Script { text: &text, variables: &[], process: Process::Own }];
        let ran = lane.run(&scripts, Duration::from_millis(50), drop);
        let ran = tokio::time::timeout(Duration::from_secs(20), ran).await.expect("the timeout fires");
        assert!(matches!(ran, Err(LaneError::TimedOut { .. })), "{ran:?}");
    }

    /// A host that knows the marker, prints it, and then anything.
    #[tokio::test]
    async fn an_answer_without_an_end_breaks_the_lane() {
        let (mut lane, marker, [_stdin, mut far_stdout, _stderr]) = lane().await;
        let script = Script { text: ":", variables: &[], process: Process::Own };
        let mut endless = format!("{marker}.2 ").into_bytes();
        endless.resize(100 << 10, b'x');
        far_stdout.write_all(&endless).await.expect("there is room");
        let ran = lane.run(&[script], Duration::from_mins(1), drop).await;
        assert!(matches!(ran, Err(LaneError::Lost(_))), "{ran:?}");
    }
}
