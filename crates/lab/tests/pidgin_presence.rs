//! pidgin-sipe as Debian ships it, in different pools and on different machines: contacts, groups and presence as they
//! change; and beside our own client that stays signed in.

mod sipe;
mod support;

use lab::Lab;
use net::client::Sockets;
use serde_json::Value;
use signin::converse::client::Event;
use signin::io::Io;
use signin::name::Aor;
use signin::provision::client::{Appearance, Request, Session as _};
use signin::provision::contacts::ContactList;
use signin::provision::picture::{ContactPresence, News, Picture};
use signin::provision::presence::message::{
    ContainerChange, ExpireType, Member, PUBLISH, Publish, SET_CONTAINERS, write_publish, write_set_containers,
};
use signin::session::Session;
use signin::stay::{End, Happening, Onlooker, Wish, stay};
use sipe::{Client, lab};
use std::io::Write;
use std::time::{Duration, Instant};
use support::Attempt;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

/// Within this, what one does is seen by the other.
const SOON: Duration = Duration::from_secs(1);

/// For what has no goal of its own.
const PATIENCE: Duration = Duration::from_secs(60);

fn aor(name: &str) -> Aor {
    format!("{name}@contoso.test").parse().expect("an address")
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
        let seen = seen_soon(&mut frank, status, &format!("at the {status} desk"), &mut alice, status).await;
        // The note comes with the status or right behind it.
        if seen["message"].as_str().unwrap_or_default().is_empty() {
            alice.hears("buddy-status", &format!("at the {status} desk")).await;
        }
    }
    seen_soon(&mut alice, "away", "", &mut frank, "away").await;
    // Seen as offline, and still there.
    seen_soon(&mut frank, "invisible", "", &mut alice, "offline").await;
    seen_soon(&mut frank, "available", "", &mut alice, "available").await;
    frank.quit().await;
    assert_eq!(alice.sees("frank", "offline").await["primitive"], "offline");
    alice.quit().await;
}

/// One chooses a status, and the other sees it within a second after it was published. The publication waits for its own
/// reasons: pidgin-sipe lets its user choose again for a second.
async fn seen_soon(who: &mut Client, chosen: &str, note: &str, by: &mut Client, seen: &str) -> Value {
    let before = who.sent().len();
    let name = who.user().to_owned();
    who.command(&format!("status {chosen} {note}"));
    let event = by.sees(&name, seen).await;
    let primitive = match seen {
        "busy" | "do-not-disturb" => "unavailable",
        "away" | "be-right-back" => "away",
        same => same,
    };
    assert_eq!(event["primitive"], primitive, "{event}");
    let mut published = who.sent().into_iter().skip(before).filter(|(_, message)| message.contains("userState"));
    let (published, _) = published.next().unwrap_or_else(|| panic!("no publication:\n{}", who.account()));
    let took = event["clock_us"].as_f64().unwrap_or(f64::MAX) / 1e6 - published;
    let line = format!("{name} {chosen}: seen {:.0} ms after it was published\n", took * 1e3);
    std::io::stdout().write_all(line.as_bytes()).expect("standard output");
    assert!(took <= SOON.as_secs_f64(), "{chosen} took {took:.3} s");
    event
}

/// A publication of frank's in the containers that are aggregated, bound to the endpoint it comes from.
fn bound_to_endpoint(kind: &str, instance: u32, availability: u32, activity: &str) -> String {
    let value = format!(
        "<state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" manual=\"false\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"{kind}\">\
         <availability>{availability}</availability>{activity}</state>"
    );
    let publish = |container| Publish {
        category: "state".to_owned(),
        instance,
        container,
        version: 0,
        expire: ExpireType::Endpoint,
        value: Some(value.clone()),
    };
    write_publish(&aor("frank"), &[2, 3].map(publish))
}

/// Another endpoint of frank's that publishes nothing by itself.
async fn unseen_endpoint(lab: &Lab) -> Session<'static> {
    let mut attempt = Attempt::of(lab, "frank");
    attempt.sign_in.appearance = Appearance::Unseen;
    let sockets: &'static dyn Io = Box::leak(Box::new(Sockets::new(attempt.sockets).expect("good sockets")));
    let sign_in = Box::leak(Box::new(attempt.sign_in));
    sign_in.run(sockets).await.map_err(|verdict| verdict.sentence).expect("signs in").session
}

async fn publish(session: &mut Session<'_>, body: String) {
    let uri = aor("frank").to_uri();
    let request = Request { method: "SERVICE", uri, headers: Vec::new(), body: Some((PUBLISH, body)), within: None };
    assert_eq!(session.exchange(vec![request]).await.remove(0).expect("an answer").code, 200);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pidgin-sipe, libpurple-dev and root; run by make test"]
async fn one_user_at_two_machines_has_one_status() {
    let lab = lab(15).await;
    let mut alice = Client::sign_in(&lab, "alice").await;
    let mut desk = Client::sign_in_at(&lab, "frank", "desk").await;
    alice.sees("frank", "available").await;
    let mut home = Client::sign_in_at(&lab, "frank", "home").await;
    // What the user chose last, at whichever machine, is the status, and both machines show it.
    desk.command("status busy");
    alice.sees("frank", "busy").await;
    home.hears("own-status", "busy").await;
    home.command("status available");
    alice.sees("frank", "available").await;
    desk.hears("own-status", "available").await;
    desk.command("status do-not-disturb");
    alice.sees("frank", "do-not-disturb").await;
    home.hears("own-status", "do-not-disturb").await;
    // The choice is the user's, not the machine's: it stays when that machine leaves, and all is over with the last.
    desk.quit().await;
    alice.command("list");
    alice.hears("listed", "").await;
    let seen = "sip:frank@contoso.test in Team: do-not-disturb".to_owned();
    assert!(alice.contacts().contains(&seen), "{}", alice.account());
    home.quit().await;
    alice.sees("frank", "offline").await;
    alice.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pidgin-sipe, libpurple-dev and root; run by make test"]
async fn what_an_endpoint_published_ends_with_it() {
    let lab = lab(16).await;
    let mut alice = Client::sign_in(&lab, "alice").await;
    let frank = Client::sign_in(&lab, "frank").await;
    alice.sees("frank", "available").await;
    // A call on another device: signed out properly, and lost.
    for proper in [true, false] {
        let mut phone = unseen_endpoint(&lab).await;
        let activity = "<activity token=\"on-the-phone\" minAvailability=\"6500\" maxAvailability=\"8999\"/>";
        publish(&mut phone, bound_to_endpoint("phoneState", 0x8000_0001, 6_500, activity)).await;
        alice.hears("buddy-status", "In a call").await;
        if proper {
            phone.sign_out().await;
        } else {
            phone.abandon().await;
        }
        alice.sees("frank", "available").await;
    }
    // Two machines, one locked: the user is where somebody is. The other is lost, not signed out.
    let mut locked = unseen_endpoint(&lab).await;
    publish(&mut locked, bound_to_endpoint("machineState", 0x3000_0001, 15_500, "")).await;
    frank.kill();
    alice.sees("frank", "away").await;
    locked.sign_out().await;
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
        let began = Instant::now();
        frank.sees("alice", seen).await;
        assert!(began.elapsed() <= SOON);
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
        let began = Instant::now();
        bob.wish(Wish::Status(Some(availability)));
        alice.sees("bob", status).await;
        assert!(began.elapsed() <= SOON, "{status} took {:?}", began.elapsed());
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
