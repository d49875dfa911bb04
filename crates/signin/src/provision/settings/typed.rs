//! Settings as the client understands them: what it acts on as typed fields, the rest as it came.
//!
//! A value that is not of its kind counts as not given, and is told ([`Settings::problems`]). Real servers send more
//! than any list knows, so an unknown group or property is kept and is no problem.

use super::catalogue::{self, Value};
use crate::directory::Properties;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long settings hold before a client that stays signed in asks again: they are never notified.
pub const POLL_AGAIN: Duration = Duration::from_secs(8 * 60 * 60);

/// What a user was given. `None`: the server did not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// Name of the organization.
    pub organization: Option<String>,
    /// Web services.
    pub web: WebServices,
    /// Servers that are asked over SIP.
    pub servers: Servers,
    /// Media.
    pub media: Media,
    /// Calls.
    pub calls: Calls,
    /// Meetings.
    pub meetings: Meetings,
    /// Messages.
    pub messages: Messages,
    /// Contacts and presence.
    pub contacts: Contacts,
    /// The name of the dial plan: the user's, else the pool's.
    pub dial_plan: Option<String>,
    /// What is not above, by group.
    pub rest: BTreeMap<String, Properties>,
    /// Values that could not be understood, and what does not fit together.
    pub problems: Vec<String>,
}

/// A service with an address for clients inside and one for those outside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// For clients inside.
    pub internal: Option<String>,
    /// For clients outside.
    pub external: Option<String>,
}

/// Web services.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WebServices {
    /// Files of the address book.
    pub address_book: Addresses,
    /// Queries of the address book.
    pub address_book_query: Addresses,
    /// The address book can be asked.
    pub address_book_enabled: Option<bool>,
    /// How people are searched for: `WebSearchOnly`, `WebSearchAndFileDownload`, `FileDownloadOnly`.
    pub search: Option<String>,
    /// Expansion of distribution groups.
    pub group_expansion: Addresses,
    /// Distribution groups can be expanded.
    pub group_expansion_enabled: Option<bool>,
    /// Updates of devices.
    pub updates: Addresses,
    /// Web access and dial-in page.
    pub dial_in: Addresses,
}

/// Servers that are asked over SIP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Servers {
    /// The home pool.
    pub pool: Option<String>,
    /// Credentials for media relays.
    pub relay: Option<String>,
    /// Makes conferences.
    pub conferences: Option<String>,
    /// Takes quality reports.
    pub quality: Option<String>,
    /// Call park.
    pub call_park: Option<String>,
    /// Answers test calls.
    pub test_call: Option<String>,
    /// Voice mail.
    pub voice_mail: Option<String>,
    /// Chat rooms, when they can be used.
    pub persistent_chat: Option<String>,
}

/// A range of ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Ports {
    /// Lowest.
    pub min: u16,
    /// Highest.
    pub max: u16,
}

/// Media.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Media {
    /// Encryption: `SupportEncryption`, `RequireEncryption`, `DoNotSupportEncryption`.
    pub encryption: Option<String>,
    /// Media keeps to these ranges: by kind of media.
    pub ports: Option<MediaPorts>,
    /// Largest video.
    pub largest_video: Option<String>,
    /// Quality reports are sent so often while a call lasts.
    #[serde(serialize_with = "seconds")]
    pub quality_interval: Option<Duration>,
}

/// Ranges of ports by kind of media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MediaPorts {
    /// All media.
    pub media: Ports,
    /// Audio.
    pub audio: Ports,
    /// Video.
    pub video: Ports,
    /// Shared applications.
    pub application_sharing: Ports,
    /// Files.
    pub file_transfer: Ports,
}

/// Calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Calls {
    /// Another telephone may ring too.
    pub simultaneous_ringing: Option<bool>,
    /// Calls can be forwarded.
    pub forwarding: Option<bool>,
    /// Calls can be transferred.
    pub transfer: Option<bool>,
    /// Calls can be parked.
    pub park: Option<bool>,
    /// A team can be called together.
    pub team: Option<bool>,
    /// Delegates can answer.
    pub delegation: Option<bool>,
}

/// Meetings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Meetings {
    /// Audio.
    pub audio: Option<bool>,
    /// Video.
    pub video: Option<bool>,
    /// Whiteboards, presentations, polls.
    pub data: Option<bool>,
    /// People in one meeting.
    pub size: Option<u32>,
}

/// Messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Messages {
    /// HTML is not allowed.
    pub no_html: Option<bool>,
    /// Rich text is not allowed.
    pub no_rtf: Option<bool>,
    /// Emoticons are not shown.
    pub no_emoticons: Option<bool>,
    /// Shown above every conversation.
    pub warning: Option<String>,
    /// Files cannot be sent.
    pub no_files: Option<bool>,
}

