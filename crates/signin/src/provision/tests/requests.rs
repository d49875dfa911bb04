//! Each request of a signed-in client, and its answer.

use super::super::contacts::message::{ContactDocument, read_document};
use super::super::presence::batch::read_presence;
use super::super::presence::message::{Member, OWN_PRESENCE, read_conflicts, read_own_presence};
use super::*;

pub(super) const CONTACTS: &str = "Event: vnd-microsoft-roaming-contacts
    Accept: application/vnd-microsoft-roaming-contacts+xml";
const SETTINGS: &str = "Event: vnd-microsoft-provisioning-v2
    Accept: application/vnd-microsoft-roaming-provisioning-v2+xml
    Content-Type: application/vnd-microsoft-roaming-provisioning-v2+xml
    Expires: 0";
pub(super) const OWN: &str = "Event: vnd-microsoft-roaming-self
    Accept: application/vnd-microsoft-roaming-self+xml
    Content-Type: application/vnd-microsoft-roaming-self+xml";
pub(super) const PRESENCE: &str = "Event: presence
    Require: adhoclist, categoryList
    Supported: eventlist
    Accept: application/rlmi+xml, multipart/related, text/xml+msrtc.pidf, application/msrtc-event-categories+xml
    Content-Type: application/msrtc-adrl-categorylist+xml";
pub(super) const ALL_OWN: &str = "<roamingList xmlns='http://schemas.microsoft.com/2006/09/sip/roaming-self'>\
    <roaming type='categories'/><roaming type='containers'/><roaming type='subscribers'/></roamingList>";
pub(super) const ALICE: &str = "sip:alice@contoso.test";

pub(super) fn alice() -> Caller {
    endpoint("alice", "0f12ab34cd")
}

pub(super) fn bob() -> Caller {
    endpoint("bob", "1122334455")
}

pub(super) fn with(head: &str) -> String {
    format!("{head}\n{TAKES_ALL}")
}

pub(super) fn subscribe(house: &House, who: &Caller, head: &str, body: &str) -> (Reply, Vec<Notice>) {
    house.send(who, "SUBSCRIBE", &who.aor.to_uri(), &with(head), body)
}

pub(super) fn service(house: &House, who: &Caller, content_type: &str, body: &str) -> (Reply, Vec<Notice>) {
    house.send(who, "SERVICE", &who.aor.to_uri(), &format!("Content-Type: {content_type}"), body)
}

pub(super) fn soap(house: &House, who: &Caller, primitive: &str) -> (Reply, Vec<Notice>) {
    let envelope = format!(
        "<SOAP-ENV:Envelope xmlns:SOAP-ENV='http://schemas.xmlsoap.org/soap/envelope/'><SOAP-ENV:Body>{primitive}\
         </SOAP-ENV:Body></SOAP-ENV:Envelope>"
    );
    service(house, who, "application/SOAP+xml", &envelope)
}

pub(super) fn batch(users: &[&str]) -> String {
    let resources: String = users.iter().map(|user| format!("<resource uri='{user}'/>")).collect();
    format!(
        "<batchSub xmlns='http://schemas.microsoft.com/2006/01/sip/batch-subscribe' uri='{ALICE}' name=''>\
         <action name='subscribe' id='63792024'><adhocList>{resources}</adhocList>\
         <categoryList xmlns='http://schemas.microsoft.com/2006/09/sip/categorylist'><category name='calendarData'/>\
         <category name='contactCard'/><category name='note'/><category name='state'/></categoryList></action></batchSub>"
    )
}

pub(super) fn publication(
    owner: &str,
    category: &str,
    instance: u32,
    container: u16,
    version: u32,
    value: &str,
) -> String {
    let expire = if instance == 0x2000_0000 { "static" } else { "endpoint" };
    format!(
        "<publish xmlns='http://schemas.microsoft.com/2006/09/sip/rich-presence'><publications uri='sip:{owner}'>\
         <publication categoryName='{category}' instance='{instance}' container='{container}' version='{version}' \
         expireType='{expire}'>{value}</publication></publications></publish>"
    )
}

pub(super) fn state(kind: &str, availability: u32) -> String {
    format!(
        "<state xmlns='http://schemas.microsoft.com/2006/09/sip/state' manual='true' \
         xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' xsi:type='{kind}'>\
         <availability>{availability}</availability></state>"
    )
}

pub(super) fn publish(house: &House, who: &Caller, body: &str) -> (Reply, Vec<Notice>) {
    service(house, who, "application/msrtc-category-publish+xml", body)
}

/// What a 200 to SUBSCRIBE has when the document is in it; pidgin-sipe reads none without these.
fn assert_piggybacked(reply: &Reply, event: &str, content_type: &str) {
    assert_eq!((reply.code, header(reply, "Event")), (200, Some(event)));
    assert_eq!(header(reply, "ms-piggyback-cseq"), Some("1"));
    assert_eq!(header(reply, "Contact"), Some("<sip:fe1.contoso.test:5061;transport=tls>"));
    let supported = header(reply, "Supported").expect("Supported");
    assert!(supported.starts_with("ms-benotify, ms-piggyback-first-notify"), "{supported}");
    let (given, _) = reply.body.as_ref().expect("a document");
    assert!(given.starts_with(content_type), "{given}");
}

