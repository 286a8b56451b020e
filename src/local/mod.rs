//! Running everything on one machine: stand-ins for what Azure and the vendors provide.

pub mod simulators;
