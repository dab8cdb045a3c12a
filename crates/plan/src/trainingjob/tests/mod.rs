//! TrainingJob: a small world, tables, and properties.

mod attempts;
mod children;
mod data;
mod gangs;
mod input_cache;
mod idle;
mod policies;
mod properties;
mod reuse;
mod sizes;
mod steps;
mod world;
