//go:build linux

// Package rlimit takes the place of the profiler's own package of that name: it leaves the limit of locked
// memory alone. Kernels that this agent runs on do not count BPF memory by it (5.11), and where
// CAP_SYS_RESOURCE is missing the original ends the profiler.
package rlimit

// MaximizeMemlock does nothing, and so does what it returns.
func MaximizeMemlock() (func(), error) {
	return func() {}, nil
}
