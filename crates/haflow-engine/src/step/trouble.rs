//! Why a step has no result.

use crate::cut::tail;
use crate::decide::failure::Unseen;
use crate::events::NotKept;
use crate::hosts::unreachable::Unreachable;
use crate::lane::{LaneError, Stopped};
use crate::step::gatekeeper::Closed;
use haflow_model::Failure;

/// Why a step has no result.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The host did what it was told, and it went wrong.
    Failed(Box<Failure>),
    /// The host can't be reached.
    Unreachable(Unreachable),
    /// The connection was lost on the way.
    Lost(String),
    /// The connection was lost, and what a step did in the meantime isn't known.
    Gone(String),
    /// The run was interrupted twice.
    Killed(Stopped),
    /// It hasn't begun, and nothing may begin any more.
    Closed,
    /// That it begins couldn't be kept, so it didn't.
    NotKept,
}

impl Trouble {
    /// Why nobody knows whether what was being applied was done, where this leaves that open.
    pub(crate) fn while_applied(&self) -> Option<String> {
        match self {
            Self::Unreachable(error) => Some(format!("it was being applied: {}", error.message)),
            Self::Lost(why) => Some(format!("the connection was lost while it was being applied: {why}")),
            Self::Gone(why) => Some(format!("the connection was lost while it was being applied, and {why}")),
            Self::Killed(stopped) => {
                Some(format!("it was killed while it was being applied{}", stopped_in_words(stopped)))
            }
            Self::Failed(_) | Self::Closed | Self::NotKept => None,
        }
    }
}

impl From<NotKept> for Trouble {
    fn from(_: NotKept) -> Self {
        Self::NotKept
    }
}

impl From<Closed> for Trouble {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

impl From<Unreachable> for Trouble {
    fn from(unreachable: Unreachable) -> Self {
        Self::Unreachable(unreachable)
    }
}

impl From<Unseen> for Trouble {
    fn from(unseen: Unseen) -> Self {
        match unseen {
            Unseen::Failed(failure) => Self::Failed(failure),
            Unseen::Killed => Self::Killed(Stopped::default()),
        }
    }
}

impl From<LaneError> for Trouble {
    fn from(error: LaneError) -> Self {
        let message = error.to_string();
        match error {
            LaneError::Lost(why) => Self::Lost(why),
            LaneError::Killed(stopped) => Self::Killed(stopped),
            LaneError::TooMuch | LaneError::Unsendable => Failure { message, ..Failure::default() }.into(),
            LaneError::TimedOut { stdout, stderr, stopped, .. } => Failure {
                message: format!("{message}{}", stopped_in_words(&stopped)),
                stdout: tail(&stdout, 12),
                stderr: tail(&stderr, 12),
                hint: Some(
                    "allow it more time with the option `timeout: \"30m\"`, or look on the host at what it waits for"
                        .into(),
                ),
                ..Failure::default()
            }
            .into(),
        }
    }
}

/// What was ended with a script, behind a sentence that says so.
fn stopped_in_words(stopped: &Stopped) -> String {
    let names = |names: &[String]| {
        let mut names = names.to_vec();
        names.dedup();
        names.join(", ")
    };
    if stopped.unknown {
        return ", but nothing there answered: it may go on".into();
    }
    match (&stopped.ended[..], &stopped.left[..]) {
        ([], _) => String::new(),
        (ended, []) => format!(" ({}); nothing of it is left there", names(ended)),
        (ended, left) => format!(" ({}), but {} can't be ended there", names(ended), names(left)),
    }
}
