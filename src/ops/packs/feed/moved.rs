//! What moves of workspaces have touched: the keys of the workspaces that may have come to a site or left it, and the owners whose
//! roles at the site depend on that.
//!
//! Two states of the tree differ only in the places of what was moved between them and of all that is below it now: a workspace whose
//! path has changed is below the first one on its former path that was moved. So the events and the present tree are enough, and the
//! former tree need not be known.

use super::known::Workspaces;
use super::path::{Moved, Touched};
use super::snapshot::Snapshot;
use crate::domain::uid::Uid;
use crate::error::Result;
use crate::index::directory::Directory;
use std::collections::{BTreeSet, HashSet};

/// Adds what the moves among these changes have touched. `false` if that is more than a step can have.
pub fn add(
    snapshot: &Snapshot<'_>,
    workspaces: &Workspaces,
    touched: &mut Touched,
) -> Result<bool> {
    let all = std::mem::take(&mut touched.moved);
    if all.is_empty() {
        return Ok(true);
    }
    let around = Around::of(&snapshot.app.index.directory(), workspaces, &all);
    touched.left = around.left;
    for uid in &around.below {
        let keys = snapshot.keys_in(*uid)?;
        touched.keys.extend(keys.iter().map(|id| (*id, true)));
        if !touched.fits() {
            return Ok(false);
        }
    }
    if around.all.is_empty() {
        return Ok(true);
    }
    let mut owners = BTreeSet::new();
    snapshot.each_shared_part(|part| {
        if workspaces
            .given
            .has(part.workspace, part.catalog.as_deref())
        {
            owners.extend(part.owner);
        }
    });
    let directory = snapshot.app.index.directory();
    let has_role = |uid: &Uid| {
        let user = directory.user(*uid);
        user.is_some_and(|user| {
            let mut roles = user.roles.iter();
            roles.any(|role| around.all.contains(&role.workspace))
        })
    };
    touched.users.extend(owners.into_iter().filter(has_role));
    touched.workspaces.extend(around.below);
    Ok(touched.fits())
}

/// The workspaces around moves.
#[derive(Debug, Default, Eq, PartialEq)]
struct Around {
    /// See [`Touched::left`].
    left: BTreeSet<Uid>,
    /// Those that were moved, and all that are below them now.
    below: BTreeSet<Uid>,
    /// With those above, before and after.
    all: BTreeSet<Uid>,
}

