//! Both halves of a sign-in against each other, in memory and in virtual time. Transcripts read as a protocol expert
//! would tell them: who to whom, what, and what proves it.

mod phone;
mod world;

use phone::{Phone, sign_in};
use signin::authenticate::server::Settings as AuthSettings;
use signin::directory::User;
use signin::io::{Io, Now, Operation, Outcome, Pending};
use signin::register::message::Deregistration;
use signin::register::server::Role;
use signin::server::Settings;
use std::sync::Mutex;
use std::time::Duration;
use world::{Plan, World, aor};

const HOUR: Duration = Duration::from_secs(3600);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The lines that have to do with registrations.
fn registrations(world: &World) -> Vec<String> {
    let concerns =
        |line: &String| ["REGISTER", "{offers", "CHALLENGE", "action", "301", "dereg"].iter().any(|w| line.contains(w));
    world.transcript().into_iter().filter(concerns).collect()
}

#[test]
fn three_registers_and_the_endpoint_is_in() {
    let world = World::contoso();
    let signed_in = world.run(sign_in("alice", "fe01").run(&world)).map_err(|verdict| verdict.sentence);
    assert_eq!(signed_in.map(|s| (s.home, s.mechanism)), Ok(("fe01.contoso.test".to_owned(), "NTLM".to_owned())));
    let transcript = world.transcript();
    assert_eq!(
        transcript[..6],
        [
            "alice → fe01  REGISTER  {no credentials}",
            "alice ← fe01  401  {offers NTLM}",
            "alice → fe01  REGISTER  {NTLM, empty token}",
            "alice ← fe01  401  {NTLM CHALLENGE}",
            "alice → fe01  REGISTER  {NTLM AUTHENTICATE, signed}",
            "alice ← fe01  200 register-action=\"added\"  {signed}",
        ]
    );
    assert!(transcript[6..].iter().all(|line| line.ends_with("{signed}")), "{transcript:#?}");
    assert_eq!(world.at("fe01").counts(), (1, 1, 0, 1));
}

#[test]
fn the_director_sends_home() {
    let world = World::contoso();
    let signed_in = world.run(sign_in("frank", "dir").run(&world)).map_err(|verdict| verdict.sentence);
    assert_eq!(signed_in.map(|s| s.home), Ok("pool2.contoso.test".to_owned()));
    assert_eq!(
        registrations(&world)[4..],
        [
            "frank → dir  REGISTER  {NTLM AUTHENTICATE, signed}",
            "frank ← dir  301 <sip:pool2.contoso.test:5061;transport=TLS>;q=0.7, <sip:pool1.contoso.test:5061;transport=TLS>;q=0.3  {signed}",
            "frank → fe03  REGISTER  {no credentials}",
            "frank ← fe03  401  {offers NTLM}",
            "frank → fe03  REGISTER  {NTLM, empty token}",
            "frank ← fe03  401  {NTLM CHALLENGE}",
            "frank → fe03  REGISTER  {NTLM AUTHENTICATE, signed}",
            "frank ← fe03  200 register-action=\"added\"  {signed}",
        ]
    );
    assert_eq!(world.at("dir").counts(), (0, 0, 0, 0), "the Director keeps nothing of who it sent away");
}

#[test]
fn a_home_that_does_not_open_leads_to_the_backup() {
    let world = World::contoso();
    world.kill("fe03");
    let verdict = world.run(sign_in("frank", "dir").run(&world)).map(|s| s.home).expect_err("pool1 sends back");
    // pool1 has not noticed that pool2 is down and sends frank there again. Not the circle is the fault.
    assert_eq!(verdict.id, "redir-unreachable");
    assert!(verdict.sentence.contains("pool2.contoso.test refuses connections"), "{}", verdict.sentence);
    assert!(registrations(&world).iter().any(|line| line.starts_with("frank → fe01")), "the backup was asked");
}

