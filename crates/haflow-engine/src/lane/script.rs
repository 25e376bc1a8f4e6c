//! A script, and what came of it.

/// What a script did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; 128 and the signal's number if a signal ended it.
    pub exit: i32,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// Its messages.
    pub stderr: Vec<u8>,
}

/// What was running on a host when a script was killed, by the names of the processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stopped {
    /// What was ended.
    pub ended: Vec<String>,
    /// What lives on in spite of that.
    pub left: Vec<String>,
    /// Nothing there answered: it may go on.
    pub unknown: bool,
}

/// A script and the shell variables that it sees.
#[derive(Debug, Clone, Copy)]
pub struct Script<'a> {
    /// POSIX shell.
    pub text: &'a str,
    /// Names and values; never pasted into the text.
    pub variables: &'a [(String, String)],
    /// Which shell runs it.
    pub process: Process<'a>,
}

/// Which shell runs a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process<'a> {
    /// One of its own: whatever the script does, the lane lives.
    Own,
    /// One of its own, which outlives the lane: its result is kept under this id until it is removed. Where
    /// the host can't do that it is [`Process::Own`].
    Kept(&'a str),
    /// A fork of the lane's: for scripts whose syntax is known to be right.
    Forked,
    /// The same, with the functions of this text, which the lane is taught once. It is the same text for all
    /// scripts of a lane.
    Taught(&'a str),
    /// The lane's itself, which keeps what the script leaves: for what belongs to the lane.
    Lane,
}
