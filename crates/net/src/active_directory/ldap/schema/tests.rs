//! Entries as Active Directory has them, and what becomes of them.

use super::*;
use proptest::prelude::*;

const NOW: i64 = 1_800_000_000;

fn entry(attributes: &[(&str, &[&str])]) -> Entry {
    let values = |values: &[&str]| values.iter().map(|value| value.as_bytes().to_vec()).collect();
    Entry {
        dn: "CN=Alice,CN=Users,DC=contoso,DC=test".to_owned(),
        attributes: attributes.iter().map(|(name, of)| ((*name).to_owned(), values(of))).collect(),
    }
}

fn described(schema: &Schema, attributes: &[(&str, &[&str])]) -> User {
    schema.describe(&entry(attributes), NOW).expect("it is readable").expect("it has an address").user
}

const ADDRESS: (&str, &[&str]) = ("msRTCSIP-PrimaryUserAddress", &["sip:Alice@Contoso.test"]);
const NORMAL: (&str, &[&str]) = ("userAccountControl", &["512"]);

#[test]
fn an_entry_of_skype_for_business() {
    let attributes: [(&str, &[&str]); 8] = [
        ADDRESS,
        NORMAL,
        ("accountExpires", &["9223372036854775807"]),
        ("MSRTCSIP-USERENABLED", &["TRUE"]),
        ("msRTCSIP-InternetAccessEnabled", &["FALSE"]),
        ("displayName", &["Alice Adams"]),
        ("mail", &["alice.adams@contoso.test"]),
        ("msRTCSIP-Line", &["tel:+14255550100;ext=100"]),
    ];
    let schema = Schema { default_home_pool: Some("pool1.contoso.test".to_owned()), ..Schema::skype_for_business() };
    let expected = User {
        aor: "alice@contoso.test".parse().expect("an address"),
        display_name: "Alice Adams".to_owned(),
        mail: Some("alice.adams@contoso.test".to_owned()),
        line: Some("tel:+14255550100;ext=100".to_owned()),
        home_pool: Some("pool1.contoso.test".to_owned()),
        backup_pool: None,
        enabled: true,
        sip_enabled: true,
        remote_access: false,
        dial_plan: None,
    };
    assert_eq!(described(&schema, &attributes), expected);
}

#[test]
fn a_home_server_is_a_name_or_the_object_of_one() {
    let schema = Schema::skype_for_business();
    let home = |value: &'static str| {
        let entry = entry(&[ADDRESS, NORMAL, ("msRTCSIP-PrimaryHomeServer", &[value])]);
        let described = schema.describe(&entry, NOW).expect("it is readable").expect("it has an address");
        (described.user.home_pool, described.home_server)
    };
    assert_eq!(home("Pool1.contoso.test"), (Some("pool1.contoso.test".to_owned()), None));
    let dn =
        "CN=Lc Services,CN=Microsoft,CN=1:1,CN=Pools,CN=RTC Service,CN=Services,CN=Configuration,DC=contoso,DC=test";
    assert_eq!(home(dn), (None, Some(dn.to_owned())));
    let pool = "CN=1:1,CN=Pools,CN=RTC Service,CN=Services,CN=Configuration,DC=contoso,DC=test";
    assert_eq!(pool_object(dn), Some((pool, "1:1")));
    assert_eq!(pool_object(r"CN=a\,CN=Pools,CN=b,DC=x"), None, "an escaped comma separates nothing");
    assert_eq!(pool_object("CN=Pools,DC=x"), None);
    assert_eq!(pool_object(""), None);
}

#[test]
fn who_is_disabled_or_expired_may_not_log_on() {
    let schema = Schema::skype_for_business();
    let enabled = |flags: &'static str, expires: &'static str| {
        described(&schema, &[ADDRESS, ("userAccountControl", &[flags]), ("accountExpires", &[expires])]).enabled
    };
    // 2026-11-14 and 2027-01-16, on both sides of NOW = 2027-01-15.
    let (past, future) = ("134131000000000000", "134445736000000000");
    assert!(enabled("512", "0") && enabled("66048", "9223372036854775807") && enabled("512", future));
    assert!(!enabled("514", "0") && !enabled("66050", future));
    assert!(!enabled("512", past));
    assert!(enabled("512", "nonsense"), "an attribute that makes no sense is as good as none");
}