fn assert_lives(reply: &Reply) {
    let expires: u32 = header(reply, "Expires").and_then(|e| e.parse().ok()).expect("Expires");
    assert!((25_920..=31_680).contains(&expires), "{expires}");
    assert_eq!(header(reply, "subscription-state"), Some(format!("active;expires={expires}").as_str()));
}

#[test]
fn row_1_contacts() {
    let house = House::new();
    let (reply, notices) = subscribe(&house, &alice(), CONTACTS, "");
    assert_piggybacked(&reply, "vnd-microsoft-roaming-contacts", "application/vnd-microsoft-roaming-contacts+xml");
    assert_lives(&reply);
    assert!(notices.is_empty());
    let xml = body(&reply);
    assert!(xml.starts_with("<contactList deltaNum=\"12\"><group id=\"1\" name=\"~\" externalURI=\"\"/>"), "{xml}");
    assert!(xml.contains("<contact uri=\"bob@contoso.test\" name=\"\" groups=\"1 2\" subscribed=\"true\""), "{xml}");
    let (reply, _) = subscribe(&house, &bob(), CONTACTS, "");
    assert_eq!(body(&reply), "<contactList deltaNum=\"1\"><group id=\"1\" name=\"~\" externalURI=\"\"/></contactList>");
}

#[test]
fn row_2_provisioning_is_a_poll_of_the_groups_asked_for() {
    let house = House::new();
    let groups = "<provisioningGroupList xmlns='http://schemas.microsoft.com/2006/09/sip/provisioninggrouplist'>\
        <provisioningGroup name='ServerConfiguration'/><provisioningGroup name='nonsense'/>\
        <provisioningGroup name='ucPolicy'/><provisioningGroup name='userSetting'/></provisioningGroupList>";
    let (reply, _) = subscribe(&house, &alice(), SETTINGS, groups);
    let content_type = "application/vnd-microsoft-roaming-provisioning-v2+xml";
    assert_piggybacked(&reply, "vnd-microsoft-provisioning-v2", content_type);
    assert_eq!(header(&reply, "Expires"), Some("0"));
    assert_eq!(header(&reply, "subscription-state"), Some("terminated;expires=0"));
    let given = super::super::settings::message::read_answer(body(&reply).as_bytes()).expect("settings");
    assert_eq!(given.keys().collect::<Vec<_>>(), ["ServerConfiguration", "ucPolicy", "userSetting"]);
    let value = |group: &str, name: &str| given.get(group).and_then(|g| g.get(name)).map(String::as_str);
    assert_eq!(value("ServerConfiguration", "ucPC2PCAVEncryption"), Some("SupportEncryption"));
    assert_eq!(value("ServerConfiguration", "ucPortRangeEnabled"), Some("false"));
    assert_eq!(value("ServerConfiguration", "organization"), Some("Contoso & Sons"));
    assert_eq!(value("ServerConfiguration", "ucLocationProfile"), Some("Global"));
    assert_eq!(value("ServerConfiguration", "focusFactoryUri"), None);
    assert_eq!(value("ucPolicy", "EnableCallPark"), Some("true"), "the directory's word over the default");
    assert_eq!(value("userSetting", "ucUserLocationProfile"), Some("Seattle.contoso.test"));
}

#[test]
fn row_3_own_presence() {
    let house = House::new();
    let (reply, _) = subscribe(&house, &alice(), OWN, ALL_OWN);
    assert_piggybacked(&reply, "vnd-microsoft-roaming-self", OWN_PRESENCE);
    assert_lives(&reply);
    let own = read_own_presence(body(&reply).as_bytes()).expect("own presence");
    let categories = own.categories.expect("categories");
    assert_eq!(categories.display_name(), Some("Alice <Sales & Co>"));
    assert!(categories.categories.iter().any(|c| c.name == "userProperties" && c.container == Some(1)));
    let members = |id| own.containers.iter().find(|c| c.id == id).map(|c| (c.version, c.members.clone()));
    assert_eq!(members(100), Some((1, vec![Member::Federated])));
    assert_eq!(members(200), Some((1, vec![Member::SameEnterprise])));
    assert_eq!(members(32_000), Some((0, Vec::new())));
}

#[test]
fn row_4_a_batch_has_a_part_for_everybody_and_says_offline() {
    let house = House::new();
    let wanted = batch(&["sip:bob@contoso.test", "sip:nobody@contoso.test"]);
    let (reply, _) = subscribe(&house, &alice(), PRESENCE, &wanted);
    assert_piggybacked(&reply, "presence", "multipart/related; type=\"application/rlmi+xml\"");
    assert_eq!(header(&reply, "Require"), Some("eventlist"));
    assert_lives(&reply);
    let (content_type, bytes) = reply.body.as_ref().expect("a body");
    let document = read_presence(content_type, bytes).expect("presence");
    assert_eq!(document.list.len(), 2);
    assert!(document.list.iter().all(|entry| entry.state == "active"));
    let seen: Vec<_> = document.users.iter().map(|user| (user.aor.as_str(), user.availability())).collect();
    assert_eq!(seen, [("bob@contoso.test", Some(18_500)), ("nobody@contoso.test", Some(18_500))]);
    assert_eq!(document.users[0].display_name(), Some("Bob <Sales & Co>"));
    let text = body(&reply);
    assert_eq!(text.matches("\r\n\r\n--").count(), 3, "an empty line before every delimiter but the first:\n{text}");
}

