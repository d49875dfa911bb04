//! What the directory says of a user, as categories: the contact card for everybody, properties for the user alone.

use crate::directory::User;
use crate::xml::escape;

/// The categories made from the directory; none at all for somebody unknown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Card {
    pub(super) contact_card: Option<String>,
    user_properties: Option<String>,
}

impl Card {
    /// The categories of this user.
    pub(crate) fn of(user: Option<&User>) -> Card {
        let Some(user) = user else { return Card::default() };
        let mail = user.mail.as_deref().map(|mail| format!("<email>{}</email>", escape(mail))).unwrap_or_default();
        let phone = user.line.as_deref().map(|line| {
            let number = line.strip_prefix("tel:").unwrap_or(line);
            let (uri, shown) = (escape(line), escape(number));
            format!("<phone type=\"work\"><uri>{uri}</uri><displayString>{shown}</displayString></phone>")
        });
        let contact_card = format!(
            "<contactCard xmlns=\"http://schemas.microsoft.com/2006/09/sip/contactcard\"><identity><name>\
             <displayName>{}</displayName></name>{mail}</identity>{}</contactCard>",
            escape(&user.display_name),
            phone.unwrap_or_default()
        );
        let lines = user.line.as_deref().map(|line| {
            format!("<lines><line lineType=\"Uc\">{}</line></lines><telephonyMode>Uc</telephonyMode>", escape(line))
        });
        let user_properties = format!(
            "<userProperties xmlns=\"http://schemas.microsoft.com/2006/09/sip/categories\">{}\
             <exumEnabled>0</exumEnabled></userProperties>",
            lines.unwrap_or_default()
        );
        Card { contact_card: Some(contact_card), user_properties: Some(user_properties) }
    }

    /// The containers of a category made from the directory, with its value.
    pub(super) fn own(&self, category: &str) -> Vec<(u16, &str)> {
        let everywhere = |value, containers: &[u16]| containers.iter().map(|c| (*c, value)).collect();
        match (category, self.contact_card.as_deref(), self.user_properties.as_deref()) {
            ("contactCard", Some(value), _) => everywhere(value, &[0, 100, 200, 300, 400]),
            ("userProperties", _, Some(value)) => everywhere(value, &[1]),
            _ => Vec::new(),
        }
    }
}
