//! The language model from outside.
