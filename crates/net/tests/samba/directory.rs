//! Users by LDAP.

use crate::block_on;
use crate::domain_controller::{DomainController, HOST, PASSWORD, domain_controller};
use net::active_directory::ldap::{Controller, DomainNames, LdapSettings, Limits, Schema, Security, SipEnabled};
use net::active_directory::{LayeredDirectory, LdapDirectory, Secret};
use net::server::SystemSurroundings;
use signin::directory::{Directory, DirectoryError, User};
use signin::name::{AccountName, Aor};
use signin::provision::contacts::{ContactChange, Edit};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Settings, Store, Users};

pub(crate) fn settings(dc: &DomainController) -> LdapSettings {
    let password = dc.folder().join("reader.password");
    std::fs::write(&password, format!("{PASSWORD}\n")).expect("it can be written");
    let domain = DomainNames::of("contoso.test");
    LdapSettings {
        controllers: vec![at(dc.ldaps(), Security::Ldaps)],
        ca_file: Some(dc.ca_file()),
        account: "reader@contoso.test".to_owned(),
        password: Secret::in_file(password),
        base: domain.base(),
        domain,
        schema: Schema {
            pools: [("1:2".to_owned(), "pool2.contoso.test".to_owned())].into(),
            ..Schema::skype_for_business()
        },
        backup_pools: [("pool1.contoso.test".to_owned(), "pool2.contoso.test".to_owned())].into(),
        limits: Limits { retry_first: Duration::from_millis(100), remember: Duration::ZERO, ..Limits::default() },
    }
}

fn at(address: SocketAddr, security: Security) -> Controller {
    Controller { host: HOST.to_owned(), port: address.port(), address: Some(address), security }
}

pub(crate) fn open(settings: LdapSettings) -> LdapDirectory {
    LdapDirectory::new(settings, Arc::new(SystemSurroundings::new())).expect("the settings are good")
}

fn aor(text: &str) -> Aor {
    text.parse().expect("an address")
}

async fn user(directory: &LdapDirectory, address: &str) -> Option<User> {
    directory.user(&aor(address)).await.expect("it answers").map(Arc::unwrap_or_clone)
}

async fn owner(directory: &LdapDirectory, account: &str) -> Option<String> {
    let user = directory.user_of_account(&AccountName::parse(account)).await.expect("it answers");
    user.map(|user| user.aor.to_string())
}

#[test]
#[ignore = "needs Samba; run by make test"]
fn a_user_by_address_with_all_attributes() {
    let dc = domain_controller();
    let expected = User {
        aor: aor("alice@contoso.test"),
        display_name: "Alice Adams".to_owned(),
        mail: Some("alice.adams@contoso.test".to_owned()),
        line: Some("tel:+14255550100;ext=100".to_owned()),
        home_pool: Some("pool1.contoso.test".to_owned()),
        backup_pool: Some("pool2.contoso.test".to_owned()),
        enabled: true,
        sip_enabled: true,
        remote_access: false,
        dial_plan: None,
    };
    block_on(async {
        for security in [Security::Ldaps, Security::StartTls] {
            let address = if security == Security::Ldaps { dc.ldaps() } else { dc.ldap() };
            let directory = open(LdapSettings { controllers: vec![at(address, security)], ..settings(&dc) });
            assert_eq!(user(&directory, "alice@contoso.test").await.as_ref(), Some(&expected), "{security:?}");
        }
    });
}

#[test]
#[ignore = "needs Samba; run by make test"]
fn who_may_sign_in_and_who_may_not() {
    let dc = domain_controller();
    let directory = open(settings(&dc));
    block_on(async {
        let state = async |address| {
            let user = user(&directory, address).await?;
            Some((user.enabled, user.sip_enabled, user.remote_access, user.home_pool))
        };
        let pool2 = Some("pool2.contoso.test".to_owned());
        assert_eq!(state("bob@contoso.test").await, Some((true, true, true, pool2)), "by the settings");
        assert_eq!(state("dave@contoso.test").await, Some((false, true, true, None)), "disabled");
        assert_eq!(state("erin@contoso.test").await, Some((true, false, true, None)), "without SIP");
        assert_eq!(state("nobody@contoso.test").await, None);
        assert_eq!(state("frank@contoso.test").await, None, "no attributes of Skype for Business");
        assert_eq!(
            user(&directory, "bob@contoso.test").await.and_then(|bob| bob.line).as_deref(),
            Some("tel:+14255550101")
        );
        let twins = directory.user(&aor("twin@contoso.test")).await.expect_err("which one?").why;
        assert!(
            twins.contains("user-duplicate-sip") && twins.contains("CN=heidi,") && twins.contains("CN=ivan,"),
            "{twins}"
        );
    });
}

#[test]
#[ignore = "needs Samba; run by make test"]
fn an_account_in_every_spelling() {
    let dc = domain_controller();
    let directory = open(settings(&dc));
    block_on(async {
        for spelling in
            ["CONTOSO\\alice", "contoso.test\\ALICE", "alice@CONTOSO.TEST", "alice.adams@contoso.test", "alice"]
        {
            assert_eq!(owner(&directory, spelling).await.as_deref(), Some("alice@contoso.test"), "{spelling}");
        }
        assert_eq!(owner(&directory, "CONTOSO\\müller ä").await.as_deref(), Some("mueller@contoso.test"));
        for other in
            ["FABRIKAM\\alice", "alice@fabrikam.test", "CONTOSO\\alice.adams", "CONTOSO\\nobody", "CONTOSO\\reader"]
        {
            assert_eq!(owner(&directory, other).await, None, "{other}");
        }
    });
}

