//! Any bytes as a message of the Certificate Provisioning Service, in both directions, with its security header, and as
//! XML to be made canonical: nothing harms, what is read stays the same when it is written, what is canonical stays so.
#![no_main]

use libfuzzer_sys::fuzz_target;
use signin::authenticate::certificate::message::{PublishRequest, PublishResponse, ServiceMetadata};
use signin::web_ticket::security::SecurityHeader;
use signin::web_ticket::signed;
use signin::xml::Element;
use signin::xml::canonical::exclusive;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some(metadata)) = ServiceMetadata::read(bytes)
        && let Ok(Some(again)) = ServiceMetadata::read(metadata.write().as_bytes())
    {
        assert_eq!(again, metadata);
    }
    if let Ok(PublishResponse::Published { certificate, .. }) = PublishResponse::read(bytes) {
        assert!(!certificate.is_empty());
    }
    let Ok(root) = Element::parse(bytes) else { return };
    if let Ok(request) = PublishRequest::read(&root) {
        let written = Element::parse(request.write("").as_bytes()).expect("what we write is XML");
        let again = PublishRequest::read(&written).expect("what we write is a request");
        assert_eq!((again.request, again.request_id), (request.request, request.request_id));
    }
    if let Ok(header) = SecurityHeader::read(bytes, &root) {
        assert!(Element::parse(header.assertion().as_bytes()).is_ok(), "it is cut out whole");
    }
    if let Ok(holder) = signed::check(bytes, &root, 0, true) {
        assert!(holder.remembered_until > 0 && !holder.certificate.is_empty());
    }
    if let Ok(canonical) = exclusive(bytes, root.span.0) {
        assert_eq!(exclusive(&canonical, 0).as_ref(), Ok(&canonical));
    }
});
