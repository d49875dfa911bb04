//! The LDAP messages a sign-in server needs: bind, StartTLS, search, and what comes back. RFC 4511 §4.
//!
//! Left out: everything that changes the directory, SASL, controls, paging: a search here is for one user.

use super::ber::{self, Head, Malformed, Reader};
use super::filter::Filter;

/// Object identifier of StartTLS, RFC 4511 §4.14.1.
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";

/// How much of the tree below the base is searched. RFC 4511 §4.5.1.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Only the base itself.
    Base,
    /// The base and all below it.
    Subtree,
}

/// A search. RFC 4511 §4.5.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// Distinguished name of where to begin.
    pub base: String,
    /// How far to look.
    pub scope: Scope,
    /// What to look for.
    pub filter: Filter,
    /// Which attributes to bring.
    pub attributes: Vec<String>,
    /// Most entries the server shall send.
    pub size_limit: u16,
    /// Seconds after which the server shall give up.
    pub seconds: u16,
}

/// What is asked of a server. Bytes may hold a password and are wiped by whoever sends them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Request<'a> {
    /// Simple bind. RFC 4511 §4.2.
    Bind { name: &'a str, password: &'a str },
    /// RFC 4511 §4.14.
    StartTls,
    /// RFC 4511 §4.5.
    Search(&'a Search),
}

impl Request<'_> {
    /// The message, ready to be sent.
    pub(crate) fn encode(&self, id: i32) -> Vec<u8> {
        let mut out = Vec::new();
        ber::put(&mut out, ber::SEQUENCE, |out| {
            ber::put_number(out, ber::INTEGER, id);
            self.put(out);
        });
        out
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Request::Bind { name, password } => ber::put(out, ber::application_constructed(0), |out| {
                ber::put_number(out, ber::INTEGER, 3);
                ber::put_bytes(out, ber::OCTET_STRING, name.as_bytes());
                ber::put_bytes(out, ber::context(0), password.as_bytes());
            }),
            Request::StartTls => ber::put(out, ber::application_constructed(23), |out| {
                ber::put_bytes(out, ber::context(0), START_TLS);
            }),
            Request::Search(search) => ber::put(out, ber::application_constructed(3), |out| put_search(out, search)),
        }
    }
}

fn put_search(out: &mut Vec<u8>, search: &Search) {
    ber::put_bytes(out, ber::OCTET_STRING, search.base.as_bytes());
    let scope = match search.scope {
        Scope::Base => 0,
        Scope::Subtree => 2,
    };
    ber::put_number(out, ber::ENUMERATED, scope);
    ber::put_number(out, ber::ENUMERATED, 0); // aliases are not followed
    ber::put_number(out, ber::INTEGER, i32::from(search.size_limit));
    ber::put_number(out, ber::INTEGER, i32::from(search.seconds));
    ber::put_boolean(out, ber::BOOLEAN, false); // values too, not only names
    search.filter.put(out);
    ber::put(out, ber::SEQUENCE, |out| {
        for attribute in &search.attributes {
            ber::put_bytes(out, ber::OCTET_STRING, attribute.as_bytes());
        }
    });
}

/// Result codes of RFC 4511 Appendix A that are told apart here.
pub(crate) mod code {
    pub(crate) const SUCCESS: i32 = 0;
    pub(crate) const SIZE_LIMIT_EXCEEDED: i32 = 4;
    pub(crate) const STRONGER_AUTH_REQUIRED: i32 = 8;
    pub(crate) const NO_SUCH_OBJECT: i32 = 32;
    pub(crate) const INVALID_CREDENTIALS: i32 = 49;
    pub(crate) const BUSY: i32 = 51;
    pub(crate) const UNAVAILABLE: i32 = 52;
}

/// How a server ended what was asked. RFC 4511 §4.1.9.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// 0 for success.
    pub code: i32,
    /// The server's words, meant for administrators.
    pub diagnostic: String,
}

/// One entry found, with the attributes asked for. RFC 4511 §4.5.2.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// Distinguished name.
    pub dn: String,
    /// Names as the server spells them, and their values.
    pub attributes: Vec<(String, Vec<Vec<u8>>)>,
}

