//! A user's presence in documents: for the user's own eyes, and as those see it who see one container.

use super::aggregation::Aggregate;
use super::card::Card;
use super::containers::{BLOCKED, EXTERNAL};
use super::kept::PublicationKey;
use super::message::ExpireType;
use super::presentity::Presentity;
use super::publication::AGGREGATE;
use super::state::write_aggregate;
use crate::name::Aor;
use crate::xml::escape;
use std::collections::BTreeSet;
use std::fmt::Write;

impl Presentity {
    /// The versions of one category, for the owner's eyes: every instance in every container, or that there is none.
    pub(crate) fn own_category(&self, category: &str, card: &Card) -> String {
        let mut xml = String::new();
        for (container, value) in card.own(category) {
            let _ = write!(
                xml,
                "<category name=\"{category}\" instance=\"0\" publishTime=\"{}\" container=\"{container}\" \
                 version=\"1\" expireType=\"static\">{value}</category>",
                publish_time(0)
            );
        }
        for (key, publication) in self.publications.iter().filter(|(key, _)| key.category == category) {
            let _ = write!(
                xml,
                "<category name=\"{category}\" instance=\"{}\" publishTime=\"{}\" container=\"{}\" version=\"{}\" \
                 expireType=\"{}\"",
                key.instance,
                publish_time(publication.published),
                key.container,
                publication.version,
                publication.expire.as_str()
            );
            if let ExpireType::Time(seconds) = publication.expire {
                let _ = write!(xml, " expires=\"{seconds}\"");
            }
            let _ = write!(xml, ">{}</category>", publication.xml);
        }
        if xml.is_empty() { format!("<category name=\"{category}\"/>") } else { xml }
    }

    /// Every category that has an instance.
    pub(crate) fn categories(&self) -> BTreeSet<String> {
        let published = self.publications.keys().map(|key| key.category.clone());
        published.chain(["contactCard", "userProperties"].map(str::to_owned)).collect()
    }

    /// One category as those see it who see `container`. A state is always told, because pidgin-sipe takes an empty
    /// one for no news. A contact card besides is what everybody may see, in container 0.
    pub(crate) fn seen_category(&self, category: &str, container: u16, card: &Card) -> String {
        let mut xml = String::new();
        let is_card = category == "contactCard" && container != BLOCKED;
        if is_card && let Some(value) = &card.contact_card {
            let time = publish_time(0);
            let _ =
                write!(xml, "<category name=\"contactCard\" instance=\"0\" publishTime=\"{time}\">{value}</category>");
        }
        let visible = |from: u16| from == container || is_card && from == 0;
        for (key, publication) in self.publications.iter().filter(|(k, _)| k.category == category) {
            if visible(key.container) {
                let _ = write!(
                    xml,
                    "<category name=\"{category}\" instance=\"{}\" publishTime=\"{}\">{}</category>",
                    key.instance,
                    publish_time(publication.published),
                    publication.xml
                );
            }
        }
        match (xml.is_empty(), category) {
            (false, _) => xml,
            (true, "state") => format!(
                "<category name=\"state\" instance=\"{AGGREGATE}\" publishTime=\"{}\">{}</category>",
                publish_time(0),
                write_aggregate(&Aggregate::offline(), None)
            ),
            (true, _) => format!("<category name=\"{}\"/>", escape(category)),
        }
    }

    /// The availability alone, as those see it who see `container`: what is told outside the enterprise is as short.
    pub(crate) fn seen_in_brief(&self, container: u16) -> String {
        let container = if container == BLOCKED { BLOCKED } else { EXTERNAL };
        let key = PublicationKey { category: "state".to_owned(), instance: AGGREGATE, container };
        let published = self.publications.get(&key).map(|p| (p.published, p.xml.to_string()));
        let (time, xml) = published.unwrap_or_else(|| (0, write_aggregate(&Aggregate::offline(), None)));
        let time = publish_time(time);
        format!("<category name=\"state\" instance=\"{AGGREGATE}\" publishTime=\"{time}\">{xml}</category>")
    }

    /// Subscribers: the one named, or all. `is_ours` says who belongs to this deployment.
    pub(crate) fn subscribers_xml(&self, only: Option<&Aor>, is_ours: impl Fn(&Aor) -> bool) -> String {
        let mut xml = format!(
            "<subscribers xmlns=\"http://schemas.microsoft.com/2006/09/sip/presence-subscribers\" version=\"{}\">",
            self.subscribers_version
        );
        for (aor, subscriber) in self.subscribers.iter().filter(|(aor, _)| only.is_none_or(|only| only == *aor)) {
            let _ = write!(
                xml,
                "<subscriber user=\"{}\" displayName=\"{}\" acknowledged=\"{}\" type=\"{}\"/>",
                escape(aor.as_str()),
                escape(&subscriber.display_name),
                subscriber.acknowledged,
                if is_ours(aor) { "sameEnterprise" } else { "federated" }
            );
        }
        xml.push_str("</subscribers>");
        xml
    }
}

/// `2024-03-05T08:15:30.000`, UTC.
pub(super) fn publish_time(unix_seconds: i64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp(unix_seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.000",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}
