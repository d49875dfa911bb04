//! Kerberos over HTTP, the client's half. RFC 4559: one request with a token for `http/<host>`, and no further leg.
//!
//! A ticket that cannot be had is no failure here: NTLM follows. What went wrong is told as a remark.

use super::{Failure, Origin, Request, Web};
use crate::io::{HttpResponse, Io};
use crate::log_on::LogOn;
use crate::report::{Event, Step};
use crate::web_ticket::DIAGNOSTICS_HEADER;
use crate::web_ticket::diagnostics::Diagnostics;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mechanism::kerberos::ApOptions;

/// The answer to a request with a ticket; `None` when there is no ticket, or the server does not take it.
pub(super) async fn fetch(
    web: &Web,
    io: &dyn Io,
    request: &Request,
    log_on: &LogOn,
) -> Result<Option<HttpResponse>, Failure> {
    let Some(tickets) = &log_on.tickets else { return Ok(None) };
    let origin = Origin::of(&request.url)?;
    let domain = origin.host.split_once('.').map_or("", |(_, domain)| domain);
    let service = format!("http/{}", origin.host);
    let options = ApOptions { spnego: true };
    let token = match tickets.request(io, log_on, domain, &service, options).await {
        Ok(request) => request.token().to_vec(),
        Err(failure) if failure.blames_password() => return Err(Failure::Tickets { origin, failure }),
        Err(failure) => {
            io.tell(Event::Remark(Step::Authentication, format!("no Kerberos for {service}: {failure}")));
            return Ok(None);
        }
    };
    let request = request.clone().with("Authorization", format!("Negotiate {}", STANDARD.encode(token)));
    let answer = web.fetch(io, &request).await?;
    if answer.status != 401 {
        return Ok(Some(answer));
    }
    let cause = answer.header(DIAGNOSTICS_HEADER).and_then(|value| Diagnostics::of_header(value).cause);
    let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
    io.tell(Event::Remark(Step::Authentication, format!("{origin} does not take the ticket for {service}{cause}")));
    Ok(None)
}
