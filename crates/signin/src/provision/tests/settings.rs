//! Settings from the table of the server to the understanding of the client, and requests for them that mean harm.

use super::super::settings::catalogue::{self, GROUPS, Kind, Value, WhenEmpty};
use super::super::settings::message::{read_answer, write_request};
use super::super::settings::typed::{MediaPorts, Ports, Settings};
use super::*;

const HEAD: &str = "Event: vnd-microsoft-provisioning-v2
    Accept: application/vnd-microsoft-roaming-provisioning-v2+xml
    Content-Type: application/vnd-microsoft-roaming-provisioning-v2+xml
    Supported: ms-piggyback-first-notify
    Expires: 0";

/// What a client gets that asks for these groups.
fn polled(house: &House, groups: &[&str]) -> BTreeMap<String, Properties> {
    let alice = endpoint("alice", "1");
    let (reply, _) = house.send(&alice, "SUBSCRIBE", "sip:alice@contoso.test", HEAD, &write_request(groups));
    assert_eq!(reply.code, 200);
    read_answer(body(&reply).as_bytes()).expect("settings")
}

fn all_groups() -> Vec<&'static str> {
    GROUPS.iter().map(|group| group.name).collect()
}

/// A value of this kind that is not the default.
fn sample(name: &str, kind: Kind, default: Option<&str>) -> String {
    match kind {
        Kind::Bool => (default != Some("true")).to_string(),
        Kind::Whole(least, most) => {
            if default == Some(most.to_string().as_str()) {
                least.to_string()
            } else {
                most.to_string()
            }
        }
        Kind::Seconds => "77".to_owned(),
        Kind::Minutes => "7".to_owned(),
        Kind::Text => format!("{name} <&> \"é\""),
        Kind::Url => format!("https://pool1.contoso.test:443/{name}?a=1&b=2"),
        Kind::SipUri => format!("sip:pool1.contoso.test@contoso.test;gruu;opaque=srvr:{name}:ID"),
        Kind::OneOf(values) => values.iter().find(|value| Some(**value) != default).expect("two values").to_string(),
        Kind::Word(_) => "Another".to_owned(),
        Kind::Document => format!("<{name} xmlns=\"urn:x\" a=\"1\"><rule>a &lt; b</rule></{name}>"),
    }
}

#[test]
fn the_table_is_sound() {
    for (index, group) in GROUPS.iter().enumerate() {
        assert!(GROUPS[..index].iter().all(|other| !other.name.eq_ignore_ascii_case(group.name)), "{}", group.name);
        for (index, property) in group.properties.iter().enumerate() {
            let twice = |other: &catalogue::Property| other.name.eq_ignore_ascii_case(property.name);
            assert!(!group.properties[..index].iter().any(twice), "{}/{} twice", group.name, property.name);
            assert!(!property.about.is_empty());
            if let Some(default) = property.default {
                let kept = catalogue::check(group.name, property.name, default).expect("a default is a value");
                assert_eq!(kept, default, "{}/{} is written as it is", group.name, property.name);
            }
        }
    }
    let count: usize = GROUPS.iter().map(|group| group.properties.len()).sum();
    assert!(count > 160, "{count} properties");
}

#[test]
fn every_property_of_every_group_goes_from_the_policy_to_the_client() {
    let mut policies: BTreeMap<String, Properties> = BTreeMap::new();
    for group in GROUPS {
        for property in group.properties {
            let value = sample(property.name, property.kind, property.default);
            let kept = catalogue::check(group.name, property.name, &value).expect("a value of its kind");
            assert_ne!(Some(kept.as_str()), property.default, "{}", property.name);
            policies.entry(group.name.to_owned()).or_default().insert(property.name.to_owned(), kept);
        }
        if group.is_open {
            policies.entry(group.name.to_owned()).or_default().insert("Own-Switch.1".to_owned(), "<on>".to_owned());
        }
    }
    let given = polled(&House::with_policies(policies.clone()), &all_groups());
    for group in GROUPS {
        let expected = policies.get(group.name).cloned().unwrap_or_default();
        assert_eq!(given.get(group.name), Some(&expected), "{}", group.name);
    }
    let settings = Settings::of(&given);
    assert_eq!(settings.problems, Vec::<String>::new());
    assert_eq!(settings.organization.as_deref(), Some("organization <&> \"é\""));
    assert_eq!(settings.media.quality_interval, Some(Duration::from_secs(77)));
    let ports = Ports { min: 65_535, max: 65_535 };
    let all = MediaPorts { media: ports, audio: ports, video: ports, application_sharing: ports, file_transfer: ports };
    assert_eq!(settings.media.ports, Some(all));
    assert_eq!(settings.dial_plan.as_deref(), Some("ucUserLocationProfile <&> \"é\""), "the user's before the pool's");
    assert!(settings.servers.persistent_chat.is_some_and(|uri| uri.contains("DefaultPersistentChatPoolUri")));
    assert_eq!(settings.rest["endpointConfiguration"]["Own-Switch.1"], "<on>");
    // Whatever is not a field of its own is kept, and nothing is kept twice.
    let values = |groups: &BTreeMap<String, Properties>| groups.values().map(BTreeMap::len).sum::<usize>();
    assert!(values(&settings.rest) < values(&given));
    assert!(settings.rest.get("ucPolicy").is_some_and(|rest| !rest.contains_key("EnableTeamCall")));
}

