//! What is kept of each run: a folder with what was run, and what happened as it happened.
//!
//! `input.json` is written before anything begins: the command's options, the texts, the inventory, the
//! recorded facts. With it the same graph is declared again. `events.jsonl` has one event a line, as
//! `--format json` prints them; what an apply is about to do is on the disk before it begins.

mod history;
mod input;
mod read;
mod runs;
mod write;

pub(crate) use history::{History, Stops, told, word};
pub(crate) use input::{Input, Linked};
#[cfg(fuzzing)]
pub(crate) use read::Reader;
pub(crate) use read::{is_of, slim};
pub(crate) use runs::{KeptRun, all, find};
pub(crate) use write::Journal;
