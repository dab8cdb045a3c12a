//! Reads data sets with DataFusion.
