//! What stands between client and server and alters what the server says: the client refuses, and says why.

mod phone;
mod world;

use phone::{Phone, sign_in};
use signin::provision::client::Settled;
use signin::register::message::Deregistration;
use signin::report::Verdict;
use world::{People, Plan, World, aor, topology};

/// Alice's sign-in at fe01, when the 200 to her REGISTER is altered.
fn altered(alter: impl Fn(&str) -> String + Send + 'static) -> Result<String, Verdict> {
    let world = World::contoso();
    world.alter(move |text| if text.contains("\r\npresence-state:") { alter(text) } else { text.to_owned() });
    world.run(sign_in("alice", "fe01").run(&world)).map(|signed_in| signed_in.home)
}

/// The text with the first line that begins so changed by `change`.
fn line(text: &str, name: &str, change: impl Fn(&str) -> String) -> String {
    let start = text.find(name).unwrap_or_else(|| panic!("no {name} in {text}"));
    let end = start + text[start..].find("\r\n").expect("the line ends");
    format!("{}{}{}", &text[..start], change(&text[start..end]), &text[end..])
}

#[test]
fn an_untouched_answer_is_believed() {
    assert_eq!(altered(str::to_owned).expect("signed in"), "fe01.contoso.test");
}

#[test]
fn every_field_under_the_signature_is_missed_when_it_changes() {
    type Change = fn(&str) -> String;
    let changes: [(&str, Change); 18] = [
        ("status code", |t| t.replacen("SIP/2.0 200", "SIP/2.0 202", 1)),
        ("URI of From", |t| line(t, "From:", |l| l.replace("alice@", "mallory@"))),
        ("tag of From", |t| line(t, "From:", |l| l.replace("tag=", "tag=0"))),
        ("URI of To", |t| line(t, "To:", |l| l.replace("alice@", "mallory@"))),
        ("tag of To", |t| line(t, "To:", |l| l.replace("tag=", "tag=0"))),
        ("no tag of To", |t| line(t, "To:", |l| l.replace(";tag=", ";tga="))),
        ("Call-ID", |t| line(t, "Call-ID:", |l| format!("{l}0"))),
        ("number of CSeq", |t| line(t, "CSeq:", |l| l.replace("3 ", "4 "))),
        ("method of CSeq", |t| line(t, "CSeq:", |l| l.replace("REGISTER", "SUBSCRIBE"))),
        ("Expires", |t| line(t, "Expires:", |_| "Expires: 7199".to_owned())),
        ("no Expires", |t| line(t, "Expires:", |_| "X: 1".to_owned())),
        ("P-Asserted-Identity", |t| {
            line(t, "CSeq:", |l| format!("{l}\r\nP-Asserted-Identity: <sip:mallory@contoso.test>"))
        }),
        ("realm", |t| t.replacen("realm=\"SIP", "realm=\"SOAP", 1)),
        ("targetname", |t| t.replacen("targetname=\"fe01", "targetname=\"fe02", 1)),
        ("srand", |t| t.replacen("srand=\"", "srand=\"0", 1)),
        ("snum", |t| t.replacen("snum=\"1\"", "snum=\"2\"", 1)),
        ("rspauth", |t| line(t, "Authentication-Info:", |l| l.replace("rspauth=\"0100000", "rspauth=\"0200000"))),
        ("no signature at all", |t| line(t, "Authentication-Info:", |_| "X: 1".to_owned())),
    ];
    for (what, change) in changes {
        let verdict = altered(change).map(|_| ()).expect_err(what);
        assert_eq!(verdict.id, "auth-reply-unsigned", "{what}: {verdict:?}");
        assert!(
            verdict.sentence.contains("the answer of fe01.contoso.test is not to be trusted"),
            "{what}: {verdict:?}"
        );
    }
}

/// `[MS-SIPAE]` leaves to proxies what they have to change. So nobody may rely on it.
#[test]
fn what_the_signature_does_not_cover_can_be_changed_unnoticed() {
    type Change = fn(&str) -> String;
    let changes: [(&str, Change); 5] = [
        ("Via", |t| line(t, "Via:", |l| format!("{l};x=y"))),
        ("display name", |t| line(t, "From:", |l| l.replace("<sip:", "\"Mallory\" <sip:"))),
        ("Server", |t| line(t, "Server:", |_| "Server: RTC/5.0".to_owned())),
        ("Contact", |t| line(t, "Contact:", |l| format!("{l};x=y"))),
        ("reason phrase", |t| t.replacen("200 OK", "200 Fine", 1)),
    ];
    for (what, change) in changes {
        assert_eq!(altered(change).expect(what), "fe01.contoso.test");
    }
}

