//! Which packs a site takes: the rules of docs/sites.md, as one pure function. They follow those of The Update Framework.
//!
//! 1. A key that the site trusts has signed the pack (`head` and `note` check this before).
//! 2. The pack is for this site, from its server, newer than every other that was applied, not made before them, and
//!    follows the whole pack that the site holds or that comes with it.
//! 3. After its end a pack gives no verdicts (`ops::site::fresh`). It is taken nevertheless: it ends keys.
//! 4. It is applied as a whole or not at all (`ops::site::apply`).
//! 5. Counted keys have the uses that the server has lent (`ops::site::lent`).
//! 6. If the server was restored from a backup, what it signs does not follow what the site knows, and an operator decides.

use super::Checked;
use super::head::Head;
use super::state::{Fork, State};
use crate::refusals;

/// What a site does with a pack that the rules permit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    Take,
    /// The server was restored: the site keeps what it has, and notes it.
    Fork,
}

/// How a pack came to a site.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    File,
    /// In the answer to a question of the site. It can be older than what the link has brought before; then steps follow it before
    /// the site gives verdicts.
    Link,
}

/// Whether a site takes a pack. `base` is the whole pack that comes with it, if one does; `is_loaded`: whether what the site
/// has applied is in its folder and sound. If it is not, the same pack counts as a new one.
pub fn judge(
    state: &State,
    head: &Head,
    base: Option<&Head>,
    is_loaded: bool,
    way: Way,
) -> Checked<Verdict> {
    require_own(state, head)?;
    if let Some(base) = base {
        require_own(state, base)?;
    }
    let continues = continues(state, head)?;
    if !continues && state.fork != Fork::Accepted {
        return Ok(Verdict::Fork);
    }
    if continues {
        let is_newer = match is_loaded && way == Way::File {
            true => head.pack > state.pack,
            false => head.pack >= state.pack,
        };
        if !is_newer {
            return Err(refusals::site::older(head.pack, state.pack));
        }
        if way == Way::File && head.events < state.events {
            return Err(refusals::site::before_link(head.pack));
        }
    }
    // An operator who accepts a restored server accepts its newest state, and none of its earlier packs.
    if way == Way::File && head.made < state.made {
        return Err(refusals::site::made_before(
            head.pack, head.made, state.made,
        ));
    }
    follows(state, head, base, is_loaded && continues)?;
    Ok(Verdict::Take)
}

/// The pack is for this site, and from its server.
fn require_own(state: &State, head: &Head) -> Checked<()> {
    if head.server != state.server || head.origin != state.origin {
        return Err(refusals::site::other_server(&head.origin));
    }
    if head.site != state.site {
        return Err(refusals::site::other_site(&head.site, &state.site));
    }
    Ok(())
}

/// Whether the events of the server continue those that the site knows; if not, the server was restored.
fn continues(state: &State, head: &Head) -> Checked<bool> {
    // The first pack of all has nothing to continue.
    let is_first = state.pack == 0 && state.fork == Fork::None;
    if is_first {
        return Ok(true);
    }
    if head.reign < state.reign {
        return Err(refusals::site::other_reign(head.pack));
    }
    // A link brings the site further than its newest pack, so a pack that is older than that is no sign of a restore.
    let lost = head.pack > state.pack && head.events < state.pack_events;
    let other = head.events == state.events && head.events_hash != state.events_hash;
    Ok(head.reign == state.reign && !lost && !other)
}

