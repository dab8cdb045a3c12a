//! ModelDeployment: a small world, tables, and properties.

mod crashes;
mod policies;
mod properties;
mod strategies;
mod world;
