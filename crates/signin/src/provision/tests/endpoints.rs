//! Many endpoints of one user, endpoints on several servers, endpoints that go: everybody else learns what there is to
//! learn, and nothing is left of who is gone.

use super::super::contacts::message::{ContactDocument, read_document};
use super::super::presence::message::{CATEGORIES, OWN_PRESENCE, read_categories, read_own_presence};
use super::requests::*;
use super::*;
use std::collections::BTreeSet;

const MANY: usize = 100;

fn many() -> Vec<Caller> {
    (0..MANY).map(|number| endpoint("alice", &format!("{number:010x}"))).collect()
}

fn machine(number: usize, container: u16, version: u32, availability: u32) -> String {
    let instance = 0x3000_0000 + u32::try_from(number).expect("few");
    publication("alice@contoso.test", "state", instance, container, version, &state("machineState", availability))
}

#[test]
fn a_hundred_endpoints_stay_in_step() {
    let house = House::new();
    let endpoints = many();
    subscribe(&house, &bob(), PRESENCE, &batch(&[ALICE]));
    for (number, who) in endpoints.iter().enumerate() {
        assert_eq!(subscribe(&house, who, CONTACTS, "").0.code, 200);
        assert_eq!(subscribe(&house, who, OWN, ALL_OWN).0.code, 200);
        let instance = 1_000 + u32::try_from(number).expect("few");
        let device = publication("alice@contoso.test", "device", instance, 2, 0, "<device/>");
        assert_eq!(publish(&house, who, &device).0.code, 200, "device {number}");
        for container in [2, 3] {
            assert_eq!(publish(&house, who, &machine(number, container, 0, 15_500)).0.code, 200, "{number}");
        }
    }
    let group = "<addGroup><name>New</name><deltaNum>12</deltaNum></addGroup>";
    let (reply, notices) = soap(&house, &endpoints[7], group);
    assert_eq!((reply.code, notices.len()), (200, MANY));
    let told: BTreeSet<&str> = notices.iter().map(|notice| &*notice.epid).collect();
    assert_eq!(told.len(), MANY, "each once");
    for notice in &notices {
        assert!(matches!(read_document(notice.body.as_bytes()), Ok(ContactDocument::Delta(d)) if d.delta_num == 13));
    }

    // Somebody sits down at one of the hundred machines.
    let (_, notices) = publish(&house, &endpoints[42], &machine(42, 2, 1, 3_500));
    let own = notices.iter().filter(|notice| notice.content_type == OWN_PRESENCE).count();
    assert_eq!(own, MANY - 1, "all but the publisher");
    let seen: Vec<_> = notices.iter().filter(|notice| notice.content_type == CATEGORIES).collect();
    let [seen] = seen.as_slice() else { panic!("bob is told once") };
    assert_eq!(read_categories(seen.body.as_bytes()).expect("categories").availability(), Some(3_500));
    let document = notices.iter().find(|notice| notice.content_type == OWN_PRESENCE).expect("own presence");
    let categories = read_own_presence(document.body.as_bytes()).expect("readable").categories.expect("categories");
    let instances = categories.categories.iter().filter(|c| c.container == Some(2) && c.name == "state").count();
    assert_eq!(instances, MANY + 2, "each machine, the aggregate, and the machine somebody is at");

    let told: Vec<_> = endpoints.iter().map(|who| availabilities(&house.gone(who), "bob@contoso.test")).collect();
    let changes: Vec<Option<u32>> = told.into_iter().flatten().collect();
    assert_eq!(changes, [Some(15_500), Some(18_500)], "away without the one machine, offline without the last");
    house.gone(&bob());
    assert!(house.server.live.lock().presentities.is_empty());
}

/// The availabilities somebody was told of.
fn availabilities(notices: &[Notice], to: &str) -> Vec<Option<u32>> {
    let to_them = notices.iter().filter(|n| n.to.as_str() == to && n.content_type == CATEGORIES);
    to_them.map(|n| read_categories(n.body.as_bytes()).expect("categories").availability()).collect()
}

#[test]
fn an_endpoint_that_knows_no_subscription_gets_nothing_more() {
    let house = House::new();
    let plain = format!("{PRESENCE}\nSupported: ms-piggyback-first-notify");
    house.send_in(&alice(), "p1", None, "SUBSCRIBE", ALICE, &plain, &batch(&["sip:bob@contoso.test"]));
    house.send_in(&alice(), "p2", None, "SUBSCRIBE", ALICE, &plain, &batch(&["sip:bob@contoso.test"]));
    house.server.subscription_unknown(&alice().aor, &alice().epid, "p1");
    house.server.subscription_unknown(&alice().aor, "somebody else", "p2");
    house.server.subscription_unknown(&bob().aor, &bob().epid, "p2");
    let busy = publication("bob@contoso.test", "state", 0x2000_0000, 2, 0, &state("userState", 6_500));
    let (_, notices) = publish(&house, &bob(), &busy);
    let [notice] = notices.as_slice() else { panic!("{notices:?}") };
    assert!(notice.headers.contains(&("Call-ID", "p2".to_owned())) && notice.method == "NOTIFY");
}

