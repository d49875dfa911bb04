//! Who lives in the lab. Names, groups, policies and the dial plan look like those of a real deployment, so that what a
//! client shows means something.

use crate::plan::DOMAIN;
use signin::directory::{DialPlan, NormalizationRule};
use signin::name::Aor;
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
    pub(crate) dial_plan: Option<&'static str>,
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
    dial_plan: None,
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
        dial_plan: Some("Munich-Sales.contoso.test"),
        note: "homed on pool2, backup pool1",
        groups: &[("Team", &["alice", "bob", "carol"])],
        ..ORDINARY
    },
];

/// The password that somebody of the lab has at first.
pub(crate) fn first_password(aor: &Aor) -> Option<Password> {
    let person = PEOPLE.iter().find(|person| aor.as_str() == format!("{}@{DOMAIN}", person.name))?;
    Some(Password::new(person.password.to_owned()))
}

/// Everybody, with contacts, policies and dial plans, as the store takes it.
pub(crate) fn seed() -> Seed {
    Seed {
        users: PEOPLE.iter().map(user).collect(),
        sites: vec![
            SeedSite {
                name: "Redmond".to_owned(),
                pools: vec!["pool1.contoso.test".to_owned()],
                dial_plan: Some("Redmond.contoso.test".to_owned()),
            },
            SeedSite { name: "Munich".to_owned(), pools: vec!["pool2.contoso.test".to_owned()], dial_plan: None },
        ],
        policies: policies(),
        dial_plans: vec![
            SeedDialPlan { plan: contoso(), global: true },
            SeedDialPlan { plan: redmond(), global: false },
            SeedDialPlan { plan: munich_sales(), global: false },
        ],
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
        dial_plan: person.dial_plan.map(str::to_owned),
        groups: person
            .groups
            .iter()
            .map(|(name, _)| SeedGroup { name: (*name).to_owned(), external_uri: String::new() })
            .collect(),
        contacts,
    }
}

/// For everyone; what differs on a site; what differs for one user.
fn policies() -> Vec<SeedPolicy> {
    let global = |group, properties: &[_]| policy(None, None, group, properties);
    let site = |site, group, properties: &[_]| policy(Some(site), None, group, properties);
    let user = |name: &str, group, properties: &[_]| {
        let address = format!("{name}@{DOMAIN}");
        policy(None, Some(&address), group, properties)
    };
    vec![
        global("ServerConfiguration", &[("organization", "Contoso"), ("ucPC2PCAVEncryption", "RequireEncryption")]),
        global(
            "meetingPolicy",
            &[("MeetingSize", "250"), ("AllowAnonymousParticipants", "true"), ("AllowPolls", "true")],
        ),
        global("ucPolicy", &[("EnableCallPark", "false"), ("EnableTeamCall", "true")]),
        global(
            "endpointConfiguration",
            &[
                ("MaximumNumberOfContacts", "1000"),
                ("DisableSavingIM", "false"),
                ("CustomLinkInErrorMessages", "https://help.contoso.test/signin"),
            ],
        ),
        site("Redmond", "ucPolicy", &[("EnableCallPark", "true")]),
        site("Redmond", "locationPolicy", &[("EnhancedEmergencyServicesEnabled", "true"), ("LocationRequired", "yes")]),
        site("Munich", "meetingPolicy", &[("AllowRecording", "false"), ("EnableP2PRecording", "false")]),
        site("Munich", "presencePolicyV2", &[("EnablePrivacyMode", "true")]),
        user("carol", "userSetting", &[("disableFileTransfer", "true")]),
        user("carol", "endpointConfiguration", &[("IMWarning", "Conversations with the press are archived.")]),
        user("frank", "meetingPolicy", &[("MeetingSize", "1000"), ("AllowRecording", "true")]),
    ]
}

fn policy(site: Option<&str>, user: Option<&str>, group: &str, properties: &[(&str, &str)]) -> SeedPolicy {
    let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    SeedPolicy { site: site.map(str::to_owned), user: user.map(str::to_owned), group: group.to_owned(), properties }
}

/// Whether a rule is for an extension inside the enterprise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Calls {
    Inside,
    Outside,
}

fn rule(pattern: &str, translation: &str, calls: Calls) -> NormalizationRule {
    NormalizationRule {
        pattern: pattern.to_owned(),
        translation: translation.to_owned(),
        internal_extension: calls == Calls::Inside,
        device_dialing: true,
    }
}

/// The global plan: extensions and international numbers, whatever the country.
fn contoso() -> DialPlan {
    DialPlan {
        name: "contoso.test".to_owned(),
        rules: vec![
            rule(r"^(1\d{2})$", "+14255550$1;ext=$1", Calls::Inside),
            rule(r"^(?:00|011)([1-9]\d{6,14})$", "+$1", Calls::Outside),
        ],
        external_access_prefix: None,
        optimize_device_dialing: false,
    }
}

fn redmond() -> DialPlan {
    DialPlan {
        name: "Redmond.contoso.test".to_owned(),
        rules: vec![
            rule(r"^(1\d{2})$", "+14255550$1;ext=$1", Calls::Inside),
            rule(r"^9?911$", "911", Calls::Outside),
            rule(r"^9?011([1-9]\d{6,14})$", "+$1", Calls::Outside),
            rule(r"^9?1?([2-9]\d{9})$", "+1$1", Calls::Outside),
            rule(r"^9?([2-9]\d{6})$", "+1425$1", Calls::Outside),
        ],
        external_access_prefix: Some("9".to_owned()),
        optimize_device_dialing: false,
    }
}

/// The plan of one user, who dials as in Munich.
fn munich_sales() -> DialPlan {
    DialPlan {
        name: "Munich-Sales.contoso.test".to_owned(),
        rules: vec![
            rule(r"^(1\d{2})$", "+14255550$1;ext=$1", Calls::Inside),
            rule(r"^(?<short>[7-8]\d{2})$", "+498955501${short}", Calls::Inside),
            rule(r"^(112|110)$", "$1", Calls::Outside),
            rule(r"^00([1-9]\d{6,14})$", "+$1", Calls::Outside),
            rule(r"^0([1-9]\d{5,11})$", "+49$1", Calls::Outside),
            rule(r"^([1-9]\d{4,8})$", "+4989$1", Calls::Outside),
        ],
        external_access_prefix: None,
        optimize_device_dialing: false,
    }
}
