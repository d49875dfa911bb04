//! Who lives in the lab. Names, groups, policies and the dial plan look like those of a real deployment, so that what a
//! client shows means something.

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
