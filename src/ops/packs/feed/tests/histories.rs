//! Many changes in any order.

use super::Linked;
use crate::domain::catalogs::{Definition, Scope};
use crate::domain::keys::KeyId;
use crate::domain::keys::rotation::Grace;
use crate::domain::policies::IssuedBy;
use crate::domain::policies::roles::RoleRule;
use crate::domain::time::Timestamp;
use crate::domain::users::roles::Role;
use crate::ops::keys::issue::{NewKey, issue};
use crate::ops::keys::members::KeyMembers;
use crate::ops::keys::{edit, rotate};
use crate::ops::packs::feed::model::ModelSite;
use crate::ops::policies::{self, PolicyEdit};
use crate::ops::setup::fixture::NOW;
use crate::ops::users::{self, UserEdit};
use crate::ops::workspaces::{self, WorkspaceEdit};
use crate::ops::{catalogs, keys};
use std::sync::atomic::Ordering::Relaxed;

/// Draws of a test that can be repeated.
struct Draws(u64);

impl Draws {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % most
    }
}

/// After any changes, in any order, a site that followed in steps has what a whole pack has.
#[test]
fn steps_lead_where_a_whole_pack_leads() {
    let linked = Linked::new();
    let (app, local) = (linked.app(), linked.local());
    for (slug, parent) in [("a", "root"), ("b", "a"), ("c", "root")] {
        linked.workspace(slug, parent);
    }
    linked.add("ship-2", &["a"], 86_400);
    let slugs = ["root", "a", "b", "c"];
    linked.user("alice", &[("a", Role::Administrator)]);
    linked.user("bob", &[("c", Role::Member)]);
    let acting = PolicyEdit {
        issued_by: Some(IssuedBy::Owner),
        acts_for_owner: Some(true),
        roles: Some(vec![RoleRule {
            role: Role::Administrator,
            scopes: vec!["*".into()],
            read_only: false,
        }]),
        ..PolicyEdit::default()
    };
    policies::create(app, &local, "acting".to_owned(), acting, None).unwrap();
    policies::create(app, &local, "plain".to_owned(), PolicyEdit::default(), None).unwrap();
    catalogs::put(app, &local, rooms("first")).unwrap();
    let mut sites: Vec<ModelSite> = ["plant-7", "ship-2"]
        .map(|name| linked.site(name))
        .into_iter()
        .collect();
    let mut draws = Draws(7);
    let mut ids: Vec<KeyId> = Vec::new();
    let mut packs = 0;
    for round in 0..300 {
        let name = format!("k{round}");
        let one =
            |draws: &mut Draws, ids: &[KeyId]| ids.get(draws.below(ids.len().max(1))).copied();
        match (draws.below(15), one(&mut draws, &ids)) {
            (0..4, _) | (_, None) => {
                let catalog = [None, Some("rooms".to_owned()), Some("latchkey".to_owned())];
                let owner = [None, Some("alice".to_owned()), Some("bob".to_owned())];
                let members = KeyMembers {
                    owner: Some(owner[draws.below(3)].clone()),
                    ..KeyMembers::named(&name)
                };
                let new = NewKey {
                    members,
                    workspace: Some(slugs[draws.below(4)].to_owned()),
                    policy: Some(["standard", "plain"][draws.below(2)].to_owned()),
                    catalog: catalog[draws.below(3)].clone(),
                    prefix: None,
                };
                // Some combinations are refused, which changes nothing.
                let issued = issue(app, &local, new, None);
                ids.extend(issued.ok().map(|issued| issued.view.key.id));
            }
            (4, Some(id)) => drop(keys::delete(app, &local, id, None)),
            (5, Some(id)) => drop(edit::switch(app, &local, id, draws.below(2) == 0)),
            (6, Some(id)) => {
                let graces = [Grace::AtOnce, Grace::Seconds(60), Grace::UntilFirstUse(60)];
                drop(rotate::rotate(app, &local, id, graces[draws.below(3)]));
            }
            (7, Some(id)) => {
                let members = KeyMembers {
                    name: Some(name),
                    description: Some(round.to_string()),
                    expires_at: Some(Some(Timestamp(NOW.0 + 1_000_000 * (round + 1)))),
                    ..KeyMembers::default()
                };
                drop(edit::edit(app, &local, id, members));
            }
            (8, _) => {
                let user = ["alice", "bob"][draws.below(2)];
                let enabled = Some(draws.below(2) == 0);
                let change = UserEdit {
                    enabled,
                    ..UserEdit::default()
                };
                drop(users::edit(app, &local, user, change));
            }
            (9, _) => {
                let roles = vec![(
                    slugs[draws.below(4)].to_owned(),
                    [Role::Administrator, Role::Member][draws.below(2)],
                )];
                drop(users::set_roles(app, &local, "alice", roles));
            }
            (10, _) => {
                let change = PolicyEdit {
                    decoy: Some(draws.below(2) == 0),
                    ..PolicyEdit::default()
                };
                drop(policies::edit(app, &local, "plain", change));
            }
            (11, _) => drop(catalogs::put(app, &local, rooms(&name))),
            (12, _) => {
                let slug = slugs[1 + draws.below(3)];
                let change = WorkspaceEdit {
                    enabled: Some(draws.below(2) == 0),
                    ..WorkspaceEdit::default()
                };
                drop(workspaces::edit(app, &local, slug, change));
            }
            (13, _) => {
                let (slug, parent) = (slugs[1 + draws.below(3)], slugs[draws.below(4)]);
                let change = WorkspaceEdit {
                    parent: Some(parent.to_owned()),
                    ..WorkspaceEdit::default()
                };
                // A move below itself is refused.
                drop(workspaces::edit(app, &local, slug, change));
            }
            (_, _) => {
                let slug = format!("short-{round}");
                linked.workspace(&slug, slugs[draws.below(4)]);
                if draws.below(2) == 0 {
                    ids.push(linked.key_in(&name, &slug));
                }
                if draws.below(2) == 0 {
                    let change = WorkspaceEdit {
                        parent: Some(slugs[draws.below(4)].to_owned()),
                        ..WorkspaceEdit::default()
                    };
                    drop(workspaces::edit(app, &local, &slug, change));
                }
                if draws.below(2) == 0 {
                    workspaces::delete::delete_with_contents(app, &local, &slug).unwrap();
                }
            }
        }
        if draws.below(4) == 0 {
            for site in &mut sites {
                packs += site.check(app);
            }
        }
    }
    for site in &mut sites {
        packs += site.check(app);
    }
    let keys = sites[0].model.keys.len();
    assert!(keys > 20 && !sites[1].model.keys.is_empty(), "{keys} keys");
    let steps = app.feed.figures.steps.load(Relaxed);
    assert!(steps > 60 && packs == 0, "{steps} steps, {packs} packs");
}

fn rooms(label: &str) -> Definition {
    Definition {
        name: "rooms".to_owned(),
        scopes: vec![Scope {
            name: "rooms:read".to_owned(),
            label: label.to_owned(),
            ..Scope::default()
        }],
        ..Definition::default()
    }
}
