//! The profiler's agent. One sample's way, kernel to backend:
//!
//! ring record -> [`collect`] `RawSample` -> [`process`] `LocatedSample`, with labels and links by
//! [`correlate`] and attributes by [`enrich`] -> [`aggregate`] `Window` -> [`symbolize`] `Profile` -> [`export`] payload -> file,
//! [`store`], or by [`spool`] to a receiver; [`page`] shows what the store holds. [`unwind`] turns call frame information
//! into the tables that the kernel side walks stacks by, and [`inspect`] reads what files and processes say, on threads of its
//! own.
//!
//! [`profile`] is the vocabulary that the stages share; no stage imports another, but `inspect` stands on `unwind`. [`app`] is the
//! only place that knows them all. [`confine`] lies below the stages: the one place that opens what
//! belongs to other processes. So do [`elf`]: the one reader of ELF files, [`go`]: what a Go executable says about its code, and
//! [`thread_local`]: where programs keep what they say of the request that a thread works for. [`bounded_file`] is the file
//! that [`store`] and [`spool`] keep their data in.
#![deny(missing_docs)]

pub mod aggregate;
pub mod app;
pub mod bounded_file;
pub mod cli;
pub mod collect;
pub mod config;
pub mod confine;
pub mod correlate;
pub mod elf;
pub mod enrich;
pub mod export;
pub mod go;
pub mod inspect;
pub mod listen;
pub mod page;
pub mod process;
pub mod profile;
pub mod spool;
pub mod store;
pub mod symbolize;
pub mod telemetry;
pub mod thread_local;
pub mod unwind;
