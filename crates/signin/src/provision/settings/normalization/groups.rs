//! The groups of a .NET pattern: which number each has, and where the engine has it.

/// The groups of a pattern, as .NET numbers them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Groups {
    /// In order of their numbers, without group 0.
    slots: Vec<Slot>,
}

/// One group, which may stand at several places.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slot {
    number: u32,
    name: Option<String>,
    /// Numbers of the engine, in order.
    places: Vec<usize>,
}

impl Groups {
    /// The places of the group of this number; 0 is the whole match.
    pub(super) fn numbered(&self, number: u32) -> Option<&[usize]> {
        if number == 0 {
            return Some(&[0]);
        }
        self.slots.iter().find(|slot| slot.number == number).map(|slot| slot.places.as_slice())
    }

    /// The places of the group of this name, case kept.
    pub(super) fn named(&self, name: &str) -> Option<&[usize]> {
        self.slots.iter().find(|slot| slot.name.as_deref() == Some(name)).map(|slot| slot.places.as_slice())
    }

    /// Whether one group stands at several places.
    pub(super) fn has_repeated(&self) -> bool {
        self.slots.iter().any(|slot| slot.places.len() > 1)
    }

    /// The places of the group with the highest number; the whole match when there is no group.
    pub(super) fn last(&self) -> &[usize] {
        self.slots.last().map_or(&[0], |slot| slot.places.as_slice())
    }
}

/// How a group is called in the pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Label {
    Unnamed,
    Number(u32),
    Name(String),
}

/// Gives the groups the numbers of .NET: unnamed ones in order, then names in order in the numbers left.
pub(super) fn number(labels: &[Label]) -> Groups {
    let mut groups = Groups::default();
    let mut put = |number: u32, name: Option<&String>, place: usize| {
        let slots = &mut groups.slots;
        match slots.iter_mut().find(|slot| slot.number == number) {
            Some(slot) => slot.places.push(place),
            None => slots.push(Slot { number, name: name.cloned(), places: vec![place] }),
        }
    };
    let mut unnamed = 0;
    for (place, label) in (1..).zip(labels) {
        match label {
            Label::Unnamed => {
                unnamed += 1;
                put(unnamed, None, place);
            }
            Label::Number(number) => put(*number, None, place),
            Label::Name(_) => {}
        }
    }
    let mut next = unnamed + 1;
    for (place, label) in (1..).zip(labels) {
        let Label::Name(name) = label else { continue };
        if let Some(slot) = groups.slots.iter_mut().find(|slot| slot.name.as_ref() == Some(name)) {
            slot.places.push(place);
            continue;
        }
        while groups.slots.iter().any(|slot| slot.number == next) {
            next += 1;
        }
        groups.slots.push(Slot { number: next, name: Some(name.clone()), places: vec![place] });
    }
    groups.slots.sort_by_key(|slot| slot.number);
    for slot in &mut groups.slots {
        slot.places.sort_unstable();
    }
    groups
}
