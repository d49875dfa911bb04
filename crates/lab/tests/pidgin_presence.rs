//! pidgin-sipe as Debian ships it, in different pools and on different machines: contacts, groups and presence as they
//! change; and beside our own client that stays signed in.

mod sipe;
mod support;

use lab::Lab;
use net::client::Sockets;
use signin::converse::client::Event;
use signin::io::Io;
use signin::name::Aor;
use signin::provision::client::{Request, Session as _};
use signin::provision::contacts::ContactList;
use signin::provision::picture::{ContactPresence, News, Picture};
use signin::provision::presence::message::{ContainerChange, Member, SET_CONTAINERS, write_set_containers};
use signin::stay::{End, Happening, Onlooker, Wish, stay};
use sipe::{Client, lab};
use std::time::{Duration, Instant};
use support::Attempt;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

/// Within this, what one does is seen by the other.
const SOON: Duration = Duration::from_secs(1);

/// How long pidgin-sipe waits before it publishes a status, in case its user chooses another.
const ITS_OWN_PAUSE: Duration = Duration::from_secs(1);

/// For what has no goal of its own.
const PATIENCE: Duration = Duration::from_secs(60);

fn aor(name: &str) -> Aor {
    format!("{name}@contoso.test").parse().expect("an address")
}

impl Client {
    /// Waits until a contact is seen with this status; gives the note with it, and how long that took.
    async fn sees(&mut self, name: &str, status: &str) -> (String, Duration) {
        let began = Instant::now();
        loop {
            let event = self.hears("buddy-status", &format!("sip:{name}@contoso.test")).await;
            if event["status"] == status {
                return (event["message"].as_str().unwrap_or_default().to_owned(), began.elapsed());
            }
        }
    }
}

