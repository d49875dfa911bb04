//! The groups, and the properties of all but the longest.

use super::Kind::{Bool, Document, OneOf, Seconds, SipUri, Text, Url, Whole, Word};
use super::{Group, Property, WhenEmpty, property, server_configuration};
use crate::provision::settings::message::Layout::{Elements, Instance, PropertyEntryList};

/// Every group, in the order in which clients ask for them.
pub const GROUPS: &[Group] = &[
    Group {
        name: "ServerConfiguration",
        layout: Elements,
        source: "[MS-SIPREGE] §2.2.2.5.1",
        about: "what the deployment offers and where",
        properties: server_configuration::PROPERTIES,
        is_open: false,
        when_empty: WhenEmpty::Empty,
    },
    Group {
        name: "meetingPolicy",
        layout: Instance,
        source: "[MS-SIPREGE] §2.2.2.5.2",
        about: "what the user may do in meetings and in calls between two",
        properties: MEETING_POLICY,
        is_open: false,
        when_empty: WhenEmpty::Empty,
    },
    Group {
        name: "ucPolicy",
        layout: Instance,
        source: "[MS-SIPREGE] §2.2.2.5.3",
        about: "what the user may do with calls",
        properties: UC_POLICY,
        is_open: false,
        when_empty: WhenEmpty::Empty,
    },
    Group {
        name: "publicationGrammar",
        layout: Elements,
        source: "[MS-SIPREGE] §2.2.2.5.4",
        about: "how the desktop client publishes presence; left out unless set",
        properties: PUBLICATION_GRAMMAR,
        is_open: false,
        when_empty: WhenEmpty::Absent,
    },
    Group {
        name: "privacyPublicationGrammar",
        layout: Elements,
        source: "[MS-SIPREGE] §2.2.2.5.4",
        about: "the same in privacy mode; left out unless set",
        properties: PRIVACY_PUBLICATION_GRAMMAR,
        is_open: false,
        when_empty: WhenEmpty::Absent,
    },
    Group {
        name: "userSetting",
        layout: Elements,
        source: "[MS-SIPREGE] §2.2.2.5.5",
        about: "settings of the user",
        properties: USER_SETTING,
        is_open: false,
        when_empty: WhenEmpty::Empty,
    },
    Group {
        name: "endpointConfiguration",
        layout: PropertyEntryList,
        source: "[MS-SIPREGE] §2.2.2.5.6",
        about: "how the client behaves; deployments add properties of their own",
        properties: ENDPOINT_CONFIGURATION,
        is_open: true,
        when_empty: WhenEmpty::Empty,
    },
    Group {
        name: "locationPolicy",
        layout: PropertyEntryList,
        source: "[MS-SIPREGE] §2.2.2.5.7",
        about: "emergency calls; further properties hold what is dialled for them",
        properties: LOCATION_POLICY,
        is_open: true,
        when_empty: WhenEmpty::Empty,
    },
    Group {
        name: "mediaConfiguration",
        layout: PropertyEntryList,
        source: "[MS-SIPREGE] §2.2.2.5.8",
        about: "when media goes directly to a gateway",
        properties: MEDIA_CONFIGURATION,
        is_open: false,
        when_empty: WhenEmpty::Empty,
    },
    Group {
        name: "presencePolicyV2",
        layout: PropertyEntryList,
        source: "[MS-SIPREGE] §2.2.2.5.9",
        about: "privacy of presence",
        properties: PRESENCE_POLICY,
        is_open: false,
        when_empty: WhenEmpty::Empty,
    },
    Group {
        name: "publicProviders",
        layout: PropertyEntryList,
        source: "[MS-SIPREGE] §2.2.2.5",
        about: "public providers of instant messages; there are none",
        properties: &[],
        is_open: false,
        when_empty: WhenEmpty::Empty,
    },
    Group {
        name: "persistentChatConfiguration",
        layout: PropertyEntryList,
        source: "asked for by clients, in no specification",
        about: "chat rooms",
        properties: PERSISTENT_CHAT,
        is_open: false,
        when_empty: WhenEmpty::Empty,
    },
    Group {
        name: "mobilityPolicy",
        layout: PropertyEntryList,
        source: "asked for by clients, in no specification",
        about: "mobile clients; nothing unless set",
        properties: &[],
        is_open: true,
        when_empty: WhenEmpty::Empty,
    },
];

const SHARING: super::Kind = OneOf(&["Desktop", "SingleApplication", "None"]);
const KBIT: super::Kind = Whole(0, u32::MAX);