#[test]
fn row_5_a_publication_reaches_watchers_and_own_endpoints() {
    let house = House::new();
    let second = endpoint("bob", "9999aaaa");
    subscribe(&house, &alice(), PRESENCE, &batch(&["sip:bob@contoso.test"]));
    subscribe(&house, &bob(), OWN, ALL_OWN);
    subscribe(&house, &second, OWN, ALL_OWN);
    let chosen = publication("bob@contoso.test", "state", 0x2000_0000, 2, 0, &state("userState", 9_500));
    let (reply, notices) = publish(&house, &bob(), &chosen);
    assert_eq!(reply.code, 200);
    let own = read_own_presence(body(&reply).as_bytes()).expect("own presence").categories.expect("categories");
    let versions: Vec<_> = own.categories.iter().map(|c| (c.instance, c.container, c.version)).collect();
    assert_eq!(versions.len(), 5, "the choice and its aggregate in 2, 100, 200, 400: {versions:?}");
    assert!(versions.contains(&(Some(0x2000_0000), Some(2), Some(1))));
    assert_eq!(own.availability(), Some(9_500));

    let [watcher, own] = notices.as_slice() else { panic!("{notices:?}") };
    assert_eq!((watcher.to.as_str(), &*watcher.epid, watcher.method), ("alice@contoso.test", "0f12ab34cd", "BENOTIFY"));
    let draft = watcher.draft("sip:192.0.2.7:51649", "SIP/2.0/TLS 192.0.2.1:5061").finish();
    let message = sip::Message::parse(&draft).expect("a message");
    assert_eq!(message.header(sip::Name::CSeq), Some("2 BENOTIFY"));
    assert_eq!(message.header(sip::Name::From), Some("<sip:alice@contoso.test>;tag=tcall0"));
    assert_eq!(message.header(sip::Name::To), Some("<sip:alice@contoso.test>;tag=f0f12ab34cd;epid=0f12ab34cd"));
    assert_eq!(message.header(sip::Name::CallId), Some("call0"));
    let seen = super::super::presence::message::read_categories(message.body()).expect("categories");
    assert_eq!((seen.aor.as_str(), seen.availability()), ("bob@contoso.test", Some(9_500)));
    assert_eq!(seen.categories.len(), 1, "only what changed");
    assert_eq!((&*own.epid, own.content_type.as_str()), ("9999aaaa", OWN_PRESENCE), "not the publisher");

    let (reply, notices) = publish(&house, &bob(), &chosen);
    assert_eq!(reply.code, 409);
    assert!(notices.is_empty());
    let conflicts = read_conflicts(body(&reply).as_bytes()).expect("a fault");
    assert_eq!(conflicts.iter().map(|c| (c.index, c.version, c.current)).collect::<Vec<_>>(), [(1, 0, 1)]);
}

#[test]
fn a_client_that_cannot_learn_a_version_is_let_through_in_the_end() {
    let house = House::new();
    let chosen = publication("bob@contoso.test", "state", 0x2000_0000, 2, 0, &state("userState", 9_500));
    let codes: Vec<u16> = (0..5).map(|_| publish(&house, &bob(), &chosen).0.code).collect();
    assert_eq!(codes, [200, 409, 409, 409, 200]);
    house.pass(11);
    assert_eq!(publish(&house, &bob(), &chosen).0.code, 409);
    house.pass(11);
    let codes: Vec<u16> = (0..3).map(|_| publish(&house, &bob(), &chosen).0.code).collect();
    assert_eq!(codes, [409, 409, 409], "spread over time it is no loop");
}

#[test]
fn a_publication_is_taken_whole_or_not_at_all() {
    let house = House::new();
    subscribe(&house, &bob(), OWN, ALL_OWN);
    let one = |container: u16, version: u32, expires: &str| {
        format!(
            "<publication categoryName='note' instance='0' container='{container}' version='{version}' \
             expireType='static'{expires}><note xmlns='n'>x</note></publication>"
        )
    };
    let wrap =
        |inside: &str| format!("<publish><publications uri='sip:Bob@Contoso.test'>{inside}</publications></publish>");
    let (reply, _) = publish(&house, &bob(), &wrap(&format!("{}{}", one(200, 0, ""), one(300, 7, ""))));
    assert_eq!(reply.code, 409);
    assert!(!body(&subscribe(&house, &bob(), OWN, ALL_OWN).0).contains("name=\"note\""));
    let (reply, _) = publish(&house, &bob(), &wrap(&one(200, 0, "")));
    assert_eq!(reply.code, 200);
    let (reply, _) = publish(&house, &bob(), &wrap(&one(200, 1, " expires='0'")));
    assert!(body(&reply).contains("<category name=\"note\"/>"), "the last one is gone: {}", body(&reply));
    let (reply, _) = publish(&house, &bob(), &wrap(&one(200, 0, " expires='0'")));
    assert_eq!(reply.code, 200, "deleting what is not there");
}

