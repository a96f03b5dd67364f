//! The names of the agent's own metrics, in one place. `docs/metrics.md` is this table for people.

/// What kind of number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations by bucket.
    Histogram,
}

impl Kind {
    /// Its name in the Prometheus text formats.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What it is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A count.
    None,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// Its word in names of metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
        }
    }

    /// Its sign in UCUM, as OTLP has it.
    #[must_use]
    pub const fn ucum(self) -> &'static str {
        match self {
            Self::None => "1",
            Self::Seconds => "s",
            Self::Bytes => "By",
        }
    }
}

macro_rules! metrics {
    ($($variant:ident $name:literal $kind:ident $unit:ident $labels:tt $help:literal)*) => {
        /// One of the agent's own metrics.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Metric {
            $(#[doc = $help] $variant,)*
        }

        impl Metric {
            /// Every metric, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
            /// What kind of number it is.
            #[must_use]
            pub const fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind,)* }
            }
            /// What it is measured in.
            #[must_use]
            pub const fn unit(self) -> Unit {
                match self { $(Self::$variant => Unit::$unit,)* }
            }
            /// The names of its labels.
            #[must_use]
            pub const fn labels(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &$labels,)* }
            }
            /// What it says.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }
        }
    };
}

metrics! {
    BuildInfo "profiler_build_info" Gauge None ["version"] "Always 1: the agent's version."
    StartTime "profiler_start_time_seconds" Gauge Seconds [] "When the agent was started, since 1970."
    Ready "profiler_ready" Gauge None [] "1 while programs are attached and the agent is not stopping."
    Healthy "profiler_healthy" Gauge None [] "1 while rings are read and windows close on time."
    ConfigInEffect "profiler_config_in_effect" Gauge None [] "1 while the configuration file is in effect as it was read last; /healthz says why not."
    Cpus "profiler_cpus" Gauge None [] "CPUs that are online."
    CpusUnsampled "profiler_cpus_unsampled" Gauge None [] "CPUs that are online and not sampled; /healthz says why."
    Processes "profiler_processes" Gauge None [] "Live processes that are known."
    Samples "profiler_samples_total" Counter None [] "Samples read from the rings."
    OpenSamples "profiler_samples_open" Gauge None [] "Samples read whose window is not named yet: in no count of the store and of destinations, and not lost."
    SamplesLost "profiler_samples_lost_total" Counter None ["cause"] "Samples that are in no window."
    Degradations "profiler_degradations_total" Counter None ["cause"] "What is less than it should be, beside lost samples."
    Windows "profiler_windows_total" Counter None [] "Windows closed and named."
    RingsReadAge "profiler_rings_read_age_seconds" Gauge Seconds [] "Time since the rings were read."
    WindowCloseAge "profiler_window_close_age_seconds" Gauge Seconds [] "Time since a window was closed."
    Stacks "profiler_stacks_total" Counter None ["outcome"] "User stacks by how their unwinding ended."
    ExecutableStacks "profiler_executable_stacks_total" Counter None ["executable", "complete"] "User stacks by executable, the busiest ones by name, and whether they reached their root."
    SymbolLookups "profiler_symbol_cache_lookups_total" Counter None ["result"] "Locations of windows, by whether their names were kept from before."
    SymbolLocations "profiler_symbol_cache_locations" Gauge None [] "Locations whose names are kept."
    SymbolBytes "profiler_symbol_cache_bytes" Gauge Bytes [] "Memory of names that are kept."
    SymbolIndexBytes "profiler_symbol_index_bytes" Gauge Bytes [] "Memory of indices into debug information."
    TableBytes "profiler_unwind_table_bytes" Gauge Bytes [] "Unwind tables in the kernel."
    TablesPending "profiler_unwind_tables_pending" Gauge None [] "Unwind tables that are being built."
    BpfBytes "profiler_bpf_memory_bytes" Gauge Bytes [] "Memory of the BPF maps and programs."
    RingBytes "profiler_ring_memory_bytes" Gauge Bytes [] "Memory of the rings between kernel and agent."
    KernelRuns "profiler_kernel_runs_total" Counter None ["program"] "Runs of the programs that sample (sample, off_cpu), where kernel.bpf_stats_enabled is set."
    KernelSeconds "profiler_kernel_run_seconds_total" Counter Seconds ["program"] "CPU time of the programs that sample, where kernel.bpf_stats_enabled is set."
    StoreWindows "profiler_store_windows" Gauge None [] "Windows in the local store."
    StoreUsed "profiler_store_used_bytes" Gauge Bytes [] "Bytes that the local store's windows and merged spans take."
    StoreSpans "profiler_store_merged_spans" Gauge None [] "Minutes, ten minutes and hours of the local store whose windows are merged for queries."
    StoreSpanBytes "profiler_store_merged_bytes" Gauge Bytes [] "Bytes that they take."
    StoreMerges "profiler_store_merges_total" Counter None ["outcome"] "Attempts to merge windows of the local store, by how they ended."
    StoreFile "profiler_store_file_bytes" Gauge Bytes [] "Length of the local store's file."
    StoreLimit "profiler_store_limit_bytes" Gauge Bytes [] "Length that the local store's file may have."
    StoreSamples "profiler_store_samples_total" Counter None [] "Samples in the windows that the local store took."
    StoreLostSamples "profiler_store_lost_samples_total" Counter None [] "Samples in the windows that it could not take."
    Delivered "profiler_delivery_payloads_total" Counter None ["destination"] "Payloads that the destination took."
    DeliveredSamples "profiler_delivery_samples_total" Counter None ["destination"] "Samples in them."
    QueuedSamples "profiler_delivery_queued_samples_total" Counter None ["destination", "source"] "Samples that came for the destination: of windows, and those that were left on disk before."
    WaitingSamples "profiler_delivery_waiting_samples" Gauge None ["destination"] "Samples that are not delivered yet."
    LostSamples "profiler_delivery_lost_samples_total" Counter None ["destination", "cause"] "Samples that came and are neither delivered nor waiting nor left on disk."
    LostBytes "profiler_delivery_lost_bytes_total" Counter Bytes ["destination", "cause"] "Bytes of the payloads that these samples were in."
    LeftSamples "profiler_delivery_left_samples_total" Counter None ["destination"] "Samples that were left on disk when a queue ended, for the next one."
    DeliveryLosses "profiler_delivery_losses_total" Counter None ["destination", "cause"] "What was lost on the way to a destination."
    Attempts "profiler_delivery_attempts_total" Counter None ["destination", "outcome"] "Attempts to send, by how they ended."
    AttemptSeconds "profiler_delivery_attempt_duration_seconds" Histogram Seconds ["destination"] "How long attempts to send took."
    Waiting "profiler_delivery_waiting_payloads" Gauge None ["destination"] "Payloads that are not delivered yet."
    WaitingMemory "profiler_delivery_waiting_memory_bytes" Gauge Bytes ["destination"] "Bytes of them in memory."
    WaitingAge "profiler_delivery_waiting_age_seconds" Gauge Seconds ["destination"] "Time since the oldest window that waits was closed."
    SpoolPayloads "profiler_spool_payloads" Gauge None ["destination"] "Payloads on disk."
    SpoolBytes "profiler_spool_bytes" Gauge Bytes ["destination"] "Bytes that they take."
    SpoolRoom "profiler_spool_room_bytes" Gauge Bytes ["destination"] "Bytes that they may take; the oldest are dropped beyond."
    SpoolAppends "profiler_spool_appends_total" Counter None ["destination"] "Payloads written to disk."
    SpoolRemovals "profiler_spool_removals_total" Counter None ["destination"] "Payloads removed from disk."
    BreakerOpen "profiler_delivery_breaker_open" Gauge None ["destination"] "1 while the destination fails and is tried now and then only."
    Cpu "profiler_cpu_seconds_total" Counter Seconds [] "CPU time of the agent's threads."
    Resident "profiler_resident_memory_bytes" Gauge Bytes [] "Resident memory of the agent."
    Exports "profiler_telemetry_exports_total" Counter None ["signal", "outcome"] "Requests with the agent's own signals over OTLP, by how they ended."
    SuppressedLines "profiler_log_lines_suppressed_total" Counter None [] "Log lines left out because their place wrote too many."
}

