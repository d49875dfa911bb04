//! Settings, as the server answers for them: groups with their defaults and what the directory says, dial plans.

use super::catalogue::{self, Group, WhenEmpty};
use super::location_profile::{self, Choice, ProfileUri};
use super::message::{CONTENT_TYPE, read_request, write_answer};
use crate::directory::{DirectoryError, Properties};
use crate::provision::request::Request;
use crate::provision::server::{
    Answer, Caller, Provision, bad_document, not_acceptable, not_found, unavailable, wrong_type,
};
use crate::provision::subscription::Subject;
use crate::reply::{Diagnostics, Reply};
use std::collections::BTreeSet;

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
        let mut groups = Vec::new();
        for group in wanted.iter().filter_map(|name| catalogue::group(name)) {
            match self.group(caller, group).await {
                Ok(properties) if properties.is_empty() && group.when_empty == WhenEmpty::Absent => {}
                Ok(properties) => groups.push((group.name, group.layout, properties)),
                Err(error) => return unavailable(&error).into(),
            }
        }
        self.settle_subscription(caller, request, Subject::Provisioning, &BTreeSet::new(), |_, _| {
            Ok((CONTENT_TYPE.to_owned(), write_answer(&groups)))
        })
        .await
    }

    /// The values of one group: defaults, then what follows from the user's dial plan, then the directory's word.
    async fn group(&self, caller: &Caller, group: &Group) -> Result<Properties, DirectoryError> {
        let defaults = group.properties.iter().filter_map(|property| Some((property.name, property.default?)));
        let mut properties: Properties = defaults.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        match group.name {
            "ServerConfiguration" => {
                if let Some(plan) = self.directory.pool_dial_plan(&caller.aor).await? {
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
        properties.extend(self.directory.policy(&caller.aor, group.name).await?);
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
            Choice::Assigned => match &user.dial_plan {
                Some(name) => self.directory.dial_plan(Some(name)).await?,
                None => self.directory.pool_dial_plan(&profile.aor).await?,
            },
        };
        // Without a rule the profile would not be valid.
        Ok(match plan.filter(|plan| !plan.rules.is_empty()) {
            Some(plan) => Reply::ok().with_body(location_profile::CONTENT_TYPE, location_profile::write(&plan)),
            None => Reply::new(404, "Not Found")
                .because(Diagnostics::internal(4007, "No such dial plan, or it has no rules.")),
        })
    }
}
