//! Programs that haflow runs on this machine.

use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// Waits for a program's end; `None` where that doesn't come before `deadline`.
pub(crate) fn wait(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    let mut pause = Duration::from_millis(1);
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
