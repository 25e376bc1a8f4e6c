//! What needs an sshd on this machine, where one can be had, or the transport `local`.

mod apply;
mod local;
mod lock;
mod own;
mod resume;
mod secrets;
mod ssh;
mod sshd;
mod terminal;
mod why;
