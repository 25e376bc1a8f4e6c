//! How scripts and their results share one remote shell: pure encoding and decoding, no I/O.
//!
//! A script is sent as a here-document to a shell of its own, so that a syntax error or an `exit` doesn't end
//! the lane; haflow's own scripts run in a fork of the lane's shell, which costs less than half. The marker
//! that ends the output is 128 random bits and a counter. Variables come in a here-document of their own, so
//! that a shell's errors name the script's own lines.
//!
//! A step's script also gets a session of its own and a keeper, a shell that outlives the lane: what it
//! prints and its exit code go to a folder on the host, from where the lane, or a later one, takes them.

use crate::lane::script::{Process, Script};
use crate::shell::quote;
use memchr::memmem::Finder;
use std::fmt::Write as _;
use zeroize::Zeroizing;

/// The word behind the marker before a script's output.
pub(crate) const BEGIN: &str = "begin";
/// The word behind the marker after a script's messages.
pub(crate) const END: &str = "end";

/// How the name of a step's folder begins.
pub(crate) const FOLDER: &str = "haflow-step-";
/// Runs the script, which it is given as its third descriptor, and keeps what it prints and its exit code in
/// the folder `$1`. Only where they can't be written does its own exit code tell.
///
/// What is printed goes through pipes, so that a host's memory isn't filled by it: of each stream the first
/// MiB is kept (`out`), and at least the last one (`out.a`, `out.b`). The reader of a pipe goes on for as
/// long as any process may write to it, also one that a step leaves running: so SIGPIPE ends nothing. Such a
/// process keeps the pipe open; then all has been taken up once the reader sleeps.
const KEEPER: &str = r#"'echo $$ >"$1/pid"
take() {
  trap "" XFSZ TERM INT HUP
  ulimit -f 2048
  file=$1/$2
  until cat <&5 >"$file" 2>/dev/null & echo $! >"$1/$2.pid"; wait $!; do
    [ -d "$1" ] || exec cat <&5 >/dev/null
    [ "$file" = "$1/$2" ] || mv -f -- "$file" "$1/$2.a"
    file=$1/$2.b
  done
  : >"$1/$2.end"
}
if mkfifo -m 600 "$1/o" "$1/e"; then
  take "$1" out 5<"$1/o" 3<&- 4<&- 9<&- &
  set -- "$1" $!
  take "$1" err 5<"$1/e" 3<&- 4<&- 9<&- &
  echo $2 $! >"$1/writers"
  sh /dev/fd/3 >"$1/o" 2>"$1/e" 9<&-
  set -- "$1" $? 0 0
  for stream in out err; do
    until [ -e "$1/$stream.end" ]; do
      set -- "$1" $2 $(($3 + 1)) $4
      [ $3 -gt 300 ] || continue
      if [ $3 -lt 320 ]; then sleep 0.001 || sleep 1; continue; fi
      pid= line="gone) S "
      read -r pid <"$1/$stream.pid"
      [ -z "$pid" ] || read -r line <"/proc/$pid/stat"
      case $line in *") S "*) set -- "$1" $2 $3 $(($4 + 1)) ;; *) set -- "$1" $2 $3 0 ;; esac
      [ $4 -lt 3 ] || break
      sleep 0.01 || sleep 1
    done
    set -- "$1" $2 $3 0
  done
else
  sh /dev/fd/3 >"$1/out" 2>"$1/err" 9<&-
  set -- "$1" $?
fi
echo $2 >"$1/exit"
exit $2'"#;
/// Reads the variables, in the script's first line.
const READ: &str = ". /dev/fd/4; exec 4<&-; ";
/// Waits for the keeper, and prints what it kept. Where it was killed itself, nobody knows the script's end.
const FETCH: &str = r#"wait $!
__haflow=$?
if [ -s "$__haflow_step/exit" ]; then read -r __haflow <"$__haflow_step/exit"; elif [ "$__haflow" -gt 128 ]; then __haflow=gone; fi
__haflow_printed "$__haflow_step" out
__haflow_printed "$__haflow_step" err >&2
"#;

