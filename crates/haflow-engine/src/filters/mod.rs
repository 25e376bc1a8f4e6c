//! Where jq filters run: in processes of their own, which have little memory and are ended when a filter
//! takes too long.
//!
//! A filter that nests without end overflows its stack, and nothing in Rust survives that; one that asks for
//! all memory, or never ends, can't be stopped from within either. So the program begins itself once more
//! ([`serve`]) and hands filters to that process, one after the other, through its stdin and stdout. Where no
//! program is given, in tests, they run on threads of this process.

pub(crate) mod jq;

use crate::filters::jq::{Error, Input, Yield};
use haflow_model::Value;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// The argument with which the program is begun to serve filters.
pub const SERVE: &str = "__filters";

/// How much memory a process that serves filters may have, in bytes.
pub const MEMORY: u64 = 512 << 20;

/// How deep filters and values may nest, in bytes of stack.
const STACK: usize = 64 << 20;
/// No filter takes longer, whatever its task's timeout is.
const LONGEST: Duration = Duration::from_mins(1);
/// The most filters that run at once.
const AT_ONCE: usize = 16;
/// The most processes that wait for the next filter.
const MOST_IDLE: usize = 4;
/// The most that is taken of an answer, in bytes.
const MOST_ANSWERED: u64 = 256 << 20;

/// Does what takes a while with a large file without holding up the run.
pub(crate) async fn off_task<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// The processes that run filters.
#[derive(Debug)]
pub(crate) struct Filters {
    program: Option<PathBuf>,
    idle: Mutex<Vec<Process>>,
    slots: Semaphore,
}

#[derive(Debug)]
struct Process {
    /// Killed when it is dropped.
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

/// A filter with its input, on its way.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) filter: &'a str,
    pub(crate) variables: &'a [(String, Value)],
    pub(crate) input: Input,
}

/// How a task's filters are run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Running<'a> {
    pub(crate) filters: &'a Filters,
    /// The task's params.
    pub(crate) variables: &'a [(String, Value)],
    pub(crate) timeout: Duration,
    pub(crate) kill: &'a CancellationToken,
}

impl Running<'_> {
    pub(crate) async fn run(self, filter: &str, input: Input) -> Result<Yield, Error> {
        self.filters.run(Job { filter, variables: self.variables, input }, self.timeout, self.kill).await
    }
}

impl Filters {
    /// `program` serves filters when it is begun with [`SERVE`].
    pub(crate) fn new(program: Option<PathBuf>) -> Self {
        Self { program, idle: Mutex::default(), slots: Semaphore::new(AT_ONCE) }
    }

    /// Runs a filter for at most `timeout`.
    pub(crate) async fn run(&self, job: Job<'_>, timeout: Duration, kill: &CancellationToken) -> Result<Yield, Error> {
        let timeout = timeout.min(LONGEST);
        let run = async {
            let _slot = self.slots.acquire().await;
            let run = async {
                match &self.program {
                    Some(program) => self.elsewhere(program, &job).await,
                    None => here(&job).await,
                }
            };
            tokio::time::timeout(timeout, run).await.unwrap_or_else(|_| {
                Err(Error::Broken(format!("took longer than {} s and was ended", timeout.as_secs_f64())))
            })
        };
        tokio::select! {
            biased;
            ran = run => ran,
            () = kill.cancelled() => Err(Error::Killed),
        }
    }

    async fn elsewhere(&self, program: &PathBuf, job: &Job<'_>) -> Result<Yield, Error> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let job = encode(job);
        let waiting = idle().pop();
        let answered = match waiting {
            Some(mut process) => process.ask(&job).await.ok().map(|answer| (process, answer)),
            None => None,
        };
        // One that waited may have been ended by somebody meanwhile.
        let (process, answer) = if let Some(answered) = answered {
            answered
        } else {
            let mut process = Process::begin(program)
                .map_err(|error| Error::Broken(format!("can't be run: {} didn't start: {error}", program.display())))?;
            let Ok(answer) = process.ask(&job).await else {
                let mib = MEMORY >> 20;
                return Err(Error::Broken(format!(
                    "ended its process: it nests too deep, or needs more than {mib} MiB"
                )));
            };
            (process, answer)
        };
        let mut idle = idle();
        if idle.len() < MOST_IDLE {
            idle.push(process);
        }
        drop(idle);
        decode(&answer)
    }
}