impl Metric {
    /// Its name in OTLP: a receiver that translates it for Prometheus makes [`Metric::name`] of it.
    #[must_use]
    pub fn otlp_name(self) -> String {
        let name = self.name();
        let name = name.strip_suffix("_total").unwrap_or(name);
        let unit = self.unit().name();
        let plain = name
            .strip_suffix(unit)
            .and_then(|name| name.strip_suffix('_'))
            .filter(|_| !unit.is_empty())
            .unwrap_or(name);
        plain.replace('_', ".")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_as_openmetrics_has_them() {
        let mut names = BTreeSet::new();
        for metric in Metric::ALL {
            let name = metric.name();
            let plain = name.strip_suffix("_total");
            assert_eq!(plain.is_some(), metric.kind() == Kind::Counter, "{name}");
            let plain = plain.unwrap_or(name);
            assert!(plain.ends_with(metric.unit().name()), "{name}");
            assert!(plain.starts_with("profiler_"), "{name}");
            assert!(
                plain.bytes().all(|c| c.is_ascii_lowercase() || c == b'_'),
                "{name}"
            );
            for suffix in ["_count", "_sum", "_bucket", "_created"] {
                assert!(!plain.ends_with(suffix), "{name}");
            }
            assert!(names.insert(plain), "{name} is there twice");
            assert!(metric.help().ends_with('.'), "{name}");
        }
        let otlp: BTreeSet<String> = Metric::ALL.iter().map(|m| m.otlp_name()).collect();
        assert_eq!(otlp.len(), Metric::ALL.len());
        assert_eq!(Metric::Cpu.otlp_name(), "profiler.cpu");
        assert_eq!(Metric::Samples.otlp_name(), "profiler.samples");
        assert_eq!(Metric::Ready.otlp_name(), "profiler.ready");
    }

    #[test]
    fn the_documentation_lists_every_metric() {
        let documentation = include_str!("../../../docs/metrics.md");
        let rows: Vec<&str> = documentation
            .lines()
            .filter(|line| line.starts_with("| `profiler_"))
            .collect();
        let expected: Vec<String> = Metric::ALL
            .iter()
            .map(|metric| {
                let labels: Vec<String> =
                    metric.labels().iter().map(|l| format!("`{l}`")).collect();
                format!(
                    "| `{}` | {} | {} | {} |",
                    metric.name(),
                    metric.kind().name(),
                    labels.join(", "),
                    metric.help()
                )
            })
            .collect();
        assert_eq!(rows, expected, "docs/metrics.md");
    }
}
