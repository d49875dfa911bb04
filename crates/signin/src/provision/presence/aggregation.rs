//! From what endpoints publish to the one availability others see. `[MS-PRES]` §3.8.
//!
//! The bands are documented, the exact formula is not; this one is ours and agrees with every documented fact.
//! Input is what is published in one of the containers 2 and 3; container 3 differs only for "do not disturb", which
//! its audience sees as "urgent interruptions only". What an endpoint can do ([`Device`]) is aggregated likewise, into
//! what the user can do ([`Service`]).

/// Available.
pub const AVAILABLE: u32 = 3_500;
/// Available, but nobody is at the machine.
pub const AVAILABLE_IDLE: u32 = 5_000;
/// Busy.
pub const BUSY: u32 = 6_500;
/// Busy, with urgent interruptions only.
pub const URGENT_ONLY: u32 = 6_900;
/// Busy, but nobody is at the machine.
pub const BUSY_IDLE: u32 = 7_500;
/// Do not disturb.
pub const DO_NOT_DISTURB: u32 = 9_500;
/// Be right back.
pub const BE_RIGHT_BACK: u32 = 12_500;
/// Away.
pub const AWAY: u32 = 15_500;
/// Offline, or appearing so.
pub const OFFLINE: u32 = 18_500;

/// The band an availability lies in, in words.
pub fn describe(availability: u32) -> &'static str {
    match availability {
        0..3_000 => "unknown",
        3_000..4_500 => "available",
        4_500..6_000 => "available, idle",
        6_000..7_500 => "busy",
        7_500..9_000 => "busy, idle",
        9_000..12_000 => "do not disturb",
        12_000..15_000 => "be right back",
        15_000..18_000 => "away",
        18_000.. => "offline",
    }
}

/// Which kind of `state` a publication is: its `xsi:type`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateKind {
    /// Chosen by the user.
    User,
    /// Whether somebody is at the machine.
    Machine,
    /// From the calendar.
    Calendar,
    /// On the phone.
    Phone,
    /// Made by the server from the others.
    Aggregate,
    /// Any other.
    Other(String),
}

impl StateKind {
    /// Reads an `xsi:type`.
    pub fn from_type(text: &str) -> StateKind {
        match text.rsplit(':').next().unwrap_or(text) {
            "userState" => StateKind::User,
            "machineState" => StateKind::Machine,
            "calendarState" => StateKind::Calendar,
            "phoneState" => StateKind::Phone,
            "aggregateState" => StateKind::Aggregate,
            other => StateKind::Other(other.to_owned()),
        }
    }
}

/// What somebody is doing, and in which availabilities that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// A token such as `in-a-meeting`; empty when it is only described.
    pub token: String,
    /// Descriptions by language: LCID and text.
    pub custom: Vec<(String, String)>,
    /// Lowest availability it counts in.
    pub lowest: u32,
    /// Highest one.
    pub highest: u32,
}

/// One published `state`, as far as aggregation is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Its kind.
    pub kind: StateKind,
    /// Chosen by hand.
    pub manual: bool,
    /// 0 or absent: not set.
    pub availability: Option<u32>,
    /// What the user is doing, according to this state.
    pub activities: Vec<Activity>,
    /// Where, and in which meeting.
    pub circumstances: Circumstances,
}

/// Where somebody is and what is going on, each piece as it was published; empty where nothing is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Circumstances {
    /// Where the machine is.
    pub endpoint_location: String,
    /// What the meeting is about.
    pub meeting_subject: String,
    /// Where it is held.
    pub meeting_location: String,
    /// Minutes from UTC, as the machine gives them.
    pub time_zone_bias: String,
    /// Name of the time zone.
    pub time_zone_name: String,
    /// Short name of the time zone.
    pub time_zone_abbreviation: String,
    /// Kind of machine, `computer` or `Mobile`.
    pub device: String,
}

/// Which container is aggregated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// 2: for colleagues and most others.
    Two,
    /// 3: for the workgroup.
    Three,
}

/// What others see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    /// In one of the bands of [`describe`].
    pub availability: u32,
    /// What the user is doing.
    pub activity: Option<Activity>,
    /// Where, and in which meeting.
    pub circumstances: Circumstances,
}

impl Aggregate {
    /// What is said of everybody who is not signed in.
    pub fn offline() -> Aggregate {
        Aggregate { availability: OFFLINE, activity: None, circumstances: Circumstances::default() }
    }

    /// What those outside the enterprise may know of it: the availability alone.
    pub fn outside(&self) -> Aggregate {
        Aggregate { availability: self.availability, ..Aggregate::offline() }
    }

    /// Whether nobody seems to be at any machine.
    pub fn is_idle(&self) -> bool {
        matches!(self.availability, 4_500..6_000 | 7_500..9_000 | 15_000..18_000)
    }
}