impl Process {
    fn begin(program: &PathBuf) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.arg(SERVE).env_clear().current_dir("/").kill_on_drop(true);
        // Its own group: an interrupt at the terminal is for the run to hear.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("it has no streams"));
        };
        Ok(Self { child, stdin, stdout })
    }

    async fn ask(&mut self, job: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
        self.stdin.write_u64_le(job.len() as u64).await?;
        self.stdin.write_all(job).await?;
        self.stdin.flush().await?;
        let length = self.stdout.read_u64_le().await?;
        if length > MOST_ANSWERED {
            return Err(io::Error::other("it answers too much"));
        }
        let mut answer = Zeroizing::new(Vec::new());
        (&mut self.stdout).take(length).read_to_end(&mut answer).await?;
        if answer.len() as u64 != length {
            let _ = self.child.start_kill();
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(answer)
    }
}

/// Runs a filter on a thread of this process. It is given up, and not ended, where nobody waits any longer.
async fn here(job: &Job<'_>) -> Result<Yield, Error> {
    let (filter, variables, input) = (job.filter.to_owned(), job.variables.to_vec(), job.input.clone());
    let (told, done) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().stack_size(STACK);
    let run = move || drop(told.send(jq::run(&filter, variables, input)));
    thread.spawn(run).map_err(|error| Error::Broken(format!("has no thread: {error}")))?;
    done.await.unwrap_or_else(|_| Err(Error::Broken("panicked".into())))
}

/// Runs the filters that come on `input` and writes what they yield to `output`, until there are no more. The
/// caller limits the process's memory to [`MEMORY`] first.
pub fn serve(input: impl Read + Send + 'static, output: impl Write + Send + 'static) -> io::Result<()> {
    let serving = std::thread::Builder::new().stack_size(STACK).spawn(move || serve_here(input, output))?;
    serving.join().unwrap_or_else(|_| Err(io::Error::other("a filter panicked")))
}

fn serve_here(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    loop {
        let mut length = [0; 8];
        match input.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        let mut job = Zeroizing::new(Vec::new());
        (&mut input).take(u64::from_le_bytes(length)).read_to_end(&mut job)?;
        // All that it made is gone before it is answered: if that ends the process, it ends with this filter
        // and not with the next one.
        let answer = Zeroizing::new(answer(&job));
        output.write_all(&(answer.len() as u64).to_le_bytes())?;
        output.write_all(&answer)?;
        output.flush()?;
    }
}

fn answer(job: &[u8]) -> Vec<u8> {
    let yielded = parts(job).and_then(|parts| parsed(&parts)).map_or_else(
        || Err(Error::Broken("didn't arrive whole".into())),
        |(filter, variables, input)| jq::run(filter, variables, input),
    );
    let (mark, bytes) = match yielded {
        Ok(Yield::Text(text)) => (b't', text),
        Ok(Yield::Value(value)) => (b'v', value.to_string().into_bytes()),
        Err(Error::Raised(message)) => (b'r', message.into_bytes()),
        Err(Error::Broken(message)) => (b'b', message.into_bytes()),
        Err(Error::Killed) => (b'b', b"was ended".to_vec()),
    };
    let mut answer = vec![mark];
    answer.extend(bytes);
    answer
}

fn decode(answer: &[u8]) -> Result<Yield, Error> {
    let (mark, bytes) = answer.split_first().unwrap_or((&b'b', b"said nothing"));
    let text = || String::from_utf8_lossy(bytes).into_owned();
    match mark {
        b't' => Ok(Yield::Text(bytes.to_vec())),
        b'v' => match serde_json::from_slice(bytes) {
            Ok(value) => Ok(Yield::Value(value)),
            Err(error) => Err(Error::Broken(format!("yields what can't be read: {error}"))),
        },
        b'r' => Err(Error::Raised(text())),
        _ => Err(Error::Broken(text())),
    }
}

