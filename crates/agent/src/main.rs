//! `windlass-agent`: what runs beside a user's trainer and model server, and on a laptop.
fn main() {}
