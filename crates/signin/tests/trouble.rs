//! A server whose directory, or whoever checks its passwords, does not answer: what users are told, what strangers are
//! told, and that nothing stays behind.

mod phone;
mod world;

use phone::{Phone, sign_in};
use signin::authenticate::verifier::NtlmVerifier;
use signin::directory::DirectoryError;
use std::sync::Arc;
use std::time::Duration;
use world::trouble::{Ailing, Health};
use world::{Plan, World};

const SECRET: &str = "(&(objectClass=user)(x=CN=Alice,DC=contoso,DC=test)): NT_STATUS_NO_LOGON_SERVERS at dc01";

/// fe01 of this world, inside or outside, with a directory and a verifier that may fall ill.
fn server(world: &World, external: bool) -> (Ailing, Ailing) {
    let (directory, verifier) = (Ailing::new(world), Ailing::new(world));
    let ntlm: Option<Arc<dyn NtlmVerifier>> = Some(Arc::new(verifier.clone()));
    let plan = Plan { outside: external, ntlm, ..Plan::front_end("fe01", "pool1") };
    world.server_with_users(plan, Arc::new(directory.clone()));
    world.alias("pool1", "fe01");
    (directory, verifier)
}

/// The diagnostics of the last 504 or 503 that `fe01` sends while `work` is done.
fn told(world: &World, work: impl FnOnce()) -> Vec<String> {
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let ears = heard.clone();
    world.alter(move |text| {
        let is_trouble = text.starts_with("SIP/2.0 50");
        let lines = text.lines().filter(|line| line.starts_with("ms-diagnostics"));
        if is_trouble {
            ears.lock().expect("alone").extend(lines.map(str::to_owned));
            assert!(!text.contains("NT_STATUS") && !text.contains("DC=") && !text.contains("objectClass"), "{text}");
        }
        text.to_owned()
    });
    work();
    std::mem::take(&mut *heard.lock().expect("alone"))
}

#[test]
fn only_fixed_words_leave_a_server_whose_directory_fails() {
    const UNPROVEN: &str = "ms-diagnostics: 1007;reason=\"Temporarily cannot route\";source=\"fe01.contoso.test\";cause=\"ntlm-dc-unreachable\"";
    const PROVEN: &str = "ms-diagnostics: 1007;reason=\"Temporarily cannot route: no domain controller answers\";source=\"fe01.contoso.test\";cause=\"ntlm-dc-unreachable\"";
    const OUTSIDE: &str = "ms-diagnostics-public: 1007;reason=\"Temporarily cannot route\"";
    for (external, unproven, proven) in [(false, UNPROVEN, PROVEN), (true, OUTSIDE, OUTSIDE)] {
        let world = World::contoso();
        let (directory, verifier) = server(&world, external);
        let mut phone = Phone::new(&world, "alice", "fe01");

        verifier.is(Health::Fails(DirectoryError::unreachable(SECRET)));
        let challenge = phone.challenged();
        let lines = told(&world, || {
            phone.begin_answer(&challenge);
            assert_eq!(phone.late_answer(), Some(504));
        });
        assert_eq!(lines, [unproven], "before anything is proven");
        assert!(world.journal().iter().any(|line| line.contains(SECRET)), "the log has all of it");

        verifier.is(Health::Well);
        directory.is(Health::Fails(DirectoryError::unreachable(SECRET)));
        let lines = told(&world, || assert_eq!(phone.register(), 504));
        assert_eq!(lines, [proven], "the password was right");
        assert!(world.journal().iter().any(|line| line.contains(SECRET)), "the log has all of it");
        assert_eq!(world.at("fe01").counts(), (0, 0, 0, 0), "neither handshake nor association stays");

        directory.is(Health::Well);
        assert_eq!(phone.register(), 200);
        directory.is(Health::Fails(DirectoryError::failed(SECRET)));
        let lines = told(&world, || assert_eq!(phone.subscribe("vnd-microsoft-roaming-contacts"), 503));
        let settings = match external {
            false => {
                "ms-diagnostics: 4000;reason=\"User services: the directory does not answer.\";source=\"fe01.contoso.test\""
            }
            true => "ms-diagnostics-public: 4000;reason=\"User services.\"",
        };
        assert_eq!(lines, [settings]);
        assert!(world.journal().iter().any(|line| line.contains(SECRET)), "the log has all of it");
    }
}

