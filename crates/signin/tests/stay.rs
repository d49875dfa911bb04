//! Our client staying signed in, through real servers, in memory and in virtual time: what it shows, line by line.

mod phone;
mod world;

use futures_util::future::join;
use futures_util::stream::Stream;
use phone::{Phone, sign_in};
use signin::converse::client::Event;
use signin::io::Io;
use signin::provision::picture::{ContactPresence, News, Picture};
use signin::register::message::Deregistration;
use signin::report::Verdict;
use signin::stay::{End, Happening, Onlooker, Wish, stay};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use world::trouble::{Ailing, Health};
use world::{Plan, World, aor};

/// What happens at a moment.
enum Act<'a> {
    Wish(Wish),
    Do(Box<dyn FnOnce(&World) + Send + 'a>),
}

/// Wishes and events at their seconds.
struct Script<'a> {
    world: World,
    acts: VecDeque<(u64, Act<'a>)>,
}

impl<'a> Script<'a> {
    fn new(world: &World) -> Script<'a> {
        Script { world: world.clone(), acts: VecDeque::new() }
    }

    fn at(mut self, second: u64, wish: Wish) -> Script<'a> {
        self.acts.push_back((second, Act::Wish(wish)));
        self
    }

    fn event(mut self, second: u64, event: impl FnOnce(&World) + Send + 'a) -> Script<'a> {
        self.acts.push_back((second, Act::Do(Box::new(event))));
        self
    }
}

