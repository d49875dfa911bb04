//! Kerberos at a registrar, in memory and in virtual time: a ticket that is taken, and each kind that is not.

mod phone;
#[path = "../src/testing/realm.rs"]
mod realm;
mod world;

use mechanism::kerberos::ReplayCache;
use phone::Phone;
use realm::{Realm, sealed_part};
use signin::authenticate::message::Scheme;
use signin::authenticate::offer::{NotOutside, Offer, Offers};
use signin::authenticate::verifier::KerberosVerifier;
use signin::io::Io;
use signin::reply::Told;
use sip::Message;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use world::{EPOCH, People, Plan, World};

const HOST: &str = "fe01.contoso.test";
const SIP: &str = "sip/fe01.contoso.test";
const HTTP: &str = "http/fe01.contoso.test";

/// alice and bob of pool1, whose one Front End takes tickets.
fn deployment() -> (World, Realm) {
    let (world, realm) = (World::empty(), Realm::new(1, &["alice", "bob"], &[SIP, HTTP, "sip/fe02.contoso.test"]));
    world.user("alice", Some("pool1"), None);
    world.user("bob", Some("pool1"), None);
    let replays = Arc::new(Mutex::new(ReplayCache::new(100)));
    let verifier = KerberosVerifier::new(realm.acceptor(), replays, Arc::new(world.clone()));
    let offers = vec![Offer::Kerberos(Arc::new(verifier))];
    world.server(Plan { offers, ..Plan::front_end("fe01", "pool1") });
    (world, realm)
}

fn now(world: &World) -> i64 {
    Io::now(world).unix_seconds
}

/// Status of the answer, its diagnostics id, and the cause it tells.
fn told((code, text): (u16, String)) -> (u16, Option<u32>, Option<String>) {
    let told = Told::by(&Message::parse(text.as_bytes()).expect("a message"));
    (code, told.id, told.cause)
}

fn refused(cause: &str) -> (u16, Option<u32>, Option<String>) {
    (401, Some(1000), Some(cause.to_owned()))
}

#[test]
fn a_ticket_registers_at_once() {
    let (world, realm) = deployment();
    let mut phone = Phone::new(&world, "alice", "fe01");
    let (token, keys) = realm.show(&realm.ticket("alice", SIP, EPOCH), EPOCH, false).into_parts();
    assert_eq!(phone.show_ticket(token, keys).0, 200);
    assert_eq!(phone.refresh(None), 200, "signed with the same keys");
}

#[test]
fn each_wrong_ticket_has_its_cause() {
    let (world, realm) = deployment();
    let stranger = Realm::new(2, &["alice"], &[SIP]);
    let fresh = || realm.show(&realm.ticket("alice", SIP, EPOCH), EPOCH, false).into_parts();
    let altered = |at: fn(&[u8]) -> usize| {
        let (mut token, keys) = fresh();
        let at = at(&token);
        token[at] ^= 1;
        (token, keys)
    };
    let of = |service: &str| realm.show(&realm.ticket("alice", service, EPOCH), EPOCH, false).into_parts();
    let foreign = stranger.show(&stranger.ticket("alice", SIP, EPOCH), EPOCH, false).into_parts();
    let late = realm.show(&realm.ticket("alice", SIP, EPOCH), EPOCH - 600, false).into_parts();
    let table = [
        ("an altered ticket", altered(|token| sealed_part(token, HOST)), refused("krb-ap-modified")),
        ("an altered authenticator", altered(|token| token.len() - 1), refused("krb-altered")),
        ("of a KDC with other keys", foreign, refused("krb-ap-modified")),
        ("for the web service", of(HTTP), refused("auth-target-mismatch")),
        ("for another server", of("sip/fe02.contoso.test"), refused("auth-target-mismatch")),
        ("made ten minutes ago", late, (401, Some(1013), None)),
        ("no ticket at all", (b"nonsense".to_vec(), fresh().1), refused("krb-token-refused")),
    ];
    for (what, (token, keys), expected) in table {
        let mut phone = Phone::new(&world, "alice", "fe01");
        assert_eq!(told(phone.show_ticket(token, keys)), expected, "{what}");
        assert_eq!(phone.without_credentials(), 401, "{what}");
    }
    let journal = world.journal().join("\n");
    assert!(journal.contains("krb-altered") && journal.contains("auth-target-mismatch"), "{journal}");
}