/// The pack is whole, or follows the whole pack that is held or comes with it.
fn follows(state: &State, head: &Head, base: Option<&Head>, is_held: bool) -> Checked<()> {
    if head.is_whole() {
        return match base {
            None => Ok(()),
            Some(base) => Err(refusals::site::base_of_other(base.pack)),
        };
    }
    if let Some(base) = base {
        let fits = base.is_whole() && base.pack == head.base && base.reign == head.reign;
        let fits = fits && base.made <= head.made && base.events <= head.events;
        return match fits {
            true => Ok(()),
            false => Err(refusals::site::base_of_other(base.pack)),
        };
    }
    let held = state.base.filter(|_| is_held);
    match held {
        Some(held) if (held.reign, held.pack) == (head.reign, head.base) => Ok(()),
        Some(held) => Err(refusals::site::base_missing(
            head.pack,
            head.base,
            refusals::site::held(held.pack),
        )),
        None => Err(refusals::site::base_missing(
            head.pack,
            head.base,
            refusals::site::held_none(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::head::tests::sample;
    use super::super::state::tests::state;
    use super::*;
    use crate::domain::time::Timestamp;
    use crate::domain::uid::Uid;

    /// The code of the refusal, or the verdict.
    #[track_caller]
    fn check(
        change_state: impl Fn(&mut State),
        change: impl Fn(&mut Head),
        base: Option<Head>,
        expected: &str,
    ) {
        let (mut state, mut head) = (state(), sample());
        change_state(&mut state);
        change(&mut head);
        let found = match judge(&state, &head, base.as_ref(), true, Way::File) {
            Ok(Verdict::Take) => "take",
            Ok(Verdict::Fork) => "fork",
            Err(why) => why.code(),
        };
        assert_eq!(found, expected);
    }

    fn whole(pack: u64) -> Head {
        Head {
            pack,
            base: 0,
            ..sample()
        }
    }

    fn same(_: &mut State) {}

    #[test]
    fn a_newer_pack_of_the_own_server_is_taken() {
        check(same, |_| {}, None, "take");
        check(same, |head| head.base = 0, None, "take");
        check(same, |head| head.pack = 42, None, "take");
        let late =
            |head: &mut Head| (head.pack, head.events, head.events_hash) = (42, 18_000, [8; 32]);
        check(same, late, None, "take");
    }

    #[test]
    fn packs_of_others_and_older_ones_are_refused() {
        check(
            same,
            |head| head.site = "plant-8".to_owned(),
            None,
            "site.other_site",
        );
        check(same, |head| head.server = Uid(1), None, "site.other_server");
        check(
            same,
            |head| head.origin = "x".to_owned(),
            None,
            "site.other_server",
        );
        check(same, |head| head.pack = 41, None, "site.older");
        check(
            same,
            |head| (head.pack, head.base) = (39, 0),
            None,
            "site.older",
        );
        check(same, |head| head.reign = 0, None, "site.other_reign");
        let early = |head: &mut Head| head.made = Timestamp(head.made.0 - 61_000);
        check(same, early, None, "site.made_before");
    }

    #[test]
    fn a_pack_needs_the_whole_one_that_it_follows() {
        check(same, |head| head.base = 39, None, "site.base_missing");
        check(same, |head| head.base = 42, None, "site.base_missing");
        check(|state| state.base = None, |_| {}, None, "site.base_missing");
        check(same, |head| head.base = 42, Some(whole(42)), "take");
        check(same, |_| {}, Some(whole(40)), "take");
        check(same, |_| {}, Some(whole(39)), "site.base_of_other");
        check(
            same,
            |head| head.base = 0,
            Some(whole(40)),
            "site.base_of_other",
        );
        let mut foreign = whole(40);
        foreign.site = "plant-8".to_owned();
        check(same, |_| {}, Some(foreign), "site.other_site");
        let mut later = whole(40);
        later.made = Timestamp(later.made.0 + 1_000);
        check(same, |_| {}, Some(later), "site.base_of_other");
        let mut of_reign = whole(40);
        of_reign.reign = 2;
        check(same, |_| {}, Some(of_reign), "site.base_of_other");
    }

    #[test]
    fn a_restored_server_is_a_fork_until_an_operator_accepts_it() {
        let restored = |head: &mut Head| (head.reign, head.pack, head.base) = (2, 7, 0);
        check(same, restored, None, "fork");
        check(same, |head| head.events = 17_999, None, "fork");
        check(same, |head| head.events = 18_000, None, "fork");
        check(|state| state.fork = Fork::Seen, restored, None, "fork");
        let accepted = |state: &mut State| state.fork = Fork::Accepted;
        check(accepted, restored, None, "take");
        let restored_earlier = |head: &mut Head| {
            restored(head);
            head.made = Timestamp(head.made.0 - 61_000);
        };
        check(accepted, restored_earlier, None, "site.made_before");
        // What an operator accepts is the restore, and nothing else.
        check(accepted, |head| head.pack = 41, None, "site.older");
        let follows = |head: &mut Head| head.reign = 2;
        check(accepted, follows, None, "site.base_missing");
        let mut base = whole(40);
        base.reign = 2;
        check(accepted, follows, Some(base), "take");
        let restored_again = |head: &mut Head| head.events = 17_999;
        let mut base = whole(40);
        base.events = 17_000;
        check(accepted, restored_again, Some(base), "take");
        let first = |state: &mut State| (state.pack, state.base, state.delta) = (0, None, None);
        check(first, restored, None, "take");
    }

    #[test]
    fn what_was_lost_from_the_folder_is_taken_again() {
        let mut head = sample();
        (head.pack, head.base) = (41, 0);
        let judge = |head: &Head, is_loaded| judge(&state(), head, None, is_loaded, Way::File);
        assert!(judge(&head, true).is_err());
        assert_eq!(judge(&head, false).unwrap(), Verdict::Take);
        head.base = 40;
        assert!(judge(&head, false).is_err());
        head.pack = 40;
        assert!(judge(&head, false).is_err());
    }

    #[test]
    fn a_pack_from_before_the_link_is_older_and_no_sign_of_a_restore() {
        let linked = |state: &mut State| (state.events, state.events_hash) = (18_300, [4; 32]);
        check(linked, |_| {}, None, "site.before_link");
        check(linked, |head| head.events = 18_300, None, "fork");
        check(linked, |head| head.events = 18_301, None, "take");
        check(linked, |head| head.events = 17_999, None, "fork");
        check(linked, |head| head.pack = 41, None, "site.older");
        let mut state = state();
        linked(&mut state);
        let early = Head {
            made: Timestamp(state.made.0 - 1_000),
            ..sample()
        };
        let over_link = judge(&state, &early, None, true, Way::Link);
        assert_eq!(over_link.unwrap(), Verdict::Take);
        let lost = Head {
            events: 17_999,
            ..sample()
        };
        let over_link = judge(&state, &lost, None, true, Way::Link);
        assert_eq!(over_link.unwrap(), Verdict::Fork);
        // The folder has lost what was applied, and the link has brought more since.
        let again = Head {
            pack: 41,
            base: 0,
            events: 18_000,
            ..sample()
        };
        assert!(judge(&state, &again, None, false, Way::File).is_err());
        let over_link = |is_loaded| judge(&state, &again, None, is_loaded, Way::Link).unwrap();
        assert_eq!(over_link(false), Verdict::Take);
        // A site that cannot take a step begins again with the pack before it.
        assert_eq!(over_link(true), Verdict::Take);
    }
}
