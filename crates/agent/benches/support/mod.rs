//! What the benchmark of the proxy is made of.

pub mod load;
pub mod servers;
