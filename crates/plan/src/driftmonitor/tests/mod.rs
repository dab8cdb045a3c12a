//! DriftMonitor: one decision a test, and properties over restarts, monitors side by side and budgets.

mod acting;
mod after;
mod budgets;
mod engines;
mod inputs;
mod model;
mod properties;
mod seen;
mod windows;
mod world;
mod writes;