#[test]
fn refreshing_keeps_the_binding() {
    let world = World::contoso();
    let mut phone = Phone::new(&world, "alice", "fe01");
    assert_eq!(phone.register(), 200);
    world.transcript();
    world.pass(seconds(300));
    assert_eq!(phone.refresh(None), 200);
    assert_eq!(
        world.transcript(),
        ["alice → fe01  REGISTER  {signed}", "alice ← fe01  200 register-action=\"refreshed\"  {signed}"]
    );
    world.pass(seconds(350));
    assert_eq!(world.at("fe01").counts().1, 1, "650 s after it was added, 350 s after it was refreshed");
}

#[test]
fn what_is_not_refreshed_lapses_and_returns_as_fixed() {
    let world = World::contoso();
    let mut phone = Phone::new(&world, "alice", "fe01");
    assert_eq!(phone.register(), 200);
    world.pass(seconds(300));
    phone.keep_alive();
    world.pass(seconds(299));
    assert_eq!(world.at("fe01").counts(), (1, 1, 0, 1), "599 of 600 seconds");
    world.pass(seconds(1));
    assert_eq!(world.at("fe01").counts(), (0, 0, 0, 1), "the binding is gone, the association is not");
    assert!(!world.is_open(phone.conn()), "a connection that carries nobody is closed");
    phone.reconnect();
    world.transcript();
    assert_eq!(phone.refresh(None), 200, "the association is not bound to its connection");
    assert_eq!(world.transcript()[1], "alice ← fe01  200 register-action=\"fixed\"  {signed}");
}

/// The loop of somebody who wants to fill the server: a new connection, a new endpoint, gone again.
#[test]
fn endpoints_that_come_and_go_leave_a_few_associations() {
    let world = World::contoso();
    let settings = Settings { default_expires: 7200, ..Settings::default() };
    let change = |settings: &mut AuthSettings| settings.resting = 10;
    world.server(Plan { settings, change, ..Plan::front_end("fe01", "pool1") });
    world.user("carol", Some("pool1"), None);
    let mut honest = Phone::new(&world, "carol", "fe01");
    assert_eq!(honest.register(), 200);
    let mut phones = Vec::new();
    for number in 0..200 {
        let mut phone = Phone::new(&world, "alice", "fe01").epid(&format!("{number:08x}"));
        assert_eq!(phone.register(), 200);
        if number % 3 == 0 {
            // Proves itself anew with something else than a REGISTER.
            phone.take_association();
            assert_eq!(phone.subscribe("vnd-microsoft-roaming-contacts"), 200);
        }
        world.hang_up(phone.conn());
        phones.push(phone);
        assert!(world.at("fe01").counts().3 <= 8 + 2 + 1, "{number}: {:?}", world.at("fe01").counts());
    }
    world.pass(seconds(61));
    assert_eq!(world.at("fe01").counts(), (1, 1, 0, 8 + 1), "eight of alice's, whoever else is there");
    let [first, .., last] = &mut phones[..] else { panic!("there are many") };
    for (phone, code) in [(first, 401), (last, 200)] {
        phone.reconnect();
        assert_eq!(phone.refresh(None), code, "a short while is survived by the latest");
    }
    assert_eq!(honest.refresh(None), 200);

    // Others' are limited too, by what all may have together.
    for number in 0..200 {
        let name: &str = ["bob", "frank", "carol"][number % 3];
        world.user(name, Some("pool1"), None);
        let mut phone = Phone::new(&world, name, "fe01").epid(&format!("{number:08x}"));
        assert_eq!(phone.register(), 200);
        world.hang_up(phone.conn());
    }
    assert_eq!(world.at("fe01").counts(), (2, 2, 0, 10 + 2), "ten that rest, two that are in use");
    assert_eq!(honest.refresh(None), 200);
    for _ in 0..13 {
        world.pass(seconds(290));
        assert_eq!((honest.refresh(None), phones[199].refresh(None)), (200, 200));
    }
    assert_eq!(world.at("fe01").counts(), (2, 2, 0, 2), "after an hour whoever stayed away proves himself anew");
}

#[test]
fn leaving_leaves_nothing() {
    let world = World::contoso();
    let mut phone = Phone::new(&world, "alice", "fe01");
    assert_eq!(phone.register(), 200);
    assert_eq!(phone.refresh(Some(0)), 200);
    assert_eq!(world.at("fe01").counts(), (0, 0, 0, 0));
    assert_eq!(phone.refresh(None), 401, "the association ended with the registration");
}

