//! Which packs a site takes: the rules of docs/sites.md, as one pure function. They follow those of The Update Framework.
//!
//! 1. A key that the site trusts has signed the pack (`head` and `note` check this before).
//! 2. The pack is for this site, from its server, newer than every other that was applied, not made before them, and
//!    follows the whole pack that the site holds or that comes with it.
//! 3. After its end a pack gives no verdicts (`ops::site::fresh`). It is taken nevertheless: it ends keys.
//! 4. It is applied as a whole or not at all (`ops::site::apply`).
//! 5. Counted keys have the uses that the server has lent (`ops::site::lent`).
//! 6. If the server was restored from a backup, or an older copy of its folder was put back, what it signs does not follow what the
//!    site knows, and an operator decides. A pack names the events of the packs before it, so this shows also if the server
//!    has made more packs since than the site knew.

use super::Checked;
use super::head::Head;
use super::past::Point;
use super::state::{Fork, State};
use crate::refusals;

/// What a site does with a pack that the rules permit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    Take,
    /// The server does not continue from what the site knows: the site keeps what it has, and notes it.
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

/// Whether a site takes a pack. `base` is the whole pack that comes with it, if one does; `held`: the newest pack that the site has
/// applied, if it is in its folder and sound. If it is not, the same pack counts as a new one.
pub fn judge(
    state: &State,
    head: &Head,
    base: Option<&Head>,
    held: Option<&Head>,
    way: Way,
) -> Checked<Verdict> {
    require_own(state, head)?;
    if let Some(base) = base {
        require_own(state, base)?;
    }
    let continues = continues(state, head, held, way)?;
    if !continues && state.fork != Fork::Accepted {
        return Ok(Verdict::Fork);
    }
    // An operator who accepts a restored server accepts its newest state, and none of its earlier packs.
    if way == Way::File && head.made < state.made && !state.is_date_open {
        return Err(refusals::site::made_before(
            head.pack, head.made, state.made,
        ));
    }
    follows(state, head, base, held.is_some() && continues)?;
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

/// Whether the server continues from where the site knows it; if not, it was restored, or an older copy of its folder was put
/// back.
///
/// # Errors
/// The pack is not newer than what the site has, from which nothing follows about the server.
fn continues(state: &State, head: &Head, held: Option<&Head>, way: Way) -> Checked<bool> {
    // The first pack of all has nothing to continue.
    let is_first = state.pack == 0 && state.fork == Fork::None;
    if is_first {
        return Ok(true);
    }
    if head.reign < state.reign {
        return Err(refusals::site::other_reign(head.pack));
    }
    if head.reign > state.reign {
        return Ok(false);
    }
    if way == Way::Link && head.pack >= state.pack {
        // It can be the same pack again, or one from before what the link has brought.
        if head.pack == state.pack {
            return Ok((state.pack_events, &state.pack_hash) == (head.events, &head.events_hash));
        }
        return Ok(state.pack_events <= head.events && names_what_is_known(state, head));
    }
    let older = || Err(refusals::site::older(head.pack, state.pack));
    // While the date is open, a later one means nothing.
    let is_later = state.made < head.made && !state.is_date_open;
    match held {
        // A number that was used twice, or again after a greater one.
        Some(held) if head.pack == state.pack && held.pack == head.pack => {
            return match held.sha256 == head.sha256 && held.made == head.made {
                true => older(),
                false => Ok(false),
            };
        }
        None if head.pack == state.pack => {
            let known = (state.pack_events, &state.pack_hash);
            let is_same = known == (head.events, &head.events_hash);
            return match is_same && head.events < state.events {
                true => Err(refusals::site::before_link(head.pack)),
                false => Ok(is_same),
            };
        }
        _ if head.pack <= state.pack => return if is_later { Ok(false) } else { older() },
        _ => {}
    }
    if head.events < state.events {
        // What has come over a link since is newer than the pack.
        let is_by_link = state.pack_events < state.events && state.pack_events <= head.events;
        return match is_by_link && !is_later {
            true => Err(refusals::site::before_link(head.pack)),
            false => Ok(false),
        };
    }
    Ok(names_what_is_known(state, head))
}

/// Whether a pack with later events names the event that the site knows.
fn names_what_is_known(state: &State, head: &Head) -> bool {
    if head.events == state.events {
        return head.events_hash == state.events_hash;
    }
    let Some(past) = &head.past else {
        return !state.has_past;
    };
    let oldest = past.last().map_or(head.events, |point| point.events);
    let is_named = |point: Point| match past.iter().find(|it| it.events == point.events) {
        Some(named) => *named == point,
        // An event that came over a link is none of a pack, and a pack over a link can be from before it.
        None if point.events != state.pack_events => true,
        // The pack that the site has may be of a time when the server did not name any.
        None => !state.has_past && point.events < oldest,
    };
    is_named(Point::of(state.pack_events, &state.pack_hash))
        && is_named(Point::of(state.events, &state.events_hash))
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
        let held = held();
        let found = match judge(&state, &head, base.as_ref(), Some(&held), Way::File) {
            Ok(Verdict::Take) => "take",
            Ok(Verdict::Fork) => "fork",
            Err(why) => why.code(),
        };
        assert_eq!(found, expected);
    }

    /// The newest pack that the site has applied.
    fn held() -> Head {
        let state = state();
        Head {
            pack: state.pack,
            base: 40,
            made: state.made,
            events: state.events,
            events_hash: state.events_hash,
            sha256: [4; 32],
            ..sample()
        }
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
        check(same, |head| *head = held(), None, "site.older");
        let earlier = |head: &mut Head| {
            (head.pack, head.base, head.made) = (39, 0, Timestamp(head.made.0 - 61_000));
        };
        check(same, earlier, None, "site.older");
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
        check(accepted, |head| *head = held(), None, "site.older");
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
    fn an_older_copy_of_the_server_is_a_fork_whatever_numbers_it_signs() {
        // A number a second time, and an earlier one, made later than what the site has.
        check(same, |head| head.pack = 41, None, "fork");
        check(same, |head| (head.pack, head.base) = (39, 0), None, "fork");
        // Later events, which do not include the one that the site knows.
        let points = |head: &mut Head| head.past.take().unwrap();
        let without = |head: &mut Head| head.past = Some(points(head)[1..].to_vec());
        check(same, without, None, "fork");
        let with_another = |head: &mut Head| {
            let mut points = points(head);
            points[0].start[7] ^= 1;
            head.past = Some(points);
        };
        check(same, with_another, None, "fork");
        let with_none = |head: &mut Head| head.past = None;
        check(same, with_none, None, "fork");
        check(same, |head| head.past = Some(Vec::new()), None, "fork");
        // A server that has never named any, and the first packs that do.
        let begins = |state: &mut State| state.has_past = false;
        check(begins, with_none, None, "take");
        check(begins, |head| head.past = Some(Vec::new()), None, "take");
        let later = |head: &mut Head| head.past = Some(vec![Point::of(18_005, &[1; 32])]);
        check(begins, later, None, "take");
        check(begins, without, None, "fork");
        check(begins, with_another, None, "fork");
        // The operator has decided; its packs need their own base.
        let accepted = |state: &mut State| state.fork = Fork::Accepted;
        check(accepted, without, None, "site.base_missing");
        check(accepted, without, Some(whole(40)), "take");
    }

    #[test]
    fn what_came_over_a_link_is_newer_than_the_packs_before_it() {
        let linked = |state: &mut State| {
            (state.events, state.events_hash) = (18_100, [3; 32]);
            state.made = Timestamp(state.made.0 + 120_000);
        };
        check(
            linked,
            |head| head.events = 18_050,
            None,
            "site.before_link",
        );
        check(linked, |head| head.events = 17_999, None, "fork");
        let later = |head: &mut Head| head.made = Timestamp(head.made.0 + 120_000);
        check(linked, later, None, "take");
        let later_with_fewer = |head: &mut Head| {
            later(head);
            head.events = 18_050;
        };
        check(linked, later_with_fewer, None, "fork");
        let later_of_other = |head: &mut Head| {
            later(head);
            let of_other = Point::of(18_100, &[4; 32]);
            head.past.get_or_insert_default().insert(0, of_other);
        };
        check(linked, later_of_other, None, "fork");
    }

    #[test]
    fn an_open_date_takes_an_earlier_time_and_nothing_else() {
        let open = |state: &mut State| {
            state.is_date_open = true;
            state.made = Timestamp(state.made.0 + 1_000_000_000);
        };
        check(open, |_| {}, None, "take");
        check(open, |head| head.pack = 40, None, "site.older");
        check(open, |head| head.events = 17_999, None, "fork");
        check(open, |head| head.past = None, None, "fork");
    }

    #[test]
    fn what_was_lost_from_the_folder_is_taken_again() {
        let mut head = held();
        head.base = 0;
        let held = held();
        assert!(judge(&state(), &head, None, Some(&held), Way::File).is_err());
        assert_eq!(
            judge(&state(), &head, None, None, Way::File).unwrap(),
            Verdict::Take
        );
        head.events_hash = [1; 32];
        assert_eq!(
            judge(&state(), &head, None, None, Way::File).unwrap(),
            Verdict::Fork
        );
        head.events_hash = held.events_hash;
        head.base = 40;
        assert!(judge(&state(), &head, None, None, Way::File).is_err());
        head.pack = 40;
        assert!(judge(&state(), &head, None, None, Way::File).is_err());
    }

    #[test]
    fn a_pack_from_before_the_link_is_older_and_no_sign_of_a_restore() {
        let linked = |state: &mut State| {
            (state.events, state.events_hash) = (18_300, [4; 32]);
            state.made = Timestamp(state.made.0 + 120_000);
        };
        check(linked, |_| {}, None, "site.before_link");
        check(linked, |head| head.events = 18_300, None, "fork");
        let later = |head: &mut Head| {
            head.events = 18_301;
            head.made = Timestamp(head.made.0 + 120_000);
        };
        check(linked, later, None, "take");
        check(linked, |head| head.events = 17_999, None, "fork");
        check(linked, |head| *head = held(), None, "site.older");
        let mut state = state();
        linked(&mut state);
        let early = Head {
            made: Timestamp(state.made.0 - 1_000),
            ..sample()
        };
        let over_link = judge(&state, &early, None, Some(&held()), Way::Link);
        assert_eq!(over_link.unwrap(), Verdict::Take);
        let lost = Head {
            events: 17_999,
            ..sample()
        };
        let over_link = judge(&state, &lost, None, Some(&held()), Way::Link);
        assert_eq!(over_link.unwrap(), Verdict::Fork);
        // The folder has lost what was applied, and the link has brought more since.
        let again = Head {
            pack: 41,
            base: 0,
            events: 18_000,
            events_hash: [8; 32],
            ..sample()
        };
        assert!(judge(&state, &again, None, None, Way::File).is_err());
        let held = held();
        let over_link = |held| judge(&state, &again, None, held, Way::Link).unwrap();
        assert_eq!(over_link(None), Verdict::Take);
        // A site that cannot take a step begins again with the pack before it.
        assert_eq!(over_link(Some(&held)), Verdict::Take);
    }
}
