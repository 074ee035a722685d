//! Deadlines, connection slots, and the order in which connections are closed for new ones.

use super::*;

fn slots(connections_max: usize) -> Arc<Slots> {
    Arc::new(Slots::new(Limits {
        connections_max,
        ..Limits::default()
    }))
}

fn at(slots: &Slots, tick: u32) {
    slots.clock.ticks.store(tick, Relaxed);
}

#[test]
fn a_phase_is_overdue_only_after_its_whole_span() {
    let slots = slots(1);
    for (phase, ticks) in [
        (Phase::Head, 100),
        (Phase::Body, 100),
        (Phase::Idle, 750),
        (Phase::Write, 100),
        (Phase::Linger, 20),
    ] {
        let since = Since { phase, tick: 5 };
        at(&slots, 5 + ticks);
        assert!(!slots.is_overdue(since), "{phase:?}");
        at(&slots, 6 + ticks);
        assert!(slots.is_overdue(since), "{phase:?}");
    }
    at(&slots, u32::MAX);
    assert!(!slots.is_overdue(Since {
        phase: Phase::Answer,
        tick: 0
    }));
}

#[test]
fn a_full_server_asks_the_longest_idle_to_leave() {
    let slots = slots(3);
    let [busy, newer, older] = std::array::from_fn(|_| slots.take(Via::Tcp).unwrap());
    busy.watch.set(Since {
        phase: Phase::Answer,
        tick: 0,
    });
    newer.watch.set(Since {
        phase: Phase::Idle,
        tick: 9,
    });
    older.watch.set(Since {
        phase: Phase::Idle,
        tick: 3,
    });

    assert!(slots.take(Via::Tcp).is_none());

    assert!(older.must_leave() && !newer.must_leave() && !busy.must_leave());
    drop(older);
    assert!(slots.take(Via::Tcp).is_some());
}

#[test]
fn a_full_server_asks_the_slowest_request_to_leave() {
    let slots = slots(3);
    let [answered, head, body] = std::array::from_fn(|_| slots.take(Via::Tcp).unwrap());
    for (slot, phase, tick) in [
        (&answered, Phase::Answer, 0),
        (&head, Phase::Head, 2),
        (&body, Phase::Body, 1),
    ] {
        slot.watch.set(Since { phase, tick });
    }
    at(&slots, SLOW_TICKS + 1);
    assert!(slots.take(Via::Tcp).is_none());

    assert!(body.must_leave() && !head.must_leave() && !answered.must_leave());
}

/// All slots are taken over TCP, each connection in its phase since its tick; checks which of them is closed at `now`.
#[track_caller]
fn check_leaves(connections: &[(Phase, u32)], now: u32, expected: Option<usize>) {
    let slots = slots(connections.len());
    let taken: Vec<Slot> = connections
        .iter()
        .map(|&(phase, tick)| {
            let slot = slots.take(Via::Tcp).unwrap();
            slot.watch.set(Since { phase, tick });
            slot
        })
        .collect();
    at(&slots, now);
    assert!(slots.take(Via::Tcp).is_none());
    let leaves: Vec<usize> = (0..taken.len())
        .filter(|&number| taken[number].must_leave())
        .collect();
    let expected: Vec<usize> = expected.into_iter().collect();
    assert_eq!(leaves, expected, "{connections:?} at {now}");
}

#[test]
fn a_new_connection_never_leaves_before_a_slow_one() {
    let new = (Phase::Idle, 95);
    for slow in [
        Phase::Body,
        Phase::Head,
        Phase::Write,
        Phase::Idle,
        Phase::Linger,
    ] {
        check_leaves(&[new, (slow, 90)], 100, Some(1));
        check_leaves(&[(slow, 90), new], 100, Some(0));
    }
    // A connection whose request is being answered is never closed.
    let answered = (Phase::Answer, 0);
    check_leaves(&[new, answered], 100, Some(0));
    check_leaves(&[answered, answered], 100, None);
}

/// During a flood of clients that do not read, possibly no connection is slow: then the newest, whose request is
/// on its way, must not be the only one that can be closed.
#[test]
fn where_none_is_slow_the_oldest_leaves_whatever_it_waits_for() {
    let new = (Phase::Idle, 95);
    for young in [Phase::Body, Phase::Head, Phase::Write, Phase::Idle] {
        check_leaves(&[new, (young, 91)], 100, Some(1));
        check_leaves(&[(young, 91), (young, 92)], 100, Some(0));
    }
}

