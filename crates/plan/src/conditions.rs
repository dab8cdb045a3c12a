//! Conditions: their transition time keeps while their status does.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use windlass_api::find_condition;

/// A message in a condition may have 32,768 characters; nobody reads past this many.
const MAX_MESSAGE: usize = 2000;

/// A condition's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// Not known yet.
    Unknown,
}

impl Truth {
    fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Truth {
    fn from(truth: bool) -> Self {
        if truth { Self::True } else { Self::False }
    }
}

/// The conditions of a status that is being written.
#[derive(Debug)]
pub struct Conditions<'a> {
    before: &'a [Condition],
    generation: Option<i64>,
    now: Timestamp,
    list: Vec<Condition>,
}

impl<'a> Conditions<'a> {
    /// Starts from nothing; those before give the transition times.
    pub fn new(before: &'a [Condition], generation: Option<i64>, now: Timestamp) -> Self {
        Self {
            before,
            generation,
            now,
            list: Vec::new(),
        }
    }

    /// Adds a condition.
    #[must_use]
    pub fn with(
        mut self,
        type_: &str,
        truth: impl Into<Truth>,
        reason: &str,
        message: &str,
    ) -> Self {
        let status = truth.into().as_str();
        let kept = find_condition(self.before, type_).filter(|before| before.status == status);
        let mut message = message.to_owned();
        if message.len() > MAX_MESSAGE {
            let cut = (0..=MAX_MESSAGE)
                .rev()
                .find(|at| message.is_char_boundary(*at))
                .unwrap_or(0);
            message.truncate(cut);
            message.push('…');
        }
        self.list.push(Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: self.generation,
            last_transition_time: kept.map_or_else(
                || Time(self.now),
                |before| before.last_transition_time.clone(),
            ),
        });
        self
    }

    /// The conditions.
    pub fn finish(self) -> Vec<Condition> {
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_keeps_while_the_status_does() {
        let (early, late) = (
            Timestamp::UNIX_EPOCH,
            "2026-01-01T00:00:00Z".parse().expect("a time"),
        );
        let before = Conditions::new(&[], Some(1), early)
            .with("Ready", true, "A", "a")
            .finish();
        let after = Conditions::new(&before, Some(2), late)
            .with("Ready", true, "B", "b")
            .with("Stalled", false, "B", "b")
            .finish();
        assert_eq!(after[0].last_transition_time.0, early);
        assert_eq!(after[0].reason, "B");
        assert_eq!(after[1].last_transition_time.0, late);
    }
}
