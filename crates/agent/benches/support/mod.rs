//! What the benchmark of the proxy is made of.

pub mod load;
pub mod processors;
pub mod servers;
