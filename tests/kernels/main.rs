//! The agent on other kernels and both CPUs, a kernel a module: `cargo xtask test --kernels --kernel 6.1 --cpu x86_64
//! --check load` fetches and builds what it needs and runs one check.
//!
//! What is ignored here is for `--kernels`; every run of `cargo xtask test` makes the rest.

mod load;

/// The checks of one kernel on one CPU; in brackets, what keeps a check from being made in every run.
macro_rules! checks {
    ($cpu:ident $constant:ident $series:literal, load $load:tt) => {
        mod $cpu {
            use profiler_tests::kernels::{Cpu, Kernel};

            const KERNEL: Kernel = Kernel {
                series: $series,
                cpu: Cpu::$constant,
            };

            checks!(@test $load load, crate::load::check);
        }
    };
    (@test [$(#[$attribute:meta])*] $name:ident, $check:path) => {
        #[test]
        $(#[$attribute])*
        fn $name() {
            $check(KERNEL);
        }
    };
}

macro_rules! kernel {
    ($module:ident $series:literal, load $load:tt) => {
        mod $module {
            checks!(x86_64 X86_64 $series, load $load);
            checks!(arm64 Arm64 $series, load $load);
        }
    };
}

kernel!(v5_10 "5.10", load []);
kernel!(v6_1 "6.1", load []);
kernel!(v6_12 "6.12", load [#[ignore = "cargo xtask test --kernels"]]);
kernel!(v6_18 "6.18", load [#[ignore = "cargo xtask test --kernels"]]);
kernel!(v7_0 "7.0", load []);
kernel!(v7_3 "7.3", load []);
