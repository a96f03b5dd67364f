// The OpenTelemetry eBPF profiler, to be measured beside this agent.
module profiler/tests/peers/ebpf-profiler

go 1.26.0

require go.opentelemetry.io/ebpf-profiler v0.0.202633