#[test]
fn a_client_inside_is_told_that_the_domain_controller_is_away() {
    for (external, id) in [(false, "ntlm-dc-unreachable"), (true, "pool-504")] {
        for verifier_fails in [true, false] {
            let world = World::contoso();
            let (directory, verifier) = server(&world, external);
            let away = Health::Fails(DirectoryError::unreachable(SECRET));
            if verifier_fails {
                verifier.is(away)
            } else {
                directory.is(away)
            }
            let verdict = world.run(sign_in("alice", "fe01").run(&world)).map(|_| ()).expect_err("it cannot tell");
            assert_eq!(verdict.id, id, "{verdict:?}");
            assert!(verdict.sentence.contains("fe01.contoso.test answered 504"), "{verdict:?}");
            directory.is(Health::Well);
            verifier.is(Health::Well);
            assert!(world.run(sign_in("alice", "fe01").run(&world)).is_ok(), "and then it can again");
        }
    }
}

/// Whoever is barred while the directory is out of order is put out when it is well again.
#[test]
fn a_bar_that_cannot_be_read_yet_is_not_forgotten() {
    let world = World::contoso();
    let (directory, _) = server(&world, false);
    let mut phone = Phone::new(&world, "alice", "fe01");
    assert_eq!(phone.register(), 200);
    directory.is(Health::Fails(DirectoryError::unreachable(SECRET)));
    world.administer("alice", |user| user.enabled = false);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.at("fe01").counts().1, 1, "nobody can tell");
    directory.is(Health::Well);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.at("fe01").counts(), (0, 0, 0, 0));
    assert!(phone.next_request().is_some_and(|text| text.contains("event=rejected")));
}

/// A directory, or a verifier, that says nothing at all, not even that it cannot.
#[test]
fn nobody_waits_for_ever() {
    for verifier_is_mute in [true, false] {
        let world = World::contoso();
        world.user("carol", Some("pool1"), None);
        let (directory, verifier) = server(&world, false);
        let mut phone = Phone::new(&world, "alice", "fe01");
        let mut settled = Phone::new(&world, "carol", "fe01").epid("0c");
        assert_eq!(settled.register(), 200);
        let challenge = phone.challenged();
        let idle = world.connect("fe01");
        if verifier_is_mute {
            verifier.is(Health::Mute)
        } else {
            directory.is(Health::Mute)
        }
        phone.begin_answer(&challenge);
        if verifier_is_mute {
            assert_eq!(settled.refresh(None), 200, "others do not wait with her");
        }
        world.pass(Duration::from_secs(19));
        assert_eq!(phone.late_answer(), None);
        world.pass(Duration::from_secs(2));
        let lines = told(&world, || assert_eq!(phone.late_answer(), Some(504)));
        assert!(lines.is_empty(), "it was sent before");
        assert!(world.journal().iter().any(|line| line.contains("not a word within 20s")));
        assert_eq!(world.at("fe01").counts(), (1, 1, 0, 1), "nothing of hers is left");

        // Everything that a directory is asked in vain, for hours; sweeps are not held up.
        directory.is(Health::Mute);
        world.administer("alice", |user| user.mail = Some("x".to_owned()));
        world.pass(Duration::from_secs(121));
        assert!(!world.is_open(idle), "who proves nothing is closed after two minutes");
        settled.begin_refresh();
        world.pass(Duration::from_secs(21));
        assert_eq!(settled.late_answer(), Some(504));
        settled.keep_alive();
        world.pass(Duration::from_secs(600));
        assert_eq!(world.at("fe01").counts(), (0, 0, 0, 1), "what lapses, lapses");

        directory.is(Health::Well);
        verifier.is(Health::Well);
        world.pass(Duration::from_secs(25));
        settled.reconnect();
        assert_eq!(settled.refresh(None), 200, "all is well without a restart");
        let mut again = Phone::new(&world, "alice", "fe01");
        assert_eq!(again.register(), 200);
    }
}

#[test]
fn who_is_slow_is_waited_for() {
    let world = World::contoso();
    let (directory, verifier) = server(&world, false);
    let mut phone = Phone::new(&world, "alice", "fe01");
    let challenge = phone.challenged();
    verifier.is(Health::Slow(Duration::from_secs(5)));
    directory.is(Health::Slow(Duration::from_secs(15)));
    phone.begin_answer(&challenge);
    world.pass(Duration::from_secs(19));
    assert_eq!(phone.late_answer(), None);
    world.pass(Duration::from_secs(2));
    assert_eq!(phone.late_answer(), Some(200), "each of the two has its own time");
}
