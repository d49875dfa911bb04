//! A user with a full contact list, and what its sign-in asks of the server and the store.

mod support;

use signin::directory::Directory;
use std::sync::Arc;
use store::{ImportMode, Store, read_contacts};
use support::server::{Server, endpoint};
use support::{add, aor, block_on, user};

const CONTACTS: usize = 1_000;

#[test]
fn a_thousand_contacts_are_told_in_one_answer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Arc::new(Store::open(&folder.path().join("users.db")).expect("a store"));
    add(&store, user("alice@contoso.test"), &[]);
    let mut file = String::from("address,groups\n");
    for number in 0..CONTACTS {
        let address = format!("user{number}@contoso.test");
        add(&store, user(&address), &[]);
        file.push_str(&format!("{address},Team {}\n", number % 60));
    }
    let alice = aor("alice@contoso.test");
    let done = store.import_contacts(&alice, read_contacts(file.as_bytes(), None), ImportMode::Merge).wait();
    assert_eq!(done.map(|done| (done.added, done.remarks.len())), Ok((CONTACTS, 0)));

    let server = Server::on(store.clone());
    let list = block_on(store.contacts(&alice)).expect("a list");
    let (first, bytes) = server.watch(&endpoint("alice", "a1"), list.contacts.iter().map(|contact| &contact.aor));
    assert_eq!(first, CONTACTS, "somebody is missing");
    let (second, _) = server.watch(&endpoint("alice", "a2"), list.contacts.iter().map(|contact| &contact.aor));
    assert_eq!(second, CONTACTS);
    assert!(bytes < 2 * 1024 * 1024, "{bytes} bytes: more than one answer may have");
}
