//! What the benchmarks of the operator share: the objects that they make, and the figures that they write down.

#![allow(
    dead_code,
    reason = "not every benchmark that includes this module uses all of it"
)]

pub mod figures;
pub mod objects;
