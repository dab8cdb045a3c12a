//! How requests end, and why rows of the log are lost.

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client was given this status, or the one of gRPC that means the same.
    Status(u16),
    /// The answer did not come, or broke off: the server failed, or the client had gone before it answered.
    Unanswered,
    /// The client broke its own request off: nothing is said about the server.
    Cancelled,
}

/// What a request that its client broke off is logged with, as nginx has it.
const CLIENT_CLOSED_REQUEST: u16 = 499;

impl Outcome {
    /// Classes as metrics name them, in the order of [`Outcome::class`].
    pub const CLASSES: [&'static str; 7] =
        ["1xx", "2xx", "3xx", "4xx", "5xx", "unanswered", "cancelled"];

    /// Of an answer of gRPC, by its code (`google.rpc.Code`).
    pub fn of_grpc(code: u16) -> Self {
        Self::Status(match code {
            0 => 200,
            3 | 9 | 11 => 400,
            4 => 504,
            // NOT_FOUND; and UNIMPLEMENTED, which is said of a method that nobody has.
            5 | 12 => 404,
            6 | 10 => 409,
            7 => 403,
            8 => 429,
            14 => 503,
            16 => 401,
            // UNKNOWN, INTERNAL, DATA_LOSS, and what is no code; and CANCELLED: to a client that cancelled nothing is said.
            _ => 500,
        })
    }

    /// The status; absent where there was no answer.
    pub fn status(self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status),
            Self::Cancelled => Some(CLIENT_CLOSED_REQUEST),
            Self::Unanswered => None,
        }
    }

    /// The place of its class.
    pub fn class(self) -> usize {
        match self {
            Self::Status(status) => usize::from((status / 100).clamp(1, 5)) - 1,
            Self::Unanswered => 5,
            Self::Cancelled => 6,
        }
    }

    /// Whether the model server failed.
    pub fn is_error(self) -> bool {
        matches!(self, Self::Unanswered | Self::Status(500..))
    }
}

/// Why rows are not in the payload log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// A body was larger than what is kept of one, or as much as may be kept was kept already.
    TooLarge,
    /// A body broke off.
    BrokenOff,
    /// The log's thread was behind.
    Behind,
    /// The bodies are not what the protocol says.
    Unreadable,
    /// The spool was full, or its disk was.
    SpoolFull,
}

impl Loss {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::TooLarge,
        Self::BrokenOff,
        Self::Behind,
        Self::Unreadable,
        Self::SpoolFull,
    ];

    /// As metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::BrokenOff => "broken_off",
            Self::Behind => "behind",
            Self::Unreadable => "unreadable",
            Self::SpoolFull => "spool_full",
        }
    }

    /// As it is said to people.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::TooLarge => "a body was too large, or too many were kept at once",
            Self::BrokenOff => "a body broke off",
            Self::Behind => "they came quicker than they could be read",
            Self::Unreadable => "a request is not what --protocol and the model's signature say",
            Self::SpoolFull => {
                "the spool has no room: see --spool-limit, and whether --log-uri can be written to"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_of_grpc_count_as_those_of_http_that_mean_the_same() {
        let errors = (0..=16).filter(|code| Outcome::of_grpc(*code).is_error());
        assert_eq!(errors.collect::<Vec<_>>(), [1, 2, 4, 13, 14, 15]);
        assert_eq!(Outcome::of_grpc(0), Outcome::Status(200));
        assert_eq!(Outcome::of_grpc(8), Outcome::Status(429));
        assert_eq!(Outcome::of_grpc(99), Outcome::Status(500));
    }
    #[test]
    fn what_a_client_broke_off_is_no_error_and_is_logged_as_499() {
        let cancelled = Outcome::Cancelled;
        assert!(!cancelled.is_error());
        assert_eq!(cancelled.status(), Some(499));
        assert_eq!(Outcome::CLASSES[cancelled.class()], "cancelled");
    }
}