/// The signature covers the method of CSeq alone; the start line is compared with it.
#[test]
fn a_signed_request_cannot_be_turned_into_another_one() {
    let world = World::contoso();
    let mut phone = Phone::new(&world, "alice", "fe01");
    assert_eq!(phone.register(), 200);
    for (method, turned) in [
        ("SUBSCRIBE", "REGISTER"),
        ("SERVICE", "REGISTER"),
        ("MESSAGE", "INVITE"),
        ("BYE", "CANCEL"),
        ("REGISTER", "SUBSCRIBE"),
        ("REGISTER", "register"),
        ("REGISTER", "ACK"),
    ] {
        let text = phone.signed_text(method);
        let altered = text.replacen(&format!("{method} "), &format!("{turned} "), 1);
        let answer = world.ask(phone.conn(), altered.as_bytes());
        if matches!(turned, "ACK" | "CANCEL") {
            assert_eq!(answer, "", "{turned} for {method}");
        } else {
            assert!(answer.starts_with("SIP/2.0 400 "), "{turned} for {method}: {answer}");
            assert!(answer.contains("17001;reason=\"Invalid request: CSeq names another method"), "{answer}");
        }
        // Whoever altered it did not use its number up.
        let answer = world.ask(phone.conn(), text.as_bytes());
        assert!(!answer.starts_with("SIP/2.0 40"), "{method}: {answer}");
    }
    assert_eq!(world.at("fe01").counts(), (1, 1, 0, 1), "still registered");
}

#[test]
fn a_signed_request_of_the_server_cannot_be_turned_into_another_one() {
    for (method, turned) in [("NOTIFY", "NOTIFY"), ("NOTIFY", "BENOTIFY"), ("NOTIFY", "MESSAGE")] {
        let world = World::contoso();
        let mut phone = Phone::new(&world, "alice", "fe01");
        assert_eq!(phone.register(), 200);
        world.alter(move |text| text.replacen(&format!("{method} sip:"), &format!("{turned} sip:"), 1));
        world.run(world.at("fe01").deregister(&aor("alice"), Deregistration::Rejected));
        let request = phone.next_request();
        assert_eq!(request.is_some(), method == turned, "{turned} for {method}: {request:?}");
    }
}

/// The sign-in of bob at the Director, when the redirect is altered.
fn redirected(alter: impl Fn(&str) -> String + Send + 'static) -> Verdict {
    let world = World::contoso();
    world.alter(move |text| if text.starts_with("SIP/2.0 301") { alter(text) } else { text.to_owned() });
    world.run(sign_in("bob", "dir").run(&world)).map(|_| ()).expect_err("the redirect is no good")
}

fn contact(text: &str, value: &str) -> String {
    line(text, "Contact:", |_| value.to_owned())
}

#[test]
fn redirects_that_are_not_followed() {
    let verdict = redirected(|t| line(t, "Authentication-Info:", |_| "X: 1".to_owned()));
    assert_eq!(verdict.id, "auth-reply-unsigned", "{verdict:?}");
    let verdict = redirected(|t| contact(t, "X: 1"));
    assert_eq!(verdict.id, "redir-no-contact", "{verdict:?}");
    let verdict = redirected(|t| contact(t, "Contact: <mailto:bob@contoso.test>"));
    assert_eq!(verdict.id, "redir-no-contact", "{verdict:?}");
    let verdict = redirected(|t| contact(t, "Contact: <sip:pool2.contoso.test:5060;transport=tcp>;q=0.7"));
    assert_eq!(verdict.id, "redir-insecure", "{verdict:?}");
    assert!(verdict.sentence.contains("dir.contoso.test redirects to <sip:pool2.contoso.test:5060;transport=tcp>"));
    let verdict = redirected(|t| contact(t, "Contact: <sip:nowhere.contoso.test:5061;transport=tls>"));
    assert_eq!(verdict.id, "redir-unresolvable", "{verdict:?}");
    let verdict = redirected(|t| contact(t, "Contact: <sip:dir.contoso.test:5061;transport=tls>"));
    assert_eq!(verdict.id, "redir-loop", "{verdict:?}");
}

#[test]
fn nothing_counts_before_there_is_an_association() {
    const FORGED: &str = "Authentication-Info: NTLM rspauth=\"01000000000000000000000064000000\", srand=\"00000000\", snum=\"1\", opaque=\"00000000\", qop=\"auth\", targetname=\"fe01.contoso.test\", realm=\"SIP Communications Service\"\r\n";
    for (status, id) in [
        ("301 Moved\r\nContact: <sip:evil.contoso.test:5061;transport=tls>", "redir-before-auth"),
        ("200 OK\r\nExpires: 600", "auth-reply-unsigned"),
    ] {
        for forged in ["", FORGED] {
            for leg in ["offers", "CHALLENGE"] {
                let world = World::contoso();
                world.alter(move |text| {
                    let is_challenge = text.contains("gssapi-data");
                    if !text.starts_with("SIP/2.0 401") || is_challenge != (leg == "CHALLENGE") {
                        return text.to_owned();
                    }
                    text.replacen("401 Unauthorized", status, 1).replacen(
                        "Content-Length",
                        &format!("{forged}Content-Length"),
                        1,
                    )
                });
                let verdict = world.run(sign_in("alice", "fe01").run(&world)).map(|_| ()).expect_err("not believed");
                assert_eq!(verdict.id, id, "instead of the 401 that {leg}, forged: {}", !forged.is_empty());
                assert!(!world.transcript().iter().any(|line| line.contains("→ evil")));
            }
        }
    }
}

