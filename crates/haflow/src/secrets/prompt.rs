//! Questions whose answers aren't shown.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Read, Write, stderr, stdin};
use zeroize::Zeroizing;

/// The longest answer, in bytes.
const MOST: usize = 64 << 10;

/// Whether somebody is there to be asked.
pub(crate) fn is_possible() -> bool {
    stdin().is_terminal() && stderr().is_terminal()
}

/// Puts the terminal back as it was found.
struct Hushed {
    terminal: File,
    before: Termios,
}

impl Drop for Hushed {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
        let _ = self.terminal.write_all(b"\r\n");
    }
}

/// Asks on the terminal. `None` where there is none, or the user gave up or `stopped`.
pub(crate) fn ask(question: &str, stopped: &dyn Fn() -> bool) -> Option<Zeroizing<String>> {
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
    let before = tcgetattr(&terminal).ok()?;
    let mut hushed = before.clone();
    // Ctrl-C too comes as a character, so that the terminal is put back before anything else.
    hushed.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    hushed.special_codes[SpecialCodeIndex::VMIN] = 1;
    hushed.special_codes[SpecialCodeIndex::VTIME] = 0;
    tcsetattr(&terminal, OptionalActions::Flush, &hushed).ok()?;
    let mut hushed = Hushed { terminal: terminal.try_clone().ok()?, before };
    hushed.terminal.write_all(question.as_bytes()).ok()?;
    let mut answer = Zeroizing::new(Vec::with_capacity(MOST));
    let moment = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    let mut byte = Zeroizing::new([0]);
    loop {
        if stopped() {
            return None;
        }
        let ready = poll(&mut [PollFd::new(&terminal, PollFlags::IN)], Some(&moment));
        if !matches!(ready, Ok(1..)) {
            continue;
        }
        if terminal.read(&mut *byte).ok()? == 0 {
            return None;
        }
        match byte[0] {
            // Ctrl-C, Ctrl-\, and Ctrl-D at the beginning.
            3 | 28 => return None,
            4 if answer.is_empty() => return None,
            b'\r' | b'\n' | 4 => break,
            // Backspace takes a whole character, Ctrl-U the line.
            8 | 127 => while answer.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            21 => answer.clear(),
            byte if answer.len() < MOST => answer.push(byte),
            _ => return None,
        }
    }
    Some(Zeroizing::new(std::str::from_utf8(&answer).ok()?.to_owned()))
}