/// Contacts and presence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Contacts {
    /// Contacts a user may have.
    pub most: Option<u32>,
    /// Distribution groups in the list.
    pub most_groups: Option<u32>,
    /// Contacts may live in Exchange.
    pub in_exchange: Option<bool>,
    /// Users may appear offline.
    pub appear_offline: Option<bool>,
    /// No personal notes.
    pub no_note: Option<bool>,
    /// Only contacts see presence.
    pub privacy: Option<bool>,
    /// Users are told who added them.
    pub tell_new_subscribers: Option<bool>,
}

fn seconds<S: serde::Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    value.map(|value| value.as_secs()).serialize(serializer)
}

impl Settings {
    /// Understands the groups of an answer.
    pub fn of(groups: &BTreeMap<String, Properties>) -> Settings {
        let mut reader = Reader { rest: groups.clone(), problems: Vec::new() };
        let mut settings = server_configuration(&mut reader);
        reader.group("ucPolicy", |group| {
            settings.calls = Calls {
                simultaneous_ringing: group.flag("AllowSimultaneousRinging"),
                forwarding: group.flag("AllowCallForwarding"),
                transfer: group.flag("EnableCallTransfer"),
                park: group.flag("EnableCallPark"),
                team: group.flag("EnableTeamCall"),
                delegation: group.flag("EnableDelegation"),
            };
        });
        reader.group("meetingPolicy", |group| {
            settings.meetings = Meetings {
                audio: group.flag("AllowIPAudio"),
                video: group.flag("AllowIPVideo"),
                data: group.flag("EnableDataCollaboration"),
                size: group.whole("MeetingSize"),
            };
        });
        reader.group("endpointConfiguration", |group| endpoint_configuration(group, &mut settings));
        reader.group("presencePolicyV2", |group| settings.contacts.privacy = group.flag("EnablePrivacyMode"));
        reader.group("userSetting", |group| {
            settings.messages.no_files = group.flag("disableFileTransfer");
            if let Some(name) = group.text("ucUserLocationProfile").filter(|name| !name.is_empty()) {
                settings.dial_plan = Some(name);
            }
        });
        reader.group("persistentChatConfiguration", |group| {
            let uri = group.text("DefaultPersistentChatPoolUri");
            settings.servers.persistent_chat = uri.filter(|_| group.flag("EnablePersistentChat") == Some(true));
        });
        settings.rest = reader.rest;
        settings.problems.append(&mut reader.problems);
        settings
    }
}

fn server_configuration(reader: &mut Reader) -> Settings {
    let mut settings = Settings::default();
    reader.group("ServerConfiguration", |group| {
        settings.organization = group.text("organization");
        settings.dial_plan = group.text("ucLocationProfile").filter(|name| !name.is_empty());
        settings.web = WebServices {
            address_book: group.addresses("absInternalServerUrl", "absExternalServerUrl"),
            address_book_query: group.addresses("abwqInternalUrl", "abwqExternalUrl"),
            address_book_enabled: group.flag("absWebServiceEnabled"),
            search: None,
            group_expansion: group.addresses("dlxInternalUrl", "dlxExternalUrl"),
            group_expansion_enabled: group.flag("dlxEnabled"),
            updates: group.addresses("updatesServerInternalUrl", "updatesServerExternalUrl"),
            dial_in: group.addresses("cwaInternalUri", "cwaExternalUri"),
        };
        settings.servers = Servers {
            pool: group.text("poolUri"),
            relay: group.text("mrasUri"),
            conferences: group.text("focusFactoryUri"),
            quality: group.text("qosUri"),
            call_park: group.text("callParkServerUri"),
            test_call: group.text("botSipUriForTestCall"),
            voice_mail: group.text("voiceMailUri"),
            persistent_chat: None,
        };
        let interval = group.duration("inCallQoSIntervalSeconds");
        settings.media = Media {
            encryption: group.text("ucPC2PCAVEncryption"),
            ports: media_ports(group),
            largest_video: group.text("ucMaxVideoRateAllowed"),
            quality_interval: interval.filter(|_| group.flag("enableInCallQoS") == Some(true)),
        };
        let web = &settings.web;
        if web.address_book_enabled == Some(true) && web.address_book == Addresses::default() {
            group.problem("the address book is on, but no URL of it is given (abs-url-missing)".to_owned());
        }
        for (what, addresses) in [("address book", &web.address_book), ("group expansion", &web.group_expansion)] {
            if addresses.internal.is_some() && addresses.external.is_none() {
                group.problem(format!("{what}: there is no URL for clients outside (inband-web-url-internal)"));
            }
        }
    });
    settings
}

