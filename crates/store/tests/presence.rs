//! What of presence outlives the endpoints, the server and the process.

mod support;

use signin::directory::Directory;
use signin::provision::presence::message::{ContainerEntry, Member, OwnPresence};
use std::path::Path;
use std::sync::Arc;
use store::Store;
use support::server::{Server, endpoint};
use support::{add, aor, block_on, user};

fn house(path: &Path) -> (Arc<Store>, Server) {
    let store = Arc::new(Store::open(path).expect("a store"));
    let server = Server::on(store.clone());
    (store, server)
}

/// Versions of one category, by container.
fn versions(own: &OwnPresence, category: &str) -> Vec<Option<u32>> {
    let categories = own.categories.iter().flat_map(|own| &own.categories);
    categories.filter(|c| c.name == category && c.instance.is_some()).map(|c| c.version).collect()
}

#[test]
fn what_does_not_end_with_the_endpoint_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("users.db");
    let (store, server) = house(&path);
    ["alice", "bob"].iter().for_each(|name| add(&store, user(&format!("{name}@contoso.test")), &[]));
    let (alice, bob) = (endpoint("alice", "a1"), endpoint("bob", "b1"));
    assert_eq!(server.publish(&alice, 0, "'static'", "note", "<note>a &amp; b</note>"), 200);
    assert_eq!(server.publish(&alice, 1, "'static'", "note", "<note>c</note>"), 200);
    assert_eq!(server.publish(&alice, 0, "'time' expires='3600'", "calendarData", "<freeBusy/>"), 200);
    assert_eq!(server.publish(&alice, 0, "'endpoint'", "device", "<device endpointId='e'/>"), 200);
    assert_eq!(server.publish(&alice, 0, "'user'", "services2", "<x/>"), 200);
    assert_eq!(server.publish(&alice, 0, "'static'", "options", "<x/>"), 200);
    assert_eq!(server.publish(&alice, 1, "'static'", "options", ""), 200);
    assert_eq!(server.publish(&alice, 0, "'static'", "moved", "<x/>"), 200);
    assert_eq!(server.publish(&alice, 1, "'endpoint'", "moved", "<x/>"), 200);
    assert_eq!(server.set_member(&alice, 32_000, 0, true, &bob.aor), 200);
    assert_eq!(server.set_member(&alice, 200, 1, true, &aor("carol@contoso.test")), 200);
    assert_eq!(server.add(&bob, &alice.aor), 200);
    drop((store, server));

    let (_store, server) = house(&path);
    let own = server.own(&alice);
    assert_eq!(versions(&own, "note"), [Some(2)]);
    assert_eq!(versions(&own, "calendarData"), [Some(1)]);
    for gone in ["device", "services2", "options", "moved"] {
        assert!(versions(&own, gone).is_empty(), "{gone}");
    }
    let entry = |id, version, members| ContainerEntry { id, version, members };
    assert_eq!(
        own.containers[1..],
        [
            entry(200, 2, vec![Member::User(aor("carol@contoso.test")), Member::SameEnterprise]),
            entry(300, 0, Vec::new()),
            entry(400, 0, Vec::new()),
            entry(32_000, 1, vec![Member::User(bob.aor.clone())]),
        ]
    );
    assert_eq!(own.subscribers.iter().map(|s| (&s.aor, s.acknowledged)).collect::<Vec<_>>(), [(&bob.aor, false)]);
    assert_eq!(server.publish(&alice, 0, "'static'", "note", "<note/>"), 409, "the version has lasted too");
    assert_eq!(server.acknowledge(&alice, &bob.aor), 200);
    server.gone(&alice);
    assert!(server.own(&alice).subscribers[0].acknowledged, "also when the last endpoint has gone");
}

#[test]
fn what_has_expired_meanwhile_is_gone_and_its_row_too() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("users.db");
    let (store, server) = house(&path);
    add(&store, user("alice@contoso.test"), &[]);
    let alice = endpoint("alice", "a1");
    assert_eq!(server.publish(&alice, 0, "'time' expires='60'", "calendarData", "<freeBusy/>"), 200);
    drop(server);
    let server = Server::later(store.clone(), 61);
    assert!(versions(&server.own(&alice), "calendarData").is_empty());
    assert_eq!(server.publish(&alice, 0, "'static'", "note", "<note/>"), 200);
    let kept = block_on(store.presence(&alice.aor)).expect("what is kept");
    assert_eq!(kept.publications.iter().map(|p| p.key.category.as_str()).collect::<Vec<_>>(), ["note"]);
}

#[test]
fn a_removed_user_leaves_nothing_to_the_next_of_that_name() {
    let store = Arc::new(Store::in_memory().expect("a store"));
    add(&store, user("alice@contoso.test"), &[]);
    let alice = endpoint("alice", "a1");
    let server = Server::on(store.clone());
    assert_eq!(server.publish(&alice, 0, "'static'", "note", "<note/>"), 200);
    server.gone(&alice);
    store.remove_user(&alice.aor).wait().expect("alice is there");
    assert_eq!(server.publish(&alice, 1, "'static'", "note", "<note/>"), 409);
    assert_eq!(server.publish(&alice, 0, "'static'", "note", "<note/>"), 503, "there is nobody to keep it for");
    add(&store, user("alice@contoso.test"), &[]);
    assert!(block_on(store.presence(&alice.aor)).expect("nothing").publications.is_empty());
}
