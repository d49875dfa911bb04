//! Documents of this room: the root that is expected, and why a document is not what it should be.

use super::fragment::FragmentError;
use crate::xml::{Element, XmlError};

/// Why a document is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Not XML we read.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// Another document than expected.
    #[error("the document is a {0:?}")]
    Unexpected(String),
    /// An element or attribute that has to be there is missing or makes no sense.
    #[error("{0} is missing or makes no sense")]
    Missing(&'static str),
    /// What a client wants kept cannot be kept.
    #[error("what is to be kept: {0}")]
    Fragment(#[from] FragmentError),
}

/// Reads a document whose root has this name.
pub(super) fn root_named(bytes: &[u8], name: &str) -> Result<Element, DocumentError> {
    let root = Element::parse(bytes)?;
    if root.name == name { Ok(root) } else { Err(DocumentError::Unexpected(root.name)) }
}
