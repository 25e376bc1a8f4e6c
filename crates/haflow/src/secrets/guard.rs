//! What a process that holds secrets does so that they stay in it.

use rustix::process::{Resource, getrlimit, setrlimit};
use std::panic::PanicHookInfo;

/// From here on a crash leaves no core dump, other processes of the user can't look into this one, and a
/// panic tells where it was and not what it was about.
pub(crate) fn guard() {
    let limit = getrlimit(Resource::Core);
    // Neither can fail for want of a right, and there is nothing to do where the kernel has no such thing.
    let _ = setrlimit(Resource::Core, rustix::process::Rlimit { current: Some(0), ..limit });
    // A core dump that goes to a program knows no limit. What reads /proc of this process must be root from
    // here on; the programs that it starts can be looked into as ever.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    std::panic::set_hook(Box::new(tell));
}

/// From here on this process has at most so much memory, in bytes, and ends with the one that began it.
pub(crate) fn limit_memory(bytes: u64) -> std::io::Result<()> {
    let limit = rustix::process::Rlimit { current: Some(bytes), maximum: Some(bytes) };
    setrlimit(Resource::As, limit)?;
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok(())
}

fn tell(panic: &PanicHookInfo<'_>) {
    // What isn't written in the program itself may hold what a host printed.
    let what = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("what it says may hold secrets");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    eprintln!("haflow panicked at {place}: {what}\nThis is a mistake in haflow: please report it.");
    let trace = std::backtrace::Backtrace::capture();
    if trace.status() == std::backtrace::BacktraceStatus::Captured {
        eprintln!("{trace}");
    }
}