#[test]
fn row_6_a_blocked_watcher_sees_somebody_offline() {
    let house = House::new();
    subscribe(&house, &alice(), PRESENCE, &batch(&["sip:bob@contoso.test"]));
    subscribe(&house, &bob(), OWN, ALL_OWN);
    publish(&house, &bob(), &publication("bob@contoso.test", "state", 0x2000_0000, 2, 0, &state("userState", 6_500)));
    let containers = "application/msrtc-setcontainermembers+xml";
    let block = "<setContainerMembers xmlns='http://schemas.microsoft.com/2006/09/sip/container-management'>\
        <container id='32000' version='0'><member action='add' type='user' value='alice@contoso.test'/></container>\
        </setContainerMembers>";
    let (reply, notices) = service(&house, &bob(), containers, block);
    assert_eq!((reply.code, reply.body.is_none()), (200, true));
    let [watcher, own] = notices.as_slice() else { panic!("{notices:?}") };
    let seen = super::super::presence::message::read_categories(watcher.body.as_bytes()).expect("categories");
    assert_eq!(seen.availability(), Some(18_500));
    assert_eq!(seen.display_name(), None);
    let told = read_own_presence(own.body.as_bytes()).expect("own presence");
    assert_eq!(told.containers.len(), 1);
    assert_eq!(told.containers[0].members, [Member::User(aor("alice@contoso.test"))]);
    assert_eq!(service(&house, &bob(), containers, block).0.code, 409, "the version has gone on");
    let unblock = block.replace("'add'", "'remove'").replace("version='0'", "version='1'");
    let (_, notices) = service(&house, &bob(), containers, &unblock);
    let seen = super::super::presence::message::read_categories(notices[0].body.as_bytes()).expect("categories");
    assert_eq!(seen.availability(), Some(6_500));
}

#[test]
fn row_7_somebody_just_added_is_told_once_and_acknowledges() {
    let house = House::new();
    subscribe(&house, &bob(), OWN, ALL_OWN);
    let added = batch(&["sip:bob@contoso.test"]).replace(
        "<resource uri='sip:bob@contoso.test'/>",
        "<resource uri='sip:bob@contoso.test'><context/></resource>",
    );
    let (_, notices) = subscribe(&house, &alice(), PRESENCE, &added);
    let [told] = notices.as_slice() else { panic!("{notices:?}") };
    let own = read_own_presence(told.body.as_bytes()).expect("own presence");
    assert_eq!(own.subscribers.len(), 1);
    assert_eq!((own.subscribers[0].aor.as_str(), own.subscribers[0].acknowledged), ("alice@contoso.test", false));
    let (_, notices) = subscribe(&house, &alice(), PRESENCE, &added);
    assert!(notices.is_empty());
    let acknowledge = "<setSubscribers xmlns='http://schemas.microsoft.com/2006/09/sip/presence-subscribers'>\
        <subscriber user='alice@contoso.test' acknowledged='true'/></setSubscribers>";
    let content_type = "application/msrtc-presence-setsubscriber+xml";
    assert_eq!(service(&house, &bob(), content_type, acknowledge).0.code, 200);
    let own = read_own_presence(body(&subscribe(&house, &bob(), OWN, ALL_OWN).0).as_bytes()).expect("own presence");
    assert!(own.subscribers[0].acknowledged);
    assert_eq!(service(&house, &alice(), content_type, acknowledge).0.code, 400, "nobody added alice");
}

#[test]
fn row_8_contact_changes_reach_every_endpoint() {
    let house = House::new();
    let (first, second) = (alice(), endpoint("alice", "bbbb"));
    subscribe(&house, &first, CONTACTS, "");
    subscribe(&house, &second, CONTACTS, "");
    let m = "xmlns:m='http://schemas.microsoft.com/winrtc/2002/11/sip'";
    let (reply, notices) = soap(
        &house,
        &first,
        &format!("<m:addGroup {m}><m:name>Vendors</m:name><m:externalURI/><m:deltaNum>12</m:deltaNum></m:addGroup>"),
    );
    assert_eq!(reply.code, 200);
    assert_eq!(super::super::contacts::message::read_group_added(body(&reply).as_bytes()), Ok(3));
    let told: Vec<_> = notices.iter().map(|n| (&*n.epid, n.method)).collect();
    assert_eq!(told, [("0f12ab34cd", "BENOTIFY"), ("bbbb", "BENOTIFY")]);
    assert!(notices[0].body.contains("<addedGroup id=\"3\" name=\"Vendors\" externalURI=\"\"/>"));
    assert!(notices[0].body.starts_with("<contactDelta deltaNum=\"13\" prevDeltaNum=\"12\">"));

    let dave = format!(
        "<m:setContact {m}><m:displayName>D</m:displayName><m:groups>3 </m:groups><m:subscribed>true</m:subscribed>\
         <m:URI>sip:Dave@contoso.test</m:URI><m:externalURI/><m:deltaNum>13</m:deltaNum></m:setContact>"
    );
    let (reply, notices) = soap(&house, &first, &dave);
    assert_eq!((reply.code, reply.body), (200, None));
    assert!(notices[1].body.contains("<addedContact uri=\"sip:dave@contoso.test\" name=\"D\" groups=\"3\""));
    let (_, notices) = soap(&house, &second, &dave.replace(">13<", ">14<").replace(">3 <", "><").replace(">D<", ">E<"));
    assert!(notices[0].body.contains("<modifiedContact uri=\"sip:dave@contoso.test\" name=\"E\" groups=\"1\""));
    let delete = format!(
        "<m:deleteContact {m}><m:URI>sip:dave@contoso.test</m:URI><m:deltaNum>15</m:deltaNum></m:deleteContact>"
    );
    let (_, notices) = soap(&house, &first, &delete);
    assert!(notices[0].body.contains("<deletedContact uri=\"sip:dave@contoso.test\"/>"));

    let (reply, notices) = soap(&house, &first, &dave);
    assert_eq!(reply.code, 409);
    let conflicts = read_conflicts(body(&reply).as_bytes()).expect("a fault");
    assert_eq!((conflicts[0].version, conflicts[0].current), (13, 16));
    let [only] = notices.as_slice() else { panic!("{notices:?}") };
    assert_eq!(&*only.epid, "0f12ab34cd", "the one out of step");
    assert!(matches!(read_document(only.body.as_bytes()), Ok(ContactDocument::List(list)) if list.delta_num == 16));
}

