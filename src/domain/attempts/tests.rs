//! Tests of the counters together: what one counter permits, another one limits. Attacks 115, 175.

use super::*;
use std::net::Ipv4Addr;

const NOW: Timestamp = Timestamp(1_795_255_200_000);
const ALICE: Account = Account::User(Uid(1));
const NAME: Account = Account::Unknown(7);

fn place(bits: u32) -> AttemptNetwork {
    Some(IpAddr::V4(Ipv4Addr::from_bits(bits)))
}

fn fail(
    attempts: &mut Attempts,
    account: Account,
    place: AttemptNetwork,
    at_ms: u64,
) -> Result<bool, Refusal> {
    let ticket = attempts.begin_password(account, place, false, at_ms)?;
    Ok(attempts.end(ticket, true, at_ms, NOW))
}

fn sign_in(
    attempts: &mut Attempts,
    account: Account,
    place: AttemptNetwork,
) -> Result<(), Refusal> {
    let ticket = attempts.begin_password(account, place, false, 0)?;
    attempts.end(ticket, false, 0, NOW);
    if let Account::User(user) = account {
        attempts.succeeded(user, place, false, NOW);
    }
    Ok(())
}

/// Ten failures from each of ten networks.
fn lock(attempts: &mut Attempts, account: Account, first: u32) {
    for network in first..first + 10 {
        for attempt in 0..10 {
            let locks = fail(attempts, account, place(network), 0).unwrap();
            assert_eq!(locks, network == first + 9 && attempt == 9);
        }
    }
}

#[test]
fn successes_are_not_counted() {
    let mut attempts = Attempts::default();
    for _ in 0..1_000 {
        sign_in(&mut attempts, ALICE, place(1)).unwrap();
    }
    assert_eq!(attempts.standing(ALICE), Standing::default());
}

#[test]
fn who_guesses_is_held_up_and_the_user_elsewhere_is_not() {
    let mut attempts = Attempts::default();
    for _ in 0..10 {
        fail(&mut attempts, ALICE, place(66), 0).unwrap();
    }
    assert_eq!(
        fail(&mut attempts, ALICE, place(66), 0),
        Err(Refusal::Wait(60))
    );
    sign_in(&mut attempts, ALICE, place(1)).unwrap();
    // The other users in the attacker's network are not limited either.
    sign_in(&mut attempts, Account::User(Uid(2)), place(66)).unwrap();
}

#[test]
fn a_hundred_failures_lock_an_account_but_for_known_networks() {
    for account in [ALICE, NAME] {
        let mut attempts = Attempts::default();
        let _ = sign_in(&mut attempts, account, place(1));
        lock(&mut attempts, account, 1_000);
        assert!(attempts.standing(account).is_locked());
        // The result is the same for a name that does not exist.
        let elsewhere = attempts.begin_password(account, place(2), false, 0);
        assert_eq!(elsewhere, Err(Refusal::Locked));
        let with_code = attempts.begin_password(account, place(2), true, 0).unwrap();
        assert!(matches!(
            with_code,
            Ticket::Password {
                with_code: true,
                ..
            }
        ));
    }
}

#[test]
fn a_lock_stays_until_more_than_the_password_ends_it() {
    let mut attempts = Attempts::default();
    sign_in(&mut attempts, ALICE, place(1)).unwrap();
    lock(&mut attempts, ALICE, 1_000);
    sign_in(&mut attempts, ALICE, place(1)).unwrap();
    assert!(attempts.standing(ALICE).is_locked());
    attempts.succeeded(Uid(1), place(3), true, NOW);
    assert_eq!(attempts.standing(ALICE), Standing::default());
    sign_in(&mut attempts, ALICE, place(4)).unwrap();

    lock(&mut attempts, ALICE, 2_000);
    attempts.forget(ALICE);
    assert!(!attempts.has_failures(ALICE));
    sign_in(&mut attempts, ALICE, place(5)).unwrap();
    sign_in(&mut attempts, ALICE, place(1_000)).unwrap();
}

#[test]
fn a_success_ends_a_row_that_has_not_locked() {
    let mut attempts = Attempts::default();
    for round in 0..30 {
        for _ in 0..9 {
            fail(&mut attempts, ALICE, place(round), 0).unwrap();
        }
        sign_in(&mut attempts, ALICE, place(round)).unwrap();
    }
    assert_eq!(attempts.standing(ALICE).failures, 0);
}

#[test]
fn attempts_at_the_same_time_do_not_pass_the_hundred() {
    let mut attempts = Attempts::default();
    let begun: Vec<Ticket> = (0..LOCKED_AT)
        .map(|network| {
            attempts
                .begin_password(ALICE, place(network), false, 0)
                .unwrap()
        })
        .collect();
    let one_more = attempts.begin_password(ALICE, place(LOCKED_AT), false, 0);
    assert_eq!(one_more, Err(Refusal::Wait(1)));
    for ticket in begun {
        attempts.end(ticket, true, 0, NOW);
    }
    assert_eq!(attempts.standing(ALICE).failures, LOCKED_AT);
}

