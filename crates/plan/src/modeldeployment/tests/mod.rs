//! ModelDeployment: a small world, tables, and properties.

mod crashes;
mod held;
mod latencies;
mod pods;
mod policies;
mod properties;
mod scaling;
mod strategies;
mod world;