/// The ranges, when they are on: then all ten have to be there, and none may be reversed.
fn media_ports(group: &mut GroupReader<'_>) -> Option<MediaPorts> {
    let mut range = |kind: &str| {
        let mut port = |end: &str| group.whole(&format!("uc{end}{kind}Port")).and_then(|n| u16::try_from(n).ok());
        let (min, max) = (port("Min"), port("Max"));
        Some(Ports { min: min?, max: max? }).filter(|ports| ports.min <= ports.max)
    };
    let (media, audio, video) = (range("Media"), range("Audio"), range("Video"));
    let (application_sharing, file_transfer) = (range("AppSharing"), range("FileTransfer"));
    if group.flag("ucPortRangeEnabled") != Some(true) {
        return None;
    }
    let whole = || {
        Some(MediaPorts {
            media: media?,
            audio: audio?,
            video: video?,
            application_sharing: application_sharing?,
            file_transfer: file_transfer?,
        })
    };
    let ports = whole();
    if ports.is_none() {
        group.problem("port ranges are on, but not all ten ports are given in order; they are not used".to_owned());
    }
    ports
}

fn endpoint_configuration(group: &mut GroupReader<'_>, settings: &mut Settings) {
    settings.web.search = group.text("AbsUsage");
    settings.messages.no_html = group.flag("DisableHtmlIm");
    settings.messages.no_rtf = group.flag("DisableRTFIM");
    settings.messages.no_emoticons = group.flag("DisableEmoticons");
    settings.messages.warning = group.text("IMWarning").filter(|warning| !warning.is_empty());
    settings.contacts.most = group.whole("MaximumNumberOfContacts");
    settings.contacts.most_groups = group.whole("maximumDGsAllowedInContactList");
    settings.contacts.in_exchange = group.flag("exchangecontactstoreallowed");
    settings.contacts.appear_offline = group.flag("EnableAppearOffline");
    settings.contacts.no_note = group.flag("DisablePresenceNote");
    settings.contacts.tell_new_subscribers = group.flag("NotificationForNewSubscribers");
}

/// Takes values out of the groups; what is left is the rest.
struct Reader {
    rest: BTreeMap<String, Properties>,
    problems: Vec<String>,
}

impl Reader {
    fn group(&mut self, name: &'static str, read: impl FnOnce(&mut GroupReader<'_>)) {
        let Some(mut properties) = self.rest.remove(name) else { return };
        read(&mut GroupReader { name, properties: &mut properties, problems: &mut self.problems });
        for (property, value) in &properties {
            understand(name, property, value, &mut self.problems);
        }
        if !properties.is_empty() {
            self.rest.insert(name.to_owned(), properties);
        }
    }
}

struct GroupReader<'a> {
    name: &'static str,
    properties: &'a mut Properties,
    problems: &'a mut Vec<String>,
}

impl GroupReader<'_> {
    fn take(&mut self, property: &str) -> Option<Value> {
        let value = self.properties.remove(property)?;
        understand(self.name, property, &value, self.problems)
    }

    fn flag(&mut self, property: &str) -> Option<bool> {
        self.take(property).and_then(|value| if let Value::Bool(value) = value { Some(value) } else { None })
    }

    fn whole(&mut self, property: &str) -> Option<u32> {
        self.take(property).and_then(|value| if let Value::Whole(value) = value { Some(value) } else { None })
    }

    fn duration(&mut self, property: &str) -> Option<Duration> {
        self.take(property).and_then(|value| if let Value::Duration(value) = value { Some(value) } else { None })
    }

    fn text(&mut self, property: &str) -> Option<String> {
        self.take(property).and_then(|value| if let Value::Text(value) = value { Some(value) } else { None })
    }

    fn addresses(&mut self, internal: &str, external: &str) -> Addresses {
        Addresses { internal: self.text(internal), external: self.text(external) }
    }

    fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }
}

/// Reads a value by its kind. An empty one is as good as none: servers send elements without content.
fn understand(group: &str, property: &str, value: &str, problems: &mut Vec<String>) -> Option<Value> {
    let kind = catalogue::group(group)?.kind(property);
    if value.is_empty() {
        return None;
    }
    let read = kind.read(value);
    if read.is_none() {
        let shown: String = value.chars().take(80).collect();
        problems.push(format!("{group}/{property} is {shown:?}, which is not {kind}; it counts as not given"));
    }
    read
}