impl Stream for Script<'_> {
    type Item = Wish;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Wish>> {
        loop {
            let Some((second, _)) = self.acts.front() else { return Poll::Ready(None) };
            let at = Duration::from_secs(*second);
            if Io::now(&self.world).since_start < at {
                self.world.wake_at(at, context.waker());
                return Poll::Pending;
            }
            match self.acts.pop_front() {
                Some((_, Act::Wish(wish))) => return Poll::Ready(Some(wish)),
                Some((_, Act::Do(event))) => event(&self.world),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// Notes what is shown.
#[derive(Default)]
struct Notes(Vec<String>);

impl Onlooker for Notes {
    fn see(&mut self, picture: &Picture, happening: Happening) {
        let seen = |presence: &ContactPresence| {
            let note = presence.note.as_ref().map(|note| format!(" “{note}”")).unwrap_or_default();
            format!("{} {}{note}", presence.aor.user(), presence.availability.map_or("?".to_owned(), |a| a.to_string()))
        };
        self.0.push(match happening {
            Happening::SignedIn { home, mechanism, again } => {
                format!("signed in at {home}, {mechanism}, again: {again}")
            }
            Happening::Lost { why } => format!("lost: {why}"),
            Happening::Waiting { attempt, time } => {
                let most = 2_u64 << (attempt - 1).min(10);
                assert!(
                    time * 2 >= Duration::from_secs(most.min(300)) && time <= Duration::from_secs(most),
                    "{time:?}"
                );
                format!("waiting for attempt {attempt}")
            }
            Happening::Failed(verdict) => format!("failed: {}", verdict.id),
            Happening::News(News::Presence(presence)) => seen(&presence),
            Happening::News(News::Own(presence)) => format!("seen as {}", seen(&presence)),
            Happening::News(News::ContactAdded(contact)) => {
                let groups = contact.groups.iter().filter_map(|id| picture.contacts().group(*id));
                let groups: Vec<&str> = groups.map(|group| group.name.as_str()).collect();
                format!("+ {} in {}", picture.name(&contact.aor), groups.join(", "))
            }
            Happening::News(News::ContactChanged(contact)) => format!("~ {}", picture.name(&contact.aor)),
            Happening::News(News::ContactRemoved(contact)) => format!("- {}", contact.aor.user()),
            Happening::News(News::GroupNamed(group)) => format!("group {}", group.name),
            Happening::News(other) => format!("{other:?}"),
            Happening::Wanted(who) => format!("wanted by {}", who.aor.user()),
            Happening::Conversation(Event::Said { peer, text }) => format!("{}: {}", peer.user(), text.words()),
            Happening::Conversation(Event::Delivered { peer, .. }) => format!("delivered to {}", peer.user()),
            Happening::Conversation(Event::Failed { peer, why, .. }) => {
                format!("not delivered to {}: {}", peer.user(), why.code)
            }
            Happening::Conversation(Event::Ended { peer }) => format!("ended by {}", peer.user()),
            Happening::Conversation(other) => format!("{other:?}"),
            Happening::Done(wish) => format!("done: {}", words(&wish)),
            Happening::Refused { wish, why } => format!("refused: {}: {why}", words(&wish)),
            Happening::Certificate { until } => format!("a certificate until {until}"),
            Happening::Remark(remark) => format!("! {remark}"),
        });
    }
}

fn words(wish: &Wish) -> String {
    match wish {
        Wish::Status(Some(status)) => format!("status {status}"),
        Wish::Status(None) => "no status".to_owned(),
        Wish::Note(text) => format!("note “{text}”"),
        Wish::Add { who, .. } => format!("add {}", who.user()),
        Wish::Remove(who) => format!("remove {}", who.user()),
        Wish::Say { who, text } => format!("say {} “{text}”", who.user()),
        Wish::End(who) => format!("end {}", who.user()),
        Wish::Quit => "quit".to_owned(),
    }
}

/// One user's stay: the lines, and how it ended.
async fn live(world: &World, name: &str, host: &str, mut script: Script<'_>) -> (Vec<String>, End) {
    let sign_in = sign_in(name, host);
    let signed_in = sign_in.run(world).await.map_err(|verdict| verdict.sentence).expect("signs in");
    let mut notes = Notes::default();
    let end = stay(&sign_in, world, signed_in, &mut script, &mut notes).await;
    (notes.0, end)
}

fn add(who: &str, name: Option<&str>, group: Option<&str>) -> Wish {
    Wish::Add { who: aor(who), name: name.map(str::to_owned), group: group.map(str::to_owned) }
}

fn say(who: &str, text: &str) -> Wish {
    Wish::Say { who: aor(who), text: text.to_owned() }
}

#[test]
fn two_people_find_each_other() {
    let world = World::contoso();
    let alice = Script::new(&world)
        .at(5, add("bob", Some("Bobby"), Some("Team")))
        .at(10, say("bob", "Hello"))
        .at(30, Wish::Remove(aor("bob")))
        .at(31, Wish::Remove(aor("bob")))
        .at(40, Wish::Quit);
    let bob = Script::new(&world)
        .at(15, Wish::Status(Some(6500)))
        .at(16, Wish::Note("back at 3".to_owned()))
        .at(20, say("alice", "Busy, sorry"))
        .at(25, Wish::Note(String::new()))
        .at(35, Wish::Status(Some(15_500)))
        .at(50, Wish::Quit);
    let (alice, bob) = world.run(join(live(&world, "alice", "fe01", alice), live(&world, "bob", "fe03", bob)));
    assert_eq!((alice.1, bob.1), (End::SignedOut, End::SignedOut));
    assert_eq!(
        alice.0,
        [
            "signed in at fe01.contoso.test, NTLM, again: false",
            "group Team",
            "+ Bobby in Team",
            "done: add bob",
            "bob 3500",
            "done: say bob “Hello”",
            "delivered to bob",
            "bob 6500",
            "bob 6500 “back at 3”",
            "bob: Busy, sorry",
            "bob 6500",
            "- bob",
            "done: remove bob",
            "refused: remove bob: bob@contoso.test is not in the list",
        ]
    );
    assert_eq!(
        bob.0,
        [
            "signed in at fe03.contoso.test, NTLM, again: false",
            "wanted by alice",
            "alice: Hello",
            "seen as bob 6500",
            "done: status 6500",
            "seen as bob 6500 “back at 3”",
            "done: note “back at 3”",
            "done: say alice “Busy, sorry”",
            "delivered to alice",
            "seen as bob 6500",
            "done: note “”",
            "seen as bob 15500",
            "done: status 15500",
            "ended by alice",
        ]
    );
}

#[test]
fn whoever_loses_the_connection_comes_back_as_they_were() {
    let world = World::contoso();
    let alice = Script::new(&world)
        .at(5, add("bob", None, None))
        .at(6, Wish::Status(Some(9500)))
        .event(10, |world| {
            world.kill("fe01");
            world.cut_off("fe01");
        })
        .at(11, Wish::Status(Some(3500)))
        .event(20, |world| world.revive("fe01"))
        .at(60, say("bob", "back"))
        .at(70, Wish::Quit);
    let bob = Script::new(&world).at(15, Wish::Status(Some(6500))).at(62, say("alice", "now?")).at(80, Wish::Quit);
    let (alice, bob) = world.run(join(live(&world, "alice", "fe01", alice), live(&world, "bob", "fe03", bob)));
    assert_eq!(alice.1, End::SignedOut);
    let failed = alice.0.iter().filter(|line| *line == "failed: tcp-refused").count();
    assert!((2..=4).contains(&failed), "attempts in 10 s: {:?}", alice.0);
    let rest: Vec<&str> =
        alice.0.iter().map(String::as_str).filter(|l| !l.starts_with("waiting") && !l.starts_with("failed")).collect();
    assert_eq!(
        rest,
        [
            "signed in at fe01.contoso.test, NTLM, again: false",
            "+ bob@contoso.test in ~",
            "done: add bob",
            "bob 3500",
            "seen as alice 9500",
            "done: status 9500",
            "lost: the server closed the connection",
            "refused: status 3500: there is no connection at the moment",
            "signed in at fe01.contoso.test, NTLM, again: true",
            "done: say bob “back”",
            "delivered to bob",
            "bob: now?",
        ],
        "what bob became meanwhile is in the picture of the new sign-in"
    );
    assert!(bob.0.contains(&"delivered to alice".to_owned()), "{:?}", bob.0);
}

#[test]
fn a_text_without_an_answer_is_not_lost_in_silence() {
    let world = World::contoso();
    // bob's endpoint is there, and says nothing to the invitation.
    let mut bob = Phone::new(&world, "bob", "fe03");
    assert_eq!(bob.register(), 200);
    let alice =
        Script::new(&world).at(5, say("bob", "Hello?")).event(7, |world| world.cut_off("fe01")).at(20, Wish::Quit);
    let (lines, _) = world.run(live(&world, "alice", "fe01", alice));
    assert_eq!(
        lines[1..4],
        ["done: say bob “Hello?”", "not delivered to bob: 408", "lost: the server closed the connection"]
    );
}

#[test]
fn a_day_goes_by() {
    let world = World::contoso();
    let hours = |hours: u64| hours * 3600;
    let alice = Script::new(&world).at(hours(20), Wish::Status(Some(6500))).at(hours(24), Wish::Quit);
    let (lines, end) = world.run(live(&world, "alice", "fe01", alice));
    assert_eq!(end, End::SignedOut);
    assert_eq!(
        lines,
        ["signed in at fe01.contoso.test, NTLM, again: false", "seen as alice 6500", "done: status 6500"],
        "not one connection was lost"
    );
    let transcript = world.transcript();
    let count = |what: &str| transcript.iter().filter(|line| line.contains(what)).count();
    assert_eq!(count("NTLM AUTHENTICATE"), 3, "at first, and when the association was 8 hours old, and 16");
    let refreshes = count("register-action=\"refreshed\"");
    assert!((150..=155).contains(&refreshes), "{refreshes} refreshes of 600 s, each 30 s early");
}

#[test]
fn another_password_ends_it_after_one_attempt() {
    let world = World::contoso();
    let alice = Script::new(&world)
        .event(5, |world| {
            world.change_password("alice");
            world.cut_off("fe01");
        })
        .at(3600, Wish::Quit);
    let (lines, end) = world.run(live(&world, "alice", "fe01", alice));
    assert!(matches!(&end, End::Refused(Verdict { id, .. }) if id == "ntlm-wrong-password"), "{end:?}");
    assert_eq!(lines.last().map(String::as_str), Some("waiting for attempt 1"));
}

#[test]
fn whoever_quits_while_signing_in_again_leaves_no_connection_behind() {
    let world = World::empty();
    world.user("alice", Some("pool1"), None);
    let ailing = Ailing::new(&world);
    world.server(Plan { ntlm: Some(Arc::new(ailing.clone())), ..Plan::front_end("fe01", "pool1") });
    world.alias("pool1", "fe01");
    let alice = Script::new(&world)
        .event(5, |world| {
            ailing.is(Health::Mute);
            world.cut_off("fe01");
        })
        .event(6, |_| ())
        .event(10, |world| assert_eq!(world.connected(), 1, "the attempt is under way"))
        .at(10, Wish::Quit);
    let (lines, end) = world.run(live(&world, "alice", "fe01", alice));
    assert_eq!((end, lines.last().map(String::as_str)), (End::SignedOut, Some("waiting for attempt 1")));
    assert_eq!(world.connected(), 0);
}

#[test]
fn the_server_may_end_it() {
    let world = World::contoso();
    let server = world.at("fe01");
    let alice = Script::new(&world)
        .event(5, move |_| {
            use futures_util::FutureExt;
            let told = server.deregister(&aor("alice"), Deregistration::Rejected).now_or_never();
            assert_eq!(told, Some(1));
        })
        .at(3600, Wish::Quit);
    let (_, end) = world.run(live(&world, "alice", "fe01", alice));
    assert!(matches!(&end, End::ByServer { event, .. } if event == "rejected"), "{end:?}");
}

#[test]
fn two_endpoints_of_one_user_stay_in_step() {
    let world = World::contoso();
    // Both change the list at the same second, on the same version: the server takes one, the other tries again.
    let first = Script::new(&world).at(5, add("bob", None, Some("A"))).at(20, Wish::Quit);
    let second = Script::new(&world).at(5, add("frank", None, Some("B"))).at(20, Wish::Quit);
    let other = async {
        let mut sign_in = sign_in("alice", "fe01");
        sign_in.epid = "1122334455".parse().expect("an epid");
        let signed_in = sign_in.run(&world).await.map_err(|verdict| verdict.sentence).expect("signs in");
        let (mut notes, mut second) = (Notes::default(), second);
        let end = stay(&sign_in, &world, signed_in, &mut second, &mut notes).await;
        (notes.0, end)
    };
    let (first, second) = world.run(join(live(&world, "alice", "fe01", first), other));
    for lines in [first.0, second.0] {
        let mut list: Vec<&str> = lines.iter().filter(|l| l.starts_with("+ ")).map(String::as_str).collect();
        list.sort_unstable();
        assert_eq!(list, ["+ bob@contoso.test in A", "+ frank@contoso.test in B"], "{lines:?}");
        assert_eq!(lines.iter().filter(|line| line.starts_with("done")).count(), 1, "{lines:?}");
    }
}

#[test]
fn an_old_association_leads_to_a_new_one_also_when_a_wish_meets_it() {
    let world = World::empty();
    world.user("alice", Some("pool1"), None);
    let plan = Plan::front_end("fe01", "pool1");
    world.server(Plan { change: |settings| settings.association_lifetime = Duration::from_secs(300), ..plan });
    world.alias("pool1", "fe01");
    let alice = Script::new(&world).at(400, Wish::Status(Some(6500))).at(500, Wish::Quit);
    let (lines, end) = world.run(live(&world, "alice", "fe01", alice));
    assert_eq!(end, End::SignedOut);
    assert_eq!(lines[1..], ["seen as alice 6500", "done: status 6500"]);
    let transcript = world.transcript();
    assert_eq!(transcript.iter().filter(|line| line.contains("NTLM AUTHENTICATE")).count(), 2, "{transcript:#?}");
}