#[test]
fn two_pools_that_send_to_each_other() {
    let (world, other) = (World::contoso(), World::empty());
    // fe03 has a directory of its own, in which bob lives on pool1; everybody else says pool2.
    other.user("bob", Some("pool1"), None);
    world.server_with_users(Plan::front_end("fe03", "pool2"), std::sync::Arc::new(People(other)));
    world.alias("pool2", "fe03");
    let verdict = world.run(sign_in("bob", "fe01").run(&world)).map(|_| ()).expect_err("goes in a circle");
    assert_eq!(verdict.id, "redir-loop");
    let hops = "fe01.contoso.test:5061 → pool2.contoso.test:5061 → pool1.contoso.test:5061 → pool2.contoso.test:5061";
    assert!(verdict.sentence.ends_with(hops), "{}", verdict.sentence);
}

#[test]
fn six_redirects_are_too_many() {
    // Each server of the chain believes that the next one is alice's home.
    const HOSTS: [&str; 8] = ["h0", "h1", "h2", "h3", "h4", "h5", "h6", "h7"];
    const POOLS: [&str; 8] = ["p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7"];
    let chain = |length: usize| {
        let world = World::empty();
        world.user("alice", None, None);
        for (nth, (host, pool)) in HOSTS.iter().zip(POOLS).enumerate() {
            let believes = World::empty();
            believes.user("alice", Some(POOLS[(nth + 1).min(length)]), None);
            let pools: Vec<(&str, &[&str])> = POOLS.iter().copied().zip(HOSTS.chunks(1)).collect();
            let plan = Plan { topology: topology(&pools), ..Plan::front_end(host, pool) };
            world.server_with_users(plan, std::sync::Arc::new(People(believes)));
            world.alias(pool, host);
        }
        world.run(sign_in("alice", "h0").run(&world)).map(|signed_in| signed_in.home)
    };
    assert_eq!(chain(5).expect("five are followed"), "p5.contoso.test");
    let verdict = chain(6).expect_err("six are not");
    assert_eq!(verdict.id, "redir-loop");
    assert!(verdict.sentence.contains("h0.contoso.test:5061 → p1.contoso.test:5061 → p2"), "{}", verdict.sentence);
}

/// What alice has after her sign-in when the contact list on its way to her is replaced by `list`: signatures do not
/// cover bodies.
fn settled_with(list: String) -> Settled {
    let world = World::contoso();
    world.alter(move |text| match text.split_once("\r\n\r\n") {
        Some((head, body)) if body.starts_with("<contactList") => {
            line(&format!("{head}\r\n\r\n{list}"), "Content-Length:", |_| format!("Content-Length: {}", list.len()))
        }
        _ => text.to_owned(),
    });
    world.run(sign_in("alice", "fe01").run(&world)).expect("nothing after the 200 undoes the sign-in").settled
}

#[test]
fn contact_lists_that_mean_harm_cost_the_contacts_alone() {
    let contact = "<contact uri=\"x@contoso.test\" groups=\"1\"/>";
    let list = |inside: &str| format!("<contactList deltaNum=\"1\">{inside}</contactList>");
    let honest = settled_with(list(contact));
    assert_eq!(honest.contacts.as_ref().map(|list| list.contacts.len()), Some(1));
    for (what, harmful) in [
        ("no XML", "<contactList".to_owned()),
        ("a DOCTYPE", format!("<!DOCTYPE x [<!ENTITY e 'e'>]>{}", list("&e;"))),
        ("a hundred deep", list(&("<a>".repeat(100) + &"</a>".repeat(100)))),
        ("too many elements", list(&"<a/>".repeat(60_000))),
        ("no version", "<contactList/>".to_owned()),
    ] {
        let settled = settled_with(harmful);
        assert_eq!(settled.contacts, None, "{what}");
        assert_eq!(settled.settings, honest.settings, "{what}");
        assert!(settled.own.is_some() && settled.published, "{what}");
    }
    // Ten megabytes are not read to their end, so nothing that comes after them is.
    let endless = settled_with(list(&contact.repeat(10 * 1024 * 1024 / contact.len())));
    assert_eq!(endless.contacts, None);
}
