//! Load over loopback: plain HTTP/1.1, as little work in it as can be.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

const CONNECTIONS: u32 = 64;

fn request(body: &str) -> Vec<u8> {
    let length = body.len();
    let head = "POST /v2/models/m/infer HTTP/1.1\r\nhost: model\r\ncontent-type: application/json";
    format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

/// How many bytes an answer has, once its head is there.
fn length(read: &[u8]) -> Option<usize> {
    let head = read.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&read[..head]).expect("a head is text");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().expect("a length"))
    });
    Some(head + length.expect("the answer says its length"))
}

/// Requests that are answered each second, over 64 connections with one request each at a time.
pub fn as_fast_as_it_goes(address: SocketAddr, body: &str, run: Duration) -> f64 {
    let request = request(body);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let all = async {
        let started = Instant::now();
        let connections = (0..CONNECTIONS).map(|_| connection(address, &request, started + run));
        let counts = futures::future::join_all(connections).await;
        f64::from(counts.into_iter().sum::<u32>()) / started.elapsed().as_secs_f64()
    };
    runtime.block_on(all)
}

async fn connection(address: SocketAddr, request: &[u8], until: Instant) -> u32 {
    let mut stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("a connection");
    stream.set_nodelay(true).expect("no delays");
    let (mut buffer, mut count) = (vec![0; 256 << 10], 0);
    while Instant::now() < until {
        ask(&mut stream, request, &mut buffer).await;
        count += 1;
    }
    count
}

/// Times from a request's first byte to its answer's last.
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Of so large a share none took longer.
    pub fn quantile(&self, share: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        self.0
            .get((last as f64 * share) as usize)
            .copied()
            .unwrap_or_default()
    }
}

/// How often it is seen which requests are due: a runtime's own timers are a millisecond coarse.
const TICK: Duration = Duration::from_micros(100);

/// How long answers take at so many requests a second, which 64 connections send in turn.
pub fn at_rate(address: SocketAddr, body: &str, rate: f64, run: Duration) -> Latencies {
    let request = request(body);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (turns, given): (Vec<_>, Vec<_>) =
        (0..CONNECTIONS).map(|_| mpsc::unbounded_channel()).unzip();
    let clock = thread::spawn(move || {
        let (start, mut next) = (Instant::now(), 0_usize);
        while start.elapsed() < run {
            thread::sleep(TICK);
            while (next as f64) < start.elapsed().as_secs_f64() * rate {
                turns[next % turns.len()].send(()).expect("it is awaited");
                next += 1;
            }
        }
    });
    let connections = given
        .into_iter()
        .map(|turns| paced(address, &request, turns));
    let mut all = runtime
        .block_on(futures::future::join_all(connections))
        .concat();
    clock.join().expect("it ran");
    all.sort();
    Latencies(all)
}

async fn paced(
    address: SocketAddr,
    request: &[u8],
    mut turns: mpsc::UnboundedReceiver<()>,
) -> Vec<Duration> {
    let stream = tokio::net::TcpStream::connect(address).await;
    let mut stream = stream.expect("a connection");
    stream.set_nodelay(true).expect("no delays");
    let (mut buffer, mut all) = (vec![0; 16 << 10], Vec::new());
    while turns.recv().await.is_some() {
        let sent = Instant::now();
        ask(&mut stream, request, &mut buffer).await;
        all.push(sent.elapsed());
    }
    all
}

/// Sends a request and reads its answer to the end.
async fn ask(stream: &mut tokio::net::TcpStream, request: &[u8], buffer: &mut [u8]) {
    stream.write_all(request).await.expect("it is sent");
    let (mut read, mut whole) = (0, None);
    while whole.is_none_or(|whole| read < whole) {
        let more = stream.read(&mut buffer[read..]).await.expect("it is read");
        assert!(more > 0, "the connection ended");
        read += more;
        whole = whole.or_else(|| length(&buffer[..read]));
    }
}
