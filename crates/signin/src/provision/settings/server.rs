//! Settings, as the server answers for them: groups with their defaults and what the directory says, dial plans.

use super::location_profile::{self, Choice, ProfileUri};
use super::message::{CONTENT_TYPE, Layout, read_request, write_answer};
use crate::directory::{DirectoryError, Properties};
use crate::provision::request::Request;
use crate::provision::server::{
    Answer, Caller, Provision, bad_document, not_acceptable, not_found, too_large, unavailable, wrong_type,
};
use crate::provision::subscription::Subject;
use crate::reply::{Diagnostics, Reply};
use std::collections::BTreeSet;

/// A group known here: its name, its layout, and the values that hold when the directory has none.
type KnownGroup = (&'static str, Layout, &'static [(&'static str, &'static str)]);

/// `[MS-SIPREGE]` §2.2.2.5.
const GROUPS: &[KnownGroup] = &[
    (
        "ServerConfiguration",
        Layout::Elements,
        &[
            ("absWebServiceEnabled", "false"),
            ("dlxEnabled", "false"),
            ("updatesServerEnabled", "false"),
            ("ucPC2PCAVEncryption", "SupportEncryption"),
            ("ucPortRangeEnabled", "false"),
            ("ucMaxVideoRateAllowed", "Hd720p-1.5M"),
            ("ucEnableSIPSecurityMode", "High"),
            ("ucEnforcePinLock", "true"),
            ("ucMinPinLength", "6"),
            ("ucPhoneTimeOut", "10"),
            ("ucEnableUserLogging", "false"),
            ("loggingLevel", "Medium"),
            ("qosEnabled", "false"),
            ("enableInCallQoS", "false"),
            ("enableBWPolicyCheck", "false"),
        ],
    ),
    (
        "meetingPolicy",
        Layout::Instance,
        &[
            ("AllowIPAudio", "true"),
            ("AllowIPVideo", "true"),
            ("EnableDataCollaboration", "true"),
            ("EnableP2PFileTransfer", "true"),
            ("EnableP2PVideo", "true"),
            ("MeetingSize", "250"),
        ],
    ),
    (
        "ucPolicy",
        Layout::Instance,
        &[
            ("AllowCallForwarding", "true"),
            ("AllowSimultaneousRinging", "true"),
            ("EnableBWPolicyOverride", "false"),
            ("EnableCallPark", "false"),
            ("EnableCallTransfer", "true"),
            ("EnableDelegation", "true"),
            ("EnableMaliciousCallTrace", "false"),
            ("EnableTeamCall", "true"),
        ],
    ),
    ("userSetting", Layout::Elements, &[("disableFileTransfer", "false")]),
    (
        "endpointConfiguration",
        Layout::PropertyEntryList,
        &[
            ("AbsUsage", "WebSearchOnly"),
            ("DisableEmoticons", "false"),
            ("DisableHtmlIm", "false"),
            ("EnableAppearOffline", "true"),
            ("MaximumNumberOfContacts", "250"),
            ("PhotoUsage", "AllPhotos"),
            ("ShowManagePrivacyRelationships", "false"),
            ("ShowRecentContacts", "true"),
            ("exchangecontactstoreallowed", "false"),
        ],
    ),
    ("locationPolicy", Layout::PropertyEntryList, &[("EnhancedEmergencyServicesEnabled", "false")]),
    (
        "mediaConfiguration",
        Layout::PropertyEntryList,
        &[("bypassEnabled", "false"), ("externalBypassMode", "Off"), ("internalBypassMode", "Off")],
    ),
    (
        "presencePolicyV2",
        Layout::PropertyEntryList,
        &[("AutoInitiateContacts", "true"), ("EnablePrivacyMode", "false")],
    ),
    ("publicProviders", Layout::PropertyEntryList, &[]),
    ("persistentChatConfiguration", Layout::PropertyEntryList, &[("EnablePersistentChat", "false")]),
    ("mobilityPolicy", Layout::PropertyEntryList, &[]),
];

impl Provision {
    /// SUBSCRIBE for settings: always a poll, no dialog. Groups not known here are left out.
    pub(in crate::provision) async fn poll_settings(&self, caller: &Caller, request: &Request) -> Answer {
        if request.accept.is_empty() || !request.accepts(CONTENT_TYPE) {
            return not_acceptable(CONTENT_TYPE).into();
        }
        if !request.carries(CONTENT_TYPE) {
            return wrong_type(CONTENT_TYPE).into();
        }
        let wanted = match read_request(&request.body) {
            Ok(wanted) => wanted,
            Err(error) => return bad_document(&error).into(),
        };
        if wanted.len() > self.limits.groups {
            return too_large("Too many provisioning groups.").into();
        }
        let mut groups = Vec::new();
        for name in &wanted {
            let Some((name, layout, defaults)) = GROUPS.iter().find(|(known, _, _)| known == name) else { continue };
            match self.group(caller, name, defaults).await {
                Ok(properties) => groups.push((*name, *layout, properties)),
                Err(error) => return unavailable(&error).into(),
            }
        }
        self.settle_subscription(caller, request, Subject::Provisioning, &BTreeSet::new(), |_, _| {
            Ok((CONTENT_TYPE.to_owned(), write_answer(&groups)))
        })
        .await
    }

    /// The values of one group: defaults, then what follows from the user's dial plan, then the directory's word.
    async fn group(
        &self,
        caller: &Caller,
        name: &str,
        defaults: &[(&str, &str)],
    ) -> Result<Properties, DirectoryError> {
        let mut properties: Properties =
            defaults.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        match name {
            "ServerConfiguration" => {
                if let Some(plan) = self.directory.dial_plan(None).await? {
                    properties.insert("ucLocationProfile".to_owned(), plan.name);
                }
            }
            "userSetting" => {
                let user = self.directory.user(&caller.aor).await?;
                if let Some(plan) = user.and_then(|user| user.dial_plan.clone()) {
                    properties.insert("ucUserLocationProfile".to_owned(), plan);
                }
            }
            _ => {}
        }
        properties.extend(self.directory.policy(&caller.aor, name).await?);
        Ok(properties)
    }

    /// SERVICE for a dial plan. `[MS-SIPRE]` §3.8.5.1.
    pub(in crate::provision) async fn location_profile(&self, profile: &ProfileUri) -> Reply {
        match self.find_profile(profile).await {
            Ok(reply) => reply,
            Err(error) => unavailable(&error),
        }
    }

    async fn find_profile(&self, profile: &ProfileUri) -> Result<Reply, DirectoryError> {
        let Some(user) = self.directory.user(&profile.aor).await? else { return Ok(not_found()) };
        let plan = match &profile.choice {
            Choice::Ambiguous => return Ok(Reply::new(485, "Ambiguous")),
            Choice::Named(name) => self.directory.dial_plan(Some(name)).await?,
            Choice::Assigned => self.directory.dial_plan(user.dial_plan.as_deref()).await?,
        };
        // Without a rule the profile would not be valid.
        Ok(match plan.filter(|plan| !plan.rules.is_empty()) {
            Some(plan) => Reply::ok().with_body(location_profile::CONTENT_TYPE, location_profile::write(&plan)),
            None => Reply::new(404, "Not Found")
                .because(Diagnostics::internal(4007, "No such dial plan, or it has no rules.")),
        })
    }
}
