//! Both halves together: the client's order of requests against the server's answers.

use super::super::client::{Appearance, Endpoint, Request, Response, Session, SessionError, Settled, settle};
use super::*;
use crate::report::Event;

/// A session whose server is next door: requests go to [`Provision::answer`] as bytes, answers come back as bytes.
struct NextDoor<'a> {
    house: &'a House,
    who: Caller,
    notices: Vec<Notice>,
}

impl Session for NextDoor<'_> {
    fn exchange(&mut self, requests: Vec<Request>) -> Pending<'_, Vec<Result<Response, SessionError>>> {
        let answers = requests.iter().map(|request| self.one(request)).collect::<Vec<_>>();
        Box::pin(ready(answers))
    }
}

impl NextDoor<'_> {
    fn one(&mut self, request: &Request) -> Result<Response, SessionError> {
        let call = self.house.calls.fetch_add(1, Ordering::Relaxed);
        let mut draft = sip::Draft::request(request.method, &request.uri);
        draft
            .header("Via", "SIP/2.0/TLS 192.0.2.7:51649")
            .header("From", format_args!("<{}>;tag=f;epid={}", self.who.aor.to_uri(), self.who.epid))
            .header("To", format_args!("<{}>", request.uri))
            .header("Call-ID", format_args!("pair{call}"))
            .header("CSeq", format_args!("1 {}", request.method));
        for (name, value) in &request.headers {
            draft.header(name, value);
        }
        if let Some((content_type, body)) = &request.body {
            draft.body(content_type, body.as_bytes());
        }
        let bytes = draft.finish();
        let (reply, notices) = self.house.put(&self.who, &bytes, "tag");
        self.notices.extend(notices);
        let reply = reply.expect("an answer");
        let sent = sip::Message::parse(&bytes).expect("our own request");
        let mut draft = sip::Draft::answer(&sent, reply.code, reply.reason, "tag");
        for (name, value) in &reply.headers {
            draft.header(name, value);
        }
        if let Some((content_type, body)) = reply.body {
            draft.body(&content_type, body);
        }
        let bytes = draft.finish();
        Response::of(&sip::Message::parse(&bytes).expect("a response")).ok_or(SessionError("no response".to_owned()))
    }
}

fn me(who: &Caller) -> Endpoint {
    Endpoint {
        aor: who.aor.clone(),
        epid: who.epid.clone(),
        instance: "4b1682a8-f968-5701-83fc-7c6741dc6697".to_owned(),
        machine: "host<1>".to_owned(),
        allow_events: super::super::ALLOW_EVENTS.split(',').map(str::to_owned).collect(),
        batches: true,
    }
}

fn sign_in(house: &House, who: &Caller, appearance: Appearance) -> (Settled, Vec<Notice>, Vec<String>) {
    let lines = Mutex::new(Vec::new());
    let tell = |event: Event| match event {
        Event::Evidence(_, line) => lines.lock().expect("no panic").push(line),
        Event::Remark(_, line) => lines.lock().expect("no panic").push(format!("! {line}")),
        other => panic!("{other:?}"),
    };
    let mut session = NextDoor { house, who: who.clone(), notices: Vec::new() };
    let settled = settle(&mut session, &me(who), appearance, &tell).now_or_never().expect("nothing to wait for");
    let notices = session.notices;
    (settled, notices, lines.into_inner().expect("no panic"))
}

#[test]
fn two_users_settle_and_see_each_other() {
    let house = House::new();
    let (bob, alice) = (endpoint("bob", "1122334455"), endpoint("alice", "0f12ab34cd"));
    sign_in(&house, &bob, Appearance::As(6_500));
    let (settled, notices, lines) = sign_in(&house, &alice, Appearance::default());
    assert_eq!(
        lines,
        [
            "settings: 53 values in 11 groups (ServerConfiguration, endpointConfiguration, locationPolicy, \
             mediaConfiguration, meetingPolicy, mobilityPolicy, persistentChatConfiguration, presencePolicyV2, \
             publicProviders, ucPolicy, userSetting)",
            "contacts: 2 in 2 groups (deltaNum 12)",
            "own presence: 6 category instances, 5 containers",
            "dial plan Seattle.contoso.test: 3 rules",
            "presence: bob@contoso.test busy (6500)",
            "presence: carol@contoso.test offline (18500)",
            "published: others see available (3500)",
        ]
    );
    assert!(notices.is_empty());
    assert_eq!(settled.contacts.as_ref().map(|list| list.groups[1].name.as_str()), Some("Team \"A\" & <B>"));
    let json = settled.json();
    assert_eq!(json["contacts"]["list"][0]["address"], "bob@contoso.test");
    assert_eq!(json["presence"][0]["status"], "busy");
    assert_eq!(json["dial_plan"]["rules"][0]["translation"], "+1425555$1");
    assert_eq!(json["provisioning"]["ucPolicy"]["EnableCallPark"], "true");
    assert_eq!(json["published"], true);
}