const MEETING_POLICY: &[Property] = &[
    property("Name", Text, None, "name of the policy; clients pass it by"),
    property("AllowIPAudio", Bool, Some("true"), "audio"),
    property("AllowIPVideo", Bool, Some("true"), "video in meetings"),
    property("EnableP2PVideo", Bool, Some("true"), "video between two"),
    property("EnableDataCollaboration", Bool, Some("true"), "whiteboards, presentations, polls"),
    property("EnableP2PFileTransfer", Bool, Some("true"), "files between two"),
    property("AllowFileTransfer", Bool, None, "files in meetings"),
    property("EnableAppDesktopSharing", Bool, None, "sharing of applications"),
    property("AllowedAppDesktopSharingLevel", SHARING, None, "what the user may share"),
    property("AllowAppSharingForExternalMeeting", SHARING, None, "what the user may share with people outside"),
    property("AllowUserToScheduleMeetingsWithAppSharing", Bool, None, "meetings with sharing can be scheduled"),
    property("AllowExternalUserControl", Bool, None, "people outside may take control"),
    property("AllowParticipantControl", Bool, None, "participants may take control"),
    property("AllowAnonymousParticipants", Bool, None, "people who are not signed in may join"),
    property("AllowRecording", Bool, None, "meetings can be recorded"),
    property("AllowExternalUserRecording", Bool, None, "by people outside too"),
    property("EnableP2PRecording", Bool, None, "calls between two can be recorded"),
    property("AllowPresenterToRecord", Bool, None, "presenters may record"),
    property("AllowPolls", Bool, None, "polls"),
    property("AllowAnnotations", Bool, None, "drawing on what is presented"),
    property("AllowExternalUsersToSaveContent", Bool, None, "people outside may save what is presented"),
    property("RetainPPTForExternalMeeting", Bool, None, "presentations stay after a meeting with people outside"),
    property("EnablePSTNConferencing", Bool, None, "meetings can be joined by telephone"),
    property("TrustedConferencingPINRequired", Bool, None, "a PIN is needed for that"),
    property("MeetingSize", Whole(2, 1000), Some("250"), "people in one meeting"),
    property("AudioBitRate", KBIT, None, "kbit/s of audio"),
    property("VideoBitRate", KBIT, None, "kbit/s of video"),
    property("AppSharingBitRate", KBIT, None, "kbit/s of shared applications"),
    property("FileTransferBitRate", KBIT, None, "kbit/s of files"),
    property("MaxConferenceVideoResolution", Word(&["CIF", "VGA"]), None, "largest video in meetings"),
];

const UC_POLICY: &[Property] = &[
    property("Name", Text, None, "name of the policy; clients pass it by"),
    property("PhoneRouteUsages", Text, None, "usages of telephone routes; clients pass it by"),
    property("AllowSimultaneousRinging", Bool, Some("true"), "another telephone rings too"),
    property("AllowCallForwarding", Bool, Some("true"), "calls can be forwarded"),
    property("EnableCallTransfer", Bool, Some("true"), "calls can be transferred"),
    property("EnableCallPark", Bool, Some("false"), "calls can be parked"),
    property("EnableTeamCall", Bool, Some("true"), "a team can be called together"),
    property("EnableDelegation", Bool, Some("true"), "delegates can answer and call"),
    property("EnableBWPolicyOverride", Bool, Some("false"), "bandwidth policies do not bind the user"),
    property("EnableMaliciousCallTrace", Bool, Some("false"), "malicious calls can be reported"),
];

const PUBLICATION_GRAMMAR: &[Property] = &[
    property("containerManifestList", Document, None, "containers, who is in them, what they block"),
    property("categoryPublicationManifest", Document, None, "what is published into which container"),
];

const PRIVACY_PUBLICATION_GRAMMAR: &[Property] =
    &[property("containerManifestList", Document, None, "containers, who is in them, what they block")];

const USER_SETTING: &[Property] = &[
    property("disableFileTransfer", Bool, Some("false"), "files cannot be sent"),
    property("ucUserLocationProfile", Text, None, "name of the user's dial plan; follows from the user when not set"),
    property("commonAreaPhone", Bool, None, "the account is a telephone in a shared place"),
];

