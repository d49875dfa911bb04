//! Who lives in the lab. Names, groups, policies and the dial plan look like those of a real deployment, so that what a
//! client shows means something.

use crate::plan::DOMAIN;
use signin::directory::{DialPlan, NormalizationRule};
use signin::secret::Password;
use store::{Seed, SeedContact, SeedDialPlan, SeedGroup, SeedPolicy, SeedSite, SeedUser};

/// One person.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Person {
    pub(crate) name: &'static str,
    pub(crate) display_name: &'static str,
    pub(crate) password: &'static str,
    pub(crate) home: Option<&'static str>,
    pub(crate) backup: Option<&'static str>,
    pub(crate) enabled: bool,
    pub(crate) sip_enabled: bool,
    pub(crate) remote_access: bool,
    pub(crate) line: Option<&'static str>,
    pub(crate) note: &'static str,
    /// Groups, each with the names of its members.
    pub(crate) groups: &'static [(&'static str, &'static [&'static str])],
}

const ORDINARY: Person = Person {
    name: "",
    display_name: "",
    password: "",
    home: Some("pool1.contoso.test"),
    backup: None,
    enabled: true,
    sip_enabled: true,
    remote_access: true,
    line: None,
    note: "",
    groups: &[],
};

/// Everybody.
pub(crate) const PEOPLE: [Person; 6] = [
    Person {
        name: "alice",
        display_name: "Alice Archer",
        password: "Alice-in-the-lab-1",
        line: Some("tel:+14255550101;ext=101"),
        note: "homed on pool1",
        groups: &[("Team", &["bob", "carol", "frank"]), ("Pilot", &["bob"])],
        ..ORDINARY
    },
    Person {
        name: "bob",
        display_name: "Bob Baker",
        password: "Bob-in-the-lab-2",
        home: Some("pool2.contoso.test"),
        line: Some("tel:+14255550102;ext=102"),
        note: "homed on pool2: the Director redirects",
        groups: &[("Team", &["alice", "frank"])],
        ..ORDINARY
    },
    Person {
        name: "carol",
        display_name: "Carol Carter",
        password: "Carol-in-the-lab-3",
        remote_access: false,
        note: "may not sign in from outside",
        groups: &[("Team", &["alice", "bob"])],
        ..ORDINARY
    },
    Person {
        name: "dave",
        display_name: "Dave Dixon",
        password: "Dave-in-the-lab-4",
        enabled: false,
        note: "account disabled",
        ..ORDINARY
    },
    Person {
        name: "erin",
        display_name: "Erin Evans",
        password: "Erin-in-the-lab-5",
        home: None,
        sip_enabled: false,
        note: "account without SIP",
        ..ORDINARY
    },
    Person {
        name: "frank",
        display_name: "Frank Fisher",
        password: "Frank-in-the-lab-6",
        home: Some("pool2.contoso.test"),
        backup: Some("pool1.contoso.test"),
        line: Some("tel:+14255550106;ext=106"),
        note: "homed on pool2, backup pool1",
        groups: &[("Team", &["alice", "bob", "carol"])],
        ..ORDINARY
    },
];

/// Everybody, with contacts, policies and dial plans, as the store takes it.
pub(crate) fn seed() -> Seed {
    Seed {
        users: PEOPLE.iter().map(user).collect(),
        sites: vec![SeedSite { name: "Redmond".to_owned(), pools: vec!["pool1.contoso.test".to_owned()] }],
        policies: vec![
            policy("ServerConfiguration", &[("organization", "Contoso"), ("qosEnabled", "false")]),
            policy("meetingPolicy", &[("MeetingSize", "250"), ("AllowIPVideo", "true")]),
            policy("ucPolicy", &[("AllowCallForwarding", "true"), ("EnableCallTransfer", "true")]),
            policy("endpointConfiguration", &[("EnableAppearOffline", "true"), ("MaximumNumberOfContacts", "1000")]),
        ],
        dial_plans: vec![SeedDialPlan { plan: dial_plan(), global: true }],
    }
}

fn user(person: &Person) -> SeedUser {
    let address = |name: &str| format!("{name}@{DOMAIN}").parse().expect("the lab's own addresses are addresses");
    let mut contacts: Vec<SeedContact> = Vec::new();
    for (group, names) in person.groups {
        for name in *names {
            let aor = address(name);
            match contacts.iter_mut().find(|contact| contact.address == aor) {
                Some(contact) => contact.groups.push((*group).to_owned()),
                None => contacts.push(SeedContact {
                    address: aor,
                    name: String::new(),
                    groups: vec![(*group).to_owned()],
                    subscribed: true,
                }),
            }
        }
    }
    SeedUser {
        address: address(person.name),
        display_name: person.display_name.to_owned(),
        mail: Some(format!("{}@{DOMAIN}", person.name)),
        line: person.line.map(str::to_owned),
        logins: vec![format!("CONTOSO\\{}", person.name), format!("{}@{DOMAIN}", person.name)],
        password: Some(Password::new(person.password.to_owned())),
        home_pool: person.home.map(str::to_owned),
        backup_pool: person.backup.map(str::to_owned),
        enabled: person.enabled,
        sip_enabled: person.sip_enabled,
        remote_access: person.remote_access,
        dial_plan: None,
        groups: person
            .groups
            .iter()
            .map(|(name, _)| SeedGroup { name: (*name).to_owned(), external_uri: String::new() })
            .collect(),
        contacts,
    }
}

fn policy(group: &str, properties: &[(&str, &str)]) -> SeedPolicy {
    let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    SeedPolicy { site: None, user: None, group: group.to_owned(), properties }
}

fn dial_plan() -> DialPlan {
    let rule = |pattern: &str, translation: &str, internal_extension| NormalizationRule {
        pattern: pattern.to_owned(),
        translation: translation.to_owned(),
        internal_extension,
    };
    DialPlan {
        name: "Redmond.contoso.test".to_owned(),
        rules: vec![
            rule(r"^(1\d{2})$", "+14255550$1;ext=$1", true),
            rule(r"^9?011(\d+)$", "+$1", false),
            rule(r"^9?1?(\d{10})$", "+1$1", false),
            rule(r"^9?(\d{7})$", "+1425$1", false),
        ],
        external_access_prefix: Some("9".to_owned()),
    }
}