/// The filter, the input with a mark before it, and name and value of each variable; the length of each
/// before it.
fn encode(job: &Job<'_>) -> Zeroizing<Vec<u8>> {
    let (mark, input) = match &job.input {
        Input::Text(text) => (b't', text.clone()),
        Input::Value(value) => (b'v', value.to_string().into_bytes()),
    };
    let input = Zeroizing::new(input);
    let mut bytes = Zeroizing::new(Vec::with_capacity(job.filter.len() + input.len() + 64));
    let mut put = |part: &[&[u8]]| {
        let length: usize = part.iter().map(|piece| piece.len()).sum();
        bytes.extend_from_slice(&(length as u64).to_le_bytes());
        for piece in part {
            bytes.extend_from_slice(piece);
        }
    };
    put(&[job.filter.as_bytes()]);
    put(&[&[mark], &input]);
    for (name, value) in job.variables {
        put(&[name.as_bytes()]);
        put(&[Zeroizing::new(value.to_string()).as_bytes()]);
    }
    bytes
}

fn parts(mut job: &[u8]) -> Option<Vec<&[u8]>> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = job.split_first_chunk() {
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (part, rest) = rest.split_at_checked(length)?;
        parts.push(part);
        job = rest;
    }
    job.is_empty().then_some(parts)
}

/// A filter, its variables and its input.
type Parsed<'a> = (&'a str, Vec<(String, Value)>, Input);

fn parsed<'a>(parts: &[&'a [u8]]) -> Option<Parsed<'a>> {
    let [filter, input, variables @ ..] = parts else { return None };
    let input = match input.split_first()? {
        (b't', text) => Input::Text(text.to_vec()),
        (_, json) => Input::Value(serde_json::from_slice(json).ok()?),
    };
    let variable = |pair: &[&[u8]]| {
        let [name, value] = pair else { return None };
        Some((String::from_utf8(name.to_vec()).ok()?, serde_json::from_slice(value).ok()?))
    };
    let variables = variables.chunks(2).map(variable).collect::<Option<_>>()?;
    Some((std::str::from_utf8(filter).ok()?, variables, input))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_filter_and_its_answer_survive_the_way() {
        let variables = [("x".to_owned(), json!({"a": [1, "é"]})), ("y".to_owned(), json!(null))];
        let deep: Value = serde_json::from_str(&("[".repeat(127) + &"]".repeat(127))).expect("it isn't too deep");
        for (filter, input, yields) in [
            ("[$x.a[], $y, .]", Input::Value(json!({"k": 2})), Ok(Yield::Value(json!([1, "é", null, {"k": 2}])))),
            (". + \"\\n\"", Input::Text(b"\xff\n".to_vec()), Ok(Yield::Text(b"\xff\n\n".to_vec()))),
            (".", Input::Value(deep.clone()), Ok(Yield::Value(deep))),
            ("error(\"no\")", Input::Value(json!(1)), Err(Error::Raised("no".into()))),
        ] {
            let job = encode(&Job { filter, variables: &variables, input });
            assert_eq!(decode(&answer(&job)), yields, "{filter}");
            assert!(parts(&job[..job.len() - 1]).is_none(), "half a job is none");
        }
        let mut sent = Vec::new();
        let job = encode(&Job { filter: ".", variables: &[], input: Input::Value(json!(7)) });
        for _ in 0..3 {
            sent.extend((job.len() as u64).to_le_bytes());
            sent.extend_from_slice(&job);
        }
        let mut answers = Vec::new();
        serve_here(&sent[..], &mut answers).expect("it is served");
        assert_eq!(answers, b"\x02\0\0\0\0\0\0\0v7".repeat(3));
    }

    #[tokio::test]
    async fn a_filter_that_never_ends_holds_nothing_up() {
        let filters = Filters::new(None);
        let endless = || Job { filter: "last(range(100000000))", variables: &[], input: Input::Value(json!(1)) };
        let kill = CancellationToken::new();
        let took = filters.run(endless(), Duration::from_millis(20), &kill).await.unwrap_err().to_string();
        assert_eq!(took, "the jq filter took longer than 0.02 s and was ended");
        kill.cancel();
        assert_eq!(filters.run(endless(), Duration::from_mins(1), &kill).await, Err(Error::Killed));
    }
}