#[test]
fn who_comes_back_republishes_on_the_versions_it_was_told() {
    let house = House::new();
    let alice = endpoint("alice", "0f12ab34cd");
    assert!(sign_in(&house, &alice, Appearance::As(12_500)).0.published);
    house.gone(&alice);
    let (settled, _, lines) = sign_in(&house, &alice, Appearance::As(6_500));
    assert!(settled.published);
    assert!(lines.contains(&"published: others see busy (6500)".to_owned()), "{lines:?}");
}

#[test]
fn unseen_means_that_nothing_is_published() {
    let house = House::new();
    let (settled, notices, lines) = sign_in(&house, &endpoint("alice", "1"), Appearance::Unseen);
    assert!(!settled.published && notices.is_empty());
    assert!(!lines.iter().any(|line| line.starts_with("published")));
}

/// A session that answers everything in one way.
struct Always(Result<Response, SessionError>);

impl Session for Always {
    fn exchange(&mut self, requests: Vec<Request>) -> Pending<'_, Vec<Result<Response, SessionError>>> {
        Box::pin(ready(requests.iter().map(|_| self.0.clone()).collect()))
    }
}

#[test]
fn what_fails_is_a_remark_that_says_why() {
    let refused = Response {
        code: 403,
        reason: "Forbidden".to_owned(),
        headers: vec![("ms-diagnostics".to_owned(), "4004;reason=\"No\"".to_owned())],
        body: Vec::new(),
    };
    let cases = [
        (Err(SessionError("no answer in time".to_owned())), "! contacts: no answer in time"),
        (Ok(refused.clone()), "! contacts: refused with 403 Forbidden (4004;reason=\"No\")"),
        (Ok(Response { code: 200, ..refused.clone() }), "! contacts: the answer has no document"),
        (
            Ok(Response { code: 200, body: b"<a>".to_vec(), ..refused }),
            "! contacts: the answer cannot be read: not well-formed: the document element does not end",
        ),
    ];
    for (answer, expected) in cases {
        let lines = Mutex::new(Vec::new());
        let tell = |event: Event| {
            if let Event::Remark(_, line) = event {
                lines.lock().expect("no panic").push(format!("! {line}"));
            }
        };
        let who = me(&endpoint("alice", "1"));
        let settling = settle(&mut Always(answer), &who, Appearance::default(), &tell).now_or_never();
        assert_eq!(settling, Some(Settled::default()));
        let lines = lines.into_inner().expect("no panic");
        assert!(lines.iter().any(|line| line == expected), "{lines:?}");
    }
}

#[test]
fn the_second_endpoint_follows_the_changes_of_the_first() {
    use super::super::contacts::message::{CONTENT_TYPE, ContactDocument, SOAP, read_document, write_soap};
    let house = House::new();
    let (first, second) = (endpoint("alice", "a1"), endpoint("alice", "a2"));
    sign_in(&house, &first, Appearance::Unseen);
    let mut list = sign_in(&house, &second, Appearance::Unseen).0.contacts.expect("a list");
    let edits = [
        Edit::AddGroup { name: "<Neu> & \"Alt\"".to_owned(), external_uri: String::new() },
        Edit::SetContact(Contact {
            aor: aor("dave@contoso.test"),
            name: "D & D".to_owned(),
            groups: vec![3, 1],
            subscribed: false,
            external_uri: "x:y".to_owned(),
            extension: "<contactExtension xmlns=\"e\"><a b=\"1\"/></contactExtension>".to_owned(),
        }),
        Edit::DeleteContact(aor("bob@contoso.test")),
        Edit::ModifyGroup(Group { id: 2, name: "New".to_owned(), external_uri: String::new() }),
    ];
    for (done, edit) in edits.into_iter().enumerate() {
        let change = ContactChange { delta_num: Some(12 + u32::try_from(done).expect("few")), edit };
        let head = format!("Content-Type: {SOAP}");
        let (reply, notices) = house.send(&first, "SERVICE", &first.aor.to_uri(), &head, &write_soap(&change));
        assert_eq!(reply.code, 200, "{change:?}");
        let told = notices.iter().find(|notice| &*notice.epid == "a2").expect("the second one is told");
        assert_eq!(told.content_type, CONTENT_TYPE);
        match read_document(told.body.as_bytes()).expect("a document") {
            ContactDocument::Delta(delta) => assert!(list.follow(delta)),
            ContactDocument::List(_) => panic!("a delta was enough"),
        }
    }
    let kept = house.server.directory.contacts(&first.aor).now_or_never().expect("at once").expect("a list");
    assert_eq!((list.delta_num, &list.groups), (kept.delta_num, &kept.groups));
    assert_eq!(list.contact(&aor("dave@contoso.test")).map(|c| &c.name), Some(&"D & D".to_owned()));
    let dave = kept.contact(&aor("dave@contoso.test")).expect("dave");
    assert!(dave.extension.contains("<a b=\"1\"/>"), "{}", dave.extension);
    assert!(list.contact(&aor("bob@contoso.test")).is_none());
}
