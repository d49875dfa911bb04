//! Header names, long and compact. RFC 3261 §7.3.3, §20.

macro_rules! names {
    ($($variant:ident $long:literal $($compact:literal)?),+ $(,)?) => {
        /// The headers this crate knows by name; every other one is [`Name::Other`], with its spelling kept.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Name {
            $(
                #[doc = concat!("`", $long, "`")]
                $variant,
            )+
            /// A header this crate has no use for; find it by its spelling.
            Other,
        }

        impl Name {
            /// The usual spelling, or an empty text for [`Name::Other`].
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Name::$variant => $long,)+
                    Name::Other => "",
                }
            }
        }

        /// Every spelling, long and compact.
        pub(crate) const SPELLINGS: &[(&str, Name)] = &[$(($long, Name::$variant), $(($compact, Name::$variant),)?)+];
    };
}

names! {
    Via "Via" "v",
    From "From" "f",
    To "To" "t",
    CallId "Call-ID" "i",
    CSeq "CSeq",
    Contact "Contact" "m",
    MaxForwards "Max-Forwards",
    ContentLength "Content-Length" "l",
    ContentType "Content-Type" "c",
    Supported "Supported" "k",
    Require "Require",
    ProxyRequire "Proxy-Require",
    Expires "Expires",
    Event "Event" "o",
    Authorization "Authorization",
    ProxyAuthorization "Proxy-Authorization",
    WwwAuthenticate "WWW-Authenticate",
    ProxyAuthenticate "Proxy-Authenticate",
    AuthenticationInfo "Authentication-Info",
    ProxyAuthenticationInfo "Proxy-Authentication-Info",
    UserAgent "User-Agent",
    Server "Server",
    Accept "Accept",
    AllowEvents "Allow-Events" "u",
    RecordRoute "Record-Route",
    Route "Route",
    SubscriptionState "Subscription-State",
    PAssertedIdentity "P-Asserted-Identity",
    PPreferredIdentity "P-Preferred-Identity",
    RetryAfter "Retry-After",
    Warning "Warning",
    Date "Date",
    ContentEncoding "Content-Encoding" "e",
    Subject "Subject" "s",
    ReferTo "Refer-To" "r",
}

/// How many names there are besides [`Name::Other`], which is the last one.
pub(crate) const NAMES: usize = Name::Other as usize;

/// [`SPELLINGS`] by [`slot`], collisions in the next free place; made by the compiler. At most one third is filled.
static TABLE: [Option<(&str, Name)>; SLOTS] = {
    let mut table = [None; SLOTS];
    let mut next = 0;
    while next < SPELLINGS.len() {
        let mut at = slot(SPELLINGS[next].0.as_bytes());
        while table[at].is_some() {
            at = (at + 1) % SLOTS;
        }
        table[at] = Some(SPELLINGS[next]);
        next += 1;
    }
    table
};

const SLOTS: usize = 256;

/// Where a spelling belongs in [`TABLE`]: its length and first letter tell nearly all of them apart.
const fn slot(spelling: &[u8]) -> usize {
    match spelling {
        [] => 0,
        [first, ..] => ((*first | 0x20) as usize * 8 + spelling.len()) % SLOTS,
    }
}

impl Name {
    /// Which header this spelling means; case does not matter, compact forms are understood.
    pub fn from_spelling(spelling: &str) -> Name {
        let mut at = slot(spelling.as_bytes());
        while let Some((known, name)) = TABLE[at] {
            if known.eq_ignore_ascii_case(spelling) {
                return name;
            }
            at = (at + 1) % SLOTS;
        }
        Name::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_found() {
        for (spelling, name) in SPELLINGS {
            assert_eq!(Name::from_spelling(spelling), *name);
            assert_eq!(Name::from_spelling(&spelling.to_ascii_uppercase()), *name);
            assert_eq!(Name::from_spelling(&spelling.to_ascii_lowercase()), *name);
            assert_eq!(Name::from_spelling(&format!("{spelling}x")), Name::Other);
        }
        assert_eq!(Name::from_spelling(""), Name::Other);
        assert_eq!(Name::from_spelling("ms-keep-alive"), Name::Other);
        assert_eq!(Name::from_spelling("Fr\u{f6}m"), Name::Other);
    }
}