impl Around {
    /// Of moves into what a site is given, out of it, within it, or above it. Others are none of its business, and with them alone there is
    /// nothing around.
    fn of(directory: &Directory, workspaces: &Workspaces, all: &[Moved]) -> Around {
        let (given, above) = (&workspaces.given.workspaces, &workspaces.above);
        let moved: HashSet<Uid> = all.iter().map(|one| one.uid).collect();
        // One that is where it was, and none of the site's.
        let is_strange = |uid: &Uid| {
            let path = directory.path(*uid);
            let is_settled = !path.is_empty() && !path.iter().any(|uid| moved.contains(uid));
            is_settled && !given.contains(uid)
        };
        let concerns = |one: &&Moved| {
            let is_own = given.contains(&one.uid) || above.contains(&one.uid);
            is_own || !one.parents.iter().all(is_strange)
        };
        // The keys of one that was deleted have ended before it, and its users have lost their roles there.
        if !all.iter().filter(concerns).any(|one| !one.is_deleted) {
            let left = all.iter().filter(concerns).map(|one| one.uid);
            return Around {
                left: left.collect(),
                ..Around::default()
            };
        }
        let places = directory.places().map(|place| place.workspace.uid);
        let is_below = |uid: &Uid| directory.path(*uid).iter().any(|uid| moved.contains(uid));
        let below: BTreeSet<Uid> = places.filter(is_below).collect();
        let ends = all
            .iter()
            .flat_map(|one| one.parents.iter().chain([&one.uid]));
        let paths = ends.flat_map(|uid| directory.path(*uid));
        Around {
            all: paths.chain(&below).copied().collect(),
            left: moved.iter().chain(&below).copied().collect(),
            below,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;
    use crate::domain::workspaces::Workspace;
    use crate::ops::packs::given::Given;
    use std::sync::Arc;

    /// A tree of the workspaces with these numbers, each with the one above; the first one is the root.
    fn tree(all: &[(u128, u128)]) -> Directory {
        let workspace = |(uid, parent): &(u128, u128)| Workspace {
            uid: Uid(*uid),
            number: 0,
            slug: format!("w{uid}"),
            name: String::new(),
            parent: (uid != parent).then_some(Uid(*parent)),
            enabled: true,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        };
        let mut directory = Directory::default();
        directory.put_workspaces(all.iter().map(workspace).collect());
        directory
    }

    fn moved(uid: u128, parents: &[u128]) -> Moved {
        Moved {
            uid: Uid(uid),
            parents: parents.iter().copied().map(Uid).collect(),
            is_deleted: parents.len() == 1,
        }
    }

    /// The workspaces below and around the moves for a site that is given 10, which is below 1.
    fn around(all: &[Moved]) -> (Vec<u128>, Vec<u128>) {
        let found = of(all);
        let numbers = |uids: &BTreeSet<Uid>| uids.iter().map(|uid| uid.0).collect();
        (numbers(&found.below), numbers(&found.all))
    }

    fn of(all: &[Moved]) -> Around {
        let directory = tree(&[
            (0, 0),
            (1, 0),
            (2, 0),
            (3, 2),
            (10, 1),
            (11, 10),
            (12, 11),
            (20, 3),
        ]);
        let given = Given::for_tests(directory.subtree(Uid(10)).collect());
        let workspaces = Workspaces {
            above: given.above(&directory),
            given: Arc::new(given),
        };
        Around::of(&directory, &workspaces, all)
    }

    #[test]
    fn a_move_elsewhere_is_none_of_a_sites_business() {
        for parents in [[2, 3], [3, 2], [0, 3], [1, 2]] {
            assert_eq!(of(&[moved(20, &parents)]), Around::default());
        }
        assert_eq!(of(&[moved(90, &[3])]), Around::default());
        // Nor is the end of a workspace of its own, but for the keys that were there.
        let ended = of(&[moved(90, &[11]), moved(91, &[3])]);
        let left = BTreeSet::from([Uid(90)]);
        assert_eq!(
            ended,
            Around {
                left,
                ..Around::default()
            }
        );
    }

    #[test]
    fn what_came_and_what_left_are_around_a_move() {
        let came = (vec![11, 12], vec![0, 1, 2, 10, 11, 12]);
        assert_eq!(around(&[moved(11, &[2, 10])]), came);
        let left = (vec![20], vec![0, 1, 2, 3, 10, 11, 20]);
        assert_eq!(around(&[moved(20, &[11, 3])]), left);
        let within = (vec![12], vec![0, 1, 10, 11, 12]);
        assert_eq!(around(&[moved(12, &[10, 11])]), within);
        let above = (vec![1, 10, 11, 12], vec![0, 1, 2, 10, 11, 12]);
        assert_eq!(around(&[moved(1, &[2, 0])]), above);
        // One that left with another one, and has ended since.
        let ended = of(&[moved(90, &[11, 3]), moved(91, &[3])]);
        assert_eq!(ended.left, BTreeSet::from([Uid(90), Uid(91)]));
    }

    /// Where a workspace was is not known from the present tree if what it was below has moved as well, or is gone.
    #[test]
    fn a_place_that_is_not_known_any_more_may_have_been_the_sites() {
        // 20 was below 3 while that was below 11.
        let all = [moved(20, &[3, 2]), moved(3, &[11, 2]), moved(20, &[2, 3])];
        assert_eq!(around(&all).0, [3, 20]);
        let all = [moved(20, &[90, 3]), moved(90, &[11])];
        assert_eq!(around(&all), (vec![20], vec![0, 1, 2, 3, 10, 11, 20]));
    }
}