/// What is sent to a lane and how its answer is told from the output of the script.
#[derive(Debug)]
pub(crate) struct Frame {
    marker: String,
}

impl Frame {
    /// `marker` must appear in no script: the lane makes it from random bits.
    pub(crate) fn new(marker: String) -> Self {
        Self { marker }
    }

    /// The bytes to write to the lane. Gone from memory when they are dropped, since variables may be
    /// secrets. `None` where a text defies every [`Frame::delimiter`].
    pub(crate) fn encode(&self, script: &Script<'_>) -> Option<Zeroizing<String>> {
        let marker = &self.marker;
        let begin = format!("printf '{marker} {BEGIN}\\n'; printf '{marker} {BEGIN}\\n' >&2\n");
        // Room for all of it: what grows leaves copies behind. A quote in a value takes four bytes.
        let length = |(name, value): &(String, String)| {
            name.len() + value.len() + 3 * value.bytes().filter(|byte| *byte == b'\'').count() + 4
        };
        let variables: usize = script.variables.iter().map(length).sum();
        let mut text = Zeroizing::new(String::with_capacity(script.text.len() + variables + 8 * marker.len() + 1024));
        // A connection that is lost over a here-document ends it too: nothing of half a script may run, so
        // each is within braces. A here-document's end is a whole line, so the script's last line needs its
        // newline. The ninth descriptor is the host's lock, which only lanes and keepers hold. The variables
        // come in a here-document of their own, which the script's first line reads: so its lines have the
        // numbers that the shell tells.
        let (close, between) = match script.process {
            Process::Own => {
                let delimiter = self.delimiter(script)?;
                text.push_str("{\n");
                text.push_str(&begin);
                let _ = writeln!(*text, "sh /dev/fd/3 4<<'{delimiter}' 3<<'{delimiter}' </dev/null 9<&-");
                (format!("\n{delimiter}\n}}\n__haflow=$?\n"), format!("{delimiter}\n{READ}"))
            }
            Process::Kept(step) => {
                let delimiter = self.delimiter(script)?;
                text.push_str(&begin);
                let _ = writeln!(*text, "__haflow_step=\"$__haflow_run/{FOLDER}{step}\"; __haflow=1");
                let _ = writeln!(*text, "if mkdir -m 700 -- \"$__haflow_step\"; then");
                let _ = writeln!(
                    *text,
                    "HAFLOW_STEP=\"$__haflow_step\" setsid sh -c {KEEPER} sh \"$__haflow_step\" \
                     4<<'{delimiter}' 3<<'{delimiter}' </dev/null >/dev/null 2>&1 &"
                );
                (format!("\n{delimiter}\n{FETCH}fi\n"), format!("{delimiter}\n{READ}"))
            }
            Process::Forked | Process::Taught(_) => {
                text.push_str("(\n");
                text.push_str(&begin);
                ("\n) </dev/null 9<&-\n__haflow=$?\n".to_owned(), String::new())
            }
            Process::Lane => {
                text.push_str("{\n");
                text.push_str(&begin);
                ("\n} </dev/null\n__haflow=$?\n".to_owned(), String::new())
            }
        };
        for (name, value) in script.variables {
            text.push_str(name);
            text.push('=');
            text.push_str(&Zeroizing::new(quote(value)));
            text.push('\n');
        }
        text.push_str(&between);
        text.push_str(script.text);
        text.push_str(&close);
        let _ = writeln!(*text, "printf '{marker} %s\\n' \"$__haflow\"; printf '{marker} {END}\\n' >&2");
        Some(text)
    }

