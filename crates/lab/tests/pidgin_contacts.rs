//! The contact list as pidgin-sipe changes it: what is done on one machine of a user, the other one shows and the store
//! keeps.

mod sipe;

use lab::Lab;
use signin::name::Aor;
use sipe::{Client, lab};
use std::time::Duration;

fn aor(address: &str) -> Aor {
    address.parse().expect("an address")
}

/// The list in the store: `name (alias) in group, group`, and the groups nobody is in.
fn stored(lab: &Lab, name: &str) -> Vec<String> {
    let list = lab.store().contact_list(&aor(&format!("{name}@contoso.test"))).expect("a list");
    let group = |id: &u32| list.group(*id).map(|group| group.name.clone()).unwrap_or_default();
    let mut lines: Vec<String> = Vec::new();
    for contact in &list.contacts {
        let groups: Vec<String> = contact.groups.iter().map(group).collect();
        lines.push(format!("{} ({}) in {}", contact.aor.user(), contact.name, groups.join(", ")));
    }
    for empty in list.groups.iter().filter(|group| !list.contacts.iter().any(|c| c.groups.contains(&group.id))) {
        lines.push(format!("nobody in {}", empty.name));
    }
    lines.sort();
    lines
}

/// Waits until the store has this.
async fn keeps(lab: &Lab, name: &str, expected: &[&str]) {
    until(|| stored(lab, name) == expected, || format!("the store has {:#?}", stored(lab, name))).await;
}

async fn has_contact(lab: &Lab, name: &str, address: &str) {
    let (owner, contact) = (aor(&format!("{name}@contoso.test")), aor(address));
    let has = || lab.store().contact_list(&owner).expect("a list").contact(&contact).is_some();
    until(has, || format!("the store has {:#?}", stored(lab, name))).await;
}

async fn until(is_so: impl Fn() -> bool, otherwise: impl Fn() -> String) {
    for _ in 0..300 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{}", otherwise());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pidgin-sipe, libpurple-dev and root; run by make test"]
