//! Profiles to bytes, and bytes to where they go: one folder per destination.
