//! ModelDeployment: a small world, tables, and properties.

mod crashes;
mod judgement;
mod latencies;
mod policies;
mod properties;
mod restarts;
mod strategies;
mod world;