#[test]
fn who_watches_himself_sees_what_friends_see() {
    let house = House::new();
    let (reply, _) = subscribe(&house, &alice(), PRESENCE, &batch(&[ALICE]));
    assert_eq!(reply.code, 200);
    let busy = publication("alice@contoso.test", "state", 0x2000_0000, 2, 0, &state("userState", 6_500));
    let (_, notices) = publish(&house, &alice(), &busy);
    assert_eq!(availabilities(&notices, "alice@contoso.test"), [Some(6_500)]);
    let block = "<setContainerMembers><container id='32000' version='0'><member action='add' type='user' \
        value='alice@contoso.test'/></container></setContainerMembers>";
    let (reply, notices) = service(&house, &alice(), "application/msrtc-setcontainermembers+xml", block);
    assert_eq!((reply.code, notices.len()), (200, 0), "nobody is blocked by himself");
    house.gone(&alice());
    assert!(house.server.live.lock().presentities.is_empty());
}

#[test]
fn when_the_last_endpoint_goes_the_user_is_offline() {
    let house = House::new();
    let (first, second) = (bob(), endpoint("bob", "2222"));
    subscribe(&house, &alice(), PRESENCE, &batch(&["sip:bob@contoso.test"]));
    subscribe(&house, &second, OWN, ALL_OWN);
    let machine = |number: u32, a| publication("bob@contoso.test", "state", number, 2, 0, &state("machineState", a));
    publish(&house, &first, &machine(0x3000_0001, 3_500));
    publish(&house, &second, &machine(0x3000_0002, 15_500));
    let told = |notices: &[Notice], to: &str| -> Vec<Option<u32>> {
        let to_them = notices.iter().filter(|n| n.to.as_str() == to);
        to_them
            .map(|n| super::super::presence::message::read_categories(n.body.as_bytes()).expect("read").availability())
            .collect()
    };
    let notices = house.gone(&first);
    assert_eq!(told(&notices, "alice@contoso.test"), [Some(15_500)], "the other one is away");
    assert_eq!(notices.len(), 2, "the other endpoint is told too");
    let notices = house.gone(&second);
    assert_eq!(told(&notices, "alice@contoso.test"), [Some(18_500)]);
    assert_eq!(notices.len(), 1);
    assert!(house.gone(&second).is_empty(), "gone is gone");
    assert!(house.gone(&alice()).is_empty());
    assert!(house.server.live.lock().presentities.is_empty(), "nothing is left of anybody");
    assert!(house.server.live.lock().dialogs.is_empty());
}

#[test]
fn servers_of_one_deployment_tell_each_others_endpoints() {
    let first = House::new();
    let second = first.neighbour("fe2.contoso.test");
    subscribe(&first, &alice(), PRESENCE, &batch(&["sip:bob@contoso.test"]));
    let busy = |version| publication("bob@contoso.test", "state", 0x3000_0000, 2, version, &state("userState", 6_500));
    let (_, notices) = publish(&second, &bob(), &busy(0));
    let told: Vec<_> = notices.iter().map(|notice| (notice.to.as_str(), &*notice.server)).collect();
    assert_eq!(told, [("alice@contoso.test", "fe1.contoso.test")]);

    subscribe(&second, &alice(), CONTACTS, "");
    let dialogs = || first.server.live.lock().dialogs.len();
    assert_eq!(dialogs(), 1, "the endpoint moved: what it left behind at the first server is over");
    assert!(first.gone(&alice()).is_empty());
    assert_eq!(dialogs(), 1, "the first server learns late that its connection is gone; the second one has it");
    second.gone(&alice());
    assert_eq!(dialogs(), 0);
}

#[test]
fn what_an_administrator_changes_reaches_the_endpoints() {
    let house = House::new();
    subscribe(&house, &alice(), CONTACTS, "");
    subscribe(&house, &bob(), CONTACTS, "");
    assert!(house.sweep().is_empty());
    let edit = Edit::AddGroup { name: "Given".to_owned(), external_uri: String::new() };
    let change = ContactChange { delta_num: None, edit };
    house.memory.change_contacts(&alice().aor, change).now_or_never().expect("at once").expect("a group");
    assert!(house.sweep().is_empty(), "nobody said that anything was changed elsewhere");
    house.memory.elsewhere.fetch_add(1, Ordering::Relaxed);
    let notices = house.sweep();
    let [told] = notices.as_slice() else { panic!("{notices:?}") };
    assert_eq!(told.to.as_str(), "alice@contoso.test", "whose list is another one");
    assert!(matches!(read_document(told.body.as_bytes()), Ok(ContactDocument::List(list)) if list.delta_num == 13));
    assert!(house.sweep().is_empty());
}
