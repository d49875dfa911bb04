//! What is read of `krb5.conf`: the default realm, and the KDCs of a realm. The rest is for the Kerberos libraries.

use signin::tickets::Kdc;
use std::path::PathBuf;

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Krb5Conf {
    /// `default_realm` of `[libdefaults]`.
    pub(crate) default_realm: Option<String>,
    /// `kdc` entries of `[realms]`, with their realm, in order.
    kdcs: Vec<(String, Kdc)>,
}

impl Krb5Conf {
    /// The file `KRB5_CONFIG` names, else `/etc/krb5.conf`; nothing when there is none.
    pub(crate) fn of_this_machine() -> Krb5Conf {
        let path = std::env::var_os("KRB5_CONFIG").map_or_else(|| PathBuf::from("/etc/krb5.conf"), PathBuf::from);
        std::fs::read_to_string(path).map(|text| Krb5Conf::read(&text)).unwrap_or_default()
    }

    /// The KDCs of a realm.
    pub(crate) fn kdcs_of(&self, realm: &str) -> Vec<Kdc> {
        self.kdcs.iter().filter(|(of, _)| of == realm).map(|(_, kdc)| kdc.clone()).collect()
    }

    /// What a text says; what cannot be understood is passed over.
    pub(crate) fn read(text: &str) -> Krb5Conf {
        let mut conf = Krb5Conf::default();
        let (mut section, mut realm) = (String::new(), None);
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                (section, realm) = (name.trim().to_owned(), None);
                continue;
            }
            if line == "}" {
                realm = None;
                continue;
            }
            let Some((key, value)) = line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) else {
                continue;
            };
            match (section.as_str(), &realm) {
                ("libdefaults", None) if key == "default_realm" => conf.default_realm = Some(value.to_owned()),
                ("realms", None) if value.starts_with('{') => realm = Some(key.to_owned()),
                ("realms", Some(realm)) if key == "kdc" => {
                    // `tcp/host:port` says how to ask; only TCP is asked anyway.
                    let value = value.split_once('/').map_or(value, |(_, host)| host);
                    conf.kdcs.extend(value.parse().ok().map(|kdc| (realm.clone(), kdc)));
                }
                _ => {}
            }
        }
        conf
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "(\\[?(libdefaults|realms|x)\\]?|[=\\{\\}#; \t\n]|kdc|tcp/|default_realm|A\\.B|:88|\\PC)*") {
            let conf = Krb5Conf::read(&text);
            let values = text.lines().filter_map(|line| line.split_once('=')).count();
            prop_assert!(conf.kdcs.len() <= values, "no KDC that is not there");
            prop_assert!(conf.kdcs.iter().all(|(_, kdc)| !kdc.host.is_empty()));
        }

        #[test]
        fn what_is_written_is_found(
            realms in proptest::collection::btree_map("[A-Z]{1,8}\\.TEST", proptest::collection::vec(("[a-z]{1,8}", 1_u16..), 0..4), 0..4),
            comment in "#[^\r\n]*", first in 0_usize..4,
        ) {
            let mut text = format!("{comment}\n[libdefaults]\n");
            let default = realms.keys().nth(first).cloned();
            text.extend(default.iter().map(|realm| format!("default_realm={realm}\n{comment}\n")));
            text.push_str(" [realms] \n");
            for (realm, kdcs) in &realms {
                let kdcs: String = kdcs.iter().map(|(host, port)| format!("\tkdc = {host}:{port}\n{comment}\n")).collect();
                text.push_str(&format!("{realm} = {{\n{kdcs}}}\n"));
            }
            let conf = Krb5Conf::read(&text);
            prop_assert_eq!(&conf.default_realm, &default);
            for (realm, kdcs) in &realms {
                let found: Vec<_> = conf.kdcs_of(realm).into_iter().map(|kdc| (kdc.host, kdc.port)).collect();
                prop_assert_eq!(&found, kdcs);
            }
        }
    }

    #[test]
    fn realms_and_kdcs_are_found_among_everything_else() {
        let conf = Krb5Conf::read(
            "# comment\n[libdefaults]\n  default_realm = CONTOSO.TEST\n  dns_lookup_kdc = false\n\n[realms]\n CONTOSO.TEST = {\n  \
             kdc = 127.0.0.1:8888\n  kdc = tcp/dc2.contoso.test\n  admin_server = x\n }\n OTHER.TEST = {\n kdc = dc.other.test\n }\n[domain_realm]\n .contoso.test = CONTOSO.TEST\n",
        );
        assert_eq!(conf.default_realm.as_deref(), Some("CONTOSO.TEST"));
        let hosts: Vec<(String, u16)> = conf.kdcs_of("CONTOSO.TEST").into_iter().map(|k| (k.host, k.port)).collect();
        assert_eq!(hosts, [("127.0.0.1".to_owned(), 8888), ("dc2.contoso.test".to_owned(), 88)]);
        assert_eq!(conf.kdcs_of("NOWHERE"), []);
        assert_eq!(Krb5Conf::read("}\n=\n[\nkdc = x"), Krb5Conf::default());
    }
}