async fn groups_and_names_follow_from_machine_to_machine() {
    let lab = lab(21).await;
    let mut desk = Client::sign_in_at(&lab, "alice", "desk").await;
    let mut home = Client::sign_in_at(&lab, "alice", "home").await;
    desk.command("remove bob@contoso.test");
    home.hears("buddy-removed", "bob").await;
    // With the last contact its group goes: pidgin-sipe deletes it.
    home.shows(&["carol (Carol Carter) in Team", "frank (Frank Fisher) in Team"]).await;

    // The desk says again what it is told of the new name; that does not get in the way of what follows.
    home.command("rename-group Team Friends & Co");
    home.command("move carol@contoso.test Elsewhere");
    desk.shows(&["carol (Carol Carter) in Elsewhere", "frank (Frank Fisher) in Friends & Co"]).await;
    desk.command("alias frank@contoso.test Frank <the> \"Fish\"");
    home.shows(&["carol (Carol Carter) in Elsewhere", "frank (Frank <the> \"Fish\") in Friends & Co"]).await;
    // Deleting a group frees it twice on every other machine of the user (a defect of pidgin-sipe 1.25): the desk leaves.
    desk.quit().await;
    home.command("remove-group Pilot");
    let left = ["carol (Carol Carter) in Elsewhere", "frank (Frank <the> \"Fish\") in Friends & Co", "nobody in ~"];
    keeps(&lab, "alice", &left).await;
    assert!(!home.log().contains("SIP/2.0 409"), "{}", home.account());
    home.quit().await;
    let again = Client::sign_in_at(&lab, "alice", "desk").await;
    assert_eq!(
        again.contacts(),
        ["sip:carol@contoso.test in Elsewhere: offline", "sip:frank@contoso.test in Friends & Co: offline"]
    );
    again.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pidgin-sipe, libpurple-dev and root; run by make test"]
async fn contacts_that_never_answer_spoil_nothing() {
    let lab = lab(22).await;
    let mut alice = Client::sign_in(&lab, "alice").await;
    // Nobody of that name, nobody of that domain, an account without SIP, one that is disabled, and herself; all at once,
    // while the new group is still being made.
    let strangers = ["nobody@contoso.test", "x@elsewhere.example", "erin@contoso.test", "dave@contoso.test"];
    for address in strangers.iter().chain(&["alice@contoso.test"]) {
        alice.command(&format!("add {address} Strangers"));
    }
    for address in strangers.iter().chain(&["alice@contoso.test"]) {
        has_contact(&lab, "alice", address).await;
    }
    assert!(!alice.log().contains("SIP/2.0 409"), "{}", alice.account());
    let mut expected = vec![
        "alice (Alice Archer) in Strangers",
        "bob (Bob Baker) in Pilot",
        "bob (Bob Baker) in Team",
        "carol (Carol Carter) in Team",
        "dave (Dave Dixon) in Strangers",
        "erin (Erin Evans) in Strangers",
        "frank (Frank Fisher) in Team",
        "nobody () in Strangers",
        "sip:x@elsewhere.example () in Strangers",
    ];
    alice.shows(&expected).await;
    let frank = Client::sign_in(&lab, "frank").await;
    alice.sees("frank", "available").await;
    frank.quit().await;
    alice.sees("frank", "offline").await;
    alice.quit().await;

    // All of it again in one batch, with somebody who is there.
    let bob = Client::sign_in(&lab, "bob").await;
    let mut alice = Client::sign_in(&lab, "alice").await;
    alice.shows(&expected).await;
    let online: Vec<String> = alice.contacts().into_iter().filter(|line| !line.ends_with(": offline")).collect();
    expected = vec![
        "sip:alice@contoso.test in Strangers: available",
        "sip:bob@contoso.test in Pilot: available",
        "sip:bob@contoso.test in Team: available",
    ];
    assert_eq!(online, expected, "{}", alice.account());
    bob.quit().await;
    alice.sees("bob", "offline").await;
    alice.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pidgin-sipe, libpurple-dev and root; run by make test"]
async fn who_is_blocked_in_the_menu_sees_and_reaches_nobody() {
    let lab = lab(23).await;
    let mut frank = Client::sign_in(&lab, "frank").await;
    let mut desk = Client::sign_in_at(&lab, "alice", "desk").await;
    let mut home = Client::sign_in_at(&lab, "alice", "home").await;
    frank.sees("alice", "available").await;

    desk.command("block frank@contoso.test");
    home.hears("blocked", "sip:frank@contoso.test").await;
    frank.sees("alice", "offline").await;
    frank.command("im alice@contoso.test let me in");
    frank.hears("im-error", "let me in").await;
    // One's own status goes on, for others; the blocked learn nothing of it.
    desk.command("status busy");
    home.hears("own-status", "busy").await;
    // Whoever blocks still sees.
    frank.command("status away");
    desk.sees("frank", "away").await;
    home.command("unblock frank@contoso.test");
    frank.sees("alice", "busy").await;
    frank.command("im alice@contoso.test and now?");
    tokio::select! {
        _ = desk.hears("im-received", "and now?") => {}
        _ = home.hears("im-received", "and now?") => {}
    }
    for client in [&desk, &home] {
        assert!(!client.account().contains("let me in"), "{}", client.account());
    }

    // It is kept: after everybody has left, and with the list of the next sign-in.
    home.command("block frank@contoso.test");
    frank.sees("alice", "offline").await;
    desk.quit().await;
    home.quit().await;
    let mut again = Client::sign_in(&lab, "alice").await;
    frank.command("list");
    frank.hears("listed", "").await;
    assert!(frank.contacts().contains(&"sip:alice@contoso.test in Team: offline".to_owned()), "{}", frank.account());
    again.command("unblock frank@contoso.test");
    again.hears("unblocked", "sip:frank@contoso.test").await;
    frank.sees("alice", "available").await;
    again.quit().await;
    frank.quit().await;
}
