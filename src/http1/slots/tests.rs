//! Deadlines, connection slots, and the order in which connections are closed for new ones.

use super::*;

fn registry(connections_max: usize) -> Arc<Registry> {
    Arc::new(Registry::new(Limits {
        connections_max,
        ..Limits::default()
    }))
}

fn at(registry: &Registry, tick: u32) {
    registry.clock.ticks.store(tick, Relaxed);
}

#[test]
fn a_phase_is_overdue_only_after_its_whole_span() {
    let registry = registry(1);
    for (phase, ticks) in [
        (Phase::Head, 100),
        (Phase::Body, 100),
        (Phase::Idle, 750),
        (Phase::Write, 100),
        (Phase::Linger, 20),
    ] {
        let since = Since { phase, tick: 5 };
        at(&registry, 5 + ticks);
        assert!(!registry.is_overdue(since), "{phase:?}");
        at(&registry, 6 + ticks);
        assert!(registry.is_overdue(since), "{phase:?}");
    }
    at(&registry, u32::MAX);
    assert!(!registry.is_overdue(Since {
        phase: Phase::Answer,
        tick: 0
    }));
}

#[test]
fn a_full_house_asks_the_longest_idle_to_leave() {
    let registry = registry(3);
    let [busy, newer, older] = std::array::from_fn(|_| registry.enter(Via::Tcp).unwrap());
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

    assert!(registry.enter(Via::Tcp).is_none());

    assert!(older.watch.leaves() && !newer.watch.leaves() && !busy.watch.leaves());
    drop(older);
    assert!(registry.enter(Via::Tcp).is_some());
}

#[test]
fn a_full_house_asks_the_slowest_request_to_leave() {
    let registry = registry(3);
    let [answered, head, body] = std::array::from_fn(|_| registry.enter(Via::Tcp).unwrap());
    for (place, phase, tick) in [
        (&answered, Phase::Answer, 0),
        (&head, Phase::Head, 2),
        (&body, Phase::Body, 1),
    ] {
        place.watch.set(Since { phase, tick });
    }
    at(&registry, SLOW_TICKS + 1);
    assert!(registry.enter(Via::Tcp).is_none());

    assert!(body.watch.leaves() && !head.watch.leaves() && !answered.watch.leaves());
}

/// All slots are taken over TCP, each connection in its phase since its tick; checks which of them is closed at `now`.
#[track_caller]
fn check_leaves(connections: &[(Phase, u32)], now: u32, expected: Option<usize>) {
    let registry = registry(connections.len());
    let places: Vec<Place> = connections
        .iter()
        .map(|&(phase, tick)| {
            let place = registry.enter(Via::Tcp).unwrap();
            place.watch.set(Since { phase, tick });
            place
        })
        .collect();
    at(&registry, now);
    assert!(registry.enter(Via::Tcp).is_none());
    let leaves: Vec<usize> = (0..places.len())
        .filter(|&number| places[number].watch.leaves())
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
fn in_a_large_house_several_slow_connections_leave_at_once_but_young_ones_one_by_one() {
    let places = 2 * CONNECTIONS_PER_EVICTION + 16;
    let registry = registry(places);
    let house: Vec<Place> = std::iter::from_fn(|| registry.enter(Via::Tcp)).collect();
    let leaving = || {
        house
            .iter()
            .filter(|place| place.watch.is_evicted())
            .count()
    };
    assert_eq!(leaving(), 1);
    for place in &house {
        assert_eq!(place.watch.leaves(), place.watch.is_evicted());
        place.watch.evicted.store(false, Relaxed);
    }
    for (number, place) in house.iter().enumerate() {
        let (phase, tick) = match number {
            5 => (Phase::Write, 3),
            6 => (Phase::Head, 1),
            7 => (Phase::Body, 2),
            8 => (Phase::Idle, 4),
            _ => (Phase::Idle, 95),
        };
        place.watch.set(Since { phase, tick });
    }
    at(&registry, 100);
    assert!(registry.enter(Via::Tcp).is_none());
    let leave: Vec<usize> = (0..house.len())
        .filter(|&number| house[number].watch.leaves())
        .collect();
    assert_eq!(leave, [5, 6, 7]);
}

#[test]
fn the_unix_socket_has_places_that_tcp_cannot_take() {
    let registry = registry(64);
    let tcp: Vec<Place> = std::iter::from_fn(|| registry.enter(Via::Tcp)).collect();
    assert_eq!(tcp.len(), 64 - 16);
    let mut unix: Vec<Place> = std::iter::from_fn(|| registry.enter(Via::Unix)).collect();
    assert_eq!(unix.len(), 16);
    // No connection over the socket is closed for one over TCP.
    for place in tcp.iter().chain(&unix) {
        place.watch.set(Since {
            phase: Phase::Idle,
            tick: 0,
        });
    }
    at(&registry, 100);
    for _ in 0..tcp.len() {
        assert!(registry.enter(Via::Tcp).is_none());
    }
    assert!(tcp.iter().all(|place| place.watch.leaves()));
    assert!(!unix.iter().any(|place| place.watch.leaves()));
    // A slot freed by the Unix socket is not available to TCP.
    unix.pop();
    assert!(registry.enter(Via::Tcp).is_none());
    assert!(registry.enter(Via::Unix).is_some());
}

#[test]
fn memory_is_relieved_of_all_that_are_slow_in_one_phase() {
    let registry = registry(8);
    let [slow, other, quick] = std::array::from_fn(|_| registry.enter(Via::Tcp).unwrap());
    for (place, phase, tick) in [
        (&slow, Phase::Write, 90),
        (&other, Phase::Body, 90),
        (&quick, Phase::Write, 91),
    ] {
        place.watch.set(Since { phase, tick });
    }
    at(&registry, 100);
    registry.relieve(&[Phase::Write]);
    assert!(slow.watch.leaves() && !other.watch.leaves() && !quick.watch.leaves());
}

#[test]
fn a_connection_that_became_busy_does_not_leave() {
    let registry = registry(1);
    let place = registry.enter(Via::Tcp).unwrap();
    assert!(registry.enter(Via::Tcp).is_none());
    place.watch.set(Since {
        phase: Phase::Answer,
        tick: 0,
    });

    assert!(!place.watch.leaves());
    place.watch.set(Since {
        phase: Phase::Idle,
        tick: 0,
    });
    assert!(!place.watch.leaves());
}

#[test]
fn the_drain_gives_an_idle_connection_a_moment_from_its_own_start() {
    let registry = registry(1);
    let since = Since {
        phase: Phase::Idle,
        tick: 0,
    };
    at(&registry, 100);
    registry.drain();
    assert!(!registry.is_overdue(since));
    at(&registry, 104);
    assert!(registry.is_overdue(since));
}

#[test]
fn a_log_line_is_written_once_a_second() {
    let seldom = Seldom::default();
    assert_eq!(
        [0, 1, 9, 10, 19, 20].map(|tick| seldom.may(tick)),
        [true, false, false, true, false, true]
    );
}
