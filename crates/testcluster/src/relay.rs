//! From a port of loopback to a port inside a network namespace, and the other way.
//!
//! One thread enters the namespace and makes the socket there; a socket stays in the namespace in
//! which it was made, so the copying threads need not enter it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::thread;

use anyhow::{Context as _, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::node;

/// Listens on the port of loopback and relays to a port of the node's address, inside of the namespace.
pub fn outwards(name: &str, port: u16, inside_port: u16) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .with_context(|| format!("listening on {port}"))?;
    let namespace = Namespace::of(name)?;
    thread::spawn(move || {
        // The namespace of this thread alone; the listener stays where it was made.
        if let Err(error) = namespace.enter() {
            eprintln!("{error:#}");
            return;
        }
        for outside in listener.incoming().flatten() {
            match TcpStream::connect((node::ADDRESS, inside_port)) {
                Ok(inside) => join(outside, inside),
                Err(error) => eprintln!("{}:{inside_port} does not answer: {error}", node::ADDRESS),
            }
        }
    });
    Ok(())
}

/// Listens on a free port of the node's address and relays to a server outside of the namespace, for as long as this
/// process runs. Returns where it listens.
pub fn inwards(name: &str, server: SocketAddr) -> Result<SocketAddr> {
    let namespace = Namespace::of(name)?;
    let listen = move || -> Result<TcpListener> {
        namespace.enter()?;
        TcpListener::bind((node::ADDRESS, 0)).context("listening on the node's address")
    };
    let Ok(listener) = thread::spawn(listen).join() else {
        bail!("the thread that listens inside of the cluster's network has panicked");
    };
    let listener = listener?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for inside in listener.incoming().flatten() {
            match TcpStream::connect(server) {
                Ok(outside) => join(inside, outside),
                Err(error) => eprintln!("{server} does not answer: {error}"),
            }
        }
    });
    Ok(address)
}

/// A cluster's network namespace.
struct Namespace {
    path: String,
    file: File,
}

impl Namespace {
    fn of(cluster: &str) -> Result<Self> {
        let path = format!("/run/netns/{}", node::network_name(cluster));
        let file = File::open(&path).with_context(|| format!("opening {path}"))?;
        Ok(Self { path, file })
    }

    /// Moves this thread, and no other, into it.
    fn enter(&self) -> Result<()> {
        move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
            .with_context(|| format!("entering {}", self.path))
    }
}

fn join(outside: TcpStream, inside: TcpStream) {
    // Small answers must not wait for more.
    let _ = outside
        .set_nodelay(true)
        .and_then(|()| inside.set_nodelay(true));
    if let (Ok(outside_too), Ok(inside_too)) = (outside.try_clone(), inside.try_clone()) {
        thread::spawn(move || copy(outside, inside));
        thread::spawn(move || copy(inside_too, outside_too));
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 32 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) if to.write_all(&buffer[..length]).is_ok() => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => break,
        }
    }
    // Whichever side has gone, the other is told.
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
