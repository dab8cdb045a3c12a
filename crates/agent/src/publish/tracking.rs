//! A server that speaks MLflow's REST API 2.0.
//!
//! What is a question and what is a write is said by the caller: MLflow asks questions by `POST` too.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;
use windlass_api::agent::FailureReason;

use crate::report::chain;

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);
/// How much of an answer an error holds, bytes.
const MAX_ANSWER: usize = 300;

const USERNAME: &str = "MLFLOW_TRACKING_USERNAME";
const PASSWORD: &str = "MLFLOW_TRACKING_PASSWORD";
const TOKEN: &str = "MLFLOW_TRACKING_TOKEN";

/// Who asks. There is no `Debug`: nothing is to print it.
pub(super) enum Credentials {
    /// No one in particular.
    Anonymous,
    /// A user, by HTTP's basic authentication.
    User { name: String, password: String },
    /// The bearer of a token.
    Bearer { token: String },
}

impl Credentials {
    /// As MLflow's own clients read them: a user's name and password come before a token. Space around a value is not
    /// part of it, since files that Secrets are made from end with a line break.
    ///
    /// # Errors
    /// A sentence that names the variable which is missing or holds what no header can.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let variable = |name| {
            let value = variable(name)?.trim().to_owned();
            (!value.is_empty()).then_some(value)
        };
        let missing = |is, is_not| {
            format!(
                "{is} is set and {is_not} is not: set both, or only {TOKEN}, or none of the three"
            )
        };
        match (variable(USERNAME), variable(PASSWORD), variable(TOKEN)) {
            (Some(name), Some(password), _) => Ok(Self::User { name, password }),
            (Some(_), None, _) => Err(missing(USERNAME, PASSWORD)),
            (None, Some(_), _) => Err(missing(PASSWORD, USERNAME)),
            (None, None, Some(token)) if token.chars().all(|one| one.is_ascii_graphic()) => {
                Ok(Self::Bearer { token })
            }
            (None, None, Some(_)) => Err(format!(
                "{TOKEN} holds spaces or characters that a token cannot have: look at the Secret that it comes from"
            )),
            (None, None, None) => Ok(Self::Anonymous),
        }
    }

    fn sign(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Anonymous => request,
            Self::User { name, password } => request.basic_auth(name, Some(password)),
            Self::Bearer { token } => request.bearer_auth(token),
        }
    }

    /// What nobody may read.
    fn secret(&self) -> Option<&str> {
        match self {
            Self::Anonymous => None,
            Self::User { password, .. } => Some(password),
            Self::Bearer { token } => Some(token),
        }
    }

    /// What to look at where they are refused.
    fn advice(&self) -> String {
        match self {
            Self::Anonymous => format!(
                "no credentials were given: set {USERNAME} and {PASSWORD}, or {TOKEN}, from a Secret"
            ),
            Self::User { .. } => {
                format!("look at {USERNAME} and {PASSWORD}, and at what this user may do")
            }
            Self::Bearer { .. } => format!("look at {TOKEN}, and at what its bearer may do"),
        }
    }
}

/// Why MLflow could not be asked or told something. `request` is such as `POST /api/2.0/mlflow/runs/create`.
#[derive(Debug, Error)]
pub(super) enum TrackingError {
    /// There is no answer.
    #[error(
        "MLflow at {base} cannot be reached ({request}): see that it runs, and that this pod may connect to it"
    )]
    Unreachable {
        base: String,
        request: String,
        source: reqwest::Error,
    },
    /// The server cannot answer now.
    #[error("MLflow at {base} is not able to answer {request} now, it says {status}: {said}")]
    Unavailable {
        base: String,
        request: String,
        status: StatusCode,
        said: String,
    },
    /// The server does not let us.
    #[error("MLflow at {base} does not allow {request}, it says {status}: {said}; {advice}")]
    NotAllowed {
        base: String,
        request: String,
        status: StatusCode,
        said: String,
        advice: String,
    },
    /// Whatever answers is not MLflow.
    #[error(
        "what answers {request} at {base} is not MLflow's REST API 2.0: {what}; --tracking-uri has to be the address \
         of the server, with the path in front of /api, where there is one"
    )]
    NotMlflow {
        base: String,
        request: String,
        what: String,
    },
    /// MLflow says no.
    #[error("MLflow at {base} refuses {request} with {code}: {said}")]
    Refused {
        base: String,
        request: String,
        code: String,
        said: String,
    },
    /// What is to be written to was deleted there.
    #[error(
        "{what} was deleted in MLflow and not yet removed: restore it, or name another with {option}"
    )]
    Deleted { what: String, option: &'static str },
}