#[test]
fn changes_of_one_endpoint_do_not_conflict_with_each_other() {
    let house = House::new();
    let (desk, home) = (alice(), endpoint("alice", "2222"));
    subscribe(&house, &desk, CONTACTS, "");
    subscribe(&house, &home, CONTACTS, "");
    let add = |name: &str, delta: u32| format!("<addGroup><name>{name}</name><deltaNum>{delta}</deltaNum></addGroup>");
    let rename = |name: &str, delta: u32| {
        format!("<modifyGroup><groupID>2</groupID><name>{name}</name><deltaNum>{delta}</deltaNum></modifyGroup>")
    };
    let table = [
        (&desk, add("A", 12), 200, "the current version"),
        (&desk, add("B", 13), 200, "counted on"),
        (&desk, add("C", 13), 200, "set back by what it was told of the first"),
        (&desk, add("D", 12), 200, "set back as far as anybody's list goes"),
        (&desk, add("E", 11), 409, "older than what it was told at first"),
        (&desk, add("E", 17), 409, "a version there is not"),
        (&home, add("F", 15), 409, "the other one changed something since"),
        (&home, rename("G", 16), 200, "it has followed"),
        (&desk, rename("H", 16), 409, "now home changed something"),
        (&desk, rename("H", 17), 200, ""),
        (&home, rename("H", 18), 200, "said again, as pidgin-sipe does: it changes nothing"),
        (&desk, add("I", 18), 200, "and so it is in nobody's way"),
        (&home, add("J", 19), 409, "which the other one's was"),
    ];
    for (who, primitive, code, why) in table {
        let (reply, notices) = soap(&house, who, &primitive);
        assert_eq!(reply.code, code, "{primitive}: {why}");
        assert_eq!(notices.len(), if code == 200 { 2 } else { 1 }, "{primitive}");
    }
    let elsewhere = ContactChange { delta_num: None, edit: Edit::DeleteGroup(2) };
    house.memory.change_contacts(&desk.aor, elsewhere).now_or_never().expect("at once").expect("a group");
    assert_eq!(soap(&house, &desk, &add("K", 20)).0.code, 409, "changed elsewhere, and not told yet");
    assert_eq!(soap(&house, &desk, &add("K", 21)).0.code, 200);
}

#[test]
fn what_contact_changes_are_refused_with() {
    let house = House::new();
    let cases = [
        ("<setContact><URI>sip:x@y.z</URI><groups>9</groups><deltaNum>12</deltaNum></setContact>", 400),
        ("<setContact><URI>nobody</URI><groups>1</groups><deltaNum>12</deltaNum></setContact>", 400),
        ("<setContact><URI>sip:x@y.z</URI><groups>one</groups><deltaNum>12</deltaNum></setContact>", 400),
        ("<deleteGroup><groupID/><deltaNum>12</deltaNum></deleteGroup>", 400),
        ("<deleteGroup><groupID>2</groupID></deleteGroup>", 400),
        ("", 400),
        ("<directorySearch><filter>bob</filter></directorySearch>", 501),
    ];
    for (primitive, code) in cases {
        assert_eq!(soap(&house, &alice(), primitive).0.code, code, "{primitive}");
    }
    let long = format!("<addGroup><name>{}</name><deltaNum>12</deltaNum></addGroup>", "x".repeat(300));
    assert_eq!(soap(&house, &alice(), &long).0.code, 413);
    let (reply, _) = service(&house, &alice(), "application/SOAP+xml", "<nonsense>");
    assert_eq!((reply.code, reply.diagnostics.map(|d| d.id)), (400, Some(4001)));
}

