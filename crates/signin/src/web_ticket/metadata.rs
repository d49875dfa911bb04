//! Metadata of a SOAP service: the ports at which it takes log-ons. WSDL 1.1.

use super::message::{MessageError, parse};
use crate::xml::{Element, escape};
use std::fmt::Write;

/// Name of the port that takes HTTP NTLM and Negotiate.
pub const WIN_NEGOTIATE: &str = "WebTicketServiceWinNegotiate";
/// Name of the port that takes messages signed with a user certificate.
pub const CERTIFICATE: &str = "WebTicketServiceCert";

/// Metadata of a SOAP service, as far as needed: its ports. WSDL 1.1, served bare over HTTP GET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Ports of the first service, in order.
    pub ports: Vec<Port>,
}

/// A port: one way to log on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name tells how.
    pub name: String,
    /// Its URL.
    pub location: String,
}

impl Metadata {
    /// Reads `wsdl:definitions`.
    pub fn read(bytes: &[u8]) -> Result<Metadata, MessageError> {
        let definitions = parse(bytes)?;
        let service = definitions.child("service").ok_or(MessageError::Missing("service"))?;
        let port = |element: &Element| {
            let location = element.child("address")?.attribute("location")?.trim().to_owned();
            Some(Port { name: element.attribute("name")?.to_owned(), location })
        };
        Ok(Metadata { ports: service.all("port").filter_map(port).take(32).collect() })
    }

    /// The location of a port.
    pub fn port(&self, name: &str) -> Option<&str> {
        self.ports.iter().find(|port| port.name == name).map(|port| port.location.as_str())
    }

    /// Writes the metadata of the ticket service.
    pub fn write(&self) -> String {
        let mut xml = String::from(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><wsdl:definitions name=\"WebTicketService\" \
             targetNamespace=\"http://tempuri.org/\" xmlns:wsdl=\"http://schemas.xmlsoap.org/wsdl/\" \
             xmlns:soap=\"http://schemas.xmlsoap.org/wsdl/soap/\" xmlns:tns=\"http://tempuri.org/\">\
             <wsdl:service name=\"WebTicketService\">",
        );
        for port in &self.ports {
            let (name, location) = (escape(&port.name), escape(&port.location));
            let _ = write!(
                xml,
                "<wsdl:port name=\"{name}\" binding=\"tns:{name}\"><soap:address location=\"{location}\"/></wsdl:port>"
            );
        }
        xml.push_str("</wsdl:service></wsdl:definitions>");
        xml
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_hurt(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Metadata::read(&bytes);
        }
    }
}