    /// What ends a script's here-document. dash drops a byte that isn't ASCII where it comes in a line right
    /// after the beginning of the delimiter (0.5.12: `checkend` in parser.c takes a negative character for
    /// the end of the file), so it is one that no line begins like that.
    fn delimiter(&self, script: &Script<'_>) -> Option<String> {
        // A value's first line has the variable's name before it.
        let values = script.variables.iter().flat_map(|(_, value)| value.split('\n').skip(1));
        let mut taken = [false; 128];
        for line in values.chain(script.text.split('\n')) {
            let Some((first, rest)) = line.as_bytes().split_first() else { continue };
            let next = rest.iter().find(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'.'));
            if first.is_ascii() && next.is_some_and(|next| !next.is_ascii()) {
                taken[usize::from(*first)] = true;
            }
        }
        let mut marks = ('!'..='~').rev().filter(|mark| !matches!(mark, '\'' | '\\'));
        marks.find(|mark| !taken[*mark as usize]).map(|mark| format!("{mark}{}", self.marker))
    }

    /// A collector for one of the two streams that the lane prints: the beginning, what the script printed,
    /// then its exit code on stdout and the end on stderr.
    pub(crate) fn collector(&self) -> Collector {
        Collector::new(&self.marker)
    }
}

/// Gathers one stream until its marker line is complete.
#[derive(Debug)]
pub(crate) struct Collector {
    finder: Finder<'static>,
    /// Everything since the last marker line.
    bytes: Vec<u8>,
    /// Where to go on searching.
    searched: usize,
    /// How much was thrown away because there was too much.
    dropped: usize,
    /// Whether a marker's line is longer than any that a shell was told to print: nothing that follows can be
    /// relied on.
    broken: bool,
}

/// A marker's line is no longer than this, in bytes: an exit code is in it, or what a lane's shell says of
/// itself.
const LONGEST_LINE: usize = 4 << 10;

/// More than this of one stream of one script isn't kept, in bytes.
pub(crate) const MOST: usize = 64 << 20;

/// A piece of a stream that ended in a marker line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// What came before the marker.
    pub(crate) bytes: Vec<u8>,
    /// The word behind the marker.
    pub(crate) word: String,
    /// How many bytes at the front are missing.
    pub(crate) dropped: usize,
}

impl Collector {
    fn new(marker: &str) -> Self {
        Self {
            finder: Finder::new(marker.as_bytes()).into_owned(),
            bytes: Vec::new(),
            searched: 0,
            dropped: 0,
            broken: false,
        }
    }

    /// Takes in more of the stream.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Where more of the stream is read to, with room for a good deal of it where there is a good deal. Most
    /// scripts print little, and hundreds of lanes wait for it at once.
    pub(crate) fn room(&mut self) -> &mut Vec<u8> {
        self.bytes.reserve(if self.bytes.is_empty() { 1 << 10 } else { 16 << 10 });
        &mut self.bytes
    }

    /// The next piece, if its marker line has come whole. What follows it stays.
    pub(crate) fn piece(&mut self) -> Option<Piece> {
        if self.broken {
            return None;
        }
        let length = self.finder.needle().len();
        let from = self.searched.min(self.bytes.len());
        let Some(found) = self.finder.find(&self.bytes[from..]).map(|at| at + from) else {
            self.searched = self.bytes.len().saturating_sub(length - 1);
            if self.bytes.len() > MOST {
                let excess = self.bytes.len() - MOST / 2;
                self.bytes.drain(..excess);
                self.dropped += excess;
                self.searched = self.searched.saturating_sub(excess);
            }
            return None;
        };
        let line = &self.bytes[found..];
        let Some(end) = memchr::memchr(b'\n', &line[..line.len().min(LONGEST_LINE)]).map(|at| at + found) else {
            self.searched = found;
            self.broken = line.len() >= LONGEST_LINE;
            return None;
        };
        let word = String::from_utf8_lossy(&self.bytes[found + length..end]).trim().to_owned();
        let rest = self.bytes.split_off(end + 1);
        let mut bytes = std::mem::replace(&mut self.bytes, rest);
        bytes.truncate(found);
        self.searched = 0;
        Some(Piece { bytes, word, dropped: std::mem::take(&mut self.dropped) })
    }

