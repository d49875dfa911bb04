//! `ServerConfiguration`: what the deployment offers and where. `[MS-SIPREGE]` §2.2.2.5.1.

use super::Kind::{Bool, Minutes, OneOf, Seconds, SipUri, Text, Url, Whole};
use super::{Property, property};

const PORT: super::Kind = Whole(1, 65_535);

pub(super) const PROPERTIES: &[Property] = &[
    // Address book, distribution groups, location, updates, and other web services.
    property("absWebServiceEnabled", Bool, Some("false"), "the address book answers queries over HTTPS"),
    property("absInternalServerUrl", Url, None, "address book files, for clients inside"),
    property("absExternalServerUrl", Url, None, "address book files, for clients outside"),
    property("abwqInternalUrl", Url, None, "address book web query, inside"),
    property("abwqExternalUrl", Url, None, "address book web query, outside"),
    property("dlxEnabled", Bool, Some("false"), "distribution groups can be expanded"),
    property("dlxInternalUrl", Url, None, "expansion of distribution groups, inside"),
    property("dlxExternalUrl", Url, None, "expansion of distribution groups, outside"),
    property("lisInternalUrl", Url, None, "location information service, inside"),
    property("updatesServerEnabled", Bool, Some("false"), "devices find updates here"),
    property("updatesServerInternalUrl", Url, None, "device updates, inside"),
    property("updatesServerExternalUrl", Url, None, "device updates, outside"),
    property("consoleDownloadInternalUrl", Url, None, "download of the meeting console, inside"),
    property("consoleDownloadExternalUrl", Url, None, "download of the meeting console, outside"),
    property("helpdeskInternalUrl", Url, None, "help desk page, inside"),
    property("helpdeskExternalUrl", Url, None, "help desk page, outside"),
    property("cwaInternalUri", Url, None, "web access and dial-in page, inside"),
    property("cwaExternalUri", Url, None, "web access and dial-in page, outside"),
    property("responseGroupServiceInternalURL", Url, None, "response groups, inside"),
    property("responseGroupServiceExternalURL", Url, None, "response groups, outside"),
    property("responseGroupServiceInternalAgentURL", Url, None, "page for agents of response groups, inside"),
    property("responseGroupServiceExternalAgentURL", Url, None, "page for agents of response groups, outside"),
    property("organization", Text, None, "name of the organization, shown to users"),
    // Ports of media and signalling.
    property("ucPortRangeEnabled", Bool, Some("false"), "media keeps to the ports below, which then must all be set"),
    property("ucMinMediaPort", PORT, None, "lowest media port"),
    property("ucMaxMediaPort", PORT, None, "highest media port"),
    property("ucMinAudioPort", PORT, None, "lowest audio port"),
    property("ucMaxAudioPort", PORT, None, "highest audio port"),
    property("ucMinVideoPort", PORT, None, "lowest video port"),
    property("ucMaxVideoPort", PORT, None, "highest video port"),
    property("ucMinAppSharingPort", PORT, None, "lowest port for sharing applications"),
    property("ucMaxAppSharingPort", PORT, None, "highest port for sharing applications"),
    property("ucMinFileTransferPort", PORT, None, "lowest port for sending files"),
    property("ucMaxFileTransferPort", PORT, None, "highest port for sending files"),
    property("ucMinSipDynamicPort", PORT, None, "lowest local port for SIP"),
    property("ucMaxSipDynamicPort", PORT, None, "highest local port for SIP"),
    // Media.
    property(
        "ucPC2PCAVEncryption",
        OneOf(&["SupportEncryption", "RequireEncryption", "DoNotSupportEncryption"]),
        Some("SupportEncryption"),
        "encryption of audio and video between two clients",
    ),
    property(
        "ucMaxVideoRateAllowed",
        OneOf(&["Hd720p-1.5M", "VGA-600K", "CIF-250K"]),
        Some("Hd720p-1.5M"),
        "largest video a client may send",
    ),
    // Quality of service.
    property("qosEnabled", Bool, Some("false"), "packets are marked for quality of service"),
    property("enableInCallQoS", Bool, Some("false"), "quality reports while a call lasts"),
    property("inCallQoSIntervalSeconds", Seconds, Some("35"), "how often they are sent"),
    property("enableBWPolicyCheck", Bool, Some("false"), "bandwidth policies are asked before a call"),
    property("ucDiffServVoice", Whole(0, 63), Some("40"), "DSCP of voice packets of phones"),
    property("ucVoice802_1p", Whole(0, 7), Some("0"), "802.1p priority of voice packets of phones"),
    // Phones.
    property("ucEnforcePinLock", Bool, Some("true"), "phones lock with a PIN"),
    property("ucMinPinLength", Whole(4, 24), Some("6"), "shortest PIN"),
    property("ucPhoneTimeOut", Minutes, Some("10"), "idle time after which a phone locks"),
    property("ucExchangeMWIPoll", Minutes, Some("3"), "how often a phone asks Exchange for messages"),
    property("ucEnableSIPSecurityMode", OneOf(&["Low", "Medium", "High"]), Some("High"), "SIP over TLS for phones"),
    property("ucEnableUserLogging", Bool, Some("false"), "users may have their phone write a log"),
    property("loggingLevel", OneOf(&["Off", "Low", "Medium", "High"]), Some("Medium"), "how much phones log"),
    // Servers, by their GRUU.
    property("poolUri", SipUri, None, "the home pool"),
    property("qosUri", SipUri, None, "takes quality reports"),
    property("mrasUri", SipUri, None, "media relay authentication: clients ask it for relay credentials at sign-in"),
    property("callParkServerUri", SipUri, None, "call park"),
    property("botSipUriForTestCall", SipUri, None, "answers test calls"),
    property("focusFactoryUri", SipUri, None, "makes conferences: clients ask it what it can at sign-in"),
    property("voiceMailUri", SipUri, None, "the user's voice mail"),
    // The default here is the dial plan of the user's pool.
    property("ucLocationProfile", Text, None, "name of the pool's dial plan; follows from the dial plans when not set"),
];