#[test]
fn rows_9_to_12_and_16_what_is_not_offered_is_refused_in_words() {
    let house = House::new();
    let gruu = "sip:alice@contoso.test;gruu;opaque=app:conf:focusfactory";
    let mras = "sip:edge.contoso.test@contoso.test;gruu;opaque=srvr:MRAS:ID";
    let cases = [
        (
            "SERVICE",
            "sip:contoso.test",
            "Content-Type: application/SOAP+xml",
            "<Envelope><Body><directorySearch/></Body></Envelope>",
            501,
        ),
        ("SERVICE", gruu, "Content-Type: application/cccp+xml", "<request/>", 501),
        ("SERVICE", mras, "Content-Type: application/msrtc-media-relay-auth+xml", "<request/>", 404),
        ("NOTIFY", "sip:bob@contoso.test", "", "", 481),
        ("PUBLISH", ALICE, "", "", 501),
        ("OPTIONS", ALICE, "", "", 200),
        ("SUBSCRIBE", ALICE, "Event: presence.wpending", "", 489),
        ("SUBSCRIBE", ALICE, "Event: vnd-microsoft-provisioning", "", 489),
        ("SUBSCRIBE", ALICE, "", "", 489),
        ("SUBSCRIBE", "sip:bob@contoso.test", CONTACTS, "", 403),
        ("SERVICE", "sip:bob@contoso.test", "Content-Type: application/msrtc-category-publish+xml", "<x/>", 403),
    ];
    for (method, uri, head, body, code) in cases {
        let (reply, notices) = house.send(&alice(), method, uri, head, body);
        assert_eq!(reply.code, code, "{method} {uri} {head}");
        assert!(notices.is_empty());
        if code == 489 {
            assert!(header(&reply, "Allow-Events").is_some_and(|events| !events.contains(' ')));
        }
    }
    let ack = "ACK sip:a@contoso.test SIP/2.0\r\nFrom: <sip:alice@contoso.test>;tag=1\r\nTo: <sip:a@contoso.test>\r\n\
        Call-ID: 1\r\nCSeq: 1 ACK\r\n\r\n";
    assert!(house.put(&alice(), ack.as_bytes(), "t").0.is_none());
    let forged = ack.replace("ACK", "OPTIONS").replace("alice", "bob");
    assert_eq!(house.put(&alice(), forged.as_bytes(), "t").0.map(|r| r.code), Some(403));
}

#[test]
fn rows_13_and_14_refresh_and_end() {
    let house = House::new();
    let head = with(CONTACTS);
    let refresh = |head: &str| house.send_in(&alice(), "c1", Some("tc1"), "SUBSCRIBE", ALICE, head, "");
    assert_eq!(refresh(&head).0.code, 481, "no such dialog yet");
    house.send_in(&alice(), "c1", None, "SUBSCRIBE", ALICE, &head, "");
    let (reply, _) = refresh(&head);
    assert_piggybacked(&reply, "vnd-microsoft-roaming-contacts", "application/vnd-microsoft-roaming-contacts+xml");
    let (reply, notices) = refresh(&format!("{head}\nExpires: 0"));
    assert_eq!((reply.code, header(&reply, "Expires")), (200, Some("0")));
    assert_eq!(header(&reply, "subscription-state"), Some("terminated;expires=0"));
    assert!(notices.is_empty() && reply.body.is_none());
    assert_eq!(refresh(&head).0.code, 481);
}

#[test]
fn inside_a_dialog_a_batch_adds_and_a_refresh_tells_all() {
    let house = House::new();
    let send = |tag: Option<&str>, users: &[&str]| {
        house.send_in(&alice(), "p", tag, "SUBSCRIBE", ALICE, &with(PRESENCE), &batch(users)).0
    };
    let users = |reply: &Reply| {
        let (content_type, body) = reply.body.as_ref().expect("a body");
        read_presence(content_type, body).expect("presence").users.len()
    };
    assert_eq!(users(&send(None, &["sip:bob@contoso.test"])), 1);
    assert_eq!(users(&send(Some("tp"), &["sip:carol@contoso.test"])), 1, "only those named");
    let bare = with("Event: presence");
    let (reply, _) = house.send_in(&alice(), "p", Some("tp"), "SUBSCRIBE", ALICE, &bare, "");
    assert_eq!(users(&reply), 2);
    let publish_as = |user: &str| {
        let who = endpoint(user, "77");
        let owner = format!("{user}@contoso.test");
        publish(&house, &who, &publication(&owner, "state", 0x2000_0000, 2, 0, &state("userState", 6_500))).1.len()
    };
    assert_eq!((publish_as("bob"), publish_as("carol")), (1, 1));
    let gone = batch(&["sip:bob@contoso.test"]).replace("'subscribe'", "'unsubscribe'");
    house.send_in(&alice(), "p", Some("tp"), "SUBSCRIBE", ALICE, &with(PRESENCE), &gone);
    assert_eq!(house.gone(&endpoint("bob", "77")).len(), 0, "nobody watches bob any more");
    assert_eq!(house.gone(&endpoint("carol", "77")).len(), 1);
}

#[test]
fn a_single_contact_is_answered_with_categories() {
    let house = House::new();
    let bob = "sip:bob@contoso.test";
    let head = with(PRESENCE).replace("Require: adhoclist, categoryList\n", "");
    let (reply, _) = house.send(&alice(), "SUBSCRIBE", bob, &head, &batch(&[bob]));
    assert_piggybacked(&reply, "presence", "application/msrtc-event-categories+xml");
    let (reply, _) = house.send(&alice(), "SUBSCRIBE", bob, &head, &batch(&["sip:carol@contoso.test"]));
    assert_eq!(reply.code, 400);
    let nobody = "sip:nobody@contoso.test";
    assert_eq!(house.send(&alice(), "SUBSCRIBE", nobody, &head, &batch(&[nobody])).0.code, 404);
    let elsewhere = "sip:eve@fabrikam.test";
    let (reply, _) = house.send(&alice(), "SUBSCRIBE", elsewhere, &head, &batch(&[elsewhere]));
    assert_eq!((reply.code, reply.diagnostics.map(|d| d.id)), (404, Some(1005)), "no federation");
    let pidf = "Event: presence\nAccept: application/pidf+xml";
    assert_eq!(house.send(&alice(), "SUBSCRIBE", bob, pidf, "").0.code, 406);
}

