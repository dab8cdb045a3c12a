//! The administrator's Prometheus: the one client of it.

use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use kube::Client;
use kube::client::Body;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::outside::Configured;

/// How long Prometheus may take to answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The administrator's Prometheus, or what speaks as it does (Thanos, Mimir, VictoriaMetrics).
#[derive(Clone)]
pub struct Prometheus {
    client: Client,
    url: String,
}

/// Why it did not answer.
#[derive(Debug, thiserror::Error)]
pub enum PrometheusError {
    /// The request failed.
    #[error("asking Prometheus: {0}")]
    Request(#[from] kube::Error),
    /// It did not answer in time.
    #[error("asking Prometheus: no answer within {TIMEOUT:?}")]
    Timeout,
    /// The answer broke off, or is too long.
    #[error("reading Prometheus' answer: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// It is no answer of Prometheus'.
    #[error(
        "Prometheus answered {status} with something else than a vector or a number ({error}): {start}"
    )]
    Unreadable {
        /// How it answered.
        status: http::StatusCode,
        /// What is wrong with it.
        error: String,
        /// How it begins.
        start: String,
    },
    /// Where counts were asked for.
    #[error("Prometheus answered {0:?}, which is no count")]
    NoCount(String),
    /// It said no.
    #[error("Prometheus refused the query: {0}")]
    Refused(String),
    /// A part is missing.
    #[error("Prometheus answered in part: {0}")]
    Partial(String),
}

impl Prometheus {
    /// A client. Files are read again as they change.
    pub fn new(
        url: &str,
        token_file: Option<&Path>,
        ca_file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let configured = Configured {
            name: "prometheus",
            path: "the path under which Prometheus is served if it has one",
            url,
            token_file,
            ca_file,
        };
        let client = configured.client(configured.address()?)?;
        Ok(Self {
            client,
            url: url.to_owned(),
        })
    }

    /// Its address, for others that ask it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What a query answers now: series, each with labels that can be read as `M`, or a number without any.
    ///
    /// # Errors
    /// Where there is no answer, one that is no instant vector and no number, one that is longer, or a refusal.
    pub async fn query<M: DeserializeOwned>(
        &self,
        query: &str,
        max_bytes: usize,
    ) -> Result<Values<M>, PrometheusError> {
        let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
        let request = http::Request::get(format!("/api/v1/query?query={query}"))
            .body(Body::empty())
            .expect("what is encoded can stand in an address");
        let answer = async {
            let response = self.client.send(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), max_bytes)
                .collect()
                .await
                .map_err(PrometheusError::Body)?
                .to_bytes();
            read(status, &body)
        };
        tokio::time::timeout(TIMEOUT, answer)
            .await
            .map_err(|_| PrometheusError::Timeout)?
    }
}

/// What was answered; a number without labels is one that has none.
#[derive(Debug)]
pub struct Values<M>(pub Vec<Sample<M>>);

/// One series, now.
#[derive(Debug, Deserialize)]
pub struct Sample<M> {
    /// Its labels.
    pub metric: M,
    /// Seconds, and the number as text.
    pub value: (f64, String),
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Said<M> {
    Success {
        data: Data<M>,
        #[serde(default)]
        warnings: Vec<String>,
    },
    Error {
        error: String,
    },
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data<M> {
    Vector(Vec<Sample<M>>),
    Scalar((f64, String)),
}

/// Reads an answer.
pub(super) fn read<M: DeserializeOwned>(
    status: http::StatusCode,
    body: &[u8],
) -> Result<Values<M>, PrometheusError> {
    let unreadable = |error: String| PrometheusError::Unreadable {
        status,
        error,
        start: String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned(),
    };
    let said: Said<M> =
        serde_json::from_slice(body).map_err(|error| unreadable(error.to_string()))?;
    let (data, warnings) = match said {
        Said::Success { data, warnings } => (data, warnings),
        Said::Error { error } => return Err(PrometheusError::Refused(error)),
    };
    if !warnings.is_empty() {
        return Err(PrometheusError::Partial(warnings.join("; ")));
    }
    match data {
        Data::Vector(samples) => Ok(Values(samples)),
        Data::Scalar(value) => {
            let metric =
                serde_json::from_str("{}").map_err(|error| unreadable(error.to_string()))?;
            Ok(Values(vec![Sample { metric, value }]))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Labels = BTreeMap<String, String>;

    #[test]
    fn series_and_numbers_are_read_and_anything_else_is_an_error_that_says_what_it_was() {
        let of = |body: &str| read::<Labels>(http::StatusCode::OK, body.as_bytes());
        for (body, expected) in [
            (
                r#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"7"]}}"#,
                "7",
            ),
            (
                r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1,"NaN"]}]}}"#,
                "NaN",
            ),
        ] {
            let values = of(body).expect("an answer").0;
            assert_eq!(values.len(), 1, "{body}");
            assert_eq!(values[0].value.1, expected, "{body}");
        }
        for (body, expected) in [
            (
                r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#,
                "refused the query: parse error",
            ),
            (
                r#"{"status":"success","warnings":["a store is away"],"data":{"resultType":"vector","result":[]}}"#,
                "in part: a store is away",
            ),
            ("<html>sign in</html>", "<html>sign in</html>"),
            (
                r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#,
                "something else than a vector or a number",
            ),
        ] {
            let error = of(body).err().map(|error| error.to_string());
            assert!(
                error.as_ref().is_some_and(|error| error.contains(expected)),
                "{body}: {error:?}"
            );
        }
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_meant_is_refused_with_what_is() {
        for (url, expected) in [
            ("prometheus:9090", "must be http://HOST:PORT"),
            ("ftp://prometheus", "must be http://HOST:PORT"),
            ("http://prometheus/?x=1", "must be http://HOST:PORT"),
            ("http://a:b@prometheus", "--prometheus-token-file"),
            ("", "must be http://HOST:PORT"),
        ] {
            let error = Prometheus::new(url, None, None).err();
            let error = error.map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(error.contains(expected), "{url}: {error}");
        }
        let missing = Path::new("/nowhere/token");
        let error = Prometheus::new("http://prometheus", Some(missing), None).err();
        let error = error.map(|error| format!("{error:#}")).unwrap_or_default();
        assert!(
            error.contains("--prometheus-token-file: reading /nowhere/token"),
            "{error}"
        );
        assert!(Prometheus::new("http://prometheus.monitoring:9090/prefix", None, None).is_ok());
    }
}