#[test]
#[ignore = "needs Samba; run by make test"]
fn what_is_typed_is_never_syntax() {
    let dc = domain_controller();
    let directory = open(settings(&dc));
    block_on(async {
        for hostile in
            ["*", "a*", "alice)(objectClass=*", "*)(|(sAMAccountName=alice", "alice\\2a", "(", "\\", "alice*"]
        {
            let account = AccountName { domain: String::new(), user: hostile.to_owned() };
            assert_eq!(directory.user_of_account(&account).await.map(|user| user.is_none()), Ok(true), "{hostile}");
        }
        for hostile in ["*@contoso.test", "a*@contoso.test", "(alice)@contoso.test"] {
            assert_eq!(user(&directory, hostile).await, None, "{hostile}");
        }
    });
}

#[test]
#[ignore = "needs Samba; run by make test"]
fn a_directory_nobody_extended() {
    let dc = domain_controller();
    let plain =
        |sip_enabled| open(LdapSettings { schema: Schema::plain("pool1.contoso.test", sip_enabled), ..settings(&dc) });
    block_on(async {
        let everyone = plain(SipEnabled::Everyone);
        let frank = user(&everyone, "frank@contoso.test").await.expect("by his proxy address");
        assert!(frank.enabled && frank.sip_enabled && frank.remote_access);
        assert_eq!(frank.home_pool.as_deref(), Some("pool1.contoso.test"));
        assert_eq!(user(&everyone, "frank.f@contoso.test").await, None, "his mail address is another one");
        assert!(user(&everyone, "grace@contoso.test").await.is_some(), "by her mail address");
        assert_eq!(owner(&everyone, "CONTOSO\\frank").await.as_deref(), Some("frank@contoso.test"));

        let members = plain(SipEnabled::Group("CN=Voice,CN=Users,DC=contoso,DC=test".to_owned()));
        let alice = user(&members, "alice.adams@contoso.test").await.expect("by her mail address");
        assert!(alice.sip_enabled, "through a group in the group");
        assert!(!user(&members, "grace@contoso.test").await.expect("she is there").sip_enabled);
    });
}

#[test]
#[ignore = "needs Samba; run by make test"]
fn a_controller_that_was_stopped_and_started() {
    let mut dc = domain_controller();
    let directory = open(settings(&dc));
    block_on(async {
        assert!(user(&directory, "alice@contoso.test").await.is_some());
        dc.stop();
        for _ in 0..3 {
            let begun = Instant::now();
            let error = directory.user(&aor("alice@contoso.test")).await.expect_err("it is down");
            assert!(error.why.contains(HOST), "{error}");
            assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        }
        dc.serve();
        let begun = Instant::now();
        while directory.user(&aor("alice@contoso.test")).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(11), "longer than the longest pause");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}

#[test]
#[ignore = "needs Samba; run by make test"]
fn what_is_wrong_with_the_way_to_the_controller_is_said() {
    let dc = domain_controller();
    let error = |settings: LdapSettings| -> DirectoryError {
        block_on(async { open(settings).user(&aor("alice@contoso.test")).await.expect_err("it cannot work") })
    };
    let good = settings(&dc);

    let wrong = error(LdapSettings { password: Secret::known("wrong"), ..good.clone() });
    assert!(wrong.why.contains("the password of the service account is wrong (LDAP result 49"), "{wrong}");

    let plain = error(LdapSettings { controllers: vec![at(dc.ldap(), Security::Plain)], ..good.clone() });
    assert!(plain.why.contains("the server wants TLS"), "{plain}");

    let not_ldap = at(SocketAddr::from(([127, 0, 0, 1], 88)), Security::Ldaps);
    let kerberos = error(LdapSettings { controllers: vec![not_ldap], ..good.clone() });
    assert!(kerberos.why.contains("TLS failed") || kerberos.why.contains("no answer"), "{kerberos}");

    let renamed = Controller { host: "dc2.contoso.test".to_owned(), ..at(dc.ldaps(), Security::Ldaps) };
    let name = error(LdapSettings { controllers: vec![renamed], ..good.clone() });
    assert!(name.why.contains("TLS failed") && name.why.contains("has to name the host as configured"), "{name}");

    let base = error(LdapSettings { base: "OU=Nowhere,DC=contoso,DC=test".to_owned(), ..good });
    assert!(base.why.contains("is the base right?"), "{base}");
}

#[test]
#[ignore = "needs Samba; run by make test"]
fn contacts_of_its_users_are_kept_by_the_store() {
    let dc = domain_controller();
    let store = Store::in_memory_with(Settings { users: Users::Elsewhere, ..Settings::default() }).expect("a store");
    let directory = LayeredDirectory::new(Arc::new(open(settings(&dc))), Arc::new(store));
    let alice = aor("alice@contoso.test");
    block_on(async {
        let change = ContactChange {
            delta_num: None,
            edit: Edit::AddGroup { name: "Friends".to_owned(), external_uri: String::new() },
        };
        let list = directory.change_contacts(&alice, change).await.expect("she is somebody");
        assert_eq!(list.groups.iter().filter(|group| group.name == "Friends").count(), 1);
        assert_eq!(directory.contacts(&alice).await, Ok(list));
        let user = directory.user(&alice).await.expect("it answers").expect("she is there");
        assert!(user.enabled, "who she is says the domain, not the store");
    });
}
