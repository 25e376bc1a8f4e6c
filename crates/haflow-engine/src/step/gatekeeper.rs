//! Says whether something may begin: the one place that is asked.

use tokio_util::sync::CancellationToken;

/// How a run is stopped from outside.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    /// Start nothing new; what runs may end.
    pub stop: CancellationToken,
    /// Kill what runs on the hosts.
    pub kill: CancellationToken,
}

/// Lets applies begin until the run is interrupted, fails (`fail_fast`), or can't be kept any more.
///
/// It is asked right before an intent is written, and a wait for a lane, a look, a connection or another
/// attempt ends when it closes.
#[derive(Debug)]
pub(crate) struct Gatekeeper {
    closed: CancellationToken,
}

/// Nothing may begin any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

impl Gatekeeper {
    /// It closes by itself when the run is to stop.
    pub(crate) fn new(interrupt: &Interrupt) -> Self {
        Self { closed: interrupt.stop.child_token() }
    }

    /// From here on nothing begins.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    /// Whether nothing may begin any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Fails where nothing may begin any more.
    pub(crate) fn ask(&self) -> Result<(), Closed> {
        if self.is_closed() { Err(Closed) } else { Ok(()) }
    }

    /// Waits for what must be there before something begins, for as long as something may.
    pub(crate) async fn wait_for<T>(&self, what: impl Future<Output = T>) -> Result<T, Closed> {
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(Closed),
            done = what => self.ask().map(|()| done),
        }
    }

    /// What ends when nothing may begin any more.
    pub(crate) fn token(&self) -> &CancellationToken {
        &self.closed
    }
}
