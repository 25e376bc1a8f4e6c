//! How a file's mode, owner and group differ from what is wanted.

use super::seen::{FileSeen, Kind};
use super::{Wanted, field};
use haflow_model::{Change, FileState};

impl Wanted<'_> {
    /// The differences in mode, owner and group; `others` says whether something else differs.
    pub(super) fn attributes(&self, seen: &FileSeen, others: bool) -> Vec<Change> {
        let there = seen.kind != Kind::Absent;
        let mut changes = self.ownership(seen);
        let mode = match self.file.mode {
            Some(_) if seen.kind == Kind::Link => None,
            None if seen.kind == Kind::File => Some(self.mode_that_stays(seen, others, &changes)),
            asked => asked,
        };
        if let Some(mode) = mode
            && !(there && seen.mode == mode)
        {
            changes.insert(0, field("mode", there.then(|| format!("{:04o}", seen.mode)), Some(format!("{mode:04o}"))));
        }
        changes
    }

    /// The mode of a file afterwards where none is wanted. Nobody asked that it runs as its new owner or
    /// group, or that new content runs as who owned the old one in a folder that others may write: see
    /// `pin_put` and `pin_attributes`.
    fn mode_that_stays(&self, seen: &FileSeen, others: bool, ownership: &[Change]) -> u32 {
        let anew = seen.loose && matches!(self.file.state, FileState::Content(_));
        let is_owner = |change: &Change| matches!(change, Change::Field { field, .. } if field == "owner");
        if anew && ownership.iter().any(is_owner) {
            seen.mode & 0o644
        } else if !ownership.is_empty() || (anew && others) {
            seen.mode & 0o1777
        } else {
            seen.mode
        }
    }

    fn ownership(&self, seen: &FileSeen) -> Vec<Change> {
        let (there, file) = (seen.kind != Kind::Absent, self.file);
        let mut changes = Vec::new();
        for (name, wanted, named, number) in
            [("owner", &file.owner, &seen.owner, &seen.uid), ("group", &file.group, &seen.group, &seen.gid)]
        {
            if let Some(wanted) = wanted
                && !(there && (wanted == named || wanted == number))
            {
                changes.push(field(name, there.then(|| named.clone()), Some(wanted.clone())));
            }
        }
        changes
    }
}
