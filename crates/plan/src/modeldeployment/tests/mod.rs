//! ModelDeployment: a small world, tables, and properties.

mod crashes;
mod held;
mod judgement;
mod labels;
mod latencies;
mod loading;
mod model;
mod pods;
mod policies;
mod properties;
mod records;
mod restarts;
mod scaling;
mod stand_in;
mod strategies;
mod unrecorded;
mod world;
mod writes;