#[test]
fn a_token_is_taken_once() {
    let (world, realm) = deployment();
    let ticket = realm.ticket("alice", SIP, EPOCH);
    let (token, keys) = realm.show(&ticket, EPOCH, false).into_parts();
    let mut first = Phone::new(&world, "alice", "fe01");
    assert_eq!(first.show_ticket(token.clone(), keys).0, 200);
    // Whoever recorded it has no keys; those of another token of the same ticket come closest.
    let mut thief = Phone::new(&world, "alice", "fe01");
    let (fresh, other_keys) = realm.show(&ticket, EPOCH, false).into_parts();
    assert_eq!(told(thief.show_ticket(token, other_keys)), refused("krb-replayed"));
    assert_eq!(thief.without_credentials(), 401);
    assert_eq!(first.refresh(None), 200, "the first one is not disturbed");
    let (_, keys) = realm.show(&ticket, EPOCH, false).into_parts();
    let (code, ..) = told(Phone::new(&world, "alice", "fe01").show_ticket(fresh, keys));
    assert_ne!(code, 200, "a right token with keys that are not its own");
}

#[test]
fn tickets_are_not_offered_outside() {
    let (world, realm) = deployment();
    let replays = Arc::new(Mutex::new(ReplayCache::new(100)));
    let tickets = Offer::Kerberos(Arc::new(KerberosVerifier::new(realm.acceptor(), replays, Arc::new(world.clone()))));
    let passwords = Offer::Ntlm(Arc::new(People(world)));
    let refused = Offers::outside(vec![passwords.clone(), tickets.clone()]).map(|_| ()).expect_err("no KDC outside");
    assert_eq!(refused, NotOutside(Scheme::Kerberos));
    assert!(Offers::outside(vec![passwords.clone()]).is_ok_and(|offers| offers.are_outside()));
    assert!(!Offers::inside(vec![tickets, passwords]).are_outside());
}

#[test]
fn a_ticket_that_is_over_is_over() {
    let (world, realm) = deployment();
    let ticket = realm.ticket("alice", SIP, EPOCH);
    world.pass(Duration::from_secs(u64::try_from(ticket.ends() - EPOCH).expect("later") + 301));
    let (token, keys) = realm.show(&ticket, now(&world), false).into_parts();
    let mut phone = Phone::new(&world, "alice", "fe01");
    assert_eq!(told(phone.show_ticket(token, keys)), refused("krb-ticket-expired"));
}

/// Clocks may differ by five minutes; a ticket that is taken for that reason is good for something.
#[test]
fn a_ticket_that_is_just_over_signs_in_for_as_long_as_clocks_may_differ() {
    let (world, realm) = deployment();
    let ticket = realm.ticket("alice", SIP, EPOCH);
    let seconds = Duration::from_secs;
    world.pass(seconds(u64::try_from(ticket.ends() - EPOCH).expect("later") + 299));
    let (token, keys) = realm.show(&ticket, now(&world), false).into_parts();
    let mut phone = Phone::new(&world, "alice", "fe01");
    assert_eq!(phone.show_ticket(token, keys).0, 200);
    world.pass(seconds(299));
    assert_eq!(phone.refresh(None), 200);
    world.pass(seconds(2));
    assert_eq!(phone.refresh(None), 401, "a new ticket is wanted");
}

#[test]
fn a_ticket_signs_in_its_owner_and_nobody_else() {
    let (world, realm) = deployment();
    let (token, keys) = realm.show(&realm.ticket("bob", SIP, EPOCH), EPOCH, false).into_parts();
    let mut phone = Phone::new(&world, "alice", "fe01");
    let (code, id, _) = told(phone.show_ticket(token, keys));
    assert_eq!((code, id), (403, Some(4004)));
}
