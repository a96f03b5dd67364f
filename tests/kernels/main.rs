//! The agent on other kernels and both CPUs, a kernel a module: `cargo xtask test --kernels --kernel 6.1 --cpu x86_64
//! --check load` fetches and builds what it needs and runs one check.
//!
//! Every run of `cargo xtask test` makes the checks that are not ignored here; `--kernels` makes all.

mod fault;
mod load;
mod profile;
mod variant;

/// Checks of a kernel on a CPU that every run makes.
macro_rules! always {
    ($($name:ident = $check:path),+ $(,)?) => {
        $(
            #[test]
            fn $name() {
                $check(KERNEL);
            }
        )+
    };
}

/// Checks that are asked for.
macro_rules! asked {
    ($($name:ident = $check:path),+ $(,)?) => {
        $(
            #[test]
            #[ignore = "it is for cargo xtask test --kernels"]
            fn $name() {
                $check(KERNEL);
            }
        )+
    };
}

/// The module of a CPU of a kernel: in which runs programs are loaded and in which they are profiled, then further
/// tests.
macro_rules! cpu {
    ($module:ident $cpu:ident $hardware:ident $series:literal, $load:ident, $profile:ident $(, $more:item)*) => {
        mod $module {
            use profiler_tests::kernels::{Cpu, Hardware, Kernel};

            const KERNEL: Kernel = Kernel {
                series: $series,
                cpu: Cpu::$cpu,
                hardware: Hardware::$hardware,
            };

            $load! { load = crate::load::check }

            mod profile {
                use super::KERNEL;
                use crate::profile::{go, native, off_cpu};

                $profile! {
                    chain = native::chain,
                    chain_framed = native::chain_framed,
                    recursion = native::recursion,
                    signal_handler = native::signal_handler,
                    exceptions = native::exceptions,
                    rust = native::rust,
                    go_stacks = go::stacks,
                    go_growing = go::growing,
                    go_labels = go::labels,
                    short_lived = native::short_lived,
                    waits = off_cpu::waits,
                }
                profile_of! { $cpu $profile }
            }

            $($more)*
        }
    };
}

/// The programs of one CPU alone.
macro_rules! profile_of {
    (X86_64 $profile:ident) => {
        $profile! { chain_static = native::chain_static }
    };
    (Arm64 $profile:ident) => {
        $profile! {
            chain_plain = native::chain_plain,
            musl = native::musl,
        }
    };
}

mod v5_10 {
    cpu! { x86_64 X86_64 Newest "5.10", always, always, mod variant {
        use super::KERNEL;
        use crate::variant;

        asked! {
            lockdown = variant::lockdown,
            records_without_build_ids = variant::records_without_build_ids,
        }
    } }
    cpu! { arm64 Arm64 Newest "5.10", always, asked }
}

mod v6_1 {
    cpu! { x86_64 X86_64 Newest "6.1", always, asked, mod variant {
        use super::KERNEL;
        use crate::variant;

        asked! {
            cgroup_v1 = variant::cgroup_v1,
            no_tracefs = variant::no_tracefs,
            perf_event_paranoid = variant::perf_event_paranoid,
        }
    } }
    cpu! { arm64 Arm64 Newest "6.1", always, asked }
}

mod v6_12 {
    cpu! { x86_64 X86_64 Newest "6.12", asked, asked }
    cpu! { arm64 Arm64 Newest "6.12", asked, asked, mod variant {
        use super::KERNEL;
        use crate::variant;

        asked! {
            late_cpu = variant::late_cpu,
        }
    } }
    cpu! { arm64_64k Arm64 LargestPages "6.12", asked, asked }
}

mod v6_18 {
    cpu! { x86_64 X86_64 Newest "6.18", asked, asked }
    cpu! { arm64 Arm64 Newest "6.18", asked, asked }
}

mod v7_0 {
    cpu! { x86_64 X86_64 Newest "7.0", always, asked }
    cpu! { arm64 Arm64 Newest "7.0", always, asked }
}

mod v7_3 {
    cpu! { x86_64 X86_64 Newest "7.3", always, asked, mod variant {
        use super::KERNEL;
        use crate::variant;

        asked! {
            cgroup_v2 = variant::cgroup_v2,
            late_cpu = variant::late_cpu,
            lockdown = variant::lockdown,
            no_btf = variant::no_btf,
            nosmp = variant::nosmp,
            perf_event_paranoid = variant::perf_event_paranoid,
        }
    } }
    cpu! { arm64 Arm64 Newest "7.3", always, always, mod fault {
        use super::KERNEL;

        always! { fault = crate::fault::check }
    }, mod variant {
        use super::KERNEL;
        use crate::variant;

        asked! {
            two_cpus = variant::two_cpus,
        }
    }, mod go {
        use super::KERNEL;
        use crate::profile::go_versions;

        asked! { versions = go_versions::check }
    } }
    cpu! { arm64_16k Arm64 LargePages "7.3", asked, asked }
    cpu! { arm64_unsigned Arm64 Unsigned "7.3", asked, asked }
    cpu! { arm64_48_bit Arm64 NarrowAddresses "7.3", asked, asked }
}
