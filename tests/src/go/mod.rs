//! Programs of every supported version of Go ([`toolchain`]), built in every way that changes how their
//! line table is stored ([`program`]), and what their own runtime says of every address of their code
//! ([`truth`]).

pub mod program;
pub mod toolchain;
pub mod truth;
