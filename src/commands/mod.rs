//! What the binary can do besides serving: one module per command, each a thin layer over the rooms.
//!
//! Comes in: arguments already parsed. Goes out: words on stdout and an exit status. The rooms above do
//! not know that commands exist.

pub mod package;