const ENDPOINT_CONFIGURATION: &[Property] = &[
    property("ShowRecentContacts", Bool, Some("true"), "a list of recent contacts"),
    property("ShowManagePrivacyRelationships", Bool, Some("false"), "privacy relationships can be changed"),
    property("PhotoUsage", OneOf(&["NoPhoto", "PhotosFromADOnly", "AllPhotos"]), Some("AllPhotos"), "which photos"),
    property("MaxPhotoSizeKB", Whole(0, u32::MAX), None, "largest photo, KB"),
    property(
        "AbsUsage",
        OneOf(&["WebSearchAndFileDownload", "WebSearchOnly", "FileDownloadOnly"]),
        Some("WebSearchOnly"),
        "how people are searched for",
    ),
    property("SearchPrefixFlags", Whole(0, 127), None, "which attributes a search looks at, as bits"),
    property("DGRefreshInterval", Seconds, None, "how often members of distribution groups are looked up"),
    property("MaximumNumberOfContacts", Whole(0, 1000), Some("250"), "contacts a user may have"),
    property("maximumDGsAllowedInContactList", Whole(0, 64), None, "distribution groups in a contact list"),
    property("EnableAppearOffline", Bool, Some("true"), "users may appear offline"),
    property("DisablePresenceNote", Bool, None, "no personal notes"),
    property("DisableCalendarPresence", Bool, None, "the calendar does not change presence"),
    property("DisableFreeBusyInfo", Bool, None, "free and busy times are not published"),
    property("DisableMeetingSubjectAndLocation", Bool, None, "subjects and places of meetings are not published"),
    property("DisableEmoticons", Bool, Some("false"), "no emoticons"),
    property("DisableHtmlIm", Bool, Some("false"), "no HTML in messages"),
    property("DisableRTFIM", Bool, None, "no rich text in messages"),
    property("DisableInkIM", Bool, None, "no handwriting in messages"),
    property("DisableSavingIM", Bool, None, "messages cannot be saved"),
    property("EnableURL", Bool, None, "links in messages can be followed"),
    property("IMWarning", Text, None, "shown above every conversation"),
    property("EnableIMAutoArchiving", Bool, None, "conversations are kept in the mailbox"),
    property("EnableCallLogAutoArchiving", Bool, None, "calls are kept in the mailbox"),
    property("BlockConversationFromFederatedContacts", Bool, None, "people outside cannot begin a conversation"),
    property("CalendarStatePublicationInterval", Seconds, None, "how often the calendar is looked at"),
    property("NotificationForNewSubscribers", Bool, None, "users are told who added them"),
    property("WebServicePollInterval", Seconds, None, "how often web services are asked for changes"),
    property("AutoDiscoveryRetryInterval", Seconds, None, "how soon Autodiscover is tried again"),
    property("EnableTracing", Bool, None, "the client writes a trace"),
    property("EnableEventLogging", Bool, None, "the client writes to the event log"),
    property("EnableSQMData", Bool, None, "usage data is collected"),
    property("TabURL", Url, None, "describes further tabs of the main window"),
    property("CustomStateUrl", Url, None, "describes further states a user can choose"),
    property("CustomLinkInErrorMessages", Url, None, "link shown in error messages"),
    property("MusicOnHoldAudioFile", Text, None, "file that is played to a caller on hold"),
    property("DisableMusicOnHold", Bool, None, "nothing is played to a caller on hold"),
    property("EnableHotdesking", Bool, None, "others can sign in at a shared telephone"),
    property("HotdeskingTimeout", Seconds, None, "after which they are signed out there"),
    property("exchangecontactstoreallowed", Bool, Some("false"), "contacts may live in Exchange"),
    property("EnableExchangeDelegateSyncUp", Bool, None, "delegates are taken from Exchange"),
    property("EnableContactSync", Bool, None, "contacts are copied to the mail program"),
];

const LOCATION_POLICY: &[Property] = &[
    property("EnhancedEmergencyServicesEnabled", Bool, Some("false"), "emergency calls carry a location"),
    property("LocationPolicyTagID", Text, None, "name of the policy"),
    property("LocationRequired", OneOf(&["yes", "no", "disclaimer"]), None, "whether the user is asked for it"),
    property("EmergencyServiceDisclaimer", Text, None, "shown to a user who gives none"),
];

const BYPASS: super::Kind = Word(&["Off", "Any"]);

const MEDIA_CONFIGURATION: &[Property] = &[
    property("bypassEnabled", Bool, Some("false"), "media may pass by the mediation server"),
    property("internalBypassMode", BYPASS, Some("Off"), "when, inside"),
    property("externalBypassMode", BYPASS, Some("Off"), "when, outside"),
];

const PRESENCE_POLICY: &[Property] = &[
    property("EnablePrivacyMode", Bool, Some("false"), "only contacts see presence"),
    property("AutoInitiateContacts", Bool, Some("true"), "the contact list begins with the team"),
    property("PublishLocationDataDefault", Bool, None, "the location is published"),
    property("DisplayPublishedPhotoDefault", Bool, None, "photos of contacts are shown"),
    property("EnableLocationPrompt", Bool, None, "users are asked where they are"),
    property("PersonalNoteHistoryDepth", Whole(0, 100), None, "personal notes that are remembered"),
];

const PERSISTENT_CHAT: &[Property] = &[
    property("EnablePersistentChat", Bool, Some("false"), "chat rooms can be used"),
    property("DefaultPersistentChatPoolUri", SipUri, None, "the pool that has them"),
];
