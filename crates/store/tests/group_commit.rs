//! Many writers at once: every change is made once, in the order of its list, and many share a commit.

mod support;

use signin::directory::Directory;
use signin::provision::contacts::{ContactChange, Edit};
use std::sync::atomic::{AtomicBool, Ordering};
use store::Store;
use support::{add, always, aor, block_on, contact, user};

const WRITERS: usize = 16;
const CHANGES: u32 = 40;

#[test]
fn writers_do_not_lose_each_others_changes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("users.db");
    let store = Store::open(&path).expect("a store");
    let owner = |number: usize| aor(&format!("user{number}@contoso.test"));
    for number in 0..=WRITERS {
        add(&store, user(owner(number).as_str()), &[]);
    }
    // Besides a list of their own, all change the last user's, without knowing of each other.
    let shared = owner(WRITERS);
    let finished = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while !finished.load(Ordering::SeqCst) {
                let list = block_on(store.contacts(&shared)).expect("reads go on");
                assert!(list.delta_num >= seen, "a list went back in time");
                assert_eq!(list.contacts.len() + 1, list.delta_num as usize, "a list that never was");
                seen = list.delta_num;
            }
        });
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (store, shared) = (&store, &shared);
                scope.spawn(move || {
                    for change in 0..CHANGES {
                        let set = |name: String| Edit::SetContact(contact(&format!("{name}@contoso.test"), &[]));
                        let own = ContactChange { delta_num: Some(1 + change), edit: set(format!("c{change}")) };
                        let own = store.change_contacts(&owner(writer), own);
                        let common = store.change_contacts(shared, always(set(format!("w{writer}-c{change}"))));
                        assert_eq!(block_on(own).expect("its own list").delta_num, 2 + change);
                        block_on(common).expect("the common list");
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().expect("no writer failed");
        }
        finished.store(true, Ordering::SeqCst);
        reader.join().expect("the reader saw only what was");
    });

    drop(store);
    let store = Store::open(&path).expect("the same store");
    for writer in 0..WRITERS {
        let list = block_on(store.contacts(&owner(writer))).expect("a list");
        let names: Vec<_> = list.contacts.iter().map(|contact| contact.aor.user().to_owned()).collect();
        assert_eq!(names, (0..CHANGES).map(|change| format!("c{change}")).collect::<Vec<_>>());
    }
    let list = block_on(store.contacts(&shared)).expect("the common list");
    assert_eq!(list.contacts.len(), WRITERS * CHANGES as usize);
    for writer in 0..WRITERS {
        let prefix = format!("w{writer}-c");
        let order = list.contacts.iter().filter_map(|contact| contact.aor.user().strip_prefix(&prefix)?.parse().ok());
        assert_eq!(
            order.collect::<Vec<u32>>(),
            (0..CHANGES).collect::<Vec<_>>(),
            "a writer's changes kept their order"
        );
    }
}

/// A refused change in the middle of a batch takes nothing with it.
#[test]
fn a_refused_change_leaves_its_neighbours_alone() {
    let store = Store::in_memory().expect("a store");
    let alice = aor("alice@contoso.test");
    add(&store, user("alice@contoso.test"), &[]);
    let set = |number: u32, groups: &[u32]| Edit::SetContact(contact(&format!("c{number}@contoso.test"), groups));
    let pending: Vec<_> = (0..300)
        .map(|number| {
            let groups: &[u32] = if number % 3 == 0 { &[9] } else { &[] };
            (number, store.change_contacts(&alice, always(set(number, groups))))
        })
        .collect();
    for (number, answer) in pending {
        assert_eq!(block_on(answer).is_ok(), number % 3 != 0);
    }
    let list = block_on(store.contacts(&alice)).expect("a list");
    assert_eq!((list.contacts.len(), list.delta_num), (200, 201));
}

/// Dropping the store writes what is queued, and nobody waits for ever.
#[test]
fn a_store_that_is_dropped_writes_what_is_queued() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("users.db");
    let store = Store::open(&path).expect("a store");
    add(&store, user("alice@contoso.test"), &[]);
    let alice = aor("alice@contoso.test");
    let receipts: Vec<_> = (0..50)
        .map(|number| store.modify_user(&alice, move |account| account.user.display_name = format!("Alice {number}")))
        .collect();
    drop(store);
    for receipt in receipts {
        receipt.wait().expect("written");
    }
    let store = Store::open(&path).expect("the same store");
    assert_eq!(store.account(&alice).expect("alice").user.display_name, "Alice 49");
}
