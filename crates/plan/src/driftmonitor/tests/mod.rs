//! DriftMonitor: one decision a test, and properties over restarts, monitors side by side and budgets.

mod acting;
mod after;
mod budgets;
mod inputs;
mod properties;
mod seen;
mod windows;
mod world;
mod writes;
