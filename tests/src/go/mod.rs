//! Programs of every supported version of Go ([`toolchain`]), built in every way that changes how their
//! line table is stored ([`program`]), and what their own runtime says of every address of their code
//! ([`truth`]); and what is true of their labels ([`labels`]).

pub mod labels;
pub mod program;
pub mod toolchain;
pub mod truth;