#[test]
fn slow_connections_leave_in_the_order_of_their_age() {
    check_leaves(
        &[(Phase::Idle, 50), (Phase::Write, 40), (Phase::Head, 60)],
        100,
        Some(1),
    );
    check_leaves(
        &[(Phase::Idle, 30), (Phase::Write, 40), (Phase::Head, 60)],
        100,
        Some(0),
    );
    check_leaves(
        &[(Phase::Idle, 70), (Phase::Write, 80), (Phase::Head, 60)],
        100,
        Some(2),
    );
}

#[test]
fn among_many_connections_several_slow_ones_leave_at_once_but_young_ones_one_by_one() {
    let taken = 2 * CONNECTIONS_PER_EVICTION + 16;
    let slots = slots(taken);
    let all_slots: Vec<Slot> = std::iter::from_fn(|| slots.take(Via::Tcp)).collect();
    let leaving = || {
        all_slots
            .iter()
            .filter(|slot| slot.watch.is_evicted())
            .count()
    };
    assert_eq!(leaving(), 1);
    for slot in &all_slots {
        assert_eq!(slot.must_leave(), slot.watch.is_evicted());
        slot.watch.evicted.store(false, Relaxed);
    }
    for (number, slot) in all_slots.iter().enumerate() {
        let (phase, tick) = match number {
            5 => (Phase::Write, 3),
            6 => (Phase::Head, 1),
            7 => (Phase::Body, 2),
            8 => (Phase::Idle, 4),
            _ => (Phase::Idle, 95),
        };
        slot.watch.set(Since { phase, tick });
    }
    at(&slots, 100);
    assert!(slots.take(Via::Tcp).is_none());
    let leave: Vec<usize> = (0..all_slots.len())
        .filter(|&number| all_slots[number].must_leave())
        .collect();
    assert_eq!(leave, [5, 6, 7]);
}

#[test]
fn the_unix_socket_has_slots_that_tcp_cannot_take() {
    let slots = slots(64);
    let tcp: Vec<Slot> = std::iter::from_fn(|| slots.take(Via::Tcp)).collect();
    assert_eq!(tcp.len(), 64 - 16);
    let mut unix: Vec<Slot> = std::iter::from_fn(|| slots.take(Via::Unix)).collect();
    assert_eq!(unix.len(), 16);
    // No connection over the socket is closed for one over TCP.
    for slot in tcp.iter().chain(&unix) {
        slot.watch.set(Since {
            phase: Phase::Idle,
            tick: 0,
        });
    }
    at(&slots, 100);
    for _ in 0..tcp.len() {
        assert!(slots.take(Via::Tcp).is_none());
    }
    assert!(tcp.iter().all(|slot| slot.must_leave()));
    assert!(!unix.iter().any(|slot| slot.must_leave()));
    // A slot freed by the Unix socket is not available to TCP.
    unix.pop();
    assert!(slots.take(Via::Tcp).is_none());
    assert!(slots.take(Via::Unix).is_some());
}

#[test]
fn memory_is_relieved_of_all_that_are_slow_in_one_phase() {
    let slots = slots(8);
    let [slow, other, quick] = std::array::from_fn(|_| slots.take(Via::Tcp).unwrap());
    for (slot, phase, tick) in [
        (&slow, Phase::Write, 90),
        (&other, Phase::Body, 90),
        (&quick, Phase::Write, 91),
    ] {
        slot.watch.set(Since { phase, tick });
    }
    at(&slots, 100);
    slots.relieve(&[Phase::Write]);
    assert!(slow.must_leave() && !other.must_leave() && !quick.must_leave());
}

#[test]
fn a_connection_that_became_busy_does_not_leave() {
    let slots = slots(1);
    let slot = slots.take(Via::Tcp).unwrap();
    assert!(slots.take(Via::Tcp).is_none());
    slot.watch.set(Since {
        phase: Phase::Answer,
        tick: 0,
    });

    assert!(!slot.must_leave());
    slot.watch.set(Since {
        phase: Phase::Idle,
        tick: 0,
    });
    assert!(!slot.must_leave());
}

#[test]
fn the_drain_gives_an_idle_connection_a_moment_from_its_own_start() {
    let slots = slots(1);
    let since = Since {
        phase: Phase::Idle,
        tick: 0,
    };
    at(&slots, 100);
    slots.drain();
    assert!(!slots.is_overdue(since));
    at(&slots, 104);
    assert!(slots.is_overdue(since));
}

#[test]
fn a_log_line_is_written_once_a_second() {
    let log = OncePerSecond::default();
    assert_eq!(
        [0, 1, 9, 10, 19, 20].map(|tick| log.may(tick)),
        [true, false, false, true, false, true]
    );
}