#[test]
fn a_disabled_user_is_told_and_put_out() {
    let world = World::contoso();
    let mut phone = Phone::new(&world, "alice", "fe01");
    assert_eq!(phone.register(), 200);
    world.transcript();
    let front_end = world.at("fe01");
    assert_eq!(world.run(front_end.deregister(&aor("alice"), Deregistration::Rejected)), 1);
    assert_eq!(world.transcript(), ["alice ← fe01  NOTIFY deregistered;event=rejected  {signed}"]);
    let notify = phone.next_request().expect("its signature is right");
    assert!(notify.contains("ms-diagnostics-public: 4141;"), "{notify}");
    assert!(notify.contains("subscription-state: terminated;expires=0\r\n"), "{notify}");
    assert_eq!(front_end.counts(), (0, 0, 0, 0));
    assert_eq!(phone.refresh(None), 401, "whoever wants to come back proves himself anew");
}

#[test]
fn who_is_barred_or_moved_while_signed_in_learns_it_within_seconds() {
    type Change = fn(&mut User);
    type Told = Option<(&'static str, &'static str)>;
    let changes: [(bool, Change, Told); 6] = [
        (false, |user| user.enabled = false, Some(("rejected", "4141"))),
        (false, |user| user.sip_enabled = false, Some(("rejected", "4141"))),
        (false, |user| user.home_pool = Some("pool2.contoso.test".to_owned()), Some(("deactivated", "4142"))),
        (false, |user| user.remote_access = false, None),
        (false, |user| user.display_name = "Alice".to_owned(), None),
        (true, |user| user.remote_access = false, Some(("rejected", "4141"))),
    ];
    for (outside, change, expected) in changes {
        let world = World::contoso();
        let role = if outside { Role::Edge } else { Role::FrontEnd { pool: "pool1.contoso.test".to_owned() } };
        world.server(Plan { role, outside, ..Plan::director("fe01") });
        let mut phones = ["0a", "0b"].map(|epid| Phone::new(&world, "alice", "fe01").epid(epid));
        let mut frank = Phone::new(&world, "frank", "fe03");
        for phone in phones.iter_mut().chain([&mut frank]) {
            assert_eq!(phone.register(), 200);
        }
        world.pass(seconds(5));
        world.transcript();
        world.journal();
        world.administer("alice", change);
        world.pass(seconds(2));
        for phone in &mut phones {
            let told = phone.next_request();
            let told = told.as_deref().map(|text| (text.contains("deregistered;event="), text));
            match (expected, told) {
                (None, None) => assert_eq!(phone.refresh(None), 200),
                (Some((event, id)), Some((true, text))) => {
                    assert!(text.contains(&format!("event={event}")), "{text}");
                    assert!(text.contains(&format!("ms-diagnostics-public: {id};")), "{text}");
                    assert_eq!(phone.refresh(None), 401, "nothing it had counts any more");
                }
                other => panic!("{other:?}"),
            }
        }
        let left = if expected.is_some() { (0, 0, 0, 0) } else { (1, 2, 0, 2) };
        assert_eq!(world.at("fe01").counts(), left);
        assert_eq!(world.journal().iter().any(|line| line.contains("put alice@")), expected.is_some());
        assert_eq!(frank.refresh(None), 200, "nobody else is concerned");
    }
}

#[test]
fn the_oldest_endpoint_makes_room() {
    let world = World::contoso();
    let settings = Settings { endpoints_per_user: 2, ..Settings::default() };
    world.server(Plan { settings, ..Plan::front_end("fe01", "pool1") });
    let mut phones = ["0a", "0b", "0c"].map(|epid| Phone::new(&world, "alice", "fe01").epid(epid));
    for phone in &mut phones {
        assert_eq!(phone.register(), 200);
    }
    let transcript = registrations(&world);
    assert_eq!(
        transcript[transcript.len() - 2..],
        [
            "alice ← fe01  200 register-action=\"added\"  {signed}",
            "alice ← fe01  NOTIFY deregistered;event=unregistered  {signed}",
        ]
    );
    phones[0].next_request().expect("the oldest is told, signed with its own keys");
    assert_eq!(world.at("fe01").counts(), (1, 2, 0, 2));
}