impl TrackingError {
    /// Whether a repetition may mend it.
    pub fn reason(&self) -> FailureReason {
        match self {
            Self::Unreachable { .. } | Self::Unavailable { .. } => {
                FailureReason::TrackingUnreachable
            }
            Self::NotAllowed { .. }
            | Self::NotMlflow { .. }
            | Self::Refused { .. }
            | Self::Deleted { .. } => FailureReason::TrackingRefused,
        }
    }

    /// Whether MLflow said this of what was asked for: `RESOURCE_DOES_NOT_EXIST`, ….
    fn is(&self, expected: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == expected)
    }
}

/// An answer, if what it is about is there.
pub(super) fn if_there<T>(answer: Result<T, TrackingError>) -> Result<Option<T>, TrackingError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(problem) if problem.is("RESOURCE_DOES_NOT_EXIST") => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// An answer, if what was to be made is not there: somebody else made it meanwhile.
pub(super) fn unless_there<T>(
    answer: Result<T, TrackingError>,
) -> Result<Option<T>, TrackingError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(problem) if problem.is("RESOURCE_ALREADY_EXISTS") => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// How MLflow says what is wrong.
#[derive(Deserialize)]
struct Said {
    error_code: String,
    #[serde(default)]
    message: String,
}

/// The server.
pub(super) struct Tracking {
    /// The address, without a slash at its end.
    base: String,
    client: reqwest::Client,
    credentials: Credentials,
    wrote: u64,
}

impl Tracking {
    /// # Errors
    /// A sentence, where the address is none that can be asked. It does not hold the address: a password may be in it.
    pub fn new(uri: &str, credentials: Credentials) -> Result<Self, String> {
        let url = Url::parse(uri)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or("--tracking-uri is not an address such as https://mlflow.example.com")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!(
                "--tracking-uri holds a user or a password, which everyone reads who sees the pod: set {USERNAME} and \
                 {PASSWORD} from a Secret instead"
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("--tracking-uri must have no '?' and no '#'".to_owned());
        }
        let client = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            // One leads to a page for logging in; a write would become a question on its way.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|problem| chain(&problem))?;
        Ok(Self {
            base: url.as_str().trim_end_matches('/').to_owned(),
            client,
            credentials,
            wrote: 0,
        })
    }

    /// How many requests have written something.
    pub fn wrote(&self) -> u64 {
        self.wrote
    }

    /// A text without what nobody may read, whoever put it there.
    pub fn without_secrets(&self, text: &str) -> String {
        match self.credentials.secret() {
            Some(secret) => text.replace(secret, "***"),
            None => text.to_owned(),
        }
    }

    /// Asks by `GET`.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, TrackingError> {
        let request = self.client.get(self.address(path)).query(query);
        self.answer(request, &Method::GET, path).await
    }

    /// Asks by `POST`.
    pub async fn search<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<T, TrackingError> {
        let request = self.client.post(self.address(path)).json(body);
        self.answer(request, &Method::POST, path).await
    }

    /// Writes.
    pub async fn write<T: DeserializeOwned>(
        &mut self,
        method: &Method,
        path: &str,
        body: &Value,
    ) -> Result<T, TrackingError> {
        let request = self
            .client
            .request(method.clone(), self.address(path))
            .json(body);
        let answer = self.answer(request, method, path).await?;
        self.wrote += 1;
        Ok(answer)
    }

    fn address(&self, path: &str) -> String {
        format!("{}/api/2.0/mlflow/{path}", self.base)
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        method: &Method,
        path: &str,
    ) -> Result<T, TrackingError> {
        let name = format!("{method} /api/2.0/mlflow/{path}");
        let unreachable = |problem: reqwest::Error| TrackingError::Unreachable {
            base: self.base.clone(),
            request: name.clone(),
            source: problem.without_url(),
        };
        let answer = self.credentials.sign(request).send().await;
        let answer = answer.map_err(unreachable)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(unreachable)?;
        if !status.is_success() {
            return Err(self.problem(name, status, &body));
        }
        serde_json::from_slice(&body).map_err(|problem| TrackingError::NotMlflow {
            base: self.base.clone(),
            request: name,
            what: format!("its answer is not what that is answered with ({problem})"),
        })
    }

    /// What an answer other than a good one means.
    fn problem(&self, request: String, status: StatusCode, body: &[u8]) -> TrackingError {
        let base = self.base.clone();
        let said = serde_json::from_slice::<Said>(body).ok();
        let text = match &said {
            Some(said) => excerpt(&said.message),
            None => excerpt(&String::from_utf8_lossy(body)),
        };
        match (status, said) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => TrackingError::NotAllowed {
                base,
                request,
                status,
                said: text,
                advice: self.credentials.advice(),
            },
            (StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT, _) => {
                TrackingError::Unavailable {
                    base,
                    request,
                    status,
                    said: text,
                }
            }
            (status, _) if status.is_server_error() => TrackingError::Unavailable {
                base,
                request,
                status,
                said: text,
            },
            (_, Some(said)) => TrackingError::Refused {
                base,
                request,
                code: said.error_code,
                said: text,
            },
            (_, None) => TrackingError::NotMlflow {
                base,
                request,
                what: format!("it says {status}: {text}"),
            },
        }
    }
}

