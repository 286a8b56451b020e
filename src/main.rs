//! The binary: `aiops-rca`.
fn main() {}
