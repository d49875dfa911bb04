//! Room 5: settings, contacts, presence.

pub mod contacts;