#[test]
fn without_policies_the_defaults_hold_and_grammars_are_left_out() {
    let given = polled(&House::new(), &all_groups());
    for group in GROUPS {
        let Some(properties) = given.get(group.name) else {
            assert_eq!(group.when_empty, WhenEmpty::Absent, "{}", group.name);
            continue;
        };
        for property in group.properties.iter().filter(|property| property.default.is_some()) {
            let expected = match property.name {
                "EnableCallPark" => Some("true"), // what every test's directory says
                _ => property.default,
            };
            assert_eq!(properties.get(property.name).map(String::as_str), expected, "{}", property.name);
        }
    }
    assert!(!given.contains_key("publicationGrammar") && given.contains_key("mobilityPolicy"));
    assert_eq!(Settings::of(&given).problems, Vec::<String>::new());
}

#[test]
fn values_that_are_not_what_they_should_be_are_told_and_count_as_not_given() {
    let given = |group: &str, pairs: &[(&str, &str)]| {
        let properties = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::of(&BTreeMap::from([(group.to_owned(), properties)]))
    };
    let settings = given("ucPolicy", &[("AllowCallForwarding", "perhaps"), ("EnableTeamCall", "True"), ("Other", "x")]);
    assert_eq!((settings.calls.forwarding, settings.calls.team), (None, Some(true)));
    assert_eq!(
        settings.problems,
        ["ucPolicy/AllowCallForwarding is \"perhaps\", which is not true or false; it counts as not given"]
    );
    assert_eq!(settings.rest["ucPolicy"]["Other"], "x", "what is not known is kept and no problem");

    let settings = given("ServerConfiguration", &[("ucPortRangeEnabled", "true"), ("ucMinAudioPort", "50020")]);
    assert_eq!(settings.media.ports, None);
    assert!(settings.problems[0].contains("not all ten ports"), "{:?}", settings.problems);
    let settings =
        given("ServerConfiguration", &[("absWebServiceEnabled", "true"), ("consoleDownloadInternalUrl", "")]);
    assert!(settings.problems[0].contains("abs-url-missing"), "{:?}", settings.problems);
    let settings = given("ServerConfiguration", &[("absInternalServerUrl", "https://pool1.contoso.test/abs/handler")]);
    assert!(settings.problems[0].contains("inband-web-url-internal"), "{:?}", settings.problems);
    assert_eq!(given("NobodysGroup", &[("a", "b")]).rest["NobodysGroup"]["a"], "b");
}

#[test]
fn values_are_read_as_peers_write_them() {
    assert_eq!(Kind::Bool.read(" TRUE "), Some(Value::Bool(true)));
    assert_eq!(Kind::Bool.read("0"), Some(Value::Bool(false)));
    assert_eq!(Kind::Minutes.read("10"), Some(Value::Duration(Duration::from_secs(600))));
    assert_eq!(Kind::Whole(1, 5).read("6"), None);
    assert_eq!(Kind::Seconds.read("-1"), None);
    assert_eq!(Kind::Url.read("javascript:alert(1)"), None);
    assert_eq!(Kind::SipUri.read("tel:+1"), None);
    assert_eq!(Kind::OneOf(&["High"]).read("high"), Some(Value::Text("High".to_owned())));
}

#[test]
fn groups_that_are_not_known_are_left_out_however_many_they_are() {
    let house = House::new();
    let unknown: Vec<String> = (0..100).map(|number| format!("group{number}")).collect();
    let mut asked: Vec<&str> = unknown.iter().map(String::as_str).collect();
    asked.push("ucPolicy");
    assert_eq!(polled(&house, &asked).into_keys().collect::<Vec<_>>(), ["ucPolicy"]);
    asked.extend(std::iter::repeat_n("userSetting", 100));
    assert_eq!(polled(&house, &asked).len(), 2);
    let ten_thousand: Vec<String> = (0..10_000).map(|number| format!("g{number}")).collect();
    let began: Vec<&str> = ten_thousand.iter().map(String::as_str).collect();
    assert!(polled(&house, &began).is_empty());
}

#[test]
fn requests_that_mean_harm_are_refused() {
    let house = House::new();
    let alice = endpoint("alice", "1");
    let list = |inner: &str| format!("<provisioningGroupList>{inner}</provisioningGroupList>");
    for (code, body) in [
        (400, "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><provisioningGroupList/>".to_owned()),
        (400, list(&("<a>".repeat(100) + &"</a>".repeat(100)))),
        (413, list(&format!("<provisioningGroup name='{}'/>", "x".repeat(2_000_000)))),
        (413, list(&"<provisioningGroup name='a'/>".repeat(60_000))),
        (400, "<provisionGroupList/>".to_owned()),
        (400, "<provisioningGroupList>".to_owned()),
        (400, "\u{0}".to_owned()),
    ] {
        let (reply, notices) = house.send(&alice, "SUBSCRIBE", "sip:alice@contoso.test", HEAD, &body);
        assert_eq!((reply.code, notices.len()), (code, 0), "{body:.60}");
        assert!(reply.diagnostics.is_some());
    }
    assert_eq!(polled(&house, &["ucPolicy"]).len(), 1, "and the server goes on");
}