#[test]
fn a_hundred_endpoints_and_one_more() {
    let world = World::contoso();
    let settings = Settings { endpoints_per_user: 100, ..Settings::default() };
    world.server(Plan { settings, ..Plan::front_end("fe01", "pool1") });
    let mut phones: Vec<Phone> =
        (0..101).map(|number| Phone::new(&world, "alice", "fe01").epid(&format!("{number:08x}"))).collect();
    for phone in &mut phones {
        assert_eq!(phone.register(), 200);
        assert_eq!(phone.subscribe("vnd-microsoft-roaming-contacts"), 200);
    }
    let told = phones[0].next_request().expect("the oldest is told");
    assert!(told.starts_with("NOTIFY ") && told.contains("4140;reason=\"The endpoint was unregistered"), "{told}");
    assert_eq!(world.at("fe01").counts(), (1, 100, 0, 100));
    for phone in &mut phones[1..] {
        assert_eq!(phone.refresh(None), 200);
        assert_eq!(phone.next_request(), None, "nobody else is told anything");
    }
    assert_eq!(phones[0].refresh(None), 401, "it may come back, as a new one");
}

#[test]
fn the_same_endpoint_on_a_new_connection_ends_the_old_one() {
    let world = World::contoso();
    let mut before = Phone::new(&world, "alice", "fe01");
    assert_eq!(before.register(), 200);
    let mut after = Phone::new(&world, "alice", "fe01");
    world.transcript();
    assert_eq!(after.register(), 200);
    assert_eq!(
        world.transcript()[5..],
        [
            "alice ← fe01  200 register-action=\"refreshed\"  {signed}",
            "alice ← fe01  NOTIFY deregistered;event=unregistered  {signed}",
        ]
    );
    before.next_request().expect("the old connection is told first");
    assert!(!world.is_open(before.conn()) && world.is_open(after.conn()));
    assert_eq!(world.at("fe01").counts().1, 1);
    assert_eq!(after.refresh(None), 200);
}

#[test]
fn two_programs_that_are_one_endpoint_can_each_check_what_they_are_told() {
    let world = World::contoso();
    let mut phones = [Phone::new(&world, "alice", "fe01"), Phone::new(&world, "alice", "fe01")];
    let [one, other] = &mut phones;
    assert_eq!(one.register(), 200);
    // The other one proves itself, and is not registered yet.
    assert_eq!(other.subscribe("vnd-microsoft-roaming-contacts"), 200);
    assert_eq!(other.refresh(None), 200);
    let put_out = |phone: &mut Phone| phone.next_request().is_some_and(|told| told.contains("event=unregistered"));
    assert!(put_out(one), "the other one is this endpoint now");
    assert!(!world.is_open(one.conn()));
    one.reconnect();
    assert_eq!(one.refresh(None), 200);
    assert!(put_out(other));
    other.reconnect();
    assert_eq!(other.refresh(None), 200);
    assert!(put_out(one), "signed with what it knows");
}

/// Something that happens to a world.
type Event<'w> = &'w (dyn Fn(&World) + Sync);

/// The world, in which something happens when the client asks for its contacts.
struct Interrupted<'w> {
    world: &'w World,
    by: Mutex<Option<Event<'w>>>,
}

impl Io for Interrupted<'_> {
    fn perform(&self, operation: Operation) -> Pending<'_, Outcome> {
        if let Operation::Send { bytes, .. } = &operation
            && String::from_utf8_lossy(bytes).contains("Event: vnd-microsoft-roaming-contacts")
            && let Some(happens) = self.by.lock().expect("alone").take()
        {
            happens(self.world);
        }
        self.world.perform(operation)
    }

    fn now(&self) -> Now {
        Io::now(self.world)
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        Io::fill_random(self.world, bytes);
    }

    fn note(&self, _event: signin::report::Event) {}
}

