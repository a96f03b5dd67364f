//! Debug information in a file of its own.
