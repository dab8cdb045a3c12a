//! ModelDeployment: a small world, tables, and properties.

mod crashes;
mod latencies;
mod policies;
mod properties;
mod strategies;
mod world;
