//! TrainingJob: a small world, tables, and properties.

mod children;
mod policies;
mod properties;
mod world;
