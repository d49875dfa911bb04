//! Any bytes as any document of room 5: no reader may panic, and what was cut out of a document must stand alone.

#![no_main]

use libfuzzer_sys::fuzz_target;
use signin::provision::contacts::message as contacts;
use signin::provision::presence::{batch, message as presence};
use signin::provision::settings::{location_profile, message as settings};
use signin::xml::Element;

fuzz_target!(|bytes: &[u8]| {
    let _ = settings::read_request(bytes);
    let _ = settings::read_answer(bytes);
    let _ = location_profile::read(bytes);
    let _ = contacts::read_group_added(bytes);
    let _ = presence::read_categories(bytes);
    let _ = presence::read_own_presence(bytes);
    let _ = presence::read_roaming_list(bytes);
    let _ = presence::read_set_containers(bytes);
    let _ = presence::read_set_subscriber(bytes);
    let _ = presence::read_conflicts(bytes);
    let _ = batch::read_batch(bytes);
    let _ = batch::read_presence("multipart/related; type=\"application/rlmi+xml\"; boundary=b", bytes);
    if let Ok(uri) = std::str::from_utf8(bytes) {
        let _ = location_profile::ProfileUri::from_uri(uri);
        let _ = batch::read_parts(uri, bytes);
    }
    if let Ok(contacts::ContactDocument::List(list)) = contacts::read_document(bytes) {
        let again = contacts::read_document(contacts::write_list(&list).as_bytes());
        assert!(again.is_ok(), "a list that was read can be written and read");
    }
    if let Ok(contacts::SoapRequest::Change(change)) = contacts::read_soap(bytes) {
        let again = contacts::read_soap(contacts::write_soap(&change).as_bytes());
        assert!(again.is_ok(), "a change that was read can be written and read");
    }
    if let Ok((_, operations)) = presence::read_publish(bytes) {
        for value in operations.into_iter().filter_map(|operation| operation.value).filter(|v| !v.is_empty()) {
            assert!(Element::parse(value.as_bytes()).is_ok(), "what is published stands alone: {value}");
        }
    }
});
