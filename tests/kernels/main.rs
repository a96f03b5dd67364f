//! The agent on other kernels and both CPUs, a kernel a module: `cargo xtask test --kernels --kernel 6.1 --cpu x86_64
//! --check load` fetches and builds what it needs and runs one check.
//!
//! Every run of `cargo xtask test` makes the checks that are not ignored here; `--kernels` makes all.

mod load;
mod profile;

/// A test for each check of a kernel on a CPU.
macro_rules! checks {
    (@load $($attribute:literal)?) => {
        checks!(@test load crate::load::check, $($attribute)?);
    };
    (@profile $cpu:ident $($attribute:literal)?) => {
        mod profile {
            use super::KERNEL;
            use crate::profile;

            checks!(@test chain profile::chain, $($attribute)?);
            checks!(@test chain_framed profile::chain_framed, $($attribute)?);
            checks!(@test recursion profile::recursion, $($attribute)?);
            checks!(@test signal_handler profile::signal_handler, $($attribute)?);
            checks!(@test exceptions profile::exceptions, $($attribute)?);
            checks!(@test rust profile::rust, $($attribute)?);
            checks!(@test go_stacks profile::go_stacks, $($attribute)?);
            checks!(@test go_labels profile::labels, $($attribute)?);
            checks!(@test short_lived profile::short_lived, $($attribute)?);
            checks!(@of $cpu $($attribute)?);
        }
    };
    (@of X86_64 $($attribute:literal)?) => {
        checks!(@test chain_static profile::chain_static, $($attribute)?);
    };
    (@of Arm64 $($attribute:literal)?) => {
        checks!(@test chain_plain profile::chain_plain, $($attribute)?);
    };
    (@test $name:ident $check:path, $($reason:literal)?) => {
        #[test]
        $(#[ignore = $reason])?
        fn $name() {
            $check(KERNEL);
        }
    };
}

/// A kernel's module: its series, then the checks with what keeps them from being made in every run.
macro_rules! kernel {
    ($module:ident $series:literal, load $(($load:literal))?, profile $(($profile:literal))?) => {
        mod $module {
            kernel!(@cpu x86_64 X86_64 $series, [$($load)?] [$($profile)?]);
            kernel!(@cpu arm64 Arm64 $series, [$($load)?] [$($profile)?]);
        }
    };
    (@cpu $module:ident $cpu:ident $series:literal, [$($load:literal)?] [$($profile:literal)?]) => {
        mod $module {
            use profiler_tests::kernels::{Cpu, Kernel};

            const KERNEL: Kernel = Kernel {
                series: $series,
                cpu: Cpu::$cpu,
            };

            checks!(@load $($load)?);
            checks!(@profile $cpu $($profile)?);
        }
    };
}

kernel!(v5_10 "5.10", load, profile("it is for --kernels"));
kernel!(v6_1 "6.1", load, profile);
kernel!(v6_12 "6.12", load("it is for --kernels"), profile("it is for --kernels"));
kernel!(v6_18 "6.18", load("it is for --kernels"), profile("it is for --kernels"));
kernel!(v7_0 "7.0", load, profile("it is for --kernels"));
kernel!(v7_3 "7.3", load, profile("it is for --kernels"));