#[test]
fn a_known_network_that_guesses_itself_is_known_no_more() {
    let mut attempts = Attempts::default();
    sign_in(&mut attempts, ALICE, place(1)).unwrap();
    let mut now = 0;
    for _ in 0..LOCKED_AT {
        fail(&mut attempts, ALICE, place(1), now).unwrap();
        now += OF_NETWORK.wait_s_max * 1000;
    }
    let again = attempts.begin_password(ALICE, place(1), false, now);
    assert_eq!(again, Err(Refusal::Locked));
}

#[test]
fn a_session_is_confirmed_whatever_others_do() {
    let mut attempts = Attempts::default();
    lock(&mut attempts, ALICE, 3_000);
    let (own, other) = (KeyId(1), KeyId(2));
    for _ in 0..10 {
        let ticket = attempts.begin_session(own, 0).unwrap();
        attempts.end(ticket, true, 0, NOW);
    }
    assert_eq!(attempts.begin_session(own, 0), Err(Refusal::Wait(60)));
    attempts.begin_session(other, 0).unwrap();
}

/// An attacker who has the password guesses the code, from one network and then from many.
#[test]
fn codes_are_guessed_at_most_two_hundred_times_a_day() {
    let mut attempts = Attempts::default();
    let mut guess = |network: u32, now: u64| -> Result<(), Refusal> {
        let ticket = attempts.begin_code(ALICE, place(network), now)?;
        attempts.end(ticket, true, now, NOW);
        Ok(())
    };
    // The password is correct each time, but this does not reset the count.
    for _ in 0..10 {
        guess(0, 0).unwrap();
    }
    assert_eq!(guess(0, 0), Err(Refusal::Wait(60)));
    let day = 86_400_000;
    let guesses = (1..5_000).filter(|network| guess(*network, u64::from(*network)).is_ok());
    assert_eq!(guesses.count(), 190);
    assert!(guess(6_000, day).is_err());
    assert_eq!(guess(6_001, day + 200), Ok(()));
    // From a network where the user has signed in before, codes are still accepted.
    attempts.succeeded(Uid(1), place(5_000), false, NOW);
    attempts.begin_code(ALICE, place(5_000), 200).unwrap();
}

/// A client that does not know the password sends codes with wrong passwords, from as many networks as it likes.
#[test]
fn wrong_passwords_use_up_no_codes_of_a_locked_account() {
    let mut attempts = Attempts::default();
    lock(&mut attempts, ALICE, 1_000);
    for network in 2_000..3_000 {
        let ticket = attempts.begin_password(ALICE, place(network), true, 0);
        attempts.end(ticket.unwrap(), true, 0, NOW);
    }
    let ticket = attempts.begin_password(ALICE, place(1), true, 0).unwrap();
    attempts.end(ticket, false, 0, NOW);
    attempts.begin_code(ALICE, place(1), 0).unwrap();
}

#[test]
fn a_flood_of_names_does_not_make_an_account_forgotten() {
    let mut attempts = Attempts::new(50);
    for network in 0..3 {
        fail(&mut attempts, NAME, place(network), 0).unwrap();
        fail(&mut attempts, ALICE, place(network), 0).unwrap();
    }
    for name in 100..2_000 {
        let network = place(name);
        fail(&mut attempts, Account::Unknown(name.into()), network, 0).unwrap();
    }
    assert!(attempts.accounts.len() <= 51);
    assert_eq!(attempts.standing(NAME).failures, 3);
    assert_eq!(attempts.standing(ALICE).failures, 3);
}

#[test]
fn the_latest_networks_of_a_user_are_remembered() {
    let mut attempts = Attempts::default();
    for network in 0..50 {
        let now = Timestamp(NOW.0 + i64::from(network));
        assert!(attempts.succeeded(Uid(1), place(network), false, now));
        assert!(!attempts.succeeded(Uid(1), place(network), false, now));
    }
    let (_, networks) = attempts.saved(ALICE);
    assert_eq!(networks.len(), NETWORKS_MAX);
    assert!(attempts.is_known(ALICE, place(49)) && !attempts.is_known(ALICE, place(29)));
    // After a change of the password: a person who knew the old one may have signed in from the known networks.
    attempts.forget_networks(Uid(1));
    assert!(!attempts.is_known(ALICE, place(49)));
}

#[test]
fn an_account_is_written_and_read() {
    for account in [NAME, NOBODY, Account::User(Uid(3 << 70))] {
        assert_eq!(Account::parse(&account.to_string()), Some(account));
    }
    assert_eq!(NAME.to_string(), "unknown:0000000000000007");
    assert_eq!(Account::parse("alice"), None);
}
