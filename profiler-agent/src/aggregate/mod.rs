//! Windows of located samples, interned.
