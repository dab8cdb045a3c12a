//! TrainingJob: a small world, tables, and properties.

mod attempts;
mod children;
mod data;
mod devices;
mod gangs;
mod idle;
mod input_cache;
mod model;
mod policies;
mod properties;
mod publication;
mod reuse;
mod sizes;
mod steps;
mod topology;
mod world;
