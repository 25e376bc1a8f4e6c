//! What plans, journals and marks that are kept on this machine have in common.

mod edge;
mod fingerprint;
mod state_folder;

pub(crate) use edge::KeptEdge;
pub(crate) use fingerprint::{digests, hash};
pub(crate) use state_folder::{can_be_written, private_folder, state_folder, sync_folder};