    /// Whether no piece comes any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// What has come so far of an unfinished piece.
    pub(crate) fn peek(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, to be kept.
    pub(crate) fn rest(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    proptest! {
        #[test]
        fn any_output_cut_anywhere_comes_back_whole(
            outputs in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), any::<u8>()), 1..4),
            cut in 1_usize..40,
        ) {
            let mut collector = Frame::new("f00dfeedf00dfeed".into()).collector();
            let mut stream = Vec::new();
            for (output, exit) in &outputs {
                stream.extend_from_slice(output);
                stream.extend_from_slice(format!("f00dfeedf00dfeed {exit}\n").as_bytes());
            }
            let mut pieces = Vec::new();
            for chunk in stream.chunks(cut) {
                collector.push(chunk);
                while let Some(piece) = collector.piece() {
                    pieces.push((piece.bytes, piece.word));
                }
            }
            let expected: Vec<_> = outputs.into_iter().map(|(output, exit)| (output, exit.to_string())).collect();
            prop_assert_eq!(pieces, expected);
        }
    }

    /// A host that prints a marker, which it knows, and no line break behind it.
    #[test]
    fn a_marker_line_that_never_ends_breaks_the_stream() {
        let mut collector = Frame::new("f00dfeedf00dfeed".into()).collector();
        collector.push(b"out\nf00dfeedf00dfeed ");
        let mut taken = 0;
        while !collector.is_broken() {
            assert_eq!(collector.piece(), None);
            assert!(taken < 2 * LONGEST_LINE, "it goes on for ever");
            collector.push(&[b'x'; 100]);
            taken += 100;
        }
        collector.push(b"\nf00dfeedf00dfeed 0\n");
        assert_eq!(collector.piece(), None, "nothing behind it counts");
    }

    /// Runs the encoded frame in a real `sh` and decodes what it prints.
    fn through_sh(process: Process<'_>, variables: &[(String, String)], script: &str) -> (Piece, Vec<u8>) {
        let frame = Frame::new("0123456789abcdef0123456789abcdef.1".into());
        let mut child = Command::new("sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let text = frame.encode(&Script { text: script, variables, process }).expect("there is a delimiter");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
        let output = child.wait_with_output().expect("sh ends");
        writer.join().expect("no panic").expect("sh reads it all");
        let mut stdout = frame.collector();
        stdout.push(&output.stdout);
        let mut stderr = frame.collector();
        stderr.push(&output.stderr);
        for stream in [&mut stdout, &mut stderr] {
            assert_eq!(stream.piece().expect("the stream begins").word, BEGIN);
        }
        (stdout.piece().expect("the output ends"), stderr.piece().expect("the messages end").bytes)
    }

    #[test]
    fn scripts_end_as_they_like_and_the_lane_goes_on() {
        for (script, output, exit) in [
            ("printf 'no newline'", "no newline", "0"),
            ("echo out; exit 7; echo never", "out\n", "7"),
            ("if then", "", "2"),
            ("kill -9 $$", "", "137"),
            ("cat", "", "0"),
        ] {
            let (piece, _) = through_sh(Process::Own, &[], script);
            assert_eq!(
                (String::from_utf8_lossy(&piece.bytes).as_ref(), piece.word.as_str()),
                (output, exit),
                "{script}"
            );
        }
    }

    /// What a shell says names the script's own lines, whatever comes before them.
    #[test]
    fn errors_name_the_lines_of_the_script() {
        let variables = [("a".to_owned(), "one\ntwo\n".to_owned()), ("b".to_owned(), String::new())];
        let messages = |script: &str| {
            let (_, messages) = through_sh(Process::Own, &variables, script);
            String::from_utf8_lossy(&messages).into_owned()
        };
        for (script, line) in [
            ("nosuch", 1),
            ("# é\n\nnosuch", 3),
            ("\necho \"$a\"\nif then", 3),
            ("if then", 1),
            ("cat <<E; nosuch\nE\n", 1),
        ] {
            let told = messages(script);
            let (dash, others) = (format!("/dev/fd/3: {line}: "), format!("/dev/fd/3: line {line}: "));
            assert!(told.starts_with(&dash) || told.starts_with(&others), "{script:?}: {told:?}");
        }
    }

    #[test]
    fn a_forked_script_ends_as_it_likes_and_the_lane_goes_on() {
        for (script, output, exit) in
            [("echo out; exit 7", "out\n", "7"), ("set -eu; false; echo never", "", "1"), ("cat", "", "0")]
        {
            let (piece, _) = through_sh(Process::Forked, &[], script);
            assert_eq!(
                (String::from_utf8_lossy(&piece.bytes).as_ref(), piece.word.as_str()),
                (output, exit),
                "{script}"
            );
        }
    }

    /// A connection that is lost over a script: what has come of it must not run.
    #[test]
    fn half_a_script_never_runs() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("began");
        let variables = [("path".to_owned(), path.to_str().expect("UTF-8").to_owned())];
        for process in [Process::Own, Process::Kept("1"), Process::Forked, Process::Lane] {
            let frame = Frame::new("0123456789abcdef0123456789abcdef.1".into());
            let script = Script { text: "\ntouch \"$path\"\ntouch \"$path\"", variables: &variables, process };
            let run = format!("__haflow_run={}\n", folder.path().display());
            let text = run + &frame.encode(&script).expect("there is a delimiter");
            let from = text.find("touch").expect("it is there");
            let whole = text.rfind("touch").expect("it is there") + "touch \"$path\"".len();
            for cut in from..whole {
                let mut sh = Command::new("sh")
                    .stdin(Stdio::piped())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("sh");
                sh.stdin.take().expect("it is piped").write_all(&text.as_bytes()[..cut]).expect("it reads");
                sh.wait().expect("it ends");
                assert!(!path.exists(), "{process:?} ran after {:?}", &text[..cut]);
            }
        }
    }

    #[test]
    fn hostile_values_arrive_and_never_run() {
        let big = "ü".repeat(500_000);
        for value in [
            "",
            "it's \"quoted\" `touch x` $(touch x) ${HOME} \\ \\n \\\\",
            "lines\nand\n\nmore\n",
            "'; touch x; '",
            "0123456789abcdef\n\t\u{1b}[31m ünïcödé 漢字 🦀",
            "-n",
            "!history %s %d",
            &big,
        ] {
            for process in [Process::Own, Process::Forked] {
                let variables = [("value".into(), value.into())];
                let (piece, messages) = through_sh(process, &variables, "printf '%s' \"$value\"");
                assert!(piece.bytes == value.as_bytes(), "a value of {} bytes came back otherwise", value.len());
                assert_eq!(String::from_utf8_lossy(&messages), "");
            }
        }
    }

    /// Lines that begin like a delimiter, and go on with what isn't ASCII.
    #[test]
    fn no_byte_is_taken_for_the_end_of_a_script() {
        let marks: String = ('!'..='~').filter(|mark| *mark != '~').collect();
        let line = |mark: char| format!("\n{mark}é\n{mark}0é\n{mark}01é\n{mark}0123456789abcdefé");
        let value: String = marks.chars().map(line).collect();
        let variables = [("value".to_owned(), value.clone())];
        for (script, more) in
            [("printf '%s' \"$value\"", ""), ("printf '%s' \"$value\"; cat <<'~'\ndéjà\n7é\n~", "déjà\n7é\n")]
        {
            let (piece, _) = through_sh(Process::Own, &variables, script);
            assert_eq!(String::from_utf8_lossy(&piece.bytes), format!("{value}{more}"));
        }
        let all: String = ('!'..='~').map(line).collect();
        let frame = Frame::new("0123456789abcdef0123456789abcdef.1".into());
        let variables = [("value".to_owned(), all)];
        assert!(frame.encode(&Script { text: "", variables: &variables, process: Process::Own }).is_none());
        assert!(frame.encode(&Script { text: "", variables: &variables, process: Process::Forked }).is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
        #[test]
        fn any_value_arrives(value in "([^\u{0}]|\n[!-~][0-9a-f]?[^\u{0}-\u{7f}]){0,60}", forked: bool) {
            let process = if forked { Process::Forked } else { Process::Own };
            let (piece, _) = through_sh(process, &[("value".into(), value.clone())], "printf '%s' \"$value\"");
            prop_assert_eq!(piece.bytes, value.into_bytes());
        }
    }
}
