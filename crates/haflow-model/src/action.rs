//! What an action is: asked here. A new action answers all of it at once, since each match is exhaustive. The
//! engine asks for the action itself only where it decides (`decide`, `ready`) and where it applies (`step`),
//! without a catch-all there too.

use crate::{Action, Content, FileState, Gate, Param, Probe, Read, Rehearsal};

/// Whether a task that ended well is done once more when its run is resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// It isn't: what there is shows that it was done.
    Never,
    /// It is where what comes right after it has begun: it held then, and lets others begin only where it
    /// holds now.
    WhereFollowed,
    /// It is where its output wasn't kept and is used, also by tasks that have ended: what they print of it
    /// is concealed.
    WhereUsed,
    /// It is where its output wasn't kept and is used by a task that hasn't ended.
    WhereStillUsed,
}

impl Action {
    /// Its read-only script; an act has none, and a file's is haflow's own.
    pub fn probe(&self) -> Option<&Probe> {
        match self {
            Self::Ensure(ensure) => Some(&ensure.probe),
            Self::Gate(gate) => Some(&gate.probe),
            Self::Read(read) => Some(&read.probe),
            Self::File(_) | Self::Act(_) => None,
        }
    }

    /// What says why its apply would fail, where it has that; a file's is haflow's own.
    pub fn rehearsal(&self) -> Option<&Rehearsal> {
        match self {
            Self::Ensure(ensure) => ensure.rehearse.as_deref(),
            Self::Act(act) => act.rehearse.as_deref(),
            Self::File(_) | Self::Gate(_) | Self::Read(_) => None,
        }
    }

    /// Whether its apply could be given a rehearsal and has none.
    pub fn lacks_rehearsal(&self) -> bool {
        match self {
            Self::Ensure(ensure) => ensure.rehearse.is_none(),
            Self::Act(act) => act.rehearse.is_none(),
            Self::File(_) | Self::Gate(_) | Self::Read(_) => false,
        }
    }

    /// Whether what it touches is there once it has ended well.
    pub fn makes_what_it_touches(&self) -> bool {
        match self {
            Self::File(file) => file.state != FileState::Absent,
            Self::Ensure(_) | Self::Act(_) | Self::Gate(_) | Self::Read(_) => false,
        }
    }

    /// Its scripts, each with the option that it was given by.
    pub fn scripts(&self) -> Vec<(&'static str, &str)> {
        let mut scripts = match self {
            Self::Ensure(ensure) => vec![("probe", &*ensure.probe.script), ("apply", &ensure.apply)],
            Self::Act(act) => vec![("apply", &*act.apply)],
            Self::Gate(gate) => vec![("probe", &*gate.probe.script)],
            Self::Read(read) => vec![("probe", &*read.probe.script)],
            Self::File(file) => file.validate.iter().map(|script| ("validate", &**script)).collect(),
        };
        scripts.extend(self.rehearsal().map(|rehearsal| ("rehearse", &*rehearsal.script)));
        scripts
    }

    /// The value that it asks for: an ensure's or a gate's `want`, a file's content.
    pub fn wanted(&self) -> Option<&Param> {
        match self {
            Self::Ensure(ensure) => Some(&ensure.want),
            Self::Gate(gate) => Some(&gate.want),
            Self::File(file) => match &file.state {
                FileState::Content(Content::Is(param)) => Some(param),
                _ => None,
            },
            Self::Act(_) | Self::Read(_) => None,
        }
    }

    /// The same, to be changed.
    pub(crate) fn wanted_mut(&mut self) -> Option<&mut Param> {
        match self {
            Self::Ensure(ensure) => Some(&mut ensure.want),
            Self::Gate(gate) => Some(&mut gate.want),
            Self::File(file) => match &mut file.state {
                FileState::Content(Content::Is(param)) => Some(param),
                _ => None,
            },
            Self::Act(_) | Self::Read(_) => None,
        }
    }

    /// Whether it may change its host.
    pub fn changes(&self) -> bool {
        match self {
            Self::Ensure(_) | Self::File(_) | Self::Act(_) => true,
            Self::Gate(_) | Self::Read(_) => false,
        }
    }

    /// Why it runs whatever there is, if it does: nothing shows whether it was done.
    pub fn always_runs(&self) -> Option<&str> {
        match self {
            Self::Act(act) => Some(&act.reason),
            Self::Ensure(_) | Self::File(_) | Self::Gate(_) | Self::Read(_) => None,
        }
    }

    /// The gate, which waits until what it looks at is as it shall be.
    pub fn waits(&self) -> Option<&Gate> {
        match self {
            Self::Gate(gate) => Some(gate),
            Self::Ensure(_) | Self::File(_) | Self::Act(_) | Self::Read(_) => None,
        }
    }

    /// The read, whose state is its output.
    pub fn reads(&self) -> Option<&Read> {
        match self {
            Self::Read(read) => Some(read),
            Self::Ensure(_) | Self::File(_) | Self::Act(_) | Self::Gate(_) => None,
        }
    }

    /// Whether others can use an output of it.
    pub fn has_output(&self) -> bool {
        match self {
            Self::Act(_) | Self::Read(_) => true,
            Self::Ensure(_) | Self::File(_) | Self::Gate(_) => false,
        }
    }

    /// Whether it may be looked at before its turn: a gate looks for as long as it takes, and an act shows
    /// nothing.
    pub fn can_be_looked_at_ahead(&self) -> bool {
        match self {
            Self::Ensure(_) | Self::File(_) | Self::Read(_) => true,
            Self::Act(_) | Self::Gate(_) => false,
        }
    }

    /// Whether its host keeps the result of its apply. A file is written at once or not at all.
    pub fn is_kept(&self) -> bool {
        match self {
            Self::Ensure(_) | Self::Act(_) => true,
            Self::File(_) | Self::Gate(_) | Self::Read(_) => false,
        }
    }

    /// Whether it is done once more where a run is resumed.
    pub fn again(&self) -> Again {
        match self {
            Self::Ensure(_) | Self::File(_) => Again::Never,
            Self::Gate(_) => Again::WhereFollowed,
            Self::Read(_) => Again::WhereUsed,
            Self::Act(_) => Again::WhereStillUsed,
        }
    }
}
