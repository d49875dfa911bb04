//! Kerberos over HTTP, the client's half. RFC 4559: one request with a token for `http/<host>`, and no further leg. Over TLS
//! the token names its connection, as servers with extended protection want it.
//!
//! A ticket that cannot be had is no failure here: NTLM follows. What went wrong is told as a remark.

use super::{Failure, Origin, Request, Web, was_closed};
use crate::io::{ConnId, HttpResponse, Io};
use crate::log_on::LogOn;
use crate::report::{Event, Step};
use crate::tickets::Tickets;
use crate::web_ticket::DIAGNOSTICS_HEADER;
use crate::web_ticket::diagnostics::Diagnostics;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mechanism::kerberos::ApOptions;

/// What a token is asked for.
struct Asked<'a> {
    log_on: &'a LogOn,
    tickets: &'a Tickets,
    origin: &'a Origin,
    service: &'a str,
}

impl Asked<'_> {
    /// The answer to a request with a token for this connection; `None` when there is no ticket.
    async fn on(
        &self,
        web: &Web,
        io: &dyn Io,
        conn: ConnId,
        request: &Request,
    ) -> Result<Option<HttpResponse>, Failure> {
        let Asked { log_on, tickets, origin, service } = *self;
        let domain = origin.host.split_once('.').map_or("", |(_, domain)| domain);
        let options = ApOptions { spnego: true, channel: web.channel(conn) };
        let token = match tickets.request(io, log_on, domain, service, options).await {
            Ok(request) => request.token().to_vec(),
            Err(failure) => {
                web.keep(origin.clone(), conn);
                if failure.blames_password() {
                    return Err(Failure::Tickets { origin: origin.clone(), failure });
                }
                io.tell(Event::Remark(Step::Authentication, format!("no Kerberos for {service}: {failure}")));
                return Ok(None);
            }
        };
        let request = request.clone().with("Authorization", format!("Negotiate {}", STANDARD.encode(token)));
        let answer = web.exchange(io, origin, conn, request.on_wire()).await?;
        web.release(io, origin.clone(), conn, &answer).await;
        Ok(Some(answer))
    }
}

/// The answer to a request with a ticket; `None` when there is no ticket, or the server does not take it.
pub(super) async fn fetch(
    web: &Web,
    io: &dyn Io,
    request: &Request,
    log_on: &LogOn,
) -> Result<Option<HttpResponse>, Failure> {
    let Some(tickets) = &log_on.tickets else { return Ok(None) };
    let origin = Origin::of(&request.url)?;
    let service = format!("http/{}", origin.host);
    let asked = Asked { log_on, tickets, origin: &origin, service: &service };
    let conn = web.connection(io, &origin).await?;
    let answer = match asked.on(web, io, conn, request).await {
        Err(failure) if was_closed(&failure) => {
            let conn = web.open(io, &origin).await?;
            asked.on(web, io, conn, request).await?
        }
        answer => answer?,
    };
    let Some(answer) = answer else { return Ok(None) };
    if answer.status != 401 {
        return Ok(Some(answer));
    }
    let cause = answer.header(DIAGNOSTICS_HEADER).and_then(|value| Diagnostics::of_header(value).cause);
    let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
    io.tell(Event::Remark(Step::Authentication, format!("{origin} does not take the ticket for {service}{cause}")));
    Ok(None)
}
