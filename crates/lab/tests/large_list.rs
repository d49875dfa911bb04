//! A user with a full contact list signs in, with everything: a thousand contacts, their presence in one batch.

mod support;

use signin::io::Operation;
use signin::name::Aor;
use std::time::{Duration, Instant};
use store::{Account, ImportMode, NewUser, Store, read_contacts};
use support::{Attempt, lab};
use trace::What;

const CONTACTS: usize = 1_000;
/// From the address to the presence of the last contact, a server's and a client's work together. Unoptimised, on a
/// machine that is busy with other tests, it may take three times as long.
const LIMIT: Duration = Duration::from_secs(if cfg!(debug_assertions) { 3 } else { 1 });

/// A thousand colleagues, in alice's list in sixty groups.
async fn fill(store: &Store) {
    let alice: Aor = "alice@contoso.test".parse().expect("an address");
    let mut file = String::from("address,name,groups\n");
    let mut made = Vec::new();
    for number in 0..CONTACTS {
        let address = format!("colleague{number}@contoso.test");
        file.push_str(&format!("{address},,Team {}\n", number % 60));
        let mut user = store.account(&alice).expect("alice").user;
        user.aor = address.parse().expect("an address");
        user.display_name = format!("Colleague Number {number}");
        user.mail = Some(address);
        made.push(store.add_user(NewUser { account: Account { user, logins: Vec::new() }, password: None }));
    }
    for made in made {
        made.await.expect("a new user");
    }
    let file = read_contacts(file.as_bytes(), None);
    let done = store.import_contacts(&alice, file, ImportMode::Replace).await.expect("alice is there");
    assert_eq!((done.added, done.remarks.len()), (CONTACTS, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_contacts_in_a_second() {
    let lab = lab().await;
    fill(lab.store()).await;
    // The first run pays for what is only paid once; a machine that is busy with other tests may need another try.
    let mut best = Duration::MAX;
    for attempt in 0..5 {
        let began = Instant::now();
        let outcome = Attempt::of(&lab, "alice").run().await;
        let took = began.elapsed();
        assert!(outcome.report.signed_in, "{}\n{}", outcome.sentence(), outcome.ladder());
        let settings = &outcome.report.settings;
        assert_eq!(settings["contacts"]["list"].as_array().map(Vec::len), Some(CONTACTS), "the list is not complete");
        assert_eq!(settings["presence"].as_array().map(Vec::len), Some(CONTACTS), "presence is not complete");
        let batches = outcome.record.entries.iter().filter(|entry| match &entry.what {
            What::Asked { operation: Operation::Send { bytes, .. }, .. } => {
                String::from_utf8_lossy(bytes).contains("<batchSub")
            }
            _ => false,
        });
        let batches = batches.count();
        assert!((1..=10).contains(&batches), "asked in {batches} requests");
        best = best.min(took);
        if attempt > 0 && best <= LIMIT {
            break;
        }
    }
    assert!(best <= LIMIT, "the best of five took {best:?}");
}