/// The contact list as the directory has it, read by a client of ours.
async fn list_of(lab: &Lab, name: &str) -> ContactList {
    let attempt = Attempt::of(lab, name);
    let sockets = Sockets::new(attempt.sockets).expect("good sockets");
    let signed_in = attempt.sign_in.run(&sockets).await.map_err(|verdict| verdict.sentence).expect("signs in");
    let list = signed_in.settled.contacts.clone().expect("a list");
    signed_in.session.sign_out().await;
    list
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pidgin-sipe, libpurple-dev and root; run by make test"]
async fn what_one_machine_adds_and_removes_the_other_shows() {
    let lab = lab(11).await;
    let mut desk = Client::sign_in_at(&lab, "alice", "desk").await;
    let mut home = Client::sign_in_at(&lab, "alice", "home").await;
    let expected = [
        "sip:bob@contoso.test in Pilot: offline",
        "sip:bob@contoso.test in Team: offline",
        "sip:carol@contoso.test in Team: offline",
        "sip:frank@contoso.test in Team: offline",
    ];
    assert_eq!(desk.contacts(), expected, "{}", desk.account());
    assert_eq!(home.contacts(), expected, "both machines are signed in: {}", home.account());

    desk.command("add dave@contoso.test Friends & Co");
    let added = home.hears("buddy-added", "sip:dave@contoso.test").await;
    assert_eq!(added["group"], "Friends & Co");
    let list = list_of(&lab, "alice").await;
    let groups = &list.contact(&aor("dave")).expect("kept").groups;
    assert_eq!(
        groups.iter().filter_map(|id| list.group(*id)).map(|g| g.name.as_str()).collect::<Vec<_>>(),
        ["Friends & Co"]
    );

    home.command("remove dave@contoso.test");
    desk.hears("buddy-removed", "sip:dave@contoso.test").await;
    home.command("remove bob@contoso.test");
    desk.hears("buddy-removed", "sip:bob@contoso.test").await;
    let list = list_of(&lab, "alice").await;
    assert!(list.contact(&aor("dave")).is_none() && list.contact(&aor("bob")).is_none(), "{list:?}");
    desk.quit().await;
    home.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pidgin-sipe, libpurple-dev and root; run by make test"]
async fn each_status_is_seen_in_the_other_pool_within_a_second() {
    let lab = lab(12).await;
    let (mut alice, mut frank) = tokio::join!(Client::sign_in(&lab, "alice"), Client::sign_in(&lab, "frank"));
    for status in ["busy", "do-not-disturb", "be-right-back", "away", "available"] {
        frank.command(&format!("status {status} at the {status} desk"));
        let (note, took) = alice.sees("frank", status).await;
        assert!(took <= ITS_OWN_PAUSE + SOON, "{status} took {took:?}");
        // The note comes with the status or right behind it.
        if note.is_empty() {
            alice.hears("buddy-status", &format!("at the {status} desk")).await;
        }
    }
    alice.command("status away");
    assert!(frank.sees("alice", "away").await.1 <= ITS_OWN_PAUSE + SOON);
    // Seen as offline, and still there.
    frank.command("status invisible");
    assert!(alice.sees("frank", "offline").await.1 <= ITS_OWN_PAUSE + SOON);
    frank.command("status available");
    alice.sees("frank", "available").await;
    frank.quit().await;
    alice.sees("frank", "offline").await;
    alice.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pidgin-sipe, libpurple-dev and root; run by make test"]
async fn who_is_blocked_sees_nobody() {
    let lab = lab(13).await;
    let mut frank = Client::sign_in(&lab, "frank").await;
    let attempt = Attempt::of(&lab, "alice");
    let sockets = Sockets::new(attempt.sockets).expect("good sockets");
    let mut alice = attempt.sign_in.run(&sockets).await.map_err(|verdict| verdict.sentence).expect("signs in").session;
    frank.sees("alice", "available").await;
    for (blocked, seen, version) in [(true, "offline", 0), (false, "available", 1)] {
        let change = ContainerChange { id: 32_000, version, members: vec![(blocked, Member::User(aor("frank")))] };
        let request = Request {
            method: "SERVICE",
            uri: aor("alice").to_uri(),
            headers: Vec::new(),
            body: Some((SET_CONTAINERS, write_set_containers(&[change]))),
            within: None,
        };
        assert_eq!(alice.exchange(vec![request]).await.remove(0).expect("an answer").code, 200);
        assert!(frank.sees("alice", seen).await.1 <= SOON);
    }
    frank.quit().await;
    alice.sign_out().await;
}

/// Our client, staying signed in.
struct Ours {
    wishes: UnboundedSender<Wish>,
    happenings: UnboundedReceiver<Happening>,
    end: tokio::task::JoinHandle<End>,
}

struct Hand(UnboundedSender<Happening>);

impl Onlooker for Hand {
    fn see(&mut self, _: &Picture, happening: Happening) {
        // A test that has seen enough does not listen any more.
        let _ = self.0.send(happening);
    }
}

impl Ours {
    async fn sign_in(lab: &Lab, name: &str) -> Ours {
        let attempt = Attempt::of(lab, name);
        let (wishes, mut receive) = unbounded_channel();
        let (send, happenings) = unbounded_channel();
        let end = tokio::spawn(async move {
            let sockets = Sockets::new(attempt.sockets).expect("good sockets");
            let io: &dyn Io = &sockets;
            let signed_in = attempt.sign_in.run(io).await.map_err(|verdict| verdict.sentence).expect("signs in");
            let mut wishes = futures_util::stream::poll_fn(move |context| receive.poll_recv(context));
            stay(&attempt.sign_in, io, signed_in, &mut wishes, &mut Hand(send)).await
        });
        let mut ours = Ours { wishes, happenings, end };
        ours.until("the sign-in", |happening| matches!(happening, Happening::SignedIn { .. }).then_some(())).await;
        ours
    }

    fn wish(&self, wish: Wish) {
        self.wishes.send(wish).expect("signed in");
    }

    /// The first happening that `meant` takes.
    async fn until<T>(&mut self, what: &str, meant: impl Fn(&Happening) -> Option<T>) -> T {
        let mut others = Vec::new();
        loop {
            let Ok(Some(happening)) = timeout(PATIENCE, self.happenings.recv()).await else {
                panic!("no {what}; seen: {others:#?}")
            };
            if let Some(found) = meant(&happening) {
                return found;
            }
            others.push(happening);
        }
    }

    async fn sees(&mut self, name: &str, availability: u32) -> ContactPresence {
        let who = aor(name);
        self.until(&format!("{name} at {availability}"), |happening| match happening {
            Happening::News(News::Presence(p)) if p.aor == who && p.availability == Some(availability) => {
                Some(p.clone())
            }
            _ => None,
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pidgin-sipe, libpurple-dev and root; run by make test"]
async fn our_client_that_stays_and_pidgin_sipe_see_and_hear_each_other() {
    let lab = lab(14).await;
    let mut bob = Ours::sign_in(&lab, "bob").await;
    let mut alice = Client::sign_in(&lab, "alice").await;
    bob.sees("alice", 3_500).await;
    for (availability, status) in
        [(6_500, "busy"), (9_500, "do-not-disturb"), (12_500, "be-right-back"), (15_500, "away")]
    {
        bob.wish(Wish::Status(Some(availability)));
        assert!(alice.sees("bob", status).await.1 <= SOON);
    }
    bob.wish(Wish::Status(Some(3_500)));
    bob.wish(Wish::Note("back at 3 & a bit".to_owned()));
    alice.hears("buddy-status", "back at 3").await;
    for (status, availability) in [("busy", 6_500), ("away", 15_500), ("available", 3_500)] {
        alice.command(&format!("status {status}"));
        bob.sees("alice", availability).await;
    }

    alice.command("im bob@contoso.test Hello, Bob <3");
    let said = |happening: &Happening| match happening {
        Happening::Conversation(Event::Said { peer, text }) => Some((peer.clone(), text.words())),
        _ => None,
    };
    assert_eq!(bob.until("a message", said).await, (aor("alice"), "Hello, Bob <3".to_owned()));
    bob.wish(Wish::Say { who: aor("alice"), text: "Hello, Alice & co".to_owned() });
    let got = alice.hears("im-received", "Hello, Alice").await;
    assert_eq!(got["from"], "sip:bob@contoso.test");
    let delivered =
        |happening: &Happening| matches!(happening, Happening::Conversation(Event::Delivered { .. })).then_some(());
    bob.until("a delivery", delivered).await;
    bob.wish(Wish::End(aor("alice")));

    // Whoever adds pidgin-sipe's user is announced there; whoever removes is not.
    bob.wish(Wish::Remove(aor("alice")));
    bob.until("the removal", |h| matches!(h, Happening::Done(Wish::Remove(_))).then_some(())).await;
    bob.wish(Wish::Add { who: aor("alice"), name: Some("Ally".to_owned()), group: Some("Far away".to_owned()) });
    bob.sees("alice", 3_500).await;

    alice.quit().await;
    bob.sees("alice", 18_500).await;
    bob.wish(Wish::Quit);
    assert_eq!(bob.end.await.expect("no panic"), End::SignedOut);
    let list = list_of(&lab, "bob").await;
    assert_eq!(list.contact(&aor("alice")).map(|contact| contact.name.as_str()), Some("Ally"));
}
