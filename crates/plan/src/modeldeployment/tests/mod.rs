//! ModelDeployment: a small world, tables, and properties.

mod policies;
mod properties;
mod strategies;
mod world;
