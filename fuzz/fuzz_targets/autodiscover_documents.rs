//! Any bytes as an Autodiscover document: read without harm, and what was understood survives every form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use signin::discover::document::{Document, Form};

fuzz_target!(|bytes: &[u8]| {
    let Ok(document) = Document::read(bytes) else { return };
    for form in [Form::Xml, Form::Json] {
        Document::read(document.write(form).as_bytes()).expect("what was written can be read");
    }
    let _ = document.write(Form::Hal);
});
