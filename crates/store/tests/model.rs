//! Random edits, against a model that is written down in another way.

mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use signin::directory::Directory;
use signin::provision::contacts::{Contact, Edit, Group};
use store::{Settings, Store};
use support::{Model, add, always, aor, block_on, contact, user};

fn people() -> impl Strategy<Value = Contact> {
    (0u8..6, vec(0u32..6, 0..4), "[a-z ]{0,6}", any::<bool>()).prop_map(|(number, groups, name, subscribed)| Contact {
        name,
        subscribed,
        extension: if subscribed { "<x/>".to_owned() } else { String::new() },
        ..contact(&format!("user{number}@contoso.test"), &groups)
    })
}

fn edits() -> impl Strategy<Value = Edit> {
    let name = || "[a-z]{1,6}|~";
    prop_oneof![
        4 => people().prop_map(Edit::SetContact),
        2 => (0u8..6).prop_map(|number| Edit::DeleteContact(aor(&format!("user{number}@contoso.test")))),
        2 => (name(), "[a-z]{0,3}").prop_map(|(name, external_uri)| Edit::AddGroup { name, external_uri }),
        1 => (0u32..6, "[a-z]{1,6}", "[a-z]{0,3}")
            .prop_map(|(id, name, external_uri)| Edit::ModifyGroup(Group { id, name, external_uri })),
        2 => (0u32..6).prop_map(Edit::DeleteGroup),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Two users edit at once through a cache that holds one list: what is answered, what is read through memory and what
    /// is read from the file by another store are all what the model says.
    #[test]
    fn the_list_is_what_the_model_says(edits in vec((any::<bool>(), edits()), 1..60)) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("users.db");
        let owners = [aor("alice@contoso.test"), aor("bob@contoso.test")];
        let mut models = [Model::new(), Model::new()];
        let store = Store::open_with(&path, Settings { cached_lists: 1, ..Settings::default() }).expect("a store");
        add(&store, user("alice@contoso.test"), &[]);
        add(&store, user("bob@contoso.test"), &[]);

        let mut answers = Vec::new();
        for (second, edit) in edits {
            let which = usize::from(second);
            let made = models[which].make(edit.clone());
            // Not awaited one by one, so that many are in one batch.
            let answer = store.change_contacts(&owners[which], always(edit));
            answers.push((made.then(|| models[which].list()), answer));
        }
        for (expected, answer) in answers {
            prop_assert_eq!(block_on(answer).ok(), expected);
        }
        for (owner, model) in owners.iter().zip(&models) {
            prop_assert_eq!(block_on(store.contacts(owner)), Ok(model.list()));
        }
        drop(store);
        let store = Store::open(&path).expect("the same store");
        for (owner, model) in owners.iter().zip(&models) {
            prop_assert_eq!(block_on(store.contacts(owner)), Ok(model.list()));
        }
    }
}