/// Aggregates the states of one container, oldest publication first. Call it only while an endpoint is signed in;
/// without one everybody is [`OFFLINE`].
pub fn aggregate(input: Input, states: &[&State]) -> Aggregate {
    let machine_state = busiest_machine(states);
    let machine = machine_state.and_then(|s| s.availability).unwrap_or(AVAILABLE);
    let chosen = states.iter().rposition(|s| s.kind == StateKind::User && s.availability.is_some_and(|a| a > 0));
    let user = chosen.and_then(|at| states.get(at)).and_then(|s| s.availability);

    let availability = match user {
        Some(user) if user >= 9_000 => user,
        _ => {
            let since = chosen.map_or(0, |at| at + 1);
            let later = states.iter().skip(since).filter(|s| matches!(s.kind, StateKind::Calendar | StateKind::Phone));
            let busiest = later.filter_map(|s| s.availability).chain(user.filter(|u| *u >= 3_000)).max();
            with_machine(busiest.unwrap_or(0).max(AVAILABLE), machine)
        }
    };
    let circumstances = circumstances(availability, machine_state, states);
    if input == Input::Three && (9_000..12_000).contains(&availability) {
        let token = "urgent-interruptions-only".to_owned();
        let activity = Activity { token, custom: Vec::new(), lowest: URGENT_ONLY, highest: 8_999 };
        return Aggregate { availability: URGENT_ONLY, activity: Some(activity), circumstances };
    }
    let counts = |a: &&Activity| (a.lowest..=a.highest).contains(&availability);
    let speaking = states.iter().rev().filter(|s| !matches!(s.kind, StateKind::Machine | StateKind::Aggregate));
    let activity = speaking.flat_map(|s| s.activities.iter()).find(counts).cloned();
    Aggregate { availability, activity, circumstances }
}

/// The state of the machine somebody is most likely at: the lowest availability, of equals the newest.
pub fn busiest_machine<'a>(states: &[&'a State]) -> Option<&'a State> {
    let machines =
        states.iter().rev().filter(|s| s.kind == StateKind::Machine && s.availability.is_some_and(|a| a > 0));
    machines.copied().min_by_key(|state| state.availability)
}

/// A place counts while its user may be there, a meeting while it keeps its user busy.
fn circumstances(availability: u32, machine: Option<&State>, states: &[&State]) -> Circumstances {
    let at = machine.map(|state| state.circumstances.clone()).unwrap_or_default();
    let meeting = states.iter().rev().find(|s| s.kind == StateKind::Calendar && s.availability.is_some_and(|a| a > 0));
    let meeting = meeting.filter(|_| (6_000..12_000).contains(&availability)).map(|state| &state.circumstances);
    let of_meeting = |pick: fn(&Circumstances) -> &String| meeting.map(pick).cloned().unwrap_or_default();
    Circumstances {
        endpoint_location: if availability < 12_000 { at.endpoint_location } else { String::new() },
        meeting_subject: of_meeting(|c| &c.meeting_subject),
        meeting_location: of_meeting(|c| &c.meeting_location),
        ..at
    }
}

/// What one endpoint can do: its `device` category.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The endpoint, as it names itself.
    pub endpoint_id: String,
    /// The user wants to be reached there.
    pub preferred: bool,
    /// What it can do.
    pub capabilities: Vec<Capability>,
}

/// One thing an endpoint can do, such as `text` or `voice`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    /// Its name.
    pub name: String,
    /// It can send this.
    pub capture: bool,
    /// It can show this.
    pub render: bool,
}

/// One thing a user can do at one endpoint at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The capability, over all endpoints that have it.
    pub capability: Capability,
    /// Availability of the busiest of those machines.
    pub availability: u32,
    /// The endpoint to be preferred, where one is.
    pub preferred: Option<String>,
}

/// From what endpoints can do to what the user can do. With each device comes the availability of its machine.
pub fn services(devices: &[(&Device, u32)]) -> Vec<Service> {
    let mut services: Vec<Service> = Vec::new();
    for (device, availability) in devices {
        for capability in &device.capabilities {
            let preferred = device.preferred.then(|| device.endpoint_id.clone());
            match services.iter_mut().find(|service| service.capability.name == capability.name) {
                Some(known) => {
                    known.capability.capture |= capability.capture;
                    known.capability.render |= capability.render;
                    known.availability = known.availability.min(*availability);
                    known.preferred = known.preferred.take().or(preferred);
                }
                None => {
                    services.push(Service { capability: capability.clone(), availability: *availability, preferred })
                }
            }
        }
    }
    services
}