#[test]
fn a_poll_leaves_nothing_behind() {
    let house = House::new();
    let head = format!("{PRESENCE}\nExpires: 0\nSupported: ms-piggyback-first-notify");
    let (reply, _) = house.send(&alice(), "SUBSCRIBE", ALICE, &head, &batch(&["sip:bob@contoso.test"]));
    assert_eq!(header(&reply, "subscription-state"), Some("terminated;expires=0"));
    assert!(reply.body.is_some());
    let chosen = publication("bob@contoso.test", "state", 0x2000_0000, 2, 0, &state("userState", 6_500));
    assert!(publish(&house, &bob(), &chosen).1.is_empty());
}

#[test]
fn without_piggyback_the_document_follows() {
    let house = House::new();
    let (reply, notices) = house.send(&alice(), "SUBSCRIBE", ALICE, CONTACTS, "");
    assert_eq!((reply.code, reply.body.is_none(), header(&reply, "ms-piggyback-cseq")), (200, true, None));
    let [first] = notices.as_slice() else { panic!("{notices:?}") };
    assert_eq!(first.method, "NOTIFY");
    assert!(first.headers.contains(&("CSeq", "1 NOTIFY".to_owned())));
    assert!(first.body.starts_with("<contactList"));
    let groups = "<provisioningGroupList><provisioningGroup name='ucPolicy'/></provisioningGroupList>";
    let (_, notices) = house.send(&alice(), "SUBSCRIBE", ALICE, SETTINGS, groups);
    assert!(notices[0].headers.contains(&("subscription-state", "terminated;expires=0".to_owned())));
}

#[test]
fn time_ends_subscriptions_and_publications() {
    let house = House::new();
    let plain = "Supported: ms-benotify\nSupported: ms-piggyback-first-notify\nExpires: 600";
    house.send(&alice(), "SUBSCRIBE", ALICE, &format!("{PRESENCE}\n{plain}"), &batch(&["sip:bob@contoso.test"]));
    let busy = publication("bob@contoso.test", "state", 0x2400_0000, 2, 0, &state("userState", 6_500))
        .replace("expireType='endpoint'", "expireType='time' expires='60'");
    publish(&house, &bob(), &busy);
    assert!(house.sweep().is_empty());
    house.pass(61);
    let notices = house.sweep();
    let seen = super::super::presence::message::read_categories(notices[0].body.as_bytes()).expect("categories");
    assert_eq!(seen.availability(), Some(18_500), "nothing is published any more");
    house.pass(600);
    house.sweep();
    assert!(house.server.live.lock().dialogs.is_empty());
}

#[test]
fn the_location_profile_row_by_row() {
    let house = House::new();
    let base = ";gruu;opaque=app:locationprofile:get";
    let cases = [
        (format!("sip:alice@contoso.test{base};default"), 200, "Seattle.contoso.test"),
        (format!("sip:alice@contoso.test{base};phone-context=Seattle.contoso.test"), 200, "Seattle.contoso.test"),
        (format!("sip:bob@contoso.test{base};default"), 200, "Global"),
        (format!("sip:carol@contoso.test{base};default"), 404, ""),
        (format!("sip:alice@contoso.test{base};phone-context=Nowhere"), 404, ""),
        (format!("sip:alice@contoso.test{base}"), 485, ""),
        (format!("sip:nobody@contoso.test{base};default"), 404, ""),
    ];
    for (uri, code, name) in cases {
        let (reply, _) = house.send(&alice(), "SERVICE", &uri, "", "");
        assert_eq!(reply.code, code, "{uri}");
        if code == 200 {
            let plan = super::super::settings::location_profile::read(body(&reply).as_bytes()).expect("a profile");
            assert_eq!(plan.name, name, "{uri}");
        }
    }
}