/// The beginning of what a server says, on one line.
fn excerpt(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line[..line.floor_char_boundary(MAX_ANSWER)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(set: &[(&str, &str)]) -> Result<Credentials, String> {
        Credentials::from_environment(|name| {
            let found = set.iter().find(|(is, _)| *is == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn credentials_are_whole_or_said_to_be_missing_and_never_shown() {
        let secret = |set: &[(&str, &str)]| {
            let credentials = credentials(set).expect("credentials");
            credentials.secret().map(ToOwned::to_owned)
        };
        assert_eq!(secret(&[]), None);
        assert_eq!(secret(&[(USERNAME, ""), (PASSWORD, "")]), None);
        let both = [(USERNAME, "ann"), (PASSWORD, "hush\n"), (TOKEN, "t")];
        assert_eq!(secret(&both).as_deref(), Some("hush"));
        assert_eq!(secret(&[(TOKEN, "t\n")]).as_deref(), Some("t"));
        for (set, said) in [
            ((USERNAME, "hush"), PASSWORD),
            ((PASSWORD, "hush"), USERNAME),
            ((TOKEN, "hush hush"), TOKEN),
        ] {
            let problem = credentials(&[set]).err().expect("a problem");
            assert!(
                problem.contains(said) && !problem.contains("hush"),
                "{problem}"
            );
        }
    }

    #[test]
    fn an_address_is_one_of_http_without_a_password() {
        let problem = |uri: &str| Tracking::new(uri, Credentials::Anonymous).err();
        assert_eq!(problem("https://mlflow.example.com/path/"), None);
        for uri in [
            "sqlite:///mlflow.db",
            "mlflow",
            "http://ann:hush@mlflow",
            "http://m/?x=hush",
        ] {
            let problem = problem(uri).expect("a problem");
            assert!(problem.contains("--tracking-uri"), "{problem}");
            assert!(!problem.contains("hush"), "{problem}");
        }
    }

    #[test]
    fn what_answers_is_told_apart() {
        let user = Credentials::User {
            name: "ann".to_owned(),
            password: "hush".to_owned(),
        };
        let tracking = Tracking::new("http://mlflow:5000/", user).expect("an address");
        let no = r#"{"error_code": "INVALID_PARAMETER_VALUE", "message": "no"}"#;
        for (status, body, reason, said) in [
            (500, "oh", FailureReason::TrackingUnreachable, "500"),
            (503, no, FailureReason::TrackingUnreachable, "no"),
            (429, "", FailureReason::TrackingUnreachable, "429"),
            (401, "who?", FailureReason::TrackingRefused, USERNAME),
            (403, no, FailureReason::TrackingRefused, PASSWORD),
            (
                404,
                "<html>",
                FailureReason::TrackingRefused,
                "--tracking-uri",
            ),
            (302, "", FailureReason::TrackingRefused, "--tracking-uri"),
            (
                400,
                no,
                FailureReason::TrackingRefused,
                "INVALID_PARAMETER_VALUE: no",
            ),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let problem = tracking.problem("GET /x".to_owned(), status, body.as_bytes());
            let text = chain(&problem);
            assert_eq!(problem.reason(), reason, "{text}");
            assert!(text.contains(said) && text.contains("GET /x"), "{text}");
        }
        assert_eq!(tracking.without_secrets("you sent hush"), "you sent ***");
    }
}