/// Nobody at the machine makes "available" and "busy" idle, and after a while away.
fn with_machine(busiest: u32, machine: u32) -> u32 {
    match (busiest, machine) {
        (9_000.., _) => busiest,
        (_, 15_000..) => AWAY,
        // pidgin-sipe publishes what its user chose as the machine's state too: a busy machine is no idle one.
        (AVAILABLE, 4_500..6_000) => AVAILABLE_IDLE,
        (6_000..7_500, 4_500..6_000) => BUSY_IDLE,
        _ => busiest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(kind: StateKind, availability: u32) -> State {
        let (activities, circumstances) = (Vec::new(), Circumstances::default());
        State { kind, manual: false, availability: Some(availability), activities, circumstances }
    }

    #[test]
    fn the_formula_case_by_case() {
        use StateKind::{Calendar, Machine, Phone, User};
        let cases: &[(&[(StateKind, u32)], u32)] = &[
            (&[], AVAILABLE),
            (&[(Machine, 3500)], AVAILABLE),
            (&[(Machine, 5000)], AVAILABLE_IDLE),
            (&[(Machine, 15500)], AWAY),
            (&[(Machine, 15500), (Machine, 3500)], AVAILABLE),
            (&[(Machine, 3500), (User, 6500)], BUSY),
            (&[(Machine, 5000), (User, 6500)], BUSY_IDLE),
            (&[(Machine, 15500), (User, 6500)], AWAY),
            (&[(Machine, 15500), (User, 9500)], DO_NOT_DISTURB),
            (&[(Machine, 3500), (User, 18500)], OFFLINE),
            (&[(User, 0), (Machine, 3500), (Calendar, 6500)], BUSY),
            (&[(Machine, 3500), (Calendar, 6500), (User, 3500)], AVAILABLE),
            (&[(Machine, 3500), (User, 3500), (Phone, 6500)], BUSY),
            (&[(User, 9500), (Phone, 6500)], DO_NOT_DISTURB),
            (&[(User, 12500), (User, 3500)], AVAILABLE),
            (&[(Machine, 6500), (User, 6500)], BUSY),
            (&[(Machine, 12500), (User, 3500)], AVAILABLE),
        ];
        for (published, expected) in cases {
            let states: Vec<State> = published.iter().map(|(kind, a)| state(kind.clone(), *a)).collect();
            let states: Vec<&State> = states.iter().collect();
            assert_eq!(aggregate(Input::Two, &states).availability, *expected, "{published:?}");
        }
    }

    #[test]
    fn the_workgroup_may_interrupt() {
        let user = state(StateKind::User, 9500);
        let seen = aggregate(Input::Three, &[&user]);
        assert_eq!(seen.availability, URGENT_ONLY);
        assert_eq!(seen.activity.map(|a| a.token).as_deref(), Some("urgent-interruptions-only"));
    }

    #[test]
    fn an_activity_counts_only_in_its_band() {
        let meeting =
            |lowest, highest| Activity { token: "in-a-meeting".to_owned(), custom: Vec::new(), lowest, highest };
        let calendar = State { activities: vec![meeting(6_500, 8_999)], ..state(StateKind::Calendar, 6_500) };
        let machine = state(StateKind::Machine, AVAILABLE);
        assert!(aggregate(Input::Two, &[&machine, &calendar]).activity.is_some());
        let user = state(StateKind::User, AVAILABLE);
        assert_eq!(aggregate(Input::Two, &[&machine, &calendar, &user]).activity, None);
    }

    #[test]
    fn places_and_meetings_are_told_while_they_count() {
        let desk =
            |location: &str| Circumstances { endpoint_location: location.to_owned(), ..Circumstances::default() };
        let meeting = Circumstances { meeting_subject: "Budget".to_owned(), ..Circumstances::default() };
        let idle = State { circumstances: desk("Home"), ..state(StateKind::Machine, AVAILABLE_IDLE) };
        let active = State { circumstances: desk("Office"), ..state(StateKind::Machine, AVAILABLE) };
        let calendar = State { circumstances: meeting, ..state(StateKind::Calendar, BUSY) };
        let seen = aggregate(Input::Two, &[&active, &idle, &calendar]).circumstances;
        assert_eq!((seen.endpoint_location.as_str(), seen.meeting_subject.as_str()), ("Office", "Budget"));
        let gone = state(StateKind::User, AWAY);
        let seen = aggregate(Input::Two, &[&active, &calendar, &gone]);
        assert_eq!(seen.circumstances, Circumstances::default());
        assert!(seen.is_idle());
        assert_eq!(aggregate(Input::Two, &[&active, &calendar]).outside().circumstances, Circumstances::default());
    }

    #[test]
    fn what_any_endpoint_can_do_the_user_can_do() {
        let capability = |name: &str, capture, render| Capability { name: name.to_owned(), capture, render };
        let device = |id: &str, preferred, capabilities| Device { endpoint_id: id.to_owned(), preferred, capabilities };
        let phone = device("phone", true, vec![capability("voice", true, true), capability("text", false, true)]);
        let desk = device("desk", false, vec![capability("text", true, false)]);
        let services = services(&[(&phone, AWAY), (&desk, AVAILABLE)]);
        let voice = Service {
            capability: capability("voice", true, true),
            availability: AWAY,
            preferred: Some("phone".to_owned()),
        };
        let text = Service {
            capability: capability("text", true, true),
            availability: AVAILABLE,
            preferred: Some("phone".to_owned()),
        };
        assert_eq!(services, [voice, text]);
    }
}