impl Entry {
    /// Values of an attribute that are text. Names have no case; a server may append options to them (`;range=0-1499`).
    pub fn texts<'a>(&'a self, attribute: &'a str) -> impl Iterator<Item = &'a str> {
        let named = move |name: &str| name.split(';').next().is_some_and(|name| name.eq_ignore_ascii_case(attribute));
        let values = self.attributes.iter().filter(move |(name, _)| named(name)).flat_map(|(_, values)| values);
        values.filter_map(|value| std::str::from_utf8(value).ok())
    }

    /// The first value that is text and not empty.
    pub fn text<'a>(&'a self, attribute: &'a str) -> Option<&'a str> {
        self.texts(attribute).map(str::trim).find(|text| !text.is_empty())
    }
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To a bind.
    Bound(Outcome),
    /// To an extended request such as StartTLS; or, with message id 0, that the server hangs up. RFC 4511 §4.4.1.
    Extended(Outcome),
    /// An entry found.
    Entry(Entry),
    /// That further servers know more; they are not asked.
    Reference,
    /// The end of a search.
    Done(Outcome),
}

/// A message from a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The number of the request it answers.
    pub id: i32,
    /// What it says.
    pub answer: Answer,
}

impl Message {
    /// How many bytes the message has that `bytes` begins with; `None` when that cannot be told yet.
    pub fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let Some(head) = Head::read(bytes)? else { return Ok(None) };
        if head.tag != ber::SEQUENCE {
            return Err(Malformed("a message is a SEQUENCE"));
        }
        Ok(Some(head.size + head.length))
    }

    /// Reads one whole message. Controls, and what Active Directory appends when it hangs up, are passed over.
    pub fn read(bytes: &[u8]) -> Result<Message, Malformed> {
        let mut message = Reader::new(bytes).enter(ber::SEQUENCE, "a message is a SEQUENCE")?;
        let id = message.number(ber::INTEGER, "a message begins with its number")?;
        let (tag, content) = message.element()?;
        let mut content = Reader::new(content);
        const ENTRY: u8 = ber::application_constructed(4);
        const DONE: u8 = ber::application_constructed(5);
        const REFERENCE: u8 = ber::application_constructed(19);
        const BOUND: u8 = ber::application_constructed(1);
        const EXTENDED: u8 = ber::application_constructed(24);
        let answer = match tag {
            ENTRY => Answer::Entry(read_entry(&mut content)?),
            DONE => Answer::Done(read_outcome(&mut content)?),
            REFERENCE => Answer::Reference,
            BOUND => Answer::Bound(read_outcome(&mut content)?),
            EXTENDED => Answer::Extended(read_outcome(&mut content)?),
            _ => return Err(Malformed("an answer to nothing that was asked")),
        };
        Ok(Message { id, answer })
    }
}

fn read_outcome(reader: &mut Reader<'_>) -> Result<Outcome, Malformed> {
    let code = reader.number(ber::ENUMERATED, "a result begins with its code")?;
    reader.expect(ber::OCTET_STRING, "a result has a name")?;
    let diagnostic = reader.text(ber::OCTET_STRING, "a result has a text")?;
    Ok(Outcome { code, diagnostic })
}

fn read_entry(reader: &mut Reader<'_>) -> Result<Entry, Malformed> {
    let dn = reader.text(ber::OCTET_STRING, "an entry has a name")?;
    let mut attributes = Vec::new();
    let mut list = reader.enter(ber::SEQUENCE, "an entry has attributes")?;
    while !list.is_empty() {
        let mut attribute = list.enter(ber::SEQUENCE, "an attribute is a SEQUENCE")?;
        let name = attribute.text(ber::OCTET_STRING, "an attribute has a name")?;
        let mut values = Vec::new();
        let mut set = attribute.enter(ber::SET, "an attribute has values")?;
        while !set.is_empty() {
            values.push(set.expect(ber::OCTET_STRING, "a value is a string of bytes")?.to_vec());
        }
        attributes.push((name, values));
    }
    Ok(Entry { dn, attributes })
}

#[cfg(test)]
mod tests;
