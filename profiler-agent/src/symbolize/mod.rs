//! Names for locations.
