//! What somebody who is signed in may want, and what they are told.

use crate::converse;
use crate::name::Aor;
use crate::provision::picture::News;
use crate::provision::presence::message::SubscriberEntry;
use crate::report::Verdict;
use std::time::Duration;

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// To be seen as this, as in `[MS-PRES]`, for example 6500; `None`: as the machine says.
    Status(Option<u32>),
    /// To have others read this; empty: nothing.
    Note(String),
    /// To have somebody in the contact list. One who is there already gets the name and the group besides.
    Add {
        /// Who.
        who: Aor,
        /// What to call them; `None`: as they call themselves, or as before.
        name: Option<String>,
        /// The name of a group, which is made when there is none; `None`: as before, or the group everybody has.
        group: Option<String>,
    },
    /// To have somebody out of the contact list.
    Remove(Aor),
    /// To say something to somebody.
    Say {
        /// To whom.
        who: Aor,
        /// What.
        text: String,
    },
    /// To end the conversation with somebody.
    End(Aor),
    /// To sign out.
    Quit,
}

/// Something to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// The endpoint is signed in, and the picture is whole.
    SignedIn {
        /// FQDN of the server that holds the registration.
        home: String,
        /// Mechanism used.
        mechanism: String,
        /// It was before, and lost its connection.
        again: bool,
    },
    /// The connection is lost.
    Lost {
        /// Why, in words.
        why: String,
    },
    /// The endpoint will be signed in again.
    Waiting {
        /// Which attempt that will be, from 1.
        attempt: u32,
        /// How long from now.
        time: Duration,
    },
    /// An attempt to sign in again failed.
    Failed(Verdict),
    /// The picture is different.
    News(News),
    /// Somebody has put the user into a contact list, and the user did not know.
    Wanted(SubscriberEntry),
    /// Something in a conversation.
    Conversation(converse::client::Event),
    /// A wish is fulfilled; a text is on its way.
    Done(Wish),
    /// A wish is not.
    Refused {
        /// Which.
        wish: Wish,
        /// Why, in words.
        why: String,
    },
    /// The user's certificate was renewed before its end.
    Certificate {
        /// Until when the new one is valid, seconds since 1970.
        until: i64,
    },
    /// Something is not as it should be; the endpoint goes on.
    Remark(String),
}

/// Why an endpoint is signed in no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// As it was wished.
    SignedOut,
    /// The server has signed it out.
    ByServer {
        /// `unregistered`, `rejected`, `deactivated`.
        event: String,
        /// Its words.
        why: Option<String>,
    },
    /// It could not be signed in again, and no attempt would help.
    Refused(Verdict),
}