#[test]
fn an_account_whose_state_cannot_be_read_is_nobody() {
    let schema = Schema::skype_for_business();
    assert_eq!(schema.describe(&entry(&[ADDRESS]), NOW), Err(Unreadable));
    assert_eq!(schema.describe(&entry(&[ADDRESS, ("userAccountControl", &["many"])]), NOW), Err(Unreadable));
}

#[test]
fn who_is_not_said_to_be_enabled_is_not() {
    let schema = Schema::skype_for_business();
    assert!(!described(&schema, &[ADDRESS, NORMAL]).sip_enabled);
    assert!(!described(&schema, &[ADDRESS, NORMAL, ("msRTCSIP-UserEnabled", &["FALSE"])]).sip_enabled);
    let group = Schema { sip_enabled: SipEnabled::Group("CN=Voice".to_owned()), ..Schema::skype_for_business() };
    assert!(!described(&group, &[ADDRESS, NORMAL]).sip_enabled, "the group is still to be asked");
}

#[test]
fn a_plain_directory() {
    let schema = Schema::plain("pool1.contoso.test", SipEnabled::Everyone);
    let user = described(
        &schema,
        &[
            NORMAL,
            (
                "proxyAddresses",
                &["smtp:a@contoso.test", "sip:z@contoso.test", "SIP:Alice@contoso.test", "sip:b@contoso.test"],
            ),
            ("mail", &["alice.adams@contoso.test"]),
            ("telephoneNumber", &["+1 (425) 555-0100"]),
        ],
    );
    assert_eq!(user.aor.as_str(), "alice@contoso.test", "the one in capitals is the first");
    assert_eq!(user.display_name, "alice@contoso.test", "better than nothing");
    assert_eq!(user.line.as_deref(), Some("tel:+14255550100"));
    assert_eq!(user.home_pool.as_deref(), Some("pool1.contoso.test"));
    assert!(user.sip_enabled && user.remote_access);

    let by_mail =
        described(&schema, &[NORMAL, ("mail", &["Alice.Adams@contoso.test"]), ("telephoneNumber", &["555-0100"])]);
    assert_eq!(by_mail.aor.as_str(), "alice.adams@contoso.test");
    assert_eq!(by_mail.line, None, "an extension cannot be dialled from everywhere");
    assert_eq!(schema.describe(&entry(&[NORMAL, ("mail", &["no address"])]), NOW), Ok(None));
}

#[test]
fn attributes_are_asked_for_once() {
    let mut schema = Schema::plain("pool1.contoso.test", SipEnabled::Everyone);
    schema.display_name = "MAIL".to_owned();
    let attributes = schema.attributes();
    assert_eq!(attributes.iter().filter(|name| name.eq_ignore_ascii_case("mail")).count(), 1);
    assert!(attributes.iter().any(|name| name == "proxyAddresses") && attributes.len() == 7, "{attributes:?}");
}

proptest! {
    #[test]
    fn any_values_are_described_or_not(
        values in proptest::collection::vec((prop::sample::select(vec![
            "proxyAddresses", "mail", "telephoneNumber", "userAccountControl", "accountExpires", "displayName"]),
            prop_oneof![any::<String>(), "sip:[ -~]{0,20}", "-?[0-9]{1,20}"]), 0..8)
    ) {
        let attributes = values.into_iter().map(|(name, value)| (name.to_owned(), vec![value.into_bytes()])).collect();
        let schema = Schema::plain("pool1.contoso.test", SipEnabled::Everyone);
        let _ = schema.describe(&Entry { dn: String::new(), attributes }, NOW);
    }

    #[test]
    fn any_name_has_a_pool_or_none(dn in "[CNPools=,\\\\ :]{0,40}") {
        if let Some((object, _)) = pool_object(&dn) {
            prop_assert!(dn.ends_with(object));
        }
    }
}
