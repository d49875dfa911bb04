//! The requests about presence that the benchmarks send, as Microsoft's clients write them.

use crate::phone::Phone;
use signin::name::Aor;
use sip::Draft;

/// A publication of the state of the machine, in the two containers clients use: the one of those who may see all, and the
/// one of colleagues. `before` is how many there were before; every one says something else than the one before it.
pub(crate) fn publication(phone: &mut Phone, before: u32) -> Result<Vec<u8>, String> {
    let availability = if before.is_multiple_of(2) { 3_500 } else { 15_500 };
    let publication = |container: u16| {
        format!(
            "<publication categoryName=\"state\" instance=\"805306368\" container=\"{container}\" version=\"{before}\" \
             expireType=\"endpoint\"><state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" manual=\"false\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"machineState\">\
             <availability>{availability}</availability><endpointLocation></endpointLocation></state></publication>"
        )
    };
    let uri = phone.uri();
    let document = format!(
        "<publish xmlns=\"http://schemas.microsoft.com/2006/09/sip/rich-presence\"><publications uri=\"{uri}\">{}{}\
         </publications></publish>",
        publication(2),
        publication(3)
    );
    let mut draft = phone.request("SERVICE", &uri, "publications");
    draft.body("application/msrtc-category-publish+xml", document);
    phone.sign(draft)
}

/// A batch subscription to the presence of these; `once` asks for it and for no changes of it.
pub(crate) fn watching(phone: &mut Phone, whom: &[Aor], once: bool) -> Result<Vec<u8>, String> {
    let uri = phone.uri();
    let resources: String = whom.iter().map(|aor| format!("<resource uri=\"{}\"/>", aor.to_uri())).collect();
    let document = format!(
        "<batchSub xmlns=\"http://schemas.microsoft.com/2006/01/sip/batch-subscribe\" uri=\"{uri}\" name=\"\">\
         <action name=\"subscribe\" id=\"63792024\"><adhocList>{resources}</adhocList>\
         <categoryList xmlns=\"http://schemas.microsoft.com/2006/09/sip/categorylist\"><category name=\"calendarData\"/>\
         <category name=\"contactCard\"/><category name=\"note\"/><category name=\"services\"/>\
         <category name=\"state\"/></categoryList></action></batchSub>"
    );
    let mut draft = subscribe(phone, &uri, if once { "once" } else { "presence" });
    draft.header("Require", "adhoclist, categoryList").header("Supported", "eventlist");
    if once {
        draft.header("Expires", 0);
    }
    draft.body("application/msrtc-adrl-categorylist+xml", document);
    phone.sign(draft)
}

/// Asks for the presence of one user, and for no changes of it.
pub(crate) fn polling(phone: &mut Phone, whom: &Aor) -> Result<Vec<u8>, String> {
    let mut draft = subscribe(phone, &whom.to_uri(), "poll");
    draft.header("Expires", 0);
    phone.sign(draft)
}

fn subscribe(phone: &mut Phone, uri: &str, call_id: &str) -> Draft {
    let mut draft = phone.request("SUBSCRIBE", uri, call_id);
    draft
        .header("Event", "presence")
        .header(
            "Accept",
            "application/msrtc-event-categories+xml, text/xml+msrtc.pidf, application/rlmi+xml, multipart/related",
        )
        .header("Supported", "com.microsoft.autoextend")
        .header("Supported", "ms-benotify")
        .header("Proxy-Require", "ms-benotify")
        .header("Supported", "ms-piggyback-first-notify");
    draft
}