#[test]
fn a_sign_in_that_is_over_before_its_settings_are_there_says_why() {
    let overtaken = |world: &World| assert_eq!(Phone::new(world, "alice", "fe01").register(), 200);
    let ended = |world: &World, why| {
        world.run(async { world.at("fe01").deregister(&aor("alice"), why).await });
    };
    let disabled = |world: &World| ended(world, Deregistration::Rejected);
    let moved = |world: &World| ended(world, Deregistration::Deactivated);
    let cut = |world: &World| world.cut_off("fe01");
    let table: [(Event<'_>, &str, &str); 4] = [
        (&overtaken, "reg-superseded", "The endpoint was unregistered by policy"),
        (&disabled, "user-disabled", "User disabled"),
        (&moved, "user-moved-mid-session", "sign in again"),
        (&cut, "reg-connection-lost", "closed the connection"),
    ];
    for (happens, id, words) in table {
        let world = World::contoso();
        let io = Interrupted { world: &world, by: Mutex::new(Some(happens)) };
        let verdict = world.run(sign_in("alice", "fe01").run(&io)).map(|_| ()).expect_err(id);
        assert_eq!(verdict.id, id, "{}", verdict.sentence);
        assert!(verdict.sentence.contains(words), "{id}: {}", verdict.sentence);
    }
}

#[test]
fn programs_that_are_one_endpoint_leave_no_more_behind_than_others() {
    let world = World::contoso();
    for number in 0..60 {
        let epid = format!("{number:08x}");
        let mut phones = [0, 1].map(|_| Phone::new(&world, "alice", "fe01").epid(&epid));
        let [one, other] = &mut phones;
        assert_eq!(one.register(), 200);
        // Every other one proves itself, and never registers.
        let code = if number % 2 == 0 { other.register() } else { other.subscribe("vnd-microsoft-roaming-contacts") };
        assert_eq!(code, 200);
        phones.iter().for_each(|phone| world.hang_up(phone.conn()));
        assert!(world.at("fe01").counts().3 <= 8, "{number}: {:?}", world.at("fe01").counts());
    }
}

#[test]
fn silent_connections_are_closed_and_kept_alive_ones_are_not() {
    let world = World::contoso();
    let settings = Settings { default_expires: 7200, ..Settings::default() };
    world.server(Plan { settings, ..Plan::front_end("fe01", "pool1") });
    let mut silent = Phone::new(&world, "alice", "fe01").epid("51");
    let mut alive = Phone::new(&world, "alice", "fe01").epid("a1");
    assert_eq!((silent.register(), alive.register()), (200, 200));
    for _ in 0..10 {
        world.pass(seconds(300));
        alive.keep_alive();
        let expected = world.at("fe01").counts().1 == 2;
        assert_eq!(world.is_open(silent.conn()), expected, "binding and connection end together");
    }
    assert!(!world.is_open(silent.conn()) && world.is_open(alive.conn()));
    assert_eq!(world.at("fe01").counts().1, 1);
}

#[test]
fn who_does_not_authenticate_is_closed_after_two_minutes() {
    let world = World::contoso();
    let mute = world.connect("fe01");
    let mut chatty = Phone::new(&world, "alice", "fe01");
    let mut begun = Phone::new(&world, "alice", "fe01");
    assert_eq!(begun.first_two_legs(), 401);
    for _ in 0..11 {
        world.pass(seconds(10));
        assert_eq!(chatty.without_credentials(), 401);
    }
    assert_eq!(world.at("fe01").counts().2, 0, "a handshake is forgotten after a minute");
    world.pass(seconds(9));
    assert!(world.is_open(mute) && world.is_open(chatty.conn()));
    world.pass(seconds(2));
    for conn in [mute, chatty.conn(), begun.conn()] {
        assert!(!world.is_open(conn), "neither silence nor talk nor half a handshake keeps it open");
    }
}

#[test]
fn associations_end_and_are_renewed_on_the_same_connection() {
    let world = World::contoso();
    let settings = Settings { default_expires: 7200, ..Settings::default() };
    world.server(Plan { settings, ..Plan::front_end("fe01", "pool1") });
    let mut phone = Phone::new(&world, "alice", "fe01");
    assert_eq!(phone.register(), 200);
    for _ in 0..100 {
        world.pass(seconds(295));
        assert_eq!(phone.refresh(None), 200);
    }
    world.pass(seconds(80));
    assert_eq!(phone.refresh(None), 200, "8 h 13 min");
    world.pass(seconds(121));
    world.transcript();
    assert_eq!(phone.refresh(None), 401, "8 h 15 min are over");
    assert_eq!(world.at("fe01").counts().1, 1, "the endpoint is still bound");
    assert_eq!(phone.register(), 200);
    assert_eq!(world.transcript().last().expect("a line"), "alice ← fe01  200 register-action=\"refreshed\"  {signed}");
    assert_eq!(world.at("fe01").counts(), (1, 1, 0, 1));
}

#[test]
fn a_renewed_association_replaces_the_one_before() {
    let world = World::contoso();
    let mut phone = Phone::new(&world, "alice", "fe01");
    assert_eq!(phone.register(), 200);
    let old = phone.take_association();
    assert_eq!(phone.register(), 200);
    assert_eq!(world.at("fe01").counts(), (1, 1, 0, 2), "the old one lives on for what is under way");
    let new = phone.put_association(old);
    assert_eq!(phone.refresh(None), 200);
    world.pass(seconds(61));
    assert_eq!(phone.refresh(None), 401);
    phone.put_association(new);
    assert_eq!(phone.refresh(None), 200);
    assert_eq!(world.at("fe01").counts(), (1, 1, 0, 1));
}

#[test]
fn nobody_acts_for_another_by_claiming_his_endpoint() {
    let world = World::contoso();
    world.user("mallory", Some("pool1"), None);
    let mut alice = Phone::new(&world, "alice", "fe01");
    assert_eq!(alice.register(), 200);
    world.transcript();

    // mallory proves who he is, and says that he is alice's own endpoint.
    let mut mallory = Phone::new(&world, "alice", "fe01").account("mallory");
    assert_eq!(mallory.register(), 403);
    assert_eq!(world.transcript().last().expect("a line"), "alice ← fe01  403 4004  {signed}");
    for event in ["vnd-microsoft-roaming-contacts", "vnd-microsoft-roaming-self"] {
        assert_eq!(mallory.subscribe(event), 401, "what the refusal left is no association");
        let mut mallory = Phone::new(&world, "alice", "fe01").account("mallory");
        assert_eq!(mallory.subscribe(event), 403, "a SUBSCRIBE that completes the handshake is no way around");
        assert_eq!(mallory.subscribe(event), 401);
    }

    world.pass(seconds(120));
    assert_eq!(
        world.at("fe01").counts(),
        (1, 1, 0, 1),
        "nothing is left of him, and alice's association was not replaced"
    );
    assert_eq!(alice.subscribe("vnd-microsoft-roaming-contacts"), 200);
    assert_eq!(alice.refresh(None), 200);
}

#[test]
fn an_endpoint_moved_away_leaves_nothing_behind() {
    let world = World::contoso();
    let mut phone = Phone::new(&world, "alice", "fe01");
    assert_eq!(phone.register(), 200);
    world.user("alice", Some("pool2"), None);
    world.transcript();
    assert_eq!(phone.refresh(None), 301);
    assert_eq!(world.transcript()[1], "alice ← fe01  301 <sip:pool2.contoso.test:5061;transport=TLS>;q=0.7  {signed}");
    assert_eq!(world.at("fe01").counts(), (0, 0, 0, 0));
    assert!(world.journal().last().is_some_and(|line| line.starts_with("fe01: ") && line.contains("alice")));
}

#[test]
fn time_alone_changes_nothing_for_a_refreshed_endpoint() {
    let world = World::contoso();
    let mut phone = Phone::new(&world, "alice", "fe01");
    assert_eq!(phone.register(), 200);
    let until = 4 * HOUR;
    for _ in 0..until.as_secs() / 290 {
        world.pass(seconds(290));
        assert_eq!(phone.refresh(None), 200);
    }
    assert_eq!(world.at("fe01").counts(), (1, 1, 0, 1));
}
