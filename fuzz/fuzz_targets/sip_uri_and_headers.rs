//! Any text as each header value we understand, and as every name a sign-in goes by.
#![no_main]

use libfuzzer_sys::fuzz_target;
use signin::name::{AccountName, Aor};
use signin::register::endpoint::{Epid, Gruu, InstanceId};
use sip::{CSeq, NameAddr, Uri, Via};

fuzz_target!(|text: &str| {
    if let Ok(address) = NameAddr::parse(text) {
        let _ = (address.uri(), address.params.iter().count());
    }
    let _ = (CSeq::parse(text), Via::parse(text), sip::header::split_list(text).count());
    if let Ok(uri) = Uri::parse(text) {
        assert!(text.contains(uri.host));
    }
    if let Ok(aor) = text.parse::<Aor>() {
        assert_eq!(aor.to_uri().parse::<Aor>(), Ok(aor.clone()), "an address survives its own spelling");
    }
    if let Some(gruu) = Gruu::from_uri(text) {
        assert_eq!(Gruu::from_uri(&gruu.to_string()), Some(gruu));
    }
    if let Ok(id) = InstanceId::from_parameter(text) {
        assert_eq!(InstanceId::from_parameter(&id.to_parameter()), Ok(id));
    }
    let _ = (text.parse::<Epid>(), AccountName::parse(text));
});