#[test]
fn limits_hold() {
    let house = House::with(Limits { subscriptions: 2, watched: 3, ..Limits::default() });
    let users: Vec<String> = (0..4).map(|n| format!("sip:u{n}@contoso.test")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    assert_eq!(subscribe(&house, &alice(), PRESENCE, &batch(&users)).0.code, 413);
    let (reply, _) = house.send_in(&alice(), "p", None, "SUBSCRIBE", ALICE, &with(PRESENCE), &batch(&users[..3]));
    assert_eq!(reply.code, 200);
    let more = house.send_in(&alice(), "p", Some("tp"), "SUBSCRIBE", ALICE, &with(PRESENCE), &batch(&users[3..]));
    assert_eq!(more.0.code, 413, "added one by one they are still too many");
    assert_eq!(subscribe(&house, &alice(), CONTACTS, "").0.code, 200);
    let (reply, _) = subscribe(&house, &alice(), PRESENCE, &batch(&users[..1]));
    assert_eq!((reply.code, header(&reply, "Retry-After").is_some()), (503, true));
    let long = publication("bob@contoso.test", "note", 0, 200, 0, &format!("<n>{}</n>", "x".repeat(40_000)));
    assert_eq!(publish(&house, &bob(), &long).0.code, 413);
}

#[test]
fn nothing_is_left_of_a_subscription_that_is_refused() {
    let house = House::with(Limits { watched_in_all: 2, ..Limits::default() });
    let three = batch(&["sip:bob@contoso.test", "sip:carol@contoso.test", "sip:dave@contoso.test"]);
    assert_eq!(subscribe(&house, &alice(), PRESENCE, &three).0.code, 413);
    assert!(house.server.live.lock().dialogs.is_empty());
}

#[test]
fn a_wrong_accept_or_content_type_is_named() {
    let house = House::new();
    let cases = [
        (CONTACTS.replace("roaming-contacts+xml", "other+xml"), 406),
        (OWN.replace("Accept: application/vnd-microsoft-roaming-self+xml", "Accept: text/plain"), 406),
        (OWN.replace("Content-Type: application/vnd-microsoft-roaming-self+xml", "Content-Type: text/plain"), 415),
        (SETTINGS.replace("Accept: application/vnd-microsoft-roaming-provisioning-v2+xml", ""), 406),
        (PRESENCE.replace("multipart/related, ", ""), 406),
    ];
    for (head, code) in cases {
        let body = if head.contains("Event: presence") { batch(&["sip:bob@contoso.test"]) } else { ALL_OWN.to_owned() };
        assert_eq!(subscribe(&house, &alice(), &head, &body).0.code, code, "{head}");
    }
}

#[test]
fn what_endpoints_publish_is_aggregated_for_each_audience() {
    let house = House::new();
    subscribe(&house, &alice(), PRESENCE, &batch(&["sip:bob@contoso.test"]).replace("note", "services"));
    let device = "<device xmlns='http://schemas.microsoft.com/2006/09/sip/device' endpointId='desk'>\
        <capabilities preferred='true'><text capture='true' render='true'/></capabilities></device>";
    let (reply, notices) = publish(&house, &bob(), &publication("bob@contoso.test", "device", 77, 2, 0, device));
    assert_eq!(reply.code, 200);
    let services = "<text render=\"true\" capture=\"true\" deviceAvailability=\"3500\" preferredEndpointId=\"desk\"/>";
    assert!(notices[0].body.contains(services), "{}", notices[0].body);
    let machine = state("machineState", 5_000)
        .replace("</state>", "<endpointLocation>Office</endpointLocation><device>computer</device></state>");
    let (reply, notices) =
        publish(&house, &bob(), &publication("bob@contoso.test", "state", 0x3000_0000, 2, 0, &machine));
    let own = body(&reply);
    assert!(own.contains("instance=\"268435456\"") && own.contains("endpointId=\"desk\""), "{own}");
    let idle = "lastActive=\"2023-11-14T22:13:20.000\"><availability>5000</availability>\
        <endpointLocation>Office</endpointLocation><delimiter";
    let seen = &notices[0].body;
    assert!(seen.contains(idle) && seen.contains("<device>computer</device><end"), "{seen}");
    assert!(seen.contains("deviceAvailability=\"5000\""), "{seen}");
    let outside = own.split("<category ").find(|c| c.contains("container=\"100\" ") && c.starts_with("name=\"state"));
    let outside = outside.expect("an aggregate for those outside");
    assert!(outside.contains("xsi:type=\"aggregateState\"><availability>5000</availability></state>"), "{outside}");

    house.pass(900);
    let away = machine.replace("5000", "15500");
    let (_, notices) = publish(&house, &bob(), &publication("bob@contoso.test", "state", 0x3000_0000, 2, 1, &away));
    let seen = &notices[0].body;
    assert!(seen.contains("lastActive=\"2023-11-14T22:13:20.000\"><availability>15500</availability><delim"), "{seen}");
    let notices = house.gone(&bob());
    let text: String = notices.iter().map(|notice| &*notice.body).collect();
    assert!(text.contains("<category name=\"services\"/>") && text.contains("18500"), "{text}");
}

#[test]
fn a_time_without_its_length_is_refused() {
    let house = House::new();
    let note = publication("bob@contoso.test", "note", 0, 200, 0, "<n/>").replace("'endpoint'", "'time'");
    assert_eq!(publish(&house, &bob(), &note).0.code, 400);
    assert_eq!(publish(&house, &bob(), &note.replace("'time'", "'time' expires='9'")).0.code, 200);
}

#[test]
fn who_is_blocked_can_be_asked() {
    let house = House::new();
    let blocked = |who: &Caller| {
        let asked = house.server.is_blocked(&bob().aor, &who.aor).now_or_never();
        asked.expect("at once").expect("an answer")
    };
    assert!(!blocked(&alice()));
    let block = "<setContainerMembers><container id='32000' version='0'><member action='add' type='user' \
        value='alice@contoso.test'/></container></setContainerMembers>";
    assert_eq!(service(&house, &bob(), "application/msrtc-setcontainermembers+xml", block).0.code, 200);
    assert!(blocked(&alice()));
    house.gone(&bob());
    assert!(blocked(&alice()), "also while nobody is there");
    assert!(house.server.live.lock().presentities.is_empty());
}
