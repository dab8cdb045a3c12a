//! A model server over HTTP that answers well, or in one of the ways in which servers do not.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

/// What the server makes of a row.
#[derive(Clone, Copy)]
pub enum Model {
    /// 0.9 where the first feature is 1, else 0.1.
    Knows,
    /// The same for all.
    Guesses,
    /// Of two classes both probabilities, as [`Model::Knows`].
    KnowsBoth,
    /// The second feature, whatever the first is.
    Repeats,
    /// An HTTP 500 on the row 900.
    Breaks,
    /// A null.
    Nothing,
    /// NaN, as Python writes it.
    NotANumber,
    /// One value too few.
    OneTooFew,
    /// An answer of another protocol.
    OtherProtocol,
    /// Numbers, and from the row 1000 on names of classes.
    Widens,
    /// Nothing for a long time.
    Hangs,
    /// Never ready.
    Absent,
}

/// What a model answers to a row.
pub fn value(model: Model, row: &[Value]) -> Value {
    let is_one = row[0].as_f64() == Some(1.0);
    match model {
        Model::Knows if is_one => json!(0.9),
        Model::Knows => json!(0.1),
        Model::KnowsBoth if is_one => json!([0.1, 0.9]),
        Model::KnowsBoth => json!([0.9, 0.1]),
        Model::Repeats => row[1].clone(),
        Model::Nothing => Value::Null,
        _ => json!(0.5),
    }
}

async fn infer(model: Model, body: &Value) -> (StatusCode, String) {
    let input = &body["inputs"][0];
    let number = |at: usize| usize::try_from(input["shape"][at].as_u64().expect("a size"));
    let (count, width) = (number(0).expect("rows"), number(1).expect("columns"));
    let data = input["data"].as_array().expect("data");
    assert_eq!(
        (data.len(), input["datatype"].as_str()),
        (count * width, Some("FP64"))
    );
    let first = body["id"]
        .as_str()
        .and_then(|id| id.strip_prefix("windlass-"))
        .expect("an id")
        .parse::<usize>()
        .expect("a row");
    match model {
        Model::Breaks if first + count > 900 => {
            let body = json!({"error": "out of luck"});
            return (StatusCode::INTERNAL_SERVER_ERROR, body.to_string());
        }
        Model::Hangs => tokio::time::sleep(Duration::from_secs(30)).await,
        Model::OtherProtocol => return (StatusCode::OK, json!({"predictions": []}).to_string()),
        Model::Widens if first >= 1000 => {
            let names = vec!["true"; count];
            let output =
                json!({"name": "predict", "shape": [count, 1], "datatype": "BYTES", "data": names});
            return (StatusCode::OK, json!({"outputs": [output]}).to_string());
        }
        _ => {}
    }
    let mut values: Vec<Value> = data.chunks(width).map(|row| value(model, row)).collect();
    if matches!(model, Model::OneTooFew) {
        values.pop();
    }
    let output =
        json!({"name": "predict", "shape": [count, 1], "datatype": "FP64", "data": values});
    let mut body = json!({"outputs": [output]}).to_string();
    if matches!(model, Model::NotANumber) {
        body = body.replace("0.5", "NaN");
    }
    (StatusCode::OK, body)
}

/// The V1 protocol: a list of instances, a list of predictions.
fn predict(model: Model, body: &Value) -> (StatusCode, String) {
    let instances = body["instances"].as_array().expect("instances");
    let rows = instances.iter().map(|row| row.as_array().expect("a row"));
    let values: Vec<Value> = rows.map(|row| value(model, row)).collect();
    (StatusCode::OK, json!({"predictions": values}).to_string())
}

/// The OpenAI protocol: a model that says whether the prompt speaks of strong wind.
fn complete(model: Model, body: &Value) -> (StatusCode, String) {
    assert_eq!(
        (&body["model"], &body["temperature"]),
        (&json!("flights"), &json!(0))
    );
    let prompt = body["messages"][0]["content"].as_str().expect("a prompt");
    let answer = match model {
        Model::Knows if prompt.contains("wind 1") => " Late\n",
        Model::Knows => "on time",
        Model::Nothing => {
            let body = json!({"choices": []});
            return (StatusCode::OK, body.to_string());
        }
        _ => "I cannot say",
    };
    let message = json!({"role": "assistant", "content": answer});
    (
        StatusCode::OK,
        json!({"choices": [{"message": message}]}).to_string(),
    )
}

async fn respond(model: Model, request: Request<Incoming>) -> (StatusCode, String) {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let is_ready = !matches!(model, Model::Absent);
    let ready = |body: Value| {
        if is_ready {
            (StatusCode::OK, body.to_string())
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, String::new())
        }
    };
    if method == Method::GET {
        return match path.as_str() {
            "/v2/health/ready" | "/v2/models/flights/ready" => ready(json!({})),
            "/v1/models/flights" => ready(json!({"name": "flights", "ready": true})),
            "/v1/models" => ready(json!({"data": [{"id": "flights"}]})),
            other => panic!("the server was asked for {other}"),
        };
    }
    let body = request.into_body().collect().await.expect("a body");
    let body: Value = serde_json::from_slice(&body.to_bytes()).expect("JSON");
    match path.as_str() {
        "/v2/models/flights/infer" => infer(model, &body).await,
        "/v1/models/flights:predict" => predict(model, &body),
        "/v1/chat/completions" => complete(model, &body),
        other => panic!("the server was asked for {other}"),
    }
}

pub async fn serve(model: Model) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let handle = move |request: Request<Incoming>| async move {
        let (status, body) = respond(model, request).await;
        let response = Response::builder().status(status);
        let response = response.body(Full::new(Bytes::from(body)));
        Ok::<_, std::convert::Infallible>(response.expect("a response"))
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(handle));
            tokio::spawn(connection);
        }
    });
    address
}
